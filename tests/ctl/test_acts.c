/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/ctl: acts. A daemon that tells of them, a billingd that takes, refuses or hangs, or is away; both in one thread, asked
 * through the client.
 */
#include "config.h"

#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/ctl/ctl.h"
#include "common/event/event.h"

static char dir[] = "/tmp/tf-acts-XXXXXX";

static struct {
	pthread_t thread;
	struct ev_loop *loop;
	struct ctl *commands; /* to say what billingd does */
	struct ctl *teller;
	struct ctl *billingd;
	enum { BL_TAKES, BL_REFUSES, BL_HANGS } mode;
	struct ctl_req *hung;
	pthread_mutex_t lock;
	int calls;            /* of "turn" */
	char told[2048];      /* what billingd heard: a line an act */
} srv;

/* ---- billingd, as far as acts go ----------------------------------------------------------- */

static void
do_record(void *arg, struct ctl_req *req)
{
	struct tf_id id;
	size_t n;

	(void)arg;
	assert(tf_id_parse(ctl_str(req, "id"), &id) == 0 && ctl_int(req, "at_ms", 0) > 0);
	if (srv.mode == BL_HANGS) {
		srv.hung = req;
		return;
	}
	pthread_mutex_lock(&srv.lock);
	n = strlen(srv.told);
	snprintf(srv.told + n, sizeof srv.told - n, "%s|%s|%s\n", ctl_str(req, "action").p, ctl_str(req, "subject").p,
	    ctl_str(req, "detail").p);
	pthread_mutex_unlock(&srv.lock);
	if (srv.mode == BL_REFUSES)
		ctl_fail(req, CTL_USAGE, "not like that");
	else
		ctl_end(req);
}

static const struct ctl_arg record_args[] = {
	{ "id", CTL_STR, true, "" }, { "at_ms", CTL_INT, true, "" }, { "actor", CTL_STR, true, "" },
	{ "action", CTL_STR, true, "" }, { "subject", CTL_STR, true, "" }, { "detail", CTL_STR, true, "" },
};
static const struct ctl_cmd record_cmds[] = { { "audit record", do_record, CTL_FELLOW, "", record_args, TF_LEN(record_args) } };

static void
do_billingd(void *arg, struct ctl_req *req)
{
	struct ctl_options opt = { .run_dir = dir, .name = "billingd", .daemon = "billingd", .cmds = record_cmds, .ncmds = 1 };
	struct tf_span mode = ctl_str(req, "mode");

	(void)arg;
	ctl_close(&srv.billingd);
	if (srv.hung != NULL)
		ctl_end(srv.hung);
	srv.hung = NULL;
	srv.mode = tf_span_is(mode, "refuses") ? BL_REFUSES : tf_span_is(mode, "hangs") ? BL_HANGS : BL_TAKES;
	if (!tf_span_is(mode, "away") && ctl_open(srv.loop, &opt, &srv.billingd) != 0)
		ctl_fail(req, CTL_FAILED, "cannot be opened");
	else
		ctl_end(req);
}

static void
do_quit(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_end(req);
	ev_loop_stop(srv.loop);
}

static const struct ctl_arg billingd_args[] = { { "mode", CTL_STR, true, "takes, refuses, hangs, away" } };
static const struct ctl_cmd switch_cmds[] = {
	{ "billingd", do_billingd, CTL_READ, "", billingd_args, TF_LEN(billingd_args) },
	{ "quit", do_quit, CTL_READ, "", NULL, 0 },
};

/* ---- who tells ------------------------------------------------------------------------------- */

static void
do_turn(void *arg, struct ctl_req *req)
{
	(void)arg;
	pthread_mutex_lock(&srv.lock);
	srv.calls++;
	pthread_mutex_unlock(&srv.lock);
	ctl_end(req);
}

static void
do_fail(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_fail(req, CTL_NOT_FOUND, "there is none");
}

static void
do_noted(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_noted(req);
	ctl_end(req);
}

static const struct ctl_arg act_args[] = {
	{ "number", CTL_INT, false, "" }, { "what", CTL_STR, false, "" }, { "flag", CTL_BOOL, false, "" },
	{ "list", CTL_LIST, false, "" }, { "more", CTL_STR, false, "" },
};
static const struct ctl_cmd teller_cmds[] = {
	{ "fails", do_fail, CTL_ADMIN, "", NULL, 0 },
	{ "noted", do_noted, CTL_ADMIN, "", NULL, 0 },
	{ "turn", do_turn, CTL_ADMIN, "", act_args, TF_LEN(act_args) },
};

/* ---- both ------------------------------------------------------------------------------------ */

static void *
serve(void *arg)
{
	(void)arg;
	ev_loop_run(srv.loop);
	ctl_close(&srv.commands);
	ctl_close(&srv.teller);
	ctl_close(&srv.billingd);
	ev_loop_free(&srv.loop);
	return NULL;
}

static int
setup(void **state)
{
	struct ctl_options commands = { .run_dir = dir, .name = "switch", .daemon = "gatewayd", .cmds = switch_cmds,
		.ncmds = TF_LEN(switch_cmds) };
	struct ctl_options teller = { .run_dir = dir, .name = "teller", .daemon = "routerd", .cmds = teller_cmds,
		.ncmds = TF_LEN(teller_cmds), .tell = true };

	(void)state;
	pthread_mutex_init(&srv.lock, NULL);
	if (mkdtemp(dir) == NULL)
		return -1;
	srv.loop = ev_loop_new();
	if (srv.loop == NULL || ctl_open(srv.loop, &commands, &srv.commands) != 0 || ctl_open(srv.loop, &teller, &srv.teller) != 0)
		return -1;
	return pthread_create(&srv.thread, NULL, serve, NULL);
}

static enum ctl_err
ask(const char *whom, const char *cmd, const char *args, char *message, size_t size)
{
	char path[200];
	struct ctl_call call = { path, cmd, tf_cspan(args), 60000, NULL, NULL };

	assert_int_equal(ctl_path(dir, whom, path, sizeof path), 0);
	return ctl_ask(&call, message, size);
}

static void
billingd(const char *mode)
{
	char args[64], message[512];

	snprintf(args, sizeof args, "{\"mode\":\"%s\"}", mode);
	assert_int_equal(ask("switch", "billingd", args, message, sizeof message), CTL_OK);
}

/* Gives a command to the one that tells; message gets what is remarked. */
static enum ctl_err
act(const char *cmd, const char *args, char *message, size_t size)
{
	return ask("teller", cmd, args, message, size);
}

/* What billingd was told, once it is so many acts; forgets it. */
static void
told(size_t lines, char out[static 2048])
{
	size_t n = 0;

	for (int i = 0; i < 6000; i++) {
		pthread_mutex_lock(&srv.lock);
		n = 0;
		for (const char *p = srv.told; *p != '\0'; p++)
			n += *p == '\n';
		if (n >= lines) {
			memcpy(out, srv.told, sizeof srv.told);
			srv.told[0] = '\0';
		}
		pthread_mutex_unlock(&srv.lock);
		if (n >= lines)
			return;
		usleep(10000);
	}
	fail_msg("told of %zu acts, not of %zu", n, lines);
}

static void
test_acts(void **state)
{
	static const char first[] = "log|teller|{\"daemon\":\"teller\",\"level\":\"error\"}\n"
	    "turn|teller|{\"daemon\":\"teller\"}\nturn|";
	char message[512], out[2048], many[5000];

	(void)state;
	billingd("takes");
	assert_int_equal(act("turn", "{\"what\":\"w\\\"0\",\"number\":7,\"flag\":true,\"list\":[\"a\",\"b\"],"
	    "\"more\":\"x\"}", message, sizeof message), CTL_OK);
	assert_string_equal(message, "");
	/* whoever hears of the end may look: it is there */
	told(1, out);
	assert_string_equal(out, "turn|w\"0|{\"daemon\":\"teller\",\"number\":7,\"flag\":true,\"list\":[\"a\",\"b\"],"
	    "\"more\":\"x\"}\n");
	assert_int_equal(act("log", "{\"level\":\"error\"}", message, sizeof message), CTL_OK);
	assert_int_equal(act("turn", "{}", message, sizeof message), CTL_OK);
	/* neither what is only read, nor what failed, nor what has its row already */
	assert_int_equal(act("version", "", message, sizeof message), CTL_OK);
	assert_int_equal(act("fails", "", message, sizeof message), CTL_NOT_FOUND);
	assert_int_equal(act("log", "{\"level\":\"loud\"}", message, sizeof message), CTL_USAGE);
	assert_int_equal(act("noted", "", message, sizeof message), CTL_OK);
	memset(many, 'm', sizeof many);
	memcpy(many, "{\"what\":\"", 9);
	memcpy(many + 400, "\",\"more\":\"", 10);
	memcpy(many + sizeof many - 3, "\"}", 3);
	assert_int_equal(act("turn", many, message, sizeof message), CTL_OK);
	told(3, out);
	memset(many, 'm', CTL_SUBJECT_MAX);
	snprintf(many + CTL_SUBJECT_MAX, sizeof many - CTL_SUBJECT_MAX, "|{\"daemon\":\"teller\"}\n");
	assert_memory_equal(out, first, sizeof first - 1);
	assert_string_equal(out + sizeof first - 1, many);
}

/* Without billingd the act is done all the same; it is told of later, in order. */
static void
test_acts_later(void **state)
{
	char message[512], out[2048];
	int before;

	(void)state;
	billingd("away");
	before = srv.calls;
	assert_int_equal(act("turn", "{\"what\":\"a\"}", message, sizeof message), CTL_OK);
	assert_non_null(strstr(message, "billingd does not answer"));
	assert_int_equal(act("turn", "{\"what\":\"b\"}", message, sizeof message), CTL_OK);
	assert_int_equal(srv.calls, before + 2);
	billingd("takes");
	assert_int_equal(act("turn", "{\"what\":\"c\"}", message, sizeof message), CTL_OK);
	assert_string_equal(message, "");
	told(3, out);
	assert_string_equal(out, "turn|a|{\"daemon\":\"teller\"}\nturn|b|{\"daemon\":\"teller\"}\n"
	    "turn|c|{\"daemon\":\"teller\"}\n");
	/* nobody waits for ever */
	billingd("hangs");
	assert_int_equal(act("turn", "{\"what\":\"d\"}", message, sizeof message), CTL_OK);
	assert_non_null(strstr(message, "billingd does not answer"));
	billingd("takes");
	told(1, out);
	assert_string_equal(out, "turn|d|{\"daemon\":\"teller\"}\n");
	/* a no is told, and does not come back */
	billingd("refuses");
	assert_int_equal(act("turn", "{\"what\":\"e\"}", message, sizeof message), CTL_OK);
	assert_string_equal(message, "the audit log did not take this: not like that");
	billingd("takes");
	assert_int_equal(act("turn", "{\"what\":\"f\"}", message, sizeof message), CTL_OK);
	told(2, out);
	assert_string_equal(out, "turn|e|{\"daemon\":\"teller\"}\nturn|f|{\"daemon\":\"teller\"}\n");
	billingd("away");
}

/* What could not be told is no reason to stay. */
static int
teardown(void **state)
{
	static const char *const names[] = { "switch", "teller", "billingd" };
	char message[512], path[300];

	(void)state;
	billingd("away");
	if (act("turn", "{}", message, sizeof message) != CTL_OK ||
	    ask("switch", "quit", "", message, sizeof message) != CTL_OK || pthread_join(srv.thread, NULL) != 0)
		return -1;
	for (size_t i = 0; i < TF_LEN(names); i++) {
		snprintf(path, sizeof path, "%s/%s.ctl.lock", dir, names[i]);
		unlink(path);
	}
	pthread_mutex_destroy(&srv.lock);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acts),
		cmocka_unit_test(test_acts_later),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
