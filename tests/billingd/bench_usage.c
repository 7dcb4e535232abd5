/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a question about a month of usage takes when the month is long: fills a database of its own with rows by
 * plain SQL and asks the store what GET /v1/usage asks. Not built by default: make tests/billingd/bench_usage
 *
 *	bench_usage [ROWS [KEYS [MODELS]]]    10000000 100 8; about 300 bytes of /tmp for each row
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/billingd/fixture.h"

#define DAY INT64_C(86400000)
#define FIRST (20000 * DAY) /* a month of 31 days begins */
#define ASKED 101

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
sql(sqlite3 *db, const char *text)
{
	char *why = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &why) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", text, why);
		exit(1);
	}
}

static void
fill(struct fixture *f, long rows, long keys, long models)
{
	char text[4096];
	sqlite3 *db;

	if (sqlite3_open(f->path, &db) != SQLITE_OK)
		exit(1);
	sql(db, "PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN");
	sql(db, "INSERT INTO instances (id, name, boot) VALUES (9, 'gatewayd.0', 1)");
	/* ids are 16 bytes: eight of a kind, eight of a number */
	snprintf(text, sizeof text, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %ld)"
	    " INSERT INTO ledger (request, attempt, workspace, key, model, surface, outcome, charged, delivered, estimated, stream,"
	    " prompt, cache_read, cache_write, completion, reasoning, reserved, window_ms, began_ms, ended_ms, status, finish,"
	    " worker, instance, seq, price_input, price_output, cost)"
	    " SELECT CAST(printf('request%%09d', i) AS BLOB), 1, x'77000000000000000000000000000001',"
	    " CAST(printf('key%%013d', i * 7919 %% %ld) AS BLOB), 'acme/model-' || (i * 104729 %% %ld),"
	    " CASE i %% 3 WHEN 0 THEN 'anthropic_messages' ELSE 'openai_chat' END, 1, 1, 1, 0, 1, i %% 997, i %% 31, 0,"
	    " i %% 499, i %% 7, 2000, 1, %lld + i * 2678400000 / %ld - 1, %lld, 200, 'stop', 'w1', 9, i, 2500000000, 10000000000,"
	    " (i %% 997 * 2500000000 + i %% 499 * 10000000000) / 1000000 FROM n", rows, keys, models, (long long)FIRST, rows + 1,
	    (long long)FIRST);
	sql(db, text);
	sql(db, bl_stmt_text(BL_S_DAY_FILL));
	sql(db, "COMMIT; ANALYZE");
	sqlite3_close(db);
}

static void
ask(struct fixture *f, const char *what, int64_t from, int64_t to)
{
	double ms[ASKED];
	uint64_t requests = 0;

	for (int i = 0; i < ASKED; i++) {
		struct bl_sums s = { .workspace = fx_id('w', 1), .from_ms = from, .to_ms = to,
			.by = (1u << BL_BY_COUNT) - 1 - (1u << BL_BY_WORKSPACE) };
		uint64_t t = tf_mono_ns();

		if (fx_one(f, BL_OP_SUMS, &s) != 0)
			exit(1);
		ms[i] = (double)(tf_mono_ns() - t) / 1e6;
		requests = s.v[BL_BY_TOTAL][0].requests;
		bl_sums_fini(&s);
	}
	qsort(ms, ASKED, sizeof ms[0], by_size);
	printf("%s: %llu rows: least %.2f ms, p50 %.2f ms, p99 %.2f ms\n", what, (unsigned long long)requests, ms[0],
	    ms[ASKED / 2], ms[ASKED * 99 / 100]);
}

int
main(int argc, char **argv)
{
	uint64_t v[3] = { 10000000, 100, 8 };
	long rows, keys, models;
	struct fixture f;
	uint64_t t;

	for (int i = 1; i < argc && i <= 3; i++)
		if (tf_span_u64(tf_cspan(argv[i]), 1000000000, &v[i - 1]) != 0 || v[i - 1] == 0)
			return 2;
	rows = (long)v[0];
	keys = (long)v[1];
	models = (long)v[2];
	fx_open(&f);
	t = tf_mono_ns();
	fill(&f, rows, keys, models);
	printf("filled: %ld rows, %lld sums by day, %.0f s\n", rows, (long long)fx_int(&f, "SELECT count(*) FROM usage_days"),
	    (double)(tf_mono_ns() - t) / 1e9);
	ask(&f, "a month", FIRST, FIRST + 31 * DAY);
	ask(&f, "a week", FIRST + 7 * DAY, FIRST + 14 * DAY);
	ask(&f, "a day and a minute", FIRST + 7 * DAY, FIRST + 8 * DAY + 60000);
	fx_close(&f);
	return 0;
}
