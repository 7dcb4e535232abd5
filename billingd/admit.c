/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission: asks for room become grants out of the workspace's account, or refusals. When
 * only unused grants of other gateways stand in the way, they are recalled first and the ask
 * waits for them, BL_RECALL_MS at most, first come first served.
 *
 * After a restart of billingd the ledger says what was used of the running windows, but not
 * what gateways still hold. Until every gateway that was in session has declared it, or is
 * known to be gone, or the grace is over (the life of a grant and three heartbeats: by then a
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
	struct tf_node node;      /* workspace.waits */
	struct bl *bl;
	struct bl_workspace *workspace;
	struct bl_gateway *gateway;
	struct tf_id frame, key;
	struct bl_amount least, want;
	struct ev_timer timer;
};

static uint64_t
clamp(uint64_t v)
{
	return v < BL_COUNT_MAX ? v : BL_COUNT_MAX;
}

bool
bl_plan_limits(const struct bl *bl, const struct bl_workspace *w, struct bl_amount *out)
{
	const struct conf_plan *plan = conf_find_plan(bl->conf, tf_cspan(w->row.plan));

	if (plan == NULL)
		return false;
	*out = (struct bl_amount){ (uint64_t)plan->rpm, (uint64_t)plan->tpm };
	return true;
}

static void
activate(struct bl *bl, struct bl_workspace *w)
{
	if (!tf_node_linked(&w->active))
		tf_list_append(&bl->active, &w->active);
}

/* ---- answers ------------------------------------------------------------------------------ */

struct asked {
	struct bl_gateway *gateway;
	struct tf_id frame, key;
};

static void
send_refusal(const struct asked *a, int err, const char *message, const struct bl_workspace *w,
    const struct bl_offer *o)
{
	const struct tf_err_row *row = tf_err_row(err);
	struct wire_grant_refuse m = { .key = tf_id_span(&a->key), .code = tf_cspan(row->code),
		.message = tf_cspan(message) };
	const char *labels[] = { row->code };

	if (w != NULL)
		m.limit = w->account.limit.requests;
	if (o != NULL) {
		m.remaining = o->left.requests;
		m.tokens_left = o->left.tokens;
		m.reset_ms = o->reset_ms;
		m.retry_after_ms = o->reset_ms;
		m.transient = o->transient;
		if (o->transient && m.retry_after_ms > 1000)
			m.retry_after_ms = 1000;
	}
	if (!m.transient)
		tf_metric_add_l(TF_M_BL_REFUSALS, 1, labels);
	if (a->gateway->peer != NULL)
		(void)wire_send_grant_refuse(a->gateway->peer, &a->frame, 0, &m, (struct tf_span){ 0 });
}

static void
send_grant(const struct asked *a, const struct bl_workspace *w, uint64_t grant, const struct bl_offer *o)
{
	struct wire_grant m = { .key = tf_id_span(&a->key), .grant = grant, .requests = o->amount.requests,
		.tokens = o->amount.tokens, .ttl_ms = o->ttl_ms, .limit = w->account.limit.requests,
		.remaining = o->left.requests, .reset_ms = o->reset_ms, .window = o->window, .tokens_left = o->left.tokens };

	tf_metric_add(TF_M_BL_GRANTS, 1);
	(void)wire_send_grant(a->gateway->peer, &a->frame, 0, &m, (struct tf_span){ 0 });
}

static void
refuse_never(const struct asked *a, const struct bl_workspace *w, uint64_t tokens, const struct bl_offer *o)
{
	char text[256];

	snprintf(text, sizeof text, "The request may need %" PRIu64 " tokens, but the plan %s gives %" PRIu64
	    " a minute. Shorten the prompt or set a smaller max_tokens.", tokens, w->row.plan, w->account.limit.tokens);
	send_refusal(a, TF_E_BAD_REQUEST, text, w, o);
}

/* ---- recalls ------------------------------------------------------------------------------ */

static struct bl_gateway *
gateway_by_number(struct bl *bl, uint64_t number)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g->number == number)
			return g;
	}
	return NULL;
}

/* One recall a key, however many grants of it are open. */
static void
recall_hold(struct bl *bl, struct bl_hold *h)
{
	struct bl_gateway *g = gateway_by_number(bl, h->gateway);
	struct tf_node *e, *tmp, *f;

	if (g == NULL || g->peer == NULL || h->recalled || h->grants.n == 0)
		return;
	h->recalled = true;
	TF_LIST_EACH(&h->grants, e, tmp) {
		const struct bl_grant *grant = TF_CONTAINER(e, struct bl_grant, node);
		struct wire_grant_recall m = { .key = tf_id_span(&grant->key) };

		for (f = h->grants.head.next; f != e; f = f->next)
			if (tf_id_eq(TF_CONTAINER(f, struct bl_grant, node)->key, grant->key))
				break;
		if (f == e)
			(void)wire_send_grant_recall(g->peer, NULL, 0, &m, (struct tf_span){ 0 });
	}
}

void
bl_admit_recall(struct bl *bl, struct bl_workspace *w)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&w->account.holds, e, tmp)
		recall_hold(bl, TF_CONTAINER(e, struct bl_hold, node));
}

static void
recalls_over(struct bl_workspace *w)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&w->account.holds, e, tmp)
		TF_CONTAINER(e, struct bl_hold, node)->recalled = false;
}

/* ---- asking ------------------------------------------------------------------------------- */

enum verdict { DECIDED, WAIT };

/* Grants, refuses, or says that waiting may help; last: it may not wait any more. */
static enum verdict
decide(struct bl_wait *q, bool last)
{
	struct bl *bl = q->bl;
	struct bl_workspace *w = q->workspace;
	struct asked a = { q->gateway, q->frame, q->key };
	struct bl_ask ask = { .gateway = q->gateway->number, .key = q->key, .least = q->least, .want = q->want,
		.grant = bl->epoch << 32 | (q->gateway->grants + 1), .ttl_ms = bl->conf->billingd.grant_ttl };
	struct bl_offer o = { .transient = true };
	struct bl_now now = bl_now();
	struct bl_amount limit;

	if (!bl_plan_limits(bl, w, &limit)) {
		send_refusal(&a, TF_E_FORBIDDEN, "The workspace's plan is not configured.", w, NULL);
		return DECIDED;
	}
	bl_account_limit(&w->account, limit);
	if (bl->blind_until != 0 && (limit.requests != 0 || limit.tokens != 0)) {
		if (!last)
			return WAIT;
		send_refusal(&a, TF_E_RATE_LIMIT_EXCEEDED, NULL, w, &o);
		return DECIDED;
	}
	switch (bl_account_ask(&w->account, &ask, now, &o)) {
	case BL_GIVEN:
		q->gateway->grants++;
		activate(bl, w);
		send_grant(&a, w, ask.grant, &o);
		return DECIDED;
	case BL_NEVER:
		refuse_never(&a, w, q->least.tokens, &o);
		return DECIDED;
	case BL_SHORT:
		if (o.recallable && !last) {
			bl_admit_recall(bl, w);
			return WAIT;
		}
		send_refusal(&a, TF_E_RATE_LIMIT_EXCEEDED, NULL, w, &o);
		return DECIDED;
	default:
		send_refusal(&a, TF_E_OVERLOADED, NULL, w, NULL);
		return DECIDED;
	}
}

static void
wait_end(struct bl_wait *q)
{
	ev_timer_del(&q->timer);
	tf_list_remove(&q->workspace->waits, &q->node);
	free(q);
}

/* Something came back: serves those who wait, in order, as far as it goes. */
static void
retry(struct bl_workspace *w)
{
	struct tf_node *e;

	while ((e = tf_list_first(&w->waits)) != NULL) {
		struct bl_wait *q = TF_CONTAINER(e, struct bl_wait, node);

		if (decide(q, false) == WAIT)
			return;
		wait_end(q);
	}
}

static void
on_late(void *arg)
{
	struct bl_wait *q = arg;
	struct bl_workspace *w = q->workspace;

	recalls_over(w);
	(void)decide(q, true);
	wait_end(q);
	retry(w);
}

static void
wait_begin(const struct bl_wait *q)
{
	struct asked a = { q->gateway, q->frame, q->key };
	struct bl_offer o = { .transient = true };
	struct bl_wait *copy;

	if (q->workspace->waits.n >= BL_WAITS_MAX || (copy = malloc(sizeof *copy)) == NULL) {
		send_refusal(&a, TF_E_RATE_LIMIT_EXCEEDED, NULL, q->workspace, &o);
		return;
	}
	*copy = *q;
	ev_timer_init(&copy->timer, q->bl->loop, on_late, copy);
	ev_timer_set(&copy->timer, BL_RECALL_MS);
	tf_list_append(&q->workspace->waits, &copy->node);
}

void
bl_admit_ask(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_grant_ask *m)
{
	struct bl_key *k = bl_index_key(&bl->index, m->key);
	struct bl_wait q = { .bl = bl, .gateway = g, .frame = f->id };
	struct asked a = { g, f->id, { { 0 } } };

	if (m->key.n == sizeof a.key.b)
		memcpy(a.key.b, m->key.p, sizeof a.key.b);
	if (k == NULL || bl_key_status(k, bl_wall_ms()) != WIRE_KEY_ACTIVE) {
		send_refusal(&a, TF_E_UNAUTHORIZED, NULL, NULL, NULL);
		return;
	}
	q.key = a.key;
	q.workspace = k->workspace;
	/* any single request helps, however many wait; for tokens the least is what one of them needs */
	q.least = (struct bl_amount){ m->requests > 0, clamp(m->tokens) };
	q.want = (struct bl_amount){ clamp(m->want_requests > m->requests ? m->want_requests : m->requests),
		clamp(m->want_tokens) };
	if (k->workspace->waits.n > 0 || decide(&q, false) == WAIT)
		wait_begin(&q);
}

/* ---- what comes back ---------------------------------------------------------------------- */

void
bl_admit_return(struct bl *bl, struct bl_gateway *g, const struct wire_grant_return *m)
{
	struct bl_key *k = bl_index_key(&bl->index, m->key);
	struct bl_returned r = { .grant = m->grant, .unused = { clamp(m->requests), clamp(m->tokens) } };

	if (k == NULL)
		return;
	r.key = k->row.id;
	if (bl_account_return(&k->workspace->account, g->number, &r, bl_now()) == TF_E_RANGE) {
		tf_log(TF_WARN, "admit", NULL, "more came back than was granted gateway=%s grant=%" PRIu64, g->row.name,
		    m->grant);
		tf_metric_add(TF_M_WIRE_BAD_FRAMES, 1);
	}
	retry(k->workspace);
}

void
bl_admit_declare(struct bl *bl, struct bl_gateway *g, const struct wire_declare *m)
{
	struct bl_declared d = { .granted = { clamp(m->requests), clamp(m->tokens) }, .reserved = clamp(m->reserved),
		.window = m->window, .ttl_ms = bl->conf->billingd.grant_ttl };
	struct bl_key *k = bl_index_key(&bl->index, m->key);
	struct bl_amount limit = { 0, 0 };

	if (!g->declaring)
		return; /* what it got from us stands in the account already */
	if (k != NULL) {
		d.key = k->row.id;
		(void)bl_plan_limits(bl, k->workspace, &limit);
		bl_account_limit(&k->workspace->account, limit);
		if (bl_account_declare(&k->workspace->account, g->number, &d, bl_now()) == 0)
			activate(bl, k->workspace);
	}
	if (m->last) {
		g->declaring = false;
		bl_peers_settled(bl, g);
	}
}

void
bl_admit_settle(struct bl *bl, const struct bl_settled *s)
{
	struct bl_workspace *w = bl_index_workspace(&bl->index, tf_id_span(&s->workspace));
	struct bl_now now = bl_now();

	if (w == NULL)
		return;
	bl_account_settle(&w->account, s->gateway, s->window, clamp(s->reserved), clamp(s->actual), now);
	if (s->foreign)
		bl_account_admitted(&w->account, s->window, 1, now);
	if (w->waits.n > 0)
		retry(w);
}

void
bl_admit_gone(struct bl *bl, struct bl_gateway *g, bool gone)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->active, e, tmp)
		bl_account_gone(&TF_CONTAINER(e, struct bl_workspace, active)->account, g->number, gone);
}

void
bl_admit_forget(struct bl *bl, struct bl_gateway *g)
{
	struct bl_workspace *w;
	struct tf_node *e, *tmp;
	size_t pos = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL) {
		TF_LIST_EACH(&w->waits, e, tmp) {
			struct bl_wait *q = TF_CONTAINER(e, struct bl_wait, node);

			if (q->gateway == g)
				wait_end(q);
		}
		if (w->waits.n > 0)
			retry(w);
	}
}

void
bl_admit_open(struct bl *bl)
{
	struct bl_workspace *w;
	size_t pos = 0;

	bl->blind_until = 0;
	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		retry(w);
}

void
bl_admit_tick(struct bl *bl)
{
	struct bl_now now = bl_now();
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->active, e, tmp) {
		struct bl_workspace *w = TF_CONTAINER(e, struct bl_workspace, active);

		(void)bl_account_lapse(&w->account, now);
		if (w->account.holds.n == 0)
			tf_list_remove(&bl->active, e);
	}
}
