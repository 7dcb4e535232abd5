// SPDX-License-Identifier: Apache-2.0
// Runs the cases of a client program: every method of the given object, in order, each with a report line
// {"case":..,"error":null|text} on stdout; with names as arguments only those. The factory is found through
// TF_URL, TF_KEY and TF_MODEL, packages below TF_MODULES (see clients.py beside the folder).
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

export const url = process.env.TF_URL;
export const key = process.env.TF_KEY;
export const model = process.env.TF_MODEL;
export const setting = (name) => {
  const value = process.env["TF_" + name];
  assert.ok(value !== undefined, "TF_" + name);
  return value;
};
const require = createRequire(join(process.env.TF_MODULES, "x.js"));

/** The version of an installed package. */
export const version = (name) => require(join(process.env.TF_MODULES, name, "package.json")).version;
export const major = (name) => Number(version(name).split(".")[0]);

/** import() of an installed package, whose modules lie outside of this tree; file: a file inside it. */
export async function load(name, file) {
  const path = file ? join(process.env.TF_MODULES, name, file) : await esm(name);
  return import(pathToFileURL(path).href);
}

/** The file that "import name" would load. */
async function esm(name) {
  const parts = name.split("/");
  const pack = name.startsWith("@") ? parts.slice(0, 2).join("/") : parts[0];
  const sub = "." + name.slice(pack.length);
  const exports = require(join(process.env.TF_MODULES, pack, "package.json")).exports;
  let found = exports[sub] ?? (sub === "." && !("." in exports) ? exports : undefined);
  while (found && typeof found !== "string") found = found.import ?? found.node ?? found.default;
  if (!found) return require.resolve(name);
  return join(process.env.TF_MODULES, pack, found);
}

/** A conversation of one user turn which the scripted runtime answers as told. */
export const ask = (script) => [{ role: "user", content: "fake?" + script }];
export const words = (n) => Array.from({ length: n }, (_, i) => `tok${i} `).join("");

/** Rejects with an error of this class and status; returns it. */
export async function refused(kind, status, call) {
  try {
    await call();
  } catch (e) {
    assert.ok(e instanceof kind, `${e?.constructor?.name} in place of ${kind.name}: ${e?.stack}`);
    assert.equal(e.status, status);
    return e;
  }
  assert.fail(`${kind.name} was expected`);
}

export async function main(cases) {
  for (const name of process.argv.length > 2 ? process.argv.slice(2) : Object.keys(cases)) {
    let error = null;
    const began = Date.now();
    try {
      await cases[name]();
    } catch (e) {
      error = e?.stack ?? String(e);
    }
    console.log(JSON.stringify({ case: name, error, seconds: (Date.now() - began) / 1000 }));
  }
  process.exit(0);
}
