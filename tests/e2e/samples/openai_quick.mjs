// SPDX-License-Identifier: Apache-2.0
// Quick integration, JavaScript, OpenAI SDK
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: 'https://api.tokenfactory.ai/openai/v1/',
  apiKey: 'tf-your-api-key-here',
});

const response = await client.chat.completions.create({
  model: 'meta-llama/Llama-3.3-70B-Instruct',
  messages: [{ role: 'user', content: 'Hello!' }],
});

console.log(response.choices[0].message.content);
