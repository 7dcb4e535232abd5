/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prepared statements of one connection, bound and read left to right, and the translation
 * of SQLite's errors. Used by the operations of the SQLite store.
 */
#include "config.h"

#include <stdlib.h>

#include "common/db/sqlite.h"

int
db_err(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
		return TF_E_EXIST;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return TF_E_NOENT;
	default:
		break;
	}
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return TF_E_NOMEM;
	case SQLITE_FULL:
		return TF_E_FULL;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return TF_E_AGAIN;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
	case SQLITE_RANGE:
	case SQLITE_ERROR:
		return TF_E_INVAL;
	default:
		return TF_E_IO;
	}
}

struct db_q
db_q(struct db_lane *lane, int s)
{
	struct db_q q = { .lane = lane };

	if (lane->stmt[s] == NULL)
		q.rc = sqlite3_prepare_v3(lane->db, lane->store->schema->stmts[s].text, -1, SQLITE_PREPARE_PERSISTENT,
		    &lane->stmt[s], NULL);
	q.stmt = lane->stmt[s];
	return q;
}

static void
bound(struct db_q *q, int rc)
{
	if (q->rc == SQLITE_OK)
		q->rc = rc;
}

void
db_q_int(struct db_q *q, int64_t v)
{
	bound(q, sqlite3_bind_int64(q->stmt, ++q->at, v));
}

void
db_q_null(struct db_q *q)
{
	bound(q, sqlite3_bind_null(q->stmt, ++q->at));
}

void
db_q_time(struct db_q *q, int64_t ms)
{
	if (ms == DB_NEVER_MS)
		db_q_null(q);
	else
		db_q_int(q, ms);
}

/* The statement is run and reset while its arguments live: no copies. */
void
db_q_blob(struct db_q *q, const void *p, size_t n)
{
	bound(q, sqlite3_bind_blob64(q->stmt, ++q->at, p, n, SQLITE_STATIC));
}

void
db_q_id(struct db_q *q, const struct tf_id *id)
{
	db_q_blob(q, id->b, sizeof id->b);
}

void
db_q_text(struct db_q *q, struct tf_span s)
{
	if (s.n == 0)
		db_q_null(q);
	else
		bound(q, sqlite3_bind_text64(q->stmt, ++q->at, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8));
}

void
db_q_str(struct db_q *q, const char *s)
{
	bound(q, sqlite3_bind_text64(q->stmt, ++q->at, s, strlen(s), SQLITE_STATIC, SQLITE_UTF8));
}

int
db_q_step(struct db_q *q)
{
	int rc = q->rc;

	if (rc == SQLITE_OK)
		rc = sqlite3_step(q->stmt);
	if (rc == SQLITE_ROW) {
		q->at = 0;
		return 1;
	}
	if (rc != SQLITE_DONE)
		rc = sqlite3_extended_errcode(q->lane->db);
	db_q_end(q);
	return db_err(rc);
}

int
db_q_run(struct db_q *q)
{
	int rc;

	while ((rc = db_q_step(q)) > 0)
		;
	return rc;
}

void
db_q_end(struct db_q *q)
{
	if (q->stmt == NULL)
		return;
	sqlite3_reset(q->stmt);
	sqlite3_clear_bindings(q->stmt);
}

int64_t
db_q_col_int(struct db_q *q)
{
	return sqlite3_column_int64(q->stmt, q->at++);
}

int64_t
db_q_col_time(struct db_q *q)
{
	int at = q->at++;

	return sqlite3_column_type(q->stmt, at) == SQLITE_NULL ? DB_NEVER_MS : sqlite3_column_int64(q->stmt, at);
}

void
db_q_col_blob(struct db_q *q, void *out, size_t n)
{
	const void *p = sqlite3_column_blob(q->stmt, q->at);
	size_t got = (size_t)sqlite3_column_bytes(q->stmt, q->at++);

	memset(out, 0, n);
	if (p != NULL)
		memcpy(out, p, got < n ? got : n);
}

void
db_q_col_text(struct db_q *q, char *out, size_t size)
{
	const unsigned char *p = sqlite3_column_text(q->stmt, q->at);
	size_t n = (size_t)sqlite3_column_bytes(q->stmt, q->at++);

	if (p == NULL)
		n = 0;
	if (n >= size)
		n = size - 1;
	if (n > 0)
		memcpy(out, p, n);
	out[n] = '\0';
}

char *
db_q_col_dup(struct db_q *q)
{
	const unsigned char *p = sqlite3_column_text(q->stmt, q->at);
	size_t n = (size_t)sqlite3_column_bytes(q->stmt, q->at++);

	return tf_span_dup(tf_span(p, p != NULL ? n : 0));
}

struct tf_span
db_q_col_span(struct db_q *q)
{
	const void *p = sqlite3_column_blob(q->stmt, q->at);

	return tf_span(p, (size_t)sqlite3_column_bytes(q->stmt, q->at++));
}
