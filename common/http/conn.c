/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the server: reads heads and bodies, notices a client that leaves, keeps the
 * deadlines, ends requests. Answers are written in respond.c.
 *
 * Libevent's callbacks do the reading; everything that ends something (flush, refusal, deadline,
 * close) waits for the end of the turn (http_conn_turn), so that no hook is ever called from
 * inside a call of the handler.
 *
 * On plain sockets two short cuts go past the bufferevent, for it would cost several system calls
 * more per request: output is written at once at the end of the turn and left to the bufferevent
 * only when the kernel takes no more, and a body of known length is received straight into its
 * place (libevent 2.1 reads at most 4 KB at a time).
 */
#include "config.h"

#include <assert.h>
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

#define DIRECT_MAX	(40 * 1024)	/* received at once, past the bufferevent */
#define BODY_FIRST	(64 * 1024)	/* most that is allocated on a stated length alone */
#define INFLATE_TURN	(64 * 1024)	/* decoded of one body in one go */
#define INFLATE_STEP	(16 * 1024)
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

static void
refuse(struct http_conn *c, enum http_refusal why)
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
		refuse(c, (enum http_refusal)r->head.refusal);
		return false;
	}
	evbuffer_drain(in, (size_t)rc);
	http_body_init(&r->framing, &r->head, false);
	http_conn_change_state(c, HTTP_C_WAIT);
	r->known = true;
	c->server->hooks->on_head(r, c->server->arg);
	return true;
}

/* ---- body ----------------------------------------------------------------------------------- */

int
http_req_grow(struct http_req *r, size_t n)
{
	size_t room = r->body_room, first = BODY_FIRST;
	bool known = r->framing.mode == HTTP_BODY_LENGTH && r->inflate == NULL;
	char *p;

	if (n <= room)
		return 0;
	if (room == 0 && known && r->head.length < first)
		room = (size_t)r->head.length;
	if (room == 0)
		room = known ? first : 4096;
	while (room < n)
		room *= 2;
	if (room > r->body_cap)
		room = r->body_cap;
	if (known && room > r->head.length)
		room = (size_t)r->head.length;
	assert(room >= n);
	p = realloc(r->body, room);
	if (p == NULL)
		return TF_E_NOMEM;
	r->conn->server->body_bytes += room - r->body_room;
	r->body = p;
	r->body_room = room;
	return 0;
}

static enum http_refusal
add_body(struct http_req *r, struct tf_span d)
{
	if (d.n > r->body_cap - r->body_len)
		return HTTP_R_BODY_TOO_BIG;
	if (http_req_grow(r, r->body_len + d.n) < 0)
		return HTTP_R_NO_MEMORY;
	memcpy(r->body + r->body_len, d.p, d.n);
	r->body_len += d.n;
	return HTTP_R_NONE;
}

/* Decodes what was given to the decoder, as far as this turn may go. */
static enum http_refusal
inflate_body(struct http_req *r, size_t end)
{
	enum http_refusal why = HTTP_R_NONE;
	size_t made, room;
	char beyond;

	if (end > r->body_cap)
		end = r->body_cap;
	while (why == HTTP_R_NONE && r->body_len < end) {
		room = end - r->body_len < INFLATE_STEP ? end - r->body_len : INFLATE_STEP;
		if (http_req_grow(r, r->body_len + room) < 0)
			return HTTP_R_NO_MEMORY;
		why = http_inflate_run(r->inflate, r->body + r->body_len, room, &made);
		r->body_len += made;
		if (made < room)
			return why;
	}
	if (why != HTTP_R_NONE || r->body_len < r->body_cap)
		return why;
	why = http_inflate_run(r->inflate, &beyond, 1, &made);
	return made > 0 ? HTTP_R_BODY_TOO_BIG : why;
}

/*
 * A compressed body: small pieces of what the bufferevent holds, until this turn has made its
 * part. What is left waits for the next one, so that nobody can hold up the loop with zeroes.
 */
static enum http_refusal
body_inflated(struct http_conn *c)
{
	struct evbuffer *in = http_conn_input(c);
	struct http_req *r = c->req;
	size_t end = r->body_len + INFLATE_TURN, used;
	enum http_body_step step = HTTP_BODY_MORE;
	enum http_refusal why;
	struct evbuffer_iovec v;
	struct tf_span d;

	while ((why = inflate_body(r, end)) == HTTP_R_NONE && r->body_len < end &&
	    http_inflate_room(r->inflate) > 0 && step != HTTP_BODY_END &&
	    evbuffer_peek(in, -1, NULL, &v, 1) > 0 && v.iov_len > 0) {
		if (v.iov_len > http_inflate_room(r->inflate))
			v.iov_len = http_inflate_room(r->inflate);
		step = http_body_next(&r->framing, v.iov_base, v.iov_len, &used, &d);
		if (step == HTTP_BODY_BAD)
			return (enum http_refusal)r->framing.refusal;
		if (step == HTTP_BODY_DATA)
			http_inflate_give(r->inflate, d);
		evbuffer_drain(in, used);
	}
	if (why == HTTP_R_NONE && http_inflate_taken(r->inflate) > http_coded_cap(r->body_cap))
		why = HTTP_R_BODY_TOO_BIG;
	if (why != HTTP_R_NONE)
		return why;
	if (r->body_len == end || http_inflate_room(r->inflate) == 0) {
		http_conn_todo(c, HTTP_TODO_INPUT);
		return HTTP_R_NONE;
	}
	if (!http_body_eof(&r->framing))
		return HTTP_R_NONE;
	return http_inflate_whole(r->inflate) ? HTTP_R_NONE : HTTP_R_BAD_CODING;
}

/* Decodes what the bufferevent holds. */
static enum http_refusal
body_from_input(struct http_conn *c)
{
	struct evbuffer *in = http_conn_input(c);
	struct http_req *r = c->req;
	struct evbuffer_iovec v;

	while (evbuffer_peek(in, -1, NULL, &v, 1) > 0 && v.iov_len > 0) {
		enum http_refusal why = HTTP_R_NONE;
		struct tf_span d;
		size_t used;
		enum http_body_step step = http_body_next(&r->framing, v.iov_base, v.iov_len,
		    &used, &d);

		if (step == HTTP_BODY_BAD)
			return (enum http_refusal)r->framing.refusal;
		if (step == HTTP_BODY_DATA)
			why = add_body(r, d);
		evbuffer_drain(in, used);
		if (why != HTTP_R_NONE)
			return why;
		if (step == HTTP_BODY_END)
			return HTTP_R_NONE;
	}
	return HTTP_R_NONE;
}

/* Receives content of known length where it belongs. False: the client is gone. */
static bool
body_direct(struct http_conn *c, enum http_refusal *why)
{
	struct http_req *r = c->req;
	size_t want = r->framing.left < DIRECT_MAX ? (size_t)r->framing.left : DIRECT_MAX;
	struct tf_span d;
	size_t used;
	ssize_t got;

	if (http_req_grow(r, r->body_len + want) < 0) {
		*why = HTTP_R_NO_MEMORY;
		return true;
	}
	got = recv(c->fd, r->body + r->body_len, want, MSG_DONTWAIT);
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
	(void)http_body_next(&r->framing, r->body + r->body_len, (size_t)got, &used, &d);
	assert(used == (size_t)got);
	r->body_len += (size_t)got;
	return true;
}

/* False: wait for more, or the connection is gone. */
static bool
read_body(struct http_conn *c)
{
	const struct http_server *s = c->server;
	struct http_req *r = c->req;
	size_t before = r->body_len;
	enum http_refusal why = r->inflate != NULL ? body_inflated(c) : body_from_input(c);

	if (why == HTTP_R_NONE && c->ssl == NULL && r->inflate == NULL && r->framing.mode == HTTP_BODY_LENGTH &&
	    r->framing.left > 0 && !body_direct(c, &why)) {
		http_conn_gone(c, HTTP_GONE_LEFT);
		return false;
	}
	if (why != HTTP_R_NONE) {
		refuse(c, why);
		return false;
	}
	if (r->inflate != NULL)
		r->body_seen = (size_t)http_inflate_taken(r->inflate);
	else
		r->body_seen += r->body_len - before;
	if (r->body_len > before && s->hooks->on_body != NULL) {
		s->hooks->on_body(r, r->body_len - before, s->arg);
		if (r->gone || c->state != HTTP_C_BODY)
			return !r->gone;
	}
	if (!http_body_eof(&r->framing) || (r->inflate != NULL && !http_inflate_whole(r->inflate)))
		return false;
	http_req_inflate_drop(r);
	http_conn_change_state(c, HTTP_C_ANSWER);
	s->hooks->on_body_done(r, s->arg);
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
			more = !c->req->paused && read_body(c);
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
			refuse(c, HTTP_R_SLOW_HEAD);
		else
			http_conn_gone(c, HTTP_GONE_CLOSED);
		break;
	case HTTP_C_BODY:
		refuse(c, HTTP_R_SLOW_BODY);
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
		refuse(c, (enum http_refusal)c->req->refusal);
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
