/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events: cuts a byte stream into events and reads their fields (WHATWG HTML, 9.2.5
 * and 9.2.6), and writes them. Whole events only, so no character is ever cut. An event that
 * arrives in one piece is not copied. Knows nothing of HTTP or JSON.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/http/http.h"

#define KEEP	4096		/* a larger buffer is not kept between events */

void
http_sse_init(struct http_sse *s, size_t max)
{
	memset(s, 0, sizeof(*s));
	s->max = max;
	s->bol = true;
}

void
http_sse_fini(struct http_sse *s)
{
	free(s->buf);
	free(s->scratch);
	http_sse_init(s, s->max);
}

size_t
http_sse_unfinished(const struct http_sse *s)
{
	return s->held ? 0 : s->len;
}

/* Room for n bytes; 0 or -1. */
static int
reserve(char **buf, size_t *cap, size_t n)
{
	size_t want = *cap < 512 ? 512 : *cap;
	char *p;

	if (n <= *cap)
		return 0;
	while (want < n)
		want *= 2;
	p = realloc(*buf, want);
	if (p == NULL)
		return -1;
	*buf = p;
	*cap = want;
	return 0;
}

/* Where the event that goes on in in[] ends, its empty line included; 0 when it does not. */
static size_t
find_end(struct http_sse *s, const char *in, size_t n)
{
	size_t i = 0;

	while (i < n) {
		char c = in[i++];

		if (s->cr) {
			s->cr = false;
			if (c == '\n')
				continue;
		}
		if (c != '\n' && c != '\r') {
			s->bol = false;
			while (i < n && in[i] != '\n' && in[i] != '\r')
				i++;
			continue;
		}
		if (!s->bol) {
			s->bol = true;
			s->cr = c == '\r';
			continue;
		}
		if (c == '\r' && i < n && in[i] == '\n')
			i++;
		else
			s->skip_lf = c == '\r';
		return i;
	}
	return 0;
}

static int
add_data(struct http_sse *s, struct http_sse_event *ev, struct tf_span v, size_t most)
{
	if (!ev->has_data) {
		ev->has_data = true;
		ev->data = v;
		return 0;
	}
	if (ev->data.p != s->scratch || s->scratch == NULL) {
		if (reserve(&s->scratch, &s->scratch_cap, most) < 0)
			return -1;
		memcpy(s->scratch, ev->data.p, ev->data.n);
		ev->data.p = s->scratch;
	}
	s->scratch[ev->data.n++] = '\n';
	memcpy(s->scratch + ev->data.n, v.p, v.n);
	ev->data.n += v.n;
	return 0;
}

/* One line of an event that is not a comment. */
static int
read_field(struct http_sse *s, struct http_sse_event *ev, struct tf_span line)
{
	const char *colon = memchr(line.p, ':', line.n);
	struct tf_span name = line, value = { line.p + line.n, 0 };

	if (colon != NULL) {
		name.n = (size_t)(colon - line.p);
		value = (struct tf_span){ colon + 1, line.n - name.n - 1 };
		if (value.n > 0 && *value.p == ' ') {
			value.p++;
			value.n--;
		}
	}
	if (tf_span_is(name, "data"))
		return add_data(s, ev, value, ev->raw.n);
	if (tf_span_is(name, "event"))
		ev->event = value;
	else if (tf_span_is(name, "id") && memchr(value.p, '\0', value.n) == NULL)
		ev->id = value;
	return 0;
}

/* Reads ev->raw; MORE when there is nothing in it at all. */
static enum http_sse_kind
read_event(struct http_sse *s, struct http_sse_event *ev)
{
	const char *p = ev->raw.p, *end = p + ev->raw.n;
	bool comment = false, field = false;

	while (p < end) {
		struct tf_span line = { p, 0 };

		while (p < end && *p != '\n' && *p != '\r')
			p++;
		line.n = (size_t)(p - line.p);
		if (p < end)
			p += *p == '\r' && end - p > 1 && p[1] == '\n' ? 2 : 1;
		if (line.n == 0)
			continue;
		if (*line.p == ':') {
			comment = true;
			continue;
		}
		field = true;
		if (read_field(s, ev, line) < 0)
			return HTTP_SSE_TOO_BIG;
	}
	return field ? HTTP_SSE_EVENT : comment ? HTTP_SSE_PING : HTTP_SSE_MORE;
}

static void
release(struct http_sse *s)
{
	if (!s->held)
		return;
	s->held = false;
	s->len = 0;
	if (s->cap > KEEP) {
		free(s->buf);
		s->buf = NULL;
		s->cap = 0;
	}
	if (s->scratch_cap > KEEP) {
		free(s->scratch);
		s->scratch = NULL;
		s->scratch_cap = 0;
	}
}

/* Sets ev->raw to the next whole event, without copying if it lies in in[] entirely. */
static enum http_sse_kind
cut(struct http_sse *s, const char *in, size_t n, size_t *used, struct tf_span *raw)
{
	size_t end, take;

	if (s->skip_lf && n > 0) {
		s->skip_lf = false;
		if (*in == '\n') {
			++*used;
			in++;
			n--;
		}
	}
	if (n == 0)
		return HTTP_SSE_MORE;
	end = find_end(s, in, n);
	take = end > 0 ? end : n;
	if (take > s->max - s->len)
		return HTTP_SSE_TOO_BIG;
	*used += take;
	*raw = (struct tf_span){ in, take };
	if (end == 0 || s->len > 0) {
		if (reserve(&s->buf, &s->cap, s->len + take) < 0)
			return HTTP_SSE_TOO_BIG;
		memcpy(s->buf + s->len, in, take);
		s->len += take;
		*raw = (struct tf_span){ s->buf, s->len };
	}
	return end > 0 ? HTTP_SSE_EVENT : HTTP_SSE_MORE;
}

enum http_sse_kind
http_sse_next(struct http_sse *s, const char *in, size_t n, size_t *used,
    struct http_sse_event *ev)
{
	*used = 0;
	for (;;) {
		enum http_sse_kind kind;

		release(s);
		memset(ev, 0, sizeof(*ev));
		kind = cut(s, in + *used, n - *used, used, &ev->raw);
		if (kind != HTTP_SSE_EVENT)
			return kind;
		s->held = true;
		s->bol = true;
		if (!s->begun && ev->raw.n >= 3 && memcmp(ev->raw.p, "\xEF\xBB\xBF", 3) == 0) {
			ev->raw.p += 3;
			ev->raw.n -= 3;
		}
		s->begun = true;
		ev->event = ev->data = ev->id = (struct tf_span){ ev->raw.p, 0 };
		kind = read_event(s, ev);
		if (kind != HTTP_SSE_MORE)
			return kind;
	}
}

/* Appends to out[0..cap) if it fits; keeps counting when it does not. */
static void
put(char *out, size_t cap, size_t *len, struct tf_span s)
{
	if (*len <= cap && s.n <= cap - *len && s.n > 0)
		memcpy(out + *len, s.p, s.n);
	*len += s.n;
}

ssize_t
http_sse_format(char *out, size_t cap, const char *event, struct tf_span data)
{
	size_t len = 0, from = 0;

	if (event != NULL) {
		put(out, cap, &len, TF_SPAN("event: "));
		put(out, cap, &len, (struct tf_span){ event, strlen(event) });
		put(out, cap, &len, TF_SPAN("\n"));
	}
	for (;;) {
		const char *nl = data.n > from ? memchr(data.p + from, '\n', data.n - from) :
		    NULL;
		size_t to = nl != NULL ? (size_t)(nl - data.p) : data.n;

		put(out, cap, &len, TF_SPAN("data: "));
		put(out, cap, &len, tf_span(data.n > 0 ? data.p + from : NULL, to - from));
		put(out, cap, &len, TF_SPAN("\n"));
		if (nl == NULL)
			break;
		from = to + 1;
	}
	put(out, cap, &len, TF_SPAN("\n"));
	return len <= cap ? (ssize_t)len : -1;
}
