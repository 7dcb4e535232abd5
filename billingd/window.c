/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: when one starts, when it ends, and how it is found again after a restart. Months
 * follow the proleptic Gregorian calendar in UTC. Called by account.c.
 */
#include "config.h"

#include "billingd/limit.h"

#define DAY_MS UINT64_C(86400000)

/* ---- months ------------------------------------------------------------------------------- */

static bool
is_leap(uint64_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* The month of this moment: its first day since 1970, and how many it has. */
static void
month_of(uint64_t wall_ms, uint64_t *first, uint64_t *days)
{
	static const uint8_t lengths[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t day = wall_ms / DAY_MS, year = 1970, n, at;

	/* 400 years have 146097 days, whichever they are */
	year += day / 146097 * 400;
	at = day / 146097 * 146097;
	while (day - at >= (n = is_leap(year) ? 366 : 365)) {
		at += n;
		year++;
	}
	for (unsigned m = 0; m < 12; m++) {
		n = lengths[m] + (m == 1 && is_leap(year) ? 1u : 0u);
		if (day - at < n)
			break;
		at += n;
	}
	*first = at;
	*days = n;
}

uint64_t
bl_month_start(uint64_t wall_ms)
{
	uint64_t first, days;

	month_of(wall_ms, &first, &days);
	return first * DAY_MS;
}

uint64_t
bl_month_next(uint64_t wall_ms)
{
	uint64_t first, days;

	month_of(wall_ms, &first, &days);
	return (first + days) * DAY_MS;
}

/* ---- windows ------------------------------------------------------------------------------ */

/*
 * A wall clock that is set back stays in the month that began already; one that was a month ahead
 * by mistake does not keep the count for so long.
 */
bool
bl_window_runs(const struct bl_window *w, struct bl_now now)
{
	if (w->number == 0)
		return false;
	if (w->length_ms == BL_MONTH)
		return now.wall_ms < w->ends_ms && now.wall_ms + DAY_MS >= w->number;
	return now.mono_ms < w->ends_ms;
}

uint64_t
bl_window_left(const struct bl_window *w, struct bl_now now)
{
	if (!bl_window_runs(w, now))
		return 0;
	return w->ends_ms - (w->length_ms == BL_MONTH ? now.wall_ms : now.mono_ms);
}

uint64_t
bl_window_end(const struct bl_window *w, struct bl_now now)
{
	return bl_window_runs(w, now) ? now.wall_ms + bl_window_left(w, now) : 0;
}

void
bl_window_start(struct bl_window *w, struct bl_now now)
{
	uint64_t number = now.wall_ms;

	w->turn++;
	if (w->length_ms == BL_MONTH) {
		w->number = bl_month_start(now.wall_ms);
		w->ends_ms = bl_month_next(now.wall_ms);
		return;
	}
	if (number <= w->number)
		number = w->number + 1;
	w->number = number;
	w->ends_ms = now.mono_ms + w->length_ms;
}

static bool
adopt_month(struct bl_window *w, uint64_t number, struct bl_now now)
{
	struct bl_window other = { number, bl_month_next(number), BL_MONTH, w->turn + 1 };

	if (number != bl_month_start(number) || number < w->number || !bl_window_runs(&other, now))
		return false;
	*w = other;
	return true;
}

bool
bl_window_adopt(struct bl_window *w, uint64_t number, struct bl_now now)
{
	uint64_t age = now.wall_ms > number ? now.wall_ms - number : 0;

	if (number == 0)
		return false;
	if (number == w->number)
		return bl_window_runs(w, now);
	if (w->length_ms == BL_MONTH)
		return adopt_month(w, number, now);
	if (number < w->number || age >= w->length_ms)
		return false;
	w->turn++;
	w->number = number;
	w->ends_ms = now.mono_ms + w->length_ms - age;
	return true;
}

void
bl_window_set(struct bl_window *w, uint64_t length_ms, struct bl_now now)
{
	uint64_t before = w->length_ms, left;

	if (length_ms == before)
		return;
	left = bl_window_left(w, now);
	w->length_ms = length_ms;
	if (length_ms == BL_MONTH || before == BL_MONTH) {
		w->number = w->ends_ms = 0;
		return;
	}
	/* what has passed of it stays passed */
	w->ends_ms = left > 0 && left + length_ms > before ? now.mono_ms + left + length_ms - before : now.mono_ms;
}
