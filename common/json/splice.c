/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splice: changes a text that the scanner accepted by cutting and inserting, so that a 2 MB
 * body costs one copy and no parse. The only difficulty is commas: deletions of neighbours
 * are taken together as a run, and insertions look at what survives around them.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/json/chars.h"
#include "common/json/json.h"

void
js_edits_init(struct js_edits *e, struct js_edit *v, size_t max)
{
	memset(e, 0, sizeof *e);
	e->v = v;
	e->max = max;
}

static void
edit_add(struct js_edits *e, enum js_edit_kind kind, size_t start, size_t end, struct tf_span with)
{
	struct js_edit *d;

	if (e->err < 0)
		return;
	if (e->n == e->max) {
		e->err = TF_E_FULL;
		return;
	}
	d = &e->v[e->n];
	d->kind = kind;
	d->seq = (uint32_t)e->n++;
	d->start = start;
	d->end = end;
	d->with = with;
}

void
js_edit_replace(struct js_edits *e, size_t start, size_t end, struct tf_span with)
{
	edit_add(e, JS_REPLACE, start, end, with);
}

void
js_edit_delete(struct js_edits *e, size_t start, size_t end)
{
	edit_add(e, JS_DELETE, start, end, tf_span(NULL, 0));
}

void
js_edit_insert_first(struct js_edits *e, size_t open, struct tf_span text)
{
	edit_add(e, JS_INSERT_FIRST, open + 1, open + 1, text);
}

void
js_edit_insert_last(struct js_edits *e, size_t end, struct tf_span text)
{
	if (end == 0)
		e->err = e->err < 0 ? e->err : TF_E_INVAL;
	else
		edit_add(e, JS_INSERT_LAST, end - 1, end - 1, text);
}

/*
 * By place; a range before those inside it; of equal ranges deletions first, then the later
 * one; insertions in order.
 */
static int
edit_cmp(const void *va, const void *vb)
{
	const struct js_edit *a = va, *b = vb;
	bool ia = a->start == a->end, ib = b->start == b->end;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (ia != ib)
		return ia ? -1 : 1;
	if (a->end != b->end)
		return a->end > b->end ? -1 : 1;
	if (a->kind != b->kind) /* of an equal range: JS_DELETE or JS_REPLACE */
		return (a->kind < b->kind) == ia ? -1 : 1;
	return (a->seq < b->seq ? -1 : 1) * (ia ? 1 : -1);
}

/* One splice under way. */
struct splice {
	const struct js_edit *v;
	size_t n, i; /* edits, and the next of them */
	const uint8_t *text;
	size_t len;
	size_t pos;     /* everything before it is out or gone */
	/* closing brackets, or SIZE_MAX: */
	size_t emptied; /* of the container whose last entry a run took */
	size_t filled;  /* of the otherwise empty container that got an insertion */
	js_piece_fn *fn;
	void *arg;
};

static int
emit(struct splice *sp, const void *p, size_t n)
{
	return n == 0 ? 0 : sp->fn(sp->arg, tf_span(p, n));
}

/* Gives out the text up to at and goes on at next. */
static int
copy_to(struct splice *sp, size_t at, size_t next)
{
	int r;

	if (at < sp->pos)
		return TF_E_INVAL;
	r = emit(sp, sp->text + sp->pos, at - sp->pos);
	sp->pos = next;
	return r;
}

static size_t
skip_space(const struct splice *sp, size_t at)
{
	return (size_t)(js_skip_space(sp->text + at, sp->text + sp->len) - sp->text);
}

/* Offset behind the last byte before at that is no white space; 0 when there is none. */
static size_t
back_space(const struct splice *sp, size_t at)
{
	while (at > 0 && js_is_space(sp->text[at - 1]))
		at--;
	return at;
}

static bool
byte_is(const struct splice *sp, size_t at, char a, char b)
{
	return at < sp->len && (sp->text[at] == a || sp->text[at] == b);
}

/* Steps over edits inside a range that ends at end. */
static int
drop_inside(const struct splice *sp, size_t *i, size_t end)
{
	for (; *i < sp->n && sp->v[*i].start < end; (*i)++)
		if (sp->v[*i].end > end)
			return TF_E_INVAL;
	return 0;
}

/*
 * The deletions of neighbouring entries that start with edit *i: where the last one ends.
 * *i moves behind them.
 */
static int
run_of(const struct splice *sp, size_t *i, size_t *end)
{
	for (;;) {
		size_t comma, next;
		int r;

		*end = sp->v[*i].end;
		++*i;
		r = drop_inside(sp, i, *end);
		if (r < 0)
			return r;
		comma = skip_space(sp, *end);
		if (!byte_is(sp, comma, ',', ','))
			return 0;
		next = skip_space(sp, comma + 1);
		if (*i == sp->n || sp->v[*i].kind != JS_DELETE || sp->v[*i].start != next)
			return 0;
	}
}

static int
apply_delete(struct splice *sp)
{
	size_t start = sp->v[sp->i].start, before = back_space(sp, start), end, next;
	int r = run_of(sp, &sp->i, &end);

	if (r < 0 || before == 0)
		return r < 0 ? r : TF_E_INVAL;
	before--;
	next = skip_space(sp, end);
	if (sp->text[before] == ',')
		return copy_to(sp, before, end);
	if (!byte_is(sp, before, '{', '['))
		return TF_E_INVAL;
	if (byte_is(sp, next, ',', ','))
		return copy_to(sp, start, skip_space(sp, next + 1));
	if (!byte_is(sp, next, '}', ']'))
		return TF_E_INVAL;
	sp->emptied = next;
	return copy_to(sp, start, end);
}

static int
apply_replace(struct splice *sp)
{
	const struct js_edit *d = &sp->v[sp->i++];
	int r = drop_inside(sp, &sp->i, d->end);

	if (r == 0)
		r = copy_to(sp, d->start, d->end);
	return r < 0 ? r : emit(sp, d->with.p, d->with.n);
}

static int
apply_insert_first(struct splice *sp)
{
	const struct js_edit *d = &sp->v[sp->i++];
	size_t i = sp->i, next = skip_space(sp, d->start), end;
	int r;

	if (!byte_is(sp, d->start - 1, '{', '['))
		return TF_E_INVAL;
	r = copy_to(sp, d->start, d->start);
	if (r == 0)
		r = emit(sp, d->with.p, d->with.n);
	if (r != 0)
		return r;
	if (i < sp->n && sp->v[i].kind == JS_INSERT_FIRST && sp->v[i].start == d->start)
		return emit(sp, ",", 1);
	/* does an entry of the text survive? */
	if (i < sp->n && sp->v[i].kind == JS_DELETE && sp->v[i].start == next) {
		r = run_of(sp, &i, &end);
		if (r < 0)
			return r;
		next = skip_space(sp, end);
	}
	if (!byte_is(sp, next, '}', ']'))
		return emit(sp, ",", 1);
	sp->filled = next;
	return 0;
}

static int
apply_insert_last(struct splice *sp)
{
	const struct js_edit *d = &sp->v[sp->i++];
	size_t at = back_space(sp, d->start);
	bool empty;
	int r = 0;

	if (!byte_is(sp, d->start, '}', ']') || at == 0)
		return TF_E_INVAL;
	empty = byte_is(sp, at - 1, '{', '[') || sp->emptied == d->start;
	if (at > sp->pos)
		r = copy_to(sp, at, at);
	if (r == 0 && (!empty || sp->filled == d->start))
		r = emit(sp, ",", 1);
	sp->filled = d->start;
	return r != 0 ? r : emit(sp, d->with.p, d->with.n);
}

int
js_splice_each(struct tf_span text, struct js_edits *e, js_piece_fn *fn, void *arg)
{
	struct splice sp = {
		.v = e->v, .n = e->n, .text = (const uint8_t *)text.p, .len = text.n,
		.emptied = SIZE_MAX, .filled = SIZE_MAX, .fn = fn, .arg = arg,
	};
	int r = e->err;

	for (size_t i = 1; i < e->n; i++) {
		if (edit_cmp(&e->v[i - 1], &e->v[i]) > 0) {
			qsort(e->v, e->n, sizeof *e->v, edit_cmp);
			break;
		}
	}
	for (size_t i = 0; i < e->n && r == 0; i++)
		if (e->v[i].start > e->v[i].end || e->v[i].end > text.n)
			r = TF_E_INVAL;
	while (r == 0 && sp.i < sp.n) {
		switch (e->v[sp.i].kind) {
		case JS_REPLACE:
			r = apply_replace(&sp);
			break;
		case JS_DELETE:
			r = apply_delete(&sp);
			break;
		case JS_INSERT_FIRST:
			r = apply_insert_first(&sp);
			break;
		case JS_INSERT_LAST:
			r = apply_insert_last(&sp);
			break;
		}
	}
	return r != 0 ? r : copy_to(&sp, text.n, text.n);
}

static int
append_piece(void *arg, struct tf_span piece)
{
	return tf_buf_append(arg, piece.p, piece.n);
}

int
js_splice(struct tf_span text, struct js_edits *e, struct tf_buf *out)
{
	size_t from = out->n, room = text.n;
	int r;

	for (size_t i = 0; i < e->n; i++)
		room += e->v[i].with.n + 1;
	r = tf_buf_reserve(out, room);
	if (r == 0)
		r = js_splice_each(text, e, append_piece, out);
	if (r != 0)
		out->n = from;
	return r;
}
