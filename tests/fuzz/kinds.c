/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See kinds.h. The readers are written from what the APIs demand of a request that was translated, not from the
 * encoders: they share no code with them.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/kinds.h"

#define CALLS_MAX 512

struct calls { /* ids of calls, raw */
	struct tf_span id[CALLS_MAX];
	bool answered[CALLS_MAX];
	unsigned n;
};

static void
must(bool ok, const char *why, struct tf_span sent)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n%.*s\n", why, (int)sent.n, sent.p);
	abort();
}

static bool
member(struct tf_span o, const char *name, enum js_type type, struct tf_span *v)
{
	return js_member(o, name, v) && js_type(*v) == type;
}

static bool
is(struct tf_span o, const char *name, const char *text)
{
	struct tf_span v;

	return js_member(o, name, &v) && js_str_eq(v, text);
}

static bool
word(struct tf_span s, size_t max)
{
	if (s.n < 3 || s.n - 2 > max)
		return false;
	for (size_t i = 1; i + 1 < s.n; i++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", s.p[i]) == NULL)
			return false;
	return true;
}

static void
called(struct calls *c, struct tf_span id)
{
	if (c->n == CALLS_MAX)
		return;
	c->answered[c->n] = false;
	c->id[c->n++] = id;
}

/* Answers one call of that id; false: there is none that waits. */
static bool
answered(struct calls *c, struct tf_span id)
{
	for (unsigned i = 0; i < c->n; i++)
		if (!c->answered[i] && tf_span_eq(c->id[i], id))
			return c->answered[i] = true;
	return c->n == CALLS_MAX;
}

/* One result is enough for calls that a client gave one id. */
static bool
all_answered(const struct calls *c)
{
	for (unsigned i = 0; i < c->n; i++) {
		bool found = c->answered[i];

		for (unsigned k = 0; k < c->n && !found; k++)
			found = c->answered[k] && tf_span_eq(c->id[k], c->id[i]);
		if (!found)
			return false;
	}
	return true;
}

/* ---- Messages ---------------------------------------------------------------------------- */

static const char *
block(struct tf_span b, bool assistant, struct calls *c)
{
	struct tf_span v;

	if (js_type(b) != JS_OBJECT)
		return "a block that is no object";
	if (is(b, "type", "text"))
		return member(b, "text", JS_STRING, &v) && v.n > 2 ? NULL : "an empty text block";
	if (is(b, "type", "tool_use")) {
		if (!assistant || !member(b, "id", JS_STRING, &v) || !word(v, 4096))
			return "a call of the user, or without an id";
		called(c, v);
		if (!member(b, "name", JS_STRING, &v) || !word(v, 128))
			return "a call without a good name";
		return member(b, "input", JS_OBJECT, &v) ? NULL : "a call without input";
	}
	if (is(b, "type", "tool_result")) {
		if (assistant || !member(b, "tool_use_id", JS_STRING, &v) || !answered(c, v))
			return "a result of no call";
		return NULL;
	}
	return member(b, "type", JS_STRING, &v) ? NULL : "a block without a type";
}

static const char *
message(struct tf_span m, struct calls *c)
{
	bool assistant = is(m, "role", "assistant"), text = false;
	struct tf_span content, b;
	const char *bad = NULL;
	struct js_iter it;
	unsigned n = 0;

	if (!assistant && !is(m, "role", "user"))
		return "another role";
	if (!js_member(m, "content", &content))
		return "a message without content";
	if (assistant)
		c->n = 0;
	if (js_type(content) == JS_STRING)
		return content.n > 2 ? !assistant && !all_answered(c) ? "a call without its result" : NULL : "empty content";
	js_iter_init(&it, content);
	while (bad == NULL && js_iter_next(&it, NULL, &b)) {
		bool result = is(b, "type", "tool_result");

		if (result && text)
			return "a result behind other blocks";
		text = text || !result;
		n++;
		bad = block(b, assistant, c);
	}
	if (bad == NULL && n == 0)
		return "no content";
	return bad == NULL && !assistant && !all_answered(c) ? "a call without its result" : bad;
}

typedef const char *turn_fn(struct tf_span m, struct calls *c);

/* The list of messages, in which each call has its result. */
static const char *
conversation(struct tf_span sent, turn_fn *one)
{
	static struct calls c;
	struct tf_span list, m;
	const char *bad = NULL;
	struct js_iter it;
	unsigned n = 0;

	c.n = 0;
	if (!member(sent, "messages", JS_ARRAY, &list))
		return "no messages";
	js_iter_init(&it, list);
	for (; bad == NULL && js_iter_next(&it, NULL, &m); n++)
		bad = one(m, &c);
	if (bad == NULL && n == 0)
		return "no message";
	return bad == NULL && !all_answered(&c) ? "a last call without its result" : bad;
}

static const char *
messages(struct tf_span sent)
{
	struct tf_span v, first;
	struct js_iter it;
	uint64_t max;

	if (!js_member(sent, "max_tokens", &v) || js_get_u64(v, &max) < 0 || max == 0)
		return "no max_tokens";
	if (member(sent, "messages", JS_ARRAY, &v)) {
		js_iter_init(&it, v);
		if (js_iter_next(&it, NULL, &first) && !is(first, "role", "user"))
			return "the user does not begin";
	}
	return conversation(sent, message);
}

/* ---- chat completions -------------------------------------------------------------------- */

static const char *
call(struct tf_span one, struct calls *c)
{
	struct tf_span v, f;

	if (!member(one, "id", JS_STRING, &v) || v.n <= 2)
		return "a call without an id";
	called(c, v);
	if (member(one, "custom", JS_OBJECT, &f))
		return member(f, "name", JS_STRING, &v) && member(f, "input", JS_STRING, &v) ? NULL : "half a custom call";
	if (!member(one, "function", JS_OBJECT, &f) || !member(f, "name", JS_STRING, &v) || v.n <= 2)
		return "a call without a name";
	return member(f, "arguments", JS_STRING, &v) ? NULL : "a call without arguments";
}

static const char *
turn(struct tf_span m, struct calls *c)
{
	static const char *const roles[] = { "system", "developer", "user", "assistant", "tool" };
	struct tf_span v, one;
	const char *bad = NULL;
	struct js_iter it;
	size_t role = 0;

	while (role < TF_LEN(roles) && !is(m, "role", roles[role]))
		role++;
	if (role == TF_LEN(roles))
		return "another role";
	if (role == 4)
		return member(m, "tool_call_id", JS_STRING, &v) && answered(c, v) ? NULL : "a result of no call";
	if (!all_answered(c))
		return "a call without its result";
	if (role == 3)
		c->n = 0;
	if (role == 3 && member(m, "tool_calls", JS_ARRAY, &v)) {
		js_iter_init(&it, v);
		while (bad == NULL && js_iter_next(&it, NULL, &one))
			bad = call(one, c);
		return bad == NULL && c->n == 0 ? "an empty list of calls" : bad;
	}
	if (!js_member(m, "content", &v))
		return "no content";
	return role == 3 || js_type(v) == JS_STRING || js_type(v) == JS_ARRAY ? NULL : "content that is neither text nor a list";
}

static const char *
chat(struct tf_span sent)
{
	return conversation(sent, turn);
}

/* ---- Responses --------------------------------------------------------------------------- */

static const char *
item(struct tf_span one, struct calls *c)
{
	struct tf_span v;

	if (is(one, "type", "function_call") || is(one, "type", "custom_tool_call")) {
		if (!member(one, "call_id", JS_STRING, &v) || v.n <= 2)
			return "a call without an id";
		called(c, v);
		if (!member(one, "name", JS_STRING, &v) || v.n <= 2)
			return "a call without a name";
		return member(one, is(one, "type", "function_call") ? "arguments" : "input", JS_STRING, &v) ? NULL
		    : "a call without arguments";
	}
	if (is(one, "type", "function_call_output") || is(one, "type", "custom_tool_call_output")) {
		if (!member(one, "call_id", JS_STRING, &v) || !answered(c, v))
			return "a result of no call";
		return js_member(one, "output", &v) ? NULL : "a result without output";
	}
	if (member(one, "role", JS_STRING, &v))
		return js_member(one, "content", &v) ? NULL : "a message without content";
	return member(one, "type", JS_STRING, &v) ? NULL : "an item without a type";
}

static const char *
responses(struct tf_span sent)
{
	struct tf_span list, one;
	static struct calls c;
	const char *bad = NULL;
	struct js_iter it;
	unsigned n = 0;

	c.n = 0;
	if (member(sent, "input", JS_STRING, &list))
		return NULL;
	if (!member(sent, "input", JS_ARRAY, &list))
		return "no input";
	js_iter_init(&it, list);
	while (bad == NULL && js_iter_next(&it, NULL, &one)) {
		n++;
		bad = item(one, &c);
	}
	if (bad == NULL && n == 0)
		return "empty input";
	return bad == NULL && !all_answered(&c) ? "a call without its result" : bad;
}

/* ---- all of them ------------------------------------------------------------------------- */

static const struct {
	enum dl_dialect runtime;
	uint32_t quirks;
	const char *(*reads)(struct tf_span sent);
} kinds[] = {
	{ DL_OPENAI_CHAT, DL_Q_HOSTED, chat },
	{ DL_OPENAI_CHAT,
	    DL_Q_NO_DEVELOPER | DL_Q_TOOLS_OR_JSON | DL_Q_CHOICE_WORD | DL_Q_NO_MAX_COMPLETION | DL_Q_REPLAY_REASONING, chat },
	{ DL_ANTHROPIC_MESSAGES, DL_Q_HOSTED | DL_Q_ADAPTIVE, messages },
	{ DL_ANTHROPIC_MESSAGES, DL_Q_NO_OUTPUT_FORMAT | DL_Q_NO_SAMPLING, messages },
	{ DL_OPENAI_RESPONSES, DL_Q_HOSTED, responses },
	{ DL_OPENAI_RESPONSES, 0, responses },
};

static void
send_on(const struct dl_scan *s, struct tf_span body, size_t i)
{
	struct dl_xlate_conf conf = { .surface = s->head.surface, .runtime = kinds[i].runtime, .quirks = kinds[i].quirks,
		.asked = TF_SPAN("m"), .model = TF_SPAN("r"), .max_output = 77 };
	struct dl_xlate *x = dl_xlate_new(&conf, &s->head);
	struct tf_buf out = { 0 };
	struct tf_span v, sent;
	int r;

	must(x != NULL, "memory", body);
	r = dl_xlate_request(x, body, &out);
	sent = tf_buf_span(&out);
	if (r != 0) {
		must(r == TF_E_INVAL && dl_xlate_facts(x)->fault.err == TF_E_BAD_REQUEST, "refused without a reason", body);
	} else if (s->head.surface != kinds[i].runtime) {
		const char *bad = NULL;

		must(js_valid(sent) == 0 && js_type(sent) == JS_OBJECT, "the runtime gets no JSON", sent);
		must(js_member(sent, "model", &v) && js_str_eq(v, "r"), "another model", sent);
		bad = kinds[i].reads(sent);
		must(bad == NULL, bad, sent);
	} else {
		/* as the client wrote it */
		must(js_valid(sent) != TF_E_INVAL, "the runtime gets no JSON", sent);
	}
	tf_buf_free(&out);
	dl_xlate_free(&x);
}

void
fuzz_kinds(const struct dl_scan *s, struct tf_span body)
{
	for (size_t i = 0; i < TF_LEN(kinds); i++)
		send_on(s, body, i);
}
