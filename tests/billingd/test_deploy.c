/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployments in the ledger: however their time is cut, and wherever billingd was killed meanwhile, the slices
 * touch without gap or overlap and their costs add up to the whole, rounded once. Time is an argument.
 */
#include "config.h"

#include <assert.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/billingd/fixture.h"

#define DAY INT64_C(86400000)
#define BEGAN (21000 * DAY + 12345)

static int
setup(void **state)
{
	static struct fixture f;
	struct bl_workspace_row w = { .name = "main", .plan = "test", .created_ms = 1 };

	fx_open(&f);
	w.id = fx_id('w', 1);
	assert_int_equal(fx_one(&f, BL_OP_WORKSPACE_NEW, &w), 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	fx_close(*state);
	return 0;
}

static struct bl_deployment_row
deploy(struct fixture *f, unsigned n, int64_t gpus, int64_t price)
{
	struct bl_deployment_row d = { .id = fx_id('d', n), .workspace = fx_id('w', 1), .model = "acme/large", .gpus = gpus,
		.price_gpu_hour = price, .started_ms = BEGAN, .stopped_ms = BL_NEVER_MS, .billed_ms = BEGAN };

	assert_int_equal(fx_one(f, BL_OP_DEPLOY, &d), 0);
	return d;
}

static size_t
bill(struct fixture *f, int64_t now)
{
	struct bl_billing b = { .now_ms = now };
	size_t n;

	assert_int_equal(fx_one(f, BL_OP_DEPLOY_BILL, &b), 0);
	n = b.n;
	bl_billing_fini(&b);
	return n;
}

static int
stop(struct fixture *f, const struct bl_deployment_row *d, int64_t now, struct bl_deployment_row *out)
{
	struct bl_billing b = { .now_ms = now, .stop = true, .row = { .id = d->id } };
	int rc = fx_one(f, BL_OP_DEPLOY_BILL, &b);

	*out = b.row;
	bl_billing_fini(&b);
	return rc;
}

/* The ledger's rows of a deployment from its start to end: nothing between them, nothing twice, all of the cost. */
static void
check(struct fixture *f, const struct bl_deployment_row *d, int64_t end)
{
	char id[2 * sizeof d->id.b + 1], sql[512];

	tf_hex(d->id.b, sizeof d->id.b, id);
#define ONE(what) (snprintf(sql, sizeof sql, "SELECT " what " FROM ledger WHERE hex(key) = upper('%s')", id), fx_int(f, sql))
	assert_int_equal(ONE("coalesce(sum(cost), 0)"), bl_deployment_cost(d, end - d->started_ms));
	assert_int_equal(ONE("coalesce(sum(gpu_ms), 0)"), d->gpus * (end - d->started_ms));
	assert_int_equal(ONE("coalesce(sum(ended_ms - began_ms), 0)"), end - d->started_ms);
	assert_int_equal(ONE("coalesce(min(began_ms), 12345 + 21000 * 86400000)"), d->started_ms);
	/* no row of two days, and each begins where another ends */
	assert_int_equal(ONE("coalesce(sum(began_ms / 86400000 <> (ended_ms - 1) / 86400000), 0)"), 0);
	assert_int_equal(ONE("count(*) - count(DISTINCT began_ms)"), 0);
	assert_int_equal(ONE("coalesce(sum(price_gpu_hour <> 0), 0) - count(*) * "
	    "(SELECT price_gpu_hour <> 0 FROM deployments WHERE id = key)"), 0);
	assert_int_equal(ONE("coalesce(sum(charged = 1 AND delivered = 1 AND surface = 'deployment' AND prompt + completion = 0),"
	    " 0) - count(*)"), 0);
#undef ONE
	assert_int_equal(fx_int(f, "SELECT coalesce(sum(cost), 0) FROM usage_days"), fx_int(f,
	    "SELECT coalesce(sum(cost), 0) FROM ledger"));
	assert_int_equal(fx_int(f, "SELECT coalesce(sum(requests), 0) FROM usage_days"), 0);
}

/* A price that no slice divides: each alone is rounded, together they are not. */
static void
test_cost(void **state)
{
	struct bl_deployment_row d = { .gpus = 1, .price_gpu_hour = 1 };

	(void)state;
	assert_int_equal(bl_deployment_cost(&d, 1799999), 0);
	assert_int_equal(bl_deployment_cost(&d, 1800000), 1); /* half is rounded up */
	assert_int_equal(bl_deployment_cost(&d, 3600000), 1);
	d.gpus = 8;
	d.price_gpu_hour = 2500000000;
	assert_int_equal(bl_deployment_cost(&d, 3600000), INT64_C(20000000000));
	d.gpus = 1000000;
	d.price_gpu_hour = INT64_C(1000000000000000000);
	assert_int_equal(bl_deployment_cost(&d, 100 * 365 * DAY), INT64_MAX);
}

static void
test_any_cut(void **state)
{
	static const int64_t prices[] = { 0, 1, 7, 999999999, INT64_C(2500000000), INT64_C(123456789012345) };
	struct fixture *f = *state;
	struct bl_deployment_row d[TF_LEN(prices)], out;
	int64_t now = BEGAN;

	srand(7);
	for (unsigned i = 0; i < TF_LEN(prices); i++)
		d[i] = deploy(f, i, 1 + i * 3, prices[i]);
	assert_int_equal(bill(f, now), 0); /* no time has gone by */
	for (int i = 0; i < 120; i++) {
		now += i % 10 == 9 ? rand() % (3 * DAY) : 1 + rand() % 70000;
		(void)bill(f, now);
		if (i % 30 == 11)
			fx_reopen(f); /* it was away for a while */
		if (i % 40 == 13)
			assert_int_equal(bill(f, now - 5000), 0); /* the clock was set back */
	}
	for (unsigned i = 0; i < TF_LEN(prices); i++) {
		check(f, &d[i], now);
		assert_int_equal(stop(f, &d[i], now + 1 + i * 777, &out), 0);
		assert_int_equal(out.stopped_ms, now + 1 + i * 777);
		check(f, &d[i], out.stopped_ms);
	}
	/* what has stopped costs nothing more, and does not stop twice */
	assert_int_equal(bill(f, now + 9 * DAY), 0);
	assert_int_equal(stop(f, &d[0], now + 9 * DAY, &out), TF_E_STATE);
	out.id = fx_id('x', 1);
	assert_int_equal(stop(f, &out, now, &out), TF_E_NOENT);
	check(f, &d[1], now + 1 + 777);
	/* the sums can be made again from the ledger */
	assert_int_equal(fx_one(f, BL_OP_REBUILD, NULL), 0);
	check(f, &d[1], now + 1 + 777);
}

/* A slice is in the ledger and in its mark, or in neither. */
static void
test_undone(void **state)
{
	struct fixture *f = *state;
	struct bl_deployment_row d = deploy(f, 1, 2, 1000000007);
	struct bl_workspace_row again = { .id = fx_id('w', 2), .name = "main", .plan = "test" };
	struct bl_billing b = { .now_ms = BEGAN + 60000 };
	struct db_batch *batch = fx_batch(f);

	assert_int_equal(db_batch_add(batch, BL_OP_DEPLOY_BILL, &b), 0);
	assert_int_equal(db_batch_add(batch, BL_OP_WORKSPACE_NEW, &again), 0);
	assert_int_equal(fx_run(f, batch), TF_E_EXIST);
	bl_billing_fini(&b);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 0);
	check(f, &d, BEGAN);
	assert_int_equal(bill(f, BEGAN + 61000), 1);
	check(f, &d, BEGAN + 61000);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cost), T(test_any_cut), T(test_undone) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
