/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_transcriptions and openai_translations surfaces: POST /audio/transcriptions, /audio/translations. The
 * form goes to the runtime part by part, with its own model name and the form of answer that says most; what it
 * heard reaches the client in the form it asked for. Streams are made of whole answers where the runtime has none.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat.h"
#include "common/dialect/field.h"
#include "common/dialect/form.h"
#include "common/dialect/media.h"
#include "common/dialect/plain.h"
#include "common/dialect/transcript.h"

#define SPEAKERS_MAX 4
#define ANSWER_MAX (16u << 20)

/* ---- the request ------------------------------------------------------------------------- */

enum field {
#define FORM(sym, name, type, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_transcriptions.def"
#undef FORM
};

static bool
translates(enum dl_dialect surface)
{
	return surface == DL_OPENAI_TRANSLATIONS;
}

static int
on_format(struct dl_scan *s, struct tf_span v)
{
	enum dl_transcript_format f;
	bool translation = translates(s->head.surface);

	if (dl_transcript_format(v, &f) < 0 || (translation && f == DL_TRANSCRIPT_DIARIZED))
		return dl_scan_refuse_at(s, "response_format",
		    "response_format must be one of json, text, srt, verbose_json, vtt%s.",
		    translation ? "" : ", diarized_json");
	s->audio.format = (uint8_t)f;
	return 0;
}

static int
on_language(struct dl_scan *s, struct tf_span v)
{
	for (size_t i = 0; i < v.n; i++)
		if (!((v.p[i] | 0x20) >= 'a' && (v.p[i] | 0x20) <= 'z') && v.p[i] != '-' && v.p[i] != '_')
			return dl_scan_refuse_at(s, "language", "language must be a code like en.");
	return 0;
}

static int
value(struct dl_scan *s, const struct dl_form_value *v)
{
	struct tf_span text = v->part->value;
	bool flag = false;

	switch ((enum field)v->id) {
	case FIELD_FILE:
		s->audio.file = v->at;
		dl_form_extension(v->part->filename, s->audio.extension, sizeof s->audio.extension);
		return 0;
	case FIELD_MODEL:
		return dl_scan_form_model(s, v);
	case FIELD_LANGUAGE:
		return on_language(s, text);
	case FIELD_PROMPT:
		s->head.prompt_bytes = text.n;
		return 0;
	case FIELD_FORMAT:
		return on_format(s, text);
	case FIELD_GRANULARITY:
		if (!tf_span_is(text, "segment") && !tf_span_is(text, "word"))
			return dl_scan_refuse_at(s, "timestamp_granularities", "timestamp_granularities must be segment or word.");
		return 0;
	case FIELD_STREAM:
		if (dl_form_bool(text, &flag) < 0)
			return TF_E_INVAL;
		s->head.stream = flag;
		return 0;
	case FIELD_SPEAKER_NAME:
	case FIELD_SPEAKER_REFERENCE:
		if (v->index >= SPEAKERS_MAX)
			return dl_scan_refuse_at(s, s->rows->v[v->id].name, "%s must not have more than %d entries.",
			    s->rows->v[v->id].name, SPEAKERS_MAX);
		return 0;
	default:
		return 0;
	}
}

static int
end(struct dl_scan *s, struct tf_span body)
{
	const struct dl_scan_audio *a = &s->audio;
	enum dl_transcript_format f = (enum dl_transcript_format)a->format;
	char name[sizeof a->extension + 1] = ".";
	struct dl_media m;

	if (s->form_seen[FIELD_GRANULARITY] > 0 && f != DL_TRANSCRIPT_VERBOSE)
		return dl_scan_refuse_at(s, "timestamp_granularities",
		    "timestamp_granularities needs response_format verbose_json.");
	if (s->head.stream && dl_transcript_timed(f))
		return dl_scan_refuse_at(s, "response_format", "A stream has no response_format %s: use json.",
		    dl_transcript_format_name(f));
	memcpy(name + 1, a->extension, sizeof a->extension);
	dl_media_probe(tf_span(body.p + a->file.start, a->file.end - a->file.start), tf_cspan(name), &m);
	if (m.kind == DL_MEDIA_NONE)
		return dl_scan_refuse_at(s, "file", "file is not a recording in one of the supported formats: %s.",
		    dl_media_names());
	s->head.audio_ms = m.ms > 0 ? m.ms : 1;
	s->head.flags |= m.exact ? 0 : DL_HEAD_GUESSED;
	s->head.needs |= DL_NEED_TRANSCRIPTION;
	return 0;
}

static const struct dl_form_row rows[] = {
#define FORM(sym, name, type, low, high, class, flags, help) { name, type, low, high, class, flags, help },
#include "common/dialect/fields_openai_transcriptions.def"
#undef FORM
};
static const struct dl_form_rows form = { rows, TF_LEN(rows), value, end };

/* ---- towards the runtime ----------------------------------------------------------------- */

struct state {
	enum dl_transcript_format format; /* the client's */
	enum dl_transcript_format asked;  /* the runtime's */
	bool bare;                        /* the answer is no JSON, as its content type says */
	struct tf_buf said;               /* of a stream so far, characters */
	struct tf_buf usage;              /* the runtime's, raw */
	bool done;                        /* transcript.text.done was given */
};

/* Copies the form for the runtime, as its parts come. */
struct copy {
	struct dl_job *j;
	struct dl_form_reader form;
	struct dl_form_w w;
	int r;
};

/* Runtimes tell formats apart by name: a file without a good one gets the name of what it is. */
static void
copy_file(struct copy *c, const struct dl_form_part *part)
{
	const char *extension;
	struct dl_media m;
	char name[16];

	dl_media_probe(part->value, part->filename, &m);
	extension = dl_media_extension(m.kind);
	dl_form_extension(part->filename, name, sizeof name);
	if (dl_media_named(name) == m.kind || extension[0] == '\0') {
		dl_form_w_copy(&c->w, part);
		return;
	}
	dl_form_w_file(&c->w, part, extension);
}

static int
copy_part(void *arg, const struct dl_form_part *part)
{
	struct copy *c = arg;
	const struct state *st = c->j->state;
	const struct dl_form_row *row = dl_form_row(&form, part->name);

	if (row == NULL) {
		dl_form_w_copy(&c->w, part);
		return c->w.err;
	}
	if (row->class == 'D')
		return dl_note_dropped(c->j->dropped, part->name);
	switch ((enum field)(row - rows)) {
	case FIELD_FILE:
		copy_file(c, part);
		break;
	case FIELD_MODEL:
	case FIELD_FORMAT:
	case FIELD_STREAM:
		break; /* ours, behind the others */
	case FIELD_GRANULARITY:
		if (st->asked == DL_TRANSCRIPT_VERBOSE)
			dl_form_w_text(&c->w, "timestamp_granularities[]", part->value);
		break;
	case FIELD_LANGUAGE:
		/* a translation is told the language by nobody but some runtimes */
		if (translates(c->j->head->surface) && (c->j->conf->quirks & DL_Q_HOSTED))
			return dl_note_dropped(c->j->dropped, part->name);
		dl_form_w_copy(&c->w, part);
		break;
	case FIELD_INCLUDE:
		dl_form_w_text(&c->w, "include[]", part->value);
		break;
	default:
		dl_form_w_copy(&c->w, part);
		break;
	}
	return c->w.err;
}

/* What is asked of the runtime so that it can be said in the client's form. */
static int
choose(struct dl_job *j, struct state *st)
{
	uint32_t quirks = j->conf->quirks;

	st->asked = st->format;
	if (st->format == DL_TRANSCRIPT_DIARIZED) {
		if (!(quirks & DL_Q_HOSTED))
			return dl_job_refuse(j, "response_format",
			    "This model does not tell speakers apart: diarized_json is not supported.");
		return 0;
	}
	if (dl_transcript_timed(st->format)) {
		if (quirks & DL_Q_UNTIMED)
			return dl_job_refuse(j, "response_format", "This model gives no times: ask for json or text.");
		st->asked = DL_TRANSCRIPT_VERBOSE;
		return 0;
	}
	/* streams have no longer form; hosted models bill by what they say in their short one, and some have no other */
	st->asked = j->head->stream || (quirks & (DL_Q_UNTIMED | DL_Q_HOSTED)) ? DL_TRANSCRIPT_JSON : DL_TRANSCRIPT_VERBOSE;
	return 0;
}

/* Some runtimes have one path for both, and are told by a field. */
static bool
by_field(const struct dl_job *j)
{
	return translates(j->head->surface) && (j->conf->quirks & DL_Q_TRANSLATE_FIELD);
}

static const char *
path(const struct dl_job *j)
{
	return dl_dialect_path(by_field(j) ? DL_OPENAI_TRANSCRIPTIONS : j->conf->surface);
}

static int
read_format(void *arg, const struct dl_form_part *part)
{
	struct state *st = arg;

	if (tf_span_is(part->name, "response_format"))
		return dl_transcript_format(part->value, &st->format) < 0 ? TF_E_INVAL : 0;
	return 0;
}

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct state *st = j->state;
	struct copy c = { .j = j };
	int r;

	st->format = DL_TRANSCRIPT_JSON;
	r = dl_form_init(&c.form, j->conf->content_type, 0, read_format, st);
	if (r == 0)
		r = dl_form_end(&c.form, body.p, body.n);
	if (r == 0)
		r = choose(j, st);
	if (r == 0)
		r = dl_form_init(&c.form, j->conf->content_type, 0, copy_part, &c);
	if (r < 0)
		return r;
	if (tf_buf_reserve(out, body.n + 1024) < 0)
		return TF_E_NOMEM;
	dl_form_w_init(&c.w, &c.form, out);
	r = dl_form_end(&c.form, body.p, body.n);
	if (r < 0)
		return r;
	dl_form_w_text(&c.w, "model", j->conf->model);
	dl_form_w_text(&c.w, "response_format", tf_cspan(dl_transcript_format_name(st->asked)));
	if (j->head->stream)
		dl_form_w_text(&c.w, "stream", TF_SPAN("true"));
	if (by_field(j))
		dl_form_w_text(&c.w, "translate", TF_SPAN("true"));
	return dl_form_w_end(&c.w);
}

static const char *
request_type(const struct dl_job *j)
{
	return j->conf->content_type.p;
}

/* ---- the answer -------------------------------------------------------------------------- */

static const char *
client_type(const struct dl_job *j, enum dl_transcript_format f)
{
	if (j->head->stream)
		return "text/event-stream; charset=utf-8";
	return f == DL_TRANSCRIPT_TEXT || f == DL_TRANSCRIPT_SRT || f == DL_TRANSCRIPT_VTT ? "text/plain; charset=utf-8"
											   : "application/json";
}

static bool
contains(struct tf_span s, const char *what)
{
	return s.n > 0 && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

static enum dl_way
begin(struct dl_job *j, struct tf_span content_type)
{
	struct state *st = j->state;

	tf_buf_reset(&st->said);
	tf_buf_reset(&st->usage);
	st->done = false;
	st->bare = contains(content_type, "text/plain");
	j->content_type = client_type(j, st->format);
	/* until the runtime says more */
	j->facts->units.audio_ms = j->head->audio_ms;
	j->facts->estimated = (j->head->flags & DL_HEAD_GUESSED) != 0;
	return contains(content_type, "event-stream") ? DL_WAY_EVENTS : DL_WAY_WHOLE;
}

/* How long the recording is: the runtime's word, unless the container's says the same more exactly. */
static uint64_t
measure(struct dl_job *j, const struct dl_transcript *t)
{
	uint64_t ms = j->head->audio_ms, whole = t->seconds * 1000;
	bool guessed = (j->head->flags & DL_HEAD_GUESSED) != 0;

	if (t->has_ms)
		ms = t->ms;
	else if (t->has_seconds && (guessed || ms > whole || ms + 1000 <= whole))
		ms = whole;
	j->facts->units.audio_ms = ms;
	j->facts->estimated = guessed && !t->has_ms && !t->has_seconds;
	return ms;
}

/* Models that are paid by the token say so. */
static void
take_tokens(struct dl_job *j, struct tf_span usage)
{
	bool guessed = j->facts->estimated;
	struct tf_span v;

	if (js_member(usage, "input_tokens", &v) || js_member(usage, "prompt_tokens", &v)) {
		(void)dl_job_usage(j, usage);
		j->facts->estimated = guessed;
	}
}

static int
delta_event(struct tf_buf *out, struct tf_span text)
{
	int r = tf_buf_addstr(out, "data: {\"type\":\"transcript.text.delta\",\"delta\":");

	if (r == 0)
		r = js_quote(out, text);
	return r == 0 ? tf_buf_addstr(out, "}\n\n") : r;
}

static int
done_event(struct dl_job *j, uint64_t ms, struct tf_buf *out)
{
	struct state *st = j->state;
	int r = tf_buf_addstr(out, "data: {\"type\":\"transcript.text.done\",\"text\":");

	if (r == 0)
		r = js_quote(out, tf_buf_span(&st->said));
	if (r == 0)
		r = tf_buf_addstr(out, ",\"usage\":");
	if (r == 0)
		r = dl_transcript_usage(tf_buf_span(&st->usage), ms, out);
	if (r == 0)
		r = tf_buf_addstr(out, "}\n\n");
	st->done = r == 0;
	return r;
}

/* A runtime that knows no streams: all of it at once. */
static int
stream_whole(struct dl_job *j, const struct dl_transcript *t, uint64_t ms, struct tf_buf *out)
{
	struct state *st = j->state;
	int r = dl_transcript_text(t, &st->said);

	if (r == 0 && st->said.n > 0)
		r = delta_event(out, tf_buf_span(&st->said));
	if (r == 0)
		r = tf_buf_addspan(&st->usage, t->usage);
	return r == 0 ? done_event(j, ms, out) : r;
}

static int
whole(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct state *st = j->state;
	struct dl_transcript t;
	size_t from = out->n;
	uint64_t ms;
	int r;

	if (!st->bare && js_valid(body) != 0)
		return TF_E_INVAL;
	while (!st->bare && body.n > 0 && body.p[0] != '{') {
		body.p++; /* white space */
		body.n--;
	}
	if (!st->bare && dl_job_error(j, body))
		return TF_E_INVAL;
	r = dl_transcript_parse(body, !st->bare, &t);
	if (r < 0)
		return r;
	t.longer = st->asked != st->format;
	ms = measure(j, &t);
	take_tokens(j, t.usage);
	j->facts->finish = "stop";
	if (j->head->stream)
		return stream_whole(j, &t, ms, out);
	if (dl_transcript_timed(st->format) && dl_transcript_untimed(&t))
		return dl_job_refuse(j, "response_format", "This model gives no times: ask for json or text.");
	r = dl_transcript_write(&t, st->format, translates(j->head->surface) ? "translate" : "transcribe", ms, out);
	if (r < 0)
		out->n = from;
	return r;
}

/* ---- the answer as events ---------------------------------------------------------------- */

static int
said_more(struct dl_job *j, struct tf_span text, bool give, struct tf_buf *out)
{
	struct state *st = j->state;
	size_t from = st->said.n;
	int r = js_str_append(text, &st->said);

	if (r == 0 && give && st->said.n > from)
		r = delta_event(out, tf_span(st->said.p + from, st->said.n - from));
	j->facts->content = j->facts->content || st->said.n > from;
	return r == 0 && st->said.n > ANSWER_MAX ? TF_E_FULL : r;
}

static int
keep_usage(struct dl_job *j, struct tf_span data)
{
	struct state *st = j->state;
	struct dl_transcript t = { 0 };
	struct tf_span usage;

	if (!js_member(data, "usage", &usage) || js_type(usage) != JS_OBJECT)
		return 0;
	/* for its seconds */
	if (dl_transcript_parse(data, true, &t) == 0)
		measure(j, &t);
	take_tokens(j, usage);
	tf_buf_reset(&st->usage);
	return tf_buf_addspan(&st->usage, usage);
}

static int
typed_event(struct dl_job *j, struct tf_span type, struct tf_span data, struct tf_buf *out)
{
	struct state *st = j->state;
	bool done = js_str_eq(type, "transcript.text.done");
	struct tf_span v;
	int r;

	if (js_str_eq(type, "error"))
		return TF_E_INVAL;
	if (js_str_eq(type, "transcript.text.delta") && js_member(data, "delta", &v) && js_type(v) == JS_STRING) {
		r = said_more(j, v, false, out);
		if (r < 0)
			return r;
	}
	if (done) {
		if (js_member(data, "text", &v) && js_type(v) == JS_STRING) {
			tf_buf_reset(&st->said);
			r = js_str_append(v, &st->said);
			if (r < 0)
				return r;
		}
		r = keep_usage(j, data);
		if (r < 0)
			return r;
		j->facts->finished = true;
		/* without usage it is written anew at the end */
		if (st->usage.n == 0)
			return 0;
		st->done = true;
	}
	j->facts->content = true;
	r = tf_buf_addstr(out, "data: ");
	if (r == 0)
		r = tf_buf_addspan(out, data);
	return r == 0 ? tf_buf_addstr(out, "\n\n") : r;
}

/* vLLM streams what looks like chunks of a chat. */
static int
chunk_event(struct dl_job *j, struct tf_span data, struct tf_buf *out)
{
	struct tf_span v;
	int r = keep_usage(j, data);

	if (r == 0 && js_at(data, "choices[0].delta.content", &v) && js_type(v) == JS_STRING)
		r = said_more(j, v, true, out);
	if (r == 0 && js_at(data, "choices[0].finish_reason", &v) && js_type(v) == JS_STRING)
		j->facts->finished = true;
	return r;
}

static int
event(struct dl_job *j, struct tf_span name, struct tf_span data, struct tf_buf *out)
{
	const struct state *st = j->state;
	struct tf_span v;
	int r;

	(void)name;
	r = st->done ? 0 : dl_job_data(j, data);
	if (r <= 0)
		return r;
	if (js_member(data, "type", &v) && js_type(v) == JS_STRING)
		return typed_event(j, v, data, out);
	if (js_member(data, "choices", &v) && js_type(v) == JS_ARRAY)
		return chunk_event(j, data, out);
	/* a segment at a time */
	if (js_member(data, "text", &v) && js_type(v) == JS_STRING)
		return said_more(j, v, true, out);
	j->facts->skipped++;
	return 0;
}

static int
finish(struct dl_job *j, struct tf_buf *out)
{
	const struct state *st = j->state;

	j->facts->finish = "stop";
	if (!j->head->stream)
		return TF_E_INVAL; /* nobody asked for events */
	return st->done ? 0 : done_event(j, j->facts->units.audio_ms, out);
}

static void
fini(struct dl_job *j)
{
	struct state *st = j->state;

	tf_buf_free(&st->said);
	tf_buf_free(&st->usage);
}

static const struct dl_plain plain = {
	.size = sizeof(struct state),
	.answer_max = ANSWER_MAX,
	.request = request,
	.path = path,
	.request_type = request_type,
	.begin = begin,
	.whole = whole,
	.event = event,
	.end = finish,
	.fini = fini,
};

#define OPS { .error_event = chat_error_event, .ping = { ": keep-alive\n\n", 14 }, .form = &form, .plain = &plain }
const struct dl_ops dl_openai_transcriptions = OPS;
const struct dl_ops dl_openai_translations = OPS;
