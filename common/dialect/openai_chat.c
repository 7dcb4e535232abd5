/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The openai_chat dialect: POST /chat/completions. Its parts: fields_openai_chat.def and
 * chat_scan.c (what a request may hold), chat_request.c and chat_request_enc.c (request <->
 * canonical), chat_msg.c, chat_dec.c and chat_calls.c (answer -> events), chat_enc.c and
 * chat_join.c (events -> answer).
 */
#include "config.h"

#include "common/dialect/chat.h"
#include "common/dialect/raw.h"

/* The metadata, for whole answers. */
static int
chat_keep(struct tf_span body, const struct dl_head *head, struct tf_buf *out)
{
	struct tf_span v;

	(void)head;
	if (!js_member(body, "metadata", &v) || js_type(v) != JS_OBJECT)
		return 0;
	return tf_buf_addspan(out, v);
}

const struct dl_ops dl_openai_chat = {
	.init = chat_msg_init,
	.fini = chat_msg_exit,
	.request_decode = chat_request_decode,
	.request_keep = chat_keep,
	.request_encode = chat_request_encode,
	.dec_new = chat_dec_new,
	.dec_free = chat_dec_free,
	.dec_event = chat_dec_event,
	.dec_response = chat_dec_response,
	.dec_end = chat_dec_end,
	.dec_cut = chat_dec_cut,
	.dec_state = chat_dec_state,
	.enc_new = chat_enc_new,
	.enc_free = chat_enc_free,
	.enc_event = chat_enc_event,
	.enc_flush = chat_enc_flush,
	.enc_end = chat_enc_end,
	.join_event = chat_join_event,
	.join_end = chat_join_end,
	.raw_request_ok = chat_raw_request_ok,
	.raw_request = dl_raw_request,
	.raw_answer_ok = chat_raw_answer_ok,
	.raw_new = chat_raw_new,
	.raw_free = chat_raw_free,
	.raw_event = chat_raw_event,
	.raw_response = chat_raw_response,
	.error_event = chat_error_event,
	.ping = { ": keep-alive\n\n", 14 },
	.stops = UINT32_MAX,
	.custom = true,
	.fields = &chat_fields,
};
