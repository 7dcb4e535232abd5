/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a turn, a timer and a message cost. Not part of the tests; run by hand:
 * `make tests/event/bench_event && tests/event/bench_event`.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/event/event.h"

#define MESSAGES 200000
#define SIZE 300

static char dir[] = "/tmp/tf-bench-XXXXXX";
static char ep[64];

static double
cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void
stop(void *arg)
{
	ev_loop_stop(arg);
}

/* ---- one way, two processes ---- */

static int received;

static void
on_message(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *m, void *arg)
{
	(void)s;
	(void)from;
	(void)m;
	if (++received == MESSAGES)
		ev_loop_stop(arg);
}

struct sender {
	struct ev_loop *loop;
	struct ev_zsock *s;
	struct ev_timer t;
	int sent, batch;
	uint64_t pause_us;
};

static void
send_some(void *arg)
{
	static char payload[SIZE];
	struct sender *x = arg;

	for (int i = 0; i < x->batch && x->sent < MESSAGES; i++) {
		if (ev_zsock_send(x->s, (struct tf_span){ 0 }, tf_span(payload, sizeof payload)) != 0)
			break;
		x->sent++;
	}
	if (x->sent < MESSAGES)
		ev_timer_set_us(&x->t, x->pause_us);
	else
		ev_loop_stop(x->loop);
}

static void
sender_process(int batch, uint64_t pause_us)
{
	struct ev_zctx *ctx = ev_zctx_new(1);
	struct sender x = { .loop = ev_loop_new(), .batch = batch, .pause_us = pause_us };
	struct ev_zopts o = { .type = EV_DEALER, .on_message = on_message, .linger_ms = 5000 };

	x.s = ev_zsock_new(x.loop, ctx, &o);
	if (x.s == NULL || ev_zsock_connect(x.s, ep) != 0)
		_exit(1);
	ev_timer_init(&x.t, x.loop, send_some, &x);
	ev_timer_set(&x.t, 100);
	if (ev_loop_run(x.loop) != 0)
		_exit(1);
	ev_zsock_close(&x.s);
	ev_loop_free(&x.loop);
	ev_zctx_free(&ctx);
	printf("  sender   %6.2f us CPU a message\n", cpu_us() / MESSAGES);
	fflush(stdout);
	_exit(0);
}

static void
one_way(int batch, uint64_t pause_us)
{
	struct ev_loop *loop;
	struct ev_zctx *ctx;
	struct ev_zopts o = { .type = EV_ROUTER, .on_message = on_message };
	struct ev_zsock *s;
	double before;
	pid_t pid;

	printf("%d messages of %d bytes, %d a turn, %llu us between turns\n", MESSAGES, SIZE, batch,
	    (unsigned long long)pause_us);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		sender_process(batch, pause_us);
	loop = ev_loop_new();
	ctx = ev_zctx_new(1);
	o.arg = loop;
	s = ev_zsock_new(loop, ctx, &o);
	if (s == NULL || ev_zsock_bind(s, ep) != 0)
		abort();
	received = 0;
	before = cpu_us();
	ev_loop_run(loop);
	waitpid(pid, NULL, 0);
	printf("  receiver %6.2f us CPU a message\n", (cpu_us() - before) / MESSAGES);
	ev_zsock_close(&s);
	ev_loop_free(&loop);
	ev_zctx_free(&ctx);
}

/* ---- turns and timers ---- */

static void
turns(void)
{
	struct ev_loop *loop = ev_loop_new();
	double before = cpu_us();

	for (int i = 0; i < 500000; i++)
		(void)ev_loop_once(loop, false);
	printf("an idle turn                 %6.3f us\n", (cpu_us() - before) / 500000);
	ev_loop_free(&loop);
}

static void
timers(void)
{
	static struct ev_timer t[10000];
	struct ev_loop *loop = ev_loop_new();
	double before;

	for (size_t i = 0; i < TF_LEN(t); i++) {
		ev_timer_init(&t[i], loop, stop, loop);
		ev_timer_set(&t[i], 60000 + i);
	}
	before = cpu_us();
	for (int i = 0; i < 2000000; i++)
		ev_timer_set(&t[(size_t)i * 7919 % TF_LEN(t)], 75000);
	printf("a timer pushed back          %6.3f us (10000 pending)\n", (cpu_us() - before) / 2000000);
	before = cpu_us();
	for (int i = 0; i < 1000000; i++) {
		struct ev_timer *one = &t[(size_t)i * 7919 % TF_LEN(t)];

		ev_timer_del(one);
		ev_timer_set(one, 75000);
	}
	printf("a timer deleted and set      %6.3f us (10000 pending)\n", (cpu_us() - before) / 1000000);
	for (size_t i = 0; i < TF_LEN(t); i++)
		ev_timer_del(&t[i]);
	ev_loop_free(&loop);
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
lateness(void)
{
	static uint64_t late[1000];
	struct ev_loop *loop = ev_loop_new();
	struct ev_timer t;

	ev_timer_init(&t, loop, stop, loop);
	for (size_t i = 0; i < TF_LEN(late); i++) {
		uint64_t began = tf_mono_ns();

		ev_timer_set_us(&t, 1300);
		ev_loop_run(loop);
		late[i] = tf_mono_ns() - began - 1300000;
	}
	qsort(late, TF_LEN(late), sizeof *late, by_value);
	printf("a timer of 1.3 ms is late by %6.0f us (p50), %.0f us (p99)\n", (double)late[500] / 1e3, (double)late[990] / 1e3);
	ev_loop_free(&loop);
}

int
main(void)
{
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(ep, sizeof ep, "ipc://%s/s", dir);
	turns();
	timers();
	lateness();
	one_way(1, 0);
	one_way(8, 0);
	one_way(64, 0);
	one_way(1, 50);
	return rmdir(dir) != 0;
}
