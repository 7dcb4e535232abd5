/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows and accounts: the single rules. test_limit_model.c holds them together against a model.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/billingd/limitbench.h"

/* ---- windows ------------------------------------------------------------------------------ */

static void
test_window(void **state)
{
	struct bl_window w = { .length_ms = 60000 };

	(void)state;
	assert_false(bl_window_runs(&w, at(0)));
	bl_window_start(&w, at(500));
	assert_int_equal(w.number, T0 + 500);
	assert_int_equal(bl_window_left(&w, at(500)), 60000);
	assert_int_equal(bl_window_left(&w, at(60499)), 1);
	assert_int_equal(bl_window_left(&w, at(60500)), 0);
	assert_int_equal(bl_window_end(&w, at(501)), T0 + 60500);
	/* the wall clock went back an hour: numbers still grow */
	bl_window_start(&w, (struct bl_now){ 2000000, T0 - 3600000 });
	assert_int_equal(w.number, T0 + 501);
}

static void
test_adopt(void **state)
{
	struct bl_window w = { .length_ms = 60000 };

	(void)state;
	assert_false(bl_window_adopt(&w, 0, at(0)));
	assert_false(bl_window_adopt(&w, T0, at(60000)));
	assert_true(bl_window_adopt(&w, T0 + 1000, at(11000)));
	assert_int_equal(bl_window_left(&w, at(11000)), 50000);
	assert_true(bl_window_adopt(&w, T0 + 1000, at(12000)));
	assert_int_equal(bl_window_left(&w, at(12000)), 49000);
	assert_false(bl_window_adopt(&w, T0 + 900, at(12000)));
	assert_true(bl_window_adopt(&w, T0 + 5000, at(12000)));
	assert_false(bl_window_adopt(&w, T0 + 5000, at(65000)));
	/* a gateway whose clock is ahead does not get a longer minute */
	assert_true(bl_window_adopt(&w, T0 + 999000, at(70000)));
	assert_int_equal(bl_window_left(&w, at(70000)), 60000);
}

/* Seconds since 1970 of the first of each month, as date(1) says them. */
static void
test_months(void **state)
{
	static const struct {
		uint64_t in, start, next; /* seconds */
	} cases[] = {
		{ 0, 0, 2678400 },
		{ 951782399, 949363200, 951868800 },     /* 2000-02-28T23:59:59: 400 divides the year */
		{ 951782400, 949363200, 951868800 },     /* 2000-02-29 */
		{ 951868800, 951868800, 954547200 },     /* 2000-03-01 */
		{ 1709251199, 1706745600, 1709251200 },  /* 2024-02-29T23:59:59 */
		{ 1709251200, 1709251200, 1711929600 },  /* 2024-03-01 */
		{ 1740787199, 1738368000, 1740787200 },  /* 2025-02-28T23:59:59 */
		{ 1798761599, 1796083200, 1798761600 },  /* 2026-12-31T23:59:59 */
		{ 1798761600, 1798761600, 1801440000 },  /* 2027-01-01 */
		{ 4107542399, 4105123200, 4107542400 },  /* 2100-02-28T23:59:59: no leap year */
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		assert_int_equal(bl_month_start(cases[i].in * 1000 + 999), cases[i].start * 1000);
		assert_int_equal(bl_month_next(cases[i].in * 1000 + 999), cases[i].next * 1000);
	}
	/* months follow each other without gaps for 200 years */
	for (uint64_t t = 0; t < UINT64_C(200) * 366 * DAY; t = bl_month_next(t)) {
		assert_int_equal(bl_month_start(t), t);
		assert_int_equal(bl_month_start(bl_month_next(t) - 1), t);
		assert_in_range(bl_month_next(t) - t, 28 * DAY, 31 * DAY);
	}
}

static void
test_month_window(void **state)
{
	struct bl_window w = { .length_ms = BL_MONTH };
	struct bl_now now = { 5, MONTH1 - 1000 };

	(void)state;
	bl_window_start(&w, now);
	assert_int_equal(w.number, MONTH0);
	assert_int_equal(bl_window_left(&w, now), 1000);
	now.wall_ms = MONTH1;
	assert_false(bl_window_runs(&w, now));
	bl_window_start(&w, now);
	assert_int_equal(w.number, MONTH1);
	/* set back a little: the new month goes on, and nothing of the old one is given again */
	now.wall_ms = MONTH1 - 5000;
	assert_true(bl_window_runs(&w, now));
	/* the clock was a month ahead by mistake: the right month is found again */
	now.wall_ms = MONTH1 - 10 * DAY;
	assert_false(bl_window_runs(&w, now));
	bl_window_start(&w, now);
	assert_int_equal(w.number, MONTH0);
	/* only a month that runs is adopted, and only by its first moment */
	assert_false(bl_window_adopt(&w, MONTH1, now));
	assert_true(bl_window_adopt(&w, MONTH0, now));
	now.wall_ms = MONTH1 + 7;
	assert_false(bl_window_adopt(&w, MONTH1 + 7, now));
	assert_true(bl_window_adopt(&w, MONTH1, now));
}

static void
test_window_set(void **state)
{
	struct bl_window w = { .length_ms = 5000 };

	(void)state;
	bl_window_start(&w, at(0));
	bl_window_set(&w, 5000, at(1000));
	assert_int_equal(bl_window_left(&w, at(1000)), 4000);
	bl_window_set(&w, 20000, at(1000)); /* what has passed of it stays passed */
	assert_int_equal(bl_window_left(&w, at(1000)), 19000);
	bl_window_set(&w, 2000, at(1500));
	assert_int_equal(bl_window_left(&w, at(1500)), 500);
	bl_window_set(&w, 1000, at(1600));
	assert_false(bl_window_runs(&w, at(1600)));
	bl_window_set(&w, BL_MONTH, at(1600));
	assert_false(bl_window_runs(&w, at(1600)));
	bl_window_start(&w, at(1600));
	assert_int_equal(w.number, MONTH0);
	bl_window_set(&w, 9000, at(1700));
	assert_false(bl_window_runs(&w, at(1700)));
}

/* ---- one meter each ----------------------------------------------------------------------- */

static void
test_requests(void **state)
{
	static const struct bl_amount none;
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_RPM, 3);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(ask(&b, 0, need(1, 100), 10), BL_GIVEN);
		assert_int_equal(b.o.amount.v[BL_U_REQUESTS], 1);
		assert_int_equal(b.o.bounded, 1u << BL_U_REQUESTS);
		assert_int_equal(room(&b, BL_M_RPM), 2 - i);
		assert_int_equal(b.o.window[BL_W_MINUTE], T0 + 10);
		assert_int_equal(b.o.window[BL_W_MONTH], MONTH0);
		assert_int_equal(b.o.window[BL_W_KEY], 0);
		assert_int_equal(b.o.window[BL_W_BUDGET], 0);
		assert_int_equal(give_back(&b, 0, none, 10), 0);
	}
	assert_int_equal(ask(&b, 0, need(1, 100), 20010), BL_SHORT);
	assert_int_equal(b.o.meter, BL_M_RPM);
	assert_false(b.o.transient); /* all three were admitted: no waiting brings one back */
	assert_int_equal(bl_window_left(&b.w.window[BL_W_MINUTE], at(20010)), 40000);
	assert_int_equal(ask(&b, 0, need(1, 100), 60009), BL_SHORT);
	assert_int_equal(ask(&b, 0, need(1, 100), 60010), BL_GIVEN);
	assert_int_equal(b.o.window[BL_W_MINUTE], T0 + 60010);
	assert_int_equal(ask(&b, 0, need(4, 100), 60010), BL_NEVER);
	close_bench(&b);
}

static void
test_tokens_and_settlement(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_RPM, 100);
	bl_account_limit(&b.w, BL_M_TPM, 1000);
	assert_int_equal(ask(&b, 0, need(1, 1001), 0), BL_NEVER);
	assert_int_equal(b.o.meter, BL_M_TPM);
	assert_int_equal(b.w.window[BL_W_MINUTE].number, 0); /* a refused request starts nothing */
	assert_int_equal(ask(&b, 0, need(1, 800), 0), BL_GIVEN);
	assert_int_equal(ask(&b, 1, need(1, 300), 0), BL_SHORT);
	assert_true(b.o.transient);
	assert_true(b.o.recallable);
	assert_int_equal(b.w.meter[BL_M_RPM].debit, 1); /* one step or none: no request was taken either */
	assert_int_equal(give_back(&b, 0, need(0, 100), 0), 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 700); /* a reservation now */
	assert_int_equal(ask(&b, 1, need(1, 400), 0), BL_SHORT);
	assert_true(b.o.transient);
	assert_false(b.o.recallable);
	assert_int_equal(ask(&b, 0, need(1, 10), 50), BL_GIVEN);
	settle(&b, 0, need(0, 700), need(0, 50), 100);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 60);
	assert_int_equal(give_back(&b, 0, need(1, 10), 100), 0);
	assert_int_equal(ask(&b, 1, need(1, 950), 100), BL_GIVEN);
	settle(&b, 1, need(0, 950), need(0, 940), 200);
	assert_int_equal(ask(&b, 1, need(1, 11), 200), BL_SHORT);
	assert_false(b.o.transient); /* used leaves 10 */
	assert_int_equal(ask(&b, 1, need(1, 10), 200), BL_GIVEN);
	close_bench(&b);
}

/* Usage of the window before does not touch the new one, but the other windows that both lie in. */
static void
test_settle_other_window(void **state)
{
	struct bench b;
	struct bl_offer first;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_TPM, 1000);
	bl_account_limit(&b.w, BL_M_CAP_TOKENS, 5000);
	assert_int_equal(ask(&b, 0, need(1, 900), 0), BL_GIVEN);
	first = b.o;
	assert_int_equal(give_back(&b, 0, need(0, 0), 5), 0);
	assert_int_equal(ask(&b, 0, need(1, 900), 70000), BL_GIVEN);
	assert_int_equal(b.w.meter[BL_M_CAP_TOKENS].debit, 1800);
	b.o = first;
	settle(&b, 0, need(0, 900), need(0, 300), 70001);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 900);
	assert_int_equal(b.w.meter[BL_M_TPM].used, 0);
	assert_int_equal(b.w.meter[BL_M_CAP_TOKENS].debit, 1200);
	assert_int_equal(b.w.meter[BL_M_CAP_TOKENS].used, 300);
	close_bench(&b);
}

/* Each meter alone: what it gives, its error, when it gives again. */
static void
test_each_alone(void **state)
{
	struct bench b;

	(void)state;
	for (unsigned m = 0; m < BL_METERS; m++) {
		const struct bl_meter_row *row = &bl_meter_rows[m];
		uint64_t later = row->window == BL_W_MONTH ? MONTH1 - T0 : row->window == BL_W_BUDGET ? 5000 : 60000;
		struct bl_account *a;

		if (row->window == BL_W_NONE)
			continue; /* test_balance, test_slots */
		open_bench(&b);
		a = b.p.of[row->scope];
		if (m == BL_M_WINDOW)
			bl_account_window(a, 5000, 7, 0, at(0));
		else
			bl_account_limit(a, (enum bl_meter_id)m, 7);
		for (int i = 0; i < 7; i++) {
			assert_int_equal(bl_account_room(a, (enum bl_meter_id)m), 7 - i);
			assert_int_equal(serve(&b, i % 2, of(row->unit, 1), 0), BL_GIVEN);
		}
		assert_int_equal(ask(&b, 0, of(row->unit, 1), later - 1), BL_SHORT);
		assert_int_equal(b.o.meter, m);
		assert_false(b.o.transient);
		assert_int_equal(a->meter[m].used, 7);
		/* what does not need that unit goes on, and so does another key when it is the key's limit */
		if (row->unit != BL_U_REQUESTS)
			assert_int_equal(ask(&b, 0, of(BL_U_SLOTS, 1), later - 1), BL_GIVEN);
		assert_int_equal(ask_of(&b, &b.p2, 1, of(row->unit, 1), later - 1), row->scope == BL_KEY ? BL_GIVEN : BL_SHORT);
		/* and a moment later everything is there again */
		for (int i = 0; i < 7; i++)
			assert_int_equal(serve(&b, 0, of(row->unit, 1), later), BL_GIVEN);
		assert_int_equal(ask(&b, 0, of(row->unit, 1), later), BL_SHORT);
		close_bench(&b);
		bl_account_fini(&b.k2);
	}
}

/* For a month and for money, more than there is at all means that it is used up. */
static void
test_never(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_BUDGET, 100);
	bl_account_limit(&b.w, BL_M_CAP_IMAGES, 0);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 101), 0), BL_SHORT);
	assert_false(b.o.transient);
	assert_int_equal(ask(&b, 0, of(BL_U_IMAGES, 1), 0), BL_SHORT);
	assert_false(b.o.transient);
	assert_int_equal(b.o.meter, BL_M_CAP_IMAGES);
	bl_account_window(&b.w, 5000, 50, 10, at(0));
	assert_int_equal(ask(&b, 0, need(1, 61), 0), BL_NEVER);
	assert_int_equal(b.o.meter, BL_M_WINDOW);
	assert_int_equal(ask(&b, 0, need(1, 60), 0), BL_GIVEN);
	close_bench(&b);
}

/* What lasts longest answers first, and a meter that is used up before one that is only held. */
static void
test_order(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_RPM, 1);
	bl_account_limit(&b.w, BL_M_CAP_TOKENS, 100);
	bl_account_limit(&b.w, BL_M_BALANCE, 100);
	assert_int_equal(serve(&b, 0, need(1, 100), 0), BL_GIVEN);
	assert_int_equal(ask(&b, 0, need(1, 1), 0), BL_SHORT);
	assert_int_equal(b.o.meter, BL_M_CAP_TOKENS);
	bl_account_limit(&b.w, BL_M_CAP_TOKENS, 200);
	assert_int_equal(ask(&b, 0, need(1, 1), 0), BL_SHORT);
	assert_int_equal(b.o.meter, BL_M_RPM);
	/* the balance is only held, the minute is used up */
	bl_account_limit(&b.w, BL_M_RPM, 2);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 100), 0), BL_GIVEN);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 1), 0), BL_SHORT);
	assert_true(b.o.transient);
	assert_int_equal(b.o.meter, BL_M_BALANCE);
	assert_int_equal(give_back(&b, 0, of(BL_U_REQUESTS, 0), 0), 0);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 1), 0), BL_SHORT);
	assert_false(b.o.transient);
	assert_int_equal(b.o.meter, BL_M_RPM);
	close_bench(&b);
}

static void
test_extra_tokens(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_window(&b.w, 5000, 1000, 300, at(0));
	assert_int_equal(serve(&b, 0, need(1, 900), 0), BL_GIVEN);
	assert_int_equal(room(&b, BL_M_WINDOW), 400);
	assert_int_equal(serve(&b, 0, need(1, 250), 10), BL_GIVEN);
	bl_account_window(&b.w, 5000, 1000, 150, at(10)); /* the ledger took 150 of what was topped up */
	assert_int_equal(room(&b, BL_M_WINDOW), 150);
	assert_int_equal(ask(&b, 0, need(1, 151), 10), BL_SHORT);
	assert_false(b.o.transient);
	/* another top-up is felt at once */
	bl_account_window(&b.w, 5000, 1000, 151, at(10));
	assert_int_equal(ask(&b, 0, need(1, 151), 10), BL_GIVEN);
	assert_int_equal(give_back(&b, 0, need(1, 151), 10), 0);
	/* the next window has its own tokens and what is left */
	bl_account_window(&b.w, 5000, 1000, 150, at(5001));
	assert_int_equal(ask(&b, 0, need(1, 1150), 5001), BL_GIVEN);
	assert_int_equal(b.o.window[BL_W_BUDGET], T0 + 5001);
	close_bench(&b);
}

/* A balance has no window: what is settled takes it down, what is held stays held. */
static void
test_balance(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_BALANCE, 1000);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 600), 0), BL_GIVEN);
	assert_int_equal(give_back(&b, 0, of(BL_U_MONEY, 0), 0), 0);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 600), 90000), BL_SHORT); /* no minute frees it */
	assert_true(b.o.transient);
	settle(&b, 0, of(BL_U_MONEY, 600), of(BL_U_MONEY, 100), 90000);
	bl_account_limit(&b.w, BL_M_BALANCE, 900);
	assert_int_equal(room(&b, BL_M_BALANCE), 900);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 901), 90000), BL_SHORT);
	assert_false(b.o.transient);
	assert_int_equal(ask(&b, 0, of(BL_U_MONEY, 900), 90000), BL_GIVEN);
	/* a return that comes a minute late still frees it */
	(void)bl_account_lapse(&b.p, at(200000));
	assert_int_equal(room(&b, BL_M_BALANCE), 0);
	assert_int_equal(give_back(&b, 0, of(BL_U_MONEY, 900), 200000), 0);
	assert_int_equal(room(&b, BL_M_BALANCE), 900);
	close_bench(&b);
}

/* A slot lives as long as its request; those of a gateway that is gone end with its attempts. */
static void
test_slots(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_CONCURRENCY, 3);
	bl_account_limit(&b.k, BL_M_KEY_CONCURRENCY, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ask(&b, i, of(BL_U_SLOTS, 1), 0), BL_GIVEN);
		assert_int_equal(give_back(&b, i, need(0, 0), 0), 0);
	}
	assert_int_equal(ask(&b, 0, of(BL_U_SLOTS, 1), 3600000), BL_SHORT);
	assert_int_equal(b.o.meter, BL_M_KEY_CONCURRENCY);
	assert_true(b.o.transient);
	assert_int_equal(ask_of(&b, &b.p2, 0, of(BL_U_SLOTS, 1), 3600000), BL_GIVEN);
	assert_int_equal(ask_of(&b, &b.p2, 0, of(BL_U_SLOTS, 1), 3600000), BL_SHORT);
	assert_int_equal(b.o.meter, BL_M_CONCURRENCY);
	settle(&b, 0, of(BL_U_SLOTS, 1), need(0, 0), 3600000);
	assert_int_equal(ask(&b, 0, of(BL_U_SLOTS, 1), 3600000), BL_GIVEN);
	bl_holder_gone(&b.gw[1], true, at(3600000));
	assert_int_equal(ask(&b, 0, of(BL_U_SLOTS, 1), 3600000), BL_SHORT);
	assert_true(b.o.transient); /* not lost: its attempts end too */
	bl_holder_stopped(&b.gw[1], at(3600001));
	assert_int_equal(room(&b, BL_M_KEY_CONCURRENCY), 1);
	assert_int_equal(ask(&b, 0, of(BL_U_SLOTS, 1), 3600001), BL_GIVEN);
	bl_holder_stopped(&b.gw[1], at(3600002)); /* twice is no more */
	assert_int_equal(room(&b, BL_M_KEY_CONCURRENCY), 0);
	close_bench(&b);
	bl_account_fini(&b.k2);
}

/* ---- gateways ----------------------------------------------------------------------------- */

static void
test_lapse_and_death(void **state)
{
	struct bl_returned first = { 0, unused(1, 100) };
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_RPM, 10);
	bl_account_limit(&b.w, BL_M_TPM, 1000);
	assert_int_equal(ask(&b, 0, need(4, 400), 0), BL_GIVEN);
	first.grant = b.last;
	assert_int_equal(b.o.ttl_ms, 2000);
	assert_int_equal(ask(&b, 1, need(4, 400), 0), BL_GIVEN);
	bl_holder_gone(&b.gw[1], true, at(0));
	assert_int_equal(b.w.open, 1);
	assert_int_equal(ask(&b, 0, need(1, 700), 1), BL_SHORT);
	assert_false(b.o.transient); /* the dead one's 400 do not come back before the window ends */
	assert_int_equal(ask(&b, 0, need(1, 600), 1), BL_SHORT);
	assert_true(b.o.transient);
	assert_int_equal(bl_account_lapse(&b.p, at(2500)), 1000000 + 3000);
	assert_int_equal(b.w.meter[BL_M_RPM].used, 0);
	assert_int_equal(bl_account_lapse(&b.p, at(3000)), 0);
	assert_int_equal(b.w.meter[BL_M_RPM].used, 4);
	assert_int_equal(b.w.meter[BL_M_RPM].debit, 8);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 800);
	assert_int_equal(b.w.meter[BL_M_TPM].lost, 400);
	/* the one in session was held up, and says late what it did not use */
	assert_int_equal(bl_account_return(&b.p, &b.gw[0], &first, at(9000)), 0);
	assert_int_equal(b.w.meter[BL_M_RPM].used, 7);
	assert_int_equal(b.w.meter[BL_M_RPM].debit, 7);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 700);
	/* back with the same boot: its reservations may still end well */
	bl_holder_gone(&b.gw[1], false, at(9000));
	assert_int_equal(b.w.meter[BL_M_TPM].lost, 0);
	/* a grant does not outlive the first of its windows */
	assert_int_equal(ask(&b, 0, need(1, 10), 59500), BL_GIVEN);
	assert_int_equal(b.o.ttl_ms, 500);
	assert_int_equal(give_back(&b, 0, unused(1, 10), 60000), 0);
	assert_int_equal(b.w.meter[BL_M_RPM].debit, 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 0);
	/* the month counts tokens too, though nothing limits them: reserved or lost, they are there until its end */
	assert_int_equal(b.w.meter[BL_M_CAP_TOKENS].debit, 700);
	(void)bl_account_lapse(&b.p, at(MONTH1 - T0));
	assert_int_equal(b.w.meter[BL_M_CAP_TOKENS].debit, 0);
	assert_int_equal(b.w.holds.n, 0);
	close_bench(&b);
}

/* A former start whose records were all told holds nothing any more, on any meter. */
static void
test_drop(void **state)
{
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_BALANCE, 1000);
	bl_account_limit(&b.w, BL_M_CAP_TOKENS, 1000);
	bl_account_limit(&b.w, BL_M_RPM, 10);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ask_of(&b, i ? &b.p2 : &b.p, 0, (struct bl_amount){ { [BL_U_REQUESTS] = 1,
		    [BL_U_TOKENS] = 200, [BL_U_MONEY] = 300 } }, 0), BL_GIVEN);
	bl_holder_gone(&b.gw[0], true, at(1));
	assert_int_equal(b.w.meter[BL_M_BALANCE].lost, 600);
	assert_int_equal(ask(&b, 1, of(BL_U_MONEY, 401), 1), BL_SHORT);
	assert_false(b.o.transient);
	bl_holder_drop(&b.gw[0], at(2));
	assert_int_equal(b.gw[0].holds.n, 0);
	assert_int_equal(b.w.holds.n, 0);
	assert_int_equal(b.w.meter[BL_M_BALANCE].debit, 0);
	assert_int_equal(b.w.meter[BL_M_BALANCE].lost, 0);
	assert_int_equal(b.w.meter[BL_M_CAP_TOKENS].debit, 0);
	assert_int_equal(b.w.meter[BL_M_RPM].debit, 2); /* nobody knows how many were admitted: until the minute ends all */
	assert_int_equal(ask(&b, 1, of(BL_U_MONEY, 1000), 3), BL_GIVEN);
	close_bench(&b);
	bl_account_fini(&b.k2);
}

static void
test_sizes(void **state)
{
	struct bl_ask q = { .least = need(1, 10), .want = need(400, 4000), .ttl_ms = 2000 };
	struct bench b;

	(void)state;
	open_bench(&b);
	q.holder = &b.gw[0];
	bl_account_limit(&b.w, BL_M_RPM, 1000);
	bl_account_limit(&b.w, BL_M_TPM, 100000);
	assert_int_equal(bl_account_ask(&b.p, &q, at(0), &b.o), BL_GIVEN);
	assert_int_equal(b.o.amount.v[BL_U_REQUESTS], 1 + 999 / 4);
	assert_int_equal(b.o.amount.v[BL_U_TOKENS], 4000);
	assert_int_equal(b.o.amount.v[BL_U_IMAGES], bl_unlimited.v[BL_U_IMAGES]);
	/* near the limit of any meter of a unit it is exactly what was asked */
	bl_account_limit(&b.k, BL_M_KEY_TPM, 11);
	assert_int_equal(bl_account_ask(&b.p, &q, at(0), &b.o), BL_GIVEN);
	assert_int_equal(b.o.amount.v[BL_U_TOKENS], 10);
	assert_true(b.o.amount.v[BL_U_REQUESTS] > 1);
	b.w.meter[BL_M_RPM].debit = 900;
	bl_account_limit(&b.k, BL_M_KEY_TPM, 100);
	assert_int_equal(bl_account_ask(&b.p, &q, at(0), &b.o), BL_GIVEN);
	assert_int_equal(b.o.amount.v[BL_U_REQUESTS], 1);
	/* lowered below what is out: nothing underflows, nothing is given */
	bl_account_limit(&b.w, BL_M_RPM, 5);
	assert_int_equal(bl_account_ask(&b.p, &q, at(0), &b.o), BL_SHORT);
	assert_int_equal(room(&b, BL_M_RPM), 0);
	close_bench(&b);
}

/* A limit that comes while grants of no limit are out: exact as soon as they are back. */
static void
test_limit_comes(void **state)
{
	struct bl_amount back = bl_unlimited;
	struct bench b;

	(void)state;
	open_bench(&b);
	assert_int_equal(ask(&b, 0, need(1, 10), 0), BL_GIVEN);
	assert_int_equal(b.o.bounded, 0);
	bl_account_limit(&b.w, BL_M_TPM, 1000);
	bl_account_limit(&b.w, BL_M_CONCURRENCY, 3);
	assert_int_equal(ask(&b, 1, need(1, 10), 1), BL_SHORT);
	assert_true(b.o.transient);
	assert_true(b.o.recallable);
	/* two requests run, of 300 tokens each */
	back.v[BL_U_REQUESTS] -= 2;
	back.v[BL_U_TOKENS] -= 600;
	back.v[BL_U_SLOTS] -= 2;
	assert_int_equal(give_back(&b, 0, back, 2), 0);
	assert_int_equal(room(&b, BL_M_TPM), 400);
	assert_int_equal(room(&b, BL_M_CONCURRENCY), 1);
	/* what a gateway takes with it when nothing limits it stands in nobody's way later */
	bl_account_limit(&b.w, BL_M_TPM, BL_NO_LIMIT);
	assert_int_equal(ask(&b, 2, need(1, 10), 3), BL_GIVEN);
	bl_holder_gone(&b.gw[2], true, at(4));
	bl_account_limit(&b.w, BL_M_TPM, 1000);
	assert_int_equal(room(&b, BL_M_TPM), 400);
	close_bench(&b);
}

static void
test_restart(void **state)
{
	struct bl_amount used = need(4, 300), month = { { [BL_U_TOKENS] = 9000, [BL_U_MONEY] = 70 } };
	struct bl_record d = { .reserved = need(0, 200) };
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_RPM, 20);
	bl_account_limit(&b.w, BL_M_TPM, 2000);
	bl_account_limit(&b.w, BL_M_CAP_TOKENS, 10000);
	bl_account_limit(&b.k, BL_M_KEY_BUDGET, 100);
	bl_account_window(&b.w, 20000, 5000, 0, at(0));
	bl_account_restore(&b.p, BL_WORKSPACE, BL_W_MINUTE, T0 + 1000, &used, at(5000));
	bl_account_restore(&b.p, BL_WORKSPACE, BL_W_BUDGET, T0 + 900, &used, at(5000));
	bl_account_restore(&b.p, BL_WORKSPACE, BL_W_MONTH, MONTH0, &month, at(5000));
	month.v[BL_U_MONEY] = 60;
	bl_account_restore(&b.p, BL_KEY, BL_W_MONTH, MONTH0, &month, at(5000));
	assert_int_equal(room(&b, BL_M_CAP_TOKENS), 1000);
	assert_int_equal(room(&b, BL_M_KEY_BUDGET), 40);
	assert_int_equal(room(&b, BL_M_WINDOW), 4700);
	assert_int_equal(bl_window_left(&b.w.window[BL_W_BUDGET], at(5000)), 15900);
	d.window[BL_W_MINUTE] = T0 + 1000;
	d.window[BL_W_BUDGET] = T0 + 900;
	d.window[BL_W_MONTH] = MONTH0;
	assert_int_equal(bl_account_declare(&b.p, &b.gw[0], &d, at(5000)), 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 500);
	assert_int_equal(room(&b, BL_M_CAP_TOKENS), 800);
	assert_int_equal(room(&b, BL_M_WINDOW), 4500);
	/* it ends: its request, which nobody had counted, counts now */
	d.used = need(1, 20);
	bl_account_settle(&b.p, &b.gw[0], &d, at(5200));
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 320);
	assert_int_equal(b.w.meter[BL_M_RPM].used, 5);
	/* a newer window of another gateway replaces the minute and nothing else */
	d.used = need(0, 0);
	d.window[BL_W_MINUTE] = T0 + 4000;
	assert_int_equal(bl_account_declare(&b.p, &b.gw[1], &d, at(5400)), 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 200);
	assert_int_equal(b.w.meter[BL_M_RPM].debit, 0);
	assert_int_equal(b.w.meter[BL_M_WINDOW].used, 320);
	/* an older one is no news, and one of a plan without such windows means nothing */
	d.window[BL_W_MINUTE] = T0 + 1000;
	assert_int_equal(bl_account_declare(&b.p, &b.gw[2], &d, at(5400)), 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 200);
	bl_account_window(&b.w, 20000, 0, 0, at(5400));
	d.window[BL_W_BUDGET] = T0 + 5000;
	bl_account_settle(&b.p, &b.gw[2], &d, at(5500));
	assert_int_equal(b.w.window[BL_W_BUDGET].number, T0 + 900);
	close_bench(&b);
}

static void
test_bad_returns(void **state)
{
	struct bl_returned r = { 1 << 20, need(1, 1) };
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_limit(&b.w, BL_M_RPM, 10);
	bl_account_limit(&b.w, BL_M_TPM, 1000);
	assert_int_equal(bl_account_return(&b.p, &b.gw[0], &r, at(0)), TF_E_NOENT);
	assert_int_equal(ask(&b, 0, need(2, 100), 0), BL_GIVEN);
	assert_int_equal(give_back(&b, 0, need(3, 0), 0), TF_E_RANGE);
	assert_int_equal(give_back(&b, 0, need(0, 101), 0), TF_E_RANGE);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 100);
	assert_int_equal(bl_account_return(&b.p, &b.gw[0], &r, at(0)), TF_E_NOENT);
	/* settling more than is held frees what is held, no more */
	settle(&b, 0, need(0, 5000), need(0, 5), 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 5);
	assert_int_equal(give_back(&b, 0, need(0, 90), 0), 0);
	assert_int_equal(b.w.meter[BL_M_TPM].debit, 5);
	assert_int_equal(b.w.meter[BL_M_RPM].used, 2);
	close_bench(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window), cmocka_unit_test(test_adopt), cmocka_unit_test(test_months),
		cmocka_unit_test(test_month_window), cmocka_unit_test(test_window_set), cmocka_unit_test(test_requests),
		cmocka_unit_test(test_tokens_and_settlement), cmocka_unit_test(test_settle_other_window),
		cmocka_unit_test(test_each_alone), cmocka_unit_test(test_never), cmocka_unit_test(test_order),
		cmocka_unit_test(test_extra_tokens), cmocka_unit_test(test_balance), cmocka_unit_test(test_slots),
		cmocka_unit_test(test_lapse_and_death), cmocka_unit_test(test_drop), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_limit_comes), cmocka_unit_test(test_restart), cmocka_unit_test(test_bad_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
