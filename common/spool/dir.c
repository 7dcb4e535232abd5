/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool's directory, seen from outside: how much there is, what is old enough to go, and which starts have
 * been settled. Names only say what kind a file is; whose it is stands in its head.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/spool/inside.h"

#define STALE_S 60 /* a file that is still not whole after this was left by somebody who died */

int
sp_each_file(const char *dir, const char *suffix, int (*fn)(void *arg, const char *path, const struct stat *st), void *arg)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return TF_E_IO;
	while (rc == 0 && (e = readdir(d)) != NULL) {
		char path[SP_PATH_MAX];
		struct stat st;
		int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);

		if (n < 0 || (size_t)n >= sizeof path || !sp_has_suffix(e->d_name, suffix) || lstat(path, &st) != 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		rc = fn(arg, path, &st);
	}
	closedir(d);
	return rc;
}

int
sp_path_head(const char *path, struct sp_head *out)
{
	char head[SP_HEAD];
	uint32_t seed;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? TF_E_NOENT : TF_E_IO;
	n = pread(fd, head, sizeof head, 0);
	close(fd);
	return n < 0 ? TF_E_IO : sp_head_read(tf_span(head, (size_t)n), out, &seed);
}

/* ---- sizes ----------------------------------------------------------------------------------- */

static int
add_size(void *arg, const char *path, const struct stat *st)
{
	struct sp_sizes *s = arg;
	uint64_t n = (uint64_t)st->st_blocks * 512;

	s->bytes += n;
	if (sp_has_suffix(path, ".done"))
		s->done += n;
	else if (sp_has_suffix(path, ".seg"))
		s->segments++;
	else if (sp_has_suffix(path, ".bad"))
		s->bad++;
	return 0;
}

int
sp_dir_sizes(const char *dir, struct sp_sizes *out)
{
	*out = (struct sp_sizes){ 0 };
	return sp_each_file(dir, "", add_size, out);
}

/* ---- what goes ------------------------------------------------------------------------------- */

struct old {
	char path[SP_PATH_MAX];
	int64_t when; /* seconds */
	uint64_t bytes;
};
struct olds {
	struct old *v;
	size_t n;
	uint32_t cap;
};

static int
old_add(void *arg, const char *path, const struct stat *st)
{
	struct olds *o = arg;
	struct old *v = tf_grow(o->v, o->n, &o->cap, sizeof *v, 64);

	if (v == NULL)
		return TF_E_NOMEM;
	o->v = v;
	o->v[o->n] = (struct old){ .when = st->st_mtim.tv_sec, .bytes = (uint64_t)st->st_blocks * 512 };
	memcpy(o->v[o->n++].path, path, strlen(path) + 1);
	return 0;
}

static int
old_order(const void *a, const void *b)
{
	const struct old *x = a, *y = b;

	return (x->when > y->when) - (x->when < y->when);
}

static int
stale_drop(void *arg, const char *path, const struct stat *st)
{
	int fd;

	if (*(const int64_t *)arg - st->st_mtim.tv_sec < STALE_S)
		return 0;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		(void)unlink(path);
	if (fd >= 0)
		close(fd);
	return 0;
}

static int
prefix_is(void *arg, const char *path, const struct stat *st)
{
	const char *map = arg;

	(void)st;
	return strncmp(path, map, strlen(map) - strlen(".map")) == 0;
}

/* The map of a start that is dead and has no segments. */
static int
alone_drop(void *arg, const char *path, const struct stat *st)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	(void)st;
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && sp_each_file(arg, ".seg", prefix_is, (void *)(uintptr_t)path) == 0)
		(void)unlink(path);
	if (fd >= 0)
		close(fd);
	return 0;
}

void
sp_dir_drop(const char *dir, uint64_t keep_ms, uint64_t most)
{
	struct olds o = { 0 };
	struct sp_sizes s;
	int64_t now = tf_wall_s();

	if (sp_dir_sizes(dir, &s) != 0)
		return;
	(void)sp_each_file(dir, ".new", stale_drop, &now);
	(void)sp_each_file(dir, ".map", alone_drop, (void *)(uintptr_t)dir);
	(void)sp_each_file(dir, ".done", old_add, &o);
	if (o.n > 1)
		qsort(o.v, o.n, sizeof *o.v, old_order);
	for (size_t i = 0; i < o.n; i++) {
		bool old = now - o.v[i].when >= (int64_t)(keep_ms / 1000);

		if ((old || s.bytes > most) && unlink(o.v[i].path) == 0)
			s.bytes -= o.v[i].bytes < s.bytes ? o.v[i].bytes : s.bytes;
	}
	free(o.v);
}

/* ---- what was settled ------------------------------------------------------------------------ */

struct starts {
	struct start {
		char name[SP_NAME_MAX];
		uint64_t boot;
		bool live;
	} *v;
	size_t n;
	uint32_t cap;
	bool live; /* what is added now is */
};

static int
start_add(struct starts *s, const char *name, uint64_t boot)
{
	struct start *v;

	for (size_t i = 0; i < s->n; i++) {
		if (s->v[i].boot == boot && strcmp(s->v[i].name, name) == 0) {
			s->v[i].live |= s->live;
			return 0;
		}
	}
	v = tf_grow(s->v, s->n, &s->cap, sizeof *v, 16);
	if (v == NULL)
		return TF_E_NOMEM;
	s->v = v;
	s->v[s->n] = (struct start){ .boot = boot, .live = s->live };
	snprintf(s->v[s->n++].name, SP_NAME_MAX, "%s", name);
	return 0;
}

static int
start_of_segment(void *arg, const char *path, const struct stat *st)
{
	struct sp_head h;

	(void)st;
	return sp_path_head(path, &h) == 0 ? start_add(arg, h.name, h.boot) : 0;
}

static int
start_of_map(void *arg, const char *path, const struct stat *st)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), rc = 0;
	struct sp_map *m;

	(void)st;
	if (fd >= 0 && sp_map_open(fd, &m) == 0) {
		rc = start_add(arg, sp_map_name(m).p, sp_map_boot(m));
		sp_map_close(&m);
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

void
sp_dir_settled(const char *dir, void (*fn)(void *arg, const char *name, uint64_t boot), void *arg)
{
	struct starts s = { 0 };
	int rc = sp_each_file(dir, ".done", start_of_segment, &s);

	s.live = true;
	if (rc == 0)
		rc = sp_each_file(dir, ".seg", start_of_segment, &s);
	if (rc == 0)
		rc = sp_each_file(dir, ".map", start_of_map, &s);
	for (size_t i = 0; rc == 0 && i < s.n; i++)
		if (!s.v[i].live)
			fn(arg, s.v[i].name, s.v[i].boot);
	free(s.v);
}
