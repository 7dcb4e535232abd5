/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says where and what is wrong with a text that the scanner refused: line, column, path and a
 * sentence for the caller of the API. Cold path: it walks again over what was accepted.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/json/chars.h"
#include "common/json/json.h"

const char *
js_fault_text(enum js_fault fault)
{
	static const char *const text[] = {
#define JS_FAULT(sym, sentence) sentence,
#include "common/json/fault.def"
#undef JS_FAULT
	};

	return (unsigned)fault < JS_F_COUNT ? text[fault] : text[JS_F_NONE];
}

#define SHOWN 12      /* levels of the path that are shown */
#define NAME_SHOWN 40 /* bytes of one member name that are shown */

struct level {
	struct tf_span name; /* raw, without quotes */
	size_t index;
	bool object;
	bool value; /* inside a member's value, so the name counts */
};

/* Text with a bound: what does not fit is cut before a UTF-8 sequence. */
struct out {
	char *p;
	size_t n, size;
};

static void
put(struct out *o, const char *p, size_t n)
{
	if (o->size == 0)
		return;
	if (n > o->size - 1 - o->n) {
		n = o->size - 1 - o->n;
		while (n > 0 && ((uint8_t)p[n] & 0xc0) == 0x80)
			n--;
	}
	memcpy(o->p + o->n, p, n);
	o->n += n;
	o->p[o->n] = '\0';
}

/* A member name as the text has it (escapes stay, so it is printable), shortened. */
static void
put_name(struct out *o, struct tf_span name)
{
	size_t n = name.n;

	if (n > NAME_SHOWN) {
		for (n = NAME_SHOWN; n > 0 && ((uint8_t)name.p[n] & 0xc0) == 0x80;)
			n--;
	}
	put(o, name.p, n);
	if (n < name.n)
		put(o, "...", 3);
}

static void
put_path(struct out *o, const struct level *v, size_t depth)
{
	size_t last = depth > SHOWN ? SHOWN : depth;

	put(o, "", 0);
	for (size_t i = 0; i < last; i++) {
		char index[32];

		if (o->n + NAME_SHOWN + 12 > o->size) {
			last = i;
			break;
		}
		if (!v[i].object) {
			snprintf(index, sizeof index, "[%zu]", v[i].index);
			put(o, index, strlen(index));
		} else if (v[i].value) {
			if (o->n > 0)
				put(o, ".", 1);
			put_name(o, v[i].name);
		}
	}
	if (last < depth)
		put(o, "...", 3);
}

/* One structural byte moves the place; at a string *pp goes behind it. */
static void
walk_byte(struct level *v, size_t *depth, const uint8_t **pp, const uint8_t *end)
{
	struct level none = { { NULL, 0 }, 0, false, false };
	struct level *top = *depth > 0 && *depth <= SHOWN ? &v[*depth - 1] : &none;
	const uint8_t *p = (*pp)++, *q;

	switch (*p) {
	case '{':
	case '[':
		if (*depth < SHOWN)
			v[*depth] = (struct level){ { NULL, 0 }, 0, *p == '{', false };
		++*depth;
		break;
	case '}':
	case ']':
		*depth -= *depth > 0;
		break;
	case ',':
		top->index++;
		top->value = false;
		break;
	case ':':
		top->value = true;
		break;
	case '"':
		q = js_string_end(p, end);
		*pp = q != NULL ? q : end;
		if (q != NULL && top->object && !top->value)
			top->name = tf_span(p + 1, (size_t)(q - p) - 2);
		break;
	default:
		break;
	}
}

void
js_scan_place(const struct js_scan *s, struct tf_span text, struct js_place *out)
{
	size_t at = s->errat < text.n ? s->errat : text.n, depth = 0, start = 0;
	const uint8_t *p = (const uint8_t *)text.p, *end = p + at;
	struct out path = { out->path, 0, sizeof out->path };
	struct level v[SHOWN];

	out->line = 1;
	for (size_t i = 0; i < at; i++) {
		if (text.p[i] == '\n') {
			out->line++;
			start = i + 1;
		}
	}
	out->column = at - start + 1;
	while (p < end)
		walk_byte(v, &depth, &p, end);
	put_path(&path, v, depth);
}

/* The raw member name that starts at at, without its quotes; empty when there is none. */
static struct tf_span
name_at(struct tf_span text, size_t at)
{
	const uint8_t *p = (const uint8_t *)text.p + at, *end = (const uint8_t *)text.p + text.n;
	const uint8_t *q = p < end && *p == '"' ? js_string_end(p, end) : NULL;

	return q != NULL ? tf_span(p + 1, (size_t)(q - p) - 2) : tf_span("", 0);
}

void
js_scan_message(const struct js_scan *s, struct tf_span text, char *out, size_t size)
{
	struct out o = { out, 0, size };
	struct js_place place;
	char where[64];

	js_scan_place(s, text, &place);
	snprintf(where, sizeof where, " at line %zu, column %zu", place.line, place.column);
	if (s->fault == JS_F_DUPLICATE) {
		put(&o, "duplicate field \"", 17);
		put(&o, place.path, strlen(place.path));
		if (place.path[0] != '\0')
			put(&o, ".", 1);
		put_name(&o, name_at(text, s->errat));
		put(&o, "\"", 1);
		put(&o, where, strlen(where));
		return;
	}
	put(&o, "invalid JSON", 12);
	put(&o, where, strlen(where));
	if (place.path[0] != '\0') {
		put(&o, " (", 2);
		put(&o, place.path, strlen(place.path));
		put(&o, ")", 1);
	}
	put(&o, ": ", 2);
	put(&o, js_fault_text(s->fault), strlen(js_fault_text(s->fault)));
}
