/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stop strings that the runtime cannot be told of are looked for here, in the events between its decoder
 * and the client's encoder. Private to this folder.
 */
#ifndef TF_DIALECT_STOP_H
#define TF_DIALECT_STOP_H

#include "common/dialect/canon.h"

struct dl_stop;

/*
 * strings: values are looked for, empty ones never match; copied. most: so many the runtime takes; *s is NULL then,
 * for nothing is to be looked for, else new. What *s was is freed. 0 or TF_E_NOMEM.
 */
int dl_stop_new(const struct dl_extra *strings, uint32_t most, dl_emit_fn *emit, void *arg, struct dl_stop **s) TF_MUSTCHECK;
void dl_stop_free(struct dl_stop **s);
/*
 * Passes e on by emit. Text that may be the beginning of a stop string waits for what follows it; where one
 * is complete the choice ends in front of it, with reason stop and the string in the event's text, and
 * what the runtime still says in that choice is left out. 0, TF_E_NOMEM, or what emit gave.
 */
int dl_stop_event(struct dl_stop *s, const struct dl_event *e) TF_MUSTCHECK;
/* Was each of n answers ended here? The runtime may say what it likes then. s may be NULL. */
bool dl_stop_over(const struct dl_stop *s, uint32_t n);
/* Another answer from the start. */
void dl_stop_reset(struct dl_stop *s);

#endif
