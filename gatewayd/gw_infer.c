/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An inference call up to its first attempt: the body is scanned as it arrives, then the model is
 * looked up and the request held against what it can, then it is admitted. Whatever is wrong is
 * said here, before anything is charged or queued.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_models.h"
#include "gatewayd/gw_op.h"
#include "gatewayd/gw_stored.h"

static void
gw_infer_refuse(struct gw_req *req, const struct dl_fault *f)
{
	gw_req_fail(req, f->err > 0 ? f->err : TF_E_BAD_REQUEST, f->param[0] ? f->param : NULL,
	    f->message[0] ? f->message : NULL, f->retry_after_s);
}

/* What kind of body it is, and whether the surface takes that kind. */
static int
gw_infer_media_type(const struct gw_req *req, enum dl_dialect surface, bool *form)
{
	struct tf_span type = http_req_get(req->http, HTTP_H_CONTENT_TYPE);

	/* curl -d says x-www-form-urlencoded of whatever it sends: only what cannot be JSON is refused */
	*form = type.p != NULL && type.n >= 10 && tf_span_caseeq((struct tf_span){ type.p, 10 }, "multipart/");
	return (*form ? dl_dialect_form(surface) : dl_dialect_json(surface)) ? 0 : TF_E_UNSUPPORTED_MEDIA_TYPE;
}

static size_t
gw_infer_body_max(const struct conf_gatewayd *c, enum dl_dialect surface)
{
	if (surface != DL_OPENAI_TRANSCRIPTIONS && surface != DL_OPENAI_TRANSLATIONS)
		return c->body_max;
	return c->audio_body_max < c->body_memory ? c->audio_body_max : c->body_memory;
}

/* 0: the scan can begin; else the request was answered. */
static int
gw_infer_scan_form(struct gw_req *req)
{
	struct tf_span type = http_req_get(req->http, HTTP_H_CONTENT_TYPE);

	if (dl_scan_form(req->scan, type) < 0) {
		gw_infer_refuse(req, &req->scan->fault);
		return TF_E_INVAL;
	}
	req->content_type = tf_span_dup(type);
	if (req->content_type == NULL) {
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
		return TF_E_NOMEM;
	}
	return 0;
}

int
gw_op_inference(struct gw_req *req)
{
	const struct conf_gatewayd *c = &req->conf->c->gatewayd;
	enum dl_dialect surface = dl_dialect_by_name(tf_cspan(req->route->surface));
	bool form;
	int err = gw_infer_media_type(req, surface, &form);

	if (err != 0 && !form && !dl_dialect_json(surface)) {
		gw_req_fail(req, err, NULL, "This call takes multipart/form-data.", 0);
		return 0;
	}
	if (err != 0)
		return err;
	if (req->t->draining)
		return TF_E_OVERLOADED;
	req->scan = malloc(sizeof *req->scan);
	if (req->scan == NULL)
		return TF_E_SERVER_ERROR;
	dl_scan_init(req->scan, surface, (unsigned)c->json_depth, (uint32_t)c->json_nodes);
	if (form && gw_infer_scan_form(req) != 0)
		return 0;
	req->scan->count = req->route->op == gw_op_count_tokens;
	if (gw_idem_begin(req) != 0)
		return 0;
	gw_req_to(req, GW_S_BODY);
	http_req_read_body(req->http, gw_infer_body_max(c, surface));
	return 0;
}

/* Nothing is generated: neither limits nor money are touched. */
int
gw_op_count_tokens(struct gw_req *req)
{
	return gw_op_inference(req);
}

static uint32_t
gw_infer_can(const struct conf_model *m)
{
	uint32_t can = dl_need_always();

	for (size_t i = 0; i < m->capabilities.n; i++)
		can |= dl_need_by_capability(tf_cspan(m->capabilities.v[i]));
	return can;
}

/* Does the model speak with that voice, as far as the catalogue knows its voices? */
static int
gw_infer_voice(const struct gw_req *req, struct dl_fault *f)
{
	const struct conf_list *voices = &req->model->voices;
	struct dl_range at = req->scan != NULL ? req->scan->audio.voice : (struct dl_range){ 0, 0 };
	struct tf_span voice;
	char list[256] = "";
	size_t n = 0;

	if (at.end == 0 || at.end > req->body_len || voices->n == 0)
		return 0;
	voice = tf_span(req->body + at.start, at.end - at.start);
	for (size_t i = 0; i < voices->n; i++) {
		if (js_str_eq(voice, voices->v[i]))
			return 0;
		if (n < sizeof list)
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? ", " : "", voices->v[i]);
	}
	dl_fault_set(f, TF_E_BAD_REQUEST, "voice", "This model has no such voice. Its voices are: %s%s.", list,
	    n < sizeof list ? "" : " ...");
	return TF_E_INVAL;
}

/* The model, and whether this key may have it; NULL: f says why not. */
static const struct conf_model *
gw_infer_find(const struct gw_req *req, struct dl_fault *f)
{
	struct tf_span asked = tf_span(req->head->model, req->head->model_len);
	const struct conf_model *m = conf_find_model(req->conf->c, gw_side(req), asked);
	enum gw_denied denied;

	if (m == NULL) {
		gw_model_unknown(f, asked);
		return NULL;
	}
	denied = gw_may_model(req, m->name);
	if (denied == GW_ALLOWED)
		return m;
	dl_fault_set(f, TF_E_FORBIDDEN, "model", "%s the model %s. GET /v1/models lists those that this key may use.",
	    denied == GW_DENIED_KEY ? "This key may not use" : "The workspace's plan does not include", m->name);
	return NULL;
}

/* The same, and whether this request may have it. */
static int
gw_infer_model(struct gw_req *req, struct dl_fault *f)
{
	struct tf_span asked = tf_span(req->head->model, req->head->model_len);
	const struct conf_model *m = gw_infer_find(req, f);
	uint32_t can;
	int rc;

	if (m == NULL)
		return TF_E_NOENT;
	if (strcmp(m->status, "unavailable") == 0 || strcmp(m->status, "coming_soon") == 0) {
		dl_fault_set(f, TF_E_MODEL_UNAVAILABLE, "model", NULL);
		return TF_E_NOENT;
	}
	req->model = m;
	can = gw_infer_can(m);
	if (!(can & DL_NEED_VISION))
		req->head->flags |= DL_HEAD_BLIND;
	rc = dl_need_check(req->head->surface, req->head->needs, can, asked, f);
	return rc == 0 ? gw_infer_voice(req, f) : rc;
}

/* What a template adds for a message and a tool, and an image takes, on the average. */
#define GW_COUNT_MESSAGE 5
#define GW_COUNT_TOOL 8
#define GW_COUNT_MEDIA 1500

void
gw_infer_estimate(struct gw_req *req)
{
	const struct dl_head *h = req->head;
	struct tf_buf out = { 0 };
	struct js_w w;

	js_w_init(&w, &out);
	js_w_object(&w);
	if (h->surface == DL_OPENAI_RESPONSES)
		js_w_kcstr(&w, "object", "response.input_tokens");
	js_w_ku64(&w, "input_tokens",
	    dl_prompt_estimate(h) + GW_COUNT_MESSAGE * (uint64_t)h->messages + GW_COUNT_TOOL * (uint64_t)h->tools +
		GW_COUNT_MEDIA * ((uint64_t)h->images + h->files));
	js_w_object_end(&w);
	if (js_w_done(&w) != 0)
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
	else
		gw_req_json(req, 200, &out);
	tf_buf_free(&out);
}

/* The runtime counts best; it is asked for a moment, when one is there. Nothing is generated: no limits, no money. */
static void
gw_infer_count(struct gw_req *req)
{
	if (!gw_models_is_live(req->t, req->model->name)) {
		gw_infer_estimate(req);
		return;
	}
	req->counting = true;
	req->head->flags |= DL_HEAD_COUNT;
	req->head->stream = false;
	gw_attempt_start(req);
}

void
gw_infer_recalled(struct gw_req *req)
{
	int rc;

	gw_price_take(req);
	gw_need(req);
	rc = gw_admit(req);
	if (rc == TF_E_AGAIN)
		return;
	if (rc == TF_E_BAD_REQUEST)
		gw_infer_admitted(req, rc, "The request is larger than the plan's tokens per minute allow.", 0);
	else
		gw_infer_admitted(req, rc, NULL, 0);
}

static void
gw_infer_go(struct gw_req *req)
{
	struct dl_fault f = { 0 };

	if (gw_infer_model(req, &f) != 0) {
		gw_infer_refuse(req, &f);
		return;
	}
	if (req->route->op == gw_op_count_tokens)
		gw_infer_count(req);
	else if (!gw_recall(req))
		gw_infer_recalled(req);
}

void
gw_infer_resolved(struct gw_req *req, struct tf_buf *own)
{
	int err = gw_keep_begin(req, own);

	if (err != 0)
		gw_req_fail(req, err, err == TF_E_STORE_UNAVAILABLE ? "store" : NULL, NULL, 0);
	else
		gw_infer_go(req);
}

void
gw_infer_body(struct gw_req *req, bool whole)
{
	struct tf_span body = http_req_body(req->http);
	struct dl_fault f = { 0 };
	int rc = whole ? dl_scan_end(req->scan, body.p, body.n) : dl_scan_feed(req->scan, body.p, body.n);

	if (rc != 0) {
		gw_infer_refuse(req, &req->scan->fault);
		return;
	}
	gw_idem_body(req, body, whole);
	if (!whole) {
		if (!gw_body_may_read(req))
			http_req_pause(req->http); /* the tick lets it go on */
		return;
	}
	req->head = malloc(sizeof *req->head);
	if (req->head == NULL) {
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
		return;
	}
	*req->head = req->scan->head;
	gw_req_body_take(req);
	if (req->idem == NULL)
		gw_infer_claimed(req);
	else if (gw_infer_find(req, &f) == NULL)
		gw_infer_refuse(req, &f); /* nor may it have what another key of the workspace was answered */
	else
		gw_idem_claim(req);
}

void
gw_infer_claimed(struct gw_req *req)
{
	if (gw_resolve_needed(req))
		gw_resolve(req);
	else
		gw_infer_resolved(req, NULL);
}

void
gw_infer_admitted(struct gw_req *req, int err, const char *message, uint64_t retry_after_s)
{
	if (req->light)
		gw_weighed(req, err, message, retry_after_s);
	else if (err != 0)
		gw_req_fail(req, err, NULL, message, retry_after_s);
	else
		gw_attempt_start(req);
}
