/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The items of a responses request as canonical turns: reasoning, text and calls that follow each other are
 * one turn of the assistant, results stand behind the calls they answer, whatever the client sent; system text
 * in the middle goes to where every chat template takes it. Called by responses_request.c.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/custom.h"
#include "common/dialect/responses.h"
#include "common/dialect/turns.h"

struct output { /* of a call: the item that brings it */
	struct tf_span id, content;
	bool used;
	struct output *next;             /* in the order of the items */
	struct output *same, *last_same; /* further ones of the same id; the end of that list, of its first */
};

struct items {
	struct dl_request *rq;
	struct dl_fault *f;
	struct tf_buf held;    /* system text that waits for its place */
	struct tf_buf text;    /* scratch */
	struct output *first, **end;
	struct tf_map by_id;   /* of output: the first of its id */
	struct output *next;   /* the one whose item comes next */

	struct dl_turn *turn;  /* of the assistant, open */
	struct dl_part *said;  /* its text, which is `words` when it ends */
	struct tf_buf words;
	struct dl_part *thoughts, *last_thought; /* reasoning in front of what is not there yet */
	bool calls;            /* the open turn has calls */

	uint32_t item;         /* number of the item being read */
	bool last;             /* it is the last one */
};

static int
take(struct items *t, struct tf_span object, const char *member, struct tf_span *out)
{
	struct tf_span v;

	return js_member(object, member, &v) && js_type(v) == JS_STRING ? dl_rq_str(t->rq, v, out) : 0;
}

static bool
is_text(struct tf_span part)
{
	return dl_type_is(part, "input_text") || dl_type_is(part, "output_text") || dl_type_is(part, "text") ||
	    dl_type_is(part, "summary_text") || dl_type_is(part, "reasoning_text");
}

/* Appends the texts of a list of parts, or a string, joined by `between`. */
static int
texts(struct tf_span content, const char *between, struct tf_buf *out)
{
	size_t begin = out->n;
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	if (js_type(content) == JS_STRING)
		return js_str_append(content, out);
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		if (!is_text(el))
			continue;
		if (out->n > begin)
			r = tf_buf_addstr(out, between);
		if (r == 0)
			r = dl_add_member(el, "text", out);
	}
	return r;
}

/* ---- media ------------------------------------------------------------------------------- */

static int
image(struct items *t, struct dl_turn *turn, struct tf_span part)
{
	struct dl_part *p = turn != NULL ? dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_IMAGE) : NULL;
	struct tf_span v;
	int r;

	if (p == NULL)
		return TF_E_NOMEM;
	r = take(t, part, "detail", &p->detail);
	if (r == 0 && js_member(part, "image_url", &v))
		r = js_type(v) == JS_OBJECT ? take(t, v, "url", &p->url) : take(t, part, "image_url", &p->url);
	return r;
}

static int
file(struct items *t, struct dl_turn *turn, struct tf_span part)
{
	struct dl_part *p = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_FILE);
	int r;

	if (p == NULL)
		return TF_E_NOMEM;
	r = take(t, part, "file_data", &p->data);
	if (r == 0)
		r = take(t, part, "file_id", &p->id);
	return r < 0 ? r : take(t, part, "filename", &p->name);
}

static int
audio(struct items *t, struct dl_turn *turn, struct tf_span part)
{
	struct dl_part *p = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_AUDIO);
	struct tf_span v;
	int r = 0;

	if (p == NULL)
		return TF_E_NOMEM;
	if (js_member(part, "input_audio", &v)) {
		r = take(t, v, "data", &p->data);
		if (r == 0)
			r = take(t, v, "format", &p->media);
	}
	return r;
}

/* ---- outputs of calls -------------------------------------------------------------------- */

static struct tf_span
call_id(struct tf_span item)
{
	struct tf_span v;

	if (js_member(item, "call_id", &v) && js_type(v) == JS_STRING && v.n > 2)
		return v;
	return js_member(item, "id", &v) && js_type(v) == JS_STRING ? v : TF_SPAN("\"\"");
}

static bool
is_output(enum responses_item kind)
{
	return kind == RESPONSES_IS_CALL_OUTPUT || kind == RESPONSES_IS_CUSTOM_OUTPUT || kind == RESPONSES_IS_SHELL_OUTPUT;
}

static int
collect_outputs(struct items *t, struct tf_span list)
{
	struct output *o, *first;
	struct tf_span el;
	struct js_iter it;
	int r = 0;

	t->end = &t->first;
	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		if (!is_output(responses_item_kind(el)))
			continue;
		o = dl_arena_alloc(&t->rq->arena, sizeof *o);
		if (o == NULL)
			return TF_E_NOMEM;
		*t->end = o;
		t->end = &o->next;
		(void)js_member(el, "output", &o->content);
		r = dl_rq_str(t->rq, call_id(el), &o->id);
		if (r < 0)
			return r;
		first = tf_map_get(&t->by_id, o->id);
		if (first == NULL) {
			o->last_same = o;
			r = tf_map_put(&t->by_id, o->id, o);
		} else {
			first->last_same->same = o;
			first->last_same = o;
		}
	}
	t->next = t->first;
	return r;
}

/* The first output of a call that no earlier call of that id has taken. */
static struct output *
output_of(struct items *t, struct tf_span id)
{
	struct output *first = tf_map_get(&t->by_id, id), *o = first;

	while (o != NULL && o->used)
		o = o->same;
	/* what is behind us need not be walked again */
	if (o != NULL && o != first)
		first->same = o;
	if (o != NULL)
		o->used = true;
	return o;
}

static const char *
image_note(const struct items *t, struct tf_span part)
{
	struct tf_span v;

	if (t->rq->blind)
		return "[image omitted: the model takes no images]";
	return js_member(part, "image_url", &v) && !js_is_null(v) ? "[image attached below]" : "[image omitted]";
}

static int
output_text(struct items *t, struct tf_span content, struct tf_buf *out)
{
	size_t from = out->n;
	struct js_iter it;
	struct tf_span el;
	struct js_w w;
	int r = 0;

	if (js_type(content) == JS_STRING)
		return js_str_append(content, out);
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		if (out->n > from)
			r = tf_buf_addc(out, '\n');
		if (r < 0)
			break;
		if (is_text(el)) {
			r = dl_add_member(el, "text", out);
		} else if (dl_type_is(el, "input_image")) {
			r = tf_buf_addstr(out, image_note(t, el));
		} else if (dl_type_is(el, "input_file")) {
			r = tf_buf_addstr(out, "[file omitted]");
		} else { /* a shell's: stdout, stderr and how it ended */
			js_w_init(&w, out);
			js_w_compact(&w, el);
			r = js_w_done(&w);
		}
	}
	return r;
}

/* o NULL: the client has lost it; the call must have one all the same. */
static int
result_turn(struct items *t, const struct dl_part *call, const struct output *o)
{
	struct dl_turn *turn = dl_rq_turn(t->rq, DL_ROLE_TOOL);
	struct dl_part *p = turn != NULL ? dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_RESULT) : NULL;
	struct dl_part *last = NULL;
	int r;

	if (p == NULL)
		return TF_E_NOMEM;
	p->id = call->id;
	p->is_error = o == NULL;
	tf_buf_reset(&t->text);
	r = o != NULL ? output_text(t, o->content, &t->text) : tf_buf_addstr(&t->text, "(no result)");
	return r < 0 ? r : dl_add_text(t->rq, &p->parts, &last, tf_buf_span(&t->text));
}

/* Runtimes take images in messages of the user only: behind all results of the turn. */
static int
output_images(struct items *t, struct tf_span content)
{
	struct tf_span el, v;
	struct js_iter it;
	int r = 0;

	if (js_type(content) != JS_ARRAY || t->rq->blind)
		return 0;
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		if (dl_type_is(el, "input_image") && js_member(el, "image_url", &v) && !js_is_null(v))
			r = image(t, dl_user_turn(t->rq), el);
	return r;
}

/* An output whose call is not there becomes the user's words. */
static int
orphan(struct items *t, const struct output *o)
{
	struct dl_turn *turn;
	int r;

	tf_buf_reset(&t->text);
	r = tf_buf_addstr(&t->text, "Tool result: ");
	if (r == 0)
		r = output_text(t, o->content, &t->text);
	turn = dl_user_turn(t->rq);
	if (r == 0)
		r = turn != NULL ? dl_add_text(t->rq, &turn->parts, &turn->last, tf_buf_span(&t->text)) : TF_E_NOMEM;
	return r < 0 ? r : output_images(t, o->content);
}

/* ---- the assistant's turn ---------------------------------------------------------------- */

/* Ends the open turn: its text is whole, its calls get their results. */
static int
close_turn(struct items *t)
{
	struct dl_turn *turn = t->turn;
	struct output **given;
	size_t n = 0;
	int r = 0;

	t->thoughts = t->last_thought = NULL;
	if (turn == NULL)
		return 0;
	t->turn = NULL;
	if (t->said != NULL) {
		t->said->text = dl_arena_dup(&t->rq->arena, tf_buf_span(&t->words));
		if (t->said->text.p == NULL && t->words.n > 0)
			return TF_E_NOMEM;
	}
	for (const struct dl_part *p = turn->parts; p != NULL; p = p->next)
		n += p->kind == DL_PART_CALL;
	given = dl_arena_alloc(&t->rq->arena, (n + 1) * sizeof *given);
	if (given == NULL)
		return TF_E_NOMEM;
	n = 0;
	for (const struct dl_part *p = turn->parts; r == 0 && p != NULL; p = p->next) {
		if (p->kind != DL_PART_CALL)
			continue;
		given[n] = output_of(t, p->id);
		r = result_turn(t, p, given[n++]);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		if (given[i] != NULL)
			r = output_images(t, given[i]->content);
	return r;
}

/* The open turn, with the reasoning that waited for it. */
static struct dl_turn *
assistant_turn(struct items *t)
{
	if (t->turn == NULL) {
		t->turn = dl_rq_turn(t->rq, DL_ROLE_ASSISTANT);
		t->said = NULL;
		t->calls = false;
		tf_buf_reset(&t->words);
	}
	if (t->turn != NULL && t->thoughts != NULL) {
		if (t->turn->last != NULL)
			t->turn->last->next = t->thoughts;
		else
			t->turn->parts = t->thoughts;
		t->turn->last = t->last_thought;
		t->thoughts = t->last_thought = NULL;
	}
	return t->turn;
}

/*
 * What was thought, as far as the client has it: sealed, in full, or as the summary that we gave in its place. A
 * token that is for another model or of another provider says that the summary is not all of it.
 */
static int
thought(struct items *t, struct tf_span item)
{
	struct tf_span v, token = { 0 };
	int r = 0;

	tf_buf_reset(&t->text);
	if (js_member(item, "encrypted_content", &v) && js_type(v) == JS_STRING && v.n > 2) {
		token = tf_span(v.p + 1, v.n - 2);
		r = dl_unseal(t->rq->seal_key, token, &t->text);
		if (r != TF_E_INVAL)
			return r;
		r = 0;
	}
	if (js_member(item, "content", &v))
		r = texts(v, "", &t->text);
	if (r == 0 && t->text.n == 0 && token.n == 0 && js_member(item, "summary", &v))
		r = texts(v, "\n\n", &t->text);
	return r;
}

#define PACKED '\x01' /* in front of a signature and behind it; no text of a model begins with it */

int
responses_pack(struct tf_span signature, struct tf_span text, struct tf_buf *out)
{
	int r = tf_buf_addc(out, PACKED);

	if (r == 0)
		r = tf_buf_addspan(out, signature);
	if (r == 0)
		r = tf_buf_addc(out, PACKED);
	return r < 0 ? r : tf_buf_addspan(out, text);
}

void
responses_unpack(struct tf_span packed, struct tf_span *signature, struct tf_span *text)
{
	const char *end = packed.n > 1 && packed.p[0] == PACKED ? memchr(packed.p + 1, PACKED, packed.n - 1) : NULL;

	*signature = tf_span(NULL, 0);
	*text = packed;
	if (end == NULL)
		return;
	*signature = tf_span(packed.p + 1, (size_t)(end - packed.p) - 1);
	*text = tf_span(end + 1, packed.n - signature->n - 2);
}

static int
reasoning(struct items *t, struct tf_span item)
{
	struct tf_span signature, text;
	struct dl_part *p;
	int r = thought(t, item);

	if (r < 0 || t->text.n == 0)
		return r;
	p = dl_rq_part(t->rq, &t->thoughts, &t->last_thought, DL_PART_REASONING);
	if (p == NULL)
		return TF_E_NOMEM;
	responses_unpack(tf_buf_span(&t->text), &signature, &text);
	p->text = dl_arena_dup(&t->rq->arena, text);
	p->signature = dl_arena_dup(&t->rq->arena, signature);
	return (text.n == 0 || p->text.p != NULL) && (signature.n == 0 || p->signature.p != NULL) ? 0 : TF_E_NOMEM;
}

/* All texts of a turn are one: runtimes take a string from the assistant. Messages are set apart by a blank line. */
static int
assistant(struct items *t, struct tf_span content)
{
	struct dl_turn *turn = assistant_turn(t);
	struct dl_part *p;
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	if (turn == NULL)
		return TF_E_NOMEM;
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		if (!dl_type_is(el, "refusal"))
			continue;
		p = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_REFUSAL);
		r = p != NULL ? take(t, el, "refusal", &p->text) : TF_E_NOMEM;
	}
	tf_buf_reset(&t->text);
	if (r == 0)
		r = texts(content, "", &t->text);
	if (r < 0 || (t->text.n == 0 && turn->parts != NULL))
		return r;
	if (t->said == NULL)
		t->said = dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_TEXT);
	if (t->said == NULL)
		return TF_E_NOMEM;
	if (t->words.n > 0)
		r = tf_buf_addstr(&t->words, "\n\n");
	return r < 0 ? r : tf_buf_addspan(&t->words, tf_buf_span(&t->text));
}

static struct dl_part *
new_call(struct items *t, struct tf_span item, int *r)
{
	struct dl_turn *turn = assistant_turn(t);
	struct dl_part *p = turn != NULL ? dl_rq_part(t->rq, &turn->parts, &turn->last, DL_PART_CALL) : NULL;

	*r = p != NULL ? dl_rq_str(t->rq, call_id(item), &p->id) : TF_E_NOMEM;
	t->calls = true;
	return p;
}

static int
call(struct items *t, struct tf_span item, bool custom)
{
	struct tf_span name = { 0 }, space = { 0 };
	struct dl_part *p;
	int r;

	p = new_call(t, item, &r);
	if (r == 0)
		r = take(t, item, "name", &name);
	if (r == 0)
		r = take(t, item, "namespace", &space);
	if (r == 0)
		r = responses_flat_name(t->rq, space, name, &p->name);
	if (r == 0)
		r = take(t, item, custom ? "input" : "arguments", &p->text);
	if (r < 0 || !custom)
		return r;
	tf_buf_reset(&t->text);
	r = dl_custom_wrap(p->text, &t->text);
	if (r == 0)
		p->text = dl_arena_dup(&t->rq->arena, tf_buf_span(&t->text));
	return r < 0 || p->text.p != NULL ? r : TF_E_NOMEM;
}

/* Tools that a provider declares and the client runs: an ordinary call with the action as its arguments. */
static int
shell_call(struct items *t, struct tf_span item)
{
	struct dl_part *p;
	struct tf_span v;
	struct js_w w;
	int r;

	p = new_call(t, item, &r);
	if (r < 0)
		return r;
	p->name = dl_type_is(item, "apply_patch_call") ? TF_SPAN("apply_patch")
	    : dl_type_is(item, "shell_call")	    ? TF_SPAN("shell")
						    : TF_SPAN("local_shell");
	p->text = TF_SPAN("{}");
	if ((!js_member(item, "action", &v) && !js_member(item, "operation", &v)) || js_type(v) != JS_OBJECT)
		return 0;
	tf_buf_reset(&t->text);
	js_w_init(&w, &t->text);
	js_w_compact(&w, v);
	r = js_w_done(&w);
	if (r == 0)
		p->text = dl_arena_dup(&t->rq->arena, tf_buf_span(&t->text));
	return r < 0 || p->text.p != NULL ? r : TF_E_NOMEM;
}

/* ---- the others -------------------------------------------------------------------------- */

/* Nobody knows it: in history it is skipped, at the end the answer may hang on it. */
static int
unknown(struct items *t, int part)
{
	char param[DL_PARAM_MAX];

	if (!t->last)
		return 0;
	if (part < 0)
		snprintf(param, sizeof param, "input[%u].type", t->item);
	else
		snprintf(param, sizeof param, "input[%u].content[%d].type", t->item, part);
	dl_fault_set(t->f, TF_E_BAD_REQUEST, param, "%s is not known here.", param);
	return TF_E_INVAL;
}

static int
user_part(struct items *t, struct dl_turn *turn, struct tf_span el, int n)
{
	int r;

	if (dl_type_is(el, "input_image"))
		return image(t, turn, el);
	if (dl_type_is(el, "input_file"))
		return file(t, turn, el);
	if (dl_type_is(el, "input_audio"))
		return audio(t, turn, el);
	if (!is_text(el) && !dl_type_is(el, "refusal"))
		return unknown(t, n);
	tf_buf_reset(&t->text);
	r = dl_add_member(el, is_text(el) ? "text" : "refusal", &t->text);
	return r < 0 ? r : dl_add_text(t->rq, &turn->parts, &turn->last, tf_buf_span(&t->text));
}

static int
user(struct items *t, struct tf_span content)
{
	struct dl_turn *turn;
	struct js_iter it;
	struct tf_span el;
	int r = dl_system_release(t->rq, &t->held), n = 0;

	turn = r == 0 ? dl_user_turn(t->rq) : NULL;
	if (turn == NULL)
		return r < 0 ? r : TF_E_NOMEM;
	if (js_type(content) == JS_STRING) {
		tf_buf_reset(&t->text);
		r = js_str_append(content, &t->text);
		return r < 0 ? r : dl_add_text(t->rq, &turn->parts, &turn->last, tf_buf_span(&t->text));
	}
	js_iter_init(&it, content);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		r = user_part(t, turn, el, n++);
	/* a turn that says nothing is a turn all the same */
	if (r == 0 && turn->parts == NULL)
		r = dl_add_text(t->rq, &turn->parts, &turn->last, tf_span(NULL, 0));
	return r;
}

static int
message(struct items *t, struct tf_span item)
{
	struct tf_span role, content;
	int r;

	if (!js_member(item, "role", &role) || !js_member(item, "content", &content))
		return 0;
	if (js_str_eq(role, "system") || js_str_eq(role, "developer")) {
		/* between calls and their outputs it would tear them apart */
		r = t->calls ? close_turn(t) : 0;
		tf_buf_reset(&t->text);
		if (r == 0)
			r = texts(content, "\n\n", &t->text);
		return r < 0 ? r : dl_system_hold(&t->held, tf_buf_span(&t->text));
	}
	if (js_str_eq(role, "assistant")) {
		r = t->turn == NULL ? dl_system_release(t->rq, &t->held) : 0;
		return r < 0 ? r : assistant(t, content);
	}
	r = close_turn(t);
	return r < 0 ? r : user(t, content);
}

static int
output(struct items *t)
{
	struct output *o = t->next;
	int r = close_turn(t);

	/* the items are the ones that were collected, in their order */
	if (r < 0 || o == NULL)
		return r;
	t->next = o->next;
	if (o->used)
		return 0;
	o->used = true;
	r = dl_system_release(t->rq, &t->held);
	return r < 0 ? r : orphan(t, o);
}

static int
one(struct items *t, struct tf_span item)
{
	enum responses_item kind = responses_item_kind(item);
	char param[DL_PARAM_MAX];
	int r = 0;

	if (is_output(kind))
		return output(t);
	if (t->turn == NULL && (kind == RESPONSES_IS_CALL || kind == RESPONSES_IS_CUSTOM || kind == RESPONSES_IS_SHELL))
		r = dl_system_release(t->rq, &t->held);
	if (r < 0)
		return r;
	switch (kind) {
	case RESPONSES_IS_MESSAGE:
		return message(t, item);
	case RESPONSES_IS_CALL:
	case RESPONSES_IS_CUSTOM:
		return call(t, item, kind == RESPONSES_IS_CUSTOM);
	case RESPONSES_IS_SHELL:
		return shell_call(t, item);
	case RESPONSES_IS_REASONING:
		return reasoning(t, item);
	case RESPONSES_IS_REFERENCE:
		snprintf(param, sizeof param, "input[%u].id", t->item);
		dl_fault_set(t->f, TF_E_BAD_REQUEST, param, "%s refers to an item that is not kept here.", param);
		return TF_E_INVAL;
	case RESPONSES_IS_UNKNOWN:
		return unknown(t, -1);
	default:
		return 0;
	}
}

int
responses_items(struct dl_request *rq, struct tf_span instructions, struct tf_span list, struct dl_fault *f)
{
	struct items t = { .rq = rq, .f = f };
	struct js_iter it, rest;
	struct tf_span el;
	int r = 0;

	if (js_type(instructions) == JS_STRING)
		r = js_str_append(instructions, &t.text);
	if (r == 0)
		r = dl_system_hold(&t.held, tf_buf_span(&t.text));
	if (r == 0 && js_type(list) == JS_STRING)
		r = user(&t, list);
	if (r == 0)
		r = collect_outputs(&t, list);
	js_iter_init(&it, list);
	for (; r == 0 && js_iter_next(&it, NULL, &el); t.item++) {
		rest = it;
		t.last = !js_iter_next(&rest, NULL, &(struct tf_span){ 0 });
		r = one(&t, el);
	}
	if (r == 0)
		r = close_turn(&t);
	if (r == 0)
		r = dl_system_release(rq, &t.held);
	tf_map_free(&t.by_id);
	tf_buf_free(&t.held);
	tf_buf_free(&t.text);
	tf_buf_free(&t.words);
	return r;
}
