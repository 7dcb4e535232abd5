// SPDX-License-Identifier: Apache-2.0
// Quick integration, JavaScript, Anthropic SDK
import Anthropic from '@anthropic-ai/sdk';

const client = new Anthropic({
  baseURL: 'https://api.tokenfactory.ai/anthropic/',
  apiKey: 'tf-your-api-key-here',
});

const message = await client.messages.create({
  model: 'claude-3-5-sonnet-20241022',
  max_tokens: 1024,
  messages: [{ role: 'user', content: 'Hello!' }],
});

console.log(message.content[0].text);
