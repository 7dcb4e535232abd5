/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits as every answer to a known key says them: in the product's own fields and in those that
 * the clients of the called API read. Never above the truth. Called by gw_req.c.
 */
#include "config.h"

#include <stdio.h>
#include <time.h>

#include "gatewayd/gw.h"
#include "gatewayd/gw_limit.h"

#define GW_MINUTE 60

/* ---- fields ------------------------------------------------------------------------------------ */

/* Under the names that clients of the Anthropic API read; the reset is RFC 3339 there. */
static void
gw_limit_anthropic(struct http_fields *f, const char *what, const struct gw_limit *l)
{
	time_t t = (time_t)l->reset;
	char name[64], text[32];
	struct tm tm;

	snprintf(name, sizeof name, "anthropic-ratelimit-%s-limit", what);
	http_fields_add_u64(f, name, l->limit, "");
	snprintf(name, sizeof name, "anthropic-ratelimit-%s-remaining", what);
	http_fields_add_u64(f, name, l->left, "");
	snprintf(name, sizeof name, "anthropic-ratelimit-%s-reset", what);
	if (gmtime_r(&t, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		http_fields_add(f, name, text);
}

/* Under those that clients of the OpenAI API read; the reset is a span there. */
static void
gw_limit_openai(struct http_fields *f, bool tokens, const struct gw_limit *l, int64_t now)
{
	uint64_t reset = l->reset > now ? (uint64_t)(l->reset - now) : 0;

	http_fields_add_u64(f, tokens ? "x-ratelimit-limit-tokens" : "x-ratelimit-limit-requests", l->limit, "");
	http_fields_add_u64(f, tokens ? "x-ratelimit-remaining-tokens" : "x-ratelimit-remaining-requests", l->left, "");
	http_fields_add_u64(f, tokens ? "x-ratelimit-reset-tokens" : "x-ratelimit-reset-requests", reset, "s");
}

/* Input and output draw on one limit, so the kinds of tokens that the Anthropic API tells apart share it. */
static void
gw_limit_family(const struct gw_req *req, struct http_fields *f, bool tokens, const struct gw_limit *l, int64_t now)
{
	static const char *const kinds[] = { "tokens", "input-tokens", "output-tokens" };

	if (!req->anthropic)
		gw_limit_openai(f, tokens, l, now);
	else if (!tokens)
		gw_limit_anthropic(f, "requests", l);
	for (size_t i = 0; req->anthropic && tokens && i < TF_LEN(kinds); i++)
		gw_limit_anthropic(f, kinds[i], l);
}

/* ---- what billingd says ------------------------------------------------------------------------ */

void
gw_limits_key(struct gw_thread *t, struct gw_key *k, const struct wire_key *m)
{
	const struct wire_peer *p = gw_billing(t);
	struct gw_space *s = k->space;
	struct tf_node *e, *tmp;

	if (wire_has(m, KEY, remaining))
		gw_room_told(&s->minute, &GW_TOLD_MINUTE(m));
	if (wire_has(m, KEY, key_remaining))
		gw_room_told(&k->minute, &GW_TOLD_KEY(m));
	s->budgeted = wire_has(m, KEY, budget);
	if (s->budgeted)
		gw_room_told(&s->budget, &GW_TOLD_BUDGET(m));
	s->board_of = p != NULL ? p->boot : 0;
	s->board = (uint32_t)m->board;
	k->board = (uint32_t)m->board_key;
	if (!s->changed)
		return;
	s->changed = false;
	gw_room_forget(&s->minute);
	gw_room_forget(&s->budget);
	TF_LIST_EACH(&s->keys, e, tmp)
		gw_room_forget(&TF_CONTAINER(e, struct gw_key, of_space)->minute);
}

void
gw_limits_board(struct gw_thread *t)
{
	const struct wire_peer *p = gw_billing(t);
	int rc;

	if (p == NULL || (t->board != NULL && wire_board_boot(t->board) == p->boot))
		return;
	wire_board_close(&t->board);
	rc = wire_board_open(t->conf->c->common.run_dir, p->boot, &t->board);
	if (rc != 0 && t->board_missed != p->boot)
		tf_log(TF_WARN, "limits", NULL, "billingd's board cannot be read: clients are told of less than what is left"
		    " thread=%s error=%s", t->name, tf_err_text(rc));
	t->board_missed = rc != 0 ? p->boot : 0;
}

/* ---- what is left ------------------------------------------------------------------------------ */

/* Nobody else can have been granted anything since billingd told us. */
static bool
gw_limits_alone(const struct gw_req *req, const struct gw_room *r)
{
	const struct wire_board *b = req->t->board;

	return b != NULL && r->alone != 0 && r->alone == wire_board_joins(b);
}

/* What the board says. NULL: nothing. */
static const struct wire_room *
gw_limits_seen(const struct gw_req *req, uint32_t slot, struct wire_room *room)
{
	struct wire_board *b = req->t->board;

	if (b == NULL || slot == 0 || req->key->space->board_of != wire_board_boot(b) || !wire_board_get(b, slot, room))
		return NULL;
	return room;
}

struct gw_looked { /* at one window */
	struct gw_room *room;
	uint32_t slot;
	uint64_t limit[2]; /* of requests, of tokens; 0: none */
};

static void
gw_limits_minute(const struct gw_req *req, const struct gw_looked *w, uint64_t now_ms, struct gw_limit out[static 2])
{
	bool alone = gw_limits_alone(req, w->room);
	const struct wire_room *seen;
	struct wire_room room;

	seen = alone ? NULL : gw_limits_seen(req, w->slot, &room);
	for (unsigned tokens = 0; tokens < 2; tokens++)
		out[tokens] = alone ? gw_room_limit(w->room, tokens, w->limit[tokens], (int64_t)(now_ms / 1000), GW_MINUTE)
		    : gw_room_shared(w->room, seen, tokens, w->limit[tokens], now_ms, GW_MINUTE);
}

/* With no window running the next request opens a full one, behind which top-ups stand that we know of no more. */
static uint64_t
gw_budget_whole(const struct gw_req *req)
{
	const struct conf_plan *plan = conf_find_plan(req->conf->c, tf_cspan(req->key->plan));

	return plan != NULL ? (uint64_t)plan->window_tokens : 0;
}

static uint64_t
gw_budget_left(const struct gw_req *req, uint64_t now_ms)
{
	struct gw_space *s = req->key->space;
	const struct gw_room *r = &s->budget;
	uint64_t left;
	const struct wire_room *seen;
	struct wire_room room;

	if (gw_limits_alone(req, r)) {
		if (r->window == 0 || r->reset == 0 || r->reset > (int64_t)(now_ms / 1000))
			return r->tokens_left + r->tokens_held + r->tokens_back;
		return gw_budget_whole(req);
	}
	seen = gw_limits_seen(req, s->board != 0 ? s->board + 1 : 0, &room);
	if (seen != NULL && seen->window == 0)
		return seen->tokens;
	left = gw_room_shared(&s->budget, seen, true, UINT64_MAX, now_ms, 0).left;
	return left != UINT64_MAX ? left : gw_budget_whole(req); /* it has ended */
}

/* The limit of the key or that of its workspace, whichever leaves less. */
void
gw_limits_fields(const struct gw_req *req, struct http_fields *f)
{
	struct gw_key *k = req->key;
	struct gw_space *s = k->space;
	uint64_t now_ms = (uint64_t)(tf_wall_ns() / 1000000);
	int64_t now = (int64_t)(now_ms / 1000);
	struct gw_limit all[2], own[2];
	const struct gw_limit *r, *t;

	gw_limits_minute(req, &(struct gw_looked){ &s->minute, s->board, { k->rpm, k->tpm } }, now_ms, all);
	gw_limits_minute(req, &(struct gw_looked){ &k->minute, k->board, { k->own_rpm, k->own_tpm } }, now_ms, own);
	r = gw_limit_tighter(&all[0], &own[0]);
	t = gw_limit_tighter(&all[1], &own[1]);
	if (r->limit != 0) {
		http_fields_add_u64(f, "x-ratelimit-limit", r->limit, "");
		http_fields_add_u64(f, "x-ratelimit-remaining", r->left, "");
		http_fields_add_u64(f, "x-ratelimit-reset", (uint64_t)r->reset, "");
		gw_limit_family(req, f, false, r, now);
	}
	if (t->limit != 0)
		gw_limit_family(req, f, true, t, now);
	if (s->budgeted && (s->budget.known || s->board != 0))
		http_fields_add_u64(f, "x-token-budget-remaining", gw_budget_left(req, now_ms), "");
}
