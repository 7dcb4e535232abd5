/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which records of a start have no row of their own: told again by another start, replaced by a later one, or their time was
 * over. Kept as ranges of numbers, so that years of them take a few rows. Runs on the store's thread.
 */
#include "config.h"

#include "billingd/sqlite.h"

/* The next range behind first that touches (first, last), which grows over it: 1; 0: there is none. */
static int
swallow(struct db_lane *lane, int64_t instance, int64_t first, int64_t *last)
{
	struct db_q q = db_q(lane, BL_S_SPENT_BEHIND);
	int64_t f, l;
	int rc;

	db_q_int(&q, instance);
	db_q_int(&q, first);
	db_q_int(&q, *last + 1);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	f = db_q_col_int(&q);
	l = db_q_col_int(&q);
	db_q_end(&q);
	if (l > *last)
		*last = l;
	q = db_q(lane, BL_S_SPENT_DROP);
	db_q_int(&q, instance);
	db_q_int(&q, f);
	rc = db_q_run(&q);
	return rc == 0 ? 1 : rc;
}

int
bl_spend(struct db_lane *lane, int64_t instance, uint64_t from, uint64_t to)
{
	int64_t first = (int64_t)from, last = (int64_t)to, f, l;
	struct db_q q = db_q(lane, BL_S_SPENT_AT);
	int rc;

	if (from == 0)
		return 0; /* of what has no number */
	db_q_int(&q, instance);
	db_q_int(&q, first);
	rc = db_q_step(&q);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		f = db_q_col_int(&q);
		l = db_q_col_int(&q);
		db_q_end(&q);
		if (l >= last)
			return 0;
		if (l >= first - 1)
			first = f;
	}
	while ((rc = swallow(lane, instance, first, &last)) == 1)
		;
	if (rc != 0)
		return rc;
	q = db_q(lane, BL_S_SPENT_PUT);
	db_q_int(&q, instance);
	db_q_int(&q, first);
	db_q_int(&q, last);
	return db_q_run(&q);
}
