/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/dialect: the APIs that clients and runtimes speak. gatewayd uses the upper half: the scan
 * of a request (validation and the facts it needs), error envelopes, pings. workerd uses dl_xlate:
 * one object per attempt that turns the client's request into the runtime's and the runtime's
 * answer into the client's, untouched where the two agree. Buffers in, buffers out: knows nothing
 * of sockets, HTTP, messages or money. Never keeps what it is given beyond what is said here.
 */
#ifndef TF_DIALECT_H
#define TF_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/base.h"
#include "common/dialect/form.h"
#include "common/json/json.h"

/* ---- tables ------------------------------------------------------------------------------ */

/* Version of the tables in this folder, for READY.dialects. Raised when a dialect is added. */
#define DL_TABLE_VERSION 3

enum dl_family { DL_FAMILY_OPENAI, DL_FAMILY_ANTHROPIC };

enum dl_dialect {
	DL_NONE = 0,
#define DIALECT(sym, number, name, family, path, ops) DL_##sym = number,
#include "common/dialect/dialect.def"
#undef DIALECT
	DL_DIALECT_END
};

/* Once per process, before anything else here; from one thread. 0 or TF_E_NOMEM. */
int dl_init(void) TF_MUSTCHECK;
void dl_fini(void);

/* DL_NONE when there is none of that name. */
enum dl_dialect dl_dialect_by_name(struct tf_span name);
const char *dl_dialect_name(enum dl_dialect d); /* "openai_chat"; "" for DL_NONE */
const char *dl_dialect_path(enum dl_dialect d); /* "/chat/completions": append to the base URL, which ends in /v1 */
enum dl_family dl_dialect_family(enum dl_dialect d);
/* A surface of one exchange: nothing is generated token by token, so no output is to be reserved. */
bool dl_dialect_plain(enum dl_dialect d);
bool dl_dialect_form(enum dl_dialect d); /* requests of this surface may be forms (multipart/form-data) ... */
bool dl_dialect_json(enum dl_dialect d); /* ... or JSON */

/* Needs of a request, capabilities of a model: DL_NEED_* bits (need.def). */
enum {
#define NEED(sym, bit, how, capability, param, sentence) DL_NEED_##sym = 1u << (bit),
#include "common/dialect/need.def"
#undef NEED
};
/* Bits that a capability name of the catalogue satisfies; 0 for a name without meaning here. */
uint32_t dl_need_by_capability(struct tf_span name);
/* Bits that every model satisfies. Union of all bits of its capabilities and this = what a model can. */
uint32_t dl_need_always(void);

/* Quirks of a runtime: DL_Q_* bits (quirk.def). */
enum {
#define QUIRK(sym, bit, name, help) DL_Q_##sym = 1u << (bit),
#include "common/dialect/quirk.def"
#undef QUIRK
};
/* Quirks that a runtime-kind starts with. TF_E_NOENT. */
int dl_quirk_kind(struct tf_span kind, uint32_t *quirks) TF_MUSTCHECK;
/* Applies one word of `quirks =`: "name" sets, "-name" clears. TF_E_NOENT for an unknown name. */
int dl_quirk_apply(struct tf_span word, uint32_t *quirks) TF_MUSTCHECK;
const char *dl_quirk_name(unsigned bit); /* NULL beyond the last */

/* ---- faults and errors ------------------------------------------------------------------- */

#define DL_PARAM_MAX 96
#define DL_MESSAGE_MAX 512

/* A refusal as a value. err 0: none. Texts are terminated, clean UTF-8, fit for the caller. */
struct dl_fault {
	int err;                    /* positive code of err.def */
	bool retryable;             /* the runtime's fault: another attempt, elsewhere, may do */
	bool too_long;              /* prompt and output exceed the model's context: tokens of the prompt, of the output */
	uint64_t tokens, output, context; /* asked for, and of the context, as far as the runtime said; else 0 */
	uint32_t retry_after_s;     /* as the runtime said; 0: it did not */
	char param[DL_PARAM_MAX];   /* "" : none */
	char message[DL_MESSAGE_MAX]; /* "" : the row's sentence */
};
/* Sets *f (all of it). fmt NULL: the row's sentence. */
void dl_fault_set(struct dl_fault *f, int err, const char *param, const char *fmt, ...) TF_PRINTF(4, 5);

struct dl_error {
	int err;                 /* positive code of err.def; anything else reads as SERVER_ERROR */
	struct tf_span message;  /* empty: the row's sentence */
	struct tf_span param;    /* empty: null */
	struct tf_span extra;    /* further members of the error object, JSON text: "resets_at":17 ; may be empty */
	const struct tf_id *rid; /* Anthropic envelopes carry it; may be NULL */
	struct tf_span model;    /* events of Responses: as the client wrote it */
	uint64_t sequence;       /* the same: of the next event, see dl_sequence() */
};
/* Appends the error body of a family. 0 or TF_E_NOMEM. */
int dl_error_json(enum dl_family family, const struct dl_error *e, struct tf_buf *out);
/* Appends the same as an event of a stream that has begun; nothing must follow it. */
int dl_error_event(enum dl_dialect surface, const struct dl_error *e, struct tf_buf *out);
/*
 * given: whole events of a stream as they went to the client. The number of the event that would follow, for
 * dl_error.sequence; 0 where events have none.
 */
uint64_t dl_sequence(enum dl_dialect surface, struct tf_span given);
/* The bytes that keep a silent stream of this surface alive; may go wherever facts.boundary says. */
struct tf_span dl_ping(enum dl_dialect surface);

/* ---- the gateway's scan of a request ----------------------------------------------------- */

#define DL_MODEL_MAX 256   /* longest model name, bytes */
#define DL_MEMBERS_MAX 32  /* members of the body to take away, at most */
#define DL_PREFIX_MAX 32   /* prefix hashes kept */
#define DL_BODY_MAX 0x7fffffffu
#define DL_OUTPUT_MAX 0x7fffffffu /* largest output cap accepted, tokens */

struct dl_range { /* bytes of the body; end 0: absent */
	uint32_t start, end;
};

enum dl_why {
	DL_WHY_DENIED = 1, /* never passed on: would reach into the runtime */
	DL_WHY_HOSTED,     /* only hosted providers know it: without effect elsewhere */
	DL_WHY_EMPTY,      /* says nothing (an empty list) but some runtimes refuse it */
};
struct dl_member {
	enum dl_why why;
	struct dl_range at; /* from the name's quote to behind the value */
};

enum {
	DL_HEAD_LEGACY = 1,    /* functions or function_call: must be rewritten */
	DL_HEAD_DEVELOPER = 2, /* a message has the role developer */
	DL_HEAD_REASONING = 4, /* a message carries earlier reasoning */
	DL_HEAD_METADATA = 8,  /* metadata is to be echoed */
	DL_HEAD_ONE_CALL = 16, /* parallel_tool_calls is false */
	DL_HEAD_ALLOWED = 32,  /* tool_choice is a list of allowed tools */
	DL_HEAD_EFFORT = 64,   /* reasoning_effort is said ... */
	DL_HEAD_NO_EFFORT = 128, /* ... and is none or minimal */
	DL_HEAD_TEMPLATE = 256, /* chat_template_kwargs are given */
	DL_HEAD_THINKING = 512, /* reasoning is to be shown, where that has to be asked for */
	DL_HEAD_ECHO = 16384,  /* the prompt stands before the answer */
	DL_HEAD_NAMED = 2048,   /* tool_choice is an object */
	DL_HEAD_CHAT_ANSWER = 4096, /* the answer has the form of chat completions, whatever the request's */
	DL_HEAD_KEEP = 8192,    /* set by the gateway: the answer is kept, and says so */
	DL_HEAD_COUNT = 65536,  /* set by the gateway: the tokens of the prompt are asked for, not an answer */
	DL_HEAD_STOPS = 32768,  /* more stop strings than hosted providers take */
	DL_HEAD_GUESSED = 131072, /* audio_ms is judged by size: the container does not say it */
	DL_HEAD_CUSTOM = 262144, /* there are custom tools, or calls of them: not every runtime knows those */
	DL_HEAD_BLIND = 1024,   /* set by the gateway: the model takes no images, those in results become words */
};

/* What the gateway found. Plain data: may be copied. */
struct dl_head {
	enum dl_dialect surface;
	uint32_t body_len;
	uint16_t model_len;
	char model[DL_MODEL_MAX + 1]; /* as the client wrote it, escapes undone, terminated */
	bool stream;                  /* the client wants events */
	bool include_usage;           /* and a usage chunk */
	uint32_t flags;               /* DL_HEAD_* */
	uint32_t needs;               /* DL_NEED_* */
	uint32_t n;                   /* answers wanted, 1..128 */
	uint64_t max_output;          /* tokens per answer, reasoning included; 0: not said */
	uint64_t prompt_bytes;        /* upper bound of the prompt's tokens, without template overhead and media */
	uint32_t messages, tools;     /* how many */
	uint32_t images, audios, files;
	uint64_t audio_ms;            /* of recordings to be heard, at most DL_MEDIA_MS_MAX; 0: none */
	uint64_t characters;          /* to be spoken: Unicode code points */
	uint64_t affinity;            /* hash of the client's cache key; 0: none given */

	struct dl_range root;           /* the object itself */
	struct dl_range model_at;       /* values */
	struct dl_range stream_at;
	struct dl_range max_completion, max_tokens, options; /* members, from the name's quote */
	uint32_t nmember;
	struct dl_member member[DL_MEMBERS_MAX];
};

/* The dialect that an answer has; the request's, but for clients that mix two. */
enum dl_dialect dl_answer_dialect(const struct dl_head *h);

/*
 * For DISPATCH.head. Encode appends; 0 or TF_E_NOMEM. Decode takes bytes from a peer: every range
 * is checked against body_len and the surface against the table. TF_E_INVAL.
 */
int dl_head_encode(const struct dl_head *h, struct tf_buf *out) TF_MUSTCHECK;
int dl_head_decode(struct tf_span bytes, uint64_t body_len, struct dl_head *h) TF_MUSTCHECK;

struct dl_scan_chat { /* what the scan of a chat body remembers; its own */
	uint32_t seen;             /* CHAT_SEEN_* of the body */
	uint8_t role;              /* of the message, part, call or tool being read */
	uint8_t content;           /* enum js_type of its content */
	uint8_t bits;              /* CHAT_BIT_* of what it has */
	uint64_t max_completion, max_tokens;
	struct dl_range tools, choice, choice_member, parallel_member;
};

struct dl_scan_messages { /* the same of a messages body */
	uint32_t seen;          /* MESSAGES_SEEN_* of the body */
	uint8_t role;           /* of the message being read */
	bool content;           /* it has content */
	uint16_t bits;          /* MESSAGES_BIT_* of the block or tool being read */
	uint16_t nested;        /* the same of a block inside a result */
	uint8_t choice;         /* of tool_choice: enum messages_choice */
	size_t data, nested_data; /* bytes of its source's data */
	struct dl_range tools, choice_name;
};

#define DL_REFS_MAX 256 /* references to kept items in a request, at most */

/* The same of a responses body; the first half is also for the gateway. */
struct dl_scan_responses {
	struct dl_range previous; /* previous_response_id, the string; absent: none */
	struct dl_range input;    /* its value, a string or an array; absent: none */
	bool store;               /* the client wants the answer kept, which is the default */
	bool background;
	bool begun;               /* input is there, or begins */
	uint32_t nref;
	struct dl_range ref[DL_REFS_MAX]; /* items of `input` that are references: the whole object */

	uint32_t seen;         /* RESPONSES_SEEN_* of the body */
	uint32_t bits, part;   /* BIT_* and PART_* of the item or tool and of the part being read */
	uint8_t kind;          /* enum responses_item of the item */
	uint8_t choice;        /* of tool_choice: enum responses_choice */
	bool more_tools;       /* an item brings tools */
	struct dl_range tools, choice_value, instructions;
};

struct dl_scan_completions { /* the same of a completions body */
	uint8_t seen, holds;    /* its own */
	uint32_t prompts;
	uint64_t tokens;        /* token ids in the prompt */
	uint64_t max_tokens, n, best_of;
};

struct dl_scan_plain { /* the same of a surface without turns */
	uint32_t seen;   /* bits of the surface's own */
	uint8_t kind;    /* enum js_type of the first entry of a list */
	uint64_t tokens; /* ids in it */
	uint64_t query;  /* bytes of the text that goes with each entry */
};

#define DL_FORM_FIELDS_MAX 32 /* fields that a surface knows of its forms */

struct dl_scan_audio { /* the same of a form with a recording, and of a text to be spoken */
	struct dl_range voice; /* for the gateway: the JSON string that names it; absent: none */
	struct dl_range file;
	char extension[8]; /* of its filename, lower case; "": none */
	uint8_t format;    /* enum dl_transcript_format */
};

struct dl_scan_image { /* the same of what asks for images, for the gateway; in a form bare text, else the JSON string */
	struct dl_range size, quality; /* absent: not said */
};

/* Of which of two APIs a body is, where clients send either and await an answer of chat completions. */
enum dl_mixed {
	DL_MIXED_NO,        /* that is settled */
	DL_MIXED_CHAT,      /* chat, as far as can be seen */
	DL_MIXED_RESPONSES, /* Responses, as far as can be seen */
};

/*
 * One pass over a body as it arrives. On any refusal `fault` says which. After dl_scan_end() gave 0
 * `head` and `prefix` are complete. No allocation; about 5 KB.
 */
struct dl_scan {
	struct js_scan js;
	struct dl_head head;
	struct dl_fault fault;
	uint64_t prefix[DL_PREFIX_MAX]; /* hashes of growing prefixes: tools and messages 1..k */
	uint32_t nprefix;
	const char *text;               /* of the feed in progress */
	uint64_t chain;                 /* hash of the messages so far */
	const struct dl_fields *fields;
	enum dl_mixed mixed;
	unsigned depth;                 /* limits as given */
	uint32_t nodes;
	bool count;                     /* the caller's, behind init: tokens are to be counted only, so no cap is required */
	struct dl_scan_chat chat;
	struct dl_scan_messages messages;
	struct dl_scan_responses responses;
	struct dl_scan_completions completions;
	struct dl_scan_plain plain;
	struct dl_scan_audio audio;
	struct dl_scan_image image;
	bool is_form;                   /* the body is a form, not JSON */
	struct dl_form_reader form;
	const struct dl_form_rows *rows;
	uint16_t form_seen[DL_FORM_FIELDS_MAX]; /* parts of each row */
};
/* depth and nodes: limits of the JSON text; 0 keeps the defaults of common/json. */
void dl_scan_init(struct dl_scan *s, enum dl_dialect surface, unsigned depth, uint32_t nodes);
/*
 * Behind init, when the body is a form: content_type is its header's value. Only for surfaces that take forms. 0, or
 * TF_E_INVAL: refused, as by dl_scan_feed().
 */
int dl_scan_form(struct dl_scan *s, struct tf_span content_type) TF_MUSTCHECK;
/*
 * text[0..len): the body so far, from its first byte (it may have moved). 0, or TF_E_INVAL when
 * the request is refused (fault is set; sticky).
 */
int dl_scan_feed(struct dl_scan *s, const char *text, size_t len) TF_MUSTCHECK;
int dl_scan_end(struct dl_scan *s, const char *text, size_t len) TF_MUSTCHECK;
/*
 * Tokens of the prompt without its tokenizer: 3.5 bytes a token, of text and tools. Code and tables may have
 * half as many again.
 */
static inline uint64_t
dl_prompt_estimate(const struct dl_head *h)
{
	return (h->prompt_bytes * 2 + 6) / 7;
}
/*
 * Is something needed that a model cannot? Then *f (400, param as that surface calls it) and TF_E_INVAL. model is
 * for the message.
 */
int dl_need_check(enum dl_dialect surface, uint32_t needs, uint32_t can, struct tf_span model,
    struct dl_fault *f) TF_MUSTCHECK;

/*
 * Beside DL_NEED_* in what a worker says that its model can: its runtime wants the reasoning back that led to earlier
 * calls, so what dl_recall_names() names is to be fetched and handed to it.
 */
#define DL_LIVE_RECALL (UINT64_C(1) << 31)
bool dl_recall_wanted(enum dl_dialect runtime, uint32_t quirks);
#define DL_RECALL_NAME 64          /* characters of a name */
#define DL_RECALL_TURNS 16         /* names of a request, at most */
#define DL_RECALL_MAX (128u << 10) /* bytes of the reasoning of one turn; longer is not kept */
#define DL_RECALL_ALL (256u << 10) /* bytes of what one request gets back */
/* Appends the names, one behind the other, the latest turn's first. body: accepted by a scan. 0 or TF_E_NOMEM. */
int dl_recall_names(enum dl_dialect surface, struct tf_span body, struct tf_buf *out) TF_MUSTCHECK;

/* ---- one attempt, for workerd ------------------------------------------------------------ */

/* Disjoint. Totals of the OpenAI dialect: prompt + cache_read + cache_write, completion + reasoning. */
struct dl_usage {
	uint64_t prompt, cache_read, cache_write; /* input tokens */
	uint64_t completion, reasoning;           /* output tokens */
};
static inline uint64_t
dl_usage_in(const struct dl_usage *u)
{
	return u->prompt + u->cache_read + u->cache_write;
}
static inline uint64_t
dl_usage_out(const struct dl_usage *u)
{
	return u->completion + u->reasoning;
}

/* Of each kind in one answer: a runtime that says more is mistaken, and what it says is as good as nothing. */
#define DL_TOKENS_MOST UINT64_C(1000000000)
static inline bool
dl_usage_possible(const struct dl_usage *u)
{
	return u->prompt <= DL_TOKENS_MOST && u->cache_read <= DL_TOKENS_MOST && u->cache_write <= DL_TOKENS_MOST &&
	    u->completion <= DL_TOKENS_MOST && u->reasoning <= DL_TOKENS_MOST;
}

/* What is counted beside tokens; each is charged at a price of its own. */
struct dl_units {
	uint64_t images;     /* made */
	uint64_t audio_ms;   /* of audio heard, milliseconds */
	uint64_t characters; /* spoken: Unicode code points */
};

/* What is known of the answer so far; all but `tail` is cumulative. */
struct dl_facts {
	bool content;     /* some answer (text, reasoning, a call) is among the bytes given out */
	bool boundary;    /* the bytes given out end between two events: a ping may follow */
	bool finished;    /* the runtime gave a finish reason for every answer that it began */
	bool complete;    /* all is there and given out: nothing more will come */
	bool early;       /* complete, though the runtime may go on: its connection is of no more use */
	bool estimated;   /* usage is counted here, not by the runtime */
	size_t tail;      /* offset in `out` after this call of the first byte of the answer's end (finish
			   * reason and on); SIZE_MAX: none of it was given in this call */
	const char *finish; /* "stop", "length", "tool_calls", "content_filter"; of the first answer; NULL: none yet. Static */
	uint64_t out_tokens; /* so far, all answers */
	struct dl_usage usage; /* the runtime's numbers, or the estimate, valid at any time */
	struct dl_units units; /* zero on surfaces that count tokens only */
	size_t object, object_n; /* with DL_HEAD_KEEP, behind the call that completed the answer: where in `out` it is as
				  * one JSON object, and its length */
	uint32_t skipped; /* malformed events of the runtime that were left out */
	struct dl_fault fault; /* err > 0: the attempt failed; nothing more will be given out */
};

struct dl_xlate_conf {
	enum dl_dialect surface; /* the client's */
	enum dl_dialect runtime; /* what it speaks; a model that can DL_NEED_COMPLETIONS takes those beside chat */
	uint32_t can;            /* DL_NEED_* of the model */
	uint32_t quirks;         /* DL_Q_* */
	bool joined;             /* stream and join, whatever the client's mode (a budget bounds the output) */
	bool canonical;          /* never RAW: everything through decode and encode (tests) */
	bool check;              /* hold every event against the grammar; a breach aborts (tests, debugging) */
	struct tf_span asked;    /* model as the client wrote it: echoed. Copied */
	struct tf_span model;    /* the runtime's name for it. Copied */
	struct tf_span content_type; /* of the body, when it is a form. Copied */
	uint64_t max_output;     /* DISPATCH.max_output: tokens per answer to enforce; 0: none */
	uint64_t model_output;   /* longest answer of the model, tokens; 0: not known */
	uint64_t model_context;  /* its context length, tokens; 0: not known */
	struct tf_id rid;        /* ids that have to be made derive from it */
	bool seal;               /* there is a key: reasoning that clients bring back can be sealed ... */
	uint8_t seal_key[TF_SEAL_KEY]; /* ... with it. It belongs to one workspace and one model */
	struct tf_span base_url; /* what addresses of ours begin with; empty: there can be none. Copied */
	bool recall;             /* reasoning that leads to calls is wanted back: it is taken down and put in again */
	struct tf_span recalled; /* JSON array of what was taken down before, as a peer handed it over. Copied */
	struct tf_span recall_model; /* whose it is. Copied */
};

struct dl_xlate;

/* Copies all of conf and of head. Returns new, NULL without memory. */
struct dl_xlate *dl_xlate_new(const struct dl_xlate_conf *conf, const struct dl_head *head);
void dl_xlate_free(struct dl_xlate **x);
/*
 * Appends the body for the runtime. Borrows body for the call. 0; TF_E_INVAL: refused, dl_xlate_facts()
 * has the fault; TF_E_NOMEM. Call again for a resend.
 */
int dl_xlate_request(struct dl_xlate *x, struct tf_span body, struct tf_buf *out) TF_MUSTCHECK;
/* Does the runtime get asked for events? ("Accept: text/event-stream", longer first timeout) */
bool dl_xlate_streams(const struct dl_xlate *x);
/* May what is given out go to the client before the answer is complete? Known once the runtime's head is. */
bool dl_xlate_live(const struct dl_xlate *x);
/*
 * Where the runtime is asked: path below its base URL, or "/../name" beside the base's last part. Content type of
 * what it is sent. Static.
 */
const char *dl_xlate_path(const struct dl_xlate *x);
const char *dl_xlate_request_type(const struct dl_xlate *x);
const char *dl_xlate_accept(const struct dl_xlate *x); /* what the runtime is asked for. Static */
/* Content type of the answer to the client. Static. */
const char *dl_xlate_content_type(const struct dl_xlate *x);
/* Request fields without effect at this runtime, comma separated, for EVENT.dropped; "" none. Borrowed. */
struct tf_span dl_xlate_dropped(const struct dl_xlate *x);
/*
 * The head of the runtime's answer: status, content type ("" unknown), Retry-After in seconds (0 none).
 * Also forgets an earlier answer of which nothing was given out, so that a request can be sent again.
 */
void dl_xlate_head(struct dl_xlate *x, int status, struct tf_span content_type, uint32_t retry_after_s);
/*
 * Bytes of the runtime's answer, cut anywhere; appends what the client gets, whole events only. 0 or
 * TF_E_NOMEM. A failed answer is a value: facts.fault. Then further bytes are ignored.
 */
int dl_xlate_feed(struct dl_xlate *x, const char *p, size_t n, struct tf_buf *out) TF_MUSTCHECK;
/* The runtime's answer ended well (its framing was complete). Sets facts.complete or facts.fault. */
int dl_xlate_end(struct dl_xlate *x, struct tf_buf *out) TF_MUSTCHECK;
/*
 * Behind dl_xlate_end(): the answer is complete only with what lies at this address, as the runtime gave it; borrowed
 * until the next call. False: nothing is missing.
 */
bool dl_xlate_wants(const struct dl_xlate *x, struct tf_span *url);
/*
 * What was there; bytes.p NULL: it cannot be had, or is not to be fetched. Then there may be more of it; else
 * facts.complete or facts.fault is set. 0 or TF_E_NOMEM.
 */
int dl_xlate_fetched(struct dl_xlate *x, struct tf_span bytes, struct tf_buf *out) TF_MUSTCHECK;
/*
 * The connection to the runtime broke, or was given up: err is UPSTREAM_ERROR, UPSTREAM_TIMEOUT, ... An
 * answer whose finish reasons are all there is completed all the same; else the fault is set.
 */
int dl_xlate_broken(struct dl_xlate *x, int err, struct tf_buf *out) TF_MUSTCHECK;
/*
 * The limits leave no room for more output: ends the answer here as the runtime would at its cap, with finish
 * reason length. An answer of which nothing is there yet becomes a fault. 0 or TF_E_NOMEM.
 */
int dl_xlate_cut(struct dl_xlate *x, struct tf_buf *out) TF_MUSTCHECK;
struct dl_kept { /* a value that the answer names */
	struct tf_span name, content_type, bytes;
};
/*
 * Value i of what has to be kept before the answer may go out, complete once the answer is. False beyond the last.
 * Borrowed until the attempt is freed or begins again.
 */
bool dl_xlate_kept(const struct dl_xlate *x, size_t i, struct dl_kept *out);
/* Borrowed, current after each call. */
const struct dl_facts *dl_xlate_facts(const struct dl_xlate *x);
/*
 * Behind the call that completed the answer: reasoning to be kept for later turns, a JSON object appended to out, and
 * its name. 1; 0: there is none; TF_E_NOMEM.
 */
int dl_xlate_recall(struct dl_xlate *x, char name[static DL_RECALL_NAME + 1], struct tf_buf *out) TF_MUSTCHECK;

#endif
