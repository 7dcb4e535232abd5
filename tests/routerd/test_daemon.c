/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program itself: its control socket, reload, and how it ends.
 */
#include "config.h"

#include "tests/routerd/fakes.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "common/ctl/ctl.h"
#include "common/json/json.h"

struct factory {
	struct bed *bed;
	char dir[64], conf[96], ctl[96];
	pid_t pid;
};

static void
write_conf(const struct factory *f, unsigned queue_max)
{
	FILE *out = fopen(f->conf, "w");

	assert_non_null(out);
	fprintf(out, "[common]\nrun-dir = %s\nheartbeat = 100ms\n[routerd]\nqueue-max = %u\ndrain-timeout = 300ms\n",
	    f->dir, queue_max);
	fprintf(out, "[model m1]\n");
	assert_int_equal(fclose(out), 0);
	assert_int_equal(chmod(f->conf, 0600), 0);
}

static enum ctl_err
ask(const struct factory *f, const char *cmd, const char *args, ctl_row_fn *fn, void *arg)
{
	struct ctl_call call = { .path = f->ctl, .cmd = cmd, .args = tf_cspan(args), .timeout_ms = 2000,
		.fn = fn, .arg = arg };
	char why[256] = "";

	return ctl_ask(&call, why, sizeof why);
}

static int
setup(void **state)
{
	struct factory *f = calloc(1, sizeof *f);
	const char *top = getenv("top_builddir");
	char program[1024];
	void *bed = NULL;

	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/tf-routerd-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->conf, sizeof f->conf, "%s/tokenfactory.conf", f->dir);
	snprintf(f->ctl, sizeof f->ctl, "%s/routerd.ctl", f->dir);
	snprintf(program, sizeof program, "%s/routerd/routerd", top ? top : ".");
	write_conf(f, 2);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		alarm(60);
		execl(program, "routerd", "--config", f->conf, (char *)NULL);
		_exit(127);
	}
	bed_setup(&bed);
	f->bed = bed;
	snprintf(f->bed->endpoint, sizeof f->bed->endpoint, "ipc://%s/routerd.sock", f->dir);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	static const char *const files[] = { "tokenfactory.conf", "routerd.ctl", "routerd.ctl.lock",
		"routerd.sock", "routerd.sock.lock" };
	struct factory *f = *state;
	void *bed = f->bed;
	char path[128];
	int status;

	if (f->pid > 0) {
		kill(f->pid, SIGKILL);
		waitpid(f->pid, &status, 0);
	}
	bed_teardown(&bed);
	for (size_t i = 0; i < TF_LEN(files); i++) {
		snprintf(path, sizeof path, "%s/%s", f->dir, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* The last row, and how many there were. */
struct rows {
	unsigned n;
	char last[4096];
};

static int
keep_row(void *arg, struct tf_span row)
{
	struct rows *r = arg;

	r->n++;
	snprintf(r->last, sizeof r->last, TF_SPAN_FMT, TF_SPAN_ARG(row));
	return 0;
}

#define EXPECT_ROWS(f, cmd, args, count, text) \
	do { \
		struct rows r_ = { 0 }; \
\
		assert_int_equal(ask(f, cmd, args, keep_row, &r_), CTL_OK); \
		assert_int_equal(r_.n, count); \
		if (strstr(r_.last, text) == NULL) \
			fail_msg("%s: %s", cmd, r_.last); \
	} while (0)

/* Until a queued and a sent job are there. */
static void
fill(struct factory *f, struct fake_worker *w, struct fake_gateway *g)
{
	gateway_open(f->bed, g, "gatewayd.0");
	worker_open(f->bed, w, "w0", "m1", 1);
	for (unsigned i = 1; i <= 4; i++)
		dispatch(g, (struct ask){ .attempt = i });
	EXPECT(f->bed, w->ngot == 1 && g->rejects == 1, 2000); /* the fourth is one too many */
	assert_int_equal(g->order[0], 4);
}

static void
test_commands(void **state)
{
	struct factory *f = *state;
	struct fake_worker w = { 0 };
	struct fake_gateway g;

	fill(f, &w, &g);
	EXPECT_ROWS(f, "status", "", 1, "\"queued\":2,\"sent\":1,\"dispatched\":1");
	EXPECT_ROWS(f, "status", "", 1, "\"state\":\"up\"");
	EXPECT_ROWS(f, "workers", "", 1, "\"name\":\"w0\",\"state\":\"up\",\"class\":\"cpu\"");
	EXPECT_ROWS(f, "workers", "", 1, "\"models\":[\"m1\"]");
	EXPECT_ROWS(f, "gateways", "", 1, "\"name\":\"gatewayd.0\",\"endpoint\":\"ipc:///run/gw.sock\"");
	EXPECT_ROWS(f, "models", "", 1, "\"id\":\"m1\",\"workers\":1,\"workers_up\":1,\"queued\":2,\"sent\":1");
	EXPECT_ROWS(f, "jobs", "", 3, "\"model\":\"m1\",\"gateway\":\"gatewayd.0\"");
	EXPECT_ROWS(f, "drain worker", "{\"worker\":\"w0\"}", 1, "\"state\":\"draining\"");
	EXPECT_ROWS(f, "undrain worker", "{\"worker\":\"w0\"}", 1, "\"state\":\"up\"");
	assert_int_equal(ask(f, "undrain worker", "{\"worker\":\"w0\"}", NULL, NULL), CTL_NOT_FOUND);
	assert_int_equal(ask(f, "drain worker", "{\"worker\":\"w9\"}", NULL, NULL), CTL_NOT_FOUND);
	assert_int_equal(ask(f, "drain worker", "", NULL, NULL), CTL_USAGE);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
}

static void
test_reload_and_term(void **state)
{
	struct factory *f = *state;
	struct fake_worker w = { 0 };
	struct fake_gateway g;
	int status = -1;
	uint64_t t0;

	fill(f, &w, &g);
	write_conf(f, 3);
	assert_int_equal(kill(f->pid, SIGHUP), 0);
	TURN_UNTIL(f->bed, false, 200);
	dispatch(&g, (struct ask){ .attempt = 5 });
	dispatch(&g, (struct ask){ .attempt = 6 });
	EXPECT(f->bed, g.rejects == 2, 2000);
	assert_int_equal(g.order[1], 6); /* one more than before may wait */
	/* TERM: what waits has its time, then goes back as lost; the worker's job is left alone */
	t0 = tf_mono_ms();
	assert_int_equal(kill(f->pid, SIGTERM), 0);
	EXPECT(f->bed, g.rejects == 5, 3000);
	assert_true(tf_mono_ms() - t0 >= 300);
	assert_int_equal(g.lost, 1);
	EXPECT(f->bed, waitpid(f->pid, &status, WNOHANG) == f->pid || status != -1, 3000);
	f->pid = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	EXPECT(f->bed, g.side.downs == 1 && w.side.downs == 1, 2000);
	assert_int_equal(w.cancels, 0);
	wire_dial_free(&g.dial);
	wire_dial_free(&w.dial);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload_and_term, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
