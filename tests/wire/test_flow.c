/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on a link: joined per turn, lazy ones, forwarded and kept ones, a peer that reads
 * too slowly, and hooks that end what they are called from.
 */
#include "config.h"

#include "tests/wire/harness.h"


static const struct tf_id test_id = { { 1, 2, 3 } };

static void
send_ends(struct wire_peer *p, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		struct wire_end e = { .total = i, .outcome = WIRE_OUTCOME_SERVED };

		assert_int_equal(wire_send_end(p, &test_id, i, &e, NONE), 0);
	}
}

static void
test_turn_is_one_message(void **state)
{
	struct bed *b = *state;
	struct wire_welcome w = { .name = TF_SPAN("gatewayd.0"), .role = WIRE_ROLE_GW, .boot = 1,
		.major = 1, .heartbeat_ms = HB };
	struct side ds;
	struct raw gw;
	struct wire_dial *dial;

	raw_open(b, &gw, NULL);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, gw.per_verb[WIRE_HELLO] > 0, 1000);
	w.session = gw.session;
	raw_send(&gw, WIRE_WELCOME, &w);
	EXPECT(b, ds.ups == 1, 1000);
	gw.messages = gw.frames = 0;
	send_ends(ds.peer, 500);
	assert_true(wire_backlog(ds.peer) > 0);
	EXPECT(b, gw.frames >= 500, 1000);
	assert_int_equal(gw.messages, 1);
	assert_int_equal(gw.gaps, 0);
	assert_int_equal(wire_backlog(ds.peer), 0);
	/* beyond the bound of a message there are several, in order */
	gw.messages = gw.frames = 0;
	send_ends(ds.peer, 10000);
	EXPECT(b, gw.frames >= 10000, 2000);
	assert_true(gw.messages >= 2 && gw.messages < 10);
	assert_int_equal(gw.gaps, 0);
	wire_dial_free(&dial);
	raw_close(&gw);
}

static void
test_lazy(void **state)
{
	struct bed *b = *state;
	struct wire_load load = { .active = 1 };
	struct tf_buf frame = { 0 };
	struct side hs, ds;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	uint64_t t0;

	EXPECT(b, ds.ups == 1 && hs.ups == 1, 1000);
	t0 = tf_mono_ns();
	assert_int_equal(wire_send_lazy(ds.peer, WIRE_LOAD, NULL, 0, &load, NONE), 0);
	EXPECT(b, hs.frames == 1, 1000);
	assert_true(tf_mono_ns() - t0 >= 1500000); /* it did wait */
	/* a prompt one takes the lazy ones along, in order */
	assert_int_equal(wire_send_lazy(ds.peer, WIRE_LOAD, NULL, 7, &load, NONE), 0);
	assert_int_equal(wire_send_taken(ds.peer, &test_id, 8, NULL, NONE), 0);
	EXPECT(b, hs.frames == 3, 1000);
	assert_int_equal(hs.verb, WIRE_TAKEN);
	assert_int_equal(hs.attempt, 8);
	/* one that was encoded before waits likewise */
	assert_int_equal(wire_enc_load(&frame, NULL, 9, &load, NONE), 0);
	t0 = tf_mono_ns();
	assert_int_equal(wire_forward_lazy(ds.peer, tf_buf_span(&frame), WIRE_FN_LOAD_active, 2), 0);
	EXPECT(b, hs.frames == 4, 1000);
	assert_true(tf_mono_ns() - t0 >= 1500000);
	assert_int_equal(hs.attempt, 9);
	tf_buf_free(&frame);
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

/* Whose frames have time waits longer, so that more of them go together; a prompt one still takes them along. */
static void
test_lazy_long(void **state)
{
	struct bed *b = *state;
	struct wire_load load = { .active = 1 };
	struct side hs, ds;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *dial = dial_lazy(b, self_of("w0", WIRE_ROLE_WK, 5), 50000, &ds);
	uint64_t t0;

	EXPECT(b, ds.ups == 1 && hs.ups == 1, 1000);
	t0 = tf_mono_ns();
	assert_int_equal(wire_send_lazy(ds.peer, WIRE_LOAD, NULL, 0, &load, NONE), 0);
	EXPECT(b, hs.frames == 1, 5000);
	assert_true(tf_mono_ns() - t0 >= 49000000);
	assert_int_equal(wire_send_lazy(ds.peer, WIRE_LOAD, NULL, 0, &load, NONE), 0);
	assert_int_equal(wire_send_taken(ds.peer, &test_id, 8, NULL, NONE), 0);
	EXPECT(b, hs.frames == 3, 5000);
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

/* ---- a router in miniature ---------------------------------------------------------------- */

static struct wire_kept *kept;

static void
forward_to_worker(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct wire_peer *w = wire_hub_find(*(struct wire_hub **)s->arg, TF_SPAN("w0"));

	(void)p;
	assert_non_null(w);
	if (f->verb != WIRE_DISPATCH)
		return;
	assert_int_equal(wire_keep(f, &kept), 0);
	assert_int_equal(wire_forward(w, f->raw, WIRE_FN_DISPATCH_deadline_ms, m->dispatch.deadline_ms - 1), 0);
	assert_int_equal(wire_forward(w, f->raw, 0, 0), 0);
	assert_int_equal(wire_forward(w, f->raw, WIRE_FN_DISPATCH_prefix, 1), TF_E_NOENT);
}

static void
note_deadline(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	uint64_t *seen = s->arg;

	(void)p;
	(void)f;
	seen[s->frames - 1] = m->dispatch.deadline_ms;
}

static void
test_forward_and_keep(void **state)
{
	struct bed *b = *state;
	struct wire_dispatch d = { .surface = TF_SPAN("openai_chat"), .deadline_ms = 500 };
	struct side hs, gs, ws;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *gw = dial_new(b, "gatewayd.0", WIRE_ROLE_GW, 5, &gs);
	struct wire_dial *wk = dial_new(b, "w0", WIRE_ROLE_WK, 6, &ws);
	char *body = malloc(WIRE_INLINE_BODY);
	uint64_t seen[2] = { 0 };

	assert_non_null(body);
	memset(body, 'b', WIRE_INLINE_BODY);
	hs.on_frame = forward_to_worker;
	hs.arg = &hub;
	ws.on_frame = note_deadline;
	ws.arg = seen;
	EXPECT(b, gs.ups == 1 && ws.ups == 1 && hs.ups == 2, 1000);
	assert_int_equal(wire_send_dispatch(gs.peer, &test_id, 3, &d, tf_span(body, WIRE_INLINE_BODY)), 0);
	EXPECT(b, ws.frames == 2, 1000);
	assert_int_equal(ws.attempt, 3);
	assert_int_equal(seen[0], 499);
	assert_int_equal(seen[1], 500);
	assert_int_equal(ws.downs, 0);
	/* the kept frame outlives its message */
	TURN_UNTIL(b, false, 20);
	assert_int_equal(kept->frame.payload.n, WIRE_INLINE_BODY);
	assert_memory_equal(kept->frame.payload.p, body, WIRE_INLINE_BODY);
	wire_kept_free(&kept);
	wire_kept_free(&kept);
	free(body);
	wire_dial_free(&gw);
	wire_dial_free(&wk);
	wire_hub_free(&hub);
}

/* ---- slow readers ------------------------------------------------------------------------- */

/* A peer in a loop of its own, which reads only when that loop turns. */
struct sleeper {
	struct bed bed;
	struct side side;
	struct wire_dial *dial;
};

static void
sleeper_open(struct bed *b, struct sleeper *s)
{
	s->bed = *b;
	s->bed.loop = ev_loop_new();
	assert_non_null(s->bed.loop);
	s->dial = dial_new(&s->bed, "w0", WIRE_ROLE_WK, 5, &s->side);
	for (uint64_t until = tf_mono_ms() + 2000; s->side.ups == 0 && tf_mono_ms() < until;) {
		ev_loop_once(s->bed.loop, false);
		ev_loop_once(b->loop, true);
	}
	assert_int_equal(s->side.ups, 1);
}

static void
sleeper_close(struct sleeper *s)
{
	wire_dial_free(&s->dial);
	ev_loop_once(s->bed.loop, false);
	ev_loop_free(&s->bed.loop);
}

/* Fills ZeroMQ's queues with one message a turn until bytes stay with us. */
static unsigned
stuff(struct bed *b, struct wire_peer *p)
{
	char pad[512] = { 0 };
	unsigned n = 0;

	while (n < 60000 && (wire_backlog(p) == 0 || n % 64 != 0)) {
		struct wire_credit c = { .limit = ++n };

		assert_int_equal(wire_send_credit(p, &test_id, 1, &c, tf_span(pad, sizeof pad)), 0);
		ev_loop_once(b->loop, false);
	}
	assert_true(wire_backlog(p) > 0);
	return n;
}

static void
test_full_queue_drains(void **state)
{
	struct bed *b = *state;
	struct wire_self self = self_of("gatewayd.0", WIRE_ROLE_GW, 0x77);
	struct side hs;
	struct sleeper s;
	struct wire_hub *hub = NULL;
	unsigned sent;

	side_init(&hs);
	self.heartbeat_ms = 5000; /* a sleeper is not dead here */
	assert_int_equal(wire_hub_new(b->loop, b->ctx, &self, b->endpoint, &hs.hooks, &hub), 0);
	sleeper_open(b, &s);
	sent = stuff(b, hs.peer);
	for (uint64_t until = tf_mono_ms() + 10000; s.side.frames < sent && tf_mono_ms() < until;) {
		ev_loop_once(s.bed.loop, false);
		ev_loop_once(b->loop, false);
	}
	assert_int_equal(s.side.frames, sent);
	assert_int_equal(s.side.value, sent);
	assert_int_equal(s.side.downs, 0);
	assert_int_equal(wire_backlog(hs.peer), 0);
	sleeper_close(&s);
	wire_hub_free(&hub);
}

static void
test_full_queue_drops_the_peer(void **state)
{
	struct bed *b = *state;
	struct wire_self self = self_of("gatewayd.0", WIRE_ROLE_GW, 0x77);
	struct wire_credit c = { .limit = 1 };
	size_t big = 1u << 20;
	char *pad = calloc(1, big);
	struct side hs;
	struct sleeper s;
	struct wire_hub *hub = NULL;
	unsigned i;

	assert_non_null(pad);
	side_init(&hs);
	self.heartbeat_ms = 5000;
	assert_int_equal(wire_hub_new(b->loop, b->ctx, &self, b->endpoint, &hs.hooks, &hub), 0);
	sleeper_open(b, &s);
	stuff(b, hs.peer);
	for (i = 0; i < WIRE_BACKLOG_MAX / big + 2; i++)
		if (wire_send_credit(hs.peer, &test_id, 1, &c, tf_span(pad, big)) != 0)
			break;
	assert_true(i <= WIRE_BACKLOG_MAX / big);
	assert_int_equal(hs.downs, 0); /* never inside our own call */
	EXPECT(b, hs.downs == 1, 1000);
	assert_string_equal(hs.why, "it reads too slowly");
	free(pad);
	sleeper_close(&s);
	wire_hub_free(&hub);
}

/* ---- hooks that end things ---------------------------------------------------------------- */

static void
drop_it(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	(void)s;
	(void)f;
	(void)m;
	wire_drop(p, "an answer nobody asked for");
	wire_drop(p, "again");
	assert_true(wire_is_down(p));
}

static void
test_drop_in_frame(void **state)
{
	struct bed *b = *state;
	struct side hs, ds;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	uint64_t bad = tf_metric_get(TF_M_WIRE_BAD_FRAMES);

	hs.on_frame = drop_it;
	EXPECT(b, ds.ups == 1 && hs.ups == 1, 1000);
	for (unsigned i = 0; i < 3; i++) /* all in one message: only the first is seen */
		assert_int_equal(wire_send_taken(ds.peer, &test_id, 1, NULL, NONE), 0);
	EXPECT(b, hs.downs == 1, 1000);
	assert_string_equal(hs.why, "an answer nobody asked for");
	assert_int_equal(hs.frames, 1);
	assert_int_equal(tf_metric_get(TF_M_WIRE_BAD_FRAMES), bad + 1);
	EXPECT(b, ds.ups == 2 && hs.ups == 2, 1000); /* RESYNC: it may try again */
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

static void
free_hub(struct side *s, struct wire_peer *p)
{
	(void)p;
	wire_hub_free(s->arg);
}

static void
free_hub_frame(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	(void)p;
	(void)f;
	(void)m;
	wire_hub_free(s->arg);
}

static void
free_dial(struct side *s, struct wire_peer *p)
{
	(void)p;
	wire_dial_free(s->arg);
}

static void
test_free_in_hooks(void **state)
{
	struct bed *b = *state;

	for (unsigned k = 0; k < 5; k++) {
		struct side hs, ds;
		struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
		struct wire_dial *dial = dial_new(b, "w0", WIRE_ROLE_WK, 5 + k, &ds);

		hs.arg = &hub;
		ds.arg = &dial;
		hs.on_up = k == 0 ? free_hub : NULL;
		hs.on_frame = k == 1 ? free_hub_frame : NULL;
		hs.on_down = k == 2 ? free_hub : NULL;
		ds.on_up = k == 3 ? free_dial : NULL;
		ds.on_down = k == 4 ? free_dial : NULL;
		EXPECT(b, hs.ups == 1, 1000);
		if (k == 1 || k == 2) {
			EXPECT(b, ds.ups == 1, 1000);
			for (unsigned i = 0; i < 3; i++)
				assert_int_equal(wire_send_taken(ds.peer, &test_id, 1, NULL, NONE), 0);
			if (k == 2) {
				EXPECT(b, hs.frames == 3, 1000);
				wire_drop(hs.peer, "enough");
			}
		} else if (k == 4) {
			EXPECT(b, ds.ups == 1, 1000);
			wire_hub_free(&hub);
		}
		EXPECT(b, k < 3 ? hub == NULL : dial == NULL, 1000);
		wire_hub_free(&hub);
		wire_dial_free(&dial);
		TURN_UNTIL(b, false, 10);
	}
}

/* Both hooks of one loop turn send to each other's peers: nothing is left behind unsent. */
static void
echo(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct wire_end_ack ack = { 0 };

	(void)s;
	(void)m;
	if (f->verb == WIRE_END)
		assert_int_equal(wire_send_end_ack(p, &f->id, f->attempt, &ack, NONE), 0);
}

static void
test_many_round_trips(void **state)
{
	struct bed *b = *state;
	struct side hs, ds;
	struct wire_hub *hub = hub_new(b, "gatewayd.0", WIRE_ROLE_GW, &hs);
	struct wire_dial *dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);

	hs.on_frame = echo;
	EXPECT(b, ds.ups == 1 && hs.ups == 1, 1000);
	for (unsigned i = 1; i <= 70000; i += 100) { /* the sequence number wraps */
		send_ends(ds.peer, 100);
		EXPECT(b, ds.frames >= i + 99, 2000);
	}
	assert_int_equal(hs.downs + ds.downs, 0);
	assert_int_equal(hs.value, 100);
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_turn_is_one_message), T(test_lazy), T(test_lazy_long), T(test_forward_and_keep),
		T(test_full_queue_drains), T(test_full_queue_drops_the_peer), T(test_drop_in_frame),
		T(test_free_in_hooks), T(test_many_round_trips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
