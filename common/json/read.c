/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads single values out of text that the scanner accepted: types, strings with their
 * escapes, numbers with their ranges. Called by everybody who holds a span; must not read
 * outside of it, whatever it holds.
 */
#include "config.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/chars.h"
#include "common/json/json.h"

enum js_type
js_type(struct tf_span text)
{
	if (text.n == 0)
		return JS_NONE;
	switch (text.p[0]) {
	case '{':
		return JS_OBJECT;
	case '[':
		return JS_ARRAY;
	case '"':
		return JS_STRING;
	case 't':
	case 'f':
		return JS_BOOL;
	case 'n':
		return JS_NULL;
	default:
		return text.p[0] == '-' || js_is_digit((uint8_t)text.p[0]) ? JS_NUMBER : JS_NONE;
	}
}

const char *
js_type_name(enum js_type type)
{
	static const char *const names[] = {
		"nothing", "null", "a boolean", "a number", "a string", "an object", "an array",
	};

	return (unsigned)type < TF_LEN(names) ? names[type] : names[0];
}

static bool
is_string(struct tf_span text)
{
	return text.n >= 2 && text.p[0] == '"' && text.p[text.n - 1] == '"';
}

/* The character of a \u escape at p, both halves of a pair taken together; *len bytes read. */
static uint32_t
unescape_u(const uint8_t *p, const uint8_t *end, size_t *len)
{
	int32_t u, low;

	*len = 2;
	if (end - p < 6 || (u = js_hex4(p + 2)) < 0)
		return '?';
	*len = 6;
	if (u < 0xd800 || u > 0xdfff)
		return (uint32_t)u;
	if (u > 0xdbff || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return 0xfffd;
	low = js_hex4(p + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 0xfffd;
	*len = 12;
	return 0x10000u + (((uint32_t)u - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u);
}

/*
 * What the escape at p (two bytes at least) stands for, 1..4 bytes, never more than the *len
 * bytes it takes. One the scanner would have refused gives '?' or U+FFFD.
 */
static size_t
unescape_one(const uint8_t *p, const uint8_t *end, char out[static 4], size_t *len)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *simple = memchr(from, p[1], sizeof from - 1);

	if (p[1] == 'u')
		return js_put_utf8(unescape_u(p, end, len), out);
	*len = 2;
	out[0] = simple != NULL ? to[simple - from] : '?';
	return 1;
}

size_t
js_unescape(const uint8_t *raw, size_t n, char *out)
{
	const uint8_t *p = raw, *end = raw + n;
	char *o = out;

	while (p < end) {
		const uint8_t *q = memchr(p, '\\', (size_t)(end - p));
		size_t len, got;
		char c[4];

		if (q == NULL || end - q < 2)
			q = end;
		memmove(o, p, (size_t)(q - p));
		o += q - p;
		p = q;
		if (p == end)
			break;
		got = unescape_one(p, end, c, &len);
		memcpy(o, c, got);
		o += got;
		p += len;
	}
	return (size_t)(o - out);
}

int
js_str_append(struct tf_span text, struct tf_buf *out)
{
	int r;

	if (!is_string(text))
		return TF_E_INVAL;
	r = tf_buf_reserve(out, text.n - 2);
	if (r < 0)
		return r;
	if (text.n > 2)
		out->n += js_unescape((const uint8_t *)text.p + 1, text.n - 2, out->p + out->n);
	return 0;
}

int
js_str(struct tf_span text, struct tf_buf *scratch, struct tf_span *out)
{
	size_t from = scratch->n;
	int r;

	if (!is_string(text))
		return TF_E_INVAL;
	if (memchr(text.p, '\\', text.n) == NULL) {
		*out = tf_span(text.p + 1, text.n - 2);
		return 0;
	}
	r = js_str_append(text, scratch);
	if (r == 0)
		*out = tf_span(scratch->p + from, scratch->n - from);
	return r;
}

/* Compares raw bytes that hold escapes. */
static bool
escaped_eq(const uint8_t *p, const uint8_t *end, struct tf_span s)
{
	while (p < end) {
		size_t len = 1, got = 1;
		char c[4] = { (char)*p };

		if (*p == '\\' && end - p >= 2)
			got = unescape_one(p, end, c, &len);
		if (got > s.n || memcmp(s.p, c, got) != 0)
			return false;
		s = tf_span(s.p + got, s.n - got);
		p += len;
	}
	return s.n == 0;
}

bool
js_str_eqn(struct tf_span text, struct tf_span s)
{
	const uint8_t *p;

	if (!is_string(text))
		return false;
	p = (const uint8_t *)text.p + 1;
	if (memchr(p, '\\', text.n - 2) != NULL)
		return escaped_eq(p, p + text.n - 2, s);
	return text.n - 2 == s.n && (s.n == 0 || memcmp(p, s.p, s.n) == 0);
}

bool
js_str_eq(struct tf_span text, const char *s)
{
	return js_str_eqn(text, tf_cspan(s));
}

/* ---- numbers ------------------------------------------------------------------------------ */

#define EXP_MAX 100000 /* beyond any number that fits: exponents saturate here */

/* A number taken apart: digits d[0..n) without leading or trailing zeros, times 10^exp. */
struct decimal {
	char d[JS_NUMBER_MAX];
	int n;
	int exp;
	bool negative;
};

/* [+-]digits at *pp. False when there is no digit. */
static bool
parse_exponent(const char **pp, const char *end, int *out)
{
	const char *p = *pp;
	bool negative = p < end && *p == '-';
	int v = 0;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (p == end || !js_is_digit((uint8_t)*p))
		return false;
	for (; p < end && js_is_digit((uint8_t)*p); p++)
		v = v > EXP_MAX ? v : v * 10 + (*p - '0');
	*out = negative ? -v : v;
	*pp = p;
	return true;
}

/* 0, or TF_E_INVAL when text is no JSON number. */
static int
parse_decimal(struct tf_span text, struct decimal *out)
{
	const char *p = text.p, *end, *from;
	bool point = false;
	int exp = 0;

	if (js_type(text) != JS_NUMBER || text.n > JS_NUMBER_MAX)
		return TF_E_INVAL;
	end = p + text.n;
	out->n = out->exp = 0;
	out->negative = *p == '-';
	p += out->negative;
	for (from = p; p < end; p++) {
		if (*p == '.' && !point && p > from) {
			point = true;
			continue;
		}
		if (!js_is_digit((uint8_t)*p))
			break;
		if (out->n > 0 || *p != '0')
			out->d[out->n++] = *p;
		out->exp -= point;
	}
	if (p == from || p[-1] == '.')
		return TF_E_INVAL;
	if (p < end && (*p | 0x20) == 'e') {
		p++;
		if (!parse_exponent(&p, end, &exp))
			return TF_E_INVAL;
	}
	if (p != end)
		return TF_E_INVAL;
	out->exp += exp;
	while (out->n > 0 && out->d[out->n - 1] == '0') {
		out->n--;
		out->exp++;
	}
	if (out->n == 0)
		out->exp = 0;
	return 0;
}

/* The magnitude of a whole number. */
static int
magnitude(struct tf_span text, uint64_t *out, bool *negative)
{
	struct decimal d;
	uint64_t v = 0;
	int r = parse_decimal(text, &d);

	if (r < 0)
		return r;
	if (d.exp < 0 || d.n + d.exp > 20)
		return TF_E_RANGE;
	for (int i = 0; i < d.n + d.exp; i++) {
		uint64_t digit = i < d.n ? (uint64_t)(d.d[i] - '0') : 0;

		if (v > (UINT64_MAX - digit) / 10)
			return TF_E_RANGE;
		v = v * 10 + digit;
	}
	*out = v;
	*negative = d.negative && v > 0;
	return 0;
}

int
js_get_u64(struct tf_span text, uint64_t *out)
{
	bool negative;
	uint64_t v;
	int r = magnitude(text, &v, &negative);

	if (r < 0)
		return r;
	if (negative)
		return TF_E_RANGE;
	*out = v;
	return 0;
}

int
js_get_i64(struct tf_span text, int64_t *out)
{
	bool negative;
	uint64_t v;
	int r = magnitude(text, &v, &negative);

	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + negative)
		return TF_E_RANGE;
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

int
js_get_double(struct tf_span text, double *out)
{
	char copy[JS_NUMBER_MAX + 1], *point;
	struct decimal d;
	double v;
	int r = parse_decimal(text, &d);

	if (r < 0)
		return r;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	point = memchr(copy, '.', text.n);
	/* strtod reads the locale's sign, one byte in the locales that Debian ships */
	if (point != NULL)
		*point = *localeconv()->decimal_point;
	v = strtod(copy, NULL);
	if (!isfinite(v))
		return TF_E_RANGE;
	*out = v;
	return 0;
}

int
js_get_bool(struct tf_span text, bool *out)
{
	if (text.n == 4 && memcmp(text.p, "true", 4) == 0)
		*out = true;
	else if (text.n == 5 && memcmp(text.p, "false", 5) == 0)
		*out = false;
	else
		return TF_E_INVAL;
	return 0;
}
