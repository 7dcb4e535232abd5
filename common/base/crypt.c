/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes, comparison in constant time, wiping, hex. SHA-256 is OpenSSL's, with the
 * algorithm fetched once and one context a thread: an implicit fetch per call costs
 * more than hashing a key does.
 */
#include "config.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/base.h"

#define SHA256_BLOCK 64

static pthread_once_t sha_once = PTHREAD_ONCE_INIT;
static pthread_key_t sha_key;
static EVP_MD *sha_md;

static void
sha_thread_end(void *ctx)
{
	EVP_MD_CTX_free(ctx);
}

static void
sha_setup(void)
{
	sha_md = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (sha_md == NULL || pthread_key_create(&sha_key, sha_thread_end) != 0)
		abort();
}

static EVP_MD_CTX *
sha_ctx(void)
{
	EVP_MD_CTX *ctx;

	pthread_once(&sha_once, sha_setup);
	ctx = pthread_getspecific(sha_key);
	if (ctx == NULL) {
		ctx = EVP_MD_CTX_new();
		if (ctx == NULL || pthread_setspecific(sha_key, ctx) != 0)
			abort();
	}
	return ctx;
}

/* SHA-256 of the two pieces in a row. */
static void
sha_two(struct tf_span a, struct tf_span b, uint8_t out[static TF_SHA256])
{
	EVP_MD_CTX *ctx = sha_ctx();

	if (EVP_DigestInit_ex2(ctx, sha_md, NULL) != 1 || EVP_DigestUpdate(ctx, a.p, a.n) != 1 ||
	    EVP_DigestUpdate(ctx, b.p, b.n) != 1 || EVP_DigestFinal_ex(ctx, out, NULL) != 1)
		abort();
}

void
tf_sha256(const void *p, size_t n, uint8_t out[static TF_SHA256])
{
	sha_two(tf_span(p, n), tf_span(NULL, 0), out);
}

void
tf_hmac_sha256(struct tf_span key, const void *p, size_t n, uint8_t out[static TF_SHA256])
{
	uint8_t block[SHA256_BLOCK] = { 0 }, inner[TF_SHA256];

	if (key.n > sizeof block)
		tf_sha256(key.p, key.n, block);
	else if (key.n > 0)
		memcpy(block, key.p, key.n);
	for (size_t i = 0; i < sizeof block; i++)
		block[i] ^= 0x36;
	sha_two(tf_span(block, sizeof block), tf_span(p, n), inner);
	for (size_t i = 0; i < sizeof block; i++)
		block[i] ^= 0x36 ^ 0x5c;
	sha_two(tf_span(block, sizeof block), tf_span(inner, sizeof inner), out);
	tf_wipe(block, sizeof block);
	tf_wipe(inner, sizeof inner);
}

static pthread_once_t crc_once = PTHREAD_ONCE_INIT;
static uint32_t crc_table[256];

static void
crc_setup(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? UINT32_C(0xedb88320) ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

uint32_t
tf_crc32(uint32_t crc, const void *p, size_t n)
{
	const uint8_t *b = p;

	pthread_once(&crc_once, crc_setup);
	crc = ~crc;
	for (size_t i = 0; i < n; i++)
		crc = crc_table[(crc ^ b[i]) & 0xff] ^ (crc >> 8);
	return ~crc;
}

bool
tf_ct_equal(const void *a, const void *b, size_t n)
{
	return CRYPTO_memcmp(a, b, n) == 0;
}

void
tf_wipe(void *p, size_t n)
{
	if (n > 0) /* an empty buffer has no memory to point at */
		explicit_bzero(p, n);
}

void
tf_hex(const void *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[b[i] >> 4];
		*out++ = digits[b[i] & 15];
	}
	*out = '\0';
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
tf_unhex(struct tf_span s, void *out, size_t n)
{
	uint8_t *b = out;

	if (s.n % 2 != 0 || s.n / 2 != n)
		return TF_E_INVAL;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_value(s.p[2 * i]), lo = hex_value(s.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return TF_E_INVAL;
		b[i] = (uint8_t)(hi << 4 | lo);
	}
	return 0;
}
