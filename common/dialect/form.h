/* SPDX-License-Identifier: Apache-2.0 */
/*
 * multipart/form-data, read strictly (RFC 7578, RFC 2046 5.1, WHATWG's way of writing names) and written again.
 * A form is read where it lies, in pieces of any size, without allocation: each part is given to a callback as
 * spans. What may harm whoever gets the form next (a path in a file name, two names for one part, bytes around
 * the form) is refused. Knows no field and no API.
 */
#ifndef TF_DIALECT_FORM_H
#define TF_DIALECT_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/base.h"

#define DL_FORM_BOUNDARY_MAX 70 /* RFC 2046 */
#define DL_FORM_HEAD_MAX 4096   /* header lines of one part, bytes */
#define DL_FORM_PARTS_MAX 256   /* default limit of parts */
#define DL_FORM_PADDING_MAX 64  /* white space behind a boundary */

/* One part. Spans borrow from the text of the feed that gave it. */
struct dl_form_part {
	struct tf_span name;     /* as written between the quotes, less a final "[]"; never empty */
	bool list;               /* the name ended in "[]" */
	bool file;               /* it has a filename, which may be empty */
	struct tf_span filename; /* as written; a bare name, no path, no control characters */
	struct tf_span type;     /* Content-Type; empty: none given */
	struct tf_span value;    /* the bytes, any */
	struct tf_span whole;    /* header lines, empty line and value: what dl_form_w_copy() takes */
};

/* 0 goes on; a negative code stops the reading with it (sticky). */
typedef int dl_form_fn(void *arg, const struct dl_form_part *part);

/* Its members are the reader's; why, off and nparts may be read at any time. */
struct dl_form_reader {
	char delimiter[4 + DL_FORM_BOUNDARY_MAX + 1]; /* "\r\n--boundary" */
	uint8_t ndelimiter;
	uint8_t state;
	uint32_t nparts, max_parts;
	size_t off;      /* everything before it has been read */
	size_t head;     /* of the part being read: its header lines ... */
	size_t value;    /* ... and its value */
	int err;         /* sticky */
	const char *why; /* a sentence about what is wrong, for the caller; NULL: nothing is. Static */
	dl_form_fn *fn;
	void *arg;
};

/* Is that the type, whatever its parameters? */
bool dl_form_is(struct tf_span content_type);
/*
 * content_type: the header's value, parameters included. max_parts 0: DL_FORM_PARTS_MAX. TF_E_INVAL: it is not
 * multipart/form-data or names no boundary, two, or an impossible one; f->why says which.
 */
int dl_form_init(struct dl_form_reader *f, struct tf_span content_type, uint32_t max_parts, dl_form_fn *fn,
    void *arg) TF_MUSTCHECK;
/*
 * text[0..len): the body so far, from its first byte; it may have moved. 0: good so far. TF_E_INVAL: malformed,
 * TF_E_FULL: a limit (both with f->why), or the callback's code. A part is given once it is complete.
 */
int dl_form_feed(struct dl_form_reader *f, const char *text, size_t len) TF_MUSTCHECK;
/* The same, and nothing follows: a form without its last boundary is malformed. */
int dl_form_end(struct dl_form_reader *f, const char *text, size_t len) TF_MUSTCHECK;
/* The part's extension in lower case, at most cap - 1 bytes: "wav"; "" when there is none or it does not fit. */
void dl_form_extension(struct tf_span filename, char *out, size_t cap);

/*
 * Writes a form with the boundary of the one that is read, so that values of it cannot collide. Errors stick:
 * see dl_form_w_end().
 */
struct dl_form_w {
	struct tf_buf *out; /* borrowed */
	const struct dl_form_reader *as; /* borrowed: for its boundary */
	int err;
};
void dl_form_w_init(struct dl_form_w *w, const struct dl_form_reader *as, struct tf_buf *out);
/* A part as it stands. */
void dl_form_w_copy(struct dl_form_w *w, const struct dl_form_part *part);
/*
 * A text part. name: a field's name, plain ASCII. A value in which the boundary stands (it came from elsewhere)
 * is refused with TF_E_INVAL.
 */
void dl_form_w_text(struct dl_form_w *w, const char *name, struct tf_span value);
/* A file part with its own name and bytes; its file name becomes "file.EXTENSION", its type is left out. */
void dl_form_w_file(struct dl_form_w *w, const struct dl_form_part *part, const char *extension);
/* A file of our own making, as dl_form_w_text refuses it. type: its Content-Type; NULL: none is said. */
void dl_form_w_bytes(struct dl_form_w *w, struct tf_span name, const char *extension, const char *type, struct tf_span value);
/* The last boundary. 0, TF_E_NOMEM or TF_E_INVAL. */
int dl_form_w_end(struct dl_form_w *w) TF_MUSTCHECK;

#endif
