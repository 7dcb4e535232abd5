/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json-c trees for cold paths (control channel, config snapshots, tests): the only file that
 * knows json-c. Our scanner accepts the text first, because json-c alone takes overlong UTF-8
 * and control characters; what json-c would change in silence (member names cut at NUL,
 * saturated integers, infinite doubles) is refused here.
 */
#include "config.h"

#include <json-c/json.h>
#include <string.h>

#include "common/json/chars.h"
#include "common/json/json.h"

/* Is the string token a member name that holds U+0000? */
static bool
nul_name(struct tf_span text, const uint8_t *behind, const uint8_t *end)
{
	const uint8_t *p = js_skip_space(behind, end), *q = (const uint8_t *)text.p;

	if (p == end || *p != ':')
		return false;
	for (; (q = memchr(q, '\\', (size_t)(behind - q))) != NULL; q += 2)
		if (behind - q >= 6 && memcmp(q, "\\u0000", 6) == 0)
			return true;
	return false;
}

/* Would json-c keep this number as it is? Whole ones must fit int64, others a double. */
static bool
number_fits(struct tf_span text)
{
	bool whole = true;
	int64_t i;
	double d;

	for (size_t k = 0; k < text.n; k++)
		whole &= text.p[k] != '.' && (text.p[k] | 0x20) != 'e';
	return whole ? js_get_i64(text, &i) == 0 : js_get_double(text, &d) == 0;
}

/* Looks at every token of a valid text. */
static enum js_fault
check_tokens(struct tf_span text, size_t *at)
{
	const uint8_t *p = (const uint8_t *)text.p, *end = p + text.n, *q;

	while (p < end) {
		*at = (size_t)((const char *)p - text.p);
		if (*p == '"') {
			q = js_string_end(p, end);
			if (q == NULL)
				return JS_F_TRUNCATED;
			if (nul_name(tf_span(p, (size_t)(q - p)), q, end))
				return JS_F_KEY_NUL;
			p = q;
		} else if (*p == '-' || js_is_digit(*p)) {
			for (q = p; q < end && (js_is_digit(*q) || memchr("+-.eE", *q, 5) != NULL);)
				q++;
			if (!number_fits(tf_span(p, (size_t)(q - p))))
				return JS_F_NUMBER_RANGE;
			p = q;
		} else {
			p++;
		}
	}
	return JS_F_NONE;
}

/* json-c's own reading of a text that has passed. */
static int
parse(struct tf_span text, struct json_object **out)
{
	/* it counts a scalar as a level of its own */
	struct json_tokener *tok = json_tokener_new_ex(JS_DEPTH + 2);
	struct json_object *t;
	enum json_tokener_error err;

	if (tok == NULL)
		return TF_E_NOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	t = json_tokener_parse_ex(tok, text.p, (int)text.n);
	err = json_tokener_get_error(tok);
	if (err == json_tokener_continue) /* a number at the top ends with the text */
		t = json_tokener_parse_ex(tok, "", 1);
	err = json_tokener_get_error(tok);
	json_tokener_free(tok);
	*out = t;
	if (err == json_tokener_success)
		return 0;
	return err == json_tokener_error_depth ? TF_E_FULL : TF_E_INVAL;
}

int
js_tree_parse(struct tf_span text, struct json_object **out, enum js_fault *fault, size_t *at)
{
	struct js_scan s;
	size_t errat = 0;
	int r;

	*out = NULL;
	if (text.n > INT32_MAX)
		return TF_E_FULL;
	js_scan_init(&s, NULL, NULL, NULL);
	r = js_scan_end(&s, text.p, text.n);
	errat = s.errat;
	if (r == 0) {
		s.fault = check_tokens(text, &errat);
		if (s.fault != JS_F_NONE)
			r = s.fault == JS_F_NUMBER_RANGE ? TF_E_RANGE : TF_E_INVAL;
	}
	if (fault != NULL)
		*fault = s.fault;
	if (at != NULL)
		*at = errat;
	return r < 0 ? r : parse(text, out);
}

void
js_tree_free(struct json_object **t)
{
	if (*t != NULL)
		json_object_put(*t);
	*t = NULL;
}

/* The member or element that the first step of *path names; *path moves behind it. */
static struct json_object *
step(struct json_object *t, const char **path)
{
	const char *p = *path;
	struct json_object *child = NULL;
	size_t n = strcspn(p, ".[");
	char name[256];

	if (*p == '[') {
		uint64_t index;

		n = strcspn(++p, "]");
		if (p[n] != ']' || tf_span_u64(tf_span(p, n), UINT32_MAX, &index) < 0)
			return NULL;
		n++;
		if (json_object_get_type(t) == json_type_array)
			child = json_object_array_get_idx(t, (size_t)index);
	} else if (n > 0 && n < sizeof name && json_object_get_type(t) == json_type_object) {
		memcpy(name, p, n);
		name[n] = '\0';
		child = json_object_object_get(t, name);
	}
	*path = p + n + (p[n] == '.');
	return child;
}

struct json_object *
js_tree_at(struct json_object *t, const char *path)
{
	while (t != NULL && *path != '\0')
		t = step(t, &path);
	return t;
}

enum js_type
js_tree_type(struct json_object *t)
{
	switch (json_object_get_type(t)) {
	case json_type_boolean:
		return JS_BOOL;
	case json_type_double:
	case json_type_int:
		return JS_NUMBER;
	case json_type_object:
		return JS_OBJECT;
	case json_type_array:
		return JS_ARRAY;
	case json_type_string:
		return JS_STRING;
	case json_type_null:
	default:
		return JS_NULL;
	}
}

struct tf_span
js_tree_str(struct json_object *t, const char *path, struct tf_span other)
{
	struct json_object *o = js_tree_at(t, path);

	if (json_object_get_type(o) != json_type_string)
		return other;
	return tf_span(json_object_get_string(o), (size_t)json_object_get_string_len(o));
}

int64_t
js_tree_i64(struct json_object *t, const char *path, int64_t other)
{
	struct json_object *o = js_tree_at(t, path);
	double d;

	if (json_object_get_type(o) == json_type_int)
		return json_object_get_int64(o);
	if (json_object_get_type(o) != json_type_double)
		return other;
	/* 16.0 is a whole number too, as in js_get_i64 */
	d = json_object_get_double(o);
	if (d < -9007199254740992.0 || d > 9007199254740992.0 || d != (double)(int64_t)d)
		return other;
	return (int64_t)d;
}

double
js_tree_double(struct json_object *t, const char *path, double other)
{
	struct json_object *o = js_tree_at(t, path);
	enum json_type type = json_object_get_type(o);

	if (type != json_type_double && type != json_type_int)
		return other;
	return json_object_get_double(o);
}

bool
js_tree_bool(struct json_object *t, const char *path, bool other)
{
	struct json_object *o = js_tree_at(t, path);

	return json_object_get_type(o) == json_type_boolean ? json_object_get_boolean(o) : other;
}

size_t
js_tree_count(struct json_object *t, const char *path)
{
	struct json_object *o = js_tree_at(t, path);

	switch (json_object_get_type(o)) {
	case json_type_object:
		return (size_t)json_object_object_length(o);
	case json_type_array:
		return json_object_array_length(o);
	default:
		return 0;
	}
}
