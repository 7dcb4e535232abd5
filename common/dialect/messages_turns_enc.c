/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canonical turns as the messages of a messages request: user and assistant in turn, all results of a
 * turn's calls in front of what the user says next, no blank text, ids of calls plain and unique.
 * Called by messages_request_enc.c.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/messages_request_enc.h"

struct mreq_result { /* a turn of a tool */
	const struct dl_part *part;
	bool used;
	struct mreq_result *next; /* of the same id */
};

static bool
blank(struct tf_span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != ' ' && s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r')
			return false;
	return true;
}

static void
note(struct mreq *e, int r)
{
	if (e->err == 0 && r < 0)
		e->err = r;
}

/* Puts what may be there already. */
static void
map_set(struct mreq *e, struct tf_map *m, struct tf_span key, void *value)
{
	(void)tf_map_del(m, key);
	note(e, tf_map_put(m, key, value));
}

/* ---- messages and blocks ----------------------------------------------------------------- */

static void
close_message(struct mreq *e)
{
	if (e->open == DL_ROLE_SYSTEM)
		return;
	if (!e->some) {
		/* a turn that says nothing is a turn all the same, but empty text is refused */
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", "text");
		js_w_kcstr(&e->w, "text", ".");
		js_w_object_end(&e->w);
	}
	js_w_array_end(&e->w);
	js_w_object_end(&e->w);
	e->open = DL_ROLE_SYSTEM;
}

static void text_block(struct mreq *e, struct tf_span text);

static void
open_message(struct mreq *e, enum dl_role role)
{
	if (e->open == role)
		return;
	close_message(e);
	if (role == DL_ROLE_ASSISTANT && !e->began) {
		open_message(e, DL_ROLE_USER);
		text_block(e, TF_SPAN("(continued)"));
		close_message(e);
	}
	e->began = true;
	e->some = false;
	e->open = role;
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "role", role == DL_ROLE_USER ? "user" : "assistant");
	js_w_key(&e->w, "content");
	js_w_array(&e->w);
}

static void
begin_block(struct mreq *e, const char *type)
{
	e->some = true;
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", type);
}

static void
text_block(struct mreq *e, struct tf_span text)
{
	if (blank(text))
		return;
	begin_block(e, "text");
	js_w_kstr(&e->w, "text", text);
	js_w_object_end(&e->w);
}

/* Several pieces as the text of one block. */
static void
joined_block(struct mreq *e, const char *before, struct tf_span text, const char *behind)
{
	struct tf_buf all = { 0 };

	note(e, tf_buf_addstr(&all, before));
	note(e, tf_buf_addspan(&all, text));
	note(e, tf_buf_addstr(&all, behind));
	if (e->err == 0)
		text_block(e, tf_buf_span(&all));
	tf_buf_free(&all);
}

/* ---- media ------------------------------------------------------------------------------- */

/* What the bytes are, whatever the client calls them; NULL: no image that this API takes. */
static const char *
image_type(struct tf_span base64)
{
	static const struct {
		const char *begin, *type;
	} known[] = {
		{ "/9j/", "image/jpeg" },
		{ "iVBORw0KGg", "image/png" },
		{ "R0lGOD", "image/gif" },
		{ "UklGR", "image/webp" },
	};

	for (size_t i = 0; i < TF_LEN(known); i++) {
		size_t n = strlen(known[i].begin);

		if (base64.n >= n && memcmp(base64.p, known[i].begin, n) == 0)
			return known[i].type;
	}
	return NULL;
}

/* data:TYPE;base64,DATA taken apart. False for another URL. */
static bool
data_url(struct tf_span url, struct tf_span *type, struct tf_span *data)
{
	static const char mark[] = ";base64,";
	const char *at;

	if (url.n < 5 || strncasecmp(url.p, "data:", 5) != 0)
		return false;
	at = memmem(url.p, url.n, mark, sizeof mark - 1);
	if (at == NULL)
		return false;
	*type = tf_span(url.p + 5, (size_t)(at - url.p) - 5);
	at += sizeof mark - 1;
	*data = tf_span(at, (size_t)(url.p + url.n - at));
	return true;
}

static bool
web(struct tf_span url)
{
	return (url.n > 8 && strncasecmp(url.p, "https://", 8) == 0) || (url.n > 7 && strncasecmp(url.p, "http://", 7) == 0);
}

static void
source(struct mreq *e, const char *kind, struct tf_span type, const char *member, struct tf_span value)
{
	js_w_key(&e->w, "source");
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", kind);
	if (type.n > 0)
		js_w_kstr(&e->w, "media_type", type);
	js_w_kstr(&e->w, member, value);
	js_w_object_end(&e->w);
}

static void
image(struct mreq *e, const struct dl_part *p)
{
	struct tf_span type, data;
	const char *is;

	if (data_url(p->url, &type, &data)) {
		is = image_type(data);
		if (is == NULL) {
			mreq_refuse(e, "messages", "Images must be JPEG, PNG, GIF or WebP for this model.");
			return;
		}
		begin_block(e, "image");
		source(e, "base64", tf_cspan(is), "data", data);
	} else if (web(p->url)) {
		begin_block(e, "image");
		source(e, "url", tf_span(NULL, 0), "url", p->url);
	} else {
		mreq_refuse(e, "messages", "Images must be given as https or as base64 data URLs.");
		return;
	}
	js_w_object_end(&e->w);
}

static void
file(struct mreq *e, const struct dl_part *p)
{
	struct tf_span type = tf_span(NULL, 0), data = p->data;
	bool given = data_url(p->data, &type, &data) || data.n > 0;

	if (!given && !web(p->url)) {
		mreq_refuse(e, "messages", "Files must be given with their content for this model.");
		return;
	}
	/* the beginning of every PDF */
	if (given && (data.n < 5 || memcmp(data.p, "JVBER", 5) != 0)) {
		mreq_refuse(e, "messages", "Files must be PDF for this model.");
		return;
	}
	begin_block(e, "document");
	if (given)
		source(e, "base64", TF_SPAN("application/pdf"), "data", data);
	else
		source(e, "url", tf_span(NULL, 0), "url", p->url);
	if (p->name.n > 0)
		js_w_kstr(&e->w, "title", p->name);
	js_w_object_end(&e->w);
}

static void
content_part(struct mreq *e, const struct dl_part *p)
{
	switch (p->kind) {
	case DL_PART_TEXT:
	case DL_PART_REFUSAL:
		text_block(e, p->text);
		return;
	case DL_PART_IMAGE:
		image(e, p);
		return;
	case DL_PART_FILE:
		file(e, p);
		return;
	case DL_PART_AUDIO:
		mreq_refuse(e, "messages", "This model does not take audio.");
		return;
	case DL_PART_RAW:
		mreq_refuse(e, "messages", "messages holds a part of a type that cannot be sent to this model.");
		return;
	default:
		return;
	}
}

/* ---- system text ------------------------------------------------------------------------- */

static bool
is_system(const struct dl_turn *t)
{
	return t != NULL && (t->role == DL_ROLE_SYSTEM || t->role == DL_ROLE_DEVELOPER);
}

static void
system_text(struct mreq *e, const struct dl_turn *t, struct tf_buf *out)
{
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		if (p->kind != DL_PART_TEXT || blank(p->text))
			continue;
		if (out->n > 0)
			note(e, tf_buf_addstr(out, "\n\n"));
		note(e, tf_buf_addspan(out, p->text));
	}
}

const struct dl_turn *
mreq_system(struct mreq *e, struct tf_buf *out)
{
	const struct dl_turn *t = e->rq->turns;

	for (; is_system(t); t = t->next)
		system_text(e, t, out);
	return t;
}

/* System text from the middle: hoisting it would change the prefix of every turn. */
static void
release(struct mreq *e)
{
	if (e->held.n == 0)
		return;
	open_message(e, DL_ROLE_USER);
	joined_block(e, "<system-reminder>\n", tf_buf_span(&e->held), "\n</system-reminder>");
	tf_buf_reset(&e->held);
}

/* ---- calls ------------------------------------------------------------------------------- */

/* An id as this API takes it: as it is, or one derived from it and from how often it was there. */
static void
call_id(struct mreq *e, struct tf_span id, char out[static 64])
{
	uint8_t hash[TF_SHA256];
	struct tf_buf seed = { 0 };
	uintptr_t times = (uintptr_t)tf_map_get(&e->seen, id);
	struct tf_id as = { { 0 } };
	bool plain = id.n > 0 && id.n < 64;

	for (size_t i = 0; plain && i < id.n; i++) {
		char c = id.p[i];

		plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
	}
	map_set(e, &e->seen, id, (void *)(times + 1));
	if (plain && times == 0) {
		memcpy(out, id.p, id.n);
		out[id.n] = '\0';
		return;
	}
	note(e, tf_buf_addspan(&seed, id));
	tf_sha256(seed.p, seed.n, hash);
	memcpy(as.b, hash, sizeof as.b);
	dl_mint_id(out, 64, "toolu_", &as, (uint32_t)times, 3);
	tf_buf_free(&seed);
}

static struct mreq_id *
new_id(struct mreq *e, const struct dl_part *call)
{
	struct mreq_id *v = tf_grow(e->id, e->nid, &e->cap, sizeof *v, 8);

	if (v == NULL) {
		note(e, TF_E_NOMEM);
		return NULL;
	}
	e->id = v;
	v = &e->id[e->nid++];
	v->call = call;
	call_id(e, call->id, v->id);
	return v;
}

/* Argument text as the object this API wants. */
static void
input(struct mreq *e, const struct dl_part *p)
{
	struct tf_buf scratch = { 0 };
	struct tf_span v;

	js_w_key(&e->w, "input");
	note(e, messages_input(p->text, &scratch, &v));
	if (e->err == 0)
		js_w_compact(&e->w, v);
	tf_buf_free(&scratch);
}

static void
call(struct mreq *e, const struct dl_part *p)
{
	struct mreq_id *id = new_id(e, p);

	if (id == NULL)
		return;
	begin_block(e, "tool_use");
	js_w_kcstr(&e->w, "id", id->id);
	js_w_kstr(&e->w, "name", p->name);
	input(e, p);
	js_w_object_end(&e->w);
}

/* The provider refuses reasoning that it has not signed; others read the text alone. */
static void
reasoning(struct mreq *e, const struct dl_part *p)
{
	if ((p->signature.n == 0 && mreq_hosted(e)) || (p->text.n == 0 && p->signature.n == 0))
		return;
	begin_block(e, "thinking");
	js_w_kstr(&e->w, "thinking", p->text);
	js_w_kstr(&e->w, "signature", p->signature);
	js_w_object_end(&e->w);
}

static bool
says_something(const struct mreq *e, const struct dl_turn *t)
{
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next)
		if (p->kind == DL_PART_CALL || (p->kind == DL_PART_REASONING && (p->signature.n > 0 || !mreq_hosted(e))) ||
		    (p->kind != DL_PART_REASONING && !(p->kind == DL_PART_TEXT && blank(p->text))))
			return true;
	return false;
}

/* The text of a prefill must not end in white space. */
static void
last_text(struct mreq *e, struct tf_span text)
{
	while (text.n > 0 && blank(tf_span(text.p + text.n - 1, 1)))
		text.n--;
	text_block(e, text);
}

static void
assistant(struct mreq *e, const struct dl_turn *t)
{
	if (!says_something(e, t))
		return;
	open_message(e, DL_ROLE_ASSISTANT);
	for (const struct dl_part *p = t->parts; p != NULL && e->err == 0; p = p->next) {
		if (p->kind == DL_PART_REASONING)
			reasoning(e, p);
		else if (p->kind == DL_PART_TEXT && p->next == NULL && t->next == NULL)
			last_text(e, p->text);
		else if (p->kind != DL_PART_CALL)
			content_part(e, p);
	}
	/* what was said belongs in front of the calls */
	for (const struct dl_part *p = t->parts; p != NULL && e->err == 0; p = p->next)
		if (p->kind == DL_PART_CALL)
			call(e, p);
}

/* ---- results ----------------------------------------------------------------------------- */

static void
result_block(struct mreq *e, const char *id, const struct dl_part *res)
{
	bool some = false;

	begin_block(e, "tool_result");
	js_w_kcstr(&e->w, "tool_use_id", id);
	if (res == NULL) {
		js_w_kcstr(&e->w, "content", "(no result)");
		js_w_kbool(&e->w, "is_error", true);
		js_w_object_end(&e->w);
		return;
	}
	for (const struct dl_part *p = res->parts; p != NULL; p = p->next)
		some = some || p->kind != DL_PART_TEXT || !blank(p->text);
	if (some) {
		js_w_key(&e->w, "content");
		js_w_array(&e->w);
		for (const struct dl_part *p = res->parts; p != NULL; p = p->next)
			content_part(e, p);
		js_w_array_end(&e->w);
	}
	if (res->is_error)
		js_w_kbool(&e->w, "is_error", true);
	js_w_object_end(&e->w);
}

/* A result for a call nobody made, or a second one: the user's words. */
static void
orphan(struct mreq *e, const struct dl_part *res)
{
	open_message(e, DL_ROLE_USER);
	for (const struct dl_part *p = res->parts; p != NULL; p = p->next)
		if (p->kind == DL_PART_TEXT && !blank(p->text))
			joined_block(e, "Tool result: ", p->text, "");
		else
			content_part(e, p);
}

/* The results in front of the next turn of anybody else, by the id that they answer, in their order. */
static int
collect(struct mreq *e, const struct dl_turn *t, struct tf_map *by_id, struct mreq_result **out, uint32_t *n)
{
	struct mreq_result *v = NULL;
	uint32_t cap = 0;

	*n = 0;
	for (; t != NULL && (t->role == DL_ROLE_TOOL || is_system(t)); t = t->next) {
		if (is_system(t)) {
			system_text(e, t, &e->held);
			continue;
		}
		if (t->parts == NULL)
			continue;
		v = tf_grow(*out, *n, &cap, sizeof *v, 8);
		if (v == NULL)
			return TF_E_NOMEM;
		*out = v;
		(*out)[(*n)++] = (struct mreq_result){ .part = t->parts };
	}
	for (uint32_t i = *n; i-- > 0;) {
		v = &(*out)[i];
		v->next = tf_map_get(by_id, v->part->id);
		map_set(e, by_id, v->part->id, v);
	}
	return 0;
}

/* The first one of that id that was not taken yet. */
static const struct dl_part *
take(struct mreq *e, struct tf_map *by_id, struct tf_span id)
{
	struct mreq_result *v = tf_map_get(by_id, id);

	if (v == NULL)
		return NULL;
	v->used = true;
	if (v->next == NULL)
		(void)tf_map_del(by_id, id);
	else
		map_set(e, by_id, id, v->next);
	return v->part;
}

/* The results that follow the calls written last, in the order of the calls. Returns the turn behind them. */
static const struct dl_turn *
results(struct mreq *e, const struct dl_turn *t)
{
	struct tf_map by_id = { 0 };
	struct mreq_result *v = NULL;
	uint32_t n;

	note(e, collect(e, t, &by_id, &v, &n));
	if (e->nid > 0)
		open_message(e, DL_ROLE_USER);
	for (uint32_t i = 0; i < e->nid && e->err == 0; i++)
		result_block(e, e->id[i].id, take(e, &by_id, e->id[i].call->id));
	for (uint32_t i = 0; i < n && e->err == 0; i++)
		if (!v[i].used)
			orphan(e, v[i].part);
	e->nid = 0;
	tf_map_free(&by_id);
	free(v);
	while (t != NULL && (t->role == DL_ROLE_TOOL || is_system(t)))
		t = t->next;
	return t;
}

/* ---- all of it --------------------------------------------------------------------------- */

void
mreq_messages(struct mreq *e, const struct dl_turn *t)
{
	js_w_key(&e->w, "messages");
	js_w_array(&e->w);
	e->open = DL_ROLE_SYSTEM;
	while (t != NULL && e->err == 0) {
		if (t->role == DL_ROLE_TOOL || (e->nid > 0 && t->role != DL_ROLE_ASSISTANT)) {
			t = results(e, t);
			continue;
		}
		if (is_system(t)) {
			system_text(e, t, &e->held);
		} else if (t->role == DL_ROLE_ASSISTANT) {
			/* between calls and their results nothing may be said */
			if (e->nid == 0)
				release(e);
			assistant(e, t);
		} else {
			release(e);
			open_message(e, DL_ROLE_USER);
			for (const struct dl_part *p = t->parts; p != NULL && e->err == 0; p = p->next)
				content_part(e, p);
		}
		t = t->next;
	}
	if (e->nid > 0)
		(void)results(e, NULL);
	release(e);
	if (!e->began)
		open_message(e, DL_ROLE_USER);
	close_message(e);
	js_w_array_end(&e->w);
}

void
mreq_fini(struct mreq *e)
{
	tf_buf_free(&e->held);
	tf_map_free(&e->seen);
	free(e->id);
	e->id = NULL;
}

bool
mreq_signed(const struct dl_request *rq)
{
	const struct dl_turn *last = NULL;
	bool called = false;

	for (const struct dl_turn *t = rq->turns; t != NULL; t = t->next)
		if (t->role == DL_ROLE_ASSISTANT)
			last = t;
	for (const struct dl_part *p = last != NULL ? last->parts : NULL; p != NULL; p = p->next) {
		if (p->kind == DL_PART_REASONING && p->signature.n > 0)
			return true;
		called = called || p->kind == DL_PART_CALL;
	}
	return !called;
}

bool
mreq_called(const struct dl_request *rq)
{
	for (const struct dl_turn *t = rq->turns; t != NULL; t = t->next)
		for (const struct dl_part *p = t->parts; p != NULL; p = p->next)
			if (p->kind == DL_PART_CALL)
				return true;
	return false;
}
