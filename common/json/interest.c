/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles a table of paths into the trie that the scanner walks: named children of a node
 * in a small hash table, "[*]" and "*" beside it. Runs once per table, at start.
 */
#include "config.h"

#include <stdlib.h>

#include "common/json/interest.h"

#define NODES_MAX 4096

struct build {
	struct js_interest *in;
	uint32_t cap;
};

static int
node_add(struct build *b, uint16_t parent, const char *name, size_t len, uint16_t *out)
{
	struct js_interest *in = b->in;
	struct js_node *nd;

	nd = in->nnodes < NODES_MAX ? tf_grow(in->node, in->nnodes, &b->cap, sizeof *nd, 32) : NULL;
	if (nd == NULL)
		return TF_E_NOMEM;
	in->node = nd;
	nd = &in->node[in->nnodes];
	memset(nd, 0, sizeof *nd);
	nd->name = name;
	nd->len = (uint16_t)len;
	nd->parent = parent;
	nd->elem = nd->any = JS_NONODE;
	nd->bit = JS_NOBIT;
	*out = (uint16_t)in->nnodes++;
	return 0;
}

static uint16_t
named_child(const struct js_interest *in, uint16_t parent, const char *name, size_t len)
{
	for (size_t i = 1; i < in->nnodes; i++) {
		const struct js_node *nd = &in->node[i];

		if (nd->parent == parent && nd->name != NULL && nd->len == len &&
		    memcmp(nd->name, name, len) == 0)
			return (uint16_t)i;
	}
	return JS_NONODE;
}

/* Goes from *at to its child for one step of a path, making it when it is new. */
static int
descend(struct build *b, uint16_t *at, const char *step, size_t len)
{
	bool elem = step[0] == '[', any = !elem && len == 1 && step[0] == '*';
	const struct js_node *nd = &b->in->node[*at];
	uint16_t child = elem ? nd->elem : any ? nd->any : named_child(b->in, *at, step, len);
	int r;

	if (child == JS_NONODE) {
		r = node_add(b, *at, elem || any ? NULL : step, elem || any ? 0 : len, &child);
		if (r < 0)
			return r;
		if (elem)
			b->in->node[*at].elem = child;
		else if (any)
			b->in->node[*at].any = child;
	}
	*at = child;
	return 0;
}

/*
 * Length of the step at p, or 0 when it is malformed. A step is "[*]" or a name; a name
 * follows a '.' except at the start of the path.
 */
static size_t
step_len(const char *p)
{
	size_t n;

	if (p[0] == '[')
		return strncmp(p, "[*]", 3) == 0 ? 3 : 0;
	n = strcspn(p, ".[");
	if (n > JS_NAME_MAX || (n > 1 && memchr(p, '*', n) != NULL))
		return 0;
	return n;
}

static int
path_add(struct build *b, const struct js_path *path)
{
	unsigned steps = 0, elems = 0;
	const char *p = path->path;
	struct js_node *nd;
	uint16_t at = 0;
	int r;

	while (*p != '\0') {
		size_t n;

		if (p > path->path && *p != '[' && *p++ != '.')
			return TF_E_INVAL;
		n = step_len(p);
		elems += *p == '[';
		if (n == 0 || ++steps > JS_PATH_DEPTH || elems > JS_PATH_INDEX)
			return TF_E_INVAL;
		r = descend(b, &at, p, n);
		if (r < 0)
			return r;
		p += n;
	}
	nd = &b->in->node[at];
	if (nd->wanted)
		return TF_E_INVAL;
	nd->wanted = true;
	nd->id = path->id;
	nd->flags |= (uint8_t)path->flags;
	/* were a member on the way given twice, this one could be too */
	for (; (path->flags & JS_UNIQUE) && at != 0; at = b->in->node[at].parent)
		b->in->node[at].flags |= JS_UNIQUE;
	return 0;
}

/* Lays out the hash slots and the seen bits of one node's named children. */
static int
node_finish(struct js_interest *in, uint16_t parent)
{
	struct js_node *from = &in->node[parent];
	size_t named = 0, bits = 0, size = 4;

	for (size_t i = 1; i < in->nnodes; i++)
		named += in->node[i].parent == parent && in->node[i].name != NULL;
	if (named == 0)
		return 0;
	while (size < named * 2)
		size *= 2;
	from->slots = (uint32_t)in->nslots;
	from->mask = (uint16_t)(size - 1);
	for (size_t i = 0; i < size; i++)
		in->slots[in->nslots + i] = JS_NONODE;
	for (size_t i = 1; i < in->nnodes; i++) {
		struct js_node *nd = &in->node[i];
		uint32_t h;

		if (nd->parent != parent || nd->name == NULL)
			continue;
		h = js_name_hash((const uint8_t *)nd->name, nd->len) & from->mask;
		while (in->slots[in->nslots + h] != JS_NONODE)
			h = (h + 1) & from->mask;
		in->slots[in->nslots + h] = (uint16_t)i;
		if (nd->flags & JS_UNIQUE) {
			if (bits == JS_UNIQUE_MAX)
				return TF_E_INVAL;
			nd->bit = (uint8_t)bits++;
		}
	}
	in->nslots += size;
	return 0;
}

static int
build_all(struct build *b, const struct js_path *paths, size_t n)
{
	uint16_t root;
	int r = node_add(b, JS_NONODE, NULL, 0, &root);

	for (size_t i = 0; i < n && r == 0; i++)
		r = path_add(b, &paths[i]);
	if (r < 0)
		return r;
	/* at most four slots for a lone child, less than four times the children otherwise */
	b->in->slots = malloc(b->in->nnodes * 4 * sizeof *b->in->slots);
	if (b->in->slots == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < b->in->nnodes && r == 0; i++)
		r = node_finish(b->in, (uint16_t)i);
	return r;
}

int
js_interest_new(const struct js_path *paths, size_t n, struct js_interest **out)
{
	struct build b = { calloc(1, sizeof(struct js_interest)), 0 };
	int r;

	*out = NULL;
	if (b.in == NULL)
		return TF_E_NOMEM;
	r = build_all(&b, paths, n);
	if (r < 0)
		js_interest_free(&b.in);
	*out = b.in;
	return r;
}

void
js_interest_free(struct js_interest **in)
{
	if (*in != NULL) {
		free((*in)->node);
		free((*in)->slots);
		free(*in);
	}
	*in = NULL;
}
