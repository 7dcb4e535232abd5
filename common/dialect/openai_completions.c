/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_completions dialect: POST /completions, the older API for bare text. Its parts:
 * fields_openai_completions.def and completions_scan.c (what a request may hold), completions_request.c
 * (request <-> canonical), chat_dec.c (answer -> events), completions_enc.c (events -> answer).
 */
#include "config.h"

#include "common/dialect/chat.h"
#include "common/dialect/completions.h"

const struct dl_ops dl_openai_completions = {
	.request_decode = completions_request_decode,
	.request_encode = completions_request_encode,
	.dec_new = chat_dec_new_bare,
	.dec_free = chat_dec_free,
	.dec_event = chat_dec_event,
	.dec_response = chat_dec_response,
	.dec_end = chat_dec_end,
	.dec_cut = chat_dec_cut,
	.dec_state = chat_dec_state,
	.enc_new = completions_enc_new,
	.enc_free = completions_enc_free,
	.enc_event = completions_enc_event,
	.enc_flush = completions_enc_flush,
	.enc_end = completions_enc_end,
	.join_event = completions_join_event,
	.join_end = completions_join_end,
	.error_event = chat_error_event,
	.ping = { ": keep-alive\n\n", 14 },
	.fields = &completions_fields,
	.param_messages = "prompt",
};
