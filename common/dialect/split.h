/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts a large JSON answer into the entries of its list and the rest, as it arrives, so that only what an
 * entry becomes has to be kept. Private to this folder and its tests.
 */
#ifndef TF_DIALECT_SPLIT_H
#define TF_DIALECT_SPLIT_H

#include "common/dialect/dialect.h"

#define DL_SHELL_MAX (1u << 20) /* bytes of an answer beside its list */

/* entry: the text of an object, valid JSON, good during the call. 0 goes on; a negative code stops. */
typedef int dl_split_fn(void *arg, uint32_t index, struct tf_span entry);

struct dl_split {
	const char *const *names; /* the list is the first member of one of these names, NULL terminated ... */
	bool bare;                /* ... or the document itself may be the list */
	size_t entry_max;         /* largest entry, bytes */

	struct tf_buf shell, entry; /* everything below is its own */
	uint32_t count;             /* entries so far */
	uint32_t depth, level;      /* open containers; those around the list's entries */
	size_t word, wordlen;       /* last string at the top level, in shell */
	bool string, escaped;       /* in a string, behind its backslash */
	bool found, list, inside;   /* the list came, is open, an entry of it is */
	bool comma;                 /* another entry has to come */
};

/* names as above; all else zero to begin with. */
void dl_split_init(struct dl_split *s, const char *const *names, bool bare, size_t entry_max);
void dl_split_fini(struct dl_split *s);
/*
 * Bytes, cut anywhere. 0; TF_E_INVAL: not JSON, or a list that does not hold objects only; TF_E_FULL: too large;
 * TF_E_NOMEM; fn's code.
 */
int dl_split_feed(struct dl_split *s, struct tf_span piece, dl_split_fn *fn, void *arg) TF_MUSTCHECK;
/* The document is complete. *rest: it with the list emptied, valid JSON; good until _fini. As _feed. */
int dl_split_end(struct dl_split *s, struct tf_span *rest) TF_MUSTCHECK;

#endif
