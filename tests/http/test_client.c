/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client against scripted raw servers and our own server: framings, pool and resend, classes
 * of failure, names, UNIX sockets, backpressure, abort. TLS and proxies: test_client_tls.c.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/http/caller.h"

static char dir[] = "/tmp/tf-http-XXXXXX";

static struct http_origin *
local(int port)
{
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%d/base/", port);
	return origin(url, NULL, NULL);
}

static void
test_framings(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { OK5,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK5,
		    "HTTP/1.1 204 No Content\r\n\r\n" } },
		{ .answers = { "HTTP/1.1 200 OK\r\n\r\nuntil close" } },
		{ .answers = { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi" } },
		{ .answers = { "HTTP/1.1 302 Found\r\nLocation: /y\r\nConnection: close\r\n"
		    "Content-Length: 0\r\n\r\n" } },
	};
	struct raw r;
	struct http_origin *o;

	(void)state;
	raw_start(&r, scripts, TF_LEN(scripts), NULL);
	o = local(r.port);
	assert_string_equal(http_origin_base(o), "/base");
	get(o, 200, "hello");
	assert_int_equal(http_origin_idle(o), 1);
	get(o, 200, "abc");
	get(o, 200, "hello");
	get(o, 204, "");
	assert_int_equal(atomic_load(&r.accepted), 1);
	get(o, 200, "until close");
	assert_int_equal(http_origin_idle(o), 0);
	get(o, 200, "hi");
	assert_int_equal(http_origin_idle(o), 0);
	get(o, 302, "");
	assert_int_equal(atomic_load(&r.accepted), 4);
	http_origin_free(&o);
	assert_null(o);
	shutdown(r.listen_fd, SHUT_RDWR);
	pthread_join(r.thread, NULL);
	assert_true(saw(&r, "GET /v1/x?y HTTP/1.1\r\nHost: 127.0.0.1:"));
	assert_true(saw(&r, "\r\nAuthorization: Bearer k\r\n"));
	close(r.listen_fd);
	tf_buf_free(&r.seen);
}

static void
test_head_request(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", OK5 } },
	};
	struct raw r;
	struct http_origin *o;
	struct seen s;

	(void)state;
	raw_start(&r, scripts, 1, NULL);
	o = local(r.port);
	request(&s, o, "HEAD", "");
	wait_for(&s);
	assert_true(s.done);
	get(o, 200, "hello");
	http_origin_free(&o);
	raw_stop(&r);
}

/* The upstream closes the pooled connection as the next request comes: sent again, once. */
static void
test_resend(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { OK5, "" } },
		{ .answers = { OK5, "" } },
		{ .close_early = true },
		{ .answers = { "" } },
	};
	struct raw r;
	struct http_origin *o;
	struct seen s;

	(void)state;
	raw_start(&r, scripts, TF_LEN(scripts), NULL);
	o = local(r.port);
	get(o, 200, "hello");
	request(&s, o, "POST", "precious");	/* taken by the old connection, which then dies */
	wait_for(&s);
	assert_true(s.done);
	assert_int_equal(s.sent, 2);
	assert_false(s.reused);
	tf_buf_free(&s.body);
	assert_int_equal(atomic_load(&r.accepted), 2);
	get_fails(o, HTTP_FAIL_EARLY);		/* old dies, fresh dies too: no third time */
	assert_int_equal(atomic_load(&r.accepted), 3);
	get_fails(o, HTTP_FAIL_EARLY);		/* a fresh connection is not tried twice */
	assert_int_equal(atomic_load(&r.accepted), 4);
	http_origin_free(&o);
	raw_stop(&r);
}

/* Closed while idle: noticed, and not used. */
static void
test_stale_pool(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { OK5 } }, { .answers = { OK5 } },
		{ .answers = { OK5 }, .hold = true },
	};
	struct raw r;
	struct http_origin *o;

	(void)state;
	raw_start(&r, scripts, TF_LEN(scripts), NULL);
	o = local(r.port);
	get(o, 200, "hello");
	for (int i = 0; i < 200 && http_origin_idle(o) != 0; i++)
		turn_for(100);
	assert_int_equal(http_origin_idle(o), 0);
	get(o, 200, "hello");
	usleep(50 * 1000);			/* closed, but the loop has not looked */
	get(o, 200, "hello");
	assert_int_equal(http_origin_idle(o), 1);
	assert_int_equal(atomic_load(&r.requests), 3);
	turn_for(1400);				/* idle_ms */
	assert_int_equal(http_origin_idle(o), 0);
	assert_true(fix_wait(&r.gone, 1, 1000) >= 0);
	http_origin_free(&o);
	raw_stop(&r);
}

static void
test_keep_alive_hint(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=1\r\n"
		    "Content-Length: 0\r\n\r\n" }, .hold = true },
		{ .answers = { "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\n"
		    "Content-Length: 0\r\n\r\n" }, .hold = true },
	};
	struct raw r;
	struct http_origin *o;

	(void)state;
	raw_start(&r, scripts, TF_LEN(scripts), NULL);
	o = local(r.port);
	get(o, 200, "");
	assert_int_equal(http_origin_idle(o), 1);
	turn_for(800);				/* half a second before the peer would close */
	assert_int_equal(http_origin_idle(o), 0);
	get(o, 200, "");
	assert_int_equal(http_origin_idle(o), 0);
	http_origin_free(&o);
	raw_stop(&r);
}

static void
test_failures(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello" } },
		{ .answers = { CHUNKED "3\r\nabc\r\n" } },
		{ .answers = { "HTTP/1.1 200" } },
		{ .answers = { "hello, I am not HTTP\r\n\r\n" } },
		{ .answers = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" } },
		{ .answers = { TWO_LENGTHS } },
		{ .answers = { "HTTP/1.1 101 Switching\r\n\r\n" } },
	};
	static const enum http_fail whys[] = { HTTP_FAIL_MID, HTTP_FAIL_MID, HTTP_FAIL_MID,
	    HTTP_FAIL_BAD, HTTP_FAIL_BAD, HTTP_FAIL_BAD, HTTP_FAIL_BAD };
	struct raw r;
	struct http_origin *o;

	(void)state;
	raw_start(&r, scripts, TF_LEN(scripts), NULL);
	o = local(r.port);
	for (size_t i = 0; i < TF_LEN(whys); i++)
		get_fails(o, whys[i]);
	raw_stop(&r);
	get_fails(o, HTTP_FAIL_CONNECT);	/* nobody listens any more */
	http_origin_free(&o);
}

static void
test_names(void **state)
{
	static const struct script scripts[] = { { .answers = { OK5 } }, { .answers = { OK5 } } };
	struct raw r;
	struct http_origin *o;
	struct seen s;
	char url[64];

	(void)state;
	raw_start(&r, scripts, 2, NULL);
	snprintf(url, sizeof(url), "http://localhost:%d", r.port);
	o = origin(url, NULL, NULL);
	get(o, 200, "hello");
	get(o, 200, "hello");
	http_origin_free(&o);
	raw_stop(&r);
	o = origin("http://no-such-host.invalid", NULL, NULL);
	request(&s, o, "GET", "");
	wait_for(&s);
	assert_true(s.failed);
	assert_true(s.why == HTTP_FAIL_RESOLVE || s.why == HTTP_FAIL_TIMEOUT);
	request(&s, o, "GET", "");		/* goes while the name is asked for */
	http_origin_free(&o);
	assert_true(s.failed);
	assert_int_equal(s.why, HTTP_FAIL_CLOSED);
}

static void
test_urls(void **state)
{
	static const char *const bad[] = { "localhost", "ftp://x", "http://", "http://u:p@x/",
	    "http://x:99999999", "http://x:8a", "http://[::1", "http://x/a?b", "http://a b/",
	    "https://x", "unix:relative", "http://[::1]x" };
	struct http_origin *o;
	char err[128];

	(void)state;
	for (size_t i = 0; i < TF_LEN(bad); i++) {
		err[0] = '\0';
		o = http_origin_new(client, bad[i], NULL, NULL, err, sizeof(err));
		if (o != NULL)
			print_error("%s was taken\n", bad[i]);
		assert_null(o);
		assert_true(strlen(err) > 0);
	}
	o = origin("http://[::1]:80/v1/", NULL, NULL);
	assert_string_equal(http_origin_base(o), "/v1");
	http_origin_free(&o);
}

static void
test_unix(void **state)
{
	static const struct script scripts[] = { { .answers = { OK5 }, .hold = true } };
	char url[600];
	struct raw r;
	struct http_origin *o;

	(void)state;
	snprintf(url, sizeof(url), "unix:%s/s", dir);
	raw_start(&r, scripts, 1, url + 5);
	o = origin(url, NULL, NULL);
	get(o, 200, "hello");
	http_origin_free(&o);
	raw_stop(&r);
	(void)unlink(url + 5);
}

static void
test_abort_closes_at_once(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { CHUNKED "3\r\nabc\r\n" },
		  .hold = true },
	};
	struct raw r;
	struct http_origin *o;
	struct seen s;
	bool got = false;

	(void)state;
	raw_start(&r, scripts, 1, NULL);
	o = local(r.port);
	request(&s, o, "POST", "x");
	for (int i = 0; i < 100 && !got; i++) {
		turn_for(10);
		got = s.body.n == 3;
	}
	assert_true(got);
	http_call_abort(s.call);
	assert_true(fix_wait(&r.gone, 1, 500) >= 0);	/* no turn of the loop was needed */
	turn_for(20);
	assert_false(s.done || s.failed);
	tf_buf_free(&s.body);
	http_origin_free(&o);
	raw_stop(&r);
}

static void
test_many_at_once(void **state)
{
	enum { N = 20 };
	struct http_server_conf c;
	struct http_origin *o;
	struct seen s[N];
	struct fix f;

	(void)state;
	http_server_conf_default(&c);
	fix_start(&f, &c, NULL);
	o = local(f.port);
	for (int i = 0; i < N; i++)
		request(&s[i], o, "POST", "hello there");
	for (int i = 0; i < N; i++) {
		wait_for(&s[i]);
		assert_true(s[i].done && tf_span_is(tf_buf_span(&s[i].body), "hello there"));
		tf_buf_free(&s[i].body);
	}
	assert_int_equal(http_origin_idle(o), 2);	/* idle_max */
	request(&s[0], o, "GET", "");
	s[0].again = true;
	s[0].next = &s[1];
	s[0].origin = o;
	wait_for(&s[0]);
	wait_for(&s[1]);
	assert_true(s[0].reused && s[1].reused && s[1].done);
	http_origin_free(&o);
	fix_stop(&f);
}

/* A large answer, stopped in the middle: nothing comes meanwhile, all of it comes in the end. */
static void
test_pause(void **state)
{
	struct http_server_conf c;
	struct http_call_req q = { .method = "GET", .target = "/big" };
	struct http_origin *o;
	struct fix f;
	struct seen s = { .pause_at = 100 * 1000 };
	size_t at;

	(void)state;
	http_server_conf_default(&c);
	fix_start(&f, &c, NULL);
	o = local(f.port);
	s.call = http_call_start(o, &q, &call_hooks, &s);
	turn_until(&s.paused, NULL, 3000);
	assert_true(s.paused);
	at = s.body.n;
	turn_for(200);
	assert_int_equal(s.body.n, at);
	assert_false(s.done);
	s.paused = false;
	s.pause_at = 0;
	http_call_resume(s.call);
	wait_for(&s);
	assert_true(s.done);
	assert_int_equal(s.body.n, 20 * 1024 * 1024);
	tf_buf_free(&s.body);
	http_origin_free(&o);
	fix_stop(&f);
}

static void
count_done(void *arg)
{
	++*(int *)arg;
}

static void
test_large_request(void **state)
{
	struct http_server_conf c;
	size_t n = 1024 * 1024;
	char *body = malloc(n);
	int released = 0;
	struct http_call_req q = { .method = "POST", .target = "/echo", .body = body, .len = n,
	    .body_done = count_done, .body_arg = &released };
	struct http_origin *o;
	struct fix f;
	struct seen s = { 0 };

	(void)state;
	for (size_t i = 0; i < n; i++)
		body[i] = (char)(i % 253);
	http_server_conf_default(&c);
	fix_start(&f, &c, NULL);
	o = local(f.port);
	s.call = http_call_start(o, &q, &call_hooks, &s);
	wait_for(&s);
	assert_true(s.done);
	assert_int_equal(released, 1);
	assert_int_equal(s.body.n, n);
	assert_memory_equal(s.body.p, body, n);
	tf_buf_free(&s.body);
	q.target = "/early";			/* refused while we still send: we learn why */
	memset(&s, 0, sizeof(s));
	s.call = http_call_start(o, &q, &call_hooks, &s);
	wait_for(&s);
	assert_true(s.done);
	assert_int_equal(s.status, 401);
	tf_buf_free(&s.body);
	turn_for(10);
	assert_int_equal(released, 2);
	free(body);
	http_origin_free(&o);
	fix_stop(&f);
}

static void
test_bad_requests(void **state)
{
	struct http_origin *o = origin("http://127.0.0.1:1", NULL, NULL);
	struct http_fields f;
	struct http_call_req q = { .method = "GET", .target = "/a b" };

	(void)state;
	assert_null(http_call_start(o, &q, &call_hooks, NULL));
	q.target = "/a\r\nx: y";
	assert_null(http_call_start(o, &q, &call_hooks, NULL));
	q.target = "/a";
	q.method = "G T";
	assert_null(http_call_start(o, &q, &call_hooks, NULL));
	q.method = "GET";
	q.fields = &f;
	http_fields_init(&f);
	http_fields_add(&f, "Evil", "a\r\nb");
	assert_null(http_call_start(o, &q, &call_hooks, NULL));
	http_origin_free(&o);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_framings), T(test_head_request), T(test_resend), T(test_stale_pool),
		T(test_keep_alive_hint), T(test_failures), T(test_names), T(test_urls),
		T(test_unix), T(test_abort_closes_at_once), T(test_many_at_once), T(test_pause),
		T(test_large_request), T(test_bad_requests),
	};
	int rc;

	signal(SIGPIPE, SIG_IGN);
	if (mkdtemp(dir) == NULL)
		return 99;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	(void)rmdir(dir);
	return rc;
}
