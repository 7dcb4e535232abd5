/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One attempt: the client's request on its way to the runtime, the runtime's answer on its way
 * back, and the facts that money and retries need. Chooses between RAW and decode/encode, event by
 * event. Called by workerd; knows no dialect but by its table.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "common/dialect/custom.h"
#include "common/dialect/raw.h"
#include "common/dialect/xlate.h"

bool
xlate_same(const struct dl_xlate *x)
{
	return x->surface == x->runtime && !x->conf.canonical && x->surface->raw_request != NULL;
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

void
xlate_drop_answer(struct dl_xlate *x)
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
	xlate_drop_answer(x);
	dl_run_free(&x->run);
	tf_buf_free(&x->asked);
	tf_buf_free(&x->model);
	tf_buf_free(&x->base_url);
	tf_buf_free(&x->kept);
	tf_buf_free(&x->content_type);
	tf_buf_free(&x->dropped);
	dl_stop_free(&x->stop);
	dl_undo_free(&x->undo);
	dl_recall_free(&x->recall);
	tf_buf_free(&x->recalled);
	tf_buf_free(&x->recall_model);
	free(x);
}

/* Is it for us to bring reasoning back? Clients of those APIs that have a form for it do themselves. */
static bool
recalls(const struct dl_xlate *x)
{
	return x->conf.recall && (x->conf.runtime == DL_OPENAI_CHAT || x->conf.surface != x->conf.runtime);
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
	    tf_buf_cstr(&x->content_type) == NULL || tf_buf_addspan(&x->base_url, conf->base_url) < 0 ||
	    tf_buf_addspan(&x->recalled, conf->recalled) < 0 || tf_buf_addspan(&x->recall_model, conf->recall_model) < 0 ||
	    (recalls(x) && (x->recall = dl_recall_new()) == NULL)) {
		dl_xlate_free(&x);
		return NULL;
	}
	x->conf.asked = tf_buf_span(&x->asked);
	x->conf.model = tf_buf_span(&x->model);
	x->conf.content_type = tf_buf_span(&x->content_type); /* terminated */
	x->conf.base_url = tf_buf_span(&x->base_url);
	x->conf.recalled = tf_buf_span(&x->recalled);
	x->conf.recall_model = tf_buf_span(&x->recall_model);
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

	return dl_stop_new(rq->sampling.stop, hosted ? DL_STOPS_HOSTED : x->runtime->stops, xlate_event, x, &x->stop);
}

/* What this runtime cannot be told as the client says it. */
static int
reword(struct dl_xlate *x, struct dl_request *rq)
{
	dl_undo_free(&x->undo);
	x->undo = dl_undo_new(xlate_restored, x);
	if (x->undo == NULL)
		return TF_E_NOMEM;
	return x->runtime->custom && (x->conf.quirks & DL_Q_HOSTED) ? 0 : dl_custom_functions(rq, x->undo);
}

static bool
remote(const struct dl_part *p)
{
	return (p->kind == DL_PART_IMAGE || p->kind == DL_PART_FILE) && p->url.n > 5 && strncasecmp(p->url.p, "data:", 5) != 0;
}

/* Nobody else fetches for the runtime: an address in a request may be one that only this host reaches. */
static int
no_remote(const struct dl_xlate *x, const struct dl_request *rq, struct dl_fault *f)
{
	const char *param = x->surface->param_messages != NULL ? x->surface->param_messages : "messages";

	if (!(x->conf.quirks & DL_Q_NO_REMOTE_IMAGES))
		return 0;
	for (const struct dl_turn *t = rq->turns; t != NULL; t = t->next)
		for (const struct dl_part *p = t->parts; p != NULL; p = p->next) {
			bool is = remote(p);

			for (const struct dl_part *in = p->parts; in != NULL; in = in->next)
				is = is || remote(in);
			if (!is)
				continue;
			dl_fault_set(f, TF_E_BAD_REQUEST, param,
			    "This model does not fetch images and files by their address: send the bytes, as base64.");
			return TF_E_INVAL;
		}
	return 0;
}

static enum dl_recall_form
recall_form(const struct dl_xlate *x)
{
	return x->conf.runtime == DL_OPENAI_RESPONSES ? DL_RECALL_ENCRYPTED : x->runtime->signs ? DL_RECALL_SIGNED : DL_RECALL_TEXT;
}

static int
translate_request(struct dl_xlate *x, struct dl_target *to, struct tf_span whole, struct tf_buf *out)
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
	if (r == 0 && x->recall != NULL && x->conf.recalled.n > 0)
		r = dl_recall_merge(&rq, x->conf.recalled, x->conf.recall_model, recall_form(x));
	if (r == 0)
		r = watch_stops(x, &rq);
	if (r == 0)
		r = no_remote(x, &rq, &x->facts.fault);
	if (r == 0)
		r = reword(x, &rq);
	to->undo = x->undo;
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

/* More answers than the runtime gives? */
static int
one_answer(struct dl_xlate *x, struct tf_span object)
{
	struct tf_span v;
	uint64_t n;

	if (!(x->conf.quirks & DL_Q_ONE_ANSWER) || x->head.n < 2 || !js_member(object, "n", &v) || js_get_u64(v, &n) < 0 || n < 2)
		return 0;
	dl_fault_set(&x->facts.fault, TF_E_BAD_REQUEST, "n", "This model gives one answer at a time: n must be 1.");
	return TF_E_INVAL;
}

static bool
raw_request_ok(const struct dl_xlate *x)
{
	/* what is remote shows in the parts */
	if ((x->conf.quirks & DL_Q_NO_REMOTE_IMAGES) && x->head.images + x->head.files > 0)
		return false;
	return xlate_same(x) && x->surface->raw_request_ok(&x->head, x->conf.quirks);
}

int
dl_xlate_request(struct dl_xlate *x, struct tf_span body, struct tf_buf *out)
{
	struct dl_target to = { .model = x->conf.model, .quirks = x->conf.quirks, .stream = dl_xlate_streams(x),
		.max_output = x->conf.max_output, .longest = longest(x),
		/* a model that does not think refuses to be asked for it */
		.encrypted = x->recall != NULL && x->head.tools > 0 && (x->conf.can & DL_NEED_REASONING) };
	struct dl_range root = x->head.root;
	struct tf_span object;
	int r = TF_E_INVAL;

	tf_buf_reset(&x->dropped);
	if (root.end <= body.n && body.n == x->head.body_len && x->run != NULL) {
		r = dl_run_request(x->run, body, out);
	} else if (root.end <= body.n && body.n == x->head.body_len) {
		/* without the white space around it */
		object = tf_span(body.p + root.start, root.end - root.start);
		r = one_answer(x, object);
		if (r == 0)
			r = keep(x, object);
		if (r == 0 && raw_request_ok(x))
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
