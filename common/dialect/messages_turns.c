/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a messages request as canonical turns: results stand behind the calls they answer,
 * in the order of the calls, whatever the client sent; system text in the middle goes to where every
 * chat template takes it. Called by messages_request.c.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/messages.h"
#include "common/dialect/turns.h"

struct result { /* a tool_result block of the message being read */
	struct tf_span id, content;
	bool is_error, used;
	struct result *next;
};

struct turns {
	struct dl_request *rq;
	struct dl_fault *f;
	struct tf_buf held; /* system text that waits for its place */
	struct tf_buf text; /* scratch */
	uint32_t message;
	bool last;          /* it is the last message */
};

/* ---- blocks as text ---------------------------------------------------------------------- */

/* Title and text of a document or a search result. */
static int
document_text(struct tf_span block, struct tf_buf *out)
{
	struct tf_span source, v;
	size_t from = out->n;
	int r = dl_add_member(block, "title", out);

	if (r == 0 && out->n > from)
		r = tf_buf_addc(out, '\n');
	if (r == 0 && js_member(block, "content", &v))
		return messages_text(v, "\n", out);
	if (r < 0 || !js_member(block, "source", &source))
		return r;
	return js_member(source, "content", &v) ? messages_text(v, "\n", out) : dl_add_member(source, "data", out);
}

static int
block_text(struct tf_span block, struct tf_buf *out)
{
	struct tf_span source;

	if (dl_type_is(block, "text"))
		return dl_add_member(block, "text", out);
	if (dl_type_is(block, "search_result"))
		return document_text(block, out);
	if (dl_type_is(block, "document")) {
		if (js_member(block, "source", &source) && dl_type_is(source, "base64"))
			return tf_buf_addstr(out, "[document omitted]");
		return document_text(block, out);
	}
	if (dl_type_is(block, "tool_reference"))
		return dl_add_member(block, "tool_name", out);
	return dl_type_is(block, "image") ? tf_buf_addstr(out, "[image omitted]") : 0;
}

int
messages_text(struct tf_span content, const char *between, struct tf_buf *out)
{
	size_t begin = out->n, from, text;
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	if (js_type(content) == JS_STRING)
		return js_str_append(content, out);
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		from = out->n;
		if (from > begin)
			r = tf_buf_addstr(out, between);
		text = out->n;
		if (r == 0)
			r = block_text(el, out);
		if (out->n == text)
			out->n = from;
	}
	return r;
}

/* ---- media ------------------------------------------------------------------------------- */

/* data:TYPE;base64,DATA of a source; empty for one that is none. */
static int
data_url(struct turns *t, struct tf_span source, const char *type, struct tf_span *out)
{
	struct tf_span media;
	int r;

	tf_buf_reset(&t->text);
	r = tf_buf_addstr(&t->text, "data:");
	if (r == 0 && js_member(source, "media_type", &media) && js_type(media) == JS_STRING)
		r = js_str_append(media, &t->text);
	else if (r == 0)
		r = tf_buf_addstr(&t->text, type);
	if (r == 0)
		r = tf_buf_addstr(&t->text, ";base64,");
	if (r == 0)
		r = dl_add_member(source, "data", &t->text);
	if (r < 0)
		return r;
	*out = dl_arena_dup(&t->rq->arena, tf_buf_span(&t->text));
	return out->p != NULL ? 0 : TF_E_NOMEM;
}

static int
image(struct turns *t, struct tf_span block)
{
	struct dl_turn *turn = dl_user_turn(t->rq);
	struct dl_part *p = turn != NULL ? dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_IMAGE) : NULL;
	struct tf_span source, url;

	if (p == NULL)
		return TF_E_NOMEM;
	if (!js_member(block, "source", &source))
		return 0;
	if (js_member(source, "url", &url) && js_type(url) == JS_STRING)
		return dl_rq_str(t->rq, url, &p->url);
	return data_url(t, source, "image/png", &p->url);
}

static int
document(struct turns *t, struct tf_span block)
{
	struct dl_turn *turn = dl_user_turn(t->rq);
	struct tf_span source, title;
	struct dl_part *p;
	int r;

	if (turn == NULL)
		return TF_E_NOMEM;
	if (!js_member(block, "source", &source) || !dl_type_is(source, "base64")) {
		tf_buf_reset(&t->text);
		r = block_text(block, &t->text);
		return r < 0 ? r : dl_add_text(t->rq, &turn->parts, &turn->last, tf_buf_span(&t->text));
	}
	p = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_FILE);
	if (p == NULL)
		return TF_E_NOMEM;
	p->name = TF_SPAN("document.pdf");
	r = js_member(block, "title", &title) && js_type(title) == JS_STRING ? dl_rq_str(t->rq, title, &p->name) : 0;
	return r < 0 ? r : data_url(t, source, "application/pdf", &p->data);
}

/* ---- results ----------------------------------------------------------------------------- */

static int
result_text(struct turns *t, const struct result *res, struct tf_buf *out)
{
	struct tf_span el;
	struct js_iter it;
	size_t from;
	int r = 0;

	if (js_type(res->content) != JS_ARRAY)
		return js_type(res->content) == JS_STRING ? js_str_append(res->content, out) : 0;
	js_iter_init(&it, res->content);
	for (from = out->n; r == 0 && js_iter_next(&it, NULL, &el);) {
		if (out->n > from)
			r = tf_buf_addc(out, '\n');
		if (r < 0)
			break;
		if (!dl_type_is(el, "image"))
			r = block_text(el, out);
		else
			r = tf_buf_addstr(out,
			    t->rq->blind ? "[image omitted: the model takes no images]" : "[image attached below]");
	}
	return r;
}

/* res NULL: the client has lost it; the call must have one all the same. */
static int
result_turn(struct turns *t, const struct dl_part *call, const struct result *res)
{
	struct dl_turn *turn = dl_rq_turn(t->rq, DL_ROLE_TOOL);
	struct dl_part *p = turn != NULL ? dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_RESULT) : NULL;
	struct dl_part *last = NULL;
	struct tf_span text;
	int r = 0;

	if (p == NULL)
		return TF_E_NOMEM;
	p->id = call->id;
	p->is_error = res == NULL || res->is_error;
	tf_buf_reset(&t->text);
	if (res == NULL)
		r = tf_buf_addstr(&t->text, "(no result)");
	else
		r = result_text(t, res, &t->text);
	text = tf_buf_span(&t->text);
	if (r == 0 && res != NULL && res->is_error && (text.n < 5 || strncasecmp(text.p, "error", 5) != 0)) {
		struct tf_buf marked = { 0 };

		r = tf_buf_addstr(&marked, "Error: ");
		if (r == 0)
			r = tf_buf_addspan(&marked, text);
		if (r == 0)
			r = dl_add_text(t->rq, &p->parts, &last, tf_buf_span(&marked));
		tf_buf_free(&marked);
		return r;
	}
	return r < 0 ? r : dl_add_text(t->rq, &p->parts, &last, text);
}

/* Runtimes take images in messages of the user only: behind all results of the turn. */
static int
result_images(struct turns *t, const struct result *list)
{
	struct tf_span el;
	struct js_iter it;
	int r = 0;

	for (; r == 0 && !t->rq->blind && list != NULL; list = list->next) {
		if (!list->used)
			continue;
		js_iter_init(&it, list->content);
		while (r == 0 && js_iter_next(&it, NULL, &el))
			if (dl_type_is(el, "image"))
				r = image(t, el);
	}
	return r;
}

static int
collect_results(struct turns *t, struct tf_span content, struct tf_map *by_id, struct result **first)
{
	struct result **end = first, *res;
	struct tf_span el, v;
	struct js_iter it;
	int r = 0;

	*first = NULL;
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		if (!dl_type_is(el, "tool_result") || !js_member(el, "tool_use_id", &v))
			continue;
		res = dl_arena_alloc(&t->rq->arena, sizeof *res);
		if (res == NULL)
			return TF_E_NOMEM;
		*end = res;
		end = &res->next;
		r = dl_rq_str(t->rq, v, &res->id);
		if (js_member(el, "is_error", &v))
			res->is_error = v.p[0] == 't';
		(void)js_member(el, "content", &res->content);
		/* of two results for one call the first one counts */
		if (r == 0 && tf_map_get(by_id, res->id) == NULL)
			r = tf_map_put(by_id, res->id, res);
	}
	return r;
}

/* Results for the calls of the turn before; those without a call become the user's words. */
static int
results(struct turns *t, struct tf_span content)
{
	struct dl_request *rq = t->rq;
	const struct dl_part *calls = rq->last != NULL && rq->last->role == DL_ROLE_ASSISTANT ? rq->last->parts : NULL;
	struct tf_map by_id = { 0 };
	struct result *list, *res;
	struct dl_turn *turn;
	int r = collect_results(t, content, &by_id, &list);

	for (; r == 0 && calls != NULL; calls = calls->next) {
		if (calls->kind != DL_PART_CALL)
			continue;
		res = tf_map_get(&by_id, calls->id);
		if (res != NULL && res->used)
			res = NULL;
		if (res != NULL)
			res->used = true;
		r = result_turn(t, calls, res);
	}
	tf_map_free(&by_id);
	if (r == 0)
		r = result_images(t, list);
	for (; r == 0 && list != NULL; list = list->next) {
		if (list->used)
			continue;
		tf_buf_reset(&t->text);
		r = tf_buf_addstr(&t->text, "Tool result: ");
		if (r == 0)
			r = result_text(t, list, &t->text);
		turn = dl_user_turn(rq);
		if (r == 0)
			r = turn != NULL ? dl_add_text(rq, &turn->parts, &turn->last, tf_buf_span(&t->text)) : TF_E_NOMEM;
	}
	return r;
}

/* ---- system text in the middle ------------------------------------------------------------ */

static int
hold(struct turns *t, struct tf_span content)
{
	int r;

	tf_buf_reset(&t->text);
	r = messages_text(content, "\n\n", &t->text);
	return r < 0 ? r : dl_system_hold(&t->held, tf_buf_span(&t->text));
}

/* ---- turns ------------------------------------------------------------------------------- */

/* A block nobody knows: part of history it is skipped, in the last turn the answer may hang on it. */
static int
unknown(struct turns *t, uint32_t block)
{
	char param[DL_PARAM_MAX];

	if (!t->last)
		return 0;
	snprintf(param, sizeof param, "messages[%u].content[%u].type", t->message, block);
	dl_fault_set(t->f, TF_E_BAD_REQUEST, param, "%s is not known here.", param);
	return TF_E_INVAL;
}

static int
user_block(struct turns *t, struct tf_span el, uint32_t n)
{
	struct dl_turn *turn;
	struct tf_span v;
	int r;

	if (dl_type_is(el, "tool_result"))
		return 0;
	if (dl_type_is(el, "image"))
		return image(t, el);
	if (dl_type_is(el, "document"))
		return document(t, el);
	if (!dl_type_is(el, "text") && !dl_type_is(el, "search_result"))
		return unknown(t, n);
	if (js_member(el, "text", &v) && v.n == 2)
		return 0;
	turn = dl_user_turn(t->rq);
	if (turn == NULL)
		return TF_E_NOMEM;
	tf_buf_reset(&t->text);
	r = block_text(el, &t->text);
	return r < 0 ? r : dl_add_text(t->rq, &turn->parts, &turn->last, tf_buf_span(&t->text));
}

static int
user(struct turns *t, struct tf_span content)
{
	struct dl_turn *before = t->rq->last, *turn;
	struct tf_span el;
	struct js_iter it;
	uint32_t n = 0;
	int r = results(t, content);

	if (r == 0)
		r = dl_system_release(t->rq, &t->held);
	if (r == 0 && js_type(content) == JS_STRING) {
		turn = dl_user_turn(t->rq);
		if (turn == NULL)
			return TF_E_NOMEM;
		tf_buf_reset(&t->text);
		r = js_str_append(content, &t->text);
		return r < 0 ? r : dl_add_text(t->rq, &turn->parts, &turn->last, tf_buf_span(&t->text));
	}
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		r = user_block(t, el, n++);
	/* a turn that says nothing is a turn all the same: without it the model would go on by itself */
	if (r == 0 && t->rq->last == before && (before == NULL || before->role != DL_ROLE_USER)) {
		turn = dl_user_turn(t->rq);
		r = turn != NULL ? dl_add_text(t->rq, &turn->parts, &turn->last, tf_span(NULL, 0)) : TF_E_NOMEM;
	}
	return r;
}

static int
call(struct turns *t, struct dl_turn *turn, struct tf_span el)
{
	struct dl_part *p = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_CALL);
	struct tf_span v;
	struct js_w w;
	int r = 0;

	if (p == NULL)
		return TF_E_NOMEM;
	if (js_member(el, "id", &v))
		r = dl_rq_str(t->rq, v, &p->id);
	if (r == 0 && js_member(el, "name", &v))
		r = messages_name(t->rq, v, &p->name);
	if (r < 0 || !js_member(el, "input", &v))
		return r;
	tf_buf_reset(&t->text);
	js_w_init(&w, &t->text);
	js_w_compact(&w, v);
	r = js_w_done(&w);
	if (r < 0)
		return r;
	p->text = dl_arena_dup(&t->rq->arena, tf_buf_span(&t->text));
	return p->text.p != NULL ? 0 : TF_E_NOMEM;
}

/* False: it bears our signature, but it is not what we said with this model. */
static bool
ours(struct turns *t, struct tf_span thinking, struct tf_span block)
{
	char own[64];
	struct tf_span v;

	if (!js_member(block, "signature", &v) || v.n <= 2 || !messages_own(v))
		return true;
	tf_buf_reset(&t->text);
	if (js_str_append(thinking, &t->text) < 0)
		return false;
	messages_sign(t->rq->seal_key, tf_buf_span(&t->text), own);
	return v.n - 2 == strlen(own) && tf_ct_equal(v.p + 1, own, v.n - 2);
}

static int
thinking(struct turns *t, struct dl_turn *turn, struct tf_span el)
{
	struct dl_part *p;
	struct tf_span v, signature;
	int r;

	if (!js_member(el, "thinking", &v) || js_type(v) != JS_STRING)
		return 0;
	if (v.n <= 2 && (!js_member(el, "signature", &signature) || messages_own(signature)))
		return 0;
	if (t->rq->seal_key != NULL && !ours(t, v, el))
		return 0;
	p = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_REASONING);
	r = p != NULL ? dl_rq_str(t->rq, v, &p->text) : TF_E_NOMEM;
	/* another provider's signature is good there only, and there it must come back */
	return r == 0 && js_member(el, "signature", &v) && !messages_own(v) ? dl_rq_str(t->rq, v, &p->signature) : r;
}

/* Its texts are one: runtimes take a string from the assistant. */
static int
assistant(struct turns *t, struct tf_span content)
{
	struct dl_request *rq = t->rq;
	struct dl_turn *turn = rq->last;
	struct tf_buf text = { 0 };
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	if (turn == NULL || turn->role != DL_ROLE_ASSISTANT)
		turn = dl_rq_turn(rq, DL_ROLE_ASSISTANT);
	if (turn == NULL)
		return TF_E_NOMEM;
	if (js_type(content) == JS_STRING)
		r = js_str_append(content, &text);
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		if (dl_type_is(el, "text"))
			r = dl_add_member(el, "text", &text);
		else if (dl_type_is(el, "tool_use"))
			r = call(t, turn, el);
		else if (dl_type_is(el, "thinking"))
			r = thinking(t, turn, el);
	}
	if (r == 0 && (text.n > 0 || turn->parts == NULL))
		r = dl_add_text(rq, &turn->parts, &turn->last, tf_buf_span(&text));
	tf_buf_free(&text);
	return r;
}

static bool
calls_open(const struct dl_request *rq)
{
	const struct dl_part *p = rq->last != NULL && rq->last->role == DL_ROLE_ASSISTANT ? rq->last->parts : NULL;

	while (p != NULL && p->kind != DL_PART_CALL)
		p = p->next;
	return p != NULL;
}

int
messages_turns(struct dl_request *rq, struct tf_span list, struct dl_fault *f)
{
	struct turns t = { .rq = rq, .f = f };
	struct tf_span el, content, v;
	struct js_iter it, rest;
	int r = 0;

	js_iter_init(&it, list);
	for (; r == 0 && js_iter_next(&it, NULL, &el); t.message++) {
		rest = it;
		t.last = !js_iter_next(&rest, NULL, &v);
		if (!js_member(el, "content", &content) || !js_member(el, "role", &v))
			continue;
		if (js_str_eq(v, "system")) {
			r = hold(&t, content);
			continue;
		}
		/* behind an assistant's turn it waits for what the user says next */
		if (rq->last == NULL || rq->last->role != DL_ROLE_ASSISTANT)
			r = dl_system_release(rq, &t.held);
		if (r == 0)
			r = js_str_eq(v, "assistant") ? assistant(&t, content) : user(&t, content);
	}
	if (r == 0 && calls_open(rq))
		r = results(&t, tf_span(NULL, 0));
	if (r == 0)
		r = dl_system_release(rq, &t.held);
	tf_buf_free(&t.held);
	tf_buf_free(&t.text);
	return r;
}
