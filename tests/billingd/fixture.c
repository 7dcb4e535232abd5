/* SPDX-License-Identifier: Apache-2.0 */
/* See fixture.h. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/wire/wire.h"
#include "tests/billingd/fixture.h"

static void
wake(void *arg)
{
	struct fixture *f = arg;

	sem_post(&f->wake);
}

static void
came_back(struct db_batch *b, void *arg)
{
	struct fixture *f = arg;

	f->last = b;
}

static void
store_open(struct fixture *f)
{
	char why[256] = "";

	if (bl_sqlite_open(f->path, wake, f, &f->store, why, sizeof why) != 0)
		fail_msg("open: %s", why);
}

void
fx_open(struct fixture *f)
{
	memset(f, 0, sizeof *f);
	snprintf(f->dir, sizeof f->dir, "/tmp/bl-test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/billing.db", f->dir);
	assert_int_equal(sem_init(&f->wake, 0, 0), 0);
	store_open(f);
}

void
fx_reopen(struct fixture *f)
{
	db_store_close(&f->store);
	store_open(f);
}

void
fx_close(struct fixture *f)
{
	char path[512];
	struct dirent *e;
	DIR *d;

	db_store_close(&f->store);
	d = opendir(f->dir);
	while (d != NULL && (e = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "%s/%s", f->dir, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(f->dir);
	sem_destroy(&f->wake);
}

int
fx_setup(void **state)
{
	struct bl_instance_row inst = { .name = "gatewayd.0", .boot = UINT64_C(0xf000000000000001) };
	struct fixture *f = malloc(sizeof *f);

	fx_open(f);
	assert_int_equal(fx_one(f, BL_OP_INSTANCE, &inst), 0);
	assert_int_equal(inst.id, 1);
	*state = f;
	return 0;
}

int
fx_teardown(void **state)
{
	fx_close(*state);
	free(*state);
	return 0;
}

struct db_batch *
fx_batch(struct fixture *f)
{
	struct db_batch *b = db_batch_new(came_back, f);

	assert_non_null(b);
	return b;
}

int
fx_run(struct fixture *f, struct db_batch *b)
{
	struct timespec ts;
	int rc;

	f->last = NULL;
	db_store_submit(f->store, b);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += 60;
	while (f->last == NULL) {
		rc = sem_timedwait(&f->wake, &ts);
		if (rc != 0 && errno != EINTR)
			fail_msg("the store does not answer");
		db_store_reap(f->store);
	}
	rc = f->last->rc;
	db_batch_free(&f->last);
	return rc;
}

int
fx_one(struct fixture *f, enum bl_op_kind kind, void *arg)
{
	struct db_batch *b = fx_batch(f);

	b->read = kind == BL_OP_SUMS || kind == BL_OP_PAGE || kind == BL_OP_VERIFY;
	assert_int_equal(db_batch_add(b, kind, arg), 0);
	return fx_run(f, b);
}

const char fx_days_check[] = "SELECT count(*) FROM (SELECT workspace, began_ms / 86400000 AS day, key, model, surface,"
    " count(*), sum(prompt), sum(cache_read), sum(cache_write), sum(completion), sum(reasoning), sum(images),"
    " sum(audio_ms), sum(characters), sum(cost), sum(unbilled)"
    " FROM ledger WHERE charged = 1 GROUP BY 1, 2, 3, 4, 5 EXCEPT SELECT " FX_DAYS_COLUMNS " FROM usage_days)";

int64_t
fx_int(struct fixture *f, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	int64_t v = -1;

	assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return v;
}

void
fx_exec(struct fixture *f, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

struct tf_id
fx_id(unsigned kind, unsigned n)
{
	struct tf_id id = { { 0 } };

	id.b[0] = (uint8_t)kind;
	for (int i = 0; i < 4; i++)
		id.b[12 + i] = (uint8_t)(n >> (24 - 8 * i));
	return id;
}

struct bl_usage
fx_usage(unsigned n)
{
	struct bl_usage u = { .request = fx_id('r', n), .workspace = fx_id('w', 1), .key = fx_id('k', 1), .attempt = 1,
		.outcome = WIRE_OUTCOME_SERVED, .delivered = true, .tokens = { 100, 20, 0, 7, 3 }, .reserved = 500,
		.window = { .minute = 1 }, .price = { { 1000, 100, TF_NO_PRICE, 4000, 4000, TF_NO_PRICE, TF_NO_PRICE,
		TF_NO_PRICE } },
		.cost = 43, .began_ms = INT64_C(1900000000000), .ended_ms = INT64_C(1900000001000), .first_us = 900,
		.status = 200, .instance = 1, .seq = n };

	u.text[BL_T_MODEL] = TF_SPAN("acme/large");
	u.text[BL_T_SURFACE] = TF_SPAN("openai_chat");
	u.text[BL_T_FINISH] = TF_SPAN("stop");
	u.text[BL_T_WORKER] = TF_SPAN("w1");
	return u;
}
