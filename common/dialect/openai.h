/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the answers of OpenAI's APIs have in common, whichever of them it is. Private to this folder.
 */
#ifndef TF_DIALECT_OPENAI_H
#define TF_DIALECT_OPENAI_H

#include "common/dialect/canon.h"

/* False when usage is no object with counts (prompt_tokens, completion_tokens and their details). */
bool chat_usage(struct tf_span usage, struct dl_usage *u);
/* A reason as runtimes write it; *failed: the runtime gave up, and NONE is returned. */
enum dl_finish chat_finish(struct tf_span text, bool *failed);
/* Appends the usage object: raw, the runtime's own, when it agrees with the counts, else one of our own. */
int chat_usage_json(struct tf_span raw, const struct dl_usage *u, struct tf_buf *out);
/*
 * Writes the members that were kept as ",name:value,name:value", raw; of one that was given several times the last, as
 * in an object read by a client. Changes kept, which is of no use afterwards.
 */
int chat_kept_write(struct js_w *w, struct tf_buf *kept);

#endif
