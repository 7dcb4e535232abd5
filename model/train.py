#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""train.py - train the project's own model and write it as a GGUF file.

    pip install -r requirements.txt
    train.py [--steps N] [--threads N] [--seed N] [--out FILE] [--start FILE --rate R]

A Llama-architecture transformer (RMSNorm, rotary positions, SwiGLU) in JAX on
the CPU, learning above all what the assistant says.  Matrices inside the layers
are trained with orthogonalised momentum (Muon), the rest with Adam.  Nobody
calls this but a person who wants new weights: builds and tests use the
committed file.  README.md says what it took.
"""

import argparse
import itertools
import os
import random
import time

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2000)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--seed", type=int, default=1)
parser.add_argument(
    "--out",
    default=os.path.join(os.path.dirname(os.path.realpath(__file__)), "tokenfactory-tiny.gguf"),
)
parser.add_argument("--start", default="", help="go on from this GGUF file, its vocabulary kept")
parser.add_argument("--rate", type=float, default=1, help="scales every learning rate")
opt = parser.parse_args()
# Before JAX is imported: it reads the affinity and the flags once.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-opt.threads :])
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=%s" % (
    "true" if opt.threads > 1 else "false"
)

import jax
import jax.numpy as jnp
import numpy as np

import corpus
import gguf
import tokenizer

VOCAB, DIM, LAYERS, HEADS, FF, CONTEXT = 1280, 256, 4, 4, 704, 4096
HEAD = DIM // HEADS
THETA = 10000.0
LENGTHS, TOKENS = (128, 256, 512), 2048  # of rows; of a step
OTHERS = 0.1  # weight in the loss of what is not the assistant's
MATRICES = ("q", "k", "v", "o", "gate", "up", "down")


def initial(seed):
    """Weights: a dict of arrays, one leading axis over the layers.  (in, out)."""
    rng = np.random.default_rng(seed)

    def normal(fan_in, *shape):
        return jnp.asarray(rng.normal(0, fan_in**-0.5, shape), jnp.float32)

    w = {n: normal(DIM, LAYERS, DIM, DIM) for n in "qkvo"}
    w.update(
        gate=normal(DIM, LAYERS, DIM, FF),
        up=normal(DIM, LAYERS, DIM, FF),
        down=normal(FF, LAYERS, FF, DIM) * 0.5,
        o=w["o"] * 0.5,
        embed=normal(1, VOCAB, DIM) * 0.3,
        head=normal(DIM, VOCAB, DIM) * 0.3,
        attn_norm=jnp.ones((LAYERS, DIM)),
        ffn_norm=jnp.ones((LAYERS, DIM)),
        norm=jnp.ones(DIM),
    )
    return w


def rms(x, weight):
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def rotate(x, pos):
    """Rotary positions on interleaved pairs, llama.cpp's order for this architecture."""
    freq = THETA ** (-jnp.arange(0, HEAD, 2) / HEAD)
    angle = pos[:, None, :, None] * freq
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = x[..., 0::2], x[..., 1::2]
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)


def loss(w, tokens, pos, doc, weights):
    """Weighted mean cross-entropy of the next token."""
    rows, length = tokens.shape
    x = w["embed"][tokens]
    see = (doc[:, :, None] == doc[:, None, :]) & jnp.tril(jnp.ones((length, length), bool))
    bias = jnp.where(see, 0, -1e9)[:, None]
    for i in range(LAYERS):
        h = rms(x, w["attn_norm"][i])
        q, k, v = [
            (h @ w[n][i]).reshape(rows, length, HEADS, HEAD).transpose(0, 2, 1, 3) for n in "qkv"
        ]
        score = rotate(q, pos) @ rotate(k, pos).transpose(0, 1, 3, 2) * HEAD**-0.5 + bias
        mixed = (jax.nn.softmax(score) @ v).transpose(0, 2, 1, 3).reshape(rows, length, DIM)
        x = x + mixed @ w["o"][i]
        h = rms(x, w["ffn_norm"][i])
        x = x + (jax.nn.silu(h @ w["gate"][i]) * (h @ w["up"][i])) @ w["down"][i]
    logits = rms(x, w["norm"])[:, :-1] @ w["head"].T
    want = jax.nn.log_softmax(logits)
    nll = -jnp.take_along_axis(want, tokens[:, 1:, None], -1)[..., 0]
    m = weights[:, 1:]
    return (nll * m).sum() / m.sum()


def orthogonal(g):
    """The nearest semi-orthogonal matrices of a stack, by Newton-Schulz steps."""
    tall = g.shape[-2] > g.shape[-1]
    x = jnp.swapaxes(g, -1, -2) if tall else g
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(5):
        a = x @ jnp.swapaxes(x, -1, -2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return jnp.swapaxes(x, -1, -2) if tall else x


@jax.jit
def update(w, state, step, rate, *batch):
    """One step; rate is the schedule's factor in [0, 1]."""
    value, grads = jax.value_and_grad(loss)(w, *batch)
    norm = jnp.sqrt(sum((g * g).sum() for g in grads.values()))
    out_w, out_s = {}, {}
    for n, g in grads.items():
        g = g * jnp.minimum(1, 1 / norm)
        m, v = state[n]
        if n in MATRICES:
            m = 0.95 * m + g
            scale = 0.016 * max(1, g.shape[-1] / g.shape[-2]) ** 0.5
            out_w[n] = w[n] * (1 - rate * 0.002) - rate * scale * orthogonal(g + 0.95 * m)
        else:
            m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
            hat = (m / (1 - 0.9**step)) / (jnp.sqrt(v / (1 - 0.98**step)) + 1e-8)
            out_w[n] = w[n] - rate * (0.006 if n in ("embed", "head") else 0.002) * hat
        out_s[n] = (m, v)
    return out_w, out_s, value


def encode(tok, messages):
    """(ids, weights): how much each token counts in the loss.

    An answer counts by the square root of its length, so that the few digits of a
    sum are not drowned by the stories; what others say counts a little, for the
    words are learned from it too.
    """
    ids, weights = [tokenizer.BOS], [0]
    for role, text in messages:
        part = tok.encode("<|im_start|>%s\n%s<|im_end|>\n" % (role, text))
        ids += part
        head = len(tok.encode("<|im_start|>%s\n" % role))
        body = len(part) - head - 1
        each = body**-0.5 if role == "assistant" else OTHERS * body**-0.5
        weights += [0] * head + [each] * body + [0]
    return ids, weights


def positions(rng, ids):
    """0, 1, 2 ...; in some documents with jumps before turns, so that far looks are learned too."""
    pos, at = [], 0
    reach = rng.choice([0, 0, 300, 3000]) if rng.random() < 0.5 else 0
    for t in ids:
        if reach and t == tokenizer.IM_START and rng.random() < 0.4:
            jump = rng.randrange(reach)
            reach -= jump
            at += jump
        pos.append(at)
        at += 1
    return pos


class Packer:
    """Rows of one length, filled with whole documents that cannot see each other."""

    def __init__(self, length):
        self.length, self.rows, self.row = length, [], []

    def add(self, ids, weights, pos):
        if sum(len(d[0]) for d in self.row) + len(ids) > self.length:
            self.rows.append(self.row)
            self.row = []
        self.row.append((ids, weights, pos))

    def batch(self):
        """(tokens, pos, doc, weights) once a step's worth of rows is there, else None."""
        count = TOKENS // self.length
        if len(self.rows) < count:
            return None
        out = [
            np.zeros((count, self.length), t) for t in (np.int32, np.float32, np.int32, np.float32)
        ]
        for r, row in enumerate(self.rows[:count]):
            at = 0
            for d, (ids, weights, pos) in enumerate(row):
                end = at + len(ids)
                for a, v in zip(out, (ids, pos, d + 1, weights)):
                    a[r, at:end] = v
                at = end
        self.rows = self.rows[count:]
        return out


def batches(tok, seed):
    rng = random.Random(seed)
    packers = [Packer(n) for n in LENGTHS]
    for messages in corpus.documents(seed):
        ids, weights = encode(tok, messages)
        packer = next((p for p in packers if len(ids) <= p.length), None)
        if packer is None:
            continue
        packer.add(ids, weights, positions(rng, ids))
        ready = packer.batch()
        if ready:
            yield ready


# Our names of the weights, and the file's.
WHOLE = {"embed": "token_embd.weight", "norm": "output_norm.weight", "head": "output.weight"}
LAYERED = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "attn_norm": "attn_norm",
    "ffn_norm": "ffn_norm",
}


def export(path, w, vocab):
    meta = [
        gguf.entry("general.architecture", gguf.STRING, "llama"),
        gguf.entry("general.name", gguf.STRING, "Token Factory tiny"),
        gguf.entry("general.license", gguf.STRING, "apache-2.0"),
        gguf.entry("general.file_type", gguf.U32, 7),
        gguf.entry("llama.context_length", gguf.U32, CONTEXT),
        gguf.entry("llama.embedding_length", gguf.U32, DIM),
        gguf.entry("llama.block_count", gguf.U32, LAYERS),
        gguf.entry("llama.feed_forward_length", gguf.U32, FF),
        gguf.entry("llama.attention.head_count", gguf.U32, HEADS),
        gguf.entry("llama.attention.head_count_kv", gguf.U32, HEADS),
        gguf.entry("llama.attention.layer_norm_rms_epsilon", gguf.FLOAT, 1e-5),
        gguf.entry("llama.rope.dimension_count", gguf.U32, HEAD),
        gguf.entry("llama.rope.freq_base", gguf.FLOAT, THETA),
        gguf.entry("llama.vocab_size", gguf.U32, VOCAB),
        gguf.entry("tokenizer.ggml.model", gguf.STRING, "llama"),
        gguf.entry("tokenizer.ggml.pre", gguf.STRING, "default"),
        gguf.array("tokenizer.ggml.tokens", gguf.STRING, [v[0] for v in vocab]),
        gguf.array("tokenizer.ggml.scores", gguf.FLOAT, [v[1] for v in vocab]),
        gguf.array("tokenizer.ggml.token_type", gguf.I32, [v[2] for v in vocab]),
        gguf.entry("tokenizer.ggml.bos_token_id", gguf.U32, tokenizer.BOS),
        gguf.entry("tokenizer.ggml.eos_token_id", gguf.U32, tokenizer.IM_END),
        gguf.entry("tokenizer.ggml.unknown_token_id", gguf.U32, 0),
        gguf.entry("tokenizer.ggml.add_bos_token", gguf.BOOL, True),
        gguf.entry("tokenizer.ggml.add_eos_token", gguf.BOOL, False),
        gguf.entry("tokenizer.ggml.add_space_prefix", gguf.BOOL, False),
        gguf.entry("tokenizer.chat_template", gguf.STRING, corpus.TEMPLATE),
    ]
    tensors = []
    for n, name in WHOLE.items():
        tensors.append((name, np.asarray(w[n])))
    for n, name in LAYERED.items():
        for i in range(LAYERS):
            a = np.asarray(w[n][i])
            tensors.append(("blk.%d.%s.weight" % (i, name), a.T if a.ndim == 2 else a))
    gguf.write(path, meta, tensors)


def load(path):
    """(weights, vocabulary) of a file that export() made."""
    meta, tensors = gguf.read(path)
    w = {n: jnp.asarray(tensors[name]) for n, name in WHOLE.items()}
    for n, name in LAYERED.items():
        rows = [tensors["blk.%d.%s.weight" % (i, name)] for i in range(LAYERS)]
        w[n] = jnp.asarray(np.stack([a.T if a.ndim == 2 else a for a in rows]))
    columns = [meta["tokenizer.ggml." + k] for k in ("tokens", "scores", "token_type")]
    return w, list(zip(*columns))


def start():
    """(weights, vocabulary) to begin with."""
    if opt.start:
        return load(opt.start)
    sample = itertools.islice(corpus.documents(opt.seed + 1000), 6000)
    vocab = tokenizer.learn([corpus.render(d) for d in sample], VOCAB)
    assert len(vocab) == VOCAB
    return initial(opt.seed), vocab


def main():
    w, vocab = start()
    print("parameters", sum(a.size for a in w.values()), flush=True)
    state = {n: (jnp.zeros_like(a), jnp.zeros_like(a)) for n, a in w.items()}
    began, mean = time.time(), None
    for step, batch in enumerate(batches(tokenizer.Tokenizer(vocab), opt.seed), 1):
        rate = opt.rate * min(1, step / 30, max(0, opt.steps - step) / (0.7 * opt.steps))
        w, state, value = update(w, state, step, rate, *batch)
        value = float(value)
        mean = value if mean is None else 0.95 * mean + 0.05 * value
        if step % 10 == 0:
            print(
                "step %d loss %.4f (%.4f) %.0f tokens/s %.0f s"
                % (step, mean, value, step * TOKENS / (time.time() - began), time.time() - began),
                flush=True,
            )
        if step % 100 == 0 or step == opt.steps:
            export(opt.out, w, vocab)
        if step == opt.steps:
            break


if __name__ == "__main__":
    main()
