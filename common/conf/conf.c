/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One load from texts to an immutable struct conf: collect the sections, give every
 * option its value or default, check what holds between them. All errors are kept,
 * not only the first. All memory hangs on the conf's index and goes with it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/conf/inside.h"

#define CHUNK 16384

struct cf_chunk {
	struct cf_chunk *next;
	size_t used, cap;
	_Alignas(16) char mem[];
};

/* ---- memory ------------------------------------------------------------------------------- */

void *
cf_alloc(struct cf_load *l, size_t n)
{
	struct cf_chunk *c = l->index->chunks;
	void *p;

	if (n > SIZE_MAX / 2) {
		l->nomem = true;
		return NULL;
	}
	n = (n + 15) & ~(size_t)15;
	if (c == NULL || c->cap - c->used < n) {
		size_t cap = n > CHUNK ? n : CHUNK;

		c = calloc(1, sizeof *c + cap);
		if (c == NULL) {
			l->nomem = true;
			return NULL;
		}
		c->cap = cap;
		c->next = l->index->chunks;
		l->index->chunks = c;
	}
	p = c->mem + c->used;
	c->used += n;
	return p;
}

char *
cf_dup(struct cf_load *l, struct tf_span s)
{
	char *p = cf_alloc(l, s.n + 1);

	if (p != NULL && s.n > 0)
		memcpy(p, s.p, s.n);
	return p;
}

/* ---- errors ------------------------------------------------------------------------------- */

static void
verror(struct cf_load *l, const char *file, unsigned line, const char *where, const char *fmt,
    va_list ap)
{
	struct tf_buf b = { 0 };
	const char *text = NULL;

	l->failed = true;
	if (l->errors->n == CONF_ERRORS_MAX) {
		l->errors->more++;
		return;
	}
	if (file != NULL)
		tf_buf_addstr(&b, file);
	if (line > 0)
		tf_buf_printf(&b, ":%u", line);
	if (file != NULL)
		tf_buf_addstr(&b, ": ");
	tf_buf_addstr(&b, where);
	if (tf_buf_vprintf(&b, fmt, ap) == 0)
		text = tf_buf_cstr(&b);
	if (text == NULL) {
		l->nomem = true;
		tf_buf_free(&b);
		return;
	}
	l->errors->v[l->errors->n++] = b.p; /* the buffer's memory is the error now */
}

void
cf_error(struct cf_load *l, const char *file, unsigned line, const char *title, const char *key,
    const char *fmt, ...)
{
	char where[CF_MODEL_MAX + 128] = "";
	va_list ap;

	if (title != NULL)
		snprintf(where, sizeof where, "[%s] %s%s", title, key != NULL ? key : "",
		    key != NULL ? ": " : "");
	va_start(ap, fmt);
	verror(l, file, line, where, fmt, ap);
	va_end(ap);
}

void
cf_error_at(
    struct cf_load *l, const struct cf_inst *i, enum cf_option_id option, const char *fmt, ...)
{
	const struct cf_source *src = &i->source[option - cf_sections[i->section].first];
	bool set = src->text != NULL && src->file != NULL;
	char why[CF_WHY * 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	cf_error(l, set ? src->file : i->file, set ? src->line : i->line, i->title,
	    l->index->keys[option], "%s", why);
}

void
conf_errors_free(struct conf_errors *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i]);
	*e = (struct conf_errors){ 0 };
}

/* ---- sections ----------------------------------------------------------------------------- */

struct cf_inst *
cf_instance(struct cf_load *l, enum cf_section_id section, struct tf_span name)
{
	const struct cf_section *sec = &cf_sections[section];
	char title[CF_MODEL_MAX + 32];
	struct cf_inst *i;

	snprintf(title, sizeof title, "%s%s%.*s", sec->name, name.n > 0 ? " " : "", (int)name.n,
	    name.n > 0 ? name.p : "");
	i = tf_map_get(&l->index->titles, tf_cspan(title));
	if (i != NULL)
		return i;
	if (l->index->n == CF_SECTIONS_MAX) {
		cf_error(
		    l, NULL, 0, NULL, NULL, "[%s]: more than %d sections", title, CF_SECTIONS_MAX);
		return NULL;
	}
	i = cf_alloc(l, sizeof *i);
	if (i == NULL)
		return NULL;
	i->section = section;
	i->title = cf_dup(l, tf_cspan(title));
	i->source = cf_alloc(l, sec->n * sizeof *i->source);
	if (i->title == NULL || i->source == NULL)
		return NULL;
	i->name = sec->many ? i->title + strlen(sec->name) + 1 : NULL;
	if (tf_map_put(&l->index->titles, tf_cspan(i->title), i) != 0) {
		l->nomem = true;
		return NULL;
	}
	if (l->index->last != NULL)
		l->index->last->next = i;
	else
		l->index->first = i;
	l->index->last = i;
	l->index->n++;
	return i;
}

/* The plans that exist unwritten, and the sections that exist once. */
static void
add_builtin(struct cf_load *l)
{
	static const struct {
		const char *name, *rpm, *tpm, *window, *length, *tokens;
	} plans[] = {
#define PLAN(name, rpm, tpm, window, length, tokens) { name, rpm, tpm, window, length, tokens },
#include "common/conf/plan.def"
#undef PLAN
	};
	struct cf_inst *i;

	for (enum cf_section_id s = 0; s < CF_SECTIONS; s++)
		if (!cf_sections[s].many)
			cf_instance(l, s, tf_span("", 0));
	for (size_t k = 0; k < TF_LEN(plans); k++) {
		i = cf_instance(l, CF_plan, tf_cspan(plans[k].name));
		if (i == NULL)
			return;
		i->source[CF_plan_rpm - CF_FIRST_plan].text = plans[k].rpm;
		i->source[CF_plan_tpm - CF_FIRST_plan].text = plans[k].tpm;
		i->source[CF_plan_window - CF_FIRST_plan].text = plans[k].window;
		if (plans[k].length[0] != '\0')
			i->source[CF_plan_window_length - CF_FIRST_plan].text = plans[k].length;
		if (plans[k].tokens[0] != '\0')
			i->source[CF_plan_window_tokens - CF_FIRST_plan].text = plans[k].tokens;
	}
}

/* ---- values ------------------------------------------------------------------------------- */

static void
give_values(struct cf_load *l, struct cf_inst *i)
{
	const struct cf_section *sec = &cf_sections[i->section];
	char why[CF_WHY];

	if (sec->many)
		memcpy(i->values, &i->name, sizeof i->name); /* their first member */
	for (size_t k = 0; k < sec->n && !l->nomem; k++) {
		const struct cf_option *o = &cf_options[sec->first + k];
		const char *text = i->source[k].text != NULL ? i->source[k].text : o->def;

		why[0] = '\0';
		if ((o->flags & CONF_REQUIRED) && text[0] == '\0')
			cf_error_at(l, i, sec->first + k, "must be set");
		else if (cf_value(l, o, text, (char *)i->values + o->offset, why) == TF_E_INVAL)
			cf_error_at(l, i, sec->first + k, "%s", why);
	}
}

/*
 * Puts the sections into the order of conf.def; those of one kind stay in the order of the files.
 */
static void
sort_sections(struct conf_index *x)
{
	struct cf_inst *all = x->first, **end = &x->first, **at, *i;

	for (enum cf_section_id s = 0; s < CF_SECTIONS; s++) {
		for (at = &all; (i = *at) != NULL;) {
			if (i->section != s) {
				at = &i->next;
				continue;
			}
			*at = i->next;
			*end = i;
			end = &i->next;
			i->next = NULL;
		}
	}
}

/* Room for every section's struct, then the values. */
static void
build(struct cf_load *l)
{
	size_t count[CF_SECTIONS] = { 0 }, done[CF_SECTIONS] = { 0 };
	char *base[CF_SECTIONS];

	sort_sections(l->index);
	for (struct cf_inst *i = l->index->first; i != NULL; i = i->next)
		count[i->section]++;
	for (enum cf_section_id s = 0; s < CF_SECTIONS; s++) {
		const struct cf_section *sec = &cf_sections[s];

		base[s] = (char *)l->conf + sec->offset;
		if (!sec->many)
			continue;
		base[s] = cf_alloc(l, (count[s] + 1) * sec->size);
		if (base[s] == NULL)
			return;
		memcpy((char *)l->conf + sec->offset, &base[s], sizeof base[s]);
		memcpy((char *)l->conf + sec->offset_n, &count[s], sizeof count[s]);
	}
	for (struct cf_inst *i = l->index->first; i != NULL; i = i->next) {
		i->values = base[i->section] + done[i->section]++ * cf_sections[i->section].size;
		give_values(l, i);
	}
}

/* The file's spelling of every field. */
static void
spell_keys(struct cf_load *l)
{
	for (size_t i = 0; i < CF_OPTIONS; i++) {
		char *key = cf_dup(l, tf_cspan(cf_options[i].field));

		for (char *p = key; p != NULL && *p != '\0'; p++)
			if (*p == '_')
				*p = '-';
		l->index->keys[i] = key;
	}
}

int
conf_parse(const struct conf_text *texts, size_t n, struct conf **out, struct conf_errors *errors)
{
	struct conf *conf = calloc(1, sizeof *conf);
	struct cf_load l = { .conf = conf, .errors = errors };

	*out = NULL;
	if (conf == NULL)
		return TF_E_NOMEM;
	l.index = conf->index = calloc(1, sizeof *conf->index);
	if (l.index == NULL) {
		free(conf);
		return TF_E_NOMEM;
	}
	spell_keys(&l);
	if (!l.nomem)
		add_builtin(&l);
	for (size_t i = 0; i < n && !l.nomem; i++)
		cf_read(&l, texts[i].file, texts[i].text);
	if (!l.nomem)
		build(&l);
	/* what holds between options is asked only of options that are themselves right */
	if (!l.nomem && !l.failed)
		cf_check(&l);
	if (l.nomem || l.failed) {
		conf_free(&conf);
		return l.nomem ? TF_E_NOMEM : TF_E_INVAL;
	}
	*out = conf;
	return 0;
}

void
conf_free(struct conf **conf)
{
	struct cf_chunk *c, *next;

	if (*conf == NULL)
		return;
	tf_map_free(&(*conf)->index->titles);
	tf_map_free(&(*conf)->index->plans);
	tf_map_free(&(*conf)->index->workers);
	for (int side = 0; side < CONF_SIDES; side++) {
		tf_map_free(&(*conf)->index->names[side].exact);
		tf_map_free(&(*conf)->index->names[side].folded);
	}
	for (c = (*conf)->index->chunks; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	free((*conf)->index);
	free(*conf);
	*conf = NULL;
}
