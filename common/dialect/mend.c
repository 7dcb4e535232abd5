/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some runtimes write the bytes of a token as they are, so that a character whose bytes are spread over two
 * tokens is cut in two events, both invalid. Called by decoders for events that failed to parse: rare, not fast.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/mend.h"

/* Bytes of the character at p: its length, 0 when it is malformed, -1 when the end cuts it. */
static int
char_len(const unsigned char *p, size_t n)
{
	unsigned char c = p[0], low = 0x80, high = 0xbf;
	int len = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;

	/* no overlong forms, no surrogates, nothing beyond U+10FFFF (RFC 3629) */
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	for (int i = 1; i < len; i++) {
		if ((size_t)i == n)
			return -1;
		if (p[i] < low || p[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return len;
}

bool
dl_utf8_ok(struct tf_span s)
{
	const unsigned char *p = (const unsigned char *)(s.n > 0 ? s.p : ""), *end = p + s.n;
	int n;

	for (; p < end; p += n) {
		n = char_len(p, (size_t)(end - p));
		if (n <= 0)
			return false;
	}
	return true;
}

/* Continuation bytes at p, at most three. */
static size_t
rest_len(const unsigned char *p, const unsigned char *end)
{
	size_t n = 0;

	while (n < 3 && p + n < end && (p[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* The carried beginning and the rest at p: length of the rest when they are one character, else 0. */
static size_t
joins(const struct dl_carry *c, const unsigned char *p, const unsigned char *end)
{
	unsigned char whole[8];
	size_t rest = rest_len(p, end);
	int len;

	memcpy(whole, c->p, c->n);
	memcpy(whole + c->n, p, rest);
	len = char_len(whole, c->n + rest);
	return len > 0 && (size_t)len > c->n ? (size_t)len - c->n : 0;
}

/* The beginning of a character right before the quote that ends a string: its length, else 0. */
static size_t
cut_len(const unsigned char *p, const unsigned char *end)
{
	size_t n = 1 + (p + 1 < end ? rest_len(p + 1, end) : 0);

	return n < 4 && p + n < end && p[n] == '"' && char_len(p, n) == -1 ? n : 0;
}

/* The string at p holds nothing but more of the carried beginning: its length, else 0. */
static size_t
goes_on(const struct dl_carry *c, const unsigned char *p, const unsigned char *end)
{
	unsigned char whole[8];
	size_t rest = rest_len(p, end);

	memcpy(whole, c->p, c->n);
	memcpy(whole + c->n, p, rest);
	return rest > 0 && c->n + rest < 4 && p + rest < end && p[rest] == '"' && char_len(whole, c->n + rest) == -1 ?
	    rest : 0;
}

/* Puts the carried beginning and its rest at *pp together. */
static int
join(const struct dl_carry *c, const unsigned char **pp, size_t rest, struct tf_buf *out)
{
	int r = tf_buf_append(out, c->p, c->n);

	if (r == 0)
		r = tf_buf_append(out, *pp, rest);
	*pp += rest;
	return r;
}

/* What is no character is carried to the next event, or replaced. */
static int
odd(struct dl_carry *next, const unsigned char **pp, const unsigned char *end, struct tf_buf *out)
{
	size_t n = cut_len(*pp, end);

	if (n > 0) {
		memcpy(next->p, *pp, n);
		next->n = n;
		*pp += n;
		return 0;
	}
	*pp += 1;
	return tf_buf_append(out, "\xef\xbf\xbd", 3);
}

int
dl_mend(struct dl_carry *c, struct tf_span json, struct tf_buf *out)
{
	const unsigned char *p = (const unsigned char *)(json.n > 0 ? json.p : ""), *end = p + json.n;
	struct dl_carry next = { { 0 }, 0 };
	size_t rest, more;
	int n, r = 0;
	bool begins;

	while (r == 0 && p < end) {
		n = char_len(p, (size_t)(end - p));
		if (n > 0) {
			r = tf_buf_append(out, p, (size_t)n);
			p += n;
			continue;
		}
		/* only where a string begins can the rest of a character stand */
		begins = c->n > 0 && out->n > 0 && out->p[out->n - 1] == '"';
		rest = begins ? joins(c, p, end) : 0;
		more = begins ? goes_on(c, p, end) : 0;
		if (more > 0) {
			next = *c;
			memcpy(next.p + next.n, p, more);
			next.n += more;
			p += more;
		} else {
			r = rest > 0 ? join(c, &p, rest, out) : odd(&next, &p, end, out);
		}
		if (rest > 0 || more > 0)
			c->n = 0;
	}
	*c = next;
	return r;
}
