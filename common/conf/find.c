/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to sections: the look-up tables built once per load and the look-ups over
 * them. A request pays one hash for an exact id or alias; only a name that neither is
 * pays for patterns and folding.
 */
#include "config.h"

#include <stdlib.h>

#include "common/conf/inside.h"

bool
cf_instance_name_ok(struct tf_span name)
{
	if (name.n == 0 || name.n > CF_NAME_MAX || strchr("._-", name.p[0]) != NULL)
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i], low = (char)(c | 0x20);

		if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') &&
		    memchr("._-", c, 3) == NULL)
			return false;
	}
	return true;
}

bool
cf_model_name_ok(struct tf_span name)
{
	if (name.n == 0 || name.n > CF_MODEL_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] >= 0x7f || strchr(",=\"]*", name.p[i]) != NULL)
			return false;
	return true;
}

static struct tf_span
fold(struct tf_span name, char *out)
{
	for (size_t i = 0; i < name.n; i++)
		out[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
	return tf_span(out, name.n);
}

/* ---- building ----------------------------------------------------------------------------- */

static struct cf_name *
put(struct cf_load *l, struct tf_map *map, struct tf_span key, const struct conf_model *model)
{
	struct cf_name *n = cf_alloc(l, sizeof *n);
	char *copy = cf_dup(l, key);

	if (n == NULL || copy == NULL)
		return NULL;
	n->key = tf_span(copy, key.n);
	n->model = model;
	if (tf_map_put(map, n->key, n) != 0) {
		l->nomem = true;
		return NULL;
	}
	return n;
}

/* An exact name and its folded form; false when another model has the exact one. */
static bool
add_name(struct cf_load *l, struct cf_names *names, struct tf_span name, const struct conf_model *model)
{
	char low[CF_MODEL_MAX];
	struct tf_span folded = fold(name, low);
	struct cf_name *old = tf_map_get(&names->exact, name);

	if (old != NULL)
		return old->model == model;
	put(l, &names->exact, name, model);
	old = tf_map_get(&names->folded, folded);
	if (old == NULL)
		put(l, &names->folded, folded, model);
	else if (old->model != model)
		old->model = NULL;
	return true;
}

/* The same of a name that ends in '*', given without it. */
static bool
add_pattern(struct cf_names *names, struct tf_span prefix, const struct conf_model *model)
{
	for (size_t k = 0; k < names->npatterns; k++)
		if (tf_span_eq(names->patterns[k].prefix, prefix))
			return names->patterns[k].model == model;
	names->patterns[names->npatterns++] = (struct cf_pattern){ prefix, model };
	return true;
}

/* sides: bits 1 << enum conf_side. */
static void
add_alias(struct cf_load *l, const struct cf_inst *i, enum cf_option_id option, unsigned sides, const char *alias)
{
	struct tf_span s = tf_cspan(alias);
	bool pattern = s.n > 0 && s.p[s.n - 1] == '*', mine = true;

	if (pattern)
		s.n--;
	if (!(pattern && s.n == 0) && !cf_model_name_ok(s)) {
		cf_error_at(l, i, option,
		    "\"%.60s\" is not a name: printable ASCII without space , = \" ], a * only at its end",
		    alias);
		return;
	}
	for (int side = 0; side < CONF_SIDES; side++) {
		struct cf_names *names = &l->index->names[side];

		if (sides & 1u << side)
			mine = mine && (pattern ? add_pattern(names, s, i->values) : add_name(l, names, s, i->values));
	}
	if (!mine)
		cf_error_at(l, i, option, "\"%s\" names another model already", alias);
}

static void
add_aliases(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_model *m = i->values;
	const struct {
		const struct conf_list *names;
		enum cf_option_id option;
		unsigned sides;
	} lists[] = {
		{ &m->aliases, CF_model_aliases, 1u << CONF_SIDE_OPENAI | 1u << CONF_SIDE_ANTHROPIC },
		{ &m->aliases_openai, CF_model_aliases_openai, 1u << CONF_SIDE_OPENAI },
		{ &m->aliases_anthropic, CF_model_aliases_anthropic, 1u << CONF_SIDE_ANTHROPIC },
	};

	for (size_t k = 0; k < TF_LEN(lists); k++)
		for (size_t n = 0; n < lists[k].names->n && !l->nomem; n++)
			add_alias(l, i, lists[k].option, lists[k].sides, lists[k].names->v[n]);
}

static int
longer_first(const void *a, const void *b)
{
	const struct cf_pattern *x = a, *y = b;

	return x->prefix.n < y->prefix.n ? 1 : x->prefix.n > y->prefix.n ? -1 : 0;
}

void
cf_index_models(struct cf_load *l)
{
	size_t aliases = 0;

	for (const struct cf_inst *i = l->index->first; i != NULL; i = i->next) {
		const struct conf_model *m = i->values;

		if (i->section == CF_model)
			aliases += m->aliases.n + m->aliases_openai.n + m->aliases_anthropic.n;
	}
	for (int side = 0; side < CONF_SIDES; side++) {
		struct cf_names *names = &l->index->names[side];

		names->patterns = cf_alloc(l, (aliases + 1) * sizeof *names->patterns);
		if (names->patterns == NULL)
			return;
		/* every id before any alias, so that the alias is the one at fault */
		for (const struct cf_inst *i = l->index->first; i != NULL; i = i->next)
			if (i->section == CF_model)
				add_name(l, names, tf_cspan(i->name), i->values);
	}
	for (const struct cf_inst *i = l->index->first; i != NULL; i = i->next)
		if (i->section == CF_model)
			add_aliases(l, i);
	for (int side = 0; side < CONF_SIDES; side++) {
		struct cf_names *names = &l->index->names[side];

		qsort(names->patterns, names->npatterns, sizeof *names->patterns, longer_first);
	}
}

/* ---- looking up --------------------------------------------------------------------------- */

const struct conf_model *
conf_find_model(const struct conf *conf, enum conf_side side, struct tf_span name)
{
	const struct cf_names *names = &conf->index->names[side];
	const struct cf_name *n = tf_map_get(&names->exact, name);
	char low[CF_MODEL_MAX];

	if (n != NULL)
		return n->model;
	if (name.n == 0 || name.n > CF_MODEL_MAX)
		return NULL;
	for (size_t i = 0; i < names->npatterns; i++) {
		const struct cf_pattern *p = &names->patterns[i];

		if (p->prefix.n <= name.n && memcmp(p->prefix.p, name.p, p->prefix.n) == 0)
			return p->model;
	}
	n = tf_map_get(&names->folded, fold(name, low));
	return n != NULL ? n->model : NULL;
}

const struct conf_model *
conf_find_model_id(const struct conf *conf, struct tf_span id)
{
	const struct cf_name *n = tf_map_get(&conf->index->names[CONF_SIDE_OPENAI].exact, id);

	return n != NULL && tf_span_is(id, n->model->name) ? n->model : NULL;
}

const struct conf_plan *
conf_find_plan(const struct conf *conf, struct tf_span name)
{
	return tf_map_get(&conf->index->plans, name);
}

const struct conf_worker *
conf_find_worker(const struct conf *conf, struct tf_span name)
{
	return tf_map_get(&conf->index->workers, name);
}

const struct conf_model *
conf_worker_model(
    const struct conf *conf, const struct conf_worker *worker, size_t i, struct tf_span *theirs)
{
	struct tf_span entry = tf_cspan(worker->models.v[i]), id = entry;
	const char *eq = memchr(entry.p, '=', entry.n);

	if (eq != NULL) {
		id.n = (size_t)(eq - entry.p);
		entry = tf_span(eq + 1, entry.n - id.n - 1);
		while (id.n > 0 && id.p[id.n - 1] == ' ')
			id.n--;
		while (entry.n > 0 && entry.p[0] == ' ')
			entry = tf_span(entry.p + 1, entry.n - 1);
	}
	if (theirs != NULL)
		*theirs = entry;
	return conf_find_model_id(conf, id); /* an alias is what clients say */
}
