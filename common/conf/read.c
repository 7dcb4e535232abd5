/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines to sections and texts. libinih tells key from value; this file gives it the
 * lines one by one, for three reasons: the library cuts lines at 200 bytes and section
 * names at 50 without a word, it names only the first bad line, and it takes an indented
 * line for more of the one above. So section headers are read here, indentation is taken
 * off, and the value of a long line is replaced by a mark (a control character, which no
 * line may hold) and put back in the handler.
 */
#include "config.h"

#include <ini.h>
#include <stdio.h>

#include "common/conf/inside.h"

#define MARK "\x02"
#define SHORT 120 /* longest line that the library sees whole; it has room for 199 */

struct reading {
	struct cf_load *l;
	const char *file;
	struct tf_span rest; /* of the text */
	unsigned line;       /* number of the one being read */
	struct tf_span now;  /* its text, trimmed */
	bool waiting;        /* the library has not called back for it */
	bool skip;           /* inside an unknown or broken section */
	struct cf_inst *inst;
};

/* ---- lines -------------------------------------------------------------------------------- */

/* Length of the UTF-8 character at s, 0 when there is none. */
static size_t
utf8_len(struct tf_span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = 0;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] < 0xf5)
		n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (n == 0 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* NULL when the line may be read, else what is wrong with it. */
static const char *
line_fault(struct tf_span s)
{
	if (s.n > CF_LINE_MAX)
		return "the line is too long";
	for (size_t i = 0, n; i < s.n; i += n) {
		n = utf8_len(tf_span(s.p + i, s.n - i));
		if (n == 0)
			return "the line is not UTF-8";
		if (((unsigned char)s.p[i] < 0x20 && s.p[i] != '\t') || s.p[i] == 0x7f)
			return "the line holds a control character";
	}
	return NULL;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct tf_span
trim(struct tf_span s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = tf_span(s.p + 1, s.n - 1);
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* A ; or # after white space begins a comment. */
static struct tf_span
uncomment(struct tf_span s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((s.p[i] == ';' || s.p[i] == '#') && (i == 0 || is_blank(s.p[i - 1])))
			return trim(tf_span(s.p, i));
	return s;
}

/* The next line that is neither empty nor a comment nor broken; false at the end. */
static bool
next_line(struct reading *r)
{
	while (r->rest.n > 0) {
		const char *nl = memchr(r->rest.p, '\n', r->rest.n);
		size_t n = nl != NULL ? (size_t)(nl - r->rest.p) : r->rest.n;
		size_t used = nl != NULL ? n + 1 : n;
		struct tf_span s =
		    tf_span(r->rest.p, n > 0 && r->rest.p[n - 1] == '\r' ? n - 1 : n);
		const char *fault = line_fault(s);

		r->rest = tf_span(r->rest.p + used, r->rest.n - used);
		r->line++;
		r->now = trim(s);
		if (fault != NULL)
			cf_error(r->l, r->file, r->line, NULL, NULL, "%s", fault);
		else if (r->now.n > 0 && r->now.p[0] != ';' && r->now.p[0] != '#')
			return true;
	}
	return false;
}

/* ---- section headers ---------------------------------------------------------------------- */

/*
 * The section a header names, after checking that its name fits; CF_SECTIONS and an error if none.
 */
static enum cf_section_id
header_section(struct reading *r, struct tf_span word, struct tf_span name)
{
	enum cf_section_id id = 0;

	while (id < CF_SECTIONS && !tf_span_is(word, cf_sections[id].name))
		id++;
	if (id == CF_SECTIONS) {
		cf_error(r->l, r->file, r->line, NULL, NULL, "[%.*s]: unknown section",
		    (int)(word.n > 60 ? 60 : word.n), word.p);
	} else if (!cf_sections[id].many && name.n > 0) {
		cf_error(r->l, r->file, r->line, NULL, NULL, "[%s]: this section takes no name",
		    cf_sections[id].name);
		id = CF_SECTIONS;
	} else if (cf_sections[id].many && name.n == 0) {
		cf_error(r->l, r->file, r->line, NULL, NULL, "[%s]: needs a name, as in [%s NAME]",
		    cf_sections[id].name, cf_sections[id].name);
		id = CF_SECTIONS;
	} else if (cf_sections[id].many &&
	    !(id == CF_model ? cf_model_name_ok(name) : cf_instance_name_ok(name))) {
		cf_error(r->l, r->file, r->line, NULL, NULL,
		    id == CF_model ?
			"[model]: an id is 1 to 128 printable ASCII characters without space , = \" ] *" :
			"[%s]: a name is 1 to 64 letters, digits, . _ or -, and begins with a letter or digit",
		    cf_sections[id].name);
		id = CF_SECTIONS;
	}
	return id;
}

static void
read_header(struct reading *r)
{
	const char *close = memchr(r->now.p, ']', r->now.n);
	struct tf_span in, after, word;
	enum cf_section_id id;
	size_t n = 0;

	r->skip = true;
	r->inst = NULL;
	if (close == NULL) {
		cf_error(r->l, r->file, r->line, NULL, NULL, "the section header has no ]");
		return;
	}
	in = trim(tf_span(r->now.p + 1, (size_t)(close - r->now.p) - 1));
	after = trim(tf_span(close + 1, r->now.n - (size_t)(close + 1 - r->now.p)));
	if (after.n > 0 && after.p[0] != ';' && after.p[0] != '#') {
		cf_error(r->l, r->file, r->line, NULL, NULL, "text behind the section header");
		return;
	}
	while (n < in.n && !is_blank(in.p[n]))
		n++;
	word = tf_span(in.p, n);
	id = header_section(r, word, trim(tf_span(in.p + n, in.n - n)));
	if (id == CF_SECTIONS)
		return;
	r->inst = cf_instance(r->l, id, trim(tf_span(in.p + n, in.n - n)));
	if (r->inst == NULL)
		return;
	r->skip = false;
	if (r->inst->file == NULL) {
		r->inst->file = r->file;
		r->inst->line = r->line;
	}
}

/* ---- keys --------------------------------------------------------------------------------- */

static void
set(struct reading *r, struct tf_span key, struct tf_span value)
{
	const struct cf_section *sec = &cf_sections[r->inst->section];
	struct cf_source *src;
	size_t i = 0;

	while (i < sec->n && !cf_key_is(cf_options[sec->first + i].field, key))
		i++;
	if (i == sec->n) {
		cf_error(r->l, r->file, r->line, r->inst->title, NULL, "%.*s: unknown key",
		    (int)(key.n > 60 ? 60 : key.n), key.p);
		return;
	}
	src = &r->inst->source[i];
	if (src->text != NULL && src->file == r->file) {
		cf_error(r->l, r->file, r->line, r->inst->title, r->l->index->keys[sec->first + i],
		    "set already on line %u", src->line);
		return;
	}
	*src = (struct cf_source){ cf_dup(r->l, value), r->file, r->line };
}

/* Called by the library with a key and its value. */
static int
handler(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *r = arg;
	struct tf_span v = tf_cspan(value);

	(void)section;
	if (value == NULL) /* a library built to take keys without a value */
		return 0;
	r->waiting = false;
	if (r->skip)
		return 1;
	if (r->inst == NULL) {
		cf_error(r->l, r->file, r->line, NULL, NULL, "a key outside of any section");
		r->skip = true; /* said once */
		return 1;
	}
	if (tf_span_is(v, MARK)) {
		size_t n = 0;

		while (r->now.p[n] != '=' && r->now.p[n] != ':')
			n++;
		v = trim(tf_span(r->now.p + n + 1, r->now.n - n - 1));
	}
	set(r, tf_cspan(name), uncomment(v));
	return 1;
}

/* The line as the library may see it: short, with its end replaced by the mark when needed. */
static void
lend_line(const struct reading *r, char *out)
{
	size_t n = 0;

	if (r->now.n <= SHORT) {
		memcpy(out, r->now.p, r->now.n);
		out[r->now.n] = '\0';
		return;
	}
	while (n < SHORT && r->now.p[n] != '=' && r->now.p[n] != ':')
		n++;
	memcpy(out, r->now.p, n);
	/* without a separator in reach it stays a line without one, which is an error */
	memcpy(out + n, n < SHORT ? "=" MARK : "", n < SHORT ? sizeof "=" MARK : 1);
}

/* Called by the library for each line, as fgets would be. */
static char *
reader(char *out, int size, void *arg)
{
	struct reading *r = arg;

	if (r->waiting)
		cf_error(r->l, r->file, r->line, NULL, NULL, "neither [section] nor key = value");
	r->waiting = false;
	if (size < SHORT + (int)sizeof "=" MARK)
		return NULL;
	while (next_line(r)) {
		if (r->now.p[0] == '[') {
			read_header(r);
			continue;
		}
		r->waiting = true;
		lend_line(r, out);
		return out;
	}
	return NULL;
}

void
cf_read(struct cf_load *l, const char *file, struct tf_span text)
{
	struct reading r = { .l = l, .file = cf_dup(l, tf_cspan(file)), .rest = text };

	if (r.file == NULL)
		return;
	if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
		r.rest = tf_span(text.p + 3, text.n - 3);
	if (ini_parse_stream(reader, &r, handler, &r) == -2)
		l->nomem = true;
}
