/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored: what outlives a request. One loop thread does everything but the database. This is the
 * inside of the daemon: what its files give each other; tests include it too. main.c is
 * the only user outside.
 *
 *	store   what is kept (store.h); the loop only ever waits for callbacks
 *	peers   gateway threads: values that arrive in pieces, questions, answers (peers.c)
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
	size_t puts, asks;          /* operations under way; those that read */
	struct st_totals totals;    /* as last counted */
	bool counting, expiring;
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

/* peers.c */
struct wire_hooks st_peers_hooks(struct st *st);
void st_peers_init(struct st *st);
void st_peers_tick(struct st *st, uint64_t mono_ms);
void st_peers_free(struct st *st);
/* How long a kind is kept, in ms; 0: it is no kind that is kept. */
uint64_t st_kind_ttl(const struct conf_stored *c, unsigned kind);

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
