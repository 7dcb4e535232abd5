/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages surface. Golden requests: tests/golden/anthropic_messages/CASE.request becomes CASE.sent,
 * or is refused as CASE.fault says. Answers: every upstream of tests/golden/openai_chat is given to a
 * client of this surface, streamed at every cut and whole, with and without thinking; a strict client
 * reads both, and must get the same message. Golden answers: the same directory, CASE.upstream and
 * CASE.client. With GOLDEN_UPDATE=1 in the environment they are written instead.
 */
#include "config.h"

#include <dirent.h>
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

static struct dl_xlate *
attempt(const struct dl_scan *s)
{
	struct dl_xlate_conf conf = { .surface = DL_ANTHROPIC_MESSAGES, .runtime = DL_OPENAI_CHAT, .check = true,
		.quirks = DL_Q_TEMPLATE_THINKING, .asked = tf_span(s->head.model, s->head.model_len),
		.model = TF_SPAN("runtime-model") };
	struct dl_xlate *x;

	memset(conf.rid.b, 7, sizeof conf.rid.b);
	x = dl_xlate_new(&conf, &s->head);
	assert_non_null(x);
	return x;
}

static void
one_request(const char *name)
{
	struct tf_buf body = { 0 }, sent = { 0 }, said = { 0 };
	struct dl_xlate *x = NULL;
	struct dl_scan s;
	const struct dl_fault *f = &s.fault;
	int r;

	assert_true(gold_read("anthropic_messages", name, ".request", &body));
	r = gold_scan(&s, DL_ANTHROPIC_MESSAGES, tf_buf_span(&body));
	if (strstr(name, "blind") != NULL)
		s.head.flags |= DL_HEAD_BLIND;
	if (r == 0) {
		x = attempt(&s);
		r = dl_xlate_request(x, tf_buf_span(&body), &sent);
		f = &dl_xlate_facts(x)->fault;
	}
	if (r == 0) {
		assert_int_equal(js_valid(tf_buf_span(&sent)), 0);
		tf_buf_addspan(&sent, TF_SPAN("\n"));
		tf_buf_printf(&sent, "dropped=" TF_SPAN_FMT " images=%u files=%u tools=%u\n", TF_SPAN_ARG(dl_xlate_dropped(x)),
		    s.head.images, s.head.files, s.head.tools);
		gold_check("anthropic_messages", name, ".sent", tf_buf_span(&sent));
	} else {
		gold_fault(f, &said);
		gold_check("anthropic_messages", name, ".fault", tf_buf_span(&said));
	}
	dl_xlate_free(&x);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	tf_buf_free(&said);
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
	struct tf_buf body = { .p = (char *)(uintptr_t)ask, .n = strlen(ask) };
	struct dl_xlate *x;
	struct dl_scan s;
	int err;

	dl_scan_init(&s, DL_ANTHROPIC_MESSAGES, 0, 0);
	assert_int_equal(dl_scan_end(&s, body.p, body.n), 0);
	x = attempt(&s);
	dl_xlate_head(x, 200, TF_SPAN(""), 0);
	if (cut > 0)
		assert_int_equal(dl_xlate_feed(x, up->p, cut, out), 0);
	if (cut < up->n)
		assert_int_equal(dl_xlate_feed(x, up->p + cut, up->n - cut, out), 0);
	assert_int_equal(dl_xlate_end(x, out), 0);
	err = dl_xlate_facts(x)->fault.err;
	assert_true((err == 0) == dl_xlate_facts(x)->complete);
	dl_xlate_free(&x);
	return err;
}

static void
judge(const char *name, const char *bad, const struct tf_buf *out)
{
	if (bad != NULL)
		fail_msg("%s: a client says: %s\n%.*s", name, bad, (int)out->n, out->p);
}

static void
one_upstream(const char *name, const struct tf_buf *up, const char *whole, const char *stream)
{
	struct tf_buf a = { 0 }, b = { 0 }, c = { 0 }, made = { 0 }, made2 = { 0 };
	int err = answer(whole, up, up->n, &a);
	int err2 = answer(stream, up, up->n, &b);

	/* a broken stream has given its beginning; a broken whole answer nothing */
	assert_int_equal(err, err2);
	judge(name, reader_stream(tf_buf_span(&b), TF_SPAN("m"), err == 0, &made), &b);
	if (err == 0) {
		judge(name, reader_json(tf_buf_span(&a), TF_SPAN("m"), &made2), &a);
		if (memmem(made.p, made.n, "broken", 6) == NULL && !tf_span_eq(tf_buf_span(&made), tf_buf_span(&made2)))
			fail_msg("%s: stream and whole differ\n%.*s\n---\n%.*s", name, (int)made.n, made.p, (int)made2.n, made2.p);
	} else {
		assert_int_equal(a.n, 0);
	}
	for (size_t i = 0; i < up->n; i++) {
		tf_buf_reset(&c);
		assert_int_equal(answer(stream, up, i, &c), err);
		if (!tf_span_eq(tf_buf_span(&b), tf_buf_span(&c)))
			fail_msg("%s: a cut at %zu gives other bytes", name, i);
	}
	tf_buf_free(&a);
	tf_buf_free(&b);
	tf_buf_free(&c);
	tf_buf_free(&made);
	tf_buf_free(&made2);
}

static void
test_upstreams(void **state)
{
	char path[2048], file[600];
	struct dirent **e;
	int n, seen = 0;

	(void)state;
	snprintf(path, sizeof path, "%s/openai_chat", gold_root());
	n = scandir(path, &e, NULL, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		struct tf_buf up = { 0 };

		snprintf(file, sizeof file, "%s/upstream", e[i]->d_name);
		if (e[i]->d_name[0] != '.' && strncmp(e[i]->d_name, "err_", 4) != 0 && strstr(e[i]->d_name, "n2") == NULL &&
		    gold_read("openai_chat", file, "", &up) && up.n > 0 && up.n < 12000) {
			one_upstream(e[i]->d_name, &up, asks[0], asks[1]);
			one_upstream(e[i]->d_name, &up, asks[2], asks[3]);
			seen++;
		}
		tf_buf_free(&up);
		free(e[i]);
	}
	free(e);
	assert_true(seen >= 60);
}

static void
test_golden(void **state)
{
	struct dirent **e;
	char path[2048];
	int n, seen = 0;

	(void)state;
	snprintf(path, sizeof path, "%s/anthropic_messages", gold_root());
	n = scandir(path, &e, NULL, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		char *dot = strrchr(e[i]->d_name, '.');
		struct tf_buf up = { 0 }, out = { 0 };

		if (dot != NULL && strcmp(dot, ".request") == 0) {
			*dot = '\0';
			one_request(e[i]->d_name);
			seen++;
		} else if (dot != NULL && strcmp(dot, ".upstream") == 0) {
			*dot = '\0';
			assert_true(gold_read("anthropic_messages", e[i]->d_name, ".upstream", &up));
			assert_int_equal(answer(asks[3], &up, up.n, &out), 0);
			gold_check("anthropic_messages", e[i]->d_name, ".stream", tf_buf_span(&out));
			tf_buf_reset(&out);
			assert_int_equal(answer(asks[0], &up, up.n, &out), 0);
			gold_check("anthropic_messages", e[i]->d_name, ".whole", tf_buf_span(&out));
			one_upstream(e[i]->d_name, &up, asks[0], asks[1]);
			one_upstream(e[i]->d_name, &up, asks[2], asks[3]);
			seen++;
		}
		tf_buf_free(&up);
		tf_buf_free(&out);
		free(e[i]);
	}
	free(e);
	assert_true(seen >= 20);
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
