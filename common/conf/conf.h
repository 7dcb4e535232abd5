/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/conf: tokenfactory.conf as one immutable value. Everything derives from
 * conf.def: struct conf, the parser's rows, defaults, ranges, dump, diff. Knows
 * nothing of what a daemon does with an option. common/daemon loads and swaps it;
 * keyctl loads it to find the sockets. A loaded conf is never changed, so threads
 * may read it together.
 */
#ifndef TF_CONF_H
#define TF_CONF_H

#include "common/base/base.h"

/* ---- values ------------------------------------------------------------------------------- */

enum conf_flag { CONF_RELOAD = 1, CONF_RESTART = 2, CONF_REQUIRED = 4 };
enum conf_type {
	CONF_BOOL, CONF_INT, CONF_SIZE, CONF_MS, CONF_STR, CONF_PATH, CONF_SECRET, CONF_ENUM, CONF_ADDRS,
	CONF_LIST, CONF_MONEY
};

struct conf_list {
	const char *const *v;
	size_t n;
};
/* Where to listen. unix_path is set, or host and port are. */
struct conf_addr {
	const char *text;      /* as it was written */
	const char *host;      /* name or numeric address without brackets; "" for "*": every address */
	uint16_t port;         /* 0: the system picks one */
	const char *unix_path; /* NULL for TCP */
};
struct conf_addrs {
	const struct conf_addr *v;
	size_t n;
};

/* What each type of conf.def is in C. Unset texts are NULL. An ENUM is always one of its choices. */
typedef bool conf_c_BOOL;
typedef int64_t conf_c_INT;
typedef uint64_t conf_c_SIZE; /* bytes */
typedef uint64_t conf_c_MS;   /* milliseconds */
typedef const char *conf_c_STR;
typedef const char *conf_c_PATH; /* absolute */
typedef const char *conf_c_SECRET; /* absolute path of the file with the secret; see conf_read_secret */
typedef const char *conf_c_ENUM;
typedef struct conf_addrs conf_c_ADDRS;
typedef struct conf_list conf_c_LIST;
typedef int64_t conf_c_MONEY; /* nano-units, or CONF_NO_AMOUNT */
#define CONF_NO_AMOUNT INT64_C(-1)

/* ---- struct conf: conf->gatewayd.body_max, conf->worker[i].slots, conf->worker_n ------------- */

#define CONF_NAME_ONE
#define CONF_NAME_MANY const char *name; /* from [section NAME] */
#define CONF_BEGIN(section, many, about) struct conf_##section { CONF_NAME_##many
#define CONF(section, field, type, def, min, max, flags, help) conf_c_##type field;
#define CONF_END(section) };
#include "common/conf/conf.def"
#undef CONF_BEGIN
#undef CONF
#undef CONF_END

struct conf_index; /* look-up tables, row sources and memory; conf.c's own */

#define CONF_HOLD_ONE(section) struct conf_##section section;
#define CONF_HOLD_MANY(section) const struct conf_##section *section; size_t section##_n;
#define CONF_BEGIN(section, many, about) CONF_HOLD_##many(section)
#define CONF(section, field, type, def, min, max, flags, help)
#define CONF_END(section)
struct conf {
#include "common/conf/conf.def"
	struct conf_index *index;
};
#undef CONF_BEGIN
#undef CONF
#undef CONF_END

/* ---- loading ------------------------------------------------------------------------------ */

#define CONF_ERRORS_MAX 20

/* "file:line: [section] key: reason" each; further ones are only counted. */
struct conf_errors {
	char *v[CONF_ERRORS_MAX];
	size_t n;
	size_t more;
};
void conf_errors_free(struct conf_errors *e);

/*
 * Reads path and then conf.d/ *.conf beside it in byte order; a key in a later file
 * replaces that of an earlier one. Returns new in *out (conf_free). errors must be all
 * zero; it is filled (and *out is NULL) for TF_E_INVAL: bad content, TF_E_IO: a file
 * cannot be read, TF_E_NOMEM.
 */
int conf_load(const char *path, struct conf **out, struct conf_errors *errors) TF_MUSTCHECK;

struct conf_text {
	const char *file;    /* name for messages and sources, copied */
	struct tf_span text; /* borrowed for the call */
};
/* The same from memory: texts in their order, no file is touched. */
int conf_parse(const struct conf_text *texts, size_t n, struct conf **out, struct conf_errors *errors) TF_MUSTCHECK;
void conf_free(struct conf **conf);

/*
 * The secret in a file, without one newline at its end; replaces what out held (wiped). The
 * file must be regular, not readable by others, 1 to max bytes. what (size bytes) gets the
 * reason for the operator: TF_E_IO, TF_E_INVAL, TF_E_NOMEM. Callers wipe out after use.
 */
int conf_read_secret(const char *path, size_t max, struct tf_buf *out, char *what, size_t size) TF_MUSTCHECK;

/*
 * What another file holds that an option names; replaces what out held. The file must be regular,
 * 1 to max bytes. Errors and what as conf_read_secret.
 */
int conf_read_file(const char *path, size_t max, struct tf_buf *out, char *what, size_t size) TF_MUSTCHECK;

/* ---- looking up --------------------------------------------------------------------------- */

/* Whose names count: ids and `aliases` for both, beside them the aliases of one API. */
enum conf_side { CONF_SIDE_OPENAI, CONF_SIDE_ANTHROPIC, CONF_SIDES };
/*
 * By id or alias, then by the longest alias that ends in '*', then by id or alias without
 * regard to case when only one model fits. NULL when unknown. Borrowed. The first two are
 * one hash look-up together.
 */
const struct conf_model *conf_find_model(const struct conf *conf, enum conf_side side, struct tf_span name);
/* By exact id. NULL when unknown. */
const struct conf_model *conf_find_model_id(const struct conf *conf, struct tf_span id);
/* By exact name. Built-in plans are in conf->plan like written ones. NULL when unknown. */
const struct conf_plan *conf_find_plan(const struct conf *conf, struct tf_span name);
const struct conf_worker *conf_find_worker(const struct conf *conf, struct tf_span name);

/*
 * The i-th entry of worker->models: its catalogue row, and in theirs (may be NULL) the model's
 * name at the runtime. Never NULL for a loaded conf. Borrowed.
 */
const struct conf_model *conf_worker_model(const struct conf *conf, const struct conf_worker *worker, size_t i,
    struct tf_span *theirs);

/*
 * Nano-units of an image of that size and quality, as a request names them; empty: it does not. An entry of
 * price-image-sizes with both goes before one with the size alone; else price-image. CONF_NO_AMOUNT: it is free.
 */
int64_t conf_image_price(const struct conf_model *model, struct tf_span size, struct tf_span quality);
/* Entry i of price-image-sizes of a loaded conf: what stands before "=", borrowed, and nano-units. */
int64_t conf_image_size(const struct conf_model *model, size_t i, struct tf_span *what);

/* ---- showing ------------------------------------------------------------------------------ */

struct conf_row {
	const char *section; /* as in the file: "gatewayd", "model ID" */
	const char *key;     /* as in the file: "body-max" */
	const char *value;   /* as it was written, or the default; "" is unset. Secrets: their path */
	const char *file;    /* NULL for a default */
	unsigned line;       /* 0 for a default */
	bool reloadable;     /* SIGHUP applies it */
	const char *help;
};
/* Every effective row, in the order of conf.def, named sections in the order of the file. *pos starts at 0. */
bool conf_row_next(const struct conf *conf, size_t *pos, struct conf_row *out);
/* Appends a file that loads to the same values; defaults are comments unless all is set. */
int conf_dump(const struct conf *conf, bool all, struct tf_buf *out);

/* Called with each row that differs, and whether only a restart applies it. before or after is NULL for a named
 * section that came or went. */
typedef void conf_diff_fn(void *arg, const struct conf_row *before, const struct conf_row *after, bool restart);
/* Returns the number of differing rows that need a restart. fn may be NULL. */
size_t conf_diff(const struct conf *before, const struct conf *after, conf_diff_fn *fn, void *arg);

#endif
