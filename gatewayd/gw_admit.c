/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in the limits. billingd hands a thread grants: so many requests and tokens of a key, for a
 * second or two. A request is admitted from them without a round trip; what it takes becomes its
 * reservation, which lives until its usage record settles it. Only billingd refuses. Grants are
 * asked for ahead of need, sized by what the key used in the last second.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"

#define GW_GRANT_AHEAD_MS 700    /* a grant that ends within this is replaced while the key is busy */
#define GW_TRANSIENT_MS 50       /* pause before asking again when only reservations stand in the way */
#define GW_TRANSIENT_MAX_MS 2000 /* longest such wait of a request */
#define GW_WANTED_MAX 64         /* waiting requests whose needs make up what is wanted */

/* ---- workspaces ------------------------------------------------------------------------------ */

struct gw_space *
gw_space_get(struct gw_thread *t, const uint8_t id[static 16])
{
	struct gw_space *s = tf_map_get(&t->spaces, tf_span(id, 16));

	if (s == NULL) {
		s = calloc(1, sizeof *s);
		if (s == NULL)
			return NULL;
		memcpy(s->id, id, sizeof s->id);
		s->budget = UINT64_MAX;
		if (tf_map_put(&t->spaces, tf_span(s->id, sizeof s->id), s) != 0) {
			free(s);
			return NULL;
		}
	}
	s->refs++;
	return s;
}

void
gw_space_put(struct gw_thread *t, struct gw_space **sp)
{
	struct gw_space *s = *sp;

	*sp = NULL;
	if (s == NULL || --s->refs > 0)
		return;
	tf_map_del(&t->spaces, tf_span(s->id, sizeof s->id));
	free(s);
}

/* What is left in the window, as billingd says it. */
struct gw_left_says {
	uint64_t limit, requests, tokens, reset_ms;
};

static void
gw_space_learn(struct gw_space *s, const struct gw_left_says *m)
{
	s->limit = m->limit;
	s->remaining = m->requests;
	s->tokens_left = m->tokens;
	s->reset = (tf_wall_ns() / 1000000 + (int64_t)m->reset_ms + 999) / 1000;
}

/* Requests and tokens that we no longer hold. */
static void
gw_space_let_go(struct gw_space *s, uint64_t requests, uint64_t tokens)
{
	s->held -= requests < s->held ? requests : s->held;
	s->tokens_held -= tokens < s->tokens_held ? tokens : s->tokens_held;
}

/* ---- grants ---------------------------------------------------------------------------------- */

/* Out of our hands: used up, given back, or void. */
static void
gw_grant_drop(struct gw_key *k, struct gw_grant *g)
{
	if (k->space != NULL && g->window == k->space->window)
		gw_space_let_go(k->space, g->requests, g->tokens);
	tf_list_remove(&k->grants, &g->node);
	free(g);
}

static void
gw_grant_give_back(struct gw_thread *t, struct tf_span key, uint64_t number, uint64_t requests, uint64_t tokens)
{
	struct wire_peer *p = gw_billing(t);
	struct wire_grant_return m = { .key = key, .grant = number, .requests = requests, .tokens = tokens };

	if (p != NULL)
		(void)wire_send_grant_return(p, NULL, 0, &m, (struct tf_span){ 0 });
}

static void
gw_grant_return(struct gw_thread *t, struct gw_key *k, struct gw_grant *g)
{
	gw_grant_give_back(t, tf_span(k->id, sizeof k->id), g->number, g->requests, g->tokens);
	if (k->space != NULL && g->window == k->space->window) {
		k->space->remaining += g->requests;
		k->space->tokens_left += g->tokens;
	}
	gw_grant_drop(k, g);
}

/* Room in grants that still live and belong to the window of the newest one. */
static void
gw_grants_sum(const struct gw_key *k, uint64_t now, uint64_t *requests, uint64_t *tokens)
{
	struct tf_node *e, *tmp;

	*requests = *tokens = 0;
	TF_LIST_EACH(&k->grants, e, tmp) {
		const struct gw_grant *g = TF_CONTAINER(e, struct gw_grant, node);

		if (g->expires <= now || g->window != k->window)
			continue;
		*requests += g->requests;
		*tokens += g->tokens;
	}
}

/* Takes from the oldest grants first; the caller has checked that there is enough. */
static void
gw_grants_take(struct gw_key *k, uint64_t now, uint64_t requests, uint64_t tokens)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&k->grants, e, tmp) {
		struct gw_grant *g = TF_CONTAINER(e, struct gw_grant, node);
		uint64_t r, n;

		if (g->expires <= now || g->window != k->window)
			continue;
		r = g->requests < requests ? g->requests : requests;
		n = g->tokens < tokens ? g->tokens : tokens;
		g->requests -= r;
		g->tokens -= n;
		requests -= r;
		tokens -= n;
		if (g->window == k->space->window)
			gw_space_let_go(k->space, r, n);
	}
}

static void
gw_rate_count(struct gw_key *k, uint64_t now, uint64_t tokens)
{
	if (now - k->rate_at >= 1000) {
		bool adjacent = now - k->rate_at < 2000;

		k->last_requests = adjacent ? k->rate_requests : 0;
		k->last_tokens = adjacent ? k->rate_tokens : 0;
		k->rate_requests = k->rate_tokens = 0;
		k->rate_at = now;
	}
	k->rate_requests++;
	k->rate_tokens += tokens;
}

static uint64_t
gw_lately_requests(const struct gw_key *k)
{
	return k->rate_requests > k->last_requests ? k->rate_requests : k->last_requests;
}

static uint64_t
gw_lately_tokens(const struct gw_key *k)
{
	return k->rate_tokens > k->last_tokens ? k->rate_tokens : k->last_tokens;
}

static uint64_t
gw_need(const struct gw_req *req)
{
	return req->need_prompt + req->need_output;
}

/* What all who wait would take, beside what the key used lately. */
static void
gw_grant_wanted(const struct gw_key *k, struct wire_grant_ask *m)
{
	struct tf_node *e, *tmp;
	unsigned n = 0;

	m->want_requests = m->requests + 2 * gw_lately_requests(k);
	m->want_tokens = m->tokens + 2 * gw_lately_tokens(k);
	TF_LIST_EACH(&k->admitting, e, tmp) {
		if (n++ == GW_WANTED_MAX)
			break;
		m->want_requests++;
		m->want_tokens += gw_need(TF_CONTAINER(e, struct gw_req, wait));
	}
}

/* requests and tokens: the least that helps. */
static void
gw_grant_ask(struct gw_thread *t, struct gw_key *k, uint64_t requests, uint64_t tokens)
{
	struct wire_peer *p = gw_billing(t);
	struct wire_grant_ask m = { .key = tf_span(k->id, sizeof k->id), .requests = requests, .tokens = tokens };

	if (k->granting || p == NULL)
		return;
	gw_grant_wanted(k, &m);
	k->grant_id = tf_id_new();
	if (tf_map_put(&t->asks, tf_id_span(&k->grant_id), k) != 0)
		return;
	if (wire_send_grant_ask(p, &k->grant_id, 0, &m, (struct tf_span){ 0 }) != 0) {
		tf_map_del(&t->asks, tf_id_span(&k->grant_id));
		return;
	}
	k->granting = true;
	k->grant_requests = requests;
	k->grant_tokens = tokens;
	gw_key_busy(t, k);
	k->grant_asked = tf_mono_ms();
}

static void
gw_grant_ask_forget(struct gw_thread *t, struct gw_key *k)
{
	if (!k->granting)
		return;
	tf_map_del(&t->asks, tf_id_span(&k->grant_id));
	k->granting = false;
}

/* Asks before it runs out: the hot path never waits for billingd. */
static void
gw_grant_ahead(struct gw_thread *t, struct gw_key *k, uint64_t now)
{
	const struct gw_grant *newest;
	uint64_t requests, tokens;

	if (k->granting || k->grants.n == 0 || now < k->grant_again)
		return;
	newest = TF_CONTAINER(k->grants.head.prev, struct gw_grant, node);
	gw_grants_sum(k, now, &requests, &tokens);
	if (newest->expires < now + GW_GRANT_AHEAD_MS || requests < gw_lately_requests(k) / 2 + 1 ||
	    tokens < gw_lately_tokens(k) / 2 + 1)
		gw_grant_ask(t, k, 1, 1);
}

/* ---- admission ------------------------------------------------------------------------------- */

static bool
gw_admit_try(struct gw_req *req, uint64_t now)
{
	struct gw_key *k = req->key;
	uint64_t need = gw_need(req), requests, tokens;

	gw_grants_sum(k, now, &requests, &tokens);
	if (requests < 1 || tokens < need)
		return false;
	gw_grants_take(k, now, 1, need);
	req->reserved = need;
	req->window = k->window;
	req->admitted = true;
	k->reserved += need;
	gw_rate_count(k, now, need);
	return true;
}

/* billingd is away and the operator says that those who were known may go on. */
static bool
gw_admit_unmetered(struct gw_req *req)
{
	if (gw_thread_billing_fresh(req->t) || !req->conf->c->gatewayd.serve_unmetered)
		return false;
	req->admitted = req->unmetered = true;
	return true;
}

int
gw_admit(struct gw_req *req)
{
	struct gw_thread *t = req->t;
	struct gw_key *k = req->key;
	uint64_t now = tf_mono_ms();

	if (t->unsettled.n >= GW_UNSETTLED_MAX)
		return TF_E_OVERLOADED;
	if (k->tpm != 0 && req->need_prompt + (req->head->max_output ? 1 : 0) > k->tpm)
		return TF_E_BAD_REQUEST;
	/* who came first is served first */
	if (k->admitting.n == 0 && gw_admit_try(req, now)) {
		gw_grant_ahead(t, k, now);
		return 0;
	}
	if (gw_admit_unmetered(req))
		return 0;
	if (now >= k->grant_again)
		gw_grant_ask(t, k, 1, gw_need(req));
	tf_list_append(&k->admitting, &req->wait);
	gw_key_busy(t, k);
	req->wait_since = now;
	gw_req_to(req, GW_S_ADMIT);
	return TF_E_AGAIN;
}

void
gw_admit_leave(struct gw_req *req)
{
	if (req->state == GW_S_ADMIT && tf_node_linked(&req->wait))
		tf_list_remove(&req->key->admitting, &req->wait);
}

/* Lets in those who fit, in order; asks for the first that does not. */
static void
gw_admit_pump(struct gw_thread *t, struct gw_key *k)
{
	uint64_t now = tf_mono_ms();
	struct tf_node *e;

	while ((e = tf_list_first(&k->admitting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);

		if (!gw_admit_try(req, now)) {
			if (now >= k->grant_again)
				gw_grant_ask(t, k, 1, gw_need(req));
			return;
		}
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, 0, NULL, 0);
	}
	gw_grant_ahead(t, k, now);
}

/* ---- what billingd says ---------------------------------------------------------------------- */

static struct gw_key *
gw_grant_answered(struct gw_thread *t, const struct wire_frame *f)
{
	struct gw_key *k = tf_map_get(&t->asks, tf_id_span(&f->id));

	if (k == NULL || !k->granting || !tf_id_eq(k->grant_id, f->id))
		return NULL;
	gw_grant_ask_forget(t, k);
	return k;
}

static void
gw_grant_add(struct gw_thread *t, struct gw_key *k, struct gw_grant *g, const struct wire_grant *m)
{
	struct gw_space *s = k->space;

	g->number = m->grant;
	g->requests = m->requests;
	g->tokens = m->tokens;
	g->window = m->window;
	/* the life counts from the asking, so a slow answer can only shorten it */
	g->expires = k->grant_asked + m->ttl_ms;
	tf_list_append(&k->grants, &g->node);
	gw_key_busy(t, k);
	if (m->window > k->window)
		k->window = m->window;
	if (m->window > s->window) {
		s->window = m->window;
		s->held = s->tokens_held = 0;
	}
	if (m->window < s->window)
		return; /* overtaken by a grant of the next window */
	s->held += m->requests;
	s->tokens_held += m->tokens;
	gw_space_learn(s, &(struct gw_left_says){ m->limit, m->remaining, m->tokens_left, m->reset_ms });
	s->budget = wire_has(m, GRANT, budget) ? m->budget : UINT64_MAX;
}

void
gw_admit_grant(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant *m)
{
	struct gw_key *k = gw_grant_answered(t, f);
	struct gw_grant *g = k != NULL && k->space != NULL ? calloc(1, sizeof *g) : NULL;

	if (g == NULL) {
		/* nobody waits for it any more */
		gw_grant_give_back(t, m->key, m->grant, m->requests, m->tokens);
		return;
	}
	gw_grant_add(t, k, g, m);
	gw_admit_pump(t, k);
}

/* Those whom a final refusal concerns: all when no request is left, else the first, if it was asked for. */
static void
gw_admit_turn_away(struct gw_key *k, int err, const char *message, const struct wire_grant_refuse *m)
{
	struct tf_node *e;

	while ((e = tf_list_first(&k->admitting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);
		bool one = m->remaining > 0 || err == TF_E_BAD_REQUEST;

		if (one && (k->grant_requests == 0 || gw_need(req) < k->grant_tokens))
			return; /* it was asked for somebody else, who has left */
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, err, message, (m->retry_after_ms + 999) / 1000);
		if (one)
			return;
	}
}

void
gw_admit_refuse(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant_refuse *m)
{
	struct gw_key *k = gw_grant_answered(t, f);
	const struct tf_err_row *row;
	char code[64], message[512];

	if (k == NULL)
		return;
	/* a refusal that knows no account says nothing of it */
	if (k->space != NULL && m->limit != 0 && m->reset_ms != 0)
		gw_space_learn(k->space, &(struct gw_left_says){ m->limit, m->remaining, m->tokens_left, m->reset_ms });
	if (k->space != NULL && wire_has(m, GRANT_REFUSE, budget))
		k->space->budget = m->budget;
	if (m->transient) {
		k->grant_again = tf_mono_ms() + GW_TRANSIENT_MS;
		return;
	}
	k->refusals++;
	k->refused_tokens = k->grant_tokens;
	snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
	snprintf(message, sizeof message, TF_SPAN_FMT, TF_SPAN_ARG(m->message));
	row = tf_err_by_code(code);
	gw_admit_turn_away(k, row ? row->err : TF_E_SERVER_ERROR, m->message.n ? message : NULL, m);
	if (k->admitting.n > 0)
		gw_admit_pump(t, k);
}

/* Only keys under way hold grants, so only those are looked at. */
void
gw_admit_recall(struct gw_thread *t, const struct wire_grant_recall *m)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->keys_busy, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, busy);
		struct tf_node *ge, *gtmp;

		if (m->key.n != sizeof k->id || memcmp(m->key.p, k->id, sizeof k->id) != 0)
			continue;
		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_return(t, k, TF_CONTAINER(ge, struct gw_grant, node));
	}
}

/* ---- more output than was reserved ------------------------------------------------------------ */

static bool
gw_extend_try(struct gw_req *req, uint64_t piece, uint64_t now)
{
	struct gw_key *k = req->key;
	uint64_t requests, tokens;

	gw_grants_sum(k, now, &requests, &tokens);
	if (tokens < piece)
		return false;
	gw_grants_take(k, now, 0, piece);
	k->reserved += piece;
	req->reserved += piece;
	req->need_output += piece;
	req->short_since = 0;
	gw_grant_ahead(req->t, k, now);
	return true;
}

/* Has billingd said no, or nothing for too long? */
static bool
gw_extend_hopeless(struct gw_req *req, uint64_t piece, uint64_t now)
{
	struct gw_key *k = req->key;
	bool here = gw_thread_billing_fresh(req->t);

	if (k->refusals != req->short_refusals && k->refused_tokens <= piece)
		return true;
	if (!here && req->conf->c->gatewayd.serve_unmetered)
		return false;
	return now - req->short_since >= (here ? GW_TRANSIENT_MAX_MS : GW_WAIT_MS);
}

void
gw_admit_extend(struct gw_req *req)
{
	struct gw_key *k = req->key;
	uint64_t now, piece = (uint64_t)GW_TRANCHE * req->head->n;

	if (!req->admitted || req->unmetered || req->cancelled || req->out_tokens + piece / 4 < req->need_output ||
	    req->need_output >= req->most_output)
		return;
	if (piece > req->most_output - req->need_output)
		piece = req->most_output - req->need_output;
	now = tf_mono_ms();
	if (gw_extend_try(req, piece, now))
		return;
	if (req->short_since == 0) {
		req->short_since = now;
		req->short_refusals = k->refusals;
	}
	if (now >= k->grant_again)
		gw_grant_ask(req->t, k, 0, piece);
	/* what is reserved may be used up, then the answer ends with length */
	if (req->out_tokens >= req->need_output && gw_extend_hopeless(req, piece, now))
		gw_attempt_cancel(req, WIRE_CANCEL_LENGTH);
}

uint64_t
gw_admit_settle(struct gw_req *req)
{
	uint64_t held = req->reserved;

	if (req->key != NULL)
		req->key->reserved -= held < req->key->reserved ? held : req->key->reserved;
	req->reserved = 0;
	return held;
}

/* ---- time and ends ---------------------------------------------------------------------------- */

static void
gw_admit_late(struct gw_key *k, uint64_t now)
{
	struct tf_node *e;

	while ((e = tf_list_first(&k->admitting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);
		bool here = gw_thread_billing_fresh(req->t), go = gw_admit_unmetered(req);

		if (!go && now - req->wait_since < (here ? GW_TRANSIENT_MAX_MS : GW_WAIT_MS))
			return; /* in order of arrival: the rest is younger */
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, go ? 0 : here ? TF_E_RATE_LIMIT_EXCEEDED : TF_E_OVERLOADED, NULL, 1);
	}
}

void
gw_admit_key_tick(struct gw_thread *t, struct gw_key *k, uint64_t now)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&k->grants, e, tmp) {
		struct gw_grant *g = TF_CONTAINER(e, struct gw_grant, node);

		if (g->expires <= now)
			gw_grant_return(t, k, g);
	}
	if (k->granting && now - k->grant_asked > GW_ASK_MS)
		gw_grant_ask_forget(t, k);
	gw_admit_late(k, now);
	if (k->admitting.n > 0 && !k->granting)
		gw_admit_pump(t, k);
}

/*
 * After a restart billingd knows nothing of what we hold: tell it, key by key. The grants of its
 * former life are given up, which costs nothing: the new one has not booked them. The same billingd
 * after a break of the link has all of it in its books still.
 */
void
gw_admit_declare(struct gw_thread *t)
{
	struct wire_peer *p = gw_billing(t);
	static const uint8_t none[16];
	struct wire_declare last = { .key = tf_span(none, sizeof none) };
	struct tf_node *e, *tmp;
	bool anew;

	if (p == NULL)
		return;
	anew = p->boot != t->billing_boot;
	t->billing_boot = p->boot;
	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);
		struct wire_declare m = { .key = tf_span(k->id, sizeof k->id), .reserved = k->reserved, .window = k->window };
		struct tf_node *ge, *gtmp;

		gw_grant_ask_forget(t, k); /* it will not be answered */
		if (!anew)
			continue;
		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_drop(k, TF_CONTAINER(ge, struct gw_grant, node));
		if (k->reserved > 0)
			(void)wire_send_declare(p, NULL, 0, &m, (struct tf_span){ 0 });
	}
	wire_set(&last, DECLARE, last, 1);
	(void)wire_send_declare(p, NULL, 0, &last, (struct tf_span){ 0 });
	TF_LIST_EACH(&t->keys_busy, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, busy);

		if (k->admitting.n > 0)
			gw_admit_pump(t, k);
	}
}

void
gw_admit_return_all(struct gw_thread *t)
{
	struct tf_node *e, *tmp, *ge, *gtmp;

	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_return(t, k, TF_CONTAINER(ge, struct gw_grant, node));
	}
}

void
gw_admit_key_free(struct gw_key *k)
{
	struct tf_node *e;

	while ((e = tf_list_first(&k->grants)) != NULL)
		gw_grant_drop(k, TF_CONTAINER(e, struct gw_grant, node));
}
