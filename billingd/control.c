/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of the operator's commands, what their files share, and plans, usage and status.
 */
#include "config.h"

#include <stdio.h>

#include "billingd/control.h"

/* ---- what the other files use ------------------------------------------------------------- */

void
bl_write_time(struct js_w *w, const char *name, int64_t ms)
{
	if (ms == BL_NEVER_MS || ms == 0)
		js_w_knull(w, name);
	else
		js_w_ki64(w, name, ms / 1000);
}

void
bl_write_id(struct js_w *w, const char *name, const struct tf_id *id)
{
	char text[TF_ID_TEXT + 1];

	tf_id_text(*id, text);
	js_w_kcstr(w, name, text);
}

void
bl_write_workspace(struct js_w *w, const struct bl *bl, const struct tf_id *id)
{
	const struct bl_workspace *ws = bl_index_workspace(&bl->index, tf_id_span(id));

	js_w_kcstr(w, "workspace", ws != NULL ? ws->row.name : NULL);
}

struct bl_workspace *
bl_take_workspace(struct bl *bl, struct ctl_req *req)
{
	struct bl_workspace *w = bl_index_find_workspace(&bl->index, ctl_str(req, "workspace"));

	if (w == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such workspace");
	return w;
}

bool
bl_take_scope(struct bl *bl, struct ctl_req *req, bool *of_workspace, struct tf_id *workspace)
{
	struct bl_workspace *w;

	*of_workspace = ctl_has(req, "workspace");
	if (!*of_workspace)
		return true;
	w = bl_take_workspace(bl, req);
	if (w != NULL)
		*workspace = w->row.id;
	return w != NULL;
}

struct bl_key *
bl_take_key(struct bl *bl, struct ctl_req *req)
{
	struct bl_key *k = bl_index_find_key(&bl->index, ctl_str(req, "key"));

	if (k == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such key; key list shows their ids");
	return k;
}

struct bl_order
bl_order_of(struct ctl_req *req, bl_changed *done)
{
	struct bl_order o = { .action = ctl_words(req), .done = done, .arg = req };

	ctl_actor(req, o.actor);
	ctl_noted(req); /* its row is part of the change */
	return o;
}

bool
bl_change_failed(struct ctl_req *req, int rc, const char *exists, const char *state)
{
	switch (rc) {
	case 0:
		return false;
	case TF_E_EXIST:
		ctl_fail(req, CTL_CONFLICT, "%s", exists);
		break;
	case TF_E_STATE:
		ctl_fail(req, CTL_CONFLICT, "%s", state);
		break;
	case TF_E_INVAL:
		ctl_fail(req, CTL_USAGE, "a name has 1 to %d printable characters, without quotes and backslashes", BL_NAME_MAX);
		break;
	case TF_E_FULL:
		ctl_fail(req, CTL_FAILED, "nothing was changed: the disk that the database is on has no room");
		break;
	default:
		ctl_fail(req, CTL_FAILED, "nothing was changed: %s", tf_err_text(rc));
		break;
	}
	return true;
}

/* ---- reading ------------------------------------------------------------------------------ */

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

/* What gateways hold of the limits: nothing while no request runs and no grant lives. */
static void
show_out(struct bl *bl, struct js_w *w)
{
	struct tf_node *e, *tmp, *h, *next;
	uint64_t grants = 0, tokens = 0;

	TF_LIST_EACH(&bl->active, e, tmp) {
		struct bl_account *a = &TF_CONTAINER(e, struct bl_key, active)->account;

		TF_LIST_EACH(&a->holds, h, next) {
			const struct bl_hold *hold = bl_hold_at(a, h);

			grants += hold->grants.n;
			tokens += hold->held[BL_M_CAP_TOKENS]; /* its window is the longest that every token is counted in */
		}
	}
	js_w_ku64(w, "grants", grants);
	js_w_ku64(w, "tokens_held", tokens);
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
	js_w_ku64(w, "active_keys", bl->active.n);
	show_out(bl, w);
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
static const struct ctl_arg a_file[] = { { "file", CTL_STR, true, "absolute path" } };
static const struct ctl_arg a_key[] = { { "key", CTL_STR, true, "id of the key" } };
static const struct ctl_arg a_create[] = {
	{ "name", CTL_STR, true, "its name, unique" },
	{ "plan", CTL_STR, false, "default test" },
};
static const struct ctl_arg a_set_plan[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "plan", CTL_STR, true, "name of a plan" },
};
#define KEY_LIMITS \
	{ "expires", CTL_INT, false, "seconds since 1970; 0: never" }, \
	{ "model", CTL_LIST, false, "models it may use; none: all" }, \
	{ "endpoint", CTL_LIST, false, "operations it may call; none: all" }, \
	{ "network", CTL_LIST, false, "where it may be used from; none: anywhere" }, \
	{ "scope", CTL_LIST, false, "inference, usage:read, admin" }, \
	{ "rpm", CTL_STR, false, "requests per minute, or none" }, \
	{ "tpm", CTL_STR, false, "tokens per minute, or none" }, \
	{ "concurrency", CTL_STR, false, "requests at once, or none" }, \
	{ "budget", CTL_STR, false, "money per month, or none" }
static const struct ctl_arg a_mint[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "name", CTL_STR, false, "name for people" },
	{ "form", CTL_STR, false, "tf or sk-oais" },
	{ "env", CTL_STR, false, "prod, stag or dev" },
	KEY_LIMITS,
};
static const struct ctl_arg a_import[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "key_file", CTL_STR, true, "the key's text" },
	{ "name", CTL_STR, false, "name for people" },
	KEY_LIMITS,
};
static const struct ctl_arg a_key_limit[] = {
	{ "key", CTL_STR, true, "id of the key" },
	KEY_LIMITS,
};
static const struct ctl_arg a_deploy[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "model", CTL_STR, true, "id of the model" },
	{ "gpus", CTL_INT, true, "how many" },
	{ "price", CTL_STR, false, "of an hour of one GPU; default the model's" },
};
static const struct ctl_arg a_gateways[] = { { "all", CTL_BOOL, false, "also those that are gone and hold nothing" } };
static const struct ctl_arg a_gateway[] = { { "gateway", CTL_STR, true, "name of it, or of one of its threads" } };
static const struct ctl_arg a_undeploy[] = { { "deployment", CTL_STR, true, "its id" } };
static const struct ctl_arg a_cap[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "tokens", CTL_STR, false, "number, or none" },
	{ "images", CTL_STR, false, "number, or none" },
	{ "audio_seconds", CTL_STR, false, "number, or none" },
};
static const struct ctl_arg a_budget[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "budget", CTL_STR, true, "amount, or none" },
};
static const struct ctl_arg a_topup[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "tokens", CTL_STR, false, "number" },
	{ "money", CTL_STR, false, "amount" },
	{ "note", CTL_STR, false, "remark" },
};
static const struct ctl_arg a_rotate[] = {
	{ "key", CTL_STR, true, "id of the key" },
	{ "grace", CTL_INT, false, "seconds the old text still works" },
};
static const struct ctl_arg a_usage[] = {
	{ "workspace", CTL_STR, false, "only this one" },
	{ "period", CTL_STR, false, "day, week, month or all" },
	{ "start", CTL_INT, false, "seconds since 1970; instead of period" },
	{ "end", CTL_INT, false, "seconds since 1970; default now" },
	{ "by", CTL_STR, false, "surface, model, key, day or workspace" },
};

static const struct ctl_arg a_export[] = {
	{ "workspace", CTL_STR, false, "only this one" },
	{ "start", CTL_INT, true, "seconds since 1970" },
	{ "end", CTL_INT, false, "seconds since 1970; default now" },
	{ "after", CTL_STR, false, "cursor of the row before" },
	{ "limit", CTL_INT, false, "most rows; default 1000, which is the most" },
};

static const struct ctl_arg a_revoke[] = {
	{ "key", CTL_STR, false, "id of the key" },
	{ "prefix", CTL_STR, false, "how their texts begin" },
	{ "all", CTL_BOOL, false, "also when there are several" },
};
static const struct ctl_arg a_audit[] = {
	{ "workspace", CTL_STR, false, "only acts on this one" },
	{ "since", CTL_INT, false, "seconds since 1970" },
	{ "action", CTL_STR, false, "command, or its first word" },
	{ "limit", CTL_INT, false, "most rows; default 100" },
	{ "before", CTL_INT, false, "only rows with a smaller id" },
};
static const struct ctl_arg a_record[] = {
	{ "id", CTL_STR, true, "of the act; told again, it is the same one" },
	{ "at_ms", CTL_INT, true, "when, milliseconds since 1970" },
	{ "actor", CTL_STR, true, "who gave the command" },
	{ "action", CTL_STR, true, "the command" },
	{ "subject", CTL_STR, true, "what it was about" },
	{ "detail", CTL_STR, true, "a JSON object, as text" },
};
static const struct ctl_arg a_member[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "user", CTL_STR, true, "name or id" },
	{ "role", CTL_STR, false, "owner, admin, member or viewer; default member" },
};
static const struct ctl_arg a_member_role[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "user", CTL_STR, true, "name or id" },
	{ "role", CTL_STR, true, "owner, admin, member or viewer" },
};
static const struct ctl_arg a_member_out[] = {
	{ "workspace", CTL_STR, true, "name or id" },
	{ "user", CTL_STR, true, "name or id" },
};
static const struct ctl_arg a_members[] = {
	{ "workspace", CTL_STR, false, "only of this one" },
	{ "user", CTL_STR, false, "only of this one" },
};
static const struct ctl_arg a_user[] = {
	{ "name", CTL_STR, true, "what they sign in with, unique" },
	{ "full_name", CTL_STR, false, "for people" },
};
static const struct ctl_arg a_user_out[] = { { "user", CTL_STR, true, "name or id" } };

#define ARGS(a) a, TF_LEN(a)
const struct ctl_cmd bl_cmds[] = {
	{ "audit", bl_cmd_audit, CTL_READ, "shows who did what", ARGS(a_audit) },
	{ "audit record", bl_cmd_audit_record, CTL_FELLOW, "takes what was done to another daemon", ARGS(a_record) },
	{ "backup", bl_cmd_backup, CTL_ADMIN, "copies the database", ARGS(a_file) },
	{ "backup verify", bl_cmd_backup_verify, CTL_ADMIN, "checks a copy", ARGS(a_file) },
	{ "deployment list", bl_cmd_deployment_list, CTL_READ, "lists deployments", ARGS(a_workspace_opt) },
	{ "deployment start", bl_cmd_deployment_start, CTL_ADMIN, "records that GPUs are reserved", ARGS(a_deploy) },
	{ "deployment stop", bl_cmd_deployment_stop, CTL_ADMIN, "records that they are free", ARGS(a_undeploy) },
	{ "gateway forget", bl_cmd_gateway_forget, CTL_ADMIN, "frees what one holds that is gone for ever", ARGS(a_gateway) },
	{ "gateway list", bl_cmd_gateway_list, CTL_READ, "shows what gateways hold", ARGS(a_gateways) },
	{ "key import", bl_cmd_key_import, CTL_ADMIN, "takes a key made elsewhere", ARGS(a_import) },
	{ "key limit", bl_cmd_key_limit, CTL_ADMIN, "sets what a key may do", ARGS(a_key_limit) },
	{ "key list", bl_cmd_key_list, CTL_READ, "lists keys", ARGS(a_workspace_opt) },
	{ "key mint", bl_cmd_key_mint, CTL_ADMIN, "mints a key", ARGS(a_mint) },
	{ "key revoke", bl_cmd_key_revoke, CTL_ADMIN, "revokes keys", ARGS(a_revoke) },
	{ "key rotate", bl_cmd_key_rotate, CTL_ADMIN, "gives a key a new text", ARGS(a_rotate) },
	{ "key show", bl_cmd_key_show, CTL_READ, "shows a key's record", ARGS(a_key) },
	{ "ledger rebuild", bl_cmd_ledger_rebuild, CTL_ADMIN, "makes sums anew from rows", NULL, 0 },
	{ "ledger verify", bl_cmd_ledger_verify, CTL_READ, "checks that the ledger adds up", NULL, 0 },
	{ "member add", bl_cmd_member_add, CTL_ADMIN, "makes a user a member", ARGS(a_member) },
	{ "member list", bl_cmd_member_list, CTL_READ, "lists members", ARGS(a_members) },
	{ "member remove", bl_cmd_member_remove, CTL_ADMIN, "ends a membership", ARGS(a_member_out) },
	{ "member role", bl_cmd_member_role, CTL_ADMIN, "gives a member another role", ARGS(a_member_role) },
	{ "plan list", cmd_plan_list, CTL_READ, "lists the plans", NULL, 0 },
	{ "status", cmd_status, CTL_READ, "shows the state of billingd", NULL, 0 },
	{ "topup", bl_cmd_topup, CTL_ADMIN, "gives a workspace tokens or money", ARGS(a_topup) },
	{ "topup list", bl_cmd_topup_list, CTL_READ, "lists top-ups", ARGS(a_workspace_opt) },
	{ "usage", cmd_usage, CTL_READ, "sums what was used", ARGS(a_usage) },
	{ "usage export", bl_cmd_usage_export, CTL_READ, "shows a page of the ledger", ARGS(a_export) },
	{ "user add", bl_cmd_user_add, CTL_ADMIN, "adds a user", ARGS(a_user) },
	{ "user list", bl_cmd_user_list, CTL_READ, "lists users", NULL, 0 },
	{ "user remove", bl_cmd_user_remove, CTL_ADMIN, "removes a user", ARGS(a_user_out) },
	{ "workspace budget", bl_cmd_workspace_budget, CTL_ADMIN, "sets the money of a month", ARGS(a_budget) },
	{ "workspace cap", bl_cmd_workspace_cap, CTL_ADMIN, "sets caps of a month", ARGS(a_cap) },
	{ "workspace create", bl_cmd_workspace_create, CTL_ADMIN, "creates a workspace", ARGS(a_create) },
	{ "workspace list", bl_cmd_workspace_list, CTL_READ, "lists workspaces", NULL, 0 },
	{ "workspace set-plan", bl_cmd_workspace_set_plan, CTL_ADMIN, "puts a workspace on another plan", ARGS(a_set_plan) },
	{ "workspace show", bl_cmd_workspace_show, CTL_READ, "shows a workspace", ARGS(a_workspace) },
};
const size_t bl_n_cmds = TF_LEN(bl_cmds);
