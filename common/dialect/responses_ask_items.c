/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conversation of a canonical request as items of the Responses API: system text in front becomes
 * instructions, a turn of the assistant its reasoning, its text and its calls, and every call is answered,
 * as the API demands. Called by responses_ask.c.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "common/dialect/responses_ask.h"

static const char *
param_of(const struct rask *e)
{
	const struct dl_ops *ops = dl_ops(e->rq->origin);

	return ops != NULL && ops->param_messages != NULL ? ops->param_messages : "messages";
}

/* ---- texts ------------------------------------------------------------------------------- */

static bool
is_text(const struct dl_part *p)
{
	return p->kind == DL_PART_TEXT;
}

/* Nothing but text? */
static bool
only_text(const struct dl_part *parts)
{
	for (const struct dl_part *p = parts; p != NULL; p = p->next)
		if (!is_text(p))
			return false;
	return true;
}

static int
paragraphs(const struct dl_part *parts, struct tf_buf *out)
{
	int r = 0;

	for (const struct dl_part *p = parts; r == 0 && p != NULL; p = p->next) {
		if (!is_text(p) || p->text.n == 0)
			continue;
		if (out->n > 0)
			r = tf_buf_addstr(out, "\n\n");
		if (r == 0)
			r = tf_buf_addspan(out, p->text);
	}
	return r;
}

/* The texts of the parts as one string value, `before` in front. */
static void
joined(struct rask *e, const struct dl_part *parts, const char *before)
{
	struct tf_buf text = { 0 };
	int r = tf_buf_addstr(&text, before);

	for (const struct dl_part *p = parts; r == 0 && p != NULL; p = p->next)
		if (is_text(p))
			r = tf_buf_addspan(&text, p->text);

	if (r < 0 && e->err == 0)
		e->err = r;
	js_w_str(&e->w, tf_buf_span(&text));
	tf_buf_free(&text);
}

static bool
is_system(const struct dl_turn *t)
{
	return t != NULL && (t->role == DL_ROLE_SYSTEM || t->role == DL_ROLE_DEVELOPER);
}

const struct dl_turn *
rask_instructions(struct rask *e)
{
	const struct dl_turn *t = e->rq->turns;
	struct tf_buf text = { 0 };

	for (; is_system(t) && only_text(t->parts); t = t->next) {
		int r = paragraphs(t->parts, &text);

		if (r < 0 && e->err == 0)
			e->err = r;
	}
	/* without anything to answer the API would refuse it: then it is what is answered */
	if (t == NULL)
		t = e->rq->turns;
	else if (text.n > 0)
		js_w_kstr(&e->w, "instructions", tf_buf_span(&text));
	tf_buf_free(&text);
	return t;
}

/* ---- parts ------------------------------------------------------------------------------- */

static void
image(struct rask *e, const struct dl_part *p)
{
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", "input_image");
	js_w_kstr(&e->w, "image_url", p->url);
	js_w_kstr(&e->w, "detail", p->detail.n > 0 ? p->detail : TF_SPAN("auto"));
	js_w_object_end(&e->w);
}

static void
file(struct rask *e, const struct dl_part *p)
{
	if (p->data.n == 0 && p->url.n == 0 && p->id.n == 0) {
		rask_refuse(e, param_of(e), "A file must be given with its content or its id.");
		return;
	}
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", "input_file");
	if (p->data.n > 0) {
		/* the API wants a name beside the content */
		js_w_kstr(&e->w, "filename", p->name.n > 0 ? p->name : TF_SPAN("file.pdf"));
		js_w_kstr(&e->w, "file_data", p->data);
	} else if (p->id.n > 0) {
		js_w_kstr(&e->w, "file_id", p->id);
	} else {
		js_w_kstr(&e->w, "file_url", p->url);
	}
	js_w_object_end(&e->w);
}

static void
part(struct rask *e, const struct dl_part *p)
{
	switch (p->kind) {
	case DL_PART_TEXT:
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", "input_text");
		js_w_kstr(&e->w, "text", p->text);
		js_w_object_end(&e->w);
		return;
	case DL_PART_IMAGE:
		image(e, p);
		return;
	case DL_PART_FILE:
		file(e, p);
		return;
	case DL_PART_AUDIO:
		rask_refuse(e, param_of(e), "This model does not take audio.");
		return;
	case DL_PART_RAW:
		rask_refuse(e, param_of(e), "There is a part of a type that cannot be sent to this model.");
		return;
	default:
		return;
	}
}

/* One text is a string; anything else a list. */
static void
content(struct rask *e, const struct dl_part *parts)
{
	if (parts == NULL || (is_text(parts) && parts->next == NULL)) {
		js_w_str(&e->w, parts != NULL ? parts->text : tf_span(NULL, 0));
		return;
	}
	js_w_array(&e->w);
	for (const struct dl_part *p = parts; p != NULL; p = p->next)
		part(e, p);
	js_w_array_end(&e->w);
}

static void
open_message(struct rask *e, const char *role)
{
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", "message");
	js_w_kcstr(&e->w, "role", role);
	js_w_key(&e->w, "content");
}

static void
message(struct rask *e, const struct dl_turn *t, const char *role)
{
	open_message(e, role);
	content(e, t->parts);
	js_w_object_end(&e->w);
}

/* ---- the assistant ----------------------------------------------------------------------- */

/* Hosted models take back only what they have encrypted themselves. It has no id where nothing is stored. */
static void
encrypted(struct rask *e, const struct dl_turn *t)
{
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		if (p->kind != DL_PART_REASONING || p->encrypted.n == 0)
			continue;
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", "reasoning");
		js_w_kraw(&e->w, "summary", TF_SPAN("[]"));
		js_w_kstr(&e->w, "encrypted_content", p->encrypted);
		js_w_object_end(&e->w);
	}
}

static void
thoughts(struct rask *e, const struct dl_turn *t)
{
	char id[32];

	if (rask_quirk(e, DL_Q_HOSTED)) {
		encrypted(e, t);
		return;
	}
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		if (p->kind != DL_PART_REASONING || p->text.n == 0)
			continue;
		snprintf(id, sizeof id, "rs_%u", e->nreasoning++);
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", "reasoning");
		js_w_kcstr(&e->w, "id", id);
		js_w_kraw(&e->w, "summary", TF_SPAN("[]"));
		js_w_key(&e->w, "content");
		js_w_array(&e->w);
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", "reasoning_text");
		js_w_kstr(&e->w, "text", p->text);
		js_w_object_end(&e->w);
		js_w_array_end(&e->w);
		js_w_object_end(&e->w);
	}
}

static void
refusals(struct rask *e, const struct dl_turn *t)
{
	js_w_array(&e->w);
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		bool refused = p->kind == DL_PART_REFUSAL;

		if (!refused && (!is_text(p) || p->text.n == 0))
			continue;
		js_w_object(&e->w);
		js_w_kcstr(&e->w, "type", refused ? "refusal" : "output_text");
		js_w_kstr(&e->w, refused ? "refusal" : "text", p->text);
		js_w_object_end(&e->w);
	}
	js_w_array_end(&e->w);
}

/* A string, which all servers take, unless a refusal is part of it. */
static void
said(struct rask *e, const struct dl_turn *t)
{
	bool text = false, refused = false;

	for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
		text = text || (is_text(p) && p->text.n > 0);
		refused = refused || p->kind == DL_PART_REFUSAL;
	}
	if (!text && !refused)
		return;
	open_message(e, "assistant");
	if (refused)
		refusals(e, t);
	else
		joined(e, t->parts, "");
	js_w_object_end(&e->w);
}

static void
call(struct rask *e, const struct dl_part *p)
{
	bool custom = p->tool == DL_TOOL_CUSTOM;
	int r;

	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", custom ? "custom_tool_call" : "function_call");
	js_w_kstr(&e->w, "call_id", p->id);
	js_w_kstr(&e->w, "name", p->name);
	js_w_kstr(&e->w, custom ? "input" : "arguments", p->text.n > 0 || custom ? p->text : TF_SPAN("{}"));
	js_w_object_end(&e->w);
	(void)tf_map_del(&e->calls, p->id);
	r = tf_map_put(&e->calls, p->id, (void *)(uintptr_t)p);
	if (r < 0 && e->err == 0)
		e->err = r;
}

/* A call has one output: what else bears its id answers nothing. */
static void
open_output(struct rask *e, const struct dl_part *of)
{
	(void)tf_map_del(&e->calls, of->id);
	js_w_object(&e->w);
	js_w_kcstr(&e->w, "type", of->tool == DL_TOOL_CUSTOM ? "custom_tool_call_output" : "function_call_output");
	js_w_kstr(&e->w, "call_id", of->id);
	js_w_key(&e->w, "output");
}

/* The client may have lost a result, as when it has shortened the conversation. */
static void
unanswered(struct rask *e, const struct dl_turn *t)
{
	struct tf_map results = { 0 };
	int r = 0;

	for (const struct dl_turn *n = t->next; r == 0 && n != NULL && n->role == DL_ROLE_TOOL; n = n->next)
		if (n->parts != NULL && tf_map_get(&results, n->parts->id) == NULL)
			r = tf_map_put(&results, n->parts->id, (void *)(uintptr_t)n);
	for (const struct dl_part *p = t->parts; r == 0 && p != NULL; p = p->next) {
		if (p->kind != DL_PART_CALL || tf_map_get(&results, p->id) != NULL || tf_map_get(&e->calls, p->id) == NULL)
			continue;
		open_output(e, p);
		js_w_cstr(&e->w, "(no result)");
		js_w_object_end(&e->w);
	}
	tf_map_free(&results);
	if (r < 0 && e->err == 0)
		e->err = r;
}

static void
assistant(struct rask *e, const struct dl_turn *t)
{
	thoughts(e, t);
	said(e, t);
	for (const struct dl_part *p = t->parts; p != NULL; p = p->next)
		if (p->kind == DL_PART_CALL)
			call(e, p);
	unanswered(e, t);
}

/* ---- results ----------------------------------------------------------------------------- */

static void
result(struct rask *e, const struct dl_part *p)
{
	const struct dl_part *of = p != NULL ? tf_map_get(&e->calls, p->id) : NULL;

	if (p == NULL)
		return;
	if (of == NULL) {
		/* of a call that is not there any more, or has its output: the user's words */
		open_message(e, "user");
		joined(e, p->parts, "Tool result: ");
		js_w_object_end(&e->w);
		return;
	}
	open_output(e, of);
	content(e, p->parts);
	js_w_object_end(&e->w);
}

void
rask_items(struct rask *e, const struct dl_turn *t)
{
	js_w_key(&e->w, "input");
	js_w_array(&e->w);
	for (; t != NULL; t = t->next) {
		switch (t->role) {
		case DL_ROLE_SYSTEM:
			message(e, t, "system");
			break;
		case DL_ROLE_DEVELOPER:
			message(e, t, rask_quirk(e, DL_Q_NO_DEVELOPER) ? "system" : "developer");
			break;
		case DL_ROLE_USER:
			message(e, t, "user");
			break;
		case DL_ROLE_ASSISTANT:
			assistant(e, t);
			break;
		case DL_ROLE_TOOL:
			result(e, t->parts);
			break;
		}
	}
	/* turns of the assistant that say nothing are left out; without any item the API would refuse it */
	if (!e->w.some) {
		open_message(e, "user");
		js_w_cstr(&e->w, "");
		js_w_object_end(&e->w);
	}
	js_w_array_end(&e->w);
}

void
rask_fini(struct rask *e)
{
	tf_map_free(&e->calls);
}
