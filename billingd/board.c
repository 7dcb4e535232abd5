/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands on the board: what each workspace and each key with limits of its own has left. It is written before the
 * message that makes it so leaves, and again when something came back. Called by admit.c.
 */
#include "config.h"

#include "billingd/billingd.h"

/* Without a slot gateways say what they hold themselves, which is less. */
static uint32_t
slot(struct bl *bl, uint32_t *at, uint32_t n)
{
	if (*at == 0)
		*at = wire_board_take(bl->board, n);
	return *at;
}

static struct wire_room
room(uint64_t window, uint64_t left_ms, struct bl_now now)
{
	return (struct wire_room){ .window = window, .ends_ms = window != 0 ? now.wall_ms + left_ms : 0 };
}

struct bl_state
bl_board_say(struct bl *bl, struct bl_key *k, struct bl_now now)
{
	bool known = bl_admit_limits(bl, k, now); /* what was topped up shrinks with each record */
	struct bl_state s = bl_key_state(k, now);
	struct wire_room minute = room(s.window[BL_W_MINUTE], s.reset_ms, now);
	struct wire_room budget = room(s.window[BL_W_BUDGET], s.budget_reset_ms, now);
	struct wire_room own = room(s.window[BL_W_KEY], s.key_reset_ms, now);

	if (!known)
		return s;
	minute.requests = s.requests;
	minute.tokens = s.tokens;
	budget.tokens = s.budget;
	own.requests = s.key_requests;
	own.tokens = s.key_tokens;
	if (slot(bl, &k->workspace->board, 2) != 0) {
		wire_board_put(bl->board, k->workspace->board, &minute);
		wire_board_put(bl->board, k->workspace->board + 1, &budget);
	}
	if (s.own && slot(bl, &k->board, 1) != 0)
		wire_board_put(bl->board, k->board, &own);
	s.alone = bl->sessions == 1 ? wire_board_joins(bl->board) : 0;
	return s;
}
