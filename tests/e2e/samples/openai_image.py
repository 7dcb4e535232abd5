# SPDX-License-Identifier: Apache-2.0
# Image generation
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

response = client.images.generate(
    model="black-forest-labs/flux-schnell",
    prompt="A futuristic AI server farm at sunset",
    size="1024x1024",
    n=1
)
image_url = response.data[0].url

# beyond the page: what came of it
print(image_url)
