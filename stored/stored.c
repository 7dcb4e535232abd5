/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored put together: opens the store, listens, expires what is over, drains. Knows the order of
 * things and nothing else.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "stored/stored.h"

/* ---- the store on the loop ---------------------------------------------------------------- */

static void
store_reap(void *arg)
{
	struct st *st = arg;

	if (st->store != NULL)
		db_store_reap(st->store);
}

/* On the store's thread. Without memory for a post the next one, or the tick, brings this too. */
static void
store_wake(void *arg)
{
	struct st *st = arg;

	(void)!ev_post(st->loop, store_reap, st);
}

static int
store_open(struct st *st)
{
	const struct conf_stored *c = &st->conf->stored;
	char why[512] = "";
	int rc;

	if (mkdir(c->blob_dir, 0700) != 0 && errno != EEXIST) {
		tf_log(TF_ERROR, "store", NULL, "the directory of large values cannot be made directory=%s error=%s",
		    tf_log_q(tf_cspan(c->blob_dir)), strerror(errno));
		return TF_E_IO;
	}
	rc = st_sqlite_open(c->database, store_wake, st, &st->store, why, sizeof why);
	if (rc != 0)
		tf_log(TF_ERROR, "store", NULL, "the database cannot be opened file=%s reason=%s",
		    tf_log_q(tf_cspan(c->database)), tf_log_q(tf_cspan(why)));
	return rc;
}

void
st_note(struct st *st, int rc)
{
	bool bad = rc == TF_E_FULL || rc == TF_E_IO || rc == TF_E_AGAIN || rc == TF_E_NOMEM;

	if (bad)
		tf_metric_add(TF_M_ST_STORE_FAILURES, 1);
	if (bad && !st->trouble)
		tf_log(TF_ERROR, "store", NULL, "the store does not take changes error=%s", tf_err_text(rc));
	st->trouble = bad;
}

/* ---- the sweep at the start ----------------------------------------------------------------- */

static void
swept(struct db_batch *b, void *arg)
{
	struct st_sweep *s = b->ops[0].arg;
	struct st *st = arg;

	if (b->rc != 0)
		tf_log(TF_ERROR, "store", NULL, "the directory of large values cannot be read directory=%s error=%s",
		    tf_log_q(tf_cspan(s->dir)), tf_err_text(b->rc));
	else if (s->removed > 0)
		tf_log(TF_INFO, "store", NULL, "files without a row removed count=%llu", (unsigned long long)s->removed);
	st->loaded = true;
	st->failed = b->rc != 0;
	db_batch_free(&b);
}

/* Without the loop: nothing may arrive while it looks which files have no row. */
static int
sweep(struct st *st)
{
	struct st_sweep s = { .dir = st->blob_dir };
	struct db_batch *b = db_batch_new(swept, st);

	if (b == NULL || db_batch_add(b, ST_OP_SWEEP, &s) != 0) {
		db_batch_free(&b);
		return TF_E_NOMEM;
	}
	db_store_submit(st->store, b);
	while (!st->loaded)
		db_store_wait(st->store);
	return st->failed ? TF_E_IO : 0;
}

/* ---- expiry --------------------------------------------------------------------------------- */

static void
expired(struct db_batch *b, void *arg)
{
	struct st_expire *e = b->ops[0].arg;
	struct st *st = arg;

	st->expiring = false;
	st_note(st, b->rc);
	if (b->rc == 0 && e->removed > 0)
		tf_metric_add(TF_M_ST_EXPIRED, e->removed);
	ev_timer_set(&st->expire, b->rc == 0 && e->more ? ST_EXPIRE_PAUSE_MS : ST_EXPIRE_MS);
	free(e);
	db_batch_free(&b);
	st_check_drained(st);
}

/* A few rows at a time, so that nobody waits long behind it. */
static void
on_expire(void *arg)
{
	struct st *st = arg;
	struct st_expire *e = calloc(1, sizeof *e);
	struct db_batch *b = db_batch_new(expired, st);

	if (e == NULL || b == NULL || db_batch_add(b, ST_OP_EXPIRE, e) != 0 || st->closing || st->drained != NULL) {
		free(e);
		db_batch_free(&b);
		ev_timer_set(&st->expire, ST_EXPIRE_MS);
		return;
	}
	*e = (struct st_expire){ .now_ms = st_wall_ms(), .limit = ST_EXPIRE_STEP, .bytes = ST_EXPIRE_BYTES,
		.dir = st->blob_dir };
	st->expiring = true;
	db_store_submit(st->store, b);
}

/* ---- what there is ---------------------------------------------------------------------------- */

static void
counted(struct db_batch *b, void *arg)
{
	struct st_totals *t = b->ops[0].arg;
	struct st *st = arg;

	st->counting = false;
	if (b->rc == 0) {
		st->totals = *t;
		tf_metric_set(TF_M_ST_BYTES, t->bytes);
		tf_metric_set(TF_M_ST_RESPONSES, t->responses);
		tf_metric_set(TF_M_ST_VALUES, t->values);
	}
	free(t);
	db_batch_free(&b);
	st_check_drained(st);
}

static void
count(struct st *st)
{
	struct st_totals *t = calloc(1, sizeof *t);
	struct db_batch *b = db_batch_new(counted, st);

	if (t == NULL || b == NULL || db_batch_add(b, ST_OP_TOTALS, t) != 0) {
		free(t);
		db_batch_free(&b);
		return;
	}
	b->read = true;
	st->counting = true;
	db_store_submit(st->store, b);
}

/* ---- life --------------------------------------------------------------------------------- */

static void
on_tick(void *arg)
{
	struct st *st = arg;

	ev_timer_set(&st->tick, ST_TICK_MS);
	db_store_reap(st->store);
	st_peers_tick(st, tf_mono_ms());
	st_claims_tick(st, tf_mono_ms());
	if (!st->counting && st->drained == NULL)
		count(st);
}

static int
listen_here(struct st *st)
{
	struct wire_self self = { .name = "stored", .role = WIRE_ROLE_ST, .boot = tf_random_u64(),
		.build = PACKAGE_VERSION, .heartbeat_ms = (unsigned)st->conf->common.heartbeat, .roles = WIRE_ROLE_GW };
	struct wire_hooks hooks = st_peers_hooks(st);
	char endpoint[512];
	int rc = TF_E_RANGE, n;

	n = snprintf(endpoint, sizeof endpoint, "ipc://%s/stored.sock", st->conf->common.run_dir);
	if (n > 0 && (size_t)n < sizeof endpoint)
		rc = wire_hub_new(st->loop, st->zctx, &self, endpoint, &hooks, &st->hub);
	if (rc != 0)
		tf_log(TF_ERROR, "peers", NULL, "cannot listen for gateways endpoint=%s error=%s", tf_log_q(tf_cspan(endpoint)),
		    rc == TF_E_EXIST ? "another stored runs" : tf_err_text(rc));
	return rc;
}

int
st_new(struct ev_loop *loop, const struct conf *conf, struct st **out)
{
	struct st *st = calloc(1, sizeof *st);
	int rc = TF_E_NOMEM;

	if (st == NULL)
		return rc;
	st->loop = loop;
	st->conf = conf;
	st_peers_init(st);
	st_asks_init(st);
	st_claims_init(st);
	st->blob_dir = tf_span_dup(tf_cspan(conf->stored.blob_dir));
	ev_timer_init(&st->tick, loop, on_tick, st);
	ev_timer_init(&st->expire, loop, on_expire, st);
	st->zctx = ev_zctx_new(1);
	if (st->zctx != NULL && st->blob_dir != NULL && (rc = store_open(st)) == 0 && (rc = sweep(st)) == 0 &&
	    (rc = listen_here(st)) == 0) {
		ev_timer_set(&st->tick, ST_TICK_MS);
		ev_timer_set(&st->expire, ST_EXPIRE_PAUSE_MS);
		tf_log(TF_INFO, "daemon", NULL, "ready");
		*out = st;
		return 0;
	}
	st_free(&st);
	return rc;
}

void
st_free(struct st **stp)
{
	struct st *st = *stp;

	if (st == NULL)
		return;
	st->closing = true;
	ev_timer_del(&st->tick);
	/* callbacks of what is still under way find no peer to answer, and free themselves */
	wire_hub_free(&st->hub);
	db_store_close(&st->store);
	ev_timer_del(&st->expire);
	ev_timer_del(&st->push);
	st_peers_free(st);
	st_claims_free(st);
	ev_zctx_free(&st->zctx);
	free(st->blob_dir);
	free(st);
	*stp = NULL;
}

void
st_reload(struct st *st, const struct conf *conf)
{
	st->conf = conf;
}

void
st_check_drained(struct st *st)
{
	if (st->closing || st->drained == NULL || st->puts > 0 || st->asks > 0 || st->expiring || st->counting ||
	    st->arriving.n > 0)
		return;
	st->drained(st->drained_arg);
}

void
st_drain(struct st *st, void (*drained)(void *arg), void *arg)
{
	st->drained = drained;
	st->drained_arg = arg;
	st_check_drained(st);
}
