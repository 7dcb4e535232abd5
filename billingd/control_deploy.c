/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands about dedicated deployments. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/control.h"

static void
deployment_row(struct ctl_req *req, const struct bl *bl, const struct bl_deployment_row *d)
{
	struct js_w *w = ctl_row(req);

	bl_write_id(w, "id", &d->id);
	bl_write_workspace(w, bl, &d->workspace);
	js_w_kcstr(w, "model", d->model);
	js_w_ki64(w, "gpus", d->gpus);
	bl_write_money(w, "price_gpu_hour", (struct bl_opt){ true, d->price_gpu_hour });
	bl_write_time(w, "started", d->started_ms);
	bl_write_time(w, "stopped", d->stopped_ms);
	bl_write_time(w, "billed_until", d->billed_ms);
	bl_write_money(w, "cost", (struct bl_opt){ true, (int64_t)bl_deployment_cost(d, d->billed_ms - d->started_ms) });
	ctl_row_end(req);
}

static void
deployed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (c->rc == TF_E_NOENT) {
		ctl_fail(req, CTL_NOT_FOUND, "no such deployment; deployment list shows them");
		return;
	}
	if (bl_change_failed(req, c->rc, "", "that deployment has stopped already"))
		return;
	deployment_row(req, c->bl, &c->billing.row);
	ctl_end(req);
}

void
bl_cmd_deployment_start(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, deployed);
	struct bl_deployment_row d = { .gpus = ctl_int(req, "gpus", 0) };
	const struct conf_model *model = bl_find_model(bl, ctl_str(req, "model"));
	struct tf_span price = ctl_str(req, "price"), name = ctl_str(req, "model");
	struct bl_workspace *w = bl_take_workspace(bl, req);

	if (w == NULL)
		return;
	if (model == NULL || strlen(model->name) > BL_MODEL_MAX)
		ctl_fail(req, CTL_NOT_FOUND, "the catalogue has no model " TF_SPAN_FMT, TF_SPAN_ARG(name));
	else if (d.gpus < 1 || d.gpus > BL_GPUS_MAX)
		ctl_fail(req, CTL_USAGE, "gpus is 1 to %d", BL_GPUS_MAX);
	else if (price.p == NULL && model->price_gpu_hour == CONF_NO_AMOUNT)
		ctl_fail(req, CTL_USAGE, "%s has no price-gpu-hour in the configuration, and no --price is given", model->name);
	else if (price.p != NULL && (tf_money_parse(price.p, &d.price_gpu_hour) != 0 || d.price_gpu_hour > BL_TOPUP_MOST))
		ctl_fail(req, CTL_USAGE, "price is an amount like 2.5 with at most nine decimals");
	else {
		if (price.p == NULL)
			d.price_gpu_hour = model->price_gpu_hour;
		if (d.price_gpu_hour > BL_COUNT_MAX / d.gpus) {
			ctl_fail(req, CTL_USAGE, "gpus and price come to more than %d an hour", BL_HOURLY_MAX);
			return;
		}
		snprintf(d.model, sizeof d.model, "%s", model->name);
		(void)bl_change_failed(req, bl_admin_deploy(bl, w, &d, &o), "", "");
	}
}

void
bl_cmd_deployment_stop(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, deployed);
	struct tf_span text = ctl_str(req, "deployment");
	struct tf_id id;

	if (text.n != TF_ID_TEXT || tf_id_parse(text, &id) != 0)
		ctl_fail(req, CTL_NOT_FOUND, "no such deployment; deployment list shows them");
	else
		(void)bl_change_failed(req, bl_admin_undeploy(bl, &id, &o), "", "");
}

static void
deployment_rows(const struct bl *bl, struct ctl_req *req, const void *what)
{
	const struct bl_deployments *s = what;

	for (size_t i = 0; i < s->n; i++)
		deployment_row(req, bl, &s->v[i]);
}

static void
deployments_fini(void *what)
{
	bl_deployments_fini(what);
}

void
bl_cmd_deployment_list(void *arg, struct ctl_req *req)
{
	static const struct bl_read_kind kind = { BL_OP_DEPLOYMENTS, sizeof(struct bl_deployments), deployment_rows,
		deployments_fini };
	struct bl *bl = bl_of_command(arg);
	struct bl_deployments *s = bl_read_new(&kind, req);

	if (s == NULL)
		return;
	if (!bl_take_scope(bl, req, &s->of_workspace, &s->workspace)) {
		free(s);
		return;
	}
	bl_read(bl, req, &kind, s);
}
