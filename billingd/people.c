/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of users and of who is a member of which workspace. No request is served by them, so they
 * are not kept in memory: the store finds and checks them in the change's transaction.
 */
#include "config.h"

#include "billingd/billingd.h"

/* What people type with their caps lock on is the same user. */
int
bl_user_name(struct bl_user_row *out, struct tf_span text)
{
	int rc = bl_name_copy(out->name, BL_USER_MAX, text);

	if (rc != 0)
		return rc;
	if (text.n == TF_ID_TEXT && tf_id_parse(text, &out->id) == 0)
		return 0;
	for (char *p = out->name; *p != '\0'; p++) {
		if (*p == ' ')
			return TF_E_INVAL;
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 32);
	}
	return 0;
}

int
bl_admin_user_add(struct bl *bl, struct tf_span name, struct tf_span full_name, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, NULL, o);
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	c->quiet = true;
	rc = bl_user_name(&c->user, name);
	if (rc == 0 && full_name.n > 0)
		rc = bl_name_copy(c->user.full_name, BL_FULL_MAX, full_name);
	c->user.id = tf_id_new();
	c->user.created_ms = bl_wall_ms();
	bl_change_about(c, NULL, c->user.name);
	if (full_name.n > 0 && rc == 0)
		js_w_kcstr(&c->detail, "full_name", c->user.full_name);
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_USER_NEW, &c->user);
	return bl_change_go(c, rc);
}

int
bl_admin_user_remove(struct bl *bl, struct tf_span user, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, NULL, o);
	int rc;

	if (c == NULL)
		return TF_E_NOMEM;
	c->quiet = true;
	c->user.removed_ms = bl_wall_ms();
	rc = bl_user_name(&c->user, user);
	c->audit.of = c->user.name;
	if (rc == 0)
		rc = db_batch_add(c->batch, BL_OP_USER_DROP, &c->user);
	return bl_change_go(c, rc);
}

/* One member of c, added by one operation. */
static int
member(struct bl_change *c, struct bl_workspace *w, struct tf_span user, enum bl_op_kind kind)
{
	int rc = bl_user_name(&c->member.user, user);

	c->quiet = true;
	c->member.workspace = w->row.id;
	c->member.since_ms = bl_wall_ms();
	bl_change_about(c, &w->row.id, "");
	c->audit.of = c->member.user.name;
	if (kind != BL_OP_MEMBER_DROP)
		js_w_kcstr(&c->detail, "role", bl_role_text(c->member.role));
	if (rc == 0)
		rc = db_batch_add(c->batch, (int)kind, &c->member);
	return bl_change_go(c, rc);
}

int
bl_admin_member_add(struct bl *bl, struct bl_workspace *w, struct tf_span user, enum bl_role role, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, NULL, o);

	if (c == NULL)
		return TF_E_NOMEM;
	c->member.role = role;
	return member(c, w, user, BL_OP_MEMBER_NEW);
}

int
bl_admin_member_role(struct bl *bl, struct bl_workspace *w, struct tf_span user, enum bl_role role, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, NULL, o);

	if (c == NULL)
		return TF_E_NOMEM;
	c->member.role = role;
	return member(c, w, user, BL_OP_MEMBER_ROLE);
}

int
bl_admin_member_remove(struct bl *bl, struct bl_workspace *w, struct tf_span user, const struct bl_order *o)
{
	struct bl_change *c = bl_change_new(bl, NULL, o);

	if (c == NULL)
		return TF_E_NOMEM;
	return member(c, w, user, BL_OP_MEMBER_DROP);
}
