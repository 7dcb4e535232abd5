/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of a request whose reasoning may have been kept, for the gateway, which fetches it: the first call of
 * each assistant's turn behind what the user said last. The body was accepted by the scan of its surface.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/canon.h"
#include "common/dialect/recall.h"
#include "common/json/json.h"

struct names { /* the latest ones, in a ring */
	char name[DL_RECALL_TURNS][DL_RECALL_NAME + 1];
	size_t n;
	struct tf_buf id, tool, args;
	int err;
};

/* Strings of a call: id and tool; args: a string, or any value as it is written. */
static void
found(struct names *v, struct tf_span id, struct tf_span tool, struct tf_span args)
{
	if (v->err != 0 || js_type(id) != JS_STRING || js_type(tool) != JS_STRING)
		return;
	tf_buf_reset(&v->id);
	tf_buf_reset(&v->tool);
	tf_buf_reset(&v->args);
	if (js_str_append(id, &v->id) != 0 || js_str_append(tool, &v->tool) != 0)
		return;
	if ((js_type(args) == JS_STRING ? js_str_append(args, &v->args) : tf_buf_addspan(&v->args, args)) != 0)
		return;
	v->err = dl_recall_name(tf_buf_span(&v->id), tf_buf_span(&v->tool), tf_buf_span(&v->args),
	    v->name[v->n % DL_RECALL_TURNS]);
	v->n++;
}

static struct tf_span
member(struct tf_span object, const char *name)
{
	struct tf_span v = { 0 };

	if (js_type(object) != JS_OBJECT || !js_member(object, name, &v))
		return (struct tf_span){ 0 };
	return v;
}

static bool
says(struct tf_span object, const char *name, const char *value)
{
	struct tf_span v = member(object, name);

	return v.n > 0 && js_str_eq(v, value);
}

static void
chat_message(struct names *v, struct tf_span m)
{
	struct tf_span calls, call, f;
	struct js_iter it;

	if (says(m, "role", "user"))
		v->n = 0;
	calls = says(m, "role", "assistant") ? member(m, "tool_calls") : (struct tf_span){ 0 };
	if (js_type(calls) != JS_ARRAY)
		return;
	js_iter_init(&it, calls);
	if (!js_iter_next(&it, NULL, &call))
		return;
	if ((f = member(call, "function")).n > 0)
		found(v, member(call, "id"), member(f, "name"), member(f, "arguments"));
	else if ((f = member(call, "custom")).n > 0)
		found(v, member(call, "id"), member(f, "name"), member(f, "input"));
}

static void
messages_message(struct names *v, struct tf_span m)
{
	bool user = says(m, "role", "user"), result = false;
	struct tf_span content = member(m, "content"), block;
	struct js_iter it;

	if (js_type(content) == JS_ARRAY) {
		js_iter_init(&it, content);
		while (js_iter_next(&it, NULL, &block)) {
			result = result || says(block, "type", "tool_result");
			if (user || !says(block, "type", "tool_use"))
				continue;
			found(v, member(block, "id"), member(block, "name"), member(block, "input"));
			break;
		}
	}
	/* beside results clients put remarks of their own, which are no new question */
	if (user && !result)
		v->n = 0;
}

static void
responses_item(struct names *v, struct tf_span item, bool *called)
{
	bool function = says(item, "type", "function_call"), custom = says(item, "type", "custom_tool_call");

	if (says(item, "role", "user"))
		v->n = 0;
	if ((function || custom) && !*called)
		found(v, member(item, "call_id"), member(item, "name"), member(item, function ? "arguments" : "input"));
	*called = function || custom;
}

int
dl_recall_names(enum dl_dialect surface, struct tf_span body, struct tf_buf *out)
{
	struct names v = { .n = 0 };
	struct tf_span list = member(body, surface == DL_OPENAI_RESPONSES ? "input" : "messages"), el;
	size_t n;
	bool called = false;
	struct js_iter it;

	if (js_type(list) != JS_ARRAY)
		return 0;
	js_iter_init(&it, list);
	while (v.err == 0 && js_iter_next(&it, NULL, &el)) {
		if (surface == DL_OPENAI_CHAT)
			chat_message(&v, el);
		else if (surface == DL_ANTHROPIC_MESSAGES)
			messages_message(&v, el);
		else if (surface == DL_OPENAI_RESPONSES)
			responses_item(&v, el, &called);
	}
	n = v.n < DL_RECALL_TURNS ? v.n : DL_RECALL_TURNS;
	for (size_t i = 1; i <= n && v.err == 0; i++)
		v.err = tf_buf_append(out, v.name[(v.n - i) % DL_RECALL_TURNS], DL_RECALL_NAME);
	tf_buf_free(&v.id);
	tf_buf_free(&v.tool);
	tf_buf_free(&v.args);
	return v.err;
}
