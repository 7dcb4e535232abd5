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

/* ---- forms ------------------------------------------------------------------------------- */

enum { /* flags of a row */
	DL_F_REQUIRED = 1,
	DL_F_LIST = 2, /* may be repeated; its name may end in "[]" */
	DL_F_FILE = 4, /* bytes with a filename; types is 0 */
};

/* A part of a form. low, high: bytes of a string, values of a number. What has no row is passed on. */
struct dl_form_row {
	const char *name;
	unsigned types; /* one of DL_T_STRING, DL_T_INT, DL_T_NUMBER, DL_T_BOOL */
	double low, high;
	char class; /* as of dl_field: D is not passed on */
	unsigned flags;
	const char *help;
};

struct dl_form_value {
	unsigned id;    /* row of the table */
	uint32_t index; /* how many of that row came before */
	const struct dl_form_part *part;
	struct dl_range at; /* the value in the body */
};

struct dl_form_rows {
	const struct dl_form_row *v;
	size_t n; /* at most DL_FORM_FIELDS_MAX */
	/* Its type and length are right. 0, or TF_E_INVAL by way of dl_scan_refuse_at. */
	int (*value)(struct dl_scan *s, const struct dl_form_value *v);
	/* All parts were seen, those that are required too. */
	int (*end)(struct dl_scan *s, struct tf_span body);
};
/* NULL when none has that name. */
const struct dl_form_row *dl_form_row(const struct dl_form_rows *rows, struct tf_span name);
/* As clients write it: true, True, 1. TF_E_INVAL. */
int dl_form_bool(struct tf_span s, bool *out) TF_MUSTCHECK;
/* The value is the model's name. */
int dl_scan_form_model(struct dl_scan *s, const struct dl_form_value *v);
/* For scan.c. 0 or TF_E_INVAL with the fault set. */
int dl_scan_form_feed(struct dl_scan *s, const char *text, size_t len, bool end);
int dl_scan_form_end(struct dl_scan *s, struct tf_span body);

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
