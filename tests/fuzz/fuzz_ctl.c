/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control server on any bytes: every line is answered by lines of valid JSON, each answer
 * ends, and a command's function sees only arguments of the types in its row.
 */
#include "config.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ctl/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
do_echo(void *arg, struct ctl_req *req)
{
	struct js_w *w = ctl_row(req);

	(void)arg;
	if (ctl_str(req, "text").p == NULL || strlen(ctl_str(req, "text").p) != ctl_str(req, "text").n)
		abort();
	js_w_kstr(w, "text", ctl_str(req, "text"));
	js_w_ki64(w, "number", ctl_int(req, "number", 0));
	for (size_t i = 0; i < ctl_list_n(req, "list"); i++)
		if (ctl_list(req, "list", i).p == NULL)
			abort();
	ctl_row_end(req);
	ctl_end(req);
}

static const struct ctl_arg args[] = {
	{ "text", CTL_STR, true, "" },
	{ "number", CTL_INT, false, "" },
	{ "flag", CTL_BOOL, false, "" },
	{ "list", CTL_LIST, false, "" },
};
static const struct ctl_cmd cmds[] = { { "echo", do_echo, CTL_READ, "", args, TF_LEN(args) } };

/* Every line of what came back is one JSON object. */
static void
check(int fd)
{
	struct tf_buf got = { 0 };
	ssize_t k;

	do {
		if (tf_buf_reserve(&got, 65536) != 0)
			abort();
		k = recv(fd, got.p + got.n, got.cap - got.n, MSG_DONTWAIT);
		got.n += k > 0 ? (size_t)k : 0;
	} while (k > 0);
	for (size_t from = 0; from < got.n;) {
		const char *nl = memchr(got.p + from, '\n', got.n - from);
		size_t len = nl != NULL ? (size_t)(nl - got.p) - from : 0;

		if (nl == NULL || js_valid(tf_span(got.p + from, len)) != 0 || got.p[from] != '{')
			abort();
		from += len + 1;
	}
	tf_buf_free(&got);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct ctl ctl;
	int fd[2];

	if (ctl.loop == NULL) {
		ctl.loop = ev_loop_new();
		ctl.opt = (struct ctl_options){ .name = "fuzz", .daemon = "gatewayd", .wire = "",
			.cmds = cmds, .ncmds = TF_LEN(cmds) };
		tf_list_init(&ctl.conns);
		tf_list_init(&ctl.reqs);
		tf_log_init("fuzz", TF_ERROR, false);
	}
	if (n > 16384 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0)
		return 0;
	if (send(fd[0], data, n, MSG_NOSIGNAL) != (ssize_t)n || shutdown(fd[0], SHUT_WR) != 0 ||
	    ctl_conn_new(&ctl, fd[1]) != 0)
		abort();
	while (ctl.conns.n > 0) {
		ev_loop_once(ctl.loop, false);
		check(fd[0]);
	}
	ev_loop_once(ctl.loop, false);
	check(fd[0]);
	close(fd[0]);
	return 0;
}
