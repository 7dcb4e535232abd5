/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Children: one SIGCHLD event per loop that has any. The signal only says "look": each awaited
 * child is asked for by its own pid, so that nobody else's child is reaped here.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "common/event/inside.h"

#define EV_CHILD_LOST 0xff00 /* waitpid(2) status of exit(255), for a child that was taken from us */

static void
ev_children_look(evutil_socket_t signo, short what, void *arg)
{
	struct ev_loop *loop = arg;
	size_t n = loop->children.n;
	struct tf_node *e;

	(void)signo;
	(void)what;
	/* each goes behind the others before the next is asked: a callback may add or drop any of them */
	while (n-- > 0 && (e = tf_list_pop(&loop->children)) != NULL) {
		struct ev_child *c = TF_CONTAINER(e, struct ev_child, node);
		int status = EV_CHILD_LOST;
		pid_t got = waitpid(c->pid, &status, WNOHANG);

		if (got == 0 || (got < 0 && errno == EINTR)) {
			tf_list_append(&loop->children, e);
			continue;
		}
		if (got < 0)
			tf_log(TF_ERROR, "event", NULL, "somebody else waited for our child pid=%d", (int)c->pid);
		c->cb(c, status, c->arg);
	}
}

int
ev_child_add(struct ev_child *c, struct ev_loop *loop, pid_t pid,
    void (*cb)(struct ev_child *c, int status, void *arg), void *arg)
{
	*c = (struct ev_child){ .loop = loop, .pid = pid, .cb = cb, .arg = arg };
	if (!loop->chld_on) {
		if (event_assign(&loop->chld, loop->base, SIGCHLD, EV_SIGNAL | EV_PERSIST, ev_children_look, loop) != 0 ||
		    event_add(&loop->chld, NULL) != 0)
			return TF_E_IO;
		loop->chld_on = true;
	}
	tf_list_append(&loop->children, &c->node);
	/* it may have ended before we listened */
	event_active(&loop->chld, EV_SIGNAL, 1);
	return 0;
}

void
ev_child_del(struct ev_child *c)
{
	if (tf_node_linked(&c->node))
		tf_list_remove(&c->loop->children, &c->node);
}

void
ev_children_close(struct ev_loop *loop)
{
	if (loop->chld_on)
		(void)event_del(&loop->chld);
	loop->chld_on = false;
}
