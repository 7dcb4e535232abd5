/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of all that stored keeps, made while it works: rows and files of one moment, whatever is removed meanwhile; checked,
 * and gone back to.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "stored/sqlite.h"
#include "tests/stored/bed.h"

static struct tf_span
noise(size_t n, unsigned seed)
{
	static char bytes[300000];

	assert_true(n <= sizeof bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)((i + seed) * 2654435761u >> 13);
	return tf_span(bytes, n);
}

static void
done(struct db_batch *b, void *arg)
{
	*(int *)arg = b->rc == 0 ? 1 : b->rc;
	db_batch_free(&b);
}

/* Copies into bed's directory, or checks what is there. */
static int
run(struct bed *bed, struct st_backup *b, const char *name, bool verify)
{
	struct db_batch *batch;
	int rc = 0;

	memset(b, 0, sizeof *b);
	b->verify = verify;
	b->dir = bed->st->blob_dir;
	snprintf(b->path, sizeof b->path, "%s/%s", bed->dir, name);
	batch = db_batch_new(done, &rc);
	assert_non_null(batch);
	assert_int_equal(db_batch_add(batch, ST_OP_BACKUP, b), 0);
	batch->aside = true;
	db_store_submit(bed->st->store, batch);
	while (rc == 0)
		bed_turn(bed);
	return rc == 1 ? 0 : rc;
}

static void
shell(const char *fmt, const char *dir)
{
	char command[512];
	int status;
	pid_t pid;

	snprintf(command, sizeof command, fmt, dir, dir, dir, dir);
	pid = fork();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The value number i is there, whole. */
static void
is_there(struct bed *b, unsigned i, size_t n)
{
	char name[32];
	struct tf_span want = noise(n, i);

	snprintf(name, sizeof name, "v%u", i);
	assert_string_equal(bed_get(b, WIRE_KIND_IMAGE, i % 3, name), "");
	assert_int_equal(b->gw[0].body.n, n);
	assert_memory_equal(b->gw[0].body.p, want.p, n);
}

static void
put(struct bed *b, unsigned i, size_t n)
{
	char name[32];

	snprintf(name, sizeof name, "v%u", i);
	assert_string_equal(bed_put(b, WIRE_KIND_IMAGE, i % 3, name, noise(n, i)), "");
}

static void
drop(struct bed *b, unsigned i)
{
	char name[32];

	snprintf(name, sizeof name, "v%u", i);
	assert_string_equal(bed_drop(b, WIRE_KIND_IMAGE, i % 3, name), "");
}

static size_t
size_of(unsigned i)
{
	return i % 2 != 0 ? 5000 + 1000 * i : 100;
}

/* What was kept when it was made is there again, although nothing of it is kept any more. */
static void
test_there_and_back(void **state)
{
	struct st_backup b;
	struct stat st;
	char path[4200];
	struct bed bed;

	(void)state;
	bed_open(&bed, "blob-min = 1k");
	for (unsigned i = 0; i < 20; i++)
		put(&bed, i, size_of(i));
	assert_int_equal(run(&bed, &b, "copy", false), 0);
	assert_int_equal(b.files, 10);
	assert_true(b.bytes > 100000 && b.version >= 2);
	assert_int_equal(stat(b.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(path, sizeof path, "%s.partial", b.path);
	assert_int_equal(stat(path, &st), -1);
	for (unsigned i = 0; i < 20; i++)
		drop(&bed, i);
	assert_int_equal(bed_files(&bed), 0);
	put(&bed, 20, 7000);
	assert_int_equal(run(&bed, &b, "copy", true), 0);
	assert_int_equal(b.files, 10);
	/* one of nothing but rows */
	drop(&bed, 20);
	assert_int_equal(run(&bed, &b, "empty", false), 0);
	assert_int_equal(b.files, 0);
	bed_stop(&bed);
	shell("rm -r %s/blobs %s/stored.db* && cp -r %s/copy/. %s/", bed.dir);
	bed_start(&bed);
	assert_int_equal(bed_files(&bed), 10);
	for (unsigned i = 0; i < 20; i++)
		is_there(&bed, i, size_of(i));
	shell("rm -r %s/copy %s/empty", bed.dir);
	bed_close(&bed);
}

/* While a copy is being made, files whose rows are gone stay; afterwards they go. */
static void
test_removed_meanwhile(void **state)
{
	struct bed bed;

	(void)state;
	bed_open(&bed, "blob-min = 1k");
	for (unsigned i = 0; i < 6; i++)
		put(&bed, i, 2000);
	st_files_pin(1);
	st_files_pin(1);
	drop(&bed, 0);
	drop(&bed, 1);
	assert_int_equal(bed_files(&bed), 6);
	st_files_pin(-1);
	drop(&bed, 2);
	assert_int_equal(bed_files(&bed), 6);
	st_files_pin(-1);
	drop(&bed, 3);
	assert_int_equal(bed_files(&bed), 2);
	/* nor does the end of the daemon leave any */
	st_files_pin(1);
	drop(&bed, 4);
	assert_int_equal(bed_files(&bed), 2);
	bed_stop(&bed);
	assert_int_equal(bed_files(&bed), 1);
	st_files_pin(-1);
	bed_start(&bed);
	is_there(&bed, 5, 2000);
	bed_close(&bed);
}

/* Values come and go while copies are made: each is whole. */
static void
test_at_work(void **state)
{
	struct st_backup b;
	char name[32];
	struct bed bed;
	unsigned turn = 0;
	int rc, made;

	(void)state;
	bed_open(&bed, "blob-min = 1k");
	for (unsigned i = 0; i < 40; i++)
		put(&bed, i, 4000);
	for (made = 0; made < 8; made++) {
		struct db_batch *batch = db_batch_new(done, &rc);

		memset(&b, 0, sizeof b);
		b.dir = bed.st->blob_dir;
		snprintf(name, sizeof name, "copy%d", made);
		snprintf(b.path, sizeof b.path, "%s/%s", bed.dir, name);
		rc = 0;
		assert_non_null(batch);
		assert_int_equal(db_batch_add(batch, ST_OP_BACKUP, &b), 0);
		batch->aside = true;
		db_store_submit(bed.st->store, batch);
		while (rc == 0) {
			drop(&bed, turn % 40);
			put(&bed, turn % 40, 4000 + turn % 7);
			turn++;
		}
		assert_int_equal(rc, 1);
		/* a value is there, or its row is not: one is being replaced at most */
		assert_in_range(b.files, 39, 40);
		assert_int_equal(run(&bed, &b, name, true), 0);
	}
	put(&bed, 50, 4000);
	assert_int_equal(bed_files(&bed), 41);
	shell("rm -r %s/copy?", bed.dir);
	bed_close(&bed);
}

/* ---- what is refused ----------------------------------------------------------------------------- */

static void
sql(struct bed *bed, const char *name, const char *text)
{
	sqlite3 *db = NULL;
	char path[256];

	snprintf(path, sizeof path, "%s/%s/stored.db", bed->dir, name);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void
test_refusals(void **state)
{
	static const struct {
		const char *break_it; /* in a shell; %s: the directory of the copy */
		const char *sql;
		int rc;
		const char *why;
	} cases[] = {
		{ "rm %s/blobs/$(ls %s/blobs | head -1)", NULL, TF_E_STATE, "No such file" },
		{ "truncate -s -1 %s/blobs/$(ls %s/blobs | tail -1)", NULL, TF_E_STATE, "not of the size" },
		{ "rm -r %s/blobs", NULL, TF_E_STATE, "No such file" },
		{ "rm %s/stored.db", NULL, TF_E_NOENT, "stored.db" },
		{ "printf nonsense > %s/stored.db", NULL, TF_E_IO, "not a database" },
		{ NULL, "UPDATE spaces SET bytes = bytes + 1 ", TF_E_STATE,
		    "is not that of their values" },
		{ NULL, "UPDATE objects SET file = '../../etc/passwd' WHERE file IS NOT NULL", TF_E_STATE, "no name of ours" },
		{ NULL, "PRAGMA application_id = 7", TF_E_STATE, "no database of stored" },
		{ NULL, "PRAGMA user_version = 99", TF_E_STATE, "newer than this program" },
	};
	struct st_backup b;
	struct bed bed;
	char copy[256];

	(void)state;
	bed_open(&bed, "blob-min = 1k");
	for (unsigned i = 0; i < 6; i++)
		put(&bed, i, 2000);
	assert_int_equal(run(&bed, &b, "good", false), 0);
	assert_int_equal(run(&bed, &b, "good", false), TF_E_EXIST);
	assert_non_null(strstr(b.why, "it exists already"));
	assert_int_equal(run(&bed, &b, "no/such", false), TF_E_IO);
	assert_int_equal(run(&bed, &b, "missing", true), TF_E_NOENT);
	snprintf(copy, sizeof copy, "%s/bad", bed.dir);
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		shell("rm -rf %s/bad; cp -r %s/good %s/bad", bed.dir);
		assert_int_equal(run(&bed, &b, "bad", true), 0);
		if (cases[i].break_it != NULL)
			shell(cases[i].break_it, copy);
		else
			sql(&bed, "bad", cases[i].sql);
		assert_int_equal(run(&bed, &b, "bad", true), cases[i].rc);
		if (strstr(b.why, cases[i].why) == NULL)
			fail_msg("%s: not %s", b.why, cases[i].why);
	}
	/* a file that is missing in what is copied: no copy, and nothing of it is left */
	bed_lose(&bed);
	assert_int_equal(run(&bed, &b, "late", false), TF_E_NOENT);
	shell("test ! -e %s/late && test ! -e %s/late.partial && test -e %s/good", bed.dir);
	/* what another one left, or makes, stays */
	shell("mkdir %s/late.partial", bed.dir);
	assert_int_equal(run(&bed, &b, "late", false), TF_E_EXIST);
	shell("rm -r %s/late.partial %s/good %s/bad", bed.dir);
	shell("mkdir %s/blobs", bed.dir);
	bed_close(&bed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_removed_meanwhile),
		cmocka_unit_test(test_at_work),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
