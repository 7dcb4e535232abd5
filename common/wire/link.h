/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hub and dial share: peers, their queues towards ZeroMQ, liveness, and the check of
 * every received frame. Private to common/wire.
 *
 * Nothing calls a down hook from inside a daemon's own call (wire_send, wire_drop): such a
 * peer is doomed, and goes at the end of the turn. After any hook a link may be dead (its
 * memory lasts until the end of the turn), so callers look at link->dead.
 */
#ifndef TF_WIRE_LINK_H
#define TF_WIRE_LINK_H

#include "common/event/event.h"
#include "common/wire/codec.h"

#define WIRE_JOIN_MAX (256u << 10)    /* a message takes no further frame beyond this */
#define WIRE_COPY_MAX 1024u           /* messages up to here are copied into ZeroMQ */
#define WIRE_LAZY_US 2000u            /* longest a lazy frame waits, unless wire_self says */
#define WIRE_FULL_US 5000u            /* pause when ZeroMQ takes no more for a peer */
#define WIRE_HELLO_MS 100u            /* between two HELLOs until an answer */
#define WIRE_UNSENT_MS 20u            /* until HELLO is tried again when it did not get out */
#define WIRE_CALM_MS 1000u            /* one loss in this time is answered with HELLO at once */
#define WIRE_REFUSED_MS 3000u         /* pause after REFUSE */
#define WIRE_HELLO_TRIES 50u          /* unanswered HELLOs, then a new socket */
#define WIRE_LINGER_MS 200            /* for BYE */
#define WIRE_RESYNC_BURST 64u         /* RESYNCs a hub sends in one tick */

struct peer;
struct link;

struct link_ops {
	/* Where its messages go: routing id, or empty on a dial. */
	struct tf_span (*address)(struct peer *p);
	/* Ends the session: unlinks, tells the daemon, frees later. resync: ask for a new one. */
	void (*lost)(struct peer *p, const char *why, bool resync);
};

struct link {
	struct ev_loop *loop;
	struct ev_zctx *ctx;
	struct ev_zsock *sock;
	struct wire_self self; /* strings owned */
	char *endpoint;        /* owned: what we bind or connect */
	struct wire_hooks hooks;
	const struct link_ops *ops;
	struct ev_turn turn;   /* flushes prompt, buries doomed */
	struct ev_timer tick;  /* half a heartbeat */
	struct ev_timer lazy_timer, full_timer;
	struct tf_list prompt, lazy, full; /* peers by enum peer_out */
	struct tf_list doomed;
	struct tf_list peers; /* in session */
	uint64_t key_change;
	bool dead;
};

/* Where the peer's output stands; each but IDLE is a list of the link. */
enum peer_out {
	OUT_IDLE,   /* nothing queued */
	OUT_LAZY,   /* link->lazy: goes when the lazy timer fires */
	OUT_PROMPT, /* link->prompt: goes at the end of the turn */
	OUT_FULL,   /* link->full: ZeroMQ took no more */
};

struct chunk { /* becomes one ZeroMQ message */
	struct tf_node node;
	struct tf_buf b;
};

struct peer {
	struct wire_peer pub; /* first: wire_peer and peer are one address */
	struct link *link;
	struct tf_node node;     /* link->peers */
	struct tf_node out_node; /* by out */
	struct tf_node doom_node;
	enum peer_out out;
	struct tf_list chunks;
	size_t backlog; /* bytes in chunks */
	uint64_t session;
	uint64_t prev_boot; /* of the one it displaced, 0 none */
	uint16_t tx_seq, rx_seq;
	unsigned idle_ticks;   /* ticks since we sent anything */
	unsigned silent_ticks; /* ticks since we heard anything */
	unsigned dead_ticks;   /* silent_ticks that mean death */
	bool down;             /* takes no more frames in either direction */
	bool resync;           /* doomed: ask for a new session */
	char why[160];         /* doomed: reason */
	char *name, *endpoint, *build; /* owned */
	size_t rid_len;
	char rid[EV_ZID_MAX];
};

static inline struct peer *
peer_of(struct wire_peer *p)
{
	return (struct peer *)(void *)p;
}

/* ---- link.c ------------------------------------------------------------------------------- */

bool wire_name_ok(struct tf_span name);
int link_init(struct link *l, struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const struct wire_hooks *hooks, const char *endpoint);
/* Stops timers, closes the socket, frees what it owns but not l. Peers must be gone. */
void link_fini(struct link *l);
/* What a peer says of itself: from HELLO or WELCOME. Spans are copied. */
struct peer_facts {
	struct tf_span name, build, endpoint;
	uint64_t role, boot, epoch, session, heartbeat_ms, key_change;
	unsigned major, minor;
};
/* Returns new, in session, no hook called yet; NULL without memory. */
struct peer *link_peer_new(struct link *l, const struct peer_facts *facts);
/* Takes back link_peer_new. The daemon has not seen it. */
void link_peer_discard(struct peer *p);
/* Takes it out of every list, calls down with why, frees it at the end of the turn. */
void link_peer_gone(struct peer *p, const char *why);
/* A frame of a session; counts and ends the session when it breaks the protocol. */
void link_frame(struct peer *p, struct wire_frame *f);
/* Marks a peer for burial at the end of the turn. */
void link_doom(struct peer *p, const char *why, bool resync);
/* Sends one frame outside any session. */
int link_send_raw(struct link *l, struct tf_span to, enum wire_verb verb, const void *m);
void link_trace(const char *from, const char *to, const struct wire_frame *f);
void link_bad_frame(const struct link *l, const char *from, const char *why);

/* ---- out.c -------------------------------------------------------------------------------- */

void out_state(struct peer *p, enum peer_out to);
/* Drops what is queued. */
void out_clear(struct peer *p);
/* Gives ZeroMQ what it takes. */
void out_flush(struct peer *p);
void out_lazy_due(void *link);
void out_full_due(void *link);

#endif
