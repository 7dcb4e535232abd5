/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every implementation of the store shares: rows, batches, and the way of a finished
 * batch back to the loop.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/store.h"

void
bl_key_row_fini(struct bl_key_row *row)
{
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

struct bl_batch *
bl_batch_new(void (*done)(struct bl_batch *b, void *arg), void *arg)
{
	struct bl_batch *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->done = done;
	b->arg = arg;
	return b;
}

int
bl_batch_add(struct bl_batch *b, enum bl_op_kind kind, void *arg)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? 2 * b->cap : 8;
		struct bl_op *ops = realloc(b->ops, cap * sizeof *ops);

		if (ops == NULL)
			return TF_E_NOMEM;
		b->ops = ops;
		b->cap = cap;
	}
	b->ops[b->n++] = (struct bl_op){ .kind = kind, .arg = arg };
	return 0;
}

void
bl_batch_free(struct bl_batch **b)
{
	if (*b == NULL)
		return;
	free((*b)->ops);
	free(*b);
	*b = NULL;
}

void
bl_store_finished(struct bl_store *s, struct bl_batch *b)
{
	pthread_mutex_lock(&s->lock);
	tf_list_append(&s->done, &b->node);
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	s->wake(s->wake_arg);
}

void
bl_store_reap(struct bl_store *s)
{
	for (;;) {
		struct tf_node *e;
		struct bl_batch *b;

		pthread_mutex_lock(&s->lock);
		e = tf_list_pop(&s->done);
		pthread_mutex_unlock(&s->lock);
		if (e == NULL)
			return;
		b = TF_CONTAINER(e, struct bl_batch, node);
		b->done(b, b->arg);
	}
}

void
bl_store_wait(struct bl_store *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->done.n == 0)
		pthread_cond_wait(&s->more, &s->lock);
	pthread_mutex_unlock(&s->lock);
	bl_store_reap(s);
}

void
bl_store_close(struct bl_store **s)
{
	if (*s == NULL)
		return;
	(*s)->vt->close(*s);
	*s = NULL;
}
