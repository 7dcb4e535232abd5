/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes a canonical request for a runtime of the openai_chat dialect, in the form that the
 * runtime's quirks ask for. Members that nobody modelled are written only if they came from this
 * dialect and are not on the deny list. Called by xlate.c.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat.h"

struct enc {
	struct js_w w;
	const struct dl_request *rq;
	const struct dl_target *to;
	struct tf_buf *dropped;
	int err;
};

static bool
quirk(const struct enc *e, uint32_t bit)
{
	return (e->to->quirks & bit) != 0;
}

static void
note_dropped(struct enc *e, struct tf_span name)
{
	if (e->err == 0)
		e->err = dl_note_dropped(e->dropped, name);
}

static void
extras(struct enc *e, const struct dl_extras *x)
{
	struct tf_buf scratch = { 0 };
	struct tf_span name;

	if (x->origin != DL_OPENAI_CHAT)
		return;
	for (const struct dl_extra *m = x->first; m != NULL && e->err == 0; m = m->next) {
		tf_buf_reset(&scratch);
		e->err = js_str(m->key, &scratch, &name);
		/* the hosted provider has no fields for reasoning */
		if (e->err == 0 && quirk(e, DL_Q_HOSTED) && tf_span_is(name, "reasoning_details"))
			continue;
		if (e->err == 0)
			js_w_keyn(&e->w, name);
		js_w_raw(&e->w, m->value);
	}
	tf_buf_free(&scratch);
}

static void
opt_str(struct enc *e, const char *name, struct tf_span s)
{
	if (s.n > 0)
		js_w_kstr(&e->w, name, s);
}

static void
opt_raw(struct enc *e, const char *name, struct tf_span raw)
{
	if (raw.n > 0)
		js_w_kraw(&e->w, name, raw);
}

static void
opt_tri(struct enc *e, const char *name, enum dl_tri v)
{
	if (v != DL_UNSET)
		js_w_kbool(&e->w, name, v == DL_YES);
}

static void
opt_num(struct enc *e, const char *name, const struct dl_num *n)
{
	if (!n->set)
		return;
	js_w_key(&e->w, name);
	js_w_double(&e->w, n->v);
}

/* ---- messages ---------------------------------------------------------------------------- */

static void
part_body(struct enc *e, const struct dl_part *p)
{
	struct js_w *w = &e->w;

	switch (p->kind) {
	case DL_PART_IMAGE:
		js_w_kcstr(w, "type", "image_url");
		js_w_key(w, "image_url");
		js_w_object(w);
		js_w_kstr(w, "url", p->url);
		opt_str(e, "detail", p->detail);
		js_w_object_end(w);
		return;
	case DL_PART_AUDIO:
		js_w_kcstr(w, "type", "input_audio");
		js_w_key(w, "input_audio");
		js_w_object(w);
		js_w_kstr(w, "data", p->data);
		js_w_kstr(w, "format", p->media);
		js_w_object_end(w);
		return;
	case DL_PART_FILE:
		js_w_kcstr(w, "type", "file");
		js_w_key(w, "file");
		js_w_object(w);
		opt_str(e, "file_data", p->data);
		opt_str(e, "file_id", p->id);
		opt_str(e, "filename", p->name);
		js_w_object_end(w);
		return;
	case DL_PART_REFUSAL:
		js_w_kcstr(w, "type", "refusal");
		js_w_kstr(w, "refusal", p->text);
		return;
	default:
		js_w_kcstr(w, "type", "text");
		js_w_kstr(w, "text", p->text);
		return;
	}
}

static bool
is_content(const struct dl_part *p)
{
	return p->kind != DL_PART_REASONING && p->kind != DL_PART_CALL && p->kind != DL_PART_RESULT;
}

static void
content_list(struct enc *e, const struct dl_part *parts)
{
	js_w_array(&e->w);
	for (const struct dl_part *p = parts; p != NULL; p = p->next) {
		if (!is_content(p))
			continue;
		if (p->kind == DL_PART_RAW) {
			js_w_raw(&e->w, p->text);
			continue;
		}
		js_w_object(&e->w);
		part_body(e, p);
		extras(e, &p->extras);
		js_w_object_end(&e->w);
	}
	js_w_array_end(&e->w);
}

/* As the client wrote it where that is known, else a string when it is one text. */
static void
content(struct enc *e, const struct dl_part *parts, enum dl_form form)
{
	const struct dl_part *only = NULL;
	unsigned n = 0;

	for (const struct dl_part *p = parts; p != NULL; p = p->next)
		if (is_content(p) && (p->kind != DL_PART_REFUSAL || form == DL_FORM_ARRAY)) {
			only = p;
			n++;
		}
	if (form == DL_FORM_ABSENT && n == 0)
		return;
	js_w_key(&e->w, "content");
	if (n == 0 && (form == DL_FORM_NULL || form == DL_FORM_ANY))
		js_w_null(&e->w);
	else if (n == 0 && form == DL_FORM_STRING)
		js_w_cstr(&e->w, "");
	else if (n == 1 && only->kind == DL_PART_TEXT && form != DL_FORM_ARRAY)
		js_w_str(&e->w, only->text);
	else
		content_list(e, parts);
}

static void
calls(struct enc *e, const struct dl_turn *t)
{
	struct js_w *w = &e->w;
	bool open = false;

	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		bool custom = p->tool == DL_TOOL_CUSTOM;

		if (p->kind != DL_PART_CALL)
			continue;
		if (!open) {
			js_w_key(w, "tool_calls");
			js_w_array(w);
		}
		open = true;
		js_w_object(w);
		js_w_kstr(w, "id", p->id);
		js_w_kcstr(w, "type", custom ? "custom" : "function");
		js_w_key(w, custom ? "custom" : "function");
		js_w_object(w);
		js_w_kstr(w, "name", p->name);
		js_w_kstr(w, custom ? "input" : "arguments",
		    p->text.n > 0 || custom ? p->text : TF_SPAN("{}"));
		js_w_object_end(w);
		js_w_object_end(w);
	}
	if (open)
		js_w_array_end(w);
}

/* The text of all parts of a kind as one member; nothing when there is none. */
static void
gathered(struct enc *e, const struct dl_turn *t, enum dl_part_kind kind, const char *name)
{
	struct tf_buf text = { 0 };
	bool some = false;

	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		if (p->kind != kind || e->err < 0)
			continue;
		some = some || kind != DL_PART_REASONING || p->text.n > 0;
		e->err = tf_buf_addspan(&text, p->text);
	}
	if (some)
		js_w_kstr(&e->w, name, tf_buf_span(&text));
	tf_buf_free(&text);
}

static bool
has_part(const struct dl_turn *t, enum dl_part_kind kind)
{
	const struct dl_part *p = t->parts;

	while (p != NULL && p->kind != kind)
		p = p->next;
	return p != NULL;
}

static void
assistant(struct enc *e, const struct dl_turn *t)
{
	const char *reasoning = quirk(e, DL_Q_REASONING_NAME) ? "reasoning" : "reasoning_content";

	/* the hosted provider has no such field */
	if (!quirk(e, DL_Q_HOSTED))
		gathered(e, t, DL_PART_REASONING, reasoning);
	if (quirk(e, DL_Q_REPLAY_REASONING) && has_part(t, DL_PART_CALL) && !has_part(t, DL_PART_REASONING))
		js_w_kcstr(&e->w, reasoning, " ");
	if (t->form != DL_FORM_ARRAY)
		gathered(e, t, DL_PART_REFUSAL, "refusal");
	content(e, t->parts, t->form);
	calls(e, t);
}

static void
turn(struct enc *e, const struct dl_turn *t)
{
	static const char *const roles[] = {
		[DL_ROLE_SYSTEM] = "system",
		[DL_ROLE_DEVELOPER] = "developer",
		[DL_ROLE_USER] = "user",
		[DL_ROLE_ASSISTANT] = "assistant",
		[DL_ROLE_TOOL] = "tool",
	};
	enum dl_role role =
	    t->role == DL_ROLE_DEVELOPER && quirk(e, DL_Q_NO_DEVELOPER) ? DL_ROLE_SYSTEM : t->role;

	js_w_object(&e->w);
	js_w_kcstr(&e->w, "role", roles[role]);
	if (role == DL_ROLE_TOOL) {
		js_w_kstr(&e->w, "tool_call_id", t->parts->id);
		opt_str(e, "name", t->parts->name);
		content(
		    e, t->parts->parts, t->form == DL_FORM_ARRAY ? DL_FORM_ARRAY : DL_FORM_STRING);
	} else {
		opt_str(e, "name", t->name);
		if (role == DL_ROLE_ASSISTANT)
			assistant(e, t);
		else
			content(e, t->parts, t->form);
	}
	extras(e, &t->extras);
	js_w_object_end(&e->w);
}

/* ---- tools ------------------------------------------------------------------------------- */

static void
tool(struct enc *e, const struct dl_tool *t)
{
	const char *kind = t->kind == DL_TOOL_CUSTOM ? "custom" : "function";

	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", kind);
	js_w_key(&e->w, kind);
	js_w_object(&e->w);
	js_w_kstr(&e->w, "name", t->name);
	opt_str(e, "description", t->description);
	opt_raw(e, t->kind == DL_TOOL_CUSTOM ? "format" : "parameters", t->schema);
	opt_tri(e, "strict", t->strict);
	extras(e, &t->extras);
	js_w_object_end(&e->w);
	js_w_object_end(&e->w);
}

static void
tool_choice(struct enc *e)
{
	static const char *const modes[] = { NULL, "none", "auto", "required", NULL };
	const struct dl_tool_choice *c = &e->rq->choice;
	const char *kind = c->kind == DL_TOOL_CUSTOM ? "custom" : "function";

	if (dl_choice_by_word(e->rq, e->to->quirks)) {
		js_w_kcstr(&e->w, "tool_choice", "required");
	} else if (c->mode == DL_CHOICE_NAMED) {
		js_w_key(&e->w, "tool_choice");
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", kind);
		js_w_key(&e->w, kind);
		js_w_object(&e->w);
		js_w_kstr(&e->w, "name", c->name);
		js_w_object_end(&e->w);
		js_w_object_end(&e->w);
	} else if (modes[c->mode] != NULL) {
		js_w_kcstr(&e->w, "tool_choice", modes[c->mode]);
	}
	opt_tri(e, "parallel_tool_calls", c->parallel);
}

static void
tools(struct enc *e)
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
caps(struct enc *e)
{
	uint64_t cap = e->rq->max_output, enforce = e->to->max_output;

	if (enforce > 0 && (cap == 0 || cap > enforce))
		cap = enforce;
	if (cap > 0)
		js_w_ku64(
		    &e->w, quirk(e, DL_Q_HOSTED) ? "max_completion_tokens" : "max_tokens", cap);
	if (e->rq->n > 0)
		js_w_ku64(&e->w, "n", e->rq->n);
}

static void
sampling(struct enc *e)
{
	const struct dl_sampling *s = &e->rq->sampling;
	unsigned n = 0;

	opt_num(e, "temperature", &s->temperature);
	opt_num(e, "top_p", &s->top_p);
	if (!quirk(e, DL_Q_HOSTED))
		opt_num(e, "top_k", &s->top_k);
	opt_num(e, "frequency_penalty", &s->frequency_penalty);
	opt_num(e, "presence_penalty", &s->presence_penalty);
	if (s->has_seed)
		js_w_ki64(&e->w, "seed", s->seed);
	if (s->stop != NULL) {
		js_w_key(&e->w, "stop");
		js_w_array(&e->w);
		/* xlate.c looks for those that are too many */
		for (const struct dl_extra *x = s->stop; x != NULL; x = x->next)
			if (!quirk(e, DL_Q_HOSTED) || n++ < DL_STOPS_HOSTED)
				js_w_str(&e->w, x->value);
		js_w_array_end(&e->w);
	}
	opt_raw(e, "logit_bias", s->logit_bias);
	opt_tri(e, "logprobs", s->logprobs);
	if (s->has_top_logprobs && s->logprobs == DL_YES)
		js_w_ku64(&e->w, "top_logprobs", s->top_logprobs);
}

static void
response_format(struct enc *e)
{
	static const char *const kinds[] = { NULL, "text", "json_object", "json_schema" };
	const struct dl_response_format *f = &e->rq->format;

	if (f->kind == DL_FORMAT_UNSET)
		return;
	if (quirk(e, DL_Q_TOOLS_OR_JSON) && f->kind != DL_FORMAT_TEXT && e->rq->tools != NULL &&
	    e->rq->choice.mode != DL_CHOICE_NONE) {
		note_dropped(e, TF_SPAN("response_format"));
		return;
	}
	js_w_key(&e->w, "response_format");
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", kinds[f->kind]);
	if (f->kind == DL_FORMAT_SCHEMA) {
		js_w_key(&e->w, "json_schema");
		js_w_object(&e->w);
		js_w_kstr(&e->w, "name", f->name);
		opt_str(e, "description", f->description);
		opt_raw(e, "schema", f->schema);
		opt_tri(e, "strict", f->strict);
		js_w_object_end(&e->w);
	}
	js_w_object_end(&e->w);
}

/* What only hosted providers know. */
static void
hosted(struct enc *e)
{
	const struct dl_request *rq = e->rq;
	const struct {
		const char *name;
		struct tf_span value;
	} texts[] = { { "safety_identifier", rq->safety_id }, { "service_tier", rq->tier } };

	for (size_t i = 0; i < TF_LEN(texts); i++) {
		if (texts[i].value.n == 0)
			continue;
		if (quirk(e, DL_Q_HOSTED))
			js_w_kstr(&e->w, texts[i].name, texts[i].value);
		else
			note_dropped(e, tf_cspan(texts[i].name));
	}
	if (rq->metadata.n > 0 && quirk(e, DL_Q_HOSTED))
		js_w_kraw(&e->w, "metadata", rq->metadata);
	else if (rq->metadata.n > 0)
		note_dropped(e, TF_SPAN("metadata"));
}

/* Members at the top that nobody modelled, less those that must not pass. */
static void
top_extras(struct enc *e)
{
	struct tf_buf scratch = { 0 };
	const struct dl_field *f;
	struct tf_span name;

	if (e->rq->extras.origin != DL_OPENAI_CHAT)
		return;
	for (const struct dl_extra *m = e->rq->extras.first; m != NULL && e->err == 0;
	     m = m->next) {
		tf_buf_reset(&scratch);
		e->err = js_str(m->key, &scratch, &name);
		if (e->err < 0)
			break;
		f = chat_field_by_name(name);
		if (f != NULL &&
		    (f->class == 'D' ||
			(!quirk(e, DL_Q_HOSTED) && (f->class == 'X' || f->class == 'S')))) {
			note_dropped(e, name);
			continue;
		}
		js_w_keyn(&e->w, name);
		js_w_raw(&e->w, m->value);
	}
	tf_buf_free(&scratch);
}

static void
thinking(struct enc *e)
{
	const struct dl_thinking *t = &e->rq->thinking;
	bool off = t->on == DL_NO || tf_span_is(t->effort, "none") || tf_span_is(t->effort, "minimal");

	/* steps above high are not known to open models: the highest they know is meant */
	if (e->rq->origin != DL_OPENAI_CHAT && !quirk(e, DL_Q_HOSTED) &&
	    (tf_span_is(t->effort, "xhigh") || tf_span_is(t->effort, "max")))
		js_w_kcstr(&e->w, "reasoning_effort", "high");
	else
		opt_str(e, "reasoning_effort", t->effort);
	opt_raw(e, "chat_template_kwargs", t->template);
	if (t->template.n > 0 || !quirk(e, DL_Q_TEMPLATE_THINKING) || (t->on == DL_UNSET && t->effort.n == 0))
		return;
	js_w_key(&e->w, "chat_template_kwargs");
	js_w_object(&e->w);
	js_w_kbool(&e->w, "enable_thinking", !off);
	js_w_object_end(&e->w);
}

static void
settings(struct enc *e)
{
	const struct dl_request *rq = e->rq;

	caps(e);
	sampling(e);
	tools(e);
	response_format(e);
	thinking(e);
	opt_str(e, "user", rq->user);
	opt_str(e, "prompt_cache_key", rq->cache_key);
	opt_str(e, "verbosity", rq->verbosity);
	opt_raw(e, "modalities", rq->modalities);
	opt_raw(e, "audio", rq->audio);
	hosted(e);
	top_extras(e);
}

int
chat_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f)
{
	struct enc e = { .rq = rq, .to = to, .dropped = dropped };
	size_t from = out->n;
	int r;

	(void)f; /* every canonical request has a form here */
	js_w_init(&e.w, out);
	js_w_object(&e.w);
	js_w_kstr(&e.w, "model", to->model);
	js_w_key(&e.w, "messages");
	js_w_array(&e.w);
	for (const struct dl_turn *t = rq->turns; t != NULL; t = t->next)
		turn(&e, t);
	js_w_array_end(&e.w);
	js_w_kbool(&e.w, "stream", to->stream);
	if (to->stream && !quirk(&e, DL_Q_NO_STREAM_USAGE)) {
		js_w_key(&e.w, "stream_options");
		js_w_object(&e.w);
		js_w_kbool(&e.w, "include_usage", true);
		/* answers of that API begin with the prompt's tokens */
		if (quirk(&e, DL_Q_EARLY_USAGE) && rq->origin == DL_ANTHROPIC_MESSAGES)
			js_w_kbool(&e.w, "continuous_usage_stats", true);
		js_w_object_end(&e.w);
	}
	settings(&e);
	js_w_object_end(&e.w);
	r = e.err < 0 ? e.err : js_w_done(&e.w);
	if (r < 0)
		out->n = from;
	return r;
}
