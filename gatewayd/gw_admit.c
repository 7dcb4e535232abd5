/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in the limits, request by request. What a request takes from its key's grants becomes its reservation, which
 * lives until a usage record settles it. Only billingd refuses. Who came first is served first; a shortage that
 * reservations alone make is waited for, a while.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_attempt.h"
#include "gatewayd/gw_limit.h"
#include "gatewayd/gw_record.h"

#define GW_TRANSIENT_MS 50       /* pause before asking again when only reservations stand in the way */
#define GW_EXTEND_AGAIN_MS 1000  /* pause before an answer asks again for more when nothing was left */
#define GW_TRANSIENT_MAX_MS 2000 /* longest such wait of a request */

/* ---- admission ------------------------------------------------------------------------------- */

static bool
gw_admit_try(struct gw_req *req, uint64_t now)
{
	if (!gw_grant_take(req, &req->need, now))
		return false;
	req->windows = req->key->windows;
	req->granted_by = req->key->granted_by;
	req->began_wall = tf_wall_ns() / 1000000; /* usage belongs to the windows that let it in, never to those before */
	req->admitted = true;
	return true;
}

/* billingd is away and the operator says that those who were known may go on. */
static bool
gw_admit_unmetered(struct gw_req *req)
{
	if (gw_thread_billing_fresh(req->t) || !req->conf->c->gatewayd.serve_unmetered)
		return false;
	req->admitted = req->unmetered = true;
	return true;
}

static bool
gw_admit_too_large(const struct gw_req *req, uint64_t tpm)
{
	return tpm != 0 && req->need.v[GW_U_TOKENS] > 0 && req->need_prompt + (req->need_output > 0 ? 1 : 0) > tpm;
}

int
gw_admit(struct gw_req *req)
{
	struct gw_thread *t = req->t;
	struct gw_key *k = req->key;
	uint64_t now = tf_mono_ms();

	if (!gw_spool_may(req))
		return TF_E_OVERLOADED;
	if (gw_admit_too_large(req, k->tpm) || gw_admit_too_large(req, k->own_tpm))
		return TF_E_BAD_REQUEST;
	if (k->admitting.n == 0 && gw_admit_try(req, now)) {
		gw_grant_ahead(t, k, now);
		return 0;
	}
	if (gw_admit_unmetered(req))
		return 0;
	if (now >= k->grant_again)
		gw_grant_ask(t, k, &req->need);
	tf_list_append(&k->admitting, &req->wait);
	gw_key_busy(t, k);
	req->wait_since = now;
	gw_req_to(req, GW_S_ADMIT);
	return TF_E_AGAIN;
}

void
gw_admit_leave(struct gw_req *req)
{
	if (req->state == GW_S_ADMIT && tf_node_linked(&req->wait))
		tf_list_remove(&req->key->admitting, &req->wait);
}

void
gw_admit_pump(struct gw_thread *t, struct gw_key *k)
{
	uint64_t now = tf_mono_ms();
	struct tf_node *e;

	while ((e = tf_list_first(&k->admitting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);

		if (!gw_admit_try(req, now)) {
			if (now >= k->grant_again)
				gw_grant_ask(t, k, &req->need);
			return;
		}
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, 0, NULL, 0);
	}
	gw_grant_ahead(t, k, now);
}

/* ---- refusals -------------------------------------------------------------------------------- */

/* Does it need at least that of everything? */
static bool
gw_covers(const struct gw_amount *need, const struct gw_amount *least)
{
	for (unsigned u = 0; u < GW_UNITS; u++)
		if (need->v[u] < least->v[u])
			return false;
	return true;
}

struct gw_refusal {
	int err;
	const char *message; /* NULL: the row's sentence */
	bool all;            /* no request is left: nobody who waits can be let in */
	const struct wire_grant_refuse *m;
};

/* What is used up leaves less than it may need, but something: it is let in with less output. */
static bool
gw_admit_shrink(struct gw_req *req, const struct gw_refusal *r)
{
	if (r->err != TF_E_TOKEN_BUDGET_EXCEEDED && r->err != TF_E_BALANCE_EXHAUSTED && r->err != TF_E_MONTHLY_CAP_EXCEEDED)
		return false;
	return gw_need_shrink(req, req->key->room_tokens, req->key->room_money);
}

/* Those whom a final refusal concerns: all when no request is left, else the first, if it was asked for. */
static void
gw_admit_turn_away(struct gw_key *k, const struct gw_refusal *r)
{
	uint64_t after = (r->m->retry_after_ms + 999) / 1000;
	struct tf_node *e;

	while ((e = tf_list_first(&k->admitting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);

		if (!r->all && (k->grant_least.v[GW_U_REQUESTS] == 0 || !gw_covers(&req->need, &k->grant_least)))
			return; /* it was asked for somebody else, who has left */
		if (!r->all && gw_admit_shrink(req, r))
			return; /* asked for again by the caller */
		tf_list_remove(&k->admitting, e);
		if (r->err == TF_E_TOKEN_BUDGET_EXCEEDED)
			req->resets_at = gw_reset_second(wire_has(r->m, GRANT_REFUSE, budget_reset_ms)
			    ? r->m->budget_reset_ms : r->m->retry_after_ms);
		gw_infer_admitted(req, r->err, r->message, after);
		if (!r->all)
			return;
	}
}

/* The one that it was asked for need not wait, or be refused, for output that nobody asked for. */
static bool
gw_admit_modest(struct gw_key *k)
{
	struct tf_node *e = tf_list_first(&k->admitting);

	return e != NULL && k->grant_least.v[GW_U_REQUESTS] > 0 && gw_need_modest(TF_CONTAINER(e, struct gw_req, wait));
}

void
gw_admit_refuse(struct gw_thread *t, const struct wire_frame *f, const struct wire_grant_refuse *m)
{
	struct gw_key *k = gw_grant_answered(t, f);
	struct gw_refusal r = { .m = m };
	const struct tf_err_row *row;
	char code[64], message[512];

	if (k == NULL)
		return;
	gw_grant_told(k, m);
	snprintf(code, sizeof code, TF_SPAN_FMT, TF_SPAN_ARG(m->code));
	snprintf(message, sizeof message, TF_SPAN_FMT, TF_SPAN_ARG(m->message));
	row = tf_err_by_code(code);
	r.err = row != NULL ? row->err : TF_E_SERVER_ERROR;
	k->refusals++;
	k->refused = k->grant_least;
	k->room_tokens = wire_has(m, GRANT_REFUSE, room_tokens) ? m->room_tokens : UINT64_MAX;
	k->room_money = wire_has(m, GRANT_REFUSE, room_money) ? m->room_money : UINT64_MAX;
	if (gw_admit_modest(k)) {
		gw_admit_pump(t, k);
		return;
	}
	if (m->transient) {
		k->grant_again = tf_mono_ms() + GW_TRANSIENT_MS;
		k->short_err = r.err;
		return;
	}
	r.message = m->message.n ? message : NULL;
	r.all = r.err == TF_E_RATE_LIMIT_EXCEEDED && ((m->limit != 0 && m->remaining == 0) ||
	    (k->own_rpm != 0 && wire_has(m, GRANT_REFUSE, key_remaining) && m->key_remaining == 0));
	gw_admit_turn_away(k, &r);
	if (k->admitting.n > 0)
		gw_admit_pump(t, k);
}

/* ---- more output than was reserved ------------------------------------------------------------ */

/*
 * Has billingd said no, or nothing for too long? What others may give back later is of no use: nobody holds the runtime
 * back until then.
 */
static bool
gw_extend_hopeless(struct gw_req *req, const struct gw_amount *piece, uint64_t now)
{
	struct gw_key *k = req->key;
	bool here = gw_thread_billing_fresh(req->t);

	if (k->refusals != req->short_refusals && gw_covers(piece, &k->refused))
		return true;
	if (!here && req->conf->c->gatewayd.serve_unmetered)
		return false;
	return now - req->short_since >= (here ? GW_TRANSIENT_MAX_MS : GW_WAIT_MS);
}

static bool
gw_extend_try(struct gw_req *req, const struct gw_amount *piece, uint64_t now)
{
	/*
	 * The record will name the windows of the admission. What a later minute gave stays taken in that minute, to
	 * its end: it was for tokens of that minute.
	 */
	if (!gw_grant_take(req, piece, now))
		return false;
	req->need_output += piece->v[GW_U_TOKENS];
	req->short_since = 0;
	gw_grant_ahead(req->t, req->key, now);
	return true;
}

void
gw_admit_extend(struct gw_req *req)
{
	struct gw_key *k = req->key;
	uint64_t now, whole, tokens = (uint64_t)GW_TRANCHE * req->head->n;
	struct gw_amount piece;

	if (req->last_piece) {
		if (req->out_tokens >= req->need_output)
			gw_attempt_cancel(req, WIRE_CANCEL_LENGTH);
		return;
	}
	if (!req->admitted || req->unmetered || req->cancelled || req->out_tokens + tokens / 4 < req->need_output ||
	    req->need_output >= req->most_output)
		return;
	if (tokens > req->most_output - req->need_output)
		tokens = req->most_output - req->need_output;
	whole = tokens;
	if (req->short_since != 0 && k->refusals != req->short_refusals) /* less than a whole piece may be left */
		tokens = gw_need_fit(req, tokens, k->room_tokens, k->room_money);
	piece = gw_need_output(req, tokens);
	now = tf_mono_ms();
	if (tokens == 0) {
		if (req->out_tokens >= req->need_output)
			gw_attempt_cancel(req, WIRE_CANCEL_LENGTH);
		else if (now - req->short_since >= GW_EXTEND_AGAIN_MS)
			req->short_since = 0; /* somebody may have given back meanwhile */
		return;
	}
	if (gw_extend_try(req, &piece, now)) {
		req->last_piece = tokens < whole; /* the runtime does not wait for another answer like that */
		return;
	}
	if (req->short_since == 0) {
		req->short_since = now;
		req->short_refusals = k->refusals;
	}
	if (now >= k->grant_again)
		gw_grant_ask(req->t, k, &piece);
	/* what is reserved may be used up, then the answer ends with length */
	if (req->out_tokens >= req->need_output && gw_extend_hopeless(req, &piece, now))
		gw_attempt_cancel(req, WIRE_CANCEL_LENGTH);
}

/* ---- the end of a reservation ------------------------------------------------------------------ */

/* Behind the newest one. False without memory. */
static bool
gw_settling_room(struct gw_thread *t)
{
	size_t cap = t->settling_cap > 0 ? t->settling_cap * 2 : 256;
	struct gw_settling *v;

	if (t->settling_n < t->settling_cap)
		return true;
	v = malloc(cap * sizeof *v);
	if (v == NULL)
		return false;
	for (size_t i = 0; i < t->settling_n; i++)
		v[i] = t->settling[(t->settling_at + i) % t->settling_cap];
	free(t->settling);
	t->settling = v;
	t->settling_at = 0;
	t->settling_cap = cap;
	return true;
}

/* What it did not use counts as there at once, though billingd will know of it only when the record is durable. */
static void
gw_settling_add(struct gw_req *req, uint64_t seq, uint64_t used)
{
	struct gw_thread *t = req->t;
	struct gw_key *k = req->key;
	uint64_t reserved = req->reserved.v[GW_U_TOKENS];
	struct gw_settling s = {
		.seq = seq, .key = k, .windows = req->windows, .reserved = req->reserved,
		.back = reserved > used ? reserved - used : 0, .granted_by = req->granted_by,
	};

	if (!gw_settling_room(t))
		return; /* then less is shown as left for a moment */
	t->settling[(t->settling_at + t->settling_n++) % t->settling_cap] = s;
	k->refs++;
	gw_room_settle(&k->space->minute, s.windows.v[GW_W_MINUTE], s.back);
	gw_room_settle(&k->minute, s.windows.v[GW_W_KEY], s.back);
	gw_room_settle(&k->space->budget, s.windows.v[GW_W_BUDGET], s.back);
}

void
gw_admit_reserved(const struct gw_req *req, struct wire_usage *m)
{
	const uint64_t *v = req->reserved.v;

	m->reserved = v[GW_U_TOKENS];
	m->reserved_money = v[GW_U_MONEY];
	m->reserved_images = v[GW_U_IMAGES];
	m->reserved_audio_ms = v[GW_U_AUDIO_MS];
	m->reserved_slots = v[GW_U_SLOTS];
}

void
gw_admit_settle(struct gw_req *req, uint64_t used, struct wire_usage *m)
{
	gw_admit_reserved(req, m);
	if (req->key->space != NULL && req->admitted && !req->unmetered)
		gw_settling_add(req, m->seq, used);
	req->reserved = (struct gw_amount){ { 0 } };
}

void
gw_admit_settled(struct gw_thread *t, uint64_t seq)
{
	while (t->settling_n > 0 && t->settling[t->settling_at].seq <= seq) {
		struct gw_settling *s = &t->settling[t->settling_at];
		struct gw_key *k = s->key;

		t->settling_at = (t->settling_at + 1) % t->settling_cap;
		t->settling_n--;
		k->refs--;
		gw_room_settled(&k->space->minute, s->windows.v[GW_W_MINUTE], s->back);
		gw_room_settled(&k->minute, s->windows.v[GW_W_KEY], s->back);
		gw_room_settled(&k->space->budget, s->windows.v[GW_W_BUDGET], s->back);
	}
}

void
gw_admit_settling_free(struct gw_thread *t)
{
	gw_admit_settled(t, UINT64_MAX);
	free(t->settling);
	t->settling = NULL;
	t->settling_cap = 0;
}

/* ---- time and ends ---------------------------------------------------------------------------- */

static void
gw_admit_late(struct gw_key *k, uint64_t now)
{
	struct tf_node *e;

	while ((e = tf_list_first(&k->admitting)) != NULL) {
		struct gw_req *req = TF_CONTAINER(e, struct gw_req, wait);
		bool here = gw_thread_billing_fresh(req->t), go = gw_admit_unmetered(req);
		int err = TF_E_RATE_LIMIT_EXCEEDED; /* whatever is short: it will be there when others have ended */

		if (k->short_err == TF_E_CONCURRENCY_EXCEEDED)
			err = k->short_err;
		if (!here)
			err = TF_E_OVERLOADED;
		if (!go && now - req->wait_since < (here ? GW_TRANSIENT_MAX_MS : GW_WAIT_MS))
			return; /* in order of arrival: the rest is younger */
		tf_list_remove(&k->admitting, e);
		gw_infer_admitted(req, go ? 0 : err, NULL, 1);
	}
}

void
gw_admit_key_tick(struct gw_thread *t, struct gw_key *k, uint64_t now)
{
	gw_grant_key_tick(t, k, now);
	gw_admit_late(k, now);
	if (k->admitting.n > 0 && !k->granting)
		gw_admit_pump(t, k);
}

struct gw_declared { /* what stands behind one request or one record */
	const struct gw_key *key;
	const struct gw_windows *windows;
	const struct gw_amount *reserved;
	uint64_t seq;         /* of its record; 0: it runs */
	uint64_t *granted_by; /* boot of the billingd that counted its request; from now on this one has */
};

static void
gw_declare(struct wire_peer *p, const struct gw_declared *d)
{
	const uint64_t *w = d->windows->v, *v = d->reserved->v;
	struct wire_declare m = {
		.key = tf_span(d->key->id, sizeof d->key->id), .window = w[GW_W_MINUTE], .window_key = w[GW_W_KEY],
		.window_budget = w[GW_W_BUDGET], .window_month = w[GW_W_MONTH], .reserved = v[GW_U_TOKENS],
		.reserved_money = v[GW_U_MONEY], .reserved_images = v[GW_U_IMAGES],
		.reserved_audio_ms = v[GW_U_AUDIO_MS], .reserved_slots = v[GW_U_SLOTS],
		.requests = v[GW_U_REQUESTS] > 0 && *d->granted_by != p->boot,
	};

	if (d->seq != 0)
		wire_set(&m, DECLARE, seq, d->seq);
	*d->granted_by = p->boot;
	(void)wire_send_declare(p, NULL, 0, &m, (struct tf_span){ 0 });
}

/* Each by itself, for each names its own windows: running requests, and records on their way into the ledger. */
static void
gw_declare_all(struct gw_thread *t, struct wire_peer *p)
{
	struct gw_req *req;
	size_t pos = 0;

	while ((req = tf_map_next(&t->reqs, &pos)) != NULL)
		if (req->admitted && !req->unmetered && req->reserved.v[GW_U_REQUESTS] > 0)
			gw_declare(p, &(struct gw_declared){ req->key, &req->windows, &req->reserved, 0, &req->granted_by });
	for (size_t i = 0; i < t->settling_n; i++) {
		struct gw_settling *s = &t->settling[(t->settling_at + i) % t->settling_cap];

		gw_declare(p, &(struct gw_declared){ s->key, &s->windows, &s->reserved, s->seq, &s->granted_by });
	}
}

/*
 * A billingd that was restarted knows nothing of what we hold, and of what was on its way when a link broke neither side
 * knows whether it arrived. So all is told anew behind each hello, and no grant of before is used.
 */
void
gw_admit_declare(struct gw_thread *t)
{
	struct wire_peer *p = gw_billing(t);
	struct wire_declare bare = { 0 };
	struct tf_node *e, *tmp;

	if (p == NULL)
		return;
	TF_LIST_EACH(&t->keys_lru, e, tmp)
		gw_grant_ask_forget(t, TF_CONTAINER(e, struct gw_key, lru)); /* it will not be answered */
	gw_grant_void(t);
	wire_set(&bare, DECLARE, first, 1);
	(void)wire_send_declare(p, NULL, 0, &bare, (struct tf_span){ 0 });
	gw_declare_all(t, p);
	bare = (struct wire_declare){ 0 };
	wire_set(&bare, DECLARE, last, 1);
	(void)wire_send_declare(p, NULL, 0, &bare, (struct tf_span){ 0 });
	TF_LIST_EACH(&t->keys_busy, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, busy);

		if (k->admitting.n > 0)
			gw_admit_pump(t, k);
	}
}
