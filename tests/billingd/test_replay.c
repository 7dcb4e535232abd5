/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a gateway tells for a start that died: in that start's name and numbers, however often, with holes where a
 * file was damaged, and not for one that lives.
 */
#include "config.h"

#include "tests/billingd/bed.h"

#define NONE ((struct tf_span){ 0 })
#define DEAD_BOOT UINT64_C(0x8877665544332211)

static struct bed bed;

static int
setup(void **state)
{
	bed_open(&bed, "");
	*state = &bed;
	return 0;
}

/* A record of the dead start, number seq; missing: numbers before it that are lost. */
static struct wire_usage
dead(struct bed *b, struct tf_id key, uint64_t seq, uint64_t missing)
{
	struct wire_usage u = bed_usage(b, 0, key);

	b->gw[0].seq--; /* no number of its own */
	u.seq = seq;
	u.missing = missing;
	wire_set(&u, USAGE, of_name, TF_SPAN("gatewayd.7"));
	wire_set(&u, USAGE, of_boot, DEAD_BOOT);
	return u;
}

static void
tell(struct bed *b, const struct wire_usage *u, unsigned request)
{
	struct tf_id id = { { 9 } };

	memcpy(id.b + 8, &request, sizeof request);
	bed_tell(b, 0, u, id);
}

static void
test_told(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	struct wire_usage u;
	unsigned ups;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	/* its own number 1 is not the other's number 1 */
	u = bed_usage(b, 0, key);
	bed_tell(b, 0, &u, tf_id_new());
	for (unsigned i = 1; i <= 5; i++) {
		u = dead(b, key, i, 0);
		tell(b, &u, i);
	}
	UNTIL(b, b->gw[0].h.of_ack == 5 && b->gw[0].h.ack == 1);
	assert_true(b->gw[0].h.of_boot == DEAD_BOOT);
	assert_string_equal(b->gw[0].h.of_name, "gatewayd.7");
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger WHERE charged = 1"), 6);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger l JOIN instances i ON i.id = l.instance"
	    " WHERE i.name = 'gatewayd.7'"), 5);
	/* told again, by whomever: acknowledged, and nothing changes; also by a billingd that was started since */
	ups = b->gw[0].h.ups;
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups > ups && b->gw[0].peer != NULL);
	b->gw[0].h.of_ack = 0;
	for (unsigned i = 1; i <= 5; i++) {
		u = dead(b, key, i, 0);
		tell(b, &u, i);
	}
	UNTIL(b, b->gw[0].h.of_ack == 5);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 6);
	assert_int_equal(bed_sql(b, "SELECT sum(requests) FROM usage_days"), 6);
}

/* Numbers that nobody has any more do not hold up those behind them. */
static void
test_holes(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	struct wire_usage u;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	u = dead(b, key, 1000001, 1000000); /* most were acknowledged by a database that is lost */
	tell(b, &u, 1);
	u = dead(b, key, 1000002, 0);
	tell(b, &u, 2);
	u = dead(b, key, 1000010, 7);
	tell(b, &u, 3);
	u = dead(b, key, 1000011, 0);
	tell(b, &u, 4);
	UNTIL(b, b->gw[0].h.of_ack == 1000011);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 4);
	/* ahead of what it follows: it is skipped once that is there */
	u = dead(b, key, 1000020, 2);
	tell(b, &u, 5);
	bed_pass(b, 100);
	for (unsigned i = 12; i <= 17; i++) {
		u = dead(b, key, 1000000 + i, 0);
		tell(b, &u, i);
	}
	UNTIL(b, b->gw[0].h.of_ack == 1000020);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 11);
	/* a number beyond all bounds costs no time */
	u = dead(b, key, UINT64_MAX / 2, UINT64_MAX / 2 - 1);
	tell(b, &u, 99);
	UNTIL(b, b->gw[0].h.of_ack == UINT64_MAX / 2);
}

static void
test_final_beats_provisional(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	struct wire_usage u;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	u = dead(b, key, 2, 1);
	u.outcome = WIRE_OUTCOME_PARTIAL;
	u.provisional = u.estimated = 1;
	u.completion = 1;
	tell(b, &u, 1);
	UNTIL(b, b->gw[0].h.of_ack == 2);
	assert_int_equal(bed_sql(b, "SELECT provisional FROM ledger"), 1);
	/* its END was found after all: in a file that was set aside */
	u = dead(b, key, 3, 0);
	tell(b, &u, 1);
	UNTIL(b, b->gw[0].h.of_ack == 3);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 1);
	assert_int_equal(bed_sql(b, "SELECT provisional + estimated FROM ledger"), 0);
	assert_int_equal(bed_sql(b, "SELECT completion FROM ledger"), 3);
	assert_int_equal(bed_sql(b, "SELECT sum(requests) FROM usage_days"), 1);
	assert_int_equal(bed_sql(b, "SELECT sum(completion) FROM usage_days"), 3);
	/* and not the other way round */
	u = dead(b, key, 4, 0);
	u.outcome = WIRE_OUTCOME_PARTIAL;
	u.provisional = u.estimated = 1;
	u.completion = 2;
	tell(b, &u, 1);
	UNTIL(b, b->gw[0].h.of_ack == 4);
	assert_int_equal(bed_sql(b, "SELECT completion FROM ledger WHERE provisional = 0"), 3);
}

/* For one that is in session nobody else speaks. */
static void
test_alive(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	struct wire_usage u;

	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	u = dead(b, key, 1, 0);
	wire_set(&u, USAGE, of_name, tf_cspan(b->gw[1].name));
	wire_set(&u, USAGE, of_boot, b->gw[1].boot);
	tell(b, &u, 1);
	u = bed_usage(b, 0, key);
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == u.seq);
	assert_int_equal(b->gw[0].h.of_acks, 0);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 1);
	/* when it has gone the same record is taken */
	bed_gateway_gone(b, 1);
	UNTIL(b, bl_gateway_find(b->bl, "gatewayd.1", 12)->peer == NULL);
	u = dead(b, key, 1, 0);
	wire_set(&u, USAGE, of_name, tf_cspan("gatewayd.1"));
	wire_set(&u, USAGE, of_boot, 12);
	tell(b, &u, 1);
	UNTIL(b, b->gw[0].h.of_ack == 1);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 2);
}

/*
 * billingd died between a commit and its acknowledgement: the gateway declares the reservation to the next one, and
 * its record, which is in the ledger, frees it, once.
 */
static void
test_acknowledgement_lost(void **state)
{
	struct bed *b = *state;
	struct wire_declare d = { .window = 0 };
	struct tf_id ws, key, request = tf_id_new();
	struct wire_usage u;
	uint64_t window;

	bed_close(b);
	bed_open(b, "[plan small]\nrpm = 50\ntpm = 1000");
	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "small");
	key = bed_key(b, ws, BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 300, 0));
	window = b->gw[0].h.grant.window;
	u = bed_usage(b, 0, key);
	u.reserved = 300;
	bed_tell(b, 0, &u, request);
	UNTIL(b, b->gw[0].h.ack == 1);
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups == 2);
	d.key = tf_id_span(&key);
	d.reserved = 300;
	d.window = window;
	wire_set(&d, DECLARE, first, 1);
	wire_set(&d, DECLARE, last, 1);
	assert_int_equal(wire_send_declare(b->gw[0].peer, NULL, 0, &d, NONE), 0);
	UNTIL(b, b->bl->blind_until == 0);
	/* 20 used, 300 reserved */
	assert_false(bed_ask(b, 0, key, 1, 681, 0));
	b->gw[0].seq = 0;
	for (int i = 0; i < 3; i++) {
		u = bed_usage(b, 0, key);
		u.seq = b->gw[0].seq = 1;
		u.reserved = 300;
		u.window = window;
		b->gw[0].h.ack = 0;
		bed_tell(b, 0, &u, request);
		UNTIL(b, b->gw[0].h.ack == 1);
	}
	assert_true(bed_ask(b, 0, key, 1, 980, 0));
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_told, setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_holes, setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_final_beats_provisional, setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_alive, setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_acknowledgement_lost, setup, bed_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
