/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_responses dialect, POST /responses. Its parts: fields_openai_responses.def and
 * responses_scan.c (what a request may hold), responses_request.c, responses_tools.c and responses_items.c
 * (request -> canonical).
 */
#include "config.h"

#include "common/dialect/responses.h"

const struct dl_ops dl_openai_responses = {
	.request_decode = responses_request_decode,
	.ping = { ": keep-alive\n\n", 14 },
	.fields = &responses_fields,
	.param_messages = "input",
	.param_format = "text.format",
};
