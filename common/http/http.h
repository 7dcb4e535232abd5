/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1, both sides: a strict parser, a server and a client on libevent bufferevents, TLS, and
 * server-sent events. This is the only folder that speaks HTTP. It must not know routes, keys,
 * dialects, error envelopes or any daemon; gatewayd uses the server, workerd the client.
 *
 * Threads: a server or a client belongs to the one event loop (thread) that it was made for;
 * nothing here locks, except the resolver, which has threads of its own.
 * Callbacks are called from the loop only, never from inside a call into this module, so a caller
 * may hold its own state while it calls. An object named in a callback may be used by it freely:
 * memory goes when the loop turn ends. SIGPIPE must be ignored in the process.
 * Sources of the wire facts: RFC 9110, RFC 9112, and for events the WHATWG HTML standard, 9.2.
 */
#ifndef TF_COMMON_HTTP_HTTP_H
#define TF_COMMON_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "common/base/base.h"

struct ev_loop;
struct ssl_ctx_st;			/* OpenSSL's SSL_CTX */

/* ---- names and numbers ---------------------------------------------------------------------- */

enum http_method {
	HTTP_M_UNKNOWN,			/* a valid token that is no method we know: answer 405 */
#define METHOD(sym) HTTP_M_##sym,
#include "common/http/method.def"
#undef METHOD
	HTTP_M_N
};

enum http_hdr {
	HTTP_H_OTHER,
#define HDR(sym, name) HTTP_H_##sym,
#include "common/http/hdr.def"
#undef HDR
	HTTP_H_N
};

/* Why a message was refused: see refuse.def. */
enum http_refusal {
	HTTP_R_NONE,
#define REFUSE(sym, status, text) HTTP_R_##sym,
#include "common/http/refuse.def"
#undef REFUSE
	HTTP_R_N
};

int		 http_refusal_status(enum http_refusal r);
const char	*http_refusal_symbol(enum http_refusal r);	/* "TWO_LENGTHS" */
const char	*http_refusal_text(enum http_refusal r);	/* a sentence for the caller */
const char	*http_method_name(enum http_method m);		/* "GET"; "" when unknown */
const char	*http_status_text(int status);			/* reason phrase, "Unknown" */

/* ---- parser --------------------------------------------------------------------------------- */

#define HTTP_FIELDS_MAX		128	/* room for fields in a head; a limit may be lower */
#define HTTP_HEAD_CEILING	65535	/* the largest head_max: offsets have 16 bits */

struct http_limits {
	uint32_t	head_max;	/* bytes of start line and fields, at most HTTP_HEAD_CEILING */
	uint16_t	fields_max;	/* at most HTTP_FIELDS_MAX */
	uint16_t	target_max;	/* bytes of the request target */
};

extern const struct http_limits http_limits_request;	/* 16 KB, 100 fields, 8 KB target */
extern const struct http_limits http_limits_response;	/* 48 KB, 128 fields */

/* Offsets count from the first byte given to the parser. */
struct http_span {
	uint16_t	off, len;
};

struct http_field {
	struct http_span	name, value;	/* value without white space around it */
	uint8_t			id;		/* enum http_hdr */
};

/* A message head. All members but base are the parser's; read them, write none. */
struct http_head {
	const char		*base;		/* the bytes that the offsets point into */
	const struct http_limits *limits;
	bool			 response;
	bool			 http11;	/* false: HTTP/1.0 */
	bool			 keep_alive;	/* the peer is willing */
	bool			 chunked;
	bool			 has_length;
	bool			 expect_continue;
	uint8_t			 method;	/* enum http_method */
	uint8_t			 refusal;	/* enum http_refusal, when refused */
	uint16_t		 status;	/* response */
	uint16_t		 nfields;
	struct http_span	 method_name, target;
	struct http_span	 path, query;	/* as sent; path is empty for http://x, query has no '?' */
	uint64_t		 length;	/* Content-Length */
	uint32_t		 scan;		/* parser: bytes searched for a line's end */
	uint32_t		 line;		/* parser: where the current line begins */
	bool			 have_start;	/* parser: the start line is done, path is known */
	uint8_t			 first[HTTP_H_N]; /* field number + 1 of the first of each id */
	struct http_field	 fields[HTTP_FIELDS_MAX];
};

void	 http_head_init(struct http_head *h, bool response, const struct http_limits *limits);
/*
 * buf holds the message from its first byte, len bytes of it so far; call again with more.
 * buf may have moved between calls. Returns the length of the head once it is whole, 0 when more
 * is needed, -1 when it is refused (h->refusal says why; path may be known all the same).
 */
ssize_t	 http_head_parse(struct http_head *h, const char *buf, size_t len);
struct tf_span	http_head_get(const struct http_head *h, enum http_hdr id); /* .p NULL: absent */
struct tf_span	http_head_find(const struct http_head *h, const char *name);
struct tf_span	http_head_str(const struct http_head *h, struct http_span s);

enum http_body_mode { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_CLOSE };
enum http_body_step { HTTP_BODY_MORE, HTTP_BODY_DATA, HTTP_BODY_END, HTTP_BODY_BAD };

/* The framing of a body: bytes in, spans of content out, nothing copied. */
struct http_body {
	uint8_t		mode;		/* enum http_body_mode */
	uint8_t		state;
	uint8_t		digits;		/* of the chunk size */
	uint8_t		refusal;	/* enum http_refusal, when bad */
	uint32_t	trailer;	/* bytes of trailer seen */
	uint32_t	excess;		/* bytes of framing beyond what the content justifies */
	uint64_t	left;		/* content bytes to come, in this chunk or at all */
};

/* bodyless: the response to a HEAD request. */
void	 http_body_init(struct http_body *b, const struct http_head *h, bool bodyless);
/*
 * Takes the next step over in[0..n): *used bytes are consumed, *data is set for HTTP_BODY_DATA.
 * Call until it returns MORE (all consumed), END (the rest belongs to the next message) or BAD.
 */
enum http_body_step http_body_next(struct http_body *b, const char *in, size_t n, size_t *used,
    struct tf_span *data);
/* The peer closed: true if that is a proper end of this body. */
bool	 http_body_eof(const struct http_body *b);

/* Decodes %XX; returns the length or -1: malformed, %00, or out too small. '+' stays. */
ssize_t	 http_pct_decode(struct tf_span in, char *out, size_t cap);
/*
 * Splits a path at its real slashes, so that %2F stays inside its segment. Begin with *pos = 0;
 * false at the end. Empty segments (doubled slashes) are returned as such.
 */
bool	 http_path_next(struct tf_span path, size_t *pos, struct tf_span *segment);
/* Walks name=value pairs of a query, undecoded; a name without '=' has value.p NULL. */
bool	 http_query_next(struct tf_span query, size_t *pos, struct tf_span *name,
	    struct tf_span *value);
/* Decodes one query name or value: like http_pct_decode, and '+' is a space. */
ssize_t	 http_query_decode(struct tf_span in, char *out, size_t cap);

/* ---- outgoing fields ------------------------------------------------------------------------ */

#define HTTP_FIELDS_OUT		8192	/* bytes of outgoing fields, line ends included */

/*
 * Fields of an answer or a request to be, on the caller's stack. Framing fields (Content-Length,
 * Transfer-Encoding, Connection, Date, Host) are added by this module: do not add them.
 * An unfit name or value (control characters) or lack of room marks the whole set bad, and
 * sending it fails: nothing can be injected or cut.
 */
struct http_fields {
	uint32_t	len;
	bool		bad;
	char		buf[HTTP_FIELDS_OUT];
};

void	 http_fields_init(struct http_fields *f);
void	 http_fields_add(struct http_fields *f, const char *name, const char *value);
void	 http_fields_add_str(struct http_fields *f, const char *name, struct tf_span value);
/* In decimal, with up to 12 bytes behind it: each answer has a dozen of these, and printf takes longer than all else of them. */
void	 http_fields_add_u64(struct http_fields *f, const char *name, uint64_t v, const char *unit);
void	 http_fields_addf(struct http_fields *f, const char *name, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));

/* ---- TLS ------------------------------------------------------------------------------------ */

/*
 * A context for a server: certificate file with its full chain, private key file (both PEM),
 * TLS 1.2 or later, ALPN http/1.1. Returns new, or NULL with a sentence in err.
 */
struct ssl_ctx_st *http_tls_server_new(const char *cert, const char *key, char *err, size_t errlen);
/* A context for clients: ca is a PEM bundle, NULL for the system's. Peers are always verified. */
struct ssl_ctx_st *http_tls_client_new(const char *ca, char *err, size_t errlen);
void	 http_tls_free(struct ssl_ctx_st **ctx);	/* drops one reference */
struct ssl_ctx_st *http_tls_ref(struct ssl_ctx_st *ctx); /* adds one; returns ctx, which may be NULL */

/* ---- server --------------------------------------------------------------------------------- */

struct http_server;
struct http_conn;
struct http_req;
struct http_listener;

/* All times in milliseconds; http_server_conf_default() fills in what is stated here. */
struct http_server_conf {
	struct http_limits limits;	/* http_limits_request */
	uint32_t	read_ahead;	/* 16 KB: unasked-for bytes held while an answer is pending */
	uint32_t	low_water;	/* 32 KB: on_drain when no more than this is unsent */
	uint32_t	notsent;	/* 128 KB: unsent bytes the kernel takes (TCP_NOTSENT_LOWAT) */
	uint32_t	idle_ms;	/* 75 s: between requests, and for the first byte of the first */
	uint32_t	head_ms;	/* 10 s: from a head's first byte to its last, TLS included */
	uint32_t	body_ms;	/* 20 s: for a body, plus the time that body_rate grants */
	uint32_t	body_rate;	/* 1024 bytes/s: each byte received adds its share of time */
	uint32_t	body_max_ms;	/* 600 s: for any body, whatever its size */
	uint32_t	write_ms;	/* 60 s: in which a reader must take write_min bytes */
	uint32_t	write_min;	/* 2048 */
	uint32_t	linger_ms;	/* 2 s: of discarding input after an early answer */
	uint32_t	linger_max;	/* 64 MB: of discarded input */
};

void	 http_server_conf_default(struct http_server_conf *conf);

enum http_gone {
	HTTP_GONE_LEFT,			/* the client closed or reset the connection */
	HTTP_GONE_STALLED,		/* it took no bytes for too long */
	HTTP_GONE_CLOSED,		/* the server is being freed, or http_conn_kill() */
};

/*
 * The life of a request: on_head, then, if the handler asks for it, on_body.. and on_body_done,
 * then the handler's answer, and last exactly one of on_done and on_abort. After either the
 * request must not be used. on_refuse may come instead of on_head or before on_body_done, asks for
 * an answer, and is followed by on_done or on_abort like any other.
 */
struct http_server_hooks {
	/* A connection begins or ends. May be NULL. */
	void	(*on_open)(struct http_conn *conn, void *arg);
	void	(*on_close)(struct http_conn *conn, void *arg);
	/*
	 * The head is whole, no byte of the body was asked for. Answer, or call
	 * http_req_read_body(), now or later (until then the client is watched, not read).
	 */
	void	(*on_head)(struct http_req *req, void *arg);
	/* The last `fresh` bytes of the body are new. At most 64 KB per loop turn. May be NULL. */
	void	(*on_body)(struct http_req *req, size_t fresh, void *arg);
	void	(*on_body_done)(struct http_req *req, void *arg);
	/*
	 * The request was refused. Answer with http_respond() (any status: the refusal names one);
	 * if this hook does not, or is NULL, a plain text answer is sent. The connection closes.
	 * Not called when an answer has begun: then on_abort.
	 */
	void	(*on_refuse)(struct http_req *req, enum http_refusal why, void *arg);
	/* The unsent part of the answer shrank to `pending` <= low_water. May be NULL. */
	void	(*on_drain)(struct http_req *req, size_t pending, void *arg);
	/* The client is gone and the answer had not been ended. */
	void	(*on_abort)(struct http_req *req, enum http_gone why, void *arg);
	/* The answer was ended; delivered: all of it was handed to the kernel. */
	void	(*on_done)(struct http_req *req, bool delivered, void *arg);
};

/* Borrows hooks and loop, copies conf. arg is given to every hook. Returns new, NULL: no memory. */
struct http_server *http_server_new(struct ev_loop *loop, const struct http_server_conf *conf,
    const struct http_server_hooks *hooks, void *arg);
/* Aborts what is open (hooks are called), then frees. Must not be called from a hook. */
void	 http_server_free(struct http_server **s);
/* From now on, also for what is open: limits of the next heads, deadlines at once. Copies conf. */
void	 http_server_set_conf(struct http_server *s, const struct http_server_conf *conf);
/* ctx for connections from now on; NULL: plain. Takes a reference of its own. */
void	 http_server_set_tls(struct http_server *s, struct ssl_ctx_st *ctx);
/* Takes fd, a connected stream socket, also when it fails (then it is closed). */
int	 http_server_take_fd(struct http_server *s, int fd, const struct sockaddr *peer,
	    socklen_t peerlen);
/* Closes idle connections now and every other one after its current answer. */
void	 http_server_drain(struct http_server *s);
size_t	 http_server_conns(const struct http_server *s);
size_t	 http_server_body_bytes(const struct http_server *s);	/* memory of request bodies */

/*
 * Convenience: accepts on a listening socket (takes fd) and feeds one server. Returns new or
 * NULL. NODELAY is set on the listening socket and on each connection.
 */
struct http_listener *http_listen(struct http_server *s, int fd);
void	 http_listener_free(struct http_listener **l);

/* -- connection -- */
const char	*http_conn_peer(const struct http_conn *c);	/* "192.0.2.1", "::1" or "unix" */
const struct sockaddr *http_conn_addr(const struct http_conn *c, socklen_t *len);
int		 http_conn_fd(const struct http_conn *c);	/* borrowed: for peer credentials */
bool		 http_conn_is_tls(const struct http_conn *c);
void		*http_conn_data(const struct http_conn *c);
void		 http_conn_set_data(struct http_conn *c, void *data);
void		 http_conn_kill(struct http_conn *c);		/* soon, from the loop: on_abort */

/* -- request -- */
const struct http_head *http_req_head(const struct http_req *r);
struct tf_span	 http_req_get(const struct http_req *r, enum http_hdr id);
struct tf_span	 http_req_path(const struct http_req *r);
struct tf_span	 http_req_query(const struct http_req *r);
enum http_method http_req_method(const struct http_req *r);
struct http_conn *http_req_conn(const struct http_req *r);
void		*http_req_data(const struct http_req *r);
void		 http_req_set_data(struct http_req *r, void *data);
/*
 * Begins to read the body, at most cap bytes: more is refused with BODY_TOO_BIG, before any of it
 * is read when its length was announced. Answers `Expect: 100-continue`. A body that comes with
 * Content-Encoding gzip or deflate is decoded: all that is said of bodies here is about what it
 * decodes to. Other codings are refused with BAD_ENCODING.
 */
void		 http_req_read_body(struct http_req *r, size_t cap);
/* Stops and restarts the reading of a body (a memory budget is spent; its deadline stands). */
void		 http_req_pause(struct http_req *r);
void		 http_req_resume(struct http_req *r);
/* The body so far, contiguous; moves when it grows. Never NULL. */
struct tf_span	 http_req_body(const struct http_req *r);
void		 http_req_drop_body(struct http_req *r);	/* frees it: call once dispatched */
/* The caller owns the body from now on: free() it. NULL when there is none. */
char		*http_req_take_body(struct http_req *r, size_t *len);

/*
 * Answers. fields may be NULL. All return 0 or a negative TF_E*; after an error of theirs the
 * request is cut off and on_abort follows from the loop. Writes go out when the loop turn ends,
 * what was written in one turn in one piece. An answer given before the body was read closes
 * the connection in such a way that an uploading client can read it.
 */
int	 http_respond(struct http_req *r, int status, const struct http_fields *fields,
	    const void *body, size_t len);
#define HTTP_STREAM	((int64_t)-1)	/* length unknown: chunked, or until close for HTTP/1.0 */
/* The head is held back until the first write, flush or end. */
int	 http_respond_begin(struct http_req *r, int status, const struct http_fields *fields,
	    int64_t length);
int	 http_respond_flush(struct http_req *r);
int	 http_respond_write(struct http_req *r, const void *data, size_t len);
/* As http_respond_write without the copy: done(arg) is called when data is no longer needed. */
int	 http_respond_write_ref(struct http_req *r, const void *data, size_t len,
	    void (*done)(void *arg), void *arg);
int	 http_respond_end(struct http_req *r);
/* Sends what was written, then closes so that the client sees a broken answer. on_done follows. */
void	 http_respond_abort(struct http_req *r);
bool	 http_req_begun(const struct http_req *r);	/* a status line was given */
size_t	 http_req_pending(const struct http_req *r);	/* bytes of the answer not yet sent */

/* ---- client --------------------------------------------------------------------------------- */

struct http_client;
struct http_origin;
struct http_call;

struct http_client_conf {
	struct http_limits limits;	/* http_limits_response */
	uint32_t	connect_ms;	/* 5 s: name, connection, proxy and TLS together */
	uint32_t	idle_ms;	/* 4 s: a pooled connection is kept, below the usual 5 s */
	uint32_t	idle_max;	/* 64: pooled connections per origin */
	uint32_t	resolve_ms;	/* 10 s: a name's addresses are used again */
};

void	 http_client_conf_default(struct http_client_conf *conf);

/* Borrows loop, copies conf. Returns new or NULL. Free all origins before the client. */
struct http_client *http_client_new(struct ev_loop *loop, const struct http_client_conf *conf);
void	 http_client_free(struct http_client **c);

/*
 * url: http://host[:port][/base], https://..., or unix:/path/of/socket. tls is needed for https
 * (takes a reference). proxy: NULL or http://host:port, reached with CONNECT for both schemes.
 * Returns new, or NULL with a sentence in err.
 */
struct http_origin *http_origin_new(struct http_client *c, const char *url,
    struct ssl_ctx_st *tls, const char *proxy, char *err, size_t errlen);
/* Calls under way fail with HTTP_FAIL_CLOSED, from here. */
void	 http_origin_free(struct http_origin **o);
const char *http_origin_base(const struct http_origin *o);	/* the URL's path: "" or "/base" */
size_t	 http_origin_idle(const struct http_origin *o);		/* pooled connections */

enum http_fail {
	HTTP_FAIL_RESOLVE,		/* the name has no address */
	HTTP_FAIL_CONNECT,		/* refused, unreachable, or the proxy said no */
	HTTP_FAIL_TLS,			/* handshake or certificate */
	HTTP_FAIL_TIMEOUT,		/* connect_ms passed */
	HTTP_FAIL_EARLY,		/* connection lost before the first byte of the answer */
	HTTP_FAIL_MID,			/* connection lost inside the answer */
	HTTP_FAIL_BAD,			/* the answer breaks the protocol */
	HTTP_FAIL_CLOSED,		/* the origin was freed */
	HTTP_FAIL_N
};

const char *http_fail_name(enum http_fail f);		/* "connect" */

/*
 * on_head, on_data.., then exactly one of on_done and on_error; after it, or after
 * http_call_abort(), the call is gone. A call never calls back from http_call_start().
 */
struct http_call_hooks {
	void	(*on_sent)(struct http_call *call, void *arg);	/* connected, request handed over */
	void	(*on_head)(struct http_call *call, const struct http_head *head, void *arg);
	void	(*on_data)(struct http_call *call, const char *data, size_t len, void *arg);
	void	(*on_done)(struct http_call *call, void *arg);
	void	(*on_error)(struct http_call *call, enum http_fail why, const char *detail,
		    void *arg);
};

struct http_call_req {
	const char		 *method;	/* "POST" */
	const char		 *target;	/* "/v1/chat/completions", whole: base included */
	const struct http_fields *fields;	/* may be NULL; copied */
	const void		 *body;		/* borrowed until body_done is called, else copied */
	size_t			  len;
	void			(*body_done)(void *arg); /* may be NULL: the body is copied */
	void			 *body_arg;
};

/* Returns new (owned by the module until its last callback), or NULL: no memory or bad fields. */
struct http_call *http_call_start(struct http_origin *o, const struct http_call_req *req,
    const struct http_call_hooks *hooks, void *arg);
void	 http_call_pause(struct http_call *call);	/* stop reading the answer */
void	 http_call_resume(struct http_call *call);
void	 http_call_abort(struct http_call *call);	/* closes at once; no callback follows */
bool	 http_call_reused(const struct http_call *call); /* runs on a pooled connection */

/* ---- server-sent events --------------------------------------------------------------------- */

enum http_sse_kind { HTTP_SSE_MORE, HTTP_SSE_EVENT, HTTP_SSE_PING, HTTP_SSE_TOO_BIG };

/*
 * One event. All strings point into the reader's buffer or the input and are good until the next
 * call. raw is the event as it came, its empty line included; for RAW pass-through.
 */
struct http_sse_event {
	struct tf_span	raw;
	struct tf_span	event;		/* "" when not given */
	struct tf_span	data;		/* lines joined by \n */
	struct tf_span	id;
	bool		has_data;	/* an event without data is not dispatched by clients */
};

/* Cuts a stream of bytes, split anywhere, into events. */
struct http_sse {
	char	*buf;			/* an unfinished event */
	size_t	 len, cap;
	size_t	 max;			/* largest event */
	char	*scratch;		/* joined data lines */
	size_t	 scratch_cap;
	bool	 begun;			/* past the place of a byte order mark */
	bool	 bol;			/* at the beginning of a line */
	bool	 cr;			/* a \r ended the last line: a \n may belong to it */
	bool	 skip_lf;		/* the last event ended in \r: a \n is part of it */
	bool	 held;			/* buf holds an event that was handed out */
};

/* max: bytes of the largest event; a larger one ends the stream with HTTP_SSE_TOO_BIG. */
void	 http_sse_init(struct http_sse *s, size_t max);
void	 http_sse_fini(struct http_sse *s);
/*
 * Takes from in[0..n) up to the end of one event, *used bytes. EVENT: *ev is set. PING: a block of
 * comments only, ev->raw is set. MORE: all consumed, none complete. TOO_BIG is final (no memory
 * counts as too big).
 */
enum http_sse_kind http_sse_next(struct http_sse *s, const char *in, size_t n, size_t *used,
    struct http_sse_event *ev);
/* Bytes of an unfinished event: at a stream's end more than 0 means that it was cut. */
size_t	 http_sse_unfinished(const struct http_sse *s);

/* Writes "event: E\ndata: ..\n\n" (event may be NULL; data lines are split at \n) into out. */
ssize_t	 http_sse_format(char *out, size_t cap, const char *event, struct tf_span data);
#define HTTP_SSE_COMMENT	": keep-alive\n\n"	/* a ping that every client ignores */

#endif
