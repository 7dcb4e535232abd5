/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings a database file to the schema of this program: forward only, one transaction a
 * step, never a file that is newer or not ours. Called when the SQLite store opens.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/db/sqlite.h"

static int
get_int(sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW ? 0 : db_err(rc);
}

static int
trouble(sqlite3 *db, int rc, const char *what, char *why, size_t size)
{
	snprintf(why, size, "%s: %s", what, sqlite3_errmsg(db));
	return rc;
}

static int
run(sqlite3 *db, const char *sql, const char *what, char *why, size_t size)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return trouble(db, db_err(sqlite3_extended_errcode(db)), what, why, size);
}

/* Ours, or empty? */
static int
check_owner(sqlite3 *db, int32_t application, int64_t version, char *why, size_t size)
{
	int64_t id = 0, tables = 0;
	int rc;

	if ((rc = get_int(db, "PRAGMA application_id", &id)) != 0 ||
	    (rc = get_int(db, "SELECT count(*) FROM sqlite_schema", &tables)) != 0)
		return trouble(db, rc, "cannot read the database", why, size);
	if (id == application || (id == 0 && version == 0 && tables == 0))
		return 0;
	snprintf(why, size, "this is the database of another program");
	return TF_E_STATE;
}

static int
backup(sqlite3 *db, const char *path, int64_t version, char *why, size_t size)
{
	char copy[4096];
	sqlite3_stmt *stmt = NULL;
	int rc, fd;

	snprintf(copy, sizeof copy, "%s.before-%" PRId64 ".%" PRId64, path, version + 1, tf_wall_s());
	/* made here, empty, so that nobody else can read it */
	fd = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		snprintf(why, size, "%s: %s", copy, strerror(errno));
		return TF_E_IO;
	}
	close(fd);
	rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, copy, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		trouble(db, 0, "cannot make a copy before the migration", why, size);
	sqlite3_finalize(stmt);
	if (rc != SQLITE_DONE)
		return db_err(rc) != 0 ? db_err(rc) : TF_E_IO;
	tf_log(TF_INFO, "store", NULL, "database copied before its migration file=%s", copy);
	return 0;
}

static int
apply(sqlite3 *db, int32_t application, const struct db_migration *m, char *why, size_t size)
{
	char what[128], tail[128];
	int rc;

	snprintf(what, sizeof what, "migration %d (%s) failed", m->number, m->name);
	snprintf(tail, sizeof tail, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", (int)application,
	    m->number);
	rc = run(db, "BEGIN IMMEDIATE", what, why, size);
	if (rc == 0)
		rc = run(db, m->text, what, why, size);
	if (rc == 0)
		rc = run(db, tail, what, why, size);
	if (rc != 0 && !sqlite3_get_autocommit(db))
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return rc;
}

int
db_migrate(sqlite3 *db, const char *path, const struct db_schema *schema, char *why, size_t size)
{
	const struct db_migration *m = schema->migrations;
	size_t n = schema->n_migrations;
	int64_t version = 0;
	int rc;

	rc = get_int(db, "PRAGMA user_version", &version);
	if (rc != 0)
		return trouble(db, rc, "cannot read the database", why, size);
	rc = check_owner(db, schema->application_id, version, why, size);
	if (rc != 0)
		return rc;
	if (version < 0 || (uint64_t)version > n) {
		snprintf(why, size, "its schema is version %" PRId64 ", newer than this program's %zu: "
		    "install the program that wrote it", version, n);
		return TF_E_STATE;
	}
	if (version > 0 && (uint64_t)version < n)
		rc = backup(db, path, version, why, size);
	for (size_t i = (size_t)version; i < n && rc == 0; i++) {
		rc = apply(db, schema->application_id, &m[i], why, size);
		if (rc == 0)
			tf_log(TF_INFO, "store", NULL, "schema migrated number=%d name=%s", m[i].number, m[i].name);
	}
	return rc;
}
