// SPDX-License-Identifier: Apache-2.0
// What programs do with the AI SDK over its three providers.
import assert from "node:assert/strict";
import { key, load, main, model, setting, url, words } from "./cases.mjs";

const { embedMany, generateText, streamText, tool, Output, stepCountIs, isStepCount, APICallError } = await load("ai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createAnthropic } = await load("@ai-sdk/anthropic");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { z } = await load("zod");
const steps = (isStepCount ?? stepCountIs)(3);
const asked = [];
const tools = {
  get_weather: tool({
    description: "Weather of a city", inputSchema: z.object({ city: z.string(), days: z.number() }),
    execute: async ({ city, days }) => { asked.push(`${city} ${days}`); return "sunny"; },
  }),
};
const verdict = z.object({ city: z.string(), ok: z.boolean() });
const said = '{"city":"Paris","ok":true}';

const openai = createOpenAI({ baseURL: url + "/openai/v1", apiKey: key });
const compatible = createOpenAICompatible({ name: "tf", baseURL: url + "/v1", apiKey: key, includeUsage: true, supportsStructuredOutputs: true });
const anthropic = createAnthropic({ baseURL: url + "/anthropic/v1", apiKey: key });
const short = createAnthropic({ baseURL: url + "/anthropic", apiKey: key }); // without the v1, as pages say it for SDKs

async function text(of) {
  const whole = await generateText({ model: of, prompt: "fake?tokens=4&prompt=11", maxRetries: 0 });
  assert.equal(whole.text, words(4));
  assert.equal(whole.finishReason, "stop");
  assert.deepEqual([whole.usage.inputTokens, whole.usage.outputTokens], [11, 4]);
  const stream = streamText({ model: of, prompt: "fake?tokens=4&prompt=11", maxRetries: 0 });
  let pieces = "";
  for await (const piece of stream.textStream) pieces += piece;
  assert.equal(pieces, words(4));
  assert.equal(await stream.finishReason, "stop");
  assert.equal((await stream.usage).outputTokens, 4);
}

async function toolTurn(of) {
  const ask = { model: of, tools, stopWhen: steps, prompt: "fake?tools=2&once=1&tokens=3", maxRetries: 0 };
  asked.length = 0;
  const whole = await generateText(ask);
  assert.equal(whole.text, words(3));
  assert.deepEqual(asked, ["Paris 0", "Paris 1"]);
  assert.equal(whole.steps.length, 2);
  asked.length = 0;
  const stream = streamText(ask);
  let pieces = "";
  for await (const piece of stream.textStream) pieces += piece;
  assert.equal(pieces, words(3));
  assert.deepEqual(asked.sort(), ["Paris 0", "Paris 1"]);
}

async function object(of, script = "say=" + said) {
  const ask = { model: of, output: Output.object({ schema: verdict }), prompt: "fake?" + script, maxRetries: 0 };
  assert.deepEqual((await generateText(ask)).output, JSON.parse(said));
  const stream = streamText(ask);
  let last;
  for await (const part of stream.partialOutputStream) last = part;
  assert.deepEqual(last, JSON.parse(said));
}

async function refused(of) {
  await assert.rejects(generateText({ model: of, prompt: "fake?status=503", maxRetries: 0 }), (e) => {
    assert.ok(APICallError.isInstance(e), String(e));
    assert.equal(e.statusCode, 503);
    assert.ok(e.isRetryable);
    return true;
  });
}

async function reasons(of) {
  const whole = await generateText({ model: of, prompt: "fake?reasoning=reasoning_content&tokens=2", maxRetries: 0 });
  assert.equal(whole.reasoningText, "thinking");
  assert.equal(whole.text, words(2));
}

await main({
  async chat_text() {
    await text(openai.chat(model));
  },
  async chat_tool_turn() {
    await toolTurn(openai.chat(model));
  },
  async chat_object() {
    await object(openai.chat(model));
  },
  async chat_error() {
    await refused(openai.chat(model));
  },
  async responses_text() {
    await text(openai(model));
  },
  async responses_tool_turn() {
    await toolTurn(openai(model));
  },
  async responses_next_turn() {
    // the first answer goes back as a reference to its item
    let sent;
    const fetcher = (where, options) => { sent = JSON.parse(options.body); return fetch(where, options); };
    const watched = createOpenAI({ baseURL: url + "/openai/v1", apiKey: key, fetch: fetcher });
    const messages = [{ role: "user", content: "fake?tokens=3" }];
    for (let turn = 0; turn < 3; turn++) {
      const answer = await generateText({ model: watched(model), messages, maxRetries: 0 });
      assert.equal(answer.text, words(3 + turn));
      assert.equal(sent.input.filter((item) => item.type === "item_reference").length, turn);
      messages.push(...answer.response.messages, { role: "user", content: `fake?tokens=${4 + turn}` });
    }
  },
  async responses_previous() {
    const first = await generateText({ model: openai(model), prompt: "fake?tokens=2", maxRetries: 0 });
    const previousResponseId = first.providerMetadata.openai.responseId;
    const second = streamText({
      model: openai(model), prompt: "fake?tokens=5", maxRetries: 0, providerOptions: { openai: { previousResponseId } },
    });
    assert.equal(await second.text, words(5));
  },
  async responses_object() {
    await object(openai(model));
  },
  async responses_error() {
    await refused(openai(model));
  },
  async compatible_text() {
    await text(compatible(model));
  },
  async compatible_tool_turn() {
    await toolTurn(compatible(model));
  },
  async compatible_object() {
    await object(compatible(model));
  },
  async compatible_reasoning() {
    await reasons(compatible(model));
  },
  async embeddings() {
    for (const of of [openai.embeddingModel(setting("EMBED")), compatible.embeddingModel(setting("EMBED"))]) {
      const answer = await embedMany({ model: of, values: ["one", "two"], maxRetries: 0 });
      assert.deepEqual(answer.embeddings.map((e) => e.length), [8, 8]);
      assert.ok(answer.usage.tokens > 0);
    }
  },
  async anthropic_text() {
    await text(anthropic(model));
    await text(short(model));
  },
  async anthropic_tool_turn() {
    await toolTurn(anthropic(model));
  },
  async anthropic_object() {
    // for a model it does not know the provider forces a tool of this name; for a known one it asks for the format
    await object(anthropic(model), "tools=1&tool=json&args=" + said);
    await object(anthropic(setting("CLAUDE")));
  },
  async anthropic_thinking() {
    const whole = await generateText({
      model: anthropic(model), prompt: "fake?reasoning=reasoning_content&tokens=2", maxRetries: 0,
      providerOptions: { anthropic: { thinking: { type: "enabled", budgetTokens: 1024 } } },
    });
    assert.equal(whole.reasoningText, "thinking");
    assert.equal(whole.text, words(2));
  },
  async anthropic_error() {
    await refused(anthropic(model));
  },
});
