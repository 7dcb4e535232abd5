/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Byte-level helpers shared by the files of common/json and by nobody else: white space,
 * the fast run over plain string bytes, UTF-8 sequences. TF_JSON_SCALAR leaves SSE2 out;
 * results are the same (the test suite runs against both).
 */
#ifndef TF_JSON_CHARS_H
#define TF_JSON_CHARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined __SSE2__ && !defined TF_JSON_SCALAR
#define JS_SSE2 1
#include <emmintrin.h>
#else
#define JS_SSE2 0
#endif

static inline bool
js_is_space(uint8_t c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool
js_is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

static inline const uint8_t *
js_skip_space(const uint8_t *p, const uint8_t *end)
{
	while (p < end && js_is_space(*p))
		p++;
	return p;
}

/* A byte that a string may hold as it is and that needs no look at its neighbours. */
static inline bool
js_is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#if JS_SSE2
/*
 * Non-zero bits: bytes that are not plain. With bit 1 flipped the quote (0x22) lands on 0x20,
 * right above the control characters, and bytes from 0x80 on are negative: one signed compare
 * finds all three.
 */
static inline unsigned
js_odd_mask(const uint8_t *p)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i low = _mm_cmplt_epi8(_mm_xor_si128(v, _mm_set1_epi8(2)), _mm_set1_epi8(0x21));
	__m128i esc = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));

	return (unsigned)_mm_movemask_epi8(_mm_or_si128(low, esc));
}
#endif

/* First byte of [p, end) that is not plain, or end. */
static inline const uint8_t *
js_plain_run(const uint8_t *p, const uint8_t *end)
{
#if JS_SSE2
	while (end - p >= 16) {
		unsigned m = js_odd_mask(p);

		if (m != 0)
			return p + __builtin_ctz(m);
		p += 16;
	}
#endif
	while (p < end && js_is_plain(*p))
		p++;
	return p;
}

/* First quote or backslash of [p, end), or end: for strings known to be valid. */
static inline const uint8_t *
js_quote_run(const uint8_t *p, const uint8_t *end)
{
#if JS_SSE2
	while (end - p >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i q = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
		__m128i b = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
		unsigned m = (unsigned)_mm_movemask_epi8(_mm_or_si128(q, b));

		if (m != 0)
			return p + __builtin_ctz(m);
		p += 16;
	}
#endif
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

/*
 * Behind the string whose opening quote is at p, or NULL when it does not end before end.
 * For text known to be valid; never reads outside it either way.
 */
static inline const uint8_t *
js_string_end(const uint8_t *p, const uint8_t *end)
{
	for (p = js_quote_run(p + 1, end); p < end; p = js_quote_run(p, end)) {
		if (*p == '"')
			return p + 1;
		if (end - p < 2)
			return NULL;
		p += 2;
	}
	return NULL;
}

/*
 * The UTF-8 sequence at p, whose first byte is 0x80 or above: its length 2..4, 0 when it is
 * malformed (overlong, surrogate, above U+10FFFF, stray or missing continuation), -1 when
 * good so far but cut by end.
 */
static inline int
js_utf8(const uint8_t *p, const uint8_t *end)
{
	uint8_t c = p[0], lo = 0x80, hi = 0xbf;
	int n;

	if (c < 0xc2 || c > 0xf4)
		return 0;
	n = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	if (c == 0xe0)
		lo = 0xa0;
	else if (c == 0xed)
		hi = 0x9f;
	else if (c == 0xf0)
		lo = 0x90;
	else if (c == 0xf4)
		hi = 0x8f;
	if (end - p < 2)
		return -1;
	if (p[1] < lo || p[1] > hi)
		return 0;
	for (int i = 2; i < n; i++) {
		if (p + i >= end)
			return -1;
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

/* The value of a hexadecimal digit, or -1. */
static inline int
js_hexval(uint8_t c)
{
	if (js_is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four hexadecimal digits at p, or -1. */
static inline int32_t
js_hex4(const uint8_t *p)
{
	int32_t v = 0;

	for (int i = 0; i < 4; i++) {
		int d = js_hexval(p[i]);

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/*
 * Undoes the escapes of n valid raw bytes between quotes. out holds n bytes at least (the
 * result is never longer). Returns the length. In read.c.
 */
size_t js_unescape(const uint8_t *raw, size_t n, char *out);
/* Writes the UTF-8 of a scalar value; returns its length 1..4. */
static inline size_t
js_put_utf8(uint32_t u, char *out)
{
	if (u < 0x80) {
		out[0] = (char)u;
		return 1;
	}
	if (u < 0x800) {
		out[0] = (char)(0xc0 | u >> 6);
		out[1] = (char)(0x80 | (u & 0x3f));
		return 2;
	}
	if (u < 0x10000) {
		out[0] = (char)(0xe0 | u >> 12);
		out[1] = (char)(0x80 | (u >> 6 & 0x3f));
		out[2] = (char)(0x80 | (u & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | u >> 18);
	out[1] = (char)(0x80 | (u >> 12 & 0x3f));
	out[2] = (char)(0x80 | (u >> 6 & 0x3f));
	out[3] = (char)(0x80 | (u & 0x3f));
	return 4;
}

#endif
