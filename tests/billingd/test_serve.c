/* SPDX-License-Identifier: Apache-2.0 */
/*
 * billingd over the wire: keys and their end, grants and refusals, usage and its
 * acknowledgement, and what happens when one side goes and comes back.
 */
#include "config.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "tests/billingd/bed.h"

#define SECOND INT64_C(1000000000)
#define NONE ((struct tf_span){ 0 })

static struct bed bed;

static int
setup(void **state)
{
	bed_open(&bed, BED_PLANS);
	*state = &bed;
	return 0;
}

/* ---- keys --------------------------------------------------------------------------------- */

static void
test_keys(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;
	struct tf_id ws, key, mistaken = { { 7 } };
	char text[TF_APIKEY_MAX + 1];

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	UNTIL(b, h->changes == 1);
	key = bed_key(b, ws, BL_NEVER_MS);
	snprintf(text, sizeof text, "%s", b->text);
	UNTIL(b, h->changes == 2);
	assert_int_equal(h->change, 2);
	assert_int_equal(tf_apikey_check(tf_cspan(text)), TF_APIKEY_MINTED);
	bed_key_ask(b, 0, text);
	assert_int_equal(h->key.status, WIRE_KEY_ACTIVE);
	assert_true(tf_id_eq(h->key_id, key));
	assert_int_equal(h->key.rpm, 30);
	assert_int_equal(h->key.tpm, 10000);
	assert_int_equal(h->key.change, 2);
	assert_string_equal(h->code, "test");
	assert_false(wire_has(&h->key, KEY, expires_ms));
	bed_key_ask(b, 0, "tf-dev-nobody");
	assert_int_equal(h->key.status, WIRE_KEY_UNKNOWN);
	assert_int_equal(h->key.key.n, 0);
	/* revoked: announced with its number, which heartbeats repeat */
	assert_int_equal(bed_revoke(b, &key), 0);
	UNTIL(b, h->changes == 3);
	bed_key_ask(b, 0, text);
	assert_int_equal(h->key.status, WIRE_KEY_REVOKED);
	UNTIL(b, b->gw[0].peer->key_change == 3);
	assert_int_equal(bed_sql(b, "SELECT value FROM meta WHERE name = 'change'"), 3);
	assert_false(bed_ask(b, 0, key, 1, 1, 0));
	assert_string_equal(h->code, "unauthorized");
	assert_false(bed_ask(b, 0, mistaken, 1, 1, 0));
	assert_string_equal(h->code, "unauthorized");
	assert_int_equal(bed_revoke(b, &key), TF_E_STATE);
	/* nobody can read the key from the database */
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM secrets WHERE prefix LIKE 'tf-dev-____' AND length(last4) = 4"), 1);
}

static void
test_expiry(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;
	struct tf_id key;

	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "test"), bl_wall_ms() + 60000);
	bed_key_ask(b, 0, b->text);
	assert_int_equal(h->key.status, WIRE_KEY_ACTIVE);
	assert_in_range(h->key.expires_ms, 30000, 60000);
	tf_clock_shift(61 * SECOND);
	bed_key_ask(b, 0, b->text);
	assert_int_equal(h->key.status, WIRE_KEY_EXPIRED);
	assert_false(bed_ask(b, 0, key, 1, 1, 0));
}

static void
rotate(struct bed *b, struct tf_id key, int64_t grace_ms, char text[static TF_APIKEY_MAX + 1])
{
	unsigned done = b->done;

	assert_int_equal(bl_admin_rotate(b->bl, bl_index_key(&b->bl->index, tf_id_span(&key)), grace_ms, BED_ORDER(b)), 0);
	UNTIL(b, b->done > done);
	assert_int_equal(b->rc, 0);
	snprintf(text, TF_APIKEY_MAX + 1, "%s", b->text);
}

static void
expect(struct bed *b, const char *text, enum wire_key_status status, struct tf_id key)
{
	bed_key_ask(b, 0, text);
	assert_int_equal(b->gw[0].h.key.status, status);
	if (status != WIRE_KEY_UNKNOWN)
		assert_true(tf_id_eq(b->gw[0].h.key_id, key));
}

/* All the ends a rotated key can have; the same after a restart. */
static void
test_rotation(void **state)
{
	char one[TF_APIKEY_MAX + 1], two[TF_APIKEY_MAX + 1], three[TF_APIKEY_MAX + 1], four[TF_APIKEY_MAX + 1];
	struct bed *b = *state;
	struct tf_id key;

	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "test"), BL_NEVER_MS);
	snprintf(one, sizeof one, "%s", b->text);
	rotate(b, key, 60000, two);
	expect(b, one, WIRE_KEY_ACTIVE, key);
	assert_in_range(b->gw[0].h.key.expires_ms, 30000, 60000);
	expect(b, two, WIRE_KEY_ACTIVE, key);
	assert_false(wire_has(&b->gw[0].h.key, KEY, expires_ms));
	/* a second rotation: the first text ends at once, two texts work */
	rotate(b, key, 60000, three);
	expect(b, one, WIRE_KEY_UNKNOWN, key);
	expect(b, two, WIRE_KEY_ACTIVE, key);
	expect(b, three, WIRE_KEY_ACTIVE, key);
	tf_clock_shift(61 * SECOND);
	expect(b, two, WIRE_KEY_REVOKED, key);
	expect(b, three, WIRE_KEY_ACTIVE, key);
	rotate(b, key, 0, four);
	expect(b, three, WIRE_KEY_REVOKED, key);
	expect(b, four, WIRE_KEY_ACTIVE, key);
	rotate(b, key, 60000, one);
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups == 2);
	expect(b, four, WIRE_KEY_ACTIVE, key);
	expect(b, one, WIRE_KEY_ACTIVE, key);
	expect(b, three, WIRE_KEY_UNKNOWN, key);
	/* revoking ends both */
	assert_int_equal(bed_revoke(b, &key), 0);
	UNTIL(b, b->bl->changes == 0);
	expect(b, four, WIRE_KEY_REVOKED, key);
	expect(b, one, WIRE_KEY_REVOKED, key);
}

/* Two rotations at once: one of them loses, and says so. */
static void
test_rotation_race(void **state)
{
	struct bed *b = *state;
	struct tf_id key = bed_key(b, bed_workspace(b, "main", "test"), BL_NEVER_MS);
	struct bl_key *k = bl_index_key(&b->bl->index, tf_id_span(&key));

	b->done = 0;
	assert_int_equal(bl_admin_rotate(b->bl, k, 0, BED_ORDER(b)), 0);
	assert_int_equal(bl_admin_rotate(b->bl, k, 0, BED_ORDER(b)), 0);
	UNTIL(b, b->done == 2);
	assert_int_equal(b->rc, TF_E_EXIST);
	assert_int_equal(k->secrets.n, 2);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM secrets"), 2);
}

static void
test_names(void **state)
{
	struct bed *b = *state;

	bed_workspace(b, "main", "test");
	bed_workspace(b, "main", "test");
	assert_int_equal(b->rc, TF_E_EXIST);
	assert_int_equal(bl_admin_workspace(b->bl, TF_SPAN(""), TF_SPAN("test"), BED_ORDER(b)), TF_E_INVAL);
	assert_int_equal(bl_admin_workspace(b->bl, TF_SPAN("a\nb"), TF_SPAN("test"), BED_ORDER(b)), TF_E_INVAL);
	assert_int_equal(b->bl->index.workspaces.n, 1);
}

/* ---- grants ------------------------------------------------------------------------------- */

static void
test_grants(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;
	struct tf_id key;
	uint64_t first;

	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 100, 0));
	assert_int_equal(h->grant.requests, 1);
	assert_int_equal(h->grant.tokens, 100);
	assert_int_equal(h->grant.limit, 5);
	assert_int_equal(h->grant.remaining, 4);
	assert_in_range(h->grant.reset_ms, 30000, 60000);
	assert_in_range(h->grant.ttl_ms, 1, 400);
	first = h->grant.grant;
	bed_return(b, 0, key, first, 0, 40); /* one request of 60 tokens runs */
	/* what cannot ever fit */
	assert_false(bed_ask(b, 1, key, 1, 1001, 0));
	assert_string_equal(b->gw[1].h.code, "bad_request");
	/* only the reservation stands in the way */
	assert_false(bed_ask(b, 1, key, 1, 950, 0));
	assert_string_equal(b->gw[1].h.code, "rate_limit_exceeded");
	assert_int_equal(b->gw[1].h.refuse.transient, 1);
	/* a waiting crowd asks for many: what there is helps */
	assert_true(bed_ask(b, 1, key, 40, 10, 0));
	assert_int_equal(b->gw[1].h.grant.requests, 1);
	assert_true(b->gw[1].h.grant.grant != 0);
	bed_return(b, 1, key, b->gw[1].h.grant.grant, 0, 0);
	for (int i = 0; i < 3; i++) {
		assert_true(bed_ask(b, 1, key, 1, 10, 0));
		bed_return(b, 1, key, b->gw[1].h.grant.grant, 0, 0);
	}
	/* five requests were admitted, by two gateways together */
	assert_false(bed_ask(b, 0, key, 1, 10, 0));
	assert_string_equal(h->code, "rate_limit_exceeded");
	assert_int_equal(h->refuse.transient, 0);
	assert_in_range(h->refuse.retry_after_ms, 20000, 60000);
	/* two looks at the clock */
	assert_in_range(h->refuse.retry_after_ms, h->refuse.reset_ms - 1000, h->refuse.reset_ms + 1000);
	assert_int_equal(h->refuse.remaining, 0);
	assert_int_equal(h->refuse.limit, 5);
	/* when the window is over the next one passes, with nothing left of the old one */
	tf_clock_shift(60 * SECOND);
	assert_true(bed_ask(b, 0, key, 1, 1000, 0));
	assert_int_equal(h->grant.remaining, 4);
}

static void
test_recall(void **state)
{
	struct bed *b = *state;
	struct tf_id key;
	uint64_t start;

	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 700, 0));
	b->gw[0].h.recall_grant = b->gw[0].h.grant.grant;
	b->gw[0].h.recall_requests = 1;
	b->gw[0].h.recall_tokens = 700;
	assert_true(bed_ask(b, 1, key, 1, 900, 0)); /* what gateway 0 had not used */
	assert_int_equal(b->gw[0].h.recalls, 1);
	/* a gateway that does not answer is waited for briefly, and then it is a shortage that may pass */
	start = bed_real_ms();
	assert_false(bed_ask(b, 0, key, 1, 900, 0));
	assert_in_range(bed_real_ms() - start, 90, 20000);
	assert_int_equal(b->gw[0].h.refuse.transient, 1);
	assert_int_equal(b->gw[1].h.recalls, 1);
	/* those who wait are served in their order */
	b->gw[1].h.recall_grant = b->gw[1].h.grant.grant;
	b->gw[1].h.recall_requests = 1;
	b->gw[1].h.recall_tokens = 900;
	assert_true(bed_ask(b, 0, key, 1, 1000, 0));
	assert_int_equal(b->bl->active.n, 1);
}

/* Grants of a gateway that died count as admitted until the window ends, and are never lent twice. */
static void
test_dead_gateway(void **state)
{
	struct bed *b = *state;
	struct tf_id key;

	bed_gateway(b, 0, 11);
	bed_gateway(b, 1, 12);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 800, 0));
	bed_gateway_gone(b, 0);
	UNTIL(b, wire_hub_count(b->bl->hub) == 1);
	assert_false(bed_ask(b, 1, key, 1, 300, 0));
	assert_int_equal(b->gw[1].h.refuse.transient, 0);
	assert_true(bed_ask(b, 1, key, 1, 200, 0));
	bed_gateway(b, 0, 13); /* a new start of it knows nothing of that */
	assert_false(bed_ask(b, 0, key, 1, 300, 0));
	tf_clock_shift(61 * SECOND);
	assert_true(bed_ask(b, 0, key, 1, 1000, 0));
}

/* 200 asks of four gateways at once: what is handed out stays within the limit, and all of it can be had. */
static void
test_parallel(void **state)
{
	struct bed *b = *state;
	struct bl_workspace *w;
	struct tf_id key, ws;
	uint64_t requests = 0, tokens = 0;
	unsigned answers = 0;

	bed_close(b);
	bed_open(b, "[plan tight]\nrpm = 37\ntpm = 2000");
	for (int i = 0; i < BED_GATEWAYS; i++)
		bed_gateway(b, i, 20 + (uint64_t)i);
	ws = bed_workspace(b, "main", "tight");
	key = bed_key(b, ws, BL_NEVER_MS);
	w = bl_index_workspace(&b->bl->index, tf_id_span(&ws));
	for (int n = 0; n < 200; n++) {
		struct wire_grant_ask m = { .key = tf_id_span(&key), .requests = 1, .tokens = 1 + (uint64_t)n % 90,
			.want_requests = (uint64_t)n % 7, .want_tokens = (uint64_t)n % 300 };
		struct tf_id id = tf_id_new();

		assert_int_equal(wire_send_grant_ask(b->gw[n % BED_GATEWAYS].peer, &id, 0, &m, NONE), 0);
	}
	for (uint64_t end = bed_real_ms() + 5000; answers < 200 && bed_real_ms() < end;) {
		bed_turn(b);
		assert_true(w->account.meter[BL_M_RPM].debit <= 37 && w->account.meter[BL_M_TPM].debit <= 2000);
		answers = 0;
		for (int i = 0; i < BED_GATEWAYS; i++)
			answers += b->gw[i].h.grants + b->gw[i].h.refusals;
	}
	assert_int_equal(answers, 200);
	for (int i = 0; i < BED_GATEWAYS; i++) {
		requests += b->gw[i].h.granted.requests;
		tokens += b->gw[i].h.granted.tokens;
	}
	assert_true(requests <= 37 && tokens <= 2000);
	assert_true(requests == 37 || tokens > 2000 - 90); /* and nobody was refused for nothing */
	assert_int_equal(w->waits.n, 0);
}

static void
test_unlimited_and_plan_change(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	struct bl_workspace *w;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "free");
	key = bed_key(b, ws, BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 100, 0));
	assert_true(b->gw[0].h.grant.requests >= 100000 && b->gw[0].h.grant.tokens >= 100000000);
	assert_int_equal(b->gw[0].h.grant.limit, 0);
	b->gw[0].h.recall_grant = b->gw[0].h.grant.grant;
	b->gw[0].h.recall_requests = b->gw[0].h.grant.requests;
	b->gw[0].h.recall_tokens = b->gw[0].h.grant.tokens;
	w = bl_index_workspace(&b->bl->index, tf_id_span(&ws));
	assert_int_equal(bl_admin_plan(b->bl, w, TF_SPAN("small"), BED_ORDER(b)), 0);
	UNTIL(b, b->gw[0].h.recalls == 1); /* what was granted under the old plan comes back */
	assert_int_equal(b->gw[0].h.changes, 3);
	assert_false(bed_ask(b, 0, key, 1, 1001, 0));
	assert_true(bed_ask(b, 0, key, 1, 1000, 0));
	assert_int_equal(b->gw[0].h.grant.limit, 5);
	bed_key_ask(b, 0, b->text);
	/* a plan that the configuration does not have: refused, not unlimited */
	assert_int_equal(bl_admin_plan(b->bl, w, TF_SPAN("gone"), BED_ORDER(b)), 0);
	UNTIL(b, b->gw[0].h.changes == 4);
	assert_false(bed_ask(b, 0, key, 1, 1, 0));
	assert_string_equal(b->gw[0].h.code, "forbidden");
}

/* What is left stands on the board when a grant comes, and who is alone knows it until another one joins. */
static void
test_board(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;
	struct wire_board *board;
	struct wire_room room;
	struct tf_id key;
	uint64_t grant;

	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "small"), BL_NEVER_MS);
	assert_int_equal(wire_board_open(b->dir, b->gw[0].peer->boot, &board), 0);
	bed_key_ask(b, 0, b->text);
	assert_int_equal(h->key.alone, wire_board_joins(board));
	assert_true(wire_board_get(board, (uint32_t)h->key.board, &room));
	assert_int_equal(room.window, 0);
	assert_true(bed_ask(b, 0, key, 1, 100, 0));
	grant = h->grant.grant;
	assert_int_equal(h->grant.alone, wire_board_joins(board));
	assert_true(wire_board_get(board, (uint32_t)h->key.board, &room));
	assert_true(room.window == h->grant.window && room.requests == 4 && room.tokens == 900);
	assert_true(room.ends_ms > (uint64_t)bl_wall_ms() && room.ends_ms <= (uint64_t)bl_wall_ms() + BL_WINDOW_MS);
	bed_gateway(b, 1, 12);
	assert_int_not_equal(h->grant.alone, wire_board_joins(board));
	assert_true(bed_ask(b, 1, key, 1, 300, 0));
	assert_int_equal(b->gw[1].h.grant.alone, 0);
	assert_true(wire_board_get(board, (uint32_t)h->key.board, &room));
	assert_true(room.requests == 3 && room.tokens == 600);
	assert_int_equal(h->grant.returned, 1);
	assert_int_equal(wire_send_grant_return(b->gw[0].peer, NULL, 0, &(struct wire_grant_return){ .key = tf_id_span(&key),
		.grant = grant, .requests = 1, .tokens = 100, .number = 9 }, NONE), 0);
	UNTIL(b, wire_board_get(board, (uint32_t)h->key.board, &room) && room.requests == 4 && room.tokens == 700);
	bed_gateway_gone(b, 1);
	UNTIL(b, b->bl->sessions == 1);
	assert_false(bed_ask(b, 0, key, 1, 800, 0));
	assert_int_equal(h->refuse.alone, wire_board_joins(board));
	assert_int_equal(h->refuse.returned, 9);
	wire_board_close(&board);
}

struct answered { /* an operator, and what stood on the board then */
	struct wire_board *board;
	uint64_t change;
	unsigned times;
};

static void
operator_hears(const struct bl_change *c, void *arg)
{
	struct answered *a = arg;

	assert_int_equal(c->rc, 0);
	a->change = wire_board_changed(a->board);
	a->times++;
}

/*
 * When a change is answered its number is on the board. Who asks then is told of the key behind the recall of all that
 * was granted before, also of what was granted while a former recall was under way.
 */
static void
test_change_is_seen(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;
	struct answered a = { 0 };
	struct bl_order order = { "test", "test", operator_hears, &a };
	struct bl_workspace *w;
	char text[TF_APIKEY_MAX + 1];
	struct tf_id ws, key;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "small");
	key = bed_key(b, ws, BL_NEVER_MS);
	memcpy(text, b->text, sizeof text);
	w = bl_index_workspace(&b->bl->index, tf_id_span(&ws));
	assert_int_equal(wire_board_open(b->dir, b->gw[0].peer->boot, &a.board), 0);
	assert_int_equal(wire_board_changed(a.board), 2);
	assert_true(bed_ask(b, 0, key, 1, 10, 0));
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(bl_admin_plan(b->bl, w, TF_SPAN("small"), &order), 0);
		UNTIL(b, a.times == i);
		assert_true(a.change == 2 + i && a.change == b->bl->change);
		bed_key_ask(b, 0, text);
		assert_int_equal(h->recalls, i);
		assert_int_equal(h->key.change, a.change);
		assert_true(bed_ask(b, 0, key, 1, 10, 0)); /* the gateway has given nothing back yet */
	}
	wire_board_close(&a.board);
	/* another start begins with the number of the last change */
	bed_gateway_gone(b, 0);
	bed_stop(b);
	bed_start(b);
	bed_gateway(b, 0, 12);
	assert_int_equal(wire_board_open(b->dir, b->gw[0].peer->boot, &a.board), 0);
	assert_int_equal(wire_board_changed(a.board), 5);
	wire_board_close(&a.board);
}

/* ---- usage -------------------------------------------------------------------------------- */

static void
test_usage_and_ack(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;
	struct wire_usage one, two, three;
	struct tf_id ws, key;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "small");
	key = bed_key(b, ws, BL_NEVER_MS);
	assert_true(bed_ask(b, 0, key, 1, 500, 0));
	bed_return(b, 0, key, h->grant.grant, 0, 0);
	one = bed_usage(b, 0, key);
	one.reserved = 500;
	bed_tell(b, 0, &one, tf_id_new());
	UNTIL(b, h->ack == 1);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger WHERE charged AND delivered AND seq = 1"), 1);
	assert_int_equal(bed_sql(b, "SELECT seq FROM instances"), 1);
	/* the reservation is free again, what was used is not */
	assert_int_equal(bl_index_workspace(&b->bl->index, tf_id_span(&ws))->account.meter[BL_M_TPM].debit, 20);
	/* a gap: nothing beyond it is acknowledged until it is filled */
	two = bed_usage(b, 0, key);
	three = bed_usage(b, 0, key);
	bed_tell(b, 0, &three, tf_id_new());
	UNTIL(b, h->acks == 2);
	assert_int_equal(h->ack, 1);
	bed_tell(b, 0, &two, tf_id_new());
	UNTIL(b, h->ack == 3);
	bed_tell(b, 0, &two, tf_id_new()); /* the acknowledgement was lost: it is repeated */
	UNTIL(b, h->acks >= 4);
	assert_int_equal(h->ack, 3);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 3);
	assert_int_equal(bed_sql(b, "SELECT seq FROM instances"), 3);
	assert_true(bl_ledger_idle(&b->bl->ledger));
}

/* Few wait for company, many do not. */
static void
test_group_commit(void **state)
{
	struct bed *b = *state;
	uint64_t start;
	struct tf_id key;

	bed_close(b);
	bed_open(b, "commit-delay = 1s\ncommit-rows = 50");
	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "local"), BL_NEVER_MS);
	start = bed_real_ms();
	for (int i = 0; i < 3; i++) {
		struct wire_usage u = bed_usage(b, 0, key);

		bed_tell(b, 0, &u, tf_id_new());
	}
	UNTIL(b, b->gw[0].h.ack == 3);
	assert_in_range(bed_real_ms() - start, 990, 20000);
	assert_int_equal(b->gw[0].h.acks, 1);
	/* a busy machine takes its time now and then, but not always as long as the delay */
	for (int tries = 1; ; tries++) {
		start = bed_real_ms();
		for (int i = 0; i < 50; i++) {
			struct wire_usage u = bed_usage(b, 0, key);

			bed_tell(b, 0, &u, tf_id_new());
		}
		UNTIL(b, b->gw[0].h.ack == 3 + 50 * (uint64_t)tries);
		if (bed_real_ms() - start < 900)
			break;
		assert_true(tries < 10);
	}
}

static void
test_impossible_usage(void **state)
{
	struct bed *b = *state;
	struct wire_usage u;
	struct tf_id key;

	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "test"), BL_NEVER_MS);
	u = bed_usage(b, 0, key);
	u.prompt = UINT64_MAX;
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ups == 2); /* dropped, and back */
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 0);
	/* of a key that nobody knows: kept all the same, for it was served */
	b->gw[0].seq = 0;
	u = bed_usage(b, 0, key);
	u.key = TF_SPAN("0123456789abcdef");
	bed_tell(b, 0, &u, tf_id_new());
	UNTIL(b, b->gw[0].h.ack == 1);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 1);
}

/* The disk as SQLite sees it. Its connections are their threads' alone: the disk is made full below them. */
static atomic_bool full;

static ssize_t
disk_write(int fd, const void *p, size_t n)
{
	if (!atomic_load(&full))
		return write(fd, p, n);
	errno = ENOSPC;
	return -1;
}

static ssize_t
disk_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (!atomic_load(&full))
		return pwrite(fd, p, n, at);
	errno = ENOSPC;
	return -1;
}

/* Before any connection is opened. A build of SQLite uses one of the three, and knows no others. */
static void
disk_setup(void)
{
	sqlite3_vfs *vfs;

	sqlite3_initialize();
	vfs = sqlite3_vfs_find(NULL);
	vfs->xSetSystemCall(vfs, "write", (sqlite3_syscall_ptr)disk_write);
	vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)disk_pwrite);
	vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)disk_pwrite);
}

static void
test_disk_full(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "local");
	key = bed_key(b, ws, BL_NEVER_MS);
	bed_pass(b, 30);
	atomic_store(&full, true);
	for (int i = 0; i < 300; i++) {
		struct wire_usage u = bed_usage(b, 0, key);

		bed_tell(b, 0, &u, tf_id_new());
	}
	UNTIL(b, b->bl->ledger.retry_ms > 0);
	assert_true(tf_metric_get(TF_M_BL_STORE_FAILURES) > 0);
	assert_int_equal(b->gw[0].h.acks, 0);
	/* limits and keys go on; a question about usage says that it cannot be answered */
	assert_true(bed_ask(b, 0, key, 1, 10, 0));
	(void)bed_query(b, 0, ws, "{}");
	assert_string_equal(b->gw[0].h.code, "overloaded");
	atomic_store(&full, false);
	UNTIL(b, b->gw[0].h.ack == 300);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 300);
	assert_int_equal(bed_sql(b, "SELECT sum(requests) FROM usage_days"), 300);
}

/* ---- going and coming back ------------------------------------------------------------------ */

static void
drained(void *arg)
{
	*(unsigned *)arg += 1;
}

static void
test_drain(void **state)
{
	struct bed *b = *state;
	unsigned over = 0;
	struct tf_id key;

	bed_close(b);
	bed_open(b, "commit-delay = 1s");
	bed_gateway(b, 0, 11);
	key = bed_key(b, bed_workspace(b, "main", "local"), BL_NEVER_MS);
	for (int i = 0; i < 20; i++) {
		struct wire_usage u = bed_usage(b, 0, key);

		bed_tell(b, 0, &u, tf_id_new());
	}
	UNTIL(b, b->bl->ledger.held == 20);
	bl_drain(b->bl, drained, &over);
	UNTIL(b, over > 0);
	UNTIL(b, b->gw[0].h.ack == 20);
	bed_stop(b);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger"), 20);
	assert_true(bed_sql(b, "SELECT last_used_ms FROM keys") > 0);
}

static void
test_wrong_pepper(void **state)
{
	struct bed *b = *state;
	struct bl *bl = NULL;
	char path[128];
	FILE *f;

	bed_stop(b);
	snprintf(path, sizeof path, "%s/pepper.key", b->dir);
	b->bl_loop = ev_loop_new();
	unlink(path);
	assert_int_equal(bl_new(b->bl_loop, b->conf, &bl), TF_E_NOENT);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("another pepper that is long enough to be one", f);
	fclose(f);
	chmod(path, 0600);
	assert_int_not_equal(bl_new(b->bl_loop, b->conf, &bl), 0);
	ev_loop_free(&b->bl_loop);
	assert_int_equal(bed_sql(b, "SELECT value FROM meta WHERE name = 'epoch'"), 1);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_keys), T(test_expiry), T(test_rotation), T(test_rotation_race), T(test_names), T(test_grants),
		T(test_recall), T(test_dead_gateway), T(test_parallel), T(test_unlimited_and_plan_change),
		T(test_board), T(test_change_is_seen), T(test_usage_and_ack),
		T(test_group_commit), T(test_impossible_usage), T(test_disk_full),
		T(test_drain), T(test_wrong_pepper),
	};

	tf_log_init("test", TF_ERROR, false);
	disk_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
