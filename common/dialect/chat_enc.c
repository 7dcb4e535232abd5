/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical events -> chunks of the openai_chat dialect, in the form that every client takes: role
 * first, calls with index, id and type, one finish chunk per choice, usage when it was asked for,
 * then [DONE]. Called by xlate.c for each event; after the first chunks it only appends to out.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/chat_enc.h"

struct dl_enc *
chat_enc_new(const struct dl_enc_conf *conf)
{
	struct dl_enc *e = calloc(1, sizeof *e);

	if (e != NULL)
		e->conf = *conf;
	return e;
}

static void
free_choice(struct enc_choice *c)
{
	for (uint32_t i = 0; i < c->nitem; i++) {
		tf_buf_free(&c->item[i].id);
		tf_buf_free(&c->item[i].name);
		tf_buf_free(&c->item[i].text);
		tf_buf_free(&c->item[i].signature);
	}
	free(c->item);
	tf_buf_free(&c->logprobs);
	tf_buf_free(&c->raw[0]);
	tf_buf_free(&c->raw[1]);
}

void
chat_enc_free(struct dl_enc **ep)
{
	struct dl_enc *e = *ep;

	*ep = NULL;
	if (e == NULL)
		return;
	for (uint32_t i = 0; i < e->nchoice; i++)
		free_choice(&e->choice[i]);
	free(e->choice);
	tf_buf_free(&e->id);
	tf_buf_free(&e->head);
	tf_buf_free(&e->top);
	tf_buf_free(&e->usage);
	free(e);
}

struct enc_choice *
chat_enc_choice(struct dl_enc *e, uint32_t n)
{
	struct enc_choice *v;

	if (n < e->nchoice)
		return &e->choice[n];
	v = dl_choices(e->choice, n, &e->nchoice, sizeof *v);
	if (v == NULL)
		return NULL;
	e->choice = v;
	return &v[n];
}

const char *
chat_finish_text(const struct dl_enc *e, enum dl_finish finish)
{
	return e->conf.legacy && finish == DL_FINISH_CALLS ? "function_call"
							   : dl_finish_name(finish);
}

/* The id of an answer of another API says what runtime stands behind us. */
static bool
of_another(struct tf_span id)
{
	static const char *const prefixes[] = { "msg_", "resp_", "cmpl-" };

	for (size_t i = 0; i < TF_LEN(prefixes); i++)
		if (id.n > strlen(prefixes[i]) && memcmp(id.p, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	return false;
}

int
chat_answer_id(struct tf_span id, const struct tf_id *rid, struct tf_buf *out)
{
	char text[TF_ID_TEXT + 1];
	int r;

	if (id.n > 0 && id.n <= CHAT_ID_MAX && !of_another(id))
		return tf_buf_addspan(out, id);
	tf_id_text(*rid, text);
	r = tf_buf_addstr(out, "chatcmpl-");
	return r < 0 ? r : tf_buf_addstr(out, text);
}

int
chat_enc_start(struct dl_enc *e, const struct dl_event *ev)
{
	if (e->started)
		return 0;
	e->started = true;
	e->created = ev->created > 0 ? ev->created : tf_wall_s();
	return chat_answer_id(ev->id, &e->conf.rid, &e->id);
}

/* The item of an event; at ITEM a new one. */
int
chat_enc_item(
    struct dl_enc *e, const struct dl_event *ev, struct enc_choice **cp, struct enc_item **item)
{
	struct enc_choice *c = chat_enc_choice(e, ev->choice);
	struct enc_item *v;

	if (c == NULL)
		return TF_E_NOMEM;
	*cp = c;
	if (ev->kind == DL_EV_ITEM && ev->item == c->nitem) {
		v = tf_grow(c->item, c->nitem, &c->cap, sizeof *v, 4);
		if (v == NULL)
			return TF_E_NOMEM;
		c->item = v;
		v = &c->item[c->nitem++];
		memset(v, 0, sizeof *v);
		v->kind = ev->item_kind;
		v->tool = ev->tool;
		v->call = ev->item_kind == DL_ITEM_CALL ? c->ncall++ : 0;
	}
	if (ev->item >= c->nitem)
		return TF_E_STATE;
	*item = &c->item[ev->item];
	return 0;
}

/* ---- usage ------------------------------------------------------------------------------- */

int
chat_enc_usage(struct dl_enc *e, const struct dl_event *ev)
{
	e->counts = ev->usage;
	tf_buf_reset(&e->usage);
	return ev->origin == DL_OPENAI_CHAT ? tf_buf_addspan(&e->usage, ev->text) : 0;
}

static bool
says(struct tf_span usage, const char *name, uint64_t want)
{
	struct tf_span v;
	uint64_t n;

	return js_member(usage, name, &v) && js_get_u64(v, &n) == 0 && n == want;
}

int
chat_usage_json(struct tf_span raw, const struct dl_usage *u, struct tf_buf *out)
{
	uint64_t in = dl_usage_in(u), done = dl_usage_out(u);
	struct js_w w;

	if (raw.n > 0 && says(raw, "prompt_tokens", in) && says(raw, "completion_tokens", done) &&
	    says(raw, "total_tokens", in + done))
		return tf_buf_addspan(out, raw);
	js_w_init(&w, out);
	js_w_object(&w);
	js_w_ku64(&w, "prompt_tokens", in);
	js_w_ku64(&w, "completion_tokens", done);
	js_w_ku64(&w, "total_tokens", in + done);
	js_w_key(&w, "prompt_tokens_details");
	js_w_object(&w);
	js_w_ku64(&w, "cached_tokens", u->cache_read);
	if (u->cache_write > 0)
		js_w_ku64(&w, "cache_write_tokens", u->cache_write);
	js_w_object_end(&w);
	js_w_key(&w, "completion_tokens_details");
	js_w_object(&w);
	js_w_ku64(&w, "reasoning_tokens", u->reasoning);
	js_w_object_end(&w);
	js_w_object_end(&w);
	return js_w_done(&w);
}

int
chat_usage_write(const struct dl_enc *e, const struct dl_usage *u, struct tf_buf *out)
{
	return chat_usage_json(tf_buf_span(&e->usage), u, out);
}

/* ---- chunks ------------------------------------------------------------------------------ */

/* Appends literal text; the first error stays. */
#define LIT(r, out, text) ((r) < 0 ? (r) : tf_buf_append((out), (text), sizeof(text) - 1))

static int
make_head(struct dl_enc *e)
{
	struct tf_buf *h = &e->head;
	int r = LIT(0, h, "data: {\"id\":");

	if (r == 0)
		r = js_quote(h, tf_buf_span(&e->id));
	r = LIT(r, h, ",\"object\":\"chat.completion.chunk\",\"created\":");
	if (r == 0)
		r = tf_buf_printf(h, "%lld", (long long)e->created);
	r = LIT(r, h, ",\"model\":");
	if (r == 0)
		r = js_quote(h, e->conf.model);
	return r;
}

/* Up to and including `"delta":{` with the members that wait for it. */
static int
open_chunk(struct dl_enc *e, struct enc_choice *c, struct tf_buf *out)
{
	uint32_t n = (uint32_t)(c - e->choice);
	int r = 0;

	if (e->head.n == 0)
		r = make_head(e);
	if (r == 0)
		r = tf_buf_addspan(out, tf_buf_span(&e->head));
	if (r == 0 && e->top.n > 0) {
		r = tf_buf_addspan(out, tf_buf_span(&e->top));
		tf_buf_reset(&e->top);
	}
	if (r == 0 && n == 0)
		return LIT(r, out, ",\"choices\":[{\"index\":0,\"delta\":{");
	return r < 0 ? r : tf_buf_printf(out, ",\"choices\":[{\"index\":%u,\"delta\":{", n);
}

/* some: the delta has a member. */
static int
close_chunk(struct enc_choice *c, bool some, struct tf_span logprobs, const char *finish,
    struct tf_buf *out)
{
	int r = 0;

	if (c->raw[1].n > 0) {
		/* each begins with a comma */
		r = tf_buf_append(out, c->raw[1].p + !some, c->raw[1].n - !some);
		tf_buf_reset(&c->raw[1]);
	}
	r = LIT(r, out, "},\"logprobs\":");
	if (r == 0 && logprobs.n > 0) {
		r = LIT(r, out, "{\"content\":");
		if (r == 0)
			r = tf_buf_addspan(out, logprobs);
		r = LIT(r, out, ",\"refusal\":null}");
	} else {
		r = LIT(r, out, "null");
	}
	r = LIT(r, out, ",\"finish_reason\":");
	if (finish != NULL) {
		r = LIT(r, out, "\"");
		if (r == 0)
			r = tf_buf_addstr(out, finish);
		r = LIT(r, out, "\"");
	} else {
		r = LIT(r, out, "null");
	}
	if (r == 0 && c->raw[0].n > 0) {
		r = tf_buf_addspan(out, tf_buf_span(&c->raw[0]));
		tf_buf_reset(&c->raw[0]);
	}
	return LIT(r, out, "}]}\n\n");
}

static const struct tf_span nothing;

static int
role(struct dl_enc *e, struct enc_choice *c, struct tf_buf *out)
{
	struct tf_buf kept = c->raw[1], kept0 = c->raw[0], top = e->top;
	int r;

	if (c->role)
		return 0;
	c->role = true;
	/* what waits belongs to the chunk that made this one necessary */
	memset(&c->raw, 0, sizeof c->raw);
	memset(&e->top, 0, sizeof e->top);
	r = open_chunk(e, c, out);
	r = LIT(r, out, "\"role\":\"assistant\",\"content\":\"\"");
	if (r == 0)
		r = close_chunk(c, true, nothing, NULL, out);
	c->raw[1] = kept;
	c->raw[0] = kept0;
	e->top = top;
	return r;
}

static int
text_chunk(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct enc_choice *c;
	struct enc_item *item;
	int r = chat_enc_item(e, ev, &c, &item);

	if (r == 0)
		r = open_chunk(e, c, out);
	if (r < 0)
		return r;
	r = tf_buf_addstr(out, item->kind == DL_ITEM_REFUSAL ? "\"refusal\":" : "\"content\":");
	if (r == 0)
		r = js_quote(out, ev->text);
	return r < 0 ? r : close_chunk(c, true, ev->logprobs, NULL, out);
}

/* Both names: clients read one or the other. */
static int
reasoning_chunk(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct enc_choice *c;
	struct enc_item *item;
	size_t from, n;
	int r = chat_enc_item(e, ev, &c, &item);

	if (r == 0)
		r = open_chunk(e, c, out);
	r = LIT(r, out, "\"reasoning_content\":");
	if (r < 0)
		return r;
	from = out->n;
	r = js_quote(out, ev->text);
	n = out->n - from;
	if (r == 0 && e->conf.signs)
		r = tf_buf_addspan(&item->text, ev->text);
	r = LIT(r, out, ",\"reasoning\":");
	if (r == 0)
		r = tf_buf_reserve(out, n);
	if (r == 0)
		r = tf_buf_append(out, out->p + from, n);
	return r < 0 ? r : close_chunk(c, true, nothing, NULL, out);
}

void
chat_detail(const struct enc_item *item, uint32_t n, struct js_w *w)
{
	js_w_object(w);
	js_w_kcstr(w, "type", "reasoning.text");
	js_w_kstr(w, "text", tf_buf_span(&item->text));
	js_w_kstr(w, "signature", tf_buf_span(&item->signature));
	js_w_kcstr(w, "format", "anthropic-claude-v1");
	js_w_ku64(w, "index", n);
	js_w_object_end(w);
}

static int
signature(struct dl_enc *e, const struct dl_event *ev)
{
	struct enc_choice *c;
	struct enc_item *item;
	int r = chat_enc_item(e, ev, &c, &item);

	return r < 0 || ev->origin != DL_ANTHROPIC_MESSAGES ? r : tf_buf_addspan(&item->signature, ev->text);
}

/* In one piece, its text too: helpers of clients join what they know, and keep the last of what they do not. */
static int
detail_chunk(struct dl_enc *e, struct enc_choice *c, const struct enc_item *item, struct tf_buf *out)
{
	struct js_w w;
	int r = open_chunk(e, c, out);

	r = LIT(r, out, "\"reasoning_details\":[");
	if (r < 0)
		return r;
	js_w_init(&w, out);
	chat_detail(item, c->nsigned++, &w);
	r = js_w_done(&w);
	r = LIT(r, out, "]");
	return r < 0 ? r : close_chunk(c, true, nothing, NULL, out);
}

/* The call waits until the one that is open is over. */
static int
hold(struct enc_item *item, const struct dl_event *ev)
{
	int r = tf_buf_addspan(&item->id, ev->id);

	item->held = true;
	return r < 0 ? r : tf_buf_addspan(&item->name, ev->name);
}

static int
call_chunk(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	bool custom = ev->tool == DL_TOOL_CUSTOM;
	struct enc_choice *c;
	struct enc_item *item;
	int r = chat_enc_item(e, ev, &c, &item);

	if (r == 0)
		r = role(e, c, out);
	if (r < 0 || ev->item_kind != DL_ITEM_CALL || (e->conf.legacy && item->call > 0))
		return r;
	if (c->calling && !item->held)
		return hold(item, ev);
	c->calling = true;
	r = open_chunk(e, c, out);
	if (e->conf.legacy) {
		r = LIT(r, out, "\"function_call\":{\"name\":");
		if (r == 0)
			r = js_quote(out, ev->name);
		r = LIT(r, out, ",\"arguments\":\"\"}");
		return r < 0 ? r : close_chunk(c, true, nothing, NULL, out);
	}
	if (r == 0)
		r = tf_buf_printf(out, "\"tool_calls\":[{\"index\":%u,\"id\":", item->call);
	if (r == 0)
		r = js_quote(out, ev->id);
	if (r == 0)
		r = tf_buf_addstr(out,
		    custom ? ",\"type\":\"custom\",\"custom\":{\"name\":"
			   : ",\"type\":\"function\",\"function\":{\"name\":");
	if (r == 0)
		r = js_quote(out, ev->name);
	if (r == 0)
		r = tf_buf_addstr(out, custom ? ",\"input\":\"\"}}]" : ",\"arguments\":\"\"}}]");
	return r < 0 ? r : close_chunk(c, true, nothing, NULL, out);
}

static int
args_chunk(struct dl_enc *e, const struct dl_event *ev, struct tf_span text, struct tf_buf *out)
{
	struct enc_choice *c;
	struct enc_item *item;
	int r = chat_enc_item(e, ev, &c, &item);

	if (r < 0 || (e->conf.legacy && item->call > 0))
		return r;
	if (item->held)
		return tf_buf_addspan(&item->text, text);
	item->args = true;
	r = open_chunk(e, c, out);
	if (e->conf.legacy)
		r = LIT(r, out, "\"function_call\":{\"arguments\":");
	else if (r == 0)
		r = tf_buf_printf(out, "\"tool_calls\":[{\"index\":%u,\"%s\":{\"%s\":", item->call,
		    item->tool == DL_TOOL_CUSTOM ? "custom" : "function",
		    item->tool == DL_TOOL_CUSTOM ? "input" : "arguments");
	if (r == 0)
		r = js_quote(out, text);
	if (r == 0)
		r = tf_buf_addstr(out, e->conf.legacy ? "}" : "}}]");
	return r < 0 ? r : close_chunk(c, true, nothing, NULL, out);
}

/* A call without arguments gets an empty object: clients parse what they collected. */
static int
call_ends(struct dl_enc *e, const struct dl_event *ev, struct enc_choice *c, struct tf_buf *out)
{
	const struct enc_item *item = &c->item[ev->item];

	c->calling = false;
	if (item->args || item->tool == DL_TOOL_CUSTOM)
		return 0;
	return args_chunk(e, ev, TF_SPAN("{}"), out);
}

/* A call that waited is given out, as far as it has come. */
static int
release(struct dl_enc *e, const struct dl_event *ended, struct enc_choice *c, uint32_t n, struct tf_buf *out)
{
	struct enc_item *item = &c->item[n];
	struct dl_event ev = { .kind = DL_EV_ITEM, .choice = ended->choice, .item = n, .item_kind = DL_ITEM_CALL,
		.tool = item->tool, .id = tf_buf_span(&item->id), .name = tf_buf_span(&item->name) };
	int r = call_chunk(e, &ev, out);

	item->held = false;
	if (r == 0 && item->text.n > 0)
		r = args_chunk(e, &ev, tf_buf_span(&item->text), out);
	return r == 0 && item->over ? call_ends(e, &ev, c, out) : r;
}

static int
item_end(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct enc_choice *c;
	struct enc_item *item;
	int r = chat_enc_item(e, ev, &c, &item);

	if (r == 0 && item->signature.n > 0)
		r = detail_chunk(e, c, item, out);
	if (r < 0 || item->kind != DL_ITEM_CALL)
		return r;
	item->over = true;
	if (item->held)
		return 0;
	r = call_ends(e, ev, c, out);
	for (uint32_t i = 0; r == 0 && !c->calling && i < c->nitem; i++)
		if (c->item[i].held)
			r = release(e, ev, c, i, out);
	return r;
}

static int
finish_chunk(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	struct enc_choice *c = chat_enc_choice(e, ev->choice);
	int r;

	if (c == NULL)
		return TF_E_NOMEM;
	c->finish = ev->finish;
	r = role(e, c, out);
	if (r == 0)
		r = open_chunk(e, c, out);
	return r < 0 ? r : close_chunk(c, false, nothing, chat_finish_text(e, ev->finish), out);
}

static bool
raw_wanted(const struct dl_enc *e, const struct dl_event *ev)
{
	if (ev->origin != DL_OPENAI_CHAT)
		return false;
	/* padding is none of a gateway's business; metadata is the client's own */
	return ev->level != DL_LEVEL_TOP ||
	    (!js_str_eq(ev->name, "obfuscation") &&
		!(e->conf.kept.n > 0 && js_str_eq(ev->name, "metadata")));
}

int
chat_raw_keep(struct dl_enc *e, const struct dl_event *ev)
{
	struct enc_choice *c;
	struct tf_buf *b = &e->top;
	int r;

	if (!raw_wanted(e, ev))
		return 0;
	if (ev->level == DL_LEVEL_TOP && e->top_old) {
		tf_buf_reset(b);
		e->top_old = false;
	}
	if (ev->level != DL_LEVEL_TOP) {
		c = chat_enc_choice(e, ev->choice);
		if (c == NULL)
			return TF_E_NOMEM;
		b = &c->raw[ev->level == DL_LEVEL_MESSAGE];
	}
	r = tf_buf_addc(b, ',');
	if (r == 0)
		r = tf_buf_addspan(b, ev->name);
	if (r == 0)
		r = tf_buf_addc(b, ':');
	return r < 0 ? r : tf_buf_addspan(b, ev->text);
}

int
chat_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out)
{
	switch (ev->kind) {
	case DL_EV_START:
		return chat_enc_start(e, ev);
	case DL_EV_ITEM:
		return call_chunk(e, ev, out);
	case DL_EV_TEXT:
		return text_chunk(e, ev, out);
	case DL_EV_REASONING:
		return reasoning_chunk(e, ev, out);
	case DL_EV_SIGNATURE:
		return signature(e, ev);
	case DL_EV_ARGS:
		return args_chunk(e, ev, ev->text, out);
	case DL_EV_ITEM_END:
		return item_end(e, ev, out);
	case DL_EV_FINISH:
		return finish_chunk(e, ev, out);
	case DL_EV_USAGE:
		return chat_enc_usage(e, ev);
	case DL_EV_RAW:
		return chat_raw_keep(e, ev);
	default:
		return 0; /* errors and pings are the caller's */
	}
}

int
chat_enc_flush(struct dl_enc *e, struct tf_buf *out)
{
	int r = 0;

	e->top_old = true;
	for (uint32_t i = 0; r == 0 && i < e->nchoice; i++) {
		struct enc_choice *c = &e->choice[i];

		if (c->raw[0].n == 0 && c->raw[1].n == 0)
			continue;
		if (!c->role || c->finish != DL_FINISH_NONE) {
			/* nothing was said yet, or all was: no chunk of their own */
			tf_buf_reset(&c->raw[0]);
			tf_buf_reset(&c->raw[1]);
			continue;
		}
		r = open_chunk(e, c, out);
		if (r == 0)
			r = close_chunk(c, false, nothing, NULL, out);
	}
	return r;
}

int
chat_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out)
{
	int r = 0;

	if (e->ended)
		return 0;
	e->ended = true;
	if (e->conf.include_usage) {
		r = e->head.n == 0 ? make_head(e) : 0;
		if (r == 0)
			r = tf_buf_addspan(out, tf_buf_span(&e->head));
		if (r == 0 && e->top.n > 0)
			r = tf_buf_addspan(out, tf_buf_span(&e->top));
		r = LIT(r, out, ",\"choices\":[],\"usage\":");
		if (r == 0)
			r = chat_usage_write(e, usage, out);
		r = LIT(r, out, "}\n\n");
	}
	return LIT(r, out, "data: [DONE]\n\n");
}

int
chat_error_event(const struct dl_error *e, struct tf_buf *out)
{
	int r = LIT(0, out, "data: ");

	if (r == 0)
		r = dl_error_json(DL_FAMILY_OPENAI, e, out);
	return LIT(r, out, "\n\n");
}
