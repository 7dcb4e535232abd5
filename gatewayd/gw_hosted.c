/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that an answer names by address. The worker says with KEEP what lies under each name, ahead of the answer;
 * the answer is held until stored has all of it, so that no address is given that leads nowhere, and is refused when
 * stored fails. Whoever has an address may fetch what is there, without a key, until it is forgotten.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_op.h"
#include "gatewayd/gw_stored.h"

#define GW_HOSTED_MAX 16           /* images of one answer */
#define GW_HOSTED_BYTES (96u << 20) /* of one of them */
#define GW_HOSTED_NAME 64

struct gw_image {
	char name[GW_HOSTED_NAME], type[GW_HOSTED_NAME];
	struct tf_buf bytes;
	uint64_t total;
	bool whole; /* all of it came */
};

struct gw_hosted {
	struct gw_image image[GW_HOSTED_MAX];
	size_t n;            /* that have begun to come */
	size_t put;          /* handed to stored */
	size_t done;         /* stored says so */
	bool ended;          /* END came: waits in the state KEEP */
	struct wire_end end; /* without texts */
	struct tf_buf answer;
};

void
gw_hosted_free(struct gw_req *req)
{
	struct gw_hosted *h = req->hosted;

	if (h == NULL)
		return;
	req->hosted = NULL;
	gw_store_leave(req);
	for (size_t i = 0; i < h->n; i++) {
		req->t->body_held -= h->image[i].bytes.n;
		tf_buf_free(&h->image[i].bytes);
	}
	tf_buf_free(&h->answer);
	free(h);
}

static void
gw_hosted_fail(struct gw_req *req, int err)
{
	struct wire_end why = {
		.param = TF_SPAN("response_format"),
		.message = TF_SPAN("Images cannot be kept here at the moment: ask for response_format b64_json."),
	};

	tf_log(TF_ERROR, "hosted", &req->id, "an image could not be stored code=%s", tf_err_row(err)->code);
	gw_hosted_free(req);
	gw_attempt_cancel(req, WIRE_CANCEL_PROTOCOL);
	gw_attempt_failed(req, err, GW_BLAME_FINAL, &why);
}

/* All that came is stored, and so did the end: the answer goes. */
static void
gw_hosted_finish(struct gw_req *req)
{
	struct gw_hosted *h = req->hosted;
	struct tf_buf answer = h->answer;
	struct wire_end end = h->end;

	h->answer = (struct tf_buf){ 0 };
	gw_hosted_free(req);
	gw_relay_hosted(req, tf_buf_span(&answer), &end);
	tf_buf_free(&answer);
}

static void gw_hosted_put(struct gw_req *req);

static void
gw_hosted_stored(struct gw_req *req, struct gw_stored *got)
{
	struct gw_hosted *h = req->hosted;

	if (h == NULL || req->http == NULL)
		return; /* nobody waits for it */
	if (got->err != 0) {
		gw_hosted_fail(req, got->err);
		return;
	}
	h->done++;
	if (h->put < h->n)
		gw_hosted_put(req);
	else if (h->ended)
		gw_hosted_finish(req);
}

/* The next image that is complete; one at a time. */
static void
gw_hosted_put(struct gw_req *req)
{
	struct gw_hosted *h = req->hosted;
	struct gw_image *i = &h->image[h->put];
	struct wire_put m = { .kind = WIRE_KIND_IMAGE, .name = tf_cspan(i->name), .content_type = tf_cspan(i->type) };
	size_t n = i->bytes.n;
	int err;

	if (!i->whole || h->put > h->done)
		return;
	req->t->body_held -= n;
	err = gw_store_put(req, &m, &i->bytes, gw_hosted_stored);
	if (err != 0) {
		req->t->body_held += i->bytes.n;
		gw_hosted_fail(req, err);
		return;
	}
	h->put++;
}

static bool
gw_hosted_text(struct tf_span s, char out[static GW_HOSTED_NAME])
{
	if (s.n == 0 || s.n >= GW_HOSTED_NAME)
		return false;
	memcpy(out, s.p, s.n);
	out[s.n] = '\0';
	return true;
}

/* The one that this piece belongs to; NULL: it cannot be. */
static struct gw_image *
gw_hosted_of(struct gw_hosted *h, const struct wire_keep *m)
{
	struct gw_image *i = h->n > 0 ? &h->image[h->n - 1] : NULL;

	if (i != NULL && tf_span_is(m->name, i->name))
		return i;
	if ((i != NULL && !i->whole) || h->n == GW_HOSTED_MAX || m->total == 0 || m->total > GW_HOSTED_BYTES)
		return NULL;
	i = &h->image[h->n];
	if (!gw_hosted_text(m->name, i->name) || !gw_hosted_text(m->content_type, i->type))
		return NULL;
	i->total = m->total;
	h->n++;
	return i;
}

void
gw_hosted_piece(struct gw_req *req, const struct wire_frame *f, const struct wire_keep *m)
{
	struct gw_image *i;

	if (req->content)
		return; /* behind the answer: too late */
	if (req->hosted == NULL && (req->hosted = calloc(1, sizeof *req->hosted)) == NULL) {
		gw_hosted_fail(req, TF_E_SERVER_ERROR);
		return;
	}
	i = gw_hosted_of(req->hosted, m);
	if (i == NULL || i->whole || m->offset != i->bytes.n || f->payload.n > i->total - i->bytes.n ||
	    tf_buf_addspan(&i->bytes, f->payload) != 0) {
		gw_hosted_fail(req, TF_E_UPSTREAM_ERROR);
		return;
	}
	req->t->body_held += f->payload.n;
	i->whole = i->bytes.n == i->total;
	if (i->whole)
		gw_hosted_put(req);
}

int
gw_hosted_hold(struct gw_req *req, struct tf_span bytes)
{
	return tf_buf_addspan(&req->hosted->answer, bytes) == 0 ? 0 : TF_E_NOMEM;
}

bool
gw_hosted_waits(struct gw_req *req, const struct wire_end *m)
{
	struct gw_hosted *h = req->hosted;

	if (h == NULL)
		return false;
	if (m->outcome != WIRE_OUTCOME_SERVED || m->total != req->rx.next || h->answer.n == 0 || !h->image[h->n - 1].whole) {
		gw_hosted_fail(req, TF_E_UPSTREAM_ERROR);
		return true;
	}
	h->ended = true;
	h->end = *m;
	h->end.finish = h->end.code = h->end.message = h->end.param = h->end.worker = (struct tf_span){ 0 };
	req->worker = NULL; /* it may forget the attempt, and go */
	if (h->done == h->n)
		gw_hosted_finish(req);
	else
		gw_req_to(req, GW_S_KEEP);
	return true;
}

void
gw_hosted_abort(struct gw_req *req)
{
	struct wire_end end = req->hosted->end;

	/* they were made: that nobody waits for them does not make them cheaper */
	gw_hosted_free(req);
	gw_relay_kept(req, &end);
}

/* ---- fetching -------------------------------------------------------------------------------- */

static void
gw_hosted_got(struct gw_req *req, struct gw_stored *got)
{
	uint64_t max_age = (uint64_t)req->conf->c->stored.image_ttl / 1000;
	char type[GW_HOSTED_NAME];
	struct http_fields f;

	if (got->err != 0) {
		gw_req_fail(req, got->err, NULL, got->err == TF_E_NOT_FOUND ? "There is no such image, or not any more." : NULL, 0);
		return;
	}
	gw_req_fields(req, &f);
	http_fields_add(&f, "content-type", gw_hosted_text(got->type, type) ? type : "application/octet-stream");
	http_fields_addf(&f, "cache-control", "private, max-age=%llu, immutable", (unsigned long long)max_age);
	/* what a model made is no page of ours */
	http_fields_add(&f, "x-content-type-options", "nosniff");
	http_fields_add(&f, "content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox");
	gw_req_note(req, 200);
	(void)http_respond(req->http, 200, &f, got->bytes.p, got->bytes.n);
	gw_req_replied(req);
}

/* Forty hexadecimal digits and an extension. */
static bool
gw_hosted_name(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");

	return n == 40 && s[n] == '.' && strspn(s + n + 1, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(s + n + 1);
}

int
gw_op_hosted(struct gw_req *req)
{
	struct wire_get m = { .kind = WIRE_KIND_IMAGE };
	struct tf_buf name = { 0 };
	int err;

	if (req->rest == NULL || strlen(req->rest) >= GW_HOSTED_NAME || !gw_hosted_name(req->rest)) {
		gw_req_fail(req, TF_E_NOT_FOUND, NULL, "There is no such image, or not any more.", 0);
		return 0;
	}
	if (wire_rep_add(&name, WIRE_FN_GET_name, tf_cspan(req->rest)) != 0)
		return TF_E_SERVER_ERROR;
	m.name = wire_rep_of(&name, WIRE_FN_GET_name);
	err = gw_store_get(req, &m, gw_hosted_got);
	tf_buf_free(&name);
	if (err == 0)
		gw_req_to(req, GW_S_STORE);
	return err;
}
