/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pepper: a secret beside the database that key digests are mixed with, so that a copy of
 * the database alone opens nothing. Made at the first start when no file is configured.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "billingd/billingd.h"

#define PEPPER_MIN 32
#define PEPPER_MAX 4096

/* pepper.key in the database's directory. */
static int
default_path(const char *database, char *out, size_t size)
{
	const char *slash = strrchr(database, '/');
	int n = snprintf(out, size, "%.*s/pepper.key", slash != NULL ? (int)(slash - database) : 1,
	    slash != NULL ? database : ".");

	return n > 0 && (size_t)n < size ? 0 : TF_E_RANGE;
}

/* The name must survive a power loss as much as the content. */
static void
sync_directory(const char *path)
{
	char dir[4096];
	char *slash;
	int fd;

	snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL)
		return;
	*slash = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

static int
make(const char *path, char *why, size_t size)
{
	uint8_t raw[PEPPER_MIN];
	char hex[2 * sizeof raw + 2];
	size_t n = 2 * sizeof raw;
	bool ok;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return TF_E_IO;
	}
	tf_random(raw, sizeof raw);
	tf_hex(raw, sizeof raw, hex);
	hex[n++] = '\n';
	ok = write(fd, hex, n) == (ssize_t)n && fsync(fd) == 0;
	tf_wipe(raw, sizeof raw);
	tf_wipe(hex, sizeof hex);
	if (!ok) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		unlink(path);
	}
	close(fd);
	sync_directory(path);
	return ok ? 0 : TF_E_IO;
}

/* A new pepper beside an old database would refuse every key in it. */
static int
make_first(const char *path, const char *database, char *why, size_t size)
{
	struct stat st;

	if (access(path, F_OK) == 0)
		return 0;
	if (stat(database, &st) == 0 && st.st_size > 0) {
		snprintf(why, size, "%s is missing: the keys in %s cannot be checked without it", path, database);
		return TF_E_NOENT;
	}
	return make(path, why, size);
}

int
bl_pepper_load(const struct conf *conf, struct bl_pepper *p, char *why, size_t size)
{
	static const char label[] = "which pepper";
	const char *path = conf->billingd.pepper_file;
	uint8_t number[TF_SHA256];
	char beside[4096];
	int rc = 0;

	if (path == NULL) {
		path = beside;
		rc = default_path(conf->billingd.database, beside, sizeof beside);
		if (rc == 0)
			rc = make_first(path, conf->billingd.database, why, size);
	}
	if (rc != 0)
		return rc;
	rc = conf_read_secret(path, PEPPER_MAX, &p->bytes, why, size);
	if (rc != 0)
		return rc;
	if (p->bytes.n < PEPPER_MIN) {
		snprintf(why, size, "%s: a pepper has at least %d bytes", path, PEPPER_MIN);
		return TF_E_INVAL;
	}
	tf_hmac_sha256(tf_buf_span(&p->bytes), label, sizeof label - 1, number);
	memcpy(&p->number, number, sizeof p->number);
	return 0;
}

void
bl_pepper_free(struct bl_pepper *p)
{
	if (p->bytes.p != NULL)
		tf_wipe(p->bytes.p, p->bytes.cap);
	tf_buf_free(&p->bytes);
}

void
bl_pepper_digest(const struct bl_pepper *p, const uint8_t sha[static TF_SHA256], uint8_t out[static BL_DIGEST])
{
	tf_hmac_sha256(tf_buf_span(&p->bytes), sha, TF_SHA256, out);
}
