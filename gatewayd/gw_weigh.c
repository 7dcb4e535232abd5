/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that generate nothing (lists of models, usage, counts of a prompt's tokens, stored responses) draw on no limit,
 * unless the operator says how many requests each is. Then they are admitted as inference is, ahead of their body, with
 * that many requests and nothing else, and leave no record.
 */
#include "config.h"

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_op.h"

static uint64_t
gw_weight(const struct gw_req *req)
{
	const struct conf_gatewayd *c = &req->conf->c->gatewayd;
	int (*op)(struct gw_req *) = req->route->op;
	int64_t weight = 0;

	if (op == gw_op_models || op == gw_op_model)
		weight = c->weight_models;
	else if (op == gw_op_usage)
		weight = c->weight_usage;
	else if (op == gw_op_count_tokens)
		weight = c->weight_count_tokens;
	else if (op == gw_op_response || op == gw_op_response_input || op == gw_op_response_delete)
		weight = c->weight_stored;
	return weight > 0 ? (uint64_t)weight : 0;
}

/* What it took is used, and nothing of it comes back. */
static void
gw_weigh_end(struct gw_req *req)
{
	req->light = req->admitted = req->unmetered = false;
	req->reserved = (struct gw_amount){ { 0 } };
}

int
gw_weigh(struct gw_req *req)
{
	uint64_t weight = req->key != NULL ? gw_weight(req) : 0;
	int rc;

	if (weight == 0)
		return 0;
	req->need = (struct gw_amount){ { [GW_U_REQUESTS] = weight } };
	req->light = true;
	rc = gw_admit(req);
	if (rc == 0)
		gw_weigh_end(req);
	return rc;
}

void
gw_weighed(struct gw_req *req, int err, const char *message, uint64_t retry_after_s)
{
	gw_weigh_end(req);
	if (err == 0) {
		err = req->route->op(req);
		message = NULL;
		retry_after_s = 0;
	}
	if (err > 0)
		gw_req_fail(req, err, NULL, message, retry_after_s);
}
