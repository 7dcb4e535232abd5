/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical events -> answers of the openai_completions dialect: chunks with pieces of text, one with
 * the finish reason per choice, usage when it was asked for, then [DONE]; or all of it as one object.
 * Reasoning has no place in this API and is left out. Called by xlate.c for each event.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/completions.h"
#include "common/dialect/openai.h"

#define LISTS 8 /* parallel lists of a logprobs object kept; more are left out */

struct list {
	struct tf_buf key, items; /* key: raw, with quotes */
	bool some;                /* it was a list, not null */
};

struct choice {
	enum dl_finish finish;
	struct tf_buf text;         /* whole answers */
	struct tf_buf raw;          /* members for the next chunk, or of the whole, each with a comma before it */
	unsigned nlist;
	struct list list[LISTS];    /* whole answers: logprobs */
};

struct dl_enc {
	struct dl_enc_conf conf;
	bool started, ended;
	struct tf_buf id;           /* characters */
	int64_t created;
	struct tf_buf head;         /* every chunk begins with it */
	struct tf_buf top;          /* further members at the top */
	struct tf_buf usage;        /* the runtime's own object */
	uint32_t nchoice;
	struct choice *choice[DL_CHOICES_MAX];
};

struct dl_enc *
completions_enc_new(const struct dl_enc_conf *conf)
{
	struct dl_enc *e = calloc(1, sizeof *e);

	if (e != NULL)
		e->conf = *conf;
	return e;
}

static void
choice_free(struct choice *c)
{
	if (c == NULL)
		return;
	tf_buf_free(&c->text);
	tf_buf_free(&c->raw);
	for (unsigned i = 0; i < c->nlist; i++) {
		tf_buf_free(&c->list[i].key);
		tf_buf_free(&c->list[i].items);
	}
	free(c);
}

void
completions_enc_free(struct dl_enc **ep)
{
	struct dl_enc *e = *ep;

	*ep = NULL;
	if (e == NULL)
		return;
	for (uint32_t i = 0; i < e->nchoice; i++)
		choice_free(e->choice[i]);
	tf_buf_free(&e->id);
	tf_buf_free(&e->head);
	tf_buf_free(&e->top);
	tf_buf_free(&e->usage);
	free(e);
}

static struct choice *
choice_of(struct dl_enc *e, uint32_t n)
{
	if (n >= DL_CHOICES_MAX)
		return NULL;
	if (e->choice[n] == NULL)
		e->choice[n] = calloc(1, sizeof *e->choice[n]);
	if (n >= e->nchoice)
		e->nchoice = n + 1;
	return e->choice[n];
}

/* ---- what both ways share ---------------------------------------------------------------- */

static int
start(struct dl_enc *e, const struct dl_event *ev)
{
	char rid[TF_ID_TEXT + 1];
	int r;

	if (e->started)
		return 0;
	e->started = true;
	e->created = ev->created > 0 ? ev->created : tf_wall_s();
	if (ev->id.n > 5 && ev->id.n <= 256 && memcmp(ev->id.p, "cmpl-", 5) == 0)
		return tf_buf_addspan(&e->id, ev->id);
	tf_id_text(e->conf.rid, rid);
	r = tf_buf_addstr(&e->id, "cmpl-");
	return r < 0 ? r : tf_buf_addstr(&e->id, rid);
}

static int
usage(struct dl_enc *e, const struct dl_event *ev)
{
	tf_buf_reset(&e->usage);
	return ev->origin == DL_OPENAI_COMPLETIONS || ev->origin == DL_OPENAI_CHAT ? tf_buf_addspan(&e->usage, ev->text) : 0;
}

/* A member nobody modelled, of a runtime of this dialect. */
static int
member(struct dl_enc *e, const struct dl_event *ev)
{
	struct tf_buf *b = &e->top;
	struct choice *c;
	int r;

	if (ev->origin != DL_OPENAI_COMPLETIONS)
		return 0;
	if (ev->level != DL_LEVEL_TOP) {
		c = choice_of(e, ev->choice);
		if (c == NULL)
			return TF_E_NOMEM;
		b = &c->raw;
	}
	r = tf_buf_addc(b, ',');
	if (r == 0)
		r = tf_buf_addspan(b, ev->name);
	if (r == 0)
		r = tf_buf_addc(b, ':');
	return r < 0 ? r : tf_buf_addspan(b, ev->text);
}

/* ---- chunks ------------------------------------------------------------------------------ */

/* Appends literal text; the first error stays. */
#define LIT(r, out, text) ((r) < 0 ? (r) : tf_buf_append((out), (text), sizeof(text) - 1))
#define SPAN(r, out, s) ((r) < 0 ? (r) : tf_buf_addspan((out), (s)))

static int
open_chunk(struct dl_enc *e, struct tf_buf *out)
{
	struct tf_buf *h = &e->head;
	int r = 0;

	if (h->n == 0) {
		r = LIT(0, h, "data: {\"id\":");
		if (r == 0)
			r = js_quote(h, tf_buf_span(&e->id));
		if (r == 0)
			r = tf_buf_printf(h, ",\"object\":\"text_completion\",\"created\":%lld,\"model\":", (long long)e->created);
		if (r == 0)
			r = js_quote(h, e->conf.model);
	}
	r = SPAN(r, out, tf_buf_span(h));
	r = SPAN(r, out, tf_buf_span(&e->top));
	tf_buf_reset(&e->top);
	return LIT(r, out, ",\"choices\":[");
}

static int
chunk(struct dl_enc *e, uint32_t n, const struct dl_event *ev, const char *finish, struct tf_buf *out)
{
	struct choice *c = choice_of(e, n);
	int r;

	if (c == NULL)
		return TF_E_NOMEM;
	r = open_chunk(e, out);
	if (r == 0)
		r = tf_buf_printf(out, "{\"index\":%u,\"text\":", n);
	if (r == 0)
		r = js_quote(out, finish == NULL ? ev->text : tf_span(NULL, 0));
	r = LIT(r, out, ",\"logprobs\":");
	r = SPAN(r, out, finish == NULL && js_type(ev->logprobs) == JS_OBJECT ? ev->logprobs : TF_SPAN("null"));
	r = LIT(r, out, ",\"finish_reason\":");
	if (r == 0)
		r = finish == NULL ? tf_buf_addstr(out, "null") : tf_buf_printf(out, "\"%s\"", finish);
	r = SPAN(r, out, tf_buf_span(&c->raw));
	tf_buf_reset(&c->raw);
	return LIT(r, out, "}]}\n\n");
}

static const char *
reason(enum dl_finish finish)
{
	return dl_finish_name(finish == DL_FINISH_CALLS ? DL_FINISH_STOP : finish);
}

int
completions_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct choice *c;

	switch (ev->kind) {
	case DL_EV_START:
		return start(e, ev);
	case DL_EV_TEXT:
		return chunk(e, ev->choice, ev, NULL, out);
	case DL_EV_FINISH:
		c = choice_of(e, ev->choice);
		if (c == NULL)
			return TF_E_NOMEM;
		c->finish = ev->finish;
		return chunk(e, ev->choice, ev, reason(ev->finish), out);
	case DL_EV_USAGE:
		return usage(e, ev);
	case DL_EV_RAW:
		return member(e, ev);
	default:
		return 0; /* errors and pings are the caller's */
	}
}

/* Members of an event that became no chunk have no place. */
int
completions_enc_flush(struct dl_enc *e, struct tf_buf *out)
{
	(void)out;
	tf_buf_reset(&e->top);
	for (uint32_t i = 0; i < e->nchoice; i++)
		if (e->choice[i] != NULL)
			tf_buf_reset(&e->choice[i]->raw);
	return 0;
}

int
completions_enc_end(struct dl_enc *e, const struct dl_usage *u, struct tf_buf *out)
{
	int r = 0;

	if (e->ended)
		return 0;
	e->ended = true;
	if (e->conf.include_usage) {
		r = open_chunk(e, out);
		r = LIT(r, out, "],\"usage\":");
		if (r == 0)
			r = chat_usage_json(tf_buf_span(&e->usage), u, out);
		r = LIT(r, out, "}\n\n");
	}
	return LIT(r, out, "data: [DONE]\n\n");
}

/* ---- whole answers ----------------------------------------------------------------------- */

static struct list *
list_of(struct choice *c, struct tf_span key)
{
	struct list *l;

	for (unsigned i = 0; i < c->nlist; i++)
		if (tf_span_eq(tf_buf_span(&c->list[i].key), key))
			return &c->list[i];
	if (c->nlist == LISTS)
		return NULL;
	l = &c->list[c->nlist++];
	memset(l, 0, sizeof *l);
	return l;
}

/* Puts the lists of one more piece of the answer behind those of the pieces before it. */
static int
logprobs(struct choice *c, struct tf_span object)
{
	struct tf_span key, v, el;
	struct js_iter it, in;
	int r = 0;

	js_iter_init(&it, js_type(object) == JS_OBJECT ? object : TF_SPAN("{}"));
	while (r == 0 && js_iter_next(&it, &key, &v)) {
		struct list *l = list_of(c, key);

		if (l == NULL)
			continue;
		if (l->key.n == 0)
			r = tf_buf_addspan(&l->key, key);
		l->some = l->some || js_type(v) == JS_ARRAY;
		js_iter_init(&in, v);
		while (r == 0 && js_iter_next(&in, NULL, &el)) {
			r = l->items.n > 0 ? tf_buf_addc(&l->items, ',') : 0;
			r = SPAN(r, &l->items, el);
		}
	}
	return r;
}

int
completions_join_event(struct dl_enc *e, const struct dl_event *ev)
{
	struct choice *c;
	int r;

	switch (ev->kind) {
	case DL_EV_START:
		return start(e, ev);
	case DL_EV_TEXT:
	case DL_EV_FINISH:
		c = choice_of(e, ev->choice);
		if (c == NULL)
			return TF_E_NOMEM;
		if (ev->kind == DL_EV_FINISH) {
			c->finish = ev->finish;
			return 0;
		}
		r = logprobs(c, ev->logprobs);
		return r < 0 ? r : tf_buf_addspan(&c->text, ev->text);
	case DL_EV_USAGE:
		return usage(e, ev);
	case DL_EV_RAW:
		return member(e, ev);
	default:
		return 0;
	}
}

static int
write_logprobs(struct js_w *w, const struct choice *c)
{
	struct tf_buf scratch = { 0 };
	struct tf_span name;
	int r = 0;

	js_w_key(w, "logprobs");
	if (c->nlist == 0) {
		js_w_null(w);
		return 0;
	}
	js_w_object(w);
	for (unsigned i = 0; r == 0 && i < c->nlist; i++) {
		tf_buf_reset(&scratch);
		r = js_str(tf_buf_span(&c->list[i].key), &scratch, &name);
		js_w_keyn(w, name);
		if (!c->list[i].some) {
			js_w_null(w);
			continue;
		}
		js_w_array(w);
		if (c->list[i].items.n > 0)
			js_w_raw(w, tf_buf_span(&c->list[i].items));
		js_w_array_end(w);
	}
	js_w_object_end(w);
	tf_buf_free(&scratch);
	return r;
}

static int
write_choices(struct dl_enc *e, struct js_w *w)
{
	int r = 0;

	js_w_key(w, "choices");
	js_w_array(w);
	for (uint32_t i = 0; r == 0 && i < e->nchoice; i++) {
		struct choice *c = e->choice[i];

		if (c == NULL || c->finish == DL_FINISH_NONE)
			continue;
		js_w_object(w);
		js_w_kstr(w, "text", tf_buf_span(&c->text));
		js_w_ku64(w, "index", i);
		r = write_logprobs(w, c);
		js_w_kcstr(w, "finish_reason", reason(c->finish));
		if (r == 0)
			r = chat_kept_write(w, &c->raw);
		js_w_object_end(w);
	}
	js_w_array_end(w);
	return r;
}

int
completions_join_end(struct dl_enc *e, const struct dl_usage *u, struct tf_buf *out)
{
	struct tf_buf counts = { 0 };
	size_t from = out->n;
	struct js_w w;
	int r, r2;

	if (e->ended)
		return 0;
	e->ended = true;
	js_w_init(&w, out);
	js_w_object(&w);
	js_w_kstr(&w, "id", tf_buf_span(&e->id));
	js_w_kcstr(&w, "object", "text_completion");
	js_w_ki64(&w, "created", e->created);
	js_w_kstr(&w, "model", e->conf.model);
	r = write_choices(e, &w);
	r2 = chat_usage_json(tf_buf_span(&e->usage), u, &counts);
	js_w_kraw(&w, "usage", tf_buf_span(&counts));
	if (r == 0)
		r = r2 < 0 ? r2 : chat_kept_write(&w, &e->top);
	js_w_object_end(&w);
	tf_buf_free(&counts);
	if (r == 0)
		r = js_w_done(&w);
	if (r < 0)
		out->n = from;
	return r;
}
