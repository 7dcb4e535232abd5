/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets of surfaces with turns have in common (surface.c): the target says which surface it is and
 * who reads what it gives.
 */
#ifndef TF_TESTS_FUZZ_SURFACE_H
#define TF_TESTS_FUZZ_SURFACE_H

#include "common/dialect/dialect.h"

struct fuzz_surface {
	enum dl_dialect surface;
	const char *asks[4]; /* requests whose answers are made */
	bool native;         /* there are runtimes of this very API: half of the inputs are for one, which refuses nothing */
	bool dated;          /* the second in which an answer was made may be in it: slices change no more than that */
	/*
	 * A strict client reads all that was given; whole: the answer is complete. *made: what it understood. NULL, or what
	 * is wrong with it.
	 */
	const char *(*stream)(struct tf_span given, bool usage, bool whole, struct tf_buf *made);
	const char *(*json)(struct tf_span given, struct tf_buf *made);
	void (*settle)(struct tf_buf *given); /* takes out what differs between two answers; NULL: nothing does */
};
extern const struct fuzz_surface fuzz_surface; /* the target's */

#endif
