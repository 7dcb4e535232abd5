/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt: the client's request on its way to the runtime, the runtime's answer on its way
 * back, and the facts that money and retries need. Chooses between RAW and decode/encode, event by
 * event. Called by workerd; knows no dialect but by its table.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/plain.h"
#include "common/dialect/raw.h"
#include "common/dialect/sse.h"
#include "common/dialect/stop.h"

#define ERROR_BODY_MAX (64u << 10)
#define ANSWER_MAX (64u << 20) /* largest whole answer of a runtime, bytes */

enum mode { MODE_NONE, MODE_SNIFF, MODE_EVENTS, MODE_JSON, MODE_ERROR };

struct dl_xlate {
	struct dl_xlate_conf conf;
	struct dl_head head;
	struct tf_buf asked, model, content_type, base_url, kept, dropped;
	const struct dl_ops *surface, *runtime;
	const struct dl_ops *answer; /* the surface, as answers have it */
	struct dl_facts facts;
	struct dl_run *run; /* of a surface without turns, which does it all */

	/* the answer being read */
	enum mode mode;
	int status;
	uint32_t retry_after_s;
	bool given; /* bytes of it went out */
	bool known; /* the runtime gave usage */
	uint64_t echoed; /* bytes of text that may still be the prompt, said again */
	bool prompt_known;       /* it gave that of the prompt, ... */
	struct dl_usage prompt;  /* ... which is this */
	struct dl_sse sse;
	struct tf_buf body;
	struct dl_stop *stop; /* strings that the runtime was not told of; NULL: none */
	struct dl_dec *dec;
	struct dl_enc *enc;
	struct dl_raw *raw; /* NULL: answers are decoded and encoded */
	bool said;          /* what was passed on last says something */
	enum dl_finish finish; /* of the first answer */
	struct dl_grammar grammar;
	struct tf_buf *out;        /* of the call in progress */
	uint64_t counted, thought; /* tokens as counted here: text and calls, reasoning */
};

static bool
same_dialect(const struct dl_xlate *x)
{
	return x->surface == x->runtime && !x->conf.canonical && x->surface->raw_request != NULL;
}

/* May answers be passed on as they are? */
static bool
raw_answers(const struct dl_xlate *x)
{
	return same_dialect(x) && x->answer == x->surface && x->stop == NULL &&
	    x->surface->raw_answer_ok(&x->head, x->conf.quirks);
}

bool
dl_xlate_streams(const struct dl_xlate *x)
{
	if (x->run != NULL)
		return dl_run_streams(x->run);
	return x->head.stream || x->conf.joined || (x->conf.quirks & DL_Q_STREAM_AND_JOIN);
}

const char *
dl_xlate_path(const struct dl_xlate *x)
{
	if (x->run != NULL)
		return dl_run_path(x->run);
	return dl_dialect_path(x->conf.runtime);
}

const char *
dl_xlate_request_type(const struct dl_xlate *x)
{
	return x->run != NULL ? dl_run_request_type(x->run) : "application/json";
}

const char *
dl_xlate_accept(const struct dl_xlate *x)
{
	if (x->run != NULL)
		return dl_run_accept(x->run);
	return dl_xlate_streams(x) ? "text/event-stream" : "application/json";
}

const char *
dl_xlate_content_type(const struct dl_xlate *x)
{
	if (x->run != NULL)
		return dl_run_content_type(x->run);
	return x->head.stream ? "text/event-stream; charset=utf-8" : "application/json";
}

bool
dl_xlate_live(const struct dl_xlate *x)
{
	return x->run != NULL ? dl_run_live(x->run) : x->head.stream;
}

struct tf_span
dl_xlate_dropped(const struct dl_xlate *x)
{
	return tf_buf_span(&x->dropped);
}

bool
dl_xlate_kept(const struct dl_xlate *x, size_t i, struct dl_kept *out)
{
	return x->run != NULL && dl_run_kept(x->run, i, out);
}

const struct dl_facts *
dl_xlate_facts(const struct dl_xlate *x)
{
	return &x->facts;
}

/* ---- life -------------------------------------------------------------------------------- */

static int on_event(void *arg, const struct dl_event *e);

static void
drop_answer(struct dl_xlate *x)
{
	if (x->dec != NULL)
		x->runtime->dec_free(&x->dec);
	if (x->enc != NULL)
		x->answer->enc_free(&x->enc);
	if (x->raw != NULL)
		x->surface->raw_free(&x->raw);
	dl_sse_fini(&x->sse);
	dl_grammar_fini(&x->grammar);
	tf_buf_free(&x->body);
}

void
dl_xlate_free(struct dl_xlate **xp)
{
	struct dl_xlate *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	drop_answer(x);
	dl_run_free(&x->run);
	tf_buf_free(&x->asked);
	tf_buf_free(&x->model);
	tf_buf_free(&x->base_url);
	tf_buf_free(&x->kept);
	tf_buf_free(&x->content_type);
	tf_buf_free(&x->dropped);
	dl_stop_free(&x->stop);
	free(x);
}

struct dl_xlate *
dl_xlate_new(const struct dl_xlate_conf *conf, const struct dl_head *head)
{
	struct dl_xlate *x = calloc(1, sizeof *x);
	const struct dl_plain *plain;

	if (x == NULL)
		return NULL;
	x->conf = *conf;
	x->head = *head;
	/* a server of both APIs is asked in the caller's own */
	if (conf->surface == DL_OPENAI_COMPLETIONS && conf->runtime == DL_OPENAI_CHAT && (conf->can & DL_NEED_COMPLETIONS))
		x->conf.runtime = DL_OPENAI_COMPLETIONS;
	x->surface = dl_ops(conf->surface);
	x->runtime = dl_ops(x->conf.runtime);
	x->answer = dl_ops(conf->surface == head->surface ? dl_answer_dialect(head) : conf->surface);
	x->facts.tail = SIZE_MAX;
	x->facts.boundary = true;
	assert(x->surface != NULL && x->runtime != NULL);
	if (tf_buf_addspan(&x->asked, conf->asked) < 0 ||
	    tf_buf_addspan(&x->model, conf->model) < 0 || tf_buf_addspan(&x->content_type, conf->content_type) < 0 ||
	    tf_buf_cstr(&x->content_type) == NULL || tf_buf_addspan(&x->base_url, conf->base_url) < 0) {
		dl_xlate_free(&x);
		return NULL;
	}
	x->conf.asked = tf_buf_span(&x->asked);
	x->conf.model = tf_buf_span(&x->model);
	x->conf.content_type = tf_buf_span(&x->content_type); /* terminated */
	x->conf.base_url = tf_buf_span(&x->base_url);
	plain = head->flags & DL_HEAD_COUNT ? &dl_count_plain : x->surface->plain;
	if (plain == NULL)
		return x;
	x->run = dl_run_new(plain, &x->conf, &x->head, &x->facts, &x->dropped);
	if (x->run == NULL)
		dl_xlate_free(&x);
	return x;
}

/* ---- the request ------------------------------------------------------------------------- */

/* What the answer needs of the request. */
static int
keep(struct dl_xlate *x, struct tf_span body)
{
	tf_buf_reset(&x->kept);
	return x->answer->request_keep != NULL ? x->answer->request_keep(body, &x->head, &x->kept) : 0;
}

/* Stop strings beyond those that the runtime takes are looked for here. */
static int
watch_stops(struct dl_xlate *x, const struct dl_request *rq)
{
	bool hosted = x->conf.runtime == DL_OPENAI_CHAT && (x->conf.quirks & DL_Q_HOSTED);

	return dl_stop_new(rq->sampling.stop, hosted ? DL_STOPS_HOSTED : x->runtime->stops, on_event, x, &x->stop);
}

static int
translate_request(
    struct dl_xlate *x, const struct dl_target *to, struct tf_span whole, struct tf_buf *out)
{
	struct tf_span body = tf_span(whole.p + x->head.root.start, x->head.root.end - x->head.root.start);
	struct dl_request rq;
	int r;

	dl_request_init(&rq, x->conf.surface);
	rq.native = x->conf.surface == x->conf.runtime;
	rq.seal_key = x->conf.seal ? x->conf.seal_key : NULL;
	rq.blind = (x->head.flags & DL_HEAD_BLIND) != 0;
	r = x->surface->request_decode(body, &rq, &x->facts.fault);
	if (r == 0 && rq.dropped.n > 0)
		r = dl_note_dropped(&x->dropped, tf_buf_span(&rq.dropped));
	if (r == 0)
		r = watch_stops(x, &rq);
	if (r == 0)
		r = x->runtime->request_encode(&rq, to, out, &x->dropped, &x->facts.fault);
	dl_request_fini(&rq);
	/* members of another API have their places in the body still; one encoder knows itself what it left out */
	if (r == 0 && x->conf.surface != x->conf.runtime && x->conf.runtime != DL_OPENAI_RESPONSES)
		r = dl_raw_dropped(&x->head, whole, &x->dropped);
	return r;
}

/* How long an answer may get that nobody gave a cap: the estimate of the prompt may be short by half. */
static uint64_t
longest(const struct dl_xlate *x)
{
	uint64_t prompt = dl_prompt_estimate(&x->head) * 3 / 2, most = x->conf.model_output;
	uint64_t room = x->conf.model_context > prompt ? x->conf.model_context - prompt : x->conf.model_context / 8 + 1;

	return x->conf.model_context > 0 && (most == 0 || most > room) ? room : most;
}

int
dl_xlate_request(struct dl_xlate *x, struct tf_span body, struct tf_buf *out)
{
	struct dl_target to = { x->conf.model, x->conf.quirks, dl_xlate_streams(x),
		x->conf.max_output, longest(x) };
	struct dl_range root = x->head.root;
	struct tf_span object;
	int r = TF_E_INVAL;

	tf_buf_reset(&x->dropped);
	if (root.end <= body.n && body.n == x->head.body_len && x->run != NULL) {
		r = dl_run_request(x->run, body, out);
	} else if (root.end <= body.n && body.n == x->head.body_len) {
		/* without the white space around it */
		object = tf_span(body.p + root.start, root.end - root.start);
		r = keep(x, object);
		if (r == 0 && same_dialect(x) && x->surface->raw_request_ok(&x->head, x->conf.quirks))
			r = x->surface->raw_request(&x->head, &to, body, out, &x->dropped);
		else if (r == 0)
			r = translate_request(x, &to, body, out);
	}
	if (r < 0 && r != TF_E_NOMEM) {
		if (x->facts.fault.err == 0)
			dl_fault_set(&x->facts.fault, TF_E_SERVER_ERROR, NULL, NULL);
		return TF_E_INVAL;
	}
	return r;
}

/* ---- facts ------------------------------------------------------------------------------- */

/* Without the runtime's word: four bytes a token, one at least for each piece. */
static uint64_t
tokens_of(size_t bytes)
{
	return bytes == 0 ? 0 : bytes < 6 ? 1 : (bytes + 2) / 4;
}

static void
set_usage(struct dl_xlate *x)
{
	struct dl_facts *f = &x->facts;

	f->estimated = !x->known;
	if (!x->known) {
		f->usage = x->prompt;
		if (!x->prompt_known)
			f->usage = (struct dl_usage){ .prompt = dl_prompt_estimate(&x->head) };
		f->usage.completion = x->counted;
		f->usage.reasoning = x->thought;
		f->out_tokens = x->counted + x->thought;
	} else if (dl_usage_out(&f->usage) > f->out_tokens) {
		f->out_tokens = dl_usage_out(&f->usage);
	}
}

static void
take_usage(struct dl_xlate *x, const struct dl_usage *u)
{
	/* zeros beside an answer are no counts */
	if (dl_usage_out(u) == 0 && x->counted + x->thought > 0 && !(x->head.flags & DL_HEAD_ECHO))
		return;
	x->known = true;
	x->facts.usage = *u;
	if (dl_usage_in(u) == 0) /* no prompt has no tokens */
		x->facts.usage.prompt = dl_prompt_estimate(&x->head);
	x->facts.out_tokens = dl_usage_out(u);
}

static void
fail_with(struct dl_xlate *x, const struct dl_fault *f)
{
	if (x->facts.fault.err != 0 || x->facts.complete)
		return;
	x->facts.fault = *f;
	if (f->too_long && x->facts.fault.output == 0)
		x->facts.fault.output = x->head.max_output;
	dl_fault_words(&x->facts.fault, dl_dialect_family(x->conf.surface));
	if (x->given)
		x->facts.fault.retryable = false;
}

static void
unreadable(struct dl_xlate *x)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL,
	    "The model's runtime gave an answer that cannot be read.");
	f.retryable = true;
	fail_with(x, &f);
}

/* ---- events ------------------------------------------------------------------------------ */

static void
note_event(struct dl_xlate *x, const struct dl_event *e)
{
	size_t echo = e->kind == DL_EV_TEXT && e->text.n < x->echoed ? e->text.n : e->kind == DL_EV_TEXT ? x->echoed : 0;
	uint64_t n = tokens_of(e->text.n - echo);

	x->echoed -= echo;
	switch (e->kind) {
	case DL_EV_ITEM:
		x->counted += tokens_of(e->name.n);
		break;
	case DL_EV_REASONING:
		x->thought += n;
		break;
	case DL_EV_TEXT:
	case DL_EV_ARGS:
		x->counted += n;
		break;
	case DL_EV_FINISH:
		if (x->facts.finish == NULL) {
			x->finish = e->finish;
			x->facts.finish = dl_finish_name(e->finish);
		}
		break;
	case DL_EV_USAGE:
		if (!e->prompt_only) {
			take_usage(x, &e->usage);
			break;
		}
		x->prompt_known = true;
		x->prompt = e->usage;
		break;
	default:
		break;
	}
}

/* To the encoder. */
static int
on_event(void *arg, const struct dl_event *e)
{
	struct dl_xlate *x = arg;
	size_t from = x->out->n;
	const char *why = NULL;
	int r;

	if (x->conf.check && dl_grammar_check(&x->grammar, e, &why) == TF_E_PROTO) {
		tf_log(TF_ERROR, "dialect", &x->conf.rid, "events out of order why=%s",
		    tf_log_q(tf_cspan(why)));
		abort();
	}
	if (e->kind == DL_EV_ERROR) {
		fail_with(x, e->fault);
		return 0;
	}
	note_event(x, e);
	if (e->passed) {
		x->said = x->said || e->text.n > 0 || e->name.n > 0;
		if (e->kind == DL_EV_FINISH && x->facts.tail == SIZE_MAX)
			x->facts.tail = from;
		return 0;
	}
	if (!x->head.stream)
		return x->answer->join_event(x->enc, e);
	r = x->answer->enc_event(x->enc, e, x->out);
	if (x->out->n == from)
		return r;
	x->given = true;
	if (e->kind == DL_EV_TEXT || e->kind == DL_EV_REASONING || e->kind == DL_EV_ARGS ||
	    e->name.n > 0)
		x->facts.content = true;
	if (e->kind == DL_EV_FINISH && x->facts.tail == SIZE_MAX &&
	    (dl_stop_over(x->stop, x->head.n) || x->runtime->dec_state(x->dec) != DL_GOING))
		x->facts.tail = from;
	return r;
}

/* From the decoder. */
static int
on_decoded(void *arg, const struct dl_event *e)
{
	struct dl_xlate *x = arg;

	return x->stop != NULL ? dl_stop_event(x->stop, e) : on_event(x, e);
}

/* All is said: usage, end mark, or the whole answer of a client that waits for it. */
static int
complete(struct dl_xlate *x)
{
	size_t from = x->out->n;
	int r = 0;

	if (x->facts.complete || x->facts.fault.err != 0)
		return 0;
	set_usage(x);
	if (x->raw != NULL && x->head.stream && x->surface->raw_end != NULL)
		r = x->surface->raw_end(x->raw, x->finish, &x->facts.usage, x->out);
	if (r != 0)
		r = r < 0 ? r : 0;
	else if (x->head.stream)
		r = x->answer->enc_end(x->enc, &x->facts.usage, x->out);
	else
		r = x->answer->join_end(x->enc, &x->facts.usage, x->out);
	if (r < 0)
		return r;
	if (x->head.flags & DL_HEAD_KEEP) {
		if (x->raw != NULL && x->head.stream && x->surface->raw_object != NULL)
			x->surface->raw_object(x->raw, &x->facts.object, &x->facts.object_n);
		else if (x->answer->enc_object != NULL)
			x->answer->enc_object(x->enc, &x->facts.object, &x->facts.object_n);
		x->facts.object_n -= x->facts.object;
	}
	x->given = true;
	x->facts.content = x->facts.content || x->counted + x->thought > 0;
	x->facts.finished = x->facts.complete = true;
	if (x->facts.tail == SIZE_MAX)
		x->facts.tail = from;
	return 0;
}

static int
decode_event(struct dl_xlate *x, struct tf_span event, struct tf_span data)
{
	size_t from = x->out->n, text = 0;
	int r;

	if (x->raw == NULL || !x->head.stream)
		return x->runtime->dec_event(x->dec, event, data);
	r = x->surface->raw_event(x->raw, x->dec, event, data, x->out, &text);
	if (x->out->n == from)
		return r;
	x->given = true;
	x->counted += tokens_of(text);
	x->facts.content = x->facts.content || text > 0 || x->said;
	x->said = false;
	return r;
}

static int
on_sse(void *arg, struct tf_span event, struct tf_span data)
{
	struct dl_xlate *x = arg;
	int r;

	if (x->facts.fault.err != 0 || x->facts.complete)
		return 0;
	r = decode_event(x, event, data);
	if (r == TF_E_INVAL) {
		x->facts.skipped++;
		r = 0;
	}
	if (r == 0 && x->head.stream && x->facts.fault.err == 0)
		r = x->answer->enc_flush(x->enc, x->out);
	x->facts.early = dl_stop_over(x->stop, x->head.n) && x->runtime->dec_state(x->dec) != DL_DONE;
	if (r == 0 && (x->facts.early || x->runtime->dec_state(x->dec) == DL_DONE))
		r = complete(x);
	return r;
}

/* ---- the answer -------------------------------------------------------------------------- */

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
	drop_answer(x);
	memset(&x->facts, 0, sizeof x->facts);
	x->facts.tail = SIZE_MAX;
	x->facts.boundary = true;
	x->counted = x->thought = 0;
	x->echoed = x->head.flags & DL_HEAD_ECHO ? x->head.prompt_bytes * x->head.n : 0;
	x->known = x->prompt_known = false;
	if (x->stop != NULL)
		dl_stop_reset(x->stop);
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
		.emit = on_decoded,
		.arg = x,
	};
	struct dl_enc_conf ec = {
		.model = x->conf.asked,
		.kept = tf_buf_span(&x->kept),
		.include_usage = x->head.include_usage,
		.legacy = (x->head.flags & DL_HEAD_LEGACY) != 0,
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
		unreadable(x);
	return 0; /* the beginning of an error says enough */
}

static int
events(struct dl_xlate *x, const char *p, size_t n)
{
	int r = begin_answer(x);

	/* white space from before it was known what this is */
	if (r == 0 && x->body.n > 0)
		r = dl_sse_feed(&x->sse, x->body.p, x->body.n, on_sse, x);
	tf_buf_reset(&x->body);
	if (r == 0)
		r = dl_sse_feed(&x->sse, p, n, on_sse, x);
	if (r == TF_E_FULL || r == TF_E_RANGE) {
		unreadable(x);
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
	set_usage(x);
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
			set_usage(x);
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
		r = complete(x);
	if (r == TF_E_INVAL || r == TF_E_FULL || r == TF_E_RANGE) {
		unreadable(x);
		r = 0;
	}
	set_usage(x);
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
		fail_with(x, &f);
		return 0;
	case MODE_EVENTS:
		r = begin_answer(x);
		if (r == 0)
			r = dl_sse_end(&x->sse, on_sse, x);
		if (r == 0 && x->facts.fault.err == 0)
			r = x->runtime->dec_end(x->dec);
		if (r == 0)
			r = complete(x);
		set_usage(x);
		return r;
	default:
		unreadable(x);
		return 0;
	}
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
		return complete(x);
	dl_fault_set(&f, err, NULL, NULL);
	f.retryable = true;
	fail_with(x, &f);
	set_usage(x);
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
		unreadable(x);
		return 0;
	}
	r = begin_answer(x);
	if (r == 0)
		r = x->runtime->dec_cut(x->dec);
	if (r == 0 && x->head.stream && x->facts.fault.err == 0)
		r = x->answer->enc_flush(x->enc, x->out);
	return r == 0 ? complete(x) : r;
}
