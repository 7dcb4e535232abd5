/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan makes of the fields of a messages request: the facts of the head, and the rules that
 * types and ranges cannot say (fields_anthropic_messages.def has those). Called by scan.c for each
 * value in the order of the text; must not depend on that order.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/messages.h"

enum { MESSAGES_SEEN_MESSAGES = 1, MESSAGES_SEEN_CHOICE_TYPE = 2, MESSAGES_SEEN_THINKING_TYPE = 4,
	MESSAGES_SEEN_FORMAT_TYPE = 8, MESSAGES_SEEN_FORMAT_SCHEMA = 16 };
enum {
	BIT_TYPE = 1,    /* the block or tool has a type */
	BIT_IMAGE = 2,   /* which says ... */
	BIT_DOCUMENT = 4,
	BIT_USE = 8,
	BIT_RESULT = 16,
	BIT_TEXT = 32,
	BIT_HAS_TEXT = 64, /* members that are there */
	BIT_HAS_SOURCE = 128,
	BIT_HAS_ID = 256,
	BIT_HAS_NAME = 512,
	BIT_HAS_INPUT = 1024,
	BIT_HAS_OF = 2048,
	BIT_BASE64 = 4096, /* type of the source */
	BIT_URL = 8192,
	BIT_PLAIN = 16384,
	BIT_SERVER = 32768, /* a tool that is left out */
};
#define KNOWN_BYTES 1500 /* of the schema and description that a tool of the API's own gets, at most */

enum { ROLE_NONE, ROLE_USER, ROLE_ASSISTANT, ROLE_SYSTEM };
enum messages_choice { CHOICE_UNSET, CHOICE_AUTO, CHOICE_ANY, CHOICE_TOOL, CHOICE_NONE };

/* ---- tools of the API's own -------------------------------------------------------------- */

enum messages_tool
messages_tool_kind(struct tf_span type)
{
	static const struct {
		const char *prefix;
		enum messages_tool kind;
	} kinds[] = {
		{ "\"web_search_", MESSAGES_TOOL_SERVER },
		{ "\"web_fetch_", MESSAGES_TOOL_SERVER },
		{ "\"code_execution_", MESSAGES_TOOL_SERVER },
		{ "\"tool_search_tool_", MESSAGES_TOOL_SERVER },
		{ "\"mcp_toolset", MESSAGES_TOOL_SERVER },
		{ "\"bash_", MESSAGES_TOOL_KNOWN },
		{ "\"text_editor_", MESSAGES_TOOL_KNOWN },
		{ "\"memory_", MESSAGES_TOOL_KNOWN },
		{ "\"computer_", MESSAGES_TOOL_KNOWN },
		{ "\"browser_", MESSAGES_TOOL_ALIEN },
	};

	for (size_t i = 0; i < TF_LEN(kinds); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (type.n > n && memcmp(type.p, kinds[i].prefix, n) == 0)
			return kinds[i].kind;
	}
	return MESSAGES_TOOL_CLIENT;
}

/* ---- messages ---------------------------------------------------------------------------- */

static int
on_role(struct dl_scan *s, const struct dl_value *v)
{
	static const char *const roles[] = { [ROLE_USER] = "user", [ROLE_ASSISTANT] = "assistant", [ROLE_SYSTEM] = "system" };

	for (uint8_t i = ROLE_USER; i < TF_LEN(roles); i++)
		if (js_str_eq(v->text, roles[i])) {
			s->messages.role = i;
			return 0;
		}
	return dl_scan_refuse(s, v, "must be one of user, assistant, system");
}

static uint16_t
block_type(struct tf_span text)
{
	static const struct {
		const char *type;
		uint16_t bit;
	} types[] = {
		{ "text", BIT_TEXT },
		{ "image", BIT_IMAGE },
		{ "document", BIT_DOCUMENT },
		{ "tool_use", BIT_USE },
		{ "tool_result", BIT_RESULT },
	};

	for (size_t i = 0; i < TF_LEN(types); i++)
		if (js_str_eq(text, types[i].type))
			return BIT_TYPE | types[i].bit;
	return BIT_TYPE;
}

static uint16_t
source_type(struct tf_span text)
{
	return js_str_eq(text, "base64") ? BIT_BASE64
	    : js_str_eq(text, "url")	 ? BIT_URL
	    : js_str_eq(text, "text") || js_str_eq(text, "content") ? BIT_PLAIN
								     : 0;
}

/* Media of a block that is complete. What tools attach unasked (nested) is no reason to refuse a request. */
static int
media(struct dl_scan *s, const struct dl_value *v, unsigned bits, size_t data, bool nested)
{
	struct dl_head *h = &s->head;

	if (bits & BIT_IMAGE) {
		if (!(bits & (BIT_BASE64 | BIT_URL)))
			return dl_scan_refuse(s, v, "is an image whose source is neither base64 nor url");
		h->images++;
	}
	if (bits & BIT_DOCUMENT) {
		if (!(bits & (BIT_BASE64 | BIT_PLAIN)))
			return dl_scan_refuse(s, v, "is a document whose source is not base64, text or content");
		h->files += !nested && (bits & BIT_BASE64);
		h->needs |= !nested && (bits & BIT_BASE64) ? DL_NEED_FILES : 0;
		h->prompt_bytes += bits & BIT_PLAIN ? data : 0;
	}
	return 0;
}

static int
on_block(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;
	unsigned bits = m->bits;

	if (v->hit->begin) {
		m->bits = 0;
		m->data = 0;
		return 0;
	}
	if (!(bits & BIT_TYPE))
		return dl_scan_refuse(s, v, "has no type");
	if ((bits & BIT_TEXT) && !(bits & BIT_HAS_TEXT))
		return dl_scan_refuse(s, v, "is a text block without text");
	if ((bits & (BIT_IMAGE | BIT_DOCUMENT)) && !(bits & BIT_HAS_SOURCE))
		return dl_scan_refuse(s, v, "has no source");
	if ((bits & BIT_USE) && (bits & (BIT_HAS_ID | BIT_HAS_NAME | BIT_HAS_INPUT)) != (BIT_HAS_ID | BIT_HAS_NAME | BIT_HAS_INPUT))
		return dl_scan_refuse(s, v, "is a tool_use block without id, name or input");
	if ((bits & BIT_RESULT) && !(bits & BIT_HAS_OF))
		return dl_scan_refuse(s, v, "is a tool_result block without tool_use_id");
	s->head.needs |= bits & BIT_IMAGE ? DL_NEED_VISION : 0;
	return media(s, v, bits, m->data, false);
}

static int
on_result_block(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;

	if (!v->hit->begin)
		return media(s, v, m->nested, m->nested_data, true);
	m->nested = 0;
	m->nested_data = 0;
	return 0;
}

static int
on_message(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;
	char param[DL_PARAM_MAX];

	if (v->hit->begin) {
		m->role = ROLE_NONE;
		m->content = false;
		return 0;
	}
	if (m->role == ROLE_NONE || !m->content) {
		snprintf(param, sizeof param, "messages[%u].%s", v->hit->index[0], m->role == ROLE_NONE ? "role" : "content");
		return dl_scan_refuse_at(s, param, "%s is required.", param);
	}
	dl_scan_prefix(s, v->text);
	return 0;
}

/* Members of a block; strings that must be there count when they have characters. */
static int
in_block(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;
	bool text = v->hit->type == JS_STRING;

	switch ((enum messages_field)v->id) {
	case MESSAGES_TYPE:
		m->bits |= block_type(v->text);
		s->head.flags |= js_str_eq(v->text, "thinking") ? DL_HEAD_REASONING : 0;
		return 0;
	case MESSAGES_TEXT:
		m->bits |= text ? BIT_HAS_TEXT : 0;
		return 0;
	case MESSAGES_SOURCE:
		m->bits |= BIT_HAS_SOURCE;
		return 0;
	case MESSAGES_SOURCE_TYPE:
		m->bits |= source_type(v->text);
		return 0;
	case MESSAGES_SOURCE_DATA:
		m->data = v->text.n - 2;
		return 0;
	case MESSAGES_USE_ID:
		m->bits |= text && v->hit->text > 0 ? BIT_HAS_ID : 0;
		return 0;
	case MESSAGES_USE_NAME:
		m->bits |= text && v->hit->text > 0 ? BIT_HAS_NAME : 0;
		return 0;
	case MESSAGES_USE_INPUT:
		m->bits |= v->hit->type == JS_OBJECT ? BIT_HAS_INPUT : 0;
		/* its strings are counted with the messages */
		s->head.prompt_bytes += v->text.n - v->hit->text;
		return 0;
	case MESSAGES_RESULT_OF:
		m->bits |= v->hit->text > 0 ? BIT_HAS_OF : 0;
		return 0;
	case MESSAGES_RESULT_BLOCK:
		return on_result_block(s, v);
	case MESSAGES_RESULT_TYPE:
		m->nested |= block_type(v->text);
		return 0;
	case MESSAGES_RESULT_SOURCE_TYPE:
		m->nested |= source_type(v->text);
		return 0;
	case MESSAGES_RESULT_DATA:
		m->nested_data = text ? v->text.n - 2 : 0;
		return 0;
	default:
		return 0;
	}
}

/* ---- tools ------------------------------------------------------------------------------- */

static int
on_tool(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;

	if (v->hit->begin) {
		m->bits = 0;
		return 0;
	}
	if (m->bits & BIT_SERVER)
		return 0;
	if (!(m->bits & BIT_HAS_NAME))
		return dl_scan_refuse(s, v, "has no name");
	s->head.tools++;
	s->head.needs |= DL_NEED_TOOLS;
	return 0;
}

static int
on_tool_type(struct dl_scan *s, const struct dl_value *v)
{
	switch (messages_tool_kind(v->text)) {
	case MESSAGES_TOOL_SERVER:
		s->messages.bits |= BIT_SERVER;
		return 0;
	case MESSAGES_TOOL_KNOWN:
		s->head.prompt_bytes += KNOWN_BYTES;
		return 0;
	case MESSAGES_TOOL_ALIEN:
		return dl_scan_refuse(s, v,
		    "%.*s is a tool whose schema only the API's own models know: declare it with input_schema",
		    (int)(v->text.n < 66 ? v->text.n : 66), v->text.p);
	default:
		return 0;
	}
}

static int
on_choice_type(struct dl_scan *s, const struct dl_value *v)
{
	static const char *const names[] = { [CHOICE_AUTO] = "auto", [CHOICE_ANY] = "any", [CHOICE_TOOL] = "tool",
		[CHOICE_NONE] = "none" };

	s->messages.seen |= MESSAGES_SEEN_CHOICE_TYPE;
	for (uint8_t i = CHOICE_AUTO; i < TF_LEN(names); i++)
		if (js_str_eq(v->text, names[i])) {
			s->messages.choice = i;
			return 0;
		}
	return dl_scan_refuse(s, v, "must be auto, any, tool or none");
}

static int
in_tools(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;

	switch ((enum messages_field)v->id) {
	case MESSAGES_TOOLS:
		if (v->hit->type != JS_ARRAY)
			return 0;
		s->head.prompt_bytes += v->text.n;
		m->tools = dl_range_value(v->hit);
		return 0;
	case MESSAGES_TOOL:
		return on_tool(s, v);
	case MESSAGES_TOOL_TYPE:
		return v->hit->type == JS_STRING ? on_tool_type(s, v) : 0;
	case MESSAGES_TOOL_NAME:
		m->bits |= BIT_HAS_NAME;
		return dl_scan_name(s, v);
	case MESSAGES_CHOICE:
		if (v->hit->type == JS_OBJECT && !(m->seen & MESSAGES_SEEN_CHOICE_TYPE))
			return dl_scan_refuse_at(s, "tool_choice.type", "tool_choice.type is required.");
		return 0;
	case MESSAGES_CHOICE_TYPE:
		return on_choice_type(s, v);
	case MESSAGES_CHOICE_NAME:
		m->choice_name = dl_range_value(v->hit);
		return 0;
	case MESSAGES_CHOICE_ONE:
		s->head.flags |= v->text.p[0] == 't' ? DL_HEAD_ONE_CALL : 0;
		return 0;
	default:
		return 0;
	}
}

/* ---- settings ---------------------------------------------------------------------------- */

static int
on_thinking(struct dl_scan *s, const struct dl_value *v)
{
	if (js_str_eq(v->text, "enabled") || js_str_eq(v->text, "adaptive")) {
		s->head.flags |= DL_HEAD_THINKING;
		s->head.needs |= DL_NEED_REASONING;
	} else if (!js_str_eq(v->text, "disabled") && !js_str_eq(v->text, "between_tools")) {
		return dl_scan_refuse(s, v, "must be enabled, adaptive, disabled or between_tools");
	}
	s->messages.seen |= MESSAGES_SEEN_THINKING_TYPE;
	return 0;
}

static int
on_format(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_messages *m = &s->messages;
	bool type = v->id == MESSAGES_FORMAT_TYPE || v->id == MESSAGES_OLD_FORMAT_TYPE;

	if (v->id == MESSAGES_FORMAT || v->id == MESSAGES_OLD_FORMAT) {
		if (v->hit->type != JS_OBJECT)
			return 0;
		if ((m->seen & (MESSAGES_SEEN_FORMAT_TYPE | MESSAGES_SEEN_FORMAT_SCHEMA)) !=
		    (MESSAGES_SEEN_FORMAT_TYPE | MESSAGES_SEEN_FORMAT_SCHEMA))
			return dl_scan_refuse(s, v, "must have a type and a schema");
		s->head.needs |= DL_NEED_SCHEMA;
		s->head.prompt_bytes += v->text.n;
		return 0;
	}
	if (type && !js_str_eq(v->text, "json_schema"))
		return dl_scan_refuse(s, v, "must be json_schema");
	m->seen |= type ? MESSAGES_SEEN_FORMAT_TYPE : MESSAGES_SEEN_FORMAT_SCHEMA;
	return 0;
}

/* What cannot be left out without doing something else than was asked. */
static int
refused(struct dl_scan *s, const struct dl_value *v)
{
	if (v->hit->type == JS_NULL || (v->hit->type == JS_ARRAY && v->hit->count == 0))
		return 0;
	if (v->id != MESSAGES_THREAD)
		return dl_scan_refuse(s, v, "is not offered here");
	/* SDKs know this code: they send the whole conversation again, without the field */
	dl_fault_set(&s->fault, TF_E_THREAD_UNSUPPORTED_REQUEST, "thread", NULL);
	return TF_E_INVAL;
}

static int
in_settings(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;

	switch ((enum messages_field)v->id) {
	case MESSAGES_MAX_TOKENS:
		h->max_tokens = dl_range_member(v->hit);
		return js_get_u64(v->text, &h->max_output) < 0 ? dl_scan_refuse(s, v, "is out of range") : 0;
	case MESSAGES_STREAM:
		h->stream = v->text.p[0] == 't';
		h->needs |= h->stream ? DL_NEED_STREAM : 0;
		h->stream_at = dl_range_value(v->hit);
		return 0;
	case MESSAGES_THINKING:
		if (v->hit->type == JS_OBJECT && !(s->messages.seen & MESSAGES_SEEN_THINKING_TYPE))
			return dl_scan_refuse_at(s, "thinking.type", "thinking.type is required.");
		return 0;
	case MESSAGES_THINKING_TYPE:
		return on_thinking(s, v);
	case MESSAGES_EFFORT:
		h->needs |= v->hit->type == JS_STRING ? DL_NEED_REASONING : 0;
		return 0;
	case MESSAGES_FORMAT:
	case MESSAGES_FORMAT_TYPE:
	case MESSAGES_FORMAT_SCHEMA:
	case MESSAGES_OLD_FORMAT:
	case MESSAGES_OLD_FORMAT_TYPE:
	case MESSAGES_OLD_FORMAT_SCHEMA:
		return on_format(s, v);
	case MESSAGES_CONTAINER:
	case MESSAGES_THREAD:
	case MESSAGES_MCP_SERVERS:
	case MESSAGES_COMPACTION:
		return refused(s, v);
	default:
		return 0;
	}
}

static int
messages_value(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;

	switch ((enum messages_field)v->id) {
	case MESSAGES_ROOT:
		h->root = dl_range_value(v->hit);
		return 0;
	case MESSAGES_MODEL:
		return dl_scan_model(s, v);
	case MESSAGES_MESSAGES:
		s->messages.seen |= MESSAGES_SEEN_MESSAGES;
		h->messages = v->hit->count;
		h->prompt_bytes += v->hit->text;
		return 0;
	case MESSAGES_SYSTEM:
		h->prompt_bytes += v->hit->text;
		return 0;
	case MESSAGES_MESSAGE:
		return on_message(s, v);
	case MESSAGES_ROLE:
		return on_role(s, v);
	case MESSAGES_CONTENT:
		s->messages.content = true;
		return 0;
	case MESSAGES_BLOCK:
		return on_block(s, v);
	default:
		break;
	}
	if (v->id >= MESSAGES_TYPE && v->id <= MESSAGES_RESULT_DATA)
		return in_block(s, v);
	return v->id >= MESSAGES_TOOLS && v->id <= MESSAGES_CHOICE_ONE ? in_tools(s, v) : in_settings(s, v);
}

/* ---- the end ----------------------------------------------------------------------------- */

static int
end_choice(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_messages *m = &s->messages;
	struct tf_span want = tf_span(body.p + m->choice_name.start, m->choice_name.end - m->choice_name.start);
	struct tf_span el, name, type;
	struct js_iter it;

	if (m->choice != CHOICE_ANY && m->choice != CHOICE_TOOL)
		return 0;
	if (s->head.tools == 0)
		return dl_scan_refuse_at(s, "tool_choice", "tool_choice asks for a call but there are no tools.");
	if (m->choice == CHOICE_ANY)
		return 0;
	if (want.n == 0)
		return dl_scan_refuse_at(s, "tool_choice.name", "tool_choice.name is required.");
	js_iter_init(&it, tf_span(body.p + m->tools.start, m->tools.end - m->tools.start));
	while (js_iter_next(&it, NULL, &el)) {
		if (js_member(el, "type", &type) && messages_tool_kind(type) == MESSAGES_TOOL_SERVER)
			continue;
		/* names are plain, so equal texts are equal names */
		if (js_member(el, "name", &name) && tf_span_eq(name, want))
			return 0;
	}
	return dl_scan_refuse_at(s, "tool_choice.name", "tool_choice names a tool that is not in tools.");
}

static int
messages_end(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_messages *m = &s->messages;
	struct dl_head *h = &s->head;

	if (h->model_at.end == 0)
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(m->seen & MESSAGES_SEEN_MESSAGES))
		return dl_scan_refuse_at(s, "messages", "messages is required.");
	if (h->max_output == 0 && !s->count)
		return dl_scan_refuse_at(s, "max_tokens", "max_tokens is required.");
	if (end_choice(s, body) < 0)
		return TF_E_INVAL;
	h->needs |= DL_NEED_CHAT;
	dl_scan_prefix_end(s, tf_span(body.p + m->tools.start, m->tools.end - m->tools.start));
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help) { path, types, low, high, class, flags, help },
#include "common/dialect/fields_anthropic_messages.def"
#undef FIELD
};

const struct dl_fields messages_fields = { rows, TF_LEN(rows), messages_value, messages_end };
