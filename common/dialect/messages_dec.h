/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decoder's state: a runtime's answer in the anthropic_messages dialect. Private to this dialect.
 */
#ifndef TF_DIALECT_MESSAGES_DEC_H
#define TF_DIALECT_MESSAGES_DEC_H

#include "common/dialect/mend.h"
#include "common/dialect/messages.h"

enum mdec_kind { MDEC_TEXT, MDEC_THINKING, MDEC_CALL, MDEC_OTHER };

struct mdec_block { /* one that has begun and not stopped */
	uint64_t index;
	enum mdec_kind kind;
	uint32_t item;       /* CALL */
	bool args;           /* CALL: a piece of its input came */
	struct tf_buf input; /* CALL: what it began with, raw; nothing when that is empty */
};

struct mdec_usage { /* as the runtime counts: the input disjoint, the output with its thinking */
	bool some;
	uint64_t input, read, write, output, thinking;
};

struct dl_dec {
	struct dl_dec_conf conf;
	struct tf_buf scratch, mended;
	struct dl_carry carry;
	bool started, finished, done, failed;
	bool passed;         /* the events' bytes go out as they came */
	bool said;           /* an item is open that is no call ... */
	enum dl_item kind;   /* ... of this kind ... */
	uint32_t item;       /* ... and number */
	uint32_t nitem, ncall;
	uint32_t nblock, cap;
	struct mdec_block *block;
	struct tf_map ids;   /* of calls ... */
	struct dl_arena arena; /* ... whose texts are here */
	struct mdec_usage usage;
};

/* Clean JSON text of data in *out, which may lie in d. 0, TF_E_INVAL, TF_E_NOMEM. */
int messages_dec_parse(struct dl_dec *d, struct tf_span data, struct tf_span *out);
/* An event of that type, parsed. As dec_event. */
int messages_dec_apply(struct dl_dec *d, struct tf_span type, struct tf_span data);
/* The counts of a message. False: there are none. */
bool messages_dec_usage(struct tf_span message, struct dl_usage *usage);
/* A stop_reason, raw. NONE: the answer is none that could be given to anybody. */
enum dl_finish messages_finish(struct tf_span text);

struct dl_dec *messages_dec_new(const struct dl_dec_conf *conf);
void messages_dec_free(struct dl_dec **d);
int messages_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data);
int messages_dec_response(struct dl_dec *d, struct tf_span body);
int messages_dec_end(struct dl_dec *d);
int messages_dec_cut(struct dl_dec *d);
enum dl_state messages_dec_state(const struct dl_dec *d);

#endif
