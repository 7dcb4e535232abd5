/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator's commands about copies of the database. They take as long as the database is large, beside
 * everything else, and one at a time.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/control.h"

struct backup_job {
	struct bl *bl;
	struct ctl_req *req;
	uint64_t began; /* tf_mono_ms */
	struct bl_backup b;
};

static void
fail(struct ctl_req *req, int rc, const char *why)
{
	switch (rc) {
	case TF_E_EXIST:
		ctl_fail(req, CTL_CONFLICT, "%s", why);
		break;
	case TF_E_NOENT:
		ctl_fail(req, CTL_NOT_FOUND, "%s", why);
		break;
	default:
		ctl_fail(req, CTL_FAILED, "%s", why[0] != '\0' ? why : tf_err_text(rc));
		break;
	}
}

static void
answer(struct backup_job *j)
{
	struct js_w *w = ctl_row(j->req);

	js_w_kcstr(w, "file", j->b.path);
	js_w_ku64(w, "bytes", j->b.bytes);
	js_w_ki64(w, "schema", j->b.version);
	if (j->b.verify)
		js_w_kcstr(w, "sums", j->b.current ? "agree with the ledger" : "not compared: its schema is older");
	js_w_ku64(w, "milliseconds", tf_mono_ms() - j->began);
	ctl_row_end(j->req);
	ctl_end(j->req);
}

static void
done(struct db_batch *batch, void *arg)
{
	struct backup_job *j = arg;
	const char *what = j->b.verify ? "a copy of the database was checked" : "the database was copied";

	j->bl->copying = false;
	if (batch->rc == 0) {
		tf_log(TF_INFO, "store", NULL, "%s file=%s bytes=%llu ms=%llu", what, tf_log_q(tf_cspan(j->b.path)),
		    (unsigned long long)j->b.bytes, (unsigned long long)(tf_mono_ms() - j->began));
		answer(j);
	} else {
		tf_log(TF_WARN, "store", NULL, "%s, in vain reason=%s", what, tf_log_q(tf_cspan(j->b.why)));
		fail(j->req, batch->rc, j->b.why);
	}
	db_batch_free(&batch);
	free(j);
}

static void
begin(struct bl *bl, struct ctl_req *req, bool verify)
{
	struct tf_span file = ctl_str(req, "file");
	struct backup_job *j;
	struct db_batch *b;

	if (file.n == 0 || file.p[0] != '/' || file.n >= sizeof j->b.path) {
		ctl_fail(req, CTL_USAGE, "file: not an absolute path");
		return;
	}
	if (bl->copying || bl->closing) {
		ctl_fail(req, CTL_CONFLICT, "%s", bl->closing ? "billingd is ending" : "another copy is being made or checked");
		return;
	}
	j = calloc(1, sizeof *j);
	b = db_batch_new(done, j);
	if (j == NULL || b == NULL || db_batch_add(b, BL_OP_BACKUP, &j->b) != 0) {
		free(j);
		db_batch_free(&b);
		ctl_fail(req, CTL_FAILED, "%s", tf_err_text(TF_E_NOMEM));
		return;
	}
	j->bl = bl;
	j->req = req;
	j->began = tf_mono_ms();
	j->b.verify = verify;
	snprintf(j->b.path, sizeof j->b.path, TF_SPAN_FMT, TF_SPAN_ARG(file));
	b->aside = true;
	bl->copying = true;
	db_store_submit(bl->store, b);
}

void
bl_cmd_backup(void *arg, struct ctl_req *req)
{
	begin(bl_of_command(arg), req, false);
}

void
bl_cmd_backup_verify(void *arg, struct ctl_req *req)
{
	begin(bl_of_command(arg), req, true);
}
