/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gateways ask for. A few questions are with the store at a time, and none while many bytes of
 * answers wait; an answer leaves in pieces, as much at once as its link may hold, so that large
 * answers cost memory that is bounded and nobody's session.
 */
#include "config.h"

#include <stdlib.h>

#include "stored/stored.h"

struct st_ask { /* a GET or a DROP */
	struct tf_node node; /* st.waiting or gateway.answers */
	struct st_gateway *gateway;
	struct tf_id id;
	size_t sent;         /* bytes of the answer */
	struct st_get get;
	struct st_drop drop;
};

static void reads_go_on(struct st *st);

static void
ask_free(struct st_ask *q)
{
	struct st_gateway *g = q->gateway;
	struct st *st = g->st;

	g->refs--;
	st->asks--;
	st->answered -= q->get.bytes.n;
	st_get_fini(&q->get);
	free(q);
	st_gateway_unref(g);
	st_check_drained(st);
}

/* ---- answers ---------------------------------------------------------------------------------- */

/* As much as the link may hold now. True: nothing is left. */
static bool
answer_push(struct st_ask *q)
{
	struct st_gateway *g = q->gateway;
	const struct st_get *get = &q->get;
	struct wire_value m = { .total = get->total, .content_type = tf_cspan(get->type) };

	while (wire_backlog(g->peer) < ST_AHEAD) {
		size_t n = get->bytes.n - q->sent < WIRE_PIECE ? get->bytes.n - q->sent : WIRE_PIECE;

		m.offset = get->offset + q->sent;
		m.last = q->sent + n == get->bytes.n;
		/* a link that takes nothing is going down */
		if (wire_send_value(g->peer, &q->id, 0, &m, tf_span(get->bytes.n > 0 ? get->bytes.p + q->sent : "", n)) != 0)
			return true;
		q->sent += n;
		if (m.last)
			return true;
	}
	return false;
}

static void
answers_push(struct st_gateway *g)
{
	struct tf_node *e;

	while ((e = tf_list_first(&g->answers)) != NULL && answer_push(TF_CONTAINER(e, struct st_ask, node))) {
		tf_list_remove(&g->answers, e);
		ask_free(TF_CONTAINER(e, struct st_ask, node));
	}
	if (e != NULL)
		ev_timer_set(&g->st->push, ST_PUSH_MS);
}

/* Each gateway in turn; the store is asked again when there is room. */
static void
on_push(void *arg)
{
	struct st *st = arg;
	struct tf_node *e, *next;

	for (e = st->gateways.head.next; e != &st->gateways.head; e = next) {
		struct st_gateway *g = TF_CONTAINER(e, struct st_gateway, node);

		next = e->next;
		if (g->peer != NULL && g->answers.n > 0)
			answers_push(g);
	}
	reads_go_on(st);
}

static void
say_none(struct st_ask *q, int err, const char *param)
{
	struct wire_value m = { .last = 1, .code = tf_cspan(tf_err_row(err)->code), .param = tf_cspan(param) };

	if (q->gateway->peer != NULL)
		(void)wire_send_value(q->gateway->peer, &q->id, 0, &m, (struct tf_span){ 0 });
}

/* ---- the store --------------------------------------------------------------------------------- */

static void
got(struct db_batch *b, void *arg)
{
	struct st_ask *q = arg;
	struct st_gateway *g = q->gateway;
	struct st *st = g->st;
	const char *labels[2] = { wire_kind_text(q->get.kind), b->rc == 0 ? "yes" : "no" };

	st->reading--;
	st->answered += q->get.bytes.n;
	tf_metric_add_l(TF_M_ST_GETS, 1, labels);
	if (b->rc != 0)
		say_none(q, st_err_of(b->rc), b->rc == TF_E_INVAL ? "after" : q->get.missing);
	db_batch_free(&b);
	if (labels[1][0] == 'n' || g->peer == NULL) {
		ask_free(q);
	} else {
		tf_list_append(&g->answers, &q->node);
		answers_push(g);
	}
	if (!st->closing)
		reads_go_on(st);
}

static void
dropped(struct db_batch *b, void *arg)
{
	struct st_ask *q = arg;

	st_note(q->gateway->st, b->rc);
	st_say_done(q->gateway, &q->id, b->rc == 0 ? 0 : st_err_of(b->rc), NULL);
	db_batch_free(&b);
	ask_free(q);
}

static int
ask_submit(struct st_ask *q, enum st_op_kind kind, void *arg)
{
	struct db_batch *b = db_batch_new(kind == ST_OP_GET ? got : dropped, q);

	if (b == NULL || db_batch_add(b, kind, arg) != 0) {
		db_batch_free(&b);
		return TF_E_NOMEM;
	}
	b->read = kind == ST_OP_GET;
	db_store_submit(q->gateway->st->store, b);
	return 0;
}

/* Asks the store what waits, as far as there is room for answers. */
static void
reads_go_on(struct st *st)
{
	while (st->waiting.n > 0 && st->reading < ST_READS_MAX && st->answered < ST_ANSWERS_MAX) {
		struct st_ask *q = TF_CONTAINER(tf_list_pop(&st->waiting), struct st_ask, node);

		if (ask_submit(q, ST_OP_GET, &q->get) == 0) {
			st->reading++;
			continue;
		}
		say_none(q, TF_E_OVERLOADED, NULL);
		ask_free(q);
	}
}

/* ---- questions --------------------------------------------------------------------------------- */

static struct st_ask *
ask_new(struct st_gateway *g, const struct tf_id *id)
{
	struct st_ask *q = g->st->asks < ST_ASKS_MAX ? calloc(1, sizeof *q) : NULL;

	if (q == NULL)
		return NULL;
	q->gateway = g;
	q->id = *id;
	g->refs++;
	g->st->asks++;
	return q;
}

/* Each entry is a name; TF_E_BAD_REQUEST. */
static int
names_copy(struct st_get *g, const struct wire_get *m)
{
	struct wire_rep it = m->name;
	struct tf_span name;

	while (wire_next(&it, &name)) {
		if (name.n == 0 || name.n > ST_NAME_MAX)
			return TF_E_BAD_REQUEST;
		if (wire_rep_add(&g->names, WIRE_FN_GET_name, name) != 0)
			return TF_E_OVERLOADED;
	}
	g->name = wire_rep_of(&g->names, WIRE_FN_GET_name);
	return 0;
}

static int
get_fill(struct st_get *g, const struct st *st, const struct wire_get *m)
{
	bool items = m->kind == WIRE_KIND_ITEM;

	if (m->kind > UINT8_MAX || (!items && st_kind_ttl(&st->conf->stored, (unsigned)m->kind) == 0) ||
	    (m->workspace.n != sizeof(struct tf_id) && (m->workspace.n != 0 || m->kind != WIRE_KIND_IMAGE)) ||
	    m->after.n > ST_NAME_MAX || m->count > INT32_MAX)
		return TF_E_BAD_REQUEST;
	g->kind = (unsigned)m->kind;
	g->view = (unsigned)m->view;
	g->anywhere = m->workspace.n == 0;
	if (!g->anywhere)
		memcpy(g->workspace.b, m->workspace.p, sizeof g->workspace.b);
	g->now_ms = st_wall_ms();
	g->offset = m->offset;
	g->limit = m->limit;
	g->dir = st->blob_dir;
	if (m->after.n > 0)
		memcpy(g->after, m->after.p, m->after.n);
	g->count = m->count;
	g->ascending = m->ascending != 0;
	return names_copy(g, m);
}

void
st_asks_get(struct st_gateway *g, const struct wire_frame *f, const struct wire_get *m)
{
	struct st_ask *q = ask_new(g, &f->id);
	int err;

	if (q == NULL) {
		struct st_ask none = { .gateway = g, .id = f->id };

		say_none(&none, TF_E_OVERLOADED, NULL);
		return;
	}
	err = get_fill(&q->get, g->st, m);
	if (err != 0) {
		say_none(q, err, NULL);
		ask_free(q);
		return;
	}
	tf_list_append(&g->st->waiting, &q->node);
	reads_go_on(g->st);
}

static int
drop_fill(struct st_drop *d, const struct st *st, const struct wire_drop *m)
{
	if (m->kind > UINT8_MAX || st_kind_ttl(&st->conf->stored, (unsigned)m->kind) == 0 ||
	    m->workspace.n != sizeof d->workspace || m->name.n == 0 || m->name.n > ST_NAME_MAX)
		return TF_E_BAD_REQUEST;
	d->kind = (unsigned)m->kind;
	memcpy(d->workspace.b, m->workspace.p, sizeof d->workspace.b);
	memcpy(d->name, m->name.p, m->name.n);
	d->dir = st->blob_dir;
	d->now_ms = st_wall_ms();
	return 0;
}

void
st_asks_drop(struct st_gateway *g, const struct wire_frame *f, const struct wire_drop *m)
{
	struct st_ask *q = ask_new(g, &f->id);
	int err = q != NULL ? drop_fill(&q->drop, g->st, m) : TF_E_OVERLOADED;

	if (err == 0 && ask_submit(q, ST_OP_DROP, &q->drop) != 0)
		err = TF_E_OVERLOADED;
	if (err == 0)
		return;
	st_say_done(g, &f->id, err, NULL);
	if (q != NULL)
		ask_free(q);
}

void
st_asks_gone(struct st_gateway *g)
{
	struct tf_node *e, *tmp;

	/* whoever calls holds the gateway */
	TF_LIST_EACH(&g->st->waiting, e, tmp) {
		struct st_ask *q = TF_CONTAINER(e, struct st_ask, node);

		if (q->gateway != g)
			continue;
		tf_list_remove(&g->st->waiting, e);
		ask_free(q);
	}
	while ((e = tf_list_pop(&g->answers)) != NULL)
		ask_free(TF_CONTAINER(e, struct st_ask, node));
}

void
st_asks_init(struct st *st)
{
	tf_list_init(&st->waiting);
	ev_timer_init(&st->push, st->loop, on_push, st);
}
