/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit tests of common/base. Known answers stand where a standard gives them
 * (FIPS 180-2, RFC 4231, the CRC-32 check value, the SipHash keying only by property).
 */
#include "config.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/base.h"

/* ---- buffers and spans ---- */

static void
test_span(void **state)
{
	uint64_t v = 7;
	char *copy;

	(void)state;
	assert_true(tf_span_caseeq(TF_SPAN("Content-LENGTH"), "content-length"));
	assert_false(tf_span_caseeq(TF_SPAN("content-lengt"), "content-length"));
	assert_false(tf_span_caseeq(TF_SPAN("content-lengtH2"), "content-length"));
	assert_true(tf_span_caseeq(tf_span(NULL, 0), ""));
	assert_true(tf_span_is(TF_SPAN("a"), "a"));
	assert_false(tf_span_is(TF_SPAN("a"), "ab"));
	copy = tf_span_dup(tf_span("abcdef", 3));
	assert_string_equal(copy, "abc");
	free(copy);

	assert_int_equal(tf_span_u64(TF_SPAN("0018"), 18, &v), 0);
	assert_int_equal(v, 18);
	assert_int_equal(tf_span_u64(TF_SPAN("18446744073709551615"), UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(tf_span_u64(TF_SPAN("18446744073709551616"), UINT64_MAX, &v), TF_E_RANGE);
	assert_int_equal(tf_span_u64(TF_SPAN("99999999999999999999999"), UINT64_MAX, &v), TF_E_RANGE);
	assert_int_equal(tf_span_u64(TF_SPAN("19"), 18, &v), TF_E_RANGE);
	assert_int_equal(tf_span_u64(TF_SPAN("+3"), 18, &v), TF_E_INVAL);
	assert_int_equal(tf_span_u64(TF_SPAN(" 3"), 18, &v), TF_E_INVAL);
	assert_int_equal(tf_span_u64(TF_SPAN("3x"), 18, &v), TF_E_INVAL);
	assert_int_equal(tf_span_u64(TF_SPAN(""), 18, &v), TF_E_INVAL);
	assert_true(v == UINT64_MAX);
}

static void
test_buf(void **state)
{
	struct tf_buf b = { 0 };
	char big[5000];

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	assert_int_equal(tf_buf_append(&b, NULL, 0), 0);
	assert_int_equal(tf_buf_addstr(&b, "head "), 0);
	assert_int_equal(tf_buf_addc(&b, '|'), 0);
	assert_int_equal(tf_buf_addspan(&b, TF_SPAN("span")), 0);
	assert_int_equal(tf_buf_printf(&b, "%d%s", 42, big), 0);
	assert_int_equal(b.n, 5 + 1 + 4 + 2 + sizeof big - 1);
	assert_string_equal(tf_buf_cstr(&b) + 12, big);
	assert_memory_equal(b.p, "head |span42x", 13);
	tf_buf_shift(&b, 5);
	assert_memory_equal(b.p, "|span42x", 8);
	tf_buf_shift(&b, b.n);
	assert_int_equal(b.n, 0);
	assert_string_equal(tf_buf_cstr(&b), "");
	assert_int_equal(tf_buf_append(&b, big, 10), 0);
	assert_int_equal(tf_buf_reserve(&b, SIZE_MAX - 5), TF_E_NOMEM);
	assert_int_equal(tf_buf_reserve(&b, SIZE_MAX / 2), TF_E_NOMEM);
	assert_int_equal(b.n, 10);
	tf_buf_reset(&b);
	assert_int_equal(b.n, 0);
	assert_non_null(b.p);
	tf_buf_free(&b);
	assert_null(b.p);
}

/* A text whose length meets the free room exactly must not lose its last byte to the NUL. */
static void
test_buf_printf_edges(void **state)
{
	(void)state;
	for (int n = 0; n < 300; n++) {
		struct tf_buf b = { 0 };

		assert_int_equal(tf_buf_addstr(&b, "ab"), 0);
		assert_int_equal(tf_buf_printf(&b, "%0*d", n, 0), 0);
		assert_int_equal(b.n, 2 + (n ? n : 1));
		assert_int_equal(b.p[b.n - 1], '0');
		tf_buf_free(&b);
	}
}

/* What stands in an array stays there while it grows, and no more is taken than the next doubling. */
static void
test_grow(void **state)
{
	uint32_t cap = 0, grown = 0, *v = NULL, *more;

	(void)state;
	for (uint32_t n = 0; n < 100; n++) {
		uint32_t before = cap;

		more = tf_grow(v, n, &cap, sizeof *v, 3);
		assert_non_null(more);
		assert_true(n < before ? more == v && cap == before : cap == (before > 0 ? 2 * before : 3));
		grown += cap != before;
		v = more;
		v[n] = n;
	}
	assert_int_equal(cap, 192);
	assert_int_equal(grown, 7);
	for (uint32_t n = 0; n < 100; n++)
		assert_int_equal(v[n], n);
	free(v);
}

static void
test_list(void **state)
{
	struct tf_list l;
	struct tf_node a = { 0 }, b = { 0 }, c = { 0 }, *e, *tmp;
	int seen = 0;

	(void)state;
	tf_list_init(&l);
	assert_null(tf_list_pop(&l));
	tf_list_append(&l, &b);
	tf_list_append(&l, &c);
	tf_list_prepend(&l, &a);
	assert_ptr_equal(tf_list_first(&l), &a);
	TF_LIST_EACH(&l, e, tmp) {
		seen++;
		if (e == &b)
			tf_list_remove(&l, e);
	}
	assert_int_equal(seen, 3);
	assert_int_equal(l.n, 2);
	assert_false(tf_node_linked(&b));
	assert_ptr_equal(tf_list_pop(&l), &a);
	assert_ptr_equal(tf_list_pop(&l), &c);
	assert_null(tf_list_pop(&l));
}

/* ---- map ---- */

struct item {
	char key[16];
	int in;
};

static void
test_map(void **state)
{
	enum { N = 3000 };
	struct item *items = calloc(N, sizeof *items);
	struct tf_map m = { 0 };
	size_t pos = 0, count = 0;
	struct item *it;

	(void)state;
	assert_null(tf_map_get(&m, TF_SPAN("none")));
	assert_null(tf_map_del(&m, TF_SPAN("none")));
	srand(1);
	for (int i = 0; i < N; i++)
		snprintf(items[i].key, sizeof items[i].key, "key %d", i);
	for (int round = 0; round < 100000; round++) {
		int i = rand() % N;
		struct tf_span key = tf_cspan(items[i].key);

		assert_ptr_equal(tf_map_get(&m, key), items[i].in ? &items[i] : NULL);
		if (rand() % 2) {
			assert_int_equal(tf_map_put(&m, key, &items[i]), items[i].in ? TF_E_EXIST : 0);
			items[i].in = 1;
		} else {
			assert_ptr_equal(tf_map_del(&m, key), items[i].in ? &items[i] : NULL);
			items[i].in = 0;
		}
	}
	for (int i = 0; i < N; i++)
		count += items[i].in != 0;
	assert_int_equal(m.n, count);
	assert_true(m.cap <= 8192);
	while ((it = tf_map_next(&m, &pos)) != NULL) {
		assert_int_equal(it->in, 1);
		assert_ptr_equal(tf_map_del(&m, tf_cspan(it->key)), it);
		it->in = 0;
		count--;
	}
	assert_int_equal(count, 0);
	assert_int_equal(m.n, 0);
	tf_map_free(&m);
	free(items);
}

/* The same few keys put and deleted for ever: deleted slots may neither fill the table nor grow it. */
static void
test_map_churn(void **state)
{
	struct tf_map m = { 0 };
	struct item it = { .key = "a" };

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(it.key, sizeof it.key, "%d", i);
		assert_int_equal(tf_map_put(&m, tf_cspan(it.key), &it), 0);
		assert_null(tf_map_get(&m, TF_SPAN("absent")));
		assert_ptr_equal(tf_map_del(&m, tf_cspan(it.key)), &it);
	}
	assert_int_equal(m.cap, 16);
	tf_map_free(&m);
}

static void
test_hash(void **state)
{
	char text[40];
	uint64_t last = 0;

	(void)state;
	memset(text, 'q', sizeof text);
	for (size_t n = 0; n < sizeof text; n++) {
		uint64_t h = tf_hash(tf_span(text, n), 1);

		assert_true(h != last);
		assert_true(h != tf_hash(tf_span(text, n), 2));
		last = h;
	}
}

/* ---- clock ---- */

static void
test_clock(void **state)
{
	char path[] = "/tmp/tf-clock-XXXXXX";
	int fd = mkstemp(path);
	int64_t shift = INT64_C(86400000000000), wall;
	uint64_t mono = tf_mono_ns();

	(void)state;
	assert_true(tf_mono_ns() >= mono);
	assert_true(llabs(tf_wall_s() - (int64_t)time(NULL)) <= 1);
	wall = tf_wall_s();
	tf_clock_shift(3600 * INT64_C(1000000000));
	assert_true(tf_mono_ms() >= mono / 1000000 + 3600000);
	assert_true(tf_wall_s() - wall >= 3600 && tf_wall_s() - wall <= 3602);
	tf_clock_shift(-3600 * INT64_C(1000000000));
	assert_true(tf_wall_s() - wall <= 2);

	assert_true(fd >= 0);
	setenv("TF_CLOCK_FILE", path, 1);
	assert_int_equal(tf_clock_init(), TF_E_IO); /* empty */
	setenv("TF_CLOCK_FILE", "/nonexistent/clock", 1);
	assert_int_equal(tf_clock_init(), TF_E_IO);
	setenv("TF_CLOCK_FILE", path, 1);
	assert_int_equal(pwrite(fd, &shift, sizeof shift, 0), sizeof shift);
	assert_int_equal(tf_clock_init(), 0);
	assert_true(tf_wall_s() - wall >= 86400 && tf_wall_s() - wall <= 86402);
	shift = 0;
	assert_int_equal(pwrite(fd, &shift, sizeof shift, 0), sizeof shift);
	assert_true(tf_wall_s() - wall <= 2);
	close(fd);
	unlink(path);
	unsetenv("TF_CLOCK_FILE");
}

static void
test_months(void **state)
{
	(void)state;
	/* 2024-02-29T12:00:00Z, 2023-12-31T23:59:59Z, 1970-01-01 */
	assert_int_equal(tf_month_start(1709208000), 1706745600);
	assert_int_equal(tf_month_next(1709208000), 1709251200);
	assert_int_equal(tf_month_start(1704067199), 1701388800);
	assert_int_equal(tf_month_next(1704067199), 1704067200);
	assert_int_equal(tf_month_start(1704067200), 1704067200);
	assert_int_equal(tf_month_start(0), 0);
	assert_int_equal(tf_month_next(0), 31 * 86400);
}

/* ---- ids and randomness ---- */

static void
test_id(void **state)
{
	struct tf_id a = tf_id_new(), b = tf_id_new(), back;
	char text[TF_ID_TEXT + 1], other[TF_ID_TEXT + 1];
	uint64_t ms = 0;

	(void)state;
	assert_false(tf_id_eq(a, b));
	for (int i = 0; i < 6; i++)
		ms = ms << 8 | a.b[i];
	assert_true(llabs((long long)(ms / 1000) - (long long)time(NULL)) <= 2);
	for (int i = 0; i < 1000; i++) {
		tf_random(a.b, sizeof a.b);
		tf_random(b.b, sizeof b.b);
		tf_id_text(a, text);
		tf_id_text(b, other);
		assert_int_equal(strlen(text), TF_ID_TEXT);
		assert_true((strcmp(text, other) < 0) == (memcmp(a.b, b.b, 16) < 0));
		assert_int_equal(tf_id_parse(tf_cspan(text), &back), 0);
		assert_true(tf_id_eq(a, back));
	}
	memset(a.b, 0xff, sizeof a.b);
	tf_id_text(a, text);
	assert_string_equal(text, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
	assert_int_equal(tf_id_parse(TF_SPAN("7zzzzzzzzzzzzzzzzzzzzzzzzz"), &back), 0);
	assert_int_equal(tf_id_parse(TF_SPAN("8ZZZZZZZZZZZZZZZZZZZZZZZZZ"), &back), TF_E_INVAL);
	assert_int_equal(tf_id_parse(TF_SPAN("7ZZZZZZZZZZZZZZZZZZZZZZZZU"), &back), TF_E_INVAL);
	assert_int_equal(tf_id_parse(TF_SPAN("7ZZZZZZZZZZZZZZZZZZZZZZZZ"), &back), TF_E_INVAL);
	assert_int_equal(tf_id_parse(TF_SPAN("7ZZZZZZZZZZZZZZZZZZZZZZZZZZ"), &back), TF_E_INVAL);
	assert_int_equal(tf_id_parse(tf_span("7ZZZ\0ZZZZZZZZZZZZZZZZZZZZZ", 26), &back), TF_E_INVAL);
}

static void
test_random_fork(void **state)
{
	uint64_t mine, theirs;
	int fds[2], status;
	pid_t pid;

	(void)state;
	tf_random_u64(); /* the pool is full now */
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		theirs = tf_random_u64();
		_exit(write(fds[1], &theirs, sizeof theirs) != sizeof theirs);
	}
	assert_true(pid > 0);
	mine = tf_random_u64();
	assert_int_equal(read(fds[0], &theirs, sizeof theirs), sizeof theirs);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(mine != theirs);
	close(fds[0]);
	close(fds[1]);
}

/* ---- hashes ---- */

static void
hex_is(const uint8_t *bin, size_t n, const char *want)
{
	char text[2 * 64 + 1];

	tf_hex(bin, n, text);
	assert_string_equal(text, want);
}

static void
test_sha256(void **state)
{
	uint8_t out[TF_SHA256], key[131];

	(void)state;
	tf_sha256("", 0, out);
	hex_is(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	tf_sha256("abc", 3, out);
	hex_is(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	/* RFC 4231, cases 2 and 6 */
	tf_hmac_sha256(TF_SPAN("Jefe"), "what do ya want for nothing?", 28, out);
	hex_is(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, sizeof key);
	tf_hmac_sha256(tf_span(key, sizeof key), "Test Using Larger Than Block-Size Key - Hash Key First",
	    54, out);
	hex_is(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void *
hash_thread(void *arg)
{
	uint8_t out[TF_SHA256];

	for (int i = 0; i < 200; i++)
		tf_sha256("abc", 3, out);
	memcpy(arg, out, sizeof out);
	return NULL;
}

static void
test_sha256_threads(void **state)
{
	uint8_t out[4][TF_SHA256];
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hash_thread, out[i]), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		hex_is(out[i], 4, "ba7816bf");
	}
}

static void
test_base64(void **state)
{
	/* the vectors of RFC 4648, section 10, and what is none: too short, foreign letters, padding inside, loose bits */
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" }, { "\xfb\xff\xbe", "+/++" } };
	static const char *const bad[] = { "Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "Z===", "====", "Zm-v", "Zm9v\n", "Zh==",
		"Zm9=", "Zg=v", " Zg=" };
	struct tf_buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < TF_LEN(pairs); i++) {
		tf_buf_reset(&out);
		assert_int_equal(tf_b64_encode(tf_cspan(pairs[i][0]), &out), 0);
		assert_true(tf_span_is(tf_buf_span(&out), pairs[i][1]));
		tf_buf_reset(&out);
		assert_int_equal(tf_b64_decode(tf_cspan(pairs[i][1]), &out), 0);
		assert_true(tf_span_is(tf_buf_span(&out), pairs[i][0]));
	}
	tf_buf_reset(&out);
	for (size_t i = 0; i < TF_LEN(bad); i++) {
		assert_int_equal(tf_b64_decode(tf_cspan(bad[i]), &out), TF_E_INVAL);
		assert_int_equal(out.n, 0);
	}
	tf_buf_free(&out);
}

/* As the standard says it, one bit after the other. */
static uint32_t
crc_bits(uint32_t crc, const uint8_t *p, size_t n)
{
	crc = ~crc;
	for (size_t i = 0; i < 8 * n; i++) {
		uint32_t bit = (crc ^ p[i / 8] >> (i % 8)) & 1;

		crc = bit ? UINT32_C(0xedb88320) ^ (crc >> 1) : crc >> 1;
	}
	return ~crc;
}

/* Every length and alignment of the fast ways, the joints between them, and the sum of what came before. */
static void
test_crc(void **state)
{
	uint8_t text[700];
	uint32_t crc = 0;

	(void)state;
	tf_random(text, sizeof text);
	for (size_t n = 0; n <= 600; n++) {
		const uint8_t *p = text + n % 17;
		uint32_t expect = crc_bits(crc, p, n);

		assert_int_equal(tf_crc32(crc, p, n), expect);
		assert_int_equal(tf_crc32(tf_crc32(crc, p, n / 3), p + n / 3, n - n / 3), expect);
		crc = expect;
	}
}

static void
test_small_crypt(void **state)
{
	static const char fox[] = "The quick brown fox jumps over the lazy dog";
	uint8_t b[4];
	char text[9];

	(void)state;
	assert_int_equal(tf_crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(tf_crc32(tf_crc32(0, "1234", 4), "56789", 5), 0xcbf43926);
	assert_int_equal(tf_crc32(0, fox, 43), 0x414fa339);
	for (size_t cut = 0; cut <= 43; cut++)
		assert_int_equal(tf_crc32(tf_crc32(0, fox, cut), fox + cut, 43 - cut), 0x414fa339);
	assert_true(tf_ct_equal("abc", "abc", 3));
	assert_false(tf_ct_equal("abc", "abd", 3));
	assert_int_equal(tf_unhex(TF_SPAN("00fFA510"), b, 4), 0);
	tf_hex(b, 4, text);
	assert_string_equal(text, "00ffa510");
	assert_int_equal(tf_unhex(TF_SPAN("00ffa51"), b, 4), TF_E_INVAL);
	assert_int_equal(tf_unhex(TF_SPAN("00ffa5"), b, 4), TF_E_INVAL);
	assert_int_equal(tf_unhex(TF_SPAN("00ffa51g"), b, 4), TF_E_INVAL);
	tf_wipe(b, sizeof b);
	tf_wipe(NULL, 0);
	assert_int_equal(b[0] | b[1] | b[2] | b[3], 0);
}

/* ---- prices ---- */

/* Rounded once, half up, without overflow; audio has a minimum. */
static void
test_cost(void **state)
{
	struct tf_price p = { { 1000000, 100000, TF_NO_PRICE, 4000000, 3000000, 36000000, 15000000, 40000000 } };
	uint64_t n[TF_P_COUNT] = { [TF_P_INPUT] = 7, [TF_P_CACHED_INPUT] = 5, [TF_P_CACHE_WRITE] = 9 };

	(void)state;
	assert_int_equal(tf_cost(&p, n), 8); /* 7 + 0.5, and nothing for what has no price */
	n[TF_P_CACHED_INPUT] = 4;
	assert_int_equal(tf_cost(&p, n), 7);
	n[TF_P_OUTPUT] = 2, n[TF_P_REASONING] = 1, n[TF_P_AUDIO_HOUR] = 1000, n[TF_P_CHARACTERS] = 3, n[TF_P_IMAGE] = 2;
	assert_int_equal(tf_cost(&p, n), 7 + 8 + 3 + 10000 + 45 + 80000000);
	assert_int_equal(tf_billed_audio_ms(0), 0);
	assert_int_equal(tf_billed_audio_ms(1), 10000);
	assert_int_equal(tf_billed_audio_ms(10001), 10001);
	for (size_t i = 0; i < TF_P_COUNT; i++) {
		p.v[i] = INT64_MAX;
		n[i] = UINT64_MAX;
	}
	assert_int_equal(tf_cost(&p, n), TF_COST_MOST);
	assert_string_equal(tf_price_name(TF_P_AUDIO_HOUR), "audio_hour");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_span),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_buf_printf_edges),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_map_churn),
		cmocka_unit_test(test_hash),
		cmocka_unit_test(test_clock),
		cmocka_unit_test(test_months),
		cmocka_unit_test(test_id),
		cmocka_unit_test(test_random_fork),
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_sha256_threads),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_crc),
		cmocka_unit_test(test_small_crypt),
		cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
