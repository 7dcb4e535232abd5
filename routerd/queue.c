/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that wait for a model: per priority a ring of workspaces, each with its jobs in
 * order. A workspace that was served goes to the end of the ring, so one with a thousand
 * jobs delays another one's first job by one job.
 */
#include "config.h"

#include <stdlib.h>

#include "routerd/inside.h"

static struct rt_share *
share_get(struct rt_queue *q, struct tf_span workspace)
{
	struct rt_share *s = tf_map_get(&q->by_workspace, workspace);

	if (s != NULL)
		return s;
	s = calloc(1, sizeof *s + workspace.n);
	if (s == NULL)
		return NULL;
	s->queue = q;
	s->key_n = workspace.n;
	if (workspace.n > 0)
		memcpy(s->key, workspace.p, workspace.n);
	tf_list_init(&s->jobs);
	if (tf_map_put(&q->by_workspace, tf_span(s->key, s->key_n), s) != 0) {
		free(s);
		return NULL;
	}
	tf_list_append(&q->shares, &s->node);
	return s;
}

int
rt_queue_put(struct rt_job *job, bool head)
{
	struct rt_queue *q = &job->model->queue[job->priority];
	struct rt_share *s = share_get(q, job->workspace);

	if (s == NULL)
		return TF_E_NOMEM;
	job->share = s;
	if (head) {
		tf_list_prepend(&s->jobs, &job->node);
		tf_list_remove(&q->shares, &s->node);
		tf_list_prepend(&q->shares, &s->node);
	} else {
		tf_list_append(&s->jobs, &job->node);
	}
	job->model->queued++;
	return 0;
}

void
rt_queue_take(struct rt_job *job, bool served)
{
	struct rt_share *s = job->share;
	struct rt_queue *q = s->queue;

	tf_list_remove(&s->jobs, &job->node);
	job->share = NULL;
	job->model->queued--;
	if (s->jobs.n > 0) {
		if (served) {
			tf_list_remove(&q->shares, &s->node);
			tf_list_append(&q->shares, &s->node);
		}
		return;
	}
	tf_list_remove(&q->shares, &s->node);
	tf_map_del(&q->by_workspace, tf_span(s->key, s->key_n));
	free(s);
}

struct rt_job *
rt_queue_next(const struct rt_serve *serve, unsigned priority)
{
	struct tf_node *e, *tmp, *j, *jtmp;

	TF_LIST_EACH(&serve->model->queue[priority].shares, e, tmp) {
		struct rt_share *s = TF_CONTAINER(e, struct rt_share, node);

		TF_LIST_EACH(&s->jobs, j, jtmp) {
			struct rt_job *job = TF_CONTAINER(j, struct rt_job, node);

			if ((job->needs & ~serve->needs) == 0)
				return job;
		}
	}
	return NULL;
}
