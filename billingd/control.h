/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's commands, for the files that carry them out: control.c (the table, plans, status),
 * control_keys.c, control_limits.c (arguments that set limits), control_spaces.c (workspaces),
 * control_deploy.c (deployments),
 * control_people.c (users, members, the trail), control_acts.c (rows of the trail that others tell of),
 * control_gateways.c (what gateways hold), control_read.c (rows from the store),
 * control_backup.c (copies of the database). Keys and workspaces
 * are read from memory; changes go through admin.h and answer when they are durable and told.
 */
#ifndef BL_CONTROL_H
#define BL_CONTROL_H

#include "billingd/billingd.h"

/* The daemon that a command's arg stands for. */
struct bl *bl_of_command(void *arg);

/* The order of a request; req is done's arg. Before anything that may end the request. */
struct bl_order bl_order_of(struct ctl_req *req, bl_changed *done);
/* Ends the request when rc is an error. exists: what to say of TF_E_EXIST; TF_E_STATE: state. */
bool bl_change_failed(struct ctl_req *req, int rc, const char *exists, const char *state);
/* What "workspace" and "key" name; NULL: the request has ended. */
struct bl_workspace *bl_take_workspace(struct bl *bl, struct ctl_req *req);
/* Does the command speak of one workspace only, and of which? False: it names none that is there, and has ended. */
bool bl_take_scope(struct bl *bl, struct ctl_req *req, bool *of_workspace, struct tf_id *workspace);
struct bl_key *bl_take_key(struct bl *bl, struct ctl_req *req);

/* What may be set of a key: parts that were given. False: the request has ended; set->row is to be freed either way. */
bool bl_take_key_set(struct bl *bl, struct ctl_req *req, struct bl_key_set *set);
/* By id or alias; NULL: the catalogue has none. */
const struct conf_model *bl_find_model(const struct bl *bl, struct tf_span text);
/* "none", or a number of at least least, or money. *given: it was there. False: the request has ended. */
bool bl_take_number(struct ctl_req *req, const char *name, int64_t least, bool *given, struct bl_opt *out);
bool bl_take_money(struct ctl_req *req, const char *name, bool *given, struct bl_opt *out);

/* Seconds since 1970, or null. */
void bl_write_time(struct js_w *w, const char *name, int64_t ms);
void bl_write_id(struct js_w *w, const char *name, const struct tf_id *id);
/* Name of a workspace, or null. */
void bl_write_workspace(struct js_w *w, const struct bl *bl, const struct tf_id *id);

/* A command whose rows come from the store. what: the operation's argument, size bytes. */
struct bl_read_kind {
	int op;
	size_t size;
	void (*rows)(const struct bl *bl, struct ctl_req *req, const void *what);
	void (*fini)(void *what); /* frees what the operation filled in */
};
/* New and zero; NULL: the request has ended. */
void *bl_read_new(const struct bl_read_kind *kind, struct ctl_req *req);
/* Takes what; ends the request later. */
void bl_read(struct bl *bl, struct ctl_req *req, const struct bl_read_kind *kind, void *what);

/* As ctl_options.record: of our own commands that change nothing in the database. */
void bl_record_act(void *arg, struct ctl_req *req, const struct ctl_act *a);

#define BL_COMMAND(name) void name(void *arg, struct ctl_req *req)
BL_COMMAND(bl_cmd_deployment_list);
BL_COMMAND(bl_cmd_deployment_start);
BL_COMMAND(bl_cmd_deployment_stop);
BL_COMMAND(bl_cmd_gateway_forget);
BL_COMMAND(bl_cmd_gateway_list);
BL_COMMAND(bl_cmd_key_import);
BL_COMMAND(bl_cmd_key_limit);
BL_COMMAND(bl_cmd_key_list);
BL_COMMAND(bl_cmd_key_mint);
BL_COMMAND(bl_cmd_key_revoke);
BL_COMMAND(bl_cmd_key_rotate);
BL_COMMAND(bl_cmd_key_show);
BL_COMMAND(bl_cmd_topup);
BL_COMMAND(bl_cmd_topup_list);
BL_COMMAND(bl_cmd_workspace_budget);
BL_COMMAND(bl_cmd_workspace_cap);
BL_COMMAND(bl_cmd_workspace_create);
BL_COMMAND(bl_cmd_workspace_list);
BL_COMMAND(bl_cmd_workspace_set_plan);
BL_COMMAND(bl_cmd_workspace_show);
BL_COMMAND(bl_cmd_user_add);
BL_COMMAND(bl_cmd_user_list);
BL_COMMAND(bl_cmd_user_remove);
BL_COMMAND(bl_cmd_member_add);
BL_COMMAND(bl_cmd_member_list);
BL_COMMAND(bl_cmd_member_remove);
BL_COMMAND(bl_cmd_member_role);
BL_COMMAND(bl_cmd_audit);
BL_COMMAND(bl_cmd_audit_record);
BL_COMMAND(bl_cmd_backup);
BL_COMMAND(bl_cmd_backup_verify);
BL_COMMAND(bl_cmd_ledger_rebuild);
BL_COMMAND(bl_cmd_ledger_verify);
BL_COMMAND(bl_cmd_usage_export);

#endif
