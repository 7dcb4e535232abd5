/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite store: a writing and a reading connection, and one for what takes long, each with a thread. The writer
 * carries out all that waits in one transaction (group commit); each batch in it that can be undone alone has a
 * savepoint. What an operation does is the daemon's, see struct db_schema.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/db/sqlite.h"

#define GROUP_MAX 64 /* batches in one transaction */

bool
db_fatal(int rc)
{
	return rc == TF_E_FULL || rc == TF_E_IO || rc == TF_E_AGAIN || rc == TF_E_NOMEM;
}

static int
transact(struct db_lane *lane, enum db_tx t)
{
	static const char *const text[DB_TX_COUNT] = { "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "SAVEPOINT batch",
		"RELEASE batch", "ROLLBACK TO batch" };
	struct db_q q = { .lane = lane };

	if (lane->tx[t] == NULL)
		q.rc = sqlite3_prepare_v3(lane->db, text[t], -1, SQLITE_PREPARE_PERSISTENT, &lane->tx[t], NULL);
	q.stmt = lane->tx[t];
	return db_q_run(&q);
}

static void
drop(struct db_lane *lane)
{
	if (lane->store->schema->drop != NULL)
		lane->store->schema->drop(lane);
}

/* Those from at on that are done together, or the one at; returns how many. */
static size_t
run_next(struct db_lane *lane, struct db_batch *b, size_t at)
{
	const struct db_schema *schema = lane->store->schema;
	struct db_op *op = &b->ops[at];
	int n = b->lenient && schema->run_some != NULL ? schema->run_some(lane, op, b->n - at) : 0;

	if (n > 0)
		return (size_t)n;
	op->rc = schema->run(lane, op);
	return 1;
}

/* 0, or a fatal error; what concerns this batch alone goes to b->rc. */
static int
run_batch(struct db_lane *lane, struct db_batch *b)
{
	size_t done = 0;
	int rc = 0;

	b->rc = 0;
	for (size_t i = 0; i < b->n && b->rc == 0; i++) {
		if (i == done)
			done += run_next(lane, b, i);
		if (db_fatal(b->ops[i].rc))
			return b->ops[i].rc;
		if (!b->lenient)
			b->rc = b->ops[i].rc;
	}
	if (b->rc == 0 && lane->store->schema->flush != NULL)
		rc = lane->store->schema->flush(lane);
	drop(lane);
	return rc;
}

static int
run_saved(struct db_lane *lane, struct db_batch *b)
{
	int rc;

	/*
	 * Of a lenient one nothing is ever undone but with the whole transaction; a savepoint would have SQLite copy
	 * every page that it touches into a file of its own first.
	 */
	if (b->lenient)
		return run_batch(lane, b);
	rc = transact(lane, DB_TX_SAVE);
	if (rc == 0)
		rc = run_batch(lane, b);
	if (rc == 0 && b->rc != 0)
		rc = transact(lane, DB_TX_UNDO);
	if (rc == 0)
		rc = transact(lane, DB_TX_RELEASE);
	return rc;
}

static void
run_group(struct db_lane *lane, struct db_batch **group, size_t n)
{
	uint64_t start = tf_mono_ns();
	int rc = transact(lane, DB_TX_BEGIN);

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = run_saved(lane, group[i]);
	if (rc == 0)
		rc = transact(lane, DB_TX_COMMIT);
	if (rc != 0) {
		drop(lane);
		if (!sqlite3_get_autocommit(lane->db))
			(void)transact(lane, DB_TX_ROLLBACK);
	}
	if (lane->store->schema->settled != NULL)
		lane->store->schema->settled(lane, rc == 0);
	for (size_t i = 0; i < n; i++) {
		if (rc != 0)
			group[i]->rc = db_fatal(rc) ? rc : TF_E_IO;
		group[i]->busy_ns = tf_mono_ns() - start;
	}
}

static void
run_reads(struct db_lane *lane, struct db_batch **group, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* one view of the data for all statements of a batch */
		int rc = transact(lane, DB_TX_READ);

		if (rc == 0)
			rc = run_batch(lane, group[i]);
		if (!sqlite3_get_autocommit(lane->db))
			(void)transact(lane, DB_TX_COMMIT);
		if (rc != 0)
			group[i]->rc = rc;
	}
}

/* In no transaction: an operation opens and ends its own. */
static void
run_aside(struct db_lane *lane, struct db_batch **group, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc = db_lane_stops(lane) ? TF_E_AGAIN : run_batch(lane, group[i]);

		if (rc != 0)
			group[i]->rc = rc;
	}
}

bool
db_lane_stops(struct db_lane *lane)
{
	bool stop;

	pthread_mutex_lock(&lane->lock);
	stop = lane->stop;
	pthread_mutex_unlock(&lane->lock);
	return stop;
}

static void *
lane_main(void *arg)
{
	struct db_lane *lane = arg;
	struct db_batch *group[GROUP_MAX];

	for (;;) {
		size_t n = 0;

		pthread_mutex_lock(&lane->lock);
		while (lane->queue.n == 0 && !lane->stop)
			pthread_cond_wait(&lane->wake, &lane->lock);
		while (n < GROUP_MAX && lane->queue.n > 0)
			group[n++] = TF_CONTAINER(tf_list_pop(&lane->queue), struct db_batch, node);
		pthread_mutex_unlock(&lane->lock);
		if (n == 0)
			return NULL;
		if (lane == &lane->store->aside)
			run_aside(lane, group, n);
		else if (lane->reads)
			run_reads(lane, group, n);
		else
			run_group(lane, group, n);
		for (size_t i = 0; i < n; i++)
			db_store_finished(&lane->store->base, group[i]);
	}
}

static void
sqlite_submit(struct db_store *s, struct db_batch *b)
{
	struct db_sqlite *db = TF_CONTAINER(s, struct db_sqlite, base);
	struct db_lane *lane = b->aside ? &db->aside : b->read ? &db->reader : &db->writer;

	pthread_mutex_lock(&lane->lock);
	tf_list_append(&lane->queue, &b->node);
	pthread_cond_signal(&lane->wake);
	pthread_mutex_unlock(&lane->lock);
}

static const char *
lane_name(const struct db_lane *lane)
{
	return lane == &lane->store->writer ? "writer" : lane == &lane->store->reader ? "reader" : "aside";
}

static void
lane_stop(struct db_lane *lane)
{
	int rc;

	if (lane->running) {
		pthread_mutex_lock(&lane->lock);
		lane->stop = true;
		pthread_cond_signal(&lane->wake);
		pthread_mutex_unlock(&lane->lock);
		pthread_join(lane->thread, NULL);
		lane->running = false;
	}
	for (size_t i = 0; lane->stmt != NULL && i < lane->store->schema->n_stmts; i++)
		sqlite3_finalize(lane->stmt[i]);
	for (int i = 0; i < DB_TX_COUNT; i++)
		sqlite3_finalize(lane->tx[i]);
	if (lane->user != NULL && lane->store->schema->fini != NULL)
		lane->store->schema->fini(lane->user);
	free(lane->stmt);
	free(lane->user);
	rc = sqlite3_close(lane->db);
	if (rc != SQLITE_OK) /* a statement that nobody ended: the file stays open */
		tf_log(TF_ERROR, "store", NULL, "a connection to the database stays open lane=%s error=%s", lane_name(lane),
		    tf_log_q(tf_cspan(sqlite3_errstr(rc))));
	pthread_cond_destroy(&lane->wake);
	pthread_mutex_destroy(&lane->lock);
}

static void
sqlite_free(struct db_sqlite *db)
{
	lane_stop(&db->aside);
	lane_stop(&db->reader);
	lane_stop(&db->writer);
	db_store_reap(&db->base);
	pthread_cond_destroy(&db->base.more);
	pthread_mutex_destroy(&db->base.lock);
	if (db->lockfd >= 0)
		close(db->lockfd);
	free(db);
}

static void
sqlite_close(struct db_store *s)
{
	sqlite_free(TF_CONTAINER(s, struct db_sqlite, base));
}

static const struct db_store_vt vt = { "sqlite", sqlite_submit, sqlite_close };

/* Two processes on one file would each believe their memory: the second one is refused. */
static int
take_lock(struct db_sqlite *db, const char *path, char *why, size_t size)
{
	char lock[4096];
	int fd;

	snprintf(lock, sizeof lock, "%s.lock", path);
	db->lockfd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (db->lockfd < 0) {
		snprintf(why, size, "%s: %s", lock, strerror(errno));
		return TF_E_IO;
	}
	if (flock(db->lockfd, LOCK_EX | LOCK_NB) != 0) {
		snprintf(why, size, "another %s has it", db->schema->owner);
		return TF_E_EXIST;
	}
	/* made here, so that neither it nor what SQLite puts beside it is readable by others */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		snprintf(why, size, "%s", strerror(errno));
		return TF_E_IO;
	}
	close(fd);
	return 0;
}

static int
lane_open(struct db_lane *lane, const char *path, char *why, size_t size)
{
	bool reads = lane->reads;
	int flags = (reads ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	int rc = sqlite3_open_v2(path, &lane->db, flags, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(lane->db, 2000);
	if (rc == SQLITE_OK && !reads)
		rc = sqlite3_exec(lane->db, "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;"
		    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
		    "PRAGMA journal_size_limit = 16777216; PRAGMA cache_size = -8192", NULL, NULL, NULL);
	if (rc == SQLITE_OK && !reads && lane->store->schema->pragmas != NULL)
		rc = sqlite3_exec(lane->db, lane->store->schema->pragmas, NULL, NULL, NULL);
	if (rc == SQLITE_OK && lane->store->schema->functions != NULL)
		rc = lane->store->schema->functions(lane->db, lane->user);
	if (rc == SQLITE_OK)
		return 0;
	snprintf(why, size, "%s", lane->db != NULL ? sqlite3_errmsg(lane->db) : sqlite3_errstr(rc));
	return db_err(rc) == TF_E_INVAL ? TF_E_IO : db_err(rc);
}

/* Signals are the loop's. */
static int
lane_run(struct db_lane *lane)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&lane->thread, NULL, lane_main, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	lane->running = rc == 0;
	return rc == 0 ? 0 : TF_E_NOMEM;
}

static int
lane_init(struct db_lane *lane, struct db_sqlite *db, bool reads)
{
	lane->store = db;
	lane->reads = reads;
	tf_list_init(&lane->queue);
	pthread_mutex_init(&lane->lock, NULL);
	pthread_cond_init(&lane->wake, NULL);
	lane->stmt = calloc(db->schema->n_stmts + 1, sizeof *lane->stmt);
	lane->user = calloc(1, db->schema->user_size + 1);
	return lane->stmt != NULL && lane->user != NULL ? 0 : TF_E_NOMEM;
}

/* Nobody asks how much memory SQLite has; counting it takes a lock of the whole process in each of its allocations. */
static void
library_setup(void)
{
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* refused when SQLite runs already: no harm */
}

int
db_sqlite_open(const struct db_file *file, struct db_store **out, char *why, size_t size)
{
	const char *path = file->path;
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct db_sqlite *db = calloc(1, sizeof *db);
	int rc, rc2, rc3;

	if (db == NULL)
		return TF_E_NOMEM;
	pthread_once(&once, library_setup);
	db->lockfd = -1;
	db->schema = file->schema;
	db->base = (struct db_store){ .vt = &vt, .wake = file->wake, .wake_arg = file->wake_arg };
	tf_list_init(&db->base.done);
	pthread_mutex_init(&db->base.lock, NULL);
	pthread_cond_init(&db->base.more, NULL);
	rc = lane_init(&db->writer, db, false);
	rc2 = lane_init(&db->reader, db, true);
	rc3 = lane_init(&db->aside, db, true);
	if (rc == 0)
		rc = rc2 != 0 ? rc2 : rc3;
	if (rc == 0)
		rc = take_lock(db, path, why, size);
	if (rc == 0)
		rc = lane_open(&db->writer, path, why, size);
	if (rc == 0)
		rc = db_migrate(db->writer.db, path, file->schema, why, size);
	if (rc == 0)
		rc = lane_open(&db->reader, path, why, size);
	if (rc == 0)
		rc = lane_open(&db->aside, path, why, size);
	if (rc == 0 && ((rc = lane_run(&db->writer)) != 0 || (rc = lane_run(&db->reader)) != 0 || (rc = lane_run(&db->aside)) != 0))
		snprintf(why, size, "cannot start a thread");
	if (rc != 0) {
		sqlite_free(db);
		return rc;
	}
	*out = &db->base;
	return 0;
}
