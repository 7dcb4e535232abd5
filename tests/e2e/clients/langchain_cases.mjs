// SPDX-License-Identifier: Apache-2.0
// What programs do with LangChain JS on both APIs.
import assert from "node:assert/strict";
import { key, load, main, model, setting, url, words } from "./cases.mjs";

const { ChatOpenAI, OpenAIEmbeddings } = await load("@langchain/openai");
const { ChatAnthropic } = await load("@langchain/anthropic");
const { HumanMessage } = await load("@langchain/core/messages");
const { tool } = await load("@langchain/core/tools");
const { z } = await load("zod");
const weather = tool(({ city }) => "sunny in " + city, {
  name: "get_weather", description: "Weather of a city", schema: z.object({ city: z.string(), days: z.number() }),
});
const verdict = z.object({ city: z.string(), ok: z.boolean() });
const said = '{"city":"Paris","ok":true}';
const openai = (more) => new ChatOpenAI({ model, apiKey: key, maxRetries: 0, timeout: 60000, configuration: { baseURL: url + "/openai/v1" }, ...more });
const anthropic = (more) => new ChatAnthropic({ model, apiKey: key, maxRetries: 0, maxTokens: 2000, anthropicApiUrl: url + "/anthropic", ...more });

async function text(llm) {
  const answer = await llm.invoke("fake?tokens=4&prompt=11");
  assert.equal(answer.text, words(4));
  assert.deepEqual([answer.usage_metadata.input_tokens, answer.usage_metadata.output_tokens], [11, 4]);
  let whole, n = 0;
  for await (const chunk of await llm.stream("fake?tokens=4&prompt=11")) {
    whole = whole ? whole.concat(chunk) : chunk;
    n++;
  }
  assert.equal(whole.text, words(4));
  // on the Anthropic API it adds the one token that message_start announces to the final count
  assert.ok([4, 5].includes(whole.usage_metadata.output_tokens));
  assert.ok(n >= 4);
}

async function toolTurn(llm) {
  const bound = llm.bindTools([weather]);
  const turns = [new HumanMessage("fake?tools=2&once=1&tokens=3")];
  const answer = await bound.invoke(turns);
  assert.deepEqual(answer.tool_calls.map((c) => c.args), [{ city: "Paris", days: 0 }, { city: "Paris", days: 1 }]);
  const results = await Promise.all(answer.tool_calls.map((c) => weather.invoke(c)));
  assert.equal((await bound.invoke([...turns, answer, ...results])).text, words(3));
}

await main({
  async openai_text() {
    await text(openai({ streamUsage: true }));
  },
  async openai_tool_turn() {
    await toolTurn(openai());
  },
  async responses_text() {
    await text(openai({ useResponsesApi: true }));
  },
  async responses_tool_turn() {
    await toolTurn(openai({ useResponsesApi: true }));
  },
  async openai_structured() {
    assert.deepEqual(await openai().withStructuredOutput(verdict, { method: "jsonSchema", name: "verdict" }).invoke("fake?say=" + said), JSON.parse(said));
    const called = openai().withStructuredOutput(verdict, { method: "functionCalling", name: "verdict" });
    assert.deepEqual(await called.invoke("fake?tools=1&tool=verdict&args=" + said), JSON.parse(said));
  },
  async openai_embeddings() {
    const embed = new OpenAIEmbeddings({ model: setting("EMBED"), apiKey: key, maxRetries: 0, configuration: { baseURL: url + "/openai/v1" } });
    const many = await embed.embedDocuments(["one", "two"]);
    assert.equal(many.length, 2);
    assert.equal(many[0].length, 8);
    assert.deepEqual(await embed.embedQuery("one"), many[0]);
  },
  async anthropic_text() {
    await text(anthropic());
  },
  async anthropic_tool_turn() {
    await toolTurn(anthropic());
  },
  async anthropic_structured() {
    const called = anthropic().withStructuredOutput(verdict, { name: "verdict" });
    assert.deepEqual(await called.invoke("fake?tools=1&tool=verdict&args=" + said), JSON.parse(said));
  },
});
