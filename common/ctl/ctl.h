/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/ctl: the operator channel. Every daemon listens on RUN_DIR/NAME.ctl (0660);
 * keyctl and tests talk to it. One JSON line asks, JSON lines answer:
 *
 *   > {"cmd":"key list","args":{"workspace":"main"}}
 *   < {"row":{...}}          any number
 *   < {"end":{"rows":2}}     or {"error":{"code":"not_found","message":"..."}}
 *
 * An end may hold a "remark" for who asked.
 *
 * Then the next request may follow on the same connection. The dispatcher checks the
 * command's row before its function runs: privilege (by the peer's credentials), unknown
 * and missing arguments, their types. Loop thread only; the client half blocks and needs
 * no loop. Knows nothing of what commands do.
 */
#ifndef TF_CTL_H
#define TF_CTL_H

#include "common/base/base.h"
#include "common/json/json.h"

#define CTL_LINE_MAX 65536           /* longest request line, bytes */
#define CTL_ANSWER_MAX (16u << 20)   /* most bytes of one answer that wait for a slow reader */
#define CTL_CONNS_MAX 64             /* open connections of one daemon */
#define CTL_IDLE_MS 60000            /* a connection without a request, or whose reader stands still, is closed */
#define CTL_NAME_MAX 64              /* longest instance name */
#define CTL_ACTS_MAX 256             /* acts that wait until billingd can be told of them; older ones are in the log only */
#define CTL_TELL_MS 5000             /* who asked waits that long for billingd's answer about an act */

/* How a call ends. The number is also keyctl's exit status. */
enum ctl_err {
	CTL_OK = 0,
#define CTL_ERR(sym, number, code, help) CTL_##sym = number,
#include "common/ctl/err.def"
#undef CTL_ERR
};
const char *ctl_err_code(enum ctl_err err); /* "not_found"; "ok" */

/* ---- commands ----------------------------------------------------------------------------- */

enum ctl_priv {
	CTL_READ,  /* root, the daemon's own user, members of group tokenfactory */
	CTL_ADMIN, /* root and the daemon's own user */
	CTL_FELLOW, /* those two, and the users that the packages make for the daemons */
};
enum ctl_type { CTL_STR, CTL_INT, CTL_BOOL, CTL_LIST }; /* CTL_LIST: array of strings */

struct ctl_arg {
	const char *name;
	enum ctl_type type;
	bool required;
	const char *help;
};

struct ctl_req; /* one request; valid until ctl_end or ctl_fail, also when its client has left */
typedef void ctl_fn(void *arg, struct ctl_req *req);

struct ctl_cmd {
	const char *words; /* "key list" */
	ctl_fn *fn;        /* ends the request with ctl_end or ctl_fail, at once or later */
	enum ctl_priv priv;
	const char *help;
	const struct ctl_arg *args;
	size_t nargs;
};

/*
 * Arguments, checked against the row: a member of another type, an unknown one or a missing
 * required one never gets here. Texts hold no NUL, are terminated, and stay until the request ends.
 */
bool ctl_has(const struct ctl_req *req, const char *name);
struct tf_span ctl_str(const struct ctl_req *req, const char *name); /* .p is NULL when absent */
int64_t ctl_int(const struct ctl_req *req, const char *name, int64_t other);
bool ctl_bool(const struct ctl_req *req, const char *name, bool other);
size_t ctl_list_n(const struct ctl_req *req, const char *name);
struct tf_span ctl_list(const struct ctl_req *req, const char *name, size_t i);
/* The command's words: "key list". Static. */
const char *ctl_words(const struct ctl_req *req);
/* Who asks, by the credentials of its socket: "uid 0 (root)", "uid 1234" when the system has no name for it. */
#define CTL_ACTOR_MAX 63
void ctl_actor(const struct ctl_req *req, char out[static CTL_ACTOR_MAX + 1]);

/*
 * What an administrative command did, for the trail. Every CTL_ADMIN command that ends well is one act, unless the command
 * wrote its own row of the trail and says so here.
 */
void ctl_noted(struct ctl_req *req);
#define CTL_SUBJECT_MAX 254
struct ctl_act {
	struct tf_id id;       /* told twice, it is the same one */
	int64_t at_ms;         /* wall clock */
	char actor[CTL_ACTOR_MAX + 1];
	const char *action;    /* the command's words */
	char subject[CTL_SUBJECT_MAX + 1]; /* its first text argument; of the commands that every daemon has: the instance */
	struct tf_span detail; /* JSON object: the daemon, and the other arguments */
};
/* The end of a request whose act was given to ctl_options.record; not_recorded: NULL, or why the trail has no row of it. */
void ctl_recorded(struct ctl_req *req, const char *not_recorded);

/* A row: members go into the writer that ctl_row gives; ctl_row_end sends it. One at a time. An answer that
 * outgrows CTL_ANSWER_MAX or the memory ends in an error instead. */
struct js_w *ctl_row(struct ctl_req *req);
void ctl_row_end(struct ctl_req *req);
/* Exactly one of the two ends the request. */
void ctl_end(struct ctl_req *req);
void ctl_fail(struct ctl_req *req, enum ctl_err err, const char *fmt, ...) TF_PRINTF(3, 4);

/* ---- the server --------------------------------------------------------------------------- */

struct conf;
struct conf_row;
struct ev_loop;
struct ctl;

struct ctl_options {
	const char *run_dir; /* existing directory */
	const char *name;    /* instance name: RUN_DIR/NAME.ctl */
	const char *daemon;  /* "gatewayd": whose metrics, and in the version row */
	const char *wire;    /* versions of the wire spoken, for the version row: "1.0"; NULL: none */
	const struct conf *(*conf)(void *arg); /* current configuration; NULL: no "config show" */
	void *arg;           /* given to conf and to every command */
	const struct ctl_cmd *cmds; /* static; besides: commands, config show, log, metrics, ping, version */
	size_t ncmds;
	/* Writes a row of the trail, then calls ctl_recorded, once; a->... is borrowed. NULL: there is no trail here. */
	void (*record)(void *arg, struct ctl_req *req, const struct ctl_act *a);
	bool tell; /* the trail is billingd's, which is told through its socket in run_dir; instead of record */
};
/*
 * Binds and serves. Takes RUN_DIR/NAME.ctl.lock first, so a second instance gets TF_E_EXIST and
 * the running one keeps its socket. TF_E_IO, TF_E_NOMEM, TF_E_INVAL (path too long). Copies opt.
 */
int ctl_open(struct ev_loop *loop, const struct ctl_options *opt, struct ctl **out) TF_MUSTCHECK;
/*
 * Closes everything and unlinks the socket. Requests still open stay valid and answer nobody;
 * whoever holds one still ends it. NULL is fine.
 */
void ctl_close(struct ctl **ctl);
/* Writes the members of a "config show" row: section, key, value, source, applies. */
void ctl_write_option(struct js_w *w, const struct conf_row *row);

/* ---- the client --------------------------------------------------------------------------- */

/* One row, a JSON object; valid during the call. Non-zero stops the call with CTL_FAILED. */
typedef int ctl_row_fn(void *arg, struct tf_span row);

/*
 * Asks the daemon behind the socket and waits for the end of its answer. args: a JSON object;
 * empty for none. fn may be NULL. message (size bytes) gets the reason when it is not CTL_OK, and else what the
 * daemon remarks about what it did, which is mostly nothing. timeout_ms bounds each wait for the daemon.
 */
struct ctl_call {
	const char *path;
	const char *cmd;
	struct tf_span args;
	unsigned timeout_ms;
	ctl_row_fn *fn;
	void *arg;
};
enum ctl_err ctl_ask(const struct ctl_call *call, char *message, size_t size) TF_MUSTCHECK;
/* RUN_DIR/NAME.ctl. TF_E_RANGE when it does not fit a socket address. */
int ctl_path(const char *run_dir, const char *name, char *out, size_t size) TF_MUSTCHECK;

#endif
