/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the ledger add up? One slice of the answer at a time, each with one view of the data, so that neither
 * commits nor other questions wait for long. Nothing is believed that can be counted again: costs from units and
 * prices, sums from rows, balances from top-ups and charges. Runs on the store's reading thread.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "billingd/sqlite.h"
#include "billingd/verify.h"
#include "common/wire/wire.h"

#define SLICE_ROWS 2000
#define DAY_MS 86400000
#define FIRST_DAY INT64_C(-100000)

enum phase { PHASE_BEGIN, PHASE_ROWS, PHASE_INSTANCES, PHASE_DAYS, PHASE_WINDOWS, PHASE_BALANCES, PHASE_OVER };

void
bl_found(struct bl_verify *v, enum bl_check check, uint64_t n, const char *fmt, ...)
{
	struct bl_finding *f = &v->found[check];
	bool first = f->wrong == 0;
	va_list ap;

	f->wrong += n;
	if (!first)
		return;
	va_start(ap, fmt);
	vsnprintf(f->first, sizeof f->first, fmt, ap);
	va_end(ap);
}

void
bl_verify_fini(struct bl_verify *v)
{
	bl_seq_fini(v);
	bl_strays_fini(v);
	free(v->instances);
	v->instances = NULL;
	v->n_instances = 0;
}

/* ---- instances ---------------------------------------------------------------------------- */

static int
by_id(const void *key, const void *element)
{
	int64_t a = *(const int64_t *)key, b = ((const struct bl_verify_instance *)element)->id;

	return a < b ? -1 : a > b;
}

static struct bl_verify_instance *
find_instance(const struct bl_verify *v, int64_t id)
{
	return v->n_instances == 0 ? NULL : bsearch(&id, v->instances, v->n_instances, sizeof *v->instances, by_id);
}

int
bl_first_day(struct db_lane *lane, int64_t *out)
{
	struct db_q q = db_q(lane, BL_S_META_GET);
	int rc;

	db_q_str(&q, "ledger_from");
	rc = db_q_step(&q);
	*out = INT64_MIN;
	if (rc == 1) {
		*out = db_q_col_int(&q);
		db_q_end(&q);
	}
	return rc < 0 ? rc : 0;
}

/* What each had told when the check began. */
static int
begin(struct db_lane *lane, struct bl_verify *v)
{
	struct db_q q = db_q(lane, BL_S_VERIFY_INSTANCES);
	int rc;

	while ((rc = db_q_step(&q)) == 1) {
		struct bl_verify_instance *more = reallocarray(v->instances, v->n_instances + 1, sizeof *more);

		if (more == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		v->instances = more;
		more += v->n_instances++;
		memset(more, 0, sizeof *more);
		more->id = db_q_col_int(&q);
		more->seq = (uint64_t)db_q_col_int(&q);
		db_q_col_text(&q, more->name, sizeof more->name);
	}
	v->phase = PHASE_ROWS;
	return rc == 0 ? bl_first_day(lane, &v->first_day) : rc;
}

/* ---- rows --------------------------------------------------------------------------------- */

static bool
could_be_charged(const struct bl_usage *u)
{
	return u->outcome == WIRE_OUTCOME_SERVED || u->outcome == WIRE_OUTCOME_PARTIAL;
}

static int
check_charged(struct db_lane *lane, struct bl_verify *v, const struct bl_ledger_row *r, const char *id)
{
	struct db_q q = db_q(lane, BL_S_VERIFY_REQUEST);
	int64_t charged, could;
	int rc;

	v->found[BL_CHECK_CHARGED].looked++;
	if (r->charged && !could_be_charged(r->u)) {
		bl_found(v, BL_CHECK_CHARGED, 1, "request %s attempt %u: charged, and neither served nor partial", id,
		    r->u->attempt);
		return 0;
	}
	if (!could_be_charged(r->u))
		return 0;
	db_q_id(&q, &r->u->request);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc;
	charged = db_q_col_int(&q);
	could = db_q_col_int(&q);
	db_q_end(&q);
	/* what was charged may have gone, when its time was over a moment before that of this one */
	if (charged == 0 && could && v->first_day != INT64_MIN && r->u->began_ms < (v->first_day + 1) * DAY_MS)
		return 0;
	if (charged != could)
		bl_found(v, BL_CHECK_CHARGED, 1, "request %s: charged %" PRId64 " times", id, charged);
	return 0;
}

/* Slices of a deployment add up to its cost, rounded once: each may be one off. */
static uint64_t
gpu_cost(const struct bl_ledger_row *r)
{
	int64_t price = r->price_gpu_hour != TF_NO_PRICE ? r->price_gpu_hour : 0;
	__int128 exact = (__int128)r->gpu_ms * price, off = (__int128)r->u->cost * 3600000 - exact;

	return off < 3600000 && off > -3600000 ? r->u->cost : (uint64_t)(exact / 3600000);
}

static int
check_row(struct db_lane *lane, struct bl_verify *v, const struct bl_ledger_row *r)
{
	struct bl_verify_instance *i = find_instance(v, r->u->instance);
	uint64_t cost = tf_span_is(r->u->text[BL_T_SURFACE], BL_SURFACE_DEPLOYMENT) ? gpu_cost(r) : bl_usage_cost(r->u);
	char id[TF_ID_TEXT + 1];

	tf_id_text(r->u->request, id);
	v->found[BL_CHECK_COST].looked++;
	if (cost != r->u->cost)
		bl_found(v, BL_CHECK_COST, 1, "request %s attempt %u: cost %" PRIu64 ", its units at its prices %" PRIu64
		    " (10^-9)", id, r->u->attempt, r->u->cost, cost);
	else if (r->u->unbilled > cost)
		bl_found(v, BL_CHECK_COST, 1, "request %s attempt %u: more is unbilled than it costs", id, r->u->attempt);
	if (i != NULL && r->u->seq <= i->seq && r->u->seq > 0 && bl_seq_seen(v, i, r->u->seq) != 0)
		return TF_E_NOMEM;
	return check_charged(lane, v, r, id);
}

static int
rows(struct db_lane *lane, struct bl_verify *v)
{
	struct db_q q = db_q(lane, BL_S_VERIFY_SLICE);
	int rc = bl_first_day(lane, &v->first_day);
	size_t n = 0;

	if (rc != 0)
		return rc;
	db_q_int(&q, v->id);
	db_q_int(&q, SLICE_ROWS);
	while ((rc = db_q_step(&q)) == 1) {
		struct bl_ledger_row r;

		rc = bl_row_read(&q, &r);
		if (rc == 0) {
			rc = check_row(lane, v, &r);
			v->id = r.id;
			n++;
			free(r.u);
		}
		if (rc != 0) {
			db_q_end(&q);
			return rc;
		}
	}
	if (rc == 0 && n < SLICE_ROWS)
		v->phase = PHASE_INSTANCES;
	return rc == 0 && n > 0 ? bl_strays_note(lane, v, v->id) : rc;
}

/* ---- days --------------------------------------------------------------------------------- */

#define SUMMED 11 /* requests and SUMS_COUNTS */

struct diff { /* rows less sums, of one group of a day */
	int64_t v[SUMMED];
	size_t nkey;
	char key[]; /* key, model, 0, surface */
};

static struct diff *
diff_of(struct tf_map *map, const struct tf_id *key, struct tf_span model, struct tf_span surface)
{
	size_t n = sizeof key->b + model.n + 1 + surface.n;
	struct diff *d = calloc(1, sizeof *d + n), *there;

	if (d == NULL)
		return NULL;
	d->nkey = n;
	memcpy(d->key, key->b, sizeof key->b);
	if (model.n > 0)
		memcpy(d->key + sizeof key->b, model.p, model.n);
	if (surface.n > 0)
		memcpy(d->key + n - surface.n, surface.p, surface.n);
	there = tf_map_get(map, tf_span(d->key, n));
	if (there == NULL && tf_map_put(map, tf_span(d->key, n), d) == 0)
		return d;
	free(d);
	return there;
}

/* sign 1: of rows; -1: of sums. from and to: in the statement's own measure. */
static int
diff_add(struct db_lane *lane, enum bl_stmt stmt, const struct bl_space_day *at, int64_t from, int64_t to, struct tf_map *map)
{
	int64_t sign = stmt == BL_S_SUMS_EDGE ? 1 : -1;
	struct db_q q = db_q(lane, stmt);
	int rc;

	db_q_id(&q, &at->workspace);
	db_q_int(&q, from);
	db_q_int(&q, to);
	while ((rc = db_q_step(&q)) == 1) {
		struct tf_span model, surface;
		struct tf_id ignored, key;
		struct diff *d;

		db_q_col_blob(&q, ignored.b, sizeof ignored.b);
		(void)db_q_col_int(&q);
		db_q_col_blob(&q, key.b, sizeof key.b);
		model = db_q_col_span(&q);
		surface = db_q_col_span(&q);
		d = diff_of(map, &key, model, surface);
		if (d == NULL) {
			db_q_end(&q);
			return TF_E_NOMEM;
		}
		for (int i = 0; i < SUMMED; i++)
			d->v[i] += sign * db_q_col_int(&q);
	}
	return rc;
}

static void
diff_say(struct bl_verify *v, const struct diff *d)
{
	static const char *const names[SUMMED] = { "requests", "prompt", "cache_read", "cache_write", "completion", "reasoning",
		"images", "audio_ms", "characters", "cost", "unbilled" };
	time_t t = v->at.day * (DAY_MS / 1000);
	char space[TF_ID_TEXT + 1], day[16] = "?";
	struct tm tm;
	int i = 0;

	while (i < SUMMED - 1 && d->v[i] == 0)
		i++;
	tf_id_text(v->at.workspace, space);
	if (gmtime_r(&t, &tm) != NULL)
		(void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
	bl_found(v, BL_CHECK_DAYS, 1, "workspace %s %s model %.80s: %s differs by %" PRId64, space, day,
	    d->key + sizeof(struct tf_id), names[i], d->v[i]);
}

/* Compares one day; wrong gets how many groups of it differ. */
static int
day(struct db_lane *lane, struct bl_verify *v, size_t *wrong)
{
	struct tf_map map = { 0 };
	struct diff *d;
	size_t pos = 0;
	int rc = diff_add(lane, BL_S_SUMS_EDGE, &v->at, v->at.day * DAY_MS, (v->at.day + 1) * DAY_MS, &map);

	if (rc == 0)
		rc = diff_add(lane, BL_S_SUMS_DAYS, &v->at, v->at.day, v->at.day + 1, &map);
	*wrong = 0;
	while ((d = tf_map_next(&map, &pos)) != NULL) {
		bool differs = false;

		for (int i = 0; i < SUMMED; i++)
			differs |= d->v[i] != 0;
		if (rc == 0 && differs && (*wrong)++ == 0)
			diff_say(v, d);
		free(d);
	}
	tf_map_free(&map);
	return rc;
}

/* The first day from the one named on that a table knows: 1, or 0. */
static int
day_next(struct db_lane *lane, enum bl_stmt stmt, const struct bl_space_day *from, struct bl_space_day *out)
{
	struct db_q q = db_q(lane, stmt);
	int rc;

	db_q_id(&q, &from->workspace);
	db_q_int(&q, from->day);
	rc = db_q_step(&q);
	if (rc == 1) {
		db_q_col_blob(&q, out->workspace.b, sizeof out->workspace.b);
		out->day = db_q_col_int(&q);
		db_q_end(&q);
	}
	return rc;
}

static int
days(struct db_lane *lane, struct bl_verify *v)
{
	struct bl_finding *f = &v->found[BL_CHECK_DAYS];
	struct bl_space_day rows_at, sums_at;
	int in_rows = day_next(lane, BL_S_VERIFY_LEDGER_DAY, &v->at, &rows_at), in_sums, c, rc = 0;
	size_t wrong = 0;

	/* rows may have gone since the last slice */
	rc = bl_first_day(lane, &v->first_day);
	if (rc != 0)
		return rc;
	in_sums = in_rows < 0 ? in_rows : day_next(lane, BL_S_VERIFY_SUMS_DAY, &v->at, &sums_at);
	if (in_sums < 0)
		return in_sums;
	if (in_rows == 0 && in_sums == 0) {
		v->phase = PHASE_WINDOWS;
		memset(&v->at, 0, sizeof v->at);
		v->id = 0;
		return 0;
	}
	c = in_rows && in_sums ? memcmp(&rows_at.workspace, &sums_at.workspace, sizeof rows_at.workspace) : in_sums - in_rows;
	if (c == 0)
		c = rows_at.day < sums_at.day ? -1 : 1;
	v->at = c < 0 ? rows_at : sums_at;
	f->looked++;
	if (v->at.day < v->first_day)
		f->skipped++;
	else
		rc = day(lane, v, &wrong);
	v->stopped = v->mend && wrong > 0;
	if (!v->stopped)
		v->at.day++;
	return rc;
}

int
bl_op_rebuild_day(struct db_lane *lane, const struct bl_space_day *d)
{
	struct db_q clear, fill;
	int64_t first;
	int rc = bl_first_day(lane, &first);

	if (rc != 0 || d->day < first)
		return rc;
	clear = db_q(lane, BL_S_DAY_CLEAR_ONE);
	db_q_id(&clear, &d->workspace);
	db_q_int(&clear, d->day);
	rc = db_q_run(&clear);
	if (rc != 0)
		return rc;
	fill = db_q(lane, BL_S_DAY_FILL_ONE);
	db_q_id(&fill, &d->workspace);
	db_q_int(&fill, d->day);
	return db_q_run(&fill);
}

/* ---- balances ----------------------------------------------------------------------------- */

static int
balances(struct db_lane *lane, struct bl_verify *v)
{
	struct db_q q = db_q(lane, BL_S_VERIFY_BALANCE);
	int64_t left, added, billed, before;
	char name[BL_NAME_MAX + 1];
	int rc;

	db_q_id(&q, &v->at.workspace);
	rc = db_q_step(&q);
	if (rc == 0)
		v->phase = PHASE_OVER;
	if (rc != 1)
		return rc;
	db_q_col_blob(&q, v->at.workspace.b, sizeof v->at.workspace.b);
	db_q_col_text(&q, name, sizeof name);
	left = db_q_col_int(&q);
	added = db_q_col_int(&q);
	billed = db_q_col_int(&q);
	before = db_q_col_int(&q);
	db_q_end(&q);
	v->found[BL_CHECK_BALANCE].looked++;
	if (left != added - (billed - before))
		bl_found(v, BL_CHECK_BALANCE, 1, "workspace %s: %" PRId64 " left, topped up %" PRId64 ", charged since %" PRId64
		    " (10^-9)", name, left, added, billed - before);
	return 0;
}

int
bl_op_verify(struct db_lane *lane, struct bl_verify *v)
{
	int rc = 0;

	v->stopped = false;
	switch ((enum phase)v->phase) {
	case PHASE_BEGIN:
		rc = begin(lane, v);
		break;
	case PHASE_ROWS:
		rc = rows(lane, v);
		break;
	case PHASE_INSTANCES:
		rc = bl_seq_check(lane, v);
		v->phase = PHASE_DAYS;
		v->at.day = FIRST_DAY;
		break;
	case PHASE_DAYS:
		rc = days(lane, v);
		break;
	case PHASE_WINDOWS:
		rc = bl_windows_check(lane, v);
		if (rc == 0) {
			v->phase = PHASE_BALANCES;
			memset(&v->at, 0, sizeof v->at);
		}
		rc = rc < 0 ? rc : 0;
		break;
	case PHASE_BALANCES:
		rc = balances(lane, v);
		break;
	case PHASE_OVER:
		break;
	}
	v->over = v->phase == PHASE_OVER;
	return rc;
}
