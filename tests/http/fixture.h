/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the socket tests of common/http: a server with a few handlers in a thread of its own, a
 * scripted raw server, plain blocking client sockets.
 */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/event/event.h"
#include "common/http/http.h"

/* A server in a thread. Its handlers answer by path: see fixture.c. */
struct fix {
	pthread_t		 thread;
	struct ev_loop		*loop;
	struct http_server	*server;
	struct http_listener	*listener;
	struct http_server_conf	 conf;
	struct ssl_ctx_st	*tls;
	struct ev_timer		 timer;
	struct http_req		*deferred;	/* of /defer, /drip and /paused */
	int			 drips;
	int			 port, spare_port;
	atomic_int		 heads, aborts, dones, undelivered, refusals, opens, closes;
	atomic_size_t		 most_pending, conns, body_bytes;
};

void	 fix_start(struct fix *f, const struct http_server_conf *conf, struct ssl_ctx_st *tls);
void	 fix_stop(struct fix *f);
/* Runs fn(f) in the server's thread and waits for it. */
void	 fix_call(struct fix *f, void (*fn)(struct fix *f));
/* Waits until *v reaches at least `want`, for at most ms; returns how long it took, or -1. */
int	 fix_wait(atomic_int *v, int want, int ms);

int	 listen_on(int *port);
int	 dial(int port);			/* blocking, 5 s timeouts */
void	 say(int fd, const char *text);
bool	 say_n(int fd, const void *p, size_t n);	/* false: the connection broke */
/* Reads one answer; its status, negative if it was cut. body may be NULL. */
int	 hear(int fd, struct tf_buf *body);
int	 hear_any(int fd, struct tf_buf *body, bool head_request);
bool	 at_eof(int fd);			/* the next read says closed or reset */
uint64_t now_ms(void);

/* A raw server: one thread, plays one script per accepted connection, in order. */
struct script {
	const char	*answers[4];	/* after each request; NULL ends; "" : nothing is sent */
	bool		 close_early;	/* closes without reading anything */
	bool		 hold;		/* keeps the connection open until the client closes */
};
struct raw {
	pthread_t		 thread;
	int			 listen_fd, port;
	const struct script	*scripts;
	size_t			 nscripts;
	atomic_int		 accepted, requests, gone;
	struct tf_buf		 seen;		/* all that clients sent; read after raw_stop */
	const char		*path;		/* of a UNIX socket, or NULL */
};
void	 raw_start(struct raw *r, const struct script *scripts, size_t n, const char *unix_path);
void	 raw_stop(struct raw *r);

#endif
