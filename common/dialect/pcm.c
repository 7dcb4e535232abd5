/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAVE to bare samples and back. Other rates are met by drawing a line between two samples: enough for speech, and
 * it costs nothing when the rate is right, which it nearly always is. Called by speech.c.
 */
#include "config.h"

#include <math.h>
#include <string.h>

#include "common/dialect/media_read.h"
#include "common/dialect/pcm.h"

#define HEADER_MAX (64u << 10)
#define CHANNELS_MAX 8

void
dl_unwave_fini(struct dl_unwave *u)
{
	tf_buf_free(&u->held);
	memset(u, 0, sizeof *u);
}

static bool
read_fmt(struct dl_unwave *u, const char *p, uint64_t n)
{
	uint64_t format;

	if (n < 16)
		return false;
	format = dl_le(p, 2);
	if (format == 0xfffe && n >= 26)
		format = dl_le(p + 24, 2);
	u->floating = format == 3;
	u->channels = (uint16_t)dl_le(p + 2, 2);
	u->rate = (uint32_t)dl_le(p + 4, 4);
	u->bits = (uint16_t)dl_le(p + 14, 2);
	if (format != 1 && format != 3)
		return false;
	return u->channels >= 1 && u->channels <= CHANNELS_MAX && u->rate >= 1000 && u->rate <= 384000 &&
	    (u->floating ? u->bits == 32 : u->bits == 8 || u->bits == 16 || u->bits == 24 || u->bits == 32);
}

/* *used: bytes up to the samples; 0 when more of the header is needed. */
static int
read_header(struct dl_unwave *u, struct tf_span b, size_t *used)
{
	size_t at = 12;

	*used = 0;
	if (b.n < 12)
		return 0;
	if (!dl_tag(b, 0, "RIFF") || !dl_tag(b, 8, "WAVE"))
		return TF_E_INVAL;
	while (b.n - at >= 8) {
		uint64_t n = dl_le(b.p + at + 4, 4);

		if (dl_tag(b, at, "data")) {
			if (u->channels == 0)
				return TF_E_INVAL;
			/* written as it was made: nobody knew the size */
			u->left = n == UINT32_MAX || n == 0 || n >= INT32_MAX ? UINT64_MAX : n;
			u->data = true;
			*used = at + 8;
			return 0;
		}
		if (b.n - at - 8 < n + (n & 1))
			break;
		if (dl_tag(b, at, "fmt ") && !read_fmt(u, b.p + at + 8, n))
			return TF_E_INVAL;
		at += 8 + (size_t)(n + (n & 1));
	}
	return b.n > HEADER_MAX ? TF_E_INVAL : 0;
}

static double
one_sample(const struct dl_unwave *u, const char *p)
{
	uint32_t v = (uint32_t)dl_le(p, u->bits / 8);
	float f;

	if (u->floating) {
		memcpy(&f, &v, sizeof f);
		return isfinite(f) ? (double)f * 32768 : 0;
	}
	if (u->bits == 8)
		return ((double)v - 128) * 256;
	return (double)(int32_t)(v << (32 - u->bits)) / 65536;
}

/* All channels of a frame as one. */
static int16_t
frame(const struct dl_unwave *u, const char *p)
{
	double sum = 0;

	for (unsigned i = 0; i < u->channels; i++)
		sum += one_sample(u, p + (size_t)i * (u->bits / 8));
	sum /= u->channels;
	return (int16_t)(sum > 32767 ? 32767 : sum < -32768 ? -32768 : lrint(sum));
}

static int
put_sample(struct tf_buf *out, int32_t v)
{
	char b[2] = { (char)(v & 0xff), (char)(v >> 8 & 0xff) };

	return tf_buf_append(out, b, 2);
}

/* One more frame of the file; the samples that lie between the one before and it. */
static int
step(struct dl_unwave *u, int16_t v, struct tf_buf *out)
{
	int r = 0;

	if (!u->some || u->rate == DL_PCM_RATE) {
		u->last = v;
		u->next = u->rate;
		u->some = true;
		return put_sample(out, v);
	}
	for (; r == 0 && u->next <= DL_PCM_RATE; u->next += u->rate)
		r = put_sample(out, u->last + (int32_t)((int64_t)(v - u->last) * u->next / DL_PCM_RATE));
	u->next -= DL_PCM_RATE;
	u->last = v;
	return r;
}

static int
samples(struct dl_unwave *u, struct tf_span b, struct tf_buf *out)
{
	size_t each = (size_t)u->channels * (u->bits / 8), at = 0;
	int r = 0;

	if (u->left != UINT64_MAX) {
		b.n = b.n > u->left ? (size_t)u->left : b.n;
		u->left -= b.n;
	}
	if (!u->floating && u->bits == 16 && u->channels == 1 && u->rate == DL_PCM_RATE && u->held.n == 0)
		return tf_buf_addspan(out, b);
	while (r == 0 && at < b.n) {
		size_t want = each - u->held.n, n = b.n - at < want ? b.n - at : want;

		if (n == each) {
			r = step(u, frame(u, b.p + at), out);
		} else {
			r = tf_buf_append(&u->held, b.p + at, n);
			if (r == 0 && u->held.n == each) {
				r = step(u, frame(u, u->held.p), out);
				tf_buf_reset(&u->held);
			}
		}
		at += n;
	}
	return r;
}

int
dl_unwave_feed(struct dl_unwave *u, struct tf_span piece, struct tf_buf *out)
{
	struct tf_buf first;
	size_t used;
	int r;

	if (u->data)
		return samples(u, piece, out);
	r = tf_buf_addspan(&u->held, piece);
	if (r == 0)
		r = read_header(u, tf_buf_span(&u->held), &used);
	if (r < 0 || !u->data)
		return r;
	first = u->held;
	u->held = (struct tf_buf){ 0 };
	r = samples(u, tf_span(first.p + used, first.n - used), out);
	tf_buf_free(&first);
	return r;
}

int
dl_wave_header(uint32_t rate, struct tf_buf *out)
{
	uint32_t bytes = rate * 2;
	const uint8_t h[44] = {
		'R', 'I', 'F', 'F', 0xff, 0xff, 0xff, 0xff, 'W', 'A', 'V', 'E', 'f', 'm', 't', ' ', 16, 0, 0, 0, 1, 0, 1, 0,
		(uint8_t)rate, (uint8_t)(rate >> 8), (uint8_t)(rate >> 16), (uint8_t)(rate >> 24),
		(uint8_t)bytes, (uint8_t)(bytes >> 8), (uint8_t)(bytes >> 16), (uint8_t)(bytes >> 24), 2, 0, 16, 0,
		'd', 'a', 't', 'a', 0xff, 0xff, 0xff, 0xff,
	};

	return tf_buf_append(out, h, sizeof h);
}
