/* SPDX-License-Identifier: Apache-2.0 */
/* The event reader: line ends, splits at every byte, bounds, raw spans; and the writer. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/http/http.h"

/* Reads text in pieces and writes what it saw as "kind|event|id|data;". */
static void
read_all(const char *text, size_t n, size_t piece, struct tf_buf *out, struct tf_buf *raw)
{
	struct http_sse s;

	http_sse_init(&s, 1000);
	for (size_t at = 0; at < n; at += piece) {
		size_t len = n - at < piece ? n - at : piece, used = 0, got;
		char *copy = malloc(len);
		struct http_sse_event ev;
		enum http_sse_kind k;

		assert_non_null(copy);
		memcpy(copy, text + at, len);
		while ((k = http_sse_next(&s, copy + used, len - used, &got, &ev)) !=
		    HTTP_SSE_MORE) {
			used += got;
			assert_int_not_equal(k, HTTP_SSE_TOO_BIG);
			tf_buf_addspan(raw, ev.raw);
			if (k == HTTP_SSE_PING) {
				tf_buf_addstr(out, "ping;");
				continue;
			}
			tf_buf_addspan(out, ev.event);
			tf_buf_addc(out, '|');
			tf_buf_addspan(out, ev.id);
			tf_buf_addc(out, '|');
			tf_buf_addstr(out, ev.has_data ? "+" : "-");
			tf_buf_addspan(out, ev.data);
			tf_buf_addc(out, ';');
		}
		assert_int_equal(used + got, len);
		free(copy);
	}
	if (http_sse_unfinished(&s) > 0)
		tf_buf_addstr(out, "cut");
	http_sse_fini(&s);
}

static const struct {
	const char *text, *seen;
	bool same_raw;		/* the raw spans join to the text */
} rows[] = {
	{ "data: a\n\n", "||+a;", true },
	{ "data: a\r\n\r\ndata: b\r\n\r\n", "||+a;||+b;", true },
	{ "data: a\r\rdata: b\r\r", "||+a;||+b;", true },
	{ "data: a\r\ndata: b\ndata:c\r\rdata\n\n", "||+a\nb\nc;||+;", true },
	{ "event: e\nid: 7\ndata:  x\n\n", "e|7|+ x;", true },
	{ ": ping\n\ndata: a\n\n", "ping;||+a;", true },
	{ ":\n\n:\r\n\r\n", "ping;ping;", true },
	{ ": c\ndata: a\n\n", "||+a;", true },
	{ "\n\n\ndata: a\n\n\n", "||+a;", false },
	{ "\xEF\xBB\xBF" "data: a\n\ndata: \xEF\xBB\xBF\n\n", "||+a;||+\xEF\xBB\xBF;", false },
	{ "\xEF\xBB\xBF\n\ndata: a\n\n", "||+a;", false },
	{ "retry: 5\n\n", "||-;", true },
	{ "event: x\n\n", "x||-;", true },
	{ "data: \xe2\x82\xac\n\n", "||+\xe2\x82\xac;", true },
	{ "data: a\n\ndata: b\n", "||+a;cut", false },
	{ "data: [DONE]\n\n", "||+[DONE];", true },
};

static void
test_rows_at_every_piece(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		size_t n = strlen(rows[i].text);

		for (size_t piece = 1; piece <= n; piece++) {
			struct tf_buf out = { 0 }, raw = { 0 };

			read_all(rows[i].text, n, piece, &out, &raw);
			if (!tf_span_is(tf_buf_span(&out), rows[i].seen))
				print_error("row %zu piece %zu: %.*s\n", i, piece, (int)out.n,
				    out.p);
			assert_true(tf_span_is(tf_buf_span(&out), rows[i].seen));
			/* a \r at the end of a piece ends an event before its \n is seen */
			if (rows[i].same_raw && strstr(rows[i].text, "\r\n\r\n") == NULL)
				assert_true(tf_span_is(tf_buf_span(&raw), rows[i].text));
			tf_buf_free(&out);
			tf_buf_free(&raw);
		}
	}
}

static void
test_whole_event_is_not_copied(void **state)
{
	static const char text[] = "data: hello\n\n";
	struct http_sse s;
	struct http_sse_event ev;
	size_t used;

	(void)state;
	http_sse_init(&s, 100);
	assert_int_equal(http_sse_next(&s, text, sizeof(text) - 1, &used, &ev), HTTP_SSE_EVENT);
	assert_ptr_equal(ev.raw.p, text);
	assert_ptr_equal(ev.data.p, text + 6);
	assert_null(s.buf);
	http_sse_fini(&s);
}

static void
test_too_big(void **state)
{
	char text[300] = "data: ";
	struct http_sse s;
	struct http_sse_event ev;
	size_t used;

	(void)state;
	memset(text + 6, 'x', sizeof(text) - 6);
	http_sse_init(&s, 400);
	assert_int_equal(http_sse_next(&s, text, sizeof(text), &used, &ev), HTTP_SSE_MORE);
	assert_int_equal(http_sse_unfinished(&s), sizeof(text));
	assert_int_equal(http_sse_next(&s, text, sizeof(text), &used, &ev), HTTP_SSE_TOO_BIG);
	http_sse_fini(&s);
}

static void
test_format(void **state)
{
	char out[64];

	(void)state;
	assert_int_equal(http_sse_format(out, sizeof(out), NULL, TF_SPAN("{}")), 10);
	assert_memory_equal(out, "data: {}\n\n", 10);
	assert_int_equal(http_sse_format(out, sizeof(out), "e", TF_SPAN("a\nb")), 26);
	assert_memory_equal(out, "event: e\ndata: a\ndata: b\n\n", 26);
	assert_int_equal(http_sse_format(out, 9, NULL, TF_SPAN("{}")), -1);
	assert_int_equal(http_sse_format(out, sizeof(out), NULL, (struct tf_span){ NULL, 0 }), 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_at_every_piece),
		cmocka_unit_test(test_whole_event_is_not_copied), cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
