/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runtimes that speak the Responses API. tests/golden/responses_runtime holds
 *   CASE.chat, CASE.messages, CASE.responses  a client's body of that surface; CASE.sent: what the runtime gets, or the refusal.
 *                             With "hosted" in its name it goes to the provider itself
 *   CASE.upstream             what the runtime answers; CASE.answer: what a client of the chat surface makes of
 *                             it, streamed and whole, one of the messages surface, and what is known of the attempt
 * Each answer is read at every cut by strict clients. With GOLDEN_UPDATE=1 in the environment results are written.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/client.h"
#include "tests/dialect/gold.h"
#include "tests/dialect/group.h"
#include "tests/dialect/reader.h"

static uint64_t max; /* output cap to enforce */

static struct dl_xlate *
attempt(const struct dl_scan *s, uint32_t quirks)
{
	return gold_attempt(s, (struct dl_xlate_conf){ .runtime = DL_OPENAI_RESPONSES, .quirks = quirks, .max_output = max });
}

/* ---- requests ---------------------------------------------------------------------------- */

static void
one_request(const char *name, const char *suffix, enum dl_dialect surface)
{
	uint32_t quirks = strstr(name, "hosted") != NULL ? DL_Q_HOSTED : DL_Q_NO_DEVELOPER;
	struct tf_buf body = { 0 }, sent = { 0 }, said = { 0 };
	const struct dl_fault *f;
	struct dl_xlate *x;
	struct dl_scan s;

	if (strstr(name, "word") != NULL)
		quirks |= DL_Q_CHOICE_WORD;
	max = strstr(name, "enforced") != NULL ? 20 : 0;
	assert_true(gold_read("responses_runtime", name, suffix, &body));
	dl_scan_init(&s, surface, 0, 0);
	if (dl_scan_end(&s, body.p, body.n) < 0)
		fail_msg("%s: %s", name, s.fault.message);
	x = attempt(&s, quirks);
	assert_string_equal(dl_xlate_path(x), "/responses");
	f = &dl_xlate_facts(x)->fault;
	if (dl_xlate_request(x, tf_buf_span(&body), &sent) == 0) {
		assert_int_equal(js_valid(tf_buf_span(&sent)), 0);
		tf_buf_printf(&said, TF_SPAN_FMT "\ndropped=" TF_SPAN_FMT "\n", TF_SPAN_ARG(tf_buf_span(&sent)),
		    TF_SPAN_ARG(dl_xlate_dropped(x)));
	} else {
		assert_int_equal(sent.n, 0);
		gold_fault(f, &said);
	}
	gold_check("responses_runtime", name, ".sent", tf_buf_span(&said));
	max = 0;
	dl_xlate_free(&x);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	tf_buf_free(&said);
}

/* ---- answers ----------------------------------------------------------------------------- */

enum { CHAT_STREAM, CHAT_WHOLE, MESSAGES_STREAM, MESSAGES_WHOLE, ASKS };

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
static const struct {
	enum dl_dialect surface;
	const char *body;
} asks[ASKS] = {
	{ DL_OPENAI_CHAT, "{\"model\":\"m\"," USER ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" },
	{ DL_OPENAI_CHAT, "{\"model\":\"m\"," USER "}" },
	{ DL_ANTHROPIC_MESSAGES,
	    "{\"model\":\"m\",\"max_tokens\":9," USER ",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}}" },
	{ DL_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"max_tokens\":9," USER ",\"thinking\":{\"type\":\"adaptive\"}}" },
};

static void
print_facts(const struct dl_xlate *x, struct tf_buf *out)
{
	const struct dl_facts *f = dl_xlate_facts(x);
	const struct dl_usage *u = &f->usage;

	tf_buf_printf(out, "content=%d finished=%d complete=%d finish=%s skipped=%u\n", f->content, f->finished, f->complete,
	    f->finish != NULL ? f->finish : "-", f->skipped);
	tf_buf_printf(out, "prompt=%llu cache_read=%llu completion=%llu reasoning=%llu estimated=%d\n",
	    (unsigned long long)u->prompt, (unsigned long long)u->cache_read, (unsigned long long)u->completion,
	    (unsigned long long)u->reasoning, f->estimated);
	tf_buf_printf(out, "error=%s retryable=%d param=%s message=%s\n", f->fault.err != 0 ? tf_err_row(f->fault.err)->code : "-",
	    f->fault.retryable, f->fault.param, f->fault.message);
}

/* Where the runtime does not say when, it is now. */
static void
steady(struct tf_buf *out)
{
	static const char *const marks[] = { "\"created\":", "\"completed_at\":" };
	static const char fixed[] = "1000000000", given[] = "1790000000";

	for (size_t i = 0; i < TF_LEN(marks); i++) {
		char *p = out->p, *end = out->p + out->n;

		while (p != NULL && (p = memmem(p, (size_t)(end - p), marks[i], strlen(marks[i]))) != NULL) {
			p += strlen(marks[i]);
			if (end - p > 10 && *p >= '1' && *p <= '9' && memcmp(p, given, 10) != 0)
				memcpy(p, fixed, 10);
		}
	}
}

static int
answer(int ask, const struct tf_buf *up, size_t cut, struct tf_buf *out, struct tf_buf *facts)
{
	struct tf_buf sent = { 0 };
	struct dl_xlate *x;
	struct dl_scan s;
	int err;

	dl_scan_init(&s, asks[ask].surface, 0, 0);
	assert_int_equal(dl_scan_end(&s, asks[ask].body, strlen(asks[ask].body)), 0);
	x = attempt(&s, 0);
	assert_int_equal(dl_xlate_request(x, tf_cspan(asks[ask].body), &sent), 0);
	tf_buf_free(&sent);
	err = gold_answer(x, up, cut, out);
	steady(out);
	print_facts(x, facts);
	dl_xlate_free(&x);
	return err;
}

static void
judge(const char *name, int ask, int err, const struct tf_buf *out, struct tf_buf *made)
{
	static struct client c;
	const char *bad = NULL;

	if (ask == CHAT_STREAM)
		bad = client_reads(&c, tf_buf_span(out), TF_SPAN("m"), true, err == 0);
	else if (ask == MESSAGES_STREAM)
		bad = reader_stream(tf_buf_span(out), TF_SPAN("m"), err == 0, made);
	else if (err != 0)
		bad = out->n > 0 ? "bytes of a failed answer" : NULL;
	else if (ask == CHAT_WHOLE)
		bad = client_reads_json(tf_buf_span(out), TF_SPAN("m"));
	else
		bad = reader_json(tf_buf_span(out), TF_SPAN("m"), made);
	if (bad != NULL)
		fail_msg("%s: client %d says: %s\n%.*s", name, ask, bad, (int)out->n, out->p);
}

static void
one_upstream(const char *name)
{
	struct tf_buf up = { 0 }, all = { 0 }, made[2] = { { 0 }, { 0 } }, facts[ASKS];
	int err = 0;

	memset(facts, 0, sizeof facts);
	assert_true(gold_read("responses_runtime", name, ".upstream", &up));
	for (int ask = 0; ask < ASKS; ask++) {
		struct tf_buf out = { 0 }, cut = { 0 }, f = { 0 };
		int e = answer(ask, &up, up.n, &out, &facts[ask]);

		if (ask > 0)
			assert_int_equal(e, err);
		err = e;
		judge(name, ask, e, &out, &made[ask & 1]);
		tf_buf_printf(&all, "---- %d\n" TF_SPAN_FMT "\n" TF_SPAN_FMT, ask, TF_SPAN_ARG(tf_buf_span(&out)),
		    TF_SPAN_ARG(tf_buf_span(&facts[ask])));
		for (size_t i = 0; i < up.n; i++) {
			tf_buf_reset(&cut);
			tf_buf_reset(&f);
			assert_int_equal(answer(ask, &up, i, &cut, &f), e);
			if (!tf_span_eq(tf_buf_span(&out), tf_buf_span(&cut)) ||
			    !tf_span_eq(tf_buf_span(&f), tf_buf_span(&facts[ask])))
				fail_msg("%s: a cut at %zu gives something else", name, i);
		}
		tf_buf_free(&out);
		tf_buf_free(&cut);
		tf_buf_free(&f);
	}
	/* arguments that are no JSON reach a stream as they are */
	if (err == 0 && memmem(made[0].p, made[0].n, "broken", 6) == NULL &&
	    !tf_span_eq(tf_buf_span(&made[0]), tf_buf_span(&made[1])))
		fail_msg("%s: stream and whole differ\n%.*s\n---\n%.*s", name, (int)made[0].n, made[0].p, (int)made[1].n,
		    made[1].p);
	gold_check("responses_runtime", name, ".answer", tf_buf_span(&all));
	for (int ask = 0; ask < ASKS; ask++)
		tf_buf_free(&facts[ask]);
	tf_buf_free(&made[0]);
	tf_buf_free(&made[1]);
	tf_buf_free(&all);
	tf_buf_free(&up);
}

/* ---- the same API at both ends, without translation ---------------------------------------- */

static int
passed(const char *body, const struct tf_buf *up, size_t cut, struct tf_buf *out, struct tf_buf *facts)
{
	struct tf_buf sent = { 0 };
	struct dl_xlate *x;
	struct dl_scan s;
	int err;

	dl_scan_init(&s, DL_OPENAI_RESPONSES, 0, 0);
	assert_int_equal(dl_scan_end(&s, body, strlen(body)), 0);
	x = attempt(&s, DL_Q_HOSTED);
	assert_int_equal(dl_xlate_request(x, tf_cspan(body), &sent), 0);
	tf_buf_free(&sent);
	err = gold_answer(x, up, cut, out);
	steady(out);
	print_facts(x, facts);
	dl_xlate_free(&x);
	return err;
}

/* Numbers without a gap, one end, the client's name of the model. */
static void
judge_passed(const char *name, struct tf_span s, int err)
{
	uint64_t next = 0, n;
	bool ended = false;

	while (s.n > 0) {
		const char *data = memmem(s.p, s.n, "\ndata: ", 7), *end = memmem(s.p, s.n, "\n\n", 2);
		struct tf_span json, v, type;

		if (data == NULL || end == NULL || memcmp(s.p, "event: ", 7) != 0 || ended)
			fail_msg("%s: half an event, or one behind the end", name);
		json = tf_span(data + 7, (size_t)(end - data) - 7);
		assert_int_equal(js_valid(json), 0);
		assert_true(js_member(json, "sequence_number", &v) && js_get_u64(v, &n) == 0 && n == next++);
		assert_true(js_member(json, "type", &type) && js_str_eqn(type, tf_span(s.p + 7, (size_t)(data - s.p) - 7)));
		assert_true(!js_at(json, "response.model", &v) || js_str_eq(v, "m"));
		ended = js_str_eq(type, "response.completed") || js_str_eq(type, "response.incomplete");
		s = tf_span(end + 2, s.n - (size_t)(end + 2 - s.p));
	}
	assert_true(ended == (err == 0));
}

static void
one_passed(const char *name)
{
	static const char *const bodies[] = { "{\"model\":\"m\",\"input\":\"hi\",\"store\":false}",
		"{\"model\":\"m\",\"input\":\"hi\",\"store\":false,\"stream\":true}" };
	const char *body = bodies[strncmp(name, "p_whole", 7) != 0];
	struct tf_buf up = { 0 }, out = { 0 }, facts = { 0 }, cut = { 0 }, f = { 0 };
	int err;

	assert_true(gold_read("responses_runtime", name, ".passed", &up));
	err = passed(body, &up, up.n, &out, &facts);
	if (body == bodies[1])
		judge_passed(name, tf_buf_span(&out), err);
	for (size_t i = 0; i < up.n; i++) {
		tf_buf_reset(&cut);
		tf_buf_reset(&f);
		assert_int_equal(passed(body, &up, i, &cut, &f), err);
		if (!tf_span_eq(tf_buf_span(&out), tf_buf_span(&cut)) || !tf_span_eq(tf_buf_span(&f), tf_buf_span(&facts)))
			fail_msg("%s: a cut at %zu gives something else", name, i);
	}
	assert_int_equal(tf_buf_addspan(&out, tf_buf_span(&facts)), 0);
	gold_check("responses_runtime", name, ".answer", tf_buf_span(&out));
	tf_buf_free(&up);
	tf_buf_free(&out);
	tf_buf_free(&facts);
	tf_buf_free(&cut);
	tf_buf_free(&f);
}

static enum dl_dialect
surface_of(const char *suffix)
{
	return strcmp(suffix, ".chat") == 0	 ? DL_OPENAI_CHAT
	    : strcmp(suffix, ".messages") == 0	 ? DL_ANTHROPIC_MESSAGES
						 : DL_OPENAI_RESPONSES;
}

static bool
one_case(const char *name, const char *suffix)
{
	if (strcmp(suffix, ".sent") == 0 || strcmp(suffix, ".answer") == 0)
		return false;
	if (strcmp(suffix, ".upstream") == 0)
		one_upstream(name);
	else if (strcmp(suffix, ".passed") == 0)
		one_passed(name);
	else
		one_request(name, suffix, surface_of(suffix));
	return true;
}

static void
test_golden(void **state)
{
	(void)state;
	assert_true(gold_each("responses_runtime", one_case) >= 50);
}

/* A limit of ours ends it: what there is, is an answer of its own length. */
static void
test_cut(void **state)
{
	static const char begun[] =
	    "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\","
	    "\"output_index\":0,\"content_index\":0,\"delta\":\"so far\"}\n\n";
	struct tf_buf out = { 0 };
	struct dl_xlate *x;
	struct dl_scan s;

	(void)state;
	dl_scan_init(&s, DL_OPENAI_CHAT, 0, 0);
	assert_int_equal(dl_scan_end(&s, asks[CHAT_STREAM].body, strlen(asks[CHAT_STREAM].body)), 0);
	for (int some = 0; some < 2; some++) {
		x = attempt(&s, 0);
		dl_xlate_head(x, 200, TF_SPAN("text/event-stream"), 0);
		if (some)
			assert_int_equal(dl_xlate_feed(x, begun, strlen(begun), &out), 0);
		assert_int_equal(dl_xlate_cut(x, &out), 0);
		assert_true(dl_xlate_facts(x)->complete == (some == 1));
		if (some)
			assert_string_equal(dl_xlate_facts(x)->finish, "length");
		dl_xlate_free(&x);
	}
	tf_buf_free(&out);
}

/* The same where events are passed on: what was done is in the end that we write. */
static void
test_cut_passed(void **state)
{
	static const char ask[] = "{\"model\":\"m\",\"input\":\"hi\",\"store\":false,\"stream\":true}";
	static const char created[] =
	    "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\","
	    "\"created_at\":1790000000,\"status\":\"in_progress\",\"model\":\"runtime-model\",\"output\":[],\"usage\":null}}\n\n";
	static const char more[] =
	    "data: {\"type\":\"response.output_text.delta\",\"item_id\":\"m\",\"output_index\":0,\"content_index\":0,"
	    "\"delta\":\"so\"}\n\n"
	    "data: {\"type\":\"response.output_item.done\",\"output_index\":0,"
	    "\"item\":{\"id\":\"m\",\"type\":\"message\",\"content\":[]}}\n\n";
	struct tf_buf out = { 0 };
	struct tf_span rest, v;
	struct dl_xlate *x;
	struct dl_scan s;

	(void)state;
	dl_scan_init(&s, DL_OPENAI_RESPONSES, 0, 0);
	assert_int_equal(dl_scan_end(&s, ask, strlen(ask)), 0);
	x = attempt(&s, DL_Q_HOSTED);
	dl_xlate_head(x, 200, TF_SPAN("text/event-stream"), 0);
	/* nothing is given before there is something: another attempt may do */
	assert_int_equal(dl_xlate_feed(x, created, strlen(created), &out), 0);
	assert_int_equal(out.n, 0);
	assert_int_equal(dl_xlate_feed(x, more, strlen(more), &out), 0);
	assert_true(dl_xlate_facts(x)->content);
	assert_int_equal(dl_xlate_cut(x, &out), 0);
	assert_true(dl_xlate_facts(x)->complete);
	judge_passed("cut", tf_buf_span(&out), 0);
	v.p = memmem(out.p, out.n, "event: response.incomplete", 26);
	assert_non_null(v.p);
	rest = tf_span(v.p + 33, (size_t)(out.p + out.n - v.p) - 35);
	assert_true(js_at(rest, "response.status", &v) && js_str_eq(v, "incomplete"));
	assert_true(js_at(rest, "response.output[0].id", &v) && js_str_eq(v, "m"));
	assert_true(js_at(rest, "response.usage.output_tokens", &v));
	dl_xlate_free(&x);
	tf_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_golden), cmocka_unit_test(test_cut),
		cmocka_unit_test(test_cut_passed) };

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
