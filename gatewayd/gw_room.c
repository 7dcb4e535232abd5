/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bookkeeping of what is left of a window; see gw_room.h. Messages of a link come in order, so a figure that
 * billingd tells holds all records that it acknowledged before and none behind: those wait in tokens_back.
 */
#include "config.h"

#include "gatewayd/gw_room.h"

#define GW_ROOM_SLACK_MS 20

void
gw_room_told(struct gw_room *r, const struct gw_told *told)
{
	if (!r->known || told->window != r->window) {
		/* the end of a window ends all that was in it */
		*r = (struct gw_room){ .known = true, .window = told->window, .reset = told->reset,
			.said_window = r->said_window, .said_requests = r->said_requests, .said_tokens = r->said_tokens };
	}
	r->alone = told->alone;
	if (r->reset == 0)
		r->reset = told->reset;
	r->requests_left = told->requests;
	r->tokens_left = told->tokens;
	for (unsigned i = 0; i < GW_ROOM_RETURNS; i++) {
		struct gw_room_back *b = &r->back[i];

		if (told->returned == 0 || b->number <= told->returned)
			*b = (struct gw_room_back){ 0 };
		r->requests_left += b->requests;
		r->tokens_left += b->tokens;
	}
}

void
gw_room_hold(struct gw_room *r, uint64_t window, uint64_t requests, uint64_t tokens)
{
	if (!r->known || window != r->window)
		return;
	r->requests_held += requests;
	r->tokens_held += tokens;
}

void
gw_room_drop(struct gw_room *r, uint64_t window, uint64_t requests, uint64_t tokens, uint64_t back)
{
	if (!r->known || window != r->window)
		return;
	requests = requests < r->requests_held ? requests : r->requests_held;
	tokens = tokens < r->tokens_held ? tokens : r->tokens_held;
	r->requests_held -= requests;
	r->tokens_held -= tokens;
	if (back == 0 || (requests == 0 && tokens == 0))
		return;
	r->requests_left += requests;
	r->tokens_left += tokens;
	memmove(r->back, r->back + 1, sizeof r->back - sizeof r->back[0]);
	r->back[GW_ROOM_RETURNS - 1] = (struct gw_room_back){ back, requests, tokens };
}

void
gw_room_lost(struct gw_room *r)
{
	memset(r->back, 0, sizeof r->back);
}

void
gw_room_settle(struct gw_room *r, uint64_t window, uint64_t tokens)
{
	if (r->known && window == r->window)
		r->tokens_back += tokens;
}

void
gw_room_settled(struct gw_room *r, uint64_t window, uint64_t tokens)
{
	if (!r->known || window != r->window)
		return;
	tokens = tokens < r->tokens_back ? tokens : r->tokens_back;
	r->tokens_back -= tokens;
	r->tokens_left += tokens;
}

struct gw_limit
gw_room_limit(const struct gw_room *r, bool tokens, uint64_t limit, int64_t now, unsigned length)
{
	bool runs = r->known && r->window != 0 && r->reset > now;
	struct gw_limit l = { .limit = limit, .left = limit, .reset = runs ? r->reset : now + length };
	uint64_t left = tokens ? r->tokens_left + r->tokens_held + r->tokens_back : r->requests_left + r->requests_held;

	if (runs && left < limit)
		l.left = left;
	return l;
}

/* Has it ended for sure? Clocks are read in ms, here and there. */
static bool
gw_room_over(const struct wire_room *seen, uint64_t now_ms)
{
	return seen->window == 0 || seen->ends_ms + GW_ROOM_SLACK_MS <= now_ms;
}

struct gw_limit
gw_room_shared(struct gw_room *r, const struct wire_room *seen, bool tokens, uint64_t limit, uint64_t now_ms, unsigned length)
{
	struct gw_limit l = { .limit = limit, .left = limit, .reset = (int64_t)(now_ms / 1000) + length };
	uint64_t *said = tokens ? &r->said_tokens : &r->said_requests;
	uint64_t window = seen != NULL ? seen->window : r->known ? r->window : 0;

	if (limit == 0 || (seen != NULL && gw_room_over(seen, now_ms)))
		return l;
	if (window != r->said_window) {
		r->said_window = window;
		r->said_requests = r->said_tokens = UINT64_MAX;
	}
	l.left = r->known && r->window == window ? (tokens ? r->tokens_held : r->requests_held) : 0;
	if (seen != NULL) {
		l.left += tokens ? seen->tokens : seen->requests;
		l.reset = (int64_t)((seen->ends_ms + 999) / 1000);
	}
	if (l.left > limit)
		l.left = limit;
	if (l.left > *said)
		l.left = *said;
	*said = l.left;
	return l;
}

void
gw_room_forget(struct gw_room *r)
{
	r->said_requests = r->said_tokens = UINT64_MAX;
}

const struct gw_limit *
gw_limit_tighter(const struct gw_limit *a, const struct gw_limit *b)
{
	if (a->limit == 0 || b->limit == 0)
		return a->limit == 0 ? b : a;
	if (a->left != b->left)
		return a->left < b->left ? a : b;
	return a->limit > b->limit ? b : a;
}
