/* SPDX-License-Identifier: Apache-2.0 */
/* What a writer that died left behind is found again. Writers that die are children that kill themselves. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/spool/bed.h"

/* Runs fn in a process that is killed at its end. */
static void
die_after(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		fn();
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void
dies_at_work(void)
{
	struct sp_open a, b, c, d;
	struct sp_writer w;

	open_writer(&w, 8, SP_SEGMENT_MIN);
	(void)!begin(&w, &a, 1);
	(void)!begin(&w, &b, 2);
	(void)!begin(&w, &c, 3);
	(void)!begin(&w, &d, 4);
	(void)end(&w, &a, 1);
	(void)sp_writer_flush(&w);
	sp_writer_ack(&w, 1);
	(void)end(&w, &b, 2);
	atomic_store(&c.slot->tokens, 17);
	atomic_store(&c.slot->given, 1);
	atomic_store(&c.slot->reserved, 99);
	(void)sp_writer_flush(&w);
	sp_writer_delivered(&w, 2);
	/* this one is never written: the kill comes before the end of the turn */
	(void)end(&w, &d, 4);
}

static void
test_dead(void **state)
{
	struct tf_buf buf = { 0 };
	struct sp_left *l, *again;
	struct sp_rec rec;

	(void)state;
	assert_int_equal(sp_left_find(dir, &l), TF_E_NOENT);
	die_after(dies_at_work);
	assert_int_equal(sp_left_find(dir, &l), 0);
	assert_string_equal(l->name, "gatewayd.0");
	assert_true(l->boot == BOOT && l->acked == 1);
	/* the number that was given and not written is not given again */
	assert_int_equal(l->last, 3);
	assert_int_equal(l->nends, 1);
	assert_true(l->ends[0].seq == 2 && l->ends[0].delivered && tf_id_eq(l->ends[0].id, id_of(2)));
	assert_int_equal(sp_left_read(l, l->ends[0].file, l->ends[0].at, &buf, &rec), 0);
	assert_true(tf_span_is(rec.payload, "end 2"));
	assert_int_equal(l->nbegins, 2);
	assert_true(tf_id_eq(l->begins[0].id, id_of(3)) && l->begins[0].known && l->begins[0].given);
	assert_true(l->begins[0].tokens == 17 && l->begins[0].reserved == 99);
	assert_true(tf_id_eq(l->begins[1].id, id_of(4)) && l->begins[1].known && !l->begins[1].given);
	assert_int_equal(sp_left_read(l, l->begins[1].file, l->begins[1].at, &buf, &rec), 0);
	assert_true(rec.kind == SP_BEGIN && tf_span_is(rec.payload, "begin 4"));
	/* one at a time */
	assert_int_equal(sp_left_find(dir, &again), TF_E_NOENT);
	sp_left_free(&l);
	assert_int_equal(sp_left_find(dir, &l), 0);
	sp_left_done(&l);
	assert_int_equal(sp_left_find(dir, &l), TF_E_NOENT);
	assert_int_equal(count(".done"), 1);
	assert_int_equal(count(".map"), 0);
	tf_buf_free(&buf);
}

static void
test_alive(void **state)
{
	struct sp_writer w;
	struct sp_left *l;
	struct sp_open a;

	(void)state;
	open_writer(&w, 8, SP_SEGMENT_MIN);
	assert_int_equal(begin(&w, &a, 1), 0);
	assert_int_equal(sp_writer_flush(&w), 0);
	assert_int_equal(sp_left_find(dir, &l), TF_E_NOENT);
	sp_writer_close(&w);
	assert_int_equal(sp_left_find(dir, &l), 0);
	assert_int_equal(l->nbegins, 1);
	sp_left_done(&l);
}

/* ENDs of several segments come in the order of their numbers. */
static void
dies_with_many(void)
{
	static struct sp_open o[2000];
	struct sp_writer w;

	open_writer(&w, 2000, SP_SEGMENT_MIN);
	for (unsigned i = 0; i < 1000; i++) {
		give_next(&w);
		(void)!begin(&w, &o[i], i);
		if (i % 3 == 2) {
			(void)end(&w, &o[i - 2], i - 2);
			(void)end(&w, &o[i], i);
		}
		(void)sp_writer_flush(&w);
	}
	for (unsigned i = 0; i < 1000; i++)
		if (o[i].seg != NULL)
			(void)end(&w, &o[i], i);
	(void)sp_writer_flush(&w);
	/* nothing acknowledged and the map gone */
	{
		char path[400];

		find(".map", path);
		(void)unlink(path);
	}
}

static void
test_many(void **state)
{
	struct sp_left *l;

	(void)state;
	die_after(dies_with_many);
	assert_true(count(".seg") >= 2);
	assert_int_equal(sp_left_find(dir, &l), 0);
	assert_int_equal(l->nends, 1000);
	for (size_t i = 0; i < l->nends; i++)
		assert_int_equal(l->ends[i].seq, i + 1);
	assert_int_equal(l->nbegins, 0);
	assert_int_equal(l->last, 1000);
	sp_left_done(&l);
}

static void
damage(const char *path, off_t at)
{
	int fd = open(path, O_RDWR);
	char c;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c = (char)~c;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	close(fd);
}

static void
test_damaged(void **state)
{
	struct sp_left *l;
	char path[400];

	(void)state;
	die_after(dies_at_work);
	find(".seg", path);
	/* in the third of six records */
	damage(path, SP_HEAD + 2 * 56 + 20);
	assert_int_equal(sp_left_find(dir, &l), 0);
	assert_int_equal(l->nbad, 1);
	assert_int_equal(l->nbegins, 2); /* what stands before the damage; their ends do not */
	assert_int_equal(l->nends, 0);
	assert_int_equal(l->last, 3);    /* as the map knows */
	sp_left_done(&l);
	assert_int_equal(count(".bad"), 1);
	/* without a head it is nobody's */
	die_after(dies_at_work);
	find(".seg", path);
	damage(path, 20);
	assert_int_equal(sp_left_find(dir, &l), TF_E_NOENT);
	assert_int_equal(count(".seg"), 0);
}

static void
settled_is(void *arg, const char *name, uint64_t boot)
{
	assert_string_equal(name, "gatewayd.0");
	assert_true(boot == BOOT);
	++*(unsigned *)arg;
}

static void
test_dir(void **state)
{
	struct sp_sizes s;
	struct sp_left *l;
	unsigned n = 0;
	char path[400];

	(void)state;
	die_after(dies_at_work);
	sp_dir_settled(dir, settled_is, &n);
	assert_int_equal(n, 0);
	assert_int_equal(sp_left_find(dir, &l), 0);
	sp_left_done(&l);
	sp_dir_settled(dir, settled_is, &n);
	assert_int_equal(n, 1);
	assert_int_equal(sp_dir_sizes(dir, &s), 0);
	assert_true(s.done > 0 && s.bytes == s.done && s.segments == 0 && s.bad == 0);
	sp_dir_drop(dir, 3600000, s.bytes);
	assert_int_equal(count(".done"), 1);
	sp_dir_drop(dir, 3600000, 0);
	assert_int_equal(count(".done"), 0);
	/* a start with a map and nothing else */
	die_after(dies_at_work);
	find(".seg", path);
	assert_int_equal(unlink(path), 0);
	sp_dir_drop(dir, 0, 0);
	assert_int_equal(count(".map"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dead, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_alive, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_many, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_damaged, bed_setup, bed_teardown),
		cmocka_unit_test_setup_teardown(test_dir, bed_setup, bed_teardown),
	};

	tf_log_init("test_left", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
