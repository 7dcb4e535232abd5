/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of all that is kept, while it is in use: the database as it was at one moment, and the files that it names then.
 * Files never change, and from before that moment to the end none is removed, so what the copy names is there to be
 * copied. Where the file system allows it a file is linked: that takes no room until the original is removed. The copy is
 * made under another name, and gets its own when it is whole and on disk. Runs on the store's lane for what takes long.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stored/sqlite.h"

#define CHUNK (1u << 20)

static const char *
stmt_text(enum st_stmt s)
{
	return st_schema.stmts[s].text;
}

static int
say(struct st_backup *b, int rc, const char *what, const char *reason)
{
	snprintf(b->why, sizeof b->why, "%.340s: %.160s", what, reason);
	return rc;
}

static int
say_errno(struct st_backup *b, const char *path)
{
	switch (errno) {
	case ENOENT:
		return say(b, TF_E_NOENT, path, strerror(errno));
	case EEXIST:
	case ENOTEMPTY:
		return say(b, TF_E_EXIST, path, strerror(errno));
	case ENOSPC:
	case EDQUOT:
		return say(b, TF_E_FULL, path, strerror(errno));
	default:
		return say(b, TF_E_IO, path, strerror(errno));
	}
}

/* ---- files ------------------------------------------------------------------------------------- */

static int
copy_bytes(struct db_lane *lane, int from, int to)
{
	char *buf = malloc(CHUNK);
	ssize_t n = 0, k = 0;

	if (buf == NULL) {
		errno = ENOMEM;
		return -1;
	}
	while (k >= 0 && (n = read(from, buf, CHUNK)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || db_lane_stops(lane))
			break;
		for (ssize_t at = 0; at < n && k >= 0; at += k) {
			k = write(to, buf + at, (size_t)(n - at));
			if (k < 0 && errno == EINTR)
				k = 0;
		}
	}
	free(buf);
	if (n > 0 && k >= 0)
		errno = EINTR; /* the store is to end */
	return n == 0 && k >= 0 ? fsync(to) : -1;
}

/* 0, or -1 and errno. */
static int
copy_file(struct db_lane *lane, const char *from, const char *to)
{
	int in, out, rc = -1, err;

	if (link(from, to) == 0)
		return 0;
	if (errno == ENOENT || errno == EEXIST)
		return -1;
	in = open(from, O_RDONLY | O_CLOEXEC);
	out = in >= 0 ? open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
	if (out >= 0)
		rc = copy_bytes(lane, in, out);
	err = errno;
	if (out >= 0 && close(out) != 0 && rc == 0) {
		err = errno;
		rc = -1;
	}
	if (in >= 0)
		close(in);
	errno = err;
	return rc;
}

/* Calls fn for each file that the database of a copy names, until one fails. */
struct walk {
	struct db_lane *lane;
	struct st_backup *b;
	const char *blobs; /* of the copy */
	int (*fn)(struct walk *w, const char *name, uint64_t bytes);
};

static int
walk(struct walk *w, sqlite3 *db)
{
	sqlite3_stmt *q = NULL;
	int rc = sqlite3_prepare_v2(db, stmt_text(ST_S_COPY_FILES), -1, &q, NULL), err = 0;

	while (rc == SQLITE_OK || (err == 0 && rc == SQLITE_ROW)) {
		struct tf_id id;
		const char *name;

		rc = sqlite3_step(q);
		if (rc != SQLITE_ROW)
			break;
		name = (const char *)sqlite3_column_text(q, 0);
		/* a name that is none of ours leads nowhere */
		if (name == NULL || tf_id_parse(tf_cspan(name), &id) != 0)
			err = say(w->b, TF_E_STATE, "it is damaged", "a file that has no name of ours");
		else
			err = w->fn(w, name, (uint64_t)sqlite3_column_int64(q, 1));
		w->b->files++;
	}
	if (err == 0 && rc != SQLITE_DONE)
		err = say(w->b, TF_E_IO, "its files cannot be listed", sqlite3_errmsg(db));
	sqlite3_finalize(q);
	return err;
}

static int
have_file(struct walk *w, const char *name, uint64_t bytes)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", w->blobs, name);
	if (db_lane_stops(w->lane))
		return say(w->b, TF_E_IO, path, "the daemon is ending");
	if (stat(path, &st) != 0)
		return say(w->b, TF_E_STATE, path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes)
		return say(w->b, TF_E_STATE, path, "not of the size that its row says");
	w->b->bytes += bytes;
	return 0;
}

static int
take_file(struct walk *w, const char *name, uint64_t bytes)
{
	char from[4096], to[4096];

	if ((size_t)snprintf(from, sizeof from, "%s/%s", w->b->dir, name) >= sizeof from)
		return say(w->b, TF_E_RANGE, w->b->dir, "too long");
	snprintf(to, sizeof to, "%s/%s", w->blobs, name);
	if (copy_file(w->lane, from, to) != 0)
		return say_errno(w->b, from);
	return have_file(w, name, bytes);
}

/* ---- the check ---------------------------------------------------------------------------------- */

/* Beside the structure, which db_inspect has checked: the sums. */
static int
check_sums(sqlite3 *db, struct db_copied *copy, char *why, size_t size)
{
	int64_t wrong = 0;

	if (!copy->current)
		return 0; /* it may have other columns: what opens it migrates it first */
	if (db_look_int(db, stmt_text(ST_S_COPY_WRONG), &wrong) != SQLITE_OK) {
		snprintf(why, size, "its sums cannot be compared: %s", sqlite3_errmsg(db));
		return TF_E_IO;
	}
	if (wrong == 0)
		return 0;
	snprintf(why, size, "the room of %" PRId64 " workspaces is not that of their values", wrong);
	return TF_E_STATE;
}

static int
each_file(struct db_lane *lane, struct st_backup *b, const char *dir, int (*fn)(struct walk *w, const char *name, uint64_t bytes))
{
	char database[4096], blobs[4096];
	struct walk w = { lane, b, blobs, fn };
	sqlite3 *db = NULL;
	int rc;

	snprintf(database, sizeof database, "%s/" ST_COPY_DATABASE, dir);
	snprintf(blobs, sizeof blobs, "%s/" ST_COPY_BLOBS, dir);
	rc = sqlite3_open_v2(database, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	rc = rc == SQLITE_OK ? walk(&w, db) : say(b, TF_E_IO, database, sqlite3_errstr(rc));
	sqlite3_close(db);
	return rc;
}

static int
verify(struct db_lane *lane, struct st_backup *b)
{
	char database[4096];
	struct db_copied copy;
	int rc;

	snprintf(database, sizeof database, "%s/" ST_COPY_DATABASE, b->path);
	rc = db_inspect(lane, database, &copy, check_sums, b->why, sizeof b->why);
	b->bytes = copy.bytes;
	b->version = copy.version;
	return rc == 0 ? each_file(lane, b, b->path, have_file) : rc;
}

/* ---- the copy ----------------------------------------------------------------------------------- */

/* Removes what a copy that failed has left. Only names that we give. */
static void
discard(const char *dir)
{
	char path[4096];
	struct dirent *e;
	struct tf_id id;
	DIR *d;

	snprintf(path, sizeof path, "%s/" ST_COPY_BLOBS, dir);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (tf_id_parse(tf_cspan(e->d_name), &id) == 0)
			(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	(void)rmdir(path);
	snprintf(path, sizeof path, "%s/" ST_COPY_DATABASE, dir);
	(void)unlink(path);
	(void)rmdir(dir);
}

static int
fill(struct db_lane *lane, struct st_backup *b, const char *part)
{
	char path[4096];
	struct db_copied copy;
	int rc;

	snprintf(path, sizeof path, "%s/" ST_COPY_DATABASE, part);
	st_files_pin(1);
	rc = db_copy(lane, path, &copy, b->why, sizeof b->why);
	b->bytes = copy.bytes;
	b->version = copy.version;
	snprintf(path, sizeof path, "%s/" ST_COPY_BLOBS, part);
	if (rc == 0 && mkdir(path, 0700) != 0)
		rc = say_errno(b, path);
	if (rc == 0)
		rc = each_file(lane, b, part, take_file);
	st_files_pin(-1);
	if (rc == 0 && (st_dir_sync(path) != 0 || st_dir_sync(part) != 0))
		rc = say_errno(b, path);
	return rc;
}

/* Under its name only when it is whole; what came to be there meanwhile stays. */
static int
publish(struct st_backup *b, const char *part)
{
	char parent[4096];
	char *slash;

	if (renameat2(AT_FDCWD, part, AT_FDCWD, b->path, RENAME_NOREPLACE) != 0)
		return say_errno(b, b->path);
	snprintf(parent, sizeof parent, "%s", b->path);
	slash = strrchr(parent, '/');
	if (slash == NULL || slash == parent)
		snprintf(parent, sizeof parent, "%s", slash == NULL ? "." : "/");
	else
		*slash = '\0';
	return st_dir_sync(parent) == 0 ? 0 : say_errno(b, parent);
}

static int
copy(struct db_lane *lane, struct st_backup *b)
{
	char part[sizeof b->path + 16];
	struct stat st;
	int rc;

	if (lstat(b->path, &st) == 0)
		return say(b, TF_E_EXIST, b->path, "it exists already");
	snprintf(part, sizeof part, "%s.partial", b->path);
	if (mkdir(part, 0700) != 0) {
		rc = say_errno(b, part);
		return rc == TF_E_NOENT ? TF_E_IO : rc;
	}
	rc = fill(lane, b, part);
	if (rc == 0)
		rc = publish(b, part);
	if (rc != 0)
		discard(part);
	return rc;
}

int
st_op_backup(struct db_lane *lane, struct st_backup *b)
{
	int rc = b->verify ? verify(lane, b) : copy(lane, b);

	if (rc != 0 && db_lane_stops(lane))
		snprintf(b->why, sizeof b->why, "the daemon is ending");
	return rc;
}
