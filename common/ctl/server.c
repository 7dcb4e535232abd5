/* SPDX-License-Identifier: Apache-2.0 */
/* The listening side of the operator channel: the socket file, its lock, accepting. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/ctl/conn.h"

#define BACKLOG 64

static void
on_accept(struct ev_fd *f, int what, void *arg)
{
	struct ctl *ctl = arg;
	int fd = accept4(ev_fd_get(f), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			tf_log(TF_WARN, "ctl", NULL, "cannot accept error=%s",
			    tf_log_q(tf_cspan(strerror(errno))));
		return;
	}
	if (ctl->conns.n >= CTL_CONNS_MAX) {
		tf_log(TF_WARN, "ctl", NULL, "connection refused open=%zu", ctl->conns.n);
		close(fd);
	} else if (ctl_conn_new(ctl, fd) != 0) {
		close(fd);
	}
}

/* ---- opening ------------------------------------------------------------------------------ */

/* The lock outlives the socket file, so that nobody unlinks the socket of a running daemon. */
static int
take_lock(struct ctl *ctl)
{
	char path[256];

	snprintf(path, sizeof path, "%s.lock", ctl->path);
	ctl->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (ctl->lock < 0)
		return TF_E_IO;
	if (flock(ctl->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? TF_E_EXIST : TF_E_IO;
}

static int
bind_socket(struct ctl *ctl)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct group *g = getgrnam("tokenfactory");

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", ctl->path);
	if (unlink(ctl->path) != 0 && errno != ENOENT)
		return TF_E_IO;
	ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* the mode before the bind: there is no moment in which others could connect */
	if (ctl->fd < 0 || fchmod(ctl->fd, 0660) != 0 ||
	    bind(ctl->fd, (const struct sockaddr *)&sun, sizeof sun) != 0 ||
	    chmod(ctl->path, 0660) != 0)
		return TF_E_IO;
	if (g != NULL) {
		ctl->has_group = true;
		ctl->group = g->gr_gid;
		/* a daemon outside the group leaves it to its own */
		if (chown(ctl->path, (uid_t)-1, g->gr_gid) != 0)
			tf_log(TF_DEBUG, "ctl", NULL, "group unchanged error=%s",
			    tf_log_q(tf_cspan(strerror(errno))));
	}
	return listen(ctl->fd, BACKLOG) == 0 ? 0 : TF_E_IO;
}

/* Who the daemons of this host run as, where the packages made users for them. */
static void
find_fellows(struct ctl *ctl)
{
	static const char *const names[CTL_FELLOWS] = { "tf-billing", "tf-gateway", "tf-router", "tf-stored", "tf-worker" };
	struct passwd pw, *found;
	char buf[4096];

	for (size_t i = 0; i < CTL_FELLOWS; i++) {
		found = NULL;
		if (getpwnam_r(names[i], &pw, buf, sizeof buf, &found) == 0 && found != NULL)
			ctl->fellows[ctl->n_fellows++] = found->pw_uid;
	}
}

static int
copy_options(struct ctl *ctl, const struct ctl_options *opt)
{
	ctl->opt = *opt;
	ctl->opt.run_dir = NULL;
	ctl->opt.name = strdup(opt->name);
	ctl->opt.daemon = strdup(opt->daemon);
	ctl->opt.wire = strdup(opt->wire != NULL ? opt->wire : "");
	return ctl->opt.name == NULL || ctl->opt.daemon == NULL || ctl->opt.wire == NULL ?
	    TF_E_NOMEM :
	    0;
}

int
ctl_open(struct ev_loop *loop, const struct ctl_options *opt, struct ctl **out)
{
	struct ctl *ctl = calloc(1, sizeof *ctl);
	char path[256];
	int r;

	*out = NULL;
	if (ctl == NULL)
		return TF_E_NOMEM;
	ctl->loop = loop;
	ctl->fd = ctl->lock = -1;
	ctl->since_ms = tf_mono_ms();
	tf_list_init(&ctl->conns);
	tf_list_init(&ctl->reqs);
	find_fellows(ctl);
	r = ctl_path(opt->run_dir, opt->name, path, sizeof path) != 0 ? TF_E_INVAL :
									copy_options(ctl, opt);
	if (r == 0 && (ctl->path = strdup(path)) == NULL)
		r = TF_E_NOMEM;
	if (r == 0 && opt->tell)
		r = ctl_tell_open(&ctl->tell, loop, opt->run_dir);
	if (r == 0)
		r = take_lock(ctl);
	if (r == 0)
		r = bind_socket(ctl);
	if (r != 0 && ctl->fd >= 0) {
		close(ctl->fd);
		ctl->fd = -1;
	}
	if (r == 0) {
		ev_fd_init(&ctl->accept, loop, ctl->fd, on_accept, ctl);
		r = ev_fd_watch(&ctl->accept, EV_FD_READ);
	}
	if (r != 0)
		ctl_close(&ctl);
	*out = ctl;
	return r;
}

static void
ctl_free(void *p)
{
	struct ctl *ctl = p;

	free((void *)(uintptr_t)ctl->opt.name);
	free((void *)(uintptr_t)ctl->opt.daemon);
	free((void *)(uintptr_t)ctl->opt.wire);
	free(ctl->path);
	free(ctl);
}

void
ctl_close(struct ctl **ctlp)
{
	struct ctl *ctl = *ctlp;
	struct tf_node *e;

	if (ctl == NULL)
		return;
	*ctlp = NULL;
	while ((e = tf_list_first(&ctl->conns)) != NULL)
		ctl_conn_close(TF_CONTAINER(e, struct ctl_conn, node));
	ctl_tell_close(&ctl->tell);
	ctl_reqs_leave(ctl);
	if (ctl->fd >= 0) {
		ev_fd_watch(&ctl->accept, 0);
		close(ctl->fd);
		unlink(ctl->path);
	}
	if (ctl->lock >= 0)
		close(ctl->lock);
	ev_free_later(ctl->loop, ctl, ctl_free);
}
