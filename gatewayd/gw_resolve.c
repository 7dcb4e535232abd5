/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call of the Responses API that refers to what is kept: previous_response_id and item_reference. Before
 * anything is charged, stored is asked for the items; they are spliced in front of input and in the
 * places of the references, and the longer body is scanned again, so that needs, caps and the
 * prompt's size are those of what the model gets to see. previous_response_id itself stays: the answer echoes it.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_stored.h"

#define GW_NAME_MAX 256 /* longest id that stored knows */

static struct tf_span
gw_range(const struct gw_req *req, struct dl_range at)
{
	return tf_span(req->body + at.start, at.end - at.start);
}

static void
gw_too_large(struct gw_req *req, const char *param)
{
	gw_req_fail(req, TF_E_REQUEST_TOO_LARGE, param, "The request together with the conversation that it continues is"
	    " larger than a request may be.", 0);
}

/* ---- the longer body --------------------------------------------------------------------------- */

/* What stands between the brackets of an array, without white space at its ends. */
static struct tf_span
gw_inner(struct tf_span array)
{
	const char *from = array.p + 1, *to = array.p + array.n - 1;

	while (from < to && (*from == ' ' || *from == '\t' || *from == '\n' || *from == '\r'))
		from++;
	return from < to ? tf_span(from, (size_t)(to - from)) : (struct tf_span){ 0 };
}

/* The call's own items: its input with every reference replaced by what it stands for. */
static int
gw_own_items(const struct gw_req *req, struct tf_span items, struct tf_buf *out)
{
	const struct dl_scan_responses *r = &req->scan->responses;
	struct tf_span input = gw_range(req, r->input), item;
	size_t at = r->input.start;
	struct js_iter it;
	int rc = 0;

	if (r->input.end == 0)
		return tf_buf_addstr(out, "[]");
	if (js_type(input) == JS_STRING) {
		rc = tf_buf_addstr(out, "[{\"type\":\"message\",\"role\":\"user\",\"content\":");
		if (rc == 0)
			rc = tf_buf_addspan(out, input);
		return rc == 0 ? tf_buf_addstr(out, "}]") : rc;
	}
	js_iter_init(&it, items);
	for (uint32_t i = 0; i < r->nref && rc == 0; i++) {
		if (!js_iter_next(&it, NULL, &item))
			return TF_E_PROTO;
		rc = tf_buf_append(out, req->body + at, r->ref[i].start - at);
		if (rc == 0)
			rc = tf_buf_addspan(out, item);
		at = r->ref[i].end;
	}
	return rc == 0 ? tf_buf_append(out, req->body + at, r->input.end - at) : rc;
}

/* [history, own] */
static int
gw_all_items(struct tf_span history, struct tf_span own, struct tf_buf *out)
{
	struct tf_span a = gw_inner(history), b = gw_inner(own);

	if (tf_buf_addc(out, '[') != 0 || tf_buf_addspan(out, a) != 0 ||
	    (a.n > 0 && b.n > 0 && tf_buf_addc(out, ',') != 0) || tf_buf_addspan(out, b) != 0)
		return TF_E_NOMEM;
	return tf_buf_addc(out, ']');
}

static int
gw_longer_body(struct gw_req *req, struct tf_span all, struct tf_buf *out)
{
	const struct dl_scan_responses *r = &req->scan->responses;
	struct tf_buf member = { 0 };
	struct js_edit v[1];
	struct js_edits e;
	int rc = 0;

	js_edits_init(&e, v, TF_LEN(v));
	if (r->input.end > 0) {
		js_edit_replace(&e, r->input.start, r->input.end, all);
	} else {
		rc = tf_buf_addstr(&member, "\"input\":");
		if (rc == 0)
			rc = tf_buf_addspan(&member, all);
		js_edit_insert_last(&e, req->scan->head.root.end, tf_buf_span(&member));
	}
	if (rc == 0)
		rc = js_splice(tf_span(req->body, req->body_len), &e, out);
	tf_buf_free(&member);
	return rc;
}

/* The request becomes one with this body. TF_E_INVAL: refused, req->scan->fault says why. */
static int
gw_rescan(struct gw_req *req, struct tf_buf *body)
{
	const struct conf_gatewayd *c = &req->conf->c->gatewayd;
	bool count = req->scan->count;

	gw_req_body_drop(req);
	req->body = body->p;
	req->body_len = body->n;
	req->t->body_held += body->n;
	*body = (struct tf_buf){ 0 };
	dl_scan_init(req->scan, req->head->surface, (unsigned)c->json_depth, (uint32_t)c->json_nodes);
	req->scan->count = count;
	if (dl_scan_end(req->scan, req->body, req->body_len) != 0)
		return TF_E_INVAL;
	*req->head = req->scan->head;
	return 0;
}

static void
gw_expand(struct gw_req *req, struct tf_span items)
{
	struct gw_resolve *r = req->resolve;
	struct tf_buf own = { 0 }, all = { 0 }, body = { 0 };
	struct tf_span history = r->history.n > 0 ? tf_buf_span(&r->history) : TF_SPAN("[]");
	const struct dl_fault *f = &req->scan->fault;
	int rc;

	rc = gw_own_items(req, items, &own);
	if (rc == 0)
		rc = gw_all_items(history, tf_buf_span(&own), &all);
	if (rc == 0)
		rc = gw_longer_body(req, tf_buf_span(&all), &body);
	tf_buf_free(&all);
	if (rc == 0 && body.n > req->conf->c->gatewayd.body_max) {
		gw_too_large(req, req->scan->responses.previous.end > 0 ? "previous_response_id" : "input");
	} else if (rc == 0 && gw_rescan(req, &body) != 0) {
		gw_req_fail(req, f->err > 0 ? f->err : TF_E_BAD_REQUEST, f->param[0] ? f->param : NULL,
		    f->message[0] ? f->message : NULL, 0);
	} else if (rc != 0) {
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
	} else {
		gw_resolve_free(req);
		gw_infer_resolved(req, &own);
	}
	tf_buf_free(&own);
	tf_buf_free(&body);
}

/* ---- what stored says -------------------------------------------------------------------------- */

static void
gw_items_got(struct gw_req *req, struct gw_stored *got)
{
	char message[128 + GW_NAME_MAX];

	if (got->err == TF_E_NOT_FOUND) {
		snprintf(message, sizeof message, "Item with id %s not found. Items of answers that were not stored are to be sent"
		    " in full.", tf_log_q(got->param));
		gw_req_fail(req, TF_E_BAD_REQUEST, "input", message, 0);
	} else if (got->err == TF_E_REQUEST_TOO_LARGE) {
		gw_too_large(req, "input");
	} else if (got->err != 0) {
		gw_req_fail(req, got->err, NULL, NULL, 0);
	} else {
		gw_expand(req, tf_buf_span(&got->bytes));
	}
}

/* The names of the items that input refers to. TF_E_BAD_REQUEST; TF_E_SERVER_ERROR. */
static int
gw_ref_names(const struct gw_req *req, struct tf_buf *names)
{
	const struct dl_scan_responses *r = &req->scan->responses;
	struct tf_buf scratch = { 0 };
	struct tf_span id, name;
	int err = 0;

	for (uint32_t i = 0; i < r->nref && err == 0; i++) {
		tf_buf_reset(&scratch);
		if (!js_member(gw_range(req, r->ref[i]), "id", &id) || js_str(id, &scratch, &name) != 0 || name.n == 0 ||
		    name.n > GW_NAME_MAX)
			err = TF_E_BAD_REQUEST;
		else if (wire_rep_add(names, WIRE_FN_GET_name, name) != 0)
			err = TF_E_SERVER_ERROR;
	}
	tf_buf_free(&scratch);
	return err;
}

static int
gw_ask_items(struct gw_req *req)
{
	struct wire_get m = { .kind = WIRE_KIND_ITEM, .limit = req->conf->c->gatewayd.body_max };
	struct tf_buf names = { 0 };
	int err;

	if (req->scan->responses.nref == 0) {
		gw_expand(req, TF_SPAN("[]"));
		return 0;
	}
	err = gw_ref_names(req, &names);
	m.workspace = tf_span(req->key->workspace, sizeof req->key->workspace);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	if (err == 0)
		err = gw_store_get(req, &m, gw_items_got);
	tf_buf_free(&names);
	return err;
}

static void
gw_chain_got(struct gw_req *req, struct gw_stored *got)
{
	int err;

	if (got->err == TF_E_NOT_FOUND) {
		gw_req_fail(req, TF_E_PREVIOUS_RESPONSE_NOT_FOUND, "previous_response_id", NULL, 0);
		return;
	}
	if (got->err == TF_E_REQUEST_TOO_LARGE) {
		gw_too_large(req, "previous_response_id");
		return;
	}
	err = got->err;
	if (err == 0) {
		req->resolve->history = got->bytes;
		req->t->body_held += got->bytes.n;
		got->bytes = (struct tf_buf){ 0 };
		err = gw_ask_items(req);
	}
	if (err != 0)
		gw_req_fail(req, err, NULL, NULL, 0);
}

static int
gw_ask_chain(struct gw_req *req)
{
	struct wire_get m = { .kind = WIRE_KIND_RESPONSE, .view = WIRE_VIEW_CHAIN, .limit = req->conf->c->gatewayd.body_max };
	struct tf_buf scratch = { 0 }, names = { 0 };
	struct tf_span name = { 0 };
	int err = 0;

	if (js_str(gw_range(req, req->scan->responses.previous), &scratch, &name) != 0)
		err = TF_E_SERVER_ERROR;
	else if (name.n == 0 || name.n > GW_NAME_MAX)
		err = TF_E_PREVIOUS_RESPONSE_NOT_FOUND;
	else if (wire_rep_add(&names, WIRE_FN_GET_name, name) != 0)
		err = TF_E_SERVER_ERROR;
	m.workspace = tf_span(req->key->workspace, sizeof req->key->workspace);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	if (err == 0)
		err = gw_store_get(req, &m, gw_chain_got);
	tf_buf_free(&scratch);
	tf_buf_free(&names);
	return err;
}

void
gw_resolve_free(struct gw_req *req)
{
	if (req->resolve == NULL)
		return;
	req->t->body_held -= req->resolve->history.n;
	tf_buf_free(&req->resolve->history);
	free(req->resolve);
	req->resolve = NULL;
}

bool
gw_resolve_needed(const struct gw_req *req)
{
	return req->head->surface == DL_OPENAI_RESPONSES &&
	    (req->scan->responses.previous.end > 0 || req->scan->responses.nref > 0);
}

void
gw_resolve(struct gw_req *req)
{
	bool chain = req->scan->responses.previous.end > 0;
	int err;

	req->resolve = calloc(1, sizeof *req->resolve);
	if (req->resolve == NULL) {
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
		return;
	}
	gw_req_to(req, GW_S_STORE);
	err = chain ? gw_ask_chain(req) : gw_ask_items(req);
	if (err != 0)
		gw_req_fail(req, err, err == TF_E_SERVER_ERROR || err == TF_E_STORE_UNAVAILABLE ? NULL :
		    chain ? "previous_response_id" : "input", NULL, 0);
}
