/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of the client: address after address, through a proxy if there is one, TLS with
 * the peer's name verified, and the pool of idle ones. What is said over it is in call.c.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define SLICE_MIN	250		/* ms that an address gets at least */
#define FULL_READ	4096		/* what libevent 2.1 reads at most in one go */

static void try_next(struct http_link *l);

/* ---- libevent's callbacks ------------------------------------------------------------------- */

static void
on_readable(struct bufferevent *bev, void *arg)
{
	struct http_link *l = arg;

	if (l->call == NULL)	/* an answer to nothing */
		http_link_close(l);
	else
		http_call_input(l->call, evbuffer_get_length(bufferevent_get_input(bev)) >=
		    FULL_READ);
}

static void
on_writable(struct bufferevent *bev, void *arg)
{
	struct http_link *l = arg;

	if (l->ssl == NULL && evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
		bufferevent_disable(bev, EV_WRITE);
		l->writing = false;
	}
}

static const char *
tls_reason(struct http_link *l)
{
	long verify = SSL_get_verify_result(l->ssl);
	unsigned long e = bufferevent_get_openssl_error(l->bev);
	const char *why = e != 0 ? ERR_reason_error_string(e) : NULL;

	if (verify != X509_V_OK)
		return X509_verify_cert_error_string(verify);
	return why != NULL ? why : "connection closed during the TLS handshake";
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_link *l = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) {
		l->tls_done = true;
		http_call_connected(l->call);
	} else if (l->call == NULL) {
		http_link_close(l);
	} else if (l->ssl != NULL && !l->tls_done) {
		http_call_fail(l->call, HTTP_FAIL_TLS, tls_reason(l));
	} else if (what & BEV_EVENT_EOF) {
		http_call_eof(l->call);
	} else {
		struct http_call *call = l->call;

		/* Refused while we still sent: the answer may be there to read. */
		if (what & BEV_EVENT_WRITING)
			http_call_input(call, true);
		if (call->link == l)
			http_call_lost(call);
	}
}

/* ---- TLS ------------------------------------------------------------------------------------ */

static int
name_peer(SSL *ssl, const char *host)
{
	unsigned char ip[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, host, ip) == 1 || inet_pton(AF_INET6, host, ip) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

static int
start_bufferevent(struct http_link *l)
{
	struct http_origin *o = l->origin;
	struct event_base *base = ev_loop_base(o->client->loop);

	if (o->tls == NULL) {
		l->bev = bufferevent_socket_new(base, l->fd, BEV_OPT_CLOSE_ON_FREE);
	} else {
		l->ssl = SSL_new(o->tls);
		if (l->ssl != NULL && name_peer(l->ssl, o->host) == 1)
			l->bev = bufferevent_openssl_socket_new(base, l->fd, l->ssl,
			    BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
		if (l->bev == NULL)
			SSL_free(l->ssl);
	}
	if (l->bev == NULL)
		return TF_E_NOMEM;
	bufferevent_setcb(l->bev, on_readable, on_writable, on_event, l);
	if (o->tls == NULL)
		bufferevent_disable(l->bev, EV_WRITE);
	bufferevent_enable(l->bev, EV_READ);
	return 0;
}

/* TCP stands, and the proxy has let us through. */
static void
go_on(struct http_link *l)
{
	ev_timer_del(&l->slice);
	(void)ev_fd_watch(&l->watch, 0);
	if (start_bufferevent(l) < 0)
		http_call_fail(l->call, HTTP_FAIL_CONNECT, "out of memory");
	else if (l->ssl == NULL)
		http_call_connected(l->call);
}

/* ---- proxy ---------------------------------------------------------------------------------- */

static void
ask_proxy(struct http_link *l)
{
	struct tf_buf b = { 0 };
	const char *to = l->origin->authority;
	ssize_t n = -1;

	l->proxy_asked = true;
	if (tf_buf_printf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", to, to) == 0)
		n = send(l->fd, b.p, b.n, MSG_NOSIGNAL);
	/* A new socket takes a few hundred bytes or is broken. */
	if (n < 0 || (size_t)n != b.n)
		http_call_fail(l->call, HTTP_FAIL_CONNECT, "cannot speak to the proxy");
	else
		(void)ev_fd_watch(&l->watch, EV_FD_READ);
	tf_buf_free(&b);
}

/* The answer's head, and nothing after it: the far side does not speak first. */
static void
hear_proxy(struct http_link *l)
{
	struct http_head h;
	char buf[2048];
	ssize_t n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);
	ssize_t rc = -1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && tf_buf_append(&l->proxy_in, buf, (size_t)n) == 0) {
		http_head_init(&h, true, &l->origin->client->conf.limits);
		rc = http_head_parse(&h, l->proxy_in.p, l->proxy_in.n);
	}
	if (rc == 0)
		return;
	if (rc < 0)
		http_call_fail(l->call, HTTP_FAIL_CONNECT, "the proxy does not speak HTTP");
	else if (h.status < 200 || h.status > 299 || (size_t)rc != l->proxy_in.n)
		http_call_fail(l->call, HTTP_FAIL_CONNECT, "the proxy refused the connection");
	else
		go_on(l);
}

/* ---- connecting ----------------------------------------------------------------------------- */

static void
connected(struct http_link *l)
{
	if (l->origin->proxy_host != NULL)
		ask_proxy(l);
	else
		go_on(l);
}

static void
next_after(struct http_link *l, int error)
{
	l->error = error;
	(void)ev_fd_watch(&l->watch, 0);
	close(l->fd);
	l->fd = -1;
	try_next(l);
}

static void
on_watch(struct ev_fd *f, int what, void *arg)
{
	struct http_link *l = arg;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)f;
	(void)what;
	if (l->proxy_asked) {
		hear_proxy(l);
		return;
	}
	if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0)
		next_after(l, error);
	else
		connected(l);
}

static void
on_slice(void *arg)
{
	struct http_link *l = arg;

	if (!l->proxy_asked)
		next_after(l, ETIMEDOUT);
}

/* Begins with the next address; the first that connects is taken. */
static void
try_next(struct http_link *l)
{
	struct http_origin *o = l->origin;
	uint64_t slice = o->client->conf.connect_ms / (o->addrs.n > 0 ? o->addrs.n : 1);

	while (l->next_addr < o->addrs.n) {
		const struct sockaddr *sa = (const struct sockaddr *)&o->addrs.at[l->next_addr].sa;
		socklen_t len = o->addrs.at[l->next_addr++].len;

		l->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (l->fd < 0) {
			l->error = errno;
			continue;
		}
		http_tune_fd(l->fd, sa->sa_family, 0);
		ev_fd_init(&l->watch, o->client->loop, l->fd, on_watch, l);
		if (connect(l->fd, sa, len) == 0) {
			connected(l);
			return;
		}
		if (errno == EINPROGRESS && ev_fd_watch(&l->watch, EV_FD_WRITE) == 0) {
			ev_timer_set(&l->slice, slice > SLICE_MIN ? slice : SLICE_MIN);
			return;
		}
		l->error = errno;
		close(l->fd);
		l->fd = -1;
	}
	o->resolved = 0;	/* the name may have moved */
	http_call_fail(l->call, HTTP_FAIL_CONNECT,
	    l->error != 0 ? strerrordesc_np(l->error) : "no address");
}

void
http_link_start(struct http_call *call)
{
	struct http_origin *o = call->origin;
	struct http_link *l = calloc(1, sizeof(*l));

	if (l == NULL) {
		http_call_fail(call, HTTP_FAIL_CONNECT, "out of memory");
		return;
	}
	l->origin = o;
	l->call = call;
	l->fd = -1;
	call->link = l;
	ev_timer_init(&l->slice, o->client->loop, on_slice, l);
	try_next(l);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
link_free(void *arg)
{
	struct http_link *l = arg;

	tf_buf_free(&l->proxy_in);
	free(l);
}

void
http_link_close(struct http_link *l)
{
	ev_timer_del(&l->slice);
	if (tf_node_linked(&l->node))
		tf_list_remove(&l->origin->idle, &l->node);
	if (l->bev != NULL) {
		if (l->ssl != NULL && l->tls_done && l->call == NULL) {
			(void)SSL_shutdown(l->ssl);
			ERR_clear_error();
		}
		bufferevent_setcb(l->bev, NULL, NULL, NULL, NULL);
		bufferevent_disable(l->bev, EV_READ | EV_WRITE);
		/* The descriptor goes a little later; the peer should know now. */
		(void)shutdown(l->fd, SHUT_RDWR);
		bufferevent_free(l->bev);
	} else if (l->fd >= 0) {
		(void)ev_fd_watch(&l->watch, 0);
		close(l->fd);
	}
	if (l->call != NULL)
		l->call->link = NULL;
	l->bev = NULL;
	l->call = NULL;
	ev_free_later(l->origin->client->loop, l, link_free);
}

void
http_link_release(struct http_link *l, uint64_t idle_ms)
{
	struct http_origin *o = l->origin;

	l->call = NULL;
	if (idle_ms == 0 || o->client->conf.idle_max == 0) {
		http_link_close(l);
		return;
	}
	if (o->idle.n >= o->client->conf.idle_max)
		http_link_close(TF_CONTAINER(tf_list_first(&o->idle), struct http_link, node));
	l->idle_until = tf_mono_ms() + idle_ms;
	tf_list_append(&o->idle, &l->node);
	http_link_reading(l, true);
	http_client_watch_idle(o->client);
}

/* Whether the peer has closed or spoken meanwhile; with TLS only libevent may look. */
static bool
is_stale(const struct http_link *l)
{
	char c;

	if (tf_mono_ms() >= l->idle_until)
		return true;
	if (l->ssl != NULL)
		return evbuffer_get_length(bufferevent_get_input(l->bev)) > 0;
	return recv(l->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

struct http_link *
http_link_reuse(struct http_origin *o)
{
	while (o->idle.n > 0) {
		struct http_link *l = TF_CONTAINER(o->idle.head.prev, struct http_link, node);

		if (!is_stale(l)) {
			tf_list_remove(&o->idle, &l->node);
			return l;
		}
		http_link_close(l);
	}
	return NULL;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

int
http_link_send(struct http_link *l, const void *p, size_t n, bool by_reference)
{
	struct evbuffer *out = bufferevent_get_output(l->bev);

	if (n == 0)
		return 0;
	if (by_reference)
		return evbuffer_add_reference(out, p, n, NULL, NULL) < 0 ? TF_E_NOMEM : 0;
	return evbuffer_add(out, p, n) < 0 ? TF_E_NOMEM : 0;
}

/* Plain sockets take it at once; only what is left waits for the loop (see conn.c). */
int
http_link_flush(struct http_link *l)
{
	struct evbuffer *out = bufferevent_get_output(l->bev);
	int rc;

	if (l->ssl != NULL || l->writing || evbuffer_get_length(out) == 0)
		return 0;
	evbuffer_unfreeze(out, 1);
	rc = evbuffer_write(out, l->fd);
	evbuffer_freeze(out, 1);
	if (rc < 0 && errno != EAGAIN && errno != EINTR)
		return TF_E_CLOSED;
	if (evbuffer_get_length(out) > 0) {
		l->writing = true;
		bufferevent_enable(l->bev, EV_WRITE);
	}
	return 0;
}

bool
http_link_sent(const struct http_link *l)
{
	return evbuffer_get_length(bufferevent_get_output(l->bev)) == 0;
}

void
http_link_reading(struct http_link *l, bool on)
{
	if (l->bev == NULL)
		return;
	if (on)
		bufferevent_enable(l->bev, EV_READ);
	else
		bufferevent_disable(l->bev, EV_READ);
}
