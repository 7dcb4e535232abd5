// SPDX-License-Identifier: Apache-2.0
// What programs do with @openai/agents.
import assert from "node:assert/strict";
import { key, load, main, model, url, words } from "./cases.mjs";

const { Agent, run, setTracingDisabled, tool, Runner, OpenAIProvider } = await load("@openai/agents");
const OpenAI = (await load("openai")).default;
const { z } = await load("zod");
setTracingDisabled(true);
const asked = [];
const weather = tool({
  name: "get_weather", description: "Weather of a city", parameters: z.object({ city: z.string(), days: z.number() }),
  execute: ({ city, days }) => { asked.push(`${city} ${days}`); return "sunny"; },
});
const verdict = z.object({ city: z.string(), ok: z.boolean() });

const client = new OpenAI({ baseURL: url + "/openai/v1", apiKey: key, maxRetries: 0, timeout: 60000 });
const runner = (useResponses) => new Runner({ modelProvider: new OpenAIProvider({ openAIClient: client, useResponses }), tracingDisabled: true });
const agent = (more) => new Agent({ name: "a", instructions: "be brief", model, ...more });

async function toolTurn(responses) {
  for (const stream of [false, true]) {
    asked.length = 0;
    const result = await runner(responses).run(agent({ tools: [weather] }), "fake?tools=2&once=1&tokens=3", { stream });
    if (stream) {
      let text = "";
      for await (const piece of result.toTextStream()) text += piece;
      await result.completed;
      assert.equal(text, words(3));
    }
    assert.equal(result.finalOutput, words(3));
    assert.deepEqual(asked, ["Paris 0", "Paris 1"]);
  }
}

async function outputType(responses) {
  const result = await runner(responses).run(agent({ outputType: verdict }), 'fake?say={"city":"Paris","ok":true}');
  assert.deepEqual(result.finalOutput, { city: "Paris", ok: true });
}

async function nextTurn(responses) {
  const first = await runner(responses).run(agent({ tools: [weather] }), "fake?tools=1&once=1&tokens=2");
  const second = await runner(responses).run(agent({ tools: [weather] }), [...first.history, { role: "user", content: "fake?tokens=4" }]);
  assert.equal(second.finalOutput, words(4));
}

await main({
  async chat_tool_turn() {
    await toolTurn(false);
  },
  async chat_output_type() {
    await outputType(false);
  },
  async chat_next_turn() {
    await nextTurn(false);
  },
  async responses_tool_turn() {
    await toolTurn(true);
  },
  async responses_previous() {
    const first = await runner(true).run(agent({ tools: [weather] }), "fake?tools=1&once=1&tokens=2");
    for (const stream of [false, true]) {
      const options = { stream, previousResponseId: first.lastResponseId };
      const second = await runner(true).run(agent({ tools: [weather] }), "fake?tokens=4", options);
      if (stream) await second.completed;
      assert.equal(second.finalOutput, words(4));
    }
  },
  async responses_output_type() {
    await outputType(true);
  },
  async responses_next_turn() {
    await nextTurn(true);
  },
  async chat_error() {
    await assert.rejects(runner(false).run(agent(), "fake?status=503"), OpenAI.InternalServerError);
  },
});
