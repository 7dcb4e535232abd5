/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A completions request, which the scan has accepted, to the canonical request and from it. Towards a
 * runtime that serves this API it stays what it is, member by member; towards a runtime that only chats
 * it becomes one message of the user, and what a chat cannot say is refused. Called by xlate.c.
 */
#include "config.h"

#include <stdio.h>

#include "common/dialect/completions.h"

/* ---- decoding ---------------------------------------------------------------------------- */

static int
refuse(struct dl_fault *f, const char *param, const char *why)
{
	dl_fault_set(f, TF_E_BAD_REQUEST, param, "%s", why);
	return TF_E_INVAL;
}

/* Members that this API has and a chat does not. */
static int
needs_no_more_than_chat(struct tf_span body, struct dl_fault *f)
{
	static const char *const members[] = { "suffix", "echo", "logprobs" };
	char why[128];
	struct tf_span v;
	uint64_t n;

	for (size_t i = 0; i < TF_LEN(members); i++) {
		bool said = js_member(body, members[i], &v) && !js_is_null(v) && v.p[0] != 'f' && !tf_span_is(v, "\"\"");

		if (!said)
			continue;
		snprintf(why, sizeof why, "This model answers in turns and does not take %s.", members[i]);
		return refuse(f, members[i], why);
	}
	if (js_member(body, "best_of", &v) && js_get_u64(v, &n) == 0 && n > 1)
		return refuse(f, "best_of", "This model answers in turns and does not take best_of.");
	if (js_member(body, "max_tokens", &v) && js_get_u64(v, &n) == 0 && n == 0)
		return refuse(f, "max_tokens", "max_tokens must be at least 1 with this model.");
	return 0;
}

static int
one_message(struct dl_request *rq, struct tf_span prompt, struct dl_fault *f)
{
	struct dl_turn *turn;
	struct dl_part *part;
	struct tf_span other;
	struct js_iter it;

	if (js_type(prompt) == JS_ARRAY) {
		js_iter_init(&it, prompt);
		if (!js_iter_next(&it, NULL, &prompt) || js_type(prompt) != JS_STRING)
			return refuse(f, "prompt", "This model takes text as its prompt, not token ids.");
		if (js_iter_next(&it, NULL, &other))
			return refuse(f, "prompt", "This model takes one prompt at a time.");
	}
	turn = dl_rq_turn(rq, DL_ROLE_USER);
	part = turn != NULL ? dl_rq_part(rq, &turn->parts, &turn->last, DL_PART_TEXT) : NULL;
	return part != NULL ? dl_rq_str(rq, prompt, &part->text) : TF_E_NOMEM;
}

static void
take_num(struct tf_span body, const char *name, struct dl_num *out)
{
	struct tf_span v;

	out->set = js_member(body, name, &v) && js_type(v) == JS_NUMBER && js_get_double(v, &out->v) == 0;
}

static int
settings(struct dl_request *rq, struct tf_span body)
{
	struct dl_sampling *s = &rq->sampling;
	struct tf_span v;
	int r = 0;

	take_num(body, "temperature", &s->temperature);
	take_num(body, "top_p", &s->top_p);
	take_num(body, "top_k", &s->top_k);
	take_num(body, "frequency_penalty", &s->frequency_penalty);
	take_num(body, "presence_penalty", &s->presence_penalty);
	s->has_seed = js_member(body, "seed", &v) && js_type(v) == JS_NUMBER && js_get_i64(v, &s->seed) == 0;
	if (js_member(body, "logit_bias", &v) && js_type(v) == JS_OBJECT)
		s->logit_bias = v;
	if (js_member(body, "n", &v) && (js_type(v) != JS_NUMBER || js_get_u64(v, &rq->n) < 0))
		rq->n = 0;
	if (js_member(body, "user", &v) && js_type(v) == JS_STRING)
		r = dl_rq_str(rq, v, &rq->user);
	if (r == 0 && js_member(body, "prompt_cache_key", &v) && js_type(v) == JS_STRING)
		r = dl_rq_str(rq, v, &rq->cache_key);
	return r == 0 && js_member(body, "stop", &v) ? dl_rq_stop(rq, v) : r;
}

/* All members as they are: the runtime knows what they mean. */
static int
as_it_is(struct dl_request *rq, struct tf_span body)
{
	struct tf_span key, v;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, body);
	while (r == 0 && js_iter_next(&it, &key, &v))
		r = dl_rq_extra(rq, &rq->extras, key, v);
	return r;
}

int
completions_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f)
{
	struct tf_span v;
	int r;

	rq->max_output = COMPLETIONS_DEFAULT_CAP;
	if (js_member(body, "max_tokens", &v) && js_type(v) == JS_NUMBER && js_get_u64(v, &rq->max_output) < 0)
		rq->max_output = COMPLETIONS_DEFAULT_CAP;
	rq->stream = js_member(body, "stream", &v) && v.p[0] == 't';
	if (js_at(body, "stream_options.include_usage", &v))
		rq->include_usage = v.p[0] == 't';
	if (rq->native)
		return as_it_is(rq, body);
	if (js_member(body, "model", &v) && (r = dl_rq_str(rq, v, &rq->model)) < 0)
		return r;
	r = needs_no_more_than_chat(body, f);
	if (r == 0)
		r = js_member(body, "prompt", &v) ? one_message(rq, v, f) : TF_E_INVAL;
	return r == 0 ? settings(rq, body) : r;
}

/* ---- encoding ---------------------------------------------------------------------------- */

enum fate { PASS, OURS, DROP };

static enum fate
fate_of(struct tf_span name)
{
	const struct dl_field *f = completions_field_by_name(name);

	switch (f != NULL ? (enum completions_field)(f - completions_fields.v) : COMPLETIONS_FIELDS) {
	case COMPLETIONS_MODEL:
	case COMPLETIONS_STREAM:
	case COMPLETIONS_OPTIONS:
	case COMPLETIONS_MAX_TOKENS:
		return OURS;
	default:
		return f != NULL && f->class == 'D' ? DROP : PASS;
	}
}

static int
member(struct js_w *w, const struct dl_extra *m, struct tf_buf *scratch, struct tf_buf *dropped)
{
	struct tf_span name;
	int r;

	tf_buf_reset(scratch);
	r = js_str(m->key, scratch, &name);
	if (r < 0)
		return r;
	switch (fate_of(name)) {
	case PASS:
		js_w_keyn(w, name);
		js_w_raw(w, m->value);
		return 0;
	case DROP:
		r = dropped->n > 0 ? tf_buf_addc(dropped, ',') : 0;
		return r < 0 ? r : tf_buf_addspan(dropped, name);
	default:
		return 0;
	}
}

int
completions_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f)
{
	uint64_t cap = to->max_output > 0 && to->max_output < rq->max_output ? to->max_output : rq->max_output;
	struct tf_buf scratch = { 0 };
	size_t from = out->n;
	struct js_w w;
	int r = 0;

	if (!rq->native || rq->origin != DL_OPENAI_COMPLETIONS) {
		dl_fault_set(f, TF_E_BAD_REQUEST, "model", "This model only completes bare text.");
		return TF_E_INVAL;
	}
	js_w_init(&w, out);
	js_w_object(&w);
	js_w_kstr(&w, "model", to->model);
	for (const struct dl_extra *m = rq->extras.first; r == 0 && m != NULL; m = m->next)
		r = member(&w, m, &scratch, dropped);
	js_w_ku64(&w, "max_tokens", cap);
	js_w_kbool(&w, "stream", to->stream);
	if (to->stream && !(to->quirks & DL_Q_NO_STREAM_USAGE))
		js_w_kraw(&w, "stream_options", TF_SPAN("{\"include_usage\":true}"));
	js_w_object_end(&w);
	tf_buf_free(&scratch);
	if (r == 0)
		r = js_w_done(&w);
	if (r < 0)
		out->n = from;
	return r;
}
