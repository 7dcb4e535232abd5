/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tool calls of an answer: runtimes leave out ids, types and indexes, repeat names, give all calls
 * the same index or all arguments at the end. What comes out is one item per call with a complete
 * name and an id, then its arguments. Called by chat_dec.c.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat.h"

#define CALLS_MAX 128 /* the official Node client accepts indexes below 128 */

/* A call's element, its strings decoded. */
struct call_delta {
	bool has_index, whole;
	uint32_t index;
	enum dl_tool_kind tool;
	struct tf_buf id, name, args;
};

static int
member_text(struct tf_span object, const char *name, struct tf_buf *out)
{
	struct tf_span v;

	if (!js_member(object, name, &v))
		return 0;
	switch (js_type(v)) {
	case JS_STRING:
		return js_str_append(v, out);
	case JS_OBJECT: /* arguments that were not turned into text */
		return tf_buf_addspan(out, v);
	default:
		return 0;
	}
}

static int
read_delta(struct tf_span el, struct call_delta *c)
{
	struct tf_span v, fn = tf_span(NULL, 0);
	uint64_t index;
	int r;

	if (js_member(el, "index", &v) && js_get_u64(v, &index) == 0 && index < UINT32_MAX) {
		c->has_index = true;
		c->index = (uint32_t)index;
	}
	c->tool = DL_TOOL_FUNCTION;
	if (js_member(el, "custom", &v) && js_type(v) == JS_OBJECT) {
		c->tool = DL_TOOL_CUSTOM;
		fn = v;
	} else if (js_member(el, "function", &v)) {
		fn = v;
	}
	r = js_member(el, "id", &v) && js_type(v) == JS_STRING ? js_str_append(v, &c->id) : 0;
	if (r == 0)
		r = member_text(fn, "name", &c->name);
	if (r == 0)
		r = member_text(fn, c->tool == DL_TOOL_CUSTOM ? "input" : "arguments", &c->args);
	return r;
}

static bool
same(const struct tf_buf *a, const struct tf_buf *b)
{
	return tf_span_eq(tf_buf_span(a), tf_buf_span(b));
}

/* Does the delta belong to another call than the one its index names? */
static bool
is_new(const struct dl_dec *d, const struct chat_call *call, const struct call_delta *c)
{
	if (c->name.n == 0)
		return false;
	if (call->begun && !same(&call->name, &c->name))
		return true;
	return !(d->conf.quirks & DL_Q_MINT_TOOL_IDS) && c->id.n > 0 && call->id.n > 0 &&
	    !same(&call->id, &c->id);
}

static struct chat_call *
find(const struct dl_dec *d, struct chat_choice *c, const struct call_delta *delta)
{
	if (delta->whole)
		return NULL;
	for (uint32_t i = c->ncall; i-- > 0;) {
		struct chat_call *call = &c->call[i];

		if (delta->has_index && call->index == delta->index)
			return is_new(d, call, delta) ? NULL : call;
		if (!delta->has_index &&
		    (delta->id.n > 0 ? same(&call->id, &delta->id) : !is_new(d, call, delta)))
			return call;
	}
	return NULL;
}

static struct chat_call *
add(struct dl_dec *d, struct chat_choice *c, const struct call_delta *delta)
{
	struct chat_call *v = c->ncall < CALLS_MAX * 8 ? tf_grow(c->call, c->ncall, &c->callcap, sizeof *v, 4) : NULL;

	if (v == NULL)
		return NULL;
	c->call = v;
	v = &c->call[c->ncall];
	memset(v, 0, sizeof *v);
	v->index = delta->has_index ? delta->index : c->ncall;
	v->tool = delta->tool;
	v->left_out = c->ncall >= (d->conf.one_call ? 1 : CALLS_MAX);
	c->ncall++;
	return v;
}

/* ---- events ------------------------------------------------------------------------------ */

static int
emit_args(struct dl_dec *d, uint32_t n, const struct chat_call *call, struct tf_span text)
{
	struct dl_event e = { .kind = DL_EV_ARGS,
		.choice = n,
		.item = call->item,
		.item_kind = DL_ITEM_CALL,
		.text = text };

	return text.n > 0 ? d->conf.emit(d->conf.arg, &e) : 0;
}

static bool
id_taken(const struct chat_choice *c, const struct chat_call *call)
{
	for (const struct chat_call *o = c->call; o < call; o++)
		if (!o->left_out && same(&o->id, &call->id))
			return true;
	return false;
}

static int
begin(struct dl_dec *d, uint32_t n, struct chat_call *call)
{
	struct chat_choice *c = &d->choice[n];
	struct dl_event e = {
		.kind = DL_EV_ITEM, .choice = n, .item_kind = DL_ITEM_CALL, .tool = call->tool
	};
	char id[48];
	int r;

	if (call->name.n == 0) {
		call->left_out = true; /* nobody could tell which tool is meant */
		return 0;
	}
	if (call->id.n == 0 || (d->conf.quirks & DL_Q_MINT_TOOL_IDS) || id_taken(c, call)) {
		dl_mint_id(id, sizeof id, "call_", &d->conf.rid, n + 1, (uint32_t)(call - c->call));
		tf_buf_reset(&call->id);
		r = tf_buf_addstr(&call->id, id);
		if (r < 0)
			return r;
	}
	r = chat_close(d, n);
	if (r < 0)
		return r;
	call->begun = true;
	e.item = call->item = c->nitem++;
	e.id = tf_buf_span(&call->id);
	e.name = tf_buf_span(&call->name);
	r = d->conf.emit(d->conf.arg, &e);
	if (r == 0)
		r = emit_args(d, n, call, tf_buf_span(&call->early));
	tf_buf_free(&call->early);
	return r;
}

/* Calls begin in their order. */
static int
begin_upto(struct dl_dec *d, uint32_t n, const struct chat_call *last)
{
	int r = 0;

	for (struct chat_call *call = d->choice[n].call; r == 0 && call <= last; call++)
		if (!call->begun && !call->left_out)
			r = begin(d, n, call);
	return r;
}

static int
apply(struct dl_dec *d, uint32_t n, struct chat_call *call, const struct call_delta *delta)
{
	int r = 0;

	if (call->left_out)
		return 0;
	if (!call->begun && call->id.n == 0)
		r = tf_buf_addspan(&call->id, tf_buf_span(&delta->id));
	if (r == 0 && !call->begun && !same(&call->name, &delta->name))
		r = tf_buf_addspan(&call->name, tf_buf_span(&delta->name));
	if (r < 0 || delta->args.n == 0)
		return r;
	if (call->name.n == 0)
		return tf_buf_addspan(&call->early, tf_buf_span(&delta->args));
	r = begin_upto(d, n, call);
	return r < 0 ? r : emit_args(d, n, call, tf_buf_span(&delta->args));
}

static int
one(struct dl_dec *d, uint32_t n, struct call_delta *delta, struct tf_span el)
{
	struct chat_choice *c = &d->choice[n];
	struct chat_call *call;
	int r = read_delta(el, delta);

	if (r < 0)
		return r;
	call = find(d, c, delta);
	if (call == NULL)
		call = add(d, c, delta);
	return call != NULL ? apply(d, n, call, delta) : TF_E_NOMEM;
}

static void
free_delta(struct call_delta *c)
{
	tf_buf_free(&c->id);
	tf_buf_free(&c->name);
	tf_buf_free(&c->args);
}

int
chat_calls(struct dl_dec *d, uint32_t n, struct tf_span calls)
{
	struct tf_span el;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, calls);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		struct call_delta delta = { .whole = d->conf.asked_json };

		if (js_type(el) == JS_OBJECT)
			r = one(d, n, &delta, el);
		free_delta(&delta);
	}
	return r;
}

int
chat_old_call(struct dl_dec *d, uint32_t n, struct tf_span call)
{
	struct call_delta delta = { .has_index = true, .tool = DL_TOOL_FUNCTION };
	struct chat_choice *c = &d->choice[n];
	struct chat_call *to;
	int r = member_text(call, "name", &delta.name);

	if (r == 0)
		r = member_text(call, "arguments", &delta.args);
	if (r == 0) {
		to = c->ncall > 0 ? &c->call[0] : add(d, c, &delta);
		r = to != NULL ? apply(d, n, to, &delta) : TF_E_NOMEM;
	}
	free_delta(&delta);
	return r;
}

int
chat_calls_end(struct dl_dec *d, uint32_t n)
{
	struct chat_choice *c = &d->choice[n];
	int r = 0;

	if (c->ncall > 0)
		r = begin_upto(d, n, &c->call[c->ncall - 1]);
	for (uint32_t i = 0; r == 0 && i < c->ncall; i++) {
		struct dl_event e = { .kind = DL_EV_ITEM_END,
			.choice = n,
			.item = c->call[i].item,
			.item_kind = DL_ITEM_CALL };

		if (c->call[i].begun)
			r = d->conf.emit(d->conf.arg, &e);
	}
	return r;
}

void
chat_calls_free(struct chat_choice *c)
{
	for (uint32_t i = 0; i < c->ncall; i++) {
		tf_buf_free(&c->call[i].id);
		tf_buf_free(&c->call[i].name);
		tf_buf_free(&c->call[i].early);
	}
	free(c->call);
	c->call = NULL;
	c->ncall = c->callcap = 0;
}
