/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan makes of the fields of a chat request: the facts of the head, and the rules that
 * types and ranges cannot say (fields_openai_chat.def has those). Called by scan.c for each value
 * in the order of the text; must not depend on that order.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/chat.h"

enum {
	CHAT_SEEN_MODEL = 1,
	CHAT_SEEN_MESSAGES = 2,
	CHAT_SEEN_LOGPROBS = 4,
	CHAT_SEEN_TOP_LOGPROBS = 8,
	CHAT_SEEN_CHOICE_FORCED = 16,
	CHAT_SEEN_FORMAT_TYPE = 32,
	CHAT_SEEN_FORMAT_SCHEMA = 64,
	CHAT_SEEN_FORMAT_NAME = 128,
	CHAT_SEEN_FUNCTIONS = 256,
};
enum {
	CHAT_BIT_CALL_OF = 1,
	CHAT_BIT_TYPE = 2,  /* of a content part */
	CHAT_BIT_IMAGE = 4, /* its type says so */
	CHAT_BIT_URL = 8,
	CHAT_BIT_TOOL_TYPE = 16,
	CHAT_BIT_TOOL_CUSTOM = 32,
	CHAT_BIT_TOOL_NAME = 64,
	CHAT_BIT_CALL_NAME = 128,
};
enum {
	ROLE_NONE,
	ROLE_SYSTEM,
	ROLE_DEVELOPER,
	ROLE_USER,
	ROLE_ASSISTANT,
	ROLE_TOOL,
	ROLE_FUNCTION
};

/* ---- messages ---------------------------------------------------------------------------- */

static int
on_role(struct dl_scan *s, const struct dl_value *v)
{
	static const char *const roles[] = {
		[ROLE_SYSTEM] = "system",
		[ROLE_DEVELOPER] = "developer",
		[ROLE_USER] = "user",
		[ROLE_ASSISTANT] = "assistant",
		[ROLE_TOOL] = "tool",
		[ROLE_FUNCTION] = "function",
	};

	for (uint8_t i = ROLE_SYSTEM; i < TF_LEN(roles); i++) {
		if (!js_str_eq(v->text, roles[i]))
			continue;
		s->chat.role = i;
		if (i == ROLE_DEVELOPER)
			s->head.flags |= DL_HEAD_DEVELOPER;
		if (i == ROLE_FUNCTION)
			s->head.flags |= DL_HEAD_LEGACY;
		return 0;
	}
	return dl_scan_refuse(
	    s, v, "must be one of system, developer, user, assistant, tool, function");
}

static int
on_part(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_chat *c = &s->chat;
	unsigned bits = c->bits;

	c->bits &= (uint8_t) ~(CHAT_BIT_TYPE | CHAT_BIT_IMAGE | CHAT_BIT_URL);
	if (!(bits & CHAT_BIT_TYPE))
		return dl_scan_refuse(s, v, "has no type");
	if ((bits & CHAT_BIT_IMAGE) && !(bits & CHAT_BIT_URL))
		return dl_scan_refuse(s, v, "is an image without image_url.url");
	return 0;
}

static int
on_part_type(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;

	s->chat.bits |= CHAT_BIT_TYPE;
	if (js_str_eq(v->text, "image_url")) {
		s->chat.bits |= CHAT_BIT_IMAGE;
		h->images++;
		h->needs |= DL_NEED_VISION;
	} else if (js_str_eq(v->text, "input_audio")) {
		h->audios++;
		h->needs |= DL_NEED_AUDIO_IN;
	} else if (js_str_eq(v->text, "file")) {
		h->files++;
		h->needs |= DL_NEED_FILES;
	}
	return 0;
}

static int
message_ends(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_chat *c = &s->chat;
	unsigned i = v->hit->index[0];
	char param[DL_PARAM_MAX];

	if (c->role == ROLE_NONE) {
		snprintf(param, sizeof param, "messages[%u].role", i);
		return dl_scan_refuse_at(s, param, "%s is required.", param);
	}
	snprintf(param, sizeof param, "messages[%u].content", i);
	if (c->role != ROLE_ASSISTANT && c->role != ROLE_FUNCTION && c->content != JS_STRING &&
	    c->content != JS_ARRAY)
		return dl_scan_refuse_at(s, param, "%s must be a string or an array.", param);
	snprintf(param, sizeof param, "messages[%u].tool_call_id", i);
	if (c->role == ROLE_TOOL && !(c->bits & CHAT_BIT_CALL_OF))
		return dl_scan_refuse_at(
		    s, param, "%s is required in a message of role tool.", param);
	dl_scan_prefix(s, v->text);
	return 0;
}

static int
on_message(struct dl_scan *s, const struct dl_value *v)
{
	if (!v->hit->begin)
		return message_ends(s, v);
	s->chat.role = ROLE_NONE;
	s->chat.content = JS_NONE;
	s->chat.bits = 0;
	return 0;
}

/* Values inside messages. */
static int
in_message(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_chat *c = &s->chat;
	bool some = v->hit->type != JS_NULL;

	switch ((enum chat_field)v->id) {
	case CHAT_MESSAGE:
		return on_message(s, v);
	case CHAT_ROLE:
		return on_role(s, v);
	case CHAT_CONTENT:
		c->content = (uint8_t)v->hit->type;
		return 0;
	case CHAT_PART:
		return on_part(s, v);
	case CHAT_PART_TYPE:
		return on_part_type(s, v);
	case CHAT_PART_URL:
		c->bits |= CHAT_BIT_URL;
		return 0;
	case CHAT_PART_FILE_ID:
		return js_type(v->text) == JS_NULL
		    ? 0
		    : dl_scan_refuse(s, v, "names a stored file; send the file itself as file_data");
	case CHAT_PART_IMAGE:
		if (v->hit->type == JS_STRING)
			c->bits |= CHAT_BIT_URL;
		return 0;
	case CHAT_CALL_NAME:
		c->bits |= CHAT_BIT_CALL_NAME;
		return 0;
	case CHAT_CALL_FUNCTION:
		if (!(c->bits & CHAT_BIT_CALL_NAME))
			return dl_scan_refuse(s, v, "has no name");
		c->bits &= (uint8_t)~CHAT_BIT_CALL_NAME;
		return 0;
	case CHAT_CALL_CUSTOM:
		s->head.flags |= DL_HEAD_CUSTOM;
		return 0;
	case CHAT_CALL_OF:
		if (some)
			c->bits |= CHAT_BIT_CALL_OF;
		return 0;
	case CHAT_OLD_CALL:
		s->head.flags |= some ? DL_HEAD_LEGACY : 0;
		return 0;
	case CHAT_THOUGHT_DETAILS:
		if (v->hit->type == JS_ARRAY && v->hit->count > 0)
			s->head.flags |= DL_HEAD_REASONING;
		return 0;
	case CHAT_THOUGHT:
	case CHAT_THOUGHT_2:
		if (v->hit->type == JS_STRING && v->hit->text > 0)
			s->head.flags |= DL_HEAD_REASONING;
		return 0;
	default:
		return 0;
	}
}

/* ---- tools ------------------------------------------------------------------------------- */

static int
on_tool(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_chat *c = &s->chat;

	if (v->hit->begin) {
		c->bits = 0;
		return 0;
	}
	if (!(c->bits & CHAT_BIT_TOOL_TYPE))
		return dl_scan_refuse(s, v, "has no type");
	if (!(c->bits & CHAT_BIT_TOOL_NAME))
		return dl_scan_refuse(
		    s, v, "has no %s.name", c->bits & CHAT_BIT_TOOL_CUSTOM ? "custom" : "function");
	return 0;
}

static int
on_choice(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_chat *c = &s->chat;

	c->choice_member = dl_range_member(v->hit);
	if (v->hit->type == JS_OBJECT) {
		c->choice = dl_range_value(v->hit);
		s->head.flags |= DL_HEAD_NAMED;
	}
	if (v->hit->type != JS_STRING || js_str_eq(v->text, "auto") || js_str_eq(v->text, "none"))
		return 0;
	if (!js_str_eq(v->text, "required"))
		return dl_scan_refuse(s, v, "must be none, auto, required or an object");
	c->seen |= CHAT_SEEN_CHOICE_FORCED;
	return 0;
}

static int
on_tools(struct dl_scan *s, const struct dl_value *v, bool legacy)
{
	struct dl_head *h = &s->head;

	if (v->hit->type != JS_ARRAY)
		return 0;
	if (v->hit->count == 0)
		return dl_scan_member(s, DL_WHY_EMPTY, v->hit);
	h->tools += v->hit->count;
	h->needs |= DL_NEED_TOOLS;
	h->prompt_bytes += v->text.n;
	s->chat.tools = dl_range_value(v->hit);
	if (legacy) {
		h->flags |= DL_HEAD_LEGACY;
		s->chat.seen |= CHAT_SEEN_FUNCTIONS;
	}
	return 0;
}

static int
in_tools(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_chat *c = &s->chat;

	switch ((enum chat_field)v->id) {
	case CHAT_TOOLS:
		return on_tools(s, v, false);
	case CHAT_TOOL:
		return on_tool(s, v);
	case CHAT_TOOL_TYPE:
		if (!js_str_eq(v->text, "function") && !js_str_eq(v->text, "custom"))
			return dl_scan_refuse(s, v, "must be function or custom");
		c->bits |= CHAT_BIT_TOOL_TYPE;
		if (js_str_eq(v->text, "custom")) {
			c->bits |= CHAT_BIT_TOOL_CUSTOM;
			s->head.flags |= DL_HEAD_CUSTOM;
		}
		return 0;
	case CHAT_TOOL_NAME:
	case CHAT_TOOL_CUSTOM_NAME:
		c->bits |= CHAT_BIT_TOOL_NAME;
		return dl_scan_name(s, v);
	case CHAT_CHOICE:
		return on_choice(s, v);
	case CHAT_CHOICE_TYPE:
		if (!js_str_eq(v->text, "function") && !js_str_eq(v->text, "custom") &&
		    !js_str_eq(v->text, "allowed_tools"))
			return dl_scan_refuse(s, v, "must be function, custom or allowed_tools");
		if (js_str_eq(v->text, "allowed_tools"))
			s->head.flags |= DL_HEAD_ALLOWED;
		return 0;
	case CHAT_PARALLEL:
		c->parallel_member = dl_range_member(v->hit);
		if (v->text.p[0] == 'f')
			s->head.flags |= DL_HEAD_ONE_CALL;
		return 0;
	case CHAT_FUNCTIONS:
		return on_tools(s, v, true);
	case CHAT_FUNCTION_NAME:
		return dl_scan_name(s, v);
	case CHAT_FUNCTION_CALL:
		if (v->hit->type == JS_STRING && !js_str_eq(v->text, "none") &&
		    !js_str_eq(v->text, "auto"))
			return dl_scan_refuse(s, v, "must be none, auto or an object");
		s->head.flags |= v->hit->type != JS_NULL ? DL_HEAD_LEGACY : 0;
		return 0;
	default:
		return 0;
	}
}

/* ---- settings ---------------------------------------------------------------------------- */

static int
on_format(struct dl_scan *s, const struct dl_value *v)
{
	unsigned seen = s->chat.seen;

	if (v->hit->type != JS_OBJECT)
		return 0;
	if (!(seen & CHAT_SEEN_FORMAT_TYPE))
		return dl_scan_refuse_at(
		    s, "response_format.type", "response_format.type is required.");
	if ((seen & CHAT_SEEN_FORMAT_SCHEMA) && !(seen & CHAT_SEEN_FORMAT_NAME))
		return dl_scan_refuse_at(s, "response_format.json_schema.name",
		    "response_format.json_schema.name is required.");
	if (s->head.needs & DL_NEED_SCHEMA)
		s->head.prompt_bytes += v->text.n;
	return 0;
}

static int
on_format_type(struct dl_scan *s, const struct dl_value *v)
{
	s->chat.seen |= CHAT_SEEN_FORMAT_TYPE;
	if (js_str_eq(v->text, "json_object")) {
		s->head.needs |= DL_NEED_JSON;
	} else if (js_str_eq(v->text, "json_schema")) {
		s->head.needs |= DL_NEED_SCHEMA;
		s->chat.seen |= CHAT_SEEN_FORMAT_SCHEMA;
	} else if (!js_str_eq(v->text, "text")) {
		return dl_scan_refuse(s, v, "must be text, json_object or json_schema");
	}
	return 0;
}

static int
on_cap(struct dl_scan *s, const struct dl_value *v)
{
	bool completion = v->id == CHAT_MAX_COMPLETION;
	uint64_t n = 0;

	if (v->hit->type == JS_NUMBER && js_get_u64(v->text, &n) < 0)
		return dl_scan_refuse(s, v, "is out of range");
	if (completion) {
		s->chat.max_completion = n;
		s->head.max_completion = dl_range_member(v->hit);
	} else {
		s->chat.max_tokens = n;
		s->head.max_tokens = dl_range_member(v->hit);
	}
	return 0;
}

static int
on_count(struct dl_scan *s, const struct dl_value *v)
{
	uint64_t n;

	if (v->hit->type != JS_NUMBER || js_get_u64(v->text, &n) < 0)
		return 0;
	if (v->id == CHAT_TOP_LOGPROBS) {
		s->chat.seen |= n > 0 ? CHAT_SEEN_TOP_LOGPROBS : 0;
		return 0;
	}
	s->head.n = (uint32_t)n;
	s->head.needs |= n > 1 ? DL_NEED_N : 0;
	return 0;
}

static int
on_text_setting(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;

	if (v->hit->type != JS_STRING)
		return 0;
	switch ((enum chat_field)v->id) {
	case CHAT_EFFORT:
		h->needs |= js_str_eq(v->text, "none") ? 0 : DL_NEED_REASONING;
		h->flags |= DL_HEAD_EFFORT;
		if (js_str_eq(v->text, "none") || js_str_eq(v->text, "minimal"))
			h->flags |= DL_HEAD_NO_EFFORT;
		return 0;
	case CHAT_CACHE_KEY:
		h->affinity = v->hit->text > 0 ? tf_hash(v->text, 1) | 1 : 0;
		return 0;
	case CHAT_MODALITY:
		if (js_str_eq(v->text, "audio"))
			h->needs |= DL_NEED_AUDIO_OUT;
		else if (!js_str_eq(v->text, "text"))
			return dl_scan_refuse(s, v, "must be text or audio");
		return 0;
	default:
		return 0;
	}
}

static int
in_settings(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;
	bool yes = v->text.n > 0 && v->text.p[0] == 't';

	switch ((enum chat_field)v->id) {
	case CHAT_STREAM:
		h->stream = yes;
		h->needs |= yes ? DL_NEED_STREAM : 0;
		h->stream_at = dl_range_value(v->hit);
		return 0;
	case CHAT_OPTIONS:
		h->options = dl_range_member(v->hit);
		return 0;
	case CHAT_INCLUDE_USAGE:
		h->include_usage = yes;
		return 0;
	case CHAT_MAX_COMPLETION:
	case CHAT_MAX_TOKENS:
		return on_cap(s, v);
	case CHAT_STOP_ONE:
		if (v->hit->index[0] >= DL_STOPS_HOSTED)
			s->head.flags |= DL_HEAD_STOPS;
		return 0;
	case CHAT_N:
	case CHAT_TOP_LOGPROBS:
		return on_count(s, v);
	case CHAT_LOGPROBS:
		s->chat.seen |= yes ? CHAT_SEEN_LOGPROBS : 0;
		h->needs |= yes ? DL_NEED_LOGPROBS : 0;
		return 0;
	case CHAT_FORMAT:
		return on_format(s, v);
	case CHAT_FORMAT_TYPE:
		return on_format_type(s, v);
	case CHAT_FORMAT_NAME:
		s->chat.seen |= CHAT_SEEN_FORMAT_NAME;
		return dl_scan_name(s, v);
	case CHAT_TEMPLATE_ARGS:
		h->flags |= v->hit->type != JS_NULL ? DL_HEAD_TEMPLATE : 0;
		return 0;
	case CHAT_METADATA:
		h->flags |= v->hit->type == JS_OBJECT ? DL_HEAD_METADATA : 0;
		return 0;
	default:
		return on_text_setting(s, v);
	}
}

static int
chat_value(struct dl_scan *s, const struct dl_value *v)
{
	switch ((enum chat_field)v->id) {
	case CHAT_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case CHAT_MODEL:
		s->chat.seen |= CHAT_SEEN_MODEL;
		return dl_scan_model(s, v);
	case CHAT_INPUT:
		return s->mixed == DL_MIXED_CHAT && !(s->chat.seen & CHAT_SEEN_MESSAGES) ? TF_E_AGAIN : 0;
	case CHAT_MESSAGES:
		s->chat.seen |= CHAT_SEEN_MESSAGES;
		s->head.messages = v->hit->count;
		s->head.prompt_bytes += v->hit->text;
		return 0;
	default:
		break;
	}
	if (v->id >= CHAT_MESSAGE && v->id <= CHAT_THOUGHT_DETAILS)
		return in_message(s, v);
	if ((v->id >= CHAT_TOOLS && v->id <= CHAT_PARALLEL) ||
	    (v->id >= CHAT_FUNCTIONS && v->id <= CHAT_FUNCTION_CALL))
		return in_tools(s, v);
	return in_settings(s, v);
}

/* ---- the end ----------------------------------------------------------------------------- */

static bool
tool_declared(struct tf_span tools, struct tf_span name)
{
	struct tf_span tool, declared;
	struct js_iter it;

	js_iter_init(&it, tools);
	while (js_iter_next(&it, NULL, &tool)) {
		bool found = js_at(tool, "function.name", &declared) ||
		    js_at(tool, "custom.name", &declared);

		/* names are plain, so equal texts are equal names */
		if (found && tf_span_eq(declared, name))
			return true;
	}
	return false;
}

/* tool_choice against tools. */
static int
end_choice(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_chat *c = &s->chat;
	struct tf_span choice = tf_span(body.p + c->choice.start, c->choice.end - c->choice.start);
	struct tf_span tools = tf_span(body.p + c->tools.start, c->tools.end - c->tools.start),
		       name;
	struct js_hit hit = { .key = c->choice_member.start, .end = c->choice_member.end };
	bool none = s->head.tools == 0 || (c->seen & CHAT_SEEN_FUNCTIONS);

	if (choice.n > 0 &&
	    (js_at(choice, "function.name", &name) || js_at(choice, "custom.name", &name))) {
		if (none || !tool_declared(tools, name))
			return dl_scan_refuse_at(
			    s, "tool_choice", "tool_choice names a tool that is not in tools.");
		return 0;
	}
	if (!none)
		return 0;
	if (choice.n > 0 || (c->seen & CHAT_SEEN_CHOICE_FORCED))
		return dl_scan_refuse_at(
		    s, "tool_choice", "tool_choice asks for a call but there are no tools.");
	if (hit.end > 0 && dl_scan_member(s, DL_WHY_EMPTY, &hit) < 0)
		return TF_E_INVAL;
	hit.key = c->parallel_member.start;
	hit.end = c->parallel_member.end;
	return hit.end > 0 ? dl_scan_member(s, DL_WHY_EMPTY, &hit) : 0;
}

static int
chat_end(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_chat *c = &s->chat;
	struct dl_head *h = &s->head;

	if (!(c->seen & CHAT_SEEN_MODEL))
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(c->seen & CHAT_SEEN_MESSAGES))
		return dl_scan_refuse_at(s, "messages", "messages is required.");
	if ((c->seen & CHAT_SEEN_TOP_LOGPROBS) && !(c->seen & CHAT_SEEN_LOGPROBS))
		return dl_scan_refuse_at(
		    s, "top_logprobs", "top_logprobs needs logprobs to be true.");
	if (end_choice(s, body) < 0)
		return TF_E_INVAL;
	h->needs |= DL_NEED_CHAT;
	h->max_output = c->max_completion != 0 ? c->max_completion : c->max_tokens;
	dl_scan_prefix_end(s, tf_span(body.p + c->tools.start, c->tools.end - c->tools.start));
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help)                                     \
	{ path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_chat.def"
#undef FIELD
};

const struct dl_fields chat_fields = { rows, TF_LEN(rows), chat_value, chat_end };

const struct dl_field *
chat_field_by_name(struct tf_span name)
{
	for (size_t i = 0; i < TF_LEN(rows); i++)
		if (tf_span_is(name, rows[i].path))
			return &rows[i];
	return NULL;
}
