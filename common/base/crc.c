/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32 (IEEE 802.3). Each usage record is summed three times on its way through a gateway, so it is done with
 * carry-less multiplication where the processor has it, and with tables elsewhere and for what is short.
 */
#include "config.h"

#include <pthread.h>
#if defined(__x86_64__)
#include <wmmintrin.h>
#endif

#include "common/base/base.h"

#define CRC_POLY UINT32_C(0xedb88320) /* bits reversed, as all below */
#define CRC_SLICES 8

static pthread_once_t crc_once = PTHREAD_ONCE_INIT;
static uint32_t crc_table[CRC_SLICES][256]; /* [k][b]: what byte b does to the sum when k more bytes follow it */

/* ---- by multiplication ------------------------------------------------------------------------ */

#if defined(__x86_64__)
#define CRC_FOLD 16      /* bytes that are folded into the next ones */
#define CRC_FOLD_MIN 64  /* below, tables are as fast */

/*
 * The sum is the remainder of the message, taken as a polynomial whose highest power comes first. Sixteen bytes weigh
 * x^128 times what they would sixteen bytes later: multiplied with that, and reduced, they may be added to the next
 * ones. crc_weight: of the half of them that comes first, x^(128+32), and of the other, x^(128-32); a product of an
 * eight byte half and one of these has no more than sixteen bytes. Shifted by one, which a product of reversed
 * factors lacks.
 */
static uint64_t crc_weight[2];
static bool crc_folds;

static uint64_t
crc_power(unsigned n)
{
	uint32_t c = UINT32_C(1) << 31; /* x^0 */

	while (n-- > 0)
		c = c & 1 ? CRC_POLY ^ (c >> 1) : c >> 1;
	return (uint64_t)c << 1;
}

static void
crc_fold_setup(void)
{
	crc_weight[0] = crc_power(128 + 32);
	crc_weight[1] = crc_power(128 - 32);
	crc_folds = __builtin_cpu_supports("pclmul");
}

/* n: a multiple of CRC_FOLD, more than 0. out has the sum, begun with 0, that they have, begun with crc. */
__attribute__((target("pclmul"))) static void
crc_fold(uint32_t crc, const uint8_t *b, size_t n, uint8_t out[static CRC_FOLD])
{
	const __m128i weight = _mm_set_epi64x((int64_t)crc_weight[1], (int64_t)crc_weight[0]);
	__m128i sum = _mm_xor_si128(_mm_loadu_si128((const void *)b), _mm_cvtsi32_si128((int)crc));

	for (size_t at = CRC_FOLD; at < n; at += CRC_FOLD) {
		__m128i first = _mm_clmulepi64_si128(sum, weight, 0x00), other = _mm_clmulepi64_si128(sum, weight, 0x11);

		sum = _mm_xor_si128(_mm_loadu_si128((const void *)(b + at)), _mm_xor_si128(first, other));
	}
	_mm_storeu_si128((void *)out, sum);
}
#endif

/* ---- by tables -------------------------------------------------------------------------------- */

static void
crc_setup(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? CRC_POLY ^ (c >> 1) : c >> 1;
		crc_table[0][i] = c;
	}
	for (size_t k = 1; k < CRC_SLICES; k++)
		for (size_t i = 0; i < 256; i++)
			crc_table[k][i] = crc_table[0][crc_table[k - 1][i] & 0xff] ^ (crc_table[k - 1][i] >> 8);
#if defined(__x86_64__)
	crc_fold_setup();
#endif
}

static uint32_t
crc_slices(uint32_t crc, const uint8_t *b)
{
	uint32_t out = 0;

	for (size_t k = 0; k < CRC_SLICES; k++)
		out ^= crc_table[CRC_SLICES - 1 - k][b[k] ^ (k < sizeof crc ? crc >> (8 * k) & 0xff : 0)];
	return out;
}

static uint32_t
crc_tables(uint32_t crc, const uint8_t *b, size_t n)
{
	for (; n >= CRC_SLICES; b += CRC_SLICES, n -= CRC_SLICES)
		crc = crc_slices(crc, b);
	for (; n > 0; b++, n--)
		crc = crc_table[0][(crc ^ *b) & 0xff] ^ (crc >> 8);
	return crc;
}

uint32_t
tf_crc32(uint32_t crc, const void *p, size_t n)
{
	const uint8_t *b = p;

	pthread_once(&crc_once, crc_setup);
	crc = ~crc;
#if defined(__x86_64__)
	if (crc_folds && n >= CRC_FOLD_MIN) {
		uint8_t rest[CRC_FOLD];
		size_t folded = n - n % CRC_FOLD;

		crc_fold(crc, b, folded, rest);
		crc = crc_tables(0, rest, sizeof rest);
		b += folded;
		n -= folded;
	}
#endif
	return ~crc_tables(crc, b, n);
}
