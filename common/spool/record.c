/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of a segment.
 *
 *	head (256 bytes)  0 "TFSPOOL" 0   8 version u32   12 number u32   16 boot u64   24 size u64
 *	                  32 made, ms since 1970, i64   40 name, 104 bytes   252 CRC of all before
 *	record            0 CRC of 8 .. end of payload, begun with the head's CRC   4 mark: 'D' delivered, 0
 *	                  5 zeros   8 bytes of payload u32   12 kind   13 zeros   16 id   32 attempt u32
 *	                  36 slot u32   40 seq u64   48 payload, zeros up to a multiple of 8
 *
 * The CRC begins with that of the head, so that a record of another file is none here. Behind the last
 * record the file holds zeros, as it was preallocated.
 */
#include "config.h"

#include "common/spool/spool.h"

#define MARK 'D'

static const char magic[8] = "TFSPOOL";

static void
put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void
put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t
get32(const char *s)
{
	const uint8_t *p = (const uint8_t *)s;

	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t
get64(const char *s)
{
	return get32(s) | (uint64_t)get32(s + 4) << 32;
}

/* ---- head ------------------------------------------------------------------------------------ */

void
sp_head_write(const struct sp_head *h, uint8_t out[static SP_HEAD])
{
	memset(out, 0, SP_HEAD);
	memcpy(out, magic, sizeof magic);
	put32(out + 8, SP_VERSION);
	put32(out + 12, h->number);
	put64(out + 16, h->boot);
	put64(out + 24, h->size);
	put64(out + 32, (uint64_t)h->made_ms);
	memcpy(out + 40, h->name, strnlen(h->name, SP_NAME_MAX - 1));
	put32(out + SP_HEAD - 4, tf_crc32(0, out, SP_HEAD - 4));
}

int
sp_head_read(struct tf_span file, struct sp_head *out, uint32_t *seed)
{
	if (file.n < SP_HEAD || memcmp(file.p, magic, sizeof magic) != 0 || get32(file.p + 8) != SP_VERSION)
		return TF_E_PROTO;
	*seed = get32(file.p + SP_HEAD - 4);
	if (*seed != tf_crc32(0, file.p, SP_HEAD - 4) || file.p[40 + SP_NAME_MAX - 1] != 0)
		return TF_E_INVAL;
	*out = (struct sp_head){ .number = get32(file.p + 12), .boot = get64(file.p + 16), .size = get64(file.p + 24),
		.made_ms = (int64_t)get64(file.p + 32) };
	memcpy(out->name, file.p + 40, SP_NAME_MAX);
	return 0;
}

/* ---- records --------------------------------------------------------------------------------- */

int
sp_record_write(struct tf_buf *out, uint32_t seed, const struct sp_rec *r)
{
	size_t n = sp_record_size(r->payload.n);
	uint8_t *p;

	if (r->payload.n > SP_PAYLOAD_MAX)
		return TF_E_RANGE;
	if (tf_buf_reserve(out, n) != 0)
		return TF_E_NOMEM;
	p = (uint8_t *)out->p + out->n;
	memset(p, 0, SP_RECORD);
	memset(p + n - 8, 0, 8);
	put32(p + 8, (uint32_t)r->payload.n);
	p[12] = (uint8_t)r->kind;
	memcpy(p + 16, r->id.b, sizeof r->id.b);
	put32(p + 32, r->attempt);
	put32(p + 36, r->slot);
	put64(p + 40, r->seq);
	if (r->payload.n > 0)
		memcpy(p + SP_RECORD, r->payload.p, r->payload.n);
	put32(p, tf_crc32(seed, p + 8, SP_RECORD - 8 + r->payload.n));
	p[4] = r->delivered ? MARK : 0;
	out->n += n;
	return 0;
}

/* Could a record begin here, as far as a glance tells? Spares the CRC of what cannot be one. */
static bool
looks_like(struct tf_span file, uint64_t at)
{
	const char *p = file.p + at;
	uint32_t n = get32(p + 8);

	return (p[12] == SP_BEGIN || p[12] == SP_END) && n <= SP_PAYLOAD_MAX && sp_record_size(n) <= file.n - at &&
	    p[13] == 0 && p[14] == 0 && p[15] == 0 && (p[4] == 0 || p[4] == MARK) && p[5] == 0 && p[6] == 0 && p[7] == 0;
}

int
sp_record_read(struct tf_span file, uint32_t seed, uint64_t at, struct sp_rec *out)
{
	const char *p = file.p + at;
	uint32_t n;

	if (at < SP_HEAD || at % 8 != 0 || at > file.n || file.n - at < SP_RECORD || !looks_like(file, at))
		return 0;
	n = get32(p + 8);
	if (get32(p) != tf_crc32(seed, p + 8, SP_RECORD - 8 + n))
		return 0;
	*out = (struct sp_rec){ .kind = (enum sp_kind)p[12], .attempt = get32(p + 32), .slot = get32(p + 36),
		.seq = get64(p + 40), .delivered = p[4] == MARK, .payload = tf_span(p + SP_RECORD, n), .at = at };
	memcpy(out->id.b, p + 16, sizeof out->id.b);
	return out->kind == SP_END && out->seq == 0 ? 0 : 1;
}

int
sp_reader_init(struct sp_reader *r, struct tf_span file)
{
	*r = (struct sp_reader){ .file = file, .at = SP_HEAD };
	return sp_head_read(file, &r->head, &r->seed);
}

static bool
all_zero(const char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* What follows the last good record: nothing, what a write left unfinished, or more records. */
static enum sp_end
what_follows(const struct sp_reader *r)
{
	struct sp_rec rec;

	if (all_zero(r->file.p + r->at, r->file.n - r->at))
		return SP_CLEAN;
	for (uint64_t at = r->at + 8; at < r->file.n; at += 8)
		if (sp_record_read(r->file, r->seed, at, &rec) == 1)
			return SP_BAD;
	return SP_TORN;
}

int
sp_next(struct sp_reader *r, struct sp_rec *out)
{
	if (sp_record_read(r->file, r->seed, r->at, out) == 1) {
		r->at += sp_record_size(out->payload.n);
		return 1;
	}
	r->end = what_follows(r);
	return 0;
}
