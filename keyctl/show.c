/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows for people and for scripts. Texts come from daemons, and behind them from whoever
 * named a key: nothing that could steer a terminal is printed.
 */
#include "config.h"

#include <stdlib.h>
#include <time.h>

#include "keyctl/kc.h"

/* ---- cells -------------------------------------------------------------------------------- */

/* Appends UTF-8 text; control characters, also the C1 ones, become '?'. */
static void
add_safe(struct tf_buf *out, struct tf_span s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == 0xc2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xa0) {
			tf_buf_addc(out, '?');
			i++;
		} else {
			tf_buf_addc(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
		}
	}
}

static void
add_time(struct tf_buf *out, struct tf_span value)
{
	int64_t s;
	time_t t;
	struct tm tm;
	char text[32];

	if (js_get_i64(value, &s) != 0) {
		tf_buf_addstr(out, "-");
		return;
	}
	t = (time_t)s;
	if (gmtime_r(&t, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		tf_buf_addstr(out, text);
	else
		tf_buf_addspan(out, value);
}

void
kc_cell(struct tf_buf *out, enum kc_form form, struct tf_span value)
{
	struct tf_buf scratch = { 0 };
	size_t before = out->n;
	struct tf_span text, item;
	struct js_iter it;

	if (form == KC_AS_TIME) {
		add_time(out, value);
	} else if (js_type(value) == JS_STRING) {
		if (js_str(value, &scratch, &text) == 0)
			add_safe(out, text);
	} else if (js_type(value) == JS_ARRAY) {
		js_iter_init(&it, value);
		while (js_iter_next(&it, NULL, &item)) {
			if (out->n > before)
				tf_buf_addc(out, ',');
			kc_cell(out, KC_AS_TEXT, item);
		}
	} else if (value.n > 0 && js_type(value) != JS_NULL) {
		add_safe(out, value);
	}
	if (out->n == before)
		tf_buf_addc(out, '-');
	tf_buf_free(&scratch);
}

/* Columns a text takes: characters, for want of a better measure. */
static size_t
width(const char *s)
{
	size_t n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void
kc_grid(FILE *out, char *const *cells, size_t rows, size_t ncols, const bool *nums)
{
	size_t *most = calloc(ncols > 0 ? ncols : 1, sizeof *most);

	for (size_t i = 0; most != NULL && i < rows * ncols; i++)
		if (width(cells[i]) > most[i % ncols])
			most[i % ncols] = width(cells[i]);
	for (size_t r = 0; r < rows; r++) {
		for (size_t c = 0; c < ncols; c++) {
			const char *cell = cells[r * ncols + c];
			size_t pad = most != NULL ? most[c] - width(cell) : 0;

			if (nums[c])
				fprintf(out, "%*s%s", (int)pad, "", cell);
			else
				fprintf(out, "%s%*s", cell, c + 1 < ncols ? (int)pad : 0, "");
			fputs(c + 1 < ncols ? "  " : "\n", out);
		}
	}
	free(most);
}

/* ---- forms -------------------------------------------------------------------------------- */

static struct tf_span
member(const char *row, const char *name)
{
	struct tf_span v = { 0 };

	js_member(tf_cspan(row), name, &v);
	return v;
}

static void
show_json(const struct kc *k)
{
	if (k->cmd->output != KC_ROWS) {
		fprintf(k->out, "%s\n", k->rows.n > 0 ? k->rows.v[0] : "null");
		return;
	}
	fputs("[", k->out);
	for (size_t i = 0; i < k->rows.n; i++)
		fprintf(k->out, "%s\n%s", i > 0 ? "," : "", k->rows.v[i]);
	fputs(k->rows.n > 0 ? "\n]\n" : "]\n", k->out);
}

/* A minted key: alone on stdout, so that KEY=$(keyctl key mint ...) works. */
static void
show_key(const struct kc *k)
{
	struct tf_buf key = { 0 }, id = { 0 };

	kc_cell(&key, KC_AS_TEXT, member(k->rows.v[0], "key"));
	kc_cell(&id, KC_AS_TEXT, member(k->rows.v[0], "id"));
	if (tf_buf_cstr(&key) != NULL && tf_buf_cstr(&id) != NULL) {
		fprintf(k->out, "%s\n", key.p);
		fprintf(k->err, "key %s; its text is shown this once\n", id.p);
	}
	tf_wipe(key.p, key.cap);
	tf_buf_free(&key);
	tf_buf_free(&id);
}

/* Cells of one column, heading first; a column that no row has is left out. False then. */
static bool
column_used(const struct kc *k, const struct kc_line *col)
{
	for (size_t i = 0; i < k->rows.n; i++) {
		struct tf_span v = member(k->rows.v[i], col->name);

		bool zero = tf_span_is(v, "0") || tf_span_is(v, "\"0\"");

		if (v.n > 0 && js_type(v) != JS_NULL && !(col->what == KC_AS_SOME && zero))
			return true;
	}
	return false;
}

static char *
cell_text(const struct kc_line *col, const char *row)
{
	struct tf_buf b = { 0 };

	if (row == NULL)
		tf_buf_addstr(&b, col->meta);
	else
		kc_cell(&b, (enum kc_form)col->what, member(row, col->name));
	tf_buf_cstr(&b);
	return b.p;
}

#define COLS_MAX 32

static void
show_table(const struct kc *k, const struct kc_line *const *cols, size_t ncols)
{
	bool down = k->cmd->output == KC_ONE; /* one row: a column of names and one of values */
	size_t w = down ? 2 : ncols, h = down ? ncols : k->rows.n + 1;
	char **cells = calloc(w * h, sizeof *cells);
	bool nums[COLS_MAX], ok = cells != NULL;

	for (size_t c = 0; c < ncols; c++) {
		nums[c] = !down && (cols[c]->what == KC_AS_NUM || cols[c]->what == KC_AS_SOME);
		for (size_t r = 0; ok && r < k->rows.n + 1; r++) {
			char **cell = down ? &cells[c * 2 + r] : &cells[r * ncols + c];

			*cell = cell_text(cols[c], r == 0 ? NULL : k->rows.v[r - 1]);
			ok = *cell != NULL;
		}
	}
	if (down)
		nums[0] = nums[1] = false;
	if (ok)
		kc_grid(k->out, cells, h, w, nums);
	for (size_t i = 0; cells != NULL && i < w * h; i++)
		free(cells[i]);
	free(cells);
}

/* One column without a heading: its texts as they are. */
static void
show_plain(const struct kc *k, const struct kc_line *col)
{
	for (size_t i = 0; i < k->rows.n; i++) {
		char *text = cell_text(col, k->rows.v[i]);

		fprintf(k->out, "%s\n", text != NULL ? text : "");
		free(text);
	}
}

void
kc_show(struct kc *k)
{
	const struct kc_line *cols[COLS_MAX], *l;
	size_t n = 0;

	if (k->json) {
		show_json(k);
		return;
	}
	if (k->cmd->output == KC_KEY && k->rows.n == 1) {
		show_key(k);
		return;
	}
	if (k->cmd->output == KC_ONE && k->rows.n > 1)
		k->rows.n = 1;
	KC_EACH(k->cmd, l)
		if (l->kind == KC_COL && n < COLS_MAX &&
		    (k->rows.n == 0 || column_used(k, l)))
			cols[n++] = l;
	if (n == 1 && cols[0]->meta[0] == '\0')
		show_plain(k, cols[0]);
	else if (n > 0)
		show_table(k, cols, n);
}
