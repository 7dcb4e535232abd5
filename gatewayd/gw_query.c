/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/usage: the query string becomes a QUERY to billingd, whose ANSWER is the body, JSON or a table as the
 * Accept field says. billingd owns the meaning of the arguments; only their form is known here.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json/json.h"
#include "gatewayd/gw.h"
#include "gatewayd/gw_op.h"

#define GW_QUERY_ARG_MAX 256

/* name=value&.. as a JSON object of strings. TF_E_INVAL: not decodable. */
static int
gw_query_args(struct tf_span query, struct tf_buf *out)
{
	struct tf_span name, value;
	struct js_w w;
	size_t pos = 0;

	js_w_init(&w, out);
	js_w_object(&w);
	while (http_query_next(query, &pos, &name, &value)) {
		char k[GW_QUERY_ARG_MAX], v[GW_QUERY_ARG_MAX];
		ssize_t kn = http_query_decode(name, k, sizeof k), vn = 0;

		if (name.n == 0)
			continue;
		if (value.p != NULL)
			vn = http_query_decode(value, v, sizeof v);
		if (kn < 0 || vn < 0)
			return TF_E_INVAL;
		js_w_keyn(&w, tf_span(k, (size_t)kn));
		js_w_str(&w, tf_span(v, (size_t)vn));
	}
	js_w_object_end(&w);
	return js_w_done(&w);
}

/*
 * The weight of a media range of an Accept field, in thousandths: 1000 without one, 0 for what is none. range: the
 * type is cut off it.
 */
static unsigned
gw_query_weight(struct tf_span *range)
{
	const char *semi = range->n > 0 ? memchr(range->p, ';', range->n) : NULL;
	struct tf_span rest = tf_span("", 0);
	unsigned weight = 1000, digit = 1000;

	if (semi != NULL) {
		rest = tf_span(semi, range->n - (size_t)(semi - range->p));
		range->n = (size_t)(semi - range->p);
	}
	while (range->n > 0 && (range->p[range->n - 1] == ' ' || range->p[range->n - 1] == '\t'))
		range->n--;
	for (size_t i = 0; i + 2 < rest.n; i++) {
		if ((rest.p[i] | 0x20) != 'q' || rest.p[i + 1] != '=' || (i > 0 && strchr("; \t", rest.p[i - 1]) == NULL))
			continue;
		weight = rest.p[i + 2] == '1' ? 1000 : 0;
		for (i += 3; weight == 0 && i + 1 < rest.n && digit > 1 && rest.p[i + 1] >= '0' && rest.p[i + 1] <= '9'; i++) {
			digit /= 10;
			weight += (unsigned)(rest.p[i + 1] - '0') * digit;
			if (digit == 1)
				break;
		}
		break;
	}
	return weight;
}

bool
gw_query_wants_csv(struct tf_span accept)
{
	unsigned csv = 0, json = 0;
	bool named = false;

	while (accept.n > 0) {
		const char *comma = memchr(accept.p, ',', accept.n);
		size_t n = comma != NULL ? (size_t)(comma - accept.p) : accept.n;
		struct tf_span range = tf_span(accept.p, n);
		unsigned weight;

		while (range.n > 0 && (range.p[0] == ' ' || range.p[0] == '\t'))
			range = tf_span(range.p + 1, range.n - 1);
		weight = gw_query_weight(&range);
		if (tf_span_caseeq(range, "text/csv")) {
			csv = weight;
		} else if (tf_span_caseeq(range, "application/json")) {
			json = weight;
			named = true;
		} else if (!named && weight > json && (tf_span_caseeq(range, "*/*") || tf_span_caseeq(range, "application/*"))) {
			json = weight;
		}
		accept = tf_span(accept.p + n, accept.n - n);
		if (accept.n > 0)
			accept = tf_span(accept.p + 1, accept.n - 1);
	}
	/* who names it means it, unless JSON is named as well */
	return csv > 0 && (csv > json || (csv == json && !named));
}

/* 0, also without a link: it goes when billingd is back. */
static int
gw_query_send(struct gw_req *req)
{
	struct wire_peer *p = gw_billing(req->t);
	struct tf_buf args = { 0 };
	struct wire_query m = { .name = TF_SPAN("usage"), .workspace = tf_span(req->key->workspace, 16) };
	bool csv = gw_query_wants_csv(http_req_get(req->http, HTTP_H_ACCEPT));
	int rc = 0;

	if (gw_query_args(http_req_query(req->http), &args) != 0)
		rc = TF_E_BAD_REQUEST;
	m.args = tf_buf_span(&args);
	if (csv)
		wire_set(&m, QUERY, csv, 1);
	/* a send that fails is one to a link that is going down, and so is asked again */
	if (rc == 0 && p != NULL)
		(void)wire_send_query(p, &req->id, 0, &m, (struct tf_span){ 0 });
	tf_buf_free(&args);
	return rc;
}

int
gw_op_usage(struct gw_req *req)
{
	int rc = gw_query_send(req);

	if (rc != 0)
		return rc;
	req->wait_since = tf_mono_ms();
	gw_req_to(req, GW_S_QUERY);
	return 0;
}

void
gw_query_link_up(struct gw_thread *t)
{
	struct tf_node *e, *tmp;

	TF_LIST_EACH(&t->state[GW_S_QUERY], e, tmp)
		(void)gw_query_send(TF_CONTAINER(e, struct gw_req, node));
}

void
gw_query_answer(struct gw_thread *t, const struct wire_frame *f, const struct wire_answer *m)
{
	struct gw_req *req = gw_req_find(t, f->id);
	struct tf_buf body = { 0 };
	char code[64], param[DL_PARAM_MAX], message[DL_MESSAGE_MAX];

	if (req == NULL || req->state != GW_S_QUERY)
		return;
	if (m->code.n > 0) {
		const struct tf_err_row *row;

		snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
		snprintf(param, sizeof param, TF_SPAN_FMT, TF_SPAN_ARG(m->param));
		snprintf(message, sizeof message, TF_SPAN_FMT, TF_SPAN_ARG(m->message));
		row = tf_err_by_code(code);
		gw_req_fail(req, row ? row->err : TF_E_SERVER_ERROR, param[0] ? param : NULL, message[0] ? message : NULL, 0);
		return;
	}
	if (tf_buf_addspan(&body, f->payload) != 0)
		gw_req_fail(req, TF_E_SERVER_ERROR, NULL, NULL, 0);
	else if (gw_query_wants_csv(http_req_get(req->http, HTTP_H_ACCEPT)))
		gw_req_text(req, 200, "text/csv; charset=utf-8; header=present", &body);
	else
		gw_req_json(req, 200, &body);
	tf_buf_free(&body);
}
