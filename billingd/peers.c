/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateway threads: which starts of them are known, which are in session, and what of the
 * restart rule of admit.c still waits for one of them. Hands frames to the file that answers
 * them.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "billingd/billingd.h"

/* A start that is gone holds nothing any more once its last window is over. */
#define FORGET_MS (2 * BL_WINDOW_MS)

static struct bl_gateway *
gateway_new(struct bl *bl, const char *name, uint64_t boot)
{
	struct bl_gateway *g = calloc(1, sizeof *g);

	if (g == NULL)
		return NULL;
	g->bl = bl;
	snprintf(g->row.name, sizeof g->row.name, "%s", name);
	g->row.boot = boot;
	g->row.gone_ms = BL_NEVER_MS;
	g->returned = 1;
	bl_holder_init(&g->holder);
	tf_list_init(&g->waits);
	g->declaring = true;
	tf_list_append(&bl->gateways, &g->node);
	return g;
}

static void
gateway_free(struct bl *bl, struct bl_gateway *g)
{
	if (g->early != NULL) {
		for (size_t i = 0; i < g->early->n; i++)
			free(g->early->ops[i].arg);
		bl->ledger.held -= g->early->n;
		db_batch_free(&g->early);
	}
	bl_holder_drop(&g->holder, bl_now());
	tf_list_remove(&bl->gateways, &g->node);
	free(g);
}

struct bl_gateway *
bl_gateway_find(struct bl *bl, const char *name, uint64_t boot)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g->row.boot == boot && strcmp(g->row.name, name) == 0)
			return g;
	}
	return NULL;
}

/* ---- the restart rule --------------------------------------------------------------------- */

void
bl_peers_settled(struct bl *bl, struct bl_gateway *g)
{
	struct tf_node *e, *tmp;

	if (!g->awaited)
		return;
	g->awaited = false;
	TF_LIST_EACH(&bl->gateways, e, tmp)
		if (TF_CONTAINER(e, struct bl_gateway, node)->awaited)
			return;
	if (bl->blind_until != 0) {
		tf_log(TF_INFO, "peers", NULL, "every gateway has said what it holds");
		bl_admit_open(bl);
	}
}

int
bl_peers_load(struct bl *bl, const struct bl_start *s)
{
	uint64_t now = tf_mono_ms();

	for (size_t i = 0; i < s->n_instances; i++) {
		const struct bl_instance_row *row = &s->instances[i];
		struct bl_gateway *g = gateway_new(bl, row->name, row->boot);

		if (g == NULL)
			return TF_E_NOMEM;
		g->row = *row;
		g->committed = row->seq;
		g->gone_mono = now;
		g->awaited = row->gone_ms == BL_NEVER_MS;
		if (g->awaited)
			bl->blind_until = now + bl->conf->billingd.grant_ttl + 3 * bl->conf->common.heartbeat;
	}
	return 0;
}

/* ---- durable rows ------------------------------------------------------------------------- */

/* The store's thread fills a row of its own, never one that the loop reads. */
struct row_op {
	struct bl_instance_row row;
	struct bl_gateway *gateway;
};

static void
row_known(struct db_batch *b, void *arg)
{
	struct row_op *op = arg;
	struct bl_gateway *g = op->gateway;
	int rc = b->rc;

	g->refs--;
	g->asking = false;
	if (rc == 0) {
		g->row.id = op->row.id;
		if (op->row.seq > g->committed)
			g->committed = g->fronted = op->row.seq;
	}
	free(op);
	db_batch_free(&b);
	if (rc == 0)
		bl_ledger_early(g->bl, g);
	else
		tf_log(TF_ERROR, "peers", NULL, "a gateway's row cannot be stored gateway=%s error=%s", g->row.name,
		    tf_err_text(rc));
}

/* Without memory nothing is asked; the tick tries again. */
static void
row_ask(struct bl_gateway *g)
{
	struct row_op *op = malloc(sizeof *op);
	struct db_batch *b = op != NULL ? db_batch_new(row_known, op) : NULL;

	if (b == NULL || db_batch_add(b, BL_OP_INSTANCE, &op->row) != 0) {
		db_batch_free(&b);
		free(op);
		return;
	}
	op->row = g->row;
	op->gateway = g;
	g->asking = true;
	g->refs++;
	db_store_submit(g->bl->store, b);
}

static void
gone_stored(struct db_batch *b, void *arg)
{
	struct bl_gateway *g = arg;

	g->refs--;
	free(b->ops[0].arg);
	db_batch_free(&b);
}

/*
 * A start that comes back later clears it again. One that holds something when it goes is not written down as gone before
 * that is told or its windows are over: should we start anew until then, we wait for it like for those in session, for
 * nobody else knows what it holds.
 */
static void
row_gone(struct bl_gateway *g)
{
	struct bl_instance_row *row;
	struct db_batch *b;

	if (g->row.id == 0)
		return;
	row = malloc(sizeof *row);
	b = db_batch_new(gone_stored, g);
	if (row == NULL || b == NULL || db_batch_add(b, BL_OP_ACK, row) != 0) {
		free(row);
		db_batch_free(&b);
		return;
	}
	g->row.gone_ms = bl_wall_ms();
	*row = g->row;
	row->seq = g->committed;
	g->refs++;
	db_store_submit(g->bl->store, b);
}

/* ---- sessions ----------------------------------------------------------------------------- */

/* Another start of the same thread: the former ones hold nothing that will ever be returned. */
static void
replace_former(struct bl *bl, const struct bl_gateway *now)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g == now || g->peer != NULL || strcmp(g->row.name, now->row.name) != 0)
			continue;
		if (g->awaited)
			row_gone(g);
		bl_peers_settled(bl, g);
		if (!g->stopped) { /* workers end the attempts of a start when another one says HELLO */
			g->stopped = true;
			bl_admit_stopped(bl, g);
		}
	}
}

void
bl_peers_forget(struct bl *bl, struct bl_gateway *g)
{
	tf_log(TF_WARN, "peers", NULL, "a gateway is gone for ever, an operator says: what it held is free name=%s boot=%016"
	    PRIx64, g->row.name, g->row.boot);
	if (g->awaited)
		row_gone(g);
	bl_holder_drop(&g->holder, bl_now());
	bl_peers_settled(bl, g);
}

static void
on_up(void *arg, struct wire_peer *p)
{
	struct bl *bl = arg;
	struct bl_gateway *g;

	if (p->epoch > bl->epoch)
		tf_log(TF_ERROR, "peers", NULL, "a gateway has seen a newer epoch: this database is an old copy gateway=%s"
		    " theirs=%" PRIu64 " ours=%" PRIu64, p->name, p->epoch, bl->epoch);
	g = bl_gateway_find(bl, p->name, p->boot);
	if (g == NULL)
		g = gateway_new(bl, p->name, p->boot);
	if (g == NULL) {
		wire_drop(p, "out of memory");
		return;
	}
	g->peer = p;
	p->user = g;
	bl->sessions++;
	wire_board_join(bl->board); /* who was alone knows it before this one is granted anything */
	g->row.gone_ms = BL_NEVER_MS;
	g->stopped = false;
	tf_log(TF_INFO, "peers", NULL, "gateway is here name=%s build=%s", p->name, tf_log_q(tf_cspan(p->build)));
	row_ask(g);
	bl_admit_gone(bl, g, false);
	replace_former(bl, g);
}

struct bl_gateway *
bl_peers_teller(struct bl *bl, struct bl_gateway *g, const struct wire_usage *m)
{
	struct bl_gateway *of;
	char name[sizeof g->row.name];

	if (!wire_has(m, USAGE, of_name))
		return g;
	if (m->of_name.n == 0 || m->of_name.n > WIRE_NAME_MAX) {
		if (g->peer != NULL)
			wire_drop(g->peer, "impossible name of a start");
		return NULL;
	}
	snprintf(name, sizeof name, TF_SPAN_FMT, TF_SPAN_ARG(m->of_name));
	of = bl_gateway_find(bl, name, m->of_boot);
	if (of == NULL) {
		of = gateway_new(bl, name, m->of_boot);
		if (of == NULL)
			return NULL;
		of->declaring = false; /* it holds nothing that we know of */
	}
	if (of->peer != NULL)
		return NULL; /* it is alive, and speaks for itself */
	of->teller = g->peer;
	of->gone_mono = tf_mono_ms();
	if (of->row.id == 0 && !of->asking)
		row_ask(of);
	return of;
}

/* Nobody tells for the dead through a link that is down. */
static void
teller_gone(struct bl *bl, const struct wire_peer *p)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g->teller == p)
			g->teller = NULL;
	}
}

static void
on_down(void *arg, struct wire_peer *p, const char *why)
{
	struct bl_gateway *g = p->user;
	struct bl *bl = arg;

	if (g == NULL)
		return;
	tf_log(TF_WARN, "peers", NULL, "gateway is gone name=%s reason=%s", g->row.name, tf_log_q(tf_cspan(why)));
	teller_gone(bl, p);
	g->peer = NULL;
	bl->sessions--;
	g->gone_mono = tf_mono_ms();
	bl_admit_gone(bl, g, true);
	bl_admit_forget(bl, g);
	if (!bl->closing && bl_holder_empty(&g->holder, bl_now()))
		row_gone(g);
}

static void
on_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct bl_gateway *g = p->user;
	struct bl *bl = arg;

	if (g == NULL)
		return;
	switch (f->verb) {
	case WIRE_KEY_ASK:
		bl_admin_ask(bl, p, f, &m->key_ask);
		break;
	case WIRE_GRANT_ASK:
		bl_admit_ask(bl, g, f, &m->grant_ask);
		break;
	case WIRE_GRANT_RETURN:
		bl_admit_return(bl, g, &m->grant_return);
		break;
	case WIRE_DECLARE:
		bl_admit_declare(bl, g, &m->declare);
		break;
	case WIRE_USAGE:
		bl_ledger_usage(bl, g, f, &m->usage);
		break;
	case WIRE_SETTLED:
		bl_admit_settled(bl, &m->settled);
		break;
	case WIRE_QUERY:
		bl_usage_query(bl, g, f, &m->query);
		break;
	default:
		break;
	}
}

struct wire_hooks
bl_peers_hooks(struct bl *bl)
{
	return (struct wire_hooks){ on_up, on_down, on_frame, bl };
}

void
bl_peers_tick(struct bl *bl, uint64_t mono_ms)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (g->peer != NULL && g->row.id == 0 && !g->asking)
			row_ask(g);
		if (g->peer == NULL && !g->stopped && mono_ms > g->gone_mono + 3 * bl->conf->common.heartbeat) {
			g->stopped = true;
			bl_admit_stopped(bl, g);
		}
		if (g->peer == NULL && !g->awaited && g->row.gone_ms == BL_NEVER_MS && bl_holder_empty(&g->holder, bl_now()))
			row_gone(g);
		/* one that holds something may still be told whole by its successor */
		if (g->peer == NULL && g->refs == 0 && !g->awaited && g->holder.holds.n == 0 &&
		    mono_ms > g->gone_mono + FORGET_MS)
			gateway_free(bl, g);
	}
	if (bl->blind_until == 0 || mono_ms < bl->blind_until)
		return;
	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (!g->awaited)
			continue;
		tf_log(TF_WARN, "peers", NULL, "a gateway did not come back and counts as gone name=%s", g->row.name);
		g->awaited = false;
		row_gone(g);
	}
	bl_admit_open(bl);
}

void
bl_peers_init(struct bl *bl)
{
	tf_list_init(&bl->gateways);
	tf_list_init(&bl->active);
}

void
bl_peers_free(struct bl *bl)
{
	struct tf_node *e;

	while ((e = tf_list_first(&bl->gateways)) != NULL)
		gateway_free(bl, TF_CONTAINER(e, struct bl_gateway, node));
}
