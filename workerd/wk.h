/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workerd: the structures its files share. One process serves one runtime: a managed child or an
 * upstream. One loop. Nobody outside this folder includes it.
 */
#ifndef WK_H
#define WK_H

#include "common/base/base.h"
#include "common/conf/conf.h"
#include "common/dialect/dialect.h"
#include "common/event/event.h"
#include "common/http/http.h"
#include "common/wire/wire.h"

#define WK_TICK_MS 250
#define WK_END_REPEAT_MS 500      /* END goes again so often until it is acknowledged */
#define WK_END_MAX_MS 30000       /* then the gateway is given up */
#define WK_CALL_END_MS 1000       /* how long the exchange with the runtime may take to end after the answer */
#define WK_USAGE_MS 1000          /* how long the runtime may take from its finish reason to usage and end */
#define WK_LINK_MS 2000           /* how long a job may wait for the link to its gateway */
#define WK_PIECE (128u << 10)     /* payload of one EVENT */
#define WK_PROGRESS 64 /* output tokens between two messages about how far a whole answer is */
#define WK_HELD_PAUSE (128u << 10) /* bytes without credit after which the runtime is not read */
#define WK_KEPT_AHEAD (8u << 20)  /* bytes of values handed to a link that has not sent them yet */
#define WK_BODY_WINDOW (1u << 20) /* request body bytes under way */
#define WK_SPEED_US 1000u         /* shortest stretch of a stream from which a speed is read */
#define WK_ANSWER_MAX (64u << 20) /* largest unstreamed answer */

enum wk_state {
#define STATE(sym, name, whom) WK_S_##sym,
#include "workerd/state.def"
#undef STATE
	WK_S_COUNT
};

struct wk_gateway { /* a gateway thread, as routerd last named it */
	struct tf_node node; /* wk.gateways */
	struct wk *wk;
	char *name, *endpoint;
	uint64_t boot;
	struct wire_dial *dial;
	bool named; /* in the snapshot that is being read */
};

struct wk_attempt {
	struct tf_node node;
	enum wk_state state;
	struct wk *wk;
	uint8_t key[20]; /* request id and attempt number */
	struct tf_id id;
	uint32_t number;
	struct wk_gateway *gateway;
	uint64_t gateway_boot; /* of DISPATCH */
	uint64_t began; /* tf_mono_ns of ACCEPT */
	uint64_t since; /* tf_mono_ms of the current wait */
	uint8_t secret[WIRE_SECRET];
	bool slot;     /* holds one */
	bool accepted; /* ACCEPT was sent */
	bool strict;   /* nothing of the request may be without effect */
	bool progress; /* the gateway wants to know how far a whole answer is ... */
	uint64_t told; /* ... output tokens, as it was told last */
	bool keep;     /* the gateway wants the whole answer in KEEP */
	uint64_t first_ms, idle_ms;
	uint64_t first_us; /* from ACCEPT to the first content; 0 none yet */
	struct dl_xlate *x;
	char *api_version, *api_beta; /* the client's, for the runtime; NULL none */
	struct tf_buf body;
	uint64_t body_len;
	struct wire_rx rx; /* of the body */
	struct http_call *call;
	bool paused;
	struct tf_buf fetched; /* an image of the runtime's, as far as it has come */
	bool fetch_failed;     /* ... which it will not */
	struct ev_timer timer; /* first content, then idle */
	struct tf_buf out;     /* bytes for the client without credit yet */
	struct wire_tx tx;
	bool first;            /* the first EVENT has gone */
	uint64_t tail;         /* offset in the answer of its end (finish reason and on); UINT64_MAX: not there yet */
	bool finished;         /* of a stream: the runtime gave its finish reason; usage may come still */
	bool complete;         /* nothing more will come into out */
	size_t kept, kept_at;  /* values that went ahead of the answer, bytes of the one that is going */
	struct dl_fault fault; /* how it ended, when it failed */
	bool cancelled;
	enum wire_cancel_reason reason;
	bool acked;      /* END was acknowledged */
	uint64_t ended;  /* tf_mono_ms of the first END */
	struct wire_end end; /* spans point into facts, fault and static texts */
};

struct wk_model {
	char *id;            /* catalogue; owned */
	char *runtime;       /* name at the runtime; owned */
	uint64_t needs, context, max_output; /* tokens; 0: not stated */
};

struct wk_runtime; /* the managed child: wk_runtime.c */
struct wk_probe;   /*
 * The path at the runtime of an address that it gave, with its query; own: the runtime's URL. Only for addresses of the
 * same scheme, host and port, or a path alone. Returns 0, TF_E_NOENT: it is another's, TF_E_RANGE.
 */
int wk_upstream_own(const char *own, struct tf_span url, char *target, size_t cap);

/* wk_probe.c */

struct wk {
	struct dmn *dmn;
	struct ev_loop *loop;
	struct ev_zctx *zctx;
	const struct conf *conf;       /* it began under; owned */
	const struct conf_worker *w;   /* in conf */
	struct conf *fresh;            /* of the last reload, owned; NULL none */
	const struct conf_worker *now; /* in the newest one: rows that a reload applies */
	uint64_t boot;
	enum dl_dialect dialect;
	uint32_t quirks;
	bool recall; /* our runtime wants earlier reasoning back */
	struct wk_model *models;
	size_t nmodels;
	struct wire_dial *router;
	struct tf_list gateways;
	struct tf_map attempts; /* by key */
	struct tf_list state[WK_S_COUNT];
	uint64_t slots, active; /* slots held */
	uint64_t issued;        /* slot credits issued to routerd in this session */
	struct http_client *client;
	struct http_origin *origin;
	char *base;     /* path in front of a dialect's path; ends in /v1 */
	char *url;      /* of the runtime */
	struct ssl_ctx_st *tls;
	struct tf_buf seal; /* secret that reasoning is sealed with; wiped. Empty: none */
	struct tf_buf auth; /* "Bearer ..." for the runtime; wiped */
	struct wk_runtime *runtime;
	struct wk_probe *probe;
	bool up, draining;
	bool drained;         /* no attempt is left: the runtime was told to end */
	uint64_t drain_until; /* tf_mono_ms: then what still runs is ended */
	struct ev_timer tick;
	struct ev_turn reap;
	uint64_t avg_first_us, avg_mtps, errors_ppm; /* moving averages for LOAD */
	uint64_t load_at;                            /* tf_mono_ms of the last LOAD */
};

/* wk_link.c: routerd, gateways, slots */
int wk_link_open(struct wk *wk);
void wk_link_close(struct wk *wk);
void wk_link_ready(struct wk *wk); /* tells routerd what we serve, again after each change */
void wk_slot_issue(struct wk *wk); /* one more credit for routerd */
struct wire_peer *wk_gateway_peer(const struct wk_gateway *g);

/* wk_attempt.c: life of an attempt */
void wk_attempt_dispatch(struct wk *wk, const struct wire_frame *f, const struct wire_dispatch *m);
void wk_attempt_cancel(struct wk *wk, const struct wire_frame *f, uint64_t reason);
void wk_attempt_credit(struct wk *wk, const struct wire_frame *f, const struct wire_credit *m);
void wk_attempt_body(struct wk *wk, const struct wire_frame *f, const struct wire_body *m);
void wk_attempt_acked(struct wk *wk, const struct wire_frame *f);
void wk_attempt_gateway_up(struct wk *wk, struct wk_gateway *g);
/* for_good: also those that wait for its link are given back. */
void wk_attempt_gateway_down(struct wk *wk, struct wk_gateway *g, bool for_good);
/* Ends all that runs with this error. */
void wk_attempts_fail(struct wk *wk, int err, const char *message);
void wk_attempt_to(struct wk_attempt *a, enum wk_state state);
void wk_attempt_end(struct wk_attempt *a); /* all is known: releases the slot, sends what credit allows, then END */
void wk_attempt_finish(struct wk_attempt *a); /* all of it is sent: END */
void wk_attempts_tick(struct wk *wk, uint64_t now);
void wk_attempts_reap(void *wk);
const char *wk_state_name(enum wk_state state);

/* wk_answer.c: the answer on its way to the gateway */
/* It is whole, or will not be: what is kept of it goes now. */
void wk_answer_keep(struct wk_attempt *a);
void wk_answer_flush(struct wk_attempt *a); /* sends what credit allows */

/* wk_call.c: the runtime's side of an attempt */
void wk_call_start(struct wk_attempt *a);
void wk_call_stop(struct wk_attempt *a); /* closes the connection, so that the runtime notices */
void wk_call_resume(struct wk_attempt *a);

/* The runtime's side is over: what is neither complete nor failed must not be left waiting. */
void wk_call_over(struct wk_attempt *a);
/* An exchange ended behind the answer: only the attempt's memory waited for it. */
void wk_call_late(struct wk_attempt *a);

/* wk_fetch.c */
/* Is something missing of an answer that has ended, and is it being fetched? False: it is complete, or failed. */
bool wk_fetch_next(struct wk_attempt *a);

/* wk_upstream.c: where the runtime is */
int wk_upstream_open(struct wk *wk, const char *url);
void wk_upstream_close(struct wk *wk);
int wk_upstream_key(struct wk *wk); /* reads the key file again */
/* Key and version fields of a request; version, beta: of a client that speaks the runtime's dialect, or NULL. */
void wk_upstream_fields(const struct wk *wk, const char *version, const char *beta, struct http_fields *f);
/* The path of a request: base and rest ("/models"; "/../name" is beside the base's last part). Returns 0 or TF_E_RANGE. */
int wk_upstream_target(const struct wk *wk, const char *rest, char *out, size_t cap);

/* wk_probe.c */
int wk_probe_start(struct wk *wk);
void wk_probe_stop(struct wk *wk);
void wk_probe_soon(struct wk *wk); /* the runtime was just started, or failed a call */
void wk_probe_gone(struct wk *wk); /* the runtime has certainly ended */

/* wk_runtime.c: the managed child */
int wk_runtime_start(struct wk *wk);
/* TERM, then KILL after stop-timeout; done(arg) when nothing of it is left. */
void wk_runtime_stop(struct wk *wk, void (*done)(void *arg), void *arg);
void wk_runtime_free(struct wk *wk);
/* The probe answered: the next crash counts from here. */
void wk_runtime_good(struct wk *wk);
pid_t wk_runtime_pid(const struct wk *wk);

/* wk_guard.c */
/*
 * In a forked child, all signals blocked: runs argv with envp, its output into `output`; ends as it ends,
 * or kills all when the other end of the pipe `life` is closed. TERM is passed on.
 */
void wk_guard_main(char **argv, char **envp, int life, int output) __attribute__((noreturn));

/* wk_argv.c: a command line in the manner of a shell, without expansions */
/*
 * Splits at blanks; '..' and ".." quote, \ escapes; {port} and {socket} are replaced. Returns new
 * (wk_argv_free), NULL-terminated; TF_E_INVAL for an open quote or no word.
 */
int wk_argv_split(const char *line, const char *port, const char *socket, char ***out) TF_MUSTCHECK;
void wk_argv_free(char ***argv);

/* wk.c */
void wk_drain_check(struct wk *wk); /* done when no attempt is left */

/* ---- sealed reasoning (wk_seal.c) --------------------------------------------------------- */

/*
 * The secret of `seal-file`, or the host's own; make: which is made where there is none (without, it is left empty).
 * 0, or a code with why.
 */
int wk_seal_load(const struct conf *conf, bool make, struct tf_buf *out, char *why, size_t size) TF_MUSTCHECK;
void wk_seal_free(struct tf_buf *secret);
/* The key of one workspace and one model. False when there is no secret. */
bool wk_seal_key(const struct wk *wk, struct tf_span workspace, const char *model, uint8_t key[static TF_SEAL_KEY]);

#endif
