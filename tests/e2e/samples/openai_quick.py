# SPDX-License-Identifier: Apache-2.0
# Quick integration, Python, OpenAI SDK
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key="tf-your-api-key-here",
)

response = client.chat.completions.create(
    model="deepseek-ai/DeepSeek-R1-0528",
    messages=[
        {"role": "user", "content": "Explain quantum entanglement"}
    ],
)

print(response.choices[0].message.content)
