// SPDX-License-Identifier: Apache-2.0
// The official JavaScript SDK, one named case per run: node sdk.mjs CASE. Prints OK, or fails with an
// exception. Called by test_61_sdk_node.py; TF_MODULES is the node_modules directory.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const sdk = await import(pathToFileURL(join(process.env.TF_MODULES, "openai", "index.mjs")));
const OpenAI = sdk.default;
const model = process.env.TF_MODEL;
const options = { baseURL: process.env.TF_URL + "/v1", apiKey: process.env.TF_KEY, maxRetries: 0, timeout: 60000 };
const client = new OpenAI(options);
const messages = [{ role: "user", content: "What is Token Factory?" }];
const ask = { model, messages, temperature: 0, max_tokens: 40 };
const long = { model, messages, temperature: 1.5, max_tokens: 1500, ignore_eos: true };
const tools = [{
  type: "function",
  function: { name: "get_weather", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
}];

const cases = {
  async create() {
    const { data, request_id } = await client.chat.completions.create(ask).withResponse();
    assert.match(data.choices[0].message.content, /control plane/i);
    assert.equal(data.model, model);
    assert.equal(data.choices[0].message.refusal, null);
    assert.ok(data.usage.completion_tokens > 0);
    assert.ok(request_id);
  },
  async stream() {
    let text = "", chunks = 0, usage = 0;
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
      text += chunk.choices[0].delta.content ?? "";
      usage += chunk.usage ? 1 : 0;
      chunks++;
    }
    const whole = await client.chat.completions.create(ask);
    assert.equal(text, whole.choices[0].message.content);
    assert.ok(chunks > 5);
    assert.equal(usage, 0);
  },
  async include_usage() {
    let last;
    for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } }))
      last = chunk;
    assert.deepEqual(last.choices, []);
    assert.ok(last.usage.completion_tokens > 0 && last.usage.prompt_tokens > 0);
  },
  async helper() {
    const stream = client.chat.completions.stream({ ...ask, stream_options: { include_usage: true } });
    let text = "";
    stream.on("content", (delta) => { text += delta; });
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, text);
    assert.ok((await stream.totalUsage()).completion_tokens > 0);
  },
  async models() {
    const ids = [];
    for await (const m of client.models.list()) ids.push(m.id);
    assert.deepEqual(ids, [model]);
    assert.equal((await client.models.retrieve(model)).id, model);
  },
  async wrong_key() {
    const wrong = new OpenAI({ ...options, apiKey: "tf-prod-wrong", maxRetries: 3 });
    const began = Date.now();
    await assert.rejects(wrong.chat.completions.create(ask), (e) => {
      assert.ok(e instanceof OpenAI.AuthenticationError);
      assert.equal(e.status, 401);
      assert.equal(e.code, "unauthorized");
      assert.ok(e.requestID);
      return true;
    });
    assert.ok(Date.now() - began < 2000);
  },
  async unknown_model() {
    await assert.rejects(client.chat.completions.create({ ...ask, model: "no/such" }), (e) => {
      assert.ok(e instanceof OpenAI.NotFoundError);
      assert.equal(e.code, "model_not_found");
      assert.equal(e.param, "model");
      return true;
    });
    await assert.rejects(client.models.retrieve("no/such"), OpenAI.NotFoundError);
  },
  async abort() {
    const stream = await client.chat.completions.create({ ...long, stream: true });
    let chunks = 0;
    for await (const chunk of stream)
      if (++chunks === 5) stream.controller.abort();
    assert.ok(chunks >= 5 && chunks < 400);
  },
  async abort_whole() {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    await assert.rejects(client.chat.completions.create(long, { signal: controller.signal }), OpenAI.APIUserAbortError);
  },
  async tools() {
    const stream = client.chat.completions.stream({
      ...ask, max_tokens: 100, messages: [{ role: "user", content: "What's the weather in London?" }], tools, tool_choice: "required",
    });
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].finish_reason, "tool_calls");
    assert.ok("city" in JSON.parse(final.choices[0].message.tool_calls[0].function.arguments));
  },
  async json_schema() {
    const schema = { type: "object", additionalProperties: false, required: ["answer"], properties: { answer: { enum: ["yes", "no"] } } };
    const answer = await client.chat.completions.parse({
      ...ask, messages: [{ role: "user", content: "Is water wet?" }],
      response_format: { type: "json_schema", json_schema: { name: "verdict", schema, strict: true } },
    });
    assert.ok(["yes", "no"].includes(JSON.parse(answer.choices[0].message.content).answer));
  },
  async parallel() {
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.chat.completions.create({ ...ask, max_tokens: 5 })));
    assert.ok(answers.every((a) => a.choices[0].message.content.length > 0));
  },
};

await cases[process.argv[2]]();
console.log("OK");
