/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's commands about gateways: what each start of a thread holds, and that one whose files are lost is gone for
 * ever. What a dead start may have used stays taken until its records have been told whole; when they never will be,
 * somebody has to say so.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>

#include "billingd/control.h"

struct holding {
	uint64_t keys, grants, tokens, money, slots;
};

static struct holding
holding_of(const struct bl_gateway *g)
{
	struct tf_node *e, *tmp;
	struct holding s = { 0 };

	TF_LIST_EACH(&g->holder.holds, e, tmp) {
		const struct bl_hold *h = TF_CONTAINER(e, struct bl_hold, of_holder);
		uint64_t money = 0;

		/* the same money stands on each of these that is limited */
		for (int m = BL_M_BALANCE; m <= BL_M_KEY_BUDGET; m++)
			if (h->held[m] > money)
				money = h->held[m];
		s.keys++;
		s.grants += h->grants.n;
		s.tokens += h->held[BL_M_CAP_TOKENS];
		s.money += money;
		s.slots += h->held[BL_M_CONCURRENCY];
	}
	return s;
}

static void
gateway_row(struct ctl_req *req, const struct bl_gateway *g)
{
	struct holding s = holding_of(g);
	struct js_w *w = ctl_row(req);
	char boot[20];

	snprintf(boot, sizeof boot, "%016" PRIx64, g->row.boot);
	js_w_kcstr(w, "name", g->row.name);
	js_w_kcstr(w, "boot", boot);
	js_w_kcstr(w, "state", g->peer != NULL ? "connected" : "gone");
	bl_write_time(w, "gone", g->peer != NULL ? 0 : bl_wall_ms() - (int64_t)(tf_mono_ms() - g->gone_mono));
	js_w_ku64(w, "records", g->committed);
	js_w_ku64(w, "keys", s.keys);
	js_w_ku64(w, "grants", s.grants);
	js_w_ku64(w, "slots", s.slots);
	js_w_ku64(w, "tokens", s.tokens);
	js_w_key(w, "money");
	js_w_nano(w, (int64_t)s.money);
	ctl_row_end(req);
}

void
bl_cmd_gateway_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	bool all = ctl_bool(req, "all", false);
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		const struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (all || g->peer != NULL || g->holder.holds.n > 0)
			gateway_row(req, g);
	}
	ctl_end(req);
}

/* "gatewayd.0", or with "gatewayd" every thread of it. */
static bool
is_named(const struct bl_gateway *g, struct tf_span name)
{
	const char *rest = g->row.name + name.n;

	if (strncmp(g->row.name, name.p, name.n) != 0)
		return false;
	return *rest == '\0' || (*rest == '.' && rest[1] != '\0' && rest[1 + strspn(rest + 1, "0123456789")] == '\0');
}

void
bl_cmd_gateway_forget(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct tf_span name = ctl_str(req, "gateway");
	size_t connected = 0, fresh = 0, gone = 0;
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&bl->gateways, e, tmp) {
		const struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (!is_named(g, name))
			continue;
		connected += g->peer != NULL;
		fresh += g->peer == NULL && !g->stopped;
		gone += g->peer == NULL;
	}
	if (connected + gone == 0)
		ctl_fail(req, CTL_NOT_FOUND, "no such gateway; gateway list --all shows them");
	else if (gone == 0)
		ctl_fail(req, CTL_CONFLICT, TF_SPAN_FMT " is connected, and gives back itself what it holds", TF_SPAN_ARG(name));
	else if (fresh > 0)
		ctl_fail(req, CTL_CONFLICT, TF_SPAN_FMT " left only now: what it runs ends within three heartbeats",
		    TF_SPAN_ARG(name));
	if (gone == 0 || fresh > 0)
		return;
	TF_LIST_EACH(&bl->gateways, e, tmp) {
		struct bl_gateway *g = TF_CONTAINER(e, struct bl_gateway, node);

		if (!is_named(g, name) || g->peer != NULL)
			continue;
		gateway_row(req, g);
		bl_peers_forget(bl, g);
	}
	ctl_end(req);
}
