/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes the store: keeping, forgetting, expiry, and the room of a workspace. Each batch holds
 * one operation, so that a batch that is undone is an operation that failed. Runs on the
 * store's writing thread.
 */
#include "config.h"

#include "stored/sqlite.h"

#define EVICT_MAX 1000 /* values that one new one may push out */

static int
number(struct db_q *q, int64_t *out)
{
	int rc = db_q_step(q);

	if (rc == 1) {
		*out = db_q_col_int(q);
		rc = db_q_run(q);
		return rc < 0 ? rc : 1;
	}
	return rc;
}

/* Runs a deletion that returns files; how many rows went is added to *rows. */
static int
delete_rows(struct db_lane *lane, struct db_q *q, const char *dir, uint64_t *rows)
{
	char name[TF_ID_TEXT + 1];
	int rc;

	while ((rc = db_q_step(q)) == 1) {
		++*rows;
		db_q_col_text(q, name, sizeof name);
		if (name[0] == '\0')
			continue;
		rc = st_file_gone(lane, dir, name);
		if (rc != 0) {
			db_q_end(q);
			return rc;
		}
	}
	return rc;
}

/* ---- room ------------------------------------------------------------------------------------- */

static int
space_used(struct db_lane *lane, const struct st_put *p, int64_t *used)
{
	struct db_q q = db_q(lane, ST_S_SPACE);
	int rc;

	*used = 0;
	db_q_id(&q, &p->workspace);
	db_q_int(&q, p->kind);
	rc = number(&q, used);
	return rc < 0 ? rc : 0;
}

static int
evict_one(struct db_lane *lane, struct st_put *p)
{
	uint64_t rows = 0;
	struct db_q q;

	p->evicted++;
	if (p->kind == WIRE_KIND_RESPONSE) {
		q = db_q(lane, ST_S_RESPONSE_OLDEST);
		db_q_id(&q, &p->workspace);
		return db_q_run(&q);
	}
	q = db_q(lane, ST_S_OBJECT_OLDEST);
	db_q_id(&q, &p->workspace);
	db_q_int(&q, p->kind);
	return delete_rows(lane, &q, p->dir, &rows);
}

static int
make_room(struct db_lane *lane, struct st_put *p, uint64_t bytes)
{
	int64_t used;
	int rc;

	if (bytes > p->space_max || bytes > INT64_MAX)
		return TF_E_RANGE;
	for (int i = 0; i < EVICT_MAX; i++) {
		rc = space_used(lane, p, &used);
		if (rc != 0 || (uint64_t)used + bytes <= p->space_max)
			return rc;
		rc = evict_one(lane, p);
		if (rc != 0)
			return rc;
	}
	return TF_E_RANGE;
}

/* ---- responses -------------------------------------------------------------------------------- */

static int
response_drop(struct db_lane *lane, const struct tf_id *workspace, const char *name, int64_t *expires)
{
	struct db_q q = db_q(lane, ST_S_RESPONSE_DROP);

	db_q_id(&q, workspace);
	db_q_str(&q, name);
	return number(&q, expires);
}

static int
put_items(struct db_lane *lane, const struct st_put *p, int64_t response)
{
	int rc = 0;

	for (size_t i = 0; i < p->n_items && rc == 0; i++) {
		struct db_q q = db_q(lane, ST_S_ITEM_PUT);

		db_q_id(&q, &p->workspace);
		db_q_int(&q, response);
		db_q_int(&q, (int64_t)i);
		db_q_int(&q, p->items[i].output);
		db_q_text(&q, p->items[i].id);
		db_q_text(&q, p->items[i].json);
		rc = db_q_run(&q);
	}
	return rc;
}

/* All that it continues lives as long as it does. */
static int
keep_chain(struct db_lane *lane, const struct st_put *p)
{
	struct db_q q = db_q(lane, ST_S_CHAIN_KEEP);

	db_q_id(&q, &p->workspace);
	db_q_text(&q, p->previous);
	db_q_int(&q, p->expires_ms);
	db_q_int(&q, ST_CHAIN_MAX);
	return db_q_run(&q);
}

static int
put_response(struct db_lane *lane, struct st_put *p)
{
	uint64_t bytes = p->bytes.n;
	int64_t num = 0, before;
	struct db_q q;
	int rc;

	for (size_t i = 0; i < p->n_items; i++)
		bytes += p->items[i].json.n;
	rc = response_drop(lane, &p->workspace, p->name, &before);
	if (rc >= 0)
		rc = make_room(lane, p, bytes);
	if (rc < 0)
		return rc;
	q = db_q(lane, ST_S_RESPONSE_PUT);
	db_q_id(&q, &p->workspace);
	db_q_str(&q, p->name);
	db_q_text(&q, p->previous);
	db_q_int(&q, p->now_ms);
	db_q_int(&q, p->expires_ms);
	db_q_int(&q, (int64_t)bytes);
	db_q_text(&q, p->bytes);
	rc = number(&q, &num);
	if (rc != 1)
		return rc < 0 ? rc : TF_E_IO;
	rc = put_items(lane, p, num);
	if (rc == 0 && p->previous.n > 0)
		rc = keep_chain(lane, p);
	return rc;
}

/* ---- everything else -------------------------------------------------------------------------- */

int
st_object_drop(struct db_lane *lane, const struct st_drop *d, int64_t *expires)
{
	struct db_q q = db_q(lane, ST_S_OBJECT_DROP);
	char file[TF_ID_TEXT + 1];
	int rc;

	db_q_id(&q, &d->workspace);
	db_q_int(&q, d->kind);
	db_q_str(&q, d->name);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	db_q_col_text(&q, file, sizeof file);
	*expires = db_q_col_int(&q);
	rc = db_q_run(&q);
	if (rc == 0 && file[0] != '\0')
		rc = st_file_gone(lane, d->dir, file);
	return rc < 0 ? rc : 1;
}

static int
put_object(struct db_lane *lane, struct st_put *p)
{
	struct st_drop former = { .kind = p->kind, .workspace = p->workspace, .dir = p->dir };
	bool file = p->bytes.n >= p->file_min;
	char name[TF_ID_TEXT + 1] = "";
	int64_t before;
	struct db_q q;
	int rc;

	memcpy(former.name, p->name, sizeof former.name);
	rc = st_object_drop(lane, &former, &before);
	if (rc >= 0)
		rc = make_room(lane, p, p->bytes.n);
	if (rc == 0 && file)
		rc = st_file_make(lane, p->dir, p->bytes, name);
	if (rc < 0)
		return rc;
	q = db_q(lane, ST_S_OBJECT_PUT);
	db_q_id(&q, &p->workspace);
	db_q_int(&q, p->kind);
	db_q_str(&q, p->name);
	db_q_text(&q, tf_cspan(p->type));
	db_q_int(&q, p->now_ms);
	db_q_int(&q, p->expires_ms);
	db_q_int(&q, (int64_t)p->bytes.n);
	if (file) {
		db_q_null(&q);
		db_q_str(&q, name);
	} else {
		db_q_blob(&q, p->bytes.n > 0 ? p->bytes.p : "", p->bytes.n);
		db_q_null(&q);
	}
	return db_q_run(&q);
}

int
st_op_put(struct db_lane *lane, struct st_put *p)
{
	struct st_mark mark = st_file_mark(lane);
	int rc;

	p->evicted = 0;
	rc = p->kind == WIRE_KIND_RESPONSE ? put_response(lane, p) : put_object(lane, p);
	if (rc == 0 && p->claimed)
		rc = st_op_claim_done(lane, p);
	if (rc != 0)
		st_file_undo(lane, mark);
	return rc;
}

int
st_op_drop(struct db_lane *lane, struct st_drop *d)
{
	struct st_mark mark = st_file_mark(lane);
	int64_t expires = 0;
	int rc;

	rc = d->kind == WIRE_KIND_RESPONSE ? response_drop(lane, &d->workspace, d->name, &expires)
	    : st_object_drop(lane, d, &expires);
	if (rc < 0) {
		st_file_undo(lane, mark);
		return rc;
	}
	/* one that has expired is not there, whether the sweep has come by or not */
	return rc == 1 && expires > d->now_ms ? 0 : TF_E_NOENT;
}

/* ---- expiry ----------------------------------------------------------------------------------- */

int
st_op_expire(struct db_lane *lane, struct st_expire *e)
{
	struct st_mark mark = st_file_mark(lane);
	uint64_t responses = 0, values = 0, claims = 0, left = 0;
	struct db_q q = db_q(lane, ST_S_RESPONSE_EXPIRE);
	int rc;

	db_q_int(&q, e->now_ms);
	db_q_int(&q, e->limit);
	db_q_int(&q, (int64_t)e->bytes);
	while ((rc = db_q_step(&q)) == 1)
		responses++;
	if (rc == 0) {
		q = db_q(lane, ST_S_OBJECT_EXPIRE);
		db_q_int(&q, e->now_ms);
		db_q_int(&q, e->limit);
		rc = delete_rows(lane, &q, e->dir, &values);
	}
	if (rc == 0) {
		q = db_q(lane, ST_S_CLAIM_EXPIRE);
		db_q_int(&q, e->now_ms);
		db_q_int(&q, e->limit);
		while ((rc = db_q_step(&q)) == 1)
			claims++;
	}
	e->removed = responses + values + claims;
	/* what was removed leaves free pages: most go back to the file system, once nothing else is to be done */
	if (rc == 0 && e->removed == 0)
		rc = db_give_back(lane, ST_KEEP_PAGES, ST_BACK_PAGES, &left);
	if (rc != 0)
		st_file_undo(lane, mark);
	e->more = e->removed > 0 || left > 0;
	return rc;
}
