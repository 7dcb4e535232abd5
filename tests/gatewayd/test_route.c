/* SPDX-License-Identifier: Apache-2.0 */
/* The route table against every way in which clients join a base URL and a path. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gatewayd/gw_route.h"

struct row {
	enum http_method method;
	const char *path;
	bool version; /* sends anthropic-version */
	int err;
	enum gw_route_id route;
	bool anthropic;
	const char *rest;
};

#define POST HTTP_M_POST
#define GET HTTP_M_GET
#define OK(m, p, r, rest) { m, p, false, 0, GW_R_##r, false, rest }
#define AN(m, p, r) { m, p, false, 0, GW_R_##r, true, NULL }
#define NO(m, p, e, a) { m, p, false, TF_E_##e, GW_R_COUNT, a, NULL }

static const struct row rows[] = {
	OK(POST, "/v1/chat/completions", CHAT, NULL),
	OK(POST, "/v1/completions", COMPLETIONS, NULL),
	OK(POST, "/openai/completions", COMPLETIONS, NULL),
	OK(POST, "/v1/chat/completions/", CHAT, NULL),
	OK(POST, "//v1//chat///completions", CHAT, NULL),
	OK(POST, "/openai/v1/chat/completions", CHAT, NULL),
	OK(POST, "/openai/chat/completions", CHAT, NULL),
	OK(POST, "/openai/v1/v1/chat/completions", CHAT, NULL),
	OK(GET, "/v1/models", MODELS, NULL),
	OK(HTTP_M_HEAD, "/v1/models", MODELS, NULL),
	OK(GET, "/v1/models/", MODELS, NULL),
	OK(GET, "/openai/models", MODELS, NULL),
	OK(GET, "/v1/models/omniva/tiny", MODEL, "omniva/tiny"),
	OK(GET, "/v1/models/omniva%2Ftiny", MODEL, "omniva/tiny"),
	OK(GET, "/v1/models/a%20b", MODEL, "a b"),
	OK(GET, "/v1/usage", USAGE, NULL),
	OK(GET, "/v1/responses/resp_1", RESPONSE, "resp_1"),
	OK(HTTP_M_HEAD, "/openai/responses/resp_1/", RESPONSE, "resp_1"),
	OK(HTTP_M_DELETE, "/openai/v1/responses/resp%5F1", RESPONSE_DELETE, "resp_1"),
	OK(POST, "/v1/responses/a%2Fb/cancel", RESPONSE_CANCEL, "a/b"),
	OK(GET, "/v1/responses//resp_1/input_items", RESPONSE_INPUT, "resp_1"),
	NO(POST, "/v1/responses/resp_1", METHOD_NOT_ALLOWED, false),
	NO(GET, "/v1/responses/resp_1/cancel", METHOD_NOT_ALLOWED, false),
	NO(GET, "/v1/responses/resp_1/output_items", NOT_FOUND, false),
	NO(GET, "/v1/responses/resp_1/input_items/x", NOT_FOUND, false),
	NO(GET, "/v1/responses/%zz", NOT_FOUND, false),
	NO(GET, "/anthropic/v1/responses/resp_1", NOT_FOUND, true),
	OK(GET, "/openai/v1/usage", USAGE, NULL),
	{ GET, "/anthropic/v1/usage", false, 0, GW_R_USAGE, true, NULL },
	AN(POST, "/v1/messages", MESSAGES),
	AN(POST, "/v1/v1/messages", MESSAGES),
	AN(POST, "/anthropic/v1/messages", MESSAGES),
	AN(POST, "/anthropic/v1/v1/messages", MESSAGES),
	AN(POST, "/anthropic/messages", MESSAGES),
	AN(POST, "/anthropic//v1/messages/", MESSAGES),
	AN(POST, "/anthropic/v1/messages/count_tokens", COUNT_TOKENS),
	AN(POST, "/v1/messages/count_tokens", COUNT_TOKENS),
	AN(GET, "/anthropic/v1/models", MODELS),
	AN(GET, "/anthropic/models", MODELS),
	{ GET, "/v1/models", true, 0, GW_R_MODELS, true, NULL },
	{ GET, "/anthropic/v1/models/a%2Fb", false, 0, GW_R_MODEL, true, "a/b" },
	NO(POST, "/openai/v1/messages", NOT_FOUND, false),
	NO(GET, "/v1/messages", METHOD_NOT_ALLOWED, true),
	OK(GET, "/healthz", HEALTHZ, NULL),
	OK(GET, "/health", HEALTH, NULL),
	OK(GET, "/readyz", READYZ, NULL),
	OK(GET, "/ready", READY, NULL),
	OK(GET, "/metrics", METRICS, NULL),
	NO(GET, "/v1/chat/completions", METHOD_NOT_ALLOWED, false),
	NO(HTTP_M_DELETE, "/v1/models", METHOD_NOT_ALLOWED, false),
	NO(HTTP_M_UNKNOWN, "/v1/chat/completions", METHOD_NOT_ALLOWED, false),
	NO(HTTP_M_UNKNOWN, "/nowhere", METHOD_NOT_ALLOWED, false),
	NO(POST, "/chat/completions", NOT_FOUND, false),
	NO(POST, "/v1/chat", NOT_FOUND, false),
	NO(POST, "/v1/chat/completions/x", NOT_FOUND, false),
	NO(POST, "/v1/Chat/completions", NOT_FOUND, false),
	NO(GET, "/v1/models/a%00b", NOT_FOUND, false),
	NO(GET, "/v1/models/a%zzb", NOT_FOUND, false),
	OK(GET, "/", HOME, NULL),
	OK(HTTP_M_HEAD, "/", HOME, NULL),
	OK(HTTP_M_HEAD, "/v1", HOME, NULL),
	OK(HTTP_M_HEAD, "/openai/v1/", HOME, NULL),
	{ HTTP_M_HEAD, "/anthropic", false, 0, GW_R_HOME, true, NULL },
	{ HTTP_M_HEAD, "/anthropic/api/hello", false, 0, GW_R_HELLO, true, NULL },
	{ GET, "/anthropic/v1/api/hello", false, 0, GW_R_HELLO, true, NULL },
	OK(HTTP_M_HEAD, "/api/hello", HELLO, NULL),
	OK(HTTP_M_HEAD, "/openai/v1/responses", RESPONSES_PROBE, NULL),
	OK(HTTP_M_HEAD, "/v1/responses", RESPONSES_PROBE, NULL),
	NO(POST, "/", METHOD_NOT_ALLOWED, false),
	NO(GET, "/hello", NOT_FOUND, false),
	NO(GET, "/v1/healthz", NOT_FOUND, false),
	NO(POST, "/anthropic/v1/embeddings", NOT_FOUND, true),
	OK(POST, "/v1/embeddings", EMBEDDINGS, NULL),
	OK(POST, "/openai/embeddings/", EMBEDDINGS, NULL),
	NO(GET, "/v1/files", NOT_FOUND, false),
	{ GET, "/v1/files", true, TF_E_NOT_FOUND, GW_R_COUNT, true, NULL },
	{ POST, "/v1/chat/completions", true, 0, GW_R_CHAT, false, NULL },
};

static void
test_rows(void **state)
{
	static struct gw_match m;

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		const struct row *r = &rows[i];

		gw_route_find(r->method, tf_cspan(r->path), r->version, &m);
		if (m.err != r->err || m.anthropic != r->anthropic)
			fail_msg("%s: err %d, anthropic %d", r->path, m.err, m.anthropic);
		if (r->err != 0) {
			assert_null(m.route);
			continue;
		}
		assert_int_equal(m.route->id, r->route);
		if (r->rest != NULL)
			assert_string_equal(m.rest, r->rest);
	}
}

static void
test_allow(void **state)
{
	static struct gw_match m;
	char text[64];

	(void)state;
	gw_route_find(HTTP_M_PUT, TF_SPAN("/v1/models"), false, &m);
	assert_int_equal(m.err, TF_E_METHOD_NOT_ALLOWED);
	gw_route_allow(m.allow, text, sizeof text);
	assert_string_equal(text, "GET, HEAD");
}

/* What only the other API has is found there, so that the error can say so. */
static void
test_elsewhere(void **state)
{
	static const struct {
		const char *path;
		enum gw_route_id route; /* GW_R_COUNT: none */
	} cases[] = {
		{ "/anthropic/v1/chat/completions", GW_R_CHAT },
		{ "/anthropic/v1/embeddings", GW_R_EMBEDDINGS },
		{ "/openai/v1/messages", GW_R_MESSAGES },
		{ "/openai/messages/count_tokens", GW_R_COUNT_TOKENS },
		{ "/openai/v1/healthz", GW_R_COUNT },
		{ "/v1/healthz", GW_R_COUNT },
		{ "/openai/v1/nothing", GW_R_COUNT },
		{ "/chat/completions", GW_R_CHAT },
		{ "/messages", GW_R_MESSAGES },
		{ "/nothing", GW_R_COUNT },
		{ "/healthz/x", GW_R_COUNT },
	};
	static struct gw_match m;

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		gw_route_find(POST, tf_cspan(cases[i].path), false, &m);
		assert_int_equal(m.err, TF_E_NOT_FOUND);
		assert_int_equal(m.elsewhere != NULL ? m.elsewhere->id : GW_R_COUNT, cases[i].route);
	}
}

static void
test_long(void **state)
{
	static struct gw_match m;
	char path[4096];

	(void)state;
	memset(path, '/', sizeof path);
	gw_route_find(GET, tf_span(path, sizeof path), false, &m);
	assert_int_equal(m.err, TF_E_NOT_FOUND);
	for (size_t i = 0; i < 1000; i++)
		path[i] = i % 2 ? 'a' : '/';
	gw_route_find(GET, tf_span(path, 1000), false, &m);
	assert_int_equal(m.err, TF_E_NOT_FOUND);
	memcpy(path, "/v1/models/", 11);
	memset(path + 11, 'x', 1000);
	gw_route_find(GET, tf_span(path, 1011), false, &m);
	assert_int_equal(m.err, 0);
	assert_int_equal(m.rest_n, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows), cmocka_unit_test(test_allow), cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
