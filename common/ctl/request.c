/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request: from its line to the command's function, and the answer back. Everything
 * a row states (privilege, arguments) is checked here, so no command checks it again.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/ctl/inside.h"

#define MESSAGE_MAX 1024

/* ---- answering ---------------------------------------------------------------------------- */

static void
req_free(struct ctl_req *req)
{
	if (req->ctl != NULL)
		tf_list_remove(&req->ctl->reqs, &req->node);
	js_tree_free(&req->args);
	tf_wipe(req->row.p, req->row.cap);
	tf_buf_free(&req->row);
	free(req);
}

/* The request's last line, then it is over. message: of an error, or a remark; may be NULL without one. */
static void
finish(struct ctl_req *req, enum ctl_err err, const char *message)
{
	struct ctl_conn *c = req->conn;
	struct js_w w;

	if (c != NULL) {
		tf_buf_reset(&req->row);
		js_w_init(&w, &req->row);
		js_w_object(&w);
		js_w_key(&w, err == CTL_OK ? "end" : "error");
		js_w_object(&w);
		if (err == CTL_OK) {
			js_w_ku64(&w, "rows", req->rows);
			if (message != NULL)
				js_w_kcstr(&w, "remark", message);
		} else {
			js_w_kcstr(&w, "code", ctl_err_code(err));
			js_w_kcstr(&w, "message", message);
		}
		js_w_object_end(&w);
		js_w_object_end(&w);
		/* without memory the client gets no end and says so itself */
		if (js_w_done(&w) == 0)
			ctl_conn_put(c, tf_buf_span(&req->row));
		c->req = NULL;
		ctl_conn_answered(c);
	}
	req_free(req);
}

struct js_w *
ctl_row(struct ctl_req *req)
{
	tf_buf_reset(&req->row);
	js_w_init(&req->w, &req->row);
	js_w_object(&req->w);
	js_w_key(&req->w, "row");
	js_w_object(&req->w);
	return &req->w;
}

void
ctl_row_end(struct ctl_req *req)
{
	js_w_object_end(&req->w);
	js_w_object_end(&req->w);
	if (js_w_done(&req->w) != 0 || req->overflow ||
	    (req->conn != NULL && ctl_conn_waiting(req->conn) + req->row.n > CTL_ANSWER_MAX)) {
		req->overflow = true;
		return;
	}
	req->rows++;
	if (req->conn != NULL)
		ctl_conn_put(req->conn, tf_buf_span(&req->row));
}

void
ctl_end(struct ctl_req *req)
{
	if (req->overflow)
		finish(req, CTL_FAILED, "the answer is too large; ask for less");
	else if (!ctl_act(req))
		finish(req, CTL_OK, NULL);
}

void
ctl_recorded(struct ctl_req *req, const char *not_recorded)
{
	finish(req, CTL_OK, not_recorded);
}

void
ctl_fail(struct ctl_req *req, enum ctl_err err, const char *fmt, ...)
{
	char message[MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof message, fmt, ap);
	va_end(ap);
	finish(req, err == CTL_OK ? CTL_FAILED : err, message);
}

void
ctl_req_orphan(struct ctl_req *req)
{
	req->conn = NULL;
}

void
ctl_reqs_leave(struct ctl *ctl)
{
	struct tf_node *e;

	while ((e = tf_list_pop(&ctl->reqs)) != NULL)
		TF_CONTAINER(e, struct ctl_req, node)->ctl = NULL;
}

/* ---- arguments ---------------------------------------------------------------------------- */

static size_t
arg_at(const struct ctl_cmd *cmd, struct tf_span name)
{
	size_t i = 0;

	while (i < cmd->nargs && !tf_span_is(name, cmd->args[i].name))
		i++;
	return i;
}

static bool
given(const struct ctl_req *req, const char *name, size_t *at)
{
	*at = arg_at(req->cmd, tf_cspan(name));
	return *at < req->cmd->nargs && (req->given & (UINT64_C(1) << *at)) != 0;
}

bool
ctl_has(const struct ctl_req *req, const char *name)
{
	size_t at;

	return given(req, name, &at);
}

struct tf_span
ctl_str(const struct ctl_req *req, const char *name)
{
	size_t at;

	return given(req, name, &at) ? req->value[at] : tf_span(NULL, 0);
}

int64_t
ctl_int(const struct ctl_req *req, const char *name, int64_t other)
{
	return js_tree_i64(req->args, name, other);
}

bool
ctl_bool(const struct ctl_req *req, const char *name, bool other)
{
	return js_tree_bool(req->args, name, other);
}

size_t
ctl_list_n(const struct ctl_req *req, const char *name)
{
	return ctl_has(req, name) ? js_tree_count(req->args, name) : 0;
}

struct tf_span
ctl_list(const struct ctl_req *req, const char *name, size_t i)
{
	char path[128];

	snprintf(path, sizeof path, "%s[%zu]", name, i);
	return js_tree_str(req->args, path, tf_span(NULL, 0));
}

const char *
ctl_words(const struct ctl_req *req)
{
	return req->cmd->words;
}

/* NULL when the member is of the argument's type, else what it should be. */
static const char *
type_fault(struct json_object *args, const struct ctl_arg *a)
{
	static const char *const names[] = { [CTL_STR] = "a text",
		[CTL_INT] = "a whole number",
		[CTL_BOOL] = "true or false",
		[CTL_LIST] = "a list of texts" };
	static const enum js_type types[] = { [CTL_STR] = JS_STRING,
		[CTL_INT] = JS_NUMBER,
		[CTL_BOOL] = JS_BOOL,
		[CTL_LIST] = JS_ARRAY };
	struct tf_span s = js_tree_str(args, a->name, TF_SPAN(""));
	bool ok = js_tree_type(js_tree_at(args, a->name)) == types[a->type];
	char path[128];

	/* a number that is not whole reads as neither of two fallbacks */
	if (ok && a->type == CTL_INT)
		ok = js_tree_i64(args, a->name, 0) == js_tree_i64(args, a->name, 1);
	if (ok && a->type == CTL_STR)
		ok = memchr(s.p, '\0', s.n) == NULL;
	for (size_t i = 0; ok && a->type == CTL_LIST && i < js_tree_count(args, a->name); i++) {
		snprintf(path, sizeof path, "%s[%zu]", a->name, i);
		s = js_tree_str(args, path, TF_SPAN(""));
		ok = js_tree_type(js_tree_at(args, path)) == JS_STRING &&
		    memchr(s.p, '\0', s.n) == NULL;
	}
	return ok ? NULL : names[a->type];
}

/*
 * Checks the members of args against the row. text is their JSON. False: refused, the request is
 * over.
 */
static bool
take_args(struct ctl_req *req, struct tf_span text)
{
	struct tf_buf scratch = { 0 };
	struct tf_span key, value, name;
	struct js_iter it;
	const char *fault;
	size_t at;

	js_iter_init(&it, text);
	while (js_iter_next(&it, &key, &value)) {
		tf_buf_reset(&scratch);
		at = js_str(key, &scratch, &name) == 0 ? arg_at(req->cmd, name) : req->cmd->nargs;
		if (at == req->cmd->nargs || (req->given & (UINT64_C(1) << at)) != 0) {
			ctl_fail(req, CTL_USAGE, "%s: unknown argument or given twice: %s",
			    req->cmd->words, tf_log_q(key));
			tf_buf_free(&scratch);
			return false;
		}
		req->given |= UINT64_C(1) << at;
	}
	tf_buf_free(&scratch);
	for (at = 0; at < req->cmd->nargs; at++) {
		const struct ctl_arg *a = &req->cmd->args[at];

		if ((req->given & (UINT64_C(1) << at)) == 0 && !a->required)
			continue;
		if ((req->given & (UINT64_C(1) << at)) == 0) {
			ctl_fail(req, CTL_USAGE, "%s: %s is missing", req->cmd->words, a->name);
			return false;
		}
		if ((fault = type_fault(req->args, a)) != NULL) {
			ctl_fail(
			    req, CTL_USAGE, "%s: %s must be %s", req->cmd->words, a->name, fault);
			return false;
		}
		if (a->type == CTL_STR)
			req->value[at] = js_tree_str(req->args, a->name, TF_SPAN(""));
	}
	return true;
}

/* ---- dispatch ----------------------------------------------------------------------------- */

static const struct ctl_cmd *
find(const struct ctl *ctl, struct tf_span words, bool *builtin)
{
	*builtin = false;
	for (size_t i = 0; i < ctl->opt.ncmds; i++)
		if (tf_span_is(words, ctl->opt.cmds[i].words))
			return &ctl->opt.cmds[i];
	*builtin = true;
	for (size_t i = 0; i < ctl_nbuiltin; i++)
		if (tf_span_is(words, ctl_builtin[i].words))
			return &ctl_builtin[i];
	return NULL;
}

/* The line's two members; anything else in it is refused. */
static bool
split(struct tf_span line, struct tf_span *cmd, struct tf_span *args)
{
	struct tf_span key, value;
	struct js_iter it;

	*cmd = *args = tf_span(NULL, 0);
	if (js_valid(line) != 0 || js_type(line) != JS_OBJECT)
		return false;
	js_iter_init(&it, line);
	while (js_iter_next(&it, &key, &value)) {
		if (js_str_eq(key, "cmd") && cmd->p == NULL && js_type(value) == JS_STRING)
			*cmd = value;
		else if (js_str_eq(key, "args") && args->p == NULL && js_type(value) == JS_OBJECT)
			*args = value;
		else
			return false;
	}
	if (args->p == NULL)
		*args = TF_SPAN("{}");
	return cmd->p != NULL;
}

/* NULL: the peer may give that command; else: who may. */
static const char *
forbidden(const struct ctl_conn *c, enum ctl_priv priv)
{
	switch (priv) {
	case CTL_READ:
		return c->read ? NULL : "only root, the daemon's own user and group tokenfactory may do this";
	case CTL_ADMIN:
		return c->admin ? NULL : "only root and the daemon's own user may do this";
	case CTL_FELLOW:
		break;
	}
	return c->fellow ? NULL : "only root and the daemons' users may do this";
}

void
ctl_dispatch(struct ctl_conn *c, struct tf_span line)
{
	struct ctl_req *req = calloc(1, sizeof *req);
	struct tf_buf scratch = { 0 };
	struct tf_span cmd, args, words;

	if (req == NULL) {
		c->last = true;
		ctl_conn_answered(c);
		return;
	}
	req->conn = c;
	req->uid = c->uid;
	req->ctl = c->ctl;
	tf_list_append(&c->ctl->reqs, &req->node);
	c->req = req;
	if (!split(line, &cmd, &args) || js_str(cmd, &scratch, &words) != 0 ||
	    js_tree_parse(args, &req->args, NULL, NULL) != 0) {
		tf_buf_free(&scratch);
		ctl_fail(req, CTL_USAGE, "not a request: {\"cmd\":\"...\",\"args\":{...}}");
		return;
	}
	req->cmd = find(c->ctl, words, &req->builtin);
	if (req->cmd == NULL)
		ctl_fail(req, CTL_USAGE, "%s has no command %s", c->ctl->opt.name, tf_log_q(words));
	else if (forbidden(c, req->cmd->priv) != NULL)
		ctl_fail(req, CTL_FORBIDDEN, "%s: %s", req->cmd->words, forbidden(c, req->cmd->priv));
	else if (take_args(req, args))
		req->cmd->fn(req->builtin ? (void *)c->ctl : c->ctl->opt.arg, req);
	tf_buf_free(&scratch);
}
