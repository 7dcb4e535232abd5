/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which operation a method and a path name, and in whose shape errors are answered. Pure: no
 * state, no sockets; gw_req calls it once per request head, gw_error for refused heads.
 */
#ifndef GW_ROUTE_H
#define GW_ROUTE_H

#include "common/base/base.h"
#include "common/http/http.h"

enum gw_family { GW_ROOT = 1, GW_BARE = 2, GW_OPENAI = 4, GW_ANTHROPIC = 8 };

enum gw_route_id {
#define ROUTE(sym, method, pattern, families, operation, handler, surface, help) GW_R_##sym,
#include "gatewayd/route.def"
#undef ROUTE
	GW_R_COUNT
};

struct gw_req;

#define GW_OPEN TF_OP_COUNT

struct gw_route {
	enum gw_route_id id;
	enum http_method method;
	const char *pattern;
	unsigned families;   /* enum gw_family bits */
	unsigned operation;  /* enum tf_operation, which the key must allow; GW_OPEN: needs no key */
	int (*op)(struct gw_req *req); /* starts the operation: 0, or a positive TF_E_* to answer */
	const char *surface; /* inference: the client's surface; else NULL */
	const char *name;    /* symbol, the metric label */
};

#define GW_PATH_MAX 1024 /* longest path that is looked at; none of ours comes near */

struct gw_match {
	const struct gw_route *route; /* NULL: err says why */
	int err;                      /* TF_E_NOT_FOUND or TF_E_METHOD_NOT_ALLOWED */
	bool anthropic;               /* errors take the Anthropic shape */
	enum gw_family family;
	const struct gw_route *elsewhere; /* with 404: a row that has this path elsewhere: in the other API, below /v1 */
	unsigned allow;               /* bits of enum http_method that the path takes, with 405 */
	size_t rest_n;
	char rest[GW_PATH_MAX];       /* what {id} or {rest} matched, decoded */
};

/*
 * Duplicate slashes count as one, a slash at the end as none. HEAD matches GET rows.
 * anthropic_version: the request carries that header, which decides the shape of errors on the
 * bare prefix where the path does not.
 */
void gw_route_find(enum http_method method, struct tf_span path, bool anthropic_version,
    struct gw_match *out);
const struct gw_route *gw_route_row(enum gw_route_id id);
/* "GET, HEAD" of the bits. */
void gw_route_allow(unsigned bits, char *out, size_t cap);

#endif
