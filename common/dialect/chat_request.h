/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the decoder of chat requests share: settings and tools (chat_request.c), messages
 * (chat_turns.c). Private to this dialect.
 */
#ifndef TF_DIALECT_CHAT_REQUEST_H
#define TF_DIALECT_CHAT_REQUEST_H

#include "common/dialect/chat.h"

/* One object's members are dealt with by one function: 1 taken, 0 nobody knows it, negative error. */
typedef int chat_member_fn(struct dl_request *rq, void *to, struct tf_span key, struct tf_span v);
/* Gives fn each member of object; those that nobody knows go to rest, when it is given. 0 or an error of fn. */
int chat_members(struct dl_request *rq, struct tf_span object, chat_member_fn *fn, void *to, struct dl_extras *rest);
/* A message becomes the next turn. 0 or a negative error. */
int chat_message(struct dl_request *rq, struct tf_span text);

/* Members of one type, for a chat_member_fn to return. */
static inline int
chat_take_str(struct dl_request *rq, struct tf_span v, struct tf_span *out)
{
	int r;

	if (js_type(v) != JS_STRING)
		return js_is_null(v) ? 1 : 0;
	r = dl_rq_str(rq, v, out);
	return r < 0 ? r : 1;
}

static inline int
chat_take_raw(struct tf_span v, struct tf_span *out)
{
	if (!js_is_null(v))
		*out = v;
	return 1;
}

static inline int
chat_take_tri(struct tf_span v, enum dl_tri *out)
{
	bool b;

	if (js_get_bool(v, &b) == 0)
		*out = b ? DL_YES : DL_NO;
	return 1;
}

static inline int
chat_take_num(struct tf_span v, struct dl_num *out)
{
	out->set = js_type(v) == JS_NUMBER && js_get_double(v, &out->v) == 0;
	return 1;
}

#endif
