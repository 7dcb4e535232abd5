/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that are files. A file is written and synced before its row is committed, and removed
 * after the commit that took its row, so that a crash at any moment leaves at most a file without a
 * row, which the sweep of the next start removes. Runs on the store's threads.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "stored/sqlite.h"

static atomic_int pinned;
/* Reads, by what they see: one that has begun may be about to open a file whose row is deleted meanwhile. */
static atomic_uint_fast64_t begun, ended;

struct st_file {
	struct tf_node node;
	uint64_t readers; /* of one whose row is gone: these had begun before */
	char path[];
};

static struct st_files *
files_of(struct db_lane *lane)
{
	struct st_files *f = lane->user;

	if (f->made.head.next == NULL) {
		tf_list_init(&f->made);
		tf_list_init(&f->gone);
		tf_list_init(&f->later);
	}
	return f;
}

static struct st_file *
file_new(const char *dir, const char *name)
{
	size_t n = strlen(dir) + strlen(name) + 2;
	struct st_file *f = malloc(sizeof *f + n);

	if (f != NULL)
		snprintf(f->path, n, "%s/%s", dir, name);
	return f;
}

static void
forget_one(struct tf_list *l, struct st_file *f, bool remove)
{
	if (remove && unlink(f->path) != 0 && errno != ENOENT)
		tf_log(TF_WARN, "store", NULL, "a file cannot be removed file=%s error=%s", f->path, strerror(errno));
	tf_list_remove(l, &f->node);
	free(f);
}

static void
forget(struct tf_list *l, size_t from, bool remove)
{
	while (l->n > from)
		forget_one(l, TF_CONTAINER(l->head.prev, struct st_file, node), remove);
}

static int
write_all(int fd, struct tf_span bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? TF_E_FULL : TF_E_IO;
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
	return fsync(fd) == 0 ? 0 : TF_E_IO;
}

int
st_dir_sync(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return TF_E_IO;
	rc = fsync(fd) == 0 ? 0 : TF_E_IO;
	close(fd);
	return rc;
}

int
st_file_make(struct db_lane *lane, const char *dir, struct tf_span bytes, char name[static TF_ID_TEXT + 1])
{
	struct st_files *files = files_of(lane);
	struct st_file *f;
	int fd, rc;

	tf_id_text(tf_id_new(), name);
	f = file_new(dir, name);
	if (f == NULL)
		return TF_E_NOMEM;
	fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		rc = errno == ENOSPC || errno == EDQUOT ? TF_E_FULL : TF_E_IO;
		free(f);
		return rc;
	}
	tf_list_append(&files->made, &f->node);
	rc = write_all(fd, bytes);
	if (close(fd) != 0 && rc == 0)
		rc = TF_E_IO;
	return rc == 0 ? st_dir_sync(dir) : rc;
}

int
st_file_gone(struct db_lane *lane, const char *dir, const char *name)
{
	struct st_file *f = file_new(dir, name);

	if (f == NULL)
		return TF_E_NOMEM;
	tf_list_append(&files_of(lane)->gone, &f->node);
	return 0;
}

struct st_mark
st_file_mark(struct db_lane *lane)
{
	const struct st_files *f = files_of(lane);

	return (struct st_mark){ f->made.n, f->gone.n };
}

void
st_file_undo(struct db_lane *lane, struct st_mark mark)
{
	struct st_files *f = files_of(lane);

	forget(&f->made, mark.made, true);
	forget(&f->gone, mark.gone, false);
}

/* Removes those that nobody can name any more. */
static void
forget_late(struct tf_list *later)
{
	uint64_t over = atomic_load(&ended);
	struct tf_node *e, *tmp;

	if (atomic_load(&pinned) > 0)
		return;
	TF_LIST_EACH(later, e, tmp) {
		struct st_file *f = TF_CONTAINER(e, struct st_file, node);

		if (f->readers <= over)
			forget_one(later, f, true);
	}
}

void
st_files_settled(struct db_lane *lane, bool committed)
{
	struct st_files *f = files_of(lane);
	uint64_t readers = atomic_load(&begun); /* behind the commit: who begins from now on does not find the rows */

	forget(&f->made, 0, !committed);
	while (committed && f->gone.n > 0) {
		struct st_file *file = TF_CONTAINER(tf_list_pop(&f->gone), struct st_file, node);

		file->readers = readers;
		tf_list_append(&f->later, &file->node);
	}
	forget(&f->gone, 0, false);
	forget_late(&f->later);
}

void
st_files_read(bool over)
{
	(void)atomic_fetch_add(over ? &ended : &begun, 1);
}

void
st_files_pin(int by)
{
	(void)atomic_fetch_add(&pinned, by);
}

void
st_files_fini(void *user)
{
	struct st_files *f = user;

	if (f->made.head.next == NULL)
		return;
	forget(&f->made, 0, false);
	forget(&f->gone, 0, false);
	forget(&f->later, 0, true);
}

int
st_file_read(const char *dir, const char *name, uint64_t offset, uint64_t limit, struct tf_buf *out)
{
	struct st_file *f = file_new(dir, name);
	size_t left;
	ssize_t n;
	int fd, rc;

	if (f == NULL)
		return TF_E_NOMEM;
	fd = open(f->path, O_RDONLY | O_CLOEXEC);
	free(f);
	if (fd < 0)
		return TF_E_IO;
	rc = tf_buf_reserve(out, limit);
	for (left = limit; rc == 0 && left > 0; left -= (size_t)n, offset += (uint64_t)n, out->n += (size_t)n) {
		n = pread(fd, out->p + out->n, left, (off_t)offset);
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			rc = TF_E_IO; /* shorter than its row says */
		if (rc != 0)
			break;
	}
	close(fd);
	return rc;
}

static int
has_row(struct db_lane *lane, const char *name)
{
	struct db_q q = db_q(lane, ST_S_OBJECT_FILE);
	int rc;

	db_q_str(&q, name);
	rc = db_q_step(&q);
	if (rc == 1)
		db_q_end(&q);
	return rc;
}

int
st_op_sweep(struct db_lane *lane, struct st_sweep *s)
{
	DIR *d = opendir(s->dir);
	struct tf_id id;
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return TF_E_IO;
	while (rc == 0 && (e = readdir(d)) != NULL) {
		/* nothing but what we named ourselves is touched */
		if (tf_id_parse(tf_cspan(e->d_name), &id) != 0)
			continue;
		s->files++;
		rc = has_row(lane, e->d_name);
		if (rc == 1) {
			rc = 0;
		} else if (rc == 0) {
			s->removed++;
			rc = st_file_gone(lane, s->dir, e->d_name);
		}
	}
	closedir(d);
	return rc;
}
