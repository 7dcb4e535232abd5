/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd: an inference call from its body over its attempts to the last byte for the client. */
#ifndef GW_ATTEMPT_H
#define GW_ATTEMPT_H

#include "gatewayd/gw.h"

/* gw_infer.c: body, scan, validation, admission of an inference call */
void gw_infer_body(struct gw_req *req, bool whole);
/* It may run: nobody else does under its key, if it has one. */
void gw_infer_claimed(struct gw_req *req);
/* All that its worker has to know is here: it is admitted. */
void gw_infer_recalled(struct gw_req *req);
/* Answers a request for a prompt's tokens with our estimate: no runtime could tell. */
void gw_infer_estimate(struct gw_req *req);
/* All that it refers to is in its body; own: its own items, to be taken, NULL: they are what its input is. */
void gw_infer_resolved(struct gw_req *req, struct tf_buf *own);
void gw_infer_admitted(struct gw_req *req, int err, const char *message, uint64_t retry_after_s);

/* gw_attempt.c: dispatch, cancel, retry */
void gw_attempt_start(struct gw_req *req);
enum gw_blame {
	GW_BLAME_FINAL,    /* another attempt would end the same way */
	GW_BLAME_UPSTREAM, /* a worker or its runtime failed: another one, as far as retries allow */
	GW_BLAME_UNSEEN,   /* no worker had it: another one, as long as it may wait in the queue */
};
/* The attempt is over without an answer: another one, or the error for the client. end may be NULL. */
void gw_attempt_failed(struct gw_req *req, int err, enum gw_blame blame, const struct wire_end *end);
void gw_attempt_cancel(struct gw_req *req, enum wire_cancel_reason reason);
void gw_attempt_tick(struct gw_req *req, uint64_t now);
void gw_attempt_reject(struct gw_thread *t, const struct wire_frame *f, const struct wire_reject *m);
void gw_attempt_accept(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_accept *m);
void gw_attempt_pull(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_pull *m);
void gw_attempt_router_up(struct gw_thread *t);
void gw_attempt_router_down(struct gw_thread *t);
void gw_attempt_worker_down(struct gw_thread *t, struct wire_peer *p);
/* The client has left or was cut off: end the attempt, keep the account until END. */
void gw_attempt_orphan(struct gw_req *req, enum wire_cancel_reason reason);
/* Answers a frame of an attempt that is no more. */
void gw_attempt_stray(struct wire_peer *p, const struct wire_frame *f);

/* gw_relay.c: the answer on its way to the client */
#define GW_DROPPED "x-tf-dropped-params" /* header: request fields without effect */
void gw_relay_event(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_event *m);
void gw_relay_end(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_end *m);
void gw_relay_keep(struct gw_thread *t, struct wire_peer *p, const struct wire_frame *f, const struct wire_keep *m);
/* The answer is whole, and kept where its own API asks for it: keeps it for its key, then gw_relay_over. */
void gw_relay_kept(struct gw_req *req, const struct wire_end *m);
/* Settles it; its last bytes follow when that is recorded. held: those of them that nobody else has. */
void gw_relay_over(struct gw_req *req, const struct wire_end *m, struct tf_span held);
/* What the head of an answer says of its body. */
void gw_relay_fields(const struct gw_req *req, struct tf_span type, struct http_fields *f);
void gw_relay_recorded(struct gw_req *req); /* the request leaves SETTLE */
/* Bytes of the answer for the client, now; those that complete it go into req->held instead. As http_respond_write. */
int gw_relay_write(struct gw_req *req, struct tf_span bytes);
/* The whole answer, which was held, and its end. */
void gw_relay_hosted(struct gw_req *req, struct tf_span answer, const struct wire_end *m);
void gw_relay_drained(struct gw_req *req, size_t pending);
void gw_relay_tick(struct gw_req *req, uint64_t now);

#endif
