/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical events -> one whole answer of the anthropic_messages dialect, and what both forms of an
 * answer share: the items, the members of the message, argument text as an object.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/messages_enc.h"

struct dl_enc *
messages_enc_new(const struct dl_enc_conf *conf)
{
	struct dl_enc *e = calloc(1, sizeof *e);

	if (e != NULL)
		e->conf = *conf;
	return e;
}

void
messages_enc_free(struct dl_enc **ep)
{
	struct dl_enc *e = *ep;

	*ep = NULL;
	if (e == NULL)
		return;
	for (uint32_t i = 0; i < e->nitem; i++) {
		tf_buf_free(&e->item[i].id);
		tf_buf_free(&e->item[i].name);
		tf_buf_free(&e->item[i].held);
		tf_buf_free(&e->item[i].signature);
	}
	free(e->item);
	tf_buf_free(&e->blank);
	tf_buf_free(&e->reasoning);
	tf_buf_free(&e->scratch);
	tf_buf_free(&e->matched);
	free(e);
}

/* ---- items ------------------------------------------------------------------------------- */

static bool
plain_id(struct tf_span id)
{
	for (size_t i = 0; i < id.n; i++) {
		char c = id.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
			return false;
	}
	return id.n > 0 && id.n <= 256;
}

/* The name that the client gave the tool. */
static int
own_name(struct dl_enc *e, struct tf_span name, struct tf_buf *out)
{
	struct tf_span el;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, e->conf.kept);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		tf_buf_reset(&e->scratch);
		r = js_str_append(el, &e->scratch);
		if (r == 0)
			r = dl_plain_name(&e->scratch, 0);
		if (r == 0 && tf_span_eq(tf_buf_span(&e->scratch), name))
			return js_str_append(el, out);
	}
	return r < 0 ? r : tf_buf_addspan(out, name);
}

static int
new_item(struct dl_enc *e, const struct dl_event *ev)
{
	struct menc_item *v;
	char minted[64];
	int r;

	v = tf_grow(e->item, e->nitem, &e->cap, sizeof *v, 4);
	if (v == NULL)
		return TF_E_NOMEM;
	e->item = v;
	v = &e->item[e->nitem];
	memset(v, 0, sizeof *v);
	v->kind = ev->item_kind;
	v->hidden = ev->item_kind == DL_ITEM_REASONING && !e->conf.thinking;
	e->refused = e->refused || ev->item_kind == DL_ITEM_REFUSAL;
	e->nitem++;
	if (ev->item_kind != DL_ITEM_CALL)
		return 0;
	/* hosted endpoints refuse other characters when the conversation moves there */
	dl_mint_id(minted, sizeof minted, "toolu_", &e->conf.rid, e->nitem, 1);
	r = tf_buf_addspan(&v->id, plain_id(ev->id) ? ev->id : tf_cspan(minted));
	return r < 0 ? r : own_name(e, ev->name, &v->name);
}

struct menc_item *
menc_item(struct dl_enc *e, const struct dl_event *ev)
{
	if (ev->kind == DL_EV_ITEM && ev->item == e->nitem && new_item(e, ev) < 0)
		return NULL;
	return ev->item < e->nitem ? &e->item[ev->item] : NULL;
}

bool
menc_is_blank(struct tf_span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\r' && s.p[i] != '\n')
			return false;
	return true;
}

static bool
object(struct tf_span text)
{
	return js_valid(text) == 0 && js_type(text) == JS_OBJECT;
}

static struct tf_span
trim(struct tf_span s)
{
	while (s.n > 0 && menc_is_blank(tf_span(s.p, 1)))
		s = tf_span(s.p + 1, s.n - 1);
	while (s.n > 0 && menc_is_blank(tf_span(s.p + s.n - 1, 1)))
		s.n--;
	return s;
}

int
messages_input(struct tf_span args, struct tf_buf *scratch, struct tf_span *out)
{
	struct js_w w;
	int r;

	*out = TF_SPAN("{}");
	args = trim(args);
	if (args.n == 0 || tf_span_is(args, "null"))
		return 0;
	*out = args;
	if (object(args))
		return 0;
	tf_buf_reset(scratch);
	/* weak models write the object into a string */
	if (js_valid(args) == 0 && js_type(args) == JS_STRING) {
		r = js_str(args, scratch, out);
		if (r < 0)
			return r;
		*out = trim(*out);
		if (object(*out))
			return 0;
		tf_buf_reset(scratch);
	}
	/* an empty object would hide what the model wrote, an error would end the agent's turn */
	js_w_init(&w, scratch);
	js_w_object(&w);
	js_w_kstr(&w, "_raw", args);
	js_w_object_end(&w);
	r = js_w_done(&w);
	*out = tf_buf_span(scratch);
	return r;
}

int
menc_input(struct dl_enc *e, struct tf_span args, struct tf_span *out)
{
	return messages_input(args, &e->scratch, out);
}

/* ---- members of the message -------------------------------------------------------------- */

#define OWN "tf1."

struct tf_span
menc_signature(const struct dl_enc *e, const struct menc_item *it, struct tf_span reasoning, uint32_t n, char own[static 64])
{
	if (it->signature.n > 0)
		return tf_buf_span(&it->signature);
	messages_own_signature(&e->conf, reasoning, n, own);
	return tf_cspan(own);
}

void
messages_own_signature(const struct dl_enc_conf *conf, struct tf_span reasoning, uint32_t n, char out[static 64])
{
	if (conf->seal_key != NULL)
		messages_sign(conf->seal_key, reasoning, out);
	else
		dl_mint_id(out, 64, OWN, &conf->rid, n, 2);
}

void
messages_sign(const uint8_t *key, struct tf_span reasoning, char out[static 64])
{
	static const char use[] = "signature"; /* the key itself is what other APIs seal with */
	uint8_t sign[TF_SHA256], mac[TF_SHA256];

	tf_hmac_sha256(tf_span(key, TF_SEAL_KEY), use, sizeof use - 1, sign);
	tf_hmac_sha256(tf_span(sign, TF_SHA256), reasoning.n > 0 ? reasoning.p : "", reasoning.n, mac);
	memcpy(out, OWN, sizeof OWN - 1);
	tf_hex(mac, 24, out + sizeof OWN - 1);
}

int
menc_sign(struct dl_enc *e, const struct dl_event *ev)
{
	struct menc_item *it = menc_item(e, ev);

	/* what other APIs keep with their reasoning is no signature of this one */
	if (it == NULL || ev->origin != DL_ANTHROPIC_MESSAGES)
		return it != NULL ? 0 : TF_E_NOMEM;
	return tf_buf_addspan(&it->signature, ev->text);
}

bool
messages_own(struct tf_span text)
{
	size_t n = sizeof OWN - 1;

	return js_type(text) != JS_STRING || text.n <= 2 || (text.n > n && memcmp(text.p + 1, OWN, n) == 0);
}

void
menc_call(struct dl_enc *e, uint32_t n, struct js_w *w)
{
	js_w_kcstr(w, "type", "tool_use");
	js_w_kstr(w, "id", tf_buf_span(&e->item[n].id));
	js_w_kstr(w, "name", tf_buf_span(&e->item[n].name));
}

void
menc_head(struct dl_enc *e, struct js_w *w)
{
	char id[64];

	dl_mint_id(id, sizeof id, "msg_", &e->conf.rid, 0, 0);
	js_w_kcstr(w, "id", id);
	js_w_kcstr(w, "type", "message");
	js_w_kcstr(w, "role", "assistant");
	js_w_kstr(w, "model", e->conf.model);
	js_w_knull(w, "container");
	js_w_knull(w, "diagnostics");
}

const char *
messages_stop_reason(enum dl_finish finish)
{
	static const char *const reasons[] = { "end_turn", "end_turn", "max_tokens", "tool_use", "refusal" };

	return reasons[finish];
}

void
menc_stop(struct dl_enc *e, struct js_w *w)
{
	const char *reason = messages_stop_reason(e->finish);
	bool matched = e->matched.n > 0 && e->finish == DL_FINISH_STOP;

	if (e->refused && e->finish == DL_FINISH_STOP)
		reason = "refusal";
	else if (matched)
		reason = "stop_sequence";
	js_w_kcstr(w, "stop_reason", reason);
	if (matched && !e->refused)
		js_w_kstr(w, "stop_sequence", tf_buf_span(&e->matched));
	else
		js_w_knull(w, "stop_sequence");
	if (strcmp(reason, "refusal") == 0)
		js_w_kraw(w, "stop_details", TF_SPAN("{\"type\":\"refusal\",\"category\":null,\"explanation\":null}"));
	else
		js_w_knull(w, "stop_details");
}

void
menc_usage(const struct dl_usage *u, uint64_t output, struct js_w *w)
{
	js_w_object(w);
	js_w_ku64(w, "input_tokens", u->prompt);
	js_w_ku64(w, "output_tokens", output);
	js_w_ku64(w, "cache_creation_input_tokens", u->cache_write);
	js_w_ku64(w, "cache_read_input_tokens", u->cache_read);
	js_w_key(w, "cache_creation");
	js_w_object(w);
	js_w_ku64(w, "ephemeral_5m_input_tokens", u->cache_write);
	js_w_ku64(w, "ephemeral_1h_input_tokens", 0);
	js_w_object_end(w);
	js_w_key(w, "output_tokens_details");
	js_w_object(w);
	js_w_ku64(w, "thinking_tokens", u->reasoning);
	js_w_object_end(w);
	js_w_knull(w, "server_tool_use");
	js_w_kcstr(w, "service_tier", "standard");
	js_w_knull(w, "inference_geo");
	js_w_kcstr(w, "speed", "standard");
	js_w_object_end(w);
}

int
menc_note(struct dl_enc *e, const struct dl_event *ev)
{
	if (ev->kind == DL_EV_USAGE) {
		e->usage = ev->usage;
		e->counted = dl_usage_in(&ev->usage) > 0;
		return 0;
	}
	e->finish = ev->finish;
	tf_buf_reset(&e->matched);
	return tf_buf_addspan(&e->matched, ev->text);
}

/* ---- whole answers ----------------------------------------------------------------------- */

int
messages_join_event(struct dl_enc *e, const struct dl_event *ev)
{
	struct menc_item *it;

	switch (ev->kind) {
	case DL_EV_ITEM:
	case DL_EV_TEXT:
	case DL_EV_REASONING:
	case DL_EV_ARGS:
		it = menc_item(e, ev);
		if (it == NULL)
			return TF_E_NOMEM;
		return ev->kind == DL_EV_ITEM || it->hidden ? 0 : tf_buf_addspan(&it->held, ev->text);
	case DL_EV_SIGNATURE:
		return menc_sign(e, ev);
	case DL_EV_FINISH:
	case DL_EV_USAGE:
		return menc_note(e, ev);
	default:
		return 0;
	}
}

static void
text_block(struct dl_enc *e, struct tf_buf *text, struct js_w *w)
{
	js_w_object(w);
	js_w_kcstr(w, "type", "text");
	js_w_kstr(w, "text", tf_buf_span(text));
	js_w_knull(w, "citations");
	js_w_object_end(w);
	e->nblock++;
	tf_buf_reset(text);
}

static int
other_block(struct dl_enc *e, uint32_t n, struct js_w *w)
{
	struct tf_span input = tf_buf_span(&e->item[n].held);
	char signature[64];
	int r = 0;

	js_w_object(w);
	if (e->item[n].kind == DL_ITEM_CALL) {
		r = menc_input(e, input, &input);
		menc_call(e, n, w);
		js_w_key(w, "input");
		js_w_compact(w, input);
		js_w_kraw(w, "caller", TF_SPAN("{\"type\":\"direct\"}"));
	} else {
		js_w_kcstr(w, "type", "thinking");
		js_w_kstr(w, "thinking", input);
		js_w_kstr(w, "signature", menc_signature(e, &e->item[n], input, e->nblock, signature));
	}
	js_w_object_end(w);
	e->nblock++;
	return r;
}

/* Texts that follow each other are one block, as in a stream. */
static int
contents(struct dl_enc *e, struct js_w *w)
{
	struct tf_buf text = { 0 };
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < e->nitem; i++) {
		struct menc_item *it = &e->item[i];
		struct tf_span held = tf_buf_span(&it->held);

		if (it->hidden || (it->kind == DL_ITEM_REASONING && held.n == 0 && it->signature.n == 0))
			continue;
		if (it->kind == DL_ITEM_TEXT || it->kind == DL_ITEM_REFUSAL) {
			r = tf_buf_addspan(text.n == 0 && menc_is_blank(held) ? &e->blank : &text, held);
			continue;
		}
		if (text.n > 0)
			text_block(e, &text, w);
		r = other_block(e, i, w);
	}
	if (text.n > 0)
		text_block(e, &text, w);
	if (e->nblock == 0)
		text_block(e, &e->blank, w);
	tf_buf_free(&text);
	return r;
}

int
messages_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out)
{
	size_t from = out->n;
	struct js_w w;
	int r;

	if (e->ended)
		return 0;
	e->ended = true;
	js_w_init(&w, out);
	js_w_object(&w);
	menc_head(e, &w);
	js_w_key(&w, "content");
	js_w_array(&w);
	r = contents(e, &w);
	js_w_array_end(&w);
	menc_stop(e, &w);
	js_w_key(&w, "usage");
	menc_usage(usage, dl_usage_out(usage), &w);
	js_w_object_end(&w);
	if (r == 0)
		r = js_w_done(&w);
	if (r < 0)
		out->n = from;
	return r;
}
