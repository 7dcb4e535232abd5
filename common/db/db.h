/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/db: a database behind an asynchronous interface. The loop submits batches of
 * operations; another thread carries them out; their callbacks run on the loop. A batch of
 * writes happens whole or not at all. Operations say what is meant, not how: only the
 * files of a daemon that include common/db/sqlite.h know SQL, and another database is another
 * struct db_store_vt. Knows nothing of sockets, messages or of what is stored.
 */
#ifndef TF_DB_H
#define TF_DB_H

#include <pthread.h>

#include "common/base/base.h"

#define DB_NEVER_MS INT64_MAX /* a time that does not come */

struct db_op {
	int kind;   /* the daemon's own */
	int rc;     /* 0 or TF_E_*; set when the batch is done */
	int result; /* the daemon's own */
	void *arg;  /* borrowed until the batch is done */
};

/* ---- batches ------------------------------------------------------------------------------ */

/*
 * rc of a batch: 0: all of it is durable; TF_E_FULL (no space), TF_E_IO, TF_E_AGAIN (locked), TF_E_NOMEM:
 * none of it is, and trying again may do; else the rc of the operation that was refused,
 * and none of it is. Operations of lenient batches do not refuse each other: one that can
 * never be stored has its own rc and the rest is durable.
 */
struct db_batch {
	struct tf_node node;
	struct db_op *ops; /* owned by the batch */
	size_t n;
	uint32_t cap;
	bool read;         /* only reads: does not wait for writes that were submitted before */
	bool lenient;
	bool aside;        /* takes long: on a connection of its own, in no transaction, its writes go to other files */
	int rc;
	uint64_t busy_ns;  /* how long the transaction took that it was part of */
	void (*done)(struct db_batch *b, void *arg); /* on the loop; frees the batch or submits it again */
	void *arg;
};
/* Returns new; NULL without memory. */
struct db_batch *db_batch_new(void (*done)(struct db_batch *b, void *arg), void *arg);
/* TF_E_NOMEM. */
int db_batch_add(struct db_batch *b, int kind, void *arg) TF_MUSTCHECK;
/* Frees the batch and its array, not the args. */
void db_batch_free(struct db_batch **b);

/* ---- the interface ------------------------------------------------------------------------ */

struct db_store;
struct db_store_vt {
	const char *name;
	void (*submit)(struct db_store *s, struct db_batch *b);
	void (*close)(struct db_store *s);
};
struct db_store {
	const struct db_store_vt *vt;
	void (*wake)(void *arg); /* called on the store's thread when a batch is done: run db_store_reap on the loop */
	void *wake_arg;
	pthread_mutex_t lock;
	struct tf_list done; /* batches whose callback is due; under lock */
	pthread_cond_t more; /* signalled when one is added */
};
/* Takes b until its done runs. Batches of one kind (read or not) are carried out in order. Never fails. */
static inline void
db_store_submit(struct db_store *s, struct db_batch *b)
{
	s->vt->submit(s, b);
}
/* For implementations: b is carried out. Any thread. */
void db_store_finished(struct db_store *s, struct db_batch *b);
/* Runs the callbacks of all that is done; loop thread. */
void db_store_reap(struct db_store *s);
/* Blocks until something is done, and reaps it: for the start, when no loop turns yet. */
void db_store_wait(struct db_store *s);
/*
 * Carries out what was submitted, breaks off what was to be done aside, runs the callbacks (they must not
 * submit), frees. Clears *s; NULL is fine.
 */
void db_store_close(struct db_store **s);

#endif
