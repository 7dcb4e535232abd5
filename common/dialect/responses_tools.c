/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tools of a responses request, which knows kinds that runtimes do not: those in a namespace get one flat name,
 * custom tools (which take text) become functions of one string. Both directions: declarations and history on
 * the way to the runtime, and what a call of the answer was in the request. Called by the other files of this
 * dialect.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/custom.h"
#include "common/dialect/responses.h"

int
responses_flat(struct tf_span space, struct tf_span name, struct tf_buf *out)
{
	size_t from = out->n;
	int r = 0;

	if (space.n > 0) {
		r = tf_buf_addspan(out, space);
		if (r == 0)
			r = tf_buf_addstr(out, "__");
	}
	if (r == 0)
		r = tf_buf_addspan(out, name);
	return r < 0 ? r : dl_plain_name(out, from);
}

int
responses_flat_name(struct dl_request *rq, struct tf_span space, struct tf_span name, struct tf_span *out)
{
	struct tf_buf flat = { 0 };
	int r = responses_flat(space, name, &flat);

	if (r == 0) {
		*out = dl_arena_dup(&rq->arena, tf_buf_span(&flat));
		r = out->p != NULL || flat.n == 0 ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&flat);
	return r;
}

static struct tf_span
string(struct tf_span object, const char *member)
{
	struct tf_span v;

	return js_member(object, member, &v) && js_type(v) == JS_STRING ? v : tf_span(NULL, 0);
}

static int
each_in(struct tf_span list, struct tf_span space, responses_decl_fn *fn, void *arg)
{
	struct tf_span el, inner;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		struct responses_decl d = { responses_tool_kind(string(el, "type")), space, string(el, "name"), el };

		/* in a namespace a tool without a type is a function */
		if (space.n > 0 && d.kind == RESPONSES_TOOL_HOSTED && string(el, "type").n == 0)
			d.kind = RESPONSES_TOOL_FUNCTION;
		if (d.name.n <= 2)
			continue;
		if (d.kind == RESPONSES_TOOL_FUNCTION || d.kind == RESPONSES_TOOL_CUSTOM)
			r = fn(arg, &d);
		else if (d.kind == RESPONSES_TOOL_SPACE && space.n == 0 && js_member(el, "tools", &inner))
			r = each_in(inner, d.name, fn, arg);
	}
	return r;
}

int
responses_each_tool(struct tf_span list, responses_decl_fn *fn, void *arg)
{
	return each_in(list, tf_span(NULL, 0), fn, arg);
}

/* ---- declarations ------------------------------------------------------------------------ */

struct decoding {
	struct dl_request *rq;
	struct tf_span allowed; /* raw list; empty: all are */
	struct tf_buf text;
};

static bool
same_string(struct tf_span a, struct tf_span b)
{
	return tf_span_eq(a, b) || (a.n > 2 && memchr(a.p, '\\', a.n) == NULL && js_str_eqn(b, tf_span(a.p + 1, a.n - 2)));
}

/* allowed_tools is a filter: runtimes do not know it. Its entries name tools or namespaces. */
static bool
allowed(struct tf_span list, const struct responses_decl *d)
{
	struct tf_span el;
	struct js_iter it;

	if (list.n == 0)
		return true;
	js_iter_init(&it, list);
	while (js_iter_next(&it, NULL, &el)) {
		struct tf_span name = string(el, "name"), space = string(el, "namespace");

		if (js_str_eq(string(el, "type"), "namespace") && d->space.n > 0 && same_string(name, d->space))
			return true;
		if (same_string(name, d->name) && (space.n == 0 || same_string(space, d->space)))
			return true;
	}
	return false;
}

/* What a custom tool is for and which grammar its text obeys. */
static int
custom_about(struct decoding *c, struct dl_tool *t, struct tf_span tool)
{
	struct tf_span format = string(tool, "description");
	int r = 0;

	tf_buf_reset(&c->text);
	if (format.n > 0)
		r = js_str_append(format, &c->text);
	if (!js_member(tool, "format", &format))
		format = tf_span(NULL, 0);
	if (r == 0)
		r = dl_custom_about(format, &c->text);
	if (r < 0)
		return r;
	t->description = dl_arena_dup(&c->rq->arena, tf_buf_span(&c->text));
	return t->description.p != NULL ? 0 : TF_E_NOMEM;
}

static int
decode_tool(void *arg, const struct responses_decl *d)
{
	struct decoding *c = arg;
	struct dl_request *rq = c->rq;
	struct tf_span name, space = { 0 }, v;
	struct dl_tool *t;
	bool b;
	int r;

	if (!allowed(c->allowed, d))
		return 0;
	t = dl_rq_tool(rq, DL_TOOL_FUNCTION);
	if (t == NULL)
		return TF_E_NOMEM;
	r = dl_rq_str(rq, d->name, &name);
	if (r == 0 && d->space.n > 0)
		r = dl_rq_str(rq, d->space, &space);
	if (r == 0)
		r = responses_flat_name(rq, space, name, &t->name);
	if (r < 0)
		return r;
	if (d->kind == RESPONSES_TOOL_CUSTOM) {
		t->schema = TF_SPAN(DL_CUSTOM_SCHEMA);
		return custom_about(c, t, d->whole);
	}
	t->schema = TF_SPAN("{\"type\":\"object\",\"properties\":{}}");
	if (js_member(d->whole, "parameters", &v) && js_type(v) == JS_OBJECT && v.n > 2)
		t->schema = v;
	if (js_member(d->whole, "strict", &v) && js_get_bool(v, &b) == 0)
		t->strict = b ? DL_YES : DL_NO;
	return js_member(d->whole, "description", &v) && js_type(v) == JS_STRING ? dl_rq_str(rq, v, &t->description) : 0;
}

/* ---- the choice -------------------------------------------------------------------------- */

struct search {
	struct tf_span name, space; /* raw; space empty: any */
	struct responses_decl found;
	bool some;
};

/* A tool outside of all namespaces goes before one inside. */
static int
look(void *arg, const struct responses_decl *d)
{
	struct search *s = arg;

	if (!same_string(s->name, d->name) || (s->space.n > 0 && !same_string(s->space, d->space)))
		return 0;
	if (!s->some || (s->found.space.n > 0 && d->space.n == 0))
		s->found = *d;
	s->some = true;
	return 0;
}

static int
each_list(struct tf_span body, responses_decl_fn *fn, void *arg)
{
	struct tf_span v, el;
	struct js_iter it;
	int r = js_member(body, "tools", &v) ? responses_each_tool(v, fn, arg) : 0;

	if (r < 0 || !js_member(body, "input", &v) || js_type(v) != JS_ARRAY)
		return r;
	js_iter_init(&it, v);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		if (responses_item_kind(el) == RESPONSES_IS_MORE_TOOLS && js_member(el, "tools", &v))
			r = responses_each_tool(v, fn, arg);
	return r;
}

static int
named(struct dl_request *rq, struct tf_span body, struct tf_span choice, struct dl_fault *f)
{
	struct search s = { .name = string(choice, "name"), .space = string(choice, "namespace") };
	struct tf_span name, space = { 0 };
	int r = each_list(body, look, &s);

	if (r < 0)
		return r;
	if (!s.some) {
		dl_fault_set(f, TF_E_BAD_REQUEST, "tool_choice", "tool_choice names a tool that is not in tools.");
		return TF_E_INVAL;
	}
	rq->choice.mode = DL_CHOICE_NAMED;
	r = dl_rq_str(rq, s.found.name, &name);
	if (r == 0 && s.found.space.n > 0)
		r = dl_rq_str(rq, s.found.space, &space);
	return r < 0 ? r : responses_flat_name(rq, space, name, &rq->choice.name);
}

/* Tools that only a provider could run have no effect here: the client is told which. */
static int
note_hosted(struct dl_request *rq, struct tf_span body)
{
	char name[64];
	struct tf_span v, el;
	struct js_iter it;
	int r = 0;

	if (!js_member(body, "tools", &v))
		return 0;
	js_iter_init(&it, v);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		struct tf_span type = string(el, "type");
		bool good = type.n > 2 && type.n < sizeof name - 6;

		if (responses_tool_kind(type) != RESPONSES_TOOL_HOSTED)
			continue;
		for (size_t i = 1; good && i + 1 < type.n; i++)
			good = dl_plain_char(type.p[i]);
		/* it goes into a header */
		if (good)
			snprintf(name, sizeof name, "tools.%.*s", (int)type.n - 2, type.p + 1);
		else
			snprintf(name, sizeof name, "tools");
		r = dl_note_dropped(&rq->dropped, tf_cspan(name));
	}
	return r;
}

int
responses_tools(struct dl_request *rq, struct tf_span body, struct dl_fault *f)
{
	struct decoding c = { .rq = rq };
	struct dl_tool_choice *ch = &rq->choice;
	struct tf_span v, mode;
	bool parallel, filter = false;
	int r;

	if (!js_member(body, "tool_choice", &v))
		v = TF_SPAN("null");
	if (js_str_eq(string(v, "type"), "allowed_tools")) {
		filter = js_member(v, "tools", &c.allowed);
		ch->mode = js_member(v, "mode", &mode) && js_str_eq(mode, "required") ? DL_CHOICE_REQUIRED : DL_CHOICE_AUTO;
	} else if (js_type(v) == JS_STRING) {
		ch->mode = js_str_eq(v, "none")	? DL_CHOICE_NONE
		    : js_str_eq(v, "required") ? DL_CHOICE_REQUIRED
					       : DL_CHOICE_AUTO;
	}
	r = each_list(body, decode_tool, &c);
	tf_buf_free(&c.text);
	if (r == 0)
		r = note_hosted(rq, body);
	if (r < 0)
		return r;
	if (filter && rq->tools == NULL) {
		dl_fault_set(f, TF_E_BAD_REQUEST, "tool_choice.tools", "tool_choice allows no tool that is in tools.");
		return TF_E_INVAL;
	}
	if (js_type(v) == JS_OBJECT && !filter)
		r = named(rq, body, v, f);
	if (r == 0 && js_member(body, "parallel_tool_calls", &v) && js_get_bool(v, &parallel) == 0 && !parallel &&
	    ch->mode != DL_CHOICE_NONE)
		ch->parallel = DL_NO;
	return r;
}
