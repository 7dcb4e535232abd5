/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The streaming writer: JSON into a buffer, commas and escapes by itself, the first error
 * kept. Called by everything that answers or speaks to a peer. It cannot produce invalid
 * JSON except through js_w_raw, which trusts its caller.
 */
#include "config.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json/chars.h"
#include "common/json/json.h"

#define NANO 1000000000u

/* ---- strings ------------------------------------------------------------------------------ */

/* Bytes at p that one U+FFFD stands for: those that could have begun a sequence. */
static size_t
malformed_len(const uint8_t *p, const uint8_t *end)
{
	size_t n = 1;

	/* a lead byte and continuations that js_utf8 still calls unfinished belong together */
	while (n < 3 && p + n < end && (p[n] & 0xc0) == 0x80 && js_utf8(p, p + n + 1) < 0)
		n++;
	return n;
}

/* The escape of an ASCII byte that is not plain. */
static int
put_escape(struct tf_buf *out, uint8_t c)
{
	static const char letters[] = "\b\f\n\r\t\"\\", names[] = "bfnrt\"\\";
	const char *simple = c == 0 ? NULL : memchr(letters, c, sizeof letters - 1);
	char e[6] = { '\\', 'u', '0', '0' };

	if (simple != NULL) {
		e[1] = names[simple - letters];
		return tf_buf_append(out, e, 2);
	}
	e[4] = "0123456789abcdef"[c >> 4];
	e[5] = "0123456789abcdef"[c & 15];
	return tf_buf_append(out, e, 6);
}

/* What stands at p, no plain byte; *pp moves behind it. */
static int
put_odd(struct tf_buf *out, const uint8_t **pp, const uint8_t *end)
{
	const uint8_t *p = *pp;
	int n;

	if (*p < 0x80) {
		*pp = p + 1;
		return put_escape(out, *p);
	}
	n = js_utf8(p, end);
	if (n > 0) {
		*pp = p + n;
		return tf_buf_append(out, p, (size_t)n);
	}
	*pp = p + malformed_len(p, end);
	return tf_buf_append(out, "\xef\xbf\xbd", 3);
}

int
js_quote(struct tf_buf *out, struct tf_span s)
{
	/* an empty span may have no memory, and nothing is added to a null pointer */
	const uint8_t *p = (const uint8_t *)(s.p != NULL ? s.p : ""), *end = p + s.n;
	size_t from = out->n;
	int r = tf_buf_reserve(out, s.n + 2);

	if (r == 0)
		r = tf_buf_append(out, "\"", 1);
	while (r == 0 && p < end) {
		const uint8_t *q = js_plain_run(p, end);

		if (q > p)
			r = tf_buf_append(out, p, (size_t)(q - p));
		p = q;
		if (r == 0 && p < end)
			r = put_odd(out, &p, end);
	}
	if (r == 0)
		r = tf_buf_append(out, "\"", 1);
	if (r < 0)
		out->n = from;
	return r;
}

/* ---- structure ---------------------------------------------------------------------------- */

void
js_w_init(struct js_w *w, struct tf_buf *out)
{
	memset(w, 0, sizeof *w);
	w->out = out;
}

static void
fail(struct js_w *w, int err)
{
	if (w->err == 0)
		w->err = err;
}

static void
put(struct js_w *w, const void *p, size_t n)
{
	if (w->err == 0)
		fail(w, tf_buf_append(w->out, p, n));
}

static bool
in_object(const struct js_w *w)
{
	unsigned top = (unsigned)w->depth - 1;

	return w->depth > 0 && ((w->kinds[top >> 6] >> (top & 63)) & 1);
}

/* A value is about to be written: the comma before it, if one belongs there. */
static bool
begin_value(struct js_w *w)
{
	if (in_object(w) ? !w->afterkey : w->depth == 0 && w->some)
		fail(w, TF_E_STATE);
	else if (w->some && !w->afterkey)
		put(w, ",", 1);
	w->some = true;
	w->afterkey = false;
	return w->err == 0;
}

static void
open_container(struct js_w *w, bool object)
{
	uint64_t bit = (uint64_t)1 << (w->depth & 63);
	uint64_t *word;

	if (!begin_value(w))
		return;
	if (w->depth == JS_W_DEPTH) {
		fail(w, TF_E_RANGE);
		return;
	}
	word = &w->kinds[w->depth >> 6];
	*word = object ? *word | bit : *word & ~bit;
	w->depth++;
	w->some = false;
	put(w, object ? "{" : "[", 1);
}

static void
close_container(struct js_w *w, bool object)
{
	if (w->depth == 0 || in_object(w) != object || w->afterkey) {
		fail(w, TF_E_STATE);
		return;
	}
	w->depth--;
	w->some = true;
	put(w, object ? "}" : "]", 1);
}

void
js_w_object(struct js_w *w)
{
	open_container(w, true);
}

void
js_w_object_end(struct js_w *w)
{
	close_container(w, true);
}

void
js_w_array(struct js_w *w)
{
	open_container(w, false);
}

void
js_w_array_end(struct js_w *w)
{
	close_container(w, false);
}

void
js_w_keyn(struct js_w *w, struct tf_span name)
{
	if (!in_object(w) || w->afterkey)
		fail(w, TF_E_STATE);
	if (w->some)
		put(w, ",", 1);
	if (w->err == 0)
		fail(w, js_quote(w->out, name));
	put(w, ":", 1);
	w->some = true;
	w->afterkey = true;
}

void
js_w_key(struct js_w *w, const char *name)
{
	js_w_keyn(w, tf_cspan(name));
}

int
js_w_done(struct js_w *w)
{
	if (w->depth > 0 || !w->some)
		fail(w, TF_E_STATE);
	return w->err;
}

/* ---- values ------------------------------------------------------------------------------- */

void
js_w_str(struct js_w *w, struct tf_span s)
{
	if (begin_value(w))
		fail(w, js_quote(w->out, s));
}

void
js_w_cstr(struct js_w *w, const char *s)
{
	if (s == NULL)
		js_w_null(w);
	else
		js_w_str(w, tf_cspan(s));
}

void
js_w_raw(struct js_w *w, struct tf_span text)
{
	if (text.n == 0)
		fail(w, TF_E_STATE);
	if (begin_value(w))
		put(w, text.p, text.n);
}

void
js_w_compact(struct js_w *w, struct tf_span text)
{
	const uint8_t *p = (const uint8_t *)text.p, *end = p + text.n, *from;

	if (p == end)
		fail(w, TF_E_STATE);
	if (!begin_value(w))
		return;
	while ((p = from = js_skip_space(p, end)) < end) {
		while (p != NULL && p < end && !js_is_space(*p))
			p = *p == '"' ? js_string_end(p, end) : p + 1;
		if (p == NULL) /* a string without end: not valid, but not lost */
			p = end;
		put(w, from, (size_t)(p - from));
	}
}

/* Decimal digits of v, written backwards from end; returns the first. */
static char *
put_digits(uint64_t v, char *end)
{
	do
		*--end = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	return end;
}

void
js_w_u64(struct js_w *w, uint64_t v)
{
	char b[20], *p = put_digits(v, b + sizeof b);

	if (begin_value(w))
		put(w, p, (size_t)(b + sizeof b - p));
}

void
js_w_i64(struct js_w *w, int64_t v)
{
	char b[21], *p = put_digits(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, b + sizeof b);

	if (v < 0)
		*--p = '-';
	if (begin_value(w))
		put(w, p, (size_t)(b + sizeof b - p));
}

void
js_w_double(struct js_w *w, double v)
{
	char b[40], *point;

	if (!isfinite(v)) {
		fail(w, TF_E_RANGE);
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(b, sizeof b, "%.*g", digits, v);
		if (strtod(b, NULL) == v)
			break;
	}
	point = strchr(b, *localeconv()->decimal_point);
	if (point != NULL)
		*point = '.';
	if (begin_value(w))
		put(w, b, strlen(b));
}

void
js_w_bool(struct js_w *w, bool v)
{
	if (begin_value(w))
		put(w, v ? "true" : "false", v ? 4 : 5);
}

void
js_w_null(struct js_w *w)
{
	if (begin_value(w))
		put(w, "null", 4);
}

/* quote: '"' around it, or nothing. */
static void
nano(struct js_w *w, int64_t v, bool quote)
{
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v, frac = u % NANO;
	char b[40], *end = b + sizeof b, *p = end;

	if (quote)
		*--p = '"';
	if (frac > 0) {
		int digits = 9;

		for (; frac % 10 == 0; digits--)
			frac /= 10;
		for (; digits > 0; digits--, frac /= 10)
			*--p = (char)('0' + frac % 10);
		*--p = '.';
	}
	p = put_digits(u / NANO, p);
	if (v < 0)
		*--p = '-';
	if (quote)
		*--p = '"';
	if (begin_value(w))
		put(w, p, (size_t)(end - p));
}

void
js_w_nano(struct js_w *w, int64_t v)
{
	nano(w, v, true);
}

void
js_w_nano_number(struct js_w *w, int64_t v)
{
	nano(w, v, false);
}

/* ---- members ------------------------------------------------------------------------------ */

void
js_w_kstr(struct js_w *w, const char *name, struct tf_span s)
{
	js_w_key(w, name);
	js_w_str(w, s);
}

void
js_w_kcstr(struct js_w *w, const char *name, const char *s)
{
	js_w_key(w, name);
	js_w_cstr(w, s);
}

void
js_w_ki64(struct js_w *w, const char *name, int64_t v)
{
	js_w_key(w, name);
	js_w_i64(w, v);
}

void
js_w_ku64(struct js_w *w, const char *name, uint64_t v)
{
	js_w_key(w, name);
	js_w_u64(w, v);
}

void
js_w_kbool(struct js_w *w, const char *name, bool v)
{
	js_w_key(w, name);
	js_w_bool(w, v);
}

void
js_w_knull(struct js_w *w, const char *name)
{
	js_w_key(w, name);
	js_w_null(w);
}

void
js_w_kraw(struct js_w *w, const char *name, struct tf_span text)
{
	js_w_key(w, name);
	js_w_raw(w, text);
}
