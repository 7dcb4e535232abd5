/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a runtime's bytes into events without copying, unless an event is cut by a read. The HTTP
 * module has a stricter reader; this one exists because this folder must not know that module, and
 * because runtimes deviate. Called by xlate.c; must not know what the data means.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/sse.h"

void
dl_sse_reset(struct dl_sse *s)
{
	tf_buf_reset(&s->buf);
	tf_buf_reset(&s->joined);
	s->line = s->seen = s->data = s->datalen = s->event = s->eventlen = 0;
	s->ndata = 0;
	s->skip_lf = s->begun = false;
}

void
dl_sse_fini(struct dl_sse *s)
{
	tf_buf_free(&s->buf);
	tf_buf_free(&s->joined);
	memset(s, 0, sizeof *s);
}

static void
forget_event(struct dl_sse *s)
{
	s->ndata = 0;
	s->data = s->datalen = s->event = s->eventlen = 0;
	tf_buf_reset(&s->joined);
}

static int
dispatch(struct dl_sse *s, const char *base, dl_sse_fn *fn, void *arg)
{
	struct tf_span event = tf_span(base + s->event, s->eventlen);
	struct tf_span data =
	    s->ndata > 1 ? tf_buf_span(&s->joined) : tf_span(base + s->data, s->datalen);
	/* white space around JSON text, or a name, says nothing; whoever reads it looks at its first byte */
	int r = s->ndata > 0 ? fn(arg, tf_span_trim(event), tf_span_trim(data)) : 0;

	forget_event(s);
	return r;
}

/* One more data line. A runtime that forgets the empty line between events is understood. */
static int
add_data(struct dl_sse *s, const char *base, struct tf_span v, dl_sse_fn *fn, void *arg)
{
	int r;

	if (s->ndata == 1 && js_valid(tf_span(base + s->data, s->datalen)) == 0) {
		r = dispatch(s, base, fn, arg);
		if (r < 0)
			return r;
	}
	if (s->ndata++ == 0) {
		s->data = (size_t)(v.p - base);
		s->datalen = v.n;
		return 0;
	}
	r = s->ndata == 2 ? tf_buf_append(&s->joined, base + s->data, s->datalen) : 0;
	if (r == 0)
		r = tf_buf_addc(&s->joined,
		    ' '); /* a line end in JSON text is white space; here none may be in it */
	return r < 0 ? r : tf_buf_addspan(&s->joined, v);
}

static bool
field(struct tf_span line, const char *name, size_t n, struct tf_span *value)
{
	if (line.n < n || memcmp(line.p, name, n) != 0 || (line.n > n && line.p[n] != ':'))
		return false;
	n += line.n > n;
	n += n < line.n && line.p[n] == ' ';
	*value = tf_span(line.p + n, line.n - n);
	return true;
}

static int
one_line(struct dl_sse *s, const char *base, struct tf_span line, dl_sse_fn *fn, void *arg)
{
	struct tf_span v;

	if (line.n == 0)
		return dispatch(s, base, fn, arg);
	if (field(line, "data", 4, &v))
		return add_data(s, base, v, fn, arg);
	if (line.p[0] == '{')
		return add_data(s, base, line, fn, arg);
	if (field(line, "event", 5, &v)) {
		s->event = (size_t)(v.p - base);
		s->eventlen = v.n;
	}
	return 0;
}

/* The line end at or after from, or NULL. */
static const char *
line_end(const char *from, const char *end)
{
	const char *lf = memchr(from, '\n', (size_t)(end - from));
	const char *cr = memchr(from, '\r', (size_t)((lf != NULL ? lf : end) - from));

	return cr != NULL ? cr : lf;
}

/* Works through base[0..n); *kept is where the unfinished event begins. */
static int
lines(struct dl_sse *s, const char *base, size_t n, size_t *kept, dl_sse_fn *fn, void *arg)
{
	const char *end = base + n, *e;
	size_t block = 0;
	int r;

	if (!s->begun && s->line == 0 && n >= 3) {
		if (memcmp(base, "\xef\xbb\xbf", 3) == 0) {
			s->line = 3;
			s->seen = 0;
		}
		s->begun = true;
	}
	for (;;) {
		if (s->skip_lf && s->line < n) {
			s->line += base[s->line] == '\n';
			s->skip_lf = false;
		}
		e = line_end(base + s->line + s->seen, end);
		if (e == NULL)
			break;
		s->begun = true; /* a mark stands before the first line or nowhere */
		s->skip_lf = *e == '\r';
		r = one_line(
		    s, base, tf_span(base + s->line, (size_t)(e - base) - s->line), fn, arg);
		s->line = (size_t)(e - base) + 1;
		s->seen = 0;
		if (r < 0)
			return r;
		if (s->ndata == 0 && s->eventlen == 0)
			block = s->line;
	}
	s->seen = n - s->line;
	*kept = block;
	return 0;
}

/* Offsets are from the first byte kept. */
static void
rebase(struct dl_sse *s, size_t by)
{
	s->line -= by;
	s->data -= s->ndata > 0 ? by : 0;
	s->event -= s->eventlen > 0 ? by : 0;
}

int
dl_sse_feed(struct dl_sse *s, const char *p, size_t n, dl_sse_fn *fn, void *arg)
{
	size_t kept = 0, max = s->max > 0 ? s->max : DL_SSE_MAX;
	int r;

	if (n == 0)
		return 0;
	if (s->buf.n == 0) {
		r = lines(s, p, n, &kept, fn, arg);
		if (r < 0)
			return r;
		rebase(s, kept);
		r = kept < n ? tf_buf_append(&s->buf, p + kept, n - kept) : 0;
	} else {
		r = tf_buf_append(&s->buf, p, n);
		if (r < 0)
			return r;
		r = lines(s, s->buf.p, s->buf.n, &kept, fn, arg);
		if (r < 0)
			return r;
		rebase(s, kept);
		tf_buf_shift(&s->buf, kept);
	}
	if (r < 0)
		return r;
	return s->buf.n > max || s->joined.n > max ? TF_E_FULL : 0;
}

int
dl_sse_end(struct dl_sse *s, dl_sse_fn *fn, void *arg)
{
	/* at most one line end and an empty line are missing */
	return dl_sse_feed(s, "\n\n", 2, fn, arg);
}
