// SPDX-License-Identifier: Apache-2.0
// What programs do with the openai package of npm, in words that its majors from 4 on share.
import assert from "node:assert/strict";
import { ask, key, load, main, model, refused, setting, url, words } from "./cases.mjs";

const OpenAI = (await load("openai")).default;
const make = (options) => new OpenAI({ baseURL: url + "/openai/v1/", apiKey: key, maxRetries: 0, timeout: 60000, ...options });
const client = make();
const chat = client.chat.completions;
const helpers = chat.runTools ? chat : client.beta.chat.completions; // beta until 5.0
const parameters = {
  type: "object", additionalProperties: false, required: ["city", "days"],
  properties: { city: { type: "string" }, days: { type: "integer" } },
};
const weather = { type: "function", function: { name: "get_weather", strict: true, parameters } };
const flat = { type: "function", name: "get_weather", strict: true, parameters };
const loose = { type: "function", function: { name: "get_weather", parameters: { type: "object" } } };
const schema = {
  type: "object", additionalProperties: false, required: ["city", "ok"],
  properties: { city: { type: "string" }, ok: { type: "boolean" } },
};
const format = { type: "json_schema", json_schema: { name: "verdict", strict: true, schema } };
const said = 'say={"city":"Paris","ok":true}';

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

await main({
  async create() {
    const { data, response, request_id } = await chat.create({ model, messages: ask("tokens=4&prompt=11"), max_tokens: 20 }).withResponse();
    assert.equal(data.object, "chat.completion");
    assert.equal(data.model, model);
    assert.equal(data.choices[0].message.content, words(4));
    assert.equal(data.choices[0].finish_reason, "stop");
    assert.equal(data.choices[0].message.refusal, null);
    assert.equal(data.choices[0].logprobs, null);
    assert.ok(!("tool_calls" in data.choices[0].message));
    assert.equal(data.usage.total_tokens, 15);
    assert.equal(request_id, response.headers.get("x-request-id"));
    assert.ok(request_id);
  },
  async bases() {
    for (const base of ["/v1", "/v1/", "/openai/v1", "/openai/v1/", "/openai", "/openai/"]) {
      const answer = await make({ baseURL: url + base }).chat.completions.create({ model, messages: ask("tokens=1") });
      assert.equal(answer.choices[0].message.content, words(1), base);
    }
  },
  async stream() {
    const chunks = await collect(await chat.create({ model, messages: ask("tokens=5"), stream: true }));
    assert.equal(chunks.map((c) => c.choices[0].delta.content ?? "").join(""), words(5));
    assert.equal(chunks[0].choices[0].delta.role, "assistant");
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    assert.ok(chunks.every((c) => !c.usage));
  },
  async stream_usage() {
    const chunks = await collect(
      await chat.create({ model, messages: ask("tokens=5&prompt=9"), stream: true, stream_options: { include_usage: true } }),
    );
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.equal(chunks.at(-1).usage.total_tokens, 14);
  },
  async stream_helper() {
    const stream = helpers.stream({ model, messages: ask("tokens=6&prompt=3"), stream_options: { include_usage: true } });
    let text = "";
    stream.on("content", (delta) => { text += delta; });
    const final = await stream.finalChatCompletion();
    assert.equal(text, words(6));
    assert.equal(final.choices[0].message.content, words(6));
    assert.equal((await stream.totalUsage()).total_tokens, 9);
  },
  async stream_helper_tools() {
    for (const script of ["tools=2", "tools=2&interleave=1", "tools=2&tool_namerepeat=1", "tools=1&tool_noindex=1&tool_notype=1"]) {
      // with a strict tool the package itself gives up a call as soon as a fragment of another one comes
      const tools = [script.includes("interleave") ? loose : weather];
      const stream = helpers.stream({ model, messages: ask(script), tools });
      const final = await stream.finalChatCompletion();
      assert.equal(final.choices[0].finish_reason, "tool_calls");
      const days = final.choices[0].message.tool_calls.map((c) => JSON.parse(c.function.arguments).days);
      assert.deepEqual(days, script.includes("tools=2") ? [0, 1] : [0], script);
    }
  },
  async stream_through_a_readable() {
    const first = await chat.create({ model, messages: ask("tokens=4"), stream: true });
    const again = (await load("openai", "lib/ChatCompletionStream.mjs")).ChatCompletionStream.fromReadableStream(first.toReadableStream());
    assert.equal((await again.finalChatCompletion()).choices[0].message.content, words(4));
  },
  async parse() {
    const answer = await helpers.parse({ model, messages: ask(said), response_format: format });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { city: "Paris", ok: true });
  },
  async parse_cut_short() {
    const { LengthFinishReasonError } = await load("openai", "error.mjs");
    await assert.rejects(helpers.parse({ model, messages: ask(said + "&finish=length"), response_format: format }), LengthFinishReasonError);
  },
  async tool_runner() {
    for (const stream of [false, true]) {
      const asked = [];
      const runner = helpers.runTools({
        model, stream, messages: ask("tools=2&once=1&tokens=3"),
        tools: [{ type: "function", function: { name: "get_weather", description: "w", parameters, parse: JSON.parse,
          function: ({ city, days }) => { asked.push(`${city} ${days}`); return "sunny"; } } }],
      });
      assert.equal(await runner.finalContent(), words(3));
      assert.deepEqual(asked, ["Paris 0", "Paris 1"]);
    }
  },
  async tool_turn() {
    const messages = ask("tools=1&once=1&tokens=3");
    const first = await chat.create({ model, messages, tools: [weather], tool_choice: "auto" });
    const message = first.choices[0].message;
    assert.equal(message.content, null);
    messages.push(message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" });
    const second = await chat.create({ model, messages, tools: [weather] });
    assert.equal(second.choices[0].message.content, words(3));
  },
  async legacy_functions() {
    const answer = await chat.create({
      model, messages: ask("tools=1"), functions: [{ name: "get_weather", parameters }], function_call: "auto",
    });
    assert.equal(answer.choices[0].finish_reason, "function_call");
    assert.equal(JSON.parse(answer.choices[0].message.function_call.arguments).city, "Paris");
  },
  async many_choices() {
    const stream = helpers.stream({ model, messages: ask("tokens=2"), n: 3 });
    const final = await stream.finalChatCompletion();
    assert.deepEqual(final.choices.map((c) => c.message.content), [words(2), words(2), words(2)]);
  },
  async refusal() {
    const final = await helpers.stream({ model, messages: ask("refusal=1") }).finalChatCompletion();
    assert.equal(final.choices[0].message.refusal, "no");
  },
  async mended_streams() {
    for (const fault of ["norole=1", "nodone=1", "usagenochoices=1&usage=always", "crlf=1", "nospace=1", "comments=1"]) {
      const stream = helpers.stream({ model, messages: ask("tokens=3&" + fault), stream_options: { include_usage: true } });
      assert.equal((await stream.finalChatCompletion()).choices[0].message.content, words(3), fault);
    }
  },
  async x_api_key() {
    const page = await make({ apiKey: "sk-elsewhere", defaultHeaders: { "x-api-key": key } }).models.list();
    assert.ok(page.data.some((m) => m.id === model));
  },
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.ok(ids.includes(model));
    assert.equal((await client.models.retrieve(model)).id, model);
    await refused(OpenAI.NotFoundError, 404, () => client.models.retrieve("no/such"));
  },
  async responses() {
    const answer = await client.responses.create({ model, input: "fake?tokens=4&prompt=11", instructions: "s", store: false });
    assert.equal(answer.output_text, words(4));
    assert.deepEqual([answer.status, answer.usage.input_tokens, answer.usage.output_tokens], ["completed", 11, 4]);
    const events = await collect(await client.responses.create({ model, input: ask("tokens=4"), stream: true }));
    assert.equal(events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join(""), words(4));
    assert.equal(events.at(-1).type, "response.completed");
  },
  async responses_tool_turn() {
    const input = ask("tools=2&once=1&tokens=3");
    const first = await client.responses.create({ model, input, tools: [flat], store: false });
    const calls = first.output.filter((i) => i.type === "function_call");
    assert.deepEqual(calls.map((c) => JSON.parse(c.arguments).days), [0, 1]);
    input.push(...first.output, ...calls.map((c) => ({ type: "function_call_output", call_id: c.call_id, output: "sunny" })));
    assert.equal((await client.responses.create({ model, input, tools: [flat], store: false })).output_text, words(3));
  },
  async responses_helpers() {
    const text = { format: { type: "json_schema", name: "verdict", strict: true, schema } };
    const answer = await client.responses.parse({ model, input: "fake?" + said, text });
    assert.deepEqual(JSON.parse(answer.output_text), { city: "Paris", ok: true });
    for (const script of ["tokens=3", "reasoning=both&tokens=3", "reasoning=both&tools=2&interleave=1"]) {
      const stream = client.responses.stream({ model, input: "fake?" + script, tools: [flat] });
      const final = await stream.finalResponse();
      assert.equal(final.status, "completed", script);
      const spoken = final.output.filter((i) => i.type === "message").map((i) => i.content[0].text).join("");
      if (script.includes("tokens")) assert.equal(spoken, words(3), script);
      if (script.includes("tools")) assert.equal(final.output.filter((i) => i.type === "function_call").length, 2);
    }
    const count = await client.post("/responses/input_tokens", { body: { model, input: "hi" } });
    assert.ok(count.input_tokens > 0);
  },
  async responses_refusal() {
    const final = await client.responses.stream({ model, input: "fake?refusal=1" }).finalResponse();
    assert.deepEqual(final.output[0].content.map((part) => part.refusal), ["no"]);
  },
  async responses_kept() {
    const answer = await client.responses.create({ model, input: "fake?tokens=2" });
    const again = await client.responses.retrieve(answer.id);
    assert.deepEqual([again.id, again.output[0].content[0].text], [answer.id, words(2)]);
    const items = [];
    for await (const item of client.responses.inputItems.list(answer.id)) items.push(item);
    assert.equal(items[0].content[0].text, "fake?tokens=2");
    const then = await client.responses.create({ model, input: "fake?tokens=3", previous_response_id: answer.id });
    assert.deepEqual([then.output_text, then.previous_response_id], [words(3), answer.id]);
    await (client.responses.delete ?? client.responses.del).call(client.responses, answer.id);
    await refused(OpenAI.NotFoundError, 404, () => client.responses.retrieve(answer.id));
  },
  async responses_errors() {
    const ask = (more) => client.responses.create({ model, input: "hi", ...more });
    assert.equal((await refused(OpenAI.NotFoundError, 404, () => ask({ model: "no/such" }))).code, "model_not_found");
    assert.equal((await refused(OpenAI.BadRequestError, 400, () => ask({ temperature: 7 }))).param, "temperature");
    const gone = await refused(OpenAI.NotFoundError, 404, () => ask({ previous_response_id: "resp_" + "a".repeat(24) }));
    assert.equal(gone.code, "previous_response_not_found");
    const events = await collect(await ask({ input: "fake?tokens=5&abort=2", stream: true }));
    assert.equal(events.at(-1).type, "response.failed");
  },
  async embeddings() {
    const embed = setting("EMBED");
    const packed = await client.embeddings.create({ model: embed, input: ["one", "two"] }); // asks for base64 by itself
    const plain = await client.embeddings.create({ model: embed, input: ["one", "two"], encoding_format: "float" });
    const rounded = plain.data.map((e) => e.embedding.map((x) => Math.fround(x)));
    assert.deepEqual(packed.data.map((e) => [...e.embedding]), rounded);
    assert.equal(packed.model, embed);
    const three = await client.embeddings.create({ model: embed, input: "one", dimensions: 3 });
    assert.equal(three.data[0].embedding.length, 3);
    assert.equal((await refused(OpenAI.BadRequestError, 400, () => client.embeddings.create({ model: embed, input: "" }))).param, "input");
  },
  async completions() {
    const answer = await client.completions.create({ model, prompt: "fake?tokens=4&prompt=3" });
    assert.equal(answer.choices[0].text, words(4));
    assert.equal(answer.usage.total_tokens, 7);
    const chunks = await collect(await client.completions.create({ model, prompt: "fake?tokens=4", stream: true }));
    assert.equal(chunks.map((c) => c.choices[0]?.text ?? "").join(""), words(4));
  },
  async abort() {
    const stream = await chat.create({ model, messages: ask("tokens=500&delay_ms=20"), stream: true });
    let n = 0;
    for await (const _ of stream) if (++n === 4) stream.controller.abort();
    assert.ok(n >= 4 && n < 100);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 200);
    await assert.rejects(
      chat.create({ model, messages: ask("tokens=100&delay_ms=50") }, { signal: controller.signal }), OpenAI.APIUserAbortError,
    );
    await assert.rejects(
      chat.create({ model, messages: ask("tokens=100&delay_ms=50") }, { timeout: 200 }), OpenAI.APIConnectionTimeoutError,
    );
  },
  async error_401() {
    const began = Date.now();
    const wrong = make({ apiKey: "tf-your-api-key-here", maxRetries: 3 });
    const e = await refused(OpenAI.AuthenticationError, 401, () => wrong.chat.completions.create({ model, messages: ask("") }));
    assert.deepEqual([e.code, e.type], ["unauthorized", "authentication_error"]);
    assert.ok(Date.now() - began < 2000);
  },
  async error_404() {
    const e = await refused(OpenAI.NotFoundError, 404, () => chat.create({ model: "no/such", messages: ask("") }));
    assert.deepEqual([e.code, e.param], ["model_not_found", "model"]);
    assert.equal((await refused(OpenAI.NotFoundError, 404, () => client.get("/nowhere"))).code, "not_found");
  },
  async error_400() {
    for (const wrong of [{ temperature: 3 }, { n: 0 }, { messages: [] }]) {
      const e = await refused(OpenAI.BadRequestError, 400, () => chat.create({ model, messages: ask(""), ...wrong }));
      assert.equal(e.param, Object.keys(wrong)[0]);
      assert.deepEqual([e.code, e.type], ["bad_request", "invalid_request_error"]);
    }
  },
  async error_413() {
    const long = ask("tokens=1\n" + "x".repeat(Number(setting("BODY_MAX"))));
    const e = await refused(OpenAI.APIError, 413, () => chat.create({ model, messages: long }));
    assert.equal(e.code, "request_too_large");
  },
  async error_429() {
    const slow = make({ apiKey: setting("SLOW_KEY") });
    const e = await refused(OpenAI.RateLimitError, 429, async () => {
      for (let i = 0; i < 3; i++) await slow.chat.completions.create({ model, messages: ask("tokens=1") });
    });
    assert.equal(e.code, "rate_limit_exceeded");
    const header = (name) => e.headers.get?.(name) ?? e.headers[name];
    assert.ok(Number(header("retry-after")) > 0);
    assert.equal(header("x-ratelimit-limit"), "2");
  },
  async error_503() {
    let e = await refused(OpenAI.InternalServerError, 503, () => chat.create({ model: setting("GONE"), messages: ask("") }));
    assert.equal(e.code, "model_unavailable");
    e = await refused(OpenAI.InternalServerError, 503, () => chat.create({ model, messages: ask("status=503") }));
    assert.equal(e.code, "overloaded");
  },
  async error_inside_a_stream() {
    const stream = await chat.create({ model, messages: ask("tokens=5&abort=2"), stream: true });
    await assert.rejects(collect(stream), (e) => e instanceof OpenAI.APIError && e.code === "upstream_error");
  },
  async parallel() {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => chat.create({ model, messages: ask("tokens=" + (i + 1)) })));
    answers.forEach((a, i) => assert.equal(a.choices[0].message.content, words(i + 1)));
  },
});
