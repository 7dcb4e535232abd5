#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The real billingd through its control socket: workspaces, keys, plans, usage; refusals and their codes;
a second instance, reload, kill -9; and a key's text nowhere but in the one answer that shows it.
"""
import decimal
import json
import os
import pwd
import signal
import sqlite3
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from ctlbed import DEADLINE, MODELS, ControlBed, Refused  # noqa: E402


class Control(ControlBed):
    def test_workspaces(self):
        row, = self.ask('workspace create', name='main')
        self.assertEqual((row['name'], row['plan'], row['keys']), ('main', 'test', 0))
        self.assertEqual(len(row['id']), 26)
        self.assertLess(abs(row['created'] - time.time()), 60)
        self.refused('conflict', 'workspace create', name='main')
        self.refused('not_found', 'workspace create', name='other', plan='no such plan')
        self.refused('usage', 'workspace create', name='')
        self.refused('usage', 'workspace create', name='a"b')
        self.refused('usage', 'workspace create')
        self.refused('usage', 'workspace create', name='x', colour='red')
        shown, = self.ask('workspace show', workspace=row['id'])
        self.assertEqual({k: shown[k] for k in row}, row)
        self.assertEqual({k: shown[k] for k in ('rpm', 'tpm', 'concurrency', 'members', 'month_requests', 'month_tokens',
                                                'month_cost')},
                         {'rpm': 30, 'tpm': 10000, 'concurrency': None, 'members': 0, 'month_requests': 0, 'month_tokens': 0,
                          'month_cost': '0'})
        self.refused('not_found', 'workspace show', workspace='nobody')
        changed, = self.ask('workspace set-plan', workspace='main', plan='token-pro')
        self.assertEqual(changed['plan'], 'token-pro')
        self.refused('not_found', 'workspace set-plan', workspace='main', plan='gold')
        self.ask('workspace create', name='other', plan='local')
        self.assertEqual(sorted(r['name'] for r in self.ask('workspace list')), ['main', 'other'])
        plans = {r['name']: r for r in self.ask('plan list')}
        self.assertEqual((plans['test']['rpm'], plans['test']['tpm'], plans['test']['workspaces']), (30, 10000, 0))
        self.assertEqual(plans['token-pro']['workspaces'], 1)
        windows = {n: (p['window'], p['window_seconds'], p['window_tokens']) for n, p in plans.items()}
        self.assertEqual(windows['test'], ('first-use', 86400, 1000000))
        self.assertEqual(windows['token-pro'], ('first-use', 18000, 3000000))
        self.assertEqual(windows['token-ultra'], ('month', None, 20000000))
        self.assertEqual(windows['local'], ('none', None, 0))

    def test_keys(self):
        self.ask('workspace create', name='main')
        key, = self.ask('key mint', workspace='main', name='ci', env='dev', model=['big', 'acme/small'],
                        expires=int(time.time()) + 3600)
        self.assertTrue(key['key'].startswith('tf-dev-'))
        self.assertEqual(key['models'], ['acme/large', 'acme/small'])
        self.assertEqual((key['status'], key['last_used'], key['env']), ('active', None, 'dev'))
        self.assertTrue(key['key'].startswith(key['prefix']) and key['key'].endswith(key['last4']))
        self.assertLess(len(key['prefix']) + len(key['last4']), 20)
        other, = self.ask('key mint', workspace='main', form='sk-oais')
        self.assertTrue(other['key'].startswith('sk-oais-'))
        self.assertIsNone(other['expires'])
        shown, = self.ask('key show', key=key['id'])
        self.assertNotIn('key', shown)
        self.assertEqual(shown, {k: v for k, v in key.items() if k != 'key'})
        self.assertEqual({r['id'] for r in self.ask('key list', workspace='main')}, {key['id'], other['id']})
        new, = self.ask('key rotate', key=key['id'], grace=60)
        self.assertEqual(new['id'], key['id'])
        self.assertNotEqual(new['key'], key['key'])
        self.assertGreater(new['grace_until'], time.time())
        self.assertEqual(self.ask('workspace list')[0]['keys'], 2)
        revoked, = self.ask('key revoke', key=key['id'])
        self.assertEqual(revoked['status'], 'revoked')
        self.assertEqual(self.ask('key revoke', key=key['id']), [revoked])
        self.assertEqual(self.ask('workspace list')[0]['keys'], 1)
        self.refused('conflict', 'key rotate', key=key['id'])
        self.refused('not_found', 'key show', key='nobody')
        self.refused('not_found', 'key mint', workspace='nowhere')
        self.refused('not_found', 'key mint', workspace='main', model=['acme/huge'])
        self.refused('usage', 'key mint', workspace='main', form='pk')
        self.refused('usage', 'key mint', workspace='main', env='moon')
        self.refused('usage', 'key mint', workspace='main', expires=int(time.time()) - 1)
        self.refused('usage', 'key rotate', key=other['id'], grace=-1)
        self.secret_nowhere([key['key'], other['key'], new['key']])
        # and all of it is there after a kill
        before = sorted(self.ask('key list'), key=lambda r: r['id'])
        self.stop(signal.SIGKILL)
        self.start()
        self.assertEqual(sorted(self.ask('key list'), key=lambda r: r['id']), before)

    def test_leaked(self):
        """A text is known by its beginning: of one key it goes, of several only when that is said."""
        self.ask('workspace create', name='main')
        keys = [self.ask('key mint', workspace='main', env=e)[0] for e in ('prod', 'prod', 'dev')]
        self.refused('usage', 'key revoke')
        self.refused('usage', 'key revoke', key=keys[0]['id'], prefix='tf-')
        self.refused('usage', 'key revoke', key=keys[0]['id'], all=True)
        self.refused('usage', 'key revoke', prefix='')
        self.refused('not_found', 'key revoke', prefix='sk-oais-')
        self.refused('conflict', 'key revoke', prefix='tf-prod-')
        self.assertEqual({r['status'] for r in self.ask('key list')}, {'active'})
        gone, = self.ask('key revoke', prefix='tf-dev-')
        self.assertEqual((gone['id'], gone['status']), (keys[2]['id'], 'revoked'))
        # what a scanner reports is longer than what is kept; the text before a rotation leads to its key too
        self.ask('key rotate', key=keys[0]['id'], grace=3600)
        gone, = self.ask('key revoke', prefix=keys[0]['key'][:20])
        self.assertEqual((gone['id'], gone['grace_until'] is not None), (keys[0]['id'], True))
        more = [self.ask('key mint', workspace='main', env='prod')[0] for _ in range(2)]
        both = self.ask('key revoke', prefix='tf-prod-', all=True)
        self.assertEqual({r['id'] for r in both}, {keys[1]['id'], more[0]['id'], more[1]['id']})
        self.assertEqual({r['status'] for r in self.ask('key list')}, {'revoked'})
        self.assertEqual(self.ask('workspace show', workspace='main')[0]['keys'], 0)
        acts = self.ask('audit', action='key revoke', workspace='main')
        self.assertEqual(sorted(a['subject'] for a in acts), sorted(k['id'] for k in keys + more))
        last, = self.ask('key mint', workspace='main', env='prod')
        self.ask('key mint', workspace='main', env='prod')
        self.assertEqual(self.ask('key revoke', prefix=last['key'])[0]['id'], last['id'])
        self.secret_nowhere([k['key'] for k in keys + more + [last]])

    def test_key_limits(self):
        self.ask('workspace create', name='main')
        key, = self.ask('key mint', workspace='main')
        none = {'rpm': None, 'tpm': None, 'concurrency': None, 'budget': None, 'scopes': ['inference'], 'models': [],
                'endpoints': [], 'networks': [], 'expires': None}
        self.assertEqual({k: key[k] for k in none}, none)
        soon = int(time.time()) + 3600
        asked = dict(rpm='5', tpm='1000', concurrency='2', budget='0.000000001', scope=['usage:read', 'inference'],
                     model=['big', 'acme/large'], endpoint=['embeddings', 'chat'], expires=soon,
                     network=['192.0.2.0/24', '2001:DB8::/32', '10.1.2.3'])
        want = {'rpm': 5, 'tpm': 1000, 'concurrency': 2, 'budget': '0.000000001', 'scopes': ['inference', 'usage:read'],
                'models': ['acme/large'], 'endpoints': ['embeddings', 'chat'], 'expires': soon,
                'networks': ['192.0.2.0/24', '2001:db8::/32', '10.1.2.3/32']}
        limited, = self.ask('key limit', key=key['id'], **asked)
        self.assertEqual({k: limited[k] for k in want}, want)
        minted, = self.ask('key mint', workspace='main', **asked)
        self.assertEqual({k: minted[k] for k in want}, want)
        # what is not given stays
        changed, = self.ask('key limit', key=key['id'], rpm='7')
        self.assertEqual({k: changed[k] for k in want}, want | {'rpm': 7})
        act = self.ask('audit', action='key limit')
        self.assertEqual(([a['subject'] for a in act], act[0]['detail']), ([key['id']] * 2, {'rpm': 7}))
        self.assertEqual(act[1]['detail']['networks'], want['networks'])
        self.stop(signal.SIGKILL)
        self.start()

        def same(row, wanted):
            self.assertEqual({k: sorted(v) if isinstance(v, list) else v for k, v in row.items() if k in wanted},
                             {k: sorted(v) if isinstance(v, list) else v for k, v in wanted.items()})
        same(self.ask('key show', key=key['id'])[0], want | {'rpm': 7})
        same(self.ask('key show', key=minted['id'])[0], want)
        # each goes away again
        gone, = self.ask('key limit', key=key['id'], rpm='none', tpm='none', concurrency='none', budget='none', expires=0,
                         model=['none'], endpoint=['none'], network=['none'], scope=['inference'])
        self.assertEqual({k: gone[k] for k in none}, none)
        self.assertEqual({k: self.ask('key show', key=minted['id'])[0][k] for k in ('rpm', 'tpm')}, {'rpm': 5, 'tpm': 1000})
        for code, wrong in [('usage', {}), ('usage', {'rpm': '0'}), ('usage', {'rpm': '-1'}), ('usage', {'tpm': '1.5'}),
                            ('usage', {'tpm': '9' * 20}), ('usage', {'budget': '0.0000000001'}), ('usage', {'budget': '-1'}),
                            ('usage', {'budget': '1e3'}), ('usage', {'budget': ''}), ('usage', {'scope': ['root']}),
                            ('usage', {'scope': []}), ('usage', {'scope': ['none']}), ('not_found', {'model': ['acme/huge']}),
                            ('not_found', {'endpoint': ['chats']}), ('usage', {'network': ['10.0.0.1/8']}),
                            ('usage', {'network': ['10.0.0.0/33']}), ('usage', {'network': ['example.com']}),
                            ('usage', {'network': ['2001:db8::1/32']}), ('usage', {'network': []}),
                            ('usage', {'network': ['none', '10.0.0.0/8']}),
                            ('usage', {'expires': int(time.time()) - 5})]:
            self.refused(code, 'key limit', key=key['id'], **wrong)
            if wrong:
                self.refused(code, 'key mint', workspace='main', **wrong)
        self.assertEqual({k: self.ask('key show', key=key['id'])[0][k] for k in none}, none)
        self.ask('key revoke', key=key['id'])
        self.refused('conflict', 'key limit', key=key['id'], rpm='1')

    def test_import(self):
        self.ask('workspace create', name='main')
        text = 'sk-elsewhere-' + 'x1Y2z3' * 4
        key, = self.ask('key import', workspace='main', key_file=text, name='old', rpm='3')
        self.assertEqual((key['name'], key['form'], key['env'], key['prefix'], key['last4'], key['rpm'], key['status']),
                         ('old', 'other', None, text[:4], text[-4:], 3, 'active'))
        self.assertNotIn('key', key)
        self.refused('conflict', 'key import', workspace='main', key_file=text)
        minted, = self.ask('key mint', workspace='main')
        self.refused('conflict', 'key import', workspace='main', key_file=minted['key'])
        for wrong in ('', 'x' * 19, 'x' * 257, 'x' * 20 + ' ', 'ä' * 20, minted['key'][:-1] + ('a' if minted['key'][-1] != 'a' else 'b')):
            self.refused('usage', 'key import', workspace='main', key_file=wrong)
        self.refused('usage', 'key import', workspace='main')
        act, = self.ask('audit', action='key import')
        self.assertEqual((act['subject'], act['detail']['last4'], act['detail']['rpm']), (key['id'], text[-4:], 3))
        # its successor is one of ours, and it can be found by its beginning
        new, = self.ask('key rotate', key=key['id'], grace=60)
        self.assertTrue(new['key'].startswith('tf-prod-'))
        self.assertEqual(self.ask('key revoke', prefix=text[:12])[0]['id'], key['id'])
        self.secret_nowhere([text, minted['key'], new['key']])

    def test_caps_and_topups(self):
        main, = self.ask('workspace create', name='main')
        self.assertEqual((main['budget'], main['balance'], main['extra_tokens'], main['cap_tokens']), (None, None, 0, None))
        row, = self.ask('workspace cap', workspace='main', tokens='1000', audio_seconds='90')
        self.assertEqual((row['cap_tokens'], row['cap_images'], row['cap_audio_seconds']), (1000, None, 90))
        row, = self.ask('workspace cap', workspace='main', images='0', tokens='none')
        self.assertEqual((row['cap_tokens'], row['cap_images'], row['cap_audio_seconds']), (None, 0, 90))
        row, = self.ask('workspace budget', workspace='main', budget='12.50')
        self.assertEqual(row['budget'], '12.5')
        row, = self.ask('topup', workspace='main', tokens='500')
        self.assertEqual((row['extra_tokens'], row['balance']), (500, None))
        row, = self.ask('topup', workspace='main', money='20.000000001', tokens='1', note='invoice 7')
        self.assertEqual((row['extra_tokens'], row['balance']), (501, '20.000000001'))
        row, = self.ask('topup', workspace='main', money='-0.000000001', tokens='-501')
        self.assertEqual((row['extra_tokens'], row['balance']), (0, '20'))
        self.refused('conflict', 'topup', workspace='main', tokens='-1')
        for wrong in ({}, {'tokens': '0'}, {'money': '0'}, {'money': '1.0000000001'}, {'money': 'x'}, {'tokens': '1.5'},
                      {'tokens': 'none'}, {'money': '1', 'note': ''}, {'money': '9999999999'}, {'tokens': '9' * 19},
                      {'money': '1', 'note': 'a\nb'}, {'tokens': '--1'}, {'money': '1', 'tokens': ''}):
            self.refused('usage', 'topup', workspace='main', **wrong)
        for wrong in ({}, {'tokens': '-1'}, {'tokens': '1.5'}, {'images': 'many'}):
            self.refused('usage', 'workspace cap', workspace='main', **wrong)
        for wrong in ('-1', 'x', ''):
            self.refused('usage', 'workspace budget', workspace='main', budget=wrong)
        self.refused('not_found', 'topup', workspace='nowhere', tokens='1')
        listed = self.ask('topup list', workspace='main')
        self.assertEqual([(r['tokens'], r['money'], r['note']) for r in listed],
                         [(-501, '-0.000000001', None), (1, '20.000000001', 'invoice 7'), (500, None, None)])
        self.assertEqual(listed[0]['actor'], self.ask('audit', limit=1)[0]['actor'])
        self.ask('workspace create', name='other')
        self.assertEqual(self.ask('topup list', workspace='other'), [])
        self.assertEqual(self.ask('topup list'), listed)
        before = sorted(self.ask('workspace list'), key=lambda r: r['name'])
        self.assertEqual((before[0]['balance'], before[0]['budget'], before[0]['cap_images']), ('20', '12.5', 0))
        self.stop(signal.SIGKILL)
        self.start()
        self.assertEqual(sorted(self.ask('workspace list'), key=lambda r: r['name']), before)
        acts = self.ask('audit', workspace='main', action='topup')
        self.assertEqual([a['detail'] for a in acts], [{'tokens': -501, 'money': '-0.000000001'},
                                                       {'tokens': 1, 'money': '20.000000001', 'note': 'invoice 7'},
                                                       {'tokens': 500}])
        self.assertEqual(self.ask('workspace budget', workspace='main', budget='none')[0]['budget'], None)

    def wait(self, what, true):
        end = time.monotonic() + DEADLINE
        while not true():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def test_deployments(self):
        """Billed while live, through a restart and beyond a balance; what it costs is in usage, to the last digit."""
        self.write(MODELS.replace('[model acme/small]', '[model acme/small]\nprice-gpu-hour = 2.5'))
        self.stop()
        self.start()
        self.ask('workspace create', name='main')
        self.ask('topup', workspace='main', money='10')
        for code, wrong in [('not_found', {'workspace': 'nowhere'}), ('not_found', {'model': 'acme/huge'}), ('usage', {'gpus': 0}),
                            ('usage', {'gpus': 1000001}), ('usage', {'price': 'x'}), ('usage', {'price': '-1'}),
                            ('usage', {'price': '500000.000000001'}),
                            ('usage', {'model': 'acme/large'}), ('usage', {'price': 'none'})]:
            self.refused(code, 'deployment start', **({'workspace': 'main', 'model': 'acme/small', 'gpus': 2} | wrong))
        one, = self.ask('deployment start', workspace='main', model='acme/small', gpus=2)
        two, = self.ask('deployment start', workspace='main', model='big', gpus=1, price='0.000000007')
        self.assertEqual((one['price_gpu_hour'], one['gpus'], one['model'], one['stopped'], one['cost']),
                         ('2.5', 2, 'acme/small', None, '0'))
        self.assertEqual((two['price_gpu_hour'], two['model']), ('0.000000007', 'acme/large'))

        def cost(row):
            found, = [r for r in self.ask('deployment list', workspace='main') if r['id'] == row['id']]
            return decimal.Decimal(found['cost'])

        def balance():
            return decimal.Decimal(self.ask('workspace show', workspace='main')[0]['balance'])
        self.later(1800)
        self.wait('half an hour is billed', lambda: cost(one) >= 2.5)
        self.assertLess(cost(one), 3)
        self.stop(signal.SIGKILL)
        self.later(1800)
        self.start()
        self.wait('the time without billingd is billed', lambda: cost(one) >= 5)
        self.assertLess(cost(one), decimal.Decimal('5.5'))
        self.assertEqual(balance(), 10 - cost(one) - cost(two))
        # the balance ends, the deployment does not
        self.later(5 * 3600)
        self.wait('below zero', lambda: balance() < 0)
        self.assertIn('the balance is used up', self.log())
        stopped, = self.ask('deployment stop', deployment=one['id'])
        self.ask('deployment stop', deployment=two['id'])
        self.assertEqual(stopped['billed_until'], stopped['stopped'])
        total = cost(one) + cost(two)
        self.assertGreaterEqual(total, 30)
        self.later(3600)
        self.refused('conflict', 'deployment stop', deployment=one['id'])
        self.refused('not_found', 'deployment stop', deployment='0' * 26)
        self.refused('not_found', 'deployment stop', deployment='one')
        self.assertEqual(total, cost(one) + cost(two))
        self.assertEqual(balance(), 10 - total)
        usage = self.ask('usage', workspace='main', period='all')[0]
        self.assertEqual((decimal.Decimal(usage['cost']), usage['requests'], usage['total_tokens']), (total, 0, 0))
        self.assertEqual({r['group'] for r in self.ask('usage', workspace='main', by='model', period='all')},
                         {'acme/small', 'acme/large'})
        self.assertEqual([a['subject'] for a in self.ask('audit', action='deployment', workspace='main')],
                         [two['id'], one['id'], two['id'], one['id']])
        self.stop()
        self.start()
        self.assertEqual(balance(), 10 - total)

    def test_people(self):
        self.ask('workspace create', name='main')
        self.ask('workspace create', name='other')
        ann, = self.ask('user add', name='Ann@Example.com', full_name='Ann B')
        self.assertEqual((ann['name'], ann['full_name'], len(ann['id'])), ('ann@example.com', 'Ann B', 26))
        self.refused('conflict', 'user add', name='ann@example.COM')
        for name in ('', 'a b', 'x' * 255, 'a"b', 'a\nb'):
            self.refused('usage', 'user add', name=name)
        self.ask('user add', name='bob')
        row, = self.ask('member add', workspace='main', user='ANN@example.com', role='owner')
        self.assertEqual((row['workspace'], row['user'], row['role'], row['user_id']), ('main', 'ann@example.com', 'owner', ann['id']))
        self.refused('conflict', 'member add', workspace='main', user='ann@example.com')
        self.refused('not_found', 'member add', workspace='main', user='nobody')
        self.refused('not_found', 'member add', workspace='nowhere', user='bob')
        self.refused('usage', 'member add', workspace='main', user='bob', role='king')
        self.assertEqual(self.ask('member add', workspace='main', user='bob')[0]['role'], 'member')
        self.ask('member add', workspace='other', user='bob', role='viewer')
        self.assertEqual([(r['workspace'], r['user'], r['role']) for r in self.ask('member list', workspace='main')],
                         [('main', 'ann@example.com', 'owner'), ('main', 'bob', 'member')])
        self.assertEqual({r['workspace'] for r in self.ask('member list', user='bob')}, {'main', 'other'})
        self.assertEqual(len(self.ask('member list')), 3)
        self.refused('not_found', 'member list', user='nobody')
        self.assertEqual([(r['name'], r['workspaces']) for r in self.ask('user list')], [('ann@example.com', 1), ('bob', 2)])
        # the last owner stays, in each of three ways
        self.refused('conflict', 'member role', workspace='main', user='ann@example.com', role='admin')
        self.refused('conflict', 'member remove', workspace='main', user=ann['id'])
        self.refused('conflict', 'user remove', user='ann@example.com')
        self.assertEqual(self.ask('member role', workspace='main', user='bob', role='owner')[0]['role'], 'owner')
        self.ask('member role', workspace='main', user='ann@example.com', role='viewer')
        self.refused('conflict', 'member remove', workspace='main', user='bob')
        self.refused('not_found', 'member role', workspace='other', user='ann@example.com', role='owner')
        self.refused('not_found', 'member remove', workspace='other', user='ann@example.com')
        self.ask('user remove', user='ann@example.com')
        self.refused('not_found', 'user remove', user='ann@example.com')
        self.assertEqual([r['user'] for r in self.ask('member list', workspace='main')], ['bob'])
        # who comes back is who was there, without what was taken
        again, = self.ask('user add', name='ann@example.com')
        self.assertEqual((again['id'], again['full_name']), (ann['id'], None))
        self.assertEqual(self.ask('member list', user='ann@example.com'), [])
        before = self.ask('user list'), self.ask('member list')
        self.stop(signal.SIGKILL)
        self.start()
        self.assertEqual((self.ask('user list'), self.ask('member list')), before)

    def test_last_owner_raced(self):
        """Two owners demote each other at the same time: one of them remains, whoever was first."""
        self.ask('workspace create', name='main')
        for user in ('a', 'b'):
            self.ask('user add', name=user)
            self.ask('member add', workspace='main', user=user, role='owner')
        for _ in range(10):
            done = []

            def demote(user):
                try:
                    done.append(self.ask('member role', workspace='main', user=user, role='viewer'))
                except Refused as refused:
                    done.append(str(refused))
            threads = [threading.Thread(target=demote, args=(u,)) for u in ('a', 'b')]
            [t.start() for t in threads]
            [t.join() for t in threads]
            self.assertEqual(done.count('conflict'), 1, done)
            roles = [r['role'] for r in self.ask('member list', workspace='main')]
            self.assertEqual(sorted(roles), ['owner', 'viewer'])
            for user in ('a', 'b'):
                self.ask('member role', workspace='main', user=user, role='owner')

    def test_audit(self):
        began = int(time.time())
        self.ask('workspace create', name='main', plan='token-pro')
        key, = self.ask('key mint', workspace='main', name='ci')
        self.ask('key rotate', key=key['id'], grace=60)
        self.ask('key revoke', key=key['id'])
        self.ask('key revoke', key=key['id'])  # changes nothing and says nothing
        self.refused('conflict', 'workspace create', name='main')
        self.ask('workspace create', name='other')
        self.ask('workspace set-plan', workspace='main', plan='token-max')
        self.ask('user add', name='ann')
        self.ask('member add', workspace='main', user='ann', role='owner')
        self.refused('conflict', 'member remove', workspace='main', user='ann')
        acts = self.ask('audit')
        self.assertEqual([a['action'] for a in reversed(acts)],
                         ['workspace create', 'key mint', 'key rotate', 'key revoke', 'workspace create', 'workspace set-plan',
                          'user add', 'member add'])
        who = f'uid {os.geteuid()} ({pwd.getpwuid(os.geteuid()).pw_name})'
        for act in acts:
            self.assertEqual(act['actor'], who)
            self.assertTrue(began <= act['at'] <= time.time())
        by = {a['action']: a for a in acts}
        self.assertEqual((by['key mint']['workspace'], by['key mint']['subject']), ('main', key['id']))
        self.assertEqual((by['key mint']['detail']['name'], by['key mint']['detail']['last4']), ('ci', key['last4']))
        self.assertEqual(by['workspace set-plan']['detail'], {'plan': 'token-max', 'before': 'token-pro'})
        self.assertEqual((by['member add']['subject'], by['member add']['detail']), ('ann', {'role': 'owner'}))
        self.assertIsNone(by['user add']['workspace'])
        # pages, and what is left out
        self.assertEqual(self.ask('audit', limit=3), acts[:3])
        self.assertEqual(self.ask('audit', limit=3, before=acts[2]['id']), acts[3:6])
        self.assertEqual(self.ask('audit', action='key'), [a for a in acts if a['action'].startswith('key ')])
        self.assertEqual(self.ask('audit', action='key mint'), [by['key mint']])
        self.assertEqual(self.ask('audit', action='ke'), [])
        self.assertEqual(self.ask('audit', workspace='main'), [a for a in acts if a['workspace'] == 'main'])
        self.assertEqual(self.ask('audit', since=int(time.time()) + 3600), [])
        self.assertEqual(self.ask('audit', since=began), acts)
        for wrong in ({'limit': 0}, {'limit': 10001}, {'before': 0}, {'since': -1}):
            self.refused('usage', 'audit', **wrong)
        self.refused('not_found', 'audit', workspace='nowhere')
        # it is only added to, also by whoever opens the file
        self.stop()
        db = sqlite3.connect(os.path.join(self.dir, 'billing.db'))
        for statement in ('DELETE FROM audit', "UPDATE audit SET actor = 'nobody'"):
            with self.assertRaises(sqlite3.DatabaseError):
                db.execute(statement)
        db.close()
        self.start()
        self.assertEqual(self.ask('audit'), acts)

    def test_other_acts(self):
        """What changes nothing in the database is an act too: commands of billingd itself, and what other daemons tell of."""
        who = f'uid {os.geteuid()} ({pwd.getpwuid(os.geteuid()).pw_name})'
        copy = os.path.join(self.dir, 'copy.db')
        self.ask('log', level='debug', subsystems='wire')
        self.ask('log', level='info')
        self.ask('backup', file=copy)
        self.ask('backup verify', file=copy)
        self.ask('ledger rebuild')
        self.refused('conflict', 'backup', file=copy)
        self.refused('usage', 'log', level='loud')
        acts = [(a['actor'], a['action'], a['subject'], a['detail']) for a in reversed(self.ask('audit'))]
        mine = {'daemon': 'billingd'}
        self.assertEqual(acts, [(who, 'log', 'billingd', mine | {'level': 'debug', 'subsystems': 'wire'}),
                                (who, 'log', 'billingd', mine | {'level': 'info'}), (who, 'backup', copy, mine),
                                (who, 'backup verify', copy, mine), (who, 'ledger rebuild', 'billingd', mine)])
        began = time.time()
        act = {'id': '01ARZ3NDEKTSV4RRFFQ69G5FAV', 'at_ms': 1700000000000, 'actor': 'uid 7 (ann)', 'action': 'drain worker', 'subject': 'w0',
               'detail': json.dumps({'daemon': 'routerd', 'told_by': 'nobody'})}
        for wrong in ({'id': 'x'}, {'actor': ''}, {'action': ''}, {'action': 'x' * 32}, {'subject': 'x' * 255}, {'actor': 'a\nb'},
                      {'detail': '[]'}, {'detail': '{'}, {'detail': ''}):
            self.refused('usage', 'audit record', **act | wrong)
        # told again after a break, before and after a new start, it is one row
        self.ask('audit record', **act)
        self.ask('audit record', **act)
        self.stop()
        self.start()
        self.ask('audit record', **act | {'subject': 'other'})
        row, = self.ask('audit', action='drain')
        self.assertEqual((row['at'], row['actor'], row['action'], row['subject'], row['workspace']),
                         (1700000000, 'uid 7 (ann)', 'drain worker', 'w0', None))
        # who told of it is what its socket says, not what it writes
        self.assertEqual(row['detail'], {'daemon': 'routerd', 'told_by': who})
        self.ask('audit record', **act | {'id': '01ARZ3NDEKTSV4RRFFQ69G5FAW', 'at_ms': 1 << 60})
        row = self.ask('audit', action='drain')[0]
        self.assertTrue(int(began) <= row['at'] <= time.time())

    def secret_nowhere(self, texts):
        for name in os.listdir(self.dir):
            path = os.path.join(self.dir, name)
            if os.path.isfile(path):
                with open(path, 'rb') as f:
                    content = f.read()
                for text in texts:
                    self.assertNotIn(text[-30:].encode(), content, name)
        for name in ('pepper.key', 'billing.db', 'billing.db-wal'):
            self.assertEqual(os.stat(os.path.join(self.dir, name)).st_mode & 0o077, 0, name)

    def test_usage(self):
        main, = self.ask('workspace create', name='main')
        key, = self.ask('key mint', workspace='main', name='ci')
        self.assertEqual(self.ask('usage', by='model'), [])
        total, = self.ask('usage', workspace='main')
        self.assertEqual((total['group'], total['requests'], total['total_tokens'], total['cost']), ('total', 0, 0, '0'))
        day = int(time.time()) // 86400
        self.stop()
        db = sqlite3.connect(os.path.join(self.dir, 'billing.db'))
        for n, (k, model, ago) in enumerate([(key['id'], 'acme/large', 0), (key['id'], 'acme/small', 0),
                                             (key['id'], 'acme/large', 6), (key['id'], 'acme/large', 400)]):
            ids = [r[0] for r in db.execute('SELECT id FROM workspaces')], [r[0] for r in db.execute('SELECT id FROM keys')]
            db.execute('INSERT INTO usage_days VALUES (?, ?, ?, ?, ?, 1, 10, 5, 1, 3, 2, 0, 0, 0, 0, 0)',
                       (ids[0][0], day - ago, ids[1][0], model, 'openai_chat'))
        db.commit()
        db.close()
        self.start()
        total, = self.ask('usage', period='day')
        self.assertEqual((total['requests'], total['input_tokens'], total['cached_input_tokens'], total['output_tokens'],
                          total['reasoning_tokens'], total['total_tokens']), (2, 32, 10, 10, 4, 42))
        self.assertEqual(self.ask('usage', period='week')[0]['requests'], 3)
        self.assertEqual(self.ask('usage', period='all', workspace='main')[0]['requests'], 4)
        models = self.ask('usage', period='week', by='model')
        self.assertEqual([(r['group'], r['requests']) for r in models], [('acme/large', 2), ('acme/small', 1)])
        row, = self.ask('usage', period='week', by='key', workspace=main['id'])
        self.assertEqual((row['group'], row['name'], row['requests']), (key['id'], 'ci', 3))
        days = self.ask('usage', period='week', by='day')
        self.assertEqual([r['group'] for r in days], [time.strftime('%Y-%m-%d', time.gmtime((day - d) * 86400)) for d in (6, 0)])
        self.refused('usage', 'usage', period='window')
        self.refused('usage', 'usage', period='year')
        self.refused('usage', 'usage', by='colour')
        self.refused('not_found', 'usage', workspace='nowhere')

    def test_second_instance(self):
        second = self.spawn()
        self.assertEqual(second.wait(DEADLINE), 1)
        self.assertIn('another instance runs', self.log())
        self.ask('ping')

    def test_reload_and_status(self):
        self.write(MODELS + '[plan gold]\nrpm = 7\n')
        self.p.send_signal(signal.SIGHUP)
        end = time.monotonic() + DEADLINE
        while 'gold' not in [r['name'] for r in self.ask('plan list')]:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        self.ask('workspace create', name='rich', plan='gold')
        status, = self.ask('status')
        self.assertEqual((status['epoch'], status['gateways'], status['store'], status['limits_known']), (1, 0, 'ok', True))
        self.assertEqual(self.stop(), 0)
        self.start()
        self.assertEqual(self.ask('status')[0]['epoch'], 2)

    def test_newer_database(self):
        self.stop()
        db = sqlite3.connect(os.path.join(self.dir, 'billing.db'))
        db.execute('PRAGMA user_version = 999')
        db.close()
        late = self.spawn()
        self.assertEqual(late.wait(DEADLINE), 1)
        self.assertIn('newer than this program', self.log())


if __name__ == '__main__':
    unittest.main()
