/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every implementation of the store shares: batches, and the way of a finished batch
 * back to the loop.
 */
#include "config.h"

#include <stdlib.h>

#include "common/db/db.h"

struct db_batch *
db_batch_new(void (*done)(struct db_batch *b, void *arg), void *arg)
{
	struct db_batch *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->done = done;
	b->arg = arg;
	return b;
}

int
db_batch_add(struct db_batch *b, int kind, void *arg)
{
	struct db_op *ops = tf_grow(b->ops, b->n, &b->cap, sizeof *ops, 8);

	if (ops == NULL)
		return TF_E_NOMEM;
	b->ops = ops;
	b->ops[b->n++] = (struct db_op){ .kind = kind, .arg = arg };
	return 0;
}

void
db_batch_free(struct db_batch **b)
{
	if (*b == NULL)
		return;
	free((*b)->ops);
	free(*b);
	*b = NULL;
}

void
db_store_finished(struct db_store *s, struct db_batch *b)
{
	pthread_mutex_lock(&s->lock);
	tf_list_append(&s->done, &b->node);
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->lock);
	s->wake(s->wake_arg);
}

void
db_store_reap(struct db_store *s)
{
	for (;;) {
		struct tf_node *e;
		struct db_batch *b;

		pthread_mutex_lock(&s->lock);
		e = tf_list_pop(&s->done);
		pthread_mutex_unlock(&s->lock);
		if (e == NULL)
			return;
		b = TF_CONTAINER(e, struct db_batch, node);
		b->done(b, b->arg);
	}
}

void
db_store_wait(struct db_store *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->done.n == 0)
		pthread_cond_wait(&s->more, &s->lock);
	pthread_mutex_unlock(&s->lock);
	db_store_reap(s);
}

void
db_store_close(struct db_store **s)
{
	if (*s == NULL)
		return;
	(*s)->vt->close(*s);
	*s = NULL;
}
