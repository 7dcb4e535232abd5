/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has every record that was acknowledged its row, and only one? Of each start the numbers of its rows are noted as they are
 * read, a bit each; in the end every number must be among them, or among those that have no row. Nothing is counted against
 * anything else, so that one that is lost cannot hide behind one that is there twice.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "billingd/sqlite.h"
#include "billingd/verify.h"

#define CHUNK 512 /* numbers */

struct bl_seq_chunk {
	struct bl_seq_at { /* the key; no padding */
		int64_t instance;
		uint64_t chunk; /* numbers from chunk * CHUNK on */
	} at;
	uint64_t bits[CHUNK / 64];
};

static struct tf_span
key_of(const struct bl_seq_at *at)
{
	return tf_span((const char *)at, sizeof *at);
}

int
bl_seq_seen(struct bl_verify *v, struct bl_verify_instance *i, uint64_t seq)
{
	struct bl_seq_at at = { i->id, seq / CHUNK };
	uint64_t bit = UINT64_C(1) << (seq % 64), *word;

	/* most rows follow the one before */
	if (i->last == NULL || i->last->at.chunk != at.chunk)
		i->last = tf_map_get(&v->seen, key_of(&at));
	if (i->last == NULL) {
		i->last = calloc(1, sizeof *i->last);
		if (i->last == NULL)
			return TF_E_NOMEM;
		i->last->at = at;
		if (tf_map_put(&v->seen, key_of(&i->last->at), i->last) != 0) {
			free(i->last);
			i->last = NULL;
			return TF_E_NOMEM;
		}
	}
	word = &i->last->bits[seq % CHUNK / 64];
	if (*word & bit)
		bl_found(v, BL_CHECK_SEQUENCE, 1, "%s: record %" PRIu64 " has more than one row", i->name, seq);
	*word |= bit;
	return 0;
}

/* The first number from at on, and not behind to, of which no row was seen; 0: there is none. */
static uint64_t
unseen(const struct bl_verify *v, const struct bl_verify_instance *i, uint64_t at, uint64_t to)
{
	while (at <= to) {
		struct bl_seq_at key = { i->id, at / CHUNK };
		const struct bl_seq_chunk *c = tf_map_get(&v->seen, key_of(&key));
		uint64_t end = (key.chunk + 1) * CHUNK;

		if (c == NULL)
			return at;
		for (; at < end && at <= to; at++)
			if (!(c->bits[at % CHUNK / 64] >> (at % 64) & 1))
				return at;
	}
	return 0;
}

/* How many of them: whole chunks without a row are counted at once, for numbers can be far apart. */
static uint64_t
count_unseen(const struct bl_verify *v, const struct bl_verify_instance *i, uint64_t at, uint64_t to)
{
	uint64_t n = 0;
	size_t pos = 0;
	const struct bl_seq_chunk *c;

	if (to - at < CHUNK * (v->seen.n + 1)) {
		for (; (at = unseen(v, i, at, to)) != 0; at++)
			n++;
		return n;
	}
	n = to - at + 1;
	while ((c = tf_map_next(&v->seen, &pos)) != NULL)
		for (uint64_t b = 0; c->at.instance == i->id && b < CHUNK; b++) {
			uint64_t seq = c->at.chunk * CHUNK + b;

			n -= seq >= at && seq <= to && (c->bits[b / 64] >> (b % 64) & 1);
		}
	return n;
}

static void
check_gap(struct bl_verify *v, const struct bl_verify_instance *i, uint64_t from, uint64_t to)
{
	uint64_t first = from <= to ? unseen(v, i, from, to) : 0, n;

	if (first == 0)
		return;
	n = count_unseen(v, i, first, to);
	bl_found(v, BL_CHECK_SEQUENCE, n, "%s: record %" PRIu64 " has no row, nor have %" PRIu64 " behind it", i->name, first,
	    n - 1);
}

/* Rows may have gone since the check began: what has no row by now counts. */
static int
check_instance(struct db_lane *lane, struct bl_verify *v, const struct bl_verify_instance *i)
{
	struct db_q q = db_q(lane, BL_S_SPENT_OF);
	uint64_t at = 1;
	int rc;

	db_q_int(&q, i->id);
	while ((rc = db_q_step(&q)) == 1) {
		uint64_t first = (uint64_t)db_q_col_int(&q), last = (uint64_t)db_q_col_int(&q);

		check_gap(v, i, at, first - 1 < i->seq ? first - 1 : i->seq);
		at = last + 1;
	}
	check_gap(v, i, at, i->seq);
	v->found[BL_CHECK_SEQUENCE].looked += i->seq;
	return rc;
}

int
bl_seq_check(struct db_lane *lane, struct bl_verify *v)
{
	int rc = 0;

	for (size_t i = 0; i < v->n_instances && rc == 0; i++)
		rc = check_instance(lane, v, &v->instances[i]);
	bl_seq_fini(v);
	return rc;
}

void
bl_seq_fini(struct bl_verify *v)
{
	struct bl_seq_chunk *c;
	size_t pos = 0;

	while ((c = tf_map_next(&v->seen, &pos)) != NULL)
		free(c);
	tf_map_free(&v->seen);
	for (size_t i = 0; i < v->n_instances; i++)
		v->instances[i].last = NULL;
}
