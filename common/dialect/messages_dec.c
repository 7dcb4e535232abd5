/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes answers of the anthropic_messages dialect, streamed or whole, into canonical events. Blocks
 * that only the provider's own tools make are skipped, and so is every event nobody knows: the API
 * says that there will be more of them. Whatever comes in, the events obey grammar.c.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/messages_dec.h"

struct dl_dec *
messages_dec_new(const struct dl_dec_conf *conf)
{
	struct dl_dec *d = calloc(1, sizeof *d);

	if (d != NULL)
		d->conf = *conf;
	return d;
}

void
messages_dec_free(struct dl_dec **dp)
{
	struct dl_dec *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	for (uint32_t i = 0; i < d->nblock; i++)
		tf_buf_free(&d->block[i].input);
	free(d->block);
	tf_map_free(&d->ids);
	dl_arena_free(&d->arena);
	tf_buf_free(&d->scratch);
	tf_buf_free(&d->mended);
	free(d);
}

static int
emit(struct dl_dec *d, const struct dl_event *e)
{
	struct dl_event passed;

	if (!d->passed)
		return d->conf.emit(d->conf.arg, e);
	passed = *e;
	passed.passed = true;
	return d->conf.emit(d->conf.arg, &passed);
}

static int
fault(struct dl_dec *d, const struct dl_fault *f)
{
	struct dl_event e = { .kind = DL_EV_ERROR, .fault = f };

	d->failed = true;
	return emit(d, &e);
}

static int
failed(struct dl_dec *d, const char *how)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "%s", how);
	f.retryable = true;
	return fault(d, &f);
}

static bool
string(struct tf_span o, const char *name, struct tf_span *v)
{
	return js_member(o, name, v) && js_type(*v) == JS_STRING;
}

int
messages_dec_parse(struct dl_dec *d, struct tf_span data, struct tf_span *out)
{
	int r;

	*out = data;
	if (js_valid(data) == 0) {
		d->carry.n = 0;
		return 0;
	}
	if (dl_utf8_ok(data))
		return TF_E_INVAL;
	tf_buf_reset(&d->mended);
	r = dl_mend(&d->carry, data, &d->mended);
	*out = tf_buf_span(&d->mended);
	if (r < 0)
		return r;
	return js_valid(*out) == 0 ? 0 : TF_E_INVAL;
}

/* ---- usage ------------------------------------------------------------------------------- */

static void
count(struct tf_span usage, const char *path, uint64_t *n)
{
	struct tf_span v;
	uint64_t x;

	if (js_at(usage, path, &v) && js_get_u64(v, &x) == 0 && x < UINT64_MAX / 8)
		*n = x;
}

/* Numbers are cumulative: what is said again replaces what was said before. */
static void
take_usage(struct mdec_usage *u, struct tf_span object)
{
	struct tf_span v;

	if (!js_member(object, "usage", &v) || js_type(v) != JS_OBJECT)
		return;
	u->some = true;
	count(v, "input_tokens", &u->input);
	count(v, "cache_read_input_tokens", &u->read);
	count(v, "cache_creation_input_tokens", &u->write);
	count(v, "output_tokens", &u->output);
	count(v, "output_tokens_details.thinking_tokens", &u->thinking);
}

static struct dl_usage
canonical(const struct mdec_usage *u)
{
	uint64_t thinking = u->thinking < u->output ? u->thinking : u->output;

	return (struct dl_usage){ .prompt = u->input, .cache_read = u->read, .cache_write = u->write,
		.completion = u->output - thinking, .reasoning = thinking };
}

bool
messages_dec_usage(struct tf_span message, struct dl_usage *usage)
{
	struct mdec_usage u = { 0 };

	take_usage(&u, message);
	*usage = canonical(&u);
	return u.some && dl_usage_in(usage) > 0;
}

/* begin: the answer's first event, whose count of output says nothing yet. */
static int
emit_usage(struct dl_dec *d, bool begin)
{
	const struct mdec_usage *u = &d->usage;
	struct dl_event e = { .kind = DL_EV_USAGE, .origin = DL_ANTHROPIC_MESSAGES, .prompt_only = begin };

	if (!u->some || (begin && u->input + u->read + u->write == 0))
		return 0;
	e.usage = canonical(u);
	if (begin)
		e.usage.completion = e.usage.reasoning = 0;
	return emit(d, &e);
}

static int
start(struct dl_dec *d, struct tf_span message)
{
	struct dl_event e = { .kind = DL_EV_START };
	struct tf_span v;
	int r;

	if (d->started)
		return 0;
	d->started = true;
	tf_buf_reset(&d->scratch);
	if (string(message, "id", &v)) {
		r = js_str(v, &d->scratch, &e.id);
		if (r < 0)
			return r;
	}
	return emit(d, &e);
}

/* ---- text -------------------------------------------------------------------------------- */

static int
close_said(struct dl_dec *d)
{
	struct dl_event e = { .kind = DL_EV_ITEM_END, .item = d->item, .item_kind = d->kind };

	if (!d->said)
		return 0;
	d->said = false;
	return emit(d, &e);
}

static int
open_said(struct dl_dec *d, enum dl_item kind)
{
	struct dl_event e = { .kind = DL_EV_ITEM, .item_kind = kind };
	int r;

	if (d->said && d->kind == kind)
		return 0;
	r = close_said(d);
	if (r < 0)
		return r;
	if (d->nitem >= DL_ITEMS_MAX)
		return TF_E_FULL;
	d->said = true;
	d->kind = kind;
	e.item = d->item = d->nitem++;
	return emit(d, &e);
}

/* Characters of a member; nothing when it is absent or empty. */
static int
say(struct dl_dec *d, enum dl_item kind, enum dl_ev what, struct tf_span o, const char *member)
{
	struct dl_event e = { .kind = what, .item_kind = kind, .origin = DL_ANTHROPIC_MESSAGES };
	struct tf_span v;
	int r;

	if (!string(o, member, &v) || v.n <= 2)
		return 0;
	r = open_said(d, kind);
	if (r < 0)
		return r;
	tf_buf_reset(&d->scratch);
	r = js_str(v, &d->scratch, &e.text);
	e.item = d->item;
	return r < 0 ? r : emit(d, &e);
}

/* ---- blocks ------------------------------------------------------------------------------ */

static struct mdec_block *
find(struct dl_dec *d, uint64_t index)
{
	for (uint32_t i = d->nblock; i-- > 0;)
		if (d->block[i].index == index)
			return &d->block[i];
	return NULL;
}

static struct mdec_block *
add(struct dl_dec *d, uint64_t index, enum mdec_kind kind)
{
	struct mdec_block *v = d->nblock < DL_ITEMS_MAX ? tf_grow(d->block, d->nblock, &d->cap, sizeof *v, 4) : NULL;

	if (v == NULL)
		return NULL;
	d->block = v;
	v = &d->block[d->nblock++];
	*v = (struct mdec_block){ .index = index, .kind = kind };
	return v;
}

static enum mdec_kind
block_kind(struct tf_span block)
{
	struct tf_span v;

	if (!string(block, "type", &v))
		return MDEC_OTHER;
	return js_str_eq(v, "text")	? MDEC_TEXT
	    : js_str_eq(v, "thinking")	? MDEC_THINKING
	    : js_str_eq(v, "tool_use")	? MDEC_CALL
					: MDEC_OTHER;
}

/* An id that no other call of the answer has. */
static int
call_id(struct dl_dec *d, struct tf_span block, struct tf_buf *id)
{
	char minted[64];
	struct tf_span v;
	int r = 0;

	if (string(block, "id", &v))
		r = js_str_append(v, id);
	if (r < 0)
		return r;
	if (id->n == 0 || (d->conf.quirks & DL_Q_MINT_TOOL_IDS) || tf_map_get(&d->ids, tf_buf_span(id)) != NULL) {
		dl_mint_id(minted, sizeof minted, "toolu_", &d->conf.rid, d->ncall, 4);
		tf_buf_reset(id);
		r = tf_buf_addstr(id, minted);
	}
	if (r < 0)
		return r;
	v = dl_arena_dup(&d->arena, tf_buf_span(id));
	return v.p != NULL ? tf_map_put(&d->ids, v, d) : TF_E_NOMEM;
}

/* A call nobody could make: no name; one too many. */
static bool
left_out(const struct dl_dec *d, struct tf_span block)
{
	struct tf_span v;

	return !string(block, "name", &v) || v.n <= 2 || (d->conf.one_call && d->ncall > 0) || d->nitem >= DL_ITEMS_MAX;
}

static int
begin_call(struct dl_dec *d, struct mdec_block *b, struct tf_span block)
{
	struct dl_event e = { .kind = DL_EV_ITEM, .item_kind = DL_ITEM_CALL };
	struct tf_buf id = { 0 };
	struct tf_span v;
	struct js_w w;
	int r;

	if (left_out(d, block)) {
		b->kind = MDEC_OTHER;
		return 0;
	}
	r = close_said(d);
	if (r == 0)
		r = call_id(d, block, &id);
	if (r == 0) {
		b->item = d->nitem++;
		d->ncall++;
		tf_buf_reset(&d->scratch);
		(void)string(block, "name", &v);
		r = js_str(v, &d->scratch, &e.name);
		e.item = b->item;
		e.id = tf_buf_span(&id);
	}
	if (r == 0)
		r = emit(d, &e);
	tf_buf_free(&id);
	/* the whole input may stand here, and no piece of it follow */
	if (r == 0 && js_member(block, "input", &v) && js_type(v) == JS_OBJECT && v.n > 2) {
		js_w_init(&w, &b->input);
		js_w_compact(&w, v);
		r = js_w_done(&w);
		if (tf_span_is(tf_buf_span(&b->input), "{}"))
			tf_buf_reset(&b->input);
	}
	return r;
}

static int
begin_block(struct dl_dec *d, uint64_t index, struct tf_span block)
{
	struct mdec_block *b = find(d, index);
	int r = 0;

	if (b != NULL)
		return TF_E_INVAL;
	b = add(d, index, block_kind(block));
	if (b == NULL)
		return TF_E_FULL;
	/* what two blocks of one kind say is two items */
	if (b->kind != MDEC_OTHER)
		r = close_said(d);
	if (r < 0)
		return r;
	if (b->kind == MDEC_TEXT)
		return say(d, DL_ITEM_TEXT, DL_EV_TEXT, block, "text");
	if (b->kind == MDEC_CALL)
		return begin_call(d, b, block);
	if (b->kind != MDEC_THINKING)
		return 0;
	r = say(d, DL_ITEM_REASONING, DL_EV_REASONING, block, "thinking");
	return r < 0 ? r : say(d, DL_ITEM_REASONING, DL_EV_SIGNATURE, block, "signature");
}

static int
args(struct dl_dec *d, struct mdec_block *b, struct tf_span text)
{
	struct dl_event e = { .kind = DL_EV_ARGS, .item = b->item, .item_kind = DL_ITEM_CALL, .text = text };

	return text.n > 0 ? emit(d, &e) : 0;
}

static int
piece(struct dl_dec *d, struct mdec_block *b, struct tf_span delta)
{
	struct tf_span v;
	int r;

	switch (b->kind) {
	case MDEC_TEXT:
		return say(d, DL_ITEM_TEXT, DL_EV_TEXT, delta, "text");
	case MDEC_THINKING:
		r = say(d, DL_ITEM_REASONING, DL_EV_REASONING, delta, "thinking");
		return r < 0 ? r : say(d, DL_ITEM_REASONING, DL_EV_SIGNATURE, delta, "signature");
	case MDEC_CALL:
		if (!string(delta, "partial_json", &v) || v.n <= 2)
			return 0;
		b->args = true;
		tf_buf_reset(&d->scratch);
		r = js_str(v, &d->scratch, &v);
		return r < 0 ? r : args(d, b, v);
	default:
		return 0;
	}
}

static int
end_block(struct dl_dec *d, struct mdec_block *b)
{
	struct dl_event e = { .kind = DL_EV_ITEM_END, .item = b->item, .item_kind = DL_ITEM_CALL };
	int r = 0;

	if (b->kind == MDEC_CALL) {
		if (!b->args)
			r = args(d, b, tf_buf_span(&b->input));
		if (r == 0)
			r = emit(d, &e);
	} else if (b->kind != MDEC_OTHER) {
		r = close_said(d);
	}
	tf_buf_free(&b->input);
	memmove(b, b + 1, (size_t)(d->block + d->nblock - (b + 1)) * sizeof *b);
	d->nblock--;
	return r;
}

/* ---- the end ----------------------------------------------------------------------------- */

enum dl_finish
messages_finish(struct tf_span text)
{
	static const struct {
		const char *name;
		enum dl_finish finish;
	} names[] = {
		{ "max_tokens", DL_FINISH_LENGTH },
		{ "model_context_window_exceeded", DL_FINISH_LENGTH },
		{ "tool_use", DL_FINISH_CALLS },
		{ "refusal", DL_FINISH_FILTER },
		{ "compaction", DL_FINISH_NONE },
	};

	for (size_t i = 0; i < TF_LEN(names); i++)
		if (js_str_eq(text, names[i].name))
			return names[i].finish;
	return DL_FINISH_STOP; /* end_turn, stop_sequence, pause_turn and whatever else is a natural end */
}

static int
finish(struct dl_dec *d, enum dl_finish why, struct tf_span matched)
{
	struct dl_event e = { .kind = DL_EV_FINISH };
	int r = close_said(d);

	while (r == 0 && d->nblock > 0)
		r = end_block(d, &d->block[0]);
	if (r < 0 || d->finished)
		return r;
	if (d->ncall > 0 && why == DL_FINISH_STOP)
		why = DL_FINISH_CALLS;
	if (d->ncall == 0 && why == DL_FINISH_CALLS)
		why = DL_FINISH_STOP;
	d->finished = true;
	e.finish = why;
	tf_buf_reset(&d->scratch);
	if (js_type(matched) == JS_STRING && matched.n > 2)
		r = js_str(matched, &d->scratch, &e.text);
	return r < 0 ? r : emit(d, &e);
}

/* from: the delta of message_delta, or the message. */
static int
stop(struct dl_dec *d, struct tf_span from)
{
	struct tf_span why, v, matched = tf_span(NULL, 0);
	enum dl_finish f;
	int r;

	if (d->finished || !string(from, "stop_reason", &why))
		return 0;
	f = messages_finish(why);
	if (f == DL_FINISH_NONE)
		return failed(d, "The model's runtime gave up on this answer.");
	(void)js_member(from, "stop_sequence", &matched);
	if (f != DL_FINISH_FILTER || !js_member(from, "stop_details", &v))
		return finish(d, f, matched);
	/* why it does not answer, in the words of the model */
	r = say(d, DL_ITEM_REFUSAL, DL_EV_TEXT, v, "explanation");
	return r < 0 ? r : finish(d, f, matched);
}

/* Nothing more comes. */
static int
settle(struct dl_dec *d, enum dl_finish why)
{
	int r;

	if (d->done || d->failed)
		return 0;
	if (!d->finished && d->nitem == 0)
		return failed(d, "The model's runtime ended without an answer.");
	r = d->finished ? 0 : finish(d, why, tf_span(NULL, 0));
	d->done = r == 0;
	return r;
}

/* ---- events ------------------------------------------------------------------------------ */

static int
on_error(struct dl_dec *d, struct tf_span data)
{
	struct dl_fault f;

	dl_upstream_fault(200, data, 0, d->conf.quirks, &f);
	return fault(d, &f);
}

static int
on_start(struct dl_dec *d, struct tf_span data)
{
	struct tf_span m = tf_span(NULL, 0);
	int r;

	(void)js_member(data, "message", &m);
	if (d->started)
		return TF_E_INVAL;
	r = start(d, m);
	take_usage(&d->usage, m);
	return r < 0 ? r : emit_usage(d, true);
}

static int
on_delta(struct dl_dec *d, struct tf_span data)
{
	struct tf_span delta = tf_span(NULL, 0);
	int r = start(d, delta);

	take_usage(&d->usage, data);
	(void)js_member(data, "delta", &delta);
	if (r == 0)
		r = emit_usage(d, false);
	return r < 0 ? r : stop(d, delta);
}

static int
on_block(struct dl_dec *d, struct tf_span type, struct tf_span data)
{
	struct mdec_block *b;
	struct tf_span v;
	uint64_t index;
	int r;

	if (!js_member(data, "index", &v) || js_get_u64(v, &index) < 0)
		return TF_E_INVAL;
	r = start(d, tf_span(NULL, 0));
	if (r < 0 || d->finished)
		return r;
	if (tf_span_is(type, "content_block_start"))
		return js_member(data, "content_block", &v) ? begin_block(d, index, v) : TF_E_INVAL;
	b = find(d, index);
	if (b == NULL)
		return TF_E_INVAL;
	if (tf_span_is(type, "content_block_stop"))
		return end_block(d, b);
	return js_member(data, "delta", &v) ? piece(d, b, v) : TF_E_INVAL;
}

int
messages_dec_apply(struct dl_dec *d, struct tf_span type, struct tf_span data)
{
	if (tf_span_is(type, "error"))
		return on_error(d, data);
	if (tf_span_is(type, "message_start"))
		return on_start(d, data);
	if (tf_span_is(type, "message_delta"))
		return on_delta(d, data);
	if (tf_span_is(type, "message_stop"))
		return settle(d, DL_FINISH_STOP);
	if (tf_span_is(type, "content_block_start") || tf_span_is(type, "content_block_delta") ||
	    tf_span_is(type, "content_block_stop"))
		return on_block(d, type, data);
	return type.n > 0 ? 0 : TF_E_INVAL;
}

int
messages_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data)
{
	struct tf_buf name = { 0 };
	struct tf_span type, v;
	int r;

	if (d->done || d->failed)
		return 0;
	r = messages_dec_parse(d, data, &data);
	if (r == TF_E_INVAL && tf_span_is(event, "error"))
		return on_error(d, tf_span(NULL, 0));
	type = event;
	if (r == 0 && !tf_span_is(event, "error") && string(data, "type", &v))
		r = js_str(v, &name, &type);
	if (r == 0)
		r = messages_dec_apply(d, type, data);
	tf_buf_free(&name);
	return r;
}

static int
whole(struct dl_dec *d, struct tf_span body)
{
	struct tf_span v, el;
	struct js_iter it;
	uint64_t n = 0;
	int r;

	if (js_member(body, "error", &v) && !js_is_null(v))
		return on_error(d, body);
	if (!js_member(body, "content", &v) || js_type(v) != JS_ARRAY)
		return TF_E_INVAL;
	r = start(d, body);
	js_iter_init(&it, v);
	for (; r == 0 && js_iter_next(&it, NULL, &el); n++) {
		r = begin_block(d, n, el);
		if (r == 0)
			r = end_block(d, find(d, n));
	}
	take_usage(&d->usage, body);
	if (r == 0)
		r = emit_usage(d, false);
	if (r == 0)
		r = stop(d, body);
	return r < 0 || d->failed ? r : settle(d, DL_FINISH_STOP);
}

int
messages_dec_response(struct dl_dec *d, struct tf_span body)
{
	int r = messages_dec_parse(d, body, &body);

	if (r == 0)
		r = whole(d, body);
	if (r == 0 || r == TF_E_NOMEM)
		return r;
	return failed(d, "The model's runtime gave an answer that cannot be read.");
}

int
messages_dec_end(struct dl_dec *d)
{
	if (d->failed || d->finished) {
		d->done = !d->failed;
		return 0;
	}
	return failed(d, "The model's runtime broke off its answer.");
}

int
messages_dec_cut(struct dl_dec *d)
{
	return settle(d, DL_FINISH_LENGTH);
}

enum dl_state
messages_dec_state(const struct dl_dec *d)
{
	return !d->finished ? DL_GOING : d->done ? DL_DONE : DL_FINISHED;
}
