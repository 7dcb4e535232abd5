/* SPDX-License-Identifier: Apache-2.0 */
/* Ledger rows a second through the whole store, group commits of 100 rows, fully synchronous. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/billingd/fixture.h"

#define ROWS 100
#define BATCHES 400

static size_t back;

static void
done(struct db_batch *b, void *arg)
{
	(void)arg;
	if (b->rc != 0)
		abort();
	for (size_t i = 0; i < b->n; i++)
		free(b->ops[i].arg);
	db_batch_free(&b);
	back++;
}

int
main(void)
{
	struct bl_instance_row inst = { .name = "gatewayd.0", .boot = 1 };
	struct fixture f;
	unsigned n = 0;
	uint64_t t;
	double s;

	fx_open(&f);
	if (fx_one(&f, BL_OP_INSTANCE, &inst) != 0)
		return 1;
	t = tf_mono_ns();
	for (size_t i = 0; i < BATCHES; i++) {
		struct db_batch *b = db_batch_new(done, NULL);

		b->lenient = true;
		for (int k = 0; k < ROWS; k++) {
			struct bl_usage u = fx_usage(++n);

			u.request = tf_id_new();
			if (db_batch_add(b, BL_OP_USAGE, bl_usage_copy(&u)) != 0)
				return 1;
		}
		db_store_submit(f.store, b);
	}
	while (back < BATCHES) {
		sem_wait(&f.wake);
		db_store_reap(f.store);
	}
	s = (double)(tf_mono_ns() - t) / 1e9;
	if (fx_int(&f, "SELECT count(*) FROM ledger") != (int64_t)n)
		return 1;
	printf("ledger: %u rows in %.3f s, %.0f rows/s\n", n, s, n / s);
	fx_close(&f);
	return 0;
}
