/* SPDX-License-Identifier: Apache-2.0 */
/* Commands whose rows come from the store: one question, answered when the store has. */
#include "config.h"

#include <stdlib.h>

#include "billingd/control.h"

struct reading {
	struct bl *bl;
	struct ctl_req *req;
	const struct bl_read_kind *kind;
	void *what;
};

static void
read_done(struct db_batch *b, void *arg)
{
	struct reading *r = arg;
	struct bl *bl = r->bl;
	int rc = b->rc;

	db_batch_free(&b);
	bl->changes--;
	if (rc == TF_E_NOENT) {
		ctl_fail(r->req, CTL_NOT_FOUND, "no such user; user list shows them");
	} else if (rc != 0) {
		ctl_fail(r->req, CTL_FAILED, "the database does not answer: %s", tf_err_text(rc));
	} else {
		r->kind->rows(bl, r->req, r->what);
		ctl_end(r->req);
	}
	r->kind->fini(r->what);
	free(r->what);
	free(r);
	bl_check_drained(bl);
}

void *
bl_read_new(const struct bl_read_kind *kind, struct ctl_req *req)
{
	void *what = calloc(1, kind->size);

	if (what == NULL)
		ctl_fail(req, CTL_FAILED, "out of memory");
	return what;
}

void
bl_read(struct bl *bl, struct ctl_req *req, const struct bl_read_kind *kind, void *what)
{
	struct reading *r = calloc(1, sizeof *r);
	struct db_batch *b = r != NULL ? db_batch_new(read_done, r) : NULL;

	if (b == NULL || db_batch_add(b, kind->op, what) != 0) {
		ctl_fail(req, CTL_FAILED, "out of memory");
		db_batch_free(&b);
		free(what);
		free(r);
		return;
	}
	*r = (struct reading){ bl, req, kind, what };
	b->read = true;
	bl->changes++;
	db_store_submit(bl->store, b);
}
