/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a runtime that speaks the Responses API. The first byte says how they are sliced, the second which client
 * asks and what goes wrong at the end. Sliced and whole they give the same bytes and facts, the events obey the
 * grammar, and whatever the runtime says, a strict client takes what it is given.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/dialect/client.h"
#include "tests/dialect/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define USER "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
static const struct {
	enum dl_dialect surface;
	const char *body;
} asks[] = {
	{ DL_OPENAI_CHAT, "{\"model\":\"m\"," USER ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}" },
	{ DL_OPENAI_CHAT,
	    "{\"model\":\"m\"," USER ",\"parallel_tool_calls\":false,"
	    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}" },
	{ DL_ANTHROPIC_MESSAGES,
	    "{\"model\":\"m\",\"max_tokens\":9," USER ",\"stream\":true,\"thinking\":{\"type\":\"adaptive\"}}" },
	{ DL_ANTHROPIC_MESSAGES, "{\"model\":\"m\",\"max_tokens\":9," USER "}" },
	/* of the same API: what the provider says is passed on */
	{ DL_OPENAI_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"stream\":true}" },
	{ DL_OPENAI_RESPONSES, "{\"model\":\"m\",\"input\":\"x\"}" },
};

/* Which of them asks: two bits of the second byte, or the eighth and one. */
static unsigned
asker(unsigned how)
{
	return how & 128 ? 4 + (how & 1) : how & 3;
}

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
run(const struct dl_scan *s, unsigned how, struct tf_span up, size_t step, struct answer *a)
{
	struct dl_xlate_conf conf = { .surface = s->head.surface,
		.runtime = DL_OPENAI_RESPONSES,
		.quirks = (how & 128 ? DL_Q_HOSTED : 0) | (how & 4 ? DL_Q_INLINE_THINK : 0) | (how & 8 ? DL_Q_MINT_TOOL_IDS : 0),
		.check = true,
		.asked = TF_SPAN("m"),
		.model = TF_SPAN("r") };
	struct dl_xlate *x = dl_xlate_new(&conf, &s->head);
	struct tf_buf sent = { 0 };

	memset(a, 0, sizeof *a);
	must(x != NULL, "memory");
	must(dl_xlate_request(x, tf_span(s->text, s->head.body_len), &sent) == 0, "request");
	tf_buf_free(&sent);
	dl_xlate_head(x, 200, how & 16 ? TF_SPAN("application/json") : TF_SPAN(""), 0);
	for (size_t at = 0; at < up.n; at += step)
		must(dl_xlate_feed(x, up.p + at, up.n - at < step ? up.n - at : step, &a->bytes) == 0, "feed");
	if (how & 32)
		must(dl_xlate_broken(x, TF_E_UPSTREAM_ERROR, &a->bytes) == 0, "broken");
	else if (how & 64)
		must(dl_xlate_cut(x, &a->bytes) == 0, "cut");
	else
		must(dl_xlate_end(x, &a->bytes) == 0, "end");
	a->facts = *dl_xlate_facts(x);
	dl_xlate_free(&x);
}

/* Every event on its own, numbered without a gap, and nothing behind the last. */
static const char *
passed(struct tf_span s, bool whole)
{
	uint64_t next = 0, n;
	bool over = false;

	while (s.n > 0) {
		const char *data = memmem(s.p, s.n, "\ndata: ", 7), *end = memmem(s.p, s.n, "\n\n", 2);
		struct tf_span json, v;

		if (data == NULL || end == NULL || end < data || s.n < 7 || memcmp(s.p, "event: ", 7) != 0)
			return "half an event";
		if (over)
			return "an event behind the end";
		json = tf_span(data + 7, (size_t)(end - data) - 7);
		if (js_valid(json) == TF_E_INVAL)
			return "not JSON";
		if (!js_member(json, "sequence_number", &v) || js_get_u64(v, &n) < 0 || n != next++)
			return "a gap";
		over = js_member(json, "type", &v) && (js_str_eq(v, "response.completed") || js_str_eq(v, "response.incomplete"));
		s = tf_span(end + 2, s.n - (size_t)(end + 2 - s.p));
	}
	return over || !whole ? NULL : "no end";
}

static void
judge(const struct dl_scan *s, const struct answer *a)
{
	static struct client client;
	struct tf_span bytes = tf_buf_span(&a->bytes), model = TF_SPAN("m");
	bool chat = s->head.surface == DL_OPENAI_CHAT, whole = a->facts.complete;
	struct tf_buf made = { 0 };
	const char *bad = NULL;

	must(whole == (a->facts.fault.err == 0), "neither complete nor failed");
	must(!a->facts.content || bytes.n > 0, "content without bytes");
	if (s->head.surface == DL_OPENAI_RESPONSES)
		bad = s->head.stream ? passed(bytes, whole) : whole && js_valid(bytes) == TF_E_INVAL ? "not JSON" : NULL;
	else if (s->head.stream)
		bad = chat ? client_reads(&client, bytes, model, s->head.include_usage, whole)
			   : reader_stream(bytes, model, whole, &made);
	else if (whole)
		bad = chat ? client_reads_json(bytes, model) : reader_json(bytes, model, &made);
	else
		must(bytes.n == 0, "bytes of a failed answer");
	must(bad == NULL, bad);
	tf_buf_free(&made);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	static struct dl_scan scans[TF_LEN(asks)];
	struct answer whole, sliced;
	struct tf_span up;

	for (size_t i = 0; !ready && i < TF_LEN(asks); i++) {
		must(dl_init() == 0, "init");
		dl_scan_init(&scans[i], asks[i].surface, 0, 0);
		must(dl_scan_end(&scans[i], asks[i].body, strlen(asks[i].body)) == 0, "scan");
	}
	ready = true;
	if (n < 2)
		return 0;
	up = tf_span(data + 2, n - 2);
	run(&scans[asker(data[1])], data[1], up, up.n + 1, &whole);
	run(&scans[asker(data[1])], data[1], up, data[0] % 31 + 1, &sliced);
	judge(&scans[asker(data[1])], &whole);
	must(whole.bytes.n == sliced.bytes.n, "slices give other bytes");
	must(whole.facts.fault.err == sliced.facts.fault.err, "slices give another fault");
	must(whole.facts.skipped == sliced.facts.skipped, "slices give other skips");
	must(dl_usage_out(&whole.facts.usage) == dl_usage_out(&sliced.facts.usage), "slices give other usage");
	tf_buf_free(&whole.bytes);
	tf_buf_free(&sliced.bytes);
	return 0;
}
