# SPDX-License-Identifier: Apache-2.0
"""What the fake runtime says to POST */completions: the scripts of fake_script.py, as bare text.

A script may stand at the beginning of the (first) prompt. Honoured besides: n, several prompts, echo and
logprobs. Called by fake_runtime.py only.
"""
from fake_script import Answer, text


def prompts_of(request):
    prompt = request.get("prompt")
    several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return prompt if several else [prompt]


class TextAnswer(Answer):
    def __init__(self, request, params, out):
        super().__init__(request, params, out)
        self.prompts = prompts_of(request)
        self.n *= len(self.prompts)
        self.id = "cmpl-fake-" + self.id.rpartition("-")[2]

    def chunk(self, choices, **more):
        return {**super().chunk(choices, **more), "object": "text_completion"}

    def logprobs(self, tokens):
        wanted = self.request.get("logprobs")
        if wanted is None:
            return None
        return {
            "tokens": tokens,
            "token_logprobs": [-0.5] * len(tokens),
            "top_logprobs": [{t: -0.5} for t in tokens] if wanted else None,
            "text_offset": [0] * len(tokens),
        }

    def delta(self, index, delta, finish=None):
        said = delta.get("content", "")
        tokens = self.logprobs([said]) if said else None
        return self.chunk([{"index": index, "text": said, "logprobs": tokens, "finish_reason": finish, "stop_reason": None}])

    def echoed(self, index):
        prompt = self.prompts[index * len(self.prompts) // self.n]
        return prompt if self.request.get("echo") and isinstance(prompt, str) else ""

    def opening(self):
        return [self.delta(i, {"content": self.echoed(i)}) for i in range(self.n) if self.echoed(i)]

    def message(self):
        p = self.p
        return text(p.num("tokens", 5), p.str("text", "words"), p.num("big", 0))

    def choices(self):
        return [
            {"index": i, "text": self.echoed(i) + self.message(), "logprobs": self.logprobs([self.message()]),
             "finish_reason": self.finish()}
            for i in range(self.n)
        ]
