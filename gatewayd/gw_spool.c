/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread writes down about its attempts: a BEGIN before it is dispatched, its progress before each piece goes to
 * the client, an END before the last piece. What came up in a loop turn is written at its end, once; then those who wait
 * for it go on. The disk's slow side (making files, syncing, removing) is the keeper's.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_record.h"

#define GW_SPOOL_TEXTS 640      /* bytes that an END may have more than its BEGIN: numbers, worker, finish, code */
#define GW_MEMORY_MAX 200000u   /* usage records held in memory when the spool is full and the operator serves on */
#define GW_ORPHAN_SLOTS 4096    /* attempts that outlive their connection */
#define GW_SPOOL_KEEP (1u << 20) /* bytes of usage records that need not be read back to be told */

static bool
gw_spool_unmetered(const struct gw_thread *t)
{
	return strcmp(t->conf->c->gatewayd.spool_full, "unmetered") == 0 && t->spool.in_memory < GW_MEMORY_MAX;
}

/* ---- the end of a turn ------------------------------------------------------------------------ */

/* Those whose END is as safe as the operator wants it. */
static void
gw_spool_go_on(struct gw_thread *t, uint64_t ticket)
{
	struct tf_node *e;

	while ((e = tf_list_first(&t->state[GW_S_SETTLE])) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, node);

		if (req->ticket > ticket)
			return;
		gw_relay_recorded(req);
	}
}

static void
gw_spool_turn(void *arg)
{
	struct gw_thread *t = arg;

	if (sp_writer_flush(&t->spool) != 0) {
		tf_metric_add(TF_M_GW_SPOOL_FAILURES, 1);
		ev_turn_arm(t->loop, &t->flush); /* what was rescued goes with the next turn */
	}
	t->written = sp_writer_next(&t->spool) - 1;
	gw_keeper_want(t);
	if (strcmp(t->conf->c->gatewayd.spool_sync, "always") != 0)
		gw_spool_go_on(t, UINT64_MAX);
	else if (t->state[GW_S_SETTLE].n > 0 && !t->syncing)
		gw_keeper_sync(t, t->ticket++); /* what ends from here on waits for the next one */
	gw_settle_pump(t);
}

void
gw_spool_flush(struct gw_thread *t)
{
	ev_turn_disarm(t->loop, &t->flush);
	gw_spool_turn(t);
}

void
gw_spool_synced(struct gw_thread *t, uint64_t ticket)
{
	gw_spool_go_on(t, ticket);
	if (t->state[GW_S_SETTLE].n > 0)
		ev_turn_arm(t->loop, &t->flush); /* they ended while that sync was under way */
}

/* ---- attempts --------------------------------------------------------------------------------- */

bool
gw_spool_may(struct gw_req *req)
{
	return sp_writer_fits(&req->t->spool, GW_SPOOL_TEXTS, 2 * GW_SPOOL_TEXTS) || gw_spool_unmetered(req->t);
}

int
gw_spool_begin(struct gw_req *req)
{
	struct gw_thread *t = req->t;
	struct tf_buf *b = &t->spool.scratch;
	struct wire_usage m;
	int rc;

	gw_settle_facts(req, &m);
	/* what is known if we die now; completed from the progress map */
	m.outcome = WIRE_OUTCOME_LOST;
	m.provisional = m.estimated = 1;
	m.prompt = gw_settle_prompt(req);
	gw_admit_reserved(req, &m);
	req->spooled = (struct sp_open){ .id = req->id, .attempt = req->attempt };
	tf_buf_reset(b);
	rc = wire_enc_usage(b, &req->id, req->attempt, &m, (struct tf_span){ 0 });
	if (rc == 0)
		rc = sp_writer_begin(&t->spool, &req->spooled, tf_buf_span(b), b->n + GW_SPOOL_TEXTS);
	if (rc == 0)
		ev_turn_arm(t->loop, &t->flush);
	else if (gw_spool_unmetered(t))
		rc = 0;
	else
		tf_log(TF_WARN, "spool", &req->id, "no room for what it would be charged error=%s", tf_err_text(rc));
	return rc;
}

void
gw_spool_end(struct gw_req *req, const struct wire_usage *m)
{
	struct gw_thread *t = req->t;
	struct tf_buf *b = &t->spool.scratch;

	tf_buf_reset(b);
	if (wire_enc_usage(b, &req->id, req->attempt, m, (struct tf_span){ 0 }) != 0 ||
	    sp_writer_end(&t->spool, &req->spooled, tf_buf_span(b), &req->seq) != 0) {
		/* without memory for a few hundred bytes there is no honest way on */
		tf_log(TF_ERROR, "spool", &req->id, "no memory for a usage record attempt=%u", req->attempt);
		abort();
	}
	tf_metric_add(TF_M_GW_UNSETTLED, 1);
	atomic_store_explicit(&t->owed, t->spool.n, memory_order_relaxed);
	req->ticket = t->ticket;
	ev_turn_arm(t->loop, &t->flush);
}

void
gw_spool_progress(struct gw_req *req)
{
	struct sp_slot *s = req->spooled.slot;

	if (s == NULL)
		return;
	atomic_store_explicit(&s->tokens, req->out_tokens, memory_order_relaxed);
	atomic_store_explicit(&s->reserved, req->reserved.v[GW_U_TOKENS], memory_order_relaxed);
	atomic_store_explicit(&s->money, req->reserved.v[GW_U_MONEY], memory_order_relaxed);
	atomic_store_explicit(&s->given, 1, memory_order_relaxed);
}

/* ---- life ------------------------------------------------------------------------------------- */

void
gw_spool_init(struct gw_thread *t)
{
	tf_list_init(&t->spool.segs);
	tf_list_init(&t->mail);
	ev_turn_init(&t->flush, gw_spool_turn, t);
	t->ticket = t->tell = 1;
}

int
gw_spool_open(struct gw_thread *t)
{
	const struct conf_gatewayd *c = &t->conf->c->gatewayd;
	struct sp_writer_conf wc = { .dir = c->spool_dir, .name = t->name, .boot = t->boot,
		.slots = (uint32_t)c->connections_max + GW_ORPHAN_SLOTS, .segment = (uint32_t)c->spool_segment,
		.keep = GW_SPOOL_KEEP };
	int rc = sp_writer_open(&t->spool, &wc);

	if (rc != 0) {
		tf_log(TF_ERROR, "spool", NULL, "cannot write into the spool dir=%s error=%s", tf_log_q(tf_cspan(c->spool_dir)),
		    tf_err_text(rc));
		return rc;
	}
	if (t->spool.current == NULL)
		tf_log(TF_ERROR, "spool", NULL, "the spool is full: no room for new requests dir=%s",
		    tf_log_q(tf_cspan(c->spool_dir)));
	gw_keeper_want(t);
	return 0;
}

void
gw_spool_tick(struct gw_thread *t, uint64_t now)
{
	const struct conf_gatewayd *c = &t->conf->c->gatewayd;
	const struct sp_due *first = sp_writer_due(&t->spool, t->spool.acked + 1);
	struct sp_seg *s;

	while ((s = sp_writer_spent(&t->spool)) != NULL)
		gw_keeper_done(t, s);
	if (now - t->synced >= c->spool_sync_interval && strcmp(c->spool_sync, "off") != 0) {
		t->synced = now;
		gw_keeper_sync(t, 0);
	}
	/* a spool that had no room asks again: the keeper or the operator may have made some */
	gw_keeper_want(t);
	atomic_store_explicit(&t->oldest, first != NULL ? first->made_ms : 0, memory_order_relaxed);
	atomic_store_explicit(&t->full, !sp_writer_fits(&t->spool, GW_SPOOL_TEXTS, 2 * GW_SPOOL_TEXTS), memory_order_relaxed);
}

void
gw_spool_close(struct gw_thread *t)
{
	if (t->spool.n > 0)
		tf_log(TF_WARN, "spool", NULL, "usage records that are not acknowledged are left to the next start count=%zu",
		    t->spool.n);
	gw_admit_settling_free(t);
	tf_metric_add(TF_M_GW_UNSETTLED, -(uint64_t)t->spool.n);
	sp_writer_close(&t->spool);
}
