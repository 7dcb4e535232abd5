# SPDX-License-Identifier: Apache-2.0
# Quick integration, cURL, Anthropic-compatible
curl https://api.tokenfactory.ai/anthropic/v1/messages \
  -H "Content-Type: application/json" \
  -H "x-api-key: tf-your-api-key-here" \
  -H "anthropic-version: 2023-06-01" \
  -d '{
    "model": "claude-3-5-sonnet-20241022",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Hello!"}]
  }'
