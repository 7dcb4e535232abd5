/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way without translation, for clients and runtimes of one dialect: what the dialects that have it share.
 * Private to this folder.
 */
#ifndef TF_DIALECT_RAW_H
#define TF_DIALECT_RAW_H

#include "common/dialect/canon.h"

/* Takes a member of the body away; nothing when it is absent. */
void dl_raw_delete(struct js_edits *e, struct dl_range at);
/* Takes away what the scan noted, less what a hosted runtime knows; names go to dropped. 0, TF_E_NOMEM, TF_E_INVAL. */
int dl_raw_members(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct js_edits *e,
    struct tf_buf *dropped);
/*
 * Appends the spliced body of a request of the older OpenAI APIs. 0, TF_E_NOMEM, TF_E_INVAL: head and body do not fit
 * together.
 */
int dl_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
    struct tf_buf *dropped);
/* Appends the names of the members without effect, for requests that are translated to another dialect. */
int dl_raw_dropped(const struct dl_head *h, struct tf_span body, struct tf_buf *dropped);
/* Is it a word that can stand in an event line, as the types of all events that an API has? */
bool dl_raw_type_ok(struct tf_span type);
/* Appends JSON text on one line, as the data of an event has to be. 0 or TF_E_NOMEM. */
int dl_raw_line(struct tf_buf *out, struct tf_span json);

#endif
