/* SPDX-License-Identifier: Apache-2.0 */
/* See caller.h. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/http/caller.h"

struct ev_loop *loop;
struct http_client *client;

static void
on_sent(struct http_call *call, void *arg)
{
	struct seen *s = arg;

	assert_ptr_equal(call, s->call);
	s->sent++;
}

static void
on_head(struct http_call *call, const struct http_head *head, void *arg)
{
	struct seen *s = arg;

	assert_int_equal(s->status, 0);
	s->status = head->status;
	s->reused = http_call_reused(call);
}

static void
on_data(struct http_call *call, const char *data, size_t len, void *arg)
{
	struct seen *s = arg;

	assert_false(s->paused);
	tf_buf_append(&s->body, data, len);
	if (s->pause_at > 0 && s->body.n >= s->pause_at) {
		s->paused = true;
		http_call_pause(call);
	}
}

static void
on_done(struct http_call *call, void *arg)
{
	struct seen *s = arg;

	(void)call;
	assert_false(s->done || s->failed);
	s->done = true;
	if (s->again)
		request(s->next, s->origin, "GET", "");
}

static void
on_error(struct http_call *call, enum http_fail why, const char *detail, void *arg)
{
	struct seen *s = arg;

	(void)call;
	assert_false(s->done || s->failed);
	assert_non_null(detail);
	s->failed = true;
	s->why = why;
	snprintf(s->detail, sizeof(s->detail), "%s", detail);
}

const struct http_call_hooks call_hooks = { on_sent, on_head, on_data, on_done, on_error };

void
request(struct seen *s, struct http_origin *o, const char *method, const char *body)
{
	struct http_fields f;
	struct http_call_req q = { .method = method, .target = "/v1/x?y", .fields = &f,
	    .body = body, .len = strlen(body) };

	memset(s, 0, sizeof(*s));
	http_fields_init(&f);
	http_fields_add(&f, "Authorization", "Bearer k");
	s->call = http_call_start(o, &q, &call_hooks, s);
	assert_non_null(s->call);
}

static void
nothing(void *arg)
{
	(void)arg;
}

void
turn_until(bool *flag, bool *or, int ms)
{
	struct ev_timer wake;
	uint64_t end = now_ms() + (uint64_t)ms;

	ev_timer_init(&wake, loop, nothing, NULL);
	while (!*flag && !(or != NULL && *or) && now_ms() < end) {
		ev_timer_set(&wake, 20);
		ev_loop_once(loop, true);
	}
	ev_timer_del(&wake);
}

void
turn_for(int ms)
{
	bool never = false;

	turn_until(&never, NULL, ms);
}

void
wait_for(struct seen *s)
{
	turn_until(&s->done, &s->failed, 5000);
	assert_true(s->done || s->failed);
}

struct http_origin *
origin(const char *url, struct ssl_ctx_st *tls, const char *proxy)
{
	char err[128] = "";
	struct http_origin *o = http_origin_new(client, url, tls, proxy, err, sizeof(err));

	if (o == NULL)
		print_error("%s: %s\n", url, err);
	assert_non_null(o);
	return o;
}

void
get(struct http_origin *o, int status, const char *body)
{
	struct seen s;

	request(&s, o, "GET", "");
	wait_for(&s);
	if (s.failed)
		print_error("%s: %s\n", http_fail_name(s.why), s.detail);
	assert_true(s.done);
	assert_int_equal(s.status, status);
	if (body != NULL)
		assert_true(tf_span_is(tf_buf_span(&s.body), body));
	tf_buf_free(&s.body);
}

void
get_fails(struct http_origin *o, enum http_fail why)
{
	struct seen s;

	request(&s, o, "POST", "abc");
	wait_for(&s);
	if (!s.failed || s.why != why)
		print_error("failed %d why %s: %s\n", s.failed, http_fail_name(s.why), s.detail);
	assert_true(s.failed);
	assert_int_equal(s.why, why);
	tf_buf_free(&s.body);
}

bool
saw(const struct raw *r, const char *text)
{
	return memmem(r->seen.p, r->seen.n, text, strlen(text)) != NULL;
}

int
setup(void **state)
{
	struct http_client_conf c;

	(void)state;
	http_client_conf_default(&c);
	c.connect_ms = 1500;
	c.idle_ms = 1000;
	c.idle_max = 2;
	loop = ev_loop_new();
	assert_non_null(loop);
	client = http_client_new(loop, &c);
	assert_non_null(client);
	return 0;
}

int
teardown(void **state)
{
	(void)state;
	http_client_free(&client);
	ev_loop_once(loop, false);
	ev_loop_free(&loop);
	return 0;
}
