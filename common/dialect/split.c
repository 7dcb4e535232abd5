/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a list, one by one, out of a JSON text that is too large to be kept. What is an entry is
 * decided by brackets and quotes alone; each entry, and at the end what is left, is then held against the
 * strict scanner. Called by surfaces whose answers are lists; knows none of them.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/split.h"
#include "common/json/json.h"

void
dl_split_init(struct dl_split *s, const char *const *names, bool bare, size_t entry_max)
{
	memset(s, 0, sizeof *s);
	s->names = names;
	s->bare = bare;
	s->entry_max = entry_max;
}

void
dl_split_fini(struct dl_split *s)
{
	tf_buf_free(&s->shell);
	tf_buf_free(&s->entry);
}

static int
keep(struct dl_split *s, const char *p, size_t n)
{
	struct tf_buf *to = s->inside ? &s->entry : &s->shell;
	size_t max = s->inside ? s->entry_max : DL_SHELL_MAX;

	return n > max || to->n > max - n ? TF_E_FULL : tf_buf_append(to, p, n);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The '[' kept last is the list's when nothing but a colon stands between it and one of its names. */
static bool
begins_list(const struct dl_split *s)
{
	struct tf_span word = tf_span(s->shell.p + s->word, s->wordlen);

	if (s->found || s->inside)
		return false;
	if (s->depth == 1)
		return s->bare;
	if (s->depth != 2 || s->wordlen == 0)
		return false;
	for (size_t i = s->word + s->wordlen; i + 1 < s->shell.n; i++)
		if (!is_blank(s->shell.p[i]) && s->shell.p[i] != ':')
			return false;
	for (size_t i = 0; s->names[i] != NULL; i++)
		if (js_str_eq(word, s->names[i]))
			return true;
	return false;
}

static void
opens(struct dl_split *s, char c)
{
	s->depth++;
	if (c != '[' || !begins_list(s))
		return;
	s->list = s->found = true;
	s->level = s->depth;
}

static int
closes(struct dl_split *s, dl_split_fn *fn, void *arg)
{
	int r;

	if (s->depth == 0)
		return TF_E_INVAL;
	s->depth--;
	if (!s->inside || s->depth > s->level)
		return 0;
	r = js_valid(tf_buf_span(&s->entry));
	if (r == 0)
		r = fn(arg, s->count, tf_buf_span(&s->entry));
	s->inside = s->comma = false;
	s->count++;
	tf_buf_reset(&s->entry);
	return r;
}

static void
quotes(struct dl_split *s)
{
	bool top = !s->inside && s->depth == 1;

	s->string = !s->string;
	if (top && s->string)
		s->word = s->shell.n - 1;
	if (top)
		s->wordlen = s->string ? 0 : s->shell.n - s->word;
}

/* A byte that changes the state; it has been kept. */
static int
mark(struct dl_split *s, char c, dl_split_fn *fn, void *arg)
{
	switch (c) {
	case '"':
		quotes(s);
		return 0;
	case '\\':
		s->escaped = s->string;
		return 0;
	case '{':
	case '[':
		if (!s->string)
			opens(s, c);
		return 0;
	default:
		return s->string ? 0 : closes(s, fn, arg);
	}
}

/* A byte of the list that is in no entry. */
static int
between(struct dl_split *s, char c)
{
	switch (c) {
	case ' ':
	case '\t':
	case '\n':
	case '\r':
		return 0;
	case ',':
		if (s->comma || s->count == 0)
			return TF_E_INVAL;
		s->comma = true;
		return 0;
	case '{':
		if (s->count > 0 && !s->comma)
			return TF_E_INVAL;
		s->inside = true;
		s->depth++;
		return keep(s, &c, 1);
	case ']':
		if (s->comma)
			return TF_E_INVAL;
		s->list = false;
		s->depth--;
		return keep(s, &c, 1);
	default:
		return TF_E_INVAL;
	}
}

/* How many bytes from p on change nothing. */
static size_t
dull(const struct dl_split *s, const char *p, size_t n)
{
	static const bool marks[256] = { ['"'] = true, ['\\'] = true, ['{'] = true, ['}'] = true, ['['] = true,
		[']'] = true };
	const char *quote;
	size_t i = 0;

	/* long strings: only a quote or a backslash is of interest */
	if (s->string) {
		quote = memchr(p, '"', n);
		n = quote != NULL ? (size_t)(quote - p) : n;
		quote = memchr(p, '\\', n);
		return quote != NULL ? (size_t)(quote - p) : n;
	}
	while (i < n && !marks[(unsigned char)p[i]])
		i++;
	return i;
}

int
dl_split_feed(struct dl_split *s, struct tf_span piece, dl_split_fn *fn, void *arg)
{
	const char *p = piece.p, *end = p + piece.n;
	int r = 0;

	while (r == 0 && p < end) {
		size_t n;
		bool found;

		if (s->list && !s->inside) {
			r = between(s, *p++);
			continue;
		}
		n = s->escaped ? 0 : dull(s, p, (size_t)(end - p));
		found = n < (size_t)(end - p);
		r = keep(s, p, n + found);
		p += n + found;
		if (s->escaped)
			s->escaped = false;
		else if (r == 0 && found)
			r = mark(s, p[-1], fn, arg);
	}
	return r;
}

int
dl_split_end(struct dl_split *s, struct tf_span *rest)
{
	*rest = tf_buf_span(&s->shell);
	if (s->list || s->string || s->depth > 0)
		return TF_E_INVAL;
	return js_valid(*rest);
}
