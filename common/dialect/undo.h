/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a runtime had to be told in other words than the client's is turned back in its answer, in the events
 * between its decoder and the client's encoder: calls of custom tools that went as functions, answers of a schema that
 * came as a call, JSON in a code fence. Private to this folder.
 */
#ifndef TF_DIALECT_UNDO_H
#define TF_DIALECT_UNDO_H

#include "common/dialect/canon.h"

struct dl_undo;

/* The tool whose call is the answer, where a runtime knows no schema of answers. */
#define DL_ANSWER_TOOL "json_response"

/* New, with nothing to turn back; NULL without memory. */
struct dl_undo *dl_undo_new(dl_emit_fn *emit, void *arg);
void dl_undo_free(struct dl_undo **u);

/* ---- said by those who make the request; u may be NULL: then there is no answer to care for ---- */

/* A tool of that name takes text: calls of it become custom calls, their text unwrapped. 0 or TF_E_NOMEM. */
int dl_undo_custom(struct dl_undo *u, struct tf_span name) TF_MUSTCHECK;
/* The first call is the answer: its arguments are the text. What is said beside it is left out. */
void dl_undo_answer(struct dl_undo *u);
/* The text is one JSON object, which models like to put in a code fence: that is taken off, and what follows it. */
void dl_undo_fence(struct dl_undo *u);

/* ---- the answer -------------------------------------------------------------------------- */

/* Is there nothing to turn back? u may be NULL. */
bool dl_undo_idle(const struct dl_undo *u);
/* Passes e on by emit, turned back. 0, TF_E_NOMEM, TF_E_FULL: an answer too long to hold, or what emit gave. */
int dl_undo_event(struct dl_undo *u, const struct dl_event *e) TF_MUSTCHECK;
/* Another answer from the start. */
void dl_undo_reset(struct dl_undo *u);

#endif
