/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real program under kill -9: a gateway tells usage without a pause and repeats what is
 * not acknowledged, billingd is killed at random moments, often between commit and
 * acknowledgement. In the end every record is one row, and the sums equal the rows.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/ctl/ctl.h"
#include "tests/billingd/bed.h"

#define KILLS 6
#define RECORDS 40000
#define AHEAD 400 /* records told and not acknowledged */

struct crash {
	struct bed *bed;
	struct wire_usage usage;
	struct tf_id id[RECORDS + 1];
	struct tf_id key, workspace;
	uint64_t told;
	unsigned ups;
};

static struct bed bed;
static struct crash crash;
static char conf_path[128];
static pid_t pid;

static void
start(void)
{
	const char *top = getenv("top_builddir");
	char program[1024];

	snprintf(program, sizeof program, "%s/billingd/billingd", top ? top : ".");
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* a test that fails leaves nobody behind */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(program, "billingd", "-c", conf_path, "--log-level", "error", (char *)NULL);
		_exit(127);
	}
}

static void
stop(int signo)
{
	int status;

	kill(pid, signo);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (signo == SIGTERM)
		assert_int_equal(status, 0);
}

static int
id_row(void *arg, struct tf_span row)
{
	struct tf_span v, text;
	struct tf_buf scratch = { 0 };

	if (js_member(row, "id", &v) && js_str(v, &scratch, &text) == 0)
		assert_int_equal(tf_id_parse(text, arg), 0);
	tf_buf_free(&scratch);
	return 0;
}

static void
command(struct bed *b, const char *cmd, const char *args, struct tf_id *id)
{
	struct ctl_call call = { .cmd = cmd, .args = tf_cspan(args), .timeout_ms = 30000, .fn = id_row, .arg = id };
	char path[200], why[256] = "";
	int rc = CTL_UNREACHABLE;

	assert_int_equal(ctl_path(b->dir, "billingd", path, sizeof path), 0);
	call.path = path;
	for (int i = 0; i < 1500 && rc == CTL_UNREACHABLE; i++) {
		rc = ctl_ask(&call, why, sizeof why);
		if (rc == CTL_UNREACHABLE)
			usleep(20000);
	}
	if (rc != CTL_OK)
		fail_msg("%s: %s", cmd, why);
}

static void
tell(struct crash *c, uint64_t seq)
{
	c->usage.seq = seq;
	if (c->bed->gw[0].peer != NULL)
		(void)wire_send_usage(c->bed->gw[0].peer, &c->id[seq], 1, &c->usage, (struct tf_span){ 0 });
}

/* As a gateway does: after a new session everything that is not acknowledged is told again. */
static void
go_on(struct crash *c)
{
	struct heard *h = &c->bed->gw[0].h;

	if (c->bed->gw[0].peer == NULL)
		return;
	if (h->ups != c->ups) {
		c->ups = h->ups;
		for (uint64_t seq = h->ack + 1; seq <= c->told; seq++)
			tell(c, seq);
	}
	while (c->told < RECORDS && c->told < h->ack + AHEAD)
		tell(c, ++c->told);
}

static void
run_for(struct crash *c, unsigned ms)
{
	uint64_t end = bed_real_ms() + ms;

	while (bed_real_ms() < end) {
		go_on(c);
		bed_turn(c->bed);
	}
}

static void
test_crash(void **state)
{
	uint64_t end;
	unsigned seed = 3, ups = 0;

	(void)state;
	for (int i = 0; i < KILLS; i++) {
		/* one life in three ends when it pleases, the others once they were of use: also on a busy machine */
		run_for(&crash, 60 + (unsigned)rand_r(&seed) % 120);
		end = bed_real_ms() + (i % 3 != 0 ? 5000 : 0);
		while (bed.gw[0].h.ups == ups && bed_real_ms() < end)
			run_for(&crash, 10);
		ups = bed.gw[0].h.ups;
		stop(SIGKILL);
		start();
	}
	/* slow is no fault; standing still is */
	for (uint64_t ack = 0; ack < RECORDS; ack = bed.gw[0].h.ack) {
		end = bed_real_ms() + 20000;
		while (bed.gw[0].h.ack == ack && bed_real_ms() < end)
			run_for(&crash, 20);
		assert_in_range(bed.gw[0].h.ack, ack + 1, RECORDS);
	}
	assert_true(bed.gw[0].h.ups > KILLS / 2);
	command(&bed, "ping", "{}", &bed.id); /* it is up, and not only about to be */
	stop(SIGTERM);
	assert_int_equal(bed_sql(&bed, "SELECT count(*) FROM ledger"), RECORDS);
	assert_int_equal(bed_sql(&bed, "SELECT count(DISTINCT request) FROM ledger WHERE charged = 1"), RECORDS);
	assert_int_equal(bed_sql(&bed, "SELECT sum(requests) FROM usage_days"), RECORDS);
	assert_int_equal(bed_sql(&bed, "SELECT sum(prompt) FROM usage_days"), RECORDS * 10);
	assert_int_equal(bed_sql(&bed, "SELECT max(seq) FROM instances"), RECORDS);
	/* on a busy machine a start may be killed before it opened the store */
	assert_in_range(bed_sql(&bed, "SELECT value FROM meta WHERE name = 'epoch'"), KILLS / 2, KILLS + 2);
	assert_int_equal(bed_sql(&bed, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'"), 0);
}

static int
setup(void **state)
{
	uint64_t now = (uint64_t)bl_wall_ms();
	char args[128], text[TF_ID_TEXT + 1];
	FILE *f;

	(void)state;
	bed_open(&bed, "");
	bed_stop(&bed); /* the real program takes its place, on its database */
	snprintf(conf_path, sizeof conf_path, "%s/tf.conf", bed.dir);
	f = fopen(conf_path, "w");
	assert_non_null(f);
	fprintf(f, "[common]\nrun-dir = %s\nheartbeat = 100ms\n[billingd]\ndatabase = %s/billing.db\n", bed.dir, bed.dir);
	fclose(f);
	start();
	crash.bed = &bed;
	command(&bed, "workspace create", "{\"name\":\"main\",\"plan\":\"local\"}", &crash.workspace);
	tf_id_text(crash.workspace, text);
	snprintf(args, sizeof args, "{\"workspace\":\"%s\"}", text);
	command(&bed, "key mint", args, &crash.key);
	for (int i = 0; i <= RECORDS; i++)
		crash.id[i] = tf_id_new();
	crash.usage = (struct wire_usage){ .key = tf_id_span(&crash.key), .workspace = tf_id_span(&crash.workspace),
		.model = TF_SPAN("acme/large"), .surface = TF_SPAN("openai_chat"), .outcome = WIRE_OUTCOME_SERVED,
		.began_ms = now, .ended_ms = now, .prompt = 10, .completion = 3, .delivered = 1 };
	bed_gateway(&bed, 0, 77);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	bed_close(&bed);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_crash, setup, teardown) };

	tf_log_init("test", TF_ERROR, false);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
