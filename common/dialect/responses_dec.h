/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder's state: a runtime's answer in the Responses API. Shared by its halves, events
 * (responses_dec.c) and items (responses_dec_items.c). Private to the openai_responses dialect.
 */
#ifndef TF_DIALECT_RESPONSES_DEC_H
#define TF_DIALECT_RESPONSES_DEC_H

#include "common/dialect/mend.h"
#include "common/dialect/responses.h"
#include "common/dialect/think.h"

#define RDEC_ITEMS 1024 /* items of an answer; further ones are left out */
#define RDEC_PARTS 256  /* parts of an item that are told apart */
#define RDEC_CALLS 128  /* the official Node client accepts indexes below 128 */

enum rdec_kind { RDEC_OTHER, RDEC_MESSAGE, RDEC_REASONING, RDEC_CALL };

/* Where characters belong. */
enum rdec_what { RDEC_TEXT, RDEC_REFUSAL, RDEC_THOUGHT, RDEC_SUMMARY };

struct rdec_part { /* a part of an item of which something was given out */
	enum rdec_what what;
	uint64_t index;
};

struct rdec_item {
	bool has_index, over;
	uint64_t index;      /* output_index */
	struct tf_buf id;
	enum rdec_kind kind;
	uint32_t nparts, cap;
	struct rdec_part *part;
	/* a call */
	enum dl_tool_kind tool;
	bool begun, left_out, ended, args; /* args: some were given out */
	uint32_t item;       /* its canonical number */
	struct tf_buf call_id, name;
	struct tf_buf early; /* arguments that came before the name was known */
};

/* One event of a stream, or what it stands for. Raw values; empty: absent. */
struct rdec_event {
	struct tf_span type, item_id, delta, text, refusal, arguments, input, name, logprobs;
	struct tf_span item, part, response; /* objects */
	bool has_index;
	uint64_t output_index, content_index, summary_index;
};

struct dl_dec {
	struct dl_dec_conf conf;
	struct tf_buf scratch, mended, quoted;
	struct dl_carry carry;
	struct tf_span json; /* the event being read, mended */
	bool passed;         /* events go out as they came, what is emitted is to be noted only */
	bool started, done, failed;
	bool said[4];        /* by enum rdec_what: some was given out */
	bool open;           /* the item said last is open: text, reasoning or refusal */
	enum dl_item open_kind;
	uint32_t open_item, nitem;
	uint32_t ncall;      /* begun */
	uint32_t count, cap;
	struct rdec_item *item;
	struct dl_think think;
	struct tf_span logprobs; /* of the text being given out */
};

static inline int
rdec_emit(struct dl_dec *d, struct dl_event *e)
{
	e->passed = d->passed;
	return d->conf.emit(d->conf.arg, e);
}
/* Text with broken UTF-8 is mended. 0: *json is an object; TF_E_INVAL, TF_E_FULL, TF_E_NOMEM. */
int rdec_parse(struct dl_dec *d, struct tf_span data, struct tf_span *json);
/* False when a response object has no counts. */
bool rdec_usage(struct tf_span response, struct dl_usage *u);
enum dl_finish rdec_finish(struct tf_span response, bool incomplete);

/* ---- items (responses_dec_items.c) -------------------------------------------------------- */

void rdec_items_free(struct dl_dec *d);
/* The item that an event is about, a new one where there is none. NULL: too many, or no memory. */
struct rdec_item *rdec_item_of(struct dl_dec *d, const struct rdec_event *e, enum rdec_kind kind);
enum rdec_kind rdec_kind_of(struct tf_span item);
/* Characters of a part; text: raw string. done: it is all of it, to be given out if no piece was. */
int rdec_say(struct dl_dec *d, struct rdec_item *it, enum rdec_what what, uint64_t index, struct tf_span text, bool done);
/* What an item object says of a call; then its arguments, a piece or all of them. */
int rdec_call(struct dl_dec *d, struct rdec_item *it, struct tf_span object);
int rdec_args(struct dl_dec *d, struct rdec_item *it, struct tf_span text, bool done);
/* A whole item: gives out what was not yet. */
int rdec_whole(struct dl_dec *d, struct rdec_item *it, struct tf_span object);
/* Ends all that is open. */
int rdec_close_all(struct dl_dec *d, bool cut);

/* ---- the vtable --------------------------------------------------------------------------- */

struct dl_dec *responses_dec_new(const struct dl_dec_conf *conf);
void responses_dec_free(struct dl_dec **d);
int responses_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data);
int responses_dec_response(struct dl_dec *d, struct tf_span body);
int responses_dec_end(struct dl_dec *d);
int responses_dec_cut(struct dl_dec *d);
enum dl_state responses_dec_state(const struct dl_dec *d);

/* ---- without translation (responses_raw.c) ------------------------------------------------- */

bool responses_raw_request_ok(const struct dl_head *h, uint32_t quirks);
int responses_raw_request(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
    struct tf_buf *dropped);
bool responses_raw_answer_ok(const struct dl_head *h, uint32_t quirks);
struct dl_raw *responses_raw_new(const struct dl_enc_conf *conf);
void responses_raw_free(struct dl_raw **r);
int responses_raw_event(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
    size_t *text);
int responses_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
    struct dl_raw_answer *answer);
int responses_raw_end(struct dl_raw *r, enum dl_finish finish, const struct dl_usage *usage, struct tf_buf *out);
void responses_raw_object(const struct dl_raw *r, size_t *from, size_t *to);

#endif
