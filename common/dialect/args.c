/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Argument text of calls as it streams. Models write it, so nothing of its form can be relied on. Called by
 * the encoders of answers.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/args.h"

void
dl_track(struct dl_track *t, struct tf_span s)
{
	for (size_t i = 0; i < s.n && !t->whole; i++) {
		char c = s.p[i];

		if (t->escape) {
			t->escape = false;
		} else if (t->string) {
			t->escape = c == '\\';
			t->string = c != '"';
		} else if (c == '"') {
			t->string = true;
		} else if (c == '{' || c == '[') {
			t->begun = true;
			t->depth++;
		} else if ((c == '}' || c == ']') && t->depth > 0) {
			t->whole = --t->depth == 0;
		}
	}
}

/* ---- the text inside --------------------------------------------------------------------- */

enum { AT_START, AT_KEY, AT_COLON, AT_VALUE, IN_TEXT, BEHIND, ODD };

static const char key[] = "\"input\"";

static bool
blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* One character in front of the text. */
static void
before(struct dl_unwrap *u, char c)
{
	if (u->state == AT_KEY && u->nesc > 0) {
		/* inside the name: esc counts how much of it is there */
		if (c != key[u->nesc])
			u->state = ODD;
		else if (key[++u->nesc] == '\0')
			u->state = AT_COLON;
		return;
	}
	if (blank(c))
		return;
	if (u->state == AT_START) {
		u->state = c == '{' ? AT_KEY : ODD;
	} else if (u->state == AT_KEY) {
		u->nesc = 1;
		u->state = c == '"' ? AT_KEY : ODD;
	} else if (u->state == AT_COLON) {
		u->state = c == ':' ? AT_VALUE : ODD;
	} else {
		u->state = c == '"' ? IN_TEXT : ODD;
		u->nesc = 0;
	}
}

static int
escape(struct dl_unwrap *u, struct tf_buf *out)
{
	char quoted[sizeof u->esc + 2];
	size_t n = u->nesc;

	quoted[0] = '"';
	memcpy(quoted + 1, u->esc, n);
	quoted[n + 1] = '"';
	u->nesc = 0;
	return js_str_append(tf_span(quoted, n + 2), out);
}

static bool
is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool
high_surrogate(const char *e)
{
	return (e[2] == 'd' || e[2] == 'D') && strchr("89abAB", e[3]) != NULL;
}

/*
 * One more character of an escape. A first half of a pair waits for the other one. 1: the character is not part of
 * it and is still to be read.
 */
static int
in_escape(struct dl_unwrap *u, char c, struct tf_buf *out)
{
	uint8_t n = u->nesc, at = n >= 6 ? n - 6 : n;
	bool fits = at == 0 ? c == '\\' : at == 1 ? (n == 1 ? strchr("\"\\/bfnrtu", c) != NULL && c != '\0' : c == 'u') : is_hex(c);
	int r;

	if (!fits) {
		/* a first half alone, or no escape at all: the model's own way of writing a backslash */
		if (n >= 6)
			r = (u->nesc = 6, escape(u, out));
		else
			r = tf_buf_append(out, u->esc, n);
		u->nesc = 0;
		return r < 0 ? r : 1;
	}
	u->esc[u->nesc++] = c;
	n = u->nesc;
	if (n == 2 && c != 'u')
		return escape(u, out);
	if ((n == 6 && !high_surrogate(u->esc)) || n == 12)
		return escape(u, out);
	return 0;
}

static int
text(struct dl_unwrap *u, struct tf_span s, struct tf_buf *out)
{
	size_t i = 0, from;
	int r = 0;

	while (r == 0 && i < s.n && u->state == IN_TEXT) {
		if (u->nesc > 0) {
			r = in_escape(u, s.p[i], out);
			if (r == 0)
				i++;
			else if (r == 1)
				r = 0;
			continue;
		}
		for (from = i; i < s.n && s.p[i] != '"' && s.p[i] != '\\'; i++)
			;
		r = tf_buf_append(out, s.p + from, i - from);
		if (i < s.n && s.p[i] == '"')
			u->state = BEHIND;
		else if (i < s.n)
			u->esc[u->nesc++] = s.p[i++];
	}
	return r;
}

int
dl_unwrap_feed(struct dl_unwrap *u, struct tf_span args, struct tf_buf *out)
{
	size_t i = 0;
	int r;

	if (u->state == BEHIND)
		return 0;
	if (u->state != IN_TEXT) {
		r = tf_buf_addspan(&u->raw, args);
		if (r < 0)
			return r;
	}
	while (i < args.n && u->state < IN_TEXT)
		before(u, args.p[i++]);
	return u->state == IN_TEXT ? text(u, tf_span(args.p + i, args.n - i), out) : 0;
}

/* The only member, when it is a string: weak models choose names of their own. */
static bool
only_string(struct tf_span object, struct tf_span *value)
{
	struct tf_span next;
	struct js_iter it;

	js_iter_init(&it, object);
	return js_iter_next(&it, NULL, value) && js_type(*value) == JS_STRING && !js_iter_next(&it, NULL, &next);
}

int
dl_unwrap_end(struct dl_unwrap *u, struct tf_buf *out)
{
	struct tf_span raw = tf_buf_span(&u->raw), v;
	int r;

	if (u->state == BEHIND)
		return 0;
	if (u->state == IN_TEXT) {
		/* half an escape says nothing, but for the first half of a pair */
		u->state = BEHIND;
		r = u->nesc >= 6 ? (u->nesc = 6, escape(u, out)) : 0;
		u->nesc = 0;
		return r;
	}
	u->state = BEHIND;
	while (raw.n > 0 && blank(raw.p[0]))
		raw = tf_span(raw.p + 1, raw.n - 1);
	while (raw.n > 0 && blank(raw.p[raw.n - 1]))
		raw.n--;
	if (raw.n == 0 || tf_span_is(raw, "{}") || tf_span_is(raw, "null"))
		return 0;
	if (js_valid(raw) == 0) {
		if (js_type(raw) == JS_STRING)
			return js_str_append(raw, out);
		if ((js_member(raw, "input", &v) && js_type(v) == JS_STRING) || only_string(raw, &v))
			return js_str_append(v, out);
	}
	return tf_buf_addspan(out, raw);
}

void
dl_unwrap_fini(struct dl_unwrap *u)
{
	tf_buf_free(&u->raw);
	memset(u, 0, sizeof *u);
}
