/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of usage in SQLite: whole days from the daily sums, what is left of the first and the last day from the
 * ledger. The rows are read once and added to a group of each kind. Runs on the store's reading thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/sqlite.h"

#define DAY_MS 86400000

struct range {
	int64_t day_from, day_to;     /* whole days */
	int64_t head_from, head_to;   /* what lies before them, ms */
	int64_t tail_from, tail_to;   /* and behind */
};

struct group {
	struct bl_sum sum;
	size_t nkey;
	char key[]; /* orders and tells apart the groups of a kind */
};
struct groups {
	struct tf_map map; /* struct group by its key */
	struct group *last; /* rows of one group come together, mostly */
};

struct row {
	struct tf_id workspace, key;
	struct tf_span model, surface; /* surface: its family */
	struct bl_sum sum;
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

/* ---- groups ------------------------------------------------------------------------------- */

/* What tells the row's group of that kind; day: room for one that is no text, which orders as its bytes do. */
static struct tf_span
group_key(const struct row *r, enum bl_by by, uint8_t day[static 8])
{
	switch (by) {
	case BL_BY_SURFACE:
		return r->surface;
	case BL_BY_MODEL:
		return r->model;
	case BL_BY_KEY:
		return tf_id_span(&r->key);
	case BL_BY_WORKSPACE:
		return tf_id_span(&r->workspace);
	case BL_BY_DAY:
		for (int i = 0; i < 8; i++)
			day[i] = (uint8_t)((uint64_t)r->sum.day >> (56 - 8 * i));
		return tf_span(day, 8);
	default:
		return tf_span("", 0);
	}
}

static struct group *
group_new(struct groups *g, const struct row *r, enum bl_by by, struct tf_span key)
{
	struct group *n = calloc(1, sizeof *n + key.n + 1);

	if (n == NULL)
		return NULL;
	n->nkey = key.n;
	if (key.n > 0)
		memcpy(n->key, key.p, key.n);
	n->sum.day = r->sum.day;
	if (by == BL_BY_KEY || by == BL_BY_WORKSPACE)
		memcpy(n->sum.id.b, key.p, sizeof n->sum.id.b);
	if (tf_map_put(&g->map, tf_span(n->key, key.n), n) == 0)
		return n;
	free(n);
	return NULL;
}

/* NULL without memory. */
static struct group *
group_of(struct groups *g, const struct row *r, enum bl_by by)
{
	uint8_t day[8];
	struct tf_span key = group_key(r, by, day);

	if (g->last != NULL && tf_span_eq(tf_span(g->last->key, g->last->nkey), key))
		return g->last;
	g->last = tf_map_get(&g->map, key);
	if (g->last == NULL)
		g->last = group_new(g, r, by, key);
	return g->last;
}

static void
sum_add(struct bl_sum *to, const struct bl_sum *from)
{
	to->requests += from->requests;
	to->tokens.prompt += from->tokens.prompt;
	to->tokens.cache_read += from->tokens.cache_read;
	to->tokens.cache_write += from->tokens.cache_write;
	to->tokens.completion += from->tokens.completion;
	to->tokens.reasoning += from->tokens.reasoning;
	to->units.images += from->units.images;
	to->units.audio_ms += from->units.audio_ms;
	to->units.characters += from->units.characters;
	to->cost += from->cost;
	to->unbilled += from->unbilled;
}

static int
by_key(const void *a, const void *b)
{
	const struct group *x = *(struct group *const *)a, *y = *(struct group *const *)b;
	size_t n = x->nkey < y->nkey ? x->nkey : y->nkey;
	int c = memcmp(x->key, y->key, n);

	return c != 0 ? c : x->nkey < y->nkey ? -1 : x->nkey > y->nkey;
}

/* The groups in order, as many as may be, into s. */
static int
groups_give(struct groups *g, struct bl_sums *s, enum bl_by by)
{
	size_t n = 0, pos = 0, all = g->map.n;
	struct group **v = calloc(all + 1, sizeof *v), *one;

	s->v[by] = calloc((all < BL_SUMS_MAX ? all : BL_SUMS_MAX) + 1, sizeof *s->v[by]);
	if (v == NULL || s->v[by] == NULL) {
		free(v);
		return TF_E_NOMEM;
	}
	while ((one = tf_map_next(&g->map, &pos)) != NULL)
		v[n++] = one;
	qsort(v, n, sizeof(struct group *), by_key);
	s->more[by] = n > BL_SUMS_MAX;
	for (size_t i = 0; i < n && i < BL_SUMS_MAX; i++) {
		struct bl_sum *to = &s->v[by][s->n[by]++];

		*to = v[i]->sum;
		if (by != BL_BY_SURFACE && by != BL_BY_MODEL)
			continue;
		to->group = tf_span_dup(tf_span(v[i]->key, v[i]->nkey));
		if (to->group == NULL) {
			free(v);
			return TF_E_NOMEM;
		}
	}
	free(v);
	return 0;
}

static void
groups_free(struct groups *g)
{
	struct group *one;
	size_t pos = 0;

	while ((one = tf_map_next(&g->map, &pos)) != NULL)
		free(one);
	tf_map_free(&g->map);
}

/* ---- rows --------------------------------------------------------------------------------- */

/* "openai" of "openai_chat". */
static struct tf_span
family(struct tf_span surface)
{
	const char *end = surface.n > 0 ? memchr(surface.p, '_', surface.n) : NULL;

	return end != NULL ? tf_span(surface.p, (size_t)(end - surface.p)) : surface;
}

static struct tf_span
span_of(sqlite3_value *v)
{
	const void *p = sqlite3_value_blob(v); /* before its length */

	return tf_span(p, (size_t)sqlite3_value_bytes(v));
}

static void
id_of(sqlite3_value *v, struct tf_id *out)
{
	struct tf_span s = span_of(v);

	memset(out->b, 0, sizeof out->b);
	if (s.n > 0)
		memcpy(out->b, s.p, s.n < sizeof out->b ? s.n : sizeof out->b);
}

#define COLUMNS 16 /* of a row: see ADD_DAYS in stmt.def */

static void
row_read(sqlite3_value **v, struct row *r)
{
	struct bl_sum *s = &r->sum;
	uint64_t *const counts[] = { &s->requests, &s->tokens.prompt, &s->tokens.cache_read, &s->tokens.cache_write,
		&s->tokens.completion, &s->tokens.reasoning, &s->units.images, &s->units.audio_ms, &s->units.characters,
		&s->cost, &s->unbilled };

	id_of(v[0], &r->workspace);
	s->day = sqlite3_value_int64(v[1]);
	id_of(v[2], &r->key);
	r->model = span_of(v[3]);
	r->surface = family(span_of(v[4]));
	for (size_t i = 0; i < TF_LEN(counts); i++)
		*counts[i] = (uint64_t)sqlite3_value_int64(v[5 + i]);
}

static int
row_add(const struct bl_sums *s, struct groups *groups, const struct row *r)
{
	if (s->surface[0] != '\0' && !tf_span_is(r->surface, s->surface))
		return 0;
	for (int by = 0; by < BL_BY_COUNT; by++) {
		struct group *g;

		if (!(s->by & 1u << by))
			continue;
		g = group_of(&groups[by], r, (enum bl_by)by);
		if (g == NULL)
			return TF_E_NOMEM;
		sum_add(&g->sum, &r->sum);
	}
	return 0;
}

struct bl_summing {
	const struct bl_sums *s;
	struct groups *groups;
	int rc;
};

/* usage_add(...), an aggregate: each row of the statement, while SQLite has it at hand. */
static void
on_row(sqlite3_context *ctx, int n, sqlite3_value **v)
{
	struct bl_summing *x = ((struct bl_gathered *)sqlite3_user_data(ctx))->summing;
	struct row r = { 0 };

	(void)n;
	row_read(v, &r);
	if (x->rc == 0)
		x->rc = row_add(x->s, x->groups, &r);
	if (x->rc != 0)
		sqlite3_result_error_nomem(ctx); /* no more rows */
}

static void
on_last_row(sqlite3_context *ctx)
{
	sqlite3_result_null(ctx);
}

int
bl_sums_functions(sqlite3 *db, void *user)
{
	return sqlite3_create_function_v2(db, "usage_add", COLUMNS, SQLITE_UTF8 | SQLITE_DIRECTONLY, user, NULL, on_row,
	    on_last_row, NULL);
}

static int
rows_add(struct db_lane *lane, const struct bl_sums *s, enum bl_stmt stmt, int64_t from, int64_t to, struct groups *groups)
{
	struct bl_gathered *here = lane->user;
	struct bl_summing x = { s, groups, 0 };
	struct db_q q = db_q(lane, stmt);
	int rc;

	if (from >= to)
		return 0;
	db_q_id(&q, &s->workspace);
	db_q_int(&q, from);
	db_q_int(&q, to);
	here->summing = &x;
	rc = db_q_run(&q);
	here->summing = NULL;
	return x.rc != 0 ? x.rc : rc;
}

/* TF_E_NOENT: of a day that is not wanted whole the rows may have been removed. */
static int
parts_there(struct db_lane *lane, const struct range *r)
{
	int64_t first;
	int rc = bl_first_day(lane, &first);

	if (rc != 0 || first == INT64_MIN)
		return rc;
	if (r->head_from < r->head_to && r->head_from / DAY_MS < first)
		return TF_E_NOENT;
	return r->tail_from < r->tail_to && r->tail_from / DAY_MS < first ? TF_E_NOENT : 0;
}

int
bl_op_sums(struct db_lane *lane, struct bl_sums *s)
{
	enum bl_stmt days = s->all ? BL_S_ADD_ALL_DAYS : BL_S_ADD_DAYS, edge = s->all ? BL_S_ADD_ALL_EDGE : BL_S_ADD_EDGE;
	struct groups groups[BL_BY_COUNT] = { 0 };
	struct range r;
	int rc;

	split(s->from_ms, s->to_ms, &r);
	rc = parts_there(lane, &r);
	if (rc != 0)
		return rc;
	/* there is a total of nothing, too */
	if ((s->by & 1u << BL_BY_TOTAL) && group_of(&groups[BL_BY_TOTAL], &(struct row){ 0 }, BL_BY_TOTAL) == NULL)
		return TF_E_NOMEM;
	rc = rows_add(lane, s, edge, r.head_from, r.head_to, groups);
	if (rc == 0)
		rc = rows_add(lane, s, days, r.day_from, r.day_to, groups);
	if (rc == 0)
		rc = rows_add(lane, s, edge, r.tail_from, r.tail_to, groups);
	for (int by = 0; by < BL_BY_COUNT; by++) {
		if (rc == 0 && (s->by & 1u << by))
			rc = groups_give(&groups[by], s, (enum bl_by)by);
		groups_free(&groups[by]);
	}
	return rc;
}
