/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What questions about usage are answered with: the document of the API, the same sums as a table, and the
 * operator's rows. Money is a decimal string; cost is what was charged, without the part that no reservation covered.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "billingd/usage.h"

#define DAY_MS INT64_C(86400000)

static void
day_text(int64_t day, char out[static 16])
{
	time_t t = day * (DAY_MS / 1000);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, 16, "%Y-%m-%d", &tm) == 0)
		snprintf(out, 16, "%s", "?");
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* A decimal number without trailing zeros. */
static struct tf_span
seconds_text(uint64_t ms, char text[static 32])
{
	int n = snprintf(text, 32, "%" PRIu64 ".%03u", ms / 1000, (unsigned)(ms % 1000));

	while (text[n - 1] == '0')
		n--;
	if (text[n - 1] == '.')
		n--;
	return tf_span(text, (size_t)n);
}

static void
write_seconds(struct js_w *w, const char *name, uint64_t ms)
{
	char text[32];

	js_w_key(w, name);
	js_w_raw(w, seconds_text(ms, text));
}

/* The answer's words for our disjoint columns. */
static void
write_counts(struct js_w *w, const struct bl_sum *s)
{
	const struct bl_tokens *t = &s->tokens;

	js_w_ku64(w, "requests", s->requests);
	js_w_ku64(w, "input_tokens", t->prompt + t->cache_read + t->cache_write);
	js_w_ku64(w, "cached_input_tokens", t->cache_read);
	js_w_ku64(w, "output_tokens", t->completion + t->reasoning);
	js_w_ku64(w, "reasoning_tokens", t->reasoning);
	js_w_ku64(w, "total_tokens", bl_tokens_sum(t));
	js_w_ku64(w, "images", s->units.images);
	write_seconds(w, "audio_seconds", s->units.audio_ms);
	js_w_ku64(w, "characters", s->units.characters);
	js_w_key(w, "cost");
	js_w_nano(w, (int64_t)(s->cost - s->unbilled));
}

static void
write_counts_object(struct js_w *w, const struct bl_sum *s)
{
	static const struct bl_sum none;

	js_w_object(w);
	write_counts(w, s != NULL ? s : &none);
	js_w_object_end(w);
}

/* ---- groups ------------------------------------------------------------------------------- */

/* What a group is called: text (borrowed, or in room), and a name for people, which may be NULL. */
static const char *
group_text(const struct bl_question *q, enum bl_by by, const struct bl_sum *s, char room[static TF_ID_TEXT + 1],
    const char **name)
{
	const struct bl_workspace *ws;
	const struct bl_key *k;

	*name = NULL;
	switch (by) {
	case BL_BY_KEY:
		k = bl_index_key(&q->bl->index, tf_id_span(&s->id));
		*name = k != NULL ? k->row.name : NULL;
		tf_id_text(s->id, room);
		return room;
	case BL_BY_WORKSPACE:
		ws = bl_index_workspace(&q->bl->index, tf_id_span(&s->id));
		*name = ws != NULL ? ws->row.name : NULL;
		tf_id_text(s->id, room);
		return room;
	case BL_BY_DAY:
		day_text(s->day, room);
		return room;
	case BL_BY_TOTAL:
		return "total";
	default:
		return s->group;
	}
}

static void
write_list(struct js_w *w, const struct bl_question *q, const char *name, enum bl_by by)
{
	static const char *const what[BL_BY_COUNT] = { [BL_BY_MODEL] = "model", [BL_BY_KEY] = "key_id", [BL_BY_DAY] = "day" };

	js_w_key(w, name);
	js_w_array(w);
	for (size_t i = 0; i < q->sums.n[by]; i++) {
		const struct bl_sum *s = &q->sums.v[by][i];
		char room[TF_ID_TEXT + 1];
		const char *of;

		js_w_object(w);
		js_w_kcstr(w, what[by], group_text(q, by, s, room, &of));
		if (by == BL_BY_KEY)
			js_w_kcstr(w, "name", of);
		write_counts(w, s);
		js_w_object_end(w);
	}
	js_w_array_end(w);
}

static void
write_surfaces(struct js_w *w, const struct bl_question *q)
{
	static const char *const families[] = { "openai", "anthropic" };
	const struct bl_sums *s = &q->sums;

	js_w_key(w, "by_surface");
	js_w_object(w);
	for (size_t f = 0; f < TF_LEN(families); f++) {
		const struct bl_sum *sum = NULL;

		if (s->surface[0] != '\0' && strcmp(s->surface, families[f]) != 0)
			continue;
		for (size_t i = 0; i < s->n[BL_BY_SURFACE]; i++)
			if (strcmp(s->v[BL_BY_SURFACE][i].group, families[f]) == 0)
				sum = &s->v[BL_BY_SURFACE][i];
		js_w_key(w, families[f]);
		write_counts_object(w, sum);
	}
	/* what came in through neither: deployments */
	for (size_t i = 0; i < s->n[BL_BY_SURFACE]; i++) {
		const struct bl_sum *sum = &s->v[BL_BY_SURFACE][i];

		if (strcmp(sum->group, families[0]) == 0 || strcmp(sum->group, families[1]) == 0)
			continue;
		js_w_key(w, sum->group);
		write_counts_object(w, sum);
	}
	js_w_object_end(w);
}

/* ---- the document ------------------------------------------------------------------------- */

/* Null: no limit. */
static void
write_limit(struct js_w *w, const char *name, uint64_t limit)
{
	if (limit == BL_NO_LIMIT)
		js_w_knull(w, name);
	else
		js_w_ku64(w, name, limit);
}

static void
write_money(struct js_w *w, const char *name, uint64_t nano)
{
	if (nano == BL_NO_LIMIT) {
		js_w_knull(w, name);
		return;
	}
	js_w_key(w, name);
	js_w_nano(w, (int64_t)nano);
}

/* "month", "5h"; of a length that is no whole number of hours its seconds. */
static void
write_window(struct js_w *w, const struct bl_space_state *s)
{
	uint64_t seconds = s->window.length_ms / 1000;
	char text[32];

	if (s->limit == BL_NO_LIMIT) {
		js_w_knull(w, "window");
		return;
	}
	if (seconds % 3600 == 0)
		snprintf(text, sizeof text, "%" PRIu64 "h", seconds / 3600);
	else
		snprintf(text, sizeof text, "%" PRIu64 "s", seconds);
	js_w_kcstr(w, "window", s->window.length_ms == BL_MONTH ? "month" : text);
}

/* Of the plan's token window, with what was topped up. One that starts with its first request resets at no known time. */
static void
write_budget(struct js_w *w, const struct bl_workspace *ws, const struct bl_space_state *s, struct bl_now now)
{
	uint64_t end = s->window.length_ms == BL_MONTH ? bl_month_next(now.wall_ms) : bl_window_end(&s->window, now);
	bool windowed = s->limit != BL_NO_LIMIT;

	js_w_key(w, "budget");
	js_w_object(w);
	js_w_kcstr(w, "plan", ws->row.plan);
	write_window(w, s);
	write_limit(w, "limit", s->limit);
	write_limit(w, "used", windowed ? s->used : BL_NO_LIMIT);
	write_limit(w, "remaining", windowed ? s->limit - s->used : BL_NO_LIMIT);
	if (windowed && end != 0)
		js_w_ku64(w, "resets_at", (end + 999) / 1000);
	else
		js_w_knull(w, "resets_at");
	/* below nothing: what was answered cost more than what was left */
	write_money(w, "balance", !ws->row.balance.is ? BL_NO_LIMIT : ws->row.balance.v > 0 ? (uint64_t)ws->row.balance.v : 0);
	js_w_object_end(w);
}

static void
write_cap(struct js_w *w, const char *name, const struct bl_space_state *s, enum bl_meter_id m)
{
	js_w_key(w, name);
	js_w_object(w);
	if (m == BL_M_BUDGET) {
		write_money(w, "limit", s->cap[m]);
		write_money(w, "used", s->spent[m]);
	} else if (m == BL_M_CAP_AUDIO) {
		if (s->cap[m] == BL_NO_LIMIT)
			js_w_knull(w, "limit");
		else
			write_seconds(w, "limit", s->cap[m]);
		write_seconds(w, "used", s->spent[m]);
	} else {
		write_limit(w, "limit", s->cap[m]);
		js_w_ku64(w, "used", s->spent[m]);
	}
	js_w_object_end(w);
}

static void
write_limits(struct js_w *w, const struct bl_question *q, struct bl_workspace *ws)
{
	struct bl_now now = bl_now();
	struct bl_space_state s = bl_space_state(q->bl, ws, now);

	write_budget(w, ws, &s, now);
	js_w_key(w, "caps");
	js_w_object(w);
	write_cap(w, "tokens", &s, BL_M_CAP_TOKENS);
	write_cap(w, "images", &s, BL_M_CAP_IMAGES);
	write_cap(w, "audio_seconds", &s, BL_M_CAP_AUDIO);
	write_cap(w, "cost", &s, BL_M_BUDGET);
	js_w_object_end(w);
}

int
bl_usage_json(const struct bl_question *q, struct bl_workspace *ws, struct tf_buf *out)
{
	const struct bl_sums *s = &q->sums;
	struct js_w w;

	js_w_init(&w, out);
	js_w_object(&w);
	js_w_kcstr(&w, "object", "usage");
	js_w_kcstr(&w, "workspace", ws->row.name);
	js_w_kcstr(&w, "period", bl_period_name(q->period));
	js_w_kcstr(&w, "surface", s->surface[0] != '\0' ? s->surface : "all");
	js_w_ki64(&w, "start", s->from_ms / 1000);
	js_w_ki64(&w, "end", s->to_ms / 1000);
	js_w_kcstr(&w, "currency", q->bl->conf->common.currency);
	js_w_key(&w, "totals");
	write_counts_object(&w, s->n[BL_BY_TOTAL] > 0 ? &s->v[BL_BY_TOTAL][0] : NULL);
	write_surfaces(&w, q);
	write_list(&w, q, "by_model", BL_BY_MODEL);
	write_list(&w, q, "by_key", BL_BY_KEY);
	write_list(&w, q, "by_day", BL_BY_DAY);
	if (s->more[BL_BY_MODEL] || s->more[BL_BY_KEY] || s->more[BL_BY_DAY])
		js_w_kbool(&w, "truncated", true);
	write_limits(&w, q, ws);
	js_w_object_end(&w);
	return js_w_done(&w);
}

/* ---- the table ---------------------------------------------------------------------------- */

/*
 * A cell of text, quoted. A spreadsheet takes one that begins with = + - @ or a blank of some kinds for a formula:
 * an apostrophe before it makes it text.
 */
static int
csv_text(struct tf_buf *out, const char *text)
{
	int rc = tf_buf_addc(out, '"');

	if (rc == 0 && text != NULL && text[0] != '\0' && strchr("=+-@\t\r\n", text[0]) != NULL)
		rc = tf_buf_addc(out, '\'');
	for (; rc == 0 && text != NULL && *text != '\0'; text++) {
		if (*text == '"')
			rc = tf_buf_addc(out, '"');
		if (rc == 0)
			rc = tf_buf_addc(out, *text);
	}
	if (rc == 0)
		rc = tf_buf_addstr(out, "\",");
	return rc;
}

static int
csv_counts(struct tf_buf *out, const struct bl_sum *s, const char *currency)
{
	const struct bl_tokens *t = &s->tokens;
	const uint64_t counts[] = { s->requests, t->prompt + t->cache_read + t->cache_write, t->cache_read,
		t->completion + t->reasoning, t->reasoning, bl_tokens_sum(t), s->units.images };
	char text[32], row[128];
	struct js_w w;
	int rc = 0;

	for (size_t i = 0; i < TF_LEN(counts) && rc == 0; i++) {
		snprintf(row, sizeof row, "%" PRIu64 ",", counts[i]);
		rc = tf_buf_addstr(out, row);
	}
	if (rc == 0)
		rc = tf_buf_addspan(out, seconds_text(s->units.audio_ms, text));
	snprintf(row, sizeof row, ",%" PRIu64 ",", s->units.characters);
	if (rc == 0)
		rc = tf_buf_addstr(out, row);
	if (rc != 0)
		return rc;
	js_w_init(&w, out);
	js_w_nano_number(&w, (int64_t)(s->cost - s->unbilled));
	snprintf(row, sizeof row, ",%s\r\n", currency);
	rc = js_w_done(&w);
	return rc == 0 ? tf_buf_addstr(out, row) : rc;
}

int
bl_usage_csv(const struct bl_question *q, struct tf_buf *out)
{
	static const char *const names[BL_BY_COUNT] = { [BL_BY_TOTAL] = "total", [BL_BY_SURFACE] = "surface",
		[BL_BY_MODEL] = "model", [BL_BY_KEY] = "key", [BL_BY_DAY] = "day" };
	int rc = tf_buf_addstr(out, "by,group,name,requests,input_tokens,cached_input_tokens,output_tokens,reasoning_tokens,"
	    "total_tokens,images,audio_seconds,characters,cost,currency\r\n");

	for (int by = 0; by < BL_BY_COUNT; by++) {
		for (size_t i = 0; i < q->sums.n[by] && rc == 0; i++) {
			const struct bl_sum *s = &q->sums.v[by][i];
			char room[TF_ID_TEXT + 1];
			const char *name, *text = group_text(q, (enum bl_by)by, s, room, &name);

			rc = tf_buf_addstr(out, names[by]);
			if (rc == 0)
				rc = tf_buf_addc(out, ',');
			if (rc == 0)
				rc = csv_text(out, by == BL_BY_TOTAL ? NULL : text);
			if (rc == 0)
				rc = csv_text(out, name);
			if (rc == 0)
				rc = csv_counts(out, s, q->bl->conf->common.currency);
		}
	}
	return rc;
}

/* ---- the operator ------------------------------------------------------------------------- */

void
bl_usage_row(const struct bl_question *q, const struct bl_sum *s)
{
	struct js_w *w = ctl_row(q->req);
	char room[TF_ID_TEXT + 1];
	const char *name;

	js_w_kcstr(w, "group", group_text(q, q->by, s, room, &name));
	if (q->by == BL_BY_KEY || q->by == BL_BY_WORKSPACE)
		js_w_kcstr(w, "name", name);
	write_counts(w, s);
	js_w_key(w, "unbilled");
	js_w_nano(w, (int64_t)s->unbilled);
	js_w_kcstr(w, "currency", q->bl->conf->common.currency);
	ctl_row_end(q->req);
}
