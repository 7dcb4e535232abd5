/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a runtime that speaks the Responses API (runtime.c). The second byte says which client asks and what goes
 * wrong at the end.
 */
#include "config.h"

#include <string.h>

#include "tests/dialect/client.h"
#include "tests/dialect/reader.h"
#include "tests/fuzz/runtime.h"

/* Who asks: two bits of the second byte, or the eighth and one. */
static struct fuzz_how
how(uint8_t first, uint8_t second)
{
	(void)first;
	return (struct fuzz_how){ .ask = second & 128 ? 4 + (second & 1u) : second & 3u,
		.quirks = (second & 128 ? DL_Q_HOSTED : 0) | (second & 4 ? DL_Q_INLINE_THINK : 0) |
		    (second & 8 ? DL_Q_MINT_TOOL_IDS : 0),
		.json = (second & 16) != 0,
		.end = second & 32 ? FUZZ_BREAKS : second & 64 ? FUZZ_IS_CUT : FUZZ_ENDS };
}

/* Every event on its own, of the type that its first line says, numbered without a gap, and nothing behind the last. */
static const char *
passed(struct tf_span s, bool whole)
{
	uint64_t next = 0, n;
	bool over = false;

	while (s.n > 0) {
		const char *data = memmem(s.p, s.n, "\ndata: ", 7), *end = memmem(s.p, s.n, "\n\n", 2);
		struct tf_span json, v;

		if (data == NULL || end == NULL || end < data || s.n < 7 || memcmp(s.p, "event: ", 7) != 0)
			return "half an event";
		if (over)
			return "an event behind the end";
		json = tf_span(data + 7, (size_t)(end - data) - 7);
		if (js_valid(json) == TF_E_INVAL)
			return "not JSON";
		if (!js_member(json, "type", &v) || !js_str_eqn(v, tf_span(s.p + 7, (size_t)(data - s.p) - 7)))
			return "another type in the data";
		if (!js_member(json, "sequence_number", &v) || js_get_u64(v, &n) < 0 || n != next++)
			return "a gap";
		over = js_member(json, "type", &v) && (js_str_eq(v, "response.completed") || js_str_eq(v, "response.incomplete"));
		s = tf_span(end + 2, s.n - (size_t)(end + 2 - s.p));
	}
	return over || !whole ? NULL : "no end";
}

static const char *
reads(const struct dl_scan *s, const struct fuzz_how *h, struct tf_span got, bool whole)
{
	static struct client client;
	struct tf_span model = TF_SPAN("m");
	bool chat = s->head.surface == DL_OPENAI_CHAT;
	struct tf_buf made = { 0 };
	const char *bad = NULL;

	(void)h;
	if (s->head.surface == DL_OPENAI_RESPONSES)
		bad = s->head.stream ? passed(got, whole) : whole && js_valid(got) == TF_E_INVAL ? "not JSON" : NULL;
	else if (s->head.stream)
		bad = chat ? client_reads(&client, got, model, s->head.include_usage, whole)
			   : reader_stream(got, model, whole, &made);
	else if (whole)
		bad = chat ? client_reads_json(got, model) : reader_json(got, model, &made);
	else if (got.n > 0)
		bad = "bytes of a failed answer";
	tf_buf_free(&made);
	return bad;
}

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
const struct fuzz_runtime fuzz_runtime = { .runtime = DL_OPENAI_RESPONSES,
	.asks = {
	    { DL_OPENAI_CHAT, "{\"model\":\"m\"," USER ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" },
	    { DL_OPENAI_CHAT,
	        "{\"model\":\"m\"," USER ",\"parallel_tool_calls\":false,"
	        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}" },
	    { DL_ANTHROPIC_MESSAGES,
	        "{\"model\":\"m\",\"max_tokens\":9," USER ",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}}" },
	    { DL_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"max_tokens\":9," USER "}" },
	    /* of the same API: what the provider says is passed on */
	    { DL_OPENAI_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"stream\":true}" },
	    { DL_OPENAI_RESPONSES, "{\"model\":\"m\",\"input\":\"x\"}" },
	},
	.how = how,
	.reads = reads };
