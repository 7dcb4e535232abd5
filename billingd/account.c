/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The accounts of a workspace and a key: how much room each meter has, and what is given of
 * it. See limit.h for the rule they keep; hold.c keeps what is out. Called by admit.c.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "billingd/account.h"

#define NEAR 8 /* below this part of the limit, grants are exactly what was asked */

/* ---- the table ---------------------------------------------------------------------------- */

#define SCOPE_WORKSPACE BL_WORKSPACE
#define SCOPE_KEY BL_KEY
#define METER(sym, scope, unit, window, err, what) \
	[BL_M_##sym] = { SCOPE_##scope, BL_U_##unit, BL_W_##window, TF_E_##err, what },
const struct bl_meter_row bl_meter_rows[BL_METERS] = {
#include "billingd/meter.def"
};
#define WINDOW(sym, scope) [BL_W_##sym] = SCOPE_##scope,
const enum bl_scope bl_window_scopes[BL_WINDOWS] = {
#include "billingd/meter.def"
};

#define BIT(sym, kind, wanted) | (BL_W_##kind == (wanted) ? 1u << BL_M_##sym : 0u)
const unsigned bl_of_window[BL_WINDOWS] = {
#define METER(sym, scope, unit, window, err, what) BIT(sym, window, BL_W_NONE)
	[BL_W_NONE] = 0u
#include "billingd/meter.def"
#define METER(sym, scope, unit, window, err, what) BIT(sym, window, BL_W_MINUTE)
	, [BL_W_MINUTE] = 0u
#include "billingd/meter.def"
#define METER(sym, scope, unit, window, err, what) BIT(sym, window, BL_W_BUDGET)
	, [BL_W_BUDGET] = 0u
#include "billingd/meter.def"
#define METER(sym, scope, unit, window, err, what) BIT(sym, window, BL_W_MONTH)
	, [BL_W_MONTH] = 0u
#include "billingd/meter.def"
#define METER(sym, scope, unit, window, err, what) BIT(sym, window, BL_W_KEY)
	, [BL_W_KEY] = 0u
#include "billingd/meter.def"
};

const struct bl_amount bl_unlimited = { {
	[BL_U_REQUESTS] = UINT64_C(1000000), [BL_U_TOKENS] = UINT64_C(1000000000000),
	[BL_U_IMAGES] = UINT64_C(1000000),
	[BL_U_AUDIO] = UINT64_C(1000000000000), [BL_U_SLOTS] = UINT64_C(1000000),
} };

static uint64_t
least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- windows of a pair -------------------------------------------------------------------- */

/* The token window of that number is over, with all that its meter shows. */
static void
leave(struct bl_account *a, uint64_t number, uint64_t turn)
{
	const struct bl_meter *m = &a->meter[BL_M_WINDOW];

	if (number != 0 && number != a->tail.number && a->size != 0)
		a->tail = (struct bl_tail){ number, turn, a->size, m->used, m->debit - m->used };
}

static void
clear(struct bl_account *a, enum bl_window_kind kind)
{
	unsigned i;

	BL_METERS_EACH(i, bl_of_window[kind])
		a->meter[i].debit = a->meter[i].used = a->meter[i].lost = 0;
}

/*
 * A month begins with the calendar, whether or not somebody asks: were it left to the first request, a
 * clock that is set back over its start would find the month before running again, with nothing used.
 */
static void
turn(struct bl_account *a, enum bl_window_kind kind, struct bl_now now)
{
	struct bl_window *w = &a->window[kind];

	if (bl_window_runs(w, now))
		return;
	if (kind == BL_W_BUDGET)
		leave(a, w->number, w->turn);
	clear(a, kind);
	if (w->length_ms == BL_MONTH && (kind != BL_W_BUDGET || a->size != 0))
		bl_window_start(w, now);
}

void
bl_account_turn(const struct bl_pair *p, struct bl_now now)
{
	struct bl_account *w = p->of[BL_WORKSPACE], *k = p->of[BL_KEY];

	turn(w, BL_W_MINUTE, now);
	turn(w, BL_W_BUDGET, now);
	turn(w, BL_W_MONTH, now);
	if (k->window[BL_W_MONTH].turn != w->window[BL_W_MONTH].turn)
		clear(k, BL_W_MONTH);
	k->window[BL_W_MONTH] = w->window[BL_W_MONTH];
	turn(k, BL_W_KEY, now);
}

void
bl_account_adopt(const struct bl_pair *p, const uint64_t number[static BL_WINDOWS], struct bl_now now)
{
	bl_account_turn(p, now);
	for (unsigned kind = BL_W_NONE + 1; kind < BL_WINDOWS; kind++) {
		struct bl_account *a = p->of[bl_window_scopes[kind]];
		struct bl_window before = a->window[kind];

		/* without a length the plan has none */
		if (number[kind] == 0 || number[kind] == a->window[kind].number ||
		    (kind == BL_W_BUDGET && a->size == 0) || !bl_window_adopt(&a->window[kind], number[kind], now))
			continue;
		if (kind == BL_W_BUDGET)
			leave(a, before.number, before.turn);
		clear(a, (enum bl_window_kind)kind);
	}
	bl_account_turn(p, now);
}

unsigned
bl_pair_live(const struct bl_pair *p, const uint64_t number[static BL_WINDOWS], struct bl_now now)
{
	unsigned live = bl_of_window[BL_W_NONE];

	for (unsigned kind = BL_W_NONE + 1; kind < BL_WINDOWS; kind++) {
		const struct bl_window *w = &p->of[bl_window_scopes[kind]]->window[kind];

		if (number[kind] != 0 && w->number == number[kind] && bl_window_runs(w, now))
			live |= bl_of_window[kind];
	}
	return live;
}

/* ---- limits ------------------------------------------------------------------------------- */

void
bl_account_init(struct bl_account *a, enum bl_scope scope)
{
	memset(a, 0, sizeof *a);
	a->scope = scope;
	tf_list_init(&a->holds);
	for (unsigned i = 0; i < BL_METERS; i++)
		a->meter[i].limit = BL_NO_LIMIT;
	a->window[BL_W_MINUTE].length_ms = a->window[BL_W_KEY].length_ms = BL_WINDOW_MS;
	a->window[BL_W_MONTH].length_ms = a->window[BL_W_BUDGET].length_ms = BL_MONTH;
}

void
bl_account_limit(struct bl_account *a, enum bl_meter_id m, uint64_t limit)
{
	a->meter[m].limit = limit;
	if (limit != BL_NO_LIMIT)
		a->limited |= 1u << m;
	else
		a->limited &= ~(1u << m);
}

void
bl_account_window(struct bl_account *a, uint64_t length_ms, uint64_t size, uint64_t extra, struct bl_now now)
{
	bl_window_set(&a->window[BL_W_BUDGET], length_ms, now);
	a->size = size;
	a->extra = extra;
	bl_account_limit(a, BL_M_WINDOW, size != 0 ? 0 : BL_NO_LIMIT);
}

/* What was topped up is used after the window's own tokens, so only what lies beyond them draws on it. */
uint64_t
bl_account_owed(const struct bl_account *a)
{
	const struct bl_tail *t = &a->tail;
	uint64_t own = t->used > t->size ? t->used : t->size;

	return least_of(t->used + t->held > own ? t->used + t->held - own : 0, a->extra);
}

/* extra is what is left of what was topped up: what used tokens drew of it is gone. */
static uint64_t
limit_of(const struct bl_account *a, unsigned m)
{
	const struct bl_meter *x = &a->meter[m];

	if (m != BL_M_WINDOW || x->limit == BL_NO_LIMIT)
		return x->limit;
	return (x->used > a->size ? x->used : a->size) + a->extra - bl_account_owed(a);
}

/* A limit that was lowered below what is out leaves no room. */
uint64_t
bl_account_room(const struct bl_account *a, enum bl_meter_id m)
{
	uint64_t limit = limit_of(a, m), debit = a->meter[m].debit;

	if (limit == BL_NO_LIMIT)
		return BL_NO_LIMIT;
	return limit > debit ? limit - debit : 0;
}

uint64_t
bl_account_unused(const struct bl_account *a, enum bl_meter_id m)
{
	uint64_t limit = limit_of(a, m), used = a->meter[m].used + a->meter[m].lost;

	if (limit == BL_NO_LIMIT)
		return BL_NO_LIMIT;
	return limit > used ? limit - used : 0;
}

/* ---- asking ------------------------------------------------------------------------------- */

/* How much of one meter to give: the wish while there is plenty, the bare need near the limit. */
static uint64_t
size_grant(uint64_t limit, uint64_t room, uint64_t least, uint64_t want)
{
	uint64_t spare = room - least;

	assert(least <= room);
	if (want <= least || spare < limit / NEAR)
		return least;
	/* a quarter: others ask too, and a recall costs a round trip */
	return least + least_of(want - least, spare / 4);
}

/* More than the meter ever gives at once. Of what lasts for a month that only means that it is used up. */
static bool
never_fits(const struct bl_account *a, unsigned m, uint64_t least)
{
	if (m == BL_M_WINDOW)
		return least > a->size + a->extra;
	switch (bl_meter_rows[m].window) {
	case BL_W_MINUTE:
	case BL_W_KEY:
		return least > a->meter[m].limit;
	default:
		return false;
	}
}

/* The first meter, in the order of the table, that can never hold this. */
static bool
ask_never(const struct bl_pair *p, const struct bl_ask *ask, struct bl_offer *out)
{
	unsigned i;

	BL_METERS_EACH(i, p->of[BL_WORKSPACE]->limited | p->of[BL_KEY]->limited) {
		if (!never_fits(p->of[bl_meter_rows[i].scope], i, ask->least.v[bl_meter_rows[i].unit]))
			continue;
		out->meter = (enum bl_meter_id)i;
		return true;
	}
	return false;
}

/* The first that is used up, else the first where only what is held stands in the way. */
static bool
ask_short(const struct bl_pair *p, const struct bl_ask *ask, struct bl_offer *out)
{
	bool found = false;
	unsigned i;

	BL_METERS_EACH(i, p->of[BL_WORKSPACE]->limited | p->of[BL_KEY]->limited) {
		const struct bl_account *a = p->of[bl_meter_rows[i].scope];
		const struct bl_meter *m = &a->meter[i];
		uint64_t least = ask->least.v[bl_meter_rows[i].unit], limit = limit_of(a, i);

		if (i == BL_M_WINDOW)
			limit += bl_account_owed(a); /* it may not be drawn after all */
		if (least <= bl_account_room(a, (enum bl_meter_id)i))
			continue;
		out->transient = m->used + m->lost <= limit && least <= limit - m->used - m->lost;
		if (found && out->transient)
			continue;
		found = true;
		out->meter = (enum bl_meter_id)i;
		out->recallable = out->transient && a->open > 0;
		if (!out->transient)
			break;
	}
	if (found && bl_meter_rows[out->meter].unit == BL_U_SLOTS)
		out->transient = true; /* what runs will end, whoever runs it */
	return found;
}

/* Everything fits: how much of each unit. */
static void
ask_sizes(const struct bl_pair *p, const struct bl_ask *ask, struct bl_offer *out)
{
	unsigned i;

	out->amount = bl_unlimited;
	for (unsigned u = 0; u < BL_UNITS; u++)
		if (u != BL_U_MONEY && out->amount.v[u] < ask->least.v[u])
			out->amount.v[u] = ask->least.v[u];
	BL_METERS_EACH(i, p->of[BL_WORKSPACE]->limited | p->of[BL_KEY]->limited) {
		const struct bl_account *a = p->of[bl_meter_rows[i].scope];
		enum bl_unit u = bl_meter_rows[i].unit;
		uint64_t n = size_grant(limit_of(a, i), bl_account_room(a, (enum bl_meter_id)i), ask->least.v[u],
		    ask->want.v[u]);

		if (!(out->bounded & 1u << u) || n < out->amount.v[u])
			out->amount.v[u] = n;
		out->bounded |= 1u << u;
	}
}

/*
 * Starts the windows that this draws on, and says until when it may. The minute of the workspace and
 * the month are counted whether or not something limits them now: a limit may come in their middle.
 */
static void
ask_windows(const struct bl_pair *p, struct bl_now now, struct bl_offer *out)
{
	unsigned limited = p->of[BL_WORKSPACE]->limited | p->of[BL_KEY]->limited;

	for (unsigned kind = BL_W_NONE + 1; kind < BL_WINDOWS; kind++) {
		struct bl_window *w = &p->of[bl_window_scopes[kind]]->window[kind];

		if (kind != BL_W_MINUTE && kind != BL_W_MONTH && !(limited & bl_of_window[kind]))
			continue;
		if (!bl_window_runs(w, now))
			bl_window_start(w, now);
		out->window[kind] = w->number;
		out->ttl_ms = least_of(out->ttl_ms, bl_window_left(w, now));
	}
}

int
bl_account_ask(const struct bl_pair *p, const struct bl_ask *ask, struct bl_now now, struct bl_offer *out)
{
	memset(out, 0, sizeof *out);
	bl_account_turn(p, now);
	if (ask_never(p, ask, out))
		return BL_NEVER;
	if (ask_short(p, ask, out))
		return BL_SHORT;
	ask_sizes(p, ask, out);
	out->ttl_ms = ask->ttl_ms;
	ask_windows(p, now, out);
	return bl_hold_grant(p, ask, now, out);
}

/* ---- after a restart ---------------------------------------------------------------------- */

void
bl_account_restore(const struct bl_pair *p, enum bl_scope scope, enum bl_window_kind kind, uint64_t number,
    const struct bl_amount *used, struct bl_now now)
{
	struct bl_account *a = p->of[scope];
	uint64_t names[BL_WINDOWS] = { 0 };
	unsigned i;

	names[kind] = number;
	bl_account_adopt(p, names, now);
	BL_METERS_EACH(i, bl_of_window[kind] & bl_pair_live(p, names, now)) {
		if (bl_meter_rows[i].scope == scope)
			a->meter[i].debit = a->meter[i].used = used->v[bl_meter_rows[i].unit];
	}
}
