/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data: what a form may look like and what is refused, in slices of every size, and that a form
 * written again says the same.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/dialect/form.h"

#define TYPE "multipart/form-data; boundary=XbX"
#define NAME(n) "--XbX\r\nContent-Disposition: form-data; name=\"" n "\"\r\n\r\n"
#define FILENAME(f) "--XbX\r\nContent-Disposition: form-data; name=\"file\"; " f "\r\n\r\nbytes\r\n"
#define END "--XbX--\r\n"

/* "name=value;" of each part, "name[]" for lists, "name(filename,type)" for files. */
static int
note(void *arg, const struct dl_form_part *p)
{
	struct tf_buf *out = arg;

	assert_int_equal(tf_buf_printf(out, TF_SPAN_FMT "%s", TF_SPAN_ARG(p->name), p->list ? "[]" : ""), 0);
	if (p->file)
		assert_int_equal(
		    tf_buf_printf(out, "(" TF_SPAN_FMT "," TF_SPAN_FMT ")", TF_SPAN_ARG(p->filename), TF_SPAN_ARG(p->type)), 0);
	assert_int_equal(tf_buf_addc(out, '='), 0);
	assert_int_equal(tf_buf_addspan(out, p->value), 0);
	assert_int_equal(tf_buf_addc(out, ';'), 0);
	return 0;
}

/* Reads it in slices; each sees a copy that ends where the slice ends, so that a read beyond is found. */
static int
read_form(const char *type, struct tf_span body, size_t step, struct tf_buf *out, const char **why)
{
	struct dl_form_reader f;
	int r = dl_form_init(&f, tf_cspan(type), 0, note, out);

	for (size_t n = step; r == 0 && n < body.n; n += step) {
		char *copy = malloc(n);

		assert_non_null(copy);
		memcpy(copy, body.p, n);
		r = dl_form_feed(&f, copy, n);
		free(copy);
	}
	if (r == 0)
		r = dl_form_end(&f, body.p, body.n);
	assert_true((r == 0) == (f.why == NULL));
	*why = f.why;
	return r;
}

static const struct {
	const char *type, *body, *want; /* want NULL: refused */
} rows[] = {
	{ TYPE, NAME("a") "1\r\n" END, "a=1;" },
	{ TYPE, NAME("a") "1\r\n--XbX--", "a=1;" },
	{ TYPE, "\r\n" NAME("a") "1\r\n" END, "a=1;" },
	{ TYPE, NAME("a") "\r\n" END, "a=;" },
	{ TYPE, NAME("a") "--XbX--", "a=;" },
	{ TYPE, NAME("a") "1\r\n" NAME("b[]") "2\r\n" NAME("b[]") "3\r\n" END, "a=1;b[]=2;b[]=3;" },
	{ TYPE, NAME("a") "\r\n--Xb\r\n-\r\n\r\n" END, "a=\r\n--Xb\r\n-\r\n;" },
	{ TYPE, "--XbX \t \r\nContent-Disposition:form-data;name=a\r\n\r\n1\r\n" END, "a=1;" },
	{ TYPE, "--XbX\r\ncontent-TYPE: audio/wav\r\nX-More: 1\r\ncontent-disposition: Form-Data ; Name=\"file\" ;"
		" FileName=\"a b.wav\"\r\n\r\nRIFF\r\n" END, "file(a b.wav,audio/wav)=RIFF;" },
	{ TYPE, FILENAME("filename=\"\""), NULL },
	{ TYPE, FILENAME("filename=\"\"") END, "file(,)=bytes;" },
	{ TYPE, FILENAME("filename=\"a\\\"b.wav\"") END, "file(a\\\"b.wav,)=bytes;" },
	{ TYPE, FILENAME("filename=\"100%.wav\"") END, "file(100%.wav,)=bytes;" },
	{ TYPE, FILENAME("filename=\"\xc3\xa4.wav\"") END, "file(\xc3\xa4.wav,)=bytes;" },
	{ TYPE, FILENAME("filename*=utf-8''%c3%a4.wav") END, "file(utf-8''%c3%a4.wav,)=bytes;" },
	{ TYPE, FILENAME("filename=\"a.wav\"; filename*=utf-8''%c3%a4.wav") END, "file(a.wav,)=bytes;" },
	{ TYPE, FILENAME("filename=\"...wav\"") END, "file(...wav,)=bytes;" },
	{ TYPE, END, "" },
	{ "Multipart/Form-Data;charset=utf-8; Boundary=\"a b:c\"",
	    "--a b:c\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--a b:c--",
	    "x=1;" },
	{ "multipart/form-data", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data; boundary=", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data; boundary=\"\"", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data; boundary=\"XbX", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data; boundary=\"XbX \"", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data; boundary=\"X;X\"", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data; boundary=XbX; boundary=XbX", NAME("a") "1\r\n" END, NULL },
	{ "multipart/form-data boundary=XbX", NAME("a") "1\r\n" END, NULL },
	{ "multipart/mixed; boundary=XbX", NAME("a") "1\r\n" END, NULL },
	{ "application/json", NAME("a") "1\r\n" END, NULL },
	{ "", "", NULL },
	{ TYPE, "", NULL },
	{ TYPE, "--XbY\r\n", NULL },
	{ TYPE, "preamble\r\n" NAME("a") "1\r\n" END, NULL },
	{ TYPE, "\n" NAME("a") "1\r\n" END, NULL },
	{ TYPE, NAME("a") "1\r\n" END "\r\n", "a=1;" },
	{ TYPE, NAME("a") "1\r\n" END "more", NULL },
	{ TYPE, NAME("a") "1\r\n" END "\r\nmore", NULL },
	{ TYPE, NAME("a") "1\r\n" END "\r", NULL },
	{ TYPE, NAME("a") "1\r\n" END "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", NULL },
	{ TYPE, NAME("a") "1\r\n--XbX--\r", NULL },
	{ TYPE, NAME("a") "1\r\n--XbX--\n", NULL },
	{ TYPE, NAME("a") "1", NULL },
	{ TYPE, NAME("a") "1\r\n--XbX", NULL },
	{ TYPE, NAME("a") "1\r\n--XbX-", NULL },
	{ TYPE, NAME("a") "1\r\n--XbXmore\r\n" END, NULL },
	{ TYPE, NAME("a") "1\n--XbX--\n", NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\n", NULL },
	{ TYPE, "--XbX\r\n\r\n1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Type: text/plain\r\n\r\n1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: form-data\r\n\r\n1\r\n" END, NULL },
	{ TYPE, NAME("") "1\r\n" END, NULL },
	{ TYPE, NAME("a\tb\x01") "1\r\n" END, NULL },
	{ TYPE, NAME("a\xff") "1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: form-data; name=\"a\" x\r\n\r\n1\r\n" END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\n1\r\n" END, NULL },
	{ TYPE,
	    "--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n1\r\n"
	    END, NULL },
	{ TYPE, "--XbX\r\nContent-Disposition : form-data; name=\"a\"\r\n\r\n1\r\n" END, NULL },
	{ TYPE,
	    "--XbX\r\nContent-Type: a/b\r\nContent-Type: a/c\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n"
	    END, NULL },
	{ TYPE,
	    "--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\nMQ==\r\n" END, NULL },
	{ TYPE,
	    "--XbX\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: binary\r\n\r\n1\r\n" END, "a=1;" },
	{ TYPE, FILENAME("filename=\"../a.wav\"") END, NULL },
	{ TYPE, FILENAME("filename=\"/etc/passwd\"") END, NULL },
	{ TYPE, FILENAME("filename=\"C:\\a.wav\"") END, NULL },
	{ TYPE, FILENAME("filename=\"..\\\\a.wav\"") END, NULL },
	{ TYPE, FILENAME("filename=\"..\"") END, NULL },
	{ TYPE, FILENAME("filename=\"%2e%2e%2Fa.wav\"") END, NULL },
	{ TYPE, FILENAME("filename=\"a%5cb.wav\"") END, NULL },
	{ TYPE, FILENAME("filename=\"a.wav%00.txt\"") END, NULL },
	{ TYPE, FILENAME("filename=\"a\x01.wav\"") END, NULL },
	{ TYPE, FILENAME("filename=\"a.wav\"; filename*=utf-8''..%2fb") END, NULL },
	{ TYPE, FILENAME("filename=\"a.wav\"; filename=\"b.wav\"") END, NULL },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		struct tf_span body = tf_cspan(rows[i].body);

		for (size_t step = 1; step <= body.n + 1; step++) {
			struct tf_buf out = { 0 };
			const char *why;
			int r = read_form(rows[i].type, body, step, &out, &why);

			if ((r == 0) != (rows[i].want != NULL))
				fail_msg("row %zu step %zu: %s", i, step, why != NULL ? why : "accepted");
			if (r == 0)
				assert_string_equal(tf_buf_cstr(&out), rows[i].want);
			else
				assert_int_equal(r, TF_E_INVAL);
			tf_buf_free(&out);
		}
	}
}

static void
test_nul_in_name(void **state)
{
	static const char body[] = FILENAME("filename=\"a.wav\0.txt\"") END;
	struct tf_buf out = { 0 };
	const char *why;

	(void)state;
	assert_int_equal(read_form(TYPE, tf_span(body, sizeof body - 1), 1000, &out, &why), TF_E_INVAL);
	tf_buf_free(&out);
}

static int
count(void *arg, const struct dl_form_part *p)
{
	(void)p;
	++*(uint32_t *)arg;
	return 0;
}

/* A hundred thousand parts cost as much as those that are allowed. */
static void
test_many_parts(void **state)
{
	struct tf_buf body = { 0 };
	struct dl_form_reader f;
	uint32_t n = 0;

	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_int_equal(tf_buf_addstr(&body, NAME("a") "1\r\n"), 0);
	assert_int_equal(tf_buf_addstr(&body, END), 0);
	assert_int_equal(dl_form_init(&f, TF_SPAN(TYPE), 0, count, &n), 0);
	assert_int_equal(dl_form_feed(&f, body.p, body.n), TF_E_FULL);
	assert_int_equal(n, DL_FORM_PARTS_MAX);
	assert_true(f.off < 100 * DL_FORM_PARTS_MAX);
	assert_non_null(f.why);
	assert_int_equal(dl_form_end(&f, body.p, body.n), TF_E_FULL);
	assert_int_equal(dl_form_init(&f, TF_SPAN(TYPE), 200000, count, &n), 0);
	n = 0;
	assert_int_equal(dl_form_end(&f, body.p, body.n), 0);
	assert_int_equal(n, 100000);
	tf_buf_free(&body);
}

static void
test_long_head(void **state)
{
	struct tf_buf body = { 0 };
	struct dl_form_reader f;

	(void)state;
	assert_int_equal(tf_buf_addstr(&body, "--XbX\r\nX: "), 0);
	for (int i = 0; i < 2 * DL_FORM_HEAD_MAX; i++) {
		assert_int_equal(tf_buf_addc(&body, 'x'), 0);
		if (i == 0)
			assert_int_equal(dl_form_init(&f, TF_SPAN(TYPE), 0, NULL, NULL), 0);
		if (dl_form_feed(&f, body.p, body.n) != 0)
			break;
	}
	assert_int_equal(f.err, TF_E_FULL);
	assert_in_range(body.n, DL_FORM_HEAD_MAX, DL_FORM_HEAD_MAX + 100);
	tf_buf_free(&body);
}

static int
stop(void *arg, const struct dl_form_part *p)
{
	(void)arg;
	return tf_span_is(p->name, "b") ? TF_E_RANGE : 0;
}

static void
test_callback_stops(void **state)
{
	static const char body[] = NAME("a") "1\r\n" NAME("b") "1\r\n" NAME("c") "1\r\n" END;
	struct dl_form_reader f;

	(void)state;
	assert_int_equal(dl_form_init(&f, TF_SPAN(TYPE), 0, stop, NULL), 0);
	assert_int_equal(dl_form_end(&f, body, sizeof body - 1), TF_E_RANGE);
	assert_null(f.why);
	assert_int_equal(f.nparts, 2);
	assert_int_equal(dl_form_end(&f, body, sizeof body - 1), TF_E_RANGE);
}

static int
rename_model(void *arg, const struct dl_form_part *p)
{
	struct dl_form_w *w = arg;

	if (tf_span_is(p->name, "model"))
		dl_form_w_text(w, "model", TF_SPAN("runtime's"));
	else if (!tf_span_is(p->name, "secret"))
		dl_form_w_copy(w, p);
	return 0;
}

static void
test_write(void **state)
{
	static const char body[] = "\r\n" FILENAME("filename=\"a.wav\"") NAME("secret") "s\r\n" NAME("empty") "--XbX \r\n"
	    "Content-Disposition: form-data; name=\"model\"\r\n\r\nclient's\r\n--XbX--";
	static const char want[] = FILENAME("filename=\"a.wav\"") NAME("empty") "\r\n" NAME("model") "runtime's\r\n"
	    NAME("stream") "true\r\n" END;
	struct tf_buf out = { 0 };
	struct dl_form_w w;
	struct dl_form_reader f;

	(void)state;
	assert_int_equal(dl_form_init(&f, TF_SPAN(TYPE), 0, rename_model, &w), 0);
	dl_form_w_init(&w, &f, &out);
	assert_int_equal(dl_form_end(&f, body, sizeof body - 1), 0);
	dl_form_w_text(&w, "stream", TF_SPAN("true"));
	assert_int_equal(dl_form_w_end(&w), 0);
	assert_string_equal(tf_buf_cstr(&out), want);
	/* a value that would end its part */
	tf_buf_reset(&out);
	dl_form_w_init(&w, &f, &out);
	dl_form_w_text(&w, "model", TF_SPAN("x\r\n--XbX\r\n"));
	assert_int_equal(dl_form_w_end(&w), TF_E_INVAL);
	tf_buf_free(&out);
}

static void
test_extension(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = { { "a.WAV", "wav" }, { "a.b.mp3", "mp3" }, { "a", "" }, { "", "" }, { "a.", "" }, { ".ogg", "ogg" },
		{ "a.muchtoolong", "" } };
	char got[8];

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		dl_form_extension(tf_cspan(cases[i].name), got, sizeof got);
		assert_string_equal(got, cases[i].want);
	}
	assert_true(dl_form_is(TF_SPAN("multipart/FORM-data ; x")));
	assert_false(dl_form_is(TF_SPAN("multipart/form-datax")));
	assert_false(dl_form_is((struct tf_span){ NULL, 0 }));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_nul_in_name),
		cmocka_unit_test(test_many_parts),
		cmocka_unit_test(test_long_head),
		cmocka_unit_test(test_callback_stops),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_extension),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
