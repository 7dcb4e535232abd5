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
	const struct bl_usage *first; /* borrowed from the batch: names the sum */
	uint64_t requests;
	struct bl_tokens tokens;
	struct bl_units units;
	uint64_t cost, unbilled;
	size_t nkey;
	char key[];                   /* workspace, key, day, model, 0, surface */
};

#define DAY_MS 86400000

static bool
is_charged(const struct bl_usage *u)
{
	return u->outcome == WIRE_OUTCOME_SERVED || u->outcome == WIRE_OUTCOME_PARTIAL;
}

static struct bl_day *
day_get(struct db_lane *lane, const struct bl_usage *u)
{
	const struct tf_span *model = &u->text[BL_T_MODEL], *surface = &u->text[BL_T_SURFACE];
	size_t n = 2 * sizeof(struct tf_id) + sizeof(int64_t) + model->n + 1 + surface->n;
	int64_t day = u->began_ms / DAY_MS;
	struct bl_day *d = calloc(1, sizeof *d + n), *old;
	char *at;

	if (d == NULL)
		return NULL;
	d->first = u;
	d->nkey = n;
	at = d->key;
	memcpy(at, u->workspace.b, sizeof u->workspace.b);
	memcpy(at += 16, u->key.b, sizeof u->key.b);
	memcpy(at += 16, &day, sizeof day);
	at += sizeof day;
	if (model->n > 0)
		memcpy(at, model->p, model->n);
	at += model->n + 1;
	if (surface->n > 0)
		memcpy(at, surface->p, surface->n);
	old = tf_map_get(lane->user, tf_span(d->key, n));
	if (old == NULL && tf_map_put(lane->user, tf_span(d->key, n), d) == 0)
		return d;
	free(d);
	return old;
}

static int
day_add(struct db_lane *lane, const struct bl_usage *u)
{
	struct bl_day *d = day_get(lane, u);

	if (d == NULL)
		return TF_E_NOMEM;
	d->requests++;
	d->tokens.prompt += u->tokens.prompt;
	d->tokens.cache_read += u->tokens.cache_read;
	d->tokens.cache_write += u->tokens.cache_write;
	d->tokens.completion += u->tokens.completion;
	d->tokens.reasoning += u->tokens.reasoning;
	d->units.images += u->units.images;
	d->units.audio_ms += u->units.audio_ms;
	d->units.characters += u->units.characters;
	d->cost += u->cost;
	d->unbilled += u->unbilled;
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

int
bl_days_flush(struct db_lane *lane)
{
	struct bl_day *d;
	size_t pos = 0;
	int rc = 0;

	while (rc == 0 && (d = tf_map_next(lane->user, &pos)) != NULL) {
		struct db_q q = db_q(lane, BL_S_DAY_ADD);

		db_q_id(&q, &d->first->workspace);
		db_q_int(&q, d->first->began_ms / DAY_MS);
		db_q_id(&q, &d->first->key);
		bind_name(&q, d->first->text[BL_T_MODEL]);
		bind_name(&q, d->first->text[BL_T_SURFACE]);
		db_q_int(&q, (int64_t)d->requests);
		bind_tokens(&q, &d->tokens);
		bind_units(&q, &d->units);
		db_q_int(&q, (int64_t)d->cost);
		db_q_int(&q, (int64_t)d->unbilled);
		rc = db_q_run(&q);
	}
	return rc;
}

void
bl_days_drop(struct db_lane *lane)
{
	struct bl_day *d;
	size_t pos = 0;

	while ((d = tf_map_next(lane->user, &pos)) != NULL) {
		tf_map_del(lane->user, tf_span(d->key, d->nkey));
		free(d);
	}
}

/* 1: inserted; 0: a unique index has it already. */
static int
insert(struct db_lane *lane, const struct bl_usage *u, bool charged)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_NEW);
	int rc;

	db_q_id(&q, &u->request);
	db_q_int(&q, u->attempt);
	db_q_id(&q, &u->workspace);
	db_q_id(&q, &u->key);
	bind_name(&q, u->text[BL_T_MODEL]);
	bind_name(&q, u->text[BL_T_SURFACE]);
	db_q_int(&q, u->outcome);
	db_q_int(&q, charged);
	db_q_int(&q, u->delivered);
	db_q_int(&q, u->estimated);
	db_q_int(&q, u->stream);
	bind_tokens(&q, &u->tokens);
	db_q_int(&q, (int64_t)u->reserved);
	db_q_int(&q, (int64_t)u->window.minute);
	db_q_int(&q, u->began_ms);
	db_q_int(&q, u->ended_ms);
	if (u->first_us < 0)
		db_q_null(&q);
	else
		db_q_int(&q, u->first_us);
	db_q_int(&q, u->status);
	db_q_text(&q, u->text[BL_T_FINISH]);
	db_q_text(&q, u->text[BL_T_CODE]);
	db_q_text(&q, u->text[BL_T_WORKER]);
	db_q_int(&q, u->instance);
	db_q_int(&q, (int64_t)u->seq);
	bind_units(&q, &u->units);
	bind_price(&q, &u->price);
	db_q_int(&q, (int64_t)u->cost);
	db_q_int(&q, (int64_t)u->unbilled);
	db_q_int(&q, u->provisional);
	db_q_int(&q, (int64_t)u->window.budget);
	db_q_int(&q, (int64_t)u->window.month);
	db_q_int(&q, (int64_t)u->window.key);
	rc = db_q_run(&q);
	return rc != 0 ? rc : sqlite3_changes(lane->db) > 0;
}

/* Outcome of the row that is there; 0: none. */
static int
outcome_there(struct db_lane *lane, const struct bl_usage *u)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_GET);
	int rc;

	db_q_id(&q, &u->request);
	db_q_int(&q, u->attempt);
	rc = db_q_step(&q);
	if (rc == 1) {
		rc = (int)db_q_col_int(&q);
		db_q_end(&q);
	}
	return rc;
}

static int
drop(struct db_lane *lane, const struct bl_usage *u)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_DROP);

	db_q_id(&q, &u->request);
	db_q_int(&q, u->attempt);
	return db_q_run(&q);
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
	return charged ? day_add(lane, u) : 0;
}

int
bl_op_usage(struct db_lane *lane, const struct bl_usage *u, int *result)
{
	bool charged = is_charged(u);
	int rc = insert(lane, u, charged), there;

	*result = BL_USAGE_NEW;
	if (rc != 0)
		return rc < 0 ? rc : charged ? day_add(lane, u) : 0;
	there = outcome_there(lane, u);
	if (there < 0)
		return there;
	if (there != 0 && (there != WIRE_OUTCOME_LOST || u->outcome == WIRE_OUTCOME_LOST)) {
		*result = BL_USAGE_REPLAY;
		return 0;
	}
	/* a lost attempt was charged nothing and is in no sum: what is known now replaces it */
	if (there == WIRE_OUTCOME_LOST) {
		*result = BL_USAGE_FINAL;
		rc = drop(lane, u);
		if (rc != 0)
			return rc;
	}
	return insert_once(lane, u, result);
}
