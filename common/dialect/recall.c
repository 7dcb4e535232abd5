/* SPDX-License-Identifier: Apache-2.0 */
/* See recall.h. Called by xlate*.c (answers and requests) and through dialect.h by the gateway (names). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/canon.h"
#include "common/dialect/recall.h"
#include "common/json/json.h"

bool
dl_recall_wanted(enum dl_dialect runtime, uint32_t quirks)
{
	/* the provider refuses calls without the thinking that it has signed, and thinking beside such calls */
	return (runtime == DL_OPENAI_CHAT && (quirks & DL_Q_REPLAY_REASONING)) ||
	    ((runtime == DL_ANTHROPIC_MESSAGES || runtime == DL_OPENAI_RESPONSES) && (quirks & DL_Q_HOSTED));
}

/* ---- names ------------------------------------------------------------------------------- */

static void
add_text(struct tf_hash *h, struct tf_span s)
{
	uint8_t n[8]; /* the same on every host */

	for (size_t i = 0; i < sizeof n; i++)
		n[i] = (uint8_t)((uint64_t)s.n >> (8 * i));
	tf_hash_add(h, n, sizeof n);
	tf_hash_add(h, s.p, s.n);
}

static bool
blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* A string of JSON text that begins at p; returns its end. */
static const char *
string_end(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p < end ? p + 1 : end;
}

/* JSON text whatever its white space and escapes. */
static int
add_json(struct tf_hash *h, struct tf_span text)
{
	const char *p = text.p, *end = text.p + text.n, *from;
	struct tf_buf s = { 0 };
	int r = 0;

	while (r == 0 && p < end) {
		from = p;
		if (*p == '"') {
			p = string_end(p, end);
			tf_buf_reset(&s);
			r = js_str_append(tf_span(from, (size_t)(p - from)), &s);
			tf_hash_add(h, "\"", 1);
			add_text(h, tf_buf_span(&s));
			continue;
		}
		while (p < end && *p != '"' && !blank(*p))
			p++;
		tf_hash_add(h, from, (size_t)(p - from));
		while (p < end && blank(*p))
			p++;
	}
	tf_buf_free(&s);
	return r;
}

static bool
is_json(struct tf_span text)
{
	struct js_scan s;

	js_scan_init(&s, NULL, NULL, NULL);
	return text.n > 0 && js_scan_end(&s, text.p, text.n) == 0;
}

int
dl_recall_name(struct tf_span id, struct tf_span tool, struct tf_span args, char out[static DL_RECALL_NAME + 1])
{
	struct tf_hash *h = tf_hash_new();
	uint8_t digest[TF_SHA256];
	int r = 0;

	if (h == NULL)
		return TF_E_NOMEM;
	/* no arguments, and none that are written */
	if (args.n == 0)
		args = TF_SPAN("{}");
	add_text(h, id);
	add_text(h, tool);
	if (is_json(args))
		r = add_json(h, args);
	else
		add_text(h, args);
	tf_hash_end(&h, digest);
	tf_hex(digest, sizeof digest, out);
	return r == TF_E_NOMEM ? r : 0;
}

/* ---- of an answer ------------------------------------------------------------------------ */

#define PARTS_MAX 32

struct piece { /* a reasoning item: so much of texts and signatures */
	uint32_t item;
	size_t text, signature;
};

struct dl_recall {
	struct piece part[PARTS_MAX];
	size_t n;
	struct tf_buf texts, signatures;
	struct tf_buf id, tool, args; /* of the first call */
	uint32_t call;
	bool called, over;
};

struct dl_recall *
dl_recall_new(void)
{
	return calloc(1, sizeof(struct dl_recall));
}

void
dl_recall_reset(struct dl_recall *r)
{
	r->n = 0;
	r->called = r->over = false;
	tf_buf_reset(&r->texts);
	tf_buf_reset(&r->signatures);
	tf_buf_reset(&r->id);
	tf_buf_reset(&r->tool);
	tf_buf_reset(&r->args);
}

void
dl_recall_free(struct dl_recall **rp)
{
	struct dl_recall *r = *rp;

	*rp = NULL;
	if (r == NULL)
		return;
	tf_buf_free(&r->texts);
	tf_buf_free(&r->signatures);
	tf_buf_free(&r->id);
	tf_buf_free(&r->tool);
	tf_buf_free(&r->args);
	free(r);
}

static int
item(struct dl_recall *r, const struct dl_event *e)
{
	if (e->item_kind == DL_ITEM_CALL && !r->called) {
		r->called = true;
		r->call = e->item;
		return tf_buf_addspan(&r->id, e->id) == 0 && tf_buf_addspan(&r->tool, e->name) == 0 ? 0 : TF_E_NOMEM;
	}
	/* what is thought behind the first call belongs to the next turn, as far as anybody can say */
	if (e->item_kind != DL_ITEM_REASONING || r->called)
		return 0;
	if (r->n == PARTS_MAX)
		r->over = true;
	else
		r->part[r->n++] = (struct piece){ .item = e->item };
	return 0;
}

static int
add(struct dl_recall *r, const struct dl_event *e, struct tf_buf *to, bool signature)
{
	struct piece *p = r->n > 0 ? &r->part[r->n - 1] : NULL;

	if (p == NULL || p->item != e->item || r->over)
		return 0;
	if (r->texts.n + r->signatures.n + e->text.n > DL_RECALL_MAX) {
		r->over = true;
		return 0;
	}
	if (signature)
		p->signature += e->text.n;
	else
		p->text += e->text.n;
	return tf_buf_addspan(to, e->text);
}

int
dl_recall_event(struct dl_recall *r, const struct dl_event *e)
{
	if (e->choice != 0)
		return 0;
	switch (e->kind) {
	case DL_EV_ITEM:
		return item(r, e);
	case DL_EV_REASONING:
		return add(r, e, &r->texts, false);
	case DL_EV_SIGNATURE:
		return add(r, e, &r->signatures, true);
	case DL_EV_ARGS:
		if (!r->called || e->item != r->call || r->n == 0 || r->over)
			return 0;
		if (r->args.n + e->text.n > DL_RECALL_MAX)
			r->over = true;
		return r->over ? 0 : tf_buf_addspan(&r->args, e->text);
	default:
		return 0;
	}
}

int
dl_recall_value(struct dl_recall *r, struct tf_span model, char name[static DL_RECALL_NAME + 1], struct tf_buf *out)
{
	const char *text = r->texts.p, *signature = r->signatures.p;
	struct js_w w;
	int rc;

	if (!r->called || r->over || r->texts.n + r->signatures.n == 0)
		return 0;
	rc = dl_recall_name(tf_buf_span(&r->id), tf_buf_span(&r->tool), tf_buf_span(&r->args), name);
	if (rc != 0)
		return rc;
	js_w_init(&w, out);
	js_w_object(&w);
	js_w_kcstr(&w, "name", name);
	js_w_kstr(&w, "model", model);
	js_w_key(&w, "reasoning");
	js_w_array(&w);
	for (size_t i = 0; i < r->n; i++) {
		js_w_object(&w);
		js_w_kstr(&w, "text", tf_span(text, r->part[i].text));
		if (r->part[i].signature > 0)
			js_w_kstr(&w, "signature", tf_span(signature, r->part[i].signature));
		js_w_object_end(&w);
		text += r->part[i].text;
		signature += r->part[i].signature;
	}
	js_w_array_end(&w);
	js_w_object_end(&w);
	rc = js_w_done(&w);
	return rc == 0 ? 1 : rc;
}

/* ---- of a request ------------------------------------------------------------------------ */

/* What is kept under that name; n 0: nothing. */
static struct tf_span
find(struct tf_span kept, const char *name)
{
	struct tf_span v, n;
	struct js_iter it;

	js_iter_init(&it, kept);
	while (js_iter_next(&it, NULL, &v))
		if (js_type(v) == JS_OBJECT && js_member(v, "name", &n) && js_str_eq(n, name))
			return v;
	return (struct tf_span){ 0 };
}

static bool
has_reasoning(const struct dl_turn *t, enum dl_recall_form form)
{
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next)
		if (p->kind == DL_PART_REASONING && (form == DL_RECALL_TEXT ||
		    (form == DL_RECALL_SIGNED ? p->signature : p->encrypted).n > 0))
			return true;
	return false;
}

static void
drop_reasoning(struct dl_turn *t)
{
	struct dl_part **at = &t->parts;

	t->last = NULL;
	while (*at != NULL) {
		if ((*at)->kind == DL_PART_REASONING) {
			*at = (*at)->next;
		} else {
			t->last = *at;
			at = &(*at)->next;
		}
	}
}

static bool
is_text(struct tf_span object, const char *name, struct tf_span *v)
{
	return js_type(object) == JS_OBJECT && js_member(object, name, v) && js_type(*v) == JS_STRING;
}

/* Parts of one turn, in a list of their own. */
static int
read_parts(struct dl_request *rq, struct tf_span value, enum dl_recall_form form, struct dl_part **first, struct dl_part **last)
{
	struct tf_span list, v, s;
	struct js_iter it;
	struct dl_part *p;
	int r = 0;

	if (!js_member(value, "reasoning", &list) || js_type(list) != JS_ARRAY)
		return 0;
	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &v)) {
		if (!is_text(v, "text", &s))
			continue;
		p = dl_rq_part(rq, first, last, DL_PART_REASONING);
		r = p != NULL ? dl_rq_str(rq, s, &p->text) : TF_E_NOMEM;
		if (r == 0 && form != DL_RECALL_TEXT && is_text(v, "signature", &s))
			r = dl_rq_str(rq, s, form == DL_RECALL_SIGNED ? &p->signature : &p->encrypted);
	}
	return r;
}

static int
merge_turn(struct dl_request *rq, struct dl_turn *t, const struct dl_part *call, struct tf_span kept, struct tf_span model,
    enum dl_recall_form form)
{
	struct dl_part *first = NULL, *last = NULL;
	char name[DL_RECALL_NAME + 1];
	struct tf_span value, m;
	int r = dl_recall_name(call->id, call->name, call->text, name);

	if (r != 0)
		return r;
	value = find(kept, name);
	if (value.n == 0)
		return 0;
	if (form != DL_RECALL_TEXT && (!is_text(value, "model", &m) || !js_str_eqn(m, model)))
		return 0; /* another model's signature is none here */
	r = read_parts(rq, value, form, &first, &last);
	if (r != 0 || first == NULL)
		return r;
	drop_reasoning(t);
	last->next = t->parts;
	t->parts = first;
	if (t->last == NULL)
		t->last = last;
	return 0;
}

int
dl_recall_merge(struct dl_request *rq, struct tf_span kept, struct tf_span model, enum dl_recall_form form)
{
	int r = 0;

	if (!is_json(kept) || js_type(kept) != JS_ARRAY)
		return 0;
	for (struct dl_turn *t = rq->turns; t != NULL && r == 0; t = t->next) {
		const struct dl_part *call = t->role == DL_ROLE_ASSISTANT ? t->parts : NULL;

		while (call != NULL && call->kind != DL_PART_CALL)
			call = call->next;
		if (call != NULL && !has_reasoning(t, form))
			r = merge_turn(rq, t, call, kept, model, form);
	}
	return r;
}
