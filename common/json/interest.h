/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled form of a table of paths, a trie: shared by interest.c, which builds it, and
 * scan.c, which walks it. Nobody else looks inside.
 */
#ifndef TF_JSON_INTEREST_H
#define TF_JSON_INTEREST_H

#include <stdint.h>
#include <string.h>

#include "common/json/json.h"

#define JS_NONODE UINT16_MAX
#define JS_NOBIT 255
#define JS_NAME_MAX 64 /* longest member name in a path, bytes */
#define JS_UNIQUE_MAX 128 /* JS_UNIQUE members of one object: bits of js_frame.seen */

struct js_node {
	const char *name; /* borrowed from the table; NULL for "*", "[*]" and the root */
	uint16_t len;
	uint16_t parent;
	uint16_t elem, any; /* "[*]" and "*" children */
	uint16_t mask;      /* of the hash slots of the named children; 0: there are none */
	uint32_t slots;     /* where they start in js_interest.slots */
	unsigned id;
	uint8_t flags;      /* enum js_path_flag */
	uint8_t bit;        /* in js_frame.seen, or JS_NOBIT */
	bool wanted;        /* a row of the table names this node */
};

struct js_interest {
	struct js_node *node; /* [0] is the root */
	uint16_t *slots;
	size_t nnodes, nslots;
};

static inline uint32_t
js_name_hash(const uint8_t *p, size_t n)
{
	uint32_t h = (uint32_t)n << 24;

	if (n > 0)
		h += p[0] | (uint32_t)p[n / 2] << 8 | (uint32_t)p[n - 1] << 16;
	return (h * 0x9e3779b1u) >> 16;
}

/* The child for a member name (escapes undone): the named one, else "*", else JS_NONODE. */
static inline uint16_t
js_interest_child(const struct js_interest *in, uint16_t parent, const uint8_t *p, size_t n)
{
	const struct js_node *from = &in->node[parent];
	const uint16_t *slots = in->slots + from->slots;

	if (from->mask == 0)
		return from->any;
	for (uint32_t h = js_name_hash(p, n) & from->mask;; h = (h + 1) & from->mask) {
		uint16_t c = slots[h];

		if (c == JS_NONODE)
			return from->any;
		if (in->node[c].len == n && memcmp(in->node[c].name, p, n) == 0)
			return c;
	}
}

#endif
