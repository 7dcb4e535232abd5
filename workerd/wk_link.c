/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of a worker: one to routerd, which names the gateway threads, and one to each of those.
 * Slot credits are issued to routerd here: all free ones when a session begins, one more whenever
 * an attempt gives its slot back.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "workerd/wk.h"

#define WK_LOAD_MS 1000

struct wire_peer *
wk_gateway_peer(const struct wk_gateway *g)
{
	return g != NULL && g->dial != NULL ? wire_dial_peer(g->dial) : NULL;
}

static struct wire_self
wk_self(const struct wk *wk, unsigned roles)
{
	return (struct wire_self){
		.name = wk->w->name, .role = WIRE_ROLE_WK, .boot = wk->boot, .build = PACKAGE_VERSION,
		.heartbeat_ms = (unsigned)wk->conf->common.heartbeat, .roles = roles,
	};
}

/* ---- slots ---------------------------------------------------------------------------------- */

static void
wk_slots_send(struct wk *wk)
{
	struct wire_peer *p = wire_dial_peer(wk->router);
	struct wire_slots m = { .issued = wk->issued };

	if (p != NULL)
		(void)wire_send_lazy(p, WIRE_SLOTS, NULL, 0, &m, (struct tf_span){ 0 });
}

void
wk_slot_issue(struct wk *wk)
{
	wk->issued++;
	wk_slots_send(wk);
}

static void
wk_load_send(struct wk *wk, struct wire_peer *p)
{
	struct wire_load m = {
		.active = wk->active, .first_us = wk->avg_first_us, .mtps = wk->avg_mtps, .errors_ppm = wk->errors_ppm,
	};

	(void)wire_send_lazy(p, WIRE_LOAD, NULL, 0, &m, (struct tf_span){ 0 });
}

void
wk_link_ready(struct wk *wk)
{
	struct wire_peer *p = wire_dial_peer(wk->router);
	struct tf_buf models = { 0 };
	struct wire_ready m = {
		.class = tf_cspan(wk->w->class), .slots = wk->slots, .up = wk->up, .draining = wk->draining,
		.dialects = DL_TABLE_VERSION,
	};
	int rc = 0;

	if (p == NULL)
		return;
	for (size_t i = 0; i < wk->nmodels && rc == 0; i++) {
		struct wire_model_rec rec = {
			.id = tf_cspan(wk->models[i].id), .needs = wk->models[i].needs | (wk->recall ? DL_LIVE_RECALL : 0),
			.context = wk->models[i].context,
		};

		rc = wire_rep_add_model_rec(&models, WIRE_FN_READY_model, &rec);
	}
	m.model = wire_rep_of(&models, WIRE_FN_READY_model);
	if (rc == 0)
		rc = wire_send_ready(p, NULL, 0, &m, (struct tf_span){ 0 });
	if (rc != 0)
		tf_log(TF_ERROR, "link", NULL, "cannot announce models error=%s", tf_err_text(rc));
	tf_buf_free(&models);
}

/* ---- gateways ------------------------------------------------------------------------------- */

static void
wk_gateway_up(void *arg, struct wire_peer *p)
{
	struct wk_gateway *g = arg;

	tf_log(TF_INFO, "link", NULL, "gateway is here gateway=%s", p->name);
	wk_attempt_gateway_up(g->wk, g);
}

static void
wk_gateway_down(void *arg, struct wire_peer *p, const char *why)
{
	struct wk_gateway *g = arg;

	tf_log(TF_WARN, "link", NULL, "gateway is gone gateway=%s reason=%s", p->name, tf_log_q(tf_cspan(why)));
	wk_attempt_gateway_down(g->wk, g, false);
}

static void
wk_gateway_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct wk_gateway *g = arg;

	(void)p;
	switch (f->verb) {
	case WIRE_CREDIT:
		wk_attempt_credit(g->wk, f, &m->credit);
		break;
	case WIRE_BODY:
		wk_attempt_body(g->wk, f, &m->body);
		break;
	case WIRE_CANCEL:
		wk_attempt_cancel(g->wk, f, m->cancel.reason);
		break;
	case WIRE_END_ACK:
		wk_attempt_acked(g->wk, f);
		break;
	default:
		break;
	}
}

static void
wk_gateway_free(struct wk_gateway *g)
{
	wk_attempt_gateway_down(g->wk, g, true);
	tf_list_remove(&g->wk->gateways, &g->node);
	wire_dial_free(&g->dial);
	free(g->name);
	free(g->endpoint);
	free(g);
}

static struct wk_gateway *
wk_gateway_find(struct wk *wk, struct tf_span name)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&wk->gateways, e, tmp) {
		struct wk_gateway *g = TF_CONTAINER(e, struct wk_gateway, node);

		if (tf_span_is(name, g->name))
			return g;
	}
	return NULL;
}

static void
wk_gateway_add(struct wk *wk, const struct wire_gateway_rec *rec)
{
	struct wk_gateway *g = calloc(1, sizeof *g);
	struct wire_self self = wk_self(wk, WIRE_ROLE_GW);
	struct wire_hooks hooks = { wk_gateway_up, wk_gateway_down, wk_gateway_frame, g };
	int rc = TF_E_NOMEM;

	if (g == NULL)
		return;
	g->wk = wk;
	g->name = tf_span_dup(rec->name);
	g->endpoint = tf_span_dup(rec->endpoint);
	g->boot = rec->boot;
	g->named = true;
	tf_list_append(&wk->gateways, &g->node);
	if (g->name != NULL && g->endpoint != NULL)
		rc = wire_dial_new(wk->loop, wk->zctx, &self, g->endpoint, &hooks, &g->dial);
	if (rc != 0) {
		tf_log(TF_ERROR, "link", NULL, "cannot connect to a gateway error=%s", tf_err_text(rc));
		wk_gateway_free(g);
	}
}

/* A full snapshot: who is not in it is gone; running attempts of a link that still lives go on. */
static void
wk_gateways_learn(struct wk *wk, const struct wire_gateways *m)
{
	struct wire_rep it = m->gateway;
	struct tf_node *e, *tmp;
	struct tf_span s;

	TF_LIST_EACH(&wk->gateways, e, tmp)
		TF_CONTAINER(e, struct wk_gateway, node)->named = false;
	while (wire_next(&it, &s)) {
		struct wire_gateway_rec rec;
		const struct wire_peer *peer;
		struct wk_gateway *g;

		if (wire_dec_gateway_rec(s, &rec) != 0)
			return;
		g = wk_gateway_find(wk, rec.name);
		peer = g != NULL ? wk_gateway_peer(g) : NULL;
		/* started anew: a session with its former boot would swallow the ACCEPTs of this one's jobs */
		if (g != NULL && ((peer != NULL && peer->boot != rec.boot) || !tf_span_is(rec.endpoint, g->endpoint))) {
			wk_gateway_free(g);
			g = NULL;
		}
		if (g != NULL) {
			g->named = true;
			g->boot = rec.boot;
		} else {
			wk_gateway_add(wk, &rec);
		}
	}
	TF_LIST_EACH(&wk->gateways, e, tmp) {
		struct wk_gateway *g = TF_CONTAINER(e, struct wk_gateway, node);

		if (!g->named && wk_gateway_peer(g) == NULL)
			wk_gateway_free(g);
	}
}

/* ---- routerd -------------------------------------------------------------------------------- */

static void
wk_router_up(void *arg, struct wire_peer *p)
{
	struct wk *wk = arg;

	tf_log(TF_INFO, "link", NULL, "routerd is here peer=%s", p->name);
	wk->issued = wk->slots > wk->active ? wk->slots - wk->active : 0;
	wk_link_ready(wk);
	wk_slots_send(wk);
	wk_load_send(wk, p);
}

static void
wk_router_down(void *arg, struct wire_peer *p, const char *why)
{
	(void)arg;
	(void)p;
	tf_log(TF_WARN, "link", NULL, "routerd is gone reason=%s", tf_log_q(tf_cspan(why)));
}

static void
wk_router_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct wk *wk = arg;

	(void)p;
	switch (f->verb) {
	case WIRE_DISPATCH:
		wk_attempt_dispatch(wk, f, &m->dispatch);
		break;
	case WIRE_CANCEL:
		wk_attempt_cancel(wk, f, m->cancel.reason);
		break;
	case WIRE_GATEWAYS:
		wk_gateways_learn(wk, &m->gateways);
		break;
	default:
		break; /* RECALL's counterpart is the only other, and all credits go to one routerd */
	}
}

static void
wk_link_tick(void *arg)
{
	struct wk *wk = arg;
	struct wire_peer *p = wire_dial_peer(wk->router);
	uint64_t now = tf_mono_ms();

	wk_attempts_tick(wk, now);
	if (wk->draining && !wk->drained && now >= wk->drain_until)
		wk_attempts_fail(wk, TF_E_OVERLOADED, "The worker is shutting down.");
	if (p != NULL && now - wk->load_at >= WK_LOAD_MS) {
		wk->load_at = now;
		wk_load_send(wk, p);
	}
	ev_timer_set(&wk->tick, WK_TICK_MS);
}

int
wk_link_open(struct wk *wk)
{
	struct wire_self self = wk_self(wk, WIRE_ROLE_RT);
	struct wire_hooks hooks = { wk_router_up, wk_router_down, wk_router_frame, wk };
	char endpoint[256];
	int n = snprintf(endpoint, sizeof endpoint, "ipc://%s/routerd.sock", wk->conf->common.run_dir);

	if (n < 0 || (size_t)n >= sizeof endpoint)
		return TF_E_RANGE;
	ev_timer_init(&wk->tick, wk->loop, wk_link_tick, wk);
	ev_timer_set(&wk->tick, WK_TICK_MS);
	return wire_dial_new(wk->loop, wk->zctx, &self, endpoint, &hooks, &wk->router);
}

void
wk_link_close(struct wk *wk)
{
	struct tf_node *e;

	ev_timer_del(&wk->tick);
	while ((e = tf_list_first(&wk->gateways)) != NULL)
		wk_gateway_free(TF_CONTAINER(e, struct wk_gateway, node));
	wire_dial_free(&wk->router);
}
