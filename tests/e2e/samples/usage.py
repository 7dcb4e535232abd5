# SPDX-License-Identifier: Apache-2.0
# Usage statistics
import os
import requests

api_key = os.environ["TOKENFACTORY_API_KEY"]
response = requests.get(
    "https://api.tokenfactory.ai/v1/usage",
    headers={"Authorization": f"Bearer {api_key}"},
    params={"period": "month", "surface": "all"}  # "openai", "anthropic", or "all"
)
print(response.json())
