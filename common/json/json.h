/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/json: JSON text without trees. A resumable scanner that validates strictly and
 * reports the spans of fields of interest; splicing that changes a text without parsing it
 * again; readers of single values; iteration; a streaming writer; and, for cold paths, json-c
 * trees behind the scanner. Knows nothing of HTTP, of dialects or of any field's meaning.
 * Nothing here blocks, logs or keeps global state; every struct belongs to its caller.
 *
 * "Text" means the raw JSON bytes of one value as they stand in the document: a string's
 * text includes its quotes. Offsets count bytes from the start of the document.
 * Source of the grammar: RFC 8259; of UTF-8: RFC 3629.
 */
#ifndef TF_JSON_H
#define TF_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/base.h"

struct json_object; /* json-c's; only tree.c looks inside */

/* ---- values ------------------------------------------------------------------------------- */

enum js_type { JS_NONE, JS_NULL, JS_BOOL, JS_NUMBER, JS_STRING, JS_OBJECT, JS_ARRAY };

/* Type by the first byte of a valid value's text; JS_NONE for an empty or impossible one. */
enum js_type js_type(struct tf_span text);
/* "an object", "a string", ...: for messages. Static. */
const char *js_type_name(enum js_type type);

#define JS_NUMBER_MAX 1024 /* longest number text accepted, bytes */
#define JS_DEPTH_MAX 1024  /* largest depth limit that can be asked for */
#define JS_DEPTH 128       /* default limits: nesting ... */
#define JS_NODES 200000    /* ... and values (each scalar, object and array is one) */

/* ---- interest: which fields the scanner reports ------------------------------------------- */

/*
 * A path is member names joined by '.', with "[*]" for every element of an array and "*"
 * for every member not named beside it: "model", "messages[*].content[*].type", "usage.*",
 * "" for the whole document. Names may hold any byte but '.', '[' and '*', 64 at most.
 */
enum js_path_flag {
	JS_UNIQUE = 1,   /* a second occurrence, or one of a member on the way to it, is an error */
	JS_AT_START = 2, /* containers are also reported where they begin (hit.begin) */
	JS_NO_TEXT = 4,  /* strings in and below it do not count as text (image data) */
};

struct js_path {
	const char *path;
	unsigned id;    /* the caller's, given back in the hit */
	unsigned flags; /* enum js_path_flag */
};

#define JS_PATH_DEPTH 12 /* most levels in a path */
#define JS_PATH_INDEX 4  /* most "[*]" in a path */

struct js_interest; /* compiled, immutable, may be shared by threads */

/*
 * Returns new in *out. Borrows the path texts for as long as it lives (tables are static).
 * TF_E_NOMEM; TF_E_INVAL for a malformed path, one given twice or too deep.
 */
int js_interest_new(const struct js_path *paths, size_t n, struct js_interest **out) TF_MUSTCHECK;
void js_interest_free(struct js_interest **in);

/* ---- the scanner -------------------------------------------------------------------------- */

#define JS_NOKEY SIZE_MAX

/* One value of interest. Valid only during the callback. */
struct js_hit {
	unsigned id;
	enum js_type type;
	bool begin;    /* a container's beginning; end, text, count are not known yet */
	bool escaped;  /* the string holds at least one escape */
	size_t key;    /* offset of the member name's opening quote; JS_NOKEY when it has none */
	size_t keyend; /* behind its closing quote */
	size_t start;  /* the value's text is [start, end) */
	size_t end;
	size_t text;    /* raw bytes between the quotes of its strings, less JS_NO_TEXT ones */
	size_t names;   /* the same of all member names in it */
	uint32_t count; /* members or elements of a container */
	uint32_t index[JS_PATH_INDEX]; /* the elements that "[*]" stood for, outermost first */
};

/* 0 goes on; negative stops the scan with that code (fault JS_F_CALLBACK). */
typedef int js_hit_fn(void *arg, const struct js_hit *hit);

enum js_fault {
#define JS_FAULT(sym, sentence) JS_F_##sym,
#include "common/json/fault.def"
#undef JS_FAULT
	JS_F_COUNT
};
const char *js_fault_text(enum js_fault fault);

struct js_frame { /* one open container of interest; the scanner's own */
	size_t start, key, keyend, text, names;
	uint64_t seen[2];
	uint32_t count;
	uint16_t node;
};

/*
 * State of one scan. Fixed size, no allocation. Members are the scanner's; a caller may
 * read off, fault, nodes, text, names and root at any time.
 */
struct js_scan {
	size_t off;          /* everything before it has been accepted */
	size_t errat;        /* where the fault is */
	enum js_fault fault; /* JS_F_NONE while all is well */
	enum js_type root;   /* type of the document, JS_NONE before its first byte */
	uint32_t nodes;      /* values begun so far */
	size_t text, names;  /* bytes of all strings, and of all member names */

	const struct js_interest *in;
	js_hit_fn *fn;
	void *arg;
	int err; /* sticky */
	uint32_t max_nodes;
	uint16_t max_depth, depth;
	uint16_t skip;    /* open containers above the last frame */
	uint8_t nframes, nindex, state;
	bool escaped, iskey, final;
	uint16_t node;    /* trie node of the value that comes next */
	size_t tok;       /* start of the string being read */
	size_t key, keyend;
	struct js_hit hit;
	uint64_t kinds[JS_DEPTH_MAX / 64]; /* one bit per open container: it is an object */
	struct js_frame frame[JS_PATH_DEPTH + 1];
};

/* in and fn may be NULL (validation alone). Borrows in and arg until the scan is over. */
void js_scan_init(struct js_scan *s, const struct js_interest *in, js_hit_fn *fn, void *arg);
/* Before the first feed. depth 1..JS_DEPTH_MAX, nodes >= 1; 0 keeps the default. */
void js_scan_limits(struct js_scan *s, unsigned depth, uint32_t nodes);
/*
 * text[0..len) is the document so far, from its first byte: the same bytes as before and
 * more behind them (the memory may have moved). Slices of any size give the same result.
 * 0: good so far. TF_E_INVAL: malformed, TF_E_FULL: a limit, or the callback's code; all sticky.
 */
int js_scan_feed(struct js_scan *s, const char *text, size_t len) TF_MUSTCHECK;
/* The same, and nothing follows: a document that is not complete is malformed. */
int js_scan_end(struct js_scan *s, const char *text, size_t len) TF_MUSTCHECK;
/*
 * True once the value is complete (only white space may follow). Numbers at the top: after
 * js_scan_end.
 */
bool js_scan_done(const struct js_scan *s);
/* Validation alone, default limits. 0, TF_E_INVAL, TF_E_FULL. */
int js_valid(struct tf_span text) TF_MUSTCHECK;

struct js_place {
	size_t line, column; /* from 1; columns count bytes */
	char path[160];      /* "messages[2].content", "" at the top; shortened with "..." */
};
/* Where the fault is. text as given to the scan that failed. Walks the text again: cold path. */
void js_scan_place(const struct js_scan *s, struct tf_span text, struct js_place *out);
/*
 * "invalid JSON at line 3, column 14 (messages[2].content): unescaped control character in
 * a string", or for a duplicate "duplicate field \"model\" at line 1, column 40". Valid UTF-8
 * without control characters, terminated, cut to size.
 */
void js_scan_message(const struct js_scan *s, struct tf_span text, char *out, size_t size);

/* A callback that keeps hits: arg is a struct js_hits. TF_E_FULL beyond max. */
struct js_hits {
	struct js_hit *v;
	size_t n, max;
};
js_hit_fn js_hits_keep;

static inline struct tf_span
js_hit_text(const char *document, const struct js_hit *hit)
{
	return tf_span(document + hit->start, hit->end - hit->start);
}

/* ---- splice: change a text without parsing it again ---------------------------------------- */

enum js_edit_kind { JS_REPLACE, JS_DELETE, JS_INSERT_FIRST, JS_INSERT_LAST };

struct js_edit {
	enum js_edit_kind kind;
	uint32_t seq;        /* order of insertion among equals */
	size_t start, end;   /* what it takes away; start == end for insertions */
	struct tf_span with; /* borrowed until the splice */
};
struct js_edits {
	struct js_edit *v; /* the caller's array */
	size_t n, max;
	int err; /* sticky: TF_E_FULL when the array is full, TF_E_INVAL for an impossible span */
};

/*
 * Edits name spans of a text that the scanner accepted; in any order. An edit inside a range
 * that another one deletes or replaces has no effect. Of two edits of one range a deletion wins,
 * else the later one.
 * Errors are sticky and come back from the splice, so calls need no check each.
 */
void js_edits_init(struct js_edits *e, struct js_edit *v, size_t max);
/* The value at [start, end) becomes with (JSON text). */
void js_edit_replace(struct js_edits *e, size_t start, size_t end, struct tf_span with);
/* Takes away a member [key, end of its value) or an element [start, end), and the right comma. */
void js_edit_delete(struct js_edits *e, size_t start, size_t end);
/* Adds text (`"name":value`, or an element) as first entry of the container that starts at open. */
void js_edit_insert_first(struct js_edits *e, size_t open, struct tf_span text);
/* As last entry of the container that ends at end (hit.end). */
void js_edit_insert_last(struct js_edits *e, size_t end, struct tf_span text);

/* Called with each piece of the result in order; it borrows from text or edits. Non-zero stops. */
typedef int js_piece_fn(void *arg, struct tf_span piece);
/*
 * Sorts the edits. 0, TF_E_FULL, TF_E_INVAL (edits overlap or do not fit the text), or the
 * callback's code.
 */
int js_splice_each(struct tf_span text, struct js_edits *e, js_piece_fn *fn,
    void *arg) TF_MUSTCHECK;
/* Appends the result to out; nothing is appended on failure. Also TF_E_NOMEM. */
int js_splice(struct tf_span text, struct js_edits *e, struct tf_buf *out) TF_MUSTCHECK;

/* ---- reading one value ---------------------------------------------------------------------- */

/* These take the text of a value that the scanner accepted; another type is TF_E_INVAL. */

/*
 * The characters of a string, escapes undone. Borrows from text when there is no escape,
 * else appends to scratch and borrows from it (so until scratch changes). TF_E_NOMEM.
 */
int js_str(struct tf_span text, struct tf_buf *scratch, struct tf_span *out) TF_MUSTCHECK;
/* Appends the characters to out. */
int js_str_append(struct tf_span text, struct tf_buf *out) TF_MUSTCHECK;
/* Is it the string s (escapes undone)? False for other types. */
bool js_str_eq(struct tf_span text, const char *s);
bool js_str_eqn(struct tf_span text, struct tf_span s);
/* Integers: 16, 16.0 and 1.6e1 alike. TF_E_RANGE when not whole or outside the type. */
int js_get_i64(struct tf_span text, int64_t *out) TF_MUSTCHECK;
int js_get_u64(struct tf_span text, uint64_t *out) TF_MUSTCHECK;
/* TF_E_RANGE when too large for a double; too small gives 0. */
int js_get_double(struct tf_span text, double *out) TF_MUSTCHECK;
int js_get_bool(struct tf_span text, bool *out) TF_MUSTCHECK;
static inline bool
js_is_null(struct tf_span text)
{
	return text.n == 4 && text.p[0] == 'n';
}

/* ---- iteration over a valid value, without allocation ---------------------------------------- */

struct js_iter {
	const char *p, *end;
	uint32_t index; /* of the entry returned last + 1 */
	bool object;
};

/* text: an object or array that the scanner accepted; anything else has no entries. Borrows. */
void js_iter_init(struct js_iter *it, struct tf_span text);
/* Next entry; key (its text, quotes included; empty in arrays) may be NULL. False at the end. */
bool js_iter_next(struct js_iter *it, struct tf_span *key, struct tf_span *value);
/* The last member of that name. False when there is none or text is no object. */
bool js_member(struct tf_span text, const char *name, struct tf_span *value);
/* Members by path, "a.b[2].c". False when something on the way is missing. */
bool js_at(struct tf_span text, const char *path, struct tf_span *value);

/* ---- the writer ------------------------------------------------------------------------------ */

#define JS_W_DEPTH 256 /* deepest nesting it writes */

/* Streams JSON into a buffer and sets the commas. The first error sticks: see js_w_done. */
struct js_w {
	struct tf_buf *out; /* borrowed */
	int err;            /* TF_E_NOMEM, TF_E_RANGE, TF_E_STATE (calls in an impossible order) */
	uint16_t depth;
	bool some;     /* the open container has an entry */
	bool afterkey; /* a member's value comes next */
	uint64_t kinds[JS_W_DEPTH / 64];
};

void js_w_init(struct js_w *w, struct tf_buf *out);
void js_w_object(struct js_w *w);
void js_w_object_end(struct js_w *w);
void js_w_array(struct js_w *w);
void js_w_array_end(struct js_w *w);
void js_w_key(struct js_w *w, const char *name);
void js_w_keyn(struct js_w *w, struct tf_span name);
/* Escapes; bytes that are not UTF-8 become U+FFFD. */
void js_w_str(struct js_w *w, struct tf_span s);
void js_w_cstr(struct js_w *w, const char *s); /* NULL writes null */
/* Valid JSON text of one value, as it is: also its line breaks, which an SSE line cannot hold. */
void js_w_raw(struct js_w *w, struct tf_span text);
/* The same without the white space between tokens. */
void js_w_compact(struct js_w *w, struct tf_span text);
void js_w_i64(struct js_w *w, int64_t v);
void js_w_u64(struct js_w *w, uint64_t v);
/* shortest that reads back the same; not finite: TF_E_RANGE */
void js_w_double(struct js_w *w, double v);
void js_w_bool(struct js_w *w, bool v);
void js_w_null(struct js_w *w);
/* 1500000 -> "0.0015" (a string, as money is written) or 0.0015 (a number). Exact, shortest. */
void js_w_nano(struct js_w *w, int64_t nano);
void js_w_nano_number(struct js_w *w, int64_t nano);
/* 0, or the sticky error; TF_E_STATE when a container is still open. */
int js_w_done(struct js_w *w) TF_MUSTCHECK;
/* Appends s as a JSON string with quotes, outside of any writer. 0 or TF_E_NOMEM. */
int js_quote(struct tf_buf *out, struct tf_span s) TF_MUSTCHECK;

/* Key and value in one call. */
void js_w_kstr(struct js_w *w, const char *name, struct tf_span s);
void js_w_kcstr(struct js_w *w, const char *name, const char *s);
void js_w_ki64(struct js_w *w, const char *name, int64_t v);
void js_w_ku64(struct js_w *w, const char *name, uint64_t v);
void js_w_kbool(struct js_w *w, const char *name, bool v);
void js_w_knull(struct js_w *w, const char *name);
void js_w_kraw(struct js_w *w, const char *name, struct tf_span text);

/* ---- trees (json-c), cold paths only --------------------------------------------------------- */

/*
 * Returns new in *out (js_tree_free). The scanner accepts the text first, with the default
 * limits. Refused besides, because json-c would change them in silence: NUL in member names,
 * integers outside int64, numbers outside double. fault, at (may be NULL): what and where.
 * TF_E_INVAL, TF_E_FULL, TF_E_RANGE, TF_E_NOMEM.
 */
int js_tree_parse(struct tf_span text, struct json_object **out, enum js_fault *fault,
    size_t *at) TF_MUSTCHECK;
void js_tree_free(struct json_object **t);
/* By path, "a.b[2].c"; "" is t itself. NULL when missing. Borrowed. */
struct json_object *js_tree_at(struct json_object *t, const char *path);
enum js_type js_tree_type(struct json_object *t);
/* Each gives other when the path is missing or of another type. Strings are borrowed. */
struct tf_span js_tree_str(struct json_object *t, const char *path, struct tf_span other);
int64_t js_tree_i64(struct json_object *t, const char *path, int64_t other);
double js_tree_double(struct json_object *t, const char *path, double other);
bool js_tree_bool(struct json_object *t, const char *path, bool other);
/* members or elements, 0 for scalars */
size_t js_tree_count(struct json_object *t, const char *path);

#endif
