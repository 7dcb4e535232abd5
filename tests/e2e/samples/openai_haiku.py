# SPDX-License-Identifier: Apache-2.0
# Quickstart, step 3, OpenAI SDK
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

response = client.chat.completions.create(
    model="meta-llama/Llama-3.3-70B-Instruct",
    messages=[{"role": "user", "content": "Write a haiku about tokens"}],
    max_tokens=100
)

print(response.choices[0].message.content)
# Tokens flow like streams,
# Each word a unit of thought,
# Models breathe them in.
