/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of the store in SQLite, except the ledger's: what is read at the start, and
 * changes of workspaces, keys and instances. Runs on the store's thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/limit.h"
#include "billingd/sqlite.h"

/* Room for one more element of *v (n so far); NULL without memory. */
static void *
grow(void *v, size_t n, size_t size)
{
	void **array = v;
	void *more;

	if (n != 0 && (n & (n - 1)) != 0)
		return (char *)*array + n * size;
	more = realloc(*array, (n ? 2 * n : 1) * size);
	if (more == NULL)
		return NULL;
	*array = more;
	return (char *)more + n * size;
}

/* ---- start -------------------------------------------------------------------------------- */

static int
load_workspaces(struct bl_lane *lane, struct bl_start *s)
{
	struct bl_q q = bl_q(lane, BL_S_WORKSPACE_ALL);
	int rc;

	while ((rc = bl_q_step(&q)) == 1) {
		struct bl_workspace_row *w = grow(&s->workspaces, s->n_workspaces, sizeof *w);

		if (w == NULL) {
			bl_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_workspaces++;
		bl_q_col_blob(&q, w->id.b, sizeof w->id.b);
		bl_q_col_text(&q, w->name, sizeof w->name);
		bl_q_col_text(&q, w->plan, sizeof w->plan);
		w->created_ms = bl_q_col_int(&q);
	}
	return rc;
}

static int
load_models(struct bl_lane *lane, struct bl_key_row *k)
{
	struct bl_q q = bl_q(lane, BL_S_KEY_MODEL_ALL);
	int rc;

	bl_q_id(&q, &k->id);
	while ((rc = bl_q_step(&q)) == 1) {
		char **model = grow(&k->models, k->n_models, sizeof *model);

		if (model == NULL || (*model = bl_q_col_dup(&q)) == NULL) {
			bl_q_end(&q);
			return TF_E_NOMEM;
		}
		k->n_models++;
	}
	return rc;
}

static int
load_keys(struct bl_lane *lane, struct bl_start *s)
{
	struct bl_q q = bl_q(lane, BL_S_KEY_ALL);
	int rc, models;

	while ((rc = bl_q_step(&q)) == 1) {
		struct bl_key_row *k = grow(&s->keys, s->n_keys, sizeof *k);

		if (k == NULL) {
			bl_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_keys++;
		memset(k, 0, sizeof *k);
		bl_q_col_blob(&q, k->id.b, sizeof k->id.b);
		bl_q_col_blob(&q, k->workspace.b, sizeof k->workspace.b);
		bl_q_col_text(&q, k->name, sizeof k->name);
		bl_q_col_text(&q, k->form, sizeof k->form);
		bl_q_col_text(&q, k->env, sizeof k->env);
		k->created_ms = bl_q_col_int(&q);
		k->expires_ms = bl_q_col_time(&q);
		k->revoked_ms = bl_q_col_time(&q);
		k->last_used_ms = bl_q_col_int(&q);
		models = load_models(lane, k);
		if (models != 0) {
			bl_q_end(&q);
			return models;
		}
	}
	return rc;
}

static int
load_secrets(struct bl_lane *lane, struct bl_start *s)
{
	struct bl_q q = bl_q(lane, BL_S_SECRET_ALL);
	int rc;

	while ((rc = bl_q_step(&q)) == 1) {
		struct bl_secret_row *k = grow(&s->secrets, s->n_secrets, sizeof *k);

		if (k == NULL) {
			bl_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_secrets++;
		bl_q_col_blob(&q, k->digest, sizeof k->digest);
		bl_q_col_blob(&q, k->key.b, sizeof k->key.b);
		k->generation = (uint64_t)bl_q_col_int(&q);
		bl_q_col_text(&q, k->prefix, sizeof k->prefix);
		bl_q_col_text(&q, k->last4, sizeof k->last4);
		k->pepper = bl_q_col_int(&q);
		k->created_ms = bl_q_col_int(&q);
		k->until_ms = bl_q_col_time(&q);
	}
	return rc;
}

static int
load_instances(struct bl_lane *lane, struct bl_start *s)
{
	struct bl_q q = bl_q(lane, BL_S_INSTANCE_RECENT);
	int rc;

	bl_q_int(&q, s->now_ms - BL_WINDOW_MS);
	while ((rc = bl_q_step(&q)) == 1) {
		struct bl_instance_row *i = grow(&s->instances, s->n_instances, sizeof *i);

		if (i == NULL) {
			bl_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_instances++;
		i->id = bl_q_col_int(&q);
		bl_q_col_text(&q, i->name, sizeof i->name);
		i->boot = (uint64_t)bl_q_col_int(&q);
		i->seq = (uint64_t)bl_q_col_int(&q);
		i->gone_ms = bl_q_col_time(&q);
	}
	return rc;
}

/* What the ledger knows of each workspace's last minute. */
static int
load_windows(struct bl_lane *lane, struct bl_start *s)
{
	for (size_t i = 0; i < s->n_workspaces; i++) {
		struct bl_q q = bl_q(lane, BL_S_LEDGER_WINDOW);
		struct bl_window_row *w;
		int rc;

		bl_q_id(&q, &s->workspaces[i].id);
		bl_q_int(&q, s->now_ms - BL_WINDOW_MS);
		rc = bl_q_step(&q);
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		w = grow(&s->windows, s->n_windows, sizeof *w);
		if (w != NULL) {
			s->n_windows++;
			w->workspace = s->workspaces[i].id;
			w->window = (uint64_t)bl_q_col_int(&q);
			w->requests = (uint64_t)bl_q_col_int(&q);
			w->tokens = (uint64_t)bl_q_col_int(&q);
		}
		bl_q_end(&q);
		if (w == NULL)
			return TF_E_NOMEM;
	}
	return 0;
}

static int
meta(struct bl_lane *lane, enum bl_stmt stmt, const char *name, uint64_t *out)
{
	struct bl_q q = bl_q(lane, stmt);
	int rc;

	bl_q_str(&q, name);
	rc = bl_q_step(&q);
	if (rc == 0)
		return TF_E_NOENT;
	if (rc < 0)
		return rc;
	*out = (uint64_t)bl_q_col_int(&q);
	return bl_q_run(&q);
}

/* Digests made with another pepper would refuse every key without a word. */
static int
check_pepper(struct bl_lane *lane, int64_t pepper)
{
	struct bl_q q = bl_q(lane, BL_S_META_PUT);
	uint64_t there = 0;
	int rc;

	bl_q_str(&q, "pepper");
	bl_q_int(&q, pepper);
	rc = bl_q_run(&q);
	if (rc == 0)
		rc = meta(lane, BL_S_META_GET, "pepper", &there);
	return rc != 0 ? rc : (int64_t)there == pepper ? 0 : TF_E_STATE;
}

int
bl_op_start(struct bl_lane *lane, struct bl_start *s)
{
	int rc;

	if ((rc = check_pepper(lane, s->pepper)) != 0 ||
	    (rc = meta(lane, BL_S_META_NEXT, "epoch", &s->epoch)) != 0 ||
	    (rc = meta(lane, BL_S_META_GET, "change", &s->change)) != 0 ||
	    (rc = load_workspaces(lane, s)) != 0 || (rc = load_keys(lane, s)) != 0 ||
	    (rc = load_secrets(lane, s)) != 0 || (rc = load_instances(lane, s)) != 0)
		return rc;
	return load_windows(lane, s);
}

/* ---- changes ------------------------------------------------------------------------------ */

static int
workspace_new(struct bl_lane *lane, const struct bl_workspace_row *w)
{
	struct bl_q q = bl_q(lane, BL_S_WORKSPACE_NEW);

	bl_q_id(&q, &w->id);
	bl_q_str(&q, w->name);
	bl_q_str(&q, w->plan);
	bl_q_int(&q, w->created_ms);
	return bl_q_run(&q);
}

static int
workspace_plan(struct bl_lane *lane, const struct bl_workspace_row *w)
{
	struct bl_q q = bl_q(lane, BL_S_WORKSPACE_PLAN);

	bl_q_id(&q, &w->id);
	bl_q_str(&q, w->plan);
	return bl_q_run(&q);
}

static int
key_new(struct bl_lane *lane, const struct bl_key_row *k)
{
	struct bl_q q = bl_q(lane, BL_S_KEY_NEW);
	int rc;

	bl_q_id(&q, &k->id);
	bl_q_id(&q, &k->workspace);
	bl_q_str(&q, k->name);
	bl_q_str(&q, k->form);
	bl_q_str(&q, k->env);
	bl_q_int(&q, k->created_ms);
	bl_q_time(&q, k->expires_ms);
	rc = bl_q_run(&q);
	for (size_t i = 0; i < k->n_models && rc == 0; i++) {
		struct bl_q m = bl_q(lane, BL_S_KEY_MODEL_NEW);

		bl_q_id(&m, &k->id);
		bl_q_str(&m, k->models[i]);
		rc = bl_q_run(&m);
	}
	return rc;
}

static int
secret_new(struct bl_lane *lane, const struct bl_secret_row *s)
{
	struct bl_q q = bl_q(lane, BL_S_SECRET_NEW);

	bl_q_blob(&q, s->digest, sizeof s->digest);
	bl_q_id(&q, &s->key);
	bl_q_int(&q, (int64_t)s->generation);
	bl_q_str(&q, s->prefix);
	bl_q_str(&q, s->last4);
	bl_q_int(&q, s->pepper);
	bl_q_int(&q, s->created_ms);
	bl_q_time(&q, s->until_ms);
	return bl_q_run(&q);
}

static int
secret_set(struct bl_lane *lane, enum bl_op_kind kind, const struct bl_secret_row *s)
{
	struct bl_q q = bl_q(lane, kind == BL_OP_SECRET_DROP ? BL_S_SECRET_DROP : BL_S_SECRET_UNTIL);

	bl_q_blob(&q, s->digest, sizeof s->digest);
	if (kind == BL_OP_SECRET_UNTIL)
		bl_q_time(&q, s->until_ms);
	return bl_q_run(&q);
}

static int
key_set(struct bl_lane *lane, enum bl_op_kind kind, const struct bl_key_row *k)
{
	struct bl_q q = bl_q(lane, kind == BL_OP_KEY_REVOKE ? BL_S_KEY_REVOKE : BL_S_KEY_USED);

	bl_q_id(&q, &k->id);
	bl_q_int(&q, kind == BL_OP_KEY_REVOKE ? k->revoked_ms : k->last_used_ms);
	return bl_q_run(&q);
}

static int
instance_get(struct bl_lane *lane, struct bl_instance_row *i)
{
	struct bl_q q = bl_q(lane, BL_S_INSTANCE_GET);
	int rc;

	bl_q_str(&q, i->name);
	bl_q_int(&q, (int64_t)i->boot);
	rc = bl_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	i->id = bl_q_col_int(&q);
	i->seq = (uint64_t)bl_q_col_int(&q);
	return bl_q_run(&q);
}

static int
instance_ack(struct bl_lane *lane, const struct bl_instance_row *i)
{
	struct bl_q q = bl_q(lane, BL_S_INSTANCE_ACK);

	bl_q_int(&q, i->id);
	bl_q_int(&q, (int64_t)i->seq);
	bl_q_time(&q, i->gone_ms);
	return bl_q_run(&q);
}

static int
rebuild(struct bl_lane *lane)
{
	struct bl_q clear = bl_q(lane, BL_S_DAY_CLEAR), fill = bl_q(lane, BL_S_DAY_FILL);
	int rc = bl_q_run(&clear);

	return rc != 0 ? rc : bl_q_run(&fill);
}

int
bl_op_run(struct bl_lane *lane, struct bl_op *op)
{
	switch (op->kind) {
	case BL_OP_START:
		return bl_op_start(lane, op->arg);
	case BL_OP_USAGE:
		return bl_op_usage(lane, op->arg, &op->result);
	case BL_OP_ACK:
		return instance_ack(lane, op->arg);
	case BL_OP_INSTANCE:
		return instance_get(lane, op->arg);
	case BL_OP_WORKSPACE_NEW:
		return workspace_new(lane, op->arg);
	case BL_OP_WORKSPACE_PLAN:
		return workspace_plan(lane, op->arg);
	case BL_OP_KEY_NEW:
		return key_new(lane, op->arg);
	case BL_OP_SECRET_NEW:
		return secret_new(lane, op->arg);
	case BL_OP_SECRET_UNTIL:
	case BL_OP_SECRET_DROP:
		return secret_set(lane, op->kind, op->arg);
	case BL_OP_KEY_REVOKE:
	case BL_OP_KEY_USED:
		return key_set(lane, op->kind, op->arg);
	case BL_OP_CHANGE:
		return meta(lane, BL_S_META_NEXT, "change", op->arg);
	case BL_OP_SUMS:
		return bl_op_sums(lane, op->arg);
	case BL_OP_REBUILD:
		return rebuild(lane);
	}
	return TF_E_INVAL;
}
