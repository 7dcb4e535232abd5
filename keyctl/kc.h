/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyctl: the operator's command line. It turns words into one control request, or a
 * few, and rows into a table or JSON. It knows the daemons only by cmd.def and their
 * control sockets: no database, no wire protocol. main.c and the tests call kc_main.
 */
#ifndef TF_KC_H
#define TF_KC_H

#include <stdio.h>

#include "common/conf/conf.h"
#include "common/ctl/ctl.h"

/* ---- the table ---------------------------------------------------------------------------- */

enum kc_kind { KC_CMD, KC_POS, KC_OPT, KC_COL, KC_SLOW, KC_END };
enum kc_target { KC_LOCAL, KC_BILLINGD, KC_ROUTERD, KC_GATEWAYD, KC_STORED, KC_DAEMON };
enum kc_output { KC_ROWS, KC_ONE, KC_KEY };
enum kc_type { KC_TEXT, KC_PATH, KC_CHOICE, KC_MANY, KC_FLAG, KC_SPAN, KC_UNTIL, KC_SINCE, KC_COUNT, KC_NUMBER, KC_MONEY, KC_FILE };
enum kc_form { KC_AS_TEXT, KC_AS_NUM, KC_AS_SOME, KC_AS_TIME, KC_AS_LIST };
enum { KC_IS_OPT, KC_IS_REQ };

/* One line of cmd.def. A command is its KC_CMD line and those behind it up to KC_END. */
struct kc_line {
	enum kc_kind kind;
	const char *name; /* words, argument or row member */
	int what;         /* target, type or form */
	int rule;         /* privilege; KC_IS_REQ or KC_IS_OPT */
	enum kc_output output;
	const char *meta; /* METAVAR or HEADING */
	const char *help;
};
extern const struct kc_line kc_table[];
extern const size_t kc_ntable;
#define KC_EACH_CMD(c) \
	for ((c) = kc_table; (c) < kc_table + kc_ntable; (c)++) \
		if ((c)->kind == KC_CMD)
#define KC_EACH(c, l) for ((l) = (c) + 1; (l)->kind != KC_END; (l)++)

/* ---- one run ------------------------------------------------------------------------------ */

struct kc_rows {
	char **v; /* JSON objects */
	size_t n;
	uint32_t cap;
};

struct kc {
	FILE *out, *err;
	const struct kc_line *cmd;
	const char *conf_path; /* -c, or NULL */
	const char *run_dir;   /* --run-dir, or NULL */
	bool json;
	const char *daemon;    /* of KC_DAEMON commands and "config show --daemon" */
	struct conf *conf;     /* loaded when the sockets are looked for; may stay NULL */
	struct tf_buf args;    /* JSON object for the request */
	struct kc_rows rows;
};

/* The whole program: returns the exit status (enum ctl_err). */
int kc_main(int argc, char **argv, FILE *out, FILE *err);

/* "keyctl: ..." on err; returns status. */
int kc_fail(struct kc *k, int status, const char *fmt, ...) TF_PRINTF(3, 4);
#define KC_TIMEOUT_MS 30000
#define KC_SLOW_MS 604800000 /* of commands that may take hours */

/* args.c: the words behind the command -> kc->args. 0 or CTL_USAGE (said). */
int kc_take_args(struct kc *k, int argc, char **argv);
/* Seconds of "90s", "12h"; TF_E_INVAL. Seconds since 1970 of a span before or from now, or of a date. */
int kc_parse_span(const char *text, int64_t *out) TF_MUSTCHECK;
int kc_parse_since(const char *text, int64_t now, int64_t *out) TF_MUSTCHECK;
int kc_parse_until(const char *text, int64_t now, int64_t *out) TF_MUSTCHECK;

/* ask.c: sockets. Rows are appended to rows. 0 or an enum ctl_err (message filled, not said). */
int kc_ask(struct kc *k, const char *instance, const char *cmd, struct kc_rows *rows, char *message, size_t size);
/* The directory of the sockets; loads the configuration when it must. NULL: said. */
const char *kc_run_dir(struct kc *k);
/* The configuration named with -c or the system's. 0 or CTL_FAILED (said). */
int kc_load_conf(struct kc *k);
const char *kc_conf_path(const struct kc *k);
int kc_rows_add(struct kc_rows *rows, struct tf_span json) TF_MUSTCHECK;
void kc_rows_free(struct kc_rows *rows);

/* daemons.c: those that are expected, of the file when it is at hand; then whatever has a socket. */
struct kc_names {
	char (*v)[CTL_NAME_MAX + 1];
	size_t n;
};
/* Loads the configuration when it must. 0, or CTL_FAILED (said). */
int kc_daemons(struct kc *k, struct kc_names *a) TF_MUSTCHECK;
void kc_names_free(struct kc_names *a);

/* show.c */
void kc_show(struct kc *k);
/* One cell as text, safe for a terminal. Appends. */
void kc_cell(struct tf_buf *out, enum kc_form form, struct tf_span value);
/* A table of texts: rows * ncols cells, the first row is the heading; nums[c]: right aligned. */
void kc_grid(FILE *out, char *const *cells, size_t rows, size_t ncols, const bool *nums);

/* local.c: commands that keyctl does itself; the exit status. */
int kc_local(struct kc *k);
/* status.c */
int kc_status(struct kc *k);
/* ledger.c: "ledger verify", "ledger rebuild". */
int kc_ledger(struct kc *k);
/* export.c: "usage export". */
int kc_export(struct kc *k);
/* metrics.c: "metrics". */
int kc_metrics(struct kc *k);
/* models.c: "model list". */
int kc_models(struct kc *k);

/* help.c */
void kc_help(FILE *out);
void kc_help_cmd(FILE *out, const struct kc_line *cmd);
void kc_completion(FILE *out);

#endif
