/* SPDX-License-Identifier: Apache-2.0 */
/* A store in a directory of its own, driven without a loop: run() submits a batch and waits for it. */
#ifndef TESTS_BILLINGD_FIXTURE_H
#define TESTS_BILLINGD_FIXTURE_H

#include <semaphore.h>

#include "billingd/sqlite.h"

struct fixture {
	char dir[64], path[96];
	struct db_store *store;
	sem_t wake;
	struct db_batch *last; /* what came back last */
};

void fx_open(struct fixture *f);   /* makes the directory */
void fx_reopen(struct fixture *f); /* closes and opens the store */
void fx_close(struct fixture *f);  /* removes the directory */
/* For cmocka: *state is one that is open, in which gatewayd.0 is instance 1. */
int fx_setup(void **state);
int fx_teardown(void **state);
struct db_batch *fx_batch(struct fixture *f);
/* Submits, waits, returns the batch's rc; frees it. */
int fx_run(struct fixture *f, struct db_batch *b);
int fx_one(struct fixture *f, enum bl_op_kind kind, void *arg);
/* First column of the first row, over a connection of its own; -1: no row. */
int64_t fx_int(struct fixture *f, const char *sql);
/* Several statements, which give no rows. */
void fx_exec(struct fixture *f, const char *sql);
/* How many sums of days the rows have that usage_days has not. */
extern const char fx_days_check[];
#define FX_DAYS_COLUMNS "workspace, day, key, model, surface, requests, prompt, cache_read, cache_write, completion, reasoning," \
	" images, audio_ms, characters, cost, unbilled"
/* Charged: 100 input, 20 cached, 7 output and 3 reasoning tokens; n names the request. */
struct bl_usage fx_usage(unsigned n);
struct tf_id fx_id(unsigned kind, unsigned n);

#endif
