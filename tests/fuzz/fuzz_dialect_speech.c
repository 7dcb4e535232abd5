/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request to speak up to the first line feed, then a content type up to the next, then what the runtime answers.
 * What is sent on is JSON; the answer, cut anywhere, becomes the same bytes or the same failure.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "common/dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define CHECK(x) do { if (!(x)) abort(); } while (0)

struct talk {
	const struct dl_head *h;
	struct tf_span body, type, bytes;
};

static bool
speak(const struct talk *t, uint32_t quirks, size_t step, struct tf_buf *out)
{
	struct tf_span bytes = t->bytes;
	struct dl_xlate_conf conf = { .surface = DL_OPENAI_SPEECH, .runtime = DL_OPENAI_CHAT, .quirks = quirks,
		.asked = TF_SPAN("asked"), .model = TF_SPAN("real") };
	struct dl_xlate *x = dl_xlate_new(&conf, t->h);
	struct tf_buf sent = { 0 };
	bool good = false;

	CHECK(x != NULL);
	if (dl_xlate_request(x, t->body, &sent) == 0) {
		CHECK(js_valid(tf_buf_span(&sent)) == 0);
		dl_xlate_head(x, 200, t->type, 0);
		for (size_t at = 0; at < bytes.n; at += step)
			CHECK(dl_xlate_feed(x, bytes.p + at, bytes.n - at < step ? bytes.n - at : step, out) == 0);
		CHECK(dl_xlate_end(x, out) == 0);
		good = dl_xlate_facts(x)->complete;
		CHECK(good != (dl_xlate_facts(x)->fault.err > 0));
		CHECK(!good || out->n > 0);
	}
	tf_buf_free(&sent);
	dl_xlate_free(&x);
	return good;
}

static struct tf_span
one_line(struct tf_span *rest)
{
	const char *eol = memchr(rest->p, '\n', rest->n);
	struct tf_span l = tf_span(rest->p, eol != NULL ? (size_t)(eol - rest->p) : rest->n);

	*rest = eol != NULL ? tf_span(eol + 1, rest->n - l.n - 1) : tf_span(rest->p + rest->n, 0);
	return l;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint32_t quirks[] = { 0, DL_Q_SPEAKS_WAV, DL_Q_SPEAKS_PCM, DL_Q_HOSTED };
	static bool ready;
	struct tf_span rest = tf_span(data + 1, n - 1);
	struct talk t;
	struct dl_scan s;

	if (!ready)
		CHECK(dl_init() == 0);
	ready = true;
	if (n < 2)
		return 0;
	t.body = one_line(&rest);
	t.type = one_line(&rest);
	t.bytes = rest;
	dl_scan_init(&s, DL_OPENAI_SPEECH, 32, 1000);
	if (dl_scan_end(&s, t.body.p, t.body.n) != 0)
		return 0;
	t.h = &s.head;
	CHECK(s.head.characters >= 1 && s.head.characters <= 4096);
	for (size_t i = 0; i < TF_LEN(quirks); i++) {
		struct tf_buf whole = { 0 }, cut = { 0 };
		bool good = speak(&t, quirks[i], rest.n + 1, &whole);

		CHECK(speak(&t, quirks[i], data[0] + 1u, &cut) == good);
		/* where bytes become events of ours, the cuts show */
		if (good && !s.head.stream)
			CHECK(tf_span_eq(tf_buf_span(&whole), tf_buf_span(&cut)));
		tf_buf_free(&whole);
		tf_buf_free(&cut);
	}
	return 0;
}
