/* SPDX-License-Identifier: Apache-2.0 */
/* The asking side: blocking, bounded in time and size. For keyctl and tests; no loop. */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/ctl/ctl.h"

struct asking {
	const struct ctl_call *call;
	int fd;
	struct tf_buf buf;
	char *message;
	size_t size;
};

static enum ctl_err say(struct asking *a, enum ctl_err err, const char *fmt, ...) TF_PRINTF(3, 4);

static enum ctl_err
say(struct asking *a, enum ctl_err err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->message, a->size, fmt, ap);
	va_end(ap);
	return err;
}

/* ---- the socket --------------------------------------------------------------------------- */

static enum ctl_err
wait_for(struct asking *a, short events)
{
	uint64_t end = tf_mono_ms() + a->call->timeout_ms, now;
	struct pollfd p = { .fd = a->fd, .events = events };

	while ((now = tf_mono_ms()) < end) {
		int r = poll(&p, 1, end - now > 60000 ? 60000 : (int)(end - now));

		if (r > 0)
			return CTL_OK;
		if (r < 0 && errno != EINTR)
			return say(a, CTL_UNREACHABLE, "%s: %s", a->call->path, strerror(errno));
	}
	return say(
	    a, CTL_UNREACHABLE, "%s: no answer within %u ms", a->call->path, a->call->timeout_ms);
}

static enum ctl_err
dial(struct asking *a)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	uint64_t end = tf_mono_ms() + a->call->timeout_ms;

	if (strlen(a->call->path) >= sizeof sun.sun_path)
		return say(a, CTL_UNREACHABLE, "%s: longer than a UNIX socket's path can be",
		    a->call->path);
	memcpy(sun.sun_path, a->call->path, strlen(a->call->path));
	a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->fd < 0)
		return say(a, CTL_FAILED, "socket: %s", strerror(errno));
	while (connect(a->fd, (const struct sockaddr *)&sun, sizeof sun) != 0) {
		/* a full backlog is the one case that waiting helps */
		if (errno != EAGAIN && errno != EINTR)
			return errno == EACCES || errno == EPERM ?
			    say(a, CTL_FORBIDDEN, "%s: %s", a->call->path, strerror(errno)) :
			    say(a, CTL_UNREACHABLE, "%s: %s", a->call->path, strerror(errno));
		if (tf_mono_ms() >= end)
			return say(a, CTL_UNREACHABLE, "%s: too busy to answer", a->call->path);
		poll(NULL, 0, 10);
	}
	return CTL_OK;
}

static enum ctl_err
send_line(struct asking *a)
{
	struct js_w w;
	enum ctl_err err;
	size_t sent = 0;

	js_w_init(&w, &a->buf);
	js_w_object(&w);
	js_w_kcstr(&w, "cmd", a->call->cmd);
	if (a->call->args.n > 0)
		js_w_kraw(&w, "args", a->call->args);
	js_w_object_end(&w);
	if (js_w_done(&w) != 0 || tf_buf_addc(&a->buf, '\n') != 0)
		return say(a, CTL_FAILED, "out of memory");
	while (sent < a->buf.n) {
		ssize_t k = send(a->fd, a->buf.p + sent, a->buf.n - sent, MSG_NOSIGNAL);

		if (k > 0)
			sent += (size_t)k;
		else if (errno == EAGAIN && (err = wait_for(a, POLLOUT)) != CTL_OK)
			return err;
		else if (errno != EAGAIN && errno != EINTR)
			return say(a, CTL_UNREACHABLE, "%s: %s", a->call->path, strerror(errno));
	}
	tf_buf_reset(&a->buf);
	return CTL_OK;
}

/* ---- the answer --------------------------------------------------------------------------- */

/* {"code":..,"message":..} of the daemon becomes ours. */
static enum ctl_err
refusal(struct asking *a, struct tf_span error)
{
	struct tf_span code = { 0 }, message = { 0 }, text;
	struct tf_buf scratch = { 0 };
	enum ctl_err err = CTL_FAILED;

	js_member(error, "code", &code);
	js_member(error, "message", &message);
#define CTL_ERR(sym, number, name, help) \
	if (js_str_eq(code, name)) \
		err = CTL_##sym;
#include "common/ctl/err.def"
#undef CTL_ERR
	if (js_str(message, &scratch, &text) == 0)
		say(a, err, TF_SPAN_FMT, TF_SPAN_ARG(text));
	else
		say(a, err, "refused without a reason");
	tf_buf_free(&scratch);
	return err;
}

/* An end may say something beside. */
static void
remark(struct asking *a, struct tf_span end)
{
	struct tf_span text;
	struct tf_buf scratch = { 0 };

	if (js_type(end) == JS_OBJECT && js_member(end, "remark", &text) && js_str(text, &scratch, &text) == 0)
		(void)say(a, CTL_OK, TF_SPAN_FMT, TF_SPAN_ARG(text));
	tf_buf_free(&scratch);
}

/* One line. True when it is the last one; *err is the outcome then. */
static bool
take_line(struct asking *a, struct tf_span line, enum ctl_err *err)
{
	struct tf_span v;

	*err = CTL_OK;
	if (js_valid(line) == 0 && js_member(line, "row", &v) && js_type(v) == JS_OBJECT) {
		if (a->call->fn == NULL || a->call->fn(a->call->arg, v) == 0)
			return false;
		*err = say(a, CTL_FAILED, "stopped");
	} else if (js_valid(line) == 0 && js_member(line, "error", &v)) {
		*err = refusal(a, v);
	} else if (js_valid(line) == 0 && js_member(line, "end", &v)) {
		remark(a, v);
	} else {
		*err = say(a, CTL_FAILED,
		    "%s: the answer makes no sense; is it a daemon of this version?",
		    a->call->path);
	}
	return true;
}

static enum ctl_err
take_answer(struct asking *a)
{
	enum ctl_err err;

	for (;;) {
		size_t from = 0;
		const char *nl;
		ssize_t k;

		while ((nl = a->buf.n > from ? memchr(a->buf.p + from, '\n', a->buf.n - from) :
					       NULL) != NULL) {
			if (take_line(
				a, tf_span(a->buf.p + from, (size_t)(nl - a->buf.p) - from), &err))
				return err;
			from = (size_t)(nl - a->buf.p) + 1;
		}
		tf_buf_shift(&a->buf, from);
		if (a->buf.n > CTL_ANSWER_MAX || tf_buf_reserve(&a->buf, 65536) != 0)
			return say(a, CTL_FAILED, "%s: an endless line", a->call->path);
		if ((err = wait_for(a, POLLIN)) != CTL_OK)
			return err;
		k = recv(a->fd, a->buf.p + a->buf.n, a->buf.cap - a->buf.n, 0);
		if (k == 0)
			return say(a, CTL_UNREACHABLE,
			    "%s: the daemon left in the middle of its answer", a->call->path);
		if (k > 0)
			a->buf.n += (size_t)k;
		else if (errno != EAGAIN && errno != EINTR)
			return say(a, CTL_UNREACHABLE, "%s: %s", a->call->path, strerror(errno));
	}
}

enum ctl_err
ctl_ask(const struct ctl_call *call, char *message, size_t size)
{
	struct asking a = { .call = call, .fd = -1, .message = message, .size = size };
	enum ctl_err err;

	message[0] = '\0';
	err = dial(&a);
	if (err == CTL_OK)
		err = send_line(&a);
	if (err == CTL_OK)
		err = take_answer(&a);
	if (a.fd >= 0)
		close(a.fd);
	/* a minted key may have passed through */
	tf_wipe(a.buf.p, a.buf.cap);
	tf_buf_free(&a.buf);
	return err;
}
