/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an Accept field asks for a table. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gatewayd/gw.h"

static void
test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool csv;
	} cases[] = {
		{ "", false }, { "*/*", false }, { "application/json", false }, { "text/*", false }, { ",,;q=1,", false },
		{ "text/csv", true }, { "TEXT/CSV", true }, { "text/csv;header=present", true }, { "text/csv, */*", true },
		{ "text/csv, */*;q=0.1", true }, { "*/*;q=0.8,text/csv;q=0.9", true }, { "text/csv;q=0.5, */*", false },
		{ "text/csv, application/json", false }, { "application/json;q=0.9, text/csv", true },
		{ "application/json, text/csv;q=0.9", false }, { "text/csv;q=0", false }, { "text/csv ; q=0.000", false },
		{ "text/csv;q=0.001", true }, { "text/csv; header=present; Q=0.5 , application/json;q=0.499", true },
		{ "application/json;q=0.2, */*, text/csv;q=0.5", true }, { "text/csvx", false }, { "text/csv;q", true },
		{ "text/csv;q=", true }, { "text/csv;q=0.00000000000000001", false },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++)
		if (gw_query_wants_csv(tf_cspan(cases[i].accept)) != cases[i].csv)
			fail_msg("%s", cases[i].accept);
	assert_false(gw_query_wants_csv((struct tf_span){ 0 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_accept) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
