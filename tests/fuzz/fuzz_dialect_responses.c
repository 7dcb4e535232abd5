/* SPDX-License-Identifier: Apache-2.0 */
/* The responses surface; surface.c says how. */
#include "config.h"

#include "tests/dialect/responses_reader.h"
#include "tests/fuzz/surface.h"

#define TOOLS "\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{\"type\":\"custom\",\"name\":\"c\"}]"

static const char *
stream(struct tf_span given, bool usage, bool whole, struct tf_buf *made)
{
	(void)usage;
	return responses_reader_stream(given, TF_SPAN("m"), whole, made);
}

static const char *
json(struct tf_span given, struct tf_buf *made)
{
	return responses_reader_json(given, TF_SPAN("m"), made);
}

const struct fuzz_surface fuzz_surface = {
	.surface = DL_OPENAI_RESPONSES,
	.asks = {
	    "{\"model\":\"m\",\"input\":\"x\",\"stream\":true}",
	    "{\"model\":\"m\",\"input\":\"x\",\"stream\":true,\"reasoning\":{\"summary\":\"auto\"}," TOOLS "}",
	    "{\"model\":\"m\",\"input\":\"x\"}",
	    "{\"model\":\"m\",\"input\":\"x\",\"top_logprobs\":2,\"include\":[\"message.output_text.logprobs\"]," TOOLS "}",
	},
	.stream = stream,
	.json = json,
	.settle = responses_reader_steady,
};
