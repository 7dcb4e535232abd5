/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the halves of the encoder of requests share: settings and tools (responses_ask.c), the conversation
 * (responses_ask_items.c). Private to the openai_responses dialect.
 */
#ifndef TF_DIALECT_RESPONSES_ASK_H
#define TF_DIALECT_RESPONSES_ASK_H

#include "common/dialect/responses.h"

struct rask {
	struct js_w w;
	const struct dl_request *rq;
	const struct dl_target *to;
	struct tf_buf *dropped;
	struct dl_fault *f;
	int err; /* sticky */

	/* the conversation */
	struct tf_map calls; /* id -> struct dl_part of every call that was written and waits for its output */
	uint32_t nreasoning;
};

static inline bool
rask_quirk(const struct rask *e, uint32_t bit)
{
	return (e->to->quirks & bit) != 0;
}
/* param: as the API of the request calls it. */
void rask_refuse(struct rask *e, const char *param, const char *what);

/* Member instructions: all system text in front. Returns the turns behind it. */
const struct dl_turn *rask_instructions(struct rask *e);
/* Member input. */
void rask_items(struct rask *e, const struct dl_turn *t);
void rask_fini(struct rask *e);

int responses_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f);

#endif
