/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a runtime that speaks chat completions (runtime.c). The second byte says which client asks, which quirks are
 * known, and what goes wrong at the end.
 */
#include "config.h"

#include "tests/dialect/client.h"
#include "tests/fuzz/runtime.h"

static struct fuzz_how
how(uint8_t first, uint8_t second)
{
	(void)first;
	return (struct fuzz_how){ .ask = second & 3,
		.quirks = (second & 4 ? DL_Q_INLINE_THINK : 0) | (second & 8 ? DL_Q_MINT_TOOL_IDS : 0) |
		    (second & 16 ? DL_Q_STREAM_AND_JOIN : 0),
		.canonical = (second & 32) != 0,
		.json = (second & 64) != 0,
		.end = second & 128 ? FUZZ_BREAKS : FUZZ_ENDS };
}

static const char *
reads(const struct dl_scan *s, const struct fuzz_how *h, struct tf_span got, bool whole)
{
	static struct client client;

	(void)h;
	if (s->head.stream)
		return client_reads(&client, got, TF_SPAN("m"), s->head.include_usage, whole);
	if (whole)
		return client_reads_json(got, TF_SPAN("m"));
	return got.n > 0 ? "bytes of a failed answer" : NULL;
}

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
const struct fuzz_runtime fuzz_runtime = { .runtime = DL_OPENAI_CHAT,
	.asks = {
	    { DL_OPENAI_CHAT, CHAT ",\"stream\":true}" },
	    { DL_OPENAI_CHAT, CHAT ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"parallel_tool_calls\":false}" },
	    { DL_OPENAI_CHAT, CHAT "}" },
	    { DL_OPENAI_CHAT, CHAT ",\"metadata\":{\"a\":\"b\"}}" },
	},
	.how = how,
	.reads = reads };
