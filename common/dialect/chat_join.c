/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical events -> one whole answer of the openai_chat dialect: collects, then writes. Called by
 * xlate.c for clients that did not ask for events, whether the runtime streamed or not.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat_enc.h"

static int
logprobs(struct enc_choice *c, struct tf_span list)
{
	struct tf_span el;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		r = c->logprobs.n > 0 ? tf_buf_addc(&c->logprobs, ',') : 0;
		if (r == 0)
			r = tf_buf_addspan(&c->logprobs, el);
	}
	return r;
}

static int
item_event(struct dl_enc *e, const struct dl_event *ev)
{
	struct enc_choice *c;
	struct enc_item *item;
	int r = chat_enc_item(e, ev, &c, &item);

	if (r < 0)
		return r;
	switch (ev->kind) {
	case DL_EV_ITEM:
		r = tf_buf_addspan(&item->id, ev->id);
		return r < 0 ? r : tf_buf_addspan(&item->name, ev->name);
	case DL_EV_TEXT:
		r = logprobs(c, ev->logprobs);
		return r < 0 ? r : tf_buf_addspan(&item->text, ev->text);
	case DL_EV_REASONING:
	case DL_EV_ARGS:
		return tf_buf_addspan(&item->text, ev->text);
	case DL_EV_SIGNATURE:
		return ev->origin == DL_ANTHROPIC_MESSAGES ? tf_buf_addspan(&item->signature, ev->text) : 0;
	default:
		return 0;
	}
}

int
chat_join_event(struct dl_enc *e, const struct dl_event *ev)
{
	struct enc_choice *c;

	switch (ev->kind) {
	case DL_EV_START:
		return chat_enc_start(e, ev);
	case DL_EV_ITEM:
	case DL_EV_TEXT:
	case DL_EV_REASONING:
	case DL_EV_SIGNATURE:
	case DL_EV_ARGS:
		return item_event(e, ev);
	case DL_EV_FINISH:
		c = chat_enc_choice(e, ev->choice);
		if (c == NULL)
			return TF_E_NOMEM;
		c->finish = ev->finish;
		return 0;
	case DL_EV_USAGE:
		return chat_enc_usage(e, ev);
	case DL_EV_RAW:
		return chat_raw_keep(e, ev);
	default:
		return 0;
	}
}

/* ---- writing ----------------------------------------------------------------------------- */

int
chat_kept_write(struct js_w *w, struct tf_buf *kept)
{
	struct tf_span key, value, later, ignored;
	struct tf_buf scratch = { 0 };
	struct js_iter it, rest;
	int r;

	if (kept->n == 0)
		return 0;
	kept->p[0] = '{'; /* the first comma */
	r = tf_buf_addc(kept, '}');
	if (r < 0)
		return r;
	js_iter_init(&it, tf_buf_span(kept));
	while (r == 0 && js_iter_next(&it, &key, &value)) {
		bool last = true;

		rest = it;
		while (last && js_iter_next(&rest, &later, &ignored))
			last = !tf_span_eq(key, later);
		if (!last)
			continue;
		tf_buf_reset(&scratch);
		r = js_str(key, &scratch, &key);
		js_w_keyn(w, key);
		js_w_raw(w, value);
	}
	tf_buf_free(&scratch);
	return r;
}

/* The text of all items of a kind, as a member. False when there is none. */
static bool
gather(const struct enc_choice *c, enum dl_item kind, struct tf_buf *text)
{
	bool some = false;

	tf_buf_reset(text);
	for (uint32_t i = 0; i < c->nitem; i++) {
		if (c->item[i].kind != kind)
			continue;
		some = true;
		if (tf_buf_addspan(text, tf_buf_span(&c->item[i].text)) < 0)
			return false;
	}
	return some;
}

/* Reasoning that was signed, for clients to bring back. */
static void
write_details(struct js_w *w, struct enc_choice *c)
{
	for (uint32_t i = 0; i < c->nitem; i++) {
		if (c->item[i].signature.n == 0)
			continue;
		if (c->nsigned == 0) {
			js_w_key(w, "reasoning_details");
			js_w_array(w);
		}
		chat_detail(&c->item[i], c->nsigned++, w);
	}
	if (c->nsigned > 0)
		js_w_array_end(w);
}

static void
write_call(struct js_w *w, const struct enc_item *item, bool legacy)
{
	bool custom = item->tool == DL_TOOL_CUSTOM;
	struct tf_span args = tf_buf_span(&item->text);

	js_w_object(w);
	if (!legacy) {
		js_w_kstr(w, "id", tf_buf_span(&item->id));
		js_w_kcstr(w, "type", custom ? "custom" : "function");
		js_w_key(w, custom ? "custom" : "function");
		js_w_object(w);
	}
	js_w_kstr(w, "name", tf_buf_span(&item->name));
	js_w_kstr(w, custom ? "input" : "arguments", args.n > 0 || custom ? args : TF_SPAN("{}"));
	js_w_object_end(w);
	if (!legacy)
		js_w_object_end(w);
}

static void
write_calls(struct js_w *w, const struct enc_choice *c, bool legacy)
{
	bool open = false;

	for (uint32_t i = 0; i < c->nitem; i++) {
		if (c->item[i].kind != DL_ITEM_CALL)
			continue;
		if (!open) {
			js_w_key(w, legacy ? "function_call" : "tool_calls");
			if (!legacy)
				js_w_array(w);
		}
		if (!open || !legacy)
			write_call(w, &c->item[i], legacy);
		open = true;
	}
	if (open && !legacy)
		js_w_array_end(w);
}

static int
write_message(struct dl_enc *e, struct enc_choice *c, struct js_w *w)
{
	struct tf_buf text = { 0 };
	int r;

	js_w_key(w, "message");
	js_w_object(w);
	js_w_kcstr(w, "role", "assistant");
	if (gather(c, DL_ITEM_TEXT, &text))
		js_w_kstr(w, "content", tf_buf_span(&text));
	else if (c->ncall > 0)
		js_w_knull(w, "content");
	else
		js_w_kcstr(w, "content", gather(c, DL_ITEM_REFUSAL, &text) ? NULL : "");
	if (gather(c, DL_ITEM_REFUSAL, &text))
		js_w_kstr(w, "refusal", tf_buf_span(&text));
	else
		js_w_knull(w, "refusal");
	if (gather(c, DL_ITEM_REASONING, &text)) {
		js_w_kstr(w, "reasoning_content", tf_buf_span(&text));
		js_w_kstr(w, "reasoning", tf_buf_span(&text));
	}
	write_details(w, c);
	write_calls(w, c, e->conf.legacy);
	r = chat_kept_write(w, &c->raw[1]);
	js_w_object_end(w);
	tf_buf_free(&text);
	return r;
}

static int
write_choice(struct dl_enc *e, uint32_t n, struct js_w *w)
{
	struct enc_choice *c = &e->choice[n];
	int r;

	js_w_object(w);
	js_w_ku64(w, "index", n);
	r = write_message(e, c, w);
	if (r < 0)
		return r;
	if (c->logprobs.n > 0) {
		js_w_key(w, "logprobs");
		js_w_object(w);
		js_w_key(w, "content");
		js_w_array(w);
		js_w_raw(w, tf_buf_span(&c->logprobs));
		js_w_array_end(w);
		js_w_knull(w, "refusal");
		js_w_object_end(w);
	} else {
		js_w_knull(w, "logprobs");
	}
	js_w_kcstr(w, "finish_reason", chat_finish_text(e, c->finish));
	r = chat_kept_write(w, &c->raw[0]);
	js_w_object_end(w);
	return r;
}

int
chat_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out)
{
	struct tf_buf counts = { 0 };
	size_t from = out->n;
	struct js_w w;
	int r;

	if (e->ended)
		return 0;
	e->ended = true;
	js_w_init(&w, out);
	js_w_object(&w);
	js_w_kstr(&w, "id", tf_buf_span(&e->id));
	js_w_kcstr(&w, "object", "chat.completion");
	js_w_ki64(&w, "created", e->created);
	js_w_kstr(&w, "model", e->conf.model);
	js_w_key(&w, "choices");
	js_w_array(&w);
	r = 0;
	for (uint32_t i = 0; r == 0 && i < e->nchoice; i++)
		if (e->choice[i].finish != DL_FINISH_NONE)
			r = write_choice(e, i, &w);
	js_w_array_end(&w);
	if (r == 0)
		r = chat_usage_write(e, usage, &counts);
	js_w_kraw(&w, "usage", tf_buf_span(&counts));
	if (e->conf.kept.n > 0)
		js_w_kraw(&w, "metadata", e->conf.kept);
	if (r == 0)
		r = chat_kept_write(&w, &e->top);
	js_w_object_end(&w);
	tf_buf_free(&counts);
	if (r == 0)
		r = js_w_done(&w);
	if (r < 0)
		out->n = from;
	return r;
}
