/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clocks, and the months of the calendar. The only readers of the system's
 * time; a test shifts both clocks together, so differences between them stay true.
 */
#include "config.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/base.h"

#define NS INT64_C(1000000000)

static _Atomic int64_t shift_here;
static _Atomic(const _Atomic int64_t *) shift_file; /* NULL, or the mapped file */

static int64_t
clock_now(clockid_t id)
{
	const _Atomic int64_t *file = atomic_load_explicit(&shift_file, memory_order_acquire);
	struct timespec ts;
	int64_t ns;

	clock_gettime(id, &ts);
	ns = ts.tv_sec * NS + ts.tv_nsec;
	ns += atomic_load_explicit(&shift_here, memory_order_relaxed);
	if (file != NULL)
		ns += atomic_load_explicit(file, memory_order_relaxed);
	return ns;
}

uint64_t
tf_mono_ns(void)
{
	return (uint64_t)clock_now(CLOCK_MONOTONIC);
}

uint64_t
tf_mono_ms(void)
{
	return tf_mono_ns() / 1000000;
}

int64_t
tf_wall_ns(void)
{
	return clock_now(CLOCK_REALTIME);
}

int64_t
tf_wall_s(void)
{
	int64_t ns = tf_wall_ns();

	return ns / NS - (ns % NS < 0);
}

int
tf_clock_init(void)
{
	const char *path = secure_getenv("TF_CLOCK_FILE");
	struct stat st;
	void *map;
	int fd;

	if (path == NULL || *path == '\0' || atomic_load(&shift_file) != NULL)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return TF_E_IO;
	if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(int64_t)) {
		close(fd);
		return TF_E_IO;
	}
	map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return TF_E_IO;
	atomic_store_explicit(&shift_file, map, memory_order_release);
	return 0;
}

void
tf_clock_shift(int64_t ns)
{
	atomic_fetch_add(&shift_here, ns);
}

static int64_t
month_edge(int64_t wall_s, int months)
{
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL)
		return wall_s;
	tm.tm_mon += months;
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	return (int64_t)timegm(&tm);
}

int64_t
tf_month_start(int64_t wall_s)
{
	return month_edge(wall_s, 0);
}

int64_t
tf_month_next(int64_t wall_s)
{
	return month_edge(wall_s, 1);
}
