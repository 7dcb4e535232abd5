/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers, descriptors and signals: libevent's struct event inside our opaque words, so that none
 * of them allocates.
 */
#include "config.h"

#include "common/event/inside.h"

struct ev_timer_in {
	struct event ev;
	void (*cb)(void *arg);
	void *arg;
};
struct ev_fd_in {
	struct event ev;
	struct event_base *base;
	void (*cb)(struct ev_fd *f, int what, void *arg);
	void *arg;
	int fd, what;
};
struct ev_signal_in {
	struct event ev;
	void (*cb)(int signo, void *arg);
	void *arg;
	int on;
};
_Static_assert(sizeof(struct ev_timer_in) <= sizeof(struct ev_timer), "EV_OPAQUE is too small");
_Static_assert(sizeof(struct ev_fd_in) <= sizeof(struct ev_fd), "EV_OPAQUE is too small");
_Static_assert(sizeof(struct ev_signal_in) <= sizeof(struct ev_signal), "EV_OPAQUE is too small");

static void
ev_timer_fire(evutil_socket_t fd, short what, void *arg)
{
	struct ev_timer_in *t = arg;

	(void)fd;
	(void)what;
	t->cb(t->arg);
}

void
ev_timer_init(struct ev_timer *timer, struct ev_loop *loop, void (*cb)(void *arg), void *arg)
{
	struct ev_timer_in *t = (struct ev_timer_in *)timer->opaque;

	t->cb = cb;
	t->arg = arg;
	(void)event_assign(&t->ev, loop->base, -1, 0, ev_timer_fire, t);
}

void
ev_timer_set_us(struct ev_timer *timer, uint64_t us)
{
	struct ev_timer_in *t = (struct ev_timer_in *)timer->opaque;
	struct timeval tv = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };

	(void)event_add(&t->ev, &tv);
}

void
ev_timer_set(struct ev_timer *timer, uint64_t ms)
{
	ev_timer_set_us(timer, ms > UINT64_MAX / 1000 ? UINT64_MAX : ms * 1000);
}

void
ev_timer_del(struct ev_timer *timer)
{
	struct ev_timer_in *t = (struct ev_timer_in *)timer->opaque;

	if (t->cb != NULL)
		(void)event_del(&t->ev);
}

bool
ev_timer_pending(const struct ev_timer *timer)
{
	const struct ev_timer_in *t = (const struct ev_timer_in *)timer->opaque;

	return t->cb != NULL && event_pending(&t->ev, EV_TIMEOUT, NULL) != 0;
}

static void
ev_fd_fire(evutil_socket_t fd, short what, void *arg)
{
	struct ev_fd *f = arg;
	struct ev_fd_in *in = (struct ev_fd_in *)f->opaque;
	int got = 0;

	(void)fd;
	if (what & EV_READ)
		got |= EV_FD_READ;
	if (what & EV_WRITE)
		got |= EV_FD_WRITE;
	if (what & EV_CLOSED)
		got |= EV_FD_CLOSED;
	in->cb(f, got, in->arg);
}

void
ev_fd_init(struct ev_fd *f, struct ev_loop *loop, int fd, void (*cb)(struct ev_fd *f, int what, void *arg), void *arg)
{
	struct ev_fd_in *in = (struct ev_fd_in *)f->opaque;

	in->base = loop->base;
	in->cb = cb;
	in->arg = arg;
	in->fd = fd;
	in->what = 0;
	(void)event_assign(&in->ev, loop->base, fd, EV_PERSIST, ev_fd_fire, f);
}

int
ev_fd_watch(struct ev_fd *f, int what)
{
	struct ev_fd_in *in = (struct ev_fd_in *)f->opaque;
	short bits = EV_PERSIST;

	if (in->cb == NULL || what == in->what)
		return 0;
	if (in->what != 0)
		(void)event_del(&in->ev);
	in->what = what;
	if (what == 0)
		return 0;
	if (what & EV_FD_READ)
		bits |= EV_READ;
	if (what & EV_FD_WRITE)
		bits |= EV_WRITE;
	if (what & EV_FD_CLOSED)
		bits |= EV_CLOSED;
	if (event_assign(&in->ev, in->base, in->fd, bits, ev_fd_fire, f) != 0 || event_add(&in->ev, NULL) != 0) {
		in->what = 0;
		return TF_E_IO;
	}
	return 0;
}

int
ev_fd_get(const struct ev_fd *f)
{
	return ((const struct ev_fd_in *)f->opaque)->fd;
}

static void
ev_signal_fire(evutil_socket_t signo, short what, void *arg)
{
	struct ev_signal_in *s = arg;

	(void)what;
	s->cb((int)signo, s->arg);
}

int
ev_signal_add(struct ev_signal *sig, struct ev_loop *loop, int signo, void (*cb)(int signo, void *arg), void *arg)
{
	struct ev_signal_in *s = (struct ev_signal_in *)sig->opaque;

	s->cb = cb;
	s->arg = arg;
	if (event_assign(&s->ev, loop->base, signo, EV_SIGNAL | EV_PERSIST, ev_signal_fire, s) != 0 ||
	    event_add(&s->ev, NULL) != 0)
		return TF_E_IO;
	s->on = 1;
	return 0;
}

void
ev_signal_del(struct ev_signal *sig)
{
	struct ev_signal_in *s = (struct ev_signal_in *)sig->opaque;

	if (s->on)
		(void)event_del(&s->ev);
	s->on = 0;
}
