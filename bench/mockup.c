/* SPDX-License-Identifier: Apache-2.0 */
/* mockup - fast mock OpenAI/Anthropic upstream (libevent bufferevents, own
 * HTTP/1.1 reader).  For load and failure tests of a gateway, loopback only.
 *
 *   cc -O2 -Wall -o mockup mockup.c -levent -levent_pthreads -lpthread
 *   ./mockup -p 9101 -t 1            (or -u /path/sock)
 *
 * POST /v1/chat/completions | /v1/completions | /v1/messages | /v1/embeddings
 * GET  /v1/models | /health        anything else: 404
 * "stream":true in the body selects SSE.
 *
 * Options (later wins): env MOCK_<NAME>, query string, "model":"x?name=v&..",
 * header x-mock-<name> (with '-' for '_'):
 *   tokens    content chunks / completion tokens        (16)
 *   delay_us  pause between SSE chunks, 0 = burst       (0)
 *   ttft_us   pause before the first byte               (0)
 *   bytes     size of one content chunk (stream) or of the whole content (0 =
 *             "tok " / tokens * 4)
 *   ts        1: each chunk's text is "@<CLOCK_MONOTONIC ns>@" (one-way latency)
 *   status    answer with this HTTP status and an error body
 *   retry_after  value of Retry-After with status
 *   abort     close the connection after N chunks (0 = before any byte; -1 off)
 *   tool      1: answer with one tool call
 *   close     1: Connection: close
 *   dim       embedding length                          (8)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <event2/thread.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAXHDR 65536
enum api { CHAT, COMPL, MSG, EMB };
struct opt { long tokens, delay_us, ttft_us, bytes, ts, status, retry_after, abort, tool, close, dim; };
static struct opt defopt = { 16, 0, 0, 0, 0, 0, -1, -1, 0, 0, 8 };
static const struct { const char *name; size_t off; } optname[] = {
#define O(x) { #x, offsetof(struct opt, x) }
	O(tokens), O(delay_us), O(ttft_us), O(bytes), O(ts), O(status), O(retry_after), O(abort), O(tool), O(close), O(dim)
#undef O
};
#define NOPT (sizeof optname / sizeof *optname)

struct conn {
	struct bufferevent *bev;
	struct event *tm;
	enum api api;
	struct opt o;
	long i;           /* next chunk */
	int busy, stream, want_close, begun;
	size_t reqlen;    /* body bytes */
	char model[128];
};
static long long nreq, nabort, nconn;

static void serve(struct conn *c);

static void setopt1(struct opt *o, const char *k, size_t kl, const char *v)
{
	for (size_t i = 0; i < NOPT; i++) {
		size_t j;
		if (strlen(optname[i].name) != kl) continue;
		for (j = 0; j < kl; j++) {
			char a = k[j] == '-' ? '_' : k[j];
			if (a >= 'A' && a <= 'Z') a += 32;
			if (a != optname[i].name[j]) break;
		}
		if (j == kl) *(long *)((char *)o + optname[i].off) = strtol(v, NULL, 10);
	}
}
static void setquery(struct opt *o, const char *q)
{
	while (q && *q) {
		const char *e = strchr(q, '='), *n = strchr(q, '&');
		if (e && (!n || e < n)) setopt1(o, q, e - q, e + 1);
		q = n ? n + 1 : NULL;
	}
}
static const char *model_of(struct conn *c, const char *body, size_t len)
{
	const char *p = memmem(body, len, "\"model\"", 7), *end = body + len;
	c->model[0] = 0;
	if (!p) return NULL;
	p += 7;
	while (p < end && (*p == ' ' || *p == ':' || *p == '\n')) p++;
	if (p >= end || *p++ != '"') return NULL;
	size_t n = 0;
	while (p + n < end && p[n] != '"' && n < sizeof c->model - 1) n++;
	memcpy(c->model, p, n);
	c->model[n] = 0;
	char *q = strchr(c->model, '?');
	if (q) { *q = 0; return q + 1; }
	return NULL;
}
static int wants_stream(const char *b, size_t len)
{
	const char *p = b, *end = b + len;
	while ((p = memmem(p, end - p, "\"stream\"", 8))) {
		p += 8;
		while (p < end && (*p == ' ' || *p == ':' || *p == '\n')) p++;
		if (end - p >= 4 && !memcmp(p, "true", 4)) return 1;
	}
	return 0;
}
static const char *text(struct conn *c, char *buf, size_t cap)
{
	if (c->o.ts) {
		struct timespec t;
		clock_gettime(CLOCK_MONOTONIC, &t);
		snprintf(buf, cap, "@%" PRIu64 "@", (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec);
	} else if (c->o.bytes > 0) {
		size_t n = (size_t)c->o.bytes < cap - 1 ? (size_t)c->o.bytes : cap - 1;
		memset(buf, 'x', n);
		buf[n] = 0;
	} else
		strcpy(buf, "tok ");
	return buf;
}
static void sse(struct conn *c, const char *event, const char *fmt, ...)
{
	static __thread char b[70000];
	va_list ap;
	int n = 0;
	if (event) n += sprintf(b, "event: %s\n", event);
	n += sprintf(b + n, "data: ");
	va_start(ap, fmt);
	n += vsnprintf(b + n, sizeof b - n - 8, fmt, ap);
	va_end(ap);
	n += sprintf(b + n, "\n\n");
	struct evbuffer *o = bufferevent_get_output(c->bev);
	char h[16];
	int hn = sprintf(h, "%x\r\n", n);
	evbuffer_add(o, h, hn);
	evbuffer_add(o, b, n);
	evbuffer_add(o, "\r\n", 2);
}
static void conn_free(struct conn *c)
{
	event_free(c->tm);
	bufferevent_free(c->bev);
	free(c);
	__atomic_sub_fetch(&nconn, 1, __ATOMIC_RELAXED);
}
static void done(struct conn *c)
{
	c->busy = 0;
	__atomic_add_fetch(&nreq, 1, __ATOMIC_RELAXED);
	if (c->want_close) bufferevent_disable(c->bev, EV_READ);
}
static void head_stream(struct conn *c)
{
	evbuffer_add_printf(bufferevent_get_output(c->bev),
	    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n%s\r\n",
	    c->want_close ? "Connection: close\r\n" : "");
}
/* one chunk; returns 1 when the stream is over */
static int emit(struct conn *c)
{
	char t[65536];
	if (c->o.abort >= 0 && c->i >= c->o.abort) return 2;
	if (!c->begun) {
		c->begun = 1;
		head_stream(c);
		if (c->api == MSG) {
			sse(c, "message_start", "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"%s\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":%zu,\"output_tokens\":1}}}", c->model, c->reqlen / 4);
			sse(c, "content_block_start", c->o.tool ? "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_mock\",\"name\":\"get_weather\",\"input\":{}}}" : "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}");
		} else if (c->api == CHAT)
			sse(c, NULL, "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}", c->model);
	}
	if (c->i < c->o.tokens) {
		text(c, t, sizeof t);
		c->i++;
		if (c->api == MSG)
			sse(c, "content_block_delta", c->o.tool ? "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"%s\"}}" : "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"%s\"}}", c->o.tool ? (c->i == 1 ? "{\\\"city\\\":\\\"Paris\\\"}" : "") : t);
		else if (c->api == CHAT && c->o.tool)
			sse(c, NULL, "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,%s\"function\":{%s\"arguments\":\"%s\"}}]},\"finish_reason\":null}]}", c->model, c->i == 1 ? "\"id\":\"call_mock\",\"type\":\"function\"," : "", c->i == 1 ? "\"name\":\"get_weather\"," : "", c->i == 1 ? "{\\\"city\\\":\\\"Paris\\\"}" : "");
		else if (c->api == CHAT)
			sse(c, NULL, "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}", c->model, t);
		else
			sse(c, NULL, "{\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"text\":\"%s\",\"finish_reason\":null}]}", c->model, t);
		return 0;
	}
	if (c->api == MSG) {
		sse(c, "content_block_stop", "{\"type\":\"content_block_stop\",\"index\":0}");
		sse(c, "message_delta", "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":%ld}}", c->o.tool ? "tool_use" : "end_turn", c->o.tokens);
		sse(c, "message_stop", "{\"type\":\"message_stop\"}");
	} else {
		const char *d = c->api == CHAT ? "\"delta\":{}," : "\"text\":\"\",", *ob = c->api == CHAT ? "chat.completion.chunk" : "text_completion";
		sse(c, NULL, "{\"id\":\"chatcmpl-mock\",\"object\":\"%s\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,%s\"finish_reason\":\"%s\"}]}", ob, c->model, d, c->o.tool ? "tool_calls" : "stop");
		sse(c, NULL, "{\"id\":\"chatcmpl-mock\",\"object\":\"%s\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[],\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%ld,\"total_tokens\":%zu}}", ob, c->model, c->reqlen / 4, c->o.tokens, c->reqlen / 4 + c->o.tokens);
		sse(c, NULL, "[DONE]");
	}
	evbuffer_add(bufferevent_get_output(c->bev), "0\r\n\r\n", 5);
	return 1;
}
static void reply(struct conn *c, int status, const char *extra, struct evbuffer *body)
{
	struct evbuffer *o = bufferevent_get_output(c->bev);
	evbuffer_add_printf(o, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s%s\r\n", status,
	    status == 200 ? "OK" : "Error", evbuffer_get_length(body), extra ? extra : "", c->want_close ? "Connection: close\r\n" : "");
	evbuffer_add_buffer(o, body);
	evbuffer_free(body);
	done(c);
}
static void simple(struct conn *c)
{
	struct evbuffer *b = evbuffer_new();
	long n = c->o.bytes > 0 ? c->o.bytes : c->o.tokens * 4;
	if (c->o.status) {
		char ra[64] = "";
		if (c->o.retry_after >= 0) snprintf(ra, sizeof ra, "Retry-After: %ld\r\n", c->o.retry_after);
		evbuffer_add_printf(b, c->api == MSG ? "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"mock status %ld\"}}" : "{\"error\":{\"message\":\"mock status %ld\",\"type\":\"mock_error\",\"param\":null,\"code\":null}}", c->o.status);
		reply(c, (int)c->o.status, ra, b);
		return;
	}
	if (c->api == EMB) {
		evbuffer_add_printf(b, "{\"object\":\"list\",\"model\":\"%s\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[", c->model);
		for (long i = 0; i < c->o.dim; i++) evbuffer_add_printf(b, "%s%.6f", i ? "," : "", (double)(i % 7) / 7 - .4);
		evbuffer_add_printf(b, "]}],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}}", c->reqlen / 4, c->reqlen / 4);
		reply(c, 200, NULL, b);
		return;
	}
	char *t = malloc(n + 32);
	if (c->o.ts) text(c, t, n + 32);
	else { memset(t, 'x', n); t[n] = 0; }
	if (c->api == MSG)
		evbuffer_add_printf(b, "{\"id\":\"msg_mock\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"%s\",\"content\":[%s%s%s],\"stop_reason\":\"%s\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":%zu,\"output_tokens\":%ld}}",
		    c->model, c->o.tool ? "{\"type\":\"tool_use\",\"id\":\"toolu_mock\",\"name\":\"get_weather\",\"input\":{\"city\":\"Paris\"}}" : "{\"type\":\"text\",\"text\":\"", c->o.tool ? "" : t, c->o.tool ? "" : "\"}", c->o.tool ? "tool_use" : "end_turn", c->reqlen / 4, c->o.tokens);
	else if (c->api == COMPL)
		evbuffer_add_printf(b, "{\"id\":\"cmpl-mock\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"text\":\"%s\",\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%ld,\"total_tokens\":%zu}}",
		    c->model, t, c->reqlen / 4, c->o.tokens, c->reqlen / 4 + c->o.tokens);
	else
		evbuffer_add_printf(b, "{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":%s%s%s%s},\"finish_reason\":\"%s\"}],\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%ld,\"total_tokens\":%zu}}",
		    c->model, c->o.tool ? "" : "\"", c->o.tool ? "null" : t, c->o.tool ? "" : "\"", c->o.tool ? ",\"tool_calls\":[{\"id\":\"call_mock\",\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"arguments\":\"{\\\"city\\\":\\\"Paris\\\"}\"}}]" : "", c->o.tool ? "tool_calls" : "stop", c->reqlen / 4, c->o.tokens, c->reqlen / 4 + c->o.tokens);
	free(t);
	reply(c, 200, NULL, b);
}
static void arm(struct conn *c, long us)
{
	struct timeval tv = { us / 1000000, us % 1000000 };
	event_add(c->tm, &tv);
}
static void run(struct conn *c)
{
	if (c->o.abort == 0 && !c->o.status) { __atomic_add_fetch(&nabort, 1, __ATOMIC_RELAXED); conn_free(c); return; }
	if (!c->stream || c->o.status || c->api == EMB) { simple(c); serve(c); return; }
	for (;;) {
		int r = emit(c);
		if (r == 2) { /* let what is queued go out, then drop */
			__atomic_add_fetch(&nabort, 1, __ATOMIC_RELAXED);
			evbuffer_write(bufferevent_get_output(c->bev), bufferevent_getfd(c->bev));
			conn_free(c);
			return;
		}
		if (r == 1) { done(c); serve(c); return; }
		if (c->o.delay_us > 0) { arm(c, c->o.delay_us); return; }
	}
}
static void on_timer(evutil_socket_t fd, short w, void *a) { (void)fd; (void)w; run(a); }

/* returns body length consumed into *out (malloc) when a chunked body is whole, -1 need more, -2 bad */
static ssize_t dechunk(struct evbuffer *in, size_t off, char **out, size_t *used)
{
	size_t tot = evbuffer_get_length(in);
	char *p = (char *)evbuffer_pullup(in, -1), *q = p + off, *end = p + tot;
	char *o = malloc(tot - off + 1);
	size_t n = 0;
	for (;;) {
		char *nl = memmem(q, end - q, "\r\n", 2);
		if (!nl) break;
		size_t k = strtoul(q, NULL, 16);
		q = nl + 2;
		if ((size_t)(end - q) < k + 2) break;
		if (k == 0) { *out = o; o[n] = 0; *used = q + 2 - p; return n; }
		memcpy(o + n, q, k);
		n += k;
		q += k + 2;
	}
	free(o);
	return -1;
}
static void fail(struct conn *c, int st, const char *msg)
{
	struct evbuffer *b = evbuffer_new();
	evbuffer_add_printf(b, "{\"error\":{\"message\":\"%s\",\"type\":\"invalid_request_error\"}}", msg);
	reply(c, st, NULL, b);
}
static void serve(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	while (!c->busy) {
		struct evbuffer_ptr e = evbuffer_search(in, "\r\n\r\n", 4, NULL);
		if (e.pos < 0) {
			if (evbuffer_get_length(in) > MAXHDR) conn_free(c);
			return;
		}
		size_t hl = e.pos + 4;
		char *h = (char *)evbuffer_pullup(in, hl);
		char head[MAXHDR + 1];
		if (hl > MAXHDR) { conn_free(c); return; }
		memcpy(head, h, hl);
		head[hl - 2] = 0;
		size_t cl = 0;
		int chunked = 0, expect = 0;
		struct opt o = defopt, ho;
		memset(&ho, 0x7f, sizeof ho);
		c->want_close = 0;
		char *line = strstr(head, "\r\n");
		*line = 0;
		line += 2;
		while (*line) {
			char *nx = strstr(line, "\r\n"), *v = strchr(line, ':');
			if (nx) *nx = 0;
			if (v) {
				size_t kl = v - line;
				v++;
				while (*v == ' ') v++;
				if (kl == 14 && !strncasecmp(line, "content-length", 14)) cl = strtoul(v, NULL, 10);
				else if (kl == 17 && !strncasecmp(line, "transfer-encoding", 17)) chunked = !!strcasestr(v, "chunked");
				else if (kl == 10 && !strncasecmp(line, "connection", 10)) c->want_close = !strcasecmp(v, "close");
				else if (kl == 6 && !strncasecmp(line, "expect", 6)) expect = 1;
				else if (kl > 7 && !strncasecmp(line, "x-mock-", 7)) setopt1(&ho, line + 7, kl - 7, v);
			}
			if (!nx) break;
			line = nx + 2;
		}
		char *body = NULL, *tmp = NULL;
		size_t blen = cl, used = hl + cl;
		if (chunked) {
			ssize_t r = dechunk(in, hl, &tmp, &used);
			if (r < 0) goto more;
			body = tmp;
			blen = r;
		} else if (evbuffer_get_length(in) < hl + cl) {
more:
			if (expect == 1 && evbuffer_get_length(in) == hl) evbuffer_add(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n", 25);
			return;
		} else
			body = (char *)evbuffer_pullup(in, used) + hl;
		c->busy = 1;
		c->i = c->begun = c->stream = 0;
		c->reqlen = blen;
		char *m = head, *path = strchr(head, ' ');
		if (!path) { conn_free(c); free(tmp); return; }
		*path++ = 0;
		char *sp = strchr(path, ' ');
		if (sp) *sp = 0;
		char *q = strchr(path, '?');
		if (q) *q++ = 0;
		setquery(&o, q);
		setquery(&o, model_of(c, body, blen));
		for (size_t i = 0; i < NOPT; i++) {
			long v = *(long *)((char *)&ho + optname[i].off);
			if (v != 0x7f7f7f7f7f7f7f7fL) *(long *)((char *)&o + optname[i].off) = v;
		}
		c->o = o;
		if (o.close) c->want_close = 1;
		int known = 1;
		size_t pl = strlen(path);
#define ENDS(s) (pl >= sizeof(s) - 1 && !strcmp(path + pl - (sizeof(s) - 1), s))
		if (ENDS("/chat/completions")) c->api = CHAT;
		else if (ENDS("/messages")) c->api = MSG;
		else if (ENDS("/completions")) c->api = COMPL;
		else if (ENDS("/embeddings")) c->api = EMB;
		else known = 0;
		if (known) c->stream = wants_stream(body, blen);
		int isget = !strcmp(m, "GET");
		evbuffer_drain(in, used);
		free(tmp);
		if (!known) {
			if (isget && ENDS("/models")) {
				struct evbuffer *b = evbuffer_new();
				evbuffer_add_printf(b, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"mock\"}]}");
				reply(c, 200, NULL, b);
			} else if (isget && ENDS("/health")) {
				struct evbuffer *b = evbuffer_new();
				evbuffer_add_printf(b, "{\"status\":\"ok\",\"requests\":%lld,\"aborted\":%lld,\"conns\":%lld}", nreq, nabort, nconn);
				reply(c, 200, NULL, b);
			} else fail(c, 404, "no such path");
			continue;
		}
		if (o.ttft_us > 0) { arm(c, o.ttft_us); return; }
		if (!c->stream && !o.status && o.abort < 0) { simple(c); continue; } /* no recursion on the hot path */
		run(c);
		return;
	}
}
static void on_read(struct bufferevent *b, void *a) { (void)b; struct conn *c = a; if (!c->busy) serve(c); }
static void on_write(struct bufferevent *b, void *a)
{
	struct conn *c = a;
	if (c->want_close && !c->busy && !evbuffer_get_length(bufferevent_get_output(b))) conn_free(c);
}
static void on_event(struct bufferevent *b, short w, void *a)
{
	(void)b;
	struct conn *c = a;
	if (w & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
		if (c->busy) __atomic_add_fetch(&nabort, 1, __ATOMIC_RELAXED);
		conn_free(c);
	}
}
static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int n, void *a)
{
	(void)a; (void)n;
	struct event_base *base = evconnlistener_get_base(l);
	struct conn *c = calloc(1, sizeof *c);
	int one = 1;
	if (sa->sa_family != AF_UNIX) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->tm = evtimer_new(base, on_timer, c);
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	__atomic_add_fetch(&nconn, 1, __ATOMIC_RELAXED);
}
static struct sockaddr_storage addr;
static int addrlen;
static void *thread(void *a)
{
	(void)a;
	struct event_config *cfg = event_config_new();
	event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
	struct event_base *b = event_base_new_with_config(cfg);
	unsigned fl = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC;
	if (addr.ss_family != AF_UNIX) fl |= LEV_OPT_REUSEABLE_PORT;
	struct evconnlistener *l = evconnlistener_new_bind(b, on_accept, NULL, fl, 1024, (struct sockaddr *)&addr, addrlen);
	if (!l) { perror("bind"); exit(1); }
	event_base_dispatch(b);
	return NULL;
}
int main(int argc, char **argv)
{
	int ch, nt = 1, port = 9101;
	const char *un = NULL;
	while ((ch = getopt(argc, argv, "p:t:u:")) != -1) {
		if (ch == 'p') port = atoi(optarg);
		else if (ch == 't') nt = atoi(optarg);
		else if (ch == 'u') un = optarg;
		else return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < NOPT; i++) {
		char k[64] = "MOCK_", *p = k + 5;
		for (const char *s = optname[i].name; *s; s++) *p++ = (*s >= 'a' && *s <= 'z') ? *s - 32 : *s;
		*p = 0;
		if (getenv(k)) setopt1(&defopt, optname[i].name, strlen(optname[i].name), getenv(k));
	}
	if (un) {
		struct sockaddr_un *u = (void *)&addr;
		u->sun_family = AF_UNIX;
		strncpy(u->sun_path, un, sizeof u->sun_path - 1);
		unlink(un);
		addrlen = sizeof *u;
		nt = 1;
	} else {
		struct sockaddr_in *in = (void *)&addr;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		addrlen = sizeof *in;
	}
	pthread_t t;
	for (int i = 1; i < nt; i++) pthread_create(&t, NULL, thread, NULL);
	thread(NULL);
	return 0;
}
