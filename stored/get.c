/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reads the store: values, responses and their items, the chain that a response continues.
 * Runs on the store's reading thread; a row that was acknowledged is seen.
 */
#include "config.h"

#include <stdio.h>

#include "common/json/json.h"
#include "stored/sqlite.h"

void
st_get_fini(struct st_get *g)
{
	tf_buf_free(&g->names);
	tf_buf_free(&g->bytes);
}

static int
missing(struct st_get *g, struct tf_span name)
{
	snprintf(g->missing, sizeof g->missing, TF_SPAN_FMT, TF_SPAN_ARG(name));
	return TF_E_NOENT;
}

/* Adds one element to the array in g->bytes, within the limit. */
static int
add_item(struct st_get *g, struct tf_span item)
{
	if (g->limit != 0 && g->bytes.n + item.n + 2 > g->limit)
		return TF_E_RANGE;
	if (tf_buf_addc(&g->bytes, g->bytes.n == 0 ? '[' : ',') != 0 || tf_buf_addspan(&g->bytes, item) != 0)
		return TF_E_NOMEM;
	return 0;
}

static int
end_items(struct st_get *g)
{
	if (g->bytes.n == 0 && tf_buf_addc(&g->bytes, '[') != 0)
		return TF_E_NOMEM;
	return tf_buf_addc(&g->bytes, ']');
}

/* ---- responses -------------------------------------------------------------------------------- */

static int
get_response(struct db_lane *lane, struct st_get *g, struct tf_span name)
{
	struct db_q q = db_q(lane, ST_S_RESPONSE_GET);
	int rc;

	db_q_id(&q, &g->workspace);
	db_q_text(&q, name);
	db_q_int(&q, g->now_ms);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? missing(g, name) : rc;
	rc = tf_buf_addspan(&g->bytes, db_q_col_span(&q));
	db_q_end(&q);
	return rc;
}

static int
add_items_of(struct db_lane *lane, struct st_get *g, int64_t response)
{
	struct db_q q = db_q(lane, ST_S_ITEMS_OF);
	int rc;

	db_q_id(&q, &g->workspace);
	db_q_int(&q, response);
	while ((rc = db_q_step(&q)) == 1) {
		rc = add_item(g, db_q_col_span(&q));
		if (rc != 0) {
			db_q_end(&q);
			return rc;
		}
	}
	return rc;
}

/* Its responses from the newest back, as int64 in nums. */
static int
chain_of(struct db_lane *lane, struct st_get *g, struct tf_span name, struct tf_buf *nums)
{
	struct db_q q = db_q(lane, ST_S_CHAIN);
	char previous[ST_NAME_MAX + 1] = "";
	size_t n = 0;
	int rc;

	db_q_id(&q, &g->workspace);
	db_q_text(&q, name);
	db_q_int(&q, g->now_ms);
	db_q_int(&q, ST_CHAIN_MAX);
	while ((rc = db_q_step(&q)) == 1) {
		int64_t num = db_q_col_int(&q);

		db_q_col_text(&q, previous, sizeof previous);
		n++;
		rc = tf_buf_append(nums, &num, sizeof num);
		if (rc != 0) {
			db_q_end(&q);
			return rc;
		}
	}
	if (rc != 0)
		return rc;
	if (n > ST_CHAIN_MAX)
		return TF_E_RANGE;
	if (n == 0)
		return missing(g, name);
	return previous[0] != '\0' ? missing(g, tf_cspan(previous)) : 0;
}

static int
get_chain(struct db_lane *lane, struct st_get *g, struct tf_span name)
{
	struct tf_buf nums = { 0 };
	int64_t num;
	int rc = chain_of(lane, g, name, &nums);

	for (size_t at = nums.n; rc == 0 && at >= sizeof num; at -= sizeof num) {
		memcpy(&num, nums.p + at - sizeof num, sizeof num);
		rc = add_items_of(lane, g, num);
	}
	tf_buf_free(&nums);
	return rc == 0 ? end_items(g) : rc;
}

/* ---- a page of input items --------------------------------------------------------------------- */

static int
number_of(struct db_q *q, int64_t *out)
{
	int rc = db_q_step(q);

	if (rc != 1)
		return rc == 0 ? TF_E_NOENT : rc;
	*out = db_q_col_int(q);
	db_q_end(q);
	return 0;
}

static int
page_start(struct db_lane *lane, struct st_get *g, struct tf_span name, int64_t *response, int64_t *position)
{
	struct db_q q = db_q(lane, ST_S_RESPONSE_NUM);
	int rc;

	db_q_id(&q, &g->workspace);
	db_q_text(&q, name);
	db_q_int(&q, g->now_ms);
	rc = number_of(&q, response);
	if (rc != 0)
		return rc == TF_E_NOENT ? missing(g, name) : rc;
	*position = g->ascending ? -1 : INT64_MAX;
	if (g->after[0] == '\0')
		return 0;
	q = db_q(lane, ST_S_ITEM_POSITION);
	db_q_id(&q, &g->workspace);
	db_q_str(&q, g->after);
	db_q_int(&q, *response);
	rc = number_of(&q, position);
	return rc == TF_E_NOENT ? TF_E_INVAL : rc;
}

/* The list object of the API; has_more is known because one more row is asked for. */
static int
get_page(struct db_lane *lane, struct st_get *g, struct tf_span name)
{
	char first[ST_NAME_MAX + 1] = "", last[ST_NAME_MAX + 1] = "";
	int64_t response = 0, position = 0;
	uint64_t n = 0;
	struct js_w w;
	struct db_q q;
	int rc = page_start(lane, g, name, &response, &position);

	if (rc != 0)
		return rc;
	js_w_init(&w, &g->bytes);
	js_w_object(&w);
	js_w_kcstr(&w, "object", "list");
	js_w_key(&w, "data");
	js_w_array(&w);
	q = db_q(lane, g->ascending ? ST_S_ITEMS_UP : ST_S_ITEMS_DOWN);
	db_q_id(&q, &g->workspace);
	db_q_int(&q, response);
	db_q_int(&q, position);
	db_q_int(&q, (int64_t)g->count + 1);
	while ((rc = db_q_step(&q)) == 1 && n < g->count) {
		db_q_col_text(&q, last, sizeof last);
		if (n++ == 0)
			memcpy(first, last, sizeof first);
		js_w_raw(&w, db_q_col_span(&q));
	}
	if (rc == 1)
		db_q_end(&q);
	js_w_array_end(&w);
	js_w_kcstr(&w, "first_id", n > 0 ? first : NULL);
	js_w_kcstr(&w, "last_id", n > 0 ? last : NULL);
	js_w_kbool(&w, "has_more", rc == 1);
	js_w_object_end(&w);
	return rc < 0 ? rc : js_w_done(&w);
}

/* ---- items by their ids ------------------------------------------------------------------------ */

static int
get_items(struct db_lane *lane, struct st_get *g)
{
	struct wire_rep it = g->name;
	struct tf_span name;
	int rc = 0;

	while (rc == 0 && wire_next(&it, &name)) {
		struct db_q q = db_q(lane, ST_S_ITEM_GET);

		db_q_id(&q, &g->workspace);
		db_q_text(&q, name);
		db_q_int(&q, g->now_ms);
		rc = db_q_step(&q);
		if (rc == 0)
			rc = missing(g, name);
		if (rc != 1)
			break;
		rc = add_item(g, db_q_col_span(&q));
		db_q_end(&q);
	}
	return rc == 0 ? end_items(g) : rc;
}

/* ---- everything else -------------------------------------------------------------------------- */

/* Its bytes are appended. */
static int
get_object(struct db_lane *lane, struct st_get *g, struct tf_span name, struct tf_buf *out)
{
	struct db_q q = db_q(lane, g->anywhere ? ST_S_OBJECT_NAMED : ST_S_OBJECT_GET);
	char file[TF_ID_TEXT + 1];
	uint64_t left;
	int rc;

	if (g->anywhere)
		db_q_null(&q);
	else
		db_q_id(&q, &g->workspace);
	db_q_int(&q, g->kind);
	db_q_text(&q, name);
	db_q_int(&q, g->now_ms);
	rc = db_q_step(&q);
	if (rc != 1)
		return rc == 0 ? missing(g, name) : rc;
	db_q_col_text(&q, g->type, sizeof g->type);
	g->total = (uint64_t)db_q_col_int(&q);
	db_q_col_text(&q, file, sizeof file);
	left = g->offset < g->total ? g->total - g->offset : 0;
	if (g->limit != 0 && left > g->limit)
		left = g->limit;
	if (file[0] != '\0')
		rc = st_file_read(g->dir, file, g->offset, left, out);
	else
		rc = tf_buf_append(out, left > 0 ? db_q_col_span(&q).p + g->offset : "", left);
	db_q_end(&q);
	return rc;
}

/* Each is JSON text; the first ones count most. */
static int
get_list(struct db_lane *lane, struct st_get *g)
{
	uint64_t limit = g->limit;
	struct wire_rep it = g->name;
	struct tf_buf one = { 0 };
	struct tf_span name;
	int rc = 0;

	g->offset = 0;
	while (rc == 0 && wire_next(&it, &name)) {
		tf_buf_reset(&one);
		g->limit = 0;
		rc = get_object(lane, g, name, &one);
		g->limit = limit;
		if (rc == 0)
			rc = add_item(g, tf_buf_span(&one));
		if (rc == TF_E_NOENT || rc == TF_E_RANGE)
			rc = 0;
	}
	tf_buf_free(&one);
	if (rc != 0 || g->bytes.n > 0)
		return rc == 0 ? end_items(g) : rc;
	return TF_E_NOENT;
}

static int
get(struct db_lane *lane, struct st_get *g)
{
	struct wire_rep it = g->name;
	struct tf_span name;
	int rc;

	if (!wire_next(&it, &name))
		return missing(g, (struct tf_span){ 0 });
	if (g->kind == WIRE_KIND_ITEM)
		rc = get_items(lane, g);
	else if (g->kind == WIRE_KIND_REASONING && g->view == WIRE_VIEW_LIST)
		rc = get_list(lane, g);
	else if (g->kind != WIRE_KIND_RESPONSE)
		return get_object(lane, g, name, &g->bytes);
	else if (g->view == WIRE_VIEW_CHAIN)
		rc = get_chain(lane, g, name);
	else if (g->view == WIRE_VIEW_INPUT)
		rc = get_page(lane, g, name);
	else
		rc = get_response(lane, g, name);
	g->total = g->bytes.n;
	return rc;
}

int
st_op_get(struct db_lane *lane, struct st_get *g)
{
	int rc;

	st_files_read(false);
	rc = get(lane, g);
	st_files_read(true);
	return rc;
}

int
st_op_totals(struct db_lane *lane, struct st_totals *t)
{
	struct db_q q = db_q(lane, ST_S_TOTALS);
	int rc = db_q_step(&q);

	if (rc != 1)
		return rc < 0 ? rc : TF_E_IO;
	t->responses = (uint64_t)db_q_col_int(&q);
	t->values = (uint64_t)db_q_col_int(&q);
	t->bytes = (uint64_t)db_q_col_int(&q);
	t->spaces = (uint64_t)db_q_col_int(&q);
	db_q_end(&q);
	return 0;
}
