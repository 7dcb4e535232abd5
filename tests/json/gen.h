/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random valid JSON documents from a seed, for the property tests of common/json. Written
 * byte by byte and not with the writer under test.
 */
#ifndef TF_TEST_JSON_GEN_H
#define TF_TEST_JSON_GEN_H

#include <stdint.h>

#include "common/base/base.h"

struct gen {
	uint64_t x;       /* state of the generator; never 0 */
	struct tf_buf *b; /* borrowed */
	unsigned depth;   /* how deep containers may still nest */
	bool for_jsonc;   /* only what json-c keeps exactly (integers of int64) */
};

uint64_t gen_next(struct gen *g);
/* A number below n. */
unsigned gen_below(struct gen *g, unsigned n);
void gen_space(struct gen *g);
void gen_string(struct gen *g);
void gen_value(struct gen *g);

#endif
