/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request that was accepted, sent to runtimes of every kind: what each gets is what its API takes, or the client is
 * told why there is no such thing.
 */
#ifndef TF_TESTS_FUZZ_KINDS_H
#define TF_TESTS_FUZZ_KINDS_H

#include "common/dialect/dialect.h"

/* body: as it was scanned. Aborts with a sentence on stderr. */
void fuzz_kinds(const struct dl_scan *s, struct tf_span body);

#endif
