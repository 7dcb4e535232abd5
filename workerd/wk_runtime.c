/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The managed runtime: a child in a process group of its own, its output in our log, started again
 * with growing pauses when it ends. Between us and it stands a guard process that does nothing but
 * wait: when workerd is gone, however it went, the guard sees its pipe close and kills the group,
 * so that neither the runtime nor its children outlive us.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workerd/wk.h"

#define WK_RESTART_MIN_MS 200
#define WK_LINE_MAX 2048
#define WK_OUTPUT_TURN (32u << 10)  /* bytes of output taken in one turn of the loop */
#define WK_OUTPUT_LAST (256u << 10) /* of what was written before the end */
#define WK_PORT_TRIES 64

struct wk_runtime {
	struct wk *wk;
	char **argv, **envp;
	pid_t guard;           /* 0: not running */
	int life;              /* write end: closed when we go */
	int output;            /* read end of the runtime's stdout and stderr */
	struct ev_fd watch;
	struct ev_child child;
	struct ev_timer timer; /* restart, start-timeout, or TERM to KILL */
	struct tf_buf line;
	char path[108], port[8], url[512]; /* where it is told to listen: socket, port; where it is reached */
	uint64_t pause;        /* ms until the next start */
	bool good;             /* answered its probe since its start */
	bool stopping;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void wk_runtime_spawn(struct wk_runtime *r);

/* ---- output ----------------------------------------------------------------------------------- */

static void
wk_output_line(const char *p, size_t n)
{
	while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == ' '))
		n--;
	if (n > 0)
		tf_log(TF_INFO, "runtime", NULL, "output line=%s", tf_log_q(tf_span(p, n)));
}

static void
wk_output_cut(struct wk_runtime *r)
{
	char *nl;

	while (r->line.n > 0 && (nl = memchr(r->line.p, '\n', r->line.n)) != NULL) {
		wk_output_line(r->line.p, (size_t)(nl - r->line.p));
		tf_buf_shift(&r->line, (size_t)(nl - r->line.p) + 1);
	}
	if (r->line.n > WK_LINE_MAX) {
		wk_output_line(r->line.p, r->line.n);
		tf_buf_reset(&r->line);
	}
}

/* Logs what there is, so much at once. False: nothing more will come. */
static bool
wk_output_read(struct wk_runtime *r, size_t most)
{
	char buf[4096];
	ssize_t n = 0;

	for (size_t got = 0; got < most; got += (size_t)n) {
		n = read(r->output, buf, sizeof buf);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		if (tf_buf_append(&r->line, buf, (size_t)n) == 0)
			wk_output_cut(r);
	}
	return true;
}

static void
wk_output_close(struct wk_runtime *r)
{
	if (r->output < 0)
		return;
	(void)ev_fd_watch(&r->watch, 0);
	close(r->output);
	r->output = -1;
	wk_output_line(r->line.p, r->line.n);
	tf_buf_reset(&r->line);
}

static void
wk_output_ready(struct ev_fd *f, int what, void *arg)
{
	struct wk_runtime *r = arg;

	(void)f;
	(void)what;
	if (!wk_output_read(r, WK_OUTPUT_TURN))
		wk_output_close(r);
}

/* ---- life ------------------------------------------------------------------------------------- */

/* The pipe's end is the guard's order to kill all. */
static void
wk_runtime_let_go(struct wk_runtime *r)
{
	if (r->life >= 0)
		close(r->life);
	r->life = -1;
}

static void
wk_runtime_exited(struct ev_child *c, int status, void *arg)
{
	struct wk_runtime *r = arg;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	(void)c;
	r->guard = 0;
	wk_runtime_let_go(r);
	ev_timer_del(&r->timer);
	/* its last words say why */
	if (r->output >= 0)
		(void)wk_output_read(r, WK_OUTPUT_LAST);
	wk_output_close(r);
	if (r->stopping) {
		tf_log(TF_INFO, "runtime", NULL, "ended code=%d", code);
		if (r->stopped != NULL)
			r->stopped(r->stopped_arg);
		return;
	}
	r->pause = r->good || r->pause == 0 ? WK_RESTART_MIN_MS : r->pause * 2;
	if (r->pause > r->wk->w->restart_max)
		r->pause = r->wk->w->restart_max;
	tf_log(TF_ERROR, "runtime", NULL, "ended by itself code=%d%s again_in_ms=%llu", code,
	    code == 127 ? " (no such program)" : code == 126 ? " (cannot be run)" : "", (unsigned long long)r->pause);
	r->good = false;
	wk_probe_gone(r->wk);
	ev_timer_set(&r->timer, r->pause);
}

/* One timer, three uses: restart when nothing runs, KILL when it was told to stop, else it never came up. */
static void
wk_runtime_timer(void *arg)
{
	struct wk_runtime *r = arg;

	if (r->guard == 0) {
		if (!r->stopping) {
			tf_metric_add(TF_M_WK_RUNTIME_RESTARTS, 1);
			wk_runtime_spawn(r);
		}
		return;
	}
	if (!r->stopping)
		tf_log(TF_ERROR, "runtime", NULL, "not ready within start-timeout, killed");
	else
		tf_log(TF_WARN, "runtime", NULL, "does not end, killed");
	wk_runtime_let_go(r);
}

static int
wk_runtime_pipes(int life[2], int output[2])
{
	if (pipe2(life, O_CLOEXEC) != 0)
		return TF_E_IO;
	if (pipe2(output, O_CLOEXEC) == 0 && fcntl(output[0], F_SETFL, O_NONBLOCK) == 0)
		return 0;
	close(life[0]);
	close(life[1]);
	return TF_E_IO;
}

static void
wk_runtime_spawn(struct wk_runtime *r)
{
	int life[2], output[2];
	sigset_t all, before;
	pid_t pid;

	if (wk_runtime_pipes(life, output) != 0)
		goto later;
	(void)unlink(r->path); /* what a killed one left */
	/* no signal of ours may reach the child while it still has our handlers */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		close(life[1]);
		wk_guard_main(r->argv, r->envp, life[0], output[1]);
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	close(life[0]);
	close(output[1]);
	if (pid < 0) {
		close(life[1]);
		close(output[0]);
		goto later;
	}
	r->guard = pid;
	r->life = life[1];
	r->output = output[0];
	ev_fd_init(&r->watch, r->wk->loop, r->output, wk_output_ready, r);
	if (ev_fd_watch(&r->watch, EV_FD_READ) != 0 ||
	    ev_child_add(&r->child, r->wk->loop, pid, wk_runtime_exited, r) != 0)
		tf_log(TF_ERROR, "runtime", NULL, "cannot watch the runtime");
	tf_log(TF_INFO, "runtime", NULL, "started guard=%d program=%s", (int)pid, tf_log_q(tf_cspan(r->argv[0])));
	ev_timer_set(&r->timer, r->wk->w->start_timeout);
	wk_probe_soon(r->wk);
	return;
later:
	tf_log(TF_ERROR, "runtime", NULL, "cannot start errno=%d", errno);
	ev_timer_set(&r->timer, 1000);
}

void
wk_runtime_good(struct wk *wk)
{
	struct wk_runtime *r = wk->runtime;

	if (r == NULL || r->guard == 0 || r->stopping || r->good)
		return;
	r->good = true;
	ev_timer_del(&r->timer);
}

pid_t
wk_runtime_pid(const struct wk *wk)
{
	return wk->runtime ? wk->runtime->guard : 0;
}

static bool
wk_runtime_env_has(const struct conf_list *env, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
			return true;
	return false;
}

/* A clean environment: the few names every program expects, then what the configuration adds. */
static int
wk_runtime_env(struct wk_runtime *r)
{
	static const char *const names[] = { "PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME" };
	const struct conf_list *env = &r->wk->w->env;
	size_t n = 0;

	r->envp = calloc(TF_LEN(names) + env->n + 1, sizeof *r->envp);
	if (r->envp == NULL)
		return TF_E_NOMEM;
	for (size_t i = 0; i < TF_LEN(names); i++) {
		const char *v = getenv(names[i]);
		struct tf_buf b = { 0 };

		if (v == NULL || wk_runtime_env_has(env, names[i]))
			continue;
		if (tf_buf_printf(&b, "%s=%s", names[i], v) != 0)
			return TF_E_NOMEM;
		r->envp[n] = tf_span_dup(tf_buf_span(&b));
		tf_buf_free(&b);
		if (r->envp[n++] == NULL)
			return TF_E_NOMEM;
	}
	for (size_t i = 0; i < env->n; i++) {
		r->envp[n] = tf_span_dup(tf_cspan(env->v[i]));
		if (r->envp[n++] == NULL)
			return TF_E_NOMEM;
	}
	return 0;
}

/* A port that is free now, below the range that outgoing connections take theirs from; 0: none was found. */
static uint16_t
wk_runtime_port(void)
{
	for (int i = 0; i < WK_PORT_TRIES; i++) {
		uint16_t port = (uint16_t)(20000 + tf_random_u64() % 12000);
		struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port),
			.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc;

		if (fd < 0)
			return 0;
		rc = bind(fd, (struct sockaddr *)&sin, sizeof sin);
		close(fd);
		if (rc == 0)
			return port;
	}
	return 0;
}

/* Where the child is told to listen, and so where it is reached. */
static int
wk_runtime_place(struct wk_runtime *r)
{
	const struct conf_worker *w = r->wk->w;
	int n = snprintf(r->path, sizeof r->path, "%s/runtime-%s.sock", r->wk->conf->common.run_dir, w->name);
	uint16_t port = wk_runtime_port();

	if (n < 0 || (size_t)n >= sizeof r->path)
		return TF_E_RANGE;
	if (port == 0)
		return TF_E_FULL;
	snprintf(r->port, sizeof r->port, "%u", port);
	if (w->url != NULL)
		n = snprintf(r->url, sizeof r->url, "%s", w->url);
	else if (strstr(w->command, "{socket}") != NULL)
		n = snprintf(r->url, sizeof r->url, "unix:%s", r->path);
	else
		n = snprintf(r->url, sizeof r->url, "http://127.0.0.1:%u", port);
	return n > 0 && (size_t)n < sizeof r->url ? 0 : TF_E_RANGE;
}

int
wk_runtime_start(struct wk *wk)
{
	struct wk_runtime *r = calloc(1, sizeof *r);
	int rc;

	if (r == NULL)
		return TF_E_NOMEM;
	r->wk = wk;
	r->life = r->output = -1;
	wk->runtime = r;
	ev_timer_init(&r->timer, wk->loop, wk_runtime_timer, r);
	rc = wk_runtime_place(r);
	if (rc == 0)
		rc = wk_argv_split(wk->w->command, r->port, r->path, &r->argv);
	if (rc == 0)
		rc = wk_runtime_env(r);
	if (rc == 0)
		rc = wk_upstream_open(wk, r->url);
	if (rc != 0) {
		tf_log(TF_ERROR, "runtime", NULL, "cannot prepare the runtime error=%s", tf_err_text(rc));
		return rc;
	}
	wk_runtime_spawn(r);
	return 0;
}

void
wk_runtime_stop(struct wk *wk, void (*done)(void *arg), void *arg)
{
	struct wk_runtime *r = wk->runtime;

	if (r == NULL || r->guard == 0) {
		if (r != NULL)
			r->stopping = true;
		done(arg);
		return;
	}
	r->stopping = true;
	r->stopped = done;
	r->stopped_arg = arg;
	(void)kill(r->guard, SIGTERM);
	ev_timer_set(&r->timer, wk->w->stop_timeout);
}

void
wk_runtime_free(struct wk *wk)
{
	struct wk_runtime *r = wk->runtime;

	if (r == NULL)
		return;
	ev_timer_del(&r->timer);
	wk_output_close(r);
	if (r->guard != 0)
		ev_child_del(&r->child);
	wk_runtime_let_go(r);
	tf_buf_free(&r->line);
	wk_argv_free(&r->argv);
	wk_argv_free(&r->envp);
	free(r);
	wk->runtime = NULL;
}
