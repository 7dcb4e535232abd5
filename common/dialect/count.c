/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the tokens of a prompt with the runtime's own tokenizer and template: the request is translated as
 * for an answer, and goes where the runtime counts instead. Driven by plain.c for requests with DL_HEAD_COUNT; the
 * gateway falls back on its estimate where a runtime has no such place.
 */
#include "config.h"

#include "common/dialect/plain.h"

/* Where a runtime counts, in whose words, and which members of such a request it takes there. */
static const struct place {
	enum dl_dialect runtime;
	uint32_t quirk; /* it has the place only with that one; 0: always */
	enum dl_dialect words;
	const char *path, *more;
	const char *members[9];
} places[] = {
	{ DL_ANTHROPIC_MESSAGES, 0, DL_ANTHROPIC_MESSAGES, "/messages/count_tokens", "",
	    { "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config" } },
	{ DL_OPENAI_RESPONSES, DL_Q_HOSTED, DL_OPENAI_RESPONSES, "/responses/input_tokens", "",
	    { "model", "input", "instructions", "tools", "tool_choice", "text", "reasoning", "parallel_tool_calls" } },
	{ DL_OPENAI_CHAT, DL_Q_COUNT_MESSAGES, DL_ANTHROPIC_MESSAGES, "/messages/count_tokens", "",
	    { "model", "messages", "system", "tools", "tool_choice", "thinking" } },
	{ DL_OPENAI_CHAT, DL_Q_TOKENIZE, DL_OPENAI_CHAT, "/../tokenize", ",\"add_generation_prompt\":true",
	    { "model", "messages", "tools", "chat_template_kwargs" } },
};

static const struct place *
place_of(const struct dl_job *j)
{
	for (size_t i = 0; i < TF_LEN(places); i++) {
		const struct place *p = &places[i];

		if (p->runtime == j->conf->runtime && (p->quirk == 0 || (j->conf->quirks & p->quirk)) &&
		    dl_ops(p->words)->request_encode != NULL)
			return p;
	}
	return NULL;
}

static const char *
path(const struct dl_job *j)
{
	return place_of(j)->path;
}

static bool
streams(const struct dl_job *j)
{
	(void)j;
	return false;
}

/* The members of body that the place takes. */
static int
pick(const struct place *p, struct tf_span body, struct tf_buf *out)
{
	struct tf_span v;
	int r = tf_buf_addc(out, '{');

	for (size_t i = 0; r == 0 && p->members[i] != NULL; i++)
		if (js_member(body, p->members[i], &v))
			r = tf_buf_printf(out, "%s\"%s\":%.*s", i > 0 ? "," : "", p->members[i], (int)v.n, v.p);
	if (r == 0)
		r = tf_buf_addstr(out, p->more);
	return r == 0 ? tf_buf_addc(out, '}') : r;
}

static int
request(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	const struct dl_ops *surface = dl_ops(j->conf->surface);
	const struct place *p = place_of(j);
	struct dl_target to = { .model = j->conf->model, .quirks = j->conf->quirks, .longest = j->conf->model_output };
	struct tf_buf whole = { 0 };
	struct dl_request rq;
	int r;

	if (p == NULL)
		return dl_job_refuse(j, "model", "This model's runtime does not count tokens.");
	dl_request_init(&rq, j->conf->surface);
	rq.native = j->conf->surface == p->words;
	rq.blind = (j->head->flags & DL_HEAD_BLIND) != 0;
	body = tf_span(body.p + j->head->root.start, j->head->root.end - j->head->root.start);
	r = surface->request_decode(body, &rq, &j->facts->fault);
	if (r == 0)
		r = dl_ops(p->words)->request_encode(&rq, &to, &whole, j->dropped, &j->facts->fault);
	dl_request_fini(&rq);
	if (r == 0)
		r = pick(p, tf_buf_span(&whole), out);
	tf_buf_free(&whole);
	return r;
}

static int
whole(struct dl_job *j, struct tf_span body, struct tf_buf *out)
{
	bool responses = j->conf->surface == DL_OPENAI_RESPONSES;
	struct tf_span v;
	uint64_t n;

	if (dl_job_error(j, body) || (!js_member(body, "input_tokens", &v) && !js_member(body, "count", &v)) ||
	    js_get_u64(v, &n) < 0 || n == 0 || n > INT64_MAX)
		return TF_E_INVAL;
	return tf_buf_printf(out, "{%s\"input_tokens\":%llu}", responses ? "\"object\":\"response.input_tokens\"," : "",
	    (unsigned long long)n);
}

const struct dl_plain dl_count_plain = {
	.answer_max = 8u << 20, /* some list the tokens too */
	.any_runtime = true,
	.request = request,
	.path = path,
	.streams = streams,
	.whole = whole,
};
