/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateway threads: what they put arrives in pieces, what they ask for leaves in pieces. A value that
 * arrives counts against the memory option from its first piece on, and what is wrong with it is
 * said then. Work that a gateway began is finished when it goes, without an answer.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "stored/stored.h"

/* One start of a gateway thread, as long as it is in session or work names it. */
struct st_gateway {
	struct tf_node node;     /* st.gateways */
	struct st *st;
	struct wire_peer *peer;  /* NULL: not in session */
	struct tf_list arriving; /* st_arrival */
	size_t refs;             /* operations under way */
};

struct st_arrival { /* a value whose pieces come in, then is being stored */
	struct tf_node node;     /* gateway.arriving until it is whole */
	struct {                 /* key of st.arriving */
		const struct st_gateway *gateway;
		struct tf_id id;
	} key;
	struct st_gateway *gateway;
	uint64_t total;
	uint64_t at_mono;        /* of the last piece */
	struct tf_buf bytes;
	struct st_response response;
	struct st_put put;
};

struct st_ask { /* a GET or a DROP */
	struct st_gateway *gateway;
	struct tf_id id;
	struct st_get get;
	struct st_drop drop;
};

uint64_t
st_kind_ttl(const struct conf_stored *c, unsigned kind)
{
	switch (kind) {
	case WIRE_KIND_RESPONSE:
		return c->response_ttl;
	case WIRE_KIND_IMAGE:
		return c->image_ttl;
	case WIRE_KIND_REASONING:
		return c->reasoning_ttl;
	case WIRE_KIND_ANSWER:
		return c->answer_ttl;
	default:
		return 0;
	}
}

static void
gateway_unref(struct st_gateway *g)
{
	if (g->peer != NULL || g->refs > 0)
		return;
	tf_list_remove(&g->st->gateways, &g->node);
	free(g);
}

/* ---- answers ---------------------------------------------------------------------------------- */

static void
say_done(struct st_gateway *g, const struct tf_id *id, int err, const char *message)
{
	struct wire_put_done m = { 0 };
	const char *labels[1];

	if (err != 0) {
		m.code = tf_cspan(tf_err_row(err)->code);
		m.message = tf_cspan(message);
		labels[0] = tf_err_row(err)->code;
		tf_metric_add_l(TF_M_ST_REFUSALS, 1, labels);
	}
	/* a peer that is going down asks nothing any more */
	if (g->peer != NULL)
		(void)wire_send_put_done(g->peer, id, 0, &m, (struct tf_span){ 0 });
}

static void
say_none(struct st_gateway *g, const struct tf_id *id, int err, const char *message, const char *param)
{
	struct wire_value m = { .last = 1, .code = tf_cspan(tf_err_row(err)->code), .message = tf_cspan(message),
		.param = tf_cspan(param) };

	if (g->peer != NULL)
		(void)wire_send_value(g->peer, id, 0, &m, (struct tf_span){ 0 });
}

static void
say_value(struct st_gateway *g, const struct tf_id *id, const struct st_get *get)
{
	struct wire_value m = { .total = get->total, .content_type = tf_cspan(get->type) };
	size_t at = 0;

	while (g->peer != NULL && !m.last) {
		size_t n = get->bytes.n - at < WIRE_PIECE ? get->bytes.n - at : WIRE_PIECE;

		m.offset = get->offset + at;
		m.last = at + n == get->bytes.n;
		if (wire_send_value(g->peer, id, 0, &m, tf_span(get->bytes.n > 0 ? get->bytes.p + at : "", n)) != 0)
			return;
		at += n;
	}
}

/* What an error of the store is to the caller. */
static int
err_of(int rc)
{
	switch (rc) {
	case TF_E_NOENT:
		return TF_E_NOT_FOUND;
	case TF_E_INVAL:
		return TF_E_BAD_REQUEST;
	case TF_E_RANGE:
		return TF_E_REQUEST_TOO_LARGE;
	case TF_E_FULL:
	case TF_E_AGAIN:
	case TF_E_NOMEM:
		return TF_E_OVERLOADED;
	default:
		return TF_E_SERVER_ERROR;
	}
}

/* ---- values that arrive ------------------------------------------------------------------------ */

static struct tf_span
key_of(const struct st_arrival *a)
{
	return tf_span(&a->key, sizeof a->key);
}

static struct st_arrival *
arrival_find(struct st_gateway *g, const struct tf_id *id)
{
	struct st_arrival probe;

	memset(&probe.key, 0, sizeof probe.key);
	probe.key.gateway = g;
	probe.key.id = *id;
	return tf_map_get(&g->st->arriving, key_of(&probe));
}

/* No more pieces are awaited. */
static void
arrival_unlink(struct st_arrival *a)
{
	tf_map_del(&a->gateway->st->arriving, key_of(a));
	tf_list_remove(&a->gateway->arriving, &a->node);
}

static void
arrival_free(struct st_arrival *a)
{
	a->gateway->st->held -= a->total;
	st_response_fini(&a->response);
	tf_buf_free(&a->bytes);
	free(a);
}

static void
put_stored(struct db_batch *b, void *arg)
{
	struct st_arrival *a = arg;
	struct st_gateway *g = a->gateway;
	struct st *st = g->st;
	const char *labels[1] = { wire_kind_text(a->put.kind) };
	int rc = b->rc;

	tf_metric_observe(TF_M_ST_COMMIT_SECONDS, b->busy_ns);
	st_note(st, rc);
	if (rc == 0) {
		tf_metric_add_l(TF_M_ST_PUTS, 1, labels);
		if (a->put.evicted > 0)
			tf_metric_add_l(TF_M_ST_EVICTED, a->put.evicted, labels);
	} else {
		tf_log(TF_WARN, "store", NULL, "a value was not stored kind=%s bytes=%llu error=%s", labels[0],
		    (unsigned long long)a->total, tf_err_text(rc));
	}
	say_done(g, &a->key.id, rc == 0 ? 0 : err_of(rc),
	    rc == TF_E_RANGE ? "The value is larger than a workspace may keep." : NULL);
	g->refs--;
	st->puts--;
	arrival_free(a);
	db_batch_free(&b);
	gateway_unref(g);
	st_check_drained(st);
}

/* The bytes of a response are read into rows; of anything else they are the value. */
static int
put_fill(struct st_arrival *a)
{
	struct st_put *p = &a->put;
	int rc;

	p->bytes = tf_buf_span(&a->bytes);
	if (p->kind != WIRE_KIND_RESPONSE)
		return 0;
	rc = st_response_read(p->bytes, &a->response);
	if (rc == 0 && !tf_span_is(a->response.id, p->name))
		rc = TF_E_INVAL;
	p->bytes = a->response.object;
	p->previous = a->response.previous;
	p->items = a->response.items;
	p->n_items = a->response.n_items;
	return rc;
}

static void
arrival_whole(struct st_arrival *a)
{
	struct st_gateway *g = a->gateway;
	struct db_batch *b = NULL;
	int rc;

	arrival_unlink(a);
	rc = put_fill(a);
	if (rc == 0) {
		b = db_batch_new(put_stored, a);
		if (b == NULL || db_batch_add(b, ST_OP_PUT, &a->put) != 0)
			rc = TF_E_NOMEM;
	}
	if (rc != 0) {
		say_done(g, &a->key.id, err_of(rc), rc == TF_E_INVAL ? "The value is not what its kind is made of." : NULL);
		db_batch_free(&b);
		arrival_free(a);
		return;
	}
	g->refs++;
	g->st->puts++;
	db_store_submit(g->st->store, b);
}

/* 0, or why the value is not taken. */
static int
arrival_check(const struct st *st, const struct wire_put *m, const char **why)
{
	const struct conf_stored *c = &st->conf->stored;

	if (st_kind_ttl(c, (unsigned)m->kind) == 0 || m->kind > UINT8_MAX || m->workspace.n != sizeof(struct tf_id) ||
	    m->name.n == 0 || m->name.n > ST_NAME_MAX || m->content_type.n > ST_TYPE_MAX || m->offset != 0)
		return TF_E_BAD_REQUEST;
	if (m->total > c->object_max) {
		*why = "The value is larger than the store takes.";
		return TF_E_REQUEST_TOO_LARGE;
	}
	if (st->held + m->total > c->memory) {
		*why = "The store has no memory left for this value.";
		return TF_E_OVERLOADED;
	}
	return 0;
}

static struct st_arrival *
arrival_new(struct st_gateway *g, const struct tf_id *id, const struct wire_put *m)
{
	const struct conf_stored *c = &g->st->conf->stored;
	struct st_arrival *a = calloc(1, sizeof *a);
	uint64_t ttl = st_kind_ttl(c, (unsigned)m->kind);

	if (a == NULL)
		return NULL;
	a->key.gateway = a->gateway = g;
	a->key.id = *id;
	if (tf_buf_reserve(&a->bytes, m->total) != 0 || tf_map_put(&g->st->arriving, key_of(a), a) != 0) {
		tf_buf_free(&a->bytes);
		free(a);
		return NULL;
	}
	a->total = m->total;
	g->st->held += a->total;
	tf_list_append(&g->arriving, &a->node);
	if (m->ttl_ms != 0 && m->ttl_ms < ttl)
		ttl = m->ttl_ms;
	a->put = (struct st_put){ .kind = (unsigned)m->kind, .now_ms = st_wall_ms(), .space_max = c->space_max,
		.dir = g->st->blob_dir, .file_min = c->blob_min };
	a->put.expires_ms = a->put.now_ms + (int64_t)ttl;
	memcpy(a->put.workspace.b, m->workspace.p, sizeof a->put.workspace.b);
	memcpy(a->put.name, m->name.p, m->name.n);
	if (m->content_type.n > 0)
		memcpy(a->put.type, m->content_type.p, m->content_type.n);
	return a;
}

static void
on_put(struct st_gateway *g, const struct wire_frame *f, const struct wire_put *m)
{
	struct st_arrival *a = arrival_find(g, &f->id);
	const char *why = NULL;
	int err;

	if (a == NULL) {
		/* a later piece of a value that was refused */
		if (m->offset != 0)
			return;
		err = arrival_check(g->st, m, &why);
		if (err == 0 && (a = arrival_new(g, &f->id, m)) == NULL)
			err = TF_E_OVERLOADED;
		if (err != 0) {
			say_done(g, &f->id, err, why);
			return;
		}
	}
	if (m->offset != a->bytes.n || f->payload.n > a->total - a->bytes.n ||
	    tf_buf_addspan(&a->bytes, f->payload) != 0) {
		say_done(g, &f->id, TF_E_BAD_REQUEST, "The pieces of the value do not fit together.");
		arrival_unlink(a);
		arrival_free(a);
		return;
	}
	a->at_mono = tf_mono_ms();
	if (a->bytes.n == a->total)
		arrival_whole(a);
}

/* ---- questions --------------------------------------------------------------------------------- */

static void
ask_free(struct st_ask *q)
{
	struct st_gateway *g = q->gateway;

	g->refs--;
	g->st->asks--;
	st_get_fini(&q->get);
	free(q);
	gateway_unref(g);
}

static void
ask_done(struct db_batch *b, void *arg)
{
	struct st_ask *q = arg;
	struct st_gateway *g = q->gateway;
	struct st *st = g->st;
	const char *labels[2] = { wire_kind_text(b->read ? q->get.kind : q->drop.kind), b->rc == 0 ? "yes" : "no" };

	if (!b->read) {
		st_note(st, b->rc);
		say_done(g, &q->id, b->rc == 0 ? 0 : err_of(b->rc), NULL);
	} else {
		tf_metric_add_l(TF_M_ST_GETS, 1, labels);
		if (b->rc == 0)
			say_value(g, &q->id, &q->get);
		else
			say_none(g, &q->id, err_of(b->rc), NULL, b->rc == TF_E_INVAL ? "after" : q->get.missing);
	}
	db_batch_free(&b);
	ask_free(q);
	st_check_drained(st);
}

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

static int
ask_submit(struct st_ask *q, enum st_op_kind kind, void *arg)
{
	struct db_batch *b = db_batch_new(ask_done, q);

	if (b == NULL || db_batch_add(b, kind, arg) != 0) {
		db_batch_free(&b);
		return TF_E_NOMEM;
	}
	b->read = kind == ST_OP_GET;
	db_store_submit(q->gateway->st->store, b);
	return 0;
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

static void
on_get(struct st_gateway *g, const struct wire_frame *f, const struct wire_get *m)
{
	struct st_ask *q = ask_new(g, &f->id);
	int err = q != NULL ? get_fill(&q->get, g->st, m) : TF_E_OVERLOADED;

	if (err == 0 && ask_submit(q, ST_OP_GET, &q->get) != 0)
		err = TF_E_OVERLOADED;
	if (err == 0)
		return;
	say_none(g, &f->id, err, NULL, NULL);
	if (q != NULL)
		ask_free(q);
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

static void
on_drop(struct st_gateway *g, const struct wire_frame *f, const struct wire_drop *m)
{
	struct st_ask *q = ask_new(g, &f->id);
	int err = q != NULL ? drop_fill(&q->drop, g->st, m) : TF_E_OVERLOADED;

	if (err == 0 && ask_submit(q, ST_OP_DROP, &q->drop) != 0)
		err = TF_E_OVERLOADED;
	if (err == 0)
		return;
	say_done(g, &f->id, err, NULL);
	if (q != NULL)
		ask_free(q);
}

/* ---- sessions ---------------------------------------------------------------------------------- */

static void
on_up(void *arg, struct wire_peer *p)
{
	struct st *st = arg;
	struct st_gateway *g = calloc(1, sizeof *g);

	if (g == NULL) {
		wire_drop(p, "out of memory");
		return;
	}
	g->st = st;
	g->peer = p;
	p->user = g;
	tf_list_init(&g->arriving);
	tf_list_append(&st->gateways, &g->node);
	tf_log(TF_INFO, "peers", NULL, "gateway is here name=%s build=%s", p->name, tf_log_q(tf_cspan(p->build)));
}

static void
on_down(void *arg, struct wire_peer *p, const char *why)
{
	struct st_gateway *g = p->user;
	struct tf_node *e;

	(void)arg;
	if (g == NULL)
		return;
	tf_log(TF_WARN, "peers", NULL, "gateway is gone name=%s reason=%s", p->name, tf_log_q(tf_cspan(why)));
	g->peer = NULL;
	while ((e = tf_list_first(&g->arriving)) != NULL) {
		struct st_arrival *a = TF_CONTAINER(e, struct st_arrival, node);

		arrival_unlink(a);
		arrival_free(a);
	}
	gateway_unref(g);
}

static void
on_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct st_gateway *g = p->user;

	(void)arg;
	if (g == NULL)
		return;
	if (f->verb == WIRE_PUT)
		on_put(g, f, &m->put);
	else if (f->verb == WIRE_GET)
		on_get(g, f, &m->get);
	else if (f->verb == WIRE_DROP)
		on_drop(g, f, &m->drop);
}

struct wire_hooks
st_peers_hooks(struct st *st)
{
	return (struct wire_hooks){ on_up, on_down, on_frame, st };
}

void
st_peers_init(struct st *st)
{
	tf_list_init(&st->gateways);
}

void
st_peers_tick(struct st *st, uint64_t mono_ms)
{
	struct tf_node *e, *tmp, *e2, *tmp2;

	TF_LIST_EACH(&st->gateways, e, tmp) {
		struct st_gateway *g = TF_CONTAINER(e, struct st_gateway, node);

		TF_LIST_EACH(&g->arriving, e2, tmp2) {
			struct st_arrival *a = TF_CONTAINER(e2, struct st_arrival, node);

			if (mono_ms - a->at_mono < ST_ARRIVE_MS)
				continue;
			say_done(g, &a->key.id, TF_E_BAD_REQUEST, "The rest of the value did not come.");
			arrival_unlink(a);
			arrival_free(a);
		}
	}
}

void
st_peers_free(struct st *st)
{
	tf_map_free(&st->arriving);
}
