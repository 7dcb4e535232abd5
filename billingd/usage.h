/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question about usage, between the file that understands and carries it out (usage.c) and the one that
 * writes what came of it (usage_out.c).
 */
#ifndef BL_USAGE_H
#define BL_USAGE_H

#include "billingd/billingd.h"

struct bl_question {
	struct bl *bl;
	struct bl_after after;
	struct bl_sums sums;
	enum bl_period period;
	/* of a caller of the API */
	struct bl_gateway *gateway; /* a reference is held; NULL: keyctl asks */
	struct tf_id frame;
	bool csv;                   /* a table is wanted, not JSON */
	/* of keyctl */
	struct ctl_req *req;
	enum bl_by by;
};

/* "window", "day", ...; NULL for BL_P_RANGE. Static. */
const char *bl_period_name(enum bl_period p);
/* Writes the document of the workspace. 0, TF_E_NOMEM, TF_E_RANGE: too long for one answer. */
int bl_usage_json(const struct bl_question *q, struct bl_workspace *ws, struct tf_buf *out) TF_MUSTCHECK;
/* The sums of the same document as one table after RFC 4180. Errors likewise. */
int bl_usage_csv(const struct bl_question *q, struct tf_buf *out) TF_MUSTCHECK;
/* Answers one row to q->req. */
void bl_usage_row(const struct bl_question *q, const struct bl_sum *s);

#endif
