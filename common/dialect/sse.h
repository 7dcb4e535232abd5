/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads server-sent events of a runtime. Private to this folder.
 */
#ifndef TF_DIALECT_SSE_H
#define TF_DIALECT_SSE_H

#include "common/dialect/dialect.h"

#define DL_SSE_MAX (8u << 20) /* largest event where nothing else is said, bytes */

/* 0 goes on; a negative code stops. Spans are good during the call. */
typedef int dl_sse_fn(void *arg, struct tf_span event, struct tf_span data);

/* All zero to begin with. */
struct dl_sse {
	size_t max;           /* largest event, bytes; 0: DL_SSE_MAX */
	struct tf_buf buf;    /* an unfinished event, from its first line */
	struct tf_buf joined; /* data of several lines */
	size_t line;          /* offset of the unfinished line */
	size_t seen;          /* bytes from there that hold no line end */
	size_t data, datalen; /* first data line */
	size_t event, eventlen;
	uint32_t ndata;
	bool skip_lf;         /* the last byte was a CR that ended a line */
	bool begun;           /* past a byte order mark */
};
void dl_sse_fini(struct dl_sse *s);
void dl_sse_reset(struct dl_sse *s);
/*
 * Bytes, cut anywhere. Line ends LF, CRLF and CR. Each event with data is given to fn. Lenient where
 * runtimes are: white space around name and data is left out, a data line directly behind a data line that
 * is a whole JSON value begins an event of its own, and a line that begins with '{' counts as data.
 * TF_E_FULL: an event is too large.
 */
int dl_sse_feed(struct dl_sse *s, const char *p, size_t n, dl_sse_fn *fn, void *arg) TF_MUSTCHECK;
/* The stream ended: an event that lacks only its empty line counts. */
int dl_sse_end(struct dl_sse *s, dl_sse_fn *fn, void *arg) TF_MUSTCHECK;

#endif
