/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/base: what every other module stands on. Spans and buffers, lists and
 * maps, clock, ids, hashes, API key text, the error table, log, metrics. Knows
 * nothing of events, sockets, HTTP or JSON. Nothing here blocks.
 */
#ifndef TF_BASE_H
#define TF_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TF_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TF_MUSTCHECK __attribute__((warn_unused_result))
#define TF_LEN(array) (sizeof(array) / sizeof *(array))
#define TF_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* ---- errors ------------------------------------------------------------------------------- */

/*
 * Two kinds. Negative: internal, only ever propagates upward. Positive: a refusal
 * that a caller of the API sees; everything about it stands in err.def.
 */
enum tf_err {
	TF_OK = 0,
	TF_E_NOMEM = -1,  /* an allocation failed */
	TF_E_INVAL = -2,  /* malformed or out-of-contract input */
	TF_E_RANGE = -3,  /* a number outside what the reader takes */
	TF_E_NOENT = -4,  /* no such thing */
	TF_E_EXIST = -5,  /* already there */
	TF_E_FULL = -6,   /* a stated bound is reached */
	TF_E_AGAIN = -7,  /* not now; nothing was consumed */
	TF_E_CLOSED = -8, /* the other side is gone */
	TF_E_PROTO = -9,  /* the peer broke the protocol */
	TF_E_IO = -10,    /* the system refused; errno says why */
	TF_E_STATE = -11, /* not possible in this state */
#define ERR(sym, http, otype, code, atype, retry, level, sentence) TF_E_##sym,
	TF_E_FIRST = 0,
#include "common/base/err.def"
#undef ERR
	TF_E_COUNT
};

enum tf_retry { TF_FINAL, TF_RETRY, TF_RETRY_AFTER }; /* x-should-retry: false | nothing | with retry-after */

struct tf_err_row {
	enum tf_err err;
	int http;                   /* status, same on every surface */
	const char *openai_type;    /* error.type on the OpenAI surface */
	const char *code;           /* error.code, error.details.error_code */
	const char *anthropic_type; /* error.type on the Anthropic surface */
	enum tf_retry retry;
	int level;                  /* enum tf_level of the log line */
	const char *sentence;       /* default message for the caller */
};

/* Row of a positive code; the row of SERVER_ERROR for anything else. Never NULL. */
const struct tf_err_row *tf_err_row(int err);
/* Row by its code text ("model_not_found"); NULL when unknown. */
const struct tf_err_row *tf_err_by_code(const char *code);
/* Short text of any code, negative ones too. Static. */
const char *tf_err_text(int err);

/* ---- prices ------------------------------------------------------------------------------- */

enum tf_priced {
#define PRICE(sym, field, units, what) TF_P_##sym,
#include "common/base/price.def"
#undef PRICE
	TF_P_COUNT
};
#define TF_NO_PRICE INT64_C(-1)
#define TF_COST_MOST UINT64_C(1000000000000000) /* larger counts and prices count as this, and so does a larger cost */
#define TF_AUDIO_MIN_MS 10000 /* a call that hears audio pays for this much at least */

/* Nano-units of the currency, each for the units of its row in price.def; TF_NO_PRICE: free. */
struct tf_price {
	int64_t v[TF_P_COUNT];
};
/* "input", "audio_hour": as in the names of columns. Static. */
const char *tf_price_name(enum tf_priced p);
/* Milliseconds that are paid for. */
uint64_t tf_billed_audio_ms(uint64_t heard_ms);
/* "12", "0.25": at most nine decimals, as nano-units. TF_E_INVAL, also for what int64 does not hold. */
int tf_money_parse(const char *text, int64_t *out) TF_MUSTCHECK;
/* Nano-units, rounded half up, at most INT64_MAX. n: counts by enum tf_priced; of audio, the billed ones. */
uint64_t tf_cost(const struct tf_price *price, const uint64_t n[static TF_P_COUNT]);

/* ---- spans and buffers -------------------------------------------------------------------- */

/* Borrowed bytes; not terminated. */
struct tf_span {
	const char *p;
	size_t n;
};
#define TF_SPAN(lit) ((struct tf_span){ (lit), sizeof(lit) - 1 })
#define TF_SPAN_FMT "%.*s"
#define TF_SPAN_ARG(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).p ? (s).p : ""

static inline struct tf_span
tf_span(const void *p, size_t n)
{
	return (struct tf_span){ p, n };
}
static inline struct tf_span
tf_cspan(const char *s)
{
	return (struct tf_span){ s, s ? strlen(s) : 0 };
}
static inline bool
tf_span_eq(struct tf_span a, struct tf_span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool
tf_span_is(struct tf_span a, const char *s)
{
	return tf_span_eq(a, tf_cspan(s));
}
bool tf_span_caseeq(struct tf_span a, const char *s);
/* Without the blanks and tabs around it. */
struct tf_span tf_span_trim(struct tf_span s);
/* Returns new (free()); NULL without memory. */
char *tf_span_dup(struct tf_span s) TF_MUSTCHECK;
/* Decimal digits only, no sign. TF_E_INVAL, TF_E_RANGE above max. */
int tf_span_u64(struct tf_span s, uint64_t max, uint64_t *out) TF_MUSTCHECK;

/* Growable bytes. All zero is an empty buffer. Never terminated by itself. */
struct tf_buf {
	char *p;
	size_t n;   /* bytes used */
	size_t cap; /* bytes allocated */
};
/* Each returns 0 or TF_E_NOMEM, and leaves the buffer as it was on failure. */
int tf_buf_reserve(struct tf_buf *b, size_t more);
int tf_buf_append(struct tf_buf *b, const void *p, size_t n);
int tf_buf_addstr(struct tf_buf *b, const char *s);
int tf_buf_addspan(struct tf_buf *b, struct tf_span s);
int tf_buf_addc(struct tf_buf *b, char c);
int tf_buf_printf(struct tf_buf *b, const char *fmt, ...) TF_PRINTF(2, 3);
int tf_buf_vprintf(struct tf_buf *b, const char *fmt, va_list ap) TF_PRINTF(2, 0);
/* Drops the first n bytes (moves the rest down). */
void tf_buf_shift(struct tf_buf *b, size_t n);
/* n = 0, memory kept. */
void tf_buf_reset(struct tf_buf *b);
void tf_buf_free(struct tf_buf *b);
/* Adds a NUL behind the bytes (not counted) and returns them; NULL without memory. Borrowed. */
const char *tf_buf_cstr(struct tf_buf *b);
static inline struct tf_span
tf_buf_span(const struct tf_buf *b)
{
	return (struct tf_span){ b->p, b->n };
}

/* ---- growing arrays ----------------------------------------------------------------------- */

void *tf_grow_more(void *v, uint32_t *cap, size_t size, uint32_t first) TF_MUSTCHECK;
/*
 * Room for element n, the first that is not used, in an array of *cap elements of size bytes: when it is full it gets
 * `first` of them, from then on twice as many. NULL and 0 are an empty array. Returns the array, perhaps elsewhere; NULL
 * without memory, and v is as it was. What is new is not cleared. The caller bounds n, far below 2^31.
 */
static inline void *
tf_grow(void *v, size_t n, uint32_t *cap, size_t size, uint32_t first)
{
	return n < *cap ? v : tf_grow_more(v, cap, size, first);
}

/* ---- lists: membership is state ----------------------------------------------------------- */

struct tf_node {
	struct tf_node *prev, *next; /* both NULL: in no list */
};
struct tf_list {
	struct tf_node head; /* circular; points at itself when empty */
	size_t n;
};
static inline void
tf_list_init(struct tf_list *l)
{
	l->head.prev = l->head.next = &l->head;
	l->n = 0;
}
static inline bool
tf_node_linked(const struct tf_node *e)
{
	return e->next != NULL;
}
static inline void
tf_list_insert_before(struct tf_list *l, struct tf_node *at, struct tf_node *e)
{
	e->prev = at->prev;
	e->next = at;
	at->prev->next = e;
	at->prev = e;
	l->n++;
}
static inline void
tf_list_append(struct tf_list *l, struct tf_node *e)
{
	tf_list_insert_before(l, &l->head, e);
}
static inline void
tf_list_prepend(struct tf_list *l, struct tf_node *e)
{
	tf_list_insert_before(l, l->head.next, e);
}
static inline void
tf_list_remove(struct tf_list *l, struct tf_node *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->prev = e->next = NULL;
	l->n--;
}
static inline struct tf_node *
tf_list_first(const struct tf_list *l)
{
	return l->n ? l->head.next : NULL;
}
static inline struct tf_node *
tf_list_pop(struct tf_list *l)
{
	struct tf_node *e = tf_list_first(l);

	if (e != NULL)
		tf_list_remove(l, e);
	return e;
}
/* e may be removed inside the loop; no other element may. */
#define TF_LIST_EACH(l, e, tmp) \
	for ((e) = (l)->head.next; (e) != &(l)->head && ((tmp) = (e)->next, 1); (e) = (tmp))

/* ---- map: bytes -> pointer ---------------------------------------------------------------- */

/*
 * Open addressing, keyed by bytes that live inside the value (borrowed: they must
 * not move while mapped). Keyed SipHash-like mixing, so a client cannot aim.
 */
struct tf_map {
	struct tf_map_slot *slots;
	size_t cap, n, dead;
	uint64_t seed;
};
void *tf_map_get(const struct tf_map *m, struct tf_span key);
/* TF_E_EXIST when the key is there, TF_E_NOMEM. */
int tf_map_put(struct tf_map *m, struct tf_span key, void *value) TF_MUSTCHECK;
/* Returns the value that was there, or NULL. */
void *tf_map_del(struct tf_map *m, struct tf_span key);
/* Iterates: *pos starts at 0; NULL at the end. Deleting the returned one is allowed. */
void *tf_map_next(const struct tf_map *m, size_t *pos);
void tf_map_free(struct tf_map *m);
uint64_t tf_hash(struct tf_span s, uint64_t seed);

/* ---- clock -------------------------------------------------------------------------------- */

/*
 * Every reading of time goes through these. A test moves them: in process with
 * tf_clock_shift, across processes with a file named by TF_CLOCK_FILE that holds one
 * int64 of nanoseconds, mapped by each daemon at tf_clock_init and added to both clocks.
 */
uint64_t tf_mono_ns(void);
uint64_t tf_mono_ms(void);
int64_t tf_wall_ns(void); /* since 1970, UTC */
int64_t tf_wall_s(void);
int tf_clock_init(void); /* 0, or TF_E_IO when TF_CLOCK_FILE cannot be mapped */
void tf_clock_shift(int64_t ns);
/* First second of the UTC month that holds t, and of the next one. */
int64_t tf_month_start(int64_t wall_s);
int64_t tf_month_next(int64_t wall_s);

/* ---- ids, randomness, hashes -------------------------------------------------------------- */

/* 48 bits of milliseconds, 80 random bits: sorts by age. Request ids and row ids. */
struct tf_id {
	uint8_t b[16];
};
#define TF_ID_TEXT 26 /* Crockford base 32 */
struct tf_id tf_id_new(void);
void tf_id_text(struct tf_id id, char out[static TF_ID_TEXT + 1]);
int tf_id_parse(struct tf_span s, struct tf_id *out) TF_MUSTCHECK;
static inline bool
tf_id_eq(struct tf_id a, struct tf_id b)
{
	return memcmp(a.b, b.b, sizeof a.b) == 0;
}
static inline struct tf_span
tf_id_span(const struct tf_id *id)
{
	return tf_span(id->b, sizeof id->b);
}

void tf_random(void *p, size_t n); /* kernel randomness through a per-thread buffer; aborts if there is none */
uint64_t tf_random_u64(void);

#define TF_SHA256 32
void tf_sha256(const void *p, size_t n, uint8_t out[static TF_SHA256]);
/* The same of bytes that come in pieces. new returns NULL without memory; end frees, out may be NULL. */
struct tf_hash;
struct tf_hash *tf_hash_new(void);
void tf_hash_add(struct tf_hash *h, const void *p, size_t n);
void tf_hash_end(struct tf_hash **h, uint8_t *out);
void tf_hmac_sha256(struct tf_span key, const void *p, size_t n, uint8_t out[static TF_SHA256]);
uint32_t tf_crc32(uint32_t crc, const void *p, size_t n); /* IEEE, start with 0 */
bool tf_ct_equal(const void *a, const void *b, size_t n); /* constant time */
void tf_wipe(void *p, size_t n);                          /* never optimised away */
#define TF_SEAL_KEY 32
/*
 * Authenticated encryption (AES-256-GCM, RFC 5116, under a key of its own for each message: there may be any number).
 * Appends. 0 or TF_E_NOMEM; seal: TF_E_INVAL above 1 GB; unseal: TF_E_INVAL for what was not sealed with that key, then out is
 * as it was.
 */
int tf_seal(const uint8_t key[static TF_SEAL_KEY], struct tf_span plain, struct tf_buf *out) TF_MUSTCHECK;
int tf_unseal(const uint8_t key[static TF_SEAL_KEY], struct tf_span sealed, struct tf_buf *out) TF_MUSTCHECK;
void tf_hex(const void *p, size_t n, char *out);          /* 2n characters and NUL */
int tf_unhex(struct tf_span s, void *out, size_t n) TF_MUSTCHECK;
/* base64 with padding, no line breaks. Append. 0, TF_E_NOMEM; decode: TF_E_INVAL, then out is as it was. */
int tf_b64_encode(struct tf_span bytes, struct tf_buf *out) TF_MUSTCHECK;
int tf_b64_decode(struct tf_span text, struct tf_buf *out) TF_MUSTCHECK;

/* ---- what keys may do ----------------------------------------------------------------------- */

/* What a client can call, as keys and plans name it. */
enum tf_operation {
#define OPERATION(sym, name, what) TF_OP_##sym,
#include "common/base/operation.def"
#undef OPERATION
	TF_OP_COUNT
};
const char *tf_operation_name(enum tf_operation op);            /* static; NULL beyond the table */
enum tf_operation tf_operation_by_name(struct tf_span name); /* TF_OP_COUNT: none of that name */

#define TF_ADDRESS 16      /* bytes; an IPv4 address is mapped: ::ffff:192.0.2.1 */
#define TF_NETWORK_TEXT 64 /* "address/bits" with its end */
struct sockaddr;
/* TF_E_INVAL: a family that has no such address. */
int tf_address_of(const struct sockaddr *sa, uint8_t out[static TF_ADDRESS]) TF_MUSTCHECK;
/* An IPv4 or IPv6 address, in brackets and with :PORT as well. TF_E_INVAL. */
int tf_address_parse(struct tf_span text, uint8_t out[static TF_ADDRESS]) TF_MUSTCHECK;

struct tf_network {
	uint8_t address[TF_ADDRESS]; /* bits beyond the prefix are 0 */
	unsigned bits;               /* of the 128; an IPv4 network has 96 and more */
};
/* "192.0.2.0/24", "2001:db8::/32"; without /BITS it is one address. TF_E_INVAL. */
int tf_network_parse(struct tf_span text, struct tf_network *out) TF_MUSTCHECK;
bool tf_network_has(const struct tf_network *n, const uint8_t address[static TF_ADDRESS]);
/* In one way of writing it, IPv4 ones as IPv4. */
void tf_network_text(const struct tf_network *n, char out[static TF_NETWORK_TEXT]);

/* ---- API keys ----------------------------------------------------------------------------- */

/*
 * tf-{env}-{30 base62}{6 base62 checksum} and sk-oais-{30}{6}: 178 bits and more, then
 * the CRC32 of all before it, so that a typo is refused without a look-up (design 8).
 */
#define TF_APIKEY_MAX 256      /* longest key text accepted from a client */
#define TF_APIKEY_MIN 20       /* shortest, for imported keys */
#define TF_APIKEY_RANDOM 30
#define TF_APIKEY_SUM 6
#define TF_APIKEY_SHOWN_TAIL 4 /* characters kept for display beside the prefix */

enum tf_apikey_kind {
	TF_APIKEY_BAD,      /* cannot be a key: empty, too long, characters outside printable ASCII, bad checksum of our shape */
	TF_APIKEY_MINTED,   /* our shape, checksum right */
	TF_APIKEY_IMPORTED, /* another shape, long enough: needs a (rate limited) look-up */
};
enum tf_apikey_kind tf_apikey_check(struct tf_span text);
/*
 * For texts that hold what a client sent, before they are shown or logged: whatever looks like a key ("tf-", "sk-" and
 * more, TF_APIKEY_MIN characters at least) loses all but its first characters to asterisks, in place.
 */
void tf_apikey_hide(char *text);
/* form "tf" with env prod|stag|dev, or form "sk-oais" (env ignored). Writes NUL. TF_E_INVAL. */
int tf_apikey_mint(const char *form, const char *env, char *out, size_t cap) TF_MUSTCHECK;

/* ---- log ---------------------------------------------------------------------------------- */

enum tf_level { TF_ERROR, TF_WARN, TF_INFO, TF_DEBUG };

/*
 * One line to stderr: time level daemon subsystem rid=.. message key=value..
 * Never give it a body, a key, a token or a prompt. fmt yields "what happened key=value key=value";
 * values that may hold spaces or quotes go through tf_log_q. rid may be NULL.
 */
void tf_log(enum tf_level level, const char *subsystem, const struct tf_id *rid, const char *fmt, ...) TF_PRINTF(4, 5);
bool tf_log_on(enum tf_level level, const char *subsystem);
/* Again with the same name at any time, from any thread; with another one only while there is no second thread. */
void tf_log_init(const char *daemon, enum tf_level level, bool json);
void tf_log_level(enum tf_level level);
/* Debug lines of these subsystems ("http,dispatch"; "" for none) whatever the level. Copied. */
void tf_log_tokens(const char *list);
int tf_level_parse(const char *s, enum tf_level *out) TF_MUSTCHECK;
/* Quotes s into a per-thread ring of 8 buffers of 512 bytes: printable, no newline, cut with "...". */
const char *tf_log_q(struct tf_span s);

/* ---- metrics ------------------------------------------------------------------------------ */

/* Rows in metric.def. Counters only grow; gauges are set; both are process-wide and atomic. */
enum tf_metric {
#define METRIC(sym, daemon, kind, name, labels, help) TF_M_##sym,
#include "common/base/metric.def"
#undef METRIC
	TF_M_COUNT
};
void tf_metric_add(enum tf_metric m, uint64_t n);
void tf_metric_set(enum tf_metric m, uint64_t v);
uint64_t tf_metric_get(enum tf_metric m);
/* A labelled child, made at first use: values in the order of the row's labels, at most 512
 * children a row (further ones are counted under "other"). Values are copied. */
void tf_metric_add_l(enum tf_metric m, uint64_t n, const char *const *values);
/* Seconds-histogram row: observes nanoseconds. */
void tf_metric_observe(enum tf_metric m, uint64_t ns);
/* Appends Prometheus text of the rows of this daemon ("gatewayd"; NULL: all). */
int tf_metric_render(struct tf_buf *out, const char *daemon);

#endif
