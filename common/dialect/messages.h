/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the anthropic_messages dialect share. Private to this folder.
 */
#ifndef TF_DIALECT_MESSAGES_H
#define TF_DIALECT_MESSAGES_H

#include "common/dialect/canon.h"
#include "common/dialect/field.h"

/* ---- the request ------------------------------------------------------------------------- */

enum messages_field {
#define FIELD(sym, path, types, low, high, class, flags, help) MESSAGES_##sym,
#include "common/dialect/fields_anthropic_messages.def"
#undef FIELD
	MESSAGES_FIELDS
};
extern const struct dl_fields messages_fields;

/*
 * What a tool of that type is: a client's own, one the provider would run, one that clients run whose schema is
 * known here, or only there.
 */
enum messages_tool { MESSAGES_TOOL_CLIENT, MESSAGES_TOOL_SERVER, MESSAGES_TOOL_KNOWN, MESSAGES_TOOL_ALIEN };
/* type: the member's text, raw; empty or null for a client's own. */
enum messages_tool messages_tool_kind(struct tf_span type);

/* What the encoder of the answer needs: the names of tools that runtimes know by another one, a list. */
int messages_keep(struct tf_span body, const struct dl_head *head, struct tf_buf *out);
/* The name that runtimes get. text: a string, raw. *out borrows from the request's arena or text. */
int messages_name(struct dl_request *rq, struct tf_span text, struct tf_span *out);
/* Gives t the schema and description of a tool of the API's own that clients run. TF_E_NOENT: it has none. */
int messages_known_tool(struct dl_request *rq, struct tf_span type, struct tf_span el, struct dl_tool *t);
int messages_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f);
/* The turns of a list of messages, behind what rq holds already (messages_turns.c). */
int messages_turns(struct dl_request *rq, struct tf_span list, struct dl_fault *f);
/* Appends the text of a list of blocks, or of a string, parts joined by `between`. */
int messages_text(struct tf_span content, const char *between, struct tf_buf *out);
int messages_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f);
/*
 * Argument text as an object: raw JSON in *out, which borrows from args or scratch. What is no object stands
 * in a member "_raw". 0 or TF_E_NOMEM.
 */
int messages_input(struct tf_span args, struct tf_buf *scratch, struct tf_span *out);

/* Is it the signature of reasoning that we have signed, or that nobody has? text: raw. */
bool messages_own(struct tf_span text);
/* Our signature of reasoning: terminated. key: TF_SEAL_KEY bytes. */
void messages_sign(const uint8_t *key, struct tf_span reasoning, char out[static 64]);

/* ---- the answer -------------------------------------------------------------------------- */

struct dl_enc *messages_enc_new(const struct dl_enc_conf *conf);
void messages_enc_free(struct dl_enc **e);
int messages_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out);
int messages_enc_flush(struct dl_enc *e, struct tf_buf *out);
int messages_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
int messages_join_event(struct dl_enc *e, const struct dl_event *ev);
int messages_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
int messages_error_event(const struct dl_error *e, struct tf_buf *out);

/* ---- as it is (messages_raw.c) ----------------------------------------------------------- */

bool messages_raw_request_ok(const struct dl_head *h, uint32_t quirks);
int messages_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
    struct tf_buf *dropped);
bool messages_raw_answer_ok(const struct dl_head *h, uint32_t quirks);
struct dl_raw *messages_raw_new(const struct dl_enc_conf *conf);
void messages_raw_free(struct dl_raw **r);
int messages_raw_event(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
    size_t *text);
int messages_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
    struct dl_raw_answer *answer);
int messages_raw_end(struct dl_raw *r, enum dl_finish finish, const struct dl_usage *usage, struct tf_buf *out);

#endif
