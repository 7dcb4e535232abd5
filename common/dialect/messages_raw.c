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
	bool delta, stop;     /* message_delta with a reason, message_stop: went out */
	uint64_t hidden;      /* blocks that the client does not get */
	bool hiding;          /* one of them is open ... */
	uint64_t hidden_at;   /* ... at the runtime's index */
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
	if (r == 0 && memchr(data.p, '\n', data.n) == NULL && memchr(data.p, '\r', data.n) == NULL) {
		r = tf_buf_addspan(out, data);
	} else if (r == 0) {
		struct js_w w;

		js_w_init(&w, out);
		js_w_compact(&w, data);
		r = js_w_done(&w);
	}
	return r < 0 ? r : tf_buf_addstr(out, "\n\n");
}

/* A value inside data becomes another; data then lies in r->event. */
static int
replace(struct dl_raw *r, struct tf_span *data, struct tf_span value, struct tf_span with)
{
	struct tf_buf spliced = { 0 };
	struct js_edits e;
	struct js_edit v[1];
	int err;

	js_edits_init(&e, v, 1);
	js_edit_replace(&e, (size_t)(value.p - data->p), (size_t)(value.p - data->p) + value.n, with);
	err = js_splice(*data, &e, &spliced);
	tf_buf_free(&r->event);
	r->event = spliced;
	*data = tf_buf_span(&r->event);
	return err;
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

/* A block's event. 0: it is passed on, with the client's index; 1: the client does not get it. */
static int
block(struct dl_raw *r, struct tf_span type, struct tf_span *data)
{
	bool begin = tf_span_is(type, "content_block_start"), end = tf_span_is(type, "content_block_stop");
	struct tf_span at;
	uint64_t index;
	char text[24];
	int err = 0;

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
	index = index >= r->hidden ? index - r->hidden : index;
	if (r->hidden > 0) {
		snprintf(text, sizeof text, "%llu", (unsigned long long)index);
		err = replace(r, data, at, tf_cspan(text));
	}
	if (begin || end)
		note_open(r, index, begin);
	return err;
}

/* Does the runtime begin as the API says? Then *data has the client's name of the model. */
static bool
message_start(struct dl_raw *r, struct tf_span *data)
{
	struct tf_span v;

	return js_at(*data, "message.id", &v) && js_type(v) == JS_STRING && js_at(*data, "message.usage", &v) &&
	    js_type(v) == JS_OBJECT && js_at(*data, "message.model", &v) && replace(r, data, v, tf_buf_span(&r->model)) == 0;
}

/* Passes one event on. The decoder has taken it. */
static int
pass(struct dl_raw *r, const struct dl_dec *d, struct tf_span type, struct tf_span data, struct tf_buf *out)
{
	bool content = false;
	struct tf_span v;
	int err = 0;

	if (tf_span_is(type, "content_block_start") || tf_span_is(type, "content_block_delta") ||
	    tf_span_is(type, "content_block_stop")) {
		err = block(r, type, &data);
		content = err == 0;
	} else if (tf_span_is(type, "message_delta")) {
		r->delta = content = d->finished;
		if (js_at(data, "delta.stop_reason", &v) && messages_finish(v) == (d->ncall > 0 ? DL_FINISH_STOP : DL_FINISH_CALLS))
			err = replace(r, &data, v, d->ncall > 0 ? TF_SPAN("\"tool_use\"") : TF_SPAN("\"end_turn\""));
	} else if (tf_span_is(type, "message_stop")) {
		r->stop = true;
		return 0; /* the end of the answer writes it */
	}
	if (err != 0)
		return err < 0 ? err : 0;
	if (r->given || content) {
		r->given = true;
		err = tf_buf_addspan(out, tf_buf_span(&r->held));
		tf_buf_reset(&r->held);
		return err < 0 ? err : write_event(out, type, data);
	}
	return write_event(&r->held, type, data);
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
	struct tf_buf name = { 0 };
	struct tf_span type = event, v;
	int err;

	(void)text; /* the decoder tells all of it */
	if (r->coded || d->done || d->failed)
		return messages_dec_event(d, event, data);
	err = messages_dec_parse(d, data, &data);
	if (err < 0)
		return messages_dec_event(d, event, data);
	if (js_member(data, "type", &v) && js_type(v) == JS_STRING)
		err = js_str(v, &name, &type);
	if (err == 0 && r->begun) {
		err = messages_dec_apply(d, type, data);
		if (err == 0 && !d->failed)
			err = pass(r, d, type, data, out);
	} else if (err == 0) {
		err = first(r, d, type, data);
	}
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

/* Takes out thinking that was not asked for. Elements: of content. False: more than there is room for. */
static bool
hide(const struct dl_raw *r, struct tf_span body, struct tf_span content, struct js_edits *e, bool *calls)
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
			kept++;
			continue;
		}
		js_edit_delete(e, (size_t)(block.p - body.p), (size_t)(block.p - body.p) + block.n);
	}
	return kept > 0;
}

int
messages_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
    struct dl_raw_answer *answer)
{
	struct tf_span model, content, v;
	struct js_edit edits[32];
	struct js_edits e;
	bool calls = false;
	int err = messages_dec_parse(d, body, &body);

	if (err < 0)
		return err == TF_E_NOMEM ? err : 0;
	if (!js_member(body, "type", &v) || !js_str_eq(v, "message") || !js_member(body, "model", &model) ||
	    !js_member(body, "content", &content) || js_type(content) != JS_ARRAY ||
	    !js_member(body, "stop_reason", &v) || js_type(v) != JS_STRING)
		return 0;
	answer->finish = messages_finish(v);
	if (answer->finish == DL_FINISH_NONE || !messages_dec_usage(body, &answer->usage) || dl_usage_out(&answer->usage) == 0)
		return 0;
	js_edits_init(&e, edits, TF_LEN(edits));
	js_edit_replace(&e, (size_t)(model.p - body.p), (size_t)(model.p - body.p) + model.n, tf_buf_span(&r->model));
	if (!hide(r, body, content, &e, &calls) || e.err < 0)
		return 0;
	/* agents hang when the reason does not fit the calls: that is mended on the other way */
	if (answer->finish == (calls ? DL_FINISH_STOP : DL_FINISH_CALLS))
		return 0;
	err = js_splice(body, &e, out);
	return err < 0 ? err : 1;
}
