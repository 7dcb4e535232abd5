/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer on its way from a worker to the client. The bytes come ready; this file commits the
 * status line, passes them on, grants credit as the client takes them, keeps a silent stream alive
 * and settles at the end. A slow client costs unread_max bytes here and stalls its own runtime.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_record.h"
#include "gatewayd/gw_stored.h"

#define GW_CREDIT_REPEAT_MS 1000
#define GW_QUEUED_SILENT_MS 45000 /* proxies in between cut idle connections after a minute */

static struct gw_req *
gw_relay_find(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f)
{
	struct gw_req *req = gw_req_find(t, f->id);

	if (req == NULL || !req->running || req->attempt != f->attempt || req->worker != p)
		return NULL;
	return req;
}

void
gw_relay_fields(const struct gw_req *req, struct tf_span type, struct http_fields *f)
{
	if (req->head->stream) {
		http_fields_add(f, "content-type", "text/event-stream; charset=utf-8");
		http_fields_add(f, "cache-control", "no-cache");
		http_fields_add(f, "x-accel-buffering", "no");
	} else {
		http_fields_add_str(f, "content-type", type.n ? type : TF_SPAN("application/json"));
	}
	if (req->dropped != NULL)
		http_fields_add(f, GW_DROPPED, req->dropped);
}

/* Gives the status line; type and length are known from the first EVENT, or this is a ping. */
static int
gw_relay_begin(struct gw_req *req, struct tf_span type, int64_t length)
{
	struct http_fields f;

	gw_req_fields(req, &f);
	gw_relay_fields(req, type, &f);
	req->begun = true;
	if (length != HTTP_STREAM)
		req->answer_len = (uint64_t)length;
	gw_req_note(req, 200);
	return http_respond_begin(req->http, 200, &f, length);
}

static void
gw_relay_first(struct gw_req *req, uint64_t now)
{
	req->content = true;
	req->first_us = (now - req->began) * 1000;
	if (!req->counting) /* nothing is generated: no first token */
		tf_metric_observe(TF_M_GW_TTFT_SECONDS, req->first_us * 1000);
	/* no other attempt from here: the body is of no use any more */
	gw_req_body_drop(req);
	gw_req_to(req, GW_S_STREAM);
}

static void
gw_relay_credit(struct gw_req *req, size_t pending, bool force, uint64_t now)
{
	struct wire_credit m;

	if (req->worker == NULL || (!wire_rx_credit(&req->rx, pending) && !force))
		return;
	m = (struct wire_credit){ .limit = req->rx.limit };
	req->credit_at = now;
	(void)wire_send_credit(req->worker, &req->id, req->attempt, &m, (struct tf_span){ 0 });
}

/* The worker broke the rules of the stream: the attempt is void. */
static void
gw_relay_void(struct gw_req *req, const char *why)
{
	tf_log(TF_WARN, "relay", &req->id, "attempt void reason=%s worker=%s", tf_log_q(tf_cspan(why)),
	    req->worker_name ? req->worker_name : "-");
	gw_attempt_cancel(req, WIRE_CANCEL_PROTOCOL);
	gw_attempt_failed(req, TF_E_UPSTREAM_ERROR, GW_BLAME_UPSTREAM, NULL);
}

/* A last event that came in two pieces has no number here: the one before must do. */
static void
gw_relay_number(struct gw_req *req, struct tf_span bytes)
{
	uint64_t n = dl_sequence(dl_answer_dialect(req->head), bytes);

	if (n > 0)
		req->sequence = n;
}

int
gw_relay_write(struct gw_req *req, struct tf_span bytes)
{
	gw_spool_progress(req);
	return http_respond_write(req->http, bytes.p, bytes.n);
}

/* Do these bytes complete the answer, as far as the client can see? They wait until its end is recorded. */
static bool
gw_relay_last(const struct gw_req *req, const struct wire_event *m)
{
	return (m->flags & WIRE_EV_FINISH) || req->held.n > 0 ||
	    (req->answer_len != UINT64_MAX && req->rx.next >= req->answer_len);
}

static int
gw_relay_bytes(struct gw_req *req, const struct wire_event *m, struct tf_span bytes, uint64_t now)
{
	bool held = false;
	int rc;

	if (!req->begun) {
		if (m->dropped.n > 0 && req->dropped == NULL)
			req->dropped = tf_span_dup(m->dropped);
		if (req->hosted != NULL)
			return gw_hosted_hold(req, bytes);
		if (gw_relay_begin(req, m->content_type,
		    req->head->stream || !wire_has(m, EVENT, length) ? HTTP_STREAM : (int64_t)m->length) != 0)
			return TF_E_CLOSED;
	}
	if (!req->content)
		gw_relay_first(req, now);
	tf_metric_add(TF_M_GW_BYTES_OUT, bytes.n);
	if (gw_idem_takes(req)) {
		rc = gw_idem_take(req, m, bytes, &held);
		if (rc != 0 || held)
			return rc;
	}
	if (gw_relay_last(req, m)) {
		req->held_boundary = (m->flags & WIRE_EV_BOUNDARY) != 0;
		return tf_buf_addspan(&req->held, bytes);
	}
	if (gw_keep_holds(req))
		return gw_keep_hold(req, bytes, (m->flags & WIRE_EV_BOUNDARY) != 0);
	if (gw_recall_holds(req))
		return gw_recall_hold(req, bytes, (m->flags & WIRE_EV_BOUNDARY) != 0);
	req->boundary = (m->flags & WIRE_EV_BOUNDARY) != 0;
	req->wrote_at = now;
	if (req->head->stream && req->boundary)
		gw_relay_number(req, bytes);
	return gw_relay_write(req, bytes);
}

void
gw_relay_event(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_event *m)
{
	struct gw_req *req = gw_relay_find(t, p, f);
	uint64_t now;

	if (req == NULL) {
		gw_attempt_stray(p, f);
		return;
	}
	if (req->state != GW_S_ACCEPTED && req->state != GW_S_STREAM) {
		if (m->out_tokens > req->out_tokens)
			req->out_tokens = m->out_tokens; /* an orphan: only the account is of interest */
		return;
	}
	if (wire_rx_data(&req->rx, m->offset, f->payload.n) != 0 || m->length > INT64_MAX) {
		gw_relay_void(req, "a gap in its answer, or more than its credit");
		return;
	}
	if (m->out_tokens > req->out_tokens)
		req->out_tokens = m->out_tokens;
	now = tf_mono_ms();
	req->event_at = now;
	req->idle_until = now + req->conf->c->gatewayd.stream_idle_timeout + GW_SLACK_MS;
	if (f->payload.n > 0 && gw_relay_bytes(req, m, f->payload, now) != 0)
		return; /* on_abort follows */
	gw_relay_credit(req, http_req_pending(req->http), false, now);
	gw_admit_extend(req);
}

void
gw_relay_keep(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_keep *m)
{
	struct gw_req *req = gw_relay_find(t, p, f);

	if (req == NULL || (req->state != GW_S_ACCEPTED && req->state != GW_S_STREAM))
		return;
	if (m->kind == WIRE_KIND_IMAGE)
		gw_hosted_piece(req, f, m);
	else if (m->kind == WIRE_KIND_REASONING)
		gw_recall_piece(req, f, m);
	else
		gw_keep_piece(req, f, m);
}

void
gw_relay_kept(struct gw_req *req, const struct wire_end *m)
{
	if (!gw_idem_waits(req, m) && !gw_recall_waits(req, m))
		gw_relay_over(req, m, (struct tf_span){ 0 });
}

void
gw_relay_over(struct gw_req *req, const struct wire_end *m, struct tf_span held)
{
	gw_settle(req, WIRE_OUTCOME_SERVED, m, 0, false);
	if (req->http != NULL && held.n > 0) {
		req->held_boundary = true; /* it is the end of the answer */
		if (tf_buf_addspan(&req->held, held) != 0) {
			http_respond_abort(req->http);
			gw_req_replied(req);
			return;
		}
	}
	gw_req_to(req, req->http == NULL ? GW_S_DONE : GW_S_SETTLE);
	if (req->http != NULL && req->counting)
		gw_relay_recorded(req); /* there is nothing to record */
}

static int
gw_relay_held(struct gw_req *req)
{
	int rc = 0;

	if (req->held.n > 0) {
		if (req->head->stream && req->held_boundary)
			gw_relay_number(req, tf_buf_span(&req->held));
		rc = http_respond_write(req->http, req->held.p, req->held.n);
		req->boundary = req->held_boundary;
	}
	tf_buf_free(&req->held);
	return rc;
}

void
gw_relay_recorded(struct gw_req *req)
{
	if (gw_keep_finish(req) == 0 && gw_relay_held(req) == 0 && http_respond_end(req->http) == 0)
		gw_req_replied(req);
	else
		gw_req_to(req, GW_S_REPLY); /* on_abort follows */
}

void
gw_relay_hosted(struct gw_req *req, struct tf_span answer, const struct wire_end *m)
{
	struct wire_event e = { .flags = WIRE_EV_BOUNDARY | WIRE_EV_CONTENT };

	wire_set(&e, EVENT, length, answer.n);
	if (gw_relay_bytes(req, &e, answer, tf_mono_ms()) == 0)
		gw_relay_kept(req, m);
}

/* Nobody waits for the answer any more: what was generated is charged, whole if it was whole. */
static void
gw_relay_orphan_end(struct gw_req *req, const struct wire_end *m)
{
	enum wire_outcome outcome = m->outcome == WIRE_OUTCOME_SERVED || m->outcome == WIRE_OUTCOME_PARTIAL
	    ? (enum wire_outcome)m->outcome
	    : WIRE_OUTCOME_FAILED;

	gw_settle(req, outcome, m, outcome == WIRE_OUTCOME_SERVED ? 0 : TF_E_CLIENT_CLOSED, false);
	gw_req_to(req, GW_S_DONE);
}

/* Is this the end of what arrived, all of it and some of it? */
static bool
gw_relay_whole(const struct gw_req *req, const struct wire_end *m)
{
	return m->outcome == WIRE_OUTCOME_SERVED && req->content && m->total == req->rx.next &&
	    (req->answer_len == UINT64_MAX || req->answer_len == m->total);
}

void
gw_relay_end(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_end *m)
{
	struct gw_req *req = gw_relay_find(t, p, f);
	const struct tf_err_row *row = NULL;
	char code[64];

	(void)wire_send_lazy(p, WIRE_END_ACK, &f->id, f->attempt, &(struct wire_end_ack){ 0 }, (struct tf_span){ 0 });
	if (req == NULL)
		return;
	if (req->state == GW_S_ORPHAN) {
		gw_relay_orphan_end(req, m);
	} else if (m->code.n > 0) {
		snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
		row = tf_err_by_code(code);
		gw_attempt_failed(req, row ? row->err : TF_E_UPSTREAM_ERROR,
		    m->retryable ? GW_BLAME_UPSTREAM : GW_BLAME_FINAL, m);
	} else if (gw_hosted_waits(req, m)) {
		return;
	} else if (!gw_relay_whole(req, m)) {
		gw_attempt_failed(req, TF_E_UPSTREAM_ERROR, GW_BLAME_UPSTREAM, m);
	} else if (!gw_keep_waits(req, m)) {
		gw_relay_kept(req, m);
	}
}

void
gw_relay_drained(struct gw_req *req, size_t pending)
{
	gw_relay_credit(req, pending, false, tf_mono_ms());
}

/* Silence towards the client: only at an event's end, and the runtime's timers do not see it. */
static void
gw_relay_ping(struct gw_req *req, uint64_t now)
{
	struct tf_span ping = dl_ping(dl_answer_dialect(req->head));

	if (!req->begun && gw_relay_begin(req, (struct tf_span){ 0 }, HTTP_STREAM) != 0)
		return;
	req->wrote_at = now;
	(void)http_respond_write(req->http, ping.p, ping.n);
}

/* How long a stream may be silent. Before a worker has it a refusal can still be a status of its own. */
static uint64_t
gw_relay_silence(const struct gw_req *req)
{
	uint64_t ms = req->conf->c->gatewayd.ping_after;

	return req->state == GW_S_QUEUED && !req->begun && ms < GW_QUEUED_SILENT_MS ? GW_QUEUED_SILENT_MS : ms;
}

void
gw_relay_tick(struct gw_req *req, uint64_t now)
{
	/* a worker that stands still though it has credit may not know of it */
	if (req->rx.limit > req->rx.window && now - req->event_at >= GW_CREDIT_REPEAT_MS &&
	    now - req->credit_at >= GW_CREDIT_REPEAT_MS)
		gw_relay_credit(req, http_req_pending(req->http), true, now);
	if (req->head->stream && req->boundary && now - req->wrote_at >= gw_relay_silence(req))
		gw_relay_ping(req, now);
}
