/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan of a request: one resumable pass that validates the JSON text, holds each field against
 * its row of the dialect's table and hands it to the dialect for the head. Called by gatewayd for
 * every body, slice by slice. Knows no field itself; must not allocate.
 */
#include "config.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/dialect/canon.h"
#include "common/dialect/field.h"

/* "messages[*].role" with the indexes of the hit, cut to size. */
static void
place(const char *path, const struct js_hit *hit, char out[static DL_PARAM_MAX])
{
	size_t n = 0;
	unsigned depth = 0;

	for (; *path != '\0' && n + 1 < DL_PARAM_MAX; path++) {
		if (path[0] == '[' && path[1] == '*' && depth < JS_PATH_INDEX) {
			n +=
			    (size_t)snprintf(out + n, DL_PARAM_MAX - n, "[%u", hit->index[depth++]);
			if (n >= DL_PARAM_MAX)
				n = DL_PARAM_MAX - 1;
			path++;
		} else {
			out[n++] = *path;
		}
	}
	out[n] = '\0';
}

int
dl_scan_refuse(struct dl_scan *s, const struct dl_value *v, const char *what, ...)
{
	char param[DL_PARAM_MAX], text[DL_MESSAGE_MAX];
	va_list ap;

	place(s->fields->v[v->id].path, v->hit, param);
	va_start(ap, what);
	vsnprintf(text, sizeof text, what, ap);
	va_end(ap);
	dl_fault_set(&s->fault, TF_E_BAD_REQUEST, param, "%s%s%s.",
	    param[0] != '\0' ? param : "The body", " ", text);
	return TF_E_INVAL;
}

int
dl_scan_refuse_at(struct dl_scan *s, const char *param, const char *fmt, ...)
{
	char text[DL_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dl_fault_set(&s->fault, TF_E_BAD_REQUEST, param, "%s", text);
	return TF_E_INVAL;
}

int
dl_scan_member(struct dl_scan *s, enum dl_why why, const struct js_hit *hit)
{
	struct dl_head *h = &s->head;

	if (h->nmember == DL_MEMBERS_MAX)
		return dl_scan_refuse_at(s, NULL, "The body repeats fields too often.");
	h->member[h->nmember].why = why;
	h->member[h->nmember++].at = (struct dl_range){ (uint32_t)hit->key, (uint32_t)hit->end };
	return 0;
}

/* ---- what scans of all dialects need ------------------------------------------------------ */

/* FNV-1a over eight bytes at a time: only places requests, protects nothing. */
static uint64_t
mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

#define SAMPLE 8192 /* of a long text, its beginning and its end are hashed */

static uint64_t
sample_hash(uint64_t h, struct tf_span s)
{
	if (s.n > 2 * SAMPLE) {
		h = mix(h, tf_hash(tf_span(s.p, SAMPLE), 1));
		s = tf_span(s.p + s.n - SAMPLE, SAMPLE);
	}
	return mix(mix(h, tf_hash(s, 1)), s.n);
}

/* Keeps the first hashes and, in a ring, the last ones. */
#define PREFIX_FIRST 8
#define PREFIX_RING (DL_PREFIX_MAX - PREFIX_FIRST)

void
dl_scan_prefix(struct dl_scan *s, struct tf_span message)
{
	uint32_t k = s->nprefix++;

	s->chain = sample_hash(s->chain, message);
	s->prefix[k < PREFIX_FIRST ? k : PREFIX_FIRST + (k - PREFIX_FIRST) % PREFIX_RING] =
	    s->chain;
}

/* Puts the ring in order and mixes in what stands before all messages. */
void
dl_scan_prefix_end(struct dl_scan *s, struct tf_span tools)
{
	uint64_t ring[PREFIX_RING], base = sample_hash(0, tools);
	uint32_t n = s->nprefix, at;

	if (n > DL_PREFIX_MAX) {
		memcpy(ring, s->prefix + PREFIX_FIRST, sizeof ring);
		at = (n - PREFIX_FIRST) % PREFIX_RING;
		for (uint32_t i = 0; i < PREFIX_RING; i++)
			s->prefix[PREFIX_FIRST + i] = ring[(at + i) % PREFIX_RING];
		n = DL_PREFIX_MAX;
	}
	for (uint32_t i = 0; i < n; i++)
		s->prefix[i] = mix(base, s->prefix[i]);
	s->nprefix = n;
}

static bool
plain_name(struct tf_span text)
{
	for (size_t i = 1; i + 1 < text.n; i++) {
		char c = text.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '_' || c == '-'))
			return false;
	}
	return true;
}

int
dl_scan_name(struct dl_scan *s, const struct dl_value *v)
{
	if (!plain_name(v->text))
		return dl_scan_refuse(s, v, "may hold only letters, digits, '_' and '-'");
	return 0;
}

int
dl_scan_model(struct dl_scan *s, const struct dl_value *v)
{
	struct tf_buf scratch = { 0 };
	struct tf_span name;
	bool fits;

	if (js_str(v->text, &scratch, &name) < 0) {
		tf_buf_free(&scratch);
		dl_fault_set(&s->fault, TF_E_SERVER_ERROR, NULL, NULL);
		return TF_E_INVAL;
	}
	fits = name.n <= DL_MODEL_MAX;
	for (size_t i = 0; fits && i < name.n; i++)
		fits = (unsigned char)name.p[i] >= 0x20 && name.p[i] != 0x7f;
	if (fits) {
		memcpy(s->head.model, name.p, name.n);
		s->head.model_len = (uint16_t)name.n;
		s->head.model_at = dl_range_value(v->hit);
	}
	tf_buf_free(&scratch);
	return fits ? 0
		    : dl_scan_refuse(s, v, "must be at most %d bytes without control characters",
			  DL_MODEL_MAX);
}

/* ---- types and ranges -------------------------------------------------------------------- */

static const struct {
	unsigned bit;
	const char *name;
} type_name[] = {
	{ DL_T_STRING, "a string" },
	{ DL_T_INT, "a whole number" },
	{ DL_T_NUMBER, "a number" },
	{ DL_T_BOOL, "true or false" },
	{ DL_T_ARRAY, "an array" },
	{ DL_T_OBJECT, "an object" },
};

static unsigned
type_bits(enum js_type t)
{
	static const unsigned bits[] = {
		[JS_NULL] = DL_T_NULL,
		[JS_BOOL] = DL_T_BOOL,
		[JS_NUMBER] = DL_T_NUMBER | DL_T_INT,
		[JS_STRING] = DL_T_STRING,
		[JS_OBJECT] = DL_T_OBJECT,
		[JS_ARRAY] = DL_T_ARRAY,
	};

	return (size_t)t < TF_LEN(bits) ? bits[t] : 0;
}

static int
refuse_type(struct dl_scan *s, const struct dl_value *v, const struct dl_field *f)
{
	char want[128];
	size_t n = 0;

	want[0] = '\0';
	for (size_t i = 0; i < TF_LEN(type_name); i++)
		if (f->types & type_name[i].bit)
			n += (size_t)snprintf(want + n, sizeof want - n, "%s%s",
			    n > 0 ? " or " : "", type_name[i].name);
	return dl_scan_refuse(s, v, "must be %s, not %s", want, js_type_name(v->hit->type));
}

static int
check_number(struct dl_scan *s, const struct dl_value *v, const struct dl_field *f)
{
	bool bounded = f->low != 0 || f->high != 0;
	int64_t whole;
	double d;

	if (f->types & DL_T_INT && js_get_i64(v->text, &whole) < 0) {
		if (js_get_double(v->text, &d) < 0 || d == floor(d))
			return dl_scan_refuse(s, v, "is out of range");
		return dl_scan_refuse(s, v, "must be a whole number");
	}
	if (js_get_double(v->text, &d) < 0)
		return dl_scan_refuse(s, v, "is out of range");
	if (!bounded || (d >= f->low && d <= f->high))
		return 0;
	if (f->high >= DL_OUTPUT_MAX)
		return dl_scan_refuse(s, v,
		    d < f->low ? "must be at least %.0f" : "must be below 2147483648", f->low);
	return dl_scan_refuse(s, v, "must be between %g and %g", f->low, f->high);
}

static int
check_range(struct dl_scan *s, const struct dl_value *v, const struct dl_field *f)
{
	const struct js_hit *hit = v->hit;

	switch (hit->type) {
	case JS_NUMBER:
		return check_number(s, v, f);
	case JS_STRING:
		if (f->low > 0 && hit->text == 0)
			return dl_scan_refuse(s, v, "must not be empty");
		/* escapes make the text at most six times as long as the characters */
		if (f->high > 0 && hit->text > f->high * (hit->escaped ? 6 : 1))
			return dl_scan_refuse(s, v, "must not be longer than %.0f bytes", f->high);
		return 0;
	case JS_ARRAY:
		if (hit->count < f->low)
			return dl_scan_refuse(s, v, "must not be empty");
		return 0;
	default:
		return 0;
	}
}

static int
on_hit(void *arg, const struct js_hit *hit)
{
	struct dl_scan *s = arg;
	const struct dl_field *f = &s->fields->v[hit->id];
	struct dl_value v = { hit->id, hit, { NULL, 0 } };
	int r;

	if (f->types != 0 && !(f->types & type_bits(hit->type)))
		return refuse_type(s, &v, f);
	if (!hit->begin) {
		v.text = tf_span(s->text + hit->start, hit->end - hit->start);
		r = f->types != 0 ? check_range(s, &v, f) : 0;
		if (r < 0)
			return r;
		if (f->class == 'D' || f->class == 'X' || f->class == 'S') {
			r = dl_scan_member(s, f->class == 'D' ? DL_WHY_DENIED : DL_WHY_HOSTED, hit);
			if (r < 0)
				return r;
		}
	}
	return s->fields->value(s, &v);
}

/* ---- the scan ---------------------------------------------------------------------------- */

void
dl_scan_init(struct dl_scan *s, enum dl_dialect surface, unsigned depth, uint32_t nodes)
{
	const struct dl_ops *ops = dl_ops(surface);

	assert(ops != NULL && (dl_interest(surface) != NULL || ops->form != NULL));
	memset(s, 0, offsetof(struct dl_scan, js));
	memset(&s->head, 0, sizeof s->head);
	dl_fault_set(&s->fault, TF_OK, NULL, NULL);
	memset(&s->chat, 0, sizeof s->chat);
	memset(&s->messages, 0, sizeof s->messages);
	memset(&s->responses, 0, sizeof s->responses);
	s->responses.store = true;
	memset(&s->completions, 0, sizeof s->completions);
	memset(&s->plain, 0, sizeof s->plain);
	memset(&s->audio, 0, sizeof s->audio);
	memset(&s->image, 0, sizeof s->image);
	s->nprefix = 0;
	s->chain = 0;
	s->count = false;
	s->mixed = surface == DL_OPENAI_CHAT ? DL_MIXED_CHAT : DL_MIXED_NO;
	s->depth = depth;
	s->nodes = nodes;
	s->text = NULL;
	s->is_form = false;
	s->fields = ops->fields;
	s->head.surface = surface;
	s->head.n = 1;
	js_scan_init(&s->js, dl_interest(surface), on_hit, s);
	js_scan_limits(&s->js, depth, nodes);
}

/* The JSON text itself is at fault: says where. */
static void
json_fault(struct dl_scan *s, struct tf_span text)
{
	char message[DL_MESSAGE_MAX], param[2 * DL_PARAM_MAX] = "";
	struct js_place where;
	const char *name, *end;

	js_scan_message(&s->js, text, message, sizeof message);
	if (s->js.fault == JS_F_DUPLICATE) {
		/* the fault is at the second name's opening quote */
		js_scan_place(&s->js, text, &where);
		name = text.p + s->js.errat + 1;
		end = memchr(name, '"', (size_t)(text.p + text.n - name));
		snprintf(param, sizeof param, "%.90s%s%.*s", where.path,
		    where.path[0] != '\0' ? "." : "",
		    end != NULL && end - name < 64 ? (int)(end - name) : 0, name);
	}
	dl_fault_set(&s->fault, TF_E_BAD_REQUEST, param, "The body is not valid: %s.", message);
}

/* Begins again as a body of that API. */
static void
swap(struct dl_scan *s, enum dl_dialect surface, enum dl_mixed mixed)
{
	const char *text = s->text;
	bool count = s->count;

	dl_scan_init(s, surface, s->depth, s->nodes);
	s->text = text;
	s->count = count;
	s->mixed = mixed;
}

static int
pass(struct dl_scan *s, const char *text, size_t len, bool end)
{
	int r = end ? js_scan_end(&s->js, text, len) : js_scan_feed(&s->js, text, len);

	if (r < 0 && r != TF_E_AGAIN && s->fault.err == 0)
		json_fault(s, tf_span(text, len));
	if (r == 0 && end) {
		s->head.body_len = (uint32_t)len;
		r = s->fields->end(s, tf_span(text, len));
	}
	return r;
}

/* Not for what it is as JSON text: that is the same for every API. */
static bool
refused(const struct dl_scan *s, int r)
{
	return r < 0 && (s->js.fault == JS_F_NONE || s->js.fault == JS_F_CALLBACK);
}

/*
 * One client sends bodies of Responses to the path of chat completions: they have `input` and no `messages`. Which it
 * is may show only behind members that one of the two refuses, so a refusal counts once it is known.
 */
static int
pass_mixed(struct dl_scan *s, const char *text, size_t len, bool end)
{
	int r = pass(s, text, len, end);

	if (s->mixed == DL_MIXED_CHAT && refused(s, r) && s->head.messages == 0) {
		swap(s, DL_OPENAI_RESPONSES, DL_MIXED_RESPONSES);
		r = pass(s, text, len, end);
	}
	if (s->mixed == DL_MIXED_RESPONSES && refused(s, r) && (r == TF_E_AGAIN || !s->responses.begun)) {
		swap(s, DL_OPENAI_CHAT, DL_MIXED_NO);
		r = pass(s, text, len, end);
	}
	return r;
}

static int
scan(struct dl_scan *s, const char *text, size_t len, bool end)
{
	if (s->fault.err != 0)
		return TF_E_INVAL;
	if (len > DL_BODY_MAX) {
		dl_fault_set(&s->fault, TF_E_REQUEST_TOO_LARGE, NULL, NULL);
		return TF_E_INVAL;
	}
	text = len > 0 ? text : "";
	s->text = text;
	if (s->is_form)
		return dl_scan_form_feed(s, text, len, end);
	if (s->mixed == DL_MIXED_NO)
		(void)pass(s, text, len, end);
	else
		(void)pass_mixed(s, text, len, end);
	return s->fault.err == 0 ? 0 : TF_E_INVAL;
}

int
dl_scan_feed(struct dl_scan *s, const char *text, size_t len)
{
	return scan(s, text, len, false);
}

int
dl_scan_end(struct dl_scan *s, const char *text, size_t len)
{
	if (scan(s, text, len, true) < 0)
		return TF_E_INVAL;
	if (!s->is_form)
		return 0;
	s->head.body_len = (uint32_t)len;
	return dl_scan_form_end(s, tf_span(text, len)) < 0 ? TF_E_INVAL : 0;
}
