/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a request: born with its head, moved from list to list by gw_req_to alone, answered
 * once, freed at the end of a loop turn. Each state has its counterpart in gw_req_abort, so that a
 * client that leaves has one path.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_op.h"
#include "gatewayd/gw_record.h"
#include "gatewayd/gw_stored.h"

static const char *const gw_state_names[] = {
#define STATE(sym, name, whom) name,
#include "gatewayd/state.def"
#undef STATE
};

const char *
gw_state_name(enum gw_state state)
{
	return gw_state_names[state];
}

/* For the control socket, whose thread reads it; we are the only writer. */
static void
gw_req_count(struct gw_thread *t, enum gw_state state)
{
	atomic_store_explicit(&t->in_state[state], t->state[state].n, memory_order_relaxed);
}

void
gw_req_to(struct gw_req *req, enum gw_state state)
{
	struct gw_thread *t = req->t;

	tf_list_remove(&t->state[req->state], &req->node);
	gw_req_count(t, req->state);
	req->state = state;
	tf_list_append(&t->state[state], &req->node);
	gw_req_count(t, state);
	if (state == GW_S_DONE)
		ev_turn_arm(t->loop, &t->reap);
}

struct gw_req *
gw_req_find(struct gw_thread *t, struct tf_id id)
{
	return tf_map_get(&t->reqs, tf_id_span(&id));
}

static struct gw_req *
gw_req_new(struct gw_thread *t, struct http_req *http)
{
	struct gw_req *req = calloc(1, sizeof *req);

	if (req == NULL)
		return NULL;
	req->t = t;
	req->http = http;
	req->id = tf_id_new();
	if (tf_map_put(&t->reqs, tf_id_span(&req->id), req) != 0) {
		free(req);
		return NULL;
	}
	req->conf = gw_conf_ref(t->conf);
	req->began = tf_mono_ms();
	req->began_wall = tf_wall_ns() / 1000000;
	req->boundary = true;
	req->answer_len = UINT64_MAX;
	tf_list_append(&t->state[GW_S_HEAD], &req->node);
	gw_req_count(t, GW_S_HEAD);
	http_req_set_data(http, req);
	tf_metric_add(TF_M_GW_IN_FLIGHT, 1);
	return req;
}

static void
gw_req_free(struct gw_req *req)
{
	struct gw_thread *t = req->t;

	tf_map_del(&t->reqs, tf_id_span(&req->id));
	tf_metric_add(TF_M_GW_IN_FLIGHT, UINT64_MAX); /* one less */
	gw_settle_given(req, false); /* nobody said that it was */
	tf_buf_free(&req->held);
	gw_store_leave(req);
	gw_resolve_free(req);
	gw_keep_free(req);
	gw_hosted_free(req);
	gw_idem_free(req);
	gw_recall_free(req);
	gw_key_drop(req);
	gw_req_body_drop(req);
	gw_conf_unref(&req->conf);
	free(req->rest);
	free(req->scan);
	free(req->head);
	free(req->content_type);
	free(req->worker_name);
	free(req->dropped);
	tf_list_remove(&t->state[GW_S_DONE], &req->node);
	gw_req_count(t, GW_S_DONE);
	free(req);
}

void
gw_req_free_list(struct gw_thread *t)
{
	struct tf_node *e;

	while ((e = tf_list_first(&t->state[GW_S_DONE])) != NULL)
		gw_req_free(TF_CONTAINER(e, struct gw_req, node));
}

/* ---- bodies ------------------------------------------------------------------------------- */

void
gw_req_body_take(struct gw_req *req)
{
	req->body = http_req_take_body(req->http, &req->body_len);
	if (req->body != NULL)
		req->t->body_held += req->body_len;
}

void
gw_req_body_drop(struct gw_req *req)
{
	if (req->body == NULL)
		return;
	req->t->body_held -= req->body_len;
	free(req->body);
	req->body = NULL;
}

size_t
gw_body_bytes(const struct gw_thread *t)
{
	return t->body_held + http_server_body_bytes(t->server[0]) + http_server_body_bytes(t->server[1]);
}

/*
 * When the memory for bodies is spent, nobody's socket is read until a body has found its worker; if
 * all of it is in bodies that are still arriving, the oldest goes on alone, so that one gets through.
 */
bool
gw_body_may_read(const struct gw_req *req)
{
	const struct gw_thread *t = req->t;

	return gw_body_bytes(t) <= t->conf->c->gatewayd.body_memory ||
	    (t->body_held == 0 && tf_list_first(&t->state[GW_S_BODY]) == &req->node);
}

/* ---- answers ------------------------------------------------------------------------------ */

void
gw_req_fields(struct gw_req *req, struct http_fields *f)
{
	const struct gw_key *k = req->key;
	char id[TF_ID_TEXT + 1];

	/* a replayed answer is that of the request which it was made for */
	tf_id_text(req->idem != NULL && !tf_id_eq(req->idem->first, (struct tf_id){ { 0 } }) ? req->idem->first : req->id, id);
	http_fields_init(f);
	http_fields_add(f, "x-request-id", id);
	http_fields_add(f, "request-id", id);
	if (k == NULL || k->state == GW_KEY_REFUSED || k->space == NULL || k->plan == NULL)
		return;
	gw_limits_fields(req, f);
}

void
gw_req_note(struct gw_req *req, int status)
{
	char text[8];
	const char *labels[2] = { req->route ? req->route->name : "NONE", text };

	req->status = (unsigned)status;
	snprintf(text, sizeof text, "%d", status);
	tf_metric_add_l(TF_M_GW_REQUESTS, 1, labels);
}

void
gw_req_replied(struct gw_req *req)
{
	uint64_t ms = tf_mono_ms() - req->began;

	tf_metric_observe(TF_M_GW_REQUEST_SECONDS, ms * 1000000);
	if (tf_log_on(TF_DEBUG, "request"))
		tf_log(TF_DEBUG, "request", &req->id, "answered route=%s status=%u key=%s model=%s ms=%llu",
		    req->route ? req->route->name : "NONE", req->status,
		    req->key && req->key->name ? tf_log_q(tf_cspan(req->key->name)) : "-",
		    req->model ? req->model->name : "-", (unsigned long long)ms);
	gw_req_to(req, GW_S_REPLY);
}

void
gw_req_text(struct gw_req *req, int status, const char *type, const struct tf_buf *body)
{
	struct http_fields f;

	gw_req_fields(req, &f);
	http_fields_add(&f, "content-type", type);
	gw_req_note(req, status);
	(void)http_respond(req->http, status, &f, body->p, body->n);
	gw_req_replied(req);
}

void
gw_req_json(struct gw_req *req, int status, const struct tf_buf *body)
{
	gw_req_text(req, status, "application/json", body);
}

static void
gw_error_fields(struct gw_req *req, const struct tf_err_row *row, uint64_t retry_after_s, struct http_fields *f)
{
	gw_req_fields(req, f);
	http_fields_add(f, "content-type", "application/json");
	if (row->retry == TF_FINAL && row->http != 404 && row->http != 400)
		http_fields_add(f, "x-should-retry", "false");
	if (row->retry == TF_RETRY_AFTER || retry_after_s > 0) {
		if (retry_after_s == 0)
			retry_after_s = row->http == 503 ? 5 : 1;
		if (row->http == 503 && retry_after_s < 5)
			retry_after_s = 5;
		http_fields_addf(f, "retry-after", "%llu", (unsigned long long)retry_after_s);
	}
	if (row->http == 401)
		http_fields_add(f, "www-authenticate", "Bearer");
}

static void
gw_error_note(struct gw_req *req, const struct tf_err_row *row, const char *message)
{
	const char *labels[1] = { row->code };

	/* a runtime's own words may repeat the prompt: they are the client's to read, and nobody else's */
	if (req->state == GW_S_ACCEPTED || req->state == GW_S_STREAM)
		message = NULL;
	tf_metric_add_l(TF_M_GW_REFUSALS, 1, labels);
	tf_log((enum tf_level)row->level, "request", &req->id, "refused route=%s code=%s key=%s state=%s reason=%s",
	    req->route ? req->route->name : "NONE", row->code,
	    req->key && req->key->name ? tf_log_q(tf_cspan(req->key->name)) : "-", gw_state_name(req->state),
	    tf_log_q(tf_cspan(message ? message : row->sentence)));
}

/* The status line is out: say it inside the stream, or break the answer off. */
static void
gw_error_inside(struct gw_req *req, struct dl_error *e)
{
	struct tf_buf out = { 0 };

	e->sequence = req->sequence;
	if (req->head != NULL)
		e->model = tf_span(req->head->model, req->head->model_len);
	if (req->head == NULL || !req->head->stream || !req->boundary ||
	    dl_error_event(dl_answer_dialect(req->head), e, &out) != 0 || http_respond_write(req->http, out.p, out.n) != 0)
		http_respond_abort(req->http);
	else
		(void)http_respond_end(req->http);
	tf_buf_free(&out);
	gw_req_replied(req);
}

void
gw_req_fail(struct gw_req *req, int err, const char *param, const char *message, uint64_t retry_after_s)
{
	const struct tf_err_row *row = tf_err_row(err);
	char words[1024] = "", where[256] = "";
	struct dl_error e = { .err = row->err, .rid = &req->id };
	struct http_fields f;
	struct tf_buf out = { 0 };
	char resets[48];

	if (req->resets_at > 0) {
		snprintf(resets, sizeof resets, "\"resets_at\":%lld", (long long)req->resets_at);
		e.extra = tf_cspan(resets);
	}
	/* both may hold what the client sent, and that may be a key in the wrong place */
	snprintf(words, sizeof words, "%s", message != NULL ? message : "");
	snprintf(where, sizeof where, "%s", param != NULL ? param : "");
	tf_apikey_hide(words);
	tf_apikey_hide(where);
	message = message != NULL ? words : NULL;
	e.message = tf_cspan(message);
	e.param = tf_cspan(param != NULL ? where : NULL);
	gw_idem_release(req);
	gw_error_note(req, row, message);
	if (req->http == NULL) {
		gw_req_to(req, GW_S_DONE);
		return;
	}
	if (req->begun) {
		gw_error_inside(req, &e);
		return;
	}
	gw_error_fields(req, row, retry_after_s, &f);
	if (row->http == 405 && req->rest != NULL)
		http_fields_add(&f, "allow", req->rest);
	if (row->http == 426) {
		http_fields_add(&f, "upgrade", "HTTP/1.1"); /* what has to be spoken, as RFC 9110 asks for */
		http_fields_add(&f, "connection", "upgrade");
	}
	gw_req_note(req, row->http);
	/* without memory the status alone must do */
	(void)dl_error_json(req->anthropic ? DL_FAMILY_ANTHROPIC : DL_FAMILY_OPENAI, &e, &out);
	(void)http_respond(req->http, row->http, &f, out.p, out.n);
	tf_buf_free(&out);
	gw_req_replied(req);
}

/* ---- the steps up to the operation --------------------------------------------------------- */

/* No row took the request: the error that the head earned, and what to say beyond its sentence. */
static void
gw_req_unrouted(struct gw_req *req)
{
	const struct gw_route *row = req->unrouted == TF_E_NOT_FOUND ? req->elsewhere : NULL;
	char text[160];

	if (row != NULL && req->unversioned)
		snprintf(text, sizeof text, "There is no /%s. It is served at /v1/%s.", row->pattern, row->pattern);
	else if (row != NULL)
		snprintf(text, sizeof text, "This API has no %s. It is served at /%s/v1/%s.", row->pattern,
		    row->families & GW_OPENAI ? "openai" : "anthropic", row->pattern);
	gw_req_fail(req, req->unrouted, NULL, row != NULL ? text : NULL, 0);
}

void
gw_req_authed(struct gw_req *req, int err)
{
	char why[160] = "";

	if (req->http == NULL) {
		gw_req_to(req, GW_S_DONE);
		return;
	}
	if (req->route == NULL) {
		gw_req_unrouted(req);
		return;
	}
	if (err == 0 && req->state == GW_S_AUTH) {
		/* verified a moment ago for all who waited; a change since then sends it back to the wait */
		if (req->key->state != GW_KEY_KNOWN) {
			gw_key_drop(req);
			err = gw_key_auth(req);
			if (err == TF_E_AGAIN)
				return;
		}
	}
	if (err == 0 && req->key != NULL)
		err = gw_may_call(req, why, sizeof why);
	if (err == 0)
		err = gw_weigh(req);
	if (err == TF_E_AGAIN)
		return;
	if (err == 0)
		err = req->route->op(req);
	if (err > 0)
		gw_req_fail(req, err, NULL, why[0] ? why : NULL, 0);
}

/* Codex tries a WebSocket first; only this status makes it go on with plain requests at once. */
static bool
gw_wants_websocket(const struct http_req *http)
{
	struct tf_span up = http_req_get(http, HTTP_H_UPGRADE);

	for (size_t i = 0; i + 9 <= up.n; i++)
		if (tf_span_caseeq(tf_span(up.p + i, 9), "websocket"))
			return http_req_method(http) == HTTP_M_GET;
	return false;
}

/*
 * Nothing is served here. Who sends a key learns what is left of his limits all the same, so the answer waits
 * for the key; a bad one changes nothing about it.
 */
static void
gw_req_unroute(struct gw_req *req, const struct gw_match *m)
{
	char allow[128];

	req->unrouted = m->err;
	req->elsewhere = m->elsewhere;
	req->unversioned = m->family == GW_ROOT;
	if (m->err == TF_E_METHOD_NOT_ALLOWED && m->allow != 0) {
		gw_route_allow(m->allow, allow, sizeof allow);
		req->rest = tf_span_dup(tf_cspan(allow));
		if (gw_wants_websocket(req->http))
			req->unrouted = TF_E_UPGRADE_REQUIRED;
	}
	if (gw_key_auth(req) != TF_E_AGAIN)
		gw_req_unrouted(req);
}

static void
gw_on_head(struct http_req *http, void *arg)
{
	struct gw_thread *t = arg;
	struct gw_req *req = gw_req_new(t, http);
	struct gw_match m;
	int err;

	if (req == NULL) {
		(void)http_respond(http, 500, NULL, NULL, 0);
		return;
	}
	gw_route_find(http_req_method(http), http_req_path(http), http_req_get(http, HTTP_H_ANTHROPIC_VERSION).p != NULL, &m);
	req->route = m.route;
	req->anthropic = m.anthropic;
	if (m.err != 0) {
		gw_req_unroute(req, &m);
		return;
	}
	if (m.rest_n > 0)
		req->rest = tf_span_dup(tf_span(m.rest, m.rest_n));
	err = req->route->operation != GW_OPEN ? gw_key_auth(req) : 0;
	if (err != TF_E_AGAIN)
		gw_req_authed(req, err);
}

/* Which of our rows says what the parser objects to. */
static int
gw_refusal_err(const struct gw_req *req, enum http_refusal why)
{
	if (why == HTTP_R_BAD_ENCODING && req->anthropic)
		return TF_E_REQUEST_BODY_ENCODING_UNSUPPORTED;
	switch (http_refusal_status(why)) {
	case 408: return TF_E_REQUEST_TIMEOUT;
	case 413: return TF_E_REQUEST_TOO_LARGE;
	case 415: return TF_E_UNSUPPORTED_MEDIA_TYPE;
	case 431: return TF_E_HEADERS_TOO_LARGE;
	case 503: return TF_E_OVERLOADED;
	case 505: return TF_E_HTTP_VERSION;
	default: return TF_E_BAD_REQUEST;
	}
}

static void
gw_on_refuse(struct http_req *http, enum http_refusal why, void *arg)
{
	struct gw_thread *t = arg;
	struct gw_req *req = http_req_data(http);
	struct gw_match m;

	if (req == NULL) {
		req = gw_req_new(t, http);
		if (req == NULL)
			return;
		gw_route_find(HTTP_M_POST, http_req_path(http), http_req_get(http, HTTP_H_ANTHROPIC_VERSION).p != NULL, &m);
		req->anthropic = m.anthropic;
	}
	gw_req_fail(req, gw_refusal_err(req, why), NULL, http_refusal_text(why), 0);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void
gw_req_abort(struct gw_req *req)
{
	switch (req->state) {
	case GW_S_AUTH:
		tf_list_remove(&req->key->waiting, &req->wait);
		gw_req_to(req, GW_S_DONE);
		break;
	case GW_S_STORE:
	case GW_S_REPLAY:
		gw_store_leave(req);
		gw_req_to(req, GW_S_DONE);
		break;
	case GW_S_ADMIT:
		gw_admit_leave(req);
		gw_req_to(req, GW_S_DONE);
		break;
	case GW_S_QUEUED:
	case GW_S_ACCEPTED:
	case GW_S_STREAM:
		gw_attempt_orphan(req, WIRE_CANCEL_CLIENT_GONE);
		break;
	case GW_S_KEEP:
		if (req->hosted != NULL)
			gw_hosted_abort(req);
		else
			(void)gw_recall_abort(req);
		/* else all of the answer is there and goes on to stored, where a retry or a look by its id finds it */
		break;
	case GW_S_HEAD:
	case GW_S_BODY:
	case GW_S_SETTLE:
	case GW_S_QUERY:
	case GW_S_REPLY:
		gw_req_to(req, GW_S_DONE);
		break;
	case GW_S_ORPHAN:
	case GW_S_DONE:
	case GW_S_COUNT:
		break;
	}
}

static void
gw_on_abort(struct http_req *http, enum http_gone why, void *arg)
{
	struct gw_req *req = http_req_data(http);

	(void)arg;
	if (req == NULL)
		return;
	tf_log(TF_DEBUG, "request", &req->id, "client gone state=%s stalled=%d", gw_state_name(req->state),
	    why == HTTP_GONE_STALLED);
	req->http = NULL;
	gw_req_abort(req);
}

static void
gw_on_done(struct http_req *http, bool delivered, void *arg)
{
	struct gw_req *req = http_req_data(http);

	(void)arg;
	if (req == NULL)
		return;
	req->http = NULL;
	gw_settle_given(req, delivered);
	if (req->state == GW_S_REPLY)
		gw_req_to(req, GW_S_DONE);
}

static void
gw_on_body(struct http_req *http, size_t fresh, void *arg)
{
	struct gw_req *req = http_req_data(http);

	(void)arg;
	(void)fresh;
	if (req != NULL && req->state == GW_S_BODY)
		gw_infer_body(req, false);
}

static void
gw_on_body_done(struct http_req *http, void *arg)
{
	struct gw_req *req = http_req_data(http);

	(void)arg;
	if (req != NULL && req->state == GW_S_BODY)
		gw_infer_body(req, true);
}

static void
gw_on_drain(struct http_req *http, size_t pending, void *arg)
{
	struct gw_req *req = http_req_data(http);

	(void)arg;
	if (req != NULL && req->state == GW_S_STREAM)
		gw_relay_drained(req, pending);
	else if (req != NULL && req->state == GW_S_REPLAY)
		gw_replay_drained(req, pending);
}

static void
gw_on_open(struct http_conn *conn, void *arg)
{
	(void)conn;
	(void)arg;
	tf_metric_add(TF_M_GW_CONNECTIONS_TOTAL, 1);
}

static void
gw_on_close(struct http_conn *conn, void *arg)
{
	struct gw_thread *t = arg;
	socklen_t len;
	const struct sockaddr *sa = http_conn_addr(conn, &len);

	if (sa != NULL && len >= sizeof sa->sa_family)
		gw_addrs_give(t->gw->addrs, sa);
	atomic_fetch_sub(&t->conns, 1);
	atomic_fetch_sub(&t->gw->conns, 1);
	tf_metric_add(TF_M_GW_CONNECTIONS, UINT64_MAX); /* one less */
}

const struct http_server_hooks gw_req_hooks = {
	.on_open = gw_on_open,
	.on_close = gw_on_close,
	.on_head = gw_on_head,
	.on_body = gw_on_body,
	.on_body_done = gw_on_body_done,
	.on_refuse = gw_on_refuse,
	.on_drain = gw_on_drain,
	.on_abort = gw_on_abort,
	.on_done = gw_on_done,
};
