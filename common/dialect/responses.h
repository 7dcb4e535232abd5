/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the openai_responses dialect share. Private to this folder.
 */
#ifndef TF_DIALECT_RESPONSES_H
#define TF_DIALECT_RESPONSES_H

#include "common/dialect/canon.h"
#include "common/dialect/field.h"

/* ---- the request ------------------------------------------------------------------------- */

enum responses_field {
#define FIELD(sym, path, types, low, high, class, flags, help) RESPONSES_##sym,
#include "common/dialect/fields_openai_responses.def"
#undef FIELD
	RESPONSES_FIELDS
};
extern const struct dl_fields responses_fields;
/* Of a value between RESPONSES_ITEM and RESPONSES_MORE_TOOLS; as dl_fields.value (responses_scan_items.c). */
int responses_scan_item(struct dl_scan *s, const struct dl_value *v);

/* What an item of `input` is. */
enum responses_item {
	RESPONSES_IS_MESSAGE,
	RESPONSES_IS_CALL,
	RESPONSES_IS_CALL_OUTPUT,
	RESPONSES_IS_CUSTOM,
	RESPONSES_IS_CUSTOM_OUTPUT,
	RESPONSES_IS_REASONING,
	RESPONSES_IS_REFERENCE,
	RESPONSES_IS_MORE_TOOLS,
	RESPONSES_IS_SHELL,        /* local_shell_call, shell_call, apply_patch_call: run by the client all the same */
	RESPONSES_IS_SHELL_OUTPUT,
	RESPONSES_IS_HOSTED,       /* what a provider did: nothing to be done with it here */
	RESPONSES_IS_UNKNOWN,
};
/* item: the whole object. */
enum responses_item responses_item_kind(struct tf_span item);

/* A tool by its type. */
enum responses_tool { RESPONSES_TOOL_FUNCTION, RESPONSES_TOOL_CUSTOM, RESPONSES_TOOL_SPACE, RESPONSES_TOOL_HOSTED };
/* type: the member's text, raw. */
enum responses_tool responses_tool_kind(struct tf_span type);

/* One tool that the client declares, wherever. name, space: raw strings; space: the namespace it is in, or empty. */
struct responses_decl {
	enum responses_tool kind; /* FUNCTION or CUSTOM */
	struct tf_span space, name, whole;
};
/* 0 goes on; anything else ends it and is returned. */
typedef int responses_decl_fn(void *arg, const struct responses_decl *d);
int responses_each_tool(struct tf_span list, responses_decl_fn *fn, void *arg);
/* Appends the name that runtimes know a tool by: at most 64 letters, digits, '_' and '-'. Characters, not raw. */
int responses_flat(struct tf_span space, struct tf_span name, struct tf_buf *out);
int responses_flat_name(struct dl_request *rq, struct tf_span space, struct tf_span name, struct tf_span *out);

int responses_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f);
/* Does the request ask for that to be part of the answer? */
bool responses_includes(struct tf_span body, const char *what);
/* Tools and the choice among them (responses_tools.c). */
int responses_tools(struct dl_request *rq, struct tf_span body, struct dl_fault *f);
/* The conversation (responses_items.c). instructions, list: raw, may be empty. */
int responses_items(struct dl_request *rq, struct tf_span instructions, struct tf_span list, struct dl_fault *f);
/*
 * What is sealed of reasoning that came with a signature of its API, and the two apart again; text without a signature
 * is itself. Pack appends; 0 or TF_E_NOMEM.
 */
int responses_pack(struct tf_span signature, struct tf_span text, struct tf_buf *out);
void responses_unpack(struct tf_span packed, struct tf_span *signature, struct tf_span *text);
/* What the encoder needs of a request: the members to echo, tools, how reasoning is shown. */
int responses_keep(struct tf_span body, const struct dl_head *h, struct tf_buf *out);

/* ---- the answer -------------------------------------------------------------------------- */

/* Seconds since 1970 at which a request came, which its answer says it was created. */
int64_t responses_created(const struct tf_id *rid);
struct dl_enc *responses_enc_new(const struct dl_enc_conf *conf);
void responses_enc_free(struct dl_enc **e);
int responses_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out);
int responses_enc_flush(struct dl_enc *e, struct tf_buf *out);
int responses_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
int responses_join_event(struct dl_enc *e, const struct dl_event *ev);
int responses_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
void responses_object(const struct dl_enc *e, size_t *from, size_t *to);
int responses_error_event(const struct dl_error *e, struct tf_buf *out);
uint64_t responses_sequence(struct tf_span given);

#endif
