/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of the store in SQLite, except the ledger's: what is read at the start, and
 * changes of workspaces, keys and instances. Runs on the store's thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/limit.h"
#include "billingd/sqlite.h"

#define DAY_MS 86400000

void *
bl_op_grow(void *v, size_t n, size_t size)
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

/* Null is the time that does not come, which no amount reaches. */
static struct bl_opt
col_opt(struct db_q *q)
{
	int64_t v = db_q_col_time(q);

	return v != DB_NEVER_MS ? (struct bl_opt){ true, v } : (struct bl_opt){ false, 0 };
}

static int
load_workspaces(struct db_lane *lane, struct bl_start *s)
{
	struct db_q q = db_q(lane, BL_S_WORKSPACE_ALL);
	int rc;

	while ((rc = db_q_step(&q)) == 1) {
		struct bl_workspace_row *w = bl_op_grow(&s->workspaces, s->n_workspaces, sizeof *w);

		if (w == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_workspaces++;
		db_q_col_blob(&q, w->id.b, sizeof w->id.b);
		db_q_col_text(&q, w->name, sizeof w->name);
		db_q_col_text(&q, w->plan, sizeof w->plan);
		w->created_ms = db_q_col_int(&q);
		w->cap_tokens = col_opt(&q);
		w->cap_images = col_opt(&q);
		w->cap_audio_ms = col_opt(&q);
		w->budget = col_opt(&q);
		w->balance = col_opt(&q);
		w->extra_tokens = db_q_col_int(&q);
	}
	return rc;
}

/* One text a row, of a statement that takes the key. */
static int
load_texts(struct db_lane *lane, enum bl_stmt stmt, const struct tf_id *key, struct bl_texts *out)
{
	struct db_q q = db_q(lane, stmt);
	int rc;

	db_q_id(&q, key);
	while ((rc = db_q_step(&q)) == 1) {
		char **text = bl_op_grow(&out->v, out->n, sizeof *text);

		if (text == NULL || (*text = db_q_col_dup(&q)) == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		out->n++;
	}
	return rc;
}

/* The lists of a key. */
static int
load_lists(struct db_lane *lane, struct bl_key_row *k)
{
	int rc = load_texts(lane, BL_S_KEY_MODEL_ALL, &k->id, &k->models);

	if (rc == 0)
		rc = load_texts(lane, BL_S_KEY_ENDPOINT_ALL, &k->id, &k->endpoints);
	return rc == 0 ? load_texts(lane, BL_S_KEY_NETWORK_ALL, &k->id, &k->networks) : rc;
}

static int
load_keys(struct db_lane *lane, struct bl_start *s)
{
	struct db_q q = db_q(lane, BL_S_KEY_ALL);
	int rc, lists;

	while ((rc = db_q_step(&q)) == 1) {
		struct bl_key_row *k = bl_op_grow(&s->keys, s->n_keys, sizeof *k);

		if (k == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_keys++;
		memset(k, 0, sizeof *k);
		db_q_col_blob(&q, k->id.b, sizeof k->id.b);
		db_q_col_blob(&q, k->workspace.b, sizeof k->workspace.b);
		db_q_col_text(&q, k->name, sizeof k->name);
		db_q_col_text(&q, k->form, sizeof k->form);
		db_q_col_text(&q, k->env, sizeof k->env);
		k->created_ms = db_q_col_int(&q);
		k->expires_ms = db_q_col_time(&q);
		k->revoked_ms = db_q_col_time(&q);
		k->last_used_ms = db_q_col_int(&q);
		k->rpm = db_q_col_int(&q);
		k->tpm = db_q_col_int(&q);
		k->concurrency = db_q_col_int(&q);
		k->budget = col_opt(&q);
		k->scopes = (unsigned)db_q_col_int(&q);
		lists = load_lists(lane, k);
		if (lists != 0) {
			db_q_end(&q);
			return lists;
		}
	}
	return rc;
}

static int
load_secrets(struct db_lane *lane, struct bl_start *s)
{
	struct db_q q = db_q(lane, BL_S_SECRET_ALL);
	int rc;

	while ((rc = db_q_step(&q)) == 1) {
		struct bl_secret_row *k = bl_op_grow(&s->secrets, s->n_secrets, sizeof *k);

		if (k == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_secrets++;
		db_q_col_blob(&q, k->digest, sizeof k->digest);
		db_q_col_blob(&q, k->key.b, sizeof k->key.b);
		k->generation = (uint64_t)db_q_col_int(&q);
		db_q_col_text(&q, k->prefix, sizeof k->prefix);
		db_q_col_text(&q, k->last4, sizeof k->last4);
		k->pepper = db_q_col_int(&q);
		k->created_ms = db_q_col_int(&q);
		k->until_ms = db_q_col_time(&q);
	}
	return rc;
}

static int
load_instances(struct db_lane *lane, struct bl_start *s)
{
	struct db_q q = db_q(lane, BL_S_INSTANCE_RECENT);
	int rc;

	db_q_int(&q, s->now_ms - BL_WINDOW_MS);
	while ((rc = db_q_step(&q)) == 1) {
		struct bl_instance_row *i = bl_op_grow(&s->instances, s->n_instances, sizeof *i);

		if (i == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		s->n_instances++;
		i->id = db_q_col_int(&q);
		db_q_col_text(&q, i->name, sizeof i->name);
		i->boot = (uint64_t)db_q_col_int(&q);
		i->seq = (uint64_t)db_q_col_int(&q);
		i->gone_ms = db_q_col_time(&q);
	}
	return rc;
}

/* ---- windows that may still run ------------------------------------------------------------- */

static struct bl_window_row *
window_new(struct bl_start *s, const struct tf_id *workspace, const struct tf_id *key, enum bl_window_kind kind)
{
	struct bl_window_row *w = bl_op_grow(&s->windows, s->n_windows, sizeof *w);

	if (w == NULL)
		return NULL;
	s->n_windows++;
	memset(w, 0, sizeof *w);
	w->workspace = *workspace;
	w->of_key = key != NULL;
	if (key != NULL)
		w->key = *key;
	w->kind = (uint8_t)kind;
	return w;
}

/* What the ledger knows of the last minute of a workspace, or of a key. */
static int
load_minute(struct db_lane *lane, struct bl_start *s, const struct tf_id *workspace, const struct tf_id *key)
{
	struct db_q q = db_q(lane, key != NULL ? BL_S_LEDGER_KEY_WINDOW : BL_S_LEDGER_WINDOW);
	struct bl_window_row *w;
	int rc;

	db_q_id(&q, workspace);
	db_q_int(&q, s->now_ms - BL_WINDOW_MS);
	if (key != NULL)
		db_q_id(&q, key);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	w = window_new(s, workspace, key, key != NULL ? BL_W_KEY : BL_W_MINUTE);
	if (w != NULL) {
		w->window = (uint64_t)db_q_col_int(&q);
		w->requests = (uint64_t)db_q_col_int(&q);
		w->tokens = (uint64_t)db_q_col_int(&q);
	}
	db_q_end(&q);
	return w != NULL ? 0 : TF_E_NOMEM;
}

/* Newest first: which of them runs, the plan says. */
static int
load_budgets(struct db_lane *lane, struct bl_start *s, const struct tf_id *workspace)
{
	struct db_q q = db_q(lane, BL_S_WINDOW_RECENT);
	int rc;

	db_q_id(&q, workspace);
	db_q_int(&q, s->now_ms);
	while ((rc = db_q_step(&q)) == 1) {
		struct bl_window_row *w = window_new(s, workspace, NULL, BL_W_BUDGET);

		if (w == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		w->window = (uint64_t)db_q_col_int(&q);
		w->tokens = (uint64_t)db_q_col_int(&q);
	}
	return rc;
}

/*
 * The month, from the daily sums: of each key, and of the workspace, which is all of them. Tokens beyond a
 * reservation, which were not charged, count here: no limit is passed by that.
 */
static int
load_month(struct db_lane *lane, struct bl_start *s, const struct tf_id *workspace)
{
	struct db_q q = db_q(lane, BL_S_MONTH_USED);
	uint64_t month = bl_month_start((uint64_t)s->now_ms);
	struct bl_window_row all = { .workspace = *workspace, .kind = BL_W_MONTH, .window = month }, *w;
	struct tf_id key;
	int rc;

	db_q_id(&q, workspace);
	db_q_int(&q, (int64_t)(month / DAY_MS));
	while ((rc = db_q_step(&q)) == 1) {
		db_q_col_blob(&q, key.b, sizeof key.b);
		w = window_new(s, workspace, &key, BL_W_MONTH);
		if (w == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		w->window = month;
		all.tokens += w->tokens = (uint64_t)db_q_col_int(&q);
		all.images += w->images = (uint64_t)db_q_col_int(&q);
		all.audio_ms += w->audio_ms = (uint64_t)db_q_col_int(&q);
		all.money += w->money = (uint64_t)db_q_col_int(&q);
	}
	if (rc != 0 || (all.tokens | all.images | all.audio_ms | all.money) == 0)
		return rc;
	w = window_new(s, workspace, NULL, BL_W_MONTH);
	if (w == NULL)
		return TF_E_NOMEM;
	*w = all;
	return 0;
}

static int
load_windows(struct db_lane *lane, struct bl_start *s)
{
	int rc = 0;

	for (size_t i = 0; i < s->n_workspaces && rc == 0; i++) {
		const struct tf_id *id = &s->workspaces[i].id;

		if ((rc = load_minute(lane, s, id, NULL)) == 0 && (rc = load_budgets(lane, s, id)) == 0)
			rc = load_month(lane, s, id);
	}
	for (size_t i = 0; i < s->n_keys && rc == 0; i++)
		if (s->keys[i].rpm != 0 || s->keys[i].tpm != 0)
			rc = load_minute(lane, s, &s->keys[i].workspace, &s->keys[i].id);
	return rc;
}

static int
meta(struct db_lane *lane, enum bl_stmt stmt, const char *name, uint64_t *out)
{
	struct db_q q = db_q(lane, stmt);
	int rc;

	db_q_str(&q, name);
	rc = db_q_step(&q);
	if (rc == 0)
		return TF_E_NOENT;
	if (rc < 0)
		return rc;
	*out = (uint64_t)db_q_col_int(&q);
	return db_q_run(&q);
}

/* Digests made with another pepper would refuse every key without a word. */
static int
check_pepper(struct db_lane *lane, int64_t pepper)
{
	struct db_q q = db_q(lane, BL_S_META_PUT);
	uint64_t there = 0;
	int rc;

	db_q_str(&q, "pepper");
	db_q_int(&q, pepper);
	rc = db_q_run(&q);
	if (rc == 0)
		rc = meta(lane, BL_S_META_GET, "pepper", &there);
	return rc != 0 ? rc : (int64_t)there == pepper ? 0 : TF_E_STATE;
}

int
bl_op_start(struct db_lane *lane, struct bl_start *s)
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
workspace_new(struct db_lane *lane, const struct bl_workspace_row *w)
{
	struct db_q q = db_q(lane, BL_S_WORKSPACE_NEW);

	db_q_id(&q, &w->id);
	db_q_str(&q, w->name);
	db_q_str(&q, w->plan);
	db_q_int(&q, w->created_ms);
	return db_q_run(&q);
}

static int
workspace_plan(struct db_lane *lane, const struct bl_workspace_row *w)
{
	struct db_q q = db_q(lane, BL_S_WORKSPACE_PLAN);

	db_q_id(&q, &w->id);
	db_q_str(&q, w->plan);
	return db_q_run(&q);
}

static int
texts_new(struct db_lane *lane, enum bl_stmt stmt, const struct tf_id *key, const struct bl_texts *t)
{
	int rc = 0;

	for (size_t i = 0; i < t->n && rc == 0; i++) {
		struct db_q q = db_q(lane, stmt);

		db_q_id(&q, key);
		db_q_str(&q, t->v[i]);
		rc = db_q_run(&q);
	}
	return rc;
}

/* Numbers of which 0 is no limit. */
static void
bind_limit(struct db_q *q, int64_t v)
{
	if (v == 0)
		db_q_null(q);
	else
		db_q_int(q, v);
}

void
bl_bind_opt(struct db_q *q, struct bl_opt v)
{
	if (v.is)
		db_q_int(q, v.v);
	else
		db_q_null(q);
}

static void
bind_key_limits(struct db_q *q, const struct bl_key_row *k)
{
	db_q_time(q, k->expires_ms);
	bind_limit(q, k->rpm);
	bind_limit(q, k->tpm);
	bind_limit(q, k->concurrency);
	bl_bind_opt(q, k->budget);
	db_q_int(q, k->scopes);
}

static int
key_new(struct db_lane *lane, const struct bl_key_row *k)
{
	struct db_q q = db_q(lane, BL_S_KEY_NEW);
	int rc;

	db_q_id(&q, &k->id);
	db_q_id(&q, &k->workspace);
	db_q_str(&q, k->name);
	db_q_str(&q, k->form);
	db_q_str(&q, k->env);
	db_q_int(&q, k->created_ms);
	bind_key_limits(&q, k);
	rc = db_q_run(&q);
	if (rc == 0)
		rc = texts_new(lane, BL_S_KEY_MODEL_NEW, &k->id, &k->models);
	if (rc == 0)
		rc = texts_new(lane, BL_S_KEY_ENDPOINT_NEW, &k->id, &k->endpoints);
	return rc == 0 ? texts_new(lane, BL_S_KEY_NETWORK_NEW, &k->id, &k->networks) : rc;
}

/* The list in place of the one that is there. */
static int
texts_replace(struct db_lane *lane, enum bl_stmt drop, enum bl_stmt add, const struct tf_id *key, const struct bl_texts *t)
{
	struct db_q q = db_q(lane, drop);
	int rc;

	db_q_id(&q, key);
	rc = db_q_run(&q);
	return rc == 0 ? texts_new(lane, add, key, t) : rc;
}

static int
key_limits(struct db_lane *lane, const struct bl_key_set *s)
{
	const struct bl_key_row *k = &s->row;
	struct db_q q = db_q(lane, BL_S_KEY_SET);
	int rc;

	db_q_id(&q, &k->id);
	db_q_int(&q, s->parts);
	bind_key_limits(&q, k);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_STATE : rc;
	rc = db_q_run(&q);
	if (rc == 0 && s->parts & BL_KEY_MODELS)
		rc = texts_replace(lane, BL_S_KEY_MODEL_DROP, BL_S_KEY_MODEL_NEW, &k->id, &k->models);
	if (rc == 0 && s->parts & BL_KEY_ENDPOINTS)
		rc = texts_replace(lane, BL_S_KEY_ENDPOINT_DROP, BL_S_KEY_ENDPOINT_NEW, &k->id, &k->endpoints);
	if (rc == 0 && s->parts & BL_KEY_NETWORKS)
		rc = texts_replace(lane, BL_S_KEY_NETWORK_DROP, BL_S_KEY_NETWORK_NEW, &k->id, &k->networks);
	return rc;
}

static int
secret_new(struct db_lane *lane, const struct bl_secret_row *s)
{
	struct db_q q = db_q(lane, BL_S_SECRET_NEW);

	db_q_blob(&q, s->digest, sizeof s->digest);
	db_q_id(&q, &s->key);
	db_q_int(&q, (int64_t)s->generation);
	db_q_str(&q, s->prefix);
	db_q_str(&q, s->last4);
	db_q_int(&q, s->pepper);
	db_q_int(&q, s->created_ms);
	db_q_time(&q, s->until_ms);
	return db_q_run(&q);
}

static int
secret_set(struct db_lane *lane, enum bl_op_kind kind, const struct bl_secret_row *s)
{
	struct db_q q = db_q(lane, kind == BL_OP_SECRET_DROP ? BL_S_SECRET_DROP : BL_S_SECRET_UNTIL);

	db_q_blob(&q, s->digest, sizeof s->digest);
	if (kind == BL_OP_SECRET_UNTIL)
		db_q_time(&q, s->until_ms);
	return db_q_run(&q);
}

static int
key_set(struct db_lane *lane, enum bl_op_kind kind, const struct bl_key_row *k)
{
	struct db_q q = db_q(lane, kind == BL_OP_KEY_REVOKE ? BL_S_KEY_REVOKE : BL_S_KEY_USED);

	db_q_id(&q, &k->id);
	db_q_int(&q, kind == BL_OP_KEY_REVOKE ? k->revoked_ms : k->last_used_ms);
	return db_q_run(&q);
}

static int
instance_get(struct db_lane *lane, struct bl_instance_row *i)
{
	struct db_q q = db_q(lane, BL_S_INSTANCE_GET);
	int rc;

	db_q_str(&q, i->name);
	db_q_int(&q, (int64_t)i->boot);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	i->id = db_q_col_int(&q);
	i->seq = (uint64_t)db_q_col_int(&q);
	return db_q_run(&q);
}

static int
instance_ack(struct db_lane *lane, const struct bl_instance_row *i)
{
	struct db_q q = db_q(lane, BL_S_INSTANCE_ACK);

	db_q_int(&q, i->id);
	db_q_int(&q, (int64_t)i->seq);
	db_q_time(&q, i->gone_ms);
	return db_q_run(&q);
}

static int
rebuild(struct db_lane *lane)
{
	struct db_q clear = db_q(lane, BL_S_DAY_CLEAR), fill = db_q(lane, BL_S_DAY_FILL);
	int rc = db_q_run(&clear);

	return rc != 0 ? rc : db_q_run(&fill);
}

int
bl_op_run(struct db_lane *lane, struct db_op *op)
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
	case BL_OP_KEY_SET:
		return key_limits(lane, op->arg);
	case BL_OP_CHANGE:
		return meta(lane, BL_S_META_NEXT, "change", op->arg);
	case BL_OP_SUMS:
		return bl_op_sums(lane, op->arg);
	case BL_OP_SPACE_SET:
	case BL_OP_SPACE_INFO:
	case BL_OP_TOPUP:
	case BL_OP_TOPUPS:
		return bl_op_spaces(lane, op);
	case BL_OP_DEPLOY:
	case BL_OP_DEPLOY_BILL:
	case BL_OP_DEPLOYMENTS:
		return bl_op_deployments(lane, op);
	case BL_OP_AUDIT:
	case BL_OP_USER_NEW:
	case BL_OP_USER_DROP:
	case BL_OP_MEMBER_NEW:
	case BL_OP_MEMBER_ROLE:
	case BL_OP_MEMBER_DROP:
	case BL_OP_USERS:
	case BL_OP_MEMBERS:
	case BL_OP_TRAIL:
		return bl_op_people(lane, op);
	case BL_OP_PAGE:
		return bl_op_page(lane, op->arg);
	case BL_OP_VERIFY:
		return bl_op_verify(lane, op->arg);
	case BL_OP_REBUILD_DAY:
		return bl_op_rebuild_day(lane, op->arg);
	case BL_OP_REBUILD:
		return rebuild(lane);
	case BL_OP_BACKUP:
		return bl_op_backup(lane, op->arg);
	case BL_OP_EXPIRE:
		return bl_op_expire(lane, op->arg);
	case BL_OP_SHRINK:
		return bl_op_shrink(lane, op->arg);
	}
	return TF_E_INVAL;
}
