/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of workspaces and keys, and the answers about keys. A key's text exists here for as
 * long as it takes to show it once.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

#define SHOWN_RANDOM 4 /* characters of the random part that stay visible behind the form */

/* ---- workspaces --------------------------------------------------------------------------- */

static int
apply_workspace(struct bl_change *c)
{
	int rc = bl_index_add_workspace(&c->bl->index, &c->workspace, NULL);

	bl_admin_tell(c->bl, NULL, &c->workspace.id);
	return rc;
}

int
bl_admin_workspace(struct bl *bl, struct tf_span name, struct tf_span plan, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_workspace, o);
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	c->workspace.id = tf_id_new();
	c->workspace.created_ms = bl_wall_ms();
	rc = bl_name_copy(c->workspace.name, BL_NAME_MAX, name);
	if (rc == 0)
		rc = bl_name_copy(c->workspace.plan, BL_NAME_MAX, plan);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_WORKSPACE_NEW, &c->workspace);
	bl_change_about(c, &c->workspace.id, c->workspace.name);
	js_w_kcstr(&c->detail, "plan", c->workspace.plan);
	return bl_change_go(c, rc);
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
bl_admin_plan(struct bl *bl, struct bl_workspace *w, struct tf_span plan, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_plan, o);
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	c->workspace = w->row;
	rc = bl_name_copy(c->workspace.plan, BL_NAME_MAX, plan);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_WORKSPACE_PLAN, &c->workspace);
	bl_change_about(c, &w->row.id, w->row.name);
	js_w_kcstr(&c->detail, "plan", c->workspace.plan);
	js_w_kcstr(&c->detail, "before", w->row.plan);
	return bl_change_go(c, rc);
}

/* ---- keys --------------------------------------------------------------------------------- */

#define SHOWN_IMPORTED 4 /* characters that stay visible at the beginning of a text that is not ours */

/* The secret row of c->text, of which shown characters stay visible at its beginning. */
static int
add_secret(struct bl_change *c, const struct bl_key_row *k, uint64_t generation, size_t shown)
{
	struct bl_secret_row *s = &c->secret;
	size_t n = strlen(c->text);
	uint8_t sha[TF_SHA256];

	tf_sha256(c->text, n, sha);
	bl_pepper_digest(&c->bl->pepper, sha, s->digest);
	tf_wipe(sha, sizeof sha);
	s->key = k->id;
	s->generation = generation;
	s->pepper = c->bl->pepper.number;
	s->created_ms = bl_wall_ms();
	s->until_ms = BL_NEVER_MS;
	snprintf(s->prefix, sizeof s->prefix, "%.*s", (int)shown, c->text);
	snprintf(s->last4, sizeof s->last4, "%s", c->text + n - TF_APIKEY_SHOWN_TAIL);
	js_w_kcstr(&c->detail, "prefix", s->prefix);
	js_w_kcstr(&c->detail, "last4", s->last4);
	return db_batch_add(c->batch, BL_OP_SECRET_NEW, s);
}

/* Mints a text into c and its secret row; the successor of one that is not ours is. */
static int
mint_secret(struct bl_change *c, const struct bl_key_row *k, uint64_t generation)
{
	bool ours = strcmp(k->form, BL_FORM_IMPORTED) != 0;

	if (tf_apikey_mint(ours ? k->form : "tf", ours ? k->env : "prod", c->text, sizeof c->text) != 0)
		return TF_E_INVAL;
	return add_secret(c, k, generation, strlen(c->text) - TF_APIKEY_RANDOM - TF_APIKEY_SUM + SHOWN_RANDOM);
}

/* Takes the text of a key that was made elsewhere. */
static int
import_secret(struct bl_change *c, const struct bl_key_row *k, struct tf_span text)
{
	if (tf_apikey_check(text) == TF_APIKEY_BAD || text.n >= sizeof c->text)
		return TF_E_RANGE;
	memcpy(c->text, text.p, text.n);
	c->text[text.n] = '\0';
	return add_secret(c, k, 1, SHOWN_IMPORTED);
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

static void
note_amount(struct js_w *w, const char *name, int64_t v)
{
	if (v == 0)
		js_w_knull(w, name);
	else
		js_w_ki64(w, name, v);
}

void
bl_write_texts(struct js_w *w, const char *name, const struct bl_texts *t)
{
	js_w_key(w, name);
	js_w_array(w);
	for (size_t i = 0; i < t->n; i++)
		js_w_cstr(w, t->v[i]);
	js_w_array_end(w);
}

/* What is set, for the trail. */
static void
note_set(struct js_w *w, const struct bl_key_set *s)
{
	const struct bl_key_row *k = &s->row;

	if (s->parts & BL_KEY_RPM)
		note_amount(w, "rpm", k->rpm);
	if (s->parts & BL_KEY_TPM)
		note_amount(w, "tpm", k->tpm);
	if (s->parts & BL_KEY_CONCURRENCY)
		note_amount(w, "concurrency", k->concurrency);
	if (s->parts & BL_KEY_BUDGET)
		bl_write_money(w, "budget", k->budget);
	if (s->parts & BL_KEY_EXPIRES)
		note_amount(w, "expires", k->expires_ms == BL_NEVER_MS ? 0 : k->expires_ms / 1000);
	if (s->parts & BL_KEY_SCOPES)
		bl_write_scopes(w, "scopes", k->scopes);
	if (s->parts & BL_KEY_MODELS)
		bl_write_texts(w, "models", &k->models);
	if (s->parts & BL_KEY_ENDPOINTS)
		bl_write_texts(w, "endpoints", &k->endpoints);
	if (s->parts & BL_KEY_NETWORKS)
		bl_write_texts(w, "networks", &k->networks);
}

int
bl_admin_mint(struct bl *bl, const struct bl_mint *m, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_mint, o);
	struct bl_key_row *k;
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	k = &c->key;
	k->id = tf_id_new();
	k->workspace = m->workspace->row.id;
	k->created_ms = bl_wall_ms();
	k->expires_ms = BL_NEVER_MS;
	k->revoked_ms = BL_NEVER_MS;
	k->scopes = WIRE_SCOPE_INFERENCE;
	bl_change_about_id(c, &k->workspace, &k->id);
	if (m->limits != NULL) {
		note_set(&c->detail, m->limits);
		bl_key_set_apply(k, m->limits);
	}
	if (m->form.n >= sizeof k->form || m->env.n >= sizeof k->env)
		return bl_change_go(c, TF_E_INVAL);
	memcpy(k->form, m->form.p, m->form.n);
	memcpy(k->env, m->env.p, m->env.n);
	rc = bl_name_copy(k->name, BL_NAME_MAX, m->name);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_KEY_NEW, k);
	js_w_kcstr(&c->detail, "name", k->name);
	if (rc == 0)
		rc = m->text.n > 0 ? import_secret(c, k, m->text) : mint_secret(c, k, 1);
	return bl_change_go(c, rc);
}

static int
apply_key_set(struct bl_change *c)
{
	struct bl_key *k = bl_index_key(&c->bl->index, tf_id_span(&c->set.row.id));

	bl_key_set_apply(&k->row, &c->set);
	bl_admin_tell(c->bl, &k->row.id, NULL);
	bl_admit_recall(c->bl, k->workspace);
	return 0;
}

int
bl_admin_key_set(struct bl *bl, struct bl_key *k, struct bl_key_set *set, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_key_set, o);

	if (c == NULL) {
		bl_key_row_fini(&set->row);
		return TF_E_NOMEM;
	}
	c->set = *set;
	memset(set, 0, sizeof *set);
	c->set.row.id = k->row.id;
	bl_change_about_id(c, &k->row.workspace, &k->row.id);
	note_set(&c->detail, &c->set);
	if (k->row.revoked_ms != BL_NEVER_MS)
		return bl_change_go(c, TF_E_STATE);
	return bl_change_go(c, db_batch_add(c->batch, BL_OP_KEY_SET, &c->set));
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
bl_admin_rotate(struct bl *bl, struct bl_key *k, int64_t grace_ms, const struct bl_order *o)
{
	struct bl_secret *current = bl_key_current(k), *oldest = TF_CONTAINER(tf_list_first(&k->secrets), struct bl_secret, node);
	struct bl_change *c;
	int rc;

	if (k->row.revoked_ms != BL_NEVER_MS)
		return TF_E_STATE;
	c = bl_change_new(bl, apply_rotate, o);
	if (c == NULL)
		return TF_E_NOMEM;
	c->key.id = k->row.id;
	bl_change_about_id(c, &k->row.workspace, &k->row.id);
	js_w_ki64(&c->detail, "grace_seconds", grace_ms / 1000);
	c->ending = current->row;
	c->ending.until_ms = bl_wall_ms() + grace_ms;
	rc = db_batch_add(c->batch, BL_OP_SECRET_UNTIL, &c->ending);
	if (rc == 0 && oldest != current) {
		c->dropped = oldest->row;
		rc = db_batch_add(c->batch, BL_OP_SECRET_DROP, &c->dropped);
	}
	if (rc == 0)
		rc = mint_secret(c, &k->row, current->row.generation + 1);
	return bl_change_go(c, rc);
}

static int
apply_revoke(struct bl_change *c)
{
	for (size_t i = 0; i < c->n_keys; i++) {
		struct bl_key *k = bl_index_key(&c->bl->index, tf_id_span(&c->keys[i].id));

		if (k->row.revoked_ms == BL_NEVER_MS) {
			k->workspace->n_keys--;
			k->row.revoked_ms = c->keys[i].revoked_ms;
		}
	}
	/* one number, one message: of several keys it says that anything may have changed */
	bl_admin_tell(c->bl, c->n_keys == 1 ? &c->keys[0].id : NULL, NULL);
	return 0;
}

int
bl_admin_revoke(struct bl *bl, struct bl_key *const *keys, size_t n, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_revoke, o);
	int rc = 0;

	if (c == NULL)
		return TF_E_NOMEM;
	c->keys = calloc(n, sizeof *c->keys);
	c->more = calloc(n, sizeof *c->more);
	if (c->keys == NULL || c->more == NULL)
		return bl_change_go(c, TF_E_NOMEM);
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct bl_key_row *k = &c->keys[c->n_keys];

		if (keys[i]->row.revoked_ms != BL_NEVER_MS)
			continue;
		k->id = keys[i]->row.id;
		k->revoked_ms = c->audit.at_ms;
		rc = db_batch_add(c->batch, BL_OP_KEY_REVOKE, k);
		if (c->n_keys++ > 0)
			c->more[c->n_more++] = c->audit;
		bl_change_about_id(c, &keys[i]->row.workspace, &k->id);
	}
	return bl_change_go(c, rc == 0 && c->n_keys == 0 ? TF_E_STATE : rc);
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

	for (size_t i = 0; i < k->row.models.n && rc == 0; i++)
		rc = wire_rep_add(&l->models, WIRE_FN_KEY_model, tf_cspan(k->row.models.v[i]));
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
answer_limits(struct bl *bl, struct bl_key *k, const struct bl_gateway *g, struct wire_key *answer)
{
	bl_admit_tell(bl, k, g, answer);
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
		answer_limits(bl, k, p->user, &answer);
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
