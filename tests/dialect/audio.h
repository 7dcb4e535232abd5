/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts at the surfaces of sound, for their tests: bodies and answers that are not text. Every function but scan()
 * fails the test that runs.
 */
#ifndef TF_TESTS_DIALECT_AUDIO_H
#define TF_TESTS_DIALECT_AUDIO_H

#include "common/dialect/dialect.h"

#define TYPE "multipart/form-data; boundary=XbX" /* of every form */
#define SSE(json) "data: " json "\n\n"

struct body {
	const char *p;
	size_t n;
};
#define B(text) { text, sizeof(text) - 1 }

/* As dl_scan_end(); forms are of TYPE. */
int scan(struct dl_scan *s, enum dl_dialect surface, struct body b);

struct run {
	enum dl_dialect surface;
	uint32_t quirks;
	struct body body;
	struct dl_xlate *x;
	struct tf_buf sent, got;
};
/* surface, quirks and body are set; the body is accepted. Not sent yet. */
void start(struct run *run);
void stop(struct run *run);
/* The runtime's answer, in pieces of step bytes, each in memory of its own. */
void answer(struct run *run, const char *type, struct body b, size_t step);
const struct dl_facts *facts(const struct run *run);
bool has(const struct tf_buf *b, const char *what);

#endif
