# SPDX-License-Identifier: Apache-2.0
# Embeddings
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

response = client.embeddings.create(
    model="BAAI/bge-en-icl",
    input="Token Factory provides unified AI inference"
)

vector = response.data[0].embedding  # 4096-dim float array
print(len(vector))  # 4096
