// SPDX-License-Identifier: Apache-2.0
// What programs do with the @anthropic-ai/sdk package of npm, in words that its majors share.
import assert from "node:assert/strict";
import { ask, key, load, main, major, model, refused, setting, url, words } from "./cases.mjs";

const Anthropic = (await load("@anthropic-ai/sdk")).default;
const recent = major("@anthropic-ai/sdk") >= 1;
const sent = []; // what the last calls sent
const make = (options) =>
  new Anthropic({
    baseURL: url + "/anthropic/", apiKey: key, maxRetries: 0, timeout: 60000, ...options,
    fetch: (where, init) => {
      sent.push({ url: String(where), headers: new Headers(init.headers), body: typeof init.body === "string" ? JSON.parse(init.body) : null });
      return fetch(where, init);
    },
  });
const client = make();
const input_schema = {
  type: "object", required: ["city", "days"], additionalProperties: false,
  properties: { city: { type: "string" }, days: { type: "integer" } },
};
const weather = { name: "get_weather", description: "w", input_schema };
const plain = (script, more) => ({ model, max_tokens: 2000, messages: ask(script), ...more });

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

function about(e, type, code) {
  assert.equal(e.error.type, "error");
  assert.deepEqual([e.error.error.type, e.error.error.details.error_code], [type, code]);
  assert.equal(e.error.request_id, e.headers.get("request-id"));
  if (recent) assert.equal(e.errorCode, code);
  return e.error.error;
}

await main({
  async create() {
    const { data, request_id } = await client.messages.create(plain("tokens=4&prompt=11", { system: "s" })).withResponse();
    const headers = sent.at(-1).headers;
    assert.equal(headers.get("anthropic-version"), recent ? "2026-10-21" : "2023-06-01");
    assert.equal(headers.has("authorization"), recent);
    assert.equal(headers.has("x-api-key"), !recent);
    assert.deepEqual([data.type, data.role, data.model, data.stop_reason], ["message", "assistant", model, "end_turn"]);
    assert.deepEqual(data.content.map((b) => b.text), [words(4)]);
    assert.deepEqual([data.usage.input_tokens, data.usage.output_tokens], [11, 4]);
    for (const name of ["stop_sequence", "stop_details", "container", "diagnostics"]) assert.equal(data[name] ?? null, null, name);
    assert.ok(request_id);
  },
  async bases() {
    for (const base of ["", "/", "/anthropic", "/anthropic/", "/anthropic/v1", "/anthropic/v1/"]) {
      const answer = await make({ baseURL: url + base }).messages.create(plain("tokens=1"));
      assert.equal(answer.content[0].text, words(1), base);
    }
  },
  async raw_stream() {
    const events = await collect(await client.messages.create(plain("tokens=3&prompt=12", { stream: true })));
    assert.deepEqual(events.map((e) => e.type), [
      "message_start", "content_block_start", ...Array(3).fill("content_block_delta"), "content_block_stop", "message_delta", "message_stop",
    ]);
    assert.ok(events[0].message.usage.input_tokens > 0);
    assert.equal(events.at(-2).usage.output_tokens, 3);
  },
  async stream_helper() {
    const stream = client.messages.stream(plain("tokens=6"));
    let text = "";
    stream.on("text", (delta) => { text += delta; });
    const final = await stream.finalMessage();
    assert.equal(text, words(6));
    assert.equal(await stream.finalText(), words(6));
    assert.deepEqual([final.stop_reason, final.usage.output_tokens], ["end_turn", 6]);
  },
  async stream_helper_tools() {
    for (const script of ["tools=2", "tools=2&interleave=1", "tools=2&tool_namerepeat=1"]) {
      const stream = client.messages.stream(plain(script, { tools: [weather] }));
      const pieces = [];
      stream.on("inputJson", (piece) => pieces.push(piece));
      const final = await stream.finalMessage();
      assert.deepEqual(final.content.map((b) => b.input), [{ city: "Paris", days: 0 }, { city: "Paris", days: 1 }], script);
      assert.equal(final.stop_reason, "tool_use");
      assert.ok(pieces.length >= 2);
    }
  },
  async tool_turn() {
    const messages = ask("tools=2&once=1&tokens=3");
    const first = await client.messages.create({ model, max_tokens: 99, messages, tools: [weather] });
    assert.equal(first.stop_reason, "tool_use");
    messages.push({ role: "assistant", content: first.content });
    messages.push({ role: "user", content: first.content.map((b) => ({ type: "tool_result", tool_use_id: b.id, content: "sunny" })) });
    const second = await client.messages.create({ model, max_tokens: 99, messages, tools: [weather] });
    assert.equal(second.content[0].text, words(3));
  },
  async thinking() {
    const script = "reasoning=reasoning_content&tokens=2&thought=4&completion=9";
    const hidden = await client.messages.create(plain(script));
    assert.deepEqual(hidden.content.map((b) => b.type), ["text"]);
    for (const thinking of [{ type: "enabled", budget_tokens: 1024 }, { type: "adaptive" }]) {
      const stream = client.messages.stream(plain(script, { thinking }));
      const final = await stream.finalMessage();
      assert.deepEqual(final.content.map((b) => b.type), ["thinking", "text"], thinking.type);
      assert.ok(final.content[0].signature);
    }
  },
  async structured_output() {
    const schema = { type: "object", additionalProperties: false, required: ["ok"], properties: { ok: { type: "boolean" } } };
    const { jsonSchemaOutputFormat } = await load("@anthropic-ai/sdk/helpers/json-schema");
    const answer = await client.messages.parse(
      plain('say={"ok":true}', { output_config: { format: jsonSchemaOutputFormat(schema) } }),
    );
    assert.deepEqual(answer.parsed_output, { ok: true });
    const stream = client.messages.stream(plain('say={"ok":true}', { output_config: { format: jsonSchemaOutputFormat(schema) } }));
    assert.deepEqual((await stream.finalMessage()).parsed_output, { ok: true });
  },
  async beta_messages() {
    const answer = await client.beta.messages.create(plain("tokens=1", { betas: ["interleaved-thinking-2025-05-14"] }));
    assert.equal(answer.content[0].text, words(1));
    assert.equal(sent.at(-1).url.endsWith("?beta=true"), !recent);
    assert.match(sent.at(-1).headers.get("anthropic-beta"), /interleaved-thinking/);
    assert.ok((await client.beta.messages.countTokens({ model, messages: ask("") })).input_tokens > 0);
  },
  async tool_runner() {
    const { betaTool } = await load("@anthropic-ai/sdk/helpers/beta/json-schema");
    for (const stream of [false, true]) {
      const asked = [];
      const run = ({ city, days }) => { asked.push(`${city} ${days}`); return "sunny"; };
      const runner = client.beta.messages.toolRunner({
        model, max_tokens: 99, messages: ask("tools=2&once=1&tokens=3"), stream,
        tools: [betaTool({ name: "get_weather", description: "w", inputSchema: input_schema, run })],
      });
      const from = sent.length;
      const final = await runner;
      assert.deepEqual(final.content.map((b) => b.text), [words(3)]);
      assert.deepEqual(asked, ["Paris 0", "Paris 1"]);
      // the new major tries a thread first, is told that there are none, and sends the whole talk
      const bodies = sent.slice(from).map((s) => s.body);
      assert.equal(bodies.some((b) => b.thread), recent);
      assert.equal(bodies.length, recent ? 3 : 2);
      assert.equal(bodies.at(-1).messages.length, 3);
    }
  },
  async count_tokens() {
    const small = (await client.messages.countTokens({ model, messages: ask("") })).input_tokens;
    const large = (await client.messages.countTokens({ model, messages: ask(""), system: "word ".repeat(200), tools: [weather] })).input_tokens;
    assert.ok(small > 0 && large > small + 150);
  },
  async models() {
    const ids = [], paged = [];
    for await (const m of client.models.list()) ids.push(m.id);
    for await (const m of client.models.list({ limit: 1 })) paged.push(m.id);
    assert.ok(ids.includes(model));
    assert.deepEqual(paged, ids);
    assert.equal((await client.models.retrieve(model)).type, "model");
    await refused(Anthropic.NotFoundError, 404, () => client.models.retrieve("no/such"));
  },
  async auth_token() {
    const other = make({ apiKey: null, authToken: key });
    assert.equal((await other.messages.create(plain("tokens=1"))).content[0].text, words(1));
    assert.ok(sent.at(-1).headers.has("authorization"));
  },
  async x_api_key() {
    const other = make({ apiKey: null, authToken: null, defaultHeaders: { "x-api-key": key } });
    assert.equal((await other.messages.create(plain("tokens=1"))).content[0].text, words(1));
    assert.ok(!sent.at(-1).headers.has("authorization"));
  },
  async browser_header() {
    const other = make({ dangerouslyAllowBrowser: true, defaultHeaders: { "anthropic-dangerous-direct-browser-access": "true" } });
    assert.equal((await other.messages.create(plain("tokens=1"))).content[0].text, words(1));
  },
  async abort() {
    const stream = client.messages.stream(plain("tokens=500&delay_ms=20"));
    let n = 0;
    await assert.rejects(async () => {
      for await (const _ of stream) if (++n === 5) stream.abort();
      await stream.finalMessage();
    }, Anthropic.APIUserAbortError);
    assert.ok(n < 100);
    await assert.rejects(client.messages.create(plain("tokens=100&delay_ms=50"), { timeout: 200 }), Anthropic.APIConnectionTimeoutError);
  },
  async error_401() {
    const began = Date.now();
    const wrong = make({ apiKey: "tf-your-api-key-here", maxRetries: 3 });
    const e = await refused(Anthropic.AuthenticationError, 401, () => wrong.messages.create(plain("")));
    about(e, "authentication_error", "unauthorized");
    assert.ok(Date.now() - began < 2000);
  },
  async error_404() {
    about(await refused(Anthropic.NotFoundError, 404, () => client.messages.create(plain("", { model: "no/such" }))), "not_found_error", "model_not_found");
    about(await refused(Anthropic.NotFoundError, 404, () => client.get("/v1/embeddings")), "not_found_error", "not_found");
  },
  async error_400() {
    for (const wrong of [{ max_tokens: 0 }, { messages: [] }, { system: 5 }]) {
      const e = await refused(Anthropic.BadRequestError, 400, () => client.messages.create(plain("", wrong)));
      assert.equal(about(e, "invalid_request_error", "bad_request").details.param, Object.keys(wrong)[0]);
    }
  },
  async error_413() {
    const long = plain("tokens=1\n" + "x".repeat(Number(setting("BODY_MAX"))));
    about(await refused(Anthropic.APIError, 413, () => client.messages.create(long)), "request_too_large", "request_too_large");
  },
  async error_429() {
    const slow = make({ apiKey: setting("SLOW_KEY") });
    const e = await refused(Anthropic.RateLimitError, 429, async () => {
      for (let i = 0; i < 3; i++) await slow.messages.create(plain("tokens=1"));
    });
    about(e, "rate_limit_error", "rate_limit_exceeded");
    assert.ok(Number(e.headers.get("retry-after")) > 0);
  },
  async error_503() {
    const kind = recent ? Anthropic.ServiceUnavailableError : Anthropic.InternalServerError;
    about(await refused(kind, 503, () => client.messages.create(plain("", { model: setting("GONE") }))), "api_error", "model_unavailable");
    about(await refused(kind, 503, () => client.messages.create(plain("status=503"))), "overloaded_error", "overloaded");
  },
  async error_inside_a_stream() {
    await assert.rejects(client.messages.stream(plain("tokens=5&abort=2")).finalMessage(), (e) => {
      assert.ok(e instanceof Anthropic.APIError, String(e));
      return true;
    });
  },
  async parallel() {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => client.messages.create(plain("tokens=" + (i + 1)))));
    answers.forEach((a, i) => assert.equal(a.content[0].text, words(i + 1)));
  },
});
