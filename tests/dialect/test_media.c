/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long recordings are: files that an encoder made (tests/media), and what is done to them by those who cut,
 * lie or write as they go.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/media.h"

/* The file, in memory of its very size, so that a sanitizer sees a read beyond it. Free with free(). */
static char *
load(const char *name, size_t *n)
{
	const char *top = getenv("top_srcdir");
	char path[4096], *p;
	FILE *f;
	long size;

	snprintf(path, sizeof path, "%s/tests/media/%s", top != NULL ? top : ".", name);
	f = fopen(path, "rb");
	if (f == NULL)
		fail_msg("%s: cannot be opened", path);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	size = ftell(f);
	assert_true(size > 0);
	rewind(f);
	p = malloc((size_t)size);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, (size_t)size, f), size);
	fclose(f);
	*n = (size_t)size;
	return p;
}

/* low, high in ms: the tone is 1500 long; a frame before or behind counts where the container cannot tell. */
static const struct {
	const char *name;
	enum dl_media_kind kind;
	uint64_t low, high; /* 0: not known */
} files[] = {
	{ "pcm.wav", DL_MEDIA_WAV, 1500, 1500 },
	{ "extensible.wav", DL_MEDIA_WAV, 1500, 1500 },
	{ "rf64.wav", DL_MEDIA_WAV, 1500, 1500 },
	{ "stream.wav", DL_MEDIA_WAV, 1500, 1500 },
	{ "adpcm.wav", DL_MEDIA_WAV, 1500, 1531 },
	{ "cbr.mp3", DL_MEDIA_MP3, 1500, 1500 },
	{ "vbr.mp3", DL_MEDIA_MP3, 1500, 1500 },
	{ "bare.mp3", DL_MEDIA_MP3, 1500, 1584 },
	{ "tags.mp3", DL_MEDIA_MP3, 1500, 1584 },
	{ "layer2.mpga", DL_MEDIA_MP3, 1500, 1584 },
	{ "plain.m4a", DL_MEDIA_MP4, 1500, 1500 },
	{ "faststart.mp4", DL_MEDIA_MP4, 1500, 1500 },
	{ "fragmented.mp4", DL_MEDIA_MP4, 1500, 1600 },
	{ "sidx.mp4", DL_MEDIA_MP4, 1500, 1600 },
	{ "adts.aac", DL_MEDIA_AAC, 1500, 1600 },
	{ "opus.ogg", DL_MEDIA_OGG, 1500, 1500 },
	{ "vorbis.ogg", DL_MEDIA_OGG, 1500, 1500 },
	{ "flac.oga", DL_MEDIA_OGG, 1500, 1500 },
	{ "plain.flac", DL_MEDIA_FLAC, 1500, 1500 },
	{ "duration.webm", DL_MEDIA_WEBM, 1500, 1510 },
	{ "live.webm", DL_MEDIA_WEBM, 1500, 1530 },
	{ "stream.mpeg", DL_MEDIA_MPEG, 0, 0 },
};

static void
test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(files); i++) {
		struct dl_media m;
		size_t n;
		char *p = load(files[i].name, &n);

		dl_media_probe(tf_span(p, n), (struct tf_span){ NULL, 0 }, &m);
		if (m.kind != files[i].kind || m.exact != (files[i].high > 0))
			fail_msg("%s: kind %d, exact %d", files[i].name, m.kind, m.exact);
		if (m.exact && (m.ms < files[i].low || m.ms > files[i].high))
			fail_msg("%s: %llu ms", files[i].name, (unsigned long long)m.ms);
		if (!m.exact)
			assert_int_equal(m.ms, n / 8);
		free(p);
	}
}

/* Cut anywhere nothing is read beyond, and nothing becomes longer than the whole by more than a guess allows. */
static void
test_cuts(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(files); i++) {
		size_t n;
		char *p = load(files[i].name, &n);

		for (size_t k = 0; k < n; k += k < 600 ? 1 : 97) {
			char *cut = malloc(k > 0 ? k : 1);
			struct dl_media m;

			assert_non_null(cut);
			memcpy(cut, p, k);
			dl_media_probe(tf_span(cut, k), TF_SPAN("x.mp3"), &m);
			if (m.exact && m.ms > 2000)
				fail_msg("%s cut to %zu: %llu ms", files[i].name, k, (unsigned long long)m.ms);
			free(cut);
		}
		free(p);
	}
}

static void
probe(const void *p, size_t n, const char *filename, struct dl_media *m)
{
	dl_media_probe(tf_span(p, n), tf_cspan(filename), m);
}

static void
test_kinds(void **state)
{
	struct dl_media m;

	(void)state;
	probe("", 0, "", &m);
	assert_int_equal(m.kind, DL_MEDIA_NONE);
	assert_int_equal(m.ms, 0);
	probe("hello, world", 12, "notes.txt", &m);
	assert_int_equal(m.kind, DL_MEDIA_NONE);
	probe("hello, world", 12, "notes.MP3", &m);
	assert_int_equal(m.kind, DL_MEDIA_MP3);
	assert_false(m.exact);
	assert_int_equal(m.ms, 1);
	/* what the file is goes before what it is called */
	probe("fLaC", 4, "a.mp3", &m);
	assert_int_equal(m.kind, DL_MEDIA_FLAC);
	assert_non_null(strstr(dl_media_names(), "webm"));
}

/* A count of frames that the file is too long for is not believed. */
static void
test_lying_count(void **state)
{
	struct dl_media m;
	size_t n, big = 4u << 20;
	char *p = load("vbr.mp3", &n), *xing = memmem(p, n, "Xing", 4), *file = calloc(1, big);

	(void)state;
	assert_non_null(xing);
	assert_non_null(file);
	memcpy(xing + 8, "\0\0\0\1", 4);
	memcpy(file, p, n);
	probe(file, big, "", &m);
	assert_true(m.exact && m.ms > 50000);
	free(file);
	free(p);
}

/* Durations beyond a year, rates of 0: not believed, not computed. */
static void
test_absurd(void **state)
{
	struct dl_media m;
	size_t n;
	char *p = load("faststart.mp4", &n), *box = memmem(p, n, "tkhd", 4);

	(void)state;
	assert_non_null(box);
	memset(box + 4 + 20, 0x7f, 4);
	probe(p, n, "", &m);
	assert_int_equal(m.kind, DL_MEDIA_MP4);
	assert_true(!m.exact || m.ms <= 365ull * 24 * 3600 * 1000);
	free(p);
	p = load("pcm.wav", &n);
	memset(p + 24, 0, 4);
	probe(p, n, "", &m);
	assert_int_equal(m.kind, DL_MEDIA_WAV);
	assert_false(m.exact);
	free(p);
}

/* Frames to the end of a large file: what lies beyond the bound is taken to be like what was seen. */
static void
test_many_frames(void **state)
{
	struct dl_media m;
	struct tf_buf b = { 0 };
	size_t n;
	char *p = load("bare.mp3", &n);

	(void)state;
	for (int i = 0; i < 12000; i++) /* 22 frames each */
		assert_int_equal(tf_buf_append(&b, p, n), 0);
	probe(b.p, b.n, "", &m);
	assert_true(m.exact);
	assert_in_range(m.ms, 12000ull * 1584 * 99 / 100, 12000ull * 1584 * 101 / 100);
	tf_buf_free(&b);
	free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_lying_count),
		cmocka_unit_test(test_absurd),
		cmocka_unit_test(test_many_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
