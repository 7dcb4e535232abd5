/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routerd's part of the operator channel: what it knows, and draining a worker.
 */
#include "config.h"

#include "common/ctl/ctl.h"
#include "routerd/inside.h"

/* One row: routerd as a whole. */
static void
cmd_status(void *arg, struct ctl_req *req)
{
	struct rt *rt = rt_of_command(arg);
	struct rt_stats s = rt_stats(rt);
	struct js_w *w = ctl_row(req);
	uint64_t slots = 0, credit = 0;

	for (unsigned i = 0; i < RT_WORKER_STATES; i++) {
		struct tf_node *e, *tmp;

		TF_LIST_EACH(&rt->workers[i], e, tmp) {
			const struct rt_worker *k = TF_CONTAINER(e, struct rt_worker, node);

			slots += k->slots;
			credit += rt_worker_credit(k);
		}
	}
	js_w_kcstr(w, "state", s.draining ? "draining" : "up");
	js_w_ku64(w, "wire_major", WIRE_MAJOR);
	js_w_ku64(w, "wire_minor", WIRE_MINOR);
	js_w_kcstr(w, "policy", rt->policy->name);
	js_w_ku64(w, "gateways", s.gateways);
	js_w_ku64(w, "workers", s.workers);
	js_w_ku64(w, "workers_up", s.workers_up);
	js_w_ku64(w, "models", s.models);
	js_w_ku64(w, "slots", slots);
	js_w_ku64(w, "credit", credit);
	js_w_ku64(w, "queued", s.queued);
	js_w_ku64(w, "sent", s.sent);
	js_w_ku64(w, "dispatched", rt->picks);
	ctl_row_end(req);
	ctl_end(req);
}

static void
worker_row(struct ctl_req *req, const struct rt_worker *k)
{
	struct js_w *w = ctl_row(req);
	struct tf_node *e, *tmp;

	js_w_kcstr(w, "name", k->peer->name);
	js_w_kcstr(w, "state", rt_worker_state_text(k->state));
	js_w_kcstr(w, "class", k->class);
	js_w_kcstr(w, "build", k->peer->build);
	js_w_ku64(w, "wire_major", k->peer->major);
	js_w_ku64(w, "wire_minor", k->peer->minor);
	js_w_ku64(w, "dialects", k->dialects);
	js_w_ku64(w, "slots", k->slots);
	js_w_ku64(w, "active", k->active);
	js_w_ku64(w, "credit", rt_worker_credit(k));
	js_w_ku64(w, "sent", k->sent.n);
	js_w_ku64(w, "dispatched", k->used);
	js_w_ku64(w, "first_us", k->first_us);
	js_w_ku64(w, "mtps", k->mtps);
	js_w_ku64(w, "errors_ppm", k->errors_ppm);
	js_w_ku64(w, "silent_ms", wire_silent_ms(k->peer));
	js_w_key(w, "models");
	js_w_array(w);
	TF_LIST_EACH(&k->serves, e, tmp)
		js_w_cstr(w, TF_CONTAINER(e, struct rt_serve, worker_node)->model->id);
	js_w_array_end(w);
	ctl_row_end(req);
}

static void
cmd_workers(void *arg, struct ctl_req *req)
{
	struct rt *rt = rt_of_command(arg);
	struct tf_node *e, *tmp;

	for (unsigned i = 0; i < RT_WORKER_STATES; i++)
		TF_LIST_EACH(&rt->workers[i], e, tmp)
			worker_row(req, TF_CONTAINER(e, struct rt_worker, node));
	ctl_end(req);
}

static void
cmd_gateways(void *arg, struct ctl_req *req)
{
	struct rt *rt = rt_of_command(arg);
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&rt->gateways, e, tmp) {
		const struct rt_gateway *g = TF_CONTAINER(e, struct rt_gateway, node);
		struct js_w *w = ctl_row(req);

		js_w_kcstr(w, "name", g->peer->name);
		js_w_kcstr(w, "endpoint", g->peer->endpoint);
		js_w_kcstr(w, "build", g->peer->build);
		js_w_ku64(w, "wire_major", g->peer->major);
		js_w_ku64(w, "wire_minor", g->peer->minor);
		js_w_ku64(w, "jobs", g->jobs.n);
		js_w_ku64(w, "silent_ms", wire_silent_ms(g->peer));
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
cmd_models(void *arg, struct ctl_req *req)
{
	struct rt *rt = rt_of_command(arg);
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&rt->models, e, tmp) {
		const struct rt_model *m = TF_CONTAINER(e, struct rt_model, node);
		struct js_w *w = ctl_row(req);

		js_w_kcstr(w, "id", m->id);
		js_w_ku64(w, "workers", m->serves.n);
		js_w_ku64(w, "workers_up", m->live);
		js_w_ku64(w, "queued", m->queued);
		js_w_ku64(w, "sent", m->jobs - m->queued);
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
cmd_jobs(void *arg, struct ctl_req *req)
{
	struct rt *rt = rt_of_command(arg);
	struct rt_job *job;
	size_t pos = 0;

	while ((job = tf_map_next(&rt->jobs, &pos)) != NULL) {
		struct js_w *w = ctl_row(req);
		uint64_t now = tf_mono_ms();
		char id[TF_ID_TEXT + 1], workspace[2 * 16 + 1] = "";

		tf_id_text(job->frame->frame.id, id);
		tf_hex(job->workspace.p, job->workspace.n < 16 ? job->workspace.n : 16, workspace);
		js_w_kcstr(w, "request", id);
		js_w_ku64(w, "attempt", job->frame->frame.attempt);
		js_w_kcstr(w, "state", job->state == RT_JOB_QUEUED ? "queued" : "sent");
		js_w_kcstr(w, "model", job->model->id);
		js_w_kcstr(w, "gateway", job->gateway->peer->name);
		js_w_kcstr(w, "worker", job->worker ? job->worker->peer->name : NULL);
		js_w_kcstr(w, "workspace", workspace);
		js_w_kcstr(w, "priority", job->priority == 0 ? "interactive" : "batch");
		js_w_ku64(w, "age_ms", now - job->arrived_ms);
		js_w_ku64(w, "left_ms", job->deadline_ms > now ? job->deadline_ms - now : 0);
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
drain(struct rt *rt, struct ctl_req *req, bool on)
{
	struct tf_span name = ctl_str(req, "worker");
	struct rt_worker *k;
	int rc = rt_worker_drain(rt, name, on);

	if (rc == TF_E_NOENT) {
		ctl_fail(req, CTL_NOT_FOUND, on ? "no worker " TF_SPAN_FMT " is in session"
						: "worker " TF_SPAN_FMT " is not drained", TF_SPAN_ARG(name));
		return;
	}
	if (rc != 0) {
		ctl_fail(req, CTL_FAILED, "%s", tf_err_text(rc));
		return;
	}
	k = rt_worker_find(rt, name);
	if (k != NULL)
		worker_row(req, k);
	ctl_end(req);
}

static void
cmd_drain(void *arg, struct ctl_req *req)
{
	drain(rt_of_command(arg), req, true);
}

static void
cmd_undrain(void *arg, struct ctl_req *req)
{
	drain(rt_of_command(arg), req, false);
}

static const struct ctl_arg drain_args[] = {
	{ "worker", CTL_STR, true, "instance name of the worker" },
};

const struct ctl_cmd *
rt_commands(size_t *n)
{
	static const struct ctl_cmd commands[] = {
		{ "drain worker", cmd_drain, CTL_ADMIN, "sends a worker no new jobs", drain_args, 1 },
		{ "gateways", cmd_gateways, CTL_READ, "every gateway thread in session", NULL, 0 },
		{ "jobs", cmd_jobs, CTL_READ, "jobs that no worker has taken yet", NULL, 0 },
		{ "models", cmd_models, CTL_READ, "models, their workers and queues", NULL, 0 },
		{ "status", cmd_status, CTL_READ, "the router as a whole", NULL, 0 },
		{ "undrain worker", cmd_undrain, CTL_ADMIN, "gives a worker jobs again", drain_args, 1 },
		{ "workers", cmd_workers, CTL_READ, "every worker in session", NULL, 0 },
	};

	*n = TF_LEN(commands);
	return commands;
}
