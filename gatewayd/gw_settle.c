/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage records. Each attempt that was dispatched settles exactly once, on whatever path it ends; its record lies in
 * the spool until billingd says that the ledger holds it. Records are numbered without gaps, so that one number
 * acknowledges all before it. billingd is told when it is known whether the answer was delivered; what it did not
 * acknowledge is told again, from the spool, after each loss of the link and when it stays silent.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_record.h"

#define GW_TELL_SLICE 128      /* records told in one loop turn when many are due */
#define GW_TELL_AHEAD 16384u   /* records told beyond the first that is not acknowledged */
#define GW_TELL_AGAIN_MS 2000  /* silence about the oldest record that was told */
#define GW_FINISH_MAX 64       /* bytes of a finish reason */
#define GW_UNITS_MOST UINT64_C(100000000000) /* milliseconds, images or characters of one attempt */

uint64_t
gw_settle_prompt(const struct gw_req *req)
{
	return req->head->prompt_bytes / 4;
}

/* What BEGIN and END say alike. */
void
gw_settle_facts(const struct gw_req *req, struct wire_usage *m)
{
	*m = (struct wire_usage){
		.key = tf_span(req->key->id, sizeof req->key->id),
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace),
		.model = tf_cspan(req->model->name), .surface = tf_cspan(req->route->surface),
		.stream = req->head->stream, .began_ms = (uint64_t)req->began_wall,
		.ended_ms = (uint64_t)(tf_wall_ns() / 1000000),
		.window = req->windows.v[GW_W_MINUTE], .window_key = req->windows.v[GW_W_KEY],
		.window_budget = req->windows.v[GW_W_BUDGET], .window_month = req->windows.v[GW_W_MONTH],
	};
	gw_price_usage(req, m);
}

/* What a worker counted: billingd would take a number that cannot be for a broken link. */
static uint64_t
gw_settle_count(const struct gw_req *req, uint64_t n, uint64_t most)
{
	if (n <= most)
		return n;
	tf_log(TF_WARN, "settle", &req->id, "more than there can be was counted worker=%s count=%llu",
	    req->worker_name != NULL ? req->worker_name : "-", (unsigned long long)n);
	return most;
}

static void
gw_settle_usage(const struct gw_req *req, const struct wire_end *end, struct wire_usage *m)
{
	if (end == NULL) {
		/* nobody told us: what was streamed is known, the prompt was certainly read once content came */
		m->completion = gw_settle_count(req, req->out_tokens, DL_TOKENS_MOST);
		m->prompt = req->out_tokens > 0 ? gw_settle_prompt(req) : 0;
		m->estimated = 1;
		return;
	}
	m->prompt = gw_settle_count(req, end->prompt, DL_TOKENS_MOST);
	m->cache_read = gw_settle_count(req, end->cache_read, DL_TOKENS_MOST);
	m->cache_write = gw_settle_count(req, end->cache_write, DL_TOKENS_MOST);
	m->completion = gw_settle_count(req, end->completion, DL_TOKENS_MOST);
	m->reasoning = gw_settle_count(req, end->reasoning, DL_TOKENS_MOST);
	m->images = gw_settle_count(req, end->images, GW_UNITS_MOST);
	m->audio_ms = gw_settle_count(req, end->audio_ms, GW_UNITS_MOST);
	m->characters = gw_settle_count(req, end->characters, GW_UNITS_MOST);
	m->estimated = end->estimated;
	m->finish = end->finish;
	if (m->finish.n > GW_FINISH_MAX)
		m->finish.n = 0;
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

void
gw_settle(struct gw_req *req, enum wire_outcome outcome, const struct wire_end *end, int err, bool keep_reservation)
{
	struct wire_usage m;

	if (!req->running)
		return;
	req->running = false;
	req->worker = NULL; /* its pointer is good while the attempt runs */
	if (req->counting)
		return; /* nothing was generated */
	gw_settle_facts(req, &m);
	m.outcome = outcome;
	m.worker = tf_cspan(req->worker_name);
	m.first_us = req->first_us;
	m.status = req->status;
	wire_set(&m, USAGE, delivered, 0); /* its place in the record, for when it is told */
	m.seq = sp_writer_next(&req->t->spool);
	if (outcome == WIRE_OUTCOME_SERVED || outcome == WIRE_OUTCOME_PARTIAL)
		gw_settle_usage(req, end, &m);
	if (!keep_reservation)
		gw_admit_settle(req, m.prompt + m.cache_read + m.cache_write + m.completion + m.reasoning, &m);
	if (err > 0)
		m.code = tf_cspan(tf_err_row(err)->code);
	gw_settle_metrics(&m);
	gw_spool_end(req, &m);
	/* of a whole answer it is told when the client's connection has taken it, or never will */
	if (outcome != WIRE_OUTCOME_SERVED || req->http == NULL)
		gw_settle_given(req, false);
}

/* ---- telling billingd ------------------------------------------------------------------------- */

/* A record that has to be read, or says more than was written down. missing: numbers before it that are not to come. */
static int
gw_settle_tell_again(struct wire_peer *p, const struct sp_rec *r, bool delivered, uint64_t missing)
{
	struct wire_frame f;
	union wire_any m;
	size_t used;
	int rc = wire_frame_read(r->payload, &f, &used);

	if (rc == 0)
		rc = f.verb == WIRE_USAGE ? wire_dec(&f, &m) : TF_E_PROTO;
	if (rc != 0)
		return rc;
	m.usage.delivered = delivered;
	m.usage.missing = missing;
	return wire_send_lazy(p, WIRE_USAGE, &r->id, r->attempt, &m.usage, (struct tf_span){ 0 });
}

/* False: it cannot be told now. */
static bool
gw_settle_tell(struct gw_thread *t, struct wire_peer *p, uint64_t seq)
{
	struct sp_due *d = sp_writer_due(&t->spool, seq);
	bool first = seq == t->spool.acked + 1; /* all before was acknowledged, by whomever */
	struct sp_rec r;
	int rc = sp_writer_read(&t->spool, seq, &t->record, &r);

	if (rc == 0 && d->frame != NULL && !first)
		rc = wire_forward_lazy(p, r.payload, WIRE_FN_USAGE_delivered, d->delivered);
	else if (rc == 0)
		rc = gw_settle_tell_again(p, &r, r.delivered || d->delivered, first ? seq - 1 : 0);
	if (rc == 0) {
		d->session = t->session;
		return true;
	}
	if (rc != TF_E_CLOSED && rc != TF_E_NOMEM) {
		tf_metric_add(TF_M_GW_SPOOL_FAILURES, 1);
		tf_log(TF_ERROR, "settle", &d->id, "a usage record cannot be read from the spool and is tried again attempt=%u",
		    d->attempt);
	}
	return false;
}

static bool
gw_settle_due(const struct gw_thread *t, const struct sp_due *d)
{
	return d->ready && d->session != t->session;
}

void
gw_settle_pump(struct gw_thread *t)
{
	struct wire_peer *p = gw_billing(t);
	unsigned n = 0;

	while (p != NULL && t->tell <= t->written && t->tell - t->spool.acked <= GW_TELL_AHEAD) {
		struct sp_due *d = sp_writer_due(&t->spool, t->tell);

		if (d != NULL && gw_settle_due(t, d)) {
			if (n++ == GW_TELL_SLICE) {
				ev_timer_set(&t->telling, 0);
				return;
			}
			if (!gw_settle_tell(t, p, t->tell))
				return; /* the tick tries again */
		}
		t->tell++;
	}
}

void
gw_settle_given(struct gw_req *req, bool delivered)
{
	struct gw_thread *t = req->t;
	struct sp_due *d = req->seq != 0 ? sp_writer_due(&t->spool, req->seq) : NULL;
	struct wire_peer *p = gw_billing(t);

	if (d == NULL)
		return;
	if (delivered) {
		d->delivered = true;
		sp_writer_delivered(&t->spool, req->seq);
	}
	d->ready = true;
	/* the pump has passed it by; else it will come to it, once the record is written */
	if (req->seq < t->tell && p != NULL && !gw_settle_tell(t, p, req->seq))
		t->tell = req->seq;
	req->seq = 0;
}

void
gw_settle_ack(struct gw_thread *t, const struct wire_usage_ack *m)
{
	size_t before = t->spool.n;

	if (wire_has(m, USAGE_ACK, of_name)) {
		gw_left_ack(t, m);
		return;
	}
	sp_writer_ack(&t->spool, m->seq);
	atomic_store_explicit(&t->owed, t->spool.n, memory_order_relaxed);
	gw_admit_settled(t, m->seq);
	if (t->spool.n == before)
		return;
	tf_metric_add(TF_M_GW_UNSETTLED, -(uint64_t)(before - t->spool.n));
	t->acked_at = tf_mono_ms();
	if (t->tell <= t->spool.acked)
		t->tell = t->spool.acked + 1;
	gw_settle_pump(t);
}

void
gw_settle_resend(struct gw_thread *t)
{
	t->session++;
	t->tell = t->spool.acked + 1;
	t->acked_at = tf_mono_ms();
	gw_settle_pump(t);
}

void
gw_settle_tick(struct gw_thread *t, uint64_t now)
{
	const struct sp_due *first = sp_writer_due(&t->spool, t->spool.acked + 1);

	/* it may have had no room for some of them */
	if (first != NULL && first->ready && first->session == t->session && now - t->acked_at >= GW_TELL_AGAIN_MS &&
	    gw_thread_billing_fresh(t))
		gw_settle_resend(t);
	else
		gw_settle_pump(t);
}
