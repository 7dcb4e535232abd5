/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in SQLite: a writing and a reading connection, each with its thread, its queue and
 * its prepared statements (a lane), and one more for what takes long. The daemon gives its schema: migrations, statements and
 * the function that carries out an operation. Only billingd and stored use it, each on
 * a file of its own.
 */
#ifndef TF_DB_SQLITE_H
#define TF_DB_SQLITE_H

#include <sqlite3.h>

#include "common/db/db.h"

struct db_lane;

enum db_tx { DB_TX_READ, DB_TX_BEGIN, DB_TX_COMMIT, DB_TX_ROLLBACK, DB_TX_SAVE, DB_TX_RELEASE, DB_TX_UNDO, DB_TX_COUNT };

struct db_migration {
	int number; /* from 1 without gaps */
	const char *name;
	const char *text;
};

/* A statement that runs after the start; prepared once per connection. */
struct db_stmt {
	const char *text;
	bool scans; /* may read a whole table: tests ask the planner about the others */
};

struct db_schema {
	const char *owner;    /* the daemon, for messages */
	int32_t application_id;
	const struct db_migration *migrations;
	size_t n_migrations;
	const struct db_stmt *stmts;
	size_t n_stmts;
	const char *pragmas;  /* for the writing connection, beside our own; NULL none */
	/* Makes the SQL functions of its statements on a connection; user: its lane's. SQLite's own code. May be NULL. */
	int (*functions)(sqlite3 *db, void *user);
	size_t user_size;     /* bytes of lane->user, zero at first */
	/* Carries out one operation on the store's thread: sets op->result, returns op->rc. */
	int (*run)(struct db_lane *lane, struct db_op *op);
	/*
	 * Carries out as many of the first of these as it can do better together, as run would, and returns how many;
	 * 0: none. Behind one that is fatal it does nothing more. Only of lenient batches. May be NULL.
	 */
	int (*run_some)(struct db_lane *lane, struct db_op *ops, size_t n);
	/* Behind the last operation of a batch that goes well: 0, or an error that voids the transaction. May be NULL. */
	int (*flush)(struct db_lane *lane);
	/* A batch is over, or is undone: forget what was gathered for it. May be NULL. */
	void (*drop)(struct db_lane *lane);
	/* The transaction is over; committed: durable. May be NULL. */
	void (*settled)(struct db_lane *lane, bool committed);
	/* Frees what user holds. May be NULL. */
	void (*fini)(void *user);
};

struct db_lane {
	sqlite3 *db;
	sqlite3_stmt **stmt; /* schema->n_stmts; NULL until used */
	sqlite3_stmt *tx[DB_TX_COUNT];
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool reads;           /* its connection does not write */
	struct tf_list queue; /* batches; under lock */
	bool stop;            /* under lock */
	struct db_sqlite *store;
	void *user;           /* schema->user_size bytes */
};

struct db_sqlite {
	struct db_store base;
	const struct db_schema *schema; /* borrowed */
	struct db_lane writer, reader, aside;
	int lockfd;
};

struct db_file {
	const char *path;
	const struct db_schema *schema; /* borrowed */
	void (*wake)(void *arg);        /* see struct db_store */
	void *wake_arg;
};
/*
 * Opens the file, making or migrating it; this blocks. why gets a sentence for
 * the operator. TF_E_EXIST: another process has it; TF_E_STATE: it is newer than this program, or
 * no database of ours; TF_E_IO; TF_E_NOMEM.
 */
int db_sqlite_open(const struct db_file *file, struct db_store **out, char *why, size_t size) TF_MUSTCHECK;
/*
 * Brings db to the last migration, each in a transaction of its own. One that holds data is
 * copied to PATH.before-N.TIME first. Errors and why as above.
 */
int db_migrate(sqlite3 *db, const char *path, const struct db_schema *schema, char *why, size_t size) TF_MUSTCHECK;

/* ---- what takes long: for operations of the aside lane ---------------------------------------- */

/* Is the store to end? Then what takes long breaks off. */
bool db_lane_stops(struct db_lane *lane);

struct db_copied {
	uint64_t bytes;
	int64_t version; /* of the schema */
	bool current;    /* that is the newest one */
};
/*
 * Copies the database to path, as it was when the copy began, while it is written on; checks the copy, and only
 * then gives it its name. 0600. TF_E_EXIST: path or path.partial is there; other TF_E_*: nothing is left behind.
 * why gets a sentence for the operator.
 */
int db_copy(struct db_lane *lane, const char *path, struct db_copied *out, char *why, size_t size) TF_MUSTCHECK;
/* More that is to be checked of a file; 0, or an error with a sentence in why. */
typedef int db_inspect_fn(sqlite3 *db, struct db_copied *out, char *why, size_t size);
/*
 * Is the file a whole database of ours? Opens it for reading only. TF_E_NOENT; TF_E_STATE: no, why says what is wrong;
 * TF_E_IO, TF_E_NOMEM. more may be NULL.
 */
int db_inspect(struct db_lane *lane, const char *path, struct db_copied *out, db_inspect_fn *more, char *why,
    size_t size) TF_MUSTCHECK;
/* First column of the first row; 0 without one. Returns SQLite's own code, SQLITE_OK when it went well. */
int db_look_int(sqlite3 *db, const char *sql, int64_t *out);
/*
 * On the writing lane: gives at most that many free pages beyond keep back to the file system. *left: those beyond
 * keep that are left. A file that was made without this ability keeps its pages. 0 or TF_E_*.
 */
int db_give_back(struct db_lane *lane, uint64_t keep, uint64_t pages, uint64_t *left) TF_MUSTCHECK;

/* ---- statements: a query is bound left to right, stepped, and reset when it is over --------- */

struct db_q {
	struct db_lane *lane;
	sqlite3_stmt *stmt;
	int at; /* next parameter or column */
	int rc; /* sticky error of binding */
};
/* s: index in schema->stmts. One that is not prepared yet is prepared; the error comes from the step. */
struct db_q db_q(struct db_lane *lane, int s);
void db_q_int(struct db_q *q, int64_t v);
void db_q_time(struct db_q *q, int64_t ms); /* DB_NEVER_MS: null */
void db_q_blob(struct db_q *q, const void *p, size_t n);
void db_q_id(struct db_q *q, const struct tf_id *id);
void db_q_text(struct db_q *q, struct tf_span s); /* empty: null */
void db_q_str(struct db_q *q, const char *s);
void db_q_null(struct db_q *q);
/* 1: a row; 0: no more, the statement is reset; negative TF_E_*, reset too. */
int db_q_step(struct db_q *q);
/* Runs to the end; 0 or TF_E_*. */
int db_q_run(struct db_q *q);
/* Ends it before its last row. */
void db_q_end(struct db_q *q);
/* Columns of the row, left to right. Copies are cut to size. */
int64_t db_q_col_int(struct db_q *q);
int64_t db_q_col_time(struct db_q *q);
void db_q_col_blob(struct db_q *q, void *out, size_t n);
void db_q_col_text(struct db_q *q, char *out, size_t size);
char *db_q_col_dup(struct db_q *q); /* new, or NULL: no memory */
/* Borrowed until the next step; empty for null. Of a text or a blob. */
struct tf_span db_q_col_span(struct db_q *q);
/* What an error of SQLite is to us. */
int db_err(int rc);
/* Trouble of the file or the disk, a TF_E_*: it voids the transaction, concerns every batch in it, and may pass. */
bool db_fatal(int rc);

#endif
