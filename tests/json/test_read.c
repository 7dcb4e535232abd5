/* SPDX-License-Identifier: Apache-2.0 */
/* Reading single values and walking containers: escapes, ranges, and never outside the span. */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/json/json.h"
#include "tests/json/gen.h"

static void
test_types(void **state)
{
	static const struct {
		const char *text;
		enum js_type type;
	} rows[] = {
		{ "", JS_NONE }, { "x", JS_NONE }, { "{}", JS_OBJECT }, { "[]", JS_ARRAY },
		{ "\"\"", JS_STRING },
		{ "true", JS_BOOL }, { "false", JS_BOOL }, { "null", JS_NULL }, { "-1", JS_NUMBER },
		{ "9", JS_NUMBER },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++)
		assert_int_equal(js_type(tf_cspan(rows[i].text)), rows[i].type);
	assert_string_equal(js_type_name(JS_OBJECT), "an object");
	assert_string_equal(js_type_name((enum js_type)99), "nothing");
	assert_true(js_is_null(TF_SPAN("null")));
	assert_false(js_is_null(TF_SPAN("true")));
}

static void
test_strings(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "\"\"", "" }, { "\"abc\"", "abc" }, { "\"a\\\"b\\\\c\\/d\"", "a\"b\\c/d" },
		{ "\"\\b\\f\\n\\r\\t\"", "\b\f\n\r\t" },
		{ "\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac" },
		{ "\"\\ud83d\\uDE00!\"", "\xf0\x9f\x98\x80!" }, { "\"x\\u007f\"", "x\x7f" },
		{ "\"\xc3\xa9\\n\"", "\xc3\xa9\n" },
		{ "\"\\ud7ff\\ue000\\uffff\"", "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf" },
		{ "\"\\udbff\\udfff\"", "\xf4\x8f\xbf\xbf" },
	};
	struct tf_buf scratch = { NULL, 0, 0 };

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct tf_span text = tf_cspan(rows[i].text), out;
		size_t before = scratch.n;

		assert_int_equal(js_str(text, &scratch, &out), 0);
		assert_true(tf_span_is(out, rows[i].want));
		/* borrowed when nothing is escaped */
		assert_int_equal(out.p == text.p + 1, strchr(rows[i].text, '\\') == NULL);
		assert_int_equal(scratch.n > before, strchr(rows[i].text, '\\') != NULL);
		assert_true(js_str_eq(text, rows[i].want));
		assert_true(js_str_eqn(text, out));
		for (size_t k = 0; k < TF_LEN(rows); k++)
			assert_int_equal(js_str_eq(text, rows[k].want), i == k);
	}
	assert_false(js_str_eq(tf_span(NULL, 0), ""));
	assert_false(js_str_eq(TF_SPAN("\"ab\""), "a"));
	assert_false(js_str_eq(TF_SPAN("\"a\""), "ab"));
	assert_false(js_str_eq(TF_SPAN("\"\\u0061\""), "ab"));
	assert_false(js_str_eq(TF_SPAN("\"\\u0061b\""), "a"));
	assert_true(js_str_eqn(TF_SPAN("\"a\\u0000b\""), tf_span("a\0b", 3)));
	assert_false(js_str_eq(TF_SPAN("\"a\\u0000b\""), "a"));
	assert_false(js_str_eq(TF_SPAN("12"), "12"));
	tf_buf_free(&scratch);
}

/* The readers trust the scanner, but not with their lives. */
static void
test_not_valid(void **state)
{
	static const char *const wrong[] = {
		"", "\"", "x", "\"\\\"", "\"\\u\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u\"",
		"\"\\q\"",
		"\"\\ud800\\u0041\"", "\"\\udc00\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":\"",
		"[1,[2", "{]", "[}", "{1}",
	};
	struct tf_buf scratch = { NULL, 0, 0 };

	(void)state;
	for (size_t i = 0; i < TF_LEN(wrong); i++) {
		size_t n = strlen(wrong[i]);
		char *copy = malloc(n + !n);
		struct tf_span text = tf_span(copy, n), out, key;
		struct js_iter it;
		unsigned steps = 0;

		assert_non_null(copy);
		memcpy(copy, wrong[i], n);
		if (js_str(text, &scratch, &out) == 0)
			assert_true(out.n <= n);
		js_str_eq(text, "some text that is longer");
		for (js_iter_init(&it, text); js_iter_next(&it, &key, &out); steps++)
			assert_true(out.p >= copy && out.p + out.n <= copy + n);
		assert_true(steps <= n);
		free(copy);
	}
	tf_buf_free(&scratch);
}

static void
test_integers(void **state)
{
	static const struct {
		const char *text;
		int ri, ru;
		int64_t i;
		uint64_t u;
	} rows[] = {
		{ "0", 0, 0, 0, 0 }, { "-0", 0, 0, 0, 0 }, { "42", 0, 0, 42, 42 },
		{ "-1", 0, TF_E_RANGE, -1, 0 },
		{ "16.0", 0, 0, 16, 16 }, { "1e3", 0, 0, 1000, 1000 }, { "1.5e1", 0, 0, 15, 15 },
		{ "1500e-2", 0, 0, 15, 15 }, { "0.0e99", 0, 0, 0, 0 },
		{ "0e99999999999", 0, 0, 0, 0 },
		{ "1000000000000000000000e-20", 0, 0, 10, 10 },
		{ "0.00000000000000000000001e23", 0, 0, 1, 1 },
		{ "9223372036854775807", 0, 0, INT64_MAX, INT64_MAX },
		{ "-9223372036854775808", 0, TF_E_RANGE, INT64_MIN, 0 },
		{ "9223372036854775808", TF_E_RANGE, 0, 0, 9223372036854775808ull },
		{ "-9223372036854775809", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "18446744073709551615", TF_E_RANGE, 0, 0, UINT64_MAX },
		{ "18446744073709551616", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "99999999999999999999", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "1e20", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "1e19", TF_E_RANGE, 0, 0, 10000000000000000000ull },
		{ "1e999999999999", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "1e-999999999999", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "1.5", TF_E_RANGE, TF_E_RANGE, 0, 0 }, { "1e-1", TF_E_RANGE, TF_E_RANGE, 0, 0 },
		{ "true", TF_E_INVAL, TF_E_INVAL, 0, 0 }, { "\"1\"", TF_E_INVAL, TF_E_INVAL, 0, 0 },
		{ "", TF_E_INVAL, TF_E_INVAL, 0, 0 }, { "-", TF_E_INVAL, TF_E_INVAL, 0, 0 },
		{ "1.", TF_E_INVAL, TF_E_INVAL, 0, 0 }, { "1e", TF_E_INVAL, TF_E_INVAL, 0, 0 },
		{ "1x", TF_E_INVAL, TF_E_INVAL, 0, 0 }, { "1.2.3", TF_E_INVAL, TF_E_INVAL, 0, 0 },
	};

	(void)state;
	for (size_t k = 0; k < TF_LEN(rows); k++) {
		struct tf_span text = tf_cspan(rows[k].text);
		int64_t i = -77;
		uint64_t u = 77;

		if (js_get_i64(text, &i) != rows[k].ri || js_get_u64(text, &u) != rows[k].ru)
			fail_msg("%s: wrong result", rows[k].text);
		assert_true(i == (rows[k].ri == 0 ? rows[k].i : -77));
		assert_true(u == (rows[k].ru == 0 ? rows[k].u : 77));
	}
}

static void
test_doubles(void **state)
{
	double d = 7;
	bool b;

	(void)state;
	assert_int_equal(js_get_double(tf_span(NULL, 0), &d), TF_E_INVAL);
	assert_int_equal(js_get_double(TF_SPAN("0.1"), &d), 0);
	assert_true(d == 0.1);
	assert_int_equal(js_get_double(TF_SPAN("-2.5e-3"), &d), 0);
	assert_true(d == -0.0025);
	assert_int_equal(js_get_double(TF_SPAN("1e-999"), &d), 0);
	assert_true(d == 0);
	assert_int_equal(js_get_double(TF_SPAN("1.7976931348623157e308"), &d), 0);
	assert_true(d == 1.7976931348623157e308);
	assert_int_equal(js_get_double(TF_SPAN("1e309"), &d), TF_E_RANGE);
	assert_int_equal(js_get_double(TF_SPAN("-1e999"), &d), TF_E_RANGE);
	assert_int_equal(js_get_double(TF_SPAN("null"), &d), TF_E_INVAL);
	assert_true(d == 1.7976931348623157e308);
	assert_int_equal(js_get_bool(TF_SPAN("true"), &b), 0);
	assert_true(b);
	assert_int_equal(js_get_bool(TF_SPAN("false"), &b), 0);
	assert_false(b);
	assert_int_equal(js_get_bool(TF_SPAN("0"), &b), TF_E_INVAL);
	assert_int_equal(js_get_bool(TF_SPAN("\"true\""), &b), TF_E_INVAL);
}

static void
test_paths(void **state)
{
	struct tf_span doc = TF_SPAN(" {\"a\":{\"b\":[10, {\"c\":\"x\"} ,[] ]},"
				     "\"d\":1,\"d\":2,\"\\u0065\":{}}");
	struct tf_span v;

	(void)state;
	doc = tf_span(doc.p + 1, doc.n - 1);
	assert_true(js_at(doc, "", &v) && v.p == doc.p);
	assert_true(js_at(doc, "a.b[0]", &v) && tf_span_is(v, "10"));
	assert_true(js_at(doc, "a.b[1].c", &v) && js_str_eq(v, "x"));
	assert_true(js_at(doc, "a.b[2]", &v) && tf_span_is(v, "[]"));
	assert_true(js_member(doc, "d", &v) && tf_span_is(v, "2")); /* the last one counts */
	assert_true(js_member(doc, "e", &v) && tf_span_is(v, "{}"));
	assert_false(js_at(doc, "a.b[3]", &v));
	assert_false(js_at(doc, "a.b[x]", &v));
	assert_false(js_at(doc, "a.b[1", &v));
	assert_false(js_at(doc, "a.x", &v));
	assert_false(js_at(doc, "d.x", &v));
	assert_false(js_at(doc, "d[0]", &v));
	assert_false(js_member(TF_SPAN("[1]"), "a", &v));
}

/* Walks a whole value; every entry is a valid value of its own. Returns the values met. */
static uint32_t
walk(struct tf_span text)
{
	struct tf_span key, v;
	struct js_iter it;
	uint32_t n = 1, index = 0;

	assert_int_equal(js_valid(text), 0);
	for (js_iter_init(&it, text); js_iter_next(&it, &key, &v); n += walk(v)) {
		assert_int_equal(key.n > 0, text.p[0] == '{');
		if (key.n > 0)
			assert_int_equal(js_valid(key), 0);
		assert_int_equal(it.index, ++index);
	}
	assert_false(js_iter_next(&it, &key, &v));
	return n;
}

static void
test_walk(void **state)
{
	struct tf_buf b = { NULL, 0, 0 };
	struct gen g = { 4711, &b, 0, false };

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		struct js_scan s;
		struct tf_span text;

		tf_buf_reset(&b);
		g.depth = 5;
		gen_value(&g);
		js_scan_init(&s, NULL, NULL, NULL);
		assert_int_equal(js_scan_end(&s, b.p, b.n), 0);
		text = tf_buf_span(&b);
		while (text.n > 0 && memchr(" \t\r\n", *text.p, 4) != NULL)
			text = tf_span(text.p + 1, text.n - 1);
		while (text.n > 0 && memchr(" \t\r\n", text.p[text.n - 1], 4) != NULL)
			text.n--;
		assert_int_equal(walk(text), s.nodes);
	}
	tf_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types), cmocka_unit_test(test_strings),
		cmocka_unit_test(test_not_valid), cmocka_unit_test(test_integers),
		cmocka_unit_test(test_doubles), cmocka_unit_test(test_paths),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
