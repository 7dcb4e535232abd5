/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime's answer as its bytes come: what kind it is, collecting or reading it, and how it may end. */
#include "config.h"

#include <assert.h>
#include <string.h>

#include "common/dialect/xlate.h"

#define ERROR_BODY_MAX (64u << 10)
#define ANSWER_MAX (64u << 20) /* largest whole answer of a runtime, bytes */

/* May answers be passed on as they are? */
static bool
raw_answers(const struct dl_xlate *x)
{
	return xlate_same(x) && x->answer == x->surface && x->stop == NULL && dl_undo_idle(x->undo) &&
	    x->surface->raw_answer_ok(&x->head, x->conf.quirks);
}

static bool
contains(struct tf_span s, const char *what)
{
	return s.n > 0 && memmem(s.p, s.n, what, strlen(what)) != NULL;
}

void
dl_xlate_head(struct dl_xlate *x, int status, struct tf_span content_type, uint32_t retry_after_s)
{
	if (x->run != NULL) {
		dl_run_head(x->run, status, content_type, retry_after_s);
		return;
	}
	assert(!x->given);
	xlate_drop_answer(x);
	memset(&x->facts, 0, sizeof x->facts);
	x->facts.tail = SIZE_MAX;
	x->facts.boundary = true;
	x->counted = x->thought = 0;
	x->echoed = x->head.flags & DL_HEAD_ECHO ? x->head.prompt_bytes * x->head.n : 0;
	x->known = x->prompt_known = false;
	if (x->undo != NULL)
		dl_undo_reset(x->undo);
	if (x->stop != NULL)
		dl_stop_reset(x->stop);
	if (x->recall != NULL)
		dl_recall_reset(x->recall);
	x->status = status;
	x->retry_after_s = retry_after_s;
	if (status < 200 || status > 299)
		x->mode = MODE_ERROR;
	else if (contains(content_type, "event-stream"))
		x->mode = MODE_EVENTS;
	else if (contains(content_type, "json"))
		x->mode = MODE_JSON;
	else
		x->mode = MODE_SNIFF;
}

static bool
blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Which it is decides the first byte that is not white space. */
static void
sniff(struct dl_xlate *x, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (blank(p[i]))
			continue;
		x->mode = p[i] == '{' ? MODE_JSON : MODE_EVENTS;
		return;
	}
}

static int
begin_answer(struct dl_xlate *x)
{
	struct dl_dec_conf dc = {
		.quirks = x->conf.quirks,
		.n = x->head.n,
		.one_call = (x->head.flags & DL_HEAD_ONE_CALL) != 0,
		.asked_json = x->mode == MODE_JSON,
		.rid = x->conf.rid,
		.emit = xlate_decoded,
		.arg = x,
	};
	struct dl_enc_conf ec = {
		.model = x->conf.asked,
		.kept = tf_buf_span(&x->kept),
		.include_usage = x->head.include_usage,
		.legacy = (x->head.flags & DL_HEAD_LEGACY) != 0,
		.signs = x->runtime->signs,
		.thinking = (x->head.flags & DL_HEAD_THINKING) != 0,
		.seal_key = x->conf.seal ? x->conf.seal_key : NULL,
		.prompt = dl_prompt_estimate(&x->head),
		.rid = x->conf.rid,
	};

	if (x->dec == NULL)
		x->dec = x->runtime->dec_new(&dc);
	if (x->enc == NULL)
		x->enc = x->answer->enc_new(&ec);
	if (x->raw == NULL && raw_answers(x)) {
		x->raw = x->surface->raw_new(&ec);
		if (x->raw == NULL)
			return TF_E_NOMEM;
	}
	return x->dec != NULL && x->enc != NULL ? 0 : TF_E_NOMEM;
}

static int
collect(struct dl_xlate *x, const char *p, size_t n)
{
	size_t max = x->mode == MODE_ERROR ? ERROR_BODY_MAX : ANSWER_MAX;

	if (x->body.n + n <= max)
		return tf_buf_append(&x->body, p, n);
	if (x->mode != MODE_ERROR)
		xlate_unreadable(x);
	return 0; /* the beginning of an error says enough */
}

static int
events(struct dl_xlate *x, const char *p, size_t n)
{
	int r = begin_answer(x);

	/* white space from before it was known what this is */
	if (r == 0 && x->body.n > 0)
		r = dl_sse_feed(&x->sse, x->body.p, x->body.n, xlate_sse, x);
	tf_buf_reset(&x->body);
	if (r == 0)
		r = dl_sse_feed(&x->sse, p, n, xlate_sse, x);
	if (r == TF_E_FULL || r == TF_E_RANGE) {
		xlate_unreadable(x);
		r = 0;
	}
	if (x->dec != NULL && x->runtime->dec_state(x->dec) != DL_GOING)
		x->facts.finished = true;
	return r;
}

int
dl_xlate_feed(struct dl_xlate *x, const char *p, size_t n, struct tf_buf *out)
{
	int r;

	if (x->run != NULL)
		return dl_run_feed(x->run, tf_span(p, n), out);
	x->out = out;
	x->facts.tail = x->facts.finished && n > 0 ? out->n : SIZE_MAX;
	if (x->facts.fault.err != 0 || x->facts.complete || n == 0)
		return 0;
	if (x->mode == MODE_SNIFF || x->mode == MODE_NONE)
		sniff(x, p, n);
	if (x->mode != MODE_EVENTS)
		return collect(x, p, n);
	r = events(x, p, n);
	if (x->facts.tail == out->n)
		x->facts.tail = SIZE_MAX;
	xlate_usage(x);
	return r;
}

static int
whole_raw(struct dl_xlate *x)
{
	struct dl_raw_answer a;
	size_t from = x->out->n;
	int r = x->surface->raw_response(x->raw, x->dec, tf_buf_span(&x->body), x->out, &a);

	if (r != 1)
		return r;
	x->facts.finish = dl_finish_name(a.finish);
	x->known = true;
	x->facts.usage = a.usage;
	x->given = x->facts.content = x->facts.finished = x->facts.complete = true;
	x->facts.object = from;
	x->facts.object_n = x->out->n - from;
	return 1;
}

/* A whole answer of the runtime, for either kind of client. */
static int
whole(struct dl_xlate *x)
{
	size_t lead = 0;
	int r = begin_answer(x);

	while (lead < x->body.n && blank(x->body.p[lead]))
		lead++;
	tf_buf_shift(&x->body, lead);
	while (x->body.n > 0 && blank(x->body.p[x->body.n - 1]))
		x->body.n--;
	if (r == 0 && x->raw != NULL && !x->head.stream) {
		size_t from = x->out->n;

		r = whole_raw(x);
		if (r == 1) {
			x->facts.tail = from;
			xlate_usage(x);
			return 0;
		}
	}
	/* pieces of it may become parts of events, where a line end would cut them */
	for (size_t i = 0; x->head.stream && i < x->body.n; i++)
		if (x->body.p[i] == '\n' || x->body.p[i] == '\r')
			x->body.p[i] = ' ';
	if (r == 0)
		r = x->runtime->dec_response(x->dec, tf_buf_span(&x->body));
	if (r == 0 && x->facts.fault.err == 0)
		r = xlate_complete(x);
	if (r == TF_E_INVAL || r == TF_E_FULL || r == TF_E_RANGE) {
		xlate_unreadable(x);
		r = 0;
	}
	xlate_usage(x);
	return r;
}

int
dl_xlate_end(struct dl_xlate *x, struct tf_buf *out)
{
	struct dl_fault f;
	int r = 0;

	if (x->run != NULL)
		return dl_run_end(x->run, out);
	x->out = out;
	x->facts.tail = SIZE_MAX;
	if (x->facts.fault.err != 0 || x->facts.complete)
		return 0;
	switch (x->mode) {
	case MODE_JSON:
		return whole(x);
	case MODE_ERROR:
		/* a redirect, or anything else that is neither answer nor error, has no words for
		 * the client */
		if (x->status < 400)
			tf_buf_reset(&x->body);
		dl_upstream_fault(
		    x->status, tf_buf_span(&x->body), x->retry_after_s, x->conf.quirks, &f);
		xlate_fail(x, &f);
		return 0;
	case MODE_EVENTS:
		r = begin_answer(x);
		if (r == 0)
			r = dl_sse_end(&x->sse, xlate_sse, x);
		if (r == 0 && x->facts.fault.err == 0)
			r = x->runtime->dec_end(x->dec);
		if (r == 0)
			r = xlate_complete(x);
		xlate_usage(x);
		return r;
	default:
		xlate_unreadable(x);
		return 0;
	}
}

bool
dl_xlate_wants(const struct dl_xlate *x, struct tf_span *url)
{
	return x->run != NULL && dl_run_wants(x->run, url);
}

int
dl_xlate_fetched(struct dl_xlate *x, struct tf_span bytes, struct tf_buf *out)
{
	return x->run != NULL ? dl_run_fetched(x->run, bytes, out) : 0;
}

int
dl_xlate_broken(struct dl_xlate *x, int err, struct tf_buf *out)
{
	struct dl_fault f;

	if (x->run != NULL)
		return dl_run_broken(x->run, err, out);
	x->out = out;
	x->facts.tail = SIZE_MAX;
	if (x->facts.fault.err != 0 || x->facts.complete)
		return 0;
	if (x->mode == MODE_EVENTS && x->dec != NULL && x->runtime->dec_state(x->dec) != DL_GOING)
		return xlate_complete(x);
	dl_fault_set(&f, err, NULL, NULL);
	f.retryable = true;
	xlate_fail(x, &f);
	xlate_usage(x);
	return 0;
}

int
dl_xlate_cut(struct dl_xlate *x, struct tf_buf *out)
{
	int r;

	/* its answers have no length to cut */
	if (x->run != NULL)
		return dl_run_broken(x->run, TF_E_UPSTREAM_ERROR, out);
	x->out = out;
	x->facts.tail = SIZE_MAX;
	if (x->facts.fault.err != 0 || x->facts.complete)
		return 0;
	if (x->mode != MODE_EVENTS) {
		xlate_unreadable(x);
		return 0;
	}
	r = begin_answer(x);
	if (r == 0)
		r = x->runtime->dec_cut(x->dec);
	if (r == 0 && x->head.stream && x->facts.fault.err == 0)
		r = x->answer->enc_flush(x->enc, x->out);
	return r == 0 ? xlate_complete(x) : r;
}
