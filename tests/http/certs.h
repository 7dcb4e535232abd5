/* SPDX-License-Identifier: Apache-2.0 */
/* Throw-away certificates for the tests of TLS, in a folder of the process. */
#ifndef TESTS_HTTP_CERTS_H
#define TESTS_HTTP_CERTS_H

#define CERTS_PATH 600

struct ssl_ctx_st;

/* Of the group of tests: makes the folder, takes it away. */
int	 certs_begin(void **state);
int	 certs_end(void **state);
/* Writes a new CA, a certificate by it for name and 127.0.0.1, and its key, in place of the last ones. */
void	 certs_make(const char *name);
/* Where the CA's certificate is. */
void	 certs_ca(char path[static CERTS_PATH]);
/* A server's context with certificates made for it. Owned by the caller. */
struct ssl_ctx_st *certs_server(const char *name);

#endif
