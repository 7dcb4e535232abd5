/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a recording plays, from its container alone: nothing is decoded. For metering audio by time when the
 * runtime does not say it, and for knowing what kind of file a client sent. Bytes are a client's: any are
 * survived, and the work is bounded by the size of the file and by DL_MEDIA_STEPS.
 */
#ifndef TF_DIALECT_MEDIA_H
#define TF_DIALECT_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/base.h"

enum dl_media_kind {
	DL_MEDIA_NONE, /* none of these */
	DL_MEDIA_WAV,  /* RIFF, RF64 or BW64 WAVE */
	DL_MEDIA_MP3,  /* MPEG audio frames of any layer */
	DL_MEDIA_AAC,  /* ADTS frames */
	DL_MEDIA_MP4,  /* ISO base media: mp4, m4a, mov; also fragmented */
	DL_MEDIA_OGG,  /* Opus, Vorbis, FLAC, Speex */
	DL_MEDIA_FLAC,
	DL_MEDIA_WEBM, /* WebM, Matroska */
	DL_MEDIA_MPEG, /* program stream: known, its duration is not read */
};

#define DL_MEDIA_STEPS 200000 /* frames, pages, boxes or elements looked at; what is left is taken to be alike */

struct dl_media {
	enum dl_media_kind kind;
	bool exact;  /* the container says it; else ms is judged by the size of the file, 64 kbit/s */
	uint64_t ms; /* rounded half up; less what encoders add before and behind, where the container tells */
};

/* By the first bytes; when those say nothing by the filename's extension. filename may be empty. */
void dl_media_probe(struct tf_span bytes, struct tf_span filename, struct dl_media *out);
/* The kind that an extension (lower case, without the dot) names; NONE. And one for a kind: "wav"; "" for NONE. */
enum dl_media_kind dl_media_named(const char *extension);
const char *dl_media_extension(enum dl_media_kind kind);
/* What the API calls the kinds that it takes: "flac, m4a, mp3, ..." Static. */
const char *dl_media_names(void);

#endif
