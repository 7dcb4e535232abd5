/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the codec shows to the links and to nobody else.
 */
#ifndef TF_WIRE_CODEC_H
#define TF_WIRE_CODEC_H

#include "common/wire/wire.h"

bool wire_verb_known(unsigned verb);
/* Writes the sequence number into an encoded frame. */
void wire_frame_seq(char *frame, uint16_t seq);

#endif
