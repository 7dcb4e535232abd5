/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests with an idempotency key: gateways claim them before they run. Whoever asks for one that runs
 * is told so, as long as its owner (one start of a gateway thread) is in session or may come back;
 * when it is lost the one that asks takes over.
 */
#include "config.h"

#include <stdlib.h>

#include "stored/stored.h"

#define OWNER_BACK_MS 5000                    /* a link that broke is made anew within this time */
#define RUNS_MAX_MS (INT64_C(7) * 86400 * 1000) /* a claim that nobody asked for since then is forgotten */

struct st_gone { /* an owner whose session ended a moment ago */
	struct tf_node node; /* st.gone, oldest first */
	uint64_t boot, at_mono;
	char name[WIRE_NAME_MAX + 1];
};

struct st_asked { /* a CLAIM or a RELEASE under way */
	struct st_gateway *gateway;
	struct tf_id id;
	struct st_claim claim;
};

/* ---- owners ------------------------------------------------------------------------------------ */

void
st_claims_gone(struct st_gateway *g, const struct wire_peer *p)
{
	struct st_gone *e = calloc(1, sizeof *e);

	/* without memory it counts as lost a little early; no answer is charged twice for that */
	if (e == NULL)
		return;
	e->boot = p->boot;
	e->at_mono = tf_mono_ms();
	memcpy(e->name, p->name, strlen(p->name) + 1);
	tf_list_append(&g->st->gone, &e->node);
}

void
st_claims_tick(struct st *st, uint64_t mono_ms)
{
	struct tf_node *e;

	while ((e = tf_list_first(&st->gone)) != NULL) {
		struct st_gone *gone = TF_CONTAINER(e, struct st_gone, node);

		if (mono_ms < UINT64_MAX && mono_ms - gone->at_mono < OWNER_BACK_MS)
			break;
		tf_list_remove(&st->gone, e);
		free(gone);
	}
}

/* May that start of a gateway thread still run what it claimed? */
static bool
owner_lives(const struct st *st, const char *name, uint64_t boot)
{
	struct wire_peer *p = wire_hub_find(st->hub, tf_cspan(name));
	uint64_t now = tf_mono_ms();
	struct tf_node *e, *tmp;

	/* two of one name there are not: a new start is the end of the old one */
	if (p != NULL)
		return p->boot == boot;
	if (now - st->began_mono < OWNER_BACK_MS)
		return true;
	TF_LIST_EACH(&st->gone, e, tmp) {
		const struct st_gone *gone = TF_CONTAINER(e, struct st_gone, node);

		if (gone->boot == boot && strcmp(gone->name, name) == 0)
			return now - gone->at_mono < OWNER_BACK_MS;
	}
	return false;
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void
asked_free(struct st_asked *a)
{
	struct st_gateway *g = a->gateway;
	struct st *st = g->st;

	g->refs--;
	st->puts--;
	free(a);
	st_gateway_unref(g);
	st_check_drained(st);
}

static void
say_claimed(struct st_gateway *g, const struct tf_id *id, const struct st_claim *c, int err)
{
	struct wire_claimed m = { 0 };
	const char *labels[1];

	if (err != 0) {
		m.code = tf_cspan(tf_err_row(err)->code);
	} else {
		m.state = c->state;
		m.request = tf_id_span(&c->is.request);
		m.turn = c->is.turn;
		labels[0] = wire_claim_state_text(c->state);
		tf_metric_add_l(TF_M_ST_CLAIMS, 1, labels);
	}
	if (g->peer != NULL)
		(void)wire_send_claimed(g->peer, id, 0, &m, (struct tf_span){ 0 });
}

static int submit(struct st_asked *a, enum st_op_kind kind, void (*done)(struct db_batch *b, void *arg));

static void
claimed(struct db_batch *b, void *arg)
{
	struct st_asked *a = arg;
	struct st_claim *c = &a->claim;
	int rc = b->rc;

	db_batch_free(&b);
	st_note(a->gateway->st, rc);
	if (rc == 0 && c->state == WIRE_CLAIM_RUNNING && !c->lost && !a->gateway->st->closing &&
	    !owner_lives(a->gateway->st, c->is.owner, c->is.boot)) {
		tf_log(TF_INFO, "claims", &c->is.request, "the gateway of a claimed request is lost: another one has it now"
		    " lost=%s owner=%s", tf_log_q(tf_cspan(c->is.owner)), c->owner);
		c->lost = true;
		c->lost_claim = c->is.claim;
		rc = submit(a, ST_OP_CLAIM, claimed);
		if (rc == 0)
			return;
	}
	say_claimed(a->gateway, &a->id, c, rc == 0 ? 0 : st_err_of(rc));
	asked_free(a);
}

static void
released(struct db_batch *b, void *arg)
{
	struct st_asked *a = arg;

	st_note(a->gateway->st, b->rc);
	st_say_done(a->gateway, &a->id, b->rc == 0 ? 0 : st_err_of(b->rc), NULL);
	db_batch_free(&b);
	asked_free(a);
}

static int
submit(struct st_asked *a, enum st_op_kind kind, void (*done)(struct db_batch *b, void *arg))
{
	struct db_batch *b = db_batch_new(done, a);

	if (b == NULL || db_batch_add(b, kind, &a->claim) != 0) {
		db_batch_free(&b);
		return TF_E_NOMEM;
	}
	db_store_submit(a->gateway->st->store, b);
	return 0;
}

/* ---- questions --------------------------------------------------------------------------------- */

static struct st_asked *
asked_new(struct st_gateway *g, const struct tf_id *id)
{
	struct st_asked *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->gateway = g;
	a->id = *id;
	g->refs++;
	g->st->puts++;
	return a;
}

static int
claim_fill(struct st_claim *c, const struct st_gateway *g, const struct wire_frame *f, const struct wire_claim *m)
{
	uint64_t ttl = g->st->conf->stored.answer_ttl;

	if (m->workspace.n != sizeof c->workspace || m->request.n != sizeof c->request || m->body.n != sizeof c->body ||
	    m->name.n == 0 || m->name.n > ST_NAME_MAX)
		return TF_E_BAD_REQUEST;
	memcpy(c->workspace.b, m->workspace.p, sizeof c->workspace.b);
	memcpy(c->name, m->name.p, m->name.n);
	memcpy(c->body, m->body.p, sizeof c->body);
	memcpy(c->request.b, m->request.p, sizeof c->request.b);
	c->claim = f->id;
	/* whom the link knows, not whom a message names */
	memcpy(c->owner, g->peer->name, strlen(g->peer->name) + 1);
	c->boot = g->peer->boot;
	c->now_ms = st_wall_ms();
	c->expires_ms = c->now_ms + (ttl > RUNS_MAX_MS ? (int64_t)ttl : RUNS_MAX_MS);
	c->dir = g->st->blob_dir;
	return 0;
}

void
st_claims_claim(struct st_gateway *g, const struct wire_frame *f, const struct wire_claim *m)
{
	struct st_asked *a = asked_new(g, &f->id);
	int err = a != NULL ? claim_fill(&a->claim, g, f, m) : TF_E_OVERLOADED;

	if (err == 0 && submit(a, ST_OP_CLAIM, claimed) != 0)
		err = TF_E_OVERLOADED;
	if (err == 0)
		return;
	say_claimed(g, &f->id, NULL, err);
	if (a != NULL)
		asked_free(a);
}

static int
release_fill(struct st_claim *c, const struct wire_release *m)
{
	if (m->workspace.n != sizeof c->workspace || m->claim.n != sizeof c->claim || m->name.n == 0 ||
	    m->name.n > ST_NAME_MAX)
		return TF_E_BAD_REQUEST;
	memcpy(c->workspace.b, m->workspace.p, sizeof c->workspace.b);
	memcpy(c->name, m->name.p, m->name.n);
	memcpy(c->claim.b, m->claim.p, sizeof c->claim.b);
	return 0;
}

void
st_claims_release(struct st_gateway *g, const struct wire_frame *f, const struct wire_release *m)
{
	struct st_asked *a = asked_new(g, &f->id);
	int err = a != NULL ? release_fill(&a->claim, m) : TF_E_OVERLOADED;

	if (err == 0 && submit(a, ST_OP_RELEASE, released) != 0)
		err = TF_E_OVERLOADED;
	if (err == 0)
		return;
	st_say_done(g, &f->id, err, NULL);
	if (a != NULL)
		asked_free(a);
}

void
st_claims_init(struct st *st)
{
	tf_list_init(&st->gone);
	st->began_mono = tf_mono_ms();
}

void
st_claims_free(struct st *st)
{
	st_claims_tick(st, UINT64_MAX);
}
