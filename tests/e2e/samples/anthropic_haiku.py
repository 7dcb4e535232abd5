# SPDX-License-Identifier: Apache-2.0
# Quickstart, step 3, Anthropic SDK
import os
import anthropic

client = anthropic.Anthropic(
    base_url="https://api.tokenfactory.ai/anthropic/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

message = client.messages.create(
    model="claude-3-5-sonnet-20241022",
    max_tokens=100,
    messages=[{"role": "user", "content": "Write a haiku about tokens"}]
)

print(message.content[0].text)
# Tokens flow like streams,
# Each word a unit of thought,
# Models breathe them in.
