/* SPDX-License-Identifier: Apache-2.0 */
/* API keys: what is minted is accepted, a typo is not, and none is shown where it does not belong. */
#include "config.h"

#include <assert.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/base.h"

static void
test_apikey(void **state)
{
	static const char *const env[] = { "prod", "stag", "dev" };
	char key[TF_APIKEY_MAX + 2], again[64];

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct tf_span s;

		assert_int_equal(tf_apikey_mint("tf", env[i % 3], key, sizeof key), 0);
		s = tf_cspan(key);
		assert_int_equal(s.n, 3 + strlen(env[i % 3]) + 1 + 36);
		assert_int_equal(tf_apikey_check(s), TF_APIKEY_MINTED);
		/* one wrong character anywhere behind the prefix is refused */
		key[8 + i % 34] = key[8 + i % 34] == 'a' ? 'b' : 'a';
		assert_int_equal(tf_apikey_check(s), TF_APIKEY_BAD);
	}
	assert_int_equal(tf_apikey_mint("sk-oais", NULL, key, sizeof key), 0);
	assert_int_equal(strncmp(key, "sk-oais-", 8), 0);
	assert_int_equal(tf_apikey_check(tf_cspan(key)), TF_APIKEY_MINTED);
	assert_int_equal(tf_apikey_mint("sk-oais", NULL, again, sizeof again), 0);
	assert_string_not_equal(key, again);

	assert_int_equal(tf_apikey_mint("tf", "test", key, sizeof key), TF_E_INVAL);
	assert_int_equal(tf_apikey_mint("tf", NULL, key, sizeof key), TF_E_INVAL);
	assert_int_equal(tf_apikey_mint("tf", "production", key, sizeof key), TF_E_INVAL);
	assert_int_equal(tf_apikey_mint("sk", "prod", key, sizeof key), TF_E_INVAL);
	assert_int_equal(tf_apikey_mint("tf", "prod", key, 44), TF_E_INVAL);
	assert_int_equal(tf_apikey_mint("tf", "prod", key, 45), 0);
}

static void
test_apikey_hide(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "", "" },
		{ "The model \"acme/large\" does not exist.", "The model \"acme/large\" does not exist." },
		{ "model \"tf-prod-0123456789abcdefABCDEF\" is", "model \"tf-***************************\" is" },
		{ "sk-oais-0123456789ab tf-short sk-", "sk-***************** tf-short sk-" },
		{ "api_key=sk-proj_0123456789-abcdef&x", "api_key=sk-**********************&x" },
		{ "leaftf-0123456789abcdefghij", "leaftf-********************" },
		{ "\xc3\xa4tf-0123456789abcdefghij\xff", "\xc3\xa4tf-********************\xff" },
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		snprintf(text, sizeof text, "%s", cases[i].text);
		tf_apikey_hide(text);
		assert_string_equal(text, cases[i].want);
	}
}

static void
test_apikey_other(void **state)
{
	char key[TF_APIKEY_MAX + 1];

	(void)state;
	memset(key, 'k', sizeof key);
	assert_int_equal(tf_apikey_check(tf_span(key, 0)), TF_APIKEY_BAD);
	assert_int_equal(tf_apikey_check(tf_span(key, TF_APIKEY_MIN - 1)), TF_APIKEY_BAD);
	assert_int_equal(tf_apikey_check(tf_span(key, TF_APIKEY_MIN)), TF_APIKEY_IMPORTED);
	assert_int_equal(tf_apikey_check(tf_span(key, TF_APIKEY_MAX)), TF_APIKEY_IMPORTED);
	assert_int_equal(tf_apikey_check(tf_span(key, TF_APIKEY_MAX + 1)), TF_APIKEY_BAD);
	assert_int_equal(tf_apikey_check(TF_SPAN("tf-prod-abcdefghijklmnopqrstuvwxyz0123456")), TF_APIKEY_IMPORTED);
	for (int c = 0; c < 256; c++) {
		key[5] = (char)c;
		assert_int_equal(tf_apikey_check(tf_span(key, 30)),
		    c > ' ' && c <= '~' ? TF_APIKEY_IMPORTED : TF_APIKEY_BAD);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_apikey), cmocka_unit_test(test_apikey_hide),
		cmocka_unit_test(test_apikey_other) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
