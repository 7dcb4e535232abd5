/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to speech: what the scan accepts, what the runtime is sent, what its answers become, cut at every byte; and the
 * samples of recordings.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/pcm.h"
#include "tests/dialect/audio.h"
#include "tests/dialect/group.h"

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
		cmocka_unit_test(test_says),
		cmocka_unit_test(test_spoken),
		cmocka_unit_test(test_unwave),
		cmocka_unit_test(test_unwave_refuses),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
