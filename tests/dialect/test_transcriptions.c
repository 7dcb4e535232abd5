/* SPDX-License-Identifier: Apache-2.0 */
/* Speech to text: what the scan accepts, what the runtime is sent, what its answers become, cut at every byte. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/media.h"
#include "tests/dialect/audio.h"
#include "tests/dialect/group.h"

#define PART(name, value) "--XbX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define MODEL PART("model", "alias")
#define FILE_HEAD(filename) "--XbX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" filename "\"\r\n\r\n"
/* FLAC of 1.5 s, cut behind its first block */
#define FLAC "fLaC\0\0\0\x22\x12\0\x12\0\0\0\x0c\0\x05\x4c\x01\xf4\0\xf0\0\0\x2e\xe0"
#define END "--XbX--\r\n"
#define FORM(parts) MODEL FILE_HEAD("a.flac") FLAC "\r\n" parts END

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

/* ---- attempts ----------------------------------------------------------------------------- */

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
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
