/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A router with workers and gateways that do what a test tells them. Jobs are told apart
 * by their attempt number; all share one request id.
 */
#ifndef TESTS_ROUTERD_FAKES_H
#define TESTS_ROUTERD_FAKES_H

#include "routerd/router.h"
#include "tests/wire/harness.h"

#define JOBS_MAX 256

enum fake_does { FAKE_HOLDS, FAKE_TAKES, FAKE_BUSY, FAKE_REFUSES };

struct fake_worker {
	struct side side;
	struct wire_dial *dial;
	enum fake_does does;
	uint64_t issued;
	unsigned got[JOBS_MAX], ngot; /* attempts in the order they came */
	unsigned cancels, cancelled;  /* CANCELs, and the attempt of the last */
	uint64_t reason, deadline_ms, returned, want;
	unsigned wants, gateways;     /* WANTs; entries of the last GATEWAYS */
	char gateway[64], endpoint[64];
	/* said again by itself when the session comes up */
	const char *models;           /* comma separated; NULL: says nothing */
	uint64_t slots, needs, first_us;
};

struct fake_gateway {
	struct side side;
	struct wire_dial *dial;
	uint64_t boot;
	unsigned rejects, order[JOBS_MAX]; /* attempts in the order they were given back */
	char code[64], message[200];
	uint64_t retry_after, lost;
	unsigned models, snapshots; /* entries of the last MODELS; how many came */
	uint64_t live, needs;       /* of its last entry */
};

static const struct tf_id job_id = { { 0xaa, 1 } };

static inline void
worker_models(struct fake_worker *w, bool up, bool draining)
{
	struct wire_ready m = { .class = TF_SPAN("cpu"), .slots = w->slots, .up = up, .draining = draining,
		.dialects = 1 };
	struct tf_buf b = { 0 };
	const char *p = w->models;

	while (p != NULL && *p != '\0') {
		size_t n = strcspn(p, ",");
		struct wire_model_rec rec = { .id = tf_span(p, n), .needs = w->needs };

		assert_int_equal(wire_rep_add_model_rec(&b, WIRE_FN_READY_model, &rec), 0);
		p += n + (p[n] == ',');
	}
	m.model = wire_rep_of(&b, WIRE_FN_READY_model);
	assert_int_equal(wire_send_ready(w->side.peer, NULL, 0, &m, NONE), 0);
	tf_buf_free(&b);
}

static inline void
worker_credit(struct fake_worker *w, uint64_t more)
{
	struct wire_slots m = { .issued = w->issued += more };

	assert_int_equal(wire_send_slots(w->side.peer, NULL, 0, &m, NONE), 0);
}

static inline void
worker_says(struct fake_worker *w, enum wire_verb verb, unsigned attempt, const char *code)
{
	struct wire_reject m = { .code = tf_cspan(code), .message = tf_cspan("said the worker") };

	assert_int_equal(wire_send(w->side.peer, verb, &job_id, attempt, verb == WIRE_REJECT ? &m : NULL, NONE),
	    0);
}

static inline void
worker_on_up(struct side *s, struct wire_peer *p)
{
	struct fake_worker *w = s->arg;

	(void)p;
	w->issued = 0;
	if (w->models == NULL)
		return;
	worker_models(w, true, false);
	worker_credit(w, w->slots);
	if (w->first_us != 0) {
		struct wire_load m = { .first_us = w->first_us };

		assert_int_equal(wire_send_load(w->side.peer, NULL, 0, &m, NONE), 0);
	}
}

static inline void
worker_dispatched(struct fake_worker *w, const struct wire_frame *f, const struct wire_dispatch *m)
{
	assert_true(tf_id_eq(f->id, job_id));
	assert_true(tf_span_is(f->payload, "body"));
	w->got[w->ngot++ % JOBS_MAX] = f->attempt;
	w->deadline_ms = m->deadline_ms;
	if (w->does == FAKE_TAKES)
		worker_says(w, WIRE_TAKEN, f->attempt, NULL);
	else if (w->does == FAKE_BUSY)
		worker_says(w, WIRE_REJECT, f->attempt, "busy");
	else if (w->does == FAKE_REFUSES)
		worker_says(w, WIRE_REJECT, f->attempt, "upstream_error");
}

static inline void
worker_sees_gateways(struct fake_worker *w, struct wire_rep it)
{
	struct wire_gateway_rec rec;
	struct tf_span e;

	for (w->gateways = 0; wire_next(&it, &e); w->gateways++) {
		assert_int_equal(wire_dec_gateway_rec(e, &rec), 0);
		snprintf(w->gateway, sizeof w->gateway, TF_SPAN_FMT, TF_SPAN_ARG(rec.name));
		snprintf(w->endpoint, sizeof w->endpoint, TF_SPAN_FMT, TF_SPAN_ARG(rec.endpoint));
	}
}

static inline void
worker_on_frame(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct fake_worker *w = s->arg;

	(void)p;
	if (f->verb == WIRE_DISPATCH) {
		worker_dispatched(w, f, &m->dispatch);
	} else if (f->verb == WIRE_CANCEL) {
		w->cancels++;
		w->cancelled = f->attempt;
		w->reason = m->cancel.reason;
	} else if (f->verb == WIRE_RETURNED) {
		w->returned = m->returned.returned;
	} else if (f->verb == WIRE_WANT) {
		w->want = m->want.queued;
		w->wants++;
	} else if (f->verb == WIRE_GATEWAYS) {
		worker_sees_gateways(w, m->gateways.gateway);
	} else {
		fail_msg("a worker got %s", wire_verb_text(f->verb));
	}
}

static inline void
gateway_on_frame(struct side *s, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct fake_gateway *g = s->arg;
	struct wire_live_rec rec;
	struct wire_rep it;
	struct tf_span e;

	(void)p;
	if (f->verb == WIRE_REJECT) {
		g->order[g->rejects++ % JOBS_MAX] = f->attempt;
		snprintf(g->code, sizeof g->code, TF_SPAN_FMT, TF_SPAN_ARG(m->reject.code));
		snprintf(g->message, sizeof g->message, TF_SPAN_FMT, TF_SPAN_ARG(m->reject.message));
		g->retry_after = m->reject.retry_after_s;
		g->lost = m->reject.lost;
	} else if (f->verb == WIRE_MODELS) {
		g->models = 0;
		g->snapshots++;
		for (it = m->models.model; wire_next(&it, &e); g->models++) {
			assert_int_equal(wire_dec_live_rec(e, &rec), 0);
			g->live = rec.workers;
			g->needs = rec.needs;
		}
	} else {
		fail_msg("a gateway got %s", wire_verb_text(f->verb));
	}
}

/* ---- making ------------------------------------------------------------------------------- */

/* models: what it serves, with slots; NULL: registers nothing. Other facts are set before. */
static inline void
worker_open(struct bed *b, struct fake_worker *w, const char *name, const char *models, uint64_t slots)
{
	static uint64_t boots = 100;
	struct wire_self self = self_of(name, WIRE_ROLE_WK, ++boots);

	side_init(&w->side);
	w->models = models;
	w->slots = slots;
	w->side.arg = w;
	w->side.on_up = worker_on_up;
	w->side.on_frame = worker_on_frame;
	assert_int_equal(wire_dial_new(b->loop, b->ctx, &self, b->endpoint, &w->side.hooks, &w->dial), 0);
	EXPECT(b, w->side.ups == 1 && w->side.frames > 0, 2000);
}

static inline void
gateway_open(struct bed *b, struct fake_gateway *g, const char *name)
{
	static uint64_t boots = 1000;
	struct wire_self self = self_of(name, WIRE_ROLE_GW, ++boots);

	memset(g, 0, sizeof *g);
	side_init(&g->side);
	g->side.arg = g;
	g->side.on_frame = gateway_on_frame;
	g->boot = self.boot;
	self.endpoint = "ipc:///run/gw.sock";
	assert_int_equal(wire_dial_new(b->loop, b->ctx, &self, b->endpoint, &g->side.hooks, &g->dial), 0);
	EXPECT(b, g->side.ups == 1 && g->snapshots > 0, 2000);
}

struct ask {
	unsigned attempt;
	const char *model;     /* NULL: m1 */
	const char *workspace; /* NULL: w */
	uint64_t needs, priority, deadline_ms; /* deadline 0: 10 s */
	const char *as;        /* NULL: gatewayd.0 */
};

static inline void
dispatch(struct fake_gateway *g, struct ask a)
{
	struct wire_dispatch m = { .surface = TF_SPAN("openai_chat"),
		.model = tf_cspan(a.model ? a.model : "m1"), .asked = TF_SPAN("m"), .needs = a.needs,
		.deadline_ms = a.deadline_ms ? a.deadline_ms : 10000, .priority = a.priority,
		.workspace = tf_cspan(a.workspace ? a.workspace : "w"),
		.gateway = tf_cspan(a.as ? a.as : "gatewayd.0"), .gateway_boot = g->boot,
		.secret = TF_SPAN("0123456789abcdef"), .body_len = 4 };

	assert_int_equal(wire_send_dispatch(g->side.peer, &job_id, a.attempt, &m, TF_SPAN("body")), 0);
}

static inline void
cancel(struct fake_gateway *g, unsigned attempt)
{
	struct wire_cancel m = { .reason = WIRE_CANCEL_CLIENT_GONE };

	assert_int_equal(wire_send_cancel(g->side.peer, &job_id, attempt, &m, NONE), 0);
}

static inline struct rt *
router_open(struct bed *b, uint64_t queue_max, unsigned grace_ms)
{
	struct wire_self self = self_of("routerd", WIRE_ROLE_RT, 0x42);
	struct rt_options o = { .queue_max = queue_max, .grace_ms = grace_ms };
	struct rt *rt = NULL;

	assert_int_equal(rt_new(b->loop, b->ctx, &self, b->endpoint, &o, &rt), 0);
	return rt;
}

#endif
