/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees: what json-c alone would take or change in silence is refused, and for random
 * documents our reading and json-c's agree value by value.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <math.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "common/json/json.h"
#include "tests/json/gen.h"

static void
test_refuse(void **state)
{
	static const struct {
		const char *text;
		int r;
		enum js_fault fault;
		size_t at;
	} rows[] = {
		{ "{\"a\\u0000b\":1}", TF_E_INVAL, JS_F_KEY_NUL, 1 },
		{ "{\"x\":{\"\\u0000\" : 1}}", TF_E_INVAL, JS_F_KEY_NUL, 6 },
		{ "[9223372036854775808]", TF_E_RANGE, JS_F_NUMBER_RANGE, 1 },
		{ "[1,-9223372036854775809]", TF_E_RANGE, JS_F_NUMBER_RANGE, 3 },
		{ "{\"a\":1e400}", TF_E_RANGE, JS_F_NUMBER_RANGE, 5 },
		{ "\"\xc0\x80\"", TF_E_INVAL, JS_F_UTF8, 1 },
		{ "\"a\nb\"", TF_E_INVAL, JS_F_CONTROL, 2 },
		{ "[1,]", TF_E_INVAL, JS_F_COMMA_LAST, 3 },
		{ "NaN", TF_E_INVAL, JS_F_VALUE, 0 },
		{ "{} {}", TF_E_INVAL, JS_F_TRAILING, 3 },
		{ "", TF_E_INVAL, JS_F_EMPTY, 0 },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct json_object *t;
		enum js_fault fault;
		size_t at;

		assert_int_equal(js_tree_parse(tf_cspan(rows[i].text), &t, &fault, &at), rows[i].r);
		assert_null(t);
		assert_int_equal(fault, rows[i].fault);
		assert_int_equal(at, rows[i].at);
		assert_int_equal(js_tree_parse(tf_cspan(rows[i].text), &t, NULL, NULL), rows[i].r);
	}
}

static void
test_depth(void **state)
{
	char text[2 * JS_DEPTH + 4];
	struct json_object *t;
	enum js_fault fault;

	(void)state;
	for (size_t n = JS_DEPTH; n <= JS_DEPTH + 1; n++) {
		memset(text, '[', n);
		text[n] = '1';
		memset(text + n + 1, ']', n);
		assert_int_equal(js_tree_parse(tf_span(text, 2 * n + 1), &t, &fault, NULL),
		    n == JS_DEPTH ? 0 : TF_E_FULL);
		assert_int_equal(fault, n == JS_DEPTH ? JS_F_NONE : JS_F_DEPTH);
		js_tree_free(&t);
	}
}

static void
test_access(void **state)
{
	struct tf_span doc = TF_SPAN("{\"a\":{\"b\":[1,\"two\",3.0,true,null,{\"c\":-4}]},"
				     "\"s\":\"x\\u0000y\",\"f\":1.5}");
	struct json_object *t;

	(void)state;
	assert_int_equal(js_tree_parse(doc, &t, NULL, NULL), 0);
	assert_int_equal(js_tree_type(t), JS_OBJECT);
	assert_ptr_equal(js_tree_at(t, ""), t);
	assert_int_equal(js_tree_type(js_tree_at(t, "a.b")), JS_ARRAY);
	assert_int_equal(js_tree_type(js_tree_at(t, "a.b[1]")), JS_STRING);
	assert_int_equal(js_tree_type(js_tree_at(t, "a.b[3]")), JS_BOOL);
	assert_int_equal(js_tree_type(js_tree_at(t, "a.b[2]")), JS_NUMBER);
	assert_int_equal(js_tree_type(js_tree_at(t, "a.b[4]")), JS_NULL);
	assert_int_equal(js_tree_i64(t, "a.b[0]", 9), 1);
	assert_int_equal(js_tree_i64(t, "a.b[2]", 9), 3);
	assert_int_equal(js_tree_i64(t, "a.b[5].c", 9), -4);
	assert_int_equal(js_tree_i64(t, "f", 9), 9);
	assert_int_equal(js_tree_i64(t, "a.b[1]", 9), 9);
	assert_int_equal(js_tree_i64(t, "a.b[6]", 9), 9);
	assert_int_equal(js_tree_i64(t, "a.b[x]", 9), 9);
	assert_int_equal(js_tree_i64(t, "a.b[0", 9), 9);
	assert_true(js_tree_double(t, "f", 0) == 1.5);
	assert_true(js_tree_double(t, "a.b[0]", 0) == 1);
	assert_true(js_tree_double(t, "s", 7) == 7);
	assert_true(js_tree_bool(t, "a.b[3]", false));
	assert_true(js_tree_bool(t, "a.b[0]", true));
	assert_true(tf_span_eq(js_tree_str(t, "s", TF_SPAN("")), tf_span("x\0y", 3)));
	assert_true(tf_span_is(js_tree_str(t, "a", TF_SPAN("other")), "other"));
	assert_int_equal(js_tree_count(t, ""), 3);
	assert_int_equal(js_tree_count(t, "a.b"), 6);
	assert_int_equal(js_tree_count(t, "s"), 0);
	js_tree_free(&t);
	assert_null(t);
	js_tree_free(&t);
	/* scalars at the top */
	assert_int_equal(js_tree_parse(TF_SPAN("12"), &t, NULL, NULL), 0);
	assert_int_equal(js_tree_i64(t, "", 0), 12);
	js_tree_free(&t);
	assert_int_equal(js_tree_parse(TF_SPAN(" null "), &t, NULL, NULL), 0);
	assert_null(t);
}

static void agree(struct tf_span text, struct json_object *t);

static void
agree_scalar(struct tf_span text, struct json_object *t)
{
	struct tf_buf plain = { NULL, 0, 0 };
	double d;
	bool b;

	switch (js_type(text)) {
	case JS_STRING:
		assert_int_equal(js_str_append(text, &plain), 0);
		assert_true(tf_span_eq(tf_buf_span(&plain), js_tree_str(t, "", TF_SPAN("none"))));
		tf_buf_free(&plain);
		break;
	case JS_NUMBER:
		assert_int_equal(js_get_double(text, &d), 0);
		assert_true(js_tree_double(t, "", NAN) == d);
		if (json_object_get_type(t) == json_type_int) {
			int64_t i;

			assert_int_equal(js_get_i64(text, &i), 0);
			assert_true(json_object_get_int64(t) == i);
		}
		break;
	case JS_BOOL:
		assert_int_equal(js_get_bool(text, &b), 0);
		assert_int_equal(js_tree_bool(t, "", !b), b);
		break;
	default:
		assert_int_equal(js_type(text), JS_NULL);
		assert_null(t);
		break;
	}
}

static void
agree_object(struct tf_span text, struct json_object *t)
{
	struct tf_buf name = { NULL, 0, 0 };
	struct tf_span key, v, last;
	struct js_iter it;

	for (js_iter_init(&it, text); js_iter_next(&it, &key, &v);) {
		struct json_object *child;

		tf_buf_reset(&name);
		assert_int_equal(js_str_append(key, &name), 0);
		assert_int_equal(tf_buf_append(&name, "", 1), 0);
		assert_true(json_object_object_get_ex(t, name.p, &child));
		/* of several of one name the last counts, for both */
		assert_true(js_member(text, name.p, &last));
		agree(last, child);
	}
	tf_buf_free(&name);
}

static void
agree(struct tf_span text, struct json_object *t)
{
	struct tf_span v;
	struct js_iter it;
	size_t n = 0;

	assert_int_equal(js_type(text), js_tree_type(t));
	if (js_type(text) == JS_OBJECT) {
		agree_object(text, t);
	} else if (js_type(text) == JS_ARRAY) {
		for (js_iter_init(&it, text); js_iter_next(&it, NULL, &v); n++)
			agree(v, json_object_array_get_idx(t, n));
		assert_int_equal(n, js_tree_count(t, ""));
	} else {
		agree_scalar(text, t);
	}
}

static void
test_agree(void **state)
{
	struct tf_buf b = { NULL, 0, 0 };
	struct gen g = { 271828, &b, 0, true };

	(void)state;
	for (unsigned i = 0; i < 1500; i++) {
		struct json_object *t;
		struct tf_span text;

		tf_buf_reset(&b);
		g.depth = 1 + i % 5;
		assert_int_equal(tf_buf_append(&b, "[", 1), 0);
		gen_value(&g);
		assert_int_equal(tf_buf_append(&b, "]", 1), 0);
		text = tf_buf_span(&b);
		if (js_tree_parse(text, &t, NULL, NULL) != 0)
			fail_msg("refused: %.*s", (int)b.n, b.p);
		agree(text, t);
		js_tree_free(&t);
	}
	tf_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refuse), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_access), cmocka_unit_test(test_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
