/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a chat request as canonical turns: their content, calls and results, and reasoning that a client
 * brings back. Called by chat_request.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat_request.h"

/* ---- content ----------------------------------------------------------------------------- */

static int
image_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_part *p = to;

	if (js_str_eq(key, "url"))
		return chat_take_str(rq, v, &p->url);
	if (js_str_eq(key, "detail"))
		return chat_take_str(rq, v, &p->detail);
	return 0;
}

static int
audio_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_part *p = to;

	if (js_str_eq(key, "data"))
		return chat_take_str(rq, v, &p->data);
	if (js_str_eq(key, "format"))
		return chat_take_str(rq, v, &p->media);
	return 0;
}

static int
file_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_part *p = to;

	if (js_str_eq(key, "file_data"))
		return chat_take_str(rq, v, &p->data);
	if (js_str_eq(key, "file_id"))
		return chat_take_str(rq, v, &p->id);
	if (js_str_eq(key, "filename"))
		return chat_take_str(rq, v, &p->name);
	return 0;
}

static int
part_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	static const struct {
		enum dl_part_kind kind;
		const char *key;
		int text; /* where a plain string goes: 0 text, 1 url */
		chat_member_fn *fn;
	} holders[] = {
		{ DL_PART_TEXT, "text", 0, NULL },
		{ DL_PART_REFUSAL, "refusal", 0, NULL },
		{ DL_PART_IMAGE, "image_url", 1, image_member },
		{ DL_PART_AUDIO, "input_audio", 1, audio_member },
		{ DL_PART_FILE, "file", 1, file_member },
	};
	struct dl_part *p = to;
	int r;

	if (js_str_eq(key, "type"))
		return 1;
	for (size_t i = 0; i < TF_LEN(holders); i++) {
		if (p->kind != holders[i].kind || !js_str_eq(key, holders[i].key))
			continue;
		if (js_type(v) == JS_STRING)
			return chat_take_str(rq, v, holders[i].text == 0 ? &p->text : &p->url);
		r = holders[i].fn != NULL ? chat_members(rq, v, holders[i].fn, p, NULL) : 0;
		return r < 0 ? r : 1;
	}
	return p->kind == DL_PART_RAW;
}

static enum dl_part_kind
part_kind(struct tf_span part)
{
	static const struct {
		const char *type;
		enum dl_part_kind kind;
	} kinds[] = {
		{ "text", DL_PART_TEXT },
		{ "image_url", DL_PART_IMAGE },
		{ "input_audio", DL_PART_AUDIO },
		{ "file", DL_PART_FILE },
		{ "refusal", DL_PART_REFUSAL },
	};
	struct tf_span type;

	for (size_t i = 0; i < TF_LEN(kinds); i++)
		if (js_member(part, "type", &type) && js_str_eq(type, kinds[i].type))
			return kinds[i].kind;
	return DL_PART_RAW;
}

static int
content(struct dl_request *rq, struct tf_span v, struct dl_part **first, struct dl_part **last)
{
	struct dl_part *p;
	struct tf_span el;
	struct js_iter it;
	int r = 0;

	if (js_type(v) == JS_STRING) {
		p = dl_rq_part(rq, first, last, DL_PART_TEXT);
		return p != NULL ? dl_rq_str(rq, v, &p->text) : TF_E_NOMEM;
	}
	js_iter_init(&it, v);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		p = dl_rq_part(rq, first, last, part_kind(el));
		if (p == NULL)
			return TF_E_NOMEM;
		if (p->kind == DL_PART_RAW)
			p->text = el;
		else
			r = chat_members(rq, el, part_member, p, &p->extras);
	}
	return r;
}

/* ---- messages ---------------------------------------------------------------------------- */

/* Runtimes of this API take any name in history, others those that a tool can have. */
static int
plain_name(struct dl_request *rq, struct tf_span *name)
{
	struct tf_buf plain = { 0 };
	int r = tf_buf_addspan(&plain, *name);

	if (r == 0)
		r = dl_plain_name(&plain, 0);
	if (r == 0 && !tf_span_eq(tf_buf_span(&plain), *name)) {
		*name = dl_arena_dup(&rq->arena, tf_buf_span(&plain));
		r = name->p != NULL ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&plain);
	return r;
}

static int
call(struct dl_request *rq, struct dl_turn *t, struct tf_span el)
{
	struct dl_part *p = dl_rq_part(rq, &t->parts, &t->last, DL_PART_CALL);
	struct tf_span v, fn = el;
	int r;

	if (p == NULL)
		return TF_E_NOMEM;
	if (js_member(el, "custom", &v))
		p->tool = DL_TOOL_CUSTOM;
	if (p->tool == DL_TOOL_CUSTOM || js_member(el, "function", &v))
		fn = v;
	r = js_member(el, "id", &v) ? chat_take_str(rq, v, &p->id) : 0;
	if (r >= 0 && js_member(fn, "name", &v))
		r = chat_take_str(rq, v, &p->name);
	if (r >= 0 && js_member(fn, p->tool == DL_TOOL_CUSTOM ? "input" : "arguments", &v))
		r = chat_take_str(rq, v, &p->text);
	/* the same goes for a call of nothing */
	if (p->name.n == 0)
		p->name = TF_SPAN("function");
	/* the older form has no ids, and some clients leave them out: name and place stand in for them */
	if (p->id.n == 0)
		p->id = p->name;
	if (r >= 0)
		r = rq->native ? 0 : plain_name(rq, &p->name);
	return r;
}

struct message {
	struct dl_turn *turn;
	struct dl_part *result;
	struct tf_span content, calls, old_call, reasoning, details, refusal;
};

static int
message_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct message *m = to;

	if (js_str_eq(key, "role"))
		return 1;
	if (js_str_eq(key, "content")) {
		m->content = v;
		return 1;
	}
	if (js_str_eq(key, "name"))
		return chat_take_str(rq, v, m->result != NULL ? &m->result->name : &m->turn->name);
	if (js_str_eq(key, "tool_call_id"))
		return m->result != NULL ? chat_take_str(rq, v, &m->result->id) : 0;
	if (m->turn->role != DL_ROLE_ASSISTANT)
		return 0;
	if (js_str_eq(key, "tool_calls"))
		return chat_take_raw(v, &m->calls);
	if (js_str_eq(key, "function_call"))
		return chat_take_raw(v, &m->old_call);
	if (js_str_eq(key, "refusal"))
		return chat_take_raw(v, &m->refusal);
	if (js_str_eq(key, "reasoning_details")) {
		m->details = v;
		return 0; /* a runtime that gave it wants all of it back */
	}
	if (js_str_eq(key, "reasoning_content") || js_str_eq(key, "reasoning")) {
		if (js_type(v) == JS_STRING && m->reasoning.n <= 2)
			m->reasoning = v;
		return js_type(v) == JS_STRING || js_is_null(v);
	}
	return 0;
}

static int
string_part(struct dl_request *rq, struct dl_turn *t, enum dl_part_kind kind, struct tf_span v)
{
	struct dl_part *p;

	if (js_type(v) != JS_STRING || v.n <= 2)
		return 0;
	p = dl_rq_part(rq, &t->parts, &t->last, kind);
	return p != NULL ? dl_rq_str(rq, v, &p->text) : TF_E_NOMEM;
}

/* A detail of earlier reasoning: its text, and the signature when it is one that Messages runtimes know. */
static int
detail(struct dl_request *rq, struct dl_turn *t, struct tf_span el)
{
	struct tf_span text, signature, v;
	struct dl_part *p;
	bool known;
	int r;

	if (!js_member(el, "type", &v) || !js_str_eq(v, "reasoning.text") || !js_member(el, "text", &text) ||
	    js_type(text) != JS_STRING)
		return 0;
	known = js_member(el, "signature", &signature) && js_type(signature) == JS_STRING && signature.n > 2 &&
	    (!js_member(el, "format", &v) || js_type(v) != JS_STRING || js_str_eq(v, "anthropic-claude-v1"));
	if (text.n <= 2 && !known)
		return 0;
	p = dl_rq_part(rq, &t->parts, &t->last, DL_PART_REASONING);
	if (p == NULL)
		return TF_E_NOMEM;
	r = dl_rq_str(rq, text, &p->text);
	return r == 0 && known ? dl_rq_str(rq, signature, &p->signature) : r;
}

/* The same reasoning may stand there twice: in details, which are the whole of it, and as one text. */
static int
reasoning(struct dl_request *rq, struct message *m)
{
	struct dl_turn *t = m->turn;
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	js_iter_init(&it, m->details);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		r = detail(rq, t, el);
	return r < 0 || t->parts != NULL ? r : string_part(rq, t, DL_PART_REASONING, m->reasoning);
}

static int
assistant(struct dl_request *rq, struct message *m)
{
	struct dl_turn *t = m->turn;
	struct js_iter it;
	struct tf_span el;
	int r = reasoning(rq, m);

	if (r == 0)
		r = content(rq, m->content, &t->parts, &t->last);
	if (r == 0)
		r = string_part(rq, t, DL_PART_REFUSAL, m->refusal);
	js_iter_init(&it, m->calls);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		r = call(rq, t, el);
	if (r == 0 && m->old_call.n > 0)
		r = call(rq, t, m->old_call);
	return r;
}

static enum dl_role
role(struct tf_span message)
{
	static const struct {
		const char *name;
		enum dl_role role;
	} roles[] = {
		{ "system", DL_ROLE_SYSTEM },
		{ "developer", DL_ROLE_DEVELOPER },
		{ "user", DL_ROLE_USER },
		{ "assistant", DL_ROLE_ASSISTANT },
		{ "tool", DL_ROLE_TOOL },
		{ "function", DL_ROLE_TOOL },
	};
	struct tf_span v;

	for (size_t i = 0; js_member(message, "role", &v) && i < TF_LEN(roles); i++)
		if (js_str_eq(v, roles[i].name))
			return roles[i].role;
	return DL_ROLE_USER;
}

static enum dl_form
form(struct tf_span content)
{
	switch (js_type(content)) {
	case JS_STRING:
		return DL_FORM_STRING;
	case JS_ARRAY:
		return DL_FORM_ARRAY;
	case JS_NULL:
		return DL_FORM_NULL;
	default:
		return DL_FORM_ABSENT;
	}
}

int
chat_message(struct dl_request *rq, struct tf_span text)
{
	struct message m = { .turn = dl_rq_turn(rq, role(text)) };
	struct dl_part *last = NULL;
	int r;

	if (m.turn == NULL)
		return TF_E_NOMEM;
	if (m.turn->role == DL_ROLE_TOOL) {
		m.result = dl_rq_part(rq, &m.turn->parts, &m.turn->last, DL_PART_RESULT);
		if (m.result == NULL)
			return TF_E_NOMEM;
	}
	r = chat_members(rq, text, message_member, &m, &m.turn->extras);
	if (r < 0)
		return r;
	m.turn->form = form(m.content);
	if (m.turn->role == DL_ROLE_ASSISTANT)
		return assistant(rq, &m);
	if (m.result == NULL)
		return content(rq, m.content, &m.turn->parts, &m.turn->last);
	if (m.result->id.n == 0)
		m.result->id = m.result->name; /* role function */
	return content(rq, m.content, &m.result->parts, &last);
}
