/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue in the shape of the Anthropic API: newest first, in pages. Members of the product's
 * own follow those that the vendor's SDKs know. Called by gw_models.c for requests of that family.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_op.h"

#define GW_PAGE 20
#define GW_PAGE_MAX 1000

static void
gw_supported(struct js_w *w, const char *name, bool yes)
{
	js_w_key(w, name);
	js_w_object(w);
	js_w_kbool(w, "supported", yes);
	js_w_object_end(w);
}

static void
gw_anthropic_write(struct js_w *w, const struct gw_req *req, const struct conf_model *m)
{
	time_t t = (time_t)m->created;
	char created[32] = "";
	struct tm tm;

	if (gmtime_r(&t, &tm) != NULL)
		(void)strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
	js_w_object(w);
	js_w_kcstr(w, "type", "model");
	js_w_kcstr(w, "id", m->name);
	js_w_kcstr(w, "display_name", m->display_name ? m->display_name : m->name);
	js_w_kcstr(w, "created_at", created);
	if (m->context > 0)
		js_w_ki64(w, "max_input_tokens", m->context);
	else
		js_w_knull(w, "max_input_tokens");
	if (m->max_output > 0 || m->context > 0)
		js_w_ki64(w, "max_tokens", m->max_output ? m->max_output : m->context);
	else
		js_w_knull(w, "max_tokens");
	js_w_kcstr(w, "lifecycle", strcmp(m->status, "deprecated") == 0 ? "deprecated" : "active");
	js_w_knull(w, "line");
	js_w_knull(w, "deprecated_at");
	js_w_knull(w, "retires_at");
	js_w_key(w, "capabilities");
	js_w_object(w);
	gw_supported(w, "batch", false);
	gw_supported(w, "citations", false);
	gw_supported(w, "code_execution", false);
	gw_supported(w, "context_management", false);
	gw_supported(w, "effort", gw_model_has(m, "thinking"));
	gw_supported(w, "image_input", gw_model_has(m, "vision"));
	gw_supported(w, "pdf_input", gw_model_has(m, "files"));
	gw_supported(w, "server_tools", false);
	gw_supported(w, "structured_outputs", gw_model_has(m, "json"));
	gw_model_capabilities(w, m, gw_supported); /* thinking is among them */
	js_w_object_end(w);
	gw_model_extras(w, req, m);
	js_w_object_end(w);
}

int
gw_model_anthropic(struct gw_req *req, const struct conf_model *m)
{
	struct tf_buf out = { 0 };
	struct js_w w;

	js_w_init(&w, &out);
	gw_anthropic_write(&w, req, m);
	gw_models_reply(req, &w, &out);
	return 0;
}

/* ---- pages --------------------------------------------------------------------------------- */

struct gw_page {
	uint64_t limit;
	char after[DL_MODEL_MAX + 1], before[DL_MODEL_MAX + 1]; /* "": none */
	const char *bad; /* parameter that is wrong */
};

static void
gw_page_read(struct gw_req *req, struct gw_page *p)
{
	struct tf_span query = http_req_query(req->http), name, value;
	char text[DL_MODEL_MAX + 1];
	size_t pos = 0;
	ssize_t n;

	memset(p, 0, sizeof *p);
	p->limit = GW_PAGE;
	while (p->bad == NULL && http_query_next(query, &pos, &name, &value)) {
		bool limit = tf_span_is(name, "limit"), after = tf_span_is(name, "after_id");

		if (!limit && !after && !tf_span_is(name, "before_id"))
			continue; /* clients add others: lifecycle, beta */
		n = value.p != NULL ? http_query_decode(value, text, sizeof text - 1) : 0;
		if (n <= 0) {
			p->bad = limit ? "limit" : after ? "after_id" : "before_id";
			break;
		}
		text[n] = '\0';
		if (limit && (tf_span_u64(tf_span(text, (size_t)n), GW_PAGE_MAX, &p->limit) != 0 || p->limit == 0))
			p->bad = "limit";
		else if (!limit)
			memcpy(after ? p->after : p->before, text, (size_t)n + 1);
	}
}

static int
gw_newer(const void *a, const void *b)
{
	const struct conf_model *x = *(const struct conf_model *const *)a, *y = *(const struct conf_model *const *)b;

	if (x->created != y->created)
		return x->created > y->created ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* The models this key may use, newest first; n of them. NULL without memory. */
static const struct conf_model **
gw_catalogue(struct gw_req *req, size_t *n)
{
	const struct conf *c = req->conf->c;
	const struct conf_model **v = calloc(c->model_n + 1, sizeof(*v));

	*n = 0;
	for (size_t i = 0; v != NULL && i < c->model_n; i++)
		if (gw_may_model(req, c->model[i].name) == GW_ALLOWED)
			v[(*n)++] = &c->model[i];
	if (v != NULL)
		qsort(v, *n, sizeof(*v), gw_newer);
	return v;
}

/* Place of a model in the list; n when it is not there. */
static size_t
gw_place(const struct conf_model **v, size_t n, const char *name)
{
	size_t i = 0;

	while (i < n && strcmp(v[i]->name, name) != 0)
		i++;
	return i;
}

/* [*from, *to) of the list; false when an id names nothing in it. */
static bool
gw_page_cut(const struct gw_page *p, const struct conf_model **v, size_t n, size_t *from, size_t *to)
{
	size_t after = p->after[0] ? gw_place(v, n, p->after) : 0;
	size_t before = p->before[0] ? gw_place(v, n, p->before) : n;

	if ((p->after[0] && after == n) || (p->before[0] && before == n))
		return false;
	*from = p->after[0] ? after + 1 : 0;
	*to = before > *from ? before : *from;
	/* backwards the page ends where it was asked for, else it begins there */
	if (*to - *from > p->limit) {
		if (p->before[0] && !p->after[0])
			*from = *to - p->limit;
		else
			*to = *from + p->limit;
	}
	return true;
}

int
gw_models_anthropic(struct gw_req *req)
{
	const struct conf_model **v;
	size_t n, from = 0, to = 0;
	struct tf_buf out = { 0 };
	struct gw_page page;
	struct js_w w;

	gw_page_read(req, &page);
	v = gw_catalogue(req, &n);
	if (v == NULL)
		return TF_E_SERVER_ERROR;
	if (page.bad == NULL && !gw_page_cut(&page, v, n, &from, &to))
		page.bad = page.after[0] ? "after_id" : "before_id";
	if (page.bad != NULL) {
		free(v);
		gw_req_fail(req, TF_E_BAD_REQUEST, page.bad,
		    strcmp(page.bad, "limit") == 0 ? "limit must be a number from 1 to 1000." :
						     "This id names no model of the list.", 0);
		return 0;
	}
	js_w_init(&w, &out);
	js_w_object(&w);
	js_w_key(&w, "data");
	js_w_array(&w);
	for (size_t i = from; i < to; i++)
		gw_anthropic_write(&w, req, v[i]);
	js_w_array_end(&w);
	js_w_kbool(&w, "has_more", page.before[0] && !page.after[0] ? from > 0 : to < n);
	js_w_kcstr(&w, "first_id", from < to ? v[from]->name : NULL);
	js_w_kcstr(&w, "last_id", from < to ? v[to - 1]->name : NULL);
	js_w_object_end(&w);
	free(v);
	gw_models_reply(req, &w, &out);
	return 0;
}
