/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stored over the wire: values there and back in pieces, each workspace on its own, chains of
 * responses, pages of items, and what a restart and a crash leave.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/stored/bed.h"

/* ---- values ----------------------------------------------------------------------------------- */

static void
test_values(void **state)
{
	static const size_t sizes[] = { 0, 1, 1023, 1024, WIRE_PIECE, WIRE_PIECE + 1, 3000000 };
	struct bed b;
	char name[32];

	(void)state;
	bed_open(&b, "blob-min = 1k");
	for (size_t i = 0; i < TF_LEN(sizes); i++) {
		struct wire_put m = { .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1), .content_type = TF_SPAN("image/png") };

		snprintf(name, sizeof name, "v%zu", i);
		m.name = tf_cspan(name);
		assert_string_equal(bed_put_as(&b, &m, bed_noise(sizes[i])), "");
		assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, name), "");
		assert_int_equal(b.gw[0].total, sizes[i]);
		assert_true(tf_span_eq(tf_buf_span(&b.gw[0].body), bed_noise(sizes[i])));
		assert_string_equal(b.gw[0].type, "image/png");
	}
	/* from blob-min on they are files */
	assert_int_equal(bed_files(&b), 4);
	assert_string_equal(bed_view(&b, 1, "v6", &(struct wire_get){ .kind = WIRE_KIND_IMAGE, .offset = 5, .limit = 1000 }), "");
	assert_true(tf_span_eq(tf_buf_span(&b.gw[0].body), tf_span(bed_noise(3000000).p + 5, 1000)));
	assert_int_equal(b.gw[0].total, 3000000);
	/* one of the same name is replaced, and its file goes */
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, "v6", TF_SPAN("small")), "");
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "v6"), "");
	assert_string_equal(bed_body(&b), "small");
	assert_int_equal(bed_files(&b), 3);
	assert_string_equal(bed_drop(&b, WIRE_KIND_IMAGE, 1, "v5"), "");
	assert_int_equal(bed_files(&b), 2);
	assert_string_equal(bed_drop(&b, WIRE_KIND_IMAGE, 1, "v5"), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "v5"), "not_found");
	assert_int_equal(bed_int(&b, "SELECT sum(bytes) FROM objects"), bed_int(&b, "SELECT sum(bytes) FROM spaces"));
	bed_close(&b);
}

static void
test_workspaces(void **state)
{
	struct bed b;
	struct wire_get m = { .kind = WIRE_KIND_IMAGE };
	struct tf_buf names = { 0 };

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 1, "call_1", TF_SPAN("mine")), "");
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 2, "call_1", TF_SPAN("theirs")), "");
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, "secret-name", TF_SPAN("png")), "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL, "\"hi\""), "");
	assert_string_equal(bed_get(&b, WIRE_KIND_REASONING, 1, "call_1"), "");
	assert_string_equal(bed_body(&b), "mine");
	assert_string_equal(bed_get(&b, WIRE_KIND_REASONING, 2, "call_1"), "");
	assert_string_equal(bed_body(&b), "theirs");
	assert_string_equal(bed_get(&b, WIRE_KIND_ANSWER, 1, "call_1"), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 2, "secret-name"), "not_found");
	/* every way to a response */
	assert_string_equal(bed_get(&b, WIRE_KIND_RESPONSE, 2, "resp_1"), "not_found");
	assert_string_equal(bed_chain(&b, 2, "resp_1"), "not_found");
	assert_string_equal(bed_view(&b, 2, "resp_1", &(struct wire_get){ .view = WIRE_VIEW_INPUT, .count = 20 }), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_ITEM, 2, "msg_of_resp_1"), "not_found");
	assert_string_equal(b.gw[0].param, "msg_of_resp_1");
	assert_string_equal(bed_drop(&b, WIRE_KIND_RESPONSE, 2, "resp_1"), "not_found");
	assert_string_equal(bed_get(&b, WIRE_KIND_RESPONSE, 1, "resp_1"), "");
	/* continuing another one's response brings nothing of it */
	assert_string_equal(bed_put_response(&b, 2, "resp_2", "resp_1", "\"hi\""), "");
	assert_string_equal(bed_chain(&b, 2, "resp_2"), "not_found");
	assert_string_equal(b.gw[0].param, "resp_1");
	/* without a workspace: only what has a name that cannot be guessed */
	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, TF_SPAN("secret-name")), 0);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	assert_string_equal(bed_ask(&b, &m), "");
	assert_string_equal(bed_body(&b), "png");
	m.kind = WIRE_KIND_REASONING;
	assert_string_equal(bed_ask(&b, &m), "bad_request");
	tf_buf_free(&names);
	bed_close(&b);
}

/* Of several reasonings those that are there, the first ones as far as the limit goes. */
static void
test_list(void **state)
{
	static const char *const names[] = { "c", "none", "a", "b" };
	struct wire_get m = { .kind = WIRE_KIND_REASONING, .view = WIRE_VIEW_LIST, .workspace = bed_ws(1), .limit = 1000 };
	struct tf_buf list = { 0 };
	struct bed b;
	char big[2000];

	(void)state;
	bed_open(&b, "blob-min = 1k");
	memset(big, ' ', sizeof big);
	memcpy(big, "[1]", 3);
	for (size_t i = 0; i < TF_LEN(names); i++)
		assert_int_equal(wire_rep_add(&list, WIRE_FN_GET_name, tf_cspan(names[i])), 0);
	m.name = wire_rep_of(&list, WIRE_FN_GET_name);
	assert_string_equal(bed_ask(&b, &m), "not_found");
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 1, "a", TF_SPAN("{\"a\":1}")), "");
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 2, "b", TF_SPAN("{\"theirs\":1}")), "");
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 1, "c", TF_SPAN(" 19")), "");
	assert_string_equal(bed_ask(&b, &m), "");
	assert_string_equal(bed_body(&b), "[ 19,{\"a\":1}]");
	assert_int_equal(b.gw[0].total, 13);
	m.limit = 12; /* too little for both */
	assert_string_equal(bed_ask(&b, &m), "");
	assert_string_equal(bed_body(&b), "[ 19]");
	memset(big, ' ', sizeof big);
	memcpy(big, "[1]", 3);
	assert_string_equal(bed_put(&b, WIRE_KIND_REASONING, 1, "c", tf_span(big, sizeof big)), "");
	assert_string_equal(bed_ask(&b, &m), "");
	assert_string_equal(bed_body(&b), "[{\"a\":1}]");
	m.limit = 3000; /* a file among rows */
	assert_string_equal(bed_ask(&b, &m), "");
	assert_int_equal(b.gw[0].body.n, sizeof big + 10);
	tf_buf_free(&list);
	bed_close(&b);
}

static void
test_refusals(void **state)
{
	struct wire_put m = { .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1), .name = TF_SPAN("x") };
	struct bed b;
	char longest[ST_NAME_MAX + 2];

	(void)state;
	bed_open(&b, "object-max = 2k\nmemory = 1m");
	assert_string_equal(bed_put_as(&b, &m, bed_noise(2048)), "");
	assert_string_equal(bed_put_as(&b, &m, bed_noise(2049)), "request_too_large");
	assert_int_equal(b.st->held, 0);
	/* the former one is still there */
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "x"), "");
	assert_int_equal(b.gw[0].total, 2048);
	m.kind = WIRE_KIND_ITEM;
	assert_string_equal(bed_put_as(&b, &m, bed_noise(1)), "bad_request");
	m.kind = 99;
	assert_string_equal(bed_put_as(&b, &m, bed_noise(1)), "bad_request");
	m.kind = WIRE_KIND_IMAGE;
	m.workspace = tf_span(bed_ws(1).p, 15);
	assert_string_equal(bed_put_as(&b, &m, bed_noise(1)), "bad_request");
	m.workspace = bed_ws(1);
	memset(longest, 'n', sizeof longest);
	m.name = tf_span(longest, ST_NAME_MAX);
	assert_string_equal(bed_put_as(&b, &m, bed_noise(1)), "");
	m.name = tf_span(longest, ST_NAME_MAX + 1);
	assert_string_equal(bed_put_as(&b, &m, bed_noise(1)), "bad_request");
	m.name = TF_SPAN("resp_1");
	m.kind = WIRE_KIND_RESPONSE;
	assert_string_equal(bed_put_as(&b, &m, TF_SPAN("{\"input\":[],\"response\":{\"id\":\"resp_2\",\"output\":[]}}")),
	    "bad_request");
	assert_string_equal(bed_put_as(&b, &m, TF_SPAN("{\"input\":[],\"response\":{\"id\":\"resp_1\",\"output\":[]}")),
	    "bad_request");
	assert_string_equal(bed_put_as(&b, &m, TF_SPAN("{\"input\":[],\"response\":{\"id\":\"resp_1\",\"output\":[]}}")), "");
	assert_int_equal(b.st->held, 0);
	assert_int_equal(b.st->arriving.n, 0);
	bed_close(&b);
}

/* Pieces that do not fit, that do not come, and that others' ids do not mix with. */
static void
test_pieces(void **state)
{
	struct wire_put m = { .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1), .name = TF_SPAN("x"), .total = 10 };
	struct tf_id other = tf_id_new();
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_int_equal(wire_send_put(b.gw[0].peer, &other, 0, &m, TF_SPAN("01234")), 0);
	bed_pass(&b, 20);
	assert_int_equal(b.st->arriving.n, 1);
	assert_int_equal(b.st->held, 10);
	m.name = TF_SPAN("y");
	assert_string_equal(bed_put_as(&b, &m, TF_SPAN("abc")), "");
	m = (struct wire_put){ .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1), .name = TF_SPAN("x"), .total = 10, .offset = 6 };
	b.gw[0].id = other;
	b.gw[0].done = false;
	assert_int_equal(wire_send_put(b.gw[0].peer, &other, 0, &m, TF_SPAN("6789")), 0);
	while (!b.gw[0].done)
		bed_turn(&b);
	assert_string_equal(b.gw[0].code, "bad_request");
	assert_int_equal(b.st->held, 0);
	/* silence, and a gateway that goes */
	m.offset = 0;
	other = tf_id_new();
	b.gw[0].id = other;
	b.gw[0].done = false;
	assert_int_equal(wire_send_put(b.gw[0].peer, &other, 0, &m, TF_SPAN("01234")), 0);
	bed_pass(&b, 20);
	st_peers_tick(b.st, tf_mono_ms() + ST_ARRIVE_MS);
	while (!b.gw[0].done)
		bed_turn(&b);
	assert_string_equal(b.gw[0].code, "bad_request");
	bed_gateway(&b, 1);
	assert_int_equal(wire_send_put(b.gw[1].peer, &other, 0, &m, TF_SPAN("01234")), 0);
	bed_pass(&b, 20);
	assert_int_equal(b.st->held, 10);
	wire_dial_free(&b.gw[1].dial);
	bed_pass(&b, 50);
	assert_int_equal(b.st->held, 0);
	assert_int_equal(b.st->gateways.n, 1);
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "x"), "not_found");
	bed_close(&b);
}

/* More than a link may hold is asked for at once: all of it comes, and nobody's session breaks. */
static void
test_many_large(void **state)
{
	struct wire_get m = { .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1) };
	struct tf_buf names = { 0 };
	struct wire_peer *peer;
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, "x", bed_noise(5000000)), "");
	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, TF_SPAN("x")), 0);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	peer = b.gw[0].peer;
	for (int i = 0; i < 40; i++) {
		struct tf_id id = tf_id_new();

		assert_int_equal(wire_send_get(b.gw[0].peer, &id, 0, &m, (struct tf_span){ 0 }), 0);
	}
	assert_string_equal(bed_ask(&b, &m), "");
	assert_true(tf_span_eq(tf_buf_span(&b.gw[0].body), bed_noise(5000000)));
	assert_ptr_equal(b.gw[0].peer, peer);
	assert_int_equal(b.st->asks, 0);
	assert_int_equal(b.st->answered, 0);
	/* one that leaves in the middle of it takes its questions along */
	bed_gateway(&b, 1);
	for (int i = 0; i < 40; i++) {
		struct tf_id id = tf_id_new();

		assert_int_equal(wire_send_get(b.gw[1].peer, &id, 0, &m, (struct tf_span){ 0 }), 0);
	}
	for (int i = 0; i < 2000 && b.st->reading == 0; i++)
		bed_turn(&b);
	assert_true(b.st->asks > 0);
	wire_dial_free(&b.gw[1].dial);
	for (int i = 0; i < 20000 && b.st->asks > 0; i++)
		bed_turn(&b);
	assert_int_equal(b.st->asks, 0);
	assert_int_equal(b.st->answered, 0);
	assert_int_equal(b.st->gateways.n, 1);
	tf_buf_free(&names);
	bed_close(&b);
}

/* ---- responses -------------------------------------------------------------------------------- */

static void
test_chain(void **state)
{
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL,
	    "[{\"id\":\"msg_a\",\"type\":\"message\",\"role\":\"user\",\"content\":[]}]"), "");
	assert_string_equal(bed_put_response(&b, 1, "resp_2", "resp_1", "[]"), "");
	assert_string_equal(bed_put_response(&b, 1, "resp_3", "resp_2",
	    "[{\"id\":\"fco_c\",\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"5\"}]"), "");
	assert_string_equal(bed_chain(&b, 1, "resp_3"), "");
	assert_string_equal(bed_body(&b),
	    "[{\"id\":\"msg_a\",\"type\":\"message\",\"role\":\"user\",\"content\":[]},"
	    "{\"id\":\"msg_of_resp_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]},"
	    "{\"id\":\"msg_of_resp_2\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]},"
	    "{\"id\":\"fco_c\",\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"5\"},"
	    "{\"id\":\"msg_of_resp_3\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}]");
	/* no more than was asked for, never a part of it */
	assert_string_equal(bed_view(&b, 1, "resp_3", &(struct wire_get){ .view = WIRE_VIEW_CHAIN, .limit = 100 }),
	    "request_too_large");
	assert_int_equal(b.gw[0].body.n, 0);
	/* two talks may part */
	assert_string_equal(bed_put_response(&b, 1, "resp_3b", "resp_2", "[]"), "");
	assert_string_equal(bed_chain(&b, 1, "resp_3b"), "");
	assert_null(strstr(bed_body(&b), "resp_3\""));
	/* what was deleted is not left out in silence */
	assert_string_equal(bed_drop(&b, WIRE_KIND_RESPONSE, 1, "resp_1"), "");
	assert_string_equal(bed_chain(&b, 1, "resp_3"), "not_found");
	assert_string_equal(b.gw[0].param, "resp_1");
	assert_int_equal(bed_int(&b, "SELECT count(*) FROM items WHERE id = 'msg_a'"), 0);
	assert_string_equal(bed_get(&b, WIRE_KIND_RESPONSE, 1, "resp_3"), "");
	assert_non_null(strstr(bed_body(&b), "\"id\":\"resp_3\""));
	bed_close(&b);
}

static void
test_items(void **state)
{
	struct wire_get m = { .kind = WIRE_KIND_ITEM, .workspace = bed_ws(1) };
	struct tf_buf names = { 0 };
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL, "\"hi\""), "");
	assert_string_equal(bed_put_response(&b, 1, "resp_2", NULL,
	    "[{\"id\":\"msg_of_resp_1\",\"role\":\"assistant\",\"content\":\"newer\"}]"), "");
	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, TF_SPAN("msg_of_resp_2")), 0);
	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, TF_SPAN("msg_of_resp_1")), 0);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	assert_string_equal(bed_ask(&b, &m), "");
	assert_string_equal(bed_body(&b),
	    "[{\"id\":\"msg_of_resp_2\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]},"
	    "{\"type\":\"message\",\"id\":\"msg_of_resp_1\",\"role\":\"assistant\","
	    "\"content\":[{\"type\":\"output_text\",\"text\":\"newer\",\"annotations\":[]}]}]");
	assert_int_equal(wire_rep_add(&names, WIRE_FN_GET_name, TF_SPAN("msg_none")), 0);
	m.name = wire_rep_of(&names, WIRE_FN_GET_name);
	assert_string_equal(bed_ask(&b, &m), "not_found");
	assert_string_equal(b.gw[0].param, "msg_none");
	tf_buf_free(&names);
	bed_close(&b);
}

static void
test_pages(void **state)
{
	struct wire_get m = { .view = WIRE_VIEW_INPUT, .count = 2 };
	struct bed b;

	(void)state;
	bed_open(&b, "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL,
	    "[{\"id\":\"a\",\"type\":\"reasoning\"},{\"id\":\"b\",\"type\":\"reasoning\"},"
	    "{\"id\":\"c\",\"type\":\"reasoning\"}]"), "");
	assert_string_equal(bed_view(&b, 1, "resp_1", &m), "");
	assert_string_equal(bed_body(&b), "{\"object\":\"list\",\"data\":[{\"id\":\"c\",\"type\":\"reasoning\"},"
	    "{\"id\":\"b\",\"type\":\"reasoning\"}],\"first_id\":\"c\",\"last_id\":\"b\",\"has_more\":true}");
	m.after = TF_SPAN("b");
	assert_string_equal(bed_view(&b, 1, "resp_1", &m), "");
	assert_string_equal(bed_body(&b), "{\"object\":\"list\",\"data\":[{\"id\":\"a\",\"type\":\"reasoning\"}],"
	    "\"first_id\":\"a\",\"last_id\":\"a\",\"has_more\":false}");
	m.ascending = 1;
	assert_string_equal(bed_view(&b, 1, "resp_1", &m), "");
	assert_non_null(strstr(bed_body(&b), "\"first_id\":\"c\",\"last_id\":\"c\",\"has_more\":false"));
	m.after = (struct tf_span){ 0 };
	assert_string_equal(bed_view(&b, 1, "resp_1", &m), "");
	assert_non_null(strstr(bed_body(&b), "\"first_id\":\"a\",\"last_id\":\"b\",\"has_more\":true"));
	/* an output item is no place in the input */
	m.after = TF_SPAN("msg_of_resp_1");
	assert_string_equal(bed_view(&b, 1, "resp_1", &m), "bad_request");
	assert_string_equal(b.gw[0].param, "after");
	assert_string_equal(bed_view(&b, 1, "resp_none", &m), "not_found");
	bed_close(&b);
}

/* ---- restarts --------------------------------------------------------------------------------- */

static void
test_restart(void **state)
{
	char path[128], why[128] = "";
	struct db_store *second = NULL;
	struct stat sb;
	struct bed b;
	int fd;

	(void)state;
	bed_open(&b, "blob-min = 1k");
	assert_string_equal(bed_put(&b, WIRE_KIND_IMAGE, 1, "x", bed_noise(5000)), "");
	assert_string_equal(bed_put_response(&b, 1, "resp_1", NULL, "\"a\""), "");
	snprintf(path, sizeof path, "%s/stored.db", b.dir);
	assert_int_equal(st_sqlite_open(path, NULL, NULL, &second, why, sizeof why), TF_E_EXIST);
	assert_non_null(strstr(why, "another stored"));
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 077, 0);
	bed_stop(&b);
	/* as a crash between a file and its row leaves it; a file that is not ours stays */
	snprintf(path, sizeof path, "%s/blobs/01JD7Z0000000000000000000A", b.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof path, "%s/blobs/README", b.dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	bed_start(&b);
	assert_int_equal(bed_files(&b), 2);
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "x"), "");
	assert_int_equal(b.gw[0].total, 5000);
	assert_string_equal(bed_chain(&b, 1, "resp_1"), "");
	/* a file that is gone is an error, not an empty value */
	bed_stop(&b);
	bed_lose(&b);
	bed_start(&b);
	assert_string_equal(bed_get(&b, WIRE_KIND_IMAGE, 1, "x"), "server_error");
	bed_close(&b);
}

static void
drained(void *arg)
{
	*(bool *)arg = true;
}

/* What was taken is durable and acknowledged before the end. */
static void
test_drain(void **state)
{
	struct wire_put m = { .kind = WIRE_KIND_IMAGE, .workspace = bed_ws(1), .name = TF_SPAN("x"), .total = 5 };
	struct bed b;
	bool over = false;

	(void)state;
	bed_open(&b, "");
	b.gw[0].id = tf_id_new();
	b.gw[0].done = false;
	assert_int_equal(wire_send_put(b.gw[0].peer, &b.gw[0].id, 0, &m, TF_SPAN("012")), 0);
	bed_pass(&b, 30);
	st_drain(b.st, drained, &over);
	bed_pass(&b, 30);
	assert_false(over);
	m.offset = 3;
	assert_int_equal(wire_send_put(b.gw[0].peer, &b.gw[0].id, 0, &m, TF_SPAN("34")), 0);
	while (!b.gw[0].done)
		bed_turn(&b);
	assert_string_equal(b.gw[0].code, "");
	assert_true(over);
	bed_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_workspaces),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_many_large),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
