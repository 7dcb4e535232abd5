/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAW: requests and answers of the openai_chat dialect that both ends agree on are cut and pasted,
 * not translated, so that fields nobody knows here reach the other side and a token costs one scan.
 * What is not plain goes back to the caller, which decodes and encodes it; both ways share the
 * decoder's state.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/raw.h"

/* ---- the request ------------------------------------------------------------------------- */

bool
dl_raw_request_ok(const struct dl_head *h, uint32_t quirks)
{
	uint32_t mend = DL_HEAD_LEGACY | DL_HEAD_REASONING;

	if (quirks & DL_Q_NO_DEVELOPER)
		mend |= DL_HEAD_DEVELOPER;
	if (!(quirks & DL_Q_HOSTED))
		mend |= DL_HEAD_ALLOWED;
	else
		mend |= DL_HEAD_STOPS;
	if (quirks & DL_Q_CHOICE_WORD)
		mend |= DL_HEAD_NAMED;
	/* what earlier calls carry is not known here */
	if ((quirks & DL_Q_REPLAY_REASONING) && h->messages > 1)
		return false;
	if ((quirks & DL_Q_TOOLS_OR_JSON) && h->tools > 0 && (h->needs & (DL_NEED_JSON | DL_NEED_SCHEMA)))
		return false;
	return (h->flags & mend) == 0;
}

static void
delete_member(struct js_edits *e, struct dl_range at)
{
	if (at.end > 0)
		js_edit_delete(e, at.start, at.end);
}

/* Name of the member at `at`, its quotes left off; for the list of what was dropped. */
static int
note_dropped(struct tf_span body, struct dl_range at, struct tf_buf *dropped)
{
	const char *from = body.p + at.start + 1, *to;

	if (at.end - at.start < 3)
		return TF_E_INVAL;
	to = memchr(from, '"', at.end - at.start - 1);
	if (to == NULL)
		return TF_E_INVAL;
	return dl_note_dropped(dropped, tf_span(from, (size_t)(to - from)));
}

int
dl_raw_dropped(const struct dl_head *h, struct tf_span body, struct tf_buf *dropped)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < h->nmember; i++)
		if (h->member[i].why != DL_WHY_EMPTY)
			r = note_dropped(body, h->member[i].at, dropped);
	return r;
}

static int
edit_members(const struct dl_head *h, const struct dl_target *to, struct tf_span body,
    struct js_edits *e, struct tf_buf *dropped)
{
	bool hosted = (to->quirks & DL_Q_HOSTED) != 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < h->nmember; i++) {
		const struct dl_member *m = &h->member[i];

		if (m->why == DL_WHY_HOSTED && hosted)
			continue;
		delete_member(e, m->at);
		if (m->why != DL_WHY_EMPTY)
			r = note_dropped(body, m->at, dropped);
	}
	return r;
}

/* Only when the cap has to change, or stands under a name the runtime does not know. */
static void
edit_caps(
    const struct dl_head *h, const struct dl_target *to, struct js_edits *e, char insert[static 64])
{
	bool hosted = (to->quirks & DL_Q_HOSTED) != 0;
	bool lower = to->max_output > 0 && (h->max_output == 0 || h->max_output > to->max_output);
	bool both = h->max_completion.end > 0 && h->max_tokens.end > 0;
	bool rename = (hosted && h->max_tokens.end > 0) ||
	    ((to->quirks & DL_Q_NO_MAX_COMPLETION) && h->max_completion.end > 0);
	uint64_t cap = lower ? to->max_output : h->max_output;

	if (!lower && !both && !rename)
		return;
	delete_member(e, h->max_completion);
	delete_member(e, h->max_tokens);
	if (cap == 0)
		return;
	snprintf(insert, 64, "\"%s\":%llu", hosted ? "max_completion_tokens" : "max_tokens",
	    (unsigned long long)cap);
	js_edit_insert_last(e, h->root.end, tf_cspan(insert));
}

static void
edit_stream(const struct dl_head *h, const struct dl_target *to, struct js_edits *e)
{
	bool usage = to->stream && !(to->quirks & DL_Q_NO_STREAM_USAGE);

	if (h->stream_at.end > 0 && h->stream != to->stream)
		js_edit_replace(e, h->stream_at.start, h->stream_at.end,
		    tf_cspan(to->stream ? "true" : "false"));
	else if (h->stream_at.end == 0 && to->stream)
		js_edit_insert_last(e, h->root.end, TF_SPAN("\"stream\":true"));
	if (h->options.end > 0)
		delete_member(e, h->options);
	if (usage)
		js_edit_insert_last(
		    e, h->root.end, TF_SPAN("\"stream_options\":{\"include_usage\":true}"));
}

static void
edit_thinking(const struct dl_head *h, const struct dl_target *to, struct js_edits *e)
{
	if (!(to->quirks & DL_Q_TEMPLATE_THINKING) || !(h->flags & DL_HEAD_EFFORT) || (h->flags & DL_HEAD_TEMPLATE))
		return;
	js_edit_insert_last(e, h->root.end, h->flags & DL_HEAD_NO_EFFORT ?
	    TF_SPAN("\"chat_template_kwargs\":{\"enable_thinking\":false}") :
	    TF_SPAN("\"chat_template_kwargs\":{\"enable_thinking\":true}"));
}

int
dl_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body,
    struct tf_buf *out, struct tf_buf *dropped)
{
	struct js_edit v[DL_MEMBERS_MAX + 12];
	struct tf_buf model = { 0 };
	struct js_edits e;
	char cap[64];
	int r;

	if (body.n != h->body_len || h->root.end > body.n || h->model_at.end > body.n)
		return TF_E_INVAL;
	js_edits_init(&e, v, TF_LEN(v));
	r = js_quote(&model, to->model);
	if (r == 0)
		r = edit_members(h, to, body, &e, dropped);
	if (r == 0) {
		js_edit_replace(&e, h->model_at.start, h->model_at.end, tf_buf_span(&model));
		edit_stream(h, to, &e);
		edit_caps(h, to, &e, cap);
		edit_thinking(h, to, &e);
		r = js_splice(body, &e, out);
	}
	tf_buf_free(&model);
	return r;
}

/* ---- chunks ------------------------------------------------------------------------------ */

void
dl_raw_fini(struct dl_raw *r)
{
	tf_buf_free(&r->model);
	tf_buf_free(&r->id);
	tf_buf_free(&r->created);
	tf_buf_free(&r->scratch);
}

static bool
has_extra(const struct chat_msg *m, const char *name)
{
	for (uint32_t i = 0; i < m->nextra; i++)
		if (js_str_eq(m->extra[i].key, name))
			return true;
	return m->nextra == CHAT_EXTRAS;
}

/* Nothing but characters of the text that is being said. */
static bool
is_plain(const struct dl_dec *d)
{
	const struct chat_msg *m = &d->msg;
	const struct chat_piece *p = m->piece;
	const struct chat_choice *c;

	if (!d->started || m->error.n > 0 || m->npiece != 1 || m->usage.n > 0 || m->id.n == 0 ||
	    m->created.n == 0 || m->model.n == 0 ||
	    !tf_span_is(m->object, "\"chat.completion.chunk\""))
		return false;
	if (!p->has_index || !p->is_delta || p->content.n <= 2 || p->content.p[0] != '"' ||
	    p->reasoning.n > 0 || p->refusal.n > 0 || p->calls.n > 0 || p->old_call.n > 0 ||
	    p->finish.n > 0 || p->odd)
		return false;
	if (p->index >= d->nchoice || p->index >= d->conf.n)
		return false;
	c = &d->choice[p->index];
	if (!c->open || c->open_kind != DL_ITEM_TEXT || c->finished)
		return false;
	return m->nextra == 0 || !has_extra(m, "obfuscation");
}

static void
edit_to(struct js_edits *e, const struct chat_msg *m, struct tf_span at, const struct tf_buf *to)
{
	size_t start = (size_t)(at.p - m->data.p);

	if (!tf_span_eq(at, tf_buf_span(to)))
		js_edit_replace(e, start, start + at.n, tf_buf_span(to));
}

int
dl_raw_chunk(struct dl_raw *r, const struct dl_dec *d, struct tf_buf *out, size_t *text)
{
	const struct chat_msg *m = &d->msg;
	size_t from = out->n;
	struct js_edit v[4];
	struct js_edits e;
	int err;

	if (!is_plain(d) || r->id.n == 0)
		return 0;
	js_edits_init(&e, v, TF_LEN(v));
	edit_to(&e, m, m->model, &r->model);
	edit_to(&e, m, m->id, &r->id);
	edit_to(&e, m, m->created, &r->created);
	err = tf_buf_append(out, "data: ", 6);
	if (err == 0)
		err = js_splice(m->data, &e, out);
	if (err == 0)
		err = tf_buf_append(out, "\n\n", 2);
	if (err < 0) {
		out->n = from;
		return err;
	}
	*text = m->piece->content.n - 2;
	return 1;
}

/* ---- whole answers ----------------------------------------------------------------------- */

static enum dl_finish
plain_finish(struct tf_span text)
{
	for (int f = DL_FINISH_STOP; f <= DL_FINISH_FILTER; f++)
		if (f != DL_FINISH_CALLS && js_str_eq(text, dl_finish_name((enum dl_finish)f)))
			return (enum dl_finish)f;
	return DL_FINISH_NONE;
}

static bool
plain_choice(const struct chat_piece *p, uint32_t i)
{
	return p->has_index && p->index == i && !p->is_delta && p->body.n > 0 && p->has_role &&
	    p->content.n > 0 && p->content.p[0] == '"' && p->reasoning.n == 0 &&
	    p->refusal.n == 0 && p->calls.n == 0 && p->old_call.n == 0 && !p->odd &&
	    plain_finish(p->finish) != DL_FINISH_NONE;
}

static bool
sound_usage(const struct chat_msg *m, struct dl_usage *u)
{
	struct tf_span v;
	uint64_t in, done, total;

	return m->usage.n > 0 && chat_usage(m->usage, u) &&
	    js_member(m->usage, "prompt_tokens", &v) && js_get_u64(v, &in) == 0 &&
	    js_member(m->usage, "completion_tokens", &v) && js_get_u64(v, &done) == 0 &&
	    js_member(m->usage, "total_tokens", &v) && js_get_u64(v, &total) == 0 &&
	    in == dl_usage_in(u) && done == dl_usage_out(u) && total == in + done && done > 0;
}

static bool
plain_answer(const struct dl_dec *d, struct dl_raw_answer *answer)
{
	const struct chat_msg *m = &d->msg;

	if (m->error.n > 0 || m->npiece == 0 || m->npiece > 4 || m->npiece > d->conf.n || m->id.n == 0 ||
	    m->created.n == 0 || m->model.n == 0 || !tf_span_is(m->object, "\"chat.completion\"") ||
	    !sound_usage(m, &answer->usage))
		return false;
	for (uint32_t i = 0; i < m->npiece; i++)
		if (!plain_choice(&m->piece[i], i))
			return false;
	answer->finish = plain_finish(m->piece[0].finish);
	return true;
}

int
dl_raw_response(struct dl_raw *r, const struct dl_dec *d, struct tf_span metadata,
    struct tf_buf *out, struct dl_raw_answer *answer)
{
	const struct chat_msg *m = &d->msg;
	struct js_edit v[16];
	struct js_edits e;
	size_t root = m->data.n;
	int err;

	if (!plain_answer(d, answer))
		return 0;
	while (root > 0 && m->data.p[root - 1] != '}')
		root--;
	js_edits_init(&e, v, TF_LEN(v));
	edit_to(&e, m, m->model, &r->model);
	for (uint32_t i = 0; i < m->npiece; i++) {
		const struct chat_piece *p = &m->piece[i];

		if (!p->has_refusal)
			js_edit_insert_last(&e, (size_t)(p->body.p - m->data.p) + p->body.n,
			    TF_SPAN("\"refusal\":null"));
		if (!p->has_logprobs)
			js_edit_insert_last(&e, (size_t)(p->whole.p - m->data.p) + p->whole.n,
			    TF_SPAN("\"logprobs\":null"));
	}
	if (metadata.n > 0 && !has_extra(m, "metadata")) {
		tf_buf_reset(&r->scratch);
		err = tf_buf_addstr(&r->scratch, "\"metadata\":");
		if (err == 0)
			err = tf_buf_addspan(&r->scratch, metadata);
		if (err < 0)
			return err;
		js_edit_insert_last(&e, root, tf_buf_span(&r->scratch));
	}
	err = js_splice(m->data, &e, out);
	return err < 0 ? err : 1;
}
