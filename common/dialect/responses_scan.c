/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan makes of the fields of a responses request: the facts of the head, and the rules that
 * types and ranges cannot say (fields_openai_responses.def has those). Called by scan.c for each
 * value in the order of the text; must not depend on that order.
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
enum { /* members of an item that are there */
	BIT_TYPE = 1,
	BIT_ID = 2,
	BIT_ROLE = 4,
	BIT_CONTENT = 8,
	BIT_CALL_ID = 16,
	BIT_NAME = 32,
	BIT_ARGS = 64,
	BIT_INPUT = 128,
	BIT_OUTPUT = 256,
	BIT_TOOLS = 512,
	BIT_INNER = 1024,
	BIT_FUNCTION = 2048, /* a tool's type: one that has a name */
	BIT_SPACE = 4096,
};
enum { /* of a part */
	PART_TYPE = 1,
	PART_IS_TEXT = 2,
	PART_IS_IMAGE = 4,
	PART_IS_FILE = 8,
	PART_IS_REFUSAL = 16,
	PART_HAS_TEXT = 32,
	PART_HAS_URL = 64,
	PART_HAS_DATA = 128,
	PART_HAS_ID = 256,
	PART_HAS_FILE_URL = 512,
	PART_HAS_REFUSAL = 1024,
	PART_IS_AUDIO = 2048,
	PART_HAS_AUDIO = 4096,
};
enum responses_choice { CHOICE_UNSET, CHOICE_NAMED, CHOICE_ALLOWED };

/* ---- items ------------------------------------------------------------------------------- */

static const struct {
	const char *type;
	enum responses_item kind;
} item_types[] = {
	{ "message", RESPONSES_IS_MESSAGE },
	{ "function_call", RESPONSES_IS_CALL },
	{ "function_call_output", RESPONSES_IS_CALL_OUTPUT },
	{ "custom_tool_call", RESPONSES_IS_CUSTOM },
	{ "custom_tool_call_output", RESPONSES_IS_CUSTOM_OUTPUT },
	{ "reasoning", RESPONSES_IS_REASONING },
	{ "item_reference", RESPONSES_IS_REFERENCE },
	{ "additional_tools", RESPONSES_IS_MORE_TOOLS },
	{ "local_shell_call", RESPONSES_IS_SHELL },
	{ "shell_call", RESPONSES_IS_SHELL },
	{ "apply_patch_call", RESPONSES_IS_SHELL },
	{ "local_shell_call_output", RESPONSES_IS_SHELL_OUTPUT },
	{ "shell_call_output", RESPONSES_IS_SHELL_OUTPUT },
	{ "apply_patch_call_output", RESPONSES_IS_SHELL_OUTPUT },
	{ "web_search_call", RESPONSES_IS_HOSTED },
	{ "file_search_call", RESPONSES_IS_HOSTED },
	{ "computer_call", RESPONSES_IS_HOSTED },
	{ "computer_call_output", RESPONSES_IS_HOSTED },
	{ "image_generation_call", RESPONSES_IS_HOSTED },
	{ "code_interpreter_call", RESPONSES_IS_HOSTED },
	{ "mcp_list_tools", RESPONSES_IS_HOSTED },
	{ "mcp_call", RESPONSES_IS_HOSTED },
	{ "mcp_approval_request", RESPONSES_IS_HOSTED },
	{ "mcp_approval_response", RESPONSES_IS_HOSTED },
	{ "tool_search_call", RESPONSES_IS_HOSTED },
	{ "tool_search_output", RESPONSES_IS_HOSTED },
	{ "compaction", RESPONSES_IS_HOSTED },
};

static enum responses_item
kind_of_type(struct tf_span type)
{
	for (size_t i = 0; i < TF_LEN(item_types); i++)
		if (js_str_eq(type, item_types[i].type))
			return item_types[i].kind;
	return RESPONSES_IS_UNKNOWN;
}

enum responses_item
responses_item_kind(struct tf_span item)
{
	struct tf_span v;

	if (js_member(item, "type", &v) && js_type(v) == JS_STRING)
		return kind_of_type(v);
	/* without a type it is a message, or a reference when it has nothing but an id */
	return js_member(item, "role", &v) || !js_member(item, "id", &v) ? RESPONSES_IS_MESSAGE : RESPONSES_IS_REFERENCE;
}

enum responses_tool
responses_tool_kind(struct tf_span type)
{
	return js_str_eq(type, "function") ? RESPONSES_TOOL_FUNCTION
	    : js_str_eq(type, "custom")	   ? RESPONSES_TOOL_CUSTOM
	    : js_str_eq(type, "namespace") ? RESPONSES_TOOL_SPACE
					   : RESPONSES_TOOL_HOSTED;
}

static uint32_t
required(enum responses_item kind)
{
	switch (kind) {
	case RESPONSES_IS_MESSAGE:
		return BIT_ROLE | BIT_CONTENT;
	case RESPONSES_IS_CALL:
		return BIT_CALL_ID | BIT_NAME | BIT_ARGS;
	case RESPONSES_IS_CUSTOM:
		return BIT_CALL_ID | BIT_NAME | BIT_INPUT;
	case RESPONSES_IS_CALL_OUTPUT:
	case RESPONSES_IS_CUSTOM_OUTPUT:
		return BIT_CALL_ID | BIT_OUTPUT;
	case RESPONSES_IS_REFERENCE:
		return BIT_ID;
	default:
		return 0;
	}
}

static int
needs_member(struct dl_scan *s, const struct dl_value *v, uint32_t missing)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ BIT_ROLE, "role" },
		{ BIT_CONTENT, "content" },
		{ BIT_ID, "id" },
		{ BIT_CALL_ID, "call_id" },
		{ BIT_NAME, "name" },
		{ BIT_ARGS, "arguments" },
		{ BIT_INPUT, "input" },
		{ BIT_OUTPUT, "output" },
	};
	char param[DL_PARAM_MAX];

	for (size_t i = 0; i < TF_LEN(names); i++)
		if (missing & names[i].bit) {
			snprintf(param, sizeof param, "input[%u].%s", v->hit->index[0], names[i].name);
			return dl_scan_refuse_at(s, param, "%s is required.", param);
		}
	return 0;
}

static void
count_tools(struct dl_scan *s, struct tf_span list)
{
	struct tf_span el, type;
	struct js_iter it;

	js_iter_init(&it, list);
	while (js_iter_next(&it, NULL, &el))
		if (js_member(el, "type", &type) && responses_tool_kind(type) != RESPONSES_TOOL_HOSTED) {
			s->head.tools++;
			s->head.needs |= DL_NEED_TOOLS;
		}
}

static int
item_ends(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;
	enum responses_item kind = (enum responses_item)r->kind;
	struct tf_span tools;

	if (!(r->bits & BIT_TYPE))
		kind = !(r->bits & BIT_ROLE) && (r->bits & BIT_ID) ? RESPONSES_IS_REFERENCE : RESPONSES_IS_MESSAGE;
	if (needs_member(s, v, required(kind) & ~r->bits) < 0)
		return TF_E_INVAL;
	if (kind == RESPONSES_IS_REFERENCE) {
		if (r->nref == DL_REFS_MAX)
			return dl_scan_refuse(s, v, "is one reference too many: at most %d are looked up", DL_REFS_MAX);
		r->ref[r->nref++] = dl_range_value(v->hit);
	}
	if (kind == RESPONSES_IS_MORE_TOOLS && (r->bits & BIT_TOOLS) && js_member(v->text, "tools", &tools)) {
		r->more_tools = true;
		s->head.prompt_bytes += tools.n;
		count_tools(s, tools);
	}
	dl_scan_prefix(s, v->text);
	return 0;
}

static int
on_item(struct dl_scan *s, const struct dl_value *v)
{
	if (!v->hit->begin)
		return item_ends(s, v);
	s->responses.bits = 0;
	s->responses.kind = RESPONSES_IS_MESSAGE;
	return 0;
}

static int
on_role(struct dl_scan *s, const struct dl_value *v)
{
	static const char *const roles[] = { "user", "assistant", "system", "developer" };

	s->responses.bits |= BIT_ROLE;
	for (size_t i = 0; i < TF_LEN(roles); i++)
		if (js_str_eq(v->text, roles[i]))
			return 0;
	return dl_scan_refuse(s, v, "must be one of user, assistant, system, developer");
}

/* ---- parts ------------------------------------------------------------------------------- */

static uint32_t
part_type(struct tf_span text)
{
	static const struct {
		const char *type;
		uint32_t bit;
	} types[] = {
		{ "input_text", PART_IS_TEXT },
		{ "output_text", PART_IS_TEXT },
		{ "text", PART_IS_TEXT },
		{ "refusal", PART_IS_REFUSAL },
		{ "input_image", PART_IS_IMAGE },
		{ "input_file", PART_IS_FILE },
		{ "input_audio", PART_IS_AUDIO },
	};

	for (size_t i = 0; i < TF_LEN(types); i++)
		if (js_str_eq(text, types[i].type))
			return PART_TYPE | types[i].bit;
	return PART_TYPE;
}

static int
part_ends(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;
	uint32_t p = s->responses.part;

	if (!(p & PART_TYPE))
		return dl_scan_refuse(s, v, "has no type");
	if ((p & PART_IS_TEXT) && !(p & PART_HAS_TEXT))
		return dl_scan_refuse(s, v, "is a text without text");
	if ((p & PART_IS_REFUSAL) && !(p & PART_HAS_REFUSAL))
		return dl_scan_refuse(s, v, "is a refusal without refusal");
	if (p & PART_IS_IMAGE) {
		if (!(p & PART_HAS_URL))
			return dl_scan_refuse(s, v,
			    p & PART_HAS_ID ? "is an image by file_id, which is not offered here: send image_url"
					    : "is an image without image_url");
		h->images++;
		h->needs |= DL_NEED_VISION;
	}
	if (p & PART_IS_FILE) {
		if (!(p & PART_HAS_DATA))
			return dl_scan_refuse(s, v,
			    p & PART_HAS_FILE_URL   ? "is a file by file_url, which is not offered here: send file_data"
				: p & PART_HAS_ID ? "is a file by file_id, which is not offered here: send file_data"
						  : "is a file without file_data");
		h->files++;
		h->needs |= DL_NEED_FILES;
	}
	if (p & PART_IS_AUDIO) {
		if (!(p & PART_HAS_AUDIO))
			return dl_scan_refuse(s, v, "is audio without input_audio");
		h->audios++;
		h->needs |= DL_NEED_AUDIO_IN;
	}
	return 0;
}

static int
on_part(struct dl_scan *s, const struct dl_value *v)
{
	if (!v->hit->begin)
		return part_ends(s, v);
	s->responses.part = 0;
	return 0;
}

static void
in_part(struct dl_scan *s, const struct dl_value *v)
{
	uint32_t *p = &s->responses.part;
	bool text = v->hit->type == JS_STRING;

	switch ((enum responses_field)v->id) {
	case RESPONSES_PART_TYPE:
		*p |= part_type(v->text);
		return;
	case RESPONSES_PART_TEXT:
		*p |= text ? PART_HAS_TEXT : 0;
		return;
	case RESPONSES_PART_REFUSAL:
		*p |= text ? PART_HAS_REFUSAL : 0;
		return;
	case RESPONSES_PART_URL:
		*p |= v->hit->type != JS_NULL ? PART_HAS_URL : 0;
		return;
	case RESPONSES_PART_DATA:
		*p |= text ? PART_HAS_DATA : 0;
		return;
	case RESPONSES_PART_FILE:
		*p |= text ? PART_HAS_ID : 0;
		return;
	case RESPONSES_PART_FILE_URL:
		*p |= text ? PART_HAS_FILE_URL : 0;
		return;
	case RESPONSES_PART_AUDIO:
		*p |= v->hit->type == JS_OBJECT ? PART_HAS_AUDIO : 0;
		return;
	default:
		return;
	}
}

static int
in_item(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;
	bool text = v->hit->type == JS_STRING;

	switch ((enum responses_field)v->id) {
	case RESPONSES_ITEM:
		return on_item(s, v);
	case RESPONSES_ITEM_TYPE:
		r->bits |= text ? BIT_TYPE : 0;
		r->kind = text ? (uint8_t)kind_of_type(v->text) : RESPONSES_IS_MESSAGE;
		return 0;
	case RESPONSES_ITEM_ID:
		r->bits |= text && v->hit->text > 0 ? BIT_ID : 0;
		return 0;
	case RESPONSES_ROLE:
		return on_role(s, v);
	case RESPONSES_CONTENT:
		r->bits |= v->hit->type != JS_NULL ? BIT_CONTENT : 0;
		return 0;
	case RESPONSES_PART:
		return on_part(s, v);
	case RESPONSES_CALL_ID:
		r->bits |= text && v->hit->text > 0 ? BIT_CALL_ID : 0;
		return 0;
	case RESPONSES_CALL_NAME:
		r->bits |= text && v->hit->text > 0 ? BIT_NAME : 0;
		return 0;
	case RESPONSES_CALL_ARGS:
		r->bits |= text ? BIT_ARGS : 0;
		return 0;
	case RESPONSES_CALL_INPUT:
		r->bits |= text ? BIT_INPUT : 0;
		return 0;
	case RESPONSES_OUTPUT:
		r->bits |= text || v->hit->type == JS_ARRAY ? BIT_OUTPUT : 0;
		return 0;
	case RESPONSES_MORE_TOOLS:
		r->bits |= v->hit->type == JS_ARRAY ? BIT_TOOLS : 0;
		return 0;
	default:
		in_part(s, v);
		return 0;
	}
}

/* ---- tools ------------------------------------------------------------------------------- */

static int
on_tool(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_responses *r = &s->responses;

	if (v->hit->begin) {
		r->bits = 0;
		return 0;
	}
	if (!(r->bits & BIT_TYPE))
		return dl_scan_refuse(s, v, "has no type");
	if ((r->bits & (BIT_FUNCTION | BIT_SPACE)) && !(r->bits & BIT_NAME))
		return dl_scan_refuse(s, v, "has no name");
	if (r->bits & BIT_FUNCTION) {
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
		r->bits &= ~(uint32_t)BIT_INNER;
		return 0;
	}
	/* hosted tools have lists of tools too */
	if (js_member(v->text, "type", &(struct tf_span){ 0 }) && !(r->bits & BIT_INNER))
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
		r->bits |= BIT_TYPE;
		if (kind != RESPONSES_TOOL_HOSTED)
			r->bits |= kind == RESPONSES_TOOL_SPACE ? BIT_SPACE : BIT_FUNCTION;
		return 0;
	case RESPONSES_TOOL_NAME:
		r->bits |= BIT_NAME;
		return dl_scan_name(s, v);
	case RESPONSES_INNER:
		return on_inner(s, v);
	case RESPONSES_INNER_NAME:
		r->bits |= BIT_INNER;
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
		return in_item(s, v);
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
