/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map from bytes to pointers: linear probing over a power of two, deleted slots
 * marked and swept at the next growth. The hash is SipHash-1-3 under a random seed,
 * because many of the keys come from clients.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/base.h"

#define MAP_FIRST 16

struct tf_map_slot {
	uint64_t hash;
	struct tf_span key; /* borrowed from the value */
	void *value;        /* NULL: never used; &dead_mark: deleted */
};

static char dead_mark;

static inline uint64_t
rotl(uint64_t v, int by)
{
	return (v << by) | (v >> (64 - by));
}

static inline void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t
tf_hash(struct tf_span s, uint64_t seed)
{
	uint64_t k1 = rotl(seed, 29) ^ UINT64_C(0x9e3779b97f4a7c15);
	uint64_t v[4] = {
		seed ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d),
		seed ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573),
	};
	uint64_t last = (uint64_t)s.n << 56;
	size_t i = 0;

	for (; i + 8 <= s.n; i += 8) {
		uint64_t m;

		memcpy(&m, s.p + i, 8);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	for (unsigned k = 0; i + k < s.n; k++)
		last |= (uint64_t)(unsigned char)s.p[i + k] << (8 * k);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Slot that holds the key, or NULL. */
static struct tf_map_slot *
map_find(const struct tf_map *m, struct tf_span key, uint64_t hash)
{
	if (m->cap == 0)
		return NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct tf_map_slot *s = &m->slots[i];

		if (s->value == NULL)
			return NULL;
		if (s->value != &dead_mark && s->hash == hash && tf_span_eq(s->key, key))
			return s;
	}
}

static void
map_place(struct tf_map_slot *slots, size_t cap, struct tf_map_slot item)
{
	size_t i = item.hash & (cap - 1);

	while (slots[i].value != NULL)
		i = (i + 1) & (cap - 1);
	slots[i] = item;
}

static int
map_grow(struct tf_map *m)
{
	size_t cap = m->cap ? m->cap : MAP_FIRST;
	struct tf_map_slot *slots;

	/* a table that is mostly deleted slots is swept at its size */
	if (m->n * 2 >= cap)
		cap *= 2;
	slots = calloc(cap, sizeof *slots);
	if (slots == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].value != NULL && m->slots[i].value != &dead_mark)
			map_place(slots, cap, m->slots[i]);
	free(m->slots);
	m->slots = slots;
	m->cap = cap;
	m->dead = 0;
	return 0;
}

void *
tf_map_get(const struct tf_map *m, struct tf_span key)
{
	const struct tf_map_slot *s = m->n ? map_find(m, key, tf_hash(key, m->seed)) : NULL;

	return s ? s->value : NULL;
}

int
tf_map_put(struct tf_map *m, struct tf_span key, void *value)
{
	uint64_t hash;

	assert(value != NULL);
	if (m->seed == 0)
		m->seed = tf_random_u64() | 1;
	hash = tf_hash(key, m->seed);
	if (map_find(m, key, hash) != NULL)
		return TF_E_EXIST;
	if ((m->n + m->dead + 1) * 4 > m->cap * 3 && map_grow(m) != 0)
		return TF_E_NOMEM;
	map_place(m->slots, m->cap, (struct tf_map_slot){ hash, key, value });
	m->n++;
	return 0;
}

void *
tf_map_del(struct tf_map *m, struct tf_span key)
{
	struct tf_map_slot *s = m->n ? map_find(m, key, tf_hash(key, m->seed)) : NULL;
	void *value;

	if (s == NULL)
		return NULL;
	value = s->value;
	*s = (struct tf_map_slot){ .value = &dead_mark };
	m->n--;
	m->dead++;
	return value;
}

void *
tf_map_next(const struct tf_map *m, size_t *pos)
{
	while (*pos < m->cap) {
		void *value = m->slots[(*pos)++].value;

		if (value != NULL && value != &dead_mark)
			return value;
	}
	return NULL;
}

void
tf_map_free(struct tf_map *m)
{
	free(m->slots);
	*m = (struct tf_map){ 0 };
}
