/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of this folder (dialects, needs, quirks), faults, and the error bodies of both API
 * families. Called by everybody; must not know what is inside a dialect.
 */
#include "config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/canon.h"
#include "common/dialect/field.h"

struct dialect_row {
	const char *name, *path;
	enum dl_family family;
	const struct dl_ops *ops;
};

static const struct dialect_row dialects[DL_DIALECT_END] = {
#define DIALECT(sym, number, name, family, path, ops)                                              \
	[number] = { name, path, DL_FAMILY_##family, &ops },
#include "common/dialect/dialect.def"
#undef DIALECT
};

static struct js_interest *interests[DL_DIALECT_END];

static const struct dialect_row *
row(enum dl_dialect d)
{
	return (size_t)d < TF_LEN(dialects) && dialects[d].name != NULL ? &dialects[d] : NULL;
}

const struct dl_ops *
dl_ops(enum dl_dialect d)
{
	return row(d) != NULL ? row(d)->ops : NULL;
}

const struct js_interest *
dl_interest(enum dl_dialect d)
{
	return row(d) != NULL ? interests[d] : NULL;
}

static int
compile(enum dl_dialect d, const struct dl_fields *f)
{
	struct js_path *paths = calloc(f->n, sizeof *paths);
	int r;

	if (paths == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < f->n; i++)
		paths[i] = (struct js_path){ f->v[i].path, (unsigned)i, f->v[i].flags };
	r = js_interest_new(paths, f->n, &interests[d]);
	free(paths);
	return r;
}

int
dl_init(void)
{
	int r = 0;

	for (int d = 1; r == 0 && d < DL_DIALECT_END; d++) {
		if (row((enum dl_dialect)d) == NULL || interests[d] != NULL)
			continue;
		if (dialects[d].ops->fields != NULL)
			r = compile((enum dl_dialect)d, dialects[d].ops->fields);
		if (r == 0 && dialects[d].ops->init != NULL)
			r = dialects[d].ops->init();
	}
	if (r < 0)
		dl_fini();
	return r;
}

void
dl_fini(void)
{
	for (int d = 1; d < DL_DIALECT_END; d++) {
		js_interest_free(&interests[d]);
		if (row((enum dl_dialect)d) != NULL && dialects[d].ops->fini != NULL)
			dialects[d].ops->fini();
	}
}

enum dl_dialect
dl_dialect_by_name(struct tf_span name)
{
	for (int d = 1; d < DL_DIALECT_END; d++)
		if (row((enum dl_dialect)d) != NULL && tf_span_is(name, dialects[d].name))
			return (enum dl_dialect)d;
	return DL_NONE;
}

const char *
dl_dialect_name(enum dl_dialect d)
{
	return row(d) != NULL ? row(d)->name : "";
}

const char *
dl_dialect_path(enum dl_dialect d)
{
	return row(d) != NULL ? row(d)->path : "";
}

enum dl_family
dl_dialect_family(enum dl_dialect d)
{
	return row(d) != NULL ? row(d)->family : DL_FAMILY_OPENAI;
}

bool
dl_dialect_plain(enum dl_dialect d)
{
	return row(d) != NULL && row(d)->ops->plain != NULL;
}

struct tf_span
dl_ping(enum dl_dialect surface)
{
	return row(surface) != NULL ? row(surface)->ops->ping : tf_span(NULL, 0);
}

uint64_t
dl_sequence(enum dl_dialect surface, struct tf_span given)
{
	const struct dl_ops *ops = dl_ops(surface);

	return ops != NULL && ops->sequence != NULL ? ops->sequence(given) : 0;
}

enum dl_dialect
dl_answer_dialect(const struct dl_head *h)
{
	return h->flags & DL_HEAD_CHAT_ANSWER ? DL_OPENAI_CHAT : h->surface;
}

/* ---- needs ------------------------------------------------------------------------------- */

enum { SOFT, HARD };

static const struct {
	uint32_t bit;
	int how;
	const char *capability, *param, *sentence;
} needs_table[] = {
#define NEED(sym, bit, how, capability, param, sentence)                                           \
	{ 1u << (bit), how, capability, param, sentence },
#include "common/dialect/need.def"
#undef NEED
};

uint32_t
dl_need_by_capability(struct tf_span name)
{
	uint32_t bits = 0;

	for (size_t i = 0; name.n > 0 && i < TF_LEN(needs_table); i++)
		if (tf_span_is(name, needs_table[i].capability))
			bits |= needs_table[i].bit;
	return bits;
}

uint32_t
dl_need_always(void)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < TF_LEN(needs_table); i++)
		if (needs_table[i].how == SOFT)
			bits |= needs_table[i].bit;
	return bits;
}

static const char *
need_param(enum dl_dialect surface, const char *param)
{
	const struct dl_ops *ops = dl_ops(surface);

	if (ops != NULL && ops->param_messages != NULL && strcmp(param, "messages") == 0)
		return ops->param_messages;
	if (ops != NULL && ops->param_format != NULL && strcmp(param, "response_format") == 0)
		return ops->param_format;
	return param;
}

int
dl_need_check(enum dl_dialect surface, uint32_t needs, uint32_t can, struct tf_span model, struct dl_fault *f)
{
	char name[DL_MODEL_MAX + 1];

	for (size_t i = 0; i < TF_LEN(needs_table); i++) {
		if (needs_table[i].how == SOFT || !(needs & needs_table[i].bit) ||
		    (can & needs_table[i].bit))
			continue;
		dl_scrub(model, name, sizeof name);
		dl_fault_set(f, TF_E_BAD_REQUEST, need_param(surface, needs_table[i].param), "%s (model %s)",
		    needs_table[i].sentence, name);
		return TF_E_INVAL;
	}
	return 0;
}

/* ---- quirks ------------------------------------------------------------------------------ */

static const struct {
	uint32_t bit;
	const char *name;
} quirks_table[] = {
#define QUIRK(sym, bit, name, help) { 1u << (bit), name },
#include "common/dialect/quirk.def"
#undef QUIRK
};

static const struct {
	const char *kind;
	uint32_t quirks;
} runtimes[] = {
#define RUNTIME(kind, quirks, help) { kind, quirks },
#include "common/dialect/quirk.def"
#undef RUNTIME
};

int
dl_quirk_kind(struct tf_span kind, uint32_t *quirks)
{
	for (size_t i = 0; i < TF_LEN(runtimes); i++)
		if (tf_span_is(kind, runtimes[i].kind)) {
			*quirks = runtimes[i].quirks;
			return 0;
		}
	return TF_E_NOENT;
}

int
dl_quirk_apply(struct tf_span word, uint32_t *quirks)
{
	bool clear = word.n > 0 && word.p[0] == '-';

	if (clear)
		word = tf_span(word.p + 1, word.n - 1);
	for (size_t i = 0; i < TF_LEN(quirks_table); i++)
		if (tf_span_is(word, quirks_table[i].name)) {
			*quirks =
			    clear ? *quirks & ~quirks_table[i].bit : *quirks | quirks_table[i].bit;
			return 0;
		}
	return TF_E_NOENT;
}

const char *
dl_quirk_name(unsigned bit)
{
	for (size_t i = 0; bit < 32 && i < TF_LEN(quirks_table); i++)
		if (quirks_table[i].bit == 1u << bit)
			return quirks_table[i].name;
	return NULL;
}

/* ---- faults and errors ------------------------------------------------------------------- */

/* Copies what fits, whole UTF-8 sequences only. */
static void
copy_text(char *out, size_t cap, const char *s)
{
	size_t n = s != NULL ? strlen(s) : 0;

	if (n >= cap) {
		n = cap - 1;
		while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--;
	}
	if (n > 0)
		memcpy(out, s, n);
	out[n] = '\0';
}

void
dl_fault_set(struct dl_fault *f, int err, const char *param, const char *fmt, ...)
{
	char text[2 * DL_MESSAGE_MAX];
	va_list ap;

	text[0] = '\0';
	if (fmt != NULL) {
		va_start(ap, fmt);
		vsnprintf(text, sizeof text, fmt, ap);
		va_end(ap);
	}
	f->too_long = false;
	f->tokens = f->output = f->context = 0;
	f->err = err;
	f->retryable = false;
	f->retry_after_s = 0;
	copy_text(f->param, sizeof f->param, param);
	copy_text(f->message, sizeof f->message, text);
}

static void
openai_error(struct js_w *w, const struct tf_err_row *e, const struct dl_error *why)
{
	js_w_object(w);
	js_w_key(w, "error");
	js_w_object(w);
	js_w_kstr(w, "message", why->message.n > 0 ? why->message : tf_cspan(e->sentence));
	js_w_kcstr(w, "type", e->openai_type);
	if (why->param.n > 0)
		js_w_kstr(w, "param", why->param);
	else
		js_w_knull(w, "param");
	js_w_kcstr(w, "code", e->code);
}

static void
anthropic_error(struct js_w *w, const struct tf_err_row *e, const struct dl_error *why)
{
	char rid[TF_ID_TEXT + 1];

	js_w_object(w);
	js_w_kcstr(w, "type", "error");
	if (why->rid != NULL) {
		tf_id_text(*why->rid, rid);
		js_w_kcstr(w, "request_id", rid);
	} else {
		js_w_knull(w, "request_id");
	}
	js_w_key(w, "error");
	js_w_object(w);
	js_w_kcstr(w, "type", e->anthropic_type);
	js_w_kstr(w, "message", why->message.n > 0 ? why->message : tf_cspan(e->sentence));
	js_w_key(w, "details");
	js_w_object(w);
	js_w_kcstr(w, "error_code", e->code);
	/* the SDK reads which part of the request is at fault there; none is: it is to be sent without threads */
	if (e->err == TF_E_THREAD_UNSUPPORTED_REQUEST)
		js_w_knull(w, "unsupported");
	if (why->param.n > 0)
		js_w_kstr(w, "param", why->param);
	js_w_object_end(w);
}

int
dl_error_json(enum dl_family family, const struct dl_error *e, struct tf_buf *out)
{
	const struct tf_err_row *er = tf_err_row(e->err);
	size_t from = out->n;
	struct js_w w;
	int r;

	js_w_init(&w, out);
	if (family == DL_FAMILY_ANTHROPIC)
		anthropic_error(&w, er, e);
	else
		openai_error(&w, er, e);
	/* the error object is still open: further members go to its end */
	if (e->extra.n > 0 && w.err == 0) {
		r = tf_buf_addc(out, ',');
		if (r == 0)
			r = tf_buf_addspan(out, e->extra);
		if (r < 0)
			w.err = r;
	}
	js_w_object_end(&w);
	js_w_object_end(&w);
	r = js_w_done(&w);
	if (r < 0)
		out->n = from;
	return r;
}

int
dl_error_event(enum dl_dialect surface, const struct dl_error *e, struct tf_buf *out)
{
	const struct dialect_row *d = row(surface);
	size_t from = out->n;
	int r = d != NULL ? d->ops->error_event(e, out) : TF_E_INVAL;

	if (r < 0)
		out->n = from;
	return r;
}
