/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing: what was sealed comes back, what was touched does not; and hashes of bytes that come in pieces. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "common/base/base.h"

static void
test_seal(void **state)
{
	static const uint8_t key[TF_SEAL_KEY] = { 1, 2, 3 }, other[TF_SEAL_KEY] = { 1, 2, 4 };
	struct tf_buf a = { 0 }, b = { 0 }, out = { 0 };

	(void)state;
	for (size_t n = 0; n <= 100; n += 20) {
		char plain[100];

		memset(plain, 'x', sizeof plain);
		tf_buf_reset(&a);
		tf_buf_reset(&b);
		tf_buf_reset(&out);
		assert_int_equal(tf_seal(key, tf_span(plain, n), &a), 0);
		assert_int_equal(tf_seal(key, tf_span(plain, n), &b), 0);
		assert_int_equal(a.n, n + 44);
		assert_false(tf_span_eq(tf_buf_span(&a), tf_buf_span(&b)));
		assert_int_equal(tf_buf_addstr(&out, "before"), 0);
		assert_int_equal(tf_unseal(key, tf_buf_span(&a), &out), 0);
		assert_int_equal(out.n, 6 + n);
		assert_memory_equal(out.p + 6, plain, n);
		assert_int_equal(tf_unseal(other, tf_buf_span(&a), &out), TF_E_INVAL);
		/* every bit counts, and so does the length */
		for (size_t i = 0; i < a.n; i++) {
			a.p[i] ^= 4;
			assert_int_equal(tf_unseal(key, tf_buf_span(&a), &out), TF_E_INVAL);
			a.p[i] ^= 4;
			assert_int_equal(tf_unseal(key, tf_span(a.p, i), &out), TF_E_INVAL);
		}
		assert_int_equal(out.n, 6 + n);
	}
	tf_buf_free(&a);
	tf_buf_free(&b);
	tf_buf_free(&out);
}

static void
test_hash(void **state)
{
	uint8_t whole[TF_SHA256], pieces[TF_SHA256], other[TF_SHA256];
	struct tf_hash *h = tf_hash_new(), *unused = tf_hash_new();

	(void)state;
	tf_sha256("abc", 3, whole);
	assert_non_null(h);
	tf_hash_add(h, "a", 1);
	tf_hash_add(h, "", 0);
	tf_sha256("x", 1, other); /* another one in between */
	tf_hash_add(h, "bc", 2);
	tf_hash_end(&h, pieces);
	assert_null(h);
	assert_memory_equal(pieces, whole, sizeof whole);
	tf_hash_end(&unused, NULL);
	tf_hash_end(&unused, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_seal), cmocka_unit_test(test_hash) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
