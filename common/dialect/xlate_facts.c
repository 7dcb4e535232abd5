/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of an answer (usage, finish reason, fault), and its events on their way from the
 * runtime's decoder to the client's encoder.
 */
#include "config.h"

#include <stdlib.h>

#include "common/dialect/xlate.h"

/* Without the runtime's word: four bytes a token, one at least for each piece. */
static uint64_t
tokens_of(size_t bytes)
{
	return bytes == 0 ? 0 : bytes < 6 ? 1 : (bytes + 2) / 4;
}

void
xlate_usage(struct dl_xlate *x)
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

void
xlate_fail(struct dl_xlate *x, const struct dl_fault *f)
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

void
xlate_unreadable(struct dl_xlate *x)
{
	struct dl_fault f;

	dl_fault_set(&f, TF_E_UPSTREAM_ERROR, NULL,
	    "The model's runtime gave an answer that cannot be read.");
	f.retryable = true;
	xlate_fail(x, &f);
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
int
xlate_event(void *arg, const struct dl_event *e)
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
		xlate_fail(x, e->fault);
		return 0;
	}
	if (e->kind == DL_EV_USAGE && !dl_usage_possible(&e->usage))
		return 0; /* as if it had not been said */
	note_event(x, e);
	r = x->recall != NULL ? dl_recall_event(x->recall, e) : 0;
	if (r != 0)
		return r;
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

int
xlate_restored(void *arg, const struct dl_event *e)
{
	struct dl_xlate *x = arg;

	return x->stop != NULL ? dl_stop_event(x->stop, e) : xlate_event(x, e);
}

int
xlate_decoded(void *arg, const struct dl_event *e)
{
	struct dl_xlate *x = arg;

	return dl_undo_idle(x->undo) ? xlate_restored(x, e) : dl_undo_event(x->undo, e);
}

/* All is said: usage, end mark, or the whole answer of a client that waits for it. */
int
xlate_complete(struct dl_xlate *x)
{
	size_t from = x->out->n;
	int r = 0;

	if (x->facts.complete || x->facts.fault.err != 0)
		return 0;
	xlate_usage(x);
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

int
dl_xlate_recall(struct dl_xlate *x, char name[static DL_RECALL_NAME + 1], struct tf_buf *out)
{
	if (x->recall == NULL || !x->facts.complete || x->facts.fault.err != 0)
		return 0;
	return dl_recall_value(x->recall, x->conf.recall_model, name, out);
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

int
xlate_sse(void *arg, struct tf_span event, struct tf_span data)
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
		r = xlate_complete(x);
	return r;
}
