# SPDX-License-Identifier: Apache-2.0
# Quick integration, cURL, OpenAI-compatible
curl https://api.tokenfactory.ai/openai/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer tf-your-api-key-here" \
  -d '{
    "model": "meta-llama/Llama-3.3-70B-Instruct",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
