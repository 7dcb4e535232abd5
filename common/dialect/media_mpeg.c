/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of MPEG audio (ISO 11172-3, 13818-3, and 2.5 as it is found) and of AAC in ADTS (14496-3). The number of
 * frames is in a Xing, Info or VBRI header of the first frame, else the frames are walked.
 */
#include "config.h"

#include "common/dialect/media_read.h"

struct frame {
	uint32_t rate, samples, bytes;
	uint8_t version, layer; /* as coded: 3 is MPEG 1; 1 is layer III */
	bool mono;
};

/* b begins with a header? Free format, which has no size, is not read. */
static bool
frame_header(struct tf_span b, struct frame *f)
{
	static const uint16_t kbits[2][3][15] = {
		{ /* MPEG 1, layers III, II, I */
		    { 0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320 },
		    { 0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384 },
		    { 0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448 } },
		{ /* MPEG 2 and 2.5 */
		    { 0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160 },
		    { 0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160 },
		    { 0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256 } },
	};
	static const uint32_t rates[3] = { 44100, 48000, 32000 };
	uint32_t h, kbit;

	if (b.n < 4)
		return false;
	h = (uint32_t)dl_be(b.p, 4);
	f->version = h >> 19 & 3;
	f->layer = h >> 17 & 3;
	if (h >> 21 != 0x7ff || f->version == 1 || f->layer == 0 || (h >> 12 & 15) == 0 || (h >> 12 & 15) == 15 ||
	    (h >> 10 & 3) == 3)
		return false;
	f->rate = rates[h >> 10 & 3] >> (f->version == 3 ? 0 : f->version == 2 ? 1 : 2);
	kbit = kbits[f->version == 3 ? 0 : 1][f->layer - 1][h >> 12 & 15];
	f->samples = f->layer == 3 ? 384 : f->layer == 1 && f->version != 3 ? 576 : 1152;
	f->bytes = f->samples / 8 * kbit * 1000 / f->rate;
	if (f->layer == 3)
		f->bytes = f->bytes / 4 * 4;
	f->bytes += (h >> 9 & 1) * (f->layer == 3 ? 4 : 1);
	f->mono = (h >> 6 & 3) == 3;
	return f->bytes >= 4;
}

/* Samples that an encoder added before and behind, from the extension of a Xing header at p. */
static uint32_t
added(struct tf_span p)
{
	if (p.n < 24 || (!dl_tag(p, 0, "LAME") && !dl_tag(p, 0, "Lavc") && !dl_tag(p, 0, "Lavf")))
		return 0;
	return (uint32_t)(dl_be(p.p + 21, 3) >> 12) + (uint32_t)(dl_be(p.p + 21, 3) & 0xfff);
}

/* Frames as the first one says, and the samples to leave out. */
static bool
counted(struct tf_span b, const struct frame *f, uint64_t *frames, uint64_t *extra)
{
	size_t side = 4 + (f->version == 3 ? (f->mono ? 17 : 32) : (f->mono ? 9 : 17)), at = side + 8;
	uint32_t flags;

	*extra = 0;
	if (f->layer != 1)
		return false;
	if (dl_tag(b, 36, "VBRI") && b.n >= 36 + 18) {
		*frames = dl_be(b.p + 36 + 14, 4);
		return *frames > 0;
	}
	if ((!dl_tag(b, side, "Xing") && !dl_tag(b, side, "Info")) || b.n < side + 12)
		return false;
	flags = (uint32_t)dl_be(b.p + side + 4, 4);
	if (!(flags & 1))
		return false;
	*frames = dl_be(b.p + at, 4);
	at += 4 + (flags & 2 ? 4 : 0) + (flags & 4 ? 100 : 0) + (flags & 8 ? 4 : 0);
	*extra = added(dl_from(b, at));
	return *frames > 0;
}

/* The next place from `at` on where two frames alike follow each other, or one ends the file. */
static bool
synchronise(struct tf_span b, size_t *at, struct frame *f)
{
	struct frame next;

	for (size_t i = *at, looks = 0; i + 4 <= b.n && looks < DL_MEDIA_STEPS; i++, looks++) {
		const char *ff = memchr(b.p + i, 0xff, b.n - i);

		if (ff == NULL)
			return false;
		i = (size_t)(ff - b.p);
		if (!frame_header(dl_from(b, i), f))
			continue;
		if (i + f->bytes + 4 <= b.n &&
		    (!frame_header(dl_from(b, i + f->bytes), &next) || next.rate != f->rate || next.layer != f->layer))
			continue;
		*at = i;
		return true;
	}
	return false;
}

bool
dl_media_mp3(struct tf_span b, uint64_t *ms)
{
	struct frame first, f;
	size_t at = 0, begin;
	uint64_t frames = 0, samples = 0, extra;
	uint32_t steps = 0;

	if (b.n >= 128 && dl_tag(b, b.n - 128, "TAG"))
		b.n -= 128;
	if (!synchronise(b, &at, &first))
		return false;
	begin = at;
	if (counted(dl_from(b, at), &first, &frames, &extra)) {
		/* no frame is larger than this: fewer than that cannot be in the file */
		if (frames < (b.n - at) / 2884)
			frames = (b.n - at) / 2884;
		samples = frames * first.samples;
		return dl_media_ms(samples > extra ? samples - extra : samples, first.rate, ms);
	}
	while (b.n - at >= 4 && steps++ < DL_MEDIA_STEPS) {
		if (!frame_header(dl_from(b, at), &f) || f.rate != first.rate || f.layer != first.layer) {
			if (!synchronise(b, &at, &f) || f.rate != first.rate)
				break;
		}
		samples += f.samples;
		at = b.n - at < f.bytes ? b.n : at + f.bytes;
	}
	if (steps > DL_MEDIA_STEPS && at > begin)
		samples = (uint64_t)((double)samples * (double)(b.n - begin) / (double)(at - begin));
	return dl_media_ms(samples, first.rate, ms);
}

bool
dl_media_aac(struct tf_span b, uint64_t *ms)
{
	static const uint32_t rates[16] = { 96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025,
		8000, 7350 };
	uint64_t samples = 0, h;
	uint32_t rate = 0, steps = 0, n;
	size_t at = 0;

	while (b.n - at >= 7 && steps++ < DL_MEDIA_STEPS) {
		h = dl_be(b.p + at, 7);
		n = (uint32_t)(h >> 13 & 0x1fff);
		if (h >> 44 != 0xfff || n < 7)
			break;
		if (rate == 0)
			rate = rates[h >> 34 & 15];
		samples += 1024 * ((h & 3) + 1);
		at = b.n - at < n ? b.n : at + n;
	}
	if (steps > DL_MEDIA_STEPS && at > 0)
		samples = (uint64_t)((double)samples * (double)b.n / (double)at);
	return samples > 0 && dl_media_ms(samples, rate, ms);
}
