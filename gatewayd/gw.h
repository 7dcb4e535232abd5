/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gatewayd: the structures its files share. A process has one main loop (listeners, control,
 * signals) and share-nothing threads, each with its own loop, HTTP server, links, key cache and
 * requests. Nobody outside this folder includes it.
 */
#ifndef GW_H
#define GW_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/base.h"
#include "common/conf/conf.h"
#include "common/ctl/ctl.h"
#include "common/dialect/dialect.h"
#include "common/event/event.h"
#include "common/http/http.h"
#include "common/spool/spool.h"
#include "common/wire/wire.h"
#include "gatewayd/gw_key.h"
#include "gatewayd/gw_room.h"
#include "gatewayd/gw_route.h"

#define GW_TICK_MS 100           /* deadlines, pings and repetitions are looked at this often */
#define GW_LINK_FRESH_MS 1000    /* silence of billingd after which cached keys count as unverified */
#define GW_WAIT_MS 3000          /* longest wait for billingd in one step */
#define GW_ASK_MS 1000           /* after that a question to billingd is asked again */
#define GW_TELL_US 10000         /* longest a record of usage waits for others on its way to billingd */
#define GW_ORPHAN_MS 5000        /* longest wait for the END of a cancelled attempt */
#define GW_SLACK_MS 2000         /* our own deadlines stand this far behind those we hand on */
#define GW_BODY_PIECE (256u << 10) /* bytes of one BODY frame */

/* ---- configuration, shared by threads, swapped on reload ------------------------------------ */

struct gw_conf {
	struct conf *c; /* owned */
	struct tf_buf codex; /* text of codex-models-file, checked; empty without one */
	atomic_uint refs;
};
struct gw_conf *gw_conf_new(struct conf *c); /* takes c; one reference; NULL without memory */
struct gw_conf *gw_conf_ref(struct gw_conf *gc);
void gw_conf_unref(struct gw_conf **gc);

/* ---- requests -------------------------------------------------------------------------------- */

enum gw_state {
#define STATE(sym, name, whom) GW_S_##sym,
#include "gatewayd/state.def"
#undef STATE
	GW_S_COUNT
};

struct gw_usage { /* of the attempt that settles */
	uint64_t prompt, cache_read, cache_write, completion, reasoning;
	bool estimated;
};

struct gw_req {
	struct tf_node node; /* list of its state */
	struct tf_node wait; /* gw_key.waiting or .admitting */
	enum gw_state state;
	struct gw_thread *t;
	struct http_req *http; /* NULL once the client has left or was served */
	struct tf_id id;
	const struct gw_route *route; /* NULL: the head was refused */
	int unrouted;                 /* without a route: what is answered once the key is known, or not */
	const struct gw_route *elsewhere; /* then: a row that has this path elsewhere; NULL none */
	char *rest;                   /* what {id} or {rest} of the route matched; with 405 the methods; NULL none */
	bool unversioned;             /* its path has neither /v1 nor the name of an API in front */
	bool anthropic;               /* shape of errors */
	struct gw_key *key;
	struct gw_conf *conf;         /* the configuration it began under */
	uint64_t began, wait_since;   /* tf_mono_ms */
	uint64_t change;              /* in AUTH: number of billingd's last change when it came, which the answer includes */
	int64_t began_wall;           /* ms since 1970; from admission on, of that */
	uint64_t first_us;            /* from began to the first content byte */
	unsigned status;              /* given to the client; 0 none yet */

	struct gw_store_wait *store;  /* NULL: nothing is asked of stored */
	struct gw_resolve *resolve;   /* NULL: nothing is being looked up for it */
	struct gw_keep *keep;         /* NULL: its answer is not kept */
	struct gw_hosted *hosted;     /* NULL: its answer names no images of ours */
	struct gw_idem *idem;         /* NULL: without an Idempotency-Key */
	struct gw_recall *recall;     /* NULL: no reasoning of it is kept or was fetched */

	/* inference only */
	struct dl_scan *scan; /* until dispatch */
	struct dl_head *head;
	char *content_type; /* of the body; NULL: JSON */
	const struct conf_model *model;
	struct tf_price price; /* of the model, as it was at admission */
	char *body;       /* kept until the first content byte, for another attempt */
	size_t body_len;
	struct gw_amount need;             /* upper bounds; tokens: need_prompt + need_output */
	uint64_t need_prompt, need_output; /* tokens reserved */
	uint64_t most_output;              /* that it can make; UINT64_MAX: not bounded */
	unsigned shrunk;                   /* times that its output was cut to what was left of the limits */
	struct gw_amount reserved;         /* moved from grants; of what no limit bounds, but for tokens, nothing */
	struct gw_windows windows;         /* of its admission */
	uint64_t granted_by;               /* boot of the billingd that counted it */
	int64_t resets_at;                 /* of a refusal: wall clock second in which there is room again; 0: not said */
	bool admitted;
	bool light;               /* being admitted as so many requests alone: see gw_weigh */
	bool counting;            /* the prompt's tokens are asked for: no admission, no usage, no error */
	bool unmetered;           /* let in while billingd was away: holds no reservation */
	uint64_t short_since;     /* tf_mono_ms: since then no room for more output; 0: there was */
	unsigned short_refusals;  /* key->refusals then */
	bool last_piece;          /* what was left has been reserved: there is no more output */
	bool running;             /* an attempt began and has not settled: frames of it count */
	struct sp_open spooled;   /* it, in the spool */
	uint64_t seq;             /* of its record, while billingd is not told whether it was delivered; 0: none */
	uint64_t ticket;          /* in SETTLE: the sync that it waits for */
	struct tf_buf held;       /* the last bytes of the answer, until its end is recorded */
	bool held_boundary;       /* they end between two events */
	unsigned faults;          /* attempts that a worker failed */
	unsigned unseen;          /* attempts that no worker accepted */
	uint64_t again_at;        /* tf_mono_ms: not dispatched before */
	uint32_t attempt;
	uint8_t secret[WIRE_SECRET];
	struct wire_peer *worker; /* from ACCEPT until it settles */
	char *worker_name;
	bool routed;              /* routerd has it, not accepted yet */
	bool cancelled;
	enum wire_cancel_reason cancel_reason;
	uint64_t cancel_at;       /* tf_mono_ms of the last CANCEL sent */
	uint64_t queued_until, first_until, idle_until; /* tf_mono_ms */
	struct wire_rx rx;
	struct wire_tx tx;        /* of the body under PULL */
	uint64_t credit_at;       /* tf_mono_ms of the last CREDIT */
	uint64_t wrote_at;        /* tf_mono_ms of the last byte for the client */
	uint64_t event_at;        /* tf_mono_ms of the last EVENT */
	uint64_t answer_len;      /* announced to the client; UINT64_MAX: not */
	bool begun;               /* status line given */
	bool content;             /* a content byte was given: no other attempt */
	bool boundary;            /* the bytes given end between two events */
	uint64_t sequence;        /* number of the event that comes next, where they have one */
	uint64_t out_tokens;
	char *dropped;            /* request fields without effect */
};

/* ---- threads and the process ----------------------------------------------------------------- */

struct gw_live { /* a model with registered workers, as routerd last said */
	char *id;
	uint64_t workers, needs;
};

struct gw_thread {
	struct gw *gw;
	unsigned index;
	pthread_t tid;
	char name[WIRE_NAME_MAX + 16];
	uint64_t boot;
	struct ev_loop *loop;
	struct gw_conf *conf;
	struct http_server *server[2]; /* plain, TLS */
	struct wire_dial *router, *billing, *store;
	struct wire_hub *hub;          /* workers */
	struct wire_board *board;      /* of the billingd that was in session last; NULL: none, or it could not be read */
	uint64_t board_missed;         /* boot of the one whose board could not */
	struct ev_timer tick;
	struct ev_turn reap;           /* frees requests at the end of a turn */
	struct tf_map reqs;            /* by id */
	struct tf_list state[GW_S_COUNT];
	struct tf_map keys, asks;      /* keys by digest; by id of the question under way */
	struct tf_map spaces;          /* by workspace id */
	struct tf_list keys_lru, keys_busy;
	struct tf_map store_asks;      /* by id of the question */
	struct tf_list store_waits;
	struct tf_list releases;       /* gw_idem.c: keys given back that stored has not acknowledged */
	uint64_t key_change;           /* last change seen */
	uint64_t returns;              /* number of the last one of a grant; 1: there was none */
	size_t asked;                  /* KEY_ASKs under way */
	size_t body_held;              /* bytes of bodies that wait for their answer's first byte */
	struct gw_settling *settling;  /* ring, in the order of seq */
	size_t settling_at, settling_n, settling_cap;
	struct sp_writer spool;
	struct ev_turn flush;          /* writes what this turn gave to the spool */
	struct ev_timer telling;       /* more records are to be told to billingd */
	struct tf_list mail;           /* gw_job: the keeper's results; under its lock */
	struct gw_lefts *lefts;
	struct tf_buf record;          /* scratch: one read from the spool */
	uint64_t written;              /* last record that is in its file */
	uint64_t tell;                 /* record that billingd is told next; those before were, or wait for delivery */
	uint64_t acked_at;             /* tf_mono_ms of its last acknowledgement */
	uint32_t session;              /* with billingd; 0: none yet */
	uint64_t ticket;               /* of the next sync */
	uint64_t synced;               /* tf_mono_ms */
	bool making, syncing;          /* the keeper makes a segment; somebody waits for its sync */
	struct tf_buf head;            /* scratch: DISPATCH.head */
	struct tf_buf url;             /* scratch: DISPATCH.base_url */
	struct tf_buf beta;            /* scratch: DISPATCH.api_beta */
	struct gw_live *live;
	size_t nlive;
	bool running, draining, drained;
	uint64_t drain_until;          /* tf_mono_ms */
	atomic_uint conns;             /* for the main thread's choice */
	/* for the control socket; written by the thread, read by the main one */
	atomic_size_t in_state[GW_S_COUNT], workers, owed, bodies;
	atomic_bool billing_here, router_here, store_here;
	_Atomic uint64_t oldest;       /* tf_mono_ms of the oldest record that is not acknowledged; 0: none */
	atomic_bool full;              /* no room in the spool */
};

/* NULL while there is no session. */
static inline struct wire_peer *
gw_billing(const struct gw_thread *t)
{
	return t->billing != NULL ? wire_dial_peer(t->billing) : NULL;
}
static inline struct wire_peer *
gw_router(const struct gw_thread *t)
{
	return t->router != NULL ? wire_dial_peer(t->router) : NULL;
}

struct gw_listener;
struct gw_keeper;
struct gw {
	struct dmn *dmn;
	struct ev_loop *loop; /* main */
	struct ev_zctx *zctx;
	struct gw_conf *conf;
	struct gw_thread *threads;
	unsigned nthreads;
	struct gw_listener *listeners;
	size_t nlisteners;
	struct ssl_ctx_st *tls;
	struct gw_addrs *addrs;
	struct gw_keeper *keeper;
	atomic_uint conns;
	atomic_uint undrained; /* threads that still have work */
};

/* gw.c */
void gw_drained(void *gw); /* posted by the last thread that has nothing left */
void gw_broken(void *gw);  /* posted by a thread whose loop failed */

/* gw_ctl.c */
#define GW_CMDS 2
extern const struct ctl_cmd gw_cmds[GW_CMDS];

/* gw_thread.c */
int gw_threads_start(struct gw *gw);
void gw_threads_stop(struct gw *gw);
void gw_threads_reload(struct gw *gw);
void gw_threads_drain(struct gw *gw);
void gw_threads_dump(struct gw *gw); /* each logs its state */
/* A fresh connection for the least loaded thread; takes fd. */
void gw_threads_give(struct gw *gw, int fd, bool tls, const struct sockaddr *peer, socklen_t len);

/* gw_link.c */
int gw_links_open(struct gw_thread *t);
/* Says goodbye to all; what still runs is settled by the down hooks. */
void gw_links_close(struct gw_thread *t);
bool gw_thread_billing_fresh(const struct gw_thread *t);

/* gw_listen.c */
int gw_listen_start(struct gw *gw);
/* accept_rest: those that wait in the sockets' queues are served still. */
void gw_listen_stop(struct gw *gw, bool accept_rest);

/* gw_addr.c: open connections by client address, all threads */
struct gw_addrs *gw_addrs_new(void);
void gw_addrs_free(struct gw_addrs **a);
bool gw_addrs_take(struct gw_addrs *a, const struct sockaddr *sa, unsigned max);
void gw_addrs_give(struct gw_addrs *a, const struct sockaddr *sa);

/* gw_req.c: life of a request */
void gw_req_body_take(struct gw_req *req); /* from the connection; counted in body_held */
void gw_req_body_drop(struct gw_req *req);
/* Bytes of bodies and of looked-up history that the thread holds. */
size_t gw_body_bytes(const struct gw_thread *t);
/* May the body of this request be read on, as far as memory goes? */
bool gw_body_may_read(const struct gw_req *req);
extern const struct http_server_hooks gw_req_hooks;
/* The only place that changes req->state. */
void gw_req_to(struct gw_req *req, enum gw_state state);
struct gw_req *gw_req_find(struct gw_thread *t, struct tf_id id);
const char *gw_state_name(enum gw_state state);
/* Answers an error and ends the request; after the status line as an event of the stream. */
void gw_req_fail(struct gw_req *req, int err, const char *param, const char *message, uint64_t retry_after_s);
/* A status was given: remembers and counts it. */
void gw_req_note(struct gw_req *req, int status);
/* Fields that every answer carries: ids, limits. */
void gw_req_fields(struct gw_req *req, struct http_fields *f);
void gw_req_json(struct gw_req *req, int status, const struct tf_buf *body);
void gw_req_text(struct gw_req *req, int status, const char *type, const struct tf_buf *body);
/* The answer is ended: waits for the client to take it. */
void gw_req_replied(struct gw_req *req);
/* Goes on after a wait for the key. */
void gw_req_authed(struct gw_req *req, int err);
void gw_req_free_list(struct gw_thread *t);

/* gw_query.c: usage, which billingd is asked for */
void gw_query_link_up(struct gw_thread *t); /* what was asked and not answered is asked again */
/* Does an Accept field prefer a table to JSON? */
bool gw_query_wants_csv(struct tf_span accept);
void gw_query_answer(struct gw_thread *t, const struct wire_frame *f, const struct wire_answer *m);

/* gw_url.c: where clients reach us */
/*
 * Appends the URL under which this request's client reaches us, without a slash at its end. TF_E_NOENT: nobody
 * says; TF_E_NOMEM.
 */
int gw_base_url(const struct gw_req *req, struct tf_buf *out);
struct gw_url_facts { /* of a request; empty: not said */
	bool tls;
	struct tf_span host, forwarded_proto, forwarded_host;
};
int gw_url_base(const char *public_url, const struct gw_url_facts *f, struct tf_buf *out);

#endif
