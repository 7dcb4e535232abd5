/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a runtime that speaks Messages. The first byte says how they are sliced, and whether the client asks for
 * what such a runtime has to be told in other words; the second which client asks, in which dialect, and how the
 * answer ends. Sliced and whole they give the same, the events obey the grammar, and whatever the runtime says, a
 * strict client takes what it is given.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/dialect/client.h"
#include "tests/dialect/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define MESSAGES "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define SCHEMA "{\"type\":\"object\",\"properties\":{\"a\":{}}}"
#define FORMAT ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":" SCHEMA "}}"
#define CUSTOM ",\"tools\":[{\"type\":\"custom\",\"custom\":{\"name\":\"f\"}}]"
static const struct {
	enum dl_dialect surface;
	const char *body;
} requests[] = {
	{ DL_OPENAI_CHAT, CHAT ",\"stream\":true}" },
	{ DL_OPENAI_CHAT, CHAT ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"parallel_tool_calls\":false}" },
	{ DL_OPENAI_CHAT, CHAT "}" },
	{ DL_OPENAI_CHAT, CHAT ",\"metadata\":{\"a\":\"b\"}}" },
	{ DL_ANTHROPIC_MESSAGES, MESSAGES ",\"stream\":true}" },
	{ DL_ANTHROPIC_MESSAGES, MESSAGES ",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}}" },
	{ DL_ANTHROPIC_MESSAGES, MESSAGES "}" },
	{ DL_ANTHROPIC_MESSAGES, MESSAGES ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":5}}" },
	/* with 128 in the first byte */
	{ DL_OPENAI_CHAT, CHAT FORMAT ",\"stream\":true}" },
	{ DL_OPENAI_CHAT, CHAT ",\"response_format\":{\"type\":\"json_object\"},\"stream\":true}" },
	{ DL_OPENAI_CHAT, CHAT CUSTOM ",\"stream\":true}" },
	{ DL_OPENAI_CHAT, CHAT CUSTOM FORMAT ",\"stream\":true}" },
	{ DL_OPENAI_CHAT, CHAT FORMAT "}" },
	{ DL_OPENAI_CHAT, CHAT CUSTOM ",\"response_format\":{\"type\":\"json_object\"}}" },
	{ DL_ANTHROPIC_MESSAGES, MESSAGES ",\"stream\":true,\"output_format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}}" },
	{ DL_ANTHROPIC_MESSAGES, MESSAGES ",\"output_format\":{\"type\":\"json_schema\",\"schema\":" SCHEMA "}}" },
};
#define PLAIN 8 /* of them need no other words */

struct answer {
	struct tf_buf bytes;
	struct dl_facts facts;
};

static void
must(bool ok, const char *why)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", why);
	abort();
}

static void
run(const struct dl_scan *s, const char *body, unsigned how, struct tf_span up, size_t step, struct answer *a)
{
	struct dl_xlate_conf conf = { .surface = s->head.surface,
		.runtime = DL_ANTHROPIC_MESSAGES,
		.quirks = DL_Q_NO_OUTPUT_FORMAT | (how & 8 ? DL_Q_MINT_TOOL_IDS : 0) | (how & 16 ? DL_Q_STREAM_AND_JOIN : 0),
		.canonical = (how & 32) != 0,
		.check = true,
		.asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };
	struct dl_xlate *x = dl_xlate_new(&conf, &s->head);
	struct tf_buf sent = { 0 };

	memset(a, 0, sizeof *a);
	must(x != NULL, "memory");
	must(dl_xlate_request(x, tf_cspan(body), &sent) == 0, "request");
	tf_buf_free(&sent);
	dl_xlate_head(x, 200, how & 64 ? TF_SPAN("application/json") : TF_SPAN(""), 0);
	for (size_t at = 0; at < up.n; at += step)
		must(dl_xlate_feed(x, up.p + at, up.n - at < step ? up.n - at : step, &a->bytes) == 0, "feed");
	if (how & 128)
		must(dl_xlate_broken(x, TF_E_UPSTREAM_ERROR, &a->bytes) == 0, "broken");
	else
		must(dl_xlate_end(x, &a->bytes) == 0, "end");
	a->facts = *dl_xlate_facts(x);
	dl_xlate_free(&x);
}

/* What is passed on says what the runtime says; only its frame is ours to keep: one beginning, and one end. */
static const char *
frame(struct tf_span got, bool whole)
{
	static const char begin[] = "event: message_start\ndata: {";
	static const char end[] = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
	size_t b = sizeof begin - 1, e = sizeof end - 1;

	if (got.n == 0)
		return whole ? "nothing of a whole answer" : NULL;
	if (got.n < b || memcmp(got.p, begin, b) != 0)
		return "no message_start first";
	if (memmem(got.p + 1, got.n - 1, begin, b - 1) != NULL)
		return "second message_start";
	if (whole && (got.n < e || memcmp(got.p + got.n - e, end, e) != 0))
		return "no message_stop last";
	if (memmem(got.p, got.n - (whole ? e : 0), end, e) != NULL)
		return "message_stop before the end";
	if (whole && memmem(got.p, got.n, "\nevent: message_delta\n", 22) == NULL)
		return "no message_delta";
	return memmem(got.p, got.n, "\nevent: error\n", 14) != NULL ? "an error" : NULL;
}

static void
judge(const struct dl_scan *s, const struct answer *a, bool passed)
{
	static struct client client;
	const struct dl_facts *f = &a->facts;
	struct tf_span got = tf_buf_span(&a->bytes);
	struct tf_buf made = { 0 };
	const char *bad = NULL;

	must(f->complete == (f->fault.err == 0), "neither complete nor failed");
	must(!f->content || a->bytes.n > 0, "content without bytes");
	if (s->head.surface == DL_ANTHROPIC_MESSAGES && passed && s->head.stream)
		bad = frame(got, f->complete);
	else if (s->head.surface == DL_ANTHROPIC_MESSAGES && passed && f->complete)
		bad = js_valid(got) < 0 ? "an answer that is no JSON" : NULL;
	else if (s->head.surface == DL_ANTHROPIC_MESSAGES && s->head.stream)
		bad = reader_stream(got, TF_SPAN("m"), f->complete, &made);
	else if (s->head.surface == DL_ANTHROPIC_MESSAGES && f->complete)
		bad = reader_json(got, TF_SPAN("m"), &made);
	else if (s->head.stream)
		bad = client_reads(&client, got, TF_SPAN("m"), s->head.include_usage, f->complete);
	else if (f->complete)
		bad = client_reads_json(got, TF_SPAN("m"));
	else
		must(a->bytes.n == 0, "bytes of a failed answer");
	tf_buf_free(&made);
	must(bad == NULL, bad);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	static struct dl_scan scans[TF_LEN(requests)];
	struct answer whole, sliced;
	const struct dl_scan *s;
	struct tf_span up;
	size_t which;

	for (size_t i = 0; !ready && i < TF_LEN(requests); i++) {
		must(dl_init() == 0, "init");
		dl_scan_init(&scans[i], requests[i].surface, 0, 0);
		must(dl_scan_end(&scans[i], requests[i].body, strlen(requests[i].body)) == 0, "scan");
	}
	ready = true;
	if (n < 2)
		return 0;
	up = tf_span(data + 2, n - 2);
	which = (data[1] & 7) + (data[0] & 128 ? PLAIN : 0);
	s = &scans[which];
	run(s, requests[which].body, data[1], up, up.n + 1, &whole);
	run(s, requests[which].body, data[1], up, data[0] % 31 + 1, &sliced);
	judge(s, &whole, (data[1] & 32) == 0 && which < PLAIN);
	must(whole.bytes.n == sliced.bytes.n, "slices give other bytes");
	must(whole.facts.fault.err == sliced.facts.fault.err, "slices give another fault");
	must(whole.facts.skipped == sliced.facts.skipped, "slices give other skips");
	must(dl_usage_out(&whole.facts.usage) == dl_usage_out(&sliced.facts.usage), "slices give other usage");
	tf_buf_free(&whole.bytes);
	tf_buf_free(&sliced.bytes);
	return 0;
}
