/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a chunk, a request and an answer cost. Not a test: run it by hand, built with -O2. Prints nanoseconds each,
 * the best of five rounds.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/dialect/canon.h"

#define CHUNKS 2000
#define ROUNDS 5

static const char request[] = "{\"model\":\"acme/chat-1\",\"messages\":[{\"role\":\"system\",\"content\":\"You are brief.\"},"
			      "{\"role\":\"user\",\"content\":\"Tell me about the sea.\"}],\"stream\":true,"
			      "\"temperature\":0.7,\"max_tokens\":256}";

static void
must(int r)
{
	if (r < 0)
		abort();
}

static void
stream(struct tf_buf *b, const char *delta)
{
	tf_buf_reset(b);
	must(tf_buf_addstr(b, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":"
			      "\"runtime\",\"system_fingerprint\":\"b0\",\"choices\":[{\"index\":0,\"delta\":{\"role\":"
			      "\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
	for (int i = 0; i < CHUNKS; i++)
		must(tf_buf_printf(b,
		    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":"
		    "\"runtime\",\"system_fingerprint\":\"b0\",\"choices\":[{\"index\":0,\"delta\":{%s},\"logprobs\":null,"
		    "\"finish_reason\":null}]}\n\n",
		    delta));
	must(tf_buf_addstr(b, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":"
			      "\"runtime\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
			      "data: [DONE]\n\n"));
}

static uint64_t
answer(const struct dl_head *h, const struct tf_buf *up, bool canonical, size_t read)
{
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_CHAT,
		.runtime = DL_OPENAI_CHAT,
		.canonical = canonical,
		.asked = TF_SPAN("acme/chat-1"),
		.model = TF_SPAN("runtime") };
	struct dl_xlate *x = dl_xlate_new(&conf, h);
	struct tf_buf out = { 0 };
	uint64_t from = tf_mono_ns(), took;

	dl_xlate_head(x, 200, TF_SPAN("text/event-stream"), 0);
	for (size_t at = 0; at < up->n; at += read) {
		must(dl_xlate_feed(x, up->p + at, up->n - at < read ? up->n - at : read, &out));
		tf_buf_reset(&out);
	}
	must(dl_xlate_end(x, &out));
	took = tf_mono_ns() - from;
	if (!dl_xlate_facts(x)->complete)
		abort();
	dl_xlate_free(&x);
	tf_buf_free(&out);
	return took;
}

static void
bench_stream(const struct dl_head *h, const char *name, const char *delta, bool canonical, size_t read)
{
	struct tf_buf up = { 0 };
	uint64_t best = UINT64_MAX, took;

	stream(&up, delta);
	for (int i = 0; i < ROUNDS; i++) {
		took = answer(h, &up, canonical, read);
		best = took < best ? took : best;
	}
	printf("%-44s %8.0f ns\n", name, (double)best / CHUNKS);
	tf_buf_free(&up);
}

/* A stream of text in each dialect: what stands before the chunks, a chunk, what stands behind them; and a client's request. */
#define EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"," rest "}\n\n"
#define CHAT "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"r\",\"choices\":"
#define ASK "{\"model\":\"m\",\"stream\":true,"
#define SHELL "\"response\":{\"id\":\"r\",\"object\":\"response\",\"created_at\":1790000000,\"model\":\"r\",\"output\":"
#define ITEM "{\"id\":\"i\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[]}"
static const struct form {
	enum dl_dialect dialect;
	const char *request, *first, *chunk, *last;
} forms[] = {
	{ DL_OPENAI_CHAT, ASK "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
	    CHAT "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
	    CHAT "[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n",
	    CHAT "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" CHAT "[],\"usage\":{\"prompt_tokens\":9,"
		 "\"completion_tokens\":2000}}\n\ndata: [DONE]\n\n" },
	{ DL_ANTHROPIC_MESSAGES, ASK "\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
	    EVENT("message_start", "\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"r\","
				   "\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}")
		EVENT("content_block_start", "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}"),
	    EVENT("content_block_delta", "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" word\"}"),
	    EVENT("content_block_stop", "\"index\":0")
		EVENT("message_delta", "\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":"
				       "{\"output_tokens\":2000}") EVENT("message_stop", "\"x\":0") },
	{ DL_OPENAI_RESPONSES, ASK "\"input\":\"hi\"}",
	    EVENT("response.created", SHELL "[]}") EVENT("response.output_item.added", "\"output_index\":0,\"item\":" ITEM)
		EVENT("response.content_part.added", "\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"part\":"
						     "{\"type\":\"output_text\",\"text\":\"\"}"),
	    EVENT("response.output_text.delta", "\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\" word\""),
	    EVENT("response.output_item.done", "\"output_index\":0,\"item\":" ITEM)
		EVENT("response.completed", SHELL "[" ITEM "],\"status\":\"completed\",\"usage\":{\"input_tokens\":9,"
						  "\"output_tokens\":2000,\"total_tokens\":2009}}") },
};

static void
bench_pair(const struct form *surface, const struct form *runtime)
{
	struct dl_xlate_conf conf = { .surface = surface->dialect,
		.runtime = runtime->dialect,
		.asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };
	struct tf_buf up = { 0 }, out = { 0 };
	uint64_t best = UINT64_MAX;
	struct dl_scan s;

	if (dl_ops(surface->dialect)->enc_new == NULL || dl_ops(runtime->dialect)->dec_new == NULL)
		return;
	dl_scan_init(&s, surface->dialect, 0, 0);
	must(dl_scan_end(&s, surface->request, strlen(surface->request)));
	must(tf_buf_addstr(&up, runtime->first));
	for (int i = 0; i < CHUNKS; i++)
		must(tf_buf_addstr(&up, runtime->chunk));
	must(tf_buf_addstr(&up, runtime->last));
	for (int i = 0; i < ROUNDS; i++) {
		struct dl_xlate *x = dl_xlate_new(&conf, &s.head);
		uint64_t took, from;

		must(x == NULL ? TF_E_NOMEM : dl_xlate_request(x, tf_cspan(surface->request), &out));
		from = tf_mono_ns();
		dl_xlate_head(x, 200, TF_SPAN("text/event-stream"), 0);
		for (size_t at = 0; at < up.n; at += 240) {
			tf_buf_reset(&out);
			must(dl_xlate_feed(x, up.p + at, up.n - at < 240 ? up.n - at : 240, &out));
		}
		must(dl_xlate_end(x, &out));
		took = tf_mono_ns() - from;
		best = took < best ? took : best;
		if (!dl_xlate_facts(x)->complete)
			abort();
		dl_xlate_free(&x);
	}
	printf("text chunk, %-18s <- %-18s %8.0f ns\n", dl_dialect_name(surface->dialect), dl_dialect_name(runtime->dialect),
	    (double)best / CHUNKS);
	tf_buf_free(&up);
	tf_buf_free(&out);
}

static void
bench_request(const struct dl_head *h, bool canonical)
{
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_CHAT,
		.runtime = DL_OPENAI_CHAT,
		.canonical = canonical,
		.asked = TF_SPAN("acme/chat-1"),
		.model = TF_SPAN("runtime") };
	struct tf_buf out = { 0 };
	uint64_t from = tf_mono_ns();

	for (int i = 0; i < 20000; i++) {
		struct dl_xlate *x = dl_xlate_new(&conf, h);

		tf_buf_reset(&out);
		must(dl_xlate_request(x, TF_SPAN(request), &out));
		dl_xlate_free(&x);
	}
	printf("%-44s %8.0f ns\n", canonical ? "request, decode and encode" : "request, RAW",
	    (double)(tf_mono_ns() - from) / 20000);
	tf_buf_free(&out);
}

static void
bench_whole(const struct dl_head *h, bool canonical)
{
	static const char body[] = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"r\","
				   "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"The sea is large, "
				   "salt and full of fish. It covers most of the planet.\"},\"finish_reason\":\"stop\"}],\"usage\":"
				   "{\"prompt_tokens\":20,\"completion_tokens\":18,\"total_tokens\":38}}";
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_CHAT,
		.runtime = DL_OPENAI_CHAT,
		.canonical = canonical,
		.asked = TF_SPAN("acme/chat-1"),
		.model = TF_SPAN("runtime") };
	struct dl_head head = *h;
	struct tf_buf out = { 0 };
	uint64_t from = tf_mono_ns();

	head.stream = false;
	for (int i = 0; i < 20000; i++) {
		struct dl_xlate *x = dl_xlate_new(&conf, &head);

		tf_buf_reset(&out);
		dl_xlate_head(x, 200, TF_SPAN("application/json"), 0);
		must(dl_xlate_feed(x, body, sizeof body - 1, &out));
		must(dl_xlate_end(x, &out));
		dl_xlate_free(&x);
	}
	printf("%-44s %8.0f ns\n", canonical ? "whole answer, decode and encode" : "whole answer, RAW",
	    (double)(tf_mono_ns() - from) / 20000);
	tf_buf_free(&out);
}

static void
bench_scan(struct dl_scan *s)
{
	struct tf_buf bytes = { 0 };
	uint64_t from = tf_mono_ns();

	for (int i = 0; i < 20000; i++) {
		dl_scan_init(s, DL_OPENAI_CHAT, 0, 0);
		must(dl_scan_end(s, request, sizeof request - 1));
		tf_buf_reset(&bytes);
		must(dl_head_encode(&s->head, &bytes));
	}
	printf("%-44s %8.0f ns\n", "scan of a request, head encoded", (double)(tf_mono_ns() - from) / 20000);
	tf_buf_free(&bytes);
}

int
main(void)
{
	struct dl_scan s;

	must(dl_init());
	bench_scan(&s);
	bench_request(&s.head, false);
	bench_request(&s.head, true);
	bench_stream(&s.head, "text chunk, RAW", "\"content\":\" word\"", false, 4096);
	bench_stream(&s.head, "text chunk, RAW, one chunk a read", "\"content\":\" word\"", false, 240);
	bench_stream(&s.head, "text chunk, decode and encode", "\"content\":\" word\"", true, 4096);
	bench_stream(&s.head, "reasoning chunk", "\"reasoning_content\":\" word\"", false, 4096);
	bench_stream(&s.head, "call arguments chunk",
	    "\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\","
	    "\"function\":{\"name\":\"f\",\"arguments\":\"x\"}}]",
	    false, 4096);
	bench_whole(&s.head, false);
	bench_whole(&s.head, true);
	for (size_t i = 0; i < TF_LEN(forms); i++)
		for (size_t j = 0; j < TF_LEN(forms); j++)
			bench_pair(&forms[i], &forms[j]);
	dl_fini();
	return 0;
}
