/* SPDX-License-Identifier: Apache-2.0 */
/* The completions surface, towards runtimes of it and of chat; surface.c says how. */
#include "config.h"

#include "tests/dialect/completer.h"
#include "tests/fuzz/surface.h"

static const char *
stream(struct tf_span given, bool usage, bool whole, struct tf_buf *made)
{
	return completer_stream(given, TF_SPAN("m"), usage, whole, made);
}

static const char *
json(struct tf_span given, struct tf_buf *made)
{
	return completer_json(given, TF_SPAN("m"), made);
}

const struct fuzz_surface fuzz_surface = {
	.surface = DL_OPENAI_COMPLETIONS,
	.asks = {
	    "{\"model\":\"m\",\"prompt\":\"x\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
	    "{\"model\":\"m\",\"prompt\":\"x\"}",
	    "{\"model\":\"m\",\"prompt\":[\"x\",\"y\"],\"n\":2,\"echo\":true,\"stream\":true}",
	    "{\"model\":\"m\",\"prompt\":[\"x\",\"y\"],\"n\":2,\"echo\":true}",
	},
	.native = true,
	.dated = true,
	.stream = stream,
	.json = json,
};
