/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers with images: {"created","data":[{"url"}|{"b64_json"}]} or the events of the images API. A client that
 * wants an address gets one of ours when the runtime gives bytes: they are kept under a name that cannot be
 * guessed, and fetched from the gateway. Called by the surfaces of generations and edits.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/images.h"

#define ENTRY_MAX (64u << 20)        /* of an answer, bytes */
#define HELD_MAX ((size_t)256 << 20) /* of all of them */

bool
images_size_ok(struct tf_span s)
{
	size_t i = 0, from;

	if (tf_span_is(s, "auto"))
		return true;
	while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
		i++;
	if (i == 0 || i > 5 || i == s.n || s.p[i] != 'x')
		return false;
	from = ++i;
	while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
		i++;
	return i == s.n && i > from && i - from <= 5;
}

/* Characters of a string's text: an escape counts for one, a surrogate pair too. */
static size_t
characters(struct tf_span text)
{
	size_t n = 0;

	for (size_t i = 1; i + 1 < text.n; i++) {
		bool low = false;

		if (text.p[i] == '\\' && text.p[i + 1] == 'u' && i + 6 < text.n) {
			low = (text.p[i + 2] | 0x20) == 'd' && strchr("cdefCDEF", text.p[i + 3]) != NULL;
			i += 5;
		} else if (text.p[i] == '\\') {
			i++;
		} else {
			low = ((unsigned char)text.p[i] & 0xc0) == 0x80;
		}
		n += !low;
	}
	return n;
}

int
images_on_prompt(struct dl_scan *s, const struct dl_value *v)
{
	s->head.prompt_bytes = v->hit->text;
	return characters(v->text) <= IMAGES_PROMPT_MAX
	    ? 0
	    : dl_scan_refuse(s, v, "must not be longer than %d characters", IMAGES_PROMPT_MAX);
}

int
images_on_size(struct dl_scan *s, const struct dl_value *v)
{
	s->image.size = dl_range_value(v->hit);
	return images_size_ok(tf_span(v->text.p + 1, v->text.n - 2))
	    ? 0
	    : dl_scan_refuse(s, v, "must be WIDTHxHEIGHT in pixels, as 1024x1024, or auto");
}

int
images_on_format(struct dl_scan *s, const struct dl_value *v)
{
	return js_str_eq(v->text, "url") || js_str_eq(v->text, "b64_json") ? 0 : dl_scan_refuse(s, v, "must be url or b64_json");
}

/*
 * An address that a runtime of our own gives names a host that clients do not reach; one of a hosted provider is
 * good for anybody.
 */
bool
images_ask_bytes(const struct dl_job *j, bool url)
{
	return url && !j->head->stream && j->conf->base_url.n > 0 && !(j->conf->quirks & DL_Q_HOSTED);
}

static void
forget(struct images *st)
{
	for (uint32_t i = 0; i < IMAGES_MAX; i++) {
		tf_buf_free(&st->image[i]);
		tf_buf_free(&st->address[i]);
	}
	dl_split_fini(&st->split);
	st->n = 0;
	st->held = 0;
}

void
images_fini(struct dl_job *j)
{
	forget(j->state);
}

enum dl_way
images_begin(struct dl_job *j, struct tf_span content_type)
{
	static const char *const lists[] = { "data", NULL };
	struct images *st = j->state;

	forget(st);
	dl_split_init(&st->split, lists, false, ENTRY_MAX);
	if (j->head->stream && content_type.n > 0 && memmem(content_type.p, content_type.n, "event-stream", 12) != NULL)
		return DL_WAY_EVENTS;
	return DL_WAY_BYTES;
}

/* ---- what kind of image ------------------------------------------------------------------ */

static const struct {
	const char *magic;
	size_t n, at;
	const char *type, *ext;
} kinds[] = {
	{ "\x89PNG\r\n\x1a\n", 8, 0, "image/png", "png" },
	{ "\xff\xd8\xff", 3, 0, "image/jpeg", "jpg" },
	{ "WEBP", 4, 8, "image/webp", "webp" },
	{ "GIF8", 4, 0, "image/gif", "gif" },
	{ "ftypavif", 8, 4, "image/avif", "avif" },
	{ "<svg", 4, 0, "image/svg+xml", "svg" },
	{ "<?xml", 5, 0, "image/svg+xml", "svg" },
};

bool
images_kind(struct tf_span bytes, const char **type, const char **ext)
{
	for (size_t i = 0; i < TF_LEN(kinds); i++)
		if (bytes.n >= kinds[i].at + kinds[i].n && memcmp(bytes.p + kinds[i].at, kinds[i].magic, kinds[i].n) == 0) {
			*type = kinds[i].type;
			*ext = kinds[i].ext;
			return true;
		}
	*type = "application/octet-stream";
	*ext = "bin";
	return false;
}

/* Bytes to be kept, and the address that stands for them, as a JSON string. */
static int
host(struct dl_job *j, struct tf_buf *image, struct tf_buf *out)
{
	const char *type, *ext, *name;
	struct tf_buf url = { 0 };
	int r;

	(void)images_kind(tf_buf_span(image), &type, &ext);
	name = dl_job_keep(j, type, ext, image);
	if (name == NULL)
		return TF_E_NOMEM;
	r = tf_buf_printf(&url, TF_SPAN_FMT "/v1/images/hosted/%s", TF_SPAN_ARG(j->conf->base_url), name);
	if (r == 0)
		r = js_quote(out, tf_buf_span(&url));
	tf_buf_free(&url);
	return r;
}

/* ---- one image --------------------------------------------------------------------------- */

static bool
a_string(struct tf_span entry, const char *name, struct tf_span *v)
{
	return js_member(entry, name, v) && js_type(*v) == JS_STRING && v->n > 2;
}

bool
images_data_url(struct tf_span url, struct tf_span *b64)
{
	const char *comma;

	if (url.n < 5 || memcmp(url.p, "data:", 5) != 0)
		return false;
	comma = memchr(url.p, ',', url.n);
	if (comma == NULL || comma - url.p < 7 || memcmp(comma - 7, ";base64", 7) != 0)
		return false;
	*b64 = tf_span(comma + 1, (size_t)(url.p + url.n - comma - 1));
	return true;
}

static int
no_host(struct dl_job *j)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_OVERLOADED, "response_format",
	    "Images cannot be kept here at the moment: ask for response_format b64_json.");
	return dl_job_fail(j, &f);
}

/* The member that the client asked for, appended: "url":".." or "b64_json":"..". Takes image; b64: the same, or empty. */
static int
put_bytes(struct dl_job *j, struct tf_buf *image, struct tf_span b64, bool url, struct tf_buf *out)
{
	int r = image->n > 0 ? 0 : TF_E_INVAL;

	if (r == 0)
		r = tf_buf_addstr(out, url ? "\"url\":" : "\"b64_json\":\"");
	if (r == 0 && url)
		r = j->conf->base_url.n > 0 ? host(j, image, out) : no_host(j);
	else if (r == 0)
		r = b64.n > 0 ? tf_buf_addspan(out, b64) : tf_b64_encode(tf_buf_span(image), out);
	if (r == 0 && !url)
		r = tf_buf_addc(out, '"');
	tf_buf_free(image);
	return r;
}

/* That of an entry. 1: its bytes have to be fetched first, from what is appended to address. */
static int
put_image(struct dl_job *j, struct tf_span entry, bool url, struct tf_buf *address, struct tf_buf *out)
{
	struct tf_buf text = { 0 }, image = { 0 };
	struct tf_span v, b64 = { 0 };
	bool bytes = a_string(entry, "b64_json", &v);
	int r;

	if (!bytes && !a_string(entry, "url", &v))
		return TF_E_INVAL;
	r = js_str(v, &text, &b64);
	if (r == 0 && !bytes && !images_data_url(b64, &b64)) {
		/* one that the client asked for, of a host that it reaches */
		bool good = url && !images_ask_bytes(j, url);

		if (good)
			r = tf_buf_addstr(out, "\"url\":");
		if (r == 0)
			r = good ? tf_buf_addspan(out, v) : tf_buf_addspan(address, b64);
		r = r < 0 ? r : !good;
	} else {
		if (r == 0)
			r = tf_b64_decode(b64, &image);
		if (r == 0)
			r = put_bytes(j, &image, b64, url, out);
	}
	tf_buf_free(&text);
	tf_buf_free(&image);
	return r;
}

static int
on_image(void *arg, uint32_t position, struct tf_span entry)
{
	static const char *const ours[] = { "url", "b64_json", NULL };
	static const char *const of_events[] = { "url", "b64_json", "type", "created_at", NULL };
	struct dl_job *j = arg;
	struct images *st = j->state;
	struct tf_buf *to;
	int r;

	/* what nobody asked for is neither given nor charged */
	if (position >= j->head->n || st->n == IMAGES_MAX)
		return 0;
	to = &st->image[st->n];
	r = tf_buf_addc(to, '{');
	if (r == 0)
		r = put_image(j, entry, st->url && !j->head->stream, &st->address[st->n], to);
	/* what belongs behind the bytes waits for them */
	if (r == 1)
		tf_buf_reset(to);
	if (r >= 0)
		r = dl_job_others(entry, j->head->stream ? of_events : ours, to);
	if (r == 0 && st->address[st->n].n == 0)
		r = tf_buf_addc(to, '}');
	if (r < 0)
		return r;
	st->n++;
	st->held += to->n;
	return st->held > HELD_MAX ? TF_E_FULL : 0;
}

/* ---- images that are fetched ------------------------------------------------------------- */

/* The first one; st->n: none. */
static uint32_t
pending(const struct images *st)
{
	uint32_t i = 0;

	while (i < st->n && st->address[i].n == 0)
		i++;
	return i;
}

bool
images_wants(const struct dl_job *j, struct tf_span *url)
{
	const struct images *st = j->state;
	uint32_t i = pending(st);

	if (i == st->n)
		return false;
	*url = tf_buf_span(&st->address[i]);
	return true;
}

static int
no_bytes(struct dl_job *j)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, "response_format",
	    "The model's runtime answered with the address of an image, which cannot be fetched: ask for response_format url.");
	f.retryable = true;
	return dl_job_fail(j, &f);
}

int
images_fetched(struct dl_job *j, struct tf_span bytes)
{
	struct images *st = j->state;
	uint32_t i = pending(st);
	struct tf_buf others = st->image[i], image = { 0 }, *to = &st->image[i];
	bool url = st->url && !j->head->stream;
	const char *type, *ext;
	int r;

	*to = (struct tf_buf){ 0 };
	r = tf_buf_addc(to, '{');
	if (r == 0 && bytes.n > 0 && images_kind(bytes, &type, &ext)) {
		r = tf_buf_addspan(&image, bytes);
		if (r == 0)
			r = put_bytes(j, &image, tf_span(NULL, 0), url, to);
	} else if (r == 0 && url) {
		/* the runtime's own, for want of another: the client may reach it */
		r = tf_buf_addstr(to, "\"url\":");
		if (r == 0)
			r = js_quote(to, tf_buf_span(&st->address[i]));
	} else if (r == 0) {
		r = no_bytes(j);
	}
	if (r == 0)
		r = tf_buf_addspan(to, tf_buf_span(&others));
	if (r == 0)
		r = tf_buf_addc(to, '}');
	st->held += to->n;
	tf_buf_free(&others);
	tf_buf_free(&image);
	tf_buf_free(&st->address[i]);
	return r == 0 && st->held > HELD_MAX ? TF_E_FULL : r;
}

int
images_bytes(struct dl_job *j, struct tf_span piece, struct tf_buf *out)
{
	struct images *st = j->state;

	(void)out;
	return dl_split_feed(&st->split, piece, on_image, j);
}

/* ---- the whole answer -------------------------------------------------------------------- */

/* Tokens of the prompt are counted; what an image is made of is charged by the image. */
static void
note_usage(struct dl_job *j, struct tf_span answer)
{
	struct tf_span usage = { 0 };

	(void)js_member(answer, "usage", &usage);
	(void)dl_job_usage(j, usage);
	j->facts->usage.completion = 0;
	j->facts->out_tokens = 0;
}

static long long
created(struct tf_span answer, const char *name)
{
	struct tf_span v;
	int64_t t;

	return js_member(answer, name, &v) && js_get_i64(v, &t) == 0 && t > 0 ? (long long)t : (long long)tf_wall_s();
}

static int
put_whole(struct images *st, struct tf_span rest, struct tf_buf *out)
{
	static const char *const ours[] = { "created", "data", "model", "object", NULL };
	int r = tf_buf_reserve(out, st->held + rest.n + 64);

	if (r == 0)
		r = tf_buf_printf(out, "{\"created\":%lld,\"data\":[", created(rest, "created"));
	for (uint32_t i = 0; r == 0 && i < st->n; i++) {
		r = i > 0 ? tf_buf_addc(out, ',') : 0;
		if (r == 0)
			r = tf_buf_addspan(out, tf_buf_span(&st->image[i]));
		tf_buf_free(&st->image[i]);
	}
	if (r == 0)
		r = tf_buf_addc(out, ']');
	if (r == 0)
		r = dl_job_others(rest, ours, out);
	return r == 0 ? tf_buf_addc(out, '}') : r;
}

/* A client that streams, of a runtime that does not: all that there is, at once. */
static int
put_events(struct images *st, struct tf_span rest, struct tf_buf *out)
{
	static const char *const ours[] = { "created", "data", "model", "object", "type", "created_at", "b64_json", NULL };
	struct tf_buf data = { 0 };
	struct js_w w;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < st->n; i++) {
		struct tf_buf *image = &st->image[i];

		tf_buf_reset(&data);
		r = tf_buf_printf(
		    &data, "{\"type\":\"%s.completed\",\"created_at\":%lld,", st->event, created(rest, "created"));
		if (r == 0)
			r = tf_buf_append(&data, image->p + 1, image->n - 2);
		if (r == 0)
			r = dl_job_others(rest, ours, &data);
		if (r == 0)
			r = tf_buf_addc(&data, '}');
		if (r == 0)
			r = tf_buf_printf(out, "event: %s.completed\ndata: ", st->event);
		/* an event is one line */
		js_w_init(&w, out);
		if (r == 0)
			js_w_compact(&w, tf_buf_span(&data));
		if (r == 0)
			r = js_w_done(&w);
		if (r == 0)
			r = tf_buf_addstr(out, "\n\n");
	}
	tf_buf_free(&data);
	return r;
}

static int
end_whole(struct dl_job *j, struct tf_buf *out)
{
	struct images *st = j->state;
	size_t from = out->n;
	struct tf_span rest;
	int r = dl_split_end(&st->split, &rest);

	if (r < 0)
		return r;
	if (dl_job_error(j, rest) || st->n == 0)
		return TF_E_INVAL;
	note_usage(j, rest);
	j->facts->units.images = st->n;
	r = j->head->stream ? put_events(st, rest, out) : put_whole(st, rest, out);
	if (r < 0)
		out->n = from;
	return r;
}

/* ---- events ------------------------------------------------------------------------------ */

/* Clients go by the type in the data: it is that of the surface, whatever a runtime calls its edits. */
static int
pass_event(const struct images *st, bool done, struct tf_span data, struct tf_span type, struct tf_buf *out)
{
	const char *what = done ? "completed" : "partial_image";
	size_t before = (size_t)(type.p - data.p);
	int r = tf_buf_reserve(out, data.n + 192);

	if (r == 0)
		r = tf_buf_printf(out, "event: %s.%s\ndata: ", st->event, what);
	if (r == 0)
		r = tf_buf_append(out, data.p, before);
	if (r == 0)
		r = tf_buf_printf(out, "\"%s.%s\"", st->event, what);
	if (r == 0)
		r = tf_buf_append(out, type.p + type.n, data.n - before - type.n);
	return r == 0 ? tf_buf_addstr(out, "\n\n") : r;
}

int
images_event(struct dl_job *j, struct tf_span event, struct tf_span data, struct tf_buf *out)
{
	struct images *st = j->state;
	struct tf_span type, v;
	bool done;
	int r;

	(void)event;
	r = dl_job_data(j, data);
	if (r <= 0)
		return r;
	if (!js_member(data, "type", &type) || !a_string(data, "b64_json", &v)) {
		j->facts->skipped++;
		return 0;
	}
	done = type.n > 11 && memcmp(type.p + type.n - 11, ".completed\"", 11) == 0;
	if (done && st->n >= j->head->n)
		return 0;
	r = pass_event(st, done, data, type, out);
	if (r < 0)
		return r;
	j->facts->content = true;
	if (done) {
		st->n++;
		j->facts->units.images = st->n;
		note_usage(j, data);
		j->facts->finished = st->n == j->head->n;
	}
	return 0;
}

int
images_end(struct dl_job *j, struct tf_buf *out)
{
	struct images *st = j->state;

	if (st->split.shell.n > 0 || st->split.count > 0)
		return end_whole(j, out);
	return st->n > 0 ? 0 : TF_E_INVAL;
}
