/* SPDX-License-Identifier: Apache-2.0 */
/* The board: what is read was written as a whole, also while it grows, and only of the start of billingd that is meant. */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/wire/board.h"

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/wire-board.XXXXXX");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return rmdir(dir); /* nothing is left in it */
}

static void
test_figures(void **state)
{
	struct wire_room in = { 7, 60000, 11, 12 }, out;
	struct wire_board *w, *r;
	struct stat st;
	char path[128];
	uint64_t joins;
	uint32_t a, b;

	(void)state;
	assert_int_equal(wire_board_open(dir, 5, &r), TF_E_NOENT);
	assert_int_equal(wire_board_create(dir, 5, &w), 0);
	snprintf(path, sizeof path, "%s/billingd.board", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0); /* of its user and group alone */
	assert_int_equal(wire_board_open(dir, 6, &r), TF_E_NOENT);
	assert_int_equal(wire_board_open(dir, 5, &r), 0);
	assert_int_equal(wire_board_boot(r), 5);
	joins = wire_board_joins(r);
	wire_board_join(w);
	assert_int_not_equal(wire_board_joins(r), joins);
	assert_int_equal(wire_board_joins(r), wire_board_joins(w));
	assert_int_equal(wire_board_changed(r), 0);
	wire_board_change(w, UINT64_C(1) << 40);
	assert_true(wire_board_changed(r) == UINT64_C(1) << 40);
	a = wire_board_take(w, 2);
	b = wire_board_take(w, 1);
	assert_true(a == 1 && b == 3);
	assert_false(wire_board_get(r, a, &out)); /* nothing was said yet */
	wire_board_put(w, a + 1, &in);
	assert_true(wire_board_get(r, a + 1, &out));
	assert_memory_equal(&in, &out, sizeof in);
	in.requests = 4;
	wire_board_put(w, a + 1, &in);
	assert_true(wire_board_get(r, a + 1, &out));
	assert_int_equal(out.requests, 4);
	assert_false(wire_board_get(r, 0, &out));
	assert_false(wire_board_get(r, UINT32_MAX, &out));
	wire_board_close(&w);
	/* it is gone for those who come; who has it still reads what was true then */
	assert_true(wire_board_get(r, a + 1, &out));
	assert_int_equal(access(path, F_OK), -1);
	wire_board_close(&r);
}

static void
test_another_start(void **state)
{
	struct wire_board *former, *w, *r;
	char path[128];
	int fd;

	(void)state;
	assert_int_equal(wire_board_create(dir, 5, &former), 0);
	assert_int_equal(wire_board_create(dir, 6, &w), 0); /* that one was killed */
	assert_int_equal(wire_board_open(dir, 5, &r), TF_E_NOENT);
	assert_int_equal(wire_board_open(dir, 6, &r), 0);
	wire_board_close(&r);
	wire_board_close(&former);
	assert_int_equal(wire_board_open(dir, 6, &r), 0);
	wire_board_close(&r);
	wire_board_close(&w);
	snprintf(path, sizeof path, "%s/billingd.board", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "TFBOARD", 7), 7);
	assert_int_equal(wire_board_open(dir, 0, &r), TF_E_PROTO);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(wire_board_open(dir, 0, &r), TF_E_PROTO);
	close(fd);
	unlink(path);
}

static void
test_growth(void **state)
{
	struct wire_board *w, *r;
	struct wire_room room;

	(void)state;
	assert_int_equal(wire_board_create(dir, 5, &w), 0);
	assert_int_equal(wire_board_open(dir, 5, &r), 0);
	for (uint32_t i = 1; i < 5000; i += 2) {
		assert_int_equal(wire_board_take(w, 2), i);
		wire_board_put(w, i, &(struct wire_room){ i, i, i, i });
		assert_true(wire_board_get(r, i, &room));
		assert_int_equal(room.tokens, i);
	}
	for (uint32_t i = 1; i < 5000; i += 2) {
		assert_true(wire_board_get(r, i, &room));
		assert_int_equal(room.window, i);
	}
	assert_int_equal(wire_board_take(w, UINT32_MAX), 0);
	wire_board_close(&w);
	wire_board_close(&r);
}

static atomic_bool stop;

static void *
write_all_the_time(void *arg)
{
	struct wire_board *w = arg;

	for (uint64_t i = 1; !atomic_load(&stop); i++)
		wire_board_put(w, 1, &(struct wire_room){ i, i * 3, i * 5, i * 7 });
	return NULL;
}

/* No reader sees a half of one figure and a half of another, and none goes back. */
static void
test_torn(void **state)
{
	struct wire_board *w, *r;
	struct wire_room room;
	uint64_t last = 0;
	unsigned seen = 0;
	pthread_t tid;

	(void)state;
	assert_int_equal(wire_board_create(dir, 5, &w), 0);
	assert_int_equal(wire_board_open(dir, 5, &r), 0);
	assert_int_equal(wire_board_take(w, 1), 1);
	assert_int_equal(pthread_create(&tid, NULL, write_all_the_time, w), 0);
	while (seen < 20000) {
		if (!wire_board_get(r, 1, &room))
			continue;
		seen++;
		assert_true(room.window >= last);
		last = room.window;
		assert_true(room.ends_ms == last * 3 && room.requests == last * 5 && room.tokens == last * 7);
	}
	atomic_store(&stop, true);
	pthread_join(tid, NULL);
	wire_board_close(&r);
	wire_board_close(&w);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_figures), T(test_another_start), T(test_growth), T(test_torn) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
