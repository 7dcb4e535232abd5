/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes a canonical request for a runtime of the openai_responses dialect: settings and tools; the
 * conversation is responses_ask_items.c. What would change the answer and has no form here is refused,
 * hints without one are left out and listed. Called by xlate.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/responses_ask.h"

#define CAP_LEAST 16 /* tokens: the hosted API takes no smaller max_output_tokens */

void
rask_refuse(struct rask *e, const char *param, const char *what)
{
	if (e->err < 0)
		return;
	dl_fault_set(e->f, TF_E_BAD_REQUEST, param, "%s", what);
	e->err = TF_E_INVAL;
}

static void
note_dropped(struct rask *e, struct tf_span name)
{
	if (e->err == 0)
		e->err = dl_note_dropped(e->dropped, name);
}

static void
opt_str(struct rask *e, const char *name, struct tf_span s)
{
	if (s.n > 0)
		js_w_kstr(&e->w, name, s);
}

static void
opt_num(struct rask *e, const char *name, const struct dl_num *n)
{
	if (!n->set)
		return;
	js_w_key(&e->w, name);
	js_w_double(&e->w, n->v);
}

/* ---- what cannot be said ----------------------------------------------------------------- */

static void
refusals(struct rask *e)
{
	const struct dl_request *rq = e->rq;
	struct tf_span el;
	struct js_iter it;

	if (rq->n > 1)
		rask_refuse(e, "n", "This model gives one answer at a time: n must be 1.");
	js_iter_init(&it, rq->modalities);
	while (js_iter_next(&it, NULL, &el))
		if (!js_str_eq(el, "text"))
			rask_refuse(e, "modalities", "This model answers with text only.");
}

/* ---- tools ------------------------------------------------------------------------------- */

/* Chat completions put a grammar one level deeper. */
static void
custom_format(struct rask *e, struct tf_span format)
{
	struct tf_span grammar, v;

	if (format.n == 0)
		return;
	if (!js_member(format, "grammar", &grammar) || js_type(grammar) != JS_OBJECT) {
		js_w_kraw(&e->w, "format", format);
		return;
	}
	js_w_key(&e->w, "format");
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", "grammar");
	if (js_member(grammar, "syntax", &v))
		js_w_kraw(&e->w, "syntax", v);
	if (js_member(grammar, "definition", &v))
		js_w_kraw(&e->w, "definition", v);
	js_w_object_end(&e->w);
}

static void
tool(struct rask *e, const struct dl_tool *t)
{
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", t->kind == DL_TOOL_CUSTOM ? "custom" : "function");
	js_w_kstr(&e->w, "name", t->name);
	opt_str(e, "description", t->description);
	if (t->kind == DL_TOOL_CUSTOM) {
		custom_format(e, t->schema);
	} else {
		js_w_kraw(&e->w, "parameters",
		    t->schema.n > 0 ? t->schema : TF_SPAN("{\"type\":\"object\",\"properties\":{}}"));
		/* what is not said means no in other APIs and yes in this one */
		if (t->strict == DL_UNSET && e->rq->origin == DL_OPENAI_RESPONSES)
			js_w_knull(&e->w, "strict");
		else
			js_w_kbool(&e->w, "strict", t->strict == DL_YES);
	}
	js_w_object_end(&e->w);
}

static void
tool_choice(struct rask *e)
{
	static const char *const modes[] = { NULL, "none", "auto", "required", NULL };
	const struct dl_tool_choice *c = &e->rq->choice;

	if (dl_choice_by_word(e->rq, e->to->quirks)) {
		js_w_kcstr(&e->w, "tool_choice", "required");
	} else if (c->mode == DL_CHOICE_NAMED) {
		js_w_key(&e->w, "tool_choice");
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", c->kind == DL_TOOL_CUSTOM ? "custom" : "function");
		js_w_kstr(&e->w, "name", c->name);
		js_w_object_end(&e->w);
	} else if (modes[c->mode] != NULL) {
		js_w_kcstr(&e->w, "tool_choice", modes[c->mode]);
	}
	if (c->parallel != DL_UNSET)
		js_w_kbool(&e->w, "parallel_tool_calls", c->parallel == DL_YES);
}

static void
tools(struct rask *e)
{
	bool open = false;

	for (const struct dl_tool *t = e->rq->tools; t != NULL; t = t->next) {
		if (!dl_tool_offered(e->rq, e->to->quirks, t))
			continue;
		if (!open) {
			js_w_key(&e->w, "tools");
			js_w_array(&e->w);
		}
		open = true;
		tool(e, t);
	}
	if (!open)
		return;
	js_w_array_end(&e->w);
	tool_choice(e);
}

/* ---- settings ---------------------------------------------------------------------------- */

static void
cap(struct rask *e)
{
	uint64_t n = e->rq->max_output, enforce = e->to->max_output;

	if (enforce > 0 && (n == 0 || n > enforce))
		n = enforce;
	if (n > 0 && n < CAP_LEAST && rask_quirk(e, DL_Q_HOSTED))
		n = CAP_LEAST;
	if (n > 0)
		js_w_ku64(&e->w, "max_output_tokens", n);
}

static bool
wants_logprobs(const struct rask *e)
{
	return e->rq->sampling.logprobs == DL_YES;
}

static void
sampling(struct rask *e)
{
	const struct dl_sampling *s = &e->rq->sampling;

	opt_num(e, "temperature", &s->temperature);
	opt_num(e, "top_p", &s->top_p);
	if (wants_logprobs(e) && s->has_top_logprobs)
		js_w_ku64(&e->w, "top_logprobs", s->top_logprobs);
}

static const char *
effort(const struct rask *e, struct tf_span said)
{
	static const char *const known[] = { "none", "minimal", "low", "medium", "high", "xhigh", "max" };

	/* steps above high are not known to open models: the highest they know is meant */
	if (!rask_quirk(e, DL_Q_HOSTED) && (tf_span_is(said, "xhigh") || tf_span_is(said, "max")))
		return "high";
	for (size_t i = 0; i < TF_LEN(known); i++)
		if (tf_span_is(said, known[i]))
			return known[i];
	return NULL;
}

/* A hosted model tells what it thought only when it is asked for a summary, which not every account may do. */
static bool
wants_summary(const struct rask *e)
{
	return rask_quirk(e, DL_Q_HOSTED) && e->rq->thinking.on == DL_YES;
}

static void
reasoning(struct rask *e)
{
	const struct dl_thinking *t = &e->rq->thinking;
	const char *how = t->on == DL_NO ? "none" : effort(e, t->effort);

	if (how == NULL && t->effort.n > 0)
		note_dropped(e, TF_SPAN("reasoning_effort"));
	if (how == NULL && !wants_summary(e))
		return;
	js_w_key(&e->w, "reasoning");
	js_w_object(&e->w);
	if (how != NULL)
		js_w_kcstr(&e->w, "effort", how);
	if (wants_summary(e))
		js_w_kcstr(&e->w, "summary", "auto");
	js_w_object_end(&e->w);
}

static void
format(struct rask *e)
{
	const struct dl_response_format *f = &e->rq->format;

	js_w_key(&e->w, "format");
	js_w_object(&e->w);
	if (f->kind != DL_FORMAT_SCHEMA) {
		js_w_kcstr(&e->w, "type", f->kind == DL_FORMAT_OBJECT ? "json_object" : "text");
	} else {
		js_w_kcstr(&e->w, "type", "json_schema");
		js_w_kstr(&e->w, "name", f->name.n > 0 ? f->name : TF_SPAN("output"));
		opt_str(e, "description", f->description);
		if (f->schema.n > 0)
			js_w_kraw(&e->w, "schema", f->schema);
		if (f->strict != DL_UNSET)
			js_w_kbool(&e->w, "strict", f->strict == DL_YES);
	}
	js_w_object_end(&e->w);
}

static void
text(struct rask *e)
{
	if (e->rq->format.kind == DL_FORMAT_UNSET && e->rq->verbosity.n == 0)
		return;
	js_w_key(&e->w, "text");
	js_w_object(&e->w);
	if (e->rq->format.kind != DL_FORMAT_UNSET)
		format(e);
	opt_str(e, "verbosity", e->rq->verbosity);
	js_w_object_end(&e->w);
}

static void
include(struct rask *e)
{
	if (!wants_logprobs(e) && !e->to->encrypted)
		return;
	js_w_key(&e->w, "include");
	js_w_array(&e->w);
	if (wants_logprobs(e))
		js_w_cstr(&e->w, "message.output_text.logprobs");
	if (e->to->encrypted)
		js_w_cstr(&e->w, "reasoning.encrypted_content");
	js_w_array_end(&e->w);
}

static void
attribution(struct rask *e)
{
	const struct dl_request *rq = e->rq;

	opt_str(e, "user", rq->user);
	opt_str(e, "prompt_cache_key", rq->cache_key);
	if (!rask_quirk(e, DL_Q_HOSTED))
		return;
	opt_str(e, "safety_identifier", rq->safety_id);
	opt_str(e, "service_tier", rq->tier);
	if (rq->metadata.n > 2)
		js_w_kraw(&e->w, "metadata", rq->metadata);
}

int
responses_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f)
{
	struct rask e = { .rq = rq, .to = to, .dropped = dropped, .f = f };
	uint32_t can = DL_HINT_CACHE_KEY | DL_HINT_VERBOSITY;
	size_t from = out->n;
	int r;

	refusals(&e);
	js_w_init(&e.w, out);
	js_w_object(&e.w);
	js_w_kstr(&e.w, "model", to->model);
	rask_items(&e, rask_instructions(&e));
	/* whether an answer is kept is not the runtime's affair */
	js_w_kbool(&e.w, "store", false);
	js_w_kbool(&e.w, "stream", to->stream);
	cap(&e);
	sampling(&e);
	tools(&e);
	reasoning(&e);
	text(&e);
	include(&e);
	attribution(&e);
	if (rask_quirk(&e, DL_Q_HOSTED))
		can |= DL_HINT_TIER | DL_HINT_SAFETY_ID | DL_HINT_METADATA;
	if (e.err == 0)
		e.err = dl_note_hints(rq, can, dropped);
	js_w_object_end(&e.w);
	r = e.err < 0 ? e.err : js_w_done(&e.w);
	rask_fini(&e);
	if (r < 0)
		out->n = from;
	return r;
}
