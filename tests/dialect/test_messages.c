/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages surface. Golden requests: tests/golden/anthropic_messages/CASE.request becomes CASE.sent,
 * or is refused as CASE.fault says. Answers: every upstream of tests/golden/openai_chat is given to a
 * client of this surface, streamed at every cut and whole, with and without thinking; a strict client
 * reads both, and must get the same message. Golden answers: the same directory, CASE.upstream and
 * CASE.client. With GOLDEN_UPDATE=1 in the environment they are written instead.
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
#include "tests/dialect/reader.h"

/* ---- requests ---------------------------------------------------------------------------- */

static void
tell(const struct dl_scan *s, const struct dl_xlate *x, struct tf_buf *out)
{
	tf_buf_printf(out, "dropped=" TF_SPAN_FMT " images=%u files=%u tools=%u\n", TF_SPAN_ARG(dl_xlate_dropped(x)),
	    s->head.images, s->head.files, s->head.tools);
}

/* ---- answers ----------------------------------------------------------------------------- */

#define ASK "{\"model\":\"m\",\"max_tokens\":99,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
static const char *const asks[] = {
	ASK "}",
	ASK ",\"stream\":true}",
	ASK ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}",
	ASK ",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}}",
};

static int
answer(const char *ask, const struct tf_buf *up, size_t cut, struct tf_buf *out)
{
	struct dl_xlate *x;
	struct dl_scan s;
	int err;

	dl_scan_init(&s, DL_ANTHROPIC_MESSAGES, 0, 0);
	assert_int_equal(dl_scan_end(&s, ask, strlen(ask)), 0);
	x = gold_attempt(&s, (struct dl_xlate_conf){ .runtime = DL_OPENAI_CHAT, .quirks = DL_Q_TEMPLATE_THINKING });
	err = gold_answer(x, up, cut, out);
	dl_xlate_free(&x);
	return err;
}

static const char *
stream(const char *ask, struct tf_span got, bool whole, struct tf_buf *made)
{
	(void)ask;
	return reader_stream(got, TF_SPAN("m"), whole, made);
}

static const char *
json(struct tf_span got, struct tf_buf *made)
{
	return reader_json(got, TF_SPAN("m"), made);
}

/* arguments that are no JSON reach a stream as they are */
static const struct gold_clients clients = { answer, stream, json, "broken" };

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
	assert_true(gold_chat_upstreams(12000, one_upstream) >= 60);
}

static bool
one_case(const char *name, const char *suffix)
{
	struct tf_buf up = { 0 }, out = { 0 };

	if (strcmp(suffix, ".request") == 0) {
		gold_request(DL_ANTHROPIC_MESSAGES, name, tell);
		return true;
	}
	if (strcmp(suffix, ".upstream") != 0)
		return false;
	assert_true(gold_read("anthropic_messages", name, ".upstream", &up));
	assert_int_equal(answer(asks[3], &up, up.n, &out), 0);
	gold_check("anthropic_messages", name, ".stream", tf_buf_span(&out));
	tf_buf_reset(&out);
	assert_int_equal(answer(asks[0], &up, up.n, &out), 0);
	gold_check("anthropic_messages", name, ".whole", tf_buf_span(&out));
	gold_both(&clients, name, &up, asks);
	gold_both(&clients, name, &up, asks + 2);
	tf_buf_free(&up);
	tf_buf_free(&out);
	return true;
}

static void
test_golden(void **state)
{
	(void)state;
	assert_true(gold_each("anthropic_messages", one_case) >= 20);
}

static void
test_envelopes(void **state)
{
	struct dl_error e = { .err = TF_E_OVERLOADED };
	struct tf_buf b = { 0 };
	struct dl_scan s;
	static const char body[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

	(void)state;
	assert_true(tf_span_is(dl_ping(DL_ANTHROPIC_MESSAGES), "event: ping\ndata: {\"type\":\"ping\"}\n\n"));
	assert_int_equal(dl_error_event(DL_ANTHROPIC_MESSAGES, &e, &b), 0);
	assert_memory_equal(b.p, "event: error\ndata: {\"type\":\"error\",", 35);
	assert_non_null(strstr(tf_buf_cstr(&b), "\"type\":\"overloaded_error\""));
	tf_buf_reset(&b);
	/* SDKs that use threads look for the second member, too, before they do without */
	e.err = TF_E_THREAD_UNSUPPORTED_REQUEST;
	assert_int_equal(dl_error_json(DL_FAMILY_ANTHROPIC, &e, &b), 0);
	assert_non_null(strstr(tf_buf_cstr(&b), "\"error_code\":\"thread_unsupported_request\",\"unsupported\":null}"));
	tf_buf_free(&b);
	/* counting needs no cap */
	dl_scan_init(&s, DL_ANTHROPIC_MESSAGES, 0, 0);
	assert_int_equal(dl_scan_end(&s, body, sizeof body - 1), TF_E_INVAL);
	assert_string_equal(s.fault.param, "max_tokens");
	dl_scan_init(&s, DL_ANTHROPIC_MESSAGES, 0, 0);
	s.count = true;
	assert_int_equal(dl_scan_end(&s, body, sizeof body - 1), 0);
}

/* What one answer's reasoning is signed with is taken back with that model, as it was, and not otherwise. */
static void
test_signatures(void **state)
{
	static const char up[] = "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"x\","
				 "\"choices\":[{\"index\":0,"
				 "\"message\":{\"role\":\"assistant\",\"content\":\"42\",\"reasoning_content\":\"h\\\"m \\u00e4\"},"
				 "\"finish_reason\":\"stop\"}]}";
	struct dl_xlate_conf conf = { .surface = DL_ANTHROPIC_MESSAGES, .runtime = DL_OPENAI_CHAT, .check = true,
		.asked = TF_SPAN("m"), .model = TF_SPAN("r"), .seal = true };
	struct tf_buf out = { 0 }, body = { 0 }, sent = { 0 };
	struct tf_span thought, signature;
	struct dl_xlate *x;
	struct dl_scan s;

	(void)state;
	memset(conf.seal_key, 3, sizeof conf.seal_key);
	dl_scan_init(&s, DL_ANTHROPIC_MESSAGES, 0, 0);
	assert_int_equal(dl_scan_end(&s, asks[2], strlen(asks[2])), 0);
	x = dl_xlate_new(&conf, &s.head);
	assert_non_null(x);
	dl_xlate_head(x, 200, TF_SPAN("application/json"), 0);
	assert_int_equal(dl_xlate_feed(x, up, sizeof up - 1, &out), 0);
	assert_int_equal(dl_xlate_end(x, &out), 0);
	dl_xlate_free(&x);
	assert_true(js_at(tf_buf_span(&out), "content[0].thinking", &thought));
	assert_true(js_at(tf_buf_span(&out), "content[0].signature", &signature));
	for (int other = 0; other < 4; other++) {
		bool given = other == 0 || other == 3;

		tf_buf_reset(&body);
		tf_buf_reset(&sent);
		/* 1: the text was changed; 2: another model's key; 3: signed by nobody we know */
		tf_buf_printf(&body, "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
		    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":" TF_SPAN_FMT
		    ",\"signature\":" TF_SPAN_FMT "},{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":\"user\",\"content\":\"c\"}]}",
		    TF_SPAN_ARG(other == 1 ? TF_SPAN("\"h\"") : thought),
		    TF_SPAN_ARG(other == 3 ? TF_SPAN("\"c2ln\"") : signature));
		conf.seal_key[0] = other == 2 ? 4 : 3;
		dl_scan_init(&s, DL_ANTHROPIC_MESSAGES, 0, 0);
		assert_int_equal(dl_scan_end(&s, body.p, body.n), 0);
		x = dl_xlate_new(&conf, &s.head);
		assert_int_equal(dl_xlate_request(x, tf_buf_span(&body), &sent), 0);
		assert_int_equal(memmem(sent.p, sent.n, "reasoning_content", 17) != NULL, given);
		dl_xlate_free(&x);
	}
	tf_buf_free(&out);
	tf_buf_free(&body);
	tf_buf_free(&sent);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_upstreams),
		cmocka_unit_test(test_envelopes), cmocka_unit_test(test_signatures) };

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
