/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands about workspaces. */
#include "config.h"

#include <stdlib.h>

#include "billingd/control.h"

/* Whole seconds are what caps are set in. */
static void
write_seconds(struct js_w *w, const char *name, struct bl_opt ms)
{
	ms.v /= 1000;
	bl_write_opt(w, name, ms);
}

static void
write_workspace(struct js_w *w, const struct bl_workspace *ws)
{
	bl_write_id(w, "id", &ws->row.id);
	js_w_kcstr(w, "name", ws->row.name);
	js_w_kcstr(w, "plan", ws->row.plan);
	bl_write_time(w, "created", ws->row.created_ms);
	js_w_ku64(w, "keys", ws->n_keys);
	bl_write_opt(w, "cap_tokens", ws->row.cap_tokens);
	bl_write_opt(w, "cap_images", ws->row.cap_images);
	write_seconds(w, "cap_audio_seconds", ws->row.cap_audio_ms);
	bl_write_money(w, "budget", ws->row.budget);
	bl_write_money(w, "balance", ws->row.balance);
	js_w_ki64(w, "extra_tokens", ws->row.extra_tokens);
}

static void
workspace_row(struct ctl_req *req, const struct bl_workspace *ws)
{
	write_workspace(ctl_row(req), ws);
	ctl_row_end(req);
}

static void
workspace_changed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "a workspace of that name exists", ""))
		return;
	workspace_row(req, bl_index_workspace(&c->bl->index, tf_id_span(&c->workspace.id)));
	ctl_end(req);
}

void
bl_cmd_workspace_create(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, workspace_changed);
	struct tf_span plan = ctl_has(req, "plan") ? ctl_str(req, "plan") : TF_SPAN("test");

	if (conf_find_plan(bl->conf, plan) == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such plan; plan list shows them");
	else
		(void)bl_change_failed(req, bl_admin_workspace(bl, ctl_str(req, "name"), plan, &o), "", "");
}

void
bl_cmd_workspace_set_plan(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, workspace_changed);
	struct bl_workspace *w = bl_take_workspace(bl, req);

	if (w == NULL)
		return;
	if (conf_find_plan(bl->conf, ctl_str(req, "plan")) == NULL)
		ctl_fail(req, CTL_NOT_FOUND, "no such plan; plan list shows them");
	else
		(void)bl_change_failed(req, bl_admin_plan(bl, w, ctl_str(req, "plan"), &o), "", "");
}

void
bl_cmd_workspace_list(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w;
	size_t pos = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		workspace_row(req, w);
	ctl_end(req);
}

/* What the plan gives: kept in the configuration, not in the row. */
static void
write_plan(struct js_w *w, const struct conf_plan *p)
{
	bl_write_opt(w, "rpm", (struct bl_opt){ p != NULL && p->rpm != 0, p != NULL ? p->rpm : 0 });
	bl_write_opt(w, "tpm", (struct bl_opt){ p != NULL && p->tpm != 0, p != NULL ? p->tpm : 0 });
	bl_write_opt(w, "concurrency", (struct bl_opt){ p != NULL && p->concurrency != 0, p != NULL ? p->concurrency : 0 });
	bl_write_opt(w, "window_tokens", (struct bl_opt){ p != NULL && p->window_tokens != 0, p != NULL ? p->window_tokens : 0 });
}

static void
info_rows(const struct bl *bl, struct ctl_req *req, const void *what)
{
	const struct bl_space_info *s = what;
	const struct bl_workspace *ws = bl_index_workspace(&bl->index, tf_id_span(&s->sums.workspace));
	const struct bl_sum none = { 0 }, *used = s->sums.n[BL_BY_TOTAL] > 0 ? &s->sums.v[BL_BY_TOTAL][0] : &none;
	struct js_w *w;

	if (ws == NULL)
		return; /* workspaces stay */
	w = ctl_row(req);
	write_workspace(w, ws);
	write_plan(w, conf_find_plan(bl->conf, tf_cspan(ws->row.plan)));
	js_w_ki64(w, "members", s->members);
	js_w_ki64(w, "deployments", s->deployments);
	js_w_ku64(w, "month_requests", used->requests);
	js_w_ku64(w, "month_tokens", bl_tokens_sum(&used->tokens));
	js_w_ku64(w, "month_images", used->units.images);
	js_w_key(w, "month_audio_seconds");
	js_w_nano_number(w, (int64_t)used->units.audio_ms * 1000000);
	bl_write_money(w, "month_cost", (struct bl_opt){ true, (int64_t)used->cost });
	ctl_row_end(req);
}

static void
info_fini(void *what)
{
	bl_sums_fini(&((struct bl_space_info *)what)->sums);
}

void
bl_cmd_workspace_show(void *arg, struct ctl_req *req)
{
	static const struct bl_read_kind kind = { BL_OP_SPACE_INFO, sizeof(struct bl_space_info), info_rows, info_fini };
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *ws = bl_take_workspace(bl, req);
	struct bl_space_info *s = ws != NULL ? bl_read_new(&kind, req) : NULL;

	if (s == NULL)
		return;
	s->sums.workspace = ws->row.id;
	s->sums.by = 1u << BL_BY_TOTAL;
	bl_period_range(BL_P_MONTH, bl_wall_ms(), &s->sums.from_ms, &s->sums.to_ms);
	bl_read(bl, req, &kind, s);
}

/* ---- what bounds it ----------------------------------------------------------------------- */

static void
space_changed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "", ""))
		return;
	workspace_row(req, bl_index_workspace(&c->bl->index, tf_id_span(&c->space.row.id)));
	ctl_end(req);
}

void
bl_cmd_workspace_cap(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, space_changed);
	struct bl_workspace *w = bl_take_workspace(bl, req);
	struct bl_space_set set = { 0 };
	bool tokens, images, audio;

	if (w == NULL || !bl_take_number(req, "tokens", 0, &tokens, &set.row.cap_tokens) ||
	    !bl_take_number(req, "images", 0, &images, &set.row.cap_images) ||
	    !bl_take_number(req, "audio_seconds", 0, &audio, &set.row.cap_audio_ms))
		return;
	set.row.cap_audio_ms.v *= 1000;
	set.parts = (tokens ? BL_SPACE_TOKENS : 0u) | (images ? BL_SPACE_IMAGES : 0u) | (audio ? BL_SPACE_AUDIO : 0u);
	if (set.parts == 0)
		ctl_fail(req, CTL_USAGE, "nothing to change: tokens, images or audio-seconds");
	else
		(void)bl_change_failed(req, bl_admin_space_set(bl, w, &set, &o), "", "");
}

void
bl_cmd_workspace_budget(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_order o = bl_order_of(req, space_changed);
	struct bl_workspace *w = bl_take_workspace(bl, req);
	struct bl_space_set set = { .parts = BL_SPACE_BUDGET };
	bool given;

	if (w != NULL && bl_take_money(req, "budget", &given, &set.row.budget))
		(void)bl_change_failed(req, bl_admin_space_set(bl, w, &set, &o), "", "");
}

/* ---- top-ups ------------------------------------------------------------------------------ */

static void
topup_row(struct ctl_req *req, const struct bl *bl, const struct bl_topup_row *t)
{
	struct js_w *w = ctl_row(req);

	bl_write_id(w, "id", &t->id);
	bl_write_workspace(w, bl, &t->workspace);
	bl_write_time(w, "at", t->created_ms);
	bl_write_opt(w, "tokens", (struct bl_opt){ t->tokens != 0, t->tokens });
	bl_write_money(w, "money", (struct bl_opt){ t->money != 0, t->money });
	js_w_kcstr(w, "actor", t->actor);
	js_w_kcstr(w, "note", t->note[0] != '\0' ? t->note : NULL);
	ctl_row_end(req);
}

static void
topped_up(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (bl_change_failed(req, c->rc, "", "fewer topped-up tokens are left than that would take back"))
		return;
	workspace_row(req, bl_index_workspace(&c->bl->index, tf_id_span(&c->topup.workspace)));
	ctl_end(req);
}

/* [-]12 or [-]0.25, as the parser of amounts takes it; false: it is none. */
static bool
signed_amount(struct tf_span text, bool money, int64_t *out)
{
	bool minus = text.n > 0 && text.p[0] == '-';
	uint64_t v = 0;

	*out = 0;
	if (text.p == NULL)
		return true;
	text = tf_span(text.p + minus, text.n - minus);
	if (money ? tf_money_parse(text.p, out) != 0 : tf_span_u64(text, BL_TOPUP_MOST, &v) != 0)
		return false;
	if (!money)
		*out = (int64_t)v;
	if (minus)
		*out = -*out;
	return *out != 0;
}

static void
topup(struct bl *bl, struct ctl_req *req, struct bl_workspace *w, const struct bl_topup *t)
{
	struct bl_order o = bl_order_of(req, topped_up);
	int rc = bl_admin_topup(bl, w, t, &o);

	if (rc == TF_E_INVAL)
		ctl_fail(req, CTL_USAGE, "more than can be kept, or a note with characters that cannot be shown");
	else
		(void)bl_change_failed(req, rc, "", "");
}

void
bl_cmd_topup(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_topup t = { .note = ctl_str(req, "note") };
	struct bl_workspace *w = bl_take_workspace(bl, req);

	if (w == NULL)
		return;
	if (!signed_amount(ctl_str(req, "tokens"), false, &t.tokens) || !signed_amount(ctl_str(req, "money"), true, &t.money))
		ctl_fail(req, CTL_USAGE, "tokens is a whole number, money an amount like 25 or 0.125; neither is 0");
	else if (t.tokens == 0 && t.money == 0)
		ctl_fail(req, CTL_USAGE, "a top-up has tokens, money or both");
	else if ((t.note.p != NULL && t.note.n == 0) || t.note.n > BL_NOTE_MAX)
		ctl_fail(req, CTL_USAGE, "a note has 1 to %d characters", BL_NOTE_MAX);
	else
		topup(bl, req, w, &t);
}

static void
topup_rows(const struct bl *bl, struct ctl_req *req, const void *what)
{
	const struct bl_topups *s = what;

	for (size_t i = 0; i < s->n; i++)
		topup_row(req, bl, &s->v[i]);
}

static void
topups_fini(void *what)
{
	bl_topups_fini(what);
}

void
bl_cmd_topup_list(void *arg, struct ctl_req *req)
{
	static const struct bl_read_kind kind = { BL_OP_TOPUPS, sizeof(struct bl_topups), topup_rows, topups_fini };
	struct bl *bl = bl_of_command(arg);
	struct bl_topups *s = bl_read_new(&kind, req);

	if (s == NULL)
		return;
	if (!bl_take_scope(bl, req, &s->of_workspace, &s->workspace)) {
		free(s);
		return;
	}
	bl_read(bl, req, &kind, s);
}
