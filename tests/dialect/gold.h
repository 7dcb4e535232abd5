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

#endif
