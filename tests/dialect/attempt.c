/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts at surfaces without turns, for their tests: a body is scanned, sent, answered at every cut.
 * See attempt.h.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/dialect/attempt.h"

struct dl_scan scan;

bool
accepts(enum dl_dialect surface, const char *body)
{
	static struct dl_scan slow;
	size_t n = strlen(body);
	int r = 0;

	dl_scan_init(&scan, surface, 0, 0);
	dl_scan_init(&slow, surface, 0, 0);
	for (size_t i = 1; r == 0 && i < n; i++)
		r = dl_scan_feed(&slow, body, i);
	if (r == 0)
		r = dl_scan_end(&slow, body, n);
	assert_int_equal(dl_scan_end(&scan, body, n), r);
	assert_string_equal(scan.fault.param, slow.fault.param);
	assert_string_equal(scan.fault.message, slow.fault.message);
	return r == 0;
}

void
refuses(enum dl_dialect surface, const char *body, const char *param, const char *says)
{
	if (accepts(surface, body))
		fail_msg("taken: %s", body);
	assert_int_equal(scan.fault.err, TF_E_BAD_REQUEST);
	if (strcmp(scan.fault.param, param) != 0 || strstr(scan.fault.message, says) == NULL)
		fail_msg("%s: %s: %s", body, scan.fault.param, scan.fault.message);
}


void
begin(struct attempt *a, enum dl_dialect surface, const char *body)
{
	struct dl_xlate_conf conf = { .surface = surface, .runtime = DL_OPENAI_CHAT, .asked = TF_SPAN("m"),
		.model = TF_SPAN("local/r") };

	memset(a, 0, sizeof *a);
	if (!accepts(surface, body))
		fail_msg("refused: %s: %s", body, scan.fault.message);
	a->x = dl_xlate_new(&conf, &scan.head);
	assert_non_null(a->x);
	a->f = dl_xlate_facts(a->x);
	assert_int_equal(dl_xlate_request(a->x, tf_cspan(body), &a->sent), 0);
}

void
end(struct attempt *a)
{
	dl_xlate_free(&a->x);
	tf_buf_free(&a->sent);
	tf_buf_free(&a->out);
}

/* Gives the answer in pieces of step bytes, each in memory of its own. */
void
answer(struct attempt *a, const char *type, const char *text, size_t step)
{
	size_t n = strlen(text);
	struct tf_span url;

	tf_buf_reset(&a->out);
	dl_xlate_head(a->x, 200, tf_cspan(type), 0);
	for (size_t at = 0; at < n; at += step) {
		size_t k = n - at < step ? n - at : step;
		char *copy = malloc(k);

		assert_non_null(copy);
		memcpy(copy, text + at, k);
		assert_int_equal(dl_xlate_feed(a->x, copy, k, &a->out), 0);
		free(copy);
	}
	assert_int_equal(dl_xlate_end(a->x, &a->out), 0);
	/* nothing can be fetched here */
	while (dl_xlate_wants(a->x, &url))
		assert_int_equal(dl_xlate_fetched(a->x, tf_span(NULL, 0), &a->out), 0);
	assert_true(a->f->complete == (a->f->fault.err == 0));
}

const char json[] = "application/json";

/* What a client that sent `body` gets when the runtime says `text`, however it is cut. */
void
becomes(enum dl_dialect surface, const char *body, const char *text, const char *want)
{
	for (size_t step = 1; step < 40; step += 6) {
		struct attempt a;

		begin(&a, surface, body);
		answer(&a, json, text, step);
		if (a.f->fault.err != 0)
			fail_msg("failed: %s", a.f->fault.message);
		assert_string_equal(tf_buf_cstr(&a.out), want);
		assert_int_equal(js_valid(tf_buf_span(&a.out)), 0);
		assert_int_equal(a.f->tail, 0);
		assert_true(a.f->content);
		assert_string_equal(dl_xlate_content_type(a.x), json);
		end(&a);
	}
}

void
fails(enum dl_dialect surface, const char *body, const char *text, int err, const char *param)
{
	for (size_t step = 1; step < 40; step += 13) {
		struct attempt a;

		begin(&a, surface, body);
		answer(&a, json, text, step);
		if (a.f->fault.err != err)
			fail_msg("%s: error %d: %s", text, a.f->fault.err, a.f->fault.message);
		assert_string_equal(a.f->fault.param, param);
		assert_true(a.f->fault.retryable == (err == TF_E_UPSTREAM_ERROR || err == TF_E_OVERLOADED));
		assert_int_equal(a.out.n, 0);
		end(&a);
	}
}
