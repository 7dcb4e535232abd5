/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateway threads, and what they put, which arrives in pieces; what they ask for is in asks.c. A value that
 * arrives counts against the memory option from its first piece on, and what is wrong with it is
 * said then. Work that a gateway began is finished when it goes, without an answer.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "stored/stored.h"

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

void
st_gateway_unref(struct st_gateway *g)
{
	if (g->peer != NULL || g->refs > 0)
		return;
	tf_list_remove(&g->st->gateways, &g->node);
	free(g);
}

/* ---- answers ---------------------------------------------------------------------------------- */

void
st_say_done(struct st_gateway *g, const struct tf_id *id, int err, const char *message)
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

int
st_err_of(int rc)
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
	st_say_done(g, &a->key.id, rc == 0 ? 0 : st_err_of(rc),
	    rc == TF_E_RANGE ? "The value is larger than a workspace may keep." : NULL);
	g->refs--;
	st->puts--;
	arrival_free(a);
	db_batch_free(&b);
	st_gateway_unref(g);
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
		st_say_done(g, &a->key.id, st_err_of(rc), rc == TF_E_INVAL ? "The value is not what its kind is made of." : NULL);
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
	    m->name.n == 0 || m->name.n > ST_NAME_MAX || m->content_type.n > ST_TYPE_MAX || m->offset != 0 ||
	    (m->claim.n != 0 && (m->claim.n != sizeof(struct tf_id) || m->kind != WIRE_KIND_ANSWER)))
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
	a->put.claimed = m->claim.n > 0;
	if (a->put.claimed)
		memcpy(a->put.claim.b, m->claim.p, sizeof a->put.claim.b);
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
			st_say_done(g, &f->id, err, why);
			return;
		}
	}
	if (m->offset != a->bytes.n || f->payload.n > a->total - a->bytes.n ||
	    tf_buf_addspan(&a->bytes, f->payload) != 0) {
		st_say_done(g, &f->id, TF_E_BAD_REQUEST, "The pieces of the value do not fit together.");
		arrival_unlink(a);
		arrival_free(a);
		return;
	}
	a->at_mono = tf_mono_ms();
	if (a->bytes.n == a->total)
		arrival_whole(a);
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
	tf_list_init(&g->answers);
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
	st_claims_gone(g, p);
	g->peer = NULL;
	g->refs++; /* ours */
	while ((e = tf_list_first(&g->arriving)) != NULL) {
		struct st_arrival *a = TF_CONTAINER(e, struct st_arrival, node);

		arrival_unlink(a);
		arrival_free(a);
	}
	st_asks_gone(g);
	g->refs--;
	st_gateway_unref(g);
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
		st_asks_get(g, f, &m->get);
	else if (f->verb == WIRE_DROP)
		st_asks_drop(g, f, &m->drop);
	else if (f->verb == WIRE_CLAIM)
		st_claims_claim(g, f, &m->claim);
	else if (f->verb == WIRE_RELEASE)
		st_claims_release(g, f, &m->release);
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
			st_say_done(g, &a->key.id, TF_E_BAD_REQUEST, "The rest of the value did not come.");
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
