/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's commands: workspaces, keys, plans, usage, status. Reads come from memory;
 * changes go through admin.c and answer when they are durable and told.
 */
#include "config.h"

#include <stdio.h>

#include "billingd/billingd.h"

#define GRACE_MAX_S (366 * 86400)

/* ---- rows --------------------------------------------------------------------------------- */

/* Seconds since 1970, or null. */
static void
write_time(struct js_w *w, const char *name, int64_t ms)
{
	if (ms == BL_NEVER_MS || ms == 0)
		js_w_knull(w, name);
	else
		js_w_ki64(w, name, ms / 1000);
}

static void
workspace_row(struct ctl_req *req, const struct bl_workspace *ws)
{
	struct js_w *w = ctl_row(req);
	char id[TF_ID_TEXT + 1];

	tf_id_text(ws->row.id, id);
	js_w_kcstr(w, "id", id);
	js_w_kcstr(w, "name", ws->row.name);
	js_w_kcstr(w, "plan", ws->row.plan);
	write_time(w, "created", ws->row.created_ms);
	js_w_ku64(w, "keys", ws->n_keys);
	ctl_row_end(req);
}

static void
write_key(struct js_w *w, const struct bl_key *k)
{
	const struct bl_secret *s = bl_key_current(k), *before = NULL;
	int64_t now = bl_wall_ms();
	char id[TF_ID_TEXT + 1];

	if (k->secrets.n > 1)
		before = TF_CONTAINER(tf_list_first(&k->secrets), struct bl_secret, node);
	tf_id_text(k->row.id, id);
	js_w_kcstr(w, "id", id);
	js_w_kcstr(w, "name", k->row.name);
	js_w_kcstr(w, "workspace", k->workspace->row.name);
	js_w_kcstr(w, "prefix", s != NULL ? s->row.prefix : NULL);
	js_w_kcstr(w, "last4", s != NULL ? s->row.last4 : NULL);
	js_w_kcstr(w, "form", k->row.form);
	js_w_kcstr(w, "env", strcmp(k->row.form, "tf") == 0 ? k->row.env : NULL);
	js_w_kcstr(w, "status", wire_key_status_text(bl_key_status(k, now)));
	write_time(w, "created", k->row.created_ms);
	write_time(w, "expires", k->row.expires_ms);
	write_time(w, "rotated", s != NULL && s->row.generation > 1 ? s->row.created_ms : 0);
	write_time(w, "grace_until", before != NULL && before->row.until_ms > now ? before->row.until_ms : 0);
	js_w_key(w, "models");
	js_w_array(w);
	for (size_t i = 0; i < k->row.n_models; i++)
		js_w_cstr(w, k->row.models[i]);
	js_w_array_end(w);
	write_time(w, "last_used", k->row.last_used_ms);
}

static void
key_row(struct ctl_req *req, const struct bl_key *k)
{
	write_key(ctl_row(req), k);
	ctl_row_end(req);
}

/* ---- finding ------------------------------------------------------------------------------ */

static struct bl_workspace *
find_workspace(struct bl *bl, struct ctl_req *req)
{
	struct bl_workspace *w = bl_index_find_workspace(&bl->index, ctl_str(req, "workspace"));

	if (w == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such workspace");
	return w;
}

static struct bl_key *
find_key(struct bl *bl, struct ctl_req *req)
{
	struct bl_key *k = bl_index_find_key(&bl->index, ctl_str(req, "key"));

	if (k == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such key; key list shows their ids");
	return k;
}

/* ---- changes ------------------------------------------------------------------------------ */

static bool
change_failed(struct ctl_req *req, int rc, const char *exists)
{
	switch (rc) {
	case 0:
		return false;
	case TF_E_EXIST:
		ctl_fail(req, CTL_CONFLICT, "%s", exists);
		break;
	case TF_E_STATE:
		ctl_fail(req, CTL_CONFLICT, "the key is revoked");
		break;
	case TF_E_INVAL:
		ctl_fail(req, CTL_USAGE, "a name has 1 to %d printable characters, without quotes and backslashes", BL_NAME_MAX);
		break;
	default:
		ctl_fail(req, CTL_FAILED, "nothing was changed: %s", tf_err_text(rc));
		break;
	}
	return true;
}

static void
workspace_changed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (change_failed(req, c->rc, "a workspace of that name exists"))
		return;
	workspace_row(req, bl_index_workspace(&c->bl->index, tf_id_span(&c->workspace.id)));
	ctl_end(req);
}

static void
cmd_workspace_create(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct tf_span plan = ctl_has(req, "plan") ? ctl_str(req, "plan") : TF_SPAN("test");

	if (conf_find_plan(bl->conf, plan) == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such plan; plan list shows them");
	else
		(void)change_failed(req, bl_admin_workspace(bl, ctl_str(req, "name"), plan, workspace_changed, req), "");
}

static void
cmd_workspace_set_plan(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = find_workspace(bl, req);

	if (w == NULL)
		return;
	if (conf_find_plan(bl->conf, ctl_str(req, "plan")) == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such plan; plan list shows them");
	else
		(void)change_failed(req, bl_admin_plan(bl, w, ctl_str(req, "plan"), workspace_changed, req), "");
}

/* The only place that shows a key's text. */
static void
key_minted(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;
	struct js_w *w;

	if (change_failed(req, c->rc, "the key was changed meanwhile"))
		return;
	w = ctl_row(req);
	js_w_kcstr(w, "key", c->text);
	write_key(w, bl_index_key(&c->bl->index, tf_id_span(&c->secret.key)));
	ctl_row_end(req);
	ctl_end(req);
}

#define MODELS_MAX 256

static void
cmd_key_mint(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = find_workspace(bl, req);
	struct tf_span models[MODELS_MAX];
	struct bl_mint m = { .workspace = w, .name = TF_SPAN("key"), .form = TF_SPAN("tf"), .env = TF_SPAN("prod"),
		.expires_ms = BL_NEVER_MS, .models = models };
	int64_t now = bl_wall_ms() / 1000, expires;

	if (w == NULL)
		return; /* and the request has ended */
	m.n_models = ctl_list_n(req, "model");
	if (ctl_has(req, "name"))
		m.name = ctl_str(req, "name");
	if (ctl_has(req, "form"))
		m.form = ctl_str(req, "form");
	if (ctl_has(req, "env"))
		m.env = ctl_str(req, "env");
	if (ctl_has(req, "expires")) {
		expires = ctl_int(req, "expires", 0);
		if (expires <= now || expires > INT64_C(253402300800)) {
			ctl_fail(req, CTL_USAGE, "expires lies in the past, or too far ahead");
			return;
		}
		m.expires_ms = expires * 1000;
	}
	if (!(tf_span_is(m.form, "tf") || tf_span_is(m.form, "sk-oais")) ||
	    !(tf_span_is(m.env, "prod") || tf_span_is(m.env, "stag") || tf_span_is(m.env, "dev"))) {
		ctl_fail(req, CTL_USAGE, "form is tf or sk-oais, env is prod, stag or dev");
		return;
	}
	if (m.n_models > MODELS_MAX) {
		ctl_fail(req, CTL_USAGE, "at most %d models", MODELS_MAX);
		return;
	}
	for (size_t i = 0; i < m.n_models; i++) {
		const struct conf_model *model = conf_find_model(bl->conf, CONF_SIDE_OPENAI, ctl_list(req, "model", i));

		if (model == NULL) /* a key opens both APIs, so it may be named as either does */
			model = conf_find_model(bl->conf, CONF_SIDE_ANTHROPIC, ctl_list(req, "model", i));

		if (model == NULL) {
			ctl_fail(req, CTL_NOT_FOUND, "the catalogue has no model " TF_SPAN_FMT,
			    TF_SPAN_ARG(ctl_list(req, "model", i)));
			return;
		}
		models[i] = tf_cspan(model->name);
	}
	(void)change_failed(req, bl_admin_mint(bl, &m, key_minted, req), "");
}

static void
cmd_key_rotate(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_key *k = find_key(bl, req);
	int64_t grace;

	if (k == NULL)
		return;
	grace = ctl_int(req, "grace", 0);
	if (grace < 0 || grace > GRACE_MAX_S)
		ctl_fail(req, CTL_USAGE, "grace is at most a year");
	else
		(void)change_failed(req, bl_admin_rotate(bl, k, grace * 1000, key_minted, req), "");
}

static void
key_revoked(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (change_failed(req, c->rc, ""))
		return;
	key_row(req, bl_index_key(&c->bl->index, tf_id_span(&c->key.id)));
	ctl_end(req);
}

/* Revoking what is revoked is what the operator wanted. */
static void
cmd_key_revoke(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_key *k = find_key(bl, req);

	if (k == NULL)
		return;
	if (k->row.revoked_ms != BL_NEVER_MS) {
		key_row(req, k);
		ctl_end(req);
		return;
	}
	(void)change_failed(req, bl_admin_revoke(bl, k, key_revoked, req), "");
}

/* ---- reading ------------------------------------------------------------------------------ */

static void
cmd_workspace_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w;
	size_t pos = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		workspace_row(req, w);
	ctl_end(req);
}

static void
cmd_workspace_show(void *arg, struct ctl_req *req)
{
	struct bl_workspace *w = find_workspace(bl_of_command(arg), req);

	if (w == NULL)
		return;
	workspace_row(req, w);
	ctl_end(req);
}

static void
cmd_key_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = NULL;
	struct bl_key *k;
	size_t pos = 0;

	if (ctl_has(req, "workspace") && (w = find_workspace(bl, req)) == NULL)
		return;
	while ((k = tf_map_next(&bl->index.keys, &pos)) != NULL)
		if (w == NULL || k->workspace == w)
			key_row(req, k);
	ctl_end(req);
}

static void
cmd_key_show(void *arg, struct ctl_req *req)
{
	struct bl_key *k = find_key(bl_of_command(arg), req);

	if (k == NULL)
		return;
	key_row(req, k);
	ctl_end(req);
}

static uint64_t
workspaces_on(const struct bl *bl, const char *plan)
{
	struct bl_workspace *w;
	uint64_t n = 0;
	size_t pos = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		n += strcmp(w->row.plan, plan) == 0;
	return n;
}

static void
write_list(struct js_w *w, const char *name, const struct conf_list *list)
{
	js_w_key(w, name);
	js_w_array(w);
	for (size_t i = 0; i < list->n; i++)
		js_w_cstr(w, list->v[i]);
	js_w_array_end(w);
}

static void
cmd_plan_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);

	for (size_t i = 0; i < bl->conf->plan_n; i++) {
		const struct conf_plan *p = &bl->conf->plan[i];
		struct js_w *w = ctl_row(req);

		js_w_kcstr(w, "name", p->name);
		js_w_ki64(w, "rpm", p->rpm);
		js_w_ki64(w, "tpm", p->tpm);
		js_w_ki64(w, "concurrency", p->concurrency);
		js_w_kcstr(w, "window", p->window);
		if (strcmp(p->window, "first-use") == 0)
			js_w_ku64(w, "window_seconds", p->window_length / 1000);
		else
			js_w_knull(w, "window_seconds");
		js_w_ki64(w, "window_tokens", p->window_tokens);
		write_list(w, "models", &p->models);
		write_list(w, "endpoints", &p->endpoints);
		js_w_ku64(w, "workspaces", workspaces_on(bl, p->name));
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
cmd_status(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct js_w *w = ctl_row(req);

	js_w_ku64(w, "epoch", bl->epoch);
	js_w_ku64(w, "change", bl->change);
	js_w_ku64(w, "gateways", wire_hub_count(bl->hub));
	js_w_ku64(w, "workspaces", bl->index.workspaces.n);
	js_w_ku64(w, "keys", bl->index.keys.n);
	js_w_ku64(w, "active_workspaces", bl->active.n);
	js_w_ku64(w, "pending", bl->ledger.held);
	js_w_kcstr(w, "store", bl->ledger.retry_ms == 0 ? "ok" : "in trouble");
	js_w_kbool(w, "limits_known", bl->blind_until == 0);
	ctl_row_end(req);
	ctl_end(req);
}

static void
cmd_usage(void *arg, struct ctl_req *req)
{
	bl_usage_rows(bl_of_command(arg), req);
}

/* ---- the table ---------------------------------------------------------------------------- */

static const struct ctl_arg a_workspace[] = { { "workspace", CTL_STR, true, "name or id" } };
static const struct ctl_arg a_workspace_opt[] = { { "workspace", CTL_STR, false, "name or id" } };
static const struct ctl_arg a_key[] = { { "key", CTL_STR, true, "id of the key" } };
static const struct ctl_arg a_create[] = {
	{ "name", CTL_STR, true, "its name, unique" },
	{ "plan", CTL_STR, false, "default test" },
};
static const struct ctl_arg a_set_plan[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "plan", CTL_STR, true, "name of a plan" },
};
static const struct ctl_arg a_mint[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "name", CTL_STR, false, "name for people" },
	{ "form", CTL_STR, false, "tf or sk-oais" },
	{ "env", CTL_STR, false, "prod, stag or dev" },
	{ "expires", CTL_INT, false, "seconds since 1970" },
	{ "model", CTL_LIST, false, "models it may use" },
};
static const struct ctl_arg a_rotate[] = {
	{ "key", CTL_STR, true, "id of the key" },
	{ "grace", CTL_INT, false, "seconds the old text still works" },
};
static const struct ctl_arg a_usage[] = {
	{ "workspace", CTL_STR, false, "only this one" },
	{ "period", CTL_STR, false, "day, week, month or all" },
	{ "by", CTL_STR, false, "model, key or day" },
};

#define ARGS(a) a, TF_LEN(a)
const struct ctl_cmd bl_cmds[] = {
	{ "key list", cmd_key_list, CTL_READ, "lists keys", ARGS(a_workspace_opt) },
	{ "key mint", cmd_key_mint, CTL_ADMIN, "mints a key", ARGS(a_mint) },
	{ "key revoke", cmd_key_revoke, CTL_ADMIN, "revokes a key", ARGS(a_key) },
	{ "key rotate", cmd_key_rotate, CTL_ADMIN, "gives a key a new text", ARGS(a_rotate) },
	{ "key show", cmd_key_show, CTL_READ, "shows a key's record", ARGS(a_key) },
	{ "plan list", cmd_plan_list, CTL_READ, "lists the plans", NULL, 0 },
	{ "status", cmd_status, CTL_READ, "shows the state of billingd", NULL, 0 },
	{ "usage", cmd_usage, CTL_READ, "sums what was used", ARGS(a_usage) },
	{ "workspace create", cmd_workspace_create, CTL_ADMIN, "creates a workspace", ARGS(a_create) },
	{ "workspace list", cmd_workspace_list, CTL_READ, "lists workspaces", NULL, 0 },
	{ "workspace set-plan", cmd_workspace_set_plan, CTL_ADMIN, "puts a workspace on another plan", ARGS(a_set_plan) },
	{ "workspace show", cmd_workspace_show, CTL_READ, "shows a workspace", ARGS(a_workspace) },
};
const size_t bl_n_cmds = TF_LEN(bl_cmds);
