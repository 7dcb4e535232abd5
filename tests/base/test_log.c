/* SPDX-License-Identifier: Apache-2.0 */
/* What a process says of itself: errors, its log and its metrics. */
#include "config.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/base.h"

/* ---- errors ---- */

static void
test_err(void **state)
{
	(void)state;
	for (int e = TF_E_FIRST + 1; e < TF_E_COUNT; e++) {
		const struct tf_err_row *row = tf_err_row(e);

		assert_int_equal(row->err, e);
		assert_true(row->http >= 400 && row->http < 600);
		assert_ptr_equal(tf_err_by_code(row->code), row);
		assert_string_equal(tf_err_text(e), row->code);
		assert_true(strlen(row->sentence) > 10);
		assert_non_null(row->openai_type);
		assert_non_null(row->anthropic_type);
		if (row->http == 429 || row->http == 503)
			assert_true(row->retry == TF_RETRY_AFTER || row->level == TF_INFO);
	}
	assert_int_equal(tf_err_row(TF_E_MODEL_NOT_FOUND)->http, 404);
	assert_int_equal(tf_err_row(0)->err, TF_E_SERVER_ERROR);
	assert_int_equal(tf_err_row(TF_E_NOMEM)->err, TF_E_SERVER_ERROR);
	assert_int_equal(tf_err_row(TF_E_COUNT)->err, TF_E_SERVER_ERROR);
	assert_null(tf_err_by_code("no_such_code"));
	assert_string_equal(tf_err_text(0), "ok");
	for (int e = TF_E_NOMEM; e >= TF_E_STATE; e--)
		assert_string_not_equal(tf_err_text(e), tf_err_text(-99));
}

/* ---- log ---- */

static char logged[16384];

/* Runs fn with stderr in a file and leaves what it wrote in logged. */
static void
capture(void (*fn)(void), int journal)
{
	char path[] = "/tmp/tf-log-XXXXXX", stream[64];
	int fd = mkstemp(path), saved = dup(STDERR_FILENO);
	struct stat st;
	ssize_t n;

	assert_true(fd >= 0 && saved >= 0);
	unlink(path);
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
	    (unsigned long long)st.st_ino + (journal == 2));
	if (journal)
		setenv("JOURNAL_STREAM", stream, 1);
	dup2(fd, STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(saved);
	unsetenv("JOURNAL_STREAM");
	n = pread(fd, logged, sizeof logged - 1, 0);
	assert_true(n >= 0);
	logged[n] = '\0';
	close(fd);
}

static struct tf_id log_rid;

static void
log_text(void)
{
	tf_log_init("gatewayd", TF_INFO, false);
	tf_log(TF_INFO, "http", &log_rid, "request done status=%d path=%s", 200, tf_log_q(TF_SPAN("/a b\n\"")));
	tf_log(TF_DEBUG, "http", NULL, "unseen");
	tf_log(TF_ERROR, "wire", NULL, "line\nbreak \xff \xc3\xa9");
}

static void
test_log_text(void **state)
{
	char want[256], id[TF_ID_TEXT + 1];

	(void)state;
	log_rid = tf_id_new();
	tf_id_text(log_rid, id);
	capture(log_text, 0);
	/* 2024-01-02T03:04:05.678Z */
	assert_int_equal(logged[4], '-');
	assert_int_equal(logged[10], 'T');
	assert_int_equal(logged[19], '.');
	assert_int_equal(logged[23], 'Z');
	snprintf(want, sizeof want, " info gatewayd http rid=%s request done status=200 path=\"/a b\\x0a\\\"\"\n", id);
	assert_memory_equal(logged + 24, want, strlen(want));
	assert_null(strstr(logged, "unseen"));
	assert_non_null(strstr(logged, " error gatewayd wire line?break ? \xc3\xa9\n"));
}

static void
test_log_journal(void **state)
{
	(void)state;
	capture(log_text, 1);
	assert_memory_equal(logged, "<6>info gatewayd http rid=", 26);
	assert_non_null(strstr(logged, "\n<3>error gatewayd wire line?break"));
	capture(log_text, 2); /* another stream than ours */
	assert_int_equal(logged[23], 'Z');
}

#define SAID 100
static atomic_bool turning, all_said;

static void *
log_thread(void *arg)
{
	(void)arg;
	while (!atomic_load(&turning))
		sched_yield();
	for (int i = 0; i < SAID; i++)
		tf_log(TF_INFO, "http", NULL, "n=%d", i);
	atomic_store(&all_said, true);
	return NULL;
}

static void
log_reloaded(void)
{
	pthread_t t;

	tf_log_init("gatewayd", TF_INFO, false);
	assert_int_equal(pthread_create(&t, NULL, log_thread, NULL), 0);
	for (int i = 0; !atomic_load(&all_said); i++) {
		tf_log_init("gatewayd", TF_INFO, i % 2 == 0);
		atomic_store(&turning, true);
	}
	assert_int_equal(pthread_join(t, NULL), 0);
}

/* The form changes while another thread writes: every line is there, whole and of one form. */
static void
test_log_reloaded(void **state)
{
	const char *p = logged, *end;
	char want[32];
	int n = 0;

	(void)state;
	capture(log_reloaded, 0);
	for (; (end = strchr(p, '\n')) != NULL; p = end + 1) {
		bool json = *p == '{';

		snprintf(want, sizeof want, json ? "\"n=%d\"}\n" : " http n=%d\n", n++);
		assert_memory_equal(end + 1 - strlen(want), want, strlen(want));
		assert_true(json || p[23] == 'Z');
		assert_non_null(memmem(p, (size_t)(end - p), "gatewayd", 8));
	}
	assert_int_equal(n, SAID);
}

static void
log_json(void)
{
	char big[9000];

	memset(big, '"', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	tf_log_init("routerd", TF_WARN, true);
	tf_log(TF_WARN, "queue", &log_rid, "full name=%s back\\slash\ttab", tf_log_q(TF_SPAN("a\"b")));
	tf_log(TF_WARN, "queue", NULL, "%s", big);
}

static void
test_log_json(void **state)
{
	const char *second;

	(void)state;
	capture(log_json, 0);
	assert_memory_equal(logged, "{\"ts\":\"20", 9);
	assert_non_null(strstr(logged, "\",\"level\":\"warn\",\"daemon\":\"routerd\",\"sub\":\"queue\",\"rid\":\""));
	assert_non_null(strstr(logged, "\"msg\":\"full name=\\\"a\\\\\\\"b\\\" back\\\\slash?tab\"}\n"));
	second = strchr(logged, '\n') + 1;
	assert_null(strstr(second, "\"rid\""));
	assert_non_null(strstr(second, "\\\"...\"}\n"));
	assert_int_equal(logged[strlen(logged) - 1], '\n');
}

static void
test_log_filter(void **state)
{
	enum tf_level level;

	(void)state;
	tf_log_level(TF_WARN);
	assert_true(tf_log_on(TF_WARN, "a"));
	assert_false(tf_log_on(TF_INFO, "a"));
	tf_log_tokens("http,dispatch");
	assert_true(tf_log_on(TF_DEBUG, "dispatch"));
	assert_true(tf_log_on(TF_DEBUG, "http"));
	assert_false(tf_log_on(TF_DEBUG, "disp"));
	assert_false(tf_log_on(TF_DEBUG, "dispatcher"));
	tf_log_tokens("");
	assert_false(tf_log_on(TF_DEBUG, "http"));
	assert_int_equal(tf_level_parse("debug", &level), 0);
	assert_int_equal(level, TF_DEBUG);
	assert_int_equal(tf_level_parse("Debug", &level), TF_E_INVAL);
}

static void
test_log_quote(void **state)
{
	char big[2000];
	const char *first = tf_log_q(TF_SPAN("first")), *q;

	(void)state;
	for (int i = 0; i < 7; i++)
		tf_log_q(TF_SPAN("other"));
	assert_string_equal(first, "\"first\"");
	memset(big, 1, sizeof big);
	q = tf_log_q(tf_span(big, sizeof big));
	assert_true(strlen(q) < 512);
	assert_string_equal(q + strlen(q) - 4, "...\"");
	assert_string_equal(tf_log_q(tf_span("\x1b[0m\xc2\x9b\xed\xa0\x80", 9)),
	    "\"\\x1b[0m\\xc2\\x9b\\xed\\xa0\\x80\"");
}

/* ---- metrics ---- */

static void
test_metric(void **state)
{
	static const char *const a[] = { "chat", "200" }, *const b[] = { "q\"\\\n", "500" };
	struct tf_buf out = { 0 };
	const char *text;

	(void)state;
	tf_metric_add(TF_M_GW_RETRIES, 2);
	tf_metric_add(TF_M_GW_RETRIES, 3);
	tf_metric_set(TF_M_GW_CONNECTIONS, 9);
	tf_metric_set(TF_M_GW_CONNECTIONS, 7);
	tf_metric_add_l(TF_M_GW_REQUESTS, 1, a);
	tf_metric_add_l(TF_M_GW_REQUESTS, 4, a);
	tf_metric_add_l(TF_M_GW_REQUESTS, 1, b);
	assert_int_equal(tf_metric_get(TF_M_GW_RETRIES), 5);
	assert_int_equal(tf_metric_get(TF_M_GW_REQUESTS), 6);
	tf_metric_observe(TF_M_GW_TTFT_SECONDS, 500000);
	tf_metric_observe(TF_M_GW_TTFT_SECONDS, 500001);
	tf_metric_observe(TF_M_GW_TTFT_SECONDS, UINT64_C(601000000000));
	assert_int_equal(tf_metric_get(TF_M_GW_TTFT_SECONDS), 3);
	assert_int_equal(tf_metric_render(&out, "gatewayd"), 0);
	text = tf_buf_cstr(&out);
	assert_non_null(strstr(text, "# TYPE tf_gateway_retries_total counter\ntf_gateway_retries_total 5\n"));
	assert_non_null(strstr(text, "# TYPE tf_gateway_connections gauge\ntf_gateway_connections 7\n"));
	assert_non_null(strstr(text, "tf_gateway_requests_total{route=\"chat\",status=\"200\"} 5\n"));
	assert_non_null(strstr(text, "tf_gateway_requests_total{route=\"q\\\"\\\\\\n\",status=\"500\"} 1\n"));
	assert_non_null(strstr(text, "tf_gateway_first_byte_seconds_bucket{le=\"0.0005\"} 1\n"));
	assert_non_null(strstr(text, "tf_gateway_first_byte_seconds_bucket{le=\"0.001\"} 2\n"));
	assert_non_null(strstr(text, "tf_gateway_first_byte_seconds_bucket{le=\"600\"} 2\n"));
	assert_non_null(strstr(text, "tf_gateway_first_byte_seconds_bucket{le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(text, "tf_gateway_first_byte_seconds_sum 601.001000001\n"
	                             "tf_gateway_first_byte_seconds_count 3\n"));
	assert_non_null(strstr(text, "tf_gateway_request_seconds_count 0\n"));
	assert_non_null(strstr(text, "tf_log_lines_total"));
	assert_null(strstr(text, "tf_router"));
	tf_buf_reset(&out);
	assert_int_equal(tf_metric_render(&out, NULL), 0);
	assert_non_null(strstr(tf_buf_cstr(&out), "tf_router_queued 0\n"));
	tf_buf_free(&out);
}

static void *
count_thread(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		char text[16];
		const char *v[] = { text };

		snprintf(text, sizeof text, "c%d", i % 700);
		tf_metric_add_l(TF_M_RT_REJECTED, 1, v);
		tf_metric_observe(TF_M_BL_COMMIT_SECONDS, 10);
	}
	return NULL;
}

/* More label values than are kept, from several threads: nothing is lost, the surplus is "other". */
static void
test_metric_threads(void **state)
{
	struct tf_buf out = { 0 };
	pthread_t t[4];
	size_t lines = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, count_thread, NULL), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	assert_int_equal(tf_metric_get(TF_M_RT_REJECTED), 80000);
	assert_int_equal(tf_metric_get(TF_M_BL_COMMIT_SECONDS), 80000);
	assert_int_equal(tf_metric_render(&out, "routerd"), 0);
	for (const char *p = tf_buf_cstr(&out); (p = strstr(p, "tf_router_rejected_total{")) != NULL; p++)
		lines++;
	assert_int_equal(lines, 513);
	assert_non_null(strstr(out.p, "tf_router_rejected_total{code=\"other\"} "));
	tf_buf_free(&out);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_log_text),
		cmocka_unit_test(test_log_journal),
		cmocka_unit_test(test_log_json),
		cmocka_unit_test(test_log_filter),
		cmocka_unit_test(test_log_reloaded),
		cmocka_unit_test(test_log_quote),
		cmocka_unit_test(test_metric),
		cmocka_unit_test(test_metric_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
