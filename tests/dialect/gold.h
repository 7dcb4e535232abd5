/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the golden tests of this folder share: files below tests/golden, results held against them, and
 * requests scanned in every way they can arrive. Failures are those of cmocka.
 */
#ifndef TF_TESTS_DIALECT_GOLD_H
#define TF_TESTS_DIALECT_GOLD_H

#include "common/dialect/dialect.h"

/* The directory below which all names here stand: tests/golden of the source tree. Static. */
const char *gold_root(void);
/* Appends DIR/NAMESUFFIX; false when there is no such file. dir may be "". */
bool gold_read(const char *dir, const char *name, const char *suffix, struct tf_buf *out);
/* got is what the file holds; with GOLDEN_UPDATE=1 in the environment the file is written instead. */
void gold_check(const char *dir, const char *name, const char *suffix, struct tf_span got);
/* Scans body whole and byte by byte: both must say the same, which is returned, with *s of the former. */
int gold_scan(struct dl_scan *s, enum dl_dialect surface, struct tf_span body);
/* "CODE param=.. message=..\n", as files of refusals hold it. Appends. */
void gold_fault(const struct dl_fault *f, struct tf_buf *out);

/* A file of a folder, with what stands in front of its last dot and from there on. Is it a case? */
typedef bool gold_case_fn(const char *name, const char *suffix);
/* Calls fn for each file below DIR in order of their names. Returns how many were cases. */
int gold_each(const char *dir, gold_case_fn *fn);
/* What a runtime answered in a case of tests/golden/openai_chat. Is it one for this test? */
typedef bool gold_upstream_fn(const char *name, const struct tf_buf *up);
/* Calls fn for all of these but errors and those of `most` bytes and more. Returns how many were for it. */
int gold_chat_upstreams(size_t most, gold_upstream_fn *fn);

/* An attempt at what was scanned; conf: what is set beside the surface and the names. Checks what it gives out. */
struct dl_xlate *gold_attempt(const struct dl_scan *s, struct dl_xlate_conf conf);
/* Gives it the answer cut in two, and its end. Returns the fault's error, 0 for an answer that is whole. */
int gold_answer(struct dl_xlate *x, const struct tf_buf *up, size_t cut, struct tf_buf *out);
/*
 * SURFACE/NAME.request becomes NAME.sent, which is the body for a runtime of the chat API and a line that tell
 * appends, or is refused as NAME.fault says. "blind" in its name: no reasoning is shown.
 */
typedef void gold_tell_fn(const struct dl_scan *s, const struct dl_xlate *x, struct tf_buf *out);
void gold_request(enum dl_dialect surface, const char *name, gold_tell_fn *tell);

/* The clients of a surface, as strict as they come. */
struct gold_clients {
	/* what a client that sent ask gets when the runtime's answer is cut there; as gold_answer */
	int (*answer)(const char *ask, const struct tf_buf *up, size_t cut, struct tf_buf *out);
	/* what it complains of, or NULL; made: what it makes of it, reset first; whole: nothing may be missing */
	const char *(*stream)(const char *ask, struct tf_span got, bool whole, struct tf_buf *made);
	const char *(*json)(struct tf_span got, struct tf_buf *made);
	const char *excuse; /* what is made of a stream that holds it may differ; NULL: nothing may */
};
/* A client that asks for a whole answer and one that asks for a stream get the same, at every cut. */
void gold_both(const struct gold_clients *c, const char *name, const struct tf_buf *up, const char *const ask[static 2]);

#endif
