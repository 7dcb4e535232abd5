/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The links of one thread: it dials billingd, routerd and stored, and is the hub of its workers. Hands each
 * frame to the file that understands it.
 */
#include "config.h"

#include <stdio.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_record.h"
#include "gatewayd/gw_stored.h"

bool
gw_thread_billing_fresh(const struct gw_thread *t)
{
	const struct wire_peer *p = gw_billing(t);

	return p != NULL && wire_silent_ms(p) < GW_LINK_FRESH_MS;
}

/* ---- billingd -------------------------------------------------------------------------------- */

static void
gw_billing_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "billingd is here thread=%s peer=%s", t->name, p->name);
	t->key_change = p->key_change;
	gw_limits_board(t);
	gw_admit_declare(t);
	gw_settle_resend(t);
	gw_left_link_up(t);
	gw_key_link_up(t);
	gw_query_link_up(t);
}

static void
gw_billing_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	(void)p;
	tf_log(TF_WARN, "link", NULL, "billingd is gone thread=%s reason=%s", t->name, tf_log_q(tf_cspan(why)));
	gw_key_distrust_all(t, false);
}

static void
gw_billing_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	(void)p;
	switch (f->verb) {
	case WIRE_KEY:
		gw_key_answer(t, f, &m->key);
		break;
	case WIRE_KEY_CHANGE:
		gw_key_changed(t, &m->key_change);
		break;
	case WIRE_GRANT:
		gw_grant_come(t, f, &m->grant);
		break;
	case WIRE_GRANT_REFUSE:
		gw_admit_refuse(t, f, &m->grant_refuse);
		break;
	case WIRE_GRANT_RECALL:
		gw_grant_recall(t, &m->grant_recall);
		break;
	case WIRE_USAGE_ACK:
		gw_settle_ack(t, &m->usage_ack);
		break;
	case WIRE_ANSWER:
		gw_query_answer(t, f, &m->answer);
		break;
	default:
		break;
	}
}

/* ---- routerd --------------------------------------------------------------------------------- */

static void
gw_router_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "routerd is here thread=%s peer=%s", t->name, p->name);
	gw_attempt_router_up(t);
}

static void
gw_router_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	(void)p;
	tf_log(TF_WARN, "link", NULL, "routerd is gone thread=%s reason=%s", t->name, tf_log_q(tf_cspan(why)));
	gw_models_live(t, NULL);
	gw_attempt_router_down(t);
}

static void
gw_router_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	(void)p;
	if (f->verb == WIRE_REJECT)
		gw_attempt_reject(t, f, &m->reject);
	else if (f->verb == WIRE_MODELS)
		gw_models_live(t, &m->models);
}

/* ---- stored ---------------------------------------------------------------------------------- */

static void
gw_stored_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "stored is here thread=%s peer=%s", t->name, p->name);
	gw_store_link_up(t);
}

static void
gw_stored_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	(void)p;
	tf_log(TF_WARN, "link", NULL, "stored is gone thread=%s reason=%s", t->name, tf_log_q(tf_cspan(why)));
	gw_store_link_down(t);
}

static void
gw_stored_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	(void)p;
	if (f->verb == WIRE_PUT_DONE)
		gw_store_done(t, f, &m->put_done);
	else if (f->verb == WIRE_VALUE)
		gw_store_value(t, f, &m->value);
	else if (f->verb == WIRE_CLAIMED)
		gw_store_claimed(t, f, &m->claimed);
}

/* ---- workers --------------------------------------------------------------------------------- */

static void
gw_worker_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "worker is here thread=%s worker=%s", t->name, p->name);
}

static void
gw_worker_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	tf_log(TF_WARN, "link", NULL, "worker is gone thread=%s worker=%s reason=%s", t->name, p->name,
	    tf_log_q(tf_cspan(why)));
	gw_attempt_worker_down(t, p);
}

static void
gw_worker_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	switch (f->verb) {
	case WIRE_ACCEPT:
		gw_attempt_accept(t, p, f, &m->accept);
		break;
	case WIRE_EVENT:
		gw_relay_event(t, p, f, &m->event);
		break;
	case WIRE_END:
		gw_relay_end(t, p, f, &m->end);
		break;
	case WIRE_KEEP:
		gw_relay_keep(t, p, f, &m->keep);
		break;
	case WIRE_PULL:
		gw_attempt_pull(t, p, f, &m->pull);
		break;
	default:
		break;
	}
}

/* ---- life ------------------------------------------------------------------------------------- */

static int
gw_endpoint(const struct gw_thread *t, const char *name, char *out, size_t cap)
{
	int n = snprintf(out, cap, "ipc://%s/%s.sock", t->conf->c->common.run_dir, name);

	return n > 0 && (size_t)n < cap ? 0 : TF_E_RANGE;
}

int
gw_links_open(struct gw_thread *t)
{
	struct wire_hooks billing = { gw_billing_up, gw_billing_down, gw_billing_frame, t };
	struct wire_hooks router = { gw_router_up, gw_router_down, gw_router_frame, t };
	struct wire_hooks stored = { gw_stored_up, gw_stored_down, gw_stored_frame, t };
	struct wire_hooks worker = { gw_worker_up, gw_worker_down, gw_worker_frame, t };
	char mine[256], theirs[256];
	struct wire_self self = {
		.name = t->name, .role = WIRE_ROLE_GW, .boot = t->boot, .build = PACKAGE_VERSION,
		.heartbeat_ms = (unsigned)t->conf->c->common.heartbeat, .endpoint = mine,
	};
	int rc;

	if ((rc = gw_endpoint(t, t->name, mine, sizeof mine)) != 0)
		return rc;
	self.roles = WIRE_ROLE_WK;
	if ((rc = wire_hub_new(t->loop, t->gw->zctx, &self, mine, &worker, &t->hub)) != 0) {
		tf_log(TF_ERROR, "link", NULL, "cannot listen for workers endpoint=%s error=%s", mine,
		    rc == TF_E_EXIST ? "another gatewayd of this name runs" : tf_err_text(rc));
		return rc;
	}
	self.roles = WIRE_ROLE_BL;
	self.lazy_us = GW_TELL_US;
	if ((rc = gw_endpoint(t, "billingd", theirs, sizeof theirs)) != 0 ||
	    (rc = wire_dial_new(t->loop, t->gw->zctx, &self, theirs, &billing, &t->billing)) != 0)
		return rc;
	self.roles = WIRE_ROLE_ST;
	self.lazy_us = 0;
	if ((rc = gw_endpoint(t, "stored", theirs, sizeof theirs)) != 0 ||
	    (rc = wire_dial_new(t->loop, t->gw->zctx, &self, theirs, &stored, &t->store)) != 0)
		return rc;
	self.roles = WIRE_ROLE_RT;
	if ((rc = gw_endpoint(t, "routerd", theirs, sizeof theirs)) != 0 ||
	    (rc = wire_dial_new(t->loop, t->gw->zctx, &self, theirs, &router, &t->router)) != 0)
		return rc;
	return 0;
}

/* Each attempt that still runs is settled: its worker's end of the link goes first, billingd's last. */
void
gw_links_close(struct gw_thread *t)
{
	struct tf_node *e, *tmp;

	wire_hub_free(&t->hub);
	wire_dial_free(&t->store);
	TF_LIST_EACH(&t->state[GW_S_ORPHAN], e, tmp) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, node);

		gw_settle(req, WIRE_OUTCOME_LOST, NULL, TF_E_CLIENT_CLOSED, false);
		gw_req_to(req, GW_S_DONE);
	}
	gw_spool_flush(t);
	if (t->billing != NULL)
		gw_grant_return_all(t);
	wire_dial_free(&t->billing);
	wire_board_close(&t->board);
	wire_dial_free(&t->router);
}
