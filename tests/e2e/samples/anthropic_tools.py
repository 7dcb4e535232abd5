# SPDX-License-Identifier: Apache-2.0
# Function calling, Anthropic SDK
import os
import anthropic

client = anthropic.Anthropic(
    base_url="https://api.tokenfactory.ai/anthropic/",
    api_key=os.environ["TOKENFACTORY_API_KEY"]
)

tools = [{
    "name": "get_weather",
    "description": "Get weather for a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"]
    }
}]

message = client.messages.create(
    model="claude-3-5-sonnet-20241022",
    max_tokens=1024,
    messages=[{"role": "user", "content": "What's the weather in London?"}],
    tools=tools
)

# beyond the page: what came of it
call = next(block for block in message.content if block.type == "tool_use")
print(call.name, call.input["city"])
