/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of the client and its answer: takes a connection, sends, reads the answer as it
 * comes, sends once more on a fresh connection when a pooled one turns out to be dead. Timers
 * beyond connecting are the caller's.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define INTERIM_MAX	16		/* 1xx answers before the real one */
#define DIRECT_SIZE	(32 * 1024)	/* received at once, past the bufferevent */
#define DIRECT_TURNS	4
#define COPY_MAX	4096		/* bytes that are cheaper to copy than to refer to */

static void begin(struct http_call *call, bool fresh);

static char none[1];			/* an address for no bytes */

static const char *const fail_names[HTTP_FAIL_N] = {
	[HTTP_FAIL_RESOLVE] = "resolve", [HTTP_FAIL_CONNECT] = "connect", [HTTP_FAIL_TLS] = "tls",
	[HTTP_FAIL_TIMEOUT] = "timeout", [HTTP_FAIL_EARLY] = "early", [HTTP_FAIL_MID] = "mid",
	[HTTP_FAIL_BAD] = "bad", [HTTP_FAIL_CLOSED] = "closed",
};

const char *
http_fail_name(enum http_fail f)
{
	return fail_names[f];
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
change_state(struct http_call *call, enum http_call_state state)
{
	struct http_origin *o = call->origin;

	if (call->state != HTTP_CALL_GONE)
		tf_list_remove(&o->calls[call->state], &call->node);
	call->state = (uint8_t)state;
	if (state != HTTP_CALL_GONE)
		tf_list_append(&o->calls[state], &call->node);
}

static void
release_body(struct http_call *call)
{
	if (call->body_done != NULL)
		call->body_done(call->body_arg);
	call->body_done = NULL;
	call->body = NULL;
	free(call->req);
	call->req = NULL;
}

static void
call_free(void *arg)
{
	struct http_call *call = arg;

	release_body(call);
	free(call->head_buf);
	free(call);
}

/* The call is over; the caller of this calls the last hook. */
static void
end(struct http_call *call)
{
	struct http_client *c = call->origin->client;

	if (call->link != NULL)
		http_link_close(call->link);
	change_state(call, HTTP_CALL_GONE);
	ev_timer_del(&call->timer);
	if (tf_node_linked(&call->todo_node))
		tf_list_remove(&c->todo, &call->todo_node);
	ev_free_later(c->loop, call, call_free);
}

void
http_call_fail(struct http_call *call, enum http_fail why, const char *detail)
{
	if (call->state == HTTP_CALL_GONE)
		return;
	end(call);
	call->hooks->on_error(call, why, detail, call->arg);
}

void
http_call_abort(struct http_call *call)
{
	if (call->state != HTTP_CALL_GONE)
		end(call);
}

static void
on_timer(void *arg)
{
	http_call_fail(arg, HTTP_FAIL_TIMEOUT, "no connection in time");
}

/* How long the connection may be pooled; 0: not at all. `Keep-Alive: timeout=5` is in seconds. */
static uint64_t
idle_time(struct http_call *call)
{
	struct http_link *l = call->link;
	uint64_t ms = call->origin->client->conf.idle_ms;
	struct tf_span v = http_head_get(&call->head, HTTP_H_KEEP_ALIVE);

	if (!call->head.keep_alive || call->framing.mode == HTTP_BODY_CLOSE || !http_link_sent(l) ||
	    evbuffer_get_length(bufferevent_get_input(l->bev)) > 0)
		return 0;
	for (size_t i = 0; i + 8 < v.n; i++) {
		uint64_t s = 0;

		if (strncasecmp(v.p + i, "timeout=", 8) != 0)
			continue;
		for (i += 8; i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && s < 100000; i++)
			s = s * 10 + (uint64_t)(v.p[i] - '0');
		s = s > 0 ? s * 1000 - 500 : 0;
		return s < ms ? s : ms;
	}
	return ms;
}

static void
complete(struct http_call *call)
{
	struct http_link *l = call->link;
	uint64_t idle = idle_time(call);

	call->link = NULL;
	http_link_release(l, idle);
	end(call);
	call->hooks->on_done(call, call->arg);
}

/* ---- request -------------------------------------------------------------------------------- */

static int
build_request(struct http_call *call, const struct http_call_req *q)
{
	struct tf_buf b = { 0 };
	bool body = q->len > 0 || (strcmp(q->method, "GET") != 0 &&
	    strcmp(q->method, "HEAD") != 0 && strcmp(q->method, "DELETE") != 0);
	int rc;

	rc = tf_buf_printf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", q->method, q->target,
	    call->origin->host_field);
	if (rc == 0 && q->fields != NULL)
		rc = tf_buf_append(&b, q->fields->buf, q->fields->len);
	if (rc == 0 && body)
		rc = tf_buf_printf(&b, "Content-Length: %zu\r\n", q->len);
	if (rc == 0)
		rc = tf_buf_addstr(&b, "\r\n");
	if (rc == 0 && q->len > 0 && q->body_done == NULL)
		rc = tf_buf_append(&b, q->body, q->len);
	if (rc < 0) {
		tf_buf_free(&b);
		return rc;
	}
	call->req = b.p;
	call->req_len = b.n;
	return 0;
}

struct http_call *
http_call_start(struct http_origin *o, const struct http_call_req *q,
    const struct http_call_hooks *hooks, void *arg)
{
	struct http_call *call;

	if (o->closing || (q->fields != NULL && q->fields->bad) || *q->method == '\0' ||
	    *q->target != '/' ||
	    !http_all(q->method, strlen(q->method), HTTP_CT_TOKEN) ||
	    !http_all(q->target, strlen(q->target), HTTP_CT_TARGET))
		return NULL;
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return NULL;
	call->origin = o;
	call->hooks = hooks;
	call->arg = arg;
	call->state = HTTP_CALL_GONE;
	call->head_request = strcmp(q->method, "HEAD") == 0;
	if (build_request(call, q) < 0) {
		free(call);
		return NULL;
	}
	if (q->body_done != NULL) {
		call->body = q->body;
		call->body_len = q->len;
		call->body_done = q->body_done;
		call->body_arg = q->body_arg;
	}
	ev_timer_init(&call->timer, o->client->loop, on_timer, call);
	change_state(call, HTTP_CALL_QUEUED);
	http_client_todo(call);
	return call;
}

/* The connection is there: sends the request in one piece. */
static void
talk(struct http_call *call)
{
	struct http_link *l = call->link;

	ev_timer_del(&call->timer);
	change_state(call, HTTP_CALL_TALK);
	http_head_init(&call->head, true, &call->origin->client->conf.limits);
	if (http_link_send(l, call->req, call->req_len, call->req_len > COPY_MAX) < 0 ||
	    http_link_send(l, call->body, call->body_len, call->body_len > COPY_MAX) < 0) {
		http_call_fail(call, HTTP_FAIL_CONNECT, "out of memory");
		return;
	}
	if (call->paused)
		http_link_reading(l, false);
	if (http_link_flush(l) < 0)
		http_call_lost(call);
	else if (call->hooks->on_sent != NULL)
		call->hooks->on_sent(call, call->arg);
}

void
http_call_connected(struct http_call *call)
{
	talk(call);
}

static void
begin(struct http_call *call, bool fresh)
{
	struct http_origin *o = call->origin;
	struct http_link *l = fresh ? NULL : http_link_reuse(o);

	if (l != NULL) {
		l->call = call;
		call->link = l;
		call->reused = true;
		talk(call);
		return;
	}
	call->reused = false;
	ev_timer_set(&call->timer, o->client->conf.connect_ms);
	change_state(call, HTTP_CALL_RESOLVE);
	if (http_origin_resolve(o) == 0)
		http_call_resolved(call);
}

void
http_call_resolved(struct http_call *call)
{
	change_state(call, HTTP_CALL_CONNECT);
	http_link_start(call);
}

/* ---- answer --------------------------------------------------------------------------------- */

/* Decodes and hands over; stops early when the call ends or pauses in a hook. */
static enum http_body_step
feed(struct http_call *call, const char *p, size_t n, size_t *used)
{
	*used = 0;
	for (;;) {
		struct tf_span d;
		size_t got;
		enum http_body_step step = http_body_next(&call->framing, p + *used, n - *used,
		    &got, &d);

		*used += got;
		if (step != HTTP_BODY_DATA)
			return step;
		call->hooks->on_data(call, d.p, d.n, call->arg);
		if (call->state == HTTP_CALL_GONE || call->paused)
			return HTTP_BODY_DATA;
	}
}

/* Takes the step that feed() ended with; true: more bytes are welcome. */
static bool
settle(struct http_call *call, enum http_body_step step)
{
	if (call->state == HTTP_CALL_GONE)
		return false;
	if (step == HTTP_BODY_END) {
		complete(call);
		return false;
	}
	if (step == HTTP_BODY_BAD) {
		http_call_fail(call, HTTP_FAIL_BAD,
		    http_refusal_symbol((enum http_refusal)call->framing.refusal));
		return false;
	}
	return !call->paused;
}

/* Reads the head, past interim answers; true: it is whole. */
static bool
take_head(struct http_call *call)
{
	struct evbuffer *in = bufferevent_get_input(call->link->bev);
	size_t max = call->origin->client->conf.limits.head_max;

	for (int i = 0; i < INTERIM_MAX; i++) {
		size_t n = evbuffer_get_length(in) < max ? evbuffer_get_length(in) : max;
		const char *p = (const char *)evbuffer_pullup(in, (ssize_t)n);
		ssize_t rc = n > 0 && p != NULL ? http_head_parse(&call->head, p, n) : 0;

		call->got_byte |= n > 0;
		if (rc == 0)
			return false;
		if (rc > 0 && call->head.status >= 100 && call->head.status < 200 &&
		    call->head.status != 101) {
			evbuffer_drain(in, (size_t)rc);
			http_head_init(&call->head, true, &call->origin->client->conf.limits);
			continue;
		}
		call->head_buf = rc > 0 ? malloc((size_t)rc) : NULL;
		if (call->head_buf == NULL || call->head.status == 101) {
			http_call_fail(call, HTTP_FAIL_BAD, rc < 0 ?
			    http_refusal_symbol((enum http_refusal)call->head.refusal) :
			    "unexpected status");
			return false;
		}
		memcpy(call->head_buf, p, (size_t)rc);
		call->head.base = call->head_buf;
		evbuffer_drain(in, (size_t)rc);
		return true;
	}
	http_call_fail(call, HTTP_FAIL_BAD, "too many interim answers");
	return false;
}

/* What the bufferevent holds; true: more bytes are welcome. */
static bool
take_body(struct http_call *call)
{
	for (;;) {
		struct evbuffer *in = bufferevent_get_input(call->link->bev);
		struct evbuffer_iovec v = { none, 0 };
		enum http_body_step step;
		size_t used;

		(void)evbuffer_peek(in, -1, NULL, &v, 1);
		step = feed(call, v.iov_base, v.iov_len, &used);
		if (call->state == HTTP_CALL_GONE)
			return false;
		evbuffer_drain(in, used);
		if (!settle(call, step))
			return false;
		if (evbuffer_get_length(in) == 0)
			return true;
	}
}

/* When much comes, libevent's small reads would cost more than the rest of the work. */
static void
take_direct(struct http_call *call)
{
	char buf[DIRECT_SIZE];

	for (int i = 0; i < DIRECT_TURNS; i++) {
		ssize_t n = recv(call->link->fd, buf, sizeof(buf), MSG_DONTWAIT);
		enum http_body_step step;
		size_t used;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			http_call_lost(call);
			return;
		}
		if (n == 0) {
			http_call_eof(call);
			return;
		}
		step = feed(call, buf, (size_t)n, &used);
		if (call->state == HTTP_CALL_GONE)
			return;
		if (used < (size_t)n && evbuffer_prepend(bufferevent_get_input(call->link->bev),
		    buf + used, (size_t)n - used) < 0) {
			http_call_fail(call, HTTP_FAIL_MID, "out of memory");
			return;
		}
		if (!settle(call, step) || (size_t)n < sizeof(buf))
			return;
	}
}

void
http_call_input(struct http_call *call, bool full)
{
	if (call->state != HTTP_CALL_TALK || call->paused)
		return;
	if (!call->have_head) {
		if (!take_head(call))
			return;
		call->have_head = true;
		http_body_init(&call->framing, &call->head, call->head_request);
		if (http_link_sent(call->link))
			release_body(call);
		call->hooks->on_head(call, &call->head, call->arg);
		if (call->state == HTTP_CALL_GONE || call->paused)
			return;
	}
	if (take_body(call) && full && call->link->ssl == NULL)
		take_direct(call);
}

void
http_call_eof(struct http_call *call)
{
	if (call->have_head && http_body_eof(&call->framing))
		complete(call);
	else
		http_call_lost(call);
}

void
http_call_lost(struct http_call *call)
{
	bool again = call->reused && !call->resent && !call->got_byte;

	if (call->link != NULL)
		http_link_close(call->link);
	if (again) {
		call->resent = true;
		begin(call, true);
	} else {
		http_call_fail(call, call->got_byte ? HTTP_FAIL_MID : HTTP_FAIL_EARLY,
		    call->got_byte ? "the answer was cut off" : "closed before an answer");
	}
}

/* ---- the caller's brakes -------------------------------------------------------------------- */

void
http_call_pause(struct http_call *call)
{
	if (call->state == HTTP_CALL_GONE || call->paused)
		return;
	call->paused = true;
	if (call->state == HTTP_CALL_TALK)
		http_link_reading(call->link, false);
}

void
http_call_resume(struct http_call *call)
{
	if (call->state == HTTP_CALL_GONE || !call->paused)
		return;
	call->paused = false;
	http_client_todo(call);
}

bool
http_call_reused(const struct http_call *call)
{
	return call->reused;
}

/* The end of the turn: a new call begins, or one that was resumed takes what lies there. */
void
http_call_turn(struct http_call *call)
{
	if (call->state == HTTP_CALL_QUEUED) {
		begin(call, false);
	} else if (call->state == HTTP_CALL_TALK && !call->paused) {
		http_link_reading(call->link, true);
		http_call_input(call, false);
	}
}
