/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store, in the large: sums are those of the ledger, whatever is told in whatever order, and when rows have gone; and
 * the check of all that says so when it is not.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/wire/wire.h"
#include "tests/billingd/fixture.h"

#define DAY INT64_C(86400000)

static struct bl_workspace_row
workspace(unsigned n, const char *name)
{
	struct bl_workspace_row w = { .id = fx_id('w', n), .plan = "test", .created_ms = 5 };

	snprintf(w.name, sizeof w.name, "%s", name);
	return w;
}

/* ---- sums --------------------------------------------------------------------------------- */

/* An attempt of that request, as any of its records may tell of it. */
static struct bl_usage
random_usage(unsigned request, unsigned seq, unsigned days)
{
	static const char *surfaces[] = { "openai_chat", "anthropic_messages", "openai_responses" };
	static const char *models[] = { "acme/large", "acme/small" };
	struct bl_usage u = fx_usage(request);

	u.workspace = fx_id('w', (unsigned)rand() % 2 + 1);
	u.key = fx_id('k', (unsigned)rand() % 3);
	u.outcome = (uint8_t)((unsigned)rand() % 4 + 1);
	u.attempt = (unsigned)rand() % 2 + 1;
	u.tokens = (struct bl_tokens){ (unsigned)rand() % 1000, (unsigned)rand() % 50, (unsigned)rand() % 9,
		(unsigned)rand() % 300, (unsigned)rand() % 40 };
	u.units = (struct bl_units){ (unsigned)rand() % 4, (unsigned)rand() % 90000, (unsigned)rand() % 500 };
	u.provisional = rand() % 4 == 0;
	u.seq = seq;
	for (int k = 0; k < TF_P_COUNT; k++)
		u.price.v[k] = rand() % 5 == 0 ? TF_NO_PRICE : (int64_t)rand() * 100;
	u.cost = bl_usage_cost(&u);
	u.unbilled = u.cost / 3 * ((unsigned)rand() % 2);
	u.began_ms = 21000 * DAY + (int64_t)((unsigned)rand() % days) * DAY + (int64_t)((unsigned)rand() % DAY);
	u.text[BL_T_MODEL] = tf_cspan(models[(unsigned)rand() % 2]);
	u.text[BL_T_SURFACE] = tf_cspan(surfaces[(unsigned)rand() % 3]);
	return u;
}

/* Commits it; takes the records. */
static void
commit(struct fixture *f, struct db_batch *b)
{
	f->last = NULL;
	db_store_submit(f->store, b);
	while (f->last == NULL) {
		sem_wait(&f->wake);
		db_store_reap(f->store);
	}
	for (size_t i = 0; i < b->n; i++)
		free(b->ops[i].arg);
	assert_int_equal(f->last->rc, 0);
	db_batch_free(&f->last);
}

static void
fill(struct fixture *f, unsigned n)
{
	struct db_batch *b = fx_batch(f);

	b->lenient = true;
	srand(5);
	for (unsigned i = 1; i <= n; i++) {
		struct bl_usage u = random_usage(i % (n * 9 / 10) + 1, i, 5); /* one in ten is a replay */

		assert_int_equal(db_batch_add(b, BL_OP_USAGE, bl_usage_copy(&u)), 0);
	}
	commit(f, b);
}

static const char days_more[] = "SELECT count(*) FROM (SELECT " FX_DAYS_COLUMNS " FROM usage_days EXCEPT SELECT workspace,"
    " began_ms / 86400000, key, model, surface, count(*), sum(prompt), sum(cache_read), sum(cache_write), sum(completion),"
    " sum(reasoning), sum(images), sum(audio_ms), sum(characters), sum(cost), sum(unbilled)"
    " FROM ledger WHERE charged = 1 GROUP BY 1, 2, 3, 4, 5)";
/* charged rows of a request: one when any of its attempts could be, else none */
static const char charged_check[] = "SELECT count(*) FROM (SELECT request FROM ledger GROUP BY request"
    " HAVING sum(charged) <> max(outcome IN (1, 2)))";

#define ALL ((1u << BL_BY_COUNT) - 1)

static void
check_sum(struct fixture *f, int64_t from, int64_t to, const char *surface)
{
	struct bl_sums s = { .workspace = fx_id('w', 1), .from_ms = from, .to_ms = to, .by = ALL };
	char sql[512];

	snprintf(s.surface, sizeof s.surface, "%s", surface);
	assert_int_equal(fx_one(f, BL_OP_SUMS, &s), 0);
	assert_int_equal(s.n[BL_BY_TOTAL], 1);
	snprintf(sql, sizeof sql, "SELECT coalesce(sum(prompt * 3 + cache_read * 5 + cache_write * 7 + completion * 11 + reasoning"
	    " * 13 + images * 17 + audio_ms * 19 + characters * 23 + cost * 29 + unbilled * 31 + 1), 0)"
	    " FROM ledger WHERE charged = 1"
	    " AND hex(workspace) LIKE '77%%01' AND began_ms >= %lld AND began_ms < %lld"
	    " AND surface LIKE '%s%%'", (long long)from, (long long)to, surface);
	for (int by = 0; by < BL_BY_COUNT; by++) {
		int64_t sum = 0;

		for (size_t i = 0; i < s.n[by]; i++) {
			const struct bl_tokens *t = &s.v[by][i].tokens;
			const struct bl_units *v = &s.v[by][i].units;

			sum += (int64_t)(t->prompt * 3 + t->cache_read * 5 + t->cache_write * 7 + t->completion * 11 +
			    t->reasoning * 13 + v->images * 17 + v->audio_ms * 19 + v->characters * 23 +
			    s.v[by][i].cost * 29 + s.v[by][i].unbilled * 31 + s.v[by][i].requests);
		}
		assert_int_equal(sum, fx_int(f, sql));
	}
	bl_sums_fini(&s);
}

/* Over all workspaces, with days that are not whole. */
static void
check_all(struct fixture *f)
{
	struct bl_sums all = { .all = true, .from_ms = 21001 * DAY + 7, .to_ms = 21003 * DAY + 9, .by = ALL };
	static const char where[] = " FROM ledger WHERE charged = 1 AND workspace IN (SELECT id FROM workspaces)"
				    " AND began_ms >= 21001 * 86400000 + 7 AND began_ms < 21003 * 86400000 + 9";
	struct bl_workspace_row w = workspace(1, "one"), v = workspace(2, "two");
	char sql[256];

	assert_int_equal(fx_one(f, BL_OP_WORKSPACE_NEW, &w), 0);
	assert_int_equal(fx_one(f, BL_OP_WORKSPACE_NEW, &v), 0);
	assert_int_equal(fx_one(f, BL_OP_SUMS, &all), 0);
	snprintf(sql, sizeof sql, "SELECT count(*)%s", where);
	assert_int_equal(all.v[BL_BY_TOTAL][0].requests, fx_int(f, sql));
	snprintf(sql, sizeof sql, "SELECT sum(cost)%s", where);
	assert_int_equal(all.v[BL_BY_TOTAL][0].cost, fx_int(f, sql));
	snprintf(sql, sizeof sql, "SELECT count(DISTINCT workspace)%s", where);
	assert_int_equal(all.n[BL_BY_WORKSPACE], fx_int(f, sql));
	bl_sums_fini(&all);
}

/* Everything that is derived adds up, after replays, replacements and second charges of all kinds. */
static void
check_verified(struct fixture *f, unsigned told)
{
	struct bl_verify v = { 0 };
	char sql[64];

	snprintf(sql, sizeof sql, "UPDATE instances SET seq = %u", told);
	assert_int_equal(fx_int(f, sql), -1);
	while (!v.over)
		assert_int_equal(fx_one(f, BL_OP_VERIFY, &v), 0);
	for (int c = 0; c < BL_CHECK_COUNT; c++)
		if (v.found[c].wrong != 0)
			fail_msg("%d: %s", c, v.found[c].first);
	assert_int_equal(v.found[BL_CHECK_SEQUENCE].looked, told);
	assert_int_equal(v.found[BL_CHECK_COST].looked, fx_int(f, "SELECT count(*) FROM ledger"));
	assert_true(fx_int(f, "SELECT sum(last - first + 1) FROM spent") > told / 60);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM spent a JOIN spent b ON b.instance = a.instance AND b.first > a.first"
	    " AND b.first <= a.last + 1"), 0);
	bl_verify_fini(&v);
}

static void
test_sums(void **state)
{
	struct fixture *f = *state;
	struct bl_sums gone = { .workspace = fx_id('w', 1), .to_ms = 21005 * DAY, .by = 1 };
	struct bl_sums all = { .all = true, .from_ms = 21000 * DAY, .to_ms = 21005 * DAY, .by = ALL };

	fill(f, 3000);
	assert_true(fx_int(f, "SELECT sum(charged) FROM ledger") > 500);
	assert_int_equal(fx_int(f, fx_days_check), 0);
	assert_int_equal(fx_int(f, days_more), 0);
	assert_int_equal(fx_int(f, charged_check), 0);
	check_verified(f, 3000);
	check_sum(f, 21000 * DAY, 21005 * DAY, "");
	check_sum(f, 21000 * DAY, 21005 * DAY, "openai");
	check_sum(f, 21001 * DAY, 21002 * DAY, "anthropic");
	check_sum(f, 21001 * DAY + 7, 21003 * DAY - 9000, "");
	check_sum(f, 21001 * DAY + 3600000, 21001 * DAY + 7200000, "");
	check_sum(f, 21001 * DAY + 80000000, 21002 * DAY + 3600000, "openai");
	check_sum(f, 21004 * DAY, 21004 * DAY, "");
	check_sum(f, 21004 * DAY, 21003 * DAY, "");
	assert_int_equal(fx_one(f, BL_OP_SUMS, &all), 0);
	assert_int_equal(all.n[BL_BY_SURFACE], 2);
	assert_string_equal(all.v[BL_BY_SURFACE][0].group, "anthropic");
	assert_string_equal(all.v[BL_BY_SURFACE][1].group, "openai");
	assert_int_equal(all.n[BL_BY_DAY], 5);
	assert_int_equal(all.v[BL_BY_DAY][4].day, 21004);
	assert_int_equal(all.n[BL_BY_KEY], 3);
	assert_int_equal(all.v[BL_BY_TOTAL][0].requests, fx_int(f, "SELECT sum(charged) FROM ledger"));
	bl_sums_fini(&all);
	check_all(f);
	/* days whose rows may have gone are known as a whole */
	assert_int_equal(fx_int(f, "INSERT INTO meta (name, value) VALUES ('ledger_from', 21002)"), -1);
	check_sum(f, 21000 * DAY, 21005 * DAY, "");
	check_sum(f, 21001 * DAY, 21003 * DAY - 9000, "");
	gone.from_ms = 21001 * DAY + 7;
	assert_int_equal(fx_one(f, BL_OP_SUMS, &gone), TF_E_NOENT);
	gone.from_ms = 20000 * DAY;
	gone.to_ms = 21001 * DAY + 1;
	assert_int_equal(fx_one(f, BL_OP_SUMS, &gone), TF_E_NOENT);
	assert_int_equal(fx_int(f, "DELETE FROM meta WHERE name = 'ledger_from'"), -1);
	/* broken sums are made anew */
	assert_int_equal(fx_int(f, "UPDATE usage_days SET prompt = prompt + 1"), -1);
	assert_true(fx_int(f, fx_days_check) > 0);
	assert_int_equal(fx_one(f, BL_OP_REBUILD, NULL), 0);
	assert_int_equal(fx_int(f, fx_days_check), 0);
}

/* ---- retention ---------------------------------------------------------------------------- */

/* Rows of days before that one go, a few at a time; their sums stay what they are. */
static void
expire(struct fixture *f, int64_t day)
{
	static const char sums[] = "SELECT sum(requests * 3 + prompt * 5 + completion * 7 + images * 11 + cost + unbilled * 13)"
				   " FROM usage_days";
	struct bl_expire e = { .day = day };
	int64_t before = fx_int(f, sums), kept, left;
	char sql[96];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM ledger WHERE began_ms >= %lld", (long long)(day * DAY));
	kept = fx_int(f, sql);
	while (!e.over) {
		e.most = (unsigned)rand() % 90 + 1;
		assert_int_equal(fx_one(f, BL_OP_EXPIRE, &e), 0);
		assert_true(e.removed <= e.most);
	}
	left = fx_int(f, "SELECT count(*) FROM ledger");
	assert_int_equal(left, kept);
	assert_int_equal(fx_int(f, sums), before);
}

/*
 * Attempts, replays of them with other figures, also of those that are gone, and the end of their time, all at random:
 * after each step what is there costs its units at its prices, sums are those of the rows, no request is charged
 * twice, and every record has its row or is known to have none.
 */
static void
test_random_lives(void **state)
{
	struct fixture *f = *state;
	unsigned seq = 0, requests = 0;

	srand(11);
	for (int64_t round = 0; round < 14; round++) {
		struct db_batch *b = fx_batch(f);
		unsigned n = (unsigned)rand() % 400 + 20;

		b->lenient = true;
		for (unsigned i = 0; i < n; i++) {
			bool again = requests > 0 && rand() % 3 == 0;
			unsigned request = again ? (unsigned)rand() % requests + 1 : ++requests;
			struct bl_usage u = random_usage(request, ++seq, 1);

			/* its attempts are of one day, or of the night behind it */
			u.began_ms += request * 5 % 12 * DAY + rand() % 6 * 3600000;
			assert_int_equal(db_batch_add(b, BL_OP_USAGE, bl_usage_copy(&u)), 0);
		}
		commit(f, b);
		check_verified(f, seq);
		if (rand() % 4 != 0) {
			expire(f, 21000 + round);
			check_verified(f, seq);
		}
	}
	/* all of it */
	expire(f, 21012);
	check_verified(f, seq);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM ledger"), 0);
	assert_int_equal(fx_int(f, "SELECT count(*) FROM spent"), 1);
	assert_int_equal(fx_int(f, "SELECT last FROM spent WHERE first = 1"), seq);
}

/* One that is lost does not hide behind one that is there twice. */
static void
test_sequence(void **state)
{
	static const struct {
		const char *change, *back;
		uint64_t wrong;
		const char *first;
	} cases[] = {
		{ "UPDATE ledger SET seq = 11 WHERE seq = 10", "UPDATE ledger SET seq = 10 WHERE id = 10", 2,
		    "record 11 has more than one row" },
		{ "UPDATE ledger SET seq = seq + 2000 WHERE seq IN (1, 7, 8)",
		    "UPDATE ledger SET seq = seq - 2000 WHERE seq > 2000", 3, "record 1 has no row, nor have 2 behind it" },
		{ "UPDATE ledger SET seq = 5000 WHERE seq = 1500", "UPDATE ledger SET seq = 1500 WHERE seq = 5000", 1,
		    "record 1500 has no row, nor have 0 behind it" },
		{ "UPDATE instances SET seq = 4000000000000000", "UPDATE instances SET seq = 1500", 3999999999998500,
		    "record 1501 has no row" },
		{ "INSERT INTO spent SELECT id, 3, 900 FROM instances; UPDATE ledger SET seq = 5000 WHERE seq = 901",
		    "DELETE FROM spent; UPDATE ledger SET seq = 901 WHERE seq = 5000", 1, "record 901 has no row" },
	};
	struct fixture *f = *state;
	struct db_batch *b = fx_batch(f);

	for (unsigned i = 1; i <= 1500; i++) {
		struct bl_usage u = fx_usage(i);

		u.seq = i;
		assert_int_equal(db_batch_add(b, BL_OP_USAGE, bl_usage_copy(&u)), 0);
	}
	b->lenient = true;
	commit(f, b);
	assert_int_equal(fx_int(f, "UPDATE instances SET seq = 1500"), -1);
	for (size_t i = 0; i <= TF_LEN(cases) * 2; i++) {
		struct bl_verify v = { 0 };
		bool wrong = i % 2 != 0;

		if (i > 0)
			fx_exec(f, wrong ? cases[i / 2].change : cases[i / 2 - 1].back);
		while (!v.over)
			assert_int_equal(fx_one(f, BL_OP_VERIFY, &v), 0);
		assert_int_equal(v.found[BL_CHECK_SEQUENCE].wrong, wrong ? cases[i / 2].wrong : 0);
		if (wrong && strstr(v.found[BL_CHECK_SEQUENCE].first, cases[i / 2].first) == NULL)
			fail_msg("%s: not %s", v.found[BL_CHECK_SEQUENCE].first, cases[i / 2].first);
		bl_verify_fini(&v);
	}
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, fx_setup, fx_teardown)
	const struct CMUnitTest tests[] = { T(test_sums), T(test_random_lives), T(test_sequence) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
