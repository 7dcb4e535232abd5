/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EBML as WebM and Matroska use it (RFC 8794, RFC 9559): the Duration of the Info, else the time of the last
 * block and as much again as lies between the last two. Masters of interest are entered without minding where they
 * end, so that those of unknown size, as browsers record them, need nothing of their own.
 */
#include "config.h"

#include "common/dialect/media_read.h"

enum {
	SEGMENT = 0x18538067,
	INFO = 0x1549a966,
	SCALE = 0x2ad7b1,
	DURATION = 0x4489,
	CLUSTER = 0x1f43b675,
	TIME = 0xe7,
	SIMPLE_BLOCK = 0xa3,
	GROUP = 0xa0,
	BLOCK = 0xa1,
	BLOCK_DURATION = 0x9b,
};

struct element {
	uint32_t id;
	uint64_t n; /* UINT64_MAX: unknown */
	size_t head;
};

static bool
element(struct tf_span b, struct element *e)
{
	unsigned idlen, len;

	if (b.n < 2 || b.p[0] == 0)
		return false;
	idlen = (unsigned)__builtin_clz((uint8_t)b.p[0]) - 23; /* of 32 bits, 24 are above the byte */
	if (idlen > 4 || b.n <= idlen || b.p[idlen] == 0)
		return false;
	len = (unsigned)__builtin_clz((uint8_t)b.p[idlen]) - 23;
	if (b.n < idlen + len)
		return false;
	e->id = (uint32_t)dl_be(b.p, idlen);
	e->n = dl_be(b.p + idlen, len) & ((1ull << 7 * len) - 1);
	if (e->n == (1ull << 7 * len) - 1)
		e->n = UINT64_MAX;
	e->head = idlen + len;
	return true;
}

struct tape {
	uint64_t scale;    /* ns a tick */
	double duration;   /* ticks */
	uint64_t cluster;  /* its time */
	uint64_t last, before; /* times of the last two blocks, ticks */
	uint64_t length;   /* of the last one as it says itself */
	bool some;
};

static void
value(struct tape *t, const struct element *e, const char *p)
{
	unsigned n = e->n <= 8 ? (unsigned)e->n : 0;
	uint64_t u = dl_be(p, n), at;
	float f;

	switch (e->id) {
	case SCALE:
		t->scale = u;
		break;
	case DURATION:
		if (n == 4) {
			memcpy(&f, &(uint32_t){ (uint32_t)u }, 4);
			t->duration = (double)f;
		} else if (n == 8) {
			memcpy(&t->duration, &u, 8);
		}
		break;
	case TIME:
		t->cluster = u;
		break;
	case BLOCK_DURATION:
		t->length = u;
		break;
	case SIMPLE_BLOCK:
	case BLOCK:
		/* the track's number in a few bytes, then the time against the cluster's */
		if (e->n < 4)
			break;
		n = p[0] == 0 ? 0 : (unsigned)__builtin_clz((uint8_t)p[0]) - 23;
		if (n == 0 || n + 2 > e->n)
			break;
		at = t->cluster + (uint64_t)(int64_t)(int16_t)(uint16_t)dl_be(p + n, 2);
		if (at <= INT64_MAX && (!t->some || at > t->last)) {
			t->before = t->some ? t->last : at;
			t->last = at;
			t->length = 0;
			t->some = true;
		}
		break;
	default:
		break;
	}
}

static bool
is_entered(uint32_t id)
{
	return id == SEGMENT || id == INFO || id == CLUSTER || id == GROUP;
}

/* Ticks of t->scale in ms. */
static bool
ticks(const struct tape *t, double n, uint64_t *ms)
{
	double v = n * (double)t->scale / 1e6;

	if (!(v >= 0.5 && v < (double)DL_MEDIA_MS_MAX))
		return false;
	*ms = (uint64_t)(v + 0.5);
	return true;
}

bool
dl_media_webm(struct tf_span b, uint64_t *ms)
{
	struct tape t = { .scale = 1000000 };
	struct element e;
	size_t at = 0;
	uint32_t steps = 0;

	while (element(dl_from(b, at), &e)) {
		if (++steps > 5 * DL_MEDIA_STEPS) /* a block is 20 ms: these are hours */
			return false;
		at += e.head;
		if (e.id == CLUSTER && ticks(&t, t.duration, ms))
			return true;
		if (is_entered(e.id))
			continue;
		if (e.n > b.n - at)
			break;
		value(&t, &e, b.p + at);
		at += (size_t)e.n;
	}
	if (ticks(&t, t.duration, ms))
		return true;
	return t.some && ticks(&t, (double)t.last + (double)(t.length > 0 ? t.length : t.last - t.before), ms);
}
