/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/event: the event loop and ZeroMQ inside it. The only place that calls libevent's
 * core and the only one with zmq_* (common/http may include bufferevent headers). Knows
 * nothing of frames, HTTP or configuration.
 *
 * One loop belongs to one thread. Nothing here but ev_post may be called from another one.
 *
 * A turn: wait, run what became ready (fds, timers, signals, posts, messages), then the END
 * OF THE TURN: armed turn hooks, then what was given to ev_free_later. So a hook sees the
 * work of a whole turn at once, and a callback may drop an object that its caller still uses.
 * The loop never sleeps while a hook, a free or a message waits.
 */
#ifndef TF_EVENT_H
#define TF_EVENT_H

#include <signal.h>
#include <sys/types.h>

#include "common/base/base.h"

struct event_base;
struct ev_loop;

/* ---- loop --------------------------------------------------------------------------------- */

/* Returns new; NULL without memory or without epoll. Ignores libevent's environment variables. */
struct ev_loop *ev_loop_new(void);
/*
 * Frees *loop and clears it. What was posted but has not run is dropped; what was given to
 * ev_free_later is freed. Timers, fds, signals and sockets must be gone before.
 */
void ev_loop_free(struct ev_loop **loop);
/* Runs until ev_loop_stop. 0, or TF_E_IO when the kernel refuses to poll. */
int ev_loop_run(struct ev_loop *loop);
/* One turn; waits for something to do when wait is true. For tests and for those with an own loop around. */
int ev_loop_once(struct ev_loop *loop, bool wait);
/* Ends ev_loop_run after this turn; its end (hooks, frees) still happens. */
void ev_loop_stop(struct ev_loop *loop);
/* For common/http only. */
struct event_base *ev_loop_base(struct ev_loop *loop);

/* Runs fn(arg) in the loop's thread, in order. The only thread-safe call. 0 or TF_E_NOMEM. */
int ev_post(struct ev_loop *loop, void (*fn)(void *arg), void *arg) TF_MUSTCHECK;

/* ---- end of turn -------------------------------------------------------------------------- */

/* Embedded. One shot: armed, its cb runs once at the end of this turn. */
struct ev_turn {
	struct tf_node node;
	void (*cb)(void *arg);
	void *arg;
};
void ev_turn_init(struct ev_turn *t, void (*cb)(void *arg), void *arg);
/*
 * Nothing when armed already. Armed by another hook: runs in the same flush, up to a few
 * passes; what is armed beyond those runs at the end of the next turn, which does not sleep.
 */
void ev_turn_arm(struct ev_loop *loop, struct ev_turn *t);
void ev_turn_disarm(struct ev_loop *loop, struct ev_turn *t);
static inline bool
ev_turn_armed(const struct ev_turn *t)
{
	return tf_node_linked(&t->node);
}

/* free_fn(ptr) runs after the hooks of this turn. Takes ptr. */
void ev_free_later(struct ev_loop *loop, void *ptr, void (*free_fn)(void *ptr));

/* ---- timers ------------------------------------------------------------------------------- */

#define EV_OPAQUE 20 /* 64-bit words: room for one libevent event and what we keep beside it */

/*
 * Embedded; one shot; no allocation. Setting a pending timer to a later time costs a store
 * and a reading of the clock, so an idle timer may be set on every byte. Never early, late by
 * some 0.1 ms plus what the turn takes. Runs on the real monotonic clock: tf_clock_shift does not move it.
 */
struct ev_timer {
	uint64_t opaque[EV_OPAQUE];
};
void ev_timer_init(struct ev_timer *t, struct ev_loop *loop, void (*cb)(void *arg), void *arg);
/* From now; sets anew when pending. 0 fires in the next turn. */
void ev_timer_set(struct ev_timer *t, uint64_t ms);
void ev_timer_set_us(struct ev_timer *t, uint64_t us);
/* Harmless when not pending, and on a timer of all zero bytes that was never initialised. */
void ev_timer_del(struct ev_timer *t);
bool ev_timer_pending(const struct ev_timer *t);

/* ---- fds ---------------------------------------------------------------------------------- */

enum {
	EV_FD_READ = 1,
	EV_FD_WRITE = 2,
	EV_FD_CLOSED = 4, /* the peer shut down its side; seen without reading */
};

/* Embedded; level triggered; borrows fd. cb's what: EV_FD_* bits that are ready. */
struct ev_fd {
	uint64_t opaque[EV_OPAQUE];
};
void ev_fd_init(struct ev_fd *f, struct ev_loop *loop, int fd, void (*cb)(struct ev_fd *f, int what, void *arg),
    void *arg);
/* Watches exactly these bits; 0 stops. Must be stopped before the fd is closed. 0 or TF_E_IO. */
int ev_fd_watch(struct ev_fd *f, int what);
int ev_fd_get(const struct ev_fd *f);

/* ---- signals and children ----------------------------------------------------------------- */

/* Embedded. Signals are handled by one loop of the process only. */
struct ev_signal {
	uint64_t opaque[EV_OPAQUE];
};
/* 0 or TF_E_IO. cb runs in the loop, never in a signal handler. */
int ev_signal_add(struct ev_signal *s, struct ev_loop *loop, int signo, void (*cb)(int signo, void *arg), void *arg);
/* Harmless when not added and all zero. The disposition before the add comes back. */
void ev_signal_del(struct ev_signal *s);

/*
 * Embedded: waits for the end of our own child. cb runs once with the status of
 * waitpid(2); the child is reaped by then. Also right for a child that has ended already.
 * Nobody else may wait for that pid. Same loop rule as signals.
 */
struct ev_child {
	struct tf_node node;
	struct ev_loop *loop;
	pid_t pid;
	void (*cb)(struct ev_child *c, int status, void *arg);
	void *arg;
};
int ev_child_add(struct ev_child *c, struct ev_loop *loop, pid_t pid,
    void (*cb)(struct ev_child *c, int status, void *arg), void *arg) TF_MUSTCHECK;
/* Forgets the child without reaping it; harmless when it was reported. */
void ev_child_del(struct ev_child *c);

/* ---- ZeroMQ ------------------------------------------------------------------------------- */

/*
 * A message is exactly one payload frame, with the peer's routing id in front of it on a
 * ROUTER. Whatever else arrives is counted (WIRE_BAD_FRAMES) and dropped. A message is
 * delivered whole or not at all, in order per link; ZeroMQ loses messages without a word
 * when a link breaks, so the layer above numbers what must not be lost.
 */
struct ev_zctx;  /* one per process */
struct ev_zsock; /* one ROUTER or DEALER in one loop */
struct ev_zmsg;  /* a received payload; reference counted, not for several threads */

#define EV_ZID_MAX 255 /* bytes of a routing id; the first one is never 0 */

/*
 * A new connection with the routing id of a known peer takes the id over on a ROUTER: a peer whose
 * link broke is not shut out until we notice. On ipc the directory's mode says who can do that.
 */

enum ev_ztype { EV_ROUTER, EV_DEALER };

struct ev_zopts {
	enum ev_ztype type;
	struct tf_span routing_id; /* our name towards a ROUTER (DEALER only); empty: the peer makes one up. Copied */
	int sndhwm;                /* messages queued per peer towards it; 0: 10000 */
	int rcvhwm;                /* messages queued per peer from it; 0: 10000 */
	int64_t msg_max;           /* bytes of a message; a peer that sends more is disconnected; 0: 4 MiB */
	int linger_ms;             /* how long ev_zctx_free waits for what is still queued here; 0: drops it */
	int drain_max;             /* messages delivered in one turn; 0: 64 */
	bool immediate;            /* DEALER: never queue for a peer that is not connected (TF_E_FULL instead) */
	/*
	 * from: the peer's routing id on a ROUTER, else empty; borrowed for the call. m: borrowed;
	 * ev_zmsg_ref keeps the bytes without a copy. May send, arm, and close this socket.
	 */
	void (*on_message)(struct ev_zsock *s, struct tf_span from, struct ev_zmsg *m, void *arg);
	void *arg;
};

/* io_threads: 1..8. Returns new; NULL without resources. */
struct ev_zctx *ev_zctx_new(int io_threads);
/* Frees *ctx and clears it. All sockets must be closed; waits for their lingering messages. */
void ev_zctx_free(struct ev_zctx **ctx);

/* Returns new; NULL without resources or for an invalid option. Borrows loop and ctx. */
struct ev_zsock *ev_zsock_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct ev_zopts *opts);
/*
 * Closes *s and clears it; allowed inside its own on_message. The memory goes at the end of
 * the turn. Sockets and lock files of its binds are removed at once.
 */
void ev_zsock_close(struct ev_zsock **s);
/*
 * ipc://PATH: takes PATH.lock first, so that nobody's path is stolen: TF_E_EXIST when another
 * socket has it, in this process or another; a file left behind by a dead one is replaced. The
 * socket is 0660, its directory should be 0750. TF_E_RANGE for a path that does not fit
 * sockaddr_un, TF_E_INVAL for one that starts with neither / nor . (wildcards and abstract names
 * cannot be locked); TF_E_IO otherwise. inproc:// and tcp:// go to ZeroMQ as they are.
 */
int ev_zsock_bind(struct ev_zsock *s, const char *endpoint) TF_MUSTCHECK;
/* Connects, now or as soon as the other side is there (again), retried every 20 to 200 ms. */
int ev_zsock_connect(struct ev_zsock *s, const char *endpoint) TF_MUSTCHECK;
/* Takes back one bind or connect. TF_E_NOENT when there is none of that name. */
int ev_zsock_unbind(struct ev_zsock *s, const char *endpoint);
int ev_zsock_disconnect(struct ev_zsock *s, const char *endpoint);

/*
 * Never blocks. to: routing id on a ROUTER, ignored on a DEALER. 0; TF_E_FULL: the peer's
 * queue is full, nothing was sent; TF_E_NOENT: a ROUTER knows no such peer; TF_E_RANGE: longer than msg_max.
 */
int ev_zsock_send(struct ev_zsock *s, struct tf_span to, struct tf_span payload) TF_MUSTCHECK;
/* The same without a copy: takes buf (malloc) on 0, leaves it with the caller on error. Pays off above some 1 KB. */
int ev_zsock_send_take(struct ev_zsock *s, struct tf_span to, void *buf, size_t n) TF_MUSTCHECK;

struct tf_span ev_zmsg_bytes(const struct ev_zmsg *m);
/* Keeps m; returns it. */
struct ev_zmsg *ev_zmsg_ref(struct ev_zmsg *m);
/* Drops one reference of *m and clears it; NULL is fine. */
void ev_zmsg_unref(struct ev_zmsg **m);

#endif
