/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decoders of conversations share: text in turns, and the place of system text that comes in the
 * middle of one. Private to this folder.
 */
#ifndef TF_DIALECT_TURNS_H
#define TF_DIALECT_TURNS_H

#include "common/dialect/canon.h"

bool dl_is_blank(struct tf_span s);
/* Does its member `type` say that? */
bool dl_type_is(struct tf_span object, const char *type);
/* Appends the characters of a member that is a string; nothing when it is none. 0 or TF_E_NOMEM. */
int dl_add_member(struct tf_span object, const char *member, struct tf_buf *out);
/* A new text part with a copy of text. 0 or TF_E_NOMEM. */
int dl_add_text(struct dl_request *rq, struct dl_part **first, struct dl_part **last, struct tf_span text);
/* The user turn at the end; begins one where there is none. NULL without memory. */
struct dl_turn *dl_user_turn(struct dl_request *rq);
/* Adds system text to what waits for its place; blank text is left out. 0 or TF_E_NOMEM. */
int dl_system_hold(struct tf_buf *held, struct tf_span text);
/*
 * Puts what waits where every chat template takes it: into the system text in front when nothing was said yet, else
 * marked at the end of the last result or of what the user says. 0 or TF_E_NOMEM; held is empty then.
 */
int dl_system_release(struct dl_request *rq, struct tf_buf *held);

#endif
