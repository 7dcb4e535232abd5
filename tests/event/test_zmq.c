/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of ZeroMQ inside a loop, each with the variant that breaks it: a reader that trusts
 * ZMQ_FD alone, built here on the raw library, loses what ours gets. Then paths, peers that
 * misbehave, other processes, and fairness.
 */
#include "config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

#include "common/event/event.h"

#define ROUNDS 200
#define NONE ((struct tf_span){ 0 })

static char dir[64];
static char ep[128];

struct end {
	struct ev_zsock *s;
	int got, seen_in_turn, most_in_turn;
	bool echo, close_at_first;
	size_t bytes;
};

static struct fixture {
	struct ev_loop *loop;
	struct ev_zctx *ctx;
	struct ev_timer guard;
	struct end router, dealer;
} fx;

static void
nothing(void *arg)
{
	(void)arg;
}

static int
setup(void **state)
{
	(void)state;
	memset(&fx, 0, sizeof fx);
	snprintf(dir, sizeof dir, "/tmp/tf-zmq-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(ep, sizeof ep, "ipc://%s/s", dir);
	fx.loop = ev_loop_new();
	fx.ctx = ev_zctx_new(1);
	if (fx.loop == NULL || fx.ctx == NULL)
		return -1;
	ev_timer_init(&fx.guard, fx.loop, nothing, NULL);
	return 0;
}

/* Also proves that a close leaves neither socket nor lock file: the directory must be empty. */
static int
teardown(void **state)
{
	(void)state;
	ev_timer_del(&fx.guard);
	ev_zsock_close(&fx.router.s);
	ev_zsock_close(&fx.dealer.s);
	ev_loop_free(&fx.loop);
	ev_zctx_free(&fx.ctx);
	return rmdir(dir);
}

static void
on_message(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *m, void *arg)
{
	struct end *e = arg;

	e->got++;
	e->seen_in_turn++;
	if (e->seen_in_turn > e->most_in_turn)
		e->most_in_turn = e->seen_in_turn;
	e->bytes += ev_zmsg_bytes(m).n;
	if (e->echo)
		assert_int_equal(ev_zsock_send(s, from, ev_zmsg_bytes(m)), 0);
	if (e->close_at_first)
		ev_zsock_close(&e->s);
}

static void
open_end(struct end *e, struct ev_zopts o, const char *endpoint)
{
	o.on_message = on_message;
	o.arg = e;
	e->s = ev_zsock_new(fx.loop, fx.ctx, &o);
	assert_non_null(e->s);
	assert_int_equal(o.type == EV_ROUTER ? ev_zsock_bind(e->s, endpoint) : ev_zsock_connect(e->s, endpoint), 0);
}

static void
turn(bool wait)
{
	fx.router.seen_in_turn = fx.dealer.seen_in_turn = 0;
	assert_int_equal(ev_loop_once(fx.loop, wait), 0);
}

/* Until *n is want, or for ms milliseconds. */
static void
run_until(const int *n, int want, uint64_t ms)
{
	ev_timer_set(&fx.guard, ms);
	while (*n < want && ev_timer_pending(&fx.guard))
		turn(true);
	ev_timer_del(&fx.guard);
}

/* ---- a reader that trusts the descriptor ---- */

struct naive {
	void *ctx, *zmq;
	struct ev_fd fd;
	int got, most; /* most messages taken at one event; 0: all there are */
};

static void
naive_ready(struct ev_fd *f, int what, void *arg)
{
	struct naive *n = arg;
	char buf[64];

	(void)f;
	(void)what;
	for (int i = 0; n->most == 0 || i < n->most; i++) {
		if (zmq_recv(n->zmq, buf, sizeof buf, ZMQ_DONTWAIT) < 0)
			return;
		n->got++;
	}
}

static void
naive_open(struct naive *n, int type)
{
	size_t size = sizeof(int);
	int fd, linger = 0;

	n->ctx = zmq_ctx_new();
	n->zmq = zmq_socket(n->ctx, type);
	assert_non_null(n->zmq);
	zmq_setsockopt(n->zmq, ZMQ_LINGER, &linger, sizeof linger);
	assert_int_equal(zmq_getsockopt(n->zmq, ZMQ_FD, &fd, &size), 0);
	ev_fd_init(&n->fd, fx.loop, fd, naive_ready, n);
	assert_int_equal(ev_fd_watch(&n->fd, EV_FD_READ), 0);
}

static void
naive_close(struct naive *n)
{
	ev_fd_watch(&n->fd, 0);
	zmq_close(n->zmq);
	zmq_ctx_term(n->ctx);
}

/* Echoes in a process of its own, so that a reply is there before its asker looks. */
static pid_t
echo_process(void)
{
	char id[256], buf[65536];
	pid_t pid = fork();
	void *ctx, *s;

	if (pid != 0)
		return pid;
	alarm(60);
	ctx = zmq_ctx_new();
	s = zmq_socket(ctx, ZMQ_ROUTER);
	if (zmq_bind(s, ep) != 0)
		_exit(1);
	for (;;) {
		int idn = zmq_recv(s, id, sizeof id, 0), n = zmq_recv(s, buf, sizeof buf, 0);

		if (idn < 0 || n < 0)
			_exit(1);
		zmq_send(s, id, (size_t)idn, ZMQ_SNDMORE);
		zmq_send(s, buf, (size_t)n, 0);
	}
}

static void
echo_end(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	unlink(ep + 6);
}

/*
 * The reply to each question arrives while the next one is sent: the send reads the socket's
 * commands and with them the only signal there will ever be.
 */
static void
test_send_eats_the_signal(void **state)
{
	struct naive n = { 0 };
	pid_t pid = echo_process();
	char first[8];

	(void)state;
	naive_open(&n, ZMQ_DEALER);
	assert_int_equal(zmq_connect(n.zmq, ep), 0);
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER }, ep);
	assert_int_equal(zmq_send(n.zmq, "first", 5, 0), 5);
	assert_int_equal(zmq_recv(n.zmq, first, sizeof first, 0), 5); /* its link stands */
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(zmq_send(n.zmq, "ping", 4, 0), 4);
		assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("ping")), 0);
		usleep(4000);
		assert_int_equal(zmq_send(n.zmq, "ping", 4, 0), 4);
		assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("ping")), 0);
		if (i % 10 == 0)
			turn(false);
	}
	run_until(&fx.dealer.got, 2 * ROUNDS, 30000);
	assert_int_equal(fx.dealer.got, 2 * ROUNDS);
	run_until(&n.got, 2 * ROUNDS, 300);
	if (n.got == 2 * ROUNDS) /* a busy machine may hand it everything late enough */
		print_message("the naive reader lost nothing this time\n");
	naive_close(&n);
	echo_end(pid);
}

/* More than one turn takes, and then silence: who does not come back by himself is never called again. */
static void
test_drain_comes_back(void **state)
{
	struct naive n = { .most = 64 };
	char other[140];
	struct ev_zopts o = { .type = EV_DEALER };
	struct end to_naive = { 0 };

	(void)state;
	snprintf(other, sizeof other, "ipc://%s/n", dir);
	naive_open(&n, ZMQ_DEALER);
	assert_int_equal(zmq_bind(n.zmq, other), 0);
	open_end(&to_naive, o, other);
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	open_end(&fx.dealer, o, ep);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(ev_zsock_send(to_naive.s, NONE, TF_SPAN("x")), 0);
		assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("x")), 0);
	}
	usleep(200000); /* all of it has arrived before anybody looks */
	run_until(&fx.router.got, 1000, 30000);
	assert_int_equal(fx.router.got, 1000);
	assert_in_range(fx.router.most_in_turn, 1, 64);
	run_until(&n.got, 1000, 300);
	if (n.got == 1000) /* a busy machine may bring the messages bit by bit */
		print_message("the naive reader did not stall this time\n");
	naive_close(&n);
	unlink(other + 6);
	ev_zsock_close(&to_naive.s);
}

/* ---- fairness ---- */

static int calls;

static void
count_call(struct ev_fd *f, int what, void *arg)
{
	(void)f;
	(void)arg;
	assert_int_equal(what, EV_FD_READ);
	calls++;
}

static void
test_flood_is_fair(void **state)
{
	struct ev_fd f;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	ev_fd_init(&f, fx.loop, fds[0], count_call, NULL);
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER, .drain_max = 16 }, ep);
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER }, ep);
	for (int i = 0; i < 6400; i++)
		assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("x")), 0);
	usleep(100000);
	assert_int_equal(ev_fd_watch(&f, EV_FD_READ), 0);
	assert_int_equal(ev_fd_get(&f), fds[0]);
	calls = 0;
	run_until(&fx.router.got, 6400, 30000);
	assert_int_equal(fx.router.got, 6400);
	assert_in_range(fx.router.most_in_turn, 1, 16);
	assert_true(calls >= 6400 / 16 - 2);
	assert_int_equal(ev_fd_watch(&f, 0), 0);
	close(fds[0]);
	close(fds[1]);
}

/* ---- paths ---- */

static void
test_bind_modes(void **state)
{
	struct stat st;

	(void)state;
	umask(027);
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	assert_int_equal(stat(ep + 6, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(ev_zsock_bind(fx.router.s, "ipc://@abstract"), TF_E_INVAL);
	assert_int_equal(ev_zsock_bind(fx.router.s, "ipc://*"), TF_E_INVAL);
	assert_int_equal(ev_zsock_bind(fx.router.s, "ipc:///nonexistent/dir/s"), TF_E_IO);
	assert_int_equal(ev_zsock_bind(fx.router.s, "ipc:///tmp/"
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	    "aaaaaaaaaaaaaaaaaaaa"), TF_E_RANGE);
	assert_int_equal(ev_zsock_bind(fx.router.s, "nonsense"), TF_E_IO);
	assert_int_equal(ev_zsock_unbind(fx.router.s, "ipc:///tmp/other"), TF_E_NOENT);
	assert_int_equal(ev_zsock_unbind(fx.router.s, ep), 0);
	assert_int_equal(stat(ep + 6, &st), -1);
	assert_int_equal(ev_zsock_bind(fx.router.s, ep), 0);
}

static void
test_second_process_is_refused(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	pid = fork();
	if (pid == 0) {
		struct ev_loop *loop = ev_loop_new();
		struct ev_zctx *ctx = ev_zctx_new(1);
		struct end e = { 0 };
		struct ev_zopts o = { .type = EV_ROUTER, .on_message = on_message, .arg = &e };

		e.s = ev_zsock_new(loop, ctx, &o);
		_exit(ev_zsock_bind(e.s, ep) == TF_E_EXIST ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A killed owner leaves its files; a closed one's are gone at once, so that they never are the next one's. */
static void
test_path_changes_hands(void **state)
{
	int ready[2], status;
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct ev_zopts o = { .type = EV_ROUTER, .on_message = on_message };
		struct ev_loop *loop = ev_loop_new();
		struct ev_zctx *ctx = ev_zctx_new(1);
		struct ev_zsock *s = ev_zsock_new(loop, ctx, &o);

		if (ev_zsock_bind(s, ep) != 0 || write(ready[1], "x", 1) != 1)
			_exit(1);
		alarm(60);
		pause();
		_exit(1);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(access(ep + 6, F_OK), 0);
	for (int i = 0; i < 30; i++) {
		open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
		if (i < 29)
			ev_zsock_close(&fx.router.s);
	}
	usleep(100000);
	assert_int_equal(access(ep + 6, F_OK), 0);
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER }, ep);
	assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("x")), 0);
	run_until(&fx.router.got, 1, 30000);
	assert_int_equal(fx.router.got, 1);
}

static void
test_reconnects(void **state)
{
	uint64_t began;

	(void)state;
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER, .routing_id = TF_SPAN("d") }, ep);
	for (int i = 0; i < 5; i++) {
		began = tf_mono_ms();
		fx.router = (struct end){ .echo = true };
		fx.dealer.got = 0;
		open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
		/* what is sent into a dying link is lost without a word: ask until answered */
		while (fx.dealer.got == 0 && tf_mono_ms() - began < 20000) {
			assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("?")), 0);
			run_until(&fx.dealer.got, 1, 20);
		}
		assert_true(fx.dealer.got > 0);
		assert_true(tf_mono_ms() - began < 15000);
		ev_zsock_close(&fx.router.s);
		run_until(&fx.dealer.got, 10000, 30);
	}
}

/* ---- peers that misbehave, bounds ---- */

static void
test_extra_frames(void **state)
{
	void *ctx = zmq_ctx_new(), *s = zmq_socket(ctx, ZMQ_DEALER);
	uint64_t bad = tf_metric_get(TF_M_WIRE_BAD_FRAMES);
	int linger = 0;

	(void)state;
	zmq_setsockopt(s, ZMQ_LINGER, &linger, sizeof linger);
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	assert_int_equal(zmq_connect(s, ep), 0);
	assert_int_equal(zmq_send(s, "a", 1, ZMQ_SNDMORE), 1);
	assert_int_equal(zmq_send(s, "b", 1, ZMQ_SNDMORE), 1);
	assert_int_equal(zmq_send(s, "c", 1, 0), 1);
	assert_int_equal(zmq_send(s, "good", 4, 0), 4);
	run_until(&fx.router.got, 1, 30000);
	assert_int_equal(fx.router.got, 1);
	assert_int_equal(fx.router.bytes, 4);
	assert_int_equal(tf_metric_get(TF_M_WIRE_BAD_FRAMES), bad + 1);
	zmq_close(s);
	zmq_ctx_term(ctx);
}

static void
test_oversize(void **state)
{
	char *big = calloc(1, 20000);
	uint64_t began = tf_mono_ms();

	(void)state;
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER, .msg_max = 10000 }, ep);
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER }, ep);
	assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, tf_span(big, 10000)), 0);
	run_until(&fx.router.got, 1, 30000);
	assert_int_equal(fx.router.got, 1);
	assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, tf_span(big, 10001)), 0);
	run_until(&fx.router.got, 2, 200);
	assert_int_equal(fx.router.got, 1);
	/* its link was cut, and comes back */
	while (fx.router.got == 1 && tf_mono_ms() - began < 5000) {
		assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("small")), 0);
		run_until(&fx.router.got, 2, 50);
	}
	assert_true(fx.router.got > 1);
	assert_true(fx.router.bytes < 20000);
	/* we ourselves do not send what we would not take */
	assert_int_equal(ev_zsock_send(fx.router.s, TF_SPAN("any"), tf_span(big, 10001)), TF_E_RANGE);
	assert_int_equal(ev_zsock_send_take(fx.router.s, TF_SPAN("any"), big, 10001), TF_E_RANGE);
	free(big);
}

/* A failed send leaves the buffer with its owner, and the socket fit for the next message. */
static void
test_full_and_unknown(void **state)
{
	char *buf = malloc(100), *other = malloc(100);
	int sent = 0, rc = 0;

	(void)state;
	memset(buf, 'b', 100);
	memset(other, 'o', 100);
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER, .sndhwm = 10, .routing_id = TF_SPAN("me") }, ep);
	while (sent < 100 && (rc = ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("x"))) == 0)
		sent++;
	assert_int_equal(rc, TF_E_FULL);
	assert_true(sent >= 10);
	assert_int_equal(ev_zsock_send_take(fx.dealer.s, NONE, buf, 100), TF_E_FULL);
	assert_int_equal(buf[99], 'b');
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	assert_int_equal(ev_zsock_send(fx.router.s, TF_SPAN("nobody"), TF_SPAN("x")), TF_E_NOENT);
	assert_int_equal(ev_zsock_send_take(fx.router.s, TF_SPAN("nobody"), other, 100), TF_E_NOENT);
	assert_int_equal(other[99], 'o');
	run_until(&fx.router.got, sent, 30000);
	assert_int_equal(fx.router.got, sent);
	assert_int_equal(ev_zsock_send_take(fx.router.s, TF_SPAN("me"), other, 100), 0);
	assert_int_equal(ev_zsock_send_take(fx.dealer.s, NONE, buf, 100), 0);
	run_until(&fx.router.got, sent + 1, 30000);
	run_until(&fx.dealer.got, 1, 30000);
	assert_int_equal(fx.dealer.bytes, 100);
	assert_int_equal(fx.router.bytes, (size_t)sent + 100);
}

static void
test_immediate(void **state)
{
	(void)state;
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER, .immediate = true }, ep);
	assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("x")), TF_E_FULL);
}

static void
test_close_inside(void **state)
{
	(void)state;
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	fx.router.close_at_first = true;
	open_end(&fx.dealer, (struct ev_zopts){ .type = EV_DEALER }, ep);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ev_zsock_send(fx.dealer.s, NONE, TF_SPAN("x")), 0);
	run_until(&fx.router.got, 2, 200);
	assert_int_equal(fx.router.got, 1);
	assert_null(fx.router.s);
}

/* ---- another process ---- */

static int
child_echo(void)
{
	struct ev_loop *loop = ev_loop_new();
	struct ev_zctx *ctx = ev_zctx_new(1);
	struct end e = { .echo = true };
	struct ev_zopts o = {
		.type = EV_DEALER, .routing_id = TF_SPAN("child"), .on_message = on_message, .arg = &e, .linger_ms = 2000,
	};

	alarm(60);
	e.s = ev_zsock_new(loop, ctx, &o);
	if (e.s == NULL || ev_zsock_connect(e.s, ep) != 0 || ev_zsock_send(e.s, NONE, TF_SPAN("hello")) != 0)
		return 1;
	while (e.got < ROUNDS)
		if (ev_loop_once(loop, true) != 0)
			return 1;
	ev_zsock_close(&e.s);
	ev_loop_free(&loop);
	ev_zctx_free(&ctx); /* waits for the last echo to leave */
	return 0;
}

static void
test_other_process(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(child_echo());
	open_end(&fx.router, (struct ev_zopts){ .type = EV_ROUTER }, ep);
	run_until(&fx.router.got, 1, 30000);
	assert_int_equal(fx.router.got, 1);
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(ev_zsock_send(fx.router.s, TF_SPAN("child"), TF_SPAN("12345")), 0);
		run_until(&fx.router.got, 2 + i, 30000);
		assert_int_equal(fx.router.got, 2 + i);
	}
	assert_int_equal(fx.router.bytes, 5 * (ROUNDS + 1));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_send_eats_the_signal),
		TEST(test_drain_comes_back),
		TEST(test_flood_is_fair),
		TEST(test_bind_modes),
		TEST(test_second_process_is_refused),
		TEST(test_path_changes_hands),
		TEST(test_reconnects),
		TEST(test_extra_frames),
		TEST(test_oversize),
		TEST(test_full_and_unknown),
		TEST(test_immediate),
		TEST(test_close_inside),
		TEST(test_other_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
