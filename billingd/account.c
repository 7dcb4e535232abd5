/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of a workspace: who holds how much of the running window. See limit.h for the
 * rule it keeps. Called by admit.c.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "billingd/limit.h"

#define NEAR 8 /* below this part of the limit, grants are exactly what was asked */

static uint64_t
least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void
grant_free(struct bl_hold *h, struct bl_grant *g)
{
	tf_list_remove(&h->grants, &g->node);
	free(g);
}

static void
hold_free(struct bl_account *a, struct bl_hold *h)
{
	struct tf_node *e;

	while ((e = tf_list_first(&h->grants)) != NULL)
		grant_free(h, TF_CONTAINER(e, struct bl_grant, node));
	tf_list_remove(&a->holds, &h->node);
	free(h);
}

void
bl_account_init(struct bl_account *a)
{
	memset(a, 0, sizeof *a);
	tf_list_init(&a->holds);
}

void
bl_account_fini(struct bl_account *a)
{
	struct tf_node *e;

	while ((e = tf_list_first(&a->holds)) != NULL)
		hold_free(a, TF_CONTAINER(e, struct bl_hold, node));
	bl_account_init(a);
}

/* A window begins or is over: nothing of the one before counts any more. */
static void
account_clear(struct bl_account *a)
{
	struct tf_node *e;

	while ((e = tf_list_first(&a->holds)) != NULL)
		hold_free(a, TF_CONTAINER(e, struct bl_hold, node));
	a->debit = a->used = (struct bl_amount){ 0, 0 };
}

void
bl_account_turn(struct bl_account *a, struct bl_now now)
{
	if (!bl_window_runs(&a->window, now))
		account_clear(a);
}

void
bl_account_limit(struct bl_account *a, struct bl_amount limit)
{
	a->limit = limit;
}

struct bl_hold *
bl_account_hold(const struct bl_account *a, uint64_t gateway)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&a->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, node);

		if (h->gateway == gateway)
			return h;
	}
	return NULL;
}

static struct bl_hold *
hold_get(struct bl_account *a, uint64_t gateway)
{
	struct bl_hold *h = bl_account_hold(a, gateway);

	if (h != NULL)
		return h;
	h = calloc(1, sizeof *h);
	if (h == NULL)
		return NULL;
	h->gateway = gateway;
	tf_list_init(&h->grants);
	tf_list_append(&a->holds, &h->node);
	return h;
}

static struct bl_grant *
grant_add(struct bl_hold *h, uint64_t number, struct tf_id key, struct bl_amount amount)
{
	struct bl_grant *g = calloc(1, sizeof *g);

	if (g == NULL)
		return NULL;
	g->number = number;
	g->key = key;
	g->amount = amount;
	tf_list_append(&h->grants, &g->node);
	return g;
}

/* Room of one counter. A limit that was lowered below what is out leaves none. */
static uint64_t
room(uint64_t limit, uint64_t debit)
{
	return limit > debit ? limit - debit : 0;
}

/* How much of one counter to give: the wish while there is plenty, the bare need near the limit. */
static uint64_t
size_grant(uint64_t limit, uint64_t debit, uint64_t least, uint64_t want)
{
	uint64_t spare = room(limit, debit);

	assert(least <= spare);
	spare -= least;
	if (want <= least || spare < limit / NEAR)
		return least;
	/* a quarter: others ask too, and a recall costs a round trip */
	return least + least_of(want - least, spare / 4);
}

/* What no return can bring back: settled tokens, and all that went with a gateway. */
static uint64_t
tokens_lost(const struct bl_account *a)
{
	uint64_t n = a->used.tokens;
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&a->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, node);

		if (h->gone)
			n += h->tokens;
	}
	return n;
}

static uint64_t
requests_lost(const struct bl_account *a)
{
	uint64_t n = a->used.requests;
	struct tf_node *e, *g, *tmp, *tmp2;

	TF_LIST_EACH(&a->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, node);

		if (h->gone)
			TF_LIST_EACH(&h->grants, g, tmp2)
				n += TF_CONTAINER(g, struct bl_grant, node)->amount.requests;
	}
	return n;
}

static bool
has_recallable(const struct bl_account *a)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&a->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, node);

		if (!h->gone && h->grants.n > 0)
			return true;
	}
	return false;
}

static void
offer_state(const struct bl_account *a, struct bl_now now, struct bl_offer *out)
{
	out->window = a->window.number;
	out->reset_ms = bl_window_left(&a->window, now);
	out->left.requests = room(a->limit.requests, a->debit.requests);
	out->left.tokens = room(a->limit.tokens, a->debit.tokens);
}

static int
ask_short(const struct bl_account *a, const struct bl_ask *ask, struct bl_offer *out)
{
	out->transient = (a->limit.requests == 0 ||
	    ask->least.requests <= room(a->limit.requests, requests_lost(a))) &&
	    (a->limit.tokens == 0 || ask->least.tokens <= room(a->limit.tokens, tokens_lost(a)));
	out->recallable = out->transient && has_recallable(a);
	return BL_SHORT;
}

/* Both counters fit: debits them together. */
static int
ask_give(struct bl_account *a, const struct bl_ask *ask, struct bl_now now, struct bl_offer *out)
{
	struct bl_amount booked = { 0, 0 };
	struct bl_hold *h;
	struct bl_grant *g;

	out->amount = (struct bl_amount){ BL_UNLIMITED_REQUESTS, BL_UNLIMITED_TOKENS };
	if (a->limit.requests != 0)
		out->amount.requests = booked.requests = size_grant(a->limit.requests, a->debit.requests,
		    ask->least.requests, ask->want.requests);
	else if (ask->least.requests > out->amount.requests)
		out->amount.requests = ask->least.requests;
	if (a->limit.tokens != 0)
		out->amount.tokens = booked.tokens = size_grant(a->limit.tokens, a->debit.tokens,
		    ask->least.tokens, ask->want.tokens);
	else if (ask->least.tokens > out->amount.tokens)
		out->amount.tokens = ask->least.tokens;
	h = hold_get(a, ask->gateway);
	if (h == NULL || (g = grant_add(h, ask->grant, ask->key, booked)) == NULL)
		return TF_E_NOMEM;
	out->ttl_ms = least_of(ask->ttl_ms, bl_window_left(&a->window, now));
	g->lapses_ms = now.mono_ms + out->ttl_ms + BL_GRANT_SLACK_MS;
	h->gone = false;
	h->tokens += booked.tokens;
	a->debit.requests += booked.requests;
	a->debit.tokens += booked.tokens;
	return BL_GIVEN;
}

int
bl_account_ask(struct bl_account *a, const struct bl_ask *ask, struct bl_now now, struct bl_offer *out)
{
	int rc;

	memset(out, 0, sizeof *out);
	bl_account_turn(a, now);
	if ((a->limit.requests != 0 && ask->least.requests > a->limit.requests) ||
	    (a->limit.tokens != 0 && ask->least.tokens > a->limit.tokens)) {
		offer_state(a, now, out);
		return BL_NEVER;
	}
	if (!bl_window_runs(&a->window, now))
		bl_window_start(&a->window, now);
	if ((a->limit.requests != 0 && ask->least.requests > room(a->limit.requests, a->debit.requests)) ||
	    (a->limit.tokens != 0 && ask->least.tokens > room(a->limit.tokens, a->debit.tokens)))
		rc = ask_short(a, ask, out);
	else
		rc = ask_give(a, ask, now, out);
	offer_state(a, now, out);
	return rc;
}

/* The grant is over: of it, unused comes back; the other tokens are reservations now. */
static void
grant_close(struct bl_account *a, struct bl_hold *h, struct bl_grant *g, struct bl_amount unused)
{
	/* attempts that ended meanwhile have freed their part of the hold already */
	uint64_t back = least_of(unused.tokens, h->tokens);

	h->tokens -= back;
	a->debit.tokens -= back;
	a->debit.requests -= unused.requests;
	a->used.requests += g->amount.requests - unused.requests;
	grant_free(h, g);
	if (h->grants.n == 0)
		h->recalled = false;
}

/* A part of what was declared comes back; the rest stays out until it lapses. */
static int
declared_return(struct bl_account *a, struct bl_hold *h, struct bl_grant *g, struct bl_amount unused)
{
	uint64_t requests = least_of(unused.requests, g->amount.requests);
	uint64_t tokens = least_of(least_of(unused.tokens, g->amount.tokens), h->tokens);

	g->amount.requests -= requests;
	a->debit.requests -= requests;
	g->amount.tokens -= tokens;
	h->tokens -= tokens;
	a->debit.tokens -= tokens;
	return 0;
}

static int
grant_return(struct bl_account *a, struct bl_hold *h, struct bl_grant *g, struct bl_amount unused)
{
	/* a counter that was not limited was not debited: nothing to give back */
	if (g->amount.requests == 0)
		unused.requests = 0;
	if (g->amount.tokens == 0)
		unused.tokens = 0;
	if (unused.requests > g->amount.requests || unused.tokens > g->amount.tokens)
		return TF_E_RANGE;
	grant_close(a, h, g, unused);
	return 0;
}

int
bl_account_return(struct bl_account *a, uint64_t gateway, const struct bl_returned *r, struct bl_now now)
{
	struct bl_grant *declared = NULL;
	struct tf_node *e, *tmp;
	struct bl_hold *h;

	bl_account_turn(a, now);
	h = bl_account_hold(a, gateway);
	if (h == NULL)
		return TF_E_NOENT;
	TF_LIST_EACH(&h->grants, e, tmp) {
		struct bl_grant *g = TF_CONTAINER(e, struct bl_grant, node);

		if (g->declared && tf_id_eq(g->key, r->key))
			declared = g;
		else if (!g->declared && g->number == r->grant)
			return grant_return(a, h, g, r->unused);
	}
	return declared != NULL ? declared_return(a, h, declared, r->unused) : TF_E_NOENT;
}

void
bl_account_settle(struct bl_account *a, uint64_t gateway, uint64_t window, uint64_t reserved,
    uint64_t actual, struct bl_now now)
{
	struct bl_hold *h;

	bl_account_turn(a, now);
	if (!bl_window_runs(&a->window, now) || window != a->window.number)
		return;
	h = bl_account_hold(a, gateway);
	if (h != NULL) {
		reserved = least_of(reserved, h->tokens);
		h->tokens -= reserved;
		a->debit.tokens -= reserved;
	}
	a->debit.tokens += actual;
	a->used.tokens += actual;
}

uint64_t
bl_account_lapse(struct bl_account *a, struct bl_now now)
{
	struct tf_node *e, *tmp, *f, *tmp2;
	uint64_t next = 0;

	bl_account_turn(a, now);
	TF_LIST_EACH(&a->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, node);

		TF_LIST_EACH(&h->grants, f, tmp2) {
			struct bl_grant *g = TF_CONTAINER(f, struct bl_grant, node);

			if (g->lapses_ms <= now.mono_ms)
				grant_close(a, h, g, (struct bl_amount){ 0, 0 });
			else if (next == 0 || g->lapses_ms < next)
				next = g->lapses_ms;
		}
	}
	return next;
}

int
bl_account_declare(struct bl_account *a, uint64_t gateway, const struct bl_declared *d, struct bl_now now)
{
	uint64_t before = a->window.number;
	struct bl_amount granted = d->granted;
	struct bl_hold *h;
	struct bl_grant *g;

	bl_account_turn(a, now);
	if (!bl_window_adopt(&a->window, d->window, now))
		return 0;
	if (a->window.number != before)
		account_clear(a);
	if (a->limit.requests == 0)
		granted.requests = 0;
	if (a->limit.tokens == 0)
		granted.tokens = 0;
	h = hold_get(a, gateway);
	if (h == NULL || (g = grant_add(h, 0, d->key, granted)) == NULL)
		return TF_E_NOMEM;
	g->declared = true;
	g->lapses_ms = now.mono_ms + d->ttl_ms + BL_GRANT_SLACK_MS;
	h->tokens += granted.tokens + d->reserved;
	a->debit.tokens += granted.tokens + d->reserved;
	a->debit.requests += granted.requests;
	return 0;
}

void
bl_account_admitted(struct bl_account *a, uint64_t window, uint64_t requests, struct bl_now now)
{
	bl_account_turn(a, now);
	if (!bl_window_runs(&a->window, now) || window != a->window.number)
		return;
	a->debit.requests += requests;
	a->used.requests += requests;
}

void
bl_account_restore(struct bl_account *a, uint64_t window, struct bl_amount used, struct bl_now now)
{
	if (!bl_window_adopt(&a->window, window, now))
		return;
	a->debit = a->used = used;
}

void
bl_account_gone(struct bl_account *a, uint64_t gateway, bool gone)
{
	struct bl_hold *h = bl_account_hold(a, gateway);

	if (h == NULL)
		return;
	h->gone = gone;
	h->recalled = false;
}
