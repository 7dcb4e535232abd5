/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splices chosen by the input: sixteen bytes of decisions, then a document. Every value is
 * deleted, replaced, or gets insertions as the byte for its offset says. The result must be
 * what rewriting the document entry by entry with the same decisions gives.
 */
#include "config.h"

#include <stdlib.h>

#include "common/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define PLAN 16
enum { DELETE = 1, REPLACE = 2, FIRST = 4, LAST = 8, TWICE = 16 };

#define MUST(cond) \
	do { \
		if (!(cond)) \
			abort(); \
	} while (0)

struct fuzz {
	const uint8_t *plan;
	struct tf_span doc;
	struct js_edits e;
	struct tf_buf want;
};

static unsigned
decision(const struct fuzz *f, const char *value)
{
	return f->plan[(size_t)(value - f->doc.p) % PLAN];
}

static struct tf_span
insertion(struct tf_span container)
{
	return *container.p == '{' ? TF_SPAN("\"i\":[]") : TF_SPAN("[]");
}

/* Edits for what is inside the value at text, and for itself. start: its key, or itself. */
static void
edits(struct fuzz *f, struct tf_span text, const char *start)
{
	unsigned d = decision(f, text.p);
	size_t from = (size_t)(text.p - f->doc.p), end = from + text.n;
	struct tf_span key, v;
	struct js_iter it;

	if ((d & DELETE) && start != NULL)
		js_edit_delete(&f->e, (size_t)(start - f->doc.p), end);
	if (d & REPLACE)
		js_edit_replace(&f->e, from, end, TF_SPAN("\"r\""));
	if (*text.p != '{' && *text.p != '[')
		return;
	for (unsigned times = d & TWICE ? 2 : 1; times > 0; times--) {
		if (d & FIRST)
			js_edit_insert_first(&f->e, from, insertion(text));
		if (d & LAST)
			js_edit_insert_last(&f->e, end, insertion(text));
	}
	for (js_iter_init(&it, text); js_iter_next(&it, &key, &v);)
		edits(f, v, key.n > 0 ? key.p : v.p);
}

static void
want(struct fuzz *f, struct tf_span s)
{
	MUST(tf_buf_append(&f->want, s.p, s.n) == 0);
}

static void
entry_comma(struct fuzz *f, bool *some)
{
	if (*some)
		want(f, TF_SPAN(","));
	*some = true;
}

static void
want_insertions(struct fuzz *f, struct tf_span container, unsigned d, bool *some)
{
	for (unsigned times = d & TWICE ? 2 : 1; times > 0; times--) {
		entry_comma(f, some);
		want(f, insertion(container));
	}
}

/* The value as it should be, without white space. plain: without decisions. */
static void
rewrite(struct fuzz *f, struct tf_span text, bool plain)
{
	unsigned d = plain ? 0 : decision(f, text.p);
	struct tf_span key, v;
	struct js_iter it;
	bool some = false;

	if (d & REPLACE) {
		want(f, TF_SPAN("\"r\""));
		return;
	}
	if (*text.p != '{' && *text.p != '[') {
		want(f, text);
		return;
	}
	want(f, tf_span(text.p, 1));
	if (d & FIRST)
		want_insertions(f, text, d, &some);
	for (js_iter_init(&it, text); js_iter_next(&it, &key, &v);) {
		if (!plain && (decision(f, v.p) & DELETE))
			continue;
		entry_comma(f, &some);
		want(f, key);
		if (key.n > 0)
			want(f, TF_SPAN(":"));
		rewrite(f, v, plain);
	}
	if (d & LAST)
		want_insertions(f, text, d, &some);
	want(f, tf_span(text.p + text.n - 1, 1));
}

static struct tf_span
trimmed(struct tf_span s)
{
	while (s.n > 0 && memchr(" \t\r\n", *s.p, 4) != NULL)
		s = tf_span(s.p + 1, s.n - 1);
	while (s.n > 0 && memchr(" \t\r\n", s.p[s.n - 1], 4) != NULL)
		s.n--;
	return s;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct js_edit v[4096];
	struct tf_buf out = { NULL, 0, 0 }, model;
	struct fuzz f = { .plan = data };

	if (n < PLAN + 1 || n > 4096)
		return 0;
	f.doc = tf_span(data + PLAN, n - PLAN);
	if (js_valid(f.doc) != 0)
		return 0;
	js_edits_init(&f.e, v, TF_LEN(v));
	edits(&f, trimmed(f.doc), NULL);
	MUST(js_splice(f.doc, &f.e, &out) == (f.e.n == TF_LEN(v) ? f.e.err : 0));
	if (f.e.err == 0) {
		MUST(js_valid(tf_buf_span(&out)) == 0);
		rewrite(&f, trimmed(f.doc), false);
		model = f.want;
		memset(&f.want, 0, sizeof f.want);
		rewrite(&f, trimmed(tf_buf_span(&out)), true);
		MUST(tf_span_eq(tf_buf_span(&f.want), tf_buf_span(&model)));
		tf_buf_free(&model);
	}
	tf_buf_free(&f.want);
	tf_buf_free(&out);
	return 0;
}
