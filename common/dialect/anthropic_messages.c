/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The anthropic_messages dialect: POST /messages. Its parts: fields_anthropic_messages.def and
 * messages_scan.c (what a request may hold), messages_request.c, messages_tools.c and
 * messages_turns.c (request -> canonical), messages_request_enc.c, messages_turns_enc.c and messages_schema.c (canonical ->
 * request), messages_dec.c (answer -> events), messages_enc.c and messages_join.c (events -> answer),
 * messages_raw.c (as it is).
 */
#include "config.h"

#include "common/dialect/messages_dec.h"

#define PING "event: ping\ndata: {\"type\":\"ping\"}\n\n"

const struct dl_ops dl_anthropic_messages = {
	.request_decode = messages_request_decode,
	.request_keep = messages_keep,
	.request_encode = messages_request_encode,
	.dec_new = messages_dec_new,
	.dec_free = messages_dec_free,
	.dec_event = messages_dec_event,
	.dec_response = messages_dec_response,
	.dec_end = messages_dec_end,
	.dec_cut = messages_dec_cut,
	.dec_state = messages_dec_state,
	.enc_new = messages_enc_new,
	.enc_free = messages_enc_free,
	.enc_event = messages_enc_event,
	.enc_flush = messages_enc_flush,
	.enc_end = messages_enc_end,
	.join_event = messages_join_event,
	.join_end = messages_join_end,
	.raw_request_ok = messages_raw_request_ok,
	.raw_request = messages_raw_request,
	.raw_answer_ok = messages_raw_answer_ok,
	.raw_new = messages_raw_new,
	.raw_free = messages_raw_free,
	.raw_event = messages_raw_event,
	.raw_response = messages_raw_response,
	.raw_end = messages_raw_end,
	.error_event = messages_error_event,
	.ping = { PING, sizeof PING - 1 },
	.stops = UINT32_MAX,
	.signs = true,
	.fields = &messages_fields,
	.param_format = "output_config.format",
};
