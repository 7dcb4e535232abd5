/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer of an attempt on its way to the gateway, under credit: its bytes, the facts that go with them, and
 * what has to be kept of it, which goes ahead.
 */
#include "config.h"

#include "workerd/wk.h"

/* ---- what is kept --------------------------------------------------------------------------- */

/* m: all but the offset. */
static void
wk_keep_pieces(const struct wk_attempt *a, struct wire_peer *p, struct wire_keep *m, struct tf_span value)
{
	while (m->offset < m->total) {
		size_t n = value.n - (size_t)m->offset < WIRE_PIECE ? value.n - (size_t)m->offset : WIRE_PIECE;

		if (wire_send_keep(p, &a->id, a->number, m, tf_span(value.p + m->offset, n)) != 0)
			return; /* the link goes down, and the attempt with it */
		m->offset += n;
	}
}

/*
 * The answer as one object goes to the gateway ahead of its last bytes, so that it can be durable when they
 * are given. Nothing was taken from the front of out since the call that completed it.
 */
static void
wk_keep_send(struct wk_attempt *a)
{
	const struct dl_facts *facts = dl_xlate_facts(a->x);
	struct wire_peer *p = wk_gateway_peer(a->gateway);
	struct wire_keep m = { .kind = WIRE_KIND_RESPONSE, .content_type = TF_SPAN("application/json"), .total = facts->object_n };
	struct tf_span object, id;

	if (!a->keep || p == NULL || a->fault.err != 0 || !facts->complete || facts->object_n == 0 ||
	    facts->object + facts->object_n > a->out.n)
		return;
	object = tf_span(a->out.p + facts->object, facts->object_n);
	if (!js_member(object, "id", &id) || js_type(id) != JS_STRING)
		return;
	m.name = tf_span(id.p + 1, id.n - 2); /* ours: without escapes */
	wk_keep_pieces(a, p, &m, object);
}

/* Reasoning that a later turn may need goes ahead of the end, too: whoever has seen that may come back at once. */
static void
wk_recall_send(struct wk_attempt *a)
{
	struct wire_peer *p = wk_gateway_peer(a->gateway);
	struct wire_keep m = { .kind = WIRE_KIND_REASONING, .content_type = TF_SPAN("application/json") };
	char name[DL_RECALL_NAME + 1];
	struct tf_buf value = { 0 };

	if (p != NULL && a->fault.err == 0 && dl_xlate_recall(a->x, name, &value) == 1) {
		m.name = tf_cspan(name);
		m.total = value.n;
		wk_keep_pieces(a, p, &m, tf_buf_span(&value));
	}
	tf_buf_free(&value);
}

void
wk_answer_keep(struct wk_attempt *a)
{
	wk_recall_send(a);
	wk_keep_send(a);
}

/* ---- towards the client --------------------------------------------------------------------- */

static int
wk_event_send(struct wk_attempt *a, struct wire_peer *p, size_t n)
{
	const struct dl_facts *facts = dl_xlate_facts(a->x);
	struct wire_event m = { .offset = a->tx.sent, .out_tokens = facts->out_tokens };
	int rc;

	if ((n == a->out.n && (facts->boundary || a->complete)) || a->tx.sent + n == a->tail)
		m.flags |= WIRE_EV_BOUNDARY;
	if (a->tx.sent >= a->tail)
		m.flags |= WIRE_EV_FINISH;
	if (facts->content)
		m.flags |= WIRE_EV_CONTENT;
	if (facts->finished || a->complete)
		m.flags |= WIRE_EV_FINISH;
	if (!a->first) {
		m.content_type = tf_cspan(dl_xlate_content_type(a->x));
		m.dropped = dl_xlate_dropped(a->x);
		if (a->complete && !dl_xlate_live(a->x))
			wire_set(&m, EVENT, length, a->out.n);
	}
	rc = wire_send_event(p, &a->id, a->number, &m, tf_span(a->out.p, n));
	if (rc == 0) {
		a->first = true;
		a->tx.sent += n;
		tf_buf_shift(&a->out, n);
	}
	return rc;
}

/* Whole answers go when they are whole; streams from their first content on, so that what comes before it can be retried. */
static bool
wk_may_send(const struct wk_attempt *a)
{
	if (a->complete)
		return true;
	return dl_xlate_live(a->x) && (a->first || dl_xlate_facts(a->x)->content);
}

/*
 * What the answer names by address goes ahead of it, no more at a time than the link may hold. False: not all of
 * it has gone; the tick goes on.
 */
static bool
wk_kept_push(struct wk_attempt *a, struct wire_peer *p)
{
	struct dl_kept v;

	while (a->out.n > 0 && a->fault.err == 0 && dl_xlate_kept(a->x, a->kept, &v)) {
		struct wire_keep m = { .kind = WIRE_KIND_IMAGE, .name = v.name, .content_type = v.content_type,
			.offset = a->kept_at, .total = v.bytes.n };
		size_t n = v.bytes.n - a->kept_at < WIRE_PIECE ? v.bytes.n - a->kept_at : WIRE_PIECE;

		if (p == NULL || wire_backlog(p) > WK_KEPT_AHEAD ||
		    wire_send_keep(p, &a->id, a->number, &m, tf_span(v.bytes.p + a->kept_at, n)) != 0)
			return false;
		a->kept_at += n;
		if (a->kept_at == v.bytes.n) {
			a->kept++;
			a->kept_at = 0;
		}
	}
	return true;
}

/* Nothing of a whole answer goes out before its end, but the gateway reserves for what is generated meanwhile. */
static void
wk_progress_send(struct wk_attempt *a, struct wire_peer *p)
{
	struct wire_event m = { .offset = a->tx.sent, .out_tokens = dl_xlate_facts(a->x)->out_tokens };

	if (!a->progress || a->complete || dl_xlate_live(a->x) || p == NULL || m.out_tokens < a->told + WK_PROGRESS)
		return;
	a->told = m.out_tokens;
	(void)wire_send_event(p, &a->id, a->number, &m, (struct tf_span){ 0 });
}

void
wk_answer_flush(struct wk_attempt *a)
{
	struct wire_peer *p = wk_gateway_peer(a->gateway);

	wk_progress_send(a, p);
	if (a->complete && !wk_kept_push(a, p))
		return;
	while (p != NULL && a->out.n > 0 && wk_may_send(a) && wire_tx_room(&a->tx) > 0) {
		size_t n = a->out.n;

		if (n > wire_tx_room(&a->tx))
			n = wire_tx_room(&a->tx);
		if (n > WK_PIECE)
			n = WK_PIECE;
		/* the gateway holds back what the end begins with, and nothing before it */
		if (a->tx.sent < a->tail && n > a->tail - a->tx.sent)
			n = (size_t)(a->tail - a->tx.sent);
		if (wk_event_send(a, p, n) != 0)
			return; /* the link goes down, and the attempt with it */
	}
	if (a->complete && a->out.n == 0 && a->state == WK_S_SEND)
		wk_attempt_finish(a);
	else if (a->state == WK_S_CALL && a->paused && a->out.n < WK_HELD_PAUSE / 2)
		wk_call_resume(a);
}
