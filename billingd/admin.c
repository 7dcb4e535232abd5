/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of workspaces and keys, and the answers about keys. A change is durable first,
 * with its number; then it is in memory, then every gateway is told, then who asked for it
 * hears so. A key's text exists here for as long as it takes to show it once.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

#define SHOWN_RANDOM 4 /* characters of the random part that stay visible behind the form */

/* ---- the common path ---------------------------------------------------------------------- */

static void
change_free(struct bl_change *c)
{
	db_batch_free(&c->batch);
	bl_key_row_fini(&c->key);
	tf_wipe(c->text, sizeof c->text);
	free(c);
}

static void
change_stored(struct db_batch *b, void *arg)
{
	struct bl_change *c = arg;
	struct bl *bl = c->bl;

	c->rc = b->rc;
	bl->changes--;
	if (c->rc == 0) {
		bl->change = c->number;
		if (bl->hub != NULL)
			wire_hub_key_change(bl->hub, bl->change);
		c->rc = c->apply(c);
	}
	c->done(c, c->arg);
	change_free(c);
	bl_check_drained(bl);
}

static struct bl_change *
change_new(struct bl *bl, int (*apply)(struct bl_change *c), bl_changed *done, void *arg)
{
	struct bl_change *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->batch = db_batch_new(change_stored, c);
	if (c->batch == NULL) {
		free(c);
		return NULL;
	}
	c->bl = bl;
	c->apply = apply;
	c->done = done;
	c->arg = arg;
	return c;
}

/* Adds the number and submits; rc: of what was added before. Takes c. */
static int
change_go(struct bl_change *c, int rc)
{
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_CHANGE, &c->number);
	if (rc != 0) {
		change_free(c);
		return rc;
	}
	c->bl->changes++;
	db_store_submit(c->bl->store, c->batch);
	return 0;
}

void
bl_admin_tell(struct bl *bl, const struct tf_id *key, const struct tf_id *workspace)
{
	struct wire_key_change m = { .change = bl->change };
	struct tf_node *e, *tmp;

	if (key != NULL)
		m.key = tf_id_span(key);
	if (workspace != NULL)
		m.workspace = tf_id_span(workspace);
	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g->peer != NULL)
			(void)wire_send_key_change(g->peer, NULL, 0, &m, (struct tf_span){ 0 });
	}
}

/* A name for people: printable, no control characters, no quotes to stumble over. */
static int
name_copy(char out[static BL_NAME_MAX + 1], struct tf_span s)
{
	if (s.n == 0 || s.n > BL_NAME_MAX || s.p[0] == ' ' || s.p[s.n - 1] == ' ')
		return TF_E_INVAL;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\')
			return TF_E_INVAL;
	}
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return 0;
}

/* ---- workspaces --------------------------------------------------------------------------- */

static int
apply_workspace(struct bl_change *c)
{
	int rc = bl_index_add_workspace(&c->bl->index, &c->workspace, NULL);

	bl_admin_tell(c->bl, NULL, &c->workspace.id);
	return rc;
}

int
bl_admin_workspace(struct bl *bl, struct tf_span name, struct tf_span plan, bl_changed *done, void *arg)
{
	struct bl_change *c = change_new(bl, apply_workspace, done, arg);
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	c->workspace.id = tf_id_new();
	c->workspace.created_ms = bl_wall_ms();
	rc = name_copy(c->workspace.name, name);
	if (rc == 0)
		rc = name_copy(c->workspace.plan, plan);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_WORKSPACE_NEW, &c->workspace);
	return change_go(c, rc);
}

static int
apply_plan(struct bl_change *c)
{
	struct bl_workspace *w = bl_index_workspace(&c->bl->index, tf_id_span(&c->workspace.id));

	w->row = c->workspace;
	bl_admin_tell(c->bl, NULL, &w->row.id);
	bl_admit_recall(c->bl, w);
	return 0;
}

int
bl_admin_plan(struct bl *bl, struct bl_workspace *w, struct tf_span plan, bl_changed *done, void *arg)
{
	struct bl_change *c = change_new(bl, apply_plan, done, arg);
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	c->workspace = w->row;
	rc = name_copy(c->workspace.plan, plan);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_WORKSPACE_PLAN, &c->workspace);
	return change_go(c, rc);
}

/* ---- keys --------------------------------------------------------------------------------- */

/* Mints a text into c and its secret row. */
static int
mint_secret(struct bl_change *c, const struct bl_key_row *k, uint64_t generation)
{
	struct bl_secret_row *s = &c->secret;
	uint8_t sha[TF_SHA256];
	size_t n, form;

	if (tf_apikey_mint(k->form, k->env, c->text, sizeof c->text) != 0)
		return TF_E_INVAL;
	n = strlen(c->text);
	form = n - TF_APIKEY_RANDOM - TF_APIKEY_SUM;
	tf_sha256(c->text, n, sha);
	bl_pepper_digest(&c->bl->pepper, sha, s->digest);
	tf_wipe(sha, sizeof sha);
	s->key = k->id;
	s->generation = generation;
	s->pepper = c->bl->pepper.number;
	s->created_ms = bl_wall_ms();
	s->until_ms = BL_NEVER_MS;
	snprintf(s->prefix, sizeof s->prefix, "%.*s", (int)(form + SHOWN_RANDOM), c->text);
	snprintf(s->last4, sizeof s->last4, "%s", c->text + n - TF_APIKEY_SHOWN_TAIL);
	return db_batch_add(c->batch, BL_OP_SECRET_NEW, s);
}

static int
apply_mint(struct bl_change *c)
{
	struct tf_id id = c->key.id;
	int rc = bl_index_add_key(&c->bl->index, &c->key, NULL);

	if (rc == 0)
		rc = bl_index_add_secret(&c->bl->index, &c->secret);
	bl_admin_tell(c->bl, &id, NULL);
	return rc;
}

static int
models_copy(struct bl_key_row *k, const struct bl_mint *m)
{
	if (m->n_models == 0)
		return 0;
	k->models = calloc(m->n_models, sizeof *k->models);
	if (k->models == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < m->n_models; i++) {
		k->models[i] = tf_span_dup(m->models[i]);
		if (k->models[i] == NULL)
			return TF_E_NOMEM;
		k->n_models++;
	}
	return 0;
}

int
bl_admin_mint(struct bl *bl, const struct bl_mint *m, bl_changed *done, void *arg)
{
	struct bl_change *c = change_new(bl, apply_mint, done, arg);
	struct bl_key_row *k;
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	k = &c->key;
	k->id = tf_id_new();
	k->workspace = m->workspace->row.id;
	k->created_ms = bl_wall_ms();
	k->expires_ms = m->expires_ms;
	k->revoked_ms = BL_NEVER_MS;
	k->scopes = WIRE_SCOPE_INFERENCE;
	if (m->form.n >= sizeof k->form || m->env.n >= sizeof k->env)
		return change_go(c, TF_E_INVAL);
	memcpy(k->form, m->form.p, m->form.n);
	memcpy(k->env, m->env.p, m->env.n);
	rc = name_copy(k->name, m->name);
	if (rc == 0)
		rc = models_copy(k, m);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_KEY_NEW, k);
	if (rc == 0)
		rc = mint_secret(c, k, 1);
	return change_go(c, rc);
}

static void
secret_end(struct bl_index *ix, const struct bl_secret_row *row)
{
	struct bl_secret *s = tf_map_get(&ix->digests, tf_span(row->digest, sizeof row->digest));

	if (s != NULL)
		s->row.until_ms = row->until_ms;
}

static int
apply_rotate(struct bl_change *c)
{
	struct bl_index *ix = &c->bl->index;
	struct bl_secret *dropped = tf_map_get(&ix->digests, tf_span(c->dropped.digest, sizeof c->dropped.digest));
	struct tf_id id = c->secret.key;
	int rc;

	if (dropped != NULL)
		bl_index_drop_secret(ix, dropped);
	secret_end(ix, &c->ending);
	rc = bl_index_add_secret(ix, &c->secret);
	bl_admin_tell(c->bl, &id, NULL);
	return rc;
}

int
bl_admin_rotate(struct bl *bl, struct bl_key *k, int64_t grace_ms, bl_changed *done, void *arg)
{
	struct bl_secret *current = bl_key_current(k), *oldest = TF_CONTAINER(tf_list_first(&k->secrets), struct bl_secret, node);
	struct bl_change *c;
	int rc;

	if (k->row.revoked_ms != BL_NEVER_MS)
		return TF_E_STATE;
	c = change_new(bl, apply_rotate, done, arg);
	if (c == NULL)
		return TF_E_NOMEM;
	c->key.id = k->row.id;
	c->ending = current->row;
	c->ending.until_ms = bl_wall_ms() + grace_ms;
	rc = db_batch_add(c->batch, BL_OP_SECRET_UNTIL, &c->ending);
	if (rc == 0 && oldest != current) {
		c->dropped = oldest->row;
		rc = db_batch_add(c->batch, BL_OP_SECRET_DROP, &c->dropped);
	}
	if (rc == 0)
		rc = mint_secret(c, &k->row, current->row.generation + 1);
	return change_go(c, rc);
}

static int
apply_revoke(struct bl_change *c)
{
	struct bl_key *k = bl_index_key(&c->bl->index, tf_id_span(&c->key.id));

	if (k->row.revoked_ms == BL_NEVER_MS)
		k->workspace->n_keys--;
	k->row.revoked_ms = c->key.revoked_ms;
	bl_admin_tell(c->bl, &k->row.id, NULL);
	return 0;
}

int
bl_admin_revoke(struct bl *bl, struct bl_key *k, bl_changed *done, void *arg)
{
	struct bl_change *c;

	if (k->row.revoked_ms != BL_NEVER_MS)
		return TF_E_STATE;
	c = change_new(bl, apply_revoke, done, arg);
	if (c == NULL)
		return TF_E_NOMEM;
	c->key.id = k->row.id;
	c->key.revoked_ms = bl_wall_ms();
	return change_go(c, db_batch_add(c->batch, BL_OP_KEY_REVOKE, &c->key));
}

/* ---- who is behind a key ------------------------------------------------------------------ */

/* Lists of texts, each in a buffer of its own. */
struct key_lists {
	struct tf_buf models, endpoints, networks;
};

static int
lists_encode(const struct bl_key *k, struct key_lists *l)
{
	int rc = 0;

	for (size_t i = 0; i < k->row.n_models && rc == 0; i++)
		rc = wire_rep_add(&l->models, WIRE_FN_KEY_model, tf_cspan(k->row.models[i]));
	for (size_t i = 0; i < k->row.endpoints.n && rc == 0; i++)
		rc = wire_rep_add(&l->endpoints, WIRE_FN_KEY_endpoint, tf_cspan(k->row.endpoints.v[i]));
	for (size_t i = 0; i < k->row.networks.n && rc == 0; i++)
		rc = wire_rep_add(&l->networks, WIRE_FN_KEY_network, tf_cspan(k->row.networks.v[i]));
	return rc;
}

static void
lists_free(struct key_lists *l)
{
	tf_buf_free(&l->models);
	tf_buf_free(&l->endpoints);
	tf_buf_free(&l->networks);
}

/* What the key may do beside its status. */
static void
answer_limits(const struct bl *bl, const struct bl_key *k, struct wire_key *answer)
{
	struct bl_amount limit = { 0, 0 };

	(void)bl_plan_limits(bl, k->workspace, &limit);
	answer->rpm = limit.requests;
	answer->tpm = limit.tokens;
	wire_set(answer, KEY, scopes, k->row.scopes);
	answer->key_rpm = (uint64_t)k->row.rpm;
	answer->key_tpm = (uint64_t)k->row.tpm;
}

void
bl_admin_ask(struct bl *bl, struct wire_peer *p, const struct wire_frame *f, const struct wire_key_ask *m)
{
	struct wire_key answer = { .status = WIRE_KEY_UNKNOWN, .change = bl->change };
	uint8_t digest[BL_DIGEST];
	struct key_lists lists = { { 0 }, { 0 }, { 0 } };
	struct bl_secret *s = NULL;
	int64_t now = bl_wall_ms(), until;

	if (m->digest.n == TF_SHA256) {
		bl_pepper_digest(&bl->pepper, (const uint8_t *)m->digest.p, digest);
		s = tf_map_get(&bl->index.digests, tf_span(digest, sizeof digest));
	}
	if (s != NULL) {
		struct bl_key *k = s->key;

		answer.status = bl_secret_status(s, now, &until);
		answer.key = tf_id_span(&k->row.id);
		answer.workspace = tf_id_span(&k->workspace->row.id);
		answer.key_name = tf_cspan(k->row.name);
		answer.workspace_name = tf_cspan(k->workspace->row.name);
		answer.plan = tf_cspan(k->workspace->row.plan);
		if (answer.status == WIRE_KEY_ACTIVE && until != BL_NEVER_MS)
			wire_set(&answer, KEY, expires_ms, (uint64_t)(until - now));
		answer_limits(bl, k, &answer);
		/* half a list would be another permission: without memory the key is unknown for now */
		if (lists_encode(k, &lists) != 0)
			answer.status = WIRE_KEY_UNKNOWN;
		answer.model = wire_rep_of(&lists.models, WIRE_FN_KEY_model);
		answer.endpoint = wire_rep_of(&lists.endpoints, WIRE_FN_KEY_endpoint);
		answer.network = wire_rep_of(&lists.networks, WIRE_FN_KEY_network);
	}
	(void)wire_send_key(p, &f->id, 0, &answer, (struct tf_span){ 0 });
	lists_free(&lists);
}

/* ---- when keys were last used ------------------------------------------------------------- */

static void
used_stored(struct db_batch *b, void *arg)
{
	struct bl *bl = arg;

	bl->changes--;
	for (size_t i = 0; i < b->n; i++) {
		struct bl_key_row *row = b->ops[i].arg;
		struct bl_key *k = b->rc != 0 ? bl_index_key(&bl->index, tf_id_span(&row->id)) : NULL;

		if (k != NULL)
			k->used = true;
		free(row);
	}
	db_batch_free(&b);
	bl_check_drained(bl);
}

void
bl_admin_flush_used(struct bl *bl)
{
	struct db_batch *b = NULL;
	struct bl_key *k;
	size_t pos = 0;

	while ((k = tf_map_next(&bl->index.keys, &pos)) != NULL) {
		struct bl_key_row *row;

		if (!k->used)
			continue;
		if (b == NULL && (b = db_batch_new(used_stored, bl)) == NULL)
			return;
		row = calloc(1, sizeof *row);
		if (row == NULL || db_batch_add(b, BL_OP_KEY_USED, row) != 0) {
			free(row);
			break;
		}
		row->id = k->row.id;
		row->last_used_ms = k->row.last_used_ms;
		k->used = false;
	}
	if (b == NULL)
		return;
	bl->changes++;
	db_store_submit(bl->store, b);
}
