/* SPDX-License-Identifier: Apache-2.0 */
/* common/conf: the catalogue's names and how they are found, prices. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/conf/parse.h"

/* ---- names -------------------------------------------------------------------------------- */

static const char *
found_by(const struct conf *c, enum conf_side side, const char *name)
{
	const struct conf_model *m = conf_find_model(c, side, tf_cspan(name));

	return m != NULL ? m->name : "-";
}

/* What stands in no list of one API is found by both. */
static const char *
found(const struct conf *c, const char *name)
{
	const char *openai = found_by(c, CONF_SIDE_OPENAI, name), *anthropic = found_by(c, CONF_SIDE_ANTHROPIC, name);

	assert_string_equal(openai, anthropic);
	return openai;
}

static void
test_find_model(void **state)
{
	struct conf *c = good("[model openai/gpt-oss-120b]\naliases = gpt-oss-120b, gpt-*\n"
			      "[model anthropic/haiku]\naliases = claude-3-5-haiku*, Sonnet\n"
			      "[model any]\naliases = claude-*\n"
			      "[model ANY]\n"
			      "[model Exact]\naliases = exact-*\n"
			      "[model exact-1]\n");
	char longest[400];

	(void)state;
	assert_string_equal(found(c, "openai/gpt-oss-120b"), "openai/gpt-oss-120b");
	assert_string_equal(found(c, "gpt-oss-120b"), "openai/gpt-oss-120b");
	assert_string_equal(found(c, "gpt-4o"), "openai/gpt-oss-120b");
	assert_string_equal(found(c, "claude-3-5-haiku-20241022"), "anthropic/haiku");
	assert_string_equal(found(c, "claude-3-5-haiku"), "anthropic/haiku");
	assert_string_equal(found(c, "claude-4"), "any");
	assert_string_equal(found(c, "OPENAI/GPT-OSS-120B"), "openai/gpt-oss-120b");
	assert_string_equal(found(c, "sonnet"), "anthropic/haiku");
	assert_string_equal(found(c, "any"), "any");
	assert_string_equal(found(c, "ANY"), "ANY");
	assert_string_equal(found(c, "Any"), "-");
	assert_string_equal(found(c, "exact-1"), "exact-1");
	assert_string_equal(found(c, "exact-2"), "Exact");
	assert_string_equal(found(c, "EXACT-1"), "exact-1");
	assert_string_equal(found(c, "claude"), "-");
	assert_string_equal(found(c, ""), "-");
	assert_string_equal(found(c, "openai/gpt-oss-120"), "-");
	memset(longest, 'a', sizeof longest);
	assert_null(conf_find_model(c, CONF_SIDE_OPENAI, tf_span(longest, sizeof longest)));
	conf_free(&c);
}

/* Looking an id up must not grow with the catalogue. */
static void
test_find_many(void **state)
{
	struct tf_buf b = { 0 };
	struct conf_text t = { "t.conf", { 0 } };
	struct conf_errors e = { 0 };
	struct conf *c;
	char id[64];

	(void)state;
	for (int i = 0; i < 3000; i++)
		tf_buf_printf(&b, "[model p/m%d]\naliases = a%d, A-%d\n", i, i, i);
	t.text = tf_buf_span(&b);
	assert_int_equal(conf_parse(&t, 1, &c, &e), 0);
	assert_int_equal(c->model_n, 3000);
	for (int i = 0; i < 3000; i++) {
		snprintf(id, sizeof id, "p/m%d", i);
		assert_ptr_equal(conf_find_model(c, CONF_SIDE_OPENAI, tf_cspan(id)), &c->model[i]);
		snprintf(id, sizeof id, "a-%d", i);
		assert_ptr_equal(conf_find_model(c, CONF_SIDE_OPENAI, tf_cspan(id)), &c->model[i]);
	}
	conf_free(&c);
	tf_buf_reset(&b);
	for (int i = 0; i <= CF_SECTIONS_MAX; i++)
		tf_buf_printf(&b, "[model p/m%d]\n", i);
	t.text = tf_buf_span(&b);
	assert_int_equal(conf_parse(&t, 1, &c, &e), TF_E_INVAL);
	assert_non_null(strstr(e.v[0], "more than"));
	conf_errors_free(&e);
	tf_buf_free(&b);
}

/* The same name may mean one model to clients of one API, and another to those of the other. */
static void
test_find_side(void **state)
{
	struct conf *c = good("[model a]\naliases = both\naliases-openai = gpt-*, Fast, same\n"
			      "[model b]\naliases-anthropic = claude-*, claude-x, same\n");

	(void)state;
	assert_string_equal(found(c, "a"), "a");
	assert_string_equal(found(c, "both"), "a");
	assert_string_equal(found_by(c, CONF_SIDE_OPENAI, "same"), "a");
	assert_string_equal(found_by(c, CONF_SIDE_ANTHROPIC, "same"), "b");
	assert_string_equal(found_by(c, CONF_SIDE_OPENAI, "gpt-4"), "a");
	assert_string_equal(found_by(c, CONF_SIDE_ANTHROPIC, "gpt-4"), "-");
	assert_string_equal(found_by(c, CONF_SIDE_OPENAI, "fAST"), "a");
	assert_string_equal(found_by(c, CONF_SIDE_ANTHROPIC, "fAST"), "-");
	assert_string_equal(found_by(c, CONF_SIDE_OPENAI, "claude-x"), "-");
	assert_string_equal(found_by(c, CONF_SIDE_ANTHROPIC, "claude-y"), "b");
	assert_ptr_equal(conf_find_model_id(c, TF_SPAN("a")), &c->model[0]);
	assert_null(conf_find_model_id(c, TF_SPAN("both")));
	assert_null(conf_find_model_id(c, TF_SPAN("A")));
	conf_free(&c);
	bad("[model a]\naliases = x\n[model b]\naliases-openai = x\n",
	    "t.conf:4: [model b] aliases-openai: \"x\" names another model already");
	bad("[model a]\n[model b]\naliases-anthropic = a\n",
	    "t.conf:3: [model b] aliases-anthropic: \"a\" names another model already");
	bad("[model a]\naliases-anthropic = x*\n[model b]\naliases = x*\n",
	    "t.conf:4: [model b] aliases: \"x*\" names another model already");
}

/* The example catalogue has every model that the product's pages name, under the names they use. */
static void
test_example(void **state)
{
	static const struct {
		const char *name, *openai, *anthropic; /* "": the name is the id */
	} names[] = {
		{ "deepseek-ai/DeepSeek-R1-0528", "", "" }, { "meta-llama/Llama-3.3-70B-Instruct", "", "" },
		{ "openai/gpt-oss-120b", "", "" }, { "openai/gpt-oss-20b", "", "" }, { "Qwen/Qwen3-235B-A22B", "", "" },
		{ "mistralai/Mistral-Nemo-Instruct-2407", "", "" }, { "meta-llama/Llama-3.1-8B-Instruct", "", "" },
		{ "Omniva/Kimi-K2.6", "", "" }, { "MiniMaxAI/MiniMax-M2.5", "", "" }, { "anthropic/claude-3-5-haiku", "", "" },
		{ "BAAI/bge-en-icl", "", "" }, { "canopylabs/orpheus-v1-english", "", "" },
		{ "black-forest-labs/flux-schnell", "", "" },
		{ "whisper-large-v3", "openai/whisper-large-v3", "openai/whisper-large-v3" },
		{ "whisper-large-v3-turbo", "openai/whisper-large-v3-turbo", "openai/whisper-large-v3-turbo" },
		{ "claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet", "anthropic/claude-3-5-sonnet" },
		{ "claude-3-5-haiku-20241022", "anthropic/claude-3-5-haiku", "anthropic/claude-3-5-haiku" },
		{ "claude-opus-4-5-20251101", "-", "Omniva/Kimi-K2.6" }, { "claude-sonnet-4-6", "-", "Omniva/Kimi-K2.6" },
		{ "claude-haiku-4-5-20251001", "-", "openai/gpt-oss-120b" },
	};
	const char *top = getenv("top_srcdir");
	struct conf_errors e = { 0 };
	struct conf_text t = { "catalogue.conf", { 0 } };
	char path[1024], what[1200];
	struct tf_buf text = { 0 };
	struct conf *c;

	(void)state;
	snprintf(path, sizeof path, "%s/packaging/conf/catalogue.conf", top != NULL ? top : ".");
	if (conf_read_file(path, 1 << 20, &text, what, sizeof what) != 0)
		fail_msg("%s", what);
	t.text = tf_buf_span(&text);
	assert_int_equal(conf_parse(&t, 1, &c, &e), 0);
	for (size_t i = 0; i < TF_LEN(names); i++) {
		const char *name = names[i].name, *openai = names[i].openai, *anthropic = names[i].anthropic;

		assert_string_equal(found_by(c, CONF_SIDE_OPENAI, name), *openai ? openai : name);
		assert_string_equal(found_by(c, CONF_SIDE_ANTHROPIC, name), *anthropic ? anthropic : name);
	}
	for (size_t i = 0; i < c->model_n; i++) {
		const struct conf_model *m = &c->model[i];

		/* each is priced by what it is used for */
		assert_true(m->price_input > 0 || m->price_audio_hour > 0 || m->price_characters > 0 || m->price_image > 0);
		if (strcmp(m->modality, "text") == 0)
			assert_true(m->price_output > 0 && m->context > 0 && m->max_output > 0);
		assert_true(!m->ultrafast || m->speed > 0);
	}
	conf_free(&c);
	tf_buf_free(&text);
}

/* ---- prices ------------------------------------------------------------------------------- */

static void
test_prices(void **state)
{
	struct conf *c = good("[common]\ncurrency = EUR\n[model a]\nprice-input = 0.15\nprice-output = 0\nspeed = 500\n");

	(void)state;
	assert_string_equal(c->common.currency, "EUR");
	assert_int_equal(c->model[0].price_input, 150000000);
	assert_int_equal(c->model[0].price_output, 0);
	assert_int_equal(c->model[0].price_image, CONF_NO_AMOUNT);
	assert_int_equal(c->model[0].speed, 500);
	conf_free(&c);
	c = good("[model a]\nprice-input =\n");
	assert_int_equal(c->model[0].price_input, CONF_NO_AMOUNT);
	assert_string_equal(c->common.currency, "USD");
	conf_free(&c);
	bad("[model a]\nprice-input = free\n",
	    "t.conf:2: [model a] price-input: \"free\" is not an amount (at most nine decimals)");
	bad("[model a]\nprice-image = 1000001\n", "t.conf:2: [model a] price-image: 1000001 is out of range: 0 to 1000000");
	bad("[common]\ncurrency = usd\n", "t.conf:2: [common] currency: is three capital letters: USD, EUR, ...");
}

static void
test_money(void **state)
{
	static const struct cf_option o = { "price", CONF_MONEY, "", "0", "1000", CONF_RELOAD,
		"a price", 0 };
	static const struct {
		const char *text;
		int64_t nano; /* -1: refused */
	} cases[] = {
		{ "0", 0 },
		{ "1", 1000000000 },
		{ "0.25", 250000000 },
		{ "0.000000001", 1 },
		{ "1000", 1000000000000 },
		{ "1000.000000001", -1 },
		{ "0.0000000001", -1 },
		{ "1.", -1 },
		{ ".5", -1 },
		{ "-1", -1 },
		{ "1e3", -1 },
		{ "99999999999999999999", -1 },
	};
	char why[CF_WHY];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		int64_t v = -1;

		assert_int_equal(
		    cf_value(NULL, &o, cases[i].text, &v, why), cases[i].nano < 0 ? TF_E_INVAL : 0);
		assert_int_equal(v, cases[i].nano);
	}
}

static int64_t
image_price(const struct conf *c, const char *size, const char *quality)
{
	return conf_image_price(&c->model[0], tf_cspan(size), tf_cspan(quality));
}

static void
test_image_prices(void **state)
{
	struct conf *c = good("[model a]\nprice-image = 0.04\n"
			      "price-image-sizes = 512x512=0.01, 1024x1024=0.03, 1024x1024/high=0.12, 1024x1536/hd=0.2\n");
	struct tf_span what;

	(void)state;
	assert_int_equal(image_price(c, "512x512", ""), 10000000);
	assert_int_equal(image_price(c, "0512x00512", "low"), 10000000);
	assert_int_equal(image_price(c, "1024x1024", "low"), 30000000);
	assert_int_equal(image_price(c, "1024x1024", "High"), 120000000);
	assert_int_equal(image_price(c, "1024x1536", ""), 40000000);
	assert_int_equal(image_price(c, "1024x1536", "hd"), 200000000);
	assert_int_equal(image_price(c, "256x256", ""), 40000000);
	assert_int_equal(image_price(c, "auto", "high"), 40000000);
	assert_int_equal(image_price(c, "", ""), 40000000);
	assert_int_equal(image_price(c, "x", ""), 40000000);
	assert_int_equal(conf_image_size(&c->model[0], 2, &what), 120000000);
	assert_true(tf_span_is(what, "1024x1024/high"));
	conf_free(&c);
	c = good("[model a]\nprice-image-sizes = 512x512=0.01\n");
	assert_int_equal(image_price(c, "256x256", ""), CONF_NO_AMOUNT);
	conf_free(&c);
	bad("[model a]\nprice-image-sizes = 512=0.01\n",
	    "t.conf:2: [model a] price-image-sizes: \"512=0.01\" is not WIDTHxHEIGHT=AMOUNT or WIDTHxHEIGHT/QUALITY=AMOUNT");
	bad("[model a]\nprice-image-sizes = 512x512/=1\n",
	    "t.conf:2: [model a] price-image-sizes: \"512x512/=1\" is not WIDTHxHEIGHT=AMOUNT or WIDTHxHEIGHT/QUALITY=AMOUNT");
	bad("[model a]\nprice-image-sizes = 512x512=cheap\n",
	    "t.conf:2: [model a] price-image-sizes: \"512x512=cheap\" is not WIDTHxHEIGHT=AMOUNT or WIDTHxHEIGHT/QUALITY=AMOUNT");
	bad("[model a]\nprice-image-sizes = 512x512=1000000.1\n",
	    "t.conf:2: [model a] price-image-sizes: \"512x512=1000000.1\" is out of range: 0 to 1000000");
	bad("[model a]\nprice-image-sizes = 512x512=1, 0512x512=2\n",
	    "t.conf:2: [model a] price-image-sizes: \"0512x512=2\" prices the same images as an entry before it");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_model), cmocka_unit_test(test_find_many),
		cmocka_unit_test(test_find_side), cmocka_unit_test(test_example), cmocka_unit_test(test_prices),
		cmocka_unit_test(test_image_prices),
		cmocka_unit_test(test_money),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
