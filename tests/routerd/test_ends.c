/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routerd among fake workers and gateways: every way in which a job ends, a router that is
 * killed, and draining.
 */
#include "config.h"

#include "tests/routerd/fakes.h"

#include <signal.h>
#include <sys/wait.h>

#define QUEUE 100
#define GRACE 500

static void
test_cancel(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { 0 };
	struct fake_gateway g, other;

	gateway_open(b, &g, "gatewayd.0");
	gateway_open(b, &other, "gatewayd.1");
	worker_open(b, &w, "w0", "m1", 1);
	dispatch(&g, (struct ask){ .attempt = 1 });
	dispatch(&g, (struct ask){ .attempt = 2 });
	EXPECT(b, w.ngot == 1 && rt_stats(rt).queued == 1, 1000);
	cancel(&other, 1); /* not its job */
	cancel(&other, 2);
	TURN_UNTIL(b, false, 20);
	assert_int_equal(w.cancels, 0);
	assert_int_equal(rt_stats(rt).queued, 1);
	cancel(&g, 2);
	EXPECT(b, rt_stats(rt).queued == 0, 1000);
	cancel(&g, 1);
	EXPECT(b, w.cancels == 1, 1000);
	assert_int_equal(w.cancelled, 1);
	assert_int_equal(w.reason, WIRE_CANCEL_CLIENT_GONE);
	assert_int_equal(rt_stats(rt).sent, 0);
	cancel(&g, 1);                        /* repeated */
	worker_says(&w, WIRE_TAKEN, 1, NULL); /* crossed it */
	worker_says(&w, WIRE_REJECT, 1, "busy");
	TURN_UNTIL(b, false, 20);
	assert_int_equal(w.cancels, 1);
	assert_int_equal(g.rejects, 0);
	assert_int_equal(rt_stats(rt).queued, 0);
	wire_dial_free(&g.dial);
	wire_dial_free(&other.dial);
	wire_dial_free(&w.dial);
	rt_free(&rt);
}

static void
test_busy_worker(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker a = { .does = FAKE_BUSY }, c = { .does = FAKE_TAKES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &a, "a", "m1", 1);
	dispatch(&g, (struct ask){ .attempt = 1, .workspace = "x" });
	EXPECT(b, a.ngot == 1 && rt_stats(rt).queued == 1, 1000);
	/* its credit is used up; the job waits before those that came later, of any workspace */
	dispatch(&g, (struct ask){ .attempt = 2, .workspace = "y" });
	dispatch(&g, (struct ask){ .attempt = 3, .workspace = "x" });
	EXPECT(b, rt_stats(rt).queued == 3, 1000);
	worker_credit(&a, 1);
	EXPECT(b, a.ngot == 2, 1000);
	assert_int_equal(a.got[1], 1);
	EXPECT(b, rt_stats(rt).queued == 3, 1000);
	a.does = FAKE_TAKES;
	worker_credit(&a, 3);
	EXPECT(b, a.ngot == 5, 1000);
	assert_int_equal(a.got[2], 1);
	/* another worker that is free gets it at once */
	worker_open(b, &c, "c", "m1", 1);
	a.does = FAKE_BUSY;
	worker_credit(&a, 4);
	TURN_UNTIL(b, false, 10);
	a.slots = 100; /* looks less loaded than c */
	worker_models(&a, true, false);
	a.issued += 95;
	worker_credit(&a, 0);
	TURN_UNTIL(b, false, 10);
	dispatch(&g, (struct ask){ .attempt = 4 });
	dispatch(&g, (struct ask){ .attempt = 5 });
	EXPECT(b, c.ngot == 1, 2000);
	assert_int_equal(g.rejects, 0);
	wire_dial_free(&a.dial);
	wire_dial_free(&c.dial);
	wire_dial_free(&g.dial);
	rt_free(&rt);
}

/* Any other refusal is the gateway's to judge. */
static void
test_worker_refuses(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { .does = FAKE_REFUSES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1", 1);
	dispatch(&g, (struct ask){ .attempt = 5 });
	EXPECT(b, g.rejects == 1, 1000);
	assert_int_equal(g.order[0], 5);
	assert_string_equal(g.code, "upstream_error");
	assert_string_equal(g.message, "said the worker");
	assert_int_equal(rt_stats(rt).sent, 0);
	wire_dial_free(&w.dial);
	wire_dial_free(&g.dial);
	rt_free(&rt);
}

static void
test_worker_goes(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { 0 }, again = { .does = FAKE_TAKES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1", 3);
	for (unsigned i = 1; i <= 4; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, w.ngot == 3 && rt_stats(rt).queued == 1, 1000);
	worker_says(&w, WIRE_TAKEN, 2, NULL);
	EXPECT(b, rt_stats(rt).sent == 2, 1000);
	wire_dial_free(&w.dial);
	EXPECT(b, g.rejects == 2, 1000);
	assert_int_equal(g.order[0], 1);
	assert_int_equal(g.order[1], 3);
	assert_string_equal(g.code, "model_unavailable");
	assert_int_equal(g.lost, 1);
	assert_int_equal(rt_stats(rt).sent, 0);
	assert_int_equal(rt_stats(rt).queued, 1); /* that one was never sent */
	worker_open(b, &again, "w0", "m1", 3);
	EXPECT(b, again.ngot == 1, 1000);
	assert_int_equal(again.got[0], 4);
	wire_dial_free(&again.dial);
	wire_dial_free(&g.dial);
	rt_free(&rt);
}

static void
test_gateway_goes(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { 0 };
	struct fake_gateway g, other;

	gateway_open(b, &g, "gatewayd.0");
	gateway_open(b, &other, "gatewayd.1");
	worker_open(b, &w, "w0", "m1", 2);
	for (unsigned i = 1; i <= 3; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, w.ngot == 2 && rt_stats(rt).queued == 1, 1000);
	worker_says(&w, WIRE_TAKEN, 1, NULL); /* that one talks with the gateway directly */
	EXPECT(b, rt_stats(rt).sent == 1, 1000);
	wire_dial_free(&g.dial);
	EXPECT(b, w.cancels == 1 && w.gateways == 1, 1000);
	assert_int_equal(w.cancelled, 2);
	assert_int_equal(w.reason, WIRE_CANCEL_GATEWAY_LOST);
	assert_string_equal(w.gateway, "gatewayd.1");
	assert_int_equal(rt_stats(rt).queued + rt_stats(rt).sent, 0);
	wire_dial_free(&other.dial);
	wire_dial_free(&w.dial);
	rt_free(&rt);
}

static void
test_imposters(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct wire_self self = self_of("gatewayd.9", WIRE_ROLE_GW, 4);
	struct wire_dial *mute = NULL;
	struct side ms;
	struct fake_worker w = { 0 };
	struct fake_gateway g;
	uint64_t bad = tf_metric_get(TF_M_WIRE_BAD_FRAMES);

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1", 4);
	dispatch(&g, (struct ask){ .attempt = 1 });
	dispatch(&g, (struct ask){ .attempt = 1 }); /* repeated: one job */
	EXPECT(b, w.ngot == 1, 1000);
	TURN_UNTIL(b, false, 20);
	assert_int_equal(w.ngot, 1);
	assert_int_equal(rt_stats(rt).sent, 1);
	dispatch(&g, (struct ask){ .attempt = 2, .as = "gatewayd.1" });
	EXPECT(b, g.side.downs == 1, 1000);
	assert_int_equal(tf_metric_get(TF_M_WIRE_BAD_FRAMES), bad + 1);
	assert_int_equal(w.ngot, 1);
	/* a gateway without an endpoint, a worker with impossible values */
	side_init(&ms);
	assert_int_equal(wire_dial_new(b->loop, b->ctx, &self, b->endpoint, &ms.hooks, &mute), 0);
	EXPECT(b, ms.downs > 0, 1000);
	wire_dial_free(&mute);
	w.slots = 0;
	worker_models(&w, true, false);
	EXPECT(b, w.side.downs == 1, 1000);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	rt_free(&rt);
}

/* ---- draining ----------------------------------------------------------------------------- */

static void
drained(void *arg)
{
	++*(unsigned *)arg;
}

static void
test_drain(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker w = { .does = FAKE_TAKES };
	struct fake_gateway g;
	unsigned done = 0;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1", 1);
	for (unsigned i = 1; i <= 3; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, w.ngot == 1 && rt_stats(rt).queued == 2, 1000);
	rt_drain(rt, 300, drained, &done);
	dispatch(&g, (struct ask){ .attempt = 4 });
	EXPECT(b, g.rejects == 1, 1000);
	assert_string_equal(g.code, "overloaded");
	assert_int_equal(g.lost, 1);
	assert_int_equal(done, 0);
	worker_credit(&w, 1); /* those that wait are served */
	EXPECT(b, w.ngot == 2, 1000);
	EXPECT(b, g.rejects == 2, 1000); /* until the time is up */
	assert_int_equal(g.order[1], 3);
	assert_int_equal(g.lost, 1);
	EXPECT(b, done == 1, 1000);
	rt_free(&rt);
	/* nothing to do: done at once */
	rt = router_open(b, QUEUE, GRACE);
	rt_drain(rt, 10000, drained, &done);
	EXPECT(b, done == 2, 1000);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	TURN_UNTIL(b, false, 10);
	assert_int_equal(done, 2);
	rt_free(&rt);
}

static void
test_worker_drain(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, QUEUE, GRACE);
	struct fake_worker a = { .does = FAKE_TAKES }, c = { .does = FAKE_TAKES };
	struct fake_gateway g;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &a, "a", "m1", 8);
	worker_open(b, &c, "c", "m1", 2);
	EXPECT(b, rt_stats(rt).workers_up == 2, 1000);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("x"), true), TF_E_NOENT);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("a"), false), TF_E_NOENT);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("a"), true), 0);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("a"), true), 0);
	assert_int_equal(rt_stats(rt).workers_up, 1);
	for (unsigned i = 1; i <= 3; i++)
		dispatch(&g, (struct ask){ .attempt = i });
	EXPECT(b, c.ngot == 2 && rt_stats(rt).queued == 1, 1000);
	worker_models(&a, true, false); /* its own READY does not end it */
	TURN_UNTIL(b, false, 20);
	assert_int_equal(a.ngot, 0);
	/* nor does a new session of the same process */
	wire_drop(a.side.peer, "a test");
	EXPECT(b, a.side.ups == 2, 2000);
	TURN_UNTIL(b, false, 50);
	assert_int_equal(a.ngot, 0);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("a"), false), 0);
	EXPECT(b, a.ngot == 1, 1000);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("a"), true), 0);
	assert_int_equal(rt_stats(rt).workers_up, 1);
	/* a new process does */
	wire_dial_free(&a.dial);
	EXPECT(b, rt_stats(rt).workers == 1, 1000);
	worker_open(b, &a, "a", "m1", 8);
	EXPECT(b, rt_stats(rt).workers_up == 2, 1000);
	assert_int_equal(rt_worker_drain(rt, TF_SPAN("a"), false), TF_E_NOENT);
	/* and its own wish counts as well */
	worker_models(&c, true, true);
	EXPECT(b, rt_stats(rt).workers_up == 1, 1000);
	wire_dial_free(&a.dial);
	wire_dial_free(&c.dial);
	wire_dial_free(&g.dial);
	rt_free(&rt);
}

/* ---- 10,000 jobs, every exit, nothing left ------------------------------------------------ */

static uint64_t
chance(uint64_t below)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x % below;
}

/* Something happens to a job or to those who hold them. */
static void
random_event(struct bed *b, struct fake_worker *w, struct fake_gateway *g, unsigned attempt)
{
	static const char *const models[] = { "m1", "m2", "m3", "absent" };
	static const char *const spaces[] = { "a", "b", "c" };
	struct ask a = { .attempt = attempt, .model = models[chance(4)], .workspace = spaces[chance(3)],
		.needs = chance(4), .priority = chance(2), .deadline_ms = 1 + chance(40) };

	dispatch(g, a);
	if (chance(8) == 0)
		cancel(g, attempt - (unsigned)chance(20));
	if (chance(3) == 0)
		ev_loop_once(b->loop, false);
	for (unsigned i = 0; i < 2; i++) {
		if (w[i].side.peer == NULL)
			continue;
		w[i].does = (enum fake_does)chance(4);
		if (chance(2) == 0)
			worker_credit(&w[i], chance(3));
		if (chance(200) == 0)
			worker_models(&w[i], chance(2) == 0, chance(4) == 0);
	}
}

static void
test_random_exits(void **state)
{
	struct bed *b = *state;
	struct rt *rt = router_open(b, 50, 20);
	struct fake_worker w[2] = { { .needs = 3 }, { .needs = 1 } };
	struct fake_gateway g;
	unsigned restarts = 0;

	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w[0], "w0", "m1,m2", 3);
	worker_open(b, &w[1], "w1", "m2,m3", 3);
	for (unsigned i = 1; i <= 10000; i++) {
		random_event(b, w, &g, i);
		if (i % 1000 == 0) {
			struct fake_worker *k = &w[chance(2)];

			wire_dial_free(&k->dial);
			memset(k, 0, sizeof *k);
			k->needs = 3;
			worker_open(b, k, k == w ? "w0" : "w1", "m1,m2,m3", 3);
			restarts++;
		}
		if (i == 5000) {
			wire_dial_free(&g.dial);
			EXPECT(b, rt_stats(rt).queued + rt_stats(rt).sent == 0, 1000);
			gateway_open(b, &g, "gatewayd.0");
		}
	}
	assert_int_equal(restarts, 10);
	assert_int_equal(g.side.downs, 0);
	/* whatever waits ends by its deadline, whatever was sent with its worker */
	EXPECT(b, rt_stats(rt).queued == 0, 2000);
	assert_int_equal(tf_metric_get(TF_M_RT_QUEUED), 0);
	wire_dial_free(&w[0].dial);
	wire_dial_free(&w[1].dial);
	EXPECT(b, rt_stats(rt).sent == 0, 2000);
	EXPECT(b, rt_stats(rt).workers == 0, 1000);
	assert_int_equal(rt_stats(rt).models, 0);
	wire_dial_free(&g.dial);
	EXPECT(b, rt_stats(rt).gateways == 0, 1000);
	rt_free(&rt);
}

/* ---- the router is killed ----------------------------------------------------------------- */

/* A router in a process of its own, which lives until it is killed. */
static pid_t
router_process(const char *endpoint)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct wire_self self = { .name = "routerd", .boot = (uint64_t)getpid(), .heartbeat_ms = 500 };
		struct rt_options o = { .queue_max = QUEUE, .grace_ms = GRACE };
		struct ev_loop *loop = ev_loop_new();
		struct ev_zctx *ctx = ev_zctx_new(1);
		struct rt *rt = NULL;

		alarm(30);
		if (loop == NULL || ctx == NULL || rt_new(loop, ctx, &self, endpoint, &o, &rt) != 0)
			_exit(1);
		ev_loop_run(loop);
		_exit(0);
	}
	return pid;
}

static void
test_router_killed(void **state)
{
	char dir[] = "/tmp/tf-router-XXXXXX", path[128];
	struct fake_worker w = { .does = FAKE_TAKES };
	struct fake_gateway g;
	struct bed *b;
	void *bed_state = NULL;
	uint64_t t0;
	pid_t first, second;
	int status;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "ipc://%s/routerd.sock", dir);
	first = router_process(path); /* before ZeroMQ runs here: it does not survive a fork */
	bed_setup(&bed_state);
	b = bed_state;
	snprintf(b->endpoint, sizeof b->endpoint, "%s", path);
	gateway_open(b, &g, "gatewayd.0");
	worker_open(b, &w, "w0", "m1", 4);
	dispatch(&g, (struct ask){ .attempt = 1 });
	EXPECT(b, w.ngot == 1, 1000);
	assert_int_equal(kill(first, SIGKILL), 0);
	assert_int_equal(waitpid(first, &status, 0), first);
	second = router_process(path);
	t0 = tf_mono_ms();
	EXPECT(b, g.side.ups == 2 && w.side.ups == 2 && g.live == 1, 3000);
	assert_true(tf_mono_ms() - t0 < 15000);
	assert_true(g.side.peer->boot == (uint64_t)second);
	dispatch(&g, (struct ask){ .attempt = 2 });
	EXPECT(b, w.ngot == 2, 1000);
	assert_int_equal(kill(second, SIGKILL), 0);
	assert_int_equal(waitpid(second, &status, 0), second);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
	bed_teardown(&bed_state);
	snprintf(path, sizeof path, "%s/routerd.sock", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/routerd.sock.lock", dir);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_router_killed), T(test_cancel), T(test_busy_worker),
		T(test_worker_refuses), T(test_worker_goes), T(test_gateway_goes), T(test_imposters),
		T(test_drain), T(test_worker_drain), T(test_random_exits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
