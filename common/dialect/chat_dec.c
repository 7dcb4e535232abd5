/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes answers of the openai_chat dialect and of the older openai_completions, streamed or whole, into
 * canonical events. Mends what runtimes get wrong: missing or wrong finish reasons, both names of reasoning,
 * inline reasoning, usage anywhere. Whatever comes in, the events obey grammar.c.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat.h"

struct dl_dec *
chat_dec_new(const struct dl_dec_conf *conf)
{
	struct dl_dec *d = calloc(1, sizeof *d);

	if (d != NULL)
		d->conf = *conf;
	return d;
}

struct dl_dec *
chat_dec_new_bare(const struct dl_dec_conf *conf)
{
	struct dl_dec *d = chat_dec_new(conf);

	if (d != NULL)
		d->msg.bare = true;
	return d;
}

static enum dl_dialect
origin(const struct dl_dec *d)
{
	return d->msg.bare ? DL_OPENAI_COMPLETIONS : DL_OPENAI_CHAT;
}

/* Reasoning stands inside of text, but bare text has none. */
static bool
thinks_inline(const struct dl_dec *d)
{
	return (d->conf.quirks & DL_Q_INLINE_THINK) && !d->msg.bare;
}

void
chat_dec_free(struct dl_dec **dp)
{
	struct dl_dec *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	for (uint32_t i = 0; i < d->nchoice; i++) {
		chat_calls_free(&d->choice[i]);
		dl_think_fini(&d->choice[i].think);
	}
	free(d->choice);
	chat_msg_fini(&d->msg);
	tf_buf_free(&d->scratch);
	tf_buf_free(&d->mended);
	free(d);
}

struct chat_choice *
chat_dec_choice(struct dl_dec *d, uint32_t n)
{
	struct chat_choice *v;

	if (n < d->nchoice)
		return &d->choice[n];
	v = dl_choices(d->choice, n, &d->nchoice, sizeof *v);
	if (v == NULL)
		return NULL;
	d->choice = v;
	return &v[n];
}

static int
fault(struct dl_dec *d, const struct dl_fault *f)
{
	struct dl_event e = { .kind = DL_EV_ERROR, .fault = f };

	d->failed = true;
	return d->conf.emit(d->conf.arg, &e);
}

/* ---- numbers and reasons ----------------------------------------------------------------- */

static uint64_t
count(struct tf_span object, const char *path, bool *found)
{
	struct tf_span v;
	uint64_t n;
	double x;

	if (!js_at(object, path, &v))
		return 0;
	if (js_get_u64(v, &n) < 0) {
		if (js_get_double(v, &x) < 0 || !(x >= 0) || x > 1e15)
			return 0;
		n = (uint64_t)x;
	}
	*found = true;
	return n < UINT64_MAX / 8 ? n : 0;
}

bool
chat_usage(struct tf_span usage, struct dl_usage *u)
{
	bool found = false, some = false;
	uint64_t prompt = count(usage, "prompt_tokens", &found),
		 out = count(usage, "completion_tokens", &found);
	uint64_t reasoning = count(usage, "completion_tokens_details.reasoning_tokens", &some);

	u->cache_read = count(usage, "prompt_tokens_details.cached_tokens", &some);
	u->cache_write = count(usage, "prompt_tokens_details.cache_write_tokens", &some);
	/* more cached than there was: the total is what is trusted */
	if (u->cache_read > prompt)
		u->cache_read = prompt;
	if (u->cache_write > prompt - u->cache_read)
		u->cache_write = prompt - u->cache_read;
	u->prompt = prompt - u->cache_read - u->cache_write;
	/* some count reasoning beside completion_tokens */
	u->completion = reasoning > out ? out : out - reasoning;
	u->reasoning = reasoning;
	return found;
}

enum dl_finish
chat_finish(struct tf_span text, bool *failed)
{
	static const struct {
		const char *name;
		enum dl_finish finish; /* NONE: the runtime gave up */
	} names[] = {
		{ "stop", DL_FINISH_STOP },
		{ "length", DL_FINISH_LENGTH },
		{ "tool_calls", DL_FINISH_CALLS },
		{ "function_call", DL_FINISH_CALLS },
		{ "content_filter", DL_FINISH_FILTER },
		{ "max_tokens", DL_FINISH_LENGTH },
		{ "tool_use", DL_FINISH_CALLS },
		{ "safety", DL_FINISH_FILTER },
		{ "abort", DL_FINISH_NONE },
		{ "error", DL_FINISH_NONE },
		{ "cancelled", DL_FINISH_NONE },
		{ "insufficient_system_resource", DL_FINISH_NONE },
	};

	*failed = false;
	for (size_t i = 0; i < TF_LEN(names); i++)
		if (js_str_eq(text, names[i].name)) {
			*failed = names[i].finish == DL_FINISH_NONE;
			return names[i].finish;
		}
	return DL_FINISH_STOP; /* eos_token, stop_sequence, end_turn and whatever else is a natural
	                          end */
}

/* ---- text -------------------------------------------------------------------------------- */

int
chat_close(struct dl_dec *d, uint32_t n)
{
	struct chat_choice *c = &d->choice[n];
	struct dl_event e = {
		.kind = DL_EV_ITEM_END, .choice = n, .item = c->open_item, .item_kind = c->open_kind
	};

	if (!c->open)
		return 0;
	c->open = false;
	return d->conf.emit(d->conf.arg, &e);
}

/* Characters of text, reasoning or a refusal. */
static int
say(struct dl_dec *d, uint32_t n, enum dl_item kind, struct tf_span text)
{
	struct chat_choice *c = &d->choice[n];
	struct dl_event e = { .kind = DL_EV_ITEM, .choice = n, .item_kind = kind };
	int r;

	if (text.n == 0 && (kind != DL_ITEM_TEXT || d->logprobs.n == 0))
		return 0;
	if (!c->open || c->open_kind != kind) {
		r = chat_close(d, n);
		if (r < 0)
			return r;
		if (c->nitem >= DL_ITEMS_MAX)
			return TF_E_FULL;
		c->open = c->said = true;
		c->open_kind = kind;
		e.item = c->open_item = c->nitem++;
		r = d->conf.emit(d->conf.arg, &e);
		if (r < 0)
			return r;
	}
	e.kind = kind == DL_ITEM_REASONING ? DL_EV_REASONING : DL_EV_TEXT;
	e.item = c->open_item;
	e.text = text;
	if (kind == DL_ITEM_TEXT) {
		e.logprobs = d->logprobs;
		d->logprobs = tf_span(NULL, 0);
	}
	return d->conf.emit(d->conf.arg, &e);
}

static int
on_think(void *arg, bool reasoning, struct tf_span text)
{
	struct dl_dec *d = arg;

	return say(d, d->current, reasoning ? DL_ITEM_REASONING : DL_ITEM_TEXT, text);
}

static int
text(struct dl_dec *d, uint32_t n, struct tf_span s)
{
	if (!thinks_inline(d))
		return say(d, n, DL_ITEM_TEXT, s);
	d->current = n;
	return dl_think_feed(&d->choice[n].think, s, on_think, d);
}

static int
say_json(struct dl_dec *d, uint32_t n, enum dl_item kind, struct tf_span raw)
{
	struct tf_span s;
	int r;

	if (raw.n == 0)
		return 0;
	tf_buf_reset(&d->scratch);
	r = js_str(raw, &d->scratch, &s);
	if (r < 0)
		return r;
	return kind == DL_ITEM_TEXT ? text(d, n, s) : say(d, n, kind, s);
}

/* Content as a list of parts, as one vendor gives it. */
static int
parts(struct dl_dec *d, uint32_t n, struct tf_span list)
{
	struct tf_span part, type, v;
	struct js_iter it, in;
	int r = 0;

	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &part)) {
		if (!js_member(part, "type", &type))
			continue;
		if (js_str_eq(type, "text") && js_member(part, "text", &v) &&
		    js_type(v) == JS_STRING)
			r = say_json(d, n, DL_ITEM_TEXT, v);
		if (!js_str_eq(type, "thinking") || !js_member(part, "thinking", &v))
			continue;
		js_iter_init(&in, v);
		if (js_type(v) == JS_STRING)
			r = say_json(d, n, DL_ITEM_REASONING, v);
		while (r == 0 && js_iter_next(&in, NULL, &part))
			if (js_member(part, "text", &v) && js_type(v) == JS_STRING)
				r = say_json(d, n, DL_ITEM_REASONING, v);
	}
	return r;
}

/* ---- a chunk ----------------------------------------------------------------------------- */

static int
start(struct dl_dec *d)
{
	struct dl_event e = { .kind = DL_EV_START };
	int r;

	if (d->started)
		return 0;
	d->started = true;
	tf_buf_reset(&d->scratch);
	if (d->msg.id.n > 0) {
		r = js_str(d->msg.id, &d->scratch, &e.id);
		if (r < 0)
			return r;
	}
	if (d->msg.created.n == 0 || js_get_i64(d->msg.created, &e.created) < 0 || e.created < 0)
		e.created = 0;
	return d->conf.emit(d->conf.arg, &e);
}

static int
extras(struct dl_dec *d, enum dl_level level, uint32_t piece, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < d->msg.nextra; i++) {
		const struct chat_extra *x = &d->msg.extra[i];
		bool here =
		    x->piece == piece && (level == DL_LEVEL_TOP) == (x->level == DL_LEVEL_TOP);
		struct dl_event e = { .kind = DL_EV_RAW,
			.choice = n,
			.level = x->level,
			.origin = origin(d),
			.name = x->key,
			.text = x->value };

		if (here)
			r = d->conf.emit(d->conf.arg, &e);
	}
	return r;
}

static int
finish(struct dl_dec *d, uint32_t n, enum dl_finish why, struct tf_span matched)
{
	struct chat_choice *c = &d->choice[n];
	struct dl_event e = { .kind = DL_EV_FINISH, .choice = n };
	bool calls = false;
	int r = 0;

	if (thinks_inline(d)) {
		d->current = n;
		r = dl_think_end(&c->think, why == DL_FINISH_LENGTH || c->ncall > 0, on_think, d);
	}
	if (r == 0)
		r = chat_close(d, n);
	if (r == 0)
		r = chat_calls_end(d, n);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < c->ncall; i++)
		calls = calls || c->call[i].begun;
	if (calls && why == DL_FINISH_STOP)
		why = DL_FINISH_CALLS;
	if (!calls && why == DL_FINISH_CALLS)
		why = DL_FINISH_STOP;
	c->finished = true;
	e.finish = why;
	tf_buf_reset(&d->scratch);
	if (matched.n > 0)
		r = js_str(matched, &d->scratch, &e.text);
	return r < 0 ? r : d->conf.emit(d->conf.arg, &e);
}

static int
content(struct dl_dec *d, uint32_t n, const struct chat_piece *p)
{
	int r = say_json(d, n, DL_ITEM_REASONING, p->reasoning);

	if (r == 0 && p->content.n == 0 && d->msg.bare) /* a token without characters, but with its logprobs */
		return say(d, n, DL_ITEM_TEXT, tf_span(NULL, 0));
	if (r < 0 || p->content.n == 0)
		return r;
	return js_type(p->content) == JS_ARRAY ? parts(d, n, p->content)
					       : say_json(d, n, DL_ITEM_TEXT, p->content);
}

static int
piece(struct dl_dec *d, uint32_t i)
{
	const struct chat_piece *p = &d->msg.piece[i];
	uint32_t n = p->has_index ? p->index : i;
	struct chat_choice *c;
	struct dl_fault f;
	bool gave_up = false, late = d->msg.bare && p->finish.n > 0;
	enum dl_finish why;
	int r;

	/* when one answer was asked for it is the first, whatever number it bears */
	if (d->conf.n == 1)
		n = i;
	if (n >= d->conf.n || n >= DL_CHOICES_MAX)
		return 0;
	c = chat_dec_choice(d, n);
	if (c == NULL)
		return TF_E_NOMEM;
	if (c->finished)
		return 0;
	c->used = true;
	d->logprobs = p->logprobs;
	if (!d->msg.bare && (p->logprobs.n == 0 || !js_member(p->logprobs, "content", &d->logprobs) ||
	    js_type(d->logprobs) != JS_ARRAY))
		d->logprobs = tf_span(NULL, 0);
	/* of bare text: what stands beside the reason belongs to the end */
	r = late ? 0 : extras(d, DL_LEVEL_CHOICE, i, n);
	if (r == 0)
		r = content(d, n, p);
	if (r == 0)
		r = say_json(d, n, DL_ITEM_REFUSAL, p->refusal);
	if (r == 0 && p->calls.n > 0)
		r = chat_calls(d, n, p->calls);
	if (r == 0 && p->old_call.n > 0)
		r = chat_old_call(d, n, p->old_call);
	if (r < 0 || p->finish.n == 0)
		return r;
	why = chat_finish(p->finish, &gave_up);
	if (!gave_up && late)
		r = extras(d, DL_LEVEL_CHOICE, i, n);
	if (!gave_up)
		return r < 0 ? r : finish(d, n, why, p->matched);
	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "The model's runtime gave up on this answer.");
	f.retryable = true;
	return fault(d, &f);
}

int
chat_dec_msg(struct dl_dec *d)
{
	struct dl_event e = { .kind = DL_EV_USAGE, .origin = origin(d) };
	struct dl_fault f;
	int r;

	d->logprobs = tf_span(NULL, 0);
	if (d->msg.error.n > 0) {
		dl_upstream_fault(200, d->msg.data, 0, d->conf.quirks, &f);
		return fault(d, &f);
	}
	if (!d->msg.choices && d->msg.usage.n == 0)
		return d->started ? extras(d, DL_LEVEL_TOP, 0, 0) : TF_E_INVAL;
	r = start(d);
	if (r == 0)
		r = extras(d, DL_LEVEL_TOP, 0, 0);
	for (uint32_t i = 0; r == 0 && !d->failed && i < d->msg.npiece; i++)
		r = piece(d, i);
	if (r == 0 && !d->failed && d->msg.usage.n > 0 && chat_usage(d->msg.usage, &e.usage)) {
		e.text = d->msg.usage;
		r = d->conf.emit(d->conf.arg, &e);
	}
	return r;
}

static bool
has_content(const struct chat_choice *c)
{
	return c->finished || c->nitem > 0 || c->ncall > 0 || c->think.hold.n > 0;
}

/* Nothing more comes: what is not finished is finished here, for that reason. */
static int
settle(struct dl_dec *d, enum dl_finish why)
{
	struct dl_fault f;
	bool some = false;
	int r = 0;

	d->logprobs = tf_span(NULL, 0); /* of text that was held back: its event is gone */
	if (d->done || d->failed)
		return 0;
	for (uint32_t i = 0; i < d->nchoice; i++)
		some = some || has_content(&d->choice[i]);
	for (uint32_t i = 0; some && r == 0 && i < d->nchoice; i++)
		if (d->choice[i].used && !d->choice[i].finished)
			r = finish(d, i, why, tf_span(NULL, 0));
	d->done = some && r == 0;
	if (some)
		return r;
	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "The model's runtime ended without an answer.");
	f.retryable = true;
	return fault(d, &f);
}

int
chat_dec_parse(struct dl_dec *d, struct tf_span data)
{
	int r = chat_msg_parse(&d->msg, data);

	if (r != TF_E_INVAL || dl_utf8_ok(data)) {
		d->carry.n = 0;
		return r;
	}
	tf_buf_reset(&d->mended);
	r = dl_mend(&d->carry, data, &d->mended);
	return r < 0 ? r : chat_msg_parse(&d->msg, tf_buf_span(&d->mended));
}

static bool
is_done_mark(struct tf_span data)
{
	while (data.n > 0 && data.p[data.n - 1] == ' ')
		data.n--;
	return tf_span_is(data, "[DONE]");
}

int
chat_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data)
{
	struct dl_fault f;
	int r;

	if (d->done || d->failed)
		return 0;
	if (is_done_mark(data))
		return settle(d, DL_FINISH_STOP); /* it forgot to say so */
	r = chat_dec_parse(d, data);
	if (r == TF_E_NOMEM)
		return r;
	if (tf_span_is(event, "error") && (r < 0 || d->msg.error.n == 0)) {
		dl_upstream_fault(200, r < 0 ? tf_span(NULL, 0) : data, 0, d->conf.quirks, &f);
		return fault(d, &f);
	}
	return r < 0 ? TF_E_INVAL : chat_dec_msg(d);
}

int
chat_dec_response(struct dl_dec *d, struct tf_span body)
{
	struct dl_fault f;
	int r = chat_dec_parse(d, body);

	if (r == 0)
		r = chat_dec_msg(d);
	if (r == 0)
		r = settle(d, DL_FINISH_STOP);
	if (r == 0 || r == TF_E_NOMEM)
		return r;
	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL,
	    "The model's runtime gave an answer that cannot be read.");
	f.retryable = true;
	return fault(d, &f);
}

int
chat_dec_end(struct dl_dec *d)
{
	struct dl_fault f;

	if (d->failed || chat_dec_state(d) != DL_GOING) {
		d->done = !d->failed;
		return 0;
	}
	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "The model's runtime broke off its answer.");
	f.retryable = true;
	return fault(d, &f);
}

int
chat_dec_cut(struct dl_dec *d)
{
	return settle(d, DL_FINISH_LENGTH);
}

enum dl_state
chat_dec_state(const struct dl_dec *d)
{
	bool some = false;

	for (uint32_t i = 0; i < d->nchoice; i++) {
		if (d->choice[i].used && !d->choice[i].finished)
			return DL_GOING;
		some = some || d->choice[i].finished;
	}
	return !some ? DL_GOING : d->done ? DL_DONE : DL_FINISHED;
}
