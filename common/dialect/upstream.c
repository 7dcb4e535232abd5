/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of runtimes: what they mean to the client and which words of theirs may reach it. Their
 * bodies come in many shapes; none of their addresses, keys or traces may pass. Called by decoders
 * and xlate.c.
 */
#include "config.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/dialect/canon.h"

/* ---- scrubbing --------------------------------------------------------------------------- */

struct cleaner {
	char *out;
	size_t n, cap;
	bool full;
};

static void
put(struct cleaner *c, const char *s, size_t n)
{
	if (c->full || n > c->cap - 1 - c->n) {
		c->full = true;
		return;
	}
	memcpy(c->out + c->n, s, n);
	c->n += n;
}

static bool
starts(struct tf_span w, const char *with)
{
	size_t n = strlen(with);

	return w.n >= n && strncasecmp(w.p, with, n) == 0;
}

static bool
all_in(struct tf_span w, const char *set)
{
	for (size_t i = 0; i < w.n; i++)
		if (memchr(set, w.p[i], strlen(set)) == NULL)
			return false;
	return true;
}

/* host:port, a.b.c.d */
static bool
is_address(struct tf_span w)
{
	const char *colon = memrchr(w.p, ':', w.n);
	size_t dots = 0;

	for (size_t i = 0; i < w.n; i++)
		dots += w.p[i] == '.';
	if (dots == 3 && all_in(w, "0123456789.:"))
		return true;
	if (starts(w, "localhost"))
		return true;
	if (colon == NULL || colon == w.p || w.p + w.n - colon < 3)
		return false;
	return all_in(tf_span(colon + 1, (size_t)(w.p + w.n - colon - 1)), "0123456789") &&
	    !all_in(tf_span(w.p, (size_t)(colon - w.p)), "0123456789:.");
}

static void
word(struct cleaner *c, struct tf_span w)
{
	bool slash = w.n > 2 && w.p[0] == '/' && memchr(w.p + 1, '/', w.n - 1) != NULL;

	if (w.n == 0)
		return;
	if (memmem(w.p, w.n, "://", 3) != NULL || starts(w, "unix:") || is_address(w))
		put(c, "[address]", 9);
	else if (slash || memmem(w.p, w.n, ".py:", 4) != NULL)
		put(c, "[path]", 6);
	else if (w.n >= 12 &&
	    (starts(w, "sk-") || starts(w, "tf-") || starts(w, "hf_") || starts(w, "xai-")))
		put(c, "[key]", 5);
	else
		put(c, w.p, w.n);
}

/* An address goes on through its query. */
static bool
ends_word(struct tf_span w, unsigned char b)
{
	if (b <= 0x20 || b == 0x7f || strchr("\"'`<>", b) != NULL)
		return true;
	return strchr("()[]{},;=|", b) != NULL && memmem(w.p, w.n, "://", 3) == NULL;
}

void
dl_scrub(struct tf_span text, char *out, size_t cap)
{
	struct cleaner c = { out, 0, cap, false };
	size_t from = 0, i;

	for (i = 0; i < text.n; i++) {
		unsigned char b = (unsigned char)text.p[i];

		if (!ends_word(tf_span(text.p + from, i - from), b))
			continue;
		word(&c, tf_span(text.p + from, i - from));
		from = i + 1;
		/* the first line says what is wrong, what follows is a trace */
		if (b == '\n' && c.n > 0)
			break;
		if (c.n > 0 || b > 0x20)
			put(&c, b <= 0x20 || b == 0x7f ? " " : (const char *)&text.p[i], 1);
	}
	if (i == text.n)
		word(&c, tf_span(text.p + from, i - from));
	while (c.n > 0 && out[c.n - 1] == ' ')
		c.n--;
	out[c.n] = '\0';
	if (strncmp(out, "Traceback", 9) == 0)
		out[0] = '\0';
}

/* ---- what the body says ------------------------------------------------------------------ */

struct said {
	struct tf_span message, type, param, word; /* raw strings; empty: none. word: a code that is no number */
	int code;                            /* a status inside the body; 0 none */
	uint64_t prompt, context;            /* tokens, when they are given apart */
};

static struct tf_span
string_member(struct tf_span object, const char *name)
{
	struct tf_span v;

	return js_member(object, name, &v) && js_type(v) == JS_STRING ? v : tf_span(NULL, 0);
}

static uint64_t
number_member(struct tf_span object, const char *name)
{
	struct tf_span v;
	uint64_t n;

	return js_member(object, name, &v) && js_get_u64(v, &n) == 0 ? n : 0;
}

static void
read_body(struct tf_span body, struct said *s)
{
	struct tf_span e = body, v;

	memset(s, 0, sizeof *s);
	if (body.n == 0 || js_valid(body) < 0)
		return;
	while (e.n > 0 && isspace((unsigned char)e.p[0]))
		e = tf_span(e.p + 1, e.n - 1);
	if (js_member(e, "error", &v)) {
		if (js_type(v) == JS_STRING)
			s->message = v;
		if (js_type(v) == JS_OBJECT)
			e = v;
	}
	if (s->message.n == 0)
		s->message = string_member(e, "message");
	if (s->message.n == 0)
		s->message = string_member(e, "detail");
	if (s->message.n == 0 && js_at(e, "detail[0].msg", &v) && js_type(v) == JS_STRING)
		s->message = v;
	s->type = string_member(e, "type");
	s->param = string_member(e, "param");
	s->word = string_member(e, "code");
	s->code = (int)(number_member(e, "code") % 1000);
	s->prompt = number_member(e, "n_prompt_tokens");
	s->context = number_member(e, "n_ctx");
}

/* An error inside an answer of status 200 has no status but its own words. */
static int
status_of(const struct said *s)
{
	static const struct {
		const char *type;
		int status;
	} types[] = {
		{ "invalid_request_error", 400 },
		{ "BadRequestError", 400 },
		{ "exceed_context_size_error", 400 },
		{ "rate_limit_error", 429 },
		{ "RateLimitError", 429 },
		{ "overloaded_error", 503 },
		{ "authentication_error", 401 },
		{ "permission_error", 403 },
		{ "not_found_error", 404 },
		{ "timeout_error", 504 },
		{ "request_too_large", 413 },
		/* codes of the Responses API */
		{ "invalid_prompt", 400 },
		{ "context_length_exceeded", 400 },
		{ "rate_limit_exceeded", 429 },
	};

	if (s->code >= 400 && s->code < 600)
		return s->code;
	for (size_t i = 0; i < TF_LEN(types); i++)
		if (js_str_eq(s->type, types[i].type) || js_str_eq(s->word, types[i].type))
			return types[i].status;
	return 0;
}

static const struct {
	int low, high, err;
	bool retryable;
} rows[] = {
#define UPSTREAM(low, high, error, retryable) { low, high, TF_E_##error, retryable },
#include "common/dialect/upstream.def"
#undef UPSTREAM
};

static const char words[] = "maximum context length"; /* clients look for them */

static bool
about_context(const char *message)
{
	static const char *const signs[] = {
		words,
		"context length",
		"context size",
		"context window",
		"max_model_len",
		"prompt is too long",
		"context limit",
		"too many tokens",
		"n_ctx",
	};

	for (size_t i = 0; i < TF_LEN(signs); i++)
		if (strcasestr(message, signs[i]) != NULL)
			return true;
	return false;
}

/* Which of the numbers in a runtime's sentence is which, by the words beside it. */
static void
context_numbers(const char *text, struct dl_fault *f)
{
	static const struct {
		const char *before, *behind; /* one of them */
		size_t to;
	} marks[] = {
		{ "context length is ", NULL, offsetof(struct dl_fault, context) },
		{ "context length (", NULL, offsetof(struct dl_fault, context) },
		{ "context length of ", NULL, offsetof(struct dl_fault, context) },
		{ "context size (", NULL, offsetof(struct dl_fault, context) },
		{ "context window of ", NULL, offsetof(struct dl_fault, context) },
		{ "> ", NULL, offsetof(struct dl_fault, context) },
		{ NULL, " in the messages", offsetof(struct dl_fault, tokens) },
		{ NULL, " in the prompt", offsetof(struct dl_fault, tokens) },
		{ NULL, " input tokens", offsetof(struct dl_fault, tokens) },
		{ NULL, " tokens > ", offsetof(struct dl_fault, tokens) },
		{ NULL, " + ", offsetof(struct dl_fault, tokens) },
		{ NULL, " in the completion", offsetof(struct dl_fault, output) },
		{ NULL, " output tokens", offsetof(struct dl_fault, output) },
		{ NULL, " > ", offsetof(struct dl_fault, output) },
	};
	unsigned long long most = 0;
	char *end;

	for (const char *at = text; *at != '\0'; at = end) {
		unsigned long long n;
		bool known = false;

		at += strcspn(at, "0123456789");
		n = strtoull(at, &end, 10);
		if (end == at)
			break;
		for (size_t i = 0; i < TF_LEN(marks) && !known; i++) {
			size_t k = strlen(marks[i].before != NULL ? marks[i].before : marks[i].behind);
			uint64_t *to = (uint64_t *)((char *)f + marks[i].to);

			known = marks[i].behind != NULL ? strncmp(end, marks[i].behind, k) == 0
							: (size_t)(at - text) >= k && memcmp(at - k, marks[i].before, k) == 0;
			if (known && *to == 0 && n < UINT64_MAX / 8)
				*to = n;
		}
		most = !known && n > most ? n : most;
	}
	/* "the input (5000 tokens) is longer than ..." */
	if (f->tokens == 0 && most > f->context && most < UINT64_MAX / 8)
		f->tokens = most;
}

static void
client_message(const struct said *s, struct dl_fault *f)
{
	char text[DL_MESSAGE_MAX], param[DL_PARAM_MAX];
	struct tf_buf scratch = { 0 };
	struct tf_span v;

	text[0] = param[0] = '\0';
	if (s->message.n > 0 && js_str(s->message, &scratch, &v) == 0)
		dl_scrub(v, text, sizeof text);
	tf_buf_reset(&scratch);
	if (s->param.n > 0 && js_str(s->param, &scratch, &v) == 0)
		dl_scrub(v, param, sizeof param);
	tf_buf_free(&scratch);
	if (s->prompt > 0 && s->context > 0)
		dl_fault_set(f, f->err, "messages",
		    "The prompt has %llu tokens; the model's %s is %llu tokens.",
		    (unsigned long long)s->prompt, words, (unsigned long long)s->context);
	else if (about_context(text) && strstr(text, words) == NULL)
		dl_fault_set(f, f->err, param[0] != '\0' ? param : "messages",
		    "The prompt exceeds the model's %s: %s", words, text);
	else if (text[0] != '\0')
		dl_fault_set(f, f->err, param, "%s", text);
	else
		dl_fault_set(f, f->err, param, NULL);
	if ((s->prompt > 0 && s->context > 0) || about_context(text)) {
		f->too_long = true;
		f->tokens = s->prompt;
		f->context = s->context;
		if (f->context == 0)
			context_numbers(text, f);
	}
}

void
dl_fault_words(struct dl_fault *f, enum dl_family family)
{
	unsigned long long a = f->tokens, b = f->output, c = f->context;
	char param[DL_PARAM_MAX];
	struct dl_fault was = *f;

	if (!f->too_long || family != DL_FAMILY_ANTHROPIC)
		return;
	memcpy(param, f->param, sizeof param);
	/* agents look for these sentences: they compact the conversation, or ask for less */
	if (a > c && c > 0)
		dl_fault_set(f, f->err, param, "prompt is too long: %llu tokens > %llu maximum", a, c);
	else if (a > 0 && b > 0 && c > 0)
		dl_fault_set(f, f->err, param,
		    "input length and `max_tokens` exceed context limit: %llu + %llu > %llu, decrease input length or "
		    "`max_tokens` and try again", a, b, c);
	else if (strstr(f->message, "prompt is too long") == NULL)
		dl_fault_set(f, f->err, param, "prompt is too long: %s", was.message);
	f->retryable = was.retryable;
	f->retry_after_s = was.retry_after_s;
}

void
dl_upstream_fault(
    int status, struct tf_span body, uint32_t retry_after_s, uint32_t quirks, struct dl_fault *f)
{
	bool inside = status < 400;
	bool retryable = true;
	struct said s;
	int err = TF_E_UPSTREAM_ERROR;

	read_body(body, &s);
	if (inside)
		status = status_of(&s);
	if (status == 500 && (quirks & DL_Q_ERROR_500_CLIENT) &&
	    js_str_eq(s.type, "invalid_request_error"))
		status = 400;
	for (size_t i = 0; i < TF_LEN(rows); i++)
		if (status >= rows[i].low && status <= rows[i].high) {
			err = rows[i].err;
			retryable = rows[i].retryable;
			break;
		}
	/* inside an answer the runtime is there, it only failed */
	if (inside && err == TF_E_MODEL_UNAVAILABLE)
		err = TF_E_UPSTREAM_ERROR;
	if (status == 429 && (quirks & DL_Q_HOSTED))
		err = TF_E_RATE_LIMIT_EXCEEDED;
	dl_fault_set(f, err, NULL, NULL);
	if (err == TF_E_BAD_REQUEST || err == TF_E_REQUEST_TOO_LARGE)
		client_message(&s, f);
	f->retryable = retryable;
	f->retry_after_s = retry_after_s;
}
