/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasoning that led to tool calls, for runtimes that want it back with the calls, from clients that do not bring it.
 * It is taken down while the answer is read, kept elsewhere under a name that is made of the first call, and put
 * into the turn of that call when a later request has it. A name is made of the call as a client repeats it: its id (which
 * some runtimes give more than once), the tool, and the arguments however they are written.
 */
#ifndef TF_DIALECT_RECALL_H
#define TF_DIALECT_RECALL_H

#include "common/dialect/dialect.h"

struct dl_event;
struct dl_request;

/* args: characters. */
int dl_recall_name(struct tf_span id, struct tf_span tool, struct tf_span args, char out[static DL_RECALL_NAME + 1]) TF_MUSTCHECK;

/* ---- of an answer */

struct dl_recall;
struct dl_recall *dl_recall_new(void); /* NULL without memory */
void dl_recall_free(struct dl_recall **r);
/* What was taken down is of an answer that does not count. */
void dl_recall_reset(struct dl_recall *r);
/* An event as the client's encoder gets it. 0 or TF_E_NOMEM. */
int dl_recall_event(struct dl_recall *r, const struct dl_event *e) TF_MUSTCHECK;
/*
 * Appends what is to be kept, a JSON object, when there were reasoning and a call behind it: 1. 0: nothing. TF_E_NOMEM.
 * model: whose it is.
 */
int dl_recall_value(struct dl_recall *r, struct tf_span model, char name[static DL_RECALL_NAME + 1],
    struct tf_buf *out) TF_MUSTCHECK;

/* ---- of a request */

/* In which form the runtime wants it. What is not plain text is good with the model that gave it alone. */
enum dl_recall_form { DL_RECALL_TEXT, DL_RECALL_SIGNED, DL_RECALL_ENCRYPTED };
/*
 * kept: a JSON array of such objects, checked here. Reasoning is put in front of the assistant's turns that called and have
 * none in that form. 0 or TF_E_NOMEM.
 */
int dl_recall_merge(struct dl_request *rq, struct tf_span kept, struct tf_span model, enum dl_recall_form form) TF_MUSTCHECK;

#endif
