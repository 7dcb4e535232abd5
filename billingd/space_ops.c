/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bounds a workspace, and what it is given beside its plan, in SQLite. Balances and extra tokens
 * change by differences only: the ledger draws on them in transactions of its own. Runs on the store's thread.
 */
#include "config.h"

#include "billingd/sqlite.h"

static int
space_set(struct db_lane *lane, const struct bl_space_set *s)
{
	struct db_q q = db_q(lane, BL_S_SPACE_SET);

	db_q_id(&q, &s->row.id);
	db_q_int(&q, s->parts);
	bl_bind_opt(&q, s->row.cap_tokens);
	bl_bind_opt(&q, s->row.cap_images);
	bl_bind_opt(&q, s->row.cap_audio_ms);
	bl_bind_opt(&q, s->row.budget);
	return db_q_run(&q);
}

static int
topup_new(struct db_lane *lane, const struct bl_topup_row *t)
{
	struct db_q q = db_q(lane, BL_S_TOPUP_NEW);
	int rc;

	db_q_id(&q, &t->id);
	db_q_id(&q, &t->workspace);
	db_q_int(&q, t->tokens);
	db_q_int(&q, t->money);
	db_q_int(&q, t->created_ms);
	db_q_str(&q, t->actor);
	db_q_str(&q, t->note);
	rc = db_q_run(&q);
	if (rc != 0)
		return rc;
	q = db_q(lane, BL_S_TOPUP_ADD);
	db_q_id(&q, &t->workspace);
	db_q_int(&q, t->tokens);
	db_q_int(&q, t->money);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_STATE : rc;
	return db_q_run(&q);
}

static int
topups_read(struct db_lane *lane, struct bl_topups *s)
{
	struct db_q q = db_q(lane, BL_S_TOPUP_ALL);
	int rc;

	if (s->of_workspace)
		db_q_id(&q, &s->workspace);
	else
		db_q_null(&q);
	while ((rc = db_q_step(&q)) == 1) {
		struct bl_topup_row *t = bl_op_grow(&s->v, s->n, sizeof *t);

		if (t == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n++;
		db_q_col_blob(&q, t->id.b, sizeof t->id.b);
		db_q_col_blob(&q, t->workspace.b, sizeof t->workspace.b);
		t->tokens = db_q_col_int(&q);
		t->money = db_q_col_int(&q);
		t->created_ms = db_q_col_int(&q);
		db_q_col_text(&q, t->actor, sizeof t->actor);
		db_q_col_text(&q, t->note, sizeof t->note);
	}
	return rc;
}

static int
count(struct db_lane *lane, enum bl_stmt stmt, const struct tf_id *workspace, int64_t *n)
{
	struct db_q q = db_q(lane, stmt);
	int rc;

	db_q_id(&q, workspace);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	*n = db_q_col_int(&q);
	return db_q_run(&q);
}

static int
space_info(struct db_lane *lane, struct bl_space_info *s)
{
	int rc = bl_op_sums(lane, &s->sums);

	if (rc == 0)
		rc = count(lane, BL_S_SPACE_MEMBERS, &s->sums.workspace, &s->members);
	return rc == 0 ? count(lane, BL_S_SPACE_DEPLOYMENTS, &s->sums.workspace, &s->deployments) : rc;
}

int
bl_op_spaces(struct db_lane *lane, struct db_op *op)
{
	switch (op->kind) {
	case BL_OP_SPACE_SET:
		return space_set(lane, op->arg);
	case BL_OP_SPACE_INFO:
		return space_info(lane, op->arg);
	case BL_OP_TOPUP:
		return topup_new(lane, op->arg);
	case BL_OP_TOPUPS:
		return topups_read(lane, op->arg);
	default:
		return TF_E_INVAL;
	}
}
