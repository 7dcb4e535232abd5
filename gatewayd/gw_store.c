/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of stored. A request has one question at a time and waits for its answer in the state STORE
 * or KEEP; a question that is open when the link breaks goes again when it is back, within the wait's
 * deadline, and a value that is being kept counts as lost. Whoever asks gives the function that goes
 * on; nothing here knows what is kept.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_stored.h"

#define GW_STORE_AHEAD (8u << 20) /* bytes of values handed to a link that has not sent them yet */

struct gw_store_wait {
	struct tf_node node;  /* gw_thread.store_waits */
	struct gw_req *req;
	struct tf_id id;      /* of the question, its own */
	uint64_t since;       /* tf_mono_ms: of the question, or the last sign of progress */
	gw_store_fn *fn;
	struct tf_buf frame;  /* GET or DROP: the question, to be repeated */
	struct wire_put put;  /* PUT: what is said with each piece; spans into name and type */
	struct tf_buf name, value;
	bool puts;
	struct gw_stored got; /* VALUE so far */
};

bool
gw_store_here(const struct gw_thread *t)
{
	return t->store != NULL && wire_dial_peer(t->store) != NULL;
}

static struct wire_peer *
gw_store_peer(const struct gw_thread *t)
{
	return t->store != NULL ? wire_dial_peer(t->store) : NULL;
}

static void
gw_wait_free(struct gw_store_wait *w)
{
	struct gw_thread *t = w->req->t;

	w->req->store = NULL;
	tf_map_del(&t->store_asks, tf_id_span(&w->id));
	tf_list_remove(&t->store_waits, &w->node);
	t->body_held -= w->got.bytes.n + w->value.n;
	tf_buf_free(&w->frame);
	tf_buf_free(&w->name);
	tf_buf_free(&w->value);
	tf_buf_free(&w->got.bytes);
	free(w);
}

void
gw_store_leave(struct gw_req *req)
{
	if (req->store != NULL)
		gw_wait_free(req->store);
}

/* The wait is over: the request goes on, and may ask again. */
static void
gw_wait_end(struct gw_store_wait *w, int err)
{
	struct gw_req *req = w->req;
	gw_store_fn *fn = w->fn;
	struct gw_stored got = w->got;

	if (w->puts) { /* the value goes back to whom it came from */
		got.bytes = w->value;
		w->value = (struct tf_buf){ 0 };
	}
	w->got.bytes = (struct tf_buf){ 0 };
	req->t->body_held -= got.bytes.n;
	gw_wait_free(w);
	got.err = err;
	fn(req, &got);
	tf_buf_free(&got.bytes);
}

static struct gw_store_wait *
gw_wait_new(struct gw_req *req, gw_store_fn *fn)
{
	struct gw_thread *t = req->t;
	struct gw_store_wait *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->id = tf_id_new();
	w->req = req;
	w->fn = fn;
	w->since = tf_mono_ms();
	if (tf_map_put(&t->store_asks, tf_id_span(&w->id), w) != 0) {
		free(w);
		return NULL;
	}
	tf_list_append(&t->store_waits, &w->node);
	req->store = w;
	return w;
}

/* ---- questions -------------------------------------------------------------------------------- */

/* TF_E_STORE_UNAVAILABLE, TF_E_OVERLOADED or TF_E_SERVER_ERROR; then nothing waits. */
static int
gw_store_ask(struct gw_req *req, enum wire_verb verb, const void *m, gw_store_fn *fn)
{
	struct wire_peer *p = gw_store_peer(req->t);
	struct gw_store_wait *w;

	if (p == NULL)
		return TF_E_STORE_UNAVAILABLE;
	/* what is asked for lies in memory as bodies do */
	if (req->t->body_held > req->conf->c->gatewayd.body_memory)
		return TF_E_OVERLOADED;
	w = gw_wait_new(req, fn);
	if (w == NULL)
		return TF_E_SERVER_ERROR;
	if (wire_enc(&w->frame, verb, &w->id, 0, m, (struct tf_span){ 0 }) != 0) {
		gw_wait_free(w);
		return TF_E_SERVER_ERROR;
	}
	/* a send that fails is one to a link that is going down, and so is asked again */
	(void)wire_forward(p, tf_buf_span(&w->frame), 0, 0);
	return 0;
}

int
gw_store_get(struct gw_req *req, const struct wire_get *m, gw_store_fn *fn)
{
	return gw_store_ask(req, WIRE_GET, m, fn);
}

int
gw_store_claim(struct gw_req *req, const struct wire_claim *m, gw_store_fn *fn, struct tf_id *id)
{
	int err = gw_store_ask(req, WIRE_CLAIM, m, fn);

	if (err == 0)
		*id = req->store->id;
	return err;
}

int
gw_store_drop(struct gw_req *req, const struct wire_drop *m, gw_store_fn *fn)
{
	return gw_store_ask(req, WIRE_DROP, m, fn);
}

/* As much as the link may hold; the tick goes on. */
static void
gw_store_push(struct gw_store_wait *w)
{
	struct wire_peer *p = gw_store_peer(w->req->t);
	bool first = w->put.offset == 0;

	while (p != NULL && (first || w->put.offset < w->value.n) && wire_backlog(p) < GW_STORE_AHEAD) {
		size_t n = w->value.n - (size_t)w->put.offset;

		if (n > WIRE_PIECE)
			n = WIRE_PIECE;
		if (wire_send_put(p, &w->id, 0, &w->put, tf_span(n > 0 ? w->value.p + w->put.offset : "", n)) != 0)
			return; /* its end is near: gw_store_link_down */
		w->put.offset += n;
		w->since = tf_mono_ms();
		first = false;
	}
}

int
gw_store_put(struct gw_req *req, const struct wire_put *m, struct tf_buf *value, gw_store_fn *fn)
{
	struct gw_store_wait *w;

	if (!gw_store_here(req->t))
		return TF_E_STORE_UNAVAILABLE;
	w = gw_wait_new(req, fn);
	if (w == NULL)
		return TF_E_SERVER_ERROR;
	w->puts = true;
	w->put = *m;
	if (tf_buf_addspan(&w->name, m->name) != 0 || tf_buf_addspan(&w->name, m->content_type) != 0) {
		gw_wait_free(w);
		return TF_E_SERVER_ERROR;
	}
	w->put.name = tf_span(w->name.p, m->name.n);
	w->put.content_type = tf_span(w->name.p + m->name.n, m->content_type.n);
	w->put.workspace = tf_span(req->key->workspace, sizeof req->key->workspace);
	w->put.offset = 0;
	w->put.total = value->n;
	w->value = *value;
	*value = (struct tf_buf){ 0 };
	req->t->body_held += w->value.n;
	gw_store_push(w);
	return 0;
}

/* ---- what stored says -------------------------------------------------------------------------- */

static int
gw_store_err(struct tf_span code)
{
	char text[64];
	size_t n = code.n < sizeof text ? code.n : sizeof text - 1;
	const struct tf_err_row *row;

	memcpy(text, code.p, n);
	text[n] = '\0';
	row = tf_err_by_code(text);
	return row != NULL ? (int)row->err : TF_E_SERVER_ERROR;
}

void
gw_store_done(struct gw_thread *t, const struct wire_frame *f, const struct wire_put_done *m)
{
	struct gw_store_wait *w = tf_map_get(&t->store_asks, tf_id_span(&f->id));

	if (w == NULL) {
		if (!gw_idem_released(t, f->id))
			gw_recall_stored(t, f->id);
		return;
	}
	w->got.message = m->message;
	gw_wait_end(w, m->code.n > 0 ? gw_store_err(m->code) : 0);
}

void
gw_store_claimed(struct gw_thread *t, const struct wire_frame *f, const struct wire_claimed *m)
{
	struct gw_store_wait *w = tf_map_get(&t->store_asks, tf_id_span(&f->id));

	if (w == NULL || w->puts)
		return;
	w->got.claimed = m;
	gw_wait_end(w, m->code.n > 0 ? gw_store_err(m->code) : 0);
}

void
gw_store_value(struct gw_thread *t, const struct wire_frame *f, const struct wire_value *m)
{
	struct gw_store_wait *w = tf_map_get(&t->store_asks, tf_id_span(&f->id));

	if (w == NULL || w->puts)
		return;
	if (m->code.n > 0) {
		w->got.message = m->message;
		w->got.param = m->param;
		gw_wait_end(w, gw_store_err(m->code));
		return;
	}
	if (w->got.bytes.n == 0)
		w->got.offset = m->offset;
	if (m->offset != w->got.offset + w->got.bytes.n || m->total < m->offset + f->payload.n ||
	    tf_buf_addspan(&w->got.bytes, f->payload) != 0) {
		gw_wait_end(w, TF_E_SERVER_ERROR);
		return;
	}
	t->body_held += f->payload.n;
	w->since = tf_mono_ms();
	if (!m->last)
		return;
	w->got.total = m->total;
	w->got.type = m->content_type;
	gw_wait_end(w, 0);
}

void
gw_store_link_up(struct gw_thread *t)
{
	struct wire_peer *p = gw_store_peer(t);
	struct tf_node *e, *tmp;

	gw_idem_link_up(t);
	TF_LIST_EACH(&t->store_waits, e, tmp) {
		struct gw_store_wait *w = TF_CONTAINER(e, struct gw_store_wait, node);

		/* what came of a former answer is not its beginning */
		t->body_held -= w->got.bytes.n;
		tf_buf_reset(&w->got.bytes);
		if (!w->puts && p != NULL)
			(void)wire_forward(p, tf_buf_span(&w->frame), 0, 0);
	}
}

/* Every wait ends that this picks; each may begin new ones, which stand behind. */
static void
gw_store_end_all(struct gw_thread *t, bool puts_only, uint64_t before)
{
	size_t n = t->store_waits.n;

	for (struct tf_node *e = t->store_waits.head.next, *next; n-- > 0; e = next) {
		struct gw_store_wait *w = TF_CONTAINER(e, struct gw_store_wait, node);

		next = e->next;
		if ((puts_only && !w->puts) || w->since > before)
			continue;
		gw_wait_end(w, TF_E_STORE_UNAVAILABLE);
	}
}

void
gw_store_link_down(struct gw_thread *t)
{
	gw_store_end_all(t, true, UINT64_MAX);
}

void
gw_store_tick(struct gw_thread *t, uint64_t now)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->store_waits, e, tmp) {
		struct gw_store_wait *w = TF_CONTAINER(e, struct gw_store_wait, node);

		if (w->puts && w->put.offset < w->value.n)
			gw_store_push(w);
	}
	if (now >= GW_WAIT_MS)
		gw_store_end_all(t, false, now - GW_WAIT_MS);
}
