/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/ctl: the server runs in a thread of its own, the tests ask it through the client
 * and through raw sockets.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf/conf.h"
#include "common/ctl/inside.h"

#define NOBODY 65534
#define GROUP 54321 /* stands for tokenfactory's */

static char dir[] = "/tmp/tf-ctl-XXXXXX";
static char path[100];

/* ---- the server --------------------------------------------------------------------------- */

static struct {
	pthread_t thread;
	struct ev_loop *loop;
	struct ctl *ctl;
	struct conf *conf;
	struct ctl_req *held;  /* of "hold", until "release" */
	struct ev_timer timer; /* of "later" */
	struct ctl_req *later;
	atomic_int calls; /* of "admin" */
} srv;

static void
do_echo(void *arg, struct ctl_req *req)
{
	struct js_w *w = ctl_row(req);

	assert(arg == &srv);
	js_w_kstr(w, "text", ctl_str(req, "text"));
	js_w_kbool(w, "has_number", ctl_has(req, "number"));
	js_w_ki64(w, "number", ctl_int(req, "number", -7));
	js_w_kbool(w, "flag", ctl_bool(req, "flag", false));
	js_w_key(w, "list");
	js_w_array(w);
	for (size_t i = 0; i < ctl_list_n(req, "list"); i++)
		js_w_str(w, ctl_list(req, "list", i));
	js_w_array_end(w);
	ctl_row_end(req);
	ctl_end(req);
}

static void
do_many(void *arg, struct ctl_req *req)
{
	char pad[1001];

	(void)arg;
	memset(pad, 'x', 1000);
	pad[1000] = '\0';
	for (int64_t i = 0; i < ctl_int(req, "rows", 0); i++) {
		struct js_w *w = ctl_row(req);

		js_w_ki64(w, "i", i);
		js_w_kcstr(w, "pad", pad);
		ctl_row_end(req);
	}
	ctl_end(req);
}

static void
do_fail(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_fail(req, CTL_NOT_FOUND, "no workspace \"%s\"", "x\ny");
}

static void
do_admin(void *arg, struct ctl_req *req)
{
	(void)arg;
	atomic_fetch_add(&srv.calls, 1);
	ctl_end(req);
}

static void
do_hold(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_row(req);
	ctl_row_end(req);
	srv.held = req;
}

/* Who is somebody to the server. */
static void
do_known(void *arg, struct ctl_req *req)
{
	(void)arg;
	srv.ctl->has_group = ctl_bool(req, "group", false);
	srv.ctl->group = GROUP;
	srv.ctl->fellows[0] = NOBODY;
	srv.ctl->n_fellows = ctl_bool(req, "fellow", false);
	ctl_end(req);
}

static void
do_release(void *arg, struct ctl_req *req)
{
	(void)arg;
	if (srv.held == NULL) {
		ctl_fail(req, CTL_CONFLICT, "nothing is held");
		return;
	}
	ctl_row(srv.held);
	ctl_row_end(srv.held);
	ctl_end(srv.held);
	srv.held = NULL;
	ctl_end(req);
}

static void
on_later(void *arg)
{
	(void)arg;
	js_w_kcstr(ctl_row(srv.later), "came", "later");
	ctl_row_end(srv.later);
	ctl_end(srv.later);
}

static void
do_later(void *arg, struct ctl_req *req)
{
	(void)arg;
	srv.later = req;
	ev_timer_set(&srv.timer, 30);
}

static void
do_quit(void *arg, struct ctl_req *req)
{
	(void)arg;
	ctl_end(req);
	ev_loop_stop(srv.loop);
}

static const struct ctl_arg echo_args[] = {
	{ "text", CTL_STR, true, "a text" },
	{ "number", CTL_INT, false, "a number" },
	{ "flag", CTL_BOOL, false, "a flag" },
	{ "list", CTL_LIST, false, "a list" },
};
static const struct ctl_arg many_args[] = { { "rows", CTL_INT, true, "how many" } };
static const struct ctl_arg known_args[] = { { "group", CTL_BOOL, false, "" }, { "fellow", CTL_BOOL, false, "" } };
static const struct ctl_cmd cmds[] = {
	{ "admin", do_admin, CTL_ADMIN, "for the owner", NULL, 0 },
	{ "echo it", do_echo, CTL_READ, "gives back", echo_args, TF_LEN(echo_args) },
	{ "fail", do_fail, CTL_READ, "refuses", NULL, 0 },
	{ "fellow", do_later, CTL_FELLOW, "for daemons", NULL, 0 },
	{ "hold", do_hold, CTL_READ, "waits for release", NULL, 0 },
	{ "known", do_known, CTL_ADMIN, "who is somebody", known_args, TF_LEN(known_args) },
	{ "later", do_later, CTL_READ, "answers later", NULL, 0 },
	{ "many", do_many, CTL_READ, "many rows", many_args, TF_LEN(many_args) },
	{ "quit", do_quit, CTL_ADMIN, "ends the test's server", NULL, 0 },
	{ "release", do_release, CTL_READ, "ends what is held", NULL, 0 },
};

static const struct conf *
the_conf(void *arg)
{
	assert(arg == &srv);
	return srv.conf;
}

static struct ctl_options
options(void)
{
	return (struct ctl_options){ .run_dir = dir,
		.name = "unit",
		.daemon = "gatewayd",
		.wire = "1.0",
		.conf = the_conf,
		.arg = &srv,
		.cmds = cmds,
		.ncmds = TF_LEN(cmds) };
}

static void *
serve(void *arg)
{
	(void)arg;
	ev_loop_run(srv.loop);
	ctl_close(&srv.ctl);
	ev_timer_del(&srv.timer);
	ev_loop_free(&srv.loop);
	return NULL;
}

static int
setup(void **state)
{
	struct conf_text t = { "unit.conf", TF_SPAN("[gatewayd]\nthreads = 3\n") };
	struct conf_errors e = { 0 };
	struct ctl_options opt = options();

	(void)state;
	if (mkdtemp(dir) == NULL || conf_parse(&t, 1, &srv.conf, &e) != 0)
		return -1;
	chmod(dir, 0755);
	srv.loop = ev_loop_new();
	if (srv.loop == NULL || ctl_path(dir, "unit", path, sizeof path) != 0 ||
	    ctl_open(srv.loop, &opt, &srv.ctl) != 0)
		return -1;
	ev_timer_init(&srv.timer, srv.loop, on_later, NULL);
	return pthread_create(&srv.thread, NULL, serve, NULL);
}

/* ---- asking ------------------------------------------------------------------------------- */

struct got {
	struct tf_buf rows;
	size_t n;
	char message[512];
};

static int
on_row(void *arg, struct tf_span row)
{
	struct got *g = arg;

	g->n++;
	tf_buf_reset(&g->rows);
	return tf_buf_addspan(&g->rows, row);
}

static enum ctl_err
ask(struct got *g, const char *cmd, const char *args)
{
	struct ctl_call call = { path, cmd, tf_cspan(args), 5000, on_row, g };

	g->n = 0;
	tf_buf_reset(&g->rows);
	return ctl_ask(&call, g->message, sizeof g->message);
}

static void
test_echo(void **state)
{
	struct got g = { 0 };

	(void)state;
	assert_int_equal(
	    ask(&g, "echo it",
		"{\"text\":\"a \\u00e4\\\"\",\"list\":[\"x\",\"\"],\"number\":12,\"flag\":true}"),
	    CTL_OK);
	assert_int_equal(g.n, 1);
	assert_string_equal(tf_buf_cstr(&g.rows),
	    "{\"text\":\"a \xc3\xa4\\\"\",\"has_number\":true,\"number\":12,\"flag\":true,\"list\":[\"x\",\"\"]"
	    "}");
	assert_int_equal(ask(&g, "echo it", "{\"text\":\"\"}"), CTL_OK);
	assert_string_equal(tf_buf_cstr(&g.rows),
	    "{\"text\":\"\",\"has_number\":false,\"number\":-7,\"flag\":false,\"list\":[]}");
	tf_buf_free(&g.rows);
}

static void
test_refusals(void **state)
{
	static const struct {
		const char *cmd, *args;
		enum ctl_err err;
		const char *message;
	} cases[] = {
		{ "fail", "", CTL_NOT_FOUND, "no workspace \"x\ny\"" },
		{ "release", "", CTL_CONFLICT, "nothing is held" },
		{ "nope", "", CTL_USAGE, "unit has no command " },
		{ "echo", "", CTL_USAGE, "unit has no command " },
		{ "echo it", "", CTL_USAGE, "echo it: text is missing" },
		{ "echo it", "{\"text\":1}", CTL_USAGE, "echo it: text must be a text" },
		{ "echo it", "{\"text\":null}", CTL_USAGE, "echo it: text must be a text" },
		{ "echo it", "{\"text\":\"a\\u0000b\"}", CTL_USAGE,
		    "echo it: text must be a text" },
		{ "echo it", "{\"text\":\"\",\"number\":1.5}", CTL_USAGE,
		    "echo it: number must be a whole number" },
		{ "echo it", "{\"text\":\"\",\"number\":\"1\"}", CTL_USAGE,
		    "echo it: number must be a whole number" },
		{ "echo it", "{\"text\":\"\",\"flag\":1}", CTL_USAGE,
		    "echo it: flag must be true or false" },
		{ "echo it", "{\"text\":\"\",\"list\":\"x\"}", CTL_USAGE,
		    "echo it: list must be a list of texts" },
		{ "echo it", "{\"text\":\"\",\"list\":[1]}", CTL_USAGE,
		    "echo it: list must be a list of texts" },
		{ "echo it", "{\"text\":\"\",\"rubbish\":1}", CTL_USAGE,
		    "echo it: unknown argument or given twice: " },
		{ "echo it", "{\"text\":\"\",\"text\":\"\"}", CTL_USAGE,
		    "echo it: unknown argument or given twice: " },
		{ "ping", "{\"x\":1}", CTL_USAGE, "ping: unknown argument or given twice: " },
		{ "log", "{\"level\":\"loud\"}", CTL_USAGE,
		    "level must be error, warn, info or debug" },
	};
	struct got g = { 0 };

	(void)state;
	for (size_t i = 0; i < TF_LEN(cases); i++) {
		assert_int_equal(ask(&g, cases[i].cmd, cases[i].args), cases[i].err);
		assert_memory_equal(g.message, cases[i].message, strlen(cases[i].message));
		assert_int_equal(g.n, 0);
	}
	tf_buf_free(&g.rows);
}

static void
test_builtin(void **state)
{
	struct got g = { 0 };

	(void)state;
	assert_int_equal(ask(&g, "ping", ""), CTL_OK);
	assert_int_equal(g.n, 0);
	assert_int_equal(ask(&g, "version", ""), CTL_OK);
	assert_non_null(strstr(tf_buf_cstr(&g.rows),
	    "{\"daemon\":\"gatewayd\",\"name\":\"unit\",\"version\":\"" PACKAGE_VERSION
	    "\",\"wire\":\"1.0\",\"pid\":"));
	assert_int_equal(ask(&g, "commands", ""), CTL_OK);
	assert_int_equal(g.n, TF_LEN(cmds) + 6);
	assert_int_equal(ask(&g, "metrics", ""), CTL_OK);
	assert_true(g.n > 10);
	assert_int_equal(ask(&g, "config show", ""), CTL_OK);
	assert_true(g.n > 30);
	assert_int_equal(ask(&g, "config show", "{\"set\":true}"), CTL_OK);
	assert_int_equal(g.n, 1);
	assert_string_equal(tf_buf_cstr(&g.rows),
	    "{\"section\":\"gatewayd\",\"key\":\"threads\",\"value\":\"3\",\"source\":\"unit.conf:"
	    "2\",\"applies\":\"restart\"}");
	assert_int_equal(
	    ask(&g, "log", "{\"level\":\"debug\",\"subsystems\":\"wire,http\"}"), CTL_OK);
	assert_true(tf_log_on(TF_DEBUG, "wire"));
	assert_int_equal(ask(&g, "log", "{\"level\":\"error\"}"), CTL_OK);
	assert_false(tf_log_on(TF_DEBUG, "wire"));
	assert_false(tf_log_on(TF_INFO, "x"));
	tf_buf_free(&g.rows);
}

static void
test_later(void **state)
{
	struct got g = { 0 };

	(void)state;
	assert_int_equal(ask(&g, "later", ""), CTL_OK);
	assert_string_equal(tf_buf_cstr(&g.rows), "{\"came\":\"later\"}");
	tf_buf_free(&g.rows);
}

/* A reader that is slow costs memory only up to the bound, and then gets an error, not silence. */
static void
test_many(void **state)
{
	struct got g = { 0 };

	(void)state;
	assert_int_equal(ask(&g, "many", "{\"rows\":10000}"), CTL_OK);
	assert_int_equal(g.n, 10000);
	assert_int_equal(ask(&g, "many", "{\"rows\":20000}"), CTL_FAILED);
	assert_string_equal(g.message, "the answer is too large; ask for less");
	assert_int_equal(ask(&g, "ping", ""), CTL_OK);
	tf_buf_free(&g.rows);
}

static int
stop_at_once(void *arg, struct tf_span row)
{
	(void)row;
	++*(int *)arg;
	return 1;
}

static void
test_client(void **state)
{
	int rows = 0;
	char message[256], text[512];
	struct ctl_call call = { path, "many", TF_SPAN("{\"rows\":3}"), 5000, stop_at_once, &rows };

	(void)state;
	assert_int_equal(ctl_ask(&call, message, sizeof message), CTL_FAILED);
	assert_int_equal(rows, 1);
	call.path = "/nonexistent/x.ctl";
	assert_int_equal(ctl_ask(&call, message, sizeof message), CTL_UNREACHABLE);
	call = (struct ctl_call){ path, "hold", { 0 }, 200, NULL, NULL };
	assert_int_equal(ctl_ask(&call, message, sizeof message), CTL_UNREACHABLE);
	assert_non_null(strstr(message, "no answer within 200 ms"));
	/* its client has left: the command still ends it */
	call.cmd = "release";
	assert_int_equal(ctl_ask(&call, message, sizeof message), CTL_OK);
	assert_int_equal(ctl_path("/d", "n", message, sizeof message), 0);
	assert_string_equal(message, "/d/n.ctl");
	memset(message, 'x', sizeof message - 1);
	message[sizeof message - 1] = '\0';
	assert_int_equal(ctl_path(message, "n", text, sizeof text), TF_E_RANGE);
}

/* ---- raw ---------------------------------------------------------------------------------- */

static int
dial(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct timeval tv = { .tv_sec = 5 };

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", path);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof sun), 0);
	return fd;
}

static void
put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Reads to the end of the stream, or until so many lines are there. */
static char *
read_lines(int fd, size_t lines, char *out, size_t size)
{
	size_t n = 0, seen = 0;
	ssize_t k;

	while (seen < lines && (k = read(fd, out + n, size - n - 1)) > 0)
		for (ssize_t i = 0; i < k; i++)
			seen += out[n++] == '\n';
	out[n] = '\0';
	return out;
}

#define END0 "{\"end\":{\"rows\":0}}\n"

static void
test_raw(void **state)
{
	static char big[CTL_LINE_MAX + 4096], text[4096];
	int fd = dial();

	(void)state;
	/* several requests in one write, and one in pieces */
	put(fd, "{\"cmd\":\"ping\"}\n{\"cmd\":\"ping\",\"args\":{}}\n{\"cmd\":");
	assert_string_equal(read_lines(fd, 2, text, sizeof text), END0 END0);
	put(fd, "\"ping\"}\n");
	assert_string_equal(read_lines(fd, 1, text, sizeof text), END0);
	/* what is no request is refused, and the connection goes on */
	put(fd,
	    "rubbish\n[]\n{}\n{\"cmd\":1}\n{\"cmd\":\"ping\",\"x\":1}\n{\"cmd\":\"ping\",\"args\":["
	    "]}\n\n{\"cmd\":\"p\xff\"}\n");
	read_lines(fd, 8, text, sizeof text);
	for (const char *p = text; *p != '\0'; p = strchr(p, '\n') + 1)
		assert_memory_equal(
		    p, "{\"error\":{\"code\":\"usage\",\"message\":\"not a request: ", 50);
	/* a half closed connection still gets its answer */
	put(fd, "{\"cmd\":\"ping\"}\n");
	shutdown(fd, SHUT_WR);
	assert_string_equal(read_lines(fd, 2, text, sizeof text), END0);
	close(fd);

	/* an endless line */
	memset(big, 'x', sizeof big);
	fd = dial();
	for (size_t n = 0; n < sizeof big;) {
		ssize_t k = send(fd, big + n, sizeof big - n, MSG_NOSIGNAL);

		if (k <= 0)
			break;
		n += (size_t)k;
	}
	read_lines(fd, 2, text, sizeof text);
	assert_true(text[0] == '\0' || strstr(text, "longer than 64 KiB") != NULL);
	close(fd);
}

/* One request at a time: the next one waits for the end of the one before. */
static void
test_order(void **state)
{
	char text[4096];
	struct got g = { 0 };
	int fd = dial();

	(void)state;
	put(fd, "{\"cmd\":\"hold\"}\n{\"cmd\":\"ping\"}\n");
	assert_string_equal(read_lines(fd, 1, text, sizeof text), "{\"row\":{}}\n");
	usleep(50000);
	assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
	assert_int_equal(ask(&g, "release", ""), CTL_OK);
	assert_string_equal(
	    read_lines(fd, 3, text, sizeof text), "{\"row\":{}}\n{\"end\":{\"rows\":2}}\n" END0);
	close(fd);
	tf_buf_free(&g.rows);
}

/* ---- who may what -------------------------------------------------------------------------- */

static void
test_files(void **state)
{
	struct ctl_options opt = options();
	struct ev_loop *loop = ev_loop_new();
	struct ctl *second;
	struct stat st;
	char text[300];
	struct got g = { 0 };

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	/* a second instance of the name does not take the socket away */
	assert_int_equal(ctl_open(loop, &opt, &second), TF_E_EXIST);
	assert_null(second);
	assert_int_equal(ask(&g, "ping", ""), CTL_OK);
	/* a socket file left behind by a dead one is replaced */
	opt.name = "left";
	snprintf(text, sizeof text, "%s/left.ctl", dir);
	close(open(text, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(ctl_open(loop, &opt, &second), 0);
	assert_int_equal(stat(text, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	ctl_close(&second);
	assert_int_equal(stat(text, &st), -1);
	memset(text, 'n', 120);
	text[120] = '\0';
	opt.name = text;
	assert_int_equal(ctl_open(loop, &opt, &second), TF_E_INVAL);
	opt.name = "x";
	opt.run_dir = "/nonexistent";
	assert_int_equal(ctl_open(loop, &opt, &second), TF_E_IO);
	ctl_close(&second);
	ev_loop_free(&loop);
	tf_buf_free(&g.rows);
}

/* As another user, in a process of its own; the exit status says how its call ended. */
static int
as_stranger(const char *cmd, gid_t primary, gid_t other)
{
	struct ctl_call call = { path, cmd, { 0 }, 5000, NULL, NULL };
	char message[512];
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgroups(1, &other) != 0 || setgid(primary) != 0 || setuid(NOBODY) != 0)
			_exit(99);
		_exit((int)ctl_ask(&call, message, sizeof message));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void
test_privilege(void **state)
{
	struct got g = { 0 };
	int before = atomic_load(&srv.calls);

	(void)state;
	assert_int_equal(ask(&g, "admin", ""), CTL_OK);
	assert_int_equal(atomic_load(&srv.calls), before + 1);
	tf_buf_free(&g.rows);
	if (geteuid() != 0)
		skip(); /* only root can be somebody else */
	/* the file's mode keeps them out */
	assert_int_equal(as_stranger("ping", NOBODY, NOBODY), CTL_FORBIDDEN);
	/* and without it the dispatcher does */
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(as_stranger("ping", NOBODY, NOBODY), CTL_FORBIDDEN);
	assert_int_equal(as_stranger("admin", NOBODY, NOBODY), CTL_FORBIDDEN);
	/* members of the group may look, by their primary group or another one */
	assert_int_equal(ask(&g, "known", "{\"group\":true}"), CTL_OK);
	assert_int_equal(as_stranger("ping", NOBODY, NOBODY), CTL_FORBIDDEN);
	assert_int_equal(as_stranger("ping", GROUP, NOBODY), CTL_OK);
	assert_int_equal(as_stranger("ping", NOBODY, GROUP), CTL_OK);
	assert_int_equal(as_stranger("admin", GROUP, GROUP), CTL_FORBIDDEN);
	/* and daemons what only daemons may */
	assert_int_equal(as_stranger("fellow", GROUP, GROUP), CTL_FORBIDDEN);
	assert_int_equal(ask(&g, "known", "{\"group\":true,\"fellow\":true}"), CTL_OK);
	assert_int_equal(as_stranger("fellow", GROUP, GROUP), CTL_OK);
	assert_int_equal(as_stranger("admin", GROUP, GROUP), CTL_FORBIDDEN);
	assert_int_equal(ask(&g, "known", ""), CTL_OK);
	tf_buf_free(&g.rows);
	assert_int_equal(atomic_load(&srv.calls), before + 1);
	assert_int_equal(chmod(path, 0660), 0);
}

static void
test_too_many(void **state)
{
	int fd[CTL_CONNS_MAX + 1];
	struct got g = { 0 };
	char c;

	(void)state;
	for (size_t i = 0; i < TF_LEN(fd); i++)
		fd[i] = dial();
	assert_int_equal(read(fd[CTL_CONNS_MAX], &c, 1), 0);
	for (size_t i = 0; i < TF_LEN(fd); i++)
		close(fd[i]);
	for (int i = 0; i < 2000 && ask(&g, "ping", "") != CTL_OK; i++)
		usleep(10000);
	assert_int_equal(ask(&g, "ping", ""), CTL_OK);
	tf_buf_free(&g.rows);
}

static int
teardown(void **state)
{
	struct got g = { 0 };
	char text[300];

	(void)state;
	/* a request and a connection are open when the server goes */
	dial();
	if (ask(&g, "quit", "") != CTL_OK || pthread_join(srv.thread, NULL) != 0 ||
	    access(path, F_OK) == 0)
		return -1;
	tf_buf_free(&g.rows);
	conf_free(&srv.conf);
	snprintf(text, sizeof text, "%s.lock", path);
	unlink(text);
	snprintf(text, sizeof text, "%s/left.ctl.lock", dir);
	unlink(text);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_builtin),
		cmocka_unit_test(test_later),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_privilege),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
