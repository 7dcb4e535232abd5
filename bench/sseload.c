/* SPDX-License-Identifier: Apache-2.0 */
/* sseload - closed-loop HTTP/1.1 load client for LLM replies (SSE or whole).
 *
 *   cc -O2 -Wall -o sseload sseload.c
 *   ./sseload -a 127.0.0.1:9101 -p /v1/chat/completions -b body.json \
 *             -c 16 -n 1000 [-d SECONDS] [-H 'Authorization: Bearer x']... [-k 0]
 *
 * One thread, epoll.  -k 0: a new connection for every request.  Prints
 * requests/s, TTFT (request written -> first SSE data line or first body byte),
 * whole-request time, gap between data lines and, where a line carries
 * "@<CLOCK_MONOTONIC ns>@" (mockup's ts=1), the one-way latency of that chunk.
 * Counts non-200 answers, transport errors, streams without [DONE] /
 * message_stop.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}
struct vec { uint32_t *v; size_t n, cap; };
static void push(struct vec *a, uint64_t ns)
{
	if (a->n == a->cap) {
		if (a->cap >= 1u << 24) return;
		a->cap = a->cap ? a->cap * 2 : 4096;
		a->v = realloc(a->v, a->cap * sizeof *a->v);
	}
	a->v[a->n++] = ns / 1000 > UINT32_MAX ? UINT32_MAX : ns / 1000; /* us */
}
static int cmp(const void *a, const void *b) { uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b; return x < y ? -1 : x > y; }
static void show(const char *name, struct vec *a)
{
	if (!a->n) return;
	qsort(a->v, a->n, sizeof *a->v, cmp);
#define P(p) a->v[(size_t)((a->n - 1) * (p))] / 1000.0
	printf("%-9s n=%-9zu p50=%.3f p90=%.3f p99=%.3f p99.9=%.3f max=%.3f ms\n", name, a->n, P(.5), P(.9), P(.99), P(.999), P(1));
}
static struct vec ttft, total, gap, oneway;
struct conn {
	int fd, up, st; /* st: 0 head, 1 body */
	size_t off;
	uint64_t t0, tfirst, tlast;
	char *buf;
	size_t n;
	long cl;
	int chunked, status, sse, ended, close;
	long chunk; /* -1: reading a size line, -2: crlf after chunk, -3: trailer */
	char line[8192];
	size_t ln;
};
#define BUF (1 << 20)
static char *req;
static size_t reqlen;
static struct sockaddr_in sa;
static int ep, keep = 1, conns = 1;
static long want = 1000, sent, okc, bad, err, unfinished, datalines, bytes;
static double dur;
static uint64_t tend;

static void arm(struct conn *c, int op, uint32_t ev)
{
	struct epoll_event e = { ev, { .ptr = c } };
	epoll_ctl(ep, op, c->fd, &e);
}
static int more(void) { return dur > 0 ? now() < tend : sent < want; }
static void start(struct conn *c)
{
	if (!more()) { if (c->fd >= 0) close(c->fd); c->fd = -1; return; }
	sent++;
	c->off = c->n = c->ln = 0;
	c->st = c->status = c->sse = c->ended = c->chunked = c->close = 0;
	c->cl = -1;
	c->tfirst = c->tlast = 0;
	c->t0 = now();
	if (c->fd < 0) {
		int one = 1;
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		connect(c->fd, (void *)&sa, sizeof sa);
		c->up = 0;
		arm(c, EPOLL_CTL_ADD, EPOLLOUT);
		return;
	}
	ssize_t w = write(c->fd, req, reqlen);
	c->off = w > 0 ? w : 0;
	arm(c, EPOLL_CTL_MOD, c->off < reqlen ? EPOLLOUT | EPOLLIN : EPOLLIN);
}
static void again(struct conn *c, int broken)
{
	if (broken || !keep || c->close) { close(c->fd); c->fd = -1; }
	start(c);
}
static void finish(struct conn *c)
{
	uint64_t t = now();
	if (c->status == 200) okc++; else bad++;
	if (c->sse && !c->ended) unfinished++;
	if (!c->tfirst) push(&ttft, t - c->t0);
	push(&total, t - c->t0);
	again(c, 0);
}
static void body_line(struct conn *c, uint64_t t)
{
	if (!strncmp(c->line, "data:", 5)) {
		datalines++;
		if (!c->tfirst) { c->tfirst = t; push(&ttft, t - c->t0); }
		else push(&gap, t - c->tlast);
		c->tlast = t;
		char *p = strchr(c->line, '@');
		if (p && p[1] >= '0' && p[1] <= '9') {
			uint64_t ts = strtoull(p + 1, &p, 10);
			if (*p == '@' && ts <= t) push(&oneway, t - ts);
		}
		if (strstr(c->line, "[DONE]") || strstr(c->line, "message_stop") || strstr(c->line, "response.completed")) c->ended = 1;
	}
}
static void body(struct conn *c, const char *p, size_t n, uint64_t t)
{
	bytes += n;
	if (!c->sse) { if (!c->tfirst) { c->tfirst = t; push(&ttft, t - c->t0); } return; }
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n') { c->line[c->ln] = 0; body_line(c, t); c->ln = 0; }
		else if (c->ln < sizeof c->line - 1) c->line[c->ln++] = p[i];
	}
}
static void input(struct conn *c)
{
	for (;;) {
		ssize_t r = read(c->fd, c->buf + c->n, BUF - c->n);
		if (r < 0 && errno == EAGAIN) return;
		if (r <= 0) {
			if (r == 0 && c->st == 1 && !c->chunked && c->cl < 0) { c->close = 1; finish(c); return; }
			err++;
			again(c, 1);
			return;
		}
		uint64_t t = now();
		c->n += r;
		c->buf[c->n] = 0;
		if (c->st == 0) {
			char *e = memmem(c->buf, c->n, "\r\n\r\n", 4);
			if (!e) continue;
			*e = 0;
			c->status = atoi(c->buf + 9);
			for (char *l = strstr(c->buf, "\r\n"); l; l = strstr(l, "\r\n")) {
				l += 2;
				if (!strncasecmp(l, "content-length:", 15)) c->cl = atol(l + 15);
				else if (!strncasecmp(l, "transfer-encoding:", 18)) c->chunked = 1, c->chunk = -1;
				else if (!strncasecmp(l, "content-type:", 13)) c->sse = !!strcasestr(l, "event-stream");
				else if (!strncasecmp(l, "connection: close", 17)) c->close = 1;
			}
			size_t hl = e + 4 - c->buf;
			memmove(c->buf, c->buf + hl, c->n - hl);
			c->n -= hl;
			c->st = 1;
		}
		if (!c->chunked) {
			size_t k = c->cl >= 0 && (long)c->n > c->cl ? (size_t)c->cl : c->n;
			body(c, c->buf, k, t);
			c->n = 0;
			if (c->cl >= 0 && (c->cl -= k) == 0) { finish(c); return; }
			continue;
		}
		char *p = c->buf, *end = c->buf + c->n;
		int fin = 0;
		while (p < end) {
			if (c->chunk > 0) {
				size_t k = (size_t)(end - p) < (size_t)c->chunk ? (size_t)(end - p) : (size_t)c->chunk;
				body(c, p, k, t);
				p += k;
				if ((c->chunk -= k) == 0) c->chunk = -2;
			} else {
				char *nl = memmem(p, end - p, "\r\n", 2);
				if (!nl) break;
				if (c->chunk == -2) c->chunk = -1;
				else if (c->chunk == -3) { if (nl == p) { fin = 1; p += 2; break; } }
				else { c->chunk = strtol(p, NULL, 16); if (c->chunk == 0) c->chunk = -3; }
				p = nl + 2;
			}
		}
		memmove(c->buf, p, end - p);
		c->n = end - p;
		if (fin) { finish(c); return; }
	}
}
int main(int argc, char **argv)
{
	const char *path = "/v1/chat/completions", *host = "127.0.0.1:9101", *bf = NULL;
	char hdr[8192] = "", *b = strdup("");
	size_t bl = 0;
	int ch;
	while ((ch = getopt(argc, argv, "a:p:b:c:n:d:H:k:")) != -1) switch (ch) {
	case 'a': host = optarg; break;
	case 'p': path = optarg; break;
	case 'b': bf = optarg; break;
	case 'c': conns = atoi(optarg); break;
	case 'n': want = atol(optarg); break;
	case 'd': dur = atof(optarg); break;
	case 'k': keep = atoi(optarg); break;
	case 'H': strncat(hdr, optarg, sizeof hdr - strlen(hdr) - 3); strcat(hdr, "\r\n"); break;
	default: return 2;
	}
	if (bf) {
		FILE *f = fopen(bf, "rb");
		if (!f) { perror(bf); return 1; }
		b = malloc(64 << 20);
		bl = fread(b, 1, 64 << 20, f);
		fclose(f);
	}
	char h[256];
	snprintf(h, sizeof h, "%s", host);
	char *co = strchr(h, ':');
	sa.sin_family = AF_INET;
	sa.sin_port = htons(co ? atoi(co + 1) : 80);
	if (co) *co = 0;
	inet_pton(AF_INET, h, &sa.sin_addr);
	req = malloc(bl + 16384);
	reqlen = sprintf(req, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n", bf ? "POST" : "GET", path, host, hdr, bl);
	memcpy(req + reqlen, b, bl);
	reqlen += bl;
	ep = epoll_create1(0);
	uint64_t t0 = now();
	tend = t0 + (uint64_t)(dur * 1e9);
	struct conn *cs = calloc(conns, sizeof *cs);
	for (int i = 0; i < conns; i++) { cs[i].fd = -1; cs[i].buf = malloc(BUF + 1); start(&cs[i]); }
	uint64_t idle = now();
	for (;;) {
		int live = 0;
		for (int i = 0; i < conns; i++) live += cs[i].fd >= 0;
		if (!live) break;
		struct epoll_event e[64];
		int n = epoll_wait(ep, e, 64, 1000);
		if (n > 0) idle = now();
		else if (now() - idle > 60ull * 1000000000) { printf("STUCK: 60 s without an event\n"); break; }
		for (int i = 0; i < n; i++) {
			struct conn *c = e[i].data.ptr;
			if (c->fd < 0) continue;
			if (e[i].events & EPOLLOUT) {
				ssize_t w = write(c->fd, req + c->off, reqlen - c->off);
				if (w < 0) { if (errno != EAGAIN) { err++; again(c, 1); } continue; }
				c->off += w;
				if (c->off == reqlen) arm(c, EPOLL_CTL_MOD, EPOLLIN);
			}
			if (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) input(c);
		}
	}
	double s = (now() - t0) / 1e9;
	printf("%ld ok, %ld non-200, %ld errors, %ld unfinished streams in %.2f s: %.1f req/s, %.0f data lines/s, %.1f MB/s\n", okc, bad, err, unfinished, s, (okc + bad) / s, datalines / s, bytes / s / 1e6);
	show("ttft", &ttft);
	show("request", &total);
	show("gap", &gap);
	show("one-way", &oneway);
	return err || bad || unfinished;
}
