/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rows of route.def start. Each takes a request that is authenticated where its row asks
 * for it, and answers it, now or later. Returns 0, or a positive TF_E_* for gw_req to answer.
 */
#ifndef GW_OP_H
#define GW_OP_H

struct gw_req;

int gw_op_inference(struct gw_req *req);
int gw_op_count_tokens(struct gw_req *req);
int gw_op_models(struct gw_req *req);
int gw_op_model(struct gw_req *req);
int gw_op_response(struct gw_req *req);
int gw_op_response_cancel(struct gw_req *req);
int gw_op_response_delete(struct gw_req *req);
int gw_op_response_input(struct gw_req *req);
int gw_op_usage(struct gw_req *req);
int gw_op_hosted(struct gw_req *req);
int gw_op_health(struct gw_req *req);
int gw_op_ready(struct gw_req *req);
int gw_op_metrics(struct gw_req *req);

#endif
