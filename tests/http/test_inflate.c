/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed request bodies over real sockets: both codings, cut anywhere, in chunks and with a
 * length, paused, too big once decoded, bombs, damage; and that nothing is left of them.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "common/http/http_int.h"
#include "tests/http/fixture.h"

#define BODY_CAP (1024 * 1024) /* of the fixture */

static struct fix fix;

static int
start(void **state)
{
	struct http_server_conf c;

	(void)state;
	http_server_conf_default(&c);
	c.body_ms = 2000;
	c.linger_ms = 1000;
	fix_start(&fix, &c, NULL);
	return 0;
}

static void
look(struct fix *f)
{
	atomic_store(&f->body_bytes, http_server_body_bytes(f->server));
}

static int
finish(void **state)
{
	(void)state;
	fix_call(&fix, look);
	assert_int_equal(atomic_load(&fix.body_bytes), 0);
	fix_stop(&fix);
	return 0;
}

/* Appends one member (or stream) that holds data. */
static void
squeeze(struct tf_buf *out, const void *data, size_t n, bool gzip, int level)
{
	z_stream z = { 0 };

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, gzip ? 15 + 16 : 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(tf_buf_reserve(out, deflateBound(&z, n) + 64), 0);
	z.next_in = (void *)(uintptr_t)data;
	z.avail_in = (unsigned)n;
	z.next_out = (unsigned char *)out->p + out->n;
	z.avail_out = (unsigned)(out->cap - out->n);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->n += z.total_out;
	deflateEnd(&z);
}

/* Text as programs send it: it shrinks, but to no less than a tenth. */
static char *
text_of(size_t n)
{
	char *p = malloc(n + 16);
	unsigned seed = 7;

	assert_non_null(p);
	for (size_t i = 0; i < n; i += 8)
		snprintf(p + i, 9, "w%06u ", (unsigned)rand_r(&seed) % 1000);
	return p;
}

static void
head(int fd, const char *path, const char *coding, size_t n)
{
	char text[256];

	snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
	    path, coding, n);
	say(fd, text);
}

static void
expect(int fd, int status, struct tf_span want)
{
	struct tf_buf body = { 0 };

	assert_int_equal(hear(fd, &body), status);
	assert_int_equal(body.n, want.n);
	assert_memory_equal(body.p != NULL ? body.p : "", want.p, want.n);
	tf_buf_free(&body);
}

static void
test_codings(void **state)
{
	static const struct {
		const char *name;
		bool gzip;
	} codings[] = { { "gzip", true }, { "x-gzip", true }, { "GZip", true }, { "deflate", false } };
	static const size_t sizes[] = { 0, 1, 100, 70000, 300000, BODY_CAP };
	int fd = dial(fix.port);
	char *text = text_of(BODY_CAP);

	(void)state;
	for (size_t c = 0; c < TF_LEN(codings); c++) {
		for (size_t i = 0; i < TF_LEN(sizes); i++) {
			struct tf_buf z = { 0 };

			squeeze(&z, text, sizes[i], codings[c].gzip, i == 4 ? 0 : 6);
			head(fd, i == 3 ? "/paused" : "/echo", codings[c].name, z.n);
			assert_true(say_n(fd, z.p, z.n));
			expect(fd, 200, tf_span(text, sizes[i]));
			tf_buf_free(&z);
		}
	}
	head(fd, "/echo", "identity", 5);
	say(fd, "plain");
	expect(fd, 200, TF_SPAN("plain"));
	free(text);
	close(fd);
}

/* Members one behind the other are one content; every cut between packets and chunks is fine. */
static void
test_pieces(void **state)
{
	struct tf_buf z = { 0 };
	int fd = dial(fix.port);

	(void)state;
	squeeze(&z, "hello ", 6, true, 6);
	squeeze(&z, "", 0, true, 6);
	squeeze(&z, "world", 5, true, 6);
	for (size_t piece = 1; piece < z.n; piece += 3) {
		say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
		for (size_t at = 0; at < z.n; at += piece) {
			size_t n = z.n - at < piece ? z.n - at : piece;
			char size[32];

			snprintf(size, sizeof(size), "%zx\r\n", n);
			say(fd, size);
			assert_true(say_n(fd, z.p + at, n));
			say(fd, "\r\n");
		}
		say(fd, "0\r\n\r\n");
		expect(fd, 200, TF_SPAN("hello world"));
	}
	tf_buf_free(&z);
	close(fd);
}

static void
refused(const char *path, const char *coding, const void *p, size_t n, int status, const char *why)
{
	int fd = dial(fix.port);

	head(fd, path, coding, n);
	(void)say_n(fd, p, n);
	expect(fd, status, tf_cspan(why));
	assert_true(at_eof(fd));
	close(fd);
}

static void
test_refusals(void **state)
{
	static const char *const unknown[] = { "br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "*" };
	char *text = text_of(BODY_CAP + 8);
	struct tf_buf z = { 0 };

	(void)state;
	for (size_t i = 0; i < TF_LEN(unknown); i++)
		refused("/echo", unknown[i], "hello", 5, 415, "BAD_ENCODING");
	squeeze(&z, text, 500, true, 6);
	for (size_t n = 0; n < z.n; n += 7) /* cut off */
		refused("/echo", "gzip", z.p, n, 400, "BAD_CODING");
	refused("/echo", "deflate", z.p, z.n, 400, "BAD_CODING"); /* another format than was said */
	tf_buf_append(&z, "garbage", 7);
	refused("/echo", "gzip", z.p, z.n, 400, "BAD_CODING");
	z.n -= 7;
	z.p[z.n - 6] ^= 1; /* the checksum */
	refused("/echo", "gzip", z.p, z.n, 400, "BAD_CODING");
	tf_buf_reset(&z);
	squeeze(&z, "hello", 5, false, 6);
	tf_buf_append(&z, "x", 1);
	refused("/echo", "deflate", z.p, z.n, 400, "BAD_CODING");
	/* what is said of a body's size is said of what it decodes to */
	tf_buf_reset(&z);
	squeeze(&z, text, BODY_CAP + 1, true, 6);
	refused("/echo", "gzip", z.p, z.n, 413, "BODY_TOO_BIG");
	tf_buf_reset(&z);
	squeeze(&z, text, 11, true, 6);
	refused("/tiny", "gzip", z.p, z.n, 413, "BODY_TOO_BIG");
	tf_buf_free(&z);
	free(text);
}

/* Members of nothing decode to nothing: still more of them than a body may have is refused. */
static void
test_empty_members(void **state)
{
	struct tf_buf z = { 0 };
	char size[32];
	int fd = dial(fix.port);

	(void)state;
	while (z.n < BODY_CAP + BODY_CAP / 32)
		squeeze(&z, "", 0, true, 6);
	say(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
	snprintf(size, sizeof(size), "%zx\r\n", z.n);
	say(fd, size);
	(void)say_n(fd, z.p, z.n);
	expect(fd, 413, TF_SPAN("BODY_TOO_BIG"));
	close(fd);
	tf_buf_free(&z);
}

/* Zeroes by the megabyte: refused as soon as there are too many, not when all are there. */
static void
test_bomb(void **state)
{
	size_t n = 64 * 1024 * 1024;
	char *zeroes = calloc(1, n);
	struct tf_buf z = { 0 };
	uint64_t t;

	(void)state;
	squeeze(&z, zeroes, n, true, 9);
	free(zeroes);
	t = now_ms();
	refused("/echo", "gzip", z.p, z.n, 413, "BODY_TOO_BIG");
	assert_true(now_ms() - t < 30000);
	tf_buf_free(&z);
}

/* Whatever the cap: nobody sends eight megabytes that are worth eighty thousand bytes. */
static void
test_ratio(void **state)
{
	size_t n = 64 * 1024 * 1024, out = 0, made = 0;
	struct http_inflate *x = http_inflate_new(HTTP_CODING_GZIP);
	enum http_refusal why = HTTP_R_NONE;
	char *data = calloc(1, n), room[4096];
	struct tf_buf z = { 0 };

	(void)state;
	squeeze(&z, data, n, true, 9);
	for (size_t at = 0; at < z.n && why == HTTP_R_NONE; at += made == sizeof(room) ? 0 : HTTP_INFLATE_IN) {
		if (http_inflate_room(x) > 0 && made < sizeof(room))
			http_inflate_give(x, tf_span(z.p + at, z.n - at < HTTP_INFLATE_IN ? z.n - at : HTTP_INFLATE_IN));
		why = http_inflate_run(x, room, sizeof(room), &made);
		out += made;
	}
	assert_int_equal(why, HTTP_R_BODY_BOMB);
	assert_in_range(out, 8 << 20, 9 << 20);
	http_inflate_free(&x);
	tf_buf_free(&z);
	free(data);
}

static void
test_client_leaves(void **state)
{
	char *text = text_of(300000);
	struct tf_buf z = { 0 };

	(void)state;
	squeeze(&z, text, 300000, true, 6);
	for (int i = 0; i < 20; i++) {
		int fd = dial(fix.port);

		head(fd, i % 2 ? "/paused" : "/echo", "gzip", z.n);
		assert_true(say_n(fd, z.p, z.n / 20 * (size_t)i));
		close(fd);
	}
	assert_true(fix_wait(&fix.aborts, 20, 5000) >= 0);
	tf_buf_free(&z);
	free(text);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, start, finish)
	const struct CMUnitTest tests[] = {
		T(test_codings), T(test_pieces), T(test_refusals), T(test_empty_members), T(test_bomb),
		cmocka_unit_test(test_ratio), T(test_client_leaves),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
