/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of the database while it is in use, and the check of such a file. Both may take long: they run
 * on the store's aside lane, which holds one view of the data while writers go on, and look between
 * their steps whether the store is to end.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/db/sqlite.h"

#define STEP_PAGES 128    /* copied at a time */
#define STEP_PAUSE_NS 500000 /* then others may have the disk */
#define CHECK_OPS 20000   /* virtual machine steps between two looks at the stop */

static int
say(int rc, char *why, size_t size, const char *what, const char *reason)
{
	snprintf(why, size, "%s: %s", what, reason);
	return rc;
}

static int
say_db(sqlite3 *db, int rc, char *why, size_t size, const char *what)
{
	int err = db_err(rc) == TF_E_INVAL || db_err(rc) == 0 ? TF_E_IO : db_err(rc);

	return say(err, why, size, what, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

static int
on_progress(void *lane)
{
	return db_lane_stops(lane);
}

/* ---- the check -------------------------------------------------------------------------------- */

int
db_look_int(sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	*out = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : rc;
}

/* A pragma that says nothing, or "ok", when all is well. */
static int
well(sqlite3 *db, const char *sql, const char *bad, char *why, size_t size)
{
	sqlite3_stmt *stmt = NULL;
	const char *said = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		said = (const char *)sqlite3_column_text(stmt, 0);
		if (said == NULL || strcmp(said, "ok") != 0)
			rc = say(TF_E_STATE, why, size, bad, said != NULL ? said : "a row");
		else
			rc = 0;
	} else if (rc == SQLITE_DONE) {
		rc = 0;
	} else {
		rc = say_db(db, rc, why, size, bad);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int
look(const struct db_lane *lane, sqlite3 *db, struct db_copied *out, char *why, size_t size)
{
	const struct db_schema *schema = lane->store->schema;
	int64_t id = 0, pages = 0, bytes = 0;
	int rc;

	if ((rc = db_look_int(db, "PRAGMA application_id", &id)) != 0 ||
	    (rc = db_look_int(db, "PRAGMA user_version", &out->version)) != 0 ||
	    (rc = db_look_int(db, "PRAGMA page_count", &pages)) != 0 || (rc = db_look_int(db, "PRAGMA page_size", &bytes)) != 0)
		return say_db(db, rc, why, size, "it cannot be read");
	if (id != schema->application_id) {
		snprintf(why, size, "it is no database of %s", schema->owner);
		return TF_E_STATE;
	}
	if (out->version < 1 || (uint64_t)out->version > schema->n_migrations) {
		snprintf(why, size, "its schema is version %" PRId64 ", newer than this program's %zu", out->version,
		    schema->n_migrations);
		return TF_E_STATE;
	}
	out->bytes = (uint64_t)(pages * bytes);
	out->current = (uint64_t)out->version == schema->n_migrations;
	rc = well(db, "PRAGMA integrity_check(1)", "it is damaged", why, size);
	return rc != 0 ? rc : well(db, "PRAGMA foreign_key_check", "a row refers to one that is missing, in table", why, size);
}

int
db_inspect(struct db_lane *lane, const char *path, struct db_copied *out, db_inspect_fn *more, char *why, size_t size)
{
	sqlite3 *db = NULL;
	int rc;

	memset(out, 0, sizeof *out);
	if (access(path, R_OK) != 0)
		return say(errno == ENOENT ? TF_E_NOENT : TF_E_IO, why, size, path, strerror(errno));
	rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (rc != SQLITE_OK) {
		rc = say_db(db, rc, why, size, "it cannot be opened");
	} else {
		sqlite3_progress_handler(db, CHECK_OPS, on_progress, lane);
		rc = look(lane, db, out, why, size);
		if (rc == 0 && more != NULL)
			rc = more(db, out, why, size);
	}
	sqlite3_close(db);
	if (rc != 0 && db_lane_stops(lane))
		snprintf(why, size, "the daemon is ending");
	return rc;
}

/* ---- the copy --------------------------------------------------------------------------------- */

static int
copy_pages(struct db_lane *lane, sqlite3 *to, char *why, size_t size)
{
	const struct timespec pause = { 0, STEP_PAUSE_NS };
	sqlite3_backup *b;
	int rc;

	b = sqlite3_backup_init(to, "main", lane->db, "main");
	if (b == NULL)
		return say_db(to, sqlite3_extended_errcode(to), why, size, "the copy cannot begin");
	while ((rc = sqlite3_backup_step(b, STEP_PAGES)) == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED) {
		if (db_lane_stops(lane)) {
			rc = SQLITE_INTERRUPT;
			break;
		}
		nanosleep(&pause, NULL);
	}
	(void)sqlite3_backup_finish(b);
	if (rc == SQLITE_DONE)
		return 0;
	return say(db_err(rc) == 0 ? TF_E_IO : db_err(rc), why, size, "the copy broke off", sqlite3_errstr(rc));
}

/* One view of the data from the first page to the last: what is written meanwhile is not in it, and never restarts it. */
static int
copy_view(struct db_lane *lane, sqlite3 *to, char *why, size_t size)
{
	int64_t unused;
	int rc = sqlite3_exec(lane->db, "BEGIN", NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		rc = db_look_int(lane->db, "SELECT count(*) FROM sqlite_schema", &unused);
	rc = rc == SQLITE_OK ? copy_pages(lane, to, why, size) : say_db(lane->db, rc, why, size, "the database cannot be read");
	(void)sqlite3_exec(lane->db, "COMMIT", NULL, NULL, NULL);
	return rc;
}

/* The file is new and ours: it needs no journal of its own until it is whole. */
static int
copy_into(struct db_lane *lane, const char *part, char *why, size_t size)
{
	sqlite3 *to = NULL;
	int rc = sqlite3_open_v2(part, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(to, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", NULL, NULL, NULL);
	rc = rc == SQLITE_OK ? copy_view(lane, to, why, size) : say_db(to, rc, why, size, part);
	/* a file that is read alone, without the two beside it that write-ahead logging needs */
	if (rc == 0 && (rc = sqlite3_exec(to, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL)) != SQLITE_OK)
		rc = say_db(to, rc, why, size, part);
	sqlite3_close(to);
	return rc;
}

static int
sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

/* Under its name only when it is whole and on disk; a file that came to be meanwhile stays. */
static int
publish(const char *part, const char *path, char *why, size_t size)
{
	char dir[4096];
	char *slash;

	if (sync_path(part, O_RDONLY) != 0)
		return say(TF_E_IO, why, size, part, strerror(errno));
	if (link(part, path) != 0)
		return say(errno == EEXIST ? TF_E_EXIST : TF_E_IO, why, size, path, strerror(errno));
	(void)unlink(part);
	snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL || slash == dir)
		snprintf(dir, sizeof dir, "%s", slash == NULL ? "." : "/");
	else
		*slash = '\0';
	return sync_path(dir, O_RDONLY | O_DIRECTORY) == 0 ? 0 : say(TF_E_IO, why, size, dir, strerror(errno));
}

int
db_copy(struct db_lane *lane, const char *path, struct db_copied *out, char *why, size_t size)
{
	char part[4096];
	struct stat st;
	int fd, rc;

	memset(out, 0, sizeof *out);
	if ((size_t)snprintf(part, sizeof part, "%s.partial", path) >= sizeof part)
		return say(TF_E_RANGE, why, size, "the path", "too long");
	if (lstat(path, &st) == 0)
		return say(TF_E_EXIST, why, size, path, "it exists already");
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return say(errno == EEXIST ? TF_E_EXIST : TF_E_IO, why, size, part, strerror(errno));
	(void)fchmod(fd, 0600);
	close(fd);
	rc = copy_into(lane, part, why, size);
	if (rc == 0)
		rc = db_inspect(lane, part, out, NULL, why, size);
	if (rc == 0)
		rc = publish(part, path, why, size);
	if (rc != 0)
		(void)unlink(part);
	if (rc != 0 && db_lane_stops(lane))
		snprintf(why, size, "the daemon is ending");
	return rc;
}

/* ---- room that is given back ------------------------------------------------------------------- */

int
db_give_back(struct db_lane *lane, uint64_t keep, uint64_t pages, uint64_t *left)
{
	int64_t mode = 0, n = 0;
	char sql[64];
	int rc;

	*left = 0;
	rc = db_look_int(lane->db, "PRAGMA auto_vacuum", &mode);
	if (rc == SQLITE_OK)
		rc = db_look_int(lane->db, "PRAGMA freelist_count", &n);
	if (rc != SQLITE_OK || mode != 2 || (uint64_t)n <= keep) /* 2: incremental, as every file that we make */
		return db_err(rc);
	if ((uint64_t)n - keep < pages)
		pages = (uint64_t)n - keep;
	snprintf(sql, sizeof sql, "PRAGMA incremental_vacuum(%" PRIu64 ")", pages);
	*left = (uint64_t)n - keep - pages;
	return db_err(sqlite3_exec(lane->db, sql, NULL, NULL, NULL));
}
