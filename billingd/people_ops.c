/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, members and the trail of administrative acts in SQLite. That a workspace keeps its last
 * owner is decided here, inside the transaction: two who demote each other at once cannot both win.
 * Runs on the store's thread.
 */
#include "config.h"

#include "billingd/sqlite.h"

/* ---- users -------------------------------------------------------------------------------- */

static int
user_new(struct db_lane *lane, struct bl_user_row *u)
{
	struct db_q q = db_q(lane, BL_S_USER_NEW);
	int rc;

	db_q_id(&q, &u->id);
	db_q_str(&q, u->name);
	db_q_str(&q, u->full_name);
	db_q_int(&q, u->created_ms);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_EXIST : rc;
	db_q_col_blob(&q, u->id.b, sizeof u->id.b);
	return db_q_run(&q);
}

/* By id, else by name; fills the rest. */
static int
user_find(struct db_lane *lane, struct bl_user_row *u)
{
	struct db_q q = db_q(lane, BL_S_USER_GET);
	int rc;

	db_q_id(&q, &u->id);
	db_q_str(&q, u->name);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	db_q_col_blob(&q, u->id.b, sizeof u->id.b);
	db_q_col_text(&q, u->name, sizeof u->name);
	db_q_col_text(&q, u->full_name, sizeof u->full_name);
	u->created_ms = db_q_col_int(&q);
	db_q_end(&q);
	return 0;
}

static int
user_drop(struct db_lane *lane, struct bl_user_row *u)
{
	struct db_q keeps, leaves, drop;
	int rc = user_find(lane, u);

	if (rc != 0)
		return rc;
	keeps = db_q(lane, BL_S_USER_KEEPS);
	db_q_id(&keeps, &u->id);
	rc = db_q_step(&keeps);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		db_q_col_blob(&keeps, u->keeps.b, sizeof u->keeps.b);
		db_q_end(&keeps);
		return TF_E_STATE;
	}
	leaves = db_q(lane, BL_S_USER_LEAVES);
	db_q_id(&leaves, &u->id);
	rc = db_q_run(&leaves);
	if (rc != 0)
		return rc;
	drop = db_q(lane, BL_S_USER_DROP);
	db_q_id(&drop, &u->id);
	db_q_int(&drop, u->removed_ms);
	return db_q_run(&drop);
}

static int
users_read(struct db_lane *lane, struct bl_users *s)
{
	struct db_q q = db_q(lane, BL_S_USER_ALL);
	int rc;

	while ((rc = db_q_step(&q)) == 1) {
		struct bl_user_row *u = bl_op_grow(&s->v, s->n, sizeof *u);

		if (u == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		memset(u, 0, sizeof *u);
		s->n++;
		db_q_col_blob(&q, u->id.b, sizeof u->id.b);
		db_q_col_text(&q, u->name, sizeof u->name);
		db_q_col_text(&q, u->full_name, sizeof u->full_name);
		u->created_ms = db_q_col_int(&q);
		u->workspaces = db_q_col_int(&q);
	}
	return rc;
}

/* ---- members ------------------------------------------------------------------------------ */

static int
member_new(struct db_lane *lane, struct bl_member_row *m)
{
	int rc = user_find(lane, &m->user);
	struct db_q q;

	if (rc != 0)
		return rc;
	q = db_q(lane, BL_S_MEMBER_NEW);
	db_q_id(&q, &m->workspace);
	db_q_id(&q, &m->user.id);
	db_q_str(&q, bl_role_text(m->role));
	db_q_int(&q, m->since_ms);
	return db_q_run(&q);
}

/* A member gets another role, or leaves. */
static int
member_set(struct db_lane *lane, enum bl_op_kind kind, struct bl_member_row *m)
{
	int rc = user_find(lane, &m->user);
	struct db_q q;

	if (rc != 0)
		return rc;
	q = db_q(lane, BL_S_MEMBER_GET);
	db_q_id(&q, &m->workspace);
	db_q_id(&q, &m->user.id);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	(void)db_q_col_span(&q);
	m->since_ms = db_q_col_int(&q);
	db_q_end(&q);
	q = db_q(lane, kind == BL_OP_MEMBER_ROLE ? BL_S_MEMBER_ROLE : BL_S_MEMBER_DROP);
	db_q_id(&q, &m->workspace);
	db_q_id(&q, &m->user.id);
	if (kind == BL_OP_MEMBER_ROLE)
		db_q_str(&q, bl_role_text(m->role));
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_STATE : rc;
	return db_q_run(&q);
}

static int
members_read(struct db_lane *lane, struct bl_members *s)
{
	int rc = s->of_user ? user_find(lane, &s->user) : 0;
	struct db_q q;

	if (rc != 0)
		return rc;
	q = db_q(lane, BL_S_MEMBER_ALL);
	if (s->of_workspace)
		db_q_id(&q, &s->workspace);
	else
		db_q_null(&q);
	if (s->of_user)
		db_q_id(&q, &s->user.id);
	else
		db_q_null(&q);
	while ((rc = db_q_step(&q)) == 1) {
		struct bl_member_row *m = bl_op_grow(&s->v, s->n, sizeof *m);

		if (m == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		memset(m, 0, sizeof *m);
		s->n++;
		db_q_col_blob(&q, m->workspace.b, sizeof m->workspace.b);
		db_q_col_blob(&q, m->user.id.b, sizeof m->user.id.b);
		db_q_col_text(&q, m->user.name, sizeof m->user.name);
		db_q_col_text(&q, m->user.full_name, sizeof m->user.full_name);
		rc = bl_role_parse(db_q_col_span(&q), &m->role);
		if (rc != 0) {
			db_q_end(&q);
			return TF_E_IO; /* the schema lets nothing else in */
		}
		m->since_ms = db_q_col_int(&q);
	}
	return rc;
}

/* ---- the trail ---------------------------------------------------------------------------- */

static int
audit_new(struct db_lane *lane, struct bl_audit_row *a)
{
	struct db_q q = db_q(lane, BL_S_AUDIT_NEW);
	int rc;

	db_q_int(&q, a->at_ms);
	db_q_str(&q, a->actor);
	db_q_str(&q, a->action);
	if (a->at != NULL)
		db_q_id(&q, a->at);
	else if (a->has_workspace)
		db_q_id(&q, &a->workspace);
	else
		db_q_null(&q);
	db_q_str(&q, a->of != NULL ? a->of : a->subject);
	if (a->detail.n > 0)
		db_q_text(&q, tf_buf_span(&a->detail));
	else
		db_q_str(&q, "");
	if (a->has_act)
		db_q_id(&q, &a->act);
	else
		db_q_null(&q);
	rc = db_q_step(&q);
	if (rc == 0 && a->has_act)
		return 0; /* it was told before */
	if (rc != 1)
		return rc == 0 ? TF_E_IO : rc;
	a->id = db_q_col_int(&q);
	return db_q_run(&q);
}

static int
trail_row(struct db_q *q, struct bl_trail *t)
{
	struct bl_audit_row *a = bl_op_grow(&t->v, t->n, sizeof *a);
	struct tf_span workspace;

	if (a == NULL)
		return TF_E_NOMEM;
	memset(a, 0, sizeof *a);
	t->n++;
	a->id = db_q_col_int(q);
	a->at_ms = db_q_col_int(q);
	db_q_col_text(q, a->actor, sizeof a->actor);
	db_q_col_text(q, a->action, sizeof a->action);
	workspace = db_q_col_span(q);
	a->has_workspace = workspace.n == sizeof a->workspace.b;
	if (a->has_workspace)
		memcpy(a->workspace.b, workspace.p, workspace.n);
	db_q_col_text(q, a->subject, sizeof a->subject);
	return tf_buf_addspan(&a->detail, db_q_col_span(q));
}

static int
trail_read(struct db_lane *lane, struct bl_trail *t)
{
	struct db_q q = db_q(lane, t->of_workspace ? BL_S_AUDIT_OF : BL_S_AUDIT_ALL);
	int rc, row;

	db_q_int(&q, t->before);
	db_q_int(&q, t->since_ms);
	db_q_str(&q, t->action);
	db_q_int(&q, (int64_t)t->most);
	if (t->of_workspace)
		db_q_id(&q, &t->workspace);
	while ((rc = db_q_step(&q)) == 1) {
		row = trail_row(&q, t);
		if (row != 0) {
			db_q_end(&q);
			return row;
		}
	}
	return rc;
}

int
bl_op_people(struct db_lane *lane, struct db_op *op)
{
	switch (op->kind) {
	case BL_OP_AUDIT:
		return audit_new(lane, op->arg);
	case BL_OP_USER_NEW:
		return user_new(lane, op->arg);
	case BL_OP_USER_DROP:
		return user_drop(lane, op->arg);
	case BL_OP_MEMBER_NEW:
		return member_new(lane, op->arg);
	case BL_OP_MEMBER_ROLE:
	case BL_OP_MEMBER_DROP:
		return member_set(lane, op->kind, op->arg);
	case BL_OP_USERS:
		return users_read(lane, op->arg);
	case BL_OP_MEMBERS:
		return members_read(lane, op->arg);
	case BL_OP_TRAIL:
		return trail_read(lane, op->arg);
	default:
		return TF_E_INVAL;
	}
}
