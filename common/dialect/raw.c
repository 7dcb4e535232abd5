/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAW requests: cut and pasted, not translated, so that fields nobody knows here reach the other side.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/raw.h"

void
dl_raw_delete(struct js_edits *e, struct dl_range at)
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

int
dl_raw_members(const struct dl_head *h, const struct dl_target *to, struct tf_span body,
    struct js_edits *e, struct tf_buf *dropped)
{
	bool hosted = (to->quirks & DL_Q_HOSTED) != 0;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < h->nmember; i++) {
		const struct dl_member *m = &h->member[i];

		if (m->why == DL_WHY_HOSTED && hosted)
			continue;
		dl_raw_delete(e, m->at);
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
	dl_raw_delete(e, h->max_completion);
	dl_raw_delete(e, h->max_tokens);
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
		dl_raw_delete(e, h->options);
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
		r = dl_raw_members(h, to, body, &e, dropped);
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

#define TYPE_MAX 128 /* of an event, bytes */

bool
dl_raw_type_ok(struct tf_span type)
{
	if (type.n == 0 || type.n > TYPE_MAX)
		return false;
	for (size_t i = 0; i < type.n; i++)
		if (!dl_plain_char(type.p[i]) && type.p[i] != '.')
			return false;
	return true;
}

int
dl_raw_line(struct tf_buf *out, struct tf_span json)
{
	struct js_w w;

	if (memchr(json.p, '\n', json.n) == NULL && memchr(json.p, '\r', json.n) == NULL)
		return tf_buf_addspan(out, json);
	js_w_init(&w, out);
	js_w_compact(&w, json);
	return js_w_done(&w);
}
