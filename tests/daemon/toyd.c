/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest daemon on the skeleton, for test_daemon.py: each hook says in the log that it was
 * called, and --mode picks how it drains or fails.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/daemon/daemon.h"

#define SLOW_MS 400

static struct ev_timer done;

static bool
mode_is(const struct dmn *d, const char *mode)
{
	return strcmp(dmn_option(d, "mode"), mode) == 0;
}

static int
toy_check(struct dmn *d, const struct conf *conf, char *why, size_t size)
{
	(void)d;
	if (conf->common.heartbeat <= 5000)
		return 0;
	snprintf(why, size, "heartbeat of %llu ms is too long for a toy", (unsigned long long)conf->common.heartbeat);
	return TF_E_INVAL;
}

static void
toy_done(void *arg)
{
	dmn_drained(arg);
}

static int
toy_init(struct dmn *d)
{
	tf_log(TF_INFO, "toy", NULL, "init extra=%s", dmn_option(d, "extra") ? dmn_option(d, "extra") : "none");
	ev_timer_init(&done, dmn_loop(d), toy_done, d);
	dmn_set_data(d, &done);
	return mode_is(d, "badinit") ? TF_E_IO : 0;
}

static void
toy_reload(struct dmn *d, const struct conf *before)
{
	tf_log(TF_INFO, "toy", NULL, "reload from=%s to=%s", before->common.log_level, dmn_conf(d)->common.log_level);
}

static void
toy_drain(struct dmn *d)
{
	tf_log(TF_INFO, "toy", NULL, "drain draining=%d", dmn_draining(d));
	if (mode_is(d, "slow"))
		ev_timer_set(&done, SLOW_MS);
	else if (mode_is(d, "fails"))
		dmn_fail(d);
	else if (!mode_is(d, "stuck"))
		dmn_drained(d);
}

static uint64_t
toy_drain_ms(struct dmn *d)
{
	return mode_is(d, "stuck") ? 0 : 60000;
}

static void
toy_stop(struct dmn *d)
{
	tf_log(TF_INFO, "toy", NULL, "stop data=%d", dmn_data(d) == &done);
	ev_timer_del(&done);
}

static void
toy_dump(struct dmn *d)
{
	mode_t mask = umask(0);
	struct rlimit core;

	umask(mask);
	getrlimit(RLIMIT_CORE, &core);
	tf_log(TF_INFO, "toy", NULL, "dump umask=%03o core=%llu dumpable=%d fds=%zu env=%s", mask,
	    (unsigned long long)core.rlim_cur, prctl(PR_GET_DUMPABLE), dmn_listen_count(d),
	    getenv("LISTEN_FDS") ? "left" : "clean");
	for (size_t i = 0; i < dmn_listen_count(d); i++)
		tf_log(TF_INFO, "toy", NULL, "socket fd=%d name=%s cloexec=%d nonblock=%d", dmn_listen_fd(d, i),
		    dmn_listen_name(d, i) ? dmn_listen_name(d, i) : "none",
		    (fcntl(dmn_listen_fd(d, i), F_GETFD) & FD_CLOEXEC) != 0,
		    (fcntl(dmn_listen_fd(d, i), F_GETFL) & O_NONBLOCK) != 0);
}

int
main(int argc, char **argv)
{
	static const struct dmn_option options[] = {
		{ "mode", "MODE", "quick, slow, stuck, fails or badinit", true },
		{ "extra", "TEXT", "said at the start", false },
	};
	static const struct dmn_hooks hooks = {
		.name = "toyd",
		.summary = "proves the skeleton",
		.options = options,
		.noptions = TF_LEN(options),
		.check = toy_check,
		.init = toy_init,
		.reload = toy_reload,
		.drain = toy_drain,
		.drain_ms = toy_drain_ms,
		.stop = toy_stop,
		.dump = toy_dump,
	};

	return dmn_run(&hooks, argc, argv);
}
