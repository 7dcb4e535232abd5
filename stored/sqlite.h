/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of stored's store in SQLite: what the files schema.c, put.c, get.c and file.c give each
 * other. Only they and their tests include this.
 */
#ifndef ST_SQLITE_H
#define ST_SQLITE_H

#include "common/db/sqlite.h"
#include "stored/store.h"

enum st_stmt {
#define STMT(sym, text) ST_S_##sym,
#define STMT_SCANS(sym, text) ST_S_##sym,
#include "stored/stmt.def"
#undef STMT
#undef STMT_SCANS
	ST_S_COUNT
};
extern const struct db_schema st_schema;

/* Each returns the operation's rc. */
int st_op_put(struct db_lane *lane, struct st_put *p);
int st_op_drop(struct db_lane *lane, struct st_drop *d);
int st_op_expire(struct db_lane *lane, struct st_expire *e);
int st_op_get(struct db_lane *lane, struct st_get *g);
int st_op_sweep(struct db_lane *lane, struct st_sweep *s);
int st_op_totals(struct db_lane *lane, struct st_totals *t);
int st_op_claim(struct db_lane *lane, struct st_claim *c);
int st_op_release(struct db_lane *lane, const struct st_claim *c);
int st_op_backup(struct db_lane *lane, struct st_backup *b);
/* Part of st_op_put: the answer of that claim is there. TF_E_NOENT: the claim does not hold. */
int st_op_claim_done(struct db_lane *lane, const struct st_put *p);
/* Deletes a value that is no response. 1: there was one, which would have expired then; 0: none. */
int st_object_drop(struct db_lane *lane, const struct st_drop *d, int64_t *expires);

/* ---- files: those of a transaction that does not happen go, and those it took the row of go when it did */

struct st_files { /* lane->user */
	struct tf_list made, gone;
	struct tf_list later; /* gone, while a copy was being made that may name them, or a value read */
};
struct st_mark {
	size_t made, gone;
};
/* Writes and syncs a new file; its name without the directory in name. TF_E_FULL, TF_E_IO, TF_E_NOMEM. */
int st_file_make(struct db_lane *lane, const char *dir, struct tf_span bytes, char name[static TF_ID_TEXT + 1]);
/* The row of that file was deleted. TF_E_NOMEM. */
int st_file_gone(struct db_lane *lane, const char *dir, const char *name);
struct st_mark st_file_mark(struct db_lane *lane);
/* The operation that began at the mark has failed. */
void st_file_undo(struct db_lane *lane, struct st_mark mark);
void st_files_settled(struct db_lane *lane, bool committed);
void st_files_fini(void *user);
/*
 * Around a read, which begins before it looks for the row: a file whose row it may have seen is not removed until it
 * is over. Reads are the reading lane's, one after the other. Any thread.
 */
void st_files_read(bool over);
/* While it is above 0, no file is removed. Any thread. */
void st_files_pin(int by);
/* Makes what is in the directory, and that it is there, durable. TF_E_IO. */
int st_dir_sync(const char *dir);
/* Appends [offset, offset + limit) of the file. TF_E_IO, TF_E_NOMEM. */
int st_file_read(const char *dir, const char *name, uint64_t offset, uint64_t limit, struct tf_buf *out);

#endif
