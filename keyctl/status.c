/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keyctl status: every daemon that has a control socket or is expected to. Each answers
 * "version" and then the commands below, with rows of its own choice. Rows get a "kind" when
 * they bring none; each kind is a table, and the members of its first row are the columns. So
 * a daemon that learns to say more needs no new keyctl.
 */
#include "config.h"

#include <stdlib.h>

#include "keyctl/kc.h"

#define COLS_MAX 24

/* What is asked, of which daemon (NULL: all), and the kind, as JSON, of rows without one (NULL: the daemon). */
static const struct {
	const char *daemon, *cmd, *kind;
} questions[] = {
	{ NULL, "status", NULL },
	{ "routerd", "workers", "\"worker\"" },
	{ "routerd", "models", "\"model\"" },
};

struct one {
	const char *name;
	int state; /* enum ctl_err of its "version" */
	char why[512];
	struct kc_rows version, rows;
};
struct all {
	struct one *v;
	size_t n;
};

/* The kind of a row as JSON text; empty when it has none. */
static struct tf_span
kind_of(const char *row)
{
	struct tf_span v = { 0 };

	js_member(tf_cspan(row), "kind", &v);
	return v;
}

/* Appends the row with a kind. */
static int
add_row(struct kc_rows *rows, const char *row, struct tf_span kind)
{
	struct tf_buf b = { 0 };
	struct tf_span key, value;
	struct js_iter it;
	struct js_w w;
	int r;

	if (kind_of(row).n > 0)
		return kc_rows_add(rows, tf_cspan(row));
	js_w_init(&w, &b);
	js_w_object(&w);
	js_w_kraw(&w, "kind", kind);
	js_iter_init(&it, tf_cspan(row));
	while (js_iter_next(&it, &key, &value)) {
		js_w_keyn(&w, tf_span(key.p + 1, key.n - 2));
		js_w_raw(&w, value);
	}
	js_w_object_end(&w);
	r = js_w_done(&w);
	if (r == 0)
		r = kc_rows_add(rows, tf_buf_span(&b));
	tf_buf_free(&b);
	return r;
}

/* A daemon that does not know the question has no rows of it. */
static void
ask_rows(struct kc *k, struct one *d, const char *cmd, struct tf_span kind)
{
	struct kc_rows rows = { 0 };
	char message[512];

	if (kc_ask(k, d->name, cmd, &rows, message, sizeof message) == CTL_OK)
		for (size_t i = 0; i < rows.n; i++)
			if (add_row(&d->rows, rows.v[i], kind) != 0)
				break;
	kc_rows_free(&rows);
}

static void
ask_one(struct kc *k, struct one *d)
{
	struct tf_span daemon = TF_SPAN("\"\"");

	d->state = kc_ask(k, d->name, "version", &d->version, d->why, sizeof d->why);
	if (d->state == CTL_OK && d->version.n != 1) {
		d->state = CTL_FAILED;
		snprintf(d->why, sizeof d->why, "%s: a strange answer", d->name);
	}
	if (d->state != CTL_OK)
		return;
	js_member(tf_cspan(d->version.v[0]), "daemon", &daemon);
	for (size_t i = 0; i < TF_LEN(questions); i++)
		if (questions[i].daemon == NULL || js_str_eq(daemon, questions[i].daemon))
			ask_rows(k, d, questions[i].cmd,
			    questions[i].kind != NULL ? tf_cspan(questions[i].kind) : daemon);
}

/* ---- tables ------------------------------------------------------------------------------- */

struct cells {
	char **v;
	size_t n, cap, ncols;
	bool nums[COLS_MAX];
	bool failed;
};

static void
put(struct cells *t, enum kc_form form, struct tf_span value)
{
	struct tf_buf b = { 0 };
	char **v = t->v;

	if (t->n == t->cap) {
		v = reallocarray(t->v, t->cap + 64, sizeof *v);
		if (v != NULL) {
			t->v = v;
			t->cap += 64;
		}
	}
	kc_cell(&b, form, value);
	if (v == NULL || tf_buf_cstr(&b) == NULL) {
		tf_buf_free(&b);
		t->failed = true;
		return;
	}
	t->v[t->n++] = b.p;
}

static void
put_text(struct cells *t, const char *text)
{
	struct tf_buf b = { 0 };

	if (js_quote(&b, tf_cspan(text)) == 0)
		put(t, KC_AS_TEXT, tf_buf_span(&b));
	else
		t->failed = true;
	tf_buf_free(&b);
}

static void
print(FILE *out, struct cells *t)
{
	if (!t->failed && t->ncols > 0)
		kc_grid(out, t->v, t->n / t->ncols, t->ncols, t->nums);
	for (size_t i = 0; i < t->n; i++)
		free(t->v[i]);
	free(t->v);
}

static void
daemon_table(struct kc *k, const struct all *a)
{
	static const char *const heads[] = { "NAME", "DAEMON", "STATE", "VERSION", "WIRE", "PID",
		"UPTIME" };
	static const char *const members[] = { "version", "wire", "pid", "uptime" };
	struct cells t = { .ncols = TF_LEN(heads), .nums = { [5] = true, [6] = true } };

	for (size_t c = 0; c < TF_LEN(heads); c++)
		put_text(&t, heads[c]);
	for (size_t i = 0; i < a->n; i++) {
		bool up = a->v[i].state == CTL_OK;
		struct tf_span row = up ? tf_cspan(a->v[i].version.v[0]) : TF_SPAN("{}"), v = { 0 };

		put_text(&t, a->v[i].name);
		js_member(row, "daemon", &v);
		put(&t, KC_AS_TEXT, v);
		put_text(&t, up ? "up" : ctl_err_code((enum ctl_err)a->v[i].state));
		for (size_t c = 0; c < TF_LEN(members); c++) {
			v = tf_span(NULL, 0);
			js_member(row, members[c], &v);
			put(&t, KC_AS_TEXT, v);
		}
	}
	print(k->out, &t);
}

/* Names of columns whose members' own are too short, or say it in the program's words. */
static const struct {
	const char *member, *heading;
} headings[] = {
#define HEADING(member, text) { member, text },
#include "keyctl/heading.def"
#undef HEADING
};

/* The heading of a member: from the table, or its name in upper case with blanks for '_'. */
static void
heading(struct tf_span key, char *out, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < TF_LEN(headings); i++) {
		if (js_str_eq(key, headings[i].member)) {
			snprintf(out, size, "%s", headings[i].heading);
			return;
		}
	}
	for (size_t i = 1; i + 1 < key.n && n + 1 < size; i++) {
		char c = key.p[i];

		out[n++] = c == '_' ? ' ' : c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
	}
	out[n] = '\0';
}

/* The members of the first row but "kind". */
static void
take_columns(struct cells *t, struct tf_span *cols, const char *row)
{
	struct tf_span key, value;
	struct js_iter it;
	char head[64];

	js_iter_init(&it, tf_cspan(row));
	while (js_iter_next(&it, &key, &value) && t->ncols < COLS_MAX) {
		if (js_str_eq(key, "kind"))
			continue;
		heading(key, head, sizeof head);
		put_text(t, head);
		t->nums[t->ncols] = js_type(value) == JS_NUMBER;
		cols[t->ncols++] = key;
	}
}

/* One cell per column; key is the column's name as JSON text. */
static void
put_members(struct cells *t, const struct tf_span *cols, const char *row)
{
	struct tf_buf scratch = { 0 };
	struct tf_span key, value, name;
	struct js_iter it;

	for (size_t c = 0; c < t->ncols; c++) {
		struct tf_span found = { 0 };

		js_iter_init(&it, tf_cspan(row));
		tf_buf_reset(&scratch);
		if (js_str(cols[c], &scratch, &name) != 0)
			t->failed = true;
		while (!t->failed && js_iter_next(&it, &key, &value))
			if (js_str_eqn(key, name))
				found = value;
		put(t, KC_AS_TEXT, found);
	}
	tf_buf_free(&scratch);
}

/* Every row of that kind, of all daemons. */
static void
kind_table(struct kc *k, const struct all *a, struct tf_span kind)
{
	struct tf_span cols[COLS_MAX];
	struct tf_buf title = { 0 };
	struct cells t = { 0 };

	for (size_t i = 0; i < a->n; i++) {
		for (size_t r = 0; r < a->v[i].rows.n; r++) {
			const char *row = a->v[i].rows.v[r];

			if (!tf_span_eq(kind_of(row), kind))
				continue;
			if (t.ncols == 0)
				take_columns(&t, cols, row);
			put_members(&t, cols, row);
		}
	}
	kc_cell(&title, KC_AS_TEXT, kind);
	fprintf(k->out, "\n%s\n", tf_buf_cstr(&title) != NULL ? title.p : "");
	print(k->out, &t);
	tf_buf_free(&title);
}

/* Is this row, of daemon i, the first of its kind? */
static bool
first_of_kind(const struct all *a, size_t i, size_t r)
{
	struct tf_span kind = kind_of(a->v[i].rows.v[r]);

	for (size_t j = 0; j <= i; j++)
		for (size_t s = 0; s < (j == i ? r : a->v[j].rows.n); s++)
			if (tf_span_eq(kind_of(a->v[j].rows.v[s]), kind))
				return false;
	return true;
}

static void
show_tables(struct kc *k, const struct all *a)
{
	daemon_table(k, a);
	for (size_t i = 0; i < a->n; i++)
		for (size_t r = 0; r < a->v[i].rows.n; r++)
			if (first_of_kind(a, i, r))
				kind_table(k, a, kind_of(a->v[i].rows.v[r]));
	for (size_t i = 0; i < a->n; i++)
		if (a->v[i].state != CTL_OK)
			fprintf(k->err, "keyctl: %s\n", a->v[i].why);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void
show_json(struct kc *k, const struct all *a)
{
	struct tf_buf b = { 0 };
	struct js_w w;

	js_w_init(&w, &b);
	js_w_array(&w);
	for (size_t i = 0; i < a->n; i++) {
		const struct one *d = &a->v[i];

		js_w_object(&w);
		js_w_kcstr(&w, "name", d->name);
		js_w_kbool(&w, "up", d->state == CTL_OK);
		if (d->state == CTL_OK)
			js_w_kraw(&w, "version", tf_cspan(d->version.v[0]));
		else
			js_w_kcstr(&w, "error", d->why);
		js_w_key(&w, "rows");
		js_w_array(&w);
		for (size_t r = 0; r < d->rows.n; r++)
			js_w_raw(&w, tf_cspan(d->rows.v[r]));
		js_w_array_end(&w);
		js_w_object_end(&w);
	}
	js_w_array_end(&w);
	if (js_w_done(&w) == 0 && tf_buf_cstr(&b) != NULL)
		fprintf(k->out, "%s\n", b.p);
	tf_buf_free(&b);
}

int
kc_status(struct kc *k)
{
	struct all a = { 0 };
	struct kc_names names;
	int r = kc_daemons(k, &names);

	if (r != 0)
		return r;
	a.v = calloc(names.n, sizeof *a.v);
	if (a.v == NULL)
		r = kc_fail(k, CTL_FAILED, "out of memory");
	for (; r == 0 && a.n < names.n; a.n++) {
		a.v[a.n].name = names.v[a.n];
		ask_one(k, &a.v[a.n]);
	}
	if (r == 0 && k->json)
		show_json(k, &a);
	else if (r == 0)
		show_tables(k, &a);
	for (size_t i = 0; i < a.n; i++) {
		if (r == 0 && a.v[i].state != CTL_OK)
			r = a.v[i].state;
		kc_rows_free(&a.v[i].version);
		kc_rows_free(&a.v[i].rows);
	}
	free(a.v);
	kc_names_free(&names);
	return r;
}
