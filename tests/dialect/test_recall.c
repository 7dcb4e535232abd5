/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasoning by the call that it led to: names that do not depend on how a client writes the arguments, what is taken
 * down of an answer, what is put back into a request, and the calls that the gateway looks for.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/dialect/canon.h"
#include "common/dialect/recall.h"
#include "common/json/json.h"
#include "tests/dialect/group.h"

static const char *
name_of(const char *id, const char *tool, const char *args)
{
	static char name[4][DL_RECALL_NAME + 1];
	static unsigned n;

	n = (n + 1) % TF_LEN(name);
	assert_int_equal(dl_recall_name(tf_cspan(id), tf_cspan(tool), tf_cspan(args), name[n]), 0);
	return name[n];
}

static void
test_names(void **state)
{
	static const char *const same[][2] = {
		{ "{\"a\":1,\"b\":[true,null]}", " { \"a\" : 1 ,\n\"b\":[ true, null ]\t}\r\n" },
		{ "{\"a\":\"\\u00e9\\/\"}", "{\"a\":\"\xc3\xa9/\"}" },
		{ "", "{}" },
		{ "\"a\\\"b\"", "\"a\\u0022b\"" },
	};
	static const char *const other[][2] = {
		{ "{\"a\":1}", "{\"a\":2}" },
		{ "{\"a\":\"b c\"}", "{\"a\":\"bc\"}" },
		{ "{\"a\":\"b\"}", "{\"a\":[\"b\"]}" },
		{ "[\"a\",\"b\"]", "[\"a,b\"]" },
		{ "[\"a\",\"b\"]", "[\"a\\\",\\\"b\"]" },
		{ "not json", "not  json" },
		{ "{\"a\":", "{\"a\": " },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(same); i++)
		assert_string_equal(name_of("c", "t", same[i][0]), name_of("c", "t", same[i][1]));
	for (size_t i = 0; i < TF_LEN(other); i++)
		assert_string_not_equal(name_of("c", "t", other[i][0]), name_of("c", "t", other[i][1]));
	assert_string_not_equal(name_of("c", "t", "{}"), name_of("d", "t", "{}"));
	assert_string_not_equal(name_of("c", "t", "{}"), name_of("c", "u", "{}"));
	assert_string_not_equal(name_of("ct", "", "{}"), name_of("c", "t", "{}"));
}

/* ---- of an answer ------------------------------------------------------------------------- */

static void
say(struct dl_recall *r, enum dl_ev kind, uint32_t item, enum dl_item item_kind, const char *text)
{
	struct dl_event e = { .kind = kind, .item = item, .item_kind = item_kind };

	if (kind == DL_EV_ITEM && item_kind == DL_ITEM_CALL) {
		e.id = tf_cspan(text);
		e.name = TF_SPAN("t");
	} else {
		e.text = tf_cspan(text);
	}
	assert_int_equal(dl_recall_event(r, &e), 0);
}

static const char *
value_of(struct dl_recall *r, char name[static DL_RECALL_NAME + 1])
{
	static struct tf_buf out;
	int rc;

	tf_buf_reset(&out);
	rc = dl_recall_value(r, TF_SPAN("m"), name, &out);
	assert_true(rc >= 0);
	return rc == 0 ? NULL : tf_buf_cstr(&out);
}

static void
think(struct dl_recall *r)
{
	say(r, DL_EV_ITEM, 0, DL_ITEM_REASONING, "");
	say(r, DL_EV_REASONING, 0, DL_ITEM_REASONING, "one ");
	say(r, DL_EV_REASONING, 0, DL_ITEM_REASONING, "\"two\"");
	say(r, DL_EV_SIGNATURE, 0, DL_ITEM_REASONING, "sig");
	say(r, DL_EV_ITEM_END, 0, DL_ITEM_REASONING, "");
	say(r, DL_EV_ITEM, 1, DL_ITEM_TEXT, "");
	say(r, DL_EV_TEXT, 1, DL_ITEM_TEXT, "said");
	say(r, DL_EV_ITEM_END, 1, DL_ITEM_TEXT, "");
	say(r, DL_EV_ITEM, 2, DL_ITEM_REASONING, "");
	say(r, DL_EV_REASONING, 2, DL_ITEM_REASONING, "three");
	say(r, DL_EV_ITEM_END, 2, DL_ITEM_REASONING, "");
}

static void
test_answer(void **state)
{
	struct dl_recall *r = dl_recall_new();
	struct dl_event other = { .kind = DL_EV_REASONING, .choice = 1, .item_kind = DL_ITEM_REASONING, .text = TF_SPAN("no") };
	char name[DL_RECALL_NAME + 1], want[512];

	(void)state;
	assert_non_null(r);
	think(r);
	assert_null(value_of(r, name)); /* it led to no call */
	say(r, DL_EV_ITEM, 3, DL_ITEM_CALL, "call_1");
	say(r, DL_EV_ITEM, 4, DL_ITEM_CALL, "call_2");
	say(r, DL_EV_ARGS, 3, DL_ITEM_CALL, "{\"a\"");
	say(r, DL_EV_ARGS, 4, DL_ITEM_CALL, "{}");
	say(r, DL_EV_ARGS, 3, DL_ITEM_CALL, ": 1}");
	say(r, DL_EV_ITEM, 5, DL_ITEM_REASONING, "");
	say(r, DL_EV_REASONING, 5, DL_ITEM_REASONING, "afterwards");
	assert_int_equal(dl_recall_event(r, &other), 0);
	snprintf(want, sizeof want, "{\"name\":\"%s\",\"model\":\"m\",\"reasoning\":[{\"text\":\"one \\\"two\\\"\",\"signature\":"
	    "\"sig\"},{\"text\":\"three\"}]}", name_of("call_1", "t", "{\"a\":1}"));
	assert_string_equal(value_of(r, name), want);
	assert_string_equal(name, name_of("call_1", "t", "{\"a\":1}"));
	/* another attempt's answer */
	dl_recall_reset(r);
	say(r, DL_EV_ITEM, 0, DL_ITEM_CALL, "call_1");
	assert_null(value_of(r, name));
	/* more than is kept */
	dl_recall_reset(r);
	say(r, DL_EV_ITEM, 0, DL_ITEM_REASONING, "");
	for (unsigned i = 0; i <= DL_RECALL_MAX / 8; i++)
		say(r, DL_EV_REASONING, 0, DL_ITEM_REASONING, "12345678");
	say(r, DL_EV_ITEM, 1, DL_ITEM_CALL, "call_1");
	assert_null(value_of(r, name));
	dl_recall_free(&r);
	assert_null(r);
}

/* ---- of a request ------------------------------------------------------------------------- */

static const char body[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
    "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"t\",\"arguments\":\"{\\\"a\\\": 1}\"}},"
    "{\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"t\",\"arguments\":\"{}\"}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"r\"},"
    "{\"role\":\"tool\",\"tool_call_id\":\"call_2\",\"content\":\"r\"},"
    "{\"role\":\"assistant\",\"reasoning_content\":\"mine\",\"content\":null,\"tool_calls\":["
    "{\"id\":\"call_3\",\"type\":\"function\",\"function\":{\"name\":\"t\",\"arguments\":\"{}\"}}]},"
    "{\"role\":\"tool\",\"tool_call_id\":\"call_3\",\"content\":\"r\"}]}";

/* Parts of the assistant's turns: what was thought, with signatures, and C for each call. */
static const char *
merged(const char *kept, const char *model, enum dl_recall_form form)
{
	static char text[256];
	struct dl_fault f = { 0 };
	struct dl_request rq;
	size_t n = 0;

	dl_request_init(&rq, DL_OPENAI_CHAT);
	assert_int_equal(dl_ops(DL_OPENAI_CHAT)->request_decode(tf_cspan(body), &rq, &f), 0);
	assert_int_equal(dl_recall_merge(&rq, tf_cspan(kept), tf_cspan(model), form), 0);
	text[0] = '\0';
	for (const struct dl_turn *t = rq.turns; t != NULL; t = t->next) {
		if (t->role != DL_ROLE_ASSISTANT)
			continue;
		for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
			if (p->next == NULL)
				assert_ptr_equal(t->last, p);
			if (p->kind == DL_PART_CALL)
				n += (size_t)snprintf(text + n, sizeof text - n, "C");
			else if (p->kind == DL_PART_REASONING)
				n += (size_t)snprintf(text + n, sizeof text - n, "(" TF_SPAN_FMT "/" TF_SPAN_FMT "%s)",
				    TF_SPAN_ARG(p->text), TF_SPAN_ARG(p->signature.n > 0 ? p->signature : p->encrypted),
				    p->encrypted.n > 0 ? " encrypted" : "");
		}
		n += (size_t)snprintf(text + n, sizeof text - n, ";");
	}
	dl_request_fini(&rq);
	return text;
}

static void
test_request(void **state)
{
	static const char *const bad[] = { "", "[", "{}", "[1,null,[],{\"name\":1}]", "[{\"name\":\"x\",\"reasoning\":[]}]" };
	char kept[1024], third[DL_RECALL_NAME + 1];

	(void)state;
	memcpy(third, name_of("call_3", "t", ""), sizeof third);
	snprintf(kept, sizeof kept, "[{\"name\":\"%s\",\"model\":\"m\",\"reasoning\":[{\"text\":\"x\",\"signature\":\"s\"},"
	    "{\"text\":1},7,{\"text\":\"y\"}]},"
	    "{\"name\":\"%s\",\"model\":\"m\",\"reasoning\":[{\"text\":\"z\",\"signature\":\"u\"}]}]",
	    name_of("call_1", "t", "{\"a\":1}"), third);
	assert_string_equal(merged(kept, "m", DL_RECALL_TEXT), "(x/)(y/)CC;(mine/)C;");
	/* what is plain is none where signatures are asked for */
	assert_string_equal(merged(kept, "m", DL_RECALL_SIGNED), "(x/s)(y/)CC;(z/u)C;");
	assert_string_equal(merged(kept, "m", DL_RECALL_ENCRYPTED), "(x/s encrypted)(y/)CC;(z/u encrypted)C;");
	/* another model's */
	assert_string_equal(merged(kept, "n", DL_RECALL_TEXT), "(x/)(y/)CC;(mine/)C;");
	assert_string_equal(merged(kept, "n", DL_RECALL_SIGNED), "CC;(mine/)C;");
	assert_string_equal(merged(kept, "n", DL_RECALL_ENCRYPTED), "CC;(mine/)C;");
	for (size_t i = 0; i < TF_LEN(bad); i++)
		assert_string_equal(merged(bad[i], "m", DL_RECALL_TEXT), "CC;(mine/)C;");
	/* of the right name, and nothing in it */
	snprintf(kept, sizeof kept, "[{\"name\":\"%s\",\"reasoning\":{}}]", name_of("call_1", "t", "{\"a\":1}"));
	assert_string_equal(merged(kept, "m", DL_RECALL_TEXT), "CC;(mine/)C;");
}

static void
names_are(enum dl_dialect surface, const char *text, const char *const *ids, size_t n)
{
	struct tf_buf out = { 0 };

	assert_int_equal(dl_recall_names(surface, tf_cspan(text), &out), 0);
	assert_int_equal(out.n, n * DL_RECALL_NAME);
	for (size_t i = 0; i < n; i++)
		assert_memory_equal(out.p + i * DL_RECALL_NAME, name_of(ids[i], "t", "{}"), DL_RECALL_NAME);
	tf_buf_free(&out);
}

#define CHAT_CALL(id) \
	"{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"" id "\",\"function\":{\"name\":\"t\",\"arguments\":\"{ }\"}}]}"
#define TOOL_USE(id) \
	"{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"so\"},{\"type\":\"tool_use\",\"id\":\"" id "\"," \
	"\"name\":\"t\",\"input\":{ }}]}"
#define RESULT \
	"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},{\"type\":\"tool_result\",\"tool_use_id\":\"b\"}]}"
#define ITEM(id) "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"t\",\"arguments\":\"{}\"}"

static void
test_look(void **state)
{
	static const char *const cb[] = { "c", "b" }, *const custom[] = { "d" };
	struct tf_buf many = { 0 }, out = { 0 };

	(void)state;
	names_are(DL_OPENAI_CHAT, "{\"messages\":[" CHAT_CALL("a") ",{\"role\":\"user\",\"content\":\"q\"}," CHAT_CALL("b")
	    ",{\"role\":\"tool\"}," CHAT_CALL("c") ",{\"role\":\"assistant\",\"content\":\"x\"}]}", cb, 2);
	names_are(DL_OPENAI_CHAT,
	    "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"d\",\"type\":\"custom\",\"custom\":"
	    "{\"name\":\"t\",\"input\":\"{}\"}}]}]}", custom, 1);
	names_are(DL_OPENAI_CHAT,
	    "{\"messages\":[1,null,{\"role\":\"assistant\",\"tool_calls\":[]},{\"role\":\"assistant\",\"tool_calls\":"
	    "[{\"id\":1,\"function\":{\"name\":\"t\"}}]},{\"role\":\"assistant\",\"tool_calls\":[7]}]}", NULL, 0);
	names_are(DL_OPENAI_CHAT, "{\"messages\":7}", NULL, 0);
	names_are(DL_ANTHROPIC_MESSAGES,
	    "{\"messages\":[" TOOL_USE("a") ",{\"role\":\"user\",\"content\":\"q\"}," TOOL_USE("b") "," RESULT ","
	    TOOL_USE("c") "," RESULT "]}", cb, 2);
	names_are(DL_OPENAI_RESPONSES, "{\"input\":[" ITEM("a") ",{\"role\":\"user\",\"content\":\"q\"}," ITEM("b") "," ITEM("x")
	    ",{\"type\":\"function_call_output\"}," ITEM("c") "]}", cb, 2);
	names_are(DL_OPENAI_RESPONSES, "{\"input\":\"text\"}", NULL, 0);
	/* the latest ones of many */
	tf_buf_addstr(&many, "{\"messages\":[");
	for (int i = 0; i < 40; i++)
		tf_buf_printf(&many, "%s{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"n%d\",\"function\":{\"name\":\"t\","
		    "\"arguments\":\"\"}}]}", i > 0 ? "," : "", i);
	tf_buf_addstr(&many, "]}");
	assert_int_equal(dl_recall_names(DL_OPENAI_CHAT, tf_buf_span(&many), &out), 0);
	assert_int_equal(out.n, DL_RECALL_TURNS * DL_RECALL_NAME);
	assert_memory_equal(out.p, name_of("n39", "t", ""), DL_RECALL_NAME);
	assert_memory_equal(out.p + out.n - DL_RECALL_NAME, name_of("n24", "t", ""), DL_RECALL_NAME);
	tf_buf_free(&many);
	tf_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names), cmocka_unit_test(test_answer), cmocka_unit_test(test_request),
		cmocka_unit_test(test_look),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
