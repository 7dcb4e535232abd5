/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who owns a socket path. A second bind(2) after unlink(2) takes a path away in silence, so there
 * is a lock file beside it; whoever holds the lock owns the path. The file goes with its owner, so
 * that a lock obtained on a file that was just unlinked is noticed and tried again.
 *
 * The listening socket is made here and handed to ZeroMQ, so that its mode stands before anybody can
 * connect and nobody but the lock's holder ever makes or removes the file.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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

int
ev_path_listen(const char *path, int *out)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd;

	if (n >= sizeof sun.sun_path)
		return TF_E_RANGE;
	memcpy(sun.sun_path, path, n);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return TF_E_IO;
	(void)unlink(path); /* what a dead owner left */
	/* the mode is set before anybody can connect */
	if (bind(fd, (struct sockaddr *)&sun, sizeof sun) != 0 || chmod(path, 0660) != 0 || listen(fd, SOMAXCONN) != 0) {
		close(fd);
		return TF_E_IO;
	}
	*out = fd;
	return 0;
}
