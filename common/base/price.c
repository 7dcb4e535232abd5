/* SPDX-License-Identifier: Apache-2.0 */
/* What something costs: integers only, rounded once. */
#include "config.h"

#include "common/base/base.h"

#define TF_COST_PARTS 18000000 /* of a nano-unit: every PRICE's units divide it */

static const uint32_t units_of[TF_P_COUNT] = {
#define PRICE(sym, field, units, what) [TF_P_##sym] = units,
#include "common/base/price.def"
#undef PRICE
};
#define PRICE(sym, field, units, what) _Static_assert(TF_COST_PARTS % units == 0, "units of " #field);
#include "common/base/price.def"
#undef PRICE

static const char *const names[TF_P_COUNT] = {
#define PRICE(sym, field, units, what) [TF_P_##sym] = #field,
#include "common/base/price.def"
#undef PRICE
};

const char *
tf_price_name(enum tf_priced p)
{
	return names[p];
}

uint64_t
tf_billed_audio_ms(uint64_t heard_ms)
{
	return heard_ms != 0 && heard_ms < TF_AUDIO_MIN_MS ? TF_AUDIO_MIN_MS : heard_ms;
}

uint64_t
tf_cost(const struct tf_price *price, const uint64_t n[static TF_P_COUNT])
{
	unsigned __int128 sum = TF_COST_PARTS / 2;

	for (size_t i = 0; i < TF_P_COUNT; i++) {
		uint64_t count = n[i] < TF_COST_MOST ? n[i] : TF_COST_MOST;
		uint64_t each = price->v[i] <= 0 ? 0 : (uint64_t)price->v[i] < TF_COST_MOST ? (uint64_t)price->v[i] : TF_COST_MOST;

		sum += (unsigned __int128)each * count * (TF_COST_PARTS / units_of[i]);
	}
	sum /= TF_COST_PARTS;
	/* thousands of these can be added up */
	return sum < TF_COST_MOST ? (uint64_t)sum : TF_COST_MOST;
}

int
tf_money_parse(const char *text, int64_t *out)
{
	size_t whole = strspn(text, "0123456789"), part = 0;
	uint64_t units, nano = 0;

	if (text[whole] == '.') {
		part = strspn(text + whole + 1, "0123456789");
		if (part == 0 || part > 9 || text[whole + 1 + part] != '\0')
			return TF_E_INVAL;
	} else if (text[whole] != '\0') {
		return TF_E_INVAL;
	}
	if (tf_span_u64(tf_span(text, whole), INT64_MAX / 1000000000 - 1, &units) != 0)
		return TF_E_INVAL;
	if (part > 0 && tf_span_u64(tf_span(text + whole + 1, part), 999999999, &nano) != 0)
		return TF_E_INVAL;
	for (size_t i = part; part > 0 && i < 9; i++)
		nano *= 10;
	*out = (int64_t)(units * 1000000000 + nano);
	return 0;
}
