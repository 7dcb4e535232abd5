/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting a prompt: where each kind of runtime is asked, with what, and what the client gets of its answer.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/dialect.h"
#include "tests/dialect/group.h"

static const char messages[] = "{\"model\":\"m\",\"system\":\"be brief\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
			       "\"stream\":true,\"temperature\":0.5,\"tools\":[{\"name\":\"f\",\"input_schema\":"
			       "{\"type\":\"object\"}}]}";
static const char chat[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":5}";

struct asked {
	struct dl_scan scan;
	struct dl_xlate *x;
	struct tf_buf sent, got;
};

static void
ask(struct asked *a, enum dl_dialect surface, const char *body, enum dl_dialect runtime, uint32_t quirks)
{
	struct dl_xlate_conf conf = { .surface = surface, .runtime = runtime, .quirks = quirks, .asked = TF_SPAN("m"),
		.model = TF_SPAN("r"), .model_output = 4096 };

	memset(a, 0, sizeof *a);
	dl_scan_init(&a->scan, surface, 0, 0);
	a->scan.count = true;
	assert_int_equal(dl_scan_end(&a->scan, body, strlen(body)), 0);
	a->scan.head.flags |= DL_HEAD_COUNT;
	a->scan.head.stream = false;
	a->x = dl_xlate_new(&conf, &a->scan.head);
	assert_non_null(a->x);
}

static void
done(struct asked *a)
{
	dl_xlate_free(&a->x);
	tf_buf_free(&a->sent);
	tf_buf_free(&a->got);
}

static void
sends(struct asked *a, const char *body, const char *path, const char *want)
{
	assert_int_equal(dl_xlate_request(a->x, tf_cspan(body), &a->sent), 0);
	assert_non_null(tf_buf_cstr(&a->sent));
	assert_string_equal(a->sent.p, want);
	assert_string_equal(dl_xlate_path(a->x), path);
	assert_false(dl_xlate_streams(a->x));
}

static void
answers(struct asked *a, int status, const char *body)
{
	dl_xlate_head(a->x, status, TF_SPAN("application/json"), 0);
	assert_int_equal(dl_xlate_feed(a->x, body, strlen(body), &a->got), 0);
	assert_int_equal(dl_xlate_end(a->x, &a->got), 0);
	assert_non_null(tf_buf_cstr(&a->got));
}

static void
test_places(void **state)
{
	struct asked a;

	(void)state;
	ask(&a, DL_ANTHROPIC_MESSAGES, messages, DL_ANTHROPIC_MESSAGES, 0);
	sends(&a, messages, "/messages/count_tokens",
	    "{\"model\":\"r\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}],\"system\":"
	    "\"be brief\",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]}");
	answers(&a, 200, "{\"input_tokens\":17}");
	assert_string_equal(a.got.p, "{\"input_tokens\":17}");
	assert_true(dl_xlate_facts(a.x)->complete);
	done(&a);
	ask(&a, DL_OPENAI_CHAT, chat, DL_OPENAI_CHAT, DL_Q_TOKENIZE);
	sends(&a, chat, "/../tokenize",
	    "{\"model\":\"r\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"add_generation_prompt\":true}");
	answers(&a, 200, "{\"count\":9,\"max_model_len\":4096,\"tokens\":[1,2,3]}");
	assert_string_equal(a.got.p, "{\"input_tokens\":9}");
	done(&a);
	ask(&a, DL_OPENAI_CHAT, chat, DL_OPENAI_CHAT, DL_Q_COUNT_MESSAGES);
	sends(&a, chat, "/messages/count_tokens",
	    "{\"model\":\"r\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]}]}");
	done(&a);
}

static void
test_faults(void **state)
{
	static const char *const nonsense[] = { "{}", "{\"input_tokens\":0}", "{\"input_tokens\":-1}", "{\"count\":\"9\"}", "[",
		"{\"error\":{\"message\":\"no\"}}" };
	struct asked a;

	(void)state;
	/* a runtime that does not count */
	ask(&a, DL_OPENAI_CHAT, chat, DL_OPENAI_CHAT, 0);
	assert_int_equal(dl_xlate_request(a.x, tf_cspan(chat), &a.sent), TF_E_INVAL);
	assert_int_equal(dl_xlate_facts(a.x)->fault.err, TF_E_BAD_REQUEST);
	done(&a);
	for (size_t i = 0; i < TF_LEN(nonsense); i++) {
		ask(&a, DL_OPENAI_CHAT, chat, DL_OPENAI_CHAT, DL_Q_TOKENIZE);
		assert_int_equal(dl_xlate_request(a.x, tf_cspan(chat), &a.sent), 0);
		dl_xlate_head(a.x, 200, TF_SPAN("application/json"), 0);
		assert_int_equal(dl_xlate_feed(a.x, nonsense[i], strlen(nonsense[i]), &a.got), 0);
		assert_int_equal(dl_xlate_end(a.x, &a.got), 0);
		assert_true(dl_xlate_facts(a.x)->fault.err > 0 && a.got.n == 0);
		done(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
