/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which limits hold for a workspace and a key, from the plan and their rows, and what of them was
 * used before a restart. Called by admit.c with each ask, so that a change is felt at once.
 */
#include "config.h"

#include "billingd/billingd.h"

/* ---- limits ------------------------------------------------------------------------------- */

const struct conf_plan *
bl_plan_of(struct bl *bl, struct bl_workspace *w)
{
	if (w->conf_number != bl->conf_number || w->plan == NULL || strcmp(w->plan->name, w->row.plan) != 0) {
		w->plan = conf_find_plan(bl->conf, tf_cspan(w->row.plan));
		w->conf_number = bl->conf_number;
	}
	return w->plan;
}

void
bl_limits_check(struct bl *bl)
{
	const struct bl_workspace *first = NULL;
	struct bl_workspace *w;
	size_t pos = 0, n = 0;

	while ((w = tf_map_next(&bl->index.workspaces, &pos)) != NULL)
		if (bl_plan_of(bl, w) == NULL && n++ == 0)
			first = w;
	if (first != NULL)
		tf_log(TF_ERROR, "limits", NULL, "workspaces whose plan is not configured are refused count=%zu first=%s plan=%s",
		    n, tf_log_q(tf_cspan(first->row.name)), tf_log_q(tf_cspan(first->row.plan)));
}

/* Where 0 says that there is no limit. */
static uint64_t
limit_of(int64_t n)
{
	return n > 0 ? (uint64_t)n : BL_NO_LIMIT;
}

/* Where 0 is a limit too. */
static uint64_t
limit_opt(const struct bl_opt *o)
{
	return !o->is ? BL_NO_LIMIT : o->v > 0 ? (uint64_t)o->v : 0;
}

static bool
workspace_limits(struct bl *bl, struct bl_workspace *space, struct bl_now now)
{
	const struct conf_plan *plan = bl_plan_of(bl, space);
	const struct bl_workspace_row *row = &space->row;
	struct bl_account *w = &space->account;

	if (plan == NULL)
		return false;
	bl_account_limit(w, BL_M_RPM, limit_of(plan->rpm));
	bl_account_limit(w, BL_M_TPM, limit_of(plan->tpm));
	bl_account_limit(w, BL_M_CONCURRENCY, limit_of(plan->concurrency));
	bl_account_window(w, plan->window[0] == 'f' ? plan->window_length : BL_MONTH,
	    plan->window[0] != 'n' ? (uint64_t)plan->window_tokens : 0,
	    row->extra_tokens > 0 ? (uint64_t)row->extra_tokens : 0, now);
	bl_account_limit(w, BL_M_BALANCE, limit_opt(&row->balance));
	bl_account_limit(w, BL_M_BUDGET, limit_opt(&row->budget));
	bl_account_limit(w, BL_M_CAP_TOKENS, limit_opt(&row->cap_tokens));
	bl_account_limit(w, BL_M_CAP_IMAGES, limit_opt(&row->cap_images));
	bl_account_limit(w, BL_M_CAP_AUDIO, limit_opt(&row->cap_audio_ms));
	return true;
}

bool
bl_admit_limits(struct bl *bl, struct bl_key *k, struct bl_now now)
{
	if (!workspace_limits(bl, k->workspace, now))
		return false;
	bl_account_limit(&k->account, BL_M_KEY_RPM, limit_of(k->row.rpm));
	bl_account_limit(&k->account, BL_M_KEY_TPM, limit_of(k->row.tpm));
	bl_account_limit(&k->account, BL_M_KEY_CONCURRENCY, limit_of(k->row.concurrency));
	bl_account_limit(&k->account, BL_M_KEY_BUDGET, limit_opt(&k->row.budget));
	return true;
}

/* For messages: 0 of what nothing limits. */
static uint64_t
room(const struct bl_account *a, enum bl_meter_id m)
{
	return a->limited & 1u << m ? bl_account_room(a, m) : 0;
}

/* The number of a window that runs, else 0. */
static uint64_t
running(const struct bl_window *w, struct bl_now now)
{
	return bl_window_runs(w, now) ? w->number : 0;
}

struct bl_state
bl_key_state(struct bl_key *k, struct bl_now now)
{
	const struct bl_account *w = &k->workspace->account, *own = &k->account;
	struct bl_pair pair = bl_key_pair(k);
	struct bl_state s = { 0 };

	bl_account_turn(&pair, now);
	s.limit = w->limited & 1u << BL_M_RPM ? w->meter[BL_M_RPM].limit : 0;
	s.tpm = w->limited & 1u << BL_M_TPM ? w->meter[BL_M_TPM].limit : 0;
	s.requests = room(w, BL_M_RPM);
	s.tokens = room(w, BL_M_TPM);
	s.reset_ms = bl_window_left(&w->window[BL_W_MINUTE], now);
	s.budgeted = w->limited & 1u << BL_M_WINDOW;
	s.budget = room(w, BL_M_WINDOW);
	s.budget_reset_ms = bl_window_left(&w->window[BL_W_BUDGET], now);
	s.own = own->limited & (1u << BL_M_KEY_RPM | 1u << BL_M_KEY_TPM);
	s.key_requests = room(own, BL_M_KEY_RPM);
	s.key_tokens = room(own, BL_M_KEY_TPM);
	s.key_reset_ms = bl_window_left(&own->window[BL_W_KEY], now);
	s.window[BL_W_MINUTE] = running(&w->window[BL_W_MINUTE], now);
	if (s.budgeted)
		s.window[BL_W_BUDGET] = running(&w->window[BL_W_BUDGET], now);
	if (s.own)
		s.window[BL_W_KEY] = running(&own->window[BL_W_KEY], now);
	return s;
}

struct bl_room
bl_key_room(struct bl_key *k, bool begins)
{
	struct bl_pair pair = bl_key_pair(k);
	struct bl_room r = { BL_NO_LIMIT, BL_NO_LIMIT };

	for (unsigned i = 0; i < BL_METERS; i++) {
		const struct bl_account *a = pair.of[bl_meter_rows[i].scope];
		uint64_t left = bl_account_room(a, (enum bl_meter_id)i), unused = bl_account_unused(a, (enum bl_meter_id)i);

		if (begins && left < unused / 2)
			left = unused;
		if (bl_meter_rows[i].unit == BL_U_TOKENS && left < r.tokens)
			r.tokens = left;
		if (bl_meter_rows[i].unit == BL_U_MONEY && left < r.money)
			r.money = left;
	}
	return r;
}

struct bl_space_state
bl_space_state(struct bl *bl, struct bl_workspace *w, struct bl_now now)
{
	const struct bl_account *a = &w->account;
	struct bl_space_state s = { .limit = BL_NO_LIMIT };
	struct bl_account nobody;
	struct bl_pair pair = { { [BL_WORKSPACE] = &w->account, [BL_KEY] = &nobody } };

	bl_account_init(&nobody, BL_KEY);
	(void)workspace_limits(bl, w, now);
	bl_account_turn(&pair, now);
	s.window = a->window[BL_W_BUDGET];
	s.used = a->meter[BL_M_WINDOW].used;
	if (a->limited & 1u << BL_M_WINDOW)
		s.limit = (s.used > a->size ? s.used : a->size) + a->extra;
	for (unsigned m = 0; m < BL_METERS; m++) {
		s.cap[m] = a->limited & 1u << m ? a->meter[m].limit : BL_NO_LIMIT;
		s.spent[m] = a->meter[m].used;
	}
	return s;
}

/* ---- after a restart ---------------------------------------------------------------------- */

static void
restore(struct bl *bl, const struct bl_window_row *row, struct bl_now now)
{
	struct bl_workspace *w = bl_index_workspace(&bl->index, tf_id_span(&row->workspace));
	struct bl_key *k = row->of_key ? bl_index_key(&bl->index, tf_id_span(&row->key)) : NULL;
	struct bl_amount used = { { [BL_U_REQUESTS] = row->requests, [BL_U_TOKENS] = row->tokens,
		[BL_U_MONEY] = row->money, [BL_U_IMAGES] = row->images, [BL_U_AUDIO] = row->audio_ms } };
	struct bl_account nobody;
	struct bl_pair pair;

	if (w == NULL || (row->of_key && k == NULL))
		return;
	bl_account_init(&nobody, BL_KEY);
	pair = (struct bl_pair){ { [BL_WORKSPACE] = &w->account, [BL_KEY] = k != NULL ? &k->account : &nobody } };
	(void)workspace_limits(bl, w, now);
	bl_account_restore(&pair, k != NULL ? BL_KEY : BL_WORKSPACE, (enum bl_window_kind)row->kind, row->window, &used, now);
}

/* A record names its token window by number; the store wants to know how large that is and when it ends. */
void
bl_limits_window(struct bl *bl, struct bl_usage *u)
{
	struct bl_workspace *w = u->window.budget != 0 ? bl_index_workspace(&bl->index, tf_id_span(&u->workspace)) : NULL;
	uint64_t number[BL_WINDOWS] = { [BL_W_BUDGET] = u->window.budget };
	struct bl_now now = bl_now();
	struct bl_account nobody;
	struct bl_pair pair;

	u->window_size = u->window_ends_ms = 0;
	if (w == NULL || !workspace_limits(bl, w, now) || w->account.size == 0)
		return;
	bl_account_init(&nobody, BL_KEY);
	pair = (struct bl_pair){ { [BL_WORKSPACE] = &w->account, [BL_KEY] = &nobody } };
	bl_account_adopt(&pair, number, now);
	if (w->account.window[BL_W_BUDGET].number != u->window.budget)
		return;
	u->window_size = w->account.size;
	u->window_ends_ms = bl_window_end(&w->account.window[BL_W_BUDGET], now);
}

void
bl_limits_load(struct bl *bl, const struct bl_start *s)
{
	struct bl_now now = bl_now();

	for (size_t i = 0; i < s->n_windows; i++)
		restore(bl, &s->windows[i], now);
}
