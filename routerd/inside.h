/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of routerd and who may change them. Private to routerd/.
 *
 *	rt --- gateways --- jobs (by gateway)
 *	 |---- workers ---- serves (model x worker) ---- models --- queues --- shares --- jobs
 *	                \-- jobs that were sent and not taken yet
 *
 * Every state is a list. Objects are freed at the end of the turn, never inside a walk.
 */
#ifndef TF_ROUTERD_INSIDE_H
#define TF_ROUTERD_INSIDE_H

#include "routerd/router.h"

#define RT_PRIORITIES 2 /* 0 interactive, 1 batch */

/* rt->workers[state] */
enum rt_worker_state {
	RT_WORKER_JOINED,   /* in session, has not said READY */
	RT_WORKER_UP,       /* takes jobs as far as it has credit */
	RT_WORKER_DOWN,     /* its runtime does not answer */
	RT_WORKER_DRAINING, /* takes no new jobs: its own wish or the operator's */
	RT_WORKER_STATES,
	RT_WORKER_GONE      /* no list; freed at the end of the turn */
};

enum rt_job_state {
	RT_JOB_NEW,    /* no list: being placed */
	RT_JOB_QUEUED, /* share->jobs of its model and workspace; the timer runs */
	RT_JOB_SENT,   /* worker->sent: waits for TAKEN */
	RT_JOB_GONE    /* no list; freed at the end of the turn */
};

struct rt {
	struct ev_loop *loop;
	struct wire_hub *hub;
	struct rt_options options;
	const struct rt_policy *policy;
	struct tf_list workers[RT_WORKER_STATES];
	struct tf_list gateways;
	struct tf_list models;
	struct tf_map models_by_id;
	struct tf_map jobs;    /* by rt_job.key */
	struct tf_map drained; /* rt_drained: workers that the operator drained */
	size_t queued, sent;
	uint64_t picks;        /* counts dispatches, for rotation */
	struct ev_turn turn;   /* sends the snapshots that changed, ends a drain */
	bool gateways_dirty, models_dirty;
	struct tf_buf models_said; /* records of the last MODELS */
	struct ev_timer want;  /* pending: WANT is due */
	bool draining;
	bool leaving; /* being freed: jobs are not settled, what follows is the gateways' business */
	struct ev_timer drain_timer;
	void (*drained_fn)(void *arg);
	void *drained_arg;
};

/* Lasts as long as that process of the worker, across its sessions. */
struct rt_drained {
	uint64_t boot;
	char name[WIRE_NAME_MAX + 1];
};

struct rt_gateway {
	struct rt *rt;
	struct tf_node node; /* rt->gateways */
	struct wire_peer *peer;
	struct tf_list jobs; /* all of it, in every state */
};

struct rt_worker {
	struct rt *rt;
	enum rt_worker_state state;
	struct tf_node node; /* rt->workers[state] */
	struct wire_peer *peer;
	struct tf_list serves;
	struct tf_list sent; /* jobs */
	char class[16];
	uint64_t slots;      /* attempts it can run at once */
	uint64_t issued, used, returned; /* slot credits of this session */
	uint64_t active, first_us, mtps, errors_ppm; /* as it measured */
	uint64_t last_pick;  /* rt->picks when it last got a job */
	uint64_t want_said;
	uint64_t dialects;
	bool up, wants_drain; /* of READY */
};

struct rt_model {
	struct rt *rt;
	struct tf_node node; /* rt->models */
	char *id;
	struct tf_list serves;
	size_t live; /* serves whose worker is UP */
	size_t jobs; /* in every state */
	size_t queued;
	struct rt_queue {
		struct tf_list shares; /* workspaces that wait, in the order of their turn */
		struct tf_map by_workspace;
	} queue[RT_PRIORITIES];
};

/* One worker serves one model. */
struct rt_serve {
	struct rt_worker *worker;
	struct rt_model *model;
	struct tf_node worker_node, model_node;
	uint64_t needs; /* DL_NEED_* bits it can satisfy */
};

/* The jobs of one workspace in one queue; exists while there are any. */
struct rt_share {
	struct rt_queue *queue;
	struct tf_node node;
	struct tf_list jobs;
	size_t key_n;
	char key[]; /* workspace id */
};

struct rt_job {
	struct rt *rt;
	enum rt_job_state state;
	struct tf_node node;         /* by state */
	struct tf_node gateway_node; /* gateway->jobs */
	char key[20];                /* request id and attempt */
	struct rt_gateway *gateway;
	struct rt_model *model;
	struct rt_share *share;      /* QUEUED */
	struct rt_worker *worker;    /* SENT */
	struct wire_kept *frame;
	struct tf_span workspace;    /* inside the frame */
	uint64_t needs;
	unsigned priority;
	uint64_t arrived_ms, deadline_ms; /* monotonic */
	struct ev_timer timer;       /* deadline, or the end of the grace */
};

/* ---- policy ------------------------------------------------------------------------------- */

/* Chooses among the serves of job->model that rt_serve_fits; NULL when none does. One file each. */
struct rt_policy {
	const char *name;
	struct rt_serve *(*pick)(const struct rt_job *job);
};
extern const struct rt_policy rt_policy_least_loaded;
/* UP, has credit, satisfies the job's needs. */
bool rt_serve_fits(const struct rt_serve *s, const struct rt_job *job);

/* ---- job.c -------------------------------------------------------------------------------- */

/* A DISPATCH of a gateway: sends, queues or refuses it. */
void rt_job_arrived(struct rt_gateway *gw, const struct wire_frame *f, const struct wire_dispatch *m);
struct rt_job *rt_job_find(const struct rt *rt, const struct wire_frame *f);
/* The worker gave it back as busy: head of its queue, or another worker at once. */
void rt_job_back(struct rt_job *job);
void rt_job_end(struct rt_job *job);
/* Refuses to the gateway, then ends. message NULL: the sentence of the error. */
void rt_job_refuse(struct rt_job *job, int err, const char *message, uint64_t retry_after_s, bool lost);
/* Gives the worker what waits for it, as long as it has credit. */
void rt_job_pump(struct rt_worker *w);
/* The live workers of a model changed: those who wait get the grace when there is none. */
void rt_job_model_changed(struct rt_model *m);

/* ---- queue.c ------------------------------------------------------------------------------ */

/* Into its share, which is made when needed; head: before all others. TF_E_NOMEM. */
int rt_queue_put(struct rt_job *job, bool head);
/* Out of it; served: its workspace has had its turn. */
void rt_queue_take(struct rt_job *job, bool served);
/* The job whose turn it is among those the serve satisfies; NULL. */
struct rt_job *rt_queue_next(const struct rt_serve *s, unsigned priority);

/* ---- worker.c ----------------------------------------------------------------------------- */

int rt_worker_up(struct rt *rt, struct wire_peer *peer);
void rt_worker_down(struct rt_worker *w);
void rt_worker_frame(struct rt_worker *w, const struct wire_frame *f, const union wire_any *m);
uint64_t rt_worker_credit(const struct rt_worker *w);
/* Puts it into the state its facts ask for. */
void rt_worker_settle(struct rt_worker *w);
struct rt_worker *rt_worker_find(const struct rt *rt, struct tf_span name);
/* Jobs queued for models of this worker. */
uint64_t rt_worker_wanted(const struct rt_worker *w);
const char *rt_worker_state_text(enum rt_worker_state state);

/* ---- model.c ------------------------------------------------------------------------------ */

/* Made when unknown; NULL without memory. rt_model_idle frees it again when nothing holds it. */
struct rt_model *rt_model_get(struct rt *rt, struct tf_span id);
void rt_model_idle(struct rt_model *m);
int rt_serve_new(struct rt_worker *w, const struct wire_model_rec *rec);
void rt_serve_free(struct rt_serve *s);
/* Counts the live workers again. */
void rt_model_count(struct rt_model *m);
/* Could any worker that is up serve this job, credit or not? */
bool rt_model_live_for(const struct rt_model *m, uint64_t needs);

/* ---- control.c, daemon.c ------------------------------------------------------------------ */

/* Commands of the control socket, static; their arg is the daemon, which rt_of_command knows. */
struct ctl_cmd;
const struct ctl_cmd *rt_commands(size_t *n);
struct rt *rt_of_command(void *arg);

/* ---- router.c ----------------------------------------------------------------------------- */

/* Something that snapshots show has changed. */
void rt_changed(struct rt *rt, bool gateways, bool models);
/* A queue grew or shrank, or a job went. */
void rt_queue_changed(struct rt *rt);

#endif
