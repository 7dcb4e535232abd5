# SPDX-License-Identifier: Apache-2.0
"""xlate_pipe as a function call: one attempt in, what became of it out."""
import collections
import os
import subprocess

Got = collections.namedtuple('Got', 'stage error param message sent dropped client finish complete prompt cache_read '
                                    'cache_write completion reasoning estimated')


def hexed(b):
    return b.hex() if b else '-'


def bare(s):
    return b'' if s == '-' else bytes.fromhex(s)


class Pipe:
    """Lives as long as the test; start() fails loudly when the program was not built."""

    def __init__(self, program):
        self.p = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, surface, runtime, request, upstream=b'', cuts=(), kind='generic', canonical=False, cap=0, status=200,
            content_type='text/event-stream', broken=False):
        fields = [surface, runtime, kind, '1' if canonical else '0', str(cap), str(status), content_type or '-',
                  'broken' if broken else 'end', hexed(request), ','.join(map(str, cuts)) or '-', hexed(upstream)]
        self.p.stdin.write((' '.join(fields) + '\n').encode())
        self.p.stdin.flush()
        w = self.p.stdout.readline().decode().split()
        if len(w) != len(Got._fields):
            raise AssertionError('xlate_pipe died at: %s' % ' '.join(fields)[:4000])
        return Got(w[0], w[1], bare(w[2]).decode(), bare(w[3]).decode(), bare(w[4]), bare(w[5]).decode(), bare(w[6]), w[7],
                   w[8] == '1', *map(int, w[9:]))

    def close(self):
        self.p.stdin.close()
        return self.p.wait(timeout=10)


def program():
    """Below the build directory: automake runs tests there."""
    return os.path.join(os.environ.get('TF_BUILD_DIR', os.getcwd()), 'tests', 'dialect', 'xlate_pipe')
