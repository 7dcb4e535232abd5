/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Responses from clients that speak it to the provider whose API it is: bodies with the model's name replaced
 * and what must not pass taken out, events and answers passed on with the name that the client knows, so
 * that encrypted reasoning, hosted tools and whatever else nobody models here survives. The decoder reads along
 * for the facts. Other servers of this API differ too much from it: towards them everything is translated.
 * Called by xlate.c.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/raw.h"
#include "common/dialect/responses_ask.h"
#include "common/dialect/responses_dec.h"
#include "common/dialect/responses_enc.h"

/* ---- the request ------------------------------------------------------------------------- */

bool
responses_raw_request_ok(const struct dl_head *h, uint32_t quirks)
{
	(void)h;
	return (quirks & DL_Q_HOSTED) != 0;
}

/* Does the provider refuse that item? It takes back only reasoning that it has encrypted itself, not what we sealed. */
static bool
foreign(struct tf_span item)
{
	struct tf_span v;

	if (responses_item_kind(item) != RESPONSES_IS_REASONING)
		return false;
	return !js_member(item, "encrypted_content", &v) || js_type(v) != JS_STRING || v.n <= 2 ||
	    dl_sealed(tf_span(v.p + 1, v.n - 2));
}

static size_t
count_foreign(struct tf_span body)
{
	struct tf_span list, item;
	struct js_iter it;
	size_t n = 0;

	if (!js_member(body, "input", &list) || js_type(list) != JS_ARRAY)
		return 0;
	js_iter_init(&it, list);
	while (js_iter_next(&it, NULL, &item))
		n += foreign(item);
	return n;
}

/* The provider refuses names that it does not know. */
static bool
documented(struct tf_span key)
{
	for (size_t i = 0; i < responses_fields.n; i++) {
		const struct dl_field *f = &responses_fields.v[i];

		if (f->class != '-' && strchr(f->path, '.') == NULL && js_str_eq(key, f->path))
			return f->class != 'D';
	}
	return false;
}

struct asking {
	const struct dl_head *h;
	const struct dl_target *to;
	struct tf_span body;
	struct js_edits e;
	struct tf_buf *dropped;
	struct tf_buf model;
	char cap[64];
};

static void
take_out(struct asking *a, struct tf_span key, struct tf_span value)
{
	js_edit_delete(&a->e, (size_t)(key.p - a->body.p), (size_t)(value.p - a->body.p) + value.n);
}

static void
put(struct asking *a, struct tf_span value, struct tf_span with)
{
	size_t at = (size_t)(value.p - a->body.p);

	js_edit_replace(&a->e, at, at + value.n, with);
}

/* What we say ourselves, at the end of the body. */
static void
own_members(struct asking *a)
{
	uint64_t cap = a->to->max_output;

	js_edit_insert_last(&a->e, a->h->root.end, TF_SPAN("\"store\":false"));
	js_edit_insert_last(&a->e, a->h->root.end, a->to->stream ? TF_SPAN("\"stream\":true") : TF_SPAN("\"stream\":false"));
	if (a->to->stream)
		js_edit_insert_last(&a->e, a->h->root.end, TF_SPAN("\"stream_options\":{\"include_obfuscation\":false}"));
	if (cap == 0 || (a->h->max_output > 0 && a->h->max_output <= cap))
		return;
	snprintf(a->cap, sizeof a->cap, "\"max_output_tokens\":%llu", (unsigned long long)cap);
	js_edit_insert_last(&a->e, a->h->root.end, tf_cspan(a->cap));
}

static int
one_member(struct asking *a, struct tf_span key, struct tf_span v)
{
	static const char *const ours[] = { "store", "stream", "stream_options", "background", "previous_response_id" };
	uint64_t cap = a->to->max_output;
	struct tf_span item;
	struct js_iter it;

	for (size_t i = 0; i < TF_LEN(ours); i++)
		if (js_str_eq(key, ours[i])) {
			take_out(a, key, v);
			return 0;
		}
	if (js_str_eq(key, "model"))
		put(a, v, tf_buf_span(&a->model));
	if (js_str_eq(key, "max_output_tokens") && cap > 0 && (a->h->max_output == 0 || a->h->max_output > cap))
		take_out(a, key, v);
	if (js_str_eq(key, "input") && js_type(v) == JS_ARRAY) {
		js_iter_init(&it, v);
		while (js_iter_next(&it, NULL, &item))
			if (foreign(item))
				js_edit_delete(&a->e, (size_t)(item.p - a->body.p), (size_t)(item.p - a->body.p) + item.n);
	}
	if (documented(key))
		return 0;
	take_out(a, key, v);
	/* a name as clients write them; anything else is no name of a field */
	return key.n > 66 || memchr(key.p, ',', key.n) != NULL ? 0
							       : dl_note_dropped(a->dropped, tf_span(key.p + 1, key.n - 2));
}

int
responses_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
    struct tf_buf *dropped)
{
	struct asking a = { .h = h, .to = to, .body = body, .dropped = dropped };
	struct tf_span root, key, v;
	struct js_edit *edits;
	struct js_iter it;
	size_t n = 16;
	int r;

	if (body.n != h->body_len || h->root.end > body.n)
		return TF_E_INVAL;
	root = tf_span(body.p + h->root.start, h->root.end - h->root.start);
	js_iter_init(&it, root);
	while (js_iter_next(&it, &key, &v))
		n++;
	n += count_foreign(root);
	edits = calloc(n, sizeof *edits);
	if (edits == NULL)
		return TF_E_NOMEM;
	js_edits_init(&a.e, edits, n);
	r = js_quote(&a.model, to->model);
	js_iter_init(&it, root);
	while (r == 0 && js_iter_next(&it, &key, &v))
		r = one_member(&a, key, v);
	if (r == 0) {
		own_members(&a);
		r = js_splice(body, &a.e, out);
	}
	free(edits);
	tf_buf_free(&a.model);
	return r;
}

/* ---- life -------------------------------------------------------------------------------- */

struct dl_raw {
	struct dl_enc_conf conf;
	struct tf_buf model;   /* quoted */
	char id[66];           /* ours, quoted: an answer that we have to end bears it too */
	struct tf_buf held;    /* what came before the first content: until then another attempt may do */
	struct tf_buf event;   /* scratch */
	struct tf_buf object;  /* the response as it began */
	struct tf_buf items;   /* that are done, comma separated */
	uint64_t sequence;
	bool over;             /* the last event went out ... */
	size_t from, to;       /* ... and the finished response object was there in the bytes given last */
};

bool
responses_raw_answer_ok(const struct dl_head *h, uint32_t quirks)
{
	(void)h;
	return (quirks & DL_Q_HOSTED) != 0;
}

struct dl_raw *
responses_raw_new(const struct dl_enc_conf *conf)
{
	struct dl_raw *r = calloc(1, sizeof *r);
	char id[64];

	if (r == NULL)
		return NULL;
	r->conf = *conf;
	dl_mint_id(id, sizeof id, "resp_", &conf->rid, 0, 0);
	snprintf(r->id, sizeof r->id, "\"%s\"", id);
	if (js_quote(&r->model, conf->model) < 0)
		responses_raw_free(&r);
	return r;
}

void
responses_raw_free(struct dl_raw **rp)
{
	struct dl_raw *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	tf_buf_free(&r->model);
	tf_buf_free(&r->held);
	tf_buf_free(&r->event);
	tf_buf_free(&r->object);
	tf_buf_free(&r->items);
	free(r);
}

/* ---- events ------------------------------------------------------------------------------ */

/* What the client knows otherwise of a response object than the provider. base: of the text that is edited. */
static void
rename_response(const struct dl_raw *r, struct tf_span object, const char *base, struct js_edits *e)
{
	struct {
		const char *name;
		struct tf_span with; /* empty: it stays as it is */
	} members[] = { { "model", tf_buf_span(&r->model) }, { "id", tf_cspan(r->id) }, { "store", { NULL, 0 } },
		{ "previous_response_id", { NULL, 0 } } };
	struct tf_span v;

	(void)js_at(r->conf.kept, "echo.store", &members[2].with);
	(void)js_at(r->conf.kept, "echo.previous_response_id", &members[3].with);
	for (size_t i = 0; i < TF_LEN(members); i++)
		if (members[i].with.n > 0 && js_member(object, members[i].name, &v))
			js_edit_replace(e, (size_t)(v.p - base), (size_t)(v.p - base) + v.n, members[i].with);
}

/* data with our own count in front and the client's name of the model; the length of text is hidden by nobody here. */
static int
splice_event(struct dl_raw *r, struct tf_span type, struct tf_span data)
{
	struct tf_buf front = { 0 };
	struct tf_span key, v;
	struct js_edit edits[16];
	struct js_edits e;
	struct js_iter it;
	int err;

	js_edits_init(&e, edits, TF_LEN(edits));
	js_iter_init(&it, data);
	while (js_iter_next(&it, &key, &v)) {
		size_t from = (size_t)(key.p - data.p), to = (size_t)(v.p - data.p) + v.n;

		if (js_str_eq(key, "type") || js_str_eq(key, "sequence_number") || js_str_eq(key, "obfuscation"))
			js_edit_delete(&e, from, to);
		else if (js_str_eq(key, "response"))
			rename_response(r, v, data.p, &e);
	}
	err = tf_buf_printf(&front, "\"type\":" TF_SPAN_FMT ",\"sequence_number\":%llu", TF_SPAN_ARG(type),
	    (unsigned long long)r->sequence++);
	js_edit_insert_first(&e, 0, tf_buf_span(&front));
	tf_buf_reset(&r->event);
	if (err == 0)
		err = js_splice(data, &e, &r->event);
	/* on one line: what was the front is needed no more */
	tf_buf_reset(&front);
	if (err == 0 && (memchr(r->event.p, '\n', r->event.n) != NULL || memchr(r->event.p, '\r', r->event.n) != NULL)) {
		err = dl_raw_line(&front, tf_buf_span(&r->event));
		tf_buf_reset(&r->event);
		if (err == 0)
			err = tf_buf_addspan(&r->event, tf_buf_span(&front));
	}
	tf_buf_free(&front);
	return err;
}

/* What is needed should we have to end the answer ourselves. */
static int
remember(struct dl_raw *r, struct tf_span type, struct tf_span data)
{
	struct tf_span v;
	int err;

	if (js_str_eq(type, "response.created") && js_member(data, "response", &v)) {
		tf_buf_reset(&r->object);
		return tf_buf_addspan(&r->object, v);
	}
	if (!js_str_eq(type, "response.output_item.done") || !js_member(data, "item", &v))
		return 0;
	err = r->items.n > 0 ? tf_buf_addc(&r->items, ',') : 0;
	return err < 0 ? err : dl_raw_line(&r->items, v);
}

static int
pass(struct dl_raw *r, const struct dl_dec *d, struct tf_span type, struct tf_span data, struct tf_buf *out)
{
	struct tf_buf *to = d->nitem > 0 || d->done ? out : &r->held;
	struct tf_span response;
	int err = splice_event(r, type, data);

	if (err == 0)
		err = remember(r, type, tf_buf_span(&r->event));
	if (err == 0 && to == out) {
		err = tf_buf_addspan(out, tf_buf_span(&r->held));
		tf_buf_reset(&r->held);
	}
	if (err == 0)
		err = tf_buf_printf(to, "event: %.*s\ndata: ", (int)type.n - 2, type.p + 1);
	if (err == 0 && d->done && js_member(tf_buf_span(&r->event), "response", &response)) {
		r->from = to->n + (size_t)(response.p - r->event.p);
		r->to = r->from + response.n;
	}
	if (err == 0)
		err = tf_buf_addspan(to, tf_buf_span(&r->event));
	if (err == 0)
		err = tf_buf_addstr(to, "\n\n");
	r->over = r->over || d->done;
	return err;
}

int
responses_raw_event(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
    size_t *text)
{
	struct tf_span type, json;
	int err;

	*text = 0; /* the decoder's events tell it all */
	if (d->done || d->failed)
		return 0;
	d->passed = true;
	err = responses_dec_event(d, event, data);
	if (err < 0 || d->failed || tf_span_is(data, "[DONE]"))
		return err;
	json = d->json;
	tf_buf_reset(&d->quoted);
	if (!js_member(json, "type", &type) || js_type(type) != JS_STRING) {
		err = js_quote(&d->quoted, event);
		type = tf_buf_span(&d->quoted);
	}
	if (err < 0 || type.n <= 2 || !dl_raw_type_ok(tf_span(type.p + 1, type.n - 2)) || js_str_eq(type, "keepalive"))
		return err;
	return pass(r, d, type, json, out);
}

int
responses_raw_end(struct dl_raw *r, enum dl_finish finish, const struct dl_usage *u, struct tf_buf *out)
{
	struct tf_span key, v, name;
	struct tf_buf scratch = { 0 };
	struct js_iter it;
	struct js_w w;
	int err;

	if (r->over)
		return 1;
	err = tf_buf_printf(out,
	    "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"sequence_number\":%llu,\"response\":",
	    (unsigned long long)r->sequence++);
	if (err < 0)
		return err;
	r->from = out->n;
	js_w_init(&w, out);
	js_w_object(&w);
	js_iter_init(&it, tf_buf_span(&r->object));
	while (err == 0 && js_iter_next(&it, &key, &v)) {
		tf_buf_reset(&scratch);
		err = js_str(key, &scratch, &name);
		if (tf_span_is(name, "status") || tf_span_is(name, "incomplete_details") || tf_span_is(name, "output") ||
		    tf_span_is(name, "usage"))
			continue;
		js_w_keyn(&w, name);
		js_w_compact(&w, v);
	}
	tf_buf_free(&scratch);
	js_w_kcstr(&w, "status", "incomplete");
	js_w_key(&w, "incomplete_details");
	js_w_object(&w);
	js_w_kcstr(&w, "reason", finish == DL_FINISH_FILTER ? "content_filter" : "max_output_tokens");
	js_w_object_end(&w);
	js_w_key(&w, "output");
	js_w_array(&w);
	if (r->items.n > 0)
		js_w_raw(&w, tf_buf_span(&r->items));
	js_w_array_end(&w);
	renc_usage(u, &w);
	js_w_object_end(&w);
	if (err == 0)
		err = js_w_done(&w);
	r->to = out->n;
	if (err == 0)
		err = tf_buf_addstr(out, "}\n\n");
	return err < 0 ? err : 1;
}

void
responses_raw_object(const struct dl_raw *r, size_t *from, size_t *to)
{
	*from = r->from;
	*to = r->to;
}

/* ---- whole answers ----------------------------------------------------------------------- */

static bool
calls(struct tf_span output)
{
	struct tf_span item;
	struct js_iter it;

	js_iter_init(&it, output);
	while (js_iter_next(&it, NULL, &item))
		if (rdec_kind_of(item) == RDEC_CALL)
			return true;
	return false;
}

int
responses_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
    struct dl_raw_answer *answer)
{
	struct tf_span json, status, output;
	struct js_edit edits[8];
	struct js_edits e;
	bool incomplete;

	if (rdec_parse(d, body, &json) < 0 || !js_member(json, "status", &status) || !js_member(json, "output", &output) ||
	    !rdec_usage(json, &answer->usage) || !dl_usage_possible(&answer->usage))
		return 0;
	incomplete = js_str_eq(status, "incomplete");
	if (!incomplete && !js_str_eq(status, "completed"))
		return 0;
	answer->finish = rdec_finish(json, incomplete);
	if (answer->finish == DL_FINISH_STOP && calls(output))
		answer->finish = DL_FINISH_CALLS;
	js_edits_init(&e, edits, TF_LEN(edits));
	rename_response(r, json, json.p, &e);
	if (js_splice(json, &e, out) < 0)
		return TF_E_NOMEM;
	return 1;
}
