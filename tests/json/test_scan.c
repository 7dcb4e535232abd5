/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner: what it accepts and refuses and where, that cutting a document anywhere changes
 * nothing, what it reports, its limits and its messages. Built twice: with SSE2 and without.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/json/json.h"
#include "tests/json/gen.h"

#define LONG40 "0123456789012345678901234567890123456789"

static const char *const good[] = {
	"{}", "[]", "0", "-0", "\"\"", "null", "true", "false", " [ ] ", "\t\r\n{ }\n", "-1", "10",
	"1.0",
	"0.5", "-0.0", "1e1", "1E+1", "1e-1", "0e0", "123456789012345678901234567890", "1.5E300",
	"1e999",
	"[1]", "[1,2]", "[ 1 , 2 ]", "[[],[[]]]", "{\"\":0}", "{\"a\":{\"b\":[]}}",
	"{\"a\":1,\"a\":2}",
	"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"", "\"\\uABcd\"", "\"\\ud800\\udc00\"",
	"\"\\uDBFF\\uDFFF\"", "\"\x7f\"", "\"\xc2\x80\"", "\"\xdf\xbf\"", "\"\xe0\xa0\x80\"",
	"\"\xed\x9f\xbf\"", "\"\xee\x80\x80\"", "\"\xef\xbf\xbf\"", "\"\xf0\x90\x80\x80\"",
	"\"\xf4\x8f\xbf\xbf\"", "\"abc\\\\\"", "\"" LONG40 "\\u00e9" LONG40 "\xc3\xa9\"",
	"[null,true,false,0,\"\",{},[]]", "\"\xe2\x80\xa8\"", "[\"a\",\n\"b\"\r,\t\"c\" ]",
};

static const struct bad {
	const char *text;
	enum js_fault fault;
	size_t at;
} bad[] = {
	{ "", JS_F_EMPTY, 0 },
	{ " \n ", JS_F_EMPTY, 3 },
	{ "\xef\xbb\xbf{}", JS_F_BOM, 0 },
	{ "{", JS_F_TRUNCATED, 1 },
	{ "[", JS_F_TRUNCATED, 1 },
	{ "[1", JS_F_TRUNCATED, 2 },
	{ "[1,", JS_F_TRUNCATED, 3 },
	{ "{\"a\"", JS_F_TRUNCATED, 4 },
	{ "{\"a\":", JS_F_TRUNCATED, 5 },
	{ "{\"a\":1", JS_F_TRUNCATED, 6 },
	{ "{\"a\":1,", JS_F_TRUNCATED, 7 },
	{ "\"abc", JS_F_TRUNCATED, 4 },
	{ "\"abc\\", JS_F_TRUNCATED, 5 },
	{ "\"\\u12", JS_F_TRUNCATED, 5 },
	{ "\"\\ud800\\u", JS_F_TRUNCATED, 9 },
	{ "\"\xe2\x82", JS_F_TRUNCATED, 3 },
	{ "tru", JS_F_TRUNCATED, 3 },
	{ "-", JS_F_TRUNCATED, 1 },
	{ "1.", JS_F_TRUNCATED, 2 },
	{ "1e", JS_F_TRUNCATED, 2 },
	{ "1e+", JS_F_TRUNCATED, 3 },
	{ "1 2", JS_F_TRAILING, 2 },
	{ "{} x", JS_F_TRAILING, 3 },
	{ "{}}", JS_F_TRAILING, 2 },
	{ "[]\"\"", JS_F_TRAILING, 2 },
	{ "]", JS_F_VALUE, 0 },
	{ "}", JS_F_VALUE, 0 },
	{ ",", JS_F_VALUE, 0 },
	{ "[,1]", JS_F_VALUE, 1 },
	{ "[1,,2]", JS_F_VALUE, 3 },
	{ "[1,]", JS_F_COMMA_LAST, 3 },
	{ "{\"a\":1,}", JS_F_COMMA_LAST, 7 },
	{ "[1 2]", JS_F_COMMA_ARRAY, 3 },
	{ "[1}", JS_F_COMMA_ARRAY, 2 },
	{ "{\"a\":1 \"b\":2}", JS_F_COMMA_OBJECT, 7 },
	{ "{\"a\":1]", JS_F_COMMA_OBJECT, 6 },
	{ "{\"a\" 1}", JS_F_COLON, 5 },
	{ "{\"a\":}", JS_F_VALUE, 5 },
	{ "{\"a\",1}", JS_F_COLON, 4 },
	{ "{a:1}", JS_F_KEY, 1 },
	{ "{1:1}", JS_F_KEY, 1 },
	{ "{'a':1}", JS_F_KEY, 1 },
	{ "{\"a\":1,b}", JS_F_KEY, 7 },
	{ "{,}", JS_F_KEY, 1 },
	{ "{]", JS_F_KEY, 1 },
	{ "nul", JS_F_TRUNCATED, 3 },
	{ "nulL", JS_F_LITERAL, 3 },
	{ "True", JS_F_VALUE, 0 },
	{ "[tru,1]", JS_F_LITERAL, 4 },
	{ "truex", JS_F_TRAILING, 4 },
	{ "NaN", JS_F_VALUE, 0 },
	{ "nan", JS_F_LITERAL, 1 },
	{ "Infinity", JS_F_VALUE, 0 },
	{ "-Infinity", JS_F_NUMBER, 1 },
	{ "+1", JS_F_VALUE, 0 },
	{ ".5", JS_F_VALUE, 0 },
	{ "-.5", JS_F_NUMBER, 1 },
	{ "01", JS_F_ZERO, 0 },
	{ "-012", JS_F_ZERO, 1 },
	{ "00", JS_F_ZERO, 0 },
	{ "1.e1", JS_F_NUMBER, 2 },
	{ "1.x", JS_F_NUMBER, 2 },
	{ "1e1.5", JS_F_TRAILING, 3 },
	{ "1ex", JS_F_NUMBER, 2 },
	{ "1e+-1", JS_F_NUMBER, 3 },
	{ "0x10", JS_F_TRAILING, 1 },
	{ "1_000", JS_F_TRAILING, 1 },
	{ "--1", JS_F_NUMBER, 1 },
	{ "\"a\nb\"", JS_F_CONTROL, 2 },
	{ "\"a\tb\"", JS_F_CONTROL, 2 },
	{ "\"\x1f\"", JS_F_CONTROL, 1 },
	{ "\"" LONG40 "\x01\"", JS_F_CONTROL, 41 },
	{ "{\"\n\":1}", JS_F_CONTROL, 2 },
	{ "\"\\x41\"", JS_F_ESCAPE, 1 },
	{ "\"\\'\"", JS_F_ESCAPE, 1 },
	{ "\"\\U0041\"", JS_F_ESCAPE, 1 },
	{ "\"\\\n\"", JS_F_ESCAPE, 1 },
	{ "\"\\u12G4\"", JS_F_HEX, 1 },
	{ "\"\\u 123\"", JS_F_HEX, 1 },
	{ "\"\\u123\"", JS_F_HEX, 1 },
	{ "\"\\udc00\"", JS_F_SURROGATE, 1 },
	{ "\"\\ud800\"", JS_F_SURROGATE, 1 },
	{ "\"\\ud800x\"", JS_F_SURROGATE, 1 },
	{ "\"\\ud800\\n\"", JS_F_SURROGATE, 1 },
	{ "\"\\ud800\\ud800\"", JS_F_SURROGATE, 1 },
	{ "\"\\ud800\\u0041\"", JS_F_SURROGATE, 1 },
	{ "\"\\ud800\\u00zz\"", JS_F_SURROGATE, 1 },
	{ "\"\x80\"", JS_F_UTF8, 1 },
	{ "\"\xff\"", JS_F_UTF8, 1 },
	{ "\"\xc0\x80\"", JS_F_UTF8, 1 },
	{ "\"\xc1\xbf\"", JS_F_UTF8, 1 },
	{ "\"\xe0\x9f\xbf\"", JS_F_UTF8, 1 },
	{ "\"\xed\xa0\x80\"", JS_F_UTF8, 1 },
	{ "\"\xf0\x8f\xbf\xbf\"", JS_F_UTF8, 1 },
	{ "\"\xf4\x90\x80\x80\"", JS_F_UTF8, 1 },
	{ "\"\xf5\x80\x80\x80\"", JS_F_UTF8, 1 },
	{ "\"\xe2\x82\"", JS_F_UTF8, 1 },
	{ "\"\xc3\xc3\xa9\"", JS_F_UTF8, 1 },
	{ "\"\xf0\x9f\x98x\"", JS_F_UTF8, 1 },
	{ "\"\xc3\xa9\xc3\"", JS_F_UTF8, 3 },
	{ "{\"\xc0\x80\":1}", JS_F_UTF8, 2 },
	{ "[\xc2\xa0]", JS_F_VALUE, 1 },
	{ "[1]\x0b", JS_F_TRAILING, 3 },
	{ "[1,//\n2]", JS_F_VALUE, 3 },
	{ "[1/**/]", JS_F_COMMA_ARRAY, 2 },
	{ "\\u005b]", JS_F_VALUE, 0 },
};

static const struct js_path paths[] = {
	{ "", 1, JS_AT_START },
	{ "model", 2, JS_UNIQUE },
	{ "messages", 3, JS_UNIQUE },
	{ "messages[*].content[*].type", 4, 0 },
	{ "messages[*].content", 5, 0 },
	{ "messages[*]", 6, JS_AT_START },
	{ "usage.*", 7, 0 },
	{ "usage.special", 8, 0 },
	{ "stream_options.include_usage", 9, JS_UNIQUE },
	{ "image.url", 10, JS_NO_TEXT },
	{ "image", 11, 0 },
	{ "image.parts", 12, JS_NO_TEXT },
	{ "grid[*][*]", 13, 0 },
	{ "a.b.c.d.e", 14, 0 },
};

/* What one scan gave, written out so that two scans can be compared. */
struct result {
	int r;
	enum js_fault fault;
	size_t errat, nodes, text, names;
	struct tf_buf hits;
};

static int
write_hit(void *arg, const struct js_hit *h)
{
	return tf_buf_append(arg, h, offsetof(struct js_hit, index));
}

/*
 * Scans with the document cut into slices of step bytes (0: one), each from memory of exactly
 * that size, so that a sanitizer sees a byte read too far.
 */
static void
scan(struct tf_span text, size_t first, size_t step, const struct js_interest *in,
    struct result *out)
{
	struct js_scan s;

	memset(out, 0, sizeof *out);
	js_scan_init(&s, in, write_hit, &out->hits);
	js_scan_limits(&s, 100, 5000);
	for (size_t n = first; out->r == 0 && n < text.n; n += step) {
		char *part = malloc(n + !n);

		assert_non_null(part);
		memcpy(part, text.p, n);
		out->r = js_scan_feed(&s, part, n);
		free(part);
		if (step == 0)
			break;
	}
	if (out->r == 0) {
		char *part = malloc(text.n + !text.n);

		assert_non_null(part);
		memcpy(part, text.p, text.n);
		out->r = js_scan_end(&s, part, text.n);
		free(part);
	}
	out->fault = s.fault;
	out->errat = s.errat;
	out->nodes = s.nodes;
	out->text = s.text;
	out->names = s.names;
	assert_int_equal(s.fault == JS_F_NONE, out->r == 0);
}

static bool
same(const struct result *a, const struct result *b)
{
	return a->r == b->r && a->fault == b->fault && a->errat == b->errat &&
	       (a->r != 0 ||
		   (a->nodes == b->nodes && a->text == b->text && a->names == b->names)) &&
	       tf_span_eq(tf_buf_span(&a->hits), tf_buf_span(&b->hits));
}

static struct js_interest *
compiled(void)
{
	struct js_interest *in;

	assert_int_equal(js_interest_new(paths, TF_LEN(paths), &in), 0);
	return in;
}

/* Whole, byte by byte and cut in two at every place: all the same. */
static void
check_splits(struct tf_span text, const struct js_interest *in, struct result *whole)
{
	scan(text, text.n, 0, in, whole);
	for (size_t cut = 0; cut <= text.n + 1; cut++) {
		struct result r;

		/* the last round feeds byte by byte */
		scan(text, cut <= text.n ? cut : 0, cut <= text.n ? 0 : 1, in, &r);
		if (!same(whole, &r))
			fail_msg("cut at %zu: fault %d at %zu, whole %d at %zu: %.*s", cut, r.fault,
			    r.errat, whole->fault, whole->errat, (int)text.n, text.p);
		tf_buf_free(&r.hits);
	}
}

static void
test_accept(void **state)
{
	struct js_interest *in = compiled();

	(void)state;
	for (size_t i = 0; i < TF_LEN(good); i++) {
		struct result r;

		check_splits(tf_cspan(good[i]), in, &r);
		if (r.r != 0)
			fail_msg("refused at %zu (%s): %s", r.errat, js_fault_text(r.fault),
			    good[i]);
		assert_int_equal(js_valid(tf_cspan(good[i])), 0);
		tf_buf_free(&r.hits);
	}
	js_interest_free(&in);
	assert_null(in);
}

static void
test_refuse(void **state)
{
	struct js_interest *in = compiled();

	(void)state;
	for (size_t i = 0; i < TF_LEN(bad); i++) {
		struct result r;

		check_splits(tf_cspan(bad[i].text), in, &r);
		if (r.r != TF_E_INVAL || r.fault != bad[i].fault || r.errat != bad[i].at)
			fail_msg("%s: got fault %d at %zu, want %d at %zu", bad[i].text, r.fault,
			    r.errat, bad[i].fault, bad[i].at);
		tf_buf_free(&r.hits);
	}
	/* a NUL is no white space and ends nothing */
	assert_int_equal(js_valid(tf_span(NULL, 0)), TF_E_INVAL);
	assert_int_equal(js_valid(tf_span("{}\0", 3)), TF_E_INVAL);
	assert_int_equal(js_valid(tf_span("\"\0\"", 3)), TF_E_INVAL);
	assert_int_equal(js_valid(tf_span("\0", 1)), TF_E_INVAL);
	js_interest_free(&in);
}

/* Every single byte, at every place of a vector register, in a string. */
static void
test_string_bytes(void **state)
{
	(void)state;
	for (unsigned at = 0; at < 40; at++) {
		for (unsigned c = 0; c < 256; c++) {
			char text[64];
			bool want = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';

			memset(text, 'x', sizeof text);
			text[0] = text[48] = '"';
			text[1 + at] = (char)c;
			assert_int_equal(js_valid(tf_span(text, 49)), want ? 0 : TF_E_INVAL);
		}
	}
}

static void
test_random_splits(void **state)
{
	struct js_interest *in = compiled();
	struct tf_buf b = { NULL, 0, 0 };
	struct gen g = { 20240611, &b, 0, false };

	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		struct result r;

		tf_buf_reset(&b);
		g.depth = 1 + i % 6;
		gen_value(&g);
		if (b.n > 600)
			continue;
		check_splits(tf_buf_span(&b), in, &r);
		if (r.r != 0)
			fail_msg("refused at %zu: %.*s", r.errat, (int)b.n, b.p);
		tf_buf_free(&r.hits);
		/* one byte changed: still the same whole and cut */
		b.p[gen_below(&g, (unsigned)b.n)] = (char)gen_below(&g, 256);
		check_splits(tf_buf_span(&b), in, &r);
		tf_buf_free(&r.hits);
	}
	tf_buf_free(&b);
	js_interest_free(&in);
}

struct seen {
	const char *text;
	struct tf_buf out;
};

/* "id[i,j]key=text;" for each hit, "+id;" for a beginning */
static int
log_hit(void *arg, const struct js_hit *h)
{
	struct seen *s = arg;
	struct tf_span text = js_hit_text(s->text, h);
	char line[256];
	int keylen = h->key == JS_NOKEY ? 0 : (int)(h->keyend - h->key);

	if (h->begin)
		snprintf(line, sizeof line, "+%u@%zu;", h->id, h->start);
	else
		snprintf(line, sizeof line, "%u %.*s=%.*s t%zu c%u;", h->id, keylen,
		    keylen ? s->text + h->key : "", (int)text.n, text.p, h->text, h->count);
	return tf_buf_append(&s->out, line, strlen(line));
}

static void
expect_hits(const char *text, const char *want)
{
	struct js_interest *in = compiled();
	struct seen seen = { text, { NULL, 0, 0 } };
	struct js_scan s;

	js_scan_init(&s, in, log_hit, &seen);
	assert_int_equal(js_scan_end(&s, text, strlen(text)), 0);
	assert_int_equal(tf_buf_append(&seen.out, "", 1), 0);
	assert_string_equal(seen.out.p, want);
	tf_buf_free(&seen.out);
	js_interest_free(&in);
}

static void
test_hits(void **state)
{
	(void)state;
	expect_hits("{\"model\":\"m\"}",
	    "+1@0;2 \"model\"=\"m\" t1 c0;1 ={\"model\":\"m\"} t1 c1;");
	/* escapes in names */
	expect_hits("{\"mod\\u0065l\":1}",
	    "+1@0;2 \"mod\\u0065l\"=1 t0 c0;1 ={\"mod\\u0065l\":1} t0 c1;");
	/* only at its own place */
	expect_hits("{\"x\":{\"model\":1},\"y\":[{\"model\":2}],\"modelx\":0,\"mode\":0}",
	    "+1@0;1 ={\"x\":{\"model\":1},\"y\":[{\"model\":2}],\"modelx\":0,\"mode\":0} t0 c4;");
	/* "*" takes what has no name of its own */
	expect_hits("{\"usage\":{\"special\":1,\"o\":{\"q\":\"zz\"}}}",
	    "+1@0;8 \"special\"=1 t0 c0;7 \"o\"={\"q\":\"zz\"} t2 c1;"
	    "1 ={\"usage\":{\"special\":1,\"o\":{\"q\":\"zz\"}}} t2 c1;");
	/* another type than the path expects is no match */
	expect_hits("{\"usage\":[1],\"a\":{\"b\":{\"c\":[{\"d\":{\"e\":1}}]}}}",
	    "+1@0;1 ={\"usage\":[1],\"a\":{\"b\":{\"c\":[{\"d\":{\"e\":1}}]}}} t0 c2;");
	expect_hits("[]", "+1@0;1 =[] t0 c0;");
	expect_hits(" 7 ", "1 =7 t0 c0;");
	/* text that does not count */
	expect_hits("{\"image\":{\"url\":\"12345\",\"parts\":[\"12\",{\"k\":\"3\"}],"
		    "\"alt\":\"ab\"}}",
	    "+1@0;10 \"url\"=\"12345\" t5 c0;12 \"parts\"=[\"12\",{\"k\":\"3\"}] t0 c2;"
	    "11 \"image\"={\"url\":\"12345\",\"parts\":[\"12\",{\"k\":\"3\"}],"
	    "\"alt\":\"ab\"} t2 c3;"
	    "1 ={\"image\":{\"url\":\"12345\",\"parts\":[\"12\",{\"k\":\"3\"}],"
	    "\"alt\":\"ab\"}} t2 c1;");
}

static void
test_indices(void **state)
{
	static const char text[] =
	    "{\"messages\":[{\"content\":\"hi\"},{\"role\":\"user\","
	    "\"content\":[{\"type\":\"text\"},[],"
	    "{\"type\":7}]}],\"grid\":[[1],[],[2,3]]}";
	struct js_interest *in = compiled();
	struct js_hit v[32];
	struct js_hits hits = { v, 0, TF_LEN(v) };
	struct js_scan s;
	unsigned types = 0, cells = 0;

	(void)state;
	js_scan_init(&s, in, js_hits_keep, &hits);
	assert_int_equal(js_scan_end(&s, text, sizeof text - 1), 0);
	for (size_t i = 0; i < hits.n; i++) {
		if (v[i].id == 4) {
			assert_int_equal(v[i].index[0], 1);
			assert_int_equal(v[i].index[1], types++ * 2);
		} else if (v[i].id == 13) {
			assert_int_equal(v[i].key, JS_NOKEY);
			assert_int_equal(v[i].index[0], cells == 0 ? 0 : 2);
			assert_int_equal(v[i].index[1], cells == 2 ? 1 : 0);
			cells++;
		} else if (v[i].id == 5 && v[i].type == JS_ARRAY) {
			assert_int_equal(v[i].count, 3);
			assert_int_equal(v[i].index[0], 1);
			assert_true(js_str_eq(tf_span(text + v[i].key, v[i].keyend - v[i].key),
			    "content"));
		}
	}
	assert_int_equal(types, 2);
	assert_int_equal(cells, 3);
	/* a full array of hits stops the scan */
	hits.n = 0;
	hits.max = 3;
	js_scan_init(&s, in, js_hits_keep, &hits);
	assert_int_equal(js_scan_end(&s, text, sizeof text - 1), TF_E_FULL);
	assert_int_equal(s.fault, JS_F_CALLBACK);
	assert_int_equal(js_scan_feed(&s, text, sizeof text - 1), TF_E_FULL);
	js_interest_free(&in);
}

static void
message(const char *text, int want, const char *expect)
{
	struct js_interest *in = compiled();
	struct tf_buf none = { NULL, 0, 0 };
	struct js_scan s;
	char out[256];

	js_scan_init(&s, in, write_hit, &none);
	assert_int_equal(js_scan_end(&s, text, strlen(text)), want);
	js_scan_message(&s, tf_cspan(text), out, sizeof out);
	assert_string_equal(out, expect);
	for (size_t size = 1; size < 40; size++) {
		memset(out, 'x', sizeof out);
		js_scan_message(&s, tf_cspan(text), out, size);
		assert_true(strlen(out) < size);
		assert_int_equal(out[size], 'x');
	}
	tf_buf_free(&none);
	js_interest_free(&in);
}

static void
test_messages(void **state)
{
	(void)state;
	message("{\"model\":\"a\",\"model\":\"b\"}", TF_E_INVAL,
	    "duplicate field \"model\" at line 1, column 14");
	message("{\"model\":\"a\",\n \"mod\\u0065l\":\"b\"}", TF_E_INVAL,
	    "duplicate field \"mod\\u0065l\" at line 2, column 2");
	message("{\"stream_options\":{\"include_usage\":true},\"stream_options\":{}}", TF_E_INVAL,
	    "duplicate field \"stream_options\" at line 1, column 42");
	message("{\"stream_options\":{\"include_usage\":true,\"include_usage\":true}}", TF_E_INVAL,
	    "duplicate field \"stream_options.include_usage\" at line 1, column 41");
	message("{\"messages\":[{},\n{\"content\":\"a\tb\"}]}", TF_E_INVAL,
	    "invalid JSON at line 2, column 14 (messages[1].content): "
	    "unescaped control character in a string");
	message("{\"a\":[1,2", TF_E_INVAL,
	    "invalid JSON at line 1, column 10 (a[1]): the text ends before the value is complete");
	message("", TF_E_INVAL, "invalid JSON at line 1, column 1: there is no JSON value");
	message("{\"a\":{\"b\":1},\"c\":NaN}", TF_E_INVAL,
	    "invalid JSON at line 1, column 18 (c): expected a value");
	/* what is not UNIQUE may come twice */
	assert_int_equal(js_valid(TF_SPAN("{\"usage\":1,\"usage\":2}")), 0);
}

/* A long or deep path is shortened, and never inside a UTF-8 sequence. */
static void
test_path_cut(void **state)
{
	struct tf_buf b = { NULL, 0, 0 };
	struct js_place place;
	struct js_scan s;

	(void)state;
	for (int i = 0; i < 30; i++)
		assert_int_equal(tf_buf_append(&b, "{\"n\xc3\xa9" LONG40 "\":", 47), 0);
	assert_int_equal(tf_buf_append(&b, "x", 1), 0);
	js_scan_init(&s, NULL, NULL, NULL);
	assert_int_equal(js_scan_end(&s, b.p, b.n), TF_E_INVAL);
	js_scan_place(&s, tf_buf_span(&b), &place);
	assert_int_equal(place.column, b.n);
	assert_true(strlen(place.path) < sizeof place.path);
	assert_string_equal(place.path + strlen(place.path) - 3, "...");
	assert_memory_equal(place.path, "n\xc3\xa9" "0123", 7);
	tf_buf_free(&b);
}

static void
test_depth(void **state)
{
	size_t n = 10000;
	char *text = malloc(2 * n), message_text[200];
	struct js_scan s;

	(void)state;
	assert_non_null(text);
	memset(text, '[', n);
	memset(text + n, ']', n);
	js_scan_init(&s, NULL, NULL, NULL);
	assert_int_equal(js_scan_end(&s, text, 2 * n), TF_E_FULL);
	assert_int_equal(s.fault, JS_F_DEPTH);
	assert_int_equal(s.errat, JS_DEPTH);
	js_scan_message(&s, tf_span(text, 2 * n), message_text, sizeof message_text);
	assert_non_null(strstr(message_text, "nested too deeply"));
	/* exactly the limit is fine, for the default and the largest; one more is not */
	for (size_t limit = JS_DEPTH; limit <= JS_DEPTH_MAX; limit = limit * 8) {
		js_scan_init(&s, NULL, NULL, NULL);
		js_scan_limits(&s, (unsigned)limit, 0);
		assert_int_equal(js_scan_end(&s, text + n - limit, 2 * limit), 0);
		js_scan_init(&s, NULL, NULL, NULL);
		js_scan_limits(&s, (unsigned)limit, 0);
		assert_int_equal(js_scan_end(&s, text + n - limit - 1, 2 * limit + 2), TF_E_FULL);
	}
	free(text);
}

static void
test_many_keys(void **state)
{
	struct js_interest *in = compiled();
	struct tf_buf b = { NULL, 0, 0 }, none = { NULL, 0, 0 };
	struct js_scan s;
	char line[64];

	(void)state;
	for (unsigned i = 0; i < 1000000; i++) {
		snprintf(line, sizeof line, "%c\"k%u\":%u", i ? ',' : '{', i, i);
		assert_int_equal(tf_buf_append(&b, line, strlen(line)), 0);
	}
	assert_int_equal(tf_buf_append(&b, "}", 1), 0);
	js_scan_init(&s, in, write_hit, &none);
	assert_int_equal(js_scan_end(&s, b.p, b.n), TF_E_FULL);
	assert_int_equal(s.fault, JS_F_NODES);
	assert_int_equal(s.nodes, JS_NODES);
	js_scan_init(&s, in, write_hit, &none);
	js_scan_limits(&s, 0, 1000001);
	assert_int_equal(js_scan_end(&s, b.p, b.n), 0);
	assert_int_equal(s.nodes, 1000001);
	tf_buf_free(&b);
	tf_buf_free(&none);
	js_interest_free(&in);
}

static void
test_long_number(void **state)
{
	char text[JS_NUMBER_MAX + 8];
	struct result r;

	(void)state;
	for (size_t n = JS_NUMBER_MAX - 1; n <= JS_NUMBER_MAX + 3; n++) {
		text[0] = '[';
		memset(text + 1, '7', n);
		text[n + 1] = ']';
		scan(tf_span(text, n + 2), 0, 1, NULL, &r);
		assert_int_equal(r.fault, n <= JS_NUMBER_MAX ? JS_F_NONE : JS_F_NUMBER_LONG);
		scan(tf_span(text, n + 2), n + 2, 0, NULL, &r);
		assert_int_equal(r.fault, n <= JS_NUMBER_MAX ? JS_F_NONE : JS_F_NUMBER_LONG);
		assert_int_equal(r.errat, n <= JS_NUMBER_MAX ? 0 : 1);
	}
}

/* Feeding in 1 KB slices costs what feeding at once costs: no token is read again and again. */
static void
test_big_string(void **state)
{
	size_t n = 2000000;
	char *text = malloc(n);
	struct js_scan s;
	uint64_t t0, whole, sliced;

	(void)state;
	assert_non_null(text);
	memset(text, 'A', n);
	text[0] = text[n - 1] = '"';
	t0 = tf_mono_ns();
	assert_int_equal(js_valid(tf_span(text, n)), 0);
	whole = tf_mono_ns() - t0;
	t0 = tf_mono_ns();
	js_scan_init(&s, NULL, NULL, NULL);
	for (size_t k = 1024; k < n; k += 1024) {
		assert_int_equal(js_scan_feed(&s, text, k), 0);
		assert_true(s.off == k && !js_scan_done(&s));
	}
	assert_int_equal(js_scan_end(&s, text, n), 0);
	sliced = tf_mono_ns() - t0;
	assert_true(js_scan_done(&s));
	assert_int_equal(s.text, n - 2);
	print_message("2 MB string: %.3f ms at once, %.3f ms in 1 KB slices\n", (double)whole / 1e6,
	    (double)sliced / 1e6);
	free(text);
}

static void
test_bad_tables(void **state)
{
	static const char *const wrong[] = {
		".a", "a.", "a..b", "a[0]", "a[*", "[*]b", "a*", "*a", "a[*][*][*][*][*]",
		"a.b.c.d.e.f.g.h.i.j.k.l.m",
		"a12345678901234567890123456789012345678901234567890123456789012345",
	};
	struct js_path twice[] = { { "a.b", 1, 0 }, { "a.b", 2, 0 } };
	struct js_path deep = { "a.b[*].c[*].d[*].e[*].f.g.h", 1, 0 };
	struct js_interest *in;

	(void)state;
	for (size_t i = 0; i < TF_LEN(wrong); i++) {
		struct js_path row = { wrong[i], 1, 0 };

		if (js_interest_new(&row, 1, &in) != TF_E_INVAL || in != NULL)
			fail_msg("taken: %s", wrong[i]);
	}
	assert_int_equal(js_interest_new(twice, 2, &in), TF_E_INVAL);
	assert_int_equal(js_interest_new(&deep, 1, &in), 0);
	js_interest_free(&in);
	js_interest_free(&in);
	assert_int_equal(js_interest_new(NULL, 0, &in), 0);
	js_interest_free(&in);
}

/* 128 UNIQUE members of one object are the most; each duplicate is seen. */
static void
test_many_unique(void **state)
{
	static char names[129][8];
	struct js_path rows[129];
	struct js_interest *in;

	(void)state;
	for (unsigned i = 0; i < 129; i++) {
		snprintf(names[i], sizeof names[i], "f%u", i);
		rows[i] = (struct js_path){ names[i], i, JS_UNIQUE };
	}
	assert_int_equal(js_interest_new(rows, 129, &in), TF_E_INVAL);
	assert_int_equal(js_interest_new(rows, 128, &in), 0);
	for (unsigned i = 0; i < 128; i++) {
		struct tf_buf none = { NULL, 0, 0 };
		struct js_scan s;
		char text[64];

		snprintf(text, sizeof text, "{\"f%u\":1,\"f%u\":2,\"f%u\":3}", i, (i + 1) % 128, i);
		js_scan_init(&s, in, write_hit, &none);
		assert_int_equal(js_scan_end(&s, text, strlen(text)), TF_E_INVAL);
		assert_int_equal(s.fault, JS_F_DUPLICATE);
		tf_buf_free(&none);
	}
	js_interest_free(&in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accept), cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_string_bytes), cmocka_unit_test(test_random_splits),
		cmocka_unit_test(test_hits), cmocka_unit_test(test_indices),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_path_cut),
		cmocka_unit_test(test_depth), cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_long_number), cmocka_unit_test(test_big_string),
		cmocka_unit_test(test_bad_tables), cmocka_unit_test(test_many_unique),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
