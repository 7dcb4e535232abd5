/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoder's state, shared by its two halves: events (responses_enc.c) and the response object, which whole
 * answers consist of (responses_join.c). Private to this dialect.
 */
#ifndef TF_DIALECT_RESPONSES_ENC_H
#define TF_DIALECT_RESPONSES_ENC_H

#include "common/dialect/args.h"
#include "common/dialect/responses.h"

struct renc_item {
	enum dl_item kind;
	bool custom;          /* a call of a tool that takes text */
	bool plain;           /* whose text the runtime gives as it is */
	bool ended;           /* nothing more comes */
	bool begun;           /* it has its place in the answer ... */
	uint32_t output;      /* ... which is this */
	char id[64];          /* from then on */
	struct tf_buf delta[2]; /* what all its deltas say in front of and behind the number */
	bool cut;             /* the answer ended inside of it */
	struct dl_track track;
	struct dl_unwrap unwrap;
	struct tf_buf call_id;
	struct tf_buf name, space; /* as the client declared it: raw strings; space empty: none */
	struct tf_buf held;   /* not given out yet */
	struct tf_buf all;    /* all that was given out */
	struct tf_buf logprobs; /* elements, comma separated */
	struct tf_buf signature; /* of reasoning, when the runtime gave one */
	struct tf_buf sealed; /* reasoning, for the client to bring back */
};

struct dl_enc {
	struct dl_enc_conf conf;
	char id[64];
	int64_t created;
	uint64_t sequence;
	struct tf_span echo;      /* members of the response object that the request decides; raw, without braces */
	struct tf_span tools[2];  /* raw lists: the tools of the request, those that items brought (a list of lists) */
	bool seal;                /* reasoning is given sealed too */
	bool summary, logprobs;   /* reasoning is shown as a summary; logprobs were asked for */
	bool started, finished, ended;
	struct dl_usage usage;
	enum dl_finish finish;
	uint32_t nitem, cap, front; /* front: the first item that is not given out whole */
	struct renc_item *item;
	uint32_t noutput;
	struct tf_buf scratch;
	struct tf_buf blank;      /* white space in front of nothing */
	size_t object, object_end; /* of the finished response object in the bytes given last */
};

/* NULL without memory, or when there is no such item. */
struct renc_item *renc_item(struct dl_enc *e, const struct dl_event *ev);
/*
 * Takes what an event brings and gives out what may be given: with out NULL into the items only (whole answers), else
 * also as events.
 */
int renc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out);
/* No further event: what is open is closed, an answer of nothing becomes an empty text. */
int renc_finish(struct dl_enc *e, enum dl_finish finish, struct tf_buf *out);

/* The item has its place: it gets its id. */
void renc_item_place(struct dl_enc *e, struct renc_item *it);
/* Values of the response object. done false: as it begins, without content. */
void renc_item_object(struct dl_enc *e, const struct renc_item *it, bool done, struct js_w *w);
void renc_part_object(const struct dl_enc *e, const struct renc_item *it, bool done, struct js_w *w);
/* usage NULL: the answer is in progress. */
void renc_response(struct dl_enc *e, const struct dl_usage *usage, struct js_w *w);
/* Member usage. */
void renc_usage(const struct dl_usage *u, struct js_w *w);
/* "completed", "incomplete": how the answer ended. */
const char *renc_status(const struct dl_enc *e);

#endif
