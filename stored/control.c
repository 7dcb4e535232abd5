/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands: what is kept, and how the daemon fares. Answered from memory. */
#include "config.h"

#include "common/daemon/daemon.h"
#include "stored/stored.h"

static void
cmd_status(void *arg, struct ctl_req *req)
{
	const struct st *st = dmn_data(arg);
	struct js_w *w = ctl_row(req);

	js_w_ku64(w, "gateways", wire_hub_count(st->hub));
	js_w_ku64(w, "responses", st->totals.responses);
	js_w_ku64(w, "values", st->totals.values);
	js_w_ku64(w, "bytes", st->totals.bytes);
	js_w_ku64(w, "workspaces", st->totals.spaces);
	js_w_ku64(w, "pending", st->puts);
	js_w_kcstr(w, "store", st->trouble ? "in trouble" : "ok");
	ctl_row_end(req);
	ctl_end(req);
}

const struct ctl_cmd st_cmds[] = {
	{ "status", cmd_status, CTL_READ, "shows the state of stored", NULL, 0 },
};
const size_t st_n_cmds = TF_LEN(st_cmds);
