/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: what it writes reads back, commas and escapes, errors that stick. */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <float.h>
#include <math.h>
#include <cmocka.h>

#include "common/json/json.h"
#include "tests/json/gen.h"

static struct tf_buf out;
static struct js_w w;

static void
start(void)
{
	tf_buf_reset(&out);
	js_w_init(&w, &out);
}

static void
finish(const char *want)
{
	assert_int_equal(js_w_done(&w), 0);
	assert_int_equal(js_valid(tf_buf_span(&out)), 0);
	assert_string_equal(tf_buf_cstr(&out), want);
}

static int
teardown(void **state)
{
	(void)state;
	tf_buf_free(&out);
	return 0;
}

static void
test_structure(void **state)
{
	(void)state;
	start();
	js_w_object(&w);
	js_w_kstr(&w, "a", TF_SPAN("x"));
	js_w_key(&w, "b");
	js_w_array(&w);
	js_w_i64(&w, INT64_MIN);
	js_w_u64(&w, UINT64_MAX);
	js_w_object(&w);
	js_w_object_end(&w);
	js_w_array(&w);
	js_w_array_end(&w);
	js_w_raw(&w, TF_SPAN("{\"r\": 1}"));
	js_w_array_end(&w);
	js_w_kbool(&w, "c", true);
	js_w_kbool(&w, "d", false);
	js_w_knull(&w, "e");
	js_w_kcstr(&w, "f", NULL);
	js_w_ki64(&w, "g", -5);
	js_w_ku64(&w, "h", 0);
	js_w_kraw(&w, "i", TF_SPAN("[]"));
	js_w_keyn(&w, TF_SPAN("q\"\n"));
	js_w_cstr(&w, "s");
	js_w_object_end(&w);
	finish("{\"a\":\"x\",\"b\":[-9223372036854775808,18446744073709551615,{},[],{\"r\": 1}],"
	       "\"c\":true,"
	       "\"d\":false,\"e\":null,\"f\":null,\"g\":-5,\"h\":0,\"i\":[],\"q\\\"\\n\":\"s\"}");
	start();
	js_w_null(&w);
	finish("null");
	start();
	js_w_array(&w);
	js_w_compact(&w, TF_SPAN(" { \"a b\\\" \" :\n[ 1 ,\t2 ] , \"c\":\r\n null }\n"));
	js_w_compact(&w, TF_SPAN("7"));
	js_w_array_end(&w);
	finish("[{\"a b\\\" \":[1,2],\"c\":null},7]");
}

static void
test_strings(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "", "\"\"" }, { "a/b", "\"a/b\"" }, { "\"\\", "\"\\\"\\\\\"" },
		{ "\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\"" },
		{ "\x01\x1f\x7f", "\"\\u0001\\u001f\x7f\"" },
		{ "\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
		/* one U+FFFD for each part that could have begun a sequence */
		{ "a\xff" "b", "\"a\xef\xbf\xbd" "b\"" }, { "\xe2\x82", "\"\xef\xbf\xbd\"" },
		{ "\xe2\x82x", "\"\xef\xbf\xbdx\"" }, { "\xf0\x9f\x98", "\"\xef\xbf\xbd\"" },
		{ "\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
		{ "\xc3\xc3\xa9", "\"\xef\xbf\xbd\xc3\xa9\"" },
		{ "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		start();
		js_w_cstr(&w, rows[i].in);
		finish(rows[i].want);
	}
	start();
	js_w_str(&w, tf_span("a\0b", 3));
	finish("\"a\\u0000b\"");
	start();
	js_w_str(&w, tf_span(NULL, 0));
	finish("\"\"");
}

/* Any bytes at all give a valid string; valid UTF-8 comes back as it was. */
static void
test_any_bytes(void **state)
{
	struct tf_buf scratch = { NULL, 0, 0 }, doc = { NULL, 0, 0 };
	struct gen g = { 99, &doc, 0, false };

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		char bytes[80];
		size_t n = gen_below(&g, sizeof bytes);
		struct tf_span text, plain;

		for (size_t k = 0; k < n; k++)
			bytes[k] = (char)(gen_below(&g, 3) ? gen_below(&g, 256) : 'a');
		start();
		js_w_str(&w, tf_span(bytes, n));
		assert_int_equal(js_w_done(&w), 0);
		assert_int_equal(js_valid(tf_buf_span(&out)), 0);
		/* a generated string, undone, written and undone again */
		tf_buf_reset(&doc);
		tf_buf_reset(&scratch);
		gen_string(&g);
		assert_int_equal(js_str_append(tf_buf_span(&doc), &scratch), 0);
		start();
		js_w_str(&w, tf_buf_span(&scratch));
		assert_int_equal(js_w_done(&w), 0);
		text = tf_buf_span(&out);
		assert_true(js_str_eqn(text, tf_buf_span(&scratch)));
		n = scratch.n;
		assert_int_equal(js_str(text, &scratch, &plain), 0);
		assert_true(tf_span_eq(plain, tf_span(scratch.p, n)));
	}
	tf_buf_free(&scratch);
	tf_buf_free(&doc);
}

static void
test_numbers(void **state)
{
	static const struct {
		int64_t nano;
		const char *want;
	} rows[] = {
		{ 0, "0" }, { 1, "0.000000001" }, { 1500000, "0.0015" }, { 1000000000, "1" },
		{ -1, "-0.000000001" },
		{ -2500000000, "-2.5" }, { 10000000000, "10" },
		{ 123456789012345678, "123456789.012345678" },
		{ INT64_MAX, "9223372036.854775807" }, { INT64_MIN, "-9223372036.854775808" },
	};
	static const double doubles[] = {
		0, -0.0, 1, 0.1, -2.5, 1e21, 1e-7, 0.7, 1.0 / 3, DBL_MAX, DBL_MIN,
		4.9406564584124654e-324, 123456789.125,
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		start();
		js_w_nano_number(&w, rows[i].nano);
		finish(rows[i].want);
		start();
		js_w_nano(&w, rows[i].nano);
		assert_int_equal(js_w_done(&w), 0);
		assert_true(js_str_eq(tf_buf_span(&out), rows[i].want));
	}
	for (size_t i = 0; i < TF_LEN(doubles); i++) {
		double back;

		start();
		js_w_double(&w, doubles[i]);
		assert_int_equal(js_w_done(&w), 0);
		assert_int_equal(js_get_double(tf_buf_span(&out), &back), 0);
		assert_true(back == doubles[i]);
	}
	start();
	js_w_double(&w, 0.7);
	finish("0.7");
}

/* Rewrites a document token by token with the iterator and the writer. */
static void
copy_value(struct tf_span text)
{
	struct tf_buf name = { NULL, 0, 0 };
	bool object = js_type(text) == JS_OBJECT;
	struct tf_span key, v, plain;
	struct js_iter it;

	if (!object && js_type(text) != JS_ARRAY) {
		js_w_raw(&w, text);
		return;
	}
	object ? js_w_object(&w) : js_w_array(&w);
	for (js_iter_init(&it, text); js_iter_next(&it, &key, &v);) {
		if (object) {
			tf_buf_reset(&name);
			assert_int_equal(js_str(key, &name, &plain), 0);
			js_w_keyn(&w, plain);
		}
		copy_value(v);
	}
	object ? js_w_object_end(&w) : js_w_array_end(&w);
	tf_buf_free(&name);
}

static void
test_round_trip(void **state)
{
	struct tf_buf doc = { NULL, 0, 0 }, first = { NULL, 0, 0 };
	struct gen g = { 31337, &doc, 0, false };

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		struct js_scan a, b;

		tf_buf_reset(&doc);
		g.depth = 5;
		assert_int_equal(tf_buf_append(&doc, "[", 1), 0);
		gen_value(&g);
		assert_int_equal(tf_buf_append(&doc, "]", 1), 0);
		start();
		copy_value(tf_buf_span(&doc));
		assert_int_equal(js_w_done(&w), 0);
		js_scan_init(&a, NULL, NULL, NULL);
		js_scan_init(&b, NULL, NULL, NULL);
		assert_int_equal(js_scan_end(&a, doc.p, doc.n), 0);
		assert_int_equal(js_scan_end(&b, out.p, out.n), 0);
		assert_int_equal(a.nodes, b.nodes);
		/* a copy of the copy is the same, byte for byte */
		tf_buf_reset(&first);
		assert_int_equal(tf_buf_append(&first, out.p, out.n), 0);
		start();
		copy_value(tf_buf_span(&first));
		assert_true(tf_span_eq(tf_buf_span(&out), tf_buf_span(&first)));
	}
	tf_buf_free(&doc);
	tf_buf_free(&first);
}

static void
test_misuse(void **state)
{
	(void)state;
	start();
	assert_int_equal(js_w_done(&w), TF_E_STATE); /* nothing written */
	start();
	js_w_object(&w);
	assert_int_equal(js_w_done(&w), TF_E_STATE); /* still open */
	start();
	js_w_object(&w);
	js_w_null(&w); /* a value without a name */
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_object(&w);
	js_w_key(&w, "a");
	js_w_key(&w, "b");
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_object(&w);
	js_w_key(&w, "a");
	js_w_object_end(&w);
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_object(&w);
	js_w_array_end(&w);
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_key(&w, "a");
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_null(&w);
	js_w_null(&w); /* two documents */
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_array(&w);
	js_w_raw(&w, TF_SPAN(""));
	assert_int_equal(w.err, TF_E_STATE);
	start();
	js_w_double(&w, INFINITY);
	js_w_null(&w);
	assert_int_equal(js_w_done(&w), TF_E_RANGE); /* the first error stays */
	start();
	for (unsigned i = 0; i < JS_W_DEPTH; i++)
		js_w_array(&w);
	assert_int_equal(w.err, 0);
	js_w_array(&w);
	assert_int_equal(w.err, TF_E_RANGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure), cmocka_unit_test(test_strings),
		cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_misuse),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
