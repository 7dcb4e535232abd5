/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes a responses request, which the scan has accepted, into the canonical request: settings. Tools are
 * responses_tools.c, the conversation is responses_items.c. Called by xlate.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/responses.h"

static int
take_str(struct dl_request *rq, struct tf_span body, const char *path, struct tf_span *out)
{
	struct tf_span v;

	return js_at(body, path, &v) && js_type(v) == JS_STRING ? dl_rq_str(rq, v, out) : 0;
}

static void
take_num(struct tf_span body, const char *name, struct dl_num *out)
{
	struct tf_span v;

	out->set = js_member(body, name, &v) && js_type(v) == JS_NUMBER && js_get_double(v, &out->v) == 0;
}

bool
responses_includes(struct tf_span body, const char *what)
{
	struct tf_span v, el;
	struct js_iter it;

	if (!js_member(body, "include", &v))
		return false;
	js_iter_init(&it, v);
	while (js_iter_next(&it, NULL, &el))
		if (js_str_eq(el, what))
			return true;
	return false;
}

static void
sampling(struct dl_request *rq, struct tf_span body)
{
	struct dl_sampling *s = &rq->sampling;
	struct tf_span v;

	take_num(body, "temperature", &s->temperature);
	take_num(body, "top_p", &s->top_p);
	if (js_member(body, "top_logprobs", &v) && js_type(v) == JS_NUMBER)
		s->has_top_logprobs = js_get_u64(v, &s->top_logprobs) == 0 && s->top_logprobs > 0;
	if (responses_includes(body, "message.output_text.logprobs") || s->has_top_logprobs)
		s->logprobs = DL_YES;
}

static int
format(struct dl_request *rq, struct tf_span body)
{
	struct dl_response_format *f = &rq->format;
	struct tf_span v, text;
	bool b;
	int r;

	if (!js_at(body, "text.format", &text) || !js_member(text, "type", &v))
		return 0;
	f->kind = js_str_eq(v, "json_object") ? DL_FORMAT_OBJECT
	    : js_str_eq(v, "json_schema")     ? DL_FORMAT_SCHEMA
					      : DL_FORMAT_UNSET;
	if (f->kind != DL_FORMAT_SCHEMA)
		return 0;
	r = take_str(rq, text, "name", &f->name);
	if (r == 0)
		r = take_str(rq, text, "description", &f->description);
	(void)js_member(text, "schema", &f->schema);
	if (js_member(text, "strict", &v) && js_get_bool(v, &b) == 0)
		f->strict = b ? DL_YES : DL_NO;
	return r;
}

static int
settings(struct dl_request *rq, struct tf_span body)
{
	const struct {
		const char *path;
		struct tf_span *to;
	} texts[] = {
		{ "model", &rq->model },
		{ "reasoning.effort", &rq->thinking.effort },
		{ "text.verbosity", &rq->verbosity },
		{ "user", &rq->user },
		{ "safety_identifier", &rq->safety_id },
		{ "prompt_cache_key", &rq->cache_key },
		{ "service_tier", &rq->tier },
	};
	struct tf_span v;
	int r = 0;

	for (size_t i = 0; r == 0 && i < TF_LEN(texts); i++)
		r = take_str(rq, body, texts[i].path, texts[i].to);
	if (r == 0 && js_member(body, "max_output_tokens", &v) && js_type(v) == JS_NUMBER && js_get_u64(v, &rq->max_output) < 0)
		rq->max_output = 0;
	rq->stream = js_member(body, "stream", &v) && v.p[0] == 't';
	if (r == 0 && js_member(body, "truncation", &v) && js_str_eq(v, "auto"))
		r = dl_note_dropped(&rq->dropped, TF_SPAN("truncation"));
	if (js_member(body, "metadata", &v) && js_type(v) == JS_OBJECT && v.n > 2)
		rq->metadata = v;
	return r;
}

int
responses_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f)
{
	struct tf_span instructions = { 0 }, input = { 0 };
	int r = settings(rq, body);

	sampling(rq, body);
	if (r == 0)
		r = format(rq, body);
	if (r == 0)
		r = responses_tools(rq, body, f);
	(void)js_member(body, "instructions", &instructions);
	(void)js_member(body, "input", &input);
	if (r == 0)
		r = responses_items(rq, instructions, input, f);
	if (r == 0 && (rq->turns == NULL || (rq->turns->role == DL_ROLE_SYSTEM && rq->turns->next == NULL && input.n == 0))) {
		dl_fault_set(f, TF_E_BAD_REQUEST, "input", "input holds nothing that could be answered.");
		return TF_E_INVAL;
	}
	return r;
}
