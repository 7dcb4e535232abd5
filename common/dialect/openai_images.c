/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_images surface: POST /images/generations. images.c has the answers.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/chat.h"
#include "common/dialect/images.h"

/* ---- the request ------------------------------------------------------------------------- */

enum field {
#define FIELD(sym, path, types, low, high, class, flags, help) FIELD_##sym,
#include "common/dialect/fields_openai_images.def"
#undef FIELD
};
enum { SEEN_MODEL = 1, SEEN_PROMPT = 2 };

static int
on_text(struct dl_scan *s, const struct dl_value *v)
{
	if (v->hit->type != JS_STRING)
		return 0;
	switch ((enum field)v->id) {
	case FIELD_PROMPT:
		s->plain.seen |= SEEN_PROMPT;
		return images_on_prompt(s, v);
	case FIELD_SIZE:
		return images_on_size(s, v);
	case FIELD_QUALITY:
		s->image.quality = dl_range_value(v->hit);
		return 0;
	case FIELD_RESPONSE_FORMAT:
		return images_on_format(s, v);
	default:
		return 0;
	}
}

static int
value(struct dl_scan *s, const struct dl_value *v)
{
	uint64_t n;

	switch ((enum field)v->id) {
	case FIELD_ROOT:
		s->head.root = dl_range_value(v->hit);
		return 0;
	case FIELD_MODEL:
		s->plain.seen |= SEEN_MODEL;
		return dl_scan_model(s, v);
	case FIELD_N:
		if (v->hit->type == JS_NUMBER && js_get_u64(v->text, &n) == 0)
			s->head.n = (uint32_t)n;
		return 0;
	case FIELD_STREAM:
		s->head.stream = v->text.p[0] == 't';
		s->head.stream_at = dl_range_value(v->hit);
		return 0;
	default:
		return on_text(s, v);
	}
}

static int
end(struct dl_scan *s, struct tf_span body)
{
	(void)body;
	if (!(s->plain.seen & SEEN_MODEL))
		return dl_scan_refuse_at(s, "model", "model is required.");
	if (!(s->plain.seen & SEEN_PROMPT))
		return dl_scan_refuse_at(s, "prompt", "prompt is required.");
	s->head.needs |= DL_NEED_IMAGES;
	return 0;
}

static const struct dl_field rows[] = {
#define FIELD(sym, path, types, low, high, class, flags, help)                                     \
	{ path, types, low, high, class, flags, help },
#include "common/dialect/fields_openai_images.def"
#undef FIELD
};

static const struct dl_fields fields = { rows, TF_LEN(rows), value, end };

/* ---- one attempt ------------------------------------------------------------------------- */

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct tf_span object = tf_span(body.p + j->head->root.start, j->head->root.end - j->head->root.start), v;
	bool said = js_member(object, "response_format", &v) && js_type(v) == JS_STRING;
	struct images *st = j->state;
	struct tf_buf changed = { 0 };
	struct js_edit edit[1];
	struct js_edits e;
	size_t from = out->n;
	int r;

	st->event = "image_generation";
	st->url = !said || js_str_eq(v, "url");
	r = dl_job_splice(j, body, out);
	if (r < 0 || !images_ask_bytes(j, st->url))
		return r;
	object = tf_span(out->p + from, out->n - from);
	js_edits_init(&e, edit, 1);
	if (js_member(object, "response_format", &v))
		js_edit_replace(&e, (size_t)(v.p - object.p), (size_t)(v.p - object.p) + v.n, TF_SPAN("\"b64_json\""));
	else
		js_edit_insert_last(&e, object.n, TF_SPAN("\"response_format\":\"b64_json\""));
	r = js_splice(object, &e, &changed);
	out->n = from;
	if (r == 0)
		r = tf_buf_addspan(out, tf_buf_span(&changed));
	tf_buf_free(&changed);
	return r;
}

static const struct dl_plain plain = {
	.size = sizeof(struct images),
	.event_max = IMAGES_EVENT_MAX,
	.request = request,
	.begin = images_begin,
	.bytes = images_bytes,
	.event = images_event,
	.end = images_end,
	.wants = images_wants,
	.fetched = images_fetched,
	.fini = images_fini,
};

const struct dl_ops dl_openai_images = {
	.error_event = chat_error_event,
	.ping = { ": keep-alive\n\n", 14 },
	.fields = &fields,
	.plain = &plain,
};
