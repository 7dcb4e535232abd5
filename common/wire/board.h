/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What billingd says without a message: what its accounts leave, in a file of RUN_DIR that its gateways map. A figure stands
 * there before the grant that made it leaves billingd, so whoever looks sees no more than what is left, whatever messages
 * are still on their way. So does the number of the last change of keys and limits, before the operator who made it is
 * answered. One writer; any number of readers, who take no lock and never wait.
 *
 * The file holds a head and slots of 64 bytes, numbered from 1. It grows; slots are never given back. It belongs to one
 * start of billingd, and numbers of its slots mean nothing in that of another.
 */
#ifndef WIRE_BOARD_H
#define WIRE_BOARD_H

#include "common/base/base.h"

/* What is left of one window. */
struct wire_room {
	uint64_t window;           /* number; 0: none runs */
	uint64_t ends_ms;          /* wall clock, since 1970 */
	uint64_t requests, tokens; /* that nobody holds; of what nothing limits 0 */
};

struct wire_board;

/*
 * A new one, in place of what a former start left there; 0640. TF_E_IO, TF_E_NOMEM, TF_E_RANGE: dir is too long.
 */
int wire_board_create(const char *dir, uint64_t boot, struct wire_board **out) TF_MUSTCHECK;
/* n slots in a row: the first's number, or 0 without memory or room. */
uint32_t wire_board_take(struct wire_board *b, uint32_t n);
/* A number that was taken. */
void wire_board_put(struct wire_board *b, uint32_t slot, const struct wire_room *room);
/* A gateway comes into session. */
void wire_board_join(struct wire_board *b);
/* Number of the last KEY_CHANGE: before it is sent, and before whoever asked for the change is answered. */
void wire_board_change(struct wire_board *b, uint64_t number);

/* To read. TF_E_NOENT: there is none, or it is not of that start; TF_E_IO, TF_E_NOMEM, TF_E_PROTO, TF_E_RANGE. */
int wire_board_open(const char *dir, uint64_t boot, struct wire_board **out) TF_MUSTCHECK;
uint64_t wire_board_boot(const struct wire_board *b);
/* Another number whenever a gateway comes into session, and with each start of billingd. */
uint64_t wire_board_joins(const struct wire_board *b);
/* Number of the last change that billingd made; 0: it does not say it here. */
uint64_t wire_board_changed(const struct wire_board *b);
/* False: no such slot, or it is being written all the time. Any number is allowed. */
bool wire_board_get(struct wire_board *b, uint32_t slot, struct wire_room *room);

/* Also removes the file of one that was created. Sets *b to NULL, which it may be. */
void wire_board_close(struct wire_board **b);

#endif
