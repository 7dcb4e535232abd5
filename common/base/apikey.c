/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of an API key: minting, and telling without a look-up what cannot be
 * one. Knows nothing of whether a key exists or what it may do.
 */
#include "config.h"

#include <stdio.h>

#include "common/base/base.h"

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static const char *const prefixes[] = { "tf-prod-", "tf-stag-", "tf-dev-", "sk-oais-" };

static bool
is_base62(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* CRC32 in base 62, most significant digit first. */
static void
key_sum(const char *p, size_t n, char out[static TF_APIKEY_SUM])
{
	uint32_t crc = tf_crc32(0, p, n);

	for (int i = TF_APIKEY_SUM - 1; i >= 0; i--) {
		out[i] = base62[crc % 62];
		crc /= 62;
	}
}

static bool
minted_shape(struct tf_span text)
{
	const size_t tail = TF_APIKEY_RANDOM + TF_APIKEY_SUM;

	for (size_t i = 0; i < TF_LEN(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (text.n != n + tail || memcmp(text.p, prefixes[i], n) != 0)
			continue;
		while (n < text.n && is_base62(text.p[n]))
			n++;
		return n == text.n;
	}
	return false;
}

enum tf_apikey_kind
tf_apikey_check(struct tf_span text)
{
	char sum[TF_APIKEY_SUM];

	if (text.n < TF_APIKEY_MIN || text.n > TF_APIKEY_MAX)
		return TF_APIKEY_BAD;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~')
			return TF_APIKEY_BAD;
	if (!minted_shape(text))
		return TF_APIKEY_IMPORTED;
	key_sum(text.p, text.n - TF_APIKEY_SUM, sum);
	if (memcmp(text.p + text.n - TF_APIKEY_SUM, sum, TF_APIKEY_SUM) != 0)
		return TF_APIKEY_BAD;
	return TF_APIKEY_MINTED;
}

static bool
is_key_char(char c)
{
	return is_base62(c) || c == '-' || c == '_';
}

void
tf_apikey_hide(char *text)
{
	const size_t shown = 3; /* which kind it is */

	for (size_t i = 0, n; text[i] != '\0'; i += n) {
		for (n = 0; is_key_char(text[i + n]); n++)
			;
		/* a word may only end in one: a path, a query */
		for (size_t at = 0; at + TF_APIKEY_MIN <= n; at++)
			if (memcmp(text + i + at, "tf-", shown) == 0 || memcmp(text + i + at, "sk-", shown) == 0) {
				memset(text + i + at + shown, '*', n - at - shown);
				break;
			}
		if (n == 0)
			n = 1;
	}
}

/* Uniform over the alphabet: bytes beyond the last whole multiple of 62 are thrown away. */
static void
random_digits(char *out, size_t n)
{
	uint8_t b[64];
	size_t have = 0;

	while (n > 0) {
		if (have == 0) {
			tf_random(b, sizeof b);
			have = sizeof b;
		}
		if (b[--have] < 62 * 4) {
			*out++ = base62[b[have] % 62];
			n--;
		}
	}
	tf_wipe(b, sizeof b);
}

int
tf_apikey_mint(const char *form, const char *env, char *out, size_t cap)
{
	char prefix[16];
	const char *known = NULL;
	size_t n;

	if (strcmp(form, "sk-oais") == 0)
		snprintf(prefix, sizeof prefix, "sk-oais-");
	else if (strcmp(form, "tf") == 0 && env != NULL && strlen(env) <= 4)
		snprintf(prefix, sizeof prefix, "tf-%.4s-", env);
	else
		return TF_E_INVAL;
	for (size_t i = 0; i < TF_LEN(prefixes); i++)
		if (strcmp(prefixes[i], prefix) == 0)
			known = prefixes[i];
	if (known == NULL)
		return TF_E_INVAL;
	n = strlen(known);
	if (cap < n + TF_APIKEY_RANDOM + TF_APIKEY_SUM + 1)
		return TF_E_INVAL;
	memcpy(out, known, n);
	random_digits(out + n, TF_APIKEY_RANDOM);
	n += TF_APIKEY_RANDOM;
	key_sum(out, n, out + n);
	out[n + TF_APIKEY_SUM] = '\0';
	return 0;
}
