/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Custom tools (chat completions: tools of type "custom"; the same in Responses), whose calls carry text, towards
 * runtimes that know functions only. Private to this folder.
 */
#ifndef TF_DIALECT_CUSTOM_H
#define TF_DIALECT_CUSTOM_H

#include "common/dialect/undo.h"

/* Raw parameters of such a function. */
#define DL_CUSTOM_SCHEMA "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},\"required\":[\"input\"]," \
			 "\"additionalProperties\":false}"
/* Appends the arguments that carry the text. 0 or TF_E_NOMEM. */
int dl_custom_wrap(struct tf_span input, struct tf_buf *out) TF_MUSTCHECK;
/*
 * Appends to a description (out holds it, or nothing) what the argument is and the grammar of it. format: raw, of either
 * API, or empty. 0 or TF_E_NOMEM.
 */
int dl_custom_about(struct tf_span format, struct tf_buf *out) TF_MUSTCHECK;
/* Makes the custom tools and calls of a request functions; u learns their names. 0 or TF_E_NOMEM. */
int dl_custom_functions(struct dl_request *rq, struct dl_undo *u) TF_MUSTCHECK;

#endif
