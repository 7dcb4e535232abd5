/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a runtime heard, in each of the forms that the OpenAI API gives it: json, text, srt, vtt, verbose_json.
 * Private to this folder.
 */
#ifndef TF_DIALECT_TRANSCRIPT_H
#define TF_DIALECT_TRANSCRIPT_H

#include "common/dialect/canon.h"

enum dl_transcript_format {
	DL_TRANSCRIPT_JSON,
	DL_TRANSCRIPT_TEXT,
	DL_TRANSCRIPT_SRT,
	DL_TRANSCRIPT_VTT,
	DL_TRANSCRIPT_VERBOSE,
	DL_TRANSCRIPT_DIARIZED,
};
/* By the API's name of it. TF_E_NOENT. */
int dl_transcript_format(struct tf_span name, enum dl_transcript_format *out) TF_MUSTCHECK;
const char *dl_transcript_format_name(enum dl_transcript_format f);
/* Does it show times, which a runtime that gives the words alone does not know? */
static inline bool
dl_transcript_timed(enum dl_transcript_format f)
{
	return f == DL_TRANSCRIPT_SRT || f == DL_TRANSCRIPT_VTT || f == DL_TRANSCRIPT_VERBOSE;
}

/* An answer taken apart. Spans are raw JSON values that borrow from the answer; empty: it has none. */
struct dl_transcript {
	struct tf_span all;      /* the whole object; empty when the answer was bare text */
	struct tf_span plain;    /* the bare text, characters */
	struct tf_span text, language, segments, words, usage;
	bool has_ms;             /* the runtime said how long what it heard is ... */
	uint64_t ms;             /* ... milliseconds */
	bool has_seconds;        /* the same as it stands in usage, which is rounded up ... */
	uint64_t seconds;        /* ... to whole seconds */
	bool longer;             /* the caller's: it was asked for in a longer form than the client's */
};

/* body: JSON that is valid, or (json false) bare text. TF_E_INVAL: no transcript. */
int dl_transcript_parse(struct tf_span body, bool json, struct dl_transcript *t) TF_MUSTCHECK;
/* Appends what was said, characters, without white space around it. 0, TF_E_NOMEM, TF_E_INVAL. */
int dl_transcript_text(const struct dl_transcript *t, struct tf_buf *out) TF_MUSTCHECK;
/* Is anything there but silence for which there are no times? Then it cannot be written as srt, vtt, verbose_json. */
bool dl_transcript_untimed(const struct dl_transcript *t);
/*
 * Appends it in that form. task: "transcribe" or "translate". ms: how long the recording is, for usage and where
 * the runtime has not said it. 0, TF_E_NOMEM, TF_E_INVAL: its times cannot be read.
 */
int dl_transcript_write(const struct dl_transcript *t, enum dl_transcript_format f, const char *task, uint64_t ms,
    struct tf_buf *out) TF_MUSTCHECK;
/* Appends the usage object: the runtime's own, else the duration. 0 or TF_E_NOMEM. */
int dl_transcript_usage(struct tf_span usage, uint64_t ms, struct tf_buf *out) TF_MUSTCHECK;

#endif
