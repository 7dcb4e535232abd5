/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scan makes of the fields of a completions request: the facts of the head, and the rules
 * that types and ranges cannot say (fields_openai_completions.def has those). Called by scan.c for
 * each value in the order of the text; must not depend on that order.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/completions.h"

enum {
	SEEN_MODEL = 1,
	SEEN_PROMPT = 2,
	SEEN_MAX_TOKENS = 4,
	SEEN_BEST_OF = 8,
};
enum { /* what the list of prompts holds */
	HOLDS_TEXTS = 1,
	HOLDS_TOKENS = 2,
	HOLDS_LISTS = 4,
};

/* ---- the prompt -------------------------------------------------------------------------- */

#define PIECE 1024 /* of the prompt: each is hashed behind the ones before it */

/* Requests that begin alike are best served by the same replica. */
static void
prefixes(struct dl_scan *s, struct tf_span text)
{
	for (unsigned i = 0; i < DL_PREFIX_MAX && text.n > 0; i++) {
		size_t n = text.n < PIECE ? text.n : PIECE;

		dl_scan_prefix(s, tf_span(text.p, n));
		text = tf_span(text.p + n, text.n - n);
	}
}

static int
on_prompt(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_completions *c = &s->completions;

	c->seen |= SEEN_PROMPT;
	s->head.prompt_bytes += v->hit->text + c->tokens;
	c->prompts = 1;
	if (v->hit->type == JS_ARRAY && !(c->holds & HOLDS_TOKENS))
		c->prompts = v->hit->count;
	s->head.messages = c->prompts;
	if (c->prompts > 1 || c->tokens > 0)
		s->head.needs |= DL_NEED_COMPLETIONS;
	prefixes(s, v->text);
	return 0;
}

static int
on_one(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_completions *c = &s->completions;
	unsigned bit = v->hit->type == JS_STRING ? HOLDS_TEXTS : v->hit->type == JS_NUMBER ? HOLDS_TOKENS : HOLDS_LISTS;

	if (bit == HOLDS_LISTS && v->hit->count == 0)
		return dl_scan_refuse(s, v, "must not be empty");
	c->holds |= (uint8_t)bit;
	if ((c->holds & (c->holds - 1)) != 0)
		return dl_scan_refuse_at(
		    s, "prompt", "prompt must hold either texts, or token ids, or lists of token ids.");
	c->tokens += bit == HOLDS_TOKENS;
	return 0;
}

/* ---- settings ---------------------------------------------------------------------------- */

static int
on_count(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_completions *c = &s->completions;
	uint64_t n;

	if (v->hit->type != JS_NUMBER)
		return v->id == COMPLETIONS_MAX_TOKENS ? dl_scan_member(s, DL_WHY_EMPTY, v->hit) : 0;
	if (js_get_u64(v->text, &n) < 0)
		return dl_scan_refuse(s, v, "is out of range");
	switch (v->id) {
	case COMPLETIONS_N:
		c->n = n;
		s->head.needs |= n > 1 ? DL_NEED_N : 0;
		return 0;
	case COMPLETIONS_BEST_OF:
		c->best_of = n;
		c->seen |= SEEN_BEST_OF;
		return 0;
	default:
		c->max_tokens = n;
		c->seen |= SEEN_MAX_TOKENS;
		s->head.max_tokens = dl_range_member(v->hit);
		return 0;
	}
}

static int
in_settings(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_head *h = &s->head;
	bool yes = v->text.n > 0 && v->text.p[0] == 't';

	switch ((enum completions_field)v->id) {
	case COMPLETIONS_STREAM:
		h->stream = yes;
		h->needs |= yes ? DL_NEED_STREAM : 0;
		h->stream_at = dl_range_value(v->hit);
		return 0;
	case COMPLETIONS_OPTIONS:
		h->options = dl_range_member(v->hit);
		return 0;
	case COMPLETIONS_INCLUDE_USAGE:
		h->include_usage = yes;
		return 0;
	case COMPLETIONS_ECHO:
		h->flags |= yes ? DL_HEAD_ECHO : 0;
		return 0;
	case COMPLETIONS_SUFFIX:
		h->prompt_bytes += v->hit->text;
		return 0;
	case COMPLETIONS_LOGPROBS:
		h->needs |= v->hit->type == JS_NUMBER ? DL_NEED_LOGPROBS : 0;
		return 0;
	case COMPLETIONS_CACHE_KEY:
		h->affinity = v->hit->type == JS_STRING && v->hit->text > 0 ? tf_hash(v->text, 1) | 1 : 0;
		return 0;
	default:
		return 0;
	}
}

static int
completions_value(struct dl_scan *s, const struct dl_value *v)
{
	switch ((enum completions_field)v->id) {
	case COMPLETIONS_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case COMPLETIONS_MODEL:
		s->completions.seen |= SEEN_MODEL;
		return dl_scan_model(s, v);
	case COMPLETIONS_PROMPT:
		return on_prompt(s, v);
	case COMPLETIONS_PROMPT_ONE:
		return on_one(s, v);
	case COMPLETIONS_PROMPT_TOKEN:
		s->completions.tokens++;
		return 0;
	case COMPLETIONS_MAX_TOKENS:
	case COMPLETIONS_N:
	case COMPLETIONS_BEST_OF:
		return on_count(s, v);
	default:
		return in_settings(s, v);
	}
}

/* ---- the end ----------------------------------------------------------------------------- */

static int
completions_end(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_completions *c = &s->completions;
	struct dl_head *h = &s->head;
	uint64_t n = c->n > 0 ? c->n : 1;

	(void)body;
	if (!(c->seen & SEEN_MODEL))
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(c->seen & SEEN_PROMPT))
		return dl_scan_refuse_at(s, "prompt", "prompt is required.");
	if ((c->seen & SEEN_BEST_OF) && c->best_of > 0 && c->best_of < n)
		return dl_scan_refuse_at(s, "best_of", "best_of must not be below n.");
	if (c->best_of > 1 && h->stream)
		return dl_scan_refuse_at(s, "best_of", "best_of cannot be streamed.");
	if (c->best_of > n)
		n = c->best_of;
	if (c->prompts > DL_CHOICES_MAX / n)
		return dl_scan_refuse_at(s, c->prompts > DL_CHOICES_MAX ? "prompt" : "n",
		    "A request may ask for at most %d answers, prompts times n.", DL_CHOICES_MAX);
	h->n = (uint32_t)(n * c->prompts);
	h->needs |= DL_NEED_TEXT;
	/* none at all may be asked for, as when a prompt is only to be scored */
	h->max_output = !(c->seen & SEEN_MAX_TOKENS) ? COMPLETIONS_DEFAULT_CAP : c->max_tokens > 0 ? c->max_tokens : 1;
	dl_scan_prefix_end(s, tf_span(NULL, 0));
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help) { path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_completions.def"
#undef FIELD
};

const struct dl_fields completions_fields = { rows, TF_LEN(rows), completions_value, completions_end };

const struct dl_field *
completions_field_by_name(struct tf_span name)
{
	for (size_t i = 0; i < TF_LEN(rows); i++)
		if (tf_span_is(name, rows[i].path))
			return &rows[i];
	return NULL;
}
