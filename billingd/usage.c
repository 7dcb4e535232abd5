/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of usage for callers of the API (one JSON document) and for the operator (rows). Both
 * count every record that arrived before the question: they wait until the ledger has it. usage_out.c writes.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/usage.h"

#define DAY_MS INT64_C(86400000)
#define LATE_MS 2500      /* longest wait for records that cannot be stored */
#define PARTS_GONE "Of days so long ago only the sums are kept: begin and end at midnight, UTC."
#define RANGE_MAX_S 253402300800 /* year 10000 */

static const char *const period_names[] = { "window", "day", "week", "month", "all" };

const char *
bl_period_name(enum bl_period p)
{
	return (size_t)p < TF_LEN(period_names) ? period_names[p] : NULL;
}

/* ---- periods ------------------------------------------------------------------------------ */

void
bl_period_range(enum bl_period p, int64_t now_ms, int64_t *from_ms, int64_t *to_ms)
{
	int64_t today = now_ms / DAY_MS * DAY_MS;

	*to_ms = today + DAY_MS;
	switch (p) {
	case BL_P_DAY:
		*from_ms = today;
		break;
	case BL_P_WEEK: /* the last seven days with today */
		*from_ms = today - 6 * DAY_MS;
		break;
	case BL_P_MONTH:
		*from_ms = tf_month_start(now_ms / 1000) * 1000;
		*to_ms = tf_month_next(now_ms / 1000) * 1000;
		break;
	default:
		*from_ms = 0;
		break;
	}
}

/* ---- one question ------------------------------------------------------------------------- */

static void
question_free(struct bl_question *q)
{
	if (q->gateway != NULL)
		q->gateway->refs--;
	bl_sums_fini(&q->sums);
	q->bl->changes--;
	bl_check_drained(q->bl);
	free(q);
}

static struct bl_question *
question_new(struct bl *bl)
{
	struct bl_question *q = calloc(1, sizeof *q);

	if (q == NULL)
		return NULL;
	q->bl = bl;
	bl->changes++;
	return q;
}

/* ---- callers of the API ------------------------------------------------------------------- */

static void
refuse(struct bl_gateway *g, const struct tf_id *frame, int err, const char *message, const char *param)
{
	struct wire_answer m = { .code = tf_cspan(tf_err_row(err)->code), .message = tf_cspan(message),
		.param = tf_cspan(param) };

	if (g->peer != NULL)
		(void)wire_send_answer(g->peer, frame, 0, &m, (struct tf_span){ 0 });
}

static void
query_summed(struct db_batch *b, void *arg)
{
	struct bl_question *q = arg;
	struct bl_workspace *ws = bl_index_workspace(&q->bl->index, tf_id_span(&q->sums.workspace));
	struct wire_answer m = { 0 };
	struct tf_buf body = { 0 };
	int rc = b->rc;

	db_batch_free(&b);
	if (rc == 0)
		rc = q->csv ? bl_usage_csv(q, &body) : bl_usage_json(q, ws, &body);
	if (rc == 0 && q->gateway->peer != NULL)
		rc = wire_send_answer(q->gateway->peer, &q->frame, 0, &m, tf_buf_span(&body));
	if (rc == TF_E_NOENT)
		refuse(q->gateway, &q->frame, TF_E_BAD_REQUEST, PARTS_GONE, "start");
	else if (rc == TF_E_RANGE)
		refuse(q->gateway, &q->frame, TF_E_BAD_REQUEST, "The answer is too long: ask for a shorter period.", "period");
	else if (rc != 0)
		refuse(q->gateway, &q->frame, TF_E_OVERLOADED, NULL, NULL);
	tf_buf_free(&body);
	question_free(q);
}

static int
sums_submit(struct bl_question *q, void (*done)(struct db_batch *b, void *arg))
{
	struct db_batch *b = db_batch_new(done, q);

	if (b == NULL || db_batch_add(b, BL_OP_SUMS, &q->sums) != 0) {
		db_batch_free(&b);
		return TF_E_NOMEM;
	}
	b->read = true;
	db_store_submit(q->bl->store, b);
	return 0;
}

static void
query_ready(struct bl_after *a, bool late)
{
	struct bl_question *q = TF_CONTAINER(a, struct bl_question, after);

	if (!late && sums_submit(q, query_summed) == 0)
		return;
	refuse(q->gateway, &q->frame, TF_E_OVERLOADED, late ? "Usage cannot be stored at the moment. Retry later." : NULL, NULL);
	question_free(q);
}

static int
find(const char *const *names, size_t n, struct tf_span s)
{
	for (size_t i = 0; i < n; i++)
		if (tf_span_is(s, names[i]))
			return (int)i;
	return -1;
}

struct args {
	bool has_period, has_start, has_end;
	int64_t start, end;
};

static int
read_seconds(struct tf_span s, int64_t *out)
{
	uint64_t v;

	if (tf_span_u64(s, RANGE_MAX_S, &v) != 0)
		return TF_E_INVAL;
	*out = (int64_t)v;
	return 0;
}

/* One member; what is wrong with it, or NULL. */
static const char *
read_arg(struct bl_question *q, struct args *a, struct tf_span name, struct tf_span value)
{
	int i;

	if (tf_span_is(name, "period")) {
		i = find(period_names, TF_LEN(period_names) - 1, value);
		if (i < 0)
			return "period is window, day, week or month.";
		q->period = (enum bl_period)i;
		a->has_period = true;
		return NULL;
	}
	if (tf_span_is(name, "surface")) {
		if (tf_span_is(value, "all"))
			q->sums.surface[0] = '\0';
		else if (tf_span_is(value, "openai") || tf_span_is(value, "anthropic"))
			snprintf(q->sums.surface, sizeof q->sums.surface, TF_SPAN_FMT, TF_SPAN_ARG(value));
		else
			return "surface is openai, anthropic or all.";
		return NULL;
	}
	if (tf_span_is(name, "start")) {
		a->has_start = true;
		return read_seconds(value, &a->start) != 0 ? "start is a time in seconds since 1970." : NULL;
	}
	if (tf_span_is(name, "end")) {
		a->has_end = true;
		return read_seconds(value, &a->end) != 0 ? "end is a time in seconds since 1970." : NULL;
	}
	return "This parameter is not known here. Known are period, surface, start and end.";
}

/* The plan's token window, or the month without one; of one that is yet to start nothing. */
static void
window_range(struct bl_workspace *ws, struct bl_question *q)
{
	struct bl_now now = bl_now();
	struct bl_space_state s = bl_space_state(q->bl, ws, now);

	if (s.limit == BL_NO_LIMIT || s.window.length_ms == BL_MONTH) {
		bl_period_range(BL_P_MONTH, bl_wall_ms(), &q->sums.from_ms, &q->sums.to_ms);
	} else if (bl_window_runs(&s.window, now)) {
		q->sums.from_ms = (int64_t)s.window.number;
		q->sums.to_ms = (int64_t)bl_window_end(&s.window, now);
	} else {
		q->sums.from_ms = q->sums.to_ms = bl_wall_ms();
	}
}

/* What the members mean together; param and the return value say what is wrong. */
static const char *
set_range(struct bl_question *q, const struct args *a, struct bl_workspace *ws, const char **param)
{
	int64_t now = bl_wall_ms();

	if (!a->has_start && !a->has_end) {
		if (q->period == BL_P_WINDOW)
			window_range(ws, q);
		else
			bl_period_range(q->period, now, &q->sums.from_ms, &q->sums.to_ms);
		return NULL;
	}
	*param = "period";
	if (a->has_period)
		return "Give either period, or start and end.";
	*param = "start";
	if (!a->has_start)
		return "end needs start.";
	q->period = BL_P_RANGE;
	q->sums.from_ms = a->start * 1000;
	q->sums.to_ms = a->has_end ? a->end * 1000 : now + 1;
	*param = "end";
	return q->sums.from_ms > q->sums.to_ms ? "end lies before start." : NULL;
}

static const char *
read_args(struct bl_question *q, struct bl_workspace *ws, struct tf_span text, char param[static 64])
{
	struct tf_buf name_buf = { 0 }, value_buf = { 0 };
	struct tf_span key, value, name;
	const char *wrong = NULL, *at = "";
	struct args a = { 0 };
	struct js_iter it;

	param[0] = '\0';
	if (js_valid(text) != 0 || js_type(text) != JS_OBJECT)
		return "The arguments are not understood.";
	js_iter_init(&it, text);
	while (wrong == NULL && js_iter_next(&it, &key, &value)) {
		tf_buf_reset(&name_buf);
		tf_buf_reset(&value_buf);
		if (js_str(key, &name_buf, &name) != 0)
			wrong = "The arguments are not understood.";
		else if (js_type(value) == JS_STRING && js_str(value, &value_buf, &value) != 0)
			wrong = "The arguments are not understood.";
		else
			wrong = read_arg(q, &a, name, value);
		if (wrong != NULL)
			snprintf(param, 64, "%.*s", (int)(name.n < 63 ? name.n : 63), name.p != NULL ? name.p : "");
	}
	tf_buf_free(&name_buf);
	tf_buf_free(&value_buf);
	if (wrong != NULL)
		return wrong;
	wrong = set_range(q, &a, ws, &at);
	if (wrong != NULL)
		snprintf(param, 64, "%s", at);
	return wrong;
}

void
bl_usage_query(struct bl *bl, struct bl_gateway *g, const struct wire_frame *f, const struct wire_query *m)
{
	struct bl_workspace *ws = bl_index_workspace(&bl->index, m->workspace);
	struct bl_question *q;
	const char *wrong;
	char param[64];

	if (!tf_span_is(m->name, "usage") || ws == NULL) {
		refuse(g, &f->id, TF_E_NOT_FOUND, NULL, NULL);
		return;
	}
	q = question_new(bl);
	if (q == NULL) {
		refuse(g, &f->id, TF_E_OVERLOADED, NULL, NULL);
		return;
	}
	q->gateway = g;
	g->refs++;
	q->frame = f->id;
	q->period = BL_P_MONTH;
	q->sums.workspace = ws->row.id;
	q->sums.by = 1u << BL_BY_TOTAL | 1u << BL_BY_SURFACE | 1u << BL_BY_MODEL | 1u << BL_BY_KEY | 1u << BL_BY_DAY;
	q->csv = m->csv != 0;
	wrong = read_args(q, ws, m->args, param);
	if (wrong != NULL) {
		refuse(g, &f->id, TF_E_BAD_REQUEST, wrong, param[0] != '\0' ? param : NULL);
		question_free(q);
		return;
	}
	bl_ledger_after(bl, &q->after, LATE_MS, query_ready);
}

/* ---- the operator ------------------------------------------------------------------------- */

static void
rows_summed(struct db_batch *b, void *arg)
{
	struct bl_question *q = arg;
	int rc = b->rc;

	db_batch_free(&b);
	for (size_t i = 0; rc == 0 && i < q->sums.n[q->by]; i++)
		bl_usage_row(q, &q->sums.v[q->by][i]);
	if (rc == TF_E_NOENT)
		ctl_fail(q->req, CTL_NOT_FOUND, "%s", PARTS_GONE);
	else if (rc != 0)
		ctl_fail(q->req, CTL_FAILED, "the database does not answer: %s", tf_err_text(rc));
	else
		ctl_end(q->req);
	question_free(q);
}

static void
rows_ready(struct bl_after *a, bool late)
{
	struct bl_question *q = TF_CONTAINER(a, struct bl_question, after);

	if (!late && sums_submit(q, rows_summed) == 0)
		return;
	ctl_fail(q->req, CTL_FAILED, "usage cannot be stored at the moment; see the log");
	question_free(q);
}

/* start and end, or a period. Why not, or NULL. */
static const char *
rows_range(struct bl_question *q, struct ctl_req *req)
{
	struct tf_span period = ctl_has(req, "period") ? ctl_str(req, "period") : TF_SPAN("month");
	int p = find(period_names, TF_LEN(period_names), period);
	int64_t start = ctl_int(req, "start", 0), end = ctl_int(req, "end", bl_wall_ms() / 1000 + 1);

	if (ctl_has(req, "start") || ctl_has(req, "end")) {
		if (ctl_has(req, "period"))
			return "give either period, or start and end";
		if (!ctl_has(req, "start"))
			return "end needs start";
		if (start < 0 || end > RANGE_MAX_S || start > end)
			return "start and end are seconds since 1970, in order";
		q->sums.from_ms = start * 1000;
		q->sums.to_ms = end * 1000;
		return NULL;
	}
	if (p <= BL_P_WINDOW)
		return "period is day, week, month or all";
	bl_period_range((enum bl_period)p, bl_wall_ms(), &q->sums.from_ms, &q->sums.to_ms);
	return NULL;
}

void
bl_usage_rows(struct bl *bl, struct ctl_req *req)
{
	static const char *const groups[] = { "surface", "model", "key", "day", "workspace" };
	static const enum bl_by by[] = { BL_BY_SURFACE, BL_BY_MODEL, BL_BY_KEY, BL_BY_DAY, BL_BY_WORKSPACE };
	struct bl_workspace *ws = NULL;
	struct bl_question *q;
	const char *wrong;
	int g = -1;

	if (ctl_has(req, "by") && (g = find(groups, TF_LEN(groups), ctl_str(req, "by"))) < 0) {
		ctl_fail(req, CTL_USAGE, "by is surface, model, key, day or workspace");
		return;
	}
	if (ctl_has(req, "workspace") && (ws = bl_index_find_workspace(&bl->index, ctl_str(req, "workspace"))) == NULL) {
		ctl_fail(req, CTL_NOT_FOUND, "no such workspace");
		return;
	}
	q = question_new(bl);
	if (q == NULL) {
		ctl_fail(req, CTL_FAILED, "out of memory");
		return;
	}
	q->req = req;
	q->by = g < 0 ? BL_BY_TOTAL : by[g];
	q->sums.all = ws == NULL;
	if (ws != NULL)
		q->sums.workspace = ws->row.id;
	q->sums.by = 1u << q->by;
	wrong = rows_range(q, req);
	if (wrong != NULL) {
		ctl_fail(req, CTL_USAGE, "%s", wrong);
		question_free(q);
		return;
	}
	bl_ledger_after(bl, &q->after, LATE_MS, rows_ready);
}
