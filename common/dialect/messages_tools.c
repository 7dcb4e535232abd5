/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tools of a messages request: those whose schema only the API's own models know, but which clients run
 * (platform.claude.com, "Client tools"), get one in words; names that runtimes do not take get another,
 * and calls of the answer their own again. Called by messages_request.c, messages_turns.c and the encoder.
 */
#include "config.h"

#include <string.h>

#include "common/dialect/messages.h"

#define S "{\"type\":\"string\"}"
#define I "{\"type\":\"integer\"}"
#define PAIR "{\"type\":\"array\",\"items\":" I ",\"minItems\":2,\"maxItems\":2}"
#define EDIT "\"path\":" S ",\"file_text\":" S ",\"old_str\":" S ",\"new_str\":" S ",\"insert_line\":" I ",\"insert_text\":" S \
	",\"view_range\":" PAIR

static const struct {
	const char *prefix; /* of the type, raw */
	const char *about, *schema;
} known[] = {
	{ "\"bash_",
	    "Runs a command in a shell that keeps its state between calls; restart begins with a fresh one.",
	    "{\"type\":\"object\",\"properties\":{\"command\":" S ",\"restart\":{\"type\":\"boolean\"}}}" },
	{ "\"text_editor_2024",
	    "Shows and edits files. view shows a file, or the lines of view_range, or lists a directory; create writes "
	    "file_text; str_replace puts new_str in the place of old_str, which must occur once; insert puts new_str behind "
	    "insert_line; undo_edit takes the last edit back.",
	    "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\",\"create\",\"str_replace\","
	    "\"insert\",\"undo_edit\"]}," EDIT "},\"required\":[\"command\",\"path\"]}" },
	{ "\"text_editor_20250124",
	    "Shows and edits files. view shows a file, or the lines of view_range, or lists a directory; create writes "
	    "file_text; str_replace puts new_str in the place of old_str, which must occur once; insert puts new_str behind "
	    "insert_line; undo_edit takes the last edit back.",
	    "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\",\"create\",\"str_replace\","
	    "\"insert\",\"undo_edit\"]}," EDIT "},\"required\":[\"command\",\"path\"]}" },
	{ "\"text_editor_",
	    "Shows and edits files. view shows a file, or the lines of view_range, or lists a directory; create writes "
	    "file_text; str_replace puts new_str in the place of old_str, which must occur once; insert puts insert_text "
	    "behind insert_line.",
	    "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\",\"create\",\"str_replace\","
	    "\"insert\"]}," EDIT "},\"required\":[\"command\",\"path\"]}" },
	{ "\"memory_",
	    "Keeps notes in files below /memories that outlive the conversation. view shows a file or lists a directory; create "
	    "writes file_text; str_replace puts new_str in the place of old_str; insert puts insert_text behind insert_line; "
	    "delete removes path; rename moves old_path to new_path.",
	    "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\",\"enum\":[\"view\",\"create\",\"str_replace\","
	    "\"insert\",\"delete\",\"rename\"]}," EDIT ",\"old_path\":" S ",\"new_path\":" S "},\"required\":[\"command\"]}" },
	{ "\"computer_",
	    "Works the mouse and the keyboard of a computer and looks at its screen. coordinate is the place in pixels from the "
	    "upper left corner; text is what to type, or the key or keys to press, as in ctrl+s; duration is in seconds.",
	    "{\"type\":\"object\",\"properties\":{\"action\":{\"type\":\"string\",\"enum\":[\"screenshot\",\"key\","
	    "\"type\",\"mouse_move\","
	    "\"left_click\",\"right_click\",\"middle_click\",\"double_click\",\"triple_click\","
	    "\"left_click_drag\",\"left_mouse_down\","
	    "\"left_mouse_up\",\"cursor_position\",\"scroll\",\"hold_key\",\"wait\"]},"
	    "\"coordinate\":" PAIR ",\"start_coordinate\":" PAIR
	    ",\"text\":" S ",\"scroll_direction\":{\"type\":\"string\",\"enum\":[\"up\",\"down\",\"left\",\"right\"]},"
	    "\"scroll_amount\":" I ",\"duration\":{\"type\":\"number\"}},\"required\":[\"action\"]}" },
};

/* How large the screen is, for models that have to aim. */
static int
screen(struct dl_request *rq, struct tf_span el, struct dl_tool *t)
{
	struct tf_buf text = { 0 };
	struct tf_span v;
	uint64_t w, h;
	int r;

	if (!js_member(el, "display_width_px", &v) || js_get_u64(v, &w) < 0 || !js_member(el, "display_height_px", &v) ||
	    js_get_u64(v, &h) < 0)
		return 0;
	r = tf_buf_addspan(&text, t->description);
	if (r == 0)
		r = tf_buf_printf(&text, " The screen has %llu x %llu pixels.", (unsigned long long)w, (unsigned long long)h);
	if (r == 0) {
		t->description = dl_arena_dup(&rq->arena, tf_buf_span(&text));
		r = t->description.p != NULL ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&text);
	return r;
}

int
messages_known_tool(struct dl_request *rq, struct tf_span type, struct tf_span el, struct dl_tool *t)
{
	for (size_t i = 0; i < TF_LEN(known); i++) {
		size_t n = strlen(known[i].prefix);

		if (type.n < n || memcmp(type.p, known[i].prefix, n) != 0)
			continue;
		t->description = tf_cspan(known[i].about);
		t->schema = tf_cspan(known[i].schema);
		return screen(rq, el, t);
	}
	return TF_E_NOENT;
}

/* ---- names ------------------------------------------------------------------------------- */

int
messages_name(struct dl_request *rq, struct tf_span text, struct tf_span *out)
{
	struct tf_buf name = { 0 };
	int r = js_str_append(text, &name);

	if (r == 0)
		r = dl_plain_name(&name, 0);
	if (r == 0) {
		*out = dl_arena_dup(&rq->arena, tf_buf_span(&name));
		r = out->p != NULL || name.n == 0 ? 0 : TF_E_NOMEM;
	}
	tf_buf_free(&name);
	return r;
}

int
messages_keep(struct tf_span body, const struct dl_head *head, struct tf_buf *out)
{
	struct tf_span list, el, v;
	struct tf_buf name = { 0 };
	struct js_iter it;
	size_t from = out->n;
	int r = 0;

	(void)head;
	if (!js_member(body, "tools", &list))
		return 0;
	js_iter_init(&it, list);
	while (r == 0 && js_iter_next(&it, NULL, &el)) {
		tf_buf_reset(&name);
		if (!js_member(el, "name", &v) || js_type(v) != JS_STRING)
			continue;
		r = js_str_append(v, &name);
		if (r == 0)
			r = dl_plain_name(&name, 0);
		if (r < 0 || js_str_eqn(v, tf_buf_span(&name)))
			continue;
		r = tf_buf_addc(out, out->n == from ? '[' : ',');
		if (r == 0)
			r = tf_buf_addspan(out, v);
	}
	if (r == 0 && out->n > from)
		r = tf_buf_addc(out, ']');
	tf_buf_free(&name);
	return r;
}
