/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The responses surface. Golden requests: tests/golden/openai_responses/CASE.request becomes CASE.sent, or is
 * refused as CASE.fault says. With GOLDEN_UPDATE=1 in the environment these are written instead.
 */
#include "config.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/dialect.h"

static char root[1024];

static bool
read_file(const char *dir, const char *name, const char *suffix, struct tf_buf *out)
{
	char path[2048], block[4096];
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s/%s%s", root, dir, name, suffix);
	f = fopen(path, "rb");
	if (f == NULL)
		return false;
	while ((n = fread(block, 1, sizeof block, f)) > 0)
		assert_int_equal(tf_buf_append(out, block, n), 0);
	fclose(f);
	return true;
}

/* Compares with the file, or writes it. */
static void
golden(const char *name, const char *suffix, struct tf_span got)
{
	struct tf_buf want = { 0 };
	char path[2048];
	FILE *f;

	if (getenv("GOLDEN_UPDATE") != NULL) {
		snprintf(path, sizeof path, "%s/openai_responses/%s%s", root, name, suffix);
		f = fopen(path, "wb");
		assert_non_null(f);
		assert_int_equal(fwrite(got.p, 1, got.n, f), got.n);
		fclose(f);
		return;
	}
	if (!read_file("openai_responses", name, suffix, &want))
		fail_msg("%s%s is missing, got\n%.*s", name, suffix, (int)got.n, got.p);
	if (!tf_span_eq(tf_buf_span(&want), got))
		fail_msg("%s%s differs\n--- want\n%.*s\n--- got\n%.*s", name, suffix, (int)want.n, want.p, (int)got.n, got.p);
	tf_buf_free(&want);
}

/* ---- requests ---------------------------------------------------------------------------- */

/* Scans whole and byte by byte: both must say the same. */
static int
scan(struct dl_scan *s, const struct tf_buf *body)
{
	struct dl_scan t;
	char *copy = malloc(body->n);
	int r = 0;

	assert_non_null(copy);
	dl_scan_init(s, DL_OPENAI_RESPONSES, 0, 0);
	dl_scan_init(&t, DL_OPENAI_RESPONSES, 0, 0);
	for (size_t i = 1; r == 0 && i <= body->n; i++) {
		memcpy(copy, body->p, i);
		r = i < body->n ? dl_scan_feed(&t, copy, i) : dl_scan_end(&t, copy, i);
	}
	assert_int_equal(dl_scan_end(s, body->p, body->n), r);
	assert_string_equal(s->fault.message, t.fault.message);
	assert_string_equal(s->fault.param, t.fault.param);
	if (r == 0)
		assert_int_equal(s->head.prompt_bytes, t.head.prompt_bytes);
	free(copy);
	return r;
}

static struct dl_xlate *
attempt(const struct dl_scan *s)
{
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_RESPONSES, .runtime = DL_OPENAI_CHAT, .check = true,
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

	assert_true(read_file("openai_responses", name, ".request", &body));
	r = scan(&s, &body);
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
		tf_buf_printf(&sent,
		    "dropped=" TF_SPAN_FMT " messages=%u images=%u files=%u tools=%u needs=%x flags=%x prompts=%u\n",
		    TF_SPAN_ARG(dl_xlate_dropped(x)), s.head.messages, s.head.images, s.head.files, s.head.tools, s.head.needs,
		    s.head.flags, s.nprefix);
		golden(name, ".sent", tf_buf_span(&sent));
	} else {
		tf_buf_printf(&said, "%s param=%s message=%s\n", tf_err_row(f->err)->code, f->param, f->message);
		golden(name, ".fault", tf_buf_span(&said));
	}
	dl_xlate_free(&x);
	tf_buf_free(&body);
	tf_buf_free(&sent);
	tf_buf_free(&said);
}

static void
test_requests(void **state)
{
	struct dirent **e;
	char path[1100];
	int n, seen = 0;

	(void)state;
	snprintf(path, sizeof path, "%s/openai_responses", root);
	n = scandir(path, &e, NULL, alphasort);
	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		char *dot = strrchr(e[i]->d_name, '.');

		if (dot != NULL && strcmp(dot, ".request") == 0) {
			*dot = '\0';
			one_request(e[i]->d_name);
			seen++;
		}
		free(e[i]);
	}
	free(e);
	assert_true(seen >= 50);
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
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_many_references),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_params_of_needs),
	};
	const char *top = getenv("top_srcdir");
	int r;

	snprintf(root, sizeof root, "%s/tests/golden", top != NULL ? top : ".");
	if (dl_init() < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dl_fini();
	return r;
}
