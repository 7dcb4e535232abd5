/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock file beside a socket path. A second bind(2) after unlink(2) takes a path away in silence;
 * whoever holds the lock owns the path. The file goes with its owner, so that a lock obtained on a
 * file that was just unlinked is noticed and tried again.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/event/inside.h"

int
ev_lock_take(const char *path, int *out)
{
	for (int tries = 0; tries < 100; tries++) {
		struct stat mine, there;
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660);

		if (fd < 0)
			return TF_E_IO;
		if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
			int rc = errno == EWOULDBLOCK ? TF_E_EXIST : TF_E_IO;

			close(fd);
			return rc;
		}
		if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino &&
		    mine.st_dev == there.st_dev) {
			*out = fd;
			return 0;
		}
		close(fd);
	}
	return TF_E_IO;
}

void
ev_lock_drop(const char *path, int fd)
{
	(void)unlink(path);
	close(fd);
}
