/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of a message: request line or status line, and fields. Bytes in, offsets out; no
 * sockets, no allocation. Strict on purpose: whatever two parsers could read differently is
 * refused (RFC 9112, sections 2.2, 3, 5, 6 and 11.2). Called by the server and the client.
 */
#include "config.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "common/http/http.h"
#include "common/http/http_int.h"

const struct http_limits http_limits_request = { 16 * 1024, 100, 8 * 1024 };
const struct http_limits http_limits_response = { 48 * 1024, HTTP_FIELDS_MAX, 8 * 1024 };

#define T HTTP_CT_TOKEN
#define V HTTP_CT_VALUE
#define G HTTP_CT_TARGET
#define H HTTP_CT_HOST
#define TVG (T | V | G)
#define ALL (T | V | G | H)
#define VG (V | G)
#define VGH (V | G | H)
#define TEN(x) x, x, x, x, x, x, x, x, x, x

/* RFC 9110: token 5.6.2, field content 5.5; the target is any visible ASCII but '#'. */
const uint8_t http_ctype[256] = {
	['\t'] = V, [' '] = V,
	['!'] = ALL, ['"'] = VG, ['#'] = T | V, ['$'] = ALL, ['%'] = ALL, ['&'] = ALL,
	['\''] = ALL, ['('] = VGH, [')'] = VGH, ['*'] = ALL, ['+'] = ALL, [','] = VGH,
	['-'] = ALL, ['.'] = ALL, ['/'] = VG,
	['0'] = TEN(ALL), [':'] = VGH, [';'] = VGH, ['<'] = VG, ['='] = VGH, ['>'] = VG,
	['?'] = VG, ['@'] = VG,
	['A'] = TEN(ALL), TEN(ALL), ALL, ALL, ALL, ALL, ALL, ALL,
	['['] = VGH, ['\\'] = VG, [']'] = VGH, ['^'] = TVG, ['_'] = ALL, ['`'] = TVG,
	['a'] = TEN(ALL), TEN(ALL), ALL, ALL, ALL, ALL, ALL, ALL,
	['{'] = VG, ['|'] = TVG, ['}'] = VG, ['~'] = ALL,
	[128] = TEN(V), TEN(V), TEN(V), TEN(V), TEN(V), TEN(V), TEN(V), TEN(V), TEN(V), TEN(V),
	TEN(V), TEN(V), V, V, V, V, V, V, V, V,
};

static const struct {
	const char	*name;
	uint8_t		 len;
} hdr_names[HTTP_H_N] = {
#define HDR(sym, text) [HTTP_H_##sym] = { text, sizeof(text) - 1 },
#include "common/http/hdr.def"
#undef HDR
};

static int
refuse(struct http_head *h, enum http_refusal why)
{
	h->refusal = (uint8_t)why;
	return -1;
}

bool
http_all(const char *p, size_t len, uint8_t class)
{
	uint8_t ok = class;

	for (size_t i = 0; i < len; i++)
		ok &= http_ctype[(unsigned char)p[i]];
	return ok != 0;
}

static struct http_span
span(const char *base, const char *from, const char *to)
{
	return (struct http_span){ (uint16_t)(from - base), (uint16_t)(to - from) };
}

void
http_head_init(struct http_head *h, bool response, const struct http_limits *limits)
{
	assert(limits->head_max <= HTTP_HEAD_CEILING && limits->fields_max <= HTTP_FIELDS_MAX);
	/* The fields are written before they are read: not worth a kilobyte of zeroes. */
	memset(h, 0, offsetof(struct http_head, fields));
	h->limits = limits;
	h->response = response;
}

/* "HTTP/1.1": 0, or a refusal; a well-formed version that we do not speak is told apart. */
static int
parse_version(struct http_head *h, const char *p, size_t len, enum http_refusal malformed)
{
	if (len != 8 || memcmp(p, "HTTP/", 5) != 0 || p[6] != '.' ||
	    p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
		return refuse(h, malformed);
	if (p[5] != '1' || p[7] > '1')
		return refuse(h, HTTP_R_BAD_VERSION);
	h->http11 = p[7] == '1';
	h->keep_alive = h->http11;
	return 0;
}

static enum http_method
method_of(const char *p, size_t len)
{
	for (int m = HTTP_M_UNKNOWN + 1; m < HTTP_M_N; m++) {
		const char *name = http_method_name((enum http_method)m);

		if (strlen(name) == len && memcmp(name, p, len) == 0)
			return (enum http_method)m;
	}
	return HTTP_M_UNKNOWN;
}

/* Origin form, absolute form (its path counts), `*` for OPTIONS, anything for CONNECT. */
static int
parse_target(struct http_head *h, const char *base, const char *p, const char *end)
{
	const char *q;

	h->target = span(base, p, end);
	if (p == end || !http_all(p, (size_t)(end - p), HTTP_CT_TARGET))
		return refuse(h, HTTP_R_BAD_TARGET);
	if (h->method == HTTP_M_CONNECT || (h->method == HTTP_M_OPTIONS && end - p == 1 &&
	    *p == '*')) {
		h->path = h->target;
		return 0;
	}
	if (*p != '/') {
		size_t skip = (size_t)(end - p) > 7 && strncasecmp(p, "http://", 7) == 0 ? 7 :
		    (size_t)(end - p) > 8 && strncasecmp(p, "https://", 8) == 0 ? 8 : 0;

		if (skip == 0)
			return refuse(h, HTTP_R_BAD_TARGET);
		p += skip;
		for (q = p; q < end && *q != '/' && *q != '?'; q++)
			;
		if (q == p || !http_all(p, (size_t)(q - p), HTTP_CT_HOST))
			return refuse(h, HTTP_R_BAD_TARGET);
		p = q;
	}
	q = memchr(p, '?', (size_t)(end - p));
	h->path = span(base, p, q != NULL ? q : end);
	if (q != NULL)
		h->query = span(base, q + 1, end);
	return 0;
}

static int
parse_request_line(struct http_head *h, const char *base, const char *p, const char *end)
{
	const char *sp1 = memchr(p, ' ', (size_t)(end - p)), *sp2;

	if (sp1 == NULL || sp1 == p)
		return refuse(h, HTTP_R_BAD_REQUEST_LINE);
	if (!http_all(p, (size_t)(sp1 - p), HTTP_CT_TOKEN))
		return refuse(h, HTTP_R_BAD_METHOD);
	h->method_name = span(base, p, sp1);
	h->method = (uint8_t)method_of(p, (size_t)(sp1 - p));
	sp2 = memchr(sp1 + 1, ' ', (size_t)(end - sp1 - 1));
	if (sp2 == NULL || memchr(sp2 + 1, ' ', (size_t)(end - sp2 - 1)) != NULL)
		return refuse(h, HTTP_R_BAD_REQUEST_LINE);
	if (sp2 - sp1 - 1 > h->limits->target_max)
		return refuse(h, HTTP_R_TARGET_TOO_LONG);
	if (parse_version(h, sp2 + 1, (size_t)(end - sp2 - 1), HTTP_R_BAD_REQUEST_LINE) < 0)
		return -1;
	return parse_target(h, base, sp1 + 1, sp2);
}

/* A missing reason phrase, even without its space, is common enough to be let through. */
static int
parse_status_line(struct http_head *h, const char *p, const char *end)
{
	if (end - p < 12 || p[8] != ' ' || (end - p > 12 && p[12] != ' '))
		return refuse(h, HTTP_R_BAD_STATUS_LINE);
	if (parse_version(h, p, 8, HTTP_R_BAD_STATUS_LINE) < 0)
		return -1;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return refuse(h, HTTP_R_BAD_STATUS_LINE);
		h->status = (uint16_t)(h->status * 10 + (p[i] - '0'));
	}
	if (h->status < 100 || !http_all(p + 12, (size_t)(end - p - 12), HTTP_CT_VALUE))
		return refuse(h, HTTP_R_BAD_STATUS_LINE);
	return 0;
}

static int
field_length(struct http_head *h, struct tf_span v)
{
	if (h->has_length)
		return refuse(h, HTTP_R_TWO_LENGTHS);
	if (v.n == 0)
		return refuse(h, HTTP_R_BAD_LENGTH);
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] < '0' || v.p[i] > '9' || h->length > (UINT64_MAX >> 1) / 10 - 1)
			return refuse(h, HTTP_R_BAD_LENGTH);
		h->length = h->length * 10 + (uint64_t)(v.p[i] - '0');
	}
	h->has_length = true;
	return 0;
}

/* Of the connection options only close and keep-alive matter; close wins. */
static void
field_connection(struct http_head *h, struct tf_span v)
{
	size_t i = 0;
	bool close = false, keep = false;

	while (i < v.n) {
		struct tf_span t;
		size_t from;

		while (i < v.n && (v.p[i] == ' ' || v.p[i] == '\t' || v.p[i] == ','))
			i++;
		from = i;
		while (i < v.n && v.p[i] != ',')
			i++;
		t = tf_span_trim((struct tf_span){ v.p + from, i - from });
		close |= tf_span_caseeq(t, "close");
		keep |= tf_span_caseeq(t, "keep-alive");
	}
	if (close)
		h->keep_alive = false;
	else if (keep && h->first[HTTP_H_CONNECTION] == h->nfields + 1)
		h->keep_alive = true;
}

static int
field_host(struct http_head *h, struct tf_span v)
{
	if (h->response)
		return 0;
	if (h->first[HTTP_H_HOST] != h->nfields + 1)
		return refuse(h, HTTP_R_TWO_HOSTS);
	if (v.n == 0 || !http_all(v.p, v.n, HTTP_CT_HOST))
		return refuse(h, HTTP_R_BAD_HOST);
	return 0;
}

/* The fields that decide framing; the field is not counted in nfields yet. */
static int
check_field(struct http_head *h, enum http_hdr id, struct tf_span v)
{
	switch (id) {
	case HTTP_H_HOST:
		return field_host(h, v);
	case HTTP_H_CONTENT_LENGTH:
		return field_length(h, v);
	case HTTP_H_TRANSFER_ENCODING:
		if (h->chunked || !tf_span_caseeq(v, "chunked"))
			return refuse(h, HTTP_R_BAD_TRANSFER_ENCODING);
		h->chunked = true;
		return 0;
	case HTTP_H_CONNECTION:
		field_connection(h, v);
		return 0;
	case HTTP_H_EXPECT:
		if (h->response || !h->http11)
			return 0;
		if (!tf_span_caseeq(v, "100-continue"))
			return refuse(h, HTTP_R_BAD_EXPECT);
		h->expect_continue = true;
		return 0;
	default:
		return 0;
	}
}

static enum http_hdr
hdr_of(const char *p, size_t len)
{
	for (int id = HTTP_H_OTHER + 1; id < HTTP_H_N; id++) {
		if (hdr_names[id].len == len && hdr_names[id].name[0] == (p[0] | 0x20) &&
		    strncasecmp(hdr_names[id].name, p, len) == 0)
			return (enum http_hdr)id;
	}
	return HTTP_H_OTHER;
}

static int
parse_field(struct http_head *h, const char *base, const char *p, const char *end)
{
	struct http_field *f = &h->fields[h->nfields];
	const char *colon;
	struct tf_span v;

	if (*p == ' ' || *p == '\t')
		return refuse(h, HTTP_R_OBS_FOLD);
	if (h->nfields >= h->limits->fields_max)
		return refuse(h, HTTP_R_TOO_MANY_FIELDS);
	colon = memchr(p, ':', (size_t)(end - p));
	if (colon == NULL)
		return refuse(h, HTTP_R_BAD_FIELD);
	if (colon == p || !http_all(p, (size_t)(colon - p), HTTP_CT_TOKEN))
		return refuse(h, HTTP_R_BAD_NAME);
	if (!http_all(colon + 1, (size_t)(end - colon - 1), HTTP_CT_VALUE))
		return refuse(h, memchr(colon, '\r', (size_t)(end - colon)) != NULL ?
		    HTTP_R_BARE_CR : HTTP_R_BAD_VALUE);
	v = tf_span_trim((struct tf_span){ colon + 1, (size_t)(end - colon - 1) });
	f->name = span(base, p, colon);
	f->value = span(base, v.p, v.p + v.n);
	f->id = (uint8_t)hdr_of(p, (size_t)(colon - p));
	if (h->first[f->id] == 0)
		h->first[f->id] = (uint8_t)(h->nfields + 1);
	if (check_field(h, (enum http_hdr)f->id, v) < 0)
		return -1;
	h->nfields++;
	return 0;
}

/* What only the whole head can tell. */
static int
check_head(struct http_head *h)
{
	if (h->chunked && (h->has_length || !h->http11))
		return refuse(h, h->has_length ? HTTP_R_LENGTH_AND_TE :
		    HTTP_R_BAD_TRANSFER_ENCODING);
	if (!h->response && h->http11 && h->first[HTTP_H_HOST] == 0)
		return refuse(h, HTTP_R_NO_HOST);
	return 0;
}

static int
parse_line(struct http_head *h, const char *base, const char *p, const char *end)
{
	int rc;

	if (h->have_start)
		return parse_field(h, base, p, end);
	if (memchr(p, '\r', (size_t)(end - p)) != NULL)
		return refuse(h, HTTP_R_BARE_CR);
	rc = h->response ? parse_status_line(h, p, end) : parse_request_line(h, base, p, end);
	h->have_start = rc == 0;
	return rc;
}

ssize_t
http_head_parse(struct http_head *h, const char *buf, size_t len)
{
	size_t max = h->limits->head_max;
	size_t n = len > max ? max : len;

	h->base = buf;
	for (;;) {
		const char *nl = memchr(buf + h->scan, '\n', n - h->scan);
		const char *p = buf + h->line;

		/* not text at all, TLS mostly: whoever sends it waits for an answer before it goes on */
		if (!h->have_start && !h->response && n > h->line && *p != '\r' && *p != '\n' &&
		    (http_ctype[(unsigned char)*p] & T) == 0)
			return refuse(h, HTTP_R_BAD_REQUEST_LINE);
		if (nl == NULL) {
			h->scan = (uint32_t)n;
			return len >= max ? refuse(h, HTTP_R_HEAD_TOO_BIG) : 0;
		}
		if (nl == p || nl[-1] != '\r')
			return refuse(h, HTTP_R_BARE_LF);
		h->scan = h->line = (uint32_t)(nl + 1 - buf);
		if (nl - 1 == p) {
			/* RFC 9112, 2.2: one empty line before a request is skipped. */
			if (!h->have_start && p == buf && !h->response)
				continue;
			if (!h->have_start)
				return refuse(h, h->response ? HTTP_R_BAD_STATUS_LINE :
				    HTTP_R_BAD_REQUEST_LINE);
			return check_head(h) < 0 ? -1 : (ssize_t)h->line;
		}
		if (parse_line(h, buf, p, nl - 1) < 0)
			return -1;
	}
}

struct tf_span
http_head_str(const struct http_head *h, struct http_span s)
{
	return (struct tf_span){ h->base + s.off, s.len };
}

struct tf_span
http_head_get(const struct http_head *h, enum http_hdr id)
{
	if (id == HTTP_H_OTHER || h->first[id] == 0)
		return (struct tf_span){ NULL, 0 };
	return http_head_str(h, h->fields[h->first[id] - 1].value);
}

struct tf_span
http_head_find(const struct http_head *h, const char *name)
{
	for (unsigned i = 0; i < h->nfields; i++) {
		if (tf_span_caseeq(http_head_str(h, h->fields[i].name), name))
			return http_head_str(h, h->fields[i].value);
	}
	return (struct tf_span){ NULL, 0 };
}
