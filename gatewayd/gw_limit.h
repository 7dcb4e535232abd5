/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd: what a request needs of the limits, how it gets that from billingd, and what clients are told. */
#ifndef GW_LIMIT_H
#define GW_LIMIT_H

#include "gatewayd/gw.h"

/* gw_need.c: upper bounds of what a call needs */
#define GW_TRANCHE 1024u /* output tokens reserved at a time when no cap says more */
/* Tokens of the longest answer that a model gives; 0: unknown. */
static inline uint64_t
gw_most_output(const struct conf_model *m)
{
	return (uint64_t)(m->max_output ? m->max_output : m->context);
}
/* Sets req->need and its parts; req->price is taken. */
void gw_need(struct gw_req *req);
/* Is less reserved than the answer may take, to be extended while it is generated? */
bool gw_need_partial(const struct gw_req *req);
/* What so many more output tokens need. */
struct gw_amount gw_need_output(const struct gw_req *req, uint64_t tokens);
/* As much of so many more output tokens as fits into what is left. */
uint64_t gw_need_fit(const struct gw_req *req, uint64_t output, uint64_t tokens, uint64_t money);
/* It asked for no cap and limits are short: a piece of output, to be extended, instead of all. True if that is less. */
bool gw_need_modest(struct gw_req *req);
/* As much output as fits into what is left, if that is less than what it needs now but some. Then true. */
bool gw_need_shrink(struct gw_req *req, uint64_t tokens, uint64_t money);

/* gw_admit.c: requests and the limits */
/* 0: admitted; TF_E_AGAIN: it waits; positive: refused (answered by the caller). */
int gw_admit(struct gw_req *req);
/*
 * gw_weigh.c: calls that generate nothing. 0: it may go on; TF_E_AGAIN: it waits for room, and gw_weighed runs its
 * operation or answers the refusal; positive: refused (answered by the caller).
 */
int gw_weigh(struct gw_req *req);
void gw_weighed(struct gw_req *req, int err, const char *message, uint64_t retry_after_s);
/* While it streams: reserves more output when what is reserved runs out. */
void gw_admit_extend(struct gw_req *req);
void gw_admit_reserved(const struct gw_req *req, struct wire_usage *m); /* what it holds now, into a record */
/*
 * The attempt of record seq is over and its reservation with it: moves that into the record, which returns it to
 * billingd. used: tokens.
 */
void gw_admit_settle(struct gw_req *req, uint64_t used, struct wire_usage *m);
void gw_admit_settled(struct gw_thread *t, uint64_t seq); /* billingd has counted all records up to it */
void gw_admit_settling_free(struct gw_thread *t);
void gw_admit_leave(struct gw_req *req); /* stops waiting */
void gw_admit_refuse(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant_refuse *m);
/* Lets in those who fit, in order; asks for the first that does not. */
void gw_admit_pump(struct gw_thread *t, struct gw_key *k);
void gw_admit_key_tick(struct gw_thread *t, struct gw_key *k, uint64_t now);
/* After a hello: a new billingd is told what we hold; it knows of no grant. */
void gw_admit_declare(struct gw_thread *t);

/* gw_grant.c: what billingd hands us */
/* least: what helps. Does nothing while a question is open or billingd is away. */
void gw_grant_ask(struct gw_thread *t, struct gw_key *k, const struct gw_amount *least);
void gw_grant_ask_forget(struct gw_thread *t, struct gw_key *k);
/* Asks before it runs out: the hot path never waits for billingd. */
void gw_grant_ahead(struct gw_thread *t, struct gw_key *k, uint64_t now);
/* Moves need from the key's grants, the oldest first, to the reservation of a request. False: there is not enough. */
bool gw_grant_take(struct gw_req *req, const struct gw_amount *need, uint64_t now);
/* The key whose question is answered by this frame, which is not open any more; NULL. */
struct gw_key *gw_grant_answered(struct gw_thread *t, const struct wire_frame *f);
void gw_grant_come(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant *m);
void gw_grant_told(struct gw_key *k, const struct wire_grant_refuse *m); /* what a refusal says of the windows */
void gw_grant_recall(struct gw_thread *t, const struct wire_grant_recall *m);
void gw_grant_key_tick(struct gw_thread *t, struct gw_key *k, uint64_t now);
void gw_grant_void(struct gw_thread *t); /* all of them: the billingd that gave them is no more */
void gw_grant_return_all(struct gw_thread *t); /* before we leave: nothing unused stays booked */
void gw_grant_key_free(struct gw_key *k);
/* Joins the key to the record of that workspace, made when needed. 0 or TF_E_NOMEM, then k->space is NULL. */
int gw_space_join(struct gw_thread *t, struct gw_key *k, const uint8_t id[static 16]);
void gw_space_leave(struct gw_thread *t, struct gw_key *k);

/* Wall clock second of a moment that is so many ms away; 0: unknown. */
static inline int64_t
gw_reset_second(uint64_t ms)
{
	return ms == 0 ? 0 : (tf_wall_ns() / 1000000 + (int64_t)ms + 999) / 1000;
}

/* What a GRANT, a GRANT_REFUSE or a KEY says of each window: those fields have the same names in all three. */
#define GW_TOLD(m, WINDOW, REQUESTS, TOKENS, RESET) \
	((struct gw_told){ (WINDOW), (REQUESTS), (TOKENS), gw_reset_second(RESET), (m)->alone, (m)->returned })
#define GW_TOLD_MINUTE(m) GW_TOLD(m, (m)->window, (m)->remaining, (m)->tokens_left, (m)->reset_ms)
#define GW_TOLD_KEY(m) GW_TOLD(m, (m)->window_key, (m)->key_remaining, (m)->key_tokens_left, (m)->key_reset_ms)
#define GW_TOLD_BUDGET(m) GW_TOLD(m, (m)->window_budget, 0, (m)->budget, (m)->budget_reset_ms)

/* gw_limits.c: req->key is known, with its workspace */
void gw_limits_fields(const struct gw_req *req, struct http_fields *f);
/* What an answer to KEY_ASK says of the windows. */
void gw_limits_key(struct gw_thread *t, struct gw_key *k, const struct wire_key *m);
/* A billingd is here, or the board could not be read so far. */
void gw_limits_board(struct gw_thread *t);

/* gw_price.c */
_Static_assert(TF_NO_PRICE == CONF_NO_AMOUNT, "an option that is not set is no price");
/* Sets req->price, which admission bounds money by; req->model is known and the scan is there. */
void gw_price_take(struct gw_req *req);
/* Puts the prices into a record. */
void gw_price_usage(const struct gw_req *req, struct wire_usage *m);

#endif
