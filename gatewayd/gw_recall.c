/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasoning that led to tool calls, for models whose runtimes want it back and clients that do not bring it. Workers say
 * with KEEP what is to be kept, ahead of the answer's last bytes; these wait a moment for stored to have it, for the
 * client may come back at once. A later request with such calls fetches it before it is admitted, and takes it along to
 * the worker, who puts it in its place. Without stored, or what was kept, the request goes as it is.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_stored.h"

#define GW_RECALL_VALUE (1u << 20) /* bytes of one value, JSON */
#define GW_RECALL_AHEAD (4u << 20) /* bytes that wait for the link; beyond, nothing is kept */
#define GW_RECALL_MS 250           /* how long an answer's end waits */

struct gw_recall {
	struct tf_buf back; /* a JSON array: what the worker is handed; empty: nothing */
	struct tf_buf kept; /* pieces of KEEP so far */
	char name[DL_RECALL_NAME + 1];
	uint64_t total;
	uint64_t until;      /* tf_mono_ms: the end waits for stored at most until then; 0: for nothing */
	struct tf_buf tail;  /* bytes of the answer that are held */
	bool boundary;       /* they end between two events */
	bool ended;          /* END came: waits in the state KEEP */
	struct gw_ended end;
};

void
gw_recall_free(struct gw_req *req)
{
	struct gw_recall *r = req->recall;

	if (r == NULL)
		return;
	req->recall = NULL;
	req->t->body_held -= r->back.n + r->kept.n;
	tf_buf_free(&r->back);
	tf_buf_free(&r->kept);
	tf_buf_free(&r->tail);
	free(r);
}

static struct gw_recall *
gw_recall_of(struct gw_req *req)
{
	if (req->recall == NULL)
		req->recall = calloc(1, sizeof *req->recall);
	return req->recall;
}

struct tf_span
gw_recall_back(const struct gw_req *req)
{
	return req->recall != NULL ? tf_buf_span(&req->recall->back) : (struct tf_span){ 0 };
}

/* ---- fetching ------------------------------------------------------------------------------------- */

static void
gw_recall_got(struct gw_req *req, struct gw_stored *got)
{
	struct gw_recall *r = got->err == 0 && got->bytes.n <= DL_RECALL_ALL ? gw_recall_of(req) : NULL;

	if (r != NULL) {
		r->back = got->bytes;
		req->t->body_held += got->bytes.n;
		got->bytes = (struct tf_buf){ 0 };
	}
	gw_infer_recalled(req);
}

static int
gw_recall_ask(struct gw_req *req, struct tf_span text)
{
	struct wire_get m = { .kind = WIRE_KIND_REASONING, .view = WIRE_VIEW_LIST, .limit = DL_RECALL_ALL,
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace) };
	struct tf_buf names = { 0 };
	int rc = 0;

	for (size_t at = 0; rc == 0 && at < text.n; at += DL_RECALL_NAME)
		rc = wire_rep_add(&names, WIRE_FN_GET_name, tf_span(text.p + at, DL_RECALL_NAME));
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	if (rc == 0)
		rc = gw_store_get(req, &m, gw_recall_got);
	tf_buf_free(&names);
	return rc;
}

bool
gw_recall(struct gw_req *req)
{
	struct tf_span root = tf_span(req->body, req->body_len);
	struct tf_buf names = { 0 };
	bool waits = false;

	if (req->head->messages < 2 || !gw_store_here(req->t) ||
	    !(gw_models_live_needs(req->t, req->model->name) & DL_LIVE_RECALL))
		return false;
	if (dl_recall_names(req->head->surface, root, &names) == 0 && names.n > 0)
		waits = gw_recall_ask(req, tf_buf_span(&names)) == 0;
	tf_buf_free(&names);
	if (waits)
		gw_req_to(req, GW_S_STORE);
	return waits;
}

/* ---- keeping -------------------------------------------------------------------------------------- */

/* All at once: what a link that breaks loses is fetched by nobody. It is acknowledged under the request's id. */
static void
gw_recall_put(struct gw_req *req)
{
	struct gw_recall *r = req->recall;
	struct wire_peer *p = gw_store_here(req->t) ? wire_dial_peer(req->t->store) : NULL;
	struct wire_put m = { .kind = WIRE_KIND_REASONING, .name = tf_cspan(r->name), .total = r->kept.n,
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace),
		.content_type = TF_SPAN("application/json") };

	if (p == NULL || wire_backlog(p) > GW_RECALL_AHEAD)
		return;
	while (m.offset < m.total) {
		size_t n = m.total - m.offset < WIRE_PIECE ? (size_t)(m.total - m.offset) : WIRE_PIECE;

		if (wire_send_put(p, &req->id, 0, &m, tf_span(r->kept.p + m.offset, n)) != 0)
			return;
		m.offset += n;
	}
	r->until = tf_mono_ms() + GW_RECALL_MS;
}

static void
gw_recall_drop(struct gw_req *req)
{
	struct gw_recall *r = req->recall;

	req->t->body_held -= r->kept.n;
	tf_buf_free(&r->kept);
	r->total = 0;
}

void
gw_recall_piece(struct gw_req *req, const struct wire_frame *f, const struct wire_keep *m)
{
	struct gw_recall *r = gw_recall_of(req);

	if (r == NULL)
		return;
	if (m->offset == 0) {
		gw_recall_drop(req);
		if (m->total > GW_RECALL_VALUE || m->name.n != DL_RECALL_NAME)
			return;
		r->total = m->total;
		memcpy(r->name, m->name.p, DL_RECALL_NAME);
	}
	if (m->offset != r->kept.n || f->payload.n > r->total - r->kept.n || tf_buf_addspan(&r->kept, f->payload) != 0) {
		gw_recall_drop(req);
		return;
	}
	req->t->body_held += f->payload.n;
	if (r->kept.n < r->total)
		return;
	gw_recall_put(req);
	gw_recall_drop(req);
}

/* ---- the answer's end ----------------------------------------------------------------------------- */

bool
gw_recall_holds(const struct gw_req *req)
{
	return req->recall != NULL && req->recall->until != 0;
}

int
gw_recall_hold(struct gw_req *req, struct tf_span bytes, bool boundary)
{
	req->recall->boundary = boundary;
	return tf_buf_addspan(&req->recall->tail, bytes) == 0 ? 0 : TF_E_NOMEM;
}

/* It is durable, or the time is over. */
static void
gw_recall_over(struct gw_req *req)
{
	struct gw_recall *r = req->recall;
	struct tf_buf tail = r->tail;
	struct gw_ended end = r->end;

	r->until = 0;
	r->tail = (struct tf_buf){ 0 };
	if (r->ended) {
		end.end.finish.p = end.finish;
		gw_relay_over(req, &end.end, tf_buf_span(&tail));
	} else if (tail.n > 0 && req->http != NULL && req->state == GW_S_STREAM) {
		req->boundary = r->boundary;
		req->wrote_at = tf_mono_ms();
		(void)http_respond_write(req->http, tail.p, tail.n); /* on_abort follows when it fails */
	}
	tf_buf_free(&tail);
}

bool
gw_recall_waits(struct gw_req *req, const struct wire_end *m)
{
	struct gw_recall *r = req->recall;

	if (!gw_recall_holds(req))
		return false;
	r->ended = true;
	gw_end_copy(&r->end, m);
	req->worker = NULL; /* it may forget the attempt, and go */
	gw_req_to(req, GW_S_KEEP);
	return true;
}

void
gw_recall_stored(struct gw_thread *t, struct tf_id id)
{
	struct gw_req *req = gw_req_find(t, id);

	if (req != NULL && gw_recall_holds(req))
		gw_recall_over(req);
}

void
gw_recall_tick(struct gw_req *req, uint64_t now)
{
	if (gw_recall_holds(req) && now >= req->recall->until)
		gw_recall_over(req);
}

bool
gw_recall_abort(struct gw_req *req)
{
	if (!gw_recall_holds(req) || !req->recall->ended)
		return false;
	gw_recall_over(req);
	return true;
}

void
gw_recall_again(struct gw_req *req)
{
	struct gw_recall *r = req->recall;

	if (r == NULL)
		return;
	gw_recall_drop(req);
	r->until = 0;
	tf_buf_reset(&r->tail);
}
