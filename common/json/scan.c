/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner: one pass, resumable at any byte, strict. Validates against RFC 8259 and
 * reports values of interest. Fields cost only where the trie of paths has children:
 * below, containers are a counter and one bit each. Called by whoever receives a body or
 * an event; must not know what any field means. The hot path of the gateway: measure
 * (tests/json/bench_json) before changing.
 */
#include "config.h"

#include <assert.h>
#include <string.h>

#include "common/json/chars.h"
#include "common/json/interest.h"

/* What comes next at off. S_WAIT is no state: the slice cuts a token, stay as you are. */
enum { S_VALUE, S_FIRST_KEY, S_KEY, S_FIRST_ELEMENT, S_STRING, S_COLON, S_AFTER, S_DONE, S_WAIT };

enum { MORE = 1 }; /* the slice ends here: wait for the next */

void
js_scan_init(struct js_scan *s, const struct js_interest *in, js_hit_fn *fn, void *arg)
{
	/* the arrays behind hit are written before they are read */
	memset(s, 0, offsetof(struct js_scan, kinds));
	s->in = in;
	s->fn = fn;
	s->arg = arg;
	s->max_depth = JS_DEPTH;
	s->max_nodes = JS_NODES;
	s->node = in != NULL && fn != NULL ? 0 : JS_NONODE;
	s->key = s->keyend = JS_NOKEY;
	s->state = S_VALUE;
}

void
js_scan_limits(struct js_scan *s, unsigned depth, uint32_t nodes)
{
	assert(s->off == 0 && depth <= JS_DEPTH_MAX);
	if (depth > 0)
		s->max_depth = (uint16_t)depth;
	if (nodes > 0)
		s->max_nodes = nodes;
}

bool
js_scan_done(const struct js_scan *s)
{
	return s->state == S_DONE && s->err == 0;
}

static int __attribute__((cold, noinline))
fail(struct js_scan *s, enum js_fault fault, size_t at)
{
	s->fault = fault;
	s->errat = at;
	s->err = fault == JS_F_DEPTH || fault == JS_F_NODES ? TF_E_FULL : TF_E_INVAL;
	return s->err;
}

/* Gives s->hit, filled by the caller except id, to the reader. */
static int
report(struct js_scan *s, const struct js_node *nd)
{
	int r;

	s->hit.id = nd->id;
	r = s->fn(s->arg, &s->hit);
	if (r >= 0)
		return 0;
	s->fault = JS_F_CALLBACK;
	s->errat = s->hit.start;
	s->err = r;
	return r;
}

/* A scalar of interest ends. text: string bytes, 0 for others. */
static int
scalar_hit(struct js_scan *s, enum js_type type, size_t start, size_t end)
{
	const struct js_node *nd = &s->in->node[s->node];
	struct js_hit *h = &s->hit;

	h->type = type;
	h->begin = false;
	h->escaped = type == JS_STRING && s->escaped;
	h->key = s->key;
	h->keyend = s->keyend;
	h->start = start;
	h->end = end;
	h->text = type == JS_STRING ? end - start - 2 : 0;
	h->names = 0;
	h->count = 0;
	if (nd->flags & JS_NO_TEXT)
		s->text -= h->text;
	return nd->wanted ? report(s, nd) : 0;
}

static inline int
count_node(struct js_scan *s, size_t at, enum js_type type)
{
	if (s->nodes == 0)
		s->root = type;
	if (s->nodes >= s->max_nodes)
		return fail(s, JS_F_NODES, at);
	s->nodes++;
	return 0;
}

/* A container of interest begins: keeps what its end will report. */
static int
push_frame(struct js_scan *s, size_t at, enum js_type type)
{
	const struct js_node *nd = &s->in->node[s->node];
	struct js_frame *f = &s->frame[s->nframes++];

	assert(s->nframes <= JS_PATH_DEPTH + 1);
	f->start = at;
	f->key = s->key;
	f->keyend = s->keyend;
	f->text = s->text;
	f->names = s->names;
	f->seen[0] = f->seen[1] = 0;
	f->count = 0;
	f->node = s->node;
	if (type == JS_ARRAY && nd->elem != JS_NONODE)
		s->nindex++;
	if (!nd->wanted || !(nd->flags & JS_AT_START))
		return 0;
	s->hit.type = type;
	s->hit.begin = true;
	s->hit.escaped = false;
	s->hit.key = f->key;
	s->hit.keyend = f->keyend;
	s->hit.start = s->hit.end = at;
	s->hit.text = s->hit.names = 0;
	s->hit.count = 0;
	return report(s, nd);
}

static int
pop_frame(struct js_scan *s, size_t end, enum js_type type)
{
	const struct js_frame *f = &s->frame[--s->nframes];
	const struct js_node *nd = &s->in->node[f->node];
	struct js_hit *h = &s->hit;

	if (type == JS_ARRAY && nd->elem != JS_NONODE)
		s->nindex--;
	if (nd->flags & JS_NO_TEXT)
		s->text = f->text;
	if (!nd->wanted)
		return 0;
	h->type = type;
	h->begin = h->escaped = false;
	h->key = f->key;
	h->keyend = f->keyend;
	h->start = f->start;
	h->end = end;
	h->text = s->text - f->text;
	h->names = s->names - f->names;
	h->count = f->count;
	return report(s, nd);
}

static inline int
open_container(struct js_scan *s, size_t at, enum js_type type)
{
	uint64_t bit = (uint64_t)1 << (s->depth & 63);
	uint64_t *word = &s->kinds[s->depth >> 6];

	if (s->depth >= s->max_depth)
		return fail(s, JS_F_DEPTH, at);
	if (count_node(s, at, type) < 0)
		return s->err;
	*word = type == JS_OBJECT ? *word | bit : *word & ~bit;
	s->depth++;
	if (s->node != JS_NONODE)
		return push_frame(s, at, type);
	s->skip++;
	return 0;
}

static inline bool
in_object(const struct js_scan *s)
{
	unsigned top = (unsigned)s->depth - 1;

	return (s->kinds[top >> 6] >> (top & 63)) & 1;
}

/* end: offset behind the bracket. */
static inline int
close_container(struct js_scan *s, size_t end, enum js_type type)
{
	s->depth--;
	if (s->skip == 0)
		return pop_frame(s, end, type);
	s->skip--;
	return 0;
}

/* An element of the innermost array begins: is it of interest? */
static inline void
begin_element(struct js_scan *s)
{
	struct js_frame *f;

	if (s->skip > 0)
		return; /* node is JS_NONODE already */
	f = &s->frame[s->nframes - 1];
	s->node = s->in->node[f->node].elem;
	if (s->node != JS_NONODE)
		s->hit.index[s->nindex - 1] = f->count;
	f->count++;
	s->key = s->keyend = JS_NOKEY;
}

/* Undoes the escapes of a valid member name; 0 when it is longer than any in a path. */
static size_t
plain_name(const uint8_t *raw, size_t n, char out[static JS_NAME_MAX * 6])
{
	/* an escape is at most six times the length of what it stands for */
	return n > JS_NAME_MAX * 6 ? 0 : js_unescape(raw, n, out);
}

/* A member name of an object of interest ends: finds the node of its value. */
static int
match_key(struct js_scan *s, const uint8_t *base, size_t end)
{
	struct js_frame *f = &s->frame[s->nframes - 1];
	const uint8_t *name = base + s->tok + 1;
	const struct js_node *nd;
	char plain[JS_NAME_MAX * 6];
	size_t n = end - s->tok - 2;

	f->count++;
	s->key = s->tok;
	s->keyend = end;
	if (s->escaped) {
		n = plain_name(name, n, plain);
		name = (const uint8_t *)plain;
	}
	s->node = js_interest_child(s->in, f->node, name, n);
	if (s->node == JS_NONODE)
		return 0;
	nd = &s->in->node[s->node];
	if (nd->bit != JS_NOBIT) {
		uint64_t bit = (uint64_t)1 << (nd->bit & 63);

		if (f->seen[nd->bit >> 6] & bit)
			return fail(s, JS_F_DUPLICATE, s->tok);
		f->seen[nd->bit >> 6] |= bit;
	}
	return 0;
}

/* The escape at p (a backslash): its length, 0 when the slice cuts it, or an error. */
static int
escape_len(struct js_scan *s, const uint8_t *base, const uint8_t *p, const uint8_t *end)
{
	size_t at = (size_t)(p - base);
	int32_t u;

	if (end - p < 2)
		return 0;
	if (p[1] != 'u')
		return memchr("\"\\/bfnrt", p[1], 8) ? 2 : fail(s, JS_F_ESCAPE, at);
	for (int i = 2; i < 6; i++) {
		if (p + i >= end)
			return 0;
		if (js_hexval(p[i]) < 0)
			return fail(s, JS_F_HEX, at);
	}
	u = js_hex4(p + 2);
	if (u < 0xd800 || u > 0xdfff)
		return 6;
	if (u > 0xdbff)
		return fail(s, JS_F_SURROGATE, at);
	for (int i = 6; i < 12; i++) {
		if (p + i >= end)
			return 0;
		if (i < 8 ? p[i] != "\\u"[i - 6] : js_hexval(p[i]) < 0)
			return fail(s, JS_F_SURROGATE, at);
	}
	u = js_hex4(p + 8);
	return u >= 0xdc00 && u <= 0xdfff ? 12 : fail(s, JS_F_SURROGATE, at);
}

/*
 * Goes on inside a string. 0: *pp is behind its closing quote. MORE: *pp is where to go on,
 * never inside an escape or a UTF-8 sequence.
 */
static int
string_run(struct js_scan *s, const uint8_t *base, const uint8_t **pp, const uint8_t *end)
{
	const uint8_t *p = *pp;
	int n;

	for (;;) {
		*pp = p = js_plain_run(p, end);
		if (p == end)
			return MORE;
		if (*p == '"') {
			*pp = p + 1;
			return 0;
		}
		if (*p == '\\') {
			n = escape_len(s, base, p, end);
			if (n <= 0)
				return n == 0 ? MORE : n;
			s->escaped = true;
			p += n;
			continue;
		}
		if (*p < 0x20)
			return fail(s, JS_F_CONTROL, (size_t)(p - base));
		do {
			n = js_utf8(p, end);
			*pp = p;
			if (n <= 0)
				return n < 0 ? MORE : fail(s, JS_F_UTF8, (size_t)(p - base));
			p += n;
		} while (p < end && *p >= 0x80);
	}
}

/* The digits at p, at least one. NULL: there is none; end may be what is missing. */
static inline const uint8_t *
digits(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *from = p;

	while (p < end && js_is_digit(*p))
		p++;
	return p > from ? p : NULL;
}

/*
 * The number at *pp, from its first byte (a cut one is read again with the next slice: it
 * is short). 0, MORE or an error; *pp moves only when it is complete.
 */
static int
number_run(struct js_scan *s, const uint8_t *base, const uint8_t **pp, const uint8_t *slice_end)
{
	const uint8_t *from = *pp, *end = slice_end, *p = from + (*from == '-'), *q;

	if (end - from > JS_NUMBER_MAX + 1)
		end = from + JS_NUMBER_MAX + 1;
	q = digits(p, end);
	if (q != NULL && q - p > 1 && *p == '0')
		return fail(s, JS_F_ZERO, (size_t)(p - base));
	if (q != NULL && q < end && *q == '.') {
		p = q + 1;
		q = digits(p, end);
	}
	if (q != NULL && q < end && (*q | 0x20) == 'e') {
		p = q + 1;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		q = digits(p, end);
	}
	if (q == NULL && p < end)
		return fail(s, JS_F_NUMBER, (size_t)(p - base));
	if (end - from > JS_NUMBER_MAX && (q == NULL || q == end))
		return fail(s, JS_F_NUMBER_LONG, (size_t)(from - base));
	if (q == NULL || (q == end && !s->final))
		return MORE;
	*pp = q;
	return 0;
}

static int
literal_run(struct js_scan *s, const uint8_t *base, const uint8_t **pp, const uint8_t *end)
{
	const uint8_t *p = *pp;
	const char *word = *p == 't' ? "true" : *p == 'f' ? "false" : "null";

	for (; *word != '\0'; word++, p++) {
		if (p == end)
			return MORE;
		if (*p != (uint8_t)*word)
			return fail(s, JS_F_LITERAL, (size_t)(p - base));
	}
	*pp = p;
	return 0;
}

static int __attribute__((cold, noinline))
bad_value(struct js_scan *s, const uint8_t *base, const uint8_t *p)
{
	size_t at = (size_t)(p - base);

	if (at == 0 && *p == 0xef)
		return fail(s, JS_F_BOM, 0);
	if (*p == ']' && s->depth > 0 && !in_object(s))
		return fail(s, JS_F_COMMA_LAST, at);
	return fail(s, JS_F_VALUE, at);
}

/* A number or literal at *pp. 0, MORE (nothing done yet) or an error. */
static inline int
scalar(struct js_scan *s, const uint8_t *base, const uint8_t **pp, const uint8_t *end)
{
	size_t at = (size_t)(*pp - base);
	enum js_type type;
	int r;

	if (js_is_digit(**pp) || **pp == '-') {
		type = JS_NUMBER;
		r = number_run(s, base, pp, end);
	} else if (**pp == 't' || **pp == 'f' || **pp == 'n') {
		type = **pp == 'n' ? JS_NULL : JS_BOOL;
		r = literal_run(s, base, pp, end);
	} else {
		return bad_value(s, base, *pp);
	}
	if (r != 0)
		return r;
	if (count_node(s, at, type) < 0)
		return s->err;
	return s->node == JS_NONODE ? 0 : scalar_hit(s, type, at, (size_t)(*pp - base));
}

/* The string [s->tok, end) is complete: a member name or a value. */
static inline int
string_done(struct js_scan *s, const uint8_t *base, size_t end)
{
	size_t n = end - s->tok - 2;

	if (s->iskey) {
		s->names += n;
		return s->skip > 0 ? 0 : match_key(s, base, end);
	}
	s->text += n;
	return s->node == JS_NONODE ? 0 : scalar_hit(s, JS_STRING, s->tok, end);
}

/*
 * What follows a value: ',' leads to the next entry, a bracket closes. Returns the next
 * state (p moved behind the byte) or an error.
 */
static inline int
after(struct js_scan *s, const uint8_t *base, const uint8_t *p)
{
	size_t end = (size_t)(p - base) + 1;
	int r;

	if (in_object(s)) {
		if (*p == ',')
			return S_KEY;
		if (*p != '}')
			return fail(s, JS_F_COMMA_OBJECT, end - 1);
		r = close_container(s, end, JS_OBJECT);
	} else {
		if (*p == ',') {
			begin_element(s);
			return S_VALUE;
		}
		if (*p != ']')
			return fail(s, JS_F_COMMA_ARRAY, end - 1);
		r = close_container(s, end, JS_ARRAY);
	}
	return r < 0 ? r : S_AFTER;
}

/* A value or member name in quotes starts at p. Returns the next state or an error. */
static inline int
begin_string(struct js_scan *s, const uint8_t *base, const uint8_t *p, bool iskey)
{
	s->tok = (size_t)(p - base);
	s->escaped = false;
	s->iskey = iskey;
	if (!iskey && count_node(s, s->tok, JS_STRING) < 0)
		return s->err;
	return S_STRING;
}

static inline int
step_value(struct js_scan *s, const uint8_t *base, const uint8_t **pp, const uint8_t *end)
{
	const uint8_t *p = *pp;
	int r;

	switch (*p) {
	case '"':
		*pp = p + 1;
		return begin_string(s, base, p, false);
	case '{':
		*pp = p + 1;
		r = open_container(s, (size_t)(p - base), JS_OBJECT);
		return r < 0 ? r : S_FIRST_KEY;
	case '[':
		*pp = p + 1;
		r = open_container(s, (size_t)(p - base), JS_ARRAY);
		return r < 0 ? r : S_FIRST_ELEMENT;
	default:
		r = scalar(s, base, pp, end);
		return r < 0 ? r : r == MORE ? S_WAIT : S_AFTER;
	}
}

static inline int
step_key(struct js_scan *s, const uint8_t *base, const uint8_t **pp, bool first)
{
	const uint8_t *p = (*pp)++;
	size_t at = (size_t)(p - base);
	int r;

	if (*p == '"')
		return begin_string(s, base, p, true);
	if (*p != '}')
		return fail(s, JS_F_KEY, at);
	if (!first)
		return fail(s, JS_F_COMMA_LAST, at);
	r = close_container(s, at + 1, JS_OBJECT);
	return r < 0 ? r : S_AFTER;
}

static inline int
step_first_element(struct js_scan *s, const uint8_t *base, const uint8_t **pp)
{
	int r;

	if (**pp != ']') {
		/* a step of its own: the value may have to wait, the element begins once */
		begin_element(s);
		return S_VALUE;
	}
	r = close_container(s, (size_t)(++*pp - base), JS_ARRAY);
	return r < 0 ? r : S_AFTER;
}

static inline int
step_string(struct js_scan *s, const uint8_t *base, const uint8_t **pp, const uint8_t *end)
{
	int r = string_run(s, base, pp, end);

	if (r != 0)
		return r == MORE ? S_WAIT : r;
	r = string_done(s, base, (size_t)(*pp - base));
	return r < 0 ? r : s->iskey ? S_COLON : S_AFTER;
}

/* One step in state st at *pp, past white space. The next state or an error. */
static inline int
step(struct js_scan *s, int st, const uint8_t *base, const uint8_t **pp, const uint8_t *end)
{
	switch (st) {
	case S_STRING:
		return step_string(s, base, pp, end);
	case S_VALUE:
		return step_value(s, base, pp, end);
	case S_FIRST_ELEMENT:
		return step_first_element(s, base, pp);
	case S_FIRST_KEY:
		return step_key(s, base, pp, true);
	case S_KEY:
		return step_key(s, base, pp, false);
	case S_COLON:
		if (**pp != ':')
			return fail(s, JS_F_COLON, (size_t)(*pp - base));
		++*pp;
		return S_VALUE;
	case S_AFTER:
		return after(s, base, (*pp)++);
	default:
		return fail(s, JS_F_TRAILING, (size_t)(*pp - base));
	}
}

int
js_scan_feed(struct js_scan *s, const char *text, size_t len)
{
	const uint8_t *base = (const uint8_t *)(len > 0 ? text : ""), *p = base + s->off, *end = base + len;
	int st = s->state;

	assert(len >= s->off);
	if (s->err < 0)
		return s->err;
	for (;;) {
		int next;

		if (st == S_AFTER && s->depth == 0)
			st = S_DONE;
		if (st != S_STRING)
			p = js_skip_space(p, end);
		if (p == end)
			break;
		next = step(s, st, base, &p, end);
		if (next < 0)
			return next;
		if (next == S_WAIT)
			break;
		st = next;
	}
	s->state = (uint8_t)st;
	s->off = (size_t)(p - base);
	return 0;
}

int
js_scan_end(struct js_scan *s, const char *text, size_t len)
{
	int r;

	s->final = true;
	r = js_scan_feed(s, text, len);
	if (r < 0)
		return r;
	if (s->state == S_DONE)
		return 0;
	return fail(s, s->nodes == 0 && s->off == len ? JS_F_EMPTY : JS_F_TRUNCATED, len);
}

int
js_valid(struct tf_span text)
{
	struct js_scan s;

	js_scan_init(&s, NULL, NULL, NULL);
	return js_scan_end(&s, text.p, text.n);
}

int
js_hits_keep(void *arg, const struct js_hit *hit)
{
	struct js_hits *h = arg;

	if (h->n == h->max)
		return TF_E_FULL;
	h->v[h->n++] = *hit;
	return 0;
}
