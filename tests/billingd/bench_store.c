/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger row costs in the whole store, fully synchronous: one commit at a time, of as many rows as one of billingd
 * has under load; elapsed time and CPU time of the process.
 *
 *	make tests/billingd/bench_store && tests/billingd/bench_store [ROWS-OF-A-COMMIT [ROWS]]
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "tests/billingd/fixture.h"

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

static double
cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
commit(struct fixture *f, unsigned first, unsigned rows)
{
	struct db_batch *b = db_batch_new(done, NULL);
	size_t before = back;

	if (b == NULL)
		abort();
	b->lenient = true;
	for (unsigned i = 0; i < rows; i++) {
		struct bl_usage u = fx_usage(first + i);

		u.request = tf_id_new();
		if (db_batch_add(b, BL_OP_USAGE, bl_usage_copy(&u)) != 0)
			abort();
	}
	db_store_submit(f->store, b);
	while (back == before) {
		sem_wait(&f->wake);
		db_store_reap(f->store);
	}
}

int
main(int argc, char **argv)
{
	uint64_t of_commit = 100, rows = 20000;
	unsigned n = 0;
	struct bl_instance_row inst = { .name = "gatewayd.0", .boot = 1 };
	struct fixture f;
	double s, cpu;
	uint64_t t;

	if ((argc > 1 && tf_span_u64(tf_cspan(argv[1]), 1000000, &of_commit) != 0) ||
	    (argc > 2 && tf_span_u64(tf_cspan(argv[2]), 100000000, &rows) != 0) || of_commit == 0)
		return 2;
	fx_open(&f);
	if (fx_one(&f, BL_OP_INSTANCE, &inst) != 0)
		return 1;
	t = tf_mono_ns();
	cpu = cpu_seconds();
	for (; n < rows; n += (unsigned)of_commit)
		commit(&f, n + 1, (unsigned)of_commit);
	s = (double)(tf_mono_ns() - t) / 1e9;
	cpu = cpu_seconds() - cpu;
	if (fx_int(&f, "SELECT count(*) FROM ledger") != (int64_t)n)
		return 1;
	printf("ledger: %u rows, %u a commit, in %.3f s, %.0f rows/s, %.2f us of CPU a row\n", n, (unsigned)of_commit, s, n / s,
	    cpu / n * 1e6);
	fx_close(&f);
	return 0;
}
