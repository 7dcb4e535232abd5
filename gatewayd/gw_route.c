/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route table and the path families. Clients join base URL and path in every way there is
 *, so the prefix is taken off first, then the rest is matched.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "gatewayd/gw_op.h"
#include "gatewayd/gw_route.h"

#define ROOT GW_ROOT
#define BARE GW_BARE
#define OPENAI GW_OPENAI
#define ANTHROPIC GW_ANTHROPIC
#define TF_OP_OPEN GW_OPEN

static const struct gw_route gw_routes[] = {
#define ROUTE(sym, method, pattern, families, operation, handler, surface, help) \
	{ GW_R_##sym, HTTP_M_##method, pattern, families, TF_OP_##operation, gw_op_##handler, surface, #sym },
#include "gatewayd/route.def"
#undef ROUTE
};

/* Anthropic-only names: below the bare prefix they decide the shape of an error. */
static const char *const gw_anthropic_paths[] = { "messages" };

#define GW_SEGMENTS 24

struct gw_path {
	struct tf_span seg[GW_SEGMENTS];
	size_t n;
};

static bool
gw_path_split(struct tf_span path, struct gw_path *out)
{
	struct tf_span seg;
	size_t pos = 0;

	out->n = 0;
	while (http_path_next(path, &pos, &seg)) {
		if (seg.n == 0)
			continue;
		if (out->n == GW_SEGMENTS)
			return false;
		out->seg[out->n++] = seg;
	}
	return true;
}

/* Takes the family prefix off: returns how many segments it had. */
static size_t
gw_path_family(const struct gw_path *p, enum gw_family *family)
{
	size_t i = 0;

	*family = GW_ROOT;
	if (p->n == 0)
		return 0;
	if (tf_span_is(p->seg[0], "openai")) {
		*family = GW_OPENAI;
		i = 1;
	} else if (tf_span_is(p->seg[0], "anthropic")) {
		*family = GW_ANTHROPIC;
		i = 1;
	}
	/* an SDK that adds /v1 to a base that has it already doubles it */
	for (int twice = 0; twice < 2 && i < p->n && tf_span_is(p->seg[i], "v1"); twice++) {
		if (*family == GW_ROOT)
			*family = GW_BARE;
		i++;
	}
	return i;
}

static bool
gw_join_rest(const struct gw_path *p, size_t from, size_t to, struct gw_match *out)
{
	out->rest_n = 0;
	if (from >= p->n)
		return false;
	for (size_t i = from; i < to; i++) {
		ssize_t n;

		if (i > from) {
			if (out->rest_n + 1 >= sizeof out->rest)
				return false;
			out->rest[out->rest_n++] = '/';
		}
		n = http_pct_decode(p->seg[i], out->rest + out->rest_n, sizeof out->rest - 1 - out->rest_n);
		if (n < 0)
			return false;
		out->rest_n += (size_t)n;
	}
	out->rest[out->rest_n] = '\0';
	return true;
}

static bool
gw_pattern_match(const char *pattern, const struct gw_path *p, size_t i, struct gw_match *out)
{
	out->rest_n = 0;
	while (*pattern != '\0') {
		size_t n = strcspn(pattern, "/");

		if (strcmp(pattern, "{rest}") == 0)
			return gw_join_rest(p, i, p->n, out);
		if (n == 4 && memcmp(pattern, "{id}", 4) == 0) {
			if (!gw_join_rest(p, i, i + 1, out))
				return false;
		} else if (i >= p->n || p->seg[i].n != n || memcmp(p->seg[i].p, pattern, n) != 0) {
			return false;
		}
		i++;
		pattern += n;
		if (*pattern == '/')
			pattern++;
	}
	return i == p->n;
}

static bool
gw_wants_anthropic(const struct gw_path *p, size_t i, enum gw_family family, bool version)
{
	if (family == GW_ANTHROPIC)
		return true;
	if (family == GW_OPENAI || i >= p->n)
		return false;
	for (size_t k = 0; k < TF_LEN(gw_anthropic_paths); k++)
		if (tf_span_is(p->seg[i], gw_anthropic_paths[k]))
			return true;
	/* shared names (models, files, usage) follow the client's own header */
	return version && !tf_span_is(p->seg[i], "chat") && !tf_span_is(p->seg[i], "completions");
}

/* A path that one API alone has decides the shape, whatever the client's header says. */
static void
gw_match_shape(const struct gw_route *row, struct gw_match *out)
{
	if ((row->families & (GW_OPENAI | GW_ANTHROPIC)) == GW_OPENAI)
		out->anthropic = false;
	else if ((row->families & (GW_OPENAI | GW_ANTHROPIC)) == GW_ANTHROPIC)
		out->anthropic = true;
}

void
gw_route_find(enum http_method method, struct tf_span path, bool anthropic_version,
    struct gw_match *out)
{
	struct gw_path p;
	size_t i;

	out->route = out->elsewhere = NULL;
	out->err = TF_E_NOT_FOUND;
	out->anthropic = anthropic_version;
	out->family = GW_ROOT;
	out->allow = 0;
	out->rest_n = 0;
	if (path.n > GW_PATH_MAX || !gw_path_split(path, &p))
		return;
	i = gw_path_family(&p, &out->family);
	out->anthropic = gw_wants_anthropic(&p, i, out->family, anthropic_version);
	for (size_t r = 0; r < TF_LEN(gw_routes); r++) {
		const struct gw_route *row = &gw_routes[r];

		if (!gw_pattern_match(row->pattern, &p, i, out))
			continue;
		if ((row->families & (unsigned)out->family) == 0) {
			/* of the other API, or below the /v1 that a base URL lacks */
			if ((out->family & (GW_OPENAI | GW_ANTHROPIC) && row->families & (GW_OPENAI | GW_ANTHROPIC)) ||
			    (out->family == GW_ROOT && row->families & GW_BARE))
				out->elsewhere = row;
			continue;
		}
		gw_match_shape(row, out);
		out->allow |= 1u << row->method;
		if (row->method == HTTP_M_GET)
			out->allow |= 1u << HTTP_M_HEAD;
		if (row->method == method || (row->method == HTTP_M_GET && method == HTTP_M_HEAD)) {
			out->route = row;
			out->err = TF_OK;
			return;
		}
	}
	if (out->allow != 0 || method == HTTP_M_UNKNOWN)
		out->err = TF_E_METHOD_NOT_ALLOWED;
}

const struct gw_route *
gw_route_row(enum gw_route_id id)
{
	return &gw_routes[id];
}

void
gw_route_allow(unsigned bits, char *out, size_t cap)
{
	size_t n = 0;

	out[0] = '\0';
	for (unsigned m = 0; m < HTTP_M_N; m++) {
		int w;

		if ((bits & (1u << m)) == 0)
			continue;
		w = snprintf(out + n, cap - n, "%s%s", n ? ", " : "", http_method_name((enum http_method)m));
		if (w < 0 || (size_t)w >= cap - n)
			return;
		n += (size_t)w;
	}
}
