/* SPDX-License-Identifier: Apache-2.0 */
/* stored's limits of time and size: what expires, what has to go for what comes, and the room that both give back. */
#include "config.h"

#include "tests/stored/bed.h"

#define DAY_NS (INT64_C(86400) * 1000000000)

static void
until_rows(struct bed *b, const char *sql, int64_t n)
{
	for (int i = 0; i < 400 && bed_int(b, sql) != n; i++)
		bed_pass(b, 25);
	assert_int_equal(bed_int(b, sql), n);
}

/* Has the daemon look for what has expired, with a look of its own that began after this and not before. */
static void
look(struct bed *b)
{
	while (b->st->expiring)
		bed_turn(b);
	ev_timer_set(&b->st->expire, 0);
}

/* It does not look any more. */
static void
look_no_more(struct bed *b)
{
	while (b->st->expiring)
		bed_turn(b);
	ev_timer_del(&b->st->expire);
}

static void
done(struct db_batch *b, void *arg)
{
	*(int *)arg = b->rc == 0 ? 1 : b->rc;
	db_batch_free(&b);
}

/* One step, carried out by the store as the daemon's are. */
static void
step(struct bed *b, struct st_expire *e)
{
	struct db_batch *batch;
	int rc = 0;

	batch = db_batch_new(done, &rc);
	assert_non_null(batch);
	assert_int_equal(db_batch_add(batch, ST_OP_EXPIRE, e), 0);
	db_store_submit(b->st->store, batch);
	while (rc == 0)
		bed_turn(b);
	assert_int_equal(rc, 1);
}

static void
test_expiry(void **state)
{
	struct wire_put m = { .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1), .name = TF_SPAN("short"), .ttl_ms = 60000 };
	struct bed b;

	(void)state;
	bed_open(&b, "blob-min = 1k\nimage-ttl = 1h\nresponse-ttl = 10d");
	assert_string_equal(bed_put_as(&b, &m, bed_noise(5000)), "");
	m.name = TF_SPAN("long");
	m.ttl_ms = UINT64_C(400) * 86400000;
	assert_string_equal(bed_put_as(&b, &m, bed_noise(5000)), "");
	tf_clock_shift(INT64_C(61) * 1000000000);
	/* gone at once, whether the sweep has come by or not */
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "short"), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "long"), "");
	look(&b);
	until_rows(&b, "SELECT count(*) FROM objects", 1);
	assert_int_equal(bed_files(&b), 1);
	/* never longer than the kind is kept */
	tf_clock_shift(INT64_C(3600) * 1000000000);
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "long"), "not_found");
	assert_string_equal(bed_drop(&b, WIRE_KIND_IMAGE, 1, "long"), "not_found");
	/* what is continued lives on for those that continue it, and for nothing else */
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL, "\"a\""), "");
	tf_clock_shift(9 * DAY_NS);
	assert_string_equal(bed_put_response(&b, 1, "resp_2", "resp_1", "\"b\""), "");
	tf_clock_shift(9 * DAY_NS);
	assert_string_equal(bed_put_response(&b, 1, "resp_3", "resp_2", "\"c\""), "");
	look(&b);
	until_rows(&b, "SELECT count(*) FROM objects", 0);
	assert_string_equal(bed_get(&b, WIRE_KIND_RESPONSE, 1, "resp_1"), "not_found");
	assert_string_equal(bed_chain(&b, 1, "resp_1"), "not_found");
	assert_string_equal(bed_chain(&b, 1, "resp_3"), "");
	assert_non_null(strstr(bed_body(&b), "msg_of_resp_1"));
	tf_clock_shift(12 * DAY_NS);
	look(&b);
	until_rows(&b, "SELECT count(*) FROM responses", 0);
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM items"), 0);
	assert_int_equal(bed_int(&b, "SELECT sum(bytes) FROM spaces"), 0);
	bed_close(&b);
}

/* Many rows at once go in steps. */
static void
test_expiry_steps(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL, "\"a\""), "");
	(void)bed_int(&b, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 650) INSERT INTO objects"
	    " (workspace, kind, name, created_ms, expires_ms, bytes, data)"
	    " SELECT zeroblob(16), 16, 'v' || i, 0, 1, 1, x'00' FROM n");
	assert_int_equal(bed_int(&b, "SELECT bytes FROM spaces WHERE kind = 16"), 650);
	look(&b);
	until_rows(&b, "SELECT count(*) FROM objects", 0);
	assert_int_equal(bed_int(&b, "SELECT bytes FROM spaces WHERE kind = 16"), 0);
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM responses"), 1);
	bed_close(&b);
}

/* A step takes a bounded number of bytes, and always one response. */
static void
test_expiry_bytes(void **state)
{
	struct st_expire e = { .limit = 100, .bytes = 500000 };
	struct tf_buf text = { 0 };
	char name[32];
	struct bed b;

	(void)state;
	bed_open(&b, "");
	look_no_more(&b);
	tf_buf_addc(&text, '"');
	for (int k = 0; k < 300000; k++)
		tf_buf_addc(&text, 'a');
	tf_buf_addc(&text, '"');
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "resp_%d", i);
		assert_string_equal(bed_put_response(&b, 1, name, NULL, tf_buf_cstr(&text)), "");
	}
	e.now_ms = INT64_MAX - 1;
	e.dir = b.st->blob_dir;
	step(&b, &e);
	assert_int_equal(e.removed, 2);
	e.bytes = 1;
	step(&b, &e);
	assert_int_equal(e.removed, 1);
	assert_true(e.more);
	tf_buf_free(&text);
	bed_close(&b);
}

/* The file gets smaller again when much has expired. */
static void
test_expiry_gives_pages_back(void **state)
{
	int64_t pages;
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_int_equal(bed_int(&b, "PRAGMA auto_vacuum"), 2);
	(void)bed_int(&b, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500) INSERT INTO objects"
	    " (workspace, kind, name, created_ms, expires_ms, bytes, data)"
	    " SELECT zeroblob(16), 16, 'v' || i, 0, 1, 1, zeroblob(4000) FROM n");
	pages = bed_int(&b, "PRAGMA page_count");
	assert_true(pages > 2500);
	look(&b);
	until_rows(&b, "SELECT count(*) FROM objects", 0);
	until_rows(&b, "SELECT freelist_count > 1024 FROM pragma_freelist_count", 0);
	assert_true(bed_int(&b, "PRAGMA page_count") < pages - 1000);
	bed_close(&b);
}

/* What was deleted is not in the file any more. */
static void
test_deleted_is_gone(void **state)
{
	static const char mark[] = "the words of a deleted prompt";
	char path[128], *bytes;
	struct bed b;
	size_t n;
	FILE *f;

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL, "\"the words of a deleted prompt\""), "");
	assert_string_equal(bed_put_response(&b, 1, "resp_2", NULL, "\"another\""), "");
	assert_string_equal(bed_drop(&b, WIRE_KIND_RESPONSE, 1, "resp_1"), "");
	bed_stop(&b);
	snprintf(path, sizeof path, "%s/stored.db", b.dir);
	f = fopen(path, "r");
	bytes = malloc(1 << 20);
	assert_non_null(f);
	assert_non_null(bytes);
	n = fread(bytes, 1, 1 << 20, f);
	fclose(f);
	assert_non_null(memmem(bytes, n, "another", 7));
	assert_null(memmem(bytes, n, mark, sizeof mark - 1));
	free(bytes);
	bed_close(&b);
}

static void
test_space(void **state)
{
	struct bed b;
	char name[32];

	(void)state;
	bed_open(&b, "space-max = 1m\nblob-min = 100k");
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof name, "v%d", i);
		assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, name, bed_noise(200000)), "");
		tf_clock_shift(1000000000);
	}
	/* five fit: the last ones; another workspace and another kind are not touched by it */
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM objects"), 5);
	assert_int_equal(bed_files(&b), 5);
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "v6"), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "v7"), "");
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 2, "w", bed_noise(200000)), "");
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 1, "r", bed_noise(200000)), "");
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM objects"), 7);
	/* what can never fit pushes nothing out */
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, "big", bed_noise(1200000)), "request_too_large");
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, "v11", bed_noise(1200000)), "request_too_large");
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "v11"), "");
	assert_int_equal(b.gw[0].total, 200000);
	assert_int_equal(bed_files(&b), 7);
	for (int i = 0; i < 5; i++) {
		struct tf_buf text = { 0 };

		snprintf(name, sizeof name, "resp_%d", i);
		tf_buf_addc(&text, '"');
		for (int k = 0; k < 300000; k++)
			tf_buf_addc(&text, 'a');
		tf_buf_addstr(&text, "\"");
		assert_string_equal(bed_put_response(&b, 1, name, NULL, tf_buf_cstr(&text)), "");
		tf_buf_free(&text);
		tf_clock_shift(1000000000);
	}
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM responses"), 3);
	assert_string_equal(bed_get(&b, WIRE_KIND_RESPONSE, 1, "resp_1"), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_RESPONSE, 1, "resp_2"), "");
	bed_close(&b);
}

/* ---- reading what goes ------------------------------------------------------------------------- */

struct reading {
	struct bed *bed;
	struct st_get get;
	bool busy;
	unsigned n, lost;
};

static void
been_read(struct db_batch *b, void *arg)
{
	struct reading *r = arg;

	r->busy = false;
	r->n++;
	r->lost += b->rc != 0 || r->get.bytes.n != 5000 || r->get.bytes.p[0] != r->get.bytes.p[4999];
	tf_buf_reset(&r->get.bytes);
	db_batch_free(&b);
}

static void
read_on(struct reading *r)
{
	struct db_batch *batch = db_batch_new(been_read, r);

	assert_non_null(batch);
	assert_int_equal(db_batch_add(batch, ST_OP_GET, &r->get), 0);
	batch->read = true;
	r->busy = true;
	db_store_submit(r->bed->st->store, batch);
}

/* Reads over and over until it is put. */
static void
put_and_read(struct reading *r, struct st_put *p, bool reads)
{
	struct db_batch *batch;
	int rc = 0;

	batch = db_batch_new(done, &rc);
	assert_non_null(batch);
	assert_int_equal(db_batch_add(batch, ST_OP_PUT, p), 0);
	db_store_submit(r->bed->st->store, batch);
	while (rc == 0 || r->busy) {
		if (reads && rc == 0 && !r->busy)
			read_on(r);
		ev_loop_once(r->bed->st_loop, false);
	}
	assert_int_equal(rc, 1);
}

/* A value that is a file is replaced, over and over, and is read all the time: it is always there, old or new. */
static void
test_read_while_replaced(void **state)
{
	struct st_put p = { .kind = WIRE_KIND_IMAGE, .name = "v", .space_max = 1 << 20, .file_min = 1000 };
	char bytes[5000] = "";
	struct bed b;
	struct reading r = { .bed = &b, .get = { .kind = WIRE_KIND_IMAGE } };

	(void)state;
	bed_open(&b, "blob-min = 1k");
	look_no_more(&b);
	p.now_ms = r.get.now_ms = st_wall_ms();
	p.expires_ms = p.now_ms + 1000000;
	p.dir = r.get.dir = b.st->blob_dir;
	p.bytes = tf_span(bytes, sizeof bytes);
	assert_int_equal(wire_rep_add(&r.get.names, WIRE_FN_GET_name, TF_SPAN("v")), 0);
	r.get.name = wire_rep_of(&r.get.names, WIRE_FN_GET_name);
	put_and_read(&r, &p, false);
	for (int i = 1; i < 300; i++) {
		memset(bytes, 'a' + i % 26, sizeof bytes);
		put_and_read(&r, &p, true);
	}
	assert_true(r.n >= 299);
	assert_int_equal(r.lost, 0);
	st_get_fini(&r.get);
	/* of those that were replaced none is left once something else has been written */
	p.name[0] = 'w';
	put_and_read(&r, &p, false);
	assert_int_equal(bed_files(&b), 2);
	bed_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_expiry_steps),
		cmocka_unit_test(test_expiry_bytes),
		cmocka_unit_test(test_deleted_is_gone),
		cmocka_unit_test(test_expiry_gives_pages_back),
		cmocka_unit_test(test_space),
		cmocka_unit_test(test_read_while_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
