/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that keep the database in order: a copy and the check of one (on the lane for what takes long), rows
 * of the ledger whose time is over, free pages.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "billingd/sqlite.h"

#define SPACES_A_STEP 64 /* workspaces looked at in one step */

/* ---- copies ----------------------------------------------------------------------------------- */

/* The sums by day against the rows that they are sums of. */
static int
check_sums(sqlite3 *db, struct db_copied *copy, char *why, size_t size)
{
	int64_t wrong = 0;

	if (!copy->current)
		return 0; /* it has other columns: what opens it migrates it first */
	if (db_look_int(db, bl_stmt_text(BL_S_DAY_WRONG), &wrong) != SQLITE_OK) {
		snprintf(why, size, "its sums cannot be compared: %s", sqlite3_errmsg(db));
		return TF_E_IO;
	}
	if (wrong == 0)
		return 0;
	snprintf(why, size, "%" PRId64 " sums by day differ from the ledger", wrong);
	return TF_E_STATE;
}

int
bl_op_backup(struct db_lane *lane, struct bl_backup *b)
{
	struct db_copied copy;
	int rc;

	rc = b->verify ? db_inspect(lane, b->path, &copy, check_sums, b->why, sizeof b->why)
	               : db_copy(lane, b->path, &copy, b->why, sizeof b->why);
	if (rc != 0)
		return rc;
	b->bytes = copy.bytes;
	b->version = copy.version;
	b->current = copy.current;
	return 0;
}

/* ---- retention -------------------------------------------------------------------------------- */

/* The next id behind this one; false: it was the last. */
static bool
id_next(struct tf_id *id)
{
	for (size_t i = sizeof id->b; i-- > 0;)
		if (++id->b[i] != 0)
			return true;
	return false;
}

static int
raise_first_day(struct db_lane *lane, int64_t day)
{
	struct db_q q = db_q(lane, BL_S_META_RAISE);

	db_q_str(&q, "ledger_from");
	db_q_int(&q, day);
	return db_q_run(&q);
}

/* 1: the first workspace from e->at on that has rows is in e->at; 0: none. */
static int
next_workspace(struct db_lane *lane, struct bl_expire *e)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_SPACE);
	int rc;

	db_q_id(&q, &e->at);
	rc = db_q_step(&q);
	if (rc == 1) {
		db_q_col_blob(&q, e->at.b, sizeof e->at.b);
		db_q_end(&q);
	}
	return rc;
}

struct number {
	int64_t instance, seq;
};

static int
by_number(const void *a, const void *b)
{
	const struct number *x = a, *y = b;

	if (x->instance != y->instance)
		return x->instance < y->instance ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Rows went: their numbers have none any more. Those of a day follow each other, more or less. */
static int
spend(struct db_lane *lane, struct number *v, size_t n)
{
	size_t i = 0, j;
	int rc = 0;

	if (n > 0)
		qsort(v, n, sizeof *v, by_number);
	for (; i < n && rc == 0; i = j) {
		for (j = i + 1; j < n && v[j].instance == v[i].instance && v[j].seq <= v[j - 1].seq + 1; j++)
			;
		rc = bl_spend(lane, v[i].instance, (uint64_t)v[i].seq, (uint64_t)v[j - 1].seq);
	}
	return rc;
}

/* Removes up to most rows of e->at; how many in *n. */
static int
expire_some(struct db_lane *lane, const struct bl_expire *e, uint64_t most, uint64_t *n)
{
	struct number *v = calloc(most, sizeof *v);
	struct db_q q;
	int rc;

	*n = 0;
	if (v == NULL)
		return TF_E_NOMEM;
	q = db_q(lane, BL_S_LEDGER_EXPIRE);
	db_q_id(&q, &e->at);
	db_q_int(&q, e->day * BL_DAY_MS);
	db_q_int(&q, (int64_t)most);
	while ((rc = db_q_step(&q)) == 1 && *n < most) {
		v[*n].instance = db_q_col_int(&q);
		v[(*n)++].seq = db_q_col_int(&q);
	}
	if (rc == 0)
		rc = spend(lane, v, *n);
	free(v);
	return rc;
}

int
bl_op_expire(struct db_lane *lane, struct bl_expire *e)
{
	int rc = raise_first_day(lane, e->day);

	e->removed = 0;
	e->over = false;
	for (int i = 0; rc == 0 && i < SPACES_A_STEP && e->removed < e->most; i++) {
		uint64_t n;

		rc = next_workspace(lane, e);
		if (rc <= 0) {
			e->over = rc == 0;
			return rc;
		}
		rc = expire_some(lane, e, e->most - e->removed, &n);
		e->removed += n;
		if (rc == 0 && e->removed < e->most && !id_next(&e->at)) {
			e->over = true;
			return 0;
		}
	}
	return rc;
}

int
bl_op_shrink(struct db_lane *lane, struct bl_shrink *s)
{
	return db_give_back(lane, s->keep, s->pages, &s->left);
}
