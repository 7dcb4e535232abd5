/* SPDX-License-Identifier: Apache-2.0 */
/* billingd as a daemon: start, reload, drain. What it does stands elsewhere. */
#include "config.h"

#include <stdio.h>

#include "billingd/control.h"
#include "common/daemon/daemon.h"

#define DRAIN_MS 10000 /* the disk has that long to take what is in memory */

struct bl *
bl_of_command(void *arg)
{
	return dmn_data(arg);
}

static int
init(struct dmn *d)
{
	struct bl *bl = NULL;
	int rc = bl_new(dmn_loop(d), dmn_conf(d), &bl);

	dmn_set_data(d, bl);
	return rc;
}

static void
reload(struct dmn *d, const struct conf *before)
{
	(void)before;
	bl_reload(dmn_data(d), dmn_conf(d));
}

static void
drained(void *arg)
{
	dmn_drained(arg);
}

static void
drain(struct dmn *d)
{
	bl_drain(dmn_data(d), drained, d);
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
	struct bl *bl = dmn_data(d);

	bl_free(&bl);
	dmn_set_data(d, NULL);
}

static void
dump(struct dmn *d)
{
	const struct bl *bl = dmn_data(d);

	tf_log(TF_INFO, "daemon", NULL, "state gateways=%zu workspaces=%zu keys=%zu pending=%zu changes=%zu limits_known=%d",
	    wire_hub_count(bl->hub), bl->index.workspaces.n, bl->index.keys.n, bl->ledger.held, bl->changes,
	    bl->blind_until == 0);
}

int
bl_main(int argc, char **argv)
{
	const struct dmn_hooks hooks = { .name = "billingd", .summary = "keeps keys, limits and the usage ledger",
		.init = init, .reload = reload, .drain = drain, .stop = stop, .dump = dump, .drain_ms = drain_ms,
		.cmds = bl_cmds, .ncmds = bl_n_cmds, .record = bl_record_act };

	return dmn_run(&hooks, argc, argv);
}
