/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what stored keeps, as operations on the asynchronous interface of common/db. Each
 * of them names one workspace and never sees another one's rows. Only the files that include
 * stored/sqlite.h know SQL. Knows nothing of sockets or messages.
 */
#ifndef ST_STORE_H
#define ST_STORE_H

#include "common/db/db.h"
#include "common/wire/wire.h"

#define ST_NAME_MAX 256  /* bytes of a value's, response's or item's name */
#define ST_TYPE_MAX 128  /* bytes of a content type */
#define ST_CHAIN_MAX 4096 /* responses that one can go back */

enum st_op_kind {
	ST_OP_PUT,    /* arg st_put */
	ST_OP_GET,    /* arg st_get; in a reading batch */
	ST_OP_DROP,   /* arg st_drop */
	ST_OP_EXPIRE, /* arg st_expire */
	ST_OP_SWEEP,  /* arg st_sweep: at the start, when nothing else is under way */
	ST_OP_TOTALS, /* arg st_totals; in a reading batch */
	ST_OP_CLAIM,  /* arg st_claim */
	ST_OP_RELEASE, /* arg st_claim: workspace, name and claim */
	ST_OP_BACKUP, /* arg st_backup; in a batch that is aside */
};

/* An item of a response. Borrowed by the operation. */
struct st_item {
	struct tf_span id;   /* without quotes */
	struct tf_span json;
	bool output;
};

/*
 * Keeps a value; one of the same name is replaced. When the workspace then keeps more than
 * space_max of this kind, what would expire first goes. TF_E_RANGE: larger than space_max alone.
 */
struct st_put {
	unsigned kind;         /* enum wire_kind, not ITEM */
	struct tf_id workspace;
	char name[ST_NAME_MAX + 1];
	char type[ST_TYPE_MAX + 1]; /* "": none */
	int64_t now_ms, expires_ms; /* since 1970 */
	uint64_t space_max;    /* bytes */
	const char *dir;       /* where files go */
	uint64_t file_min;     /* bytes from which on a value is a file */
	struct tf_span bytes;  /* the value; of a response its object. Borrowed */
	struct tf_span previous; /* of a response: id of the one it continues; empty: none */
	const struct st_item *items; /* of a response: input, then output */
	size_t n_items;
	bool claimed;          /* kind ANSWER: it completes a claim; TF_E_NOENT when that does not hold any more */
	struct tf_id claim;
	uint64_t evicted;      /* out: values that had to go */
};

/*
 * TF_E_NOENT: not there, expired or another workspace's; missing is its name. TF_E_RANGE: more than
 * limit, or a chain that is too long. TF_E_INVAL: no item `after` in this response. TF_E_IO: its file is gone.
 * Of a list those that are not there, and those beyond limit, are left out; TF_E_NOENT: nothing is left.
 */
struct st_get {
	unsigned kind;       /* enum wire_kind */
	unsigned view;       /* enum wire_view, of responses */
	bool anywhere;       /* whatever the workspace */
	struct tf_id workspace;
	struct tf_buf names; /* entries of an R field */
	struct wire_rep name; /* over names */
	int64_t now_ms;
	const char *dir;     /* where files are */
	uint64_t offset, limit; /* bytes; limit 0: no limit */
	char after[ST_NAME_MAX + 1];
	uint64_t count;      /* items */
	bool ascending;
	/* out; freed by st_get_fini */
	struct tf_buf bytes; /* the value from offset on; of a chain and of items a JSON array */
	uint64_t total;      /* bytes of the whole value */
	char type[ST_TYPE_MAX + 1];
	char missing[ST_NAME_MAX + 1];
};
void st_get_fini(struct st_get *g);

struct st_drop { /* TF_E_NOENT as above */
	unsigned kind;
	struct tf_id workspace;
	char name[ST_NAME_MAX + 1];
	const char *dir;
	int64_t now_ms;
};

/*
 * Who runs the request of this name? Nobody: the caller, from now on. The caller already, or one who is
 * said to be lost: the caller, as the request that it is. A claim that runs does not expire while its owner may live.
 */
struct st_claim {
	struct tf_id workspace;
	char name[ST_NAME_MAX + 1];
	uint8_t body[TF_SHA256];
	struct tf_id claim;     /* of this asking; the same when it is repeated */
	struct tf_id request;   /* to run under */
	char owner[WIRE_NAME_MAX + 1]; /* who asks */
	uint64_t boot;
	bool lost;              /* the owner of lost_claim is: it may be taken over */
	struct tf_id lost_claim;
	int64_t now_ms, expires_ms;
	const char *dir;
	enum wire_claim_state state; /* out */
	struct {                /* out: what there is */
		struct tf_id request, claim;
		char owner[WIRE_NAME_MAX + 1];
		uint64_t boot, turn;
	} is;
};

#define ST_KEEP_PAGES 1024 /* free pages that the file keeps, for what comes next */
#define ST_BACK_PAGES 128  /* given back in one step */
struct st_expire {
	int64_t now_ms;
	unsigned limit;   /* rows of each sort */
	uint64_t bytes;   /* of responses; one is removed in any case */
	const char *dir;
	uint64_t removed; /* out */
	bool more;        /* out: there may be more to remove now, or free pages to give back */
};

/* Removes files that no row names, which a crash may have left. */
struct st_sweep {
	const char *dir;
	uint64_t files, removed; /* out */
};

/*
 * A copy of all that is kept, or the check of one: a directory of its own with the database and the files that its rows
 * name. As db_copy and db_inspect: TF_E_EXIST, TF_E_NOENT, TF_E_STATE: it is not whole; TF_E_IO, TF_E_NOMEM.
 */
#define ST_COPY_DATABASE "stored.db"
#define ST_COPY_BLOBS "blobs"
struct st_backup {
	bool verify;
	char path[4096 - 256]; /* of the copy; new, or there when it is verified */
	const char *dir;       /* where files are */
	/* out */
	uint64_t bytes, files; /* of all of it; of the large values */
	int64_t version;       /* of the schema */
	char why[512];         /* of an error, for the operator */
};

struct st_totals {
	uint64_t responses, values, bytes, spaces; /* out; spaces: workspaces that keep anything */
};

/*
 * Opens the file, making or migrating it; this blocks. why gets a sentence for the operator.
 * TF_E_EXIST: another process has it; TF_E_STATE: it is newer than this program, or no
 * database of ours; TF_E_IO; TF_E_NOMEM.
 */
int st_sqlite_open(const char *path, void (*wake)(void *arg), void *wake_arg, struct db_store **out, char *why,
    size_t size) TF_MUSTCHECK;

/* ---- responses as they arrive ---------------------------------------------------------------- */

/*
 * {"input":TEXT OR ITEMS,"response":OBJECT}: what a gateway puts for a response. Read into rows: every
 * item has an id and a type, a message's content is a list of parts (as the Responses API lists
 * them). Spans point into text or into made.
 */
struct st_response {
	struct tf_span object, id, previous;
	struct st_item *items;
	size_t n_items;
	struct tf_buf made;  /* items that were changed */
	struct tf_buf ids;   /* ids with their escapes undone */
};
#define ST_ITEMS_MAX 100000 /* of one response */
/* TF_E_INVAL: no such text; TF_E_FULL: too many values or items; TF_E_NOMEM. Freed by st_response_fini also then. */
int st_response_read(struct tf_span text, struct st_response *r) TF_MUSTCHECK;
void st_response_fini(struct st_response *r);

#endif
