/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators and balancers ask: alive, ready, metrics. Open to anybody who reaches the port, so
 * nothing here names a key, a workspace or a peer's address.
 */
#include "config.h"

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_op.h"
#include "gatewayd/gw_stored.h"

static int
gw_health_reply(struct gw_req *req, int status, struct js_w *w, struct tf_buf *out)
{
	int rc = js_w_done(w);

	if (rc == 0)
		gw_req_json(req, status, out);
	tf_buf_free(out);
	return rc == 0 ? 0 : TF_E_SERVER_ERROR;
}

int
gw_op_health(struct gw_req *req)
{
	struct tf_buf out = { 0 };
	struct js_w w;

	js_w_init(&w, &out);
	js_w_object(&w);
	js_w_kcstr(&w, "status", "ok");
	js_w_object_end(&w);
	return gw_health_reply(req, 200, &w, &out);
}

int
gw_op_ready(struct gw_req *req)
{
	struct gw_thread *t = req->t;
	bool billing = gw_thread_billing_fresh(t), router = gw_router(t) != NULL;
	bool model = t->conf->c->model_n == 0 || gw_models_any_live(t);
	bool ready = billing && router && model && !t->draining;
	struct tf_buf out = { 0 };
	struct js_w w;

	js_w_init(&w, &out);
	js_w_object(&w);
	js_w_kcstr(&w, "status", ready ? "ready" : "not ready");
	js_w_kbool(&w, "billingd", billing);
	js_w_kbool(&w, "routerd", router);
	js_w_kbool(&w, "models", model);
	js_w_kbool(&w, "stored", gw_store_here(t)); /* not everybody needs it: it does not count */
	js_w_kbool(&w, "draining", t->draining);
	js_w_object_end(&w);
	return gw_health_reply(req, ready ? 200 : 503, &w, &out);
}

int
gw_op_metrics(struct gw_req *req)
{
	struct tf_buf out = { 0 };

	if (tf_metric_render(&out, "gatewayd") != 0) {
		tf_buf_free(&out);
		return TF_E_SERVER_ERROR;
	}
	gw_req_text(req, 200, "text/plain; version=0.0.4", &out);
	tf_buf_free(&out);
	return 0;
}
