/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler's side of a request: what it may ask of it, and the writing of answers. All here
 * only queues; conn.c flushes at the end of the turn, so that what one turn wrote leaves in one
 * piece, the head together with the first bytes.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define HEAD_ROOM	256		/* status line and our own fields */
#define INLINE_BODY	(32 * 1024)	/* content up to this goes into the block of the head */

/* ---- request -------------------------------------------------------------------------------- */

const struct http_head *
http_req_head(const struct http_req *r)
{
	return &r->head;
}

struct tf_span
http_req_get(const struct http_req *r, enum http_hdr id)
{
	return http_head_get(&r->head, id);
}

struct tf_span
http_req_path(const struct http_req *r)
{
	return http_head_str(&r->head, r->head.path);
}

struct tf_span
http_req_query(const struct http_req *r)
{
	return http_head_str(&r->head, r->head.query);
}

enum http_method
http_req_method(const struct http_req *r)
{
	return (enum http_method)r->head.method;
}

struct http_conn *
http_req_conn(const struct http_req *r)
{
	return r->conn;
}

void *
http_req_data(const struct http_req *r)
{
	return r->data;
}

void
http_req_set_data(struct http_req *r, void *data)
{
	r->data = data;
}

void
http_req_inflate_drop(struct http_req *r)
{
	if (r->inflate == NULL)
		return;
	http_inflate_free(&r->inflate);
	r->conn->server->body_bytes -= HTTP_INFLATE_MEMORY;
}

/* Can the body be read at all? Makes its decoder. */
static enum http_refusal
open_body(struct http_req *r)
{
	enum http_coding coding;

	if (http_coding(http_req_get(r, HTTP_H_CONTENT_ENCODING), &coding) < 0)
		return HTTP_R_BAD_ENCODING;
	/* what does not shrink grows a little, and is counted once it is decoded */
	if (r->head.has_length &&
	    r->head.length > (coding == HTTP_CODING_NONE ? r->body_cap : http_coded_cap(r->body_cap)))
		return HTTP_R_BODY_TOO_BIG;
	if (coding == HTTP_CODING_NONE)
		return HTTP_R_NONE;
	r->inflate = http_inflate_new(coding);
	if (r->inflate == NULL)
		return HTTP_R_NO_MEMORY;
	r->conn->server->body_bytes += HTTP_INFLATE_MEMORY;
	return HTTP_R_NONE;
}

void
http_req_read_body(struct http_req *r, size_t cap)
{
	struct http_conn *c = r->conn;

	if (r->gone || r->begun || c->state != HTTP_C_WAIT)
		return;
	r->body_cap = cap;
	r->refusal = (uint8_t)open_body(r);
	if (r->refusal != HTTP_R_NONE) {
		http_conn_todo(c, HTTP_TODO_REFUSE);
		return;
	}
	http_conn_change_state(c, HTTP_C_BODY);
	http_conn_update_reading(c);
	if (r->head.expect_continue && !http_body_eof(&r->framing) &&
	    evbuffer_get_length(http_conn_input(c)) == 0)
		http_respond_continue(r);
	http_conn_todo(c, HTTP_TODO_INPUT);
}

void
http_req_pause(struct http_req *r)
{
	if (r->gone)
		return;
	r->paused = true;
	if (r->conn->state == HTTP_C_BODY)
		http_conn_update_reading(r->conn);
}

void
http_req_resume(struct http_req *r)
{
	if (r->gone || !r->paused)
		return;
	r->paused = false;
	if (r->conn->state == HTTP_C_BODY) {
		http_conn_update_reading(r->conn);
		http_conn_todo(r->conn, HTTP_TODO_INPUT);
	}
}

struct tf_span
http_req_body(const struct http_req *r)
{
	return r->body != NULL ? tf_span(r->body, r->body_len) : TF_SPAN("");
}

char *
http_req_take_body(struct http_req *r, size_t *len)
{
	char *p = r->body;

	*len = p != NULL ? r->body_len : 0;
	if (!r->gone)
		r->conn->server->body_bytes -= r->body_room;
	r->body = NULL;
	r->body_len = r->body_room = 0;
	return p;
}

void
http_req_drop_body(struct http_req *r)
{
	size_t len;

	free(http_req_take_body(r, &len));
}

bool
http_req_begun(const struct http_req *r)
{
	return r->begun;
}

size_t
http_req_pending(const struct http_req *r)
{
	return r->gone ? 0 : http_conn_pending(r->conn);
}

/* ---- connection ----------------------------------------------------------------------------- */

const char *
http_conn_peer(const struct http_conn *c)
{
	return c->peer;
}

const struct sockaddr *
http_conn_addr(const struct http_conn *c, socklen_t *len)
{
	*len = c->addrlen;
	return (const struct sockaddr *)c->addr;
}

int
http_conn_fd(const struct http_conn *c)
{
	return c->fd;
}

bool
http_conn_is_tls(const struct http_conn *c)
{
	return c->ssl != NULL;
}

void *
http_conn_data(const struct http_conn *c)
{
	return c->data;
}

void
http_conn_set_data(struct http_conn *c, void *data)
{
	c->data = data;
}

void
http_conn_kill(struct http_conn *c)
{
	http_conn_todo(c, HTTP_TODO_KILL);
}

/* ---- output --------------------------------------------------------------------------------- */

/* What cannot be sent whole is not sent at all: the connection goes. */
static int
give_up(struct http_req *r, int err)
{
	http_conn_kill(r->conn);
	return err;
}

/* Counts n bytes that are about to be queued, and starts the write deadline's window. */
static void
count(struct http_conn *c, size_t n)
{
	if (http_conn_pending(c) == 0) {
		c->write_since = tf_mono_ms();
		c->write_mark = c->queued;
	}
	c->queued += n;
	c->unreported = true;
}

/* A block of n contiguous bytes at the end of the output; NULL: no memory. */
static char *
block(struct http_conn *c, size_t n, struct evbuffer_iovec *v)
{
	if (evbuffer_reserve_space(http_conn_output(c), (ssize_t)n, v, 1) < 1)
		return NULL;
	return v->iov_base;
}

static void
commit(struct http_conn *c, struct evbuffer_iovec *v, size_t n)
{
	count(c, n);
	v->iov_len = n;
	evbuffer_commit_space(http_conn_output(c), v, 1);
}

static char *
put(char *p, const void *from, size_t n)
{
	if (n > 0)
		memcpy(p, from, n);
	return p + n;
}

static char *
put_str(char *p, const char *s)
{
	return put(p, s, strlen(s));
}

static char *
put_u64(char *p, uint64_t v)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
	} while ((v /= 10) != 0);
	while (n > 0)
		*p++ = digits[--n];
	return p;
}

void
http_respond_continue(struct http_req *r)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	count(r->conn, sizeof(text) - 1);
	if (evbuffer_add(http_conn_output(r->conn), text, sizeof(text) - 1) < 0)
		http_conn_kill(r->conn);
	else
		http_conn_todo(r->conn, HTTP_TODO_FLUSH);
}

/*
 * The rest of an unread body must not be taken for the next request. When it has arrived already
 * it is dropped; else the connection ends with this answer.
 */
static void
settle_body(struct http_req *r)
{
	struct evbuffer *in = http_conn_input(r->conn);

	if (r->refusal != HTTP_R_NONE || r->head.refusal != HTTP_R_NONE) {
		r->close = true;
	} else if (!http_body_eof(&r->framing)) {
		if (r->framing.mode == HTTP_BODY_LENGTH &&
		    r->framing.left <= evbuffer_get_length(in)) {
			evbuffer_drain(in, (size_t)r->framing.left);
			http_body_finish(&r->framing);
		} else {
			r->close = true;
		}
	}
}

/* Status line and fields, everything but the framing. */
static char *
put_head(char *p, struct http_req *r, int status, const struct http_fields *fields)
{
	p = put_str(p, "HTTP/1.1 ");
	p = put_u64(p, (uint64_t)status);
	*p++ = ' ';
	p = put_str(p, http_status_text(status));
	p = put_str(p, "\r\n");
	p = put_str(p, http_server_date(r->conn->server));
	if (fields != NULL)
		p = put(p, fields->buf, fields->len);
	if (r->close)
		p = put_str(p, "Connection: close\r\n");
	else if (!r->head.http11)
		p = put_str(p, "Connection: keep-alive\r\n");
	return p;
}

/* Common beginning of both kinds of answers. */
static int
begin(struct http_req *r, int status, const struct http_fields *fields)
{
	if (r->gone || r->conn->state == HTTP_C_DEAD)
		return TF_E_CLOSED;
	if (r->begun)
		return TF_E_STATE;
	if ((fields != NULL && fields->bad) || status < 200 || status > 999)
		return TF_E_INVAL;
	settle_body(r);
	r->begun = true;
	r->close |= !r->head.keep_alive || r->conn->server->draining || r->conn->eof;
	r->bodyless = r->head.method == HTTP_M_HEAD || status == 204 || status == 304;
	if (r->conn->state != HTTP_C_ANSWER)
		http_conn_change_state(r->conn, HTTP_C_ANSWER);
	http_conn_update_reading(r->conn);
	return 0;
}

int
http_respond(struct http_req *r, int status, const struct http_fields *fields, const void *body,
    size_t len)
{
	struct http_conn *c = r->conn;
	size_t now = len <= INLINE_BODY ? len : 0;
	struct evbuffer_iovec v;
	char *p, *start;
	int rc = begin(r, status, fields);

	if (rc < 0)
		return rc;
	if (r->bodyless)
		now = 0;
	start = block(c, HEAD_ROOM + (fields != NULL ? fields->len : 0) + now, &v);
	if (start == NULL)
		return give_up(r, TF_E_NOMEM);
	p = put_head(start, r, status, fields);
	if (status != 204 && status != 304) {
		p = put_str(p, "Content-Length: ");
		p = put_u64(p, len);
		p = put_str(p, "\r\n");
	}
	p = put_str(p, "\r\n");
	p = put(p, body, now);
	commit(c, &v, (size_t)(p - start));
	if (now == 0 && len > 0 && !r->bodyless) {
		count(c, len);
		if (evbuffer_add(http_conn_output(c), body, len) < 0)
			return give_up(r, TF_E_NOMEM);
	}
	r->ended = true;
	http_conn_todo(c, HTTP_TODO_FLUSH);
	return 0;
}

int
http_respond_begin(struct http_req *r, int status, const struct http_fields *fields, int64_t length)
{
	struct evbuffer_iovec v;
	char *p, *start;
	int rc;

	if (length < HTTP_STREAM)
		return TF_E_INVAL;
	if (!r->gone && length == HTTP_STREAM && !r->head.http11) {
		r->until_close = true;
		r->close = true;
	}
	rc = begin(r, status, fields);
	if (rc < 0)
		return rc;
	start = block(r->conn, HEAD_ROOM + (fields != NULL ? fields->len : 0), &v);
	if (start == NULL)
		return give_up(r, TF_E_NOMEM);
	p = put_head(start, r, status, fields);
	r->out_left = length >= 0 ? (uint64_t)length : UINT64_MAX;
	if (length >= 0 && status != 204 && status != 304) {
		p = put_str(p, "Content-Length: ");
		p = put_u64(p, (uint64_t)length);
		p = put_str(p, "\r\n");
	} else if (length < 0 && !r->until_close && status != 204 && status != 304) {
		r->chunked = !r->bodyless;
		p = put_str(p, "Transfer-Encoding: chunked\r\n");
	}
	p = put_str(p, "\r\n");
	commit(r->conn, &v, (size_t)(p - start));
	return 0;
}

int
http_respond_flush(struct http_req *r)
{
	if (r->gone)
		return TF_E_CLOSED;
	http_conn_todo(r->conn, HTTP_TODO_FLUSH);
	return 0;
}

/* Whether len more bytes may be written; out_left is taken down. */
static int
may_write(struct http_req *r, size_t len)
{
	if (r->gone || r->conn->state == HTTP_C_DEAD)
		return TF_E_CLOSED;
	if (!r->begun || r->ended)
		return TF_E_STATE;
	if (len > r->out_left)
		return give_up(r, TF_E_RANGE);
	if (r->out_left != UINT64_MAX)
		r->out_left -= len;
	return 0;
}

/* "1a\r\n": returns its length. */
static size_t
chunk_size(char *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned d = (unsigned)(len >> shift) & 15;

		if (d != 0 || n > 0)
			p[n++] = digits[d];
	}
	p[n++] = '\r';
	p[n++] = '\n';
	return n;
}

int
http_respond_write(struct http_req *r, const void *data, size_t len)
{
	struct evbuffer_iovec v;
	char *p, *start;
	int rc = may_write(r, len);

	if (rc < 0 || len == 0)
		return rc;
	if (!r->bodyless) {
		start = p = block(r->conn, len + 24, &v);
		if (start == NULL)
			return give_up(r, TF_E_NOMEM);
		if (r->chunked)
			p += chunk_size(p, len);
		p = put(p, data, len);
		if (r->chunked)
			p = put(p, "\r\n", 2);
		commit(r->conn, &v, (size_t)(p - start));
	}
	http_conn_todo(r->conn, HTTP_TODO_FLUSH);
	return 0;
}

struct ref {
	void	(*done)(void *arg);
	void	*arg;
};

static void
ref_done(const void *data, size_t len, void *extra)
{
	struct ref *ref = extra;

	(void)data;
	(void)len;
	ref->done(ref->arg);
	free(ref);
}

int
http_respond_write_ref(struct http_req *r, const void *data, size_t len, void (*done)(void *arg),
    void *arg)
{
	struct evbuffer *out;
	struct ref *ref;
	char size[20];
	size_t n = 0;
	int rc = may_write(r, len);

	if (rc < 0 || len == 0 || r->bodyless) {
		done(arg);
		return rc;
	}
	out = http_conn_output(r->conn);
	ref = malloc(sizeof(*ref));
	if (ref == NULL) {
		done(arg);
		return give_up(r, TF_E_NOMEM);
	}
	*ref = (struct ref){ done, arg };
	if (r->chunked)
		n = chunk_size(size, len);
	count(r->conn, n + len + (r->chunked ? 2 : 0));
	if (n > 0 && evbuffer_add(out, size, n) < 0) {
		ref_done(NULL, 0, ref);
		return give_up(r, TF_E_NOMEM);
	}
	if (evbuffer_add_reference(out, data, len, ref_done, ref) < 0) {
		ref_done(NULL, 0, ref);
		return give_up(r, TF_E_NOMEM);
	}
	if (r->chunked && evbuffer_add(out, "\r\n", 2) < 0)
		return give_up(r, TF_E_NOMEM);
	http_conn_todo(r->conn, HTTP_TODO_FLUSH);
	return 0;
}

int
http_respond_end(struct http_req *r)
{
	int rc = may_write(r, 0);

	if (rc < 0)
		return rc;
	if (r->chunked) {
		count(r->conn, 5);
		if (evbuffer_add(http_conn_output(r->conn), "0\r\n\r\n", 5) < 0)
			return give_up(r, TF_E_NOMEM);
	}
	if (r->out_left != UINT64_MAX && r->out_left > 0 && !r->bodyless)
		r->cut = r->close = true;
	r->ended = true;
	http_conn_todo(r->conn, HTTP_TODO_FLUSH);
	return 0;
}

void
http_respond_abort(struct http_req *r)
{
	if (r->gone || r->ended)
		return;
	r->ended = r->cut = r->close = true;
	r->begun = true;
	http_conn_todo(r->conn, HTTP_TODO_FLUSH);
}
