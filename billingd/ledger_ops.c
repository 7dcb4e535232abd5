/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger in SQLite: one attempt becomes one row and one addition to the daily sums,
 * however often it is told. Additions are gathered per batch, because most attempts of a
 * batch fall into the same few sums. Runs on the store's thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/sqlite.h"
#include "common/wire/wire.h"

struct bl_day {
	int64_t day;
	struct tf_span model, surface; /* in key */
	uint64_t requests;             /* these wrap: what is taken off is added as its complement */
	struct bl_tokens tokens;
	struct bl_units units;
	uint64_t cost, unbilled;
	bool less;                     /* something was taken off */
	size_t nkey;
	char key[];                    /* workspace, key, day, model, 0, surface */
};

#define DAY_MS 86400000

static bool
is_charged(const struct bl_usage *u)
{
	return u->outcome == WIRE_OUTCOME_SERVED || u->outcome == WIRE_OUTCOME_PARTIAL;
}

static bool
day_is(const struct bl_day *d, const struct bl_usage *u)
{
	return d->day == u->began_ms / DAY_MS && memcmp(d->key, u->workspace.b, sizeof u->workspace.b) == 0 &&
	    memcmp(d->key + sizeof u->workspace.b, u->key.b, sizeof u->key.b) == 0 &&
	    tf_span_eq(d->model, u->text[BL_T_MODEL]) && tf_span_eq(d->surface, u->text[BL_T_SURFACE]);
}

/* That of the sums gathered so far, or a new one; NULL without memory. */
static struct bl_day *
day_find(struct db_lane *lane, const struct bl_usage *u)
{
	const struct tf_span *model = &u->text[BL_T_MODEL], *surface = &u->text[BL_T_SURFACE];
	size_t n = 2 * sizeof(struct tf_id) + sizeof(int64_t) + model->n + 1 + surface->n;
	struct tf_map *days = &((struct bl_gathered *)lane->user)->days;
	int64_t day = u->began_ms / DAY_MS;
	struct bl_day *d = calloc(1, sizeof *d + n), *old;
	char *at;

	if (d == NULL)
		return NULL;
	d->nkey = n;
	d->day = day;
	at = d->key;
	memcpy(at, u->workspace.b, sizeof u->workspace.b);
	memcpy(at += 16, u->key.b, sizeof u->key.b);
	memcpy(at += 16, &day, sizeof day);
	at += sizeof day;
	if (model->n > 0)
		memcpy(at, model->p, model->n);
	d->model = tf_span(at, model->n);
	at += model->n + 1;
	if (surface->n > 0)
		memcpy(at, surface->p, surface->n);
	d->surface = tf_span(at, surface->n);
	old = tf_map_get(days, tf_span(d->key, n));
	if (old == NULL && tf_map_put(days, tf_span(d->key, n), d) == 0)
		return d;
	free(d);
	return old;
}

static struct bl_day *
day_get(struct db_lane *lane, const struct bl_usage *u)
{
	struct bl_gathered *g = lane->user;

	if (g->last_day == NULL || !day_is(g->last_day, u))
		g->last_day = day_find(lane, u);
	return g->last_day;
}

/* sign 1: it is charged now; -1: it was, and is no more. */
static int
sums_add(struct db_lane *lane, const struct bl_usage *u, int sign)
{
	struct bl_day *d = day_get(lane, u);
	uint64_t by = (uint64_t)(int64_t)sign;
	int rc = d != NULL ? bl_draw(lane, u, sign) : TF_E_NOMEM;

	if (rc != 0)
		return rc;
	d->less |= sign < 0;
	d->requests += tf_span_is(u->text[BL_T_SURFACE], BL_SURFACE_DEPLOYMENT) ? 0 : by;
	d->tokens.prompt += by * u->tokens.prompt;
	d->tokens.cache_read += by * u->tokens.cache_read;
	d->tokens.cache_write += by * u->tokens.cache_write;
	d->tokens.completion += by * u->tokens.completion;
	d->tokens.reasoning += by * u->tokens.reasoning;
	d->units.images += by * u->units.images;
	d->units.audio_ms += by * u->units.audio_ms;
	d->units.characters += by * u->units.characters;
	d->cost += by * u->cost;
	d->unbilled += by * u->unbilled;
	return 0;
}

static void
bind_tokens(struct db_q *q, const struct bl_tokens *t)
{
	db_q_int(q, (int64_t)t->prompt);
	db_q_int(q, (int64_t)t->cache_read);
	db_q_int(q, (int64_t)t->cache_write);
	db_q_int(q, (int64_t)t->completion);
	db_q_int(q, (int64_t)t->reasoning);
}

static void
bind_units(struct db_q *q, const struct bl_units *v)
{
	db_q_int(q, (int64_t)v->images);
	db_q_int(q, (int64_t)v->audio_ms);
	db_q_int(q, (int64_t)v->characters);
}

static void
bind_price(struct db_q *q, const struct tf_price *price)
{
	for (size_t i = 0; i < TF_P_COUNT; i++) {
		if (price->v[i] < 0)
			db_q_null(q);
		else
			db_q_int(q, price->v[i]);
	}
}

/* Columns that must not be null get the empty text as it is. */
static void
bind_name(struct db_q *q, struct tf_span s)
{
	if (s.n == 0)
		db_q_str(q, "");
	else
		db_q_text(q, s);
}

static void
bind_day(struct db_q *q, const struct bl_day *d)
{
	db_q_blob(q, d->key, 16);
	db_q_int(q, d->day);
	db_q_blob(q, d->key + 16, 16);
	bind_name(q, d->model);
	bind_name(q, d->surface);
}

static int
day_put(struct db_lane *lane, const struct bl_day *d)
{
	struct db_q q = db_q(lane, BL_S_DAY_ADD);

	bind_day(&q, d);
	db_q_int(&q, (int64_t)d->requests);
	bind_tokens(&q, &d->tokens);
	bind_units(&q, &d->units);
	db_q_int(&q, (int64_t)d->cost);
	db_q_int(&q, (int64_t)d->unbilled);
	return db_q_run(&q);
}

/* Sums of nothing are not kept. */
static int
day_void(struct db_lane *lane, const struct bl_day *d)
{
	struct db_q q = db_q(lane, BL_S_DAY_VOID);

	bind_day(&q, d);
	return db_q_run(&q);
}

int
bl_days_flush(struct db_lane *lane)
{
	const struct tf_map *days = &((struct bl_gathered *)lane->user)->days;
	struct bl_day *d;
	size_t pos = 0;
	int rc = 0;

	while (rc == 0 && (d = tf_map_next(days, &pos)) != NULL) {
		rc = day_put(lane, d);
		if (rc == 0 && d->less)
			rc = day_void(lane, d);
	}
	return rc == 0 ? bl_draws_flush(lane) : rc;
}

void
bl_days_drop(struct db_lane *lane)
{
	struct bl_gathered *g = lane->user;
	struct tf_map *days = &g->days;
	struct bl_day *d;
	size_t pos = 0;

	g->last_day = NULL;
	while ((d = tf_map_next(days, &pos)) != NULL) {
		tf_map_del(days, tf_span(d->key, d->nkey));
		free(d);
	}
	bl_draws_drop(lane);
}

static void
bind_row(struct db_q *q, const struct bl_usage *u, bool charged)
{
	db_q_id(q, &u->request);
	db_q_int(q, u->attempt);
	db_q_id(q, &u->workspace);
	db_q_id(q, &u->key);
	bind_name(q, u->text[BL_T_MODEL]);
	bind_name(q, u->text[BL_T_SURFACE]);
	db_q_int(q, u->outcome);
	db_q_int(q, charged);
	db_q_int(q, u->delivered);
	db_q_int(q, u->estimated);
	db_q_int(q, u->stream);
	bind_tokens(q, &u->tokens);
	db_q_int(q, (int64_t)u->reserved);
	db_q_int(q, (int64_t)u->window.minute);
	db_q_int(q, u->began_ms);
	db_q_int(q, u->ended_ms);
	if (u->first_us < 0)
		db_q_null(q);
	else
		db_q_int(q, u->first_us);
	db_q_int(q, u->status);
	db_q_text(q, u->text[BL_T_FINISH]);
	db_q_text(q, u->text[BL_T_CODE]);
	db_q_text(q, u->text[BL_T_WORKER]);
	db_q_int(q, u->instance);
	db_q_int(q, (int64_t)u->seq);
	bind_units(q, &u->units);
	bind_price(q, &u->price);
	db_q_int(q, (int64_t)u->cost);
	db_q_int(q, (int64_t)u->unbilled);
	db_q_int(q, u->provisional);
	db_q_int(q, (int64_t)u->window.budget);
	db_q_int(q, (int64_t)u->window.month);
	db_q_int(q, (int64_t)u->window.key);
}

/* 1: inserted; 0: a unique index has it already. */
static int
insert(struct db_lane *lane, const struct bl_usage *u, bool charged)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_NEW);
	int rc;

	bind_row(&q, u, charged);
	rc = db_q_run(&q);
	return rc != 0 ? rc : sqlite3_changes(lane->db) > 0;
}

/* ---- a row that is there ------------------------------------------------------------------ */

/* What the sums have of a row, and what tells whether another record replaces it. */
struct there {
	bool is, charged;
	struct bl_usage u; /* texts: borrowed from the statement */
};

static void
row_read(struct db_q *q, struct there *t)
{
	uint64_t *const counts[] = { &t->u.tokens.prompt, &t->u.tokens.cache_read, &t->u.tokens.cache_write,
		&t->u.tokens.completion, &t->u.tokens.reasoning, &t->u.units.images, &t->u.units.audio_ms,
		&t->u.units.characters, &t->u.cost, &t->u.unbilled, &t->u.window.budget, &t->u.window.month,
		&t->u.reserved };

	memset(t, 0, sizeof *t);
	t->is = true;
	t->u.attempt = (uint32_t)db_q_col_int(q);
	t->u.outcome = (uint8_t)db_q_col_int(q);
	t->charged = db_q_col_int(q) != 0;
	t->u.provisional = db_q_col_int(q) != 0;
	db_q_col_blob(q, t->u.workspace.b, sizeof t->u.workspace.b);
	db_q_col_blob(q, t->u.key.b, sizeof t->u.key.b);
	t->u.text[BL_T_MODEL] = db_q_col_span(q);
	t->u.text[BL_T_SURFACE] = db_q_col_span(q);
	t->u.began_ms = db_q_col_int(q);
	for (size_t i = 0; i < TF_LEN(counts); i++)
		*counts[i] = (uint64_t)db_q_col_int(q);
	t->u.instance = db_q_col_int(q);
	t->u.seq = (uint64_t)db_q_col_int(q);
}

/* Does what u says take the place of what is there? */
static bool
replaces(const struct bl_usage *u, const struct there *t)
{
	if (t->u.provisional)
		return !u->provisional;
	return t->u.outcome == WIRE_OUTCOME_LOST && u->outcome != WIRE_OUTCOME_LOST && !u->provisional;
}

static int
run_attempt(struct db_lane *lane, enum bl_stmt stmt, const struct tf_id *request, uint32_t attempt)
{
	struct db_q q = db_q(lane, stmt);

	db_q_id(&q, request);
	db_q_int(&q, attempt);
	return db_q_run(&q);
}

/* Finds the row of the attempt, and when u replaces it takes it out of the sums. there: its texts are gone after. */
static int
look(struct db_lane *lane, struct bl_usage *u, struct there *there)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_GET);
	int rc;

	there->is = false;
	db_q_id(&q, &u->request);
	db_q_int(&q, u->attempt);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	row_read(&q, there);
	rc = there->charged && replaces(u, there) ? sums_add(lane, &there->u, -1) : 0;
	db_q_end(&q);
	return rc;
}

/*
 * What was charged of a request is charged no more: another attempt of it, which was not, for one was enough, is
 * charged now, if there is one.
 */
static int
promote(struct db_lane *lane, const struct tf_id *request)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_WAITING);
	struct there other;
	int rc;

	db_q_id(&q, request);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	row_read(&q, &other);
	rc = sums_add(lane, &other.u, 1);
	db_q_end(&q);
	return rc == 0 ? run_attempt(lane, BL_S_LEDGER_CHARGE, request, other.u.attempt) : rc;
}

/*
 * Inserts; when another attempt of the request is charged already, the row is kept without a
 * charge. Adds to the sums.
 */
static int
insert_once(struct db_lane *lane, const struct bl_usage *u, int *result)
{
	bool charged = is_charged(u);
	int rc = insert(lane, u, charged);

	if (rc == 0 && charged) {
		charged = false;
		*result = BL_USAGE_UNCHARGED;
		rc = insert(lane, u, false);
	}
	if (rc < 0)
		return rc;
	return charged ? sums_add(lane, u, 1) : 0;
}

static void
usage_begin(struct db_lane *lane, struct bl_usage *u, int *result)
{
	((struct bl_gathered *)lane->user)->current = u;
	u->drawn = (struct bl_drawn){ 0 };
	u->before = (struct bl_before){ 0 };
	*result = BL_USAGE_NEW;
}

int
bl_op_usage(struct db_lane *lane, struct bl_usage *u, int *result)
{
	bool charged = is_charged(u);
	struct there there;
	int rc;

	usage_begin(lane, u, result);
	rc = insert(lane, u, charged);
	if (rc != 0)
		return rc < 0 ? rc : charged ? sums_add(lane, u, 1) : 0;
	rc = look(lane, u, &there);
	if (rc < 0)
		return rc;
	if (!there.is)
		return insert_once(lane, u, result);
	if (!replaces(u, &there)) {
		*result = BL_USAGE_REPLAY;
		return there.u.instance == u->instance && there.u.seq == u->seq ? 0 : bl_spend(lane, u->instance, u->seq, u->seq);
	}
	*result = BL_USAGE_FINAL;
	u->before = (struct bl_before){ there.charged, there.u.tokens, there.u.units, there.u.cost, there.u.unbilled };
	rc = run_attempt(lane, BL_S_LEDGER_DROP, &u->request, u->attempt);
	if (rc == 0)
		rc = bl_spend(lane, there.u.instance, there.u.seq, there.u.seq);
	if (rc == 0)
		rc = insert_once(lane, u, result);
	return rc == 0 && there.charged && !charged ? promote(lane, &u->request) : rc;
}

/* ---- several at once ---------------------------------------------------------------------- */

/* The rows of all of them, or of none: then one is there already, or cannot be a row. */
static int
insert_rows(struct db_lane *lane, const struct db_op *ops)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_NEW_ROWS);

	for (size_t i = 0; i < BL_LEDGER_ROWS; i++)
		bind_row(&q, ops[i].arg, is_charged(ops[i].arg));
	return db_q_run(&q);
}

/* One whose row has been inserted. */
static int
usage_inserted(struct db_lane *lane, struct bl_usage *u, int *result)
{
	usage_begin(lane, u, result);
	return is_charged(u) ? sums_add(lane, u, 1) : 0;
}

int
bl_op_usages(struct db_lane *lane, struct db_op *ops, size_t n)
{
	int rc, i;

	for (i = 0; i < BL_LEDGER_ROWS; i++)
		if ((size_t)i >= n || ops[i].kind != BL_OP_USAGE)
			return 0;
	rc = insert_rows(lane, ops);
	if (db_fatal(rc)) {
		ops[0].rc = rc;
		return 1;
	}
	for (i = 0; i < BL_LEDGER_ROWS; i++) {
		struct db_op *op = &ops[i];

		op->rc = rc == 0 ? usage_inserted(lane, op->arg, &op->result) : bl_op_usage(lane, op->arg, &op->result);
		if (db_fatal(op->rc))
			return i + 1;
	}
	return i;
}
