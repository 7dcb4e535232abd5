/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the database while it is written on, what is found wrong with one, and the end of ledger rows:
 * in small steps, never their sums.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "billingd/billingd.h"
#include "tests/billingd/fixture.h"

#define DAY INT64_C(86400000)

struct copying {
	struct db_batch *batch;
	struct bl_backup b;
	bool done;
	int rc;
};

static int
setup(void **state)
{
	struct bl_instance_row inst = { .name = "gatewayd.0", .boot = 1 };
	struct fixture *f = malloc(sizeof *f);

	fx_open(f);
	assert_int_equal(fx_one(f, BL_OP_INSTANCE, &inst), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	fx_close(*state);
	free(*state);
	return 0;
}

/* Rows first .. first + n - 1, all of them of that day and workspace. */
static void
tell_many(struct fixture *f, unsigned first, unsigned n, int64_t day, unsigned space)
{
	struct bl_usage *u = calloc(n, sizeof *u);
	struct db_batch *b = fx_batch(f);

	for (unsigned i = 0; i < n; i++) {
		u[i] = fx_usage(first + i);
		u[i].workspace = fx_id('w', space);
		u[i].began_ms = u[i].ended_ms = day * DAY + i;
		assert_int_equal(db_batch_add(b, BL_OP_USAGE, &u[i]), 0);
	}
	assert_int_equal(fx_run(f, b), 0);
	free(u);
}

static void
copied(struct db_batch *b, void *arg)
{
	struct copying *c = arg;

	c->done = true;
	c->rc = b->rc;
	db_batch_free(&b);
}

static void
begin(struct fixture *f, struct copying *c, const char *name, bool verify)
{
	memset(c, 0, sizeof *c);
	c->b.verify = verify;
	snprintf(c->b.path, sizeof c->b.path, "%s/%s", f->dir, name);
	c->batch = db_batch_new(copied, c);
	assert_non_null(c->batch);
	assert_int_equal(db_batch_add(c->batch, BL_OP_BACKUP, &c->b), 0);
	c->batch->aside = true;
	db_store_submit(f->store, c->batch);
}

static int
finish(struct fixture *f, struct copying *c)
{
	while (!c->done) {
		sem_wait(&f->wake);
		db_store_reap(f->store);
	}
	return c->rc;
}

static int
copy(struct fixture *f, struct copying *c, const char *name)
{
	begin(f, c, name, false);
	return finish(f, c);
}

static int
verify(struct fixture *f, struct copying *c, const char *name)
{
	begin(f, c, name, true);
	return finish(f, c);
}

static int
there(const struct fixture *f, const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	return access(path, F_OK) == 0;
}

static int64_t
sql_of(const struct fixture *f, const char *name, const char *sql)
{
	char path[256];
	sqlite3 *db;
	int64_t v;

	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(db_look_int(db, sql, &v), SQLITE_OK);
	sqlite3_close(db);
	return v;
}

/* Commits go on; the copy is the database as it was at one moment between them. */
static void
test_copy_while_writing(void **state)
{
	struct fixture *f = *state;
	struct copying c;
	struct stat st;
	unsigned n = 3000, rows;
	char path[256];

	tell_many(f, 1, n, 20000, 1);
	begin(f, &c, "copy.db", false);
	while (!c.done) {
		tell_many(f, ++n, 1, 20001, 1);
		db_store_reap(f->store);
	}
	assert_int_equal(c.rc, 0);
	tell_many(f, ++n, 1, 20001, 1);
	rows = (unsigned)sql_of(f, "copy.db", "SELECT count(*) FROM ledger");
	assert_in_range(rows, 3000, n - 1);
	assert_int_equal(sql_of(f, "copy.db", "SELECT sum(requests) FROM usage_days"), rows);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), n);
	snprintf(path, sizeof path, "%s/copy.db", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal((uint64_t)st.st_size, c.b.bytes);
	assert_true(c.b.current);
	assert_false(there(f, "copy.db.partial") || there(f, "copy.db-wal") || there(f, "copy.db-journal"));
	assert_int_equal(verify(f, &c, "copy.db"), 0);
	assert_true(c.b.current);
	/* it is opened like any database, and written on */
	assert_int_equal(sql_of(f, "copy.db", "PRAGMA user_version"), c.b.version);
}

static void
test_what_is_there_stays(void **state)
{
	struct fixture *f = *state;
	struct copying c;
	char path[256];
	FILE *file;

	assert_int_equal(copy(f, &c, "billing.db"), TF_E_EXIST);
	assert_non_null(strstr(c.b.why, "it exists already"));
	assert_int_equal(copy(f, &c, "one.db"), 0);
	assert_int_equal(copy(f, &c, "one.db"), TF_E_EXIST);
	/* of a copy that a crash broke off, or of another one under way: nobody knows, so it stays */
	snprintf(path, sizeof path, "%s/two.db.partial", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(copy(f, &c, "two.db"), TF_E_EXIST);
	assert_non_null(strstr(c.b.why, "two.db.partial"));
	assert_true(there(f, "two.db.partial") && !there(f, "two.db"));
	assert_int_equal(copy(f, &c, "no/such/dir.db"), TF_E_IO);
	assert_true(c.b.why[0] != '\0');
}

static void
break_file(const struct fixture *f, const char *name, long at, size_t n)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", f->dir, name);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	for (size_t i = 0; i < n; i++)
		fputc('#', file);
	fclose(file);
}

static void
test_what_is_wrong_with_a_copy(void **state)
{
	struct fixture *f = *state;
	struct copying c;
	char path[256];

	tell_many(f, 1, 500, 20000, 1);
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof path, "c%d.db", i);
		assert_int_equal(copy(f, &c, path), 0);
	}
	assert_int_equal(verify(f, &c, "missing.db"), TF_E_NOENT);
	(void)sql_of(f, "c0.db", "UPDATE usage_days SET prompt = prompt + 1 RETURNING 1");
	assert_int_equal(verify(f, &c, "c0.db"), TF_E_STATE);
	assert_non_null(strstr(c.b.why, "2 sums by day differ")); /* the one that is wrong, and the one that is missing */
	(void)sql_of(f, "c1.db", "DELETE FROM ledger WHERE id = 7 RETURNING 1");
	assert_int_equal(verify(f, &c, "c1.db"), TF_E_STATE);
	(void)sql_of(f, "c2.db", "PRAGMA user_version = 999");
	assert_int_equal(verify(f, &c, "c2.db"), TF_E_STATE);
	assert_non_null(strstr(c.b.why, "newer"));
	(void)sql_of(f, "c3.db", "PRAGMA application_id = 5");
	assert_int_equal(verify(f, &c, "c3.db"), TF_E_STATE);
	assert_non_null(strstr(c.b.why, "no database of billingd"));
	break_file(f, "c4.db", 8 * 4096, 4096);
	assert_int_not_equal(verify(f, &c, "c4.db"), 0);
	snprintf(path, sizeof path, "%s/c5.db", f->dir);
	assert_int_equal(truncate(path, 3 * 4096), 0);
	assert_int_not_equal(verify(f, &c, "c5.db"), 0);
	break_file(f, "c5.db", 0, 100);
	assert_int_not_equal(verify(f, &c, "c5.db"), 0);
	assert_true(c.b.why[0] != '\0');
	assert_int_equal(verify(f, &c, "billing.db"), 0); /* the one in use, too */
}

/* The end of the store breaks a copy off, and nothing of it stays. */
static void
test_end_in_the_middle(void **state)
{
	struct fixture *f = *state;
	struct copying c[3];

	tell_many(f, 1, 20000, 20000, 1);
	for (int i = 0; i < 3; i++) {
		char name[32];

		snprintf(name, sizeof name, "end%d.db", i);
		begin(f, &c[i], name, false);
	}
	db_store_close(&f->store);
	for (int i = 0; i < 3; i++) {
		char name[48];

		assert_true(c[i].done);
		snprintf(name, sizeof name, "end%d.db", i);
		assert_int_equal(there(f, name), c[i].rc == 0);
		snprintf(name, sizeof name, "end%d.db.partial", i);
		assert_false(there(f, name));
	}
	assert_int_not_equal(c[2].rc, 0);
	fx_reopen(f);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 20000);
}

/* ---- retention ---------------------------------------------------------------------------- */

static void
test_rows_end_in_small_steps(void **state)
{
	struct fixture *f = *state;
	struct bl_expire e = { .day = 20002, .most = 40 };
	struct copying c;
	unsigned n = 1, steps = 0;

	for (unsigned space = 1; space <= 3; space++)
		for (int64_t day = 20000; day <= 20003; day++, n += 50)
			tell_many(f, n, 50, day, space);
	do {
		assert_int_equal(fx_one(f, BL_OP_EXPIRE, &e), 0);
		assert_in_range(e.removed, 0, 40);
		assert_int_equal(fx_int(f, "SELECT sum(requests) FROM usage_days"), 600);
		assert_int_equal(copy(f, &c, "copy.db"), 0); /* sound after each step, and so are its sums */
		assert_int_equal(verify(f, &c, "copy.db"), 0);
		assert_int_equal(unlink(c.b.path), 0);
	} while (!e.over && ++steps < 100);
	assert_in_range(steps, 300 / 40, 20);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 300);
	assert_int_equal(fx_int(f, "SELECT min(began_ms) / 86400000 FROM ledger"), 20002);
	/* sums made anew are those of the days whose rows are there; the others stay as they are */
	assert_int_equal(fx_one(f, BL_OP_REBUILD, NULL), 0);
	assert_int_equal(fx_int(f, "SELECT sum(requests) FROM usage_days"), 600);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM usage_days"), 12);
	/* a shorter retention goes on from there, a longer one brings nothing back */
	e = (struct bl_expire){ .day = 19000, .most = 40 };
	assert_int_equal(fx_one(f, BL_OP_EXPIRE, &e), 0);
	assert_true(e.over && e.removed == 0);
	assert_int_equal(fx_int(f, "SELECT value FROM meta WHERE name = 'ledger_from'"), 20002);
	e = (struct bl_expire){ .day = 20010, .most = 1000 };
	assert_int_equal(fx_one(f, BL_OP_EXPIRE, &e), 0);
	assert_true(e.over && e.removed == 300);
	assert_int_equal(fx_int(f, "SELECT sum(requests) FROM usage_days"), 600);
}

static void
test_pages_are_given_back(void **state)
{
	struct fixture *f = *state;
	struct bl_expire e = { .day = 20010, .most = 100000 };
	struct bl_shrink s = { .keep = 10, .pages = 20 };
	int64_t pages;

	assert_int_equal(fx_int(f, "PRAGMA auto_vacuum"), 2);
	tell_many(f, 1, 5000, 20000, 1);
	assert_int_equal(fx_one(f, BL_OP_EXPIRE, &e), 0);
	pages = fx_int(f, "PRAGMA page_count");
	assert_true(fx_int(f, "PRAGMA freelist_count") > 100);
	assert_int_equal(fx_one(f, BL_OP_SHRINK, &s), 0);
	assert_true(s.left > 0);
	assert_int_equal(fx_int(f, "PRAGMA page_count"), pages - 20);
	for (int i = 0; i < 1000 && s.left > 0; i++)
		assert_int_equal(fx_one(f, BL_OP_SHRINK, &s), 0);
	assert_int_equal(s.left, 0);
	assert_int_equal(fx_int(f, "PRAGMA freelist_count"), 10);
	assert_int_equal(fx_one(f, BL_OP_SHRINK, &s), 0);
	assert_int_equal(fx_int(f, "PRAGMA freelist_count"), 10);
}

/* 2030-03-10 12:00 UTC is day 21983; its month began on day 21974. */
static void
test_first_day_kept(void **state)
{
	int64_t now = INT64_C(21983) * DAY + DAY / 2;
	uint64_t day = (uint64_t)DAY;

	(void)state;
	assert_true(bl_tidy_day(0, now) == INT64_MIN);
	assert_int_equal(bl_tidy_day(1, now), 21974);
	assert_int_equal(bl_tidy_day(7 * day, now), 21974);
	assert_int_equal(bl_tidy_day(9 * day, now), 21974);
	assert_int_equal(bl_tidy_day(10 * day, now), 21973);
	assert_int_equal(bl_tidy_day(365 * day, now), 21983 - 365);
	/* on the first of a month the last week stays all the same */
	assert_int_equal(bl_tidy_day(1, INT64_C(21974) * DAY + 1), 21974 - 7);
	assert_true(bl_tidy_day(36500 * day, now) < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_copy_while_writing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_there_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_wrong_with_a_copy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rows_end_in_small_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages_are_given_back, setup, teardown),
		cmocka_unit_test(test_first_day_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
