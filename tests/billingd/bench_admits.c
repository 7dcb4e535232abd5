/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests a second one billingd can admit at most, when every one is asked for alone: an ask, its
 * return and its settlement, booked on all meters, without the messages around them. Beside it what a gateway
 * needs in practice, where one grant covers many.
 *
 *	make tests/billingd/bench_admits && tests/billingd/bench_admits [SECONDS]
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>

#include "billingd/limit.h"

#define KEYS 1000
#define GATEWAYS 4

struct book {
	struct bl_account w, k[KEYS];
	struct bl_holder gw[GATEWAYS];
	uint64_t number;
};

static struct bl_now
now(void)
{
	return (struct bl_now){ tf_mono_ms(), (uint64_t)(tf_wall_ns() / 1000000) };
}

/* One request of that key, from asking to the ledger. */
static int
request(struct book *b, unsigned n, const struct bl_amount *need)
{
	static const struct bl_amount none;
	struct bl_pair pair = { { &b->w, &b->k[n % KEYS] } };
	struct bl_holder *gw = &b->gw[n % GATEWAYS];
	struct bl_ask q = { .holder = gw, .least = *need, .want = *need, .grant = ++b->number, .ttl_ms = 2000 };
	struct bl_returned back = { b->number, none };
	struct bl_record r = { .reserved = *need, .used = *need };
	struct bl_now at = now();
	struct bl_offer o;

	if (bl_account_ask(&pair, &q, at, &o) != BL_GIVEN)
		return -1;
	for (unsigned u = 0; u < BL_UNITS; u++)
		if (!(o.bounded & 1u << u))
			back.unused.v[u] = o.amount.v[u] - need->v[u];
	if (bl_account_return(&pair, gw, &back, at) != 0)
		return -1;
	memcpy(r.window, o.window, sizeof r.window);
	r.reserved.v[BL_U_REQUESTS] = r.used.v[BL_U_REQUESTS] = r.used.v[BL_U_SLOTS] = 0;
	bl_account_settle(&pair, gw, &r, at);
	return 0;
}

static void
measure(const char *what, bool limited, double seconds)
{
	static struct book b;
	struct bl_amount need = { { [BL_U_REQUESTS] = 1, [BL_U_TOKENS] = 900, [BL_U_MONEY] = 4000, [BL_U_SLOTS] = 1 } };
	uint64_t start, ns = 0;
	unsigned n = 0;

	memset(&b, 0, sizeof b);
	bl_account_init(&b.w, BL_WORKSPACE);
	for (int i = 0; i < GATEWAYS; i++)
		bl_holder_init(&b.gw[i]);
	for (int i = 0; i < KEYS; i++)
		bl_account_init(&b.k[i], BL_KEY);
	for (unsigned m = 0; limited && m < BL_METERS; m++) {
		bl_account_limit(&b.w, (enum bl_meter_id)m, UINT64_C(1) << 50);
		for (int i = 0; i < KEYS && bl_meter_rows[m].scope == BL_KEY; i++)
			bl_account_limit(&b.k[i], (enum bl_meter_id)m, UINT64_C(1) << 50);
	}
	if (limited)
		bl_account_window(&b.w, 3600000, UINT64_C(1) << 50, 0, now());
	start = tf_mono_ns();
	while ((double)ns < seconds * 1e9) {
		for (int i = 0; i < 1000; i++)
			if (request(&b, n++, &need) != 0) {
				fprintf(stderr, "admits: a request was refused\n");
				exit(1);
			}
		ns = tf_mono_ns() - start;
	}
	printf("%-28s %10.0f requests/s %7.0f ns each\n", what, n / ((double)ns / 1e9), (double)ns / n);
	for (int i = 0; i < KEYS; i++)
		bl_account_fini(&b.k[i]);
	bl_account_fini(&b.w);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 2;

	printf("%d keys of one workspace, %d gateways, each request asked for alone\n", KEYS, GATEWAYS);
	measure("no limits", false, seconds);
	measure("every limit there is", true, seconds);
	return 0;
}
