/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models as workers announce them, and which worker serves which. A model exists while a
 * worker serves it or a job asks for it.
 */
#include "config.h"

#include <stdlib.h>

#include "routerd/inside.h"

static void
model_free(void *arg)
{
	struct rt_model *m = arg;

	for (unsigned i = 0; i < RT_PRIORITIES; i++)
		tf_map_free(&m->queue[i].by_workspace);
	free(m->id);
	free(m);
}

struct rt_model *
rt_model_get(struct rt *rt, struct tf_span id)
{
	struct rt_model *m = tf_map_get(&rt->models_by_id, id);

	if (m != NULL)
		return m;
	m = calloc(1, sizeof *m);
	if (m == NULL)
		return NULL;
	m->rt = rt;
	m->id = tf_span_dup(id);
	tf_list_init(&m->serves);
	for (unsigned i = 0; i < RT_PRIORITIES; i++)
		tf_list_init(&m->queue[i].shares);
	if (m->id == NULL || tf_map_put(&rt->models_by_id, tf_span(m->id, id.n), m) != 0) {
		model_free(m);
		return NULL;
	}
	tf_list_append(&rt->models, &m->node);
	return m;
}

void
rt_model_idle(struct rt_model *m)
{
	struct rt *rt = m->rt;

	if (m->serves.n > 0 || m->jobs > 0 || !tf_node_linked(&m->node))
		return;
	tf_map_del(&rt->models_by_id, tf_cspan(m->id));
	tf_list_remove(&rt->models, &m->node);
	ev_free_later(rt->loop, m, model_free);
}

int
rt_serve_new(struct rt_worker *w, const struct wire_model_rec *rec)
{
	struct rt_model *m = rt_model_get(w->rt, rec->id);
	struct rt_serve *s;
	struct tf_node *e, *tmp;

	if (m == NULL)
		return TF_E_NOMEM;
	TF_LIST_EACH(&m->serves, e, tmp)
		if (TF_CONTAINER(e, struct rt_serve, model_node)->worker == w)
			return 0; /* named twice */
	s = calloc(1, sizeof *s);
	if (s == NULL) {
		rt_model_idle(m);
		return TF_E_NOMEM;
	}
	s->worker = w;
	s->model = m;
	s->needs = rec->needs;
	tf_list_append(&w->serves, &s->worker_node);
	tf_list_append(&m->serves, &s->model_node);
	rt_model_count(m);
	return 0;
}

void
rt_serve_free(struct rt_serve *s)
{
	struct rt_model *m = s->model;

	tf_list_remove(&s->worker->serves, &s->worker_node);
	tf_list_remove(&m->serves, &s->model_node);
	ev_free_later(m->rt->loop, s, free);
	rt_model_count(m);
	rt_model_idle(m);
}

void
rt_model_count(struct rt_model *m)
{
	struct tf_node *e, *tmp;
	size_t live = 0;

	TF_LIST_EACH(&m->serves, e, tmp)
		live += TF_CONTAINER(e, struct rt_serve, model_node)->worker->state == RT_WORKER_UP;
	m->live = live;
	if (m->queued > 0)
		rt_job_model_changed(m);
	rt_changed(m->rt, false, true);
}

bool
rt_model_live_for(const struct rt_model *m, uint64_t needs)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&m->serves, e, tmp) {
		const struct rt_serve *s = TF_CONTAINER(e, struct rt_serve, model_node);

		if (s->worker->state == RT_WORKER_UP && (needs & ~s->needs) == 0)
			return true;
	}
	return false;
}
