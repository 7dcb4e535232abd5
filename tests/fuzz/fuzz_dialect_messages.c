/* SPDX-License-Identifier: Apache-2.0 */
/* The messages surface; surface.c says how. */
#include "config.h"

#include "tests/dialect/reader.h"
#include "tests/fuzz/surface.h"

static const char *
stream(struct tf_span given, bool usage, bool whole, struct tf_buf *made)
{
	(void)usage;
	return reader_stream(given, TF_SPAN("m"), whole, made);
}

static const char *
json(struct tf_span given, struct tf_buf *made)
{
	return reader_json(given, TF_SPAN("m"), made);
}

const struct fuzz_surface fuzz_surface = {
	.surface = DL_ANTHROPIC_MESSAGES,
	.asks = {
	    "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true}",
	    "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true,"
	    "\"thinking\":{\"type\":\"adaptive\"}}",
	    "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
	    "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
	    "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5}}",
	},
	.stream = stream,
	.json = json,
};
