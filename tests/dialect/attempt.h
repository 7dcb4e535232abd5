/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts at surfaces without turns, for their tests. Every function fails the test that runs.
 */
#ifndef TF_TESTS_DIALECT_ATTEMPT_H
#define TF_TESTS_DIALECT_ATTEMPT_H

#include "common/dialect/dialect.h"

extern struct dl_scan scan; /* of the last body */
/* Scans body whole and byte by byte; both must say the same. */
bool accepts(enum dl_dialect surface, const char *body);
/* It is refused with that param, and a message that holds says. */
void refuses(enum dl_dialect surface, const char *body, const char *param, const char *says);

struct attempt {
	struct dl_xlate *x;
	struct tf_buf sent, out;
	const struct dl_facts *f;
};
/* body is accepted and sent to a runtime of the OpenAI family that calls the model local/r. */
void begin(struct attempt *a, enum dl_dialect surface, const char *body);
void end(struct attempt *a);
extern const char json[]; /* content type */
/* Gives the answer in pieces of step bytes, each in memory of its own. */
void answer(struct attempt *a, const char *type, const char *text, size_t step);
/* What a client that sent body gets when the runtime says text, however it is cut. */
void becomes(enum dl_dialect surface, const char *body, const char *text, const char *want);
/* The attempt fails; param: of the fault. */
void fails(enum dl_dialect surface, const char *body, const char *text, int err, const char *param);

#endif
