# SPDX-License-Identifier: Apache-2.0
# Streaming, OpenAI SDK. The page reads stream.text_stream, which the package's helper never had: its events instead.
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

with client.chat.completions.stream(
    model="openai/gpt-oss-120b",  # ⚡ UltraFast — 500 TPS
    messages=[{"role": "user", "content": "Tell me a story"}],
) as stream:
    for event in stream:
        if event.type == "content.delta":
            print(event.delta, end="", flush=True)
