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

#define GW_GRANT_AHEAD_MS 700   /* a grant that ends within this is replaced while the key is busy */
#define GW_TRANSIENT_MS 50      /* pause before asking again when only reservations stand in the way */
#define GW_TRANSIENT_MAX_MS 2000 /* longest such wait of a request */

static void
gw_grant_drop(struct gw_key *k, struct gw_grant *g)
{
	tf_list_remove(&k->grants, &g->node);
	free(g);
}

static void
gw_grant_return(struct gw_thread *t, struct gw_key *k, struct gw_grant *g)
{
	struct wire_peer *p = wire_dial_peer(t->billing);
	struct wire_grant_return m = {
		.key = tf_span(k->id, sizeof k->id), .grant = g->number, .requests = g->requests, .tokens = g->tokens,
	};

	if (p != NULL)
		(void)wire_send_grant_return(p, NULL, 0, &m, (struct tf_span){ 0 });
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

static void
gw_grant_ask(struct gw_thread *t, struct gw_key *k, uint64_t requests, uint64_t tokens)
{
	struct wire_peer *p = wire_dial_peer(t->billing);
	uint64_t lately_r = k->rate_requests > k->last_requests ? k->rate_requests : k->last_requests;
	uint64_t lately_t = k->rate_tokens > k->last_tokens ? k->rate_tokens : k->last_tokens;
	struct wire_grant_ask m = {
		.key = tf_span(k->id, sizeof k->id), .requests = requests, .tokens = tokens,
		.want_requests = requests + 2 * lately_r, .want_tokens = tokens + 2 * lately_t,
	};

	if (k->granting || p == NULL)
		return;
	k->grant_id = tf_id_new();
	if (tf_map_put(&t->asks, tf_id_span(&k->grant_id), k) != 0)
		return;
	if (wire_send_grant_ask(p, &k->grant_id, 0, &m, (struct tf_span){ 0 }) != 0) {
		tf_map_del(&t->asks, tf_id_span(&k->grant_id));
		return;
	}
	k->granting = true;
	gw_key_busy(t, k);
	k->grant_asked = tf_mono_ms();
}

/* Asks before it runs out: the hot path never waits for billingd. */
static void
gw_grant_ahead(struct gw_thread *t, struct gw_key *k, uint64_t now)
{
	const struct gw_grant *newest;
	uint64_t requests, tokens, lately_r, lately_t;

	if (k->granting || k->grants.n == 0)
		return;
	newest = TF_CONTAINER(k->grants.head.prev, struct gw_grant, node);
	lately_r = k->rate_requests > k->last_requests ? k->rate_requests : k->last_requests;
	lately_t = k->rate_tokens > k->last_tokens ? k->rate_tokens : k->last_tokens;
	gw_grants_sum(k, now, &requests, &tokens);
	if (newest->expires < now + GW_GRANT_AHEAD_MS || requests < lately_r / 2 + 1 || tokens < lately_t / 2 + 1)
		gw_grant_ask(t, k, 1, 1);
}

static bool
gw_admit_try(struct gw_req *req, uint64_t now)
{
	struct gw_key *k = req->key;
	uint64_t need = req->need_prompt + req->need_output, requests, tokens;

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
	if (!gw_thread_billing_fresh(t) && req->conf->c->gatewayd.serve_unmetered) {
		req->admitted = true;
		return 0;
	}
	tf_list_append(&k->admitting, &req->wait);
	gw_key_busy(t, k);
	req->wait_since = now;
	gw_req_to(req, GW_S_ADMIT);
	if (now >= k->grant_again)
		gw_grant_ask(t, k, 1, req->need_prompt + req->need_output);
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
				gw_grant_ask(t, k, k->admitting.n, req->need_prompt + req->need_output);
			return;
		}
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, 0, NULL, 0);
	}
	gw_grant_ahead(t, k, now);
}

static void
gw_limits_learn(struct gw_key *k, uint64_t limit, uint64_t remaining, uint64_t reset_ms)
{
	k->limit = limit;
	k->remaining = remaining;
	k->reset = (tf_wall_ns() / 1000000 + (int64_t)reset_ms + 999) / 1000;
}

static struct gw_key *
gw_grant_answered(struct gw_thread *t, const struct wire_frame *f)
{
	struct gw_key *k = tf_map_get(&t->asks, tf_id_span(&f->id));

	if (k == NULL || !k->granting || !tf_id_eq(k->grant_id, f->id))
		return NULL;
	tf_map_del(&t->asks, tf_id_span(&f->id));
	k->granting = false;
	return k;
}

void
gw_admit_grant(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant *m)
{
	struct gw_key *k = gw_grant_answered(t, f);
	struct gw_grant *g;

	if (k == NULL)
		return;
	g = calloc(1, sizeof *g);
	if (g == NULL)
		return;
	g->number = m->grant;
	g->requests = m->requests;
	g->tokens = m->tokens;
	g->window = m->window;
	/* the life counts from the asking, so a slow answer can only shorten it */
	g->expires = k->grant_asked + m->ttl_ms;
	k->window = m->window;
	tf_list_append(&k->grants, &g->node);
	gw_key_busy(t, k);
	gw_limits_learn(k, m->limit, m->remaining, m->reset_ms);
	k->budget = wire_has(m, GRANT, budget) ? m->budget : UINT64_MAX;
	gw_admit_pump(t, k);
}

void
gw_admit_refuse(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant_refuse *m)
{
	struct gw_key *k = gw_grant_answered(t, f);
	const struct tf_err_row *row;
	char code[64], message[512];
	struct tf_node *e, *tmp;
	uint64_t now = tf_mono_ms();

	if (k == NULL)
		return;
	gw_limits_learn(k, m->limit, m->remaining, m->reset_ms);
	snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
	snprintf(message, sizeof message, TF_SPAN_FMT, TF_SPAN_ARG(m->message));
	row = tf_err_by_code(code);
	if (m->transient) {
		k->grant_again = now + GW_TRANSIENT_MS;
		return;
	}
	TF_LIST_EACH(&k->admitting, e, tmp) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);

		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, row ? row->err : TF_E_SERVER_ERROR, m->message.n ? message : NULL,
		    (m->retry_after_ms + 999) / 1000);
		/* with requests left, a smaller one behind it may fit */
		if (m->remaining > 0)
			break;
	}
	if (k->admitting.n > 0)
		gw_admit_pump(t, k);
}

void
gw_admit_recall(struct gw_thread *t, const struct wire_grant_recall *m)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);
		struct tf_node *ge, *gtmp;

		if (m->key.n != sizeof k->id || memcmp(m->key.p, k->id, sizeof k->id) != 0)
			continue;
		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_return(t, k, TF_CONTAINER(ge, struct gw_grant, node));
	}
}

void
gw_admit_extend(struct gw_req *req)
{
	struct gw_key *k = req->key;
	uint64_t now, requests, tokens, piece = GW_TRANCHE * req->head->n;

	if (!req->admitted || req->out_tokens + piece / 4 < req->need_output)
		return;
	if (k->tpm == 0 && req->reserved == 0)
		return; /* served unmetered */
	now = tf_mono_ms();
	gw_grants_sum(k, now, &requests, &tokens);
	if (tokens >= piece) {
		gw_grants_take(k, now, 0, piece);
		k->reserved += piece;
		req->reserved += piece;
		req->need_output += piece;
		req->extending = false;
		gw_grant_ahead(req->t, k, now);
		return;
	}
	/* no room for more: what is reserved may still be used up, then the answer ends with length */
	if (!req->extending) {
		req->extending = true;
		gw_grant_ask(req->t, k, 0, piece);
	} else if (req->out_tokens >= req->need_output && !k->granting) {
		gw_attempt_cancel(req, WIRE_CANCEL_LENGTH);
	}
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

uint64_t
gw_admit_remaining(const struct gw_key *k)
{
	uint64_t requests, tokens;

	gw_grants_sum(k, tf_mono_ms(), &requests, &tokens);
	return k->remaining + requests;
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
	if (k->granting && now - k->grant_asked > GW_WAIT_MS / 3) {
		tf_map_del(&t->asks, tf_id_span(&k->grant_id));
		k->granting = false;
	}
	TF_LIST_EACH(&k->admitting, e, tmp) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);
		bool here = gw_thread_billing_fresh(t);

		if (now - req->wait_since < (here ? GW_TRANSIENT_MAX_MS : GW_WAIT_MS))
			break; /* in order of arrival: the rest is younger */
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, here ? TF_E_RATE_LIMIT_EXCEEDED : TF_E_OVERLOADED, NULL, 1);
	}
	if (k->admitting.n > 0 && !k->granting)
		gw_admit_pump(t, k);
}

/* After billingd came back it knows nothing of what we hold: tell it, key by key. */
void
gw_admit_declare(struct gw_thread *t)
{
	struct wire_peer *p = wire_dial_peer(t->billing);
	static const uint8_t none[16];
	struct wire_declare last = { .key = tf_span(none, sizeof none) };
	struct tf_node *e, *tmp;

	if (p == NULL)
		return;
	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);
		struct wire_declare m = { .key = tf_span(k->id, sizeof k->id), .reserved = k->reserved, .window = k->window };
		struct tf_node *ge, *gtmp;

		if (k->granting) {
			tf_map_del(&t->asks, tf_id_span(&k->grant_id));
			k->granting = false;
		}
		/* what the old billingd granted is given up rather than explained */
		TF_LIST_EACH(&k->grants, ge, gtmp)
			gw_grant_drop(k, TF_CONTAINER(ge, struct gw_grant, node));
		if (k->reserved > 0)
			(void)wire_send_declare(p, NULL, 0, &m, (struct tf_span){ 0 });
	}
	wire_set(&last, DECLARE, last, 1);
	(void)wire_send_declare(p, NULL, 0, &last, (struct tf_span){ 0 });
	TF_LIST_EACH(&t->keys_lru, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, lru);

		if (k->admitting.n > 0)
			gw_admit_pump(t, k);
	}
}

void
gw_admit_key_free(struct gw_key *k)
{
	struct tf_node *e;

	while ((e = tf_list_first(&k->grants)) != NULL)
		gw_grant_drop(k, TF_CONTAINER(e, struct gw_grant, node));
}
