/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZeroMQ inside the loop. ZMQ_FD says "commands are waiting", never "readable", and any send or
 * query of ZMQ_EVENTS consumes that signal. So: the descriptor's event drains what there is, at
 * most drain_max messages a turn, then comes back by a timer of zero (an event that activates
 * itself would starve other descriptors); and every send marks the socket, so that its state is
 * asked again at the end of the turn. Without that second rule replies stay unseen for ever.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "common/event/inside.h"

#define EV_HWM 10000
#define EV_MSG_MAX (4 << 20)
#define EV_DRAIN 64
#define EV_RECONNECT_MS 20
#define EV_RECONNECT_MAX_MS 200

struct ev_zctx {
	void *zmq;
};

struct ev_zmsg {
	zmq_msg_t msg;
	unsigned refs;
};

struct ev_zbind { /* an ipc path that is ours */
	struct tf_node node;
	char *path, *lock;
	int fd;
};

struct ev_zsock {
	struct ev_loop *loop;
	void *zmq;
	struct ev_zopts o;
	struct ev_fd watch;
	struct ev_timer again; /* more is waiting than one turn may take */
	struct ev_turn pump;   /* something was sent: ask for events at the end of the turn */
	struct tf_list binds;
	struct ev_zmsg *spare; /* reused for the next message unless somebody kept it */
	bool closed;
};

struct ev_zctx *
ev_zctx_new(int io_threads)
{
	struct ev_zctx *c = calloc(1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->zmq = zmq_ctx_new();
	if (c->zmq == NULL || zmq_ctx_set(c->zmq, ZMQ_IO_THREADS, io_threads) != 0 ||
	    zmq_ctx_set(c->zmq, ZMQ_MAX_SOCKETS, 4096) != 0) {
		if (c->zmq != NULL)
			zmq_ctx_term(c->zmq);
		free(c);
		return NULL;
	}
	return c;
}

void
ev_zctx_free(struct ev_zctx **cp)
{
	struct ev_zctx *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	while (zmq_ctx_term(c->zmq) != 0 && errno == EINTR)
		;
	free(c);
}

/* ---- messages ------------------------------------------------------------------------------- */

struct tf_span
ev_zmsg_bytes(const struct ev_zmsg *m)
{
	zmq_msg_t *msg = (zmq_msg_t *)(uintptr_t)&m->msg; /* its accessors take no const */

	return tf_span(zmq_msg_data(msg), zmq_msg_size(msg));
}

struct ev_zmsg *
ev_zmsg_ref(struct ev_zmsg *m)
{
	m->refs++;
	return m;
}

void
ev_zmsg_unref(struct ev_zmsg **mp)
{
	struct ev_zmsg *m = *mp;

	*mp = NULL;
	if (m == NULL || --m->refs > 0)
		return;
	zmq_msg_close(&m->msg);
	free(m);
}

static struct ev_zmsg *
ev_zmsg_spare(struct ev_zsock *s)
{
	struct ev_zmsg *m = s->spare;

	s->spare = NULL;
	if (m != NULL)
		return m;
	m = calloc(1, sizeof *m);
	if (m == NULL)
		return NULL;
	zmq_msg_init(&m->msg);
	m->refs = 1;
	return m;
}

/* Our reference goes; the struct is kept for the next message when nobody else holds it. */
static void
ev_zmsg_done(struct ev_zsock *s, struct ev_zmsg *m)
{
	if (m->refs > 1 || s->spare != NULL || s->closed) {
		ev_zmsg_unref(&m);
		return;
	}
	zmq_msg_close(&m->msg);
	zmq_msg_init(&m->msg);
	s->spare = m;
}

/* ---- receiving ------------------------------------------------------------------------------ */

static bool
ev_zmq_more(void *zmq)
{
	int more = 0;
	size_t n = sizeof more;

	return zmq_getsockopt(zmq, ZMQ_RCVMORE, &more, &n) == 0 && more;
}

/* Frames beyond what a message may have. */
static void
ev_zmq_skip(struct ev_zsock *s)
{
	while (ev_zmq_more(s->zmq)) {
		zmq_msg_t m;

		zmq_msg_init(&m);
		(void)zmq_msg_recv(&m, s->zmq, ZMQ_DONTWAIT);
		zmq_msg_close(&m);
	}
	tf_metric_add(TF_M_WIRE_BAD_FRAMES, 1);
}

/* One message, delivered or dropped. False: none is there. */
static bool
ev_zmq_take(struct ev_zsock *s)
{
	struct ev_zmsg *m = ev_zmsg_spare(s);
	char id[EV_ZID_MAX + 1];
	int idn = 0;

	if (m == NULL)
		return false;
	if (s->o.type == EV_ROUTER) {
		idn = zmq_recv(s->zmq, id, sizeof id, ZMQ_DONTWAIT);
		if (idn < 0) {
			ev_zmsg_done(s, m);
			return false;
		}
		if (idn > EV_ZID_MAX || !ev_zmq_more(s->zmq)) {
			ev_zmsg_done(s, m);
			ev_zmq_skip(s);
			return true;
		}
	}
	if (zmq_msg_recv(&m->msg, s->zmq, ZMQ_DONTWAIT) < 0) {
		ev_zmsg_done(s, m);
		return false;
	}
	if (zmq_msg_more(&m->msg))
		ev_zmq_skip(s);
	else
		s->o.on_message(s, tf_span(id, (size_t)idn), m, s->o.arg);
	ev_zmsg_done(s, m);
	return true;
}

static void
ev_zmq_drain(void *arg)
{
	struct ev_zsock *s = arg;
	int left = s->o.drain_max;

	/* a receive that finds nothing has processed all commands, so the descriptor will say when to come back */
	while (!s->closed && ev_zmq_take(s)) {
		if (--left > 0 || s->closed)
			continue;
		ev_timer_set_us(&s->again, 0);
		return;
	}
}

/* A socket that has had its share of this turn waits for its timer. */
static void
ev_zmq_pump(void *arg)
{
	struct ev_zsock *s = arg;

	if (!ev_timer_pending(&s->again))
		ev_zmq_drain(s);
}

static void
ev_zmq_ready(struct ev_fd *f, int what, void *arg)
{
	(void)f;
	(void)what;
	ev_zmq_pump(arg);
}

/* ---- life ----------------------------------------------------------------------------------- */

static int
ev_zmq_int(void *zmq, int option, int v)
{
	return zmq_setsockopt(zmq, option, &v, sizeof v);
}

static int
ev_zmq_options(struct ev_zsock *s)
{
	const struct ev_zopts *o = &s->o;
	int bad = 0;

	bad |= ev_zmq_int(s->zmq, ZMQ_LINGER, o->linger_ms);
	bad |= ev_zmq_int(s->zmq, ZMQ_SNDHWM, o->sndhwm);
	bad |= ev_zmq_int(s->zmq, ZMQ_RCVHWM, o->rcvhwm);
	bad |= zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &o->msg_max, sizeof o->msg_max);
	bad |= ev_zmq_int(s->zmq, ZMQ_RECONNECT_IVL, EV_RECONNECT_MS);
	bad |= ev_zmq_int(s->zmq, ZMQ_RECONNECT_IVL_MAX, EV_RECONNECT_MAX_MS);
	if (o->type == EV_ROUTER) {
		bad |= ev_zmq_int(s->zmq, ZMQ_ROUTER_MANDATORY, 1);
		/* a peer that reconnects takes its name over; on ipc the directory's mode says who may */
		bad |= ev_zmq_int(s->zmq, ZMQ_ROUTER_HANDOVER, 1);
	} else {
		bad |= ev_zmq_int(s->zmq, ZMQ_IMMEDIATE, o->immediate);
		if (o->routing_id.n > 0)
			bad |= zmq_setsockopt(s->zmq, ZMQ_ROUTING_ID, o->routing_id.p, o->routing_id.n);
	}
	return bad;
}

struct ev_zsock *
ev_zsock_new(struct ev_loop *loop, struct ev_zctx *ctx, const struct ev_zopts *opts)
{
	struct ev_zsock *s = calloc(1, sizeof *s);
	size_t n = sizeof(int);
	int fd;

	if (s == NULL)
		return NULL;
	s->loop = loop;
	s->o = *opts;
	s->o.sndhwm = opts->sndhwm ? opts->sndhwm : EV_HWM;
	s->o.rcvhwm = opts->rcvhwm ? opts->rcvhwm : EV_HWM;
	s->o.msg_max = opts->msg_max ? opts->msg_max : EV_MSG_MAX;
	s->o.drain_max = opts->drain_max ? opts->drain_max : EV_DRAIN;
	tf_list_init(&s->binds);
	s->zmq = zmq_socket(ctx->zmq, opts->type == EV_ROUTER ? ZMQ_ROUTER : ZMQ_DEALER);
	if (s->zmq == NULL || ev_zmq_options(s) != 0 || zmq_getsockopt(s->zmq, ZMQ_FD, &fd, &n) != 0) {
		if (s->zmq != NULL)
			zmq_close(s->zmq);
		free(s);
		return NULL;
	}
	s->o.routing_id = (struct tf_span){ 0 }; /* ZeroMQ has its copy */
	ev_timer_init(&s->again, loop, ev_zmq_drain, s);
	ev_turn_init(&s->pump, ev_zmq_pump, s);
	ev_fd_init(&s->watch, loop, fd, ev_zmq_ready, s);
	if (ev_fd_watch(&s->watch, EV_FD_READ) != 0) {
		zmq_close(s->zmq);
		free(s);
		return NULL;
	}
	return s;
}

static void
ev_zbind_free(struct ev_zsock *s, struct ev_zbind *b)
{
	tf_list_remove(&s->binds, &b->node);
	(void)unlink(b->path);
	ev_lock_drop(b->lock, b->fd);
	free(b->path);
	free(b->lock);
	free(b);
}

static void
ev_zsock_free(void *p)
{
	struct ev_zsock *s = p;

	if (s->spare != NULL)
		ev_zmsg_unref(&s->spare);
	free(s);
}

void
ev_zsock_close(struct ev_zsock **sp)
{
	struct ev_zsock *s = *sp;
	struct tf_node *e;

	*sp = NULL;
	if (s == NULL)
		return;
	s->closed = true;
	(void)ev_fd_watch(&s->watch, 0);
	ev_timer_del(&s->again);
	ev_turn_disarm(s->loop, &s->pump);
	zmq_close(s->zmq);
	while ((e = tf_list_first(&s->binds)) != NULL)
		ev_zbind_free(s, TF_CONTAINER(e, struct ev_zbind, node));
	ev_free_later(s->loop, s, ev_zsock_free);
}

/* Returns new, locked and in the list; NULL with *rc set. */
static struct ev_zbind *
ev_zbind_new(struct ev_zsock *s, const char *path, int *rc)
{
	struct ev_zbind *b = calloc(1, sizeof *b);
	struct tf_buf lock = { 0 };

	*rc = TF_E_NOMEM;
	if (b != NULL && tf_buf_printf(&lock, "%s.lock", path) == 0) {
		b->path = tf_span_dup(tf_cspan(path));
		b->lock = tf_span_dup(tf_buf_span(&lock));
		if (b->path != NULL && b->lock != NULL)
			*rc = ev_lock_take(b->lock, &b->fd);
	}
	tf_buf_free(&lock);
	if (*rc == 0) {
		tf_list_append(&s->binds, &b->node);
		return b;
	}
	if (b != NULL) {
		free(b->path);
		free(b->lock);
	}
	free(b);
	return NULL;
}

static int
ev_zmq_bind_ipc(struct ev_zsock *s, const char *endpoint, const char *path)
{
	struct ev_zbind *b;
	int fd, rc;

	if (*path != '/' && *path != '.')
		return TF_E_INVAL; /* no wildcards and no abstract names: neither can be locked */
	b = ev_zbind_new(s, path, &rc);
	if (b == NULL)
		return rc;
	rc = ev_path_listen(path, &fd);
	if (rc == 0 && (ev_zmq_int(s->zmq, ZMQ_USE_FD, fd) != 0 || zmq_bind(s->zmq, endpoint) != 0)) {
		close(fd);
		rc = TF_E_IO;
	}
	(void)ev_zmq_int(s->zmq, ZMQ_USE_FD, -1);
	if (rc != 0)
		ev_zbind_free(s, b);
	return rc;
}

int
ev_zsock_bind(struct ev_zsock *s, const char *endpoint)
{
	int rc;

	if (strncmp(endpoint, "ipc://", 6) == 0)
		rc = ev_zmq_bind_ipc(s, endpoint, endpoint + 6);
	else
		rc = zmq_bind(s->zmq, endpoint) == 0 ? 0 : errno == EADDRINUSE ? TF_E_EXIST : TF_E_IO;
	ev_turn_arm(s->loop, &s->pump);
	return rc;
}

int
ev_zsock_connect(struct ev_zsock *s, const char *endpoint)
{
	const char *path = strncmp(endpoint, "ipc://", 6) == 0 ? endpoint + 6 : NULL;

	if (path != NULL && strlen(path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
		return TF_E_RANGE;
	if (zmq_connect(s->zmq, endpoint) != 0)
		return TF_E_IO;
	ev_turn_arm(s->loop, &s->pump);
	return 0;
}

int
ev_zsock_unbind(struct ev_zsock *s, const char *endpoint)
{
	struct tf_node *e, *tmp;

	if (zmq_unbind(s->zmq, endpoint) != 0)
		return TF_E_NOENT;
	TF_LIST_EACH(&s->binds, e, tmp) {
		struct ev_zbind *b = TF_CONTAINER(e, struct ev_zbind, node);

		if (strncmp(endpoint, "ipc://", 6) == 0 && strcmp(endpoint + 6, b->path) == 0)
			ev_zbind_free(s, b);
	}
	ev_turn_arm(s->loop, &s->pump);
	return 0;
}

int
ev_zsock_disconnect(struct ev_zsock *s, const char *endpoint)
{
	int rc = zmq_disconnect(s->zmq, endpoint) == 0 ? 0 : TF_E_NOENT;

	ev_turn_arm(s->loop, &s->pump);
	return rc;
}

/* ---- sending -------------------------------------------------------------------------------- */

static int
ev_zmq_error(void)
{
	return errno == EAGAIN ? TF_E_FULL : errno == EHOSTUNREACH ? TF_E_NOENT : TF_E_IO;
}

/* The routing id in front; after it the payload frame cannot fail for want of room. */
static int
ev_zmq_address(struct ev_zsock *s, struct tf_span to)
{
	ev_turn_arm(s->loop, &s->pump);
	if (s->o.type != EV_ROUTER)
		return 0;
	if (zmq_send(s->zmq, to.p, to.n, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return ev_zmq_error();
	return 0;
}

int
ev_zsock_send(struct ev_zsock *s, struct tf_span to, struct tf_span payload)
{
	int rc;

	if (payload.n > (size_t)s->o.msg_max)
		return TF_E_RANGE;
	rc = ev_zmq_address(s, to);
	if (rc == 0 && zmq_send(s->zmq, payload.p, payload.n, ZMQ_DONTWAIT) < 0)
		rc = ev_zmq_error();
	return rc;
}

static _Thread_local bool ev_zmq_keep; /* the message that is closed right now gives its bytes back */

static void
ev_zmq_free(void *data, void *hint)
{
	(void)hint;
	if (!ev_zmq_keep)
		free(data);
}

/* A message that was not sent gives its bytes back to the caller. */
static int
ev_zmq_give_back(zmq_msg_t *m, int rc)
{
	ev_zmq_keep = true;
	zmq_msg_close(m);
	ev_zmq_keep = false;
	return rc;
}

int
ev_zsock_send_take(struct ev_zsock *s, struct tf_span to, void *buf, size_t n)
{
	zmq_msg_t m;
	int rc;

	if (n > (size_t)s->o.msg_max)
		return TF_E_RANGE;
	/* made first: once the address is out, nothing but the payload may follow */
	if (zmq_msg_init_data(&m, buf, n, ev_zmq_free, NULL) != 0)
		return TF_E_NOMEM;
	rc = ev_zmq_address(s, to);
	if (rc != 0)
		return ev_zmq_give_back(&m, rc);
	if (zmq_msg_send(&m, s->zmq, ZMQ_DONTWAIT) < 0)
		return ev_zmq_give_back(&m, ev_zmq_error());
	return 0;
}
