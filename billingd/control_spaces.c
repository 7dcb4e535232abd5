/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands about workspaces. */
#include "config.h"

#include "billingd/control.h"

static void
workspace_row(struct ctl_req *req, const struct bl_workspace *ws)
{
	struct js_w *w = ctl_row(req);

	bl_write_id(w, "id", &ws->row.id);
	js_w_kcstr(w, "name", ws->row.name);
	js_w_kcstr(w, "plan", ws->row.plan);
	bl_write_time(w, "created", ws->row.created_ms);
	js_w_ku64(w, "keys", ws->n_keys);
	ctl_row_end(req);
}

static void
workspace_changed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "a workspace of that name exists", ""))
		return;
	workspace_row(req, bl_index_workspace(&c->bl->index, tf_id_span(&c->workspace.id)));
	ctl_end(req);
}

void
bl_cmd_workspace_create(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, workspace_changed);
	struct tf_span plan = ctl_has(req, "plan") ? ctl_str(req, "plan") : TF_SPAN("test");

	if (conf_find_plan(bl->conf, plan) == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such plan; plan list shows them");
	else
		(void)bl_change_failed(req, bl_admin_workspace(bl, ctl_str(req, "name"), plan, &o), "", "");
}

void
bl_cmd_workspace_set_plan(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, workspace_changed);
	struct bl_workspace *w = bl_take_workspace(bl, req);

	if (w == NULL)
		return;
	if (conf_find_plan(bl->conf, ctl_str(req, "plan")) == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such plan; plan list shows them");
	else
		(void)bl_change_failed(req, bl_admin_plan(bl, w, ctl_str(req, "plan"), &o), "", "");
}

void
bl_cmd_workspace_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w;
	size_t pos = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		workspace_row(req, w);
	ctl_end(req);
}

void
bl_cmd_workspace_show(void *arg, struct ctl_req *req)
{
	struct bl_workspace *w = bl_take_workspace(bl_of_command(arg), req);

	if (w == NULL)
		return;
	workspace_row(req, w);
	ctl_end(req);
}

