/* SPDX-License-Identifier: Apache-2.0 */
/*
 * billingd starts again, and gateways say what they hold: what is counted of the limits before, while and after they do.
 */
#include "config.h"

#include "tests/billingd/bed.h"

#define NONE ((struct tf_span){ 0 })

static struct bed bed;

static int
setup(void **state)
{
	bed_open(&bed, BED_PLANS);
	*state = &bed;
	return 0;
}

/*
 * billingd comes back inside a minute window: the ledger says what was used, the gateways say
 * what they hold, and until all have spoken nobody gets room in a limited plan.
 */
static void
test_restart(void **state)
{
	struct bed *b = *state;
	struct wire_declare d = { .window = 0 };
	struct tf_id ws, key;
	struct wire_usage u;
	uint64_t window;

	bed_close(b);
	bed_open(b, "grant-ttl = 4s\n[plan small]\nrpm = 5\ntpm = 1000");
	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	ws = bed_workspace(b, "main", "small");
	key = bed_key(b, ws, BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 300, 0));
	window = b->gw[0].h.grant.window;
	u = bed_usage(b, 0, key);
	u.reserved = 300;
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 1);
	bed_stop(b);
	bed_start(b);
	assert_int_equal(b->bl->epoch, 2);
	UNTIL(b, b->gw[0].h.ups == 2 && b->gw[1].h.ups == 2);
	assert_int_equal(b->gw[0].peer->epoch, 2);
	assert_true(b->bl->blind_until != 0);
	assert_false(bed_ask(b, 0, key, 1, 10, 0));
	assert_int_equal(b->gw[0].h.refuse.transient, 1);
	/* gateway 0 holds a reservation of 400 and nothing else, gateway 1 nothing */
	d.key = tf_id_span(&key);
	d.reserved = 400;
	d.window = window;
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &d, NONE), 0);
	d = (struct wire_declare){ .window = 0 };
	wire_set(&d, DECLARE, last, 1);
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &d, NONE), 0);
	bed_pass(b, 20);
	assert_false(bed_ask(b, 1, key, 1, 10, 0));
	assert_int_equal(wire_send_declare(b->gw[1].peer, NULL, 0, &d, NONE), 0);
	UNTIL(b, b->bl->blind_until == 0);
	/* 20 used of 1000 and one request of 5 by the ledger, 400 reserved */
	assert_false(bed_ask(b, 1, key, 1, 581, 0));
	assert_int_equal(b->gw[1].h.refuse.transient, 1);
	assert_true(bed_ask(b, 1, key, 1, 580, 0));
	assert_int_equal(b->gw[1].h.grant.window, window);
	assert_int_equal(b->gw[1].h.grant.remaining, 3);
	/* the running one ends: its request was admitted before the restart and counts now */
	u = bed_usage(b, 0, key);
	u.began_ms = (uint64_t)b->bl->started_ms - 100;
	u.reserved = 400;
	u.window = window;
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 2);
	assert_true(bed_ask(b, 1, key, 1, 380, 0));
	assert_int_equal(b->gw[1].h.grant.remaining, 1);
}

/* Until a gateway has heard of a new billingd it admits from grants of the former one: those requests count, too. */
static void
test_served_before_it_declared(void **state)
{
	struct bed *b = *state;
	struct wire_declare d = { .window = 0 };
	struct wire_usage u;
	uint64_t window, then;
	struct tf_id key;

	bed_close(b);
	bed_open(b, "grant-ttl = 4s\n[plan small]\nrpm = 5\ntpm = 1000");
	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 0, 0));
	window = b->gw[0].h.grant.window;
	u = bed_usage(b, 0, key);
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 1);
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups == 2);
	then = (uint64_t)bl_wall_ms();
	assert_true(then >= (uint64_t)b->bl->started_ms);
	bed_pass(b, 20);
	wire_set(&d, DECLARE, first, 1);
	wire_set(&d, DECLARE, last, 1);
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &d, NONE), 0);
	UNTIL(b, b->bl->blind_until == 0);
	u = bed_usage(b, 0, key);
	u.began_ms = u.ended_ms = then;
	u.window = window;
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 2);
	assert_true(bed_ask(b, 0, key, 1, 0, 0));
	assert_int_equal(b->gw[0].h.grant.remaining, 2); /* of 5: one by the ledger, that one, and this */
	/* from here on what it admits was counted with its grant */
	u = bed_usage(b, 0, key);
	u.window = window;
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 3);
	assert_true(bed_ask(b, 0, key, 1, 0, 0));
	assert_int_equal(b->gw[0].h.grant.remaining, 1);
}

static void
declare_ended(struct bed *b, struct tf_id key, uint64_t window, uint64_t seq)
{
	struct wire_declare d = { .key = tf_id_span(&key), .requests = 1, .window = window };

	wire_set(&d, DECLARE, seq, seq);
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &d, NONE), 0);
}

static void
declare_edge(struct bed *b, int i, bool first)
{
	struct wire_declare d = { .window = 0 };

	if (first)
		wire_set(&d, DECLARE, first, 1);
	else
		wire_set(&d, DECLARE, last, 1);
	assert_int_equal(wire_send_declare(b->gw[i].peer, NULL, 0, &d, NONE), 0);
}

/*
 * Records on their way when billingd ended: they are counted when their gateway declares them, before anybody else is given
 * room, and once, whether the ledger had them or not.
 */
static void
test_records_on_their_way(void **state)
{
	struct bed *b = *state;
	struct wire_usage u[3];
	struct tf_id key, id[3];
	uint64_t window;

	bed_close(b);
	bed_open(b, "grant-ttl = 4s\n[plan small]\nrpm = 9\ntpm = 1000");
	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 0, 0));
	window = b->gw[0].h.grant.window;
	for (int i = 0; i < 3; i++) {
		u[i] = bed_usage(b, 0, key);
		id[i] = tf_id_new();
	}
	/* the second is in the ledger, and not acknowledged; the others are on their way */
	bed_tell(b, 0, &u[1], id[1]);
	UNTIL(b, bed_sql(b, "SELECT count(*) FROM ledger") == 1);
	bed_pass(b, 20);
	assert_int_equal(b->gw[0].h.ack, 0);
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups == 2 && b->gw[1].h.ups == 2);
	declare_edge(b, 1, true);
	declare_edge(b, 1, false);
	declare_edge(b, 0, true);
	for (int i = 0; i < 3; i++) {
		u[i].key = tf_id_span(&key);
		u[i].workspace = tf_id_span(&bl_index_key(&b->bl->index, tf_id_span(&key))->workspace->row.id);
		declare_ended(b, key, window, u[i].seq);
	}
	declare_edge(b, 0, false);
	UNTIL(b, b->bl->blind_until == 0);
	assert_true(bed_ask(b, 1, key, 1, 0, 0));
	assert_int_equal(b->gw[1].h.grant.window, window);
	assert_int_equal(b->gw[1].h.grant.remaining, 4); /* three, this, and one that is counted twice until it is told */
	/* a link that breaks: what was counted is not counted again */
	declare_edge(b, 0, true);
	for (int i = 0; i < 3; i++)
		declare_ended(b, key, window, u[i].seq);
	declare_edge(b, 0, false);
	bed_pass(b, 20);
	assert_true(bed_ask(b, 1, key, 1, 0, 0));
	assert_int_equal(b->gw[1].h.grant.remaining, 3);
	for (int i = 0; i < 3; i++)
		bed_tell(b, 0, &u[i], id[i]);
	UNTIL(b, b->gw[0].h.ack == 3);
	assert_true(bed_ask(b, 1, key, 1, 0, 0));
	assert_int_equal(b->gw[1].h.grant.remaining, 3); /* of 9: three, and three here */
}

/* One that never comes back is not waited for longer than the grace; a plan without limits never waits. */
static void
test_restart_without_one(void **state)
{
	struct bed *b = *state;
	struct tf_id key, other;
	uint64_t start;

	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	bed_gateway(b, 2, 13);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	other = bed_key(b, bed_workspace(b, "open", "free"), BL_NEVER_MS);
	b->gw[0].declare = b->gw[2].declare = true;
	bed_stop(b);
	bed_gateway_gone(b, 1);
	bed_gateway_gone(b, 2);
	start = bed_real_ms();
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups == 2);
	bed_gateway(b, 2, 14); /* a new start says that the old one is dead */
	assert_true(b->bl->blind_until != 0);
	assert_true(bed_ask(b, 0, other, 1, 10, 0));
	assert_false(bed_ask(b, 0, key, 1, 10, 0));
	UNTIL(b, b->bl->blind_until == 0);
	assert_in_range(bed_real_ms() - start, 700, 20000); /* grant-ttl and three heartbeats */
	assert_true(bed_ask(b, 0, key, 1, 1000, 0));
	UNTIL(b, bed_sql(b, "SELECT count(*) FROM instances WHERE gone_ms IS NULL") == 2);
}

/*
 * A gateway whose link was cut before billingd died is waited for, too: it comes back with what it had admitted. One that
 * held nothing when it left is not.
 */
static void
test_restart_with_one_cut_off(void **state)
{
	struct bed *b = *state;
	struct wire_declare d = { .reserved = 700 }, last = { 0 };
	struct tf_id key;

	bed_close(b);
	bed_open(b, "grant-ttl = 10s\n[plan small]\nrpm = 5\ntpm = 1000"); /* and so long it is waited for */
	wire_set(&last, DECLARE, last, 1);
	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	bed_gateway(b, 2, 13);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 700, 0));
	d.window = b->gw[0].h.grant.window;
	bed_gateway_gone(b, 0);
	bed_gateway_gone(b, 2);
	UNTIL(b, bed_sql(b, "SELECT count(*) FROM instances WHERE boot = 13 AND gone_ms > 0") == 1 && b->bl->sessions == 1);
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[1].h.ups == 2);
	assert_int_equal(wire_send_declare(b->gw[1].peer, NULL, 0, &last, NONE), 0);
	assert_false(bed_ask(b, 1, key, 1, 400, 0));
	assert_int_equal(b->gw[1].h.refuse.transient, 1);
	assert_true(b->bl->blind_until != 0);
	bed_gateway(b, 0, 11);
	d.key = tf_id_span(&key);
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &d, NONE), 0);
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &last, NONE), 0);
	UNTIL(b, b->bl->blind_until == 0);
	assert_false(bed_ask(b, 1, key, 1, 301, 0));
	assert_true(bed_ask(b, 1, key, 1, 300, 0));
}

/* What a gateway has to repeat after billingd was away: records that were committed, and some that were not. */
static void
test_repeat_after_restart(void **state)
{
	struct bed *b = *state;
	struct wire_usage u[6];
	struct tf_id id[6], key;

	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "local"), BL_NEVER_MS);
	for (int i = 0; i < 6; i++) {
		u[i] = bed_usage(b, 0, key);
		/* the spans must outlive the restart */
		u[i].key = tf_id_span(&key);
		id[i] = tf_id_new();
	}
	u[0].workspace = tf_id_span(&bl_index_key(&b->bl->index, tf_id_span(&key))->workspace->row.id);
	for (int i = 0; i < 4; i++)
		bed_tell(b, 0, &u[i], id[i]);
	UNTIL(b, b->gw[0].h.ack == 4);
	bed_stop(b);
	bed_start(b);
	b->gw[0].h.ack = 0;
	UNTIL(b, b->gw[0].h.ups == 2);
	for (int i = 2; i < 6; i++) {
		u[i].workspace = tf_id_span(&bl_index_key(&b->bl->index, tf_id_span(&key))->workspace->row.id);
		bed_tell(b, 0, &u[i], id[i]);
	}
	UNTIL(b, b->gw[0].h.ack == 6);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 6);
	assert_int_equal(bed_sql(b, "SELECT requests FROM usage_days"), 6);
	/* a new start of the gateway numbers from one */
	bed_gateway_gone(b, 0);
	bed_gateway(b, 0, 99);
	u[0] = bed_usage(b, 0, key);
	assert_int_equal(u[0].seq, 1);
	b->gw[0].h.ack = 0;
	bed_tell(b, 0, &u[0], tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 1);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 7);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_restart), T(test_served_before_it_declared), T(test_records_on_their_way), T(test_restart_without_one),
		T(test_restart_with_one_cut_off),
		T(test_repeat_after_restart),
	};

	tf_log_init("test", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
