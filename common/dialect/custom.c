/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Custom tools, which take text, as functions of one string: what a runtime without them is told. Called by the
 * files that make requests; undo.c turns the calls back.
 */
#include "config.h"

#include "common/dialect/custom.h"

int
dl_custom_wrap(struct tf_span input, struct tf_buf *out)
{
	int r = tf_buf_addstr(out, "{\"input\":");

	if (r == 0)
		r = js_quote(out, input);
	return r < 0 ? r : tf_buf_addc(out, '}');
}

/* A string member of a grammar, which chat completions put one level deeper than Responses. */
static bool
of_grammar(struct tf_span format, const char *deep, const char *flat, struct tf_span *v)
{
	return (js_at(format, deep, v) || js_member(format, flat, v)) && js_type(*v) == JS_STRING;
}

int
dl_custom_about(struct tf_span format, struct tf_buf *out)
{
	struct tf_span v;
	int r = tf_buf_printf(out, "%sThe argument \"input\" is the whole input of this tool, as text.", out->n > 0 ? "\n\n" : "");

	if (r < 0 || !of_grammar(format, "grammar.definition", "definition", &v))
		return r;
	r = tf_buf_addstr(out, " It must obey this grammar");
	if (r == 0 && of_grammar(format, "grammar.syntax", "syntax", &v)) {
		r = tf_buf_addstr(out, " (");
		if (r == 0)
			r = js_str_append(v, out);
		if (r == 0)
			r = tf_buf_addc(out, ')');
	}
	if (r == 0)
		r = tf_buf_addstr(out, ":\n");
	if (r == 0 && of_grammar(format, "grammar.definition", "definition", &v))
		r = js_str_append(v, out);
	return r;
}

static int
tool(struct dl_request *rq, struct dl_tool *t)
{
	struct tf_buf about = { 0 };
	int r = tf_buf_addspan(&about, t->description);

	if (r == 0)
		r = dl_custom_about(t->schema, &about);
	if (r == 0) {
		t->description = dl_arena_dup(&rq->arena, tf_buf_span(&about));
		r = t->description.p != NULL ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&about);
	t->kind = DL_TOOL_FUNCTION;
	t->schema = TF_SPAN(DL_CUSTOM_SCHEMA);
	return r;
}

static int
call(struct dl_request *rq, struct dl_part *p)
{
	struct tf_buf args = { 0 };
	int r = dl_custom_wrap(p->text, &args);

	if (r == 0) {
		p->text = dl_arena_dup(&rq->arena, tf_buf_span(&args));
		r = p->text.p != NULL ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&args);
	p->tool = DL_TOOL_FUNCTION;
	return r;
}

int
dl_custom_functions(struct dl_request *rq, struct dl_undo *u)
{
	int r = 0;

	for (struct dl_tool *t = rq->tools; r == 0 && t != NULL; t = t->next) {
		if (t->kind != DL_TOOL_CUSTOM)
			continue;
		r = dl_undo_custom(u, t->name);
		if (r == 0)
			r = tool(rq, t);
	}
	for (struct dl_turn *t = rq->turns; r == 0 && t != NULL; t = t->next)
		for (struct dl_part *p = t->parts; r == 0 && p != NULL; p = p->next)
			if (p->kind == DL_PART_CALL && p->tool == DL_TOOL_CUSTOM)
				r = call(rq, p);
	rq->choice.kind = rq->choice.kind == DL_TOOL_CUSTOM ? DL_TOOL_FUNCTION : rq->choice.kind;
	return r;
}
