/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON schemas as the Messages API takes them. The provider compiles them to grammars: it wants every
 * object closed, knows few keywords (platform.claude.com, "Structured outputs"), and takes no choice
 * between schemas at the top of a tool's. Called by messages_request_enc.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/messages_request_enc.h"

#define SCHEMA_DEPTH 64 /* deeper ones are written as they are */

static const char any[] = "{\"type\":\"object\",\"properties\":{}}";

/* Keywords that say nothing about the shape, or that its grammars do not know. */
static bool
is_limit(struct tf_span key)
{
	static const char *const names[] = { "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
		"minLength", "maxLength", "maxItems", "uniqueItems", "minProperties", "maxProperties", "minContains",
		"maxContains", "patternProperties", "propertyNames", "unevaluatedProperties", "unevaluatedItems" };

	for (size_t i = 0; i < TF_LEN(names); i++)
		if (js_str_eq(key, names[i]))
			return true;
	return false;
}

static bool
is_name(struct tf_span key)
{
	return js_str_eq(key, "$schema") || js_str_eq(key, "$id") || js_str_eq(key, "title");
}

/* minItems 0 and 1 are known. */
static bool
is_dropped(struct tf_span key, struct tf_span v)
{
	uint64_t n;

	if (js_str_eq(key, "minItems"))
		return js_get_u64(v, &n) < 0 || n > 1;
	return is_limit(key) || js_str_eq(key, "$schema") || js_str_eq(key, "$id");
}

static void
key(struct mreq *e, struct tf_span raw)
{
	struct tf_buf scratch = { 0 };
	struct tf_span name;
	int r = js_str(raw, &scratch, &name);

	if (r < 0 && e->err == 0)
		e->err = r;
	js_w_keyn(&e->w, r == 0 ? name : TF_SPAN("?"));
	tf_buf_free(&scratch);
}

static void closed(struct mreq *e, struct tf_span s, unsigned depth);

/* Members whose values are schemas by name; lists of schemas; a schema. */
static void
below(struct mreq *e, struct tf_span name, struct tf_span v, unsigned depth)
{
	static const char *const maps[] = { "properties", "$defs", "definitions" };
	struct tf_span k, el;
	struct js_iter it;
	bool map = false;

	for (size_t i = 0; i < TF_LEN(maps); i++)
		map = map || js_str_eq(name, maps[i]);
	if (map && js_type(v) == JS_OBJECT) {
		js_w_object(&e->w);
		js_iter_init(&it, v);
		while (js_iter_next(&it, &k, &el)) {
			key(e, k);
			closed(e, el, depth + 1);
		}
		js_w_object_end(&e->w);
	} else if (js_type(v) == JS_ARRAY && (js_str_eq(name, "anyOf") || js_str_eq(name, "oneOf") || js_str_eq(name, "allOf"))) {
		js_w_array(&e->w);
		js_iter_init(&it, v);
		while (js_iter_next(&it, NULL, &el))
			closed(e, el, depth + 1);
		js_w_array_end(&e->w);
	} else if (js_str_eq(name, "items") && js_type(v) == JS_OBJECT) {
		closed(e, v, depth + 1);
	} else {
		js_w_compact(&e->w, v);
	}
}

/* The limits that were left out, for the model to read. */
static void
describe(struct mreq *e, struct tf_span s, struct tf_span described)
{
	struct tf_buf text = { 0 };
	struct tf_span k, v;
	struct js_iter it;
	size_t from;
	int r = 0;

	if (js_type(described) == JS_STRING)
		r = js_str_append(described, &text);
	from = text.n;
	js_iter_init(&it, s);
	while (r == 0 && js_iter_next(&it, &k, &v)) {
		if (!is_dropped(k, v) || js_str_eq(k, "$schema") || js_str_eq(k, "$id"))
			continue;
		r = tf_buf_addstr(&text, text.n == from ? (from > 0 ? " (" : "(") : ", ");
		if (r == 0)
			r = js_str_append(k, &text);
		if (r == 0)
			r = tf_buf_addstr(&text, ": ");
		if (r == 0)
			r = tf_buf_addspan(&text, v);
	}
	if (r == 0 && text.n > from)
		r = tf_buf_addc(&text, ')');
	if (r < 0 && e->err == 0)
		e->err = r;
	if (text.n > 0)
		js_w_kstr(&e->w, "description", tf_buf_span(&text));
	tf_buf_free(&text);
}

static bool
is_object(struct tf_span s)
{
	struct tf_span v, el;
	struct js_iter it;

	if (js_member(s, "properties", &v))
		return true;
	if (!js_member(s, "type", &v))
		return false;
	if (js_str_eq(v, "object"))
		return true;
	js_iter_init(&it, v);
	while (js_iter_next(&it, NULL, &el))
		if (js_str_eq(el, "object"))
			return true;
	return false;
}

static void
closed(struct mreq *e, struct tf_span s, unsigned depth)
{
	struct tf_span k, v, described = tf_span(NULL, 0);
	struct js_iter it;

	if (js_type(s) != JS_OBJECT || depth > SCHEMA_DEPTH) {
		js_w_compact(&e->w, s);
		return;
	}
	(void)js_member(s, "description", &described);
	js_w_object(&e->w);
	js_iter_init(&it, s);
	while (js_iter_next(&it, &k, &v)) {
		if (is_dropped(k, v) || js_str_eq(k, "description") || js_str_eq(k, "additionalProperties"))
			continue;
		key(e, k);
		below(e, k, v, depth);
	}
	describe(e, s, described);
	if (is_object(s))
		js_w_kbool(&e->w, "additionalProperties", false);
	js_w_object_end(&e->w);
}

void
mreq_answer_schema(struct mreq *e, struct tf_span schema)
{
	if (mreq_hosted(e))
		closed(e, schema, 0);
	else
		js_w_compact(&e->w, schema);
}

/* ---- tools ------------------------------------------------------------------------------- */

static const char *const choices[] = { "allOf", "anyOf", "oneOf" };

static bool
is_choice(struct tf_span name)
{
	for (size_t i = 0; i < TF_LEN(choices); i++)
		if (js_str_eq(name, choices[i]))
			return true;
	return false;
}

/* Properties of a schema and of its branches, each name once. */
static void
properties(struct mreq *e, struct tf_span s, struct tf_map *seen, unsigned depth)
{
	struct tf_span v, k, el;
	struct js_iter it;

	if (js_member(s, "properties", &v)) {
		js_iter_init(&it, v);
		while (e->err == 0 && js_iter_next(&it, &k, &el)) {
			if (tf_map_get(seen, k) != NULL)
				continue;
			e->err = tf_map_put(seen, k, (void *)k.p);
			key(e, k);
			js_w_compact(&e->w, el);
		}
	}
	for (size_t i = 0; depth < 8 && i < TF_LEN(choices); i++) {
		if (!js_member(s, choices[i], &v))
			continue;
		js_iter_init(&it, v);
		while (js_iter_next(&it, NULL, &el))
			properties(e, el, seen, depth + 1);
	}
}

/* What every branch demands: of a choice between schemas nothing. */
static void
required(struct mreq *e, struct tf_span s, unsigned depth)
{
	struct tf_span v, el;
	struct js_iter it;

	if (js_member(s, "required", &v) && js_type(v) == JS_ARRAY) {
		js_iter_init(&it, v);
		while (js_iter_next(&it, NULL, &el))
			js_w_compact(&e->w, el);
	}
	if (depth >= 8 || !js_member(s, "allOf", &v))
		return;
	js_iter_init(&it, v);
	while (js_iter_next(&it, NULL, &el))
		required(e, el, depth + 1);
}

/* One object instead of a choice between some. */
static void
merged(struct mreq *e, struct tf_span s)
{
	struct tf_map seen = { 0 };
	struct tf_span k, v;
	struct js_iter it;

	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", "object");
	js_iter_init(&it, s);
	while (js_iter_next(&it, &k, &v)) {
		if (is_choice(k) || is_name(k) || js_str_eq(k, "type") || js_str_eq(k, "properties") || js_str_eq(k, "required"))
			continue;
		key(e, k);
		js_w_compact(&e->w, v);
	}
	js_w_key(&e->w, "properties");
	js_w_object(&e->w);
	properties(e, s, &seen, 0);
	js_w_object_end(&e->w);
	js_w_key(&e->w, "required");
	js_w_array(&e->w);
	required(e, s, 0);
	js_w_array_end(&e->w);
	js_w_object_end(&e->w);
	tf_map_free(&seen);
}

bool
mreq_object_schema(struct tf_span schema)
{
	struct tf_span v;

	return js_member(schema, "type", &v) ? js_str_eq(v, "object") : js_member(schema, "properties", &v);
}

void
mreq_tool_schema(struct mreq *e, struct tf_span schema)
{
	struct tf_span k, v;
	struct js_iter it;
	bool typed = false;

	if (js_type(schema) != JS_OBJECT) {
		js_w_raw(&e->w, tf_cspan(any));
		return;
	}
	js_iter_init(&it, schema);
	while (js_iter_next(&it, &k, &v)) {
		if (is_choice(k) && mreq_hosted(e)) {
			merged(e, schema);
			return;
		}
		typed = typed || js_str_eq(k, "type");
	}
	js_w_object(&e->w);
	if (!typed)
		js_w_kcstr(&e->w, "type", "object");
	js_iter_init(&it, schema);
	while (js_iter_next(&it, &k, &v)) {
		if (js_str_eq(k, "$schema") || js_str_eq(k, "$id"))
			continue;
		key(e, k);
		js_w_compact(&e->w, v);
	}
	js_w_object_end(&e->w);
}
