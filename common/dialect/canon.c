/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of a canonical request and what decoders need to build one. Called by the dialects; must
 * not know any of them.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/canon.h"

#define BLOCK 8192
#define ALIGN 16

struct dl_block {
	struct dl_block *next;
	max_align_t data[];
};

void *
dl_arena_alloc(struct dl_arena *a, size_t n)
{
	struct dl_block *b;
	size_t size;
	void *p;

	if (n > SIZE_MAX / 2)
		return NULL;
	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (a->at == NULL || (size_t)(a->end - a->at) < n) {
		size = n > BLOCK / 4 ? n : BLOCK;
		b = malloc(sizeof *b + size);
		if (b == NULL)
			return NULL;
		b->next = a->blocks;
		a->blocks = b;
		if (n > BLOCK / 4)
			return memset(b->data, 0, n);
		a->at = (char *)b->data;
		a->end = a->at + size;
	}
	p = a->at;
	a->at += n;
	return memset(p, 0, n);
}

struct tf_span
dl_arena_dup(struct dl_arena *a, struct tf_span s)
{
	char *p = s.n > 0 ? dl_arena_alloc(a, s.n) : NULL;

	if (p == NULL)
		return tf_span(NULL, 0);
	memcpy(p, s.p, s.n);
	return tf_span(p, s.n);
}

void
dl_arena_free(struct dl_arena *a)
{
	struct dl_block *b;

	while ((b = a->blocks) != NULL) {
		a->blocks = b->next;
		free(b);
	}
	memset(a, 0, sizeof *a);
}

void
dl_request_init(struct dl_request *rq, enum dl_dialect origin)
{
	memset(rq, 0, sizeof *rq);
	rq->origin = rq->extras.origin = origin;
}

void
dl_request_fini(struct dl_request *rq)
{
	dl_arena_free(&rq->arena);
	tf_buf_free(&rq->scratch);
	tf_buf_free(&rq->dropped);
	memset(rq, 0, sizeof *rq);
}

int
dl_rq_str(struct dl_request *rq, struct tf_span text, struct tf_span *out)
{
	int r;

	tf_buf_reset(&rq->scratch);
	r = js_str(text, &rq->scratch, out);
	if (r < 0)
		return r;
	if (out->n == 0 || out->p != rq->scratch.p)
		return 0;
	*out = dl_arena_dup(&rq->arena, *out);
	return out->p != NULL ? 0 : TF_E_NOMEM;
}

int
dl_rq_extra(struct dl_request *rq, struct dl_extras *x, struct tf_span key, struct tf_span value)
{
	struct dl_extra *e = dl_arena_alloc(&rq->arena, sizeof *e);

	if (e == NULL)
		return TF_E_NOMEM;
	e->key = key;
	e->value = value;
	x->origin = rq->origin;
	if (x->last != NULL)
		x->last->next = e;
	else
		x->first = e;
	x->last = e;
	return 0;
}

int
dl_rq_stop(struct dl_request *rq, struct tf_span v)
{
	struct dl_extras list = { 0 };
	struct js_iter it;
	struct tf_span el;
	int r = 0;

	if (js_type(v) == JS_STRING)
		r = dl_rq_extra(rq, &list, tf_span(NULL, 0), v);
	js_iter_init(&it, v);
	while (r == 0 && js_iter_next(&it, NULL, &el))
		r = dl_rq_extra(rq, &list, tf_span(NULL, 0), el);
	for (struct dl_extra *x = list.first; r == 0 && x != NULL; x = x->next)
		r = dl_rq_str(rq, x->value, &x->value);
	rq->sampling.stop = list.first;
	return r;
}

struct dl_turn *
dl_rq_turn(struct dl_request *rq, enum dl_role role)
{
	struct dl_turn *t = dl_arena_alloc(&rq->arena, sizeof *t);

	if (t == NULL)
		return NULL;
	t->role = role;
	if (rq->last != NULL)
		rq->last->next = t;
	else
		rq->turns = t;
	rq->last = t;
	return t;
}

struct dl_part *
dl_rq_part(
    struct dl_request *rq, struct dl_part **first, struct dl_part **last, enum dl_part_kind kind)
{
	struct dl_part *p = dl_arena_alloc(&rq->arena, sizeof *p);

	if (p == NULL)
		return NULL;
	p->kind = kind;
	if (*last != NULL)
		(*last)->next = p;
	else
		*first = p;
	*last = p;
	return p;
}

struct dl_tool *
dl_rq_tool(struct dl_request *rq, enum dl_tool_kind kind)
{
	struct dl_tool *t = dl_arena_alloc(&rq->arena, sizeof *t);

	if (t == NULL)
		return NULL;
	t->kind = kind;
	if (rq->last_tool != NULL)
		rq->last_tool->next = t;
	else
		rq->tools = t;
	rq->last_tool = t;
	return t;
}

int
dl_note_dropped(struct tf_buf *list, struct tf_span name)
{
	const char *p = list->n > 0 ? list->p : "", *end = p + list->n;
	int r = 0;

	for (const char *to; p < end; p = to + 1) {
		to = memchr(p, ',', (size_t)(end - p));
		to = to != NULL ? to : end;
		if (tf_span_eq(tf_span(p, (size_t)(to - p)), name))
			return 0;
	}
	if (list->n > 0)
		r = tf_buf_addc(list, ',');
	return r < 0 ? r : tf_buf_addspan(list, name);
}

int
dl_note_hints(const struct dl_request *rq, uint32_t can, struct tf_buf *dropped)
{
	const struct dl_sampling *s = &rq->sampling;
	const struct {
		const char *name;
		bool given;
		uint32_t bit;
	} hints[] = {
		{ "frequency_penalty", s->frequency_penalty.set && s->frequency_penalty.v != 0, 0 },
		{ "presence_penalty", s->presence_penalty.set && s->presence_penalty.v != 0, 0 },
		{ "seed", s->has_seed, 0 },
		{ "logit_bias", s->logit_bias.n > 2, 0 },
		{ "top_k", s->top_k.set, DL_HINT_TOP_K },
		{ "prompt_cache_key", rq->cache_key.n > 0, DL_HINT_CACHE_KEY },
		{ "verbosity", rq->verbosity.n > 0, DL_HINT_VERBOSITY },
		{ "chat_template_kwargs", rq->thinking.template.n > 0, 0 },
		{ "audio", rq->audio.n > 0, 0 },
		{ "service_tier", rq->tier.n > 0, DL_HINT_TIER },
		{ "safety_identifier", rq->safety_id.n > 0, DL_HINT_SAFETY_ID },
		{ "metadata", rq->metadata.n > 2, DL_HINT_METADATA },
	};
	struct tf_buf scratch = { 0 };
	struct tf_span name;
	int r = 0;

	for (size_t i = 0; r == 0 && i < TF_LEN(hints); i++)
		if (hints[i].given && !(can & hints[i].bit))
			r = dl_note_dropped(dropped, tf_cspan(hints[i].name));
	for (const struct dl_extra *x = rq->extras.first; r == 0 && x != NULL; x = x->next) {
		tf_buf_reset(&scratch);
		r = js_str(x->key, &scratch, &name);
		/* a name as clients write them; anything else is no name of a field */
		if (r == 0 && name.n <= 64 && memchr(name.p, ',', name.n) == NULL)
			r = dl_note_dropped(dropped, name);
	}
	tf_buf_free(&scratch);
	return r;
}

bool
dl_tool_allowed(const struct dl_request *rq, const struct dl_tool *t)
{
	struct tf_span el, name;
	struct js_iter it;

	if (t->kind == DL_TOOL_RAW)
		return false;
	if (rq->choice.allowed.n == 0)
		return true;
	js_iter_init(&it, rq->choice.allowed);
	while (js_iter_next(&it, NULL, &el))
		if ((js_at(el, "function.name", &name) || js_at(el, "custom.name", &name) || js_member(el, "name", &name)) &&
		    js_str_eqn(name, t->name))
			return true;
	return false;
}

bool
dl_choice_by_word(const struct dl_request *rq, uint32_t quirks)
{
	return rq->choice.mode == DL_CHOICE_NAMED && (quirks & DL_Q_CHOICE_WORD);
}

bool
dl_tool_offered(const struct dl_request *rq, uint32_t quirks, const struct dl_tool *t)
{
	return dl_choice_by_word(rq, quirks) ? tf_span_eq(rq->choice.name, t->name) : dl_tool_allowed(rq, t);
}

#define NAME_MAX_OC 64 /* longest name of a tool that runtimes take, bytes */
#define NAME_KEPT 55   /* of a longer one: so much of it, '_' and 8 hexadecimal digits */

bool
dl_plain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

int
dl_plain_name(struct tf_buf *out, size_t from)
{
	char hex[2 * TF_SHA256 + 1];
	uint8_t hash[TF_SHA256];
	bool good = true;
	int r;

	for (size_t i = from; i < out->n; i++)
		good = good && dl_plain_char(out->p[i]);
	if (good && out->n - from <= NAME_MAX_OC)
		return 0;
	/* the same every time: history has the names too */
	tf_sha256(out->p + from, out->n - from, hash);
	tf_hex(hash, sizeof hash, hex);
	if (out->n - from > NAME_KEPT)
		out->n = from + NAME_KEPT;
	for (size_t i = from; i < out->n; i++)
		if (!dl_plain_char(out->p[i]))
			out->p[i] = '_';
	r = tf_buf_addc(out, '_');
	return r < 0 ? r : tf_buf_append(out, hex, 8);
}

void *
dl_choices(void *v, uint32_t n, uint32_t *count, size_t size)
{
	if (n < *count)
		return v;
	if (n >= DL_CHOICES_MAX || (v = realloc(v, (n + 1) * size)) == NULL)
		return NULL;
	memset((char *)v + *count * size, 0, (n + 1 - *count) * size);
	*count = n + 1;
	return v;
}

void
dl_mint_id(
    char *out, size_t cap, const char *prefix, const struct tf_id *rid, uint32_t a, uint32_t b)
{
	static const char digits[] =
	    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint8_t seed[sizeof rid->b + 8], hash[TF_SHA256];
	size_t n = 0;

	memcpy(seed, rid->b, sizeof rid->b);
	memcpy(seed + sizeof rid->b, &a, 4);
	memcpy(seed + sizeof rid->b + 4, &b, 4);
	tf_sha256(seed, sizeof seed, hash);
	while (*prefix != '\0' && n + 1 < cap)
		out[n++] = *prefix++;
	for (size_t i = 0; i < 24 && n + 1 < cap; i++)
		out[n++] = digits[hash[i] % 62];
	out[n] = '\0';
}

#define SEAL_MARK "tfr1." /* what it is, and in which form */

int
dl_seal(const uint8_t *key, struct tf_span text, struct tf_buf *out)
{
	struct tf_buf sealed = { 0 };
	int r;

	if (key == NULL)
		return TF_E_INVAL;
	r = tf_seal(key, text, &sealed);
	if (r == 0)
		r = tf_buf_addstr(out, SEAL_MARK);
	if (r == 0)
		r = tf_b64_encode(tf_buf_span(&sealed), out);
	tf_buf_free(&sealed);
	return r;
}

bool
dl_sealed(struct tf_span token)
{
	return token.n >= sizeof SEAL_MARK - 1 && memcmp(token.p, SEAL_MARK, sizeof SEAL_MARK - 1) == 0;
}

int
dl_unseal(const uint8_t *key, struct tf_span token, struct tf_buf *out)
{
	size_t mark = sizeof SEAL_MARK - 1;
	struct tf_buf sealed = { 0 };
	int r;

	if (key == NULL || !dl_sealed(token))
		return TF_E_INVAL;
	r = tf_b64_decode(tf_span(token.p + mark, token.n - mark), &sealed);
	if (r == 0)
		r = tf_unseal(key, tf_buf_span(&sealed), out);
	tf_buf_free(&sealed);
	return r;
}
