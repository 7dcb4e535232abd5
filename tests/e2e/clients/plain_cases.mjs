// SPDX-License-Identifier: Apache-2.0
// Calls without turns with the openai package of npm.
import assert from "node:assert/strict";
import { key, load, main, refused, setting, url } from "./cases.mjs";

const OpenAI = (await load("openai")).default;
const client = new OpenAI({ baseURL: url + "/openai/v1/", apiKey: key, maxRetries: 0, timeout: 60000 });
const vectors = setting("VECTORS");
const images = setting("IMAGES");

await main({
  async embeddings() {
    // the package asks for base64 when it is not told
    const want = JSON.parse(setting("VECTOR"));
    const packed = await client.embeddings.create({ model: vectors, input: "one text" });
    const plain = await client.embeddings.create({ model: vectors, input: "one text", encoding_format: "float" });
    assert.deepEqual(Array.from(packed.data[0].embedding), want);
    assert.deepEqual(plain.data[0].embedding.map(Math.fround), want);
    assert.equal(packed.model, vectors);
    assert.equal(packed.usage.prompt_tokens, 7);
  },
  async embeddings_of_many() {
    const answer = await client.embeddings.create({ model: vectors, input: ["fake?order=reverse", "b", "c"] });
    assert.deepEqual(answer.data.map((d) => d.index), [0, 1, 2]);
  },
  async embeddings_refused() {
    const e = await refused(OpenAI.BadRequestError, 400, () => client.embeddings.create({ model: vectors, input: "" }));
    assert.equal(e.param, "input");
  },
  async image_addresses() {
    const answer = await client.images.generate({ model: images, prompt: "a quay" });
    const fetched = await fetch(answer.data[0].url);
    assert.equal(fetched.headers.get("content-type"), "image/png");
    assert.equal(Buffer.from(await fetched.arrayBuffer()).toString("latin1").slice(8), "a quay 0");
  },
  async images() {
    const answer = await client.images.generate({ model: images, prompt: "a quay", n: 2, response_format: "b64_json" });
    assert.equal(answer.data.length, 2);
    assert.equal(Buffer.from(answer.data[1].b64_json, "base64").toString("latin1").slice(8), "a quay 1");
  },
});
