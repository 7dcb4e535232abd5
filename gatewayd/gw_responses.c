/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls about stored responses (OpenAI Responses API: retrieve, delete, cancel, list input items).
 * All of it is stored's; only the arguments' form is known here.
 */
#include "config.h"

#include <stdio.h>

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_op.h"
#include "gatewayd/gw_stored.h"

#define GW_ID_MAX 256  /* longest id looked up */
#define GW_PAGE 20     /* items of a page, unless the call says it */
#define GW_PAGE_MAX 100

/* The value of a query parameter. 0; TF_E_NOENT: not given; TF_E_INVAL: not decodable, or too long. */
static int
gw_query_arg(struct tf_span query, const char *want, char *out, size_t cap)
{
	struct tf_span name, value;
	char key[32];
	size_t pos = 0;
	ssize_t n;

	while (http_query_next(query, &pos, &name, &value)) {
		n = http_query_decode(name, key, sizeof key);
		if (n < 0 || !tf_span_is(tf_span(key, (size_t)n), want))
			continue;
		n = value.p != NULL ? http_query_decode(value, out, cap - 1) : 0;
		if (n < 0)
			return TF_E_INVAL;
		out[n] = '\0';
		return 0;
	}
	return TF_E_NOENT;
}

static void
gw_unknown(struct gw_req *req)
{
	char message[128 + GW_ID_MAX];

	snprintf(message, sizeof message, "Response with id %s not found.", tf_log_q(tf_cspan(req->rest)));
	gw_req_fail(req, TF_E_NOT_FOUND, NULL, message, 0);
}

/* Says what stored refused. True: it did. */
static bool
gw_refused(struct gw_req *req, const struct gw_stored *got)
{
	char param[64], message[DL_MESSAGE_MAX];

	if (got->err == 0)
		return false;
	if (got->err == TF_E_NOT_FOUND) {
		gw_unknown(req);
		return true;
	}
	snprintf(param, sizeof param, TF_SPAN_FMT, TF_SPAN_ARG(got->param));
	snprintf(message, sizeof message, TF_SPAN_FMT, TF_SPAN_ARG(got->message));
	gw_req_fail(req, got->err, param[0] ? param : NULL, message[0] ? message : NULL, 0);
	return true;
}

static void
gw_got(struct gw_req *req, struct gw_stored *got)
{
	if (!gw_refused(req, got))
		gw_req_json(req, 200, &got->bytes);
}

static void
gw_dropped(struct gw_req *req, struct gw_stored *got)
{
	struct tf_buf out = { 0 };
	struct js_w w;

	if (gw_refused(req, got))
		return;
	js_w_init(&w, &out);
	js_w_object(&w);
	js_w_kcstr(&w, "id", req->rest);
	js_w_kcstr(&w, "object", "response");
	js_w_kbool(&w, "deleted", true);
	js_w_object_end(&w);
	if (js_w_done(&w) != 0)
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
	else
		gw_req_json(req, 200, &out);
	tf_buf_free(&out);
}

static void
gw_not_cancelled(struct gw_req *req, struct gw_stored *got)
{
	if (!gw_refused(req, got))
		gw_req_fail(req, TF_E_BAD_REQUEST, "response_id", "Only a response that was created with background set to true"
		    " can be cancelled.", 0);
}

/* Waits for what stored says of the response that the path names. */
static int
gw_ask(struct gw_req *req, struct wire_get *m, gw_store_fn *fn)
{
	struct tf_buf name = { 0 };
	int err;

	if (req->rest == NULL || strlen(req->rest) > GW_ID_MAX) {
		gw_req_fail(req, TF_E_NOT_FOUND, NULL, "No such response.", 0);
		return 0;
	}
	if (wire_rep_add(&name, WIRE_FN_GET_name, tf_cspan(req->rest)) != 0)
		return TF_E_SERVER_ERROR;
	m->kind = WIRE_KIND_RESPONSE;
	m->workspace = tf_span(req->key->workspace, sizeof req->key->workspace);
	m->name = wire_rep_of(&name, WIRE_FN_GET_name);
	err = gw_store_get(req, m, fn);
	tf_buf_free(&name);
	if (err == 0)
		gw_req_to(req, GW_S_STORE);
	return err;
}

int
gw_op_response(struct gw_req *req)
{
	char stream[16];

	if (gw_query_arg(http_req_query(req->http), "stream", stream, sizeof stream) == 0 && strcmp(stream, "true") == 0) {
		gw_req_fail(req, TF_E_BAD_REQUEST, "stream", "A stored response cannot be streamed again. Leave stream out.", 0);
		return 0;
	}
	return gw_ask(req, &(struct wire_get){ .view = WIRE_VIEW_OBJECT }, gw_got);
}

int
gw_op_response_cancel(struct gw_req *req)
{
	return gw_ask(req, &(struct wire_get){ .view = WIRE_VIEW_OBJECT }, gw_not_cancelled);
}

int
gw_op_response_delete(struct gw_req *req)
{
	struct wire_drop m = { .kind = WIRE_KIND_RESPONSE, .name = tf_cspan(req->rest) };
	int err;

	if (m.name.n == 0 || m.name.n > GW_ID_MAX)
		return TF_E_NOT_FOUND;
	m.workspace = tf_span(req->key->workspace, sizeof req->key->workspace);
	err = gw_store_drop(req, &m, gw_dropped);
	if (err == 0)
		gw_req_to(req, GW_S_STORE);
	return err;
}

/* The page that the query asks for; false: it was refused. */
static bool
gw_page(struct gw_req *req, struct wire_get *m, char after[static GW_ID_MAX + 1])
{
	struct tf_span query = http_req_query(req->http);
	char limit[24], order[16];
	uint64_t n = GW_PAGE;
	int rc = gw_query_arg(query, "limit", limit, sizeof limit);

	if (rc == 0)
		rc = tf_span_u64(tf_cspan(limit), GW_PAGE_MAX, &n);
	if ((rc != 0 && rc != TF_E_NOENT) || n == 0) {
		gw_req_fail(req, TF_E_BAD_REQUEST, "limit", "limit is a number from 1 to 100.", 0);
		return false;
	}
	m->count = n;
	rc = gw_query_arg(query, "order", order, sizeof order);
	m->ascending = rc == 0 && strcmp(order, "asc") == 0;
	if ((rc != 0 && rc != TF_E_NOENT) || (rc == 0 && !m->ascending && strcmp(order, "desc") != 0)) {
		gw_req_fail(req, TF_E_BAD_REQUEST, "order", "order is asc or desc.", 0);
		return false;
	}
	rc = gw_query_arg(query, "after", after, GW_ID_MAX + 1);
	if (rc != 0 && rc != TF_E_NOENT) {
		gw_req_fail(req, TF_E_BAD_REQUEST, "after", "after is the id of an item.", 0);
		return false;
	}
	m->after = rc == 0 ? tf_cspan(after) : (struct tf_span){ 0 };
	return true;
}

int
gw_op_response_input(struct gw_req *req)
{
	struct wire_get m = { .view = WIRE_VIEW_INPUT };
	char after[GW_ID_MAX + 1];

	return gw_page(req, &m, after) ? gw_ask(req, &m, gw_got) : 0;
}
