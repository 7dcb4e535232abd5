/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL contexts for servers and clients: TLS 1.2 or later, ALPN http/1.1, verified peers.
 * Called by daemons at start and reload, never per connection.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/http/http.h"

static const unsigned char alpn[] = "\x08http/1.1";

static void
say(char *err, size_t errlen, const char *what, const char *file)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e != 0 ? ERR_reason_error_string(e) : NULL;

	snprintf(err, errlen, "%s %s: %s", what, file, why != NULL ? why : "unknown reason");
	ERR_clear_error();
}

/* A client that offers only other protocols is let in: it may speak HTTP/1.1 all the same. */
static int
choose(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
    unsigned inlen, void *arg)
{
	unsigned char *found;

	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&found, outlen, alpn, sizeof(alpn) - 1, in, inlen) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = found;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *
make(const SSL_METHOD *method, char *err, size_t errlen)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		say(err, errlen, "cannot make", "a TLS context");
		SSL_CTX_free(ctx);
		return NULL;
	}
	/* An idle connection keeps no record buffers: 34 KB less each. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	return ctx;
}

struct ssl_ctx_st *
http_tls_server_new(const char *cert, const char *key, char *err, size_t errlen)
{
	static const unsigned char sid[] = "tokenfactory";
	SSL_CTX *ctx = make(TLS_server_method(), err, errlen);

	if (ctx == NULL)
		return NULL;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1) {
		say(err, errlen, "cannot read the certificate", cert);
	} else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
		say(err, errlen, "cannot read the private key", key);
	} else if (SSL_CTX_check_private_key(ctx) != 1) {
		say(err, errlen, "the certificate does not match the private key", key);
	} else {
		SSL_CTX_set_alpn_select_cb(ctx, choose, NULL);
		SSL_CTX_set_session_id_context(ctx, sid, sizeof(sid) - 1);
		return ctx;
	}
	SSL_CTX_free(ctx);
	return NULL;
}

struct ssl_ctx_st *
http_tls_client_new(const char *ca, char *err, size_t errlen)
{
	SSL_CTX *ctx = make(TLS_client_method(), err, errlen);

	if (ctx == NULL)
		return NULL;
	if ((ca != NULL ? SSL_CTX_load_verify_file(ctx, ca) : SSL_CTX_set_default_verify_paths(ctx))
	    != 1) {
		say(err, errlen, "cannot read the CA bundle", ca != NULL ? ca : "of the system");
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	/* Not 1 but 0 means success here. */
	if (SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1) != 0) {
		say(err, errlen, "cannot offer", "http/1.1");
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

struct ssl_ctx_st *
http_tls_ref(struct ssl_ctx_st *ctx)
{
	if (ctx != NULL)
		SSL_CTX_up_ref(ctx);
	return ctx;
}

void
http_tls_free(struct ssl_ctx_st **ctx)
{
	SSL_CTX_free(*ctx);
	*ctx = NULL;
}
