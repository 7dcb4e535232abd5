/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/daemon: what every daemon does, once. Arguments, configuration, log, inherited listen
 * sockets, notification of the service manager and its watchdog, signals, reload, drain, control
 * socket. A daemon is a table of hooks given to dmn_run; its main() is that one call.
 *
 * Order at start: arguments, limits, configuration, log, clock, loop, run directory, inherited
 * sockets, signals, control socket (so that a second instance ends here), init hook, READY=1.
 * TERM drains (a second TERM, INT or QUIT ends at once), HUP reloads (a bad file changes nothing and
 * is logged with file and line), USR1 calls dump.
 */
#ifndef TF_DAEMON_H
#define TF_DAEMON_H

#include "common/base/base.h"
#include "common/conf/conf.h"
#include "common/ctl/ctl.h"
#include "common/event/event.h"

/* Exit statuses, documented in every daemon's page. */
enum { DMN_EXIT_OK = 0, DMN_EXIT_FAILED = 1, DMN_EXIT_USAGE = 2, DMN_EXIT_CONFIG = 78 };

struct dmn;

struct dmn_option { /* a long option of this daemon alone; it takes a value */
	const char *name, *value, *help; /* "worker", "NAME", "..." */
	bool required;
};

struct dmn_hooks {
	const char *name;    /* "gatewayd": in the log, the metrics, --help */
	const char *summary; /* one line */
	const struct dmn_option *options;
	size_t noptions;
	/* Is this configuration fit for this daemon, beyond what common/conf checks? why gets the
	 * reason. May be NULL. Called for --check-config, at start and before each reload. */
	int (*check)(struct dmn *d, const struct conf *conf, char *why, size_t size);
	/* Instance name for the control socket; NULL: the daemon's name. */
	const char *(*instance)(struct dmn *d, const struct conf *conf);
	/* Builds everything; 0, or a negative code that has been logged. The loop does not run yet. */
	int (*init)(struct dmn *d);
	/* A new configuration is in force: dmn_conf is it. May be NULL. */
	void (*reload)(struct dmn *d, const struct conf *before);
	/* Stop taking work; call dmn_drained, now or later. NULL: drained at once. */
	void (*drain)(struct dmn *d);
	/* Frees what init made, also after a failed init; not called when init was not. */
	void (*stop)(struct dmn *d);
	/* Logs the state, for USR1. May be NULL. */
	void (*dump)(struct dmn *d);
	/* Longest drain in milliseconds; NULL: 60 s. */
	uint64_t (*drain_ms)(struct dmn *d);
	const struct ctl_cmd *cmds; /* beside those every daemon has; their arg is the dmn */
	size_t ncmds;
	/* As in ctl_options; NULL: billingd is told of what operators do. arg is the dmn. */
	void (*record)(void *arg, struct ctl_req *req, const struct ctl_act *a);
	bool owns_conf; /* frees the configurations itself (gatewayd: threads still use the old one) */
};

/*
 * Never returns before the daemon has ended: the exit status for main. At most 8 options of its own.
 * Core files are off (unless TF_DEBUG_CORE is in the environment) and the umask is 027.
 */
int dmn_run(const struct dmn_hooks *hooks, int argc, char **argv);

struct ev_loop *dmn_loop(struct dmn *d);
const struct conf *dmn_conf(const struct dmn *d);
/* Value of an option of the daemon's own; NULL when it was not given. Borrowed. */
const char *dmn_option(const struct dmn *d, const char *name);
void *dmn_data(const struct dmn *d);
void dmn_set_data(struct dmn *d, void *data);
/* All work is done: the loop ends. Harmless when repeated. */
void dmn_drained(struct dmn *d);
/* Something that cannot be mended: ends with DMN_EXIT_FAILED; the reason has been logged. */
void dmn_fail(struct dmn *d);
bool dmn_draining(const struct dmn *d);

/* Listen sockets of the service manager (sd_listen_fds(3)); name is its FileDescriptorName or NULL. */
size_t dmn_listen_count(const struct dmn *d);
int dmn_listen_fd(const struct dmn *d, size_t i);
const char *dmn_listen_name(const struct dmn *d, size_t i);

#endif
