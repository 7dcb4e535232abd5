/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gateways hold of accounts, and how it comes back: by a return, by a settlement, or not at
 * all. Every change of a meter's debit but the use itself goes through held_add and held_sub.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/account.h"

static struct bl_account *
account_of(const struct bl_hold *h, unsigned meter)
{
	return h->pair.of[bl_meter_rows[meter].scope];
}

static void
held_add(struct bl_hold *h, unsigned meter, uint64_t n)
{
	struct bl_meter *m = &account_of(h, meter)->meter[meter];

	h->held[meter] += n;
	m->debit += n;
	if (h->holder->gone)
		m->lost += n;
}

/* Attempts that ended meanwhile may have freed a part of it already. */
static void
held_sub(struct bl_hold *h, unsigned meter, uint64_t n)
{
	struct bl_meter *m = &account_of(h, meter)->meter[meter];

	if (n > h->held[meter])
		n = h->held[meter];
	h->held[meter] -= n;
	m->debit -= n;
	if (h->holder->gone)
		m->lost -= n;
}

/* ---- what is held of the token window before ------------------------------------------------ */

/* Where this hold counts its part of it; NULL: it has none. Until another window starts it is where it always was. */
static uint64_t *
tail_share(struct bl_hold *h)
{
	const struct bl_tail *t = &h->pair.of[BL_WORKSPACE]->tail;

	if (t->number == 0)
		return NULL;
	if (h->before_of == t->number)
		return &h->before;
	return t->turn != 0 && h->turn[BL_W_BUDGET] == t->turn ? &h->held[BL_M_WINDOW] : NULL;
}

static void
tail_sub(struct bl_hold *h, uint64_t number, uint64_t n)
{
	struct bl_tail *t = &h->pair.of[BL_WORKSPACE]->tail;
	uint64_t *share = tail_share(h);

	if (share == NULL || number != t->number)
		return;
	if (n > *share)
		n = *share;
	*share -= n;
	t->held -= n < t->held ? n : t->held;
}

/* What the gateway says that it holds of a window that is over. Of one that ended before we started nobody knows the rest. */
static void
tail_add(struct bl_hold *h, uint64_t number, uint64_t n)
{
	struct bl_account *a = h->pair.of[BL_WORKSPACE];
	uint64_t *share;

	if (a->tail.number == 0 && a->size != 0 && number != 0)
		a->tail = (struct bl_tail){ .number = number, .size = a->size, .used = a->size };
	if (number == 0 || number != a->tail.number)
		return;
	share = tail_share(h);
	if (share == NULL) {
		h->before = 0;
		h->before_of = number;
		share = &h->before;
	}
	*share += n;
	a->tail.held += n;
}

/* What was held of windows that are over is void, but for what may draw on a top-up. */
static void
hold_sync(struct bl_hold *h)
{
	const struct bl_tail *t = &h->pair.of[BL_WORKSPACE]->tail;
	unsigned i;

	for (unsigned kind = BL_W_NONE + 1; kind < BL_WINDOWS; kind++) {
		uint64_t turn = h->pair.of[bl_window_scopes[kind]]->window[kind].turn;

		if (h->turn[kind] == turn)
			continue;
		if (kind == BL_W_BUDGET && h->turn[kind] != 0 && h->turn[kind] == t->turn && h->before_of != t->number) {
			h->before = h->held[BL_M_WINDOW];
			h->before_of = t->number;
		}
		h->turn[kind] = turn;
		BL_METERS_EACH(i, bl_of_window[kind])
			h->held[i] = 0;
	}
}

/* The meters that this hold still counts on. */
static unsigned
hold_live(struct bl_hold *h, struct bl_now now)
{
	uint64_t number[BL_WINDOWS];

	bl_account_turn(&h->pair, now);
	hold_sync(h);
	for (unsigned kind = 0; kind < BL_WINDOWS; kind++)
		number[kind] = h->pair.of[bl_window_scopes[kind]]->window[kind].number;
	return bl_pair_live(&h->pair, number, now);
}

static void
grant_free(struct bl_hold *h, struct bl_grant *g)
{
	tf_list_remove(&h->grants, &g->node);
	if (!h->holder->gone) {
		h->pair.of[BL_WORKSPACE]->open--;
		h->pair.of[BL_KEY]->open--;
	}
	if (h->grants.n == 0)
		h->recalled = false;
	free(g);
}

static void
hold_free(struct bl_hold *h)
{
	struct tf_node *e;

	while ((e = tf_list_first(&h->grants)) != NULL)
		grant_free(h, TF_CONTAINER(e, struct bl_grant, node));
	tf_list_remove(&h->pair.of[BL_WORKSPACE]->holds, &h->node[BL_WORKSPACE]);
	tf_list_remove(&h->pair.of[BL_KEY]->holds, &h->node[BL_KEY]);
	tf_list_remove(&h->holder->holds, &h->of_holder);
	free(h);
}

struct bl_hold *
bl_hold_at(const struct bl_account *a, struct tf_node *e)
{
	return a->scope == BL_KEY ? TF_CONTAINER(e, struct bl_hold, node[BL_KEY]) :
	    TF_CONTAINER(e, struct bl_hold, node[BL_WORKSPACE]);
}

void
bl_account_fini(struct bl_account *a)
{
	struct tf_node *e;

	while ((e = tf_list_first(&a->holds)) != NULL)
		hold_free(bl_hold_at(a, e));
	bl_account_init(a, a->scope);
}

void
bl_holder_init(struct bl_holder *h)
{
	tf_list_init(&h->holds);
	h->gone = false;
}

struct bl_hold *
bl_account_hold(const struct bl_pair *p, const struct bl_holder *holder)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&p->of[BL_KEY]->holds, e, tmp) {
		struct bl_hold *h = bl_hold_at(p->of[BL_KEY], e);

		if (h->holder == holder)
			return h;
	}
	return NULL;
}

static struct bl_hold *
hold_get(const struct bl_pair *p, struct bl_holder *holder)
{
	struct bl_hold *h = bl_account_hold(p, holder);

	if (h == NULL) {
		h = calloc(1, sizeof *h);
		if (h == NULL)
			return NULL;
		h->pair = *p;
		h->holder = holder;
		tf_list_init(&h->grants);
		tf_list_append(&p->of[BL_WORKSPACE]->holds, &h->node[BL_WORKSPACE]);
		tf_list_append(&p->of[BL_KEY]->holds, &h->node[BL_KEY]);
		tf_list_append(&holder->holds, &h->of_holder);
	}
	hold_sync(h);
	return h;
}

/* ---- grants ------------------------------------------------------------------------------- */

int
bl_hold_grant(const struct bl_pair *p, const struct bl_ask *ask, struct bl_now now, const struct bl_offer *offer)
{
	struct bl_hold *h = hold_get(p, ask->holder);
	struct bl_grant *g = h != NULL ? calloc(1, sizeof *g) : NULL;
	unsigned i;

	if (g == NULL)
		return TF_E_NOMEM;
	g->number = ask->grant;
	g->amount = offer->amount;
	g->bounded = offer->bounded;
	memcpy(g->window, offer->window, sizeof g->window);
	g->lapses_ms = now.mono_ms + offer->ttl_ms + BL_GRANT_SLACK_MS;
	tf_list_append(&h->grants, &g->node);
	p->of[BL_WORKSPACE]->open++;
	p->of[BL_KEY]->open++;
	BL_METERS_EACH(i, bl_pair_live(p, g->window, now))
		held_add(h, i, g->amount.v[bl_meter_rows[i].unit]);
	return BL_GIVEN;
}

/* Requests that were admitted from it are used; of the rest, what is not returned is reserved now. */
static void
grant_book(struct bl_hold *h, struct bl_grant *g, const struct bl_amount *unused, struct bl_now now)
{
	uint64_t admitted = g->amount.v[BL_U_REQUESTS] - unused->v[BL_U_REQUESTS];
	unsigned live = bl_pair_live(&h->pair, g->window, now), i;

	if (!(live & 1u << BL_M_WINDOW))
		tail_sub(h, g->window[BL_W_BUDGET], unused->v[BL_U_TOKENS]);
	BL_METERS_EACH(i, live) {
		enum bl_unit u = bl_meter_rows[i].unit;

		if (u != BL_U_REQUESTS) {
			held_sub(h, i, unused->v[u]);
			continue;
		}
		held_sub(h, i, g->amount.v[u]);
		account_of(h, i)->meter[i].debit += admitted;
		account_of(h, i)->meter[i].used += admitted;
	}
	g->amount.v[BL_U_REQUESTS] = 0;
}

/* It will not be returned: of what nothing limits nobody can say how much was admitted, and nobody needs to know. */
static void
grant_void_unbounded(struct bl_hold *h, struct bl_grant *g, struct bl_now now)
{
	unsigned i;

	BL_METERS_EACH(i, bl_pair_live(&h->pair, g->window, now))
		if (!(g->bounded & 1u << bl_meter_rows[i].unit))
			held_sub(h, i, g->amount.v[bl_meter_rows[i].unit]);
	for (unsigned u = 0; u < BL_UNITS; u++)
		if (!(g->bounded & 1u << u))
			g->amount.v[u] = 0;
}

int
bl_account_return(const struct bl_pair *p, struct bl_holder *holder, const struct bl_returned *r, struct bl_now now)
{
	struct bl_hold *h = bl_account_hold(p, holder);
	struct bl_amount unused = r->unused;
	struct tf_node *e, *tmp;

	if (h == NULL)
		return TF_E_NOENT;
	(void)hold_live(h, now);
	TF_LIST_EACH(&h->grants, e, tmp) {
		struct bl_grant *g = TF_CONTAINER(e, struct bl_grant, node);

		if (g->number != r->grant)
			continue;
		for (unsigned u = 0; u < BL_UNITS; u++) {
			/* what was void when its gateway was thought to be gone stays so */
			if (g->amount.v[u] == 0)
				unused.v[u] = 0;
			if (unused.v[u] > g->amount.v[u])
				return TF_E_RANGE;
		}
		grant_book(h, g, &unused, now);
		grant_free(h, g);
		return 0;
	}
	return TF_E_NOENT;
}

/* All of it counts as admitted. */
static void
grant_lapse(struct bl_hold *h, struct bl_grant *g, struct bl_now now)
{
	static const struct bl_amount none;

	grant_book(h, g, &none, now);
	grant_free(h, g);
}

static bool
hold_empty(struct bl_hold *h, struct bl_now now)
{
	const uint64_t *share = tail_share(h);
	unsigned i;

	if (h->grants.n > 0 || (share != NULL && *share > 0))
		return false;
	BL_METERS_EACH(i, hold_live(h, now))
		if (h->held[i] != 0)
			return false;
	return true;
}

uint64_t
bl_account_lapse(const struct bl_pair *p, struct bl_now now)
{
	struct tf_node *e, *tmp, *f, *tmp2;
	uint64_t next = 0;

	TF_LIST_EACH(&p->of[BL_KEY]->holds, e, tmp) {
		struct bl_hold *h = bl_hold_at(p->of[BL_KEY], e);

		(void)hold_live(h, now);
		/* in session it comes back for sure, and until then nobody can say what was admitted from it */
		TF_LIST_EACH(&h->grants, f, tmp2) {
			struct bl_grant *g = TF_CONTAINER(f, struct bl_grant, node);

			if (!h->holder->gone)
				break;
			if (g->lapses_ms <= now.mono_ms)
				grant_lapse(h, g, now);
			else if (next == 0 || g->lapses_ms < next)
				next = g->lapses_ms;
		}
		if (hold_empty(h, now))
			hold_free(h);
	}
	return next;
}

/* ---- attempts ----------------------------------------------------------------------------- */

void
bl_account_settle(const struct bl_pair *p, struct bl_holder *holder, const struct bl_record *r, struct bl_now now)
{
	struct bl_hold *h = bl_account_hold(p, holder);
	struct bl_tail *t = &p->of[BL_WORKSPACE]->tail;
	unsigned live, i;

	bl_account_adopt(p, r->window, now);
	if (h != NULL)
		hold_sync(h);
	live = bl_pair_live(p, r->window, now);
	if (!(live & 1u << BL_M_WINDOW) && h != NULL)
		tail_sub(h, r->window[BL_W_BUDGET], r->reserved.v[BL_U_TOKENS]);
	if (!(live & 1u << BL_M_WINDOW) && t->number != 0 && r->window[BL_W_BUDGET] == t->number)
		t->used += r->used.v[BL_U_TOKENS];
	BL_METERS_EACH(i, live) {
		struct bl_account *a = p->of[bl_meter_rows[i].scope];
		enum bl_unit u = bl_meter_rows[i].unit;

		if (h != NULL)
			held_sub(h, i, r->reserved.v[u]);
		if (bl_meter_rows[i].window == BL_W_NONE)
			continue; /* a balance goes down instead, and a slot is free */
		a->meter[i].debit += r->used.v[u];
		a->meter[i].used += r->used.v[u];
	}
}

void
bl_account_uncount(const struct bl_pair *p, const uint64_t window[static BL_WINDOWS], uint64_t requests, struct bl_now now)
{
	unsigned i;

	bl_account_turn(p, now);
	BL_METERS_EACH(i, bl_pair_live(p, window, now)) {
		struct bl_meter *m = &p->of[bl_meter_rows[i].scope]->meter[i];
		uint64_t n = requests < m->used ? requests : m->used;

		if (bl_meter_rows[i].unit != BL_U_REQUESTS)
			continue;
		m->used -= n;
		m->debit -= n;
	}
}

int
bl_account_declare(const struct bl_pair *p, struct bl_holder *holder, const struct bl_record *r, struct bl_now now)
{
	unsigned live, i;
	struct bl_hold *h;

	bl_account_adopt(p, r->window, now);
	h = hold_get(p, holder);
	if (h == NULL)
		return TF_E_NOMEM;
	live = bl_pair_live(p, r->window, now);
	if (!(live & 1u << BL_M_WINDOW))
		tail_add(h, r->window[BL_W_BUDGET], r->reserved.v[BL_U_TOKENS]);
	BL_METERS_EACH(i, live) {
		enum bl_unit u = bl_meter_rows[i].unit;

		held_add(h, i, r->reserved.v[u]);
		p->of[bl_meter_rows[i].scope]->meter[i].debit += r->used.v[u];
		p->of[bl_meter_rows[i].scope]->meter[i].used += r->used.v[u];
	}
	return 0;
}

/* ---- gateways ----------------------------------------------------------------------------- */

void
bl_holder_gone(struct bl_holder *holder, bool gone, struct bl_now now)
{
	struct tf_node *e, *tmp, *f, *tmp2;
	unsigned i;

	if (holder->gone == gone)
		return;
	TF_LIST_EACH(&holder->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, of_holder);
		unsigned live = hold_live(h, now);

		h->recalled = false;
		TF_LIST_EACH(&h->grants, f, tmp2)
			if (gone)
				grant_void_unbounded(h, TF_CONTAINER(f, struct bl_grant, node), now);
		for (unsigned s = 0; s < BL_SCOPES; s++)
			h->pair.of[s]->open = gone ? h->pair.of[s]->open - h->grants.n : h->pair.of[s]->open + h->grants.n;
		BL_METERS_EACH(i, live) {
			struct bl_meter *m = &account_of(h, i)->meter[i];

			m->lost = gone ? m->lost + h->held[i] : m->lost - h->held[i];
		}
	}
	holder->gone = gone;
}

void
bl_holder_stopped(struct bl_holder *holder, struct bl_now now)
{
	struct tf_node *e, *tmp, *f, *tmp2;
	unsigned i;

	TF_LIST_EACH(&holder->holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, of_holder);

		BL_METERS_EACH(i, hold_live(h, now))
			if (bl_meter_rows[i].unit == BL_U_SLOTS)
				held_sub(h, i, h->held[i]);
		TF_LIST_EACH(&h->grants, f, tmp2)
			TF_CONTAINER(f, struct bl_grant, node)->amount.v[BL_U_SLOTS] = 0;
	}
}

bool
bl_holder_empty(struct bl_holder *holder, struct bl_now now)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&holder->holds, e, tmp)
		if (!hold_empty(TF_CONTAINER(e, struct bl_hold, of_holder), now))
			return false;
	return true;
}

void
bl_holder_drop(struct bl_holder *holder, struct bl_now now)
{
	static const struct bl_amount none;
	struct tf_node *e, *f, *tmp;
	unsigned i;

	while ((e = tf_list_first(&holder->holds)) != NULL) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, of_holder);
		unsigned live = hold_live(h, now);

		TF_LIST_EACH(&h->grants, f, tmp) {
			grant_void_unbounded(h, TF_CONTAINER(f, struct bl_grant, node), now);
			grant_book(h, TF_CONTAINER(f, struct bl_grant, node), &none, now);
		}
		tail_sub(h, h->pair.of[BL_WORKSPACE]->tail.number, UINT64_MAX);
		BL_METERS_EACH(i, live)
			held_sub(h, i, h->held[i]);
		hold_free(h);
	}
}
