/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ISO base media (14496-12; QuickTime alike): the longest audio track, as its edit list cuts it; of a fragmented
 * file the end of the last fragment of that track; a segment index as the last resort.
 */
#include "config.h"

#include "common/dialect/media_read.h"

struct movie {
	uint64_t timescale, duration; /* mvhd */
	uint64_t fragments;           /* mehd, in timescale */
	/* the audio track */
	uint32_t track, trex_duration;
	uint64_t track_duration;          /* tkhd, in timescale */
	uint64_t media_scale, media_duration; /* mdhd */
	uint64_t end;                     /* of its last fragment, in media_scale */
	uint64_t index_scale, index;      /* sidx */
	uint32_t steps;
	/* the track being read */
	struct {
		uint32_t id;
		uint64_t duration, scale, media;
		bool sound;
	} t;
	/* the track fragment being read */
	struct {
		uint32_t id, duration;
		uint64_t at;
	} f;
};

struct box {
	uint32_t type;
	struct tf_span in;
};

#define TYPE(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static bool
next_box(struct movie *m, struct tf_span *rest, struct box *x)
{
	uint64_t n, head = 8;

	if (rest->n < 8 || ++m->steps > DL_MEDIA_STEPS)
		return false;
	n = dl_be(rest->p, 4);
	x->type = (uint32_t)dl_be(rest->p + 4, 4);
	if (n == 1 && rest->n >= 16) {
		n = dl_be(rest->p + 8, 8);
		head = 16;
	}
	if (n == 0 || n > rest->n)
		n = rest->n; /* to the end; or cut off */
	if (n < head)
		return false;
	x->in = tf_span(rest->p + head, (size_t)(n - head));
	*rest = tf_span(rest->p + n, rest->n - (size_t)n);
	return true;
}

/* mvhd and mdhd. All ones: not known. */
static void
header(struct tf_span b, uint64_t *scale, uint64_t *duration)
{
	if (b.n >= 32 && b.p[0] == 1) {
		*scale = dl_be(b.p + 20, 4);
		*duration = dl_be(b.p + 24, 8);
		*duration = *duration == UINT64_MAX ? 0 : *duration;
	} else if (b.n >= 20 && b.p[0] == 0) {
		*scale = dl_be(b.p + 12, 4);
		*duration = dl_be(b.p + 16, 4);
		*duration = *duration == UINT32_MAX ? 0 : *duration;
	}
}

static void
track_header(struct movie *m, struct tf_span b)
{
	if (b.n >= 36 && b.p[0] == 1) {
		m->t.id = (uint32_t)dl_be(b.p + 20, 4);
		m->t.duration = dl_be(b.p + 28, 8);
		m->t.duration = m->t.duration == UINT64_MAX ? 0 : m->t.duration;
	} else if (b.n >= 24 && b.p[0] == 0) {
		m->t.id = (uint32_t)dl_be(b.p + 12, 4);
		m->t.duration = dl_be(b.p + 20, 4);
		m->t.duration = m->t.duration == UINT32_MAX ? 0 : m->t.duration;
	}
}

static void
keep_track(struct movie *m)
{
	if (m->t.sound && (m->track == 0 || m->t.duration > m->track_duration)) {
		m->track = m->t.id;
		m->track_duration = m->t.duration;
		m->media_scale = m->t.scale;
		m->media_duration = m->t.media;
	}
}

static void
track_run(struct movie *m, struct tf_span b)
{
	uint32_t flags, n, each;
	size_t at = 8;

	if (b.n < 8)
		return;
	flags = (uint32_t)dl_be(b.p, 4) & 0xffffff;
	n = (uint32_t)dl_be(b.p + 4, 4);
	if (!(flags & 0x100)) {
		m->f.at += (uint64_t)n * m->f.duration;
		return;
	}
	at += (flags & 1 ? 4 : 0) + (flags & 4 ? 4 : 0);
	each = 4 + (flags & 0x200 ? 4 : 0) + (flags & 0x400 ? 4 : 0) + (flags & 0x800 ? 4 : 0);
	for (; n > 0 && at + each <= b.n; n--, at += each)
		m->f.at += dl_be(b.p + at, 4);
}

static void
fragment_header(struct movie *m, struct tf_span b)
{
	uint32_t flags;
	size_t at = 8;

	if (b.n < 8)
		return;
	flags = (uint32_t)dl_be(b.p, 4);
	m->f.id = (uint32_t)dl_be(b.p + 4, 4);
	at += (flags & 1 ? 8 : 0) + (flags & 2 ? 4 : 0);
	m->f.duration = flags & 8 && b.n >= at + 4 ? (uint32_t)dl_be(b.p + at, 4) : m->trex_duration;
	/* without a time of its own it follows the one before */
	m->f.at = m->f.id == m->track ? m->end : 0;
}

static void
segment_index(struct movie *m, struct tf_span b)
{
	size_t at;
	uint32_t n;

	if (b.n < 32 || (m->index_scale != 0 && m->index_scale != dl_be(b.p + 8, 4)))
		return;
	m->index_scale = dl_be(b.p + 8, 4);
	at = b.p[0] == 0 ? 20 : 28;
	n = (uint32_t)dl_be(b.p + at + 2, 2);
	for (at += 4; n > 0 && at + 12 <= b.n; n--, at += 12)
		if (!(b.p[at] & 0x80)) /* not an index of indexes */
			m->index += dl_be(b.p + at + 4, 4);
}

static void
leaf(struct movie *m, const struct box *x)
{
	struct tf_span b = x->in;

	switch (x->type) {
	case TYPE('m', 'v', 'h', 'd'):
		header(b, &m->timescale, &m->duration);
		break;
	case TYPE('t', 'k', 'h', 'd'):
		track_header(m, b);
		break;
	case TYPE('m', 'd', 'h', 'd'):
		header(b, &m->t.scale, &m->t.media);
		break;
	case TYPE('h', 'd', 'l', 'r'):
		m->t.sound |= dl_tag(b, 8, "soun");
		break;
	case TYPE('m', 'e', 'h', 'd'):
		if (b.n >= 8)
			m->fragments = dl_be(b.p + 4, b.p[0] == 1 && b.n >= 12 ? 8 : 4);
		break;
	case TYPE('t', 'r', 'e', 'x'):
		if (b.n >= 16 && dl_be(b.p + 4, 4) == m->track)
			m->trex_duration = (uint32_t)dl_be(b.p + 12, 4);
		break;
	case TYPE('t', 'f', 'h', 'd'):
		fragment_header(m, b);
		break;
	case TYPE('t', 'f', 'd', 't'):
		if (b.n >= 8)
			m->f.at = dl_be(b.p + 4, b.p[0] == 1 && b.n >= 12 ? 8 : 4);
		break;
	case TYPE('t', 'r', 'u', 'n'):
		track_run(m, b);
		break;
	case TYPE('s', 'i', 'd', 'x'):
		segment_index(m, b);
		break;
	default:
		break;
	}
}

static bool
is_container(uint32_t type)
{
	return type == TYPE('m', 'o', 'o', 'v') || type == TYPE('t', 'r', 'a', 'k') || type == TYPE('m', 'd', 'i', 'a') ||
	    type == TYPE('m', 'v', 'e', 'x') || type == TYPE('m', 'o', 'o', 'f') || type == TYPE('t', 'r', 'a', 'f');
}

#define DEPTH 6

/* The boxes of interest in order; those they stand in are left when their bytes are used up. */
static void
walk(struct movie *m, struct tf_span b)
{
	struct {
		struct tf_span rest;
		uint32_t type;
	} open[DEPTH] = { { b, 0 } };
	unsigned depth = 1;
	struct box x;

	while (depth > 0) {
		if (!next_box(m, &open[depth - 1].rest, &x)) {
			depth--;
			if (open[depth].type == TYPE('t', 'r', 'a', 'k'))
				keep_track(m);
			else if (open[depth].type == TYPE('t', 'r', 'a', 'f') && m->f.id == m->track && m->f.at > m->end)
				m->end = m->f.at;
			continue;
		}
		if (!is_container(x.type) || depth == DEPTH) {
			leaf(m, &x);
			continue;
		}
		if (x.type == TYPE('t', 'r', 'a', 'k'))
			memset(&m->t, 0, sizeof m->t);
		else if (x.type == TYPE('t', 'r', 'a', 'f'))
			memset(&m->f, 0, sizeof m->f);
		open[depth].rest = x.in;
		open[depth++].type = x.type;
	}
}

bool
dl_media_mp4(struct tf_span b, uint64_t *ms)
{
	struct movie m = { 0 };

	walk(&m, b);
	/* a fragmented file says nothing in front, or how long its first piece is */
	if (m.end > m.media_duration)
		return dl_media_ms(m.end, m.media_scale, ms);
	if (m.track_duration > 0 && m.fragments == 0)
		return dl_media_ms(m.track_duration, m.timescale, ms);
	if (m.media_duration > 0 && m.fragments == 0)
		return dl_media_ms(m.media_duration, m.media_scale, ms);
	if (m.fragments > 0)
		return dl_media_ms(m.fragments, m.timescale, ms);
	if (m.duration > 0)
		return dl_media_ms(m.duration, m.timescale, ms);
	return m.index > 0 && dl_media_ms(m.index, m.index_scale, ms);
}
