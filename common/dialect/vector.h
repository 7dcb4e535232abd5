/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Vectors of single-precision numbers in their two forms on the wire: a JSON list, and base64 of little-endian
 * IEEE 754 binary32. From one to the other and back every bit stays. Private to this folder and its tests.
 */
#ifndef TF_DIALECT_VECTOR_H
#define TF_DIALECT_VECTOR_H

#include "common/dialect/dialect.h"

#define DL_F32_TEXT 16 /* longest text of a number, bytes */

/* Makes the tables of printing; once, before anything here. 0. */
int dl_vector_init(void);
/* Shortest decimal that reads back as f, which is finite; of those the nearest. Not terminated; its length. */
size_t dl_f32_text(float f, char out[static DL_F32_TEXT]);
/*
 * The number text (a JSON number and nothing else) as the nearest double and then the nearest float: what clients do that
 * read doubles and keep floats. TF_E_INVAL; TF_E_RANGE beyond the largest float.
 */
int dl_f32_parse(struct tf_span text, float *out) TF_MUSTCHECK;

/* How many numbers a JSON list of numbers alone holds; -1: it is something else. text is valid JSON. */
int64_t dl_vector_count(struct tf_span text);
/* The same of base64 text without quotes and escapes; -1: it is none, or no whole number of floats. */
int64_t dl_vector_count64(struct tf_span text);
/* List to base64 (without quotes), and back to a list. Append. 0, TF_E_INVAL, TF_E_RANGE (not finite), TF_E_NOMEM. */
int dl_vector_encode(struct tf_span list, struct tf_buf *out) TF_MUSTCHECK;
int dl_vector_decode(struct tf_span text, struct tf_buf *out) TF_MUSTCHECK;

#endif
