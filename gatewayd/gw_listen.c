/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: one accept loop in the main thread, which counts connections and hands each
 * to the least loaded thread. (SO_REUSEPORT would share unevenly, reset what is queued when a
 * listener closes, and not fit socket activation.)
 */
#include "config.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/daemon/daemon.h"
#include "gatewayd/gw.h"

#define GW_BACKLOG 4096
#define GW_ACCEPTS 64      /* connections taken in one turn */
#define GW_ACCEPT_PAUSE_MS 50 /* when the process is out of descriptors or full */

struct gw_listener {
	struct gw *gw;
	int fd;
	bool tls;
	bool watched; /* watch and again are in use */
	bool resting; /* full or out of descriptors: it was said once */
	char *unlink_path; /* of a UNIX socket that we made */
	struct ev_fd watch;
	struct ev_timer again;
};

static void
gw_accepted(struct gw_listener *l, int fd, const struct sockaddr *sa, socklen_t len)
{
	struct gw *gw = l->gw;
	const struct conf_gatewayd *c = &gw->conf->c->gatewayd;

	if (!gw_addrs_take(gw->addrs, sa, (unsigned)c->connections_per_address)) {
		close(fd);
		return;
	}
	atomic_fetch_add(&gw->conns, 1);
	tf_metric_add(TF_M_GW_CONNECTIONS, 1);
	gw_threads_give(gw, fd, l->tls, sa, len);
}

/* Takes what is queued, so many at once: 0, or why it must rest. */
static int
gw_listen_accept(struct gw_listener *l)
{
	for (int i = 0; i < GW_ACCEPTS; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof ss;
		int fd;

		if (atomic_load(&l->gw->conns) >= (unsigned)l->gw->conf->c->gatewayd.connections_max)
			return TF_E_FULL;
		memset(&ss, 0, sizeof ss);
		fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			gw_accepted(l, fd, (struct sockaddr *)&ss, len);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
			return TF_E_IO;
	}
	if (l->resting)
		tf_log(TF_INFO, "listen", NULL, "accepts connections again fd=%d", l->fd);
	l->resting = false;
	return 0;
}

static void
gw_listen_ready(struct ev_fd *f, int what, void *arg)
{
	struct gw_listener *l = arg;
	int rc = gw_listen_accept(l);

	(void)f;
	(void)what;
	if (rc == 0)
		return; /* the socket stays readable when there are more */
	if (!l->resting)
		tf_log(TF_WARN, "listen", NULL, "connections have to wait reason=%s errno=%d",
		    rc == TF_E_FULL ? "connections-max" : "accept", rc == TF_E_FULL ? 0 : errno);
	l->resting = true;
	(void)ev_fd_watch(&l->watch, 0);
	ev_timer_set(&l->again, GW_ACCEPT_PAUSE_MS);
}

static void
gw_listen_again(void *arg)
{
	struct gw_listener *l = arg;

	(void)ev_fd_watch(&l->watch, EV_FD_READ);
}

static int
gw_listen_add(struct gw *gw, int fd, bool tls, const char *unlink_path)
{
	struct gw_listener *v = realloc(gw->listeners, (gw->nlisteners + 1) * sizeof *v);
	int one = 1;

	if (v == NULL) {
		close(fd);
		return TF_E_NOMEM;
	}
	gw->listeners = v;
	v[gw->nlisteners] = (struct gw_listener){ .gw = gw, .fd = fd, .tls = tls };
	if (unlink_path != NULL)
		v[gw->nlisteners].unlink_path = tf_span_dup(tf_cspan(unlink_path));
	gw->nlisteners++;
	/* inherited by what is accepted; fails on UNIX sockets, which have no delay */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return 0;
}

static int
gw_listen_unix(struct gw *gw, const struct conf_addr *a, bool tls)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	int fd;

	if (strlen(a->unix_path) >= sizeof sun.sun_path) {
		tf_log(TF_ERROR, "listen", NULL, "socket path is too long path=%s", a->text);
		return TF_E_RANGE;
	}
	memcpy(sun.sun_path, a->unix_path, strlen(a->unix_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return TF_E_IO;
	if (lstat(a->unix_path, &st) == 0 && S_ISSOCK(st.st_mode))
		(void)unlink(a->unix_path); /* what a killed one left; anything else is in the way and stays */
	if (bind(fd, (struct sockaddr *)&sun, sizeof sun) != 0 || chmod(a->unix_path, 0660) != 0 ||
	    listen(fd, GW_BACKLOG) != 0) {
		tf_log(TF_ERROR, "listen", NULL, "cannot listen address=%s errno=%d (%s)", a->text, errno, strerror(errno));
		close(fd);
		return TF_E_IO;
	}
	return gw_listen_add(gw, fd, tls, a->unix_path);
}

static int
gw_listen_one(struct gw *gw, const struct addrinfo *ai, const char *text, bool tls)
{
	int one = 1, fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);

	if (fd < 0)
		return errno == EAFNOSUPPORT ? TF_E_NOENT : TF_E_IO;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(fd, GW_BACKLOG) != 0) {
		tf_log(TF_ERROR, "listen", NULL, "cannot listen address=%s errno=%d (%s)", text, errno, strerror(errno));
		close(fd);
		return TF_E_IO;
	}
	return gw_listen_add(gw, fd, tls, NULL);
}

static int
gw_listen_tcp(struct gw *gw, const struct conf_addr *a, bool tls)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *list, *ai;
	size_t before = gw->nlisteners;
	char port[8];
	int rc;

	snprintf(port, sizeof port, "%u", a->port);
	rc = getaddrinfo(a->host[0] ? a->host : NULL, port, &hints, &list);
	if (rc != 0) {
		tf_log(TF_ERROR, "listen", NULL, "cannot resolve address=%s (%s)", a->text, gai_strerror(rc));
		return TF_E_IO;
	}
	rc = 0;
	for (ai = list; ai != NULL && rc != TF_E_IO && rc != TF_E_NOMEM; ai = ai->ai_next)
		rc = gw_listen_one(gw, ai, a->text, tls);
	freeaddrinfo(list);
	if (rc == TF_E_IO || rc == TF_E_NOMEM)
		return rc;
	return gw->nlisteners > before ? 0 : TF_E_IO;
}

static int
gw_listen_list(struct gw *gw, const struct conf_addrs *addrs, bool tls)
{
	int rc = 0;

	for (size_t i = 0; i < addrs->n && rc == 0; i++)
		rc = addrs->v[i].unix_path ? gw_listen_unix(gw, &addrs->v[i], tls) : gw_listen_tcp(gw, &addrs->v[i], tls);
	return rc;
}

int
gw_listen_start(struct gw *gw)
{
	const struct conf_gatewayd *c = &gw->conf->c->gatewayd;
	size_t inherited = dmn_listen_count(gw->dmn);
	int rc = 0;

	/* systemd's sockets stand in for `listen`; one named "tls" speaks TLS */
	for (size_t i = 0; i < inherited && rc == 0; i++) {
		const char *name = dmn_listen_name(gw->dmn, i);

		rc = gw_listen_add(gw, dmn_listen_fd(gw->dmn, i), name != NULL && strcmp(name, "tls") == 0, NULL);
	}
	if (rc == 0 && inherited == 0)
		rc = gw_listen_list(gw, &c->listen, false);
	if (rc == 0)
		rc = gw_listen_list(gw, &c->listen_tls, true);
	for (size_t i = 0; i < gw->nlisteners && rc == 0; i++) {
		struct gw_listener *l = &gw->listeners[i];

		/* the array has its final place now */
		ev_fd_init(&l->watch, gw->loop, l->fd, gw_listen_ready, l);
		ev_timer_init(&l->again, gw->loop, gw_listen_again, l);
		l->watched = true;
		rc = ev_fd_watch(&l->watch, EV_FD_READ);
	}
	return rc;
}

void
gw_listen_stop(struct gw *gw, bool accept_rest)
{
	for (size_t i = 0; i < gw->nlisteners; i++) {
		struct gw_listener *l = &gw->listeners[i];

		/* who is in the queue was let in by the kernel: he gets an answer, not a reset */
		if (accept_rest)
			(void)gw_listen_accept(l);
		if (l->watched)
			(void)ev_fd_watch(&l->watch, 0);
		ev_timer_del(&l->again);
		close(l->fd);
		if (l->unlink_path != NULL)
			(void)unlink(l->unlink_path);
		free(l->unlink_path);
	}
	free(gw->listeners);
	gw->listeners = NULL;
	gw->nlisteners = 0;
}
