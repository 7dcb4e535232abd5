/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways that ask, admit, settle, return, die, come back and are told whole, windows that turn, clocks that
 * are set back and limits that change, all at random, beside a model that keeps a list of everything
 * that is out and adds it up anew each time. Every answer must be the one that the model expects, and every
 * meter stand where it stands in the model.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "billingd/limit.h"

#define ROUNDS 40
#define STEPS 6000
#define GATEWAYS 4
#define KEYS 2
#define ITEMS 400
#define DAY UINT64_C(86400000)
#define MONTH1 UINT64_C(1901232000000) /* 2030-04-01: each round begins shortly before */

struct item { /* a grant, a running attempt, or what is left of the grant of a gateway that died */
	enum { FREE, GRANT, RUN, GHOST } kind;
	int gw, key;
	uint64_t turn[BL_WINDOWS], number[BL_WINDOWS];
	struct bl_amount out;      /* is debited for it */
	struct bl_amount got, left; /* of a grant */
	unsigned bounded;
	uint64_t grant, ends, lapses;
};

struct turn { /* a window, as the model knows it */
	uint64_t turn, number, ends;
	bool calendar;
};

struct sim {
	struct bl_account w, k[KEYS];
	struct bl_pair pair[KEYS];
	struct bl_holder gw[GATEWAYS];
	/* the model */
	struct item item[ITEMS];
	struct turn turn[BL_WINDOWS], own[KEYS]; /* own: BL_W_KEY */
	uint64_t used[BL_METERS], key_used[KEYS][BL_METERS];
	uint64_t limit[BL_METERS], key_limit[KEYS][BL_METERS];
	uint64_t length, size, extra, balance;
	bool dying; /* gateways die in this round; else limits come and go */
	uint64_t mono, wall, numbers, turns, seed;
	unsigned given, shorts, exhausted, nevers, deaths;
};

static uint64_t
rnd(struct sim *s, uint64_t n)
{
	s->seed = s->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (s->seed >> 33) % n;
}

static struct bl_now
now(const struct sim *s)
{
	return (struct bl_now){ s->mono, s->wall };
}

/* ---- the model ---------------------------------------------------------------------------- */

static struct turn *
turn_of(struct sim *s, unsigned kind, int key)
{
	return kind == BL_W_KEY ? &s->own[key] : &s->turn[kind];
}

static bool
runs(const struct sim *s, const struct turn *t)
{
	return t->number != 0 && (t->calendar ? s->wall < t->ends && s->wall + DAY >= t->number : s->mono < t->ends);
}

static bool
live(struct sim *s, const struct item *it, unsigned kind)
{
	const struct turn *t = turn_of(s, kind, it->key);

	return kind == BL_W_NONE || (it->turn[kind] != 0 && it->turn[kind] == t->turn && runs(s, t));
}

static uint64_t *
used_of(struct sim *s, unsigned m, int key)
{
	return bl_meter_rows[m].scope == BL_KEY ? &s->key_used[key][m] : &s->used[m];
}

/* A window that is over has nothing on its meters; the next month has begun. Both sides see the same moments. */
static void
expire(struct sim *s)
{
	const unsigned calendar[] = { BL_W_MONTH, BL_W_BUDGET };

	for (unsigned m = 0; m < BL_METERS; m++)
		for (int key = 0; key < KEYS; key++)
			if (bl_meter_rows[m].window != BL_W_NONE && !runs(s, turn_of(s, bl_meter_rows[m].window, key)))
				*used_of(s, m, key) = 0;
	for (int key = 0; key < KEYS; key++)
		bl_account_turn(&s->pair[key], now(s));
	for (unsigned i = 0; i < 2; i++)
		if (!runs(s, &s->turn[calendar[i]]) && (calendar[i] == BL_W_MONTH || (s->length == BL_MONTH && s->size != 0)))
			s->turn[calendar[i]] = (struct turn){ ++s->turns, bl_month_start(s->wall), bl_month_next(s->wall), true };
}

static uint64_t
out(struct sim *s, unsigned m, int key, bool lost_only)
{
	uint64_t n = 0;

	for (int i = 0; i < ITEMS; i++) {
		struct item *it = &s->item[i];

		if (it->kind == FREE || (bl_meter_rows[m].scope == BL_KEY && it->key != key) ||
		    (lost_only && !s->gw[it->gw].gone) || !live(s, it, bl_meter_rows[m].window))
			continue;
		n += it->out.v[bl_meter_rows[m].unit];
	}
	return n;
}

static uint64_t
limit_of(const struct sim *s, unsigned m, int key)
{
	if (m == BL_M_BALANCE)
		return s->limit[m] == BL_NO_LIMIT ? BL_NO_LIMIT : s->balance;
	if (m == BL_M_WINDOW)
		return s->size == 0 ? BL_NO_LIMIT : (s->used[m] > s->size ? s->used[m] : s->size) + s->extra -
		    bl_account_owed(&s->w);
	return bl_meter_rows[m].scope == BL_KEY ? s->key_limit[key][m] : s->limit[m];
}

static uint64_t
room_of(struct sim *s, unsigned m, int key)
{
	uint64_t limit = limit_of(s, m, key), debit = *used_of(s, m, key) + out(s, m, key, false);

	return limit == BL_NO_LIMIT ? limit : limit > debit ? limit - debit : 0;
}

static struct item *
item_new(struct sim *s)
{
	for (int i = 0; i < ITEMS; i++)
		if (s->item[i].kind == FREE)
			return &s->item[i];
	return NULL;
}

/* Used up for good: requests that were admitted, and what was settled. */
static void
use(struct sim *s, const struct item *it, enum bl_unit u, uint64_t n)
{
	for (unsigned m = 0; m < BL_METERS; m++)
		if (bl_meter_rows[m].unit == u && bl_meter_rows[m].window != BL_W_NONE && live(s, it, bl_meter_rows[m].window))
			*used_of(s, m, it->key) += n;
}

static struct item *
pick(struct sim *s, int kind)
{
	unsigned at = (unsigned)rnd(s, ITEMS);

	for (unsigned i = 0; i < ITEMS; i++, at = (at + 1) % ITEMS)
		if ((int)s->item[at].kind == kind)
			return &s->item[at];
	return NULL;
}

/* ---- both --------------------------------------------------------------------------------- */

static void
apply_limits(struct sim *s)
{
	for (unsigned m = 0; m < BL_METERS; m++) {
		if (m == BL_M_WINDOW)
			continue;
		if (bl_meter_rows[m].scope == BL_WORKSPACE)
			bl_account_limit(&s->w, (enum bl_meter_id)m, limit_of(s, m, 0));
		for (int key = 0; key < KEYS && bl_meter_rows[m].scope == BL_KEY; key++)
			bl_account_limit(&s->k[key], (enum bl_meter_id)m, s->key_limit[key][m]);
	}
	bl_account_window(&s->w, s->length, s->size, s->extra, now(s));
}

static void
check(struct sim *s)
{
	expire(s);
	apply_limits(s);
	for (int key = 0; key < KEYS; key++) {
		bl_account_turn(&s->pair[key], now(s));
		for (unsigned m = 0; m < BL_METERS; m++) {
			const struct bl_meter *x = &s->pair[key].of[bl_meter_rows[m].scope]->meter[m];
			uint64_t lost = out(s, m, key, true), all = out(s, m, key, false);

			/* of what nothing limits nobody knows what a gateway took with it */
			if (s->dying && limit_of(s, m, key) == BL_NO_LIMIT)
				continue;
			assert_int_equal(x->used, bl_meter_rows[m].window == BL_W_NONE ? 0 : *used_of(s, m, key));
			assert_int_equal(x->debit, x->used + all);
			assert_int_equal(x->lost, lost);
		}
	}
}

struct expected {
	int rc;
	unsigned meter;
	bool transient;
	unsigned bounded;
};

static struct expected
expect(struct sim *s, int key, const struct bl_amount *least)
{
	struct expected e = { .rc = BL_GIVEN };

	for (unsigned m = 0; m < BL_METERS; m++) {
		uint64_t limit = limit_of(s, m, key), n = least->v[bl_meter_rows[m].unit], whole = limit;

		if (limit == BL_NO_LIMIT)
			continue;
		e.bounded |= 1u << bl_meter_rows[m].unit;
		if (m == BL_M_WINDOW)
			whole = s->size + s->extra;
		else if (bl_meter_rows[m].window != BL_W_MINUTE && bl_meter_rows[m].window != BL_W_KEY)
			continue;
		if (n > whole)
			return (struct expected){ BL_NEVER, m, false, 0 };
	}
	for (unsigned m = 0; m < BL_METERS; m++) {
		uint64_t limit = limit_of(s, m, key), n = least->v[bl_meter_rows[m].unit];
		uint64_t gone = *used_of(s, m, key) + out(s, m, key, true);
		bool transient;

		if (limit == BL_NO_LIMIT || n <= room_of(s, m, key))
			continue;
		if (m == BL_M_WINDOW)
			limit += bl_account_owed(&s->w);
		transient = bl_meter_rows[m].unit == BL_U_SLOTS || (gone <= limit && n <= limit - gone);
		if (e.rc == BL_GIVEN || (e.transient && !transient)) {
			e.rc = BL_SHORT;
			e.meter = m;
			e.transient = transient;
		}
		/* a slot of the dead is as good as used where something else must be chosen between */
		if (!transient || (bl_meter_rows[m].unit == BL_U_SLOTS && !(gone <= limit && n <= limit - gone)))
			break;
	}
	return e;
}

/* ---- what happens ------------------------------------------------------------------------- */

/* The windows that the model expects to run now. */
static void
begin_windows(struct sim *s, int key, const struct bl_offer *o, struct item *it)
{
	for (unsigned kind = BL_W_NONE + 1; kind < BL_WINDOWS; kind++) {
		struct turn *t = turn_of(s, kind, key);
		bool wanted = kind == BL_W_MINUTE || kind == BL_W_MONTH || (kind == BL_W_BUDGET && s->size != 0) ||
		    (kind == BL_W_KEY && (s->key_limit[key][BL_M_KEY_RPM] & s->key_limit[key][BL_M_KEY_TPM]) != BL_NO_LIMIT);
		uint64_t length = kind == BL_W_BUDGET ? s->length : kind == BL_W_MONTH ? BL_MONTH : BL_WINDOW_MS;

		if (!wanted) {
			assert_int_equal(o->window[kind], 0);
			continue;
		}
		if (!runs(s, t)) {
			assert_true(o->window[kind] > t->number && o->window[kind] >= s->wall);
			*t = (struct turn){ ++s->turns, o->window[kind], s->mono + length, false };
		}
		assert_int_equal(o->window[kind], t->number);
		it->turn[kind] = t->turn;
		it->number[kind] = t->number;
		assert_true(o->ttl_ms <= t->ends - (t->calendar ? s->wall : s->mono));
	}
}

static void
sim_ask(struct sim *s)
{
	int gw = (int)rnd(s, GATEWAYS), key = (int)rnd(s, KEYS);
	struct bl_ask q = { .holder = &s->gw[gw], .grant = ++s->numbers, .ttl_ms = 2000 };
	struct bl_amount rooms;
	struct item *it = item_new(s);
	struct expected e;
	struct bl_offer o;

	if (s->gw[gw].gone || it == NULL)
		return;
	q.least = (struct bl_amount){ { 1, 1 + rnd(s, 200), rnd(s, 50), rnd(s, 8) == 0, rnd(s, 8) == 0 ? rnd(s, 300) : 0, 1 } };
	if (rnd(s, 50) == 0)
		q.least.v[BL_U_TOKENS] = rnd(s, 20000);
	q.want = (struct bl_amount){ { rnd(s, 20), rnd(s, 2000), rnd(s, 300), 0, 0, rnd(s, 4) } };
	expire(s);
	apply_limits(s);
	e = expect(s, key, &q.least);
	for (unsigned u = 0; u < BL_UNITS; u++)
		rooms.v[u] = BL_NO_LIMIT;
	for (unsigned m = 0; m < BL_METERS; m++)
		if (room_of(s, m, key) < rooms.v[bl_meter_rows[m].unit])
			rooms.v[bl_meter_rows[m].unit] = room_of(s, m, key);
	assert_int_equal(bl_account_ask(&s->pair[key], &q, now(s), &o), e.rc);
	s->given += e.rc == BL_GIVEN;
	s->nevers += e.rc == BL_NEVER;
	s->shorts += e.rc == BL_SHORT && e.transient;
	s->exhausted += e.rc == BL_SHORT && !e.transient;
	if (e.rc != BL_GIVEN) {
		assert_int_equal(o.meter, e.meter);
		assert_int_equal(o.transient, e.transient);
		return;
	}
	*it = (struct item){ .kind = GRANT, .gw = gw, .key = key, .out = o.amount, .got = o.amount, .left = o.amount,
		.bounded = o.bounded, .grant = q.grant, .ends = s->mono + o.ttl_ms,
		.lapses = s->mono + o.ttl_ms + BL_GRANT_SLACK_MS };
	assert_int_equal(o.bounded, e.bounded);
	for (unsigned u = 0; u < BL_UNITS; u++) {
		uint64_t most = q.want.v[u] > q.least.v[u] ? q.want.v[u] : q.least.v[u];

		if (o.bounded & 1u << u)
			assert_true(o.amount.v[u] >= q.least.v[u] && o.amount.v[u] <= most && o.amount.v[u] <= rooms.v[u]);
		else
			assert_int_equal(o.amount.v[u], bl_unlimited.v[u]);
	}
	begin_windows(s, key, &o, it);
}

/* From a grant, as a gateway does: what it takes becomes the reservation of a request. */
static void
sim_admit(struct sim *s)
{
	struct item *g = pick(s, GRANT), *r = item_new(s);

	if (g == NULL || r == NULL || s->gw[g->gw].gone || s->mono >= g->ends || g->left.v[BL_U_REQUESTS] == 0 ||
	    g->left.v[BL_U_SLOTS] == 0)
		return;
	*r = *g;
	r->kind = RUN;
	for (unsigned u = 0; u < BL_UNITS; u++) {
		uint64_t most = g->left.v[u] < 1000 ? g->left.v[u] : 1000;

		r->out.v[u] = u == BL_U_REQUESTS ? 0 : u == BL_U_SLOTS ? 1 : rnd(s, most + 1);
		g->left.v[u] -= u == BL_U_REQUESTS ? 1 : r->out.v[u];
		if (u != BL_U_REQUESTS)
			g->out.v[u] -= r->out.v[u];
	}
}

static void
sim_settle(struct sim *s, struct item *r)
{
	struct bl_record rec = { .reserved = r->out };
	uint64_t before = s->used[BL_M_WINDOW], over, taken;

	if (s->gw[r->gw].gone && rnd(s, 2))
		return; /* what the dead had recorded is told later */
	memcpy(rec.window, r->number, sizeof rec.window);
	expire(s);
	for (unsigned u = 0; u < BL_UNITS; u++)
		if (u != BL_U_REQUESTS && u != BL_U_SLOTS)
			rec.used.v[u] = rnd(s, r->out.v[u] + 1);
	bl_account_settle(&s->pair[r->key], &s->gw[r->gw], &rec, now(s));
	before = s->used[BL_M_WINDOW];
	for (unsigned u = 0; u < BL_UNITS; u++)
		use(s, r, (enum bl_unit)u, rec.used.v[u]);
	over = s->used[BL_M_WINDOW] > s->size ? s->used[BL_M_WINDOW] - s->size : 0;
	taken = over - (before > s->size ? before - s->size : 0);
	s->extra -= taken < s->extra ? taken : s->extra;
	if (s->limit[BL_M_BALANCE] != BL_NO_LIMIT)
		s->balance -= rec.used.v[BL_U_MONEY] < s->balance ? rec.used.v[BL_U_MONEY] : s->balance;
	r->kind = FREE;
}

static void
sim_return(struct sim *s, struct item *g)
{
	struct bl_returned r = { g->grant, g->left };

	if (s->gw[g->gw].gone)
		return;
	expire(s);
	assert_int_equal(bl_account_return(&s->pair[g->key], &s->gw[g->gw], &r, now(s)), 0);
	use(s, g, BL_U_REQUESTS, g->got.v[BL_U_REQUESTS] - g->left.v[BL_U_REQUESTS]);
	g->kind = FREE;
}

/* Nobody knows how much of it was admitted. */
static void
grant_lost(struct sim *s, struct item *g)
{
	for (unsigned u = 0; u < BL_UNITS; u++)
		if (!(g->bounded & 1u << u))
			g->out.v[u] = 0;
	(void)s;
}

static void
sim_die(struct sim *s, int gw)
{
	if (s->gw[gw].gone)
		return;
	bl_holder_gone(&s->gw[gw], true, now(s));
	s->deaths++;
	for (int i = 0; i < ITEMS; i++)
		if (s->item[i].kind == GRANT && s->item[i].gw == gw)
			grant_lost(s, &s->item[i]);
}

static void
sim_stop(struct sim *s, int gw)
{
	bl_holder_stopped(&s->gw[gw], now(s));
	for (int i = 0; i < ITEMS; i++)
		if (s->item[i].gw == gw)
			s->item[i].out.v[BL_U_SLOTS] = 0;
}

/* All its records are told (back false), or it says anew what runs (back true). */
static void
sim_drop(struct sim *s, int gw, bool back)
{
	expire(s);
	bl_holder_drop(&s->gw[gw], now(s));
	for (int i = 0; i < ITEMS; i++) {
		struct item *it = &s->item[i];

		if (it->kind == FREE || it->gw != gw)
			continue;
		if (it->kind == GRANT && it->bounded & 1u << BL_U_REQUESTS)
			use(s, it, BL_U_REQUESTS, it->out.v[BL_U_REQUESTS]);
		if (it->kind != RUN || !back)
			it->kind = FREE;
	}
	if (!back)
		return;
	bl_holder_gone(&s->gw[gw], false, now(s));
	for (int i = 0; i < ITEMS; i++) {
		struct item *it = &s->item[i];
		struct bl_record r = { .reserved = it->out };

		if (it->kind != RUN || it->gw != gw)
			continue;
		memcpy(r.window, it->number, sizeof r.window);
		assert_int_equal(bl_account_declare(&s->pair[it->key], &s->gw[gw], &r, now(s)), 0);
	}
}

/* Grants that are over come back, as from a gateway in session; those of the dead lapse. */
static void
sim_time(struct sim *s)
{
	uint64_t ms = rnd(s, 400);

	if (rnd(s, 40) == 0)
		ms = rnd(s, 70000);
	s->mono += ms;
	s->wall += ms;
	if (rnd(s, 60) == 0)
		s->wall -= rnd(s, 5000); /* set back */
	expire(s);
	for (int i = 0; i < ITEMS; i++)
		if (s->item[i].kind == GRANT && s->mono >= s->item[i].ends && rnd(s, 20))
			sim_return(s, &s->item[i]);
	for (int key = 0; key < KEYS; key++)
		(void)bl_account_lapse(&s->pair[key], now(s));
	for (int i = 0; i < ITEMS; i++) {
		struct item *it = &s->item[i];

		if (it->kind != GRANT || !s->gw[it->gw].gone || s->mono < it->lapses)
			continue;
		use(s, it, BL_U_REQUESTS, it->out.v[BL_U_REQUESTS]);
		it->out.v[BL_U_REQUESTS] = 0;
		it->kind = GHOST;
	}
}

static uint64_t
some_limit(struct sim *s, unsigned m)
{
	static const uint64_t scale[BL_UNITS] = { [BL_U_REQUESTS] = 60, [BL_U_TOKENS] = 20000, [BL_U_MONEY] = 4000,
		[BL_U_IMAGES] = 20, [BL_U_AUDIO] = 3000, [BL_U_SLOTS] = 12 };
	uint64_t n = scale[bl_meter_rows[m].unit];

	return bl_meter_rows[m].window == BL_W_MONTH ? 1 + rnd(s, 8 * n) : 1 + rnd(s, n);
}

static void
sim_limit(struct sim *s, bool first)
{
	unsigned m = (unsigned)rnd(s, BL_METERS);
	int key = (int)rnd(s, KEYS);
	uint64_t *at = bl_meter_rows[m].scope == BL_KEY ? &s->key_limit[key][m] : &s->limit[m];
	bool none = first || !s->dying ? rnd(s, 3) == 0 : *at == BL_NO_LIMIT;

	if (m == BL_M_WINDOW) {
		if (rnd(s, 2))
			s->extra += rnd(s, 5000);
		else if (s->size != 0)
			s->size = some_limit(s, m) * 4;
		return;
	}
	*at = none ? BL_NO_LIMIT : some_limit(s, m);
	if (m == BL_M_BALANCE)
		s->balance = some_limit(s, m) * 10;
}

static void
sim_step(struct sim *s)
{
	struct item *it;
	int gw = (int)rnd(s, GATEWAYS);

	switch (rnd(s, 14)) {
	case 0: case 1: case 2: case 3:
		sim_ask(s);
		break;
	case 4: case 5: case 6: case 7:
		sim_admit(s);
		break;
	case 8: case 9:
		if ((it = pick(s, RUN)) != NULL)
			sim_settle(s, it);
		break;
	case 10:
		if ((it = pick(s, GRANT)) != NULL)
			sim_return(s, it);
		break;
	case 11: case 12:
		sim_time(s);
		break;
	default:
		if (rnd(s, 30) == 0)
			sim_limit(s, false);
		else if (s->dying && rnd(s, 60) == 0)
			sim_die(s, gw);
		else if (s->gw[gw].gone && rnd(s, 10) == 0)
			sim_stop(s, gw);
		else if (s->gw[gw].gone && rnd(s, 20) == 0)
			sim_drop(s, gw, true);
		else if (!s->dying && rnd(s, 200) == 0)
			sim_drop(s, gw, true); /* its link broke for a moment */
		break;
	}
}

static void
sim_open(struct sim *s, unsigned round)
{
	memset(s, 0, sizeof *s);
	s->seed = 77 + round;
	s->dying = round % 2;
	s->mono = 1000000;
	s->wall = MONTH1 - rnd(s, 3600000);
	bl_account_init(&s->w, BL_WORKSPACE);
	for (int key = 0; key < KEYS; key++) {
		bl_account_init(&s->k[key], BL_KEY);
		s->pair[key] = (struct bl_pair){ { &s->w, &s->k[key] } };
	}
	for (int i = 0; i < GATEWAYS; i++)
		bl_holder_init(&s->gw[i]);
	for (unsigned m = 0; m < BL_METERS; m++) {
		s->limit[m] = BL_NO_LIMIT;
		for (int key = 0; key < KEYS; key++)
			s->key_limit[key][m] = BL_NO_LIMIT;
	}
	s->length = round % 3 == 0 ? BL_MONTH : 20000 + rnd(s, 600000);
	s->size = round % 5 == 0 ? 0 : 20000 + rnd(s, 50000);
	for (unsigned i = 0; i < 4 + rnd(s, 40); i++)
		sim_limit(s, true);
}

/* Everything comes back: what was used is all that is left, and when its windows end nothing. */
static void
sim_close(struct sim *s)
{
	for (int i = 0; i < GATEWAYS; i++)
		if (s->gw[i].gone)
			sim_drop(s, i, false);
	for (int i = 0; i < ITEMS; i++) {
		if (s->item[i].kind == GRANT)
			sim_return(s, &s->item[i]);
		if (s->item[i].kind == RUN)
			sim_settle(s, &s->item[i]);
		assert_int_equal(s->item[i].kind, FREE);
	}
	check(s);
	for (int key = 0; key < KEYS; key++) {
		(void)bl_account_lapse(&s->pair[key], now(s));
		assert_int_equal(s->k[key].holds.n, 0);
		assert_int_equal(s->k[key].open, 0);
	}
	assert_int_equal(s->w.holds.n, 0);
	assert_int_equal(s->w.open, 0);
	s->mono += 40 * DAY;
	s->wall += 40 * DAY;
	check(s);
	for (unsigned m = 0; m < BL_METERS; m++)
		assert_int_equal(s->w.meter[m].debit + s->k[0].meter[m].debit + s->k[1].meter[m].debit, 0);
	for (int key = 0; key < KEYS; key++)
		bl_account_fini(&s->k[key]);
	bl_account_fini(&s->w);
}

static void
test_random(void **state)
{
	static struct sim s;
	unsigned given = 0, shorts = 0, exhausted = 0, nevers = 0, deaths = 0;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		sim_open(&s, round);
		for (int step = 0; step < STEPS; step++) {
			sim_step(&s);
			if (step % 5 == 0)
				check(&s);
		}
		sim_close(&s);
		given += s.given;
		shorts += s.shorts;
		exhausted += s.exhausted;
		nevers += s.nevers;
		deaths += s.deaths;
	}
	/* every kind of answer was heard often */
	assert_true(given > 1000 && shorts > 500 && exhausted > 500 && nevers > 100 && deaths > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
