/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the link tests: one loop with hubs, dials and raw ZeroMQ peers that say what they
 * like, and a record of what the hooks were told.
 */
#ifndef TESTS_WIRE_HARNESS_H
#define TESTS_WIRE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/event/event.h"
#include "common/wire/wire.h"

#define NONE tf_span(NULL, 0)
#define HB 150 /* heartbeat interval of the tests, ms */

struct bed {
	struct ev_loop *loop;
	struct ev_zctx *ctx;
	struct ev_timer wake;
	char dir[64];
	char endpoint[160];
};

/* One side's hooks: counters, and the last of each. */
struct side {
	struct wire_hooks hooks;
	struct wire_peer *peer; /* last that came up and is still there */
	unsigned ups, downs, frames;
	char why[160];          /* of the last down */
	unsigned verb;          /* of the last frame */
	uint32_t attempt;
	uint64_t value;         /* limit of the last CREDIT, total of the last END ... */
	void (*on_frame)(struct side *s, struct wire_peer *p, const struct wire_frame *f,
	    const union wire_any *m);
	void (*on_up)(struct side *s, struct wire_peer *p);
	void (*on_down)(struct side *s, struct wire_peer *p);
	void *arg;
};

/* A peer below the link: counts messages, keeps the frames of the last one. */
struct raw {
	struct ev_zsock *sock;
	struct tf_buf last;   /* last message */
	char from[256];       /* its sender, on a ROUTER */
	size_t from_len;
	unsigned messages, frames, per_verb[256];
	unsigned gaps;        /* frames whose seq is not the next one */
	uint16_t rx_seq, tx_seq;
	uint64_t session;     /* of the last HELLO */
	char refusal[512];
};

static inline void
bed_wake(void *arg)
{
	struct bed *b = arg;

	ev_timer_set(&b->wake, 2);
}

static inline int
bed_setup(void **state)
{
	struct bed *b = calloc(1, sizeof *b);

	assert_non_null(b);
	alarm(120); /* a failed test leaves sockets behind, and the context then waits for them */
	b->loop = ev_loop_new();
	b->ctx = ev_zctx_new(1);
	assert_non_null(b->loop);
	assert_non_null(b->ctx);
	snprintf(b->dir, sizeof b->dir, "/tmp/tf-wire-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->endpoint, sizeof b->endpoint, "ipc://%s/hub.sock", b->dir);
	ev_timer_init(&b->wake, b->loop, bed_wake, b);
	ev_timer_set(&b->wake, 2);
	*state = b;
	return 0;
}

static inline int
bed_teardown(void **state)
{
	struct bed *b = *state;
	char path[128];

	ev_timer_del(&b->wake);
	ev_loop_once(b->loop, false);
	ev_loop_free(&b->loop);
	ev_zctx_free(&b->ctx);
	snprintf(path, sizeof path, "%s/hub.sock.lock", b->dir);
	unlink(path);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

/* Turns the loop until cond holds, ms at most; true when it does. */
#define TURN_UNTIL(b, cond, ms) \
	for (uint64_t until_ = tf_mono_ms() + (ms); !(cond) && tf_mono_ms() < until_;) \
	ev_loop_once((b)->loop, true)
#define EXPECT(b, cond, ms) \
	do { \
		TURN_UNTIL(b, cond, (ms) < 20000 ? 20000 : (ms)); /* a busy machine */ \
		assert_true(cond); \
	} while (0)

static inline void
side_up(void *arg, struct wire_peer *p)
{
	struct side *s = arg;

	s->peer = p;
	s->ups++;
	if (s->on_up != NULL)
		s->on_up(s, p);
}

static inline void
side_down(void *arg, struct wire_peer *p, const char *why)
{
	struct side *s = arg;

	assert_true(wire_is_down(p));
	assert_int_equal(wire_send(p, WIRE_HEARTBEAT, NULL, 0, NULL, NONE), TF_E_CLOSED);
	if (s->peer == p)
		s->peer = NULL;
	s->downs++;
	snprintf(s->why, sizeof s->why, "%s", why);
	if (s->on_down != NULL)
		s->on_down(s, p);
}

static inline void
side_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct side *s = arg;

	s->frames++;
	s->verb = f->verb;
	s->attempt = f->attempt;
	if (f->verb == WIRE_CREDIT)
		s->value = m->credit.limit;
	else if (f->verb == WIRE_END)
		s->value = m->end.total;
	else if (f->verb == WIRE_DISPATCH)
		s->value = m->dispatch.deadline_ms;
	if (s->on_frame != NULL)
		s->on_frame(s, p, f, m);
}

static inline void
side_init(struct side *s)
{
	memset(s, 0, sizeof *s);
	s->hooks = (struct wire_hooks){ side_up, side_down, side_frame, s };
}

static inline struct wire_self
self_of(const char *name, enum wire_role role, uint64_t boot)
{
	return (struct wire_self){ .name = name, .role = role, .boot = boot, .epoch = 3,
		.build = "test", .heartbeat_ms = HB };
}

static inline struct wire_hub *
hub_new(struct bed *b, const char *name, enum wire_role role, struct side *s)
{
	struct wire_self self = self_of(name, role, 0x77);
	struct wire_hub *h = NULL;

	side_init(s);
	assert_int_equal(wire_hub_new(b->loop, b->ctx, &self, b->endpoint, &s->hooks, &h), 0);
	return h;
}

/* lazy_us: of struct wire_self */
static inline struct wire_dial *
dial_lazy(struct bed *b, struct wire_self self, unsigned lazy_us, struct side *s)
{
	struct wire_dial *d = NULL;

	side_init(s);
	self.endpoint = "ipc:///somewhere";
	self.lazy_us = lazy_us;
	assert_int_equal(wire_dial_new(b->loop, b->ctx, &self, b->endpoint, &s->hooks, &d), 0);
	return d;
}

static inline struct wire_dial *
dial_new(struct bed *b, const char *name, enum wire_role role, uint64_t boot, struct side *s)
{
	return dial_lazy(b, self_of(name, role, boot), 0, s);
}

/* ---- raw peers ---------------------------------------------------------------------------- */

static inline void
raw_message(struct ev_zsock *sock, struct tf_span from, struct ev_zmsg *m, void *arg)
{
	struct raw *r = arg;
	struct tf_span in = ev_zmsg_bytes(m);
	struct wire_frame f;
	size_t used;

	(void)sock;
	r->messages++;
	tf_buf_reset(&r->last);
	assert_int_equal(tf_buf_addspan(&r->last, in), 0);
	memcpy(r->from, from.p, from.n);
	r->from_len = from.n;
	for (; in.n > 0; in = tf_span(in.p + used, in.n - used)) {
		union wire_any any;

		assert_int_equal(wire_frame_read(in, &f, &used), 0);
		assert_int_equal(wire_dec(&f, &any), 0);
		r->frames++;
		r->per_verb[f.verb]++;
		if (f.verb == WIRE_HELLO)
			r->session = any.hello.session;
		if (f.verb == WIRE_WELCOME)
			r->rx_seq = 0;
		else if (f.verb > WIRE_RESYNC && f.seq != ++r->rx_seq)
			r->gaps++;
		if (f.verb == WIRE_REFUSE)
			snprintf(r->refusal, sizeof r->refusal, TF_SPAN_FMT, TF_SPAN_ARG(any.refuse.reason));
	}
}

static inline void
raw_open(struct bed *b, struct raw *r, const char *rid)
{
	struct ev_zopts o = { .type = rid ? EV_DEALER : EV_ROUTER, .msg_max = WIRE_MESSAGE_MAX,
		.routing_id = tf_cspan(rid), .on_message = raw_message, .arg = r };

	memset(r, 0, sizeof *r);
	r->sock = ev_zsock_new(b->loop, b->ctx, &o);
	assert_non_null(r->sock);
	if (rid != NULL)
		assert_int_equal(ev_zsock_connect(r->sock, b->endpoint), 0);
	else
		assert_int_equal(ev_zsock_bind(r->sock, b->endpoint), 0);
}

static inline void
raw_close(struct raw *r)
{
	ev_zsock_close(&r->sock);
	tf_buf_free(&r->last);
}

static inline void
raw_bytes(struct raw *r, const struct tf_buf *b)
{
	assert_int_equal(ev_zsock_send(r->sock, tf_span(r->from, r->from_len), tf_buf_span(b)), 0);
}

/* Sends one frame with the next seq moved by skew. */
static inline void
raw_send_skewed(struct raw *r, enum wire_verb verb, const void *m, int skew)
{
	struct tf_buf b = { 0 };
	uint16_t seq = 0;

	assert_int_equal(wire_enc(&b, verb, NULL, 0, m, NONE), 0);
	if (verb > WIRE_RESYNC)
		seq = (uint16_t)(++r->tx_seq + skew);
	memcpy(b.p + 6, &seq, 2);
	raw_bytes(r, &b);
	tf_buf_free(&b);
}

static inline void
raw_send(struct raw *r, enum wire_verb verb, const void *m)
{
	raw_send_skewed(r, verb, m, 0);
}

static inline void
raw_hello(struct raw *r, const char *name, enum wire_role role, uint64_t boot, uint64_t session)
{
	struct wire_hello m = { .name = tf_cspan(name), .role = role, .boot = boot, .major_min = 1,
		.major_max = 1, .session = session, .heartbeat_ms = HB };

	r->tx_seq = 0;
	raw_send(r, WIRE_HELLO, &m);
}

#endif
