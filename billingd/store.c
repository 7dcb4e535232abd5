/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the store: what belongs to them is copied and freed here.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/store.h"

void
bl_texts_free(struct bl_texts *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i]);
	free(t->v);
	t->v = NULL;
	t->n = 0;
}

void
bl_key_row_fini(struct bl_key_row *row)
{
	bl_texts_free(&row->endpoints);
	bl_texts_free(&row->networks);
	for (size_t i = 0; i < row->n_models; i++)
		free(row->models[i]);
	free(row->models);
	row->models = NULL;
	row->n_models = 0;
}

void
bl_start_fini(struct bl_start *s)
{
	for (size_t i = 0; i < s->n_keys; i++)
		bl_key_row_fini(&s->keys[i]);
	free(s->workspaces);
	free(s->keys);
	free(s->secrets);
	free(s->instances);
	free(s->windows);
	memset(s, 0, sizeof *s);
}

void
bl_sums_fini(struct bl_sums *s)
{
	for (int by = 0; by < BL_BY_COUNT; by++) {
		for (size_t i = 0; i < s->n[by]; i++)
			free(s->v[by][i].group);
		free(s->v[by]);
		s->v[by] = NULL;
		s->n[by] = 0;
		s->more[by] = false;
	}
}

void
bl_users_fini(struct bl_users *u)
{
	free(u->v);
	u->v = NULL;
	u->n = 0;
}

void
bl_members_fini(struct bl_members *m)
{
	free(m->v);
	m->v = NULL;
	m->n = 0;
}

void
bl_trail_fini(struct bl_trail *t)
{
	for (size_t i = 0; i < t->n; i++)
		tf_buf_free(&t->v[i].detail);
	free(t->v);
	t->v = NULL;
	t->n = 0;
}

static const char *const roles[BL_ROLE_COUNT] = { "viewer", "member", "admin", "owner" };

const char *
bl_role_text(enum bl_role r)
{
	return roles[r];
}

int
bl_role_parse(struct tf_span text, enum bl_role *out)
{
	for (int i = 0; i < BL_ROLE_COUNT; i++) {
		if (tf_span_is(text, roles[i])) {
			*out = (enum bl_role)i;
			return 0;
		}
	}
	return TF_E_INVAL;
}

struct bl_usage *
bl_usage_copy(const struct bl_usage *u)
{
	size_t n = sizeof *u;
	struct bl_usage *copy;
	char *at;

	for (int i = 0; i < BL_T_COUNT; i++)
		n += u->text[i].n;
	copy = malloc(n);
	if (copy == NULL)
		return NULL;
	*copy = *u;
	at = (char *)(copy + 1);
	for (int i = 0; i < BL_T_COUNT; i++) {
		if (u->text[i].n > 0)
			memcpy(at, u->text[i].p, u->text[i].n);
		copy->text[i] = tf_span(at, u->text[i].n);
		at += u->text[i].n;
	}
	return copy;
}
