/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way without translation, for clients and runtimes of one dialect. Private to this folder.
 */
#ifndef TF_DIALECT_RAW_H
#define TF_DIALECT_RAW_H

#include "common/dialect/chat.h"

/* May the body go by splicing alone? */
bool dl_raw_request_ok(const struct dl_head *h, uint32_t quirks);
/* Appends the spliced body. 0, TF_E_NOMEM, TF_E_INVAL: head and body do not fit together. */
int dl_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
    struct tf_buf *dropped);

/* Appends the names of the members without effect, for requests that are translated to another dialect. */
int dl_raw_dropped(const struct dl_head *h, struct tf_span body, struct tf_buf *dropped);

/* What makes one stream's chunks alike: taken from the first one. */
struct dl_raw {
	struct tf_buf model;       /* asked model, quoted */
	struct tf_buf id, created; /* raw values */
	struct tf_buf scratch;
};
void dl_raw_fini(struct dl_raw *r);
/*
 * d->msg is parsed and d has not seen it yet. Plain text inside an open text item is passed on, spliced:
 * 1, *text is its length. 0: it has to go through decode and encode. Or TF_E_NOMEM.
 */
int dl_raw_chunk(struct dl_raw *r, const struct dl_dec *d, struct tf_buf *out, size_t *text);
/*
 * d->msg is a parsed whole answer. One that lacks nothing but null members is passed on, spliced: 1, with
 * what it says. 0: it has to go through decode and encode.
 */
struct dl_raw_answer {
	enum dl_finish finish;
	struct dl_usage usage;
};
int dl_raw_response(struct dl_raw *r, const struct dl_dec *d, struct tf_span metadata, struct tf_buf *out,
    struct dl_raw_answer *answer);

#endif
