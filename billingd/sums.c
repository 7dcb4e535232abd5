/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of usage in SQLite: whole days from the daily sums, what is left of the first and the
 * last day from the ledger. Runs on the store's reading thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/sqlite.h"

#define DAY_MS 86400000

static const enum bl_stmt stmt_of[2][BL_BY_COUNT] = {
	{ BL_S_SUMS_TOTAL, BL_S_SUMS_SURFACE, BL_S_SUMS_MODEL, BL_S_SUMS_KEY, BL_S_SUMS_DAY },
	{ BL_S_SUMS_ALL_TOTAL, BL_S_SUMS_ALL_SURFACE, BL_S_SUMS_ALL_MODEL, BL_S_SUMS_ALL_KEY, BL_S_SUMS_ALL_DAY },
};

struct range {
	int64_t day_from, day_to;     /* whole days */
	int64_t head_from, head_to;   /* what lies before them, ms */
	int64_t tail_from, tail_to;   /* and behind */
};

static void
split(int64_t from, int64_t to, struct range *r)
{
	memset(r, 0, sizeof *r);
	if (to <= from)
		return;
	r->day_from = (from + DAY_MS - 1) / DAY_MS;
	r->day_to = to / DAY_MS;
	if (r->day_from > r->day_to) { /* inside one day */
		r->day_to = r->day_from;
		r->head_from = from;
		r->head_to = to;
		return;
	}
	r->head_from = from;
	r->head_to = r->day_from * DAY_MS;
	r->tail_from = r->day_to * DAY_MS;
	r->tail_to = to;
}

static int
row_read(struct db_q *q, enum bl_by by, struct bl_sum *out)
{
	memset(out, 0, sizeof *out);
	switch (by) {
	case BL_BY_SURFACE:
	case BL_BY_MODEL:
		out->group = db_q_col_dup(q);
		if (out->group == NULL)
			return TF_E_NOMEM;
		break;
	case BL_BY_KEY:
		db_q_col_blob(q, out->key.b, sizeof out->key.b);
		break;
	default:
		out->day = db_q_col_int(q);
		break;
	}
	out->requests = (uint64_t)db_q_col_int(q);
	out->tokens.prompt = (uint64_t)db_q_col_int(q);
	out->tokens.cache_read = (uint64_t)db_q_col_int(q);
	out->tokens.cache_write = (uint64_t)db_q_col_int(q);
	out->tokens.completion = (uint64_t)db_q_col_int(q);
	out->tokens.reasoning = (uint64_t)db_q_col_int(q);
	out->units.images = (uint64_t)db_q_col_int(q);
	out->units.audio_ms = (uint64_t)db_q_col_int(q);
	out->units.characters = (uint64_t)db_q_col_int(q);
	return 0;
}

static int
row_add(struct bl_sums *s, enum bl_by by, size_t *cap, struct db_q *q)
{
	int rc;

	if (s->n[by] == *cap) {
		size_t more = *cap ? 2 * *cap : 16;
		struct bl_sum *v = realloc(s->v[by], more * sizeof *v);

		if (v == NULL)
			return TF_E_NOMEM;
		s->v[by] = v;
		*cap = more;
	}
	rc = row_read(q, by, &s->v[by][s->n[by]]);
	if (rc == 0)
		s->n[by]++;
	return rc;
}

static int
sums_by(struct db_lane *lane, struct bl_sums *s, enum bl_by by, const struct range *r)
{
	struct db_q q = db_q(lane, stmt_of[s->all][by]);
	size_t cap = 0;
	int rc;

	db_q_id(&q, &s->workspace);
	db_q_int(&q, r->day_from);
	db_q_int(&q, r->day_to);
	db_q_str(&q, s->surface);
	db_q_int(&q, BL_SUMS_MAX + 1);
	if (!s->all) {
		db_q_int(&q, r->head_from);
		db_q_int(&q, r->head_to);
		db_q_int(&q, r->tail_from);
		db_q_int(&q, r->tail_to);
	}
	while ((rc = db_q_step(&q)) == 1) {
		if (s->n[by] == BL_SUMS_MAX) {
			s->more[by] = true;
			db_q_end(&q);
			return 0;
		}
		rc = row_add(s, by, &cap, &q);
		if (rc != 0) {
			db_q_end(&q);
			return rc;
		}
	}
	return rc;
}

int
bl_op_sums(struct db_lane *lane, struct bl_sums *s)
{
	struct range r;
	int rc = 0;

	split(s->from_ms, s->to_ms, &r);
	/* over all workspaces there are sums of whole days only */
	if (s->all && (r.head_from != r.head_to || r.tail_from != r.tail_to))
		return TF_E_INVAL;
	for (int by = 0; by < BL_BY_COUNT && rc == 0; by++)
		if (s->by & 1u << by)
			rc = sums_by(lane, s, (enum bl_by)by, &r);
	return rc;
}
