/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "ledger verify" and "ledger rebuild": drives the store's check slice by slice, between which it goes on with
 * everything else, and says how far it is, so that who waits knows that somebody works.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/control.h"

#define PROGRESS_MS 2000

struct bl_verifying {
	struct bl *bl;
	struct ctl_req *req;
	struct bl_verify v;
	uint64_t said;     /* tf_mono_ms of the last sign of life */
	uint64_t mended;   /* days */
	struct bl_space_day day; /* that is mended */
};

static void step(struct bl_verifying *x);

static void
verify_free(struct bl_verifying *x)
{
	x->bl->verifying = NULL;
	bl_verify_fini(&x->v);
	x->bl->changes--;
	bl_check_drained(x->bl);
	free(x);
}

static void
give_up(struct bl_verifying *x, const char *why)
{
	ctl_fail(x->req, CTL_FAILED, "%s", why);
	verify_free(x);
}

static void
say_progress(struct bl_verifying *x)
{
	uint64_t now = tf_mono_ms(), looked = 0;

	if (now - x->said < PROGRESS_MS)
		return;
	x->said = now;
	for (int c = 0; c < BL_CHECK_COUNT; c++)
		looked += x->v.found[c].looked;
	js_w_ku64(ctl_row(x->req), "progress", looked);
	ctl_row_end(x->req);
}

static void
say_check(struct bl_verifying *x, enum bl_check c)
{
	static const char *const names[] = {
#define CHECK(sym, name, what) name,
		BL_CHECKS(CHECK)
#undef CHECK
	};
	static const char *const whats[] = {
#define CHECK(sym, name, what) what,
		BL_CHECKS(CHECK)
#undef CHECK
	};
	const struct bl_finding *f = &x->v.found[c];
	struct js_w *w = ctl_row(x->req);

	js_w_kcstr(w, "check", names[c]);
	js_w_kcstr(w, "holds", f->wrong == 0 ? "yes" : "no");
	js_w_ku64(w, "looked", f->looked);
	js_w_ku64(w, "wrong", f->wrong);
	js_w_ku64(w, "skipped", f->skipped);
	if (x->v.mend)
		js_w_ku64(w, "mended", x->mended);
	js_w_kcstr(w, "first", f->first[0] != '\0' ? f->first : NULL);
	js_w_kcstr(w, "what", whats[c]);
	ctl_row_end(x->req);
}

static void
on_slice(struct db_batch *b, void *arg)
{
	struct bl_verifying *x = arg;
	int rc = b->rc;

	db_batch_free(&b);
	if (rc != 0) {
		give_up(x, "the database does not answer");
		return;
	}
	if (!x->v.over) {
		say_progress(x);
		step(x);
		return;
	}
	for (int c = 0; c < BL_CHECK_COUNT; c++)
		if (!x->v.mend || c == BL_CHECK_DAYS)
			say_check(x, (enum bl_check)c);
	ctl_end(x->req);
	verify_free(x);
}

static void
on_mended(struct db_batch *b, void *arg)
{
	struct bl_verifying *x = arg;
	int rc = b->rc;

	db_batch_free(&b);
	if (rc != 0) {
		give_up(x, "the sums of a day cannot be written");
		return;
	}
	x->mended++;
	x->v.at.day++;
	x->v.stopped = false;
	step(x);
}

static void
step(struct bl_verifying *x)
{
	bool mend = x->v.stopped;
	struct db_batch *b;

	if (x->bl->closing || x->bl->drained != NULL) {
		give_up(x, "billingd ends");
		return;
	}
	b = db_batch_new(mend ? on_mended : on_slice, x);
	x->day = x->v.at;
	if (b == NULL || db_batch_add(b, mend ? BL_OP_REBUILD_DAY : BL_OP_VERIFY, mend ? (void *)&x->day : (void *)&x->v) != 0) {
		db_batch_free(&b);
		give_up(x, "out of memory");
		return;
	}
	b->read = !mend;
	db_store_submit(x->bl->store, b);
}

static void
begin(struct bl *bl, struct ctl_req *req, bool mend)
{
	struct bl_verifying *x;

	if (bl->verifying != NULL) {
		ctl_fail(req, CTL_CONFLICT, "the ledger is being checked already");
		return;
	}
	x = calloc(1, sizeof *x);
	if (x == NULL) {
		ctl_fail(req, CTL_FAILED, "out of memory");
		return;
	}
	x->bl = bl;
	x->req = req;
	x->v.mend = mend;
	x->said = tf_mono_ms();
	bl->verifying = x;
	bl->changes++;
	step(x);
}

void
bl_cmd_ledger_verify(void *arg, struct ctl_req *req)
{
	begin(bl_of_command(arg), req, false);
}

void
bl_cmd_ledger_rebuild(void *arg, struct ctl_req *req)
{
	begin(bl_of_command(arg), req, true);
}
