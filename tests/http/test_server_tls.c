/* SPDX-License-Identifier: Apache-2.0 */
/* The server over TLS: who it says it is, before and after a reload, and clients that do not finish their handshake. */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#include "tests/http/certs.h"
#include "tests/http/fixture.h"

static struct fix fix;

/* One request over TLS; checks who answered. */
static void
tls_request(int port, const char *name, const char *request, const char *want)
{
	static const unsigned char alpn[] = "\x02h2\x08http/1.1";
	char ca[CERTS_PATH], buf[2048];
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	const unsigned char *proto;
	unsigned len;
	size_t got = 0;
	int fd = dial(port), n;

	certs_ca(ca);
	assert_int_equal(SSL_CTX_load_verify_file(ctx, ca), 1);
	SSL_free(ssl);
	ssl = SSL_new(ctx);
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_set1_host(ssl, name);
	SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1);
	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	SSL_get0_alpn_selected(ssl, &proto, &len);
	assert_int_equal(len, 8);
	assert_int_equal(SSL_write(ssl, request, (int)strlen(request)), strlen(request));
	while ((n = SSL_read(ssl, buf + got, (int)(sizeof(buf) - 1 - got))) > 0)
		got += (size_t)n;
	assert_int_equal(SSL_get_error(ssl, n), SSL_ERROR_ZERO_RETURN);
	buf[got] = '\0';
	assert_non_null(strstr(buf, want));
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
}

static struct ssl_ctx_st *next_ctx;

static void
reload(struct fix *f)
{
	http_server_set_tls(f->server, next_ctx);
}

static void
test_tls(void **state)
{
	static const char post[] = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	    "Content-Length: 5\r\n\r\nhello";
	struct http_server_conf c;
	struct ssl_ctx_st *ctx;
	int fd, aborts;

	(void)state;
	http_server_conf_default(&c);
	c.head_ms = 2000; /* handshake and head: time enough on a busy machine */
	ctx = certs_server("localhost");
	fix_start(&fix, &c, ctx);
	http_tls_free(&ctx);
	tls_request(fix.port, "localhost", post, "\r\n\r\nhello");
	tls_request(fix.port, "localhost", "GET /drip HTTP/1.0\r\n\r\n", "data: x\n\ndata: x\n\n");
	tls_request(fix.port, "localhost", "GET / HTTP/1.1\r\n\r\n", "NO_HOST");
	next_ctx = certs_server("other.test");
	fix_call(&fix, reload);
	http_tls_free(&next_ctx);
	tls_request(fix.port, "other.test", post, "\r\n\r\nhello");
	fd = dial(fix.port);
	say(fd, "GET / HTTP/1.1\r\n\r\n");	/* no TLS at all */
	while (!at_eof(fd))
		;
	close(fd);
	fd = dial(fix.port);			/* a handshake that never comes */
	assert_true(at_eof(fd));
	close(fd);
	aborts = atomic_load(&fix.aborts);
	assert_int_equal(aborts, 0);
	fix_stop(&fix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_tls) };

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, certs_begin, certs_end);
}
