/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the openai_chat dialect share. Private to this folder; chat_raw.c looks at the parsed
 * chunk and at the decoder's state, so that both ways through an answer are one.
 */
#ifndef TF_DIALECT_CHAT_H
#define TF_DIALECT_CHAT_H

#include "common/dialect/canon.h"
#include "common/dialect/field.h"
#include "common/dialect/mend.h"
#include "common/dialect/openai.h"
#include "common/dialect/think.h"

/* ---- the request ------------------------------------------------------------------------- */

enum chat_field {
#define FIELD(sym, path, types, low, high, class, flags, help) CHAT_##sym,
#include "common/dialect/fields_openai_chat.def"
#undef FIELD
	CHAT_FIELDS
};
extern const struct dl_fields chat_fields;
/* The row of a member at the top of a request; NULL when nobody modelled it. */
const struct dl_field *chat_field_by_name(struct tf_span name);

int chat_request_decode(struct tf_span body, struct dl_request *rq, struct dl_fault *f);
int chat_request_encode(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
    struct tf_buf *dropped, struct dl_fault *f);

/* ---- one chunk, or one whole answer, parsed ---------------------------------------------- */

/* One entry of choices. Spans are raw values; empty: absent, null or of a type that cannot be. */
struct chat_piece {
	bool has_index, is_delta, has_role;
	bool has_refusal, has_logprobs; /* the member is there, be it null */
	bool odd;                       /* both delta and message, an empty list of calls: not to be passed on as it is */
	uint32_t index;
	struct tf_span whole;
	struct tf_span body;      /* delta or message */
	struct tf_span content;   /* string or array */
	struct tf_span reasoning; /* reasoning_content, else reasoning; string */
	struct tf_span refusal;   /* string */
	struct tf_span calls;     /* array with entries */
	struct tf_span old_call;  /* object */
	struct tf_span finish;    /* string with characters */
	struct tf_span logprobs;  /* object */
	struct tf_span matched;   /* stop string that matched */
};

struct chat_extra {
	enum dl_level level;
	uint32_t piece;
	struct tf_span key, value;
};

#define CHAT_EXTRAS 64 /* members nobody modelled kept per chunk; more are left out */

struct chat_msg {
	bool bare; /* of the openai_completions dialect, set before parsing: text stands for content, there is no message */
	struct tf_span data;
	struct tf_span id, created, model, object, error; /* as above */
	struct tf_span usage, usage_key; /* object; usage_key is set for null too */
	bool choices;                    /* there is an array of that name */
	uint32_t npiece, cap;
	struct chat_piece *piece;
	uint32_t nextra;
	struct chat_extra extra[CHAT_EXTRAS];
};
int chat_msg_init(void);
void chat_msg_exit(void);
/* data is scanned; 0, TF_E_INVAL (not JSON, or no object), TF_E_FULL, TF_E_NOMEM. m is reused. */
int chat_msg_parse(struct chat_msg *m, struct tf_span data) TF_MUSTCHECK;
void chat_msg_fini(struct chat_msg *m);
/* As chat_msg_parse into d->msg; text with broken UTF-8 is mended first. data of the message may be d->mended. */
int chat_dec_parse(struct dl_dec *d, struct tf_span data) TF_MUSTCHECK;

/* ---- the decoder ------------------------------------------------------------------------- */

struct chat_call {
	uint32_t index;     /* the runtime's */
	uint32_t item;
	bool begun, left_out;
	enum dl_tool_kind tool;
	struct tf_buf id, name;
	struct tf_buf early; /* arguments that came before the name was complete */
};

struct chat_choice {
	bool used, finished, said; /* said: anything but an empty role */
	bool open;                 /* the item said last is open: text, reasoning or refusal */
	enum dl_item open_kind;
	uint32_t open_item, nitem;
	uint32_t ncall, callcap;
	struct chat_call *call;
	struct dl_think think;
};

struct dl_dec {
	struct dl_dec_conf conf;
	struct chat_msg msg;
	struct tf_buf scratch;
	struct tf_buf mended; /* an event whose UTF-8 was broken */
	struct dl_carry carry;
	bool started, done, failed;
	uint32_t nchoice;
	struct chat_choice *choice;
	uint32_t current; /* choice that the think callback belongs to */
	struct tf_span logprobs;
};

struct dl_dec *chat_dec_new(const struct dl_dec_conf *conf);
/* The same of the openai_completions dialect, whose answers differ in no more than the names of a few members. */
struct dl_dec *chat_dec_new_bare(const struct dl_dec_conf *conf);
void chat_dec_free(struct dl_dec **d);
int chat_dec_event(struct dl_dec *d, struct tf_span event, struct tf_span data);
int chat_dec_response(struct dl_dec *d, struct tf_span body);
int chat_dec_end(struct dl_dec *d);
int chat_dec_cut(struct dl_dec *d);
enum dl_state chat_dec_state(const struct dl_dec *d);
/* The second half of chat_dec_event: d->msg is parsed. */
int chat_dec_msg(struct dl_dec *d);
/* NULL when n is too high or without memory. */
struct chat_choice *chat_dec_choice(struct dl_dec *d, uint32_t n);

/* ---- calls (chat_calls.c) ---------------------------------------------------------------- */

int chat_calls(struct dl_dec *d, uint32_t n, struct tf_span calls);
int chat_old_call(struct dl_dec *d, uint32_t n, struct tf_span call);
/* Begins what has not begun and ends all. */
int chat_calls_end(struct dl_dec *d, uint32_t n);
void chat_calls_free(struct chat_choice *c);
/* Ends an open text, reasoning or refusal. */
int chat_close(struct dl_dec *d, uint32_t n);

/* ---- the encoder ------------------------------------------------------------------------- */

struct dl_enc *chat_enc_new(const struct dl_enc_conf *conf);
void chat_enc_free(struct dl_enc **e);
int chat_enc_event(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out);
int chat_enc_flush(struct dl_enc *e, struct tf_buf *out);
int chat_enc_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
int chat_join_event(struct dl_enc *e, const struct dl_event *ev);
int chat_join_end(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
int chat_error_event(const struct dl_error *e, struct tf_buf *out);

/* ---- as it is (chat_raw.c) --------------------------------------------------------------- */

bool chat_raw_request_ok(const struct dl_head *h, uint32_t quirks);
bool chat_raw_answer_ok(const struct dl_head *h, uint32_t quirks);
struct dl_raw *chat_raw_new(const struct dl_enc_conf *conf);
void chat_raw_free(struct dl_raw **r);
int chat_raw_event(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
    size_t *text);
int chat_raw_response(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
    struct dl_raw_answer *answer);

#endif
