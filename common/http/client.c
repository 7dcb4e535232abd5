/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client: origins, their addresses and pools, and the end-of-turn work. Connections are made
 * in link.c, requests live in call.c.
 */
#include "config.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include <openssl/ssl.h>

#include "common/event/event.h"
#include "common/http/http.h"
#include "common/http/http_int.h"

#define TICK_MS		250

void
http_client_conf_default(struct http_client_conf *conf)
{
	*conf = (struct http_client_conf){
		.limits = http_limits_response,
		.connect_ms = 5 * 1000,
		.idle_ms = 4 * 1000,
		.idle_max = 64,
		.resolve_ms = 10 * 1000,
	};
}

static void
turn(void *arg)
{
	struct http_client *c = arg;
	struct tf_node *e;

	while ((e = tf_list_pop(&c->todo)) != NULL)
		http_call_turn(TF_CONTAINER(e, struct http_call, todo_node));
}

void
http_client_todo(struct http_call *call)
{
	struct http_client *c = call->origin->client;

	if (!tf_node_linked(&call->todo_node))
		tf_list_append(&c->todo, &call->todo_node);
	ev_turn_arm(c->loop, &c->turn);
}

/* Closes pooled connections that have grown old. */
static void
tick(void *arg)
{
	struct http_client *c = arg;
	uint64_t now = tf_mono_ms();
	struct tf_node *e, *next, *i, *inext;
	bool more = false;

	TF_LIST_EACH(&c->origins, e, next) {
		struct http_origin *o = TF_CONTAINER(e, struct http_origin, node);

		TF_LIST_EACH(&o->idle, i, inext) {
			struct http_link *l = TF_CONTAINER(i, struct http_link, node);

			if (now >= l->idle_until)
				http_link_close(l);
		}
		more |= o->idle.n > 0;
	}
	if (more)
		ev_timer_set(&c->tick, TICK_MS);
}

void
http_client_watch_idle(struct http_client *c)
{
	if (!ev_timer_pending(&c->tick))
		ev_timer_set(&c->tick, TICK_MS);
}

struct http_client *
http_client_new(struct ev_loop *loop, const struct http_client_conf *conf)
{
	struct http_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->loop = loop;
	c->conf = *conf;
	tf_list_init(&c->origins);
	tf_list_init(&c->todo);
	ev_turn_init(&c->turn, turn, c);
	ev_timer_init(&c->tick, loop, tick, c);
	return c;
}

void
http_client_free(struct http_client **cp)
{
	struct http_client *c = *cp;
	struct tf_node *e;

	*cp = NULL;
	if (c == NULL)
		return;
	while ((e = tf_list_first(&c->origins)) != NULL) {
		struct http_origin *o = TF_CONTAINER(e, struct http_origin, node);

		http_origin_free(&o);
	}
	ev_turn_disarm(c->loop, &c->turn);
	ev_timer_del(&c->tick);
	free(c);
}

/* ---- URLs ----------------------------------------------------------------------------------- */

struct url {
	struct tf_span	scheme, host, port, path;	/* host without brackets; port may be "" */
};

/* scheme://host[:port][/path]. Returns NULL, or what is wrong with it. */
static const char *
parse_url(const char *text, struct url *u)
{
	const char *p = strstr(text, "://"), *end, *colon;

	if (p == NULL)
		return "a URL begins with http:// or https://";
	if (!http_all(text, strlen(text), HTTP_CT_TARGET))
		return "a URL has no spaces or control characters";
	u->scheme = tf_span(text, (size_t)(p - text));
	p += 3;
	end = p + strcspn(p, "/?#");
	if (strpbrk(end, "?#") != NULL)
		return "a base URL has no query and no fragment";
	if (memchr(p, '@', (size_t)(end - p)) != NULL)
		return "a URL carries no user name or password here";
	u->path = tf_cspan(end);
	while (u->path.n > 0 && u->path.p[u->path.n - 1] == '/')
		u->path.n--;
	if (*p == '[') {
		const char *close = memchr(p, ']', (size_t)(end - p));

		if (close == NULL)
			return "a bracket is not closed";
		u->host = tf_span(p + 1, (size_t)(close - p - 1));
		p = close + 1;
		if (p < end && *p != ':')
			return "a colon is expected after the bracket";
	} else {
		colon = memchr(p, ':', (size_t)(end - p));
		u->host = tf_span(p, (size_t)((colon != NULL ? colon : end) - p));
		p += u->host.n;
	}
	u->port = p < end ? tf_span(p + 1, (size_t)(end - p - 1)) : TF_SPAN("");
	if (u->host.n == 0 || !http_all(u->host.p, u->host.n, HTTP_CT_HOST))
		return "the host is missing or malformed";
	for (size_t i = 0; i < u->port.n; i++) {
		if (u->port.n > 5 || u->port.p[i] < '0' || u->port.p[i] > '9')
			return "the port is not a number";
	}
	return NULL;
}

static const char *
set_unix(struct http_origin *o, const char *path)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&o->addrs.at[0].sa;

	if (*path != '/' || strlen(path) >= sizeof(un->sun_path))
		return "unix: wants an absolute path that fits a socket address";
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, strlen(path) + 1);
	o->addrs.at[0].len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
	o->addrs.n = 1;
	o->fixed = true;
	o->base = strdup("");
	o->authority = strdup("localhost");
	o->host_field = o->authority;
	return o->base != NULL && o->authority != NULL ? NULL : "out of memory";
}

/* host, in brackets if it holds colons, and :port unless that is empty. Returns new or NULL. */
static char *
join(struct tf_span host, struct tf_span port)
{
	bool v6 = memchr(host.p, ':', host.n) != NULL;
	struct tf_buf b = { 0 };

	if (tf_buf_printf(&b, "%s%.*s%s%s%.*s", v6 ? "[" : "", (int)host.n, host.p, v6 ? "]" : "",
	    port.n > 0 ? ":" : "", (int)port.n, port.p) < 0 || tf_buf_cstr(&b) == NULL) {
		tf_buf_free(&b);
		return NULL;
	}
	return b.p;
}

static const char *
set_inet(struct http_origin *o, const char *url, struct ssl_ctx_st *tls)
{
	bool https, plain_port;
	struct url u;
	const char *why = parse_url(url, &u);

	if (why != NULL)
		return why;
	https = tf_span_caseeq(u.scheme, "https");
	if (!https && !tf_span_caseeq(u.scheme, "http"))
		return "only http, https and unix are spoken here";
	if (https && tls == NULL)
		return "https needs a TLS context";
	if (https) {
		SSL_CTX_up_ref(tls);
		o->tls = tls;
	}
	plain_port = u.port.n == 0 || tf_span_is(u.port, https ? "443" : "80");
	if (u.port.n == 0)
		u.port = https ? TF_SPAN("443") : TF_SPAN("80");
	o->host = tf_span_dup(u.host);
	o->port = tf_span_dup(u.port);
	o->base = tf_span_dup(u.path);
	o->authority = join(u.host, u.port);
	o->bare = join(u.host, TF_SPAN(""));
	o->host_field = plain_port ? o->bare : o->authority;
	return o->host != NULL && o->port != NULL && o->base != NULL && o->authority != NULL &&
	    o->bare != NULL ? NULL : "out of memory";
}

static const char *
set_proxy(struct http_origin *o, const char *proxy)
{
	struct url u;
	const char *why;

	if (proxy == NULL)
		return NULL;
	why = parse_url(proxy, &u);
	if (why != NULL)
		return why;
	if (!tf_span_caseeq(u.scheme, "http") || u.path.n > 0)
		return "a proxy is http://host:port";
	o->proxy_host = tf_span_dup(u.host);
	o->proxy_port = tf_span_dup(u.port.n > 0 ? u.port : TF_SPAN("80"));
	return o->proxy_host != NULL && o->proxy_port != NULL ? NULL : "out of memory";
}

/* ---- origins -------------------------------------------------------------------------------- */

static void
origin_free(void *arg)
{
	struct http_origin *o = arg;

	SSL_CTX_free(o->tls);
	free(o->bare);
	free(o->host);
	free(o->port);
	free(o->base);
	free(o->authority);
	free(o->proxy_host);
	free(o->proxy_port);
	free(o);
}

struct http_origin *
http_origin_new(struct http_client *c, const char *url, struct ssl_ctx_st *tls, const char *proxy,
    char *err, size_t errlen)
{
	struct http_origin *o = calloc(1, sizeof(*o));
	const char *why = "out of memory";

	if (o != NULL && strncmp(url, "unix:", 5) == 0) {
		why = proxy != NULL ? "a UNIX socket has no proxy" : set_unix(o, url + 5);
	} else if (o != NULL) {
		why = set_inet(o, url, tls);
		if (why == NULL)
			why = set_proxy(o, proxy);
	}
	if (why != NULL) {
		snprintf(err, errlen, "%s", why);
		if (o != NULL)
			origin_free(o);
		return NULL;
	}
	o->client = c;
	tf_list_init(&o->idle);
	for (int i = 0; i < HTTP_CALL_N; i++)
		tf_list_init(&o->calls[i]);
	if (!o->fixed)
		o->fixed = http_resolve_numeric(o->proxy_host ? o->proxy_host : o->host,
		    o->proxy_host ? o->proxy_port : o->port, &o->addrs) == 0;
	tf_list_append(&c->origins, &o->node);
	return o;
}

void
http_origin_free(struct http_origin **op)
{
	struct http_origin *o = *op;
	struct tf_node *e;

	*op = NULL;
	if (o == NULL)
		return;
	o->closing = true;
	http_resolve_cancel(&o->resolve);
	for (int i = 0; i < HTTP_CALL_N; i++) {
		while ((e = tf_list_first(&o->calls[i])) != NULL)
			http_call_fail(TF_CONTAINER(e, struct http_call, node), HTTP_FAIL_CLOSED,
			    "the origin is gone");
	}
	while ((e = tf_list_first(&o->idle)) != NULL)
		http_link_close(TF_CONTAINER(e, struct http_link, node));
	tf_list_remove(&o->client->origins, &o->node);
	ev_free_later(o->client->loop, o, origin_free);
}

const char *
http_origin_base(const struct http_origin *o)
{
	return o->base;
}

size_t
http_origin_idle(const struct http_origin *o)
{
	return o->idle.n;
}

/* ---- addresses ------------------------------------------------------------------------------ */

/* Wakes every call that waited; one may end others, so always the first. */
static void
on_resolved(void *arg, const struct http_addrs *addrs, const char *why)
{
	struct http_origin *o = arg;
	struct tf_node *e;

	o->resolve = NULL;
	o->addrs = *addrs;
	o->resolved = addrs->n > 0 ? tf_mono_ms() : 0;
	while ((e = tf_list_first(&o->calls[HTTP_CALL_RESOLVE])) != NULL) {
		struct http_call *call = TF_CONTAINER(e, struct http_call, node);

		if (addrs->n > 0)
			http_call_resolved(call);
		else
			http_call_fail(call, HTTP_FAIL_RESOLVE, why);
		if (o->resolve != NULL)		/* a hook has asked anew */
			break;
	}
}

int
http_origin_resolve(struct http_origin *o)
{
	uint64_t now = tf_mono_ms();

	if (o->fixed || (o->resolved != 0 && now - o->resolved < o->client->conf.resolve_ms))
		return 0;
	if (o->resolve == NULL)
		o->resolve = http_resolve_start(o->client->loop,
		    o->proxy_host ? o->proxy_host : o->host,
		    o->proxy_host ? o->proxy_port : o->port, on_resolved, o);
	if (o->resolve == NULL)	/* no thread, no memory: an old answer is better than none */
		return o->addrs.n > 0 ? 0 : TF_E_AGAIN;
	return TF_E_AGAIN;
}
