/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict client of the chat surface: what the accumulating helpers of the official SDKs demand of a
 * stream, as one function. Used by the tests and the fuzzers on everything that is given out.
 */
#ifndef TF_TESTS_DIALECT_CLIENT_H
#define TF_TESTS_DIALECT_CLIENT_H

#include "common/dialect/dialect.h"

#define CLIENT_CHOICES 128
#define CLIENT_CALLS 128

struct client_call {
	bool known;
	size_t args;
};
struct client_choice {
	bool role, finished;
	size_t text, ncall;
	struct client_call call[CLIENT_CALLS];
};
struct client {
	struct client_choice choice[CLIENT_CHOICES];
	struct tf_span id, created;
	unsigned chunks, usages;
	bool done;
};

/*
 * stream: all that was given out, events only. whole: the answer was complete, so nothing may be missing.
 * NULL when a client takes it, else what it would complain of.
 */
const char *client_reads(struct client *c, struct tf_span stream, struct tf_span model, bool include_usage, bool whole);
/* The same for a whole answer. */
const char *client_reads_json(struct tf_span body, struct tf_span model);

#endif
