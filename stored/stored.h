/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored: what outlives a request. One loop thread does everything but the database. This is the
 * inside of the daemon: what its files give each other; tests include it too. main.c is
 * the only user outside.
 *
 *	store   what is kept (store.h); the loop only ever waits for callbacks
 *	peers   gateway threads, and values that arrive in pieces (peers.c)
 *	asks    questions, and answers that leave in pieces (asks.c)
 *	claims  who runs a request with an idempotency key (claims.c)
 *	ctl     the operator's commands (control.c)
 */
#ifndef ST_STORED_H
#define ST_STORED_H

#include "common/conf/conf.h"
#include "common/ctl/ctl.h"
#include "common/event/event.h"
#include "common/wire/wire.h"
#include "stored/store.h"

#define ST_TICK_MS 500
#define ST_EXPIRE_STEP 200     /* rows of each sort that one step removes */
#define ST_EXPIRE_BYTES (32u << 20) /* of responses in one step */
#define ST_EXPIRE_PAUSE_MS 50  /* between two steps while there is more */
#define ST_EXPIRE_MS 5000      /* between two looks */
#define ST_ARRIVE_MS 30000     /* silence after which the pieces of a value are given up */
#define ST_ASKS_MAX 4096       /* questions under way */
#define ST_READS_MAX 8         /* of them at once in the store, and ... */
#define ST_ANSWERS_MAX (64u << 20) /* ... none while so many bytes of answers wait to be sent */
#define ST_AHEAD (8u << 20)    /* bytes of answers given to a link at once */
#define ST_PUSH_MS 2

struct st {
	struct ev_loop *loop;
	struct ev_zctx *zctx;
	const struct conf *conf;    /* borrowed; replaced by st_reload */
	char *blob_dir;             /* as it was at the start: operations under way point at it */
	struct db_store *store;
	struct wire_hub *hub;
	struct tf_list gateways;    /* st_gateway */
	struct tf_map arriving;     /* st_arrival by gateway and frame id */
	uint64_t held;              /* bytes of values that arrive or are being stored */
	size_t puts, asks;          /* changes under way; questions, from their arrival to the last byte of the answer */
	struct tf_list waiting;     /* st_ask: questions that the store was not asked yet */
	size_t reading;             /* questions that it was asked */
	uint64_t answered;          /* bytes of answers that are not all sent */
	struct ev_timer push;
	struct tf_list gone;        /* claims.c: gateways that left a moment ago */
	uint64_t began_mono;        /* tf_mono_ms */
	struct st_totals totals;    /* as last counted */
	bool counting, expiring;
	bool copying;               /* a copy is being made or checked */
	struct ev_timer tick, expire;
	void (*drained)(void *arg);
	void *drained_arg;
	bool loaded, failed, closing;
	bool trouble;               /* the last change was not stored for want of disk */
};

static inline int64_t
st_wall_ms(void)
{
	return tf_wall_ns() / 1000000;
}

/* One start of a gateway thread, as long as it is in session or work names it. */
struct st_gateway {
	struct tf_node node;     /* st.gateways */
	struct st *st;
	struct wire_peer *peer;  /* NULL: not in session */
	struct tf_list arriving; /* values of which pieces are missing */
	struct tf_list answers;  /* st_ask: answers that are not all sent */
	size_t refs;             /* operations under way, and answers */
};

/* peers.c */
void st_gateway_unref(struct st_gateway *g);
/* Says that it is durable (err 0), or why not. */
void st_say_done(struct st_gateway *g, const struct tf_id *id, int err, const char *message);
/* What an error of the store is to the caller. */
int st_err_of(int rc);
struct wire_hooks st_peers_hooks(struct st *st);
void st_peers_init(struct st *st);
void st_peers_tick(struct st *st, uint64_t mono_ms);
void st_peers_free(struct st *st);
/* How long a kind is kept, in ms; 0: it is no kind that is kept. */
uint64_t st_kind_ttl(const struct conf_stored *c, unsigned kind);

/* asks.c */
void st_asks_init(struct st *st);
void st_asks_get(struct st_gateway *g, const struct wire_frame *f, const struct wire_get *m);
void st_asks_drop(struct st_gateway *g, const struct wire_frame *f, const struct wire_drop *m);
/* Its session is over: what waits for it is dropped. */
void st_asks_gone(struct st_gateway *g);

/* claims.c */
void st_claims_init(struct st *st);
void st_claims_claim(struct st_gateway *g, const struct wire_frame *f, const struct wire_claim *m);
void st_claims_release(struct st_gateway *g, const struct wire_frame *f, const struct wire_release *m);
/* The session of that peer is over. */
void st_claims_gone(struct st_gateway *g, const struct wire_peer *p);
void st_claims_tick(struct st *st, uint64_t mono_ms);
void st_claims_free(struct st *st);

/* stored.c */
/* Makes the store and the blob directory, and listens at RUN_DIR/stored.sock. Errors have been logged. */
int st_new(struct ev_loop *loop, const struct conf *conf, struct st **out);
/* The loop may still hold posts to it: it must not run any more. */
void st_free(struct st **st);
void st_reload(struct st *st, const struct conf *conf);
/* Calls drained when everything that was taken is durable and acknowledged. */
void st_drain(struct st *st, void (*drained)(void *arg), void *arg);
/* Something under way has ended: is a drain over with it? */
void st_check_drained(struct st *st);
/* A change came back from the store. */
void st_note(struct st *st, int rc);
int st_main(int argc, char **argv);

/* control.c */
extern const struct ctl_cmd st_cmds[];
extern const size_t st_n_cmds;

#endif
