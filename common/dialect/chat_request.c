/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes a chat request, which the scan has accepted, into the canonical request: tools and settings; messages are
 * chat_turns.c. Nothing a client sent is lost: what nobody modelled is kept with the object it stood in. Called by
 * xlate.c when the request cannot go as it is.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat_request.h"

int
chat_members(struct dl_request *rq, struct tf_span object, chat_member_fn *fn, void *to, struct dl_extras *rest)
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

/* ---- tools ------------------------------------------------------------------------------- */

static int
tool_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_tool *t = to;

	if (js_str_eq(key, "name"))
		return chat_take_str(rq, v, &t->name);
	if (js_str_eq(key, "description"))
		return chat_take_str(rq, v, &t->description);
	if (t->kind == DL_TOOL_FUNCTION && js_str_eq(key, "parameters"))
		return chat_take_raw(v, &t->schema);
	if (t->kind == DL_TOOL_CUSTOM && js_str_eq(key, "format"))
		return chat_take_raw(v, &t->schema);
	if (t->kind == DL_TOOL_FUNCTION && js_str_eq(key, "strict"))
		return chat_take_tri(v, &t->strict);
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
		r = t != NULL ? chat_members(rq, body, tool_member, t, &t->extras) : TF_E_NOMEM;
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
		return chat_take_str(rq, name, &c->name);
	return 1;
}

/* ---- settings ---------------------------------------------------------------------------- */

static int
format_member(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v)
{
	struct dl_response_format *f = to;

	if (js_str_eq(key, "name"))
		return chat_take_str(rq, v, &f->name);
	if (js_str_eq(key, "description"))
		return chat_take_str(rq, v, &f->description);
	if (js_str_eq(key, "schema"))
		return chat_take_raw(v, &f->schema);
	if (js_str_eq(key, "strict"))
		return chat_take_tri(v, &f->strict);
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
	r = chat_members(rq, schema, format_member, f, NULL);
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
		return chat_take_num(v, &s->temperature);
	case CHAT_TOP_P:
		return chat_take_num(v, &s->top_p);
	case CHAT_FREQUENCY:
		return chat_take_num(v, &s->frequency_penalty);
	case CHAT_PRESENCE:
		return chat_take_num(v, &s->presence_penalty);
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
		return chat_take_tri(v, &rq->sampling.logprobs);
	case CHAT_PARALLEL:
		return chat_take_tri(v, &rq->choice.parallel);
	default:
		return 0;
	}
}

static int
text_member(struct dl_request *rq, unsigned id, struct tf_span v)
{
	switch ((enum chat_field)id) {
	case CHAT_MODEL:
		return chat_take_str(rq, v, &rq->model);
	case CHAT_EFFORT:
		return chat_take_str(rq, v, &rq->thinking.effort);
	case CHAT_USER:
		return chat_take_str(rq, v, &rq->user);
	case CHAT_SAFETY_ID:
		return chat_take_str(rq, v, &rq->safety_id);
	case CHAT_CACHE_KEY:
		return chat_take_str(rq, v, &rq->cache_key);
	case CHAT_TIER:
		return chat_take_str(rq, v, &rq->tier);
	case CHAT_VERBOSITY:
		return chat_take_str(rq, v, &rq->verbosity);
	case CHAT_BIAS:
		return chat_take_raw(v, &rq->sampling.logit_bias);
	case CHAT_METADATA:
		return js_type(v) == JS_OBJECT ? chat_take_raw(v, &rq->metadata) : 0;
	case CHAT_TEMPLATE_ARGS:
		return chat_take_raw(v, &rq->thinking.template);
	case CHAT_MODALITIES:
		return chat_take_raw(v, &rq->modalities);
	case CHAT_AUDIO:
		return chat_take_raw(v, &rq->audio);
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
			r = chat_message(rq, el);
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
	int r = chat_members(rq, body, top_member, NULL, &rq->extras);

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
