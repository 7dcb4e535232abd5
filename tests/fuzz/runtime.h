/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets that take bytes of a runtime have in common (runtime.c): the target says which API the runtime
 * speaks, which clients ask, and what the input's first two bytes mean.
 */
#ifndef TF_TESTS_FUZZ_RUNTIME_H
#define TF_TESTS_FUZZ_RUNTIME_H

#include "common/dialect/dialect.h"

#define FUZZ_ASKS_MAX 16

struct fuzz_ask {
	enum dl_dialect surface;
	const char *body; /* NULL: there are no more */
};
enum fuzz_end { FUZZ_ENDS, FUZZ_BREAKS, FUZZ_IS_CUT };
struct fuzz_how {
	size_t ask;
	uint32_t quirks;
	bool canonical;
	bool json; /* the runtime says that its answer is one */
	enum fuzz_end end;
};
struct fuzz_runtime {
	enum dl_dialect runtime;
	struct fuzz_ask asks[FUZZ_ASKS_MAX];
	/* The lower bits of the first byte say besides how the answer is sliced. */
	struct fuzz_how (*how)(uint8_t first, uint8_t second);
	/* What a strict client says of all it was given, NULL nothing; whole: the answer is complete. */
	const char *(*reads)(const struct dl_scan *s, const struct fuzz_how *how, struct tf_span got, bool whole);
};
extern const struct fuzz_runtime fuzz_runtime; /* the target's */

#endif
