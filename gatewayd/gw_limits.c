/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits as every answer to a known key says them: in the product's own fields and in those that
 * the clients of the called API read. Never above the truth. Called by gw_req.c.
 */
#include "config.h"

#include <stdio.h>
#include <time.h>

#include "gatewayd/gw.h"

struct gw_limit { /* of the minute window */
	uint64_t limit, left;
	int64_t reset; /* seconds since 1970 */
};

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

static uint64_t
gw_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A window that has ended, or none yet: the next request opens a full one. */
void
gw_limits_fields(const struct gw_req *req, struct http_fields *f)
{
	const struct gw_space *s = req->key->space;
	int64_t now = tf_wall_s();
	bool runs = s->reset > now;
	struct gw_limit r = { .limit = s->limit ? s->limit : req->key->rpm, .reset = runs ? s->reset : now + 60 };
	struct gw_limit t = { .limit = req->key->tpm, .reset = r.reset };

	r.left = runs ? gw_least(s->remaining + s->held, r.limit) : r.limit;
	t.left = runs ? gw_least(s->tokens_left + s->tokens_held, t.limit) : t.limit;
	if (r.limit != 0) {
		http_fields_addf(f, "x-ratelimit-limit", "%llu", (unsigned long long)r.limit);
		http_fields_addf(f, "x-ratelimit-remaining", "%llu", (unsigned long long)r.left);
		http_fields_addf(f, "x-ratelimit-reset", "%lld", (long long)r.reset);
		gw_limit_family(req, f, false, &r, now);
	}
	if (t.limit != 0)
		gw_limit_family(req, f, true, &t, now);
	if (s->budget != UINT64_MAX)
		http_fields_addf(f, "x-token-budget-remaining", "%llu", (unsigned long long)s->budget);
}
