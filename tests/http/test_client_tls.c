/* SPDX-License-Identifier: Apache-2.0 */
/* The client with TLS, with a proxy, and with both. */
#include "config.h"

#include <poll.h>
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
#include "tests/http/certs.h"

static struct ssl_ctx_st *
client_ctx(void)
{
	char ca[CERTS_PATH], err[256];
	struct ssl_ctx_st *ctx;

	certs_ca(ca);
	ctx = http_tls_client_new(ca, err, sizeof(err));
	assert_non_null(ctx);
	return ctx;
}

static void
test_tls(void **state)
{
	struct http_server_conf c;
	struct ssl_ctx_st *sctx, *good, *other;
	struct http_origin *o;
	struct fix f;
	struct raw r;
	char url[64], err[256];
	static const struct script silent[] = { { .hold = true } };

	(void)state;
	http_server_conf_default(&c);
	certs_make("elsewhere.test");
	other = client_ctx();
	sctx = certs_server("localhost");
	good = client_ctx();
	fix_start(&f, &c, sctx);
	snprintf(url, sizeof(url), "https://localhost:%d", f.port);
	o = origin(url, good, NULL);
	get(o, 200, "");
	get(o, 200, "");
	assert_int_equal(http_origin_idle(o), 1);
	http_origin_free(&o);
	o = origin(url, other, NULL);		/* a CA that we do not trust */
	get_fails(o, HTTP_FAIL_TLS);
	http_origin_free(&o);
	snprintf(url, sizeof(url), "https://127.0.0.1:%d", f.port);
	o = origin(url, good, NULL);
	get(o, 200, "");
	http_origin_free(&o);
	fix_stop(&f);
	http_tls_free(&sctx);
	sctx = certs_server("elsewhere.test");	/* right CA, wrong name */
	http_tls_free(&good);
	good = client_ctx();
	fix_start(&f, &c, sctx);
	snprintf(url, sizeof(url), "https://localhost:%d", f.port);
	o = origin(url, good, NULL);
	get_fails(o, HTTP_FAIL_TLS);
	http_origin_free(&o);
	fix_stop(&f);
	raw_start(&r, silent, 1, NULL);		/* takes the connection and says nothing */
	snprintf(url, sizeof(url), "https://localhost:%d", r.port);
	o = origin(url, good, NULL);
	get_fails(o, HTTP_FAIL_TIMEOUT);
	http_origin_free(&o);
	raw_stop(&r);
	assert_null(http_tls_client_new("/nonexistent", err, sizeof(err)));
	assert_non_null(strstr(err, "/nonexistent"));
	http_tls_free(&sctx);
	http_tls_free(&good);
	http_tls_free(&other);
}

/* The proxy is a script, too: after its answer it plays the far side. */
static void
test_proxy(void **state)
{
	static const struct script scripts[] = {
		{ .answers = { "HTTP/1.1 200 Connection established\r\n\r\n", OK5 } },
		{ .answers = { "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno" } },
		{ .answers = { "SSH-2.0-x\r\n" } },
		{ .answers = { "HTTP/1.1 200 OK\r\n\r\nextra" } },
	};
	char proxy[64];
	struct raw r;
	struct http_origin *o;

	(void)state;
	raw_start(&r, scripts, TF_LEN(scripts), NULL);
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", r.port);
	o = origin("http://upstream.test:8080/v1", NULL, proxy);
	get(o, 200, "hello");
	for (int i = 0; i < 3; i++)
		get_fails(o, HTTP_FAIL_CONNECT);
	http_origin_free(&o);
	pthread_join(r.thread, NULL);
	assert_true(saw(&r, "CONNECT upstream.test:8080 HTTP/1.1\r\n"
	    "Host: upstream.test:8080\r\n\r\n"));
	assert_true(saw(&r, "GET /v1/x?y HTTP/1.1\r\n"
	    "Host: upstream.test:8080\r\n"));
	close(r.listen_fd);
	tf_buf_free(&r.seen);
}

/* A real one: lets the client through to `to`, and copies both ways until one side closes. */
struct relay {
	pthread_t	thread;
	int		listen_fd, to;
};

static void *
relay_run(void *arg)
{
	struct relay *r = arg;
	int a = accept(r->listen_fd, NULL, NULL), b = dial(r->to);
	struct pollfd p[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
	char buf[4096];
	ssize_t n = recv(a, buf, sizeof(buf), 0);

	assert_true(n > 8 && memcmp(buf, "CONNECT ", 8) == 0);
	say(a, "HTTP/1.1 200 OK\r\n\r\n");
	while (n > 0 && poll(p, 2, 5000) > 0) {
		bool from_a = p[0].revents != 0;

		n = recv(from_a ? a : b, buf, sizeof(buf), 0);
		if (n > 0)
			say_n(from_a ? b : a, buf, (size_t)n);
	}
	close(a);
	close(b);
	return NULL;
}

static void
test_tls_through_proxy(void **state)
{
	struct http_server_conf c;
	struct ssl_ctx_st *sctx = certs_server("localhost"), *cctx = client_ctx();
	char url[64], proxy[64];
	struct http_origin *o;
	struct relay r;
	struct fix f;

	(void)state;
	http_server_conf_default(&c);
	fix_start(&f, &c, sctx);
	r.to = f.port;
	r.listen_fd = listen_on(&f.spare_port);
	assert_int_equal(pthread_create(&r.thread, NULL, relay_run, &r), 0);
	snprintf(url, sizeof(url), "https://localhost:%d", f.port);
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", f.spare_port);
	o = origin(url, cctx, proxy);
	get(o, 200, "");
	get(o, 200, "");
	http_origin_free(&o);
	ev_loop_once(loop, false);
	pthread_join(r.thread, NULL);
	close(r.listen_fd);
	fix_stop(&f);
	http_tls_free(&sctx);
	http_tls_free(&cctx);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_tls), T(test_proxy), T(test_tls_through_proxy),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, certs_begin, certs_end);
}
