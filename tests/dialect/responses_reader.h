/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict client of the responses surface: what the official SDKs and agents demand of a stream and of a whole
 * answer, and what they would make of either, in one form, so that both can be compared.
 */
#ifndef TF_TESTS_DIALECT_RESPONSES_READER_H
#define TF_TESTS_DIALECT_RESPONSES_READER_H

#include "common/dialect/dialect.h"

/*
 * stream: all that was given out. whole: the answer was complete. made: its output, status and usage as JSON text,
 * nothing of an answer that is not whole; reset first. NULL when a client takes it, else what it would complain of.
 */
const char *responses_reader_stream(struct tf_span stream, struct tf_span model, bool whole, struct tf_buf *made);
const char *responses_reader_json(struct tf_span body, struct tf_span model, struct tf_buf *made);
/* Sets the second of completion to ones, in place: it is not the same in two runs. */
void responses_reader_steady(struct tf_buf *out);

#endif
