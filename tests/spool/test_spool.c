/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool: what is written is found again after the writer was killed, an END always has room, and
 * damage is told from an unfinished write. Writers that die are children that kill themselves.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/spool/spool.h"

#define BOOT UINT64_C(0x1122334455667788)
#define END_MAX 200

static char dir[64];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/spool-test-XXXXXX");
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	(void)state;
	while (d != NULL && (e = readdir(d)) != NULL)
		(void)unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	return rmdir(dir);
}

static struct tf_id
id_of(unsigned n)
{
	struct tf_id id = { { 0 } };

	memcpy(id.b, &n, sizeof n);
	return id;
}

static void
open_writer(struct sp_writer *w, uint32_t slots, uint32_t segment)
{
	assert_int_equal(sp_writer_open(w, &(struct sp_writer_conf){ dir, "gatewayd.0", BOOT, slots, segment }), 0);
}

static int
begin(struct sp_writer *w, struct sp_open *o, unsigned n)
{
	char text[32];

	snprintf(text, sizeof text, "begin %u", n);
	*o = (struct sp_open){ .id = id_of(n), .attempt = 1 };
	return sp_writer_begin(w, o, tf_cspan(text), END_MAX);
}

static uint64_t
end(struct sp_writer *w, struct sp_open *o, unsigned n)
{
	uint64_t seq = 0;
	char text[32];

	snprintf(text, sizeof text, "end %u", n);
	assert_int_equal(sp_writer_end(w, o, tf_cspan(text), &seq), 0);
	return seq;
}

static void
give_next(struct sp_writer *w)
{
	struct sp_seg *s;
	struct sp_head h;

	if (!sp_writer_wants(w, &h))
		return;
	assert_int_equal(sp_seg_create(dir, &h, &s), 0);
	sp_writer_give(w, s);
}

static size_t
count(const char *suffix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0, k = strlen(suffix);

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += strlen(e->d_name) > k && strcmp(e->d_name + strlen(e->d_name) - k, suffix) == 0;
	closedir(d);
	return n;
}

/* Path of the only file with that suffix. */
static void
find(const char *suffix, char path[static 400])
{
	DIR *d = opendir(dir);
	struct dirent *e;

	path[0] = 0;
	while ((e = readdir(d)) != NULL)
		if (strlen(e->d_name) > strlen(suffix) && strcmp(e->d_name + strlen(e->d_name) - strlen(suffix), suffix) == 0)
			snprintf(path, 400, "%s/%s", dir, e->d_name);
	closedir(d);
	assert_true(path[0] != 0);
}

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

/* ---- records --------------------------------------------------------------------------------- */

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

/* ---- the writer ------------------------------------------------------------------------------ */

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

/* ---- after a death --------------------------------------------------------------------------- */

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
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_torn_and_bad),
		cmocka_unit_test_setup_teardown(test_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_size_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dir, setup, teardown),
	};

	tf_log_init("test_spool", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
