/* SPDX-License-Identifier: Apache-2.0 */
/* Throw-away certificates for the tests of TLS. See certs.h. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/http/http.h"
#include "tests/http/certs.h"

static char dir[] = "/tmp/tf-http-XXXXXX";

int
certs_begin(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL;
}

int
certs_end(void **state)
{
	static const char *const names[] = { "ca.pem", "chain.pem", "key.pem" };
	char path[600];

	(void)state;
	for (size_t i = 0; i < TF_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	return rmdir(dir);
}

static void
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *
make_cert(const char *cn, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), issuer != NULL ? 2 : 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer) : name);
	X509_set_pubkey(cert, key);
	return X509_sign(cert, issuer_key, EVP_sha256()) > 0 ? cert : NULL;
}

static FILE *
open_in(const char *name)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	return f;
}

void
certs_make(const char *name)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
	X509 *ca = make_cert("test CA", ca_key, NULL, ca_key);
	X509 *leaf = make_cert(name, key, ca, ca_key);
	char san[256];
	FILE *f;

	assert_non_null(ca);
	assert_non_null(leaf);
	snprintf(san, sizeof(san), "DNS:%s,IP:127.0.0.1", name);
	extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
	X509_sign(ca, ca_key, EVP_sha256());
	extend(leaf, ca, NID_subject_alt_name, san);
	X509_sign(leaf, ca_key, EVP_sha256());
	f = open_in("ca.pem");
	PEM_write_X509(f, ca);
	fclose(f);
	f = open_in("chain.pem");
	PEM_write_X509(f, leaf);
	PEM_write_X509(f, ca);
	fclose(f);
	f = open_in("key.pem");
	PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	X509_free(ca);
	X509_free(leaf);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
}

void
certs_ca(char path[static CERTS_PATH])
{
	snprintf(path, CERTS_PATH, "%s/ca.pem", dir);
}

struct ssl_ctx_st *
certs_server(const char *name)
{
	char cert[CERTS_PATH], key[CERTS_PATH], err[256];
	struct ssl_ctx_st *ctx;

	certs_make(name);
	snprintf(cert, sizeof(cert), "%s/chain.pem", dir);
	snprintf(key, sizeof(key), "%s/key.pem", dir);
	ctx = http_tls_server_new(cert, key, err, sizeof(err));
	if (ctx == NULL)
		print_error("%s\n", err);
	assert_non_null(ctx);
	return ctx;
}
