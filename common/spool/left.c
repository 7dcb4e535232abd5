/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a dead start left: found, locked, read. Everything that its segments say is gathered by number and by
 * attempt, so that the same files always come to the same list, whoever reads them and however often.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/spool/inside.h"

/* ---- finding ---------------------------------------------------------------------------------- */

struct found {
	char path[SP_PATH_MAX];
	struct sp_head head;
};
struct finds {
	struct found *v;
	size_t n;
	uint32_t cap;
};

/* Without a head nobody can tell whose it is. One that is being written always has one. */
static void
headless(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
		tf_log(TF_ERROR, "spool", NULL, "a segment has no head that can be read: set aside file=%s",
		    tf_log_q(tf_cspan(path)));
		sp_rename(path, ".bad");
	}
	if (fd >= 0)
		close(fd);
}

static int
find_add(void *arg, const char *path, const struct stat *st)
{
	struct finds *f = arg;
	struct found *v;
	struct sp_head h;
	int rc = sp_path_head(path, &h);

	(void)st;
	if (rc == TF_E_PROTO || rc == TF_E_INVAL)
		headless(path);
	if (rc != 0)
		return 0;
	v = tf_grow(f->v, f->n, &f->cap, sizeof *v, 16);
	if (v == NULL)
		return TF_E_NOMEM;
	f->v = v;
	f->v[f->n].head = h;
	memcpy(f->v[f->n++].path, path, strlen(path) + 1);
	return 0;
}

/* By start, then by number. */
static int
found_order(const void *a, const void *b)
{
	const struct found *x = a, *y = b;
	int k = strcmp(x->head.name, y->head.name);

	if (k != 0)
		return k;
	if (x->head.boot != y->head.boot)
		return x->head.boot < y->head.boot ? -1 : 1;
	return (x->head.number > y->head.number) - (x->head.number < y->head.number);
}

static bool
same_start(const struct found *a, const struct found *b)
{
	return a->head.boot == b->head.boot && strcmp(a->head.name, b->head.name) == 0;
}

/* ---- locking ---------------------------------------------------------------------------------- */

static int
take(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
		close(fd);
		errno = EWOULDBLOCK;
		fd = -1;
	}
	return fd;
}

/* TF_E_EXIST: somebody has it. */
static int
lock_all(const char *dir, const struct found *f, size_t n, struct sp_left *l)
{
	snprintf(l->name, sizeof l->name, "%s", f->head.name);
	l->boot = f->head.boot;
	if (snprintf(l->map_path, sizeof l->map_path, "%s/%s-%016" PRIx64 ".map", dir, l->name, l->boot) >= (int)sizeof l->map_path)
		return TF_E_RANGE;
	l->map_fd = take(l->map_path);
	if (l->map_fd < 0 && errno != ENOENT)
		return TF_E_EXIST;
	l->files = calloc(n, sizeof *l->files);
	if (l->files == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		int fd = take(f[i].path);

		if (fd < 0)
			return TF_E_EXIST;
		l->files[l->nfiles].fd = fd;
		memcpy(l->files[l->nfiles++].path, f[i].path, sizeof f[i].path);
	}
	return 0;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int
load(int fd, struct tf_buf *out)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return TF_E_IO;
	if (st.st_size > SP_SEGMENT_MAX)
		return TF_E_PROTO;
	tf_buf_reset(out);
	if (tf_buf_reserve(out, (size_t)st.st_size) != 0)
		return TF_E_NOMEM;
	while (out->n < (size_t)st.st_size) {
		ssize_t k = pread(fd, out->p + out->n, (size_t)st.st_size - out->n, (off_t)out->n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return TF_E_IO;
		if (k == 0)
			break;
		out->n += (size_t)k;
	}
	return 0;
}

static int
left_add(struct sp_left *l, uint32_t file, const struct sp_rec *r, struct sp_map *map)
{
	const struct sp_slot *s;
	struct sp_left_begin *b;

	if (r->kind == SP_END) {
		struct sp_left_end *ends = tf_grow(l->ends, l->nends, &l->ends_cap, sizeof *ends, 64);

		if (ends == NULL)
			return TF_E_NOMEM;
		l->ends = ends;
		l->ends[l->nends++] = (struct sp_left_end){ .seq = r->seq, .file = file, .at = (uint32_t)r->at,
			.n = (uint32_t)r->payload.n, .id = r->id, .attempt = r->attempt, .delivered = r->delivered };
		if (r->seq > l->last)
			l->last = r->seq;
		return 0;
	}
	b = tf_grow(l->begins, l->nbegins, &l->begins_cap, sizeof *b, 64);
	if (b == NULL)
		return TF_E_NOMEM;
	l->begins = b;
	b = &l->begins[l->nbegins++];
	*b = (struct sp_left_begin){ .file = file, .at = (uint32_t)r->at, .n = (uint32_t)r->payload.n,
		.id = r->id, .attempt = r->attempt };
	s = map != NULL ? sp_map_slot(map, r->slot, r->id, r->attempt) : NULL;
	if (s != NULL) {
		b->known = true;
		b->given = atomic_load(&s->given) != 0;
		b->tokens = atomic_load(&s->tokens);
		b->reserved = atomic_load(&s->reserved);
		b->money = atomic_load(&s->money);
	}
	return 0;
}

static int
read_file(struct sp_left *l, uint32_t i, struct tf_buf *buf, struct sp_map *map)
{
	struct sp_left_file *f = &l->files[i];
	struct sp_reader r;
	struct sp_rec rec;
	int rc = load(f->fd, buf);

	if (rc != 0 || (rc = sp_reader_init(&r, tf_buf_span(buf))) != 0)
		return rc;
	while (rc == 0 && sp_next(&r, &rec) == 1)
		rc = left_add(l, i, &rec, map);
	if (rc != 0)
		return rc;
	f->tail = r.at;
	if (r.end == SP_TORN) {
		l->ntorn++;
		tf_log(TF_WARN, "spool", NULL, "a segment ends in an unfinished write file=%s at=%" PRIu64,
		    tf_log_q(tf_cspan(f->path)), r.at);
	} else if (r.end == SP_BAD) {
		f->bad = true;
		l->nbad++;
		tf_log(TF_ERROR, "spool", NULL, "a segment is damaged and its rest is set aside file=%s at=%" PRIu64,
		    tf_log_q(tf_cspan(f->path)), r.at);
	}
	return 0;
}

/* ---- putting together ------------------------------------------------------------------------- */

static int
end_order(const void *a, const void *b)
{
	const struct sp_left_end *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

#define ATTEMPT_KEY(p) tf_span((p)->id.b, sizeof(struct tf_id) + sizeof(uint32_t))
_Static_assert(offsetof(struct sp_left_end, attempt) == offsetof(struct sp_left_end, id) + sizeof(struct tf_id), "one key");
_Static_assert(offsetof(struct sp_left_begin, attempt) == offsetof(struct sp_left_begin, id) + sizeof(struct tf_id), "one key");

/* Begins that have ended go; an END that was written twice stays once, and none that is acknowledged. */
static int
match(struct sp_left *l)
{
	struct tf_map ended = { 0 };
	size_t n = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->nends; i++) {
		rc = tf_map_put(&ended, ATTEMPT_KEY(&l->ends[i]), &l->ends[i]);
		if (rc == TF_E_EXIST)
			rc = 0;
	}
	for (size_t i = 0; rc == 0 && i < l->nbegins; i++)
		if (tf_map_get(&ended, ATTEMPT_KEY(&l->begins[i])) == NULL)
			l->begins[n++] = l->begins[i];
	tf_map_free(&ended);
	if (rc != 0)
		return rc;
	l->nbegins = n;
	if (l->nends > 1)
		qsort(l->ends, l->nends, sizeof *l->ends, end_order);
	n = 0;
	for (size_t i = 0; i < l->nends; i++)
		if (l->ends[i].seq > l->acked && (n == 0 || l->ends[n - 1].seq != l->ends[i].seq))
			l->ends[n++] = l->ends[i];
	l->nends = n;
	return 0;
}

struct last_of {
	struct sp_left *l;
	struct tf_buf buf;
};

/* Without a map the numbers that were given are known from the files that are done, too. */
static int
last_in(void *arg, const char *path, const struct stat *st)
{
	struct last_of *a = arg;
	struct sp_reader r;
	struct sp_rec rec;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	(void)st;
	if (fd < 0)
		return 0;
	if (load(fd, &a->buf) == 0 && sp_reader_init(&r, tf_buf_span(&a->buf)) == 0 && r.head.boot == a->l->boot &&
	    strcmp(r.head.name, a->l->name) == 0)
		while (sp_next(&r, &rec) == 1)
			if (rec.kind == SP_END && rec.seq > a->l->last)
				a->l->last = rec.seq;
	close(fd);
	return 0;
}

static int
read_all(const char *dir, struct sp_left *l)
{
	struct last_of last = { .l = l };
	struct sp_map *map = NULL;
	int rc = l->map_fd >= 0 ? sp_map_open(l->map_fd, &map) : TF_E_PROTO;

	if (rc == 0) {
		l->acked = sp_map_acked(map);
		l->last = sp_map_seq(map);
		if (l->last < l->acked)
			l->last = l->acked;
	} else if (rc == TF_E_PROTO) {
		tf_log(TF_ERROR, "spool", NULL, "a start left no progress map that can be read name=%s boot=%016" PRIx64, l->name,
		    l->boot);
		(void)sp_each_file(dir, ".done", last_in, &last);
		rc = 0;
	}
	for (uint32_t i = 0; rc == 0 && i < l->nfiles; i++)
		rc = read_file(l, i, &last.buf, map);
	tf_buf_free(&last.buf);
	sp_map_close(&map);
	return rc == 0 ? match(l) : rc;
}

static int
left_open(const char *dir, const struct found *f, size_t n, struct sp_left **out)
{
	struct sp_left *l = calloc(1, sizeof *l);
	int rc;

	if (l == NULL)
		return TF_E_NOMEM;
	l->map_fd = -1;
	rc = lock_all(dir, f, n, l);
	if (rc == 0)
		rc = read_all(dir, l);
	if (rc == 0)
		*out = l;
	else
		sp_left_free(&l);
	return rc;
}

int
sp_left_find(const char *dir, struct sp_left **out)
{
	struct finds f = { 0 };
	int rc = sp_each_file(dir, ".seg", find_add, &f), first = TF_E_NOENT;
	size_t i = 0, n;

	if (rc == 0 && f.n > 1)
		qsort(f.v, f.n, sizeof *f.v, found_order);
	for (; rc == 0 && i < f.n; i += n) {
		for (n = 1; i + n < f.n && same_start(&f.v[i], &f.v[i + n]); n++)
			;
		rc = left_open(dir, &f.v[i], n, out);
		if (rc == 0) {
			free(f.v);
			return 0;
		}
		/* alive, or not to be read now: the others may be */
		if (rc != TF_E_EXIST)
			first = rc;
		rc = rc == TF_E_NOMEM ? rc : 0;
	}
	free(f.v);
	return rc != 0 ? rc : first;
}

int
sp_left_read(const struct sp_left *l, uint32_t file, uint32_t at, struct tf_buf *buf, struct sp_rec *out)
{
	char head[SP_HEAD];
	struct sp_head h;
	uint32_t seed;
	ssize_t n;
	int rc;

	if (pread(l->files[file].fd, head, sizeof head, 0) != (ssize_t)sizeof head)
		return TF_E_IO;
	if ((rc = sp_head_read(tf_span(head, sizeof head), &h, &seed)) != 0)
		return TF_E_PROTO;
	tf_buf_reset(buf);
	if (tf_buf_reserve(buf, SP_HEAD + sp_record_size(SP_PAYLOAD_MAX)) != 0)
		return TF_E_NOMEM;
	n = pread(l->files[file].fd, buf->p + SP_HEAD, sp_record_size(SP_PAYLOAD_MAX), (off_t)at);
	if (n < 0)
		return TF_E_IO;
	/* placed as if it were the first record of its file */
	if (sp_record_read(tf_span(buf->p, SP_HEAD + (size_t)n), seed, SP_HEAD, out) != 1)
		return TF_E_PROTO;
	out->at = at;
	return 0;
}

void
sp_left_done(struct sp_left **lp)
{
	struct sp_left *l = *lp;

	if (l == NULL)
		return;
	for (size_t i = 0; i < l->nfiles; i++) {
		const struct sp_left_file *f = &l->files[i];

		if (f->bad)
			sp_rename(f->path, ".bad");
		else
			sp_spent(f->path, f->fd, f->tail);
	}
	if (l->map_fd >= 0)
		(void)unlink(l->map_path);
	sp_left_free(lp);
}

void
sp_left_free(struct sp_left **lp)
{
	struct sp_left *l = *lp;

	*lp = NULL;
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->nfiles; i++)
		close(l->files[i].fd);
	if (l->map_fd >= 0)
		close(l->map_fd);
	free(l->files);
	free(l->ends);
	free(l->begins);
	free(l);
}
