/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the runtime there? A GET every probe-interval, quickly repeated while it is not; the worker is
 * announced as up only while it answers. A runtime that is busy is not down: two probes must fail.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workerd/wk.h"

#define WK_PROBE_FAST_MS 100  /* while it is down: the wait grows from here to probe-interval */
#define WK_PROBE_TIMEOUT_MS 5000
#define WK_PROBE_FAILS 2

struct wk_probe {
	struct wk *wk;
	struct ev_timer timer, deadline;
	struct http_call *call;
	uint64_t wait; /* ms until the next one while it is down */
	unsigned failed;
	int status;
	char said[256]; /* why it is not there, as last logged */
};

/* Once for each reason: an operator must see what is wrong, and not five times a second. */
static void
wk_probe_say(struct wk_probe *p, const char *class, const char *detail)
{
	char now[sizeof p->said];

	snprintf(now, sizeof now, "%s %s", class, detail);
	if (strcmp(now, p->said) == 0)
		return;
	memcpy(p->said, now, sizeof now);
	/* a child that has just been started is not there yet */
	tf_log(p->wk->runtime != NULL ? TF_INFO : TF_WARN, "probe", NULL, "the runtime does not answer class=%s detail=%s",
	    class, tf_log_q(tf_cspan(detail)));
}

static void
wk_probe_next(struct wk_probe *p)
{
	uint64_t interval = p->wk->w->probe_interval;

	if (p->wk->up && p->failed == 0) {
		ev_timer_set(&p->timer, interval);
		return;
	}
	ev_timer_set(&p->timer, p->wait);
	p->wait = p->wait * 2 > interval ? interval : p->wait * 2;
}

static void
wk_probe_result(struct wk_probe *p, bool good)
{
	struct wk *wk = p->wk;
	bool up = good || (wk->up && p->failed + 1 < WK_PROBE_FAILS);

	ev_timer_del(&p->deadline);
	p->call = NULL;
	p->failed = good ? 0 : p->failed + 1;
	if (good) {
		p->said[0] = '\0';
		p->wait = WK_PROBE_FAST_MS;
		wk_runtime_good(wk);
	}
	if (up != wk->up) {
		wk->up = up;
		tf_metric_set(TF_M_WK_RUNTIME_UP, up);
		tf_log(up ? TF_INFO : TF_WARN, "probe", NULL, "the runtime is %s status=%d", up ? "up" : "down", p->status);
		wk_link_ready(wk);
	}
	wk_probe_next(p);
}

static void
wk_probe_head(struct http_call *call, const struct http_head *head, void *arg)
{
	struct wk_probe *p = arg;

	(void)call;
	p->status = head->status;
}

static void
wk_probe_data(struct http_call *call, const char *data, size_t len, void *arg)
{
	(void)call;
	(void)data;
	(void)len;
	(void)arg;
}

static void
wk_probe_done(struct http_call *call, void *arg)
{
	struct wk_probe *p = arg;

	/* a named path must say 200; the default one need not exist, an answer from the runtime is enough */
	bool good = p->wk->w->probe_path ? p->status == 200 : p->status < 500;
	char status[16];

	(void)call;
	snprintf(status, sizeof status, "%d", p->status);
	if (!good)
		wk_probe_say(p, "status", status);
	wk_probe_result(p, good);
}

static void
wk_probe_error(struct http_call *call, enum http_fail why, const char *detail, void *arg)
{
	struct wk_probe *p = arg;

	(void)call;
	wk_probe_say(p, http_fail_name(why), detail ? detail : "");
	wk_probe_result(p, false);
}

static const struct http_call_hooks wk_probe_hooks = {
	.on_head = wk_probe_head,
	.on_data = wk_probe_data,
	.on_done = wk_probe_done,
	.on_error = wk_probe_error,
};

static void
wk_probe_late(void *arg)
{
	struct wk_probe *p = arg;

	if (p->call != NULL)
		http_call_abort(p->call);
	wk_probe_say(p, "timeout", "no answer in time");
	wk_probe_result(p, false);
}

static void
wk_probe_run(void *arg)
{
	struct wk_probe *p = arg;
	struct wk *wk = p->wk;
	struct http_call_req r = { .method = "GET" };
	struct http_fields f;
	char target[1024];

	if (p->call != NULL)
		return;
	p->status = 0;
	http_fields_init(&f);
	http_fields_add(&f, "accept", "*/*");
	wk_upstream_fields(wk, NULL, NULL, &f);
	r.fields = &f;
	r.target = target;
	if (wk->w->probe_path != NULL)
		r.target = wk->w->probe_path;
	else if (wk_upstream_target(wk, "/models", target, sizeof target) != 0)
		return;
	p->call = http_call_start(wk->origin, &r, &wk_probe_hooks, p);
	if (p->call == NULL) {
		wk_probe_result(p, false);
		return;
	}
	ev_timer_set(&p->deadline, WK_PROBE_TIMEOUT_MS);
}

int
wk_probe_start(struct wk *wk)
{
	struct wk_probe *p = calloc(1, sizeof *p);

	if (p == NULL)
		return TF_E_NOMEM;
	p->wk = wk;
	p->wait = WK_PROBE_FAST_MS;
	ev_timer_init(&p->timer, wk->loop, wk_probe_run, p);
	ev_timer_init(&p->deadline, wk->loop, wk_probe_late, p);
	wk->probe = p;
	ev_timer_set(&p->timer, 0);
	return 0;
}

void
wk_probe_soon(struct wk *wk)
{
	struct wk_probe *p = wk->probe;

	if (p == NULL || p->call != NULL)
		return;
	p->wait = WK_PROBE_FAST_MS;
	ev_timer_set(&p->timer, p->wait);
}

void
wk_probe_gone(struct wk *wk)
{
	struct wk_probe *p = wk->probe;

	if (p == NULL)
		return;
	if (p->call != NULL)
		http_call_abort(p->call);
	p->failed = WK_PROBE_FAILS; /* no second one is needed */
	p->wait = WK_PROBE_FAST_MS;
	p->status = 0;
	wk_probe_result(p, false);
}

void
wk_probe_stop(struct wk *wk)
{
	struct wk_probe *p = wk->probe;

	if (p == NULL)
		return;
	if (p->call != NULL)
		http_call_abort(p->call);
	ev_timer_del(&p->timer);
	ev_timer_del(&p->deadline);
	free(p);
	wk->probe = NULL;
}
