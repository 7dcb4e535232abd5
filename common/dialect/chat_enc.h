/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder's state, shared by its two halves: chunks (chat_enc.c) and whole answers (chat_join.c).
 */
#ifndef TF_DIALECT_CHAT_ENC_H
#define TF_DIALECT_CHAT_ENC_H

#include "common/dialect/chat.h"

struct enc_item {
	enum dl_item kind;
	enum dl_tool_kind tool;
	uint32_t call;           /* running number among the calls of its choice */
	bool args;               /* some were given */
	bool held, over;         /* a call that waits until those before it are over; it is complete itself */
	struct tf_buf signature; /* of reasoning, when the runtime gave one */
	struct tf_buf id, name;  /* whole answers, held: of a call */
	struct tf_buf text;      /* whole answers, held: of a call its arguments; where it may be signed: of reasoning */
};

struct enc_choice {
	bool role;               /* the role was sent */
	uint32_t nitem, cap, ncall;
	uint32_t nsigned;        /* details of reasoning that were given */
	struct enc_item *item;
	bool calling;            /* a call is open: helpers of clients end it where the next one begins */
	enum dl_finish finish;
	struct tf_buf logprobs;  /* whole answers: elements, comma separated */
	struct tf_buf raw[2];    /* members for the next chunk, or of the whole: of the choice, of the message */
};

struct dl_enc {
	struct dl_enc_conf conf;
	bool started, ended;
	struct tf_buf id;        /* characters */
	int64_t created;
	struct tf_buf head;      /* every chunk begins with it */
	struct tf_buf top;       /* further members at the top, of the last event that had any */
	bool top_old;            /* they are not of the event being encoded */
	struct tf_buf usage;     /* the runtime's own object, when it is sound */
	struct dl_usage counts;
	uint32_t nchoice;
	struct enc_choice *choice;
};

#define CHAT_ID_MAX 256 /* bytes of a runtime's id that is passed on */

/* Appends the id that the client gets for the runtime's: that one, or one of ours when it is none, too long or of another API. */
int chat_answer_id(struct tf_span id, const struct tf_id *rid, struct tf_buf *out);
int chat_enc_start(struct dl_enc *e, const struct dl_event *ev);
struct enc_choice *chat_enc_choice(struct dl_enc *e, uint32_t n);
int chat_enc_item(struct dl_enc *e, const struct dl_event *ev, struct enc_choice **c, struct enc_item **item);
int chat_enc_usage(struct dl_enc *e, const struct dl_event *ev);
/* A member nobody modelled, if it is to be passed on, waits for the next chunk of its choice, or for the whole answer. */
int chat_raw_keep(struct dl_enc *e, const struct dl_event *ev);
/* Appends the usage object: the runtime's when it agrees with the counts, else one of our own. */
int chat_usage_write(const struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
/*
 * The object in which signed reasoning reaches clients that bring it back (the member reasoning_details of OpenRouter's
 * API reference, type reasoning.text): the n-th of its choice.
 */
void chat_detail(const struct enc_item *item, uint32_t n, struct js_w *w);
const char *chat_finish_text(const struct dl_enc *e, enum dl_finish finish);

#endif
