/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt, between its files: xlate.c (its life, the request), xlate_facts.c (what is known of the answer, and
 * its events on their way to the client), xlate_answer.c (the runtime's bytes). Private to them.
 */
#ifndef TF_DIALECT_XLATE_H
#define TF_DIALECT_XLATE_H

#include "common/dialect/canon.h"
#include "common/dialect/plain.h"
#include "common/dialect/recall.h"
#include "common/dialect/sse.h"
#include "common/dialect/stop.h"
#include "common/dialect/undo.h"

enum xlate_mode { MODE_NONE, MODE_SNIFF, MODE_EVENTS, MODE_JSON, MODE_ERROR };

struct dl_xlate {
	struct dl_xlate_conf conf;
	struct dl_head head;
	struct tf_buf asked, model, content_type, base_url, kept, dropped, recalled, recall_model;
	const struct dl_ops *surface, *runtime;
	const struct dl_ops *answer; /* the surface, as answers have it */
	struct dl_facts facts;
	struct dl_run *run; /* of a surface without turns, which does it all */

	/* the answer being read */
	enum xlate_mode mode;
	int status;
	uint32_t retry_after_s;
	bool given; /* bytes of it went out */
	bool known; /* the runtime gave usage */
	uint64_t echoed; /* bytes of text that may still be the prompt, said again */
	bool prompt_known;       /* it gave that of the prompt, ... */
	struct dl_usage prompt;  /* ... which is this */
	struct dl_sse sse;
	struct tf_buf body;
	struct dl_undo *undo; /* what the runtime was told otherwise; NULL: nothing */
	struct dl_stop *stop; /* strings that the runtime was not told of; NULL: none */
	struct dl_recall *recall; /* NULL: nobody wants reasoning back */
	struct dl_dec *dec;
	struct dl_enc *enc;
	struct dl_raw *raw; /* NULL: answers are decoded and encoded */
	bool said;          /* what was passed on last says something */
	enum dl_finish finish; /* of the first answer */
	struct dl_grammar grammar;
	struct tf_buf *out;        /* of the call in progress */
	uint64_t counted, thought; /* tokens as counted here: text and calls, reasoning */
};

/* Do both ends speak it, so that bytes may pass? */
bool xlate_same(const struct dl_xlate *x);
/* Frees what belongs to the answer alone. */
void xlate_drop_answer(struct dl_xlate *x);

/* An event for the encoder; of the decoder itself or of the search for stop strings. arg: the attempt. */
dl_emit_fn xlate_event;
/* An event of the decoder, and one in which the client's words are restored. arg: the attempt. */
dl_emit_fn xlate_decoded, xlate_restored;
/* A server-sent event of the runtime. As dl_sse_fn. */
int xlate_sse(void *arg, struct tf_span event, struct tf_span data);
/* Usage as the client and the ledger get it by now. */
void xlate_usage(struct dl_xlate *x);
/* The first fault counts. */
void xlate_fail(struct dl_xlate *x, const struct dl_fault *f);
/* The answer cannot be read; elsewhere it may. */
void xlate_unreadable(struct dl_xlate *x);
/* All is said: usage, end mark, or the whole answer of a client that waits for it. 0 or TF_E_NOMEM. */
int xlate_complete(struct dl_xlate *x);

#endif
