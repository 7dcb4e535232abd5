/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What charged rows draw in their own transaction: tokens of the plan's window and, behind them, of what was
 * topped up, and money of a balance. However often a record is told, it is drawn once.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "billingd/limit.h"
#include "common/wire/wire.h"
#include "tests/billingd/fixture.h"

#define WINDOW UINT64_C(1900000000000)

static int
setup(void **state)
{
	struct bl_workspace_row w = { .id = fx_id('w', 1), .name = "main", .plan = "test", .created_ms = 5 };
	struct bl_instance_row inst = { .name = "gatewayd.0", .boot = 7 };
	struct fixture *f = malloc(sizeof *f);

	fx_open(f);
	*state = f;
	assert_int_equal(fx_one(f, BL_OP_INSTANCE, &inst), 0);
	return fx_one(f, BL_OP_WORKSPACE_NEW, &w);
}

static int
teardown(void **state)
{
	fx_close(*state);
	free(*state);
	return 0;
}

/* 130 tokens and 43 nano-units, in a window of size tokens. */
static struct bl_usage
drawing(unsigned n, uint64_t size)
{
	struct bl_usage u = fx_usage(n);

	u.window.budget = WINDOW;
	u.window_size = size;
	u.window_ends_ms = WINDOW + 5000;
	return u;
}

static void
submit(struct fixture *f, struct db_batch *b)
{
	b->lenient = true;
	f->last = NULL;
	db_store_submit(f->store, b);
	while (f->last == NULL) {
		sem_wait(&f->wake);
		db_store_reap(f->store);
	}
	assert_int_equal(f->last->rc, 0);
}

static int
tell(struct fixture *f, struct bl_usage *u)
{
	struct db_batch *b = fx_batch(f);
	int result;

	assert_int_equal(db_batch_add(b, BL_OP_USAGE, u), 0);
	submit(f, b);
	assert_int_equal(f->last->ops[0].rc, 0);
	result = f->last->ops[0].result;
	db_batch_free(&f->last);
	return result;
}

static void
set(struct fixture *f, const char *what)
{
	char sql[128];

	snprintf(sql, sizeof sql, "UPDATE workspaces SET %s RETURNING 1", what);
	assert_int_equal(fx_int(f, sql), 1);
}

static void
test_window(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = drawing(1, 1000), clipped = drawing(2, 1000);

	assert_int_equal(tell(f, &u), BL_USAGE_NEW);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(u.drawn.extra_tokens, 0);
	assert_int_equal(fx_int(f, "SELECT tokens FROM windows"), 130);
	assert_int_equal(fx_int(f, "SELECT size FROM windows"), 1000);
	assert_true((uint64_t)fx_int(f, "SELECT ends_ms FROM windows") == WINDOW + 5000);
	/* never more than was reserved */
	clipped.reserved = 70;
	tell(f, &clipped);
	assert_int_equal(fx_int(f, "SELECT tokens FROM windows"), 200);
	assert_int_equal(fx_int(f, "SELECT sum(prompt + cache_read + completion + reasoning) FROM ledger"), 260);
	/* what is not charged draws nothing */
	u = drawing(3, 1000);
	u.outcome = WIRE_OUTCOME_FAILED;
	tell(f, &u);
	/* of a window that is over its row goes on, but none is made: nobody knows how large it was */
	u = drawing(4, 0);
	tell(f, &u);
	assert_int_equal(fx_int(f, "SELECT tokens FROM windows"), 330);
	u = drawing(5, 0);
	u.window.budget = WINDOW - 9000;
	tell(f, &u);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM windows"), 1);
}

static void
test_extra(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = drawing(1, 200);

	set(f, "extra_tokens = 150");
	tell(f, &u);
	assert_int_equal(fx_int(f, "SELECT extra_tokens FROM workspaces"), 150);
	u = drawing(2, 200); /* 70 of the window, 60 of what was topped up */
	tell(f, &u);
	assert_int_equal(u.drawn.extra_tokens, 60);
	assert_int_equal(fx_int(f, "SELECT extra_tokens FROM workspaces"), 90);
	tell(f, &u);
	assert_int_equal(u.drawn.extra_tokens, 0);
	u = drawing(3, 200); /* more than there is: what is not there cannot be taken */
	tell(f, &u);
	assert_int_equal(u.drawn.extra_tokens, 90);
	assert_int_equal(fx_int(f, "SELECT extra_tokens FROM workspaces"), 0);
	assert_int_equal(fx_int(f, "SELECT tokens FROM windows"), 390);
}

static void
test_balance(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = drawing(1, 200);

	tell(f, &u);
	assert_int_equal(u.drawn.money, 0); /* not prepaid */
	assert_int_equal(fx_int(f, "SELECT balance IS NULL FROM workspaces"), 1);
	set(f, "balance = 100");
	u = drawing(2, 200);
	u.unbilled = 3;
	tell(f, &u);
	assert_int_equal(u.drawn.money, 40);
	assert_int_equal(fx_int(f, "SELECT balance FROM workspaces"), 60);
	assert_int_equal(tell(f, &u), BL_USAGE_REPLAY);
	assert_int_equal(fx_int(f, "SELECT balance FROM workspaces"), 60);
}

/* A final record takes the place of a provisional one: what that drew comes back first. */
static void
test_final(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u = drawing(1, 100);

	set(f, "balance = 1000, extra_tokens = 500");
	u.provisional = true;
	assert_int_equal(tell(f, &u), BL_USAGE_NEW);
	assert_int_equal(fx_int(f, "SELECT balance FROM workspaces"), 957);
	assert_int_equal(fx_int(f, "SELECT extra_tokens FROM workspaces"), 470);
	u = drawing(1, 100);
	u.tokens.completion = 107; /* 230 in all */
	u.cost = 60;
	assert_int_equal(tell(f, &u), BL_USAGE_FINAL);
	assert_int_equal(u.drawn.money, 17);
	assert_int_equal(u.drawn.extra_tokens, 100);
	assert_int_equal(fx_int(f, "SELECT balance FROM workspaces"), 940);
	assert_int_equal(fx_int(f, "SELECT extra_tokens FROM workspaces"), 370);
	assert_int_equal(fx_int(f, "SELECT tokens FROM windows"), 230);
}

/* One batch, many rows: each drawn once, the rest of the batch sees what the first took. */
static void
test_batch(void **state)
{
	struct fixture *f = *state;
	struct bl_usage u[8];
	struct db_batch *b = fx_batch(f);
	int64_t extra = 0;

	set(f, "balance = 1000, extra_tokens = 300");
	for (unsigned i = 0; i < 8; i++) {
		u[i] = drawing(i / 2, 400); /* each twice */
		assert_int_equal(db_batch_add(b, BL_OP_USAGE, &u[i]), 0);
	}
	submit(f, b);
	db_batch_free(&f->last);
	for (unsigned i = 0; i < 8; i++)
		extra += u[i].drawn.extra_tokens;
	assert_int_equal(extra, 120);
	assert_int_equal(fx_int(f, "SELECT extra_tokens FROM workspaces"), 180);
	assert_int_equal(fx_int(f, "SELECT balance FROM workspaces"), 1000 - 4 * 43);
	assert_int_equal(fx_int(f, "SELECT tokens FROM windows"), 520);
}

/* What runs is found again: the window of the plan, the month, the key's own minute. */
static void
test_start(void **state)
{
	struct fixture *f = *state;
	struct bl_start s = { .now_ms = (int64_t)WINDOW + 1000, .pepper = 1 };
	struct bl_usage u = drawing(1, 1000);
	unsigned found = 0;

	u.window.key = WINDOW + 7;
	tell(f, &u);
	assert_int_equal(fx_one(f, BL_OP_START, &s), 0);
	for (size_t i = 0; i < s.n_windows; i++) {
		const struct bl_window_row *w = &s.windows[i];

		assert_true(tf_id_eq(w->workspace, u.workspace));
		if (w->kind == BL_W_BUDGET)
			found |= w->window == WINDOW && w->tokens == 130 ? 1 : 0;
		if (w->kind == BL_W_MONTH && !w->of_key)
			found |= w->tokens == 130 && w->money == 43 ? 2 : 0;
		if (w->kind == BL_W_MONTH && w->of_key)
			found |= tf_id_eq(w->key, u.key) && w->money == 43 ? 4 : 0;
	}
	assert_int_equal(found, 7);
	bl_start_fini(&s);
	/* when it has ended it is not */
	s = (struct bl_start){ .now_ms = (int64_t)WINDOW + 5000, .pepper = 1 };
	assert_int_equal(fx_one(f, BL_OP_START, &s), 0);
	for (size_t i = 0; i < s.n_windows; i++)
		assert_int_not_equal(s.windows[i].kind, BL_W_BUDGET);
	bl_start_fini(&s);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_window), T(test_extra), T(test_balance), T(test_final), T(test_batch), T(test_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
