/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the ledger for the operator, a page at a time: who asks for more gives the cursor of the last row. So
 * neither this daemon nor its socket ever holds more than a page, however slow the reader is.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "billingd/control.h"

#define LATE_MS 2500 /* longest wait for records that cannot be stored */

struct export {
	struct bl *bl;
	struct ctl_req *req;
	struct bl_after after;
	struct bl_page page;
};

static void
export_free(struct export *x)
{
	bl_page_fini(&x->page);
	x->bl->changes--;
	bl_check_drained(x->bl);
	free(x);
}

/* ---- a row -------------------------------------------------------------------------------- */

static void
write_text(struct js_w *w, const char *name, struct tf_span text)
{
	if (text.n > 0)
		js_w_kstr(w, name, text);
	else
		js_w_knull(w, name);
}

static void
write_nano(struct js_w *w, const char *name, int64_t v)
{
	if (v == TF_NO_PRICE) {
		js_w_knull(w, name);
		return;
	}
	js_w_key(w, name);
	js_w_nano(w, v);
}

static void
write_names(struct js_w *w, const struct bl *bl, const struct bl_usage *u)
{
	const struct bl_workspace *ws = bl_index_workspace(&bl->index, tf_id_span(&u->workspace));
	const struct bl_key *k = bl_index_key(&bl->index, tf_id_span(&u->key));

	bl_write_id(w, "workspace_id", &u->workspace);
	js_w_kcstr(w, "workspace", ws != NULL ? ws->row.name : NULL);
	bl_write_id(w, "key_id", &u->key);
	js_w_kcstr(w, "key", k != NULL ? k->row.name : NULL);
	write_text(w, "model", u->text[BL_T_MODEL]);
	write_text(w, "surface", u->text[BL_T_SURFACE]);
}

static void
write_units(struct js_w *w, const struct bl_ledger_row *r)
{
	const struct bl_usage *u = r->u;
	char name[40];

	/* the kinds of tokens are disjoint, as their prices are */
	js_w_ku64(w, "prompt_tokens", u->tokens.prompt);
	js_w_ku64(w, "cache_read_tokens", u->tokens.cache_read);
	js_w_ku64(w, "cache_write_tokens", u->tokens.cache_write);
	js_w_ku64(w, "completion_tokens", u->tokens.completion);
	js_w_ku64(w, "reasoning_tokens", u->tokens.reasoning);
	js_w_ku64(w, "images", u->units.images);
	js_w_ku64(w, "audio_ms", u->units.audio_ms);
	js_w_ku64(w, "characters", u->units.characters);
	for (int p = 0; p < TF_P_COUNT; p++) {
		snprintf(name, sizeof name, "price_%s", tf_price_name((enum tf_priced)p));
		write_nano(w, name, u->price.v[p]);
	}
	js_w_ki64(w, "gpu_ms", r->gpu_ms);
	write_nano(w, "price_gpu_hour", r->price_gpu_hour);
	write_nano(w, "cost", (int64_t)u->cost);
	write_nano(w, "unbilled", (int64_t)u->unbilled);
}

static void
write_row(struct export *x, const struct bl_ledger_row *r)
{
	const struct bl_usage *u = r->u;
	struct js_w *w = ctl_row(x->req);
	char id[TF_ID_TEXT + 1], cursor[TF_ID_TEXT + 48];

	tf_id_text(u->workspace, id);
	snprintf(cursor, sizeof cursor, "%s:%" PRId64 ":%" PRId64, id, u->began_ms, r->id);
	bl_write_id(w, "request_id", &u->request);
	js_w_ku64(w, "attempt", u->attempt);
	js_w_ki64(w, "began_ms", u->began_ms);
	js_w_ki64(w, "ended_ms", u->ended_ms);
	write_names(w, x->bl, u);
	js_w_kcstr(w, "outcome", wire_outcome_text(u->outcome));
	js_w_kbool(w, "charged", r->charged);
	write_units(w, r);
	js_w_kcstr(w, "currency", x->bl->conf->common.currency);
	js_w_kbool(w, "stream", u->stream);
	js_w_kbool(w, "delivered", u->delivered);
	js_w_kbool(w, "estimated", u->estimated);
	js_w_kbool(w, "provisional", u->provisional);
	js_w_ku64(w, "status", u->status);
	write_text(w, "finish", u->text[BL_T_FINISH]);
	write_text(w, "code", u->text[BL_T_CODE]);
	if (u->first_us >= 0)
		js_w_ki64(w, "first_us", u->first_us);
	else
		js_w_knull(w, "first_us");
	write_text(w, "worker", u->text[BL_T_WORKER]);
	js_w_kcstr(w, "cursor", cursor);
	ctl_row_end(x->req);
}

/* ---- a page ------------------------------------------------------------------------------- */

static void
on_page(struct db_batch *b, void *arg)
{
	struct export *x = arg;
	int rc = b->rc;

	db_batch_free(&b);
	for (size_t i = 0; rc == 0 && i < x->page.n; i++)
		write_row(x, &x->page.v[i]);
	if (rc != 0)
		ctl_fail(x->req, CTL_FAILED, "the database does not answer: %s", tf_err_text(rc));
	else
		ctl_end(x->req);
	export_free(x);
}

static void
on_ready(struct bl_after *a, bool late)
{
	struct export *x = TF_CONTAINER(a, struct export, after);
	struct db_batch *b = late ? NULL : db_batch_new(on_page, x);

	if (b != NULL && db_batch_add(b, BL_OP_PAGE, &x->page) == 0) {
		b->read = true;
		db_store_submit(x->bl->store, b);
		return;
	}
	db_batch_free(&b);
	ctl_fail(x->req, CTL_FAILED, late ? "usage cannot be stored at the moment; see the log" : "out of memory");
	export_free(x);
}

/* "WORKSPACE:BEGAN:ID", as we wrote it. */
static int
read_cursor(struct tf_span s, struct bl_page *p)
{
	const char *first = memchr(s.p, ':', s.n), *second;
	struct tf_id workspace;
	uint64_t began, id;

	if (first == NULL || tf_id_parse(tf_span(s.p, (size_t)(first - s.p)), &workspace) != 0)
		return TF_E_INVAL;
	s = tf_span(first + 1, s.n - (size_t)(first + 1 - s.p));
	second = s.n > 0 ? memchr(s.p, ':', s.n) : NULL;
	if (second == NULL || tf_span_u64(tf_span(s.p, (size_t)(second - s.p)), INT64_MAX, &began) != 0)
		return TF_E_INVAL;
	s = tf_span(second + 1, s.n - (size_t)(second + 1 - s.p));
	if (tf_span_u64(s, INT64_MAX, &id) != 0 || id == 0)
		return TF_E_INVAL;
	if (!p->all && !tf_id_eq(workspace, p->workspace))
		return TF_E_INVAL;
	p->workspace = workspace;
	p->after_ms = (int64_t)began;
	p->after_id = (int64_t)id;
	return 0;
}

void
bl_cmd_usage_export(void *arg, struct ctl_req *req)
{
	struct bl *bl = bl_of_command(arg);
	struct bl_workspace *ws = NULL;
	int64_t start = ctl_int(req, "start", 0), end = ctl_int(req, "end", bl_wall_ms() / 1000 + 1);
	int64_t most = ctl_int(req, "limit", BL_PAGE_MAX);
	struct export *x;

	if (start < 0 || end < start || end > INT64_MAX / 1000 || most < 1 || most > BL_PAGE_MAX) {
		ctl_fail(req, CTL_USAGE, "start and end are seconds since 1970, in order; limit is 1 to %d", BL_PAGE_MAX);
		return;
	}
	if (ctl_has(req, "workspace") && (ws = bl_take_workspace(bl, req)) == NULL)
		return;
	x = calloc(1, sizeof *x);
	if (x == NULL) {
		ctl_fail(req, CTL_FAILED, "out of memory");
		return;
	}
	x->bl = bl;
	x->req = req;
	bl->changes++;
	x->page = (struct bl_page){ .all = ws == NULL, .from_ms = start * 1000, .to_ms = end * 1000, .most = (size_t)most };
	if (ws != NULL)
		x->page.workspace = ws->row.id;
	if (ctl_has(req, "after") && read_cursor(ctl_str(req, "after"), &x->page) != 0) {
		ctl_fail(req, CTL_USAGE, "after is the cursor of a row");
		export_free(x);
		return;
	}
	bl_ledger_after(bl, &x->after, LATE_MS, on_ready);
}
