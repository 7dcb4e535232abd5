/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Administrative acts: what a command did, who gave it and with which arguments. Every daemon says each in its log;
 * a row of the trail it becomes in billingd, at once there and told by the others.
 */
#include "config.h"

#include <pwd.h>
#include <stdio.h>

#include "common/ctl/inside.h"

#define DETAIL_MAX 4096 /* bytes of arguments that a row of the trail holds */

void
ctl_actor(const struct ctl_req *req, char out[static CTL_ACTOR_MAX + 1])
{
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (getpwuid_r(req->uid, &pw, buf, sizeof buf, &found) == 0 && found != NULL)
		snprintf(out, CTL_ACTOR_MAX + 1, "uid %u (%s)", req->uid, found->pw_name);
	else
		snprintf(out, CTL_ACTOR_MAX + 1, "uid %u", req->uid);
}

void
ctl_noted(struct ctl_req *req)
{
	req->noted = true;
}

/* Which argument is the subject; nargs: none. */
static size_t
subject_at(const struct ctl_req *req)
{
	size_t i = 0;

	if (req->builtin)
		return req->cmd->nargs;
	while (i < req->cmd->nargs && (req->cmd->args[i].type != CTL_STR || !ctl_has(req, req->cmd->args[i].name)))
		i++;
	return i;
}

static void
write_arg(struct js_w *w, const struct ctl_req *req, const struct ctl_arg *a)
{
	switch (a->type) {
	case CTL_STR:
		js_w_kstr(w, a->name, ctl_str(req, a->name));
		break;
	case CTL_INT:
		js_w_ki64(w, a->name, ctl_int(req, a->name, 0));
		break;
	case CTL_BOOL:
		js_w_kbool(w, a->name, ctl_bool(req, a->name, false));
		break;
	case CTL_LIST:
		js_w_key(w, a->name);
		js_w_array(w);
		for (size_t i = 0; i < ctl_list_n(req, a->name); i++)
			js_w_str(w, ctl_list(req, a->name, i));
		js_w_array_end(w);
		break;
	}
}

/* {"daemon":"routerd", ...}; without the arguments when they are too long. */
static int
write_detail(const struct ctl_req *req, size_t subject, bool whole, struct tf_buf *out)
{
	struct js_w w;

	tf_buf_reset(out);
	js_w_init(&w, out);
	js_w_object(&w);
	js_w_kcstr(&w, "daemon", req->ctl->opt.name);
	for (size_t i = 0; whole && i < req->cmd->nargs; i++)
		if (i != subject && ctl_has(req, req->cmd->args[i].name))
			write_arg(&w, req, &req->cmd->args[i]);
	js_w_object_end(&w);
	return js_w_done(&w);
}

bool
ctl_act(struct ctl_req *req)
{
	struct ctl *ctl = req->ctl;
	struct ctl_act a = { .at_ms = tf_wall_ns() / 1000000, .action = req->cmd->words };
	struct tf_buf detail = { 0 };
	size_t subject;
	int rc;

	if (req->cmd->priv != CTL_ADMIN || req->noted || ctl == NULL || (ctl->opt.record == NULL && ctl->tell.path == NULL))
		return false;
	req->noted = true;
	a.id = tf_id_new();
	ctl_actor(req, a.actor);
	subject = subject_at(req);
	snprintf(a.subject, sizeof a.subject, "%s",
	    subject < req->cmd->nargs ? ctl_str(req, req->cmd->args[subject].name).p : ctl->opt.name);
	rc = write_detail(req, subject, true, &detail);
	if (rc == 0 && detail.n > DETAIL_MAX)
		rc = write_detail(req, subject, false, &detail);
	tf_log(TF_INFO, "audit", NULL, "act actor=%s action=%s subject=%s", tf_log_q(tf_cspan(a.actor)),
	    tf_log_q(tf_cspan(a.action)), tf_log_q(tf_cspan(a.subject)));
	a.detail = tf_buf_span(&detail);
	if (rc != 0)
		ctl_recorded(req, "without memory, the audit log was not told of this");
	else if (ctl->opt.record != NULL)
		ctl->opt.record(ctl->opt.arg, req, &a);
	else
		ctl_tell(&ctl->tell, req, &a);
	tf_buf_free(&detail);
	return true;
}
