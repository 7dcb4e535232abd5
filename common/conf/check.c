/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold between options, and inside texts whose form the table cannot state.
 * Runs when every option is right by itself. No file is looked at: the daemons run as
 * different users, and each says itself what it cannot open.
 */
#include "config.h"

#include <stdio.h>
#include <sys/un.h>

#include "common/conf/inside.h"

/* ---- forms -------------------------------------------------------------------------------- */

/* NULL when text is scheme://HOST[:PORT][/path] with one of the schemes, else what is wrong. */
static const char *
url_fault(const char *text, bool https, bool path)
{
	const char *host = text, *end, *port;
	uint64_t number;

	if (strncmp(text, "http://", 7) == 0)
		host += 7;
	else if (https && strncmp(text, "https://", 8) == 0)
		host += 8;
	else
		return https ? "must begin with http:// or https://" : "must begin with http://";
	end = host + strcspn(host, "/?#");
	for (const char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return "holds a character that no URL has";
	if (memchr(host, '@', (size_t)(end - host)) != NULL)
		return "must not hold a user or password";
	if (strpbrk(end, "?#") != NULL)
		return "must not have a query or a fragment";
	if (!path && end[0] != '\0' && strcmp(end, "/") != 0)
		return "must not have a path";
	port =
	    host[0] == '[' ? memchr(host, ']', (size_t)(end - host)) : host + strcspn(host, ":/");
	if (port == NULL)
		return "has a [ without ]";
	if (host[0] == '[')
		port++;
	if (port == host || (host[0] == '[' && port == host + 2))
		return "has no host";
	if (port == end)
		return NULL;
	if (*port != ':' ||
	    tf_span_u64(tf_span(port + 1, (size_t)(end - port) - 1), 65535, &number) != 0 ||
	    number == 0)
		return "has a bad port";
	return NULL;
}

/* The path of "unix:PATH": NULL when it is fine, else what is wrong. */
static const char *
unix_fault(const char *text)
{
	struct sockaddr_un sun;

	if (text[5] != '/')
		return "the path of a UNIX socket must be absolute";
	return strlen(text + 5) >= sizeof sun.sun_path ? "longer than a UNIX socket's path can be" :
							 NULL;
}

/* ---- gatewayd ----------------------------------------------------------------------------- */

static void
check_gatewayd(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_gatewayd *g = i->values;
	const char *fault;

	if (g->tls_cert != NULL && g->tls_key == NULL)
		cf_error_at(l, i, CF_gatewayd_tls_cert, "needs tls-key beside it");
	if (g->tls_key != NULL && g->tls_cert == NULL)
		cf_error_at(l, i, CF_gatewayd_tls_key, "needs tls-cert beside it");
	if (g->listen_tls.n > 0 && g->tls_cert == NULL && g->tls_key == NULL)
		cf_error_at(l, i, CF_gatewayd_listen_tls, "needs tls-cert and tls-key");
	for (size_t a = 0; a < g->listen.n; a++)
		for (size_t b = 0; b < g->listen_tls.n; b++)
			if (g->listen.v[a].port != 0 &&
			    strcmp(g->listen.v[a].text, g->listen_tls.v[b].text) == 0)
				cf_error_at(l, i, CF_gatewayd_listen_tls,
				    "\"%.60s\" stands in listen too", g->listen.v[a].text);
	if (g->public_url != NULL && (fault = url_fault(g->public_url, true, true)) != NULL)
		cf_error_at(l, i, CF_gatewayd_public_url, "%s", fault);
	if (g->body_memory < g->body_max)
		cf_error_at(l, i, CF_gatewayd_body_memory, "must be at least body-max");
}

/* Three capitals: whether such a currency exists is the operator's business. */
static void
check_common(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_common *c = i->values;

	if (c->run_dir == NULL)
		cf_error_at(l, i, CF_common_run_dir, "must not be empty");
	if (c->currency == NULL || strlen(c->currency) != 3 || strspn(c->currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		cf_error_at(l, i, CF_common_currency, "is three capital letters: USD, EUR, ...");
}

/* ---- models and plans --------------------------------------------------------------------- */

static void
check_image_sizes(struct cf_load *l, const struct cf_inst *i, const struct conf_model *m)
{
	const struct conf_list *sizes = &m->price_image_sizes;

	for (size_t k = 0; k < sizes->n; k++) {
		const char *fault = cf_image_size_fault(sizes->v[k]);

		for (size_t o = 0; o < k && fault == NULL; o++)
			if (cf_image_size_same(sizes->v[o], sizes->v[k]))
				fault = "prices the same images as an entry before it";
		if (fault != NULL)
			cf_error_at(l, i, CF_model_price_image_sizes, "\"%.60s\" %s", sizes->v[k], fault);
	}
}

static void
check_model(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_model *m = i->values;

	check_image_sizes(l, i, m);
	if (m->context > 0 && m->max_output > m->context)
		cf_error_at(l, i, CF_model_max_output, "is more than context");
}

/* A limit that was written down but means nothing would let everything through in silence. */
static void
check_plan(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_plan *p = i->values;
	bool windows = strcmp(p->window, "none") != 0;

	if (windows && p->window_tokens == 0)
		cf_error_at(l, i, CF_plan_window_tokens, "must be set for window = %s", p->window);
	if (!windows && i->source[CF_plan_window_tokens - CF_FIRST_plan].file != NULL && p->window_tokens != 0)
		cf_error_at(l, i, CF_plan_window_tokens, "has no meaning for window = none");
	for (size_t k = 0; k < p->models.n; k++) {
		struct tf_span id = tf_cspan(p->models.v[k]);

		if ((id.n == 0 || id.p[id.n - 1] != '*') && conf_find_model_id(l->conf, id) == NULL)
			cf_error_at(l, i, CF_plan_models, "\"%.140s\": there is no [model] of that id", p->models.v[k]);
	}
}

/* ---- workers ------------------------------------------------------------------------------ */

static void
check_runtime(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_worker *w = i->values;
	bool managed = strcmp(w->runtime, "managed") == 0;
	const char *fault = NULL;

	if (managed && w->command == NULL)
		cf_error_at(l, i, CF_worker_command, "must be set for runtime = managed");
	if (!managed && w->command != NULL)
		cf_error_at(l, i, CF_worker_command, "has no meaning for runtime = upstream");
	if (!managed && w->env.n > 0)
		cf_error_at(l, i, CF_worker_env, "has no meaning for runtime = upstream");
	if (!managed && w->url == NULL)
		cf_error_at(l, i, CF_worker_url, "must be set for runtime = upstream");
	if (managed && w->proxy != NULL)
		cf_error_at(l, i, CF_worker_proxy, "has no meaning for runtime = managed");
	if (w->url != NULL)
		fault = strncmp(w->url, "unix:", 5) == 0 ? unix_fault(w->url) :
							   url_fault(w->url, !managed, true);
	if (fault != NULL)
		cf_error_at(l, i, CF_worker_url, "%s", fault);
	if (w->proxy != NULL && (fault = url_fault(w->proxy, false, false)) != NULL)
		cf_error_at(l, i, CF_worker_proxy, "%s", fault);
	if (w->proxy != NULL && w->url != NULL && strncmp(w->url, "unix:", 5) == 0)
		cf_error_at(l, i, CF_worker_proxy, "a UNIX socket is not reached through a proxy");
	if (w->probe_path != NULL && w->probe_path[0] != '/')
		cf_error_at(l, i, CF_worker_probe_path, "must begin with /");
}

static void
check_worker(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_worker *w = i->values;
	const struct conf_model *m;
	struct tf_span theirs;

	check_runtime(l, i);
	for (size_t k = 0; k < w->env.n; k++) {
		const char *eq = strchr(w->env.v[k], '=');

		if (eq == NULL || eq == w->env.v[k])
			cf_error_at(l, i, CF_worker_env, "entry %zu is not NAME=VALUE", k + 1);
	}
	for (size_t k = 0; k < w->models.n; k++) {
		m = conf_worker_model(l->conf, w, k, &theirs);
		if (m == NULL)
			cf_error_at(l, i, CF_worker_models,
			    "\"%.140s\": there is no [model] of that id", w->models.v[k]);
		else if (theirs.n == 0)
			cf_error_at(l, i, CF_worker_models,
			    "\"%.140s\": no name behind the =", w->models.v[k]);
		for (size_t j = 0; m != NULL && j < k; j++)
			if (conf_worker_model(l->conf, w, j, NULL) == m)
				cf_error_at(l, i, CF_worker_models, "names \"%s\" twice", m->name);
	}
}

/* ---- instance names ----------------------------------------------------------------------- */

struct named {
	const struct cf_inst *inst;
	enum cf_option_id option; /* for gatewayd and routerd: their name */
	const char *name;
};

/*
 * Control sockets and sessions between daemons go by instance name, so no two may be the
 * same, and RUN_DIR/NAME plus the longest ending we use must fit a socket address.
 */
static void
check_name(struct cf_load *l, const struct named *a, size_t n)
{
	size_t dir = strlen(l->conf->common.run_dir);
	struct sockaddr_un sun;

	for (size_t k = 0; k < n; k++) {
		const char *fault = NULL;
		const struct named *x = &a[k];

		if (x->name == NULL || !cf_instance_name_ok(tf_cspan(x->name)))
			fault =
			    "a name is 1 to 64 letters, digits, . _ or -, and begins with a letter or digit";
		else if (strcmp(x->name, "billingd") == 0)
			fault = "billingd is the name of the ledger's daemon";
		else if (strcmp(x->name, "stored") == 0)
			fault = "stored is the name of the store's daemon";
		else if (dir + strlen(x->name) + sizeof "/runtime-.sock" > sizeof sun.sun_path)
			fault = "too long for a socket below run-dir";
		for (size_t j = 0; fault == NULL && j < k; j++)
			if (a[j].name != NULL && strcmp(a[j].name, x->name) == 0)
				fault = "another daemon has this name";
		if (fault == NULL)
			continue;
		if (x->option != CF_OPTIONS)
			cf_error_at(l, x->inst, x->option, "%s", fault);
		else
			cf_error(
			    l, x->inst->file, x->inst->line, x->inst->title, NULL, "%s", fault);
	}
}

static void
check_names(struct cf_load *l)
{
	struct named *a = cf_alloc(l, (l->index->n + 1) * sizeof *a);
	size_t n = 0;

	for (const struct cf_inst *i = l->index->first; a != NULL && i != NULL; i = i->next) {
		if (i->section == CF_gatewayd)
			a[n++] = (struct named){ i, CF_gatewayd_name, l->conf->gatewayd.name };
		else if (i->section == CF_routerd)
			a[n++] = (struct named){ i, CF_routerd_name, l->conf->routerd.name };
		else if (i->section == CF_worker)
			a[n++] = (struct named){ i, CF_OPTIONS, i->name };
	}
	check_name(l, a, n);
}

/* ---- stored ------------------------------------------------------------------------------- */

static void
check_stored(struct cf_load *l, const struct cf_inst *i)
{
	const struct conf_stored *c = &l->conf->stored;

	if (c->database == NULL)
		cf_error_at(l, i, CF_stored_database, "must not be empty");
	if (c->blob_dir == NULL)
		cf_error_at(l, i, CF_stored_blob_dir, "must not be empty");
	if (c->object_max > c->memory)
		cf_error_at(l, i, CF_stored_object_max, "is more than memory");
}

/* ---- all ---------------------------------------------------------------------------------- */

static void
index_named(struct cf_load *l, struct tf_map *map, const struct cf_inst *i)
{
	if (tf_map_put(map, tf_cspan(i->name), i->values) != 0)
		l->nomem = true;
}

void
cf_check(struct cf_load *l)
{
	cf_index_models(l);
	for (const struct cf_inst *i = l->index->first; i != NULL && !l->nomem; i = i->next) {
		if (i->section == CF_common)
			check_common(l, i);
		else if (i->section == CF_billingd && l->conf->billingd.database == NULL)
			cf_error_at(l, i, CF_billingd_database, "must not be empty");
		else if (i->section == CF_stored)
			check_stored(l, i);
		else if (i->section == CF_gatewayd)
			check_gatewayd(l, i);
		else if (i->section == CF_model)
			check_model(l, i);
		else if (i->section == CF_plan)
			check_plan(l, i);
		else if (i->section == CF_worker)
			check_worker(l, i);
		if (i->section == CF_worker)
			index_named(l, &l->index->workers, i);
		else if (i->section == CF_plan)
			index_named(l, &l->index->plans, i);
	}
	if (!l->failed && !l->nomem)
		check_names(l);
}
