/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage records. Each attempt that was dispatched settles exactly once, on whatever path it ends;
 * the record is kept and repeated until billingd says that the ledger holds it. Records are
 * numbered without gaps, so that one number acknowledges all before it.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"

static void
gw_settle_usage(const struct gw_req *req, const struct wire_end *end, struct wire_usage *m)
{
	if (end == NULL) {
		/* nobody told us: what was streamed is known, the prompt was certainly read once content came */
		m->completion = req->out_tokens;
		m->prompt = req->out_tokens > 0 ? req->head->prompt_bytes / 4 : 0;
		m->estimated = 1;
		return;
	}
	m->prompt = end->prompt;
	m->cache_read = end->cache_read;
	m->cache_write = end->cache_write;
	m->completion = end->completion;
	m->reasoning = end->reasoning;
	m->images = end->images;
	m->audio_ms = end->audio_ms;
	m->characters = end->characters;
	m->estimated = end->estimated;
	m->finish = end->finish;
}

static void
gw_settle_metrics(const struct wire_usage *m)
{
	static const char *const prompt[] = { "prompt" }, *const completion[] = { "completion" };
	uint64_t in = m->prompt + m->cache_read + m->cache_write, out = m->completion + m->reasoning;

	if (in > 0)
		tf_metric_add_l(TF_M_GW_TOKENS, in, prompt);
	if (out > 0)
		tf_metric_add_l(TF_M_GW_TOKENS, out, completion);
}

/* Kept until it is acknowledged, and sent now when billingd is there. */
static void
gw_settle_send(struct gw_req *req, const struct wire_usage *m)
{
	struct gw_thread *t = req->t;
	struct wire_peer *p = gw_billing(t);
	struct gw_unsettled *u = calloc(1, sizeof *u);

	if (u == NULL || wire_enc_usage(&u->frame, &req->id, req->attempt, m, (struct tf_span){ 0 }) != 0) {
		/* without memory for a hundred bytes there is no honest way on */
		tf_log(TF_ERROR, "settle", &req->id, "no memory for a usage record attempt=%u", req->attempt);
		abort();
	}
	u->seq = m->seq;
	tf_list_append(&t->unsettled, &u->node);
	tf_metric_add(TF_M_GW_UNSETTLED, 1);
	if (p != NULL)
		(void)wire_send_lazy(p, WIRE_USAGE, &req->id, req->attempt, m, (struct tf_span){ 0 });
}

void
gw_settle(struct gw_req *req, enum wire_outcome outcome, const struct wire_end *end, int err, bool keep_reservation)
{
	struct wire_usage m = {
		.key = tf_span(req->key->id, sizeof req->key->id),
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace),
		.model = tf_cspan(req->model->name), .surface = tf_cspan(req->route->surface),
		.outcome = outcome, .stream = req->head->stream, .began_ms = (uint64_t)req->began_wall,
		.ended_ms = (uint64_t)(tf_wall_ns() / 1000000),
		.window = req->windows.v[GW_W_MINUTE], .window_key = req->windows.v[GW_W_KEY],
		.window_budget = req->windows.v[GW_W_BUDGET], .window_month = req->windows.v[GW_W_MONTH],
		.worker = tf_cspan(req->worker_name), .first_us = req->first_us, .status = req->status,
		.delivered = outcome == WIRE_OUTCOME_SERVED && req->http != NULL,
	};

	if (!req->running)
		return;
	req->running = false;
	req->worker = NULL; /* its pointer is good while the attempt runs */
	if (req->counting)
		return; /* nothing was generated */
	m.seq = ++req->t->seq;
	if (outcome == WIRE_OUTCOME_SERVED || outcome == WIRE_OUTCOME_PARTIAL)
		gw_settle_usage(req, end, &m);
	if (!keep_reservation)
		gw_admit_settle(req, m.prompt + m.cache_read + m.cache_write + m.completion + m.reasoning, &m);
	if (err > 0)
		m.code = tf_cspan(tf_err_row(err)->code);
	gw_price_usage(req, &m);
	gw_settle_metrics(&m);
	gw_settle_send(req, &m);
}

static void
gw_unsettled_free(struct gw_thread *t, struct gw_unsettled *u)
{
	tf_list_remove(&t->unsettled, &u->node);
	tf_metric_add(TF_M_GW_UNSETTLED, UINT64_MAX); /* one less */
	tf_buf_free(&u->frame);
	free(u);
}

void
gw_settle_ack(struct gw_thread *t, const struct wire_usage_ack *m)
{
	struct tf_node *e;

	while ((e = tf_list_first(&t->unsettled)) != NULL) {
		struct gw_unsettled *u = TF_CONTAINER(e, struct gw_unsettled, node);

		if (u->seq > m->seq)
			break;
		gw_unsettled_free(t, u);
	}
	gw_admit_settled(t, m->seq);
}

void
gw_settle_resend(struct gw_thread *t)
{
	struct wire_peer *p = gw_billing(t);
	struct tf_node *e, *tmp;

	if (p == NULL)
		return;
	TF_LIST_EACH(&t->unsettled, e, tmp) {
		struct gw_unsettled *u = TF_CONTAINER(e, struct gw_unsettled, node);

		if (wire_forward(p, tf_buf_span(&u->frame), 0, 0) != 0)
			return; /* the link will come up again, and this with it */
	}
}

void
gw_settle_free(struct gw_thread *t)
{
	struct tf_node *e;

	if (t->unsettled.n > 0)
		tf_log(TF_ERROR, "settle", NULL, "usage records were never acknowledged count=%zu", t->unsettled.n);
	while ((e = tf_list_first(&t->unsettled)) != NULL)
		gw_unsettled_free(t, TF_CONTAINER(e, struct gw_unsettled, node));
	gw_admit_settling_free(t);
}
