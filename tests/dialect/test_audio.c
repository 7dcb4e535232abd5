/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speech to text and text to speech: what the scans accept, what the runtime is sent, what its answers become, cut at
 * every byte.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/dialect.h"
#include "common/dialect/media.h"
#include "common/dialect/pcm.h"
#include "tests/dialect/group.h"

#define TYPE "multipart/form-data; boundary=XbX"
#define PART(name, value) "--XbX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define MODEL PART("model", "alias")
#define FILE_HEAD(filename) "--XbX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" filename "\"\r\n\r\n"
/* FLAC of 1.5 s, cut behind its first block */
#define FLAC "fLaC\0\0\0\x22\x12\0\x12\0\0\0\x0c\0\x05\x4c\x01\xf4\0\xf0\0\0\x2e\xe0"
#define END "--XbX--\r\n"
#define FORM(parts) MODEL FILE_HEAD("a.flac") FLAC "\r\n" parts END

struct body {
	const char *p;
	size_t n;
};
#define B(text) { text, sizeof(text) - 1 }

static int
scan(struct dl_scan *s, enum dl_dialect surface, struct body b)
{
	dl_scan_init(s, surface, 0, 0);
	if (dl_dialect_form(surface) && dl_scan_form(s, TF_SPAN(TYPE)) < 0)
		return TF_E_INVAL;
	return dl_scan_end(s, b.p, b.n);
}

/* ---- forms ------------------------------------------------------------------------------- */

static const struct {
	struct body body;
	const char *param; /* NULL: accepted; "": refused without one */
} forms[] = {
	{ B(FORM("")), NULL },
	{ B(FILE_HEAD("a.flac") FLAC "\r\n" MODEL END), NULL },
	{ B(FORM(PART("language", "en") PART("prompt", "") PART("temperature", "0.2") PART("seed", "1"))), NULL },
	{ B(FORM(PART("response_format", "verbose_json") PART("timestamp_granularities[]",
	    "word") PART("timestamp_granularities[]", "segment"))), NULL },
	{ B(FORM(PART("timestamp_granularities", "word") PART("response_format", "verbose_json"))), NULL },
	{ B(FORM(PART("stream", "true"))), NULL },
	{ B(FORM(PART("stream", "False"))), NULL },
	{ B(FORM(PART("include[]", "logprobs") PART("known_speaker_names[]", "a"))), NULL },
	{ B(MODEL FILE_HEAD("a.mp3") "no header at all\r\n" END), NULL },
	{ B(MODEL FILE_HEAD("blob") FLAC "\r\n" END), NULL },
	{ B(MODEL END), "file" },
	{ B(FILE_HEAD("a.flac") FLAC "\r\n" END), "model" },
	{ B(MODEL PART("file", "text") END), "file" },
	{ B(MODEL FILE_HEAD("a.flac") "\r\n" END), "file" },
	{ B(MODEL FILE_HEAD("a.txt") "some words\r\n" END), "file" },
	{ B(MODEL FILE_HEAD("") "some words\r\n" END), "file" },
	{ B(FORM(MODEL)), "model" },
	{ B(FORM(FILE_HEAD("b.flac") FLAC "\r\n")), "file" },
	{ B(PART("model", "") FILE_HEAD("a.flac") FLAC "\r\n" END), "model" },
	{ B(PART("model", "a\x07") FILE_HEAD("a.flac") FLAC "\r\n" END), "model" },
	{ B(FORM(PART("model[]", "x"))), "model" },
	{ B(FORM(PART("language", "en;rm"))), "language" },
	{ B(FORM(PART("temperature", "2"))), "temperature" },
	{ B(FORM(PART("temperature", "warm"))), "temperature" },
	{ B(FORM(PART("temperature", ""))), "temperature" },
	{ B(FORM(PART("temperature", "nan"))), "temperature" },
	{ B(FORM(PART("response_format", "xml"))), "response_format" },
	{ B(FORM(PART("response_format", "srt") PART("response_format", "srt"))), "response_format" },
	{ B(FORM(PART("timestamp_granularities[]", "word"))), "timestamp_granularities" },
	{ B(FORM(PART("timestamp_granularities[]", "letter") PART("response_format", "verbose_json"))), "timestamp_granularities" },
	{ B(FORM(PART("stream", "yes"))), "stream" },
	{ B(FORM(PART("stream", "true") PART("response_format", "srt"))), "response_format" },
	{ B(FORM(PART("prompt", "\xff"))), "prompt" },
	{ B(FORM(PART("known_speaker_names[]", "a") PART("known_speaker_names[]", "b") PART("known_speaker_names[]", "c")
		PART("known_speaker_names[]", "d") PART("known_speaker_names[]", "e"))), "known_speaker_names" },
	{ B(MODEL FILE_HEAD("../a.flac") FLAC "\r\n" END), "" },
	{ B("{\"model\":\"alias\"}"), "" },
	{ B(MODEL FILE_HEAD("a.flac") FLAC), "" },
};

static void
test_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(forms); i++) {
		struct dl_scan s;
		int r = scan(&s, DL_OPENAI_TRANSCRIPTIONS, forms[i].body);

		if ((r == 0) != (forms[i].param == NULL))
			fail_msg("form %zu: %s", i, r == 0 ? "accepted" : s.fault.message);
		if (r < 0) {
			assert_int_equal(s.fault.err, TF_E_BAD_REQUEST);
			assert_string_equal(s.fault.param, forms[i].param);
			assert_true(s.fault.message[0] != '\0');
		}
	}
}

static void
test_form_head(void **state)
{
	static const struct body b = B(FORM(PART("prompt", "names: Ada") PART("stream", "1")));
	struct tf_buf bytes = { 0 };
	struct dl_head h;
	struct dl_scan s;

	(void)state;
	assert_int_equal(scan(&s, DL_OPENAI_TRANSCRIPTIONS, b), 0);
	assert_string_equal(s.head.model, "alias");
	assert_true(s.head.stream);
	assert_int_equal(s.head.audio_ms, 1500);
	assert_int_equal(s.head.flags & DL_HEAD_GUESSED, 0);
	assert_int_equal(s.head.needs, DL_NEED_TRANSCRIPTION);
	assert_int_equal(s.head.prompt_bytes, 10);
	assert_int_equal(dl_head_encode(&s.head, &bytes), 0);
	assert_int_equal(dl_head_decode(tf_buf_span(&bytes), b.n, &h), 0);
	assert_memory_equal(&h, &s.head, sizeof h);
	tf_buf_free(&bytes);
	/* a surface of JSON takes no form, and the other way round */
	assert_false(dl_dialect_form(DL_OPENAI_CHAT));
	assert_false(dl_dialect_json(DL_OPENAI_TRANSLATIONS));
	assert_true(dl_dialect_json(DL_OPENAI_SPEECH));
	/* speakers are not told apart in translations */
	assert_int_equal(scan(&s, DL_OPENAI_TRANSLATIONS, (struct body)B(FORM(PART("response_format", "diarized_json")))),
	    TF_E_INVAL);
	assert_string_equal(s.fault.param, "response_format");
}

/* ---- one attempt ------------------------------------------------------------------------- */

struct run {
	enum dl_dialect surface;
	uint32_t quirks;
	struct body body;
	struct dl_xlate *x;
	struct tf_buf sent, got;
};

static void
start(struct run *run)
{
	struct dl_xlate_conf c = { .surface = run->surface, .runtime = DL_OPENAI_CHAT, .quirks = run->quirks,
		.asked = TF_SPAN("alias"), .model = TF_SPAN("real"), .content_type = TF_SPAN(TYPE) };
	struct dl_scan s;

	if (scan(&s, run->surface, run->body) != 0)
		fail_msg("refused: %s", s.fault.message);
	run->x = dl_xlate_new(&c, &s.head);
	assert_non_null(run->x);
}

static void
stop(struct run *run)
{
	dl_xlate_free(&run->x);
	tf_buf_free(&run->sent);
	tf_buf_free(&run->got);
}

/* The answer in pieces of that size. */
static void
answer(struct run *run, const char *type, struct body b, size_t step)
{
	dl_xlate_head(run->x, 200, tf_cspan(type), 0);
	for (size_t at = 0; at < b.n; at += step) {
		size_t n = b.n - at < step ? b.n - at : step;
		char *piece = malloc(n);

		assert_non_null(piece);
		memcpy(piece, b.p + at, n);
		assert_int_equal(dl_xlate_feed(run->x, piece, n, &run->got), 0);
		free(piece);
	}
	assert_int_equal(dl_xlate_end(run->x, &run->got), 0);
}

static const struct dl_facts *
facts(const struct run *run)
{
	return dl_xlate_facts(run->x);
}

static bool
has(struct tf_buf *b, const char *what)
{
	return b->n > 0 && memmem(b->p, b->n, what, strlen(what)) != NULL;
}

static void
test_request(void **state)
{
	static const struct {
		uint32_t quirks;
		struct body body;
		const char *has[4], *hasnt[4];
	} cases[] = {
		{ 0, B(FORM("")), { PART("model", "real"), PART("response_format", "verbose_json"), FILE_HEAD("a.flac") },
		    { "alias", "stream" } },
		{ DL_Q_UNTIMED, B(FORM("")), { PART("response_format", "json") }, { "verbose" } },
		{ DL_Q_HOSTED, B(FORM(PART("response_format", "text"))), { PART("response_format", "json") }, { "verbose",
		    "\"text" } },
		{ DL_Q_HOSTED, B(FORM(PART("response_format", "vtt"))), { PART("response_format", "verbose_json") }, { "vtt" } },
		{ DL_Q_HOSTED, B(FORM(PART("response_format", "diarized_json"))), { PART("response_format", "diarized_json") },
		    { NULL } },
		{ 0, B(FORM(PART("stream", "true"))), { PART("response_format", "json"), PART("stream", "true") }, { "verbose" } },
		{ 0, B(FORM(PART("stream", "false"))), { PART("response_format", "verbose_json") }, { "stream" } },
		{ 0, B(FORM(PART("language", "en") PART("seed", "1") PART("priority", "9") PART("vllm_xargs", "{}"))),
		    { PART("language", "en"), PART("seed", "1") }, { "priority", "xargs" } },
		{ 0, B(FORM(PART("response_format", "verbose_json") PART("timestamp_granularities", "word"))),
		    { PART("timestamp_granularities[]", "word") }, { "granularities\"" } },
		{ 0, B(MODEL FILE_HEAD("blob") FLAC "\r\n" END), { FILE_HEAD("file.flac") }, { "blob" } },
		{ 0, B(MODEL FILE_HEAD("a.mp3") FLAC "\r\n" END), { FILE_HEAD("file.flac") }, { "a.mp3" } },
	};

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		struct run run = { .surface = DL_OPENAI_TRANSCRIPTIONS, .quirks = cases[i].quirks, .body = cases[i].body };
		struct dl_form_reader f;

		start(&run);
		assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), 0);
		assert_string_equal(dl_xlate_request_type(run.x), TYPE);
		assert_string_equal(dl_xlate_path(run.x), "/audio/transcriptions");
		assert_int_equal(dl_form_init(&f, TF_SPAN(TYPE), 0, NULL, NULL), 0);
		assert_int_equal(dl_form_end(&f, run.sent.p, run.sent.n), 0);
		for (size_t k = 0; k < 4 && cases[i].has[k] != NULL; k++)
			if (!has(&run.sent, cases[i].has[k]))
				fail_msg("case %zu lacks %s", i, cases[i].has[k]);
		for (size_t k = 0; k < 4 && cases[i].hasnt[k] != NULL; k++)
			if (has(&run.sent, cases[i].hasnt[k]))
				fail_msg("case %zu has %s", i, cases[i].hasnt[k]);
		/* the recording is not touched */
		assert_non_null(memmem(run.sent.p, run.sent.n, FLAC, sizeof FLAC - 1));
		stop(&run);
	}
}

#define VERBOSE "{\"task\":\"transcribe\",\"language\":\"english\",\"duration\":\"2.5\"," \
	"\"text\":\" Hello --> there. \",\"segments\":[" \
	"{\"id\":0,\"start\":0.0,\"end\":1.25,\"text\":\" Hello\"}," \
	"{\"id\":1,\"start\":3661.5,\"end\":3662.0005,\"text\":\" -->\\n\\nthere. \"}]," \
	"\"extra\":1}\n"
#define FMT(f) FORM(PART("response_format", f))
#define SSE(json) "data: " json "\n\n"
#define DELTA(text) SSE("{\"type\":\"transcript.text.delta\",\"delta\":\"" text "\"}")
#define DELTAS DELTA("Hel") DELTA("lo")
#define DONE SSE("{\"type\":\"transcript.text.done\",\"text\":\"Hello\",\"usage\":{\"type\":\"duration\",\"seconds\":2}}")

static const struct {
	uint32_t quirks;
	struct body request;
	const char *type;
	struct body answer;
	const char *want_type, *want; /* want NULL: a fault */
	uint64_t ms;
} answers[] = {
	{ 0, B(FORM("")), "application/json", B(VERBOSE), "application/json",
	    "{\"text\":\"Hello --> there.\",\"usage\":{\"type\":\"duration\",\"seconds\":3}}", 2500 },
	{ 0, B(FMT("text")), "application/json", B(VERBOSE), "text/plain; charset=utf-8", "Hello --> there.\n", 2500 },
	{ 0, B(FMT("srt")), "application/json", B(VERBOSE), "text/plain; charset=utf-8",
	    "1\n00:00:00,000 --> 00:00:01,250\nHello\n\n2\n01:01:01,500 --> 01:01:02,001\n- >  there.\n\n", 2500 },
	{ 0, B(FMT("vtt")), "application/json", B(VERBOSE), "text/plain; charset=utf-8",
	    "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nHello\n\n01:01:01.500 --> 01:01:02.001\n- >  there.\n\n", 2500 },
	{ 0, B(FMT("verbose_json")), "application/json",
	    B("{\"language\":\"en\",\"text\":\"a\",\"segments\":[{\"start\":0,\"end\":1,\"text\":\"a\"}],\"words\":[1]}"),
	    "application/json",
	    "{\"task\":\"transcribe\",\"language\":\"en\",\"duration\":1.500,"
	    "\"text\":\"a\",\"segments\":[{\"start\":0,\"end\":1,\"text\":\"a\"}],"
	    "\"words\":[1],\"usage\":{\"type\":\"duration\",\"seconds\":2}}", 1500 },
	/* words alone */
	{ DL_Q_UNTIMED, B(FORM("")), "application/json",
	    B("{\"text\":\"a\",\"usage\":{\"type\":\"duration\",\"seconds\":2},\"logprobs\":[]}"),
	    "application/json", "{\"text\":\"a\",\"logprobs\":[],\"usage\":{\"type\":\"duration\",\"seconds\":2}}", 1500 },
	/* the runtime heard more than the container says */
	{ DL_Q_UNTIMED, B(FORM("")), "application/json", B("{\"text\":\"a\",\"usage\":{\"type\":\"duration\",\"seconds\":60}}"),
	    "application/json", "{\"text\":\"a\",\"usage\":{\"type\":\"duration\",\"seconds\":60}}", 60000 },
	{ DL_Q_HOSTED, B(FORM("")), "application/json",
	    B("{\"text\":\"a\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":3,\"total_tokens\":17}}"),
	    "application/json",
	    "{\"text\":\"a\",\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":3,\"total_tokens\":17}}", 1500 },
	{ 0, B(FORM("")), "text/plain; charset=utf-8", B(" bare words\n"), "application/json",
	    "{\"text\":\"bare words\",\"usage\":{\"type\":\"duration\",\"seconds\":2}}", 1500 },
	{ 0, B(FMT("text")), "application/json", B("{\"segments\":[{\"text\":\" a\"},{\"text\":\" b\"}]}"),
	    "text/plain; charset=utf-8", "a b\n", 1500 },
	{ 0, B(FMT("srt")), "application/json", B("{\"text\":\"\"}"), "text/plain; charset=utf-8", "", 1500 },
	{ 0, B(FMT("srt")), "application/json", B("{\"text\":\"no times\"}"), NULL, NULL, 0 },
	{ 0, B(FMT("srt")), "application/json", B("{\"text\":\"a\",\"segments\":[{\"text\":\"a\"}]}"), NULL, NULL, 0 },
	{ 0, B(FMT("vtt")), "application/json",
	    B("{\"text\":\"a\",\"segments\":[{\"text\":\"a\",\"start\":-1,\"end\":1e300}]}"), NULL, NULL, 0 },
	{ 0, B(FORM("")), "application/json", B("{\"error\":{\"message\":\"no\"}}"), NULL, NULL, 0 },
	{ 0, B(FORM("")), "application/json", B("[]"), NULL, NULL, 0 },
	{ 0, B(FORM("")), "application/json", B("{\"text\":"), NULL, NULL, 0 },
	{ 0, B(FORM("")), "application/json", B(""), NULL, NULL, 0 },
	/* streams: as they are, made of a whole answer, of chunks, and without their end */
	{ 0, B(FORM(PART("stream", "true"))), "text/event-stream",
	    B(DELTAS
		DONE),
		    "text/event-stream; charset=utf-8",
	    DELTAS
	    DONE, 1500 },
	{ 0, B(FORM(PART("stream", "true"))), "application/json", B("{\"text\":\" Hello\"}"), "text/event-stream; charset=utf-8",
	    DELTA("Hello")
	    DONE, 1500 },
	{ 0, B(FORM(PART("stream", "true"))), "text/event-stream",
	    B(SSE("{\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}")
		SSE("{\"object\":\"transcription.chunk\",\"choices\":[{\"delta\":"
		    "{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}")
		SSE("[DONE]")),
	    "text/event-stream; charset=utf-8",
	    DELTAS
	    DONE, 1500 },
	{ 0, B(FORM(PART("stream", "true"))), "text/event-stream", B(SSE("{\"type\":\"transcript.text.done\",\"text\":\"Hello\"}")),
	    "text/event-stream; charset=utf-8",
	    DONE, 1500 },
	{ 0, B(FORM(PART("stream", "true"))), "text/event-stream", B(SSE("{\"error\":{\"message\":\"no\"}}")), NULL, NULL, 0 },
};

static void
test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(answers); i++) {
		for (size_t step = 1; step <= answers[i].answer.n + 1; step += step < 8 ? 1 : 37) {
			struct run run = { .surface = DL_OPENAI_TRANSCRIPTIONS, .quirks = answers[i].quirks,
			    .body = answers[i].request };

			start(&run);
			assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), 0);
			answer(&run, answers[i].type, answers[i].answer, step);
			if (answers[i].want == NULL) {
				if (facts(&run)->fault.err <= 0)
					fail_msg("answer %zu: no fault", i);
			} else {
				if (facts(&run)->fault.err != 0 || !facts(&run)->complete)
					fail_msg("answer %zu: %s", i, facts(&run)->fault.message);
				assert_string_equal(tf_buf_cstr(&run.got), answers[i].want);
				assert_string_equal(dl_xlate_content_type(run.x), answers[i].want_type);
				assert_int_equal(facts(&run)->units.audio_ms, answers[i].ms);
			}
			stop(&run);
		}
	}
}

static void
test_tokens(void **state)
{
	struct run run = { .surface = DL_OPENAI_TRANSLATIONS, .quirks = DL_Q_HOSTED, .body = B(FMT("verbose_json")) };

	(void)state;
	start(&run);
	assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), 0);
	assert_string_equal(dl_xlate_path(run.x), "/audio/translations");
	answer(&run, "application/json",
	    (struct body)B("{\"text\":\"a\",\"segments\":[{}],"
	    "\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"output_tokens\":3}}"), 5);
	assert_int_equal(facts(&run)->usage.prompt, 14);
	assert_int_equal(facts(&run)->usage.completion, 3);
	assert_false(facts(&run)->estimated);
	assert_true(has(&run.got, "\"task\":\"translate\""));
	stop(&run);
}

/* whisper.cpp's server has one path for both. */
static void
test_translate_field(void **state)
{
	struct run run = { .surface = DL_OPENAI_TRANSLATIONS, .quirks = DL_Q_TRANSLATE_FIELD,
		.body = B(FORM(PART("translate", "false"))) };

	(void)state;
	start(&run);
	assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), 0);
	assert_string_equal(dl_xlate_path(run.x), "/audio/transcriptions");
	assert_true(has(&run.sent, PART("translate", "true")));
	assert_false(has(&run.sent, "false"));
	stop(&run);
	run.surface = DL_OPENAI_TRANSCRIPTIONS;
	start(&run);
	assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), 0);
	assert_false(has(&run.sent, "translate"));
	stop(&run);
}

/* Hosted models hear which language it is when they translate; others may be told. */
static void
test_language_of_translations(void **state)
{
	static const uint32_t quirks[] = { 0, DL_Q_HOSTED };

	(void)state;
	for (size_t i = 0; i < TF_LEN(quirks); i++) {
		struct run run = { .surface = DL_OPENAI_TRANSLATIONS, .quirks = quirks[i],
			.body = B(FORM(PART("language", "de"))) };

		start(&run);
		assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), 0);
		assert_int_equal(has(&run.sent, PART("language", "de")), quirks[i] == 0);
		assert_true(tf_span_is(dl_xlate_dropped(run.x), quirks[i] == 0 ? "" : "language"));
		stop(&run);
	}
}

static void
test_refused_formats(void **state)
{
	static const struct {
		uint32_t quirks;
		struct body body;
	} cases[] = { { 0, B(FMT("diarized_json")) }, { DL_Q_UNTIMED, B(FMT("srt")) } };

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		struct run run = { .surface = DL_OPENAI_TRANSCRIPTIONS, .quirks = cases[i].quirks, .body = cases[i].body };

		start(&run);
		assert_int_equal(dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent), TF_E_INVAL);
		assert_int_equal(facts(&run)->fault.err, TF_E_BAD_REQUEST);
		assert_string_equal(facts(&run)->fault.param, "response_format");
		stop(&run);
	}
}

/* A head and a body that do not belong together, or a form without its boundary: refused, not read beyond. */
static void
test_foreign_body(void **state)
{
	struct run run = { .surface = DL_OPENAI_TRANSCRIPTIONS, .body = B(FORM("")) };
	char *zeros;

	(void)state;
	start(&run);
	zeros = calloc(1, run.body.n);
	assert_non_null(zeros);
	assert_int_equal(dl_xlate_request(run.x, tf_span(zeros, run.body.n), &run.sent), TF_E_INVAL);
	assert_int_equal(facts(&run)->fault.err, TF_E_SERVER_ERROR);
	free(zeros);
	stop(&run);
}

/* ---- speech ------------------------------------------------------------------------------ */

static const struct {
	const char *body, *param;
	uint64_t characters;
} says[] = {
	{ "{\"model\":\"alias\",\"input\":\"Hi\"}", NULL, 2 },
	{ "{\"model\":\"alias\",\"input\":\"a\\u00e4\xc3\xa4\\ud83d\\ude00\xf0\x9f\x98\x80\\n\\\\\",\"voice\":\"x\"}", NULL, 7 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"voice\":{\"id\":\"v\"},\"speed\":4,\"instructions\":\"low\","
	  "\"response_format\":null}", NULL, 1 },
	{ "{\"input\":\"x\"}", "model", 0 },
	{ "{\"model\":\"alias\"}", "input", 0 },
	{ "{\"model\":\"alias\",\"input\":\"\"}", "input", 0 },
	{ "{\"model\":\"alias\",\"input\":[\"a\"]}", "input", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"voice\":1}", "voice", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"voice\":{}}", "voice", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"voice\":{\"id\":1}}", "voice.id", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"response_format\":\"midi\"}", "response_format", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"speed\":0.2}", "speed", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"speed\":\"fast\"}", "speed", 0 },
	{ "{\"model\":\"alias\",\"input\":\"x\",\"stream_format\":\"ws\"}", "stream_format", 0 },
};

static void
test_says(void **state)
{
	struct tf_buf b = { 0 };
	struct dl_scan s;

	(void)state;
	for (size_t i = 0; i < TF_LEN(says); i++) {
		int r = scan(&s, DL_OPENAI_SPEECH, (struct body){ says[i].body, strlen(says[i].body) });

		if ((r == 0) != (says[i].param == NULL))
			fail_msg("%s: %s", says[i].body, r == 0 ? "accepted" : s.fault.message);
		if (r == 0) {
			assert_int_equal(s.head.characters, says[i].characters);
			assert_int_equal(s.head.needs, DL_NEED_SPEECH);
		} else {
			assert_string_equal(s.fault.param, says[i].param);
		}
	}
	/* 4096 characters and one more, each of four bytes */
	for (unsigned n = 4096; n <= 4097; n++) {
		tf_buf_reset(&b);
		assert_int_equal(tf_buf_addstr(&b, "{\"model\":\"alias\",\"input\":\""), 0);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(tf_buf_addstr(&b, "\xf0\x9f\x98\x80"), 0);
		assert_int_equal(tf_buf_addstr(&b, "\"}"), 0);
		assert_int_equal(scan(&s, DL_OPENAI_SPEECH, (struct body){ b.p, b.n }), n == 4096 ? 0 : TF_E_INVAL);
	}
	tf_buf_free(&b);
}

#define SOUNDS SSE("{\"type\":\"speech.audio.delta\",\"audio\":\"YWJjZGVm\"}") \
	SSE("{\"type\":\"speech.audio.delta\",\"audio\":\"Zw==\"}")
#define SAY(more) "{\"model\":\"alias\",\"input\":\"Hi\"" more "}"
#define HEADER "RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\xc0\x5d\0\0\x80\xbb\0\0\x02\0\x10\0data\xff\xff\xff\xff"

static const struct {
	uint32_t quirks;
	const char *request, *sent; /* sent NULL: refused at once */
	const char *type;
	struct body answer;
	const char *want_type;
	struct body want; /* p NULL: a fault */
} spoken[] = {
	{ 0, SAY(""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"mp3\"}", "audio/mpeg", B("\xff\xf3xyz"),
	    "audio/mpeg", B("\xff\xf3xyz") },
	{ 0, SAY(",\"voice\":{\"id\":\"v\"},\"priority\":1,\"response_format\":\"opus\""),
	    "{\"model\":\"real\",\"input\":\"Hi\",\"voice\":\"v\",\"response_format\":\"opus\"}", "audio/ogg", B("OggS"),
	    "audio/opus", B("OggS") },
	{ DL_Q_HOSTED, SAY(",\"voice\":{\"id\":\"v\"},\"response_format\":null"),
	    "{\"model\":\"real\",\"input\":\"Hi\",\"voice\":{\"id\":\"v\"},\"response_format\":\"mp3\"}",
	    "application/octet-stream", B("ID3"), "audio/mpeg", B("ID3") },
	{ 0, SAY(",\"response_format\":\"aac\""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"aac\"}", "",
	    B("\xff\xf1"), "audio/aac", B("\xff\xf1") },
	/* wav and pcm become one another, by quirk or because the runtime does as it likes */
	{ DL_Q_SPEAKS_WAV, SAY(",\"response_format\":\"pcm\""),
	    "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"wav\"}", "audio/x-wav",
	    B(HEADER "\1\2\3\4"), "audio/pcm", B("\1\2\3\4") },
	{ DL_Q_SPEAKS_PCM, SAY(",\"response_format\":\"wav\""),
	    "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"pcm\"}", "audio/pcm",
	    B("\1\2\3\4"), "audio/wav", B(HEADER "\1\2\3\4") },
	{ 0, SAY(",\"response_format\":\"pcm\""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"pcm\"}", "audio/wav",
	    B(HEADER "\1\2\3\4"), "audio/pcm", B("\1\2\3\4") },
	{ DL_Q_SPEAKS_WAV, SAY(""), NULL, "", B(""), "", { NULL, 0 } },
	{ 0, SAY(""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"mp3\"}", "audio/wav", B(HEADER "\1\2"), "",
	    { NULL, 0 } },
	{ 0, SAY(",\"response_format\":\"pcm\""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"pcm\"}",
	    "audio/wav", B("RIFF????JUNKmore"), "", { NULL, 0 } },
	{ 0, SAY(""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"mp3\"}", "audio/mpeg", B(""), "", { NULL, 0 } },
	{ 0, SAY(""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"mp3\"}", "application/json",
	    B("{\"error\":{\"message\":\"no\"}}"), "", { NULL, 0 } },
	/* events of bytes, events as they come, bytes of events */
	{ 0, SAY(",\"stream_format\":\"sse\""),
	    "{\"model\":\"real\",\"input\":\"Hi\",\"stream_format\":\"sse\",\"response_format\":\"mp3\"}", "audio/mpeg",
	    B("abcdefg"),
	    "text/event-stream; charset=utf-8", { NULL, 7 } },
	{ 0, SAY(",\"stream_format\":\"sse\""),
	    "{\"model\":\"real\",\"input\":\"Hi\",\"stream_format\":\"sse\",\"response_format\":\"mp3\"}", "text/event-stream",
	    B(SOUNDS
		SSE("{\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":4,\"output_tokens\":9,\"total_tokens\":13}}")),
	    "text/event-stream; charset=utf-8",
	    B(SOUNDS
		SSE("{\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":4,\"output_tokens\":9,\"total_tokens\":13}}")) },
	{ 0, SAY(""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"mp3\"}", "text/event-stream",
	    B(SOUNDS), "audio/mpeg", B("abcdefg") },
	{ 0, SAY(""), "{\"model\":\"real\",\"input\":\"Hi\",\"response_format\":\"mp3\"}", "text/event-stream",
	    B(SSE("{\"type\":\"speech.audio.delta\",\"audio\":\"?\"}")), "", { NULL, 0 } },
};

/* The bytes in the deltas of a stream. */
static void
undelta(struct tf_buf *sse, struct tf_buf *out)
{
	static const char mark[] = "\"audio\":\"";
	const char *p = sse->p, *end = sse->p + sse->n, *quote;

	while ((p = memmem(p, (size_t)(end - p), mark, sizeof mark - 1)) != NULL) {
		p += sizeof mark - 1;
		quote = memchr(p, '"', (size_t)(end - p));
		assert_non_null(quote);
		assert_int_equal(tf_b64_decode(tf_span(p, (size_t)(quote - p)), out), 0);
	}
}

static void
check_spoken(struct run *run, size_t i)
{
	struct tf_buf bytes = { 0 };

	if (facts(run)->fault.err != 0 || !facts(run)->complete)
		fail_msg("speech %zu: %s", i, facts(run)->fault.message);
	assert_string_equal(dl_xlate_content_type(run->x), spoken[i].want_type);
	assert_int_equal(facts(run)->units.characters, 2);
	assert_true(dl_xlate_live(run->x));
	assert_string_equal(dl_xlate_accept(run->x), memmem(spoken[i].request, strlen(spoken[i].request), "sse", 3) != NULL ?
	    "text/event-stream" : "*/*");
	assert_true(dl_ping(DL_OPENAI_SPEECH).n > 0 && dl_ping(DL_OPENAI_TRANSCRIPTIONS).n > 0);
	if (spoken[i].want.p != NULL) {
		assert_int_equal(run->got.n, spoken[i].want.n);
		assert_memory_equal(run->got.p, spoken[i].want.p, run->got.n);
		return;
	}
	undelta(&run->got, &bytes);
	assert_int_equal(bytes.n, spoken[i].answer.n);
	assert_memory_equal(bytes.p, spoken[i].answer.p, bytes.n);
	assert_true(has(&run->got, "speech.audio.done"));
	tf_buf_free(&bytes);
}

static void
test_spoken(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(spoken); i++) {
		for (size_t step = 1; step <= spoken[i].answer.n + 1; step++) {
			struct run run = { .surface = DL_OPENAI_SPEECH, .quirks = spoken[i].quirks,
				.body = { spoken[i].request, strlen(spoken[i].request) } };
			int r;

			start(&run);
			r = dl_xlate_request(run.x, tf_span(run.body.p, run.body.n), &run.sent);
			assert_int_equal(r, spoken[i].sent != NULL ? 0 : TF_E_INVAL);
			if (r == 0) {
				assert_string_equal(tf_buf_cstr(&run.sent), spoken[i].sent);
				answer(&run, spoken[i].type, spoken[i].answer, step);
			}
			if (spoken[i].want.p == NULL && spoken[i].want.n == 0) {
				if (facts(&run)->fault.err <= 0 || facts(&run)->content)
					fail_msg("speech %zu: no fault", i);
			} else {
				check_spoken(&run, i);
			}
			stop(&run);
		}
	}
}

/* ---- samples ----------------------------------------------------------------------------- */

static char *
load(const char *name, size_t *n)
{
	const char *top = getenv("top_srcdir");
	char path[4096], *p = malloc(65536);
	FILE *f;

	snprintf(path, sizeof path, "%s/tests/media/%s", top != NULL ? top : ".", name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_non_null(p);
	*n = fread(p, 1, 65536, f);
	fclose(f);
	return p;
}

/* A tone in any plain form and rate becomes 24 kHz, as long as it was, cut anywhere. */
static void
test_unwave(void **state)
{
	static const struct {
		const char *name;
		size_t frames; /* of the file; rate */
		unsigned rate;
	} files[] = { { "pcm.wav", 3000, 2000 }, { "extensible.wav", 1500, 1000 }, { "stream.wav", 3000, 2000 } };

	(void)state;
	for (size_t i = 0; i < TF_LEN(files); i++) {
		struct tf_buf whole = { 0 }, cut = { 0 };
		struct dl_unwave u = { 0 };
		size_t n, want = (files[i].frames - 1) * DL_PCM_RATE / files[i].rate + 1;
		char *p = load(files[i].name, &n);

		assert_int_equal(dl_unwave_feed(&u, tf_span(p, n), &whole), 0);
		dl_unwave_fini(&u);
		assert_in_range(whole.n / 2, want - 2, want + 2);
		for (size_t step = 1; step < 100; step += 7) {
			tf_buf_reset(&cut);
			for (size_t at = 0; at < n; at += step)
				assert_int_equal(dl_unwave_feed(&u, tf_span(p + at, n - at < step ? n - at : step), &cut), 0);
			dl_unwave_fini(&u);
			assert_int_equal(cut.n, whole.n);
			assert_memory_equal(cut.p, whole.p, cut.n);
		}
		tf_buf_free(&whole);
		tf_buf_free(&cut);
		free(p);
	}
}

static void
test_unwave_refuses(void **state)
{
	struct dl_unwave u = { 0 };
	struct tf_buf out = { 0 };
	size_t n;
	char *p = load("adpcm.wav", &n);

	(void)state;
	assert_int_equal(dl_unwave_feed(&u, tf_span(p, n), &out), TF_E_INVAL);
	dl_unwave_fini(&u);
	free(p);
	p = calloc(1, 70000);
	assert_non_null(p);
	memcpy(p, "RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f", 20);
	assert_int_equal(dl_unwave_feed(&u, tf_span(p, 70000), &out), TF_E_INVAL);
	dl_unwave_fini(&u);
	free(p);
	tf_buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_form_head),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_translate_field),
		cmocka_unit_test(test_language_of_translations),
		cmocka_unit_test(test_refused_formats),
		cmocka_unit_test(test_foreign_body),
		cmocka_unit_test(test_says),
		cmocka_unit_test(test_spoken),
		cmocka_unit_test(test_unwave),
		cmocka_unit_test(test_unwave_refuses),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
