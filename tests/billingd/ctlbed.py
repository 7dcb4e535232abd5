# SPDX-License-Identifier: Apache-2.0
"""A real billingd in a directory of its own, asked through its control socket."""
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

BILLINGD = os.path.join(os.environ.get('top_builddir', '.'), 'billingd/billingd')
DEADLINE = 60
MODELS = '[model acme/large]\naliases = big\n[model acme/small]\n'


class Refused(Exception):
    pass


class ControlBed(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='tf-bl-')
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.log_path = os.path.join(self.dir, 'log')
        self.conf = os.path.join(self.dir, 'tf.conf')
        self.write(MODELS)
        self.clock, self.ahead = os.path.join(self.dir, 'clock'), 0
        with open(self.clock, 'wb') as f:
            f.write(bytes(8))
        self.p = None
        self.addCleanup(self.stop, signal.SIGKILL)
        self.start()

    def write(self, more):
        with open(self.conf, 'w') as f:
            f.write(f'[common]\nrun-dir = {self.dir}\n[billingd]\ndatabase = {self.dir}/billing.db\n{more}')

    def spawn(self):
        with open(self.log_path, 'ab') as log:
            return subprocess.Popen([BILLINGD, '-c', self.conf], stderr=log, stdout=subprocess.DEVNULL,
                                    stdin=subprocess.DEVNULL, env=dict(os.environ, TF_CLOCK_FILE=self.clock))

    def later(self, seconds):
        """Both clocks of the daemon go on by that much."""
        self.ahead += seconds
        with open(self.clock, 'r+b') as f:
            f.write(struct.pack('=q', self.ahead * 1000000000))

    def start(self):
        self.p = self.spawn()
        end = time.monotonic() + DEADLINE
        while True:
            try:
                return self.ask('ping')
            except OSError:
                self.assertIsNone(self.p.poll(), self.log())
                self.assertLess(time.monotonic(), end)
                time.sleep(0.02)

    def stop(self, signo=signal.SIGTERM):
        if self.p is None or self.p.poll() is not None:
            return None
        self.p.send_signal(signo)
        return self.p.wait(DEADLINE)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def ask(self, cmd, **args):
        """The rows; Refused(code) when it ends in an error."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(DEADLINE)
            s.connect(os.path.join(self.dir, 'billingd.ctl'))
            s.sendall(json.dumps({'cmd': cmd, 'args': args}).encode() + b'\n')
            rows = []
            for line in s.makefile():
                answer = json.loads(line)
                if 'row' in answer:
                    rows.append(answer['row'])
                elif 'error' in answer:
                    raise Refused(answer['error']['code'])
                else:
                    self.assertEqual(answer['end']['rows'], len(rows))
                    return rows
        self.fail('no end')

    def refused(self, code, cmd, **args):
        with self.assertRaises(Refused) as r:
            self.ask(cmd, **args)
        self.assertEqual(str(r.exception), code, f'{cmd} {args}')
