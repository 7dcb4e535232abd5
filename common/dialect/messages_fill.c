/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members that the types of current clients have in every answer (@anthropic-ai/sdk 1.x, anthropic 2.x for Python and
 * the generated clients of stricter languages: null where there is nothing to say), and that runtimes which learnt the
 * API earlier leave out. They are put in by splicing: decoding and encoding the answer would lose what nobody models
 * here. Whatever anthropic-version the client names: the shapes of answers do not differ, and older clients ignore more
 * than they know. Called by messages_raw.c, for the few events that begin or end something, never for a piece of text.
 */
#include "config.h"

#include <stdio.h>

#include "common/dialect/messages_fill.h"

struct fill {
	const char *name, *member;
};
#define NULLED(name) { name, "\"" name "\":null" }

static const struct fill in_message[] = { NULLED("container"), NULLED("diagnostics"), NULLED("stop_details"),
	NULLED("stop_sequence"), NULLED("stop_reason") };
static const struct fill in_usage[] = { { "cache_creation_input_tokens", "\"cache_creation_input_tokens\":0" },
	{ "cache_read_input_tokens", "\"cache_read_input_tokens\":0" }, NULLED("cache_creation"),
	NULLED("output_tokens_details"), NULLED("server_tool_use"), NULLED("service_tier"), NULLED("inference_geo"),
	NULLED("speed") };
static const struct fill in_delta[] = { NULLED("container"), NULLED("stop_details"), NULLED("stop_sequence"),
	NULLED("stop_reason") };
static const struct fill in_text[] = { NULLED("citations") };
static const struct fill in_call[] = { { "caller", "\"caller\":{\"type\":\"direct\"}" } };
static const struct fill in_thinking[] = { { "signature", "\"signature\":\"\"" } }; /* as it begins: it follows */

/* object: part of base, which is what the edits are of. */
static void
fill(struct tf_span base, struct tf_span object, const struct fill *v, size_t n, struct js_edits *e)
{
	struct tf_span key, value;
	struct js_iter it;
	uint32_t there = 0;

	if (js_type(object) != JS_OBJECT)
		return;
	js_iter_init(&it, object);
	while (js_iter_next(&it, &key, &value))
		for (size_t i = 0; i < n; i++)
			if (js_str_eq(key, v[i].name))
				there |= 1u << i;
	for (size_t i = 0; i < n; i++)
		if (!(there & (1u << i)))
			js_edit_insert_last(e, (size_t)(object.p - base.p) + object.n, tf_cspan(v[i].member));
}

void
mfill_block(struct tf_span base, struct tf_span block, struct js_edits *e)
{
	struct tf_span type;

	if (!js_member(block, "type", &type))
		return;
	if (js_str_eq(type, "text"))
		fill(base, block, in_text, TF_LEN(in_text), e);
	else if (js_str_eq(type, "tool_use"))
		fill(base, block, in_call, TF_LEN(in_call), e);
	else if (js_str_eq(type, "thinking"))
		fill(base, block, in_thinking, TF_LEN(in_thinking), e);
}

void
mfill_message(struct tf_span base, struct tf_span message, struct js_edits *e)
{
	struct tf_span usage;

	fill(base, message, in_message, TF_LEN(in_message), e);
	if (js_member(message, "usage", &usage))
		fill(base, usage, in_usage, TF_LEN(in_usage), e);
}

/* What is said last stands: counts that the event leaves out are those of the beginning. */
static void
counts(const struct mfill_counts *u, struct mfill_room *room, struct fill v[static 6])
{
	static const char *const names[] = { "input_tokens", "output_tokens", "cache_creation_input_tokens",
		"cache_read_input_tokens" };
	const uint64_t n[] = { u->input, u->output, u->write, u->read };

	for (size_t i = 0; i < TF_LEN(names); i++) {
		snprintf(room->text[i], sizeof room->text[i], "\"%s\":%llu", names[i], (unsigned long long)n[i]);
		v[i] = (struct fill){ names[i], room->text[i] };
	}
	v[4] = (struct fill)NULLED("output_tokens_details");
	v[5] = (struct fill)NULLED("server_tool_use");
}

void
mfill_delta(struct tf_span event, const struct mfill_counts *u, struct mfill_room *room, struct js_edits *e)
{
	struct fill usage[6];
	struct tf_span v;

	counts(u, room, usage);
	if (js_member(event, "delta", &v))
		fill(event, v, in_delta, TF_LEN(in_delta), e);
	if (js_member(event, "usage", &v) && js_type(v) == JS_OBJECT) {
		fill(event, v, usage, TF_LEN(usage), e);
		return;
	}
	/* without it clients crash */
	snprintf(room->all, sizeof room->all, "\"usage\":{%s,%s,%s,%s,%s,%s}", usage[0].member, usage[1].member, usage[2].member,
	    usage[3].member, usage[4].member, usage[5].member);
	js_edit_insert_last(e, event.n, tf_cspan(room->all));
}
