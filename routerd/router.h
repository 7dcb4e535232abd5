/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routerd as a library: knows every worker and its load, queues, picks a worker for each
 * attempt. Holds nothing that outlives the process: workers register again after a restart.
 * Never sees an answer, retries nothing. One loop, one thread.
 */
#ifndef TF_ROUTERD_ROUTER_H
#define TF_ROUTERD_ROUTER_H

#include "common/event/event.h"
#include "common/wire/wire.h"

struct rt;

#define RT_GRACE_MS 1000u      /* how long a job waits for a model without a live worker */
#define RT_WANT_MS 20u         /* least time between two WANTs to a worker */
#define RT_RETRY_BUSY_S 2u     /* retry-after of an overload */
#define RT_RETRY_ABSENT_S 5u   /* retry-after of a model without a worker */

struct rt_options {
	uint64_t queue_max; /* jobs waiting per model */
	unsigned grace_ms;  /* 0: RT_GRACE_MS */
};

/* Binds endpoint. 0 and *out new; errors as wire_hub_new. self->role and roles are set here. */
int rt_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const char *endpoint, const struct rt_options *options, struct rt **out) TF_MUSTCHECK;
/* Gives every job back, says BYE to all, frees *rt and clears it. */
void rt_free(struct rt **rt);
/* Takes new options; jobs that wait already stay. */
void rt_reload(struct rt *rt, const struct rt_options *options);
/*
 * Gives new jobs back as lost, so that gateways ask another routerd; serves those that wait.
 * done runs once, from the loop, when no job is left or after timeout_ms.
 */
void rt_drain(struct rt *rt, uint64_t timeout_ms, void (*done)(void *arg), void *arg);
/*
 * Operator's drain of one worker by name: no new jobs until it is taken back or comes back as
 * a new process, whatever the worker says. TF_E_NOENT when no such worker is in session (on),
 * or it was not drained (off). TF_E_NOMEM.
 */
int rt_worker_drain(struct rt *rt, struct tf_span name, bool on);

struct rt_stats {
	size_t gateways, workers, workers_up, models;
	size_t queued, sent; /* jobs by state */
	bool draining;
};
struct rt_stats rt_stats(const struct rt *rt);

/* The whole daemon; returns its exit status. */
int rt_main(int argc, char **argv);

#endif
