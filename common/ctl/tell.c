/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells billingd of acts, through its control socket and without ever blocking: one at a time, in order. Who gave the
 * command hears of its end when billingd has answered. When billingd cannot be asked that end comes at once, with
 * a remark; the act waits here and is told again until it is answered. The act's id makes it one row.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/ctl/inside.h"

#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 30000
#define ANSWER_LINE_MAX 8192
#define AWAY "billingd does not answer: its audit log is told of this when it does"

struct ctl_telling {
	struct tf_node node;
	struct ctl_req *req; /* who waits; NULL: nobody any more */
	char *what;          /* for the log */
	struct tf_buf line;
};

static void begin(struct ctl_tell *t);

static void
telling_free(struct ctl_telling *a)
{
	tf_buf_free(&a->line);
	free(a->what);
	free(a);
}

static void
release(struct ctl_telling *a, const char *remark)
{
	struct ctl_req *req = a->req;

	a->req = NULL;
	if (req != NULL)
		ctl_recorded(req, remark);
}

/* The oldest is over: it is in the trail, or refusal says why it never will be. */
static void
over(struct ctl_tell *t, const char *refusal)
{
	struct ctl_telling *a = TF_CONTAINER(tf_list_pop(&t->acts), struct ctl_telling, node);
	char remark[512];

	if (refusal != NULL) {
		tf_log(TF_ERROR, "audit", NULL, "the audit log does not take an act act=%s reason=%s", tf_log_q(tf_cspan(a->what)),
		    tf_log_q(tf_cspan(refusal)));
		snprintf(remark, sizeof remark, "the audit log did not take this: %s", refusal);
	}
	release(a, refusal != NULL ? remark : NULL);
	telling_free(a);
}

/* ---- the connection ------------------------------------------------------------------------ */

static void
hang_up(struct ctl_tell *t)
{
	if (t->fd < 0)
		return;
	ev_fd_watch(&t->io, 0);
	close(t->fd);
	t->fd = -1;
	t->sent = 0;
	tf_buf_reset(&t->in);
}

/* Nobody is kept waiting for billingd; another try comes later. */
static void
away(struct ctl_tell *t)
{
	struct tf_node *e, *tmp;

	hang_up(t);
	ev_timer_set(&t->timer, t->pause_ms);
	t->pause_ms = t->pause_ms * 2 < PAUSE_MAX_MS ? t->pause_ms * 2 : PAUSE_MAX_MS;
	TF_LIST_EACH(&t->acts, e, tmp)
		release(TF_CONTAINER(e, struct ctl_telling, node), AWAY);
}

/* True: the line was the end of an answer, and refusal is empty or the reason of its no. */
static bool
take_line(struct tf_span line, char *refusal, size_t size)
{
	struct tf_buf scratch = { 0 };
	struct tf_span v, text;

	refusal[0] = '\0';
	if (js_valid(line) == 0 && js_member(line, "row", &v))
		return false;
	if (js_valid(line) == 0 && js_member(line, "end", &v))
		return true;
	snprintf(refusal, size, "its answer makes no sense");
	if (js_valid(line) == 0 && js_member(line, "error", &v) && js_type(v) == JS_OBJECT && js_member(v, "message", &v) &&
	    js_str(v, &scratch, &text) == 0)
		snprintf(refusal, size, TF_SPAN_FMT, TF_SPAN_ARG(text));
	tf_buf_free(&scratch);
	return true;
}

/* What has come. False: the connection is over. */
static bool
take(struct ctl_tell *t)
{
	char refusal[400];
	const char *nl;
	ssize_t k;
	bool end;

	if (tf_buf_reserve(&t->in, 1024) != 0)
		return false;
	k = recv(t->fd, t->in.p + t->in.n, t->in.cap - t->in.n, 0);
	if (k <= 0)
		return k < 0 && (errno == EAGAIN || errno == EINTR);
	t->in.n += (size_t)k;
	while ((nl = t->in.n > 0 ? memchr(t->in.p, '\n', t->in.n) : NULL) != NULL) {
		end = take_line(tf_span(t->in.p, (size_t)(nl - t->in.p)), refusal, sizeof refusal);
		tf_buf_shift(&t->in, (size_t)(nl - t->in.p) + 1);
		if (!end)
			continue;
		if (tf_list_first(&t->acts) == NULL || t->sent < t->out.n)
			return false; /* an answer to nothing */
		t->pause_ms = PAUSE_MIN_MS;
		over(t, refusal[0] != '\0' ? refusal : NULL);
		begin(t);
		return true;
	}
	return t->in.n <= ANSWER_LINE_MAX;
}

/* False: the connection is over. */
static bool
put(struct ctl_tell *t)
{
	while (t->sent < t->out.n) {
		ssize_t k = send(t->fd, t->out.p + t->sent, t->out.n - t->sent, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return errno == EAGAIN;
		t->sent += (size_t)k;
	}
	return true;
}

static void
on_io(struct ev_fd *f, int what, void *arg)
{
	struct ctl_tell *t = arg;

	(void)f;
	if (!put(t) || ((what & EV_FD_READ) != 0 && !take(t))) {
		away(t);
		return;
	}
	if (t->fd >= 0)
		ev_fd_watch(&t->io, t->sent < t->out.n ? EV_FD_READ | EV_FD_WRITE : EV_FD_READ);
}

static int
dial(struct ctl_tell *t)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", t->path);
	t->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0)
		return TF_E_IO;
	/* a local socket connects at once or not at all */
	if (connect(t->fd, (const struct sockaddr *)&sun, sizeof sun) != 0) {
		close(t->fd);
		t->fd = -1;
		return TF_E_IO;
	}
	ev_fd_init(&t->io, t->loop, t->fd, on_io, t);
	return 0;
}

/* Sends the oldest; hangs up when there is none. */
static void
begin(struct ctl_tell *t)
{
	struct tf_node *e = tf_list_first(&t->acts);

	ev_timer_del(&t->timer);
	t->sent = 0;
	tf_buf_reset(&t->out);
	if (e == NULL) {
		hang_up(t);
		return;
	}
	if ((t->fd < 0 && dial(t) != 0) ||
	    tf_buf_addspan(&t->out, tf_buf_span(&TF_CONTAINER(e, struct ctl_telling, node)->line)) != 0 || !put(t) ||
	    ev_fd_watch(&t->io, t->sent < t->out.n ? EV_FD_READ | EV_FD_WRITE : EV_FD_READ) != 0) {
		away(t);
		return;
	}
	ev_timer_set(&t->timer, CTL_TELL_MS);
}

static void
on_timer(void *arg)
{
	struct ctl_tell *t = arg;

	if (t->fd >= 0)
		away(t);
	else
		begin(t);
}

/* ---- acts ---------------------------------------------------------------------------------- */

static struct ctl_telling *
telling_new(struct ctl_req *req, const struct ctl_act *a)
{
	struct ctl_telling *out = calloc(1, sizeof *out);
	char id[TF_ID_TEXT + 1], what[CTL_ACTOR_MAX + CTL_SUBJECT_MAX + 100];
	struct js_w w;

	if (out == NULL)
		return NULL;
	out->req = req;
	snprintf(what, sizeof what, "%s: %s %s", a->actor, a->action, a->subject);
	out->what = strdup(what);
	tf_id_text(a->id, id);
	js_w_init(&w, &out->line);
	js_w_object(&w);
	js_w_kcstr(&w, "cmd", "audit record");
	js_w_key(&w, "args");
	js_w_object(&w);
	js_w_kcstr(&w, "id", id);
	js_w_ki64(&w, "at_ms", a->at_ms);
	js_w_kcstr(&w, "actor", a->actor);
	js_w_kcstr(&w, "action", a->action);
	js_w_kcstr(&w, "subject", a->subject);
	js_w_kstr(&w, "detail", a->detail);
	js_w_object_end(&w);
	js_w_object_end(&w);
	if (out->what != NULL && js_w_done(&w) == 0 && tf_buf_addc(&out->line, '\n') == 0)
		return out;
	telling_free(out);
	return NULL;
}

void
ctl_tell(struct ctl_tell *t, struct ctl_req *req, const struct ctl_act *a)
{
	struct ctl_telling *new = telling_new(req, a);

	if (new == NULL) {
		ctl_recorded(req, "without memory, the audit log was not told of this");
		return;
	}
	if (t->acts.n >= CTL_ACTS_MAX) {
		hang_up(t);
		over(t, "too many acts wait for billingd");
	}
	tf_list_append(&t->acts, &new->node);
	if (t->fd < 0)
		begin(t);
}

int
ctl_tell_open(struct ctl_tell *t, struct ev_loop *loop, const char *run_dir)
{
	char path[256];
	int rc = ctl_path(run_dir, "billingd", path, sizeof path);

	t->loop = loop;
	t->fd = -1;
	t->pause_ms = PAUSE_MIN_MS;
	tf_list_init(&t->acts);
	ev_timer_init(&t->timer, loop, on_timer, t);
	if (rc != 0)
		return rc;
	t->path = strdup(path);
	return t->path != NULL ? 0 : TF_E_NOMEM;
}

void
ctl_tell_close(struct ctl_tell *t)
{
	struct tf_node *e;

	if (t->path == NULL)
		return;
	ev_timer_del(&t->timer);
	hang_up(t);
	while ((e = tf_list_first(&t->acts)) != NULL)
		over(t, "the daemon ended before billingd could be told");
	tf_buf_free(&t->out);
	tf_buf_free(&t->in);
	free(t->path);
	t->path = NULL;
}
