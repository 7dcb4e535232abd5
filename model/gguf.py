# SPDX-License-Identifier: Apache-2.0
"""gguf.py - write the trained weights as a GGUF file (version 3, Q8_0).

Layout: ggml's docs/gguf.md.  Matrices are stored row by row as Q8_0 blocks (32
weights: one half-precision scale and 32 signed bytes), vectors as F32; a
matrix that maps n inputs to m outputs has the dimensions (n, m).  Called by
train.py only.
"""

import struct

import numpy as np

ALIGN = 32
F32, Q8_0 = 0, 8  # ggml tensor types
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def string(x):
    data = x.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    if kind == STRING:
        return string(value)
    return struct.pack({U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}[kind], value)


def entry(key, kind, value):
    return string(key) + struct.pack("<I", kind) + scalar(kind, value)


def array(key, kind, values):
    body = b"".join(scalar(kind, v) for v in values)
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def q8_0(rows):
    """Bytes of a (m, n) float matrix, n a multiple of 32."""
    blocks = np.ascontiguousarray(rows, np.float32).reshape(-1, 32)
    scale = np.abs(blocks).max(1, keepdims=True) / 127
    scale = scale.astype(np.float16)
    inverse = np.divide(
        1, scale.astype(np.float32), where=scale > 0, out=np.zeros(scale.shape, np.float32)
    )
    quants = np.clip(np.rint(blocks * inverse), -127, 127).astype(np.int8)
    return np.concatenate([scale.view(np.uint8), quants.view(np.uint8)], 1).tobytes()


def write(path, meta, tensors):
    """meta: encoded entries.  tensors: [(name, array of (m,) or (m, n))]."""
    info, data, offset = [], [], 0
    for name, a in tensors:
        kind = F32 if a.ndim == 1 else Q8_0
        body = a.astype(np.float32).tobytes() if kind == F32 else q8_0(a)
        body += b"\0" * (-len(body) % ALIGN)
        dims = a.shape[::-1]
        info.append(
            string(name) + struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, offset)
        )
        data.append(body)
        offset += len(body)
    head = (
        b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)) + b"".join(meta) + b"".join(info)
    )
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % ALIGN))
        f.writelines(data)
