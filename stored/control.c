/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's commands: what is kept, and how the daemon fares, answered from memory; and copies of all that is kept,
 * which take as long as it is large, beside everything else, and one at a time.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/daemon/daemon.h"
#include "stored/stored.h"

static void
cmd_status(void *arg, struct ctl_req *req)
{
	const struct st *st = dmn_data(arg);
	struct js_w *w = ctl_row(req);

	js_w_ku64(w, "gateways", wire_hub_count(st->hub));
	js_w_ku64(w, "responses", st->totals.responses);
	js_w_ku64(w, "values", st->totals.values);
	js_w_ku64(w, "bytes", st->totals.bytes);
	js_w_ku64(w, "workspaces", st->totals.spaces);
	js_w_ku64(w, "pending", st->puts);
	js_w_kcstr(w, "store", st->trouble ? "in trouble" : "ok");
	ctl_row_end(req);
	ctl_end(req);
}

/* ---- copies ------------------------------------------------------------------------------------ */

struct backup_job {
	struct st *st;
	struct ctl_req *req;
	uint64_t began; /* tf_mono_ms */
	struct st_backup b;
};

static void
fail(struct ctl_req *req, int rc, const char *why)
{
	enum ctl_err err = rc == TF_E_EXIST ? CTL_CONFLICT : rc == TF_E_NOENT ? CTL_NOT_FOUND : CTL_FAILED;

	ctl_fail(req, err, "%s", why[0] != '\0' ? why : tf_err_text(rc));
}

static void
answer(struct backup_job *j, uint64_t ms)
{
	struct js_w *w = ctl_row(j->req);

	js_w_kcstr(w, "directory", j->b.path);
	js_w_ku64(w, "bytes", j->b.bytes);
	js_w_ku64(w, "files", j->b.files);
	js_w_ki64(w, "schema", j->b.version);
	js_w_ku64(w, "milliseconds", ms);
	ctl_row_end(j->req);
	ctl_end(j->req);
}

static void
copied(struct db_batch *batch, void *arg)
{
	struct backup_job *j = arg;
	const char *what = j->b.verify ? "a copy was checked" : "a copy was made";
	uint64_t ms = tf_mono_ms() - j->began;
	struct st *st = j->st;

	st->copying = false;
	if (batch->rc == 0) {
		tf_log(TF_INFO, "store", NULL, "%s directory=%s bytes=%llu files=%llu ms=%llu", what, tf_log_q(tf_cspan(j->b.path)),
		    (unsigned long long)j->b.bytes, (unsigned long long)j->b.files, (unsigned long long)ms);
		answer(j, ms);
	} else {
		tf_log(TF_WARN, "store", NULL, "%s, in vain reason=%s", what, tf_log_q(tf_cspan(j->b.why)));
		fail(j->req, batch->rc, j->b.why);
	}
	db_batch_free(&batch);
	free(j);
}

static void
begin(struct st *st, struct ctl_req *req, bool verify)
{
	struct tf_span dir = ctl_str(req, "directory");
	struct backup_job *j;
	struct db_batch *b;

	if (dir.n == 0 || dir.p[0] != '/' || dir.n >= sizeof j->b.path) {
		ctl_fail(req, CTL_USAGE, "directory: not an absolute path");
		return;
	}
	if (st->copying || st->closing) {
		ctl_fail(req, CTL_CONFLICT, "%s", st->closing ? "stored is ending" : "another copy is being made or checked");
		return;
	}
	j = calloc(1, sizeof *j);
	b = db_batch_new(copied, j);
	if (j == NULL || b == NULL || db_batch_add(b, ST_OP_BACKUP, &j->b) != 0) {
		free(j);
		db_batch_free(&b);
		ctl_fail(req, CTL_FAILED, "%s", tf_err_text(TF_E_NOMEM));
		return;
	}
	j->st = st;
	j->req = req;
	j->began = tf_mono_ms();
	j->b.verify = verify;
	j->b.dir = st->blob_dir;
	snprintf(j->b.path, sizeof j->b.path, TF_SPAN_FMT, TF_SPAN_ARG(dir));
	b->aside = true;
	st->copying = true;
	db_store_submit(st->store, b);
}

static void
cmd_backup(void *arg, struct ctl_req *req)
{
	begin(dmn_data(arg), req, false);
}

static void
cmd_verify(void *arg, struct ctl_req *req)
{
	begin(dmn_data(arg), req, true);
}

static const struct ctl_arg a_directory[] = { { "directory", CTL_STR, true, "absolute path" } };

const struct ctl_cmd st_cmds[] = {
	{ "status", cmd_status, CTL_READ, "shows the state of stored", NULL, 0 },
	{ "stored backup", cmd_backup, CTL_ADMIN, "copies all that is kept", a_directory, 1 },
	{ "stored verify", cmd_verify, CTL_ADMIN, "checks a copy", a_directory, 1 },
};
const size_t st_n_cmds = TF_LEN(st_cmds);
