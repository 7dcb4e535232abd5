/* SPDX-License-Identifier: Apache-2.0 */
/* What a key may do, as billingd says it, and where a request comes from behind a proxy. */
#include "config.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gatewayd/gw.h"

#define ALWAYS (UINT64_C(1) << TF_OP_MODELS | UINT64_C(1) << TF_OP_USAGE)

static struct gw_may may;

/* As from billingd: lists end with NULL. */
static void
learn(const char *const *endpoints, const char *const *networks, uint64_t scopes)
{
	struct wire_key m = { .status = WIRE_KEY_ACTIVE };
	struct tf_buf e = { 0 }, n = { 0 };

	for (; endpoints != NULL && *endpoints != NULL; endpoints++)
		assert_int_equal(wire_rep_add(&e, WIRE_FN_KEY_endpoint, tf_cspan(*endpoints)), 0);
	for (; networks != NULL && *networks != NULL; networks++)
		assert_int_equal(wire_rep_add(&n, WIRE_FN_KEY_network, tf_cspan(*networks)), 0);
	m.endpoint = wire_rep_of(&e, WIRE_FN_KEY_endpoint);
	m.network = wire_rep_of(&n, WIRE_FN_KEY_network);
	if (scopes != 0)
		wire_set(&m, KEY, scopes, scopes);
	assert_int_equal(gw_may_learn(&may, &m), 0);
	tf_buf_free(&e);
	tf_buf_free(&n);
}

static void
test_learn(void **state)
{
	static const char *const two[] = { "chat", "chat", NULL }, *const odd[] = { "not-of-this-build", NULL };
	static const char *const nets[] = { "192.0.2.0/24", "2001:db8::/32", NULL }, *const bad[] = { "somewhere", NULL };

	(void)state;
	learn(NULL, NULL, 0);
	assert_int_equal(may.scopes, WIRE_SCOPE_INFERENCE);
	assert_true(may.operations == UINT64_MAX && !may.nowhere_else);
	learn(two, nets, WIRE_SCOPE_USAGE);
	assert_int_equal(may.scopes, WIRE_SCOPE_USAGE);
	assert_int_equal(may.operations, ALWAYS | UINT64_C(1) << TF_OP_CHAT);
	assert_true(may.nowhere_else && may.nnetworks == 2);
	/* what this build cannot read allows nothing */
	learn(odd, bad, 0);
	assert_true(may.operations == ALWAYS && may.nowhere_else && may.nnetworks == 0);
	learn(NULL, NULL, 0);
	assert_true(may.operations == UINT64_MAX && !may.nowhere_else && may.networks == NULL);
	gw_may_clear(&may);
}

static void
from(const char *forwarded, const char *want)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct gw_client_facts f = { .peer = (const struct sockaddr *)&peer, .forwarded_for = tf_cspan(forwarded) };
	uint8_t got[TF_ADDRESS], expected[TF_ADDRESS];
	int rc = gw_client_address(&f, got);

	if (want == NULL) {
		assert_int_equal(rc, TF_E_INVAL);
		return;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(tf_address_parse(tf_cspan(want), expected), 0);
	assert_memory_equal(got, expected, sizeof got);
}

static void
test_from(void **state)
{
	struct gw_client_facts nobody = { 0 };
	uint8_t got[TF_ADDRESS];

	(void)state;
	from(NULL, "127.0.0.1"); /* no proxy: the connection says it */
	from("198.51.100.7", "198.51.100.7");
	/* what stands before the last comma is what the client claims */
	from("10.0.0.1, 198.51.100.7", "198.51.100.7");
	from("10.0.0.1,10.0.0.2 ,\t2001:db8::1 ", "2001:db8::1");
	from("[2001:db8::1]:443", "2001:db8::1");
	from("198.51.100.7:1234", "198.51.100.7");
	/* a proxy that is believed and says nothing usable: not the proxy's own address */
	from("", NULL);
	from("10.0.0.1,", NULL);
	from("unknown", NULL);
	assert_int_equal(gw_client_address(&nobody, got), TF_E_INVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_learn), cmocka_unit_test(test_from) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
