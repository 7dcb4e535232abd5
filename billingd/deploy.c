/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dedicated deployments: recorded when they start, and brought into the ledger every minute and when they
 * stop. They are paid for as long as they are live: a balance that is used up stops requests, and a deployment only
 * when somebody stops it, so it can go below zero; that is said in the log and in a metric.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

/* ---- billing ------------------------------------------------------------------------------ */

static void
overdrawn(struct bl *bl)
{
	struct bl_workspace *w;
	size_t pos = 0;
	uint64_t n = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		n += w->row.balance.is && w->row.balance.v < 0;
	tf_metric_set(TF_M_BL_OVERDRAWN, n);
}

/* What is in the ledger is in the accounts. */
static void
billed(struct bl *bl, const struct bl_billing *b)
{
	for (size_t i = 0; i < b->n; i++) {
		struct bl_workspace *w = bl_index_workspace(&bl->index, tf_id_span(&b->v[i]->workspace));
		bool had = w != NULL && (!w->row.balance.is || w->row.balance.v >= 0);

		if (w == NULL)
			continue;
		bl_admit_spent(w, b->v[i]);
		if (had && w->row.balance.is && w->row.balance.v < 0)
			tf_log(TF_WARN, "deployment", NULL, "the balance is used up, and deployments go on workspace=%s",
			    tf_log_q(tf_cspan(w->row.name)));
	}
	overdrawn(bl);
}

static void
tick_stored(struct db_batch *b, void *arg)
{
	struct bl *bl = arg;
	struct bl_billing *billing = b->ops[0].arg;

	bl->changes--;
	bl->deploy_billing = false;
	if (b->rc == 0)
		billed(bl, billing);
	else /* its time is not lost: the next one begins where the last good one ended */
		tf_log(TF_ERROR, "deployment", NULL, "cannot bill deployments, trying again error=%s", tf_err_text(b->rc));
	bl_billing_fini(billing);
	free(billing);
	db_batch_free(&b);
	bl_check_drained(bl);
}

void
bl_deploy_tick(struct bl *bl, uint64_t mono_ms)
{
	struct bl_billing *billing;
	struct db_batch *b;

	if (bl->deploy_billing || bl->closing || mono_ms < bl->deploy_next)
		return;
	bl->deploy_next = mono_ms + BL_DEPLOY_MS;
	billing = calloc(1, sizeof *billing);
	b = billing != NULL ? db_batch_new(tick_stored, bl) : NULL;
	if (b == NULL || db_batch_add(b, BL_OP_DEPLOY_BILL, billing) != 0) {
		db_batch_free(&b);
		free(billing);
		return;
	}
	billing->now_ms = bl_wall_ms();
	bl->deploy_billing = true;
	bl->changes++;
	db_store_submit(bl->store, b);
}

/* ---- orders ------------------------------------------------------------------------------- */

int
bl_admin_deploy(struct bl *bl, struct bl_workspace *w, const struct bl_deployment_row *row, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, NULL, o);
	struct bl_deployment_row *d;

	if (c == NULL)
		return TF_E_NOMEM;
	d = &c->billing.row;
	*d = *row;
	d->id = tf_id_new();
	d->workspace = w->row.id;
	d->started_ms = d->billed_ms = c->audit.at_ms;
	d->stopped_ms = BL_NEVER_MS;
	c->quiet = true;
	bl_change_about_id(c, &w->row.id, &d->id);
	js_w_kcstr(&c->detail, "model", d->model);
	js_w_ki64(&c->detail, "gpus", d->gpus);
	bl_write_money(&c->detail, "price_gpu_hour", (struct bl_opt){ true, d->price_gpu_hour });
	return bl_change_go(c, db_batch_add(c->batch, BL_OP_DEPLOY, d));
}

static int
apply_stop(struct bl_change *c)
{
	billed(c->bl, &c->billing);
	return 0;
}

int
bl_admin_undeploy(struct bl *bl, const struct tf_id *id, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_stop, o);

	if (c == NULL)
		return TF_E_NOMEM;
	c->quiet = true;
	c->billing.stop = true;
	c->billing.now_ms = c->audit.at_ms;
	c->billing.row.id = *id;
	bl_change_about_id(c, NULL, id);
	c->audit.at = &c->billing.row.workspace;
	return bl_change_go(c, db_batch_add(c->batch, BL_OP_DEPLOY_BILL, &c->billing));
}
