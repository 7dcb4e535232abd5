/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands about users, members and the trail of what was done. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/control.h"

#define USER_RULE \
	"a user's name has 1 to %d printable characters, without blanks, quotes and backslashes; a full name may have blanks"
#define LAST_OWNER "the last owner of a workspace stays; make somebody else owner first"

/* ---- changes ------------------------------------------------------------------------------ */

static bool
failed(struct ctl_req *req, int rc, const char *exists)
{
	if (rc == TF_E_NOENT)
		ctl_fail(req, CTL_NOT_FOUND, "no such user; user list shows them");
	else if (rc == TF_E_INVAL)
		ctl_fail(req, CTL_USAGE, USER_RULE, BL_USER_MAX);
	else
		return bl_change_failed(req, rc, exists, LAST_OWNER);
	return true;
}

static void
write_user(struct js_w *w, const struct bl_user_row *u)
{
	bl_write_id(w, "id", &u->id);
	js_w_kcstr(w, "name", u->name);
	js_w_kcstr(w, "full_name", u->full_name[0] != '\0' ? u->full_name : NULL);
	bl_write_time(w, "created", u->created_ms);
}

static void
user_changed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (failed(req, c->rc, "a user of that name exists"))
		return;
	write_user(ctl_row(req), &c->user);
	ctl_row_end(req);
	ctl_end(req);
}

void
bl_cmd_user_add(void *arg, struct ctl_req *req)
{
	struct bl_order o = bl_order_of(req, user_changed);

	(void)failed(req, bl_admin_user_add(bl_of_command(arg), ctl_str(req, "name"), ctl_str(req, "full_name"), &o), "");
}

void
bl_cmd_user_remove(void *arg, struct ctl_req *req)
{
	struct bl_order o = bl_order_of(req, user_changed);

	(void)failed(req, bl_admin_user_remove(bl_of_command(arg), ctl_str(req, "user"), &o), "");
}

static void
member_row(struct ctl_req *req, const struct bl *bl, const struct bl_member_row *m)
{
	struct js_w *w = ctl_row(req);

	bl_write_workspace(w, bl, &m->workspace);
	js_w_kcstr(w, "user", m->user.name);
	bl_write_id(w, "user_id", &m->user.id);
	js_w_kcstr(w, "full_name", m->user.full_name[0] != '\0' ? m->user.full_name : NULL);
	js_w_kcstr(w, "role", bl_role_text(m->role));
	bl_write_time(w, "since", m->since_ms);
	ctl_row_end(req);
}

static void
member_changed(const struct bl_change *c, void *arg)
{
	struct ctl_req *req = arg;

	if (c->rc == TF_E_NOENT && c->member.user.created_ms != 0) {
		ctl_fail(req, CTL_NOT_FOUND, "%s is no member of that workspace", c->member.user.name);
		return;
	}
	if (failed(req, c->rc, "that user is a member already; member role changes the role"))
		return;
	member_row(req, c->bl, &c->member);
	ctl_end(req);
}

/* False: the request has ended. */
static bool
take_role(struct ctl_req *req, enum bl_role *role)
{
	*role = BL_ROLE_MEMBER;
	if (!ctl_has(req, "role") || bl_role_parse(ctl_str(req, "role"), role) == 0)
		return true;
	ctl_fail(req, CTL_USAGE, "role is owner, admin, member or viewer");
	return false;
}

void
bl_cmd_member_add(void *arg, struct ctl_req *req)
{
	struct bl_order o = bl_order_of(req, member_changed);
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = bl_take_workspace(bl, req);
	enum bl_role role;

	if (w != NULL && take_role(req, &role))
		(void)failed(req, bl_admin_member_add(bl, w, ctl_str(req, "user"), role, &o), "");
}

void
bl_cmd_member_role(void *arg, struct ctl_req *req)
{
	struct bl_order o = bl_order_of(req, member_changed);
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = bl_take_workspace(bl, req);
	enum bl_role role;

	if (w != NULL && take_role(req, &role))
		(void)failed(req, bl_admin_member_role(bl, w, ctl_str(req, "user"), role, &o), "");
}

void
bl_cmd_member_remove(void *arg, struct ctl_req *req)
{
	struct bl_order o = bl_order_of(req, member_changed);
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *w = bl_take_workspace(bl, req);

	if (w != NULL)
		(void)failed(req, bl_admin_member_remove(bl, w, ctl_str(req, "user"), &o), "");
}

/* ---- reading ------------------------------------------------------------------------------ */

static void
user_rows(const struct bl *bl, struct ctl_req *req, const void *what)
{
	const struct bl_users *s = what;

	(void)bl;
	for (size_t i = 0; i < s->n; i++) {
		struct js_w *w = ctl_row(req);

		write_user(w, &s->v[i]);
		js_w_ki64(w, "workspaces", s->v[i].workspaces);
		ctl_row_end(req);
	}
}

static void
users_fini(void *what)
{
	bl_users_fini(what);
}

void
bl_cmd_user_list(void *arg, struct ctl_req *req)
{
	static const struct bl_read_kind kind = { BL_OP_USERS, sizeof(struct bl_users), user_rows, users_fini };
	struct bl_users *s = bl_read_new(&kind, req);

	if (s != NULL)
		bl_read(bl_of_command(arg), req, &kind, s);
}

static void
member_rows(const struct bl *bl, struct ctl_req *req, const void *what)
{
	const struct bl_members *s = what;

	for (size_t i = 0; i < s->n; i++)
		member_row(req, bl, &s->v[i]);
}

static void
members_fini(void *what)
{
	bl_members_fini(what);
}

void
bl_cmd_member_list(void *arg, struct ctl_req *req)
{
	static const struct bl_read_kind kind = { BL_OP_MEMBERS, sizeof(struct bl_members), member_rows, members_fini };
	struct bl *bl = bl_of_command(arg);
	struct bl_members *s = bl_read_new(&kind, req);

	if (s == NULL)
		return;
	if (!bl_take_scope(bl, req, &s->of_workspace, &s->workspace)) {
		free(s);
		return;
	}
	s->of_user = ctl_has(req, "user");
	if (s->of_user && bl_user_name(&s->user, ctl_str(req, "user")) != 0) {
		ctl_fail(req, CTL_USAGE, USER_RULE, BL_USER_MAX);
		free(s);
		return;
	}
	bl_read(bl, req, &kind, s);
}

static void
act_rows(const struct bl *bl, struct ctl_req *req, const void *what)
{
	const struct bl_trail *s = what;

	for (size_t i = 0; i < s->n; i++) {
		const struct bl_audit_row *a = &s->v[i];
		struct js_w *w = ctl_row(req);

		js_w_ki64(w, "id", a->id);
		bl_write_time(w, "at", a->at_ms);
		js_w_kcstr(w, "actor", a->actor);
		js_w_kcstr(w, "action", a->action);
		if (a->has_workspace)
			bl_write_workspace(w, bl, &a->workspace);
		else
			js_w_knull(w, "workspace");
		js_w_kcstr(w, "subject", a->subject[0] != '\0' ? a->subject : NULL);
		if (a->detail.n > 0)
			js_w_kraw(w, "detail", tf_buf_span(&a->detail));
		else
			js_w_knull(w, "detail");
		ctl_row_end(req);
	}
}

static void
trail_fini(void *what)
{
	bl_trail_fini(what);
}

void
bl_cmd_audit(void *arg, struct ctl_req *req)
{
	static const struct bl_read_kind kind = { BL_OP_TRAIL, sizeof(struct bl_trail), act_rows, trail_fini };
	struct bl *bl = bl_of_command(arg);
	int64_t limit = ctl_int(req, "limit", 100), before = ctl_int(req, "before", INT64_MAX), since = ctl_int(req, "since", 0);
	struct tf_span action = ctl_str(req, "action");
	struct bl_trail *s;

	if (limit < 1 || limit > BL_TRAIL_MAX || before < 1 || since < 0 || since > INT64_MAX / 1000) {
		ctl_fail(req, CTL_USAGE, "limit is 1 to %d, before the id of a row, since a time after 1970", BL_TRAIL_MAX);
		return;
	}
	if (action.n >= sizeof s->action) {
		ctl_fail(req, CTL_NOT_FOUND, "no command has a name of that length");
		return;
	}
	s = bl_read_new(&kind, req);
	if (s == NULL)
		return;
	if (!bl_take_scope(bl, req, &s->of_workspace, &s->workspace)) {
		free(s);
		return;
	}
	if (action.n > 0)
		memcpy(s->action, action.p, action.n);
	s->before = before;
	s->since_ms = since * 1000;
	s->most = (size_t)limit;
	bl_read(bl, req, &kind, s);
}
