/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that a runtime answers with as addresses, where the client wants the bytes: they are asked for at the
 * runtime itself, over its own connections, and nowhere else. An address that is not its own is not followed: it may
 * name a host that only this one reaches. Called by wk_call.c when the runtime's answer has ended.
 */
#include "config.h"

#include <stdio.h>

#include "workerd/wk.h"

#define WK_FETCH_MAX (64u << 20) /* largest image, bytes */

/* What was fetched, or that it cannot be had, goes to the translator; then the next one. */
static void
wk_fetch_over(struct wk_attempt *a, bool good)
{
	struct tf_span bytes = good ? tf_buf_span(&a->fetched) : tf_span(NULL, 0);

	if (dl_xlate_fetched(a->x, bytes, &a->out) != 0)
		dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
	tf_buf_free(&a->fetched);
	if (!wk_fetch_next(a))
		wk_call_over(a);
}

static void
wk_fetch_head(struct http_call *call, const struct http_head *head, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	a->fetch_failed = head->status != 200;
}

static void
wk_fetch_data(struct http_call *call, const char *data, size_t len, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	if (a->fetch_failed)
		return;
	if (a->fetched.n + len > WK_FETCH_MAX || tf_buf_append(&a->fetched, data, len) != 0) {
		tf_buf_free(&a->fetched);
		a->fetch_failed = true;
	}
}

static void
wk_fetch_done(struct http_call *call, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	a->call = NULL;
	if (a->state == WK_S_CALL)
		wk_fetch_over(a, !a->fetch_failed);
	else
		wk_call_late(a);
}

static void
wk_fetch_error(struct http_call *call, enum http_fail why, const char *detail, void *arg)
{
	struct wk_attempt *a = arg;

	(void)call;
	a->call = NULL;
	tf_log(TF_WARN, "call", &a->id, "the runtime's own address gives nothing class=%s detail=%s attempt=%u",
	    http_fail_name(why), tf_log_q(tf_cspan(detail)), a->number);
	if (a->state == WK_S_CALL)
		wk_fetch_over(a, false);
	else
		wk_call_late(a);
}

static const struct http_call_hooks wk_fetch_hooks = {
	.on_head = wk_fetch_head,
	.on_data = wk_fetch_data,
	.on_done = wk_fetch_done,
	.on_error = wk_fetch_error,
};

static struct http_call *
wk_fetch_start(struct wk_attempt *a, const char *target)
{
	struct http_call_req r = { .method = "GET", .target = target };
	struct http_fields f;
	char id[TF_ID_TEXT + 1];

	tf_id_text(a->id, id);
	http_fields_init(&f);
	http_fields_add(&f, "accept", "image/*");
	http_fields_add(&f, "x-request-id", id);
	wk_upstream_fields(a->wk, NULL, NULL, &f);
	r.fields = &f;
	a->fetch_failed = false;
	return http_call_start(a->wk->origin, &r, &wk_fetch_hooks, a);
}

bool
wk_fetch_next(struct wk_attempt *a)
{
	char target[2048];
	struct tf_span url;

	while (a->fault.err == 0 && dl_xlate_wants(a->x, &url)) {
		if (wk_upstream_own(a->wk->url, url, target, sizeof target) == 0) {
			a->call = wk_fetch_start(a, target);
			if (a->call != NULL && a->first_ms > 0)
				ev_timer_set(&a->timer, a->first_ms);
			if (a->call != NULL)
				return true;
		} else {
			tf_log(TF_INFO, "call", &a->id, "the runtime answers with an address that is not its own attempt=%u",
			    a->number);
		}
		if (dl_xlate_fetched(a->x, tf_span(NULL, 0), &a->out) != 0)
			dl_fault_set(&a->fault, TF_E_SERVER_ERROR, NULL, NULL);
	}
	return false;
}
