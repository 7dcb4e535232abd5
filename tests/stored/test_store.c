/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema (readable dump up to date, no statement that scans a table, a foreign file
 * refused) and the reading of responses as gateways put them.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/json/json.h"
#include "stored/sqlite.h"

static void
nothing(void *arg)
{
	(void)arg;
}

static void
open_new(char path[64])
{
	struct db_store *s = NULL;
	char why[256] = "";

	snprintf(path, 64, "/tmp/st-store.%d", (int)getpid());
	unlink(path);
	if (st_sqlite_open(path, nothing, NULL, &s, why, sizeof why) != 0)
		fail_msg("open: %s", why);
	db_store_close(&s);
}

static void
remove_all(const char *path)
{
	static const char *const endings[] = { "", "-wal", "-shm", ".lock" };
	char name[96];

	for (size_t i = 0; i < TF_LEN(endings); i++) {
		snprintf(name, sizeof name, "%s%s", path, endings[i]);
		unlink(name);
	}
}

/* What a newcomer reads instead of adding up migrations. */
static void
test_dump(void **state)
{
	const char *top = getenv("top_srcdir");
	struct tf_buf want = { 0 }, is = { 0 };
	char path[64], name[1024], block[4096];
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db;
	FILE *file;
	size_t n;

	(void)state;
	open_new(path);
	tf_buf_addstr(&is, "-- SPDX-License-Identifier: Apache-2.0\n-- The schema after all migrations, as the database holds it."
	    " Kept true by tests/stored/test_store.\n");
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY tbl_name,"
	    " type DESC, name", -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW)
		tf_buf_printf(&is, "%s;\n", (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	snprintf(name, sizeof name, "%s/sql/stored/schema.sql", top ? top : ".");
	file = fopen(name, "r");
	while (file != NULL && (n = fread(block, 1, sizeof block, file)) > 0)
		tf_buf_append(&want, block, n);
	if (file != NULL)
		fclose(file);
	if (!tf_span_eq(tf_buf_span(&is), tf_buf_span(&want))) {
		file = fopen("stored-schema.sql", "w");
		assert_non_null(file);
		fwrite(is.p, 1, is.n, file);
		fclose(file);
		fail_msg("%s is not the schema: the true one is in stored-schema.sql here", name);
	}
	tf_buf_free(&is);
	tf_buf_free(&want);
	remove_all(path);
}

static void
test_plans(void **state)
{
	/* by index in order is a SCAN too, of as many rows as the limit says */
	static const char *const tables[] = { "SCAN responses", "SCAN items", "SCAN objects", "SCAN spaces", "SCAN r" };
	char path[64], sql[4096];
	sqlite3 *db;

	(void)state;
	open_new(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	for (size_t s = 0; s < st_schema.n_stmts; s++) {
		const struct db_stmt *row = &st_schema.stmts[s];
		sqlite3_stmt *stmt = NULL;

		snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN %s", row->text);
		if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
			fail_msg("%s: %s", row->text, sqlite3_errmsg(db));
		while (sqlite3_step(stmt) == SQLITE_ROW) {
			const char *plan = (const char *)sqlite3_column_text(stmt, 3);

			for (size_t i = 0; i < TF_LEN(tables) && !row->scans; i++)
				if (strncmp(plan, tables[i], strlen(tables[i])) == 0)
					fail_msg("%s: %s", row->text, plan);
		}
		sqlite3_finalize(stmt);
	}
	sqlite3_close(db);
	remove_all(path);
}

/* billingd's database, or anybody's, is not touched. */
static void
test_foreign(void **state)
{
	struct db_store *s = NULL;
	char path[64], why[256] = "";
	sqlite3 *db;

	(void)state;
	snprintf(path, sizeof path, "/tmp/st-foreign.%d", (int)getpid());
	unlink(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE keys (x); PRAGMA application_id = 0x54464231; PRAGMA user_version = 1",
	    NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(st_sqlite_open(path, nothing, NULL, &s, why, sizeof why), TF_E_STATE);
	assert_non_null(strstr(why, "another program"));
	remove_all(path);
}

/* ---- responses as they are put ---------------------------------------------------------------- */

static void
item_is(const struct st_item *i, const char *id, const char *json)
{
	if (!tf_span_is(i->json, json))
		fail_msg("%.*s is not %s", (int)i->json.n, i->json.p, json);
	assert_true(tf_span_is(i->id, id));
	assert_int_equal(js_valid(i->json), 0);
}

/* An id was made: it has this beginning, and stands in the item. */
static void
item_made(const struct st_item *i, const char *prefix, const char *json)
{
	struct tf_span id;
	size_t at = strlen(prefix);
	struct tf_buf want = { 0 };

	assert_int_equal(js_valid(i->json), 0);
	assert_true(i->id.n == at + TF_ID_TEXT && memcmp(i->id.p, prefix, at) == 0);
	assert_true(js_member(i->json, "id", &id) && js_str_eqn(id, i->id));
	assert_int_equal(tf_buf_printf(&want, json, (int)i->id.n, i->id.p), 0);
	if (!tf_span_eq(i->json, tf_buf_span(&want)))
		fail_msg("%.*s is not %.*s", (int)i->json.n, i->json.p, (int)want.n, want.p);
	tf_buf_free(&want);
}

static void
test_read(void **state)
{
	static const char text[] =
	    "{\"input\":[{\"role\":\"user\",\"content\":\"a \\\"b\\\"\"},"
	    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":\"yes\",\"id\":\"msg_1\"},"
	    "{\"type\":\"message\",\"id\":null,\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"c\"}]},"
	    "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"
	    "{ \"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"5\" },"
	    "{\"type\":\"reasoning\",\"id\":\"rs_\\u0031\",\"summary\":[]},"
	    "{\"type\":\"shell_call\",\"action\":{}}],"
	    "\"response\":{\"id\":\"resp_1\",\"previous_response_id\":\"resp_0\",\"output\":["
	    "{\"id\":\"msg_2\",\"type\":\"message\","
	    "\"role\":\"assistant\",\"content\":[]}]}}";
	struct st_response r;

	(void)state;
	assert_int_equal(st_response_read(TF_SPAN(text), &r), 0);
	assert_true(tf_span_is(r.id, "resp_1"));
	assert_true(tf_span_is(r.previous, "resp_0"));
	assert_int_equal(r.n_items, 8);
	item_made(&r.items[0], "msg_", "{\"id\":\"%.*s\",\"type\":\"message\",\"role\":\"user\",\"content\":"
	    "[{\"type\":\"input_text\",\"text\":\"a \\\"b\\\"\"}]}");
	item_is(&r.items[1], "msg_1", "{\"type\":\"message\",\"role\":\"assistant\",\"content\":"
	    "[{\"type\":\"output_text\",\"text\":\"yes\",\"annotations\":[]}],\"id\":\"msg_1\"}");
	item_made(&r.items[2], "msg_", "{\"type\":\"message\",\"id\":\"%.*s\",\"role\":\"user\",\"content\":"
	    "[{\"type\":\"input_text\",\"text\":\"c\"}]}");
	item_made(&r.items[3], "fc_",
	    "{\"id\":\"%.*s\",\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"}");
	item_made(&r.items[4], "fco_", "{\"id\":\"%.*s\", \"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"5\" }");
	item_is(&r.items[5], "rs_1", "{\"type\":\"reasoning\",\"id\":\"rs_\\u0031\",\"summary\":[]}");
	item_made(&r.items[6], "item_", "{\"id\":\"%.*s\",\"type\":\"shell_call\",\"action\":{}}");
	assert_false(r.items[6].output);
	assert_true(r.items[7].output);
	item_is(&r.items[7], "msg_2", "{\"id\":\"msg_2\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}");
	st_response_fini(&r);
	assert_int_equal(st_response_read(TF_SPAN("{\"input\":\"hi\\n\",\"response\":{\"id\":\"r\",\"output\":[]}}"), &r), 0);
	assert_int_equal(r.n_items, 1);
	assert_int_equal(r.previous.n, 0);
	item_made(&r.items[0], "msg_", "{\"id\":\"%.*s\",\"type\":\"message\",\"role\":\"user\",\"content\":"
	    "[{\"type\":\"input_text\",\"text\":\"hi\\n\"}]}");
	st_response_fini(&r);
}

/* Whatever the length, as plain text and in an item: nothing that was made before moves. */
static void
test_read_long(void **state)
{
	static const char *const fronts[] = { "{\"input\":\"", "{\"input\":[{\"role\":\"user\",\"content\":\"" };
	static const char *const ends[] = { "\",", "\"},{\"role\":\"user\",\"content\":\"b\"}]," };
	struct tf_buf b = { 0 };
	struct st_response r;

	(void)state;
	for (size_t n = 1; n < 3000000; n = n * 3 + 1) {
		for (int i = 0; i < 2; i++) {
			tf_buf_reset(&b);
			tf_buf_addstr(&b, fronts[i]);
			assert_int_equal(tf_buf_reserve(&b, n), 0);
			memset(b.p + b.n, 'x', n);
			b.n += n;
			tf_buf_addstr(&b, ends[i]);
			tf_buf_addstr(&b, "\"response\":{\"id\":\"r\",\"output\":[]}}");
			assert_int_equal(st_response_read(tf_buf_span(&b), &r), 0);
			assert_int_equal(r.n_items, 1 + i);
			for (size_t k = 0; k < r.n_items; k++)
				assert_int_equal(js_valid(r.items[k].json), 0);
			assert_true(r.items[0].json.n > n);
			st_response_fini(&r);
		}
	}
	tf_buf_free(&b);
}

static void
test_read_bad(void **state)
{
	static const char *const bad[] = {
		"", "null", "[]", "{\"input\":[]}", "{\"input\":[],\"response\":{}}", "{\"input\":[],\"response\":{\"id\":\"r\"}}",
		"{\"input\":[],\"response\":{\"id\":\"\",\"output\":[]}}", "{\"input\":[],\"response\":{\"id\":7,\"output\":[]}}",
		"{\"input\":[],\"response\":{\"id\":\"r\",\"output\":{}}}",
		    "{\"input\":{},\"response\":{\"id\":\"r\",\"output\":[]}}",
		"{\"input\":[\"x\"],\"response\":{\"id\":\"r\",\"output\":[]}}",
		    "{\"input\":[],\"response\":{\"id\":\"r\",\"output\":[[]]}}",
		"{\"input\":[],\"response\":{\"id\":\"r\",\"output\":[]}} x",
	};
	struct tf_buf many = { 0 };
	struct st_response r;

	(void)state;
	for (size_t i = 0; i < TF_LEN(bad); i++) {
		assert_int_equal(st_response_read(tf_cspan(bad[i]), &r), TF_E_INVAL);
		st_response_fini(&r);
	}
	tf_buf_addstr(&many, "{\"input\":[{}");
	for (int i = 0; i < ST_ITEMS_MAX; i++)
		tf_buf_addstr(&many, ",{}");
	tf_buf_addstr(&many, "],\"response\":{\"id\":\"r\",\"output\":[]}}");
	assert_int_equal(st_response_read(tf_buf_span(&many), &r), TF_E_FULL);
	st_response_fini(&r);
	tf_buf_free(&many);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dump), cmocka_unit_test(test_plans), cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_read), cmocka_unit_test(test_read_long), cmocka_unit_test(test_read_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
