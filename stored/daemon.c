/* SPDX-License-Identifier: Apache-2.0 */
/* stored as a daemon: start, reload, drain. What it does stands elsewhere. */
#include "config.h"

#include <stdio.h>

#include "stored/stored.h"
#include "common/daemon/daemon.h"

#define DRAIN_MS 10000 /* the disk has that long to take what is in memory */

static int
init(struct dmn *d)
{
	struct st *st = NULL;
	int rc = st_new(dmn_loop(d), dmn_conf(d), &st);

	dmn_set_data(d, st);
	return rc;
}

static void
reload(struct dmn *d, const struct conf *before)
{
	(void)before;
	st_reload(dmn_data(d), dmn_conf(d));
}

static void
drained(void *arg)
{
	dmn_drained(arg);
}

static void
drain(struct dmn *d)
{
	st_drain(dmn_data(d), drained, d);
}

static uint64_t
drain_ms(struct dmn *d)
{
	(void)d;
	return DRAIN_MS;
}

static void
stop(struct dmn *d)
{
	struct st *st = dmn_data(d);

	st_free(&st);
	dmn_set_data(d, NULL);
}

static void
dump(struct dmn *d)
{
	const struct st *st = dmn_data(d);

	tf_log(TF_INFO, "daemon", NULL, "state gateways=%zu arriving=%zu pending=%zu asks=%zu held_bytes=%llu bytes=%llu",
	    wire_hub_count(st->hub), st->arriving.n, st->puts, st->asks, (unsigned long long)st->held,
	    (unsigned long long)st->totals.bytes);
}

int
st_main(int argc, char **argv)
{
	const struct dmn_hooks hooks = { .name = "stored", .summary = "keeps what outlives a request",
		.init = init, .reload = reload, .drain = drain, .stop = stop, .dump = dump, .drain_ms = drain_ms,
		.cmds = st_cmds, .ncmds = st_n_cmds };

	return dmn_run(&hooks, argc, argv);
}
