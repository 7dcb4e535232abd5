/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routerd as a daemon: configuration, start, reload, drain. The router itself knows
 * nothing of these.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/daemon/daemon.h"
#include "routerd/inside.h"

struct routerd {
	struct ev_zctx *zctx;
	struct rt *rt;
};

struct rt *
rt_of_command(void *arg)
{
	const struct routerd *r = dmn_data(arg);

	return r->rt;
}

static struct rt_options
options_of(const struct conf *conf)
{
	return (struct rt_options){ .queue_max = (uint64_t)conf->routerd.queue_max };
}

static const char *
instance(struct dmn *d, const struct conf *conf)
{
	(void)d;
	return conf->routerd.name;
}

static int
init(struct dmn *d)
{
	const struct conf *conf = dmn_conf(d);
	struct rt_options options = options_of(conf);
	struct wire_self self = { .name = conf->routerd.name, .boot = tf_random_u64(),
		.build = PACKAGE_VERSION, .heartbeat_ms = (unsigned)conf->common.heartbeat };
	struct routerd *r = calloc(1, sizeof *r);
	char endpoint[512];
	int n, rc = TF_E_NOMEM;

	n = snprintf(endpoint, sizeof endpoint, "ipc://%s/routerd.sock", conf->common.run_dir);
	if (r != NULL && (r->zctx = ev_zctx_new(1)) != NULL && n > 0) {
		dmn_set_data(d, r);
		rc = (size_t)n < sizeof endpoint ? rt_new(dmn_loop(d), r->zctx, &self, endpoint, &options, &r->rt)
						 : TF_E_RANGE;
	} else {
		free(r);
	}
	if (rc != 0)
		tf_log(TF_ERROR, "daemon", NULL, "cannot listen for gateways and workers endpoint=%s error=%s",
		    tf_log_q(tf_cspan(endpoint)), rc == TF_E_EXIST ? "another router runs" : tf_err_text(rc));
	return rc;
}

static void
reload(struct dmn *d, const struct conf *before)
{
	struct rt_options options = options_of(dmn_conf(d));
	struct routerd *r = dmn_data(d);

	(void)before;
	rt_reload(r->rt, &options);
}

static void
drained(void *arg)
{
	dmn_drained(arg);
}

static void
drain(struct dmn *d)
{
	struct routerd *r = dmn_data(d);

	rt_drain(r->rt, dmn_conf(d)->routerd.drain_timeout, drained, d);
}

/* The router gives up by itself; the skeleton only waits a little longer. */
static uint64_t
drain_ms(struct dmn *d)
{
	return dmn_conf(d)->routerd.drain_timeout + 1000;
}

static void
stop(struct dmn *d)
{
	struct routerd *r = dmn_data(d);

	if (r == NULL)
		return;
	rt_free(&r->rt);
	ev_zctx_free(&r->zctx);
	free(r);
	dmn_set_data(d, NULL);
}

static void
dump(struct dmn *d)
{
	const struct routerd *r = dmn_data(d);
	struct rt_stats s = rt_stats(r->rt);

	tf_log(TF_INFO, "daemon", NULL, "state gateways=%zu workers=%zu workers_up=%zu models=%zu queued=%zu sent=%zu",
	    s.gateways, s.workers, s.workers_up, s.models, s.queued, s.sent);
}

int
rt_main(int argc, char **argv)
{
	struct dmn_hooks hooks = { .name = "routerd", .summary = "picks a worker for every request",
		.instance = instance, .init = init, .reload = reload, .drain = drain, .stop = stop,
		.dump = dump, .drain_ms = drain_ms };

	hooks.cmds = rt_commands(&hooks.ncmds);
	return dmn_run(&hooks, argc, argv);
}
