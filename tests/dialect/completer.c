/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tests/dialect/completer.h"

#define CHOICES 128

struct choice {
	bool seen, finished;
	struct tf_buf text, why;
};
struct completer {
	struct choice choice[CHOICES];
	struct tf_span id, created;
	unsigned usages;
	bool done;
};

static const char *
object(struct completer *c, struct tf_span o, struct tf_span model)
{
	struct tf_span id, created, v;

	if (js_type(o) != JS_OBJECT || !js_member(o, "id", &id) || js_type(id) != JS_STRING || id.n <= 2)
		return "no id";
	if (!js_member(o, "object", &v) || !js_str_eq(v, "text_completion"))
		return "not a text_completion";
	if (!js_member(o, "created", &created) || js_type(created) != JS_NUMBER)
		return "no created";
	if (!js_member(o, "model", &v) || !js_str_eqn(v, model))
		return "another model";
	if (c->id.n > 0 && (!tf_span_eq(c->id, id) || !tf_span_eq(c->created, created)))
		return "id or created changed";
	c->id = id;
	c->created = created;
	return NULL;
}

static const char *
one_choice(struct completer *c, struct tf_span o, bool stream)
{
	struct tf_span text, finish, v;
	struct choice *ch;
	uint64_t n;

	if (!js_member(o, "index", &v) || js_get_u64(v, &n) < 0 || n >= CHOICES)
		return "choice without index";
	ch = &c->choice[n];
	ch->seen = true;
	if (ch->finished)
		return "choice goes on behind its end";
	if (!js_member(o, "text", &text) || js_type(text) != JS_STRING)
		return "choice without text";
	if (!js_member(o, "logprobs", &v) || (js_type(v) != JS_OBJECT && !js_is_null(v)))
		return "choice without logprobs";
	if (!js_member(o, "finish_reason", &finish))
		return "choice without finish_reason";
	if (js_is_null(finish))
		return !stream ? "no finish reason" : js_str_append(text, &ch->text) < 0 ? "bad text" : NULL;
	if (!js_str_eq(finish, "stop") && !js_str_eq(finish, "length") && !js_str_eq(finish, "content_filter"))
		return "unknown finish reason";
	ch->finished = true;
	if (js_str_append(text, &ch->text) < 0 || js_str_append(finish, &ch->why) < 0)
		return "bad text";
	return NULL;
}

static const char *
counts(struct tf_span usage)
{
	static const char *const names[] = { "prompt_tokens", "completion_tokens", "total_tokens" };
	uint64_t n[3];
	struct tf_span v;

	for (size_t i = 0; i < 3; i++)
		if (!js_member(usage, names[i], &v) || js_get_u64(v, &n[i]) < 0)
			return "usage without counts";
	return n[0] + n[1] == n[2] ? NULL : "usage does not add up";
}

static const char *
chunk(struct completer *c, struct tf_span data, struct tf_span model)
{
	struct tf_span v, el;
	struct js_iter it;
	const char *bad;
	bool some = false;

	if (js_valid(data) == TF_E_INVAL)
		return "not JSON";
	if (js_member(data, "error", &v))
		return "an error";
	bad = object(c, data, model);
	if (bad != NULL)
		return bad;
	if (!js_member(data, "choices", &v) || js_type(v) != JS_ARRAY)
		return "no choices";
	js_iter_init(&it, v);
	for (; bad == NULL && js_iter_next(&it, NULL, &el); some = true)
		bad = one_choice(c, el, true);
	if (bad != NULL || some)
		return bad;
	c->usages++;
	return js_member(data, "usage", &v) ? counts(v) : "a chunk without choices and usage";
}

static const char *
events(struct completer *c, struct tf_span s, struct tf_span model)
{
	const char *bad = NULL, *end;

	while (bad == NULL && s.n > 0) {
		end = memmem(s.p, s.n, "\n\n", 2);
		if (end == NULL || s.n < 8 || memcmp(s.p, "data: ", 6) != 0)
			return "half an event";
		if (c->done)
			return "an event behind [DONE]";
		if (tf_span_is(tf_span(s.p, (size_t)(end - s.p)), "data: [DONE]"))
			c->done = true;
		else
			bad = chunk(c, tf_span(s.p + 6, (size_t)(end - s.p) - 6), model);
		s = tf_span(end + 2, s.n - (size_t)(end + 2 - s.p));
	}
	return bad;
}

/* What was read, and the end of it. */
static const char *
settle(struct completer *c, const char *bad, bool whole, struct tf_buf *made)
{
	tf_buf_reset(made);
	for (unsigned i = 0; i < CHOICES; i++) {
		struct choice *ch = &c->choice[i];

		if (bad == NULL && ch->seen && whole && !ch->finished)
			bad = "a choice has no end";
		if (bad == NULL && ch->seen)
			tf_buf_printf(made, "%u %s [" TF_SPAN_FMT "]\n", i, ch->finished ? tf_buf_cstr(&ch->why) : "-",
			    TF_SPAN_ARG(tf_buf_span(&ch->text)));
		tf_buf_free(&ch->text);
		tf_buf_free(&ch->why);
	}
	if (bad == NULL && whole && made->n == 0)
		bad = "no choice";
	free(c);
	return bad;
}

const char *
completer_stream(struct tf_span stream, struct tf_span model, bool usage, bool whole, struct tf_buf *made)
{
	struct completer *c = calloc(1, sizeof *c);
	const char *bad;

	if (c == NULL)
		abort();
	bad = events(c, stream, model);
	if (bad == NULL && whole && !c->done)
		bad = "no [DONE]";
	if (bad == NULL && !whole && c->done)
		bad = "an end though it failed";
	if (bad == NULL && whole && c->usages != usage)
		bad = "usage unasked for, twice or missing";
	return settle(c, bad, whole, made);
}

const char *
completer_json(struct tf_span body, struct tf_span model, struct tf_buf *made)
{
	struct completer *c = calloc(1, sizeof *c);
	struct tf_span v, el;
	struct js_iter it;
	const char *bad;

	if (c == NULL)
		abort();
	bad = js_valid(body) == TF_E_INVAL ? "not JSON" : object(c, body, model);
	if (bad == NULL && (!js_member(body, "choices", &v) || js_type(v) != JS_ARRAY))
		bad = "no choices";
	if (bad == NULL)
		js_iter_init(&it, v);
	while (bad == NULL && js_iter_next(&it, NULL, &el))
		bad = one_choice(c, el, false);
	if (bad == NULL)
		bad = js_member(body, "usage", &v) ? counts(v) : "no usage";
	return settle(c, bad, true, made);
}
