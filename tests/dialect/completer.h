/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict client of the completions surface: what the official SDKs read of a stream and of a whole
 * answer, and what they would make of either, in one form, so that both can be compared.
 */
#ifndef TF_TESTS_DIALECT_COMPLETER_H
#define TF_TESTS_DIALECT_COMPLETER_H

#include "common/dialect/dialect.h"

/*
 * stream: all that was given out. usage: it was asked for. whole: the answer was complete. made: per choice its
 * text and finish reason; reset first. NULL when a client takes it, else what it would complain of.
 */
const char *completer_stream(struct tf_span stream, struct tf_span model, bool usage, bool whole, struct tf_buf *made);
const char *completer_json(struct tf_span body, struct tf_span model, struct tf_buf *made);

#endif
