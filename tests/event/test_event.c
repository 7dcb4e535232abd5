/* SPDX-License-Identifier: Apache-2.0 */
/* common/event against real sockets: turns, timers, posts, children, and both rules of ZeroMQ. */
#include "config.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/event/event.h"

static char dir[64];

static int
group_setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/tf-event-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int
group_teardown(void **state)
{
	(void)state;
	return rmdir(dir);
}

static void
endpoint(char *out, size_t n, const char *name)
{
	snprintf(out, n, "ipc://%s/%s", dir, name);
}

/* ---- turns ---- */

struct turns {
	struct ev_loop *loop;
	struct ev_turn a, b;
	int ran_a, ran_b, freed;
	struct ev_timer t;
};

static void
on_a(void *arg)
{
	struct turns *x = arg;

	x->ran_a++;
	ev_turn_arm(x->loop, &x->b);
}

static void
on_b(void *arg)
{
	struct turns *x = arg;

	x->ran_b++;
	if (x->ran_b < 100)
		ev_turn_arm(x->loop, &x->b);
}

static void
on_free(void *arg)
{
	struct turns *x = arg;

	x->freed++;
}

static void
on_timer(void *arg)
{
	struct turns *x = arg;

	ev_turn_arm(x->loop, &x->a);
	ev_turn_arm(x->loop, &x->a);
	ev_free_later(x->loop, x, on_free);
	assert_int_equal(x->ran_a, 0);
	assert_int_equal(x->freed, 0);
}

static void
test_turns(void **state)
{
	struct turns x = { 0 };

	(void)state;
	x.loop = ev_loop_new();
	assert_non_null(x.loop);
	ev_turn_init(&x.a, on_a, &x);
	ev_turn_init(&x.b, on_b, &x);
	ev_timer_init(&x.t, x.loop, on_timer, &x);
	ev_timer_set(&x.t, 1);
	while (x.ran_a == 0)
		assert_int_equal(ev_loop_once(x.loop, true), 0);
	assert_int_equal(x.ran_a, 1);
	assert_int_equal(x.freed, 1);
	/* a hook that arms itself for ever does not hold the turn; the next one does not sleep */
	assert_in_range(x.ran_b, 1, 10);
	while (x.ran_b < 100)
		assert_int_equal(ev_loop_once(x.loop, true), 0);
	ev_loop_free(&x.loop);
	assert_null(x.loop);
}

static void
stop_loop(void *arg)
{
	ev_loop_stop(arg);
}

static void
test_timer(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_timer t;
	uint64_t began;

	(void)state;
	ev_timer_init(&t, loop, stop_loop, loop);
	assert_false(ev_timer_pending(&t));
	began = tf_mono_ns();
	ev_timer_set(&t, 60000);
	ev_timer_set(&t, 20);
	assert_true(ev_timer_pending(&t));
	assert_int_equal(ev_loop_run(loop), 0);
	assert_true(tf_mono_ns() - began >= 19000000);
	assert_true(tf_mono_ns() - began < UINT64_C(30000000000)); /* the nearer one counts */
	assert_false(ev_timer_pending(&t));
	ev_timer_set(&t, 1000);
	ev_timer_del(&t);
	assert_false(ev_timer_pending(&t));
	ev_loop_free(&loop);
}

/* Pushed back again and again, a timer fires once, at its last deadline; pulled forward, at the nearer one. */
static void
test_timer_lazy(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_timer t = { { 0 } };
	uint64_t began = tf_mono_ms();

	(void)state;
	ev_timer_del(&t); /* never initialised */
	assert_false(ev_timer_pending(&t));
	ev_timer_init(&t, loop, stop_loop, loop);
	ev_timer_set(&t, 10);
	for (int i = 0; i < 5; i++) {
		ev_timer_set(&t, 40);
		assert_int_equal(ev_loop_once(loop, false), 0);
		usleep(15000);
	}
	assert_true(ev_timer_pending(&t));
	assert_int_equal(ev_loop_run(loop), 0);
	assert_true(tf_mono_ms() - began >= 5 * 15 + 20);
	assert_false(ev_timer_pending(&t));
	began = tf_mono_ms();
	ev_timer_set(&t, UINT64_MAX); /* as good as never, and no overflow */
	ev_timer_set_us(&t, UINT64_MAX);
	assert_int_equal(ev_loop_once(loop, false), 0);
	assert_true(ev_timer_pending(&t));
	ev_timer_set_us(&t, 500);
	assert_int_equal(ev_loop_run(loop), 0);
	assert_true(tf_mono_ms() - began < 20000);
	/* the clock that tests shift is not the one that timers run on */
	ev_timer_set(&t, 30);
	tf_clock_shift(INT64_C(3600000000000));
	assert_int_equal(ev_loop_once(loop, false), 0);
	assert_true(ev_timer_pending(&t));
	tf_clock_shift(-INT64_C(3600000000000));
	ev_timer_del(&t);
	ev_loop_free(&loop);
}

static int posted;

static void
count_post(void *arg)
{
	(void)arg;
	posted++;
}

static void *
post_many(void *arg)
{
	for (int i = 0; i < 1000; i++)
		if (ev_post(arg, count_post, NULL) != 0)
			return arg;
	return NULL;
}

static void
test_post(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	pthread_t a, b;
	void *ra, *rb;

	(void)state;
	posted = 0;
	assert_int_equal(pthread_create(&a, NULL, post_many, loop), 0);
	assert_int_equal(pthread_create(&b, NULL, post_many, loop), 0);
	while (posted < 2000)
		assert_int_equal(ev_loop_once(loop, true), 0);
	pthread_join(a, &ra);
	pthread_join(b, &rb);
	assert_null(ra);
	assert_null(rb);
	ev_loop_free(&loop);
}

/* ---- children ---- */

static int child_status = -1;

static void
on_child(struct ev_child *c, int status, void *arg)
{
	(void)c;
	child_status = status;
	ev_loop_stop(arg);
}

static void
test_child(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_child c;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(7);
	usleep(50000); /* it ended before anybody listened */
	assert_int_equal(ev_child_add(&c, loop, pid, on_child, loop), 0);
	assert_int_equal(ev_loop_run(loop), 0);
	assert_true(WIFEXITED(child_status));
	assert_int_equal(WEXITSTATUS(child_status), 7);
	pid = fork();
	if (pid == 0) {
		usleep(50000);
		_exit(9);
	}
	assert_int_equal(ev_child_add(&c, loop, pid, on_child, loop), 0);
	assert_int_equal(ev_loop_run(loop), 0);
	assert_int_equal(WEXITSTATUS(child_status), 9);
	ev_loop_free(&loop);
}

/* One ended child's callback drops all the others, ended too: none of them may be touched any more. */
static struct ev_child many[5];
static int reported;

static void
on_first_child(struct ev_child *c, int status, void *arg)
{
	(void)status;
	(void)arg;
	reported++;
	for (size_t i = 0; i < TF_LEN(many); i++) {
		if (&many[i] == c)
			continue;
		ev_child_del(&many[i]);
		assert_int_equal(waitpid(many[i].pid, NULL, 0), many[i].pid);
		memset(&many[i], 0xee, sizeof many[i]);
	}
}

static void
test_children_dropped(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	pid_t lost;

	(void)state;
	for (size_t i = 0; i < TF_LEN(many); i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		assert_int_equal(ev_child_add(&many[i], loop, pid, on_first_child, NULL), 0);
	}
	usleep(100000);
	while (reported == 0)
		assert_int_equal(ev_loop_once(loop, true), 0);
	assert_int_equal(reported, 1);
	/* taken by somebody else: reported all the same, as a failure */
	lost = fork();
	if (lost == 0)
		_exit(0);
	assert_int_equal(waitpid(lost, NULL, 0), lost);
	assert_int_equal(ev_child_add(&many[0], loop, lost, on_child, loop), 0);
	child_status = 0;
	assert_int_equal(ev_loop_run(loop), 0);
	assert_int_equal(WEXITSTATUS(child_status), 255);
	ev_loop_free(&loop);
}

static void
on_signal(int signo, void *arg)
{
	posted += signo;
	ev_loop_stop(arg);
}

static void
test_signal(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_signal s = { { 0 } };

	(void)state;
	ev_signal_del(&s);
	posted = 0;
	assert_int_equal(ev_signal_add(&s, loop, SIGUSR2, on_signal, loop), 0);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	assert_int_equal(ev_loop_run(loop), 0);
	assert_int_equal(posted, SIGUSR2);
	ev_signal_del(&s);
	ev_signal_del(&s);
	ev_loop_free(&loop);
}

/* ---- ZeroMQ ---- */

struct peer {
	struct ev_loop *loop;
	struct ev_zsock *s;
	int got;
	bool echo;
	struct ev_zmsg *kept;
};

static void
on_message(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *m, void *arg)
{
	struct peer *p = arg;

	p->got++;
	if (p->echo)
		assert_int_equal(ev_zsock_send(s, from, ev_zmsg_bytes(m)), 0);
	else if (p->kept == NULL)
		p->kept = ev_zmsg_ref(m);
}

static struct ev_zsock *
sock(struct ev_loop *loop, struct ev_zctx *ctx, enum ev_ztype type, const char *id, struct peer *p)
{
	struct ev_zopts o = { .type = type, .on_message = on_message, .arg = p, .routing_id = tf_cspan(id) };

	p->loop = loop;
	p->s = ev_zsock_new(loop, ctx, &o);
	assert_non_null(p->s);
	return p->s;
}

static void
run_until(struct ev_loop *loop, const int *n, int want)
{
	struct ev_timer guard;

	ev_timer_init(&guard, loop, stop_loop, loop);
	ev_timer_set(&guard, 5000);
	while (*n < want && ev_timer_pending(&guard))
		assert_int_equal(ev_loop_once(loop, true), 0);
	ev_timer_del(&guard);
}

/* 200 requests sent one by one from a timer: each reply must be seen though every send eats the signal. */
struct asker {
	struct peer p;
	struct ev_timer t;
	int sent;
};

static void
ask(void *arg)
{
	struct asker *a = arg;

	assert_int_equal(ev_zsock_send(a->p.s, (struct tf_span){ 0 }, TF_SPAN("ping")), 0);
	if (++a->sent < 200)
		ev_timer_set_us(&a->t, 200);
}

static void
test_zmq_replies(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_zctx *ctx = ev_zctx_new(1);
	struct peer router = { .echo = true };
	struct asker a = { 0 };
	char ep[128];

	(void)state;
	endpoint(ep, sizeof ep, "a");
	assert_int_equal(ev_zsock_bind(sock(loop, ctx, EV_ROUTER, NULL, &router), ep), 0);
	assert_int_equal(ev_zsock_connect(sock(loop, ctx, EV_DEALER, "asker", &a.p), ep), 0);
	ev_timer_init(&a.t, loop, ask, &a);
	ev_timer_set(&a.t, 0);
	run_until(loop, &a.p.got, 200);
	assert_int_equal(router.got, 200);
	assert_int_equal(a.p.got, 200);
	assert_non_null(a.p.kept);
	assert_true(tf_span_is(ev_zmsg_bytes(a.p.kept), "ping"));
	ev_zmsg_unref(&a.p.kept);
	ev_zsock_close(&router.s);
	ev_zsock_close(&a.p.s);
	ev_loop_free(&loop);
	ev_zctx_free(&ctx);
}

/* A burst larger than one turn may take, all there before the loop first looks. */
static void
test_zmq_burst(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_zctx *ctx = ev_zctx_new(1);
	struct peer router = { 0 }, dealer = { 0 };
	char ep[128], *big = malloc(100000);

	(void)state;
	endpoint(ep, sizeof ep, "b");
	assert_int_equal(ev_zsock_bind(sock(loop, ctx, EV_ROUTER, NULL, &router), ep), 0);
	assert_int_equal(ev_zsock_connect(sock(loop, ctx, EV_DEALER, "burst", &dealer), ep), 0);
	for (int i = 0; i < 999; i++)
		assert_int_equal(ev_zsock_send(dealer.s, (struct tf_span){ 0 }, TF_SPAN("x")), 0);
	memset(big, 'y', 100000);
	assert_int_equal(ev_zsock_send_take(dealer.s, (struct tf_span){ 0 }, big, 100000), 0);
	usleep(100000);
	run_until(loop, &router.got, 1000);
	assert_int_equal(router.got, 1000);
	assert_int_equal(ev_zsock_send(router.s, TF_SPAN("nobody"), TF_SPAN("x")), TF_E_NOENT);
	ev_zmsg_unref(&router.kept);
	ev_zsock_close(&router.s);
	ev_zsock_close(&dealer.s);
	ev_loop_free(&loop);
	ev_zctx_free(&ctx);
}

/* Nobody steals a path; a restarted owner gets it, and its peer finds it again. */
static void
test_zmq_paths(void **state)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_zctx *ctx = ev_zctx_new(1);
	struct peer first = { 0 }, second = { 0 }, dealer = { 0 };
	struct ev_timer t;
	char ep[128], path[160];

	(void)state;
	endpoint(ep, sizeof ep, "c");
	assert_int_equal(ev_zsock_bind(sock(loop, ctx, EV_ROUTER, NULL, &first), ep), 0);
	sock(loop, ctx, EV_ROUTER, NULL, &second);
	assert_int_equal(ev_zsock_bind(second.s, ep), TF_E_EXIST);
	assert_int_equal(ev_zsock_connect(sock(loop, ctx, EV_DEALER, "again", &dealer), ep), 0);
	assert_int_equal(ev_zsock_send(dealer.s, (struct tf_span){ 0 }, TF_SPAN("1")), 0);
	run_until(loop, &first.got, 1);
	ev_zsock_close(&first.s);
	snprintf(path, sizeof path, "%s.lock", ep + 6);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(ev_zsock_bind(second.s, ep), 0);
	ev_timer_init(&t, loop, stop_loop, loop);
	ev_timer_set(&t, 600);
	assert_int_equal(ev_loop_run(loop), 0);
	assert_int_equal(ev_zsock_send(dealer.s, (struct tf_span){ 0 }, TF_SPAN("2")), 0);
	run_until(loop, &second.got, 1);
	assert_int_equal(second.got, 1);
	ev_zmsg_unref(&first.kept);
	ev_zmsg_unref(&second.kept);
	ev_zsock_close(&second.s);
	ev_zsock_close(&dealer.s);
	ev_loop_free(&loop);
	ev_zctx_free(&ctx);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_timer),
		cmocka_unit_test(test_timer_lazy),
		cmocka_unit_test(test_post),
		cmocka_unit_test(test_child),
		cmocka_unit_test(test_children_dropped),
		cmocka_unit_test(test_signal),
		cmocka_unit_test(test_zmq_replies),
		cmocka_unit_test(test_zmq_burst),
		cmocka_unit_test(test_zmq_paths),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
