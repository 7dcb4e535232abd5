/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAW: requests and answers of the openai_chat dialect that both ends agree on are cut and pasted,
 * not translated, so that fields nobody knows here reach the other side and a token costs one scan.
 * What is not plain goes back to the caller, which decodes and encodes it; both ways share the
 * decoder's state.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat_enc.h"
#include "common/dialect/raw.h"

/* ---- the request ------------------------------------------------------------------------- */

bool
chat_raw_request_ok(const struct dl_head *h, uint32_t quirks)
{
	uint32_t mend = DL_HEAD_LEGACY | DL_HEAD_REASONING;

	if (quirks & DL_Q_NO_DEVELOPER)
		mend |= DL_HEAD_DEVELOPER;
	if (!(quirks & DL_Q_HOSTED))
		mend |= DL_HEAD_ALLOWED | DL_HEAD_CUSTOM;
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

/* ---- chunks ------------------------------------------------------------------------------ */

/* What makes one stream's chunks alike: taken from the first one. */
struct dl_raw {
	struct dl_enc_conf conf;
	struct tf_buf model;       /* asked model, quoted */
	struct tf_buf id, created; /* raw values */
	struct tf_buf scratch;
};

struct dl_raw *
chat_raw_new(const struct dl_enc_conf *conf)
{
	struct dl_raw *r = calloc(1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->conf = *conf;
	if (js_quote(&r->model, conf->model) < 0)
		chat_raw_free(&r);
	return r;
}

void
chat_raw_free(struct dl_raw **rp)
{
	struct dl_raw *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	tf_buf_free(&r->model);
	tf_buf_free(&r->id);
	tf_buf_free(&r->created);
	tf_buf_free(&r->scratch);
	free(r);
}

bool
chat_raw_answer_ok(const struct dl_head *h, uint32_t quirks)
{
	return !(h->flags & DL_HEAD_LEGACY) && !(quirks & DL_Q_INLINE_THINK);
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

/* 1: passed on; 0: it has to go through decode and encode. */
static int
chunk(struct dl_raw *r, const struct dl_dec *d, struct tf_buf *out, size_t *text)
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

/* The id as the encoder writes it, so that an answer has one whichever way each of its chunks goes. */
static int
keep_id(struct dl_raw *r, struct tf_span id)
{
	struct tf_buf given = { 0 };
	struct tf_span text;
	int err;

	tf_buf_reset(&r->scratch);
	err = js_str(id, &r->scratch, &text);
	if (err == 0)
		err = chat_answer_id(text, &r->conf.rid, &given);
	if (err == 0)
		err = js_quote(&r->id, tf_buf_span(&given));
	tf_buf_free(&given);
	return err;
}

/* The chunk that began the answer says what all chunks say. */
static int
keep_common(struct dl_raw *r, const struct chat_msg *m)
{
	int64_t created;
	int err;

	if (r->id.n > 0 || m->id.n == 0 || js_get_i64(m->created, &created) < 0 || created <= 0)
		return 0;
	err = tf_buf_printf(&r->created, "%lld", (long long)created);
	return err < 0 ? err : keep_id(r, m->id);
}

int
chat_raw_event(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
    size_t *text)
{
	bool first = !d->started;
	int err;

	if (event.n > 0 || data.n == 0 || data.p[0] != '{')
		return chat_dec_event(d, event, data);
	err = chat_dec_parse(d, data);
	if (err == 0)
		err = chunk(r, d, out, text);
	if (err == 1)
		return 0;
	if (err < 0)
		return err == TF_E_NOMEM ? err : TF_E_INVAL;
	err = chat_dec_msg(d);
	return err == 0 && first && d->started ? keep_common(r, &d->msg) : err;
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

	return m->usage.n > 0 && chat_usage(m->usage, u) && dl_usage_possible(u) &&
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
chat_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out, struct dl_raw_answer *answer)
{
	struct tf_span metadata = r->conf.kept;
	const struct chat_msg *m = &d->msg;
	struct js_edit v[16];
	struct js_edits e;
	size_t root;
	int err = chat_dec_parse(d, body);

	if (err < 0)
		return err == TF_E_NOMEM ? err : 0;
	if (!plain_answer(d, answer))
		return 0;
	if ((err = keep_id(r, m->id)) < 0)
		return err == TF_E_NOMEM ? err : 0;
	root = m->data.n;
	while (root > 0 && m->data.p[root - 1] != '}')
		root--;
	js_edits_init(&e, v, TF_LEN(v));
	edit_to(&e, m, m->model, &r->model);
	edit_to(&e, m, m->id, &r->id);
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
