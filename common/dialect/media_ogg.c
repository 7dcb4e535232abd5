/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ogg pages (RFC 3533): the last granule position of each audio stream, in its own rate (Opus: RFC 7845, less its
 * pre-skip; Vorbis; FLAC in Ogg; Speex). Streams that follow each other (chained) add up.
 */
#include "config.h"

#include "common/dialect/media_read.h"

struct stream {
	bool open;
	uint32_t serial;
	uint64_t rate, skip, last;
};

/* The first packet of a stream. */
static bool
begins(struct tf_span p, struct stream *s)
{
	memset(s, 0, sizeof *s);
	if (dl_tag(p, 0, "OpusHead") && p.n >= 12) {
		s->rate = 48000;
		s->skip = dl_le(p.p + 10, 2);
	} else if (dl_tag(p, 0, "\x01vorbis") && p.n >= 16) {
		s->rate = dl_le(p.p + 12, 4);
	} else if (dl_tag(p, 0, "\x7f" "FLAC") && p.n >= 9 + 26) {
		s->rate = dl_be(p.p + 9 + 18, 8) >> 44;
	} else if (dl_tag(p, 0, "Speex   ") && p.n >= 40) {
		s->rate = dl_le(p.p + 36, 4);
	}
	return s->rate > 0;
}

static bool
ends(struct stream *s, uint64_t *ms)
{
	uint64_t one;

	if (!s->open || !dl_media_ms(s->last > s->skip ? s->last - s->skip : 0, s->rate, &one))
		return false;
	s->open = false;
	*ms += one;
	return *ms <= DL_MEDIA_MS_MAX;
}

static void
page(struct tf_span b, size_t at, size_t n, struct stream *s, uint64_t *ms)
{
	const char *p = b.p + at;
	size_t head = 27 + (uint8_t)p[26];
	uint64_t granule = dl_le(p + 6, 8);
	uint32_t serial = (uint32_t)dl_le(p + 14, 4);
	struct stream begun;

	if (p[5] & 2 && begins(tf_span(p + head, n - head), &begun)) {
		/* a second audio stream beside the first counts once that has ended */
		if (s->open && s->last == 0)
			return;
		ends(s, ms);
		*s = begun;
		s->open = true;
		s->serial = serial;
	} else if (s->open && serial == s->serial && granule <= INT64_MAX && granule > s->last) {
		s->last = granule;
	}
}

bool
dl_media_ogg(struct tf_span b, uint64_t *ms)
{
	struct stream s = { 0 };
	size_t at = 0, n;
	const char *next;

	*ms = 0;
	for (uint32_t steps = 0; b.n - at >= 27; steps++) {
		if (steps == DL_MEDIA_STEPS)
			return false;
		n = 27;
		if (dl_tag(b, at, "OggS") && b.n - at >= 27u + (uint8_t)b.p[at + 26]) {
			for (size_t i = 0, segments = (uint8_t)b.p[at + 26]; i < segments; i++)
				n += (uint8_t)b.p[at + 27 + i] + 1u;
			n = b.n - at < n ? b.n - at : n;
			page(b, at, n, &s, ms);
			at += n;
			continue;
		}
		next = memmem(b.p + at + 1, b.n - at - 1, "OggS", 4);
		if (next == NULL)
			break;
		at = (size_t)(next - b.p);
	}
	ends(&s, ms);
	return *ms > 0 && *ms <= DL_MEDIA_MS_MAX;
}
