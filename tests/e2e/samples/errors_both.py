# SPDX-License-Identifier: Apache-2.0
# Cross-SDK error handling
import os
import time
import anthropic

client = anthropic.Anthropic(
    base_url="https://api.tokenfactory.ai/anthropic/",
    api_key=os.environ["TOKENFACTORY_SLOW_KEY"],
    max_retries=0,
)
for _ in range(2):
    try:
        response = client.messages.create(
            model="claude-3-5-sonnet-20241022",
            max_tokens=100,
            messages=[{"role": "user", "content": "Hello!"}],
        )
        print(response.content[0].text)
    except anthropic.RateLimitError:
        time.sleep(1)
        print("retry")
        # retry — works the same as openai.RateLimitError

import openai

client = openai.OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_SLOW_KEY"],
    max_retries=0,
)
try:
    client.chat.completions.create(
        model="claude-3-5-sonnet-20241022", messages=[{"role": "user", "content": "Hello!"}]
    )
except openai.RateLimitError:
    print("the same")
