#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""corpus.py - the text the project's own model is trained on.

Makes conversations out of answers.txt and of a few skills written here (small
sums, counting, capitals, echo, a remembered name, tool calls, saying that it
does not know).  The same seed gives the same conversations on every machine:
only random.Random and the tables of phrases.py decide.

    corpus.py [N [SEED]]    print N conversations, to look at

Used by tokenizer.py and train.py.  A conversation is a list of (role, text),
rendered by render() exactly as TEMPLATE renders it inside the runtime.
"""

import os
import random
import re
import sys

from phrases import (
    CAPITALS,
    CITIES,
    COUNTS,
    COUNTS_FROM_ONE,
    ECHOES,
    NAME_ASKED,
    NAME_GIVEN,
    NAMES,
    POLITE,
    SUMS,
    SYSTEMS,
    TAILS,
    TOPICS,
    UNKNOWN,
    UNKNOWN_FORMS,
    WORDS,
)

HERE = os.path.dirname(os.path.realpath(__file__))

# ChatML.  The runtime drops a newline that follows a {% %} block, so every newline
# here follows text or an expression.  Tools are shown by name and argument names
# only: a few million parameters cannot read JSON schemas, and the runtime's
# grammar knows them.
TOOLS_HEAD = 'Tools. To use one, answer only with {"name": NAME, "parameters": ARGUMENTS}.\n'
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}\n{% endif %}"
    + TOOLS_HEAD
    + "{% for t in tools %}{{ t.function.name }}("
    "{% if t.function.parameters and t.function.parameters.properties %}"
    "{% for k in t.function.parameters.properties %}{{ k }}"
    "{% if not loop.last %}, {% endif %}{% endfor %}"
    "{% endif %})\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}"
    "{% if m.role == 'system' and tools and loop.first %}"
    "{% elif m.tool_calls %}<|im_start|>assistant\n"
    "{% for c in m.tool_calls %}{\"name\": \"{{ c.function.name }}\", "
    "\"parameters\": {{ c.function.arguments | tojson }}}{% endfor %}<|im_end|>\n"
    "{% else %}<|im_start|>{{ 'system' if m.role == 'developer' else m.role }}\n"
    "{{ m.content or '' }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def expand(rng, form):
    """One text out of a form: (a|b|) becomes one of its alternatives."""
    while True:
        m = re.search(r"\(([^()]*\|[^()]*)\)", form)
        if not m:
            return re.sub(r"\s+", " ", form).strip()
        form = form[: m.start()] + rng.choice(m.group(1).split("|")) + form[m.end() :]


def load_answers(path=os.path.join(HERE, "answers.txt")):
    """[(weight, [question forms], answer)] out of answers.txt."""
    out = []
    with open(path, encoding="utf-8") as f:
        blocks = f.read().split("\n\n")
    for block in blocks:
        qs, ans, weight = [], [], 1
        for line in block.split("\n"):
            tag, text = line[:2], line[3:]
            if tag == "Q:":
                qs.append(text)
            elif tag == "A:":
                ans.append(text)
            elif tag == "W:":
                weight = int(text)
            elif line and not line.startswith("#"):
                raise ValueError("answers.txt: " + line)
        if bool(qs) != bool(ans):
            raise ValueError("answers.txt: a block lacks Q or A: " + block)
        if qs:
            out.append((weight, qs, "\n".join(ans)))
    return out


def typo(rng, text):
    """One typing error inside a word: a letter doubled, dropped or swapped."""
    spots = [i for i in range(1, len(text) - 1) if text[i - 1 : i + 2].isalpha()]
    if not spots:
        return text
    i = rng.choice(spots)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:i] + text[i] + text[i:]
    if kind == 1:
        return text[:i] + text[i + 1 :]
    return text[:i] + text[i + 1] + text[i] + text[i + 2 :]


def vary(rng, text):
    """A question as people type it: case, punctuation, politeness, errors."""
    if rng.random() < 0.12:
        text = rng.choice(POLITE) + text
    asks = re.match(
        r"(?i)(.*: |.*, |please )?(what|which|who|where|why|how|is|are|do|does|can)\b", text
    )
    if rng.random() < 0.09:
        tail = rng.choice(TAILS)
        text += "?" + tail[1:] if asks and tail[0] == "." else tail
    r = rng.random()
    if r < 0.62:
        text = text[0].upper() + text[1:]
    elif r < 0.74:
        text = text.lower()
    elif r < 0.78:
        text = text.upper()
    r = rng.random()
    if r < 0.6:
        text += "?" if asks else rng.choice([".", "", "."])
    elif r < 0.68:
        text += "!"
    elif r < 0.7:
        text += " ?"
    if rng.random() < 0.08:
        text = typo(rng, text)
    return text


def sum_of(rng):
    """(a, sign, b, result, the sign's word) of a small sum, mostly up to ten."""
    top = 20 if rng.random() < 0.1 else 10
    a, b = rng.randint(0, top), rng.randint(0, top)
    sign = rng.choice("++-*") if top == 10 else rng.choice("+-")
    if sign == "+":
        return a, sign, b, a + b, "plus"
    if sign == "-":
        return max(a, b), sign, min(a, b), abs(a - b), "minus"
    return a, sign, b, a * b, "times"


def arithmetic(rng):
    if rng.random() < 0.5:
        sums = [sum_of(rng) for _ in range(rng.randint(2, 8))]
        q = rng.choice(["calculate ", "solve ", "what is ", ""])
        q += ", ".join("%d%s%d" % s[:3] for s in sums)
        return q, "\n".join("%d %s %d = %d" % s[:4] for s in sums)
    a, sign, b, c, word = sum_of(rng)
    signs = [sign, sign, " %s " % sign, " %s " % sign, " %s " % word]
    if sign == "*":
        signs.append(" x ")
    q = rng.choice(SUMS).format("%d%s%d" % (a, rng.choice(signs), b))
    if rng.random() < 0.7:
        q = q[0].upper() + q[1:]
    if rng.random() < 0.7:
        q += "?" if q[0] in "Ww" else rng.choice([".", "?", "!"])
    return q, "%d %s %d = %d" % (a, sign, b, c)


def counting(rng):
    r = rng.random()
    if r < 0.6:
        a, b = 1, rng.choice([3, 5, 10, 10, 20, 30, rng.randint(2, 30)])
    elif r < 0.75:
        a, b = 1, rng.choice([50, 100, 100, rng.randint(31, 100)])
    else:
        a = rng.randint(0, rng.choice([20, 50, 300, 990]))
        b = a + rng.randint(1, rng.choice([5, 10, 20]))
    if a == 1:
        form = rng.choice(COUNTS_FROM_ONE)
    else:
        form = rng.choice(COUNTS)
    return vary(rng, form.format(a, b)), ", ".join(str(i) for i in range(a, b + 1))


def capital(rng):
    land = rng.choice(sorted(CAPITALS))
    q = expand(rng, "(what is|what's|tell me|name) the capital of " + land)
    if rng.random() < 0.15:
        return (
            vary(rng, q + rng.choice([" in JSON", " as JSON"])),
            '{"capital": "%s"}' % CAPITALS[land],
        )
    return vary(rng, q), "The capital of %s is %s." % (land, CAPITALS[land])


def echo(rng):
    text = " ".join(rng.choice(WORDS) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 5])))
    r = rng.random()
    if r < 0.3:
        text = text.capitalize()
    elif r < 0.4:
        text = text.upper()
    elif r < 0.5:
        text += "-%d" % rng.randint(1, 999)
    form = rng.choice(ECHOES)
    q = form.format(text)
    if rng.random() < 0.6:
        q = q[0].upper() + q[1:]
    if rng.random() < 0.3:
        q += "."
    return q, text


def unknown(rng):
    if rng.random() < 0.15:
        return vary(rng, " ".join(rng.sample(WORDS, rng.randint(2, 6)))), UNKNOWN
    topic = rng.choice(TOPICS)
    if rng.random() < 0.4:
        topic = rng.choice(["a ", "the ", "my ", ""]) + " ".join(
            rng.sample(WORDS, rng.randint(1, 2))
        )
    return vary(rng, expand(rng, UNKNOWN_FORMS).format(topic)), UNKNOWN


def weather(rng):
    city = rng.choice(CITIES)
    return vary(
        rng, expand(rng, "(what is|what's|how is|tell me) the weather (like|) in ") + " " + city
    ), ("I cannot look up the weather by myself. Offer me a get_weather tool in the tools field.")


def as_json(rng):
    name, age = rng.choice(NAMES), rng.randint(1, 99)
    q = expand(
        rng,
        "(give me|return|write|make) (a JSON object|JSON) (with name and age|for a person|for) ",
    )
    return vary(rng, "%s: %s, %d" % (q, name, age)), '{"name": "%s", "age": %d}' % (name, age)


def dialogue_name(rng):
    """Two turns: a name is given, and asked for later."""
    name = rng.choice(NAMES)
    first = rng.choice(NAME_GIVEN)
    ask = rng.choice(NAME_ASKED)
    return [
        (vary(rng, first).format(name), "Nice to meet you, %s!" % name),
        (vary(rng, ask), "Your name is %s." % name),
    ]


def name_unknown(rng):
    return (
        vary(rng, rng.choice(["what is my name", "who am I"])),
        "You have not told me your name yet.",
    )


def tool_table(rng, city):
    """[(tool names, argument names, argument, question form, results)]."""
    word = " ".join(rng.sample(WORDS, rng.randint(1, 2)))
    a, b = rng.randint(1, 99), rng.randint(1, 99)
    degrees, sky = rng.randint(-9, 39), rng.choice(["sunny", "cloudy", "rain", "snow"])
    json_degrees, json_sky = rng.randint(-9, 39), rng.choice(["clear", "cloudy", "rain"])
    hour, minute = rng.randint(0, 23), rng.randint(0, 59)
    return [
        (
            ["get_weather", "weather", "get_current_weather", "lookup_weather"],
            ["city", "location"],
            city,
            "(what is|what's|how is|tell me|check|look up) the weather (like|) in {}",
            [
                "%dC and %s" % (degrees, sky),
                '{"temp": %d, "sky": "%s"}' % (json_degrees, json_sky),
            ],
        ),
        (
            ["get_time", "time", "get_local_time"],
            ["city", "timezone"],
            city,
            "(what time is it|what is the time|tell me the time) in {}",
            ["%02d:%02d" % (hour, minute)],
        ),
        (
            ["search", "web_search", "find"],
            ["query", "q"],
            word,
            "(search|look|search the web) for {}",
            ["%d results" % rng.randint(1, 99), word + " found"],
        ),
        (
            ["calculator", "calculate", "evaluate"],
            ["expression"],
            "%d*%d" % (a, b),
            "(use the calculator for|calculate with the tool|evaluate) {}",
            [str(a * b)],
        ),
        (
            ["lookup", "get_price", "translate", "read_file"],
            ["name", "text", "path"],
            word,
            "(use the tool for|call the tool with|run the tool on) {}",
            [word.upper(), "ok"],
        ),
    ]


def tool_dialogue(rng):
    """[(role, text)] with tools shown, a call, its result and the answer."""
    city = rng.choice(CITIES)
    known = tool_table(rng, city)
    rng.shuffle(known)
    if rng.random() < 0.3:
        known.sort(key=lambda tool: "weather" not in tool[0])
    shown = known[: rng.choice([1, 1, 1, 2, 3])]
    use = shown[0]
    sigs = [(rng.choice(k[0]), rng.choice(k[1])) for k in shown]
    name, arg = sigs[0]
    rng.shuffle(sigs)
    system = TOOLS_HEAD + "".join(
        "%s(%s)\n" % (n, g + rng.choice(["", "", ", unit"])) for n, g in sigs
    )
    if rng.random() < 0.3:
        system = rng.choice(SYSTEMS) + "\n" + system
    out = [("system", system)]
    if rng.random() < 0.3:
        out += turn(simple(rng))
        return out
    said = use[2].lower() if use[2] == city and rng.random() < 0.15 else use[2]
    out += [
        ("user", vary(rng, expand(rng, use[3])).format(said)),
        ("assistant", '{"name": "%s", "parameters": {"%s": "%s"}}' % (name, arg, use[2])),
    ]
    if rng.random() < 0.5:
        result = rng.choice(use[4])
        out += [("tool", result), ("assistant", "The tool says: " + result)]
    return out


def turn(qa):
    return [("user", qa[0]), ("assistant", qa[1])]


ANSWERS = load_answers()
WEIGHTS = [w * len(q) ** 0.5 for w, q, _ in ANSWERS]


def known_answer(rng):
    _, forms, answer = rng.choices(ANSWERS, WEIGHTS)[0]
    return vary(rng, expand(rng, rng.choice(forms))), answer


# Shares of the turns.  Sums and echoes are short and need many examples.
SKILLS = [
    (0.36, known_answer),
    (0.30, arithmetic),
    (0.09, counting),
    (0.06, capital),
    (0.12, echo),
    (0.06, unknown),
    (0.008, weather),
    (0.015, as_json),
    (0.01, name_unknown),
]


def simple(rng):
    return rng.choices([s for _, s in SKILLS], [w for w, _ in SKILLS])[0](rng)


def conversation(rng, turns):
    """[(role, text)] of about so many turns, with or without a system message."""
    out = []
    if rng.random() < 0.35:
        out.append(("system", rng.choice(SYSTEMS)))
    parts = [turn(simple(rng)) for _ in range(turns)]
    if turns > 1 and rng.random() < 0.4:
        told, asked = dialogue_name(rng)
        parts = [p for p in parts if not p[1][1].startswith("You have not told")] or [
            turn(echo(rng))
        ]
        i = rng.randrange(len(parts))
        parts[i:i] = [turn(told)]
        j = rng.randint(i + 1, len(parts))
        parts[j:j] = [turn(asked)]
    for p in parts:
        out += p
    return out


def documents(seed):
    """An endless stream of conversations: half of them a single turn."""
    rng = random.Random(seed)
    while True:
        r = rng.random()
        if r < 0.18:
            yield tool_dialogue(rng)
        elif r < 0.65:
            yield conversation(rng, 1)
        else:
            yield conversation(rng, rng.choice([2, 2, 3, 4]))


def render(messages):
    return "".join("<|im_start|>%s\n%s<|im_end|>\n" % m for m in messages)


if __name__ == "__main__":
    stream = documents(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 20):
        print(render(next(stream)))
