/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: asks for room become grants out of the workspace's account, or refusals. When
 * only what gateways hold stands in the way, unused grants are recalled and the ask waits for them and for
 * attempts that end, BL_WAIT_MS at most, first come first served. It waits at the account whose meter is
 * short, so that a key that floods its own limits keeps no other key of its workspace waiting.
 *
 * After a restart of billingd the ledger says what was used of the running windows, but not
 * what gateways still hold. Until every gateway that was in session, or had left while it held
 * something, has declared it, or is known to be gone, or the grace is over (the life of a grant and three heartbeats: by then a
 * gateway that is alive is back in session, and one that is not cannot admit from old grants
 * any more), the limits of every limited workspace count as taken, and asks are refused as
 * transient. Unlimited plans do not wait.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

struct bl_wait {
	struct tf_node node;       /* list */
	struct tf_node of_gateway; /* gateway.waits */
	struct tf_list *list;      /* waits of the key or of its workspace */
	struct bl *bl;
	struct bl_key *key;
	struct bl_gateway *gateway;
	struct tf_id frame;
	struct bl_amount least, want;
	struct ev_timer timer;
};

static uint64_t
clamp(uint64_t v)
{
	return v < BL_COUNT_MAX ? v : BL_COUNT_MAX;
}

static uint64_t
most_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- answers ------------------------------------------------------------------------------ */

static void
activate(struct bl *bl, struct bl_key *k)
{
	if (!tf_node_linked(&k->active))
		tf_list_append(&bl->active, &k->active);
}

struct asked {
	struct bl_gateway *gateway;
	struct bl_key *key; /* NULL: unknown */
	struct tf_id frame;
	struct tf_span id;  /* of the key, as it was asked */
};

/* What the headers of answers say. GRANT, GRANT_REFUSE and KEY have these fields by the same names. */
#define FILL_STATE(m, NAME, s) \
	do { \
		(m)->remaining = (s)->requests; \
		(m)->tokens_left = (s)->tokens; \
		(m)->reset_ms = (s)->reset_ms; \
		if ((s)->budgeted) { \
			wire_set(m, NAME, budget, (s)->budget); \
			(m)->budget_reset_ms = (s)->budget_reset_ms; \
		} \
		if ((s)->own) { \
			wire_set(m, NAME, key_remaining, (s)->key_requests); \
			wire_set(m, NAME, key_tokens_left, (s)->key_tokens); \
			(m)->key_reset_ms = (s)->key_reset_ms; \
		} \
		if ((s)->window[BL_W_MINUTE] != 0) \
			wire_set(m, NAME, window, (s)->window[BL_W_MINUTE]); \
		(m)->window_budget = (s)->window[BL_W_BUDGET]; \
		(m)->window_key = (s)->window[BL_W_KEY]; \
		(m)->alone = (s)->alone; \
		(m)->returned = (s)->returned; \
	} while (0)

struct refusal {
	int err;
	const char *message; /* NULL: that of the error */
	uint64_t retry_ms;
	bool transient;
	bool begins; /* as of bl_key_room */
};

static void
send_refusal(const struct asked *a, const struct refusal *r)
{
	const struct tf_err_row *row = tf_err_row(r->err);
	struct wire_grant_refuse m = { .key = a->id, .code = tf_cspan(row->code), .message = tf_cspan(r->message),
		.retry_after_ms = r->retry_ms, .transient = r->transient };
	const char *labels[] = { row->code };

	if (a->key != NULL) {
		struct bl_state state = bl_board_say(a->gateway->bl, a->key, bl_now());
		struct bl_room room = bl_key_room(a->key, r->begins);

		state.returned = a->gateway->returned;
		FILL_STATE(&m, GRANT_REFUSE, &state);
		m.limit = state.limit;
		if (room.tokens != BL_NO_LIMIT)
			wire_set(&m, GRANT_REFUSE, room_tokens, room.tokens);
		if (room.money != BL_NO_LIMIT)
			wire_set(&m, GRANT_REFUSE, room_money, room.money);
	}
	if (!m.transient)
		tf_metric_add_l(TF_M_BL_REFUSALS, 1, labels);
	if (a->gateway->peer != NULL)
		(void)wire_send_grant_refuse(a->gateway->peer, &a->frame, 0, &m, (struct tf_span){ 0 });
}

static void
send_grant(const struct asked *a, uint64_t grant, const struct bl_offer *o, struct bl_now now)
{
	const uint64_t *amount = o->amount.v;
	struct wire_grant m = { .key = a->id, .grant = grant, .requests = amount[BL_U_REQUESTS],
		.tokens = amount[BL_U_TOKENS], .ttl_ms = o->ttl_ms };
	struct bl_state state = bl_board_say(a->gateway->bl, a->key, now);

	state.returned = a->gateway->returned;
	FILL_STATE(&m, GRANT, &state);
	m.limit = state.limit;
	if (o->bounded & 1u << BL_U_MONEY)
		wire_set(&m, GRANT, money, amount[BL_U_MONEY]);
	wire_set(&m, GRANT, images, amount[BL_U_IMAGES]);
	wire_set(&m, GRANT, audio_ms, amount[BL_U_AUDIO]);
	wire_set(&m, GRANT, slots, amount[BL_U_SLOTS]);
	m.window_month = o->window[BL_W_MONTH];
	tf_metric_add(TF_M_BL_GRANTS, 1);
	(void)wire_send_grant(a->gateway->peer, &a->frame, 0, &m, (struct tf_span){ 0 });
}

static void
refuse_never(const struct asked *a, const struct bl_amount *least, const struct bl_offer *o)
{
	char text[320];

	bl_refuse_never(a->key, least, o, text, sizeof text);
	send_refusal(a, &(struct refusal){ .err = TF_E_BAD_REQUEST, .message = text });
}

/* A second when only what is held stands in the way; nobody knows when a balance is topped up. */
static void
refuse_short(struct bl *bl, const struct asked *a, const struct bl_amount *least, const struct bl_offer *o,
    struct bl_now now)
{
	const struct bl_meter_row *row = &bl_meter_rows[o->meter];
	struct refusal r = { .err = row->err, .transient = o->transient, .begins = least->v[BL_U_REQUESTS] > 0 };
	char text[320];

	bl_refuse_short(bl, a->key, least, o, text, sizeof text);
	r.message = text;
	r.retry_ms = bl_window_left(&bl_key_pair(a->key).of[row->scope]->window[row->window], now);
	if (o->transient && (r.retry_ms == 0 || r.retry_ms > 1000))
		r.retry_ms = 1000;
	send_refusal(a, &r);
}

void
bl_admit_tell(struct bl *bl, struct bl_key *k, const struct bl_gateway *g, struct wire_key *m)
{
	struct bl_now now = bl_now();
	struct bl_state state;

	if (!bl_admit_limits(bl, k, now))
		return;
	state = bl_board_say(bl, k, now);
	m->board = k->workspace->board;
	m->board_key = k->board;
	m->rpm = state.limit;
	m->tpm = state.tpm;
	state.returned = g != NULL ? g->returned : 0;
	FILL_STATE(m, KEY, &state);
	if (state.window[BL_W_MINUTE] != 0)
		wire_set(m, KEY, remaining, state.requests);
	else
		m->remaining = m->tokens_left = 0; /* nothing runs that could have less than all */
}

/* ---- recalls ------------------------------------------------------------------------------ */

/* One recall a key, however many grants of it are open. */
static void
recall_hold(struct bl_hold *h)
{
	struct bl_gateway *g = TF_CONTAINER(h->holder, struct bl_gateway, holder);
	const struct bl_key *k = TF_CONTAINER(h->pair.of[BL_KEY], struct bl_key, account);
	struct wire_grant_recall m = { .key = tf_id_span(&k->row.id) };

	if (g->peer == NULL || h->recalled || h->grants.n == 0)
		return;
	h->recalled = true;
	(void)wire_send_grant_recall(g->peer, NULL, 0, &m, (struct tf_span){ 0 });
}

/* Of a key, or of all keys of a workspace. */
static void
recall(struct bl_account *a)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&a->holds, e, tmp)
		recall_hold(bl_hold_at(a, e));
}

static void
recalls_over(struct bl_account *a)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&a->holds, e, tmp)
		bl_hold_at(a, e)->recalled = false;
}

/* Also of a key that a recall is under way for: it may have been granted something behind that one. */
void
bl_admit_recall(struct bl *bl, struct bl_workspace *w)
{
	(void)bl;
	recalls_over(&w->account);
	recall(&w->account);
}

/* ---- asking ------------------------------------------------------------------------------- */

enum verdict { DECIDED, WAIT };

static enum verdict
decide_short(struct bl_wait *q, const struct asked *a, const struct bl_offer *o, bool last)
{
	enum bl_scope scope = bl_meter_rows[o->meter].scope;

	if (!o->transient || last) {
		refuse_short(q->bl, a, &q->least, o, bl_now());
		return DECIDED;
	}
	if (o->recallable)
		recall(bl_key_pair(q->key).of[scope]);
	q->list = scope == BL_KEY ? &q->key->waits : &q->key->workspace->waits;
	return WAIT;
}

/* Grants, refuses, or says that waiting may help, and in list where; last: it may not wait any more. */
static enum verdict
decide(struct bl_wait *q, bool last)
{
	struct bl *bl = q->bl;
	struct bl_pair pair = bl_key_pair(q->key);
	struct asked a = { q->gateway, q->key, q->frame, tf_id_span(&q->key->row.id) };
	struct bl_ask ask = { .holder = &q->gateway->holder, .least = q->least, .want = q->want,
		.grant = bl->epoch << 32 | (q->gateway->grants + 1), .ttl_ms = bl->conf->billingd.grant_ttl };
	struct bl_now now = bl_now();
	struct bl_offer o;

	if (!bl_admit_limits(bl, q->key, now)) {
		send_refusal(&a, &(struct refusal){ .err = TF_E_FORBIDDEN, .message = "The workspace's plan is not configured." });
		return DECIDED;
	}
	if (bl->blind_until != 0 && (pair.of[BL_WORKSPACE]->limited | pair.of[BL_KEY]->limited) != 0) {
		q->list = &q->key->workspace->waits;
		if (!last)
			return WAIT;
		send_refusal(&a, &(struct refusal){ .err = TF_E_RATE_LIMIT_EXCEEDED, .retry_ms = 1000, .transient = true });
		return DECIDED;
	}
	switch (bl_account_ask(&pair, &ask, now, &o)) {
	case BL_GIVEN:
		q->gateway->grants++;
		activate(bl, q->key);
		send_grant(&a, ask.grant, &o, now);
		return DECIDED;
	case BL_NEVER:
		refuse_never(&a, &q->least, &o);
		return DECIDED;
	case BL_SHORT:
		return decide_short(q, &a, &o, last);
	default:
		send_refusal(&a, &(struct refusal){ .err = TF_E_OVERLOADED, .retry_ms = 1000 });
		return DECIDED;
	}
}

static void
wait_end(struct bl_wait *q)
{
	ev_timer_del(&q->timer);
	tf_list_remove(q->list, &q->node);
	tf_list_remove(&q->gateway->waits, &q->of_gateway);
	free(q);
}

/* Serves those who wait there, in order, as far as it goes. */
static void
retry_list(struct tf_list *list)
{
	struct tf_node *e;

	while ((e = tf_list_first(list)) != NULL) {
		struct bl_wait *q = TF_CONTAINER(e, struct bl_wait, node);

		if (decide(q, false) == WAIT) {
			if (q->list == list)
				return;
			/* another account is short now: it waits there, behind those who were there before */
			tf_list_remove(list, e);
			tf_list_append(q->list, e);
			continue;
		}
		q->list = list;
		wait_end(q);
	}
}

/* Something of this key came back. */
static void
retry(struct bl_key *k)
{
	if (k->waits.n > 0)
		retry_list(&k->waits);
	if (k->workspace->waits.n > 0)
		retry_list(&k->workspace->waits);
}

static void
on_late(void *arg)
{
	struct bl_wait *q = arg;
	struct bl_key *k = q->key;
	struct tf_list *list = q->list;

	recalls_over(list == &k->waits ? &k->account : &k->workspace->account);
	(void)decide(q, true);
	q->list = list;
	wait_end(q);
	retry(k);
}

static void
wait_begin(const struct bl_wait *q)
{
	struct asked a = { q->gateway, q->key, q->frame, tf_id_span(&q->key->row.id) };
	struct bl_wait *copy;

	if (q->list->n >= BL_WAITS_MAX || (copy = malloc(sizeof *copy)) == NULL) {
		send_refusal(&a, &(struct refusal){ .err = TF_E_RATE_LIMIT_EXCEEDED, .retry_ms = 1000, .transient = true });
		return;
	}
	*copy = *q;
	ev_timer_init(&copy->timer, q->bl->loop, on_late, copy);
	ev_timer_set(&copy->timer, BL_WAIT_MS);
	tf_list_append(copy->list, &copy->node);
	tf_list_append(&q->gateway->waits, &copy->of_gateway);
}

static struct bl_amount
least_of(const struct wire_grant_ask *m)
{
	/* any single request helps, however many wait; of the rest the least is what one of them needs */
	return (struct bl_amount){ { [BL_U_REQUESTS] = m->requests > 0, [BL_U_TOKENS] = clamp(m->tokens),
		[BL_U_MONEY] = clamp(m->money), [BL_U_IMAGES] = clamp(m->images), [BL_U_AUDIO] = clamp(m->audio_ms),
		[BL_U_SLOTS] = m->slots > 0 } };
}

void
bl_admit_ask(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_grant_ask *m)
{
	struct bl_key *k = bl_index_key(&bl->index, m->key);
	struct bl_wait q = { .bl = bl, .gateway = g, .frame = f->id, .key = k, .least = least_of(m) };

	if (k == NULL || bl_key_status(k, bl_wall_ms()) != WIRE_KEY_ACTIVE) {
		send_refusal(&(struct asked){ g, NULL, f->id, m->key }, &(struct refusal){ .err = TF_E_UNAUTHORIZED });
		return;
	}
	q.want = q.least;
	q.want.v[BL_U_REQUESTS] = clamp(most_of(m->want_requests, m->requests));
	q.want.v[BL_U_TOKENS] = clamp(m->want_tokens);
	q.want.v[BL_U_MONEY] = clamp(m->want_money);
	q.want.v[BL_U_SLOTS] = clamp(most_of(m->want_slots, m->slots));
	q.list = k->waits.n > 0 ? &k->waits : &k->workspace->waits;
	if (q.list->n > 0 || decide(&q, false) == WAIT)
		wait_begin(&q);
}

/* ---- what comes back ---------------------------------------------------------------------- */

/* More may follow in the same turn: whoever is told then what is left is told all of it. */
static void
came_back(struct bl *bl, struct bl_key *k)
{
	if (!tf_node_linked(&k->back))
		tf_list_append(&bl->back, &k->back);
	ev_turn_arm(bl->loop, &bl->serve);
}

void
bl_admit_return(struct bl *bl, struct bl_gateway *g, const struct wire_grant_return *m)
{
	struct bl_key *k = bl_index_key(&bl->index, m->key);
	struct bl_returned r = { m->grant, { { [BL_U_REQUESTS] = clamp(m->requests), [BL_U_TOKENS] = clamp(m->tokens),
		[BL_U_MONEY] = clamp(m->money), [BL_U_IMAGES] = clamp(m->images), [BL_U_AUDIO] = clamp(m->audio_ms),
		[BL_U_SLOTS] = clamp(m->slots) } } };
	struct bl_pair pair;

	if (m->number > g->returned)
		g->returned = m->number;
	if (k == NULL)
		return;
	pair = bl_key_pair(k);
	if (bl_account_return(&pair, &g->holder, &r, bl_now()) == TF_E_RANGE) {
		tf_log(TF_WARN, "admit", NULL, "more came back than was granted gateway=%s grant=%" PRIu64, g->row.name,
		    m->grant);
		tf_metric_add(TF_M_WIRE_BAD_FRAMES, 1);
	}
	came_back(bl, k);
}

static void
serve_back(void *arg)
{
	struct bl *bl = arg;
	struct tf_node *e;

	while ((e = tf_list_pop(&bl->back)) != NULL) {
		struct bl_key *k = TF_CONTAINER(e, struct bl_key, back);

		retry(k);
		(void)bl_board_say(bl, k, bl_now());
	}
}

void
bl_admit_init(struct bl *bl)
{
	tf_list_init(&bl->back);
	ev_turn_init(&bl->serve, serve_back, bl);
}

void
bl_admit_fini(struct bl *bl)
{
	ev_turn_disarm(bl->loop, &bl->serve);
}

/* A number that no clock shows is none. */
static uint64_t
window_of(uint64_t number)
{
	return number <= BL_COUNT_MAX ? number : 0;
}

static void
declare(struct bl *bl, struct bl_gateway *g, struct bl_key *k, const struct wire_declare *m)
{
	uint64_t requests = wire_has(m, DECLARE, seq) && m->requests > 0 ? bl_ledger_count(g, m->seq) : clamp(m->requests);
	struct bl_record r = {
		.window = { [BL_W_MINUTE] = window_of(m->window), [BL_W_BUDGET] = window_of(m->window_budget),
			[BL_W_MONTH] = window_of(m->window_month), [BL_W_KEY] = window_of(m->window_key) },
		/* what it has in grants beside is not given back, so it is held like the rest */
		.reserved = { { [BL_U_TOKENS] = clamp(clamp(m->reserved) + clamp(m->tokens)),
			[BL_U_MONEY] = clamp(m->reserved_money), [BL_U_IMAGES] = clamp(m->reserved_images),
			[BL_U_AUDIO] = clamp(m->reserved_audio_ms), [BL_U_SLOTS] = clamp(m->reserved_slots) } },
		.used = { { [BL_U_REQUESTS] = requests } },
	};
	struct bl_pair pair = bl_key_pair(k);
	struct bl_now now = bl_now();

	(void)bl_admit_limits(bl, k, now);
	if (bl_account_declare(&pair, &g->holder, &r, now) == 0)
		activate(bl, k);
	(void)bl_board_say(bl, k, now);
}

void
bl_admit_declare(struct bl *bl, struct bl_gateway *g, const struct wire_declare *m)
{
	struct bl_key *k = bl_index_key(&bl->index, m->key);

	if (m->first) {
		/* the link broke, and what came back on it meanwhile is lost: only the gateway knows */
		bl_holder_drop(&g->holder, bl_now());
		g->fronted = g->committed;
		g->released = 0;
		g->declaring = true;
		g->declared_ms = bl_wall_ms();
		if (g->first_ms == 0)
			g->first_ms = g->declared_ms;
	}
	if (!g->declaring)
		return; /* what it got from us stands in the accounts already */
	if (k != NULL)
		declare(bl, g, k, m);
	if (m->last) {
		g->declaring = false;
		bl_peers_settled(bl, g);
	}
}

static void
less(uint64_t *v, uint64_t by)
{
	*v -= by < *v ? by : *v;
}

void
bl_admit_settle(struct bl *bl, struct bl_gateway *g, const struct bl_settled *s)
{
	const struct bl_usage *u = s->usage;
	struct bl_key *k = bl_index_key(&bl->index, tf_id_span(&u->key));
	struct bl_record r = {
		.window = { [BL_W_MINUTE] = u->window.minute, [BL_W_BUDGET] = u->window.budget, [BL_W_MONTH] = u->window.month,
			[BL_W_KEY] = u->window.key },
		.reserved = { { [BL_U_TOKENS] = u->reserved, [BL_U_MONEY] = u->held.money, [BL_U_IMAGES] = u->held.images,
			[BL_U_AUDIO] = u->held.audio_ms, [BL_U_SLOTS] = u->held.slots } },
	};
	struct bl_workspace *w = bl_index_workspace(&bl->index, tf_id_span(&u->workspace));
	const struct bl_before *b = &u->before;
	struct bl_pair pair;

	if (w != NULL) {
		w->row.extra_tokens -= u->drawn.extra_tokens;
		if (w->row.balance.is)
			w->row.balance.v -= u->drawn.money;
	}
	if (k == NULL)
		return;
	if (s->charged) {
		r.used.v[BL_U_TOKENS] = bl_drawn_tokens(&u->tokens, &u->units, u->reserved);
		r.used.v[BL_U_MONEY] = u->cost - u->unbilled;
		r.used.v[BL_U_IMAGES] = bl_charged(u->units.images, u->held.images);
		r.used.v[BL_U_AUDIO] = bl_charged(u->units.audio_ms, u->held.audio_ms);
	}
	if (s->charged && b->charged) {
		/* what it replaced was counted when it came */
		less(&r.used.v[BL_U_TOKENS], bl_drawn_tokens(&b->tokens, &b->units, u->reserved));
		less(&r.used.v[BL_U_MONEY], b->cost - b->unbilled);
		less(&r.used.v[BL_U_IMAGES], b->units.images);
		less(&r.used.v[BL_U_AUDIO], b->units.audio_ms);
	}
	r.used.v[BL_U_REQUESTS] = s->foreign;
	pair = bl_key_pair(k);
	bl_account_settle(&pair, &g->holder, &r, bl_now());
	if (s->twice)
		bl_account_uncount(&pair, r.window, 1, bl_now());
	came_back(bl, k);
}

void
bl_admit_spent(struct bl_workspace *w, const struct bl_usage *u)
{
	struct bl_record r = { .window = { [BL_W_MONTH] = u->window.month }, .used = { { [BL_U_MONEY] = u->cost - u->unbilled } } };
	struct bl_holder nobody = { .gone = false };
	struct bl_account no_key;
	struct bl_pair pair = { { [BL_WORKSPACE] = &w->account, [BL_KEY] = &no_key } };

	w->row.extra_tokens -= u->drawn.extra_tokens;
	if (w->row.balance.is)
		w->row.balance.v -= u->drawn.money;
	bl_account_init(&no_key, BL_KEY);
	bl_holder_init(&nobody);
	bl_account_settle(&pair, &nobody, &r, bl_now());
	bl_account_fini(&no_key);
}

/* ---- gateways ----------------------------------------------------------------------------- */

void
bl_admit_gone(struct bl *bl, struct bl_gateway *g, bool gone)
{
	(void)bl;
	bl_holder_gone(&g->holder, gone, bl_now());
}

void
bl_admit_stopped(struct bl *bl, struct bl_gateway *g)
{
	(void)bl;
	bl_holder_stopped(&g->holder, bl_now());
}

#define BL_TOLD_MS 2000 /* how long one wait for the ledger is, before the next */

struct told { /* a former start, by name: it may be forgotten before its records are durable */
	struct bl_after after;
	struct bl *bl;
	char name[sizeof ((struct bl_gateway *)0)->row.name];
	uint64_t boot;
};

static void
told_durable(struct bl_after *a, bool late)
{
	struct told *t = TF_CONTAINER(a, struct told, after);
	struct bl *bl = t->bl;
	struct bl_gateway *g = bl_gateway_find(bl, t->name, t->boot);

	if (late && !bl->closing) {
		bl_ledger_after(bl, a, BL_TOLD_MS, told_durable);
		return;
	}
	if (!late && g != NULL && g->peer == NULL) {
		bl_holder_drop(&g->holder, bl_now());
		bl_peers_settled(bl, g);
	}
	free(t);
}

void
bl_admit_settled(struct bl *bl, const struct wire_settled *m)
{
	struct told *t = calloc(1, sizeof *t);

	if (t == NULL || m->name.n >= sizeof t->name) {
		free(t);
		return; /* it will be said again */
	}
	t->bl = bl;
	t->boot = m->boot;
	memcpy(t->name, m->name.p, m->name.n);
	bl_ledger_after(bl, &t->after, BL_TOLD_MS, told_durable);
}

void
bl_admit_forget(struct bl *bl, struct bl_gateway *g)
{
	struct tf_node *e;

	(void)bl;
	/* those behind them are looked at by the tick */
	while ((e = tf_list_first(&g->waits)) != NULL)
		wait_end(TF_CONTAINER(e, struct bl_wait, of_gateway));
}

void
bl_admit_open(struct bl *bl)
{
	struct bl_workspace *w;
	size_t pos = 0;

	bl->blind_until = 0;
	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		retry_list(&w->waits);
}

void
bl_admit_tick(struct bl *bl)
{
	struct bl_now now = bl_now();
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->active, e, tmp) {
		struct bl_key *k = TF_CONTAINER(e, struct bl_key, active);
		struct bl_pair pair = bl_key_pair(k);

		(void)bl_account_lapse(&pair, now);
		retry(k);
		(void)bl_board_say(bl, k, now);
		if (k->account.holds.n == 0)
			tf_list_remove(&bl->active, e);
	}
}
