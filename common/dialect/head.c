/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a request as bytes, for DISPATCH.head: varints in a fixed order behind a version.
 * Written by gatewayd, read by workerd, which must not trust it.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/canon.h"

#define HEAD_VERSION 1

/* Everything but the model's name and the members, in wire order. */
#define HEAD_NUMBERS(X)                                                                            \
	X(body_len)                                                                                \
	X(stream) X(include_usage) X(flags) X(needs) X(n) X(max_output) X(prompt_bytes)            \
	    X(messages) X(tools) X(images) X(audios) X(files) X(affinity) X(audio_ms) X(characters)
#define HEAD_RANGES(X) X(root) X(model_at) X(stream_at) X(max_completion) X(max_tokens) X(options)

static int
put(struct tf_buf *out, uint64_t v)
{
	uint8_t b[10];
	size_t n = 0;

	while (v >= 0x80) {
		b[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	b[n++] = (uint8_t)v;
	return tf_buf_append(out, b, n);
}

static int
put_range(struct tf_buf *out, struct dl_range r)
{
	int e = put(out, r.start);

	return e < 0 ? e : put(out, r.end);
}

int
dl_head_encode(const struct dl_head *h, struct tf_buf *out)
{
	size_t from = out->n;
	int r = put(out, HEAD_VERSION);

	if (r == 0)
		r = put(out, (uint64_t)h->surface);
	if (r == 0)
		r = put(out, h->model_len);
	if (r == 0)
		r = tf_buf_append(out, h->model, h->model_len);
#define X(name)                                                                                    \
	if (r == 0)                                                                                \
		r = put(out, h->name);
	HEAD_NUMBERS(X)
#undef X
#define X(name)                                                                                    \
	if (r == 0)                                                                                \
		r = put_range(out, h->name);
	HEAD_RANGES(X)
#undef X
	if (r == 0)
		r = put(out, h->nmember);
	for (uint32_t i = 0; r == 0 && i < h->nmember; i++) {
		r = put(out, (uint64_t)h->member[i].why);
		if (r == 0)
			r = put_range(out, h->member[i].at);
	}
	if (r < 0)
		out->n = from;
	return r;
}

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t
get(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		uint8_t b = *r->p++;

		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80)
			return v;
	}
	r->bad = true;
	return 0;
}

static uint64_t
get_max(struct reader *r, uint64_t max)
{
	uint64_t v = get(r);

	if (v > max)
		r->bad = true;
	return r->bad ? 0 : v;
}

/* [start, end) of the body, or absent. */
static struct dl_range
get_range(struct reader *r, uint64_t body_len)
{
	uint64_t start = get_max(r, body_len), end = get_max(r, body_len);

	if (end != 0 ? start >= end : start != 0)
		r->bad = true;
	return (struct dl_range){ (uint32_t)start, (uint32_t)end };
}

static void
get_members(struct reader *r, uint64_t body_len, struct dl_head *h)
{
	h->nmember = (uint32_t)get_max(r, DL_MEMBERS_MAX);
	for (uint32_t i = 0; i < h->nmember; i++) {
		uint64_t why = get(r);

		if (why < DL_WHY_DENIED || why > DL_WHY_EMPTY)
			r->bad = true;
		h->member[i].why = (enum dl_why)(r->bad ? DL_WHY_DENIED : why);
		h->member[i].at = get_range(r, body_len);
		if (h->member[i].at.end == 0)
			r->bad = true;
	}
}

int
dl_head_decode(struct tf_span bytes, uint64_t body_len, struct dl_head *h)
{
	struct reader r = { .p = (const uint8_t *)bytes.p };
	uint64_t surface, n;

	memset(h, 0, sizeof *h);
	if (bytes.p == NULL)
		return TF_E_INVAL;
	r.end = r.p + bytes.n;
	if (get(&r) != HEAD_VERSION || body_len > DL_BODY_MAX)
		return TF_E_INVAL;
	surface = get_max(&r, DL_DIALECT_END - 1);
	n = get_max(&r, DL_MODEL_MAX);
	if (r.bad || dl_ops((enum dl_dialect)surface) == NULL || n > (size_t)(r.end - r.p))
		return TF_E_INVAL;
	h->surface = (enum dl_dialect)surface;
	h->model_len = (uint16_t)n;
	memcpy(h->model, r.p, n);
	r.p += n;
	/* numbers of the gateway's own making are bounded by their type, sizes by the body */
#define MAX_OF(name) (sizeof h->name == 8 ? UINT64_MAX : sizeof h->name == 4 ? UINT32_MAX : 1)
#define X(name) h->name = get_max(&r, MAX_OF(name));
	HEAD_NUMBERS(X)
#undef X
#define X(name) h->name = get_range(&r, body_len);
	HEAD_RANGES(X)
#undef X
	get_members(&r, body_len, h);
	if (h->n < 1 || h->n > DL_CHOICES_MAX)
		return TF_E_INVAL;
	if (r.bad || r.p != r.end || h->body_len != body_len || h->root.end == 0 ||
	    h->model_at.end == 0)
		return TF_E_INVAL;
	return 0;
}
