/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan makes of the items of a responses request's input: each has the members that its type
 * needs, its parts are of a kind that is offered, and what they need goes into the head.
 */
#include "config.h"

#include <stdio.h>

#include "common/dialect/responses.h"

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
	/* older ones have an id only, which their output names */
	if ((kind == RESPONSES_IS_SHELL || kind == RESPONSES_IS_SHELL_OUTPUT) && !(r->bits & (BIT_CALL_ID | BIT_ID)))
		return needs_member(s, v, BIT_CALL_ID);
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

int
responses_scan_item(struct dl_scan *s, const struct dl_value *v)
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
		r->bits = (r->bits & ~BIT_ID) | (text && v->hit->text > 0 ? BIT_ID : 0);
		return 0;
	case RESPONSES_ROLE:
		return on_role(s, v);
	case RESPONSES_CONTENT:
		r->bits |= v->hit->type != JS_NULL ? BIT_CONTENT : 0;
		return 0;
	case RESPONSES_PART:
		return on_part(s, v);
	case RESPONSES_CALL_ID:
		r->bits = (r->bits & ~BIT_CALL_ID) | (text && v->hit->text > 0 ? BIT_CALL_ID : 0);
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
