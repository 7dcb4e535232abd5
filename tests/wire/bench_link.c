/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an exchange costs on the links alone: gateway -> router -> worker DISPATCH, then
 * ACCEPT, one EVENT, END and END_ACK straight between worker and gateway and TAKEN to the
 * router, all in one thread. Prints CPU microseconds, ZeroMQ's own thread included.
 *
 * bench_link [exchanges [in flight [body bytes]]]
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/event/event.h"
#include "common/wire/wire.h"

#define NONE tf_span(NULL, 0)

static struct {
	struct ev_loop *loop;
	struct wire_hub *router, *gateway;
	struct wire_dial *gw_rt, *wk_rt, *wk_gw;
	struct wire_peer *to_router, *to_worker, *wk_to_router, *wk_to_gateway;
	unsigned long want, started, done;
	char *body;
	size_t body_n;
} b;

static void
fail(const char *what)
{
	fprintf(stderr, "bench_link: %s\n", what);
	_exit(1);
}

static void
start_one(void)
{
	struct wire_dispatch d = { .surface = TF_SPAN("openai_chat"), .model = TF_SPAN("acme/small"),
		.asked = TF_SPAN("small"), .stream = 1, .deadline_ms = 30000,
		.workspace = TF_SPAN("0123456789abcdef"), .gateway = TF_SPAN("gatewayd.0"),
		.gateway_boot = 1, .secret = TF_SPAN("fedcba9876543210"), .body_len = b.body_n,
		.max_output = 100, .first_ms = 600000, .idle_ms = 300000, .credit = 262144 };
	struct tf_id id = tf_id_new();

	b.started++;
	if (wire_send_dispatch(b.to_router, &id, 1, &d, tf_span(b.body, b.body_n)) != 0)
		fail("DISPATCH");
}

static void
router_up(void *arg, struct wire_peer *p)
{
	(void)arg;
	if (p->role == WIRE_ROLE_WK)
		b.to_worker = p;
}

static void
router_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	(void)arg;
	(void)p;
	if (f->verb == WIRE_DISPATCH &&
	    wire_forward(b.to_worker, f->raw, WIRE_FN_DISPATCH_deadline_ms, m->dispatch.deadline_ms) != 0)
		fail("forward");
}

static void
worker_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct wire_accept a = { .worker = TF_SPAN("w0"), .boot = 2 };
	struct wire_event e = { .flags = WIRE_EV_BOUNDARY | WIRE_EV_CONTENT, .out_tokens = 3 };
	struct wire_end end = { .total = 200, .outcome = WIRE_OUTCOME_SERVED, .finish = TF_SPAN("stop"),
		.prompt = 10, .completion = 20, .first_us = 100, .total_us = 200 };

	(void)arg;
	(void)p;
	if (f->verb != WIRE_DISPATCH)
		return;
	a.secret = m->dispatch.secret;
	wire_send_accept(b.wk_to_gateway, &f->id, f->attempt, &a, NONE);
	wire_send_lazy(b.wk_to_router, WIRE_TAKEN, &f->id, f->attempt, NULL, NONE);
	wire_send_event(b.wk_to_gateway, &f->id, f->attempt, &e, tf_span(b.body, 200));
	wire_send_end(b.wk_to_gateway, &f->id, f->attempt, &end, NONE);
}

static void
gateway_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	(void)arg;
	(void)m;
	if (f->verb != WIRE_END)
		return;
	wire_send_lazy(p, WIRE_END_ACK, &f->id, f->attempt, NULL, NONE);
	b.done++;
	if (b.started < b.want)
		start_one();
}

static void
store_peer(void *arg, struct wire_peer *p)
{
	*(struct wire_peer **)arg = p;
}

static void
open_all(struct ev_zctx *ctx, const char *dir)
{
	struct wire_self rt = { .name = "routerd", .role = WIRE_ROLE_RT, .boot = 1 };
	struct wire_self gw = { .name = "gatewayd.0", .role = WIRE_ROLE_GW, .boot = 1 };
	struct wire_self wk = { .name = "w0", .role = WIRE_ROLE_WK, .boot = 1 };
	struct wire_hooks rh = { .up = router_up, .frame = router_frame };
	struct wire_hooks gh = { .frame = gateway_frame };
	struct wire_hooks to_rt = { .up = store_peer, .arg = &b.to_router };
	struct wire_hooks wk_rt = { .up = store_peer, .frame = worker_frame, .arg = &b.wk_to_router };
	struct wire_hooks wk_gw = { .up = store_peer, .arg = &b.wk_to_gateway };
	char r[128], g[128];

	snprintf(r, sizeof r, "ipc://%s/r.sock", dir);
	snprintf(g, sizeof g, "ipc://%s/g.sock", dir);
	if (wire_hub_new(b.loop, ctx, &rt, r, &rh, &b.router) != 0 ||
	    wire_hub_new(b.loop, ctx, &gw, g, &gh, &b.gateway) != 0 ||
	    wire_dial_new(b.loop, ctx, &gw, r, &to_rt, &b.gw_rt) != 0 ||
	    wire_dial_new(b.loop, ctx, &wk, r, &wk_rt, &b.wk_rt) != 0 ||
	    wire_dial_new(b.loop, ctx, &wk, g, &wk_gw, &b.wk_gw) != 0)
		fail("links");
	while (!b.to_router || !b.to_worker || !b.wk_to_router || !b.wk_to_gateway)
		ev_loop_once(b.loop, true);
}

static double
cpu_us(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1e6 +
	    (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

int
main(int argc, char **argv)
{
	unsigned long in_flight = argc > 2 ? strtoul(argv[2], NULL, 10) : 32;
	char dir[] = "/tmp/tf-wire-bench-XXXXXX", cmd[128];
	struct ev_zctx *ctx = ev_zctx_new(1);
	double cpu, wall;

	b.want = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	b.body_n = argc > 3 ? strtoul(argv[3], NULL, 10) : 1024;
	b.body = calloc(1, b.body_n > 200 ? b.body_n : 200);
	b.loop = ev_loop_new();
	if (!b.loop || !ctx || !b.body || !mkdtemp(dir))
		fail("setup");
	tf_log_level(TF_WARN);
	open_all(ctx, dir);
	cpu = cpu_us();
	wall = (double)tf_mono_ns() / 1e3;
	for (unsigned long i = 0; i < in_flight && b.started < b.want; i++)
		start_one();
	while (b.done < b.want)
		ev_loop_once(b.loop, true);
	cpu = cpu_us() - cpu;
	wall = (double)tf_mono_ns() / 1e3 - wall;
	printf("exchanges=%lu in_flight=%lu body=%zu cpu_us=%.2f wall_us=%.2f\n", b.want, in_flight, b.body_n,
	    cpu / (double)b.want, wall / (double)b.want);
	wire_dial_free(&b.wk_gw);
	wire_dial_free(&b.wk_rt);
	wire_dial_free(&b.gw_rt);
	wire_hub_free(&b.gateway);
	wire_hub_free(&b.router);
	ev_loop_once(b.loop, false);
	ev_loop_free(&b.loop);
	ev_zctx_free(&ctx);
	snprintf(cmd, sizeof cmd, "%s/r.sock.lock", dir);
	unlink(cmd);
	snprintf(cmd, sizeof cmd, "%s/g.sock.lock", dir);
	unlink(cmd);
	rmdir(dir);
	free(b.body);
	return 0;
}
