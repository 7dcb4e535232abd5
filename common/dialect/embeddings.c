/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_embeddings surface: POST /embeddings. Texts go to the runtime as they are; vectors come back in
 * whatever order and form it has, and reach the client ordered by index in the form it asked for, a list of
 * numbers or base64, with every bit kept. The answer is taken entry by entry: what is held is what is sent.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat.h"
#include "common/dialect/plain.h"
#include "common/dialect/split.h"
#include "common/dialect/vector.h"

#define INPUTS_MAX 2048
#define TOKENS_MAX 300000             /* of all inputs that are given as token ids */
#define DL_TOKEN_MAX 0x7fffffff
#define DIMENSIONS_MAX 65536          /* of one vector */
#define ENTRY_MAX (4u << 20)          /* of an answer, bytes */
#define HELD_MAX ((size_t)256 << 20)  /* of all entries: 2048 vectors of 4096 numbers take up to 180 MB */

/* ---- the request ------------------------------------------------------------------------- */

enum field {
#define FIELD(sym, path, types, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_embeddings.def"
#undef FIELD
};
enum { SEEN_MODEL = 1, SEEN_INPUT = 2 };

static int
on_entry(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_plain *p = &s->plain;

	if (p->kind == JS_NONE)
		p->kind = (uint8_t)v->hit->type;
	if (p->kind != v->hit->type)
		return dl_scan_refuse(s, v, "must be %s, like the entries before it", js_type_name((enum js_type)p->kind));
	if (v->hit->type == JS_NUMBER) {
		uint64_t id;

		p->tokens++;
		return js_get_u64(v->text, &id) < 0 || id > DL_TOKEN_MAX ? dl_scan_refuse(s, v, "is no token id") : 0;
	}
	if (v->hit->type == JS_STRING ? v->hit->text == 0 : v->hit->count == 0)
		return dl_scan_refuse(s, v, "must not be empty");
	if (v->hit->index[0] >= INPUTS_MAX)
		return dl_scan_refuse_at(s, "input", "input must not have more than %d entries.", INPUTS_MAX);
	return 0;
}

static int
on_input(struct dl_scan *s, const struct dl_value *v)
{
	s->plain.seen |= SEEN_INPUT;
	s->head.prompt_bytes = v->hit->text;
	s->head.messages = v->hit->type == JS_ARRAY && s->plain.kind != JS_NUMBER ? v->hit->count : 1;
	return 0;
}

static int
value(struct dl_scan *s, const struct dl_value *v)
{
	switch ((enum field)v->id) {
	case FIELD_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case FIELD_MODEL:
		s->plain.seen |= SEEN_MODEL;
		return dl_scan_model(s, v);
	case FIELD_INPUT:
		return on_input(s, v);
	case FIELD_ENTRY:
		return on_entry(s, v);
	case FIELD_TOKEN:
		s->plain.tokens++;
		return 0;
	case FIELD_ENCODING:
		if (v->hit->type == JS_STRING && !js_str_eq(v->text, "float") && !js_str_eq(v->text, "base64"))
			return dl_scan_refuse(s, v, "must be float or base64");
		return 0;
	default:
		return 0;
	}
}

static int
end(struct dl_scan *s, struct tf_span body)
{
	struct dl_scan_plain *p = &s->plain;

	(void)body;
	if (!(p->seen & SEEN_MODEL))
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(p->seen & SEEN_INPUT))
		return dl_scan_refuse_at(s, "input", "input is required.");
	if (p->tokens > TOKENS_MAX)
		return dl_scan_refuse_at(s, "input", "input must not have more than %d tokens.", TOKENS_MAX);
	/* the estimate takes three and a half bytes for a token */
	s->head.prompt_bytes += p->tokens * 7 / 2;
	s->head.needs |= DL_NEED_EMBEDDINGS;
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help)                                     \
	{ path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_embeddings.def"
#undef FIELD
};

static const struct dl_fields fields = { rows, TF_LEN(rows), value, end };

/* ---- one attempt ------------------------------------------------------------------------- */

struct state {
	bool base64;         /* what the client wants */
	uint64_t dimensions; /* that it asked for; 0: none */
	uint32_t inputs;
	struct dl_split split;
	struct tf_buf *vector; /* inputs of them: the entries for the client, by index */
	struct tf_buf scratch;
	size_t held;
};

static void
forget(struct state *st)
{
	for (uint32_t i = 0; st->vector != NULL && i < st->inputs; i++)
		tf_buf_free(&st->vector[i]);
	free(st->vector);
	st->vector = NULL;
	tf_buf_free(&st->scratch);
	dl_split_fini(&st->split);
	st->held = 0;
}

static void
fini(struct dl_job *j)
{
	forget(j->state);
}

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct tf_span object = tf_span(body.p + j->head->root.start, j->head->root.end - j->head->root.start), v;
	struct state *st = j->state;

	st->inputs = j->head->messages;
	st->base64 = js_member(object, "encoding_format", &v) && js_str_eq(v, "base64");
	st->dimensions = 0;
	if (js_member(object, "dimensions", &v) && js_get_u64(v, &st->dimensions) < 0)
		st->dimensions = 0;
	return st->inputs == 0 || st->inputs > INPUTS_MAX ? TF_E_INVAL : dl_job_splice(j, body, out);
}

static enum dl_way
begin(struct dl_job *j, struct tf_span content_type)
{
	static const char *const lists[] = { "data", NULL };
	struct state *st = j->state;

	(void)content_type;
	forget(st);
	dl_split_init(&st->split, lists, false, ENTRY_MAX);
	return DL_WAY_BYTES;
}

/* The vector in the form that the client wants, appended; *n: how long it is. */
static int
convert(struct state *st, struct tf_span v, int64_t *n, struct tf_buf *out)
{
	struct tf_span text = v;
	int r;

	if (js_type(v) == JS_ARRAY) {
		*n = dl_vector_count(v);
		if (*n <= 0)
			return TF_E_INVAL;
		if (!st->base64)
			return tf_buf_addspan(out, v);
	} else {
		/* a slash may be escaped */
		tf_buf_reset(&st->scratch);
		r = js_type(v) == JS_STRING ? js_str(v, &st->scratch, &text) : TF_E_INVAL;
		if (r < 0)
			return r;
		*n = dl_vector_count64(text);
		if (*n <= 0)
			return TF_E_INVAL;
		if (!st->base64)
			return dl_vector_decode(text, out);
	}
	r = tf_buf_addc(out, '"');
	if (r == 0 && js_type(v) == JS_ARRAY) {
		r = dl_vector_encode(v, out);
	} else if (r == 0) {
		size_t from = out->n;

		/* only what decodes is base64 */
		r = tf_b64_decode(text, out);
		out->n = from;
		if (r == 0)
			r = tf_buf_addspan(out, text);
	}
	return r == 0 ? tf_buf_addc(out, '"') : r;
}

static int
on_vector(void *arg, uint32_t position, struct tf_span entry)
{
	static const char *const ours[] = { "object", "index", "embedding", NULL };
	struct dl_job *j = arg;
	struct state *st = j->state;
	struct tf_span v;
	struct tf_buf *to;
	uint64_t index = position;
	int64_t n = 0;
	int r;

	if (js_member(entry, "index", &v) && js_get_u64(v, &index) < 0)
		return TF_E_INVAL;
	if (index >= st->inputs || st->vector[index].n > 0 || !js_member(entry, "embedding", &v))
		return TF_E_INVAL;
	to = &st->vector[index];
	r = tf_buf_printf(to, "{\"object\":\"embedding\",\"index\":%u,\"embedding\":", (unsigned)index);
	if (r == 0)
		r = convert(st, v, &n, to);
	if (r == 0)
		r = dl_job_others(entry, ours, to);
	if (r == 0)
		r = tf_buf_addc(to, '}');
	if (r < 0)
		return r;
	if (st->dimensions != 0 && (uint64_t)n != st->dimensions)
		return dl_job_refuse(j, "dimensions", "This model gives vectors of %lld dimensions, not of %llu.",
		    (long long)n, (unsigned long long)st->dimensions);
	st->held += to->n;
	return n > DIMENSIONS_MAX || st->held > HELD_MAX ? TF_E_FULL : 0;
}

static int
bytes(struct dl_job *j, struct tf_span piece, struct tf_buf *out)
{
	struct state *st = j->state;

	(void)out;
	if (st->vector == NULL)
		st->vector = calloc(st->inputs, sizeof *st->vector);
	return st->vector != NULL ? dl_split_feed(&st->split, piece, on_vector, j) : TF_E_NOMEM;
}

static int
put_all(struct dl_job *j, struct tf_span rest, struct tf_buf *out)
{
	static const char *const ours[] = { "object", "data", "model", "usage", NULL };
	struct state *st = j->state;
	struct tf_span usage = { 0 };
	int r = tf_buf_reserve(out, st->held + st->inputs + rest.n);

	if (r == 0)
		r = tf_buf_addstr(out, "{\"object\":\"list\",\"data\":[");
	for (uint32_t i = 0; r == 0 && i < st->inputs; i++) {
		r = i > 0 ? tf_buf_addc(out, ',') : 0;
		if (r == 0)
			r = tf_buf_addspan(out, tf_buf_span(&st->vector[i]));
		tf_buf_free(&st->vector[i]);
	}
	if (r == 0)
		r = tf_buf_addstr(out, "],\"model\":");
	if (r == 0)
		r = js_quote(out, j->conf->asked);
	if (r == 0)
		r = dl_job_others(rest, ours, out);
	if (r == 0)
		r = tf_buf_addstr(out, ",\"usage\":");
	(void)js_member(rest, "usage", &usage);
	if (r == 0)
		r = dl_job_put_usage(j, usage, out);
	return r == 0 ? tf_buf_addc(out, '}') : r;
}

static int
finish(struct dl_job *j, struct tf_buf *out)
{
	struct state *st = j->state;
	size_t from = out->n;
	struct tf_span rest;
	int r = dl_split_end(&st->split, &rest);

	if (r < 0)
		return r;
	if (dl_job_error(j, rest) || st->split.count != st->inputs)
		return TF_E_INVAL;
	r = put_all(j, rest, out);
	if (r < 0)
		out->n = from;
	forget(st);
	return r;
}

static const struct dl_plain plain = {
	.size = sizeof(struct state),
	.request = request,
	.begin = begin,
	.bytes = bytes,
	.end = finish,
	.fini = fini,
};

const struct dl_ops dl_openai_embeddings = {
	.init = dl_vector_init,
	.error_event = chat_error_event,
	.fields = &fields,
	.plain = &plain,
};
