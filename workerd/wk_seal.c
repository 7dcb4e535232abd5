/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret that reasoning is sealed with when clients want to bring it back: from its file, or one that the
 * workers of a host share until it restarts. Called by wk.c at the start and by wk_attempt.c for each attempt.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "workerd/wk.h"

#define SEAL_MIN 32
#define SEAL_MAX 4096

/*
 * Several workers may start at once: whoever links first has made it. It is complete before it has its name, so nobody
 * reads half of it.
 */
static int
wk_seal_make(const char *path)
{
	uint8_t raw[SEAL_MIN];
	char hex[2 * sizeof raw + 1], own[4096];
	int fd, n = snprintf(own, sizeof own, "%s.%ld", path, (long)getpid());
	bool ok;

	if (n < 0 || (size_t)n >= sizeof own)
		return TF_E_RANGE;
	fd = open(own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return TF_E_IO;
	tf_random(raw, sizeof raw);
	tf_hex(raw, sizeof raw, hex);
	ok = write(fd, hex, 2 * sizeof raw) == (ssize_t)(2 * sizeof raw);
	tf_wipe(raw, sizeof raw);
	tf_wipe(hex, sizeof hex);
	ok = close(fd) == 0 && ok;
	ok = ok && (link(own, path) == 0 || errno == EEXIST);
	(void)unlink(own);
	return ok ? 0 : TF_E_IO;
}

int
wk_seal_load(const struct conf *conf, bool make, struct tf_buf *out, char *why, size_t size)
{
	const char *path = conf->common.seal_file;
	char shared[4096];
	int rc = 0;

	if (path == NULL) {
		int n = snprintf(shared, sizeof shared, "%s/seal.key", conf->common.run_dir);

		if (!make || n < 0 || (size_t)n >= sizeof shared)
			return 0;
		path = shared;
		if (access(path, F_OK) != 0)
			rc = wk_seal_make(path);
	}
	if (rc != 0) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return rc;
	}
	rc = conf_read_secret(path, SEAL_MAX, out, why, size);
	if (rc == 0 && out->n < SEAL_MIN) {
		snprintf(why, size, "%s: a secret to seal with has at least %d bytes", path, SEAL_MIN);
		rc = TF_E_INVAL;
	}
	return rc;
}

void
wk_seal_free(struct tf_buf *secret)
{
	if (secret->p != NULL)
		tf_wipe(secret->p, secret->cap);
	tf_buf_free(secret);
}

bool
wk_seal_key(const struct wk *wk, struct tf_span workspace, const char *model, uint8_t key[static TF_SEAL_KEY])
{
	uint8_t of_workspace[TF_SHA256];

	if (wk->seal.n == 0)
		return false;
	/* one after the other, so that no two pairs of names give the same */
	tf_hmac_sha256(tf_buf_span(&wk->seal), workspace.p, workspace.n, of_workspace);
	tf_hmac_sha256(tf_span(of_workspace, sizeof of_workspace), model, strlen(model), key);
	tf_wipe(of_workspace, sizeof of_workspace);
	return true;
}
