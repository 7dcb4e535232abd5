/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gatewayd says on its control socket, beside what every daemon says. Runs in the main thread and
 * reads only what the other threads publish for it.
 */
#include "config.h"

#include "common/daemon/daemon.h"
#include "gatewayd/gw.h"

static const char *const gw_waits_for[] = {
#define STATE(sym, name, whom) whom,
#include "gatewayd/state.def"
#undef STATE
};

static size_t
gw_ctl_in_state(const struct gw_thread *t, int state)
{
	return atomic_load_explicit(&t->in_state[state], memory_order_relaxed);
}

static void
gw_ctl_status(void *arg, struct ctl_req *req)
{
	struct gw *gw = dmn_data(arg);

	for (unsigned i = 0; i < gw->nthreads; i++) {
		const struct gw_thread *t = &gw->threads[i];
		struct js_w *w = ctl_row(req);
		size_t running = 0;

		for (int s = 0; s < GW_S_COUNT; s++)
			running += gw_ctl_in_state(t, s);
		js_w_kcstr(w, "name", t->name);
		js_w_kcstr(w, "role", "gatewayd");
		js_w_kcstr(w, "version", PACKAGE_VERSION);
		js_w_ku64(w, "wire", WIRE_MAJOR);
		js_w_kbool(w, "draining", dmn_draining(gw->dmn));
		js_w_ku64(w, "connections", atomic_load(&t->conns));
		js_w_ku64(w, "in_flight", running);
		js_w_ku64(w, "body_bytes", atomic_load_explicit(&t->bodies, memory_order_relaxed));
		js_w_ku64(w, "unsettled", atomic_load_explicit(&t->owed, memory_order_relaxed));
		js_w_kbool(w, "billingd", atomic_load_explicit(&t->billing_here, memory_order_relaxed));
		js_w_kbool(w, "routerd", atomic_load_explicit(&t->router_here, memory_order_relaxed));
		js_w_kbool(w, "stored", atomic_load_explicit(&t->store_here, memory_order_relaxed));
		js_w_ku64(w, "workers", atomic_load_explicit(&t->workers, memory_order_relaxed));
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
gw_ctl_requests(void *arg, struct ctl_req *req)
{
	struct gw *gw = dmn_data(arg);

	for (int s = 0; s < GW_S_COUNT; s++) {
		struct js_w *w = ctl_row(req);
		size_t n = 0;

		for (unsigned i = 0; i < gw->nthreads; i++)
			n += gw_ctl_in_state(&gw->threads[i], s);
		js_w_kcstr(w, "state", gw_state_name((enum gw_state)s));
		js_w_kcstr(w, "waits_for", gw_waits_for[s]);
		js_w_ku64(w, "requests", n);
		ctl_row_end(req);
	}
	ctl_end(req);
}

const struct ctl_cmd gw_cmds[GW_CMDS] = {
	{ "requests", gw_ctl_requests, CTL_READ, "requests under way, by whom they wait for", NULL, 0 },
	{ "status", gw_ctl_status, CTL_READ, "threads and their load", NULL, 0 },
};
