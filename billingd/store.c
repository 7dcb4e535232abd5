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

int
bl_texts_add(struct bl_texts *t, struct tf_span text)
{
	char **v = reallocarray(t->v, t->n + 1, sizeof *v);

	if (v == NULL)
		return TF_E_NOMEM;
	t->v = v;
	t->v[t->n] = tf_span_dup(text);
	if (t->v[t->n] == NULL)
		return TF_E_NOMEM;
	t->n++;
	return 0;
}

void
bl_key_row_fini(struct bl_key_row *row)
{
	bl_texts_free(&row->endpoints);
	bl_texts_free(&row->networks);
	bl_texts_free(&row->models);
}

static void
texts_move(struct bl_texts *to, struct bl_texts *from)
{
	bl_texts_free(to);
	*to = *from;
	*from = (struct bl_texts){ NULL, 0 };
}

void
bl_key_set_apply(struct bl_key_row *row, struct bl_key_set *set)
{
	if (set->parts & BL_KEY_RPM)
		row->rpm = set->row.rpm;
	if (set->parts & BL_KEY_TPM)
		row->tpm = set->row.tpm;
	if (set->parts & BL_KEY_CONCURRENCY)
		row->concurrency = set->row.concurrency;
	if (set->parts & BL_KEY_BUDGET)
		row->budget = set->row.budget;
	if (set->parts & BL_KEY_EXPIRES)
		row->expires_ms = set->row.expires_ms;
	if (set->parts & BL_KEY_SCOPES)
		row->scopes = set->row.scopes;
	if (set->parts & BL_KEY_MODELS)
		texts_move(&row->models, &set->row.models);
	if (set->parts & BL_KEY_ENDPOINTS)
		texts_move(&row->endpoints, &set->row.endpoints);
	if (set->parts & BL_KEY_NETWORKS)
		texts_move(&row->networks, &set->row.networks);
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
bl_space_set_apply(struct bl_workspace_row *row, const struct bl_space_set *set)
{
	if (set->parts & BL_SPACE_TOKENS)
		row->cap_tokens = set->row.cap_tokens;
	if (set->parts & BL_SPACE_IMAGES)
		row->cap_images = set->row.cap_images;
	if (set->parts & BL_SPACE_AUDIO)
		row->cap_audio_ms = set->row.cap_audio_ms;
	if (set->parts & BL_SPACE_BUDGET)
		row->budget = set->row.budget;
}

void
bl_topups_fini(struct bl_topups *t)
{
	free(t->v);
	t->v = NULL;
	t->n = 0;
}

void
bl_deployments_fini(struct bl_deployments *d)
{
	free(d->v);
	d->v = NULL;
	d->n = 0;
}

void
bl_billing_fini(struct bl_billing *b)
{
	for (size_t i = 0; i < b->n; i++)
		free(b->v[i]);
	free(b->v);
	b->v = NULL;
	b->n = 0;
}

uint64_t
bl_deployment_cost(const struct bl_deployment_row *d, int64_t ms)
{
	unsigned __int128 sum = (unsigned __int128)d->price_gpu_hour * (uint64_t)d->gpus * (uint64_t)ms;

	sum = (sum + 1800000) / 3600000;
	return sum < INT64_MAX ? (uint64_t)sum : INT64_MAX;
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

uint64_t
bl_usage_cost(const struct bl_usage *u)
{
	const uint64_t n[TF_P_COUNT] = {
		[TF_P_INPUT] = u->tokens.prompt, [TF_P_CACHED_INPUT] = u->tokens.cache_read,
		[TF_P_CACHE_WRITE] = u->tokens.cache_write, [TF_P_OUTPUT] = u->tokens.completion,
		[TF_P_REASONING] = u->tokens.reasoning, [TF_P_AUDIO_HOUR] = tf_billed_audio_ms(u->units.audio_ms),
		[TF_P_CHARACTERS] = u->units.characters, [TF_P_IMAGE] = u->units.images,
	};

	return tf_cost(&u->price, n);
}

void
bl_page_fini(struct bl_page *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].u);
	free(p->v);
	p->v = NULL;
	p->n = 0;
}
