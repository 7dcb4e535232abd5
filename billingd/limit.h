/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of limits: windows, and the accounts of workspaces and keys in which every
 * grant, reservation and use is booked on each meter of meter.def. Pure: no clock, no sockets, no
 * database; time is an argument. admit.c drives it, tests/billingd/test_limit.c tries to break it.
 *
 * The rule that everything here keeps, for each meter: what is used plus all that any gateway
 * holds as grant or reservation never exceeds the limit. So:
 *   - a grant debits all meters of its key and of the key's workspace in one step, or none;
 *   - a return credits what the gateway did not use; what it did use is a reservation now;
 *   - a settlement gives a reservation back and books what was really used;
 *   - what a gateway took with it when it died counts as used until the window ends, or until
 *     its records have been told whole: nobody can say before how much of it was admitted.
 * Every window ends by itself, and the end of one frees what stands on its meters alone. A grant
 * dies with the first of its windows; a record that names another window than the one that runs
 * leaves that window's meters alone, for its reservation died with its window.
 */
#ifndef BL_LIMIT_H
#define BL_LIMIT_H

#include "common/base/base.h"

/* ---- the table ---------------------------------------------------------------------------- */

#define UNIT(sym) BL_U_##sym,
enum bl_unit {
#include "billingd/meter.def"
	BL_UNITS
};
#define WINDOW(sym, scope) BL_W_##sym,
enum bl_window_kind {
#include "billingd/meter.def"
	BL_WINDOWS
};
#define METER(sym, scope, unit, window, err, what) BL_M_##sym,
enum bl_meter_id {
#include "billingd/meter.def"
	BL_METERS
};

enum bl_scope { BL_WORKSPACE, BL_KEY, BL_SCOPES };

struct bl_meter_row {
	enum bl_scope scope;
	enum bl_unit unit;
	enum bl_window_kind window;
	int err;          /* TF_E_* */
	const char *what; /* behind the limit's number */
};
extern const struct bl_meter_row bl_meter_rows[BL_METERS];

/* ---- windows ------------------------------------------------------------------------------ */

#define BL_WINDOW_MS 60000 /* of the minute windows */
#define BL_MONTH 0         /* as a length: the calendar month, UTC */

struct bl_now {
	uint64_t mono_ms;
	uint64_t wall_ms;
};

/*
 * A span of time that something is counted in. Its number is the wall clock at its start, so that
 * it survives a restart of billingd. One of a given length starts with its first request; its
 * numbers only grow, even when the wall clock is set back. A month starts with the calendar.
 */
struct bl_window {
	uint64_t number;    /* ms since 1970; 0: there was none yet */
	uint64_t ends_ms;   /* monotonic; of a month ms since 1970 */
	uint64_t length_ms; /* or BL_MONTH */
	uint64_t turn;      /* tells each start of it apart, also of months when the clock is set back and forth */
};

/* Start of the month that this moment lies in, and of the one after it: ms since 1970, UTC. */
uint64_t bl_month_start(uint64_t wall_ms);
uint64_t bl_month_next(uint64_t wall_ms);

bool bl_window_runs(const struct bl_window *w, struct bl_now now);
/* Milliseconds until it ends; 0 when none runs. */
uint64_t bl_window_left(const struct bl_window *w, struct bl_now now);
/* Wall clock of its end; 0 when none runs. */
uint64_t bl_window_end(const struct bl_window *w, struct bl_now now);
/* A new one, from now. */
void bl_window_start(struct bl_window *w, struct bl_now now);
/*
 * A window that a former billingd had started. True when it is the one that runs now: it is
 * adopted when it is newer than ours and not over. A number in the future counts as starting now.
 */
bool bl_window_adopt(struct bl_window *w, uint64_t number, struct bl_now now);
/*
 * Another length, or BL_MONTH. One that runs goes on from its start with the new length; between a
 * month and a length nothing is carried over.
 */
void bl_window_set(struct bl_window *w, uint64_t length_ms, struct bl_now now);

/* ---- accounts ----------------------------------------------------------------------------- */

struct bl_amount {
	uint64_t v[BL_UNITS];
};

#define BL_NO_LIMIT UINT64_MAX

struct bl_meter {
	uint64_t limit; /* BL_NO_LIMIT; counted all the same */
	uint64_t debit; /* used, granted and reserved */
	uint64_t used;  /* of these: requests admitted for sure, and what was settled */
	uint64_t lost;  /* of these: held by gateways that are not in session */
};

/* The token window that ended last, as long as something that was admitted in it runs. */
struct bl_tail {
	uint64_t number; /* 0: there was none */
	uint64_t turn;   /* its bl_window.turn; 0: it ended before we started */
	uint64_t size;   /* the plan's tokens then */
	uint64_t used;
	uint64_t held;   /* in grants and reservations: may be used yet */
};

/* Of a workspace, or of a key. Windows that belong to the other scope are not used. */
struct bl_account {
	enum bl_scope scope;
	struct bl_window window[BL_WINDOWS]; /* MONTH of a key follows its workspace's */
	struct bl_meter meter[BL_METERS];
	struct tf_list holds;
	size_t open;      /* grants of gateways in session */
	unsigned limited; /* bits 1 << enum bl_meter_id: have a limit */
	uint64_t size;    /* of BL_M_WINDOW: the plan's tokens ... */
	uint64_t extra;   /* ... and what was topped up and is left behind them */
	struct bl_tail tail;
};

/* A key's account and its workspace's: whatever is asked is asked of both. */
struct bl_pair {
	struct bl_account *of[BL_SCOPES];
};

/* One start of a gateway thread, as somebody who holds something. Zero but for the list at first. */
struct bl_holder {
	struct tf_list holds;
	bool gone; /* not in session: nothing will be returned. One in session returns all that it was granted */
};

struct bl_grant {
	struct tf_node node; /* hold.grants, oldest first */
	uint64_t number;
	struct bl_amount amount; /* debited for it */
	unsigned bounded;        /* as of the offer */
	uint64_t window[BL_WINDOWS];
	uint64_t lapses_ms; /* monotonic; of a gateway that is gone: without a return by then all of it counts as admitted */
};

/* What one holder holds of a key. */
struct bl_hold {
	struct tf_node node[BL_SCOPES]; /* account.holds */
	struct tf_node of_holder;       /* holder.holds */
	struct bl_pair pair;
	struct bl_holder *holder;
	struct tf_list grants;       /* open ones */
	uint64_t held[BL_METERS];    /* in grants and reservations ... */
	uint64_t turn[BL_WINDOWS];   /* ... of these windows */
	uint64_t before, before_of;  /* of the tail of that number: so much of what is held there */
	bool recalled;               /* a recall is under way */
};

void bl_account_init(struct bl_account *a, enum bl_scope scope);
/* Frees every hold and grant; the account is as after init. */
void bl_account_fini(struct bl_account *a);
void bl_holder_init(struct bl_holder *h);

/*
 * A limit, or BL_NO_LIMIT: acts on the next ask; what is out stays out. BL_M_WINDOW takes its limit
 * from bl_account_window.
 */
void bl_account_limit(struct bl_account *a, enum bl_meter_id m, uint64_t limit);
/* The plan's token window: its length or BL_MONTH, its tokens, and what was topped up. size 0: there is none. */
void bl_account_window(struct bl_account *a, uint64_t length_ms, uint64_t size, uint64_t extra, struct bl_now now);
/* Drops all that belongs to windows that are over. Everything that takes a pair does it first. */
void bl_account_turn(const struct bl_pair *p, struct bl_now now);
/* A window of these numbers that is newer than ours and not over is the one that runs. 0: no window. */
void bl_account_adopt(const struct bl_pair *p, const uint64_t number[static BL_WINDOWS], struct bl_now now);
/* Tokens that were topped up and that what still runs of the window before may draw: nobody else is given them. */
uint64_t bl_account_owed(const struct bl_account *a);
/* Room beside all that is out. BL_NO_LIMIT when nothing limits it. */
uint64_t bl_account_room(const struct bl_account *a, enum bl_meter_id m);
/* Likewise beside what is used, whatever is held. */
uint64_t bl_account_unused(const struct bl_account *a, enum bl_meter_id m);

enum bl_answer {
	BL_GIVEN,
	BL_NEVER, /* more than a whole minute or a whole token window gives */
	BL_SHORT, /* no room now */
};

struct bl_ask {
	struct bl_holder *holder;
	struct bl_amount least; /* what helps */
	struct bl_amount want;  /* what would serve the coming second or two */
	uint64_t grant;         /* number for the grant */
	uint64_t ttl_ms;
};

struct bl_offer {
	struct bl_amount amount;     /* BL_GIVEN: what the gateway may use */
	unsigned bounded;            /* bits 1 << enum bl_unit: something limits it; else amount is out of reach */
	uint64_t ttl_ms;
	uint64_t window[BL_WINDOWS]; /* numbers; 0: not drawn on */
	enum bl_meter_id meter;      /* the one that is short */
	bool transient;              /* BL_SHORT: what is used leaves room */
	bool recallable;             /* BL_SHORT: an open grant could be returned */
};

/* How long after its end a grant waits for its return, which travels. */
#define BL_GRANT_SLACK_MS 1000
/*
 * What a grant gives of a unit that nothing limits. It is booked all the same, so that everything adds
 * up when a limit comes while it is out; it is void when it is not returned. Money is not: where nothing
 * limits it, nothing of it is reserved, and whatever an attempt costs is charged.
 */
extern const struct bl_amount bl_unlimited;

/* enum bl_answer or TF_E_NOMEM. Only what is given starts windows. */
int bl_account_ask(const struct bl_pair *p, const struct bl_ask *ask, struct bl_now now, struct bl_offer *out);

struct bl_returned {
	uint64_t grant;
	struct bl_amount unused;
};
/*
 * The unused part of a grant. TF_E_NOENT: no such grant (it lapsed, or its gateway was thought to be gone);
 * TF_E_RANGE: more than it was; nothing changes then.
 */
int bl_account_return(const struct bl_pair *p, struct bl_holder *holder, const struct bl_returned *r,
    struct bl_now now);

struct bl_record {
	uint64_t window[BL_WINDOWS]; /* of its admission */
	struct bl_amount reserved;   /* requests: none */
	struct bl_amount used;       /* requests: those that nobody had counted */
};
/* An attempt is over: what it had reserved is free, what it used is used. */
void bl_account_settle(const struct bl_pair *p, struct bl_holder *holder, const struct bl_record *r,
    struct bl_now now);
/* So many requests of a window were counted twice. */
void bl_account_uncount(const struct bl_pair *p, const uint64_t window[static BL_WINDOWS], uint64_t requests,
    struct bl_now now);
/*
 * After a restart of billingd, or of a link: books what a gateway says it holds, without asking
 * whether it fits. TF_E_NOMEM.
 */
int bl_account_declare(const struct bl_pair *p, struct bl_holder *holder, const struct bl_record *r,
    struct bl_now now);
/* What the ledger says was used of a window before a restart; of the meters of one scope. */
void bl_account_restore(const struct bl_pair *p, enum bl_scope scope, enum bl_window_kind kind, uint64_t number,
    const struct bl_amount *used, struct bl_now now);
/*
 * Grants of gateways that are gone count as admitted when they end without a return; holds of nothing are
 * freed. Returns when to come again (monotonic ms), 0: when a window ends.
 */
uint64_t bl_account_lapse(const struct bl_pair *p, struct bl_now now);

/* The gateway left, or came back with the same boot. */
void bl_holder_gone(struct bl_holder *h, bool gone, struct bl_now now);
/* Its attempts have ended with it: they take no slots any more. */
void bl_holder_stopped(struct bl_holder *h, struct bl_now now);
/* Nothing that anybody has to say more about: neither a grant, nor a reservation in a window that runs. */
bool bl_holder_empty(struct bl_holder *h, struct bl_now now);
/* All its records have been told, or it says anew what it holds: nothing of before is held. Requests stay counted. */
void bl_holder_drop(struct bl_holder *h, struct bl_now now);
/* The hold behind an entry of account.holds. */
struct bl_hold *bl_hold_at(const struct bl_account *a, struct tf_node *e);
/* The hold of a gateway; NULL when it holds nothing of this key. */
struct bl_hold *bl_account_hold(const struct bl_pair *p, const struct bl_holder *holder);

#endif
