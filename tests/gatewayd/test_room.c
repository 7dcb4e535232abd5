/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client is told is left of a window, against a model of billingd and its link: grants, returns, settlements and
 * acknowledgements come in any order that a link can bring them in. With one thread the figure is the truth.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gatewayd/gw_room.h"

#define LIMIT 1000000u
#define LENGTH 60
#define OPEN_MAX 64

/* billingd's book of one window, and what is on its way to it */
static struct {
	uint64_t window, debit; /* used, granted and reserved */
	int64_t now, ends;
} book;

struct running {
	uint64_t window, reserved, used;
	bool settled;
};

static struct running run[OPEN_MAX];
static size_t nrun;
static uint64_t held, held_window; /* in grants of the thread */
static struct { uint64_t window, n; } flight[GW_ROOM_RETURNS]; /* returns on their way */
static size_t nflight;
static uint64_t returns = 1, returned = 1;
static uint32_t seed = 1;

static uint32_t
dice(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void
turn(void)
{
	if (book.window != 0 && book.now >= book.ends) {
		book.window = 0;
		book.debit = 0;
	}
}

static void
grant(struct gw_room *r)
{
	uint64_t n = 1 + dice(20000);
	struct gw_told told;

	turn();
	if (book.window == 0) {
		book.window = (uint64_t)book.now;
		book.ends = book.now + LENGTH;
		book.debit = 0;
	}
	if (held_window != book.window)
		held = 0; /* the others died with their window */
	held_window = book.window;
	if (book.debit + n > LIMIT)
		n = LIMIT - book.debit;
	book.debit += n;
	told = (struct gw_told){ book.window, 0, LIMIT - book.debit, book.ends, 1, returned };
	gw_room_told(r, &told);
	gw_room_hold(r, book.window, 0, n);
	held += n;
}

/* One that was given back arrives. */
static void
arrive(void)
{
	if (nflight == 0)
		return;
	turn();
	if (book.window == flight[0].window)
		book.debit -= flight[0].n;
	memmove(flight, flight + 1, --nflight * sizeof flight[0]);
	returned++;
}

/* The part of a grant that was not used goes back; billingd hears of it later. */
static void
give_back(struct gw_room *r)
{
	uint64_t n = held > 0 ? dice((uint32_t)held + 1) : 0;

	if (n == 0)
		return;
	if (nflight == GW_ROOM_RETURNS)
		arrive();
	gw_room_drop(r, held_window, 0, n, ++returns);
	held -= n;
	flight[nflight].window = held_window;
	flight[nflight++].n = n;
}

static void
begin(struct gw_room *r)
{
	uint64_t n = held > 0 ? dice((uint32_t)held + 1) : 0;

	if (nrun == OPEN_MAX || n == 0)
		return;
	gw_room_drop(r, held_window, 0, n, 0);
	held -= n;
	run[nrun++] = (struct running){ .window = held_window, .reserved = n };
}

/* The thread knows what was used; billingd will when its ledger has it. */
static void
end(struct gw_room *r)
{
	struct running *a;

	if (nrun == 0)
		return;
	a = &run[dice((uint32_t)nrun)];
	if (a->settled)
		return;
	a->settled = true;
	a->used = dice((uint32_t)a->reserved + 1);
	gw_room_settle(r, a->window, a->reserved - a->used);
}

static void
acknowledge(struct gw_room *r)
{
	for (size_t i = 0; i < nrun; i++) {
		if (!run[i].settled)
			continue;
		turn();
		if (book.window == run[i].window)
			book.debit -= run[i].reserved - run[i].used;
		gw_room_settled(r, run[i].window, run[i].reserved - run[i].used);
		run[i] = run[--nrun];
		return;
	}
}

/* What really is left: beside what is used, reserved or granted to somebody else. */
static uint64_t
truth(void)
{
	uint64_t back = 0;

	turn();
	if (book.window == 0)
		return LIMIT;
	for (size_t i = 0; i < nrun; i++)
		if (run[i].settled && run[i].window == book.window)
			back += run[i].reserved - run[i].used;
	for (size_t i = 0; i < nflight; i++)
		if (flight[i].window == book.window)
			back += flight[i].n;
	return LIMIT - book.debit + (held_window == book.window ? held : 0) + back;
}

static void
test_model(void **state)
{
	struct gw_room r = { 0 };
	size_t partly = 0;

	(void)state;
	book.now = 1000;
	for (int i = 0; i < 200000; i++) {
		struct gw_limit l;

		switch (dice(7)) {
		case 0: grant(&r); break;
		case 1: give_back(&r); break;
		case 2: case 3: begin(&r); break;
		case 4: end(&r); break;
		case 5: arrive(); break;
		default: acknowledge(&r); break;
		}
		if (dice(50) == 0)
			book.now += dice(LENGTH / 2);
		l = gw_room_limit(&r, true, LIMIT, book.now, LENGTH);
		assert_int_equal(l.left, truth());
		assert_int_equal(l.reset, book.window != 0 ? book.ends : book.now + LENGTH);
		partly += l.left < LIMIT;
	}
	assert_true(partly > 100000);
}

static void
test_tighter(void **state)
{
	const struct gw_limit none = { 0, 0, 60 }, wide = { 100, 50, 60 }, narrow = { 20, 10, 90 }, same = { 60, 50, 70 };

	(void)state;
	assert_ptr_equal(gw_limit_tighter(&wide, &narrow), &narrow);
	assert_ptr_equal(gw_limit_tighter(&narrow, &wide), &narrow);
	assert_ptr_equal(gw_limit_tighter(&none, &wide), &wide);
	assert_ptr_equal(gw_limit_tighter(&wide, &none), &wide);
	assert_ptr_equal(gw_limit_tighter(&wide, &same), &same); /* as much left of less */
	assert_int_equal(gw_limit_tighter(&none, &none)->limit, 0);
}

static void
test_bounds(void **state)
{
	struct gw_room r = { 0 };

	(void)state;
	gw_room_hold(&r, 0, 1, 1); /* nothing is known of it yet */
	assert_int_equal(gw_room_limit(&r, false, 30, 100, 60).left, 30);
	gw_room_told(&r, &(struct gw_told){ 7, 20, 200, 150, 1, 1 });
	gw_room_hold(&r, 7, 5, 50);
	gw_room_hold(&r, 6, 5, 50); /* of another window */
	assert_int_equal(gw_room_limit(&r, false, 30, 100, 60).left, 25);
	gw_room_drop(&r, 7, 9, 90, 0); /* more than is held: all of it */
	assert_int_equal(gw_room_limit(&r, false, 30, 100, 60).left, 20);
	assert_int_equal(gw_room_limit(&r, false, 10, 100, 60).left, 10); /* never more than the limit */
	assert_int_equal(gw_room_limit(&r, false, 30, 150, 60).left, 30); /* over */
	assert_int_equal(gw_room_limit(&r, false, 30, 150, 60).reset, 210);
}

/* What is said while others are in session: what the board says and what we hold, and never more than before. */
static void
test_shared(void **state)
{
	struct wire_room seen = { .window = 7, .ends_ms = 150500, .requests = 20, .tokens = 200 };
	struct gw_room r = { 0 };
	struct gw_limit l;

	(void)state;
	assert_int_equal(gw_room_shared(&r, NULL, false, 30, 100000, 60).left, 0); /* we know nothing and hold nothing */
	l = gw_room_shared(&r, &seen, false, 30, 100000, 60);
	assert_true(l.left == 20 && l.reset == 151);
	gw_room_told(&r, &(struct gw_told){ 7, 29, 290, 150, 0, 1 }); /* long ago */
	gw_room_hold(&r, 7, 5, 50);
	assert_int_equal(gw_room_shared(&r, &seen, true, 1000, 100000, 60).left, 250);
	assert_int_equal(gw_room_shared(&r, &seen, false, 30, 100000, 60).left, 20); /* it was said */
	seen.requests = 3;
	assert_int_equal(gw_room_shared(&r, &seen, false, 30, 100000, 60).left, 8);
	seen.requests = 10; /* somebody gave back */
	assert_int_equal(gw_room_shared(&r, &seen, false, 30, 100000, 60).left, 8);
	gw_room_forget(&r); /* a higher limit */
	assert_int_equal(gw_room_shared(&r, &seen, false, 40, 100000, 60).left, 15);
	assert_int_equal(gw_room_shared(&r, &seen, false, 12, 100000, 60).left, 12);
	/* the board is of another window than what we hold */
	seen = (struct wire_room){ .window = 8, .ends_ms = 230000, .requests = 25 };
	l = gw_room_shared(&r, &seen, false, 30, 170000, 60);
	assert_true(l.left == 25 && l.reset == 230);
	assert_int_equal(gw_room_shared(&r, &seen, false, 30, 230010, 60).left, 25); /* clocks are not that exact */
	l = gw_room_shared(&r, &seen, false, 30, 231000, 60);
	assert_true(l.left == 30 && l.reset == 291);
	seen.window = 0;
	assert_int_equal(gw_room_shared(&r, &seen, false, 30, 1000, 60).left, 30);
	assert_int_equal(gw_room_shared(&r, &seen, false, 0, 1000, 60).left, 0); /* no limit: nobody is told */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model), cmocka_unit_test(test_tighter), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
