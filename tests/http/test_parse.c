/* SPDX-License-Identifier: Apache-2.0 */
/* The parser alone: heads, framing, every refusal of the table, every split point. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/http/http.h"

#define HOST "Host: x\r\n"

/* One message, parsed from one heap copy of each prefix length in turn if split is > 0. */
static ssize_t
parse(struct http_head *h, bool response, const char *text, size_t n, size_t split)
{
	ssize_t rc = 0;

	http_head_init(h, response, response ? &http_limits_response : &http_limits_request);
	if (split > 0 && split < n) {
		char *part = malloc(split);

		assert_non_null(part);
		memcpy(part, text, split);
		rc = http_head_parse(h, part, split);
		free(part);
	}
	return rc != 0 ? rc : http_head_parse(h, text, n);
}

static const struct {
	const char *text;
	enum http_refusal why;
} heads[] = {
	{ "GET / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_NONE },
	{ "\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_NONE },
	{ "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET / HTTP/1.0\r\n\r\n", HTTP_R_NONE },
	{ "GET http://x/a?b HTTP/1.1\r\n" HOST "\r\n", HTTP_R_NONE },
	{ "GET http://u@x/ HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_TARGET },
	{ "GET ftp://x/ HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_TARGET },
	{ "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", HTTP_R_NONE },
	{ "GET * HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_TARGET },
	{ "CONNECT x:1 HTTP/1.1\r\n" HOST "\r\n", HTTP_R_NONE },
	{ "BREW / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_NONE },
	{ "G(T / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_METHOD },
	{ " / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET /\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET  / HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET /a b HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET / HTTP/1.1 \r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET / http/1.1\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET / HTTP/1.10\r\n" HOST "\r\n", HTTP_R_BAD_REQUEST_LINE },
	{ "GET /\x80 HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_TARGET },
	{ "GET /#a HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_TARGET },
	{ "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BAD_TARGET },
	{ "GET / HTTP/1.2\r\n" HOST "\r\n", HTTP_R_BAD_VERSION },
	{ "GET / HTTP/2.0\r\n" HOST "\r\n", HTTP_R_BAD_VERSION },
	{ "PRI * HTTP/2.0\r\n\r\n", HTTP_R_BAD_VERSION },
	{ "GET / HTTP/0.9\r\n\r\n", HTTP_R_BAD_VERSION },
	{ "GET /\r HTTP/1.1\r\n" HOST "\r\n", HTTP_R_BARE_CR },
	{ "GET / HTTP/1.1\n" HOST "\r\n", HTTP_R_BARE_LF },
	{ "GET / HTTP/1.1\r\nHost: x\n\r\n", HTTP_R_BARE_LF },
	{ "GET / HTTP/1.1\r\n" HOST "\n", HTTP_R_BARE_LF },
	{ "GET / HTTP/1.1\r\n" HOST "a: b\r\n c\r\n\r\n", HTTP_R_OBS_FOLD },
	{ "GET / HTTP/1.1\r\n\tHost: x\r\n\r\n", HTTP_R_OBS_FOLD },
	{ "GET / HTTP/1.1\r\n" HOST "a: b\rc\r\n\r\n", HTTP_R_BARE_CR },
	{ "GET / HTTP/1.1\r\n" HOST "a: b\r\r\n\r\n", HTTP_R_BARE_CR },
	{ "GET / HTTP/1.1\r\n" HOST "a: b\x01" "c\r\n\r\n", HTTP_R_BAD_VALUE },
	{ "GET / HTTP/1.1\r\n" HOST "a: b\x7f\r\n\r\n", HTTP_R_BAD_VALUE },
	{ "GET / HTTP/1.1\r\n" HOST "a: \xc3\xa9\tz\r\n\r\n", HTTP_R_NONE },
	{ "GET / HTTP/1.1\r\n" HOST "a b: c\r\n\r\n", HTTP_R_BAD_NAME },
	{ "GET / HTTP/1.1\r\n" HOST "a : c\r\n\r\n", HTTP_R_BAD_NAME },
	{ "GET / HTTP/1.1\r\n" HOST ": c\r\n\r\n", HTTP_R_BAD_NAME },
	{ "GET / HTTP/1.1\r\n" HOST "a\x80: c\r\n\r\n", HTTP_R_BAD_NAME },
	{ "GET / HTTP/1.1\r\n" HOST "abc\r\n\r\n", HTTP_R_BAD_FIELD },
	{ "GET / HTTP/1.1\r\n\r\n", HTTP_R_NO_HOST },
	{ "GET / HTTP/1.1\r\n" HOST HOST "\r\n", HTTP_R_TWO_HOSTS },
	{ "GET / HTTP/1.0\r\n" HOST HOST "\r\n", HTTP_R_TWO_HOSTS },
	{ "GET / HTTP/1.1\r\nHost:\r\n\r\n", HTTP_R_BAD_HOST },
	{ "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", HTTP_R_BAD_HOST },
	{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", HTTP_R_BAD_HOST },
	{ "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", HTTP_R_NONE },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
	    HTTP_R_TWO_LENGTHS },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
	    HTTP_R_LENGTH_AND_TE },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
	    HTTP_R_LENGTH_AND_TE },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", HTTP_R_NONE },
	{ "POST / HTTP/1.1\r\n" HOST "transfer-encoding:CHUNKED\r\n\r\n", HTTP_R_NONE },
	{ "POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
	    HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n",
	    HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
	    HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n",
	    HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n",
	    HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"
	  "\r\n\r\n", HTTP_R_BAD_TRANSFER_ENCODING },
	{ "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", HTTP_R_BAD_NAME },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: +3\r\n\r\n", HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\n", HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\n", HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 3 3\r\n\r\n", HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 3,3\r\n\r\n", HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551619\r\n\r\n",
	    HTTP_R_BAD_LENGTH },
	{ "POST / HTTP/1.1\r\n" HOST "Content-Length:   3  \r\n\r\n", HTTP_R_NONE },
	{ "POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\n\r\n", HTTP_R_NONE },
	{ "POST / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n", HTTP_R_BAD_EXPECT },
};

static void
test_heads_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(heads); i++) {
		size_t n = strlen(heads[i].text);

		for (size_t split = 0; split < n; split++) {
			struct http_head h;
			ssize_t rc = parse(&h, false, heads[i].text, n, split);

			if (h.refusal != heads[i].why)
				print_error("row %zu split %zu: %s\n%s\n", i, split,
				    http_refusal_symbol(h.refusal), heads[i].text);
			assert_int_equal(h.refusal, heads[i].why);
			assert_int_equal(rc, heads[i].why == HTTP_R_NONE ? (ssize_t)n : -1);
		}
	}
}

static void
test_nul_in_value(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: x\r\na: b\0c\r\n\r\n";
	struct http_head h;

	(void)state;
	assert_int_equal(parse(&h, false, text, sizeof(text) - 1, 0), -1);
	assert_int_equal(h.refusal, HTTP_R_BAD_VALUE);
}

/* Who speaks TLS to a plain port sends no line feed and waits: it is refused at its first byte. */
static void
test_not_text(void **state)
{
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	struct http_head h;

	(void)state;
	for (size_t n = 1; n < sizeof hello; n++) {
		assert_int_equal(parse(&h, false, hello, n, 0), -1);
		assert_int_equal(h.refusal, HTTP_R_BAD_REQUEST_LINE);
	}
	assert_int_equal(parse(&h, false, "\r\n\x16", 3, 0), -1);
	assert_int_equal(parse(&h, false, "\r\n", 2, 0), 0);
	assert_int_equal(parse(&h, false, "\r", 1, 0), 0);
	assert_int_equal(parse(&h, false, "", 0, 0), 0);
}

static void
test_fields(void **state)
{
	static const char text[] = "POST /v1/a%2Fb?x=1&y HTTP/1.1\r\nhOST: h\r\nX-Api-Key:  k \r\n"
	    "X-Other: o\r\nx-api-key: second\r\nConnection: foo, Close\r\n"
	    "content-length: 12\r\n\r\n";
	struct http_head h;
	struct tf_span s;

	(void)state;
	assert_int_equal(parse(&h, false, text, sizeof(text) - 1, 0), sizeof(text) - 1);
	assert_int_equal(h.method, HTTP_M_POST);
	assert_true(tf_span_is(http_head_get(&h, HTTP_H_HOST), "h"));
	assert_true(tf_span_is(http_head_get(&h, HTTP_H_X_API_KEY), "k"));
	assert_true(tf_span_is(http_head_find(&h, "x-oTHER"), "o"));
	assert_null(http_head_get(&h, HTTP_H_COOKIE).p);
	assert_null(http_head_find(&h, "nope").p);
	assert_true(tf_span_is(http_head_str(&h, h.path), "/v1/a%2Fb"));
	assert_true(tf_span_is(http_head_str(&h, h.query), "x=1&y"));
	assert_int_equal(h.nfields, 6);
	assert_int_equal(h.length, 12);
	assert_false(h.keep_alive);
	assert_int_equal(parse(&h, false, "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 34, 0), 34);
	s = http_head_str(&h, h.path);
	assert_int_equal(s.n, 0);
	for (int id = HTTP_H_OTHER + 1; id < HTTP_H_N; id++) {
		static const char *const names[] = { "",
#define HDR(sym, name) name,
#include "common/http/hdr.def"
#undef HDR
		};
		char buf[128];
		int n = snprintf(buf, sizeof(buf), "HTTP/1.1 200 OK\r\n%s: 7\r\n\r\n", names[id]);

		if (id == HTTP_H_TRANSFER_ENCODING)
			continue;
		assert_int_equal(parse(&h, true, buf, (size_t)n, 0), n);
		assert_true(tf_span_is(http_head_get(&h, (enum http_hdr)id), "7"));
	}
}

static void
test_keep_alive(void **state)
{
	static const struct { const char *text; bool keep; } rows[] = {
		{ "GET / HTTP/1.1\r\n" HOST "\r\n", true },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true },
		{ "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\n" HOST "Connection: close\r\nConnection: keep-alive\r\n\r\n",
		    false },
		{ "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct http_head h;

		assert_true(parse(&h, false, rows[i].text, strlen(rows[i].text), 0) > 0);
		assert_int_equal(h.keep_alive, rows[i].keep);
	}
}

/* A head of n fields, or with one field of n bytes. */
static enum http_refusal
big_head(size_t nfields, size_t value, size_t target)
{
	struct tf_buf b = { 0 };
	struct http_head h;
	ssize_t rc;

	tf_buf_addstr(&b, "GET /");
	for (size_t i = 0; i < target; i++)
		tf_buf_addc(&b, 'a');
	tf_buf_addstr(&b, " HTTP/1.1\r\nHost: x\r\n");
	for (size_t i = 1; i < nfields; i++)
		tf_buf_addstr(&b, "a: b\r\n");
	tf_buf_addstr(&b, "v: ");
	for (size_t i = 0; i < value; i++)
		tf_buf_addc(&b, 'v');
	tf_buf_addstr(&b, "\r\n\r\n");
	rc = parse(&h, false, b.p, b.n, 0);
	assert_int_equal(rc, h.refusal == HTTP_R_NONE ? (ssize_t)b.n : -1);
	tf_buf_free(&b);
	return (enum http_refusal)h.refusal;
}

static void
test_limits(void **state)
{
	(void)state;
	assert_int_equal(big_head(99, 1, 1), HTTP_R_NONE);
	assert_int_equal(big_head(100, 1, 1), HTTP_R_TOO_MANY_FIELDS);
	assert_int_equal(big_head(1, 16000, 1), HTTP_R_NONE);
	assert_int_equal(big_head(1, 16384, 1), HTTP_R_HEAD_TOO_BIG);
	assert_int_equal(big_head(1, 100000, 1), HTTP_R_HEAD_TOO_BIG);
	assert_int_equal(big_head(1, 1, 8000), HTTP_R_NONE);
	assert_int_equal(big_head(1, 1, 9000), HTTP_R_TARGET_TOO_LONG);
	assert_int_equal(big_head(1, 1, 20000), HTTP_R_HEAD_TOO_BIG);
	assert_int_equal(http_refusal_status(HTTP_R_TOO_MANY_FIELDS), 431);
	assert_int_equal(http_refusal_status(HTTP_R_HEAD_TOO_BIG), 431);
	assert_int_equal(http_refusal_status(HTTP_R_BAD_VERSION), 505);
}

static void
test_responses(void **state)
{
	static const struct { const char *text; int status; enum http_body_mode mode; } rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", 200, HTTP_BODY_LENGTH },
		{ "HTTP/1.1 200\r\n\r\n", 200, HTTP_BODY_CLOSE },
		{ "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", 200, HTTP_BODY_CHUNKED },
		{ "HTTP/1.0 500 Oh no\r\n\r\n", 500, HTTP_BODY_CLOSE },
		{ "HTTP/1.1 204 x\r\nContent-Length: 4\r\n\r\n", 204, HTTP_BODY_NONE },
		{ "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n", 304, HTTP_BODY_NONE },
		{ "HTTP/1.1 100 x\r\n\r\n", 100, HTTP_BODY_NONE },
		{ "HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n", 200, HTTP_BODY_NONE },
		{ "HTTP/1.1 2x0 x\r\n\r\n", 0, 0 }, { "HTTP/1.1 20 x\r\n\r\n", 0, 0 },
		{ "HTTP/1.1 2000 x\r\n\r\n", 0, 0 }, { "HTTP/3.1 200 x\r\n\r\n", 0, 0 },
		{ "ICY 200 OK\r\n\r\n", 0, 0 }, { "\r\n\r\n", 0, 0 },
		{ "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct http_head h;
		struct http_body b;
		ssize_t rc = parse(&h, true, rows[i].text, strlen(rows[i].text), 0);

		assert_int_equal(rc, rows[i].status ? (ssize_t)strlen(rows[i].text) : -1);
		if (rows[i].status == 0)
			continue;
		assert_int_equal(h.status, rows[i].status);
		http_body_init(&b, &h, false);
		assert_int_equal(b.mode, rows[i].mode);
		http_body_init(&b, &h, true);
		assert_int_equal(b.mode, HTTP_BODY_NONE);
	}
}

/* Feeds a chunked body in pieces of `piece` bytes; returns the last step. */
static enum http_body_step
feed(const char *text, size_t n, size_t piece, struct tf_buf *out, size_t *eaten)
{
	struct http_head h = { .chunked = true };
	enum http_body_step step = HTTP_BODY_MORE;
	struct http_body b;

	http_body_init(&b, &h, false);
	*eaten = 0;
	for (size_t at = 0; at < n && step == HTTP_BODY_MORE; at += piece) {
		size_t len = n - at < piece ? n - at : piece, used = 0, got;
		struct tf_span d;

		do {
			step = http_body_next(&b, text + at + used, len - used, &got, &d);
			used += got;
			if (step == HTTP_BODY_DATA)
				tf_buf_append(out, d.p, d.n);
		} while (step == HTTP_BODY_DATA);
		*eaten += used;
	}
	return step;
}

static const struct {
	const char *text, *content;	/* content NULL: bad */
	size_t rest;
} chunked[] = {
	{ "3\r\nabc\r\n0\r\n\r\n", "abc", 0 },
	{ "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\nGET", "abc0123456789", 3 },
	{ "3;x=y\r\nabc\r\n0;z\r\n\r\n", "abc", 0 },
	{ "3;x=\"y z\"\r\nabc\r\n0\r\n\r\n", "abc", 0 },
	{ "0003\r\nabc\r\n000\r\n\r\n", "abc", 0 },
	{ "3\r\nabc\r\n0\r\nA: b\r\nC:d\r\n\r\n", "abc", 0 },
	{ "0x3\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "+3\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "-3\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ " 3\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "3 \r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "3_0\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ ";x\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "3\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "3\r\nabcd\r\n0\r\n\r\n", NULL, 0 },
	{ "3\r\nabc\n0\r\n\r\n", NULL, 0 },
	{ "3\r\nabc0\r\n\r\n", NULL, 0 },
	{ "3;a\nb\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "10000000000000003\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "00000000000000003\r\nabc\r\n0\r\n\r\n", NULL, 0 },
	{ "3\r\nabc\r\n0\r\nA b: c\r\n\r\n", NULL, 0 },
	{ "3\r\nabc\r\n0\r\n folded\r\n\r\n", NULL, 0 },
	{ "3\r\nabc\r\n0\r\nA: b\n\r\n", NULL, 0 },
	{ "3\r\nabc\r\n0\r\n\n", NULL, 0 },
};

static void
test_chunked_at_every_piece(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(chunked); i++) {
		size_t n = strlen(chunked[i].text);

		for (size_t piece = 1; piece <= n; piece++) {
			struct tf_buf out = { 0 };
			size_t eaten;
			enum http_body_step step = feed(chunked[i].text, n, piece, &out, &eaten);

			assert_int_equal(step, chunked[i].content ? HTTP_BODY_END : HTTP_BODY_BAD);
			if (chunked[i].content != NULL) {
				assert_true(tf_span_is(tf_buf_span(&out), chunked[i].content));
				assert_int_equal(eaten, n - chunked[i].rest);
			}
			tf_buf_free(&out);
		}
	}
}

static void
test_chunked_bounds(void **state)
{
	struct tf_buf in = { 0 }, out = { 0 };
	size_t eaten;

	(void)state;
	for (int i = 0; i < 100; i++) {
		tf_buf_addstr(&in, "1;");
		for (int k = 0; k < 400; k++)
			tf_buf_addc(&in, 'x');
		tf_buf_addstr(&in, "\r\na\r\n");
	}
	assert_int_equal(feed(in.p, in.n, in.n, &out, &eaten), HTTP_BODY_BAD);
	tf_buf_reset(&in);
	tf_buf_addstr(&in, "0\r\n");
	for (int i = 0; i < 3000; i++)
		tf_buf_addstr(&in, "a: b\r\n");
	assert_int_equal(feed(in.p, in.n, in.n, &out, &eaten), HTTP_BODY_BAD);
	tf_buf_reset(&in);
	for (int i = 0; i < 50000; i++)
		tf_buf_addstr(&in, "1\r\na\r\n");
	tf_buf_addstr(&in, "0\r\n\r\n");
	tf_buf_reset(&out);
	assert_int_equal(feed(in.p, in.n, in.n, &out, &eaten), HTTP_BODY_END);
	assert_int_equal(out.n, 50000);
	tf_buf_free(&in);
	tf_buf_free(&out);
}

static void
test_length_body(void **state)
{
	struct http_head h = { .has_length = true, .length = 5 };
	struct http_body b;
	struct tf_span d;
	size_t used;

	(void)state;
	http_body_init(&b, &h, false);
	assert_int_equal(http_body_next(&b, "abc", 3, &used, &d), HTTP_BODY_DATA);
	assert_int_equal(http_body_next(&b, NULL, 0, &used, &d), HTTP_BODY_MORE);
	assert_false(http_body_eof(&b));
	assert_int_equal(http_body_next(&b, "deGET", 5, &used, &d), HTTP_BODY_DATA);
	assert_int_equal(used, 2);
	assert_int_equal(http_body_next(&b, "GET", 3, &used, &d), HTTP_BODY_END);
	assert_int_equal(used, 0);
	assert_true(http_body_eof(&b));
}

static void
test_decode(void **state)
{
	char out[16];
	size_t pos = 0;
	struct tf_span a, b;

	(void)state;
	assert_int_equal(http_pct_decode(TF_SPAN("a%2Fb+%e9"), out, sizeof(out)), 5);
	assert_memory_equal(out, "a/b+\xe9", 5);
	assert_int_equal(http_query_decode(TF_SPAN("a+b"), out, sizeof(out)), 3);
	assert_memory_equal(out, "a b", 3);
	assert_int_equal(http_pct_decode(TF_SPAN("%00"), out, sizeof(out)), -1);
	assert_int_equal(http_pct_decode(TF_SPAN("%2"), out, sizeof(out)), -1);
	assert_int_equal(http_pct_decode(TF_SPAN("%zz"), out, sizeof(out)), -1);
	assert_int_equal(http_pct_decode(TF_SPAN("abc"), out, 2), -1);
	assert_true(http_path_next(TF_SPAN("/v1//a%2Fb/"), &pos, &a) && tf_span_is(a, "v1"));
	assert_true(http_path_next(TF_SPAN("/v1//a%2Fb/"), &pos, &a) && tf_span_is(a, ""));
	assert_true(http_path_next(TF_SPAN("/v1//a%2Fb/"), &pos, &a) && tf_span_is(a, "a%2Fb"));
	assert_true(http_path_next(TF_SPAN("/v1//a%2Fb/"), &pos, &a) && tf_span_is(a, ""));
	assert_false(http_path_next(TF_SPAN("/v1//a%2Fb/"), &pos, &a));
	pos = 0;
	assert_true(http_query_next(TF_SPAN("&x=1=2&y&z="), &pos, &a, &b));
	assert_true(tf_span_is(a, "x") && tf_span_is(b, "1=2"));
	assert_true(http_query_next(TF_SPAN("&x=1=2&y&z="), &pos, &a, &b));
	assert_true(tf_span_is(a, "y") && b.p == NULL);
	assert_true(http_query_next(TF_SPAN("&x=1=2&y&z="), &pos, &a, &b));
	assert_true(tf_span_is(a, "z") && b.p != NULL && b.n == 0);
	assert_false(http_query_next(TF_SPAN("&x=1=2&y&z="), &pos, &a, &b));
}

static void
test_outgoing_fields(void **state)
{
	struct http_fields f;

	(void)state;
	http_fields_init(&f);
	http_fields_add(&f, "A", "b");
	http_fields_addf(&f, "N", "%d", 7);
	assert_false(f.bad);
	assert_int_equal(f.len, 12);
	assert_memory_equal(f.buf, "A: b\r\nN: 7\r\n", 12);
	http_fields_init(&f);
	http_fields_add_u64(&f, "a", 0, "");
	http_fields_add_u64(&f, "b", 1234567890, "s");
	http_fields_add_u64(&f, "c", UINT64_MAX, " of a dozen.");
	assert_false(f.bad);
	assert_true(tf_span_is(tf_span(f.buf, f.len), "a: 0\r\nb: 1234567890s\r\nc: 18446744073709551615 of a dozen.\r\n"));
	http_fields_add_u64(&f, "d", 1, " of a dozen..");
	assert_true(f.bad);
	http_fields_add(&f, "x", "a\r\nEvil: 1");
	assert_true(f.bad);
	http_fields_init(&f);
	http_fields_add(&f, "x y", "a");
	assert_true(f.bad);
	http_fields_init(&f);
	for (int i = 0; i < 2000; i++)
		http_fields_add(&f, "abc", "defghi");
	assert_true(f.bad);
	assert_true(f.len <= sizeof(f.buf));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_heads_at_every_split), cmocka_unit_test(test_nul_in_value), cmocka_unit_test(test_not_text),
		cmocka_unit_test(test_fields), cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_responses),
		cmocka_unit_test(test_chunked_at_every_piece),
		cmocka_unit_test(test_chunked_bounds),
		cmocka_unit_test(test_length_body), cmocka_unit_test(test_decode),
		cmocka_unit_test(test_outgoing_fields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
