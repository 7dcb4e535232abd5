/* SPDX-License-Identifier: Apache-2.0 */
/* The service manager's side of a daemon: sd_notify(3) and sd_listen_fds(3), spoken by ourselves. */
#ifndef TF_DAEMON_NOTIFY_H
#define TF_DAEMON_NOTIFY_H

#include <stddef.h>
#include <stdint.h>

#define DMN_FDS_MAX 16

struct dmn_fds {
	int fd[DMN_FDS_MAX];
	char *name[DMN_FDS_MAX]; /* owned; NULL when unnamed */
	size_t n;
};

/* Sends "READY=1" and the like to NOTIFY_SOCKET; nothing when there is none. */
void dmn_notify(const char *state);
/* Microseconds between two WATCHDOG=1 that the manager expects at most; 0: no watchdog. */
uint64_t dmn_watchdog_us(void);
/* Takes the sockets we inherited and clears the environment of them. */
void dmn_fds_take(struct dmn_fds *fds);
void dmn_fds_free(struct dmn_fds *fds);

#endif
