/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes a chat request, which the scan has accepted, into the canonical request. Nothing a client
 * sent is lost: what nobody modelled is kept with the object it stood in. Called by xlate.c when
 * the request cannot go as it is.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat.h"

/* One object's members are dealt with by one function: 1 taken, 0 nobody knows it, negative error.
 */
typedef int member_fn(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v);

static int
members(
    struct dl_request *rq, struct tf_span object, member_fn *fn, void *to, struct dl_extras *rest)
{
	struct tf_span key, v;
	struct js_iter it;
	int r;

	js_iter_init(&it, object);
	while (js_iter_next(&it, &key, &v)) {
		r = fn(rq, to, key, v);
		if (r == 0 && rest != NULL)
			r = dl_rq_extra(rq, rest, key, v);
		if (r < 0)
			return r;
	}
	return 0;
}

static int
take_str(struct dl_request *rq, struct tf_span v, struct tf_span *out)
{
	int r;

	if (js_type(v) != JS_STRING)
		return js_is_null(v) ? 1 : 0;
	r = dl_rq_str(rq, v, out);
	return r < 0 ? r : 1;
}

static int
take_raw(struct tf_span v, struct tf_span *out)
{
	if (!js_is_null(v))
		*out = v;
	return 1;
}

static int
take_tri(struct tf_span v, enum dl_tri *out)
{
	bool b;

	if (js_get_bool(v, &b) == 0)
		*out = b ? DL_YES : DL_NO;
	return 1;
}

static int
take_num(struct tf_span v, struct dl_num *out)
{
	out->set = js_type(v) == JS_NUMBER && js_get_double(v, &out->v) == 0;
	return 1;
}

/* ---- content ----------------------------------------------------------------------------- */

static int
image_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_part *p = to;

	if (js_str_eq(key, "url"))
		return take_str(rq, v, &p->url);
	if (js_str_eq(key, "detail"))
		return take_str(rq, v, &p->detail);
	return 0;
}

static int
audio_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_part *p = to;

	if (js_str_eq(key, "data"))
		return take_str(rq, v, &p->data);
	if (js_str_eq(key, "format"))
		return take_str(rq, v, &p->media);
	return 0;
}

static int
file_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_part *p = to;

	if (js_str_eq(key, "file_data"))
		return take_str(rq, v, &p->data);
	if (js_str_eq(key, "file_id"))
		return take_str(rq, v, &p->id);
	if (js_str_eq(key, "filename"))
		return take_str(rq, v, &p->name);
	return 0;
}

static int
part_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	static const struct {
		enum dl_part_kind kind;
		const char *key;
		int text; /* where a plain string goes: 0 text, 1 url */
		member_fn *fn;
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
			return take_str(rq, v, holders[i].text == 0 ? &p->text : &p->url);
		r = holders[i].fn != NULL ? members(rq, v, holders[i].fn, p, NULL) : 0;
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
			r = members(rq, el, part_member, p, &p->extras);
	}
	return r;
}

/* ---- messages ---------------------------------------------------------------------------- */

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
	r = js_member(el, "id", &v) ? take_str(rq, v, &p->id) : 0;
	if (r >= 0 && js_member(fn, "name", &v))
		r = take_str(rq, v, &p->name);
	if (r >= 0 && js_member(fn, p->tool == DL_TOOL_CUSTOM ? "input" : "arguments", &v))
		r = take_str(rq, v, &p->text);
	return r < 0 ? r : 0;
}

/* The older form has no ids: name and place stand in for them. */
static int
old_call(struct dl_request *rq, struct dl_turn *t, struct tf_span el)
{
	int r = call(rq, t, el);

	if (r == 0 && t->last->id.n == 0)
		t->last->id = t->last->name;
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
		return take_str(rq, v, m->result != NULL ? &m->result->name : &m->turn->name);
	if (js_str_eq(key, "tool_call_id"))
		return m->result != NULL ? take_str(rq, v, &m->result->id) : 0;
	if (m->turn->role != DL_ROLE_ASSISTANT)
		return 0;
	if (js_str_eq(key, "tool_calls"))
		return take_raw(v, &m->calls);
	if (js_str_eq(key, "function_call"))
		return take_raw(v, &m->old_call);
	if (js_str_eq(key, "refusal"))
		return take_raw(v, &m->refusal);
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
		r = old_call(rq, t, m->old_call);
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

static int
message(struct dl_request *rq, struct tf_span text)
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
	r = members(rq, text, message_member, &m, &m.turn->extras);
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

/* ---- tools ------------------------------------------------------------------------------- */

static int
tool_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_tool *t = to;

	if (js_str_eq(key, "name"))
		return take_str(rq, v, &t->name);
	if (js_str_eq(key, "description"))
		return take_str(rq, v, &t->description);
	if (t->kind == DL_TOOL_FUNCTION && js_str_eq(key, "parameters"))
		return take_raw(v, &t->schema);
	if (t->kind == DL_TOOL_CUSTOM && js_str_eq(key, "format"))
		return take_raw(v, &t->schema);
	if (t->kind == DL_TOOL_FUNCTION && js_str_eq(key, "strict"))
		return take_tri(v, &t->strict);
	return 0;
}

static int
tools(struct dl_request *rq, struct tf_span list, bool legacy)
{
	struct tf_span el, body;
	struct dl_tool *t;
	struct js_iter it;
	bool custom;
	int r = 0;

	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		custom = !legacy && js_member(el, "custom", &body);
		if (legacy)
			body = el;
		else if (!custom && !js_member(el, "function", &body))
			continue;
		t = dl_rq_tool(rq, custom ? DL_TOOL_CUSTOM : DL_TOOL_FUNCTION);
		r = t != NULL ? members(rq, body, tool_member, t, &t->extras) : TF_E_NOMEM;
	}
	return r;
}

static int
tool_choice(struct dl_request *rq, struct tf_span v)
{
	struct dl_tool_choice *c = &rq->choice;
	struct tf_span name;

	if (js_str_eq(v, "none"))
		c->mode = DL_CHOICE_NONE;
	else if (js_str_eq(v, "auto"))
		c->mode = DL_CHOICE_AUTO;
	else if (js_str_eq(v, "required"))
		c->mode = DL_CHOICE_REQUIRED;
	if (js_type(v) != JS_OBJECT)
		return 1;
	if (js_at(v, "allowed_tools", &name)) {
		c->mode = js_at(v, "allowed_tools.mode", &name) && js_str_eq(name, "required")
		    ? DL_CHOICE_REQUIRED
		    : DL_CHOICE_AUTO;
		if (js_at(v, "allowed_tools.tools", &name))
			c->allowed = name;
		return 1;
	}
	c->mode = DL_CHOICE_NAMED;
	c->kind = js_at(v, "custom.name", &name) ? DL_TOOL_CUSTOM : DL_TOOL_FUNCTION;
	if (c->kind == DL_TOOL_CUSTOM || js_at(v, "function.name", &name) ||
	    js_member(v, "name", &name))
		return take_str(rq, name, &c->name);
	return 1;
}

/* ---- settings ---------------------------------------------------------------------------- */

static int
format_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_response_format *f = to;

	if (js_str_eq(key, "name"))
		return take_str(rq, v, &f->name);
	if (js_str_eq(key, "description"))
		return take_str(rq, v, &f->description);
	if (js_str_eq(key, "schema"))
		return take_raw(v, &f->schema);
	if (js_str_eq(key, "strict"))
		return take_tri(v, &f->strict);
	return 1;
}

static int
response_format(struct dl_request *rq, struct tf_span v)
{
	struct dl_response_format *f = &rq->format;
	struct tf_span type, schema;
	int r;

	if (!js_member(v, "type", &type))
		return 1;
	if (js_str_eq(type, "json_object"))
		f->kind = DL_FORMAT_OBJECT;
	else if (js_str_eq(type, "json_schema"))
		f->kind = DL_FORMAT_SCHEMA;
	else
		f->kind = DL_FORMAT_TEXT;
	if (f->kind != DL_FORMAT_SCHEMA || !js_member(v, "json_schema", &schema))
		return 1;
	r = members(rq, schema, format_member, f, NULL);
	return r < 0 ? r : 1;
}

static int
take_count(struct tf_span v, uint64_t *out)
{
	if (js_type(v) == JS_NUMBER && js_get_u64(v, out) < 0)
		*out = 0;
	return 1;
}

static int
number_member(struct dl_request *rq, unsigned id, struct tf_span v)
{
	struct dl_sampling *s = &rq->sampling;
	uint64_t cap = 0;

	switch ((enum chat_field)id) {
	case CHAT_TEMPERATURE:
		return take_num(v, &s->temperature);
	case CHAT_TOP_P:
		return take_num(v, &s->top_p);
	case CHAT_FREQUENCY:
		return take_num(v, &s->frequency_penalty);
	case CHAT_PRESENCE:
		return take_num(v, &s->presence_penalty);
	case CHAT_MAX_COMPLETION:
		take_count(v, &cap);
		rq->max_output = cap != 0 ? cap : rq->max_output;
		return 1;
	case CHAT_MAX_TOKENS: /* dl_head holds which of the two counts: see request_end */
		take_count(v, &cap);
		rq->max_output = rq->max_output != 0 ? rq->max_output : cap;
		return 1;
	case CHAT_N:
		return take_count(v, &rq->n);
	case CHAT_SEED:
		s->has_seed = js_type(v) == JS_NUMBER && js_get_i64(v, &s->seed) == 0;
		return 1;
	case CHAT_TOP_LOGPROBS:
		s->has_top_logprobs = js_type(v) == JS_NUMBER;
		return take_count(v, &s->top_logprobs);
	default:
		return 0;
	}
}

static int
flag_member(struct dl_request *rq, unsigned id, struct tf_span v)
{
	struct tf_span usage;

	switch ((enum chat_field)id) {
	case CHAT_STREAM:
		rq->stream = v.p[0] == 't';
		return 1;
	case CHAT_OPTIONS:
		rq->include_usage = js_member(v, "include_usage", &usage) && usage.p[0] == 't';
		return 1;
	case CHAT_LOGPROBS:
		return take_tri(v, &rq->sampling.logprobs);
	case CHAT_PARALLEL:
		return take_tri(v, &rq->choice.parallel);
	default:
		return 0;
	}
}

static int
text_member(struct dl_request *rq, unsigned id, struct tf_span v)
{
	switch ((enum chat_field)id) {
	case CHAT_MODEL:
		return take_str(rq, v, &rq->model);
	case CHAT_EFFORT:
		return take_str(rq, v, &rq->thinking.effort);
	case CHAT_USER:
		return take_str(rq, v, &rq->user);
	case CHAT_SAFETY_ID:
		return take_str(rq, v, &rq->safety_id);
	case CHAT_CACHE_KEY:
		return take_str(rq, v, &rq->cache_key);
	case CHAT_TIER:
		return take_str(rq, v, &rq->tier);
	case CHAT_VERBOSITY:
		return take_str(rq, v, &rq->verbosity);
	case CHAT_BIAS:
		return take_raw(v, &rq->sampling.logit_bias);
	case CHAT_METADATA:
		return js_type(v) == JS_OBJECT ? take_raw(v, &rq->metadata) : 0;
	case CHAT_TEMPLATE_ARGS:
		return take_raw(v, &rq->thinking.template);
	case CHAT_MODALITIES:
		return take_raw(v, &rq->modalities);
	case CHAT_AUDIO:
		return take_raw(v, &rq->audio);
	default:
		return 0;
	}
}

static int
list_member(struct dl_request *rq, unsigned id, struct tf_span v)
{
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	switch ((enum chat_field)id) {
	case CHAT_MESSAGES:
		js_iter_init(&it, v);
		while (r == 0 && js_iter_next(&it, NULL, &el))
			r = message(rq, el);
		return r < 0 ? r : 1;
	case CHAT_TOOLS:
		r = tools(rq, v, false);
		return r < 0 ? r : 1;
	case CHAT_FUNCTIONS:
		r = tools(rq, v, true);
		return r < 0 ? r : 1;
	case CHAT_CHOICE:
		return tool_choice(rq, v);
	case CHAT_FUNCTION_CALL:
		return rq->choice.mode == DL_CHOICE_UNSET ? tool_choice(rq, v) : 1;
	case CHAT_STOP:
		r = dl_rq_stop(rq, v);
		return r < 0 ? r : 1;
	case CHAT_FORMAT:
		return response_format(rq, v);
	default:
		return 0;
	}
}

static int
top_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct tf_span name;
	const struct dl_field *f;
	unsigned id;
	int r;

	(void)to;
	tf_buf_reset(&rq->scratch);
	r = js_str(key, &rq->scratch, &name);
	if (r < 0)
		return r;
	f = chat_field_by_name(name);
	if (f == NULL)
		return 0;
	id = (unsigned)(f - chat_fields.v);
	r = list_member(rq, id, v);
	if (r == 0)
		r = text_member(rq, id, v);
	if (r == 0)
		r = number_member(rq, id, v);
	return r != 0 ? r : flag_member(rq, id, v);
}

int
chat_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f)
{
	struct tf_span v;
	uint64_t cap = 0;
	int r = members(rq, body, top_member, NULL, &rq->extras);

	if (r < 0)
		return r;
	/* whatever the order of the two caps */
	if (js_member(body, "max_completion_tokens", &v) && take_count(v, &cap) && cap > 0)
		rq->max_output = cap;
	rq->legacy = js_member(body, "functions", &v) && js_type(v) == JS_ARRAY;
	for (struct dl_turn *t = rq->turns; t != NULL; t = t->next)
		if (t->role == DL_ROLE_TOOL && t->parts->id.n == 0) {
			dl_fault_set(f, TF_E_BAD_REQUEST, "messages",
			    "A message of role function needs a name.");
			return TF_E_INVAL;
		}
	return 0;
}
