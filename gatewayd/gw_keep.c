/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the Responses API that are kept (store is not false). The worker says with KEEP what is to be
 * kept, ahead of the answer's last bytes; these are held until stored has it, then the attempt is
 * settled, and then they go: whoever has seen the end of an answer can continue it. When stored fails at that
 * moment the answer is given all the same, logged and counted.
 */
#include "config.h"

#include <stdlib.h>

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_stored.h"

#define GW_KEEP_MAX (256u << 20) /* bytes of one answer; workers are bounded well below */

enum gw_keep_step {
	GW_KEEP_AWAITED, /* nothing came yet */
	GW_KEEP_COMING,  /* pieces come in, or stored is asked: the answer's bytes are held */
	GW_KEEP_OVER,    /* it is durable, or given up */
};

struct gw_keep {
	enum gw_keep_step step;
	bool ended;           /* END came: waits in the state KEEP */
	struct tf_buf input;  /* the call's own items, JSON */
	struct tf_buf value;  /* KEEP so far */
	struct tf_buf name;
	uint64_t total;
	struct tf_buf tail;   /* bytes of the answer that are held */
	bool boundary;        /* they end between two events */
	struct gw_ended end;
};

/* ---- whether ----------------------------------------------------------------------------------- */

/* Does the call itself say store: true? Then it must not be served without. */
static bool
gw_keep_demanded(const struct gw_req *req)
{
	struct tf_span v;

	return js_member(tf_span(req->body, req->body_len), "store", &v) && js_type(v) == JS_BOOL && v.p[0] == 't';
}

static int
gw_keep_input(struct gw_req *req, struct gw_keep *k, struct tf_buf *own)
{
	const struct dl_range *at = &req->scan->responses.input;

	if (own != NULL) {
		k->input = *own;
		*own = (struct tf_buf){ 0 };
		return 0;
	}
	return at->end > 0 ? tf_buf_append(&k->input, req->body + at->start, at->end - at->start)
	    : tf_buf_addstr(&k->input, "[]");
}

int
gw_keep_begin(struct gw_req *req, struct tf_buf *own)
{
	struct gw_keep *k;

	if (req->head->surface != DL_OPENAI_RESPONSES || req->route->id != GW_R_RESPONSES || !req->scan->responses.store)
		return 0;
	if (!gw_store_here(req->t))
		return gw_keep_demanded(req) ? TF_E_STORE_UNAVAILABLE : 0;
	k = calloc(1, sizeof *k);
	if (k == NULL || gw_keep_input(req, k, own) != 0) {
		free(k);
		return TF_E_SERVER_ERROR;
	}
	req->keep = k;
	req->t->body_held += k->input.n;
	req->head->flags |= DL_HEAD_KEEP;
	return 0;
}

void
gw_keep_free(struct gw_req *req)
{
	struct gw_keep *k = req->keep;

	if (k == NULL)
		return;
	req->keep = NULL;
	req->t->body_held -= k->input.n;
	tf_buf_free(&k->input);
	tf_buf_free(&k->value);
	tf_buf_free(&k->name);
	tf_buf_free(&k->tail);
	free(k);
}

void
gw_keep_again(struct gw_req *req)
{
	struct gw_keep *k = req->keep;

	if (k == NULL)
		return;
	gw_store_leave(req);
	k->step = GW_KEEP_AWAITED;
	tf_buf_reset(&k->value);
	tf_buf_reset(&k->name);
	tf_buf_reset(&k->tail);
}

/* ---- the bytes that are held -------------------------------------------------------------------- */

bool
gw_keep_holds(const struct gw_req *req)
{
	return req->keep != NULL && req->keep->step == GW_KEEP_COMING;
}

int
gw_keep_hold(struct gw_req *req, struct tf_span bytes, bool boundary)
{
	req->keep->boundary = boundary;
	return tf_buf_addspan(&req->keep->tail, bytes) == 0 ? 0 : TF_E_NOMEM;
}

static int
gw_keep_release(struct gw_req *req)
{
	struct gw_keep *k = req->keep;
	int rc = 0;

	if (k->tail.n > 0 && req->http != NULL) {
		rc = gw_relay_write(req, tf_buf_span(&k->tail));
		req->boundary = k->boundary;
	}
	tf_buf_free(&k->tail);
	return rc;
}

/* ---- stored ------------------------------------------------------------------------------------- */

static void
gw_keep_over(struct gw_req *req, int err)
{
	const char *labels[1] = { err == 0 ? "yes" : "no" };
	struct gw_keep *k = req->keep;

	k->step = GW_KEEP_OVER;
	tf_metric_add_l(TF_M_GW_KEPT, 1, labels);
	if (err != 0)
		tf_log(TF_ERROR, "keep", &req->id, "an answer is given that was not stored code=%s", tf_err_row(err)->code);
	if (k->ended)
		gw_relay_kept(req, &k->end.end);
	else if (req->state == GW_S_STREAM && req->http != NULL)
		(void)gw_keep_release(req); /* on_abort follows when it fails */
}

static void
gw_keep_stored(struct gw_req *req, struct gw_stored *got)
{
	gw_keep_over(req, got->err);
}

static void
gw_keep_put(struct gw_req *req)
{
	struct gw_keep *k = req->keep;
	struct wire_put m = { .kind = WIRE_KIND_RESPONSE, .name = tf_buf_span(&k->name) };
	struct tf_buf v = { 0 };
	int err = TF_E_SERVER_ERROR;

	if (tf_buf_addstr(&v, "{\"input\":") == 0 && tf_buf_addspan(&v, tf_buf_span(&k->input)) == 0 &&
	    tf_buf_addstr(&v, ",\"response\":") == 0 && tf_buf_addspan(&v, tf_buf_span(&k->value)) == 0 &&
	    tf_buf_addc(&v, '}') == 0)
		err = gw_store_put(req, &m, &v, gw_keep_stored);
	tf_buf_free(&v);
	tf_buf_free(&k->value);
	if (err != 0)
		gw_keep_over(req, err);
}

void
gw_keep_piece(struct gw_req *req, const struct wire_frame *f, const struct wire_keep *m)
{
	struct gw_keep *k = req->keep;

	if (k == NULL || k->step == GW_KEEP_OVER || m->kind != WIRE_KIND_RESPONSE)
		return;
	if (k->step == GW_KEEP_AWAITED) {
		k->step = GW_KEEP_COMING;
		k->total = m->total;
		if (m->total > GW_KEEP_MAX || tf_buf_addspan(&k->name, m->name) != 0) {
			gw_keep_over(req, TF_E_REQUEST_TOO_LARGE);
			return;
		}
	}
	if (m->offset != k->value.n || f->payload.n > k->total - k->value.n ||
	    tf_buf_addspan(&k->value, f->payload) != 0) {
		gw_keep_over(req, TF_E_SERVER_ERROR);
		return;
	}
	if (k->value.n == k->total)
		gw_keep_put(req);
}

/* ---- the end ------------------------------------------------------------------------------------ */

void
gw_end_copy(struct gw_ended *to, const struct wire_end *m)
{
	size_t n = m->finish.n < sizeof to->finish ? m->finish.n : 0;

	to->end = *m;
	memcpy(to->finish, n > 0 ? m->finish.p : "", n);
	to->end.finish = tf_span(to->finish, n);
	to->end.code = to->end.message = to->end.param = to->end.worker = (struct tf_span){ 0 };
}

bool
gw_keep_waits(struct gw_req *req, const struct wire_end *m)
{
	struct gw_keep *k = req->keep;

	if (k == NULL || k->step == GW_KEEP_OVER)
		return false;
	if (k->step == GW_KEEP_AWAITED || req->store == NULL) {
		/* the worker did not say what to keep, or not all of it */
		gw_keep_over(req, TF_E_UPSTREAM_ERROR);
		return false;
	}
	k->ended = true;
	gw_end_copy(&k->end, m);
	req->worker = NULL; /* it may forget the attempt, and go */
	gw_req_to(req, GW_S_KEEP);
	return true;
}

int
gw_keep_finish(struct gw_req *req)
{
	return req->keep != NULL ? gw_keep_release(req) : 0;
}
