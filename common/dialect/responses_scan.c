/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan makes of the fields of a responses request: the facts of the head, and the rules that
 * types and ranges cannot say (fields_openai_responses.def has those). Called by scan.c for each
 * value in the order of the text; must not depend on that order. Items of the input: responses_scan_items.c.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/responses.h"

enum {
	SEEN_INPUT = 1,
	SEEN_CHOICE_FORCED = 2,
	SEEN_CHOICE_TYPE = 4,
	SEEN_FORMAT_TYPE = 8,
	SEEN_FORMAT_SCHEMA = 16, /* the type asks for one */
	SEEN_FORMAT_NAME = 32,
	SEEN_FORMAT_BODY = 64,
	SEEN_EMPTY = 128,        /* the list of items has none */
};
enum { /* members of a tool that are there */
	TOOL_TYPE = 1,
	TOOL_NAME = 2,
	TOOL_INNER = 4,    /* the name of one in a namespace */
	TOOL_FUNCTION = 8, /* its type is of one that has a name */
	TOOL_SPACE = 16,
};
enum responses_choice { CHOICE_UNSET, CHOICE_NAMED, CHOICE_ALLOWED };

/* ---- tools ------------------------------------------------------------------------------- */

enum responses_tool
responses_tool_kind(struct tf_span type)
{
	return js_str_eq(type, "function") ? RESPONSES_TOOL_FUNCTION
	    : js_str_eq(type, "custom")	   ? RESPONSES_TOOL_CUSTOM
	    : js_str_eq(type, "namespace") ? RESPONSES_TOOL_SPACE
					   : RESPONSES_TOOL_HOSTED;
}

static int
on_tool(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;

	if (v->hit->begin) {
		r->bits = 0;
		return 0;
	}
	if (!(r->bits & TOOL_TYPE))
		return dl_scan_refuse(s, v, "has no type");
	if ((r->bits & (TOOL_FUNCTION | TOOL_SPACE)) && !(r->bits & TOOL_NAME))
		return dl_scan_refuse(s, v, "has no name");
	if (r->bits & TOOL_FUNCTION) {
		s->head.tools++;
		s->head.needs |= DL_NEED_TOOLS;
	}
	return 0;
}

static int
on_inner(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;

	if (v->hit->begin) {
		r->bits &= ~(uint32_t)TOOL_INNER;
		return 0;
	}
	/* hosted tools have lists of tools too */
	if (js_member(v->text, "type", &(struct tf_span){ 0 }) && !(r->bits & TOOL_INNER))
		return dl_scan_refuse(s, v, "has no name");
	s->head.tools++;
	s->head.needs |= DL_NEED_TOOLS;
	return 0;
}

static int
on_choice(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;

	if (v->hit->type == JS_OBJECT) {
		r->choice_value = dl_range_value(v->hit);
		if (!(r->seen & SEEN_CHOICE_TYPE))
			return dl_scan_refuse_at(s, "tool_choice.type", "tool_choice.type is required.");
		s->head.flags |= DL_HEAD_NAMED;
		return 0;
	}
	if (v->hit->type != JS_STRING || js_str_eq(v->text, "auto") || js_str_eq(v->text, "none"))
		return 0;
	if (!js_str_eq(v->text, "required"))
		return dl_scan_refuse(s, v, "must be none, auto, required or an object");
	r->seen |= SEEN_CHOICE_FORCED;
	return 0;
}

static int
on_choice_type(struct dl_scan *s, const struct dl_value *v)
{
	s->responses.seen |= SEEN_CHOICE_TYPE;
	if (js_str_eq(v->text, "allowed_tools"))
		s->responses.choice = CHOICE_ALLOWED;
	else if (responses_tool_kind(v->text) == RESPONSES_TOOL_FUNCTION || responses_tool_kind(v->text) == RESPONSES_TOOL_CUSTOM)
		s->responses.choice = CHOICE_NAMED;
	else
		return dl_scan_refuse(s, v, "asks for a tool that is not offered here: function, custom and allowed_tools are");
	return 0;
}

static int
in_tools(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;
	enum responses_tool kind;

	switch ((enum responses_field)v->id) {
	case RESPONSES_TOOLS:
		if (v->hit->type == JS_ARRAY) {
			s->head.prompt_bytes += v->text.n;
			r->tools = dl_range_value(v->hit);
		}
		return 0;
	case RESPONSES_TOOL:
		return on_tool(s, v);
	case RESPONSES_TOOL_TYPE:
		kind = responses_tool_kind(v->text);
		r->bits |= TOOL_TYPE;
		if (kind != RESPONSES_TOOL_HOSTED)
			r->bits |= kind == RESPONSES_TOOL_SPACE ? TOOL_SPACE : TOOL_FUNCTION;
		return 0;
	case RESPONSES_TOOL_NAME:
		r->bits |= TOOL_NAME;
		return dl_scan_name(s, v);
	case RESPONSES_INNER:
		return on_inner(s, v);
	case RESPONSES_INNER_NAME:
		r->bits |= TOOL_INNER;
		return dl_scan_name(s, v);
	case RESPONSES_CHOICE:
		return on_choice(s, v);
	case RESPONSES_CHOICE_TYPE:
		return on_choice_type(s, v);
	case RESPONSES_CHOICE_MODE:
		if (js_str_eq(v->text, "required"))
			r->seen |= SEEN_CHOICE_FORCED;
		else if (!js_str_eq(v->text, "auto"))
			return dl_scan_refuse(s, v, "must be auto or required");
		return 0;
	case RESPONSES_PARALLEL:
		s->head.flags |= v->text.p[0] == 'f' ? DL_HEAD_ONE_CALL : 0;
		return 0;
	default:
		return 0;
	}
}

/* ---- settings ---------------------------------------------------------------------------- */

static int
on_format(struct dl_scan *s, const struct dl_value *v)
{
	uint32_t seen = s->responses.seen;

	if (v->hit->type != JS_OBJECT)
		return 0;
	if (!(seen & SEEN_FORMAT_TYPE))
		return dl_scan_refuse_at(s, "text.format.type", "text.format.type is required.");
	if (!(seen & SEEN_FORMAT_SCHEMA))
		return 0;
	if (!(seen & SEEN_FORMAT_NAME))
		return dl_scan_refuse_at(s, "text.format.name", "text.format.name is required.");
	if (!(seen & SEEN_FORMAT_BODY))
		return dl_scan_refuse_at(s, "text.format.schema", "text.format.schema is required.");
	s->head.prompt_bytes += v->text.n;
	return 0;
}

static int
in_format(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;
	bool some = v->hit->type != JS_NULL;

	switch ((enum responses_field)v->id) {
	case RESPONSES_FORMAT:
		return on_format(s, v);
	case RESPONSES_FORMAT_TYPE:
		r->seen |= SEEN_FORMAT_TYPE;
		if (js_str_eq(v->text, "json_object")) {
			s->head.needs |= DL_NEED_JSON;
		} else if (js_str_eq(v->text, "json_schema")) {
			s->head.needs |= DL_NEED_SCHEMA;
			r->seen |= SEEN_FORMAT_SCHEMA;
		} else if (!js_str_eq(v->text, "text")) {
			return dl_scan_refuse(s, v, "must be text, json_object or json_schema");
		}
		return 0;
	case RESPONSES_FORMAT_NAME:
		r->seen |= some && v->hit->text > 0 ? SEEN_FORMAT_NAME : 0;
		return some ? dl_scan_name(s, v) : 0;
	case RESPONSES_FORMAT_SCHEMA:
		r->seen |= some ? SEEN_FORMAT_BODY : 0;
		return 0;
	default:
		return 0;
	}
}

static void
in_strings(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;

	if (v->hit->type != JS_STRING)
		return;
	switch ((enum responses_field)v->id) {
	case RESPONSES_INSTRUCTIONS:
		s->responses.instructions = dl_range_value(v->hit);
		h->prompt_bytes += v->hit->text;
		return;
	case RESPONSES_PREVIOUS:
		s->responses.previous = dl_range_value(v->hit);
		return;
	case RESPONSES_EFFORT:
		h->needs |= js_str_eq(v->text, "none") ? 0 : DL_NEED_REASONING;
		h->flags |= DL_HEAD_EFFORT;
		if (js_str_eq(v->text, "none") || js_str_eq(v->text, "minimal"))
			h->flags |= DL_HEAD_NO_EFFORT;
		return;
	case RESPONSES_CACHE_KEY:
		h->affinity = v->hit->text > 0 ? tf_hash(v->text, 1) | 1 : 0;
		return;
	case RESPONSES_INCLUDE_ONE:
		h->needs |= js_str_eq(v->text, "message.output_text.logprobs") ? DL_NEED_LOGPROBS : 0;
		return;
	default:
		return;
	}
}

static int
in_settings(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;
	bool yes = v->text.n > 0 && v->text.p[0] == 't';

	switch ((enum responses_field)v->id) {
	case RESPONSES_STORE:
		s->responses.store = v->text.p[0] != 'f';
		return 0;
	case RESPONSES_STREAM:
		h->stream = yes;
		h->needs |= yes ? DL_NEED_STREAM : 0;
		h->stream_at = dl_range_value(v->hit);
		return 0;
	case RESPONSES_INCLUDE_USAGE:
		h->include_usage = yes;
		return 0;
	case RESPONSES_MAX_OUTPUT:
		h->max_tokens = dl_range_member(v->hit);
		if (v->hit->type == JS_NUMBER && js_get_u64(v->text, &h->max_output) < 0)
			return dl_scan_refuse(s, v, "is out of range");
		return 0;
	case RESPONSES_BACKGROUND:
		s->responses.background = yes;
		return yes ? dl_scan_refuse(s, v, "is not offered here") : 0;
	case RESPONSES_CONVERSATION:
	case RESPONSES_PROMPT:
		return v->hit->type != JS_NULL ? dl_scan_refuse(s, v, "is not offered here") : 0;
	default:
		break;
	}
	if (v->id >= RESPONSES_FORMAT && v->id <= RESPONSES_FORMAT_SCHEMA)
		return in_format(s, v);
	in_strings(s, v);
	return 0;
}

static int
on_input(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;

	if (v->hit->type == JS_NULL)
		return 0;
	r->begun = true;
	if (v->hit->begin)
		return 0;
	r->seen |= SEEN_INPUT;
	r->input = dl_range_value(v->hit);
	s->head.prompt_bytes += v->hit->text;
	if (v->hit->type == JS_STRING) {
		s->head.messages += 1;
		dl_scan_prefix(s, v->text);
	} else {
		s->head.messages += v->hit->count;
		r->seen |= v->hit->count == 0 ? SEEN_EMPTY : 0;
	}
	return 0;
}

static int
responses_value(struct dl_scan *s, const struct dl_value *v)
{
	switch ((enum responses_field)v->id) {
	case RESPONSES_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case RESPONSES_MODEL:
		return dl_scan_model(s, v);
	case RESPONSES_MESSAGES:
		return s->mixed == DL_MIXED_RESPONSES ? TF_E_AGAIN : 0;
	case RESPONSES_INPUT:
		return on_input(s, v);
	default:
		break;
	}
	if (v->id >= RESPONSES_ITEM && v->id <= RESPONSES_MORE_TOOLS)
		return responses_scan_item(s, v);
	return v->id >= RESPONSES_TOOLS && v->id <= RESPONSES_PARALLEL ? in_tools(s, v) : in_settings(s, v);
}

/* ---- the end ----------------------------------------------------------------------------- */

static bool
named(struct tf_span tool, struct tf_span want)
{
	struct tf_span name;

	/* names are plain, so equal texts are equal names */
	return js_member(tool, "name", &name) && tf_span_eq(name, want);
}

/* Is a tool of that name among the tools, or in a namespace? */
static bool
declared(struct tf_span tools, struct tf_span want)
{
	struct tf_span el, type, list;
	struct js_iter it, in;

	js_iter_init(&it, tools);
	while (js_iter_next(&it, NULL, &el)) {
		if (!js_member(el, "type", &type))
			continue;
		if (responses_tool_kind(type) != RESPONSES_TOOL_SPACE) {
			if (responses_tool_kind(type) != RESPONSES_TOOL_HOSTED && named(el, want))
				return true;
			continue;
		}
		if (!js_member(el, "tools", &list))
			continue;
		js_iter_init(&in, list);
		while (js_iter_next(&in, NULL, &el))
			if (named(el, want))
				return true;
	}
	return false;
}

static int
end_choice(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_responses *r = &s->responses;
	struct tf_span choice = tf_span(body.p + r->choice_value.start, r->choice_value.end - r->choice_value.start);
	struct tf_span tools = tf_span(body.p + r->tools.start, r->tools.end - r->tools.start), name;

	if (r->choice == CHOICE_UNSET && !(r->seen & SEEN_CHOICE_FORCED))
		return 0;
	if (r->choice == CHOICE_NAMED) {
		if (!js_member(choice, "name", &name) || js_type(name) != JS_STRING)
			return dl_scan_refuse_at(s, "tool_choice.name", "tool_choice.name is required.");
		if (!r->more_tools && !declared(tools, name))
			return dl_scan_refuse_at(s, "tool_choice", "tool_choice names a tool that is not in tools.");
		return 0;
	}
	if (r->choice == CHOICE_ALLOWED && !js_member(choice, "tools", &name))
		return dl_scan_refuse_at(s, "tool_choice.tools", "tool_choice.tools is required.");
	if (s->head.tools == 0)
		return dl_scan_refuse_at(s, "tool_choice", "tool_choice asks for a call but no tool can be called.");
	return 0;
}

static int
responses_end(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_responses *r = &s->responses;
	struct dl_head *h = &s->head;

	if (h->model_at.end == 0)
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(r->seen & SEEN_INPUT) && r->previous.end == 0)
		return dl_scan_refuse_at(s, "input", "input is required.");
	if ((r->seen & SEEN_EMPTY) && r->previous.end == 0)
		return dl_scan_refuse_at(s, "input", "input must not be empty.");
	if (end_choice(s, body) < 0)
		return TF_E_INVAL;
	if (s->mixed == DL_MIXED_RESPONSES) {
		h->flags |= DL_HEAD_CHAT_ANSWER;
		r->store = false;
	}
	h->needs |= DL_NEED_CHAT;
	h->messages += r->instructions.end > 0;
	dl_scan_prefix_end(s, tf_span(body.p + r->instructions.start, r->instructions.end - r->instructions.start));
	dl_scan_prefix_end(s, tf_span(body.p + r->tools.start, r->tools.end - r->tools.start));
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help) { path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_responses.def"
#undef FIELD
};

const struct dl_fields responses_fields = { rows, TF_LEN(rows), responses_value, responses_end };
