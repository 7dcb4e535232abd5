# SPDX-License-Identifier: Apache-2.0
# List models by raw HTTP with the Anthropic headers
import httpx
response = httpx.get(
    "https://api.tokenfactory.ai/anthropic/v1/models",
    headers={"x-api-key": "tf-your-key", "anthropic-version": "2023-06-01"}
)
print(response.json())
