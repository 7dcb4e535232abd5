/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub of routerd: who is in session, the snapshots everybody gets, draining. What a
 * message means to jobs and workers stands in job.c and worker.c.
 */
#include "config.h"

#include <stdlib.h>

#include "routerd/inside.h"

#define NONE tf_span(NULL, 0)

/* ---- snapshots ---------------------------------------------------------------------------- */

static int
gateway_records(struct rt *rt, struct tf_buf *b)
{
	struct tf_node *e, *tmp;
	int rc = 0;

	TF_LIST_EACH(&rt->gateways, e, tmp) {
		struct rt_gateway *g = TF_CONTAINER(e, struct rt_gateway, node);
		struct wire_gateway_rec rec = { .name = tf_cspan(g->peer->name), .boot = g->peer->boot,
			.endpoint = tf_cspan(g->peer->endpoint) };

		rc = rc ? rc : wire_rep_add_gateway_rec(b, WIRE_FN_GATEWAYS_gateway, &rec);
	}
	return rc;
}

static void
say_gateways(struct rt *rt, struct wire_peer *only)
{
	struct wire_gateways m = { 0 };
	struct tf_buf b = { 0 };
	struct tf_node *e, *tmp;

	if (gateway_records(rt, &b) == 0) {
		m.gateway = wire_rep_of(&b, WIRE_FN_GATEWAYS_gateway);
		if (only != NULL)
			(void)wire_send_gateways(only, NULL, 0, &m, NONE);
		for (unsigned i = 0; only == NULL && i < RT_WORKER_STATES; i++)
			TF_LIST_EACH(&rt->workers[i], e, tmp)
				(void)wire_send_gateways(TF_CONTAINER(e, struct rt_worker, node)->peer, NULL, 0,
				    &m, NONE);
	}
	tf_buf_free(&b);
}

static int
model_records(struct rt *rt, struct tf_buf *b)
{
	struct tf_node *e, *tmp, *s, *stmp;
	int rc = 0;

	TF_LIST_EACH(&rt->models, e, tmp) {
		struct rt_model *m = TF_CONTAINER(e, struct rt_model, node);
		struct wire_live_rec rec = { .id = tf_cspan(m->id), .workers = m->live };

		if (m->serves.n == 0)
			continue;
		TF_LIST_EACH(&m->serves, s, stmp)
			rec.needs |= TF_CONTAINER(s, struct rt_serve, model_node)->needs;
		rc = rc ? rc : wire_rep_add_live_rec(b, WIRE_FN_MODELS_model, &rec);
	}
	return rc;
}

static void
say_models_to(struct rt *rt, struct wire_peer *p)
{
	struct wire_models m = { .model = wire_rep_of(&rt->models_said, WIRE_FN_MODELS_model) };

	(void)wire_send_models(p, NULL, 0, &m, NONE);
}

/* To all gateways, unless nothing that they see has changed. */
static void
say_models(struct rt *rt)
{
	struct tf_buf b = { 0 };
	struct tf_node *e, *tmp;

	if (model_records(rt, &b) != 0 || tf_span_eq(tf_buf_span(&b), tf_buf_span(&rt->models_said))) {
		tf_buf_free(&b);
		return;
	}
	tf_buf_free(&rt->models_said);
	rt->models_said = b;
	TF_LIST_EACH(&rt->gateways, e, tmp)
		say_models_to(rt, TF_CONTAINER(e, struct rt_gateway, node)->peer);
}

/* What waits is told when it begins, ends, doubles or halves. */
static void
want_due(void *arg)
{
	struct rt *rt = arg;
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&rt->workers[RT_WORKER_UP], e, tmp) {
		struct rt_worker *w = TF_CONTAINER(e, struct rt_worker, node);
		uint64_t now = rt_worker_wanted(w), said = w->want_said;
		struct wire_want m = { .queued = now };

		if (now == said || (now != 0 && said != 0 && now < said * 2 && now * 2 > said))
			continue;
		if (wire_send_lazy(w->peer, WIRE_WANT, NULL, 0, &m, NONE) == 0)
			w->want_said = now;
	}
}

static void
end_drain(struct rt *rt)
{
	void (*fn)(void *arg) = rt->drained_fn;

	rt->drained_fn = NULL;
	ev_timer_del(&rt->drain_timer);
	if (fn != NULL)
		fn(rt->drained_arg);
}

static void
turn_end(void *arg)
{
	struct rt *rt = arg;

	if (rt->gateways_dirty)
		say_gateways(rt, NULL);
	if (rt->models_dirty)
		say_models(rt);
	rt->gateways_dirty = rt->models_dirty = false;
	if (rt->draining && rt->queued + rt->sent == 0)
		end_drain(rt);
}

void
rt_changed(struct rt *rt, bool gateways, bool models)
{
	rt->gateways_dirty = rt->gateways_dirty || gateways;
	rt->models_dirty = rt->models_dirty || models;
	ev_turn_arm(rt->loop, &rt->turn);
}

void
rt_queue_changed(struct rt *rt)
{
	if (rt->draining)
		ev_turn_arm(rt->loop, &rt->turn);
	if (!ev_timer_pending(&rt->want))
		ev_timer_set(&rt->want, RT_WANT_MS);
}

/* ---- gateways ----------------------------------------------------------------------------- */

static int
gateway_up(struct rt *rt, struct wire_peer *peer)
{
	struct rt_gateway *g = calloc(1, sizeof *g);

	if (g == NULL)
		return TF_E_NOMEM;
	g->rt = rt;
	g->peer = peer;
	peer->user = g;
	tf_list_init(&g->jobs);
	tf_list_append(&rt->gateways, &g->node);
	say_models_to(rt, peer);
	rt_changed(rt, true, false);
	return 0;
}

/* A worker may hold the job already: it will hear from the new boot or from nobody. */
static void
cancel_sent(struct rt_job *job, const struct wire_cancel *m)
{
	const struct wire_frame *f = &job->frame->frame;

	if (job->state == RT_JOB_SENT && !job->rt->leaving)
		(void)wire_send_cancel(job->worker->peer, &f->id, f->attempt, m, NONE);
	rt_job_end(job);
}

static void
gateway_down(struct rt_gateway *g)
{
	struct wire_cancel m = { .reason = WIRE_CANCEL_GATEWAY_LOST };
	struct rt *rt = g->rt;
	struct tf_node *e;

	while ((e = tf_list_first(&g->jobs)) != NULL)
		cancel_sent(TF_CONTAINER(e, struct rt_job, gateway_node), &m);
	tf_list_remove(&rt->gateways, &g->node);
	ev_free_later(rt->loop, g, free);
	rt_changed(rt, true, false);
}

static void
gateway_frame(struct rt_gateway *g, const struct wire_frame *f, const union wire_any *m)
{
	struct rt_job *job;

	if (f->verb == WIRE_DISPATCH) {
		rt_job_arrived(g, f, &m->dispatch);
	} else if (f->verb == WIRE_CANCEL) {
		job = rt_job_find(g->rt, f);
		if (job != NULL && job->gateway == g)
			cancel_sent(job, &m->cancel);
	}
}

/* ---- hooks -------------------------------------------------------------------------------- */

static void
on_up(void *arg, struct wire_peer *p)
{
	struct rt *rt = arg;
	int rc;

	if (p->role == WIRE_ROLE_GW && p->endpoint[0] == '\0') {
		wire_drop(p, "a gateway that does not say where it listens");
		return;
	}
	rc = p->role == WIRE_ROLE_GW ? gateway_up(rt, p) : rt_worker_up(rt, p);
	if (rc != 0)
		wire_drop(p, "no memory for it");
	else if (p->role == WIRE_ROLE_WK)
		say_gateways(rt, p);
}

static void
on_down(void *arg, struct wire_peer *p, const char *why)
{
	(void)arg;
	(void)why;
	if (p->user == NULL)
		return;
	if (p->role == WIRE_ROLE_GW)
		gateway_down(p->user);
	else
		rt_worker_down(p->user);
	p->user = NULL;
}

static void
on_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	(void)arg;
	if (p->user == NULL)
		return;
	if (p->role == WIRE_ROLE_GW)
		gateway_frame(p->user, f, m);
	else
		rt_worker_frame(p->user, f, m);
}

/* ---- life --------------------------------------------------------------------------------- */

static void
drain_due(void *arg)
{
	struct rt *rt = arg;
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&rt->gateways, e, tmp) {
		struct rt_gateway *g = TF_CONTAINER(e, struct rt_gateway, node);
		struct tf_node *j, *jtmp;

		TF_LIST_EACH(&g->jobs, j, jtmp) {
			struct rt_job *job = TF_CONTAINER(j, struct rt_job, gateway_node);

			/* what was sent is the worker's: it may have it already */
			if (job->state == RT_JOB_QUEUED)
				rt_job_refuse(job, TF_E_OVERLOADED, "This router is stopping.", 1, true);
		}
	}
	end_drain(rt);
}

static void
set_options(struct rt *rt, const struct rt_options *options)
{
	rt->options = *options;
	if (rt->options.grace_ms == 0)
		rt->options.grace_ms = RT_GRACE_MS;
}

int
rt_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct wire_self *self,
    const char *endpoint, const struct rt_options *options, struct rt **out)
{
	struct rt *rt = calloc(1, sizeof *rt);
	struct wire_hooks hooks = { on_up, on_down, on_frame, rt };
	struct wire_self me = *self;
	int rc;

	if (rt == NULL)
		return TF_E_NOMEM;
	rt->loop = loop;
	rt->policy = &rt_policy_least_loaded;
	set_options(rt, options);
	for (unsigned i = 0; i < RT_WORKER_STATES; i++)
		tf_list_init(&rt->workers[i]);
	tf_list_init(&rt->gateways);
	tf_list_init(&rt->models);
	ev_turn_init(&rt->turn, turn_end, rt);
	ev_timer_init(&rt->want, loop, want_due, rt);
	ev_timer_init(&rt->drain_timer, loop, drain_due, rt);
	me.role = WIRE_ROLE_RT;
	me.roles = WIRE_ROLE_GW | WIRE_ROLE_WK;
	rc = wire_hub_new(loop, ctx, &me, endpoint, &hooks, &rt->hub);
	if (rc != 0) {
		free(rt);
		return rc;
	}
	*out = rt;
	return 0;
}

void
rt_free(struct rt **prt)
{
	struct rt *rt = *prt;
	size_t pos = 0;
	void *drained;

	*prt = NULL;
	if (rt == NULL)
		return;
	rt->draining = true; /* nothing starts any more while peers go */
	rt->drained_fn = NULL;
	drain_due(rt);
	rt->leaving = true;
	wire_hub_free(&rt->hub);
	ev_turn_disarm(rt->loop, &rt->turn);
	ev_timer_del(&rt->want);
	ev_timer_del(&rt->drain_timer);
	while ((drained = tf_map_next(&rt->drained, &pos)) != NULL)
		free(drained);
	tf_map_free(&rt->drained);
	tf_map_free(&rt->jobs);
	tf_map_free(&rt->models_by_id);
	tf_buf_free(&rt->models_said);
	ev_free_later(rt->loop, rt, free);
}

void
rt_reload(struct rt *rt, const struct rt_options *options)
{
	set_options(rt, options);
}

void
rt_drain(struct rt *rt, uint64_t timeout_ms, void (*done)(void *arg), void *arg)
{
	rt->draining = true;
	rt->drained_fn = done;
	rt->drained_arg = arg;
	ev_timer_set(&rt->drain_timer, timeout_ms);
	ev_turn_arm(rt->loop, &rt->turn);
}

struct rt_stats
rt_stats(const struct rt *rt)
{
	struct rt_stats s = { .gateways = rt->gateways.n, .workers_up = rt->workers[RT_WORKER_UP].n,
		.models = rt->models.n, .queued = rt->queued, .sent = rt->sent, .draining = rt->draining };

	for (unsigned i = 0; i < RT_WORKER_STATES; i++)
		s.workers += rt->workers[i].n;
	return s;
}
