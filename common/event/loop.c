/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: libevent runs one turn at a time, so that there is an end of the turn, where hooks run
 * and memory goes. libevent's own deferral (priorities, event_active) has no such moment: a low
 * priority starves under load.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/event/inside.h"

#define EV_PASSES 4 /* flushes of hooks in one turn; hooks arm each other a few times at most */

struct ev_later {
	struct tf_node node;
	void *ptr;
	void (*free_fn)(void *ptr);
};
struct ev_posted {
	struct tf_node node;
	void (*fn)(void *arg);
	void *arg;
};

static void
ev_posts_run(evutil_socket_t fd, short what, void *arg)
{
	struct ev_loop *loop = arg;
	struct tf_node *e;
	uint64_t count;
	size_t n;

	(void)what;
	if (read(fd, &count, sizeof count) != sizeof count && errno != EAGAIN)
		return;
	pthread_mutex_lock(&loop->lock);
	n = loop->posts.n; /* those posted meanwhile have rung again */
	while (n-- > 0 && (e = tf_list_pop(&loop->posts)) != NULL) {
		struct ev_posted *p = TF_CONTAINER(e, struct ev_posted, node);

		pthread_mutex_unlock(&loop->lock);
		p->fn(p->arg);
		free(p);
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

static struct event_base *
ev_base_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (cfg == NULL)
		return NULL;
	if (event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV |
	    EVENT_BASE_FLAG_PRECISE_TIMER) == 0 &&
	    event_config_require_features(cfg, EV_FEATURE_EARLY_CLOSE) == 0)
		base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	return base;
}

struct ev_loop *
ev_loop_new(void)
{
	struct ev_loop *loop = calloc(1, sizeof *loop);

	if (loop == NULL)
		return NULL;
	tf_list_init(&loop->turns);
	tf_list_init(&loop->frees);
	tf_list_init(&loop->children);
	tf_list_init(&loop->posts);
	pthread_mutex_init(&loop->lock, NULL);
	loop->postfd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loop->base = ev_base_new();
	if (loop->postfd < 0 || loop->base == NULL ||
	    event_assign(&loop->post, loop->base, loop->postfd, EV_READ | EV_PERSIST, ev_posts_run, loop) != 0 ||
	    event_add(&loop->post, NULL) != 0) {
		if (loop->base != NULL)
			event_base_free(loop->base);
		if (loop->postfd >= 0)
			close(loop->postfd);
		free(loop);
		return NULL;
	}
	return loop;
}

static void
ev_frees_run(struct ev_loop *loop)
{
	struct tf_node *e;

	while ((e = tf_list_pop(&loop->frees)) != NULL) {
		struct ev_later *l = TF_CONTAINER(e, struct ev_later, node);

		l->free_fn(l->ptr);
		free(l);
	}
}

void
ev_loop_free(struct ev_loop **loopp)
{
	struct ev_loop *loop = *loopp;
	struct tf_node *e;

	*loopp = NULL;
	if (loop == NULL)
		return;
	ev_frees_run(loop);
	while ((e = tf_list_pop(&loop->posts)) != NULL)
		free(TF_CONTAINER(e, struct ev_posted, node));
	ev_children_close(loop);
	event_del(&loop->post);
	event_base_free(loop->base);
	close(loop->postfd);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

static void
ev_turns_run(struct ev_loop *loop)
{
	for (int pass = 0; pass < EV_PASSES && loop->turns.n > 0; pass++) {
		size_t n = loop->turns.n;
		struct tf_node *e;

		while (n-- > 0 && (e = tf_list_pop(&loop->turns)) != NULL) {
			struct ev_turn *t = TF_CONTAINER(e, struct ev_turn, node);

			t->cb(t->arg);
		}
	}
}

int
ev_loop_once(struct ev_loop *loop, bool wait)
{
	int flags = EVLOOP_ONCE;
	int rc;

	if (!wait || loop->turns.n > 0 || loop->frees.n > 0)
		flags |= EVLOOP_NONBLOCK;
	rc = event_base_loop(loop->base, flags);
	ev_turns_run(loop);
	ev_frees_run(loop);
	return rc < 0 ? TF_E_IO : 0;
}

int
ev_loop_run(struct ev_loop *loop)
{
	int rc = 0;

	loop->stop = false;
	while (rc == 0 && !loop->stop)
		rc = ev_loop_once(loop, true);
	return rc;
}

void
ev_loop_stop(struct ev_loop *loop)
{
	loop->stop = true;
	(void)event_base_loopbreak(loop->base);
}

struct event_base *
ev_loop_base(struct ev_loop *loop)
{
	return loop->base;
}

int
ev_post(struct ev_loop *loop, void (*fn)(void *arg), void *arg)
{
	struct ev_posted *p = calloc(1, sizeof *p);
	uint64_t one = 1;

	if (p == NULL)
		return TF_E_NOMEM;
	p->fn = fn;
	p->arg = arg;
	pthread_mutex_lock(&loop->lock);
	tf_list_append(&loop->posts, &p->node);
	pthread_mutex_unlock(&loop->lock);
	/* a full counter cannot happen before 2^64 posts, and would wake the loop all the same */
	if (write(loop->postfd, &one, sizeof one) != sizeof one && errno != EAGAIN)
		return TF_E_IO;
	return 0;
}

void
ev_turn_init(struct ev_turn *t, void (*cb)(void *arg), void *arg)
{
	*t = (struct ev_turn){ .cb = cb, .arg = arg };
}

void
ev_turn_arm(struct ev_loop *loop, struct ev_turn *t)
{
	if (!tf_node_linked(&t->node))
		tf_list_append(&loop->turns, &t->node);
}

void
ev_turn_disarm(struct ev_loop *loop, struct ev_turn *t)
{
	if (tf_node_linked(&t->node))
		tf_list_remove(&loop->turns, &t->node);
}

void
ev_free_later(struct ev_loop *loop, void *ptr, void (*free_fn)(void *ptr))
{
	struct ev_later *l = calloc(1, sizeof *l);

	/* freeing at once could pull the ground from under a caller: without memory for a note, it leaks */
	if (l == NULL) {
		tf_log(TF_ERROR, "event", NULL, "no memory to free later");
		return;
	}
	l->ptr = ptr;
	l->free_fn = free_fn;
	tf_list_append(&loop->frees, &l->node);
}
