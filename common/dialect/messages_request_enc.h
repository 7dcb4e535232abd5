/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the request encoder share: settings and tools (messages_request_enc.c), the
 * conversation (messages_turns_enc.c), schemas (messages_schema.c). Private to this dialect.
 */
#ifndef TF_DIALECT_MESSAGES_REQUEST_ENC_H
#define TF_DIALECT_MESSAGES_REQUEST_ENC_H

#include "common/dialect/messages.h"

struct mreq_id { /* of a call of the turn that was written last */
	const struct dl_part *call;
	char id[64];
};

struct mreq {
	struct js_w w;
	const struct dl_request *rq;
	const struct dl_target *to;
	struct tf_buf *dropped;
	struct dl_fault *f;
	int err; /* sticky */

	/* the conversation */
	enum dl_role open; /* USER or ASSISTANT: that message is being written; SYSTEM: none is */
	bool some;         /* it has a block */
	bool began;        /* a message was written */
	struct tf_buf held; /* system text that waits for the next turn of the user */
	struct tf_map seen; /* ids of calls that were sent */
	struct mreq_id *id;
	uint32_t nid, cap;
};

static inline bool
mreq_hosted(const struct mreq *e)
{
	return (e->to->quirks & DL_Q_HOSTED) != 0;
}
void mreq_refuse(struct mreq *e, const char *param, const char *what);

/* Appends the leading system texts, joined by blank lines. The turns behind them. */
const struct dl_turn *mreq_system(struct mreq *e, struct tf_buf *out);
/* The member messages, from the turn t on. */
void mreq_messages(struct mreq *e, const struct dl_turn *t);
/* Frees what mreq_messages needed. */
void mreq_fini(struct mreq *e);
/* Does the reasoning of the turn that called last come with a signature, or did nothing call? */
bool mreq_signed(const struct dl_request *rq);

/* Did anybody call a tool in the conversation? */
bool mreq_called(const struct dl_request *rq);

/* Is it a schema of objects, which is what a tool's must be? */
bool mreq_object_schema(struct tf_span schema);
/* A tool's schema; empty: any object. */
void mreq_tool_schema(struct mreq *e, struct tf_span schema);
/* The schema of an answer. */
void mreq_answer_schema(struct mreq *e, struct tf_span schema);

#endif
