/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the spool: how they are made, locked and renamed, and the segment that is being written.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/spool/inside.h"

/* ---- files ----------------------------------------------------------------------------------- */

static int
made_paths(const char *dir, const struct sp_named *n, struct sp_made *m)
{
	int k, b;

	if (n->number > 0)
		k = snprintf(m->path, sizeof m->path, "%s/%s-%016" PRIx64 "-%06" PRIu32 ".seg", dir, n->name, n->boot,
		    n->number);
	else
		k = snprintf(m->path, sizeof m->path, "%s/%s-%016" PRIx64 ".map", dir, n->name, n->boot);
	if (k < 0 || (size_t)k + 8 >= sizeof m->path)
		return TF_E_RANGE;
	b = snprintf(m->born, sizeof m->born, "%.*s.new", (int)sizeof m->born - 8, m->path);
	return b > 0 && (size_t)b < sizeof m->born ? 0 : TF_E_RANGE;
}

int
sp_make(const char *dir, const struct sp_named *n, uint64_t size, struct sp_made *m)
{
	int rc = made_paths(dir, n, m);

	if (rc != 0)
		return rc;
	m->fd = open(m->born, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (m->fd < 0)
		return errno == EEXIST ? TF_E_EXIST : errno == ENOSPC || errno == EDQUOT ? TF_E_FULL : TF_E_IO;
	if (flock(m->fd, LOCK_EX | LOCK_NB) != 0) {
		sp_unmake(m);
		return TF_E_IO;
	}
	rc = posix_fallocate(m->fd, 0, (off_t)size);
	if (rc != 0) {
		sp_unmake(m);
		errno = rc;
		return rc == ENOSPC || rc == EDQUOT || rc == EFBIG ? TF_E_FULL : TF_E_IO;
	}
	return 0;
}

int
sp_made_name(struct sp_made *m)
{
	return rename(m->born, m->path) == 0 ? 0 : TF_E_IO;
}

void
sp_unmake(struct sp_made *m)
{
	(void)unlink(m->born);
	close(m->fd);
	m->fd = -1;
}

void
sp_rename(const char *path, const char *suffix)
{
	const char *dot = strrchr(path, '.');
	char to[SP_PATH_MAX];

	snprintf(to, sizeof to, "%.*s%s", dot ? (int)(dot - path) : 0, path, suffix);
	if (rename(path, to) != 0 && errno != ENOENT)
		tf_log(TF_ERROR, "spool", NULL, "cannot rename file=%s suffix=%s errno=%d", tf_log_q(tf_cspan(path)), suffix,
		    errno);
}

void
sp_spent(const char *path, int fd, uint64_t tail)
{
	if (tail <= SP_HEAD) {
		(void)unlink(path);
		return;
	}
	if (ftruncate(fd, (off_t)tail) != 0)
		tf_log(TF_WARN, "spool", NULL, "cannot cut a segment to what it holds file=%s errno=%d",
		    tf_log_q(tf_cspan(path)), errno);
	sp_rename(path, ".done");
}

bool
sp_has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), k = strlen(suffix);

	return n > k && memcmp(name + n - k, suffix, k) == 0;
}

/* ---- segments -------------------------------------------------------------------------------- */

/* The name must last as long as the records: a file that has none after a loss of power is no file. */
static int
sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return TF_E_IO;
	rc = fsync(fd);
	close(fd);
	return rc == 0 ? 0 : TF_E_IO;
}

static int
seg_begin_file(const char *dir, struct sp_seg *s, struct sp_made *made)
{
	uint8_t head[SP_HEAD];

	sp_head_write(&s->head, head);
	s->seed = (uint32_t)head[SP_HEAD - 4] | (uint32_t)head[SP_HEAD - 3] << 8 | (uint32_t)head[SP_HEAD - 2] << 16 |
	    (uint32_t)head[SP_HEAD - 1] << 24;
	if (pwrite(made->fd, head, sizeof head, 0) != (ssize_t)sizeof head || fdatasync(made->fd) != 0)
		return TF_E_IO;
	return sp_made_name(made) == 0 ? sync_dir(dir) : TF_E_IO;
}

int
sp_seg_create(const char *dir, const struct sp_head *head, struct sp_seg **out)
{
	struct sp_seg *s = calloc(1, sizeof *s);
	struct sp_made made;
	int rc;

	if (s == NULL)
		return TF_E_NOMEM;
	s->head = *head;
	s->tail = SP_HEAD;
	rc = sp_make(dir, &(struct sp_named){ head->name, head->boot, head->number }, head->size, &made);
	if (rc == 0 && (rc = seg_begin_file(dir, s, &made)) != 0) {
		(void)unlink(made.path);
		sp_unmake(&made);
	}
	if (rc != 0) {
		free(s);
		return rc;
	}
	s->fd = made.fd;
	memcpy(s->path, made.path, sizeof s->path);
	*out = s;
	return 0;
}

int
sp_seg_sync(struct sp_seg *s)
{
	if (!atomic_exchange(&s->dirty, false))
		return 0;
	if (fdatasync(s->fd) == 0)
		return 0;
	atomic_store(&s->dirty, true);
	return TF_E_IO;
}

static void
seg_free(struct sp_seg **sp)
{
	struct sp_seg *s = *sp;

	*sp = NULL;
	close(s->fd);
	tf_buf_free(&s->pending);
	free(s);
}

void
sp_seg_done(struct sp_seg **sp)
{
	if (*sp == NULL)
		return;
	sp_spent((*sp)->path, (*sp)->fd, (*sp)->tail);
	seg_free(sp);
}

void
sp_seg_close(struct sp_seg **sp)
{
	if (*sp == NULL)
		return;
	if ((*sp)->tail == SP_HEAD)
		(void)unlink((*sp)->path);
	seg_free(sp);
}
