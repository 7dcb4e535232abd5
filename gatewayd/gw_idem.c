/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests with an Idempotency-Key. Before such a request is admitted, stored is asked to let it run; one that ran
 * before is answered with what it was answered then (gw_replay.c), one that runs is refused. The bytes of
 * the answer are kept as they go to the client, its end is held until stored has all of it, then the attempt is
 * settled, and then the end goes: whoever has seen the end of an answer gets the same one again. Whatever ends in
 * another way gives the key back, so that a retry runs afresh.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_stored.h"

#define GW_IDEM_KEY_MAX 255
#define GW_RELEASES_MAX 100000 /* that stored has not acknowledged; beyond, the oldest is given up */

/* ---- the key -------------------------------------------------------------------------------------- */

/* Its text; TF_E_BAD_REQUEST: there are two, or it is none. */
static int
gw_idem_text(const struct gw_req *req, struct tf_span *out)
{
	const struct http_head *h = http_req_head(req->http);
	unsigned n = 0;

	for (unsigned i = 0; i < h->nfields; i++)
		n += h->fields[i].id == HTTP_H_IDEMPOTENCY_KEY;
	*out = http_head_get(h, HTTP_H_IDEMPOTENCY_KEY);
	if (n > 1 || out->n == 0 || out->n > GW_IDEM_KEY_MAX)
		return TF_E_BAD_REQUEST;
	for (size_t i = 0; i < out->n; i++)
		if (out->p[i] < 0x20 || out->p[i] > 0x7e)
			return TF_E_BAD_REQUEST;
	return 0;
}

/* Under which its answer is kept: the same text means something else for another workspace or operation. */
static int
gw_idem_name(const struct gw_req *req, struct tf_span text, char out[static GW_IDEM_NAME + 1])
{
	struct tf_hash *h = tf_hash_new();
	uint8_t digest[TF_SHA256];

	if (h == NULL)
		return TF_E_SERVER_ERROR;
	tf_hash_add(h, req->key->workspace, sizeof req->key->workspace);
	tf_hash_add(h, req->route->name, strlen(req->route->name) + 1);
	tf_hash_add(h, text.p, text.n);
	tf_hash_end(&h, digest);
	tf_hex(digest, sizeof digest, out);
	return 0;
}

int
gw_idem_begin(struct gw_req *req)
{
	struct gw_idem *i;
	struct tf_span text;
	int err;

	if (http_req_get(req->http, HTTP_H_IDEMPOTENCY_KEY).p == NULL || req->scan->count)
		return 0;
	err = gw_idem_text(req, &text);
	if (err != 0) {
		gw_req_fail(req, err, "Idempotency-Key",
		    "An Idempotency-Key is one text of 1 to 255 printable ASCII characters.", 0);
		return err;
	}
	i = calloc(1, sizeof *i);
	if (i != NULL)
		i->hash = tf_hash_new();
	req->idem = i;
	err = i == NULL || i->hash == NULL ? TF_E_SERVER_ERROR : gw_idem_name(req, text, i->name);
	if (err == 0 && !gw_store_here(req->t))
		err = TF_E_STORE_UNAVAILABLE; /* what it asks for cannot be promised */
	if (err != 0)
		gw_req_fail(req, err, NULL, err == TF_E_STORE_UNAVAILABLE ? "What an Idempotency-Key asks for"
		    " needs the store, which is not available at the moment. Retry later." : NULL, 0);
	return err;
}

/*
 * As much as arrived; a form without its boundary, which clients make anew for each try.
 */
void
gw_idem_body(struct gw_req *req, struct tf_span body, bool whole)
{
	struct gw_idem *i = req->idem;
	struct tf_span cut = { 0 };
	const char *at;

	if (i == NULL)
		return;
	if (req->scan->is_form)
		cut = tf_span(req->scan->form.delimiter + 4, req->scan->form.ndelimiter - 4u);
	while (cut.n > 0 && i->hashed < body.n &&
	    (at = memmem(body.p + i->hashed, body.n - i->hashed, cut.p, cut.n)) != NULL) {
		tf_hash_add(i->hash, body.p + i->hashed, (size_t)(at - body.p) - i->hashed);
		tf_hash_add(i->hash, "", 1);
		i->hashed = (size_t)(at - body.p) + cut.n;
	}
	/* what may be the front of a boundary waits for the rest of it */
	if (!whole && cut.n > 0)
		body.n = body.n >= cut.n ? body.n - cut.n + 1 : 0;
	if (body.n > i->hashed) {
		tf_hash_add(i->hash, body.p + i->hashed, body.n - i->hashed);
		i->hashed = body.n;
	}
}

/* ---- the claim ------------------------------------------------------------------------------------ */

static void
gw_idem_note(const char *result)
{
	const char *labels[1] = { result };

	tf_metric_add_l(TF_M_GW_IDEMPOTENT, 1, labels);
}

/* The request is the one that another gateway began: under its id it cannot be charged twice. */
static int
gw_idem_take_over(struct gw_req *req, struct tf_id id, uint64_t turn)
{
	struct gw_thread *t = req->t;
	char text[TF_ID_TEXT + 1];

	if (turn > UINT32_MAX / WIRE_TURN || gw_req_find(t, id) != NULL)
		return TF_E_SERVER_ERROR;
	tf_id_text(id, text);
	tf_log(TF_INFO, "idempotent", &req->id, "runs on what another gateway began request=%s turn=%llu", text,
	    (unsigned long long)turn);
	tf_map_del(&t->reqs, tf_id_span(&req->id));
	req->id = id;
	req->attempt = (uint32_t)turn * WIRE_TURN;
	/* the place that was just given up is there */
	return tf_map_put(&t->reqs, tf_id_span(&req->id), req) == 0 ? 0 : TF_E_SERVER_ERROR;
}

static void
gw_idem_conflict(struct gw_req *req, uint64_t state)
{
	bool other = state == WIRE_CLAIM_OTHER;

	req->idem->step = GW_IDEM_OVER;
	gw_idem_note(wire_claim_state_text(state));
	gw_req_fail(req, TF_E_CONFLICT, NULL, other ? "This Idempotency-Key was used with another request body." :
	    "A request with this Idempotency-Key is still running.", 0);
}

static void
gw_idem_claimed(struct gw_req *req, struct gw_stored *got)
{
	const struct wire_claimed *m = got->claimed;
	struct gw_idem *i = req->idem;
	struct tf_id id = { { 0 } };
	int err = got->err;

	if (err == 0 && (m == NULL || m->request.n != sizeof id))
		err = TF_E_SERVER_ERROR;
	if (err != 0) {
		gw_req_fail(req, err, NULL, NULL, 0);
		return;
	}
	memcpy(id.b, m->request.p, sizeof id.b);
	switch (m->state) {
	case WIRE_CLAIM_FRESH:
		i->step = GW_IDEM_OWNED;
		if (!tf_id_eq(id, req->id))
			err = gw_idem_take_over(req, id, m->turn);
		if (err != 0)
			gw_req_fail(req, err, NULL, NULL, 0);
		else
			gw_infer_claimed(req);
		break;
	case WIRE_CLAIM_DONE:
		i->step = GW_IDEM_OVER;
		i->first = id;
		gw_idem_note("replayed");
		gw_replay(req);
		break;
	default:
		gw_idem_conflict(req, m->state);
		break;
	}
}

void
gw_idem_claim(struct gw_req *req)
{
	struct gw_idem *i = req->idem;
	struct wire_claim m = {
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace), .name = tf_cspan(i->name),
		.body = tf_span(i->body, sizeof i->body), .request = tf_id_span(&req->id),
	};
	int err;

	if (i->hash != NULL)
		tf_hash_end(&i->hash, i->body);
	err = gw_store_claim(req, &m, gw_idem_claimed, &i->claim);
	if (err != 0) {
		gw_req_fail(req, err, NULL, NULL, 0);
		return;
	}
	i->step = GW_IDEM_ASKED;
	gw_req_to(req, GW_S_STORE);
}

/* ---- giving it back ------------------------------------------------------------------------------- */

struct gw_release { /* until stored acknowledges it */
	struct tf_node node; /* gw_thread.releases, oldest first */
	struct tf_id id;     /* of the question */
	uint8_t workspace[16];
	struct tf_id claim;
	char name[GW_IDEM_NAME + 1];
};

static void
gw_release_free(struct gw_thread *t, struct gw_release *r)
{
	tf_list_remove(&t->releases, &r->node);
	free(r);
}

static void
gw_release_send(struct gw_thread *t, const struct gw_release *r)
{
	struct wire_peer *p = t->store != NULL ? wire_dial_peer(t->store) : NULL;
	struct wire_release m = { .workspace = tf_span(r->workspace, sizeof r->workspace), .name = tf_cspan(r->name),
		.claim = tf_id_span(&r->claim) };

	if (p != NULL)
		(void)wire_send_release(p, &r->id, 0, &m, (struct tf_span){ 0 });
}

void
gw_idem_release(struct gw_req *req)
{
	struct gw_thread *t = req->t;
	struct gw_idem *i = req->idem;
	struct gw_release *r;

	if (i == NULL || i->step == GW_IDEM_NEW || i->step == GW_IDEM_OVER)
		return;
	i->step = GW_IDEM_OVER;
	t->body_held -= i->answer.n;
	tf_buf_free(&i->answer);
	i->given = 0;
	gw_idem_note("released");
	if (t->releases.n >= GW_RELEASES_MAX)
		gw_release_free(t, TF_CONTAINER(tf_list_first(&t->releases), struct gw_release, node));
	r = calloc(1, sizeof *r);
	if (r == NULL) {
		tf_log(TF_ERROR, "idempotent", &req->id, "no memory to give a key back: it stays in use");
		return;
	}
	r->id = tf_id_new();
	memcpy(r->workspace, req->key->workspace, sizeof r->workspace);
	r->claim = i->claim;
	memcpy(r->name, i->name, sizeof r->name);
	tf_list_append(&t->releases, &r->node);
	gw_release_send(t, r);
}

bool
gw_idem_released(struct gw_thread *t, struct tf_id id)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->releases, e, tmp) {
		struct gw_release *r = TF_CONTAINER(e, struct gw_release, node);

		if (!tf_id_eq(r->id, id))
			continue;
		gw_release_free(t, r);
		return true;
	}
	return false;
}

void
gw_idem_link_up(struct gw_thread *t)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->releases, e, tmp)
		gw_release_send(t, TF_CONTAINER(e, struct gw_release, node));
}

void
gw_idem_thread_free(struct gw_thread *t)
{
	struct tf_node *e;

	while ((e = tf_list_first(&t->releases)) != NULL)
		gw_release_free(t, TF_CONTAINER(e, struct gw_release, node));
}

void
gw_idem_free(struct gw_req *req)
{
	struct gw_idem *i = req->idem;

	if (i == NULL)
		return;
	gw_idem_release(req);
	req->idem = NULL;
	req->t->body_held -= i->answer.n;
	tf_hash_end(&i->hash, NULL);
	tf_buf_free(&i->answer);
	free(i);
}

/* ---- the answer ----------------------------------------------------------------------------------- */

void
gw_idem_again(struct gw_req *req)
{
	struct gw_idem *i = req->idem;

	if (i == NULL || i->step != GW_IDEM_OWNED)
		return;
	req->t->body_held -= i->answer.n;
	tf_buf_reset(&i->answer);
	i->given = 0;
	i->holds = false;
}

/* What is held goes on its way: to the client, or to where its last bytes are held for another reason. */
static int
gw_idem_give(struct gw_req *req, struct tf_span bytes)
{
	const struct gw_idem *i = req->idem;

	if (bytes.n == 0 || req->http == NULL)
		return 0;
	/* the end of an answer is not seen before it is recorded */
	if (req->held.n > 0 || (i->holds && req->head->stream) || req->rx.next >= req->answer_len) {
		req->held_boundary = i->boundary;
		return tf_buf_addspan(&req->held, bytes);
	}
	if (gw_keep_holds(req))
		return gw_keep_hold(req, bytes, i->boundary);
	req->boundary = i->boundary;
	req->wrote_at = tf_mono_ms();
	return gw_relay_write(req, bytes);
}

static struct tf_span
gw_idem_held(const struct gw_idem *i)
{
	return tf_span(i->answer.p + i->given, i->answer.n - i->given);
}

/* It is more than is kept, or there is no memory for it: the client gets it all the same. */
static int
gw_idem_too_much(struct gw_req *req)
{
	struct gw_idem *i = req->idem;
	int rc = i->answer.n > i->given ? gw_idem_give(req, gw_idem_held(i)) : 0;

	tf_log(TF_WARN, "idempotent", &req->id, "an answer is too large to be kept: a retry will run afresh");
	gw_idem_release(req);
	return rc;
}

/* In front of the bytes, as an HTTP message has it. */
static int
gw_idem_head(struct gw_req *req, const struct wire_event *m)
{
	struct tf_buf *b = &req->idem->answer;
	struct http_fields f;
	int rc;

	http_fields_init(&f);
	gw_relay_fields(req, m->content_type, &f);
	rc = f.bad ? TF_E_INVAL : tf_buf_addstr(b, "HTTP/1.1 200 OK\r\n");
	if (rc == 0)
		rc = tf_buf_append(b, f.buf, f.len);
	if (rc == 0 && !req->head->stream && wire_has(m, EVENT, length))
		rc = tf_buf_printf(b, "content-length: %llu\r\n", (unsigned long long)m->length);
	return rc == 0 ? tf_buf_addstr(b, "\r\n") : rc;
}

bool
gw_idem_takes(const struct gw_req *req)
{
	return req->idem != NULL && req->idem->step == GW_IDEM_OWNED;
}

int
gw_idem_take(struct gw_req *req, const struct wire_event *m, struct tf_span bytes, bool *held)
{
	const struct conf *c = req->conf->c;
	struct gw_idem *i = req->idem;
	size_t before = i->answer.n;
	int rc = 0;

	*held = true;
	i->boundary = (m->flags & WIRE_EV_BOUNDARY) != 0;
	if (i->answer.n == 0) {
		rc = gw_idem_head(req, m);
		i->given = i->answer.n;
		i->holds = wire_has(m, EVENT, length); /* it comes at once, and so goes at its end */
	}
	if (rc == 0)
		rc = tf_buf_addspan(&i->answer, bytes);
	req->t->body_held += i->answer.n - before;
	if (rc != 0 || i->answer.n > c->stored.object_max || req->t->body_held > c->gatewayd.body_memory) {
		/* these bytes are held too, or they are not there at all */
		if (rc != 0)
			*held = false;
		return gw_idem_too_much(req);
	}
	i->holds = i->holds || (m->flags & WIRE_EV_FINISH) != 0;
	*held = i->holds;
	if (!i->holds)
		i->given = i->answer.n;
	return 0;
}

static void
gw_idem_stored(struct gw_req *req, struct gw_stored *got)
{
	struct gw_idem *i = req->idem;
	struct tf_span held = tf_span(got->bytes.p + i->given, got->bytes.n - i->given);

	if (got->err == 0) {
		i->step = GW_IDEM_OVER;
		gw_idem_note("kept");
	} else {
		tf_log(TF_ERROR, "idempotent", &req->id, "an answer is given that was not kept code=%s",
		    tf_err_row(got->err)->code);
		gw_idem_release(req);
	}
	gw_relay_over(req, &i->end.end, held);
}

bool
gw_idem_waits(struct gw_req *req, const struct wire_end *m)
{
	struct gw_idem *i = req->idem;
	struct wire_put put = { .kind = WIRE_KIND_ANSWER, .content_type = TF_SPAN("message/http") };
	int err;

	if (!gw_idem_takes(req) || i->answer.n == 0)
		return false;
	put.name = tf_cspan(i->name);
	put.claim = tf_id_span(&i->claim);
	gw_end_copy(&i->end, m);
	req->t->body_held -= i->answer.n;
	err = gw_store_put(req, &put, &i->answer, gw_idem_stored);
	if (err != 0) {
		struct gw_stored got = { .err = err, .bytes = i->answer };

		i->answer = (struct tf_buf){ 0 };
		gw_idem_stored(req, &got);
		tf_buf_free(&got.bytes);
		return true;
	}
	i->step = GW_IDEM_PUTS;
	req->worker = NULL; /* it may forget the attempt, and go */
	gw_req_to(req, GW_S_KEEP);
	return true;
}
