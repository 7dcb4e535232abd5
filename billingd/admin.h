/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes that people order: of workspaces and keys (admin.c), of users and members (people.c). One
 * transaction holds the change, its number and its row in the trail (change.c); then it is brought
 * into memory and told to every gateway, and only then done is called. Part of billingd.h.
 */
#ifndef BL_ADMIN_H
#define BL_ADMIN_H

#include "billingd/store.h"
#include "common/json/json.h"
#include "common/wire/wire.h"

struct bl;
struct bl_workspace;
struct bl_key;
struct bl_change;
typedef void bl_changed(const struct bl_change *c, void *arg);

/* Who ordered it and as what, and whom to tell. Borrowed during the call only; done runs exactly once, later. */
struct bl_order {
	char actor[BL_ACTOR_MAX + 1]; /* "uid 0 (root)" */
	const char *action;           /* "key mint" */
	bl_changed *done;
	void *arg;
};

struct bl_change {
	struct bl *bl;
	struct db_batch *batch;
	uint64_t number;
	bool quiet;                   /* nothing that gateways know: it has no number */
	struct bl_workspace_row workspace;
	struct bl_key_row key;
	struct bl_secret_row secret;  /* the new one */
	struct bl_secret_row ending;  /* the one before, with its end */
	struct bl_secret_row dropped; /* and the one before that */
	char text[TF_APIKEY_MAX + 1]; /* the minted key; wiped afterwards */
	struct bl_user_row user;
	struct bl_member_row member;
	struct bl_key_set set;
	struct bl_space_set space;
	struct bl_topup_row topup;
	struct bl_billing billing;
	struct bl_key_row *keys;      /* several that are revoked together; owned */
	size_t n_keys;
	struct bl_audit_row audit;
	struct bl_audit_row *more;    /* of a change about several things: the others' rows, without detail; owned */
	size_t n_more;
	struct js_w detail;           /* open object of the trail's row */
	int (*apply)(struct bl_change *c); /* brings it into memory; may be NULL */
	bl_changed *done; /* borrows c */
	void *arg;
	int rc; /* 0; what the operations say, or TF_E_FULL, TF_E_IO ...: not stored */
};

/* ---- change.c ----------------------------------------------------------------------------- */

/* NULL without memory. subject and workspace (NULL none) are for the trail; c->detail takes members of its row. */
struct bl_change *bl_change_new(struct bl *bl, int (*apply)(struct bl_change *c), const struct bl_order *o);
/* Names what the change is about. */
void bl_change_about(struct bl_change *c, const struct tf_id *workspace, const char *subject);
void bl_change_about_id(struct bl_change *c, const struct tf_id *workspace, const struct tf_id *subject);
/* Submits; rc: of what was added before. Takes c; on an error done is not called. */
int bl_change_go(struct bl_change *c, int rc);
/* A name for people: 1 to max bytes, printable, no quotes. TF_E_INVAL. out has max + 1 bytes. */
int bl_name_copy(char *out, size_t max, struct tf_span s) TF_MUSTCHECK;
/* A decimal string, or null. */
void bl_write_money(struct js_w *w, const char *name, struct bl_opt v);
/* A number, or null. */
void bl_write_opt(struct js_w *w, const char *name, struct bl_opt v);
/* Names of WIRE_SCOPE_* bits. */
void bl_write_scopes(struct js_w *w, const char *name, unsigned scopes);
/* Tells all gateways: number, and what changed (both NULL: everything). */
void bl_admin_tell(struct bl *bl, const struct tf_id *key, const struct tf_id *workspace);

/* ---- admin.c ------------------------------------------------------------------------------ */

/*
 * Each calls done exactly once, later, unless it returns an error: TF_E_NOMEM, TF_E_INVAL (a
 * name or form that cannot be), TF_E_STATE (the key is revoked). The change's rc is TF_E_EXIST when
 * a name is taken, or the key was changed meanwhile.
 */
int bl_admin_workspace(struct bl *bl, struct tf_span name, struct tf_span plan, const struct bl_order *o);
int bl_admin_plan(struct bl *bl, struct bl_workspace *w, struct tf_span plan, const struct bl_order *o);
#define BL_FORM_IMPORTED "other" /* form of a key whose text was made elsewhere */
/* TF_E_RANGE: the text cannot be a key; the change's TF_E_EXIST: it opens one already. */
struct bl_mint {
	struct bl_workspace *workspace;
	struct tf_span name, form, env;
	struct tf_span text;       /* of a key that is imported; empty: it is minted */
	struct bl_key_set *limits; /* its lists change hands; NULL: none */
};
int bl_admin_mint(struct bl *bl, const struct bl_mint *m, const struct bl_order *o);
/* Both secrets work until the grace is over; the one before these two ends at once. */
int bl_admin_rotate(struct bl *bl, struct bl_key *k, int64_t grace_ms, const struct bl_order *o);
/* A member that is an array of texts. */
void bl_write_texts(struct js_w *w, const char *name, const struct bl_texts *t);
/* Changes what the parts say. rc of the change: TF_E_STATE: revoked meanwhile. set's lists change hands, on errors too. */
int bl_admin_key_set(struct bl *bl, struct bl_key *k, struct bl_key_set *set, const struct bl_order *o);
/* All of them in one step; those that are revoked already stay as they are. TF_E_STATE: all are. */
int bl_admin_revoke(struct bl *bl, struct bl_key *const *keys, size_t n, const struct bl_order *o);
/* Answers KEY_ASK. */
void bl_admin_ask(struct bl *bl, struct wire_peer *p, const struct wire_frame *f, const struct wire_key_ask *m);
/* Makes last-used times durable. */
void bl_admin_flush_used(struct bl *bl);

/* ---- spaces.c ----------------------------------------------------------------------------- */

/* Changes what the parts say: caps and budget of a calendar month. */
int bl_admin_space_set(struct bl *bl, struct bl_workspace *w, const struct bl_space_set *set, const struct bl_order *o);
/*
 * Adds tokens and money (nano-units), at most BL_TOPUP_MOST either way. TF_E_INVAL: nothing or too much of it, or a
 * note that cannot be; rc of the change: TF_E_STATE: takes back more tokens than are left.
 */
#define BL_TOPUP_MOST INT64_C(1000000000000000000)
struct bl_topup {
	int64_t tokens, money;
	struct tf_span note;
};
int bl_admin_topup(struct bl *bl, struct bl_workspace *w, const struct bl_topup *t, const struct bl_order *o);

/* ---- deploy.c ----------------------------------------------------------------------------- */

#define BL_DEPLOY_MS 60000  /* how often live deployments are billed */
#define BL_GPUS_MAX 1000000
#define BL_HOURLY_MAX 1000000 /* what all of them may cost: BL_COUNT_MAX nano-units, so that years of it can be added up */

/* row: model, gpus and price are set; the change's billing.row is whole. */
int bl_admin_deploy(struct bl *bl, struct bl_workspace *w, const struct bl_deployment_row *row, const struct bl_order *o);
/* Bills it to its end. rc of the change: TF_E_NOENT; TF_E_STATE: it has stopped already. */
int bl_admin_undeploy(struct bl *bl, const struct tf_id *id, const struct bl_order *o);
void bl_deploy_tick(struct bl *bl, uint64_t mono_ms);

/* ---- people.c ----------------------------------------------------------------------------- */

/* A user is named by what they sign in with, or by id. TF_E_INVAL: no such name can be; TF_E_NOMEM. */
int bl_user_name(struct bl_user_row *out, struct tf_span text) TF_MUSTCHECK;
int bl_admin_user_add(struct bl *bl, struct tf_span name, struct tf_span full_name, const struct bl_order *o);
/* Ends all memberships. rc of the change: TF_E_NOENT; TF_E_STATE: the last owner of c->user.keeps. */
int bl_admin_user_remove(struct bl *bl, struct tf_span user, const struct bl_order *o);
/* rc of the change: TF_E_NOENT: no such user or member; TF_E_EXIST: is one; TF_E_STATE: the last owner. */
int bl_admin_member_add(struct bl *bl, struct bl_workspace *w, struct tf_span user, enum bl_role role, const struct bl_order *o);
int bl_admin_member_role(struct bl *bl, struct bl_workspace *w, struct tf_span user, enum bl_role role, const struct bl_order *o);
int bl_admin_member_remove(struct bl *bl, struct bl_workspace *w, struct tf_span user, const struct bl_order *o);

#endif
