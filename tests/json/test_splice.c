/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splicing: every subset of entries deleted, with insertions at both ends, leaves valid JSON
 * with exactly the entries that were meant to stay; then the awkward orders and bad spans.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/json/json.h"
#include "tests/json/gen.h"

#define ENTRIES 8

struct entry {
	struct tf_span key, value;
};

static size_t
entries(struct tf_span text, struct entry v[static ENTRIES])
{
	struct js_iter it;
	size_t n = 0;

	for (js_iter_init(&it, text); n < ENTRIES && js_iter_next(&it, &v[n].key, &v[n].value);)
		n++;
	return n;
}

static struct tf_span
trimmed(struct tf_span s)
{
	while (s.n > 0 && memchr(" \t\r\n", s.p[0], 4) != NULL)
		s = tf_span(s.p + 1, s.n - 1);
	while (s.n > 0 && memchr(" \t\r\n", s.p[s.n - 1], 4) != NULL)
		s.n--;
	return s;
}

/* What is done to one container. */
struct plan {
	unsigned drop;        /* bit i: entry i is deleted */
	unsigned change;      /* bit i: its value is replaced */
	unsigned first, last; /* insertions at either end */
};

static size_t
offset(struct tf_span text, const char *p)
{
	return (size_t)(p - text.p);
}

static void
plan_edits(struct js_edits *e, struct tf_span text, size_t n, const struct entry *v, struct plan p)
{
	bool object = js_type(text) == JS_OBJECT;
	struct tf_span ins = object ? TF_SPAN("\"+\":\"new\"") : TF_SPAN("\"new\"");

	/* from the back, so that the splice has to sort */
	while (p.last-- > 0)
		js_edit_insert_last(e, text.n, ins);
	for (size_t i = n; i-- > 0;) {
		size_t start = offset(text, object ? v[i].key.p : v[i].value.p);
		size_t value = offset(text, v[i].value.p), end = value + v[i].value.n;

		if (p.change >> i & 1)
			js_edit_replace(e, value, end, TF_SPAN("\"changed\""));
		if (p.drop >> i & 1)
			js_edit_delete(e, start, end);
	}
	while (p.first-- > 0)
		js_edit_insert_first(e, 0, ins);
}

static void
expect_entry(struct tf_span out, const struct entry *got, struct tf_span key, struct tf_span value)
{
	if (!tf_span_eq(got->key, key) || !tf_span_eq(got->value, value))
		fail_msg("unexpected entry in %.*s", (int)out.n, out.p);
}

static void
check_plan(struct tf_span text, size_t n, const struct entry *v, struct plan p)
{
	struct tf_span ins_key = js_type(text) == JS_OBJECT ? TF_SPAN("\"+\"") : tf_span(NULL, 0);
	struct js_edit ev[3 * ENTRIES];
	struct entry got[ENTRIES];
	struct tf_buf b = { NULL, 0, 0 };
	struct tf_span out;
	struct js_edits e;
	struct js_iter it;
	size_t k = 0, count = 0;

	js_edits_init(&e, ev, TF_LEN(ev));
	plan_edits(&e, text, n, v, p);
	assert_int_equal(js_splice(text, &e, &b), 0);
	out = tf_buf_span(&b);
	if (js_valid(out) != 0)
		fail_msg("drop %x change %x +%u +%u: %.*s became %.*s", p.drop, p.change, p.first,
		    p.last, (int)text.n, text.p, (int)out.n, out.p);
	js_iter_init(&it, out);
	for (unsigned i = 0; i < p.first; i++) {
		assert_true(js_iter_next(&it, &got[0].key, &got[0].value));
		expect_entry(out, got, ins_key, TF_SPAN("\"new\""));
	}
	for (k = 0; k < n; k++) {
		if (p.drop >> k & 1)
			continue;
		assert_true(js_iter_next(&it, &got[0].key, &got[0].value));
		expect_entry(out, got, v[k].key,
		    p.change >> k & 1 ? TF_SPAN("\"changed\"") : v[k].value);
		count++;
	}
	for (unsigned i = 0; i < p.last; i++) {
		assert_true(js_iter_next(&it, &got[0].key, &got[0].value));
		expect_entry(out, got, ins_key, TF_SPAN("\"new\""));
	}
	if (js_iter_next(&it, &got[0].key, &got[0].value))
		fail_msg("more than %zu entries in %.*s", count, (int)out.n, out.p);
	tf_buf_free(&b);
}

static void
test_subsets(void **state)
{
	struct tf_buf b = { NULL, 0, 0 };
	struct gen g = { 77, &b, 0, false };
	unsigned done = 0;

	(void)state;
	while (done < 60) {
		struct entry v[ENTRIES];
		struct tf_span text;
		size_t n;

		tf_buf_reset(&b);
		g.depth = 2;
		gen_value(&g);
		text = trimmed(tf_buf_span(&b));
		n = entries(text, v);
		if (text.n == 0 || (text.p[0] != '{' && text.p[0] != '['))
			continue;
		done++;
		for (unsigned drop = 0; drop < 1u << n; drop++) {
			for (unsigned ends = 0; ends < 9; ends++) {
				unsigned change = gen_below(&g, 1u << n);
				struct plan p = { drop, change, ends % 3, ends / 3 };

				check_plan(text, n, v, p);
			}
		}
	}
	tf_buf_free(&b);
}

struct edit_case {
	const char *text, *want;
	struct {
		char what; /* r d f l */
		const char *at, *end;
	} edit[4];
};

/* Edits named by the text they touch: deletion and replacement of at..end, insertion at at. */
static void
check_case(const struct edit_case *c)
{
	struct tf_span text = tf_cspan(c->text);
	struct js_edit ev[4];
	struct tf_buf b = { NULL, 0, 0 };
	struct js_edits e;

	js_edits_init(&e, ev, TF_LEN(ev));
	for (size_t i = 0; i < 4 && c->edit[i].what; i++) {
		size_t at = offset(text, strstr(c->text, c->edit[i].at));
		size_t end = at + strlen(c->edit[i].at);

		if (c->edit[i].what == 'r')
			js_edit_replace(&e, at, end, tf_cspan(c->edit[i].end));
		else if (c->edit[i].what == 'd')
			js_edit_delete(&e, at, end);
		else if (c->edit[i].what == 'f')
			js_edit_insert_first(&e, at, tf_cspan(c->edit[i].end));
		else
			js_edit_insert_last(&e, end, tf_cspan(c->edit[i].end));
	}
	assert_int_equal(js_splice(text, &e, &b), 0);
	assert_int_equal(tf_buf_append(&b, "", 1), 0);
	assert_string_equal(b.p, c->want);
	tf_buf_free(&b);
}

static void
test_cases(void **state)
{
	static const struct edit_case cases[] = {
		{ "{}", "{}", { { 0 } } },
		{ "{ }", "{\"a\":1 }", { { 'f', "{", "\"a\":1" } } },
		{ "{ }", "{\"b\":2,\"a\":1 }", { { 'l', "{ }", "\"a\":1" },
		{ 'f', "{", "\"b\":2" } } },
		{ "{\"a\":1, \"b\":2}", "{\"a\":1}", { { 'd', "\"b\":2", 0 } } },
		{ "{\"a\":1, \"b\":2}", "{\"b\":2}", { { 'd', "\"a\":1", 0 } } },
		{ "{\"a\":1, \"b\":2}", "{}", { { 'd', "\"a\":1", 0 }, { 'd', "\"b\":2", 0 } } },
		{ "{\"a\":1, \"b\":2 ,\"c\":3}", "{\"c\":3}", { { 'd', "\"b\":2", 0 },
		{ 'd', "\"a\":1", 0 } } },
		{ "{\"a\":1 , \"b\":2 }", "{\"a\":1  }", { { 'd', "\"b\":2", 0 } } },
		/* inside what goes away: no effect; the later of two equals wins */
		{ "{\"a\":{\"x\":1}}", "{}", { { 'r', "1", "2" }, { 'd', "\"a\":{\"x\":1}", 0 } } },
		{ "{\"a\":{\"x\":1}}", "{\"a\":0}", { { 'r', "{\"x\":1}", "0" },
		{ 'd', "\"x\":1", 0 } } },
		{ "{\"a\":{\"x\":1}}", "{\"a\":0}", { { 'r', "{\"x\":1}", "0" },
		{ 'f', "{\"x", "\"y\":1" } } },
		{ "{\"a\":{\"x\":1}}", "{\"a\":0}", { { 'l', "{\"x\":1}", "\"y\":1" },
		{ 'r', "{\"x\":1}", "0" } } },
		{ "{\"a\":1}", "{\"a\":3}", { { 'r', "1", "2" }, { 'r', "1", "3" } } },
		{ "{\"a\":1}", "{}", { { 'd', "\"a\":1", 0 }, { 'd', "\"a\":1", 0 } } },
		/* a deletion wins over a replacement of the same element, in either order */
		{ "[1,2]", "[2]", { { 'd', "1", 0 }, { 'r', "1", "3" } } },
		{ "[1,2]", "[2]", { { 'r', "1", "3" }, { 'd', "1", 0 } } },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++)
		check_case(&cases[i]);
}

/* Two containers edited in one splice: what is known of one must not leak into the other. */
static void
test_siblings(void **state)
{
	const char *text = "{\"a\":{\"x\":1},\"b\":[1 , 2],\"c\":{},\"d\":[ 7 ]}";
	struct tf_span t = tf_cspan(text), v;
	struct js_edit ev[16];
	struct tf_buf b = { NULL, 0, 0 };
	struct js_edits e;

	(void)state;
	js_edits_init(&e, ev, TF_LEN(ev));
	js_edit_delete(&e, offset(t, strstr(text, "\"x\"")), offset(t, strstr(text, "},\"b\"")));
	assert_true(js_at(t, "a", &v));
	js_edit_insert_first(&e, offset(t, v.p), TF_SPAN("\"p\":0"));
	js_edit_insert_last(&e, offset(t, v.p) + v.n, TF_SPAN("\"q\":0"));
	assert_true(js_at(t, "b", &v));
	js_edit_insert_last(&e, offset(t, v.p) + v.n, TF_SPAN("3"));
	assert_true(js_at(t, "b[0]", &v));
	js_edit_delete(&e, offset(t, v.p), offset(t, v.p) + v.n);
	assert_true(js_at(t, "c", &v));
	js_edit_insert_last(&e, offset(t, v.p) + v.n, TF_SPAN("\"r\":0"));
	assert_true(js_at(t, "d[0]", &v));
	js_edit_delete(&e, offset(t, v.p), offset(t, v.p) + v.n);
	js_edit_insert_last(&e, t.n, TF_SPAN("\"e\":0"));
	assert_int_equal(js_splice(t, &e, &b), 0);
	assert_int_equal(tf_buf_append(&b, "", 1), 0);
	assert_string_equal(b.p,
	    "{\"a\":{\"p\":0,\"q\":0},\"b\":[2,3],\"c\":{\"r\":0},\"d\":[  ],\"e\":0}");
	tf_buf_free(&b);
}

static int
refuse_piece(void *arg, struct tf_span piece)
{
	(void)piece;
	return --*(int *)arg == 0 ? TF_E_IO : 0;
}

static void
test_errors(void **state)
{
	static const struct {
		enum js_edit_kind kind;
		size_t start, end, start2, end2;
	} wrong[] = {
		{ JS_REPLACE, 3, 2, 0, 0 }, { JS_REPLACE, 0, 100, 0, 0 },
		{ JS_REPLACE, 1, 6, 5, 9 },
		{ JS_DELETE, 0, 13, 0, 0 }, { JS_DELETE, 5, 6, 0, 0 }, { JS_DELETE, 1, 4, 0, 0 },
		{ JS_INSERT_FIRST, 3, 3, 0, 0 }, { JS_INSERT_LAST, 4, 4, 0, 0 },
		{ JS_INSERT_FIRST, 0, 0, 0, 0 },
	};
	struct tf_span text = TF_SPAN("{\"a\":1,\"b\":2}"), nine = TF_SPAN("9");
	struct js_edit ev[2];
	struct tf_buf b = { NULL, 0, 0 };
	struct js_edits e;
	int pieces = 2;

	(void)state;
	assert_int_equal(tf_buf_append(&b, "kept", 4), 0);
	for (size_t i = 0; i < TF_LEN(wrong); i++) {
		js_edits_init(&e, ev, TF_LEN(ev));
		ev[0] = (struct js_edit){ wrong[i].kind, 0, wrong[i].start, wrong[i].end, nine };
		ev[1] = (struct js_edit){ wrong[i].kind, 1, wrong[i].start2, wrong[i].end2, nine };
		e.n = wrong[i].end2 > 0 ? 2 : 1;
		if (js_splice(text, &e, &b) != TF_E_INVAL)
			fail_msg("case %zu was taken", i);
		assert_int_equal(b.n, 4);
	}
	js_edits_init(&e, ev, TF_LEN(ev));
	for (int i = 0; i < 3; i++)
		js_edit_replace(&e, 5, 6, TF_SPAN("9"));
	assert_int_equal(js_splice(text, &e, &b), TF_E_FULL);
	js_edits_init(&e, ev, TF_LEN(ev));
	js_edit_insert_last(&e, 0, TF_SPAN("9"));
	assert_int_equal(js_splice(text, &e, &b), TF_E_INVAL);
	js_edits_init(&e, ev, TF_LEN(ev));
	js_edit_replace(&e, 5, 6, TF_SPAN("9"));
	assert_int_equal(js_splice_each(text, &e, refuse_piece, &pieces), TF_E_IO);
	assert_int_equal(b.n, 4);
	tf_buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subsets), cmocka_unit_test(test_cases),
		cmocka_unit_test(test_siblings), cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
