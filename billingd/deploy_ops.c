/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deployments in SQLite. A slice of one costs what it has cost up to its end less what it had cost up to
 * its beginning, so that however it is cut the slices come to what the whole would have been rounded to once. The
 * row of the ledger and the mark up to where it reaches are one transaction: no time is billed twice, and
 * none is left out when billingd was away. Runs on the store's thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/limit.h"
#include "billingd/sqlite.h"
#include "common/wire/wire.h"

#define DAY_MS INT64_C(86400000)

static int
deployment_new(struct db_lane *lane, const struct bl_deployment_row *d)
{
	struct db_q q = db_q(lane, BL_S_DEPLOYMENT_NEW);

	db_q_id(&q, &d->id);
	db_q_id(&q, &d->workspace);
	db_q_str(&q, d->model);
	db_q_int(&q, d->gpus);
	db_q_int(&q, d->price_gpu_hour);
	db_q_int(&q, d->started_ms);
	return db_q_run(&q);
}

static void
row_read(struct db_q *q, struct bl_deployment_row *d)
{
	db_q_col_blob(q, d->id.b, sizeof d->id.b);
	db_q_col_blob(q, d->workspace.b, sizeof d->workspace.b);
	db_q_col_text(q, d->model, sizeof d->model);
	d->gpus = db_q_col_int(q);
	d->price_gpu_hour = db_q_col_int(q);
	d->started_ms = db_q_col_int(q);
	d->stopped_ms = db_q_col_time(q);
	d->billed_ms = db_q_col_int(q);
}

/* To the last row of q, which is bound. */
static int
rows_read(struct db_q *q, struct bl_deployments *s)
{
	int rc;

	while ((rc = db_q_step(q)) == 1) {
		struct bl_deployment_row *d = bl_op_grow(&s->v, s->n, sizeof *d);

		if (d == NULL) {
			db_q_end(q);
			return TF_E_NOMEM;
		}
		s->n++;
		row_read(q, d);
	}
	return rc;
}

static int
deployments_read(struct db_lane *lane, struct bl_deployments *s)
{
	struct db_q q = db_q(lane, BL_S_DEPLOYMENT_ALL);

	if (s->of_workspace)
		db_q_id(&q, &s->workspace);
	else
		db_q_null(&q);
	return rows_read(&q, s);
}

/* ---- billing ------------------------------------------------------------------------------ */

static int
instance(struct db_lane *lane, int64_t *id)
{
	struct db_q q = db_q(lane, BL_S_DEPLOYMENT_INSTANCE);
	int rc = db_q_step(&q);

	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	*id = db_q_col_int(&q);
	return db_q_run(&q);
}

/* One row of the ledger, kept in b: its time is one day's. */
static int
slice(struct db_lane *lane, struct bl_billing *b, const struct bl_deployment_row *d, int64_t from, int64_t to)
{
	struct bl_usage u = { .request = tf_id_new(), .workspace = d->workspace, .key = d->id, .attempt = 1,
		.outcome = WIRE_OUTCOME_SERVED, .delivered = true, .began_ms = from, .ended_ms = to, .first_us = -1,
		.status = 200 };
	struct bl_usage **kept = bl_op_grow(&b->v, b->n, sizeof(struct bl_usage *));
	struct db_q q;
	int rc, result;

	u.window.month = bl_month_start((uint64_t)from);
	u.text[BL_T_MODEL] = tf_cspan(d->model);
	u.text[BL_T_SURFACE] = TF_SPAN(BL_SURFACE_DEPLOYMENT);
	u.cost = bl_deployment_cost(d, to - d->started_ms) - bl_deployment_cost(d, from - d->started_ms);
	for (size_t i = 0; i < TF_P_COUNT; i++)
		u.price.v[i] = TF_NO_PRICE;
	rc = instance(lane, &u.instance);
	if (rc != 0)
		return rc;
	if (kept == NULL || (*kept = bl_usage_copy(&u)) == NULL)
		return TF_E_NOMEM;
	b->n++;
	rc = bl_op_usage(lane, *kept, &result);
	if (rc != 0)
		return rc;
	q = db_q(lane, BL_S_DEPLOYMENT_PRICE);
	db_q_id(&q, &u.request);
	db_q_int(&q, (to - from) * d->gpus);
	db_q_int(&q, d->price_gpu_hour);
	return db_q_run(&q);
}

/* Up to to, and no further back than it was. */
static int
bill(struct db_lane *lane, struct bl_billing *b, struct bl_deployment_row *d, bool stop)
{
	struct db_q q;
	int rc = 0;

	while (d->billed_ms < b->now_ms && rc == 0) {
		int64_t midnight = (d->billed_ms / DAY_MS + 1) * DAY_MS, to = midnight < b->now_ms ? midnight : b->now_ms;

		rc = slice(lane, b, d, d->billed_ms, to);
		d->billed_ms = to;
	}
	if (rc != 0)
		return rc;
	if (stop)
		d->stopped_ms = d->billed_ms;
	q = db_q(lane, BL_S_DEPLOYMENT_BILLED);
	db_q_id(&q, &d->id);
	db_q_int(&q, d->billed_ms);
	db_q_time(&q, d->stopped_ms);
	return db_q_run(&q);
}

static int
bill_live(struct db_lane *lane, struct bl_billing *b)
{
	struct db_q q = db_q(lane, BL_S_DEPLOYMENT_LIVE);
	struct bl_deployments live = { 0 };
	int rc;

	db_q_int(&q, b->now_ms);
	rc = rows_read(&q, &live);
	for (size_t i = 0; i < live.n && rc == 0; i++)
		rc = bill(lane, b, &live.v[i], false);
	bl_deployments_fini(&live);
	return rc;
}

static int
bill_last(struct db_lane *lane, struct bl_billing *b)
{
	struct db_q q = db_q(lane, BL_S_DEPLOYMENT_GET);
	int rc;

	db_q_id(&q, &b->row.id);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	row_read(&q, &b->row);
	db_q_end(&q);
	return b->row.stopped_ms != BL_NEVER_MS ? TF_E_STATE : bill(lane, b, &b->row, true);
}

int
bl_op_deployments(struct db_lane *lane, struct db_op *op)
{
	struct bl_billing *b = op->arg;

	switch (op->kind) {
	case BL_OP_DEPLOY:
		return deployment_new(lane, op->arg);
	case BL_OP_DEPLOYMENTS:
		return deployments_read(lane, op->arg);
	case BL_OP_DEPLOY_BILL:
		bl_billing_fini(b); /* of a transaction that was undone */
		return b->stop ? bill_last(lane, b) : bill_live(lane, b);
	default:
		return TF_E_INVAL;
	}
}
