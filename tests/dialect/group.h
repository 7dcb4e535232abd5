/* SPDX-License-Identifier: Apache-2.0 */
/* Set-up and tear-down of a group of tests: in between the dialect library is ready. */
#ifndef TF_TESTS_DIALECT_GROUP_H
#define TF_TESTS_DIALECT_GROUP_H

#include "common/dialect/dialect.h"

static inline int
group_setup(void **state)
{
	(void)state;
	return dl_init();
}

static inline int
group_teardown(void **state)
{
	(void)state;
	dl_fini();
	return 0;
}

#endif
