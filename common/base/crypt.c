/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes, sealing, comparison in constant time, wiping, hex. SHA-256 is OpenSSL's, with the
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

struct tf_hash {
	EVP_MD_CTX *ctx;
};

struct tf_hash *
tf_hash_new(void)
{
	struct tf_hash *h = malloc(sizeof *h);

	pthread_once(&sha_once, sha_setup);
	if (h == NULL)
		return NULL;
	h->ctx = EVP_MD_CTX_new();
	if (h->ctx == NULL || EVP_DigestInit_ex2(h->ctx, sha_md, NULL) != 1) {
		EVP_MD_CTX_free(h->ctx);
		free(h);
		return NULL;
	}
	return h;
}

void
tf_hash_add(struct tf_hash *h, const void *p, size_t n)
{
	if (EVP_DigestUpdate(h->ctx, p, n) != 1)
		abort();
}

void
tf_hash_end(struct tf_hash **hp, uint8_t *out)
{
	struct tf_hash *h = *hp;

	if (h == NULL)
		return;
	*hp = NULL;
	if (out != NULL && EVP_DigestFinal_ex(h->ctx, out, NULL) != 1)
		abort();
	EVP_MD_CTX_free(h->ctx);
	free(h);
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

/* ---- sealing ------------------------------------------------------------------------------ */

#define SEAL_SALT 16
#define SEAL_NONCE 12
#define SEAL_TAG 16

/* Salt and nonce stand in front, the tag behind. */
static int
gcm(const uint8_t key[static TF_SHA256], const uint8_t *nonce, struct tf_span in, uint8_t *out, uint8_t *tag, bool seal)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, ok;

	if (ctx == NULL)
		return TF_E_NOMEM;
	ok = EVP_CipherInit_ex2(ctx, EVP_aes_256_gcm(), key, nonce, seal, NULL);
	if (ok == 1 && !seal)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag);
	if (ok == 1 && in.n > 0)
		ok = EVP_CipherUpdate(ctx, out, &n, (const uint8_t *)in.p, (int)in.n);
	if (ok == 1)
		ok = EVP_CipherFinal_ex(ctx, out + in.n, &n);
	if (ok == 1 && seal)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, tag);
	EVP_CIPHER_CTX_free(ctx);
	return ok == 1 ? 0 : TF_E_INVAL;
}

int
tf_seal(const uint8_t key[static TF_SEAL_KEY], struct tf_span plain, struct tf_buf *out)
{
	uint8_t own[TF_SHA256], *at;
	size_t n = SEAL_SALT + SEAL_NONCE + plain.n + SEAL_TAG;
	int rc;

	if (plain.n > INT32_MAX / 2)
		return TF_E_INVAL;
	rc = tf_buf_reserve(out, n);
	if (rc != 0)
		return rc;
	at = (uint8_t *)out->p + out->n;
	tf_random(at, SEAL_SALT + SEAL_NONCE);
	tf_hmac_sha256(tf_span(key, TF_SEAL_KEY), at, SEAL_SALT, own);
	rc = gcm(own, at + SEAL_SALT, plain, at + SEAL_SALT + SEAL_NONCE, at + n - SEAL_TAG, true);
	tf_wipe(own, sizeof own);
	if (rc == 0)
		out->n += n;
	return rc;
}

int
tf_unseal(const uint8_t key[static TF_SEAL_KEY], struct tf_span sealed, struct tf_buf *out)
{
	const uint8_t *at = (const uint8_t *)sealed.p;
	uint8_t own[TF_SHA256], tag[SEAL_TAG];
	struct tf_span in;
	int rc;

	if (sealed.n < SEAL_SALT + SEAL_NONCE + SEAL_TAG || sealed.n > INT32_MAX / 2)
		return TF_E_INVAL;
	in = tf_span(at + SEAL_SALT + SEAL_NONCE, sealed.n - SEAL_SALT - SEAL_NONCE - SEAL_TAG);
	/* one byte more, so that nothing at all has a place too */
	rc = tf_buf_reserve(out, in.n + 1);
	if (rc != 0)
		return rc;
	memcpy(tag, at + sealed.n - SEAL_TAG, sizeof tag);
	tf_hmac_sha256(tf_span(key, TF_SEAL_KEY), at, SEAL_SALT, own);
	rc = gcm(own, at + SEAL_SALT, in, (uint8_t *)out->p + out->n, tag, false);
	tf_wipe(own, sizeof own);
	if (rc == 0)
		out->n += in.n;
	else
		tf_wipe(out->p + out->n, in.n);
	return rc;
}
