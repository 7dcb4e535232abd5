/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows and accounts: the single rules, then gateways that ask, admit, return, settle,
 * die and come back at random while a model of the truth watches that nothing is ever over.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "billingd/limit.h"

#define T0 UINT64_C(1900000000000)

static struct bl_now
at(uint64_t ms)
{
	return (struct bl_now){ 1000000 + ms, T0 + ms };
}

static struct tf_id
key_of(unsigned n)
{
	struct tf_id id = { { 0 } };

	id.b[15] = (uint8_t)n;
	return id;
}

static int
ask(struct bl_account *a, uint64_t gw, uint64_t requests, uint64_t tokens, uint64_t ms, struct bl_offer *out)
{
	static uint64_t number;
	struct bl_ask q = { .gateway = gw, .key = key_of(1), .least = { requests, tokens }, .grant = ++number,
		.ttl_ms = 2000 };
	int rc = bl_account_ask(a, &q, at(ms), out);

	out->recallable = rc == BL_SHORT && out->recallable;
	return rc;
}

static int
give_back(struct bl_account *a, uint64_t gw, uint64_t requests, uint64_t tokens, uint64_t ms)
{
	struct bl_hold *h = bl_account_hold(a, gw);
	struct bl_grant *g = TF_CONTAINER(tf_list_first(&h->grants), struct bl_grant, node);
	struct bl_returned r = { .key = key_of(1), .grant = g->number, .unused = { requests, tokens } };

	return bl_account_return(a, gw, &r, at(ms));
}

static void
test_window(void **state)
{
	struct bl_window w = { 0, 0 };

	(void)state;
	assert_false(bl_window_runs(&w, at(0)));
	bl_window_start(&w, at(500));
	assert_int_equal(w.number, T0 + 500);
	assert_int_equal(bl_window_left(&w, at(500)), 60000);
	assert_int_equal(bl_window_left(&w, at(60499)), 1);
	assert_int_equal(bl_window_left(&w, at(60500)), 0);
	/* the wall clock went back an hour: numbers still grow */
	bl_window_start(&w, (struct bl_now){ 2000000, T0 - 3600000 });
	assert_int_equal(w.number, T0 + 501);
}

static void
test_adopt(void **state)
{
	struct bl_window w = { 0, 0 };

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

static void
test_requests(void **state)
{
	struct bl_account a;
	struct bl_offer o;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 3, 0 });
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ask(&a, 1, 1, 100, 10, &o), BL_GIVEN);
		assert_int_equal(o.amount.requests, 1);
		assert_int_equal(o.left.requests, 2 - i);
		assert_int_equal(o.window, T0 + 10);
		assert_int_equal(give_back(&a, 1, 0, 5, 10), 0);
	}
	assert_int_equal(ask(&a, 1, 1, 100, 20010, &o), BL_SHORT);
	assert_false(o.transient); /* all three were admitted: no waiting brings one back */
	assert_int_equal(o.reset_ms, 40000);
	assert_int_equal(o.left.requests, 0);
	assert_int_equal(ask(&a, 1, 1, 100, 60009, &o), BL_SHORT);
	assert_int_equal(o.reset_ms, 1);
	assert_int_equal(ask(&a, 1, 1, 100, 60010, &o), BL_GIVEN);
	assert_int_equal(o.window, T0 + 60010);
	assert_int_equal(ask(&a, 1, 4, 100, 60010, &o), BL_NEVER);
	bl_account_fini(&a);
}

static void
test_tokens_and_settlement(void **state)
{
	struct bl_account a;
	struct bl_offer o;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 100, 1000 });
	assert_int_equal(ask(&a, 1, 1, 1001, 0, &o), BL_NEVER);
	assert_int_equal(a.window.number, 0); /* a refused request starts nothing */
	assert_int_equal(ask(&a, 1, 1, 800, 0, &o), BL_GIVEN);
	assert_int_equal(ask(&a, 2, 1, 300, 0, &o), BL_SHORT);
	assert_true(o.transient);
	assert_true(o.recallable);
	assert_int_equal(a.debit.requests, 1); /* one step or none: no request was taken either */
	assert_int_equal(give_back(&a, 1, 0, 100, 0), 0);
	assert_int_equal(a.debit.tokens, 700); /* a reservation now */
	assert_int_equal(ask(&a, 2, 1, 400, 0, &o), BL_SHORT);
	assert_true(o.transient);
	assert_false(o.recallable);
	bl_account_settle(&a, 1, o.window, 700, 50, at(100));
	assert_int_equal(a.debit.tokens, 50);
	assert_int_equal(ask(&a, 2, 1, 950, 100, &o), BL_GIVEN);
	bl_account_settle(&a, 2, o.window, 950, 940, at(200));
	assert_int_equal(ask(&a, 2, 1, 11, 200, &o), BL_SHORT);
	assert_false(o.transient); /* used leaves 10 */
	assert_int_equal(ask(&a, 2, 1, 10, 200, &o), BL_GIVEN);
	bl_account_fini(&a);
}

/* Usage of the window before does not touch the new one. */
static void
test_settle_other_window(void **state)
{
	struct bl_account a;
	struct bl_offer o;
	uint64_t first;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 10, 1000 });
	assert_int_equal(ask(&a, 1, 1, 900, 0, &o), BL_GIVEN);
	first = o.window;
	assert_int_equal(ask(&a, 1, 1, 900, 70000, &o), BL_GIVEN);
	bl_account_settle(&a, 1, first, 900, 900, at(70001));
	assert_int_equal(a.debit.tokens, 900);
	assert_int_equal(a.used.tokens, 0);
	bl_account_settle(&a, 1, o.window, 900, 7, at(70001));
	assert_int_equal(a.debit.tokens, 7);
	bl_account_fini(&a);
}

static void
test_lapse_and_death(void **state)
{
	struct bl_account a;
	struct bl_offer o;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 10, 1000 });
	assert_int_equal(ask(&a, 1, 4, 400, 0, &o), BL_GIVEN);
	assert_int_equal(o.ttl_ms, 2000);
	assert_int_equal(ask(&a, 2, 4, 400, 0, &o), BL_GIVEN);
	bl_account_gone(&a, 2, true);
	assert_int_equal(ask(&a, 1, 1, 700, 1, &o), BL_SHORT);
	assert_false(o.transient); /* the dead one's 400 do not come back before the window ends */
	assert_int_equal(ask(&a, 1, 1, 600, 1, &o), BL_SHORT);
	assert_true(o.transient);
	assert_int_equal(bl_account_lapse(&a, at(2500)), 1000000 + 3000);
	assert_int_equal(a.used.requests, 0);
	assert_int_equal(bl_account_lapse(&a, at(3000)), 0);
	assert_int_equal(a.used.requests, 8);
	assert_int_equal(a.debit.requests, 8);
	assert_int_equal(a.debit.tokens, 800);
	/* a grant does not outlive its window */
	assert_int_equal(ask(&a, 1, 1, 10, 59500, &o), BL_GIVEN);
	assert_int_equal(o.ttl_ms, 500);
	assert_int_equal(bl_account_lapse(&a, at(60000)), 0);
	assert_int_equal(a.debit.requests, 0);
	assert_int_equal(a.debit.tokens, 0);
	assert_int_equal(a.holds.n, 0);
	bl_account_fini(&a);
}

static void
test_sizes(void **state)
{
	struct bl_ask q = { .gateway = 1, .least = { 1, 10 }, .want = { 400, 4000 }, .ttl_ms = 2000 };
	struct bl_account a;
	struct bl_offer o;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 1000, 100000 });
	assert_int_equal(bl_account_ask(&a, &q, at(0), &o), BL_GIVEN);
	assert_int_equal(o.amount.requests, 1 + 999 / 4);
	assert_int_equal(o.amount.tokens, 4000);
	a.debit.requests = 900;
	assert_int_equal(bl_account_ask(&a, &q, at(0), &o), BL_GIVEN);
	assert_int_equal(o.amount.requests, 1);
	bl_account_limit(&a, (struct bl_amount){ 0, 0 });
	assert_int_equal(bl_account_ask(&a, &q, at(0), &o), BL_GIVEN);
	assert_int_equal(o.amount.requests, BL_UNLIMITED_REQUESTS);
	assert_int_equal(o.amount.tokens, BL_UNLIMITED_TOKENS);
	/* lowered below what is out: nothing underflows, nothing is given */
	bl_account_limit(&a, (struct bl_amount){ 5, 5 });
	q.least = (struct bl_amount){ 1, 1 };
	assert_int_equal(bl_account_ask(&a, &q, at(0), &o), BL_SHORT);
	assert_int_equal(o.left.requests, 0);
	bl_account_fini(&a);
}

static void
test_restart(void **state)
{
	struct bl_declared d = { .granted = { 5, 500 }, .reserved = 200, .window = T0 + 1000,
		.key = key_of(1), .ttl_ms = 2000 };
	struct bl_returned r = { .key = key_of(1), .grant = 77, .unused = { 2, 100 } };
	struct bl_account a;
	struct bl_offer o;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 20, 2000 });
	bl_account_restore(&a, T0 + 1000, (struct bl_amount){ 4, 300 }, at(5000));
	assert_int_equal(bl_account_declare(&a, 1, &d, at(5000)), 0);
	bl_account_admitted(&a, T0 + 1000, 3, at(5000));
	bl_account_admitted(&a, T0, 3, at(5000)); /* of another window */
	assert_int_equal(a.debit.requests, 12);
	assert_int_equal(a.used.requests, 7);
	assert_int_equal(a.debit.tokens, 1000);
	assert_int_equal(bl_window_left(&a.window, at(5000)), 56000);
	/* an old number: taken from what was declared */
	assert_int_equal(bl_account_return(&a, 1, &r, at(5100)), 0);
	assert_int_equal(a.debit.requests, 10);
	assert_int_equal(a.debit.tokens, 900);
	r.key = key_of(2);
	assert_int_equal(bl_account_return(&a, 1, &r, at(5100)), TF_E_NOENT);
	bl_account_settle(&a, 1, T0 + 1000, 200, 20, at(5200));
	assert_int_equal(a.debit.tokens, 720);
	assert_int_equal(ask(&a, 1, 10, 100, 5300, &o), BL_GIVEN);
	assert_int_equal(ask(&a, 1, 1, 100, 5300, &o), BL_SHORT);
	/* a newer window of another gateway replaces it */
	d.window = T0 + 4000;
	assert_int_equal(bl_account_declare(&a, 2, &d, at(5400)), 0);
	assert_int_equal(a.debit.requests, 5);
	/* and an older one is no news */
	d.window = T0 + 1000;
	assert_int_equal(bl_account_declare(&a, 3, &d, at(5400)), 0);
	assert_int_equal(a.debit.requests, 5);
	bl_account_fini(&a);
}

static void
test_bad_returns(void **state)
{
	struct bl_returned r = { .key = key_of(1), .grant = 1 << 20, .unused = { 1, 1 } };
	struct bl_account a;
	struct bl_offer o;

	(void)state;
	bl_account_init(&a);
	bl_account_limit(&a, (struct bl_amount){ 10, 1000 });
	assert_int_equal(bl_account_return(&a, 1, &r, at(0)), TF_E_NOENT);
	assert_int_equal(ask(&a, 1, 2, 100, 0, &o), BL_GIVEN);
	assert_int_equal(give_back(&a, 1, 3, 0, 0), TF_E_RANGE);
	assert_int_equal(give_back(&a, 1, 0, 101, 0), TF_E_RANGE);
	assert_int_equal(a.debit.tokens, 100);
	assert_int_equal(bl_account_return(&a, 1, &r, at(0)), TF_E_NOENT);
	/* settling more than is held frees what is held, no more */
	bl_account_settle(&a, 1, o.window, 5000, 5, at(0));
	assert_int_equal(a.debit.tokens, 5);
	assert_int_equal(give_back(&a, 1, 0, 90, 0), 0);
	assert_int_equal(a.debit.tokens, 5);
	bl_account_fini(&a);
}

/* ---- random gateways against a model ------------------------------------------------------ */

#define GATEWAYS 5
#define RUNNING 24

struct sim_grant {
	uint64_t number, window, ends_ms;
	struct bl_amount left, got;
	bool open;
};
struct sim_run {
	uint64_t reserved, window;
	bool on;
};
struct sim_gw {
	uint64_t id;
	struct sim_grant grant[8];
	struct sim_run run[RUNNING];
};
struct sim {
	struct bl_account a;
	struct sim_gw gw[GATEWAYS];
	struct bl_amount limit;
	uint64_t ms, number, ids, window;
	struct bl_amount admitted; /* truth of the window: requests, and tokens reserved or used */
	uint64_t seed;
	bool lossy; /* a return was lost in this round: its part stays out until the window ends */
};

static uint64_t
rnd(struct sim *s, uint64_t n)
{
	s->seed = s->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (s->seed >> 33) % n;
}

static void
sim_check(struct sim *s)
{
	uint64_t held = 0;
	struct tf_node *e, *tmp;

	if (!bl_window_runs(&s->a.window, at(s->ms)))
		return;
	TF_LIST_EACH(&s->a.holds, e, tmp)
		held += TF_CONTAINER(e, struct bl_hold, node)->tokens;
	assert_true(s->a.debit.requests <= s->limit.requests);
	assert_true(s->a.debit.tokens <= s->limit.tokens);
	assert_true(s->a.used.requests <= s->a.debit.requests);
	assert_int_equal(s->a.used.tokens + held, s->a.debit.tokens);
	if (s->window != s->a.window.number)
		return;
	assert_true(s->admitted.requests <= s->a.debit.requests);
	assert_true(s->admitted.tokens <= s->a.debit.tokens);
}

static void
sim_ask(struct sim *s, struct sim_gw *gw)
{
	struct bl_ask q = { .gateway = gw->id, .key = key_of(1), .grant = ++s->number, .ttl_ms = 2000 };
	struct bl_offer o;
	int slot, rc;

	for (slot = 0; slot < 8 && gw->grant[slot].open; slot++)
		;
	if (slot == 8)
		return;
	q.least = (struct bl_amount){ 1, 1 + rnd(s, 200) };
	q.want = (struct bl_amount){ rnd(s, 20), rnd(s, 2000) };
	rc = bl_account_ask(&s->a, &q, at(s->ms), &o);
	assert_true(rc == BL_GIVEN || rc == BL_SHORT);
	if (s->window != o.window) {
		s->window = o.window;
		s->admitted = (struct bl_amount){ 0, 0 };
	}
	if (rc == BL_GIVEN)
		gw->grant[slot] = (struct sim_grant){ q.grant, o.window, s->ms + o.ttl_ms, o.amount, o.amount, true };
}

static void
sim_admit(struct sim *s, struct sim_gw *gw)
{
	struct sim_grant *g = &gw->grant[rnd(s, 8)];
	struct sim_run *r = &gw->run[rnd(s, RUNNING)];

	if (!g->open || r->on || s->ms >= g->ends_ms || g->left.requests == 0 || g->left.tokens == 0)
		return;
	*r = (struct sim_run){ 1 + rnd(s, g->left.tokens), g->window, true };
	g->left.requests--;
	g->left.tokens -= r->reserved;
	assert_int_equal(r->window, s->window);
	s->admitted.requests++;
	s->admitted.tokens += r->reserved;
}

static void
sim_settle(struct sim *s, struct sim_gw *gw, struct sim_run *r)
{
	uint64_t actual;

	if (!r->on)
		return;
	actual = rnd(s, r->reserved + 1);
	bl_account_settle(&s->a, gw->id, r->window, r->reserved, actual, at(s->ms));
	if (r->window == s->window && bl_window_runs(&s->a.window, at(s->ms)))
		s->admitted.tokens -= r->reserved - actual;
	r->on = false;
}

static void
sim_return(struct sim *s, struct sim_gw *gw, struct sim_grant *g)
{
	struct bl_returned r = { .key = key_of(1), .grant = g->number, .unused = g->left };

	if (!g->open)
		return;
	assert_true(bl_account_return(&s->a, gw->id, &r, at(s->ms)) != TF_E_RANGE);
	g->open = false;
}

static void
sim_die(struct sim *s, struct sim_gw *gw)
{
	bl_account_gone(&s->a, gw->id, true);
	memset(gw, 0, sizeof *gw);
	gw->id = ++s->ids;
}

/* Grants that are over are returned, as a gateway does; now and then the message is lost. */
static void
sim_time(struct sim *s)
{
	s->ms += rnd(s, 200);
	for (int i = 0; i < GATEWAYS; i++) {
		for (int k = 0; k < 8; k++) {
			struct sim_grant *g = &s->gw[i].grant[k];

			if (!g->open || s->ms < g->ends_ms)
				continue;
			if (rnd(s, 1000) == 0) {
				g->open = false;
				s->lossy = true;
			} else {
				sim_return(s, &s->gw[i], g);
			}
		}
	}
	bl_account_lapse(&s->a, at(s->ms));
}

static void
sim_step(struct sim *s)
{
	struct sim_gw *gw = &s->gw[rnd(s, GATEWAYS)];

	switch (rnd(s, 12)) {
	case 0: case 1: case 2:
		sim_ask(s, gw);
		break;
	case 3: case 4: case 5: case 6:
		sim_admit(s, gw);
		break;
	case 7: case 8:
		sim_settle(s, gw, &gw->run[rnd(s, RUNNING)]);
		break;
	case 9:
		sim_return(s, gw, &gw->grant[rnd(s, 8)]);
		break;
	case 10:
		sim_time(s);
		break;
	default:
		if (rnd(s, 400) == 0)
			sim_die(s, gw);
		break;
	}
	sim_check(s);
}

/* Everything returned and settled: what was used is all that is left, and a minute later nothing. */
static void
sim_drain(struct sim *s)
{
	struct tf_node *e, *tmp;
	bool dead = false;

	for (int i = 0; i < GATEWAYS; i++) {
		for (int k = 0; k < 8; k++)
			sim_return(s, &s->gw[i], &s->gw[i].grant[k]);
		for (int k = 0; k < RUNNING; k++)
			sim_settle(s, &s->gw[i], &s->gw[i].run[k]);
	}
	sim_check(s);
	TF_LIST_EACH(&s->a.holds, e, tmp) {
		struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, node);

		dead |= h->gone;
		assert_true(h->gone || s->lossy || h->tokens == 0);
		assert_true(h->gone || s->lossy || h->grants.n == 0);
	}
	if (!dead && !s->lossy && bl_window_runs(&s->a.window, at(s->ms))) {
		assert_int_equal(s->a.debit.tokens, s->a.used.tokens);
		assert_int_equal(s->a.debit.requests, s->a.used.requests);
	}
	s->ms += BL_WINDOW_MS;
	bl_account_lapse(&s->a, at(s->ms));
	assert_int_equal(s->a.debit.requests, 0);
	assert_int_equal(s->a.debit.tokens, 0);
	assert_int_equal(s->a.holds.n, 0);
}

static void
test_random(void **state)
{
	static struct sim s;
	unsigned exact = 0;

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		memset(&s, 0, sizeof s);
		s.seed = 77 + round;
		bl_account_init(&s.a);
		s.limit = (struct bl_amount){ 20 + rnd(&s, 500), 500 + rnd(&s, 40000) };
		bl_account_limit(&s.a, s.limit);
		for (int i = 0; i < GATEWAYS; i++)
			s.gw[i].id = ++s.ids;
		for (int turn = 0; turn < 8000; turn++)
			sim_step(&s);
		sim_drain(&s);
		exact += !s.lossy;
		bl_account_fini(&s.a);
	}
	assert_in_range(exact, 5, 55); /* both kinds of rounds happened */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_window), cmocka_unit_test(test_adopt), cmocka_unit_test(test_requests),
		cmocka_unit_test(test_tokens_and_settlement), cmocka_unit_test(test_settle_other_window),
		cmocka_unit_test(test_lapse_and_death), cmocka_unit_test(test_sizes), cmocka_unit_test(test_restart),
		cmocka_unit_test(test_bad_returns), cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
