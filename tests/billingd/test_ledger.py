#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The ledger as the operator sees it through keyctl: exported in pages, checked against everything that is
derived from it, and its sums mended. The rows are written with SQL while billingd is down.
"""
import csv
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import unittest
from fractions import Fraction

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from ctlbed import DEADLINE, ControlBed  # noqa: E402

KEYCTL = os.path.join(os.environ.get('top_builddir', '.'), 'keyctl/keyctl')
DAY = 86400000
FIRST = 20000 * DAY
PRICES = ('input', 'cached_input', 'cache_write', 'output', 'reasoning', 'audio_hour', 'characters', 'image')
UNITS = (10**6,) * 5 + (3600000, 10**6, 1)
COUNTS = ('prompt', 'cache_read', 'cache_write', 'completion', 'reasoning', 'images', 'audio_ms', 'characters', 'cost', 'unbilled')
CHECKS = ['cost', 'charged', 'sequence', 'days', 'windows', 'balance']


def cost(row):
    counts = [row['prompt'], row['cache_read'], row['cache_write'], row['completion'], row['reasoning'],
              max(row['audio_ms'], 10000) if row['audio_ms'] else 0, row['characters'], row['images']]
    total = sum(Fraction(row['price_' + n] or 0) * c / u for n, c, u in zip(PRICES, counts, UNITS))
    return (total * 2 + 1) // 2


class Ledger(ControlBed):
    def db(self):
        db = sqlite3.connect(os.path.join(self.dir, 'billing.db'))
        self.addCleanup(db.close)
        return db

    def sql(self, *statement):
        """While billingd is down."""
        self.stop()
        db = self.db()
        db.execute(*statement)
        db.commit()
        db.close()
        self.start()

    def fill(self, n, spaces=('main', 'other')):
        """n rows, one in five not charged, and their sums."""
        rng = random.Random(7)
        ids = []
        for name in spaces:
            self.ask('workspace create', name=name)
            key, = self.ask('key mint', workspace=name, name='=' + name)
            ids.append(key['id'])
        self.stop()
        db = self.db()
        keys = db.execute('SELECT workspace, id FROM keys ORDER BY name').fetchall()
        db.execute("INSERT INTO instances (id, name, boot, seq) VALUES (77, 'gatewayd.0', 5, ?)", (n,))
        for seq in range(1, n + 1):
            workspace, key = rng.choice(keys)
            row = {'request': seq.to_bytes(16, 'big'), 'attempt': 1, 'workspace': workspace, 'key': key,
                   'model': rng.choice(['acme/large', 'acme/small']), 'surface': rng.choice(['openai_chat', 'anthropic_messages']),
                   'outcome': rng.choice([1, 1, 1, 2, 3]), 'delivered': 1, 'estimated': 0, 'stream': 0, 'reserved': 0, 'window_ms': 0,
                   'began_ms': FIRST + rng.randrange(4 * DAY), 'status': 200, 'instance': 77, 'seq': seq, 'finish': 'stop'}
            row['charged'] = int(row['outcome'] < 3)
            row['ended_ms'] = row['began_ms'] + 5
            row.update({name: rng.randrange(3000) for name in COUNTS[:8]})
            if seq % 3:
                row.update(images=0, audio_ms=0, characters=0)
            row.update({'price_' + name: rng.choice([None, rng.randrange(10**11)]) for name in PRICES})
            row['cost'] = cost(row)
            row['unbilled'] = rng.choice([0, 0, row['cost'] // 3])
            db.execute('INSERT INTO ledger (%s) VALUES (%s)' % (', '.join(row), ', '.join('?' * len(row))), list(row.values()))
        db.execute('INSERT INTO usage_days (workspace, day, key, model, surface, requests, %s) SELECT workspace, began_ms / 86400000,'
                   ' key, model, surface, count(*), %s FROM ledger WHERE charged = 1 GROUP BY 1, 2, 3, 4, 5'
                   % (', '.join(COUNTS), ', '.join('sum(%s)' % c for c in COUNTS)))
        db.commit()
        db.close()
        self.start()

    def keyctl(self, *args):
        return subprocess.run([KEYCTL, '--run-dir', self.dir, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE)

    def verify(self):
        """What is wrong: names and how often; and the exit status says so."""
        done = self.keyctl('--json', 'ledger', 'verify')
        rows = json.loads(done.stdout)
        self.assertEqual([r['check'] for r in rows], CHECKS)
        wrong = {r['check']: r['wrong'] for r in rows if r['wrong']}
        self.assertEqual(done.returncode, 1 if wrong else 0, done.stderr)
        for r in rows:
            self.assertEqual((r['holds'], r['first'] is None), ('no', False) if r['wrong'] else ('yes', True))
        self.looked = {r['check']: r['looked'] for r in rows}
        self.skipped = {r['check']: r['skipped'] for r in rows}
        return wrong

    def test_export(self):
        self.fill(2300)
        start = ['--start', '2024-01-01', '--end', '2030-01-01']
        done = self.keyctl('usage', 'export', *start)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode(), newline='')))
        self.assertEqual(len(rows), 2300)
        self.assertEqual(len({r['request_id'] for r in rows}), 2300)
        self.assertEqual({r['key'] for r in rows}, {"'=main", "'=other"})
        self.assertNotIn('cursor', rows[0])
        order = [(r['workspace_id'], int(r['began_ms'])) for r in rows]
        self.assertEqual(order, sorted(order))
        db = self.db()
        total, = db.execute('SELECT sum(cost) FROM ledger').fetchone()
        self.assertEqual(sum(Fraction(r['cost']) for r in rows) * 10**9, total)
        again = self.keyctl('usage', 'export', *start, '--format', 'jsonl')
        lines = [json.loads(line) for line in again.stdout.splitlines()]
        self.assertEqual([r['request_id'] for r in lines], [r['request_id'] for r in rows])
        self.assertEqual(sorted({r['charged'] for r in lines}), [False, True])
        main = [r for r in lines if r['workspace'] == 'main']
        # any cut of the pages gives the same rows
        found, cursor = [], {}
        while page := self.ask('usage export', workspace='main', start=0, end=FIRST // 1000 + 10**8, limit=97, **cursor):
            self.assertLessEqual(len(page), 97)
            found += page
            cursor = {'after': page[-1]['cursor']}
        self.assertEqual([r['request_id'] for r in found], [r['request_id'] for r in main])
        some = self.ask('usage export', workspace='main', start=FIRST // 1000 + 86400, end=FIRST // 1000 + 86401 + 600)
        want = [r for r in main if FIRST + DAY <= r['began_ms'] < FIRST + DAY + 601000]
        self.assertTrue(want)
        self.assertEqual([r['request_id'] for r in some], [r['request_id'] for r in want])
        # no rows: the same heading, and of objects none
        self.assertEqual(self.keyctl('usage', 'export', '--start', '1d').stdout, done.stdout[:done.stdout.index(b'\n') + 1])
        self.assertEqual(self.keyctl('usage', 'export', '--start', '1d', '--format', 'jsonl').stdout, b'')
        for args in ({}, {'start': 5, 'end': 4}, {'start': 0, 'limit': 0}, {'start': 0, 'limit': 1001}, {'start': 0, 'after': 'x'},
                     {'start': 0, 'after': 'x:1:1'}, {'start': 0, 'workspace': 'main', 'after': lines[-1]['workspace_id'] + ':1:1'}):
            self.refused('usage', 'usage export', **args)
        self.refused('not_found', 'usage export', start=0, workspace='nowhere')

    def test_verify(self):
        self.assertEqual(self.verify(), {})
        self.fill(5000)
        self.assertEqual(self.verify(), {})
        self.assertEqual((self.looked['cost'], self.looked['sequence'], self.looked['days']), (5000, 5000, 8))
        self.sql('UPDATE ledger SET cost = cost + 1 WHERE id IN (17, 4711) AND charged = 1 OR id = 18')
        wrong = self.verify()
        self.assertTrue(wrong['cost'] >= 1 and set(wrong) <= {'cost', 'days'}, wrong)
        self.sql('UPDATE ledger SET cost = cost - 1 WHERE id IN (17, 4711) AND charged = 1 OR id = 18')
        self.assertEqual(self.verify(), {})
        self.sql('UPDATE ledger SET charged = 0 WHERE id = (SELECT min(id) FROM ledger WHERE charged = 1)')
        self.assertEqual(self.verify(), {'charged': 1, 'days': 1})
        self.sql('UPDATE ledger SET charged = 1 WHERE id = (SELECT min(id) FROM ledger WHERE charged = 0 AND outcome < 3)')
        self.sql('UPDATE ledger SET charged = 1 WHERE id = (SELECT min(id) FROM ledger WHERE outcome = 3)')
        self.assertEqual(self.verify(), {'charged': 1, 'days': 1})
        self.sql('UPDATE ledger SET charged = 0 WHERE outcome = 3')
        self.sql('UPDATE instances SET seq = seq + 3 WHERE id = 77')
        self.assertEqual(self.verify(), {'sequence': 3})
        self.sql('UPDATE instances SET seq = seq - 3 WHERE id = 77')
        # one that is there twice does not make up for one that is not there
        self.sql('UPDATE ledger SET seq = 101 WHERE seq = 100')
        self.assertEqual(self.verify(), {'sequence': 2})
        self.sql('UPDATE ledger SET seq = 100 WHERE seq = 101 AND id = (SELECT min(id) FROM ledger WHERE seq = 101)')
        self.assertEqual(self.verify(), {})
        # nor is a row forgotten that somebody removed
        self.sql('DELETE FROM ledger WHERE id = (SELECT min(id) FROM ledger WHERE charged = 1)')
        self.assertEqual(self.verify(), {'days': 1, 'sequence': 1})

    def test_counted_before(self):
        """A database that counted records without a row knows which they are, where the count comes out."""
        self.fill(300)
        self.stop()
        db = self.db()
        # as it was before: counts, and a trigger that counts
        db.executescript("""DROP TABLE spent; ALTER TABLE instances ADD COLUMN spent INTEGER NOT NULL DEFAULT 0;
            CREATE TRIGGER ledger_spent AFTER DELETE ON ledger BEGIN UPDATE instances SET spent = spent + 1 WHERE id = old.instance; END;
            DELETE FROM ledger WHERE charged = 0; PRAGMA user_version = 6;
            INSERT INTO instances (id, name, boot, seq, spent) VALUES (78, 'gatewayd.1', 5, 40, 40), (79, 'gatewayd.2', 5, 7, 6),
                (80, 'gatewayd.3', 5, 0, 0)""")
        gone = 300 - db.execute('SELECT count(*) FROM ledger').fetchone()[0]
        self.assertEqual(db.execute('SELECT spent FROM instances WHERE id = 77').fetchone(), (gone,))
        db.close()
        self.start()
        self.assertEqual(self.verify(), {'sequence': 7})
        ranges = self.db().execute('SELECT instance, first, last FROM spent ORDER BY 1, 2').fetchall()
        self.assertEqual([r for r in ranges if r[0] != 77], [(78, 1, 40)])
        self.assertEqual(sum(last - first + 1 for _, first, last in ranges), gone + 40)
        self.sql('UPDATE instances SET seq = 0 WHERE id = 79')
        self.assertEqual(self.verify(), {})

    def test_rebuild(self):
        self.fill(3000)
        before = self.ask('usage', period='all', by='model')
        self.sql('UPDATE usage_days SET cost = cost + 1, prompt = 0 WHERE model = ?', ('acme/large',))
        self.sql('DELETE FROM usage_days WHERE day = ?', (FIRST // DAY + 3,))
        self.sql("INSERT INTO usage_days (workspace, day, key, model, surface, requests, prompt, cache_read, cache_write, completion,"
                 " reasoning) SELECT id, 5, id, 'ghost', 'openai_chat', 1, 2, 3, 4, 5, 6 FROM workspaces")
        self.assertEqual(self.verify(), {'days': 10})
        done = self.keyctl('--json', 'ledger', 'rebuild')
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)[0]['mended'], 10)
        self.assertEqual(self.verify(), {})
        self.assertEqual(self.ask('usage', period='all', by='model'), before)

    def test_retention(self):
        """Days whose rows were removed are kept as sums, which nothing can be held against any more."""
        self.fill(3000)
        before = self.ask('usage', period='all', by='day')
        self.sql("INSERT INTO meta (name, value) VALUES ('ledger_from', ?)", (FIRST // DAY + 2,))
        self.sql('INSERT INTO spent (instance, first, last) SELECT instance, seq, seq FROM ledger WHERE began_ms < ?', (FIRST + 2 * DAY,))
        self.sql('DELETE FROM ledger WHERE began_ms < ?', (FIRST + 2 * DAY,))
        self.assertEqual(self.verify(), {})
        self.assertEqual(self.skipped['days'], 4)
        self.sql('UPDATE usage_days SET cost = 1')
        self.assertEqual(self.keyctl('ledger', 'rebuild').returncode, 0)
        self.assertEqual(self.verify(), {})
        after = self.ask('usage', period='all', by='day')
        self.assertEqual(after[2:], before[2:])
        self.assertEqual([r['requests'] for r in after], [r['requests'] for r in before])

    def test_balance(self):
        self.fill(500)
        charged, = self.db().execute("SELECT sum(cost - unbilled) FROM usage_days WHERE workspace = (SELECT id FROM workspaces"
                                     " WHERE name = 'main')").fetchone()
        self.sql("INSERT INTO topups (id, workspace, money, created_ms, actor) SELECT id, id, 1000, 1, 'me' FROM workspaces"
                 " WHERE name = 'main'")
        self.assertEqual(self.verify(), {})
        self.sql("UPDATE workspaces SET balance = 1000 WHERE name = 'main'")
        # what was charged before counts for nothing
        self.assertGreater(charged, 1000)
        self.assertEqual((self.verify(), self.looked['balance']), ({}, 1))
        self.sql("UPDATE workspaces SET balance = balance - 1 WHERE name = 'main'")
        self.assertEqual(self.verify(), {'balance': 1})

    def test_windows(self):
        self.fill(500)
        self.sql('UPDATE ledger SET window_budget = ? WHERE began_ms < ?', (FIRST, FIRST + DAY))
        self.sql('UPDATE ledger SET reserved = 5000 WHERE id % 2')
        self.sql('INSERT INTO windows (workspace, number, ends_ms, size, tokens) SELECT workspace, ?, ?, 5, sum(CASE WHEN reserved > 0'
                 ' THEN min(5000, prompt + cache_read + cache_write + completion + reasoning) ELSE prompt + cache_read + cache_write'
                 ' + completion + reasoning END) FROM ledger WHERE charged = 1 AND window_budget = ? AND images = 0 AND audio_ms = 0'
                 ' AND characters = 0 GROUP BY 1',
                 (FIRST, FIRST + DAY, FIRST))
        self.assertEqual((self.verify(), self.looked['windows']), ({}, 2))
        self.sql('UPDATE windows SET tokens = tokens + 1 WHERE workspace = (SELECT min(workspace) FROM windows)')
        self.assertEqual(self.verify(), {'windows': 1})

    def test_meanwhile(self):
        """One at a time; others are served in between."""
        self.fill(20000)
        outcome = []
        checks = [threading.Thread(target=lambda: outcome.append(self.keyctl('ledger', 'verify').returncode)) for _ in range(4)]
        for c in checks:
            c.start()
        for _ in range(20):
            self.ask('usage', period='day')
        for c in checks:
            c.join()
        self.assertIn(0, outcome)
        self.assertTrue(set(outcome) <= {0, 5}, outcome)
        # and an end does not wait for it
        check = threading.Thread(target=lambda: outcome.append(self.keyctl('ledger', 'verify').returncode))
        check.start()
        self.assertEqual(self.stop(), 0)
        check.join()
        self.assertIn(outcome[-1], (0, 1, 3))


if __name__ == '__main__':
    unittest.main()
