/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers: what they announced, their slot credits, and what they were given. Credits
 * count from the beginning of a session on both sides, so nothing has to be settled when
 * one ends: what was not taken is given back to its gateway.
 */
#include "config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "routerd/inside.h"

#define NONE tf_span(NULL, 0)
#define SLOTS_MAX 1000000u

const char *
rt_worker_state_text(enum rt_worker_state state)
{
	static const char *const texts[] = { "joined", "up", "down", "draining", "?", "gone" };

	return texts[state];
}

uint64_t
rt_worker_credit(const struct rt_worker *w)
{
	uint64_t gone = w->used + w->returned;

	return w->issued > gone ? w->issued - gone : 0;
}

struct rt_worker *
rt_worker_find(const struct rt *rt, struct tf_span name)
{
	struct wire_peer *p = wire_hub_find(rt->hub, name);

	return p != NULL && p->role == WIRE_ROLE_WK ? p->user : NULL;
}

uint64_t
rt_worker_wanted(const struct rt_worker *w)
{
	struct tf_node *e, *tmp;
	uint64_t n = 0;

	TF_LIST_EACH(&w->serves, e, tmp)
		n += TF_CONTAINER(e, struct rt_serve, worker_node)->model->queued;
	return n;
}

/* ---- states ------------------------------------------------------------------------------- */

static size_t
registered(const struct rt *rt)
{
	return rt->workers[RT_WORKER_UP].n + rt->workers[RT_WORKER_DOWN].n + rt->workers[RT_WORKER_DRAINING].n;
}

/* The one place that changes worker->state. */
static void
change_state(struct rt_worker *w, enum rt_worker_state to)
{
	struct rt *rt = w->rt;
	struct tf_node *e, *tmp;

	assert(w->state != RT_WORKER_GONE);
	if (tf_node_linked(&w->node))
		tf_list_remove(&rt->workers[w->state], &w->node);
	if (w->state != to && to != RT_WORKER_GONE)
		tf_log(TF_INFO, "worker", NULL, "worker %s name=%s slots=%llu models=%zu", rt_worker_state_text(to),
		    w->peer->name, (unsigned long long)w->slots, w->serves.n);
	w->state = to;
	if (to < RT_WORKER_STATES)
		tf_list_append(&rt->workers[to], &w->node);
	tf_metric_set(TF_M_RT_WORKERS, registered(rt));
	TF_LIST_EACH(&w->serves, e, tmp)
		rt_model_count(TF_CONTAINER(e, struct rt_serve, worker_node)->model);
}

void
rt_worker_settle(struct rt_worker *w)
{
	enum rt_worker_state to = RT_WORKER_DOWN;

	if (w->state == RT_WORKER_JOINED && w->slots == 0)
		return; /* no READY yet */
	if (w->wants_drain || tf_map_get(&w->rt->drained, tf_cspan(w->peer->name)) != NULL)
		to = RT_WORKER_DRAINING;
	else if (w->up)
		to = RT_WORKER_UP;
	if (to != w->state)
		change_state(w, to);
	rt_job_pump(w);
}

int
rt_worker_up(struct rt *rt, struct wire_peer *peer)
{
	struct rt_worker *w = calloc(1, sizeof *w);
	const struct rt_drained *drained;

	if (w == NULL)
		return TF_E_NOMEM;
	drained = tf_map_get(&rt->drained, tf_cspan(peer->name));
	if (drained != NULL && drained->boot != peer->boot)
		free(tf_map_del(&rt->drained, tf_cspan(peer->name)));
	w->rt = rt;
	w->peer = peer;
	peer->user = w;
	tf_list_init(&w->serves);
	tf_list_init(&w->sent);
	change_state(w, RT_WORKER_JOINED);
	return 0;
}

void
rt_worker_down(struct rt_worker *w)
{
	struct tf_node *e;

	change_state(w, RT_WORKER_GONE);
	while ((e = tf_list_first(&w->serves)) != NULL)
		rt_serve_free(TF_CONTAINER(e, struct rt_serve, worker_node));
	while ((e = tf_list_first(&w->sent)) != NULL) {
		struct rt_job *job = TF_CONTAINER(e, struct rt_job, node);

		if (w->rt->leaving)
			rt_job_end(job);
		else
			rt_job_refuse(job, TF_E_MODEL_UNAVAILABLE,
			    "The worker went away before it took the request.", RT_RETRY_ABSENT_S, true);
	}
	ev_free_later(w->rt->loop, w, free);
}

/* ---- what it says ------------------------------------------------------------------------- */

static void
on_ready(struct rt_worker *w, const struct wire_ready *m)
{
	struct wire_model_rec rec;
	struct tf_node *e;
	struct wire_rep it;
	struct tf_span s;

	if (m->slots == 0 || m->slots > SLOTS_MAX || m->class.n >= sizeof w->class) {
		wire_drop(w->peer, "READY with impossible values");
		return;
	}
	for (it = m->model; wire_next(&it, &s);)
		if (wire_dec_model_rec(s, &rec) != 0 || rec.id.n == 0) {
			wire_drop(w->peer, "READY with a malformed model");
			return;
		}
	memset(w->class, 0, sizeof w->class);
	memcpy(w->class, m->class.p, m->class.n);
	w->slots = m->slots;
	w->up = m->up != 0;
	w->wants_drain = m->draining != 0;
	w->dialects = m->dialects;
	while ((e = tf_list_first(&w->serves)) != NULL)
		rt_serve_free(TF_CONTAINER(e, struct rt_serve, worker_node));
	for (it = m->model; wire_next(&it, &s);)
		if (wire_dec_model_rec(s, &rec) == 0 && rt_serve_new(w, &rec) != 0) {
			wire_drop(w->peer, "no memory for its models");
			return;
		}
	rt_worker_settle(w);
}

static void
on_reject(struct rt_worker *w, const struct wire_frame *f, const struct wire_reject *m)
{
	struct rt_job *job = rt_job_find(w->rt, f);

	if (job == NULL || job->worker != w)
		return; /* cancelled meanwhile */
	if (tf_span_is(m->code, "busy")) {
		rt_job_back(job);
		return;
	}
	(void)wire_forward(job->gateway->peer, f->raw, 0, 0);
	rt_job_end(job);
}

static void
on_recall(struct rt_worker *w, const struct wire_recall *m)
{
	uint64_t credit = rt_worker_credit(w), n = m->count < credit ? m->count : credit;
	struct wire_returned r;

	w->returned += n;
	r = (struct wire_returned){ .returned = w->returned };
	(void)wire_send_returned(w->peer, NULL, 0, &r, NONE);
}

void
rt_worker_frame(struct rt_worker *w, const struct wire_frame *f, const union wire_any *m)
{
	struct rt_job *job;

	switch (f->verb) {
	case WIRE_READY:
		on_ready(w, &m->ready);
		break;
	case WIRE_SLOTS:
		if (m->slots.issued > w->issued) {
			w->issued = m->slots.issued;
			rt_job_pump(w);
		}
		break;
	case WIRE_TAKEN:
		job = rt_job_find(w->rt, f);
		if (job != NULL && job->worker == w)
			rt_job_end(job);
		break;
	case WIRE_REJECT:
		on_reject(w, f, &m->reject);
		break;
	case WIRE_LOAD:
		w->active = m->load.active;
		w->first_us = m->load.first_us;
		w->mtps = m->load.mtps;
		w->errors_ppm = m->load.errors_ppm;
		break;
	case WIRE_RECALL:
		on_recall(w, &m->recall);
		break;
	default: /* a newer minor version's; allowed, and not for us */
		break;
	}
}

/* ---- the operator's drain ----------------------------------------------------------------- */

static bool
undrain(struct rt *rt, struct tf_span name)
{
	struct rt_drained *d = tf_map_del(&rt->drained, name);

	free(d);
	return d != NULL;
}

static int
note_drained(struct rt *rt, const struct rt_worker *w)
{
	struct rt_drained *d = calloc(1, sizeof *d);
	int rc;

	if (d == NULL)
		return TF_E_NOMEM;
	d->boot = w->peer->boot;
	snprintf(d->name, sizeof d->name, "%s", w->peer->name);
	rc = tf_map_put(&rt->drained, tf_cspan(d->name), d);
	if (rc != 0)
		free(d);
	return rc;
}

int
rt_worker_drain(struct rt *rt, struct tf_span name, bool on)
{
	struct rt_worker *w = rt_worker_find(rt, name);
	int rc = 0;

	if (!on)
		rc = undrain(rt, name) ? 0 : TF_E_NOENT;
	else if (w == NULL)
		rc = TF_E_NOENT;
	else if (tf_map_get(&rt->drained, name) == NULL)
		rc = note_drained(rt, w);
	if (rc == 0 && w != NULL)
		rt_worker_settle(w);
	return rc;
}
