/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a runtime that speaks Messages (runtime.c). The first byte says also whether the client asks for what such a
 * runtime has to be told in other words; the second which client asks, in which dialect, and how the answer ends.
 */
#include "config.h"

#include <string.h>

#include "tests/dialect/client.h"
#include "tests/dialect/reader.h"
#include "tests/fuzz/runtime.h"

#define PLAIN 8 /* of the requests need no other words */

static struct fuzz_how
how(uint8_t first, uint8_t second)
{
	return (struct fuzz_how){ .ask = (second & 7) + (first & 128 ? PLAIN : 0),
		.quirks = DL_Q_NO_OUTPUT_FORMAT | (second & 8 ? DL_Q_MINT_TOOL_IDS : 0) |
		    (second & 16 ? DL_Q_STREAM_AND_JOIN : 0),
		.canonical = (second & 32) != 0,
		.json = (second & 64) != 0,
		.end = second & 128 ? FUZZ_BREAKS : FUZZ_ENDS };
}

/* An event that was passed on: its two lines, and the type of the one in the other. */
static const char *
passed_event(struct tf_span e)
{
	const char *line = e.n > 7 ? memchr(e.p, '\n', e.n) : NULL;
	struct tf_span name, data, v;

	if (line == NULL || memcmp(e.p, "event: ", 7) != 0 || e.p + e.n - line < 8 || memcmp(line, "\ndata: ", 7) != 0)
		return "no event line, or no data";
	name = tf_span(e.p + 7, (size_t)(line - e.p) - 7);
	data = tf_span(line + 7, (size_t)(e.p + e.n - line) - 7);
	if (memchr(data.p, '\n', data.n) != NULL || js_valid(data) < 0)
		return "data that is no JSON on one line";
	return js_member(data, "type", &v) && js_str_eqn(v, name) ? NULL : "another type in the data";
}

static const char *
passed_events(struct tf_span got)
{
	const char *bad = NULL, *end;

	while (bad == NULL && got.n > 0) {
		end = memmem(got.p, got.n, "\n\n", 2);
		if (end == NULL)
			return "an event without its end";
		bad = passed_event(tf_span(got.p, (size_t)(end - got.p)));
		got = tf_span(end + 2, (size_t)(got.p + got.n - end) - 2);
	}
	return bad;
}

/* What is passed on says what the runtime says; only its frame is ours to keep: one beginning, and one end. */
static const char *
frame(struct tf_span got, bool whole)
{
	static const char begin[] = "event: message_start\ndata: {", again[] = "\nevent: message_start\n";
	static const char end[] = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
	size_t b = sizeof begin - 1, e = sizeof end - 1;

	if (got.n == 0)
		return whole ? "nothing of a whole answer" : NULL;
	if (got.n < b || memcmp(got.p, begin, b) != 0)
		return "no message_start first";
	if (memmem(got.p, got.n, again, sizeof again - 1) != NULL)
		return "second message_start";
	if (whole && (got.n < e || memcmp(got.p + got.n - e, end, e) != 0))
		return "no message_stop last";
	if (memmem(got.p, got.n - (whole ? e : 0), end, e) != NULL)
		return "message_stop before the end";
	if (whole && memmem(got.p, got.n, "\nevent: message_delta\n", 22) == NULL)
		return "no message_delta";
	return memmem(got.p, got.n, "\nevent: error\n", 14) != NULL ? "an error" : passed_events(got);
}

static const char *
reads(const struct dl_scan *s, const struct fuzz_how *h, struct tf_span got, bool whole)
{
	static struct client client;
	bool messages = s->head.surface == DL_ANTHROPIC_MESSAGES, passed = !h->canonical && h->ask < PLAIN;
	struct tf_buf made = { 0 };
	const char *bad = NULL;

	if (messages && passed && s->head.stream)
		bad = frame(got, whole);
	else if (messages && passed && whole)
		bad = js_valid(got) < 0 ? "an answer that is no JSON" : NULL;
	else if (messages && s->head.stream)
		bad = reader_stream(got, TF_SPAN("m"), whole, &made);
	else if (messages && whole)
		bad = reader_json(got, TF_SPAN("m"), &made);
	else if (s->head.stream)
		bad = client_reads(&client, got, TF_SPAN("m"), s->head.include_usage, whole);
	else if (whole)
		bad = client_reads_json(got, TF_SPAN("m"));
	else if (got.n > 0)
		bad = "bytes of a failed answer";
	tf_buf_free(&made);
	return bad;
}

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define MESSAGES "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define SCHEMA "{\"type\":\"object\",\"properties\":{\"a\":{}}}"
#define FORMAT ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":" SCHEMA "}}"
#define CUSTOM ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]"
const struct fuzz_runtime fuzz_runtime = { .runtime = DL_ANTHROPIC_MESSAGES,
	.asks = {
	    { DL_OPENAI_CHAT, CHAT ",\"stream\":true}" },
	    { DL_OPENAI_CHAT, CHAT ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"parallel_tool_calls\":false}" },
	    { DL_OPENAI_CHAT, CHAT "}" },
	    { DL_OPENAI_CHAT, CHAT ",\"metadata\":{\"a\":\"b\"}}" },
	    { DL_ANTHROPIC_MESSAGES, MESSAGES ",\"stream\":true}" },
	    { DL_ANTHROPIC_MESSAGES, MESSAGES ",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}}" },
	    { DL_ANTHROPIC_MESSAGES, MESSAGES "}" },
	    { DL_ANTHROPIC_MESSAGES, MESSAGES ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5}}" },
	    /* with 128 in the first byte */
	    { DL_OPENAI_CHAT, CHAT FORMAT ",\"stream\":true}" },
	    { DL_OPENAI_CHAT, CHAT ",\"response_format\":{\"type\":\"json_object\"},\"stream\":true}" },
	    { DL_OPENAI_CHAT, CHAT CUSTOM ",\"stream\":true}" },
	    { DL_OPENAI_CHAT, CHAT CUSTOM FORMAT ",\"stream\":true}" },
	    { DL_OPENAI_CHAT, CHAT FORMAT "}" },
	    { DL_OPENAI_CHAT, CHAT CUSTOM ",\"response_format\":{\"type\":\"json_object\"}}" },
	    { DL_ANTHROPIC_MESSAGES, MESSAGES
		",\"stream\":true,\"output_format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}}" },
	    { DL_ANTHROPIC_MESSAGES, MESSAGES ",\"output_format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}}" },
	},
	.how = how,
	.reads = reads };
