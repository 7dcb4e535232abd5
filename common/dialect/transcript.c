/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a transcript in the forms of the OpenAI API. Subtitles come from the segments of the runtime's longest form,
 * so that all forms of one recording agree on its times. Called by transcriptions.c.
 */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/media_read.h"
#include "common/dialect/plain.h"
#include "common/dialect/transcript.h"

static const char *const names[] = {
	[DL_TRANSCRIPT_JSON] = "json",
	[DL_TRANSCRIPT_TEXT] = "text",
	[DL_TRANSCRIPT_SRT] = "srt",
	[DL_TRANSCRIPT_VTT] = "vtt",
	[DL_TRANSCRIPT_VERBOSE] = "verbose_json",
	[DL_TRANSCRIPT_DIARIZED] = "diarized_json",
};

int
dl_transcript_format(struct tf_span name, enum dl_transcript_format *out)
{
	for (size_t i = 0; i < TF_LEN(names); i++)
		if (tf_span_is(name, names[i])) {
			*out = (enum dl_transcript_format)i;
			return 0;
		}
	return TF_E_NOENT;
}

const char *
dl_transcript_format_name(enum dl_transcript_format f)
{
	return names[f];
}

/* ---- reading ----------------------------------------------------------------------------- */

/* A number of seconds, which some runtimes write as a string. */
static int
seconds(struct tf_span v, double *out)
{
	struct tf_span inner = v;

	if (js_type(v) == JS_STRING) {
		inner = tf_span(v.p + 1, v.n - 2);
		if (js_type(inner) != JS_NUMBER || js_valid(inner) != 0)
			return TF_E_INVAL;
	}
	if (js_type(inner) != JS_NUMBER || js_get_double(inner, out) < 0 || *out < 0)
		return TF_E_INVAL;
	return *out * 1000 < (double)DL_MEDIA_MS_MAX ? 0 : TF_E_RANGE;
}

static uint64_t
milliseconds(double s)
{
	return (uint64_t)floor(s * 1000 + 0.5);
}

static struct tf_span
member(struct tf_span object, const char *name, enum js_type type)
{
	struct tf_span v;

	return js_member(object, name, &v) && js_type(v) == type ? v : (struct tf_span){ NULL, 0 };
}

int
dl_transcript_parse(struct tf_span body, bool json, struct dl_transcript *t)
{
	struct tf_span v;
	double s;

	memset(t, 0, sizeof *t);
	if (!json) {
		t->plain = body;
		return 0;
	}
	if (js_type(body) != JS_OBJECT)
		return TF_E_INVAL;
	t->all = body;
	t->text = member(body, "text", JS_STRING);
	t->language = member(body, "language", JS_STRING);
	t->segments = member(body, "segments", JS_ARRAY);
	t->words = member(body, "words", JS_ARRAY);
	t->usage = member(body, "usage", JS_OBJECT);
	if (t->text.n == 0 && t->segments.n == 0)
		return TF_E_INVAL;
	if (js_member(body, "duration", &v) && seconds(v, &s) == 0) {
		t->has_ms = true;
		t->ms = milliseconds(s);
	}
	if (js_member(t->usage, "seconds", &v) && seconds(v, &s) == 0) {
		t->has_seconds = true;
		t->seconds = (uint64_t)ceil(s);
	}
	return 0;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Takes the white space off both ends of what was appended since from. */
static void
trim(struct tf_buf *out, size_t from)
{
	size_t lead = 0;

	while (out->n > from && blank(out->p[out->n - 1]))
		out->n--;
	while (from + lead < out->n && blank(out->p[from + lead]))
		lead++;
	if (lead > 0)
		memmove(out->p + from, out->p + from + lead, out->n - from - lead);
	out->n -= lead;
}

int
dl_transcript_text(const struct dl_transcript *t, struct tf_buf *out)
{
	size_t from = out->n;
	struct tf_span segment, text;
	struct js_iter it;
	int r = 0;

	if (t->all.n == 0) {
		r = tf_buf_addspan(out, t->plain);
	} else if (t->text.n > 0) {
		r = js_str_append(t->text, out);
	} else {
		js_iter_init(&it, t->segments);
		while (r == 0 && js_iter_next(&it, NULL, &segment)) {
			text = member(segment, "text", JS_STRING);
			r = text.n > 0 ? js_str_append(text, out) : TF_E_INVAL;
		}
	}
	if (r == 0)
		trim(out, from);
	return r;
}

bool
dl_transcript_untimed(const struct dl_transcript *t)
{
	struct tf_span text = t->all.n == 0 ? t->plain : t->text;

	if (t->segments.n > 2 || t->words.n > 2)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (!blank(text.p[i]) && text.p[i] != '"')
			return true;
	return false;
}

/* ---- writing ----------------------------------------------------------------------------- */

int
dl_transcript_usage(struct tf_span usage, uint64_t ms, struct tf_buf *out)
{
	if (member(usage, "type", JS_STRING).n > 0)
		return tf_buf_addspan(out, usage);
	return tf_buf_printf(out, "{\"type\":\"duration\",\"seconds\":%llu}", (unsigned long long)((ms + 999) / 1000));
}

/* 01:02:03,004 */
static int
put_time(struct tf_buf *out, uint64_t ms, char point)
{
	return tf_buf_printf(out, "%02llu:%02llu:%02llu%c%03llu", (unsigned long long)(ms / 3600000),
	    (unsigned long long)(ms / 60000 % 60), (unsigned long long)(ms / 1000 % 60), point, (unsigned long long)(ms % 1000));
}

/* One line: an empty one would end the cue, and an arrow would begin another. */
static int
put_cue_text(struct tf_buf *out, struct tf_span text)
{
	size_t from = out->n;
	int r = js_str_append(text, out);

	if (r < 0)
		return r;
	trim(out, from);
	for (size_t i = from; i < out->n; i++) {
		if (blank(out->p[i]))
			out->p[i] = ' ';
		else if (out->n - i >= 3 && memcmp(out->p + i, "-->", 3) == 0)
			memcpy(out->p + i, "- >", 3);
	}
	return 0;
}

static int
put_cues(const struct dl_transcript *t, bool vtt, struct tf_buf *out)
{
	struct tf_span segment, text, v;
	unsigned number = 0;
	struct js_iter it;
	double start, end;
	int r = vtt ? tf_buf_addstr(out, "WEBVTT\n\n") : 0;

	js_iter_init(&it, t->segments);
	while (r == 0 && js_iter_next(&it, NULL, &segment)) {
		text = member(segment, "text", JS_STRING);
		if (text.n == 0 || !js_member(segment, "start", &v) || seconds(v, &start) < 0 ||
		    !js_member(segment, "end", &v) || seconds(v, &end) < 0)
			return TF_E_INVAL;
		if (!vtt)
			r = tf_buf_printf(out, "%u\n", ++number);
		if (r == 0)
			r = put_time(out, milliseconds(start), vtt ? '.' : ',');
		if (r == 0)
			r = tf_buf_addstr(out, " --> ");
		if (r == 0)
			r = put_time(out, milliseconds(end), vtt ? '.' : ',');
		if (r == 0)
			r = tf_buf_addc(out, '\n');
		if (r == 0)
			r = put_cue_text(out, text);
		if (r == 0)
			r = tf_buf_addstr(out, "\n\n");
	}
	return r;
}

/* "text": with the white space around it gone. */
static int
put_text_member(const struct dl_transcript *t, struct tf_buf *out)
{
	struct tf_buf text = { 0 };
	int r = dl_transcript_text(t, &text);

	if (r == 0)
		r = tf_buf_addstr(out, "\"text\":");
	if (r == 0)
		r = js_quote(out, tf_buf_span(&text));
	tf_buf_free(&text);
	return r;
}

static int
put_usage_member(const struct dl_transcript *t, uint64_t ms, struct tf_buf *out)
{
	int r = tf_buf_addstr(out, ",\"usage\":");

	if (r == 0)
		r = dl_transcript_usage(t->usage, ms, out);
	return r == 0 ? tf_buf_addc(out, '}') : r;
}

static int
put_json(const struct dl_transcript *t, uint64_t ms, struct tf_buf *out)
{
	static const char *const ours[] = { "text", "usage", NULL };
	int r = tf_buf_addc(out, '{');

	if (r == 0)
		r = put_text_member(t, out);
	/* logprobs and the like */
	if (r == 0 && !t->longer)
		r = dl_job_others(t->all, ours, out);
	return r == 0 ? put_usage_member(t, ms, out) : r;
}

static int
put_verbose(const struct dl_transcript *t, const char *task, uint64_t ms, struct tf_buf *out)
{
	static const char *const ours[] = { "task", "language", "duration", "text", "segments", "usage", NULL };
	int r = tf_buf_printf(out, "{\"task\":\"%s\",\"language\":", task);

	if (r == 0)
		r = t->language.n > 0 ? tf_buf_addspan(out, t->language) : tf_buf_addstr(out, "\"\"");
	if (r == 0)
		r = tf_buf_printf(out, ",\"duration\":%llu.%03llu,", (unsigned long long)(ms / 1000),
		    (unsigned long long)(ms % 1000));
	if (r == 0)
		r = put_text_member(t, out);
	if (r == 0)
		r = tf_buf_addstr(out, ",\"segments\":");
	if (r == 0)
		r = t->segments.n > 0 ? tf_buf_addspan(out, t->segments) : tf_buf_addstr(out, "[]");
	if (r == 0)
		r = dl_job_others(t->all, ours, out);
	return r == 0 ? put_usage_member(t, ms, out) : r;
}

int
dl_transcript_write(const struct dl_transcript *t, enum dl_transcript_format f, const char *task, uint64_t ms,
    struct tf_buf *out)
{
	int r;

	switch (f) {
	case DL_TRANSCRIPT_TEXT:
		r = dl_transcript_text(t, out);
		return r == 0 ? tf_buf_addc(out, '\n') : r;
	case DL_TRANSCRIPT_SRT:
	case DL_TRANSCRIPT_VTT:
		return put_cues(t, f == DL_TRANSCRIPT_VTT, out);
	case DL_TRANSCRIPT_VERBOSE:
		return put_verbose(t, task, ms, out);
	case DL_TRANSCRIPT_DIARIZED:
		return tf_buf_addspan(out, t->all);
	default:
		return put_json(t, ms, out);
	}
}
