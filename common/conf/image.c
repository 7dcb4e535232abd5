/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prices of images by what a request says of them: WIDTHxHEIGHT[/QUALITY]=AMOUNT. Sizes are compared as
 * numbers, so that another spelling of a size has no other price.
 */
#include "config.h"

#include "common/conf/inside.h"

#define PRICE_MOST (INT64_C(1000000) * 1000000000) /* as of the other prices */
#define SIDE_MOST 99999

struct what {
	uint64_t width, height;
	struct tf_span quality; /* empty: any */
};

static bool
read_size(struct tf_span s, struct what *out)
{
	const char *x = s.n > 0 ? memchr(s.p, 'x', s.n) : NULL;

	return x != NULL && tf_span_u64(tf_span(s.p, (size_t)(x - s.p)), SIDE_MOST, &out->width) == 0 &&
	    tf_span_u64(tf_span(x + 1, s.n - (size_t)(x + 1 - s.p)), SIDE_MOST, &out->height) == 0 &&
	    out->width > 0 && out->height > 0;
}

static bool
same_size(const struct what *a, const struct what *b)
{
	return a->width == b->width && a->height == b->height;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool
same_quality(const struct what *a, const struct what *b)
{
	if (a->quality.n != b->quality.n)
		return false;
	for (size_t i = 0; i < a->quality.n; i++)
		if (lower(a->quality.p[i]) != lower(b->quality.p[i]))
			return false;
	return true;
}

/* The amount stands behind the last "=". */
static bool
read_entry(const char *entry, struct what *out, int64_t *amount)
{
	const char *equals = strrchr(entry, '='), *slash;
	struct tf_span size;

	if (equals == NULL)
		return false;
	size = tf_span(entry, (size_t)(equals - entry));
	slash = memchr(size.p, '/', size.n);
	out->quality = tf_span("", 0);
	if (slash != NULL) {
		out->quality = tf_span(slash + 1, (size_t)(equals - slash) - 1);
		size.n = (size_t)(slash - entry);
	}
	return read_size(size, out) && (slash == NULL || out->quality.n > 0) && tf_money_parse(equals + 1, amount) == 0;
}

const char *
cf_image_size_fault(const char *entry)
{
	struct what what;
	int64_t amount;

	if (!read_entry(entry, &what, &amount))
		return "is not WIDTHxHEIGHT=AMOUNT or WIDTHxHEIGHT/QUALITY=AMOUNT";
	return amount > PRICE_MOST ? "is out of range: 0 to 1000000" : NULL;
}

bool
cf_image_size_same(const char *a, const char *b)
{
	struct what wa, wb;
	int64_t amount;

	return read_entry(a, &wa, &amount) && read_entry(b, &wb, &amount) && same_size(&wa, &wb) && same_quality(&wa, &wb);
}

int64_t
conf_image_size(const struct conf_model *model, size_t i, struct tf_span *what)
{
	const char *entry = model->price_image_sizes.v[i], *equals = strrchr(entry, '=');
	int64_t amount = CONF_NO_AMOUNT;

	*what = tf_span(entry, (size_t)(equals - entry));
	return tf_money_parse(equals + 1, &amount) == 0 ? amount : CONF_NO_AMOUNT;
}

int64_t
conf_image_price(const struct conf_model *model, struct tf_span size, struct tf_span quality)
{
	struct what asked = { .quality = quality };
	int64_t found = model->price_image;

	if (!read_size(size, &asked))
		return found;
	for (size_t i = 0; i < model->price_image_sizes.n; i++) {
		struct what entry;
		int64_t amount;

		if (!read_entry(model->price_image_sizes.v[i], &entry, &amount) || !same_size(&asked, &entry))
			continue;
		if (same_quality(&asked, &entry))
			return amount;
		if (entry.quality.n == 0)
			found = amount;
	}
	return found;
}
