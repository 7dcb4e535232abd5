/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schema: from nothing and from every version to the last, newer and foreign and damaged
 * files refused, a failing step undone, the readable dump up to date, and no statement that
 * scans the ledger.
 */
#include "config.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/billingd/fixture.h"

static const struct db_migration made_up[] = {
	{ 1, "one", "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);" },
	{ 2, "two", "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO b SELECT x + 1 FROM a;" },
	{ 3, "three", "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 5;" },
};
static const struct db_migration broken[] = {
	{ 1, "one", "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (1);" },
	{ 2, "two", "CREATE TABLE b (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1);" },
};

static int
migrate(sqlite3 *db, const char *path, const struct db_migration *m, size_t n, char *why, size_t size)
{
	struct db_schema schema = { .application_id = 7, .migrations = m, .n_migrations = n };

	return db_migrate(db, path, &schema, why, size);
}

static int64_t
value(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;
	int64_t v = -1;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	if (sqlite3_step(stmt) == SQLITE_ROW)
		v = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return v;
}

static size_t
copies(const char *path)
{
	char pattern[256];
	glob_t g;
	size_t n;

	snprintf(pattern, sizeof pattern, "%s.before-*", path);
	n = glob(pattern, 0, NULL, &g) == 0 ? g.gl_pathc : 0;
	if (n > 0)
		globfree(&g);
	return n;
}

/* Copies that others could read. */
static size_t
copies_open(const char *path)
{
	char pattern[256];
	size_t n = 0;
	struct stat st;
	glob_t g;

	snprintf(pattern, sizeof pattern, "%s.before-*", path);
	if (glob(pattern, 0, NULL, &g) != 0)
		return 0;
	for (size_t i = 0; i < g.gl_pathc; i++)
		n += stat(g.gl_pathv[i], &st) == 0 && (st.st_mode & 077) != 0;
	globfree(&g);
	return n;
}

static void
test_each_version(void **state)
{
	char path[64], why[256], command[320];
	sqlite3 *db;
	glob_t g;

	(void)state;
	for (size_t from = 0; from <= TF_LEN(made_up); from++) {
		snprintf(path, sizeof path, "/tmp/bl-migrate.%d.%zu", (int)getpid(), from);
		assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
		assert_int_equal(migrate(db, path, made_up, from, why, sizeof why), 0);
		assert_int_equal(migrate(db, path, made_up, TF_LEN(made_up), why, sizeof why), 0);
		assert_int_equal(value(db, "PRAGMA user_version"), 3);
		assert_int_equal(value(db, "SELECT x FROM b"), 2);
		assert_int_equal(value(db, "SELECT y FROM a"), 5);
		/* only one with data in it is worth a copy */
		assert_int_equal(copies(path), from > 0 && from < 3);
		assert_int_equal(copies_open(path), 0);
		sqlite3_close(db);
		snprintf(command, sizeof command, "%s*", path);
		if (glob(command, 0, NULL, &g) == 0) {
			for (size_t i = 0; i < g.gl_pathc; i++)
				unlink(g.gl_pathv[i]);
			globfree(&g);
		}
	}
}

static void
test_failing_step(void **state)
{
	char why[256] = "";
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(migrate(db, ":memory:", broken, 2, why, sizeof why), TF_E_INVAL);
	assert_non_null(strstr(why, "migration 2 (two)"));
	assert_int_equal(value(db, "PRAGMA user_version"), 1);
	assert_int_equal(value(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'"), 0);
	sqlite3_close(db);
}

static void
test_newer_and_foreign(void **state)
{
	char why[256] = "";
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(migrate(db, ":memory:", made_up, 3, why, sizeof why), 0);
	assert_int_equal(migrate(db, ":memory:", made_up, 2, why, sizeof why), TF_E_STATE);
	assert_non_null(strstr(why, "newer"));
	sqlite3_close(db);
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE other (x)", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(migrate(db, ":memory:", made_up, 3, why, sizeof why), TF_E_STATE);
	assert_non_null(strstr(why, "another program"));
	sqlite3_close(db);
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
test_damaged_and_locked(void **state)
{
	struct fixture f;
	struct db_store *second = NULL;
	char why[256] = "";
	FILE *file;

	(void)state;
	fx_open(&f);
	assert_int_equal(bl_sqlite_open(f.path, nothing, NULL, &second, why, sizeof why), TF_E_EXIST);
	assert_null(second);
	db_store_close(&f.store);
	file = fopen(f.path, "w");
	assert_non_null(file);
	for (int i = 0; i < 500; i++)
		fputs("this is no database. ", file);
	fclose(file);
	assert_int_equal(bl_sqlite_open(f.path, nothing, NULL, &second, why, sizeof why), TF_E_IO);
	assert_true(strlen(why) > 0);
	fx_close(&f);
}

/* The dump: what a newcomer reads instead of adding up migrations. */
static void
test_dump(void **state)
{
	const char *top = getenv("top_srcdir");
	struct tf_buf want = { 0 }, is = { 0 };
	char path[1024], block[4096];
	sqlite3_stmt *stmt = NULL;
	struct fixture f;
	sqlite3 *db;
	FILE *file;
	size_t n;

	(void)state;
	fx_open(&f);
	tf_buf_addstr(&is, "-- SPDX-License-Identifier: Apache-2.0\n-- The schema after all migrations, as the database holds it."
	    " Kept true by tests/billingd/test_migrate.\n");
	assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY tbl_name,"
	    " type DESC, name", -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW)
		tf_buf_printf(&is, "%s;\n", (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	snprintf(path, sizeof path, "%s/sql/billing/schema.sql", top ? top : ".");
	file = fopen(path, "r");
	while (file != NULL && (n = fread(block, 1, sizeof block, file)) > 0)
		tf_buf_append(&want, block, n);
	if (file != NULL)
		fclose(file);
	if (!tf_span_eq(tf_buf_span(&is), tf_buf_span(&want))) {
		file = fopen("billing-schema.sql", "w");
		assert_non_null(file);
		fwrite(is.p, 1, is.n, file);
		fclose(file);
		fail_msg("%s is not the schema: the true one is in billing-schema.sql here", path);
	}
	tf_buf_free(&is);
	tf_buf_free(&want);
	fx_close(&f);
}

/* Every statement prepares, and those that say nothing about it find their rows by an index. */
static void
test_plans(void **state)
{
	struct fixture f;
	sqlite3 *db;

	(void)state;
	fx_open(&f);
	assert_int_equal(sqlite3_open(f.path, &db), SQLITE_OK);
	assert_int_equal(bl_schema.functions(db, NULL), SQLITE_OK);
	for (int s = 0; s < BL_S_COUNT; s++) {
		sqlite3_stmt *stmt = NULL;
		char sql[4096];

		snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", bl_stmt_text((enum bl_stmt)s));
		if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
			fail_msg("%s: %s", bl_stmt_text((enum bl_stmt)s), sqlite3_errmsg(db));
		while (sqlite3_step(stmt) == SQLITE_ROW) {
			const char *plan = (const char *)sqlite3_column_text(stmt, 3);

			if (!bl_stmt_scans((enum bl_stmt)s) && strstr(plan, "SCAN l") != NULL)
				fail_msg("%s: %s", bl_stmt_text((enum bl_stmt)s), plan);
			if ((s == BL_S_SUMS_DAYS || s == BL_S_ADD_DAYS) &&
			    strstr(plan, "PRIMARY KEY (workspace=? AND day>? AND day<?)") == NULL)
				fail_msg("%s: %s", bl_stmt_text((enum bl_stmt)s), plan);
			if ((s == BL_S_SUMS_EDGE || s == BL_S_ADD_EDGE || s == BL_S_VERIFY_STRAY_DAY) &&
			    strstr(plan, "ledger_began (workspace=? AND began_ms>? AND began_ms<?)") == NULL)
				fail_msg("%s: %s", bl_stmt_text((enum bl_stmt)s), plan);
			if (s == BL_S_VERIFY_WINDOW && strstr(plan, " l ") != NULL &&
			    strstr(plan, "ledger_began (workspace=? AND began_ms>? AND began_ms<?)") == NULL)
				fail_msg("%s: %s", bl_stmt_text((enum bl_stmt)s), plan);
			if (s == BL_S_VERIFY_STRAYS && strstr(plan, " l ") != NULL &&
			    strstr(plan, "INTEGER PRIMARY KEY (rowid>? AND rowid<?)") == NULL)
				fail_msg("%s: %s", bl_stmt_text((enum bl_stmt)s), plan);
		}
		sqlite3_finalize(stmt);
	}
	sqlite3_close(db);
	fx_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_version), cmocka_unit_test(test_failing_step),
		cmocka_unit_test(test_newer_and_foreign), cmocka_unit_test(test_damaged_and_locked),
		cmocka_unit_test(test_dump), cmocka_unit_test(test_plans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
