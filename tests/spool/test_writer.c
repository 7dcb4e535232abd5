/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of the spool: an END always has room, whatever is full or broken. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/spool/bed.h"

static void
test_writer(void **state)
{
	struct sp_open a, b, c;
	struct tf_buf buf = { 0 };
	struct sp_writer w;
	struct sp_rec rec;
	struct sp_seg *s;

	(void)state;
	open_writer(&w, 4, SP_SEGMENT_MIN);
	assert_int_equal(begin(&w, &a, 1), 0);
	assert_int_equal(begin(&w, &b, 2), 0);
	assert_int_equal(begin(&w, &c, 3), 0);
	assert_int_equal(end(&w, &b, 2), 1);
	assert_int_equal(end(&w, &a, 1), 2);
	assert_null(a.seg);
	assert_int_equal(sp_writer_flush(&w), 0);
	assert_int_equal(sp_writer_read(&w, 2, &buf, &rec), 0);
	assert_true(tf_span_is(rec.payload, "end 1") && tf_id_eq(rec.id, id_of(1)) && !rec.delivered);
	sp_writer_delivered(&w, 2);
	assert_int_equal(sp_writer_read(&w, 2, &buf, &rec), 0);
	assert_true(rec.delivered);
	assert_int_equal(sp_writer_read(&w, 1, &buf, &rec), 0);
	assert_false(rec.delivered);
	assert_null(sp_writer_due(&w, 3));
	sp_writer_ack(&w, 1);
	assert_null(sp_writer_due(&w, 1));
	assert_non_null(sp_writer_due(&w, 2));
	sp_writer_ack(&w, 2);
	assert_null(sp_writer_spent(&w)); /* one is open, and it is the current one */
	assert_int_equal(end(&w, &c, 3), 3);
	give_next(&w);
	for (unsigned i = 10; w.spare != NULL; i++) {
		assert_int_equal(begin(&w, &a, i), 0);
		assert_true(end(&w, &a, i) > 0);
		assert_int_equal(sp_writer_flush(&w), 0);
	}
	sp_writer_ack(&w, sp_writer_next(&w) - 1);
	s = sp_writer_spent(&w);
	assert_non_null(s);
	assert_null(sp_writer_spent(&w));
	sp_seg_done(&s);
	assert_int_equal(count(".done"), 1);
	tf_buf_free(&buf);
	sp_writer_close(&w);
	assert_int_equal(count(".seg"), 0);
	assert_int_equal(count(".map"), 0);
}

/* However full it is, whoever began can end, and where it began. */
static void
test_room(void **state)
{
	enum { MANY = 4096 };
	static struct sp_open o[MANY];
	struct sp_writer w;
	struct sp_sizes sizes;
	struct sp_seg *s;
	char payload[END_MAX];
	unsigned n = 0;

	(void)state;
	open_writer(&w, MANY, SP_SEGMENT_MIN);
	while (begin(&w, &o[n], n) == 0)
		n++;
	assert_true(n > 100 && n < MANY);
	assert_int_equal(begin(&w, &o[n], n), TF_E_FULL);
	assert_false(sp_writer_fits(&w, 10, END_MAX));
	memset(payload, 'x', sizeof payload);
	for (unsigned i = 0; i < n; i++) {
		uint64_t seq;

		assert_int_equal(sp_writer_end(&w, &o[i], tf_span(payload, END_MAX), &seq), 0);
		assert_non_null(sp_writer_due(&w, seq)->seg);
	}
	assert_int_equal(sp_writer_flush(&w), 0);
	assert_true(w.current->tail <= SP_SEGMENT_MIN);
	assert_int_equal(sp_dir_sizes(dir, &sizes), 0);
	assert_int_equal(sizes.segments, 1);
	/* acknowledged it makes room, though it is the one in use */
	assert_null(sp_writer_spent(&w));
	sp_writer_ack(&w, sp_writer_next(&w) - 1);
	s = sp_writer_spent(&w);
	assert_non_null(s);
	assert_null(w.current);
	sp_seg_done(&s);
	assert_int_equal(count(".done"), 1);
	assert_int_equal(begin(&w, &o[0], 1), TF_E_FULL);
	/* and the next segment takes up where the last one ended */
	give_next(&w);
	assert_int_equal(begin(&w, &o[0], 1), 0);
	assert_true(o[0].seg != NULL && o[0].seg->head.number == 2);
	(void)end(&w, &o[0], 1);
	sp_writer_close(&w);
	/* what nobody acknowledged is left for the next start */
	assert_int_equal(count(".seg"), 1);
	assert_int_equal(count(".map"), 1);
}

static void
test_slots(void **state)
{
	struct sp_open a, b, c;
	struct sp_writer w;

	(void)state;
	open_writer(&w, 2, SP_SEGMENT_MIN);
	assert_int_equal(begin(&w, &a, 1), 0);
	assert_int_equal(begin(&w, &b, 2), 0);
	assert_int_equal(begin(&w, &c, 3), TF_E_FULL);
	(void)end(&w, &a, 1);
	/* its END is not in the file yet: its progress must last */
	assert_int_equal(begin(&w, &c, 3), TF_E_FULL);
	assert_int_equal(sp_writer_flush(&w), 0);
	assert_int_equal(begin(&w, &c, 3), 0);
	sp_writer_close(&w);
}

/* A segment that cannot be written: nothing that ended is lost, and no work begins in it. */
static void
test_broken(void **state)
{
	struct sp_open a, b, c;
	struct tf_buf buf = { 0 };
	struct sp_writer w;
	struct sp_rec rec;
	int fd;

	(void)state;
	open_writer(&w, 8, SP_SEGMENT_MIN);
	give_next(&w);
	assert_int_equal(begin(&w, &a, 1), 0);
	assert_int_equal(begin(&w, &b, 2), 0);
	assert_int_equal(begin(&w, &c, 3), 0);
	assert_int_equal(sp_writer_flush(&w), 0);
	(void)end(&w, &a, 1);
	fd = w.current->fd;
	w.current->fd = open("/dev/null", O_RDONLY);
	assert_int_equal(sp_writer_flush(&w), TF_E_IO);
	assert_int_equal(w.current->head.number, 2);
	assert_int_equal(sp_writer_read(&w, 1, &buf, &rec), 0);
	assert_true(tf_span_is(rec.payload, "end 1"));
	/* an attempt that began in the broken one ends in the next one */
	(void)end(&w, &b, 2);
	assert_ptr_equal(sp_writer_due(&w, 2)->seg, w.current);
	/* without another one it stays in memory */
	close(w.current->fd);
	w.current->fd = open("/dev/null", O_RDONLY);
	assert_int_equal(sp_writer_flush(&w), TF_E_IO);
	assert_int_equal(w.in_memory, 1);
	assert_int_equal(sp_writer_read(&w, 2, &buf, &rec), 0);
	assert_true(tf_span_is(rec.payload, "end 2"));
	(void)end(&w, &c, 3);
	assert_int_equal(w.in_memory, 2);
	assert_int_equal(begin(&w, &a, 4), TF_E_FULL);
	sp_writer_ack(&w, 3);
	assert_int_equal(w.in_memory, 0);
	close(fd);
	tf_buf_free(&buf);
	sp_writer_close(&w);
}

/* Some payloads are held beside the files; not more than was said, and none twice. */
static void
test_kept(void **state)
{
	const struct sp_writer_conf conf = { .dir = dir, .name = "gatewayd.0", .boot = BOOT, .slots = 8,
		.segment = SP_SEGMENT_MIN, .keep = 12 };
	struct sp_open a, b, c;
	struct tf_buf buf = { 0 };
	struct sp_writer w;
	struct sp_rec rec;
	int fd;

	(void)state;
	assert_int_equal(sp_writer_open(&w, &conf), 0);
	assert_int_equal(begin(&w, &a, 1), 0);
	assert_int_equal(begin(&w, &b, 2), 0);
	assert_int_equal(begin(&w, &c, 3), 0);
	(void)end(&w, &a, 1);
	(void)end(&w, &b, 2);
	(void)end(&w, &c, 3);
	assert_int_equal(w.kept, 10);
	assert_null(sp_writer_due(&w, 3)->frame);
	assert_int_equal(sp_writer_flush(&w), 0);
	sp_writer_due(&w, 1)->delivered = true;
	for (unsigned n = 1; n <= 3; n++) {
		char text[32];

		snprintf(text, sizeof text, "end %u", n);
		assert_int_equal(sp_writer_read(&w, n, &buf, &rec), 0);
		assert_true(tf_span_is(rec.payload, text) && tf_id_eq(rec.id, id_of(n)) && rec.seq == n);
		assert_int_equal(rec.delivered, n == 1);
	}
	sp_writer_ack(&w, 1);
	assert_int_equal(w.kept, 5);
	/* what cannot be written any more is held once, and is none of those */
	assert_int_equal(begin(&w, &a, 4), 0);
	(void)end(&w, &a, 4);
	assert_int_equal(w.kept, 10);
	fd = w.current->fd;
	w.current->fd = open("/dev/null", O_RDONLY);
	assert_int_equal(sp_writer_flush(&w), TF_E_IO);
	assert_int_equal(w.in_memory, 1);
	assert_int_equal(w.kept, 5);
	assert_int_equal(sp_writer_read(&w, 4, &buf, &rec), 0);
	assert_true(tf_span_is(rec.payload, "end 4"));
	sp_writer_ack(&w, 4);
	assert_int_equal(w.kept, 0);
	assert_int_equal(w.in_memory, 0);
	close(fd);
	tf_buf_free(&buf);
	sp_writer_close(&w);
}

/* A disk that is full refuses what is new; what began before can end. */
static void
test_full_disk(void **state)
{
	struct sp_open a, b;
	struct sp_writer w;
	struct sp_seg *s;
	struct sp_head h;

	(void)state;
	if (mount("tmpfs", dir, "tmpfs", 0, "size=256k") != 0) {
		print_message("SKIPPED: a small tmpfs cannot be mounted here (errno %d)\n", errno);
		skip();
	}
	open_writer(&w, 16, SP_SEGMENT_MIN);
	assert_int_equal(begin(&w, &a, 1), 0);
	while (sp_writer_wants(&w, &h)) {
		int rc = sp_seg_create(dir, &h, &s);

		if (rc != 0) {
			assert_int_equal(rc, TF_E_FULL);
			break;
		}
		sp_writer_give(&w, s);
		w.number = h.number;
		while (begin(&w, &b, 9) == 0 && w.spare != NULL)
			(void)end(&w, &b, 9);
		if (b.seg != NULL)
			(void)end(&w, &b, 9);
	}
	assert_true(count(".seg") >= 2);
	assert_int_equal(count(".new"), 0);
	(void)end(&w, &a, 1);
	assert_int_equal(sp_writer_flush(&w), 0);
	sp_writer_ack(&w, sp_writer_next(&w) - 1);
	sp_writer_close(&w);
	assert_int_equal(umount(dir), 0);
}

static void
test_size_limit(void **state)
{
	struct sp_head h = { .name = "gatewayd.0", .boot = BOOT, .number = 1, .size = 1 << 20 };
	struct rlimit was, now;
	struct sp_seg *s;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	now = was;
	now.rlim_cur = 128 << 10;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
	assert_int_equal(sp_seg_create(dir, &h, &s), TF_E_FULL);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(count(".seg") + count(".new"), 0);
	assert_int_equal(sp_seg_create(dir, &h, &s), 0);
	sp_seg_close(&s);
	assert_int_equal(count(".seg"), 0); /* nothing was ever in it */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_writer, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_room, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_slots, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_broken, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_kept, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_size_limit, bed_setup, bed_teardown),
	};

	tf_log_init("test_writer", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
