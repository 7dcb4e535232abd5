/* SPDX-License-Identifier: Apache-2.0 */
/* What still runs of a token window that is over may draw on what was topped up: the next one does not give that away. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tests/billingd/limitbench.h"

/* The next token window begins, with a top-up behind it, while something of the last one may still draw on that. */
static void
open_turned(struct bench *b)
{
	open_bench(b);
	bl_account_window(&b->w, 5000, 1000, 300, at(0));
	assert_int_equal(serve(b, 0, need(1, 900), 0), BL_GIVEN);
	assert_int_equal(ask(b, 0, need(1, 350), 10), BL_GIVEN);
	assert_int_equal(b->o.amount.v[BL_U_TOKENS], 350);
}

static void
test_extra_in_flight(void **state)
{
	struct bl_offer first;
	uint64_t grant;
	struct bench b;

	(void)state;
	open_turned(&b);
	assert_int_equal(give_back(&b, 0, unused(0, 0), 10), 0); /* all of it is a reservation */
	first = b.o;
	assert_int_equal(bl_account_owed(&b.w), 0);
	/* 250 of what was topped up may be drawn yet: only that it is not known is in the way */
	assert_int_equal(ask(&b, 0, need(1, 1051), 5001), BL_SHORT);
	assert_true(b.o.transient);
	assert_int_equal(bl_account_owed(&b.w), 250);
	assert_int_equal(ask(&b, 0, need(1, 1301), 5001), BL_NEVER);
	assert_int_equal(ask(&b, 0, need(1, 1050), 5001), BL_GIVEN);
	assert_int_equal(give_back(&b, 0, unused(0, 0), 5002), 0);
	assert_int_equal(room(&b, BL_M_WINDOW), 0);
	/* it took 100 of it in the end */
	b.o = first;
	settle(&b, 0, need(0, 350), need(0, 200), 5010);
	bl_account_window(&b.w, 5000, 1000, 200, at(5010));
	assert_int_equal(bl_account_owed(&b.w), 0);
	assert_int_equal(room(&b, BL_M_WINDOW), 150);
	close_bench(&b);

	/* what was only granted comes back, late; before the next window begins, too */
	open_turned(&b);
	grant = b.last;
	bl_account_turn(&b.p, at(5001));
	assert_int_equal(bl_account_owed(&b.w), 250);
	assert_int_equal(room(&b, BL_M_WINDOW), 1050);
	assert_int_equal(give_back(&b, 0, unused(1, 50), 5001), 0);
	assert_int_equal(bl_account_owed(&b.w), 200);
	assert_int_equal(serve(&b, 0, need(1, 10), 5002), BL_GIVEN);
	assert_int_equal(bl_account_owed(&b.w), 200);
	b.last = grant;
	/* the gateway dies: until its records are told nobody knows */
	bl_holder_gone(&b.gw[0], true, at(5003));
	(void)bl_account_lapse(&b.p, at(9000));
	assert_int_equal(bl_account_owed(&b.w), 200);
	bl_holder_drop(&b.gw[0], at(9001));
	assert_int_equal(bl_account_owed(&b.w), 0);
	close_bench(&b);
}

/* A billingd that was restarted hears what runs of a window that was over before: how much of it lies beyond, nobody knows. */
static void
test_extra_in_flight_declared(void **state)
{
	struct bl_record r = { .window = { [BL_W_BUDGET] = T0 - 6000 }, .reserved = need(0, 120) };
	struct bench b;

	(void)state;
	open_bench(&b);
	bl_account_window(&b.w, 5000, 1000, 300, at(0));
	assert_int_equal(bl_account_declare(&b.p, &b.gw[0], &r, at(0)), 0);
	assert_int_equal(bl_account_owed(&b.w), 120);
	assert_int_equal(room(&b, BL_M_WINDOW), 1180);
	assert_int_equal(serve(&b, 1, need(1, 100), 1), BL_GIVEN);
	(void)bl_account_lapse(&b.p, at(2));
	assert_int_equal(bl_account_owed(&b.w), 120);
	/* the link breaks, and it says it again */
	bl_holder_drop(&b.gw[0], at(3));
	assert_int_equal(bl_account_owed(&b.w), 0);
	assert_int_equal(bl_account_declare(&b.p, &b.gw[0], &r, at(3)), 0);
	assert_int_equal(bl_account_owed(&b.w), 120);
	r.used = need(0, 20);
	bl_account_settle(&b.p, &b.gw[0], &r, at(4));
	assert_int_equal(bl_account_owed(&b.w), 0);
	close_bench(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_extra_in_flight), cmocka_unit_test(test_extra_in_flight_declared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
