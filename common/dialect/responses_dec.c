/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decodes answers of the Responses API, streamed or whole, into canonical events. An event is known by
 * the type in its data, or by its event line where that is missing; sequence numbers are not looked at,
 * for not all servers have them. An answer is over with its last event and not before. Whatever comes
 * in, the events obey grammar.c. Called by xlate.c.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/responses_dec.h"

struct dl_dec *
responses_dec_new(const struct dl_dec_conf *conf)
{
	struct dl_dec *d = calloc(1, sizeof *d);

	if (d != NULL)
		d->conf = *conf;
	return d;
}

void
responses_dec_free(struct dl_dec **dp)
{
	struct dl_dec *d = *dp;

	*dp = NULL;
	if (d == NULL)
		return;
	rdec_items_free(d);
	dl_think_fini(&d->think);
	tf_buf_free(&d->scratch);
	tf_buf_free(&d->mended);
	tf_buf_free(&d->quoted);
	free(d);
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool
is_object(struct tf_span v)
{
	return js_type(v) == JS_OBJECT;
}

static void
read_event(struct tf_span data, struct rdec_event *e)
{
	const struct {
		const char *name;
		struct tf_span *text; /* a string ... */
		struct tf_span *any;  /* ... or whatever it is ... */
		uint64_t *number;     /* ... or a number */
	} members[] = {
		{ "type", &e->type, NULL, NULL },
		{ "delta", &e->delta, NULL, NULL },
		{ "item_id", &e->item_id, NULL, NULL },
		{ "output_index", NULL, NULL, &e->output_index },
		{ "content_index", NULL, NULL, &e->content_index },
		{ "summary_index", NULL, NULL, &e->summary_index },
		{ "text", &e->text, NULL, NULL },
		{ "refusal", &e->refusal, NULL, NULL },
		{ "name", &e->name, NULL, NULL },
		{ "arguments", NULL, &e->arguments, NULL },
		{ "input", NULL, &e->input, NULL },
		{ "logprobs", NULL, &e->logprobs, NULL },
		{ "item", NULL, &e->item, NULL },
		{ "part", NULL, &e->part, NULL },
		{ "response", NULL, &e->response, NULL },
	};
	struct tf_span key, v;
	struct js_iter it;

	memset(e, 0, sizeof *e);
	js_iter_init(&it, data);
	while (js_iter_next(&it, &key, &v))
		for (size_t i = 0; i < TF_LEN(members); i++) {
			if (!js_str_eq(key, members[i].name))
				continue;
			if (members[i].text != NULL && js_type(v) == JS_STRING)
				*members[i].text = v;
			if (members[i].any != NULL)
				*members[i].any = v;
			if (members[i].number != NULL && js_type(v) == JS_NUMBER && js_get_u64(v, members[i].number) == 0)
				e->has_index = e->has_index || members[i].number == &e->output_index;
			break;
		}
	if (js_type(e->logprobs) != JS_ARRAY || e->logprobs.n <= 2)
		e->logprobs = tf_span(NULL, 0);
}

int
rdec_parse(struct dl_dec *d, struct tf_span data, struct tf_span *json)
{
	int r = js_valid(data);

	*json = data;
	if (r == TF_E_INVAL && !dl_utf8_ok(data)) {
		tf_buf_reset(&d->mended);
		r = dl_mend(&d->carry, data, &d->mended);
		*json = tf_buf_span(&d->mended);
		if (r == 0)
			r = js_valid(*json);
	} else {
		d->carry.n = 0;
	}
	while (r == 0 && json->n > 0 && strchr(" \t\r\n", json->p[0]) != NULL)
		*json = tf_span(json->p + 1, json->n - 1);
	d->json = *json;
	return r == 0 && !is_object(*json) ? TF_E_INVAL : r;
}

static uint64_t
count(struct tf_span object, const char *path)
{
	struct tf_span v;
	uint64_t n;

	return js_at(object, path, &v) && js_type(v) == JS_NUMBER && js_get_u64(v, &n) == 0 && n < UINT64_MAX / 8 ? n : 0;
}

/* ---- events ------------------------------------------------------------------------------ */

static int
fault(struct dl_dec *d, const struct dl_fault *f)
{
	struct dl_event e = { .kind = DL_EV_ERROR, .fault = f };

	d->failed = true;
	return rdec_emit(d, &e);
}

static int
broken(struct dl_dec *d, const char *why)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "%s", why);
	f.retryable = true;
	return fault(d, &f);
}

static int
failed(struct dl_dec *d, struct tf_span object)
{
	struct dl_fault f;

	dl_upstream_fault(200, object, 0, d->conf.quirks, &f);
	return fault(d, &f);
}

static int
start(struct dl_dec *d, struct tf_span response)
{
	struct dl_event e = { .kind = DL_EV_START };
	struct tf_span v;
	int r = 0;

	if (d->started)
		return 0;
	d->started = true;
	tf_buf_reset(&d->scratch);
	if (js_member(response, "id", &v) && js_type(v) == JS_STRING)
		r = js_str(v, &d->scratch, &e.id);
	if (!js_member(response, "created_at", &v) || js_type(v) != JS_NUMBER || js_get_i64(v, &e.created) < 0 || e.created < 0)
		e.created = 0;
	return r < 0 ? r : rdec_emit(d, &e);
}

bool
rdec_usage(struct tf_span response, struct dl_usage *u)
{
	struct tf_span v;
	uint64_t in, out;

	memset(u, 0, sizeof *u);
	if (!js_member(response, "usage", &v) || !is_object(v))
		return false;
	in = count(v, "input_tokens");
	out = count(v, "output_tokens");
	u->reasoning = count(v, "output_tokens_details.reasoning_tokens");
	u->cache_read = count(v, "input_tokens_details.cached_tokens");
	u->cache_write = count(v, "input_tokens_details.cache_write_tokens");
	/* more cached than there was: the total is what is trusted */
	if (u->cache_read > in)
		u->cache_read = in;
	if (u->cache_write > in - u->cache_read)
		u->cache_write = in - u->cache_read;
	u->prompt = in - u->cache_read - u->cache_write;
	u->completion = u->reasoning > out ? out : out - u->reasoning;
	return in + out > 0;
}

static int
usage(struct dl_dec *d, struct tf_span response)
{
	struct dl_event e = { .kind = DL_EV_USAGE, .origin = DL_OPENAI_RESPONSES };

	if (!rdec_usage(response, &e.usage))
		return 0;
	(void)js_member(response, "usage", &e.text);
	return rdec_emit(d, &e);
}

static int
finish(struct dl_dec *d, enum dl_finish why)
{
	struct dl_event e = { .kind = DL_EV_FINISH };
	int r = rdec_close_all(d, why == DL_FINISH_LENGTH);

	if (r < 0)
		return r;
	d->done = true;
	e.finish = why == DL_FINISH_STOP && d->ncall > 0 ? DL_FINISH_CALLS : why;
	return rdec_emit(d, &e);
}

/* Servers that number nothing cannot be held to the item: one of its kind that was said is all that was. */
static bool
was_said(const struct dl_dec *d, enum rdec_kind kind, struct tf_span item)
{
	struct tf_span id;

	if (kind == RDEC_MESSAGE)
		return d->said[RDEC_TEXT] || d->said[RDEC_REFUSAL];
	if (kind == RDEC_REASONING)
		return d->said[RDEC_THOUGHT] || d->said[RDEC_SUMMARY];
	if (!js_member(item, "call_id", &id) || js_type(id) != JS_STRING || id.n <= 2)
		return d->ncall > 0;
	for (uint32_t i = 0; i < d->count; i++)
		if (d->item[i].ended && js_str_eqn(id, tf_buf_span(&d->item[i].call_id)))
			return true;
	return false;
}

/* The items of a complete answer: in a stream, what it forgot to say before. */
static int
output(struct dl_dec *d, struct tf_span response, bool streamed)
{
	struct rdec_event e = { .has_index = true };
	struct tf_span list, el;
	struct js_iter it;
	int r = 0;

	if (!js_member(response, "output", &list))
		return 0;
	js_iter_init(&it, list);
	for (; r == 0 && js_iter_next(&it, NULL, &el); e.output_index++) {
		enum rdec_kind kind = rdec_kind_of(el);
		struct rdec_item *item;

		if (kind == RDEC_OTHER)
			continue;
		if (streamed && was_said(d, kind, el))
			continue;
		if (!js_member(el, "id", &e.item_id) || js_type(e.item_id) != JS_STRING)
			e.item_id = tf_span(NULL, 0);
		item = rdec_item_of(d, &e, kind);
		if (item == NULL)
			return TF_E_FULL;
		r = rdec_whole(d, item, el);
	}
	return r;
}

enum dl_finish
rdec_finish(struct tf_span response, bool incomplete)
{
	struct tf_span v;

	if (!incomplete)
		return DL_FINISH_STOP;
	if (js_at(response, "incomplete_details.reason", &v) && js_str_eq(v, "content_filter"))
		return DL_FINISH_FILTER;
	return DL_FINISH_LENGTH;
}

/*
 * The answer is over, well or not. said: what the name of the event says of it; NULL: it is a whole answer, whose
 * status is all there is. The worse of the two counts.
 */
static int
over(struct dl_dec *d, struct tf_span response, const char *said)
{
	struct tf_span status, error;
	bool streamed = said != NULL, incomplete = streamed && strcmp(said, "incomplete") == 0;
	bool bad = streamed && !incomplete && strcmp(said, "completed") != 0;
	int r;

	if (!js_member(response, "status", &status) || js_type(status) != JS_STRING)
		status = incomplete ? TF_SPAN("\"incomplete\"") : TF_SPAN("\"completed\"");
	incomplete = incomplete || js_str_eq(status, "incomplete");
	if (bad || js_str_eq(status, "failed") || js_str_eq(status, "cancelled") ||
	    (js_member(response, "error", &error) && is_object(error) && !js_str_eq(status, "completed") && !incomplete))
		return failed(d, response);
	if (!incomplete && !js_str_eq(status, "completed"))
		return broken(d, "The model's runtime ended without an answer.");
	r = start(d, response);
	if (r == 0)
		r = output(d, response, streamed);
	if (r == 0)
		r = usage(d, response);
	return r == 0 ? finish(d, rdec_finish(response, incomplete)) : r;
}

/* ---- a stream's events ------------------------------------------------------------------- */

static int
on_item(struct dl_dec *d, const struct rdec_event *e, bool done)
{
	enum rdec_kind kind = rdec_kind_of(e->item);
	struct rdec_event at = *e;
	struct rdec_item *it;
	int r;

	if (kind == RDEC_OTHER)
		return 0;
	if (js_member(e->item, "id", &at.item_id) && js_type(at.item_id) != JS_STRING)
		at.item_id = e->item_id;
	it = rdec_item_of(d, &at, kind);
	if (it == NULL)
		return TF_E_FULL;
	r = start(d, tf_span(NULL, 0));
	if (r < 0)
		return r;
	if (done)
		return rdec_whole(d, it, e->item);
	return kind == RDEC_CALL ? rdec_call(d, it, e->item) : 0;
}

static int
on_text(struct dl_dec *d, const struct rdec_event *e, enum rdec_what what, bool done)
{
	bool thought = what == RDEC_THOUGHT || what == RDEC_SUMMARY;
	struct rdec_item *it = rdec_item_of(d, e, thought ? RDEC_REASONING : RDEC_MESSAGE);
	struct tf_span text = !done ? e->delta : what == RDEC_REFUSAL ? e->refusal : e->text;
	int r = start(d, tf_span(NULL, 0));

	if (it == NULL)
		return TF_E_FULL;
	if (what == RDEC_TEXT)
		d->logprobs = e->logprobs;
	if (r == 0)
		r = rdec_say(d, it, what, what == RDEC_SUMMARY ? e->summary_index : e->content_index, text, done);
	d->logprobs = tf_span(NULL, 0);
	return r;
}

/* A part that is complete, for servers that send no text of its own. */
static int
on_part(struct dl_dec *d, const struct rdec_event *e, bool summary)
{
	struct rdec_event as = *e;
	struct tf_span type, v;
	enum rdec_what what;

	if (!js_member(e->part, "type", &type))
		return 0;
	what = summary ? RDEC_SUMMARY
	    : js_str_eq(type, "reasoning_text") ? RDEC_THOUGHT
	    : js_str_eq(type, "refusal") ? RDEC_REFUSAL
					 : RDEC_TEXT;
	if (what == RDEC_TEXT && !js_str_eq(type, "output_text"))
		return 0;
	if (!js_member(e->part, what == RDEC_REFUSAL ? "refusal" : "text", &v))
		return 0;
	as.text = as.refusal = v;
	return on_text(d, &as, what, true);
}

static int
on_args(struct dl_dec *d, const struct rdec_event *e, bool custom, bool done)
{
	struct rdec_item *it = rdec_item_of(d, e, RDEC_CALL);
	int r = start(d, tf_span(NULL, 0));

	if (it == NULL)
		return TF_E_FULL;
	if (custom && !it->begun)
		it->tool = DL_TOOL_CUSTOM;
	return r < 0 ? r : rdec_args(d, it, !done ? e->delta : custom ? e->input : e->arguments, done);
}

static int
on_error(struct dl_dec *d, struct tf_span data)
{
	return failed(d, data);
}

enum what_to_do { ITEM, PART, SUMMARY_PART, TEXT, REFUSAL, THOUGHT, SUMMARY, ARGS, INPUT, BEGIN, OVER, ERROR };

static const struct {
	const char *type;
	enum what_to_do what;
	bool done;
} kinds[] = {
	{ "response.output_text.delta", TEXT, false },
	{ "response.function_call_arguments.delta", ARGS, false },
	{ "response.reasoning_text.delta", THOUGHT, false },
	{ "response.reasoning_summary_text.delta", SUMMARY, false },
	{ "response.custom_tool_call_input.delta", INPUT, false },
	{ "response.refusal.delta", REFUSAL, false },
	{ "response.created", BEGIN, false },
	{ "response.in_progress", BEGIN, false },
	{ "response.queued", BEGIN, false },
	{ "response.output_item.added", ITEM, false },
	{ "response.output_item.done", ITEM, true },
	{ "response.content_part.done", PART, true },
	{ "response.reasoning_summary_part.done", SUMMARY_PART, true },
	{ "response.output_text.done", TEXT, true },
	{ "response.refusal.done", REFUSAL, true },
	{ "response.reasoning_text.done", THOUGHT, true },
	{ "response.reasoning_summary_text.done", SUMMARY, true },
	{ "response.function_call_arguments.done", ARGS, true },
	{ "response.custom_tool_call_input.done", INPUT, true },
	{ "response.completed", OVER, true },
	{ "response.incomplete", OVER, true },
	{ "response.failed", OVER, true },
	{ "response.cancelled", OVER, true },
	{ "error", ERROR, true },
	{ "response.error", ERROR, true },
	/* names that some servers gave them before they were settled */
	{ "response.reasoning.delta", THOUGHT, false },
	{ "response.reasoning.done", THOUGHT, true },
};

static int
act(struct dl_dec *d, const struct rdec_event *e, struct tf_span data, size_t i)
{
	bool done = kinds[i].done;

	switch (kinds[i].what) {
	case ITEM:
		return on_item(d, e, done);
	case PART:
		return on_part(d, e, false);
	case SUMMARY_PART:
		return on_part(d, e, true);
	case TEXT:
		return on_text(d, e, RDEC_TEXT, done);
	case REFUSAL:
		return on_text(d, e, RDEC_REFUSAL, done);
	case THOUGHT:
		return on_text(d, e, RDEC_THOUGHT, done);
	case SUMMARY:
		return on_text(d, e, RDEC_SUMMARY, done);
	case ARGS:
		return on_args(d, e, false, done);
	case INPUT:
		return on_args(d, e, true, done);
	case BEGIN:
		return start(d, e->response);
	case OVER:
		return is_object(e->response) ? over(d, e->response, kinds[i].type + strlen("response.")) : TF_E_INVAL;
	default:
		return on_error(d, data);
	}
}

int
responses_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data)
{
	struct rdec_event e;
	struct tf_span json, v;
	int r;

	if (d->done || d->failed || tf_span_is(data, "[DONE]"))
		return 0;
	r = rdec_parse(d, data, &json);
	if (r == TF_E_NOMEM)
		return r;
	if (r < 0)
		return tf_span_is(event, "error") ? failed(d, tf_span(NULL, 0)) : TF_E_INVAL;
	read_event(json, &e);
	for (size_t i = 0; i < TF_LEN(kinds); i++)
		if (e.type.n > 0 ? js_str_eq(e.type, kinds[i].type) : tf_span_is(event, kinds[i].type))
			return act(d, &e, json, i);
	/* an error without a type, as other APIs have it */
	if (e.type.n == 0 && js_member(json, "error", &v) && !js_is_null(v))
		return on_error(d, json);
	return e.type.n > 0 || event.n > 0 ? 0 : TF_E_INVAL;
}

int
responses_dec_response(struct dl_dec *d, struct tf_span body)
{
	struct tf_span json, v;
	int r = rdec_parse(d, body, &json);

	if (r == 0 && !js_member(json, "output", &v) && !js_member(json, "status", &v))
		return failed(d, json);
	if (r == 0)
		r = over(d, json, NULL);
	return r == 0 || r == TF_E_NOMEM ? r : broken(d, "The model's runtime gave an answer that cannot be read.");
}

int
responses_dec_end(struct dl_dec *d)
{
	if (d->failed || d->done)
		return 0;
	return broken(d, "The model's runtime broke off its answer.");
}

int
responses_dec_cut(struct dl_dec *d)
{
	if (d->done || d->failed)
		return 0;
	if (d->nitem > 0 || d->think.hold.n > 0)
		return finish(d, DL_FINISH_LENGTH);
	return broken(d, "The model's runtime ended without an answer.");
}

enum dl_state
responses_dec_state(const struct dl_dec *d)
{
	return d->done ? DL_DONE : DL_GOING;
}
