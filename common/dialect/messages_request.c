/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes a messages request, which the scan has accepted, into the canonical request: settings and
 * tools; the conversation is messages_turns.c. What only hosted models know (caching, places,
 * typed tools) is left out. Called by xlate.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/messages.h"

static int
take_str(struct dl_request *rq, struct tf_span object, const char *name, struct tf_span *out)
{
	struct tf_span v;

	return js_member(object, name, &v) && js_type(v) == JS_STRING ? dl_rq_str(rq, v, out) : 0;
}

static void
take_num(struct tf_span body, const char *name, struct dl_num *out)
{
	struct tf_span v;

	out->set = js_member(body, name, &v) && js_type(v) == JS_NUMBER && js_get_double(v, &out->v) == 0;
}

/* ---- system ------------------------------------------------------------------------------ */

/* A line for the vendor's accounts that differs with every request, so no prefix would ever be cached. */
static bool
is_accounting(struct tf_span block)
{
	static const char mark[] = "\"x-anthropic-billing-header:";
	struct tf_span v;

	return js_member(block, "text", &v) && v.n >= sizeof mark && memcmp(v.p, mark, sizeof mark - 1) == 0;
}

static int
system_text(struct tf_span v, struct tf_buf *text)
{
	struct js_iter it;
	struct tf_span el;
	size_t from;
	int r = 0;

	if (js_type(v) == JS_STRING)
		return js_str_append(v, text);
	js_iter_init(&it, v);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		struct tf_span part;

		if (is_accounting(el) || !js_member(el, "text", &part) || part.n <= 2)
			continue;
		from = text->n;
		if (from > 0)
			r = tf_buf_addstr(text, "\n\n");
		if (r == 0)
			r = js_str_append(part, text);
	}
	return r;
}

static int
system_turn(struct dl_request *rq, struct tf_span body)
{
	struct tf_buf text = { 0 };
	struct dl_turn *turn;
	struct dl_part *p;
	struct tf_span v;
	bool some = false;
	int r;

	if (!js_member(body, "system", &v))
		return 0;
	r = system_text(v, &text);
	for (size_t i = 0; r == 0 && i < text.n; i++)
		some = some || strchr(" \t\r\n", text.p[i]) == NULL;
	if (r == 0 && some) {
		turn = dl_rq_turn(rq, DL_ROLE_SYSTEM);
		p = turn != NULL ? dl_rq_part(rq, &turn->parts, &turn->last, DL_PART_TEXT) : NULL;
		if (p != NULL)
			p->text = dl_arena_dup(&rq->arena, tf_buf_span(&text));
		r = p != NULL && p->text.p != NULL ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&text);
	return r;
}

/* ---- tools ------------------------------------------------------------------------------- */

/* Declared only so that clients which load tools later have something to name. */
static bool
is_placeholder(struct tf_span tool)
{
	struct tf_span v;

	return js_member(tool, "defer_loading", &v) && v.p[0] == 't' &&
	    (!js_member(tool, "description", &v) || js_is_null(v) || v.n == 2);
}

static int
tool(struct dl_request *rq, struct tf_span el)
{
	struct tf_span v, type;
	struct dl_tool *t;
	bool b, own;
	int r;

	own = js_member(el, "type", &type) && messages_tool_kind(type) != MESSAGES_TOOL_CLIENT;

	if (is_placeholder(el) || (own && messages_tool_kind(type) == MESSAGES_TOOL_SERVER))
		return 0;
	t = dl_rq_tool(rq, DL_TOOL_FUNCTION);
	if (t == NULL)
		return TF_E_NOMEM;
	r = js_member(el, "name", &v) ? messages_name(rq, v, &t->name) : 0;
	if (own && r == 0)
		return messages_known_tool(rq, type, el, t);
	if (r == 0)
		r = take_str(rq, el, "description", &t->description);
	t->schema = TF_SPAN("{\"type\":\"object\",\"properties\":{}}");
	/* a schema without a type: anything goes, or the place of one that was left out */
	if (js_member(el, "input_schema", &v) && js_type(v) == JS_OBJECT &&
	    (js_member(v, "type", &type) || js_member(v, "properties", &type) || js_member(v, "$ref", &type)))
		t->schema = v;
	if (js_member(el, "strict", &v) && js_get_bool(v, &b) == 0)
		t->strict = b ? DL_YES : DL_NO;
	return r;
}

static int
tools(struct dl_request *rq, struct tf_span body)
{
	struct dl_tool_choice *c = &rq->choice;
	struct tf_span v, el;
	struct js_iter it;
	int r = 0;

	if (js_member(body, "tools", &v)) {
		js_iter_init(&it, v);
		while (r == 0 && js_iter_next(&it, NULL, &el))
			r = tool(rq, el);
	}
	if (r < 0 || !js_member(body, "tool_choice", &el) || !js_member(el, "type", &v))
		return r;
	c->mode = js_str_eq(v, "auto") ? DL_CHOICE_AUTO
	    : js_str_eq(v, "any")      ? DL_CHOICE_REQUIRED
	    : js_str_eq(v, "none")     ? DL_CHOICE_NONE
				       : DL_CHOICE_NAMED;
	if (js_member(el, "disable_parallel_tool_use", &v) && v.p[0] == 't' && c->mode != DL_CHOICE_NONE)
		c->parallel = DL_NO;
	return c->mode == DL_CHOICE_NAMED && js_member(el, "name", &v) ? messages_name(rq, v, &c->name) : 0;
}

/* ---- settings ---------------------------------------------------------------------------- */

/* Steps above high are not known to runtimes: the highest they know is meant. */
static struct tf_span
effort(struct tf_span v)
{
	static const char *const known[] = { "low", "medium", "high" };

	for (size_t i = 0; i < TF_LEN(known); i++)
		if (js_str_eq(v, known[i]))
			return tf_cspan(known[i]);
	return js_str_eq(v, "xhigh") || js_str_eq(v, "max") ? TF_SPAN("high") : tf_span(NULL, 0);
}

static void
thinking(struct dl_request *rq, struct tf_span body)
{
	struct dl_thinking *t = &rq->thinking;
	struct tf_span v;

	if (js_at(body, "output_config.effort", &v))
		t->effort = effort(v);
	if (!js_at(body, "thinking.type", &v))
		return;
	t->on = js_str_eq(v, "enabled") || js_str_eq(v, "adaptive") ? DL_YES : DL_NO;
	if (t->on == DL_NO) {
		t->effort = tf_span(NULL, 0);
		return;
	}
	if (js_at(body, "thinking.budget_tokens", &v) && (js_type(v) != JS_NUMBER || js_get_u64(v, &t->budget) < 0))
		t->budget = 0;
	if (t->effort.n > 0)
		return;
	if (t->budget == 0)
		t->effort = TF_SPAN("medium");
	else
		t->effort = t->budget <= 2048 ? TF_SPAN("low") : t->budget <= 8192 ? TF_SPAN("medium") : TF_SPAN("high");
}

#define USER_MAX 64 /* longest name of a user that hosted endpoints take, bytes */

/* Some clients put a whole JSON object there. */
static int
user_id(struct dl_request *rq, struct tf_span body)
{
	char hex[2 * TF_SHA256 + 1];
	uint8_t hash[TF_SHA256];
	struct tf_span v;
	int r;

	if (!js_at(body, "metadata.user_id", &v) || js_type(v) != JS_STRING)
		return 0;
	r = dl_rq_str(rq, v, &rq->user);
	if (r < 0 || rq->user.n <= USER_MAX)
		return r;
	tf_sha256(rq->user.p, rq->user.n, hash);
	tf_hex(hash, sizeof hash, hex);
	rq->user = dl_arena_dup(&rq->arena, tf_cspan(hex));
	return rq->user.p != NULL ? 0 : TF_E_NOMEM;
}

static void
format(struct dl_request *rq, struct tf_span body)
{
	struct dl_response_format *f = &rq->format;

	if (!js_at(body, "output_config.format.schema", &f->schema) && !js_at(body, "output_format.schema", &f->schema))
		return;
	f->kind = DL_FORMAT_SCHEMA;
	f->name = TF_SPAN("output");
	f->strict = DL_YES;
}

int
messages_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f)
{
	struct tf_span v;
	int r = take_str(rq, body, "model", &rq->model);

	if (r == 0 && js_member(body, "max_tokens", &v) && js_get_u64(v, &rq->max_output) < 0)
		rq->max_output = 0;
	rq->stream = js_member(body, "stream", &v) && v.p[0] == 't';
	take_num(body, "temperature", &rq->sampling.temperature);
	take_num(body, "top_p", &rq->sampling.top_p);
	take_num(body, "top_k", &rq->sampling.top_k);
	thinking(rq, body);
	format(rq, body);
	if (r == 0 && js_member(body, "stop_sequences", &v))
		r = dl_rq_stop(rq, v);
	if (r == 0)
		r = user_id(rq, body);
	if (r == 0)
		r = tools(rq, body);
	if (r == 0)
		r = system_turn(rq, body);
	if (r == 0 && js_member(body, "messages", &v))
		r = messages_turns(rq, v, f);
	return r;
}
