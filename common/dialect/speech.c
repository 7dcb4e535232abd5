/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_speech surface: POST /audio/speech. The request is spliced, the runtime's bytes go to the client as they
 * come, wav and pcm made of one another where the runtime has only one of them; events are made of bytes and bytes
 * of events where the client wants the other. What fails before the first byte is an error in JSON.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat.h"
#include "common/dialect/field.h"
#include "common/dialect/pcm.h"
#include "common/dialect/plain.h"
#include "common/dialect/raw.h"

#define INPUT_MAX 4096        /* characters, of input and of instructions */
#define DELTA_BYTES (12u << 10) /* of audio in one event of our own */

/* ---- formats ----------------------------------------------------------------------------- */

enum sound { SOUND_MP3, SOUND_OPUS, SOUND_AAC, SOUND_FLAC, SOUND_WAV, SOUND_PCM, SOUND_COUNT };

static const struct {
	const char *name, *type;
	const char *others; /* words that a runtime's content type may have for it */
} sounds[SOUND_COUNT] = {
	[SOUND_MP3] = { "mp3", "audio/mpeg", " mpeg mp3 mpeg3 x-mp3 mpga " },
	[SOUND_OPUS] = { "opus", "audio/opus", " opus ogg " },
	[SOUND_AAC] = { "aac", "audio/aac", " aac aacp x-aac " },
	[SOUND_FLAC] = { "flac", "audio/flac", " flac x-flac " },
	[SOUND_WAV] = { "wav", "audio/wav", " wav x-wav wave vnd.wave x-pn-wav " },
	[SOUND_PCM] = { "pcm", "audio/pcm", " pcm x-pcm raw x-raw " },
};

static int
sound_named(struct tf_span name, enum sound *out)
{
	for (int i = 0; i < SOUND_COUNT; i++)
		if (tf_span_is(name, sounds[i].name)) {
			*out = (enum sound)i;
			return 0;
		}
	return TF_E_NOENT;
}

/* What a content type says; TF_E_NOENT when it says nothing. */
static int
sound_of_type(struct tf_span type, enum sound *out)
{
	char word[24] = " ";
	size_t n = 0;

	if (type.n < 6 || !tf_span_caseeq(tf_span(type.p, 6), "audio/"))
		return TF_E_NOENT;
	for (size_t i = 6; i < type.n && type.p[i] != ';' && type.p[i] != ' ' && n < sizeof word - 3; i++)
		word[++n] = (char)(type.p[i] | (type.p[i] >= 'A' && type.p[i] <= 'Z' ? 0x20 : 0));
	word[n + 1] = ' ';
	for (int i = 0; i < SOUND_COUNT; i++)
		if (strstr(sounds[i].others, word) != NULL) {
			*out = (enum sound)i;
			return 0;
		}
	return TF_E_NOENT;
}

static bool
is_samples(enum sound s)
{
	return s == SOUND_WAV || s == SOUND_PCM;
}

/* ---- the request ------------------------------------------------------------------------- */

enum field {
#define FIELD(sym, path, types, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_speech.def"
#undef FIELD
};
enum { SEEN_MODEL = 1, SEEN_INPUT = 2, SEEN_VOICE_OBJECT = 4, SEEN_VOICE_ID = 8 };

/* Code points of a string that the scanner accepted; a pair of escaped surrogates is one. */
static uint64_t
code_points(struct tf_span text)
{
	uint64_t n = 0;

	for (size_t i = 1; i + 1 < text.n; n++) {
		if (text.p[i] != '\\') {
			for (i++; i + 1 < text.n && ((uint8_t)text.p[i] & 0xc0) == 0x80;)
				i++;
			continue;
		}
		/* the low half of a pair is counted with the high one before it */
		if (text.p[i + 1] == 'u' && (text.p[i + 2] | 0x20) == 'd' && strchr("cdefCDEF", text.p[i + 3]) != NULL)
			n--;
		i += text.p[i + 1] == 'u' ? 6 : 2;
	}
	return n;
}

static int
on_text(struct dl_scan *s, const struct dl_value *v, uint64_t *n)
{
	*n = v->hit->type == JS_STRING ? code_points(v->text) : 0;
	return *n > INPUT_MAX ? dl_scan_refuse(s, v, "must not be longer than %d characters", INPUT_MAX) : 0;
}

static int
value(struct dl_scan *s, const struct dl_value *v)
{
	struct tf_span inner = v->text.n >= 2 ? tf_span(v->text.p + 1, v->text.n - 2) : v->text;
	enum sound sound;
	uint64_t n;

	switch ((enum field)v->id) {
	case FIELD_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case FIELD_MODEL:
		s->plain.seen |= SEEN_MODEL;
		return dl_scan_model(s, v);
	case FIELD_INPUT:
		s->plain.seen |= SEEN_INPUT;
		return on_text(s, v, &s->head.characters);
	case FIELD_INSTRUCTIONS:
		return on_text(s, v, &n);
	case FIELD_VOICE:
		if (v->hit->type == JS_OBJECT)
			s->plain.seen |= SEEN_VOICE_OBJECT;
		else
			s->audio.voice = dl_range_value(v->hit);
		return 0;
	case FIELD_VOICE_ID:
		s->plain.seen |= SEEN_VOICE_ID;
		s->audio.voice = dl_range_value(v->hit);
		return 0;
	case FIELD_FORMAT:
		if (v->hit->type == JS_STRING && sound_named(inner, &sound) < 0)
			return dl_scan_refuse(s, v, "must be one of mp3, opus, aac, flac, wav, pcm");
		return 0;
	case FIELD_STREAM_FORMAT:
		if (v->hit->type == JS_STRING && !js_str_eq(v->text, "audio") && !js_str_eq(v->text, "sse"))
			return dl_scan_refuse(s, v, "must be audio or sse");
		s->head.stream = js_str_eq(v->text, "sse");
		return 0;
	default:
		return 0;
	}
}

static int
end(struct dl_scan *s, struct tf_span body)
{
	uint32_t seen = s->plain.seen;

	(void)body;
	if (!(seen & SEEN_MODEL))
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(seen & SEEN_INPUT))
		return dl_scan_refuse_at(s, "input", "input is required.");
	if ((seen & SEEN_VOICE_OBJECT) && !(seen & SEEN_VOICE_ID))
		return dl_scan_refuse_at(s, "voice", "voice must be a name or an object with an id.");
	s->head.needs |= DL_NEED_SPEECH;
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help)                                     \
	{ path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_speech.def"
#undef FIELD
};
static const struct dl_fields fields = { rows, TF_LEN(rows), value, end };

/* ---- towards the runtime ----------------------------------------------------------------- */

struct state {
	enum sound wanted, asked; /* by the client; of the runtime */
	enum sound got;           /* what the runtime sends */
	bool known;               /* got is known */
	bool begun;               /* audio was given */
	uint32_t rate;            /* of its pcm */
	struct dl_unwave unwave;
	struct tf_buf sound;      /* scratch: converted; for events also what does not fill a group of three bytes */
	struct tf_buf bytes;      /* scratch: of the runtime's events */
	struct tf_buf first;      /* bytes too few to tell what they are */
	struct tf_buf usage;      /* of its last event, raw */
};

static enum sound
most_like(uint32_t quirks, enum sound wanted)
{
	return quirks & DL_Q_SPEAKS_WAV ? SOUND_WAV : quirks & DL_Q_SPEAKS_PCM ? SOUND_PCM : wanted;
}

static int
refuse_format(struct dl_job *j, enum sound got)
{
	return dl_job_refuse(j, "response_format", "This model speaks %s only.",
	    is_samples(got) ? "wav and pcm" : sounds[got].name);
}

/* Splices what must change for the runtime into e; texts in scratch must not move. */
static void
edit(struct dl_job *j, struct tf_span body, struct js_edits *e, struct tf_span model, char insert[static 40])
{
	const struct dl_head *h = j->head;
	struct state *st = j->state;
	struct tf_span object = tf_span(body.p + h->root.start, h->root.end - h->root.start), v, id;

	js_edit_replace(e, h->model_at.start, h->model_at.end, model);
	for (uint32_t i = 0; i < h->nmember; i++)
		js_edit_delete(e, h->member[i].at.start, h->member[i].at.end);
	/* runtimes differ in what they give unasked */
	snprintf(insert, 40, "\"response_format\":\"%s\"", sounds[st->asked].name);
	if (!js_member(object, "response_format", &v))
		js_edit_insert_last(e, h->root.end, tf_cspan(insert));
	else
		js_edit_replace(e, (size_t)(v.p - body.p), (size_t)(v.p - body.p) + v.n,
		    tf_cspan(insert + sizeof "\"response_format\":" - 1));
	/* only hosted models have voices that are objects */
	if (!(j->conf->quirks & DL_Q_HOSTED) && js_member(object, "voice", &v) && js_type(v) == JS_OBJECT &&
	    js_member(v, "id", &id))
		js_edit_replace(e, (size_t)(v.p - body.p), (size_t)(v.p - body.p) + v.n, id);
}

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct tf_span object = tf_span(body.p + j->head->root.start, j->head->root.end - j->head->root.start), v;
	struct js_edit list[DL_MEMBERS_MAX + 4];
	struct state *st = j->state;
	struct tf_buf model = { 0 };
	struct js_edits e;
	char insert[40];
	int r;

	st->wanted = SOUND_MP3;
	if (js_member(object, "response_format", &v) && js_type(v) == JS_STRING &&
	    sound_named(tf_span(v.p + 1, v.n - 2), &st->wanted) < 0)
		return TF_E_INVAL;
	st->asked = most_like(j->conf->quirks, st->wanted);
	if (st->asked != st->wanted && !is_samples(st->wanted))
		return refuse_format(j, st->asked);
	r = js_quote(&model, j->conf->model);
	if (r == 0)
		r = dl_raw_dropped(j->head, body, j->dropped);
	if (r == 0) {
		js_edits_init(&e, list, TF_LEN(list));
		edit(j, body, &e, tf_buf_span(&model), insert);
		r = js_splice(body, &e, out);
	}
	tf_buf_free(&model);
	return r;
}

/* ---- towards the client ------------------------------------------------------------------ */

static int
put_delta(struct tf_span bytes, struct tf_buf *out)
{
	int r = tf_buf_addstr(out, "data: {\"type\":\"speech.audio.delta\",\"audio\":\"");

	if (r == 0)
		r = tf_b64_encode(bytes, out);
	return r == 0 ? tf_buf_addstr(out, "\"}\n\n") : r;
}

/* Gives what is in st->sound, all of it at the end; base64 is cut between groups of three. */
static int
give(struct dl_job *j, bool all, struct tf_buf *out)
{
	struct state *st = j->state;
	size_t at = 0, n;
	int r = 0;

	if (!j->head->stream) {
		st->begun = st->begun || st->sound.n > 0;
		r = tf_buf_addspan(out, tf_buf_span(&st->sound));
		tf_buf_reset(&st->sound);
	}
	while (r == 0 && (n = st->sound.n - at) > 0) {
		n = n > DELTA_BYTES ? DELTA_BYTES : all ? n : n / 3 * 3;
		if (n == 0)
			break;
		r = put_delta(tf_span(st->sound.p + at, n), out);
		st->begun = true;
		at += n;
	}
	tf_buf_shift(&st->sound, at);
	j->facts->content = j->facts->content || st->begun;
	return r;
}

/* A piece of what the runtime sends becomes a piece of what the client wants. */
static int
convert_known(struct dl_job *j, struct tf_span piece)
{
	struct state *st = j->state;
	int r = 0;

	if (st->got == st->wanted)
		return tf_buf_addspan(&st->sound, piece);
	if (!is_samples(st->got) || !is_samples(st->wanted))
		return refuse_format(j, st->got);
	if (st->got == SOUND_WAV)
		return dl_unwave_feed(&st->unwave, piece, &st->sound);
	if (!st->begun && st->sound.n == 0)
		r = dl_wave_header(st->rate, &st->sound);
	return r == 0 ? tf_buf_addspan(&st->sound, piece) : r;
}

#define MAGIC 4

/* The same when the content type may not have said what it is. last: no more follows. */
static int
convert(struct dl_job *j, struct tf_span piece, bool last)
{
	struct state *st = j->state;
	int r;

	if (st->known)
		return convert_known(j, piece);
	r = tf_buf_addspan(&st->first, piece);
	if (r < 0 || st->first.n == 0 || (st->first.n < MAGIC && !last))
		return r;
	st->known = true;
	st->got = st->first.n >= MAGIC && memcmp(st->first.p, "RIFF", MAGIC) == 0 ? SOUND_WAV : st->asked;
	return convert_known(j, tf_buf_span(&st->first));
}

static bool
contains(struct tf_span s, const char *what)
{
	return s.n > 0 && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

/* "audio/pcm;rate=16000" */
static uint32_t
rate_of_type(struct tf_span type)
{
	const char *p = type.n > 0 ? memmem(type.p, type.n, "rate=", 5) : NULL;
	uint32_t rate = 0;

	for (p = p != NULL ? p + 5 : type.p + type.n; p < type.p + type.n && *p >= '0' && *p <= '9' && rate < 100000; p++)
		rate = rate * 10 + (uint32_t)(*p - '0');
	return rate >= 1000 ? rate : DL_PCM_RATE;
}

static void
forget(struct state *st)
{
	dl_unwave_fini(&st->unwave);
	tf_buf_free(&st->sound);
	tf_buf_free(&st->bytes);
	tf_buf_free(&st->first);
	tf_buf_free(&st->usage);
	st->begun = false;
}

static void
fini(struct dl_job *j)
{
	forget(j->state);
}

static enum dl_way
begin(struct dl_job *j, struct tf_span content_type)
{
	struct state *st = j->state;

	forget(st);
	st->known = sound_of_type(content_type, &st->got) == 0;
	st->rate = rate_of_type(content_type);
	j->live = true;
	j->content_type = j->head->stream ? "text/event-stream; charset=utf-8" : sounds[st->wanted].type;
	j->facts->units.characters = j->head->characters;
	if (contains(content_type, "event-stream"))
		return DL_WAY_EVENTS;
	return contains(content_type, "json") ? DL_WAY_WHOLE : DL_WAY_BYTES;
}

static int
bytes(struct dl_job *j, struct tf_span piece, struct tf_buf *out)
{
	int r = convert(j, piece, false);

	return r == 0 ? give(j, false, out) : r;
}

/* JSON where audio should be is an error, or nothing that we know. */
static int
whole(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	(void)out;
	if (js_valid(body) == 0)
		(void)dl_job_error(j, body);
	return TF_E_INVAL;
}

/* ---- the runtime's events ---------------------------------------------------------------- */

static int
on_audio(struct dl_job *j, struct tf_span audio, struct tf_buf *out)
{
	struct state *st = j->state;
	struct tf_buf text = { 0 };
	struct tf_span plain;
	int r = js_str(audio, &text, &plain);

	tf_buf_reset(&st->bytes);
	if (r == 0)
		r = tf_b64_decode(plain, &st->bytes);
	tf_buf_free(&text);
	if (r == 0 && st->bytes.n > 0)
		r = convert(j, tf_buf_span(&st->bytes), false);
	return r == 0 ? give(j, false, out) : r;
}

static int
event(struct dl_job *j, struct tf_span name, struct tf_span data, struct tf_buf *out)
{
	struct state *st = j->state;
	struct tf_span v, audio;
	int r;

	(void)name;
	r = dl_job_data(j, data);
	if (r <= 0)
		return r;
	if (!js_member(data, "type", &v)) {
		j->facts->skipped++;
		return 0;
	}
	if (js_str_eq(v, "speech.audio.delta") && js_member(data, "audio", &audio) && js_type(audio) == JS_STRING)
		return on_audio(j, audio, out);
	if (js_str_eq(v, "speech.audio.done")) {
		j->facts->finished = true;
		tf_buf_reset(&st->usage);
		if (js_member(data, "usage", &v) && js_type(v) == JS_OBJECT)
			return tf_buf_addspan(&st->usage, v);
	}
	return 0;
}

static int
put_done(struct dl_job *j, struct tf_buf *out)
{
	struct state *st = j->state;
	int r = tf_buf_addstr(out, "data: {\"type\":\"speech.audio.done\",\"usage\":");

	if (r < 0)
		return r;
	if (st->usage.n > 0)
		r = tf_buf_addspan(out, tf_buf_span(&st->usage));
	else
		r = tf_buf_addstr(out, "{\"input_tokens\":0,\"output_tokens\":0,\"total_tokens\":0}");
	return r == 0 ? tf_buf_addstr(out, "}\n\n") : r;
}

static int
finish(struct dl_job *j, struct tf_buf *out)
{
	struct state *st = j->state;
	struct tf_span v;
	int r = st->known ? 0 : convert(j, (struct tf_span){ NULL, 0 }, true);

	if (r == 0)
		r = give(j, true, out);
	if (r < 0)
		return r;
	if (!st->begun)
		return TF_E_INVAL; /* silence is no answer */
	j->facts->finish = "stop";
	if (st->usage.n > 0 && js_member(tf_buf_span(&st->usage), "input_tokens", &v)) {
		(void)dl_job_usage(j, tf_buf_span(&st->usage));
		j->facts->estimated = false;
	}
	return j->head->stream ? put_done(j, out) : 0;
}

static const struct dl_plain plain = {
	.size = sizeof(struct state),
	.answer_max = 1u << 20,
	.accept = "*/*",
	.request = request,
	.begin = begin,
	.whole = whole,
	.bytes = bytes,
	.event = event,
	.end = finish,
	.fini = fini,
};

const struct dl_ops dl_openai_speech = {
	.error_event = chat_error_event,
	.ping = { ": keep-alive\n\n", 14 },
	.fields = &fields,
	.plain = &plain,
};
