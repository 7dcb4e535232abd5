/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items of an answer in the Responses API as canonical items. Servers differ in what they say when:
 * ids that change on the way, no indexes, text or arguments only at the end of an item or of the whole
 * answer. Whatever was given out once is not given out again. Called by responses_dec.c.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/responses_dec.h"

void
rdec_items_free(struct dl_dec *d)
{
	for (uint32_t i = 0; i < d->count; i++) {
		struct rdec_item *it = &d->item[i];

		tf_buf_free(&it->id);
		tf_buf_free(&it->call_id);
		tf_buf_free(&it->name);
		tf_buf_free(&it->early);
		free(it->part);
	}
	free(d->item);
}

static struct rdec_item *
add(struct dl_dec *d, const struct rdec_event *e, enum rdec_kind kind)
{
	struct rdec_item *v = d->count < RDEC_ITEMS ? tf_grow(d->item, d->count, &d->cap, sizeof *v, 4) : NULL;

	if (v == NULL)
		return NULL;
	d->item = v;
	v = &d->item[d->count];
	memset(v, 0, sizeof *v);
	v->kind = kind;
	v->has_index = e->has_index;
	v->index = e->output_index;
	if (e->item_id.n > 2 && js_str_append(e->item_id, &v->id) < 0) {
		tf_buf_free(&v->id);
		return NULL;
	}
	d->count++;
	return v;
}

/* The id decides where both have it, else the index; ids of some servers change between events of one item. */
struct rdec_item *
rdec_item_of(struct dl_dec *d, const struct rdec_event *e, enum rdec_kind kind)
{
	for (uint32_t i = d->count; i-- > 0;) {
		struct rdec_item *it = &d->item[i];

		if (it->kind == kind && it->id.n > 0 && e->item_id.n > 2 && js_str_eqn(e->item_id, tf_buf_span(&it->id)))
			return it;
	}
	for (uint32_t i = d->count; i-- > 0;) {
		struct rdec_item *it = &d->item[i];

		if (it->kind != kind || it->over)
			continue;
		if (e->has_index && it->has_index ? it->index == e->output_index : e->item_id.n <= 2 || it->id.n == 0)
			return it;
	}
	return add(d, e, kind);
}

enum rdec_kind
rdec_kind_of(struct tf_span item)
{
	struct tf_span type;

	if (!js_member(item, "type", &type))
		return RDEC_OTHER;
	if (js_str_eq(type, "message"))
		return RDEC_MESSAGE;
	if (js_str_eq(type, "reasoning"))
		return RDEC_REASONING;
	return js_str_eq(type, "function_call") || js_str_eq(type, "custom_tool_call") ? RDEC_CALL : RDEC_OTHER;
}

/* ---- text -------------------------------------------------------------------------------- */

static int
close_said(struct dl_dec *d)
{
	struct dl_event e = { .kind = DL_EV_ITEM_END, .item = d->open_item, .item_kind = d->open_kind };

	if (!d->open)
		return 0;
	d->open = false;
	return rdec_emit(d, &e);
}

static int
give(struct dl_dec *d, enum dl_item kind, struct tf_span text)
{
	struct dl_event e = { .kind = DL_EV_ITEM, .item_kind = kind };
	int r;

	if (text.n == 0)
		return 0;
	if (!d->open || d->open_kind != kind) {
		r = close_said(d);
		if (r < 0)
			return r;
		if (d->nitem >= DL_ITEMS_MAX)
			return TF_E_FULL;
		d->open = true;
		d->open_kind = kind;
		e.item = d->open_item = d->nitem++;
		r = rdec_emit(d, &e);
		if (r < 0)
			return r;
	}
	e.kind = kind == DL_ITEM_REASONING ? DL_EV_REASONING : DL_EV_TEXT;
	e.item = d->open_item;
	e.text = text;
	if (kind == DL_ITEM_TEXT) {
		e.logprobs = d->logprobs;
		d->logprobs = tf_span(NULL, 0);
	}
	return rdec_emit(d, &e);
}

static int
on_think(void *arg, bool reasoning, struct tf_span text)
{
	return give(arg, reasoning ? DL_ITEM_REASONING : DL_ITEM_TEXT, text);
}

/* Was something of that part given out? Notes that now it is. */
static int
part_said(struct rdec_item *it, enum rdec_what what, uint64_t index, bool *before)
{
	struct rdec_part *v;

	*before = true;
	for (uint32_t i = it->nparts; i-- > 0;)
		if (it->part[i].what == what && it->part[i].index == index)
			return 0;
	*before = false;
	if (it->nparts == RDEC_PARTS)
		return TF_E_FULL;
	v = tf_grow(it->part, it->nparts, &it->cap, sizeof *v, 2);
	if (v == NULL)
		return TF_E_NOMEM;
	it->part = v;
	it->part[it->nparts++] = (struct rdec_part){ what, index };
	return 0;
}

/* A model's thoughts come raw or as a summary; where both come the first kind of an item is what is shown. */
static bool
other_thoughts(const struct rdec_item *it, enum rdec_what what)
{
	for (uint32_t i = 0; i < it->nparts; i++)
		if ((it->part[i].what == RDEC_SUMMARY && what == RDEC_THOUGHT) ||
		    (it->part[i].what == RDEC_THOUGHT && what == RDEC_SUMMARY))
			return true;
	return false;
}

int
rdec_say(struct dl_dec *d, struct rdec_item *it, enum rdec_what what, uint64_t index, struct tf_span raw, bool done)
{
	struct tf_span text;
	bool before, first = it->nparts == 0;
	int r;

	if (js_type(raw) != JS_STRING || raw.n <= 2 || other_thoughts(it, what))
		return 0;
	r = part_said(it, what, index, &before);
	if (r < 0 || (done && before))
		return r;
	d->said[what] = true;
	tf_buf_reset(&d->scratch);
	r = js_str(raw, &d->scratch, &text);
	/* parts of a summary are paragraphs */
	if (r == 0 && what == RDEC_SUMMARY && !before && !first)
		r = give(d, DL_ITEM_REASONING, TF_SPAN("\n\n"));
	if (r < 0)
		return r;
	if (what == RDEC_TEXT && (d->conf.quirks & DL_Q_INLINE_THINK))
		return dl_think_feed(&d->think, text, on_think, d);
	return give(d, what == RDEC_TEXT ? DL_ITEM_TEXT : what == RDEC_REFUSAL ? DL_ITEM_REFUSAL : DL_ITEM_REASONING, text);
}

/* ---- calls ------------------------------------------------------------------------------- */

static bool
good_id(struct tf_span id)
{
	for (size_t i = 0; i < id.n; i++) {
		unsigned char c = (unsigned char)id.p[i];

		if (c <= 0x20 || c >= 0x7f || c == '"' || c == '\\')
			return false;
	}
	return id.n > 0 && id.n <= 256;
}

static bool
taken(const struct dl_dec *d, const struct rdec_item *by, struct tf_span id)
{
	for (uint32_t i = 0; i < d->count; i++)
		if (&d->item[i] != by && d->item[i].begun && tf_span_eq(tf_buf_span(&d->item[i].call_id), id))
			return true;
	return false;
}

static int
begin_call(struct dl_dec *d, struct rdec_item *it)
{
	struct dl_event e = { .kind = DL_EV_ITEM, .item_kind = DL_ITEM_CALL, .tool = it->tool };
	char minted[32];
	int r;

	if (it->begun || it->left_out || it->name.n == 0)
		return 0;
	if (d->ncall >= (d->conf.one_call ? 1 : RDEC_CALLS) || d->nitem >= DL_ITEMS_MAX) {
		it->left_out = true;
		return 0;
	}
	if ((d->conf.quirks & DL_Q_MINT_TOOL_IDS) || !good_id(tf_buf_span(&it->call_id)) ||
	    taken(d, it, tf_buf_span(&it->call_id))) {
		dl_mint_id(minted, sizeof minted, "call_", &d->conf.rid, 0, d->ncall);
		tf_buf_reset(&it->call_id);
		r = tf_buf_addstr(&it->call_id, minted);
		if (r < 0)
			return r;
	}
	r = close_said(d);
	if (r < 0)
		return r;
	it->begun = true;
	it->item = e.item = d->nitem++;
	d->ncall++;
	e.id = tf_buf_span(&it->call_id);
	e.name = tf_buf_span(&it->name);
	return rdec_emit(d, &e);
}

static int
emit_args(struct dl_dec *d, struct rdec_item *it, struct tf_span text)
{
	struct dl_event e = {
		.kind = DL_EV_ARGS, .item = it->item, .item_kind = DL_ITEM_CALL, .tool = it->tool, .text = text
	};

	if (text.n == 0 || it->ended)
		return 0;
	it->args = true;
	return rdec_emit(d, &e);
}

int
rdec_args(struct dl_dec *d, struct rdec_item *it, struct tf_span raw, bool done)
{
	struct tf_span text = raw;
	int r = 0;

	if (it->left_out || (done && (it->args || it->early.n > 0)))
		return 0;
	tf_buf_reset(&d->scratch);
	if (js_type(raw) == JS_STRING)
		r = js_str(raw, &d->scratch, &text);
	else if (js_type(raw) != JS_OBJECT) /* arguments that were not turned into text are */
		return 0;
	if (r < 0)
		return r;
	return it->begun ? emit_args(d, it, text) : tf_buf_addspan(&it->early, text);
}

static int
take(struct tf_span object, const char *name, struct tf_buf *to)
{
	struct tf_span v;

	return to->n == 0 && js_member(object, name, &v) && js_type(v) == JS_STRING ? js_str_append(v, to) : 0;
}

/* A tool in a namespace has a flat name everywhere but in this API. */
static int
take_name(struct tf_span object, struct tf_buf *to)
{
	struct tf_buf space = { 0 }, name = { 0 };
	int r = take(object, "namespace", &space);

	if (r == 0)
		r = take(object, "name", &name);
	if (r == 0 && name.n > 0)
		r = space.n > 0 ? responses_flat(tf_buf_span(&space), tf_buf_span(&name), to)
				: tf_buf_addspan(to, tf_buf_span(&name));
	tf_buf_free(&space);
	tf_buf_free(&name);
	return r;
}

int
rdec_call(struct dl_dec *d, struct rdec_item *it, struct tf_span object)
{
	struct tf_span v;
	int r;

	if (it->begun || it->left_out)
		return 0;
	if (js_member(object, "type", &v))
		it->tool = js_str_eq(v, "custom_tool_call") ? DL_TOOL_CUSTOM : DL_TOOL_FUNCTION;
	r = take(object, "call_id", &it->call_id);
	if (r == 0 && it->name.n == 0)
		r = take_name(object, &it->name);
	if (r == 0)
		r = begin_call(d, it);
	if (r == 0 && it->begun && it->early.n > 0) {
		r = emit_args(d, it, tf_buf_span(&it->early));
		tf_buf_free(&it->early);
	}
	return r;
}

static int
end_call(struct dl_dec *d, struct rdec_item *it)
{
	struct dl_event e = { .kind = DL_EV_ITEM_END, .item = it->item, .item_kind = DL_ITEM_CALL, .tool = it->tool };

	if (it->kind != RDEC_CALL || !it->begun || it->ended)
		return 0;
	it->ended = true;
	return rdec_emit(d, &e);
}

/* ---- whole items ------------------------------------------------------------------------- */

static int
parts(struct dl_dec *d, struct rdec_item *it, struct tf_span list, bool summary)
{
	struct tf_span el, type, text;
	struct js_iter iter;
	uint64_t n = 0;
	int r = 0;

	js_iter_init(&iter, list);
	for (; r == 0 && js_iter_next(&iter, NULL, &el); n++) {
		bool refusal = js_member(el, "type", &type) && js_str_eq(type, "refusal");
		enum rdec_what what = summary ? RDEC_SUMMARY
		    : it->kind == RDEC_REASONING ? RDEC_THOUGHT
		    : refusal ? RDEC_REFUSAL
			      : RDEC_TEXT;

		if (!js_member(el, refusal ? "refusal" : "text", &text))
			continue;
		if (!js_member(el, "logprobs", &d->logprobs) || js_type(d->logprobs) != JS_ARRAY || d->logprobs.n <= 2)
			d->logprobs = tf_span(NULL, 0);
		r = rdec_say(d, it, what, n, text, true);
	}
	d->logprobs = tf_span(NULL, 0);
	return r;
}

/* What proves that reasoning is the model's own, for whoever gives it back. */
static int
signature(struct dl_dec *d, struct tf_span object)
{
	struct dl_event e = { .kind = DL_EV_SIGNATURE, .item = d->open_item, .item_kind = DL_ITEM_REASONING };
	struct tf_span v;
	int r;

	if (!d->open || d->open_kind != DL_ITEM_REASONING || !js_member(object, "encrypted_content", &v) ||
	    js_type(v) != JS_STRING || v.n <= 2)
		return 0;
	tf_buf_reset(&d->scratch);
	r = js_str(v, &d->scratch, &e.text);
	return r < 0 ? r : rdec_emit(d, &e);
}

int
rdec_whole(struct dl_dec *d, struct rdec_item *it, struct tf_span object)
{
	struct tf_span v;
	int r = 0;

	if (it->over)
		return 0;
	it->over = true;
	if (it->kind == RDEC_CALL) {
		r = rdec_call(d, it, object);
		if (r == 0 && (js_member(object, "arguments", &v) || js_member(object, "input", &v)))
			r = rdec_args(d, it, v, true);
		return r < 0 ? r : end_call(d, it);
	}
	if (js_member(object, "content", &v))
		r = parts(d, it, v, false);
	if (r == 0 && it->kind == RDEC_REASONING && js_member(object, "summary", &v))
		r = parts(d, it, v, true);
	return r == 0 && it->kind == RDEC_REASONING ? signature(d, object) : r;
}

int
rdec_close_all(struct dl_dec *d, bool cut)
{
	int r = 0;

	if (d->conf.quirks & DL_Q_INLINE_THINK)
		r = dl_think_end(&d->think, cut || d->ncall > 0, on_think, d);
	if (r == 0)
		r = close_said(d);
	for (uint32_t i = 0; r == 0 && i < d->count; i++)
		r = end_call(d, &d->item[i]);
	return r;
}
