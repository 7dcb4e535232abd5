/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What charged attempts draw beside the daily sums, in the transaction of their rows: tokens from
 * the plan's token window and, behind it, from what was topped up; money from a prepaid balance.
 * Gathered per batch like the days. Runs on the store's thread.
 */
#include "config.h"

#include <stdlib.h>

#include "billingd/sqlite.h"

struct bl_draw_window {
	struct {
		struct tf_id workspace;
		uint64_t number;
	} key;
	bool is; /* there is such a row, or there will be */
	int64_t ends_ms, size, tokens;
};

struct bl_draw_purse {
	struct tf_id workspace;
	bool prepaid;
	int64_t extra;           /* tokens that are left, with what this batch took */
	struct bl_drawn drawn;   /* by this batch */
};

static int
window_read(struct db_lane *lane, struct bl_draw_window *w)
{
	struct db_q q = db_q(lane, BL_S_WINDOW_GET);
	int rc;

	db_q_id(&q, &w->key.workspace);
	db_q_int(&q, (int64_t)w->key.number);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	w->is = true;
	w->ends_ms = db_q_col_int(&q);
	w->size = db_q_col_int(&q);
	w->tokens = db_q_col_int(&q);
	db_q_end(&q);
	return 0;
}

static int
window_get(struct db_lane *lane, const struct bl_usage *u, struct bl_draw_window **out)
{
	struct bl_gathered *g = lane->user;
	struct bl_draw_window *w = g->last_window;
	struct tf_map *map = &g->windows;
	int rc;

	if (w != NULL && w->key.number == u->window.budget && tf_id_eq(w->key.workspace, u->workspace)) {
		*out = w;
		return 0;
	}
	w = calloc(1, sizeof *w);
	if (w == NULL)
		return TF_E_NOMEM;
	w->key.workspace = u->workspace;
	w->key.number = u->window.budget;
	*out = tf_map_get(map, tf_span((const char *)&w->key, sizeof w->key));
	if (*out != NULL) {
		free(w);
		g->last_window = *out;
		return 0;
	}
	rc = window_read(lane, w);
	if (rc == 0)
		rc = tf_map_put(map, tf_span((const char *)&w->key, sizeof w->key), w);
	if (rc != 0) {
		free(w);
		return rc;
	}
	*out = g->last_window = w;
	return 0;
}

static int
purse_read(struct db_lane *lane, struct bl_draw_purse *p)
{
	struct db_q q = db_q(lane, BL_S_PURSE_GET);
	int rc;

	db_q_id(&q, &p->workspace);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc; /* of a workspace that is unknown: nothing to draw from */
	p->extra = db_q_col_int(&q);
	p->prepaid = db_q_col_time(&q) != BL_NEVER_MS;
	db_q_end(&q);
	return 0;
}

static int
purse_get(struct db_lane *lane, const struct bl_usage *u, struct bl_draw_purse **out)
{
	struct bl_gathered *g = lane->user;
	struct tf_map *map = &g->purses;
	struct bl_draw_purse *p = g->last_purse;
	int rc;

	*out = p != NULL && tf_id_eq(p->workspace, u->workspace) ? p : tf_map_get(map, tf_id_span(&u->workspace));
	if (*out != NULL) {
		g->last_purse = *out;
		return 0;
	}
	p = calloc(1, sizeof *p);
	if (p == NULL)
		return TF_E_NOMEM;
	p->workspace = u->workspace;
	rc = purse_read(lane, p);
	if (rc == 0)
		rc = tf_map_put(map, tf_id_span(&p->workspace), p);
	if (rc != 0) {
		free(p);
		return rc;
	}
	*out = g->last_purse = p;
	return 0;
}

static int64_t
beyond(const struct bl_draw_window *w)
{
	return w->tokens > w->size ? w->tokens - w->size : 0;
}

/*
 * The tokens go to the window; returned is what of them lies beyond its size. A row that names a window
 * which is over, and of which nothing was kept, changes nothing: its size is not known any more.
 */
static int64_t
window_add(struct bl_draw_window *w, const struct bl_usage *u, int64_t tokens)
{
	int64_t before;

	if (u->window_size != 0) {
		w->is = true;
		w->size = (int64_t)u->window_size;
		if (u->window_ends_ms != 0) /* 0: it is over */
			w->ends_ms = (int64_t)u->window_ends_ms;
	}
	if (!w->is)
		return 0;
	before = beyond(w);
	w->tokens = w->tokens + tokens > 0 ? w->tokens + tokens : 0;
	return beyond(w) - before;
}

int
bl_draw(struct db_lane *lane, const struct bl_usage *u, int sign)
{
	struct bl_drawn *drawn = &((struct bl_gathered *)lane->user)->current->drawn;
	int64_t tokens = sign * (int64_t)bl_drawn_tokens(&u->tokens, &u->units, u->reserved);
	int64_t money = sign * (int64_t)(u->cost - u->unbilled), extra = 0;
	struct bl_draw_window *w = NULL;
	struct bl_draw_purse *p;
	int rc = purse_get(lane, u, &p);

	if (rc == 0 && u->window.budget != 0)
		rc = window_get(lane, u, &w);
	if (rc != 0)
		return rc;
	if (w != NULL)
		extra = window_add(w, u, tokens);
	if (extra > p->extra)
		extra = p->extra; /* what is not there cannot be taken */
	if (!p->prepaid)
		money = 0;
	p->extra -= extra;
	p->drawn.extra_tokens += extra;
	p->drawn.money += money;
	drawn->extra_tokens += extra;
	drawn->money += money;
	return 0;
}

static int
window_put(struct db_lane *lane, const struct bl_draw_window *w)
{
	struct db_q q = db_q(lane, BL_S_WINDOW_PUT);

	db_q_id(&q, &w->key.workspace);
	db_q_int(&q, (int64_t)w->key.number);
	db_q_int(&q, w->ends_ms);
	db_q_int(&q, w->size);
	db_q_int(&q, w->tokens);
	return db_q_run(&q);
}

static int
purse_put(struct db_lane *lane, const struct bl_draw_purse *p)
{
	struct db_q q = db_q(lane, BL_S_PURSE_DRAW);

	db_q_id(&q, &p->workspace);
	db_q_int(&q, p->drawn.extra_tokens);
	db_q_int(&q, p->drawn.money);
	return db_q_run(&q);
}

int
bl_draws_flush(struct db_lane *lane)
{
	const struct bl_gathered *g = lane->user;
	struct bl_draw_window *w;
	struct bl_draw_purse *p;
	size_t pos = 0;
	int rc = 0;

	while (rc == 0 && (w = tf_map_next(&g->windows, &pos)) != NULL)
		if (w->is)
			rc = window_put(lane, w);
	pos = 0;
	while (rc == 0 && (p = tf_map_next(&g->purses, &pos)) != NULL)
		if (p->drawn.extra_tokens != 0 || p->drawn.money != 0)
			rc = purse_put(lane, p);
	return rc;
}

void
bl_draws_drop(struct db_lane *lane)
{
	struct bl_gathered *g = lane->user;
	struct bl_draw_window *w;
	struct bl_draw_purse *p;
	size_t pos = 0;

	while ((w = tf_map_next(&g->windows, &pos)) != NULL) {
		tf_map_del(&g->windows, tf_span((const char *)&w->key, sizeof w->key));
		free(w);
	}
	pos = 0;
	while ((p = tf_map_next(&g->purses, &pos)) != NULL) {
		tf_map_del(&g->purses, tf_id_span(&p->workspace));
		free(p);
	}
	g->current = NULL;
	g->last_window = NULL;
	g->last_purse = NULL;
}
