/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "metrics": what one daemon says, as it says it; or what all of this host say as one text, in which the format wants the
 * samples of a name together, and a label tells whose each is. For collectors that read a file, or run a command.
 */
#include "config.h"

#include <stdlib.h>

#include "keyctl/kc.h"

#define FAMILIES_MAX 1024

struct family {
	struct tf_buf head, samples; /* lines */
	struct tf_buf name;
	bool help, type;             /* of the first daemon that has it */
};
struct all {
	struct family *v;
	size_t n;
	struct family *at; /* whose lines come */
};

/* The name in "# HELP name text" and "# TYPE name type"; empty: it is no such line. */
static struct tf_span
described(struct tf_span line)
{
	const char *end;

	if (line.n < 7 || (memcmp(line.p, "# HELP ", 7) != 0 && memcmp(line.p, "# TYPE ", 7) != 0))
		return (struct tf_span){ 0 };
	line = tf_span(line.p + 7, line.n - 7);
	end = memchr(line.p, ' ', line.n);
	return tf_span(line.p, end != NULL ? (size_t)(end - line.p) : line.n);
}

static int
line_add(struct tf_buf *to, struct tf_span line)
{
	return tf_buf_addspan(to, line) == 0 && tf_buf_addc(to, '\n') == 0 ? 0 : TF_E_NOMEM;
}

/* Goes to the family of that name. */
static int
describe(struct all *a, struct tf_span name, struct tf_span line)
{
	bool *said;

	if (a->at == NULL || !tf_span_eq(tf_buf_span(&a->at->name), name)) {
		for (a->at = a->v; a->at < a->v + a->n; a->at++)
			if (tf_span_eq(tf_buf_span(&a->at->name), name))
				break;
		if (a->at == a->v + FAMILIES_MAX)
			return TF_E_FULL;
		if (a->at == a->v + a->n) {
			a->n++;
			if (tf_buf_addspan(&a->at->name, name) != 0)
				return TF_E_NOMEM;
		}
	}
	said = line.p[2] == 'H' ? &a->at->help : &a->at->type;
	if (*said)
		return 0;
	*said = true;
	return line_add(&a->at->head, line);
}

/* name{labels} value, or name value */
static int
sample(struct all *a, const char *daemon, struct tf_span line)
{
	struct tf_buf *to = &a->at->samples;
	size_t n = 0;

	while (n < line.n && line.p[n] != '{' && line.p[n] != ' ')
		n++;
	if (tf_buf_append(to, line.p, n) != 0 || tf_buf_addstr(to, "{daemon=\"") != 0 || tf_buf_addstr(to, daemon) != 0 ||
	    tf_buf_addc(to, '"') != 0)
		return TF_E_NOMEM;
	if (n < line.n && line.p[n] == '{') {
		n++;
		if (tf_buf_addc(to, ',') != 0)
			return TF_E_NOMEM;
	} else if (tf_buf_addc(to, '}') != 0) {
		return TF_E_NOMEM;
	}
	return line_add(to, tf_span(line.p + n, line.n - n));
}

static int
take_line(struct all *a, const char *daemon, struct tf_span line)
{
	struct tf_span name = described(line);

	if (name.n > 0)
		return describe(a, name, line);
	return a->at != NULL && line.n > 0 && line.p[0] != '#' ? sample(a, daemon, line) : 0;
}

static int
take_rows(struct all *a, const char *daemon, const struct kc_rows *rows)
{
	struct tf_buf scratch = { 0 };
	int rc = 0;

	a->at = NULL;
	for (size_t i = 0; i < rows->n && rc == 0; i++) {
		struct tf_span v, line;

		tf_buf_reset(&scratch);
		if (js_member(tf_cspan(rows->v[i]), "text", &v) && js_str(v, &scratch, &line) == 0)
			rc = take_line(a, daemon, line);
	}
	tf_buf_free(&scratch);
	return rc;
}

/* A row for each line, as of one daemon. */
static int
give_lines(struct kc *k, struct tf_span text)
{
	struct tf_buf row = { 0 };
	struct js_w w;
	int rc = 0;

	while (rc == 0 && text.n > 0) {
		size_t n = (size_t)((const char *)memchr(text.p, '\n', text.n) - text.p);

		tf_buf_reset(&row);
		js_w_init(&w, &row);
		js_w_object(&w);
		js_w_kstr(&w, "text", tf_span(text.p, n));
		js_w_object_end(&w);
		rc = js_w_done(&w) != 0 ? TF_E_NOMEM : kc_rows_add(&k->rows, tf_buf_span(&row));
		text = tf_span(text.p + n + 1, text.n - n - 1);
	}
	tf_buf_free(&row);
	return rc;
}

/* Those that answer are shown although others do not; the status is of one that does not. */
static int
ask_all(struct kc *k, struct all *a)
{
	struct kc_names names;
	int status = kc_daemons(k, &names), rc = 0;

	for (size_t i = 0; i < names.n && rc == 0; i++) {
		struct kc_rows rows = { 0 };
		char message[1024] = "";
		int r = kc_ask(k, names.v[i], "metrics", &rows, message, sizeof message);

		if (r != CTL_OK)
			status = kc_fail(k, r, "%s", message);
		else
			rc = take_rows(a, names.v[i], &rows);
		kc_rows_free(&rows);
	}
	kc_names_free(&names);
	for (size_t i = 0; i < a->n && rc == 0; i++) {
		rc = give_lines(k, tf_buf_span(&a->v[i].head));
		if (rc == 0)
			rc = give_lines(k, tf_buf_span(&a->v[i].samples));
	}
	return rc == 0 ? status : kc_fail(k, CTL_FAILED, "%s", tf_err_text(rc));
}

int
kc_metrics(struct kc *k)
{
	struct all a = { 0 };
	char message[1024] = "";
	int r;

	if (k->daemon != NULL) {
		r = kc_ask(k, k->daemon, "metrics", &k->rows, message, sizeof message);
		if (r != CTL_OK)
			return kc_fail(k, r, "%s", message);
		kc_show(k);
		return CTL_OK;
	}
	a.v = calloc(FAMILIES_MAX, sizeof *a.v);
	if (a.v == NULL)
		return kc_fail(k, CTL_FAILED, "out of memory");
	r = ask_all(k, &a);
	for (size_t i = 0; i < a.n; i++) {
		tf_buf_free(&a.v[i].head);
		tf_buf_free(&a.v[i].samples);
		tf_buf_free(&a.v[i].name);
	}
	free(a.v);
	kc_show(k);
	return r;
}
