/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes multipart/form-data. Called by the scan (gatewayd) for every form, and by those who send it on
 * (workerd). The value of a part is searched for the boundary only; nothing here knows what a part means.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/form.h"
#include "common/dialect/mend.h"

enum { FIRST, LINE, HEAD, VALUE, TAIL };

static int
refuse(struct dl_form_reader *f, int err, const char *why)
{
	f->why = why;
	f->err = err;
	return err;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* RFC 9110 token. */
static bool
is_token(char c)
{
	return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
	    (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* ---- header values ----------------------------------------------------------------------- */

static size_t
token_length(struct tf_span s)
{
	size_t n = 0;

	while (n < s.n && is_token(s.p[n]))
		n++;
	return n;
}

/* Takes `; name=value` from the front of *rest; value is without its quotes. False at the end; *bad: malformed. */
static bool
parameter(struct tf_span *rest, struct tf_span *name, struct tf_span *value, bool *bad)
{
	struct tf_span s = tf_span_trim(*rest);
	size_t n;

	*bad = false;
	if (s.n == 0)
		return false;
	*bad = true;
	if (s.p[0] != ';')
		return false;
	s = tf_span_trim(tf_span(s.p + 1, s.n - 1));
	n = token_length(s);
	if (n == 0 || n == s.n || s.p[n] != '=')
		return false;
	*name = tf_span(s.p, n);
	s = tf_span(s.p + n + 1, s.n - n - 1);
	if (s.n > 0 && s.p[0] == '"') {
		/* a backslash escapes a quote or another backslash, else it is one (as browsers write it) */
		for (n = 1; n < s.n && s.p[n] != '"'; n++)
			n += s.p[n] == '\\' && n + 1 < s.n && (s.p[n + 1] == '"' || s.p[n + 1] == '\\');
		if (n >= s.n)
			return false;
		*value = tf_span(s.p + 1, n - 1);
		n++;
	} else {
		n = token_length(s);
		if (n == 0)
			return false;
		*value = tf_span(s.p, n);
	}
	*rest = tf_span(s.p + n, s.n - n);
	*bad = false;
	return true;
}

/* The word before the first ';', and what follows it. */
static struct tf_span
first_word(struct tf_span v, struct tf_span *rest)
{
	const char *semicolon = v.n > 0 ? memchr(v.p, ';', v.n) : NULL;
	size_t n = semicolon != NULL ? (size_t)(semicolon - v.p) : v.n;

	*rest = semicolon != NULL ? tf_span(semicolon, v.n - n) : tf_span(NULL, 0);
	return tf_span_trim(tf_span(v.p, n));
}

bool
dl_form_is(struct tf_span content_type)
{
	struct tf_span rest;

	return tf_span_caseeq(first_word(content_type, &rest), "multipart/form-data");
}

static bool
boundary_ok(struct tf_span b)
{
	if (b.n == 0 || b.n > DL_FORM_BOUNDARY_MAX || b.p[b.n - 1] == ' ')
		return false;
	for (size_t i = 0; i < b.n; i++)
		if (!is_token(b.p[i]) && (b.p[i] == '\0' || strchr("(),/:=? ", b.p[i]) == NULL))
			return false;
	return true;
}

int
dl_form_init(struct dl_form_reader *f, struct tf_span content_type, uint32_t max_parts, dl_form_fn *fn, void *arg)
{
	struct tf_span rest, name, value, boundary = { NULL, 0 };
	bool bad;

	memset(f, 0, sizeof *f);
	f->max_parts = max_parts != 0 ? max_parts : DL_FORM_PARTS_MAX;
	f->fn = fn;
	f->arg = arg;
	if (!tf_span_caseeq(first_word(content_type, &rest), "multipart/form-data"))
		return refuse(f, TF_E_INVAL, "The content type is not multipart/form-data.");
	while (parameter(&rest, &name, &value, &bad)) {
		if (!tf_span_caseeq(name, "boundary"))
			continue;
		if (boundary.p != NULL)
			return refuse(f, TF_E_INVAL, "The content type names two boundaries.");
		boundary = value;
	}
	if (bad)
		return refuse(f, TF_E_INVAL, "The parameters of the content type are malformed.");
	if (boundary.p == NULL)
		return refuse(f, TF_E_INVAL, "The content type multipart/form-data names no boundary.");
	if (!boundary_ok(boundary))
		return refuse(f, TF_E_INVAL, "The boundary in the content type must be 1 to 70 characters of those allowed.");
	memcpy(f->delimiter, "\r\n--", 4);
	memcpy(f->delimiter + 4, boundary.p, boundary.n);
	f->ndelimiter = (uint8_t)(4 + boundary.n);
	return 0;
}

/* ---- a part's header lines --------------------------------------------------------------- */

/* Bytes that a decoder of percent signs would see as one of set. */
static bool
hides(struct tf_span s, const char *set)
{
	uint8_t c;

	for (size_t i = 0; i + 2 < s.n; i++)
		if (s.p[i] == '%' && tf_unhex(tf_span(s.p + i + 1, 2), &c, 1) == 0 &&
		    (c == '\0' || strchr(set, c) != NULL))
			return true;
	return false;
}

/* A name that stays one when somebody opens it in a folder of his. */
static bool
filename_ok(struct tf_span s)
{
	if (tf_span_is(s, ".") || tf_span_is(s, ".."))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && i + 1 < s.n && s.p[i + 1] == '"')
			i++;
		else if (s.p[i] == '/' || s.p[i] == '\\')
			return false;
	}
	return !hides(s, "/\\");
}

static int
disposition(struct dl_form_reader *f, struct tf_span v, struct dl_form_part *part)
{
	struct tf_span rest, name, value, extended = { NULL, 0 };
	bool bad, extra = false;

	if (part->name.p != NULL)
		return refuse(f, TF_E_INVAL, "A part of the form has two Content-Disposition lines.");
	if (!tf_span_caseeq(first_word(v, &rest), "form-data"))
		return refuse(f, TF_E_INVAL, "The Content-Disposition of a part must be form-data.");
	while (parameter(&rest, &name, &value, &bad)) {
		if (tf_span_caseeq(name, "name")) {
			if (part->name.p != NULL)
				return refuse(f, TF_E_INVAL, "A part of the form has two names.");
			part->name = value;
		} else if (tf_span_caseeq(name, "filename")) {
			if (part->file)
				return refuse(f, TF_E_INVAL, "A part of the form has two file names.");
			part->file = true;
			part->filename = value;
		} else if (tf_span_caseeq(name, "filename*")) {
			if (extra)
				return refuse(f, TF_E_INVAL, "A part of the form has two file names.");
			extra = true;
			extended = value;
		}
	}
	if (bad)
		return refuse(f, TF_E_INVAL, "The Content-Disposition of a part is malformed.");
	if (part->name.n == 0)
		return refuse(f, TF_E_INVAL, "A part of the form has no name.");
	if (!filename_ok(part->filename) || !filename_ok(extended))
		return refuse(f, TF_E_INVAL, "The file name of a part must be a bare name, without a path.");
	if (extra && !part->file) {
		part->file = true;
		part->filename = extended;
	}
	if (part->name.n > 2 && memcmp(part->name.p + part->name.n - 2, "[]", 2) == 0) {
		part->name.n -= 2;
		part->list = true;
	}
	return 0;
}

static int
header_line(struct dl_form_reader *f, struct tf_span line, struct dl_form_part *part)
{
	size_t n = token_length(line);
	struct tf_span name = tf_span(line.p, n), value;

	if (n == 0 || n == line.n || line.p[n] != ':')
		return refuse(f, TF_E_INVAL, "A header line of a part of the form is malformed.");
	value = tf_span_trim(tf_span(line.p + n + 1, line.n - n - 1));
	if (tf_span_caseeq(name, "content-disposition"))
		return disposition(f, value, part);
	if (tf_span_caseeq(name, "content-type")) {
		if (part->type.n > 0)
			return refuse(f, TF_E_INVAL, "A part of the form has two Content-Type lines.");
		part->type = value;
	}
	/* RFC 7578 4.7: nobody encodes any more; whoever reads the bytes would take them as they are */
	if (tf_span_caseeq(name, "content-transfer-encoding") && !tf_span_caseeq(value, "binary") &&
	    !tf_span_caseeq(value, "8bit") && !tf_span_caseeq(value, "7bit"))
		return refuse(f, TF_E_INVAL, "A part of the form has a Content-Transfer-Encoding; send its bytes as they are.");
	return 0;
}

/* head: lines with their ends, without the empty one. */
static int
read_head(struct dl_form_reader *f, struct tf_span head, struct dl_form_part *part)
{
	const char *end = head.p + head.n, *eol;
	int r = 0;

	for (size_t i = 0; i < head.n; i++) {
		unsigned char c = (unsigned char)head.p[i];

		if (c == '\r' && i + 1 < head.n && head.p[i + 1] == '\n')
			i++;
		else if ((c < 0x20 && c != '\t') || c == 0x7f)
			return refuse(f, TF_E_INVAL, "A header line of a part of the form holds a control character.");
	}
	if (!dl_utf8_ok(head))
		return refuse(f, TF_E_INVAL, "A header line of a part of the form is not UTF-8.");
	for (const char *p = head.p; r == 0 && p < end; p = eol + 2) {
		eol = memchr(p, '\r', (size_t)(end - p));
		r = header_line(f, tf_span(p, (size_t)(eol - p)), part);
	}
	if (r == 0 && part->name.p == NULL)
		return refuse(f, TF_E_INVAL, "A part of the form has no Content-Disposition.");
	return r;
}

/* ---- the reader -------------------------------------------------------------------------- */

/*
 * Each step works on text[0..len) from f->off on: 1 it went on, 0 more bytes are needed, else the error.
 */
static int
first(struct dl_form_reader *f, const char *text, size_t len)
{
	/* the line end before the first boundary may be missing, and mostly is */
	size_t skip = len > 0 && text[0] == '\r' ? 0 : 2, want = f->ndelimiter - skip, have = len < want ? len : want;

	if (memcmp(text, f->delimiter + skip, have) != 0)
		return refuse(f, TF_E_INVAL, "The body does not begin with the boundary that the content type names.");
	if (have < want)
		return 0;
	f->off = want;
	f->state = LINE;
	return 1;
}

/* Behind a boundary. */
static int
line(struct dl_form_reader *f, const char *text, size_t len)
{
	size_t n = f->off;

	if (len - n < 2)
		return 0;
	if (text[n] == '-' && text[n + 1] == '-') {
		f->off = n + 2;
		f->state = TAIL;
		return 1;
	}
	while (n < len && n - f->off < DL_FORM_PADDING_MAX && (text[n] == ' ' || text[n] == '\t'))
		n++;
	if (n == len || (n + 1 == len && text[n] == '\r'))
		return 0;
	if (text[n] != '\r' || text[n + 1] != '\n')
		return refuse(f, TF_E_INVAL, "A boundary in the form is not followed by the end of the line.");
	if (f->nparts == f->max_parts)
		return refuse(f, TF_E_FULL, "The form has too many parts.");
	f->nparts++;
	f->off = f->head = n + 2;
	f->state = HEAD;
	return 1;
}

static int
head(struct dl_form_reader *f, const char *text, size_t len)
{
	const char *from = text + f->off, *end = NULL;
	size_t have = len - f->head;

	if (have >= 2 && memcmp(text + f->head, "\r\n", 2) == 0)
		return refuse(f, TF_E_INVAL, "A part of the form has no Content-Disposition.");
	if (f->off < len)
		end = memmem(from, len - f->off, "\r\n\r\n", 4);
	if (end == NULL) {
		if (have > DL_FORM_HEAD_MAX)
			return refuse(f, TF_E_FULL, "The header lines of a part of the form are too long.");
		/* of an end that is cut, three bytes may be there */
		f->off = have < 3 ? f->head : len - 3;
		return 0;
	}
	if ((size_t)(end - text) - f->head > DL_FORM_HEAD_MAX)
		return refuse(f, TF_E_FULL, "The header lines of a part of the form are too long.");
	f->value = (size_t)(end - text) + 4;
	/* the line end before the empty line may begin the boundary of an empty value */
	f->off = f->value - 2;
	f->state = VALUE;
	/* what is wrong with the lines need not wait for a long value */
	return read_head(f, tf_span(text + f->head, f->value - 2 - f->head), &(struct dl_form_part){ 0 }) < 0 ? f->err : 1;
}

static int
value(struct dl_form_reader *f, const char *text, size_t len)
{
	struct dl_form_part part = { 0 };
	const char *end = NULL;
	size_t at;
	int r;

	if (f->off < len)
		end = memmem(text + f->off, len - f->off, f->delimiter, f->ndelimiter);
	if (end == NULL) {
		if (len - f->off >= f->ndelimiter)
			f->off = len - f->ndelimiter + 1;
		return 0;
	}
	at = (size_t)(end - text);
	r = read_head(f, tf_span(text + f->head, f->value - 2 - f->head), &part);
	if (r < 0)
		return r;
	part.value = tf_span(text + f->value, at > f->value ? at - f->value : 0);
	part.whole = tf_span(text + f->head, f->value + part.value.n - f->head);
	f->off = at + f->ndelimiter;
	f->state = LINE;
	r = f->fn != NULL ? f->fn(f->arg, &part) : 0;
	if (r < 0)
		f->err = r;
	return r < 0 ? r : 1;
}

#define TAIL_MAX 16

/* Behind the last boundary: a line end, or two as one client has them, but no bytes of anything. */
static int
tail(struct dl_form_reader *f, const char *text, size_t len)
{
	bool more = len - f->off > TAIL_MAX;

	for (size_t i = f->off; i < len && !more; i++)
		more = text[i] != ((i - f->off) % 2 == 0 ? '\r' : '\n');
	return more ? refuse(f, TF_E_INVAL, "Bytes follow the last boundary of the form.") : 0;
}

int
dl_form_feed(struct dl_form_reader *f, const char *text, size_t len)
{
	static int (*const step[])(struct dl_form_reader *, const char *, size_t) = {
		[FIRST] = first,
		[LINE] = line,
		[HEAD] = head,
		[VALUE] = value,
		[TAIL] = tail,
	};
	int r = 1;

	if (f->err != 0)
		return f->err;
	while (r > 0 && len > 0)
		r = step[f->state](f, text, len);
	return r < 0 ? r : 0;
}

int
dl_form_end(struct dl_form_reader *f, const char *text, size_t len)
{
	int r = dl_form_feed(f, text, len);

	if (r < 0)
		return r;
	if (f->state != TAIL)
		return refuse(f, TF_E_INVAL, "The form is cut off: its last boundary is missing.");
	if ((len - f->off) % 2 != 0)
		return refuse(f, TF_E_INVAL, "Bytes follow the last boundary of the form.");
	return 0;
}

void
dl_form_extension(struct tf_span filename, char *out, size_t cap)
{
	const char *dot = filename.n > 0 ? memrchr(filename.p, '.', filename.n) : NULL;
	size_t n = dot != NULL ? (size_t)(filename.p + filename.n - dot) - 1 : 0;

	if (n >= cap)
		n = 0;
	for (size_t i = 0; i < n; i++)
		out[i] = lower(dot[1 + i]);
	out[n] = '\0';
}

/* ---- the writer -------------------------------------------------------------------------- */

void
dl_form_w_init(struct dl_form_w *w, const struct dl_form_reader *as, struct tf_buf *out)
{
	w->out = out;
	w->as = as;
	w->err = 0;
}

static void
put(struct dl_form_w *w, const void *p, size_t n)
{
	if (w->err == 0)
		w->err = tf_buf_append(w->out, p, n);
}

static void
open_part(struct dl_form_w *w)
{
	put(w, w->as->delimiter + 2, w->as->ndelimiter - 2u);
	put(w, "\r\n", 2);
}

void
dl_form_w_copy(struct dl_form_w *w, const struct dl_form_part *part)
{
	open_part(w);
	put(w, part->whole.p, part->whole.n);
	put(w, "\r\n", 2);
}

/* Looked for without its line end: the value may begin with the rest. */
static bool
collides(const struct dl_form_w *w, struct tf_span value)
{
	return value.n > 0 && memmem(value.p, value.n, w->as->delimiter + 2, w->as->ndelimiter - 2u) != NULL;
}

void
dl_form_w_text(struct dl_form_w *w, const char *name, struct tf_span value)
{
	static const char before[] = "Content-Disposition: form-data; name=\"", behind[] = "\"\r\n\r\n";

	if (collides(w, value) && w->err == 0)
		w->err = TF_E_INVAL;
	open_part(w);
	put(w, before, sizeof before - 1);
	put(w, name, strlen(name));
	put(w, behind, sizeof behind - 1);
	put(w, value.p, value.n);
	put(w, "\r\n", 2);
}

static void
file_part(struct dl_form_w *w, struct tf_span name, const char *extension, const char *type, struct tf_span value)
{
	static const char before[] = "Content-Disposition: form-data; name=\"", middle[] = "\"; filename=\"file.",
			  behind[] = "\"\r\n", typed[] = "Content-Type: ";

	open_part(w);
	put(w, before, sizeof before - 1);
	put(w, name.p, name.n);
	put(w, middle, sizeof middle - 1);
	put(w, extension, strlen(extension));
	put(w, behind, sizeof behind - 1);
	if (type != NULL) {
		put(w, typed, sizeof typed - 1);
		put(w, type, strlen(type));
		put(w, "\r\n", 2);
	}
	put(w, "\r\n", 2);
	put(w, value.p, value.n);
	put(w, "\r\n", 2);
}

void
dl_form_w_file(struct dl_form_w *w, const struct dl_form_part *part, const char *extension)
{
	file_part(w, part->name, extension, NULL, part->value);
}

void
dl_form_w_bytes(struct dl_form_w *w, struct tf_span name, const char *extension, const char *type, struct tf_span value)
{
	if (collides(w, value) && w->err == 0)
		w->err = TF_E_INVAL;
	file_part(w, name, extension, type, value);
}

int
dl_form_w_end(struct dl_form_w *w)
{
	put(w, w->as->delimiter + 2, w->as->ndelimiter - 2u);
	put(w, "--\r\n", 4);
	return w->err;
}
