/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of conf.def: text to C value, range and all. One parser per type. A
 * reason never repeats a text that may hold a secret: only numbers, switches,
 * choices and addresses are quoted back.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "common/conf/inside.h"

#define LIST_MAX 1024 /* entries of a list */

static int say(char *why, const char *fmt, ...) TF_PRINTF(2, 3);

static int
say(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CF_WHY, fmt, ap);
	va_end(ap);
	return TF_E_INVAL;
}

/* ---- single values ------------------------------------------------------------------------ */

static int
parse_bool(const char *text, bool *out)
{
	static const char *const yes[] = { "yes", "on", "true", "1" },
				 *const no[] = { "no", "off", "false", "0" };

	for (size_t i = 0; i < TF_LEN(yes); i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*out = strcmp(text, yes[i]) == 0;
			return 0;
		}
	}
	return TF_E_INVAL;
}

/* Digits, then one of units ("k", "m"; "" if a bare number is one); scale[i] belongs to unit i. */
static int
parse_scaled(
    const char *text, const char *const *units, const uint64_t *scale, size_t n, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t v;

	if (digits == 0)
		return TF_E_INVAL;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text + digits, units[i]) != 0)
			continue;
		if (tf_span_u64(tf_span(text, digits), INT64_MAX / scale[i], &v) != 0)
			return TF_E_RANGE;
		*out = v * scale[i];
		return 0;
	}
	return TF_E_INVAL;
}

static int
parse_int(const char *text, int64_t *out)
{
	bool minus = text[0] == '-';
	uint64_t v;
	int r = tf_span_u64(tf_cspan(text + minus), INT64_MAX, &v);

	if (r == 0)
		*out = minus ? -(int64_t)v : (int64_t)v;
	return r;
}

static int
parse_size(const char *text, uint64_t *out)
{
	static const char *const units[] = { "", "k", "m", "g" };
	static const uint64_t scale[] = { 1, 1 << 10, 1 << 20, 1 << 30 };

	return parse_scaled(text, units, scale, TF_LEN(units), out);
}

static int
parse_ms(const char *text, uint64_t *out)
{
	static const char *const units[] = { "ms", "s", "m", "h", "d" };
	static const uint64_t scale[] = { 1, 1000, 60000, 3600000, 86400000 };

	if (strcmp(text, "0") == 0) {
		*out = 0;
		return 0;
	}
	return parse_scaled(text, units, scale, TF_LEN(units), out);
}

/* ---- texts -------------------------------------------------------------------------------- */

/* Is s one of "a|b|c"? */
static bool
is_choice(const char *choices, struct tf_span s)
{
	while (s.n > 0) {
		size_t n = strcspn(choices, "|");

		if (tf_span_eq(tf_span(choices, n), s))
			return true;
		if (choices[n] == '\0')
			break;
		choices += n + 1;
	}
	return false;
}

static int
value_text(
    struct cf_load *l, const struct cf_option *o, const char *text, const char **out, char *why)
{
	if (o->type == CONF_ENUM && !is_choice(o->max, tf_cspan(text)))
		return say(why, "\"%.60s\" is not one of %s", text, o->max);
	if ((o->type == CONF_PATH || o->type == CONF_SECRET) && text[0] != '/')
		return say(why, "must be an absolute path");
	*out = cf_dup(l, tf_cspan(text));
	return *out == NULL ? TF_E_NOMEM : 0;
}

/* ---- lists -------------------------------------------------------------------------------- */

/*
 * Takes the next entry off *at. Entries end at a comma; one that begins with a double
 * quote ends at the next bare one, and \" and \\ stand for themselves inside. The entry
 * is copied into out, which has room for the whole text.
 */
static int
next_entry(const char **at, char *out, char *why)
{
	const char *p = *at + strspn(*at, " \t");
	size_t n = 0;

	if (*p != '"') {
		struct tf_span s = tf_span_trim(tf_span(p, strcspn(p, ",")));

		memcpy(out, s.p, s.n);
		out[s.n] = '\0';
		*at = p + strcspn(p, ",");
		return s.n == 0 ? say(why, "has an empty entry") : 0;
	}
	for (p++; *p != '"'; p++) {
		if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
			p++;
		if (*p == '\0')
			return say(why, "a quoted entry does not end");
		out[n++] = *p;
	}
	out[n] = '\0';
	p++;
	p += strspn(p, " \t");
	if (*p != ',' && *p != '\0')
		return say(why, "a comma must follow a quoted entry");
	*at = p;
	return 0;
}

/* Every entry of text, copied; *n of them. */
static int
split(struct cf_load *l, const char *text, const char ***out, size_t *n, char *why)
{
	size_t room = 1;
	const char **v;
	char *copy;
	int r;

	for (const char *p = text; *p != '\0'; p++)
		room += *p == ',';
	v = cf_alloc(l, room * sizeof *v);
	/* an entry and its NUL are no longer than the entry and its comma */
	copy = cf_alloc(l, strlen(text) + 1);
	if (v == NULL || copy == NULL)
		return TF_E_NOMEM;
	for (*n = 0;; text++) {
		if (*n == LIST_MAX)
			return say(why, "has more than %d entries", LIST_MAX);
		if ((r = next_entry(&text, copy, why)) != 0)
			return r;
		v[(*n)++] = copy;
		copy += strlen(copy) + 1;
		if (*text == '\0')
			break;
	}
	*out = v;
	return 0;
}

static int
value_list(struct cf_load *l, const struct cf_option *o, const char *text, struct conf_list *out,
    char *why)
{
	const char **v;
	size_t n;
	int r = split(l, text, &v, &n, why);

	if (r != 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (o->max[0] != '\0' && !is_choice(o->max, tf_cspan(v[i])))
			return say(why, "\"%.60s\" is not one of %s", v[i], o->max);
		for (size_t k = 0; k < i; k++)
			if (strcmp(v[i], v[k]) == 0)
				return say(why, "names an entry twice (number %zu)", i + 1);
	}
	*out = (struct conf_list){ v, n };
	return 0;
}

/* ---- addresses ---------------------------------------------------------------------------- */

/* unix:PATH */
static int
addr_unix(struct conf_addr *a, const char *path, char *why)
{
	struct sockaddr_un sun;

	if (path[0] != '/')
		return say(why, "\"%.60s\": the path of a UNIX socket must be absolute", a->text);
	if (strlen(path) >= sizeof sun.sun_path)
		return say(why, "\"%.60s\": longer than a UNIX socket's path can be (%zu)", a->text,
		    sizeof sun.sun_path - 1);
	a->unix_path = path;
	return 0;
}

static int
value_addr(struct cf_load *l, const char *text, struct conf_addr *a, char *why)
{
	const char *colon = strrchr(text, ':');
	struct tf_span host;
	uint64_t port;

	*a = (struct conf_addr){ .text = text };
	if (strncmp(text, "unix:", 5) == 0)
		return addr_unix(a, text + 5, why);
	if (strstr(text, "://") != NULL)
		return say(
		    why, "\"%.60s\": no scheme here, only HOST:PORT, [v6]:PORT or unix:PATH", text);
	if (colon == NULL || tf_span_u64(tf_cspan(colon + 1), 65535, &port) != 0)
		return say(why, "\"%.60s\" is not HOST:PORT, [v6]:PORT or unix:PATH", text);
	host = tf_span(text, (size_t)(colon - text));
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = tf_span(host.p + 1, host.n - 2);
	else if (memchr(host.p, ':', host.n) != NULL)
		return say(why, "\"%.60s\": an IPv6 address needs brackets", text);
	else if (tf_span_is(host, "*"))
		host.n = 0;
	else if (host.n == 0)
		return say(why, "\"%.60s\": no host; write * for every address", text);
	for (size_t i = 0; i < host.n; i++)
		if (strchr(" \t/[]@*", host.p[i]) != NULL)
			return say(why, "\"%.60s\" is not HOST:PORT, [v6]:PORT or unix:PATH", text);
	a->port = (uint16_t)port;
	a->host = cf_dup(l, host);
	return a->host == NULL ? TF_E_NOMEM : 0;
}

static int
value_addrs(struct cf_load *l, const char *text, struct conf_addrs *out, char *why)
{
	struct conf_addr *a;
	const char **v;
	size_t n;
	int r = split(l, text, &v, &n, why);

	if (r != 0)
		return r;
	a = cf_alloc(l, n * sizeof *a);
	if (a == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		if ((r = value_addr(l, v[i], &a[i], why)) != 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (a[i].port != 0 && strcmp(v[i], v[k]) == 0)
				return say(why, "names \"%.60s\" twice", v[i]);
	}
	*out = (struct conf_addrs){ a, n };
	return 0;
}

/* ---- all types ---------------------------------------------------------------------------- */

/* Numbers of every kind, as one signed number: for ranges and comparison. */
static int
parse_number(enum conf_type type, const char *text, int64_t *out)
{
	uint64_t u = 0;
	int r;

	if (type == CONF_INT)
		return parse_int(text, out);
	if (type == CONF_MONEY)
		return tf_money_parse(text, out);
	r = type == CONF_SIZE ? parse_size(text, &u) : parse_ms(text, &u);
	*out = (int64_t)u;
	return r;
}

static int
value_number(const struct cf_option *o, const char *text, void *dest, char *why)
{
	static const char *const like[] = {
		[CONF_INT] = "a whole number",
		[CONF_SIZE] = "a size (bytes, or with k, m, g behind)",
		[CONF_MS] = "a time (a number and ms, s, m, h or d)",
		[CONF_MONEY] = "an amount (at most nine decimals)",
	};
	int64_t v, min, max;
	int r = parse_number(o->type, text, &v);

	if (r == TF_E_INVAL)
		return say(why, "\"%.60s\" is not %s", text, like[o->type]);
	if (r == TF_E_RANGE ||
	    (o->min[0] != '\0' && parse_number(o->type, o->min, &min) == 0 && v < min) ||
	    (o->max[0] != '\0' && parse_number(o->type, o->max, &max) == 0 && v > max))
		return say(why, "%.60s is out of range: %s to %s", text, o->min, o->max);
	memcpy(dest, &v, sizeof v);
	return 0;
}

int
cf_value(struct cf_load *l, const struct cf_option *o, const char *text, void *dest, char *why)
{
	if (text[0] == '\0') {
		/* unset; the struct is zeroed */
		if (o->type == CONF_STR || o->type == CONF_PATH || o->type == CONF_SECRET ||
		    o->type == CONF_LIST || o->type == CONF_ADDRS)
			return 0;
		if (o->type == CONF_MONEY && o->def[0] == '\0') {
			*(int64_t *)dest = CONF_NO_AMOUNT;
			return 0;
		}
		return say(why, "needs a value");
	}
	switch (o->type) {
	case CONF_BOOL:
		if (parse_bool(text, dest) != 0)
			return say(why, "\"%.60s\" is neither yes nor no", text);
		return 0;
	case CONF_INT:
	case CONF_SIZE:
	case CONF_MS:
	case CONF_MONEY:
		return value_number(o, text, dest, why);
	case CONF_STR:
	case CONF_PATH:
	case CONF_SECRET:
	case CONF_ENUM:
		return value_text(l, o, text, dest, why);
	case CONF_ADDRS:
		return value_addrs(l, text, dest, why);
	case CONF_LIST:
		return value_list(l, o, text, dest, why);
	}
	return say(why, "has no type");
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool
cf_value_same(enum conf_type type, const void *a, const void *b)
{
	const struct conf_addrs *aa = a, *ab = b;
	const struct conf_list *la = a, *lb = b;

	switch (type) {
	case CONF_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONF_INT:
	case CONF_SIZE:
	case CONF_MS:
	case CONF_MONEY:
		return memcmp(a, b, sizeof(int64_t)) == 0;
	case CONF_ADDRS:
		for (size_t i = 0; i < aa->n && aa->n == ab->n; i++)
			if (!same_text(aa->v[i].text, ab->v[i].text))
				return false;
		return aa->n == ab->n;
	case CONF_LIST:
		for (size_t i = 0; i < la->n && la->n == lb->n; i++)
			if (!same_text(la->v[i], lb->v[i]))
				return false;
		return la->n == lb->n;
	default:
		return same_text(*(const char *const *)a, *(const char *const *)b);
	}
}
