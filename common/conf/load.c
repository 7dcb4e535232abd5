/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files: the main one, conf.d beside it, and secrets. Everything that touches the
 * file system for a configuration is here, bounded in size and number.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf/inside.h"

/* Appends what the descriptor holds, at most max bytes (TF_E_FULL beyond). */
static int
read_all(int fd, size_t max, struct tf_buf *out)
{
	ssize_t k;

	for (;;) {
		size_t left = max + 1 - out->n;
		int r = tf_buf_reserve(out, left < 4096 ? left : 4096);

		if (r != 0)
			return r;
		k = read(fd, out->p + out->n, out->cap - out->n < left ? out->cap - out->n : left);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return TF_E_IO;
		if (k == 0)
			return 0;
		out->n += (size_t)k;
		if (out->n > max)
			return TF_E_FULL;
	}
}

/* ---- configuration files ------------------------------------------------------------------- */

struct files {
	struct conf_text text[CF_FILES_MAX + 1];
	char *path[CF_FILES_MAX + 1];
	struct tf_buf buf[CF_FILES_MAX + 1];
	size_t n;
	struct conf_errors *errors;
};

static int
complain(struct files *f, const char *path, const char *why)
{
	struct cf_load l = { .errors = f->errors };

	cf_error(&l, path, 0, NULL, NULL, "%s", why);
	return TF_E_IO;
}

static int
add_file(struct files *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return complain(f, path, strerror(errno));
	f->path[f->n] = strdup(path);
	r = f->path[f->n] == NULL ? TF_E_NOMEM : read_all(fd, CF_FILE_MAX, &f->buf[f->n]);
	if (r == TF_E_IO)
		complain(f, path, strerror(errno));
	if (r == TF_E_FULL)
		r = complain(f, path, "larger than 8 MiB");
	close(fd);
	f->text[f->n] = (struct conf_text){ f->path[f->n], tf_buf_span(&f->buf[f->n]) };
	f->n++;
	return r;
}

static int
is_conf(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 5 && e->d_name[0] != '.' && strcmp(e->d_name + n - 5, ".conf") == 0;
}

static int
by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* conf.d beside the main file; none is fine. */
static int
add_directory(struct files *f, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct tf_buf dir = { 0 };
	struct dirent **names = NULL;
	int n, r = 0;

	tf_buf_append(&dir, path, slash != NULL ? (size_t)(slash - path) + 1 : 0);
	tf_buf_addstr(&dir, "conf.d/");
	if (tf_buf_cstr(&dir) == NULL) {
		tf_buf_free(&dir);
		return TF_E_NOMEM;
	}
	n = scandir(dir.p, &names, is_conf, by_bytes);
	if (n < 0 && errno != ENOENT)
		r = complain(f, dir.p, strerror(errno));
	if (n > CF_FILES_MAX)
		r = complain(f, dir.p, "more than 256 files");
	for (int i = 0; i < n; i++) {
		struct tf_buf file = { 0 };

		tf_buf_printf(&file, "%s%s", dir.p, names[i]->d_name);
		if (r == 0)
			r = tf_buf_cstr(&file) == NULL ? TF_E_NOMEM : add_file(f, file.p);
		tf_buf_free(&file);
		free(names[i]);
	}
	free(names);
	tf_buf_free(&dir);
	return r;
}

int
conf_load(const char *path, struct conf **out, struct conf_errors *errors)
{
	struct files *f = calloc(1, sizeof *f);
	int r;

	*out = NULL;
	if (f == NULL)
		return TF_E_NOMEM;
	f->errors = errors;
	r = add_file(f, path);
	if (r == 0)
		r = add_directory(f, path);
	if (r == 0)
		r = conf_parse(f->text, f->n, out, errors);
	for (size_t i = 0; i < f->n; i++) {
		free(f->path[i]);
		tf_buf_free(&f->buf[i]);
	}
	free(f);
	return r;
}

/* ---- files that options name ------------------------------------------------------------------------------- */

/* The descriptor of a regular file, a secret one readable by its owner and group only; -1 with the reason. */
static int
open_file(const char *path, bool secret, char *what, size_t size, int *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	*err = TF_E_IO;
	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(what, size, "%s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		snprintf(what, size, "%s: not a regular file", path);
		*err = TF_E_INVAL;
	} else if (secret && (st.st_mode & S_IROTH)) {
		snprintf(what, size,
		    "%s: every user can read this secret; take that away with: chmod o= %s", path,
		    path);
		*err = TF_E_INVAL;
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
read_file(const char *path, bool secret, size_t max, struct tf_buf *out, char *what, size_t size)
{
	int r, fd = open_file(path, secret, what, size, &r);

	if (fd < 0)
		return r;
	/* all the room at once for a secret: growing would leave copies behind */
	r = secret ? tf_buf_reserve(out, max + 2) : 0;
	if (r == 0)
		r = read_all(fd, max + 1, out);
	close(fd);
	if (r == 0 && out->n > 0 && out->p[out->n - 1] == '\n')
		out->n--;
	if (r == TF_E_IO)
		snprintf(what, size, "%s: %s", path, strerror(errno));
	else if (r == TF_E_FULL || (r == 0 && out->n > max))
		snprintf(what, size, "%s: longer than %zu bytes", path, max);
	else if (r == 0 && out->n == 0)
		snprintf(what, size, "%s: empty", path);
	else if (r == 0)
		return 0;
	else
		snprintf(what, size, "%s: no memory", path);
	return r == TF_E_IO || r == TF_E_NOMEM ? r : TF_E_INVAL;
}

int
conf_read_file(const char *path, size_t max, struct tf_buf *out, char *what, size_t size)
{
	int r;

	tf_buf_free(out);
	r = read_file(path, false, max, out, what, size);
	if (r != 0)
		tf_buf_free(out);
	return r;
}

int
conf_read_secret(const char *path, size_t max, struct tf_buf *out, char *what, size_t size)
{
	int r;

	tf_wipe(out->p, out->cap);
	tf_buf_free(out);
	r = read_file(path, true, max, out, what, size);
	if (r != 0) {
		tf_wipe(out->p, out->cap);
		tf_buf_free(out);
	}
	return r;
}
