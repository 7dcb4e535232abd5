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
#include "gatewayd/gw_room.h"
#include "gatewayd/gw_route.h"

#define GW_TICK_MS 100           /* deadlines, pings and repetitions are looked at this often */
#define GW_LINK_FRESH_MS 1000    /* silence of billingd after which cached keys count as unverified */
#define GW_WAIT_MS 3000          /* longest wait for billingd in one step */
#define GW_ASK_MS 1000           /* after that a question to billingd is asked again */
#define GW_ORPHAN_MS 5000        /* longest wait for the END of a cancelled attempt */
#define GW_SLACK_MS 2000         /* our own deadlines stand this far behind those we hand on */
#define GW_TRANCHE 1024u         /* output tokens reserved at a time when no cap says more */
#define GW_KEYS_MAX 50000u       /* cached keys of a thread */
#define GW_KEYS_ASKED_MAX 1000u  /* look-ups under way */
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

/* ---- keys and their limits ------------------------------------------------------------------- */

enum gw_key_state {
	GW_KEY_ASKED,   /* KEY_ASK is under way; requests wait */
	GW_KEY_KNOWN,   /* verified */
	GW_KEY_STALE,   /* was known, must be asked again before use */
	GW_KEY_REFUSED, /* unknown, revoked or expired; believed until `until` */
};

/* A workspace: its account is billingd's, shared by all its keys. */
struct gw_space {
	uint8_t id[16];
	struct tf_list keys;    /* gw_key.of_space */
	bool budgeted;          /* the plan has a token window */
	struct gw_room minute, budget;
};

/* A piece of room in the limits that billingd handed us. */
struct gw_grant {
	struct tf_node node; /* gw_key.grants, oldest first */
	uint64_t number;
	struct gw_amount left; /* unused */
	unsigned bounded;      /* bits 1 << enum gw_unit; of the others it covers whatever is needed */
	uint64_t expires;      /* tf_mono_ms */
	struct gw_windows windows;
};

/* A record that billingd has not acknowledged, as far as it is about limits. */
struct gw_settling {
	uint64_t seq;
	struct gw_key *key;        /* counted in its refs */
	struct gw_windows windows;
	struct gw_amount reserved;
	uint64_t back;             /* tokens that it did not use */
};

/* What a key may do beside its limits. */
struct gw_may {
	uint64_t scopes;     /* WIRE_SCOPE_* bits */
	uint64_t operations; /* bits 1 << enum tf_operation */
	struct tf_network *networks;
	size_t nnetworks;
	bool nowhere_else;   /* only from these networks */
};

struct gw_key {
	struct tf_node lru;  /* gw_thread.keys_lru, least recently used first */
	struct tf_node busy; /* gw_thread.keys_busy: something is under way or held, the tick looks at it */
	uint8_t digest[TF_SHA256];
	enum gw_key_state state;
	bool changed;       /* a change was announced since it was verified */
	uint64_t until;     /* tf_mono_ms: expiry of the key, or of a refusal; UINT64_MAX never */
	uint64_t asked;     /* tf_mono_ms of the KEY_ASK under way */
	struct tf_id ask;   /* its id */
	unsigned refs;      /* requests that point here */
	uint8_t id[16], workspace[16];
	struct gw_space *space; /* NULL until it was known once */
	struct tf_node of_space;
	char *name, *workspace_name, *plan;
	char **models; /* allow-list; none: all */
	size_t nmodels;
	struct gw_may may;
	uint64_t rpm, tpm; /* of the plan; 0: no limit */
	uint64_t own_rpm, own_tpm; /* of the key alone; 0: no limit */
	struct gw_room minute;     /* what is left of those */
	struct tf_list waiting;   /* gw_req.wait: for KEY */
	struct tf_list admitting; /* gw_req.wait: for room, oldest first */
	struct tf_list grants;
	bool granting;         /* GRANT_ASK under way */
	struct tf_id grant_id; /* its id */
	uint64_t grant_asked;  /* tf_mono_ms */
	struct gw_amount grant_least; /* what it asked for at least */
	uint64_t grant_again;  /* tf_mono_ms: not before, after a transient refusal */
	uint64_t ahead_again;  /* tf_mono_ms: until then nothing is asked ahead of need */
	unsigned refusals;     /* so far */
	struct gw_amount refused;   /* what the last of them was about */
	uint64_t room_tokens, room_money; /* what it said is left; UINT64_MAX: nothing */
	int short_err;              /* what was short when a refusal was transient last; 0: none was */
	struct gw_windows windows;  /* of the newest grant */
	uint64_t granted_by;        /* boot of the billingd that gave it */
	uint64_t rate_at;           /* tf_mono_ms: start of the second that is counted */
	struct gw_amount rate;      /* admitted in this second so far */
	struct gw_amount last;      /* in the one before */
};

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

/* gw_key.c: authentication */
/* 0: req->key is verified; TF_E_AGAIN: it waits; positive: refused. */
int gw_key_auth(struct gw_req *req);
void gw_key_answer(struct gw_thread *t, const struct wire_frame *f, const struct wire_key *m);
void gw_key_changed(struct gw_thread *t, const struct wire_key_change *m);
/* All must be asked again; changed: a change of some of them passed us by. */
void gw_key_distrust_all(struct gw_thread *t, bool changed);
void gw_key_link_up(struct gw_thread *t);
void gw_key_drop(struct gw_req *req); /* the request lets go of its key */
void gw_key_busy(struct gw_thread *t, struct gw_key *k);
void gw_key_tick(struct gw_thread *t, uint64_t now);
void gw_keys_free(struct gw_thread *t);

/* gw_may.c: what a key may do */
void gw_may_clear(struct gw_may *may);
int gw_may_learn(struct gw_may *may, const struct wire_key *m) TF_MUSTCHECK; /* 0 or TF_E_NOMEM */
/* May the request's key call its route, from where it comes? 0, or TF_E_FORBIDDEN and a sentence in why. */
int gw_may_call(const struct gw_req *req, char *why, size_t size) TF_MUSTCHECK;
/* May it use the model of that catalogue id? */
enum gw_denied { GW_ALLOWED, GW_DENIED_KEY, GW_DENIED_PLAN };
enum gw_denied gw_may_model(const struct gw_req *req, const char *id);
struct gw_client_facts {        /* of a request */
	const struct sockaddr *peer; /* NULL: unknown */
	struct tf_span forwarded_for; /* of a proxy that is believed; p NULL: none says it */
};
/* The client's address as the nearest proxy saw it. TF_E_INVAL: nobody knows. */
int gw_client_address(const struct gw_client_facts *f, uint8_t out[static TF_ADDRESS]) TF_MUSTCHECK;

/* gw_need.c: upper bounds of what a call needs */
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
/* While it streams: reserves more output when what is reserved runs out. */
void gw_admit_extend(struct gw_req *req);
/*
 * The attempt of record seq is over and its reservation with it: moves that into the record, which returns it to
 * billingd. used: tokens.
 */
void gw_admit_reserved(const struct gw_req *req, struct wire_usage *m); /* what it holds now, into a record */
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

/* gw_limits.c: req->key is known, with its workspace */
void gw_limits_fields(const struct gw_req *req, struct http_fields *f);
/* What an answer to KEY_ASK says of the windows. */
void gw_limits_key(struct gw_key *k, const struct wire_key *m);
void gw_limits_left(struct gw_thread *t, const struct wire_left *m);

/* gw_infer.c: body, scan, validation, admission of an inference call */
/* Tokens of the longest answer that a model gives; 0: unknown. */
static inline uint64_t
gw_most_output(const struct conf_model *m)
{
	return (uint64_t)(m->max_output ? m->max_output : m->context);
}
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

/* gw_price.c */
_Static_assert(TF_NO_PRICE == CONF_NO_AMOUNT, "an option that is not set is no price");
/* Sets req->price, which admission bounds money by; req->model is known and the scan is there. */
void gw_price_take(struct gw_req *req);
/* Puts the prices into a record. */
void gw_price_usage(const struct gw_req *req, struct wire_usage *m);

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

/* gw_query.c */
void gw_query_link_up(struct gw_thread *t); /* what was asked and not answered is asked again */
/* Does an Accept field prefer a table to JSON? */
bool gw_query_wants_csv(struct tf_span accept);
void gw_query_answer(struct gw_thread *t, const struct wire_frame *f, const struct wire_answer *m);

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
/* The client left while it waited. */
void gw_keep_abort(struct gw_req *req);

/* gw_idem.c: requests with an Idempotency-Key; the functions do nothing for those without */
#define GW_IDEM_NAME 64 /* hexadecimal digits */
#define GW_DROPPED "x-tf-dropped-params" /* header: request fields without effect */
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

/* gw_models.c */
/* Whose model names count: the error's shape follows the called API, and so do the aliases. */
static inline enum conf_side
gw_side(const struct gw_req *req)
{
	return req->anthropic ? CONF_SIDE_ANTHROPIC : CONF_SIDE_OPENAI;
}
/* Members that both shapes of a model share, inside an open object. */
void gw_model_extras(struct js_w *w, const struct gw_req *req, const struct conf_model *m);
/* Writes each capability that a model can have, in the form of the called API. */
void gw_model_capabilities(struct js_w *w, const struct conf_model *m, void (*write)(struct js_w *w, const char *name, bool yes));
bool gw_model_has(const struct conf_model *m, const char *capability);
/* Answers what w has written to out; frees out. */
void gw_models_reply(struct gw_req *req, struct js_w *w, struct tf_buf *out);
/* gw_url.c */
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

/* gw_codex.c: the list that Codex looks for beside the OpenAI one */
/* Reads codex-models-file, which is left empty without one. TF_E_*, and the reason in why. */
int gw_codex_read(const struct conf *c, struct tf_buf *out, char *why, size_t size) TF_MUSTCHECK;
/* Writes the member `models` into an open object. */
void gw_codex_write(struct js_w *w, const struct gw_req *req);
/* gw_models_anthropic.c */
int gw_models_anthropic(struct gw_req *req);
int gw_model_anthropic(struct gw_req *req, const struct conf_model *m);
/* gw_models.c: the error of a model, as the client wrote it, that does not exist for this key */
void gw_model_unknown(struct dl_fault *f, struct tf_span asked);

void gw_models_live(struct gw_thread *t, const struct wire_models *m);
bool gw_capability_known(const char *name);
/* What its workers announced, DL_NEED_* and DL_LIVE_*; 0 without any. */
uint64_t gw_models_live_needs(const struct gw_thread *t, const char *id);
bool gw_models_is_live(const struct gw_thread *t, const char *id);
bool gw_models_any_live(const struct gw_thread *t);

#endif
