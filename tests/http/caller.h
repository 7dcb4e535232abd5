/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the client: a loop with a client in it, calls and what becomes of them. */
#ifndef TESTS_HTTP_CALLER_H
#define TESTS_HTTP_CALLER_H

#include "tests/http/fixture.h"

#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define TWO_LENGTHS "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n"
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

extern struct ev_loop *loop;
extern struct http_client *client;
extern const struct http_call_hooks call_hooks;

/* What became of a call. */
struct seen {
	struct http_call	*call;
	struct tf_buf		 body;
	int			 status, sent;
	bool			 done, failed, reused;
	enum http_fail		 why;
	char			 detail[128];
	size_t			 pause_at;	/* pauses once that much has come */
	bool			 paused;
	bool			 again;		/* starts a second call from on_done */
	struct seen		*next;
	struct http_origin	*origin;
};

int	 setup(void **state);		/* makes loop and client */
int	 teardown(void **state);
void	 request(struct seen *s, struct http_origin *o, const char *method, const char *body);
void	 turn_until(bool *flag, bool *or, int ms);	/* runs the loop until either is true */
void	 turn_for(int ms);
void	 wait_for(struct seen *s);			/* done or failed */
struct http_origin *origin(const char *url, struct ssl_ctx_st *tls, const char *proxy);
void	 get(struct http_origin *o, int status, const char *body);
void	 get_fails(struct http_origin *o, enum http_fail why);
bool	 saw(const struct raw *r, const char *text);	/* among all that clients sent */

#endif
