/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does each token window hold what its rows come to? Rows are found by when they began, around the window; but the wall
 * clock may have been set while it ran, and then some of its rows began days or months away from it. Those days are
 * noted, with the window, while all rows are read, and looked at beside. So what is summed is always of one view of the
 * data, and no more of it is read than those days.
 */
#include "config.h"

#include <inttypes.h>
#include <stdlib.h>

#include "billingd/sqlite.h"
#include "billingd/verify.h"

#define DAY_MS 86400000

struct bl_stray {
	struct bl_stray_at { /* the key; no padding */
		struct tf_id workspace;
		int64_t window;
	} at;
	int64_t *days;
	uint32_t n, cap;
};

static struct tf_span
key_of(const struct bl_stray_at *at)
{
	return tf_span((const char *)at, sizeof *at);
}

static int
stray_add(struct bl_verify *v, const struct bl_stray_at *at, int64_t day)
{
	struct bl_stray *s = tf_map_get(&v->strays, key_of(at));
	int64_t *days;

	if (s == NULL) {
		s = calloc(1, sizeof *s);
		if (s == NULL)
			return TF_E_NOMEM;
		s->at = *at;
		if (tf_map_put(&v->strays, key_of(&s->at), s) != 0) {
			free(s);
			return TF_E_NOMEM;
		}
	}
	for (size_t i = 0; i < s->n; i++)
		if (s->days[i] == day)
			return 0;
	days = tf_grow(s->days, s->n, &s->cap, sizeof *days, 1);
	if (days == NULL)
		return TF_E_NOMEM;
	s->days = days;
	s->days[s->n++] = day;
	return 0;
}

int
bl_strays_note(struct db_lane *lane, struct bl_verify *v, int64_t to)
{
	struct db_q q = db_q(lane, BL_S_VERIFY_STRAYS);
	int rc;

	db_q_int(&q, v->noted);
	db_q_int(&q, to);
	while ((rc = db_q_step(&q)) == 1) {
		struct bl_stray_at at;
		int failed;

		db_q_col_blob(&q, at.workspace.b, sizeof at.workspace.b);
		at.window = db_q_col_int(&q);
		failed = stray_add(v, &at, db_q_col_int(&q));
		if (failed != 0) {
			db_q_end(&q);
			return failed;
		}
	}
	if (rc == 0)
		v->noted = to;
	return rc;
}

void
bl_strays_fini(struct bl_verify *v)
{
	struct bl_stray *s;
	size_t pos = 0;

	while ((s = tf_map_next(&v->strays, &pos)) != NULL) {
		free(s->days);
		free(s);
	}
	tf_map_free(&v->strays);
}

struct window {
	int64_t ends_ms, tokens, rows_say;
};

/* Adds what its rows of those days come to. */
static int
strays(struct db_lane *lane, const struct bl_verify *v, struct window *w)
{
	struct bl_stray_at at = { v->at.workspace, v->id };
	const struct bl_stray *s = tf_map_get(&v->strays, key_of(&at));
	int rc = 0;

	for (size_t i = 0; s != NULL && i < s->n && rc == 0; i++) {
		struct db_q q = db_q(lane, BL_S_VERIFY_STRAY_DAY);

		db_q_id(&q, &v->at.workspace);
		db_q_int(&q, v->id);
		db_q_int(&q, w->ends_ms);
		db_q_int(&q, s->days[i]);
		rc = db_q_step(&q);
		if (rc != 1)
			continue;
		w->rows_say += db_q_col_int(&q);
		db_q_end(&q);
		rc = 0;
	}
	return rc;
}

/* Rows that came since all were read may have strayed, too. */
static int
strays_since(struct db_lane *lane, struct bl_verify *v)
{
	struct db_q q = db_q(lane, BL_S_VERIFY_LAST);
	int64_t last;
	int rc = db_q_step(&q);

	if (rc != 1)
		return rc;
	last = db_q_col_int(&q);
	db_q_end(&q);
	return last > v->noted ? bl_strays_note(lane, v, last) : 0;
}

static int
compare(struct db_lane *lane, struct bl_verify *v, struct window *w)
{
	int64_t near = w->rows_say;
	int rc = strays(lane, v, w);

	if (rc != 0 || w->rows_say == w->tokens)
		return rc;
	rc = strays_since(lane, v);
	w->rows_say = near;
	return rc == 0 ? strays(lane, v, w) : rc;
}

/* Those that reach back to days whose rows may have gone are skipped. */
int
bl_windows_check(struct db_lane *lane, struct bl_verify *v)
{
	struct bl_finding *f = &v->found[BL_CHECK_WINDOWS];
	struct db_q q = db_q(lane, BL_S_VERIFY_WINDOW);
	char space[TF_ID_TEXT + 1];
	struct window w;
	int rc;

	db_q_id(&q, &v->at.workspace);
	db_q_int(&q, v->id);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	db_q_col_blob(&q, v->at.workspace.b, sizeof v->at.workspace.b);
	v->id = db_q_col_int(&q);
	w.ends_ms = db_q_col_int(&q);
	w.tokens = db_q_col_int(&q);
	w.rows_say = db_q_col_int(&q);
	db_q_end(&q);
	rc = bl_first_day(lane, &v->first_day);
	f->looked++;
	if (rc == 0 && v->first_day != INT64_MIN && v->id < (v->first_day + 1) * DAY_MS) {
		f->skipped++;
		return 1;
	}
	if (rc == 0)
		rc = compare(lane, v, &w);
	if (rc != 0)
		return rc;
	tf_id_text(v->at.workspace, space);
	if (w.tokens != w.rows_say)
		bl_found(v, BL_CHECK_WINDOWS, 1, "workspace %s, window of %" PRId64 ": %" PRId64 " tokens, its rows %" PRId64,
		    space, v->id, w.tokens, w.rows_say);
	return 1;
}
