/* SPDX-License-Identifier: Apache-2.0 */
/* A runtime's command line, cut into words. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "workerd/wk.h"

struct row {
	const char *line;
	const char *words[6]; /* NULL-terminated; none: refused */
};

static const struct row rows[] = {
	{ "a", { "a" } },
	{ "  a \t b  ", { "a", "b" } },
	{ "a 'b c' \"d e\"", { "a", "b c", "d e" } },
	{ "a b'c'\"d\"e", { "a", "bcde" } },
	{ "a ''", { "a", "" } },
	{ "a \\ b \\\"", { "a", " b", "\"" } },
	{ "a 'b\\c' \"d\\\"e\"", { "a", "b\\c", "d\"e" } },
	{ "srv --port {port} --host={socket}", { "srv", "--port", "1234", "--host=/run/x.sock" } },
	{ "a '{port}' {other} $HOME `x` *", { "a", "1234", "{other}", "$HOME", "`x`", } },
	{ "a 'open", { NULL } },
	{ "a \"open", { NULL } },
	{ "", { NULL } },
	{ "   ", { NULL } },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		char **argv = NULL;
		int rc = wk_argv_split(rows[i].line, "1234", "/run/x.sock", &argv);

		if (rows[i].words[0] == NULL) {
			assert_int_equal(rc, TF_E_INVAL);
			assert_null(argv);
			continue;
		}
		assert_int_equal(rc, 0);
		for (size_t k = 0; k < TF_LEN(rows[i].words) && rows[i].words[k] != NULL; k++)
			assert_string_equal(argv[k], rows[i].words[k]);
		wk_argv_free(&argv);
		assert_null(argv);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
