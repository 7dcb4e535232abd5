#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The skeleton of every daemon, driven from outside: arguments and exit statuses, what it tells the
service manager, reload, drain, inherited sockets, and what it does to its process. Python's
standard library alone; each daemon is waited for with a deadline and ended by its own pid.
"""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TOYD = os.path.join(os.environ.get('top_builddir', '.'), 'tests/daemon/toyd')
DEADLINE = 60


class Daemon:
    """A toyd with a notify socket of its own."""

    def __init__(self, case, *args, mode='quick', conf='', env=None, abstract=False, conf_path=None, **popen):
        self.dir = tempfile.mkdtemp(prefix='tf-toyd-')
        case.addCleanup(shutil.rmtree, self.dir, True)
        self.run = os.path.join(self.dir, 'run')
        self.conf = conf_path or os.path.join(self.dir, 'tokenfactory.conf')
        if conf_path is None:
            self.write(conf)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        case.addCleanup(self.notify.close)
        name = '\0' + self.dir if abstract else os.path.join(self.dir, 'notify')
        self.notify.bind(name)
        self.notify.settimeout(DEADLINE)
        environ = dict(os.environ, NOTIFY_SOCKET=name.replace('\0', '@'))
        environ.update(env or {})
        self.log_path = os.path.join(self.dir, 'log')
        with open(self.log_path, 'wb') as log:
            self.p = subprocess.Popen([TOYD, '-c', self.conf, '--mode', mode, *args], env=environ, stderr=log,
                                      stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, **popen)
        case.addCleanup(self.kill)

    def write(self, conf):
        with open(self.conf, 'w') as f:
            f.write(f'[common]\nrun-dir = {self.run}\n{conf}')

    def kill(self):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()

    def told(self):
        return self.notify.recv(4096).decode()

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def wait_log(self, pattern):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if re.search(pattern, self.log()):
                return
            time.sleep(0.01)
        raise AssertionError(f'no {pattern!r} in the log:\n{self.log()}')

    def signal(self, signo):
        self.p.send_signal(signo)

    def end(self):
        return self.p.wait(DEADLINE)


def run(*args):
    return subprocess.run([TOYD, *args], capture_output=True, text=True, timeout=DEADLINE)


class Arguments(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='tf-toyd-')
        self.addCleanup(shutil.rmtree, self.dir)

    def conf(self, text):
        path = os.path.join(self.dir, 'x.conf')
        with open(path, 'w') as f:
            f.write(text)
        return path

    def test_help_and_version(self):
        for option in ('--help', '-h'):
            r = run(option)
            self.assertEqual(r.returncode, 0)
            for word in ('--config FILE', '--check-config', '--dump-config', '--log-level', '--version', '--help', '--mode MODE',
                         '(required)', 'exit status: 0', '78', 'proves the skeleton'):
                self.assertIn(word, r.stdout)
            # but for the default path, which is as long as configure made it
            self.assertTrue(all(len(line) <= 100 for line in r.stdout.splitlines() if 'tokenfactory.conf' not in line))
        r = run('--version')
        self.assertEqual(r.returncode, 0)
        self.assertRegex(r.stdout, r'^toyd \(Token Factory\) \d')

    def test_wrong_usage(self):
        for args in (['--nonsense'], ['--mode'], [], ['--mode', 'quick', 'stray'], ['--mode', 'quick', '--log-level', 'loud']):
            r = run(*args)
            self.assertEqual(r.returncode, 2, args)
            self.assertNotEqual(r.stderr, '')
            self.assertEqual(r.stdout, '')

    def test_check_config(self):
        good = self.conf('[common]\nlog-level = debug\n')
        r = run('-c', good, '--mode', 'quick', '--check-config')
        self.assertEqual((r.returncode, r.stderr), (0, ''))
        bad = self.conf('[common]\nlog-level = debug\nno-such-key = 1\n')
        r = run('-c', bad, '--mode', 'quick', '--check-config')
        self.assertEqual(r.returncode, 78)
        self.assertRegex(r.stderr, r'x\.conf:3: .*no-such-key')
        unfit = self.conf('[common]\nheartbeat = 9s\n')
        r = run('-c', unfit, '--mode', 'quick', '--check-config')
        self.assertEqual(r.returncode, 78)
        self.assertIn('9000 ms is too long', r.stderr)
        r = run('-c', os.path.join(self.dir, 'absent.conf'), '--mode', 'quick', '--check-config')
        self.assertEqual(r.returncode, 78)
        self.assertIn('absent.conf', r.stderr)
        # the same without --check-config: it does not start
        r = run('-c', unfit, '--mode', 'quick')
        self.assertEqual(r.returncode, 78)

    def test_dump_config(self):
        r = run('-c', self.conf('[common]\nlog-level = debug\n'), '--mode', 'quick', '--dump-config')
        self.assertEqual(r.returncode, 0)
        self.assertRegex(r.stdout, r'(?m)^log-level = debug')
        again = run('-c', self.conf(r.stdout), '--mode', 'quick', '--dump-config')
        self.assertEqual(again.returncode, 0)

        def values(text):
            return [line.split('#')[0].strip() for line in text.splitlines() if not line.startswith('#')]
        self.assertEqual(values(r.stdout), values(again.stdout))


class Life(unittest.TestCase):
    def test_ready_drain_end(self):
        for abstract in (False, True):
            d = Daemon(self, '--extra', 'word', mode='slow', abstract=abstract)
            self.assertEqual(d.told(), 'READY=1')
            self.assertIn('toy init extra=word', d.log())
            self.assertEqual(os.stat(d.run).st_mode & 0o7777, 0o750)
            began = time.monotonic()
            d.signal(signal.SIGTERM)
            self.assertEqual(d.told(), 'STOPPING=1')
            self.assertEqual(d.end(), 0)
            self.assertGreater(time.monotonic() - began, 0.35)
            self.assertRegex(d.log(), r'(?s)toy drain draining=1.*toy stop data=1.*ended status=0')
            self.assertEqual(d.log().count('toy stop'), 1)
            self.assertNotIn('toyd.ctl', os.listdir(d.run))

    def test_ends_at_once(self):
        for signals in ([signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT], [signal.SIGINT], [signal.SIGQUIT]):
            d = Daemon(self, mode='stuck')
            self.assertEqual(d.told(), 'READY=1')
            began = time.monotonic()
            for i, signo in enumerate(signals):
                d.signal(signo)
                if i + 1 < len(signals):
                    self.assertEqual(d.told(), 'STOPPING=1')
            self.assertEqual(d.end(), 0)
            self.assertLess(time.monotonic() - began, DEADLINE)
            self.assertIn('ending now', d.log())
            self.assertIn('toy stop', d.log())

    def test_drain_has_an_end(self):
        d = Daemon(self, mode='stuck')
        self.assertEqual(d.told(), 'READY=1')
        d.signal(signal.SIGTERM)
        self.assertEqual(d.end(), 0)
        self.assertIn('still not drained', d.log())

    def test_fails(self):
        d = Daemon(self, mode='fails')
        self.assertEqual(d.told(), 'READY=1')
        d.signal(signal.SIGTERM)
        self.assertEqual(d.end(), 1)
        self.assertIn('toy stop', d.log())
        d = Daemon(self, mode='badinit')
        self.assertEqual(d.end(), 1)
        self.assertIn('toy stop', d.log())
        self.assertNotIn(' ready ', d.log())
        self.assertEqual(select.select([d.notify], [], [], 0)[0], [])  # never READY

    def test_one_instance(self):
        first = Daemon(self)
        self.assertEqual(first.told(), 'READY=1')
        second = Daemon(self, conf_path=first.conf)
        self.assertEqual(second.end(), 1)
        self.assertIn('another instance', second.log())
        self.assertNotIn('toy init', second.log())
        self.assertNotIn('toy stop', second.log())
        self.assertIsNone(first.p.poll())
        answer = self.ask(first, 'ping')
        self.assertIn('end', json.loads(answer.splitlines()[-1]))
        row = json.loads(self.ask(first, 'version').splitlines()[0])['row']
        self.assertEqual((row['daemon'], row['name'], row['pid']), ('toyd', 'toyd', first.p.pid))
        self.assertRegex(row['wire'], r'^\d+\.\d+$')
        first.signal(signal.SIGTERM)
        self.assertEqual(first.end(), 0)

    def ask(self, d, cmd):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(os.path.join(d.run, 'toyd.ctl'))
            s.sendall(json.dumps({'cmd': cmd, 'args': {}}).encode() + b'\n')
            got = b''
            while b'"end"' not in got and b'"error"' not in got:
                part = s.recv(65536)
                self.assertNotEqual(part, b'')
                got += part
            return got.decode()

    def test_run_dir_open_to_others(self):
        base = tempfile.mkdtemp(prefix='tf-toyd-')
        self.addCleanup(shutil.rmtree, base)
        wide = os.path.join(base, 'run')
        os.mkdir(wide)
        os.chmod(wide, 0o755)
        conf = os.path.join(base, 'x.conf')
        with open(conf, 'w') as f:
            f.write(f'[common]\nrun-dir = {wide}\n')
        d = Daemon(self, conf_path=conf)
        self.assertEqual(d.end(), 1)
        self.assertIn('others cannot enter', d.log())


class Manager(unittest.TestCase):
    def test_watchdog(self):
        d = Daemon(self, env={'WATCHDOG_USEC': '100000'})
        # both orders are right: the first ping may come with the first turn
        seen = [d.told() for _ in range(6)]
        self.assertEqual(sorted(seen), ['READY=1'] + 5 * ['WATCHDOG=1'])
        d.signal(signal.SIGSTOP)
        while select.select([d.notify], [], [], 0.3)[0]:
            d.told()
        self.assertEqual(select.select([d.notify], [], [], 0.5)[0], [])  # who stands still does not ping
        d.signal(signal.SIGCONT)
        self.assertEqual(d.told(), 'WATCHDOG=1')

    def test_watchdog_of_another(self):
        d = Daemon(self, env={'WATCHDOG_USEC': '100000', 'WATCHDOG_PID': '1'})
        self.assertEqual(d.told(), 'READY=1')
        self.assertEqual(select.select([d.notify], [], [], 0.5)[0], [])

    def test_inherited_sockets(self):
        listening = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
        for s in listening:
            self.addCleanup(s.close)

        def hand_over():
            # by way of 40, because a listening socket may itself be 3 or 4
            high = [os.dup2(s.fileno(), 40 + i) for i, s in enumerate(listening)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
                os.close(fd)

        d = Daemon(self)  # for its files; replaced by one that inherits
        self.assertEqual(d.told(), 'READY=1')
        d.signal(signal.SIGTERM)
        d.end()
        for pid, wanted in (('$$', 2), ('1', 0)):
            # LISTEN_PID must name the process that execs toyd: the shell
            with open(d.log_path, 'wb') as log:
                d.p = subprocess.Popen(
                    ['/bin/sh', '-c', f'LISTEN_PID={pid} LISTEN_FDS=2 LISTEN_FDNAMES=http exec "$0" "$@"', TOYD, '-c', d.conf,
                     '--mode', 'quick'], stderr=log, preexec_fn=hand_over, close_fds=False)
            d.wait_log(' ready ')
            d.signal(signal.SIGUSR1)
            d.wait_log(f'dump .*fds={wanted} env=clean')
            if wanted:
                d.wait_log(r'socket fd=3 name=http cloexec=1 nonblock=1')
                d.wait_log(r'socket fd=4 name=none cloexec=1 nonblock=1')
            d.signal(signal.SIGTERM)
            self.assertEqual(d.end(), 0)


class Reload(unittest.TestCase):
    def hup(self, d):
        """Sends HUP; returns the clock value that came with RELOADING."""
        d.signal(signal.SIGHUP)
        said = d.told().split('\n')
        self.assertEqual(said[0], 'RELOADING=1')
        self.assertEqual(d.told(), 'READY=1')
        return int(said[1].removeprefix('MONOTONIC_USEC='))

    def test_reload(self):
        d = Daemon(self)
        self.assertEqual(d.told(), 'READY=1')
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        d.write('log-level = debug\nheartbeat = 400ms\n')
        self.assertGreaterEqual(self.hup(d), before)
        self.assertIn('toy reload from=info to=debug', d.log())
        self.assertRegex(d.log(), r'needs a restart section="common" key=heartbeat')
        self.assertNotIn('key=log-level', d.log())
        # a bad file changes nothing and says where
        d.write('log-level = error\nbroken\n')
        self.hup(d)
        self.assertRegex(d.log(), r'refused reason="[^"]*tokenfactory\.conf:4: ')
        self.assertIn('not reloaded', d.log())
        self.assertEqual(d.log().count('toy reload'), 1)
        # neither does one that the daemon itself refuses
        d.write('heartbeat = 9s\n')
        self.hup(d)
        self.assertIn('9000 ms is too long', d.log())
        os.unlink(d.conf)
        self.hup(d)
        self.assertEqual(d.log().count('not reloaded'), 3)
        d.write('log-level = warn\n')
        self.hup(d)
        self.assertEqual(d.log().count('toy reload'), 1)  # the new level keeps its line out
        d.signal(signal.SIGTERM)
        self.assertEqual(d.end(), 0)

    def test_level_of_the_command_line_stays(self):
        d = Daemon(self, '--log-level', 'debug', conf='log-level = error\n')
        self.assertEqual(d.told(), 'READY=1')
        self.assertIn('toy init', d.log())
        self.hup(d)
        self.assertIn('toy reload', d.log())

    def test_json(self):
        d = Daemon(self, conf='log-format = json\n')
        self.assertEqual(d.told(), 'READY=1')
        d.signal(signal.SIGTERM)
        self.assertEqual(d.end(), 0)
        rows = [json.loads(line) for line in d.log().splitlines()]
        self.assertTrue(all(row['daemon'] == 'toyd' for row in rows))
        self.assertTrue(any(row['sub'] == 'toy' and row['msg'].startswith('init ') for row in rows))


class Process(unittest.TestCase):
    def dump(self, **env):
        d = Daemon(self, env=env)
        self.assertEqual(d.told(), 'READY=1')
        d.signal(signal.SIGUSR1)
        d.wait_log(' dump ')
        return d

    def test_secrets_stay_inside(self):
        d = self.dump()
        self.assertRegex(d.log(), r'dump umask=027 core=0 ')
        with open(os.path.join(os.environ.get('top_builddir', '.'), 'config.h')) as f:
            if '#define TF_SANITIZED' not in f.read():
                self.assertRegex(d.log(), r'dumpable=0')

    def test_core_when_asked(self):
        self.assertRegex(self.dump(TF_DEBUG_CORE='1').log(), r'dumpable=1')

    def test_broken_pipe_is_no_end(self):
        d = self.dump()
        d.signal(signal.SIGPIPE)
        d.signal(signal.SIGTERM)
        self.assertEqual(d.end(), 0)


if __name__ == '__main__':
    signal.alarm(150)
    unittest.main(argv=[sys.argv[0], '-v'])
