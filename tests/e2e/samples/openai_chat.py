# SPDX-License-Identifier: Apache-2.0
# Chat completions, example request
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

response = client.chat.completions.create(
    model="deepseek-ai/DeepSeek-R1-0528",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is 2+2?"}
    ],
    temperature=0.7,
    max_tokens=256
)

print(response.choices[0].message.content)
