/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The completions surface. tests/golden/openai_completions holds
 *   CASE.request   a client's body; CASE.native: what a runtime with this API gets, CASE.chat: one that chats,
 *                  each the body or the refusal
 *   CASE.upstream  what a runtime with this API answers; CASE.stream and CASE.whole: what either client gets
 * Each upstream, and every upstream of tests/golden/openai_chat, is given to a strict client streamed at every
 * cut and whole; both must get the same text. With GOLDEN_UPDATE=1 in the environment results are written.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/completer.h"
#include "tests/dialect/gold.h"
#include "tests/dialect/group.h"

/* ---- requests ---------------------------------------------------------------------------- */

static struct dl_xlate *
attempt(const struct dl_scan *s, uint32_t can, uint64_t max)
{
	return gold_attempt(s, (struct dl_xlate_conf){ .runtime = DL_OPENAI_CHAT, .can = can, .max_output = max });
}

static void
one_request(const char *name, uint32_t can, const char *suffix)
{
	struct tf_buf body = { 0 }, sent = { 0 }, said = { 0 };
	struct dl_xlate *x = NULL;
	struct dl_scan s;
	const struct dl_fault *f = &s.fault;
	int r;

	assert_true(gold_read("openai_completions", name, ".request", &body));
	r = gold_scan(&s, DL_OPENAI_COMPLETIONS, tf_buf_span(&body));
	if (r == 0) {
		x = attempt(&s, can, strstr(name, "enforced") != NULL ? 5 : 0);
		assert_string_equal(dl_xlate_path(x), can ? "/completions" : "/chat/completions");
		r = dl_xlate_request(x, tf_buf_span(&body), &sent);
		f = &dl_xlate_facts(x)->fault;
	}
	if (r == 0) {
		assert_int_equal(js_valid(tf_buf_span(&sent)), 0);
		tf_buf_printf(&said, TF_SPAN_FMT "\ndropped=" TF_SPAN_FMT "\n", TF_SPAN_ARG(tf_buf_span(&sent)),
		    TF_SPAN_ARG(dl_xlate_dropped(x)));
	} else {
		gold_fault(f, &said);
	}
	if (x != NULL)
		tf_buf_printf(&said, "answers=%u cap=%llu prompt_bytes=%llu needs=%x\n", s.head.n,
		    (unsigned long long)s.head.max_output, (unsigned long long)s.head.prompt_bytes, s.head.needs);
	gold_check("openai_completions", name, suffix, tf_buf_span(&said));
	dl_xlate_free(&x);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	tf_buf_free(&said);
}

/* ---- answers ----------------------------------------------------------------------------- */

static const char *const asks[] = {
	"{\"model\":\"m\",\"prompt\":\"hi\"}",
	"{\"model\":\"m\",\"prompt\":\"hi\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
	"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"n\":2,\"echo\":true}",
	"{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"n\":2,\"echo\":true,\"stream\":true}",
};

static int
answer_of(const char *ask, uint32_t can, const struct tf_buf *up, size_t cut, struct tf_buf *out)
{
	struct dl_xlate *x;
	struct dl_scan s;
	int err;

	dl_scan_init(&s, DL_OPENAI_COMPLETIONS, 0, 0);
	assert_int_equal(dl_scan_end(&s, ask, strlen(ask)), 0);
	x = attempt(&s, can, 0);
	err = gold_answer(x, up, cut, out);
	dl_xlate_free(&x);
	return err;
}

static int
native(const char *ask, const struct tf_buf *up, size_t cut, struct tf_buf *out)
{
	return answer_of(ask, DL_NEED_COMPLETIONS, up, cut, out);
}

static int
chatted(const char *ask, const struct tf_buf *up, size_t cut, struct tf_buf *out)
{
	return answer_of(ask, 0, up, cut, out);
}

static const char *
stream(const char *ask, struct tf_span got, bool whole, struct tf_buf *made)
{
	return completer_stream(got, TF_SPAN("m"), strstr(ask, "usage") != NULL, whole, made);
}

static const char *
json(struct tf_span got, struct tf_buf *made)
{
	return completer_json(got, TF_SPAN("m"), made);
}

static const struct gold_clients of_native = { native, stream, json, NULL }, of_chat = { chatted, stream, json, NULL };

static void
golden_upstream(const char *name)
{
	const char *const *ask = strstr(name, "several") != NULL ? &asks[2] : asks;
	struct tf_buf up = { 0 }, out = { 0 };

	assert_true(gold_read("openai_completions", name, ".upstream", &up));
	native(ask[1], &up, up.n, &out);
	gold_check("openai_completions", name, ".stream", tf_buf_span(&out));
	tf_buf_reset(&out);
	native(ask[0], &up, up.n, &out);
	gold_check("openai_completions", name, ".whole", tf_buf_span(&out));
	gold_both(&of_native, name, &up, ask);
	tf_buf_free(&up);
	tf_buf_free(&out);
}

static bool
one_case(const char *name, const char *suffix)
{
	if (strcmp(suffix, ".request") == 0) {
		one_request(name, DL_NEED_COMPLETIONS, ".native");
		one_request(name, 0, ".chat");
	} else if (strcmp(suffix, ".upstream") == 0) {
		golden_upstream(name);
	} else {
		return false;
	}
	return true;
}

static void
test_golden(void **state)
{
	(void)state;
	assert_true(gold_each("openai_completions", one_case) >= 25);
}

static bool
one_upstream(const char *name, const struct tf_buf *up)
{
	gold_both(&of_chat, name, up, asks);
	return true;
}

static void
test_chat_upstreams(void **state)
{
	(void)state;
	assert_true(gold_chat_upstreams(12000, one_upstream) >= 60);
}

/* The prompt said again is no output, whatever is counted before the runtime gives its usage. */
static void
test_echo(void **state)
{
	static const char ask[] =
	    "{\"model\":\"m\",\"prompt\":\"one two three four five six\",\"echo\":true,\"stream\":true,\"max_tokens\":1}";
	static const char echoed[] =
	    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"r\",\"choices\":[{\"index\":0,"
	    "\"text\":\"one two three four five six\",\"finish_reason\":null}]}\n\n";
	static const char said[] =
	    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"r\",\"choices\":[{\"index\":0,"
	    "\"text\":\" seven\",\"finish_reason\":\"length\"}]}\n\n";
	static const char usage[] =
	    "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"r\",\"choices\":[],"
	    "\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":0,\"total_tokens\":6}}\n\ndata: [DONE]\n\n";
	struct tf_buf out = { 0 };
	struct dl_xlate *x;
	struct dl_scan s;

	(void)state;
	assert_int_equal(gold_scan(&s, DL_OPENAI_COMPLETIONS, tf_cspan(ask)), 0);
	x = attempt(&s, DL_NEED_COMPLETIONS, 0);
	dl_xlate_head(x, 200, TF_SPAN("text/event-stream"), 0);
	assert_int_equal(dl_xlate_feed(x, echoed, strlen(echoed), &out), 0);
	assert_int_equal(dl_xlate_facts(x)->out_tokens, 0);
	assert_true(dl_xlate_facts(x)->content);
	assert_int_equal(dl_xlate_feed(x, said, strlen(said), &out), 0);
	assert_true(dl_xlate_facts(x)->out_tokens >= 1 && dl_xlate_facts(x)->out_tokens < 4);
	/* nothing at all may have been asked for: a count of none is one */
	assert_int_equal(dl_xlate_feed(x, usage, strlen(usage), &out), 0);
	assert_true(dl_xlate_facts(x)->complete && !dl_xlate_facts(x)->estimated);
	assert_int_equal(dl_usage_in(&dl_xlate_facts(x)->usage), 6);
	dl_xlate_free(&x);
	tf_buf_free(&out);
}

static void
test_heads(void **state)
{
	static const char one[] = "{\"model\":\"m\",\"prompt\":\"a rather long text that others begin with as well\"}";
	static const char two[] =
	    "{\"max_tokens\":3,\"prompt\":\"a rather long text that others begin with as well\",\"model\":\"m\"}";
	static const char *const names[] = { "chat", "completions", "vision" };
	struct dl_scan s, t;
	struct dl_fault f;

	(void)state;
	assert_int_equal(gold_scan(&s, DL_OPENAI_COMPLETIONS, tf_cspan(one)), 0);
	assert_int_equal(gold_scan(&t, DL_OPENAI_COMPLETIONS, tf_cspan(two)), 0);
	assert_true(s.nprefix == 1 && t.nprefix == 1 && s.prefix[0] == t.prefix[0]);
	/* either capability serves a plain text */
	for (size_t i = 0; i < TF_LEN(names); i++) {
		uint32_t can = dl_need_by_capability(tf_cspan(names[i]));

		assert_int_equal(dl_need_check(DL_OPENAI_COMPLETIONS, s.head.needs, can, TF_SPAN("m"), &f), i < 2 ? 0 : TF_E_INVAL);
	}
	assert_string_equal(f.param, "model");
	assert_true(tf_span_is(dl_ping(DL_OPENAI_COMPLETIONS), ": keep-alive\n\n"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_chat_upstreams),
		cmocka_unit_test(test_echo), cmocka_unit_test(test_heads) };

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
