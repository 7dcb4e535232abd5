/* SPDX-License-Identifier: Apache-2.0 */
/* "usage export": the rows of the ledger, fetched a page at a time and written as they come. */
#include "config.h"

#include "keyctl/kc.h"

#define CURSOR_MAX 128

/* ---- rows --------------------------------------------------------------------------------- */

static bool
is_cursor(struct tf_span key)
{
	return js_str_eq(key, "cursor");
}

static void
write_json(FILE *out, struct tf_span row)
{
	struct tf_span key, value;
	const char *before = "{";
	struct js_iter it;

	js_iter_init(&it, row);
	while (js_iter_next(&it, &key, &value)) {
		if (is_cursor(key))
			continue;
		fprintf(out, "%s" TF_SPAN_FMT ":", before, TF_SPAN_ARG(key));
		fwrite(value.p, 1, value.n, out);
		before = ",";
	}
	fputs("}\n", out);
}

/*
 * A text is quoted, an amount of money too; one that a spreadsheet would take for a formula gets an apostrophe
 * before it. Numbers stand bare, null is nothing.
 */
static int
write_cell(FILE *out, struct tf_span value)
{
	struct tf_buf scratch = { 0 };
	struct tf_span text;

	if (js_type(value) == JS_NULL)
		return 0;
	if (js_type(value) != JS_STRING) {
		fwrite(value.p, 1, value.n, out);
		return 0;
	}
	if (js_str(value, &scratch, &text) != 0) {
		tf_buf_free(&scratch);
		return TF_E_NOMEM;
	}
	fputc('"', out);
	if (text.n > 0 && memchr("=+-@\t\r\n", text.p[0], 7) != NULL)
		fputc('\'', out);
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"')
			fputc('"', out);
		fputc(text.p[i], out);
	}
	fputc('"', out);
	tf_buf_free(&scratch);
	return 0;
}

/* The values of a row, or its names. */
static int
write_csv(FILE *out, struct tf_span row, bool names)
{
	struct tf_span key, value;
	const char *before = "";
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, row);
	while (r == 0 && js_iter_next(&it, &key, &value)) {
		if (is_cursor(key))
			continue;
		fputs(before, out);
		if (names)
			fwrite(key.p + 1, 1, key.n - 2, out);
		else
			r = write_cell(out, value);
		before = ",";
	}
	fputs("\r\n", out);
	return r;
}

/* The names when there is no row to read them from: a table without rows is one all the same. */
static void
write_heading(const struct kc *k)
{
	const struct kc_line *l;
	const char *before = "";

	KC_EACH(k->cmd, l) {
		if (l->kind != KC_COL)
			continue;
		fprintf(k->out, "%s%s", before, l->name);
		before = ",";
	}
	fputs("\r\n", k->out);
}

/* ---- pages -------------------------------------------------------------------------------- */

/* What a page is asked with: what was given, but for the form, and where the one before ended. */
static int
page_args(struct tf_span given, const char *after, struct tf_buf *out)
{
	struct tf_span key, value;
	struct js_iter it;
	struct js_w w;

	tf_buf_reset(out);
	js_w_init(&w, out);
	js_w_object(&w);
	js_iter_init(&it, given);
	while (js_iter_next(&it, &key, &value)) {
		if (js_str_eq(key, "format"))
			continue;
		js_w_keyn(&w, tf_span(key.p + 1, key.n - 2)); /* our own names: no escapes */
		js_w_raw(&w, value);
	}
	if (after[0] != '\0')
		js_w_kcstr(&w, "after", after);
	js_w_object_end(&w);
	return js_w_done(&w);
}

static int
take_cursor(const char *row, char after[static CURSOR_MAX])
{
	struct tf_buf scratch = { 0 };
	struct tf_span v;
	int r = TF_E_INVAL;

	if (js_member(tf_cspan(row), "cursor", &v) && js_str(v, &scratch, &v) == 0 && v.n > 0 && v.n < CURSOR_MAX) {
		memcpy(after, v.p, v.n);
		after[v.n] = '\0';
		r = 0;
	}
	tf_buf_free(&scratch);
	return r;
}

/* Writes a page; *after is where it ended, empty behind the last one. */
static int
page_write(struct kc *k, bool csv, bool first, char after[static CURSOR_MAX])
{
	int r = 0;

	if (csv && first && k->rows.n > 0)
		r = write_csv(k->out, tf_cspan(k->rows.v[0]), true);
	else if (csv && first)
		write_heading(k);
	for (size_t i = 0; i < k->rows.n && r == 0; i++) {
		if (csv)
			r = write_csv(k->out, tf_cspan(k->rows.v[i]), false);
		else
			write_json(k->out, tf_cspan(k->rows.v[i]));
	}
	if (k->rows.n == 0)
		after[0] = '\0';
	else if (r == 0)
		r = take_cursor(k->rows.v[k->rows.n - 1], after);
	if (r != 0)
		return kc_fail(k, CTL_FAILED, "%s", tf_err_text(r));
	if (fflush(k->out) != 0 || ferror(k->out))
		return kc_fail(k, CTL_FAILED, "the rows cannot be written");
	return 0;
}

int
kc_export(struct kc *k)
{
	struct tf_buf given = k->args;
	char message[1024] = "", after[CURSOR_MAX] = "";
	struct tf_span form;
	bool csv = !k->json, first = true;
	int r;

	if (js_member(tf_buf_span(&given), "format", &form))
		csv = js_str_eq(form, "csv");
	k->args = (struct tf_buf){ 0 };
	do {
		r = page_args(tf_buf_span(&given), after, &k->args) != 0 ? kc_fail(k, CTL_FAILED, "out of memory") : 0;
		if (r == 0 && (r = kc_ask(k, "billingd", "usage export", &k->rows, message, sizeof message)) != 0)
			r = kc_fail(k, r, "%s", message);
		if (r == 0)
			r = page_write(k, csv, first, after);
		kc_rows_free(&k->rows);
		first = false;
	} while (r == 0 && after[0] != '\0');
	tf_buf_free(&given);
	return r;
}
