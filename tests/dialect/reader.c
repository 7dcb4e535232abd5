/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See reader.h. Written from the SDKs' demands, not from the encoder: it shares no code with it.
 */
#include "config.h"

#include <string.h>

#include "tests/dialect/reader.h"

struct reader {
	bool begun, ended, delta;
	bool open;
	uint64_t index;      /* blocks begun */
	char kind;           /* of the open block: t text, h thinking, u tool_use */
	bool some, signature;
	unsigned blocks, tools, empty;
	struct tf_buf piece; /* of the open block */
	struct tf_span model;
	struct tf_buf *made;
};

static bool
member(struct tf_span o, const char *name, enum js_type type, struct tf_span *v)
{
	return js_member(o, name, v) && js_type(*v) == type;
}

static const char *
usage(struct tf_span u)
{
	static const char *const names[] = { "input_tokens", "output_tokens", "cache_creation_input_tokens",
		"cache_read_input_tokens" };
	struct tf_span v;

	for (size_t i = 0; i < TF_LEN(names); i++)
		if (!member(u, names[i], JS_NUMBER, &v))
			return "usage without a count";
	return NULL;
}

static const char *
stop(struct reader *r, struct tf_span o)
{
	static const char *const known[] = { "end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal",
		"pause_turn", "model_context_window_exceeded" };
	struct tf_span v, s;
	bool found = false;

	if (!member(o, "stop_reason", JS_STRING, &v) || !js_member(o, "stop_sequence", &s))
		return "no stop_reason";
	for (size_t i = 0; i < TF_LEN(known); i++)
		found = found || js_str_eq(v, known[i]);
	if (!found)
		return "unknown stop_reason";
	if (js_str_eq(v, "tool_use") && r->tools == 0)
		return "tool_use without a call";
	if (js_str_eq(v, "end_turn") && r->tools > 0)
		return "end_turn beside calls";
	if (js_str_eq(v, "stop_sequence") != (js_type(s) == JS_STRING))
		return "stop_sequence does not fit";
	tf_buf_addspan(r->made, v);
	return NULL;
}

static const char *
head(struct reader *r, struct tf_span m)
{
	struct tf_span v;

	if (!member(m, "id", JS_STRING, &v) || v.n < 8 || memcmp(v.p, "\"msg_", 5) != 0)
		return "no id";
	tf_buf_addspan(r->made, v);
	if (!member(m, "type", JS_STRING, &v) || !js_str_eq(v, "message") || !member(m, "role", JS_STRING, &v) ||
	    !js_str_eq(v, "assistant"))
		return "no message of the assistant";
	if (!member(m, "model", JS_STRING, &v) || !js_str_eqn(v, r->model))
		return "model is not the one asked for";
	if (!member(m, "usage", JS_OBJECT, &v))
		return "message without usage";
	return usage(v);
}

static const char *
block_head(struct reader *r, struct tf_span b)
{
	struct tf_span v;

	if (!member(b, "type", JS_STRING, &v))
		return "block without type";
	r->kind = js_str_eq(v, "text") ? 't' : js_str_eq(v, "thinking") ? 'h' : js_str_eq(v, "tool_use") ? 'u' : '?';
	if (r->kind == '?')
		return "block of unknown type";
	tf_buf_printf(r->made, "\n%c ", r->kind);
	r->blocks++;
	if (r->kind == 't')
		return member(b, "text", JS_STRING, &v) ? NULL : "text block without text";
	if (r->kind == 'h')
		return member(b, "thinking", JS_STRING, &v) && member(b, "signature", JS_STRING, &v) ? NULL : "bad thinking block";
	r->tools++;
	if (!member(b, "id", JS_STRING, &v) || v.n <= 2)
		return "tool_use without id";
	for (size_t i = 1; i + 1 < v.n; i++)
		if (strchr("_-", v.p[i]) == NULL && !((v.p[i] | 32) >= 'a' && (v.p[i] | 32) <= 'z') &&
		    !(v.p[i] >= '0' && v.p[i] <= '9'))
			return "id of a call with odd characters";
	tf_buf_addspan(r->made, v);
	if (!member(b, "name", JS_STRING, &v) || v.n <= 2)
		return "tool_use without name";
	tf_buf_addspan(r->made, v);
	return member(b, "input", JS_OBJECT, &v) ? NULL : "input is no object";
}

static const char *
block_delta(struct reader *r, struct tf_span d)
{
	struct tf_span v, text;
	const char *name = r->kind == 't' ? "text" : r->kind == 'h' ? "thinking" : "partial_json";

	if (!member(d, "type", JS_STRING, &v))
		return "delta without type";
	if (js_str_eq(v, "signature_delta")) {
		if (r->kind != 'h' || r->signature || !member(d, "signature", JS_STRING, &v) || v.n <= 2)
			return "signature out of place";
		r->signature = true;
		return NULL;
	}
	if (!js_str_eq(v, r->kind == 't' ? "text_delta" : r->kind == 'h' ? "thinking_delta" : "input_json_delta"))
		return "delta does not fit its block";
	if (!member(d, name, JS_STRING, &text) || text.n <= 2)
		return "empty delta";
	if (r->signature)
		return "thinking behind its signature";
	r->some = true;
	return js_str_append(text, &r->piece) < 0 ? "memory" : NULL;
}

static const char *
block_end(struct reader *r)
{
	struct tf_span all = tf_buf_span(&r->piece);
	struct js_w w;

	if (r->kind == 'h' && !r->signature)
		return "thinking without signature";
	/* thinking may be left out, its signature stands for it */
	if (!r->some && r->kind == 't')
		r->empty++;
	/* arguments that a cap cut short are no JSON, and are given as they came */
	if (r->kind == 'u' && (all.n == 0 || js_valid(all) < 0)) {
		tf_buf_addstr(r->made, all.n == 0 ? "{}" : "broken");
	} else if (r->kind == 'u') {
		js_w_init(&w, r->made);
		js_w_compact(&w, all);
		if (js_w_done(&w) < 0)
			return "memory";
	} else {
		tf_buf_addspan(r->made, all);
	}
	tf_buf_reset(&r->piece);
	return NULL;
}

static const char *
event(struct reader *r, struct tf_span name, struct tf_span data)
{
	struct tf_span v, w;
	uint64_t n = 0;

	if (js_valid(data) < 0 || !member(data, "type", JS_STRING, &v) || !js_str_eqn(v, name))
		return "event without its type";
	if (tf_span_is(name, "ping"))
		return NULL;
	if (r->ended)
		return "event behind the end";
	if (tf_span_is(name, "message_start")) {
		if (r->begun)
			return "second message_start";
		r->begun = true;
		return member(data, "message", JS_OBJECT, &v) ? head(r, v) : "no message";
	}
	if (!r->begun)
		return "event before message_start";
	if (member(data, "index", JS_NUMBER, &v) && js_get_u64(v, &n) < 0)
		return "bad index";
	if (tf_span_is(name, "content_block_start")) {
		if (r->open || n != r->index || r->delta)
			return "block out of order";
		r->open = true;
		r->some = r->signature = false;
		return member(data, "content_block", JS_OBJECT, &v) ? block_head(r, v) : "no block";
	}
	if (tf_span_is(name, "content_block_delta"))
		return !r->open || n != r->index ? "delta outside of its block"
		    : member(data, "delta", JS_OBJECT, &v) ? block_delta(r, v) : "no delta";
	if (tf_span_is(name, "content_block_stop")) {
		if (!r->open || n != r->index)
			return "stop of no block";
		r->open = false;
		r->index++;
		return block_end(r);
	}
	if (tf_span_is(name, "message_delta")) {
		if (r->open || r->delta || !member(data, "delta", JS_OBJECT, &v) || !member(data, "usage", JS_OBJECT, &w))
			return "bad message_delta";
		r->delta = true;
		tf_buf_addstr(r->made, "\n");
		return usage(w) != NULL ? usage(w) : stop(r, v);
	}
	if (!tf_span_is(name, "message_stop"))
		return "unknown event";
	r->ended = true;
	return r->delta ? NULL : "end without message_delta";
}

static const char *
read_stream(struct reader *r, struct tf_span s, bool whole)
{
	const char *p = s.n > 0 ? s.p : "", *last = p + s.n, *e, *line, *bad;

	for (; p < last; p = e + 2) {
		e = memmem(p, (size_t)(last - p), "\n\n", 2);
		if (e == NULL || e - p < 16 || memcmp(p, "event: ", 7) != 0)
			return "no event";
		line = memchr(p, '\n', (size_t)(e - p));
		if (line == NULL || e - line < 8 || memcmp(line, "\ndata: ", 7) != 0 ||
		    memchr(line + 1, '\n', (size_t)(e - line) - 1) != NULL)
			return "no data line, or more than one";
		bad = event(r, tf_span(p + 7, (size_t)(line - p) - 7), tf_span(line + 7, (size_t)(e - line) - 7));
		if (bad != NULL)
			return bad;
	}
	if (whole != r->ended)
		return whole ? "no end" : "end of a broken answer";
	if (whole && (r->blocks == 0 || (r->empty > 0 && r->blocks > 1)))
		return "no block, or an empty one";
	return NULL;
}

const char *
reader_stream(struct tf_span stream, struct tf_span model, bool whole, struct tf_buf *made)
{
	struct reader r = { .model = model, .made = made };
	const char *bad;

	tf_buf_reset(made);
	bad = read_stream(&r, stream, whole);
	tf_buf_free(&r.piece);
	return bad;
}

static const char *
read_json(struct reader *r, struct tf_span body)
{
	struct tf_span v, el, text;
	const char *bad;
	struct js_iter it;

	if (js_valid(body) < 0)
		return "answer is not JSON";
	if ((bad = head(r, body)) != NULL)
		return bad;
	if (!member(body, "content", JS_ARRAY, &v))
		return "no content";
	js_iter_init(&it, v);
	while (js_iter_next(&it, NULL, &el)) {
		if ((bad = block_head(r, el)) != NULL)
			return bad;
		if (!js_member(el, r->kind == 't' ? "text" : r->kind == 'h' ? "thinking" : "input", &text))
			return "block without its text";
		if (r->kind == 'u')
			tf_buf_addspan(r->made, text);
		else if (js_str_append(text, r->made) < 0)
			return "memory";
		r->empty += text.n == 2 && r->kind == 't';
	}
	if (r->blocks == 0 || (r->empty > 0 && r->blocks > 1))
		return "no block, or an empty one";
	tf_buf_addstr(r->made, "\n");
	return stop(r, body);
}

const char *
reader_json(struct tf_span body, struct tf_span model, struct tf_buf *made)
{
	struct reader r = { .model = model, .made = made };

	tf_buf_reset(made);
	return read_json(&r, body);
}
