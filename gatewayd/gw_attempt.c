/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts. gatewayd alone decides that there is another one: it mints the number and a secret, and
 * hands the job to routerd, which picks a worker. From ACCEPT on the worker is spoken to directly.
 * Frames of an attempt that is no more are answered with CANCEL and otherwise ignored.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_record.h"
#include "gatewayd/gw_stored.h"

#define GW_CANCEL_REPEAT_MS 250
#define GW_RETRY_SHARE 5    /* every so many requests earn a retry, each a part of it */
#define GW_RETRY_PART_MS 20 /* and time earns a part this often */
#define GW_RETRY_MAX 50     /* retries that may be saved up */
#define GW_COUNT_MS 2000    /* how long a runtime may take to count a prompt */
#define GW_UNSEEN_MS 100    /* pause before a job that nobody took twice goes again */
#define GW_RETRY_PAUSE_MS 50 /* before the second retry, twice as long before each further one */

/*
 * Retries are a share of what is served, so that a failing runtime is not flooded; a few a second are
 * always there, so that a quiet system retries too.
 */
static void
gw_retry_earn(uint64_t parts, uint64_t *saved)
{
	uint64_t max = GW_RETRY_MAX * GW_RETRY_SHARE;

	*saved = parts >= max - *saved ? max : *saved + parts;
}

static bool
gw_retry_allowed(bool another, uint64_t now)
{
	static _Thread_local uint64_t saved = GW_RETRY_MAX * GW_RETRY_SHARE, at;

	gw_retry_earn((now - at) / GW_RETRY_PART_MS, &saved);
	at = now - now % GW_RETRY_PART_MS;
	if (!another) {
		gw_retry_earn(1, &saved);
		return true;
	}
	if (saved < GW_RETRY_SHARE)
		return false;
	saved -= GW_RETRY_SHARE;
	return true;
}

static uint64_t
gw_left(uint64_t until, uint64_t now)
{
	return until > now ? until - now : 0;
}

#define GW_BETA_MAX 4096 /* longest anthropic-beta passed on, bytes */

/* What a client of the Anthropic API says about that API matters to runtimes that speak it. */
static int
gw_dispatch_api(struct gw_req *req, struct wire_dispatch *m)
{
	const struct http_head *h = http_req_head(req->http);
	struct tf_buf *beta = &req->t->beta;
	int rc = 0;

	tf_buf_reset(beta);
	if (!req->anthropic)
		return 0;
	m->api_version = http_head_get(h, HTTP_H_ANTHROPIC_VERSION);
	for (unsigned i = 0; rc == 0 && i < h->nfields; i++) {
		if (h->fields[i].id != HTTP_H_ANTHROPIC_BETA || h->fields[i].value.len == 0)
			continue;
		if (beta->n > 0)
			rc = tf_buf_addc(beta, ',');
		if (rc == 0)
			rc = tf_buf_addspan(beta, http_head_str(h, h->fields[i].value));
	}
	if (beta->n <= GW_BETA_MAX)
		m->api_beta = tf_buf_span(beta);
	return rc;
}

/* Does the client want to be told of what would have no effect? */
static bool
gw_strict(const struct gw_req *req)
{
	struct tf_span v = http_head_find(http_req_head(req->http), "x-tf-strict");

	return tf_span_caseeq(v, "true") || tf_span_is(v, "1");
}

static int
gw_dispatch_send(struct gw_req *req, struct wire_peer *router, uint64_t now)
{
	const struct conf_gatewayd *c = &req->conf->c->gatewayd;
	struct tf_buf *head = &req->t->head;
	struct wire_dispatch m = {
		.surface = tf_cspan(req->route->surface), .model = tf_cspan(req->model->name),
		.asked = tf_span(req->head->model, req->head->model_len), .stream = req->head->stream,
		.needs = req->head->needs, .deadline_ms = gw_left(req->queued_until, now),
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace),
		.gateway = tf_cspan(req->t->name), .gateway_boot = req->t->boot,
		.secret = tf_span(req->secret, sizeof req->secret), .body_len = req->body_len,
		.first_ms = req->counting ? GW_COUNT_MS : c->first_timeout,
		.idle_ms = c->stream_idle_timeout, .credit = req->rx.limit,
	};
	struct tf_span payload = { 0 };
	uint64_t most = gw_most_output(req->model);

	/* agents ask for the most that any model gives, and do not recover from being told so */
	if (most != 0 && req->head->max_output > most)
		wire_set(&m, DISPATCH, max_output, most);
	/* what is left of a limit bounds it: the runtime stops where that is used up */
	if (req->shrunk > 0)
		wire_set(&m, DISPATCH, max_output, req->need_output / req->head->n);
	if (!req->head->stream && !req->unmetered && gw_need_partial(req))
		wire_set(&m, DISPATCH, progress, 1);
	m.strict = gw_strict(req);
	tf_buf_reset(&req->t->url);
	if ((req->head->needs & DL_NEED_IMAGES) && gw_store_here(req->t) && gw_base_url(req, &req->t->url) == 0)
		m.base_url = tf_buf_span(&req->t->url);
	m.recalled = gw_recall_back(req);
	if (req->keep != NULL)
		wire_set(&m, DISPATCH, keep, 1);
	tf_buf_reset(head);
	if (dl_head_encode(req->head, head) != 0 || gw_dispatch_api(req, &m) != 0)
		return TF_E_NOMEM;
	m.head = tf_buf_span(head);
	m.content_type = tf_cspan(req->content_type);
	if (req->scan != NULL && req->scan->nprefix > 0)
		m.prefix = tf_span(req->scan->prefix, req->scan->nprefix * sizeof req->scan->prefix[0]);
	if (req->body_len <= WIRE_INLINE_BODY)
		payload = tf_span(req->body, req->body_len);
	return wire_send_dispatch(router, &req->id, req->attempt, &m, payload);
}

/* To routerd, when it is there and the pause is over; else the tick or the link tries again. */
static void
gw_dispatch_try(struct gw_req *req, uint64_t now)
{
	struct wire_peer *router = gw_router(req->t);

	if (req->routed || router == NULL || now < req->again_at)
		return;
	req->routed = gw_dispatch_send(req, router, now) == 0;
}

static void
gw_attempt_begin(struct gw_req *req, uint64_t now)
{
	const struct conf_gatewayd *c = &req->conf->c->gatewayd;

	req->attempt++;
	req->running = true;
	tf_random(req->secret, sizeof req->secret);
	req->worker = NULL;
	free(req->worker_name);
	req->worker_name = NULL;
	req->routed = req->cancelled = false;
	req->out_tokens = 0;
	req->answer_len = UINT64_MAX;
	tf_buf_free(&req->held);
	req->rx = (struct wire_rx){ .limit = c->unread_max, .window = c->unread_max };
	req->tx = (struct wire_tx){ 0 };
	gw_keep_again(req);
	gw_idem_again(req);
	gw_recall_again(req);
	gw_hosted_free(req);
	gw_req_to(req, GW_S_QUEUED);
	if (!req->counting && gw_spool_begin(req) != 0)
		gw_attempt_failed(req, TF_E_OVERLOADED, GW_BLAME_FINAL, NULL);
	else
		gw_dispatch_try(req, now);
}

void
gw_attempt_start(struct gw_req *req)
{
	uint64_t now = tf_mono_ms();

	(void)gw_retry_allowed(false, now);
	req->wrote_at = now; /* silence counts from here, also while it waits for a worker */
	req->queued_until = now + (req->counting ? GW_COUNT_MS : req->conf->c->gatewayd.queue_timeout);
	gw_attempt_begin(req, now);
}

static void
gw_cancel_send(struct gw_req *req)
{
	struct wire_peer *router = gw_router(req->t);
	struct wire_cancel m = { .reason = req->cancel_reason };

	req->cancel_at = tf_mono_ms();
	if (req->worker != NULL)
		(void)wire_send_cancel(req->worker, &req->id, req->attempt, &m, (struct tf_span){ 0 });
	else if (req->routed && router != NULL)
		(void)wire_send_cancel(router, &req->id, req->attempt, &m, (struct tf_span){ 0 });
}

void
gw_attempt_cancel(struct gw_req *req, enum wire_cancel_reason reason)
{
	if (req->cancelled || !req->running)
		return;
	req->cancelled = true;
	req->cancel_reason = reason;
	gw_cancel_send(req);
}

void
gw_attempt_orphan(struct gw_req *req, enum wire_cancel_reason reason)
{
	gw_attempt_cancel(req, reason);
	gw_idem_release(req);
	gw_req_body_drop(req);
	if (req->state == GW_S_QUEUED) {
		/* nobody accepted it: it costs nothing; a late ACCEPT finds no request and is cancelled */
		gw_settle(req, WIRE_OUTCOME_FAILED, NULL, TF_E_CLIENT_CLOSED, false);
		gw_req_to(req, GW_S_DONE);
		return;
	}
	req->wait_since = tf_mono_ms();
	gw_req_to(req, GW_S_ORPHAN);
}

/* ---- another one? ---------------------------------------------------------------------------- */

/* A half to one and a half of it, so that those who failed together do not come back together. */
static uint64_t
gw_pause(uint64_t ms)
{
	return ms / 2 + tf_random_u64() % (ms + 1);
}

/* Never after a content byte, never for a client that left or a key that was revoked meanwhile. */
static bool
gw_attempt_again(struct gw_req *req, enum gw_blame blame, uint64_t now)
{
	if (req->counting || req->content || req->http == NULL || req->key->state == GW_KEY_REFUSED)
		return false;
	switch (blame) {
	case GW_BLAME_UPSTREAM:
		if (req->faults >= (unsigned)req->conf->c->gatewayd.retries || !gw_retry_allowed(true, now))
			return false;
		/* at once first: another worker may do. What fails again needs time */
		req->again_at = req->faults == 0 ? now : now + gw_pause((uint64_t)GW_RETRY_PAUSE_MS << (req->faults - 1));
		req->faults++;
		req->queued_until = now + req->conf->c->gatewayd.queue_timeout;
		return true;
	case GW_BLAME_UNSEEN:
		if (now >= req->queued_until)
			return false;
		req->again_at = req->unseen++ == 0 ? now : now + gw_pause(GW_UNSEEN_MS);
		return true;
	default:
		return false;
	}
}

void
gw_attempt_failed(struct gw_req *req, int err, enum gw_blame blame, const struct wire_end *end)
{
	char param[DL_PARAM_MAX], message[DL_MESSAGE_MAX];
	uint64_t now = tf_mono_ms(), retry_after = end ? end->retry_after_s : 0;
	bool again = gw_attempt_again(req, blame, now);

	if (!again && req->http != NULL && !req->begun)
		req->status = (unsigned)tf_err_row(err)->http; /* it is in the record */
	gw_hosted_free(req);
	/* an attempt that gave content before it failed is charged for what it gave */
	gw_settle(req, req->content ? WIRE_OUTCOME_PARTIAL : WIRE_OUTCOME_FAILED, end, err, again);
	if (again) {
		tf_log(TF_INFO, "attempt", &req->id, "failed, trying another attempt=%u code=%s", req->attempt,
		    tf_err_row(err)->code);
		tf_metric_add(TF_M_GW_RETRIES, 1);
		gw_attempt_begin(req, now);
		return;
	}
	gw_req_body_drop(req);
	if (req->http == NULL) {
		gw_req_to(req, GW_S_DONE);
		return;
	}
	if (req->counting && !req->begun) {
		gw_infer_estimate(req);
		return;
	}
	snprintf(param, sizeof param, TF_SPAN_FMT, TF_SPAN_ARG(end ? end->param : (struct tf_span){ 0 }));
	snprintf(message, sizeof message, TF_SPAN_FMT, TF_SPAN_ARG(end ? end->message : (struct tf_span){ 0 }));
	gw_req_fail(req, err, param[0] ? param : NULL, message[0] ? message : NULL, retry_after);
}

/* ---- what routerd and workers say ------------------------------------------------------------ */

static bool
gw_attempt_is(const struct gw_req *req, const struct wire_frame *f)
{
	return req != NULL && req->running && req->attempt == f->attempt;
}

void
gw_attempt_reject(struct gw_thread *t, const struct wire_frame *f, const struct wire_reject *m)
{
	struct gw_req *req = gw_req_find(t, f->id);
	struct wire_end end = { .message = m->message, .retry_after_s = m->retry_after_s };
	const struct tf_err_row *row;
	char code[64];

	if (!gw_attempt_is(req, f) || req->state != GW_S_QUEUED || !req->routed)
		return;
	snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
	row = tf_err_by_code(code);
	req->routed = false;
	gw_attempt_failed(req, row ? row->err : TF_E_MODEL_UNAVAILABLE, m->lost ? GW_BLAME_UNSEEN : GW_BLAME_FINAL, &end);
}

void
gw_attempt_stray(struct wire_peer *p, const struct wire_frame *f)
{
	struct wire_cancel m = { .reason = WIRE_CANCEL_UNKNOWN };

	(void)wire_send_cancel(p, &f->id, f->attempt, &m, (struct tf_span){ 0 });
}

void
gw_attempt_accept(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_accept *m)
{
	struct gw_req *req = gw_req_find(t, f->id);
	uint64_t now = tf_mono_ms();

	if (!gw_attempt_is(req, f) || req->state != GW_S_QUEUED) {
		gw_attempt_stray(p, f);
		return;
	}
	/* whoever knows the secret was given the job; it must also be who the link says it is */
	if (m->secret.n != sizeof req->secret || !tf_ct_equal(m->secret.p, req->secret, sizeof req->secret) ||
	    !tf_span_is(m->worker, p->name) || m->boot != p->boot) {
		wire_drop(p, "ACCEPT of a job that was not given to it");
		return;
	}
	req->worker = p;
	req->routed = false;
	req->worker_name = tf_span_dup(m->worker);
	req->first_until = now + (req->counting ? GW_COUNT_MS : req->conf->c->gatewayd.first_timeout) + GW_SLACK_MS;
	req->event_at = now;
	gw_req_to(req, GW_S_ACCEPTED);
	free(req->scan);
	req->scan = NULL;
}

static void
gw_body_push(struct gw_req *req)
{
	while (req->body != NULL && wire_tx_room(&req->tx) > 0 && req->tx.sent < req->body_len) {
		size_t n = req->body_len - (size_t)req->tx.sent;
		struct wire_body m = { .offset = req->tx.sent };

		if (n > wire_tx_room(&req->tx))
			n = wire_tx_room(&req->tx);
		if (n > GW_BODY_PIECE)
			n = GW_BODY_PIECE;
		if (wire_send_body(req->worker, &req->id, req->attempt, &m, tf_span(req->body + req->tx.sent, n)) != 0)
			return;
		req->tx.sent += n;
	}
}

void
gw_attempt_pull(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_pull *m)
{
	struct gw_req *req = gw_req_find(t, f->id);

	if (!gw_attempt_is(req, f) || req->worker != p) {
		gw_attempt_stray(p, f);
		return;
	}
	if (wire_tx_credit(&req->tx, m->limit))
		gw_body_push(req);
}

void
gw_attempt_router_down(struct gw_thread *t)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->state[GW_S_QUEUED], e, tmp) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, node);

		if (!req->routed)
			continue;
		/* not accepted: it goes again as the next attempt; the list grows at its end only, with unrouted ones */
		req->routed = false;
		gw_attempt_failed(req, TF_E_OVERLOADED, GW_BLAME_UNSEEN, NULL);
	}
}

void
gw_attempt_router_up(struct gw_thread *t)
{
	uint64_t now = tf_mono_ms();
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->state[GW_S_QUEUED], e, tmp)
		gw_dispatch_try(TF_CONTAINER(e, struct gw_req, node), now);
}

void
gw_attempt_worker_down(struct gw_thread *t, struct wire_peer *p)
{
	static const enum gw_state states[] = { GW_S_ACCEPTED, GW_S_STREAM, GW_S_ORPHAN };

	for (size_t i = 0; i < TF_LEN(states); i++) {
		struct tf_node *e, *tmp;

		TF_LIST_EACH(&t->state[states[i]], e, tmp) {
			struct gw_req *req = TF_CONTAINER(e, struct gw_req, node);

			if (req->worker != p)
				continue;
			req->worker = NULL;
			gw_attempt_failed(req, req->http ? TF_E_UPSTREAM_ERROR : TF_E_CLIENT_CLOSED, GW_BLAME_UPSTREAM, NULL);
		}
	}
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void
gw_tick_queued(struct gw_req *req, uint64_t now)
{
	/* routerd refuses in time; this is for a routerd that is away or lost our job */
	if (now < req->queued_until + (req->routed ? GW_SLACK_MS : 0)) {
		gw_dispatch_try(req, now);
		return;
	}
	gw_attempt_cancel(req, WIRE_CANCEL_TIMEOUT);
	gw_attempt_failed(req, req->routed ? TF_E_OVERLOADED : TF_E_MODEL_UNAVAILABLE, GW_BLAME_FINAL, NULL);
}

static void
gw_tick_running(struct gw_req *req, uint64_t now)
{
	/* without credit the worker may not send: it is the client that is slow, and has a deadline of its own */
	if (req->content && req->rx.next >= req->rx.limit)
		req->idle_until = now + req->conf->c->gatewayd.stream_idle_timeout + GW_SLACK_MS;
	if (now < (req->content ? req->idle_until : req->first_until))
		return;
	gw_attempt_cancel(req, WIRE_CANCEL_TIMEOUT);
	gw_attempt_failed(req, TF_E_UPSTREAM_TIMEOUT, GW_BLAME_FINAL, NULL);
}

static void
gw_tick_orphan(struct gw_req *req, uint64_t now)
{
	if (now - req->wait_since < GW_ORPHAN_MS)
		return;
	gw_settle(req, req->out_tokens > 0 ? WIRE_OUTCOME_PARTIAL : WIRE_OUTCOME_LOST, NULL, TF_E_CLIENT_CLOSED, false);
	gw_req_to(req, GW_S_DONE);
}

void
gw_attempt_tick(struct gw_req *req, uint64_t now)
{
	if (req->cancelled && now - req->cancel_at >= GW_CANCEL_REPEAT_MS)
		gw_cancel_send(req);
	switch (req->state) {
	case GW_S_QUEUED:
		gw_tick_queued(req, now);
		break;
	case GW_S_ACCEPTED:
	case GW_S_STREAM:
		gw_tick_running(req, now);
		break;
	case GW_S_ORPHAN:
		gw_tick_orphan(req, now);
		break;
	default:
		break;
	}
}
