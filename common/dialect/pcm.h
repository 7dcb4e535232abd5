/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WAVE to bare samples and back, as the bytes come. Bare samples are what the OpenAI API calls pcm: 24 kHz, one
 * channel, 16 bits, little endian. Private to this folder.
 */
#ifndef TF_DIALECT_PCM_H
#define TF_DIALECT_PCM_H

#include "common/dialect/dialect.h"

#define DL_PCM_RATE 24000

/* Reads a WAVE file piece by piece. All zero to begin with. */
struct dl_unwave {
	struct tf_buf held; /* the header so far, later a frame that is cut */
	bool data;          /* the samples have begun */
	uint64_t left;      /* bytes of them to come; UINT64_MAX: to the end */
	uint16_t channels, bits;
	bool floating;
	uint32_t rate;
	int16_t last;       /* frame of the file */
	int64_t next;       /* where the next sample for the client lies behind it, in 1/DL_PCM_RATE of a frame */
	bool some;
};
void dl_unwave_fini(struct dl_unwave *u);
/* Appends samples. 0, TF_E_NOMEM, TF_E_INVAL: no WAVE file of plain samples. */
int dl_unwave_feed(struct dl_unwave *u, struct tf_span piece, struct tf_buf *out) TF_MUSTCHECK;

/* Appends the header of a WAVE file of such samples whose length nobody knows yet. 0 or TF_E_NOMEM. */
int dl_wave_header(uint32_t rate, struct tf_buf *out) TF_MUSTCHECK;

#endif
