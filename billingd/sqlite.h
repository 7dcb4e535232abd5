/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the SQLite store: one connection with its thread, its queue and its prepared
 * statements (a lane), and what the files sqlite.c, migrate.c, ops.c, ledger_ops.c and sums.c give each other. Only
 * they and their tests include this.
 */
#ifndef BL_SQLITE_H
#define BL_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "billingd/store.h"

enum bl_stmt {
#define STMT(sym, text) BL_S_##sym,
#define STMT_SCANS(sym, text) BL_S_##sym,
#include "billingd/stmt.def"
#undef STMT
#undef STMT_SCANS
	BL_S_COUNT
};
const char *bl_stmt_text(enum bl_stmt s);
bool bl_stmt_scans(enum bl_stmt s);

struct bl_lane {
	sqlite3 *db;
	sqlite3_stmt *stmt[BL_S_COUNT];
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct tf_list queue; /* batches; under lock */
	bool stop;            /* under lock */
	struct bl_sqlite *store;
	struct tf_map days;   /* daily sums of the batch that is carried out, struct bl_day */
};

struct bl_sqlite {
	struct bl_store base;
	struct bl_lane writer, reader;
	int lockfd;
};

/* ---- migrations --------------------------------------------------------------------------- */

struct bl_migration {
	int number; /* from 1 without gaps */
	const char *name;
	const char *text;
};
extern const struct bl_migration bl_migrations[];
extern const size_t bl_n_migrations;
/*
 * Brings db to the last of these, each in a transaction of its own. One that holds data is
 * copied to PATH.before-N.TIME first. Errors and why as bl_sqlite_open.
 */
int bl_migrate(sqlite3 *db, const char *path, const struct bl_migration *m, size_t n, char *why,
    size_t size) TF_MUSTCHECK;

/* ---- statements: a query is bound left to right, stepped, and reset when it is over --------- */

struct bl_q {
	struct bl_lane *lane;
	sqlite3_stmt *stmt;
	int at; /* next parameter or column */
	int rc; /* sticky error of binding */
};
/* A statement that is not prepared yet is prepared; the error comes from the step. */
struct bl_q bl_q(struct bl_lane *lane, enum bl_stmt s);
void bl_q_int(struct bl_q *q, int64_t v);
void bl_q_time(struct bl_q *q, int64_t ms); /* BL_NEVER_MS: null */
void bl_q_blob(struct bl_q *q, const void *p, size_t n);
void bl_q_id(struct bl_q *q, const struct tf_id *id);
void bl_q_text(struct bl_q *q, struct tf_span s); /* empty: null */
void bl_q_str(struct bl_q *q, const char *s);
void bl_q_null(struct bl_q *q);
/* 1: a row; 0: no more, the statement is reset; negative TF_E_*, reset too. */
int bl_q_step(struct bl_q *q);
/* Runs to the end; 0 or TF_E_*. */
int bl_q_run(struct bl_q *q);
/* Ends it before its last row. */
void bl_q_end(struct bl_q *q);
/* Columns of the row, left to right. Copies are cut to size. */
int64_t bl_q_col_int(struct bl_q *q);
int64_t bl_q_col_time(struct bl_q *q);
void bl_q_col_blob(struct bl_q *q, void *out, size_t n);
void bl_q_col_text(struct bl_q *q, char *out, size_t size);
char *bl_q_col_dup(struct bl_q *q); /* new, or NULL: no memory */
/* What an error of SQLite is to us. */
int bl_sqlite_err(int rc);

/* ---- operations: each sets op->result, returns op->rc ---------------------------------------- */

int bl_op_run(struct bl_lane *lane, struct bl_op *op);
int bl_op_start(struct bl_lane *lane, struct bl_start *s);
int bl_op_usage(struct bl_lane *lane, const struct bl_usage *u, int *result);
int bl_op_sums(struct bl_lane *lane, struct bl_sums *s);
/* Adds what the usage of a batch came to to the daily sums; days_drop forgets it. */
int bl_days_flush(struct bl_lane *lane);
void bl_days_drop(struct bl_lane *lane);

#endif
