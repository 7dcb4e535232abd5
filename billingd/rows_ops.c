/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the ledger in SQLite, as they are: whole ones, in pages. Runs on the store's reading thread. */
#include "config.h"

#include <stdlib.h>

#include "billingd/sqlite.h"

static int64_t
col_or(struct db_q *q, int64_t other)
{
	int64_t v = db_q_col_time(q);

	return v != DB_NEVER_MS ? v : other;
}

/* From "prompt" to "seq". */
static void
read_middle(struct db_q *q, struct bl_usage *u)
{
	uint64_t *const counts[] = { &u->tokens.prompt, &u->tokens.cache_read, &u->tokens.cache_write, &u->tokens.completion,
		&u->tokens.reasoning, &u->reserved, &u->window.minute };

	for (size_t i = 0; i < TF_LEN(counts); i++)
		*counts[i] = (uint64_t)db_q_col_int(q);
	u->began_ms = db_q_col_int(q);
	u->ended_ms = db_q_col_int(q);
	u->first_us = col_or(q, -1);
	u->status = (uint32_t)db_q_col_int(q);
	u->text[BL_T_FINISH] = db_q_col_span(q);
	u->text[BL_T_CODE] = db_q_col_span(q);
	u->text[BL_T_WORKER] = db_q_col_span(q);
	u->instance = db_q_col_int(q);
	u->seq = (uint64_t)db_q_col_int(q);
}

int
bl_row_read(struct db_q *q, struct bl_ledger_row *out)
{
	struct bl_usage u = { 0 };
	uint64_t *const windows[] = { &u.window.budget, &u.window.month, &u.window.key };

	out->id = db_q_col_int(q);
	db_q_col_blob(q, u.request.b, sizeof u.request.b);
	u.attempt = (uint32_t)db_q_col_int(q);
	db_q_col_blob(q, u.workspace.b, sizeof u.workspace.b);
	db_q_col_blob(q, u.key.b, sizeof u.key.b);
	u.text[BL_T_MODEL] = db_q_col_span(q);
	u.text[BL_T_SURFACE] = db_q_col_span(q);
	u.outcome = (uint8_t)db_q_col_int(q);
	out->charged = db_q_col_int(q) != 0;
	u.delivered = db_q_col_int(q) != 0;
	u.estimated = db_q_col_int(q) != 0;
	u.stream = db_q_col_int(q) != 0;
	read_middle(q, &u);
	u.units.images = (uint64_t)db_q_col_int(q);
	u.units.audio_ms = (uint64_t)db_q_col_int(q);
	u.units.characters = (uint64_t)db_q_col_int(q);
	for (size_t i = 0; i < TF_P_COUNT; i++)
		u.price.v[i] = col_or(q, TF_NO_PRICE);
	u.cost = (uint64_t)db_q_col_int(q);
	u.unbilled = (uint64_t)db_q_col_int(q);
	u.provisional = db_q_col_int(q) != 0;
	for (size_t i = 0; i < TF_LEN(windows); i++)
		*windows[i] = (uint64_t)db_q_col_int(q);
	out->gpu_ms = db_q_col_int(q);
	out->price_gpu_hour = col_or(q, TF_NO_PRICE);
	out->u = bl_usage_copy(&u);
	return out->u != NULL ? 0 : TF_E_NOMEM;
}

/* The workspace that comes next in the ledger: 1, or 0 when there is none. */
static int
next_space(struct db_lane *lane, struct tf_id *workspace)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_NEXT_SPACE);
	int rc;

	db_q_id(&q, workspace);
	rc = db_q_step(&q);
	if (rc == 1) {
		db_q_col_blob(&q, workspace->b, sizeof workspace->b);
		db_q_end(&q);
	}
	return rc;
}

/* Behind a row of one workspace. */
static int
page_space(struct db_lane *lane, struct bl_page *p, int64_t after_ms, int64_t after_id)
{
	struct db_q q = db_q(lane, BL_S_LEDGER_PAGE);
	int rc;

	db_q_id(&q, &p->workspace);
	db_q_int(&q, after_ms);
	db_q_int(&q, after_id);
	db_q_int(&q, p->to_ms);
	db_q_int(&q, (int64_t)(p->most - p->n));
	while ((rc = db_q_step(&q)) == 1) {
		rc = bl_row_read(&q, &p->v[p->n]);
		if (rc != 0) {
			db_q_end(&q);
			return rc;
		}
		p->n++;
	}
	return rc;
}

int
bl_op_page(struct db_lane *lane, struct bl_page *p)
{
	static const struct tf_id none;
	bool within = p->after_id != 0;
	int rc = 1;

	p->v = calloc(p->most + 1, sizeof *p->v);
	if (p->v == NULL)
		return TF_E_NOMEM;
	if (p->all && tf_id_eq(p->workspace, none))
		rc = next_space(lane, &p->workspace);
	while (rc == 1) {
		rc = page_space(lane, p, within ? p->after_ms : p->from_ms - 1, within ? p->after_id : INT64_MAX);
		if (rc != 0 || !p->all || p->n == p->most)
			break;
		within = false;
		rc = next_space(lane, &p->workspace);
	}
	return rc;
}
