/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between media.c and the readers of the containers, one file each. Each reader appends nothing and keeps nothing:
 * bytes in, duration out. Private to this folder.
 */
#ifndef TF_DIALECT_MEDIA_READ_H
#define TF_DIALECT_MEDIA_READ_H

#include "common/dialect/media.h"

/* True: *ms is what the container says. */
bool dl_media_wav(struct tf_span b, uint64_t *ms);
bool dl_media_flac(struct tf_span b, uint64_t *ms);
bool dl_media_mp3(struct tf_span b, uint64_t *ms);
bool dl_media_aac(struct tf_span b, uint64_t *ms);
bool dl_media_mp4(struct tf_span b, uint64_t *ms);
bool dl_media_ogg(struct tf_span b, uint64_t *ms);
bool dl_media_webm(struct tf_span b, uint64_t *ms);

/* Bytes of ID3v2 tags at the front. */
size_t dl_media_id3(struct tf_span b);
/* n units at rate a second, in ms; false when rate is 0 or that is longer than DL_MEDIA_MS_MAX. */
#define DL_MEDIA_MS_MAX (1000ull * 3600 * 24 * 365)
bool dl_media_ms(uint64_t n, uint64_t rate, uint64_t *ms);

/* At most 8 bytes, which must be there; big and little endian. */
static inline uint64_t
dl_be(const char *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v = v << 8 | (uint8_t)p[i];
	return v;
}
static inline uint64_t
dl_le(const char *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = n; i > 0; i--)
		v = v << 8 | (uint8_t)p[i - 1];
	return v;
}
static inline bool
dl_tag(struct tf_span b, size_t at, const char *tag)
{
	size_t n = strlen(tag);

	return at <= b.n && b.n - at >= n && memcmp(b.p + at, tag, n) == 0;
}
static inline struct tf_span
dl_from(struct tf_span b, size_t at)
{
	return at < b.n ? tf_span(b.p + at, b.n - at) : tf_span(b.p, 0);
}

#endif
