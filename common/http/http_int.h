/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/http share among themselves; nobody else includes it. */
#ifndef TF_COMMON_HTTP_INT_H
#define TF_COMMON_HTTP_INT_H

#include "common/event/event.h"
#include "common/http/http.h"

/* Classes of characters, as bits of http_ctype[]. */
#define HTTP_CT_TOKEN	1	/* field names, methods */
#define HTTP_CT_VALUE	2	/* field values, chunk extensions */
#define HTTP_CT_TARGET	4	/* request targets */
#define HTTP_CT_HOST	8	/* authorities */

extern const uint8_t http_ctype[256];

/* All bytes are of the class; true for none. */
bool		 http_all(const char *p, size_t n, uint8_t class);
void		 http_body_finish(struct http_body *b);	/* the rest was dropped */

static inline int
http_hex(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- content codings -------------------------------------------------------------------------- */

#define HTTP_INFLATE_IN		4096		/* bytes given at once */
#define HTTP_INFLATE_MEMORY	(48u << 10)	/* what one takes, about: state, window, input */

enum http_coding { HTTP_CODING_NONE, HTTP_CODING_GZIP, HTTP_CODING_DEFLATE };

/* What a Content-Encoding field says; absent and empty are NONE. TF_E_INVAL: not understood here. */
int	 http_coding(struct tf_span field, enum http_coding *out);

/* Most compressed bytes of a body that may decode to cap bytes. */
static inline uint64_t
http_coded_cap(size_t cap)
{
	return (uint64_t)cap + cap / 64 + 1024;
}

struct http_inflate;
/* Returns new, NULL: no memory. */
struct http_inflate *http_inflate_new(enum http_coding coding);
void	 http_inflate_free(struct http_inflate **x);
/* Bytes that may be given now; 0 while earlier ones are not decoded. */
size_t	 http_inflate_room(const struct http_inflate *x);
void	 http_inflate_give(struct http_inflate *x, struct tf_span in);	/* copied */
/*
 * Decodes into out[0..room), room > 0. *made < room: what was given is used up. A refusal other
 * than NONE is final, *made counts what came before it.
 */
enum http_refusal http_inflate_run(struct http_inflate *x, char *out, size_t room, size_t *made);
bool	 http_inflate_whole(const struct http_inflate *x);	/* the content may end here */
uint64_t http_inflate_taken(const struct http_inflate *x);	/* bytes given so far */

/* ---- server --------------------------------------------------------------------------------- */

struct bufferevent;
struct evbuffer;

/* Each state is a list of the server; conn_change_state() alone moves a connection. */
enum http_cstate {
	HTTP_C_IDLE,		/* between requests */
	HTTP_C_HEAD,		/* a head has begun to arrive */
	HTTP_C_WAIT,		/* the handler has it: no body asked for, no answer begun */
	HTTP_C_BODY,		/* a body is being read */
	HTTP_C_ANSWER,		/* body read, or the answer begun */
	HTTP_C_LINGER,		/* our side is shut down, input is discarded */
	HTTP_C_N,
	HTTP_C_DEAD = HTTP_C_N	/* closed, in no list; memory goes at the end of the turn */
};

/* What a connection has to do at the end of the turn. */
enum {
	HTTP_TODO_FLUSH = 1,
	HTTP_TODO_INPUT = 2,
	HTTP_TODO_REFUSE = 4,	/* with req->refusal */
	HTTP_TODO_EXPIRE = 8,	/* a deadline passed */
	HTTP_TODO_LEFT = 16,	/* the client was seen to leave */
	HTTP_TODO_KILL = 32,
};

struct http_server {
	struct ev_loop			*loop;
	const struct http_server_hooks	*hooks;
	void				*arg;
	struct http_server_conf		 conf;
	struct ssl_ctx_st		*tls;
	struct ev_turn			 turn;
	struct ev_timer			 tick;
	struct tf_list			 conns[HTTP_C_N];
	struct tf_list			 todo;
	struct tf_list			 unread;	/* not being read, so polled for a FIN */
	size_t				 nconns;
	size_t				 body_bytes;
	int64_t				 date_s;	/* second that date holds */
	char				 date[40];	/* "Date: ...\r\n" */
	bool				 draining;
};

struct http_conn {
	struct tf_node		 node;		/* in server->conns[state] */
	struct tf_node		 todo_node;
	struct tf_node		 unread_node;
	struct http_server	*server;
	struct bufferevent	*bev;
	struct ssl_st		*ssl;		/* owned by bev */
	struct http_req		*req;		/* from the first byte of a head on */
	void			*data;
	uint64_t		 since;		/* entered state, ms */
	uint64_t		 write_since;	/* start of the window of the write deadline */
	size_t			 write_mark;	/* sent at write_since */
	size_t			 queued;	/* bytes ever given to the output */
	size_t			 discarded;	/* LINGER */
	int			 fd;
	uint8_t			 state;		/* enum http_cstate */
	uint8_t			 todo;
	bool			 open;		/* handshake done, or plain */
	bool			 writing;	/* the bufferevent writes by itself */
	bool			 reading;
	bool			 eof;		/* the client closed its side after its last request */
	bool			 unreported;	/* written since the last on_drain */
	socklen_t		 addrlen;
	struct sockaddr_storage	*addr;		/* NULL for UNIX sockets */
	char			 peer[46];
};

struct http_req {
	struct http_conn	*conn;
	void			*data;
	char			*head_buf;
	char			*body;
	size_t			 body_len, body_room, body_cap;
	size_t			 body_seen;	/* bytes received, dropped ones included */
	struct http_inflate	*inflate;	/* of a body that comes compressed */
	uint64_t		 out_left;	/* of an announced length */
	uint8_t			 refusal;
	bool			 gone;		/* the last hook was called */
	bool			 known;		/* a hook was told of it */
	bool			 paused;
	bool			 begun, ended;
	bool			 cut;		/* end without a proper end */
	bool			 close;		/* the connection ends with this answer */
	bool			 bodyless;	/* content of the answer is dropped */
	bool			 chunked;
	bool			 until_close;
	struct http_body	 framing;
	struct http_limits	 limits;	/* the server's when the head began */
	struct http_head	 head;
};

void	 http_conn_change_state(struct http_conn *c, enum http_cstate state);
void	 http_conn_todo(struct http_conn *c, int what);	/* at the end of this turn */
void	 http_conn_start(struct http_conn *c);		/* installs callbacks, starts reading */
void	 http_conn_turn(struct http_conn *c);		/* does what is to do */
void	 http_conn_gone(struct http_conn *c, enum http_gone why);
void	 http_conn_update_reading(struct http_conn *c);
void	 http_conn_refuse(struct http_conn *c, enum http_refusal why);	/* the request, with an answer */
/* Takes what has arrived of a body. False: wait for more, or the connection is gone. */
bool	 http_conn_read_body(struct http_conn *c);
bool	 http_conn_expired(struct http_conn *c, uint64_t now);
struct evbuffer *http_conn_input(struct http_conn *c);
struct evbuffer *http_conn_output(struct http_conn *c);
size_t	 http_conn_pending(const struct http_conn *c);	/* bytes of output */
const char *http_server_date(struct http_server *s);	/* "Date: ...\r\n" */
void	 http_req_free(void *req);
/* Grows the body to hold n bytes; 0 or TF_E_NOMEM. */
int	 http_req_grow(struct http_req *r, size_t n);
/* The body is decoded, or nobody wants it any more. */
void	 http_req_inflate_drop(struct http_req *r);
/* Queues an interim 100 response. */
void	 http_respond_continue(struct http_req *r);
/* For streams: non-blocking, close-on-exec, TCP_NODELAY where there is TCP. */
void	 http_tune_fd(int fd, int family, uint32_t notsent);

/* ---- client --------------------------------------------------------------------------------- */

#define HTTP_ADDRS_MAX	8

/* Addresses of a name, in the order in which to try them. */
struct http_addrs {
	unsigned		n;
	struct {
		struct sockaddr_storage	sa;
		socklen_t		len;
	} at[HTTP_ADDRS_MAX];
};

struct http_resolve;
/*
 * Asks the system for the addresses of host. cb is called once from the loop, unless cancelled:
 * with addrs (borrowed), or with n == 0 and a reason. Returns new (gone with cb), NULL: no memory.
 */
struct http_resolve *http_resolve_start(struct ev_loop *loop, const char *host, const char *port,
    void (*cb)(void *arg, const struct http_addrs *addrs, const char *why), void *arg);
void	 http_resolve_cancel(struct http_resolve **job);
/* Without asking anybody: only for numbers. 0 or TF_E_INVAL. */
int	 http_resolve_numeric(const char *host, const char *port, struct http_addrs *addrs);

struct http_client {
	struct ev_loop		*loop;
	struct http_client_conf	 conf;
	struct ev_turn		 turn;
	struct ev_timer		 tick;		/* pooled connections grow old */
	struct tf_list		 origins;
	struct tf_list		 todo;		/* calls with something to do at the end of the turn */
};

/* Each state is a list of the origin; call_change_state() in call.c alone moves a call. */
enum http_call_state {
	HTTP_CALL_QUEUED,	/* begins at the end of the turn */
	HTTP_CALL_RESOLVE,	/* waits for the origin's addresses */
	HTTP_CALL_CONNECT,	/* its connection is being made: TCP, proxy, TLS */
	HTTP_CALL_TALK,		/* request and answer */
	HTTP_CALL_N,
	HTTP_CALL_GONE = HTTP_CALL_N
};

struct http_origin {
	struct tf_node		 node;		/* in client->origins */
	struct http_client	*client;
	struct ssl_ctx_st	*tls;		/* NULL: plain */
	char			*bare, *host, *port, *base;	/* bare: host, brackets and all */
	char			*authority;	/* for Host and CONNECT: host:port, brackets and all */
	char			*proxy_host, *proxy_port;
	const char		*host_field;	/* authority without a default port */
	struct tf_list		 idle;		/* links, oldest first */
	struct tf_list		 calls[HTTP_CALL_N];
	struct http_resolve	*resolve;
	struct http_addrs	 addrs;
	uint64_t		 resolved;	/* ms; addrs are good for resolve_ms */
	bool			 fixed;		/* addrs are numbers or a path: good for ever */
	bool			 closing;	/* takes no calls any more */
};

/* A connection to an origin. */
struct http_link {
	struct tf_node		 node;		/* in origin->idle, when pooled */
	struct http_origin	*origin;
	struct http_call	*call;		/* NULL when pooled */
	struct bufferevent	*bev;		/* once TCP and proxy are through */
	struct ssl_st		*ssl;		/* owned by bev */
	struct ev_fd		 watch;		/* before that */
	struct ev_timer		 slice;		/* the time of one address */
	struct tf_buf		 proxy_in;
	uint64_t		 idle_until;	/* ms */
	unsigned		 next_addr;
	int			 fd;
	int			 error;		/* errno of the last address that failed */
	bool			 proxy_asked;
	bool			 writing;	/* the bufferevent writes by itself */
	bool			 tls_done;
};

struct http_call {
	struct tf_node		 node;		/* in origin->calls[state] */
	struct tf_node		 todo_node;
	struct http_origin	*origin;
	struct http_link	*link;
	const struct http_call_hooks *hooks;
	void			*arg;
	struct ev_timer		 timer;		/* connect_ms */
	char			*req;		/* head, and the body if it was copied */
	size_t			 req_len;
	const void		*body;		/* borrowed */
	size_t			 body_len;
	void			(*body_done)(void *arg);
	void			*body_arg;
	char			*head_buf;
	uint8_t			 state;		/* enum http_call_state */
	bool			 head_request;
	bool			 reused, resent;
	bool			 got_byte;
	bool			 have_head;
	bool			 paused;
	bool			 failed;	/* fails at the end of the turn, for reason */
	uint8_t			 reason;	/* enum http_fail */
	const char		*detail;
	struct http_body	 framing;
	struct http_head	 head;
};

/* link.c: making and keeping connections. */
void	 http_link_start(struct http_call *call);		/* begins to connect */
struct http_link *http_link_reuse(struct http_origin *o);	/* a pooled one that lives, or NULL */
void	 http_link_close(struct http_link *l);			/* at once */
void	 http_link_release(struct http_link *l, uint64_t idle_ms);	/* into the pool */
int	 http_link_send(struct http_link *l, const void *p, size_t n, bool by_reference);
int	 http_link_flush(struct http_link *l);			/* 0, TF_E_CLOSED */
bool	 http_link_sent(const struct http_link *l);		/* nothing is left to send */
void	 http_link_reading(struct http_link *l, bool on);

/* call.c: told by link.c. */
void	 http_call_connected(struct http_call *call);
void	 http_call_input(struct http_call *call, bool full);	/* full: more is likely there */
void	 http_call_eof(struct http_call *call);
void	 http_call_lost(struct http_call *call);		/* reset, or a TLS stream cut off */
void	 http_call_fail(struct http_call *call, enum http_fail why, const char *detail);
void	 http_call_turn(struct http_call *call);
void	 http_call_resolved(struct http_call *call);		/* told by client.c */

/* client.c */
/* 0: addrs are there; TF_E_AGAIN: http_call_resolved or _fail will be called. */
int	 http_origin_resolve(struct http_origin *o);
void	 http_client_todo(struct http_call *call);
void	 http_client_watch_idle(struct http_client *c);

#endif
