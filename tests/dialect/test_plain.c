/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Surfaces without turns: what their scans accept, what the runtime is sent, what its answers become, cut at
 * every byte. The vectors' numbers are held against the C library.
 */
#include "config.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/split.h"
#include "common/dialect/vector.h"
#include "tests/dialect/attempt.h"
#include "tests/dialect/group.h"

/* ---- numbers ----------------------------------------------------------------------------- */

static void
same_number(uint32_t bits)
{
	char text[DL_F32_TEXT + 1], best[32];
	float f, back;
	uint32_t got;
	size_t n;
	int digits = 1, used = 0;

	memcpy(&f, &bits, sizeof f);
	if (!isfinite(f))
		return;
	n = dl_f32_text(f, text);
	assert_in_range(n, 1, DL_F32_TEXT);
	text[n] = '\0';
	assert_int_equal(js_valid(tf_span(text, n)), 0);
	assert_int_equal(dl_f32_parse(tf_span(text, n), &back), 0);
	memcpy(&got, &back, sizeof got);
	if (got != bits)
		fail_msg("%08x became %s and that %08x", bits, text, got);
	/* no shorter text reads back, and of those as short none is nearer */
	for (; digits < 10; digits++) {
		snprintf(best, sizeof best, "%.*e", digits - 1, (double)f);
		if (strtof(best, NULL) == f)
			break;
	}
	for (size_t i = 0; i < n && text[i] != 'e'; i++)
		used += text[i] >= '0' && text[i] <= '9';
	for (size_t i = 0; i < n && (text[i] == '0' || text[i] == '.' || text[i] == '-'); i++)
		used -= text[i] == '0';
	while (used > digits && n > 0 && (text[n - 1] == '0' || text[n - 1] == '.'))
		used -= text[--n] == '0';
	if (f != 0 && used > digits)
		fail_msg("%08x is %s but %s does", bits, text, best);
	if (f != 0 && used == digits && strtod(text, NULL) != strtod(best, NULL))
		fail_msg("%08x is %s but %s is nearer", bits, text, best);
}

static void
test_numbers(void **state)
{
	static const uint32_t edges[] = { 0, 1, 2, 0x7fffff, 0x800000, 0x800001, 0x7f7fffff, 0x3f800000, 0x3f000000,
		0x4b800000, 0x4b7fffff, 0x4e6e6b28, 0x501502f9, 0x00ffffff, 0x01000000, 0x3dcccccd, 0x322bcc77 };
	uint32_t bits = 1;

	(void)state;
	for (size_t i = 0; i < TF_LEN(edges); i++) {
		same_number(edges[i]);
		same_number(edges[i] | 0x80000000u);
	}
	for (unsigned e = 0; e < 255; e++) /* where the neighbour below is nearer */
		same_number((uint32_t)e << 23);
	for (int i = 0; i < 300000; i++) {
		same_number(bits);
		bits = bits * 1664525u + 1013904223u;
	}
}

static void
test_reading(void **state)
{
	static const char *const good[] = { "0", "-0", "-0.0", "1", "0.1", "-0.006929283495992422", "16777217", "3.4028235e38",
		"1e-45", "1e-60", "0.000000000000000000000000000001", "9007199254740993", "123456789012345678901234567890",
		"0.1000000014901161193847656250", "1E2", "5e-324" };
	static const char *const large[] = { "3.5e38", "-1e39", "1e400" };
	float f;

	(void)state;
	for (size_t i = 0; i < TF_LEN(good); i++) {
		float want = (float)strtod(good[i], NULL);

		assert_int_equal(dl_f32_parse(tf_cspan(good[i]), &f), 0);
		if (memcmp(&f, &want, sizeof f) != 0)
			fail_msg("%s reads as %a, not as %a", good[i], (double)f, (double)want);
	}
	for (size_t i = 0; i < TF_LEN(large); i++)
		assert_int_equal(dl_f32_parse(tf_cspan(large[i]), &f), TF_E_RANGE);
}

/* Any bits but those of no number: to a list and back they are the same. */
static void
test_vectors(void **state)
{
	struct tf_buf bytes = { 0 }, text = { 0 }, list = { 0 }, again = { 0 };
	uint32_t bits = 7;

	(void)state;
	for (size_t n = 0; n < 200; n++) {
		tf_buf_reset(&bytes);
		tf_buf_reset(&text);
		tf_buf_reset(&list);
		tf_buf_reset(&again);
		for (size_t i = 0; i < n; i++) {
			uint8_t le[4];

			do
				bits = bits * 1664525u + 1013904223u;
			while ((bits >> 23 & 255) == 255);
			for (int b = 0; b < 4; b++)
				le[b] = (uint8_t)(bits >> (8 * b));
			assert_int_equal(tf_buf_append(&bytes, le, 4), 0);
		}
		assert_int_equal(tf_b64_encode(tf_buf_span(&bytes), &text), 0);
		assert_int_equal(dl_vector_count64(tf_buf_span(&text)), n);
		assert_int_equal(dl_vector_decode(tf_buf_span(&text), &list), 0);
		assert_int_equal(dl_vector_count(tf_buf_span(&list)), n);
		assert_int_equal(dl_vector_encode(tf_buf_span(&list), &again), 0);
		assert_true(tf_span_eq(tf_buf_span(&text), tf_buf_span(&again)));
	}
	assert_int_equal(dl_vector_decode(TF_SPAN("AACAfw=="), &list), TF_E_RANGE); /* infinity */
	assert_int_equal(dl_vector_decode(TF_SPAN("AAAA"), &list), TF_E_INVAL);
	assert_int_equal(dl_vector_decode(TF_SPAN("AA*AAA=="), &list), TF_E_INVAL);
	assert_int_equal(dl_vector_count(TF_SPAN("[ ]")), 0);
	assert_int_equal(dl_vector_count(TF_SPAN("[1, -2.5e-3 ,0]")), 3);
	assert_int_equal(dl_vector_count(TF_SPAN("[[1]]")), -1);
	assert_int_equal(dl_vector_count(TF_SPAN("[null]")), -1);
	tf_buf_free(&bytes);
	tf_buf_free(&text);
	tf_buf_free(&list);
	tf_buf_free(&again);
}

/* ---- entries of lists -------------------------------------------------------------------- */

static const char *const lists[] = { "data", "results", NULL };

static int
note(void *arg, uint32_t index, struct tf_span entry)
{
	struct tf_buf *out = arg;

	return tf_buf_printf(out, "%u=" TF_SPAN_FMT ";", index, TF_SPAN_ARG(entry));
}

/* The same at every cut. Entries and rest as text; "-" where it is refused. */
static void
split_is(const char *text, bool bare, const char *want)
{
	size_t n = strlen(text);

	for (size_t step = 1; step <= n; step++) {
		struct tf_buf out = { 0 };
		struct dl_split s;
		struct tf_span rest;
		int r = 0;

		dl_split_init(&s, lists, bare, 100);
		for (size_t at = 0; r == 0 && at < n; at += step) {
			char *copy = malloc(step);
			size_t k = n - at < step ? n - at : step;

			assert_non_null(copy);
			memcpy(copy, text + at, k);
			r = dl_split_feed(&s, tf_span(copy, k), note, &out);
			free(copy);
		}
		if (r == 0)
			r = dl_split_end(&s, &rest);
		if (r == 0)
			r = tf_buf_addspan(&out, rest);
		else
			tf_buf_reset(&out), assert_int_equal(tf_buf_addc(&out, '-'), 0);
		assert_string_equal(tf_buf_cstr(&out), want);
		dl_split_fini(&s);
		tf_buf_free(&out);
	}
}

static void
test_split(void **state)
{
	(void)state;
	split_is("{\"a\":[{\"data\":[{}]}],\"data\" : [ {\"x\":[1,\"]}\\\"\"]} , {} ],\"b\":1}", false,
	    "0={\"x\":[1,\"]}\\\"\"]};1={};{\"a\":[{\"data\":[{}]}],\"data\" : [],\"b\":1}");
	split_is("{\"d\\u0061ta\":[{\"a\":1}]}", false, "0={\"a\":1};{\"d\\u0061ta\":[]}");
	split_is("{\"data\":[]}", false, "{\"data\":[]}");
	split_is("{\"data\":{\"a\":[{}]}}", false, "{\"data\":{\"a\":[{}]}}");
	split_is("{\"x\":\"data\",\"y\":[{}]}", false, "{\"x\":\"data\",\"y\":[{}]}");
	split_is("{\"data\":[{}],\"results\":[{}]}", false, "0={};{\"data\":[],\"results\":[{}]}");
	split_is(" [{\"a\":1},{}]\n", true, "0={\"a\":1};1={}; []\n");
	split_is("[{\"a\":1}]", false, "[{\"a\":1}]");
	split_is("{\"data\":[{},]}", false, "-");
	split_is("{\"data\":[,{}]}", false, "-");
	split_is("{\"data\":[{}{}]}", false, "-");
	split_is("{\"data\":[1]}", false, "-");
	split_is("{\"data\":[[1]]}", false, "-");
	split_is("{\"data\":[{]]}", false, "-");
	split_is("{\"data\":[{\"a\":1]]}", false, "-");
	split_is("{\"data\":[{}]", false, "-");
	split_is("{\"data\":[{}]}}", false, "-");
	split_is("{\"data\":[{}] \"x\"}", false, "-");
	split_is("", false, "");
	split_is("{\"data\":[{\"a\":\"0123456789012345678901234567890123456789012345678901234567890123456789"
		 "0123456789012345678901234567890123456789\"}]}", false, "-");
}

/* ---- requests ---------------------------------------------------------------------------- */

#define EMB DL_OPENAI_EMBEDDINGS
#define IN(text) "{\"model\":\"m\",\"input\":" text "}"

static void
test_embeddings_scan(void **state)
{
	struct tf_buf many = { 0 };

	(void)state;
	assert_true(accepts(EMB, IN("\"hello\"")));
	assert_int_equal(scan.head.messages, 1);
	assert_int_equal(scan.head.prompt_bytes, 5);
	assert_int_equal(scan.head.needs, DL_NEED_EMBEDDINGS);
	assert_true(dl_dialect_plain(scan.head.surface));
	assert_true(accepts(EMB, IN("[\"a\",\"bcd\"]")));
	assert_int_equal(scan.head.messages, 2);
	assert_int_equal(scan.head.prompt_bytes, 4);
	assert_true(accepts(EMB, IN("[1,2,3,4]")));
	assert_int_equal(scan.head.messages, 1);
	assert_int_equal(dl_prompt_estimate(&scan.head), 4);
	assert_true(accepts(EMB, IN("[[1,2],[3]]")));
	assert_int_equal(scan.head.messages, 2);
	assert_int_equal(dl_prompt_estimate(&scan.head), 3);
	assert_true(accepts(EMB, "{\"input\":\"x\",\"model\":\"m\",\"encoding_format\":\"base64\",\"dimensions\":256,"
				 "\"user\":\"u\",\"input_type\":\"query\",\"truncate_prompt_tokens\":5}"));
	assert_true(accepts(EMB, "{\"input\":\"x\",\"model\":\"m\",\"encoding_format\":null,\"dimensions\":null}"));

	refuses(EMB, "[]", "", "must be an object");
	refuses(EMB, "{\"input\":\"x\"}", "model", "required");
	refuses(EMB, "{\"model\":\"m\"}", "input", "required");
	refuses(EMB, "{\"model\":\"\",\"input\":\"x\"}", "model", "empty");
	refuses(EMB, IN("\"\""), "input", "must not be empty");
	refuses(EMB, IN("[]"), "input", "must not be empty");
	refuses(EMB, IN("[\"a\",\"\"]"), "input[1]", "must not be empty");
	refuses(EMB, IN("[[1],[]]"), "input[1]", "must not be empty");
	refuses(EMB, IN("null"), "input", "must be a string or an array");
	refuses(EMB, IN("7"), "input", "must be a string or an array");
	refuses(EMB, IN("[\"a\",1]"), "input[1]", "must be a string, like");
	refuses(EMB, IN("[1,\"a\"]"), "input[1]", "must be a number, like");
	refuses(EMB, IN("[{}]"), "input[0]", "not an object");
	refuses(EMB, IN("[1.5]"), "input[0]", "whole");
	refuses(EMB, IN("[-1]"), "input[0]", "token id");
	refuses(EMB, IN("[[1,-1]]"), "input[0][1]", "at least 0");
	refuses(EMB, IN("[[1,\"a\"]]"), "input[0][1]", "whole number");
	refuses(EMB, IN("[2147483648]"), "input[0]", "token id");
	refuses(EMB, IN("\"a\",\"encoding_format\":\"binary\""), "encoding_format", "float or base64");
	refuses(EMB, IN("\"a\",\"encoding_format\":1"), "encoding_format", "a string");
	refuses(EMB, IN("\"a\",\"dimensions\":0"), "dimensions", "between 1");
	refuses(EMB, IN("\"a\",\"dimensions\":1.5"), "dimensions", "whole");
	refuses(EMB, IN("\"a\",\"dimensions\":\"8\""), "dimensions", "whole number");
	refuses(EMB, IN("\"a\",\"input\":\"b\""), "input", "duplicate");
	refuses(EMB, IN("\"a\",\"user\":1"), "user", "a string");

	for (int n = 2048; n <= 2049; n++) {
		tf_buf_reset(&many);
		assert_int_equal(tf_buf_addstr(&many, "{\"model\":\"m\",\"input\":["), 0);
		for (int i = 0; i < n; i++)
			assert_int_equal(tf_buf_addstr(&many, i == 0 ? "\"x\"" : ",\"x\""), 0);
		assert_int_equal(tf_buf_addstr(&many, "]}"), 0);
		dl_scan_init(&scan, EMB, 0, 0);
		assert_int_equal(dl_scan_end(&scan, many.p, many.n), n == 2048 ? 0 : TF_E_INVAL);
	}
	assert_string_equal(scan.fault.param, "input");
	tf_buf_free(&many);
}

#define TWO "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}"
#define TWO64 "{\"model\":\"m\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}"
#define ITEM(i, v) "{\"object\":\"embedding\",\"index\":" #i ",\"embedding\":" v "}"
#define LIST(items) "{\"object\":\"list\",\"data\":[" items "],\"model\":\"m\""
#define USED ",\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}"

static void
test_embeddings(void **state)
{
	struct attempt a;

	(void)state;
	begin(&a, EMB, "{\"model\":\"m\",\"priority\":1,\"input\":\"a\",\"task\":\"x\"}");
	assert_string_equal(tf_buf_cstr(&a.sent), "{\"model\":\"local/r\",\"input\":\"a\",\"task\":\"x\"}");
	assert_true(tf_span_is(dl_xlate_dropped(a.x), "priority"));
	assert_string_equal(dl_xlate_path(a.x), "/embeddings");
	assert_false(dl_xlate_streams(a.x));
	end(&a);

	/* order, form and names are mended, the numbers stay as they are */
	becomes(EMB, TWO, "{\"data\":[{\"index\":1,\"embedding\":[0.5, -1e-3]},{\"index\":0,\"embedding\":[1,2]}],"
			  "\"model\":\"r\",\"id\":\"e-1\"" USED,
	    LIST(ITEM(0, "[1,2]") "," ITEM(1, "[0.5, -1e-3]")) ",\"id\":\"e-1\"" USED);
	becomes(EMB, TWO64, "{\"data\":[{\"embedding\":[1,-2.5]},{\"embedding\":[0.1,3]}]" USED,
	    LIST(ITEM(0, "\"AACAPwAAIMA=\"") "," ITEM(1, "\"zczMPQAAQEA=\"")) USED);
	becomes(EMB, TWO64, "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":\"AACAP\\u0077==\"}]" USED,
	    LIST(ITEM(0, "\"AACAPw==\"") "," ITEM(1, "\"AACAPw==\"")) USED);
	becomes(EMB, TWO, "{\"data\":[{\"embedding\":\"AACAPw==\"},{\"embedding\":\"zczMPQAAgL8=\"}]" USED,
	    LIST(ITEM(0, "[1.0]") "," ITEM(1, "[0.1,-1.0]")) USED);
	/* without a count of its own the estimate stands; what is not documented stays */
	becomes(EMB, TWO, "{\"data\":[{\"embedding\":[1],\"x\":{}},{\"embedding\":[2]}],\"usage\":null}",
	    LIST("{\"object\":\"embedding\",\"index\":0,\"embedding\":[1],\"x\":{}}," ITEM(1, "[2]")) ","
	    "\"usage\":{\"prompt_tokens\":1,\"total_tokens\":1}}");
	becomes(EMB, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":2}", "{\"data\":[{\"embedding\":[1,2]}]" USED,
	    LIST(ITEM(0, "[1,2]")) USED);

	fails(EMB, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":3}", "{\"data\":[{\"embedding\":[1,2]}]" USED,
	    TF_E_BAD_REQUEST, "dimensions");
	fails(EMB, TWO, "{\"data\":[{\"embedding\":[1,2]}]" USED, TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[]" USED, TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":0,\"embedding\":[1]}]}",
	    TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":2,\"embedding\":[1]}]}",
	    TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"embedding\":[]},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"embedding\":[NaN]},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"embedding\":[null]},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"embedding\":[[1]]},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO64, "{\"data\":[{\"embedding\":[1e39]},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO64, "{\"data\":[{\"embedding\":\"AA\"},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO64, "{\"data\":[{\"embedding\":\"AA*APw==\"},{\"embedding\":[1]}]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"data\":[{\"embedding\":[1]}", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "<html>", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "", TF_E_UPSTREAM_ERROR, "");
	fails(EMB, TWO, "{\"error\":{\"message\":\"input too long\",\"type\":\"invalid_request_error\",\"param\":\"input\"}}",
	    TF_E_BAD_REQUEST, "input");
}

static void
test_embeddings_facts(void **state)
{
	struct attempt a;

	(void)state;
	begin(&a, EMB, TWO);
	answer(&a, json, "{\"data\":[{\"embedding\":[1]},{\"embedding\":[2]}]" USED, 7);
	assert_int_equal(a.f->usage.prompt, 9);
	assert_int_equal(dl_usage_out(&a.f->usage), 0);
	assert_false(a.f->estimated);
	end(&a);

	/* an error of the runtime, then another attempt on the same object */
	begin(&a, EMB, TWO);
	dl_xlate_head(a.x, 503, tf_cspan(json), 7);
	assert_int_equal(dl_xlate_feed(a.x, "{}", 2, &a.out), 0);
	assert_int_equal(dl_xlate_end(a.x, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_OVERLOADED);
	assert_int_equal(a.f->fault.retry_after_s, 7);
	assert_true(a.f->fault.retryable);
	answer(&a, json, "{\"data\":[{\"embedding\":[1]},{\"embedding\":[2]}]}", 1000);
	assert_int_equal(a.f->fault.err, 0);
	assert_true(a.f->estimated);
	end(&a);

	/* the connection breaks inside the answer */
	begin(&a, EMB, TWO);
	dl_xlate_head(a.x, 200, tf_cspan(json), 0);
	assert_int_equal(dl_xlate_feed(a.x, "{\"data\":[{", 10, &a.out), 0);
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_ERROR, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_UPSTREAM_ERROR);
	assert_true(a.f->fault.retryable);
	assert_int_equal(a.out.n, 0);
	end(&a);
}

/* ---- rerank ------------------------------------------------------------------------------ */

#define RER DL_OPENAI_RERANK
#define ASK(more) "{\"model\":\"m\",\"query\":\"quay\",\"documents\":[\"a\",{\"text\":\"b\",\"id\":7},\"c\\\"d\"]" more "}"

static void
test_rerank_scan(void **state)
{
	(void)state;
	assert_true(accepts(RER, ASK("")));
	assert_int_equal(scan.head.needs, DL_NEED_RERANK);
	assert_int_equal(scan.head.messages, 3);
	assert_int_equal(scan.head.prompt_bytes, 1 + 1 + 4 + 3 * 4);
	assert_true(accepts(RER, ASK(",\"top_n\":2,\"return_documents\":true,\"max_chunks_per_doc\":10")));
	assert_true(accepts(RER, ASK(",\"top_n\":null,\"return_documents\":null")));
	refuses(RER, "{\"query\":\"q\",\"documents\":[\"a\"]}", "model", "required");
	refuses(RER, "{\"model\":\"m\",\"documents\":[\"a\"]}", "query", "required");
	refuses(RER, "{\"model\":\"m\",\"query\":\"\",\"documents\":[\"a\"]}", "query", "empty");
	refuses(RER, "{\"model\":\"m\",\"query\":\"q\"}", "documents", "required");
	refuses(RER, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[]}", "documents", "empty");
	refuses(RER, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",{\"id\":1}]}", "documents[1]", "has no text");
	refuses(RER, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[{\"text\":1}]}", "documents[0].text", "a string");
	refuses(RER, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[1]}", "documents[0]", "a string or an object");
	refuses(RER, ASK(",\"top_n\":0"), "top_n", "at least 1");
	refuses(RER, ASK(",\"return_documents\":1"), "return_documents", "true or false");
}

#define RES(i, s) "{\"index\":" #i ",\"relevance_score\":" #s "}"
#define RANKED(list) "{\"model\":\"m\",\"results\":[" list "]"

static void
test_rerank(void **state)
{
	static const char asked[] = ASK("");
	struct attempt a;

	(void)state;
	begin(&a, RER, ASK(",\"priority\":1,\"return_documents\":true,\"top_n\":2,\"truncate\":\"END\""));
	assert_string_equal(tf_buf_cstr(&a.sent), "{\"model\":\"local/r\",\"query\":\"quay\",\"documents\":[\"a\",\"b\","
	    "\"c\\\"d\"],\"top_n\":2,\"truncate\":\"END\"}");
	assert_true(tf_span_is(dl_xlate_dropped(a.x), "priority"));
	assert_string_equal(dl_xlate_path(a.x), "/rerank");
	end(&a);

	becomes(RER, asked, "{\"id\":\"r-1\",\"results\":[{\"index\":0,\"document\":{\"text\":\"a\"},\"relevance_score\":-1.5},"
			    "{\"index\":2,\"relevance_score\":0.25},{\"index\":1,\"relevance_score\":3e-1}]" USED,
	    "{\"model\":\"m\",\"id\":\"r-1\",\"results\":[" RES(1, 3e-1) "," RES(2, 0.25) "," RES(0, -1.5) "]" USED);
	becomes(RER, asked, "[{\"index\":1,\"score\":0.5},{\"index\":0,\"score\":0.5},{\"index\":2,\"score\":1,\"text\":\"x\"}]",
	    RANKED(RES(2, 1) "," RES(0, 0.5) "," RES(1, 0.5)) ",\"usage\":{\"prompt_tokens\":6,\"total_tokens\":6}}");
	becomes(RER, asked, "{\"data\":[{\"index\":1,\"relevance_score\":1}],\"usage\":{\"total_tokens\":56}}",
	    RANKED(RES(1, 1)) ",\"usage\":{\"prompt_tokens\":56,\"total_tokens\":56}}");
	becomes(RER, ASK(",\"top_n\":1,\"return_documents\":true"),
	    "{\"results\":[" RES(0, 1) "," RES(1, 2) "],\"meta\":{\"tokens\":{\"input_tokens\":9}}}",
	    "{\"model\":\"m\",\"meta\":{\"tokens\":{\"input_tokens\":9}},\"results\":[{\"index\":1,\"relevance_score\":2,"
	    "\"document\":{\"text\":\"b\",\"id\":7}}]" USED);
	becomes(RER, ASK(",\"top_n\":9,\"return_documents\":true"), "{\"results\":[" RES(2, 1) "," RES(0, 0) "]" USED,
	    RANKED("{\"index\":2,\"relevance_score\":1,\"document\":{\"text\":\"c\\\"d\"}},"
		   "{\"index\":0,\"relevance_score\":0,\"document\":{\"text\":\"a\"}}") USED);

	fails(RER, asked, "{\"results\":[" RES(3, 1) "]}", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "{\"results\":[" RES(0, 1) "," RES(0, 1) "]}", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "{\"results\":[{\"index\":0}]}", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "{\"results\":[{\"index\":0,\"score\":null}]}", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "{\"results\":[{\"score\":1}]}", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "{\"results\":[]}", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "[]", TF_E_UPSTREAM_ERROR, "");
	fails(RER, asked, "{\"error\":\"query too long\",\"code\":400}", TF_E_BAD_REQUEST, "");
}

/* Text Embeddings Inference: other names, another place. */
static void
test_rerank_texts(void **state)
{
	struct dl_xlate_conf conf = { .surface = RER, .runtime = DL_OPENAI_CHAT, .asked = TF_SPAN("m"), .model = TF_SPAN("r"),
		.quirks = DL_Q_RERANK_TEXTS };
	struct tf_buf out = { 0 };
	struct dl_xlate *x;

	(void)state;
	assert_true(accepts(RER, ASK("")));
	x = dl_xlate_new(&conf, &scan.head);
	assert_non_null(x);
	assert_int_equal(dl_xlate_request(x, TF_SPAN(ASK("")), &out), 0);
	assert_string_equal(tf_buf_cstr(&out), "{\"query\":\"quay\",\"texts\":[\"a\",\"b\",\"c\\\"d\"]}");
	assert_string_equal(dl_xlate_path(x), "/../rerank");
	dl_xlate_free(&x);
	tf_buf_free(&out);
}

/* A runtime of another API cannot serve these. */
static void
test_other_family(void **state)
{
	struct dl_xlate_conf conf = { .surface = EMB, .runtime = DL_ANTHROPIC_MESSAGES, .asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };
	struct tf_buf out = { 0 };
	struct dl_xlate *x;

	(void)state;
	assert_true(accepts(EMB, TWO));
	x = dl_xlate_new(&conf, &scan.head);
	assert_non_null(x);
	assert_int_equal(dl_xlate_request(x, TF_SPAN(TWO), &out), TF_E_INVAL);
	assert_int_equal(dl_xlate_facts(x)->fault.err, TF_E_BAD_REQUEST);
	assert_string_equal(dl_xlate_facts(x)->fault.param, "model");
	dl_xlate_free(&x);
	tf_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_embeddings_scan),
		cmocka_unit_test(test_embeddings),
		cmocka_unit_test(test_embeddings_facts),
		cmocka_unit_test(test_rerank_scan),
		cmocka_unit_test(test_rerank),
		cmocka_unit_test(test_rerank_texts),
		cmocka_unit_test(test_other_family),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
