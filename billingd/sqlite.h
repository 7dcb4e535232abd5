/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of billingd's store in SQLite: its schema, and what the files schema.c, ops.c, ledger_ops.c and
 * sums.c give each other. Only they and their tests include this.
 */
#ifndef BL_SQLITE_H
#define BL_SQLITE_H

#include "billingd/store.h"
#include "common/db/sqlite.h"

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

extern const struct db_schema bl_schema;

/* ---- operations: each sets op->result, returns op->rc ---------------------------------------- */

int bl_op_run(struct db_lane *lane, struct db_op *op);
int bl_op_start(struct db_lane *lane, struct bl_start *s);
int bl_op_usage(struct db_lane *lane, struct bl_usage *u, int *result);
#define BL_LEDGER_ROWS 8 /* that one statement inserts */
/* Carries out the first BL_LEDGER_ROWS of ops and returns that, or 0: it is not for it. */
int bl_op_usages(struct db_lane *lane, struct db_op *ops, size_t n);
int bl_op_sums(struct db_lane *lane, struct bl_sums *s);
int bl_sums_functions(sqlite3 *db, void *user);
/* space_ops.c: what bounds workspaces, and top-ups. */
int bl_op_spaces(struct db_lane *lane, struct db_op *op);
void bl_bind_opt(struct db_q *q, struct bl_opt v);
/* deploy_ops.c */
int bl_op_deployments(struct db_lane *lane, struct db_op *op);
/* backup_ops.c */
int bl_op_backup(struct db_lane *lane, struct bl_backup *b);
int bl_op_expire(struct db_lane *lane, struct bl_expire *e);
int bl_op_shrink(struct db_lane *lane, struct bl_shrink *s);
/* people_ops.c: users, members and the trail. */
int bl_op_people(struct db_lane *lane, struct db_op *op);
/* Room for one more element of *v (n so far), which may move; NULL without memory. */
void *bl_op_grow(void *v, size_t n, size_t size);
struct bl_day;
struct bl_draw_window;
struct bl_draw_purse;
/* What is gathered for the end of a batch: lane->user. */
struct bl_gathered {
	struct tf_map days;       /* bl_day */
	struct tf_map windows;    /* bl_draw_window */
	struct tf_map purses;     /* bl_draw_purse */
	/* those of the row before, in these maps: the next row is often of the same; NULL: none */
	struct bl_day *last_day;
	struct bl_draw_window *last_window;
	struct bl_draw_purse *last_purse;
	struct bl_usage *current; /* of the operation that runs */
	struct bl_summing *summing; /* sums.c: what rows are added to, while they are read */
};
/* draw_ops.c: what a charged row draws from its token window and its workspace; sign -1: it draws no more. */
int bl_draw(struct db_lane *lane, const struct bl_usage *u, int sign);
int bl_draws_flush(struct db_lane *lane);
void bl_draws_drop(struct db_lane *lane);
/* spent_ops.c: these numbers of a start have no row of their own; again, it changes nothing. */
int bl_spend(struct db_lane *lane, int64_t instance, uint64_t from, uint64_t to);
int bl_op_page(struct db_lane *lane, struct bl_page *p);
/* The first day whose rows are all there; INT64_MIN: none was removed. */
int bl_first_day(struct db_lane *lane, int64_t *out);
int bl_op_verify(struct db_lane *lane, struct bl_verify *v);
int bl_op_rebuild_day(struct db_lane *lane, const struct bl_space_day *d);
/* Reads the columns of a row, new in out->u. TF_E_NOMEM. */
int bl_row_read(struct db_q *q, struct bl_ledger_row *out);
/* Adds what the usage of a batch came to to the daily sums; days_drop forgets it. */
int bl_days_flush(struct db_lane *lane);
void bl_days_drop(struct db_lane *lane);

#endif
