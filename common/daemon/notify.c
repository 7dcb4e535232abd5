/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two small protocols of systemd, without its library: a datagram to NOTIFY_SOCKET, and sockets
 * that start at descriptor 3.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/base.h"
#include "common/daemon/notify.h"

#define DMN_FDS_START 3

void
dmn_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n < 2 || n >= sizeof sun.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(sun.sun_path, path, n);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

/* A number from the environment, for this very process if it says so. */
static uint64_t
dmn_env_number(const char *name, const char *pid_name)
{
	const char *pid = getenv(pid_name), *text = getenv(name);
	uint64_t v;

	if (text == NULL)
		return 0;
	if (pid != NULL && (tf_span_u64(tf_cspan(pid), UINT32_MAX, &v) != 0 || v != (uint64_t)getpid()))
		return 0;
	return tf_span_u64(tf_cspan(text), UINT64_MAX, &v) == 0 ? v : 0;
}

uint64_t
dmn_watchdog_us(void)
{
	return dmn_env_number("WATCHDOG_USEC", "WATCHDOG_PID");
}

void
dmn_fds_take(struct dmn_fds *fds)
{
	uint64_t n = getenv("LISTEN_PID") ? dmn_env_number("LISTEN_FDS", "LISTEN_PID") : 0;
	const char *names = getenv("LISTEN_FDNAMES");

	fds->n = 0;
	for (uint64_t i = 0; i < n && fds->n < DMN_FDS_MAX; i++) {
		int fd = DMN_FDS_START + (int)i;
		size_t len = names ? strcspn(names, ":") : 0;

		if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0) {
			fds->fd[fds->n] = fd;
			fds->name[fds->n++] = len ? tf_span_dup(tf_span(names, len)) : NULL;
		}
		if (names != NULL)
			names = names[len] == ':' ? names + len + 1 : NULL;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

void
dmn_fds_free(struct dmn_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		free(fds->name[i]);
	fds->n = 0;
}
