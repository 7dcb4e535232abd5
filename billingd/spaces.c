/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of what bounds a workspace beside its plan: caps, the budget, and top-ups. */
#include "config.h"

#include <stdio.h>

#include "billingd/billingd.h"

/* Known to gateways by their next grant: what they hold was measured by what is no more. */
static void
bounded(struct bl *bl, struct bl_workspace *w)
{
	bl_admin_tell(bl, NULL, &w->row.id);
	bl_admit_recall(bl, w);
}

static int
apply_space_set(struct bl_change *c)
{
	struct bl_workspace *w = bl_index_workspace(&c->bl->index, tf_id_span(&c->space.row.id));

	bl_space_set_apply(&w->row, &c->space);
	bounded(c->bl, w);
	return 0;
}

int
bl_admin_space_set(struct bl *bl, struct bl_workspace *w, const struct bl_space_set *set, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_space_set, o);

	if (c == NULL)
		return TF_E_NOMEM;
	c->space = *set;
	c->space.row.id = w->row.id;
	bl_change_about(c, &w->row.id, w->row.name);
	if (set->parts & BL_SPACE_TOKENS)
		bl_write_opt(&c->detail, "tokens", set->row.cap_tokens);
	if (set->parts & BL_SPACE_IMAGES)
		bl_write_opt(&c->detail, "images", set->row.cap_images);
	if (set->parts & BL_SPACE_AUDIO)
		bl_write_opt(&c->detail, "audio_ms", set->row.cap_audio_ms);
	if (set->parts & BL_SPACE_BUDGET)
		bl_write_money(&c->detail, "budget", set->row.budget);
	return bl_change_go(c, db_batch_add(c->batch, BL_OP_SPACE_SET, &c->space));
}

/* By differences, as in the store: requests drew on it while this was under way. */
static int
apply_topup(struct bl_change *c)
{
	struct bl_workspace *w = bl_index_workspace(&c->bl->index, tf_id_span(&c->topup.workspace));

	w->row.extra_tokens += c->topup.tokens;
	if (c->topup.money != 0) {
		w->row.balance.v = (w->row.balance.is ? w->row.balance.v : 0) + c->topup.money;
		w->row.balance.is = true;
	}
	bounded(c->bl, w);
	return 0;
}

static bool
out_of_range(int64_t v)
{
	return v > BL_TOPUP_MOST || v < -BL_TOPUP_MOST;
}

int
bl_admin_topup(struct bl *bl, struct bl_workspace *w, const struct bl_topup *t, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, apply_topup, o);
	int rc = 0;

	if (c == NULL)
		return TF_E_NOMEM;
	if ((t->tokens == 0 && t->money == 0) || out_of_range(t->tokens) || out_of_range(t->money) ||
	    (w->row.balance.is && out_of_range(w->row.balance.v + t->money)) || out_of_range(w->row.extra_tokens + t->tokens))
		rc = TF_E_INVAL;
	c->topup.id = tf_id_new();
	c->topup.workspace = w->row.id;
	c->topup.tokens = t->tokens;
	c->topup.money = t->money;
	c->topup.created_ms = c->audit.at_ms;
	snprintf(c->topup.actor, sizeof c->topup.actor, "%s", o->actor);
	if (rc == 0 && t->note.n > 0)
		rc = bl_name_copy(c->topup.note, BL_NOTE_MAX, t->note);
	bl_change_about(c, &w->row.id, w->row.name);
	if (t->tokens != 0)
		js_w_ki64(&c->detail, "tokens", t->tokens);
	if (t->money != 0)
		bl_write_money(&c->detail, "money", (struct bl_opt){ true, t->money });
	if (rc == 0 && t->note.n > 0)
		js_w_kcstr(&c->detail, "note", c->topup.note);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_TOPUP, &c->topup);
	return bl_change_go(c, rc);
}
