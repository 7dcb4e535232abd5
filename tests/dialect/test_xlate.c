/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workerd relies on between the bytes: facts while an answer is under way, where its end begins, a request
 * sent again, broken connections, bounds. The bytes themselves are in test_golden.c.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/dialect.h"
#include "tests/dialect/group.h"

#define HEAD "\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"r\""
#define CHUNK(delta, finish) \
	"data: {" HEAD ",\"choices\":[{\"index\":0,\"delta\":{" delta "},\"finish_reason\":" finish "}]}\n\n"
#define USAGE \
	"data: {" HEAD ",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n"
#define DONE "data: [DONE]\n\n"

static const char plain[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
static const char streamed[] =
    " {\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true,\"priority\":1}\n";

struct attempt {
	struct dl_scan scan;
	struct dl_xlate *x;
	struct tf_buf out;
	const struct dl_facts *f;
};

static void
begin(struct attempt *a, const char *request, uint32_t quirks)
{
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_CHAT,
		.runtime = DL_OPENAI_CHAT,
		.quirks = quirks,
		.check = true,
		.asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };

	memset(a, 0, sizeof *a);
	dl_scan_init(&a->scan, DL_OPENAI_CHAT, 0, 0);
	assert_int_equal(dl_scan_end(&a->scan, request, strlen(request)), 0);
	a->x = dl_xlate_new(&conf, &a->scan.head);
	assert_non_null(a->x);
	a->f = dl_xlate_facts(a->x);
	dl_xlate_head(a->x, 200, TF_SPAN("text/event-stream"), 0);
}

/* Bytes given out by this piece alone. */
static struct tf_span
feed(struct attempt *a, const char *piece)
{
	tf_buf_reset(&a->out);
	assert_int_equal(dl_xlate_feed(a->x, piece, strlen(piece), &a->out), 0);
	return tf_buf_span(&a->out);
}

static void
end(struct attempt *a)
{
	dl_xlate_free(&a->x);
	tf_buf_free(&a->out);
}

static bool
holds(struct tf_span s, const char *what)
{
	return s.n > 0 && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static void
test_progress(void **state)
{
	struct attempt a;
	struct tf_span s;

	(void)state;
	begin(&a, streamed, 0);
	assert_true(dl_xlate_streams(a.x));
	assert_string_equal(dl_xlate_content_type(a.x), "text/event-stream; charset=utf-8");
	assert_string_equal(dl_xlate_path(a.x), "/chat/completions");
	assert_string_equal(dl_xlate_request_type(a.x), "application/json");
	assert_int_equal(feed(&a, ": ping\n\n").n, 0);
	/* a role is no content: nothing is committed by it */
	assert_int_equal(feed(&a, CHUNK("\"role\":\"assistant\",\"content\":\"\"", "null")).n, 0);
	assert_false(a.f->content);
	assert_true(a.f->boundary);
	s = feed(&a, CHUNK("\"content\":\"hello\"", "null"));
	assert_true(holds(s, "hello") && a.f->content && a.f->estimated);
	assert_int_equal(a.f->out_tokens, 1);
	assert_true(a.f->tail == SIZE_MAX && !a.f->finished);
	/* half an event gives nothing, its other half all */
	assert_int_equal(feed(&a, "data: {" HEAD ",\"choices\":[{\"index\":0,\"delta\":{\"con").n, 0);
	s = feed(&a, "tent\":\"a rather long piece\"},\"finish_reason\":null}]}\n\n");
	assert_true(holds(s, "a rather long piece"));
	assert_int_equal(a.f->out_tokens, 6);
	/* text and finish in one read: the tail begins at the finish chunk */
	s = feed(&a, CHUNK("\"content\":\"last\"", "null") CHUNK("", "\"stop\""));
	assert_true(a.f->tail != SIZE_MAX && a.f->tail < s.n && a.f->finished && !a.f->complete);
	assert_true(holds(tf_span(s.p, a.f->tail), "last"));
	assert_memory_equal(s.p + a.f->tail, "data: {", 7);
	assert_true(holds(tf_span(s.p + a.f->tail, s.n - a.f->tail), "\"finish_reason\":\"stop\""));
	assert_string_equal(a.f->finish, "stop");
	assert_int_equal(feed(&a, USAGE).n, 0);
	assert_false(a.f->estimated);
	assert_int_equal(dl_usage_in(&a.f->usage), 9);
	assert_int_equal(a.f->out_tokens, 4);
	s = feed(&a, DONE);
	assert_true(tf_span_is(s, "data: [DONE]\n\n") && a.f->complete && a.f->tail == 0);
	/* what comes after the end mark is nothing to anybody */
	assert_int_equal(feed(&a, CHUNK("\"content\":\"more\"", "null")).n, 0);
	assert_int_equal(dl_xlate_end(a.x, &a.out), 0);
	assert_int_equal(a.out.n, 0);
	end(&a);
}

static void
test_joined(void **state)
{
	struct attempt a;

	(void)state;
	begin(&a, plain, DL_Q_STREAM_AND_JOIN);
	assert_true(dl_xlate_streams(a.x));
	assert_string_equal(dl_xlate_content_type(a.x), "application/json");
	assert_int_equal(feed(&a, CHUNK("\"content\":\"hello\"", "null")).n, 0);
	/* tokens are known, but the client has nothing yet: another attempt may do */
	assert_false(a.f->content);
	assert_int_equal(a.f->out_tokens, 1);
	assert_int_equal(feed(&a, CHUNK("", "\"stop\"")).n, 0);
	assert_true(holds(feed(&a, DONE), "\"content\":\"hello\"") && a.f->content && a.f->complete);
	end(&a);
	begin(&a, plain, DL_Q_STREAM_AND_JOIN);
	feed(&a, CHUNK("\"content\":\"hello\"", "null"));
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_TIMEOUT, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_UPSTREAM_TIMEOUT);
	assert_true(a.f->fault.retryable && a.out.n == 0);
	end(&a);
}

/* A pooled connection died, or another worker is tried: the same object serves again. */
static void
test_again(void **state)
{
	struct attempt a;
	struct tf_buf one = { 0 }, two = { 0 };

	(void)state;
	begin(&a, streamed, 0);
	assert_int_equal(dl_xlate_request(a.x, tf_cspan(streamed), &one), 0);
	assert_true(tf_span_is(dl_xlate_dropped(a.x), "priority"));
	feed(&a, CHUNK("\"role\":\"assistant\"", "null") "data: {\"id\":");
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_ERROR, &a.out), 0);
	assert_true(a.f->fault.retryable);
	assert_int_equal(dl_xlate_request(a.x, tf_cspan(streamed), &two), 0);
	assert_true(tf_span_eq(tf_buf_span(&one), tf_buf_span(&two)));
	assert_true(tf_span_is(dl_xlate_dropped(a.x), "priority"));
	dl_xlate_head(a.x, 200, TF_SPAN("text/event-stream"), 0);
	assert_int_equal(a.f->fault.err, 0);
	assert_true(holds(feed(&a, CHUNK("\"content\":\"x\"", "\"stop\"") DONE), "[DONE]"));
	assert_true(a.f->complete);
	tf_buf_free(&one);
	tf_buf_free(&two);
	end(&a);
}

static void
test_broken(void **state)
{
	struct attempt a;

	(void)state;
	/* after content nobody may try again */
	begin(&a, streamed, 0);
	feed(&a, CHUNK("\"content\":\"x\"", "null"));
	tf_buf_reset(&a.out);
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_ERROR, &a.out), 0);
	assert_true(a.f->fault.err == TF_E_UPSTREAM_ERROR && !a.f->fault.retryable && a.out.n == 0);
	assert_true(a.f->content && a.f->out_tokens == 1);
	end(&a);
	/* all was said, only the end mark is missing */
	begin(&a, streamed, 0);
	feed(&a, CHUNK("\"content\":\"x\"", "\"stop\""));
	tf_buf_reset(&a.out);
	assert_int_equal(dl_xlate_broken(a.x, TF_E_UPSTREAM_TIMEOUT, &a.out), 0);
	assert_true(a.f->fault.err == 0 && a.f->complete && tf_span_is(tf_buf_span(&a.out), DONE));
	end(&a);
	/* before any answer */
	begin(&a, streamed, 0);
	assert_int_equal(dl_xlate_broken(a.x, TF_E_MODEL_UNAVAILABLE, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_MODEL_UNAVAILABLE);
	end(&a);
}

static void
test_misfit(void **state)
{
	struct attempt a;
	struct tf_buf out = { 0 };

	(void)state;
	begin(&a, streamed, 0);
	assert_int_equal(dl_xlate_request(a.x, tf_cspan(plain), &out), TF_E_INVAL);
	assert_int_equal(a.f->fault.err, TF_E_SERVER_ERROR);
	assert_int_equal(out.n, 0);
	end(&a);
	/* a message that the runtime's form cannot express */
	begin(&a,
	    "{\"model\":\"m\",\"functions\":[{\"name\":\"f\"}],\"messages\":[{\"role\":\"function\",\"content\":\"x\"}]}", 0);
	assert_int_equal(dl_xlate_request(a.x, tf_cspan("{\"model\":\"m\",\"functions\":[{\"name\":\"f\"}],\"messages\":"
						       "[{\"role\":\"function\",\"content\":\"x\"}]}"),
			     &out), TF_E_INVAL);
	assert_int_equal(a.f->fault.err, TF_E_BAD_REQUEST);
	assert_string_equal(a.f->fault.param, "messages");
	end(&a);
	tf_buf_free(&out);
}

static void
test_cut(void **state)
{
	struct attempt a;
	struct tf_span s;

	(void)state;
	begin(&a, streamed, 0);
	feed(&a, CHUNK("\"content\":\"hello\"", "null"));
	tf_buf_reset(&a.out);
	assert_int_equal(dl_xlate_cut(a.x, &a.out), 0);
	s = tf_buf_span(&a.out);
	assert_true(holds(s, "\"finish_reason\":\"length\"") && holds(s, DONE) && a.f->complete && a.f->tail == 0);
	assert_string_equal(a.f->finish, "length");
	assert_int_equal(feed(&a, CHUNK("\"content\":\"more\"", "null")).n, 0);
	end(&a);
	/* an open call stays as it is, a joined answer is given */
	begin(&a, plain, DL_Q_STREAM_AND_JOIN);
	feed(&a, CHUNK("\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]", "null"));
	assert_int_equal(dl_xlate_cut(a.x, &a.out), 0);
	s = tf_buf_span(&a.out);
	assert_true(holds(s, "\"arguments\":\"{\"") && holds(s, "\"finish_reason\":\"length\""));
	end(&a);
	/* before anything was said there is nothing to give */
	begin(&a, streamed, 0);
	assert_int_equal(dl_xlate_cut(a.x, &a.out), 0);
	assert_true(!a.f->complete && a.f->fault.err > 0 && a.out.n == 0);
	end(&a);
}

static void
test_bounds(void **state)
{
	char *block = malloc(1 << 20);
	struct attempt a;

	(void)state;
	assert_non_null(block);
	memset(block, 'a', 1 << 20);
	/* an event without end */
	begin(&a, streamed, 0);
	feed(&a, "data: {\"x\":\"");
	for (int i = 0; i < 12 && a.f->fault.err == 0; i++)
		assert_int_equal(dl_xlate_feed(a.x, block, 1 << 20, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_UPSTREAM_ERROR);
	assert_int_equal(a.out.n, 0);
	end(&a);
	/* an answer without end */
	begin(&a, plain, 0);
	dl_xlate_head(a.x, 200, TF_SPAN("application/json"), 0);
	for (int i = 0; i < 70 && a.f->fault.err == 0; i++)
		assert_int_equal(dl_xlate_feed(a.x, block, 1 << 20, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_UPSTREAM_ERROR);
	end(&a);
	/* an error page without end: its beginning says enough */
	begin(&a, plain, 0);
	dl_xlate_head(a.x, 400, TF_SPAN("text/html"), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(dl_xlate_feed(a.x, block, 1 << 20, &a.out), 0);
	assert_int_equal(dl_xlate_end(a.x, &a.out), 0);
	assert_int_equal(a.f->fault.err, TF_E_BAD_REQUEST);
	end(&a);
	free(block);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_joined),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_misfit),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
