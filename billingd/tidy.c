/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Housekeeping of the database, in steps so small that commits do not wait for it: rows of the ledger whose
 * retention is over, then, while nobody writes, free pages back to the file system.
 */
#include "config.h"

#include "billingd/billingd.h"

#define TIDY_ROWS 500       /* removed in a step */
#define TIDY_PAGES 128      /* given back in a step */
#define TIDY_KEEP 1024      /* free pages that stay, for what is written next */
#define TIDY_PAUSE_MS 100   /* between two steps */
#define TIDY_REST_MS 600000 /* when nothing is left to do */
#define TIDY_LEAST_MS (7 * BL_DAY_MS)

int64_t
bl_tidy_day(uint64_t retention_ms, int64_t now_ms)
{
	int64_t from, to, keep = (int64_t)retention_ms > TIDY_LEAST_MS ? (int64_t)retention_ms : TIDY_LEAST_MS;

	if (retention_ms == 0)
		return INT64_MIN;
	/* the running month is what caps, budgets and bills are about */
	bl_period_range(BL_P_MONTH, now_ms, &from, &to);
	keep = now_ms - keep;
	if (keep > from)
		keep = from;
	return keep / BL_DAY_MS - (keep % BL_DAY_MS < 0);
}

static void
tidy_done(struct db_batch *b, void *arg)
{
	struct bl *bl = arg;
	struct bl_tidy *t = &bl->tidy;

	t->busy = false;
	t->next = tf_mono_ms() + TIDY_PAUSE_MS;
	if (b->rc != 0) {
		t->phase = BL_TIDY_REST; /* the store is in trouble, and who writes has said so */
	} else if (t->phase == BL_TIDY_ROWS) {
		t->removed += t->expire.removed;
		tf_metric_add(TF_M_BL_EXPIRED, t->expire.removed);
		if (t->expire.over) {
			t->phase = BL_TIDY_PAGES;
			if (t->removed > 0)
				tf_log(TF_INFO, "store", NULL, "ledger rows were removed, their time is over rows=%llu "
				    "before_day=%lld", (unsigned long long)t->removed, (long long)t->expire.day);
		}
	} else if (t->shrink.left == 0) {
		t->phase = BL_TIDY_REST;
	}
	if (t->anew)
		t->phase = BL_TIDY_REST;
	else if (t->phase == BL_TIDY_REST)
		t->next += TIDY_REST_MS;
	t->anew = false;
	db_batch_free(&b);
}

/* The next step of the phase. */
static void
tidy_step(struct bl *bl)
{
	struct bl_tidy *t = &bl->tidy;
	struct db_batch *b = db_batch_new(tidy_done, bl);
	int rc;

	if (b == NULL)
		return;
	t->shrink = (struct bl_shrink){ .keep = TIDY_KEEP, .pages = TIDY_PAGES };
	rc = t->phase == BL_TIDY_ROWS ? db_batch_add(b, BL_OP_EXPIRE, &t->expire) : db_batch_add(b, BL_OP_SHRINK, &t->shrink);
	if (rc != 0) {
		db_batch_free(&b);
		return;
	}
	t->busy = true;
	db_store_submit(bl->store, b);
}

void
bl_tidy_reload(struct bl *bl)
{
	struct bl_tidy *t = &bl->tidy;

	t->anew = t->busy; /* the step under way is the last of what was begun */
	t->next = 0;
	if (!t->busy)
		t->phase = BL_TIDY_REST;
}

void
bl_tidy_tick(struct bl *bl, uint64_t now)
{
	struct bl_tidy *t = &bl->tidy;
	int64_t day;

	if (t->busy || bl->closing || bl->drained != NULL || now < t->next)
		return;
	if (t->phase == BL_TIDY_REST) {
		day = bl_tidy_day(bl->conf->billingd.ledger_retention, bl_wall_ms());
		t->phase = day == INT64_MIN ? BL_TIDY_PAGES : BL_TIDY_ROWS;
		t->expire = (struct bl_expire){ .day = day, .most = TIDY_ROWS };
		t->removed = 0;
	}
	if (t->phase == BL_TIDY_PAGES && bl->ledger.held > 0)
		return; /* pages move while nobody writes */
	tidy_step(bl);
}
