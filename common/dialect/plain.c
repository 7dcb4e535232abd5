/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives a surface without turns: the runtime's answer is kept, cut into events or handed on in pieces as the
 * surface says, errors of the runtime become faults, and the facts are kept in order. Called by xlate.c only;
 * knows no surface.
 */
#include "config.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/plain.h"
#include "common/dialect/raw.h"
#include "common/dialect/sse.h"

#define ERROR_BODY_MAX (64u << 10)

#define KEPT_MAX 16 /* values of one answer */

struct kept {
	char name[64];
	const char *type;
	struct tf_buf bytes;
};

struct dl_run {
	struct dl_job job;
	const struct dl_plain *plain;
	int status;
	uint32_t retry_after_s;
	bool good;  /* the status is that of an answer */
	bool given; /* bytes of it went out */
	bool ended; /* all of it came */
	enum dl_way way;
	struct dl_sse sse;
	struct tf_buf body;
	struct tf_buf *out; /* of the call in progress */
	struct kept kept[KEPT_MAX];
	size_t nkept;
};

/* ---- for surfaces ------------------------------------------------------------------------ */

int
dl_job_fail(struct dl_job *j, const struct dl_fault *f)
{
	if (j->facts->fault.err == 0 && !j->facts->complete)
		j->facts->fault = *f;
	return TF_E_INVAL;
}

int
dl_job_refuse(struct dl_job *j, const char *param, const char *fmt, ...)
{
	char text[DL_MESSAGE_MAX];
	struct dl_fault f;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	dl_fault_set(&f, TF_E_BAD_REQUEST, param, "%s", text);
	return dl_job_fail(j, &f);
}

bool
dl_job_error(struct dl_job *j, struct tf_span answer)
{
	struct dl_fault f;
	struct tf_span v;
	bool old = js_member(answer, "object", &v) && js_str_eq(v, "error");

	if (!old && (!js_member(answer, "error", &v) || js_is_null(v)))
		return false;
	dl_upstream_fault(200, answer, 0, j->conf->quirks, &f);
	dl_job_fail(j, &f);
	return true;
}

int
dl_job_data(struct dl_job *j, struct tf_span data)
{
	if (tf_span_is(data, "[DONE]"))
		return 0;
	if (js_valid(data) != 0 || js_type(data) != JS_OBJECT) {
		j->facts->skipped++;
		return 0;
	}
	return dl_job_error(j, data) ? TF_E_INVAL : 1;
}

static bool
count(struct tf_span usage, const char *name, const char *other, uint64_t *out)
{
	struct tf_span v;

	if (!js_member(usage, name, &v) && !js_member(usage, other, &v))
		return false;
	return js_get_u64(v, out) == 0 && *out <= DL_TOKENS_MOST;
}

bool
dl_job_usage(struct dl_job *j, struct tf_span usage)
{
	struct dl_facts *f = j->facts;
	uint64_t in = 0, made = 0, total = 0;
	bool has_in = count(usage, "prompt_tokens", "input_tokens", &in);
	bool has_out = count(usage, "completion_tokens", "output_tokens", &made);

	if (!has_in && count(usage, "total_tokens", "total_tokens", &total) && total >= made) {
		has_in = true;
		in = total - made;
	}
	/* a request without a single token there cannot be: such a zero is no count */
	f->estimated = !has_in || (in == 0 && j->head->prompt_bytes > 0);
	f->usage = (struct dl_usage){ .prompt = f->estimated ? dl_prompt_estimate(j->head) : in,
		.completion = has_out ? made : 0 };
	f->out_tokens = f->usage.completion;
	return !f->estimated;
}

int
dl_job_put_usage(struct dl_job *j, struct tf_span usage, struct tf_buf *out)
{
	unsigned long long n;
	struct tf_span v;

	if (dl_job_usage(j, usage) && js_member(usage, "prompt_tokens", &v) && js_member(usage, "total_tokens", &v))
		return tf_buf_addspan(out, usage);
	n = (unsigned long long)j->facts->usage.prompt;
	return tf_buf_printf(out, "{\"prompt_tokens\":%llu,\"total_tokens\":%llu}", n, n);
}

const char *
dl_job_keep(struct dl_job *j, const char *type, const char *ext, struct tf_buf *bytes)
{
	struct dl_run *run = TF_CONTAINER(j, struct dl_run, job);
	struct kept *k = &run->kept[run->nkept];
	uint8_t secret[20];
	char hex[2 * sizeof secret + 1];

	if (run->nkept == KEPT_MAX)
		return NULL;
	run->nkept++;
	tf_random(secret, sizeof secret);
	tf_hex(secret, sizeof secret, hex);
	snprintf(k->name, sizeof k->name, "%s.%.8s", hex, ext);
	k->type = type;
	k->bytes = *bytes;
	*bytes = (struct tf_buf){ 0 };
	return k->name;
}

int
dl_job_splice(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	struct dl_target to = { .model = j->conf->model, .quirks = j->conf->quirks, .stream = j->head->stream };

	/* the options of streams are those of chat: nothing is added for one */
	to.quirks |= DL_Q_NO_STREAM_USAGE;
	return dl_raw_request(j->head, &to, body, out, j->dropped);
}

int
dl_job_others(struct tf_span answer, const char *const *names, struct tf_buf *out)
{
	struct tf_span key, value;
	struct js_iter it;
	int r = 0;

	js_iter_init(&it, answer);
	while (r == 0 && js_iter_next(&it, &key, &value)) {
		size_t i = 0;

		while (names[i] != NULL && !js_str_eq(key, names[i]))
			i++;
		if (names[i] != NULL || key.n == 0)
			continue;
		r = tf_buf_addc(out, ',');
		if (r == 0)
			r = tf_buf_addspan(out, key);
		if (r == 0)
			r = tf_buf_addc(out, ':');
		if (r == 0)
			r = tf_buf_addspan(out, value);
	}
	return r;
}

/* ---- life -------------------------------------------------------------------------------- */

struct dl_run *
dl_run_new(const struct dl_plain *plain, const struct dl_xlate_conf *conf, const struct dl_head *head,
    struct dl_facts *facts, struct tf_buf *dropped)
{
	struct dl_run *run = calloc(1, sizeof *run);

	if (run == NULL)
		return NULL;
	run->plain = plain;
	run->job = (struct dl_job){ .conf = conf, .head = head, .facts = facts, .dropped = dropped };
	run->job.state = calloc(1, plain->size > 0 ? plain->size : 1);
	if (run->job.state == NULL) {
		free(run);
		return NULL;
	}
	return run;
}

static void
drop_kept(struct dl_run *run)
{
	while (run->nkept > 0)
		tf_buf_free(&run->kept[--run->nkept].bytes);
}

bool
dl_run_kept(const struct dl_run *run, size_t i, struct dl_kept *out)
{
	if (i >= run->nkept)
		return false;
	*out = (struct dl_kept){ tf_cspan(run->kept[i].name), tf_cspan(run->kept[i].type),
		tf_buf_span(&run->kept[i].bytes) };
	return true;
}

void
dl_run_free(struct dl_run **rp)
{
	struct dl_run *run = *rp;

	*rp = NULL;
	if (run == NULL)
		return;
	if (run->plain->fini != NULL)
		run->plain->fini(&run->job);
	free(run->job.state);
	drop_kept(run);
	dl_sse_fini(&run->sse);
	tf_buf_free(&run->body);
	free(run);
}

/* ---- the request ------------------------------------------------------------------------- */

int
dl_run_request(struct dl_run *run, struct tf_span body, struct tf_buf *out)
{
	/* the catalogue says who serves what, so this is an operator's mistake, told to whom it may help */
	if (!run->plain->any_runtime && dl_dialect_family(run->job.conf->runtime) != DL_FAMILY_OPENAI)
		return dl_job_refuse(&run->job, "model", "This model's runtime does not offer this call.");
	return run->plain->request(&run->job, body, out);
}

const char *
dl_run_path(const struct dl_run *run)
{
	return run->plain->path != NULL ? run->plain->path(&run->job) : dl_dialect_path(run->job.conf->surface);
}

const char *
dl_run_request_type(const struct dl_run *run)
{
	return run->plain->request_type != NULL ? run->plain->request_type(&run->job) : "application/json";
}

const char *
dl_run_content_type(const struct dl_run *run)
{
	if (run->job.content_type != NULL)
		return run->job.content_type;
	return run->job.head->stream ? "text/event-stream; charset=utf-8" : "application/json";
}

const char *
dl_run_accept(const struct dl_run *run)
{
	if (dl_run_streams(run))
		return "text/event-stream";
	return run->plain->accept != NULL ? run->plain->accept : "application/json";
}

bool
dl_run_streams(const struct dl_run *run)
{
	return run->plain->streams != NULL ? run->plain->streams(&run->job) : run->job.head->stream;
}

bool
dl_run_live(const struct dl_run *run)
{
	return run->job.live || run->job.head->stream;
}

/* ---- the answer -------------------------------------------------------------------------- */

static void
unreadable(struct dl_run *run)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL, "The model's runtime gave an answer that cannot be read.");
	f.retryable = true;
	dl_job_fail(&run->job, &f);
}

/* What a surface's function gave becomes a fault or goes on. 0 or TF_E_NOMEM. */
static int
settle(struct dl_run *run, int r, size_t from)
{
	struct dl_facts *f = run->job.facts;

	if (r < 0 && r != TF_E_NOMEM && f->fault.err == 0)
		unreadable(run);
	run->given = run->given || run->out->n > from;
	if (f->fault.err != 0 && run->given)
		f->fault.retryable = false;
	return r == TF_E_NOMEM ? r : 0;
}

static void
complete(struct dl_run *run, size_t from)
{
	struct dl_facts *f = run->job.facts;

	if (f->fault.err != 0 || f->complete)
		return;
	f->content = f->finished = f->complete = true;
	f->tail = from;
}

void
dl_run_head(struct dl_run *run, int status, struct tf_span content_type, uint32_t retry_after_s)
{
	assert(!run->given);
	memset(run->job.facts, 0, sizeof *run->job.facts);
	run->job.facts->tail = SIZE_MAX;
	run->job.facts->boundary = true;
	run->job.content_type = NULL;
	run->job.live = false;
	run->ended = false;
	dl_sse_fini(&run->sse);
	run->sse = (struct dl_sse){ .max = run->plain->event_max };
	drop_kept(run);
	tf_buf_free(&run->body);
	run->status = status;
	run->retry_after_s = retry_after_s;
	run->good = status >= 200 && status <= 299;
	run->way = DL_WAY_WHOLE;
	if (run->good && run->plain->begin != NULL)
		run->way = run->plain->begin(&run->job, content_type);
}

static int
on_sse(void *arg, struct tf_span event, struct tf_span data)
{
	struct dl_run *run = arg;
	size_t from = run->out->n;

	if (run->job.facts->fault.err != 0 || run->job.facts->complete)
		return 0;
	return settle(run, run->plain->event(&run->job, event, data, run->out), from);
}

static int
keep(struct dl_run *run, struct tf_span piece)
{
	size_t max = run->good ? run->plain->answer_max : ERROR_BODY_MAX;

	if (piece.n <= max - run->body.n)
		return tf_buf_addspan(&run->body, piece);
	if (run->good)
		unreadable(run);
	return 0; /* the beginning of an error says enough */
}

static int
events(struct dl_run *run, int r)
{
	if (r == TF_E_FULL || r == TF_E_RANGE) {
		unreadable(run);
		r = 0;
	}
	return r;
}

int
dl_run_feed(struct dl_run *run, struct tf_span piece, struct tf_buf *out)
{
	struct dl_facts *f = run->job.facts;
	size_t from = out->n;

	run->out = out;
	f->tail = SIZE_MAX;
	if (f->fault.err != 0 || f->complete || piece.n == 0)
		return 0;
	if (!run->good || run->way == DL_WAY_WHOLE)
		return keep(run, piece);
	if (run->way == DL_WAY_EVENTS)
		return events(run, dl_sse_feed(&run->sse, piece.p, piece.n, on_sse, run));
	return settle(run, run->plain->bytes(&run->job, piece, out), from);
}

bool
dl_run_wants(const struct dl_run *run, struct tf_span *url)
{
	const struct dl_facts *f = run->job.facts;

	return run->ended && f->fault.err == 0 && !f->complete && run->plain->wants != NULL && run->plain->wants(&run->job, url);
}

int
dl_run_end(struct dl_run *run, struct tf_buf *out)
{
	struct dl_facts *f = run->job.facts;
	size_t from = out->n;
	struct dl_fault fault;
	struct tf_span url;
	int r = 0;

	run->out = out;
	f->tail = SIZE_MAX;
	if (f->fault.err != 0 || f->complete)
		return 0;
	if (!run->good) {
		/* what is neither answer nor error, as a redirect, has no words for the client */
		if (run->status < 400)
			tf_buf_reset(&run->body);
		dl_upstream_fault(run->status, tf_buf_span(&run->body), run->retry_after_s, run->job.conf->quirks, &fault);
		dl_job_fail(&run->job, &fault);
		return 0;
	}
	if (run->way == DL_WAY_EVENTS)
		r = events(run, dl_sse_end(&run->sse, on_sse, run));
	run->ended = true;
	if (r == 0 && dl_run_wants(run, &url))
		return 0;
	if (r == 0 && f->fault.err == 0)
		r = run->way == DL_WAY_WHOLE ? run->plain->whole(&run->job, tf_buf_span(&run->body), out)
					     : run->plain->end(&run->job, out);
	tf_buf_free(&run->body);
	r = settle(run, r, from);
	if (r == 0)
		complete(run, from);
	return r;
}

int
dl_run_fetched(struct dl_run *run, struct tf_span bytes, struct tf_buf *out)
{
	size_t from = out->n;
	struct tf_span url;
	int r;

	if (!dl_run_wants(run, &url))
		return 0;
	run->out = out;
	r = settle(run, run->plain->fetched(&run->job, bytes), from);
	return r < 0 || run->job.facts->fault.err != 0 || dl_run_wants(run, &url) ? r : dl_run_end(run, out);
}

int
dl_run_broken(struct dl_run *run, int err, struct tf_buf *out)
{
	struct dl_facts *f = run->job.facts;
	struct dl_fault fault;

	/* the end of an answer may have come before the end of its framing */
	if (run->good && f->finished)
		return dl_run_end(run, out);
	f->tail = SIZE_MAX;
	dl_fault_set(&fault, err, NULL, NULL);
	fault.retryable = !run->given;
	dl_job_fail(&run->job, &fault);
	return 0;
}
