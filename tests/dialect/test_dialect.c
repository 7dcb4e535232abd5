/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's half of common/dialect (scan, head, needs, errors) and the small parts: tables, the
 * grammar of events, the event reader, scrubbing. Answers are in test_golden.c.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/canon.h"
#include "common/dialect/field.h"
#include "common/dialect/sse.h"
#include "tests/dialect/group.h"

#define MSG "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define OK(more) "{\"model\":\"m\"," MSG more "}"
#define TOOL "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"

static int
scan(struct dl_scan *s, const char *body)
{
	dl_scan_init(s, DL_OPENAI_CHAT, 0, 0);
	return dl_scan_end(s, body, strlen(body));
}

/* ---- refusals: one row per rule ---------------------------------------------------------- */

static const struct {
	const char *body, *param; /* param NULL: accepted */
} rows[] = {
	{ OK(""), NULL },
	{ "{" MSG "}", "model" },
	{ "{\"model\":\"\"," MSG "}", "model" },
	{ "{\"model\":1," MSG "}", "model" },
	{ "{\"model\":null," MSG "}", "model" },
	{ "{\"model\":\"a\\u0007\"," MSG "}", "model" },
	{ "{\"model\":\"m\",\"model\":\"m\"," MSG "}", "model" },
	{ "{\"model\":\"m\"}", "messages" },
	{ "{\"model\":\"m\",\"messages\":[]}", "messages" },
	{ "{\"model\":\"m\",\"messages\":{}}", "messages" },
	{ "{\"model\":\"m\",\"messages\":null}", "messages" },
	{ "{\"model\":\"m\",\"prompt\":\"x\"}", "messages" },
	{ "{\"model\":\"m\"," MSG "," MSG "}", "messages" },
	{ "{\"model\":\"m\",\"messages\":[1]}", "messages[0]" },
	{ "{\"model\":\"m\",\"messages\":[{\"content\":\"x\"}]}", "messages[0].role" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":"
	  "\"robot\",\"content\":\"x\"}]}",
	    "messages[1].role" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":5,\"content\":\"x\"}]}", "messages[0].role" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "messages[0].content" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":null}]}",
	    "messages[0].content" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":7}]}",
	    "messages[0].content" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}",
	    "messages[0].tool_call_id" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[\"x\"]}]}",
	    "messages[0].content[0]" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
	  "\"text\":\"a\"},{\"text\":\"x\"}]}]}",
	    "messages[0].content[1]" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
	  "\"text\":1}]}]}",
	    "messages[0].content[0].text" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\","
	  "\"image_url\":{}}]}]}",
	    "messages[0].content[0]" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"image_url\":{\"url\":"
	  "3},\"type\":\"image_url\"}]}]}",
	    "messages[0].content[0].image_url.url" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\","
	  "\"type\":\"function\",\"function\":{\"arguments\":\"\"}}]}]}",
	    "messages[0].tool_calls[0].function" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"a\","
	  "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":{}}}]}]}",
	    "messages[0].tool_calls[0].function.arguments" },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":null}]}", NULL },
	{ "{\"model\":\"m\",\"messages\":[{\"content\":\"later role\",\"role\":\"user\"}]}", NULL },
	{ OK(",\"stream\":1"), "stream" },
	{ OK(",\"stream\":\"true\""), "stream" },
	{ OK(",\"stream\":null"), NULL },
	{ OK(",\"stream_options\":[]"), "stream_options" },
	{ OK(",\"stream_options\":{\"include_usage\":1}"), "stream_options.include_usage" },
	{ OK(",\"stream_options\":{\"include_usage\":true,\"include_obfuscation\":true,\"x\":1}"),
	    NULL },
	{ OK(",\"max_tokens\":0"), "max_tokens" },
	{ OK(",\"max_tokens\":-5"), "max_tokens" },
	{ OK(",\"max_tokens\":1.5"), "max_tokens" },
	{ OK(",\"max_tokens\":1e99"), "max_tokens" },
	{ OK(",\"max_tokens\":99999999999"), "max_tokens" },
	{ OK(",\"max_tokens\":\"5\""), "max_tokens" },
	{ OK(",\"max_tokens\":16.0"), NULL },
	{ OK(",\"max_completion_tokens\":0"), "max_completion_tokens" },
	{ OK(",\"max_completion_tokens\":null,\"max_tokens\":null"), NULL },
	{ OK(",\"temperature\":2.1"), "temperature" },
	{ OK(",\"temperature\":-0.1"), "temperature" },
	{ OK(",\"temperature\":\"hot\""), "temperature" },
	{ OK(",\"temperature\":1e999"), "temperature" },
	{ OK(",\"temperature\":2,\"top_p\":1"), NULL },
	{ OK(",\"temperature\":null"), NULL },
	{ OK(",\"top_p\":1.01"), "top_p" },
	{ OK(",\"n\":0"), "n" },
	{ OK(",\"n\":129"), "n" },
	{ OK(",\"n\":2,\"n\":2"), "n" },
	{ OK(",\"stop\":5"), "stop" },
	{ OK(",\"stop\":[\"a\",5]"), "stop[1]" },
	{ OK(",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]"), NULL },
	{ OK(",\"tools\":{}"), "tools" },
	{ OK(",\"tools\":[1]"), "tools[0]" },
	{ OK(",\"tools\":[{\"function\":{\"name\":\"f\"}}]"), "tools[0]" },
	{ OK(",\"tools\":[{\"type\":\"web\",\"function\":{\"name\":\"f\"}}]"), "tools[0].type" },
	{ OK(",\"tools\":[{\"type\":\"function\"}]"), "tools[0]" },
	{ OK(",\"tools\":[" TOOL ",{\"type\":\"function\",\"function\":{}}]"), "tools[1]" },
	{ OK(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]"),
	    "tools[0].function.name" },
	{ OK(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"\"}}]"),
	    "tools[0].function.name" },
	{ OK(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}"
	     "]"),
	    "tools[0].function.parameters" },
	{ OK(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":3}}]"),
	    "tools[0].function.strict" },
	{ OK(",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]"), NULL },
	{ OK(",\"tools\":[]"), NULL },
	{ OK(",\"tools\":[" TOOL "],\"tool_choice\":\"any\""), "tool_choice" },
	{ OK(",\"tools\":[" TOOL "],\"tool_choice\":{\"type\":\"x\"}"), "tool_choice.type" },
	{ OK(",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}},\"tools\":"
	     "[" TOOL "]"),
	    "tool_choice" },
	{ OK(",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},\"tools\":"
	     "[" TOOL "]"),
	    NULL },
	{ OK(",\"tool_choice\":\"required\""), "tool_choice" },
	{ OK(",\"tool_choice\":\"auto\""), NULL },
	{ OK(",\"parallel_tool_calls\":0"), "parallel_tool_calls" },
	{ OK(",\"response_format\":\"json\""), "response_format" },
	{ OK(",\"response_format\":{}"), "response_format.type" },
	{ OK(",\"response_format\":{\"type\":\"xml\"}"), "response_format.type" },
	{ OK(",\"response_format\":{\"type\":\"json_schema\"}"),
	    "response_format.json_schema.name" },
	{ OK(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a b\"}}"),
	    "response_format.json_schema.name" },
	{ OK(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"a\","
	     "\"schema\":{}}}"),
	    NULL },
	{ OK(",\"response_format\":{\"type\":\"text\"}"), NULL },
	{ OK(",\"reasoning_effort\":5"), "reasoning_effort" },
	{ OK(",\"reasoning_effort\":\"extreme\""), NULL },
	{ OK(",\"logprobs\":5"), "logprobs" },
	{ OK(",\"top_logprobs\":21"), "top_logprobs" },
	{ OK(",\"top_logprobs\":5"), "top_logprobs" },
	{ OK(",\"top_logprobs\":5,\"logprobs\":true"), NULL },
	{ OK(",\"seed\":1.5"), "seed" },
	{ OK(",\"seed\":99999999999999999999"), "seed" },
	{ OK(",\"seed\":-9223372036854775808"), NULL },
	{ OK(",\"frequency_penalty\":3"), "frequency_penalty" },
	{ OK(",\"presence_penalty\":-2.5"), "presence_penalty" },
	{ OK(",\"logit_bias\":[]"), "logit_bias" },
	{ OK(",\"logit_bias\":{\"5\":101}"), "logit_bias.*" },
	{ OK(",\"user\":5"), "user" },
	{ OK(",\"prompt_cache_key\":5"), "prompt_cache_key" },
	{ OK(",\"modalities\":[\"video\"]"), "modalities[0]" },
	{ OK(",\"audio\":5"), "audio" },
	{ OK(",\"service_tier\":\"whatever\""), NULL },
	{ OK(",\"functions\":5"), "functions" },
	{ OK(",\"functions\":[{\"name\":\"\"}]"), "functions[0].name" },
	{ OK(",\"function_call\":\"always\""), "function_call" },
	/* neutral and unknown fields never fail, whatever they hold */
	{ OK(",\"safety_identifier\":5,\"metadata\":7,\"store\":\"x\",\"prediction\":0,\"web_"
	     "search_options\":[],\"moderation\":1"),
	    NULL },
	{ OK(",\"prompt_cache_options\":1,\"prompt_cache_retention\":{},\"chat_template\":5,"
	     "\"priority\":\"x\""),
	    NULL },
	{ OK(",\"brand_new\":{\"a\":[1,{\"b\":null}]},\"messages2\":1"), NULL },
	{ OK(",\"metadata\":{},\"metadata\":{}"), NULL },
	{ "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\",\"new\":{\"role\":5}"
	  "}]}",
	    NULL },
	/* no JSON */
	{ "", "" },
	{ "[]", "" },
	{ "5", "" },
	{ "{\"model\":\"m\",", "" },
	{ OK("") "x", "" },
	{ "{\"a\":NaN}", "" },
	{ "{\"a\":\"\xff\"}", "" },
	{ "{\"model\":\"m\",\"temperature\":01}", "" },
};

static void
test_refusals(void **state)
{
	struct dl_scan s;

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		int r = scan(&s, rows[i].body);

		if (rows[i].param == NULL) {
			if (r != 0)
				fail_msg("%s: %s", rows[i].body, s.fault.message);
			continue;
		}
		if (r != TF_E_INVAL || strcmp(s.fault.param, rows[i].param) != 0)
			fail_msg("%s: %d param %s message %s", rows[i].body, r, s.fault.param,
			    s.fault.message);
		assert_int_equal(s.fault.err, TF_E_BAD_REQUEST);
		assert_true(strlen(s.fault.message) > 10);
		if (rows[i].param[0] != '\0' && strchr(rows[i].param, '*') == NULL)
			assert_non_null(strstr(s.fault.message, rows[i].param));
	}
}

static void
test_places(void **state)
{
	struct dl_scan s;

	(void)state;
	scan(&s, "{\"model\":\"m\",\n \"messages\":[{\"role\":\"user\",\"content\":\"a\x01\"}]}");
	assert_non_null(strstr(s.fault.message, "line 2"));
	assert_non_null(strstr(s.fault.message, "messages[0].content"));
	scan(&s, "{\"model\":\"m\",\"model\":\"n\"}");
	assert_non_null(strstr(s.fault.message, "duplicate field"));
	dl_scan_init(&s, DL_OPENAI_CHAT, 8, 100);
	assert_int_equal(dl_scan_end(&s, "[[[[[[[[[[]]]]]]]]]]", 20), TF_E_INVAL);
	assert_int_equal(s.fault.err, TF_E_BAD_REQUEST);
	/* sticky */
	assert_int_equal(dl_scan_end(&s, "[[[[[[[[[[]]]]]]]]]]", 20), TF_E_INVAL);
}

/* ---- the head ---------------------------------------------------------------------------- */

static const char full[] =
    "{\"metadata\":{\"a\":\"b\"},\"model\":\"ac\\u006de/x\",\"priority\":5,\"messages\":["
    "{\"role\":\"developer\",\"content\":\"abcd\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"0123456789\"},"
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
    "png;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}},"
    "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAAAAAAAAAAAAAAAA\",\"format\":\"wav\"}"
    "},"
    "{\"type\":\"file\",\"file\":{\"file_data\":\"AAAAAAAAAAAAAAA\"}}]},"
    "{\"role\":\"assistant\",\"content\":null,\"reasoning_content\":\"hm\",\"tool_calls\":[{\"id\":"
    "\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"ok\"}],"
    "\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":100,\"max_"
    "completion_tokens\":50,\"n\":3,"
    "\"tools\":[" TOOL
    "],\"parallel_tool_calls\":false,\"response_format\":{\"type\":\"json_object\"},"
    "\"logprobs\":true,\"reasoning_effort\":\"low\",\"prompt_cache_key\":\"k\",\"chat_template\":"
    "\"x\"}";

static void
test_head(void **state)
{
	struct dl_scan s;
	const struct dl_head *h = &s.head;
	uint32_t needs = DL_NEED_CHAT | DL_NEED_VISION | DL_NEED_TOOLS | DL_NEED_JSON |
	    DL_NEED_AUDIO_IN | DL_NEED_FILES | DL_NEED_LOGPROBS | DL_NEED_N | DL_NEED_REASONING |
	    DL_NEED_STREAM;

	(void)state;
	assert_int_equal(scan(&s, full), 0);
	assert_string_equal(h->model, "acme/x");
	assert_int_equal(h->model_len, 6);
	assert_true(h->stream && h->include_usage);
	assert_int_equal(h->needs, needs);
	assert_int_equal(h->n, 3);
	assert_int_equal(h->max_output, 50);
	assert_int_equal(h->messages, 4);
	assert_int_equal(h->tools, 1);
	assert_int_equal(h->images, 1);
	assert_int_equal(h->audios, 1);
	assert_int_equal(h->files, 1);
	assert_int_equal(h->nmember, 3);
	assert_int_equal(
	    h->flags, DL_HEAD_DEVELOPER | DL_HEAD_REASONING | DL_HEAD_METADATA | DL_HEAD_ONE_CALL |
	        DL_HEAD_EFFORT);
	assert_int_equal(s.nprefix, 4);
	assert_true(h->affinity != 0);
	/* text and not media: more than what is said, less than the body */
	assert_true(h->prompt_bytes > 20 && h->prompt_bytes < 200);
	assert_memory_equal(full + h->model_at.start, "\"ac\\u006de/x\"", 13);
	assert_memory_equal(full + h->options.start, "\"stream_options\":", 17);
	assert_memory_equal(full + h->max_tokens.start, "\"max_tokens\":100", 16);
	assert_int_equal(h->root.start, 0);
	assert_int_equal(h->root.end, sizeof full - 1);
}

/* Any slices give the same head. */
static void
test_slices(void **state)
{
	struct dl_scan s, t;

	(void)state;
	assert_int_equal(scan(&s, full), 0);
	for (size_t cut = 0; cut < sizeof full; cut++) {
		char *part = malloc(cut > 0 ? cut : 1);

		assert_non_null(part);
		memcpy(part, full, cut);
		dl_scan_init(&t, DL_OPENAI_CHAT, 0, 0);
		assert_int_equal(dl_scan_feed(&t, part, cut), 0);
		free(part);
		assert_int_equal(dl_scan_end(&t, full, sizeof full - 1), 0);
		assert_memory_equal(t.head.model, s.head.model, sizeof s.head.model);
		assert_int_equal(t.head.needs, s.head.needs);
		assert_int_equal(t.head.prompt_bytes, s.head.prompt_bytes);
		assert_memory_equal(t.prefix, s.prefix, s.nprefix * 8);
	}
}

static void
test_head_bytes(void **state)
{
	struct tf_buf b = { 0 };
	struct dl_head h;
	struct dl_scan s;

	(void)state;
	assert_int_equal(scan(&s, full), 0);
	assert_int_equal(dl_head_encode(&s.head, &b), 0);
	assert_true(b.n < 256);
	assert_int_equal(dl_head_decode(tf_buf_span(&b), sizeof full - 1, &h), 0);
	assert_memory_equal(&h, &s.head, sizeof h);
	/* a peer's bytes: cut, too long, of another body */
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(dl_head_decode(tf_span(b.p, n), sizeof full - 1, &h), TF_E_INVAL);
	assert_int_equal(dl_head_decode(tf_buf_span(&b), sizeof full - 2, &h), TF_E_INVAL);
	assert_int_equal(dl_head_decode(tf_buf_span(&b), 10, &h), TF_E_INVAL);
	assert_int_equal(tf_buf_addc(&b, 0), 0);
	assert_int_equal(dl_head_decode(tf_buf_span(&b), sizeof full - 1, &h), TF_E_INVAL);
	assert_int_equal(dl_head_decode(tf_span(NULL, 0), 0, &h), TF_E_INVAL);
	/* each byte turned: refused, or within bounds */
	for (size_t i = 0; i + 1 < b.n; i++) {
		b.p[i] ^= 0x55;
		if (dl_head_decode(tf_span(b.p, b.n - 1), sizeof full - 1, &h) == 0) {
			assert_true(h.root.end <= sizeof full - 1 && h.nmember <= DL_MEMBERS_MAX);
			assert_true(h.model_len <= DL_MODEL_MAX);
		}
		b.p[i] ^= 0x55;
	}
	tf_buf_free(&b);
}

static void
test_members_full(void **state)
{
	struct tf_buf b = { 0 };
	struct dl_scan s;

	(void)state;
	tf_buf_addstr(&b, "{\"model\":\"m\"," MSG);
	for (int i = 0; i < DL_MEMBERS_MAX + 1; i++)
		tf_buf_addstr(&b, ",\"priority\":1");
	tf_buf_addstr(&b, "}");
	assert_int_equal(scan(&s, tf_buf_cstr(&b)), TF_E_INVAL);
	assert_non_null(strstr(s.fault.message, "repeats"));
	tf_buf_free(&b);
}

/* Conversations that share their beginning share their prefix hashes, also long ones. */
static void
test_prefix(void **state)
{
	struct dl_scan s[2];
	size_t turns[2] = { 60, 62 };
	struct tf_buf b[2] = { { 0 }, { 0 } };
	unsigned shared = 0;

	(void)state;
	for (int k = 0; k < 2; k++) {
		tf_buf_addstr(&b[k], "{\"model\":\"m\",\"messages\":[");
		for (size_t i = 0; i < turns[k]; i++)
			tf_buf_printf(&b[k], "%s{\"role\":\"user\",\"content\":\"turn %zu\"}",
			    i > 0 ? "," : "", i);
		tf_buf_addstr(&b[k], "]}");
		assert_int_equal(scan(&s[k], tf_buf_cstr(&b[k])), 0);
		assert_int_equal(s[k].nprefix, DL_PREFIX_MAX);
		tf_buf_free(&b[k]);
	}
	for (uint32_t i = 0; i < DL_PREFIX_MAX; i++)
		for (uint32_t j = 0; j < DL_PREFIX_MAX; j++)
			shared += s[0].prefix[i] == s[1].prefix[j];
	assert_int_equal(shared, DL_PREFIX_MAX - 2);
	/* the last one of the shorter is the third from the end of the longer */
	assert_true(s[0].prefix[DL_PREFIX_MAX - 1] == s[1].prefix[DL_PREFIX_MAX - 3]);
}

/* ---- tables, needs, errors --------------------------------------------------------------- */

static void
test_tables(void **state)
{
	uint32_t q = 0;
	struct dl_fault f;

	(void)state;
	assert_int_equal(dl_dialect_by_name(TF_SPAN("openai_chat")), DL_OPENAI_CHAT);
	assert_int_equal(dl_dialect_by_name(TF_SPAN("x")), DL_NONE);
	assert_string_equal(dl_dialect_name(DL_OPENAI_CHAT), "openai_chat");
	assert_string_equal(dl_dialect_path(DL_OPENAI_CHAT), "/chat/completions");
	assert_string_equal(dl_dialect_name(DL_NONE), "");
	assert_int_equal(dl_quirk_kind(TF_SPAN("llama.cpp"), &q), 0);
	assert_true(q & DL_Q_STREAM_AND_JOIN);
	assert_int_equal(dl_quirk_apply(TF_SPAN("-stream-and-join"), &q), 0);
	assert_false(q & DL_Q_STREAM_AND_JOIN);
	assert_int_equal(dl_quirk_apply(TF_SPAN("inline-think"), &q), 0);
	assert_true(q & DL_Q_INLINE_THINK);
	assert_int_equal(dl_quirk_apply(TF_SPAN("nonsense"), &q), TF_E_NOENT);
	assert_int_equal(dl_quirk_kind(TF_SPAN("nonsense"), &q), TF_E_NOENT);
	assert_string_equal(dl_quirk_name(0), "stream-and-join");
	assert_null(dl_quirk_name(31));
	assert_int_equal(dl_need_by_capability(TF_SPAN("json")), DL_NEED_JSON | DL_NEED_SCHEMA);
	assert_int_equal(dl_need_by_capability(TF_SPAN("")), 0);
	assert_int_equal(
	    dl_need_check(DL_OPENAI_CHAT, DL_NEED_CHAT | DL_NEED_N, DL_NEED_CHAT, TF_SPAN("m"), &f), 0);
	assert_int_equal(dl_need_check(DL_OPENAI_CHAT, DL_NEED_CHAT | DL_NEED_VISION,
			     DL_NEED_CHAT | dl_need_always(), TF_SPAN("mm"), &f),
	    TF_E_INVAL);
	assert_string_equal(f.param, "messages");
	assert_non_null(strstr(f.message, "mm"));
	assert_int_equal(f.err, TF_E_BAD_REQUEST);
}

static void
assert_error(enum dl_family family, const struct dl_error *e, const char *want)
{
	struct tf_buf b = { 0 };

	assert_int_equal(dl_error_json(family, e, &b), 0);
	assert_int_equal(js_valid(tf_buf_span(&b)), 0);
	assert_string_equal(tf_buf_cstr(&b), want);
	tf_buf_free(&b);
}

static void
test_errors(void **state)
{
	struct tf_id rid;
	struct dl_error e = { .err = TF_E_TOKEN_BUDGET_EXCEEDED,
		.message = TF_SPAN("used \"up\""),
		.extra = TF_SPAN("\"resets_at\":17") };
	struct tf_buf b = { 0 };

	(void)state;
	memset(rid.b, 0, sizeof rid.b);
	assert_error(DL_FAMILY_OPENAI, &e,
	    "{\"error\":{\"message\":\"used \\\"up\\\"\",\"type\":\"insufficient_quota\","
	    "\"param\":null,\"code\":\"token_budget_exceeded\",\"resets_at\":17}}");
	e.rid = &rid;
	assert_error(DL_FAMILY_ANTHROPIC, &e,
	    "{\"type\":\"error\",\"request_id\":\"00000000000000000000000000\",\"error\":"
	    "{\"type\":\"rate_limit_error\",\"message\":\"used "
	    "\\\"up\\\"\",\"details\":{\"error_code\":\"token_budget_exceeded\"},"
	    "\"resets_at\":17}}");
	e = (struct dl_error){ .err = TF_E_NOMEM, .param = TF_SPAN("a") };
	assert_error(DL_FAMILY_OPENAI, &e,
	    "{\"error\":{\"message\":\"An internal error occurred. Retry with exponential "
	    "backoff.\",\"type\":\"server_error\",\"param\":\"a\",\"code\":\"server_error\"}}");
	assert_int_equal(dl_error_event(DL_OPENAI_CHAT, &e, &b), 0);
	assert_memory_equal(b.p, "data: {\"error\":{", 16);
	assert_memory_equal(b.p + b.n - 4, "}}\n\n", 4);
	tf_buf_free(&b);
	assert_true(tf_span_is(dl_ping(DL_OPENAI_CHAT), ": keep-alive\n\n"));
}

static void
test_scrub(void **state)
{
	static const char *const pairs[][2] = {
		{ "temperature must be below 2", "temperature must be below 2" },
		{ "cannot reach http://10.1.2.3:8000/v1?k=v now", "cannot reach [address] now" },
		{ "host gpu-1.lan:8000 refused", "host [address] refused" },
		{ "ratio 1:2 at 10:30", "ratio 1:2 at 10:30" },
		{ "in /opt/venv/lib/x.py line 3", "in [path] line 3" },
		{ "n/a and/or", "n/a and/or" },
		{ "key sk-abcdefghijklmnop bad", "key [key] bad" },
		{ "first\nsecond", "first" },
		{ "\n\nfirst\nsecond", "first" },
		{ "Traceback (most recent", "" },
		{ "tab\tand \x01 bell", "tab and   bell" },
		{ "\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < TF_LEN(pairs); i++) {
		dl_scrub(tf_cspan(pairs[i][0]), out, sizeof out);
		assert_string_equal(out, pairs[i][1]);
	}
	/* cut at a word, never over the end */
	dl_scrub(TF_SPAN("aaaa bbbb cccc"), out, 8);
	assert_string_equal(out, "aaaa");
}

/* ---- events ------------------------------------------------------------------------------ */

static int
check(struct dl_grammar *g, struct dl_event e)
{
	const char *why = NULL;
	int r = dl_grammar_check(g, &e, &why);

	assert_true((r == 0) == (why == NULL));
	return r;
}

#define EV(k, ...) ((struct dl_event){ .kind = DL_EV_##k, __VA_ARGS__ })

static void
test_grammar(void **state)
{
	struct dl_grammar g = { 0 };
	struct tf_span x = TF_SPAN("x");
	const char *why = NULL;

	(void)state;
	assert_int_equal(check(&g, EV(ITEM, 0)), TF_E_PROTO);
	assert_int_equal(check(&g, EV(PING, 0)), 0);
	assert_int_equal(check(&g, EV(START, 0)), 0);
	assert_int_equal(check(&g, EV(START, 0)), TF_E_PROTO);
	assert_int_equal(check(&g, EV(TEXT, 0)), TF_E_PROTO);
	assert_int_equal(check(&g, EV(ITEM, .item = 1)), TF_E_PROTO);
	assert_int_equal(check(&g, EV(ITEM, .item_kind = DL_ITEM_TEXT)), 0);
	assert_int_equal(check(&g, EV(REASONING, .item_kind = DL_ITEM_TEXT)), TF_E_PROTO);
	assert_int_equal(check(&g, EV(TEXT, .item_kind = DL_ITEM_TEXT)), 0);
	assert_int_equal(
	    check(&g, EV(ITEM, .item = 1, .item_kind = DL_ITEM_CALL, .id = x, .name = x)),
	    TF_E_PROTO);
	assert_int_equal(check(&g, EV(ITEM_END, .item_kind = DL_ITEM_TEXT)), 0);
	assert_int_equal(check(&g, EV(TEXT, .item_kind = DL_ITEM_TEXT)), TF_E_PROTO);
	assert_int_equal(
	    check(&g, EV(ITEM, .item = 1, .item_kind = DL_ITEM_CALL, .name = x)), TF_E_PROTO);
	assert_int_equal(
	    check(&g, EV(ITEM, .item = 1, .item_kind = DL_ITEM_CALL, .id = x, .name = x)), 0);
	assert_int_equal(
	    check(&g, EV(ITEM, .item = 2, .item_kind = DL_ITEM_CALL, .id = x, .name = x)), 0);
	assert_int_equal(check(&g, EV(ARGS, .item = 1, .item_kind = DL_ITEM_CALL, .text = x)), 0);
	assert_int_equal(check(&g, EV(ITEM_END, .item = 1, .item_kind = DL_ITEM_CALL)), 0);
	assert_int_equal(
	    check(&g, EV(FINISH, .finish = DL_FINISH_CALLS)), TF_E_PROTO); /* item 2 is open */
	dl_grammar_fini(&g);
	assert_int_equal(check(&g, EV(START, 0)), 0);
	assert_int_equal(check(&g, EV(ITEM, .item_kind = DL_ITEM_TEXT)), 0);
	assert_int_equal(dl_grammar_end(&g, &why), TF_E_PROTO);
	assert_int_equal(check(&g, EV(ITEM_END, .item_kind = DL_ITEM_TEXT)), 0);
	assert_int_equal(check(&g, EV(FINISH, 0)), TF_E_PROTO);
	assert_int_equal(
	    check(&g, EV(FINISH, .finish = DL_FINISH_STOP)), TF_E_PROTO); /* a second one */
	dl_grammar_fini(&g);
	assert_string_equal(dl_ev_name(DL_EV_ITEM_END), "item-end");
	for (int i = 0; i < DL_EV_COUNT; i++)
		assert_string_not_equal(dl_ev_name((enum dl_ev)i), "?");
}

static int
on_sse(void *arg, struct tf_span event, struct tf_span data)
{
	struct tf_buf *b = arg;

	return tf_buf_printf(
	    b, "%.*s|%.*s;", (int)event.n, event.p != NULL ? event.p : "", (int)data.n, data.p);
}

static void
assert_sse(const char *in, const char *want)
{
	size_t n = strlen(in);

	for (size_t cut = 0; cut <= n; cut++) {
		struct dl_sse s = { 0 };
		struct tf_buf b = { 0 };

		assert_int_equal(dl_sse_feed(&s, in, cut, on_sse, &b), 0);
		assert_int_equal(dl_sse_feed(&s, in + cut, n - cut, on_sse, &b), 0);
		assert_int_equal(dl_sse_end(&s, on_sse, &b), 0);
		assert_string_equal(tf_buf_cstr(&b), want);
		tf_buf_free(&b);
		dl_sse_fini(&s);
	}
}

static void
test_sse(void **state)
{
	(void)state;
	assert_sse("data: a\n\ndata:b\n\n", "|a;|b;");
	assert_sse("data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;");
	assert_sse("data: a\r\rdata: b\r\r", "|a;|b;");
	assert_sse("\xef\xbb\xbf"
		   "data: a\n\n",
	    "|a;");
	assert_sse(": c\n\nevent: e\ndata: a\nid: 5\nretry: 1\n\n", "e|a;");
	assert_sse("event: e\n\ndata: a\n\n", "|a;");
	assert_sse("data: {\"a\":1}\ndata: {\"b\":1}\n\n", "|{\"a\":1};|{\"b\":1};");
	assert_sse("data: {\"a\":\ndata: 1}\n\n", "|{\"a\": 1};");
	assert_sse("{\"error\":1}\n", "|{\"error\":1};");
	assert_sse("\n\n\n\xef\xbb\xbf{\n\n", "");
	assert_sse("data: last", "|last;");
	assert_sse("event:\t e \ndata:  \t{\"a\": 1} \t\n\n", "e|{\"a\": 1};");
	assert_sse("data:\ndata: {\ndata: }\ndata:\n\ndata:  [DONE] \n\ndata:  \n\n", "|{ };|[DONE];|;");
	assert_sse("data\n\ndatax: 1\n\n", "|;");
}

/* ---- the cut ------------------------------------------------------------------------------ */

/* Scans the body and makes the translator of one attempt, its answer begun with two pieces of text. */
static struct dl_xlate *
cut_start(const char *body, bool canonical, struct tf_buf *out)
{
	static struct dl_scan s;
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_CHAT, .runtime = DL_OPENAI_CHAT, .canonical = canonical,
		.asked = TF_SPAN("m"), .model = TF_SPAN("n") };
	static const char answer[] =
	    "data: {\"id\":\"chatcmpl-1\",\"created\":1,\"model\":\"n\",\"choices\":[{\"index\":0,\"delta\":{\"role\":"
	    "\"assistant\",\"content\":\"one\"},\"finish_reason\":null}]}\n\n"
	    "data: {\"id\":\"chatcmpl-1\",\"created\":1,\"model\":\"n\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	    "\" two\"},\"finish_reason\":null}]}\n\n";
	struct dl_xlate *x;

	dl_scan_init(&s, DL_OPENAI_CHAT, 0, 0);
	assert_int_equal(dl_scan_end(&s, body, strlen(body)), 0);
	x = dl_xlate_new(&conf, &s.head);
	assert_non_null(x);
	dl_xlate_head(x, 200, TF_SPAN("text/event-stream"), 0);
	assert_int_equal(dl_xlate_feed(x, answer, sizeof answer - 1, out), 0);
	return x;
}

static void
test_cut(void **state)
{
	for (int canonical = 0; canonical < 2; canonical++) {
		struct tf_buf out = { 0 };
		struct dl_xlate *x = cut_start("{\"model\":\"m\",\"stream\":true,\"messages\":"
					       "[{\"role\":\"user\",\"content\":\"x\"}]}", canonical, &out);
		const struct dl_facts *f = dl_xlate_facts(x);
		const char *text;

		assert_false(f->complete);
		assert_int_equal(dl_xlate_cut(x, &out), 0);
		assert_true(f->complete && f->content && f->estimated);
		assert_int_equal(f->fault.err, 0);
		assert_string_equal(f->finish, "length");
		assert_true(f->usage.completion >= 2);
		text = tf_buf_cstr(&out);
		assert_non_null(strstr(text, "\"finish_reason\":\"length\""));
		assert_non_null(strstr(text, " two"));
		assert_string_equal(text + out.n - 14, "data: [DONE]\n\n");
		assert_int_equal(dl_xlate_cut(x, &out), 0); /* once */
		dl_xlate_free(&x);
		tf_buf_free(&out);
	}
	(void)state;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_head_bytes),
		cmocka_unit_test(test_members_full),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_scrub),
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_sse),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
