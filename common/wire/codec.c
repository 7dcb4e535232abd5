/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames to structs and back, driven by descriptors that the message table expands to.
 * Never asserts on received bytes. Knows nothing of links. Called by the links for every
 * frame, and by daemons for records inside R fields.
 */
#include "config.h"

#include "common/wire/wire.h"

#include "common/wire/codec.h"

enum { REQ = 1, OPT = 0 };

/* directions of wire.def */
enum {
	GW_RT = 1 << 0,
	RT_GW = 1 << 1,
	RT_WK = 1 << 2,
	WK_RT = 1 << 3,
	GW_WK = 1 << 4,
	WK_GW = 1 << 5,
	GW_BL = 1 << 6,
	BL_GW = 1 << 7,
	GW_ST = 1 << 8,
	ST_GW = 1 << 9,
	ANY_ANY = 0x3ff,
};

struct field {
	uint8_t number; /* 0: end of the table */
	char type;      /* U S B R */
	bool req;
	uint16_t off; /* in the struct */
};

struct desc {
	const char *name;
	const struct field *fields; /* dense: field n is fields[n - 1] */
	unsigned n;
	unsigned dir;
	uint32_t size;
};

#define T_U 'U'
#define T_S 'S'
#define T_B 'B'
#define T_R 'R'

#define M(num, NAME, suffix, dir, help) \
	typedef struct wire_##suffix struct_##NAME; \
	static const struct field fields_##NAME[] = { WIRE_FIELDS_##NAME(F) { 0, 0, 0, 0 } };
#define F(msg, num, type, name, need, help) { num, T_##type, need, offsetof(struct_##msg, name) },
WIRE_MESSAGES(M)
#undef M
#define M(NAME, suffix) \
	typedef struct wire_##suffix struct_##NAME; \
	static const struct field fields_##NAME[] = { WIRE_FIELDS_##NAME(F) { 0, 0, 0, 0 } };
WIRE_RECORDS(M)
#undef M
#undef F

#define DESC(NAME, suffix, dir) \
	{ #NAME, fields_##NAME, TF_LEN(fields_##NAME) - 1, dir, sizeof(struct wire_##suffix) }
static const struct desc messages[WIRE_VERB_END] = {
#define M(num, NAME, suffix, dir, help) [num] = DESC(NAME, suffix, dir),
	WIRE_MESSAGES(M)
#undef M
};
#define M(NAME, suffix) static const struct desc record_##suffix = DESC(NAME, suffix, 0);
WIRE_RECORDS(M)
#undef M

/* ---- texts -------------------------------------------------------------------------------- */

#define TEXT_OF(what, ROWS) \
	const char *wire_##what##_text(uint64_t v) \
	{ \
		switch (v) { \
			ROWS(E) \
		default: \
			return "?"; \
		} \
	}
#define E(num, NAME, text) \
	case num: \
		return text;
TEXT_OF(role, WIRE_ROLES)
TEXT_OF(outcome, WIRE_OUTCOMES)
TEXT_OF(cancel, WIRE_CANCELS)
TEXT_OF(key_status, WIRE_KEY_STATUSES)
TEXT_OF(kind, WIRE_KINDS)
TEXT_OF(scope, WIRE_SCOPES)
TEXT_OF(claim_state, WIRE_CLAIM_STATES)
#undef E

const char *
wire_verb_text(unsigned verb)
{
	return verb < WIRE_VERB_END && messages[verb].name ? messages[verb].name : "?";
}

bool
wire_verb_known(unsigned verb)
{
	return verb < WIRE_VERB_END && messages[verb].name != NULL;
}

bool
wire_allowed(unsigned verb, enum wire_role from, enum wire_role to)
{
	static const struct {
		uint8_t from, to;
		uint16_t dir;
	} pairs[] = {
		{ WIRE_ROLE_GW, WIRE_ROLE_RT, GW_RT }, { WIRE_ROLE_RT, WIRE_ROLE_GW, RT_GW },
		{ WIRE_ROLE_RT, WIRE_ROLE_WK, RT_WK }, { WIRE_ROLE_WK, WIRE_ROLE_RT, WK_RT },
		{ WIRE_ROLE_GW, WIRE_ROLE_WK, GW_WK }, { WIRE_ROLE_WK, WIRE_ROLE_GW, WK_GW },
		{ WIRE_ROLE_GW, WIRE_ROLE_BL, GW_BL }, { WIRE_ROLE_BL, WIRE_ROLE_GW, BL_GW },
		{ WIRE_ROLE_GW, WIRE_ROLE_ST, GW_ST }, { WIRE_ROLE_ST, WIRE_ROLE_GW, ST_GW },
	};

	if (!wire_verb_known(verb))
		return false;
	for (size_t i = 0; i < TF_LEN(pairs); i++)
		if (pairs[i].from == from && pairs[i].to == to)
			return (messages[verb].dir & pairs[i].dir) != 0;
	return false;
}

/* ---- little-endian numbers; the configure script refuses other hosts ------------------------ */

static uint16_t
get16(const char *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static uint32_t
get32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return v;
}

static char *
put_tlv(char *p, unsigned number, const void *v, size_t n)
{
	uint16_t num[2] = { (uint16_t)number, 0 };
	uint32_t len = (uint32_t)n;

	memcpy(p, num, 4);
	memcpy(p + 4, &len, 4);
	if (n > 0)
		memcpy(p + WIRE_TLV, v, n);
	return p + WIRE_TLV + n;
}

static bool
ascii8(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return (v & UINT64_C(0x8080808080808080)) == 0;
}

/* RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF. */
static bool
utf8_ok(struct tf_span s)
{
	const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;

	while (p < end) {
		unsigned more, lo = 0x80, hi = 0xbf;

		if (end - p >= 8 && ascii8(p)) {
			p += 8;
			continue;
		}
		if (*p < 0x80) {
			p++;
			continue;
		}
		if (*p < 0xc2 || *p > 0xf4)
			return false;
		more = *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
		if (*p == 0xe0)
			lo = 0xa0;
		else if (*p == 0xed)
			hi = 0x9f;
		else if (*p == 0xf0)
			lo = 0x90;
		else if (*p == 0xf4)
			hi = 0x8f;
		if ((size_t)(end - p) <= more || p[1] < lo || p[1] > hi)
			return false;
		for (unsigned i = 2; i <= more; i++)
			if ((p[i] & 0xc0) != 0x80)
				return false;
		p += more + 1;
	}
	return true;
}

/* ---- decoding ----------------------------------------------------------------------------- */

int
wire_frame_read(struct tf_span in, struct wire_frame *out, size_t *used)
{
	uint32_t fields, payload;

	if (in.n < WIRE_HEAD || in.p[0] != 'T' || in.p[1] != 'F')
		return TF_E_INVAL;
	fields = get32(in.p + 8);
	payload = get32(in.p + 12);
	if (fields > WIRE_FIELDS_MAX || payload > WIRE_PAYLOAD_MAX ||
	    (size_t)fields + payload > in.n - WIRE_HEAD)
		return TF_E_INVAL;
	memset(out, 0, sizeof *out);
	out->major = (uint8_t)in.p[2];
	out->minor = (uint8_t)in.p[3];
	out->verb = (uint8_t)in.p[4];
	out->flags = (uint8_t)in.p[5];
	out->seq = get16(in.p + 6);
	out->attempt = get32(in.p + 16);
	memcpy(out->id.b, in.p + 20, sizeof out->id.b);
	out->fields = tf_span(in.p + WIRE_HEAD, fields);
	out->payload = tf_span(in.p + WIRE_HEAD + fields, payload);
	*used = (size_t)WIRE_HEAD + fields + payload;
	out->raw = tf_span(in.p, *used);
	return 0;
}

/* One field's bytes v into its member; rest starts at the field's header. */
static int
dec_value(const struct field *f, struct tf_span v, struct tf_span rest, char *out)
{
	switch (f->type) {
	case 'U':
		if (v.n != sizeof(uint64_t))
			return TF_E_INVAL;
		memcpy(out + f->off, v.p, sizeof(uint64_t));
		return 0;
	case 'S':
		if (v.n > WIRE_TEXT_MAX || !utf8_ok(v))
			return TF_E_INVAL;
		/* fallthrough */
	case 'B':
		memcpy(out + f->off, &v, sizeof v);
		return 0;
	default: {
		struct wire_rep r = { rest.p, rest.n, f->number };

		memcpy(out + f->off, &r, sizeof r);
		return 0;
	}
	}
}

static int
dec_fields(const struct desc *d, struct tf_span in, void *out)
{
	uint64_t has = 0;
	int rc;

	memset(out, 0, d->size);
	while (in.n > 0) {
		unsigned number;
		struct tf_span v;
		bool again;

		if (in.n < WIRE_TLV || get16(in.p + 2) != 0 || get32(in.p + 4) > in.n - WIRE_TLV)
			return TF_E_INVAL;
		number = get16(in.p);
		v = tf_span(in.p + WIRE_TLV, get32(in.p + 4));
		if (number >= 1 && number <= d->n) {
			const struct field *f = &d->fields[number - 1];

			again = (has >> number & 1) != 0;
			if (again && f->type != 'R')
				return TF_E_INVAL;
			has |= UINT64_C(1) << number;
			if (!again && (rc = dec_value(f, v, in, out)) != 0)
				return rc;
		}
		in = tf_span(v.p + v.n, in.n - WIRE_TLV - v.n);
	}
	for (unsigned i = 0; i < d->n; i++)
		if (d->fields[i].req && !(has >> d->fields[i].number & 1))
			return TF_E_INVAL;
	memcpy(out, &has, sizeof has);
	return 0;
}

int
wire_dec(const struct wire_frame *f, union wire_any *out)
{
	if (!wire_verb_known(f->verb))
		return TF_E_NOENT;
	return dec_fields(&messages[f->verb], f->fields, out);
}

bool
wire_next(struct wire_rep *it, struct tf_span *out)
{
	while (it->number != 0 && it->n >= WIRE_TLV) {
		unsigned number = get16(it->p);
		size_t n = get32(it->p + 4);

		if (n > it->n - WIRE_TLV)
			break;
		*out = tf_span(it->p + WIRE_TLV, n);
		it->p += WIRE_TLV + n;
		it->n -= WIRE_TLV + n;
		if (number == it->number)
			return true;
	}
	it->n = 0;
	return false;
}

/* ---- encoding ----------------------------------------------------------------------------- */

int
wire_rep_add(struct tf_buf *b, unsigned number, struct tf_span entry)
{
	int rc;

	if (entry.n > WIRE_FIELDS_MAX || b->n + WIRE_TLV + entry.n > WIRE_FIELDS_MAX)
		return TF_E_RANGE;
	rc = tf_buf_reserve(b, WIRE_TLV + entry.n);
	if (rc != 0)
		return rc;
	put_tlv(b->p + b->n, number, entry.p, entry.n);
	b->n += WIRE_TLV + entry.n;
	return 0;
}

/* Bytes of one field when encoded, 0 when it is left out; TF_E_RANGE above its bound. */
static int
enc_size(const struct field *f, const char *m, uint64_t has, size_t *size)
{
	bool forced = f->req || (has >> f->number & 1) != 0;

	*size = 0;
	if (f->type == 'U') {
		uint64_t v;

		memcpy(&v, m + f->off, sizeof v);
		*size = forced || v != 0 ? WIRE_TLV + sizeof v : 0;
	} else if (f->type == 'R') {
		struct wire_rep r;
		struct tf_span e;

		memcpy(&r, m + f->off, sizeof r);
		while (wire_next(&r, &e))
			*size += WIRE_TLV + e.n;
	} else {
		struct tf_span v;

		memcpy(&v, m + f->off, sizeof v);
		if (v.n > (f->type == 'S' ? WIRE_TEXT_MAX : WIRE_FIELDS_MAX))
			return TF_E_RANGE;
		*size = forced || v.n > 0 ? WIRE_TLV + v.n : 0;
	}
	return 0;
}

static char *
enc_value(const struct field *f, const char *m, char *p)
{
	struct tf_span v;

	if (f->type == 'U')
		return put_tlv(p, f->number, m + f->off, sizeof(uint64_t));
	if (f->type == 'R') {
		struct wire_rep r;

		memcpy(&r, m + f->off, sizeof r);
		while (wire_next(&r, &v))
			p = put_tlv(p, f->number, v.p, v.n);
		return p;
	}
	memcpy(&v, m + f->off, sizeof v);
	return put_tlv(p, f->number, v.p, v.n);
}

/* Appends the fields of m; the bytes appended are *n. room: extra bytes to reserve behind. */
static int
enc_fields(struct tf_buf *b, const struct desc *d, const char *m, size_t room, size_t *n)
{
	size_t sizes[64], total = 0;
	uint64_t has = 0;
	char *p;
	int rc;

	if (m != NULL)
		memcpy(&has, m, sizeof has);
	for (unsigned i = 0; m != NULL && i < d->n; i++) {
		rc = enc_size(&d->fields[i], m, has, &sizes[i]);
		if (rc != 0)
			return rc;
		total += sizes[i];
	}
	if (total > WIRE_FIELDS_MAX)
		return TF_E_RANGE;
	rc = tf_buf_reserve(b, total + room);
	if (rc != 0)
		return rc;
	p = b->p + b->n;
	for (unsigned i = 0; m != NULL && i < d->n; i++)
		if (sizes[i] > 0)
			p = enc_value(&d->fields[i], m, p);
	b->n += total;
	*n = total;
	return 0;
}

int
wire_enc(struct tf_buf *b, enum wire_verb verb, const struct tf_id *id, uint32_t attempt,
    const void *m, struct tf_span payload)
{
	size_t at = b->n, fields;
	uint32_t len[3];
	char *h;
	int rc;

	if (payload.n > WIRE_PAYLOAD_MAX)
		return TF_E_RANGE;
	rc = tf_buf_reserve(b, WIRE_HEAD);
	if (rc != 0)
		return rc;
	b->n += WIRE_HEAD;
	rc = enc_fields(b, &messages[verb], m, payload.n, &fields);
	if (rc != 0) {
		b->n = at;
		return rc;
	}
	if (payload.n > 0)
		memcpy(b->p + b->n, payload.p, payload.n);
	b->n += payload.n;
	h = b->p + at;
	memset(h, 0, WIRE_HEAD);
	h[0] = 'T';
	h[1] = 'F';
	h[2] = WIRE_MAJOR;
	h[3] = WIRE_MINOR;
	h[4] = (char)verb;
	len[0] = (uint32_t)fields;
	len[1] = (uint32_t)payload.n;
	len[2] = attempt;
	memcpy(h + 8, len, sizeof len);
	if (id != NULL)
		memcpy(h + 20, id->b, sizeof id->b);
	return 0;
}

void
wire_frame_seq(char *frame, uint16_t seq)
{
	memcpy(frame + 6, &seq, sizeof seq);
}

int
wire_patch(char *frame, size_t n, unsigned number, uint64_t v)
{
	struct wire_frame f;
	struct wire_rep it;
	struct tf_span at;
	size_t used;

	if (wire_frame_read(tf_span(frame, n), &f, &used) != 0)
		return TF_E_NOENT;
	it = (struct wire_rep){ f.fields.p, f.fields.n, number };
	if (!wire_next(&it, &at) || at.n != sizeof v)
		return TF_E_NOENT;
	memcpy(frame + (at.p - frame), &v, sizeof v);
	return 0;
}

/* ---- records ------------------------------------------------------------------------------ */

static int
rep_add_record(struct tf_buf *b, unsigned number, const struct desc *d, const void *m)
{
	struct tf_buf rec = { 0 };
	size_t n;
	int rc = enc_fields(&rec, d, m, 0, &n);

	if (rc == 0)
		rc = wire_rep_add(b, number, tf_buf_span(&rec));
	tf_buf_free(&rec);
	return rc;
}

#define M(NAME, suffix) \
	int wire_dec_##suffix(struct tf_span s, struct wire_##suffix *out) \
	{ \
		return dec_fields(&record_##suffix, s, out); \
	} \
	int wire_rep_add_##suffix(struct tf_buf *b, unsigned number, const struct wire_##suffix *m) \
	{ \
		return rep_add_record(b, number, &record_##suffix, m); \
	}
WIRE_RECORDS(M)
#undef M
