/* SPDX-License-Identifier: Apache-2.0 */
/* The commands that every daemon has. Their argument is the server itself. */
#include "config.h"

#include <unistd.h>

#include "common/conf/conf.h"
#include "common/ctl/inside.h"

static const char *const type_names[] = {
	[CTL_STR] = "text", [CTL_INT] = "integer", [CTL_BOOL] = "boolean", [CTL_LIST] = "list"
};

static void
describe(struct ctl_req *req, const struct ctl_cmd *cmd)
{
	struct js_w *w = ctl_row(req);

	js_w_kcstr(w, "cmd", cmd->words);
	js_w_kcstr(w, "privilege", cmd->priv == CTL_ADMIN ? "admin" : cmd->priv == CTL_FELLOW ? "daemons" : "read");
	js_w_kcstr(w, "help", cmd->help);
	js_w_key(w, "args");
	js_w_array(w);
	for (size_t i = 0; i < cmd->nargs; i++) {
		js_w_object(w);
		js_w_kcstr(w, "name", cmd->args[i].name);
		js_w_kcstr(w, "type", type_names[cmd->args[i].type]);
		js_w_kbool(w, "required", cmd->args[i].required);
		js_w_kcstr(w, "help", cmd->args[i].help);
		js_w_object_end(w);
	}
	js_w_array_end(w);
	ctl_row_end(req);
}

static void
do_commands(void *arg, struct ctl_req *req)
{
	const struct ctl *ctl = arg;

	for (size_t i = 0; i < ctl->opt.ncmds; i++)
		describe(req, &ctl->opt.cmds[i]);
	for (size_t i = 0; i < ctl_nbuiltin; i++)
		describe(req, &ctl_builtin[i]);
	ctl_end(req);
}

static void
do_config_show(void *arg, struct ctl_req *req)
{
	const struct ctl *ctl = arg;
	const struct conf *conf = ctl->opt.conf != NULL ? ctl->opt.conf(ctl->opt.arg) : NULL;
	bool set = ctl_bool(req, "set", false);
	struct conf_row row;
	size_t pos = 0;

	if (conf == NULL) {
		ctl_fail(req, CTL_FAILED, "this daemon has no configuration");
		return;
	}
	while (conf_row_next(conf, &pos, &row)) {
		if (set && row.file == NULL)
			continue;
		ctl_write_option(ctl_row(req), &row);
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
do_log(void *arg, struct ctl_req *req)
{
	struct tf_span level = ctl_str(req, "level"), subsystems = ctl_str(req, "subsystems");
	enum tf_level value;
	struct js_w *w;

	(void)arg;
	if (tf_level_parse(level.p, &value) != 0) {
		ctl_fail(req, CTL_USAGE, "level must be error, warn, info or debug");
		return;
	}
	tf_log_level(value);
	tf_log_tokens(subsystems.p != NULL ? subsystems.p : "");
	tf_log(TF_INFO, "ctl", NULL, "log level set level=%s subsystems=%s", level.p,
	    tf_log_q(subsystems));
	w = ctl_row(req);
	js_w_kstr(w, "level", level);
	js_w_kstr(w, "subsystems", subsystems);
	ctl_row_end(req);
	ctl_end(req);
}

static void
do_metrics(void *arg, struct ctl_req *req)
{
	const struct ctl *ctl = arg;
	struct tf_buf text = { 0 };
	struct tf_span rest;

	if (tf_metric_render(&text, ctl->opt.daemon) != 0) {
		tf_buf_free(&text);
		ctl_fail(req, CTL_FAILED, "out of memory");
		return;
	}
	for (rest = tf_buf_span(&text); rest.n > 0;) {
		const char *nl = memchr(rest.p, '\n', rest.n);
		size_t n = nl != NULL ? (size_t)(nl - rest.p) : rest.n;

		js_w_kstr(ctl_row(req), "text", tf_span(rest.p, n));
		ctl_row_end(req);
		n += nl != NULL;
		rest = tf_span(rest.p + n, rest.n - n);
	}
	tf_buf_free(&text);
	ctl_end(req);
}

static void
do_ping(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_end(req);
}

static void
do_version(void *arg, struct ctl_req *req)
{
	const struct ctl *ctl = arg;
	struct js_w *w = ctl_row(req);

	js_w_kcstr(w, "daemon", ctl->opt.daemon);
	js_w_kcstr(w, "name", ctl->opt.name);
	js_w_kcstr(w, "version", PACKAGE_VERSION);
	js_w_kcstr(w, "wire", ctl->opt.wire[0] != '\0' ? ctl->opt.wire : NULL);
	js_w_ki64(w, "pid", getpid());
	js_w_ku64(w, "uptime", (tf_mono_ms() - ctl->since_ms) / 1000);
	ctl_row_end(req);
	ctl_end(req);
}

static const struct ctl_arg args_config[] = {
	{ "set", CTL_BOOL, false, "only options that the file sets" },
};
static const struct ctl_arg args_log[] = {
	{ "level", CTL_STR, true, "error, warn, info or debug" },
	{ "subsystems", CTL_STR, false, "debug lines of these, whatever the level" },
};

const struct ctl_cmd ctl_builtin[] = {
	{ "commands", do_commands, CTL_READ, "lists the commands of this daemon", NULL, 0 },
	{ "config show", do_config_show, CTL_READ, "shows every option as it is in force",
	    args_config, TF_LEN(args_config) },
	{ "log", do_log, CTL_ADMIN, "sets the log level until the next reload", args_log,
	    TF_LEN(args_log) },
	{ "metrics", do_metrics, CTL_READ, "prints the metrics as Prometheus text, a line a row",
	    NULL, 0 },
	{ "ping", do_ping, CTL_READ, "answers", NULL, 0 },
	{ "version", do_version, CTL_READ, "says what is running", NULL, 0 },
};
const size_t ctl_nbuiltin = TF_LEN(ctl_builtin);
