/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what billingd keeps for good, as operations on the asynchronous interface of
 * common/db. They say what is meant, not how: only the files that include billingd/sqlite.h know
 * SQL. Knows nothing of sockets, messages or limits.
 */
#ifndef BL_STORE_H
#define BL_STORE_H

#include "common/db/db.h"

#define BL_DIGEST TF_SHA256 /* bytes of HMAC-SHA256(pepper, SHA-256(key text)) */
#define BL_NAME_MAX 64      /* bytes of a workspace's, plan's or key's name */
#define BL_SHOWN_MAX 16     /* bytes of a key's visible prefix */
#define BL_NEVER_MS DB_NEVER_MS

#define BL_USER_MAX 254  /* bytes of what a user signs in with */
#define BL_FULL_MAX 128  /* bytes of a user's full name */
#define BL_ACTOR_MAX 254 /* bytes of who did something */
#define BL_NOTE_MAX 254  /* bytes of a remark */

/* ---- rows --------------------------------------------------------------------------------- */

/* A number that may be missing: no such limit. */
struct bl_opt {
	bool is;
	int64_t v;
};
/* Owned texts. */
struct bl_texts {
	char **v;
	size_t n;
};
void bl_texts_free(struct bl_texts *t);
/* Copies the text behind the others. TF_E_NOMEM. */
int bl_texts_add(struct bl_texts *t, struct tf_span text) TF_MUSTCHECK;

/* Texts are owned by the row's holder and freed by bl_*_fini; times are ms since 1970; money is nano-units. */
struct bl_workspace_row {
	struct tf_id id;
	char name[BL_NAME_MAX + 1];
	char plan[BL_NAME_MAX + 1];
	int64_t created_ms;
	struct bl_opt cap_tokens, cap_images, cap_audio_ms, budget; /* of a calendar month, UTC */
	struct bl_opt balance;                                      /* prepaid money that is left */
	int64_t extra_tokens;                                       /* topped up; used after the plan's token window */
};

/* What an order sets of a workspace; the rest stays as it is. */
enum bl_space_part { BL_SPACE_TOKENS = 1, BL_SPACE_IMAGES = 2, BL_SPACE_AUDIO = 4, BL_SPACE_BUDGET = 8 };
struct bl_space_set {
	unsigned parts; /* of enum bl_space_part */
	struct bl_workspace_row row;
};
void bl_space_set_apply(struct bl_workspace_row *row, const struct bl_space_set *set);

/* What a workspace was given beside its plan; negative: taken back. */
struct bl_topup_row {
	struct tf_id id, workspace;
	int64_t tokens, money; /* money: nano-units; makes the workspace prepaid */
	int64_t created_ms;
	char actor[BL_ACTOR_MAX + 1];
	char note[BL_NOTE_MAX + 1];
};

struct bl_key_row {
	struct tf_id id, workspace;
	char name[BL_NAME_MAX + 1];
	char form[8], env[8];
	int64_t created_ms;
	int64_t expires_ms;   /* BL_NEVER_MS */
	int64_t revoked_ms;   /* BL_NEVER_MS */
	int64_t last_used_ms; /* 0: not yet */
	struct bl_texts models;        /* it may use; none: all */
	int64_t rpm, tpm, concurrency; /* of this key alone; 0: not limited */
	struct bl_opt budget;          /* money of a calendar month, UTC */
	unsigned scopes;               /* WIRE_SCOPE_* bits */
	struct bl_texts endpoints;     /* operations it may call; none: all */
	struct bl_texts networks;      /* address/bits it may be used from; none: anywhere */
};
void bl_key_row_fini(struct bl_key_row *row);

/* What an order sets of a key; the rest stays as it is. */
enum bl_key_part {
	BL_KEY_RPM = 1,
	BL_KEY_TPM = 2,
	BL_KEY_CONCURRENCY = 4,
	BL_KEY_BUDGET = 8,
	BL_KEY_EXPIRES = 16,
	BL_KEY_SCOPES = 32,
	BL_KEY_MODELS = 64,
	BL_KEY_ENDPOINTS = 128,
	BL_KEY_NETWORKS = 256,
};
struct bl_key_set {
	unsigned parts;        /* of enum bl_key_part */
	struct bl_key_row row; /* owned */
};
/* Moves the parts of set to row; its lists change hands. */
void bl_key_set_apply(struct bl_key_row *row, struct bl_key_set *set);

struct bl_secret_row {
	uint8_t digest[BL_DIGEST];
	struct tf_id key;
	uint64_t generation; /* from 1; the highest is the current one */
	char prefix[BL_SHOWN_MAX + 1];
	char last4[TF_APIKEY_SHOWN_TAIL + 1];
	int64_t pepper;
	int64_t created_ms;
	int64_t until_ms;    /* BL_NEVER_MS for the current one */
};

/* How much a member may do; each may what those before it may. Texts: bl_role_text. */
enum bl_role { BL_ROLE_VIEWER, BL_ROLE_MEMBER, BL_ROLE_ADMIN, BL_ROLE_OWNER, BL_ROLE_COUNT };
const char *bl_role_text(enum bl_role r);
/* TF_E_INVAL */
int bl_role_parse(struct tf_span text, enum bl_role *out) TF_MUSTCHECK;

struct bl_user_row {
	struct tf_id id;
	char name[BL_USER_MAX + 1]; /* unique; ASCII letters are small */
	char full_name[BL_FULL_MAX + 1];
	int64_t created_ms;
	int64_t removed_ms;   /* of a removal */
	int64_t workspaces;   /* when listed: memberships */
	struct tf_id keeps;   /* of a refused removal: a workspace that would be left without owner */
};

struct bl_member_row {
	struct tf_id workspace;
	struct bl_user_row user; /* found by id, else by name */
	enum bl_role role;
	int64_t since_ms;
};

#define BL_MODEL_MAX 128 /* bytes of a model's name */
#define BL_SURFACE_DEPLOYMENT "deployment" /* of the ledger's rows; they are no requests */

/* Reserved capacity: billed by the GPU-hour while it is live, whatever it serves. */
struct bl_deployment_row {
	struct tf_id id, workspace;
	char model[BL_MODEL_MAX + 1];
	int64_t gpus, price_gpu_hour; /* price: nano-units for an hour of one GPU */
	int64_t started_ms;
	int64_t stopped_ms;           /* BL_NEVER_MS */
	int64_t billed_ms;            /* everything before this moment is in the ledger */
};
/* Nano-units of its first ms milliseconds, rounded half up; INT64_MAX at most. */
uint64_t bl_deployment_cost(const struct bl_deployment_row *d, int64_t ms);

/* Brings live deployments into the ledger up to now: a row for each day and deployment. */
struct bl_billing {
	int64_t now_ms;
	bool stop;                    /* only .row.id, which ends with it; fills row */
	struct bl_deployment_row row;
	struct bl_usage **v;          /* what came into the ledger; owned */
	size_t n;
};
void bl_billing_fini(struct bl_billing *b);

/* One administrative act. detail: a JSON object or empty; owned. */
struct bl_audit_row {
	int64_t id;
	int64_t at_ms;
	char actor[BL_ACTOR_MAX + 1];
	char action[32];
	bool has_workspace;
	struct tf_id workspace;
	char subject[BL_USER_MAX + 1];
	const char *of;       /* not NULL: the subject, which an operation of the same batch fills */
	const struct tf_id *at; /* not NULL: the workspace, likewise */
	struct tf_buf detail;
	bool has_act;
	struct tf_id act;       /* of an act that another daemon tells of: told twice, it is one row */
};

/* A gateway thread's start, and what it holds acknowledgements for. */
struct bl_instance_row {
	int64_t id; /* the store's number */
	char name[104];
	uint64_t boot;
	uint64_t seq;    /* every record up to here is in the ledger */
	int64_t gone_ms; /* BL_NEVER_MS while it is in session, or holds something */
};

struct bl_tokens { /* disjoint */
	uint64_t prompt, cache_read, cache_write, completion, reasoning;
};
static inline uint64_t
bl_tokens_sum(const struct bl_tokens *t)
{
	return t->prompt + t->cache_read + t->cache_write + t->completion + t->reasoning;
}

/*
 * What an attempt is charged with where so much was reserved for it: more than admission foresaw is drawn
 * from nothing. Where it foresaw nothing, there was no limit to it.
 */
static inline uint64_t
bl_charged(uint64_t used, uint64_t reserved)
{
	return reserved != 0 && used > reserved ? reserved : used;
}

/* What is counted beside tokens. */
struct bl_units {
	uint64_t images, audio_ms, characters;
};

/*
 * Tokens that an attempt draws from limits of tokens. One that made images, heard or spoke draws on the limits of those
 * instead: what its runtime counts beside stands in the ledger alone. Likewise LEDGER_DRAWN in stmt.def.
 */
static inline uint64_t
bl_drawn_tokens(const struct bl_tokens *t, const struct bl_units *u, uint64_t reserved)
{
	return u->images > 0 || u->audio_ms > 0 || u->characters > 0 ? 0 : bl_charged(bl_tokens_sum(t), reserved);
}

/* Numbers of the windows that an attempt was admitted in; 0: it drew on none of that kind. */
struct bl_windows {
	uint64_t minute, budget, month, key;
};

enum bl_text { BL_T_MODEL, BL_T_SURFACE, BL_T_FINISH, BL_T_CODE, BL_T_WORKER, BL_T_COUNT };

/* What a record replaced. */
struct bl_before {
	bool charged; /* else nothing of it was counted */
	struct bl_tokens tokens;
	struct bl_units units;
	uint64_t cost, unbilled;
};

/* One attempt that ended. Counts are at most INT64_MAX. */
struct bl_usage {
	struct tf_id request, workspace, key;
	uint32_t attempt;
	uint8_t outcome;  /* enum wire_outcome */
	bool delivered, estimated, stream;
	bool provisional; /* a final record replaces it */
	struct bl_tokens tokens;
	struct bl_units units;
	uint64_t reserved; /* tokens */
	struct bl_reserved {
		uint64_t money, images, audio_ms, slots;
	} held;            /* likewise; not kept */
	struct bl_windows window;
	uint64_t window_size, window_ends_ms; /* of the token window, while it runs; 0: it does not any more */
	struct bl_drawn { /* filled by the operation: by so much these columns of the workspace went down */
		int64_t extra_tokens, money;
	} drawn;
	struct tf_price price;   /* at admission */
	uint64_t cost, unbilled; /* nano-units; unbilled: the part beyond the reservation */
	int64_t began_ms, ended_ms;
	int64_t first_us; /* -1: unknown */
	uint32_t status;
	int64_t instance; /* bl_instance_row.id */
	uint64_t seq;
	struct bl_before before; /* filled by the operation; all zero: it replaced nothing that was charged */
	void *user;       /* the caller's own */
	struct tf_span text[BL_T_COUNT]; /* in bytes behind the struct; empty is null */
};
/* Returns new (free()) with its own copy of the texts; NULL without memory. */
struct bl_usage *bl_usage_copy(const struct bl_usage *u);

/* What it costs: its units at its price. */
uint64_t bl_usage_cost(const struct bl_usage *u);

/* ---- operations --------------------------------------------------------------------------- */

enum bl_op_kind {
	BL_OP_START,          /* arg bl_start: one more epoch, everything that must be in memory */
	BL_OP_USAGE,          /* arg bl_usage: ledger and sums */
	BL_OP_ACK,            /* arg bl_instance_row: seq of .id; gone_ms */
	BL_OP_INSTANCE,       /* arg bl_instance_row: finds or makes (name, boot); fills id and seq */
	BL_OP_WORKSPACE_NEW,  /* arg bl_workspace_row; TF_E_EXIST: name taken */
	BL_OP_WORKSPACE_PLAN, /* arg bl_workspace_row: id, plan */
	BL_OP_KEY_NEW,        /* arg bl_key_row */
	BL_OP_SECRET_NEW,     /* arg bl_secret_row; TF_E_EXIST: that digest or generation is there */
	BL_OP_SECRET_UNTIL,   /* arg bl_secret_row: digest, until_ms */
	BL_OP_SECRET_DROP,    /* arg bl_secret_row: digest */
	BL_OP_KEY_REVOKE,     /* arg bl_key_row: id, revoked_ms */
	BL_OP_KEY_SET,        /* arg bl_key_set; TF_E_STATE: revoked */
	BL_OP_KEY_USED,       /* arg bl_key_row: id, last_used_ms */
	BL_OP_CHANGE,         /* arg uint64_t: one more change number */
	BL_OP_AUDIT,          /* arg bl_audit_row: one more act */
	BL_OP_SPACE_SET,      /* arg bl_space_set */
	BL_OP_SPACE_INFO,     /* arg bl_space_info; in a reading batch */
	BL_OP_TOPUP,          /* arg bl_topup_row; TF_E_STATE: takes back more tokens than are left */
	BL_OP_TOPUPS,         /* arg bl_topups; in a reading batch */
	BL_OP_DEPLOY,         /* arg bl_deployment_row */
	BL_OP_DEPLOY_BILL,    /* arg bl_billing; TF_E_NOENT, TF_E_STATE: the one that stops is not there, or has stopped */
	BL_OP_DEPLOYMENTS,    /* arg bl_deployments; in a reading batch */
	BL_OP_USER_NEW,       /* arg bl_user_row; TF_E_EXIST. One that was removed comes back: fills id */
	BL_OP_USER_DROP,      /* arg bl_user_row: name or id; TF_E_NOENT; TF_E_STATE: the last owner of .keeps */
	BL_OP_MEMBER_NEW,     /* arg bl_member_row: fills user; TF_E_NOENT: no such user; TF_E_EXIST */
	BL_OP_MEMBER_ROLE,    /* arg bl_member_row: fills user; TF_E_NOENT; TF_E_STATE: the last owner */
	BL_OP_MEMBER_DROP,    /* likewise */
	BL_OP_USERS,          /* arg bl_users; these three in a reading batch */
	BL_OP_MEMBERS,        /* arg bl_members */
	BL_OP_TRAIL,          /* arg bl_trail */
	BL_OP_SUMS,           /* arg bl_sums; in a reading batch */
	BL_OP_REBUILD,        /* no arg: makes the daily sums anew from the ledger, as far back as it reaches */
	BL_OP_BACKUP,         /* arg bl_backup; in a batch aside */
	BL_OP_EXPIRE,         /* arg bl_expire: some rows of the ledger whose time is over */
	BL_OP_SHRINK,         /* arg bl_shrink: gives some free pages back to the file system */
	BL_OP_PAGE,           /* arg bl_page; in a reading batch */
	BL_OP_VERIFY,         /* arg bl_verify: one slice; in a reading batch */
	BL_OP_REBUILD_DAY,    /* arg bl_space_day: makes its sums anew, unless rows of it may have been removed */
};

/* What a BL_OP_USAGE came to (op.result). */
enum bl_usage_result {
	BL_USAGE_NEW,
	BL_USAGE_REPLAY,     /* was there already: nothing changed */
	BL_USAGE_FINAL,      /* replaced what was only known as lost, or provisionally */
	BL_USAGE_UNCHARGED,  /* new, but another attempt of that request is charged already: this one is not */
};

/* Filled by BL_OP_START; freed by bl_start_fini. used: requests and tokens of the last minute window. */
struct bl_start {
	int64_t now_ms;
	int64_t pepper;   /* number of the pepper in use */
	uint64_t epoch, change;
	struct bl_workspace_row *workspaces;
	struct bl_key_row *keys;
	struct bl_secret_row *secrets;
	struct bl_instance_row *instances; /* in session, or gone less than a minute ago */
	struct bl_window_row { /* what was used of a window that may still run */
		struct tf_id workspace, key;
		bool of_key;   /* of the key alone; else of the workspace */
		uint8_t kind;  /* enum bl_window_kind */
		uint64_t window, requests, tokens, money, images, audio_ms;
	} *windows;
	size_t n_workspaces, n_keys, n_secrets, n_instances, n_windows;
};
void bl_start_fini(struct bl_start *s);

/* Newest first. */
struct bl_topups {
	bool of_workspace;
	struct tf_id workspace;
	struct bl_topup_row *v;
	size_t n;
};
void bl_topups_fini(struct bl_topups *t);

/* Newest first. */
struct bl_deployments {
	bool of_workspace;
	struct tf_id workspace;
	struct bl_deployment_row *v;
	size_t n;
};
void bl_deployments_fini(struct bl_deployments *d);

struct bl_users {
	struct bl_user_row *v; /* by name */
	size_t n;
};
void bl_users_fini(struct bl_users *u);

/* Of one workspace, of one user, of both or of all. */
struct bl_members {
	bool of_workspace, of_user;
	struct tf_id workspace;
	struct bl_user_row user; /* found by id, else by name; TF_E_NOENT */
	struct bl_member_row *v; /* by user's name */
	size_t n;
};
void bl_members_fini(struct bl_members *m);

#define BL_TRAIL_MAX 10000
/* Acts, newest first. */
struct bl_trail {
	bool of_workspace;
	struct tf_id workspace;
	int64_t before;      /* only rows with a smaller id */
	int64_t since_ms;
	char action[32];     /* "key mint", or its first word for all of that kind; "": all */
	size_t most;         /* 1 .. BL_TRAIL_MAX */
	struct bl_audit_row *v;
	size_t n;
};
void bl_trail_fini(struct bl_trail *t);

/* Sums over charged attempts that began in [from_ms, to_ms), grouped in each way that is asked for. */
enum bl_by { BL_BY_TOTAL, BL_BY_SURFACE, BL_BY_MODEL, BL_BY_KEY, BL_BY_DAY, BL_BY_WORKSPACE, BL_BY_COUNT };
#define BL_SUMS_MAX 4000 /* groups of one kind; further ones are left out */

struct bl_sum {
	char *group;     /* surface family, model id; NULL for the others. Owned */
	struct tf_id id; /* of the key or workspace */
	int64_t day;     /* days since 1970 */
	uint64_t requests;
	struct bl_tokens tokens;
	struct bl_units units;
	uint64_t cost, unbilled; /* nano-units */
};
struct bl_sums {
	bool all;               /* every workspace */
	struct tf_id workspace;
	int64_t from_ms, to_ms;
	char surface[32];       /* "openai", "anthropic": surfaces of that family; "": all */
	unsigned by;            /* bits 1 << enum bl_by */
	struct bl_sum *v[BL_BY_COUNT]; /* in the order of their groups; TOTAL: none or one */
	size_t n[BL_BY_COUNT];
	bool more[BL_BY_COUNT]; /* groups were left out */
};
void bl_sums_fini(struct bl_sums *s);

/* What is known of a workspace beside its row. sums: asked for as with BL_OP_SUMS; freed by bl_sums_fini. */
struct bl_space_info {
	struct bl_sums sums;
	int64_t members, deployments; /* deployments: live ones */
};

#define BL_DAY_MS INT64_C(86400000)

/* A copy of the database, or the check of one. */
struct bl_backup {
	char path[4000]; /* absolute; of a copy: must not exist */
	bool verify;
	uint64_t bytes;
	int64_t version; /* of its schema */
	bool current;    /* that is ours: its sums were compared with its rows */
	char why[512];   /* what is wrong, when the rc is not 0: TF_E_EXIST, TF_E_NOENT, TF_E_STATE (it is not sound), others */
};

/* Rows of days before day, of all workspaces from at on; sums by day stay. */
struct bl_expire {
	int64_t day;     /* since 1970 */
	struct tf_id at; /* moves on */
	uint64_t most;   /* rows, at least 1 */
	uint64_t removed;
	bool over;       /* there are no more */
};

struct bl_shrink {
	uint64_t keep, pages; /* free pages that stay; most to give back now */
	uint64_t left;        /* beyond keep */
};

#define BL_PAGE_MAX 1000
/* Rows of the ledger that began in [from_ms, to_ms), behind the one named; by workspace, then by beginning. */
struct bl_page {
	bool all;                  /* every workspace */
	struct tf_id workspace;    /* or with all that of the row before; zero: there is none */
	int64_t from_ms, to_ms;
	int64_t after_ms, after_id; /* began_ms and id of the row before; 0, 0: there is none */
	size_t most;               /* 1 .. BL_PAGE_MAX */
	struct bl_ledger_row {
		int64_t id;
		bool charged;
		int64_t gpu_ms, price_gpu_hour; /* of a deployment; else 0 and TF_NO_PRICE */
		struct bl_usage *u;
	} *v;
	size_t n;
};
void bl_page_fini(struct bl_page *p);

/* What the ledger is held against. CHECK(SYM, "name", "what must hold") */
#define BL_CHECKS(CHECK) \
	CHECK(COST, "cost", "each row costs its units at its prices, and no more of it is unbilled than it costs") \
	CHECK(CHARGED, "charged", "a request of which an attempt was served is charged once, another one never") \
	CHECK(SEQUENCE, "sequence", "every record that was acknowledged to a gateway has its row, and one row only") \
	CHECK(DAYS, "days", "the sums by day are the sums of the rows") \
	CHECK(WINDOWS, "windows", "a plan's token window holds what its attempts were charged with") \
	CHECK(BALANCE, "balance", "what is left of prepaid money is what was topped up, less what was charged since")
enum bl_check {
#define CHECK(sym, name, what) BL_CHECK_##sym,
	BL_CHECKS(CHECK)
#undef CHECK
	BL_CHECK_COUNT
};

struct bl_space_day {
	struct tf_id workspace;
	int64_t day;
};

/* A check of everything, in slices: submit it again until it is over. All zero at first; bl_verify_fini. */
struct bl_verify {
	int phase;
	bool over;
	bool mend;          /* stops at a day whose sums are wrong: day says which, and it is looked at again */
	bool stopped;
	int64_t id;         /* the rest is the operation's own, but for at */
	struct bl_space_day at;
	int64_t first_day;  /* rows of days before it may have been removed */
	struct bl_verify_instance {
		int64_t id;
		char name[104];
		uint64_t seq;              /* acknowledged when the check began */
		struct bl_seq_chunk *last; /* of seen */
	} *instances;
	size_t n_instances;
	struct tf_map seen; /* numbers of rows, a bit each */
	struct tf_map strays; /* of windows: days far from them that rows of theirs began on */
	int64_t noted;      /* rows up to this id have been looked at for those */
	struct bl_finding {
		uint64_t looked, wrong;
		uint64_t skipped; /* of days: only their sums are kept */
		char first[200];  /* of those that are wrong; "": none */
	} found[BL_CHECK_COUNT];
};
void bl_verify_fini(struct bl_verify *v);

/*
 * Opens the file, making or migrating it; this blocks. why gets a sentence for the operator.
 * TF_E_EXIST: another process has it; TF_E_STATE: it is newer than this program, or no
 * database of ours; TF_E_IO; TF_E_NOMEM.
 */
int bl_sqlite_open(const char *path, void (*wake)(void *arg), void *wake_arg, struct db_store **out, char *why,
    size_t size) TF_MUSTCHECK;

#endif
