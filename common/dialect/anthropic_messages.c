/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The anthropic_messages dialect, POST /messages, as clients speak it; no runtime is asked in it.
 * Its parts: fields_anthropic_messages.def and messages_scan.c (what a request may hold),
 * messages_request.c and messages_turns.c (request -> canonical), messages_enc.c and messages_join.c
 * (events -> answer).
 */
#include "config.h"

#include "common/dialect/messages.h"

#define PING "event: ping\ndata: {\"type\":\"ping\"}\n\n"

const struct dl_ops dl_anthropic_messages = {
	.request_decode = messages_request_decode,
	.enc_new = messages_enc_new,
	.enc_free = messages_enc_free,
	.enc_event = messages_enc_event,
	.enc_flush = messages_enc_flush,
	.enc_end = messages_enc_end,
	.join_event = messages_join_event,
	.join_end = messages_join_end,
	.error_event = messages_error_event,
	.ping = { PING, sizeof PING - 1 },
	.fields = &messages_fields,
	.param_format = "output_config.format",
};
