/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dialect's table of request fields and how the scan uses it. Private to this folder.
 */
#ifndef TF_DIALECT_FIELD_H
#define TF_DIALECT_FIELD_H

#include "common/dialect/dialect.h"

enum { /* types a field accepts */
	DL_T_NULL = 1,
	DL_T_BOOL = 2,
	DL_T_NUMBER = 4,
	DL_T_INT = 8, /* a number without fraction */
	DL_T_STRING = 16,
	DL_T_OBJECT = 32,
	DL_T_ARRAY = 64,
};

struct dl_field {
	const char *path;
	unsigned types;
	double low, high;
	char class; /* U P S X D - */
	unsigned flags;
	const char *help;
};

/* One value of a request, its type and range already right. */
struct dl_value {
	unsigned id;             /* row of the field table */
	const struct js_hit *hit;
	struct tf_span text;     /* empty where a container begins */
};

struct dl_fields {
	const struct dl_field *v;
	size_t n;
	/* What the value means for the head. 0, or TF_E_INVAL by way of dl_scan_refuse*. */
	int (*value)(struct dl_scan *s, const struct dl_value *v);
	/* The body is complete. */
	int (*end)(struct dl_scan *s, struct tf_span body);
};

/* The compiled table of a dialect; shared by all threads. */
const struct js_interest *dl_interest(enum dl_dialect d);

/* Refuses the request for that value; always TF_E_INVAL. what: "must be ..." */
int dl_scan_refuse(struct dl_scan *s, const struct dl_value *v, const char *what, ...) TF_PRINTF(3, 4);
/* The same with a param in so many words; the message is the whole sentence. */
int dl_scan_refuse_at(struct dl_scan *s, const char *param, const char *fmt, ...) TF_PRINTF(3, 4);
/* Notes a member of the body that is to be taken away. */
int dl_scan_member(struct dl_scan *s, enum dl_why why, const struct js_hit *hit);
/* The value is the model's name. */
int dl_scan_model(struct dl_scan *s, const struct dl_value *v);
/* The value is a name that may hold letters, digits, '_' and '-' only. */
int dl_scan_name(struct dl_scan *s, const struct dl_value *v);
/* Adds a message to the hashes of growing prefixes; _end: what stands before all of them. */
void dl_scan_prefix(struct dl_scan *s, struct tf_span message);
void dl_scan_prefix_end(struct dl_scan *s, struct tf_span before);
static inline struct dl_range
dl_range_value(const struct js_hit *hit)
{
	return (struct dl_range){ (uint32_t)hit->start, (uint32_t)hit->end };
}
static inline struct dl_range
dl_range_member(const struct js_hit *hit)
{
	return (struct dl_range){ (uint32_t)hit->key, (uint32_t)hit->end };
}

#endif
