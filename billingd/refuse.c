/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals in words: which limit leaves no room, what of it is used, and when it starts anew.
 * Called by admit.c.
 */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "billingd/billingd.h"

#define NANO UINT64_C(1000000000)

/* A number of the unit as people read it: audio in seconds, money with its currency and without ending zeros. */
static void
amount_text(const struct bl *bl, enum bl_unit unit, uint64_t n, char out[static 48])
{
	int at, digits = 9;

	if (unit == BL_U_AUDIO) {
		snprintf(out, 48, "%" PRIu64, n / 1000);
		return;
	}
	if (unit != BL_U_MONEY) {
		snprintf(out, 48, "%" PRIu64, n);
		return;
	}
	at = snprintf(out, 48, "%" PRIu64 ".%09" PRIu64, n / NANO, n % NANO);
	while (digits-- > 2 && out[at - 1] == '0')
		at--;
	snprintf(out + at, (size_t)(48 - at), " %.3s", bl->conf->common.currency);
}

static void
time_text(uint64_t wall_ms, char out[static 24])
{
	time_t t = (time_t)((wall_ms + 999) / 1000);
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL || strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		out[0] = '\0';
}

static void
balance_text(const struct bl *bl, struct bl_key *k, const struct bl_amount *least, char *out, size_t size)
{
	const struct bl_opt *balance = &k->workspace->row.balance;
	char left[48], need[48];

	amount_text(bl, BL_U_MONEY, balance->v > 0 ? (uint64_t)balance->v : 0, left);
	amount_text(bl, BL_U_MONEY, least->v[BL_U_MONEY], need);
	snprintf(out, size, "The workspace's prepaid balance does not cover this request: %s are left, and it may cost %s. "
	    "Top it up to go on.", left, need);
}

void
bl_refuse_never(struct bl_key *k, const struct bl_amount *least, const struct bl_offer *o, char *out, size_t size)
{
	const struct bl_account *a = bl_key_pair(k).of[bl_meter_rows[o->meter].scope];
	uint64_t gives = o->meter == BL_M_WINDOW ? a->size + a->extra : a->meter[o->meter].limit;

	snprintf(out, size, "The request may need %" PRIu64 " tokens, but the limit is %" PRIu64 " %s (plan %s). "
	    "Shorten the prompt or set a smaller max_tokens.", least->v[bl_meter_rows[o->meter].unit], gives,
	    bl_meter_rows[o->meter].what, k->workspace->row.plan);
}

void
bl_refuse_short(const struct bl *bl, struct bl_key *k, const struct bl_amount *least, const struct bl_offer *o,
    char *out, size_t size)
{
	const struct bl_meter_row *row = &bl_meter_rows[o->meter];
	const struct bl_account *a = bl_key_pair(k).of[row->scope];
	const struct bl_meter *m = &a->meter[o->meter];
	/* a key's account knows the month of its workspace */
	uint64_t used = m->used + m->lost, end = bl_window_end(&a->window[row->window], bl_now());
	char limit_text[48], used_text[48], need_text[48], at[24];

	if (o->meter == BL_M_BALANCE) {
		balance_text(bl, k, least, out, size);
		return;
	}
	amount_text(bl, row->unit, row->unit == BL_U_SLOTS || o->transient ? m->debit : used, used_text);
	amount_text(bl, row->unit, least->v[row->unit], need_text);
	amount_text(bl, row->unit, o->meter != BL_M_WINDOW ? m->limit : (m->used > a->size ? m->used : a->size) + a->extra,
	    limit_text);
	if (row->window == BL_W_NONE || end == 0) {
		snprintf(out, size, "The limit is %s %s: %s are taken.", limit_text, row->what, used_text);
		return;
	}
	time_text(end, at);
	snprintf(out, size, "The limit is %s %s: %s are %s, and this request may need %s. It starts anew at %s.", limit_text,
	    row->what, used_text, o->transient ? "taken" : "used", need_text, at);
}
