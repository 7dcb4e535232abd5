/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/http share among themselves; nobody else includes it. */
#ifndef TF_COMMON_HTTP_INT_H
#define TF_COMMON_HTTP_INT_H

#include "common/http/http.h"

/* Classes of characters, as bits of http_ctype[]. */
#define HTTP_CT_TOKEN	1	/* field names, methods */
#define HTTP_CT_VALUE	2	/* field values, chunk extensions */
#define HTTP_CT_TARGET	4	/* request targets */
#define HTTP_CT_HOST	8	/* authorities */

extern const uint8_t http_ctype[256];

/* All bytes are of the class; true for none. */
bool		 http_all(const char *p, size_t n, uint8_t class);
struct tf_span	 http_trim(struct tf_span s);	/* without blanks and tabs around it */

static inline int
http_hex(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
