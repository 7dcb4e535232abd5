/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Argument text of calls as it streams: where it is whole, and the text inside of it when the tool takes text.
 * Private to this folder.
 */
#ifndef TF_DIALECT_ARGS_H
#define TF_DIALECT_ARGS_H

#include "common/dialect/canon.h"

/* Follows argument text to the end of its object. All zero to begin with. */
struct dl_track {
	uint32_t depth;
	bool begun, string, escape, whole;
};
void dl_track(struct dl_track *t, struct tf_span s);

/* Takes {"input":"TEXT"} apart as it comes. All zero to begin with; dl_unwrap_fini frees. */
struct dl_unwrap {
	uint8_t state;
	uint8_t nesc;
	char esc[12];      /* an escape that is not complete */
	struct tf_buf raw; /* all of it, until the text begins */
};
/* Appends the characters of the text that are known now. 0 or TF_E_NOMEM. */
int dl_unwrap_feed(struct dl_unwrap *u, struct tf_span args, struct tf_buf *out) TF_MUSTCHECK;
/* Nothing follows: appends what arguments of any other form amount to. */
int dl_unwrap_end(struct dl_unwrap *u, struct tf_buf *out) TF_MUSTCHECK;
void dl_unwrap_fini(struct dl_unwrap *u);

#endif
