/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One scan over a chunk or an answer of the openai_chat dialect: finds the spans that matter and
 * the members nobody modelled. Called for every token of every stream; allocates only while it
 * grows.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat.h"

enum {
	M_ROOT,
	M_ID,
	M_OBJECT,
	M_CREATED,
	M_MODEL,
	M_USAGE,
	M_ERROR,
	M_CHOICES,
	M_EXTRA,
	M_CHOICE,
	M_INDEX,
	M_BODY,
	M_FINISH,
	M_LOGPROBS,
	M_MATCHED,
	M_CHOICE_EXTRA,
	M_ROLE,
	M_CONTENT,
	M_REASONING,
	M_REASONING_2,
	M_REFUSAL,
	M_CALLS,
	M_OLD_CALL,
	M_BODY_EXTRA,
};

/* clang-format off */
#define ANSWER \
	{ "", M_ROOT, 0 }, \
	{ "id", M_ID, JS_UNIQUE }, \
	{ "object", M_OBJECT, JS_UNIQUE }, \
	{ "created", M_CREATED, JS_UNIQUE }, \
	{ "model", M_MODEL, JS_UNIQUE }, \
	{ "usage", M_USAGE, JS_UNIQUE }, \
	{ "error", M_ERROR, JS_UNIQUE }, \
	{ "choices", M_CHOICES, JS_UNIQUE }, \
	{ "*", M_EXTRA, 0 }, \
	{ "choices[*]", M_CHOICE, JS_AT_START }, \
	{ "choices[*].index", M_INDEX, JS_UNIQUE }, \
	{ "choices[*].finish_reason", M_FINISH, JS_UNIQUE }, \
	{ "choices[*].logprobs", M_LOGPROBS, JS_UNIQUE }
#define BODY(name) \
	{ "choices[*]." name, M_BODY, JS_UNIQUE }, \
	{ "choices[*]." name ".role", M_ROLE, JS_UNIQUE }, \
	{ "choices[*]." name ".content", M_CONTENT, JS_UNIQUE }, \
	{ "choices[*]." name ".reasoning_content", M_REASONING, JS_UNIQUE }, \
	{ "choices[*]." name ".reasoning", M_REASONING_2, JS_UNIQUE }, \
	{ "choices[*]." name ".refusal", M_REFUSAL, JS_UNIQUE }, \
	{ "choices[*]." name ".tool_calls", M_CALLS, JS_UNIQUE }, \
	{ "choices[*]." name ".function_call", M_OLD_CALL, JS_UNIQUE }, \
	{ "choices[*]." name ".*", M_BODY_EXTRA, 0 }
/* clang-format on */

/* A member given twice would mean one thing here and another to the client: such a chunk is malformed. */
static const struct js_path paths[] = {
	ANSWER,
	{ "choices[*].stop_reason", M_MATCHED, JS_UNIQUE },
	{ "choices[*].matched_stop", M_MATCHED, JS_UNIQUE },
	{ "choices[*].*", M_CHOICE_EXTRA, 0 },
	BODY("delta"),
	BODY("message"),
};

/* Of the older API: text, no messages. */
static const struct js_path bare_paths[] = {
	ANSWER,
	{ "choices[*].text", M_CONTENT, JS_UNIQUE },
	{ "choices[*].*", M_CHOICE_EXTRA, 0 },
};

static struct js_interest *interest, *bare_interest;

int
chat_msg_init(void)
{
	int r = js_interest_new(paths, TF_LEN(paths), &interest);

	return r == 0 ? js_interest_new(bare_paths, TF_LEN(bare_paths), &bare_interest) : r;
}

void
chat_msg_exit(void)
{
	js_interest_free(&interest);
	js_interest_free(&bare_interest);
}

static void
add_extra(struct chat_msg *m, enum dl_level level, const struct js_hit *h)
{
	struct chat_extra *x;

	if (m->nextra == CHAT_EXTRAS)
		return;
	x = &m->extra[m->nextra++];
	x->level = level;
	x->piece = level == DL_LEVEL_TOP ? 0 : h->index[0];
	x->key = tf_span(m->data.p + h->key, h->keyend - h->key);
	x->value = js_hit_text(m->data.p, h);
}

static int
begin_piece(struct chat_msg *m, const struct js_hit *h)
{
	struct chat_piece *v;

	if (h->index[0] >= DL_CHOICES_MAX)
		return TF_E_FULL;
	v = tf_grow(m->piece, h->index[0], &m->cap, sizeof *v, 2);
	if (v == NULL)
		return TF_E_NOMEM;
	m->piece = v;
	memset(&m->piece[h->index[0]], 0, sizeof m->piece[0]);
	m->npiece = h->index[0] + 1;
	return 0;
}

/* Values at the top of the object. */
static int
top_hit(struct chat_msg *m, const struct js_hit *h, struct tf_span v)
{
	switch (h->id) {
	case M_ROOT:
		return h->type == JS_OBJECT ? 0 : TF_E_INVAL;
	case M_ID:
		m->id = h->type == JS_STRING ? v : tf_span(NULL, 0);
		return 0;
	case M_OBJECT:
		m->object = v;
		return 0;
	case M_CREATED:
		m->created = h->type == JS_NUMBER ? v : tf_span(NULL, 0);
		return 0;
	case M_MODEL:
		m->model = v;
		return 0;
	case M_USAGE:
		m->usage_key = tf_span(m->data.p + h->key, h->end - h->key);
		m->usage = h->type == JS_OBJECT ? v : tf_span(NULL, 0);
		return 0;
	case M_ERROR:
		if (h->type != JS_NULL)
			m->error = v;
		return 0;
	case M_CHOICES:
		m->choices = h->type == JS_ARRAY;
		return 0;
	default:
		add_extra(m, DL_LEVEL_TOP, h);
		return 0;
	}
}

static void
choice_hit(struct chat_msg *m, struct chat_piece *p, const struct js_hit *h, struct tf_span v)
{
	uint64_t n;

	switch (h->id) {
	case M_INDEX:
		p->has_index = h->type == JS_NUMBER && js_get_u64(v, &n) == 0;
		p->index = p->has_index ? (uint32_t)(n < UINT32_MAX ? n : UINT32_MAX) : 0;
		return;
	case M_BODY:
		p->odd = p->odd || p->body.n > 0;
		p->is_delta = h->keyend - h->key == sizeof "\"delta\"" - 1;
		p->body = h->type == JS_OBJECT ? v : tf_span(NULL, 0);
		return;
	case M_FINISH:
		if (h->type == JS_STRING && h->text > 0)
			p->finish = v;
		p->odd = p->odd || (h->type != JS_NULL && p->finish.n == 0);
		return;
	case M_LOGPROBS:
		p->has_logprobs = true;
		if (h->type == JS_OBJECT)
			p->logprobs = v;
		p->odd = p->odd || (h->type != JS_NULL && h->type != JS_OBJECT);
		return;
	case M_MATCHED:
		if (h->type == JS_STRING)
			p->matched = v;
		add_extra(m, DL_LEVEL_CHOICE, h);
		return;
	case M_CHOICE_EXTRA:
		add_extra(m, DL_LEVEL_CHOICE, h);
		return;
	default:
		return;
	}
}

static void
body_hit(struct chat_msg *m, struct chat_piece *p, const struct js_hit *h, struct tf_span v)
{
	/* none of these is anything but text, a list or null where it is understood */
	p->odd = p->odd ||
	    (h->id != M_BODY_EXTRA && h->id != M_OLD_CALL && h->type != JS_NULL &&
		h->type != JS_STRING && h->type != JS_ARRAY);
	switch (h->id) {
	case M_ROLE:
		p->has_role = js_str_eq(v, "assistant");
		p->odd = p->odd || (!p->has_role && h->type != JS_NULL);
		return;
	case M_CONTENT:
		if (h->type == JS_STRING || h->type == JS_ARRAY)
			p->content = v;
		return;
	case M_REASONING:
	case M_REASONING_2:
		if (h->type == JS_STRING && p->reasoning.n <= 2)
			p->reasoning = v;
		return;
	case M_REFUSAL:
		p->has_refusal = true;
		if (h->type == JS_STRING)
			p->refusal = v;
		return;
	case M_CALLS:
		if (h->type == JS_ARRAY && h->count > 0)
			p->calls = v;
		p->odd = p->odd || (h->type == JS_ARRAY && h->count == 0);
		return;
	case M_OLD_CALL:
		if (h->type == JS_OBJECT)
			p->old_call = v;
		return;
	default:
		add_extra(m, DL_LEVEL_MESSAGE, h);
		return;
	}
}

static int
on_hit(void *arg, const struct js_hit *h)
{
	struct chat_msg *m = arg;
	struct tf_span v = js_hit_text(m->data.p, h);

	if (h->id < M_CHOICE)
		return top_hit(m, h, v);
	if (h->id == M_CHOICE) {
		if (h->type != JS_OBJECT)
			return TF_E_INVAL;
		if (h->begin)
			return begin_piece(m, h);
		m->piece[m->npiece - 1].whole = v;
		return 0;
	}
	if (h->index[0] >= m->npiece)
		return TF_E_INVAL; /* choices given twice */
	if (h->id < M_ROLE)
		choice_hit(m, &m->piece[h->index[0]], h, v);
	else
		body_hit(m, &m->piece[h->index[0]], h, v);
	return 0;
}

int
chat_msg_parse(struct chat_msg *m, struct tf_span data)
{
	struct js_scan s;

	m->data = data;
	m->id = m->created = m->model = m->object = m->error = m->usage = m->usage_key =
	    tf_span(NULL, 0);
	m->choices = false;
	m->npiece = m->nextra = 0;
	js_scan_init(&s, m->bare ? bare_interest : interest, on_hit, m);
	return js_scan_end(&s, data.p, data.n);
}

void
chat_msg_fini(struct chat_msg *m)
{
	free(m->piece);
	m->piece = NULL;
	m->cap = m->npiece = 0;
}
