/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_rerank surface: POST /rerank, which OpenAI itself does not have; the shape is that of Jina and
 * Cohere. Runtimes answer {"results":[{"index","relevance_score"}]}, {"data":[..]}, or a bare list with "score";
 * the client gets the first, best first, no more than it asked for, with its own documents if it wants them.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat.h"
#include "common/dialect/plain.h"
#include "common/dialect/raw.h"
#include "common/dialect/split.h"

#define DOCUMENTS_MAX 10000
#define ENTRY_MAX (8u << 20) /* of an answer, bytes: runtimes repeat the document in it */

/* ---- the request ------------------------------------------------------------------------- */

enum field {
#define FIELD(sym, path, types, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_rerank.def"
#undef FIELD
};
enum { SEEN_MODEL = 1, SEEN_QUERY = 2, SEEN_DOCUMENTS = 4, SEEN_TEXT = 8 };

static int
on_document(struct dl_scan *s, const struct dl_value *v)
{
	if (v->hit->begin) {
		s->plain.seen &= ~(uint32_t)SEEN_TEXT;
		return 0;
	}
	if (v->hit->index[0] >= DOCUMENTS_MAX)
		return dl_scan_refuse_at(s, "documents", "documents must not have more than %d entries.", DOCUMENTS_MAX);
	if (v->hit->type == JS_OBJECT && !(s->plain.seen & SEEN_TEXT))
		return dl_scan_refuse(s, v, "has no text");
	return 0;
}

static int
value(struct dl_scan *s, const struct dl_value *v)
{
	struct dl_scan_plain *p = &s->plain;

	switch ((enum field)v->id) {
	case FIELD_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case FIELD_MODEL:
		p->seen |= SEEN_MODEL;
		return dl_scan_model(s, v);
	case FIELD_QUERY:
		p->seen |= SEEN_QUERY;
		p->query = v->hit->text;
		return 0;
	case FIELD_DOCUMENTS:
		p->seen |= SEEN_DOCUMENTS;
		s->head.messages = v->hit->count;
		s->head.prompt_bytes = v->hit->text;
		return 0;
	case FIELD_DOCUMENT:
		return on_document(s, v);
	case FIELD_TEXT:
		p->seen |= SEEN_TEXT;
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
	if (!(p->seen & SEEN_QUERY))
		return dl_scan_refuse_at(s, "query", "query is required.");
	if (!(p->seen & SEEN_DOCUMENTS))
		return dl_scan_refuse_at(s, "documents", "documents is required.");
	/* the model reads the query with each document anew */
	s->head.prompt_bytes += p->query * s->head.messages;
	s->head.needs |= DL_NEED_RERANK;
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help)                                     \
	{ path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_rerank.def"
#undef FIELD
};

static const struct dl_fields fields = { rows, TF_LEN(rows), value, end };

/* ---- one attempt ------------------------------------------------------------------------- */

struct result {
	uint32_t index;
	double score;
	size_t at, n; /* its text, in scores */
};

struct state {
	uint32_t documents;
	uint64_t top; /* results that the client wants at most */
	struct tf_buf kept;  /* the documents, when they are to be answered: a JSON list */
	struct dl_split split;
	struct result *result; /* documents of them */
	uint32_t n;
	bool *seen; /* by index */
	struct tf_buf scores;
};

static void
forget(struct state *st)
{
	dl_split_fini(&st->split);
	free(st->result);
	free(st->seen);
	st->result = NULL;
	st->seen = NULL;
	st->n = 0;
	tf_buf_free(&st->scores);
}

static void
fini(struct dl_job *j)
{
	struct state *st = j->state;

	forget(st);
	tf_buf_free(&st->kept);
}

/* The documents as a list of strings, which every runtime takes. */
static int
put_texts(struct tf_span documents, struct tf_buf *out)
{
	struct tf_span one, text;
	struct js_iter it;
	int r = tf_buf_addc(out, '[');
	bool some = false;

	js_iter_init(&it, documents);
	while (r == 0 && js_iter_next(&it, NULL, &one)) {
		if (js_type(one) == JS_OBJECT && js_member(one, "text", &text))
			one = text;
		r = some ? tf_buf_addc(out, ',') : 0;
		if (r == 0)
			r = tf_buf_addspan(out, one);
		some = true;
	}
	return r == 0 ? tf_buf_addc(out, ']') : r;
}

static bool
is_denied(const struct dl_head *h, size_t key)
{
	for (uint32_t i = 0; i < h->nmember; i++)
		if (key == h->member[i].at.start)
			return true;
	return false;
}

static int
put_member(struct dl_job *j, struct tf_span key, struct tf_span v, struct tf_buf *out)
{
	bool texts = (j->conf->quirks & DL_Q_RERANK_TEXTS) != 0;
	int r;

	if (js_str_eq(key, "return_documents") || (texts && js_str_eq(key, "model")))
		return 0;
	r = out->p[out->n - 1] == '{' ? 0 : tf_buf_addc(out, ',');
	if (r == 0)
		r = texts && js_str_eq(key, "documents") ? tf_buf_addstr(out, "\"texts\"") : tf_buf_addspan(out, key);
	if (r == 0)
		r = tf_buf_addc(out, ':');
	if (r < 0)
		return r;
	if (js_str_eq(key, "model"))
		return js_quote(out, j->conf->model);
	return js_str_eq(key, "documents") ? put_texts(v, out) : tf_buf_addspan(out, v);
}

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct tf_span object = tf_span(body.p + j->head->root.start, j->head->root.end - j->head->root.start), key, v;
	struct state *st = j->state;
	struct js_iter it;
	int r;

	st->documents = j->head->messages;
	st->top = st->documents;
	if (js_member(object, "top_n", &v) && js_type(v) == JS_NUMBER && js_get_u64(v, &st->top) < 0)
		return TF_E_INVAL;
	tf_buf_reset(&st->kept);
	if (js_member(object, "return_documents", &v) && v.p[0] == 't' && js_member(object, "documents", &v) &&
	    tf_buf_addspan(&st->kept, v) < 0)
		return TF_E_NOMEM;
	r = st->documents == 0 || st->documents > DOCUMENTS_MAX ? TF_E_INVAL : tf_buf_addc(out, '{');
	js_iter_init(&it, object);
	while (r == 0 && js_iter_next(&it, &key, &v))
		if (!is_denied(j->head, (size_t)(key.p - body.p)))
			r = put_member(j, key, v, out);
	if (r == 0)
		r = tf_buf_addc(out, '}');
	return r == 0 ? dl_raw_dropped(j->head, body, j->dropped) : r;
}

/* Text Embeddings Inference has it beside /v1, not below. */
static const char *
path(const struct dl_job *j)
{
	return j->conf->quirks & DL_Q_RERANK_TEXTS ? "/../rerank" : "/rerank";
}

static enum dl_way
begin(struct dl_job *j, struct tf_span content_type)
{
	static const char *const lists[] = { "results", "data", NULL };
	struct state *st = j->state;

	(void)content_type;
	forget(st);
	dl_split_init(&st->split, lists, true, ENTRY_MAX);
	return DL_WAY_BYTES;
}

static int
on_result(void *arg, uint32_t position, struct tf_span entry)
{
	struct state *st = arg;
	struct result *res;
	struct tf_span v;
	uint64_t index;

	(void)position;
	if (!js_member(entry, "index", &v) || js_get_u64(v, &index) < 0 || index >= st->documents || st->seen[index])
		return TF_E_INVAL;
	st->seen[index] = true;
	res = &st->result[st->n++];
	res->index = (uint32_t)index;
	if (!js_member(entry, "relevance_score", &v) && !js_member(entry, "score", &v))
		return TF_E_INVAL;
	if (js_get_double(v, &res->score) < 0)
		return TF_E_INVAL;
	res->at = st->scores.n;
	res->n = v.n;
	return tf_buf_addspan(&st->scores, v);
}

static int
bytes(struct dl_job *j, struct tf_span piece, struct tf_buf *out)
{
	struct state *st = j->state;

	(void)out;
	if (st->result == NULL) {
		st->result = calloc(st->documents, sizeof *st->result);
		st->seen = calloc(st->documents, sizeof *st->seen);
	}
	return st->result != NULL && st->seen != NULL ? dl_split_feed(&st->split, piece, on_result, st) : TF_E_NOMEM;
}

/* Best first; of equals the one that came first in the request. */
static int
compare(const void *pa, const void *pb)
{
	const struct result *a = pa, *b = pb;

	if (a->score != b->score)
		return a->score > b->score ? -1 : 1;
	return a->index < b->index ? -1 : a->index > b->index;
}

static int
put_document(struct tf_span one, struct tf_buf *out)
{
	bool text = js_type(one) == JS_STRING;
	int r = tf_buf_addstr(out, text ? ",\"document\":{\"text\":" : ",\"document\":");

	if (r == 0)
		r = tf_buf_addspan(out, one);
	return r == 0 && text ? tf_buf_addc(out, '}') : r;
}

static int
put_results(struct state *st, const struct tf_span *document, struct tf_buf *out)
{
	uint32_t n = st->top < st->n ? (uint32_t)st->top : st->n;
	int r = 0;

	qsort(st->result, st->n, sizeof *st->result, compare);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		const struct result *res = &st->result[i];

		r = tf_buf_printf(out, "%s{\"index\":%u,\"relevance_score\":", i > 0 ? "," : "", res->index);
		if (r == 0)
			r = tf_buf_append(out, st->scores.p + res->at, res->n);
		if (r == 0 && document != NULL)
			r = put_document(document[res->index], out);
		if (r == 0)
			r = tf_buf_addc(out, '}');
	}
	return r;
}

static int
put_all(struct dl_job *j, struct tf_span rest, const struct tf_span *document, struct tf_buf *out)
{
	static const char *const ours[] = { "model", "results", "data", "usage", NULL };
	struct tf_span usage = { 0 };
	int r = tf_buf_addstr(out, "{\"model\":");

	if (r == 0)
		r = js_quote(out, j->conf->asked);
	if (r == 0)
		r = dl_job_others(rest, ours, out);
	if (r == 0)
		r = tf_buf_addstr(out, ",\"results\":[");
	if (r == 0)
		r = put_results(j->state, document, out);
	if (r == 0)
		r = tf_buf_addstr(out, "],\"usage\":");
	if (!js_member(rest, "usage", &usage))
		(void)js_at(rest, "meta.tokens", &usage);
	if (r == 0)
		r = dl_job_put_usage(j, usage, out);
	return r == 0 ? tf_buf_addc(out, '}') : r;
}

static int
finish(struct dl_job *j, struct tf_buf *out)
{
	struct state *st = j->state;
	struct tf_span *document = NULL, rest;
	size_t from = out->n;
	struct js_iter it;
	int r = dl_split_end(&st->split, &rest);

	if (r < 0)
		return r;
	if (dl_job_error(j, rest) || st->n == 0)
		return TF_E_INVAL;
	if (st->kept.n > 0) {
		document = calloc(st->documents, sizeof *document);
		if (document == NULL)
			return TF_E_NOMEM;
		js_iter_init(&it, tf_buf_span(&st->kept));
		for (uint32_t i = 0; i < st->documents && js_iter_next(&it, NULL, &document[i]); i++)
			;
	}
	r = put_all(j, rest, document, out);
	free(document);
	if (r < 0)
		out->n = from;
	forget(st);
	return r;
}

static const struct dl_plain plain = {
	.size = sizeof(struct state),
	.request = request,
	.path = path,
	.begin = begin,
	.bytes = bytes,
	.end = finish,
	.fini = fini,
};

const struct dl_ops dl_openai_rerank = {
	.error_event = chat_error_event,
	.fields = &fields,
	.plain = &plain,
};
