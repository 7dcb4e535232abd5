# SPDX-License-Identifier: Apache-2.0
"""gguf.py - write the trained weights as a GGUF file (version 3, Q8_0), and read it.

Layout: ggml's docs/gguf.md.  Matrices are stored row by row as Q8_0 blocks (32
weights: one half-precision scale and 32 signed bytes), vectors as F32; a
matrix that maps n inputs to m outputs has the dimensions (n, m).  Called by
train.py and, for the head alone, by the tests, which have no numpy.
"""

import struct

ALIGN = 32
F32, Q8_0 = 0, 8  # ggml tensor types
U32, I32, FLOAT, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
SCALARS = {U32: "<I", I32: "<i", FLOAT: "<f", BOOL: "<?"}  # those we write


def string(x):
    data = x.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(kind, value):
    return string(value) if kind == STRING else struct.pack(SCALARS[kind], value)


def entry(key, kind, value):
    return string(key) + struct.pack("<I", kind) + scalar(kind, value)


def array(key, kind, values):
    body = b"".join(scalar(kind, v) for v in values)
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def q8_0(rows):
    """Bytes of a (m, n) float matrix, n a multiple of 32."""
    import numpy as np

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
    import numpy as np

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


class Reader:
    """A file's head, of the types write() uses; every read is bounded by the file."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if n > len(self.data) - self.at:
            raise ValueError("past the end of the file")
        self.at += n
        return self.data[self.at - n : self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self):
        return self.take(self.number("<Q")).decode()

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            kind, n = self.number("<I"), self.number("<Q")
            return [self.value(kind) for _ in range(n)]
        return self.number(SCALARS[kind])

    def head(self):
        """(entries, {tensor: (dimensions, type, offset)}, where the data begins)."""
        if self.take(4) != b"GGUF" or self.number("<I") != 3:
            raise ValueError("not a GGUF file of version 3")
        tensors, entries = self.number("<Q"), self.number("<Q")
        meta = {}
        for _ in range(entries):
            key = self.string()
            meta[key] = self.value(self.number("<I"))
        info = {}
        for _ in range(tensors):
            name, n = self.string(), self.number("<I")
            dims = [self.number("<Q") for _ in range(n)]
            info[name] = (dims, self.number("<I"), self.number("<Q"))
        return meta, info, -(-self.at // ALIGN) * ALIGN


def read(path):
    """(entries, {tensor: float array of (m,) or (m, n)}) of a file that write() made."""
    import numpy as np

    with open(path, "rb") as f:
        data = f.read()
    meta, info, start = Reader(data).head()
    out = {}
    for name, (dims, kind, offset) in info.items():
        count = int(np.prod(dims))
        if kind == F32:
            a = np.frombuffer(data, "<f4", count, start + offset)
        else:
            raw = np.frombuffer(data, np.uint8, count // 32 * 34, start + offset).reshape(-1, 34)
            scale = raw[:, :2].copy().view("<f2").astype(np.float32)
            a = scale * raw[:, 2:].view(np.int8).astype(np.float32)
        out[name] = a.reshape(dims[::-1])
    return meta, out
