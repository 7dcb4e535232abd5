/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd: what stored is asked for, and the answers, keys and images that it keeps. */
#ifndef GW_STORED_H
#define GW_STORED_H

#include "gatewayd/gw.h"

/* gw_store.c: what is asked of stored */
struct gw_stored {
	int err;                /* 0, or a positive TF_E_* */
	struct tf_span message, param; /* of a refusal; borrowed for the call */
	struct tf_span type;    /* content type; borrowed for the call, empty after pieces */
	uint64_t offset, total; /* of bytes in the whole value, and its length */
	struct tf_buf bytes;    /* may be taken; of a put the value that it took */
	const struct wire_claimed *claimed; /* of a claim, when err is 0 */
};
/* The wait is over; the request is in the state that it waited in. */
typedef void gw_store_fn(struct gw_req *req, struct gw_stored *got);
bool gw_store_here(const struct gw_thread *t);
/*
 * Each asks for req, which has no other question open; fn runs later, once, unless gw_store_leave comes
 * first. Another code than 0: nothing was asked (TF_E_STORE_UNAVAILABLE, TF_E_OVERLOADED, TF_E_SERVER_ERROR). The
 * caller moves req to STORE or KEEP. put takes the bytes of value when it returns 0; m names kind, name, ttl_ms and content_type.
 */
int gw_store_get(struct gw_req *req, const struct wire_get *m, gw_store_fn *fn) TF_MUSTCHECK;
int gw_store_drop(struct gw_req *req, const struct wire_drop *m, gw_store_fn *fn) TF_MUSTCHECK;
int gw_store_put(struct gw_req *req, const struct wire_put *m, struct tf_buf *value, gw_store_fn *fn) TF_MUSTCHECK;
/* id: set to the claim's. */
int gw_store_claim(struct gw_req *req, const struct wire_claim *m, gw_store_fn *fn, struct tf_id *id) TF_MUSTCHECK;
/* The request does not wait any more. */
void gw_store_leave(struct gw_req *req);
void gw_store_done(struct gw_thread *t, const struct wire_frame *f, const struct wire_put_done *m);
void gw_store_value(struct gw_thread *t, const struct wire_frame *f, const struct wire_value *m);
void gw_store_claimed(struct gw_thread *t, const struct wire_frame *f, const struct wire_claimed *m);
void gw_store_link_up(struct gw_thread *t);
void gw_store_link_down(struct gw_thread *t);
void gw_store_tick(struct gw_thread *t, uint64_t now);

/* gw_resolve.c: what a call refers to */
struct gw_resolve {
	struct tf_buf history; /* items of what it continues, a JSON array; empty: none */
};
bool gw_resolve_needed(const struct gw_req *req);
/* Goes on with gw_infer_resolved, or answers the refusal. */
void gw_resolve(struct gw_req *req);
void gw_resolve_free(struct gw_req *req);

/* gw_keep.c: answers that are kept */
struct gw_ended { /* an END that is looked at later */
	struct wire_end end;
	char finish[32]; /* all of its texts that are kept */
};
void gw_end_copy(struct gw_ended *to, const struct wire_end *m);
/* Before admission: shall it be kept, and can it? own as of gw_infer_resolved. 0, or what to refuse it with. */
int gw_keep_begin(struct gw_req *req, struct tf_buf *own);
void gw_keep_free(struct gw_req *req);
/* Another attempt begins. */
void gw_keep_again(struct gw_req *req);
/* Are the bytes of the answer held? Then hold takes them: 0 or TF_E_NOMEM. */
bool gw_keep_holds(const struct gw_req *req);
int gw_keep_hold(struct gw_req *req, struct tf_span bytes, bool boundary);
void gw_keep_piece(struct gw_req *req, const struct wire_frame *f, const struct wire_keep *m);
/* END has come. True: the request waits in KEEP, and gw_relay_kept follows. */
bool gw_keep_waits(struct gw_req *req, const struct wire_end *m);
/* Gives the bytes that were held; as http_respond_write. */
int gw_keep_finish(struct gw_req *req);

/* gw_idem.c: requests with an Idempotency-Key; the functions do nothing for those without */
#define GW_IDEM_NAME 64 /* hexadecimal digits */
enum gw_idem_step {
	GW_IDEM_NEW,   /* its body is read */
	GW_IDEM_ASKED, /* stored may have let it run */
	GW_IDEM_OWNED, /* it runs, and its answer is taken down */
	GW_IDEM_PUTS,  /* the answer is on its way to stored: waits in the state KEEP */
	GW_IDEM_OVER,  /* the answer is kept, the key was given back, or it never was ours */
};
struct gw_idem {
	enum gw_idem_step step;
	char name[GW_IDEM_NAME + 1]; /* of the answer */
	struct tf_hash *hash;        /* of the body, as far as `hashed` */
	size_t hashed;
	uint8_t body[TF_SHA256];
	struct tf_id claim;
	struct tf_id first;          /* a replay: the id of the request that was answered; else zero */
	struct tf_buf answer;        /* an HTTP message, so far */
	size_t given;                /* bytes of it that are not held */
	bool holds;                  /* from here on all are */
	bool boundary;               /* it ends between two events */
	struct gw_ended end;
	uint64_t at;                 /* a replay: bytes of the message fetched */
	uint64_t again_at;           /* tf_mono_ms: since then stored gives nothing; 0: it does */
	bool lost;                   /* the answer was gone once */
};
/* Behind the head. Another code than 0: it was answered. */
int gw_idem_begin(struct gw_req *req);
/* The body so far, from its first byte; whole: all of it. */
void gw_idem_body(struct gw_req *req, struct tf_span body, bool whole);
/* Asks stored; gw_infer_claimed goes on, or the request is answered. Needs req->idem. */
void gw_idem_claim(struct gw_req *req);
/* It will not end with an answer that is kept. */
void gw_idem_release(struct gw_req *req);
bool gw_idem_released(struct gw_thread *t, struct tf_id id);
void gw_idem_free(struct gw_req *req);
/* Another attempt begins. */
void gw_idem_again(struct gw_req *req);
/* Are the bytes of the answer taken down? Then take does; held: they are not to be given now. As http_respond_write. */
bool gw_idem_takes(const struct gw_req *req);
int gw_idem_take(struct gw_req *req, const struct wire_event *m, struct tf_span bytes, bool *held);
/* The answer is whole. True: gw_relay_over follows, or came. */
bool gw_idem_waits(struct gw_req *req, const struct wire_end *m);
void gw_idem_link_up(struct gw_thread *t);
void gw_idem_thread_free(struct gw_thread *t);

/* gw_recall.c: reasoning that runtimes want back with the calls that it led to */
/* True: it is being fetched, and gw_infer_recalled goes on. */
bool gw_recall(struct gw_req *req);
/* What goes to the worker; empty: nothing. */
struct tf_span gw_recall_back(const struct gw_req *req);
void gw_recall_piece(struct gw_req *req, const struct wire_frame *f, const struct wire_keep *m);
void gw_recall_free(struct gw_req *req);
/* Another attempt begins. */
void gw_recall_again(struct gw_req *req);
/* Are the bytes of the answer held? Then hold takes them: 0 or TF_E_NOMEM. */
bool gw_recall_holds(const struct gw_req *req);
int gw_recall_hold(struct gw_req *req, struct tf_span bytes, bool boundary);
/* The answer is whole. True: the request waits in KEEP, and gw_relay_over follows. */
bool gw_recall_waits(struct gw_req *req, const struct wire_end *m);
/* stored has what was put under that id, or does not take it. */
void gw_recall_stored(struct gw_thread *t, struct tf_id id);
void gw_recall_tick(struct gw_req *req, uint64_t now);
/* The client left. True: it waited here, and is done. */
bool gw_recall_abort(struct gw_req *req);

/* gw_replay.c: req->idem names an answer */
void gw_replay(struct gw_req *req);
void gw_replay_drained(struct gw_req *req, size_t pending);
void gw_replay_tick(struct gw_req *req, uint64_t now);

/* gw_hosted.c: images that answers name by address */
void gw_hosted_piece(struct gw_req *req, const struct wire_frame *f, const struct wire_keep *m);
/* While req->hosted is there the bytes of the answer are held. 0 or TF_E_NOMEM. */
int gw_hosted_hold(struct gw_req *req, struct tf_span bytes);
/* END has come. True: it is taken care of. */
bool gw_hosted_waits(struct gw_req *req, const struct wire_end *m);
void gw_hosted_abort(struct gw_req *req); /* the client left while it waited for stored */
void gw_hosted_free(struct gw_req *req);

#endif
