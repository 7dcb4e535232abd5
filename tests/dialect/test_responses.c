/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The responses surface. Golden requests: tests/golden/openai_responses/CASE.request becomes CASE.sent, or is
 * refused as CASE.fault says. Golden answers: CASE.upstream becomes CASE.stream and CASE.whole. Every upstream of
 * tests/golden/openai_chat is given to a client of this surface too, streamed at every cut and whole; a strict
 * client reads both, and must get the same response. With GOLDEN_UPDATE=1 in the environment golden files are
 * written instead.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/gold.h"
#include "tests/dialect/group.h"
#include "tests/dialect/responses_reader.h"

/* ---- requests ---------------------------------------------------------------------------- */

static void
tell(const struct dl_scan *s, const struct dl_xlate *x, struct tf_buf *out)
{
	tf_buf_printf(out, "dropped=" TF_SPAN_FMT " messages=%u images=%u files=%u tools=%u needs=%x flags=%x prompts=%u\n",
	    TF_SPAN_ARG(dl_xlate_dropped(x)), s->head.messages, s->head.images, s->head.files, s->head.tools, s->head.needs,
	    s->head.flags, s->nprefix);
}

/* ---- answers ----------------------------------------------------------------------------- */

#define ASK "{\"model\":\"m\",\"input\":\"hi\",\"tools\":["                                                               \
	    "{\"type\":\"function\",\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\"}},"                            \
	    "{\"type\":\"custom\",\"name\":\"apply_patch\"},"                                                                \
	    "{\"type\":\"namespace\",\"name\":\"mcp\",\"tools\":[{\"type\":\"function\",\"name\":\"say\"},"                     \
	    "{\"type\":\"custom\",\"name\":\"note\"}]}]"
static const char *const asks[] = {
	ASK "}",
	ASK ",\"stream\":true}",
	ASK ",\"reasoning\":{\"summary\":\"auto\"},\"include\":[\"message.output_text.logprobs\"]}",
	ASK ",\"reasoning\":{\"summary\":\"auto\"},\"include\":[\"message.output_text.logprobs\"],\"stream\":true}",
};

static int
answer(const char *ask, const struct tf_buf *up, size_t cut, struct tf_buf *out)
{
	struct tf_buf sent = { 0 };
	struct dl_xlate *x;
	struct dl_scan s;
	int err;

	dl_scan_init(&s, DL_OPENAI_RESPONSES, 0, 0);
	assert_int_equal(dl_scan_end(&s, ask, strlen(ask)), 0);
	s.head.flags |= DL_HEAD_KEEP;
	x = gold_attempt(&s, (struct dl_xlate_conf){ .runtime = DL_OPENAI_CHAT, .quirks = DL_Q_TEMPLATE_THINKING });
	assert_int_equal(dl_xlate_request(x, tf_cspan(ask), &sent), 0);
	tf_buf_free(&sent);
	err = gold_answer(x, up, cut, out);
	if (err == 0) {
		const struct dl_facts *f = dl_xlate_facts(x);
		struct tf_span object = tf_span(out->p + f->object, f->object_n), v;

		/* what would be kept is the whole response */
		assert_int_equal(js_valid(object), 0);
		assert_true(js_member(object, "store", &v) && v.p[0] == 't');
		assert_true(s.head.stream || object.n == out->n);
	}
	responses_reader_steady(out);
	dl_xlate_free(&x);
	return err;
}

static const char *
stream(const char *ask, struct tf_span got, bool whole, struct tf_buf *made)
{
	(void)ask;
	return responses_reader_stream(got, TF_SPAN("m"), whole, made);
}

static const char *
json(struct tf_span got, struct tf_buf *made)
{
	return responses_reader_json(got, TF_SPAN("m"), made);
}

static const struct gold_clients clients = { answer, stream, json, NULL };

static bool
one_upstream(const char *name, const struct tf_buf *up)
{
	if (strstr(name, "n2") != NULL)
		return false;
	gold_both(&clients, name, up, asks);
	gold_both(&clients, name, up, asks + 2);
	return true;
}

static void
test_upstreams(void **state)
{
	(void)state;
	assert_true(gold_chat_upstreams(8000, one_upstream) >= 60);
}

static void
one_answer(const char *name)
{
	const char *const *ask = strstr(name, "summary") != NULL ? asks + 2 : asks;
	struct tf_buf up = { 0 }, out = { 0 };

	assert_true(gold_read("openai_responses", name, ".upstream", &up));
	assert_int_equal(answer(ask[1], &up, up.n, &out), 0);
	gold_check("openai_responses", name, ".stream", tf_buf_span(&out));
	tf_buf_reset(&out);
	assert_int_equal(answer(ask[0], &up, up.n, &out), 0);
	gold_check("openai_responses", name, ".whole", tf_buf_span(&out));
	gold_both(&clients, name, &up, ask);
	tf_buf_free(&up);
	tf_buf_free(&out);
}

static bool
one_case(const char *name, const char *suffix)
{
	if (strcmp(suffix, ".request") == 0)
		gold_request(DL_OPENAI_RESPONSES, name, tell);
	else if (strcmp(suffix, ".upstream") == 0)
		one_answer(name);
	else
		return false;
	return true;
}

static void
test_golden(void **state)
{
	(void)state;
	assert_true(gold_each("openai_responses", one_case) >= 70);
}

/* ---- sealed reasoning -------------------------------------------------------------------- */

static struct dl_xlate *
sealing(struct dl_scan *s, struct tf_span body, uint8_t key)
{
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_RESPONSES, .runtime = DL_OPENAI_CHAT, .check = true,
		.seal = key != 0, .asked = TF_SPAN("m"), .model = TF_SPAN("r") };
	struct dl_xlate *x;

	memset(conf.seal_key, key, sizeof conf.seal_key);
	dl_scan_init(s, DL_OPENAI_RESPONSES, 0, 0);
	assert_int_equal(dl_scan_end(s, body.p, body.n), 0);
	x = dl_xlate_new(&conf, &s->head);
	assert_non_null(x);
	return x;
}

/* The reasoning that a runtime gets when a client brings that item back. */
static bool
brought_back(struct tf_span item, uint8_t key, const char *want)
{
	struct tf_buf body = { 0 }, sent = { 0 };
	struct dl_xlate *x;
	struct tf_span v;
	struct dl_scan s;
	bool some;

	assert_int_equal(tf_buf_addstr(&body, "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},"), 0);
	assert_int_equal(tf_buf_addspan(&body, item), 0);
	assert_int_equal(tf_buf_addstr(&body, ",{\"role\":\"assistant\",\"content\":\"b\"}"), 0);
	assert_int_equal(tf_buf_addstr(&body, ",{\"role\":\"user\",\"content\":\"c\"}]}"), 0);
	x = sealing(&s, tf_buf_span(&body), key);
	assert_int_equal(dl_xlate_request(x, tf_buf_span(&body), &sent), 0);
	some = js_at(tf_buf_span(&sent), "messages[1].reasoning_content", &v) && js_str_eq(v, want);
	dl_xlate_free(&x);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	return some;
}

static void
test_sealed(void **state)
{
	static const char ask[] = "{\"model\":\"m\",\"input\":\"x\",\"include\":[\"reasoning.encrypted_content\"],\"stream\":%s,"
				  "\"reasoning\":{\"summary\":\"auto\"}}";
	struct tf_buf up = { 0 }, out = { 0 }, body = { 0 }, sent = { 0 }, item = { 0 }, made = { 0 };
	struct tf_span token;

	(void)state;
	assert_true(gold_read("openai_responses", "a_reasoning", ".upstream", &up));
	for (int stream = 0; stream < 2; stream++) {
		struct dl_xlate *x;
		struct dl_scan s;
		const char *bad;

		tf_buf_reset(&body);
		tf_buf_reset(&out);
		tf_buf_reset(&item);
		assert_int_equal(tf_buf_printf(&body, ask, stream ? "true" : "false"), 0);
		x = sealing(&s, tf_buf_span(&body), 9);
		assert_int_equal(dl_xlate_request(x, tf_buf_span(&body), &sent), 0);
		dl_xlate_head(x, 200, TF_SPAN(""), 0);
		assert_int_equal(dl_xlate_feed(x, up.p, up.n, &out), 0);
		assert_int_equal(dl_xlate_end(x, &out), 0);
		bad = stream ? responses_reader_stream(tf_buf_span(&out), TF_SPAN("m"), true, &made)
			     : responses_reader_json(tf_buf_span(&out), TF_SPAN("m"), &made);
		if (bad != NULL)
			fail_msg("%s\n%.*s", bad, (int)out.n, out.p);
		dl_xlate_free(&x);
		/* the same token wherever the item stands: the last one is in the response */
		token = tf_span(memmem(made.p, made.n, "\"encrypted_content\":\"", 21), 0);
		assert_non_null(token.p);
		token = tf_span(token.p + 21, strcspn(token.p + 21, "\""));
		assert_memory_equal(token.p, "tfr1.", 5);
		assert_null(memmem(token.p, token.n, "think", 5));
		assert_int_equal(tf_buf_addstr(&item, "{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\","), 0);
		assert_int_equal(tf_buf_printf(&item, "\"text\":\"short\"}],\"encrypted_content\":\"" TF_SPAN_FMT "\"}",
				     TF_SPAN_ARG(token)), 0);
		assert_true(brought_back(tf_buf_span(&item), 9, "thinking"));
		/* of another workspace or model, of an installation without a secret, or changed: left out */
		assert_false(brought_back(tf_buf_span(&item), 8, "thinking"));
		assert_false(brought_back(tf_buf_span(&item), 8, "short"));
		assert_false(brought_back(tf_buf_span(&item), 0, "short"));
		((char *)memmem(item.p, item.n, "tfr1.", 5))[8] ^= 1;
		assert_false(brought_back(tf_buf_span(&item), 9, "thinking"));
		tf_buf_reset(&sent);
	}
	/* what is there in full needs no token */
	assert_true(brought_back(TF_SPAN("{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"gAAAA\","
					 "\"content\":[{\"type\":\"reasoning_text\",\"text\":\"full\"}]}"), 9, "full"));
	tf_buf_free(&up);
	tf_buf_free(&out);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	tf_buf_free(&item);
	tf_buf_free(&made);
}

static void
test_envelopes(void **state)
{
	struct dl_error e = { .err = TF_E_OVERLOADED, .model = TF_SPAN("m"), .sequence = 7 };
	struct tf_buf b = { 0 };

	(void)state;
	assert_int_equal(dl_error_event(DL_OPENAI_RESPONSES, &e, &b), 0);
	assert_memory_equal(b.p, "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":7,", 75);
	assert_non_null(strstr(tf_buf_cstr(&b), "\"error\":{\"code\":\"overloaded\","));
	assert_int_equal(dl_sequence(DL_OPENAI_RESPONSES, tf_buf_span(&b)), 8);
	tf_buf_reset(&b);
	/* nothing was given: a response is created before it fails */
	e.sequence = 0;
	assert_int_equal(dl_error_event(DL_OPENAI_RESPONSES, &e, &b), 0);
	assert_memory_equal(b.p, "event: response.created\n", 24);
	assert_int_equal(dl_sequence(DL_OPENAI_RESPONSES, tf_buf_span(&b)), 2);
	assert_int_equal(dl_sequence(DL_OPENAI_RESPONSES, dl_ping(DL_OPENAI_RESPONSES)), 0);
	tf_buf_free(&b);
}

/* ---- the scan ---------------------------------------------------------------------------- */

static bool
at(const char *body, struct dl_range r, const char *want)
{
	return r.end - r.start == strlen(want) && memcmp(body + r.start, want, strlen(want)) == 0;
}

static void
test_spans(void **state)
{
	static const char body[] = "{\"input\":[{\"role\":\"user\",\"content\":\"a\"}, {\"id\":\"msg_1\"},"
				   "{\"type\":\"item_reference\",\"id\":\"rs_2\"}],\"model\":\"m\",\"store\":false,"
				   "\"previous_response_id\":\"resp_9\"}";
	struct dl_scan s;

	(void)state;
	dl_scan_init(&s, DL_OPENAI_RESPONSES, 0, 0);
	assert_true(s.responses.store);
	assert_int_equal(dl_scan_end(&s, body, strlen(body)), 0);
	assert_int_equal(s.responses.nref, 2);
	assert_true(at(body, s.responses.ref[0], "{\"id\":\"msg_1\"}"));
	assert_true(at(body, s.responses.ref[1], "{\"type\":\"item_reference\",\"id\":\"rs_2\"}"));
	assert_true(at(body, s.responses.previous, "\"resp_9\""));
	assert_int_equal(body[s.responses.input.start], '[');
	assert_int_equal(body[s.responses.input.end - 1], ']');
	assert_false(s.responses.store);
	assert_int_equal(s.head.messages, 3);
}

static void
test_many_references(void **state)
{
	struct tf_buf body = { 0 };
	struct dl_scan s;

	(void)state;
	assert_int_equal(tf_buf_addstr(&body, "{\"model\":\"m\",\"input\":["), 0);
	for (int i = 0; i <= DL_REFS_MAX; i++)
		assert_int_equal(tf_buf_printf(&body, "%s{\"id\":\"msg_%d\"}", i > 0 ? "," : "", i), 0);
	assert_int_equal(tf_buf_addstr(&body, "]}"), 0);
	dl_scan_init(&s, DL_OPENAI_RESPONSES, 0, 0);
	assert_int_equal(dl_scan_end(&s, body.p, body.n), TF_E_INVAL);
	assert_string_equal(s.fault.param, "input[256]");
	tf_buf_free(&body);
}

static void
test_absent(void **state)
{
	static const struct {
		const char *body, *param;
	} cases[] = {
		{ "{\"model\":\"m\"}", "input" },
		{ "{\"model\":\"m\",\"input\":[]}", "input" },
		{ "{\"input\":\"hi\"}", "model" },
		{ "{\"model\":\"m\",\"input\":null,\"previous_response_id\":\"resp_1\"}", NULL },
		{ "{\"model\":\"m\",\"input\":\"hi\"}", NULL },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		struct dl_scan s;

		dl_scan_init(&s, DL_OPENAI_RESPONSES, 0, 0);
		assert_int_equal(dl_scan_end(&s, cases[i].body, strlen(cases[i].body)), cases[i].param != NULL ? TF_E_INVAL : 0);
		assert_string_equal(s.fault.param, cases[i].param != NULL ? cases[i].param : "");
	}
}

/* Bodies that arrive where chat completions are expected: whole and byte by byte, which API it is must not depend on it. */
static void
test_mixed(void **state)
{
#define TOOL "{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}"
#define TALK "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
	static const struct {
		const char *body;
		enum dl_dialect surface;
		const char *param; /* of the refusal; NULL: none */
	} cases[] = {
		{ "{\"model\":\"m\",\"input\":\"x\"}", DL_OPENAI_RESPONSES, NULL },
		{ "{\"input\":[{\"role\":\"user\",\"content\":\"x\"}],\"model\":\"m\"}", DL_OPENAI_RESPONSES, NULL },
		/* tools that chat refuses stand in front */
		{ "{\"model\":\"m\",\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"input\":\"x\"}",
		    DL_OPENAI_RESPONSES, NULL },
		{ "{\"model\":\"m\",\"tools\":[" TOOL "]," TALK "}", DL_OPENAI_CHAT, "tools[0]" },
		{ "{\"model\":\"m\",\"tools\":[" TOOL "]}", DL_OPENAI_CHAT, "tools[0]" },
		{ "{\"model\":\"m\",\"input\":\"x\"," TALK "}", DL_OPENAI_CHAT, NULL },
		{ "{\"model\":\"m\"," TALK ",\"input\":\"x\"}", DL_OPENAI_CHAT, NULL },
		{ "{\"model\":\"m\",\"input\":\"x\"," TALK ",\"temperature\":9}", DL_OPENAI_CHAT, "temperature" },
		{ "{\"model\":\"m\",\"temperature\":9," TALK "}", DL_OPENAI_CHAT, "temperature" },
		{ "{\"model\":\"m\",\"input\":[{\"role\":\"odd\",\"content\":\"x\"}]}", DL_OPENAI_RESPONSES, "input[0].role" },
		{ "{\"model\":\"m\"}", DL_OPENAI_CHAT, "messages" },
		{ "{\"model\":\"m\",\"messages\":[]}", DL_OPENAI_CHAT, "messages" },
		{ "{\"model\":\"m\",\"messages\":[{\"role\":\"odd\"}],\"input\":\"x\"}", DL_OPENAI_CHAT, "messages[0].role" },
		{ "{\"model\":\"m\",\"tools\":[" TOOL "],\"input\":\"x\"", DL_OPENAI_RESPONSES, "" },
		{ "{\"model\":\"m\",\"temperature\":9,\"input\":\"x\"}", DL_OPENAI_CHAT, "temperature" },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		const char *body = cases[i].body;
		struct dl_scan s, t;
		int r = 0, want = cases[i].param != NULL ? TF_E_INVAL : 0;

		dl_scan_init(&s, DL_OPENAI_CHAT, 0, 0);
		dl_scan_init(&t, DL_OPENAI_CHAT, 0, 0);
		assert_int_equal(dl_scan_end(&s, body, strlen(body)), want);
		for (size_t n = 1; r == 0 && n < strlen(body); n++)
			r = dl_scan_feed(&t, body, n);
		if (r == 0)
			r = dl_scan_end(&t, body, strlen(body));
		assert_int_equal(r, want);
		assert_string_equal(s.fault.param, want < 0 ? cases[i].param : "");
		assert_string_equal(t.fault.param, s.fault.param);
		assert_string_equal(t.fault.message, s.fault.message);
		assert_int_equal(s.head.surface, cases[i].surface);
		if (want < 0)
			continue;
		assert_memory_equal(&s.head, &t.head, sizeof s.head);
		assert_int_equal(dl_answer_dialect(&s.head), DL_OPENAI_CHAT);
	}
}

static void
test_params_of_needs(void **state)
{
	struct dl_fault f;

	(void)state;
	assert_int_equal(dl_need_check(DL_OPENAI_RESPONSES, DL_NEED_VISION, DL_NEED_CHAT, TF_SPAN("m"), &f), TF_E_INVAL);
	assert_string_equal(f.param, "input");
	assert_int_equal(dl_need_check(DL_OPENAI_RESPONSES, DL_NEED_SCHEMA, DL_NEED_CHAT, TF_SPAN("m"), &f), TF_E_INVAL);
	assert_string_equal(f.param, "text.format");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_upstreams),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_envelopes),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_many_references),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_params_of_needs),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
