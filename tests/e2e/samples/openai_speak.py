# SPDX-License-Identifier: Apache-2.0
# Text-to-speech
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

response = client.audio.speech.create(
    model="canopylabs/orpheus-v1-english",
    input="Hello, welcome to Token Factory.",
    voice="natural"
)
response.stream_to_file("output.mp3")
