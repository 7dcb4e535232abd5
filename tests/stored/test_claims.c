/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims over the wire: one of many runs, what is repeated is one, whoever is lost is followed, and an answer
 * ends a claim in the same moment as it is there; expiry and eviction of the answer make the key new.
 */
#include "config.h"

#include "stored/sqlite.h"
#include "tests/stored/bed.h"

#define HOUR_NS (INT64_C(3600) * 1000000000)
#define BACK_NS (INT64_C(6) * 1000000000) /* longer than a gateway that lost its link may take to be back */

static const char *
keep(struct bed *b, unsigned ws, const char *name, struct tf_id claim, struct tf_span answer)
{
	struct wire_put m = { .kind = WIRE_KIND_ANSWER, .workspace = bed_ws(ws), .name = tf_cspan(name),
		.claim = tf_id_span(&claim) };

	return bed_put_as(b, &m, answer);
}

static void
finds(struct bed *b, int i, unsigned ws, const char *name, unsigned body, enum wire_claim_state state)
{
	assert_string_equal(bed_claim(b, i, ws, name, body), "");
	assert_int_equal(b->gw[i].state, state);
}

static void
test_claim(void **state)
{
	struct tf_id claim, request;
	struct bed b;

	(void)state;
	bed_open(&b, "");
	bed_gateway(&b, 1);
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_FRESH);
	claim = b.gw[0].id;
	request = b.gw[0].request;
	assert_int_equal(b.gw[0].turn, 0);
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_RUNNING);
	assert_true(tf_id_eq(b.gw[0].request, request));
	finds(&b, 1, 1, "k", 1, WIRE_CLAIM_RUNNING);
	finds(&b, 1, 1, "k", 2, WIRE_CLAIM_OTHER);
	/* another workspace's key, and another key */
	finds(&b, 1, 2, "k", 2, WIRE_CLAIM_FRESH);
	finds(&b, 1, 1, "l", 2, WIRE_CLAIM_FRESH);
	/* the answer is for whoever holds the claim */
	assert_string_equal(keep(&b, 1, "k", tf_id_new(), TF_SPAN("no")), "not_found");
	assert_string_equal(keep(&b, 2, "k", claim, TF_SPAN("no")), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_ANSWER, 1, "k"), "not_found");
	assert_string_equal(keep(&b, 1, "k", claim, TF_SPAN("yes")), "");
	assert_string_equal(keep(&b, 1, "k", claim, TF_SPAN("twice")), "not_found");
	finds(&b, 1, 1, "k", 1, WIRE_CLAIM_DONE);
	assert_true(tf_id_eq(b.gw[1].request, request));
	finds(&b, 1, 1, "k", 2, WIRE_CLAIM_OTHER);
	assert_string_equal(bed_get(&b, WIRE_KIND_ANSWER, 1, "k"), "");
	assert_string_equal(bed_body(&b), "yes");
	bed_close(&b);
}

/* The same claim, asked again because its answer got lost, is the same claim. */
static void
test_repeated(void **state)
{
	uint8_t hash[TF_SHA256] = { 7 };
	struct tf_id id = tf_id_new(), request = tf_id_new();
	struct wire_claim m = { .workspace = bed_ws(1), .name = TF_SPAN("k"), .body = tf_span(hash, sizeof hash),
		.request = tf_id_span(&request) };
	struct bed b;

	(void)state;
	bed_open(&b, "");
	for (int i = 0; i < 3; i++) {
		assert_string_equal(bed_claim_as(&b, 0, &id, &m), "");
		assert_int_equal(b.gw[0].state, WIRE_CLAIM_FRESH);
		assert_true(tf_id_eq(b.gw[0].request, request));
	}
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM claims"), 1);
	bed_close(&b);
}

static void
test_release(void **state)
{
	struct tf_id claim;
	struct bed b;

	(void)state;
	bed_open(&b, "");
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_FRESH);
	claim = b.gw[0].id;
	assert_string_equal(bed_release(&b, 0, 1, "k", tf_id_new()), "");
	assert_string_equal(bed_release(&b, 0, 2, "k", claim), "");
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_RUNNING);
	assert_string_equal(bed_release(&b, 0, 1, "k", claim), "");
	assert_string_equal(bed_release(&b, 0, 1, "k", claim), "");
	finds(&b, 0, 1, "k", 2, WIRE_CLAIM_FRESH);
	claim = b.gw[0].id;
	assert_string_equal(keep(&b, 1, "k", claim, TF_SPAN("yes")), "");
	/* it came too late: the answer is there */
	assert_string_equal(bed_release(&b, 0, 1, "k", claim), "");
	finds(&b, 0, 1, "k", 2, WIRE_CLAIM_DONE);
	bed_close(&b);
}

static void
leave(struct bed *b, int i)
{
	wire_dial_free(&b->gw[i].dial);
	while (wire_hub_find(b->st->hub, tf_cspan(b->gw[i].name)) != NULL)
		bed_turn(b);
	b->gw[i].peer = NULL;
}

/* A gateway that is gone may be back in a moment; one that began anew is another one. */
static void
test_lost(void **state)
{
	struct tf_id claim, request;
	struct bed b;

	(void)state;
	bed_open(&b, "");
	bed_gateway(&b, 1);
	finds(&b, 1, 1, "k", 1, WIRE_CLAIM_FRESH);
	claim = b.gw[1].id;
	request = b.gw[1].request;
	leave(&b, 1);
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_RUNNING);
	bed_gateway(&b, 1); /* another boot of the same name */
	finds(&b, 0, 1, "k", 2, WIRE_CLAIM_OTHER);
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_FRESH);
	assert_int_equal(b.gw[0].turn, 1);
	assert_true(tf_id_eq(b.gw[0].request, request));
	finds(&b, 1, 1, "k", 1, WIRE_CLAIM_RUNNING);
	/* what the lost one says of it does not count any more */
	assert_string_equal(bed_release(&b, 1, 1, "k", claim), "");
	assert_string_equal(keep(&b, 1, "k", claim, TF_SPAN("no")), "not_found");
	finds(&b, 1, 1, "k", 1, WIRE_CLAIM_RUNNING);
	/* gone for longer */
	finds(&b, 1, 1, "l", 1, WIRE_CLAIM_FRESH);
	leave(&b, 1);
	finds(&b, 0, 1, "l", 1, WIRE_CLAIM_RUNNING);
	tf_clock_shift(BACK_NS);
	finds(&b, 0, 1, "l", 1, WIRE_CLAIM_FRESH);
	assert_int_equal(b.gw[0].turn, 1);
	bed_close(&b);
}

/* After a restart those who were there have a moment to come back. */
static void
test_restart(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, "");
	bed_gateway(&b, 1);
	finds(&b, 1, 1, "k", 1, WIRE_CLAIM_FRESH);
	wire_dial_free(&b.gw[1].dial);
	b.gw[1].peer = NULL;
	bed_stop(&b);
	bed_start(&b);
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_RUNNING);
	tf_clock_shift(BACK_NS);
	finds(&b, 0, 1, "k", 1, WIRE_CLAIM_FRESH);
	assert_int_equal(b.gw[0].turn, 1);
	bed_close(&b);
}

static void
test_expiry(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, "answer-ttl = 1h\nblob-min = 1k");
	for (int i = 0; i < 2; i++) {
		char big[2000] = "big";

		finds(&b, 0, 1, "k", (unsigned)i, WIRE_CLAIM_FRESH);
		assert_string_equal(keep(&b, 1, "k", b.gw[0].id, tf_span(big, sizeof big)), "");
		finds(&b, 0, 1, "k", (unsigned)i, WIRE_CLAIM_DONE);
		assert_int_equal(bed_files(&b), 1);
		tf_clock_shift(HOUR_NS + 1000000);
	}
	/* one that runs is nobody else's, however long it takes */
	finds(&b, 0, 1, "r", 1, WIRE_CLAIM_FRESH);
	tf_clock_shift(30 * HOUR_NS);
	finds(&b, 0, 1, "r", 1, WIRE_CLAIM_RUNNING);
	while (bed_int(&b, "SELECT count(*) FROM objects") > 0)
		bed_turn(&b);
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM claims"), 1);
	tf_clock_shift(8 * 24 * HOUR_NS);
	while (bed_int(&b, "SELECT count(*) FROM claims") > 0)
		bed_turn(&b);
	assert_int_equal(bed_files(&b), 0);
	bed_close(&b);
}

/* An answer that had to go is as if it never was. */
static void
test_space(void **state)
{
	static char big[400000];
	struct bed b;
	char name[8];

	(void)state;
	bed_open(&b, "space-max = 1m");
	for (unsigned i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "k%u", i);
		finds(&b, 0, 1, name, 1, WIRE_CLAIM_FRESH);
		assert_string_equal(keep(&b, 1, name, b.gw[0].id, tf_span(big, sizeof big)), "");
		tf_clock_shift(1000000000);
	}
	finds(&b, 0, 1, "k3", 1, WIRE_CLAIM_DONE);
	finds(&b, 0, 1, "k0", 2, WIRE_CLAIM_FRESH);
	/* one that cannot be kept leaves the claim as it was */
	assert_string_equal(keep(&b, 1, "k0", b.gw[0].id, tf_span(big, 1)), "");
	bed_close(&b);
}

static void
test_bad(void **state)
{
	uint8_t hash[TF_SHA256] = { 7 };
	struct tf_id id = tf_id_new();
	char longest[ST_NAME_MAX + 2];
	struct wire_put put = { .kind = WIRE_KIND_REASONING, .workspace = bed_ws(1), .name = TF_SPAN("k"),
		.claim = tf_id_span(&id) };
	struct bed b;

	(void)state;
	memset(longest, 'n', sizeof longest);
	bed_open(&b, "");
	for (int i = 0; i < 5; i++) {
		struct wire_claim m = { .workspace = bed_ws(1), .name = TF_SPAN("k"), .body = tf_span(hash, sizeof hash),
			.request = tf_id_span(&id) };

		if (i == 0)
			m.workspace.n--;
		else if (i == 1)
			m.name.n = 0;
		else if (i == 2)
			m.name = tf_span(longest, ST_NAME_MAX + 1);
		else if (i == 3)
			m.body.n--;
		else
			m.request.n--;
		assert_string_equal(bed_claim_as(&b, 0, &id, &m), "bad_request");
	}
	assert_string_equal(bed_release(&b, 0, 1, "", id), "bad_request");
	/* only answers end a claim */
	assert_string_equal(bed_put_as(&b, &put, TF_SPAN("x")), "bad_request");
	put.kind = WIRE_KIND_ANSWER;
	put.claim.n--;
	assert_string_equal(bed_put_as(&b, &put, TF_SPAN("x")), "bad_request");
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM claims"), 0);
	bed_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claim), cmocka_unit_test(test_repeated), cmocka_unit_test(test_release),
		cmocka_unit_test(test_lost), cmocka_unit_test(test_restart), cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_space), cmocka_unit_test(test_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
