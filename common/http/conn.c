/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the server: reads heads, notices a client that leaves, keeps the deadlines,
 * ends requests. Bodies are read in conn_body.c, answers written in respond.c.
 *
 * Libevent's callbacks do the reading; everything that ends something (flush, refusal, deadline,
 * close) waits for the end of the turn (http_conn_turn), so that no hook is ever called from
 * inside a call of the handler.
 *
 * On plain sockets output goes past the bufferevent, for it would cost several system calls more
 * per request: it is written at once at the end of the turn and left to the bufferevent only when
 * the kernel takes no more. Bodies take a short cut of the same kind (conn_body.c).
 */
#include "config.h"

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

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define DISCARD_TURN	(256 * 1024)

struct evbuffer *
http_conn_input(struct http_conn *c)
{
	return bufferevent_get_input(c->bev);
}

struct evbuffer *
http_conn_output(struct http_conn *c)
{
	return bufferevent_get_output(c->bev);
}

size_t
http_conn_pending(const struct http_conn *c)
{
	return c->bev != NULL ? evbuffer_get_length(bufferevent_get_output(c->bev)) : 0;
}

/* ---- reading or not ------------------------------------------------------------------------- */

static void
set_reading(struct http_conn *c, bool on)
{
	struct http_server *s = c->server;

	if (c->reading == on)
		return;
	c->reading = on;
	if (on) {
		tf_list_remove(&s->unread, &c->unread_node);
		bufferevent_enable(c->bev, EV_READ);
	} else {
		tf_list_append(&s->unread, &c->unread_node);
		bufferevent_disable(c->bev, EV_READ);
	}
}

/*
 * While an answer is pending a little is read ahead, since reading is the cheapest way to see a
 * client leave; beyond that the connection is polled.
 */
void
http_conn_update_reading(struct http_conn *c)
{
	bool full = evbuffer_get_length(http_conn_input(c)) >= c->server->conf.read_ahead;

	if (c->eof)
		return;
	switch (c->state) {
	case HTTP_C_WAIT:
	case HTTP_C_ANSWER:
		set_reading(c, !full);
		break;
	case HTTP_C_BODY:
		set_reading(c, !c->req->paused);
		break;
	default:
		set_reading(c, true);
		break;
	}
}

/* ---- ends ----------------------------------------------------------------------------------- */

void
http_req_free(void *arg)
{
	struct http_req *r = arg;

	free(r->head_buf);
	free(r->body);
	free(r);
}

static void
conn_free(void *arg)
{
	struct http_conn *c = arg;

	free(c->addr);
	free(c);
}

/* Closes the socket; memory goes at the end of the turn. */
static void
conn_close(struct http_conn *c)
{
	struct http_server *s = c->server;

	if (c->state == HTTP_C_DEAD)
		return;
	if (!c->reading)
		tf_list_remove(&s->unread, &c->unread_node);
	http_conn_change_state(c, HTTP_C_DEAD);
	if (tf_node_linked(&c->todo_node))
		tf_list_remove(&s->todo, &c->todo_node);
	bufferevent_setcb(c->bev, NULL, NULL, NULL, NULL);
	bufferevent_disable(c->bev, EV_READ | EV_WRITE);
	bufferevent_free(c->bev);
	c->bev = NULL;
	s->nconns--;
	if (s->hooks->on_close != NULL)
		s->hooks->on_close(c, s->arg);
	ev_free_later(s->loop, c, conn_free);
}

/* Takes the request off its connection; the caller calls its last hook. */
static struct http_req *
detach(struct http_conn *c)
{
	struct http_req *r = c->req;

	c->req = NULL;
	if (r != NULL) {
		http_req_inflate_drop(r);
		r->gone = true;
		c->server->body_bytes -= r->body_room;
		ev_free_later(c->server->loop, r, http_req_free);
	}
	return r;
}

void
http_conn_gone(struct http_conn *c, enum http_gone why)
{
	const struct http_server *s = c->server;
	struct http_req *r = detach(c);

	if (r != NULL && r->known && r->ended)
		s->hooks->on_done(r, false, s->arg);
	else if (r != NULL && r->known)
		s->hooks->on_abort(r, why, s->arg);
	conn_close(c);
}

static void
close_notify(struct http_conn *c)
{
	if (c->ssl == NULL || !c->open)
		return;
	(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
}

/*
 * Ends our side and discards what still comes, so that the client can read the answer: closing
 * with unread input would reset the connection (RFC 9112, 9.6).
 */
static void
linger(struct http_conn *c, bool clean)
{
	if (c->eof) {
		conn_close(c);
		return;
	}
	if (clean)
		close_notify(c);
	(void)shutdown(c->fd, SHUT_WR);
	http_conn_change_state(c, HTTP_C_LINGER);
	http_conn_update_reading(c);
	http_conn_todo(c, HTTP_TODO_INPUT);
}

/* The answer is with the kernel. */
static void
finish(struct http_conn *c)
{
	struct http_server *s = c->server;
	struct http_req *r = detach(c);
	struct linger rst = { 1, 0 };
	bool close = r->close || c->eof || s->draining;

	if (r->cut && r->until_close)
		(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &rst, sizeof(rst));
	if (!close)
		http_conn_change_state(c, HTTP_C_IDLE);
	s->hooks->on_done(r, !r->cut, s->arg);
	if (c->state == HTTP_C_DEAD)
		return;
	if (r->cut && r->until_close) {
		conn_close(c);
	} else if (close) {
		linger(c, !r->cut);
	} else {
		http_conn_update_reading(c);
		if (evbuffer_get_length(http_conn_input(c)) > 0)
			http_conn_todo(c, HTTP_TODO_INPUT);
	}
}

/* ---- refusals ------------------------------------------------------------------------------- */

void
http_conn_refuse(struct http_conn *c, enum http_refusal why)
{
	const struct http_server *s = c->server;
	struct http_req *r = c->req;

	if (r->begun)		/* answered in the same turn, which closes as well */
		return;
	r->known = true;
	r->refusal = (uint8_t)why;
	r->close = true;
	http_conn_change_state(c, HTTP_C_ANSWER);
	http_conn_update_reading(c);
	if (s->hooks->on_refuse != NULL)
		s->hooks->on_refuse(r, why, s->arg);
	if (!r->begun && !r->gone) {
		struct http_fields f;
		const char *text = http_refusal_text(why);

		http_fields_init(&f);
		http_fields_add(&f, "Content-Type", "text/plain; charset=utf-8");
		(void)http_respond(r, http_refusal_status(why), &f, text, strlen(text));
	}
}

/* ---- head ----------------------------------------------------------------------------------- */

static int
begin_request(struct http_conn *c)
{
	struct http_req *r = malloc(sizeof(*r));

	if (r == NULL) {
		conn_close(c);
		return TF_E_NOMEM;
	}
	memset(r, 0, offsetof(struct http_req, head));
	r->conn = c;
	r->limits = c->server->conf.limits;
	http_head_init(&r->head, false, &r->limits);
	c->req = r;
	http_conn_change_state(c, HTTP_C_HEAD);
	return 0;
}

/* Gives the head a place of its own, for the request's life. */
static int
keep_head(struct http_req *r, const char *p, size_t n)
{
	r->head_buf = malloc(n > 0 ? n : 1);
	if (r->head_buf == NULL)
		return TF_E_NOMEM;
	memcpy(r->head_buf, p, n);
	r->head.base = r->head_buf;
	return 0;
}

/* False: nothing more to do with what has arrived. */
static bool
read_head(struct http_conn *c)
{
	struct evbuffer *in = http_conn_input(c);
	struct http_req *r = c->req;
	size_t n = evbuffer_get_length(in);
	const char *p;
	ssize_t rc;

	if (n > r->limits.head_max)
		n = r->limits.head_max;
	p = (const char *)evbuffer_pullup(in, (ssize_t)n);
	if (p == NULL) {
		http_conn_gone(c, HTTP_GONE_CLOSED);
		return false;
	}
	rc = http_head_parse(&r->head, p, n);
	if (rc == 0) {
		r->head.base = NULL;
		return false;
	}
	if (keep_head(r, p, rc > 0 ? (size_t)rc : n) < 0) {
		r->head.base = NULL;
		http_conn_gone(c, HTTP_GONE_CLOSED);
		return false;
	}
	if (rc < 0) {
		http_conn_refuse(c, (enum http_refusal)r->head.refusal);
		return false;
	}
	evbuffer_drain(in, (size_t)rc);
	http_body_init(&r->framing, &r->head, false);
	http_conn_change_state(c, HTTP_C_WAIT);
	r->known = true;
	c->server->hooks->on_head(r, c->server->arg);
	return true;
}

/* ---- input ---------------------------------------------------------------------------------- */

static void
discard(struct http_conn *c)
{
	struct evbuffer *in = http_conn_input(c);
	char buf[16384];
	size_t n = evbuffer_get_length(in), turn = 0;
	ssize_t got = 0;

	evbuffer_drain(in, n);
	c->discarded += n;
	while (c->ssl == NULL && turn < DISCARD_TURN &&
	    (got = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		turn += (size_t)got;
	c->discarded += turn;
	if (c->discarded > c->server->conf.linger_max || (c->ssl == NULL && turn < DISCARD_TURN &&
	    (got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))))
		conn_close(c);
}

/* Goes as far as what has arrived allows. */
static void
conn_input(struct http_conn *c)
{
	for (bool more = true; more && c->state != HTTP_C_DEAD;) {
		switch (c->state) {
		case HTTP_C_IDLE:
			more = evbuffer_get_length(http_conn_input(c)) > 0 &&
			    begin_request(c) == 0;
			break;
		case HTTP_C_HEAD:
			more = read_head(c);
			break;
		case HTTP_C_BODY:
			more = !c->req->paused && http_conn_read_body(c);
			break;
		case HTTP_C_LINGER:
			discard(c);
			return;
		default:
			more = false;
			break;
		}
	}
	if (c->state != HTTP_C_DEAD)
		http_conn_update_reading(c);
}

/* The client closed its side. Whoever still waits for an answer has left. */
static void
conn_eof(struct http_conn *c)
{
	if (c->req != NULL && c->req->ended) {
		c->eof = true;
		http_conn_update_reading(c);
		http_conn_todo(c, HTTP_TODO_FLUSH);
	} else {
		http_conn_gone(c, HTTP_GONE_LEFT);
	}
}

/* ---- output --------------------------------------------------------------------------------- */

static void
conn_written(struct http_conn *c)
{
	const struct http_server *s = c->server;
	struct http_req *r = c->req;
	size_t pending = http_conn_pending(c);

	if (r == NULL || !r->begun)
		return;
	if (r->ended && pending == 0) {
		finish(c);
	} else if (c->unreported && pending <= s->conf.low_water) {
		c->unreported = pending > 0;
		if (s->hooks->on_drain != NULL && !r->ended)
			s->hooks->on_drain(r, pending, s->arg);
	}
}

static void
conn_flush(struct http_conn *c)
{
	struct evbuffer *out = http_conn_output(c);
	int rc;

	if (c->ssl == NULL && !c->writing && evbuffer_get_length(out) > 0) {
		evbuffer_unfreeze(out, 1);
		rc = evbuffer_write(out, c->fd);
		evbuffer_freeze(out, 1);
		if (rc < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
			http_conn_gone(c, HTTP_GONE_LEFT);
			return;
		}
		if (evbuffer_get_length(out) > 0) {
			c->writing = true;
			bufferevent_enable(c->bev, EV_WRITE);
		}
	}
	conn_written(c);
}

static void
expire(struct http_conn *c)
{
	struct evbuffer *in = http_conn_input(c);
	size_t n = evbuffer_get_length(in);

	switch (c->state) {
	case HTTP_C_HEAD:
		if (keep_head(c->req, (const char *)evbuffer_pullup(in, -1), n) == 0)
			http_conn_refuse(c, HTTP_R_SLOW_HEAD);
		else
			http_conn_gone(c, HTTP_GONE_CLOSED);
		break;
	case HTTP_C_BODY:
		http_conn_refuse(c, HTTP_R_SLOW_BODY);
		break;
	case HTTP_C_IDLE:
		close_notify(c);
		conn_close(c);
		break;
	default:
		http_conn_gone(c, HTTP_GONE_STALLED);
		break;
	}
}

void
http_conn_turn(struct http_conn *c)
{
	int todo = c->todo;

	c->todo = 0;
	if (todo & HTTP_TODO_KILL)
		http_conn_gone(c, HTTP_GONE_CLOSED);
	if (todo & HTTP_TODO_LEFT && c->state != HTTP_C_DEAD && !c->reading)
		conn_eof(c);
	if (todo & HTTP_TODO_EXPIRE && c->state != HTTP_C_DEAD &&
	    http_conn_expired(c, tf_mono_ms()))
		expire(c);
	if (todo & HTTP_TODO_REFUSE && c->req != NULL && c->req->refusal != HTTP_R_NONE)
		http_conn_refuse(c, (enum http_refusal)c->req->refusal);
	if (todo & HTTP_TODO_INPUT)
		conn_input(c);
	if (c->state != HTTP_C_DEAD)
		conn_flush(c);
}

/* ---- deadlines ------------------------------------------------------------------------------ */

/* Whether a reader takes too little; opens the next window when it takes enough. */
static bool
write_expired(struct http_conn *c, uint64_t now)
{
	const struct http_server_conf *conf = &c->server->conf;
	size_t pending = http_conn_pending(c), sent = c->queued - pending;

	if (pending == 0 || now - c->write_since < conf->write_ms)
		return false;
	if (sent - c->write_mark < conf->write_min)
		return true;
	c->write_mark = sent;
	c->write_since = now;
	return false;
}

bool
http_conn_expired(struct http_conn *c, uint64_t now)
{
	const struct http_server_conf *conf = &c->server->conf;
	uint64_t age = now - c->since, grant;

	switch (c->state) {
	case HTTP_C_IDLE:
		return age >= (c->open ? conf->idle_ms : conf->head_ms) || c->server->draining;
	case HTTP_C_HEAD:
		return age >= conf->head_ms;
	case HTTP_C_BODY:
		grant = conf->body_ms + c->req->body_seen * 1000 / conf->body_rate;
		return age >= (grant < conf->body_max_ms ? grant : conf->body_max_ms);
	case HTTP_C_LINGER:
		return age >= conf->linger_ms;
	default:
		return write_expired(c, now);
	}
}

/* ---- libevent's callbacks ------------------------------------------------------------------- */

static void
on_readable(struct bufferevent *bev, void *arg)
{
	(void)bev;
	conn_input(arg);
}

static void
on_writable(struct bufferevent *bev, void *arg)
{
	struct http_conn *c = arg;

	if (c->ssl == NULL && evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
		bufferevent_disable(bev, EV_WRITE);
		c->writing = false;
	}
	conn_written(c);
}

static void
on_event(struct bufferevent *bev, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)bev;
	if (what & BEV_EVENT_CONNECTED)
		c->open = true;
	else if (what & BEV_EVENT_EOF)
		conn_eof(c);
	else if (what & BEV_EVENT_ERROR)
		http_conn_gone(c, HTTP_GONE_LEFT);
}

void
http_conn_start(struct http_conn *c)
{
	struct http_server *s = c->server;

	http_conn_change_state(c, HTTP_C_IDLE);
	bufferevent_setcb(c->bev, on_readable, on_writable, on_event, c);
	bufferevent_setwatermark(c->bev, EV_WRITE, s->conf.low_water, 0);
	if (c->ssl == NULL)
		bufferevent_disable(c->bev, EV_WRITE);
	c->reading = true;
	bufferevent_enable(c->bev, EV_READ);
	if (s->hooks->on_open != NULL)
		s->hooks->on_open(c, s->arg);
}
