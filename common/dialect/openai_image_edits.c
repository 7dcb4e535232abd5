/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_image_edits surface: POST /images/edits, a form with images, or JSON (image_edits_json.c). A form goes to
 * the runtime part by part, with the runtime's name of the model; images.c has the answers.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat.h"
#include "common/dialect/form.h"
#include "common/dialect/images.h"

/* ---- the request ------------------------------------------------------------------------- */

enum field {
#define FORM(sym, name, type, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_image_edits.def"
#undef FORM
};

static int
on_image(struct dl_scan *s, const struct dl_form_value *v)
{
	const char *name = s->rows->v[v->id].name, *type, *ext;

	if (v->index >= IMAGES_SOURCES_MAX)
		return dl_scan_refuse_at(s, name, "%s must not have more than %d entries.", name, IMAGES_SOURCES_MAX);
	if (!images_kind(v->part->value, &type, &ext))
		return dl_scan_refuse_at(s, name, "%s is not an image in a supported format: png, jpeg or webp.", name);
	s->head.images++;
	return 0;
}

static size_t
characters(struct tf_span text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++)
		n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
	return n;
}

static int
on_prompt(struct dl_scan *s, struct tf_span text)
{
	s->head.prompt_bytes = text.n;
	if (characters(text) > IMAGES_PROMPT_MAX)
		return dl_scan_refuse_at(s, "prompt", "prompt must not be longer than %d characters.", IMAGES_PROMPT_MAX);
	return 0;
}

static int
value(struct dl_scan *s, const struct dl_form_value *v)
{
	struct tf_span text = v->part->value;
	bool flag = false;
	uint64_t n;

	switch ((enum field)v->id) {
	case FIELD_IMAGE:
	case FIELD_MASK:
		return on_image(s, v);
	case FIELD_MODEL:
		return dl_scan_form_model(s, v);
	case FIELD_PROMPT:
		return on_prompt(s, text);
	case FIELD_N:
		if (js_get_u64(text, &n) == 0)
			s->head.n = (uint32_t)n;
		return 0;
	case FIELD_SIZE:
		s->image.size = v->at;
		return images_size_ok(text) ? 0 : dl_scan_refuse_at(s, "size", "size must be WIDTHxHEIGHT in pixels, or auto.");
	case FIELD_QUALITY:
		s->image.quality = v->at;
		return 0;
	case FIELD_RESPONSE_FORMAT:
		return tf_span_is(text, "url") || tf_span_is(text, "b64_json")
		    ? 0
		    : dl_scan_refuse_at(s, "response_format", "response_format must be url or b64_json.");
	case FIELD_STREAM:
		if (dl_form_bool(text, &flag) < 0)
			return TF_E_INVAL;
		s->head.stream = flag;
		return 0;
	default:
		return 0;
	}
}

static int
end(struct dl_scan *s, struct tf_span body)
{
	(void)body;
	s->head.needs |= DL_NEED_IMAGES;
	return 0;
}

static const struct dl_form_row rows[] = {
#define FORM(sym, name, type, low, high, class, flags, help) { name, type, low, high, class, flags, help },
#include "common/dialect/fields_openai_image_edits.def"
#undef FORM
};
static const struct dl_form_rows form = { rows, TF_LEN(rows), value, end };

/* ---- towards the runtime ----------------------------------------------------------------- */

/* Copies the form, as its parts come. */
struct copy {
	struct dl_job *j;
	struct dl_form_reader form;
	struct dl_form_w w;
	struct tf_span said; /* response_format of the client; empty: none */
};

static int
copy_part(void *arg, const struct dl_form_part *part)
{
	struct copy *c = arg;
	const struct dl_form_row *row = dl_form_row(&form, part->name);
	struct tf_buf *dropped = c->j->dropped;
	int r;

	if (row != NULL && row->class == 'D') {
		r = dropped->n > 0 ? tf_buf_addc(dropped, ',') : 0;
		return r == 0 ? tf_buf_addstr(dropped, row->name) : r;
	}
	if (row == &rows[FIELD_MODEL])
		dl_form_w_text(&c->w, "model", c->j->conf->model);
	else if (row == &rows[FIELD_RESPONSE_FORMAT])
		c->said = part->value;
	else
		dl_form_w_copy(&c->w, part);
	return c->w.err;
}

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct images *st = j->state;
	struct copy c = { .j = j };
	int r;

	if (!dl_form_is(j->conf->content_type))
		return image_edits_json(j, body, out);
	r = dl_form_init(&c.form, j->conf->content_type, 0, copy_part, &c);

	if (r < 0)
		return TF_E_INVAL;
	if (tf_buf_reserve(out, body.n + 1024) < 0)
		return TF_E_NOMEM;
	dl_form_w_init(&c.w, &c.form, out);
	r = dl_form_end(&c.form, body.p, body.n);
	if (r < 0)
		return r == TF_E_NOMEM ? r : TF_E_INVAL;
	st->event = "image_edit";
	st->url = c.said.n == 0 || tf_span_is(c.said, "url");
	if (images_ask_bytes(j, st->url))
		c.said = TF_SPAN("b64_json");
	if (c.said.n > 0)
		dl_form_w_text(&c.w, "response_format", c.said);
	return dl_form_w_end(&c.w);
}

static const char *
request_type(const struct dl_job *j)
{
	const struct images *st = j->state;

	return st->content_type[0] != '\0' ? st->content_type : j->conf->content_type.p; /* terminated */
}

static const struct dl_plain plain = {
	.size = sizeof(struct images),
	.event_max = IMAGES_EVENT_MAX,
	.request = request,
	.request_type = request_type,
	.begin = images_begin,
	.bytes = images_bytes,
	.event = images_event,
	.end = images_end,
	.wants = images_wants,
	.fetched = images_fetched,
	.fini = images_fini,
};

const struct dl_ops dl_openai_image_edits = {
	.error_event = chat_error_event,
	.ping = { ": keep-alive\n\n", 14 },
	.fields = &image_edits_fields,
	.form = &form,
	.plain = &plain,
};
