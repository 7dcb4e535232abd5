/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage records on their way into the ledger. They gather for commit_delay or until there
 * are commit_rows of them, then one batch at a time goes to the store; what comes meanwhile
 * is the next one. A gateway hears USAGE_ACK only of what is durable, and only up to the
 * first gap. When the store is in trouble the batch is tried again for ever and nothing is
 * acknowledged; memory is bounded, because gateways keep and repeat what is not taken.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "billingd/billingd.h"

#define RETRY_MIN_MS 50
#define RETRY_MAX_MS 2000

static void flush(struct bl *bl);

static bool
bit_get(const uint64_t *bits, uint64_t seq)
{
	return bits[seq % BL_SEQ_AHEAD / 64] >> (seq % 64) & 1;
}

static void
bit_put(uint64_t *bits, uint64_t seq, bool on)
{
	uint64_t mask = UINT64_C(1) << (seq % 64), *word = &bits[seq % BL_SEQ_AHEAD / 64];

	*word = on ? *word | mask : *word & ~mask;
}

/* ---- acknowledgements --------------------------------------------------------------------- */

/* seq is durable: the acknowledged front moves over it and all that waited behind. */
static void
seq_stored(struct bl_gateway *g, uint64_t seq)
{
	if (seq <= g->committed)
		return;
	bit_put(g->stored, seq, true);
	while (bit_get(g->stored, g->committed + 1)) {
		g->committed++;
		bit_put(g->stored, g->committed, false);
		bit_put(g->taken, g->committed, false);
	}
}

/* What the front will be when this batch is durable: the store keeps it with the rows. */
static uint64_t
front_after(const struct bl_gateway *g)
{
	uint64_t front = g->committed;

	/* taken and not stored: in this batch, for only one is under way, and nothing else is older */
	while (front - g->committed < BL_SEQ_AHEAD - 1 && (bit_get(g->stored, front + 1) || bit_get(g->taken, front + 1)))
		front++;
	return front;
}

static void
ack(struct bl_gateway *g)
{
	struct wire_usage_ack m = { .seq = g->committed };
	struct wire_peer *p = g->peer;

	if (p == NULL && g->teller != NULL) {
		p = g->teller;
		m.of_name = tf_cspan(g->row.name);
		wire_set(&m, USAGE_ACK, of_boot, g->row.boot);
	}
	if (p != NULL)
		(void)wire_send_usage_ack(p, NULL, 0, &m, (struct tf_span){ 0 });
}

/*
 * Numbers from first up to seq are not to come any more: a database that had more in it than ours acknowledged them, or the
 * file that they were in was damaged. The front passes over them.
 */
static void
seq_skip(struct bl_gateway *g, uint64_t first, uint64_t seq)
{
	if (first <= g->committed + 1) {
		if (seq - 1 > g->committed && seq - 1 - g->committed >= BL_SEQ_AHEAD) {
			/* what came out of order comes again */
			memset(g->stored, 0, sizeof g->stored);
			memset(g->taken, 0, sizeof g->taken);
			memset(g->counted, 0, sizeof g->counted);
			g->committed = seq - 1;
		}
		while (g->committed < seq - 1) {
			g->committed++;
			bit_put(g->stored, g->committed, false);
			bit_put(g->taken, g->committed, false);
			bit_put(g->counted, g->committed, false);
		}
		while (bit_get(g->stored, g->committed + 1)) {
			g->committed++;
			bit_put(g->stored, g->committed, false);
			bit_put(g->taken, g->committed, false);
		}
		return;
	}
	for (uint64_t i = first; i < seq && i - g->committed < BL_SEQ_AHEAD; i++)
		if (!bit_get(g->taken, i))
			bit_put(g->stored, i, true);
}

/* ---- the way in --------------------------------------------------------------------------- */

static int
id_of(struct tf_span s, struct tf_id *out)
{
	if (s.n != sizeof out->b)
		return TF_E_INVAL;
	memcpy(out->b, s.p, sizeof out->b);
	return 0;
}

static bool
counts_ok(const struct wire_usage *m)
{
	const uint64_t v[] = { m->prompt, m->cache_read, m->cache_write, m->completion, m->reasoning, m->reserved,
		m->window, m->began_ms, m->ended_ms, m->first_us, m->images, m->audio_ms, m->characters, m->reserved_money,
		m->reserved_images, m->reserved_audio_ms, m->reserved_slots, m->window_budget, m->window_month, m->window_key,
#define PRICE(sym, field, units, what) m->price_##field,
#include "common/base/price.def"
#undef PRICE
	};

	for (size_t i = 0; i < TF_LEN(v); i++)
		if (v[i] > BL_COUNT_MAX)
			return false;
	return m->outcome >= WIRE_OUTCOME_SERVED && m->outcome <= WIRE_OUTCOME_LOST && m->seq > 0 && m->status < 1000;
}

static struct tf_price
price_of(const struct wire_usage *m)
{
	return (struct tf_price){ {
#define PRICE(sym, field, units, what) [TF_P_##sym] = wire_has(m, USAGE, price_##field) ? (int64_t)m->price_##field : TF_NO_PRICE,
#include "common/base/price.def"
#undef PRICE
	} };
}

/* Returns new; NULL without memory or for a record that cannot be one. */
static struct bl_usage *
usage_of(struct bl_gateway *g, const struct wire_frame *f, const struct wire_usage *m)
{
	struct bl_usage u = { .request = f->id, .attempt = f->attempt, .outcome = (uint8_t)m->outcome,
		.delivered = m->delivered != 0, .estimated = m->estimated != 0, .stream = m->stream != 0,
		.tokens = { m->prompt, m->cache_read, m->cache_write, m->completion, m->reasoning },
		.units = { m->images, m->audio_ms, m->characters },
		.reserved = m->reserved,
		.held = { m->reserved_money, m->reserved_images, m->reserved_audio_ms, m->reserved_slots },
		.window = { m->window, m->window_budget, m->window_month, m->window_key },
		.provisional = m->provisional != 0, .began_ms = (int64_t)m->began_ms,
		.ended_ms = (int64_t)m->ended_ms, .first_us = wire_has(m, USAGE, first_us) ? (int64_t)m->first_us : -1,
		.status = (uint32_t)m->status, .seq = m->seq, .user = g };

	if (!counts_ok(m) || id_of(m->key, &u.key) != 0 || id_of(m->workspace, &u.workspace) != 0) {
		tf_log(TF_ERROR, "ledger", &f->id, "impossible usage record gateway=%s seq=%" PRIu64, g->row.name, m->seq);
		if (g->peer != NULL)
			wire_drop(g->peer, "impossible usage record");
		return NULL;
	}
	u.price = price_of(m);
	u.cost = bl_usage_cost(&u);
	/* what admission did not foresee is on nobody's account; where it foresaw no cost, there was no limit to it */
	if (u.held.money != 0 && u.cost > u.held.money)
		u.unbilled = u.cost - u.held.money;
	u.text[BL_T_MODEL] = m->model;
	u.text[BL_T_SURFACE] = m->surface;
	u.text[BL_T_FINISH] = m->finish;
	u.text[BL_T_CODE] = m->code;
	u.text[BL_T_WORKER] = m->worker;
	return bl_usage_copy(&u);
}

static void came_back(struct db_batch *b, void *arg);

/* Appends to the batch that is being filled; takes u. */
static int
put(struct bl *bl, struct bl_usage *u)
{
	struct bl_ledger *l = &bl->ledger;

	if (l->filling == NULL) {
		l->filling = db_batch_new(came_back, bl);
		if (l->filling == NULL)
			return TF_E_NOMEM;
		l->filling->lenient = true;
	}
	return db_batch_add(l->filling, BL_OP_USAGE, u);
}

static int
put_early(struct bl_gateway *g, struct bl_usage *u)
{
	if (g->early == NULL)
		g->early = db_batch_new(NULL, NULL);
	return g->early != NULL ? db_batch_add(g->early, BL_OP_USAGE, u) : TF_E_NOMEM;
}

static void
gather(struct bl *bl)
{
	struct bl_ledger *l = &bl->ledger;

	if (l->flying != NULL || l->filling == NULL || bl->closing)
		return;
	if (l->hurry || l->filling->n >= (size_t)bl->conf->billingd.commit_rows)
		flush(bl);
	else if (!ev_timer_pending(&l->commit))
		ev_timer_set(&l->commit, bl->conf->billingd.commit_delay);
}

bool
bl_ledger_count(struct bl_gateway *g, uint64_t seq)
{
	if (seq <= g->committed || bit_get(g->counted, seq))
		return false;
	/* further ahead than what is taken: it is counted when it comes, and once more now, which refuses rather than admits */
	if (seq - g->committed < BL_SEQ_AHEAD)
		bit_put(g->counted, seq, true);
	return true;
}

static bool
take_counted(struct bl_gateway *g, uint64_t seq)
{
	bool was = bit_get(g->counted, seq);

	bit_put(g->counted, seq, false);
	return was;
}

/*
 * A record that was in the ledger when its gateway declared what it holds, but whose acknowledgement was lost: its
 * reservation was declared with the others, and nothing but this frees it. Such records are told in order, once a session
 * and again in silence.
 */
static void
release(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_usage *m)
{
	struct bl_usage *u;

	if (m->seq > g->fronted || m->seq <= g->released)
		return;
	u = usage_of(g, f, m);
	if (u == NULL)
		return;
	g->released = m->seq;
	bl_admit_settle(bl, g, &(struct bl_settled){ .usage = u, .twice = take_counted(g, u->seq) });
	free(u);
}

void
bl_ledger_usage(struct bl *bl, struct bl_gateway *teller, const struct wire_frame *f, const struct wire_usage *m)
{
	struct bl_gateway *g = bl_peers_teller(bl, teller, m);
	struct bl_ledger *l = &bl->ledger;
	struct bl_usage *u;
	int rc;

	if (g == NULL)
		return;
	if (m->missing > 0 && m->missing < m->seq)
		seq_skip(g, m->seq - m->missing, m->seq);
	if (m->seq <= g->committed) {
		release(bl, g, f, m);
		tf_metric_add(TF_M_BL_LEDGER_REPLAYED, 1);
		ack(g);
		return;
	}
	/* under way already, or no room: it will be repeated */
	if (m->seq - g->committed >= BL_SEQ_AHEAD || bit_get(g->taken, m->seq) || l->held >= BL_PENDING_MAX)
		return;
	u = usage_of(g, f, m);
	if (u == NULL)
		return;
	rc = g->row.id != 0 ? put(bl, u) : put_early(g, u);
	if (rc != 0) {
		free(u);
		return;
	}
	u->instance = g->row.id;
	bl_limits_window(bl, u);
	bit_put(g->taken, m->seq, true);
	g->refs++;
	l->held++;
	if (g->row.id != 0) {
		l->taken++;
		gather(bl);
	}
}

void
bl_ledger_early(struct bl *bl, struct bl_gateway *g)
{
	struct bl_ledger *l = &bl->ledger;
	struct db_batch *early = g->early;

	g->early = NULL;
	for (size_t i = 0; early != NULL && i < early->n; i++) {
		struct bl_usage *u = early->ops[i].arg;

		u->instance = g->row.id;
		/* the store may know more than we did */
		if (u->seq <= g->committed || put(bl, u) != 0) {
			if (u->seq <= g->committed)
				/* as in release */
				bl_admit_settle(bl, g, &(struct bl_settled){ .usage = u, .twice = take_counted(g, u->seq) });
			bit_put(g->taken, u->seq, false);
			g->refs--;
			l->held--;
			free(u);
			continue;
		}
		l->taken++;
	}
	db_batch_free(&early);
	if (g->committed > 0)
		ack(g);
	gather(bl);
}

/* ---- the way to the store ----------------------------------------------------------------- */

static struct bl_gateway *
op_gateway(const struct db_op *op)
{
	return op->kind == BL_OP_USAGE ? ((struct bl_usage *)op->arg)->user : NULL;
}

/* With the rows goes how far each gateway's records are in the ledger. */
static int
add_acks(struct bl *bl, struct db_batch *b)
{
	struct tf_node *e, *tmp;
	size_t n = b->n;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);
		struct bl_instance_row *row;
		size_t i;

		for (i = 0; i < n && op_gateway(&b->ops[i]) != g; i++)
			;
		if (i == n)
			continue;
		row = malloc(sizeof *row);
		if (row == NULL || db_batch_add(b, BL_OP_ACK, row) != 0) {
			free(row);
			return TF_E_NOMEM;
		}
		*row = g->row;
		row->seq = front_after(g);
		g->refs++;
	}
	return 0;
}

static void
acks_drop(struct db_batch *b)
{
	while (b->n > 0 && b->ops[b->n - 1].kind == BL_OP_ACK)
		free(b->ops[--b->n].arg);
}

static void
flush(struct bl *bl)
{
	struct bl_ledger *l = &bl->ledger;

	ev_timer_del(&l->commit);
	if (l->flying != NULL || l->filling == NULL)
		return;
	if (add_acks(bl, l->filling) != 0) {
		acks_drop(l->filling);
		ev_timer_set(&l->commit, RETRY_MIN_MS);
		return;
	}
	l->flying = l->filling;
	l->filling = NULL;
	db_store_submit(bl->store, l->flying);
}

static void
on_commit(void *arg)
{
	flush(arg);
}

static void
on_retry(void *arg)
{
	struct bl *bl = arg;

	db_store_submit(bl->store, bl->ledger.flying);
}

/* ---- the way back ------------------------------------------------------------------------- */

/*
 * Was it admitted from a grant of a former billingd, and has nobody counted it here? That ends with the gateway's
 * first declaration, not with our start: until it hears of us it admits from what it has. What ran when it
 * declared was counted then.
 */
static bool
is_foreign(const struct bl *bl, const struct bl_gateway *g, const struct bl_usage *u)
{
	return u->began_ms < (g->first_ms != 0 ? g->first_ms : bl->started_ms) &&
	    (g->declared_ms == 0 || u->ended_ms < g->declared_ms);
}

static void
settle(struct bl *bl, const struct db_op *op)
{
	const struct bl_usage *u = op->arg;
	struct bl_gateway *g = u->user;
	const char *labels[] = { wire_outcome_text(u->outcome) };
	bool charged = u->outcome == WIRE_OUTCOME_SERVED || u->outcome == WIRE_OUTCOME_PARTIAL;
	bool fresh = op->rc == 0 && op->result != BL_USAGE_REPLAY;
	bool counted = take_counted(g, u->seq);
	/* what was in the ledger already was counted with all that is in there */
	struct bl_settled s = { .usage = u, .foreign = op->result == BL_USAGE_NEW && !counted && is_foreign(bl, g, u),
		.twice = (op->result == BL_USAGE_REPLAY || op->result == BL_USAGE_FINAL) && counted };
	struct bl_key *k = bl_index_key(&bl->index, tf_id_span(&u->key));

	s.charged = fresh && charged && op->result != BL_USAGE_UNCHARGED;
	if (s.charged && u->unbilled != 0) {
		tf_log(TF_ERROR, "ledger", &u->request, "an attempt cost more than was reserved for it attempt=%u cost=%" PRIu64
		    " unbilled=%" PRIu64, u->attempt, u->cost, u->unbilled);
		tf_metric_add(TF_M_BL_UNBILLED, 1);
	}
	if (op->rc != 0)
		tf_log(TF_ERROR, "ledger", &u->request, "a usage record cannot be stored attempt=%u gateway=%s seq=%" PRIu64
		    " error=%s tokens=%" PRIu64, u->attempt, g->row.name, u->seq, tf_err_text(op->rc), bl_tokens_sum(&u->tokens));
	else if (op->result == BL_USAGE_UNCHARGED)
		tf_log(TF_ERROR, "ledger", &u->request, "a second charge of one request was not made attempt=%u", u->attempt);
	if (fresh)
		tf_metric_add_l(TF_M_BL_LEDGER_ROWS, 1, labels);
	else
		tf_metric_add(TF_M_BL_LEDGER_REPLAYED, 1);
	if (k != NULL && u->ended_ms > k->row.last_used_ms) {
		k->row.last_used_ms = u->ended_ms;
		k->used = true;
	}
	bl_admit_settle(bl, g, &s);
}

static void
wake_waiting(struct bl_ledger *l)
{
	struct tf_node *e;

	while ((e = tf_list_first(&l->waits)) != NULL) {
		struct bl_after *a = TF_CONTAINER(e, struct bl_after, node);

		if (a->ticket > l->done)
			return;
		tf_list_remove(&l->waits, e);
		a->fn(a, false);
	}
}

/* All records of the batch are durable: says so to their gateways. */
static void
acknowledge(struct bl *bl, const struct db_batch *b)
{
	struct tf_node *e, *tmp;

	for (size_t i = 0; i < b->n; i++) {
		const struct bl_usage *u = b->ops[i].arg;

		if (b->ops[i].kind == BL_OP_USAGE)
			seq_stored(u->user, u->seq);
	}
	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		for (size_t i = b->n; i > 0 && b->ops[i - 1].kind == BL_OP_ACK; i--) {
			if (((struct bl_instance_row *)b->ops[i - 1].arg)->id != g->row.id)
				continue;
			g->refs--;
			ack(g);
		}
	}
}

/*
 * Durable: acknowledges, frees reservations, wakes who waited. In this order: what a gateway is told is left
 * holds exactly the records that it was told were counted.
 */
static void
committed(struct bl *bl, struct db_batch *b)
{
	struct bl_ledger *l = &bl->ledger;

	acknowledge(bl, b);
	for (size_t i = 0; i < b->n; i++) {
		struct db_op *op = &b->ops[i];

		if (op->kind == BL_OP_USAGE) {
			settle(bl, op);
			((struct bl_gateway *)((struct bl_usage *)op->arg)->user)->refs--;
			l->held--;
			l->done++;
			free(op->arg);
			op->arg = NULL;
		}
	}
	tf_metric_observe(TF_M_BL_COMMIT_SECONDS, b->busy_ns);
	acks_drop(b);
	db_batch_free(&b);
	wake_waiting(l);
}

static void
trouble(struct bl *bl, int rc)
{
	struct bl_ledger *l = &bl->ledger;

	if (l->retry_ms == 0)
		tf_log(TF_ERROR, "ledger", NULL, "usage cannot be stored, trying again and acknowledging nothing error=%s held=%zu",
		    tf_err_text(rc), l->held);
	tf_metric_add(TF_M_BL_STORE_FAILURES, 1);
	l->retry_ms = l->retry_ms == 0 ? RETRY_MIN_MS : l->retry_ms * 2 < RETRY_MAX_MS ? l->retry_ms * 2 : RETRY_MAX_MS;
	ev_timer_set(&l->retry, l->retry_ms);
}

static void
came_back(struct db_batch *b, void *arg)
{
	struct bl *bl = arg;
	struct bl_ledger *l = &bl->ledger;

	if (b->rc != 0) {
		if (!bl->closing)
			trouble(bl, b->rc);
		return;
	}
	if (l->retry_ms != 0)
		tf_log(TF_INFO, "ledger", NULL, "usage can be stored again");
	l->retry_ms = 0;
	l->flying = NULL;
	committed(bl, b);
	l->hurry = l->waits.n > 0 || bl->drained != NULL;
	gather(bl);
	bl_check_drained(bl);
}

/* ---- waiting for what was told ------------------------------------------------------------ */

void
bl_ledger_after(struct bl *bl, struct bl_after *a, uint64_t ms, void (*fn)(struct bl_after *a, bool late))
{
	struct bl_ledger *l = &bl->ledger;

	if (l->done == l->taken) {
		fn(a, false);
		return;
	}
	a->ticket = l->taken;
	a->deadline = tf_mono_ms() + ms;
	a->fn = fn;
	tf_list_append(&l->waits, &a->node);
	l->hurry = true;
	gather(bl);
}

void
bl_ledger_hurry(struct bl *bl)
{
	bl->ledger.hurry = true;
	gather(bl);
}

void
bl_ledger_tick(struct bl *bl, uint64_t mono_ms)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->ledger.waits, e, tmp) {
		struct bl_after *a = TF_CONTAINER(e, struct bl_after, node);

		if (mono_ms < a->deadline)
			continue;
		tf_list_remove(&bl->ledger.waits, e);
		a->fn(a, true);
	}
	tf_metric_set(TF_M_BL_PENDING, bl->ledger.held);
}

void
bl_ledger_init(struct bl *bl)
{
	struct bl_ledger *l = &bl->ledger;

	l->bl = bl;
	tf_list_init(&l->waits);
	ev_timer_init(&l->commit, bl->loop, on_commit, bl);
	ev_timer_init(&l->retry, bl->loop, on_retry, bl);
}

static void
batch_free(struct db_batch **b)
{
	for (size_t i = 0; *b != NULL && i < (*b)->n; i++)
		free((*b)->ops[i].arg);
	db_batch_free(b);
}

void
bl_ledger_stop(struct bl *bl)
{
	struct bl_ledger *l = &bl->ledger;
	struct tf_node *e;

	ev_timer_del(&l->commit);
	ev_timer_del(&l->retry);
	while ((e = tf_list_pop(&l->waits)) != NULL) {
		struct bl_after *a = TF_CONTAINER(e, struct bl_after, node);

		a->fn(a, true);
	}
}

void
bl_ledger_free(struct bl *bl)
{
	struct bl_ledger *l = &bl->ledger;

	if (l->held > 0)
		tf_log(TF_ERROR, "ledger", NULL, "usage records were not stored; their gateways still have them count=%zu",
		    l->held);
	batch_free(&l->flying);
	batch_free(&l->filling);
}
