/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the check of the ledger: what verify_ops.c and verify_seq.c give each other. */
#ifndef BL_VERIFY_H
#define BL_VERIFY_H

#include "billingd/sqlite.h"

/* n of that check are wrong; what the first of all was is kept. */
void bl_found(struct bl_verify *v, enum bl_check check, uint64_t n, const char *fmt, ...) TF_PRINTF(4, 5);

/* A row of a start has that number, which is not above the acknowledged one. TF_E_NOMEM. */
int bl_seq_seen(struct bl_verify *v, struct bl_verify_instance *i, uint64_t seq);
/* All rows were seen. */
int bl_seq_check(struct db_lane *lane, struct bl_verify *v);
void bl_seq_fini(struct bl_verify *v);

/* Notes where rows behind those noted before, up to that id, began far from their windows. TF_E_NOMEM, TF_E_IO. */
int bl_strays_note(struct db_lane *lane, struct bl_verify *v, int64_t to);
/* The next window behind v->at.workspace and v->id, which are set to it. 1; 0: there is none. */
int bl_windows_check(struct db_lane *lane, struct bl_verify *v);
void bl_strays_fini(struct bl_verify *v);

#endif
