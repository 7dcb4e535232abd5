/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical request and the canonical events: what every dialect is decoded to and encoded
 * from. Private to this folder and its tests. Strings are characters (escapes undone) and borrow
 * from the request body or live in the request's arena; members called raw are JSON text.
 */
#ifndef TF_DIALECT_CANON_H
#define TF_DIALECT_CANON_H

#include "common/dialect/dialect.h"

/* ---- arena: freed as one ----------------------------------------------------------------- */

struct dl_arena {
	struct dl_block *blocks;
	char *at, *end;
};
/* Zeroed memory, aligned for anything; NULL without memory. */
void *dl_arena_alloc(struct dl_arena *a, size_t n);
/* Copy of s; p NULL without memory (or empty s). */
struct tf_span dl_arena_dup(struct dl_arena *a, struct tf_span s);
void dl_arena_free(struct dl_arena *a);

/* ---- the request ------------------------------------------------------------------------- */

/* Members that nobody modelled, in order, of the object they stand in. */
struct dl_extra {
	struct tf_span key;   /* raw, with quotes */
	struct tf_span value; /* raw */
	struct dl_extra *next;
};
struct dl_extras {
	enum dl_dialect origin;
	struct dl_extra *first, *last;
};

enum dl_role { DL_ROLE_SYSTEM, DL_ROLE_DEVELOPER, DL_ROLE_USER, DL_ROLE_ASSISTANT, DL_ROLE_TOOL };

enum dl_part_kind {
	DL_PART_TEXT,
	DL_PART_REFUSAL,
	DL_PART_REASONING,
	DL_PART_IMAGE,
	DL_PART_AUDIO,
	DL_PART_FILE,
	DL_PART_CALL,
	DL_PART_RESULT,
	DL_PART_RAW, /* a part of unknown type: text is raw */
};

enum dl_tool_kind { DL_TOOL_FUNCTION, DL_TOOL_CUSTOM, DL_TOOL_RAW };
enum dl_tri { DL_UNSET, DL_NO, DL_YES };

struct dl_part {
	enum dl_part_kind kind;
	struct dl_part *next;
	struct dl_extras extras;
	struct tf_span text;      /* TEXT REFUSAL REASONING; CALL: argument text */
	struct tf_span signature; /* REASONING, of the vendor that made it */
	struct tf_span encrypted; /* REASONING: what the provider of the Responses API gives back to itself */
	struct tf_span url;       /* IMAGE FILE: http(s) or data URL */
	struct tf_span data;      /* AUDIO FILE: base64 or data URL */
	struct tf_span media;     /* AUDIO: format; others: media type when it is known apart from the URL */
	struct tf_span detail;    /* IMAGE */
	struct tf_span id;        /* CALL RESULT: of the call; FILE: of the file; AUDIO: of an earlier answer's */
	struct tf_span name;      /* CALL: of the tool; RESULT: of the tool when given; FILE: file name */
	struct tf_span space;     /* CALL: namespace of the tool */
	enum dl_tool_kind tool;   /* CALL */
	bool is_error;            /* RESULT */
	struct dl_part *parts;    /* RESULT: what the tool gave */
};

/* How a chat message wrote its content; other dialects leave it at DL_FORM_ANY. */
enum dl_form { DL_FORM_ANY, DL_FORM_STRING, DL_FORM_ARRAY, DL_FORM_NULL, DL_FORM_ABSENT };

/*
 * Turns stand in the order in which they are said. Results stand in turns of role TOOL, one result
 * each, directly behind the assistant turn that called; system text may stand anywhere.
 */
struct dl_turn {
	enum dl_role role;
	enum dl_form form;
	struct tf_span name;
	struct dl_part *parts, *last;
	struct dl_extras extras;
	struct dl_turn *next;
};

struct dl_tool {
	enum dl_tool_kind kind;
	struct tf_span name, description, space;
	struct tf_span schema; /* FUNCTION: raw parameters; CUSTOM: raw format; RAW: the whole tool */
	enum dl_tri strict;
	struct dl_extras extras;
	struct dl_tool *next;
};

enum dl_choice_mode { DL_CHOICE_UNSET, DL_CHOICE_NONE, DL_CHOICE_AUTO, DL_CHOICE_REQUIRED, DL_CHOICE_NAMED };

struct dl_tool_choice {
	enum dl_choice_mode mode;
	enum dl_tool_kind kind; /* NAMED */
	struct tf_span name;    /* NAMED */
	struct tf_span allowed; /* raw array of the tools allowed; empty: all */
	enum dl_tri parallel;
};

enum dl_format { DL_FORMAT_UNSET, DL_FORMAT_TEXT, DL_FORMAT_OBJECT, DL_FORMAT_SCHEMA };

struct dl_response_format {
	enum dl_format kind;
	struct tf_span name, description;
	struct tf_span schema; /* raw */
	enum dl_tri strict;
};

struct dl_num {
	bool set;
	double v;
};

struct dl_sampling {
	struct dl_num temperature, top_p, top_k, frequency_penalty, presence_penalty;
	bool has_seed;
	int64_t seed;
	struct dl_extra *stop; /* values: characters; keys unused */
	struct tf_span logit_bias; /* raw */
	enum dl_tri logprobs;
	bool has_top_logprobs;
	uint64_t top_logprobs;
};

struct dl_thinking {
	enum dl_tri on;        /* said in so many words */
	struct tf_span effort; /* none minimal low medium high ... as written; empty: not said */
	uint64_t budget;       /* tokens; 0: not said */
	struct tf_span template; /* raw switches of the chat template */
};

struct dl_request {
	struct dl_arena arena;
	struct tf_buf scratch;
	enum dl_dialect origin;
	bool legacy; /* functions and function_call: answers in that form */
	bool blind;  /* set before decoding: the model takes no images */
	const uint8_t *seal_key; /* set before decoding: TF_SEAL_KEY bytes, or NULL */
	struct tf_buf dropped; /* names of what the decoder left out, comma separated */
	bool native; /* set before decoding: it goes to a runtime of the same dialect */
	struct tf_span model;
	bool stream, include_usage;
	struct dl_turn *turns, *last;
	struct dl_tool *tools, *last_tool;
	struct dl_tool_choice choice;
	struct dl_response_format format;
	struct dl_sampling sampling;
	struct dl_thinking thinking;
	uint64_t max_output; /* per answer; 0: not said */
	uint64_t n;          /* 0: not said */
	struct tf_span user, safety_id, cache_key, tier, verbosity;
	struct tf_span metadata; /* raw */
	struct tf_span modalities, audio; /* raw */
	struct dl_extras extras;
};
void dl_request_init(struct dl_request *rq, enum dl_dialect origin);
void dl_request_fini(struct dl_request *rq);

/* Helpers of decoders. Each returns 0 or TF_E_NOMEM; text is that of a string. */
int dl_rq_str(struct dl_request *rq, struct tf_span text, struct tf_span *out) TF_MUSTCHECK;
int dl_rq_extra(struct dl_request *rq, struct dl_extras *x, struct tf_span key, struct tf_span value) TF_MUSTCHECK;
/* The strings that end the answer: one, or a list of them. */
int dl_rq_stop(struct dl_request *rq, struct tf_span v) TF_MUSTCHECK;
/* New, appended; NULL without memory. */
struct dl_turn *dl_rq_turn(struct dl_request *rq, enum dl_role role);
struct dl_part *dl_rq_part(struct dl_request *rq, struct dl_part **first, struct dl_part **last, enum dl_part_kind kind);
struct dl_tool *dl_rq_tool(struct dl_request *rq, enum dl_tool_kind kind);

/* Appends a name to a comma separated list that does not have it. 0 or TF_E_NOMEM. */
int dl_note_dropped(struct tf_buf *list, struct tf_span name);

/* What hints an API has a field for, of those that not every one has. */
enum {
	DL_HINT_CACHE_KEY = 1,
	DL_HINT_VERBOSITY = 2,
	DL_HINT_TOP_K = 4,
	DL_HINT_SAFETY_ID = 8,
	DL_HINT_TIER = 16,
	DL_HINT_METADATA = 32,
};
/*
 * Lists the hints of a request of the OpenAI family that its runtime's API, which is not chat completions, has no field
 * for, and the members nobody modelled. can: DL_HINT_*. 0 or TF_E_NOMEM.
 */
int dl_note_hints(const struct dl_request *rq, uint32_t can, struct tf_buf *dropped);
/* Is it among the tools that the caller allows? A list of allowed tools is a filter: runtimes do not know it. */
bool dl_tool_allowed(const struct dl_request *rq, const struct dl_tool *t);
/* Must the named tool be said in another way to a runtime of these quirks? Then it is the only one, and one is required. */
bool dl_choice_by_word(const struct dl_request *rq, uint32_t quirks);
/* Does that runtime get the tool? */
bool dl_tool_offered(const struct dl_request *rq, uint32_t quirks, const struct dl_tool *t);

#define DL_STOPS_HOSTED 4 /* stop strings that the hosted OpenAI API takes */

struct dl_undo; /* undo.h */

/* Towards whom a request is encoded. */
struct dl_target {
	struct tf_span model; /* the runtime's name */
	uint32_t quirks;
	bool stream;          /* ask for events */
	uint64_t max_output;  /* to enforce; 0: none */
	struct dl_undo *undo; /* learns what the answer has to be turned back from; NULL: there will be none */
	bool encrypted;       /* ask for reasoning in encrypted form, to be given back */
	uint64_t longest;     /* tokens that an answer to this request may have at most, for runtimes that must be
			       * told; 0: not known */
};

/* ---- events ------------------------------------------------------------------------------ */

enum dl_ev {
#define EVENT(sym, name, meaning) DL_EV_##sym,
#include "common/dialect/event.def"
#undef EVENT
	DL_EV_COUNT
};
const char *dl_ev_name(enum dl_ev ev);

enum dl_item { DL_ITEM_TEXT, DL_ITEM_REASONING, DL_ITEM_REFUSAL, DL_ITEM_CALL, DL_ITEM_COUNT };

enum dl_finish { DL_FINISH_NONE, DL_FINISH_STOP, DL_FINISH_LENGTH, DL_FINISH_CALLS, DL_FINISH_FILTER };
/* "stop", "length", "tool_calls", "content_filter"; NULL for NONE. */
const char *dl_finish_name(enum dl_finish finish);

/* In which object of an answer a RAW member stood. */
enum dl_level { DL_LEVEL_TOP, DL_LEVEL_CHOICE, DL_LEVEL_MESSAGE, DL_LEVEL_COUNT };

#define DL_CHOICES_MAX 128
#define DL_ITEMS_MAX 4096 /* per choice */

/* Good during the call that gives it. Which members mean something depends on kind. */
struct dl_event {
	enum dl_ev kind;
	uint32_t choice;         /* all but START USAGE ERROR PING, and RAW at the top */
	uint32_t item;           /* ITEM .. ITEM_END: number in its choice, in order of beginning */
	enum dl_item item_kind;  /* ITEM .. ITEM_END */
	enum dl_tool_kind tool;  /* ITEM of a call */
	enum dl_finish finish;   /* FINISH */
	enum dl_level level;     /* RAW */
	enum dl_dialect origin;  /* RAW, USAGE: whose raw it is; SIGNATURE: of which API */
	int64_t created;         /* START: seconds since 1970; 0 unknown */
	struct tf_span id;       /* START; ITEM of a call */
	struct tf_span name;     /* ITEM of a call: the tool; RAW: the member's name, raw */
	struct tf_span text;     /* TEXT REASONING SIGNATURE ARGS: characters; RAW: the value, raw; USAGE: raw, may be
				  * empty; FINISH: the stop string that matched, when it is known */
	struct tf_span logprobs; /* TEXT: raw array of the tokens in it, may be empty */
	struct dl_usage usage;   /* USAGE */
	bool passed;             /* its bytes go out as they came: it is to be noted, not encoded */
	bool prompt_only;        /* USAGE: of the prompt alone, the output is not counted yet */
	const struct dl_fault *fault; /* ERROR */
};

/* 0, or a negative code that ends the decoding. */
typedef int dl_emit_fn(void *arg, const struct dl_event *e);

/* The order of events. All zero to begin with; dl_grammar_fini frees. */
struct dl_grammar {
	bool started, failed;
	struct dl_grammar_choice *choice;
	uint32_t nchoice;
};
/* 0, TF_E_PROTO when e must not come here (why: static text), TF_E_NOMEM. */
int dl_grammar_check(struct dl_grammar *g, const struct dl_event *e, const char **why) TF_MUSTCHECK;
/* 0 when the answer may end here. */
int dl_grammar_end(const struct dl_grammar *g, const char **why) TF_MUSTCHECK;
void dl_grammar_fini(struct dl_grammar *g);

/* ---- a dialect --------------------------------------------------------------------------- */

struct dl_plain;
struct dl_dec; /* a dialect's decoder of one answer */
struct dl_enc; /* a dialect's encoder of one answer */
struct dl_raw; /* a dialect's way of passing on one answer */

struct dl_raw_answer { /* what a whole answer that was passed on says */
	enum dl_finish finish;
	struct dl_usage usage;
};

struct dl_dec_conf {
	uint32_t quirks;
	uint32_t n;      /* answers that were asked for; others are left out */
	bool one_call;   /* the client forbade parallel calls: further ones are left out */
	bool asked_json; /* the runtime was not asked to stream */
	struct tf_id rid;
	dl_emit_fn *emit;
	void *arg;
};

struct dl_enc_conf {
	struct tf_span model;    /* to be echoed; outlives the encoder */
	struct tf_span kept;     /* JSON text that the dialect's request_keep made, or empty; outlives the encoder */
	bool include_usage;
	bool legacy;
	bool signs;              /* the runtime's API signs reasoning, and wants it back as it was */
	bool thinking;           /* reasoning is shown where that has to be asked for */
	const uint8_t *seal_key; /* TF_SEAL_KEY bytes that outlive the encoder, or NULL */
	uint64_t prompt;         /* estimate of the prompt's tokens, for dialects that begin with it */
	struct tf_id rid;
};

/* How an answer stands in the eyes of its decoder. */
enum dl_state { DL_GOING, DL_FINISHED, DL_DONE };

struct dl_ops {
	int (*init)(void); /* compiles tables, once; may be NULL, as fini */
	void (*fini)(void);
	/*
	 * body was accepted by the scan of this dialect. Spans of rq borrow from body. 0, TF_E_NOMEM, or
	 * TF_E_INVAL with *f.
	 */
	int (*request_decode)(struct tf_span body, struct dl_request *rq, struct dl_fault *f);
	/*
	 * Appends what the encoder of the answer needs of the request, in a form of the dialect's own. May be NULL. 0 or
	 * TF_E_NOMEM.
	 */
	int (*request_keep)(struct tf_span body, const struct dl_head *head, struct tf_buf *out);
	/*
	 * Appends the body; names of fields without effect there go to dropped, comma separated. 0, TF_E_NOMEM,
	 * or TF_E_INVAL with *f: it cannot be said in this dialect.
	 */
	int (*request_encode)(const struct dl_request *rq, const struct dl_target *to, struct tf_buf *out,
	    struct tf_buf *dropped, struct dl_fault *f);

	struct dl_dec *(*dec_new)(const struct dl_dec_conf *conf);
	void (*dec_free)(struct dl_dec **d);
	/* One event of a stream. 0, TF_E_NOMEM, TF_E_INVAL: malformed, was skipped. Errors in it are events. */
	int (*dec_event)(struct dl_dec *d, struct tf_span event, struct tf_span data);
	/* A whole answer. As dec_event. */
	int (*dec_response)(struct dl_dec *d, struct tf_span body);
	/* The stream ended where its framing allowed: closes what may be closed. The state after it. */
	int (*dec_end)(struct dl_dec *d);
	/* We stop it here: what was begun ends with length. As dec_event. */
	int (*dec_cut)(struct dl_dec *d);
	enum dl_state (*dec_state)(const struct dl_dec *d);

	struct dl_enc *(*enc_new)(const struct dl_enc_conf *conf);
	void (*enc_free)(struct dl_enc **e);
	int (*enc_event)(struct dl_enc *e, const struct dl_event *ev, struct tf_buf *out);
	/* Behind the events of one event of the runtime. */
	int (*enc_flush)(struct dl_enc *e, struct tf_buf *out);
	/* Usage and end mark. usage: what the client may be told; */
	int (*enc_end)(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
	/* The same for a whole answer: collects, then writes all at the end. */
	int (*join_event)(struct dl_enc *e, const struct dl_event *ev);
	int (*join_end)(struct dl_enc *e, const struct dl_usage *usage, struct tf_buf *out);
	/* Where in `out` that call of an end function wrote the answer as one object. NULL: nobody keeps answers. */
	void (*enc_object)(const struct dl_enc *e, size_t *from, size_t *to);

	/*
	 * The way without translation, for clients and runtimes that both speak this dialect; raw_request NULL: there
	 * is none. May the body go by splicing alone?
	 */
	bool (*raw_request_ok)(const struct dl_head *h, uint32_t quirks);
	/* Appends the spliced body. 0, TF_E_NOMEM, TF_E_INVAL: head and body do not fit together. */
	int (*raw_request)(const struct dl_head *h, const struct dl_target *to, struct tf_span body, struct tf_buf *out,
	    struct tf_buf *dropped);
	/* May answers be passed on? */
	bool (*raw_answer_ok)(const struct dl_head *h, uint32_t quirks);
	struct dl_raw *(*raw_new)(const struct dl_enc_conf *conf);
	void (*raw_free)(struct dl_raw **r);
	/*
	 * One event of a stream. It is passed on to out, or goes through the decoder to the encoder, whichever fits.
	 * *text: bytes of the answer's text in it that no event has told. As dec_event.
	 */
	int (*raw_event)(struct dl_raw *r, struct dl_dec *d, struct tf_span event, struct tf_span data, struct tf_buf *out,
	    size_t *text);
	/* A whole answer: 1, passed on, with what it says; 0: it has to be decoded. Or TF_E_NOMEM. */
	int (*raw_response)(struct dl_raw *r, struct dl_dec *d, struct tf_span body, struct tf_buf *out,
	    struct dl_raw_answer *answer);
	/*
	 * Appends what is missing at the end of a stream that was passed on: 1; 0: it was not, the encoder ends it. NULL:
	 * always the encoder. Or TF_E_NOMEM.
	 */
	int (*raw_end)(struct dl_raw *r, enum dl_finish finish, const struct dl_usage *usage, struct tf_buf *out);
	/* As enc_object, of a stream that was passed on. A whole answer that was is the object. NULL: nobody keeps them. */
	void (*raw_object)(const struct dl_raw *r, size_t *from, size_t *to);

	int (*error_event)(const struct dl_error *e, struct tf_buf *out);
	/* dl_sequence(); NULL: events have no numbers. */
	uint64_t (*sequence)(struct tf_span given);
	struct tf_span ping;
	uint32_t stops; /* stop strings that a request can carry to a runtime */
	bool signs;     /* its reasoning has signatures */
	bool custom;    /* its vendor knows custom tools, which take text */
	const struct dl_fields *fields;    /* of requests in JSON; NULL: it takes none */
	const struct dl_form_rows *form;   /* of requests that are forms; NULL: it takes none */
	/* What need.def calls "messages" and "response_format"; NULL: just that. */
	const char *param_messages, *param_format;
	/* Set: a surface of one exchange, without turns (plain.h). All functions above but error_event are NULL. */
	const struct dl_plain *plain;
};
#define DIALECT(sym, number, name, family, path, ops) extern const struct dl_ops ops;
#include "common/dialect/dialect.def"
#undef DIALECT
/* NULL for DL_NONE and unknown numbers. */
const struct dl_ops *dl_ops(enum dl_dialect d);

/* Reasoning as a token for clients to bring back, plain characters. key: NULL for none. 0, TF_E_NOMEM, TF_E_INVAL. */
int dl_seal(const uint8_t *key, struct tf_span text, struct tf_buf *out) TF_MUSTCHECK;
/* Is it one of ours, whoever it is for? */
bool dl_sealed(struct tf_span token);
/* TF_E_INVAL: it is none of ours, or for somebody else. */
int dl_unseal(const uint8_t *key, struct tf_span token, struct tf_buf *out) TF_MUSTCHECK;

/* ---- shared by dialects ------------------------------------------------------------------ */

/*
 * What is kept per choice: an array of *count elements of size bytes that reaches up to n afterwards, what is new being
 * zero. Returns the array, perhaps elsewhere; NULL when n is no choice (DL_CHOICES_MAX) or without memory, and v is as
 * it was.
 */
void *dl_choices(void *v, uint32_t n, uint32_t *count, size_t size) TF_MUSTCHECK;
/* Writes prefix and n base 62 characters that depend on rid, a and b, and a NUL. */
void dl_mint_id(char *out, size_t cap, const char *prefix, const struct tf_id *rid, uint32_t a, uint32_t b);

/*
 * Makes what out holds from there on a name that every runtime takes for a tool: unchanged, or shortened and with
 * other characters replaced, always in the same way. 0 or TF_E_NOMEM.
 */
int dl_plain_name(struct tf_buf *out, size_t from);
/* Is it a character of such a name? */
bool dl_plain_char(char c);

/* What an answer of status 400.. or an error object of a 200 means to the client (upstream.c). */
void dl_upstream_fault(int status, struct tf_span body, uint32_t retry_after_s, uint32_t quirks, struct dl_fault *f);
/* Says it as clients of that family expect to read it. */
void dl_fault_words(struct dl_fault *f, enum dl_family family);
/* text without addresses, keys, paths and control characters, one line, terminated, cut to cap. */
void dl_scrub(struct tf_span text, char *out, size_t cap);

#endif
