/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical events -> events of the openai_responses dialect: created, items one after the other with all their
 * beginnings and ends, then the whole response. Clients take items in order only, so what belongs to a later item
 * waits while an earlier one is open; the last one stays open until it is known how the answer ended. Called by
 * xlate.c for each event.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/responses_enc.h"
#include "common/dialect/turns.h"

/* Appends literal text; the first error stays. */
#define LIT(r, out, text) ((r) < 0 ? (r) : tf_buf_append((out), (text), sizeof(text) - 1))

/* ---- events ------------------------------------------------------------------------------ */

static int
begin_event(struct dl_enc *e, struct tf_buf *out, const char *name)
{
	return tf_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%llu", name, name,
	    (unsigned long long)e->sequence++);
}

static int
response_event(struct dl_enc *e, const char *name, const struct dl_usage *usage, struct tf_buf *out)
{
	struct js_w w;
	int r = begin_event(e, out, name);

	r = LIT(r, out, ",\"response\":");
	if (r < 0)
		return r;
	e->object = out->n;
	js_w_init(&w, out);
	renc_response(e, usage, &w);
	r = js_w_done(&w);
	e->object_end = out->n;
	return LIT(r, out, "}\n\n");
}

static int
start(struct dl_enc *e, struct tf_buf *out)
{
	int r;

	if (e->started)
		return 0;
	e->started = true;
	r = response_event(e, "response.created", NULL, out);
	return r < 0 ? r : response_event(e, "response.in_progress", NULL, out);
}

/* An event of an item up to its own members: item_id, output_index and what counts its parts. */
static int
begin_item_event(struct dl_enc *e, const struct renc_item *it, const char *name, const char *counter, struct tf_buf *out)
{
	int r = begin_event(e, out, name);

	if (r == 0)
		r = tf_buf_printf(out, ",\"item_id\":\"%s\",\"output_index\":%u", it->id, it->output);
	if (r == 0 && counter != NULL)
		r = tf_buf_printf(out, ",\"%s\":0", counter);
	return r;
}

static int
item_event(struct dl_enc *e, const struct renc_item *it, bool done, struct tf_buf *out)
{
	struct js_w w;
	int r = begin_event(e, out, done ? "response.output_item.done" : "response.output_item.added");

	if (r == 0)
		r = tf_buf_printf(out, ",\"output_index\":%u,\"item\":", it->output);
	if (r < 0)
		return r;
	js_w_init(&w, out);
	renc_item_object(e, it, done, &w);
	r = js_w_done(&w);
	return LIT(r, out, "}\n\n");
}

struct words { /* names of the events of an item, and of the member that has its whole text */
	const char *delta, *done, *member, *counter;
};

static const struct words *
words(const struct dl_enc *e, const struct renc_item *it)
{
	static const struct words all[] = {
		{ "response.output_text.delta", "response.output_text.done", "text", "content_index" },
		{ "response.refusal.delta", "response.refusal.done", "refusal", "content_index" },
		{ "response.reasoning_text.delta", "response.reasoning_text.done", "text", "content_index" },
		{ "response.reasoning_summary_text.delta", "response.reasoning_summary_text.done", "text", "summary_index" },
		{ "response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments", NULL },
		{ "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input", NULL },
	};

	switch (it->kind) {
	case DL_ITEM_TEXT:
		return &all[0];
	case DL_ITEM_REFUSAL:
		return &all[1];
	case DL_ITEM_REASONING:
		return &all[e->summary ? 3 : 2];
	default:
		return &all[it->custom ? 5 : 4];
	}
}

static int
part_event(struct dl_enc *e, const struct renc_item *it, bool done, struct tf_buf *out)
{
	bool summary = it->kind == DL_ITEM_REASONING && e->summary;
	struct js_w w;
	int r;

	if (summary)
		r = begin_item_event(e, it,
		    done ? "response.reasoning_summary_part.done" : "response.reasoning_summary_part.added", "summary_index", out);
	else
		r = begin_item_event(
		    e, it, done ? "response.content_part.done" : "response.content_part.added", "content_index", out);
	r = LIT(r, out, ",\"part\":");
	if (r < 0)
		return r;
	js_w_init(&w, out);
	renc_part_object(e, it, done, &w);
	r = js_w_done(&w);
	return LIT(r, out, "}\n\n");
}

static int
delta_parts(const struct dl_enc *e, struct renc_item *it)
{
	const struct words *n = words(e, it);
	int r = tf_buf_printf(&it->delta[0], "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":", n->delta, n->delta);

	if (r == 0)
		r = tf_buf_printf(&it->delta[1], ",\"item_id\":\"%s\",\"output_index\":%u", it->id, it->output);
	if (r == 0 && n->counter != NULL)
		r = tf_buf_printf(&it->delta[1], ",\"%s\":0", n->counter);
	return r < 0 ? r : tf_buf_addstr(&it->delta[1], ",\"delta\":");
}

static int
add_number(uint64_t n, struct tf_buf *out)
{
	char digits[20];
	size_t at = sizeof digits;

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	return tf_buf_append(out, digits + at, sizeof digits - at);
}

/* There is one for each token. */
static int
delta_event(struct dl_enc *e, struct renc_item *it, struct tf_span text, struct tf_span logprobs, struct tf_buf *out)
{
	int r = it->delta[0].n == 0 ? delta_parts(e, it) : 0;

	if (r == 0)
		r = tf_buf_addspan(out, tf_buf_span(&it->delta[0]));
	if (r == 0)
		r = add_number(e->sequence++, out);
	if (r == 0)
		r = tf_buf_addspan(out, tf_buf_span(&it->delta[1]));
	if (r == 0)
		r = js_quote(out, text);
	if (it->kind == DL_ITEM_TEXT && logprobs.n > 0) {
		r = LIT(r, out, ",\"logprobs\":");
		if (r == 0)
			r = tf_buf_addspan(out, logprobs);
	} else if (it->kind == DL_ITEM_TEXT) {
		r = LIT(r, out, ",\"logprobs\":[]");
	}
	return LIT(r, out, "}\n\n");
}

static int
text_done_event(struct dl_enc *e, const struct renc_item *it, struct tf_buf *out)
{
	const struct words *n = words(e, it);
	int r = begin_item_event(e, it, n->done, n->counter, out);

	if (r == 0 && it->kind == DL_ITEM_CALL && !it->custom) {
		r = tf_buf_addstr(out, ",\"name\":");
		if (r == 0)
			r = tf_buf_addspan(out, tf_buf_span(&it->name));
	}
	if (r == 0)
		r = tf_buf_printf(out, ",\"%s\":", n->member);
	if (r == 0)
		r = js_quote(out, tf_buf_span(&it->all));
	if (r == 0 && it->kind == DL_ITEM_TEXT) {
		r = tf_buf_addstr(out, ",\"logprobs\":[");
		if (r == 0)
			r = tf_buf_addspan(out, tf_buf_span(&it->logprobs));
		r = LIT(r, out, "]");
	}
	return LIT(r, out, "}\n\n");
}

/* ---- items ------------------------------------------------------------------------------- */

static int
begin_item(struct dl_enc *e, struct renc_item *it, struct tf_buf *out)
{
	int r;

	if (it->begun)
		return 0;
	it->begun = true;
	renc_item_place(e, it);
	if (out == NULL)
		return 0;
	r = start(e, out);
	if (r == 0)
		r = item_event(e, it, false, out);
	return r < 0 || it->kind == DL_ITEM_CALL ? r : part_event(e, it, false, out);
}

static int
say(struct dl_enc *e, struct renc_item *it, struct tf_span text, struct tf_span logprobs, struct tf_buf *out)
{
	int r = tf_buf_addspan(&it->all, text);

	return r < 0 || out == NULL || (text.n == 0 && logprobs.n == 0) ? r : delta_event(e, it, text, logprobs, out);
}

/* Text and reasoning. White space alone begins nothing: runtimes write it in front of calls. */
static int
give_text(struct dl_enc *e, struct renc_item *it, struct tf_span logprobs, struct tf_buf *out)
{
	struct tf_span text = tf_buf_span(&it->held);
	int r;

	if (!it->begun && dl_is_blank(text))
		return 0;
	r = begin_item(e, it, out);
	if (r == 0)
		r = say(e, it, text, logprobs, out);
	tf_buf_reset(&it->held);
	return r;
}

static int
give_call(struct dl_enc *e, struct renc_item *it, struct tf_buf *out)
{
	static const struct tf_span none;
	struct tf_span text = tf_buf_span(&it->held);
	int r = begin_item(e, it, out);

	if (r == 0 && it->custom && !it->plain) {
		tf_buf_reset(&e->scratch);
		r = dl_unwrap_feed(&it->unwrap, text, &e->scratch);
		text = tf_buf_span(&e->scratch);
	}
	if (r == 0)
		r = say(e, it, text, none, out);
	tf_buf_reset(&it->held);
	return r;
}

/* What can be said of a call's input only when all of it is there. */
static int
end_call(struct dl_enc *e, struct renc_item *it, struct tf_buf *out)
{
	static const struct tf_span none;
	int r = 0;

	if (it->custom && !it->plain) {
		tf_buf_reset(&e->scratch);
		r = dl_unwrap_end(&it->unwrap, &e->scratch);
		if (r == 0)
			r = say(e, it, tf_buf_span(&e->scratch), none, out);
	} else if (!it->custom && it->all.n == 0) {
		r = say(e, it, TF_SPAN("{}"), none, out); /* clients parse what they collected */
	}
	return r;
}

/* With the signature that its runtime wants back, if it has one. */
static int
seal(struct dl_enc *e, struct renc_item *it)
{
	int r;

	if (it->signature.n == 0)
		return dl_seal(e->conf.seal_key, tf_buf_span(&it->all), &it->sealed);
	tf_buf_reset(&e->scratch);
	r = responses_pack(tf_buf_span(&it->signature), tf_buf_span(&it->all), &e->scratch);
	return r < 0 ? r : dl_seal(e->conf.seal_key, tf_buf_span(&e->scratch), &it->sealed);
}

static int
end_item(struct dl_enc *e, struct renc_item *it, struct tf_buf *out)
{
	int r = 0;

	if (it->kind == DL_ITEM_CALL)
		r = end_call(e, it, out);
	if (it->begun && it->kind == DL_ITEM_REASONING && e->seal)
		r = seal(e, it);
	if (!it->begun) /* nothing but white space */
		return r < 0 || it->kind != DL_ITEM_TEXT ? r : tf_buf_addspan(&e->blank, tf_buf_span(&it->held));
	if (r < 0 || out == NULL)
		return r;
	r = text_done_event(e, it, out);
	if (r == 0 && it->kind != DL_ITEM_CALL)
		r = part_event(e, it, true, out);
	return r < 0 ? r : item_event(e, it, true, out);
}

/* Gives out what may be given. logprobs: of the piece that came last. */
static int
pump(struct dl_enc *e, struct tf_span logprobs, struct tf_buf *out)
{
	int r = 0;

	while (r == 0 && e->front < e->nitem) {
		struct renc_item *it = &e->item[e->front];
		bool more = e->front + 1 < e->nitem;

		r = it->kind == DL_ITEM_CALL ? give_call(e, it, out) : give_text(e, it, logprobs, out);
		/* runtimes end calls with the answer: one that is whole makes room for the next */
		if (!e->finished && !(more && (it->ended || it->track.whole)))
			break;
		it->cut = e->finished && !more && (e->finish == DL_FINISH_LENGTH || e->finish == DL_FINISH_FILTER);
		if (r == 0)
			r = end_item(e, it, out);
		e->front++;
		logprobs = tf_span(NULL, 0);
	}
	return r;
}

/* Elements of the list, for the whole text. */
static int
keep_logprobs(struct renc_item *it, struct tf_span list)
{
	int r = 0;

	if (list.n <= 2)
		return 0;
	if (it->logprobs.n > 0)
		r = tf_buf_addc(&it->logprobs, ',');
	return r < 0 ? r : tf_buf_append(&it->logprobs, list.p + 1, list.n - 2);
}

static int
piece(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct renc_item *it = renc_item(e, ev);
	struct tf_span logprobs = e->logprobs ? ev->logprobs : tf_span(NULL, 0);
	int r;

	if (it == NULL)
		return TF_E_NOMEM;
	if ((uint32_t)(it - e->item) < e->front)
		return 0; /* behind the end of a call's arguments */
	if (it->kind == DL_ITEM_CALL && !it->plain)
		dl_track(&it->track, ev->text);
	r = keep_logprobs(it, logprobs);
	if (r == 0)
		r = tf_buf_addspan(&it->held, ev->text);
	return r < 0 ? r : pump(e, (uint32_t)(it - e->item) == e->front ? logprobs : tf_span(NULL, 0), out);
}

int
renc_finish(struct dl_enc *e, enum dl_finish finish, struct tf_buf *out)
{
	static const struct tf_span none;
	struct dl_event ev = { .kind = DL_EV_ITEM, .item_kind = DL_ITEM_TEXT, .item = e->nitem };
	struct renc_item *it;
	int r;

	if (e->finished)
		return 0;
	e->finished = true;
	e->finish = finish;
	r = pump(e, none, out);
	if (r < 0 || e->noutput > 0)
		return r;
	/* clients read the first item */
	it = renc_item(e, &ev);
	if (it == NULL)
		return TF_E_NOMEM;
	e->front++;
	r = begin_item(e, it, out);
	if (r == 0)
		r = say(e, it, tf_buf_span(&e->blank), none, out);
	return r < 0 ? r : end_item(e, it, out);
}

int
renc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	static const struct tf_span none;
	struct renc_item *it;

	switch (ev->kind) {
	case DL_EV_ITEM:
	case DL_EV_ITEM_END:
		it = renc_item(e, ev);
		if (it == NULL)
			return TF_E_NOMEM;
		it->ended = ev->kind == DL_EV_ITEM_END;
		return pump(e, none, out);
	case DL_EV_TEXT:
	case DL_EV_REASONING:
	case DL_EV_ARGS:
		return piece(e, ev, out);
	case DL_EV_SIGNATURE:
		it = renc_item(e, ev);
		if (it == NULL)
			return TF_E_NOMEM;
		return ev->origin == DL_ANTHROPIC_MESSAGES ? tf_buf_addspan(&it->signature, ev->text) : 0;
	case DL_EV_FINISH:
		return renc_finish(e, ev->finish, out);
	case DL_EV_USAGE:
		e->usage = ev->usage;
		return 0;
	default:
		return 0; /* members of another API have no place here; errors and pings are the caller's */
	}
}

int
responses_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	return renc_event(e, ev, out);
}

int
responses_enc_flush(struct dl_enc *e, struct tf_buf *out)
{
	(void)e;
	(void)out;
	return 0;
}

int
responses_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out)
{
	char name[64];
	int r;

	if (e->ended)
		return 0;
	r = renc_finish(e, DL_FINISH_STOP, out);
	e->ended = true;
	snprintf(name, sizeof name, "response.%s", renc_status(e));
	return r < 0 ? r : response_event(e, name, usage, out);
}

/* ---- the end of one that failed ---------------------------------------------------------- */

static void
failed_response(const struct dl_error *why, bool created, struct js_w *w)
{
	const struct tf_err_row *row = tf_err_row(why->err);
	char id[64] = "resp_0";

	if (why->rid != NULL)
		dl_mint_id(id, sizeof id, "resp_", why->rid, 0, 0);
	js_w_object(w);
	js_w_kcstr(w, "id", id);
	js_w_kcstr(w, "object", "response");
	js_w_ki64(w, "created_at", why->rid != NULL ? responses_created(why->rid) : tf_wall_s());
	js_w_kcstr(w, "status", created ? "in_progress" : "failed");
	js_w_key(w, "error");
	if (created) {
		js_w_null(w);
	} else {
		js_w_object(w);
		js_w_kcstr(w, "code", row->code);
		js_w_kstr(w, "message", why->message.n > 0 ? why->message : tf_cspan(row->sentence));
		js_w_object_end(w);
	}
	js_w_kraw(w, "incomplete_details", TF_SPAN("null"));
	js_w_kraw(w, "instructions", TF_SPAN("null"));
	js_w_kraw(w, "metadata", TF_SPAN("{}"));
	js_w_kstr(w, "model", why->model);
	js_w_kraw(w, "output", TF_SPAN("[]"));
	js_w_kbool(w, "parallel_tool_calls", true);
	js_w_kraw(w, "temperature", TF_SPAN("null"));
	js_w_kcstr(w, "tool_choice", "auto");
	js_w_kraw(w, "tools", TF_SPAN("[]"));
	js_w_kraw(w, "top_p", TF_SPAN("null"));
	js_w_kraw(w, "usage", TF_SPAN("null"));
	js_w_object_end(w);
}

/* Clients want a response to be created before it fails; one of them takes a bare error for a broken connection. */
int
responses_error_event(const struct dl_error *why, struct tf_buf *out)
{
	uint64_t sequence = why->sequence;
	struct js_w w;
	int r = 0;

	for (int created = sequence == 0; r == 0 && created >= 0; created--) {
		const char *name = created ? "response.created" : "response.failed";

		r = tf_buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%llu,\"response\":", name, name,
		    (unsigned long long)sequence++);
		if (r < 0)
			return r;
		js_w_init(&w, out);
		failed_response(why, created, &w);
		r = js_w_done(&w);
		r = LIT(r, out, "}\n\n");
	}
	return r;
}

/* The number behind the last event's: digits follow the mark at the beginning of each event's data. */
uint64_t
responses_sequence(struct tf_span given)
{
	static const char mark[] = "\",\"sequence_number\":";
	uint64_t n = 0;

	/* an event of its own cannot be inside another: strings have no line ends */
	while (given.n > 0) {
		const char *end = given.p + given.n, *line = memrchr(given.p, '\n', given.n), *p;

		line = line != NULL ? line + 1 : given.p;
		given.n = line > given.p ? (size_t)(line - 1 - given.p) : 0;
		if (end - line < 6 || memcmp(line, "data: ", 6) != 0)
			continue;
		p = memmem(line, end - line < 128 ? (size_t)(end - line) : 128, mark, sizeof mark - 1);
		if (p == NULL)
			return 0;
		for (p += sizeof mark - 1; p < end && *p >= '0' && *p <= '9' && n < UINT64_MAX / 16; p++)
			n = n * 10 + (uint64_t)(*p - '0');
		return n + 1;
	}
	return 0;
}
