/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical events -> events of the anthropic_messages dialect: one message_start, blocks one after
 * the other, message_delta with the usage, message_stop. Clients take blocks in order only, so what
 * belongs to a later block waits while an earlier one is open. Called by xlate.c for each event.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/messages_enc.h"

/* Appends literal text; the first error stays. */
#define LIT(r, out, text) ((r) < 0 ? (r) : tf_buf_append((out), (text), sizeof(text) - 1))

/* Pieces of hidden reasoning after which a ping says that the answer is alive. */
#define HIDDEN_PING 32

static int
begin_event(struct tf_buf *out, const char *name)
{
	return tf_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\"", name, name);
}

/* ---- blocks ------------------------------------------------------------------------------ */

static int
start(struct dl_enc *e, struct tf_buf *out)
{
	struct dl_usage known = e->usage;
	struct js_w w;
	int r;

	if (e->started)
		return 0;
	e->started = true;
	if (!e->counted)
		known = (struct dl_usage){ .prompt = e->conf.prompt };
	r = begin_event(out, "message_start");
	r = LIT(r, out, ",\"message\":");
	if (r < 0)
		return r;
	js_w_init(&w, out);
	js_w_object(&w);
	menc_head(e, &w);
	js_w_key(&w, "content");
	js_w_array(&w);
	js_w_array_end(&w);
	js_w_knull(&w, "stop_reason");
	js_w_knull(&w, "stop_sequence");
	js_w_knull(&w, "stop_details");
	js_w_key(&w, "usage");
	menc_usage(&known, 1, &w);
	js_w_object_end(&w);
	r = js_w_done(&w);
	return LIT(r, out, "}\n\n");
}

static int
delta(struct dl_enc *e, const char *type, const char *member, struct tf_span text, struct tf_buf *out)
{
	int r = tf_buf_printf(out,
	    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%u,\"delta\":{\"type\":\"%s\",\"%s\":",
	    e->nblock - 1, type, member);

	if (r == 0)
		r = js_quote(out, text);
	return LIT(r, out, "}}\n\n");
}

static int
close_block(struct dl_enc *e, struct tf_buf *out)
{
	char signature[64];
	int r = 0;

	if (e->open == MENC_NONE)
		return 0;
	if (e->open == MENC_THINKING) {
		r = delta(e, "signature_delta", "signature",
		    menc_signature(e, &e->item[e->item_open], tf_buf_span(&e->reasoning), e->nblock - 1, signature), out);
	}
	e->open = MENC_NONE;
	if (r == 0)
		r = begin_event(out, "content_block_stop");
	return r < 0 ? r : tf_buf_printf(out, ",\"index\":%u}\n\n", e->nblock - 1);
}

/* item: of a tool block. */
static int
open_block(struct dl_enc *e, enum menc_block block, uint32_t item, struct tf_buf *out)
{
	struct js_w w;
	int r = start(e, out);

	if (r == 0)
		r = close_block(e, out);
	if (r == 0)
		r = begin_event(out, "content_block_start");
	if (r == 0)
		r = tf_buf_printf(out, ",\"index\":%u,\"content_block\":", e->nblock);
	if (r < 0)
		return r;
	e->open = block;
	e->nblock++;
	tf_buf_reset(&e->reasoning);
	if (block == MENC_TEXT)
		return LIT(r, out, "{\"type\":\"text\",\"text\":\"\",\"citations\":null}}\n\n");
	if (block == MENC_THINKING)
		return LIT(r, out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n");
	js_w_init(&w, out);
	js_w_object(&w);
	menc_call(e, item, &w);
	js_w_kraw(&w, "input", TF_SPAN("{}"));
	js_w_key(&w, "caller");
	js_w_raw(&w, TF_SPAN("{\"type\":\"direct\"}"));
	js_w_object_end(&w);
	r = js_w_done(&w);
	return LIT(r, out, "}\n\n");
}

/* ---- items ------------------------------------------------------------------------------- */

static int
give_text(struct dl_enc *e, struct menc_item *it, enum menc_block block, struct tf_buf *out)
{
	struct tf_span text = tf_buf_span(&it->held);
	int r = 0;

	if (text.n == 0 || (block == MENC_TEXT && e->open != MENC_TEXT && menc_is_blank(text)))
		return 0;
	if (e->open != block)
		r = open_block(e, block, 0, out);
	if (r == 0 && block == MENC_THINKING) {
		e->item_open = (uint32_t)(it - e->item);
		r = tf_buf_addspan(&e->reasoning, text);
	}
	if (r == 0)
		r = block == MENC_TEXT ? delta(e, "text_delta", "text", text, out)
				       : delta(e, "thinking_delta", "thinking", text, out);
	tf_buf_reset(&it->held);
	return r;
}

/* Arguments that do not begin as an object wait: at the end they become one. */
static int
give_call(struct dl_enc *e, struct menc_item *it, struct tf_buf *out)
{
	struct tf_span args = tf_buf_span(&it->held);
	size_t lead = 0;
	int r = 0;

	if (!it->begun)
		r = open_block(e, MENC_TOOL, (uint32_t)(it - e->item), out);
	it->begun = true;
	while (!it->object && lead < args.n && strchr(" \t\r\n", args.p[lead]) != NULL && args.p[lead] != '\0')
		lead++;
	it->object = it->object || (lead < args.n && args.p[lead] == '{');
	if (r == 0 && !it->object && it->ended && args.n > 0) {
		r = menc_input(e, args, &args);
		if (r == 0 && tf_span_is(args, "{}"))
			return 0;
		it->object = r == 0;
	}
	if (r < 0 || !it->object || args.n == 0)
		return r;
	r = delta(e, "input_json_delta", "partial_json", args, out);
	tf_buf_reset(&it->held);
	return r;
}

static int
end_item(struct dl_enc *e, struct menc_item *it, struct tf_buf *out)
{
	int r = 0;

	switch (it->kind) {
	case DL_ITEM_REASONING:
		/* a signature without words stands for words that were left out */
		if (e->open != MENC_THINKING && it->signature.n > 0)
			r = open_block(e, MENC_THINKING, 0, out);
		if (e->open != MENC_THINKING || r < 0)
			return r;
		e->item_open = (uint32_t)(it - e->item);
		return close_block(e, out);
	case DL_ITEM_CALL:
		return close_block(e, out);
	default: /* a text block stays open: more text may go on with it */
		return tf_buf_addspan(&e->blank, tf_buf_span(&it->held));
	}
}

/* Gives out what may be given. */
static int
pump(struct dl_enc *e, struct tf_buf *out)
{
	int r = 0;

	while (r == 0 && e->front < e->nitem) {
		struct menc_item *it = &e->item[e->front];
		bool pass = it->ended;

		if (!it->hidden) {
			if (it->kind == DL_ITEM_CALL)
				r = give_call(e, it, out);
			else
				r = give_text(e, it, it->kind == DL_ITEM_REASONING ? MENC_THINKING : MENC_TEXT, out);
			/* runtimes end calls with the answer: one that is whole makes room for the next */
			if (it->kind == DL_ITEM_CALL && it->track.whole && e->front + 1 < e->nitem)
				pass = true;
			if (r == 0 && pass)
				r = end_item(e, it, out);
		}
		if (!pass)
			break;
		e->front++;
	}
	return r;
}

/* ---- events ------------------------------------------------------------------------------ */

static int
piece(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct menc_item *it = menc_item(e, ev);
	int r;

	if (it == NULL)
		return TF_E_NOMEM;
	if (it->hidden) {
		r = start(e, out);
		if (r == 0 && e->hidden++ % HIDDEN_PING == HIDDEN_PING - 1)
			r = tf_buf_addspan(out, dl_ping(DL_ANTHROPIC_MESSAGES));
		return r;
	}
	if ((uint32_t)(it - e->item) < e->front)
		return 0; /* behind the end of a call's arguments */
	if (it->kind == DL_ITEM_CALL)
		dl_track(&it->track, ev->text);
	r = tf_buf_addspan(&it->held, ev->text);
	return r < 0 ? r : pump(e, out);
}

static int
finish(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	int r = menc_note(e, ev);

	for (uint32_t i = e->front; i < e->nitem; i++)
		e->item[i].ended = true;
	if (r == 0)
		r = pump(e, out);
	if (r == 0 && e->nblock == 0) {
		/* clients read the first block */
		r = open_block(e, MENC_TEXT, 0, out);
		if (r == 0 && e->blank.n > 0)
			r = delta(e, "text_delta", "text", tf_buf_span(&e->blank), out);
	}
	return r < 0 ? r : close_block(e, out);
}

int
messages_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct menc_item *it;

	switch (ev->kind) {
	case DL_EV_ITEM:
	case DL_EV_ITEM_END:
		it = menc_item(e, ev);
		if (it == NULL)
			return TF_E_NOMEM;
		it->ended = ev->kind == DL_EV_ITEM_END;
		return pump(e, out);
	case DL_EV_TEXT:
	case DL_EV_REASONING:
	case DL_EV_ARGS:
		return piece(e, ev, out);
	case DL_EV_SIGNATURE:
		return menc_sign(e, ev);
	case DL_EV_FINISH:
		return finish(e, ev, out);
	case DL_EV_USAGE:
		return menc_note(e, ev);
	default:
		return 0; /* members of another API have no place here; errors and pings are the caller's */
	}
}

int
messages_enc_flush(struct dl_enc *e, struct tf_buf *out)
{
	(void)e;
	(void)out;
	return 0;
}

int
messages_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out)
{
	struct dl_event last = { .kind = DL_EV_FINISH, .finish = DL_FINISH_STOP };
	struct js_w w;
	int r = 0;

	if (e->ended)
		return 0;
	if (e->finish == DL_FINISH_NONE)
		r = finish(e, &last, out);
	e->ended = true;
	if (r == 0)
		r = begin_event(out, "message_delta");
	r = LIT(r, out, ",\"delta\":");
	if (r < 0)
		return r;
	js_w_init(&w, out);
	js_w_object(&w);
	menc_stop(e, &w);
	js_w_knull(&w, "container");
	js_w_object_end(&w);
	r = js_w_done(&w);
	r = LIT(r, out, ",\"usage\":");
	if (r < 0)
		return r;
	js_w_init(&w, out);
	menc_usage(usage, dl_usage_out(usage), &w);
	r = js_w_done(&w);
	return LIT(r, out, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

int
messages_error_event(const struct dl_error *e, struct tf_buf *out)
{
	int r = LIT(0, out, "event: error\ndata: ");

	if (r == 0)
		r = dl_error_json(DL_FAMILY_ANTHROPIC, e, out);
	return LIT(r, out, "\n\n");
}
