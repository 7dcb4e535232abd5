# SPDX-License-Identifier: Apache-2.0
# List models, OpenAI SDK
import os
from openai import OpenAI

client = OpenAI(
    base_url="https://api.tokenfactory.ai/openai/v1/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

models = client.models.list()
for model in models.data:
    print(model.id, model.created)
