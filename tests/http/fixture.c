/* SPDX-License-Identifier: Apache-2.0 */
/* A server in a thread, blocking clients and a scripted server. See fixture.h. */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/base.h"
#include "tests/http/fixture.h"

#define BODY_CAP	(1024 * 1024)
#define BIG_PIECE	65536

uint64_t
now_ms(void)
{
	return tf_mono_ms();
}

/* ---- handlers ------------------------------------------------------------------------------- */

static struct fix *
fix_of(struct http_req *r)
{
	return http_conn_data(http_req_conn(r));
}

static void
answer(struct http_req *r, int status, const char *text)
{
	struct http_fields f;

	http_fields_init(&f);
	http_fields_add(&f, "Content-Type", "text/plain");
	assert_int_equal(http_respond(r, status, &f, text, strlen(text)), 0);
}

/* /big: 20 MB, written as the client takes it. */
static void
more_big(struct http_req *r)
{
	static const char zeroes[BIG_PIECE];
	struct fix *f = fix_of(r);
	uintptr_t left = (uintptr_t)http_req_data(r);

	while (left > 0 && http_req_pending(r) < 2 * BIG_PIECE) {
		size_t n = left < BIG_PIECE ? left : BIG_PIECE;

		if (http_respond_write(r, zeroes, n) < 0)
			return;
		left -= n;
		http_req_set_data(r, (void *)left);
	}
	if (http_req_pending(r) > atomic_load(&f->most_pending))
		atomic_store(&f->most_pending, http_req_pending(r));
	if (left == 0)
		(void)http_respond_end(r);
}

static void
on_timer(void *arg)
{
	struct fix *f = arg;
	struct http_req *r = f->deferred;

	if (r == NULL)
		return;
	if (tf_span_is(http_req_path(r), "/paused")) {
		http_req_resume(r);
	} else if (tf_span_is(http_req_path(r), "/drip")) {
		(void)http_respond_write(r, "data: x\n\n", 9);
		if (++f->drips < 5) {
			ev_timer_set(&f->timer, 10);
			return;
		}
		(void)http_respond_end(r);
	} else {
		http_req_read_body(r, BODY_CAP);
	}
	f->deferred = NULL;
}

static bool
stream_head(struct http_req *r, struct fix *f, struct tf_span path)
{
	if (tf_span_is(path, "/big")) {
		http_req_set_data(r, (void *)(uintptr_t)(20 * 1024 * 1024));
		(void)http_respond_begin(r, 200, NULL, HTTP_STREAM);
		more_big(r);
	} else if (tf_span_is(path, "/drip")) {
		(void)http_respond_begin(r, 200, NULL, HTTP_STREAM);
		f->deferred = r;
		f->drips = 0;
		ev_timer_set(&f->timer, 10);
	} else if (tf_span_is(path, "/open")) {
		(void)http_respond_begin(r, 200, NULL, HTTP_STREAM);
		(void)http_respond_write(r, ": hi\n\n", 6);
	} else if (tf_span_is(path, "/cut")) {
		(void)http_respond_begin(r, 200, NULL, HTTP_STREAM);
		(void)http_respond_write(r, "part", 4);
		http_respond_abort(r);
	} else if (tf_span_is(path, "/short")) {
		(void)http_respond_begin(r, 200, NULL, 10);
		(void)http_respond_write(r, "part", 4);
		(void)http_respond_end(r);
	} else if (tf_span_is(path, "/length")) {
		(void)http_respond_begin(r, 200, NULL, 4);
		(void)http_respond_write_ref(r, "full", 4, free, NULL);
		(void)http_respond_end(r);
	} else {
		return false;
	}
	return true;
}

static void
on_head(struct http_req *r, void *arg)
{
	struct fix *f = arg;
	struct tf_span path = http_req_path(r);

	atomic_fetch_add(&f->heads, 1);
	if (stream_head(r, f, path))
		return;
	if (http_req_method(r) == HTTP_M_UNKNOWN)
		answer(r, 405, "what?");
	else if (tf_span_is(path, "/early"))
		answer(r, 401, "who are you?");
	else if (tf_span_is(path, "/tiny"))
		http_req_read_body(r, 10);
	else if (tf_span_is(path, "/defer")) {
		f->deferred = r;
		ev_timer_set(&f->timer, 150);
	} else if (!tf_span_is(path, "/hold"))
		http_req_read_body(r, BODY_CAP);
}

/* The body comes in bounded slices, each told once. */
static void
on_body(struct http_req *r, size_t fresh, void *arg)
{
	struct fix *f = arg;

	assert_true(fresh > 0 && fresh <= 64 * 1024);
	http_req_set_data(r, (void *)((uintptr_t)http_req_data(r) + fresh)); /* a count, not a place */
	assert_int_equal((uintptr_t)http_req_data(r), http_req_body(r).n);
	if (tf_span_is(http_req_path(r), "/paused")) {
		http_req_pause(r);
		f->deferred = r;
		ev_timer_set(&f->timer, 10);
	}
}

static void
on_body_done(struct http_req *r, void *arg)
{
	struct tf_span body = http_req_body(r);
	struct fix *f = arg;

	assert_int_equal((uintptr_t)http_req_data(r), body.n);
	if (f->deferred == r)
		f->deferred = NULL;
	if (tf_span_is(http_req_path(r), "/never")) {
		http_req_drop_body(r);
		return;
	}
	assert_int_equal(http_respond(r, 200, NULL, body.p, body.n), 0);
}

static void
on_refuse(struct http_req *r, enum http_refusal why, void *arg)
{
	struct fix *f = arg;

	if (http_req_head(r)->refusal != HTTP_R_NONE || why == HTTP_R_SLOW_HEAD)
		atomic_fetch_add(&f->heads, 1);		/* on_head did not come before */
	atomic_fetch_add(&f->refusals, 1);
	answer(r, http_refusal_status(why), http_refusal_symbol(why));
}

static void
on_drain(struct http_req *r, size_t pending, void *arg)
{
	(void)arg;
	(void)pending;
	if (tf_span_is(http_req_path(r), "/big"))
		more_big(r);
}

static void
on_abort(struct http_req *r, enum http_gone why, void *arg)
{
	struct fix *f = arg;

	(void)why;
	if (f->deferred == r)
		f->deferred = NULL;
	assert_int_equal(http_respond(r, 200, NULL, "", 0), TF_E_CLOSED);
	atomic_fetch_add(&f->aborts, 1);
}

static void
on_done(struct http_req *r, bool delivered, void *arg)
{
	struct fix *f = arg;

	if (f->deferred == r)
		f->deferred = NULL;
	atomic_fetch_add(&f->dones, 1);
	if (!delivered)
		atomic_fetch_add(&f->undelivered, 1);
}

static void
on_open(struct http_conn *c, void *arg)
{
	struct fix *f = arg;

	http_conn_set_data(c, f);
	atomic_fetch_add(&f->opens, 1);
}

static void
on_close(struct http_conn *c, void *arg)
{
	(void)c;
	atomic_fetch_add(&((struct fix *)arg)->closes, 1);
}

static const struct http_server_hooks hooks = {
	.on_open = on_open, .on_close = on_close, .on_head = on_head, .on_body = on_body,
	.on_body_done = on_body_done, .on_refuse = on_refuse, .on_drain = on_drain,
	.on_abort = on_abort, .on_done = on_done,
};

/* ---- the server's thread -------------------------------------------------------------------- */

int
listen_on(int *port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1024), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*port = ntohs(sa.sin_port);
	return fd;
}

static void *
run(void *arg)
{
	struct fix *f = arg;

	ev_loop_run(f->loop);
	return NULL;
}

void
fix_start(struct fix *f, const struct http_server_conf *conf, struct ssl_ctx_st *tls)
{
	int fd;

	memset(f, 0, sizeof(*f));
	fd = listen_on(&f->port);
	f->conf = *conf;
	f->loop = ev_loop_new();
	assert_non_null(f->loop);
	f->server = http_server_new(f->loop, &f->conf, &hooks, f);
	assert_non_null(f->server);
	http_server_set_tls(f->server, tls);
	f->listener = http_listen(f->server, fd);
	assert_non_null(f->listener);
	ev_timer_init(&f->timer, f->loop, on_timer, f);
	assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

struct job {
	struct fix	*f;
	void		(*fn)(struct fix *f);
	atomic_int	 done;
};

static void
do_job(void *arg)
{
	struct job *j = arg;

	j->fn(j->f);
	atomic_store(&j->done, 1);
}

void
fix_call(struct fix *f, void (*fn)(struct fix *f))
{
	struct job j = { f, fn, 0 };

	assert_int_equal(ev_post(f->loop, do_job, &j), 0);
	assert_true(fix_wait(&j.done, 1, 5000) >= 0);
}

static void
stop(struct fix *f)
{
	ev_timer_del(&f->timer);
	http_listener_free(&f->listener);
	http_server_free(&f->server);
	ev_loop_stop(f->loop);
}

void
fix_stop(struct fix *f)
{
	fix_call(f, stop);
	pthread_join(f->thread, NULL);
	assert_int_equal(atomic_load(&f->opens), atomic_load(&f->closes));
	assert_int_equal(atomic_load(&f->heads), atomic_load(&f->aborts) + atomic_load(&f->dones));
	ev_loop_free(&f->loop);
}

int
fix_wait(atomic_int *v, int want, int ms)
{
	uint64_t start = now_ms();

	ms = ms < 20000 ? 20000 : ms; /* a busy machine */

	while (atomic_load(v) < want) {
		if (now_ms() - start > (uint64_t)ms)
			return -1;
		usleep(1000);
	}
	return (int)(now_ms() - start);
}

/* ---- blocking client ------------------------------------------------------------------------ */

int
dial(int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	struct timeval tv = { 30, 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

bool
say_n(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t k = send(fd, at, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		at += k;
		n -= (size_t)k;
	}
	return true;
}

void
say(int fd, const char *text)
{
	(void)say_n(fd, text, strlen(text));
}

/* The head byte by byte, so that nothing of the next answer is taken. */
static ssize_t
hear_head(int fd, struct http_head *h, struct tf_buf *buf)
{
	char c;
	ssize_t rc;

	http_head_init(h, true, &http_limits_response);
	for (;;) {
		if (recv(fd, &c, 1, 0) != 1)
			return -1;
		tf_buf_addc(buf, c);
		rc = http_head_parse(h, buf->p, buf->n);
		if (rc != 0)
			return rc;
	}
}

int
hear_any(int fd, struct tf_buf *body, bool head_request)
{
	struct tf_buf head = { 0 };
	struct http_head h;
	struct http_body b;
	int status = -1;
	bool end = false;

	if (hear_head(fd, &h, &head) > 0) {
		http_body_init(&b, &h, head_request);
		status = h.status;
		while (!end) {
			struct tf_span d;
			size_t used;
			char c = 0;
			enum http_body_step step = http_body_next(&b, &c, 0, &used, &d);
			ssize_t n = step == HTTP_BODY_MORE ? recv(fd, &c, 1, 0) : 0;

			end = step != HTTP_BODY_MORE;
			if (n == 1 && http_body_next(&b, &c, 1, &used, &d) == HTTP_BODY_DATA &&
			    body != NULL)
				tf_buf_addspan(body, d);
			if (n <= 0 && !end) {
				end = true;
				status = http_body_eof(&b) ? status : -status;
			}
		}
	}
	tf_buf_free(&head);
	return status;
}

int
hear(int fd, struct tf_buf *body)
{
	return hear_any(fd, body, false);
}

bool
at_eof(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* ---- raw server ----------------------------------------------------------------------------- */

/* Reads one request with a length or none; false at the end. */
static bool
raw_request(struct raw *r, int fd)
{
	struct http_head h;
	char buf[4096];
	size_t from = r->seen.n;
	ssize_t rc = 0, n;

	http_head_init(&h, false, &http_limits_request);
	while (rc <= 0) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return false;
		tf_buf_append(&r->seen, buf, (size_t)n);
		rc = http_head_parse(&h, r->seen.p + from, r->seen.n - from);
		assert_true(rc >= 0);
	}
	while (h.has_length && r->seen.n - from < (size_t)rc + h.length) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return false;
		tf_buf_append(&r->seen, buf, (size_t)n);
	}
	atomic_fetch_add(&r->requests, 1);
	return true;
}

static void
raw_play(struct raw *r, int fd, const struct script *s)
{
	char buf[256];

	for (size_t i = 0; i < TF_LEN(s->answers) && s->answers[i] != NULL; i++) {
		if (!raw_request(r, fd))
			return;
		say(fd, s->answers[i]);
	}
	while (s->hold && recv(fd, buf, sizeof(buf), 0) > 0)
		;
	if (s->hold)
		atomic_fetch_add(&r->gone, 1);
}

static void *
raw_run(void *arg)
{
	struct raw *r = arg;

	for (size_t i = 0; i < r->nscripts; i++) {
		int fd = accept(r->listen_fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		atomic_fetch_add(&r->accepted, 1);
		if (!r->scripts[i].close_early)
			raw_play(r, fd, &r->scripts[i]);
		close(fd);
	}
	return NULL;
}

void
raw_start(struct raw *r, const struct script *scripts, size_t n, const char *unix_path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memset(r, 0, sizeof(*r));
	r->scripts = scripts;
	r->nscripts = n;
	if (unix_path == NULL) {
		r->listen_fd = listen_on(&r->port);
	} else {
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", unix_path);
		r->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(r->listen_fd, (struct sockaddr *)&un, sizeof(un)), 0);
		assert_int_equal(listen(r->listen_fd, 16), 0);
	}
	assert_int_equal(pthread_create(&r->thread, NULL, raw_run, r), 0);
}

void
raw_stop(struct raw *r)
{
	shutdown(r->listen_fd, SHUT_RDWR);
	pthread_join(r->thread, NULL);
	close(r->listen_fd);
	tf_buf_free(&r->seen);
}
