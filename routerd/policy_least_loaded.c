/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least loaded worker: smallest part of its slots in use, then the clearly faster one
 * to its first token, then the one that has waited longest for a job.
 */
#include "config.h"

#include "routerd/inside.h"

/* Slots that are in use or not ours to fill. */
static uint64_t
busy(const struct rt_worker *w)
{
	uint64_t credit = rt_worker_credit(w);

	return credit < w->slots ? w->slots - credit : 0;
}

/* Measured times scatter: an eighth apart is no difference, and unknown is no reason. */
static bool
clearly_faster(const struct rt_worker *a, const struct rt_worker *b)
{
	return a->first_us != 0 && b->first_us != 0 && a->first_us + a->first_us / 8 < b->first_us;
}

static bool
better(const struct rt_worker *a, const struct rt_worker *b)
{
	/* a/x < b/y without division; slots are far below 2^32 */
	uint64_t x = busy(a) * b->slots, y = busy(b) * a->slots;

	if (x != y)
		return x < y;
	if (clearly_faster(a, b))
		return true;
	if (clearly_faster(b, a))
		return false;
	return a->last_pick < b->last_pick;
}

static struct rt_serve *
pick(const struct rt_job *job)
{
	struct rt_serve *best = NULL;
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&job->model->serves, e, tmp) {
		struct rt_serve *s = TF_CONTAINER(e, struct rt_serve, model_node);

		if (rt_serve_fits(s, job) && (best == NULL || better(s->worker, best->worker)))
			best = s;
	}
	return best;
}

const struct rt_policy rt_policy_least_loaded = { "least-loaded", pick };
