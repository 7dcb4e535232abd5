/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words behind a command become the JSON object of its request, checked against
 * the command's rows: a daemon is never asked what cannot be right.
 */
#include "config.h"

#include <errno.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "keyctl/kc.h"

#define ARGS_MAX 32
#define CENTURY ((int64_t)36525 * 86400)

/* What was given for one row: the texts of the command line, borrowed. */
struct given {
	const struct kc_line *row;
	const char **v;
	size_t n;
};
struct taking {
	struct kc *k;
	struct given given[ARGS_MAX];
	size_t n;
	size_t positional; /* taken so far */
};

/* ---- times -------------------------------------------------------------------------------- */

int
kc_parse_span(const char *text, int64_t *out)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = { { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }, { "w", 7 * 86400 } };
	size_t digits = strspn(text, "0123456789");
	uint64_t v;

	for (size_t i = 0; i < TF_LEN(units); i++) {
		if (strcmp(text + digits, units[i].unit) != 0)
			continue;
		if (tf_span_u64(
			tf_span(text, digits), (uint64_t)(CENTURY / units[i].seconds), &v) != 0)
			return TF_E_INVAL;
		*out = (int64_t)v * units[i].seconds;
		return 0;
	}
	return TF_E_INVAL;
}

/* n digits at *p, which moves on; -1 when they are not. */
static int
digits(const char **p, int n)
{
	int v = 0;

	for (; n > 0; n--, ++*p) {
		if (**p < '0' || **p > '9')
			return -1;
		v = v * 10 + (**p - '0');
	}
	return v;
}

static bool
skip(const char **p, char c)
{
	bool is = **p == c;

	*p += is;
	return is;
}

/* "Z", "+02:00": seconds east of UTC. False when it is neither. */
static bool
zone(const char **p, int64_t *east)
{
	int sign = **p == '-' ? -1 : 1, hours, minutes;

	*east = 0;
	if (skip(p, 'Z') || skip(p, 'z'))
		return true;
	if (!skip(p, '+') && !skip(p, '-'))
		return false;
	hours = digits(p, 2);
	if (hours < 0 || hours > 23 || !skip(p, ':'))
		return false;
	minutes = digits(p, 2);
	*east = sign * (hours * 3600 + minutes * 60);
	return minutes >= 0 && minutes < 60;
}

/* RFC 3339: a date, which begins at midnight UTC, or a date, a time and a zone. */
static int
parse_date(const char *p, int64_t *out)
{
	struct tm tm = { 0 };
	int day, month, year;
	int64_t east = 0; /* of UTC, then the result */

	year = digits(&p, 4);
	month = year >= 0 && skip(&p, '-') ? digits(&p, 2) : -1;
	day = month >= 0 && skip(&p, '-') ? digits(&p, 2) : -1;
	if (day < 1 || month < 1 || month > 12 || year < 1970)
		return TF_E_INVAL;
	if (*p != '\0') {
		if (!skip(&p, 'T') && !skip(&p, 't') && !skip(&p, ' '))
			return TF_E_INVAL;
		tm.tm_hour = digits(&p, 2);
		tm.tm_min = tm.tm_hour >= 0 && skip(&p, ':') ? digits(&p, 2) : -1;
		tm.tm_sec = tm.tm_min >= 0 && skip(&p, ':') ? digits(&p, 2) : -1;
		if (tm.tm_sec < 0 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59 ||
		    !zone(&p, &east) || *p != '\0')
			return TF_E_INVAL;
	}
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	east = timegm(&tm) - east;
	/* a day that the month does not have has moved on */
	if (tm.tm_mday != day || tm.tm_mon != month - 1)
		return TF_E_INVAL;
	*out = east;
	return 0;
}

int
kc_parse_until(const char *text, int64_t now, int64_t *out)
{
	int64_t span;

	if (kc_parse_span(text, &span) == 0) {
		*out = now + span;
		return 0;
	}
	return parse_date(text, out);
}

int
kc_parse_since(const char *text, int64_t now, int64_t *out)
{
	int64_t span;

	if (kc_parse_span(text, &span) == 0) {
		*out = span < now ? now - span : 0;
		return 0;
	}
	return parse_date(text, out);
}

/* ---- words -------------------------------------------------------------------------------- */

static struct given *
slot(struct taking *t, const struct kc_line *row)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->given[i].row == row)
			return &t->given[i];
	if (t->n == ARGS_MAX)
		return NULL;
	t->given[t->n].row = row;
	return &t->given[t->n++];
}

static int
take(struct taking *t, const struct kc_line *row, const char *text)
{
	struct given *g = slot(t, row);
	const char **v;

	if (g == NULL || (g->n > 0 && row->what != KC_MANY))
		return kc_fail(t->k, CTL_USAGE, "%s%s is given twice",
		    row->kind == KC_OPT ? "--" : "", row->name);
	v = reallocarray(g->v, g->n + 1, sizeof *v);
	if (v == NULL)
		return kc_fail(t->k, CTL_FAILED, "out of memory");
	g->v = v;
	g->v[g->n++] = text;
	return 0;
}

static int
take_positional(struct taking *t, const char *text)
{
	const struct kc_line *l;
	size_t i = 0;

	KC_EACH(t->k->cmd, l) {
		if (l->kind == KC_POS && i++ == t->positional) {
			t->positional++;
			return take(t, l, text);
		}
	}
	return kc_fail(t->k, CTL_USAGE, "%s: one argument too many: %s", t->k->cmd->name, text);
}

/* --name VALUE or --name=VALUE; *used is 2 when the value was a word of its own. */
static int
take_option(struct taking *t, const char *word, const char *next, int *used)
{
	const char *name = word + 2, *eq = strchr(name, '=');
	size_t n = eq != NULL ? (size_t)(eq - name) : strlen(name);
	const struct kc_line *l;

	*used = 1;
	KC_EACH(t->k->cmd, l) {
		if (l->kind != KC_OPT || strlen(l->name) != n || memcmp(l->name, name, n) != 0)
			continue;
		if (l->what == KC_FLAG)
			return eq != NULL ?
			    kc_fail(t->k, CTL_USAGE, "--%s takes no value", l->name) :
			    take(t, l, "");
		if (eq == NULL && next == NULL)
			return kc_fail(t->k, CTL_USAGE, "--%s needs a value: %s", l->name, l->meta);
		*used = eq != NULL ? 1 : 2;
		return take(t, l, eq != NULL ? eq + 1 : next);
	}
	return kc_fail(t->k, CTL_USAGE, "%s: unknown option %s", t->k->cmd->name, word);
}

/* ---- values ------------------------------------------------------------------------------- */

static int
bad_value(struct kc *k, const struct kc_line *l, const char *text, const char *want)
{
	return kc_fail(k, CTL_USAGE, "%s%s: \"%s\" is not %s", l->kind == KC_OPT ? "--" : "",
	    l->name, text, want);
}

static bool
is_choice(const char *choices, const char *text)
{
	size_t n;

	for (;; choices += n + 1) {
		n = strcspn(choices, "|");
		if (strlen(text) == n && memcmp(choices, text, n) == 0)
			return true;
		if (choices[n] == '\0')
			return false;
	}
}

/* The first line of a file, as a JSON string. */
static int
write_file(struct kc *k, struct js_w *w, const struct given *g)
{
	const char *name = g->v[0];
	FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");
	char line[1024] = "";
	int r = 0;

	if (f == NULL)
		return kc_fail(k, CTL_USAGE, "--%s: %s: %s", g->row->name, name, strerror(errno));
	if (fgets(line, sizeof line, f) == NULL)
		r = kc_fail(k, CTL_USAGE, "--%s: %s holds no line", g->row->name, name);
	line[strcspn(line, "\r\n")] = '\0';
	if (r == 0)
		js_w_cstr(w, line);
	tf_wipe(line, sizeof line);
	if (f != stdin)
		fclose(f);
	return r;
}

/* A number, or an amount of money, also a negative one; whether it fits is the daemon's to say. */
static bool
is_amount(const char *text, bool money)
{
	int64_t nano;
	uint64_t n;

	if (strcmp(text, "none") == 0)
		return true;
	text += text[0] == '-';
	return money ? tf_money_parse(text, &nano) == 0 : tf_span_u64(tf_cspan(text), UINT64_MAX, &n) == 0;
}

/* As the daemon, which stands elsewhere, must hear it. */
static int
write_path(struct kc *k, struct js_w *w, const struct given *g)
{
	char here[4096], path[8192];

	if (g->v[0][0] == '\0')
		return bad_value(k, g->row, g->v[0], "a path");
	if (g->v[0][0] == '/') {
		js_w_cstr(w, g->v[0]);
		return 0;
	}
	if (getcwd(here, sizeof here) == NULL)
		return kc_fail(k, CTL_FAILED, "the current directory: %s", strerror(errno));
	if ((size_t)snprintf(path, sizeof path, "%s/%s", here, g->v[0]) >= sizeof path)
		return bad_value(k, g->row, g->v[0], "a path of a length that can be");
	js_w_cstr(w, path);
	return 0;
}

/* Writes the value of one row. */
static int
write_value(struct kc *k, struct js_w *w, const struct given *g)
{
	const struct kc_line *l = g->row;
	uint64_t n;
	int64_t v;

	switch ((enum kc_type)l->what) {
	case KC_CHOICE:
		if (!is_choice(l->meta, g->v[0]))
			return bad_value(k, l, g->v[0], l->meta);
		js_w_cstr(w, g->v[0]);
		break;
	case KC_TEXT:
		if (g->v[0][0] == '\0')
			return bad_value(k, l, g->v[0], "a name");
		js_w_cstr(w, g->v[0]);
		break;
	case KC_PATH:
		return write_path(k, w, g);
	case KC_MANY:
		js_w_array(w);
		for (size_t i = 0; i < g->n; i++)
			js_w_cstr(w, g->v[i]);
		js_w_array_end(w);
		break;
	case KC_FLAG:
		js_w_bool(w, true);
		break;
	case KC_SPAN:
		if (kc_parse_span(g->v[0], &v) != 0)
			return bad_value(k, l, g->v[0], "a span of time, like 90s, 30m, 12h or 7d");
		js_w_i64(w, v);
		break;
	case KC_FILE:
		return write_file(k, w, g);
	case KC_NUMBER:
		if (!is_amount(g->v[0], false))
			return bad_value(k, l, g->v[0], "a whole number, or none");
		js_w_cstr(w, g->v[0]);
		break;
	case KC_MONEY:
		if (!is_amount(g->v[0], true))
			return bad_value(k, l, g->v[0], "an amount like 25 or 0.125, or none");
		js_w_cstr(w, g->v[0]);
		break;
	case KC_UNTIL:
		if (strcmp(g->v[0], "none") == 0) {
			js_w_i64(w, 0);
			break;
		}
		if (kc_parse_until(g->v[0], tf_wall_s(), &v) != 0)
			return bad_value(k, l, g->v[0], "a time, like 30d or 2030-01-31T00:00:00Z");
		if (v <= tf_wall_s())
			return bad_value(k, l, g->v[0], "in the future");
		js_w_i64(w, v);
		break;
	case KC_SINCE:
		if (kc_parse_since(g->v[0], tf_wall_s(), &v) != 0)
			return bad_value(k, l, g->v[0], "a time, like 7d or 2026-01-31T00:00:00Z");
		js_w_i64(w, v);
		break;
	case KC_COUNT:
		if (tf_span_u64(tf_cspan(g->v[0]), INT64_MAX, &n) != 0)
			return bad_value(k, l, g->v[0], "a whole number");
		js_w_u64(w, n);
		break;
	}
	return 0;
}

/* Rows in the order of the table; missing required ones are an error. */
static int
write_args(struct taking *t)
{
	struct kc *k = t->k;
	const struct kc_line *l;
	char name[64];
	struct js_w w;
	int r = 0;

	js_w_init(&w, &k->args);
	js_w_object(&w);
	KC_EACH(k->cmd, l) {
		const struct given *g = NULL;

		if (l->kind != KC_POS && l->kind != KC_OPT)
			continue;
		for (size_t i = 0; i < t->n; i++)
			if (t->given[i].row == l)
				g = &t->given[i];
		if (g == NULL && l->rule == KC_IS_REQ)
			return kc_fail(k, CTL_USAGE, "%s: %s%s is missing; see keyctl %s --help",
			    k->cmd->name, l->kind == KC_OPT ? "--" : "",
			    l->kind == KC_OPT ? l->name : l->meta, k->cmd->name);
		if (g == NULL)
			continue;
		if (strcmp(l->name, "daemon") == 0) {
			k->daemon = g->v[0]; /* whom to ask, no argument of the request */
			continue;
		}
		for (size_t i = 0; i <= strlen(l->name) && i < sizeof name; i++)
			name[i] = l->name[i] == '-' ? '_' : l->name[i];
		js_w_key(&w, name);
		if ((r = write_value(k, &w, g)) != 0)
			return r;
	}
	js_w_object_end(&w);
	return js_w_done(&w) == 0 ? 0 : kc_fail(k, CTL_FAILED, "out of memory");
}

int
kc_take_args(struct kc *k, int argc, char **argv)
{
	struct taking t = { .k = k };
	bool words_only = false;
	int r = 0, used = 1;

	for (int i = 0; i < argc && r == 0; i += used) {
		used = 1;
		if (!words_only && strcmp(argv[i], "--") == 0)
			words_only = true;
		else if (!words_only && argv[i][0] == '-' && argv[i][1] == '-')
			r = take_option(&t, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used);
		else if (!words_only && argv[i][0] == '-' && argv[i][1] != '\0')
			r = kc_fail(k, CTL_USAGE, "%s: unknown option %s", k->cmd->name, argv[i]);
		else
			r = take_positional(&t, argv[i]);
	}
	if (r == 0)
		r = write_args(&t);
	for (size_t i = 0; i < t.n; i++)
		free(t.given[i].v);
	return r;
}
