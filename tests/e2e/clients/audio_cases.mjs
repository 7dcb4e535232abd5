// SPDX-License-Identifier: Apache-2.0
// Speech to text and text to speech with the openai package of npm.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { key, load, main, refused, setting, url } from "./cases.mjs";

const module = await load("openai");
const OpenAI = module.default;
const client = new OpenAI({ baseURL: url + "/openai/v1/", apiKey: key, maxRetries: 0, timeout: 60000 });
const hear = setting("HEAR");
const say = setting("SAY");
const path = join(setting("MEDIA"), "vbr.mp3");
const text = "one two";

await main({
  async transcription() {
    const answer = await client.audio.transcriptions.create({ model: hear, file: createReadStream(path), language: "en" });
    assert.equal(answer.text, text);
  },
  async verbose() {
    const answer = await client.audio.transcriptions.create({
      model: hear, file: createReadStream(path), response_format: "verbose_json", timestamp_granularities: ["word", "segment"],
    });
    assert.deepEqual(answer.segments.map((s) => s.end), [0.5, 1]);
    assert.deepEqual(answer.words.map((w) => w.word), ["one", "two"]);
  },
  async subtitles() {
    const file = () => module.toFile(readFileSync(path), "vbr.mp3");
    const answer = await client.audio.transcriptions.create({ model: hear, file: await file(), response_format: "srt" });
    assert.equal(typeof answer, "string");
    assert.ok(answer.startsWith("1\n00:00:00,000 --> 00:00:00,500\none\n"));
    const bare = await client.audio.transcriptions.create({ model: hear, file: await file(), response_format: "text" });
    assert.equal(bare, text + "\n");
  },
  async transcription_streamed() {
    const stream = await client.audio.transcriptions.create({ model: hear, file: createReadStream(path), stream: true });
    const events = [];
    for await (const event of stream) events.push(event);
    assert.equal(events.at(-1).type, "transcript.text.done");
    assert.equal(events.at(-1).text, text);
  },
  async translation() {
    const answer = await client.audio.translations.create({ model: hear, file: createReadStream(path) });
    assert.equal(answer.text, text);
  },
  async transcription_refused() {
    const e = await refused(OpenAI.BadRequestError, 400, () =>
      client.audio.transcriptions.create({ model: hear, file: createReadStream(path), timestamp_granularities: ["word"] }));
    assert.equal(e.param, "timestamp_granularities");
    await refused(OpenAI.NotFoundError, 404, () => client.audio.transcriptions.create({ model: "none", file: createReadStream(path) }));
  },
  async speech() {
    const answer = await client.audio.speech.create({ model: say, input: "fake?sounds=100", voice: "natural" });
    const bytes = Buffer.from(await answer.arrayBuffer());
    assert.equal(bytes.length, 104);
    assert.equal(bytes.readUInt16BE(0), 0xfff3);
    assert.equal(answer.headers.get("content-type"), "audio/mpeg");
  },
  async speech_refused() {
    const e = await refused(OpenAI.BadRequestError, 400, () => client.audio.speech.create({ model: say, input: "", voice: "natural" }));
    assert.equal(e.param, "input");
  },
});
