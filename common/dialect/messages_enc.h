/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder's state, shared by its two halves: events (messages_enc.c) and whole answers
 * (messages_join.c). Private to this dialect.
 */
#ifndef TF_DIALECT_MESSAGES_ENC_H
#define TF_DIALECT_MESSAGES_ENC_H

#include "common/dialect/args.h"
#include "common/dialect/messages.h"

enum menc_block { MENC_NONE, MENC_TEXT, MENC_THINKING, MENC_TOOL };

struct menc_item {
	enum dl_item kind;
	bool hidden;  /* reasoning nobody asked for: billed, not shown */
	bool ended;
	bool begun;   /* its block was begun */
	bool object;  /* a call: its arguments begin as an object */
	struct dl_track track;
	struct tf_buf id, name;
	struct tf_buf signature; /* of reasoning, when the runtime gave one */
	struct tf_buf held; /* not given out yet; whole answers: all of it */
};

struct dl_enc {
	struct dl_enc_conf conf;
	bool started, ended, refused;
	bool counted;             /* the runtime has given usage */
	uint32_t hidden;          /* pieces since the client was last given anything */
	uint32_t nitem, cap, front; /* front: the first item that is not given out whole */
	struct menc_item *item;
	uint32_t item_open;       /* reasoning whose block is open */
	enum menc_block open;     /* the block that is open ... */
	uint32_t nblock;          /* ... is the last of these */
	struct tf_buf reasoning;  /* in the block that is open, to be signed */
	struct tf_buf blank;      /* white space in front of nothing */
	struct tf_buf scratch;
	struct dl_usage usage;
	enum dl_finish finish;
	struct tf_buf matched;    /* stop string */
};

/* NULL without memory, or when there is no such item. */
struct menc_item *menc_item(struct dl_enc *e, const struct dl_event *ev);
bool menc_is_blank(struct tf_span s);
/* The members of a tool_use block that name the call. */
void menc_call(struct dl_enc *e, uint32_t n, struct js_w *w);
/* Argument text as an object: raw JSON in *out, which may borrow from e->scratch. */
int menc_input(struct dl_enc *e, struct tf_span args, struct tf_span *out);
/* The signature of reasoning: the runtime's, or one of our own for the n-th block, which lies in `own`. */
struct tf_span menc_signature(const struct dl_enc *e, const struct menc_item *it, struct tf_span reasoning, uint32_t n,
    char own[static 64]);
/* Our own signature of reasoning, which is the n-th block: terminated. */
void messages_own_signature(const struct dl_enc_conf *conf, struct tf_span reasoning, uint32_t n, char out[static 64]);
/* Keeps the runtime's signature. 0 or TF_E_NOMEM. */
int menc_sign(struct dl_enc *e, const struct dl_event *ev);
const char *messages_stop_reason(enum dl_finish finish);
/* Members of the message up to and including stop_details; contents: raw. */
void menc_head(struct dl_enc *e, struct js_w *w);
void menc_stop(struct dl_enc *e, struct js_w *w);
void menc_usage(const struct dl_usage *u, uint64_t output, struct js_w *w);
/* Notes FINISH and USAGE, for both halves. */
int menc_note(struct dl_enc *e, const struct dl_event *ev);

#endif
