/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routerd among fake workers and gateways: who gets a job, and who waits.
 */
#include "config.h"

#include "tests/routerd/fakes.h"

#define QUEUE 100
#define GRACE 500

static void
test_dispatch_and_snapshots(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { .needs = 3 };
	struct fake_gateway g;
	uint64_t n = tf_metric_get(TF_M_RT_DISPATCHED);

	gateway_open(b, &g, "gatewayd.0");
	assert_int_equal(g.models, 0);
	worker_open(b, &w, "w0", "m1,m2", 2);
	EXPECT(b, g.models == 2, 1000);
	assert_int_equal(g.live, 1);
	assert_int_equal(g.needs, 3);
	assert_int_equal(w.gateways, 1);
	assert_string_equal(w.gateway, "gatewayd.0");
	assert_string_equal(w.endpoint, "ipc:///run/gw.sock");
	assert_int_equal(tf_metric_get(TF_M_RT_WORKERS), 1);
	dispatch(&g, (struct ask){ .attempt = 7, .model = "m2", .needs = 2, .deadline_ms = 4321 });
	EXPECT(b, w.ngot == 1, 1000);
	assert_int_equal(w.got[0], 7);
	assert_in_range(w.deadline_ms, 1, 4321); /* less what it waited, if that shows in ms */
	assert_int_equal(rt_stats(rt).sent, 1);
	assert_int_equal(tf_metric_get(TF_M_RT_DISPATCHED), n + 1);
	worker_says(&w, WIRE_TAKEN, 7, NULL);
	EXPECT(b, rt_stats(rt).sent == 0, 1000);
	/* the runtime goes down, then serves less: the snapshot follows, and only when it differs */
	worker_models(&w, false, false);
	EXPECT(b, g.live == 0, 1000);
	assert_int_equal(g.models, 2);
	n = g.snapshots;
	worker_models(&w, false, false);
	TURN_UNTIL(b, false, 30);
	assert_int_equal(g.snapshots, n);
	w.models = "m1";
	worker_models(&w, true, false);
	EXPECT(b, g.models == 1 && g.live == 1, 1000);
	wire_dial_free(&g.dial);
	EXPECT(b, w.gateways == 0, 1000);
	wire_dial_free(&w.dial);
	EXPECT(b, rt_stats(rt).workers == 0, 1000);
	assert_int_equal(rt_stats(rt).models, 0);
	assert_int_equal(rt_stats(rt).gateways, 0);
	rt_free(&rt);
}

static void
test_credit(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct wire_recall recall = { .count = 5 };
	struct fake_worker w = { .does = FAKE_TAKES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1", 2);
	for (unsigned i = 1; i <= 4; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, w.ngot == 2 && rt_stats(rt).queued == 2, 1000);
	EXPECT(b, w.wants > 0, 1000);
	assert_int_equal(w.want, 2);
	TURN_UNTIL(b, false, 30);
	assert_int_equal(w.ngot, 2);
	worker_credit(&w, 0); /* repeated: nothing new */
	TURN_UNTIL(b, false, 20);
	assert_int_equal(w.ngot, 2);
	worker_credit(&w, 1);
	EXPECT(b, w.ngot == 3, 1000);
	assert_true(w.deadline_ms < 10000 && w.deadline_ms > 100); /* less what it waited */
	worker_credit(&w, 2);
	EXPECT(b, w.ngot == 4, 1000);
	assert_int_equal(w.got[3], 4);
	EXPECT(b, w.want == 0, 1000);
	/* one credit is left; the worker wants more back than there is */
	assert_int_equal(wire_send_recall(w.side.peer, NULL, 0, &recall, NONE), 0);
	EXPECT(b, w.returned == 1, 1000);
	dispatch(&g, (struct ask){ .attempt = 5 });
	TURN_UNTIL(b, false, 30);
	assert_int_equal(w.ngot, 4);
	assert_int_equal(rt_stats(rt).queued, 1);
	assert_int_equal(tf_metric_get(TF_M_RT_QUEUED), 1);
	worker_credit(&w, 1);
	EXPECT(b, w.ngot == 5, 1000);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	rt_free(&rt);
}

static void
test_least_loaded(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker small = { .does = FAKE_TAKES }, big = { .does = FAKE_TAKES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &small, "small", "m1", 4);
	worker_open(b, &big, "big", "m1", 8);
	for (unsigned i = 1; i <= 6; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, small.ngot + big.ngot == 6, 1000);
	assert_int_equal(small.ngot, 2);
	assert_int_equal(big.ngot, 4);
	wire_dial_free(&small.dial);
	wire_dial_free(&big.dial);
	wire_dial_free(&g.dial);
	EXPECT(b, rt_stats(rt).workers == 0, 1000);
	rt_free(&rt);
}

/* Four jobs, one at a time, to two workers that differ in speed only: how many go to the first. */
static unsigned
share_of_first(struct bed *b, uint64_t first_us, uint64_t second_us)
{
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker a = { .does = FAKE_TAKES, .first_us = first_us };
	struct fake_worker c = { .does = FAKE_TAKES, .first_us = second_us };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &a, "a", "m1", 4);
	worker_open(b, &c, "c", "m1", 4);
	TURN_UNTIL(b, false, 10);
	for (unsigned i = 1; i <= 4; i++) {
		dispatch(&g, (struct ask){ .attempt = i });
		EXPECT(b, a.ngot + c.ngot == i, 1000);
		worker_credit(a.ngot > 0 && a.got[a.ngot - 1] == i ? &a : &c, 1);
		TURN_UNTIL(b, false, 10);
	}
	wire_dial_free(&a.dial);
	wire_dial_free(&c.dial);
	wire_dial_free(&g.dial);
	rt_free(&rt);
	TURN_UNTIL(b, false, 10);
	return a.ngot;
}

static void
test_equally_loaded(void **state)
{
	struct bed *b = *state;

	assert_int_equal(share_of_first(b, 1000, 5000), 4); /* clearly faster */
	assert_int_equal(share_of_first(b, 5000, 1000), 0);
	assert_int_equal(share_of_first(b, 1000, 1010), 2); /* no real difference: they take turns */
	assert_int_equal(share_of_first(b, 0, 1000), 2);    /* nothing known */
}

static void
test_needs(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker plain = { .does = FAKE_TAKES, .needs = 1 };
	struct fake_worker seeing = { .does = FAKE_TAKES, .needs = 3 };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &plain, "plain", "m1", 1);
	worker_open(b, &seeing, "seeing", "m1", 1);
	dispatch(&g, (struct ask){ .attempt = 1, .needs = 2 });
	EXPECT(b, seeing.ngot == 1, 1000);
	/* one that only the busy worker can do does not stand in the way of one for the idle worker */
	dispatch(&g, (struct ask){ .attempt = 2, .needs = 2 });
	dispatch(&g, (struct ask){ .attempt = 3, .needs = 1 });
	EXPECT(b, plain.ngot == 1, 1000);
	assert_int_equal(plain.got[0], 3);
	dispatch(&g, (struct ask){ .attempt = 4, .needs = 1 });
	dispatch(&g, (struct ask){ .attempt = 5, .needs = 4, .deadline_ms = 2000 }); /* nobody can */
	EXPECT(b, g.rejects == 1, 1000);
	assert_string_equal(g.code, "model_unavailable");
	assert_non_null(strstr(g.message, "everything the request needs"));
	assert_int_equal(g.order[0], 5);
	worker_credit(&plain, 1);
	EXPECT(b, plain.ngot == 2, 1000);
	assert_int_equal(plain.got[1], 4);
	worker_credit(&seeing, 1);
	EXPECT(b, seeing.ngot == 2, 1000);
	assert_int_equal(seeing.got[1], 2);
	wire_dial_free(&plain.dial);
	wire_dial_free(&seeing.dial);
	wire_dial_free(&g.dial);
	rt_free(&rt);
}

static void
test_deadline_and_bound(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, 3, GRACE);
	struct rt_options more = { .queue_max = 4, .grace_ms = GRACE };
	struct fake_worker w = { .does = FAKE_TAKES };
	struct fake_gateway g;
	uint64_t t0;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1,m2", 1);
	dispatch(&g, (struct ask){ .attempt = 1 });
	EXPECT(b, w.ngot == 1, 1000);
	t0 = tf_mono_ms();
	dispatch(&g, (struct ask){ .attempt = 2, .deadline_ms = 80 });
	EXPECT(b, g.rejects == 1, 1000);
	assert_true(tf_mono_ms() - t0 >= 80);
	assert_string_equal(g.code, "overloaded");
	assert_int_equal(g.retry_after, RT_RETRY_BUSY_S);
	assert_int_equal(g.lost, 0);
	assert_int_equal(rt_stats(rt).queued, 0);
	for (unsigned i = 3; i <= 6; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, g.rejects == 2, 1000);
	assert_string_equal(g.code, "overloaded");
	assert_int_equal(g.order[1], 6);
	assert_int_equal(rt_stats(rt).queued, 3);
	rt_reload(rt, &more);
	dispatch(&g, (struct ask){ .attempt = 7 });
	dispatch(&g, (struct ask){ .attempt = 8, .model = "m2" }); /* the bound is per model */
	EXPECT(b, rt_stats(rt).queued == 5, 1000);
	assert_int_equal(g.rejects, 2);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	EXPECT(b, rt_stats(rt).queued == 0 && rt_stats(rt).models == 0, 1000);
	rt_free(&rt);
}

static void
test_absent_model(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { .does = FAKE_TAKES };
	struct fake_gateway g;
	uint64_t t0;

	gateway_open(b, &g, "gatewayd.0");
	t0 = tf_mono_ms();
	dispatch(&g, (struct ask){ .attempt = 1 });
	dispatch(&g, (struct ask){ .attempt = 2, .deadline_ms = 20 });
	EXPECT(b, g.rejects == 1, 1000);
	assert_int_equal(g.order[0], 2); /* its deadline comes before the end of the grace */
	EXPECT(b, g.rejects == 2, 1000);
	assert_true(tf_mono_ms() - t0 >= GRACE);
	assert_string_equal(g.code, "model_unavailable");
	assert_int_equal(g.retry_after, 5);
	assert_int_equal(rt_stats(rt).models, 0);
	/* a worker that comes in time gets it */
	dispatch(&g, (struct ask){ .attempt = 3 });
	worker_open(b, &w, "w0", "m1", 1);
	EXPECT(b, w.ngot == 1, 1000);
	/* waiting for a slot is no absence, until the worker goes */
	dispatch(&g, (struct ask){ .attempt = 4 });
	TURN_UNTIL(b, g.rejects > 2, GRACE * 2);
	assert_int_equal(g.rejects, 2);
	t0 = tf_mono_ms();
	worker_models(&w, false, false);
	EXPECT(b, g.rejects == 3, 1000);
	assert_string_equal(g.code, "model_unavailable");
	assert_true(tf_mono_ms() - t0 >= GRACE);
	/* and back within the grace: it waits on */
	worker_models(&w, true, false);
	dispatch(&g, (struct ask){ .attempt = 5 });
	EXPECT(b, rt_stats(rt).queued == 1, 1000);
	worker_models(&w, false, false);
	TURN_UNTIL(b, false, GRACE / 3);
	worker_models(&w, true, false);
	TURN_UNTIL(b, g.rejects > 3, GRACE * 2);
	assert_int_equal(g.rejects, 3);
	worker_credit(&w, 1);
	EXPECT(b, w.ngot == 2, 1000);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	rt_free(&rt);
}

/* Queues jobs behind a busy worker, then frees one slot at a time and compares the order. */
static void
expect_order(struct bed *b, const struct ask *asks, const unsigned *want, size_t n)
{
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { .does = FAKE_TAKES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1,m2,m3", 1);
	dispatch(&g, (struct ask){ .attempt = 99, .model = "m3" });
	EXPECT(b, w.ngot == 1, 1000);
	for (size_t i = 0; i < n; i++)
		dispatch(&g, asks[i]);
	EXPECT(b, rt_stats(rt).queued == n, 1000);
	for (size_t i = 0; i < n; i++) {
		worker_credit(&w, 1);
		EXPECT(b, w.ngot == i + 2, 1000);
		assert_int_equal(w.got[i + 1], want[i]);
	}
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	rt_free(&rt);
	TURN_UNTIL(b, false, 10);
}

static void
test_order(void **state)
{
	static const struct ask shares[] = {
		{ .attempt = 91, .workspace = "batch", .priority = 1 }, { .attempt = 1, .workspace = "a" },
		{ .attempt = 2, .workspace = "a" }, { .attempt = 3, .workspace = "a" },
		{ .attempt = 4, .workspace = "a" }, { .attempt = 11, .workspace = "b" },
		{ .attempt = 12, .workspace = "b" }, { .attempt = 21, .workspace = "c" },
	};
	static const unsigned shares_want[] = { 1, 11, 21, 2, 12, 3, 4, 91 };
	static const struct ask models[] = {
		{ .attempt = 51, .model = "m1", .priority = 1 }, { .attempt = 1, .model = "m1" },
		{ .attempt = 2, .model = "m1" }, { .attempt = 11, .model = "m2" },
		{ .attempt = 12, .model = "m2" },
	};
	static const unsigned models_want[] = { 1, 11, 2, 12, 51 };

	/* workspaces take turns inside a priority; so do the models of a worker */
	expect_order(*state, shares, shares_want, TF_LEN(shares));
	expect_order(*state, models, models_want, TF_LEN(models));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_dispatch_and_snapshots), T(test_credit), T(test_least_loaded),
		T(test_equally_loaded), T(test_needs), T(test_deadline_and_bound), T(test_absent_model),
		T(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
