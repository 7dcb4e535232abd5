/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans, growable bytes and growing arrays. Everything that builds text or a frame goes through
 * here. Knows nothing of what the bytes mean.
 */
#include "config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/base.h"

#define BUF_FIRST 64 /* bytes of the first allocation */

bool
tf_span_caseeq(struct tf_span a, const char *s)
{
	return strlen(s) == a.n && (a.n == 0 || strncasecmp(a.p, s, a.n) == 0);
}

struct tf_span
tf_span_trim(struct tf_span s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

char *
tf_span_dup(struct tf_span s)
{
	char *out = malloc(s.n + 1);

	if (out == NULL)
		return NULL;
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return out;
}

int
tf_span_u64(struct tf_span s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return TF_E_INVAL;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return TF_E_INVAL;
	for (size_t i = 0; i < s.n; i++) {
		unsigned digit = (unsigned)(s.p[i] - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return TF_E_RANGE;
		v = v * 10 + digit;
	}
	if (v > max)
		return TF_E_RANGE;
	*out = v;
	return 0;
}

int
tf_buf_reserve(struct tf_buf *b, size_t more)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	char *p;

	if (more <= b->cap - b->n)
		return 0;
	if (more > SIZE_MAX / 4 - b->n)
		return TF_E_NOMEM;
	while (cap < b->n + more)
		cap *= 2;
	p = realloc(b->p, cap);
	if (p == NULL)
		return TF_E_NOMEM;
	b->p = p;
	b->cap = cap;
	return 0;
}

int
tf_buf_append(struct tf_buf *b, const void *p, size_t n)
{
	int rc;

	if (n == 0)
		return 0;
	rc = tf_buf_reserve(b, n);
	if (rc != 0)
		return rc;
	memcpy(b->p + b->n, p, n);
	b->n += n;
	return 0;
}

int
tf_buf_addstr(struct tf_buf *b, const char *s)
{
	return tf_buf_append(b, s, strlen(s));
}

int
tf_buf_addspan(struct tf_buf *b, struct tf_span s)
{
	return tf_buf_append(b, s.p, s.n);
}

int
tf_buf_addc(struct tf_buf *b, char c)
{
	return tf_buf_append(b, &c, 1);
}

int
tf_buf_vprintf(struct tf_buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int need, rc;

	/* vsnprintf wants room for its NUL, which is not counted */
	rc = tf_buf_reserve(b, BUF_FIRST);
	if (rc != 0)
		return rc;
	va_copy(again, ap);
	need = vsnprintf(b->p + b->n, b->cap - b->n, fmt, again);
	va_end(again);
	if (need < 0)
		return TF_E_NOMEM;
	if ((size_t)need >= b->cap - b->n) {
		rc = tf_buf_reserve(b, (size_t)need + 1);
		if (rc != 0)
			return rc;
		if (vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap) != need)
			return TF_E_NOMEM;
	}
	b->n += (size_t)need;
	return 0;
}

int
tf_buf_printf(struct tf_buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = tf_buf_vprintf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void
tf_buf_shift(struct tf_buf *b, size_t n)
{
	assert(n <= b->n);
	if (n == 0)
		return;
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void
tf_buf_reset(struct tf_buf *b)
{
	b->n = 0;
}

void
tf_buf_free(struct tf_buf *b)
{
	free(b->p);
	*b = (struct tf_buf){ 0 };
}

const char *
tf_buf_cstr(struct tf_buf *b)
{
	if (tf_buf_reserve(b, 1) != 0)
		return NULL;
	b->p[b->n] = '\0';
	return b->p;
}

/* ---- growing arrays ----------------------------------------------------------------------- */

void *
tf_grow_more(void *v, uint32_t *cap, size_t size, uint32_t first)
{
	uint32_t more = *cap > 0 ? 2 * *cap : first;

	assert(more > *cap);
	v = reallocarray(v, more, size);
	if (v != NULL)
		*cap = more;
	return v;
}
