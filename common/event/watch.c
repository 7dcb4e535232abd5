/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers, descriptors and signals: libevent's struct event inside our opaque words, so that none
 * of them allocates. Pushing a timer back only stores its new deadline; the event that fires too
 * early is set again for the rest. So an idle timer touches libevent's heap once a period, not once a byte.
 */
#include "config.h"

#include <time.h>

#include "common/event/inside.h"

#define EV_TIMER_MAX_NS (UINT64_MAX / 4) /* 146 years: no sum overflows */

struct ev_timer_in {
	struct event ev;
	void (*cb)(void *arg);
	void *arg;
	uint64_t due;  /* CLOCK_MONOTONIC, ns; 0: not pending */
	uint64_t fire; /* when ev fires: due, or earlier */
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

/* Not tf_mono_ns: a test that shifts the clock must not move what libevent waits for. */
static uint64_t
ev_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void
ev_timer_arm(struct ev_timer_in *t, uint64_t now)
{
	uint64_t us = t->due > now ? (t->due - now + 999) / 1000 : 0;
	struct timeval tv = { .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };

	t->fire = t->due;
	if (event_add(&t->ev, &tv) != 0)
		tf_log(TF_ERROR, "event", NULL, "timer cannot be set");
}

static void
ev_timer_fire(evutil_socket_t fd, short what, void *arg)
{
	struct ev_timer_in *t = arg;
	uint64_t now = ev_now();

	(void)fd;
	(void)what;
	if (t->due > now) {
		ev_timer_arm(t, now);
		return;
	}
	t->due = 0;
	t->cb(t->arg);
}

void
ev_timer_init(struct ev_timer *timer, struct ev_loop *loop, void (*cb)(void *arg), void *arg)
{
	struct ev_timer_in *t = (struct ev_timer_in *)timer->opaque;

	t->cb = cb;
	t->arg = arg;
	t->due = t->fire = 0;
	(void)event_assign(&t->ev, loop->base, -1, 0, ev_timer_fire, t);
}

static void
ev_timer_set_ns(struct ev_timer *timer, uint64_t ns)
{
	struct ev_timer_in *t = (struct ev_timer_in *)timer->opaque;
	uint64_t now = ev_now();
	bool pending = t->due != 0;

	t->due = now + (ns < EV_TIMER_MAX_NS ? ns : EV_TIMER_MAX_NS);
	if (!pending || t->due < t->fire)
		ev_timer_arm(t, now);
}

void
ev_timer_set_us(struct ev_timer *timer, uint64_t us)
{
	ev_timer_set_ns(timer, us < EV_TIMER_MAX_NS / 1000 ? us * 1000 : EV_TIMER_MAX_NS);
}

void
ev_timer_set(struct ev_timer *timer, uint64_t ms)
{
	ev_timer_set_ns(timer, ms < EV_TIMER_MAX_NS / 1000000 ? ms * 1000000 : EV_TIMER_MAX_NS);
}

void
ev_timer_del(struct ev_timer *timer)
{
	struct ev_timer_in *t = (struct ev_timer_in *)timer->opaque;

	if (t->due == 0)
		return;
	t->due = 0;
	(void)event_del(&t->ev);
}

bool
ev_timer_pending(const struct ev_timer *timer)
{
	return ((const struct ev_timer_in *)timer->opaque)->due != 0;
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
