/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the openai_completions dialect share. Private to this folder.
 */
#ifndef TF_DIALECT_COMPLETIONS_H
#define TF_DIALECT_COMPLETIONS_H

#include "common/dialect/canon.h"
#include "common/dialect/field.h"

/* ---- the request ------------------------------------------------------------------------- */

#define COMPLETIONS_DEFAULT_CAP 16 /* output cap of a request that gives none; the API's own */

enum completions_field {
#define FIELD(sym, path, types, low, high, class, flags, help) COMPLETIONS_##sym,
#include "common/dialect/fields_openai_completions.def"
#undef FIELD
	COMPLETIONS_FIELDS
};
extern const struct dl_fields completions_fields;
/* The row of a member at the top of a request; NULL when nobody modelled it. */
const struct dl_field *completions_field_by_name(struct tf_span name);

int completions_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f);
/* Only requests of this dialect, decoded as native. */
int completions_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f);

/* ---- the answer -------------------------------------------------------------------------- */

struct dl_enc *completions_enc_new(const struct dl_enc_conf *conf);
void completions_enc_free(struct dl_enc **e);
int completions_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out);
int completions_enc_flush(struct dl_enc *e, struct tf_buf *out);
int completions_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
int completions_join_event(struct dl_enc *e, const struct dl_event *ev);
int completions_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);

#endif
