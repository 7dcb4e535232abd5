/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded conf as rows: for keyctl config show, --dump-config, and what a reload changed. */
#include "config.h"

#include "common/conf/inside.h"

static void
fill(const struct conf *conf, const struct cf_inst *i, size_t k, struct conf_row *out)
{
	size_t option = cf_sections[i->section].first + k;
	const struct cf_option *o = &cf_options[option];
	const struct cf_source *src = &i->source[k];

	*out = (struct conf_row){
		.section = i->title,
		.key = conf->index->keys[option],
		.value = src->text != NULL ? src->text : o->def,
		.file = src->text != NULL ? src->file : NULL,
		.line = src->text != NULL ? src->line : 0,
		.reloadable = (o->flags & CONF_RELOAD) != 0,
		.help = o->help,
	};
}

bool
conf_row_next(const struct conf *conf, size_t *pos, struct conf_row *out)
{
	size_t k = *pos;

	for (const struct cf_inst *i = conf->index->first; i != NULL; i = i->next) {
		if (k < cf_sections[i->section].n) {
			fill(conf, i, k, out);
			++*pos;
			return true;
		}
		k -= cf_sections[i->section].n;
	}
	return false;
}

int
conf_dump(const struct conf *conf, bool all, struct tf_buf *out)
{
	struct conf_row row;
	int r = 0;

	for (const struct cf_inst *i = conf->index->first; i != NULL && r == 0; i = i->next) {
		r = tf_buf_printf(out, "%s[%s]\n", out->n > 0 ? "\n" : "", i->title);
		for (size_t k = 0; k < cf_sections[i->section].n && r == 0; k++) {
			fill(conf, i, k, &row);
			r = tf_buf_printf(out, "%s%s =%s%s\n", all || row.file != NULL ? "" : "#",
			    row.key, row.value[0] != '\0' ? " " : "", row.value);
		}
	}
	return r;
}

/* ---- diff --------------------------------------------------------------------------------- */

struct diff {
	const struct conf *before, *after;
	conf_diff_fn *fn;
	void *arg;
	size_t restarts;
};

/* Rows of one section; a or b may be NULL. */
static void
diff_inst(struct diff *d, const struct cf_inst *a, const struct cf_inst *b)
{
	const struct cf_section *sec = &cf_sections[(a != NULL ? a : b)->section];
	struct conf_row before, after;

	for (size_t k = 0; k < sec->n; k++) {
		const struct cf_option *o = &cf_options[sec->first + k];
		bool restart = (o->flags & CONF_RELOAD) == 0;

		if (a != NULL && b != NULL &&
		    cf_value_same(o->type, (const char *)a->values + o->offset,
			(const char *)b->values + o->offset))
			continue;
		if (a != NULL)
			fill(d->before, a, k, &before);
		if (b != NULL)
			fill(d->after, b, k, &after);
		d->restarts += restart;
		if (d->fn != NULL)
			d->fn(
			    d->arg, a != NULL ? &before : NULL, b != NULL ? &after : NULL, restart);
	}
}

size_t
conf_diff(const struct conf *before, const struct conf *after, conf_diff_fn *fn, void *arg)
{
	struct diff d = { before, after, fn, arg, 0 };

	for (const struct cf_inst *a = before->index->first; a != NULL; a = a->next)
		diff_inst(&d, a, tf_map_get(&after->index->titles, tf_cspan(a->title)));
	for (const struct cf_inst *b = after->index->first; b != NULL; b = b->next)
		if (tf_map_get(&before->index->titles, tf_cspan(b->title)) == NULL)
			diff_inst(&d, NULL, b);
	return d.restarts;
}
