/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job: one attempt of a gateway, from its DISPATCH until a worker has taken it. Whoever
 * gives it back or loses it, the gateway decides what follows; only a busy worker's job
 * waits here again.
 */
#include "config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "routerd/inside.h"

#define DEADLINE_MAX_MS (24u * 3600 * 1000)
#define PICKS_MAX 8 /* workers tried for a job before it waits */
#define NONE tf_span(NULL, 0)

static void
job_free(void *arg)
{
	struct rt_job *job = arg;

	wire_kept_free(&job->frame);
	free(job);
}

static struct tf_span
key_of(const struct rt_job *job)
{
	return tf_span(job->key, sizeof job->key);
}

static void
make_key(char key[20], const struct wire_frame *f)
{
	memcpy(key, f->id.b, sizeof f->id.b);
	memcpy(key + sizeof f->id.b, &f->attempt, sizeof f->attempt);
}

struct rt_job *
rt_job_find(const struct rt *rt, const struct wire_frame *f)
{
	char key[20];

	make_key(key, f);
	return tf_map_get(&rt->jobs, tf_span(key, sizeof key));
}

bool
rt_serve_fits(const struct rt_serve *s, const struct rt_job *job)
{
	return s->worker->state == RT_WORKER_UP && (job->needs & ~s->needs) == 0 &&
	    rt_worker_credit(s->worker) > 0 && !wire_is_down(s->worker->peer);
}

/* ---- states ------------------------------------------------------------------------------- */

static void
leave_state(struct rt_job *job, enum rt_job_state to)
{
	struct rt *rt = job->rt;

	if (job->state == RT_JOB_QUEUED) {
		ev_timer_del(&job->timer);
		rt_queue_take(job, to == RT_JOB_SENT);
		tf_metric_set(TF_M_RT_QUEUED, --rt->queued);
	} else if (job->state == RT_JOB_SENT) {
		tf_list_remove(&job->worker->sent, &job->node);
		job->worker = NULL;
		rt->sent--;
	}
}

/* The one place that changes job->state. worker: where it goes for SENT. TF_E_NOMEM: it is NEW. */
static int
change_state(struct rt_job *job, enum rt_job_state to, struct rt_worker *worker, bool head)
{
	struct rt *rt = job->rt;

	assert(job->state != RT_JOB_GONE);
	leave_state(job, to);
	job->state = RT_JOB_NEW;
	if (to == RT_JOB_QUEUED) {
		if (rt_queue_put(job, head) != 0)
			return TF_E_NOMEM;
		tf_metric_set(TF_M_RT_QUEUED, ++rt->queued);
	} else if (to == RT_JOB_SENT) {
		job->worker = worker;
		tf_list_append(&worker->sent, &job->node);
		rt->sent++;
	} else if (to == RT_JOB_GONE) {
		tf_map_del(&rt->jobs, key_of(job));
		tf_list_remove(&job->gateway->jobs, &job->gateway_node);
		job->model->jobs--;
		rt_model_idle(job->model);
		ev_free_later(rt->loop, job, job_free);
	}
	job->state = to;
	rt_queue_changed(rt);
	return 0;
}

void
rt_job_end(struct rt_job *job)
{
	(void)change_state(job, RT_JOB_GONE, NULL, false);
}

static void
say_reject(struct rt_gateway *gw, const struct wire_frame *f, const struct wire_reject *m)
{
	const char *label[1];
	char code[64];

	snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
	label[0] = code;
	tf_metric_add_l(TF_M_RT_REJECTED, 1, label);
	tf_log(TF_INFO, "route", &f->id, "gave back attempt=%u gateway=%s code=%s lost=%u why=%s", f->attempt,
	    gw->peer->name, code, (unsigned)m->lost, tf_log_q(m->message));
	(void)wire_send_reject(gw->peer, &f->id, f->attempt, m, NONE);
}

static struct wire_reject
reject_of(int err, const char *message, uint64_t retry_after_s, bool lost)
{
	const struct tf_err_row *row = tf_err_row(err);

	return (struct wire_reject){ .code = tf_cspan(row->code),
		.message = tf_cspan(message ? message : row->sentence),
		.retry_after_s = retry_after_s, .lost = lost };
}

void
rt_job_refuse(struct rt_job *job, int err, const char *message, uint64_t retry_after_s, bool lost)
{
	struct wire_reject m = reject_of(err, message, retry_after_s, lost);

	say_reject(job->gateway, &job->frame->frame, &m);
	rt_job_end(job);
}

/* ---- placing ------------------------------------------------------------------------------ */

static void
refuse_absent(struct rt_job *job)
{
	const char *why = "No running worker of this model offers everything the request needs.";

	rt_job_refuse(job, TF_E_MODEL_UNAVAILABLE, job->model->live > 0 ? why : NULL, RT_RETRY_ABSENT_S, false);
}

static uint64_t
left_ms(const struct rt_job *job)
{
	uint64_t now = tf_mono_ms();

	return job->deadline_ms > now ? job->deadline_ms - now : 0;
}

/* What is due next: the deadline, or earlier the end of the grace for an absent model. */
static void
arm(struct rt_job *job)
{
	uint64_t ms = left_ms(job);

	if (!rt_model_live_for(job->model, job->needs) && ms > job->rt->options.grace_ms)
		ms = job->rt->options.grace_ms;
	ev_timer_set(&job->timer, ms);
}

static void
due(void *arg)
{
	struct rt_job *job = arg;
	bool live = rt_model_live_for(job->model, job->needs);

	if (live && left_ms(job) > 0)
		ev_timer_set(&job->timer, left_ms(job));
	else if (live)
		rt_job_refuse(job, TF_E_OVERLOADED, NULL, RT_RETRY_BUSY_S, false);
	else
		refuse_absent(job);
}

/* To that worker; false when the frame did not go out. */
static bool
send_to(struct rt_job *job, struct rt_worker *w)
{
	struct rt *rt = job->rt;
	uint64_t waited = tf_mono_ms() - job->arrived_ms;
	int rc = wire_forward(w->peer, job->frame->frame.raw,
	    waited ? WIRE_FN_DISPATCH_deadline_ms : 0, left_ms(job));

	if (rc != 0)
		return false;
	w->used++;
	w->last_pick = ++rt->picks;
	tf_metric_add(TF_M_RT_DISPATCHED, 1);
	(void)change_state(job, RT_JOB_SENT, w, false);
	return true;
}

/* Sends or queues. The job is gone when neither is possible. */
static void
place(struct rt_job *job, bool head)
{
	struct rt *rt = job->rt;
	struct rt_serve *s;

	/* a worker that takes no frame any more is not picked again, and memory may come back */
	for (unsigned i = 0; i < PICKS_MAX && (s = rt->policy->pick(job)) != NULL; i++)
		if (send_to(job, s->worker))
			return;
	if (!head && job->model->queued >= rt->options.queue_max) {
		rt_job_refuse(job, TF_E_OVERLOADED, "Too many requests wait for this model. Retry later.",
		    RT_RETRY_BUSY_S, false);
	} else if (change_state(job, RT_JOB_QUEUED, NULL, head) != 0) {
		rt_job_refuse(job, TF_E_OVERLOADED, NULL, RT_RETRY_BUSY_S, false);
	} else {
		arm(job);
	}
}

static struct rt_job *
job_new(struct rt_gateway *gw, const struct wire_frame *f, const struct wire_dispatch *m)
{
	struct rt *rt = gw->rt;
	struct rt_job *job = calloc(1, sizeof *job);
	uint64_t wait = m->deadline_ms < DEADLINE_MAX_MS ? m->deadline_ms : DEADLINE_MAX_MS;

	if (job == NULL)
		return NULL;
	job->rt = rt;
	job->gateway = gw;
	job->needs = m->needs;
	job->priority = m->priority < RT_PRIORITIES ? (unsigned)m->priority : RT_PRIORITIES - 1;
	job->workspace = m->workspace;
	job->arrived_ms = tf_mono_ms();
	job->deadline_ms = job->arrived_ms + wait;
	make_key(job->key, f);
	ev_timer_init(&job->timer, rt->loop, due, job);
	if (wire_keep(f, &job->frame) != 0 || (job->model = rt_model_get(rt, m->model)) == NULL ||
	    tf_map_put(&rt->jobs, key_of(job), job) != 0) {
		if (job->model != NULL)
			rt_model_idle(job->model);
		job_free(job);
		return NULL;
	}
	job->model->jobs++;
	tf_list_append(&gw->jobs, &job->gateway_node);
	return job;
}

void
rt_job_arrived(struct rt_gateway *gw, const struct wire_frame *f, const struct wire_dispatch *m)
{
	struct wire_reject no;
	struct rt_job *job;

	if (!tf_span_is(m->gateway, gw->peer->name) || m->gateway_boot != gw->peer->boot ||
	    m->secret.n != WIRE_SECRET || m->model.n == 0) {
		wire_drop(gw->peer, "a DISPATCH that is not its own");
		return;
	}
	if (rt_job_find(gw->rt, f) != NULL) {
		tf_log(TF_WARN, "route", &f->id, "ignored a repeated DISPATCH attempt=%u gateway=%s", f->attempt,
		    gw->peer->name);
		return;
	}
	job = gw->rt->draining ? NULL : job_new(gw, f, m);
	if (job == NULL) {
		/* another routerd may take it */
		no = reject_of(TF_E_OVERLOADED, "This router is stopping.", 1, true);
		if (!gw->rt->draining)
			no = reject_of(TF_E_OVERLOADED, NULL, RT_RETRY_BUSY_S, true);
		say_reject(gw, f, &no);
		return;
	}
	place(job, false);
}

void
rt_job_back(struct rt_job *job)
{
	(void)change_state(job, RT_JOB_NEW, NULL, false);
	if (left_ms(job) == 0)
		rt_job_refuse(job, TF_E_OVERLOADED, NULL, RT_RETRY_BUSY_S, false);
	else
		place(job, true);
}

/* ---- when credit or workers change -------------------------------------------------------- */

/* The next job for this worker: interactive ones of any of its models first. */
static struct rt_job *
next_for(struct rt_worker *w)
{
	struct tf_node *e, *tmp;
	struct rt_job *job;

	for (unsigned prio = 0; prio < RT_PRIORITIES; prio++)
		TF_LIST_EACH(&w->serves, e, tmp) {
			struct rt_serve *s = TF_CONTAINER(e, struct rt_serve, worker_node);

			job = s->model->queue[prio].shares.n > 0 ? rt_queue_next(s, prio) : NULL;
			if (job == NULL)
				continue;
			/* its models take turns */
			tf_list_remove(&w->serves, e);
			tf_list_append(&w->serves, e);
			return job;
		}
	return NULL;
}

void
rt_job_pump(struct rt_worker *w)
{
	struct rt_job *job;

	while (w->state == RT_WORKER_UP && w->rt->queued > 0 && rt_worker_credit(w) > 0 &&
	    !wire_is_down(w->peer) && (job = next_for(w)) != NULL)
		if (!send_to(job, w))
			break;
}

void
rt_job_model_changed(struct rt_model *m)
{
	struct tf_node *e, *tmp, *j, *jtmp;

	for (unsigned prio = 0; prio < RT_PRIORITIES; prio++)
		TF_LIST_EACH(&m->queue[prio].shares, e, tmp) {
			struct rt_share *s = TF_CONTAINER(e, struct rt_share, node);

			TF_LIST_EACH(&s->jobs, j, jtmp)
				arm(TF_CONTAINER(j, struct rt_job, node));
		}
}
