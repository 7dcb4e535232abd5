/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operator's connection: lines in, answers out, one request at a time. It reads no
 * further request until the answer of the last is sent, so a client that does not read
 * costs at most one answer.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ctl/conn.h"

#define GROUPS_MAX 256 /* of a peer that are looked at */
#define TOO_LONG \
	"{\"error\":{\"code\":\"usage\",\"message\":\"the request line is longer than 64 KiB\"}}"

static void
conn_free(void *p)
{
	struct ctl_conn *c = p;

	tf_buf_free(&c->in);
	tf_buf_free(&c->out);
	free(c);
}

void
ctl_conn_close(struct ctl_conn *c)
{
	int fd = ev_fd_get(&c->fd);

	if (c->req != NULL)
		ctl_req_orphan(c->req);
	c->req = NULL;
	tf_list_remove(&c->ctl->conns, &c->node);
	ev_timer_del(&c->idle);
	ev_fd_watch(&c->fd, 0);
	close(fd);
	ev_free_later(c->ctl->loop, c, conn_free);
	c->ctl = NULL;
}

size_t
ctl_conn_waiting(const struct ctl_conn *c)
{
	return c->out.n - c->sent;
}

void
ctl_conn_put(struct ctl_conn *c, struct tf_span line)
{
	if (tf_buf_reserve(&c->out, line.n + 1) != 0) {
		c->last = true; /* the client sees an answer without an end */
		return;
	}
	tf_buf_addspan(&c->out, line);
	tf_buf_addc(&c->out, '\n');
	ev_fd_watch(&c->fd, EV_FD_WRITE);
}

void
ctl_conn_answered(struct ctl_conn *c)
{
	ev_fd_watch(&c->fd, EV_FD_WRITE); /* its callback goes on with the next line */
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* 0 when everything is sent, TF_E_AGAIN when the peer must read first, TF_E_CLOSED. */
static int
flush(struct ctl_conn *c)
{
	ssize_t k;

	while (c->sent < c->out.n) {
		k = send(ev_fd_get(&c->fd), c->out.p + c->sent, c->out.n - c->sent, MSG_NOSIGNAL);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return errno == EAGAIN ? TF_E_AGAIN : TF_E_CLOSED;
		c->sent += (size_t)k;
		ev_timer_set(&c->idle, CTL_IDLE_MS);
	}
	/* it may have held a minted key; and a connection at rest keeps little memory */
	tf_wipe(c->out.p, c->out.n);
	c->sent = 0;
	if (c->out.cap > CTL_LINE_MAX)
		tf_buf_free(&c->out);
	tf_buf_reset(&c->out);
	return 0;
}

static int
fill(struct ctl_conn *c)
{
	ssize_t k;

	if (tf_buf_reserve(&c->in, 4096) != 0)
		return TF_E_NOMEM;
	k = recv(ev_fd_get(&c->fd), c->in.p + c->in.n, c->in.cap - c->in.n, 0);
	if (k < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : TF_E_CLOSED;
	c->eof = k == 0;
	c->in.n += (size_t)k;
	ev_timer_set(&c->idle, CTL_IDLE_MS);
	return 0;
}

/* ---- what comes next ---------------------------------------------------------------------- */

/* Serves the next whole line. False when there is none, or the connection is gone. */
static bool
serve_line(struct ctl_conn *c)
{
	const char *nl = c->in.n > 0 ? memchr(c->in.p, '\n', c->in.n) : NULL;
	size_t n = nl != NULL ? (size_t)(nl - c->in.p) : c->in.n;

	if (n > CTL_LINE_MAX) {
		ctl_conn_put(c, TF_SPAN(TOO_LONG));
		c->last = true;
		tf_buf_reset(&c->in);
		return true;
	}
	if (nl == NULL)
		return false;
	ctl_dispatch(c, tf_span(c->in.p, n));
	if (c->ctl == NULL)
		return false;
	tf_buf_shift(&c->in, n + 1);
	return true;
}

/* Goes on until it must wait: for the peer to read, for the command, or for a line. */
static void
step(struct ctl_conn *c)
{
	int r;

	do {
		r = flush(c);
		if (r == TF_E_CLOSED || (r == 0 && c->last)) {
			ctl_conn_close(c);
			return;
		}
		if (r == TF_E_AGAIN || c->req != NULL) {
			ev_fd_watch(&c->fd, r == TF_E_AGAIN ? EV_FD_WRITE : 0);
			return;
		}
	} while (serve_line(c));
	if (c->ctl == NULL)
		return;
	if (c->eof)
		ctl_conn_close(c);
	else
		ev_fd_watch(&c->fd, EV_FD_READ);
}

static void
on_ready(struct ev_fd *f, int what, void *arg)
{
	struct ctl_conn *c = arg;

	(void)f;
	if ((what & EV_FD_READ) && fill(c) != 0) {
		ctl_conn_close(c);
		return;
	}
	step(c);
}

static void
on_idle(void *arg)
{
	struct ctl_conn *c = arg;

	if (c->req != NULL && ctl_conn_waiting(c) == 0)
		ev_timer_set(&c->idle, CTL_IDLE_MS); /* we are the slow side */
	else
		ctl_conn_close(c);
}

/* ---- a new one ---------------------------------------------------------------------------- */

/* Is the peer in the group, by its primary or a supplementary one? */
static bool
in_group(int fd, unsigned gid, const struct ucred *cred)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof groups;

	if (cred->gid == gid)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
		return false;
	for (size_t i = 0; i < len / sizeof *groups; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

int
ctl_conn_new(struct ctl *ctl, int fd)
{
	struct ctl_conn *c = calloc(1, sizeof *c);
	struct ucred cred;
	socklen_t len = sizeof cred;

	if (c == NULL)
		return TF_E_NOMEM;
	/* who cannot be told is nobody */
	c->uid = (unsigned)-1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0) {
		c->uid = cred.uid;
		c->admin = cred.uid == 0 || cred.uid == geteuid();
		c->read = c->admin || (ctl->has_group && in_group(fd, ctl->group, &cred));
		c->fellow = c->admin;
		for (size_t i = 0; i < ctl->n_fellows; i++)
			c->fellow |= ctl->fellows[i] == cred.uid;
	}
	c->ctl = ctl;
	ev_fd_init(&c->fd, ctl->loop, fd, on_ready, c);
	ev_timer_init(&c->idle, ctl->loop, on_idle, c);
	if (ev_fd_watch(&c->fd, EV_FD_READ) != 0) {
		conn_free(c);
		return TF_E_IO;
	}
	ev_timer_set(&c->idle, CTL_IDLE_MS);
	tf_list_append(&ctl->conns, &c->node);
	return 0;
}
