/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The response object of the openai_responses dialect: whole answers, and what the first and the last events of a
 * stream hold. Items and the members that only the request decides are written here for both.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/responses_enc.h"

int64_t
responses_created(const struct tf_id *rid)
{
	uint64_t ms = 0;

	/* request ids begin with the time at which they were made: whoever has one says the same */
	for (size_t i = 0; i < 6; i++)
		ms = ms << 8 | rid->b[i];
	return (int64_t)(ms / 1000);
}

struct dl_enc *
responses_enc_new(const struct dl_enc_conf *conf)
{
	struct dl_enc *e = calloc(1, sizeof *e);
	struct tf_span v;

	if (e == NULL)
		return NULL;
	e->conf = *conf;
	dl_mint_id(e->id, sizeof e->id, "resp_", &conf->rid, 0, 0);
	e->created = responses_created(&conf->rid);
	if (js_member(conf->kept, "echo", &v) && v.n > 2) {
		e->echo = tf_span(v.p + 1, v.n - 2);
		(void)js_member(v, "tools", &e->tools[0]);
	}
	(void)js_member(conf->kept, "more", &e->tools[1]);
	e->summary = js_member(conf->kept, "summary", &v) && v.p[0] == 't';
	e->seal = conf->seal_key != NULL && js_member(conf->kept, "seal", &v) && v.p[0] == 't';
	e->logprobs = js_member(conf->kept, "logprobs", &v) && v.p[0] == 't';
	return e;
}

void
responses_enc_free(struct dl_enc **ep)
{
	struct dl_enc *e = *ep;

	*ep = NULL;
	if (e == NULL)
		return;
	for (uint32_t i = 0; i < e->nitem; i++) {
		struct renc_item *it = &e->item[i];

		dl_unwrap_fini(&it->unwrap);
		tf_buf_free(&it->delta[0]);
		tf_buf_free(&it->delta[1]);
		tf_buf_free(&it->call_id);
		tf_buf_free(&it->name);
		tf_buf_free(&it->space);
		tf_buf_free(&it->held);
		tf_buf_free(&it->all);
		tf_buf_free(&it->logprobs);
		tf_buf_free(&it->sealed);
		tf_buf_free(&it->signature);
	}
	free(e->item);
	tf_buf_free(&e->blank);
	tf_buf_free(&e->scratch);
	free(e);
}

/* ---- calls as the client declared them --------------------------------------------------- */

struct lookup {
	struct tf_span flat;
	struct responses_decl found;
	bool some;
	struct tf_buf name, space, text;
};

static int
look(void *arg, const struct responses_decl *d)
{
	struct lookup *l = arg;
	int r;

	tf_buf_reset(&l->name);
	tf_buf_reset(&l->space);
	tf_buf_reset(&l->text);
	r = js_str_append(d->name, &l->name);
	if (r == 0 && d->space.n > 0)
		r = js_str_append(d->space, &l->space);
	if (r == 0)
		r = responses_flat(tf_buf_span(&l->space), tf_buf_span(&l->name), &l->text);
	if (r < 0 || !tf_span_eq(tf_buf_span(&l->text), l->flat))
		return r;
	l->found = *d;
	l->some = true;
	return 1;
}

static int
name_call(struct dl_enc *e, struct renc_item *it, struct tf_span flat)
{
	struct lookup l = { .flat = flat };
	struct js_iter it2;
	struct tf_span list;
	int r = responses_each_tool(e->tools[0], look, &l);

	js_iter_init(&it2, e->tools[1]);
	while (r == 0 && js_iter_next(&it2, NULL, &list))
		r = responses_each_tool(list, look, &l);
	if (r >= 0 && l.some) {
		it->custom = l.found.kind == RESPONSES_TOOL_CUSTOM;
		r = tf_buf_addspan(&it->name, l.found.name);
		if (r == 0)
			r = tf_buf_addspan(&it->space, l.found.space);
	} else if (r >= 0) {
		r = js_quote(&it->name, flat);
	}
	tf_buf_free(&l.name);
	tf_buf_free(&l.space);
	tf_buf_free(&l.text);
	return r;
}

static int
new_item(struct dl_enc *e, const struct dl_event *ev)
{
	struct renc_item *v;
	char minted[64];
	int r;

	v = tf_grow(e->item, e->nitem, &e->cap, sizeof *v, 4);
	if (v == NULL)
		return TF_E_NOMEM;
	e->item = v;
	v = &e->item[e->nitem];
	memset(v, 0, sizeof *v);
	v->kind = ev->item_kind;
	e->nitem++;
	if (ev->item_kind != DL_ITEM_CALL)
		return 0;
	dl_mint_id(minted, sizeof minted, "call_", &e->conf.rid, e->nitem, 11);
	r = tf_buf_addspan(&v->call_id, ev->id.n > 0 ? ev->id : tf_cspan(minted));
	if (r == 0)
		r = name_call(e, v, ev->name);
	v->plain = ev->tool == DL_TOOL_CUSTOM;
	v->custom = v->custom || v->plain;
	return r;
}

struct renc_item *
renc_item(struct dl_enc *e, const struct dl_event *ev)
{
	if (ev->kind == DL_EV_ITEM && ev->item == e->nitem && new_item(e, ev) < 0)
		return NULL;
	return ev->item < e->nitem ? &e->item[ev->item] : NULL;
}

/* ---- values of the response object ------------------------------------------------------- */

void
renc_item_place(struct dl_enc *e, struct renc_item *it)
{
	const char *call = it->custom ? "ctc_" : "fc_";
	const char *prefix = it->kind == DL_ITEM_REASONING ? "rs_" : it->kind == DL_ITEM_CALL ? call : "msg_";

	it->output = e->noutput++;
	dl_mint_id(it->id, sizeof it->id, prefix, &e->conf.rid, it->output, 10);
}

void
renc_part_object(const struct dl_enc *e, const struct renc_item *it, bool done, struct js_w *w)
{
	struct tf_span text = done ? tf_buf_span(&it->all) : tf_span(NULL, 0);

	js_w_object(w);
	switch (it->kind) {
	case DL_ITEM_REASONING:
		js_w_kcstr(w, "type", e->summary ? "summary_text" : "reasoning_text");
		js_w_kstr(w, "text", text);
		break;
	case DL_ITEM_REFUSAL:
		js_w_kcstr(w, "type", "refusal");
		js_w_kstr(w, "refusal", text);
		break;
	default:
		js_w_kcstr(w, "type", "output_text");
		js_w_kstr(w, "text", text);
		js_w_kraw(w, "annotations", TF_SPAN("[]"));
		js_w_key(w, "logprobs");
		js_w_array(w);
		if (done && it->logprobs.n > 0)
			js_w_raw(w, tf_buf_span(&it->logprobs));
		js_w_array_end(w);
		break;
	}
	js_w_object_end(w);
}

static void
reasoning_object(struct dl_enc *e, const struct renc_item *it, bool done, struct js_w *w)
{
	js_w_kcstr(w, "type", "reasoning");
	js_w_key(w, "summary");
	js_w_array(w);
	if (done && e->summary)
		renc_part_object(e, it, true, w);
	js_w_array_end(w);
	if (done && it->sealed.n > 0)
		js_w_kstr(w, "encrypted_content", tf_buf_span(&it->sealed));
	if (!e->summary) {
		js_w_key(w, "content");
		js_w_array(w);
		if (done)
			renc_part_object(e, it, true, w);
		js_w_array_end(w);
	}
}

void
renc_item_object(struct dl_enc *e, const struct renc_item *it, bool done, struct js_w *w)
{
	struct tf_span text = done ? tf_buf_span(&it->all) : tf_span(NULL, 0);

	js_w_object(w);
	js_w_kcstr(w, "id", it->id);
	if (it->kind == DL_ITEM_REASONING) {
		reasoning_object(e, it, done, w);
	} else if (it->kind == DL_ITEM_CALL) {
		js_w_kcstr(w, "type", it->custom ? "custom_tool_call" : "function_call");
		js_w_kstr(w, "call_id", tf_buf_span(&it->call_id));
		js_w_kraw(w, "name", tf_buf_span(&it->name));
		if (it->space.n > 0)
			js_w_kraw(w, "namespace", tf_buf_span(&it->space));
		js_w_kstr(w, it->custom ? "input" : "arguments", text);
	} else {
		js_w_kcstr(w, "type", "message");
		js_w_kcstr(w, "role", "assistant");
		js_w_key(w, "content");
		js_w_array(w);
		if (done)
			renc_part_object(e, it, true, w);
		js_w_array_end(w);
	}
	js_w_kcstr(w, "status", !done ? "in_progress" : it->cut ? "incomplete" : "completed");
	js_w_object_end(w);
}

const char *
renc_status(const struct dl_enc *e)
{
	return e->finish == DL_FINISH_LENGTH || e->finish == DL_FINISH_FILTER ? "incomplete" : "completed";
}

void
renc_usage(const struct dl_usage *u, struct js_w *w)
{
	js_w_key(w, "usage");
	js_w_object(w);
	js_w_ku64(w, "input_tokens", dl_usage_in(u));
	js_w_key(w, "input_tokens_details");
	js_w_object(w);
	js_w_ku64(w, "cached_tokens", u->cache_read);
	if (u->cache_write > 0)
		js_w_ku64(w, "cache_write_tokens", u->cache_write);
	js_w_object_end(w);
	js_w_ku64(w, "output_tokens", dl_usage_out(u));
	js_w_key(w, "output_tokens_details");
	js_w_object(w);
	js_w_ku64(w, "reasoning_tokens", u->reasoning);
	js_w_object_end(w);
	js_w_ku64(w, "total_tokens", dl_usage_in(u) + dl_usage_out(u));
	js_w_object_end(w);
}

/* Items in the order of their places; the first events have none, though items may be there already. */
static void
output(struct dl_enc *e, bool progress, struct js_w *w)
{
	js_w_key(w, "output");
	js_w_array(w);
	for (uint32_t i = 0; !progress && i < e->front; i++)
		if (e->item[i].begun)
			renc_item_object(e, &e->item[i], true, w);
	js_w_array_end(w);
}

void
renc_response(struct dl_enc *e, const struct dl_usage *usage, struct js_w *w)
{
	bool complete = usage != NULL && strcmp(renc_status(e), "completed") == 0;
	int r = 0;

	js_w_object(w);
	js_w_kcstr(w, "id", e->id);
	js_w_kcstr(w, "object", "response");
	js_w_ki64(w, "created_at", e->created);
	if (complete)
		js_w_ki64(w, "completed_at", tf_wall_s());
	else
		js_w_knull(w, "completed_at");
	js_w_kcstr(w, "status", usage == NULL ? "in_progress" : renc_status(e));
	js_w_knull(w, "error");
	js_w_key(w, "incomplete_details");
	if (usage == NULL || complete)
		js_w_null(w);
	else
		js_w_raw(w, e->finish == DL_FINISH_LENGTH ? TF_SPAN("{\"reason\":\"max_output_tokens\"}")
							   : TF_SPAN("{\"reason\":\"content_filter\"}"));
	js_w_kstr(w, "model", e->conf.model);
	output(e, usage == NULL, w);
	/* written as a whole when the request came, so that a token costs nothing of it */
	if (w->err == 0 && e->echo.n > 0) {
		r = tf_buf_addc(w->out, ',');
		if (r == 0)
			r = tf_buf_addspan(w->out, e->echo);
		if (r < 0)
			w->err = r;
	}
	if (usage != NULL)
		renc_usage(usage, w);
	else
		js_w_knull(w, "usage");
	js_w_object_end(w);
}

int
responses_join_event(struct dl_enc *e, const struct dl_event *ev)
{
	return renc_event(e, ev, NULL);
}

int
responses_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out)
{
	struct js_w w;
	int r;

	if (e->ended)
		return 0;
	r = renc_finish(e, DL_FINISH_STOP, NULL);
	if (r < 0)
		return r;
	e->ended = true;
	e->object = out->n;
	js_w_init(&w, out);
	renc_response(e, usage, &w);
	r = js_w_done(&w);
	if (r < 0)
		out->n = e->object;
	e->object_end = out->n;
	return r;
}

void
responses_object(const struct dl_enc *e, size_t *from, size_t *to)
{
	*from = e->object;
	*to = e->object_end;
}

/* ---- what is kept of the request --------------------------------------------------------- */

static void
echo(struct js_w *w, struct tf_span body, const char *name, const char *other)
{
	struct tf_span v;

	js_w_key(w, name);
	if (js_member(body, name, &v) && !js_is_null(v))
		js_w_compact(w, v);
	else
		js_w_raw(w, tf_cspan(other));
}

/* Only where the request has it. */
static void
echo_some(struct js_w *w, struct tf_span body, const char *name)
{
	struct tf_span v;

	if (!js_member(body, name, &v) || js_is_null(v))
		return;
	js_w_key(w, name);
	js_w_compact(w, v);
}

static void
echo_member(struct js_w *w, struct tf_span body, const char *path, const char *name, const char *other)
{
	struct tf_span v;

	js_w_key(w, name);
	if (js_at(body, path, &v) && !js_is_null(v))
		js_w_compact(w, v);
	else
		js_w_raw(w, tf_cspan(other));
}

static void
echo_all(struct js_w *w, struct tf_span body, const struct dl_head *h)
{
	js_w_kbool(w, "background", false);
	echo(w, body, "instructions", "null");
	echo(w, body, "max_output_tokens", "null");
	echo(w, body, "max_tool_calls", "null");
	echo(w, body, "parallel_tool_calls", "true");
	echo(w, body, "previous_response_id", "null");
	echo_some(w, body, "prompt_cache_key");
	js_w_key(w, "reasoning");
	js_w_object(w);
	echo_member(w, body, "reasoning.effort", "effort", "null");
	echo_member(w, body, "reasoning.summary", "summary", "null");
	js_w_object_end(w);
	echo_some(w, body, "safety_identifier");
	js_w_kcstr(w, "service_tier", "default");
	js_w_kbool(w, "store", (h->flags & DL_HEAD_KEEP) != 0);
	echo(w, body, "temperature", "1");
	js_w_key(w, "text");
	js_w_object(w);
	echo_member(w, body, "text.format", "format", "{\"type\":\"text\"}");
	echo_member(w, body, "text.verbosity", "verbosity", "\"medium\"");
	js_w_object_end(w);
	echo(w, body, "tool_choice", "\"auto\"");
	echo(w, body, "tools", "[]");
	echo(w, body, "top_logprobs", "0");
	echo(w, body, "top_p", "1");
	js_w_kcstr(w, "truncation", "disabled");
	echo(w, body, "user", "null");
	echo(w, body, "metadata", "{}");
}

int
responses_keep(struct tf_span body, const struct dl_head *h, struct tf_buf *out)
{
	struct tf_span v, el, tools;
	bool summary = false;
	struct js_iter it;
	struct js_w w;

	js_w_init(&w, out);
	js_w_object(&w);
	js_w_key(&w, "echo");
	js_w_object(&w);
	echo_all(&w, body, h);
	js_w_object_end(&w);
	js_w_key(&w, "more");
	js_w_array(&w);
	if (js_member(body, "input", &v) && js_type(v) == JS_ARRAY) {
		js_iter_init(&it, v);
		while (js_iter_next(&it, NULL, &el))
			if (responses_item_kind(el) == RESPONSES_IS_MORE_TOOLS && js_member(el, "tools", &tools) &&
			    js_type(tools) == JS_ARRAY)
				js_w_compact(&w, tools);
	}
	js_w_array_end(&w);
	if (js_at(body, "reasoning.summary", &v) || js_at(body, "reasoning.generate_summary", &v))
		summary = js_type(v) == JS_STRING && !js_str_eq(v, "none");
	js_w_kbool(&w, "summary", summary);
	js_w_kbool(&w, "seal", responses_includes(body, "reasoning.encrypted_content"));
	js_w_kbool(&w, "logprobs", (h->needs & DL_NEED_LOGPROBS) != 0);
	js_w_object_end(&w);
	return js_w_done(&w);
}
