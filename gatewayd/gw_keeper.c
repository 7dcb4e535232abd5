/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: one thread for everything about the spool that may take its time. It makes segments ahead of need and
 * within spool-max, syncs, puts away what is acknowledged, removes what is old, and looks for starts that died. The other
 * threads give it jobs and are given results through their loops; nobody waits for it.
 */
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_record.h"

#define GW_KEEPER_LOOK_MS 1000 /* how often it looks at the directory ... */
#define GW_KEEPER_FIND_MS 3000 /* ... and for starts that died */

enum gw_job_kind {
	GW_JOB_MAKE,    /* make the segment that head describes */
	GW_JOB_SYNC,    /* sync seg */
	GW_JOB_SYNCED,  /* say that all syncs before are done */
	GW_JOB_DONE,    /* put seg away */
	GW_JOB_SETTLED, /* left was told whole: put its files away */
	GW_JOB_LEFT,    /* result only: a start that died */
	GW_JOB_FORMER,  /* result only: a start that was settled and has files still */
};

struct gw_job {
	struct tf_node node; /* gw_keeper.jobs, or gw_thread.mail */
	enum gw_job_kind kind;
	struct gw_thread *t;
	struct sp_seg *seg;  /* NULL: none, or it could not be made */
	struct sp_head head;
	struct sp_left *left;
	uint64_t ticket;
};

struct gw_keeper {
	struct gw *gw;
	pthread_t tid;
	bool running;
	pthread_mutex_t lock; /* of all below, and of every thread's mail */
	pthread_cond_t some;
	struct tf_list jobs;
	bool stop;
	bool busy;            /* a start that died is being told */
	_Atomic uint64_t keep_ms, most; /* as the configuration in force says */
	char dir[SP_PATH_MAX];
	/* the keeper's own */
	uint64_t looked, found; /* tf_mono_ms */
	bool former;          /* the starts that were settled before ours have been named */
};

/* ---- jobs and results -------------------------------------------------------------------------- */

static void
gw_job_free(struct gw_job *j)
{
	if (j->kind == GW_JOB_SYNC && j->seg != NULL)
		atomic_fetch_sub(&j->seg->refs, 1);
	else
		sp_seg_close(&j->seg);
	sp_left_free(&j->left);
	free(j);
}

static void
gw_job_give(struct gw_keeper *k, struct gw_job *j)
{
	pthread_mutex_lock(&k->lock);
	tf_list_append(&k->jobs, &j->node);
	pthread_cond_signal(&k->some);
	pthread_mutex_unlock(&k->lock);
}

static struct gw_job *
gw_job_new(enum gw_job_kind kind, struct gw_thread *t)
{
	struct gw_job *j = calloc(1, sizeof *j);

	if (j != NULL)
		*j = (struct gw_job){ .kind = kind, .t = t };
	return j;
}

static struct gw_job *
gw_mail_next(struct gw_thread *t)
{
	struct gw_keeper *k = t->gw->keeper;
	struct tf_node *e;

	pthread_mutex_lock(&k->lock);
	e = tf_list_pop(&t->mail);
	pthread_mutex_unlock(&k->lock);
	return e != NULL ? TF_CONTAINER(e, struct gw_job, node) : NULL;
}

/* In the thread's loop. */
static void
gw_mail_read(void *arg)
{
	struct gw_thread *t = arg;
	struct gw_job *j;

	while ((j = gw_mail_next(t)) != NULL) {
		switch (j->kind) {
		case GW_JOB_MAKE:
			t->making = false;
			if (j->seg != NULL)
				sp_writer_give(&t->spool, j->seg);
			j->seg = NULL;
			break;
		case GW_JOB_SYNCED:
			t->syncing = false;
			gw_spool_synced(t, j->ticket);
			break;
		case GW_JOB_LEFT:
			gw_left_start(t, j->left);
			j->left = NULL;
			break;
		case GW_JOB_FORMER:
			gw_left_former(t, j->head.name, j->head.boot);
			break;
		default:
			break;
		}
		gw_job_free(j);
	}
}

static void
gw_mail_send(struct gw_keeper *k, struct gw_job *j)
{
	struct gw_thread *t = j->t;

	pthread_mutex_lock(&k->lock);
	tf_list_append(&t->mail, &j->node);
	pthread_mutex_unlock(&k->lock);
	/* without memory it is found with the next one */
	(void)!ev_post(t->loop, gw_mail_read, t);
}

/* ---- the keeper's thread ----------------------------------------------------------------------- */

static void
gw_keeper_make(struct gw_keeper *k, struct gw_job *j)
{
	uint64_t size = j->head.size, max = atomic_load(&k->most), most = max > size ? max - size : 0;
	struct sp_sizes s;
	int rc = sp_dir_sizes(k->dir, &s);

	if (rc == 0 && s.bytes > most) {
		sp_dir_drop(k->dir, atomic_load(&k->keep_ms), most);
		rc = sp_dir_sizes(k->dir, &s);
	}
	if (rc == 0)
		rc = s.bytes > most ? TF_E_FULL : sp_seg_create(k->dir, &j->head, &j->seg);
	if (rc == TF_E_FULL && s.done > 0) {
		/* the disk is full before the limit is: what nobody needs makes room */
		sp_dir_drop(k->dir, 0, 0);
		rc = sp_seg_create(k->dir, &j->head, &j->seg);
	}
	if (rc != 0 && rc != TF_E_FULL) {
		tf_metric_add(TF_M_GW_SPOOL_FAILURES, 1);
		tf_log(TF_ERROR, "spool", NULL, "cannot make a segment dir=%s error=%s errno=%d", tf_log_q(tf_cspan(k->dir)),
		    tf_err_text(rc), errno);
	}
	gw_mail_send(k, j);
}

static void
gw_keeper_job(struct gw_keeper *k, struct gw_job *j)
{
	switch (j->kind) {
	case GW_JOB_MAKE:
		gw_keeper_make(k, j);
		return;
	case GW_JOB_SYNC:
		if (sp_seg_sync(j->seg) != 0) {
			tf_metric_add(TF_M_GW_SPOOL_FAILURES, 1);
			tf_log(TF_ERROR, "spool", NULL, "cannot sync a segment file=%s errno=%d", tf_log_q(tf_cspan(j->seg->path)),
			    errno);
		}
		break;
	case GW_JOB_SYNCED:
		gw_mail_send(k, j);
		return;
	case GW_JOB_DONE:
		sp_seg_done(&j->seg);
		break;
	case GW_JOB_SETTLED:
		sp_left_done(&j->left);
		pthread_mutex_lock(&k->lock);
		k->busy = false;
		k->found = 0; /* there may be another one */
		pthread_mutex_unlock(&k->lock);
		break;
	default:
		break;
	}
	gw_job_free(j);
}

static void
gw_keeper_former(void *arg, const char *name, uint64_t boot)
{
	struct gw_keeper *k = arg;
	struct gw_job *j = gw_job_new(GW_JOB_FORMER, &k->gw->threads[0]);

	if (j == NULL)
		return;
	j->head.boot = boot;
	memcpy(j->head.name, name, strlen(name) + 1);
	gw_mail_send(k, j);
}

static void
gw_keeper_find(struct gw_keeper *k)
{
	struct gw_job *j = gw_job_new(GW_JOB_LEFT, &k->gw->threads[0]);
	int rc = j != NULL ? sp_left_find(k->dir, &j->left) : TF_E_NOMEM;

	if (rc == 0) {
		k->busy = true;
		gw_mail_send(k, j);
		return;
	}
	if (rc != TF_E_NOENT) {
		tf_metric_add(TF_M_GW_SPOOL_FAILURES, 1);
		tf_log(TF_ERROR, "spool", NULL, "cannot read what a former start left dir=%s error=%s", tf_log_q(tf_cspan(k->dir)),
		    tf_err_text(rc));
	}
	free(j);
}

static void
gw_keeper_metrics(const struct gw_keeper *k)
{
	uint64_t now = tf_mono_ms(), oldest = 0, full = 0;
	struct sp_sizes s;

	for (unsigned i = 0; i < k->gw->nthreads; i++) {
		const struct gw_thread *t = &k->gw->threads[i];
		uint64_t at = atomic_load_explicit(&t->oldest, memory_order_relaxed);

		full += atomic_load_explicit(&t->full, memory_order_relaxed);
		if (at != 0 && now - at > oldest)
			oldest = now - at;
	}
	tf_metric_set(TF_M_GW_SPOOL_OLDEST, oldest / 1000);
	tf_metric_set(TF_M_GW_SPOOL_FULL, full);
	if (sp_dir_sizes(k->dir, &s) != 0)
		return;
	tf_metric_set(TF_M_GW_SPOOL_BYTES, s.bytes);
	tf_metric_set(TF_M_GW_SPOOL_QUARANTINED, s.bad);
}

static void
gw_keeper_look(struct gw_keeper *k)
{
	uint64_t now = tf_mono_ms();

	if (k->looked != 0 && now - k->looked < GW_KEEPER_LOOK_MS)
		return;
	k->looked = now;
	sp_dir_drop(k->dir, atomic_load(&k->keep_ms), UINT64_MAX);
	gw_keeper_metrics(k);
	if (!k->former) {
		k->former = true;
		sp_dir_settled(k->dir, gw_keeper_former, k);
	}
	if (!k->busy && (k->found == 0 || now - k->found >= GW_KEEPER_FIND_MS)) {
		k->found = now;
		gw_keeper_find(k);
	}
}

static void *
gw_keeper_main(void *arg)
{
	struct gw_keeper *k = arg;
	struct tf_node *e;
	struct timespec at;

	pthread_mutex_lock(&k->lock);
	while (!k->stop) {
		e = tf_list_pop(&k->jobs);
		if (e == NULL) {
			clock_gettime(CLOCK_MONOTONIC, &at);
			at.tv_nsec += GW_TICK_MS * 1000000;
			at.tv_sec += at.tv_nsec / 1000000000;
			at.tv_nsec %= 1000000000;
			(void)pthread_cond_timedwait(&k->some, &k->lock, &at);
			e = tf_list_pop(&k->jobs);
		}
		pthread_mutex_unlock(&k->lock);
		if (e != NULL)
			gw_keeper_job(k, TF_CONTAINER(e, struct gw_job, node));
		gw_keeper_look(k);
		pthread_mutex_lock(&k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

/* ---- from the other threads --------------------------------------------------------------------- */

void
gw_keeper_want(struct gw_thread *t)
{
	struct sp_head head;
	struct gw_job *j;

	if (t->making || t->gw->keeper == NULL || !sp_writer_wants(&t->spool, &head))
		return;
	j = gw_job_new(GW_JOB_MAKE, t);
	if (j == NULL)
		return; /* the tick asks again */
	j->head = head;
	t->making = true;
	gw_job_give(t->gw->keeper, j);
}

void
gw_keeper_sync(struct gw_thread *t, uint64_t ticket)
{
	struct tf_node *e, *tmp;
	struct gw_job *j;

	TF_LIST_EACH(&t->spool.segs, e, tmp) {
		struct sp_seg *s = TF_CONTAINER(e, struct sp_seg, node);

		if (!atomic_load(&s->dirty) || (j = gw_job_new(GW_JOB_SYNC, t)) == NULL)
			continue;
		atomic_fetch_add(&s->refs, 1);
		j->seg = s;
		gw_job_give(t->gw->keeper, j);
	}
	if (ticket == 0)
		return;
	j = gw_job_new(GW_JOB_SYNCED, t);
	if (j == NULL) {
		gw_spool_synced(t, ticket); /* the syncs are under way: better than to wait for ever */
		return;
	}
	j->ticket = ticket;
	t->syncing = true;
	gw_job_give(t->gw->keeper, j);
}

void
gw_keeper_done(struct gw_thread *t, struct sp_seg *seg)
{
	struct gw_job *j = gw_job_new(GW_JOB_DONE, t);

	if (j == NULL) {
		sp_seg_done(&seg);
		return;
	}
	j->seg = seg;
	gw_job_give(t->gw->keeper, j);
}

void
gw_keeper_settled(struct gw_thread *t, struct sp_left *left)
{
	struct gw_job *j = gw_job_new(GW_JOB_SETTLED, t);

	if (j == NULL) {
		sp_left_done(&left); /* the keeper finds no other one until the next start */
		return;
	}
	j->left = left;
	gw_job_give(t->gw->keeper, j);
}

/* ---- life ---------------------------------------------------------------------------------------- */

static void
gw_keeper_conf(struct gw_keeper *k, const struct conf_gatewayd *c)
{
	atomic_store(&k->keep_ms, c->spool_keep);
	atomic_store(&k->most, c->spool_max);
}

void
gw_keeper_reload(struct gw *gw)
{
	gw_keeper_conf(gw->keeper, &gw->conf->c->gatewayd);
}

int
gw_keeper_new(struct gw *gw)
{
	const struct conf_gatewayd *c = &gw->conf->c->gatewayd;
	struct gw_keeper *k = calloc(1, sizeof *k);
	pthread_condattr_t attr;

	if (k == NULL)
		return TF_E_NOMEM;
	if (strlen(c->spool_dir) >= sizeof k->dir || (mkdir(c->spool_dir, 0750) != 0 && errno != EEXIST)) {
		tf_log(TF_ERROR, "spool", NULL, "cannot make the spool's directory dir=%s error=%s",
		    tf_log_q(tf_cspan(c->spool_dir)), strerror(errno));
		free(k);
		return TF_E_IO;
	}
	memcpy(k->dir, c->spool_dir, strlen(c->spool_dir) + 1);
	k->gw = gw;
	tf_list_init(&k->jobs);
	gw_keeper_conf(k, c);
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->some, &attr);
	pthread_condattr_destroy(&attr);
	gw->keeper = k;
	return 0;
}

int
gw_keeper_start(struct gw *gw)
{
	sigset_t all, before;

	/* signals are the main thread's: here one would break off the making of a segment */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	gw->keeper->running = pthread_create(&gw->keeper->tid, NULL, gw_keeper_main, gw->keeper) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return gw->keeper->running ? 0 : TF_E_IO;
}

void
gw_keeper_stop(struct gw *gw)
{
	struct gw_keeper *k = gw->keeper;
	struct tf_node *e;
	struct gw_job *j;

	if (k == NULL)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->some);
	pthread_mutex_unlock(&k->lock);
	if (k->running)
		pthread_join(k->tid, NULL);
	k->running = false;
	while ((e = tf_list_pop(&k->jobs)) != NULL) {
		j = TF_CONTAINER(e, struct gw_job, node);
		if (j->kind == GW_JOB_DONE)
			sp_seg_done(&j->seg);
		else if (j->kind == GW_JOB_SETTLED)
			sp_left_done(&j->left);
		gw_job_free(j);
	}
	for (unsigned i = 0; i < gw->nthreads; i++)
		while ((j = gw_mail_next(&gw->threads[i])) != NULL)
			gw_job_free(j);
}

void
gw_keeper_free(struct gw *gw)
{
	if (gw->keeper == NULL)
		return;
	pthread_mutex_destroy(&gw->keeper->lock);
	pthread_cond_destroy(&gw->keeper->some);
	free(gw->keeper);
	gw->keeper = NULL;
}
