# SPDX-License-Identifier: Apache-2.0
# Quick integration, Python, Anthropic SDK
import anthropic

client = anthropic.Anthropic(
    base_url="https://api.tokenfactory.ai/anthropic/",
    api_key="tf-your-api-key-here",
)

message = client.messages.create(
    model="claude-3-5-sonnet-20241022",
    max_tokens=1024,
    messages=[
        {"role": "user", "content": "Explain quantum entanglement"}
    ],
)

print(message.content[0].text)
