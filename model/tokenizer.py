#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tokenizer.py - the model's vocabulary: learned here, the same in llama.cpp.

A SentencePiece-style vocabulary with byte fallback.  llama.cpp's "llama"
tokenizer joins, again and again, the neighbouring pair whose joined text is
the piece with the highest score, the leftmost first when scores are equal.
Byte-pair merges in the order in which they were learned, with score = minus
the rank, are exactly that, and encode() does the same.  Used by train.py;
tests/model/ compares encode() with the runtime's own /tokenize.
"""

import collections
import re

SPACE = "\u2581"
BOS, IM_START, IM_END = 1, 259, 260
SPECIAL = {"<|im_start|>": IM_START, "<|im_end|>": IM_END}
SPECIAL_RE = re.compile("(<\\|im_start\\|>|<\\|im_end\\|>)")
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # GGUF token types
# A piece never spans these, so that digits stay single and words keep apart.
UNIT = re.compile(" ?[A-Za-z]+| |[^A-Za-z ]")


def base_vocabulary():
    """[(piece, score, type)] before any merge: specials, bytes, ASCII."""
    out = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    out += [("<0x%02X>" % b, 0.0, BYTE) for b in range(256)]
    out += [(t, 0.0, CONTROL) for t in SPECIAL]
    assert out[IM_START][0] == "<|im_start|>" and out[IM_END][0] == "<|im_end|>"
    return out


def learn(texts, size):
    """[(piece, score, type)] of so many pieces, by byte-pair merges."""
    vocab = base_vocabulary()
    words = collections.Counter()
    for text in texts:
        for stretch in re.split(SPECIAL_RE, text)[::2]:
            words.update(UNIT.findall(stretch))
    split = [[list(w.replace(" ", SPACE)), n] for w, n in sorted(words.items())]
    chars = [SPACE] + [chr(c) for c in range(33, 127)]
    known = {v[0] for v in vocab}
    merges = []
    while len(vocab) + len(merges) + len(chars) < size:
        pairs = collections.Counter()
        for parts, n in split:
            for pair in zip(parts, parts[1:]):
                pairs[pair] += n
        (a, b), n = max(pairs.items(), key=lambda p: (p[1], p[0]))
        if n < 2:
            break
        if a + b not in known:
            merges.append(a + b)
            known.add(a + b)
        for entry in split:
            entry[0] = joined(entry[0], a, b)
    vocab += [(p, -float(i), NORMAL) for i, p in enumerate(merges)]
    vocab += [(c, -float(len(merges) + i), NORMAL) for i, c in enumerate(chars)]
    return vocab


def joined(parts, a, b):
    out, i = [], 0
    while i < len(parts):
        if i + 1 < len(parts) and parts[i] == a and parts[i + 1] == b:
            out.append(a + b)
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


class Tokenizer:
    def __init__(self, vocab):
        self.vocab = vocab
        self.ids = {p: i for i, (p, _, kind) in enumerate(vocab) if kind == NORMAL}
        self.cache = {}

    def _unit(self, text):
        """Ids of a stretch without special tokens, space already SPACE."""
        parts = list(text)
        while True:
            best = None
            for i in range(len(parts) - 1):
                t = self.ids.get(parts[i] + parts[i + 1])
                if t is not None and (best is None or self.vocab[t][1] > best[0]):
                    best = (self.vocab[t][1], i)
            if best is None:
                break
            i = best[1]
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        out = []
        for p in parts:
            if p in self.ids:
                out.append(self.ids[p])
            else:
                out += [3 + b for b in p.encode()]
        return out

    def encode(self, text):
        """Ids of text, special tokens recognised, no BOS."""
        out = []
        for piece in re.split(SPECIAL_RE, text):
            if piece in SPECIAL:
                out.append(SPECIAL[piece])
                continue
            piece = piece.replace(SPACE, " ")  # to the runtime they are one
            # No piece crosses a UNIT, so the units can be looked up one by one.
            for unit in UNIT.findall(piece):
                if unit not in self.cache:
                    self.cache[unit] = self._unit(unit.replace(" ", SPACE))
                out += self.cache[unit]
        return out

    def decode(self, ids):
        data = b""
        for i in ids:
            piece, _, kind = self.vocab[i]
            if kind == BYTE:
                data += bytes([i - 3])
            elif kind == NORMAL:
                data += piece.replace(SPACE, " ").encode()
        return data.decode("utf-8", "replace")
