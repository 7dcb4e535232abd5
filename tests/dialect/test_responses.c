/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The responses surface: what the scan tells the gateway of a request.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/dialect.h"

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
		cmocka_unit_test(test_spans),
		cmocka_unit_test(test_many_references),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_params_of_needs),
	};
	int r;

	if (dl_init() < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dl_fini();
	return r;
}
