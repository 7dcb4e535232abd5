/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes a canonical request for a runtime of the anthropic_messages dialect: settings and tools; the
 * conversation is messages_turns_enc.c. What would change the answer and has no form here is refused,
 * hints without one are left out and listed. Called by xlate.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/messages_request_enc.h"
#include "common/dialect/undo.h"

#define LONGEST_UNKNOWN 32000 /* tokens: what every current model of the provider can answer */
#define BUDGET_LEAST 1024     /* tokens of thinking, the API's lower bound */
#define USER_MAX 256          /* longest metadata.user_id, bytes */

void
mreq_refuse(struct mreq *e, const char *param, const char *what)
{
	if (e->err < 0)
		return;
	dl_fault_set(e->f, TF_E_BAD_REQUEST, param, "%s", what);
	e->err = TF_E_INVAL;
}

static void
note_dropped(struct mreq *e, const char *name)
{
	if (e->err == 0)
		e->err = dl_note_dropped(e->dropped, tf_cspan(name));
}

/* ---- what cannot be said ----------------------------------------------------------------- */

static void
refusals(struct mreq *e)
{
	const struct dl_request *rq = e->rq;
	struct tf_span el;
	struct js_iter it;

	if (rq->n > 1)
		mreq_refuse(e, "n", "This model gives one answer at a time: n must be 1.");
	if (rq->sampling.logprobs == DL_YES)
		mreq_refuse(e, "logprobs", "This model does not give logprobs.");
	js_iter_init(&it, rq->modalities);
	while (js_iter_next(&it, NULL, &el))
		if (!js_str_eq(el, "text"))
			mreq_refuse(e, "modalities", "This model answers with text only.");
}

/* ---- settings ---------------------------------------------------------------------------- */

static uint64_t
cap(const struct mreq *e)
{
	uint64_t n = e->rq->max_output, longest = e->to->longest;

	if (n == 0)
		n = longest > 0 ? longest : LONGEST_UNKNOWN;
	return e->to->max_output > 0 && n > e->to->max_output ? e->to->max_output : n;
}

static void
number(struct mreq *e, const char *name, double v)
{
	js_w_key(&e->w, name);
	js_w_double(&e->w, v);
}

/* thinks: the provider then takes no other temperature than its own. */
static void
sampling(struct mreq *e, bool thinks)
{
	const struct dl_sampling *s = &e->rq->sampling;
	bool fixed = (e->to->quirks & DL_Q_NO_SAMPLING) || (thinks && mreq_hosted(e));
	/* nor does it take both */
	bool both = s->temperature.set && mreq_hosted(e);

	if (s->temperature.set && !fixed)
		number(e, "temperature", s->temperature.v < 1 ? s->temperature.v : 1);
	if (s->top_p.set && !fixed && !both)
		number(e, "top_p", s->top_p.v);
	if (s->top_k.set && !fixed && s->top_k.v >= 0)
		number(e, "top_k", s->top_k.v);
	if (s->temperature.set && fixed && s->temperature.v != 1)
		note_dropped(e, "temperature");
	if (s->top_p.set && (fixed || both) && s->top_p.v != 1)
		note_dropped(e, "top_p");
	if (s->top_k.set && fixed)
		note_dropped(e, "top_k");
}

static bool
blank(struct tf_span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr(" \t\r\n", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	return true;
}

/* White space alone is refused. */
static void
stop(struct mreq *e)
{
	bool open = false;

	for (const struct dl_extra *x = e->rq->sampling.stop; x != NULL; x = x->next) {
		if (blank(x->value)) {
			note_dropped(e, "stop");
			continue;
		}
		if (!open) {
			js_w_key(&e->w, "stop_sequences");
			js_w_array(&e->w);
		}
		open = true;
		js_w_str(&e->w, x->value);
	}
	if (open)
		js_w_array_end(&e->w);
}

static void
user(struct mreq *e)
{
	struct tf_span a = e->rq->user, b = e->rq->safety_id, id = a.n >= b.n ? a : b;
	size_t n = id.n < USER_MAX ? id.n : USER_MAX;

	if (id.n == 0)
		return;
	while (n < id.n && n > 0 && ((unsigned char)id.p[n] & 0xc0) == 0x80)
		n--; /* not in the middle of a character */
	js_w_key(&e->w, "metadata");
	js_w_object(&e->w);
	js_w_kstr(&e->w, "user_id", tf_span(id.p, n));
	js_w_object_end(&e->w);
}

/* ---- thinking ---------------------------------------------------------------------------- */

/* Is the answer asked for as the input of a tool, for want of a field for its schema? Beside the caller's tools no. */
static bool
by_tool(const struct mreq *e)
{
	const struct dl_request *rq = e->rq;

	return rq->format.kind == DL_FORMAT_SCHEMA && (e->to->quirks & DL_Q_NO_OUTPUT_FORMAT) && rq->tools == NULL &&
	    !mreq_called(rq) && mreq_object_schema(rq->format.schema) &&
	    /* thinking that the caller asked this very API for is not to be switched off */
	    !(rq->origin == DL_ANTHROPIC_MESSAGES && rq->thinking.on == DL_YES && mreq_hosted(e));
}

static bool
forced(const struct mreq *e)
{
	const struct dl_request *rq = e->rq;

	return by_tool(e) || (rq->tools != NULL && (rq->choice.mode == DL_CHOICE_REQUIRED || rq->choice.mode == DL_CHOICE_NAMED));
}

/* Which of the API's efforts is meant; NULL: none said. */
static const char *
effort(struct tf_span v)
{
	static const char *const known[] = { "low", "medium", "high", "xhigh", "max" };

	if (tf_span_is(v, "minimal"))
		return "low";
	for (size_t i = 0; i < TF_LEN(known); i++)
		if (tf_span_is(v, known[i]))
			return known[i];
	return NULL;
}

/* Tokens of thinking, for models that are told so; 0: too few are left. */
static uint64_t
budget(const struct mreq *e, const char *how)
{
	uint64_t most = cap(e) - 1, n = e->rq->thinking.budget;

	if (n == 0)
		n = how == NULL || strcmp(how, "medium") == 0 ? 8192
		    : strcmp(how, "low") == 0		      ? 2048
		    : strcmp(how, "high") == 0		      ? 16384
							      : most;
	n = n < most ? n : most;
	return n >= BUDGET_LEAST ? n : 0;
}

enum thought { THOUGHT_UNSAID, THOUGHT_OFF, THOUGHT_ON };

static enum thought
thought(const struct mreq *e)
{
	const struct dl_thinking *t = &e->rq->thinking;
	bool on = t->on == DL_YES || effort(t->effort) != NULL;

	if (t->on == DL_NO || tf_span_is(t->effort, "none"))
		return THOUGHT_OFF;
	if (!on)
		return THOUGHT_UNSAID;
	/* the provider takes no forced call beside thinking, and no turn that called without its thinking */
	if (mreq_hosted(e) && ((forced(e) && e->rq->origin != DL_ANTHROPIC_MESSAGES) || !mreq_signed(e->rq)))
		return THOUGHT_OFF;
	return (e->to->quirks & DL_Q_ADAPTIVE) || budget(e, effort(t->effort)) > 0 ? THOUGHT_ON : THOUGHT_UNSAID;
}

static void
thinking(struct mreq *e, enum thought how)
{
	if (how == THOUGHT_UNSAID)
		return;
	js_w_key(&e->w, "thinking");
	js_w_object(&e->w);
	if (how == THOUGHT_OFF) {
		js_w_kcstr(&e->w, "type", "disabled");
	} else if (e->to->quirks & DL_Q_ADAPTIVE) {
		js_w_kcstr(&e->w, "type", "adaptive");
	} else {
		js_w_kcstr(&e->w, "type", "enabled");
		js_w_ku64(&e->w, "budget_tokens", budget(e, effort(e->rq->thinking.effort)));
	}
	js_w_object_end(&e->w);
}

static bool
has_format(const struct mreq *e)
{
	return e->rq->format.kind == DL_FORMAT_SCHEMA && e->rq->format.schema.n > 0 && !(e->to->quirks & DL_Q_NO_OUTPUT_FORMAT);
}

static void
output_config(struct mreq *e, enum thought how)
{
	const char *said = how == THOUGHT_ON && (e->to->quirks & DL_Q_ADAPTIVE) ? effort(e->rq->thinking.effort) : NULL;

	if (said == NULL && !has_format(e))
		return;
	js_w_key(&e->w, "output_config");
	js_w_object(&e->w);
	if (said != NULL)
		js_w_kcstr(&e->w, "effort", said);
	if (has_format(e)) {
		js_w_key(&e->w, "format");
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", "json_schema");
		js_w_key(&e->w, "schema");
		mreq_answer_schema(e, e->rq->format.schema);
		js_w_object_end(&e->w);
	}
	js_w_object_end(&e->w);
}

/* ---- tools ------------------------------------------------------------------------------- */

static void
tool(struct mreq *e, const struct dl_tool *t)
{
	js_w_object(&e->w);
	js_w_kstr(&e->w, "name", t->name);
	if (t->description.n > 0)
		js_w_kstr(&e->w, "description", t->description);
	js_w_key(&e->w, "input_schema");
	mreq_tool_schema(e, t->schema);
	if (t->strict == DL_YES && mreq_hosted(e))
		js_w_kbool(&e->w, "strict", true);
	js_w_object_end(&e->w);
}

static void
tool_choice(struct mreq *e)
{
	static const char *const modes[] = { "auto", "none", "auto", "any", "tool" };
	const struct dl_tool_choice *c = &e->rq->choice;

	if (c->mode == DL_CHOICE_UNSET && c->parallel != DL_NO)
		return;
	js_w_key(&e->w, "tool_choice");
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", modes[c->mode]);
	if (c->mode == DL_CHOICE_NAMED)
		js_w_kstr(&e->w, "name", c->name);
	if (c->parallel == DL_NO && c->mode != DL_CHOICE_NONE)
		js_w_kbool(&e->w, "disable_parallel_tool_use", true);
	js_w_object_end(&e->w);
}

/* The provider wants the tools of earlier calls declared, though none may be called any more. */
static void
history_tools(struct mreq *e)
{
	struct tf_map seen = { 0 };
	bool open = false;

	for (const struct dl_turn *t = e->rq->turns; t != NULL && e->err == 0; t = t->next)
		for (const struct dl_part *p = t->parts; p != NULL && e->err == 0; p = p->next) {
			if (p->kind != DL_PART_CALL || tf_map_get(&seen, p->name) != NULL)
				continue;
			e->err = tf_map_put(&seen, p->name, (void *)p);
			if (!open) {
				js_w_key(&e->w, "tools");
				js_w_array(&e->w);
			}
			open = true;
			js_w_object(&e->w);
			js_w_kstr(&e->w, "name", p->name);
			js_w_kraw(&e->w, "input_schema", TF_SPAN("{\"type\":\"object\"}"));
			js_w_object_end(&e->w);
		}
	tf_map_free(&seen);
	if (!open)
		return;
	js_w_array_end(&e->w);
	js_w_kraw(&e->w, "tool_choice", TF_SPAN("{\"type\":\"none\"}"));
}

static void
answer_tool(struct mreq *e)
{
	const struct dl_response_format *f = &e->rq->format;

	dl_undo_answer(e->to->undo);
	js_w_key(&e->w, "tools");
	js_w_array(&e->w);
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "name", DL_ANSWER_TOOL);
	js_w_kstr(&e->w, "description", f->description.n > 0 ? f->description : TF_SPAN("Gives the answer, in its required form."));
	js_w_key(&e->w, "input_schema");
	mreq_tool_schema(e, f->schema);
	js_w_object_end(&e->w);
	js_w_array_end(&e->w);
	js_w_kraw(&e->w, "tool_choice",
	    TF_SPAN("{\"type\":\"tool\",\"name\":\"" DL_ANSWER_TOOL "\",\"disable_parallel_tool_use\":true}"));
}

static void
tools(struct mreq *e)
{
	bool open = false;

	if (by_tool(e)) {
		answer_tool(e);
		return;
	}
	for (const struct dl_tool *t = e->rq->tools; t != NULL; t = t->next) {
		if (!dl_tool_allowed(e->rq, t))
			continue;
		if (!open) {
			js_w_key(&e->w, "tools");
			js_w_array(&e->w);
		}
		open = true;
		tool(e, t);
	}
	if (!open) {
		history_tools(e);
		return;
	}
	js_w_array_end(&e->w);
	tool_choice(e);
}

/* ---- system ------------------------------------------------------------------------------ */

/* What the API has no field for is asked for in words. */
static void
instruct(struct mreq *e, struct tf_buf *out)
{
	const struct dl_response_format *f = &e->rq->format;
	bool schema = f->kind == DL_FORMAT_SCHEMA && !has_format(e) && !by_tool(e);
	int r = 0;

	if (f->kind != DL_FORMAT_OBJECT && !schema)
		return;
	dl_undo_fence(e->to->undo);
	if (out->n > 0)
		r = tf_buf_addstr(out, "\n\n");
	if (r == 0)
		r = tf_buf_addstr(out, "Answer with one JSON object and nothing else: no code fence, no words around it.");
	if (r == 0 && schema && f->schema.n > 0) {
		r = tf_buf_addstr(out, " It must be valid against this JSON schema:\n");
		if (r == 0)
			r = tf_buf_addspan(out, f->schema);
	}
	if (r < 0 && e->err == 0)
		e->err = r;
}

static const struct dl_turn *
system_text(struct mreq *e)
{
	struct tf_buf text = { 0 };
	const struct dl_turn *rest = mreq_system(e, &text);

	instruct(e, &text);
	if (text.n > 0 && e->err == 0)
		js_w_kstr(&e->w, "system", tf_buf_span(&text));
	tf_buf_free(&text);
	return rest;
}

/* ---- all of it --------------------------------------------------------------------------- */

int
messages_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f)
{
	struct mreq e = { .rq = rq, .to = to, .dropped = dropped, .f = f };
	const struct dl_turn *rest;
	size_t from = out->n;
	enum thought how;
	int r;

	refusals(&e);
	how = thought(&e);
	js_w_init(&e.w, out);
	js_w_object(&e.w);
	js_w_kstr(&e.w, "model", to->model);
	js_w_ku64(&e.w, "max_tokens", cap(&e));
	rest = system_text(&e);
	mreq_messages(&e, rest);
	js_w_kbool(&e.w, "stream", to->stream);
	sampling(&e, how == THOUGHT_ON);
	stop(&e);
	tools(&e);
	thinking(&e, how);
	output_config(&e, how);
	user(&e);
	if (e.err == 0)
		e.err = dl_note_hints(rq, DL_HINT_TOP_K | DL_HINT_SAFETY_ID, dropped);
	js_w_object_end(&e.w);
	r = e.err < 0 ? e.err : js_w_done(&e.w);
	mreq_fini(&e);
	if (r < 0)
		out->n = from;
	return r;
}
