/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data. The input is a byte that says how it is sliced, a content type up to a line feed and the
 * body. Whole and in slices the reader says the same; a form copied part by part reads the same again.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/form.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

struct heard {
	struct tf_buf parts; /* all that was said of them */
	struct dl_form_w *copy; /* NULL: none is made */
};

static void
add(struct heard *h, struct tf_span s)
{
	CHECK(tf_buf_printf(&h->parts, "%zu:", s.n) == 0 && tf_buf_addspan(&h->parts, s) == 0);
}

static int
on_part(void *arg, const struct dl_form_part *p)
{
	struct heard *h = arg;
	char extension[8];

	CHECK(p->name.n > 0 && memchr(p->filename.n > 0 ? p->filename.p : "", '/', p->filename.n) == NULL);
	CHECK(p->value.p + p->value.n == p->whole.p + p->whole.n);
	dl_form_extension(p->filename, extension, sizeof extension);
	add(h, p->name);
	add(h, p->filename);
	add(h, p->type);
	add(h, p->value);
	CHECK(tf_buf_printf(&h->parts, "%d%d%s;", p->list, p->file, extension) == 0);
	if (h->copy != NULL)
		dl_form_w_copy(h->copy, p);
	return 0;
}

static int
read_form(struct tf_span type, struct tf_span body, size_t step, struct heard *h, struct dl_form_reader *f)
{
	int r = dl_form_init(f, type, 50, on_part, h);

	for (size_t n = step; r == 0 && n < body.n; n += step)
		r = dl_form_feed(f, body.p, n);
	if (r == 0)
		r = dl_form_end(f, body.p, body.n);
	CHECK((r == 0) == (f->why == NULL));
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct tf_span all = tf_span(data + 1, n - 1), type = all, body;
	struct heard whole = { 0 }, sliced = { 0 }, again = { 0 };
	struct tf_buf out = { 0 };
	struct dl_form_w w;
	struct dl_form_reader f, g;
	const char *eol;
	int r;

	if (n < 2 || (eol = memchr(all.p, '\n', all.n)) == NULL)
		return 0;
	type.n = (size_t)(eol - all.p);
	body = tf_span(eol + 1, all.n - type.n - 1);
	r = read_form(type, body, data[0] + 1u, &sliced, &g);
	whole.copy = &w;
	dl_form_w_init(&w, &f, &out);
	CHECK(read_form(type, body, body.n + 1, &whole, &f) == r && f.why == g.why);
	CHECK(tf_span_eq(tf_buf_span(&whole.parts), tf_buf_span(&sliced.parts)));
	if (r == 0) {
		CHECK(dl_form_w_end(&w) == 0);
		CHECK(read_form(type, tf_buf_span(&out), out.n + 1, &again, &g) == 0);
		CHECK(tf_span_eq(tf_buf_span(&whole.parts), tf_buf_span(&again.parts)));
	}
	tf_buf_free(&out);
	tf_buf_free(&whole.parts);
	tf_buf_free(&sliced.parts);
	tf_buf_free(&again.parts);
	return 0;
}
