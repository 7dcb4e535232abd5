/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages from clients that speak it to runtimes that speak it: bodies with the model's name replaced and
 * what must not pass taken out, events and answers passed on with the name that the client knows, so that
 * fields and events nobody models here survive. The decoder reads along for the facts. Called by xlate.c.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/messages_dec.h"
#include "common/dialect/messages_enc.h"
#include "common/dialect/messages_fill.h"
#include "common/dialect/raw.h"

#define OPEN_MAX 64 /* blocks open at once, of those that are closed when we end an answer */

struct dl_raw {
	struct dl_enc_conf conf;
	struct tf_buf model;  /* quoted */
	struct tf_buf held;   /* what came before the first content: until then another attempt may do */
	struct tf_buf event;  /* scratch */
	bool begun;           /* the runtime began as it should: what it says is passed on */
	bool coded;           /* it did not: decode and encode */
	bool given;           /* content went out */
	bool delta;           /* message_delta with a reason went out */
	uint64_t hidden;      /* blocks that the client does not get */
	bool hiding;          /* one of them is open ... */
	uint64_t hidden_at;   /* ... at the runtime's index */
	bool thinking, signed_; /* a block of thinking that the client gets is open; it has a signature */
	uint64_t thinking_at;  /* the runtime's index of it */
	struct tf_buf thought; /* what it says, to be signed if nobody else does */
	uint32_t nopen;
	uint64_t open[OPEN_MAX]; /* the client's indices */
};

/* ---- the request ------------------------------------------------------------------------- */

/* Does a provider that checks signatures refuse that block? */
static bool
unsigned_thinking(struct tf_span block)
{
	struct tf_span v;

	if (!js_member(block, "type", &v) || !js_str_eq(v, "thinking"))
		return false;
	return !js_member(block, "signature", &v) || messages_own(v);
}

/* Collects the blocks to be taken out. *called: the last turn of the assistant calls, without thinking. */
static int
find_unsigned(struct tf_span body, size_t base, struct tf_buf *edits, bool *called)
{
	struct tf_span list, message, content, block, v;
	struct js_iter it, in;
	int r = 0;

	if (!js_member(body, "messages", &list))
		return 0;
	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &message)) {
		bool thought = false;

		if (!js_member(message, "role", &v) || !js_str_eq(v, "assistant") || !js_member(message, "content", &content))
			continue;
		*called = false;
		js_iter_init(&in, content);
		while (r == 0 && js_iter_next(&in, NULL, &block)) {
			size_t at[2] = { base + (size_t)(block.p - body.p), base + (size_t)(block.p - body.p) + block.n };

			if (unsigned_thinking(block))
				r = tf_buf_append(edits, at, sizeof at);
			else if (js_member(block, "type", &v))
				thought = thought || js_str_eq(v, "thinking") || js_str_eq(v, "redacted_thinking");
			*called = *called || (js_member(block, "type", &v) && js_str_eq(v, "tool_use"));
		}
		*called = *called && !thought;
	}
	return r;
}

bool
messages_raw_request_ok(const struct dl_head *h, uint32_t quirks)
{
	/* the form of the answer has to be asked for in another way */
	return !((quirks & DL_Q_NO_OUTPUT_FORMAT) && (h->needs & DL_NEED_SCHEMA));
}

/* The edits that every request needs; cap: scratch. */
static int
edit_settings(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct js_edits *e,
    struct tf_buf *dropped, char cap[static 48])
{
	for (uint32_t i = 0; i < h->nmember; i++)
		if (h->member[i].why != DL_WHY_HOSTED) {
			struct dl_range at = h->member[i].at;
			const char *name = body.p + at.start + 1, *end = memchr(name, '"', at.end - at.start - 1);

			dl_raw_delete(e, at);
			if (h->member[i].why == DL_WHY_DENIED && end != NULL &&
			    dl_note_dropped(dropped, tf_span(name, (size_t)(end - name))) < 0)
				return TF_E_NOMEM;
		}
	if (h->stream_at.end > 0 && h->stream != to->stream)
		js_edit_replace(e, h->stream_at.start, h->stream_at.end, tf_cspan(to->stream ? "true" : "false"));
	else if (h->stream_at.end == 0 && to->stream)
		js_edit_insert_last(e, h->root.end, TF_SPAN("\"stream\":true"));
	if (to->max_output == 0 || h->max_output <= to->max_output)
		return 0;
	snprintf(cap, 48, "\"max_tokens\":%llu", (unsigned long long)to->max_output);
	dl_raw_delete(e, h->max_tokens);
	js_edit_insert_last(e, h->root.end, tf_cspan(cap));
	return 0;
}

int
messages_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
    struct tf_buf *dropped)
{
	struct tf_span root, thinking;
	struct tf_buf blocks = { 0 }, model = { 0 };
	struct js_edit *v = NULL;
	bool called = false;
	struct js_edits e;
	char cap[48];
	size_t n;
	int r;

	if (body.n != h->body_len || h->root.end > body.n || h->model_at.end > body.n)
		return TF_E_INVAL;
	root = tf_span(body.p + h->root.start, h->root.end - h->root.start);
	r = js_quote(&model, to->model);
	if (r == 0 && (to->quirks & DL_Q_HOSTED) && (h->flags & DL_HEAD_REASONING))
		r = find_unsigned(root, h->root.start, &blocks, &called);
	n = blocks.n / (2 * sizeof(size_t));
	if (r == 0) {
		v = calloc(n + DL_MEMBERS_MAX + 8, sizeof *v);
		r = v != NULL ? 0 : TF_E_NOMEM;
	}
	if (r == 0) {
		js_edits_init(&e, v, n + DL_MEMBERS_MAX + 8);
		js_edit_replace(&e, h->model_at.start, h->model_at.end, tf_buf_span(&model));
		for (size_t i = 0; i < n; i++) {
			size_t at[2];

			memcpy(at, blocks.p + i * sizeof at, sizeof at);
			js_edit_delete(&e, at[0], at[1]);
		}
		/* the provider takes no turn that called without its thinking, while thinking is on */
		if (n > 0 && called && js_member(root, "thinking", &thinking))
			js_edit_replace(&e, (size_t)(thinking.p - body.p), (size_t)(thinking.p - body.p) + thinking.n,
			    TF_SPAN("{\"type\":\"disabled\"}"));
		r = edit_settings(h, to, body, &e, dropped, cap);
		if (r == 0)
			r = js_splice(body, &e, out);
	}
	free(v);
	tf_buf_free(&blocks);
	tf_buf_free(&model);
	return r;
}

/* ---- life -------------------------------------------------------------------------------- */

bool
messages_raw_answer_ok(const struct dl_head *h, uint32_t quirks)
{
	(void)quirks;
	/* calls beyond the one that was allowed are left out: that needs the decoder */
	return !(h->flags & DL_HEAD_ONE_CALL);
}

struct dl_raw *
messages_raw_new(const struct dl_enc_conf *conf)
{
	struct dl_raw *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->conf = *conf;
	if (js_quote(&r->model, conf->model) < 0)
		messages_raw_free(&r);
	return r;
}

void
messages_raw_free(struct dl_raw **rp)
{
	struct dl_raw *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	tf_buf_free(&r->model);
	tf_buf_free(&r->held);
	tf_buf_free(&r->event);
	tf_buf_free(&r->thought);
	free(r);
}

/* ---- events ------------------------------------------------------------------------------ */

/* JSON text on one line, behind its event line. */
static int
write_event(struct tf_buf *out, struct tf_span type, struct tf_span data)
{
	int r = tf_buf_addstr(out, "event: ");

	if (r == 0)
		r = tf_buf_addspan(out, type);
	if (r == 0)
		r = tf_buf_addstr(out, "\ndata: ");
	if (r == 0)
		r = dl_raw_line(out, data);
	return r < 0 ? r : tf_buf_addstr(out, "\n\n");
}

/* data with its edits, which then lies in r->event. */
static int
edited(struct dl_raw *r, struct tf_span *data, struct js_edits *e)
{
	struct tf_buf spliced = { 0 };
	int err;

	if (e->n == 0)
		return e->err;
	err = js_splice(*data, e, &spliced);
	tf_buf_free(&r->event);
	r->event = spliced;
	*data = tf_buf_span(&r->event);
	return err;
}

/* Where the object that data is ends: there may be white space behind it. */
static size_t
end_of(struct tf_span data)
{
	while (data.n > 0 && data.p[data.n - 1] != '}')
		data.n--;
	return data.n;
}

/* A value inside data becomes another. */
static void
put(struct js_edits *e, struct tf_span data, struct tf_span value, struct tf_span with)
{
	js_edit_replace(e, (size_t)(value.p - data.p), (size_t)(value.p - data.p) + value.n, with);
}

static void
note_open(struct dl_raw *r, uint64_t index, bool open)
{
	uint32_t i = 0;

	while (i < r->nopen && r->open[i] != index)
		i++;
	if (open && i == r->nopen && r->nopen < OPEN_MAX)
		r->open[r->nopen++] = index;
	else if (!open && i < r->nopen)
		r->open[i] = r->open[--r->nopen];
}

static bool
is_thinking(struct tf_span data)
{
	struct tf_span v;

	return js_at(data, "content_block.type", &v) && (js_str_eq(v, "thinking") || js_str_eq(v, "redacted_thinking"));
}

/* Follows thinking to see whether the runtime signs it, which every client expects. at: the runtime's index. */
static int
follow(struct dl_raw *r, uint64_t at, struct tf_span type, struct tf_span data)
{
	struct tf_span v;
	int err = 0;

	if (tf_span_is(type, "content_block_start") && r->conf.thinking && js_at(data, "content_block.type", &v) &&
	    js_str_eq(v, "thinking")) {
		r->thinking = true;
		r->thinking_at = at;
		r->signed_ = js_at(data, "content_block.signature", &v) && v.n > 2;
		tf_buf_reset(&r->thought);
		if (js_at(data, "content_block.thinking", &v) && js_type(v) == JS_STRING)
			err = js_str_append(v, &r->thought);
	} else if (tf_span_is(type, "content_block_delta") && r->thinking && at == r->thinking_at) {
		r->signed_ = r->signed_ || (js_at(data, "delta.signature", &v) && v.n > 2);
		if (!r->signed_ && js_at(data, "delta.thinking", &v) && js_type(v) == JS_STRING)
			err = js_str_append(v, &r->thought);
	}
	return err;
}

/* In front of the end of a block, by the client's index: its signature, if the runtime gave none. */
static int
sign(struct dl_raw *r, uint64_t at, uint64_t index, struct tf_buf *out)
{
	char own[64];

	if (!r->thinking || at != r->thinking_at)
		return 0;
	r->thinking = false;
	if (r->signed_)
		return 0;
	messages_own_signature(&r->conf, tf_buf_span(&r->thought), (uint32_t)index, own);
	return tf_buf_printf(out,
	    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%llu,\"delta\":{\"type\":"
	    "\"signature_delta\",\"signature\":\"%s\"}}\n\n",
	    (unsigned long long)index, own);
}

/* A block's event. 0: it is passed on, with the client's index, behind what is in `before`; 1: the client does not get it. */
static int
block(struct dl_raw *r, struct tf_span type, struct tf_span *data, struct tf_buf *before)
{
	bool begin = tf_span_is(type, "content_block_start"), end = tf_span_is(type, "content_block_stop");
	struct js_edit v[1 + MFILL_BLOCK];
	struct tf_span at, made;
	struct js_edits e;
	uint64_t index, from;
	char text[24];
	int err;

	if (!js_member(*data, "index", &at) || js_get_u64(at, &index) < 0)
		return 1;
	if (begin && !r->conf.thinking && !r->hiding && is_thinking(*data)) {
		r->hiding = true;
		r->hidden_at = index;
		r->hidden++;
	}
	if (r->hiding && index == r->hidden_at) {
		r->hiding = !end;
		return 1;
	}
	from = index;
	index = index >= r->hidden ? index - r->hidden : index;
	err = end ? sign(r, from, index, before) : follow(r, from, type, *data);
	if (err < 0)
		return err;
	js_edits_init(&e, v, TF_LEN(v));
	if (r->hidden > 0) {
		snprintf(text, sizeof text, "%llu", (unsigned long long)index);
		put(&e, *data, at, tf_cspan(text));
	}
	if (begin && js_member(*data, "content_block", &made))
		mfill_block(*data, made, &e);
	if (begin || end)
		note_open(r, index, begin);
	return edited(r, data, &e);
}

/* Does the runtime begin as the API says? Then *data has the client's name of the model. */
static bool
message_start(struct dl_raw *r, struct tf_span *data)
{
	struct js_edit edits[1 + MFILL_MESSAGE];
	struct tf_span message, v;
	struct js_edits e;

	if (!js_member(*data, "message", &message) || !js_member(message, "id", &v) || js_type(v) != JS_STRING ||
	    !js_member(message, "usage", &v) || js_type(v) != JS_OBJECT || !js_member(message, "model", &v))
		return false;
	js_edits_init(&e, edits, TF_LEN(edits));
	put(&e, *data, v, tf_buf_span(&r->model));
	mfill_message(*data, message, &e);
	return edited(r, data, &e) == 0;
}

/* Clients go by the type in the data, whatever the event line says: data that has none gets it, and then lies in made. */
static int
put_type(struct tf_span type, struct tf_span *data, struct tf_buf *made)
{
	struct tf_buf text = { 0 };
	struct js_edit edit;
	struct js_edits e;
	struct tf_span v;
	bool other = js_member(*data, "type", &v);
	int err = tf_buf_printf(&text, "%s\"" TF_SPAN_FMT "\"", other ? "" : "\"type\":", TF_SPAN_ARG(type));

	js_edits_init(&e, &edit, 1);
	if (other)
		put(&e, *data, v, tf_buf_span(&text));
	else
		js_edit_insert_first(&e, 0, tf_buf_span(&text));
	if (err == 0)
		err = js_splice(*data, &e, made);
	*data = tf_buf_span(made);
	tf_buf_free(&text);
	return err;
}

/* The last event but one. */
static int
message_delta(struct dl_raw *r, const struct dl_dec *d, struct tf_span *data)
{
	const struct mfill_counts known = { d->usage.input, d->usage.read, d->usage.write, d->usage.output };
	struct js_edit edits[1 + MFILL_DELTA];
	struct mfill_room room;
	struct js_edits e;
	struct tf_span v;

	js_edits_init(&e, edits, TF_LEN(edits));
	if (js_at(*data, "delta.stop_reason", &v) && messages_finish(v) == (d->ncall > 0 ? DL_FINISH_STOP : DL_FINISH_CALLS))
		put(&e, *data, v, d->ncall > 0 ? TF_SPAN("\"tool_use\"") : TF_SPAN("\"end_turn\""));
	mfill_delta(tf_span(data->p, end_of(*data)), &known, &room, &e);
	return edited(r, data, &e);
}

/* Passes one event on. The decoder has taken it. */
static int
pass(struct dl_raw *r, const struct dl_dec *d, struct tf_span type, struct tf_span data, struct tf_buf *out)
{
	struct tf_buf before = { 0 };
	bool content = false;
	int err = 0;

	if (js_type(data) != JS_OBJECT || tf_span_is(type, "message_stop"))
		return 0; /* no client finds anything in the one; the end of the answer writes the other */
	if (tf_span_is(type, "content_block_start") || tf_span_is(type, "content_block_delta") ||
	    tf_span_is(type, "content_block_stop")) {
		err = block(r, type, &data, &before);
		content = err == 0;
	} else if (tf_span_is(type, "message_delta")) {
		r->delta = content = d->finished;
		err = message_delta(r, d, &data);
	}
	if (err == 0 && (r->given || content)) {
		r->given = true;
		err = tf_buf_addspan(out, tf_buf_span(&r->held));
		tf_buf_reset(&r->held);
		if (err == 0)
			err = tf_buf_addspan(out, tf_buf_span(&before));
		if (err == 0)
			err = write_event(out, type, data);
	} else if (err == 0) {
		err = write_event(&r->held, type, data);
	}
	tf_buf_free(&before);
	return err < 0 ? err : 0;
}

/* Before the beginning: pings and what nobody knows may come. */
static int
first(struct dl_raw *r, struct dl_dec *d, struct tf_span type, struct tf_span data)
{
	struct tf_span made = data;
	int err;

	if (tf_span_is(type, "message_start"))
		d->passed = r->begun = message_start(r, &made);
	err = messages_dec_apply(d, type, data);
	r->coded = r->coded || (d->started && !r->begun);
	return err == 0 && r->begun && !d->failed ? write_event(&r->held, type, made) : err;
}

int
messages_raw_event(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
    size_t *text)
{
	struct tf_buf name = { 0 }, made = { 0 };
	struct tf_span type = event, v;
	bool said;
	int err;

	(void)text; /* the decoder tells all of it */
	if (r->coded || d->done || d->failed)
		return messages_dec_event(d, event, data);
	err = messages_dec_parse(d, data, &data);
	if (err < 0)
		return messages_dec_event(d, event, data);
	said = js_member(data, "type", &v) && js_type(v) == JS_STRING;
	if (said)
		err = js_str(v, &name, &type);
	/* of no API: its lines could begin an event that the runtime did not give */
	if (err == 0 && type.n > 0 && !dl_raw_type_ok(type)) {
		tf_buf_free(&name);
		return 0;
	}
	if (err == 0 && !said && type.n > 0 && js_type(data) == JS_OBJECT)
		err = put_type(type, &data, &made);
	if (err == 0 && r->begun) {
		err = messages_dec_apply(d, type, data);
		if (err == 0 && !d->failed)
			err = pass(r, d, type, data, out);
	} else if (err == 0) {
		err = first(r, d, type, data);
	}
	tf_buf_free(&made);
	tf_buf_free(&name);
	return err;
}

int
messages_raw_end(struct dl_raw *r, enum dl_finish finish, const struct dl_usage *usage, struct tf_buf *out)
{
	struct js_w w;
	int err;

	if (!r->begun)
		return 0;
	err = tf_buf_addspan(out, tf_buf_span(&r->held));
	tf_buf_reset(&r->held);
	for (uint32_t i = 0; err == 0 && i < r->nopen && !r->delta; i++)
		err = tf_buf_printf(out,
		    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":%llu}\n\n",
		    (unsigned long long)r->open[i]);
	if (err == 0 && !r->delta) {
		err = tf_buf_printf(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
		    "\"%s\","
		    "\"stop_sequence\":null,\"stop_details\":null,\"container\":null},\"usage\":", messages_stop_reason(finish));
		if (err < 0)
			return err;
		js_w_init(&w, out);
		menc_usage(usage, dl_usage_out(usage), &w);
		err = js_w_done(&w);
		if (err == 0)
			err = tf_buf_addstr(out, "}\n\n");
	}
	if (err == 0)
		err = tf_buf_addstr(out, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
	return err < 0 ? err : 1;
}

/* ---- whole answers ----------------------------------------------------------------------- */

/* Takes out thinking that was not asked for, and puts in what blocks lack. False: no block is left, or one is to be signed. */
static bool
blocks(const struct dl_raw *r, struct tf_span body, struct tf_span content, struct js_edits *e, bool *calls)
{
	struct tf_span block, v;
	struct js_iter it;
	size_t kept = 0;

	js_iter_init(&it, content);
	while (js_iter_next(&it, NULL, &block)) {
		if (!js_member(block, "type", &v))
			return false;
		*calls = *calls || js_str_eq(v, "tool_use");
		if (r->conf.thinking || (!js_str_eq(v, "thinking") && !js_str_eq(v, "redacted_thinking"))) {
			if (js_str_eq(v, "thinking") && (!js_member(block, "signature", &v) || v.n <= 2))
				return false;
			kept++;
			mfill_block(body, block, e);
			continue;
		}
		js_edit_delete(e, (size_t)(block.p - body.p), (size_t)(block.p - body.p) + block.n);
	}
	return kept > 0;
}

static size_t
count(struct tf_span list)
{
	struct tf_span v;
	struct js_iter it;
	size_t n = 0;

	js_iter_init(&it, list);
	while (js_iter_next(&it, NULL, &v))
		n++;
	return n;
}

/* body as the client gets it. 1; 0: it has to be decoded; or TF_E_NOMEM. */
static int
whole(const struct dl_raw *r, struct tf_span body, struct tf_span model, struct tf_span content, struct tf_buf *out,
    enum dl_finish finish)
{
	size_t n = 1 + MFILL_MESSAGE + MFILL_BLOCK * count(content);
	struct js_edit *edits = calloc(n, sizeof *edits);
	bool calls = false;
	struct js_edits e;
	int err = 0;

	if (edits == NULL)
		return TF_E_NOMEM;
	js_edits_init(&e, edits, n);
	put(&e, body, model, tf_buf_span(&r->model));
	mfill_message(body, tf_span(body.p, end_of(body)), &e);
	/* agents hang when the reason does not fit the calls: that is mended on the other way */
	if (blocks(r, body, content, &e, &calls) && finish != (calls ? DL_FINISH_STOP : DL_FINISH_CALLS))
		err = js_splice(body, &e, out);
	else
		err = TF_E_INVAL;
	free(edits);
	return err == 0 ? 1 : err == TF_E_NOMEM ? err : 0;
}

int
messages_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
    struct dl_raw_answer *answer)
{
	struct tf_span model, content, v;
	int err = messages_dec_parse(d, body, &body);

	if (err < 0)
		return err == TF_E_NOMEM ? err : 0;
	if (!js_member(body, "type", &v) || !js_str_eq(v, "message") || !js_member(body, "model", &model) ||
	    !js_member(body, "content", &content) || js_type(content) != JS_ARRAY ||
	    !js_member(body, "stop_reason", &v) || js_type(v) != JS_STRING)
		return 0;
	answer->finish = messages_finish(v);
	if (answer->finish == DL_FINISH_NONE || !messages_dec_usage(body, &answer->usage) || dl_usage_out(&answer->usage) == 0 ||
	    !dl_usage_possible(&answer->usage))
		return 0;
	return whole(r, body, model, content, out, answer->finish);
}
