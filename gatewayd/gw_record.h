/* SPDX-License-Identifier: Apache-2.0 */
/* gatewayd: what is written down of attempts, and told to billingd. */
#ifndef GW_RECORD_H
#define GW_RECORD_H

#include "gatewayd/gw.h"

/* gw_spool.c: what attempts begin, reach and end, written down */
void gw_spool_init(struct gw_thread *t);
int gw_spool_open(struct gw_thread *t) TF_MUSTCHECK; /* logs why not */
/* No loop and no keeper runs any more. */
void gw_spool_close(struct gw_thread *t);
/* Is there room for another attempt, or does the operator do without? */
bool gw_spool_may(struct gw_req *req);
/* The attempt that begins: 0; TF_E_FULL and others: it must not. */
int gw_spool_begin(struct gw_req *req) TF_MUSTCHECK;
void gw_spool_end(struct gw_req *req, const struct wire_usage *m);
void gw_spool_progress(struct gw_req *req); /* bytes of its answer go to the client now */
void gw_spool_flush(struct gw_thread *t); /* now, not at the end of the turn */
void gw_spool_synced(struct gw_thread *t, uint64_t ticket);
void gw_spool_tick(struct gw_thread *t, uint64_t now);

/* gw_keeper.c: the thread that serves the spool; new before the threads, stop when they have ended */
int gw_keeper_new(struct gw *gw) TF_MUSTCHECK;
int gw_keeper_start(struct gw *gw) TF_MUSTCHECK;
void gw_keeper_reload(struct gw *gw);
void gw_keeper_stop(struct gw *gw);
void gw_keeper_free(struct gw *gw);
void gw_keeper_want(struct gw_thread *t); /* a segment, if one is wanted */
/* What was written so far; ticket 0: nobody waits, else gw_spool_synced follows. */
void gw_keeper_sync(struct gw_thread *t, uint64_t ticket);
void gw_keeper_done(struct gw_thread *t, struct sp_seg *seg); /* takes it */
void gw_keeper_settled(struct gw_thread *t, struct sp_left *left); /* takes it */

/* gw_left.c: what those who died left; in the first thread */
int gw_left_new(struct gw_thread *t) TF_MUSTCHECK;
void gw_left_free(struct gw_thread *t);
void gw_left_start(struct gw_thread *t, struct sp_left *left); /* takes it */
void gw_left_former(struct gw_thread *t, const char *name, uint64_t boot);
void gw_left_ack(struct gw_thread *t, const struct wire_usage_ack *m);
void gw_left_link_up(struct gw_thread *t);
void gw_left_tick(struct gw_thread *t, uint64_t now);

/* gw_settle.c: usage records */
uint64_t gw_settle_prompt(const struct gw_req *req); /* tokens of the prompt, when nobody counted them */
void gw_settle_facts(const struct gw_req *req, struct wire_usage *m); /* what is known when it begins */
/* Settles the attempt that runs, once: nothing when none does. end may be NULL: nobody told us. */
void gw_settle(struct gw_req *req, enum wire_outcome outcome, const struct wire_end *end, int err, bool keep_reservation);
void gw_settle_ack(struct gw_thread *t, const struct wire_usage_ack *m);
/* The client's connection has taken the whole answer, or never will. */
void gw_settle_given(struct gw_req *req, bool delivered);
void gw_settle_pump(struct gw_thread *t); /* tells billingd what is due */
void gw_settle_resend(struct gw_thread *t);
void gw_settle_tick(struct gw_thread *t, uint64_t now);

#endif
