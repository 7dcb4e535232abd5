/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mends UTF-8 that a runtime broke. Private to this folder.
 */
#ifndef TF_DIALECT_MEND_H
#define TF_DIALECT_MEND_H

#include "common/base/base.h"

struct dl_carry { /* the beginning of a character whose rest is in the next event */
	char p[4];
	size_t n;
};

bool dl_utf8_ok(struct tf_span s);
/*
 * Appends JSON text whose strings are whole: a character cut at the end of a string waits in c and is put before
 * a string that goes on with its rest; anything else becomes U+FFFD. 0 or TF_E_NOMEM.
 */
int dl_mend(struct dl_carry *c, struct tf_span json, struct tf_buf *out) TF_MUSTCHECK;

#endif
