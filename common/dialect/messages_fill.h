/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a runtime of the anthropic_messages dialect leaves out of an answer that is passed on. Each adds edits; base is
 * the text that they are of. Private to this dialect.
 */
#ifndef TF_DIALECT_MESSAGES_FILL_H
#define TF_DIALECT_MESSAGES_FILL_H

#include "common/json/json.h"

#define MFILL_BLOCK 1    /* edits that a block may need */
#define MFILL_MESSAGE 13 /* a message without its blocks */
#define MFILL_DELTA 11   /* a message_delta */

struct mfill_counts { /* tokens, as the API counts */
	uint64_t input, read, write, output;
};
struct mfill_room { /* for texts that edits borrow */
	char text[4][64], all[400];
};

/* A block of content, whole or as it begins. */
void mfill_block(struct tf_span base, struct tf_span block, struct js_edits *e);
/* A message, whole or as it begins; not its blocks. */
void mfill_message(struct tf_span base, struct tf_span message, struct js_edits *e);
/* An event message_delta: an object to its last byte. u: as far as the runtime has said it. */
void mfill_delta(struct tf_span event, const struct mfill_counts *u, struct mfill_room *room, struct js_edits *e);

#endif
