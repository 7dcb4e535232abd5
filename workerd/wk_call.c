/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's side of an attempt: the request in the runtime's words, its answer into the
 * translator, and the timers that watch it. Only bytes of the runtime move these timers.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "workerd/wk.h"

static void
wk_call_out(struct wk_attempt *a)
{
	const struct dl_facts *facts = dl_xlate_facts(a->x);

	if (facts->content && a->first_us == 0)
		a->first_us = (tf_mono_ns() - a->began) / 1000 + 1;
	if (facts->tail != SIZE_MAX && facts->finished && a->tail == UINT64_MAX && dl_xlate_live(a->x))
		a->tail = a->tx.sent + facts->tail;
	if (facts->fault.err > 0) {
		a->fault = facts->fault;
		wk_attempt_end(a);
		return;
	}
	if (facts->complete) {
		wk_attempt_end(a);
		return;
	}
	if (!dl_xlate_live(a->x) && a->out.n > WK_ANSWER_MAX) {
		dl_fault_set(&a->fault, TF_E_UPSTREAM_ERROR, NULL, "The model's answer is too large.");
		wk_attempt_end(a);
		return;
	}
	wk_answer_flush(a);
	if (a->state == WK_S_CALL && dl_xlate_live(a->x) && a->out.n > WK_HELD_PAUSE && !a->paused && a->call != NULL) {
		a->paused = true;
		http_call_pause(a->call);
		ev_timer_del(&a->timer); /* it is the client that is slow */
	}
}

/* From the first content on: no longer pause than this between two reads. */
static void
wk_call_watch(struct wk_attempt *a)
{
	if (a->idle_ms > 0)
		ev_timer_set(&a->timer, a->idle_ms);
	else
		ev_timer_del(&a->timer);
}

void
wk_call_resume(struct wk_attempt *a)
{
	a->paused = false;
	if (a->call == NULL)
		return;
	if (a->finished)
		ev_timer_set(&a->timer, WK_USAGE_MS);
	else
		wk_call_watch(a);
	http_call_resume(a->call);
}

void
wk_call_over(struct wk_attempt *a)
{
	wk_call_out(a);
	if (a->state != WK_S_CALL)
		return;
	dl_fault_set(&a->fault, TF_E_UPSTREAM_ERROR, NULL, NULL);
	wk_attempt_end(a);
}

/* Nothing more comes from the runtime: the answer is complete all the same, or it failed. */
static void
wk_call_broken(struct wk_attempt *a, int err)
{
	if (dl_xlate_broken(a->x, err, &a->out) != 0)
		dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
	wk_call_over(a);
}

static void
wk_call_timeout(void *arg)
{
	struct wk_attempt *a = arg;

	if (a->state != WK_S_CALL)
		return;
	wk_call_stop(a);
	wk_call_broken(a, TF_E_UPSTREAM_TIMEOUT);
}

static uint32_t
wk_retry_after(const struct http_head *head)
{
	struct tf_span s = http_head_find(head, "retry-after");
	uint64_t v;

	return s.p != NULL && tf_span_u64(s, 86400, &v) == 0 ? (uint32_t)v : 0;
}

/*
 * The client is told no more than that the runtime failed: a wrong key, address or model name of an
 * upstream is for the operator to see. The body stays out of the log, for it may quote the prompt.
 */
static void
wk_call_refused(const struct wk_attempt *a, int status)
{
	bool clients = status == 400 || status == 413 || status == 422; /* the request's own fault */

	tf_log(clients ? TF_INFO : TF_WARN, "call", &a->id, "the runtime refused the call status=%d attempt=%u", status,
	    a->number);
}

static void
wk_on_head(struct http_call *call, const struct http_head *head, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	if (head->status / 100 != 2)
		wk_call_refused(a, head->status);
	dl_xlate_head(a->x, head->status, http_head_get(head, HTTP_H_CONTENT_TYPE), wk_retry_after(head));
}

static void
wk_on_data(struct http_call *call, const char *data, size_t len, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	if (a->state != WK_S_CALL)
		return;
	if (dl_xlate_feed(a->x, data, len, &a->out) != 0) {
		dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
		wk_attempt_end(a);
		return;
	}
	/* until the first content the longer deadline stands, whatever arrives; behind the last one a short one */
	if (dl_xlate_facts(a->x)->content && !(dl_xlate_live(a->x) && dl_xlate_facts(a->x)->finished))
		wk_call_watch(a);
	else if (dl_xlate_facts(a->x)->content && !a->finished)
		ev_timer_set(&a->timer, WK_USAGE_MS);
	a->finished = dl_xlate_live(a->x) && dl_xlate_facts(a->x)->finished;
	wk_call_out(a);
}

void
wk_call_late(struct wk_attempt *a)
{
	if (a->state == WK_S_ENDED && a->acked)
		wk_attempt_to(a, WK_S_DONE);
}

static void
wk_on_done(struct http_call *call, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	a->call = NULL;
	if (a->state != WK_S_CALL) {
		wk_call_late(a);
		return;
	}
	if (dl_xlate_end(a->x, &a->out) != 0)
		dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
	if (!wk_fetch_next(a))
		wk_call_over(a);
}

static void
wk_on_error(struct http_call *call, enum http_fail why, const char *detail, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	a->call = NULL;
	if (a->state != WK_S_CALL) {
		wk_call_late(a);
		return;
	}
	tf_log(TF_WARN, "call", &a->id, "the runtime failed us class=%s detail=%s attempt=%u", http_fail_name(why),
	    tf_log_q(tf_cspan(detail)), a->number);
	if (why == HTTP_FAIL_CONNECT || why == HTTP_FAIL_RESOLVE)
		wk_probe_soon(a->wk);
	wk_call_broken(a, why == HTTP_FAIL_TIMEOUT ? TF_E_UPSTREAM_TIMEOUT : TF_E_UPSTREAM_ERROR);
}

static const struct http_call_hooks wk_call_hooks = {
	.on_head = wk_on_head,
	.on_data = wk_on_data,
	.on_done = wk_on_done,
	.on_error = wk_on_error,
};

static void
wk_call_fields(const struct wk_attempt *a, struct http_fields *f)
{
	char id[TF_ID_TEXT + 1];

	tf_id_text(a->id, id);
	http_fields_init(f);
	http_fields_add(f, "content-type", dl_xlate_request_type(a->x));
	http_fields_add(f, "accept", dl_xlate_accept(a->x));
	http_fields_add(f, "x-request-id", id);
	wk_upstream_fields(a->wk, a->api_version, a->api_beta, f);
}

/* The caller would rather be told than do without. */
static bool
wk_call_too_lax(struct wk_attempt *a)
{
	struct tf_span dropped = dl_xlate_dropped(a->x);
	const char *comma = dropped.n > 0 ? memchr(dropped.p, ',', dropped.n) : NULL;
	size_t n = comma != NULL ? (size_t)(comma - dropped.p) : dropped.n;
	char param[DL_PARAM_MAX];

	if (!a->strict || dropped.n == 0)
		return false;
	snprintf(param, sizeof param, "%.*s", (int)n, dropped.p);
	dl_fault_set(&a->fault, TF_E_BAD_REQUEST, param,
	    "Not supported by the runtime of this model, and x-tf-strict is set: " TF_SPAN_FMT ".", TF_SPAN_ARG(dropped));
	return true;
}

void
wk_call_start(struct wk_attempt *a)
{
	struct wk *wk = a->wk;
	static struct tf_buf body; /* one loop, one thread: reused by every call */
	struct http_call_req r = { .method = "POST" };
	struct http_fields f;
	char target[1024];
	int rc;

	ev_timer_init(&a->timer, wk->loop, wk_call_timeout, a);
	tf_buf_reset(&body);
	rc = dl_xlate_request(a->x, tf_buf_span(&a->body), &body);
	tf_buf_free(&a->body);
	if (rc == TF_E_INVAL) {
		a->fault = dl_xlate_facts(a->x)->fault;
		wk_attempt_end(a);
		return;
	}
	if (rc == 0 && wk_call_too_lax(a)) {
		wk_attempt_end(a);
		return;
	}
	wk_call_fields(a, &f);
	if (rc == 0)
		rc = wk_upstream_target(wk, dl_xlate_path(a->x), target, sizeof target);
	r.target = target;
	r.fields = &f;
	r.body = body.p;
	r.len = body.n;
	if (rc == 0)
		a->call = http_call_start(wk->origin, &r, &wk_call_hooks, a);
	if (a->call == NULL) {
		dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
		wk_attempt_end(a);
		return;
	}
	if (body.cap > (1u << 20))
		tf_buf_free(&body); /* a large one is not kept for the small ones to come */
	if (a->first_ms > 0)
		ev_timer_set(&a->timer, a->first_ms);
}

void
wk_call_stop(struct wk_attempt *a)
{
	if (a->call == NULL)
		return;
	http_call_abort(a->call);
	a->call = NULL;
}
