/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/json/json.h"
#include "tests/dialect/responses_reader.h"

struct reader {
	struct tf_span model;
	uint64_t sequence;
	uint32_t noutput;
	bool over;
	char id[128];
	/* the open item */
	bool item, part, text_done;
	char item_id[128];
	struct tf_buf text;   /* of its deltas */
	struct tf_buf output; /* the items that are done, comma separated */
	struct tf_buf *made;
};

static bool
is(struct tf_span object, const char *member, const char *want)
{
	struct tf_span v;

	return js_member(object, member, &v) && js_str_eq(v, want);
}

static bool
number(struct tf_span object, const char *member, uint64_t *out)
{
	struct tf_span v;

	return js_member(object, member, &v) && js_get_u64(v, out) == 0;
}

static bool
copy(struct tf_span object, const char *member, char out[static 128])
{
	struct tf_span v;

	if (!js_member(object, member, &v) || js_type(v) != JS_STRING || v.n <= 2 || v.n > 128)
		return false;
	memcpy(out, v.p + 1, v.n - 2);
	out[v.n - 2] = '\0';
	return true;
}

/* ---- the response object ----------------------------------------------------------------- */

static const char *
item_fits(struct tf_span item)
{
	struct tf_span v;
	char id[128];

	if (!copy(item, "id", id))
		return "an item without an id";
	if (is(item, "type", "message")) {
		if (!is(item, "role", "assistant") || !js_at(item, "content[0].type", &v) || strncmp(id, "msg_", 4) != 0)
			return "a message without role or content";
		return NULL;
	}
	if (is(item, "type", "reasoning"))
		return js_member(item, "summary", &v) && js_type(v) == JS_ARRAY && strncmp(id, "rs_", 3) == 0
		    ? NULL
		    : "reasoning without summary";
	if (!is(item, "type", "function_call") && !is(item, "type", "custom_tool_call"))
		return "an item of unknown type";
	if (!js_member(item, is(item, "type", "function_call") ? "arguments" : "input", &v) || js_type(v) != JS_STRING)
		return "a call without arguments";
	if (!js_member(item, "name", &v) || v.n <= 2 || !js_member(item, "call_id", &v) || v.n <= 2)
		return "a call without name or call_id";
	return NULL;
}

static const char *
response_fits(struct tf_span object, struct tf_span model, bool progress)
{
	static const char *const members[] = { "created_at", "completed_at", "error", "incomplete_details",
		"instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id", "reasoning",
		"service_tier", "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
		"usage", "user", "background" };
	struct tf_span v, el;
	struct js_iter it;
	const char *bad = NULL;
	char id[128];

	if (!is(object, "object", "response") || !copy(object, "id", id) || strncmp(id, "resp_", 5) != 0)
		return "no response";
	if (!js_member(object, "model", &v) || !js_str_eqn(v, model))
		return "another model";
	for (size_t i = 0; i < TF_LEN(members); i++)
		if (!js_member(object, members[i], &v))
			return members[i];
	if (!js_member(object, "output", &v) || js_type(v) != JS_ARRAY)
		return "no output";
	js_iter_init(&it, v);
	while (bad == NULL && js_iter_next(&it, NULL, &el))
		bad = item_fits(el);
	if (bad != NULL)
		return bad;
	if (progress)
		return is(object, "status", "in_progress") && it.index == 0 ? NULL : "an answer that begins with something";
	if (it.index == 0)
		return "an answer of nothing";
	if (!is(object, "status", "completed") && !is(object, "status", "incomplete"))
		return "odd status";
	if (is(object, "status", "incomplete") != js_at(object, "incomplete_details.reason", &v))
		return "incomplete without a reason, or a reason without being incomplete";
	return js_at(object, "usage.total_tokens", &v) ? NULL : "no usage";
}

static int
make(struct tf_span object, struct tf_buf *made)
{
	static const char *const members[] = { "status", "incomplete_details", "output", "usage" };
	struct tf_span v;
	int r = 0;

	for (size_t i = 0; r == 0 && i < TF_LEN(members); i++)
		if (js_member(object, members[i], &v)) {
			r = tf_buf_addspan(made, v);
			if (r == 0)
				r = tf_buf_addc(made, '\n');
		}
	return r;
}

const char *
responses_reader_json(struct tf_span body, struct tf_span model, struct tf_buf *made)
{
	const char *bad = js_valid(body) < 0 ? "no JSON" : response_fits(body, model, false);

	tf_buf_reset(made);
	if (bad == NULL && make(body, made) < 0)
		bad = "memory";
	return bad;
}

void
responses_reader_steady(struct tf_buf *out)
{
	static const char mark[] = "\"completed_at\":";
	char *at = out->p, *end;

	if (out->n == 0)
		return;
	end = out->p + out->n;
	while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)) != NULL)
		for (at += sizeof mark - 1; at < end && *at >= '0' && *at <= '9'; at++)
			*at = '1';
}

/* ---- events ------------------------------------------------------------------------------ */

static const char *
on_response(struct reader *r, struct tf_span data, const char *type)
{
	struct tf_span object, v;
	const char *bad;
	bool first = r->sequence < 2;
	char id[128];

	if (!js_member(data, "response", &object))
		return "an event without response";
	if (strcmp(type, "response.failed") == 0)
		return "failed";
	if (first != (strcmp(type, "response.created") == 0 || strcmp(type, "response.in_progress") == 0))
		return "the stream does not begin as it must";
	bad = response_fits(object, r->model, first);
	if (bad != NULL)
		return bad;
	if (!copy(object, "id", id) || (r->sequence > 0 && strcmp(id, r->id) != 0))
		return "the response's identity changed";
	memcpy(r->id, id, sizeof id);
	if (first)
		return NULL;
	if (r->item)
		return "the answer ends inside an item";
	if (!js_member(object, "output", &v) || v.n != r->output.n + 2 || memcmp(v.p + 1, r->output.p, r->output.n) != 0)
		return "the items are not those of the response";
	r->over = true;
	if (strncmp(type, "response.", 9) != 0 || !is(object, "status", type + 9))
		return "the last event is not the status";
	return make(object, r->made) < 0 ? "memory" : NULL;
}

static const char *
on_added(struct reader *r, struct tf_span data)
{
	struct tf_span item, v;
	uint64_t n;

	if (r->item)
		return "items overlap";
	if (!number(data, "output_index", &n) || n != r->noutput)
		return "output_index leaves a gap";
	if (!js_member(data, "item", &item) || !copy(item, "id", r->item_id) || !is(item, "status", "in_progress"))
		return "an item without id or status";
	if (js_at(item, "content[0]", &v) || js_at(item, "summary[0]", &v) || (js_member(item, "arguments", &v) && v.n > 2) ||
	    (js_member(item, "input", &v) && v.n > 2))
		return "an item that begins with something";
	r->item = true;
	r->part = r->text_done = is(item, "type", "function_call") || is(item, "type", "custom_tool_call");
	r->text_done = false;
	tf_buf_reset(&r->text);
	return NULL;
}

static const char *
on_item_done(struct reader *r, struct tf_span data)
{
	struct tf_span item;
	const char *bad;
	char id[128];
	int e = 0;

	if (!r->item || !r->text_done)
		return "an item is done that was not open";
	if (!js_member(data, "item", &item) || !copy(item, "id", id) || strcmp(id, r->item_id) != 0)
		return "another item is done";
	bad = item_fits(item);
	if (bad != NULL)
		return bad;
	if (r->noutput++ > 0)
		e = tf_buf_addc(&r->output, ',');
	if (e == 0)
		e = tf_buf_addspan(&r->output, item);
	r->item = false;
	return e < 0 ? "memory" : NULL;
}

static const char *
on_done_text(struct reader *r, struct tf_span data, const char *type)
{
	static const char *const members[] = { "text", "refusal", "arguments", "input" };
	struct tf_span v;

	if (strstr(type, "part.done") != NULL) {
		if (!r->text_done || !js_member(data, "part", &v))
			return "a part is done before its text";
		data = v;
	} else {
		r->text_done = true;
	}
	for (size_t i = 0; i < TF_LEN(members); i++)
		if (js_member(data, members[i], &v))
			return js_str_eqn(v, tf_buf_span(&r->text)) ? NULL : "the deltas are not the text";
	return "no text";
}

/* Events inside an item. */
static const char *
in_item(struct reader *r, struct tf_span data, const char *type)
{
	static const char *const known[] = { "content_part.added", "content_part.done", "reasoning_summary_part.added",
		"reasoning_summary_part.done", "output_text.delta", "output_text.done", "refusal.delta", "refusal.done",
		"reasoning_text.delta", "reasoning_text.done", "reasoning_summary_text.delta", "reasoning_summary_text.done",
		"function_call_arguments.delta", "function_call_arguments.done", "custom_tool_call_input.delta",
		"custom_tool_call_input.done" };
	struct tf_span v;
	bool some = false;
	uint64_t n;
	char id[128];

	for (size_t i = 0; i < TF_LEN(known); i++)
		some = some || strcmp(type + 9, known[i]) == 0;
	if (!some)
		return "an event of unknown type";
	if (!r->item || !copy(data, "item_id", id) || strcmp(id, r->item_id) != 0)
		return "another item_id";
	if (!number(data, "output_index", &n) || n != r->noutput)
		return "another output_index";
	if (strstr(type, "part.added") != NULL) {
		if (r->part)
			return "a part too many";
		r->part = true;
		return NULL;
	}
	if (!r->part)
		return "text before its part";
	if (strstr(type, ".delta") == NULL)
		return on_done_text(r, data, type);
	if (r->text_done || !js_member(data, "delta", &v) || js_type(v) != JS_STRING || v.n <= 2)
		return "an empty delta, or one too late";
	return js_str_append(v, &r->text) < 0 ? "memory" : NULL;
}

static const char *
on_event(struct reader *r, const char *type, struct tf_span data)
{
	const char *bad;
	uint64_t n;

	if (js_valid(data) < 0 || !is(data, "type", type))
		return "the event's name is not its type";
	if (!number(data, "sequence_number", &n) || n != r->sequence)
		return "a gap in sequence_number";
	if (r->over)
		return "something after the end";
	if (strcmp(type, "response.output_item.added") == 0)
		bad = on_added(r, data);
	else if (strcmp(type, "response.output_item.done") == 0)
		bad = on_item_done(r, data);
	else if (memchr(type + 9, '.', strlen(type) - 9) != NULL)
		bad = in_item(r, data, type);
	else
		bad = on_response(r, data, type);
	r->sequence++;
	return bad;
}

static const char *
walk(struct reader *r, struct tf_span s)
{
	const char *bad = NULL;
	char type[128];

	while (bad == NULL && s.n > 0) {
		const char *end = memmem(s.p, s.n, "\n\n", 2), *line;
		size_t n;

		if (end == NULL)
			return "half an event";
		n = (size_t)(end - s.p);
		line = memchr(s.p, '\n', n);
		if (n < 7 || memcmp(s.p, "event: ", 7) != 0 || line == NULL || (size_t)(line - s.p) - 7 >= sizeof type)
			return "no event line";
		memcpy(type, s.p + 7, (size_t)(line - s.p) - 7);
		type[line - s.p - 7] = '\0';
		line++;
		if ((size_t)(end - line) < 6 || memcmp(line, "data: ", 6) != 0 || memchr(line, '\n', (size_t)(end - line)) != NULL)
			return "no data line, or several";
		if (strncmp(type, "response.", 9) != 0)
			return "an event of another API";
		bad = on_event(r, type, tf_span(line + 6, (size_t)(end - line) - 6));
		s = tf_span(end + 2, s.n - n - 2);
	}
	return bad;
}

const char *
responses_reader_stream(struct tf_span stream, struct tf_span model, bool whole, struct tf_buf *made)
{
	struct reader r = { .model = model, .made = made };
	const char *bad;
	uint64_t n = 0;

	tf_buf_reset(made);
	bad = walk(&r, stream);
	if (bad == NULL && whole != r.over)
		bad = whole ? "the end is missing" : "an end of what has none";
	/* what the gateway would say next must go on with the count */
	if (bad == NULL && stream.n > 0)
		n = dl_sequence(DL_OPENAI_RESPONSES, stream);
	if (bad == NULL && n != r.sequence)
		bad = "the count of the events cannot be found";
	tf_buf_free(&r.text);
	tf_buf_free(&r.output);
	return bad;
}
