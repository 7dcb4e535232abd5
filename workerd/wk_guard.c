/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard: a process between workerd and the managed runtime that does nothing but wait. When workerd
 * is gone, however it went, the guard sees its pipe close and kills the runtime and all that came from
 * it. wk_runtime forks it; only calls that are safe after a fork in a process with threads are made here.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workerd/wk.h"

static volatile sig_atomic_t wk_guard_term;

static void
wk_guard_on_term(int signo)
{
	(void)signo;
	wk_guard_term = 1;
}

static void
wk_guard_on_child(int signo)
{
	(void)signo; /* only there to interrupt the wait */
}

static void
wk_guard_keep(int a, int b)
{
	int lo = a < b ? a : b, hi = a < b ? b : a;

	if (lo > 0)
		(void)syscall(SYS_close_range, 0u, (unsigned)lo - 1, 0u);
	if (hi > lo + 1)
		(void)syscall(SYS_close_range, (unsigned)lo + 1, (unsigned)hi - 1, 0u);
	(void)syscall(SYS_close_range, (unsigned)hi + 1, ~0u, 0u);
}

static void
wk_child_exec(char **argv, char **envp, int output, pid_t guard)
{
	sigset_t none;
	int null;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != guard)
		_exit(127); /* the guard went before we asked */
	(void)setpgid(0, 0);
	for (int s = 1; s < NSIG; s++)
		(void)signal(s, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)dup2(output, 1);
	(void)dup2(output, 2);
	null = open("/dev/null", O_RDONLY);
	if (null > 0)
		(void)dup2(null, 0);
	(void)syscall(SYS_close_range, 3u, ~0u, 0u);
	(void)execvpe(argv[0], argv, envp);
	_exit(errno == ENOENT ? 127 : 126);
}

/* The parent of a process; 0: it is gone, or cannot be looked at. */
static pid_t
wk_guard_parent(const char *pid)
{
	char buf[512], path[32] = "/proc/";
	const char *p;
	ssize_t n;
	int fd;

	if (strlen(pid) > 10)
		return 0;
	memcpy(path + 6, pid, strlen(pid));
	memcpy(path + 6 + strlen(pid), "/stat", 6);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof buf - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	/* pid (name) S ppid: the name may hold anything, a parenthesis too */
	p = strrchr(buf, ')');
	return p != NULL && strlen(p) > 4 ? (pid_t)strtol(p + 4, NULL, 10) : 0;
}

struct wk_dirent { /* of getdents64(2) */
	uint64_t ino;
	int64_t off;
	unsigned short len;
	unsigned char type;
	char name[];
};

/*
 * Kills whatever is our child now: the runtime and its group, and what left the group and became ours
 * when its parent died. Again at each SIGCHLD, until there are none: their children come to us in turn.
 */
static void
wk_guard_kill(pid_t runtime)
{
	_Alignas(struct wk_dirent) char buf[4096];
	pid_t self = getpid();
	long n;
	int fd;

	(void)kill(-runtime, SIGKILL);
	fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof buf)) > 0) {
		for (long at = 0; at < n;) {
			const struct wk_dirent *d = (const struct wk_dirent *)(const void *)(buf + at);

			at += d->len;
			if (d->name[0] >= '1' && d->name[0] <= '9' && wk_guard_parent(d->name) == self)
				(void)kill((pid_t)strtol(d->name, NULL, 10), SIGKILL);
		}
	}
	close(fd);
}

/* Reaps the runtime and all that comes from it; returns the runtime's own status once nothing is left. */
static int
wk_guard_wait(pid_t runtime, int life)
{
	struct pollfd pfd = { .fd = life, .events = POLLIN };
	sigset_t waiting;
	bool kill_all = false, ended = false;
	int status = 0;

	sigemptyset(&waiting); /* SIGCHLD and SIGTERM come only while we wait, so none is missed */
	for (;;) {
		int st;
		pid_t pid;

		while ((pid = waitpid(-1, &st, WNOHANG)) > 0) {
			if (pid == runtime) {
				status = st;
				ended = true;
			}
		}
		if (pid < 0 && errno == ECHILD && ended)
			return status;
		if (ended || kill_all)
			wk_guard_kill(runtime);
		if (wk_guard_term) {
			wk_guard_term = 0;
			(void)kill(-runtime, SIGTERM);
		}
		if (ppoll(&pfd, kill_all ? 0 : 1, NULL, &waiting) > 0)
			kill_all = true;
	}
}

void
wk_guard_main(char **argv, char **envp, int life, int output)
{
	struct sigaction sa = { .sa_handler = wk_guard_on_child };
	sigset_t block;
	pid_t self = getpid(), runtime;
	int status;

	(void)setsid(); /* a terminal's ^C is for workerd, which then stops us */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigfillset(&block);
	(void)sigprocmask(SIG_SETMASK, &block, NULL);
	(void)sigaction(SIGCHLD, &sa, NULL);
	sa.sa_handler = wk_guard_on_term;
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGQUIT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	runtime = fork();
	if (runtime == 0)
		wk_child_exec(argv, envp, output, self);
	if (runtime < 0)
		_exit(126);
	(void)setpgid(runtime, runtime);
	wk_guard_keep(life, life); /* not the output: its end must be the runtime's */
	status = wk_guard_wait(runtime, life);
	if (WIFSIGNALED(status))
		_exit(128 + WTERMSIG(status));
	_exit(WEXITSTATUS(status));
}
