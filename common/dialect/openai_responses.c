/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_responses dialect, POST /responses. Its parts: fields_openai_responses.def and
 * responses_scan.c (what a request may hold), responses_request.c, responses_tools.c and responses_items.c
 * (request -> canonical), responses_ask.c and responses_ask_items.c (canonical -> request), responses_dec.c and
 * responses_dec_items.c (answer -> events), responses_enc.c and responses_join.c (events -> answer),
 * responses_raw.c (both, without translation).
 */
#include "config.h"

#include "common/dialect/responses_ask.h"
#include "common/dialect/responses_dec.h"

const struct dl_ops dl_openai_responses = {
	.request_decode = responses_request_decode,
	.request_keep = responses_keep,
	.enc_new = responses_enc_new,
	.enc_free = responses_enc_free,
	.enc_event = responses_enc_event,
	.enc_flush = responses_enc_flush,
	.enc_end = responses_enc_end,
	.join_event = responses_join_event,
	.join_end = responses_join_end,
	.enc_object = responses_object,
	.error_event = responses_error_event,
	.sequence = responses_sequence,
	.request_encode = responses_request_encode,
	.dec_new = responses_dec_new,
	.dec_free = responses_dec_free,
	.dec_event = responses_dec_event,
	.dec_response = responses_dec_response,
	.dec_end = responses_dec_end,
	.dec_cut = responses_dec_cut,
	.dec_state = responses_dec_state,
	.raw_request_ok = responses_raw_request_ok,
	.raw_request = responses_raw_request,
	.raw_answer_ok = responses_raw_answer_ok,
	.raw_new = responses_raw_new,
	.raw_free = responses_raw_free,
	.raw_event = responses_raw_event,
	.raw_response = responses_raw_response,
	.raw_end = responses_raw_end,
	.raw_object = responses_raw_object,
	.ping = { ": keep-alive\n\n", 14 },
	.custom = true,
	.fields = &responses_fields,
	.param_messages = "input",
	.param_format = "text.format",
};
