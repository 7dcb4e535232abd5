/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions about usage, over the wire: sums, groupings and periods, and what is refused.
 */
#include "config.h"

#include "common/json/json.h"
#include "tests/billingd/bed.h"

static struct bed bed;

static int
setup(void **state)
{
	bed_open(&bed, "");
	*state = &bed;
	return 0;
}

static int64_t
number(const char *json, const char *path)
{
	struct tf_span v;
	int64_t n = 0;

	if (!js_at(tf_cspan(json), path, &v) || js_get_i64(v, &n) != 0)
		fail_msg("%s has no number at %s", json, path);
	return n;
}

static bool
is_null(const char *json, const char *path)
{
	struct tf_span v;

	return js_at(tf_cspan(json), path, &v) && js_is_null(v);
}

static void
test_query(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	const char *json;
	struct tf_span v;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	json = bed_query(b, 0, ws, "{}");
	assert_int_equal(number(json, "totals.requests"), 0);
	for (int i = 0; i < 5; i++) {
		struct wire_usage u = bed_usage(b, 0, key);

		if (i == 1)
			u.surface = TF_SPAN("anthropic_messages");
		if (i == 2)
			u.model = TF_SPAN("acme/small");
		if (i == 4)
			u.outcome = WIRE_OUTCOME_FAILED;
		bed_tell(b, 0, &u, tf_id_new());
	}
	/* asked in the same breath: what was told before is in it, to the token */
	json = bed_query(b, 0, ws, "{}");
	assert_int_equal(number(json, "totals.requests"), 4);
	assert_int_equal(number(json, "totals.input_tokens"), 60);
	assert_int_equal(number(json, "totals.cached_input_tokens"), 20);
	assert_int_equal(number(json, "totals.output_tokens"), 20);
	assert_int_equal(number(json, "totals.reasoning_tokens"), 8);
	assert_int_equal(number(json, "totals.total_tokens"), 80);
	assert_true(js_at(tf_cspan(json), "totals.cost", &v) && js_str_eq(v, "0"));
	assert_true(js_at(tf_cspan(json), "currency", &v) && js_str_eq(v, "USD"));
	assert_int_equal(number(json, "by_surface.openai.requests"), 3);
	assert_int_equal(number(json, "by_surface.anthropic.requests"), 1);
	assert_int_equal(number(json, "by_model[0].requests"), 3);
	assert_true(js_at(tf_cspan(json), "by_model[1].model", &v) && js_str_eq(v, "acme/small"));
	assert_true(js_at(tf_cspan(json), "by_key[0].name", &v) && js_str_eq(v, "ci"));
	assert_true(js_at(tf_cspan(json), "by_day[0].day", &v) && v.n == 12);
	assert_true(js_at(tf_cspan(json), "budget.plan", &v) && js_str_eq(v, "test"));
	assert_int_equal(number(json, "budget.limit"), 1000000);
	assert_int_equal(number(json, "budget.remaining"), 1000000 - number(json, "budget.used"));
	assert_true(js_at(tf_cspan(json), "budget.window", &v) && js_str_eq(v, "24h"));
	assert_true(is_null(json, "caps.tokens.limit") && is_null(json, "caps.cost.limit") && is_null(json, "budget.balance"));
	assert_true(js_at(tf_cspan(json), "workspace", &v) && js_str_eq(v, "main"));
	assert_int_equal(number(json, "start"), tf_month_start(tf_wall_s()));
	assert_int_equal(number(json, "end"), tf_month_next(tf_wall_s()));
	json = bed_query(b, 0, ws, "{\"surface\":\"anthropic\",\"period\":\"day\"}");
	assert_int_equal(number(json, "totals.requests"), 1);
	assert_int_equal(number(json, "by_surface.anthropic.requests"), 1);
	json = bed_query(b, 0, ws, "{\"start\":\"1000\",\"end\":\"2000\"}");
	assert_int_equal(number(json, "totals.requests"), 0);
	assert_true(is_null(json, "period"));
	json = bed_query(b, 0, ws, "{\"start\":1000}");
	assert_int_equal(number(json, "totals.requests"), 4);
	json = bed_query(b, 0, ws, "{\"period\":\"window\"}");
	assert_int_equal(number(json, "totals.requests"), 0); /* no window runs: nothing was granted */
}

/* Images, audio and characters have sums of their own, beside tokens and in every grouping. */
static void
test_query_units(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	const char *json;
	struct tf_span v;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	json = bed_query(b, 0, ws, "{}");
	assert_int_equal(number(json, "totals.audio_seconds"), 0);
	for (int i = 0; i < 3; i++) {
		struct wire_usage u = bed_usage(b, 0, key);

		u.images = i == 0 ? 4 : 0;
		u.audio_ms = i == 1 ? 61250 : 0;
		u.characters = i == 2 ? 77 : 0;
		bed_tell(b, 0, &u, tf_id_new());
	}
	json = bed_query(b, 0, ws, "{}");
	assert_int_equal(number(json, "totals.total_tokens"), 60);
	assert_int_equal(number(json, "totals.images"), 4);
	assert_int_equal(number(json, "totals.characters"), 77);
	assert_true(js_at(tf_cspan(json), "totals.audio_seconds", &v) && tf_span_is(v, "61.25"));
	assert_int_equal(number(json, "by_model[0].images"), 4);
	assert_true(js_at(tf_cspan(json), "by_key[0].audio_seconds", &v) && tf_span_is(v, "61.25"));
	assert_int_equal(number(json, "by_day[0].characters"), 77);
	assert_int_equal(number(json, "by_surface.openai.images"), 4);
	assert_int_equal(number(json, "by_surface.anthropic.images"), 0);
}

/* Costs are computed here, from the prices of the record; what no reservation covered is not charged. */
static void
test_query_costs(void **state)
{
	struct bed *b = *state;
	struct tf_id ws, key;
	const char *json;
	struct tf_span v;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	key = bed_key(b, ws, BL_NEVER_MS);
	for (int i = 0; i < 3; i++) {
		struct wire_usage u = bed_usage(b, 0, key);

		u.prompt = 1000;
		u.cache_read = 400;
		u.cache_write = 30;
		u.completion = 200;
		u.reasoning = 50;
		wire_set(&u, USAGE, price_input, UINT64_C(2000000000));
		wire_set(&u, USAGE, price_cached_input, UINT64_C(500000000));
		wire_set(&u, USAGE, price_cache_write, UINT64_C(2500000000));
		wire_set(&u, USAGE, price_output, UINT64_C(8000000000));
		if (i == 1)
			wire_set(&u, USAGE, price_reasoning, UINT64_C(8000000000));
		if (i == 2)
			u.outcome = WIRE_OUTCOME_FAILED;
		bed_tell(b, 0, &u, tf_id_new());
	}
	json = bed_query(b, 0, ws, "{}");
	/* 0.002 + 0.0002 + 0.000075 + 0.0016, and once 0.0004 for reasoning */
	assert_true(js_at(tf_cspan(json), "totals.cost", &v) && js_str_eq(v, "0.00815"));
	assert_true(js_at(tf_cspan(json), "by_model[0].cost", &v) && js_str_eq(v, "0.00815"));
	assert_true(js_at(tf_cspan(json), "by_surface.anthropic.cost", &v) && js_str_eq(v, "0"));
	assert_int_equal(bed_sql(b, "SELECT max(cost) FROM ledger WHERE charged = 1"), 4275000);
	assert_int_equal(bed_sql(b, "SELECT count(*) FROM ledger WHERE price_reasoning IS NULL"), 2);
}

static void
test_query_table(void **state)
{
	struct bed *b = *state;
	struct wire_usage u;
	struct tf_id ws;
	const char *csv;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	u = bed_usage(b, 0, bed_key(b, ws, BL_NEVER_MS));
	u.model = TF_SPAN("=cmd|\"x\"");
	u.audio_ms = 1500;
	wire_set(&u, USAGE, price_audio_hour, UINT64_C(360000000));
	bed_tell(b, 0, &u, tf_id_new());
	csv = bed_table(b, 0, ws, "{}");
	assert_memory_equal(csv, "by,group,name,requests,", 23);
	assert_non_null(strstr(csv, "\r\ntotal,\"\",\"\",1,15,5,5,2,20,0,1.5,0,0.001,USD\r\nsurface,\"openai\",\"\",1,"));
	assert_non_null(strstr(csv, "\r\nmodel,\"'=cmd|\"\"x\"\"\",\"\",1,"));
	assert_non_null(strstr(csv, "\",\"ci\",1,15,"));
	csv = bed_table(b, 0, ws, "{\"surface\":\"anthropic\"}");
	assert_non_null(strstr(csv, "\r\ntotal,\"\",\"\",0,0,0,0,0,0,0,0,0,0,USD\r\n"));
}

static void
test_query_refused(void **state)
{
	static const char *const bad[][2] = {
		{ "{\"period\":\"year\"}", "period" }, { "{\"surface\":\"x\"}", "surface" }, { "{\"start\":\"-1\"}", "start" },
		{ "{\"start\":\"a\"}", "start" }, { "{\"end\":\"5\"}", "start" }, { "{\"start\":\"9\",\"end\":\"5\"}", "end" },
		{ "{\"period\":\"day\",\"start\":\"5\"}", "period" }, { "{\"limit\":\"5\"}", "limit" },
		{ "{\"start\":\"99999999999999999999\"}", "start" }, { "[]", "" }, { "{", "" }, { "{\"period\":null}", "period" },
	};
	struct bed *b = *state;
	struct tf_id ws;

	bed_gateway(b, 0, 11);
	ws = bed_workspace(b, "main", "test");
	for (size_t i = 0; i < TF_LEN(bad); i++) {
		(void)bed_query(b, 0, ws, bad[i][0]);
		assert_string_equal(b->gw[0].h.code, "bad_request");
		assert_string_equal(b->gw[0].h.param, bad[i][1]);
	}
	memset(ws.b, 1, sizeof ws.b);
	(void)bed_query(b, 0, ws, "{}");
	assert_string_equal(b->gw[0].h.code, "not_found");
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, bed_teardown)
	const struct CMUnitTest tests[] = {
		T(test_query), T(test_query_units), T(test_query_costs), T(test_query_table), T(test_query_refused),
	};

	tf_log_init("test", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
