/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, numbers and small text work of HTTP: methods, status and refusal tables, percent
 * decoding, paths, queries, outgoing fields. No sockets, no state.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/http/http.h"
#include "common/http/http_int.h"

static const struct {
	const char	*symbol, *text;
	int		 status;
} refusals[HTTP_R_N] = {
	[HTTP_R_NONE] = { "NONE", "The request is in order.", 200 },
#define REFUSE(sym, code, sentence) [HTTP_R_##sym] = { #sym, sentence, code },
#include "common/http/refuse.def"
#undef REFUSE
};

static const char *const methods[HTTP_M_N] = {
	[HTTP_M_UNKNOWN] = "",
#define METHOD(sym) [HTTP_M_##sym] = #sym,
#include "common/http/method.def"
#undef METHOD
};

int
http_refusal_status(enum http_refusal r)
{
	return refusals[r].status;
}

const char *
http_refusal_symbol(enum http_refusal r)
{
	return refusals[r].symbol;
}

const char *
http_refusal_text(enum http_refusal r)
{
	return refusals[r].text;
}

const char *
http_method_name(enum http_method m)
{
	return methods[m];
}

const char *
http_status_text(int status)
{
	switch (status) {
#define STATUS(code, text) case code: return text;
#include "common/http/status.def"
#undef STATUS
	default:
		return "Unknown";
	}
}

static ssize_t
decode(struct tf_span in, char *out, size_t cap, bool plus)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		int c = (unsigned char)in.p[i];

		if (c == '%') {
			int hi, lo;

			if (in.n - i < 3 || (hi = http_hex((unsigned char)in.p[i + 1])) < 0 ||
			    (lo = http_hex((unsigned char)in.p[i + 2])) < 0 || hi + lo == 0)
				return -1;
			c = hi << 4 | lo;
			i += 2;
		} else if (plus && c == '+') {
			c = ' ';
		}
		if (n == cap)
			return -1;
		out[n++] = (char)c;
	}
	return (ssize_t)n;
}

ssize_t
http_pct_decode(struct tf_span in, char *out, size_t cap)
{
	return decode(in, out, cap, false);
}

ssize_t
http_query_decode(struct tf_span in, char *out, size_t cap)
{
	return decode(in, out, cap, true);
}

bool
http_path_next(struct tf_span path, size_t *pos, struct tf_span *segment)
{
	const char *slash;
	size_t from;

	if (*pos >= path.n)
		return false;
	from = path.p[*pos] == '/' ? *pos + 1 : *pos;
	slash = memchr(path.p + from, '/', path.n - from);
	*pos = slash != NULL ? (size_t)(slash - path.p) : path.n;
	*segment = (struct tf_span){ path.p + from, *pos - from };
	return true;
}

bool
http_query_next(struct tf_span query, size_t *pos, struct tf_span *name, struct tf_span *value)
{
	struct tf_span pair;
	const char *cut;

	while (*pos < query.n && query.p[*pos] == '&')
		(*pos)++;
	if (*pos >= query.n)
		return false;
	cut = memchr(query.p + *pos, '&', query.n - *pos);
	pair.p = query.p + *pos;
	pair.n = (cut != NULL ? (size_t)(cut - query.p) : query.n) - *pos;
	*pos += pair.n;
	cut = memchr(pair.p, '=', pair.n);
	*name = (struct tf_span){ pair.p, cut != NULL ? (size_t)(cut - pair.p) : pair.n };
	*value = (struct tf_span){ NULL, 0 };
	if (cut != NULL)
		*value = (struct tf_span){ cut + 1, pair.n - name->n - 1 };
	return true;
}

void
http_fields_init(struct http_fields *f)
{
	f->len = 0;
	f->bad = false;
}

void
http_fields_add_str(struct http_fields *f, const char *name, struct tf_span value)
{
	size_t n = strlen(name), need = n + value.n + 4;
	char *p = f->buf + f->len;

	if (f->bad || n == 0 || need > sizeof(f->buf) - f->len ||
	    !http_all(name, n, HTTP_CT_TOKEN) || !http_all(value.p, value.n, HTTP_CT_VALUE)) {
		f->bad = true;
		return;
	}
	memcpy(p, name, n);
	memcpy(p + n, ": ", 2);
	if (value.n > 0)
		memcpy(p + n + 2, value.p, value.n);
	memcpy(p + n + 2 + value.n, "\r\n", 2);
	f->len += (uint32_t)need;
}

void
http_fields_add(struct http_fields *f, const char *name, const char *value)
{
	http_fields_add_str(f, name, (struct tf_span){ value, strlen(value) });
}

void
http_fields_add_u64(struct http_fields *f, const char *name, uint64_t v, const char *unit)
{
	size_t n = strlen(unit), at = 20;
	char value[32];

	if (n > sizeof value - at) {
		f->bad = true;
		return;
	}
	memcpy(value + at, unit, n);
	do
		value[--at] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	http_fields_add_str(f, name, (struct tf_span){ value + at, 20 + n - at });
}

void
http_fields_addf(struct http_fields *f, const char *name, const char *fmt, ...)
{
	char value[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(value))
		f->bad = true;
	else
		http_fields_add_str(f, name, (struct tf_span){ value, (size_t)n });
}
