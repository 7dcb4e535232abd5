/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict client of the messages surface: what the official SDKs demand of a stream and of a whole
 * answer, and what they would make of either, in one form, so that both can be compared.
 */
#ifndef TF_TESTS_DIALECT_READER_H
#define TF_TESTS_DIALECT_READER_H

#include "common/dialect/dialect.h"

/*
 * stream: all that was given out. whole: the answer was complete. made: what was collected, without what only a
 * stream has; reset first. NULL when a client takes it, else what it would complain of.
 */
const char *reader_stream(struct tf_span stream, struct tf_span model, bool whole, struct tf_buf *made);
const char *reader_json(struct tf_span body, struct tf_span model, struct tf_buf *made);

#endif
