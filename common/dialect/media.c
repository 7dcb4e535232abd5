/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kind of a recording and asks the reader of that kind; the two simple containers (WAVE, FLAC) are read
 * here. Called by those who meter audio; must not allocate.
 */
#include "config.h"

#include "common/dialect/form.h"
#include "common/dialect/media_read.h"

bool
dl_media_ms(uint64_t n, uint64_t rate, uint64_t *ms)
{
	/* in two parts, so that nothing overflows */
	if (rate == 0 || n / rate > DL_MEDIA_MS_MAX / 1000 || rate > UINT64_MAX / 2000)
		return false;
	*ms = n / rate * 1000 + (n % rate * 1000 + rate / 2) / rate;
	return true;
}

size_t
dl_media_id3(struct tf_span b)
{
	size_t at = 0;

	for (int i = 0; i < 8 && dl_tag(b, at, "ID3") && b.n - at >= 10; i++) {
		const char *p = b.p + at;
		size_t n = 10 + ((size_t)(p[6] & 0x7f) << 21 | (size_t)(p[7] & 0x7f) << 14 |
		    (size_t)(p[8] & 0x7f) << 7 | (size_t)(p[9] & 0x7f));

		n += p[5] & 0x10 ? 10 : 0; /* a footer */
		at = b.n - at < n ? b.n : at + n;
	}
	return at;
}

/* ---- WAVE -------------------------------------------------------------------------------- */

struct wave {
	uint64_t rate, byterate, align;
	uint64_t samples; /* of a fact chunk */
	uint64_t data64;  /* of a ds64 chunk */
	bool pcm, fmt;
};

static void
wave_fmt(struct wave *w, const char *p, uint64_t n)
{
	uint64_t format;

	if (n < 16)
		return;
	format = dl_le(p, 2);
	if (format == 0xfffe && n >= 26)
		format = dl_le(p + 24, 2); /* the real one begins the extension's GUID */
	w->fmt = true;
	w->pcm = format == 1 || format == 3 || format == 6 || format == 7;
	w->rate = dl_le(p + 4, 4);
	w->byterate = dl_le(p + 8, 4);
	w->align = dl_le(p + 12, 2);
}

static bool
wave_data(const struct wave *w, uint64_t said, uint64_t rest, uint64_t *ms)
{
	uint64_t n = said;

	if (said == UINT32_MAX && w->data64 > 0)
		n = w->data64;
	/* written as a stream: nobody came back to fill the size in */
	if (n > rest || n == 0)
		n = rest;
	if (!w->fmt)
		return false;
	if (!w->pcm)
		return w->samples > 0 ? dl_media_ms(w->samples, w->rate, ms) : dl_media_ms(n, w->byterate, ms);
	return w->align > 0 && dl_media_ms(n / w->align, w->rate, ms);
}

bool
dl_media_wav(struct tf_span b, uint64_t *ms)
{
	struct wave w = { 0 };
	size_t at = 12;

	for (int i = 0; i < 1000 && b.n >= at && b.n - at >= 8; i++) {
		uint64_t n = dl_le(b.p + at + 4, 4), rest = b.n - at - 8;
		const char *p = b.p + at + 8;

		if (dl_tag(b, at, "data"))
			return wave_data(&w, n, rest, ms);
		if (n > rest)
			return false;
		if (dl_tag(b, at, "fmt "))
			wave_fmt(&w, p, n);
		else if (dl_tag(b, at, "fact") && n >= 4)
			w.samples = dl_le(p, 4);
		else if (dl_tag(b, at, "ds64") && n >= 16)
			w.data64 = dl_le(p + 8, 8);
		at += 8 + (size_t)n + (size_t)(n & 1);
	}
	return false;
}

/* ---- FLAC -------------------------------------------------------------------------------- */

bool
dl_media_flac(struct tf_span b, uint64_t *ms)
{
	/* "fLaC", a block header of 4 bytes, STREAMINFO: 10 bytes of sizes, then 20 bits of rate, 3, 5, 36 of samples */
	uint64_t v;

	if (b.n < 26 || (b.p[4] & 0x7f) != 0)
		return false;
	v = dl_be(b.p + 18, 8);
	return (v & 0xfffffffffu) != 0 && dl_media_ms(v & 0xfffffffffu, v >> 44, ms);
}

/* ---- kinds ------------------------------------------------------------------------------- */

static enum dl_media_kind
by_magic(struct tf_span b)
{
	static const char *const boxes[] = { "ftyp", "styp", "moov", "moof", "mdat", "free", "skip", "wide", "sidx" };
	uint8_t second;

	if ((dl_tag(b, 0, "RIFF") || dl_tag(b, 0, "RF64") || dl_tag(b, 0, "BW64")) && dl_tag(b, 8, "WAVE"))
		return DL_MEDIA_WAV;
	if (dl_tag(b, 0, "fLaC"))
		return DL_MEDIA_FLAC;
	if (dl_tag(b, 0, "OggS"))
		return DL_MEDIA_OGG;
	if (dl_tag(b, 0, "\x1a\x45\xdf\xa3"))
		return DL_MEDIA_WEBM;
	for (size_t i = 0; i < TF_LEN(boxes); i++)
		if (dl_tag(b, 4, boxes[i]))
			return DL_MEDIA_MP4;
	if (b.n >= 4 && memcmp(b.p, "\0\0\1\xba", 4) == 0)
		return DL_MEDIA_MPEG;
	if (b.n < 2 || (uint8_t)b.p[0] != 0xff)
		return DL_MEDIA_NONE;
	second = (uint8_t)b.p[1];
	if ((second & 0xf6) == 0xf0) /* layer 0, which MPEG audio does not have */
		return DL_MEDIA_AAC;
	return (second & 0xe0) == 0xe0 && (second & 0x18) != 0x08 && (second & 0x06) != 0 ? DL_MEDIA_MP3 : DL_MEDIA_NONE;
}

static const struct {
	const char *extension;
	enum dl_media_kind kind;
	bool (*read)(struct tf_span b, uint64_t *ms);
} kinds[] = {
	{ "flac", DL_MEDIA_FLAC, dl_media_flac },
	{ "m4a", DL_MEDIA_MP4, dl_media_mp4 },
	{ "mp3", DL_MEDIA_MP3, dl_media_mp3 },
	{ "mp4", DL_MEDIA_MP4, dl_media_mp4 },
	{ "mpeg", DL_MEDIA_MPEG, NULL },
	{ "mpga", DL_MEDIA_MP3, dl_media_mp3 },
	{ "oga", DL_MEDIA_OGG, dl_media_ogg },
	{ "ogg", DL_MEDIA_OGG, dl_media_ogg },
	{ "wav", DL_MEDIA_WAV, dl_media_wav },
	{ "webm", DL_MEDIA_WEBM, dl_media_webm },
	{ "opus", DL_MEDIA_OGG, dl_media_ogg },
	{ "aac", DL_MEDIA_AAC, dl_media_aac },
	{ "mp2", DL_MEDIA_MP3, dl_media_mp3 },
	{ "mka", DL_MEDIA_WEBM, dl_media_webm },
	{ "mkv", DL_MEDIA_WEBM, dl_media_webm },
	{ "mov", DL_MEDIA_MP4, dl_media_mp4 },
};

const char *
dl_media_names(void)
{
	return "flac, m4a, mp3, mp4, mpeg, mpga, oga, ogg, wav, webm";
}

enum dl_media_kind
dl_media_named(const char *extension)
{
	for (size_t i = 0; i < TF_LEN(kinds); i++)
		if (strcmp(extension, kinds[i].extension) == 0)
			return kinds[i].kind;
	return DL_MEDIA_NONE;
}

const char *
dl_media_extension(enum dl_media_kind kind)
{
	static const char *const best[] = {
		[DL_MEDIA_NONE] = "",
		[DL_MEDIA_WAV] = "wav",
		[DL_MEDIA_MP3] = "mp3",
		[DL_MEDIA_AAC] = "aac",
		[DL_MEDIA_MP4] = "mp4",
		[DL_MEDIA_OGG] = "ogg",
		[DL_MEDIA_FLAC] = "flac",
		[DL_MEDIA_WEBM] = "webm",
		[DL_MEDIA_MPEG] = "mpeg",
	};

	return best[kind];
}

static enum dl_media_kind
by_filename(struct tf_span filename)
{
	char extension[8];

	dl_form_extension(filename, extension, sizeof extension);
	return dl_media_named(extension);
}

void
dl_media_probe(struct tf_span bytes, struct tf_span filename, struct dl_media *out)
{
	struct tf_span b = dl_from(bytes, dl_media_id3(bytes));

	memset(out, 0, sizeof *out);
	out->kind = by_magic(b);
	if (out->kind == DL_MEDIA_NONE)
		out->kind = by_filename(filename);
	for (size_t i = 0; i < TF_LEN(kinds); i++)
		if (kinds[i].kind == out->kind && kinds[i].read != NULL) {
			out->exact = kinds[i].read(b, &out->ms);
			break;
		}
	if (!out->exact)
		out->ms = bytes.n / 8;
}
