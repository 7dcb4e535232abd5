/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission over the wire beyond requests and tokens: every field of a grant and of a refusal, what comes back
 * when a link breaks or a gateway dies, and what a restart finds again.
 */
#include "config.h"

#include "tests/billingd/bed.h"

#define NONE ((struct tf_span){ 0 })
#define SECOND INT64_C(1000000000)

static struct bed bed;
static struct tf_id space, key;
static char text[TF_APIKEY_MAX + 1]; /* of key */

static int
setup(void **state)
{
	bed_open(&bed, "grant-ttl = 4s\n[plan free]\nrpm = 0\ntpm = 0\n[plan full]\nrpm = 50\ntpm = 5000\nconcurrency = 4\n"
	    "window = first-use\nwindow-length = 1h\nwindow-tokens = 20000");
	bed_gateway(&bed, 0, 11);
	bed_gateway(&bed, 1, 12);
	*state = &bed;
	return 0;
}

static void
use(struct bed *b, const char *plan)
{
	space = bed_workspace(b, "main", plan);
	key = bed_key(b, space, BL_NEVER_MS);
	snprintf(text, sizeof text, "%s", b->text);
}

static struct bl_workspace *
workspace(struct bed *b)
{
	return bl_index_workspace(&b->bl->index, tf_id_span(&space));
}

static void
topup(struct bed *b, int64_t tokens, int64_t money)
{
	struct bl_topup t = { .tokens = tokens, .money = money };
	unsigned done = b->done;

	assert_int_equal(bl_admin_topup(b->bl, workspace(b), &t, BED_ORDER(b)), 0);
	UNTIL(b, b->done > done);
	assert_int_equal(b->rc, 0);
}

static void
limit_key(struct bed *b, struct tf_id id, unsigned parts, struct bl_key_row row)
{
	struct bl_key_set set = { parts, row };
	unsigned done = b->done;

	assert_int_equal(bl_admin_key_set(b->bl, bl_index_key(&b->bl->index, tf_id_span(&id)), &set, BED_ORDER(b)), 0);
	UNTIL(b, b->done > done);
	assert_int_equal(b->rc, 0);
}

static bool
ask_with(struct bed *b, int i, struct tf_id of, struct wire_grant_ask m)
{
	struct heard *h = &b->gw[i].h;
	unsigned grants = h->grants, refusals = h->refusals;
	struct tf_id id = tf_id_new();

	m.key = tf_id_span(&of);
	m.requests = 1;
	assert_int_equal(wire_send_grant_ask(b->gw[i].peer, &id, 0, &m, NONE), 0);
	UNTIL(b, h->grants > grants || h->refusals > refusals);
	return h->grants > grants;
}

static bool
ask(struct bed *b, int i, struct wire_grant_ask m)
{
	return ask_with(b, i, key, m);
}

/* A request that was admitted from the last grant ends; reserved as in u. */
static void
ends(struct bed *b, int i, struct wire_usage u)
{
	const struct wire_grant *g = &b->gw[i].h.grant;
	struct wire_usage m = bed_usage(b, i, key);
	uint64_t ack = b->gw[i].h.ack;

	m.window = g->window;
	m.window_budget = g->window_budget;
	m.window_month = g->window_month;
	m.window_key = g->window_key;
	m.reserved = u.reserved;
	m.reserved_money = u.reserved_money;
	m.reserved_slots = u.reserved_slots;
	m.completion = u.completion;
	if (u.price_output != 0)
		wire_set(&m, USAGE, price_output, u.price_output);
	bed_tell(b, i, &m, tf_id_new());
	UNTIL(b, b->gw[i].h.ack > ack);
}

static void
returns(struct bed *b, int i, struct wire_grant_return m)
{
	m.key = tf_id_span(&key);
	m.grant = b->gw[i].h.grant.grant;
	assert_int_equal(wire_send_grant_return(b->gw[i].peer, NULL, 0, &m, NONE), 0);
}

/* ---- messages ----------------------------------------------------------------------------- */

static void
test_grant_fields(void **state)
{
	struct bed *b = *state;
	const struct wire_grant *g = &b->gw[0].h.grant;

	use(b, "full");
	topup(b, 3000, 1000);
	limit_key(b, key, BL_KEY_RPM | BL_KEY_BUDGET, (struct bl_key_row){ .rpm = 7, .budget = { true, 900 } });
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .money = 40, .slots = 1 }));
	assert_true(g->requests == 1 && g->tokens == 100 && g->slots == 1 && g->images > 1000 && g->audio_ms > 1000);
	assert_true(wire_has(g, GRANT, money) && g->money == 40);
	assert_true(g->limit == 50 && g->remaining == 49 && g->tokens_left == 4900);
	assert_true(g->budget == 20000 + 3000 - 100);
	assert_in_range(g->budget_reset_ms, 3590000, 3600000);
	assert_true(g->key_remaining == 6 && g->window_key != 0 && g->key_reset_ms > 50000);
	assert_true(g->window_budget != 0 && g->window_month == bl_month_start((uint64_t)bl_wall_ms()));
	/* the same to who asks about the key */
	bed_key_ask(b, 0, text);
	assert_true(b->gw[0].h.key.remaining == 49 && b->gw[0].h.key.window == g->window);
	assert_true(b->gw[0].h.key.budget == 22900 && b->gw[0].h.key.window_budget == g->window_budget);
	/* nothing limits it: money is as much as wanted, and no window is told that is not drawn on */
	key = bed_key(b, bed_workspace(b, "other", "free"), BL_NEVER_MS);
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .money = 40, .slots = 1 }));
	assert_false(wire_has(g, GRANT, money));
	assert_true(!wire_has(g, GRANT, budget) && g->window_budget == 0 && g->window_key == 0 && g->window_month != 0);
}

static void
test_refuse_fields(void **state)
{
	struct bed *b = *state;
	struct heard *h = &b->gw[0].h;

	use(b, "full");
	topup(b, 0, 1000);
	assert_false(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .money = 1001, .slots = 1 }));
	assert_string_equal(h->code, "balance_exhausted");
	assert_true(h->refuse.retry_after_ms == 0 && h->refuse.transient == 0);
	assert_true(wire_has(&h->refuse, GRANT_REFUSE, room_money) && h->refuse.room_money == 1000);
	assert_true(h->refuse.room_tokens == 5000 && h->refuse.budget == 20000);
	assert_false(wire_has(&h->refuse, GRANT_REFUSE, window)); /* a refused request starts none */
	assert_false(ask(b, 0, (struct wire_grant_ask){ .tokens = 5001 }));
	assert_string_equal(h->code, "bad_request");
	for (int i = 0; i < 4; i++)
		assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 10, .slots = 1 }));
	assert_false(ask(b, 1, (struct wire_grant_ask){ .tokens = 10, .slots = 1 }));
	assert_string_equal(b->gw[1].h.code, "concurrency_exceeded");
	assert_true(b->gw[1].h.refuse.transient == 1 && b->gw[1].h.refuse.retry_after_ms == 1000);
}

/* Who waits is served by the settlement, not by asking again; one key's own limit holds up no other key. */
static void
test_waiting(void **state)
{
	struct bed *b = *state;
	struct wire_grant_ask m = { .requests = 1, .tokens = 10, .slots = 1 };
	struct tf_id id = tf_id_new(), other;
	struct heard *h = &b->gw[1].h;
	unsigned grants;
	uint64_t start;

	use(b, "full");
	other = bed_key(b, space, BL_NEVER_MS);
	limit_key(b, key, BL_KEY_CONCURRENCY, (struct bl_key_row){ .concurrency = 1 });
	assert_true(ask(b, 0, m));
	returns(b, 0, (struct wire_grant_return){ .images = b->gw[0].h.grant.images }); /* it runs */
	bed_pass(b, 20);
	grants = h->grants;
	start = bed_real_ms();
	m.key = tf_id_span(&key);
	assert_int_equal(wire_send_grant_ask(b->gw[1].peer, &id, 0, &m, NONE), 0);
	UNTIL(b, bl_index_key(&b->bl->index, tf_id_span(&key))->waits.n == 1);
	assert_true(ask_with(b, 0, other, m)); /* at once, while that one waits */
	ends(b, 0, (struct wire_usage){ .reserved = 10, .reserved_slots = 1 });
	UNTIL(b, h->grants > grants || h->refusals > 0);
	/* a machine that is held up for longer than it waits proves nothing */
	assert_true(h->refusals == 0 || bed_real_ms() - start >= BL_WAIT_MS);
}

/* ---- money -------------------------------------------------------------------------------- */

/* What an attempt costs beyond its reservation is in the ledger, and drawn from nothing. */
static void
test_unbilled(void **state)
{
	struct bed *b = *state;
	uint64_t before = tf_metric_get(TF_M_BL_UNBILLED);

	use(b, "free");
	topup(b, 0, 1000000);
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .money = 500, .slots = 1 }));
	/* 40 output tokens at 20 nano-units */
	ends(b, 0, (struct wire_usage){ .reserved = 100, .reserved_money = 500, .completion = 40, .price_output = 20000000 });
	assert_int_equal(bed_sql(b, "SELECT cost FROM ledger"), 800);
	assert_int_equal(bed_sql(b, "SELECT unbilled FROM ledger"), 300);
	assert_int_equal(bed_sql(b, "SELECT balance FROM workspaces"), 999500);
	assert_int_equal(workspace(b)->row.balance.v, 999500);
	assert_int_equal(tf_metric_get(TF_M_BL_UNBILLED), before + 1);
}

/* Nobody knows what of it was admitted: it is held until the records have been told, or for good. */
static void
test_money_of_the_dead(void **state)
{
	struct bed *b = *state;
	struct wire_settled told = { .boot = 11 };
	char name[32];

	use(b, "free");
	topup(b, 0, 1000);
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .money = 700, .slots = 1 }));
	snprintf(name, sizeof name, "%s", b->gw[0].name);
	bed_gateway_gone(b, 0);
	UNTIL(b, wire_hub_count(b->bl->hub) == 1);
	tf_clock_shift(300 * SECOND); /* no time frees it, and its start is not forgotten */
	bed_pass(b, 600);
	assert_false(ask(b, 1, (struct wire_grant_ask){ .tokens = 100, .money = 500 }));
	assert_string_equal(b->gw[1].h.code, "balance_exhausted");
	told.name = tf_cspan(name);
	assert_int_equal(wire_send_settled(b->gw[1].peer, NULL, 0, &told, NONE), 0);
	UNTIL(b, ask(b, 1, (struct wire_grant_ask){ .tokens = 100, .money = 1000 }));
}

static void
test_slots_of_the_dead(void **state)
{
	struct bed *b = *state;

	use(b, "full");
	for (int i = 0; i < 4; i++)
		assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 10, .slots = 1 }));
	bed_gateway_gone(b, 0);
	UNTIL(b, wire_hub_count(b->bl->hub) == 1);
	UNTIL(b, ask(b, 1, (struct wire_grant_ask){ .tokens = 10, .slots = 1 }));
	/* a new start of the same name ends the old one's attempts, too */
	bed_gateway(b, 0, 13);
	for (int i = 0; i < 3; i++)
		assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 10, .slots = 1 }));
	bed_gateway_gone(b, 0);
	UNTIL(b, wire_hub_count(b->bl->hub) == 1);
	bed_gateway(b, 0, 14);
	UNTIL(b, ask(b, 0, (struct wire_grant_ask){ .tokens = 10, .slots = 1 }));
}

/* ---- links and restarts ------------------------------------------------------------------- */

static void
declare(struct bed *b, int i, const struct wire_grant *g, struct wire_declare m)
{
	struct wire_declare bare = { 0 };

	wire_set(&bare, DECLARE, first, 1);
	assert_int_equal(wire_send_declare(b->gw[i].peer, NULL, 0, &bare, NONE), 0);
	if (g != NULL) {
		m.key = tf_id_span(&key);
		m.window = g->window;
		m.window_budget = g->window_budget;
		m.window_month = g->window_month;
		m.window_key = g->window_key;
		assert_int_equal(wire_send_declare(b->gw[i].peer, NULL, 0, &m, NONE), 0);
	}
	bare = (struct wire_declare){ 0 };
	wire_set(&bare, DECLARE, last, 1);
	assert_int_equal(wire_send_declare(b->gw[i].peer, NULL, 0, &bare, NONE), 0);
}

/* What came back while the link was broken is lost: the gateway says anew what it holds, and nothing leaks. */
static void
test_declared_anew(void **state)
{
	struct bed *b = *state;
	struct bl_account *a;

	use(b, "full");
	topup(b, 0, 1000);
	a = &workspace(b)->account;
	for (int i = 0; i < 3; i++)
		assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 500, .money = 200, .slots = 1 }));
	assert_true(a->meter[BL_M_BALANCE].debit == 600 && a->meter[BL_M_CONCURRENCY].debit == 3);
	/* one of the three runs */
	declare(b, 0, &b->gw[0].h.grant, (struct wire_declare){ .reserved = 450, .reserved_money = 180, .reserved_slots = 1 });
	UNTIL(b, a->meter[BL_M_BALANCE].debit == 180);
	assert_true(a->meter[BL_M_CONCURRENCY].debit == 1);
	assert_true(a->meter[BL_M_WINDOW].debit == 450 && a->meter[BL_M_TPM].debit == 450);
	ends(b, 0, (struct wire_usage){ .reserved = 450, .reserved_money = 180, .reserved_slots = 1 });
	assert_true(a->meter[BL_M_BALANCE].debit == 0 && a->meter[BL_M_CONCURRENCY].debit == 0);
	assert_true(a->meter[BL_M_WINDOW].debit == 17 && a->meter[BL_M_CAP_TOKENS].used == 17);
	declare(b, 0, NULL, (struct wire_declare){ 0 });
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 5 })); /* behind it */
	returns(b, 0, (struct wire_grant_return){ .requests = 1, .tokens = 5 });
	UNTIL(b, a->open == 0);
	assert_int_equal(a->meter[BL_M_WINDOW].debit, 17);
}

/* Numbers that are none start no windows and hold nothing but what has none. */
static void
test_declared_nonsense(void **state)
{
	struct bed *b = *state;
	struct wire_grant far = { .window = UINT64_MAX, .window_budget = UINT64_MAX - 1, .window_month = UINT64_MAX,
		.window_key = UINT64_MAX };
	struct bl_account *a;

	use(b, "full");
	topup(b, 0, 1000);
	a = &workspace(b)->account;
	assert_true(ask(b, 1, (struct wire_grant_ask){ .tokens = 100 }));
	declare(b, 0, &far, (struct wire_declare){ .reserved = UINT64_MAX, .reserved_money = 400, .requests = UINT64_MAX });
	UNTIL(b, a->meter[BL_M_BALANCE].debit == 400);
	assert_int_equal(a->window[BL_W_MINUTE].number, b->gw[1].h.grant.window);
	assert_int_equal(a->window[BL_W_BUDGET].number, b->gw[1].h.grant.window_budget);
	assert_int_equal(a->meter[BL_M_TPM].debit, 100);
	assert_int_equal(a->meter[BL_M_RPM].debit, 1);
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .money = 600 }));
}

static void
test_restart(void **state)
{
	struct bed *b = *state;
	const struct bl_account *a;
	struct wire_grant before;

	use(b, "full");
	topup(b, 100, 5000);
	limit_key(b, key, BL_KEY_TPM | BL_KEY_BUDGET, (struct bl_key_row){ .tpm = 900, .budget = { true, 3000 } });
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 500, .money = 1000, .slots = 1 }));
	before = b->gw[0].h.grant;
	ends(b, 0, (struct wire_usage){ .reserved = 500, .reserved_money = 1000, .reserved_slots = 1, .completion = 43,
	    .price_output = 20000000 });
	bed_stop(b);
	bed_start(b);
	UNTIL(b, b->gw[0].h.ups == 2 && b->gw[1].h.ups == 2);
	declare(b, 0, &before, (struct wire_declare){ .reserved = 200, .reserved_money = 300, .reserved_slots = 2 });
	declare(b, 1, NULL, (struct wire_declare){ 0 });
	UNTIL(b, b->bl->blind_until == 0);
	a = &workspace(b)->account;
	/* 60 tokens and 860 nano-units were used; then what runs */
	assert_true(a->meter[BL_M_TPM].used == 60 && a->meter[BL_M_RPM].used == 1);
	assert_true(a->window[BL_W_BUDGET].number == before.window_budget && a->meter[BL_M_WINDOW].used == 60);
	assert_true(a->meter[BL_M_BUDGET].used == 860 && a->meter[BL_M_CAP_TOKENS].used == 60);
	assert_int_equal(workspace(b)->row.balance.v, 4140);
	assert_int_equal(a->meter[BL_M_CONCURRENCY].debit, 2);
	assert_false(ask(b, 1, (struct wire_grant_ask){ .tokens = 641, .slots = 1 })); /* of the key's 900 */
	assert_true(ask(b, 1, (struct wire_grant_ask){ .tokens = 640, .money = 1840, .slots = 1 })); /* of its 3000 */
	assert_false(ask(b, 1, (struct wire_grant_ask){ .money = 1 }));
	assert_int_equal(b->gw[1].h.grant.window_budget, before.window_budget);
	assert_int_equal(b->gw[1].h.grant.budget, 20000 + 100 - 60 - 200 - 640);
}

static void
verified(struct db_batch *x, void *arg)
{
	*(int *)arg = x->rc;
	db_batch_free(&x);
}

/* How many windows were looked at; each holds what its rows come to. */
static uint64_t
verify_windows(struct bed *b)
{
	struct bl_verify v = { 0 };
	uint64_t looked;

	while (!v.over) {
		int rc = 1;
		struct db_batch *x = db_batch_new(verified, &rc);

		assert_int_equal(db_batch_add(x, BL_OP_VERIFY, &v), 0);
		x->read = true;
		db_store_submit(b->bl->store, x);
		UNTIL(b, rc <= 0);
		assert_int_equal(rc, 0);
	}
	if (v.found[BL_CHECK_WINDOWS].wrong != 0)
		fail_msg("%s", v.found[BL_CHECK_WINDOWS].first);
	looked = v.found[BL_CHECK_WINDOWS].looked;
	bl_verify_fini(&v);
	return looked;
}

/* A request that was admitted from the last grant, by a gateway whose clock differs by so much, ends. */
static void
ends_off(struct bed *b, int64_t off_ms)
{
	struct wire_usage m = bed_usage(b, 0, key);
	uint64_t ack = b->gw[0].h.ack;

	m.window_budget = b->gw[0].h.grant.window_budget;
	m.reserved = 100;
	m.began_ms = (uint64_t)((int64_t)m.began_ms + off_ms);
	bed_tell(b, 0, &m, tf_id_new());
	UNTIL(b, b->gw[0].h.ack > ack);
}

/* The ledger adds up whatever the wall clock was set to while a grant was out, and when its requests end behind the window. */
static void
test_windows_and_the_clock(void **state)
{
	static const int64_t days[] = { 0, 3, -3, 40, -40, 0, 3 };
	struct bed *b = *state;

	use(b, "full");
	assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .slots = 1 }));
	for (size_t i = 0; i < TF_LEN(days); i++) {
		ends_off(b, days[i] * 86400000);
		assert_int_equal(verify_windows(b), 1);
	}
	assert_int_equal(bed_sql(b, "SELECT tokens FROM windows"), 20 * TF_LEN(days));
	/* the clock moves and the window with it: what began in it is told when it is over, of the second for the first time */
	for (unsigned turn = 1; turn <= 2; turn++) {
		bed_gateway_gone(b, 0);
		tf_clock_shift(2 * 86400 * SECOND);
		b->gw[0].h.ack = 0;
		bed_gateway(b, 0, 12 + turn);
		ends_off(b, 0);
		assert_int_equal(verify_windows(b), turn);
		ends_off(b, -2 * 86400000);
		assert_int_equal(verify_windows(b), turn);
		assert_int_equal(bed_sql(b, "SELECT sum(tokens) FROM windows"), 20 * (TF_LEN(days) + 2 * turn));
		assert_true(ask(b, 0, (struct wire_grant_ask){ .tokens = 100, .slots = 1 }));
	}
	assert_int_equal(bed_sql(b, "SELECT sum(ends_ms > number) FROM windows"), 1); /* and no end of the second is known */
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_grant_fields), T(test_refuse_fields), T(test_waiting), T(test_unbilled), T(test_money_of_the_dead),
		T(test_slots_of_the_dead), T(test_declared_anew), T(test_declared_nonsense), T(test_restart),
		T(test_windows_and_the_clock),
	};

	tf_log_init("test", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
