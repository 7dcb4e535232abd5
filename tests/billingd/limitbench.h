/* SPDX-License-Identifier: Apache-2.0 */
/* One workspace with two keys and three gateways, for tests of the arithmetic of limits. The including file has cmocka.h. */
#ifndef TESTS_BILLINGD_LIMITBENCH_H
#define TESTS_BILLINGD_LIMITBENCH_H

#include "billingd/limit.h"

#define T0 UINT64_C(1900000000000) /* 2030-03-17T17:46:40Z */
#define DAY UINT64_C(86400000)
#define MONTH0 UINT64_C(1898553600000) /* 2030-03-01 */
#define MONTH1 UINT64_C(1901232000000) /* 2030-04-01 */

/* One workspace, a key or two of it, and gateways. */
struct bench {
	struct bl_account w, k, k2;
	struct bl_pair p, p2;
	struct bl_holder gw[3];
	uint64_t number, last; /* of grants */
	struct bl_offer o;
};

static inline struct bl_now
at(uint64_t ms)
{
	return (struct bl_now){ 1000000 + ms, T0 + ms };
}

static inline void
open_bench(struct bench *b)
{
	memset(b, 0, sizeof *b);
	bl_account_init(&b->w, BL_WORKSPACE);
	bl_account_init(&b->k, BL_KEY);
	bl_account_init(&b->k2, BL_KEY);
	b->p = (struct bl_pair){ { &b->w, &b->k } };
	b->p2 = (struct bl_pair){ { &b->w, &b->k2 } };
	for (int i = 0; i < 3; i++)
		bl_holder_init(&b->gw[i]);
}

static inline void
close_bench(struct bench *b)
{
	bl_account_fini(&b->k);
	bl_account_fini(&b->w);
	assert_int_equal(b->w.open, 0);
	assert_int_equal(b->gw[0].holds.n, 0);
}

static inline struct bl_amount
need(uint64_t requests, uint64_t tokens)
{
	return (struct bl_amount){ { [BL_U_REQUESTS] = requests, [BL_U_TOKENS] = tokens } };
}

static inline struct bl_amount
of(enum bl_unit u, uint64_t n)
{
	struct bl_amount a = need(1, 0);

	a.v[u] = n;
	return a;
}

/* Of a grant that nothing else limits. */
static inline struct bl_amount
unused(uint64_t requests, uint64_t tokens)
{
	struct bl_amount a = bl_unlimited;

	a.v[BL_U_REQUESTS] = requests;
	a.v[BL_U_TOKENS] = tokens;
	return a;
}

static inline int
ask_of(struct bench *b, const struct bl_pair *p, int gw, struct bl_amount least, uint64_t ms)
{
	struct bl_ask q = { .holder = &b->gw[gw], .least = least, .grant = ++b->number, .ttl_ms = 2000 };
	int rc = bl_account_ask(p, &q, at(ms), &b->o);

	if (rc == BL_GIVEN)
		b->last = b->number;
	return rc;
}

static inline int
ask(struct bench *b, int gw, struct bl_amount least, uint64_t ms)
{
	return ask_of(b, &b->p, gw, least, ms);
}

/* The last grant comes back, with so much unused. */
static inline int
give_back(struct bench *b, int gw, struct bl_amount unused, uint64_t ms)
{
	struct bl_returned r = { b->last, unused };

	return bl_account_return(&b->p, &b->gw[gw], &r, at(ms));
}

/* An attempt of the last grant's windows ends. */
static inline void
settle(struct bench *b, int gw, struct bl_amount reserved, struct bl_amount used, uint64_t ms)
{
	struct bl_record r = { .reserved = reserved, .used = used };

	memcpy(r.window, b->o.window, sizeof r.window);
	bl_account_settle(&b->p, &b->gw[gw], &r, at(ms));
}

/* A whole request: admitted at once, over at once. */
static inline int
serve(struct bench *b, int gw, struct bl_amount least, uint64_t ms)
{
	static const struct bl_amount none;
	struct bl_amount used = least;
	int rc = ask(b, gw, least, ms);

	if (rc != BL_GIVEN)
		return rc;
	assert_int_equal(give_back(b, gw, none, ms), 0);
	used.v[BL_U_REQUESTS] = 0;
	settle(b, gw, used, used, ms);
	return rc;
}

static inline uint64_t
room(const struct bench *b, enum bl_meter_id m)
{
	return bl_account_room(b->p.of[bl_meter_rows[m].scope], m);
}

#endif
