/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of limits: minute windows, and the account of a workspace in which every
 * grant, reservation and use of a window is booked. Pure: no clock, no sockets, no database;
 * time is an argument. serve.c drives it, tests/billingd/test_limit.c tries to break it.
 *
 * The rule that everything here keeps, for each counter of the plan: what is used plus all
 * that any gateway holds as grant or reservation never exceeds the limit. So:
 *   - a grant debits requests and tokens in one step or not at all;
 *   - a return credits what the gateway did not use; what it did use is a reservation now;
 *   - a settlement gives a reservation back and books what was really used;
 *   - what a gateway took with it when it died counts as used until the window ends, for
 *     nobody can tell how much of it was admitted.
 * The end of a window ends all of it.
 */
#ifndef BL_LIMIT_H
#define BL_LIMIT_H

#include "common/base/base.h"

/* ---- windows ------------------------------------------------------------------------------ */

#define BL_WINDOW_MS 60000

struct bl_now {
	uint64_t mono_ms;
	uint64_t wall_ms;
};

/*
 * A fixed window of one minute that starts with its first request. Its number is the wall
 * clock at its start, so that a window survives a restart of billingd; it only grows, even
 * when the wall clock is set back.
 */
struct bl_window {
	uint64_t number;  /* ms since 1970; 0: there was none yet */
	uint64_t ends_ms; /* monotonic */
};

static inline bool
bl_window_runs(const struct bl_window *w, struct bl_now now)
{
	return w->number != 0 && now.mono_ms < w->ends_ms;
}
/* Milliseconds until it ends; 0 when none runs. */
uint64_t bl_window_left(const struct bl_window *w, struct bl_now now);
/* A new one, from now. */
void bl_window_start(struct bl_window *w, struct bl_now now);
/*
 * A window that a former billingd had started. True when it is the one that runs now: it is
 * adopted when it is newer than ours and not over. A number in the future counts as starting now.
 */
bool bl_window_adopt(struct bl_window *w, uint64_t number, struct bl_now now);

/* ---- accounts ----------------------------------------------------------------------------- */

struct bl_amount {
	uint64_t requests;
	uint64_t tokens;
};

struct bl_grant {
	struct tf_node node;      /* hold.grants, oldest first */
	uint64_t number;
	struct tf_id key;
	struct bl_amount amount;  /* debited for it; 0 for what the plan does not limit */
	uint64_t lapses_ms;       /* monotonic; without a return by then all of it counts as admitted */
	bool declared;            /* sum of what a former billingd had granted; returned in parts */
};

/* What one start of a gateway thread holds of an account's window. */
struct bl_hold {
	struct tf_node node;      /* account.holds */
	uint64_t gateway;         /* the caller's number for that start; never used again */
	struct tf_list grants;    /* open ones */
	uint64_t tokens;          /* in grants and reservations */
	bool gone;                /* its gateway is not in session: nothing will be returned */
	bool recalled;            /* a recall is under way */
};

struct bl_account {
	struct bl_window window;
	struct bl_amount limit;   /* per minute; 0: not limited */
	struct bl_amount debit;   /* used, granted and reserved of this window */
	struct bl_amount used;    /* of these: requests admitted for sure, tokens settled */
	struct tf_list holds;
};

void bl_account_init(struct bl_account *a);
/* Frees every hold and grant; the account is as after init. */
void bl_account_fini(struct bl_account *a);
/* Drops all that belongs to a window that is over. Everything below does it first. */
void bl_account_turn(struct bl_account *a, struct bl_now now);
/* Plan change: acts on the next ask. What is out stays out. */
void bl_account_limit(struct bl_account *a, struct bl_amount limit);

enum bl_answer {
	BL_GIVEN,
	BL_NEVER, /* more than the plan gives in a whole window */
	BL_SHORT, /* no room now */
};

struct bl_ask {
	uint64_t gateway;
	struct tf_id key;
	struct bl_amount least; /* what helps */
	struct bl_amount want;  /* what would serve the coming second or two */
	uint64_t grant;         /* number for the grant */
	uint64_t ttl_ms;
};

struct bl_offer {
	struct bl_amount amount;   /* BL_GIVEN: what the gateway may use */
	uint64_t ttl_ms;
	uint64_t window;           /* its number */
	uint64_t reset_ms;         /* until it ends */
	struct bl_amount left;     /* of the limit, beside all that is out; 0 for what is not limited */
	bool transient;            /* BL_SHORT: what is used leaves room */
	bool recallable;           /* BL_SHORT: an open grant could be returned */
};

/* How long after its end a grant waits for its return, which travels. */
#define BL_GRANT_SLACK_MS 1000
#define BL_UNLIMITED_REQUESTS UINT64_C(1000000)
#define BL_UNLIMITED_TOKENS UINT64_C(1000000000000)

struct bl_returned {
	struct tf_id key;
	uint64_t grant;
	struct bl_amount unused;
};

/* enum bl_answer or TF_E_NOMEM. Starts a window when none runs and the ask fits the plan. */
int bl_account_ask(struct bl_account *a, const struct bl_ask *ask, struct bl_now now, struct bl_offer *out);
/*
 * The unused part of a grant. TF_E_NOENT: no such grant (it lapsed, or its window is over);
 * TF_E_RANGE: more than it was; nothing changes then. A number of a former billingd is taken
 * from what was declared for that key.
 */
int bl_account_return(struct bl_account *a, uint64_t gateway, const struct bl_returned *r, struct bl_now now);
/* An attempt admitted in window is over: reserved is freed, actual is used. Another window: nothing. */
void bl_account_settle(struct bl_account *a, uint64_t gateway, uint64_t window, uint64_t reserved,
    uint64_t actual, struct bl_now now);
/* Grants that ended without a return count as admitted. Returns when to come again (monotonic ms), 0: never. */
uint64_t bl_account_lapse(struct bl_account *a, struct bl_now now);

struct bl_declared {
	struct bl_amount granted; /* still in grants */
	uint64_t reserved;        /* tokens of running attempts */
	uint64_t window;
	struct tf_id key;
	uint64_t ttl_ms;          /* longest life the grants can still have */
};
/*
 * After a restart of billingd: books what a gateway says it holds, without asking whether it
 * fits. Of a window that is over: nothing. TF_E_NOMEM.
 */
int bl_account_declare(struct bl_account *a, uint64_t gateway, const struct bl_declared *d, struct bl_now now);
/* Requests that a former billingd had admitted and that nobody had counted. Another window: nothing. */
void bl_account_admitted(struct bl_account *a, uint64_t window, uint64_t requests, struct bl_now now);
/* What the ledger says was used of a window before a restart. */
void bl_account_restore(struct bl_account *a, uint64_t window, struct bl_amount used, struct bl_now now);
/* The gateway left, or came back with the same boot. */
void bl_account_gone(struct bl_account *a, uint64_t gateway, bool gone);
/* The hold of a gateway; NULL when it holds nothing of the running window. */
struct bl_hold *bl_account_hold(const struct bl_account *a, uint64_t gateway);

#endif
