/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration loader on any text: it says why or gives a conf; what it gives can be
 * dumped, and the dump loads again to the same values.
 */
#include "config.h"

#include <stdlib.h>

#include "common/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct conf *
parse(struct tf_span text)
{
	struct conf_text t = { "fuzz.conf", text };
	struct conf_errors e = { 0 };
	struct conf *c;
	int r = conf_parse(&t, 1, &c, &e);

	if ((r == 0) != (c != NULL) || (r == 0) != (e.n == 0) || (r != 0 && r != TF_E_INVAL))
		abort();
	conf_errors_free(&e);
	return c;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct conf *c = parse(tf_span(data, n)), *again;
	struct tf_buf dump = { 0 };

	if (c == NULL)
		return 0;
	if (conf_dump(c, n % 2 == 0, &dump) != 0)
		abort();
	again = parse(tf_buf_span(&dump));
	if (again == NULL || conf_diff(c, again, NULL, NULL) != 0)
		abort();
	for (int side = 0; side < CONF_SIDES; side++)
		(void)conf_find_model(c, side, tf_span(data, n));
	tf_buf_free(&dump);
	conf_free(&again);
	conf_free(&c);
	return 0;
}
