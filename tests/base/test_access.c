/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks in every way of writing them, and the names of operations. */
#include "config.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/base/base.h"

static const struct {
	const char *network, *address;
	bool has;
} within[] = {
	{ "192.0.2.0/24", "192.0.2.1", true },
	{ "192.0.2.0/24", "192.0.3.1", false },
	{ "192.0.2.7/24", "192.0.2.200", true }, /* bits of the host in the network do not matter */
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "192.0.2.1/31", "192.0.2.0", true },
	{ "192.0.2.1/31", "192.0.2.2", false },
	{ "0.0.0.0/0", "203.0.113.9", true },
	{ "0.0.0.0/0", "2001:db8::1", false },
	{ "::/0", "203.0.113.9", true }, /* everything is everything */
	{ "2001:db8::/32", "2001:db8:ffff::1", true },
	{ "2001:db8::/32", "2001:db9::1", false },
	{ "2001:db8:8000::/33", "2001:db8:7fff::1", false },
	{ "2001:db8:8000::/33", "2001:db8:8001::1", true },
	{ "192.0.2.0/24", "::ffff:192.0.2.9", true }, /* as a socket of both families says it */
	{ "::ffff:192.0.2.0/120", "192.0.2.9", true },
	{ "::ffff:192.0.2.0/120", "192.0.3.9", false },
	{ "10.0.0.0/8", "::10.0.0.1", false }, /* compatible is not mapped */
	{ "::1", "[::1]:4711", true },
	{ "::1", "[::1]", true },
	{ "127.0.0.1", "127.0.0.1:80", true },
};

static void
test_within(void **state)
{
	(void)state;
	for (size_t i = 0; i < TF_LEN(within); i++) {
		uint8_t address[TF_ADDRESS];
		struct tf_network n;

		print_message("%s in %s\n", within[i].address, within[i].network);
		assert_int_equal(tf_network_parse(tf_cspan(within[i].network), &n), 0);
		assert_int_equal(tf_address_parse(tf_cspan(within[i].address), address), 0);
		assert_int_equal(tf_network_has(&n, address), within[i].has);
	}
}

static void
test_bad(void **state)
{
	static const char *const networks[] = { "", "/", "/8", "192.0.2", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1",
		"192.0.2.0/+8", "2001:db8::/129", "x", "localhost", "192.0.2.0/24/8", "192.0.2.1:80", "[::1]", "::1%lo",
		"192.0.2.0 /24", "1:2:3:4:5:6:7:8:9", "01.2.3.4.5" };
	static const char *const addresses[] = { "", "unknown", "_hidden", "[::1", "::1]", "[::1]x", "[::1]:", "[::1]:x",
		"[::1]:65536",
		"[127.0.0.1]", "[]", "127.0.0.1:", "127.0.0.1:99999", ":80",
		"127.0.0.1/8", "for=1.2.3.4" };
	uint8_t address[TF_ADDRESS];
	struct tf_network n;

	(void)state;
	for (size_t i = 0; i < TF_LEN(networks); i++) {
		print_message("'%s'\n", networks[i]);
		assert_int_equal(tf_network_parse(tf_cspan(networks[i]), &n), TF_E_INVAL);
	}
	for (size_t i = 0; i < TF_LEN(addresses); i++) {
		print_message("'%s'\n", addresses[i]);
		assert_int_equal(tf_address_parse(tf_cspan(addresses[i]), address), TF_E_INVAL);
	}
	assert_int_equal(tf_network_parse(TF_SPAN("10.0.0.0\0/8"), &n), TF_E_INVAL);
}

static void
test_text(void **state)
{
	static const char *const rows[][2] = { { "192.0.2.7/24", "192.0.2.0/24" }, { "192.0.2.7", "192.0.2.7/32" },
		{ "0.0.0.0/0", "0.0.0.0/0" }, { "::/0", "::/0" }, { "2001:DB8:0::1", "2001:db8::1/128" },
		{ "2001:db8::ff/48", "2001:db8::/48" }, { "::ffff:10.1.2.3/104", "10.0.0.0/8" } };
	char text[TF_NETWORK_TEXT];
	struct tf_network n;

	(void)state;
	for (size_t i = 0; i < TF_LEN(rows); i++) {
		assert_int_equal(tf_network_parse(tf_cspan(rows[i][0]), &n), 0);
		tf_network_text(&n, text);
		assert_string_equal(text, rows[i][1]);
	}
}

static void
test_sockets(void **state)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr local = { .sa_family = AF_UNIX };
	uint8_t a[TF_ADDRESS], b[TF_ADDRESS];

	(void)state;
	assert_int_equal(tf_address_of((struct sockaddr *)&v4, a), 0);
	assert_int_equal(tf_address_parse(TF_SPAN("127.0.0.1"), b), 0);
	assert_memory_equal(a, b, sizeof a);
	assert_int_equal(tf_address_of((struct sockaddr *)&v6, a), 0);
	assert_int_equal(tf_address_parse(TF_SPAN("::1"), b), 0);
	assert_memory_equal(a, b, sizeof a);
	assert_int_equal(tf_address_of(&local, a), TF_E_INVAL);
}

static void
test_operations(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TF_OP_COUNT; i++)
		assert_int_equal(tf_operation_by_name(tf_cspan(tf_operation_name((enum tf_operation)i))), i);
	assert_null(tf_operation_name(TF_OP_COUNT));
	assert_int_equal(tf_operation_by_name(TF_SPAN("Chat")), TF_OP_COUNT);
	assert_int_equal(tf_operation_by_name(TF_SPAN("")), TF_OP_COUNT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_within), cmocka_unit_test(test_bad), cmocka_unit_test(test_text),
		cmocka_unit_test(test_sockets), cmocka_unit_test(test_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
