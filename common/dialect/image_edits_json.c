/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /images/edits with a JSON body (developers.openai.com, "Create image edit"): images as addresses. Open runtimes
 * know the form only, so they get one, made here of the bytes in data URLs. Nobody fetches an address for them: it may be
 * one that only this host reaches. Called by openai_image_edits.c.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/form.h"
#include "common/dialect/images.h"

/* ---- the scan ---------------------------------------------------------------------------- */

enum field {
#define FIELD(sym, path, types, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_image_edits.def"
#undef FIELD
};
enum { SEEN_MODEL = 1, SEEN_PROMPT = 2, SEEN_IMAGES = 4, SEEN_URL = 8, SEEN_MASK = 16 };

/* With a part for each image, one of them the member of all, and the form of the answer: no more than a form may have. */
#define MEMBERS_MAX (DL_FORM_PARTS_MAX - IMAGES_SOURCES_MAX)
#define NAME_MAX_PART 128 /* longest name of a part that we make of a member nobody knows here, bytes */

static int
on_url(struct dl_scan *s, const struct dl_value *v)
{
	struct tf_span text = v->text, b64;

	if (text.n > 9 && strncasecmp(text.p + 1, "https://", 8) == 0)
		return 0;
	/* no character of a data URL needs an escape but '/', which some writers escape all the same */
	return images_data_url(tf_span(text.p + 1, text.n - 2), &b64) || memchr(text.p, '\\', text.n < 64 ? text.n : 64) != NULL
	    ? 0
	    : dl_scan_refuse(s, v, "must be a data URL in base64, or https");
}

static int
on_image(struct dl_scan *s, const struct dl_value *v)
{
	uint32_t *seen = &s->plain.seen;

	switch ((enum field)v->id) {
	case FIELD_IMAGES:
		*seen |= SEEN_IMAGES;
		s->head.images += v->hit->count;
		return 0;
	case FIELD_IMAGE:
		if (v->hit->index[0] >= IMAGES_SOURCES_MAX)
			return dl_scan_refuse_at(s, "images", "images must not have more than %d entries.", IMAGES_SOURCES_MAX);
		if (!v->hit->begin && !(*seen & SEEN_URL))
			return dl_scan_refuse(s, v, "has no image_url");
		*seen &= ~(uint32_t)SEEN_URL;
		return 0;
	case FIELD_IMAGE_URL:
		*seen |= SEEN_URL;
		return on_url(s, v);
	case FIELD_MASK:
		if (v->hit->type == JS_OBJECT && !(*seen & SEEN_MASK))
			return dl_scan_refuse(s, v, "has no image_url");
		return 0;
	case FIELD_MASK_URL:
		*seen |= SEEN_MASK;
		s->head.images++;
		return on_url(s, v);
	default:
		return v->hit->type == JS_NULL
		    ? 0
		    : dl_scan_refuse(s, v, "names a stored file; send the image itself as image_url");
	}
}

static int
value(struct dl_scan *s, const struct dl_value *v)
{
	bool text = v->hit->type == JS_STRING;
	uint64_t n;

	switch ((enum field)v->id) {
	case FIELD_ROOT:
		s->head.root = dl_range_value(v->hit);
		return v->hit->count <= MEMBERS_MAX
		    ? 0
		    : dl_scan_refuse_at(s, NULL, "The body must not have more than %d members.", MEMBERS_MAX);
	case FIELD_IMAGES:
	case FIELD_IMAGE:
	case FIELD_IMAGE_URL:
	case FIELD_IMAGE_FILE:
	case FIELD_MASK:
	case FIELD_MASK_URL:
	case FIELD_MASK_FILE:
		return on_image(s, v);
	case FIELD_OLD_IMAGE:
		return dl_scan_refuse(s, v, "is a part of forms: in JSON images stand in images");
	case FIELD_MODEL:
		s->plain.seen |= SEEN_MODEL;
		return dl_scan_model(s, v);
	case FIELD_PROMPT:
		s->plain.seen |= SEEN_PROMPT;
		return images_on_prompt(s, v);
	case FIELD_N:
		if (v->hit->type == JS_NUMBER && js_get_u64(v->text, &n) == 0)
			s->head.n = (uint32_t)n;
		return 0;
	case FIELD_SIZE:
		return text ? images_on_size(s, v) : 0;
	case FIELD_QUALITY:
		if (text)
			s->image.quality = dl_range_value(v->hit);
		return 0;
	case FIELD_RESPONSE_FORMAT:
		return text ? images_on_format(s, v) : 0;
	case FIELD_STREAM:
		s->head.stream = v->text.p[0] == 't';
		s->head.stream_at = dl_range_value(v->hit);
		return 0;
	default:
		return 0;
	}
}

static int
end(struct dl_scan *s, struct tf_span body)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} needed[] = { { SEEN_IMAGES, "images" }, { SEEN_MODEL, "model" }, { SEEN_PROMPT, "prompt" } };

	(void)body;
	for (size_t i = 0; i < TF_LEN(needed); i++)
		if (!(s->plain.seen & needed[i].bit))
			return dl_scan_refuse_at(s, needed[i].name, "%s is required.", needed[i].name);
	s->head.needs |= DL_NEED_IMAGES;
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help) { path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_image_edits.def"
#undef FIELD
};
const struct dl_fields image_edits_fields = { rows, TF_LEN(rows), value, end };

/* ---- towards the runtime ----------------------------------------------------------------- */

struct making {
	struct dl_job *j;
	struct dl_form_reader as; /* for its boundary */
	struct dl_form_w w;
	struct tf_buf text, bytes; /* scratch */
	bool said; /* response_format */
};

/* param: of the image, for the caller. */
static int
image(struct making *m, struct tf_span url, const char *name, const char *param)
{
	const char *type, *ext;
	struct tf_span s;
	int r;

	tf_buf_reset(&m->text);
	tf_buf_reset(&m->bytes);
	r = js_str(url, &m->text, &s);
	if (r < 0)
		return r;
	if (!images_data_url(s, &s))
		return dl_job_refuse(m->j, param, "This model does not fetch images by their address: send a data URL in base64.");
	if (tf_b64_decode(s, &m->bytes) < 0 || !images_kind(tf_buf_span(&m->bytes), &type, &ext))
		return dl_job_refuse(m->j, param, "%s is not an image in a supported format: png, jpeg or webp.", param);
	dl_form_w_bytes(&m->w, tf_cspan(name), ext, type, tf_buf_span(&m->bytes));
	return m->w.err;
}

/* Several images are a list, as clients that send forms write it. */
static int
images(struct making *m, struct tf_span list)
{
	struct tf_span el, url, second;
	struct js_iter it;
	char param[48];
	unsigned n = 0;
	bool several;
	int r = 0;

	js_iter_init(&it, list);
	several = js_iter_next(&it, NULL, &el) && js_iter_next(&it, NULL, &second);
	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		snprintf(param, sizeof param, "images[%u].image_url", n++);
		r = js_member(el, "image_url", &url) ? image(m, url, several ? "image[]" : "image", param) : TF_E_INVAL;
	}
	return r;
}

/* A member that nobody has to look at, as the text that a form has for it. */
static int
other(struct making *m, struct tf_span key, struct tf_span v)
{
	struct tf_buf name = { 0 };
	struct tf_span text = v;
	int r = js_str_append(key, &name);

	tf_buf_reset(&m->text);
	if (r == 0 && js_type(v) == JS_STRING)
		r = js_str(v, &m->text, &text);
	/* a name as clients write them; anything else could end its line, or is no name of a part */
	if (r == 0 && (name.n == 0 || name.n > NAME_MAX_PART))
		r = TF_E_NOENT;
	for (size_t i = 0; r == 0 && i < name.n; i++)
		if (!dl_plain_char(name.p[i]))
			r = TF_E_NOENT;
	if (r == 0 && tf_buf_cstr(&name) == NULL)
		r = TF_E_NOMEM;
	if (r == 0 && !js_is_null(v))
		dl_form_w_text(&m->w, name.p, text);
	if (r == TF_E_NOENT)
		r = 0;
	tf_buf_free(&name);
	return r < 0 ? r : m->w.err;
}

static int
member(struct making *m, struct tf_span key, struct tf_span v)
{
	struct images *st = m->j->state;
	struct tf_span url;

	for (size_t i = 0; i < TF_LEN(rows); i++)
		if (rows[i].class == 'D' && js_str_eq(key, rows[i].path))
			return dl_note_dropped(m->j->dropped, tf_cspan(rows[i].path));
	if (js_str_eq(key, "images"))
		return images(m, v);
	if (js_str_eq(key, "mask"))
		return js_member(v, "image_url", &url) ? image(m, url, "mask", "mask.image_url") : 0;
	if (js_str_eq(key, "model")) {
		dl_form_w_text(&m->w, "model", m->j->conf->model);
		return m->w.err;
	}
	if (!js_str_eq(key, "response_format"))
		return other(m, key, v);
	st->url = js_is_null(v) || js_str_eq(v, "url");
	m->said = !js_is_null(v);
	return 0;
}

static int
make(struct making *m, struct tf_span object)
{
	struct images *st = m->j->state;
	struct tf_span key, v;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, object);
	while (r == 0 && js_iter_next(&it, &key, &v))
		r = member(m, key, v);
	if (r < 0)
		return r;
	if (images_ask_bytes(m->j, st->url))
		dl_form_w_text(&m->w, "response_format", TF_SPAN("b64_json"));
	else if (m->said)
		dl_form_w_text(&m->w, "response_format", st->url ? TF_SPAN("url") : TF_SPAN("b64_json"));
	return dl_form_w_end(&m->w);
}

int
image_edits_json(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct tf_span object = tf_span(body.p + j->head->root.start, j->head->root.end - j->head->root.start), v;
	struct images *st = j->state;
	struct making m = { .j = j };
	char boundary[40];
	int r;

	st->event = "image_edit";
	st->url = true;
	if (j->conf->quirks & DL_Q_HOSTED) {
		st->url = !js_member(object, "response_format", &v) || !js_str_eq(v, "b64_json");
		snprintf(st->content_type, sizeof st->content_type, "application/json");
		return dl_job_splice(j, body, out);
	}
	dl_mint_id(boundary, sizeof boundary, "form", &j->conf->rid, 0, 11);
	snprintf(st->content_type, sizeof st->content_type, "multipart/form-data; boundary=%s", boundary);
	r = dl_form_init(&m.as, tf_cspan(st->content_type), 0, NULL, NULL);
	if (r == 0)
		r = tf_buf_reserve(out, body.n + 1024);
	if (r < 0)
		return r == TF_E_NOMEM ? r : TF_E_INVAL;
	dl_form_w_init(&m.w, &m.as, out);
	r = make(&m, object);
	tf_buf_free(&m.text);
	tf_buf_free(&m.bytes);
	return r;
}
