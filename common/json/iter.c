/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a valid value entry by entry without allocation, for the dialects' decoders. Steps
 * over what is not asked for by brackets and quotes alone. On text that is not valid it ends
 * early, but never reads outside of it.
 */
#include "config.h"

#include <string.h>

#include "common/json/chars.h"
#include "common/json/json.h"

/* Behind the container that starts at p, or NULL. Nesting was bounded by the scanner. */
static const uint8_t *
container_end(const uint8_t *p, const uint8_t *end)
{
	unsigned depth = 0;

	while (p < end) {
		switch (*p) {
		case '"':
			p = js_string_end(p, end);
			if (p == NULL)
				return NULL;
			continue;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (--depth == 0)
				return p + 1;
			break;
		default:
			break;
		}
		p++;
	}
	return NULL;
}

/* Behind the value that starts at p, or NULL. */
static const uint8_t *
value_end(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *from = p;

	if (p == end)
		return NULL;
	if (*p == '"')
		return js_string_end(p, end);
	if (*p == '{' || *p == '[')
		return container_end(p, end);
	while (p < end && *p != ',' && *p != '}' && *p != ']' && !js_is_space(*p))
		p++;
	return p > from ? p : NULL;
}

void
js_iter_init(struct js_iter *it, struct tf_span text)
{
	enum js_type type = js_type(text);

	memset(it, 0, sizeof *it);
	if ((type != JS_OBJECT && type != JS_ARRAY) || text.n < 2)
		return;
	it->object = type == JS_OBJECT;
	it->p = text.p + 1;
	it->end = text.p + text.n - 1;
}

/* The member name at *pp and the ':' behind it; *pp moves to the value. */
static bool
take_key(const uint8_t **pp, const uint8_t *end, struct tf_span *key)
{
	const uint8_t *p = *pp, *q = *p == '"' ? js_string_end(p, end) : NULL;

	if (q == NULL)
		return false;
	*key = tf_span(p, (size_t)(q - p));
	q = js_skip_space(q, end);
	if (q == end || *q != ':')
		return false;
	*pp = js_skip_space(q + 1, end);
	return true;
}

bool
js_iter_next(struct js_iter *it, struct tf_span *key, struct tf_span *value)
{
	const uint8_t *p, *q, *end = (const uint8_t *)it->end;
	struct tf_span name = { NULL, 0 };

	if (it->p == NULL)
		return false;
	p = js_skip_space((const uint8_t *)it->p, end);
	if (p < end && it->index > 0 && *p == ',')
		p = js_skip_space(p + 1, end);
	it->p = NULL;
	if (p == end || (it->object && !take_key(&p, end, &name)))
		return false;
	q = value_end(p, end);
	if (q == NULL)
		return false;
	if (key != NULL)
		*key = name;
	*value = tf_span(p, (size_t)(q - p));
	it->p = (const char *)q;
	it->index++;
	return true;
}

static bool
member_n(struct tf_span text, struct tf_span name, struct tf_span *value)
{
	struct tf_span key, v;
	struct js_iter it;
	bool found = false;

	if (js_type(text) != JS_OBJECT)
		return false;
	js_iter_init(&it, text);
	while (js_iter_next(&it, &key, &v)) {
		if (js_str_eqn(key, name)) {
			*value = v;
			found = true;
		}
	}
	return found;
}

bool
js_member(struct tf_span text, const char *name, struct tf_span *value)
{
	return member_n(text, tf_cspan(name), value);
}

static bool
element_n(struct tf_span text, uint64_t n, struct tf_span *value)
{
	struct js_iter it;

	if (js_type(text) != JS_ARRAY)
		return false;
	js_iter_init(&it, text);
	while (js_iter_next(&it, NULL, value))
		if (n-- == 0)
			return true;
	return false;
}

bool
js_at(struct tf_span text, const char *path, struct tf_span *value)
{
	struct tf_span at = text;

	while (*path != '\0') {
		size_t n;

		if (*path == '[') {
			uint64_t index;

			n = strcspn(++path, "]");
			if (tf_span_u64(tf_span(path, n), UINT32_MAX, &index) < 0 ||
			    path[n] != ']' || !element_n(at, index, &at))
				return false;
			path += n + 1;
		} else {
			n = strcspn(path, ".[");
			if (n == 0 || !member_n(at, tf_span(path, n), &at))
				return false;
			path += n;
		}
		path += *path == '.';
	}
	*value = at;
	return true;
}
