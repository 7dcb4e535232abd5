/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A response as a gateway puts it, read into rows. Items are stored as GET /v1/responses/ID/input_items
 * lists them (OpenAI Responses API, "List input items"): each with an id, a type, and content in
 * parts, although a request may leave these out. No tree is built: an item that lacks something
 * is spliced. Called on the loop; the store gets spans.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/json/json.h"
#include "stored/store.h"

#define NODES_MAX 5000000u
#define ITEM_GROWTH 256 /* bytes that completing an item can add */

static const struct {
	const char *type, *prefix;
} prefixes[] = {
	{ "message", "msg_" }, { "function_call", "fc_" }, { "function_call_output", "fco_" }, { "reasoning", "rs_" },
	{ "custom_tool_call", "ctc_" }, { "custom_tool_call_output", "ctco_" },
};

struct item { /* what an item has so far; spans are empty where it is absent */
	struct tf_span json, id, type, role, content;
	bool output;
};

static bool
is_message(const struct item *i)
{
	return i->type.n > 0 ? js_str_eq(i->type, "message") : i->role.n > 0;
}

/* Text for sure, and not longer than a name. */
static bool
is_name(struct tf_span text)
{
	return js_type(text) == JS_STRING && text.n > 2 && text.n <= ST_NAME_MAX;
}

static void
item_read(struct item *out, struct tf_span json, bool output)
{
	struct tf_span key, value;
	struct js_iter it;

	*out = (struct item){ .json = json, .output = output };
	js_iter_init(&it, json);
	while (js_iter_next(&it, &key, &value)) {
		if (js_str_eq(key, "id"))
			out->id = value;
		else if (js_str_eq(key, "type"))
			out->type = js_is_null(value) ? (struct tf_span){ 0 } : value;
		else if (js_str_eq(key, "role"))
			out->role = value;
		else if (js_str_eq(key, "content"))
			out->content = value;
	}
}

/* ---- completing an item ----------------------------------------------------------------------- */

static struct tf_span
id_mint(struct st_response *r, const struct item *i)
{
	const char *prefix = is_message(i) ? "msg_" : "item_";
	size_t at = r->ids.n;
	char id[TF_ID_TEXT + 1];

	for (size_t k = 0; k < TF_LEN(prefixes); k++)
		if (i->type.n > 0 && js_str_eq(i->type, prefixes[k].type))
			prefix = prefixes[k].prefix;
	tf_id_text(tf_id_new(), id);
	/* there is room: see reserve */
	(void)tf_buf_addstr(&r->ids, prefix);
	(void)tf_buf_addstr(&r->ids, id);
	return tf_span(r->ids.p + at, r->ids.n - at);
}

static struct tf_span
id_of(struct st_response *r, const struct item *i)
{
	size_t at = r->ids.n;

	if (!is_name(i->id) || js_str_append(i->id, &r->ids) != 0)
		return id_mint(r, i);
	return tf_span(r->ids.p + at, r->ids.n - at);
}

static void
replace(struct js_edits *e, const struct item *i, struct tf_span value, struct tf_span with)
{
	size_t at = (size_t)(value.p - i->json.p);

	js_edit_replace(e, at, at + value.n, with);
}

static int
parts_of(const struct item *i, struct tf_buf *out)
{
	bool answer = js_str_eq(i->role, "assistant");

	if (tf_buf_printf(out, "[{\"type\":\"%s\",\"text\":", answer ? "output_text" : "input_text") != 0 ||
	    tf_buf_addspan(out, i->content) != 0)
		return TF_E_NOMEM;
	return tf_buf_addstr(out, answer ? ",\"annotations\":[]}]" : "}]");
}

static int
splice(struct st_response *r, const struct item *i, struct tf_span id, struct tf_span *out)
{
	char member[ITEM_GROWTH / 2];
	struct tf_buf content = { 0 };
	size_t at = r->made.n;
	struct js_edit v[4];
	struct js_edits e;
	int rc = 0;

	js_edits_init(&e, v, TF_LEN(v));
	snprintf(member, sizeof member, "\"id\":\"" TF_SPAN_FMT "\"", TF_SPAN_ARG(id));
	if (i->id.n == 0)
		js_edit_insert_first(&e, 0, tf_cspan(member));
	else if (!is_name(i->id))
		replace(&e, i, i->id, tf_cspan(member + 5));
	if (i->type.n == 0 && is_message(i))
		js_edit_insert_first(&e, 0, TF_SPAN("\"type\":\"message\""));
	if (is_message(i) && js_type(i->content) == JS_STRING) {
		rc = parts_of(i, &content);
		replace(&e, i, i->content, tf_buf_span(&content));
	}
	if (rc == 0)
		rc = js_splice(i->json, &e, &r->made);
	tf_buf_free(&content);
	*out = tf_span(r->made.p + at, r->made.n - at);
	return rc;
}

static int
item_add(struct st_response *r, struct tf_span json, bool output)
{
	struct st_item *row = &r->items[r->n_items];
	struct item i;

	if (js_type(json) != JS_OBJECT)
		return TF_E_INVAL;
	item_read(&i, json, output);
	*row = (struct st_item){ .id = id_of(r, &i), .json = json, .output = output };
	r->n_items++;
	if (is_name(i.id) && i.type.n > 0 && (!is_message(&i) || js_type(i.content) != JS_STRING))
		return 0;
	return splice(r, &i, row->id, &row->json);
}

static int
items_add(struct st_response *r, struct tf_span list, bool output)
{
	struct tf_span value;
	struct js_iter it;
	int rc = 0;

	js_iter_init(&it, list);
	while (rc == 0 && js_iter_next(&it, NULL, &value))
		rc = item_add(r, value, output);
	return rc;
}

static size_t
count(struct tf_span list)
{
	struct tf_span value;
	struct js_iter it;
	size_t n = 0;

	js_iter_init(&it, list);
	while (js_iter_next(&it, NULL, &value))
		n++;
	return n;
}

/* ---- the whole of it -------------------------------------------------------------------------- */

/* Input that is plain text is one message of the user. */
static int
text_input(struct st_response *r, struct tf_span text)
{
	static const char front[] = "{\"role\":\"user\",\"content\":";
	size_t at = r->made.n;

	if (tf_buf_addstr(&r->made, front) != 0 || tf_buf_addspan(&r->made, text) != 0 || tf_buf_addc(&r->made, '}') != 0)
		return TF_E_NOMEM;
	return item_add(r, tf_span(r->made.p + at, r->made.n - at), false);
}

/*
 * Everything that is made fits, so that spans into it stay good: input that was plain text, every item once, and
 * what the splice of one item sets aside for itself (the item and its content).
 */
static int
reserve(struct st_response *r, size_t text, size_t items)
{
	r->items = calloc(items + 1, sizeof *r->items);
	if (r->items == NULL || tf_buf_reserve(&r->made, 4 * text + (items + 2) * ITEM_GROWTH) != 0)
		return TF_E_NOMEM;
	return tf_buf_reserve(&r->ids, text + (items + 2) * ITEM_GROWTH);
}

int
st_response_read(struct tf_span text, struct st_response *r)
{
	struct tf_span input, output, id, previous = { 0 };
	struct js_scan s;
	size_t n;
	int rc;

	memset(r, 0, sizeof *r);
	js_scan_init(&s, NULL, NULL, NULL);
	js_scan_limits(&s, JS_DEPTH_MAX, NODES_MAX);
	rc = js_scan_end(&s, text.p, text.n);
	if (rc != 0)
		return rc;
	if (!js_member(text, "input", &input) || !js_member(text, "response", &r->object) ||
	    !js_member(r->object, "id", &id) || !is_name(id) || !js_member(r->object, "output", &output) ||
	    js_type(output) != JS_ARRAY || (js_type(input) != JS_ARRAY && js_type(input) != JS_STRING))
		return TF_E_INVAL;
	n = count(input) + count(output) + 1;
	if (n > ST_ITEMS_MAX)
		return TF_E_FULL;
	rc = reserve(r, text.n, n);
	if (rc != 0)
		return rc;
	r->id = tf_span(r->ids.p, 0);
	if (js_str_append(id, &r->ids) != 0)
		return TF_E_NOMEM;
	r->id.n = r->ids.n;
	if (js_member(r->object, "previous_response_id", &previous) && is_name(previous)) {
		size_t at = r->ids.n;

		if (js_str_append(previous, &r->ids) != 0)
			return TF_E_NOMEM;
		r->previous = tf_span(r->ids.p + at, r->ids.n - at);
	}
	rc = js_type(input) == JS_STRING ? text_input(r, input) : items_add(r, input, false);
	return rc == 0 ? items_add(r, output, true) : rc;
}

void
st_response_fini(struct st_response *r)
{
	free(r->items);
	tf_buf_free(&r->made);
	tf_buf_free(&r->ids);
}
