/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: takes connected sockets, holds the lists of connections, runs the end-of-turn work
 * and the clock that watches every deadline. What a connection does is in conn.c.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/ssl.h>

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define TICK_MS		100
#define POLL_BATCH	256

void
http_server_conf_default(struct http_server_conf *conf)
{
	*conf = (struct http_server_conf){
		.limits = http_limits_request,
		.read_ahead = 16 * 1024,
		.low_water = 32 * 1024,
		.notsent = 128 * 1024,
		.idle_ms = 75 * 1000,
		.head_ms = 10 * 1000,
		.body_ms = 20 * 1000,
		.body_rate = 1024,
		.body_max_ms = 600 * 1000,
		.write_ms = 60 * 1000,
		.write_min = 2048,
		.linger_ms = 2 * 1000,
		.linger_max = 64 * 1024 * 1024,
	};
}

static void
turn(void *arg)
{
	struct http_server *s = arg;
	size_t n = s->todo.n;
	struct tf_node *e;

	/* what they arm anew has its turn once the others had theirs */
	while (n-- > 0 && (e = tf_list_pop(&s->todo)) != NULL)
		http_conn_turn(TF_CONTAINER(e, struct http_conn, todo_node));
}

void
http_conn_todo(struct http_conn *c, int what)
{
	struct http_server *s = c->server;

	if (c->state == HTTP_C_DEAD)
		return;
	c->todo |= (uint8_t)what;
	if (!tf_node_linked(&c->todo_node))
		tf_list_append(&s->todo, &c->todo_node);
	ev_turn_arm(s->loop, &s->turn);
}

void
http_conn_change_state(struct http_conn *c, enum http_cstate state)
{
	struct http_server *s = c->server;

	if (c->state != HTTP_C_DEAD)
		tf_list_remove(&s->conns[c->state], &c->node);
	c->state = (uint8_t)state;
	c->since = tf_mono_ms();
	if (state != HTTP_C_DEAD)
		tf_list_append(&s->conns[state], &c->node);
}

/* A FIN or reset behind bytes that we do not read is told by poll(2) alone. */
static void
poll_unread(struct http_server *s)
{
	struct http_conn *batch[POLL_BATCH];
	struct pollfd fds[POLL_BATCH];
	struct tf_node *e, *next;
	nfds_t n = 0;

	TF_LIST_EACH(&s->unread, e, next) {
		struct http_conn *c = TF_CONTAINER(e, struct http_conn, unread_node);

		batch[n] = c;
		fds[n++] = (struct pollfd){ .fd = c->fd, .events = POLLRDHUP };
		if (n < POLL_BATCH && next != &s->unread.head)
			continue;
		if (poll(fds, n, 0) > 0) {
			for (nfds_t i = 0; i < n; i++) {
				if (fds[i].revents != 0)
					http_conn_todo(batch[i], HTTP_TODO_LEFT);
			}
		}
		n = 0;
	}
}

static void
tick(void *arg)
{
	struct http_server *s = arg;
	uint64_t now = tf_mono_ms();

	poll_unread(s);
	for (int state = 0; state < HTTP_C_N; state++) {
		struct tf_node *e, *next;

		TF_LIST_EACH(&s->conns[state], e, next) {
			struct http_conn *c = TF_CONTAINER(e, struct http_conn, node);

			if (http_conn_expired(c, now))
				http_conn_todo(c, HTTP_TODO_EXPIRE);
		}
	}
	if (s->nconns > 0)
		ev_timer_set(&s->tick, TICK_MS);
}

struct http_server *
http_server_new(struct ev_loop *loop, const struct http_server_conf *conf,
    const struct http_server_hooks *hooks, void *arg)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->loop = loop;
	s->conf = *conf;
	s->hooks = hooks;
	s->arg = arg;
	for (int state = 0; state < HTTP_C_N; state++)
		tf_list_init(&s->conns[state]);
	tf_list_init(&s->todo);
	tf_list_init(&s->unread);
	ev_turn_init(&s->turn, turn, s);
	ev_timer_init(&s->tick, loop, tick, s);
	return s;
}

void
http_server_free(struct http_server **sp)
{
	struct http_server *s = *sp;
	struct tf_node *e;

	*sp = NULL;
	if (s == NULL)
		return;
	for (int state = 0; state < HTTP_C_N; state++) {
		while ((e = tf_list_first(&s->conns[state])) != NULL)
			http_conn_gone(TF_CONTAINER(e, struct http_conn, node), HTTP_GONE_CLOSED);
	}
	ev_turn_disarm(s->loop, &s->turn);
	ev_timer_del(&s->tick);
	SSL_CTX_free(s->tls);
	free(s);
}

void
http_server_set_conf(struct http_server *s, const struct http_server_conf *conf)
{
	s->conf = *conf;
}

void
http_server_set_tls(struct http_server *s, struct ssl_ctx_st *ctx)
{
	if (ctx != NULL)
		SSL_CTX_up_ref(ctx);
	SSL_CTX_free(s->tls);
	s->tls = ctx;
}

void
http_tune_fd(int fd, int family, uint32_t notsent)
{
	int one = 1, fl = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (family != AF_INET && family != AF_INET6)
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (notsent > 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof(notsent));
}

/* Writes the peer's address as text; UNIX sockets have none worth showing. */
static int
set_peer(struct http_conn *c, const struct sockaddr *peer, socklen_t len)
{
	const void *ip = NULL;

	if (peer != NULL && peer->sa_family == AF_INET && len >= sizeof(struct sockaddr_in))
		ip = &((const struct sockaddr_in *)(const void *)peer)->sin_addr;
	else if (peer != NULL && peer->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6))
		ip = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
	if (ip == NULL) {
		snprintf(c->peer, sizeof(c->peer), "unix");
		return 0;
	}
	inet_ntop(peer->sa_family, ip, c->peer, sizeof(c->peer));
	c->addr = calloc(1, len);
	if (c->addr == NULL)
		return TF_E_NOMEM;
	memcpy(c->addr, peer, len);
	c->addrlen = len;
	return 0;
}

static int
make_bufferevent(struct http_conn *c)
{
	struct http_server *s = c->server;
	struct event_base *base = ev_loop_base(s->loop);

	if (s->tls == NULL) {
		c->open = true;
		c->bev = bufferevent_socket_new(base, c->fd, BEV_OPT_CLOSE_ON_FREE);
		return c->bev != NULL ? 0 : TF_E_NOMEM;
	}
	c->ssl = SSL_new(s->tls);
	if (c->ssl == NULL)
		return TF_E_NOMEM;
	c->bev = bufferevent_openssl_socket_new(base, c->fd, c->ssl, BUFFEREVENT_SSL_ACCEPTING,
	    BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		SSL_free(c->ssl);
		return TF_E_NOMEM;
	}
	return 0;
}

int
http_server_take_fd(struct http_server *s, int fd, const struct sockaddr *peer, socklen_t peerlen)
{
	struct http_conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return TF_E_NOMEM;
	}
	c->server = s;
	c->fd = fd;
	c->state = HTTP_C_DEAD;
	http_tune_fd(fd, peer != NULL ? peer->sa_family : AF_UNIX, s->conf.notsent);
	if (set_peer(c, peer, peerlen) < 0 || make_bufferevent(c) < 0) {
		close(fd);
		free(c->addr);
		free(c);
		return TF_E_NOMEM;
	}
	if (s->nconns++ == 0)
		ev_timer_set(&s->tick, TICK_MS);
	http_conn_start(c);
	return 0;
}

void
http_server_drain(struct http_server *s)
{
	struct tf_node *e, *next;

	s->draining = true;
	TF_LIST_EACH(&s->conns[HTTP_C_IDLE], e, next)
		http_conn_todo(TF_CONTAINER(e, struct http_conn, node), HTTP_TODO_EXPIRE);
}

size_t
http_server_conns(const struct http_server *s)
{
	return s->nconns;
}

size_t
http_server_body_bytes(const struct http_server *s)
{
	return s->body_bytes;
}

/* RFC 9110, 5.6.7; strftime would follow the locale. */
const char *
http_server_date(struct http_server *s)
{
	static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
	    "Sep", "Oct", "Nov", "Dec" };
	int64_t now = tf_wall_s();
	time_t t = (time_t)now;
	struct tm tm;

	if (now == s->date_s)
		return s->date;
	gmtime_r(&t, &tm);
	snprintf(s->date, sizeof(s->date), "Date: %s, %02u %s %04u %02u:%02u:%02u GMT\r\n",
	    days[tm.tm_wday], (unsigned)tm.tm_mday % 100, months[tm.tm_mon],
	    (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
	    (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
	s->date_s = now;
	return s->date;
}

/* ---- listener ------------------------------------------------------------------------------- */

struct http_listener {
	struct ev_loop		*loop;
	struct http_server	*server;
	struct ev_fd		 watch;
	struct ev_timer		 retry;
	int			 fd;
};

/* Out of descriptors the socket stays readable: rest a little instead of spinning. */
static void
on_accept(struct ev_fd *f, int what, void *arg)
{
	struct http_listener *l = arg;

	(void)f;
	(void)what;
	for (int i = 0; i < 64; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		struct sockaddr *sa = (struct sockaddr *)&ss;
		int fd = accept4(l->fd, sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			(void)http_server_take_fd(l->server, fd, len > 0 ? sa : NULL, len);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK) {
			tf_log(TF_WARN, "http", NULL, "cannot accept errno=%d", errno);
			(void)ev_fd_watch(&l->watch, 0);
			ev_timer_set(&l->retry, TICK_MS);
		}
		return;
	}
}

static void
on_retry(void *arg)
{
	struct http_listener *l = arg;

	(void)ev_fd_watch(&l->watch, EV_FD_READ);
}

struct http_listener *
http_listen(struct http_server *s, int fd)
{
	struct http_listener *l = calloc(1, sizeof(*l));
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	if (l == NULL || getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
		free(l);
		close(fd);
		return NULL;
	}
	l->loop = s->loop;
	l->server = s;
	l->fd = fd;
	http_tune_fd(fd, ss.ss_family, 0);
	ev_timer_init(&l->retry, s->loop, on_retry, l);
	ev_fd_init(&l->watch, s->loop, fd, on_accept, l);
	if (ev_fd_watch(&l->watch, EV_FD_READ) < 0)
		http_listener_free(&l);
	return l;
}

void
http_listener_free(struct http_listener **lp)
{
	struct http_listener *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	(void)ev_fd_watch(&l->watch, 0);
	ev_timer_del(&l->retry);
	close(l->fd);
	ev_free_later(l->loop, l, free);
}
