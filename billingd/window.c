/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Minute windows: when one starts, when it ends, and how it is found again after a
 * restart. Called by account.c.
 */
#include "config.h"

#include "billingd/limit.h"

uint64_t
bl_window_left(const struct bl_window *w, struct bl_now now)
{
	return bl_window_runs(w, now) ? w->ends_ms - now.mono_ms : 0;
}

void
bl_window_start(struct bl_window *w, struct bl_now now)
{
	uint64_t number = now.wall_ms;

	if (number <= w->number)
		number = w->number + 1;
	w->number = number;
	w->ends_ms = now.mono_ms + BL_WINDOW_MS;
}

bool
bl_window_adopt(struct bl_window *w, uint64_t number, struct bl_now now)
{
	uint64_t age = now.wall_ms > number ? now.wall_ms - number : 0;

	if (number == 0)
		return false;
	if (number == w->number)
		return bl_window_runs(w, now);
	if (number < w->number || age >= BL_WINDOW_MS)
		return false;
	w->number = number;
	w->ends_ms = now.mono_ms + BL_WINDOW_MS - age;
	return true;
}
