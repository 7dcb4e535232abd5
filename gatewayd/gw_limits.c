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

/* Under the names that clients of the Anthropic API read; the reset is RFC 3339 there. */
static void
gw_limit_anthropic(struct http_fields *f, const char *what, const struct gw_limit *l)
{
	time_t t = (time_t)l->reset;
	char name[64], text[32];
	struct tm tm;

	snprintf(name, sizeof name, "anthropic-ratelimit-%s-limit", what);
	http_fields_addf(f, name, "%llu", (unsigned long long)l->limit);
	snprintf(name, sizeof name, "anthropic-ratelimit-%s-remaining", what);
	http_fields_addf(f, name, "%llu", (unsigned long long)l->left);
	snprintf(name, sizeof name, "anthropic-ratelimit-%s-reset", what);
	if (gmtime_r(&t, &tm) != NULL && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		http_fields_add(f, name, text);
}

/* Under those that clients of the OpenAI API read; the reset is a span there. */
static void
gw_limit_openai(struct http_fields *f, const char *what, const struct gw_limit *l, int64_t now)
{
	char name[64];

	snprintf(name, sizeof name, "x-ratelimit-limit-%s", what);
	http_fields_addf(f, name, "%llu", (unsigned long long)l->limit);
	snprintf(name, sizeof name, "x-ratelimit-remaining-%s", what);
	http_fields_addf(f, name, "%llu", (unsigned long long)l->left);
	snprintf(name, sizeof name, "x-ratelimit-reset-%s", what);
	http_fields_addf(f, name, "%llds", (long long)(l->reset > now ? l->reset - now : 0));
}

/* Input and output draw on one limit, so the kinds of tokens that the Anthropic API tells apart share it. */
static void
gw_limit_family(const struct gw_req *req, struct http_fields *f, bool tokens, const struct gw_limit *l, int64_t now)
{
	static const char *const kinds[] = { "tokens", "input-tokens", "output-tokens" };

	if (!req->anthropic)
		gw_limit_openai(f, tokens ? "tokens" : "requests", l, now);
	else if (!tokens)
		gw_limit_anthropic(f, "requests", l);
	for (size_t i = 0; req->anthropic && tokens && i < TF_LEN(kinds); i++)
		gw_limit_anthropic(f, kinds[i], l);
}

void
gw_limits_key(struct gw_key *k, const struct wire_key *m)
{
	struct gw_told minute = { m->window, m->remaining, m->tokens_left, gw_reset_second(m->reset_ms) };
	struct gw_told own = { m->window_key, m->key_remaining, m->key_tokens_left, gw_reset_second(m->key_reset_ms) };
	struct gw_told budget = { m->window_budget, 0, m->budget, gw_reset_second(m->budget_reset_ms) };

	if (wire_has(m, KEY, remaining))
		gw_room_told(&k->space->minute, &minute);
	if (wire_has(m, KEY, key_remaining))
		gw_room_told(&k->minute, &own);
	k->space->budgeted = wire_has(m, KEY, budget);
	if (k->space->budgeted)
		gw_room_told(&k->space->budget, &budget);
}

void
gw_limits_left(struct gw_thread *t, const struct wire_left *m)
{
	struct gw_space *s = m->workspace.n == 16 ? tf_map_get(&t->spaces, m->workspace) : NULL;
	struct gw_told minute = { m->window, m->remaining, m->tokens_left, gw_reset_second(m->reset_ms) };
	struct gw_told own = { m->window_key, m->key_remaining, m->key_tokens_left, gw_reset_second(m->key_reset_ms) };
	struct gw_told budget = { m->window_budget, 0, m->budget, gw_reset_second(m->budget_reset_ms) };
	struct tf_node *e, *tmp;

	if (s == NULL)
		return;
	if (wire_has(m, LEFT, window))
		gw_room_told(&s->minute, &minute);
	if (wire_has(m, LEFT, budget))
		gw_room_told(&s->budget, &budget);
	if (!wire_has(m, LEFT, key_remaining))
		return;
	TF_LIST_EACH(&s->keys, e, tmp) {
		struct gw_key *k = TF_CONTAINER(e, struct gw_key, of_space);

		if (m->key.n == sizeof k->id && memcmp(m->key.p, k->id, sizeof k->id) == 0)
			gw_room_told(&k->minute, &own);
	}
}

/* With no window running the next request opens a full one, behind which top-ups stand that we know of no more. */
static uint64_t
gw_budget_left(const struct gw_req *req, int64_t now)
{
	const struct gw_room *r = &req->key->space->budget;
	const struct conf_plan *plan;

	if (r->window == 0 || r->reset == 0 || r->reset > now)
		return r->tokens_left + r->tokens_held + r->tokens_back;
	plan = conf_find_plan(req->conf->c, tf_cspan(req->key->plan));
	return plan != NULL ? (uint64_t)plan->window_tokens : 0;
}

/* The limit of the key or that of its workspace, whichever leaves less. */
void
gw_limits_fields(const struct gw_req *req, struct http_fields *f)
{
	const struct gw_key *k = req->key;
	const struct gw_space *s = k->space;
	int64_t now = tf_wall_s();
	struct gw_limit all[2], own[2];
	const struct gw_limit *r, *t;

	for (unsigned tokens = 0; tokens < 2; tokens++) {
		uint64_t limit = tokens ? k->tpm : k->rpm;

		all[tokens] = gw_room_limit(&s->minute, tokens, limit, now, GW_MINUTE);
		own[tokens] = gw_room_limit(&k->minute, tokens, tokens ? k->own_tpm : k->own_rpm, now, GW_MINUTE);
	}
	r = gw_limit_tighter(&all[0], &own[0]);
	t = gw_limit_tighter(&all[1], &own[1]);
	if (r->limit != 0) {
		http_fields_addf(f, "x-ratelimit-limit", "%llu", (unsigned long long)r->limit);
		http_fields_addf(f, "x-ratelimit-remaining", "%llu", (unsigned long long)r->left);
		http_fields_addf(f, "x-ratelimit-reset", "%lld", (long long)r->reset);
		gw_limit_family(req, f, false, r, now);
	}
	if (t->limit != 0)
		gw_limit_family(req, f, true, t, now);
	if (s->budgeted && s->budget.known)
		http_fields_addf(f, "x-token-budget-remaining", "%llu", (unsigned long long)gw_budget_left(req, now));
}
