/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that was kept under an idempotency key, given once more: the bytes as they were, the id of the request
 * that they were made for, nothing charged. It is fetched in pieces, each when the client has taken the one before.
 */
#include "config.h"

#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_stored.h"

#define GW_REPLAY_PIECE (512u << 10) /* bytes; the head of the answer is in the first one */
#define GW_REPLAY_LOW (32u << 10)    /* unsent bytes below which the next piece is asked for */

static void gw_replay_got(struct gw_req *req, struct gw_stored *got);

static int
gw_replay_ask(struct gw_req *req)
{
	struct wire_get m = { .kind = WIRE_KIND_ANSWER, .offset = req->idem->at, .limit = GW_REPLAY_PIECE,
		.workspace = tf_span(req->key->workspace, sizeof req->key->workspace) };
	struct tf_buf names = { 0 };
	int err = wire_rep_add(&names, WIRE_FN_GET_name, tf_cspan(req->idem->name)) == 0 ? 0 : TF_E_SERVER_ERROR;

	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	if (err == 0)
		err = gw_store_get(req, &m, gw_replay_got);
	tf_buf_free(&names);
	return err;
}

/* Before a byte was given an error has a status; afterwards what was given cannot be mended. */
static void
gw_replay_fail(struct gw_req *req, int err)
{
	if (!req->begun) {
		gw_req_fail(req, err, NULL, NULL, 0);
		return;
	}
	tf_log(TF_ERROR, "replay", &req->id, "a kept answer breaks off code=%s", tf_err_row(err)->code);
	http_respond_abort(req->http);
	gw_req_replied(req);
}

static void
gw_replay_next(struct gw_req *req)
{
	int err = gw_replay_ask(req);

	if (err == 0)
		req->idem->again_at = 0;
	else if (req->begun && (err == TF_E_STORE_UNAVAILABLE || err == TF_E_OVERLOADED))
		req->idem->again_at = tf_mono_ms(); /* the tick tries again, for a while */
	else
		gw_replay_fail(req, err);
}

/* The front of the value: an HTTP message's head. Returns its length; 0: it is none. */
static size_t
gw_replay_begin(struct gw_req *req, const struct gw_stored *got)
{
	struct http_fields f;
	struct http_head h;
	struct tf_span dropped;
	ssize_t n;

	http_head_init(&h, true, &http_limits_response);
	n = http_head_parse(&h, got->bytes.p, got->bytes.n);
	if (n <= 0 || (uint64_t)n > got->total)
		return 0;
	dropped = http_head_find(&h, GW_DROPPED);
	if (dropped.n > 0 && req->dropped == NULL)
		req->dropped = tf_span_dup(dropped);
	gw_req_fields(req, &f);
	gw_relay_fields(req, http_head_get(&h, HTTP_H_CONTENT_TYPE), &f);
	http_fields_add(&f, "idempotent-replayed", "true");
	gw_req_body_drop(req);
	req->begun = true;
	gw_req_note(req, h.status);
	if (http_respond_begin(req->http, h.status, &f, h.has_length ? (int64_t)(got->total - (uint64_t)n) : HTTP_STREAM) != 0)
		return 0; /* on_abort follows */
	return (size_t)n;
}

/* It is gone since stored said that it was there: then the key is free. */
static void
gw_replay_lost(struct gw_req *req)
{
	struct gw_idem *i = req->idem;

	i->first = (struct tf_id){ { 0 } };
	if (i->lost)
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
	else
		gw_idem_claim(req);
	i->lost = true;
}

static void
gw_replay_got(struct gw_req *req, struct gw_stored *got)
{
	struct gw_idem *i = req->idem;
	size_t head = 0;

	if (got->err == TF_E_NOT_FOUND && !req->begun) {
		gw_replay_lost(req);
		return;
	}
	if (got->err != 0 && req->begun && got->err == TF_E_OVERLOADED) {
		i->again_at = tf_mono_ms();
		return;
	}
	if (got->err != 0 || got->offset != i->at || (got->bytes.n == 0 && i->at < got->total)) {
		gw_replay_fail(req, got->err != 0 ? got->err : TF_E_SERVER_ERROR);
		return;
	}
	if (!req->begun) {
		head = gw_replay_begin(req, got);
		if (head == 0) {
			if (!req->begun)
				gw_replay_fail(req, TF_E_SERVER_ERROR);
			return;
		}
	}
	tf_metric_add(TF_M_GW_BYTES_OUT, got->bytes.n - head);
	i->at += got->bytes.n;
	if (http_respond_write(req->http, got->bytes.p + head, got->bytes.n - head) != 0)
		return; /* on_abort follows */
	if (i->at < got->total)
		return; /* gw_replay_drained goes on */
	if (http_respond_end(req->http) == 0)
		gw_req_replied(req);
}

void
gw_replay(struct gw_req *req)
{
	req->idem->at = 0;
	gw_req_to(req, GW_S_REPLAY);
	gw_replay_next(req);
}

void
gw_replay_drained(struct gw_req *req, size_t pending)
{
	if (req->store == NULL && req->begun && req->idem->again_at == 0 && pending <= GW_REPLAY_LOW)
		gw_replay_next(req);
}

void
gw_replay_tick(struct gw_req *req, uint64_t now)
{
	struct gw_idem *i = req->idem;

	if (req->store != NULL || !req->begun)
		return;
	if (i->again_at == 0) {
		gw_replay_drained(req, http_req_pending(req->http));
	} else if (now - i->again_at >= GW_WAIT_MS) {
		gw_replay_fail(req, TF_E_STORE_UNAVAILABLE);
	} else if (gw_replay_ask(req) == 0) {
		i->again_at = 0;
	}
}
