/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base64 of RFC 4648, section 4: with padding, without line breaks. Called by whoever carries bytes in text.
 */
#include "config.h"

#include <string.h>

#include "common/base/base.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int
tf_b64_encode(struct tf_span bytes, struct tf_buf *out)
{
	const uint8_t *p = (const uint8_t *)bytes.p;
	size_t n = bytes.n;
	char *to;

	if (n == 0)
		return 0;
	if (n > SIZE_MAX / 2 || tf_buf_reserve(out, (n + 2) / 3 * 4) < 0)
		return TF_E_NOMEM;
	to = out->p + out->n;
	for (; n >= 3; n -= 3, p += 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

		*to++ = letters[v >> 18];
		*to++ = letters[v >> 12 & 63];
		*to++ = letters[v >> 6 & 63];
		*to++ = letters[v & 63];
	}
	if (n > 0) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0);

		*to++ = letters[v >> 18];
		*to++ = letters[v >> 12 & 63];
		*to++ = n > 1 ? letters[v >> 6 & 63] : '=';
		*to++ = '=';
	}
	out->n = (size_t)(to - out->p);
	return 0;
}

/* 0..63; 64 for what is no letter. */
static uint32_t
value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26u;
	if (c >= '0' && c <= '9')
		return c - '0' + 52u;
	return c == '+' ? 62 : c == '/' ? 63 : 64;
}

/* The last four letters, which may end in padding; bits beyond the bytes must be zero. */
static int
decode_tail(const uint8_t *p, char *to, size_t *n)
{
	uint32_t a = value_of(p[0]), b = value_of(p[1]), c = value_of(p[2]), d = value_of(p[3]);

	if (a > 63 || b > 63 || (c > 63 && (p[2] != '=' || p[3] != '=')) || (d > 63 && p[3] != '='))
		return TF_E_INVAL;
	*n = c > 63 ? 1 : d > 63 ? 2 : 3;
	if ((*n == 1 && (b & 15) != 0) || (*n == 2 && (c & 3) != 0))
		return TF_E_INVAL;
	to[0] = (char)(a << 2 | b >> 4);
	to[1] = (char)(b << 4 | (c & 63) >> 2);
	to[2] = (char)(c << 6 | (d & 63));
	return 0;
}

int
tf_b64_decode(struct tf_span text, struct tf_buf *out)
{
	const uint8_t *p = (const uint8_t *)text.p;
	size_t groups = text.n / 4, n;
	char *to;

	if (text.n % 4 != 0)
		return TF_E_INVAL;
	if (groups == 0)
		return 0;
	if (tf_buf_reserve(out, groups * 3) < 0)
		return TF_E_NOMEM;
	to = out->p + out->n;
	for (size_t i = 0; i + 1 < groups; i++, p += 4, to += 3) {
		uint32_t a = value_of(p[0]), b = value_of(p[1]), c = value_of(p[2]), d = value_of(p[3]);

		if ((a | b | c | d) > 63)
			return TF_E_INVAL;
		to[0] = (char)(a << 2 | b >> 4);
		to[1] = (char)(b << 4 | c >> 2);
		to[2] = (char)(c << 6 | d);
	}
	if (decode_tail(p, to, &n) < 0)
		return TF_E_INVAL;
	out->n = (size_t)(to - out->p) + n;
	return 0;
}
