/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See client.h. Written from the SDKs' demands, not from the encoder: it shares no code with it.
 */
#include "config.h"

#include <string.h>

#include "tests/dialect/client.h"

static bool
member(struct tf_span o, const char *name, enum js_type type, struct tf_span *v)
{
	return js_member(o, name, v) && js_type(*v) == type;
}

static const char *
call_delta(struct client_choice *c, struct tf_span el)
{
	struct tf_span v, fn, custom;
	struct client_call *call;
	uint64_t index;

	if (!member(el, "index", JS_NUMBER, &v) || js_get_u64(v, &index) < 0 ||
	    index >= CLIENT_CALLS)
		return "tool call without index";
	call = &c->call[index];
	if (!member(el, "function", JS_OBJECT, &fn) && !member(el, "custom", JS_OBJECT, &fn))
		return "tool call without function";
	if (!call->known) {
		if (index != c->ncall)
			return "tool call index with a gap";
		c->ncall++;
		call->known = true;
		if (!member(el, "id", JS_STRING, &v) || v.n <= 2)
			return "tool call without id";
		if (!member(el, "type", JS_STRING, &v))
			return "tool call without type";
		if (!member(fn, "name", JS_STRING, &v) || v.n <= 2)
			return "tool call without name";
	}
	if (!js_member(fn, "arguments", &v) && !js_member(fn, "input", &v))
		return "tool call delta without arguments";
	if (js_type(v) != JS_STRING)
		return "arguments are no string";
	call->args += v.n - 2 + js_member(el, "custom", &custom);
	return NULL;
}

static const char *
delta(struct client_choice *c, struct tf_span d)
{
	struct tf_span v, w, el;
	struct js_iter it;
	const char *bad;

	if (js_member(d, "role", &v)) {
		if (!js_str_eq(v, "assistant"))
			return "role is not assistant";
		c->role = true;
	}
	if (!c->role)
		return "missing role";
	if (js_member(d, "content", &v)) {
		if (js_type(v) != JS_STRING && !js_is_null(v))
			return "content is no string";
		c->text += v.n;
	}
	if (js_member(d, "reasoning", &v) != js_member(d, "reasoning_content", &w))
		return "one name of reasoning only";
	if (js_member(d, "reasoning", &v) && (!tf_span_eq(v, w) || js_type(v) != JS_STRING))
		return "names of reasoning differ";
	if (!js_member(d, "tool_calls", &v) || js_is_null(v))
		return NULL;
	if (js_type(v) != JS_ARRAY)
		return "tool_calls is no array";
	js_iter_init(&it, v);
	while (js_iter_next(&it, NULL, &el))
		if ((bad = call_delta(c, el)) != NULL)
			return bad;
	return NULL;
}

static const char *
finish(struct client_choice *c, struct tf_span why)
{
	if (c->finished)
		return "second finish";
	c->finished = true;
	for (size_t i = 0; i < c->ncall; i++)
		if (c->call[i].args == 0)
			return "tool call with empty arguments";
	if (js_str_eq(why, "tool_calls") && c->ncall == 0)
		return "finish tool_calls without a call";
	if (js_str_eq(why, "stop") && c->ncall > 0)
		return "finish stop beside calls";
	if (!js_str_eq(why, "stop") && !js_str_eq(why, "length") && !js_str_eq(why, "tool_calls") &&
	    !js_str_eq(why, "content_filter") && !js_str_eq(why, "function_call"))
		return "unknown finish reason";
	return NULL;
}

static const char *
choice(struct client *c, struct tf_span el)
{
	struct tf_span v;
	uint64_t index;
	const char *bad;

	if (!member(el, "index", JS_NUMBER, &v) || js_get_u64(v, &index) < 0 ||
	    index >= CLIENT_CHOICES)
		return "choice without index";
	if (c->choice[index].finished)
		return "chunk behind the finish";
	if (!member(el, "delta", JS_OBJECT, &v))
		return "choice without delta";
	bad = delta(&c->choice[index], v);
	if (bad != NULL || !js_member(el, "finish_reason", &v) || js_is_null(v))
		return bad;
	return finish(&c->choice[index], v);
}

static const char *
chunk(struct client *c, struct tf_span data, struct tf_span model, bool include_usage)
{
	struct tf_span v, choices, el;
	struct js_iter it;
	const char *bad;
	unsigned n = 0;

	if (js_valid(data) < 0)
		return "chunk is not JSON";
	if (!member(data, "choices", JS_ARRAY, &choices))
		return "chunk without choices";
	if (!member(data, "object", JS_STRING, &v) || !js_str_eq(v, "chat.completion.chunk"))
		return "wrong object";
	if (!member(data, "model", JS_STRING, &v) || !js_str_eqn(v, model))
		return "model is not the one asked for";
	if (!member(data, "id", JS_STRING, &v) || (c->chunks > 0 && !tf_span_eq(v, c->id)))
		return "id changes";
	c->id = v;
	if (!member(data, "created", JS_NUMBER, &v) ||
	    (c->chunks > 0 && !tf_span_eq(v, c->created)))
		return "created changes";
	c->created = v;
	c->chunks++;
	if (js_member(data, "obfuscation", &v))
		return "obfuscation";
	js_iter_init(&it, choices);
	for (; js_iter_next(&it, NULL, &el); n++)
		if ((bad = choice(c, el)) != NULL)
			return bad;
	if (js_member(data, "usage", &v) && !js_is_null(v)) {
		if (!include_usage || n > 0 || c->usages++ > 0)
			return "usage where none belongs";
		if (!member(v, "total_tokens", JS_NUMBER, &el))
			return "usage without total";
	} else if (n == 0) {
		return "chunk that says nothing";
	}
	return NULL;
}

static const char *
end(const struct client *c, bool include_usage, bool whole)
{
	if (!whole)
		return c->done ? "end mark of a broken answer" : NULL;
	if (!c->done)
		return "no end mark";
	if (include_usage != (c->usages == 1))
		return "usage missing";
	for (size_t i = 0; i < CLIENT_CHOICES; i++)
		if (c->choice[i].role && !c->choice[i].finished)
			return "missing finish_reason";
	return c->choice[0].finished || c->choice[1].finished ? NULL : "no finish at all";
}

const char *
client_reads(
    struct client *c, struct tf_span stream, struct tf_span model, bool include_usage, bool whole)
{
	const char *p = stream.n > 0 ? stream.p : "", *last = p + stream.n, *e, *bad;

	memset(c, 0, sizeof *c);
	while (p < last) {
		e = memmem(p, (size_t)(last - p), "\n\n", 2);
		if (e == NULL)
			return "unfinished event";
		if ((size_t)(e - p) < 6 || memcmp(p, "data: ", 6) != 0)
			return "no data line";
		if (memchr(p, '\n', (size_t)(e - p)) != NULL)
			return "line end inside an event";
		if (c->done)
			return "event behind the end mark";
		if (tf_span_is(tf_span(p + 6, (size_t)(e - p) - 6), "[DONE]"))
			c->done = true;
		else if ((bad = chunk(c, tf_span(p + 6, (size_t)(e - p) - 6), model,
			      include_usage)) != NULL)
			return bad;
		p = e + 2;
	}
	return end(c, include_usage, whole);
}

static const char *
json_choice(struct tf_span el)
{
	struct tf_span m, v, call, fn;
	struct js_iter it;
	bool calls;

	if (!member(el, "message", JS_OBJECT, &m) || !member(m, "role", JS_STRING, &v) ||
	    !js_member(m, "content", &v))
		return "no message";
	if (!js_member(m, "refusal", &v) || !js_member(el, "logprobs", &v))
		return "refusal or logprobs absent";
	calls = js_member(m, "tool_calls", &v);
	if (calls) {
		js_iter_init(&it, v);
		if (!js_iter_next(&it, NULL, &call))
			return "empty tool_calls";
		do {
			if (!member(call, "id", JS_STRING, &v) || v.n <= 2 ||
			    !member(call, "type", JS_STRING, &v))
				return "call without id or type";
			if (member(call, "function", JS_OBJECT, &fn) &&
			    (!member(fn, "arguments", JS_STRING, &v) || v.n <= 2))
				return "call without arguments";
		} while (js_iter_next(&it, NULL, &call));
	}
	if (!member(el, "finish_reason", JS_STRING, &v))
		return "no finish_reason";
	if (js_str_eq(v, "tool_calls") != calls && !js_str_eq(v, "length") &&
	    !js_str_eq(v, "content_filter"))
		return "finish_reason does not fit the calls";
	return NULL;
}

const char *
client_reads_json(struct tf_span body, struct tf_span model)
{
	struct tf_span v, u, el;
	struct js_iter it;
	const char *bad;

	if (js_valid(body) < 0)
		return "answer is not JSON";
	if (!member(body, "object", JS_STRING, &v) || !js_str_eq(v, "chat.completion"))
		return "wrong object";
	if (!member(body, "model", JS_STRING, &v) || !js_str_eqn(v, model))
		return "model is not the one asked for";
	if (!member(body, "usage", JS_OBJECT, &u) || !member(u, "total_tokens", JS_NUMBER, &v))
		return "no usage";
	if (!member(body, "choices", JS_ARRAY, &v))
		return "no choices";
	js_iter_init(&it, v);
	while (js_iter_next(&it, NULL, &el))
		if ((bad = json_choice(el)) != NULL)
			return bad;
	return NULL;
}
