/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a key and its workspace have left of their windows, as far as one thread knows. The accounts are
 * billingd's. While this thread is the only one that is in session with it, what it was told, with what it
 * holds itself, is the truth. With others it is not, for they are granted what we do not hear of in time: then
 * clients are told what stands on billingd's board with what this thread holds beside, and never more than
 * before in the same window, although others give back what they had only reserved.
 * Pure: no clock, no sockets; filled by gw_grant.c, read by gw_limits.c.
 */
#ifndef GW_ROOM_H
#define GW_ROOM_H

#include "common/base/base.h"
#include "common/wire/board.h"

/* What a call needs of its limits. */
enum gw_unit { GW_U_REQUESTS, GW_U_TOKENS, GW_U_MONEY, GW_U_IMAGES, GW_U_AUDIO_MS, GW_U_SLOTS, GW_UNITS };
struct gw_amount {
	uint64_t v[GW_UNITS]; /* money in nano-units; slots: requests at once */
};

/* Windows that are counted in: a grant, a reservation and a record carry the number of each. */
enum gw_window {
	GW_W_MINUTE, /* of the workspace */
	GW_W_KEY,    /* the key's own minute */
	GW_W_BUDGET, /* the plan's token window */
	GW_W_MONTH,
	GW_WINDOWS,
	GW_ROOMS = GW_W_MONTH, /* those that clients are told of */
};
struct gw_windows {
	uint64_t v[GW_WINDOWS]; /* numbers; 0: not drawn on */
};
static inline bool
gw_windows_eq(const struct gw_windows *a, const struct gw_windows *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

#define GW_ROOM_RETURNS 4

/* What was given back of it, on its way to billingd. */
struct gw_room_back {
	uint64_t number; /* of the return; 0: none */
	uint64_t requests, tokens;
};

/* One window. What is left is left + held; what settled requests gave back is added before billingd has counted it. */
struct gw_room {
	bool known;
	uint64_t window;                         /* number; 0: none runs */
	uint64_t requests_left, tokens_left;     /* that nobody holds, as billingd said; what we returned since is added */
	uint64_t requests_held, tokens_held;     /* in our own grants of that window */
	struct gw_room_back back[GW_ROOM_RETURNS]; /* oldest first; of more these are forgotten, and less is shown then */
	uint64_t tokens_back;                    /* by records that billingd has not acknowledged */
	int64_t reset;                           /* wall clock second in which it ends; 0: unknown */
	uint64_t alone;                          /* as it was told last */
	uint64_t said_window;                    /* of what clients were told while others were in session ... */
	uint64_t said_requests, said_tokens;     /* ... and the least of it */
};

/* As billingd says it. */
struct gw_told {
	uint64_t window, requests, tokens;
	int64_t reset;  /* wall clock second; 0: unknown */
	uint64_t alone; /* the board's joins, when no other gateway was in session; else 0 */
	uint64_t returned; /* number of the last return that this includes, from 1: there was none; 0: unknown */
};
void gw_room_told(struct gw_room *r, const struct gw_told *told);
/* A grant of window arrived, behind what was told with it. */
void gw_room_hold(struct gw_room *r, uint64_t window, uint64_t requests, uint64_t tokens);
/* Of what we held: taken by a request, or given back to billingd by the return of that number; 0: by none. */
void gw_room_drop(struct gw_room *r, uint64_t window, uint64_t requests, uint64_t tokens, uint64_t back);
/* The link broke: nobody knows what of our returns arrived. */
void gw_room_lost(struct gw_room *r);
/* A request of window settled for so many tokens less than it had reserved. */
void gw_room_settle(struct gw_room *r, uint64_t window, uint64_t tokens);
/* billingd has counted that: what it said last did not include it. */
void gw_room_settled(struct gw_room *r, uint64_t window, uint64_t tokens);

struct gw_limit { /* as a client is told */
	uint64_t limit, left;
	int64_t reset; /* seconds since 1970 */
};
/*
 * A limit of requests or tokens in that window, at that second. A window that has ended, or none yet: the next
 * request opens a full one, of length seconds.
 */
struct gw_limit gw_room_limit(const struct gw_room *r, bool tokens, uint64_t limit, int64_t now, unsigned length);
/*
 * The same while others are in session. seen: what the board says of it; NULL: nothing, then only what we hold is said. now
 * is in ms here. A client that was told less in this window is told that.
 */
struct gw_limit gw_room_shared(struct gw_room *r, const struct wire_room *seen, bool tokens, uint64_t limit, uint64_t now_ms,
    unsigned length);
/* What it may use has been raised: what was said of it does not bind us. */
void gw_room_forget(struct gw_room *r);
/* The one of which less is left; one with limit 0 does not bound. */
const struct gw_limit *gw_limit_tighter(const struct gw_limit *a, const struct gw_limit *b);

#endif
