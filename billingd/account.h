/* SPDX-License-Identifier: Apache-2.0 */
/* What account.c and hold.c share and nobody else includes. */
#ifndef BL_ACCOUNT_H
#define BL_ACCOUNT_H

#include "billingd/limit.h"

/* Each i whose bit is set in mask, in the order of the table. */
#define BL_METERS_EACH(i, mask) \
	for (unsigned rest_ = (mask); rest_ != 0 && ((i) = (unsigned)__builtin_ctz(rest_), true); rest_ &= rest_ - 1)

extern const unsigned bl_of_window[BL_WINDOWS];          /* bits of the meters that are counted in it */
extern const enum bl_scope bl_window_scopes[BL_WINDOWS]; /* whose clock it is */

/* Bits of the meters whose running window has this number, and of those without a window. */
unsigned bl_pair_live(const struct bl_pair *p, const uint64_t number[static BL_WINDOWS], struct bl_now now);
/* Books what is given; BL_GIVEN or TF_E_NOMEM. */
int bl_hold_grant(const struct bl_pair *p, const struct bl_ask *ask, struct bl_now now, const struct bl_offer *offer);

#endif
