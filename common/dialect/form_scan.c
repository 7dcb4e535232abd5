/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan of a request that is a form: each part is held against its row of the surface's table, in whatever order
 * they come, and handed to the surface for the head. The counterpart of scan.c for JSON, which calls this; must not
 * allocate.
 */
#include "config.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/dialect/canon.h"
#include "common/dialect/field.h"
#include "common/dialect/mend.h"

bool
dl_dialect_form(enum dl_dialect d)
{
	const struct dl_ops *ops = dl_ops(d);

	return ops != NULL && ops->form != NULL;
}

bool
dl_dialect_json(enum dl_dialect d)
{
	const struct dl_ops *ops = dl_ops(d);

	return ops != NULL && ops->fields != NULL;
}

const struct dl_form_row *
dl_form_row(const struct dl_form_rows *rows, struct tf_span name)
{
	for (size_t i = 0; i < rows->n; i++)
		if (tf_span_is(name, rows->v[i].name))
			return &rows->v[i];
	return NULL;
}

int
dl_form_bool(struct tf_span s, bool *out)
{
	static const char *const yes[] = { "true", "True", "1" }, *const no[] = { "false", "False", "0" };

	for (size_t i = 0; i < TF_LEN(yes); i++) {
		if (!tf_span_is(s, yes[i]) && !tf_span_is(s, no[i]))
			continue;
		*out = tf_span_is(s, yes[i]);
		return 0;
	}
	return TF_E_INVAL;
}

static int
check_number(struct dl_scan *s, const struct dl_form_row *row, struct tf_span v)
{
	bool whole = (row->types & DL_T_INT) != 0;
	double d;

	if (js_type(v) != JS_NUMBER || js_valid(v) != 0)
		return dl_scan_refuse_at(s, row->name, "%s must be a %snumber.", row->name, whole ? "whole " : "");
	if (js_get_double(v, &d) < 0 || (whole && d != floor(d)))
		return dl_scan_refuse_at(s, row->name, "%s must be a %snumber in range.", row->name, whole ? "whole " : "");
	if ((row->low != 0 || row->high != 0) && (d < row->low || d > row->high))
		return dl_scan_refuse_at(s, row->name, "%s must be between %g and %g.", row->name, row->low, row->high);
	return 0;
}

static int
check_text(struct dl_scan *s, const struct dl_form_row *row, struct tf_span v)
{
	bool flag;

	if (!dl_utf8_ok(v))
		return dl_scan_refuse_at(s, row->name, "%s must be UTF-8.", row->name);
	if (row->types & DL_T_BOOL)
		return dl_form_bool(v, &flag) == 0 ? 0 : dl_scan_refuse_at(s, row->name, "%s must be true or false.", row->name);
	if (row->types & (DL_T_INT | DL_T_NUMBER))
		return check_number(s, row, v);
	if (row->low > 0 && v.n == 0)
		return dl_scan_refuse_at(s, row->name, "%s must not be empty.", row->name);
	if (row->high > 0 && (double)v.n > row->high)
		return dl_scan_refuse_at(s, row->name, "%s must not be longer than %.0f bytes.", row->name, row->high);
	return 0;
}

int
dl_scan_form_model(struct dl_scan *s, const struct dl_form_value *v)
{
	struct tf_span name = v->part->value;
	bool fits = name.n > 0 && name.n <= DL_MODEL_MAX;

	for (size_t i = 0; fits && i < name.n; i++)
		fits = (unsigned char)name.p[i] >= 0x20 && name.p[i] != 0x7f;
	if (!fits)
		return dl_scan_refuse_at(s, "model", "model must be 1 to %d bytes without control characters.", DL_MODEL_MAX);
	memcpy(s->head.model, name.p, name.n);
	s->head.model_len = (uint16_t)name.n;
	s->head.model_at = v->at;
	return 0;
}

static int
on_part(void *arg, const struct dl_form_part *part)
{
	struct dl_scan *s = arg;
	const struct dl_form_row *row = dl_form_row(s->rows, part->name);
	struct dl_form_value v = { .part = part };
	int r;

	if (row == NULL)
		return 0; /* passed on */
	v.id = (unsigned)(row - s->rows->v);
	assert(v.id < DL_FORM_FIELDS_MAX);
	v.index = s->form_seen[v.id]++;
	v.at = (struct dl_range){ (uint32_t)(part->value.p - s->text),
	    (uint32_t)(part->value.p - s->text + (ptrdiff_t)part->value.n) };
	if (v.index > 0 && !(row->flags & DL_F_LIST))
		return dl_scan_refuse_at(s, row->name, "%s must not be given twice.", row->name);
	if (row->flags & DL_F_FILE) {
		if (!part->file)
			return dl_scan_refuse_at(s, row->name, "%s must be a file: a part with a filename.", row->name);
		if (part->value.n == 0)
			return dl_scan_refuse_at(s, row->name, "%s is empty.", row->name);
	} else if (row->types != 0) {
		r = check_text(s, row, part->value);
		if (r < 0)
			return r;
	}
	return s->rows->value(s, &v);
}

int
dl_scan_form(struct dl_scan *s, struct tf_span content_type)
{
	const struct dl_ops *ops = dl_ops(s->head.surface);

	assert(ops->form != NULL && ops->form->n <= DL_FORM_FIELDS_MAX);
	s->rows = ops->form;
	s->is_form = true;
	memset(s->form_seen, 0, sizeof s->form_seen);
	if (dl_form_init(&s->form, content_type, 0, on_part, s) == 0)
		return 0;
	dl_fault_set(&s->fault, TF_E_BAD_REQUEST, NULL, "%s", s->form.why);
	return TF_E_INVAL;
}

/* As scan() of scan.c. */
int
dl_scan_form_feed(struct dl_scan *s, const char *text, size_t len, bool end)
{
	int r = end ? dl_form_end(&s->form, text, len) : dl_form_feed(&s->form, text, len);

	if (r < 0 && s->fault.err == 0)
		dl_fault_set(&s->fault, TF_E_BAD_REQUEST, NULL, "%s", s->form.why != NULL ? s->form.why : "The form is malformed.");
	return r < 0 ? TF_E_INVAL : 0;
}

int
dl_scan_form_end(struct dl_scan *s, struct tf_span body)
{
	s->head.root = (struct dl_range){ 0, (uint32_t)body.n };
	for (size_t i = 0; i < s->rows->n; i++)
		if ((s->rows->v[i].flags & DL_F_REQUIRED) && s->form_seen[i] == 0)
			return dl_scan_refuse_at(s, s->rows->v[i].name, "%s is required.", s->rows->v[i].name);
	return s->rows->end(s, body);
}
