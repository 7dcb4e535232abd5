/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The body of a request as the server receives it: out of its framing, decoded when it is compressed,
 * within its cap, into the memory that the handler takes.
 *
 * On plain sockets a body of known length is received straight into its place, past the bufferevent:
 * libevent 2.1 reads at most 4 KB at a time.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>

#include "common/http/http.h"
#include "common/http/http_int.h"

#define DIRECT_MAX	(40 * 1024)	/* received at once, past the bufferevent */
#define BODY_FIRST	(64 * 1024)	/* most that is allocated on a stated length alone */
#define INFLATE_TURN	(64 * 1024)	/* decoded of one body in one go */
#define INFLATE_STEP	(16 * 1024)

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

bool
http_conn_read_body(struct http_conn *c)
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
		http_conn_refuse(c, why);
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
