/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splits inline reasoning from the answer, for runtimes with the quirk inline-think. Templates
 * often write the opening tag themselves, so it may be missing; the closing one decides. Knows no
 * dialect.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/think.h"

static const char open_tag[] = "<think>", close_tag[] = "</think>";
enum { OPEN_N = sizeof open_tag - 1, CLOSE_N = sizeof close_tag - 1 };

enum { T_LEAD, T_IN, T_TRIM, T_OUT };

static bool
blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void
trim(struct tf_buf *b)
{
	size_t n = 0;

	while (n < b->n && blank(b->p[n]))
		n++;
	tf_buf_shift(b, n);
}

static int
give(struct dl_think *t, bool reasoning, size_t n, dl_think_fn *fn, void *arg)
{
	int r = 0;

	if (n == 0)
		return 0;
	if (reasoning && !t->tagged && t->said.n + n <= DL_THINK_KEPT)
		r = tf_buf_append(&t->said, t->hold.p, n);
	if (r == 0)
		r = fn(arg, reasoning, tf_span(t->hold.p, n));
	tf_buf_shift(&t->hold, n);
	return r;
}

/* Bytes at the end of s that may be the beginning of the closing tag. */
static size_t
partial(struct tf_span s)
{
	size_t n = s.n < CLOSE_N - 1 ? s.n : CLOSE_N - 1;

	while (n > 0 && memcmp(s.p + s.n - n, close_tag, n) != 0)
		n--;
	return n;
}

/* One step. 1: the state changed, go on; 0: wait for more. */
static int
step(struct dl_think *t, dl_think_fn *fn, void *arg)
{
	struct tf_buf *h = &t->hold;
	const char *tag;
	size_t n;
	int r;

	switch (t->state) {
	case T_LEAD:
		trim(h);
		if (h->n < OPEN_N && memcmp(h->p != NULL ? h->p : "", open_tag, h->n) == 0)
			return 0;
		if (memcmp(h->p, open_tag, OPEN_N) == 0) {
			t->tagged = true;
			tf_buf_shift(h, OPEN_N);
		}
		t->state = T_IN;
		return 1;
	case T_IN:
		tag = h->n > 0 ? memmem(h->p, h->n, close_tag, CLOSE_N) : NULL;
		if (tag == NULL)
			return give(t, true, h->n - partial(tf_buf_span(h)), fn, arg);
		n = (size_t)(tag - h->p);
		r = give(t, true, n, fn, arg);
		if (r < 0)
			return r;
		tf_buf_shift(h, CLOSE_N);
		tf_buf_free(&t->said);
		t->tagged = true;
		t->state = T_TRIM;
		return 1;
	case T_TRIM:
		trim(h);
		if (h->n == 0)
			return 0;
		t->state = T_OUT;
		return 1;
	default:
		return give(t, false, h->n, fn, arg);
	}
}

int
dl_think_feed(struct dl_think *t, struct tf_span text, dl_think_fn *fn, void *arg)
{
	int r;

	if (t->state == T_OUT)
		return text.n > 0 ? fn(arg, false, text) : 0;
	r = tf_buf_addspan(&t->hold, text);
	while (r == 0 && (r = step(t, fn, arg)) > 0)
		r = 0;
	return r;
}

int
dl_think_end(struct dl_think *t, bool cut, dl_think_fn *fn, void *arg)
{
	int r = 0;

	if (t->state == T_LEAD && t->hold.n > 0)
		r = give(t, false, t->hold.n, fn, arg);
	if (r == 0 && t->state == T_IN)
		r = give(t, true, t->hold.n, fn, arg);
	if (r == 0 && t->state == T_IN && !t->tagged && !cut && t->said.n > 0)
		r = fn(arg, false, tf_buf_span(&t->said));
	t->state = T_OUT;
	return r;
}

void
dl_think_fini(struct dl_think *t)
{
	tf_buf_free(&t->hold);
	tf_buf_free(&t->said);
}
