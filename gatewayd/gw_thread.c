/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread: its loop, its HTTP servers, its links to billingd and routerd, its hub for workers.
 * Threads share nothing but the configuration (reference counted) and the count of connections;
 * the main thread reaches them with ev_post only.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/daemon/daemon.h"
#include "gatewayd/gw.h"

/* ---- configuration -------------------------------------------------------------------------- */

struct gw_conf *
gw_conf_new(struct conf *c)
{
	struct gw_conf *gc = calloc(1, sizeof *gc);

	if (gc == NULL)
		return NULL;
	gc->c = c;
	atomic_init(&gc->refs, 1);
	return gc;
}

struct gw_conf *
gw_conf_ref(struct gw_conf *gc)
{
	atomic_fetch_add_explicit(&gc->refs, 1, memory_order_relaxed);
	return gc;
}

void
gw_conf_unref(struct gw_conf **gcp)
{
	struct gw_conf *gc = *gcp;

	*gcp = NULL;
	if (gc == NULL || atomic_fetch_sub_explicit(&gc->refs, 1, memory_order_acq_rel) != 1)
		return;
	conf_free(&gc->c);
	free(gc);
}

/* ---- links ---------------------------------------------------------------------------------- */

bool
gw_thread_billing_fresh(const struct gw_thread *t)
{
	const struct wire_peer *p = wire_dial_peer(t->billing);

	return p != NULL && wire_silent_ms(p) < GW_LINK_FRESH_MS;
}

static void
gw_billing_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "billingd is here thread=%s peer=%s", t->name, p->name);
	t->key_change = p->key_change;
	gw_admit_declare(t);
	gw_settle_resend(t);
	gw_key_link_up(t);
	gw_query_link_up(t);
}

static void
gw_billing_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	(void)p;
	tf_log(TF_WARN, "link", NULL, "billingd is gone thread=%s reason=%s", t->name, tf_log_q(tf_cspan(why)));
	gw_key_distrust_all(t);
}

static void
gw_billing_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	(void)p;
	switch (f->verb) {
	case WIRE_KEY:
		gw_key_answer(t, f, &m->key);
		break;
	case WIRE_KEY_CHANGE:
		gw_key_changed(t, &m->key_change);
		break;
	case WIRE_GRANT:
		gw_admit_grant(t, f, &m->grant);
		break;
	case WIRE_GRANT_REFUSE:
		gw_admit_refuse(t, f, &m->grant_refuse);
		break;
	case WIRE_GRANT_RECALL:
		gw_admit_recall(t, &m->grant_recall);
		break;
	case WIRE_USAGE_ACK:
		gw_settle_ack(t, &m->usage_ack);
		break;
	case WIRE_ANSWER:
		gw_query_answer(t, f, &m->answer);
		break;
	default:
		break;
	}
}

static void
gw_router_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "routerd is here thread=%s peer=%s", t->name, p->name);
	gw_attempt_router_up(t);
}

static void
gw_router_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	(void)p;
	tf_log(TF_WARN, "link", NULL, "routerd is gone thread=%s reason=%s", t->name, tf_log_q(tf_cspan(why)));
	gw_models_live(t, NULL);
	gw_attempt_router_down(t);
}

static void
gw_router_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	(void)p;
	if (f->verb == WIRE_REJECT)
		gw_attempt_reject(t, f, &m->reject);
	else if (f->verb == WIRE_MODELS)
		gw_models_live(t, &m->models);
}

static void
gw_worker_up(void *arg, struct wire_peer *p)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "link", NULL, "worker is here thread=%s worker=%s", t->name, p->name);
}

static void
gw_worker_down(void *arg, struct wire_peer *p, const char *why)
{
	struct gw_thread *t = arg;

	tf_log(TF_WARN, "link", NULL, "worker is gone thread=%s worker=%s reason=%s", t->name, p->name,
	    tf_log_q(tf_cspan(why)));
	gw_attempt_worker_down(t, p);
}

static void
gw_worker_frame(void *arg, struct wire_peer *p, const struct wire_frame *f, const union wire_any *m)
{
	struct gw_thread *t = arg;

	switch (f->verb) {
	case WIRE_ACCEPT:
		gw_attempt_accept(t, p, f, &m->accept);
		break;
	case WIRE_EVENT:
		gw_relay_event(t, p, f, &m->event);
		break;
	case WIRE_END:
		gw_relay_end(t, p, f, &m->end);
		break;
	case WIRE_PULL:
		gw_attempt_pull(t, p, f, &m->pull);
		break;
	default:
		break;
	}
}

static int
gw_endpoint(const struct gw_thread *t, const char *name, char *out, size_t cap)
{
	int n = snprintf(out, cap, "ipc://%s/%s.sock", t->conf->c->common.run_dir, name);

	return n > 0 && (size_t)n < cap ? 0 : TF_E_RANGE;
}

static int
gw_links_open(struct gw_thread *t)
{
	struct wire_hooks billing = { gw_billing_up, gw_billing_down, gw_billing_frame, t };
	struct wire_hooks router = { gw_router_up, gw_router_down, gw_router_frame, t };
	struct wire_hooks worker = { gw_worker_up, gw_worker_down, gw_worker_frame, t };
	char mine[256], theirs[256];
	struct wire_self self = {
		.name = t->name, .role = WIRE_ROLE_GW, .boot = t->boot, .build = PACKAGE_VERSION,
		.heartbeat_ms = (unsigned)t->conf->c->common.heartbeat, .endpoint = mine,
	};
	int rc;

	if ((rc = gw_endpoint(t, t->name, mine, sizeof mine)) != 0)
		return rc;
	self.roles = WIRE_ROLE_WK;
	if ((rc = wire_hub_new(t->loop, t->gw->zctx, &self, mine, &worker, &t->hub)) != 0)
		return rc;
	self.roles = WIRE_ROLE_BL;
	if ((rc = gw_endpoint(t, "billingd", theirs, sizeof theirs)) != 0 ||
	    (rc = wire_dial_new(t->loop, t->gw->zctx, &self, theirs, &billing, &t->billing)) != 0)
		return rc;
	self.roles = WIRE_ROLE_RT;
	if ((rc = gw_endpoint(t, "routerd", theirs, sizeof theirs)) != 0 ||
	    (rc = wire_dial_new(t->loop, t->gw->zctx, &self, theirs, &router, &t->router)) != 0)
		return rc;
	return 0;
}

/* ---- the tick --------------------------------------------------------------------------------- */

static void
gw_tick_list(struct gw_thread *t, enum gw_state s, uint64_t now, void (*fn)(struct gw_req *, uint64_t))
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->state[s], e, tmp)
		fn(TF_CONTAINER(e, struct gw_req, node), now);
}

static void
gw_tick_stream(struct gw_req *req, uint64_t now)
{
	gw_relay_tick(req, now);
	gw_attempt_tick(req, now);
}

static void
gw_tick_query(struct gw_req *req, uint64_t now)
{
	if (now - req->wait_since >= GW_WAIT_MS)
		gw_req_fail(req, TF_E_OVERLOADED, NULL, NULL, 0);
}

static void
gw_tick_body(struct gw_req *req, uint64_t now)
{
	(void)now;
	if (http_server_body_bytes(req->t->server[0]) + http_server_body_bytes(req->t->server[1]) <=
	    req->conf->c->gatewayd.body_memory)
		http_req_resume(req->http);
}

static bool
gw_thread_idle(const struct gw_thread *t)
{
	return t->reqs.n == 0 && http_server_conns(t->server[0]) == 0 && http_server_conns(t->server[1]) == 0 &&
	    t->unsettled.n == 0;
}

/* Past the drain timeout: what still runs is ended in its own stream's words. */
static void
gw_drain_end(struct gw_req *req, uint64_t now)
{
	(void)now;
	gw_attempt_cancel(req, WIRE_CANCEL_DRAIN);
	gw_settle(req, req->content ? WIRE_OUTCOME_PARTIAL : WIRE_OUTCOME_FAILED, NULL, TF_E_OVERLOADED, false);
	gw_req_fail(req, TF_E_OVERLOADED, NULL, "The server is shutting down.", 0);
}

static void
gw_tick_drain(struct gw_thread *t, uint64_t now)
{
	static const enum gw_state running[] = { GW_S_QUEUED, GW_S_ACCEPTED, GW_S_STREAM };

	if (now >= t->drain_until)
		for (size_t i = 0; i < TF_LEN(running); i++)
			gw_tick_list(t, running[i], now, gw_drain_end);
	if (!gw_thread_idle(t) || t->drained)
		return;
	t->drained = true;
	if (atomic_fetch_sub(&t->gw->undrained, 1) == 1 && ev_post(t->gw->loop, gw_drained, t->gw) != 0)
		tf_log(TF_ERROR, "thread", NULL, "cannot say that all is drained"); /* the drain's deadline ends us */
}

static void
gw_tick(void *arg)
{
	struct gw_thread *t = arg;
	uint64_t now = tf_mono_ms();

	gw_key_tick(t, now);
	gw_tick_list(t, GW_S_BODY, now, gw_tick_body);
	gw_tick_list(t, GW_S_QUEUED, now, gw_attempt_tick);
	gw_tick_list(t, GW_S_ACCEPTED, now, gw_tick_stream);
	gw_tick_list(t, GW_S_STREAM, now, gw_tick_stream);
	gw_tick_list(t, GW_S_ORPHAN, now, gw_attempt_tick);
	gw_tick_list(t, GW_S_QUERY, now, gw_tick_query);
	if (t->draining)
		gw_tick_drain(t, now);
	ev_timer_set(&t->tick, GW_TICK_MS);
}

static void
gw_reap(void *arg)
{
	gw_req_free_list(arg);
}

/* ---- life ------------------------------------------------------------------------------------- */

static void
gw_server_conf(const struct conf_gatewayd *c, struct http_server_conf *sc)
{
	http_server_conf_default(sc);
	sc->limits.head_max = (uint32_t)(c->header_max > HTTP_HEAD_CEILING ? HTTP_HEAD_CEILING : c->header_max);
	sc->idle_ms = (uint32_t)c->idle_timeout;
	sc->head_ms = (uint32_t)c->head_timeout;
	sc->body_ms = (uint32_t)c->body_timeout;
	sc->write_ms = (uint32_t)c->write_timeout;
}

static int
gw_servers_open(struct gw_thread *t)
{
	struct http_server_conf sc;

	gw_server_conf(&t->conf->c->gatewayd, &sc);
	for (int i = 0; i < 2; i++) {
		t->server[i] = http_server_new(t->loop, &sc, &gw_req_hooks, t);
		if (t->server[i] == NULL)
			return TF_E_NOMEM;
	}
	http_server_set_tls(t->server[1], t->gw->tls);
	return 0;
}

static void
gw_thread_init(struct gw *gw, struct gw_thread *t, unsigned index)
{
	t->gw = gw;
	t->index = index;
	t->boot = tf_random_u64();
	snprintf(t->name, sizeof t->name, "%s.%u", gw->conf->c->gatewayd.name, index);
	for (size_t i = 0; i < GW_S_COUNT; i++)
		tf_list_init(&t->state[i]);
	tf_list_init(&t->keys_lru);
	tf_list_init(&t->keys_busy);
	tf_list_init(&t->unsettled);
	ev_turn_init(&t->reap, gw_reap, t);
}

static void *
gw_thread_main(void *arg)
{
	struct gw_thread *t = arg;

	if (ev_loop_run(t->loop) != 0)
		tf_log(TF_ERROR, "thread", NULL, "the event loop failed thread=%s", t->name);
	http_server_free(&t->server[0]);
	http_server_free(&t->server[1]);
	gw_req_free_list(t);
	wire_hub_free(&t->hub);
	wire_dial_free(&t->router);
	wire_dial_free(&t->billing);
	ev_timer_del(&t->tick);
	return NULL;
}

static void
gw_thread_fini(struct gw_thread *t)
{
	for (size_t i = 0; i < GW_S_COUNT; i++)
		while (i != GW_S_DONE && t->state[i].n > 0)
			gw_req_to(TF_CONTAINER(tf_list_first(&t->state[i]), struct gw_req, node), GW_S_DONE);
	gw_req_free_list(t);
	gw_settle_free(t);
	gw_keys_free(t);
	gw_models_live(t, NULL);
	tf_map_free(&t->reqs);
	tf_buf_free(&t->head);
	gw_conf_unref(&t->conf);
	if (t->loop != NULL)
		ev_loop_free(&t->loop);
}

int
gw_threads_start(struct gw *gw)
{
	sigset_t all, before;
	int rc = 0;

	gw->nthreads = (unsigned)gw->conf->c->gatewayd.threads;
	gw->threads = calloc(gw->nthreads, sizeof *gw->threads);
	if (gw->threads == NULL)
		return TF_E_NOMEM;
	/* signals are the main thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (unsigned i = 0; i < gw->nthreads && rc == 0; i++) {
		struct gw_thread *t = &gw->threads[i];

		gw_thread_init(gw, t, i);
		t->conf = gw_conf_ref(gw->conf);
		t->loop = ev_loop_new();
		rc = t->loop == NULL ? TF_E_NOMEM : 0;
		if (rc == 0)
			rc = gw_servers_open(t);
		if (rc == 0)
			rc = gw_links_open(t);
		if (rc != 0)
			break;
		ev_timer_init(&t->tick, t->loop, gw_tick, t);
		ev_timer_set(&t->tick, GW_TICK_MS);
		if (pthread_create(&t->tid, NULL, gw_thread_main, t) != 0)
			rc = TF_E_IO;
		else
			t->running = true;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

static void
gw_thread_stop(void *arg)
{
	struct gw_thread *t = arg;

	ev_loop_stop(t->loop);
}

void
gw_threads_stop(struct gw *gw)
{
	for (unsigned i = 0; i < gw->nthreads; i++) {
		/* without memory to say it, the thread cannot be waited for */
		if (gw->threads[i].running && ev_post(gw->threads[i].loop, gw_thread_stop, &gw->threads[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < gw->nthreads; i++) {
		if (gw->threads[i].running)
			pthread_join(gw->threads[i].tid, NULL);
		if (gw->threads[i].gw != NULL)
			gw_thread_fini(&gw->threads[i]);
	}
	free(gw->threads);
	gw->threads = NULL;
	gw->nthreads = 0;
}

/* ---- from the main thread --------------------------------------------------------------------- */

struct gw_news { /* for one thread */
	struct gw_thread *t;
	struct gw_conf *conf;
	struct ssl_ctx_st *tls;
};

static void
gw_thread_reload(void *arg)
{
	struct gw_news *n = arg;
	struct gw_thread *t = n->t;

	gw_conf_unref(&t->conf);
	t->conf = n->conf;
	if (n->tls != NULL)
		http_server_set_tls(t->server[1], n->tls);
	free(n);
}

void
gw_threads_reload(struct gw *gw)
{
	for (unsigned i = 0; i < gw->nthreads; i++) {
		struct gw_news *n = calloc(1, sizeof *n);

		if (n == NULL)
			continue;
		*n = (struct gw_news){ .t = &gw->threads[i], .conf = gw_conf_ref(gw->conf), .tls = gw->tls };
		if (ev_post(gw->threads[i].loop, gw_thread_reload, n) != 0) {
			gw_conf_unref(&n->conf);
			free(n);
		}
	}
}

static void
gw_thread_drain(void *arg)
{
	struct gw_thread *t = arg;

	t->draining = true;
	t->drain_until = tf_mono_ms() + t->conf->c->gatewayd.drain_timeout;
	http_server_drain(t->server[0]);
	http_server_drain(t->server[1]);
}

void
gw_threads_drain(struct gw *gw)
{
	atomic_store(&gw->undrained, gw->nthreads);
	for (unsigned i = 0; i < gw->nthreads; i++)
		if (ev_post(gw->threads[i].loop, gw_thread_drain, &gw->threads[i]) != 0)
			tf_log(TF_ERROR, "thread", NULL, "cannot drain a thread");
}

/* In the thread: its lists are its own. */
static void
gw_thread_dump(void *arg)
{
	const struct gw_thread *t = arg;
	char states[256] = "";
	size_t n = 0;

	for (size_t i = 0; i < GW_S_DONE && n < sizeof states; i++)
		n += (size_t)snprintf(states + n, sizeof states - n, " %s=%zu", gw_state_name((enum gw_state)i), t->state[i].n);
	tf_log(TF_INFO, "daemon", NULL,
	    "state thread=%s connections=%u keys=%zu unsettled=%zu billingd=%d routerd=%d workers=%zu%s", t->name,
	    atomic_load(&t->conns), t->keys.n, t->unsettled.n, gw_thread_billing_fresh(t),
	    wire_dial_peer(t->router) != NULL, wire_hub_count(t->hub), states);
}

void
gw_threads_dump(struct gw *gw)
{
	for (unsigned i = 0; i < gw->nthreads; i++)
		if (ev_post(gw->threads[i].loop, gw_thread_dump, &gw->threads[i]) != 0)
			tf_log(TF_ERROR, "thread", NULL, "cannot ask a thread for its state");
}

struct gw_gift { /* a fresh connection */
	struct gw_thread *t;
	int fd;
	bool tls;
	socklen_t len;
	struct sockaddr_storage peer;
};

static void
gw_thread_take(void *arg)
{
	struct gw_gift *g = arg;

	/* on failure the server closes the connection and its on_close hook has not run */
	if (http_server_take_fd(g->t->server[g->tls ? 1 : 0], g->fd, (struct sockaddr *)&g->peer, g->len) != 0) {
		gw_addrs_give(g->t->gw->addrs, (struct sockaddr *)&g->peer);
		atomic_fetch_sub(&g->t->conns, 1);
		atomic_fetch_sub(&g->t->gw->conns, 1);
	}
	free(g);
}

void
gw_threads_give(struct gw *gw, int fd, bool tls, const struct sockaddr *peer, socklen_t len)
{
	struct gw_thread *best = &gw->threads[0];
	struct gw_gift *g = calloc(1, sizeof *g);

	for (unsigned i = 1; i < gw->nthreads; i++)
		if (atomic_load(&gw->threads[i].conns) < atomic_load(&best->conns))
			best = &gw->threads[i];
	if (g != NULL) {
		*g = (struct gw_gift){ .t = best, .fd = fd, .tls = tls, .len = len };
		memcpy(&g->peer, peer, len < sizeof g->peer ? len : sizeof g->peer);
		atomic_fetch_add(&best->conns, 1);
		if (ev_post(best->loop, gw_thread_take, g) == 0)
			return;
		atomic_fetch_sub(&best->conns, 1);
		free(g);
	}
	gw_addrs_give(gw->addrs, peer);
	atomic_fetch_sub(&gw->conns, 1);
	close(fd);
}
