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

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_record.h"
#include "gatewayd/gw_stored.h"

#define GW_DUMP_MAX 20 /* requests of one state that a dump names */

/* ---- configuration -------------------------------------------------------------------------- */

struct gw_conf *
gw_conf_new(struct conf *c)
{
	struct gw_conf *gc = calloc(1, sizeof *gc);
	char why[256];

	if (gc == NULL)
		return NULL;
	gc->c = c;
	/* read a moment ago, when the configuration was checked */
	if (gw_codex_read(c, &gc->codex, why, sizeof why) != 0)
		tf_log(TF_ERROR, "config", NULL, "codex-models-file is left out reason=%s", tf_log_q(tf_cspan(why)));
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
	tf_buf_free(&gc->codex);
	free(gc);
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
	if (gw_body_may_read(req))
		http_req_resume(req->http);
}

static bool
gw_thread_idle(const struct gw_thread *t)
{
	return t->reqs.n == 0 && http_server_conns(t->server[0]) == 0 && http_server_conns(t->server[1]) == 0 &&
	    (t->spool.n == 0 || !gw_thread_billing_fresh(t)); /* without billingd the next start tells it */
}

/* Past the drain timeout: what still runs is ended in its own stream's words. */
static void
gw_drain_end(struct gw_req *req, uint64_t now)
{
	struct wire_end end = { .message = TF_SPAN("The server is shutting down.") };

	(void)now;
	if (req->running) {
		gw_attempt_cancel(req, WIRE_CANCEL_DRAIN);
		gw_attempt_failed(req, TF_E_OVERLOADED, GW_BLAME_FINAL, &end);
		return;
	}
	gw_store_leave(req);
	gw_admit_leave(req);
	gw_req_fail(req, TF_E_OVERLOADED, NULL, end.message.p, 0);
}

static void
gw_tick_drain(struct gw_thread *t, uint64_t now)
{
	static const enum gw_state open[] = { GW_S_BODY, GW_S_STORE, GW_S_ADMIT, GW_S_QUEUED, GW_S_ACCEPTED, GW_S_STREAM };

	if (now >= t->drain_until)
		for (size_t i = 0; i < TF_LEN(open); i++)
			gw_tick_list(t, open[i], now, gw_drain_end);
	if (!gw_thread_idle(t) || t->drained)
		return;
	t->drained = true;
	if (atomic_fetch_sub(&t->gw->undrained, 1) == 1 && ev_post(t->gw->loop, gw_drained, t->gw) != 0)
		tf_log(TF_ERROR, "thread", NULL, "cannot say that all is drained"); /* the drain's deadline ends us */
}

/* What the main thread says of us on the control socket. */
static void
gw_tick_show(struct gw_thread *t)
{
	atomic_store_explicit(&t->bodies, gw_body_bytes(t), memory_order_relaxed);
	atomic_store_explicit(&t->workers, wire_hub_count(t->hub), memory_order_relaxed);
	atomic_store_explicit(&t->billing_here, gw_thread_billing_fresh(t), memory_order_relaxed);
	atomic_store_explicit(&t->router_here, gw_router(t) != NULL, memory_order_relaxed);
	atomic_store_explicit(&t->store_here, gw_store_here(t), memory_order_relaxed);
}

static void
gw_tick(void *arg)
{
	struct gw_thread *t = arg;
	uint64_t now = tf_mono_ms();

	gw_key_tick(t, now);
	gw_tick_list(t, GW_S_BODY, now, gw_tick_body);
	gw_tick_list(t, GW_S_QUEUED, now, gw_tick_stream);
	gw_tick_list(t, GW_S_ACCEPTED, now, gw_tick_stream);
	gw_tick_list(t, GW_S_STREAM, now, gw_tick_stream);
	gw_tick_list(t, GW_S_ORPHAN, now, gw_attempt_tick);
	gw_tick_list(t, GW_S_STREAM, now, gw_recall_tick);
	gw_tick_list(t, GW_S_KEEP, now, gw_recall_tick);
	gw_tick_list(t, GW_S_QUERY, now, gw_tick_query);
	gw_tick_list(t, GW_S_REPLAY, now, gw_replay_tick);
	gw_store_tick(t, now);
	gw_spool_tick(t, now);
	gw_limits_board(t);
	gw_settle_tick(t, now);
	gw_left_tick(t, now);
	if (t->draining)
		gw_tick_drain(t, now);
	gw_tick_show(t);
	ev_timer_set(&t->tick, GW_TICK_MS);
}

static void
gw_telling(void *arg)
{
	gw_settle_pump(arg);
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
	t->returns = 1;
	snprintf(t->name, sizeof t->name, "%s.%u", gw->conf->c->gatewayd.name, index);
	for (size_t i = 0; i < GW_S_COUNT; i++)
		tf_list_init(&t->state[i]);
	tf_list_init(&t->keys_lru);
	tf_list_init(&t->keys_busy);
	gw_spool_init(t);
	tf_list_init(&t->store_waits);
	tf_list_init(&t->releases);
	ev_turn_init(&t->reap, gw_reap, t);
}

/* In the thread itself, or after it ended: sockets go, and with them whatever still runs is settled. */
static void
gw_thread_close(struct gw_thread *t)
{
	ev_timer_del(&t->tick);
	ev_timer_del(&t->telling);
	http_server_free(&t->server[0]);
	http_server_free(&t->server[1]);
	gw_links_close(t);
	gw_req_free_list(t);
}

static void *
gw_thread_main(void *arg)
{
	struct gw_thread *t = arg;

	if (ev_loop_run(t->loop) != 0) {
		tf_log(TF_ERROR, "thread", NULL, "the event loop failed thread=%s", t->name);
		if (ev_post(t->gw->loop, gw_broken, t->gw) != 0)
			abort(); /* half a gateway is worse than none */
	}
	gw_thread_close(t);
	return NULL;
}

static void
gw_thread_fini(struct gw_thread *t)
{
	if (t->loop == NULL)
		return;
	if (!t->running)
		gw_thread_close(t);
	for (size_t i = 0; i < GW_S_COUNT; i++)
		while (i != GW_S_DONE && t->state[i].n > 0)
			gw_req_to(TF_CONTAINER(tf_list_first(&t->state[i]), struct gw_req, node), GW_S_DONE);
	gw_req_free_list(t);
	gw_idem_thread_free(t);
	ev_turn_disarm(t->loop, &t->flush);
	gw_spool_close(t);
	gw_left_free(t);
	tf_buf_free(&t->record);
	gw_keys_free(t);
	gw_models_live(t, NULL);
	tf_map_free(&t->reqs);
	tf_map_free(&t->store_asks);
	tf_buf_free(&t->head);
	tf_buf_free(&t->url);
	tf_buf_free(&t->beta);
	gw_conf_unref(&t->conf);
	ev_turn_disarm(t->loop, &t->reap);
	ev_loop_free(&t->loop);
}

static int
gw_thread_start(struct gw *gw, struct gw_thread *t)
{
	int rc;

	t->conf = gw_conf_ref(gw->conf);
	ev_timer_init(&t->tick, t->loop, gw_tick, t);
	ev_timer_init(&t->telling, t->loop, gw_telling, t);
	if ((rc = gw_left_new(t)) != 0 || (rc = gw_spool_open(t)) != 0 || (rc = gw_servers_open(t)) != 0 ||
	    (rc = gw_links_open(t)) != 0)
		return rc;
	ev_timer_set(&t->tick, GW_TICK_MS);
	if (pthread_create(&t->tid, NULL, gw_thread_main, t) != 0)
		return TF_E_IO;
	t->running = true;
	return 0;
}

int
gw_threads_start(struct gw *gw)
{
	sigset_t all, before;
	int rc = 0;

	gw->threads = calloc((size_t)gw->conf->c->gatewayd.threads, sizeof *gw->threads);
	if (gw->threads == NULL)
		return TF_E_NOMEM;
	gw->nthreads = (unsigned)gw->conf->c->gatewayd.threads;
	/* signals are the main thread's */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	for (unsigned i = 0; i < gw->nthreads && rc == 0; i++) {
		struct gw_thread *t = &gw->threads[i];

		gw_thread_init(gw, t, i);
		t->loop = ev_loop_new();
		rc = t->loop == NULL ? TF_E_NOMEM : gw_thread_start(gw, t);
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
	}
	gw_keeper_stop(gw);
	for (unsigned i = 0; i < gw->nthreads; i++)
		gw_thread_fini(&gw->threads[i]);
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
gw_news_free(struct gw_news *n)
{
	if (n->tls != NULL)
		http_tls_free(&n->tls);
	free(n);
}

static void
gw_thread_reload(void *arg)
{
	struct gw_news *n = arg;
	struct gw_thread *t = n->t;

	struct http_server_conf sc;

	gw_conf_unref(&t->conf);
	t->conf = n->conf;
	gw_server_conf(&t->conf->c->gatewayd, &sc);
	for (int i = 0; i < 2; i++)
		http_server_set_conf(t->server[i], &sc);
	if (n->tls != NULL)
		http_server_set_tls(t->server[1], n->tls);
	gw_news_free(n);
}

void
gw_threads_reload(struct gw *gw)
{
	for (unsigned i = 0; i < gw->nthreads; i++) {
		struct gw_news *n = calloc(1, sizeof *n);

		if (n == NULL)
			continue;
		*n = (struct gw_news){ .t = &gw->threads[i], .conf = gw_conf_ref(gw->conf), .tls = http_tls_ref(gw->tls) };
		if (ev_post(gw->threads[i].loop, gw_thread_reload, n) != 0) {
			gw_conf_unref(&n->conf);
			gw_news_free(n);
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

static void
gw_thread_dump(void *arg)
{
	struct gw_thread *t = arg;

	tf_log(TF_INFO, "state", NULL, "thread=%s connections=%u requests=%zu keys=%zu unsettled=%zu workers=%zu "
	    "billingd=%d routerd=%d stored=%d body_bytes=%zu", t->name, atomic_load(&t->conns), t->reqs.n, t->keys.n,
	    t->spool.n, wire_hub_count(t->hub), gw_thread_billing_fresh(t), gw_router(t) != NULL, gw_store_here(t),
	    t->body_held);
	for (int s = 0; s < GW_S_COUNT; s++) {
		struct tf_node *e, *tmp;
		unsigned n = 0;

		TF_LIST_EACH(&t->state[s], e, tmp) {
			const struct gw_req *req = TF_CONTAINER(e, struct gw_req, node);

			if (n++ == GW_DUMP_MAX)
				break;
			tf_log(TF_INFO, "state", &req->id, "thread=%s state=%s ms=%llu attempt=%u sent=%llu", t->name,
			    gw_state_name((enum gw_state)s), (unsigned long long)(tf_mono_ms() - req->began), req->attempt,
			    (unsigned long long)req->rx.next);
		}
		if (t->state[s].n > GW_DUMP_MAX)
			tf_log(TF_INFO, "state", NULL, "thread=%s state=%s more=%zu", t->name, gw_state_name((enum gw_state)s),
			    t->state[s].n - GW_DUMP_MAX);
	}
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
		tf_metric_add(TF_M_GW_CONNECTIONS, UINT64_MAX); /* one less */
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
	tf_metric_add(TF_M_GW_CONNECTIONS, UINT64_MAX); /* one less */
	close(fd);
}
