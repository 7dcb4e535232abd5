/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of the links: hello, refusal, restarts of either side, silence, and peers that
 * break the protocol.
 */
#include "config.h"

#include "tests/wire/harness.h"

#define W_RID "w0.0000000000000005.1"

static void
test_up_and_bye(void **state)
{
	struct bed *b = *state;
	struct side hs, ds;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *dial = dial_new(b, "gatewayd.0", WIRE_ROLE_GW, 5, &ds);

	wire_hub_epoch(hub, 9);
	EXPECT(b, ds.ups == 1 && hs.ups == 1, 1000);
	assert_string_equal(hs.peer->name, "gatewayd.0");
	assert_string_equal(hs.peer->endpoint, "ipc:///somewhere");
	assert_string_equal(hs.peer->build, "test");
	assert_int_equal(hs.peer->role, WIRE_ROLE_GW);
	assert_int_equal(hs.peer->boot, 5);
	assert_int_equal(hs.peer->epoch, 3);
	assert_int_equal(hs.peer->major, WIRE_MAJOR);
	assert_string_equal(ds.peer->name, "routerd");
	assert_int_equal(ds.peer->epoch, 9);
	assert_ptr_equal(wire_dial_peer(dial), ds.peer);
	assert_string_equal(wire_dial_trouble(dial), "");
	assert_int_equal(wire_hub_count(hub), 1);
	assert_ptr_equal(wire_hub_find(hub, TF_SPAN("gatewayd.0")), hs.peer);
	assert_null(wire_hub_find(hub, TF_SPAN("gatewayd")));
	assert_ptr_equal(wire_hub_next(hub, NULL), hs.peer);
	assert_null(wire_hub_next(hub, hs.peer));
	/* idle for many intervals: heartbeats keep it */
	TURN_UNTIL(b, hs.downs || ds.downs, HB * 8);
	assert_int_equal(hs.downs + ds.downs, 0);
	wire_dial_free(&dial);
	assert_int_equal(ds.downs, 1);
	EXPECT(b, hs.downs == 1, 1000);
	assert_string_equal(hs.why, "it said goodbye");
	assert_int_equal(wire_hub_count(hub), 0);
	wire_hub_free(&hub);
}

static void
test_hub_says_bye_and_comes_back(void **state)
{
	struct bed *b = *state;
	struct side hs, ds;
	struct wire_dial *dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds); /* before there is a hub */
	struct wire_hub *hub;

	TURN_UNTIL(b, false, 100);
	assert_int_equal(ds.ups, 0);
	assert_string_equal(wire_dial_trouble(dial), "not connected yet");
	hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	EXPECT(b, ds.ups == 1, 1000);
	wire_hub_free(&hub);
	assert_int_equal(hs.downs, 1);
	EXPECT(b, ds.downs == 1, 1000);
	assert_null(wire_dial_peer(dial));
	hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	EXPECT(b, ds.ups == 2 && hs.ups == 1, 1000);
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

/* The hub dies without a word and another one binds: back in session well within a second. */
static void
test_hub_killed(void **state)
{
	struct bed *b = *state;
	struct wire_welcome w = { .name = TF_SPAN("routerd"), .role = WIRE_ROLE_RT, .boot = 1, .major = 1,
		.session = 1, .heartbeat_ms = HB };
	struct side hs, ds;
	struct raw fake;
	struct wire_dial *dial;
	struct wire_hub *hub;
	uint64_t t0;

	raw_open(b, &fake, NULL);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	w.session = fake.session;
	raw_send(&fake, WIRE_WELCOME, &w);
	EXPECT(b, ds.ups == 1, 1000);
	raw_close(&fake);
	hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	t0 = tf_mono_ms();
	EXPECT(b, ds.ups == 2 && hs.ups == 1, 1000);
	assert_int_equal(ds.downs, 1);
	assert_int_equal(ds.peer->boot, 0x77);
	assert_true(tf_mono_ms() - t0 < 15000);
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

/* What the socket of a freed dial still delivers does not disturb the dial that came after it. */
static void
test_freed_and_made_again(void **state)
{
	struct bed *b = *state;
	struct wire_welcome w = { .name = TF_SPAN("routerd"), .role = WIRE_ROLE_RT, .boot = 1, .major = 1,
		.heartbeat_ms = HB };
	struct wire_resync rs = { 0 };
	struct side hs, ds;
	struct raw fake, late;
	struct wire_dial *dial;
	struct wire_hub *hub;
	uint64_t stale;

	raw_open(b, &fake, NULL);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	w.session = fake.session;
	raw_send(&fake, WIRE_WELCOME, &w);
	EXPECT(b, ds.ups == 1, 1000);
	raw_send(&fake, WIRE_RESYNC, &rs);
	EXPECT(b, fake.session > w.session, 1000);
	stale = fake.session;
	wire_dial_free(&dial);
	raw_close(&fake);
	hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, ds.ups == 1, 1000);
	raw_open(b, &late, "w0.0000000000000005.77");
	raw_hello(&late, "w0", WIRE_ROLE_WK, 5, stale);
	TURN_UNTIL(b, false, 100);
	assert_int_equal(ds.ups, 1);
	assert_int_equal(ds.downs, 0);
	assert_int_equal(hs.downs, 0);
	raw_close(&late);
	wire_dial_free(&dial);
	wire_hub_free(&hub);
}

/* A hub that is there but forgot us says RESYNC to whatever we send. */
static void
test_resync(void **state)
{
	struct bed *b = *state;
	struct side hs;
	struct raw r;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_taken taken = { 0 };

	raw_open(b, &r, W_RID);
	raw_send(&r, WIRE_TAKEN, &taken);
	EXPECT(b, r.per_verb[WIRE_RESYNC] == 1, 1000);
	assert_int_equal(hs.ups, 0);
	raw_hello(&r, "w0", WIRE_ROLE_WK, 5, 1);
	EXPECT(b, r.per_verb[WIRE_WELCOME] == 1, 1000);
	raw_send(&r, WIRE_TAKEN, &taken);
	EXPECT(b, hs.frames == 1, 1000);
	/* the same HELLO again is the same session, an older one is nothing, a newer one a new session */
	raw_hello(&r, "w0", WIRE_ROLE_WK, 5, 1);
	EXPECT(b, r.per_verb[WIRE_WELCOME] == 2, 1000);
	raw_hello(&r, "w0", WIRE_ROLE_WK, 5, 0);
	raw_hello(&r, "w0", WIRE_ROLE_WK, 5, 2);
	EXPECT(b, r.per_verb[WIRE_WELCOME] == 3, 1000);
	assert_int_equal(hs.ups, 2);
	assert_int_equal(hs.downs, 1);
	assert_string_equal(hs.why, "it opened a new session");
	raw_close(&r);
	wire_hub_free(&hub);
}

static void
test_dial_answers_resync(void **state)
{
	struct bed *b = *state;
	struct wire_welcome w = { .name = TF_SPAN("routerd"), .role = WIRE_ROLE_RT, .boot = 1, .major = 1,
		.session = 1, .heartbeat_ms = HB };
	struct wire_resync rs = { 0 };
	struct side ds;
	struct raw fake;
	struct wire_dial *dial;
	uint64_t t0;

	raw_open(b, &fake, NULL);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	w.session = fake.session + 99; /* answers no HELLO of ours */
	raw_send(&fake, WIRE_WELCOME, &w);
	TURN_UNTIL(b, false, 20);
	assert_int_equal(ds.ups, 0);
	w.session = fake.session;
	raw_send(&fake, WIRE_WELCOME, &w);
	EXPECT(b, ds.ups == 1, 1000);
	memset(fake.per_verb, 0, sizeof fake.per_verb);
	t0 = tf_mono_ms();
	raw_send(&fake, WIRE_RESYNC, &rs);
	raw_send(&fake, WIRE_RESYNC, &rs);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	assert_true(tf_mono_ms() - t0 < 900); /* the second within this time would wait */
	assert_int_equal(ds.downs, 1);
	assert_string_equal(ds.why, "it has no session with us");
	assert_true(fake.session > w.session);
	w.session = fake.session;
	raw_send(&fake, WIRE_WELCOME, &w);
	EXPECT(b, ds.ups == 2, 1000);
	/* dropped on sight again: HELLO waits for the timer */
	memset(fake.per_verb, 0, sizeof fake.per_verb);
	raw_send(&fake, WIRE_RESYNC, &rs);
	TURN_UNTIL(b, false, 40);
	assert_int_equal(ds.downs, 2);
	assert_int_equal(fake.per_verb[WIRE_HELLO], 0);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	wire_dial_free(&dial);
	raw_close(&fake);
}

static void
test_restart_with_new_boot(void **state)
{
	struct bed *b = *state;
	struct side hs, old_s, new_s;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *old = dial_new(b, "w0", WIRE_ROLE_WK, 5, &old_s), *new;
	uint64_t lost = tf_metric_get(TF_M_WIRE_PEER_LOST);

	EXPECT(b, old_s.ups == 1, 1000);
	new = dial_new(b, "w0", WIRE_ROLE_WK, 6, &new_s);
	EXPECT(b, new_s.ups == 1, 1000);
	assert_int_equal(hs.ups, 2);
	assert_int_equal(hs.downs, 1);
	assert_string_equal(hs.why, "it was restarted");
	assert_int_equal(hs.peer->boot, 6);
	assert_true(tf_metric_get(TF_M_WIRE_PEER_LOST) > lost);
	/* the old one still lives: it must not take the name back, or both would fight for ever */
	EXPECT(b, old_s.downs == 1 && strstr(wire_dial_trouble(old), "another instance") != NULL, 2000);
	assert_int_equal(hs.ups, 2);
	assert_int_equal(new_s.downs, 0);
	wire_dial_free(&old);
	wire_dial_free(&new);
	wire_hub_free(&hub);
}

static void
test_refusals(void **state)
{
	static const struct {
		const char *rid, *name;
		uint64_t role, boot, major_min, major_max;
		const char *says;
	} cases[] = {
		{ W_RID, "w0", WIRE_ROLE_WK, 5, 9, 12, "speaks wire version 1 to 1, w0 (?) speaks 9 to 12" },
		{ W_RID, "w0", WIRE_ROLE_WK, 6, 1, 1, "not the one of its connection" },
		{ W_RID, "w1", WIRE_ROLE_WK, 5, 1, 1, "not the one of its connection" },
		{ "w0.0000000000000005.x", "w0", WIRE_ROLE_WK, 5, 1, 1, "not the one of its connection" },
		{ "w 0.0000000000000005.1", "w 0", WIRE_ROLE_WK, 5, 1, 1, "not the one of its connection" },
		{ W_RID, "w0", WIRE_ROLE_BL, 5, 1, 1, "takes no billingd" },
		{ W_RID, "w0", WIRE_ROLE_RT, 5, 1, 1, "takes no routerd" },
		{ W_RID, "w0", 0, 5, 1, 1, "takes no ?" },
		{ W_RID, "w0", 3, 5, 1, 1, "takes no ?" },
		{ W_RID, "w0", UINT64_MAX, 5, 1, 1, "takes no ?" },
	};
	struct bed *b = *state;
	struct side hs;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);

	for (size_t i = 0; i < TF_LEN(cases); i++) {
		struct wire_hello m = { .name = tf_cspan(cases[i].name), .role = cases[i].role,
			.boot = cases[i].boot, .major_min = cases[i].major_min,
			.major_max = cases[i].major_max, .session = 1, .heartbeat_ms = HB };
		struct raw r;

		raw_open(b, &r, cases[i].rid);
		raw_send(&r, WIRE_HELLO, &m);
		EXPECT(b, r.per_verb[WIRE_REFUSE] == 1, 1000);
		if (strstr(r.refusal, cases[i].says) == NULL)
			fail_msg("case %zu: %s", i, r.refusal);
		assert_int_equal(hs.ups, 0);
		raw_close(&r);
		/* ZeroMQ lets go of the id of a closed connection in its own time */
		TURN_UNTIL(b, false, 20);
	}
	wire_hub_free(&hub);
}

static void
test_dial_refused(void **state)
{
	struct bed *b = *state;
	struct wire_refuse no = { .reason = TF_SPAN("upgrade first") };
	struct side ds;
	struct raw fake;
	struct wire_dial *dial;

	raw_open(b, &fake, NULL);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	raw_send(&fake, WIRE_REFUSE, &no);
	EXPECT(b, strstr(wire_dial_trouble(dial), "upgrade first") != NULL, 1000);
	memset(fake.per_verb, 0, sizeof fake.per_verb);
	TURN_UNTIL(b, false, 400);
	assert_int_equal(fake.per_verb[WIRE_HELLO], 0);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 4000); /* but it does not give up */
	wire_dial_free(&dial);
	raw_close(&fake);
}

static void
test_silence(void **state)
{
	struct bed *b = *state;
	struct side hs;
	struct raw r;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_heartbeat beat = { 0 };
	uint64_t t0;

	raw_open(b, &r, W_RID);
	raw_hello(&r, "w0", WIRE_ROLE_WK, 5, 1);
	EXPECT(b, hs.ups == 1, 1000);
	for (int i = 0; i < 6; i++) { /* any frame is life */
		TURN_UNTIL(b, false, HB * 2);
		raw_send(&r, WIRE_HEARTBEAT, &beat);
	}
	TURN_UNTIL(b, false, 20);
	assert_int_equal(hs.downs, 0);
	assert_true(r.per_verb[WIRE_HEARTBEAT] >= 6); /* one an interval, give or take */
	assert_true(r.per_verb[WIRE_HEARTBEAT] <= 20);
	assert_true(wire_silent_ms(hs.peer) <= HB);
	t0 = tf_mono_ms();
	EXPECT(b, hs.downs == 1, 2000);
	assert_string_equal(hs.why, "it is silent");
	assert_true(tf_mono_ms() - t0 >= HB * 2); /* 3 intervals less the 20 ms above and half a tick */
	EXPECT(b, r.per_verb[WIRE_RESYNC] == 1, 1000);
	assert_int_equal(r.gaps, 0);
	raw_close(&r);
	wire_hub_free(&hub);
}

static void
test_dial_notices_silence(void **state)
{
	struct bed *b = *state;
	struct wire_welcome w = { .name = TF_SPAN("routerd"), .role = WIRE_ROLE_RT, .boot = 1, .major = 1,
		.session = 1, .heartbeat_ms = HB };
	struct side ds;
	struct raw fake;
	struct wire_dial *dial;
	char first[256];

	raw_open(b, &fake, NULL);
	dial = dial_new(b, "w0", WIRE_ROLE_WK, 5, &ds);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	snprintf(first, sizeof first, "%.*s", (int)fake.from_len, fake.from);
	assert_int_equal(strncmp(first, "w0.0000000000000005.", 20), 0);
	w.session = fake.session;
	raw_send(&fake, WIRE_WELCOME, &w);
	EXPECT(b, ds.ups == 1, 1000);
	EXPECT(b, ds.downs == 1, 2000);
	assert_string_equal(ds.why, "it is silent");
	memset(fake.per_verb, 0, sizeof fake.per_verb);
	EXPECT(b, fake.per_verb[WIRE_HELLO] > 0, 1000);
	assert_true(fake.from_len != strlen(first) || memcmp(fake.from, first, fake.from_len) != 0);
	wire_dial_free(&dial);
	raw_close(&fake);
}

enum breach { GARBAGE, CUT, BEHIND, GAP, REPEAT, DIRECTION, MISSING, UNKNOWN, VERSION, FLAGS, BREACHES };

static void
commit_breach(struct raw *r, enum breach kind)
{
	struct wire_slots s = { .issued = 1 };
	struct wire_credit c = { .limit = 1 };
	struct tf_buf b = { 0 };

	assert_int_equal(wire_enc_slots(&b, NULL, 0, &s, NONE), 0);
	b.p[6] = 1; /* seq */
	switch (kind) {
	case GARBAGE: memset(b.p, 'x', b.n); break;
	case CUT: b.n--; break;
	case BEHIND: assert_int_equal(tf_buf_addc(&b, 'T'), 0); break;
	case GAP: b.p[6] = 2; break;
	case REPEAT: b.p[6] = 0; break;
	case DIRECTION:
		tf_buf_reset(&b);
		assert_int_equal(wire_enc_credit(&b, NULL, 0, &c, NONE), 0);
		b.p[6] = 1;
		break;
	case MISSING:
		b.n = WIRE_HEAD;
		memset(b.p + 8, 0, 4);
		break;
	case UNKNOWN: b.p[4] = (char)250; break;
	case VERSION: b.p[2] = 9; break;
	case FLAGS: b.p[5] = 1; break;
	case BREACHES: break;
	}
	raw_bytes(r, &b);
	tf_buf_free(&b);
}

static void
test_breaches(void **state)
{
	struct bed *b = *state;
	struct side hs;
	struct raw r;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_slots s = { .issued = 1 };

	raw_open(b, &r, W_RID);
	for (unsigned kind = 0; kind < BREACHES; kind++) {
		uint64_t bad = tf_metric_get(TF_M_WIRE_BAD_FRAMES);

		raw_hello(&r, "w0", WIRE_ROLE_WK, 5, kind + 1);
		EXPECT(b, hs.ups == kind + 1, 1000);
		commit_breach(&r, kind);
		EXPECT(b, hs.downs == kind + 1, 1000);
		EXPECT(b, r.per_verb[WIRE_RESYNC] == kind + 1, 1000);
		assert_int_equal(wire_hub_count(hub), 0);
		if (kind != GAP && kind != REPEAT)
			assert_int_equal(tf_metric_get(TF_M_WIRE_BAD_FRAMES), bad + 1);
	}
	/* a message of a newer minor version is skipped, and counts in the sequence */
	raw_hello(&r, "w0", WIRE_ROLE_WK, 5, 100);
	EXPECT(b, hs.ups == BREACHES + 1, 1000);
	{
		struct tf_buf m = { 0 };

		assert_int_equal(wire_enc_slots(&m, NULL, 0, &s, NONE), 0);
		m.p[3] = WIRE_MINOR + 1;
		m.p[4] = (char)250;
		m.p[6] = 1;
		raw_bytes(&r, &m);
		tf_buf_free(&m);
		r.tx_seq = 1;
	}
	hs.frames = 0;
	raw_send(&r, WIRE_SLOTS, &s);
	EXPECT(b, hs.frames == 1, 1000);
	assert_int_equal(hs.downs, BREACHES);
	raw_close(&r);
	wire_hub_free(&hub);
}

/* Whatever a peer sends, the hub lives and serves the next one. */
static void
test_random_damage(void **state)
{
	struct bed *b = *state;
	struct side hs, ds;
	struct raw r;
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs);
	struct wire_dial *dial;
	uint64_t x = 2463534242u;

	raw_open(b, &r, W_RID);
	for (unsigned i = 0; i < 1000; i++) {
		struct wire_hello h = { .name = TF_SPAN("w0"), .role = WIRE_ROLE_WK, .boot = 5,
			.major_min = 1, .major_max = 1, .session = i, .heartbeat_ms = HB };
		struct wire_slots s = { .issued = i };
		struct tf_buf m = { 0 };

		assert_int_equal(wire_enc_hello(&m, NULL, 0, &h, NONE), 0);
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(wire_enc_slots(&m, NULL, 0, &s, NONE), 0);
		for (unsigned k = 0; k < i % 4; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			m.p[x % m.n] = (char)(x >> 40);
		}
		raw_bytes(&r, &m);
		tf_buf_free(&m);
		if (i % 16 == 0)
			ev_loop_once(b->loop, false);
	}
	dial = dial_new(b, "gatewayd.0", WIRE_ROLE_GW, 8, &ds);
	EXPECT(b, ds.ups == 1, 2000);
	wire_dial_free(&dial);
	raw_close(&r);
	wire_hub_free(&hub);
}

static void
test_bad_arguments(void **state)
{
	struct bed *b = *state;
	struct side hs, other;
	struct wire_self self = self_of("no spaces", WIRE_ROLE_RT, 1);
	struct wire_hub *hub = hub_new(b, "routerd", WIRE_ROLE_RT, &hs), *second = NULL;

	side_init(&other);
	assert_int_equal(wire_hub_new(b->loop, b->ctx, &self, b->endpoint, &other.hooks, &second), TF_E_INVAL);
	self.name = "";
	assert_int_equal(wire_hub_new(b->loop, b->ctx, &self, b->endpoint, &other.hooks, &second), TF_E_INVAL);
	self.name = "routerd";
	assert_int_equal(wire_hub_new(b->loop, b->ctx, &self, b->endpoint, &other.hooks, &second), TF_E_EXIST);
	assert_null(second);
	wire_hub_free(&hub);
	wire_hub_free(&hub);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_up_and_bye), T(test_hub_says_bye_and_comes_back), T(test_hub_killed), T(test_freed_and_made_again),
		T(test_resync), T(test_dial_answers_resync), T(test_restart_with_new_boot),
		T(test_refusals), T(test_dial_refused), T(test_silence), T(test_dial_notices_silence),
		T(test_breaches), T(test_random_damage), T(test_bad_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
