/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workspaces, keys and secrets in memory. Everything is loaded at the start, so that no
 * look-up ever waits for the database. Holds digests only, never a key's text.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/billingd.h"

int
bl_index_add_workspace(struct bl_index *ix, const struct bl_workspace_row *row, struct bl_workspace **out)
{
	struct bl_workspace *w = calloc(1, sizeof *w);
	int rc;

	if (w == NULL)
		return TF_E_NOMEM;
	w->row = *row;
	bl_account_init(&w->account, BL_WORKSPACE);
	tf_list_init(&w->waits);
	rc = tf_map_put(&ix->workspaces, tf_id_span(&w->row.id), w);
	if (rc == 0) {
		rc = tf_map_put(&ix->names, tf_cspan(w->row.name), w);
		if (rc != 0)
			tf_map_del(&ix->workspaces, tf_id_span(&w->row.id));
	}
	if (rc != 0) {
		free(w);
		return rc;
	}
	if (out != NULL)
		*out = w;
	return 0;
}

int
bl_index_add_key(struct bl_index *ix, struct bl_key_row *row, struct bl_key **out)
{
	struct bl_workspace *w = bl_index_workspace(ix, tf_id_span(&row->workspace));
	struct bl_key *k;
	int rc;

	if (w == NULL)
		return TF_E_NOENT;
	k = calloc(1, sizeof *k);
	if (k == NULL)
		return TF_E_NOMEM;
	k->row = *row;
	k->workspace = w;
	bl_account_init(&k->account, BL_KEY);
	tf_list_init(&k->waits);
	tf_list_init(&k->secrets);
	rc = tf_map_put(&ix->keys, tf_id_span(&k->row.id), k);
	if (rc != 0) {
		free(k);
		return rc;
	}
	/* the texts are ours now */
	row->models = row->endpoints = row->networks = (struct bl_texts){ NULL, 0 };
	if (k->row.revoked_ms == BL_NEVER_MS)
		w->n_keys++;
	if (out != NULL)
		*out = k;
	return 0;
}

/* Oldest first, whatever order they come in. */
static void
secret_link(struct bl_key *k, struct bl_secret *s)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&k->secrets, e, tmp) {
		if (TF_CONTAINER(e, struct bl_secret, node)->row.generation > s->row.generation) {
			tf_list_insert_before(&k->secrets, e, &s->node);
			return;
		}
	}
	tf_list_append(&k->secrets, &s->node);
}

int
bl_index_add_secret(struct bl_index *ix, const struct bl_secret_row *row)
{
	struct bl_key *k = bl_index_key(ix, tf_id_span(&row->key));
	struct bl_secret *s;
	int rc;

	if (k == NULL)
		return TF_E_NOENT;
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return TF_E_NOMEM;
	s->row = *row;
	s->key = k;
	rc = tf_map_put(&ix->digests, tf_span(s->row.digest, sizeof s->row.digest), s);
	if (rc != 0) {
		free(s);
		return rc;
	}
	secret_link(k, s);
	return 0;
}

void
bl_index_drop_secret(struct bl_index *ix, struct bl_secret *s)
{
	tf_map_del(&ix->digests, tf_span(s->row.digest, sizeof s->row.digest));
	tf_list_remove(&s->key->secrets, &s->node);
	free(s);
}

int
bl_index_load(struct bl_index *ix, struct bl_start *s)
{
	int rc = 0;

	for (size_t i = 0; i < s->n_workspaces && rc == 0; i++)
		rc = bl_index_add_workspace(ix, &s->workspaces[i], NULL);
	for (size_t i = 0; i < s->n_keys && rc == 0; i++)
		rc = bl_index_add_key(ix, &s->keys[i], NULL);
	for (size_t i = 0; i < s->n_secrets && rc == 0; i++)
		rc = bl_index_add_secret(ix, &s->secrets[i]);
	return rc;
}

void
bl_index_free(struct bl_index *ix)
{
	struct bl_workspace *w;
	struct bl_key *k;
	size_t pos = 0;

	while ((k = tf_map_next(&ix->keys, &pos)) != NULL) {
		struct tf_node *e;

		while ((e = tf_list_first(&k->secrets)) != NULL)
			bl_index_drop_secret(ix, TF_CONTAINER(e, struct bl_secret, node));
		tf_map_del(&ix->keys, tf_id_span(&k->row.id));
		bl_account_fini(&k->account);
		bl_key_row_fini(&k->row);
		free(k);
	}
	pos = 0;
	while ((w = tf_map_next(&ix->workspaces, &pos)) != NULL) {
		tf_map_del(&ix->workspaces, tf_id_span(&w->row.id));
		tf_map_del(&ix->names, tf_cspan(w->row.name));
		bl_account_fini(&w->account);
		free(w);
	}
	tf_map_free(&ix->workspaces);
	tf_map_free(&ix->names);
	tf_map_free(&ix->keys);
	tf_map_free(&ix->digests);
}

struct bl_workspace *
bl_index_workspace(const struct bl_index *ix, struct tf_span id)
{
	return tf_map_get(&ix->workspaces, id);
}

struct bl_key *
bl_index_key(const struct bl_index *ix, struct tf_span id)
{
	return tf_map_get(&ix->keys, id);
}

struct bl_workspace *
bl_index_find_workspace(const struct bl_index *ix, struct tf_span text)
{
	struct bl_workspace *w = tf_map_get(&ix->names, text);
	struct tf_id id;

	if (w == NULL && text.n == TF_ID_TEXT && tf_id_parse(text, &id) == 0)
		w = bl_index_workspace(ix, tf_id_span(&id));
	return w;
}

struct bl_key *
bl_index_find_key(const struct bl_index *ix, struct tf_span text)
{
	struct tf_id id;

	return text.n == TF_ID_TEXT && tf_id_parse(text, &id) == 0 ? bl_index_key(ix, tf_id_span(&id)) : NULL;
}

struct bl_secret *
bl_key_current(const struct bl_key *k)
{
	return k->secrets.n > 0 ? TF_CONTAINER(k->secrets.head.prev, struct bl_secret, node) : NULL;
}

enum wire_key_status
bl_key_status(const struct bl_key *k, int64_t now_ms)
{
	if (k->row.revoked_ms != BL_NEVER_MS)
		return WIRE_KEY_REVOKED;
	return k->row.expires_ms <= now_ms ? WIRE_KEY_EXPIRED : WIRE_KEY_ACTIVE;
}

enum wire_key_status
bl_secret_status(const struct bl_secret *s, int64_t now_ms, int64_t *until_ms)
{
	const struct bl_key *k = s->key;

	*until_ms = s->row.until_ms < k->row.expires_ms ? s->row.until_ms : k->row.expires_ms;
	if (s->row.until_ms <= now_ms)
		return WIRE_KEY_REVOKED; /* its successor took its place */
	return bl_key_status(k, now_ms);
}
