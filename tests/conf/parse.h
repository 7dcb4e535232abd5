/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that must load, and texts that must not. */
#ifndef TEST_CONF_PARSE_H
#define TEST_CONF_PARSE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/conf/conf.h"
#include "common/conf/inside.h"

static inline struct conf *
good(const char *text)
{
	struct conf_text t = { "t.conf", tf_cspan(text) };
	struct conf_errors e = { 0 };
	struct conf *c;
	int r = conf_parse(&t, 1, &c, &e);

	for (size_t i = 0; i < e.n; i++)
		print_error("%s\n", e.v[i]);
	assert_int_equal(r, 0);
	assert_int_equal(e.n, 0);
	assert_non_null(c);
	return c;
}

/* Exactly one error, and this one. */
static inline void
bad(const char *text, const char *error)
{
	struct conf_text t = { "t.conf", tf_cspan(text) };
	struct conf_errors e = { 0 };
	struct conf *c;

	assert_int_equal(conf_parse(&t, 1, &c, &e), TF_E_INVAL);
	assert_null(c);
	assert_int_equal(e.n, 1);
	assert_string_equal(e.v[0], error);
	conf_errors_free(&e);
	assert_int_equal(e.n, 0);
}

#endif
