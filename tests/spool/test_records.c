/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the spool as bytes: what is written is read again, and damage is told from an unfinished write. */
#include "config.h"

#include "tests/spool/bed.h"

struct file {
	struct tf_buf b;
	uint32_t seed;
};

static void
file_begin(struct file *f)
{
	struct sp_head h = { .name = "gatewayd.0", .boot = BOOT, .number = 3, .size = 4096, .made_ms = 12 };
	uint8_t head[SP_HEAD];

	*f = (struct file){ 0 };
	sp_head_write(&h, head);
	assert_int_equal(tf_buf_append(&f->b, head, sizeof head), 0);
	assert_int_equal(sp_head_read(tf_buf_span(&f->b), &h, &f->seed), 0);
	assert_string_equal(h.name, "gatewayd.0");
	assert_true(h.boot == BOOT && h.number == 3 && h.size == 4096 && h.made_ms == 12);
}

static void
file_add(struct file *f, enum sp_kind kind, unsigned n)
{
	struct sp_rec r = { .kind = kind, .id = id_of(n), .attempt = n, .slot = 5, .seq = kind == SP_END ? n : 0,
		.payload = tf_span("0123456789", n % 11) };

	assert_int_equal(sp_record_write(&f->b, f->seed, &r), 0);
}

static void
file_zeros(struct file *f)
{
	static const char zeros[4096];

	assert_int_equal(tf_buf_append(&f->b, zeros, sizeof zeros), 0);
}

static size_t
file_read(const struct file *f, enum sp_end want)
{
	struct sp_reader r;
	struct sp_rec rec;
	size_t n = 0;

	assert_int_equal(sp_reader_init(&r, tf_buf_span(&f->b)), 0);
	while (sp_next(&r, &rec) == 1)
		n++;
	assert_int_equal(r.end, want);
	return n;
}

static void
test_records(void **state)
{
	struct file f;
	struct sp_reader r;
	struct sp_rec rec;

	(void)state;
	file_begin(&f);
	for (unsigned i = 1; i <= 20; i++)
		file_add(&f, i % 2 ? SP_BEGIN : SP_END, i);
	file_zeros(&f);
	assert_int_equal(sp_reader_init(&r, tf_buf_span(&f.b)), 0);
	for (unsigned i = 1; i <= 20; i++) {
		assert_int_equal(sp_next(&r, &rec), 1);
		assert_int_equal(rec.kind, i % 2 ? SP_BEGIN : SP_END);
		assert_true(tf_id_eq(rec.id, id_of(i)));
		assert_true(rec.attempt == i && rec.slot == 5 && rec.seq == (i % 2 ? 0 : i) && !rec.delivered);
		assert_true(tf_span_eq(rec.payload, tf_span("0123456789", i % 11)));
	}
	assert_int_equal(sp_next(&r, &rec), 0);
	assert_int_equal(r.end, SP_CLEAN);
	/* the mark is no part of the sum */
	f.b.p[SP_HEAD + 4] = 'D';
	assert_int_equal(sp_record_read(tf_buf_span(&f.b), f.seed, SP_HEAD, &rec), 1);
	assert_true(rec.delivered);
	tf_buf_free(&f.b);
}

/* Whatever byte of a file changes, nothing else than what was written is read. */
static void
test_every_byte(void **state)
{
	struct file f;
	size_t last;

	(void)state;
	file_begin(&f);
	file_add(&f, SP_BEGIN, 7);
	file_add(&f, SP_END, 8);
	last = f.b.n;
	file_add(&f, SP_END, 9);
	for (size_t i = SP_HEAD; i < f.b.n; i++) {
		struct sp_reader r;
		struct sp_rec rec;
		size_t n = 0;
		bool mark = (i - SP_HEAD) % 56 == 4 || f.b.p[i] == 0;

		f.b.p[i] = (char)(f.b.p[i] ^ 0x20);
		assert_int_equal(sp_reader_init(&r, tf_buf_span(&f.b)), 0);
		while (sp_next(&r, &rec) == 1) {
			assert_true(rec.attempt >= 7 && rec.attempt <= 9);
			n++;
		}
		assert_true(n < 3 || mark);
		if (n < 3)
			assert_int_equal(r.end, i >= last ? SP_TORN : SP_BAD);
		f.b.p[i] = (char)(f.b.p[i] ^ 0x20);
	}
	for (size_t i = 0; i < SP_HEAD; i++) {
		struct sp_reader r;

		f.b.p[i] = (char)(f.b.p[i] ^ 1);
		assert_int_not_equal(sp_reader_init(&r, tf_buf_span(&f.b)), 0);
		f.b.p[i] = (char)(f.b.p[i] ^ 1);
	}
	tf_buf_free(&f.b);
}

static void
test_torn_and_bad(void **state)
{
	struct file f, other;
	size_t at;

	(void)state;
	file_begin(&f);
	file_add(&f, SP_BEGIN, 1);
	at = f.b.n;
	file_add(&f, SP_END, 10);
	/* cut in the last record, with the zeros of the preallocated rest behind it */
	f.b.n -= 12;
	file_zeros(&f);
	assert_int_equal(file_read(&f, SP_TORN), 1);
	/* a hole of zeros, as a loss of power leaves it, and a record behind it */
	memset(f.b.p + at, 0, f.b.n - at);
	f.b.n &= ~(size_t)7;
	file_add(&f, SP_END, 11);
	assert_int_equal(file_read(&f, SP_BAD), 1);
	/* a record of another file is none */
	file_begin(&other);
	other.seed++;
	file_add(&other, SP_END, 12);
	assert_int_equal(file_read(&other, SP_TORN), 0);
	tf_buf_free(&f.b);
	tf_buf_free(&other.b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_torn_and_bad),
	};

	tf_log_init("test_records", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
