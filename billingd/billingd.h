/* SPDX-License-Identifier: Apache-2.0 */
/*
 * billingd: keys, workspaces, plans, limits and the usage ledger. One loop thread does
 * everything but the database. This is the inside of the daemon: what its files give each
 * other; tests include it too. main.c is the only user outside.
 *
 *	store   what is kept for good (store.h); the loop only ever waits for callbacks
 *	index   all workspaces, keys and secrets in memory (index.c)
 *	admin   changes of them: durable first, then in memory, then told to the gateways (admin.h)
 *	peers   gateway threads: sessions and their starts (peers.c)
 *	admit   grants out of the accounts of limit.h (admit.c)
 *	ledger  usage records: gathered, committed, acknowledged (ledger.c)
 *	usage   sums as JSON and as rows (usage.c)
 *	ctl     the operator's commands (control.h)
 */
#ifndef BL_BILLINGD_H
#define BL_BILLINGD_H

#include "billingd/admin.h"
#include "billingd/limit.h"
#include "billingd/store.h"
#include "common/conf/conf.h"
#include "common/ctl/ctl.h"
#include "common/event/event.h"
#include "common/wire/board.h"
#include "common/wire/wire.h"

struct bl;
struct bl_workspace;
struct bl_key;

static inline int64_t
bl_wall_ms(void)
{
	return tf_wall_ns() / 1000000;
}
static inline struct bl_now
bl_now(void)
{
	return (struct bl_now){ tf_mono_ms(), (uint64_t)bl_wall_ms() };
}

/* ---- index -------------------------------------------------------------------------------- */

struct bl_workspace {
	struct bl_workspace_row row;
	struct bl_account account;
	struct tf_list waits;   /* bl_wait: asks that wait for room in it, first come first served */
	size_t n_keys;          /* that are not revoked */
	uint32_t board;         /* slot of its minute, and behind it of its token window; 0: none yet */
	const struct conf_plan *plan; /* of that configuration; see bl_plan_of */
	uint64_t conf_number;
};

struct bl_key {
	struct bl_key_row row;
	struct bl_workspace *workspace;
	struct bl_account account;
	struct tf_list waits;   /* bl_wait: for room in it */
	struct tf_node active;  /* bl.active while anything of it is out */
	struct tf_node back;    /* bl.back: something of it came back in this turn */
	uint32_t board;         /* slot of its own minute; 0: none yet */
	struct tf_list secrets; /* bl_secret, oldest first; two at most */
	bool used;              /* last_used_ms is newer than the store's */
};

static inline struct bl_pair
bl_key_pair(struct bl_key *k)
{
	return (struct bl_pair){ { [BL_WORKSPACE] = &k->workspace->account, [BL_KEY] = &k->account } };
}

struct bl_secret {
	struct tf_node node;
	struct bl_secret_row row;
	struct bl_key *key;
};

struct bl_index {
	struct tf_map workspaces; /* by id */
	struct tf_map names;      /* workspaces by name */
	struct tf_map keys;       /* by id */
	struct tf_map digests;    /* secrets by digest */
};

/* Takes the rows' texts. TF_E_NOMEM; TF_E_NOENT: a key without workspace, a secret without key. */
int bl_index_load(struct bl_index *ix, struct bl_start *s);
void bl_index_free(struct bl_index *ix);
/* Copies the row; for keys takes its texts. New ones in *out. TF_E_NOMEM, TF_E_EXIST. */
int bl_index_add_workspace(struct bl_index *ix, const struct bl_workspace_row *row, struct bl_workspace **out);
int bl_index_add_key(struct bl_index *ix, struct bl_key_row *row, struct bl_key **out);
int bl_index_add_secret(struct bl_index *ix, const struct bl_secret_row *row);
void bl_index_drop_secret(struct bl_index *ix, struct bl_secret *s);
struct bl_workspace *bl_index_workspace(const struct bl_index *ix, struct tf_span id);
struct bl_key *bl_index_key(const struct bl_index *ix, struct tf_span id);
/* By name, or by the 26 characters of its id. */
struct bl_workspace *bl_index_find_workspace(const struct bl_index *ix, struct tf_span text);
struct bl_key *bl_index_find_key(const struct bl_index *ix, struct tf_span text);
/* The newest secret of a key; never NULL for a key that was loaded whole. */
struct bl_secret *bl_key_current(const struct bl_key *k);
enum wire_key_status bl_key_status(const struct bl_key *k, int64_t now_ms);
/* Status of this secret, and in *until_ms when it stops (BL_NEVER_MS). */
enum wire_key_status bl_secret_status(const struct bl_secret *s, int64_t now_ms, int64_t *until_ms);

/* ---- pepper ------------------------------------------------------------------------------- */

struct bl_pepper {
	struct tf_buf bytes;
	int64_t number; /* tells peppers apart, and nothing else about them */
};
/* Reads the file, or makes the default one when there is no database yet. why: for the operator. */
int bl_pepper_load(const struct conf *conf, struct bl_pepper *p, char *why, size_t size);
void bl_pepper_free(struct bl_pepper *p);
/* sha: SHA-256 of a key's text. */
void bl_pepper_digest(const struct bl_pepper *p, const uint8_t sha[static TF_SHA256], uint8_t out[static BL_DIGEST]);

/* ---- peers -------------------------------------------------------------------------------- */

#define BL_SEQ_AHEAD 65536 /* usage records taken beyond the first that is not committed */

/* One start of a gateway thread. */
struct bl_gateway {
	struct tf_node node;          /* bl.gateways */
	struct bl *bl;
	struct bl_instance_row row;   /* id 0: the store has not answered yet */
	struct bl_holder holder;      /* what it holds of accounts */
	struct tf_list waits;         /* bl_wait: its asks that are not answered */
	uint64_t grants;              /* numbers given */
	uint64_t returned;            /* number of its last return, which are from 2; 1: there was none */
	struct wire_peer *peer;       /* NULL: not in session */
	struct wire_peer *teller;     /* who tells what it left, when it is dead; NULL: nobody does */
	uint64_t gone_mono;           /* since when */
	size_t refs;                  /* batches, records and questions under way that name it */
	bool asking;                  /* the store is asked for its row */
	bool awaited;                 /* was in session when billingd ended, or held something; has not said all it holds */
	bool declaring;               /* has not said yet, to this billingd, that it declared all */
	int64_t first_ms;             /* wall clock of its first declaration: it had no grant of ours before; 0: none yet */
	int64_t declared_ms;          /* wall clock: it said then what runs, and those requests are counted; 0: it never did */
	bool stopped;                 /* gone for so long that its attempts have ended too */
	uint64_t committed;           /* every record up to here is in the ledger */
	uint64_t fronted, released;   /* committed when it declared; last of those whose reservation was freed since */
	uint64_t taken[BL_SEQ_AHEAD / 64]; /* bit seq % BL_SEQ_AHEAD: taken ... */
	uint64_t stored[BL_SEQ_AHEAD / 64]; /* ... and committed, out of order */
	uint64_t counted[BL_SEQ_AHEAD / 64]; /* its request was counted when it was declared */
	struct db_batch *early;       /* records that came before its row's id was known */
};

void bl_peers_init(struct bl *bl);
/* Those of the last start that may still hold something. */
int bl_peers_load(struct bl *bl, const struct bl_start *s);
void bl_peers_free(struct bl *bl);
struct wire_hooks bl_peers_hooks(struct bl *bl);
void bl_peers_tick(struct bl *bl, uint64_t mono_ms);
/* NULL: no such start, or it was forgotten. */
struct bl_gateway *bl_gateway_find(struct bl *bl, const char *name, uint64_t boot);
/*
 * The start that a record is about: the one in session, or a dead one that it is told for, known or not. NULL: none
 * that this gateway may speak for, or no memory.
 */
struct bl_gateway *bl_peers_teller(struct bl *bl, struct bl_gateway *g, const struct wire_usage *m);
/* Its records will never come: it holds nothing any more. Not of one in session. */
void bl_peers_forget(struct bl *bl, struct bl_gateway *g);
/* Stops taking it for alive, when it is one that we wait for. */
void bl_peers_settled(struct bl *bl, struct bl_gateway *g);

/* ---- admission ---------------------------------------------------------------------------- */

#define BL_WAIT_MS 400     /* longest wait for returns and settlements; a gateway asks again after a second */
#define BL_WAITS_MAX 1024  /* waiting asks of one account; further ones are refused as transient */
#define BL_TICK_MS 250
#define BL_COUNT_MAX INT64_C(1000000000000000) /* most tokens or requests that a message can speak of */

void bl_admit_init(struct bl *bl);
void bl_admit_fini(struct bl *bl);
/* Room for requests and tokens: answers at once or after a recall. */
void bl_admit_ask(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_grant_ask *m);
void bl_admit_return(struct bl *bl, struct bl_gateway *g, const struct wire_grant_return *m);
void bl_admit_declare(struct bl *bl, struct bl_gateway *g, const struct wire_declare *m);
/* An attempt is in the ledger: frees its reservation, counts what it used. */
struct bl_settled {
	const struct bl_usage *usage;
	bool charged; /* and was not before */
	bool foreign; /* admitted by a former billingd: its request was not counted yet */
	bool twice;   /* counted when it was declared, though it was in the ledger */
};
void bl_admit_settle(struct bl *bl, struct bl_gateway *g, const struct bl_settled *s);
/* What came into the ledger without having been admitted: a deployment's. */
void bl_admit_spent(struct bl_workspace *w, const struct bl_usage *u);
void bl_admit_gone(struct bl *bl, struct bl_gateway *g, bool gone);
/*
 * Gone for so long that the workers have ended its attempts: a gateway and its workers lose each other
 * after the same silence, so nothing of it runs any more and its slots are free, although what its
 * attempts used is not known before its records come.
 */
void bl_admit_stopped(struct bl *bl, struct bl_gateway *g);
/* It said that a former start was told whole: that one holds nothing, once what was told is durable. */
void bl_admit_settled(struct bl *bl, const struct wire_settled *m);
/* Drops everything that waits for an answer to this gateway. */
void bl_admit_forget(struct bl *bl, struct bl_gateway *g);
/* The limits that were unknown after the start are known now, or the grace is over. */
void bl_admit_open(struct bl *bl);
void bl_admit_tick(struct bl *bl);
/* A limit of a workspace or of its keys changed: what is out under the former one comes back. */
void bl_admit_recall(struct bl *bl, struct bl_workspace *w);
/* The workspace's plan; NULL: no such plan in the configuration. Borrowed until a reload. */
const struct conf_plan *bl_plan_of(struct bl *bl, struct bl_workspace *w);
/* Logs an error when workspaces are on plans that are not configured. After each reading of the configuration. */
void bl_limits_check(struct bl *bl);
/* Brings the limits of a key and its workspace to what their rows and the plan say now. False: no such plan. */
bool bl_admit_limits(struct bl *bl, struct bl_key *k, struct bl_now now);
/* What is left of limits, as gateways are told; 0 of what is not limited. Brings the accounts up to date. */
struct bl_state {
	uint64_t limit, tpm;       /* of the plan */
	uint64_t requests, tokens, reset_ms;
	bool budgeted;
	uint64_t budget, budget_reset_ms;
	bool own;                  /* the key has a minute of its own */
	uint64_t key_requests, key_tokens, key_reset_ms;
	uint64_t window[BL_WINDOWS]; /* numbers of those that run */
	uint64_t alone;            /* by bl_board_say: joins, when one gateway is in session; 0: there are others */
	uint64_t returned;         /* by who tells it: number of the gateway's last return that this includes */
};
struct bl_state bl_key_state(struct bl_key *k, struct bl_now now);
/* The same, and puts it on the board: before anything is sent that a gateway may admit from. */
struct bl_state bl_board_say(struct bl *bl, struct bl_key *k, struct bl_now now);
/*
 * What a refused request can be cut to; BL_NO_LIMIT: nothing limits it. An answer that goes on gets what nobody holds. A
 * request that begins gets that too, unless others hold the larger part of what is not used: then all that is not used,
 * and waits until they give it back.
 */
struct bl_room {
	uint64_t tokens, money;
};
struct bl_room bl_key_room(struct bl_key *k, bool begins);
/* What usage says of a workspace's limits; BL_NO_LIMIT: there is none. */
struct bl_space_state {
	struct bl_window window;     /* the plan's token window */
	uint64_t limit, used;        /* its tokens, with what was topped up */
	uint64_t cap[BL_METERS], spent[BL_METERS]; /* of the month's meters */
};
struct bl_space_state bl_space_state(struct bl *bl, struct bl_workspace *w, struct bl_now now);
/* The same for an answer about a key. */
void bl_admit_tell(struct bl *bl, struct bl_key *k, const struct bl_gateway *g, struct wire_key *m);
/* Fills window_size and window_ends_ms. */
void bl_limits_window(struct bl *bl, struct bl_usage *u);
/* What was used of the windows that still run. */
void bl_limits_load(struct bl *bl, const struct bl_start *s);
/* Sentences for a refusal. */
void bl_refuse_never(struct bl_key *k, const struct bl_amount *least, const struct bl_offer *o, char *out, size_t size);
void bl_refuse_short(const struct bl *bl, struct bl_key *k, const struct bl_amount *least, const struct bl_offer *o,
    char *out, size_t size);

/* ---- ledger ------------------------------------------------------------------------------- */

#define BL_PENDING_MAX 65536  /* records in memory that are not committed; gateways repeat what is not taken */

struct bl_ledger {
	struct bl *bl;
	struct db_batch *filling; /* NULL: nothing came since the last batch left */
	struct db_batch *flying;  /* under way, or waiting to be tried again */
	size_t held;              /* records in these and in early batches */
	uint64_t taken, done;     /* records so far; those that are durable */
	struct ev_timer commit;
	struct ev_timer retry;
	uint64_t retry_ms;        /* 0: no trouble */
	bool hurry;               /* somebody waits: do not wait for company */
	struct tf_list waits;     /* bl_after */
};

/* Runs fn when all records taken so far are durable, or with late set after ms. */
struct bl_after {
	struct tf_node node;
	uint64_t ticket;
	uint64_t deadline; /* monotonic ms */
	void (*fn)(struct bl_after *a, bool late);
};
void bl_ledger_init(struct bl *bl);
/* Submits nothing more and turns away who waits; then, when the store is closed, frees. */
void bl_ledger_stop(struct bl *bl);
void bl_ledger_free(struct bl *bl);
/*
 * The gateway declares the request of a record that nobody has counted. False: the ledger has it, or a declaration before.
 * It is not counted again when the record comes.
 */
bool bl_ledger_count(struct bl_gateway *g, uint64_t seq);
void bl_ledger_usage(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_usage *m);
/* The row's id is known: what came early goes on. */
void bl_ledger_early(struct bl *bl, struct bl_gateway *g);
void bl_ledger_after(struct bl *bl, struct bl_after *a, uint64_t ms, void (*fn)(struct bl_after *a, bool late));
/* From now on batches leave without waiting for company. */
void bl_ledger_hurry(struct bl *bl);
void bl_ledger_tick(struct bl *bl, uint64_t mono_ms);
static inline bool
bl_ledger_idle(const struct bl_ledger *l)
{
	return l->held == 0;
}

/* ---- usage -------------------------------------------------------------------------------- */

enum bl_period { BL_P_WINDOW, BL_P_DAY, BL_P_WEEK, BL_P_MONTH, BL_P_ALL, BL_P_RANGE };
/* [from, to) in ms of a calendar period in UTC that holds now. */
void bl_period_range(enum bl_period p, int64_t now_ms, int64_t *from_ms, int64_t *to_ms);
void bl_usage_query(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_query *m);
/* keyctl usage: rows of the period, by one kind of group. */
void bl_usage_rows(struct bl *bl, struct ctl_req *req);

/* ---- control ------------------------------------------------------------------------------ */

extern const struct ctl_cmd bl_cmds[];
extern const size_t bl_n_cmds;
/* The daemon that a command's arg stands for. */
struct bl *bl_of_command(void *arg);

/* ---- housekeeping ------------------------------------------------------------------------- */

struct bl_tidy {
	uint64_t next; /* tf_mono_ms: not before */
	bool busy;     /* a step is under way */
	bool anew;     /* begin again when it is over: options have changed */
	enum { BL_TIDY_REST, BL_TIDY_ROWS, BL_TIDY_PAGES } phase;
	struct bl_expire expire;
	struct bl_shrink shrink;
	uint64_t removed;
};
/* The first day whose rows stay; INT64_MIN: all stay. Never later than the first of the month, nor a week ago. */
int64_t bl_tidy_day(uint64_t retention_ms, int64_t now_ms);
void bl_tidy_tick(struct bl *bl, uint64_t now);
/* Options have changed: looks at once. */
void bl_tidy_reload(struct bl *bl);

/* ---- all of it ---------------------------------------------------------------------------- */

struct bl {
	struct ev_loop *loop;
	struct ev_zctx *zctx;
	const struct conf *conf;    /* borrowed; replaced by bl_reload */
	struct db_store *store;
	struct wire_hub *hub;
	struct bl_pepper pepper;
	struct bl_index index;
	struct bl_ledger ledger;
	struct tf_list gateways;    /* bl_gateway */
	struct tf_list active;      /* bl_key */
	struct tf_list back;        /* bl_key */
	struct wire_board *board;
	unsigned sessions;          /* with gateways */
	struct ev_turn serve;       /* those who wait for what came back */
	uint64_t conf_number;       /* counts configurations */
	uint64_t epoch, change;
	int64_t started_ms;         /* wall clock */
	uint64_t blind_until;       /* monotonic; 0: the limits are known */
	uint64_t used_flushed;      /* monotonic */
	size_t changes;             /* changes and questions under way */
	struct ev_timer tick;
	void (*drained)(void *arg);
	void *drained_arg;
	uint64_t deploy_next;       /* monotonic: when deployments are billed again */
	bool deploy_billing;        /* under way */
	bool loaded, failed, closing;
	bool copying;               /* the database is copied, or a copy is checked */
	struct bl_tidy tidy;
	struct bl_verifying *verifying; /* a check of the ledger that is under way; NULL: none */
	bool used_last;             /* last-used times were flushed for the end */
};

/*
 * Opens the store, loads it (blocking), and listens at RUN_DIR/billingd.sock. Returns
 * new in *out. Errors have been logged.
 */
int bl_new(struct ev_loop *loop, const struct conf *conf, struct bl **out);
/* The loop may still hold posts to it: it must not run any more. */
void bl_free(struct bl **bl);
void bl_reload(struct bl *bl, const struct conf *conf);
/* Calls drained when every record taken is durable and acknowledged. */
void bl_drain(struct bl *bl, void (*drained)(void *arg), void *arg);
/* Something under way has ended: is a drain over with it? */
void bl_check_drained(struct bl *bl);
int bl_main(int argc, char **argv);

#endif
